//! Only what is signed by those whom the machine lists is read.

use super::{ACME, Source};
use crate::support::git::{run_with, written};
use crate::support::keys::Key;

const GRACE: &str = "    - user: grace@acme.example\n      role: member\n";

impl Source {
    /// Commits signed with an SSH key.
    fn commit_signed(&self, key: &Key, text: &str) -> String {
        self.repository.write("acme.yaml", text);
        self.repository.git(&["add", "-A"]);
        let signing = format!("user.signingKey={}", key.path().display());
        self.repository.git(&[
            "-c",
            "gpg.format=ssh",
            "-c",
            &signing,
            "commit",
            "-q",
            "--allow-empty",
            "-S",
            "-m",
            "Signed",
        ]);
        self.repository.git(&["rev-parse", "HEAD"])
    }

    fn demanding(&self, verify: &str, signers: &[&Key]) -> String {
        let lines: String = signers.iter().map(|key| format!("ada@acme.example {}\n", key.public)).collect();
        self.world.write("allowed", &lines);
        let allowed = self.world.path("allowed").display().to_string();
        self.settings(&format!("git:\n  verify: {verify}\n  signers:\n    allowedSigners: [{allowed}]\n"))
    }
}

#[test]
fn an_unsigned_commit_is_not_read_and_a_signed_one_names_its_signer() {
    let source = Source::acme();
    let (ada, mallory) = (Key::new("ed25519"), Key::new("ed25519"));
    let settings = source.demanding("head", &[&ada]);
    source.plan(&["--config", &settings]).ends(1).says("ARG1401").says("is not signed");
    source.commit_signed(&mallory, &format!("{ACME}{GRACE}"));
    source.apply(&["--config", &settings]).ends(1).says("ARG1402");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.organization"), "0");
    source.commit_signed(&ada, &format!("{ACME}{GRACE}"));
    source.apply(&["--config", &settings]).ends(0);
    let runs = source.argus(&["get", "runs", "-o", "json"]).ends(0).json();
    assert_eq!(runs["items"][0]["commit"]["signer"], "ada@acme.example", "{runs}");
}

#[test]
fn all_that_came_since_the_last_apply_can_be_asked_to_be_signed() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Sneak somebody in");
    source.commit_signed(&ada, &format!("{ACME}{GRACE}# two\n"));
    source.apply(&["--config", &settings]).ends(1).says("ARG1401").says("of Ada");
    let head = source.demanding("head", &[&ada]);
    source.plan(&["--config", &head]).ends(2).says("grace@acme.example");
}

#[test]
fn a_tag_can_be_asked_to_be_signed() {
    let source = Source::acme();
    let (ada, mallory) = (Key::new("ed25519"), Key::new("ed25519"));
    let settings = source.demanding("tag", &[&ada]);
    let tag = |name: &str, key: &Key| {
        let signing = format!("user.signingKey={}", key.path().display());
        source.repository.git(&["-c", "gpg.format=ssh", "-c", &signing, "tag", "-s", name, "-m", "Release it"]);
    };
    tag("v1", &ada);
    tag("v2", &mallory);
    source.repository.git(&["tag", "-a", "v3", "-m", "Not signed"]);
    source.plan(&["--config", &settings, "--ref", "v1"]).ends(2).says("Plan: 2 to add");
    source.plan(&["--config", &settings, "--ref", "v2"]).ends(1).says("ARG1402");
    source.plan(&["--config", &settings, "--ref", "v3"]).ends(1).says("ARG1401");
    let ran = source.plan(&["--config", &settings, "--ref", "main"]).ends(1).says("ARG1401").says("no annotated tag");
    ran.says("name an annotated, signed tag").does_not_say("sign it");
}

#[test]
fn whom_to_trust_is_not_taken_from_the_repository() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    source.commit("argus.yaml", "source: acme\ngit: {verify: none}\n", "Trust everybody");
    let settings = source.demanding("head", &[&ada]);
    source.plan(&["--config", &settings]).ends(1).says("ARG1401");
    let nobody = source.settings("git: {verify: head}\n");
    source.plan(&["--config", &nobody]).ends(1).says("ARG1412");
    source.plan(&[]).ends(1).says("ARG5006");
}

impl Source {
    /// A branch that leaves the history before the commit that was applied: what somebody sneaks in, and a signed end.
    fn rewrite(&self, ada: &Key) {
        self.repository.git(&["reset", "-q", "--hard", "HEAD~1"]);
        self.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Sneak somebody in");
        self.commit_signed(ada, &format!("{ACME}{GRACE}"));
    }
}

/// Rewriting history is no way around signatures.
#[test]
fn all_that_a_rewritten_branch_brings_has_to_be_signed() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.commit_signed(&ada, &format!("{ACME}# two\n"));
    source.apply(&["--config", &settings]).ends(0);
    source.rewrite(&ada);
    source.plan(&["--config", &settings]).ends(1).says("ARG1401").says("of Ada").does_not_say("ARG1721");
    source.apply(&["--config", &settings, "--force"]).ends(1).says("ARG1401");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
    // What is rewritten and signed throughout is held as ever.
    source.repository.git(&["reset", "-q", "--hard", "HEAD~2"]);
    source.commit_signed(&ada, &format!("{ACME}{GRACE}"));
    source.apply(&["--config", &settings]).ends(4).says("ARG1721");
    source.apply(&["--config", &settings, "--force"]).ends(0).says("Applied: 1 added");
}

