//! What a history does not explain is held: organization by organization, and whatever becomes of the others.

use super::{ACME, Source};

const TEAM: &str = "apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata:\n  name: core\nspec:\n  organization: acme\n";

impl Source {
    /// Two files, of which one holds a team, applied.
    fn with_team() -> Source {
        let source = Source::new();
        source.commit("acme.yaml", ACME, "Add acme");
        source.commit("teams/core.yaml", TEAM, "Add a team");
        source.apply(&[]).ends(0).says("3 added");
        source
    }

    fn teams(&self) -> String {
        self.world.sql("SELECT count(*) FROM argus.team")
    }
}

#[test]
fn a_history_that_cannot_be_read_explains_nothing() {
    let source = Source::with_team();
    let applied = source.repository.git(&["rev-parse", "HEAD"]);
    // `git` takes this tree, and whoever goes back through the history stumbles over its mode.
    let blob = source.repository.git(&["rev-parse", "HEAD:acme.yaml"]);
    let odd = source.repository.tree(&[("1100644", "x", &blob)]);
    let without = source.repository.tree(&[("100644", "acme.yaml", &blob)]);
    let odd = source.repository.git(&["commit-tree", &odd, "-m", "Odd"]);
    let forced = source.repository.git(&["commit-tree", &without, "-p", &odd, "-m", "Force it"]);
    source.repository.git(&["update-ref", "refs/heads/forced", &forced]);
    source.apply(&["--ref", "forced"]).ends(4).says("ARG1708").says("ARG1721");
    assert_eq!(source.teams(), "1");
    // The same on top of what was applied, so that nothing is rewound and only the reason for what is gone is missing.
    let merged = ["commit-tree", &without, "-p", &applied, "-p", &odd, "-m", "Merge it"];
    let merged = source.repository.git(&merged);
    source.repository.git(&["update-ref", "refs/heads/merged", &merged]);
    source.apply(&["--ref", "merged"]).ends(4).says("ARG1708").says("ARG1722");
    assert_eq!(source.teams(), "1");
}

#[test]
fn a_removal_from_before_the_last_apply_explains_nothing() {
    let source = Source::new();
    source.commit("acme.yaml", ACME, "Add acme");
    source.commit("teams/core.yaml", TEAM, "Add a team");
    source.repository.git(&["rm", "-q", "teams/core.yaml"]);
    source.repository.git(&["commit", "-q", "-m", "Drop the team"]);
    source.commit("teams/core.yaml", TEAM, "Put it back");
    source.apply(&[]).ends(0).says("3 added");
    source.commit("notes.txt", "nothing", "Note something");
    source.apply(&["--path", "acme.yaml"]).ends(4).says("ARG1722").says("acme/Team/core is gone");
    assert_eq!(source.teams(), "1");
    // Nor does one that came since, as long as the file still holds it.
    source.repository.git(&["checkout", "-q", "-b", "side"]);
    source.repository.git(&["rm", "-q", "teams/core.yaml"]);
    source.repository.git(&["commit", "-q", "-m", "Drop it aside"]);
    source.repository.git(&["checkout", "-q", "main"]);
    source.commit("notes.txt", "more", "Note more");
    source.repository.git(&["merge", "-q", "-s", "ours", "--no-edit", "side"]);
    source.apply(&["--path", "acme.yaml"]).ends(4).says("ARG1722");
    assert_eq!(source.teams(), "1");
    source.repository.git(&["rm", "-q", "teams/core.yaml"]);
    source.repository.git(&["commit", "-q", "-m", "Drop it again"]);
    source.apply(&["--path", "acme.yaml"]).ends(0).says("1 destroyed");
}

#[test]
fn a_rewound_branch_counts_as_applied_only_when_somebody_insists() {
    let source = Source::acme();
    source.apply(&[]).ends(0);
    let orphan = source.repository.git(&["commit-tree", "HEAD^{tree}", "-m", "Force what is there"]);
    source.repository.git(&["update-ref", "refs/heads/main", &orphan]);
    source.apply(&[]).ends(4).says("ARG1721").says("No changes.").says("argus apply --force");
    // What comes next on it is held as well, however often it was looked at.
    source.commit("acme.yaml", &ACME.replace("Acme\n", "Forced\n"), "Rename it");
    source.apply(&[]).ends(4).says("held[ARG1721]");
    source.apply(&[]).ends(4).says("held[ARG1721]");
    source.repository.git(&["reset", "-q", "--hard", &orphan]);
    source.apply(&["--force"]).ends(0).says("ARG1721");
    source.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"), "Rename it otherwise");
    source.apply(&[]).ends(0).says("1 changed").does_not_say("ARG1721");
}

#[test]
fn what_was_held_stays_where_it_was_while_others_are_applied() {
    let source = Source::with_team();
    source.commit("globex.yaml", &ACME.replace("acme", "globex"), "Add globex");
    source.apply(&[]).ends(0);
    // The team is hidden and its organization held, while the other one is applied.
    let paths = ["--path", "acme.yaml", "--path", "globex.yaml"];
    source.commit("globex.yaml", &ACME.replace("acme", "globex").replace("Acme\n", "Globex\n"), "Rename globex");
    source.apply(&paths).ends(4).says("ARG1722").says("1 changed");
    // A removal that came before the others were applied still counts for it.
    source.repository.git(&["rm", "-q", "teams/core.yaml"]);
    source.repository.git(&["commit", "-q", "-m", "Drop the team"]);
    source.commit("globex.yaml", &ACME.replace("acme", "globex").replace("Acme\n", "Again\n"), "Rename it again");
    source.apply(&["--target", "globex"]).ends(0).says("1 changed");
    source.apply(&[]).ends(0).says("1 destroyed");
    assert_eq!(source.teams(), "0");
}
