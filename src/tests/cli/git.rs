//! Git as the source: real repositories, real servers on loopback, a database per test.

mod below;
mod history;
mod holds;
mod hostile;
mod moved;
mod requests;
mod servers;
mod shallow;
mod signed;

use std::process::Command;

use super::{ACME, Ran, World, run};
use crate::support::git::Repository;

/// A database, a repository, and a folder for mirrors.
struct Source {
    world: World,
    repository: Repository,
}

impl Source {
    /// A repository with nothing in it.
    fn new() -> Source {
        Source { world: World::new(), repository: Repository::new() }
    }

    /// A repository with one organization, committed.
    fn acme() -> Source {
        let source = Source::new();
        source.commit("acme.yaml", ACME, "Add acme (#7)");
        source
    }

    /// Commits a file and gives the commit.
    fn commit(&self, file: &str, text: &str, message: &str) -> String {
        self.repository.write(file, text);
        self.repository.commit(message)
    }

    /// The binary, with mirrors in a folder of its own and no home.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command.env("XDG_CACHE_HOME", self.world.path("cache")).env("HOME", self.world.path("home"));
        command
    }

    fn argus(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments))
    }

    /// A command on the repository by its path.
    fn here(&self, command: &str, arguments: &[&str]) -> Ran {
        let path = self.repository.path.display().to_string();
        self.argus(&[&[command, "--git", &path], arguments].concat())
    }

    fn plan(&self, arguments: &[&str]) -> Ran {
        self.here("plan", &[&["--detailed-exitcode"], arguments].concat())
    }

    fn apply(&self, arguments: &[&str]) -> Ran {
        self.here("apply", &[&["--auto-approve"], arguments].concat())
    }

    /// The settings of a machine, in a file.
    fn settings(&self, text: &str) -> String {
        self.world.write("machine.yaml", text);
        self.world.path("machine.yaml").display().to_string()
    }
}

/// A machine may do less than a repository asks for, and more.
#[test]
fn the_mode_of_the_machine_outweighs_that_of_the_repository() {
    let source = Source::new();
    source.commit("argus.yaml", "mode: observe\n", "Observe");
    source.commit("acme.yaml", ACME, "Add acme");
    source.apply(&[]).ends(0).says("ARG3201");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.organization"), "0");
    let machine = source.settings("git: { mode: apply }\n");
    source.apply(&["--config", &machine]).ends(0).says("2 added");
    source.commit("argus.yaml", "mode: enforce\n", "Enforce");
    source.world.sql("UPDATE argus.organization SET display_name = 'Mine'");
    source.apply(&["--config", &machine]).ends(0);
    assert_eq!(source.world.sql("SELECT display_name FROM argus.organization"), "Mine");
}

/// Settings, policies, manifests and the lines that findings show come from the commit, whatever stands in the work tree.
#[test]
fn a_commit_is_read_and_the_work_tree_is_not() {
    let source = Source::acme();
    source.repository.write("acme.yaml", "nothing: of this\n");
    source.repository.write("other.yaml", "nor: of this\n");
    source.apply(&[]).ends(0).says("Applied: 2 added");
    source.plan(&[]).ends(0).says("No changes.");
    source.commit("acme.yaml", &ACME.replace("role: owner", "rolle: owner"), "Break it");
    source.plan(&[]).ends(1).says("acme.yaml:9:7").says("rolle: owner").says("did you mean");
}

#[test]
fn branches_tags_and_commits_can_be_asked_for() {
    let source = Source::acme();
    let first = source.repository.git(&["rev-parse", "HEAD"]);
    source.repository.git(&["tag", "v1"]);
    source.repository.git(&["tag", "-a", "v1-annotated", "-m", "one"]);
    source.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"), "Rename it");
    for name in ["v1", "v1-annotated", &first, "main~1"] {
        source.plan(&["--ref", name]).ends(2).says("displayName: \"Acme\"").does_not_say("Acme Two");
    }
    source.plan(&["--ref", "main"]).ends(2).says("Acme Two");
    source.plan(&["--ref", "gone"]).ends(1).says("ARG1706");
    source.plan(&["--ref=--upload-pack=id"]).ends(1).says("ARG1706");
}

#[test]
fn only_some_of_a_repository_can_be_read() {
    let source = Source::acme();
    source.commit("other/broken.yaml", "kind: Nonsense\n", "Add what is broken");
    source.plan(&[]).ends(1);
    source.plan(&["--path", "acme.yaml"]).ends(2).says("Plan: 2 to add");
    source.plan(&["--path", "gone"]).ends(1).says("ARG1013").says("gone");
    source.plan(&["--path", "../acme.yaml"]).ends(1).says("leads out of the source");
    source.commit("argus.yaml", "source: acme\npaths: [acme.yaml]\n", "Say what is read");
    source.plan(&[]).ends(2).says("Plan: 2 to add");
}

#[test]
fn policies_are_those_of_the_commit() {
    let source = Source::acme();
    let deny = "package acme\n\ndeny contains \"not today\"\n";
    source.commit("policies/never.rego", deny, "Add a policy");
    source.plan(&[]).ends(2).says("Denied").says("not today");
    source.apply(&[]).ends(3);
    // Removing them is noticed, and the work tree is not asked.
    source.repository.git(&["rm", "-q", "-r", "--cached", "policies"]);
    source.repository.git(&["commit", "-q", "-m", "Drop the policy"]);
    source.apply(&[]).ends(3).says("ARG3114");
}

/// What the environment says is not told as a flag that nobody has typed, and what is empty there says nothing.
#[test]
fn a_variable_that_names_the_repository_is_called_by_its_name() {
    let source = Source::acme();
    source.world.write("acme.yaml", ACME);
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = source.command(arguments);
        command.envs(variables.iter().copied());
        run(command)
    };
    let here = source.repository.path.display().to_string();
    with(&[("ARGUS_GIT_URL", ""), ("ARGUS_GIT_REF", "")], &["plan", "."]).ends(0).says("Plan: 2 to add");
    with(&[("ARGUS_GIT_URL", &here)], &["plan"]).ends(0).says("Plan: 2 to add");
    let both = with(&[("ARGUS_GIT_URL", &here)], &["plan", "."]);
    both.ends(1).says("ARGUS_GIT_URL cannot be used with the directory .").does_not_say("--git");
    with(&[], &["plan", ".", "--git", &here]).ends(1).says("--git cannot be used with the directory .");
    with(&[], &["plan", "--git", ""]).ends(1).says("ARG1701");
    let both = with(&[("ARGUS_GIT_REF", "main")], &["plan", "--git", &here, "--base", "main"]);
    both.ends(1).says("--base cannot be used with ARGUS_GIT_REF");
    let snapshot = ["plan", "--snapshot", "none.json", "--snapshot-unsigned"];
    with(&[("ARGUS_GIT_URL", &here)], &snapshot).ends(1).says("--snapshot cannot be used with ARGUS_GIT_URL");
    with(&[("ARGUS_GIT_URL", "")], &snapshot).ends(1).says("ARG4006");
}
