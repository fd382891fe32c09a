//! Pull requests: what a branch adds to what its base already plans.

use super::{ACME, Source, run};

const GRACE: &str = "    - user: grace@acme.example\n      role: member\n";

#[test]
fn a_branch_shows_what_it_adds_and_not_what_is_due_anyway() {
    let source = Source::acme();
    source.apply(&[]).ends(0);
    source.repository.git(&["checkout", "-q", "-b", "feature"]);
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Add grace");
    // The base has moved on, and is not applied yet: the old merge base must not look like a revert of it.
    source.repository.git(&["checkout", "-q", "main"]);
    source.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"), "Rename it");
    let objects = || source.repository.git(&["count-objects"]);
    let before = objects();
    let ran = source.plan(&["--base", "main", "--head", "feature"]).ends(2);
    ran.says("+ Member/grace@acme.example").says("Plan: 1 to add, 0 to change, 0 to destroy.").does_not_say("Acme Two");
    assert_eq!(objects(), before, "merging has written into the repository");
    source.plan(&["--ref", "main"]).ends(2).says("Acme Two");
    source.plan(&["--base", "feature", "--head", "feature"]).ends(0).says("No changes.");
    let json = source.here("plan", &["--base", "main", "--head", "feature", "--format", "json"]).ends(0).json();
    assert_eq!(json["plan"]["beyond"]["reference"], "main");
}

/// What attributes say of merging is another machine's business, and where directories went is not guessed.
#[test]
fn a_merge_that_git_might_make_otherwise_is_not_shown() {
    let source = Source::new();
    source.commit("old/acme.yaml", ACME, "Add acme");
    let git = |arguments: &[&str]| source.repository.git(arguments);
    git(&["checkout", "-q", "-b", "add"]);
    source.commit("old/globex.yaml", &ACME.replace("acme", "globex"), "Add globex");
    git(&["checkout", "-q", "main"]);
    git(&["mv", "old", "new"]);
    git(&["commit", "-q", "-m", "Rename the folder"]);
    source.plan(&["--base", "main", "--head", "add"]).ends(1).says("ARG1723").says("old/globex.yaml");
    source.plan(&["--base", "add", "--head", "main"]).ends(1).says("ARG1723").says("old/globex.yaml");
    let renamed = |text: &str| ACME.replace("Acme\n", &format!("{text}\n"));
    git(&["checkout", "-q", "-b", "union"]);
    source.repository.write(".gitattributes", "*.yaml merge=union\n");
    source.commit("new/acme.yaml", &renamed("One"), "One");
    git(&["checkout", "-q", "main"]);
    source.repository.write(".gitattributes", "*.yaml merge=union\n");
    source.repository.write(".git/info/attributes", "*.yaml merge=union\n");
    source.commit("new/acme.yaml", &renamed("Two"), "Two");
    source.plan(&["--base", "main", "--head", "union"]).ends(1).says("ARG1723").says("new/acme.yaml");
}

/// What is merged and not applied yet is taken back by whoever puts it as it was, in part or altogether.
#[test]
fn what_a_branch_takes_back_is_told() {
    let source = Source::acme();
    let team = |name: &str, about: &str| {
        format!(
            "apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata: {{name: core}}\nspec:\n  organization: acme\n  \
             displayName: {name}\n  description: {about}\n"
        )
    };
    source.commit("team.yaml", &team("Core", "One"), "Add a team");
    source.apply(&[]).ends(0);
    source.commit("team.yaml", &team("Core Two", "Two"), "Due: another name and description");
    source.repository.git(&["checkout", "-q", "-b", "part"]);
    source.commit("team.yaml", &team("Core Two", "One"), "The description stays");
    let ran = source.plan(&["--base", "main", "--head", "part"]);
    ran.says("ARG2017").says("`description` of Team/core is to be changed anyway");
    source.repository.git(&["checkout", "-q", "-b", "all", "main"]);
    source.commit("team.yaml", &team("Core", "One"), "All stays");
    source.plan(&["--base", "main", "--head", "all"]).says("ARG2017").says("Team/core is to be changed anyway");
    source.repository.git(&["checkout", "-q", "main"]);
    std::fs::remove_file(source.repository.path.join("team.yaml")).expect("it goes");
    source.repository.commit("Due: the team goes");
    source.repository.git(&["checkout", "-q", "-b", "back"]);
    source.commit("team.yaml", &team("Core", "One"), "It stays");
    let ran = source.plan(&["--base", "main", "--head", "back"]);
    ran.says("ARG2017").says("Team/core is to be deleted anyway");
}

#[test]
fn drift_is_not_the_doing_of_a_branch() {
    let source = Source::acme();
    source.apply(&[]).ends(0);
    source.world.sql("UPDATE argus.organization SET display_name = 'Mallory' WHERE name = 'acme'");
    source.repository.git(&["checkout", "-q", "-b", "feature"]);
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Add grace");
    source.plan(&["--base", "main", "--head", "feature"]).ends(2).says("1 to add, 0 to change").does_not_say("Mallory");
}

