//! A source that is a folder of a repository: the folder is its root, with Git as without.

use super::{ACME, Source};

const GRACE: &str = "    - user: grace@acme.example\n      role: member\n";
const TEAM: &str = "apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata:\n  name: core\nspec:\n  organization: acme\n";

impl Source {
    /// A repository with a source in `infra/orgs`, and other things beside it.
    fn below() -> Source {
        let source = Source::new();
        source.repository.write("broken.yaml", "kind: Nonsense\n");
        source.repository.write("infra/orgs/argus.yaml", "source: subsrc\npaths: [acme.yaml, teams]\n");
        source.repository.write("infra/orgs/teams/core.yaml", TEAM);
        source.repository.write("infra/orgs/left-out.yaml", "kind: Nonsense\n");
        source.commit("infra/orgs/acme.yaml", ACME, "Add acme");
        source
    }

    fn folder(&self) -> String {
        self.repository.path.join("infra/orgs").display().to_string()
    }
}

#[test]
fn the_folder_that_is_named_is_the_root_of_the_source() {
    let source = Source::below();
    let folder = source.folder();
    let plan = |arguments: &[&str]| source.argus(&[&["plan", &folder, "--detailed-exitcode"], arguments].concat());
    plan(&[]).ends(2).says("Plan: 3 to add");
    plan(&["--ref", "HEAD"]).ends(2).says("Plan: 3 to add").says("  acme.yaml:8:7");
    let mut command = source.command(&["plan", "--ref", "HEAD", "--detailed-exitcode"]);
    super::run({
        command.current_dir(&folder);
        command
    })
    .ends(2)
    .says("Plan: 3 to add");
    source.argus(&["apply", "--auto-approve", "--ref", "HEAD", &folder]).ends(0).says("3 added");
    assert_eq!(source.world.sql("SELECT DISTINCT source FROM argus.applied"), "subsrc");
    // The same without Git is settled.
    plan(&[]).ends(0).says("No changes.");
    // Its settings and its policies hold.
    source.commit("infra/orgs/policies/never.rego", "package acme\n\ndeny contains \"not today\"\n", "Add a policy");
    let renamed = source.commit("infra/orgs/acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"), "Rename it");
    plan(&["--ref", "HEAD"]).ends(2).says("not today").says(&renamed[..12]).says("acme.yaml:6:");
    source.commit("infra/orgs/argus.yaml", "source: subsrc\nmode: observe\npolicies: none\n", "Observe");
    source.repository.git(&["rm", "-q", "infra/orgs/left-out.yaml"]);
    source.repository.git(&["commit", "-q", "-m", "Tidy"]);
    source.argus(&["apply", "--auto-approve", "--ref", "HEAD", &folder]).says("ARG3201");
    plan(&["--ref", "HEAD~9"]).ends(1).says("ARG1706");
}

#[test]
fn what_goes_from_a_folder_names_the_commit_that_removed_it() {
    let source = Source::below();
    let folder = source.folder();
    source.commit("infra/orgs/acme.yaml", &format!("{ACME}{GRACE}"), "Add grace");
    source.argus(&["apply", "--auto-approve", "--ref", "HEAD", &folder]).ends(0);
    let removed = source.commit("infra/orgs/acme.yaml", ACME, "Let grace go");
    let ran = source.argus(&["plan", "--ref", "HEAD", &folder]).ends(0);
    ran.says(&format!("removed in {}", &removed[..12])).does_not_say("ARG1722");
}

/// Patches and links name files from the root of the repository.
#[test]
fn patches_and_links_lead_to_the_files_of_a_folder() {
    let source = Source::below();
    let folder = source.folder();
    source.argus(&["apply", "--auto-approve", "--ref", "HEAD", &folder]).ends(0);
    source.world.sql("UPDATE argus.organization SET display_name = 'Drifted' WHERE name = 'acme'");
    let patch = source.argus(&["drift", "--emit-patch", "--ref", "HEAD", &folder]).ends(0);
    source.world.write("drift.patch", &patch.out);
    source.repository.git(&["apply", &source.world.path("drift.patch").display().to_string()]);
    let adopted = std::fs::read_to_string(source.repository.path.join("infra/orgs/acme.yaml")).expect("a file");
    assert_eq!(adopted, ACME.replace("Acme\n", "Drifted\n"));
    source.repository.git(&["checkout", "-q", "-b", "feature"]);
    source.commit("infra/orgs/acme.yaml", &format!("{adopted}{GRACE}"), "Add grace");
    let links = ["--format", "markdown", "--link-base", "https://git.example/acme/blob/1"];
    let page = source.argus(&[&["plan", &folder, "--base", "main", "--head", "feature"], &links[..]].concat()).ends(0);
    page.says("https://git.example/acme/blob/1/infra/orgs/acme.yaml#L10").says("argus:plan subsrc");
    let json = source.argus(&["plan", &folder, "--base", "main", "--head", "feature", "--format", "json"]).json();
    assert_eq!(json["plan"]["organizations"][0]["changes"][0]["written_by"]["author"], "Ada <ada@acme.example>");
}

/// A branch that is merged in memory has a folder too.
#[test]
fn a_folder_of_branches_that_have_parted_is_planned() {
    let source = Source::below();
    let folder = source.folder();
    source.argus(&["apply", "--auto-approve", "--ref", "HEAD", &folder]).ends(0);
    source.repository.git(&["checkout", "-q", "-b", "feature"]);
    let added = source.commit("infra/orgs/acme.yaml", &format!("{ACME}{GRACE}"), "Add grace");
    source.repository.git(&["checkout", "-q", "main"]);
    source.commit("notes.txt", "nothing", "Note something");
    let ran = source.argus(&["plan", &folder, "--base", "main", "--head", "feature"]).ends(0);
    ran.says("Plan: 1 to add, 0 to change").says(&added[..12]);
}

#[test]
fn settings_that_would_not_be_read_are_told() {
    let source = Source::below();
    source.plan(&["--path", "infra/orgs"]).ends(1).says("ARG5005").says("argus.yaml of its own");
    source.plan(&["--path", "./infra/orgs/"]).ends(1).says("ARG5005");
    source.plan(&["--path", "infra/orgs/acme.yaml"]).ends(2).says("Plan: 2 to add");
    let file = source.repository.path.join("infra/orgs/acme.yaml").display().to_string();
    source.argus(&["plan", "--ref", "HEAD", &file]).ends(1).says("ARG1701").says("--path");
    source.repository.git(&["rm", "-q", "-r", "--cached", "infra"]);
    source.repository.git(&["commit", "-q", "-m", "Drop it"]);
    source.argus(&["plan", "--ref", "HEAD", &source.folder()]).ends(1).says("ARG1013").says("no folder infra/orgs");
}
