//! Rolling back end to end: what a run has written is taken back, and stays away until the source says something else.

use std::sync::Mutex;

use argus::store::apply::failpoints;

use super::{ACME, World, run};

/// All rows and ownership records, without what a row that comes back has anew.
fn picture(world: &World) -> String {
    let tables = world.sql(
        "SELECT string_agg(format('SELECT %L || '' '' || (to_jsonb(r) - ''{id,version,run,at}''::text[])::text AS v
             FROM argus.%I r', c.relname, c.relname), ' UNION ALL ' ORDER BY c.relname)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'argus' AND c.relkind = 'r' AND c.relname NOT IN
             ('run', 'run_organization', 'undo', 'rolled_back', 'audit', 'clock', 'pass', 'person', 'suspension',
              'schema_migration', 'built_in_role', 'held_plan', 'approval', 'installation', 'invitation', 'unsealed',
              'seal', 'chain', 'head', 'checkpoint', 'event', 'stream', 'told')",
    );
    world.sql(&format!("SELECT v FROM ({tables}) s ORDER BY v COLLATE \"C\""))
}

/// The run that was noted last.
fn last_run(world: &World) -> String {
    world.sql("SELECT id FROM argus.run ORDER BY started_at DESC LIMIT 1")
}

fn rollback(world: &World, run: &str, more: &[&str]) -> super::Ran {
    world.argus(&[&["rollback", run, "--auto-approve"], more].concat())
}

