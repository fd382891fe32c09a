//! Whose a row is, what absence means, and how a row keeps its identity.

use super::{ACME, World};

/// A document of one kind in acme.
fn document(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: argus.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{organization: acme{spec}}}\n"
    )
}

fn removal(kind: &str, name: &str, mode: &str) -> String {
    let spec = format!(", target: {{kind: {kind}, name: {name}}}, reason: it is over, mode: {mode}");
    document("Removal", &format!("drop-{}", name.replace(['@', '.'], "-")), &spec)
}

fn count(world: &World, table: &str) -> String {
    world.sql(&format!("SELECT count(*) FROM argus.{table}"))
}

#[test]
fn what_another_source_owns_is_refused_and_its_owner_named() {
    let world = World::new();
    world.write("one/acme.yaml", ACME).write("one/argus.yaml", "source: first\n");
    world.write("two/acme.yaml", &ACME.replace("Acme", "Stolen")).write("two/argus.yaml", "source: second\n");
    world.argus(&["apply", "one", "--auto-approve"]).ends(0);
    world
        .argus(&["plan", "two"])
        .ends(1)
        .says("ARG2001")
        .says("the source `first` owns")
        .says("acme.yaml:1:1")
        .says("acme.yaml:8:7");
    world.argus(&["apply", "two", "--auto-approve"]).ends(1).says("ARG2001");
    assert_eq!(world.sql("SELECT display_name FROM argus.organization"), "Acme");
    // A second source that describes nothing of it takes nothing away.
    world.write("two/acme.yaml", &ACME.replace("acme", "globex"));
    world.argus(&["apply", "two", "--auto-approve"]).ends(0);
    assert_eq!(count(&world, "organization"), "2");
    world.argus(&["plan", "one", "--detailed-exitcode"]).ends(0);
}

#[test]
fn a_row_that_nobody_owns_is_adopted_only_by_a_plan_that_says_so() {
    let world = World::new();
    world.mallory(
        "psql",
        "INSERT INTO argus.organization (name, display_name, description) VALUES ('acme', 'Acme', 'kept')",
    );
    world.write("acme.yaml", ACME);
    world.plan().ends(2).says("~ Organization/acme (adopt)");
    assert_eq!(world.plan_json()["plan"]["organizations"][0]["changes"][0]["action"], "adopt");
    let id = world.sql("SELECT id FROM argus.organization");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT id, description FROM argus.organization"), format!("{id}|kept"));
    world.is_settled();
}

#[test]
fn a_removal_deletes_the_row_or_lets_go_of_it() {
    for mode in ["delete", "release"] {
        let world = World::with(ACME);
        world.write("legacy.yaml", &document("Project", "legacy", ", displayName: Legacy"));
        world.apply().ends(0);
        world.write("legacy.yaml", &removal("Project", "legacy", mode));
        let plan = world.plan().ends(2).says("Project/legacy").says("it is over");
        let stays = mode == "release";
        plan.says(if stays { "(release: the row stays)" } else { "1 to destroy" });
        world.apply().ends(0);
        assert_eq!(count(&world, "project"), if stays { "1" } else { "0" });
        assert_eq!(world.sql("SELECT count(*) FROM argus.applied WHERE kind = 'Project'"), "0");
        world.plan().ends(0).says("the removal of Project `legacy` is done and may be deleted");
        world.remove("legacy.yaml");
        world.plan().ends(0);
    }
}

#[test]
fn a_project_that_leaves_its_manifest_is_held_until_somebody_says_so() {
    let world = World::with(ACME);
    world.write("search.yaml", &document("Project", "search", ""));
    world.apply().ends(0);
    world.remove("search.yaml");
    world.plan().ends(2).says("held[ARG2002]");
    world.apply().ends(4).says("ARG2002").says("declare a Removal");
    assert_eq!(count(&world, "project"), "1");
    world.argus(&["apply", "--auto-approve", "--force"]).ends(0);
    assert_eq!(count(&world, "project"), "0");
    assert_eq!(
        world.sql("SELECT string_agg(forced::text, ',' ORDER BY started_at) FROM argus.run"),
        "false,false,true"
    );
}