#[test]
fn a_branch_that_conflicts_is_told_where() {
    let source = Source::acme();
    source.repository.git(&["checkout", "-q", "-b", "feature"]);
    source.commit("acme.yaml", &ACME.replace("Acme\n", "Acme One\n"), "Rename it");
    source.repository.git(&["checkout", "-q", "main"]);
    source.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"), "Rename it otherwise");
    source.plan(&["--base", "main", "--head", "feature"]).ends(1).says("ARG1723").says("acme.yaml");
}

/// A branch changes neither the settings nor the policies that judge it.
#[test]
fn a_branch_is_judged_by_the_rules_of_its_base() {
    let source = Source::acme();
    let deny = "package acme\n\ndeny contains \"no more members\" if {\n\tsome change in input.changes\n\tchange.kind == \"Member\"\n}\n";
    source.commit("policies/members.rego", deny, "Add a policy");
    source.commit("argus.yaml", "source: acme\n", "Settings");
    source.repository.git(&["checkout", "-q", "-b", "feature"]);
    source.repository.git(&["rm", "-q", "-r", "policies"]);
    source.repository.write("argus.yaml", "source: other\nmode: observe\npolicies: none\nguards: {owners: 0}\n");
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Add grace and drop the rules");
    let ran = source.plan(&["--base", "main", "--head", "feature"]).ends(2);
    ran.says("no more members").says("Denied").does_not_say("observe");
}

/// A comment that is left as it was would tell of the plan of yesterday.
#[test]
fn a_comment_tells_that_a_branch_cannot_be_planned() {
    let source = Source::new();
    source.repository.write("argus.yaml", "source: acme-config\n");
    source.commit("acme.yaml", ACME, "Add acme");
    source.apply(&[]).ends(0);
    let comment = |head: &str| {
        let ran = source.plan(&["--base", "main", "--head", head, "--format", "markdown"]).ends(1);
        assert!(ran.out.starts_with("<!-- argus:plan acme-config -->\n### "), "{ran}");
        ran
    };
    comment("gone").says("This cannot be planned").says("**ARG1706**");
    source.repository.git(&["checkout", "-q", "-b", "broken"]);
    source.commit("acme.yaml", &ACME.replace("role: owner", "rolle: owner"), "Break it");
    let ran = comment("broken").does_not_say("### No changes.");
    ran.says("### Part of this cannot be planned\n\nNo changes.").says("(acme.yaml:9:7)").says("ARG2007");
    source.repository.git(&["checkout", "-q", "-b", "feature", "main"]);
    source.commit("acme.yaml", &ACME.replace("Acme\n", "Acme One\n"), "Rename it");
    source.repository.git(&["checkout", "-q", "main"]);
    source.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"), "Rename it otherwise");
    comment("feature").says("This cannot be planned").says("**ARG1723**").says("cannot be merged");
    // Nor does it take a database to say so.
    let mut command = source.here_command(&["--base", "main", "--head", "main", "--format", "markdown"]);
    command.env("ARGUS_DATABASE_URL", "");
    let ran = run(command).ends(1);
    assert!(ran.out.starts_with("<!-- argus:plan acme-config -->\n### This cannot be planned"), "{ran}");
}

impl Source {
    fn here_command(&self, arguments: &[&str]) -> std::process::Command {
        let path = self.repository.path.display().to_string();
        self.command(&[&["plan", "--git", &path], arguments].concat())
    }
}

/// What a branch says of its own rules does not show in its plan, and is told.
#[test]
fn a_branch_that_changes_the_rules_is_told_so() {
    let source = Source::acme();
    source.apply(&[]).ends(0);
    let plan = |branch: &str, arguments: &[&str]| {
        source.plan(&[&["--base", "main", "--head", branch], arguments].concat()).ends(0).says("No changes.")
    };
    source.repository.git(&["checkout", "-q", "-b", "settings"]);
    source.commit("argus.yaml", "source: default\nmode: observe\n", "Observe");
    let counts = "counts once it is merged";
    plan("settings", &[]).says("note[ARG1725]").says("changes argus.yaml;").says(counts).says("plan --ref settings");
    plan("settings", &["--format", "markdown"]).says("**ARG1725**").says("changes argus.yaml;");
    source.repository.git(&["checkout", "-q", "-b", "both"]);
    source.commit("policies/never.rego", "package acme\n\ndeny contains \"not today\"\n", "Add a policy");
    plan("both", &[]).says("changes argus.yaml and policies;");
    source.world.write("rules/ever.rego", "package acme\n\ndeny contains \"x\" if {\n\tfalse\n}\n");
    let rules = source.world.path("rules").display().to_string();
    plan("both", &["--policies", &rules]).says("changes argus.yaml;");
    // What the base has changed meanwhile is not the doing of the branch.
    source.repository.git(&["checkout", "-q", "-b", "other", "main"]);
    source.commit("notes.txt", "nothing", "Note something");
    source.repository.git(&["checkout", "-q", "main"]);
    source.commit("argus.yaml", "source: default\nmode: apply\n", "Apply only");
    plan("other", &[]).does_not_say("ARG1725");
}

