//! Saved plans: what was read is what is applied, or nothing is.

use std::process::{Command, Stdio};

use argus::model::finding::Finding;
use argus::plan::OrganizationPlan;
use argus::render::json::{self, PlanDocument};

use super::{ACME, World};

/// Two organizations, each with a description and a team.
fn two(about: &str) -> String {
    let one = |name: &str| {
        format!(
            "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {{name: {name}}}\nspec:\n  description: {about}\n  \
             members: [{{user: ada@{name}.example, role: owner}}]\n  teams: [{{name: core, description: {about}}}]\n"
        )
    };
    format!("{}---\n{}", one("acme"), one("globex"))
}

fn descriptions(world: &World) -> String {
    world.sql("SELECT name, description FROM argus.organization ORDER BY 1")
}

#[test]
fn a_saved_plan_is_applied_as_it_was_read() {
    let world = World::with(&two("old"));
    world.argus(&["plan", "-o", "first.plan"]).ends(0).says("Plan: 6 to add");
    // What the manifests say by then does not matter.
    world.write("acme.yaml", &two("new"));
    let shown = world.argus(&["show", "first.plan"]).ends(0).says("Plan: 6 to add").out;
    let applied = world.argus(&["apply", "first.plan", "--auto-approve"]).ends(0);
    assert!(applied.out.starts_with(&shown), "{applied}");
    assert_eq!(descriptions(&world), "acme|old\nglobex|old");
    // A second time its rows exist, and nothing is written.
    world.argus(&["apply", "first.plan", "--auto-approve"]).ends(5).says("ARG4001");
    assert_eq!(world.sql("SELECT count(*) FROM argus.team"), "2");
    assert_eq!(world.argus(&["show", "first.plan", "--format", "json"]).ends(0).out, {
        std::fs::read_to_string(world.path("first.plan")).expect("the plan")
    });
}

#[test]
fn a_plan_is_stale_only_where_a_row_that_it_touches_has_moved() {
    let world = World::applied(&two("old"));
    world.write("acme.yaml", &two("new"));
    world.argus(&["plan", "-o", "saved.plan"]).ends(0);
    // Of acme a row that the plan touches moves, of globex one that it does not.
    world.mallory("psql", "UPDATE argus.team SET display_name = 'Core' WHERE organization = 'acme'");
    world.mallory("psql", "UPDATE argus.member SET expires_at = '2099-01-01' WHERE organization = 'globex'");
    let ran = world.argus(&["apply", "saved.plan", "--auto-approve"]).ends(5);
    ran.says("ARG4001").says("Team `core` is at version").says("Not applied: 1 organization");
    assert_eq!(descriptions(&world), "acme|old\nglobex|new");
    assert_eq!(world.sql("SELECT description FROM argus.team ORDER BY organization"), "old\nnew");
    world.apply().ends(0);
    assert_eq!(descriptions(&world), "acme|new\nglobex|new");
    world.is_settled();
}

#[test]
fn what_a_saved_plan_did_not_look_at_is_looked_at_by_the_next_pass() {
    let world = World::applied(&two("old"));
    world.write("acme.yaml", &two("new"));
    world.argus(&["plan", "-o", "saved.plan"]).ends(0);
    world.mallory("psql", "INSERT INTO argus.team (organization, name) VALUES ('acme', 'shadow')");
    world.argus(&["apply", "saved.plan", "--auto-approve"]).ends(0);
    world.plan().ends(2).says("Team/shadow (extra)");
}

#[test]
fn a_plan_of_which_a_byte_has_changed_is_refused() {
    let world = World::with(ACME);
    world.argus(&["plan", "-o", "saved.plan"]).ends(0);
    let text = std::fs::read_to_string(world.path("saved.plan")).expect("the plan");
    let changes = [
        ("\"displayName\": \"Acme\"", "\"displayName\": \"Bcme\""),
        ("ada@acme.example", "eve@acme.example"),
        ("\"source\": \"default\"", "\"source\": \"dafault\""),
        ("\"action\": \"create\"", "\"action\": \"delete\""),
        ("\"line\": 1", "\"line\": 2"),
        ("\"add\": 2", "\"add\": 3"),
        ("\"percent\": 25", "\"percent\": 95"),
        ("{\n", "{\n\n"),
    ];
    for (old, new) in changes {
        assert!(text.contains(old), "{old} is not in\n{text}");
        world.write("changed.plan", &text.replacen(old, new, 1));
        for command in [&["apply", "--auto-approve", "changed.plan"][..], &["show", "changed.plan"]] {
            world.argus(command).ends(1).says("ARG4005").says("changed or damaged");
        }
    }
    for end in [0, 1, text.len() / 2, text.len() - 2] {
        world.write("cut.plan", &text[..end]);
        world.argus(&["show", "cut.plan"]).ends(1).says("ARG4005");
    }
    assert_eq!(world.sql("SELECT count(*) FROM argus.organization"), "0");
}

