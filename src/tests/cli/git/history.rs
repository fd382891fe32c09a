//! Where a commit comes from: who wrote what, who removed what, and whether it leads on from what was applied.

use super::{ACME, Source};

const GRACE: &str = "    - user: grace@acme.example\n      role: member\n";

impl Source {
    /// Commits as somebody else.
    fn commit_as(&self, who: &str, file: &str, text: &str, message: &str) -> String {
        self.repository.write(file, text);
        let author = format!("{who} <{}@acme.example>", who.to_lowercase());
        self.repository.git(&["add", "-A"]);
        self.repository.git(&["commit", "-q", "-m", message, "--author", &author]);
        self.repository.git(&["rev-parse", "HEAD"])
    }
}

#[test]
fn each_change_names_the_commit_that_wrote_its_line() {
    let source = Source::acme();
    let added = source.commit_as("Mallory", "acme.yaml", &format!("{ACME}{GRACE}"), "Add grace (#8)");
    // What stands above moves the lines, and is somebody else's.
    let moved = format!("# A comment\n\n{ACME}{GRACE}").replace("Acme\n", "Acme Two\n");
    let renamed = source.commit_as("Eve", "acme.yaml", &moved, "Rename acme");
    let plan = source.here("plan", &["--format", "json"]).ends(0).json();
    let changes = plan["plan"]["organizations"][0]["changes"].as_array().expect("changes").clone();
    let of = |name: &str| changes.iter().find(|change| change["name"] == name).expect("a change").clone();
    let grace = of("grace@acme.example");
    assert_eq!(grace["written_by"]["commit"], added.as_str(), "{grace}");
    assert_eq!(grace["written_by"]["author"], "Mallory <mallory@acme.example>");
    assert_eq!(grace["written_by"]["request"], "#8");
    assert_ne!(of("ada@acme.example")["written_by"]["commit"], added.as_str());
    source.apply(&[]).ends(0);
    let again = moved.replace("role: member", "role: admin");
    source.commit_as("Grace", "acme.yaml", &again, "Promote grace");
    source.plan(&[]).ends(2).says("roles:").says("Grace <grace@acme.example>").does_not_say(&renamed[..12]);
}

#[test]
fn what_goes_names_the_commit_that_removed_it() {
    let source = Source::new();
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Add acme");
    source.apply(&[]).ends(0);
    let removed = source.commit_as("Mallory", "acme.yaml", ACME, "Let grace go");
    source.commit("notes.txt", "nothing", "Note something");
    let ran = source.plan(&[]).ends(2);
    ran.says("- Member/grace@acme.example").says(&format!("removed in {}", &removed[..12])).says("Mallory");
}

#[test]
fn what_nobody_has_removed_is_held() {
    let source = Source::new();
    let team = "apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata:\n  name: core\nspec:\n  organization: acme\n";
    source.commit("acme.yaml", ACME, "Add acme");
    source.commit("teams/core.yaml", team, "Add a team");
    source.apply(&[]).ends(0).says("3 added");
    // Other paths hide the file that is still there.
    source
        .apply(&["--path", "acme.yaml"])
        .ends(4)
        .says("ARG1722")
        .says("acme/Team/core is gone, and no commit removes it");
    source.plan(&[]).ends(0).says("No changes.");
    source.repository.git(&["rm", "-q", "teams/core.yaml"]);
    source.repository.git(&["commit", "-q", "-m", "Drop the team"]);
    source.apply(&[]).ends(0).says("1 destroyed");
}

#[test]
fn a_branch_that_was_rewound_or_forced_is_held() {
    let source = Source::acme();
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Add grace");
    source.apply(&[]).ends(0);
    source.repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
    source.apply(&[]).ends(4).says("ARG1721").says("does not lead on from");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "2");
    source.commit("acme.yaml", &ACME.replace("Acme\n", "Forced\n"), "Force it");
    source.apply(&[]).ends(4).says("ARG1721");
    // A deleted branch plans nothing.
    source.apply(&["--ref", "gone"]).ends(1).says("ARG1706");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "2");
}

#[test]
fn an_empty_tree_deletes_nothing() {
    let source = Source::acme();
    source.apply(&[]).ends(0);
    source.repository.git(&["rm", "-q", "acme.yaml"]);
    source.repository.git(&["commit", "-q", "-m", "Drop everything"]);
    source.apply(&[]).ends(1).says("holds no manifest");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.organization"), "1");
}

#[test]
fn a_run_tells_which_commit_it_was_made_of() {
    let source = Source::acme();
    source.apply(&["--ref", "main"]).ends(0);
    let commit = source.repository.git(&["rev-parse", "HEAD"]);
    source.argus(&["get", "runs"]).ends(0).says(&format!("main@sha1:{commit}"));
    let runs = source.argus(&["get", "runs", "-o", "json"]).ends(0).json();
    let run = &runs["items"][0]["commit"];
    source.argus(&["history", "acme"]).ends(0).says(&format!("commit {} Ada #7", &commit[..12]));
    let history = source.argus(&["history", "acme", "--format", "json"]).ends(0).json();
    assert_eq!(history["items"][0]["commit"]["committer"]["email"], "grace@acme.example", "{history}");
    assert_eq!((&run["author"]["email"], &run["request"]), (&"ada@acme.example".into(), &"#7".into()), "{runs}");
}
