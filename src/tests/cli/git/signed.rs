//! Only what is signed by those whom the machine lists is read.

use super::{ACME, Source};
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
    source.plan(&["--config", &settings, "--ref", "main"]).ends(1).says("ARG1401").says("no annotated tag");
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
