//! Shallow clones: what lies beyond their end is asked for, and never guessed.

use super::{ACME, Ran, Source};

const GRACE: &str = "    - user: grace@acme.example\n      role: member\n";

impl Source {
    /// Clones only so many commits of each branch, and gives the path.
    fn clone_of(&self, depth: &str) -> String {
        let clone = self.world.path(&format!("clone-{depth}")).display().to_string();
        let _ = std::fs::remove_dir_all(&clone);
        let origin = format!("file://{}", self.repository.path.display());
        self.repository.git(&["clone", "-q", "--no-single-branch", "--depth", depth, &origin, &clone]);
        clone
    }

    fn plan_of(&self, clone: &str, arguments: &[&str]) -> Ran {
        self.argus(&[&["plan", "--detailed-exitcode", "--git", clone], arguments].concat())
    }
}

#[test]
fn a_shallow_clone_does_not_look_rewound() {
    let source = Source::acme();
    source.apply(&[]).ends(0);
    let added = source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Add grace");
    source.commit("notes.txt", "nothing", "Note something");
    let ran = source.plan_of(&source.clone_of("1"), &[]).ends(1);
    ran.says("ARG1724").says("fetch-depth: 0").does_not_say("ARG1721");
    // What reaches back to the applied commit is enough.
    source.plan_of(&source.clone_of("3"), &[]).ends(2).says(&added[..12]).says("1 to add");
}

#[test]
fn nobody_is_blamed_for_what_a_shallow_clone_does_not_show() {
    let source = Source::acme();
    source.commit("notes.txt", "nothing", "Note something");
    let clone = source.clone_of("1");
    source.plan_of(&clone, &[]).ends(1).says("ARG1724").does_not_say("Ada <ada@acme.example>");
    source.argus(&["apply", "--auto-approve", "--force", "--git", &clone]).ends(1).says("ARG1724");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.organization"), "0");
    source.repository.git(&["-C", &clone, "fetch", "-q", "--unshallow"]);
    source.plan_of(&clone, &[]).ends(2).says("Plan: 2 to add").says("Ada <ada@acme.example>");
}

#[test]
fn branches_of_a_shallow_clone_do_not_look_in_conflict() {
    let source = Source::acme();
    source.repository.git(&["checkout", "-q", "-b", "feature"]);
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Add grace");
    source.repository.git(&["checkout", "-q", "main"]);
    source.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"), "Rename it");
    let request = ["--base", "origin/main", "--head", "origin/feature"];
    source.plan_of(&source.clone_of("1"), &request).ends(1).says("ARG1724").does_not_say("ARG1723");
    source.plan_of(&source.clone_of("5"), &request).ends(2).says("Plan: 1 to add");
}