/// A saved plan as somebody writes it who knows how it is sealed, with one organization changed.
fn forge(world: &World, name: &str, change: impl FnOnce(&mut OrganizationPlan)) {
    let text = std::fs::read_to_string(world.path("saved.plan")).expect("the plan");
    let PlanDocument { verdict, terms, policies, mut plan, .. } = serde_json::from_str(&text).expect("a plan");
    let mut organization = (*plan.organizations[0]).clone();
    change(&mut organization);
    plan.organizations[0] = organization.into();
    world.write(name, &json::pretty(&json::plan_document(&plan, &terms, policies.as_deref(), &verdict)));
}

#[test]
fn nothing_that_is_told_of_a_plan_can_be_changed_under_its_digest() {
    let world = World::applied(&two("old"));
    world.write("acme.yaml", &two("new"));
    world.argus(&["plan", "-o", "saved.plan"]).ends(0);
    forge(&world, "same.plan", |_| {});
    world.argus(&["show", "same.plan"]).ends(0);
    type Forge = fn(&mut OrganizationPlan);
    let forged: &[(&str, Forge)] = &[
        ("fields", |plan| plan.changes[0].fields.clear()),
        ("a field", |plan| plan.changes[0].fields[0].before = argus::model::value::Value::text("other")),
        ("cause", |plan| plan.changes[0].cause = argus::plan::Cause::Drift),
        ("reason", |plan| plan.changes[0].reason = Some("it was agreed upon".into())),
        ("undo", |plan| plan.changes[0].undo.clear()),
        ("said", |plan| plan.said = None),
        ("holds", |plan| plan.holds.push(Finding::warning(argus::model::code::Code::Protected, "all is well"))),
        ("findings", |plan| plan.findings.push(Finding::warning(argus::model::code::Code::Protected, "all is well"))),
    ];
    for (what, change) in forged {
        forge(&world, "forged.plan", change);
        for command in [&["apply", "--auto-approve", "forged.plan"][..], &["show", "forged.plan"]] {
            let ran = world.argus(command);
            assert!(ran.code == Some(1) && ran.err.contains("is not the plan that was saved"), "{what}: {ran}");
        }
    }
    assert_eq!(descriptions(&world), "acme|old\nglobex|old");
}

#[test]
fn what_the_guards_look_at_is_counted_again_when_a_saved_plan_is_applied() {
    let staff = |members: usize| {
        let member = |number| format!("    - {{user: m{number}@acme.example, role: member}}\n");
        format!("{ACME}{}", (0..members).map(member).collect::<String>())
    };
    let world = World::applied(&staff(9));
    world.write("acme.yaml", &staff(1));
    world.argus(&["plan", "-o", "saved.plan"]).ends(0).says("ARG3001");
    forge(&world, "forged.plan", |plan| plan.counts.clear());
    world.argus(&["apply", "forged.plan", "--auto-approve"]).ends(4).says("ARG3001");
    assert_eq!(world.sql("SELECT count(*) FROM argus.member"), "10");
}

#[test]
fn a_saved_plan_is_judged_by_the_guards_that_it_was_made_under() {
    let staff = |members: usize| {
        let member = |number| format!("    - {{user: m{number}@acme.example, role: member}}\n");
        format!("{ACME}{}", (0..members).map(member).collect::<String>())
    };
    let world = World::applied(&staff(9));
    world.write("argus.yaml", "guards: {members: {percent: 10}}\n").write("acme.yaml", &staff(7));
    world.argus(&["plan", "-o", "saved.plan"]).ends(0).says("ARG3001");
    std::fs::create_dir(world.path("elsewhere")).expect("a folder");
    std::fs::rename(world.path("saved.plan"), world.path("elsewhere/saved.plan")).expect("it can be moved");
    world.argus(&["show", "elsewhere/saved.plan"]).ends(0).says("ARG3001");
    world.argus(&["apply", "elsewhere/saved.plan", "--auto-approve"]).ends(4).says("ARG3001");
    assert_eq!(world.sql("SELECT count(*) FROM argus.member"), "10");
    world.argus(&["apply", "elsewhere/saved.plan", "--auto-approve", "--force"]).ends(0);
    assert_eq!(world.sql("SELECT count(*) FROM argus.member"), "8");
}

#[test]
fn a_saved_plan_takes_no_target() {
    let world = World::with(ACME);
    world.argus(&["plan", "-o", "saved.plan"]).ends(0);
    for option in [&["--target", "acme"][..], &["--no-drift"], &["--full"], &["--source", "other"]] {
        world.argus(&[&["apply", "saved.plan", "--auto-approve"], option].concat()).ends(1).says("applied as it is");
    }
    world.argus(&["apply", "no-such.plan", "--auto-approve"]).ends(1);
    assert_eq!(world.sql("SELECT count(*) FROM argus.organization"), "0");
}