#[test]
fn where_the_applied_commit_is_gone_all_of_the_history_has_to_be_signed() {
    let source = Source::new();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, ACME);
    source.apply(&["--config", &settings]).ends(0);
    source.repository.git(&["checkout", "-q", "--orphan", "other"]);
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Sneak somebody in");
    source.commit_signed(&ada, &format!("{ACME}{GRACE}# signed\n"));
    source.repository.git(&["branch", "-D", "-q", "main"]);
    source.repository.git(&["reflog", "expire", "--expire=now", "--all"]);
    source.repository.git(&["gc", "-q", "--prune=now"]);
    source.apply(&["--config", &settings, "--force"]).ends(1).says("ARG1401").says("of Ada");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
}

#[test]
fn a_shallow_clone_is_no_way_around_signatures() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Sneak somebody in");
    source.commit_signed(&ada, &format!("{ACME}{GRACE}"));
    let origin = format!("file://{}", source.repository.path.display());
    for (depth, code) in [("1", "ARG1724"), ("2", "ARG1724"), ("3", "ARG1401")] {
        let clone = source.world.path(&format!("clone-{depth}")).display().to_string();
        source.repository.git(&["clone", "-q", "--depth", depth, &origin, &clone]);
        let ran = source.argus(&["apply", "--auto-approve", "--force", "--git", &clone, "--config", &settings]);
        ran.ends(1).says(code);
    }
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
}

/// The walk has an end, and what lies behind it is not taken for signed.
#[test]
fn more_commits_than_are_looked_at_are_refused() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    let mut stream = String::new();
    for number in 0..20_001 {
        stream.push_str(&format!("commit refs/heads/main\ncommitter A <a@acme.example> {number} +0000\ndata 0\n"));
        stream.push_str(if number == 0 { "from refs/heads/main^0\n" } else { "" });
    }
    let import = source.repository.command(&["fast-import", "--quiet", "--force"]);
    written(&run_with(import, stream.as_bytes()));
    source.commit_signed(&ada, &format!("{ACME}{GRACE}"));
    source.apply(&["--config", &settings, "--force"]).ends(1).says("ARG1707").says("20000 commits");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
}

/// What is not committed cannot be signed.
#[test]
fn a_directory_is_no_way_around_signatures() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    let settings = source.demanding("head", &[&ada]);
    let root = source.repository.path.display().to_string();
    source.apply(&["--config", &settings]).ends(0);
    let run = source.world.sql("SELECT id FROM argus.run");
    source.repository.write("acme.yaml", &format!("{ACME}{GRACE}"));
    let saved = source.world.path("saved.plan").display().to_string();
    source.argus(&["plan", &root, "-o", &saved]).ends(0).says("1 to add");
    for arguments in [
        &["plan", &root][..],
        &["apply", "--auto-approve", &root],
        &["apply", "--auto-approve", "--force", &root],
        &["apply", "--auto-approve", &saved],
        &["drift", &root],
        &["rollback", &run, &root, "--auto-approve"],
    ] {
        source.argus(&[arguments, &["--config", &settings]].concat()).ends(1).says("ARG1413");
    }
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.member"), "1");
    // Whoever only looks may look at a directory.
    source.argus(&["validate", &root, "--config", &settings]).ends(0);
    source.argus(&["plan", "--ref", "HEAD", &root, "--config", &settings]).ends(0).says("No changes.");
    source.argus(&["rollback", &run, "--git", &root, "--plan", "--config", &settings]).ends(0).does_not_say("ARG1413");
}

#[test]
fn another_name_of_the_source_brings_nothing_in_that_is_not_signed() {
    let source = Source::acme();
    let ada = Key::new("ed25519");
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.commit_signed(&ada, &format!("{ACME}# one\n"));
    source.apply(&["--config", &settings]).ends(0);
    source.commit("argus.yaml", "source: another\n", "Call it otherwise");
    source.commit("globex.yaml", &ACME.replace("acme", "globex"), "Sneak globex in");
    source.commit_signed(&ada, &format!("{ACME}# two\n"));
    source.apply(&["--config", &settings]).ends(1).says("ARG1401").says("of Ada");
    // Where the machine says what it is called, it is not even read.
    let pinned = source.settings("git: {source: default}\n");
    source.apply(&["--config", &pinned]).ends(1).says("ARG5006").says("`another`").says("`default`");
    assert_eq!(source.world.sql("SELECT count(*) FROM argus.organization"), "1");
}

/// A branch is shown before it is signed, and it is told that it would be refused.
#[test]
fn a_branch_that_would_be_refused_is_warned_of() {
    let source = Source::new();
    let ada = Key::new("ed25519");
    source.commit_signed(&ada, ACME);
    let settings = source.demanding("all-since-applied", &[&ada]);
    source.apply(&["--config", &settings]).ends(0);
    source.repository.git(&["checkout", "-q", "-b", "feature"]);
    let unsigned = source.commit("acme.yaml", &format!("{ACME}{GRACE}"), "Add grace");
    let signed = source.commit_signed(&ada, &format!("{ACME}{GRACE}# two\n"));
    let plan = |verify: &str, head: &str| {
        let settings = source.demanding(verify, &[&ada]);
        source.plan(&["--base", "main", "--head", head, "--config", &settings]).ends(2).says("1 to add")
    };
    let ran = plan("all-since-applied", "feature").says("warning[ARG1401]");
    ran.says(&unsigned).does_not_say(&signed[..40]);
    plan("head", "feature").does_not_say("ARG1401");
    plan("head", &unsigned).says("warning[ARG1401]").says("merge it by a commit that is signed");
    plan("none", &unsigned).does_not_say("ARG1401");
}