/// Planning executes nothing, writes nothing, and connects to nothing but the database.
#[test]
fn fifty_hostile_branches_leave_everything_as_it_is() {
    let source = Source::acme();
    source.apply(&[]).ends(0);
    let canary = source.world.path("canary");
    let touch = format!("touch {}", canary.display());
    source.repository.write(".gitattributes", "*.yaml filter=evil diff=evil merge=evil\n");
    for (key, value) in [
        ("filter.evil.smudge", touch.as_str()),
        ("filter.evil.clean", &touch),
        ("filter.evil.process", &touch),
        ("diff.evil.textconv", &touch),
        ("merge.evil.driver", &touch),
        ("core.fsmonitor", &touch),
        ("core.sshCommand", &touch),
        ("core.hooksPath", "hooks"),
    ] {
        source.repository.git(&["config", key, value]);
    }
    let hook = source.repository.path.join("hooks/post-checkout");
    source.repository.write("hooks/post-checkout", &format!("#!/bin/sh\n{touch}\n"));
    source.repository.write(".git/hooks/post-merge", &format!("#!/bin/sh\n{touch}\n"));
    for path in [hook, source.repository.path.join(".git/hooks/post-merge")] {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    }
    let _ = std::fs::remove_file(&canary);
    source.repository.git(&[
        "-c",
        "filter.evil.clean=cat",
        "-c",
        "filter.evil.process=",
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "core.fsmonitor=",
        "add",
        "-A",
    ]);
    source.repository.git(&[
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "core.fsmonitor=",
        "-c",
        "filter.evil.clean=cat",
        "-c",
        "filter.evil.process=",
        "commit",
        "-q",
        "-m",
        "Settings",
    ]);
    let _ = std::fs::remove_file(&canary);
    let base = source.repository.git(&["rev-parse", "main"]);
    let blob = |text: &str| source.repository.object("blob", text.as_bytes());
    let good = blob(&format!("{ACME}{GRACE}"));
    let evil = blob("include: /etc/passwd\n");
    let link = blob("/etc/passwd");
    // A transaction that writes fails from here on.
    source.world.sql(
        "DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
         END $$",
    );
    let written = || {
        source
            .world
            .sql("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE schemaname = 'argus'")
    };
    let files = || {
        let mut all: Vec<_> = std::fs::read_dir(source.repository.path.join(".git/objects"))
            .expect("objects")
            .count()
            .to_le_bytes()
            .into();
        all.extend(std::fs::read(source.repository.path.join(".git/config")).expect("settings"));
        all
    };
    let mut heads = Vec::new();
    for number in 0..50 {
        let name = format!("x{number}.yaml");
        let entries: Vec<(&str, &str, &str)> = match number % 10 {
            0 => vec![("100644", "acme.yaml", &good), ("120000", &name, &link)],
            1 => vec![("100644", "acme.yaml", &good), ("160000", &name, &base)],
            2 => vec![("100644", "..", &evil), ("100644", "acme.yaml", &good)],
            3 => vec![("100644", ".GIT", &evil), ("100644", "acme.yaml", &good)],
            4 => vec![("100644", "acme.yaml", &good), ("100644", "../../evil.yaml", &evil)],
            5 => vec![("100644", "acme.yaml", &good), ("100644", "acme.yaml", &evil)],
            6 => vec![("100644", "ACME.yaml", &evil), ("100644", "acme.yaml", &good)],
            7 => vec![("100644", "acme.yaml", &evil)],
            8 => vec![("100755", "acme.yaml", &good), ("100755", "argus.yaml", &evil)],
            _ => vec![("100644", "acme.yaml", &good), ("100644", "$(id).yaml", &evil)],
        };
        let tree = source.repository.tree(&entries);
        let commit = source.repository.git(&["commit-tree", &tree, "-p", &base, "-m", "Evil"]);
        source.repository.git(&["update-ref", &format!("refs/heads/evil-{number}"), &commit]);
        heads.push(commit);
    }
    let (rows, before) = (written(), files());
    for head in &heads {
        let ran = source.plan(&["--base", "main", "--head", head]);
        assert!(matches!(ran.code, Some(0..=2)), "{ran}");
        let ran = source.plan(&["--ref", head]);
        assert!(matches!(ran.code, Some(0..=2)), "{ran}");
    }
    assert_eq!(written(), rows, "the database has moved");
    assert_eq!(files(), before, "the repository has moved");
    assert!(!canary.exists(), "something of the repository was executed");
}