/// An organization with something of every kind, which can be written in two ways.
fn acme(new: bool) -> String {
    let pick = |old: &'static str, young: &'static str| if new { young } else { old };
    let (name, moved, about) = (pick("gone", "come"), pick("was", "moved"), pick("old", "new"));
    let previous = if new { ", previousName: was" } else { "" };
    format!(
        "apiVersion: argus.io/v1alpha1
kind: Organization
metadata: {{name: acme}}
spec:
  displayName: Acme {about}
  settings: {{theme: {about}, {name}: 1, stays: true}}
  allowedEmailDomains: [acme.example, {name}.example]
  roles:
    - {{name: {moved}, permissions: [\"keys:read\"]{previous}}}
    - {{name: {name}, permissions: [\"{name}:read\", \"audit:read\"], description: {about}}}
  members:
    - {{user: ada@acme.example, role: owner}}
    - {{user: grace@acme.example, roles: [member, {moved}]}}
    - {{user: {name}@acme.example, roles: [{name}], expiresAt: \"2099-01-01T00:00:00Z\"}}
  teams:
    - {{name: core, description: {about}, members: [{{user: ada@acme.example, role: maintainer}}, {{user: {name}@acme.example}}]}}
    - {{name: {name}, parent: core}}
  projects:
    - {{name: search, quotas: {{apiKeys: {number}}}, teams: [{{team: {name}}}], members: [{{user: grace@acme.example, role: {role}}}]}}
  serviceAccounts:
    - {{name: {moved}, roles: [viewer]{previous}}}
  apiKeys:
    - {{name: main, owner: {{serviceAccount: {moved}}}, scopes: [read, {scope}], ttl: 90d, rotation: {{schedule: \"0 3 1 * *\", overlap: 48h}}}}
    - {{name: {name}, owner: {{user: ada@acme.example}}, scopes: [{only}]}}
  notificationChannels:
    - {{name: {name}, type: email, config: {{addresses: [{name}@acme.example]}}}}
  notificationRules:
    - {{name: all, channel: {name}, events: [\"*\"], conditions: [{{field: severity, operator: equals, value: {about}}}]}}
  budgets:
    - {{name: monthly, period: monthly, limit: {limit}, warnAt: [50, {number}], notify: [{name}], subject: {{project: search}}}}
",
        number = pick("20", "30"),
        role = pick("developer", "maintainer"),
        scope = pick("write", "admin"),
        only = pick("read", "tests"),
        limit = pick("250 USD", "350.50 EUR"),
    )
}

/// Guards that let everything through: they have tests of their own.
const FREE: &str = "guards: {members: {percent: 100}, teamMembers: {percent: 100}, roleGrants: {percent: 100}, \
                    apiKeys: {percent: 100}, budgets: {percent: 100}, admins: {percent: 100}}\n";

/// A world in which the old form was applied and then the new one, with what it looked like after each, and the runs.
struct Two {
    world: World,
    old: String,
    new: String,
    second: String,
}

fn two() -> Two {
    let world = World::with(&acme(false));
    world.write("argus.yaml", FREE).apply().ends(0);
    world.is_settled();
    let old = picture(&world);
    world.write("acme.yaml", &acme(true)).apply().ends(0);
    let new = picture(&world);
    assert_ne!(old, new);
    let second = last_run(&world);
    Two { world, old, new, second }
}

#[test]
fn what_a_run_has_written_is_as_it_was_before() {
    let Two { world, old, new, second } = two();
    let planned = world.argus(&["rollback", &second, "--plan"]).ends(0);
    planned
        .says(&format!("Rolling back the run {second} of the source `default`, by tester"))
        .says("~ Organization/acme")
        .says("settings.theme:")
        .says("\"new\" -> \"old\"")
        .says("+ Member/gone@acme.example")
        .says("- Member/come@acme.example")
        .says("~ Role/was (renamed from moved)")
        .says("warning[ARG3206] ApiKey `gone` comes back with a new id");
    assert_eq!(picture(&world), new, "planning writes nothing");
    assert_eq!(last_run(&world), second);
    let ids = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM argus.team WHERE name = 'core'";
    let core = world.sql(ids);
    rollback(&world, &second, &[]).ends(0).says("in 1 organization");
    assert_eq!(picture(&world), old);
    assert_eq!(world.sql(ids), core, "what was not deleted keeps its id");
    let third = last_run(&world);
    assert_eq!(world.sql(&format!("SELECT rolls_back FROM argus.run WHERE id = '{third}'")), second);
    world.argus(&["get", "runs"]).ends(0).says("ROLLS BACK").says(&second);
    world.argus(&["history", "acme"]).ends(0).says("tester via argus");
    // A second time there is nothing left to take back.
    rollback(&world, &second, &[]).ends(1).says("ARG3205").says("has been rolled back already").says(&third);
}

#[test]
fn what_was_rolled_back_stays_away_until_the_source_says_something_else() {
    let Two { world, old, second, .. } = two();
    rollback(&world, &second, &[]).ends(0);
    for extra in [&[][..], &["--full"], &["--no-drift"], &["--target", "Organization/acme"]] {
        let ran = world.argus(&[&["plan", "--detailed-exitcode"], extra].concat()).ends(2);
        ran.says("stopped[ARG3204] `acme` was rolled back").says(&second).says("Stopped: 1 organization");
    }
    world.apply().ends(4).says("ARG3204");
    assert_eq!(picture(&world), old);
    // Somebody else's writes wait as well.
    world.mallory("psql", "UPDATE argus.team SET display_name = 'Mine' WHERE name = 'core'");
    world.apply().ends(4).says("ARG3204");
    world.mallory("psql", "UPDATE argus.team SET display_name = NULL WHERE name = 'core'");
    // The same in another file is nothing else.
    world.remove("acme.yaml").write("moved/acme.yaml", &acme(true));
    world.apply().ends(4).says("ARG3204");
    // A plan that was saved knows what its source said.
    world.argus(&["plan", "-o", "saved.plan"]).ends(0);
    world.argus(&["apply", "saved.plan", "--auto-approve"]).ends(4).says("ARG3204");
    assert_eq!(picture(&world), old);
    // The fix is applied, and what was held is forgotten.
    world.write("moved/acme.yaml", &acme(true).replace("Acme new", "Acme mended"));
    world.plan().ends(2).does_not_say("ARG3204");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT display_name FROM argus.organization"), "Acme mended");
    assert_eq!(world.sql("SELECT count(*) FROM argus.rolled_back"), "0");
    world.write("moved/acme.yaml", &acme(true)).apply().ends(0);
    world.is_settled();
}

#[test]
fn somebody_may_insist_on_what_was_rolled_back() {
    let Two { world, new, second, .. } = two();
    rollback(&world, &second, &[]).ends(0);
    world.argus(&["apply", "--auto-approve", "--force"]).ends(0).does_not_say("ARG3204");
    assert_eq!(picture(&world), new);
    assert_eq!(world.sql("SELECT forced FROM argus.run ORDER BY started_at DESC LIMIT 1"), "t");
    // It is as if it had never been rolled back.
    world.mallory("psql", "UPDATE argus.team SET description = 'mine' WHERE name = 'core'");
    world.apply().ends(0);
    assert_eq!(picture(&world), new);
}

#[test]
fn a_rollback_can_be_rolled_back_and_so_can_that() {
    let Two { world, old, new, second } = two();
    let mut run = second.clone();
    for turn in 0..4 {
        rollback(&world, &run, &[]).ends(0);
        let (expected, held) = if turn % 2 == 0 { (&old, 2) } else { (&new, 0) };
        assert_eq!(&picture(&world), expected, "turn {turn}");
        let ran = world.plan().ends(held);
        assert_eq!(ran.all().contains("ARG3204"), held == 2, "turn {turn}: {ran}");
        run = last_run(&world);
    }
    // What was brought back can be taken back from where it began.
    rollback(&world, &second, &[]).ends(0);
    assert_eq!(picture(&world), old);
}

#[test]
fn several_runs_are_taken_back_one_by_one_the_newest_first() {
    let Two { world, old, new, second } = two();
    world.write("acme.yaml", &acme(true).replace("Acme new", "Acme newest").replace("350.50 EUR", "400 EUR"));
    world.apply().ends(0);
    let third = last_run(&world);
    rollback(&world, &second, &[]).ends(1).says("ARG3205").says("acme/Budget/monthly was written since the run");
    rollback(&world, &third, &[]).ends(0);
    assert_eq!(picture(&world), new);
    rollback(&world, &second, &[]).ends(0);
    assert_eq!(picture(&world), old);
    // The source still says what the third run has applied.
    world.apply().ends(4).says("ARG3204");
    // And back again, in the other order.
    let back = world.sql(&format!("SELECT id FROM argus.run WHERE rolls_back = '{second}' AND outcome = 'succeeded'"));
    rollback(&world, &back, &[]).ends(0);
    assert_eq!(picture(&world), new);
    world.apply().ends(4).says("ARG3204");
}

#[test]
fn what_was_written_since_keeps_its_organization_as_it_is_and_all_of_it_is_told() {
    let world = World::new();
    let both = |about: &str| {
        let one = |name: &str| {
            ACME.replace("acme", name).replace("displayName: Acme", &format!("displayName: {about}"))
                + &format!("  teams: [{{name: core, description: {about}}}, {{name: {about}}}]\n")
        };
        format!("{}---\n{}", one("acme"), one("globex"))
    };
    world.write("argus.yaml", FREE).write("orgs.yaml", &both("old")).apply().ends(0);
    world.write("orgs.yaml", &both("new")).apply().ends(0);
    let second = last_run(&world);
    world.mallory("psql", "UPDATE argus.team SET display_name = 'x' WHERE organization = 'acme' AND name = 'core'");
    world.mallory("night shift", "DELETE FROM argus.team WHERE organization = 'acme' AND name = 'new'");
    world.mallory("psql", "INSERT INTO argus.team (organization, name) VALUES ('acme', 'old')");
    let before = world.sql("SELECT version FROM argus.clock WHERE organization = 'acme'");
    let ran = rollback(&world, &second, &[]).ends(1);
    ran.says("error[ARG3205] acme/Team/core was written since the run, by mallory via psql at 20")
        .says("acme/Team/new is gone since the run, by mallory via night shift")
        .says("acme/Team/old has come since the run, by mallory via psql")
        .says("in 1 organization.\n")
        .says("Not applied: 1 organization");
    assert_eq!(world.sql("SELECT version FROM argus.clock WHERE organization = 'acme'"), before);
    assert_eq!(world.sql("SELECT name, display_name FROM argus.organization ORDER BY 1"), "acme|new\nglobex|old");
    // Rows that the run did not write may have moved.
    let third = last_run(&world);
    rollback(&world, &third, &[]).ends(0);
    world.mallory("psql", "UPDATE argus.member SET expires_at = '2099-01-01' WHERE organization = 'globex'");
    rollback(&world, &second, &["-O", "globex"]).ends(0);
    assert_eq!(world.sql("SELECT count(*) FROM argus.member WHERE expires_at = '2099-01-01'"), "1");
}

#[test]
fn what_others_have_hung_on_new_rows_since_is_in_the_way() {
    let world = World::applied(ACME);
    world.write("acme.yaml", &format!("{ACME}  roles: [{{name: auditor, permissions: [\"audit:read\"]}}]\n"));
    world.apply().ends(0);
    let second = last_run(&world);
    world.mallory("psql", "INSERT INTO argus.member_role VALUES ('acme', 'ada@acme.example', 'auditor')");
    let ran = rollback(&world, &second, &[]).ends(1);
    ran.says("acme/Member/ada@acme.example names Role `auditor` in `roles`, which would go, by mallory");
    assert_eq!(world.sql("SELECT count(*) FROM argus.role WHERE NOT built_in"), "1");
    // The other way round: what comes back would name what has gone.
    let world = World::applied(&format!("{ACME}  teams: [{{name: core}}, {{name: part, parent: core}}]\n"));
    world.write("acme.yaml", &format!("{ACME}  teams: [{{name: core}}]\n")).apply().ends(0);
    let second = last_run(&world);
    world.mallory("psql", "DELETE FROM argus.team WHERE name = 'core'");
    rollback(&world, &second, &[]).ends(1).says("acme/Team/part names Team `core` in `parent`, which is gone since");
}

#[test]
fn a_run_that_cannot_be_rolled_back_says_why() {
    let Two { world, second, .. } = two();
    rollback(&world, "20300101T000000Z-000000000000", &[]).ends(1).says("ARG3205").says("there is no run");
    world.apply().ends(0);
    rollback(&world, &last_run(&world), &[]).ends(1).says("ARG3205").says("wrote nothing");
    rollback(&world, &second, &["-O", "globex"]).ends(1).says("wrote nothing to `globex`");
    rollback(&world, &second, &["--target", "globex/Team/core"]).ends(1).says("wrote nothing to `globex`");
    world.write("other/argus.yaml", "source: other\n");
    rollback(&world, &second, &["other"]).ends(1).says("was of the source `default`, and here is the source `other`");
    world.argus(&["rollback", &second]).ends(1).says("nobody is here to be asked");
    rollback(&world, &second, &["--source", "other"]).ends(1).says("ARG3205");
    // What another Argus keeps in a form of its own is not guessed at.
    world.sql("UPDATE argus.undo SET content = '{\"format\": 2, \"changes\": []}'");
    rollback(&world, &second, &[]).ends(1).says("ARG3205").says("form 2");
}

#[test]
fn a_target_takes_back_a_part_and_the_rest_later() {
    let Two { world, old, new, second } = two();
    rollback(&world, &second, &["--target", "acme/Budget/monthly", "--plan"]).ends(1).says("which is gone since");
    rollback(&world, &second, &["--target", "Organization/acme"]).ends(0).does_not_say("Budget");
    assert_eq!(world.sql("SELECT display_name FROM argus.organization"), "Acme old");
    let half = picture(&world);
    assert!(half != old && half != new);
    let first = last_run(&world);
    rollback(&world, &second, &[])
        .ends(0)
        .says(&format!("rolled back already, by `{first}`"))
        .does_not_say("Organization/acme");
    assert_eq!(picture(&world), old);
}

#[test]
fn guards_and_brakes_stand_before_a_rollback_as_before_any_change() {
    let world = World::applied(ACME);
    world.write("acme.yaml", &format!("{ACME}  projects: [{{name: search}}]\n")).apply().ends(0);
    let second = last_run(&world);
    let projects = || world.sql("SELECT count(*) FROM argus.project");
    rollback(&world, &second, &[]).ends(4).says("held[ARG2002] rolling back deletes acme/Project/search");
    world.write("argus.yaml", "mode: observe\n");
    rollback(&world, &second, &["--force"])
        .ends(4)
        .says("ARG3201")
        .says("nothing is written")
        .says("set `mode: apply`");
    world.write("argus.yaml", "windows: [{kind: deny, schedule: \"* * * * *\", duration: 1h}]\n");
    rollback(&world, &second, &[]).ends(4).says("ARG3202");
    world.argus(&["suspend", "acme", "--reason", "x", "--for", "1h"]).ends(0);
    rollback(&world, &second, &["--force"]).ends(4).says("ARG3203");
    world.argus(&["resume", "acme", "--no-report"]).ends(0);
    // A policy has its say, too.
    let policy = "package acme\nimport rego.v1\ndeny contains \"nothing goes\" if {\n  some change in input.changes\n  change.action == \"delete\"\n}\n";
    world.write("argus.yaml", "").write("policies/acme.rego", policy);
    rollback(&world, &second, &["--force"]).ends(3).says("ARG3101").says("nothing goes");
    assert_eq!(projects(), "1");
    std::fs::remove_dir_all(world.path("policies")).expect("it can be removed");
    world.write("argus.yaml", "policies: none\n");
    rollback(&world, &second, &["--force"]).ends(0);
    assert_eq!(projects(), "0");
    assert_eq!(world.sql("SELECT forced FROM argus.run ORDER BY started_at DESC LIMIT 1"), "t");
}

#[test]
fn a_rollback_that_is_applied_from_a_file_is_the_same_rollback() {
    let Two { world, old, new, second } = two();
    let save = |run: &str| {
        let plan = world.argus(&["rollback", run, "--plan", "--format", "json"]).ends(0);
        world.write("back.plan", &plan.out);
    };
    let apply = || world.argus(&["apply", "back.plan", "--auto-approve"]);
    save(&second);
    let said = format!("Rolling back the run {second}.");
    world.argus(&["show", "back.plan"]).ends(0).says(&said).says("- Member/come@acme.example");
    apply().ends(0).says(&said).says("in 1 organization");
    assert_eq!(picture(&world), old);
    let third = last_run(&world);
    assert_eq!(world.sql("SELECT rolls_back FROM argus.run ORDER BY started_at DESC LIMIT 1"), second);
    // The mark is there: what the source goes on saying does not come back by itself.
    world.apply().ends(4).says("ARG3204");
    assert_eq!(picture(&world), old);
    // So it is the second time: it is stale, and planned anew there is nothing left.
    apply().ends(5).says("ARG4001");
    rollback(&world, &second, &[]).ends(1).says(&format!("rolled back already, by `{third}`"));
    // What is rolled back from a file comes back from a file, and the mark goes.
    save(&third);
    apply().ends(0);
    assert_eq!(picture(&world), new);
    world.is_settled();
}

#[test]
fn a_file_of_a_rollback_that_was_changed_or_whose_source_only_observes_writes_nothing() {
    let world = World::applied(ACME);
    world.write("acme.yaml", &format!("{ACME}  teams: [{{name: core}}]\n")).apply().ends(0);
    let plan = world.argus(&["rollback", &last_run(&world), "--plan", "--format", "json"]).ends(0);
    let other = plan.out.replace(&last_run(&world), "20300131T120000Z-0a1b2c3d4e5f");
    assert_ne!(plan.out, other);
    world
        .write("back.plan", &other)
        .argus(&["apply", "back.plan", "--auto-approve"])
        .ends(1)
        .says("changed or damaged");
    // A source that only observes writes nothing, which is not what whoever rolls back wants.
    world.write("argus.yaml", "mode: observe\n");
    let plan = world.argus(&["rollback", &last_run(&world), "--plan", "--format", "json"]).ends(0);
    let ran = world.write("back.plan", &plan.out).argus(&["apply", "back.plan", "--auto-approve"]).ends(4);
    ran.says("ARG3201").says("set `mode: apply` or `mode: enforce`");
    assert_eq!(world.sql("SELECT count(*) FROM argus.team"), "1");
}

#[test]
fn adopting_and_releasing_are_taken_back() {
    let world = World::applied(ACME);
    world.mallory(
        "psql",
        "INSERT INTO argus.team (organization, name, description) VALUES ('acme', 'theirs', 'theirs')",
    );
    world.mallory("psql", "INSERT INTO argus.team (organization, name) VALUES ('acme', 'plain')");
    let before = picture(&world);
    let teams = "  teams: [{name: theirs, description: ours}, {name: plain}]\n";
    world.write("acme.yaml", &format!("{ACME}{teams}")).apply().ends(0).does_not_say("+ Team");
    let adopted = picture(&world);
    let second = last_run(&world);
    rollback(&world, &second, &[]).ends(0).says("- Team/plain (release: the row stays)").says("\"ours\" -> \"theirs\"");
    assert_eq!(picture(&world), before);
    rollback(&world, &last_run(&world), &[]).ends(0);
    assert_eq!(picture(&world), adopted);
    // And a release.
    let removal = "---\napiVersion: argus.io/v1alpha1\nkind: Removal\nmetadata: {name: r}\nspec: {organization: acme, target: \
                   {kind: Team, name: plain}, reason: over, mode: release}\n";
    let text = format!("{ACME}{}{removal}", teams.replace(", {name: plain}", ""));
    world.write("acme.yaml", &text).apply().ends(0).says("release");
    let third = last_run(&world);
    rollback(&world, &third, &[]).ends(0).says("(adopt)");
    assert_eq!(picture(&world), adopted);
}

#[test]
fn organizations_come_go_and_get_their_names_back() {
    let globex = ACME.replace("acme", "globex") + "  teams: [{name: core}]\n";
    let removal = "apiVersion: argus.io/v1alpha1\nkind: Removal\nmetadata: {name: drop}\nspec: {organization: globex, \
                   target: {kind: Organization, name: globex}, reason: over}\n";
    let renamed = globex.replace("name: globex", "name: zeta\n  annotations: {argus.io/previous-name: globex}");
    for (before, after) in [("", globex.as_str()), (&globex, removal), (&globex, &renamed)] {
        let world = World::with(ACME);
        if !before.is_empty() {
            world.write("globex.yaml", before);
        }
        world.apply().ends(0);
        let old = picture(&world);
        world.write("globex.yaml", after).apply().ends(0);
        let (new, second) = (picture(&world), last_run(&world));
        // That an organization goes needs more than a rollback.
        if before.is_empty() {
            rollback(&world, &second, &[]).ends(4).says("ARG2002").says("Organization/globex");
        }
        rollback(&world, &second, &["--force"]).ends(0);
        assert_eq!(picture(&world), old, "{after}");
        world.apply().ends(4).says("ARG3204");
        assert_eq!(picture(&world), old, "{after}");
        rollback(&world, &last_run(&world), &["--force"]).ends(1);
        let third =
            world.sql(&format!("SELECT id FROM argus.run WHERE rolls_back = '{second}' AND outcome = 'succeeded'"));
        rollback(&world, &third, &["--force"]).ends(0);
        assert_eq!(picture(&world), new, "{after}");
        world.plan().does_not_say("ARG3204");
    }
}

#[test]
fn an_organization_into_which_others_have_come_does_not_go() {
    let world = World::applied(ACME);
    let first = last_run(&world);
    world.mallory("psql", "INSERT INTO argus.team (organization, name) VALUES ('acme', 'late')");
    let ran = rollback(&world, &first, &["--force"]).ends(1);
    ran.says("acme/Team/late would be left without its organization, by mallory");
    assert_eq!(world.sql("SELECT count(*) FROM argus.organization"), "1");
}

#[test]
fn tiers_are_taken_back_when_nobody_uses_them_any_more() {
    let tier = |name: &str| {
        format!(
            "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata: {{name: {name}}}\nspec: {{limits: {{members: 5}}}}\n"
        )
    };
    let organization = |tier: &str| ACME.replace("spec:\n", &format!("spec:\n  tier: {tier}\n"));
    let world = World::with(&organization("small"));
    world.write("tiers.yaml", &tier("small")).apply().ends(0);
    let old = picture(&world);
    world.write("tiers.yaml", &format!("{}---\n{}", tier("small").replace('5', "6"), tier("large")));
    world.write("acme.yaml", &organization("large")).apply().ends(0);
    let new = picture(&world);
    rollback(&world, &last_run(&world), &[]).ends(0).says("in 2 organizations");
    assert_eq!(picture(&world), old);
    world.apply().ends(4).says("`acme` was rolled back").says("what all share was rolled back");
    world.argus(&["apply", "--auto-approve", "--force"]).ends(0);
    assert_eq!(picture(&world), new);
}

#[test]
fn a_process_that_dies_while_rolling_back_leaves_all_or_nothing() {
    let Two { world, old, new, second } = two();
    let all = failpoints();
    let todo = Mutex::new(all.iter());
    let reached = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some(point) = todo.lock().expect("nobody has panicked").next() else { break };
            let copy = world.copy();
            let mut command = copy.command(&["rollback", &second, "--auto-approve"]);
            command.env("ARGUS_FAILPOINT", point);
            let ran = run(command);
            let notes = copy.sql("SELECT count(*) FROM argus.rolled_back");
            if ran.code.is_none() {
                reached.lock().expect("nobody has panicked").push(point.clone());
            }
            match (ran.code.is_none(), point == "apply.after_commit") {
                // Not every kind is touched in every way.
                (false, _) => assert_eq!((picture(&copy), notes.as_str()), (old.clone(), "1"), "{point}: {ran}"),
                (true, true) => assert_eq!((picture(&copy), notes.as_str()), (old.clone(), "1"), "{point}"),
                (true, false) => {
                    assert_eq!((picture(&copy), notes.as_str()), (new.clone(), "0"), "{point}");
                    rollback(&copy, &second, &[]).ends(0);
                    assert_eq!(picture(&copy), old, "{point}");
                }
            }
        }
    };
    std::thread::scope(|threads| {
        let workers: Vec<_> = (0..2).map(|_| threads.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("all went well"));
    });
    let reached = reached.into_inner().expect("nobody has panicked");
    for step in ["after_begin", "after_rename.Role", "after_create.Member", "after_update.Budget", "after_delete.Team"]
    {
        assert!(reached.contains(&format!("apply.{step}")), "{step} was not reached: {reached:?}");
    }
}