#[test]
fn an_organization_that_leaves_is_held_until_somebody_says_so() {
    let world = World::with(ACME);
    world.write("globex.yaml", &ACME.replace("acme", "globex").replace("Acme", "Globex"));
    world.apply().ends(0);
    world.remove("globex.yaml");
    world.apply().ends(4).says("ARG2002").says("globex");
    assert_eq!(count(&world, "organization"), "2");
    let removal = removal("Organization", "globex", "delete").replace("organization: acme", "organization: globex");
    world.write("globex.yaml", &removal);
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT name FROM argus.organization"), "acme");
    assert_eq!(world.sql("SELECT count(*) FROM argus.applied WHERE organization = 'globex'"), "0");
    world.remove("globex.yaml");
    world.is_settled();
}

#[test]
fn what_is_not_protected_goes_with_its_manifest() {
    let world = World::with(ACME);
    world.write("core.yaml", &document("Team", "core", "")).write("more.yaml", &document("Team", "more", ""));
    world.apply().ends(0);
    world.remove("core.yaml");
    world.plan().ends(2).says("- Team/core").says("no longer declared in core.yaml");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT name FROM argus.team"), "more");
    world.is_settled();
}

#[test]
fn absence_by_accident_deletes_nothing() {
    let world = World::applied(ACME);
    let unharmed = || {
        assert_eq!((count(&world, "organization"), count(&world, "member")), ("1".into(), "1".into()));
        assert_eq!(world.sql("SELECT count(*) FROM argus.applied"), "2");
    };
    for emptied in ["", "# nothing any more\n", "---\n", "just: [cut"] {
        world.write("acme.yaml", emptied);
        let ran = world.apply();
        assert!(matches!(ran.code, Some(1 | 4)), "{emptied:?}: {ran}");
        unharmed();
    }
    std::fs::write(world.path("acme.yaml"), b"kind: \xff\xfe").expect("a file");
    world.apply().ends(1).says("ARG1002");
    unharmed();
    // Root reads whatever it wants; a link is what nobody follows.
    world.remove("acme.yaml");
    std::os::unix::fs::symlink("/etc/hostname", world.path("acme.yaml")).expect("a link");
    world.apply().ends(1).says("ARG1016");
    unharmed();
    world.remove("acme.yaml");
    world.apply().ends(1).says("ARG1013").says("holds no manifest");
    unharmed();
    world.write("tier.yaml", "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata: {name: small}\n");
    world.apply().ends(4).says("ARG3009").says("would empty itself");
    unharmed();
    world.argus(&["apply", "no/such/folder", "--auto-approve"]).ends(1).says("no/such/folder");
    world.argus(&["apply", "acme.yaml", "--auto-approve"]).ends(1);
    unharmed();
    world.write("acme.yaml", ACME);
    world.apply().ends(0);
    world.is_settled();
}

#[test]
fn what_is_renamed_keeps_its_row_and_all_that_hangs_on_it() {
    let text = |team: &str, account: &str, person: &str, project: &str, role: &str, previous: bool| {
        let was = |name: &str, key: &str| if previous { format!(", {key}: {name}") } else { String::new() };
        format!(
            "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {{name: acme}}\nspec:\n\
             \x20 roles: [{{name: {role}, permissions: [\"keys:read\"]{}}}]\n\
             \x20 members: [{{user: ada@acme.example, role: owner}}, {{user: {person}, role: {role}{}}}]\n\
             \x20 teams: [{{name: {team}{}}}, {{name: child, parent: {team}, members: [{{user: {person}}}]}}]\n\
             \x20 projects: [{{name: {project}, teams: [{{team: {team}}}]{}}}]\n\
             \x20 serviceAccounts: [{{name: {account}, role: {role}{}}}]\n\
             \x20 apiKeys: [{{name: key, owner: {{serviceAccount: {account}}}, scopes: [read]}}]\n\
             \x20 budgets: [{{name: monthly, period: monthly, limit: 5 USD, subject: {{project: {project}}}}}]\n",
            was("auditor", "previousName"),
            was("bob@acme.example", "previousName"),
            was("old", "previousName"),
            was("alpha", "previousName"),
            was("robot", "previousName"),
        )
    };
    let world = World::applied(&text("old", "robot", "bob@acme.example", "alpha", "auditor", false));
    let ids = || {
        let tables = ["team", "project", "role", "service_account", "api_key", "budget", "member"];
        let of = |table| format!("SELECT '{table}' AS t, id FROM argus.{table}");
        world.sql(&format!("{} ORDER BY 1, 2", tables.map(of).join(" UNION ALL ")))
    };
    let before = ids();
    world.write("acme.yaml", &text("new", "engine", "rob@acme.example", "beta", "checker", true));
    let plan = world.plan().ends(2).says("Team/new (renamed from old)").says("Project/beta (renamed from alpha)");
    let plan = plan.says("Role/checker (renamed from auditor)").says("ServiceAccount/engine (renamed from robot)");
    plan.says("rob@acme.example (renamed from bob@acme.example)").says("Plan: 0 to add, 5 to change, 0 to destroy.");
    world.apply().ends(0);
    assert_eq!(ids(), before);
    assert_eq!(world.sql("SELECT parent FROM argus.team WHERE name = 'child'"), "new");
    assert_eq!(world.sql("SELECT member FROM argus.team_member"), "rob@acme.example");
    assert_eq!(world.sql("SELECT owner_service_account FROM argus.api_key"), "engine");
    assert_eq!(world.sql("SELECT team, project FROM argus.project_team"), "new|beta");
    assert_eq!(world.sql("SELECT subject_project FROM argus.budget"), "beta");
    assert_eq!(world.sql("SELECT role FROM argus.member_role WHERE member LIKE 'rob%'"), "checker");
    world.plan().ends(0).says("its previous name may be deleted");
    world.write("acme.yaml", &text("new", "engine", "rob@acme.example", "beta", "checker", false));
    world.is_settled();
}