#[test]
fn a_plan_fits_its_schema() {
    let world = World::applied(&two("old"));
    let schema = world.argus(&["schema", "plan"]).ends(0).json();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let fits = |arguments: &[&str]| {
        let plan = world.argus(arguments).json();
        let faults: Vec<String> = validator.iter_errors(&plan).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{faults:?} in {plan}");
        plan
    };
    fits(&["plan", "--format", "json"]);
    world.mallory("psql", "UPDATE argus.team SET description = 'theirs' WHERE organization = 'acme'");
    world.mallory("psql", "INSERT INTO argus.team (organization, name) VALUES ('acme', 'shadow')");
    world.write("acme.yaml", &two("new").replace("name: core", "name: heart, previousName: core"));
    let plan = fits(&["plan", "--format", "json"]);
    assert!(!plan["plan"]["organizations"].as_array().expect("organizations").is_empty());
    fits(&["drift", "--format", "json"]);
    assert!(!validator.is_valid(&serde_json::json!({ "document": "argus.plan" })));
    let findings = world.argus(&["schema", "findings"]).ends(0).json();
    let findings = jsonschema::validator_for(&findings).expect("a schema");
    world.write("bad.yaml", "kind: Organisation\n");
    let report = world.argus(&["validate", "--format", "json"]).ends(1).json();
    assert!(findings.is_valid(&report), "{report}");
}

#[test]
fn a_saved_plan_is_stale_once_its_rules_have_changed() {
    let world = World::with(&two("old"));
    world.write(
        "policies/names.rego",
        "package argus.names\n\ndeny contains \"no\" if input.organization == \"acme\"\n",
    );
    world.write("elsewhere/policies/names.rego", "package argus.names\n\nwarn contains \"no\" if input.version == 2\n");
    world.argus(&["plan", "-o", "saved.plan"]).ends(0).says("denied");
    let nothing = || assert_eq!(world.sql("SELECT count(*) FROM argus.organization"), "0");
    // Other policies, by whatever way they come.
    let there = world.path("elsewhere/policies").display().to_string();
    let ran = world.argus(&["apply", "saved.plan", "--auto-approve", "--policies", &there]).ends(5);
    ran.says("error[ARG4001]").says("the policies are not those that judged it");
    let saved = world.path("saved.plan").display().to_string();
    let mut command = world.command(&["apply", &saved, "--auto-approve"]);
    command.current_dir(world.path("elsewhere"));
    super::run(command).ends(5).says("the policies are not those that judged it");
    nothing();
    // Each setting that judges.
    for settings in [
        "mode: observe",
        "approvals: {quorum: 2}",
        "guards: {owners: 2}",
        "windows: [{kind: deny, schedule: \"* * * * *\", duration: 1d}]",
    ] {
        world.write("argus.yaml", settings);
        world.argus(&["apply", "saved.plan", "--auto-approve"]).ends(5).says("the settings of its source have changed");
    }
    world.write("argus.yaml", "mode: [");
    world.argus(&["apply", "saved.plan", "--auto-approve"]).ends(1);
    nothing();
    // As they were, it is what it was.
    world.remove("argus.yaml").argus(&["apply", "saved.plan", "--auto-approve"]).ends(3).says("ARG3101");
}

/// Whoever runs as root could otherwise lose `/dev/null` to a plan.
#[test]
fn what_is_no_file_is_written_into_and_a_link_stays_one() {
    use std::os::unix::fs::FileTypeExt as _;
    let world = World::with(ACME);
    let (pipe, link) = (world.path(".pipe"), world.path(".link"));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let reader = Command::new("cat").arg(&pipe).stdout(Stdio::piped()).spawn().expect("cat runs");
    world.argus(&["plan", "-o", ".pipe"]).ends(0);
    let read = reader.wait_with_output().expect("it ends").stdout;
    assert!(serde_json::from_slice::<serde_json::Value>(&read).expect("a plan").is_object());
    assert!(std::fs::symlink_metadata(&pipe).expect("it is there").file_type().is_fifo());
    std::fs::write(world.path(".file"), "").expect("a file");
    std::os::unix::fs::symlink(".file", &link).expect("a link");
    world.argus(&["plan", "-o", ".link"]).ends(0);
    assert!(std::fs::symlink_metadata(&link).expect("it is there").is_symlink());
    world.argus(&["apply", ".file", "--auto-approve"]).ends(0);
    // One that somebody else has put there leads nowhere.
    use std::os::unix::fs::MetadataExt as _;
    if std::fs::metadata(world.path(".file")).expect("it is there").uid() == 0 {
        std::fs::write(world.path(".theirs"), "theirs").expect("a file");
        std::fs::remove_file(&link).expect("it was there");
        std::os::unix::fs::symlink(".theirs", &link).expect("a link");
        std::os::unix::fs::lchown(&link, Some(65534), None).expect("it is theirs");
        world.argus(&["plan", "-o", ".link"]).ends(0);
        assert!(std::fs::symlink_metadata(&link).expect("it is there").is_file());
        assert_eq!(std::fs::read_to_string(world.path(".theirs")).expect("a file"), "theirs");
    }
    world.argus(&["audit", "export", "-o", ".pipe"]).ends(1).says("is no file");
    assert!(std::fs::symlink_metadata(&pipe).expect("it is there").file_type().is_fifo());
}
