//! Who signed a commit: what the real `git`, `ssh-keygen` and `gpg` made, judged beside `git verify-commit`.

mod hostile;
mod openpgp;
mod ssh;

use argus::model::code::Code;
use argus::model::finding::Finding;
use argus::signature::{Fault, Signed, Signer, Signers};
use chrono::{DateTime, Utc};

use crate::support::git::{COMMITTED_AT, Repository, join_commit, split_commit};

fn committed_at() -> DateTime<Utc> {
    COMMITTED_AT.parse().expect("a moment")
}

/// What stands in an empty commit.
fn payload() -> Vec<u8> {
    let repository = Repository::new();
    let commit = repository.commit("Hello");
    repository.raw_commit(&commit)
}

/// What we say of a commit.
fn judge(signers: &Signers, raw: &[u8]) -> Result<Signer, Fault> {
    let (payload, signature) = split_commit(raw);
    judge_parts(signers, &payload, &signature)
}

fn judge_parts(signers: &Signers, payload: &[u8], signature: &[u8]) -> Result<Signer, Fault> {
    let parents = payload.split(|b| *b == b'\n').take_while(|line| !line.is_empty());
    let is_merge = parents.filter(|line| line.starts_with(b"parent ")).count() > 1;
    signers.verify(&Signed { payload, signature, committed_at: committed_at(), judged_at: Utc::now(), is_merge })
}

/// What Git says of the same, with these settings and this environment.
fn git_accepts(raw: &[u8], settings: &[String], environment: &[(&str, &str)]) -> bool {
    let repository = Repository::new();
    let commit = repository.object("commit", raw);
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-c", setting.as_str()]).collect();
    let mut command = repository.command(&[&settings[..], &["verify-commit", &commit]].concat());
    command.envs(environment.iter().copied()).output().expect("git runs").status.success()
}

fn messages(findings: &[Finding]) -> Vec<String> {
    let place = |finding: &Finding| finding.origin.as_ref().map(ToString::to_string).unwrap_or_default();
    findings.iter().map(|finding| format!("{}: {}", place(finding), finding.message)).collect()
}

/// A commit with two parents, without a signature.
fn merge_payload() -> Vec<u8> {
    let repository = Repository::new();
    repository.commit("One");
    repository.git(&["checkout", "-q", "-b", "side"]);
    repository.commit("Two");
    repository.git(&["checkout", "-q", "main"]);
    repository.commit("Three");
    repository.git(&["merge", "-q", "--no-ff", "-m", "Merge", "side"]);
    repository.raw_commit("HEAD")
}

#[test]
fn a_commit_without_a_signature_is_unsigned() {
    let fault = judge(&Signers::default(), &payload()).expect_err("nobody signed");
    assert_eq!(fault, Fault::Unsigned);
    let finding = fault.finding("commit 1234567");
    assert_eq!((finding.code, finding.subject.as_deref()), (Code::Unsigned, Some("commit 1234567")));
    assert_eq!(finding.message, "it is not signed");
    assert_eq!(finding.hint.as_deref(), Some("sign it: git commit --amend --no-edit -S"));
}

#[test]
fn every_fault_has_a_code_of_its_reason() {
    let (key, at) = (|| "SHA256:x".to_owned(), committed_at());
    let faults = [
        (Fault::Unsigned, 1401),
        (Fault::Unknown { key: key() }, 1402),
        (Fault::NotForSigning { key: key(), reason: "it is for other uses" }, 1402),
        (Fault::Forged { key: key() }, 1403),
        (Fault::Expired { key: key(), at }, 1404),
        (Fault::NotYetValid { key: key(), at }, 1405),
        (Fault::FromTheFuture { key: key(), at }, 1405),
        (Fault::Revoked { key: key() }, 1406),
        (Fault::WrongNamespace("file".into()), 1407),
        (Fault::NotForGit { key: key() }, 1407),
        (Fault::Weak("an RSA key of 1024 bits".into()), 1408),
        (Fault::Garbled("it is no text".into()), 1409),
        (Fault::Unsupported("X.509".into()), 1410),
        (Fault::ForgeOnly { forge: "Forge".into(), key: key() }, 1411),
    ];
    for (fault, number) in faults {
        let finding = fault.finding("commit");
        assert_eq!(finding.code.number(), number, "{fault}");
        assert!(finding.is_error() && finding.hint.is_some_and(|hint| !hint.is_empty()), "{fault}");
    }
    assert_eq!(
        Fault::Expired { key: key(), at }.to_string(),
        "the key SHA256:x counts only until 2026-05-05T12:00:00Z"
    );
}

#[test]
fn what_is_no_signature_says_what_it_is() {
    let block = |what: &str| format!("-----BEGIN {what}-----\nAAAA\n-----END {what}-----\n");
    let judge = |signature: &str| judge(&Signers::default(), &join_commit(&payload(), signature));
    assert_eq!(judge(&block("SIGNED MESSAGE")), Err(Fault::Unsupported("X.509".into())));
    assert_eq!(judge(&block("PGP MESSAGE")), Err(Fault::Unsupported("an OpenPGP message".into())));
    for garbled in [block("CERTIFICATE"), "signed, Ada".into(), block("SSH SIGNATURE"), block("PGP SIGNATURE")] {
        assert!(matches!(judge(&garbled), Err(Fault::Garbled(_))), "{garbled}: {:?}", judge(&garbled));
    }
}