#[test]
fn an_organization_that_is_renamed_takes_everything_along() {
    let world = World::applied(&format!("{ACME}  teams: [{{name: core}}]\n"));
    let id = world.sql("SELECT id FROM argus.organization");
    let renamed = ACME.replace("name: acme", "name: apex\n  annotations: {argus.io/previous-name: acme}");
    world.write("acme.yaml", &format!("{renamed}  teams: [{{name: core}}]\n"));
    world.plan().ends(2).says("Organization/apex (renamed from acme)").says("0 to add, 1 to change, 0 to destroy");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT id, name FROM argus.organization"), format!("{id}|apex"));
    assert_eq!(world.sql("SELECT organization, name FROM argus.team"), "apex|core");
    assert_eq!(world.sql("SELECT DISTINCT organization FROM argus.applied"), "apex");
    world.is_settled();
    world.write("acme.yaml", &format!("{}  teams: [{{name: core}}]\n", ACME.replace("name: acme", "name: apex")));
    world.is_settled();
}

#[test]
fn a_delete_and_a_create_that_look_like_a_rename_are_held() {
    let team = |name| format!("{ACME}  teams: [{{name: {name}, displayName: Core, description: The core.}}]\n");
    let world = World::applied(&team("core"));
    let id = world.sql("SELECT id FROM argus.team");
    world.write("acme.yaml", &team("heart"));
    world.apply().ends(4).says("ARG2003").says("looks like a rename").says("previousName: core");
    assert_eq!(world.sql("SELECT id, name FROM argus.team"), format!("{id}|core"));
    world.write("acme.yaml", &team("heart, previousName: core"));
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT id, name FROM argus.team"), format!("{id}|heart"));
}

#[test]
fn the_last_tier_that_leaves_its_manifests_goes() {
    let world = World::with(ACME);
    world.write(
        "tiers.yaml",
        "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata:\n  name: trial\nspec:\n  limits:\n    members: 3\n",
    );
    world.apply().ends(0);
    world.remove("tiers.yaml");
    world.plan().ends(2).says("- Tier/trial");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT count(*) FROM argus.tier"), "0");
    world.is_settled();
}

#[test]
fn a_released_project_stays_as_long_as_its_removal_and_is_held_after_it() {
    let projects = |more: &str| format!("{ACME}  projects:\n    - name: keep\n{more}");
    let world = World::applied(&projects("    - name: legacy\n"));
    let removal = "  removals:\n    - {name: r, target: {kind: Project, name: legacy}, reason: x, mode: release}\n";
    world.write("acme.yaml", &projects(removal));
    world.apply().ends(0).says("1 released");
    // All projects are declared, so the removal still says something: nobody is invited to delete it.
    world.argus(&["plan", "--full", "--detailed-exitcode"]).ends(0).does_not_say("ARG2006");
    world.write("acme.yaml", &projects(""));
    world.apply().ends(4).says("ARG2002");
    assert_eq!(world.sql("SELECT string_agg(name, ' ' ORDER BY name) FROM argus.project"), "keep legacy");
}

#[test]
fn a_project_renamed_by_sql_is_not_deleted_and_made_anew_unseen() {
    let world = World::applied(&format!("{ACME}  projects:\n    - name: search\n"));
    world.sql("UPDATE argus.project SET name = 'search2'");
    world.apply().ends(4).says("Project/search2");
    assert_eq!(world.sql("SELECT name FROM argus.project"), "search2");
}

