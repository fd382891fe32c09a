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
    let merged = ["commit-tree", &format!("{applied}^{{tree}}"), "-p", &applied, "-p", &odd, "-m", "Merge it"];
    let merged = source.repository.git(&merged);
    source.repository.git(&["update-ref", "refs/heads/merged", &merged]);
    source.apply(&["--ref", "merged", "--path", "acme.yaml"]).ends(4).says("ARG1708").says("ARG1722");
    assert_eq!(source.teams(), "1");
}