#[test]
fn a_rename_that_is_done_leaves_the_old_name_to_others() {
    let team = |fields: &str| format!("{ACME}  teams:\n    - name: {fields}\n");
    let world = World::applied(&team("tb"));
    world.write("acme.yaml", &team("tx\n      previousName: tb"));
    world.apply().ends(0);
    world.sql("INSERT INTO argus.team (organization, name) VALUES ('acme', 'tb')");
    world.plan().ends(2).says("- Team/tb (extra)").does_not_say("ARG2004");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT name FROM argus.team"), "tx");
}

#[test]
fn many_lookalikes_are_held_and_counted() {
    let accounts = |head: &str| {
        let one = |number: usize| {
            format!("    - {{name: {head}{number}, displayName: D{}, description: same}}\n", number % 7)
        };
        format!("{ACME}  serviceAccounts:\n{}", (0..300).map(one).collect::<String>())
    };
    let world = World::applied(&accounts("a"));
    world.write("acme.yaml", &accounts("b"));
    let plan = world.plan().ends(2).says("280 more look like renames");
    assert_eq!(plan.out.matches("this looks like a rename").count(), 20);
    world.apply().ends(4);
}

#[test]
fn a_tier_that_was_in_use_goes_with_the_next_run() {
    let tier = |name: &str| format!("apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata: {{name: {name}}}\n");
    let organization = |tier: &str| ACME.replace("displayName: Acme", &format!("displayName: Acme\n  tier: {tier}"));
    let world = World::with(&organization("t1"));
    world.write("tiers.yaml", &tier("t1"));
    world.apply().ends(0);
    world.write("tiers.yaml", &tier("t9")).write("acme.yaml", &organization("t9"));
    world.apply().ends(0).says("ARG2009");
    world.plan().ends(2).says("- Tier/t1");
    world.apply().ends(0);
    world.is_settled();
}

#[test]
fn half_of_a_dependency_is_told_before_anything_is_written() {
    let world = World::applied(&format!("{ACME}  teams: [{{name: tc}}, {{name: told}}]\n"));
    let teams = "[{name: tc, parent: tnew, members: [{user: bob@acme.example}]}, {name: tnew}, \
                 {name: renamed, previousName: told}, {name: last, parent: renamed}]";
    let bob = "    - user: bob@acme.example\n      role: owner\n";
    world.write("acme.yaml", &format!("{ACME}{bob}  teams: {teams}\n"));
    let limited = |targets: &[&str]| {
        let targets: Vec<&str> = targets.iter().flat_map(|target| ["--target", target]).collect();
        world.argus(&[&["apply", "--auto-approve"], &targets[..]].concat())
    };
    let ran = limited(&["acme/Team/tc"]).ends(1).says("ARG1102").does_not_say("ARG4002").does_not_say("SQLSTATE");
    let ran = ran.says("acme/Team/tc needs acme/Team/tnew").says("`parent` names it").says("--target acme/Team/tnew");
    ran.says("--target acme/Member/bob@acme.example").says("acme.yaml:12:");
    world.argus(&["plan", "--target", "acme/Team/tc"]).ends(1).says("ARG1102");
    limited(&["acme/Team/last"]).ends(1).says("--target acme/Team/renamed");
    assert_eq!(world.sql("SELECT count(*) FROM argus.team WHERE parent IS NOT NULL"), "0");
    limited(&["acme/Team/tc", "acme/Team/tnew", "acme/Member/bob@acme.example"]).ends(0);
    limited(&["acme/Team/last", "acme/Team/renamed"]).ends(0);
    world.is_settled();
}

#[test]
fn what_belongs_to_something_that_is_not_meant_says_so() {
    let world = World::with(&ACME.replace("spec:\n", "spec:\n  tier: trial\n"));
    world.write("tier.yaml", "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata: {name: trial}\n");
    let member = world.argus(&["apply", "--auto-approve", "--target", "acme/Member/ada@acme.example"]);
    member.ends(1).says("it belongs to it").says("--target Organization/acme");
    let organization = world.argus(&["apply", "--auto-approve", "--target", "acme"]);
    organization.ends(1).says("`tier` names it").says("--target Tier/trial");
    world.argus(&["apply", "--auto-approve", "--target", "acme", "--target", "Tier/trial"]).ends(0);
    world.is_settled();
}
