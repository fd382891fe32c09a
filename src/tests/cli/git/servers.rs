//! Over https and ssh, from real servers: who gets in, who is trusted, what is too much or takes too long.

use std::time::Duration;

use super::Source;
use crate::support::git_http::{Answer, GitHttp};
use crate::support::git_ssh::GitSsh;
use crate::support::keys::Key;

impl Source {
    /// Settings that trust a server of ours, and these lines of the section `git`.
    fn trusting(&self, server: &GitHttp, lines: &[&str]) -> String {
        let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        self.settings(&format!("git:\n  caFile: {}\n{lines}", server.authority().display()))
    }

    fn plan_from(&self, url: &str, settings: &str) -> super::Ran {
        self.argus(&["plan", "--git", url, "--ref", "main", "--config", settings])
    }
}

#[test]
fn a_repository_is_fetched_over_https_and_its_mirror_is_used_again() {
    let source = Source::acme();
    let server = GitHttp::start(&source.repository.path);
    let (url, settings) = (server.url("/.git"), source.trusting(&server, &[]));
    source.plan_from(&url, &settings).ends(0).says("Plan: 2 to add");
    let (first, packs) = (server.count(), |server: &GitHttp| {
        server.requests().iter().filter(|request| request.line.starts_with("POST")).count()
    });
    let sent = packs(&server);
    assert!(first >= 2 && sent >= 1, "{:?}", server.requests());
    // Nothing new: the server is asked what it has, and sends nothing.
    source.plan_from(&url, &settings).ends(0).says("Plan: 2 to add");
    assert_eq!(packs(&server), sent, "{:?}", server.requests());
    source.commit("acme.yaml", &super::ACME.replace("Acme\n", "Acme Two\n"), "Rename it");
    source.plan_from(&url, &settings).ends(0).says("Acme Two");
    assert!(packs(&server) > sent);
}

/// Only what is asked for is fetched, and only what was fetched just now is found.
#[test]
fn what_nobody_asked_for_is_not_fetched() {
    let source = Source::acme();
    let git = |arguments: &[&str]| source.repository.git(arguments);
    let first = git(&["rev-parse", "HEAD"]);
    for number in 0..50 {
        git(&["update-ref", &format!("refs/heads/many/{number}"), "HEAD"]);
    }
    git(&["checkout", "-q", "-b", "other"]);
    let aside = source.commit("acme.yaml", &super::ACME.replace("Acme\n", "Acme Two\n"), "Rename it");
    git(&["checkout", "-q", "main"]);
    let server = GitHttp::start(&source.repository.path);
    let (url, settings) = (server.url("/.git"), source.trusting(&server, &[]));
    let plan = |name: &str| source.argus(&["plan", "--git", &url, "--ref", name, "--config", &settings]);
    plan("main").ends(0).says("Plan: 2 to add");
    let mirrors = source.world.path("cache/argus/git");
    let mirror = std::fs::read_dir(mirrors).expect("mirrors").next().expect("one").expect("an entry").path();
    let mirror = mirror.join("repository.git");
    let in_mirror = |arguments: &[&str]| {
        let mut command = crate::support::git::git_command(&mirror);
        command.args(arguments).output().expect("git runs")
    };
    let references = String::from_utf8(in_mirror(&["for-each-ref"]).stdout).expect("UTF-8");
    assert_eq!(references.lines().count(), 1, "{references}");
    assert!(!in_mirror(&["cat-file", "-e", &aside]).status.success());
    // A commit may be anywhere, and so everything is fetched that leads to one.
    plan(&aside).ends(0).says("Acme Two");
    plan(&first[..10]).ends(1).says("ARG1706").says("whole ids");
    plan("main~0").ends(1).says("ARG1706");
    source.argus(&["plan", "--git", &url, "--config", &settings]).ends(0).says("\"Acme\"");
    // What is gone from the server is gone, though the mirror has known it.
    git(&["branch", "-q", "-D", "other"]);
    plan("other").ends(1).says("ARG1706");
    git(&["branch", "-q", "other", &aside]);
    plan("other").ends(0).says("Acme Two");
    git(&["branch", "-q", "-D", "other"]);
    git(&["branch", "-q", "other/below", &aside]);
    plan("other").ends(1).says("ARG1706");
    plan("other/below").ends(0).says("Acme Two");
    let base = ["plan", "--git", &url, "--config", &settings, "--base", "main", "--head", "other/below"];
    source.argus(&base).ends(0).says("Acme Two");
}

/// Whoever may push branches puts none before a tag.
#[test]
fn a_name_of_a_branch_and_of_a_tag_has_to_be_told_apart() {
    let source = Source::acme();
    source.repository.git(&["tag", "-a", "v1", "-m", "Reviewed"]);
    source.repository.git(&["checkout", "-q", "-b", "v1"]);
    source.commit("acme.yaml", &super::ACME.replace("Acme\n", "Acme Two\n"), "Rename it");
    source.repository.git(&["checkout", "-q", "main"]);
    let server = GitHttp::start(&source.repository.path);
    let settings = source.trusting(&server, &[]);
    for from in [server.url("/.git"), source.repository.path.display().to_string()] {
        let plan = |name: &str| source.argus(&["plan", "--git", &from, "--ref", name, "--config", &settings]);
        plan("v1").ends(1).says("ARG1706").says("refs/tags/v1");
        plan("refs/tags/v1").ends(0).says("\"Acme\"");
        plan("refs/heads/v1").ends(0).says("Acme Two");
    }
}

#[test]
fn whoever_has_the_password_gets_in_and_nobody_sees_it() {
    let source = Source::acme();
    let server = GitHttp::with_user(&source.repository.path, "bot", "hunter2-canary");
    let url = server.url("/.git");
    source.world.write("password", "hunter2-canary\n");
    let file = source.world.path("password").display().to_string();
    let good = source.trusting(&server, &["username: bot", &format!("passwordFile: {file}")]);
    source.plan_from(&url, &good).ends(0).says("Plan: 2 to add").does_not_say("hunter2");
    source.world.write("password", "hunter3-canary\n");
    source.plan_from(&url, &good).ends(1).says("ARG1703").does_not_say("hunter3");
    let none = source.trusting(&server, &[]);
    source.plan_from(&url, &none).ends(1).says("ARG1703").says("no password is named");
    let with = url.replace("https://", "https://bot:hunter2-canary@");
    source.plan_from(&with, &none).ends(1).says("ARG1701").does_not_say("hunter2");
}

#[test]
fn a_server_that_nobody_vouches_for_is_not_asked_for_anything() {
    let source = Source::acme();
    let server = GitHttp::start(&source.repository.path);
    let settings = source.settings("git: {}\n");
    source.plan_from(&server.url("/.git"), &settings).ends(1).says("ARG1704");
    assert_eq!(server.count(), 0);
}

#[test]
fn nobody_is_followed_to_another_host() {
    let source = Source::acme();
    let (server, other) = (GitHttp::start(&source.repository.path), GitHttp::start(&source.repository.path));
    let there = other.url("/.git").replace("localhost", "127.0.0.1");
    server.answer("info/refs", Answer::Redirect(format!("{there}/info/refs?service=git-upload-pack")));
    let settings = source.trusting(&server, &[]);
    source.plan_from(&server.url("/.git"), &settings).ends(1).says("ARG1705");
    assert_eq!(other.count(), 0);
}

#[test]
fn what_a_server_does_wrong_is_told_and_nothing_is_planned() {
    let source = Source::acme();
    let server = GitHttp::start(&source.repository.path);
    let settings =
        source.trusting(&server, &["limits: {silenceSecondsMax: 1, fetchSecondsMax: 4, packBytesMax: 100000}"]);
    let url = server.url("/.git");
    for (line, answer, code) in [
        ("info/refs", Answer::Status(404), "ARG1702"),
        ("info/refs", Answer::Status(403), "ARG1703"),
        ("info/refs", Answer::Status(500), "ARG1702"),
        ("info/refs", Answer::Silence, "ARG1702"),
        ("info/refs", Answer::Endless(b"001e# service=git-upload-pack\n0000".to_vec(), b"0004".to_vec()), "ARG17"),
        ("POST", Answer::Cut(40), "ARG17"),
        ("POST", Answer::Slow(1, Duration::from_millis(300)), "ARG17"),
        ("POST", Answer::Status(500), "ARG1702"),
    ] {
        let told = format!("{line} {answer:?}");
        server.answer(line, answer);
        let ran = source.plan_from(&url, &settings);
        assert!(ran.code == Some(1) && ran.all().contains(code), "{told}: {ran}");
        server.answer("", Answer::Backend);
    }
    // What was cut short is no harm to what comes after.
    source.plan_from(&url, &settings).ends(0).says("Plan: 2 to add");
    let tight = source.trusting(&server, &["limits: {objectsMax: 1}"]);
    std::fs::remove_dir_all(source.world.path("cache")).expect("the mirrors go");
    source.plan_from(&url, &tight).ends(1).says("ARG1707").says("objectsMax");
}

#[test]
fn a_repository_is_fetched_over_ssh_from_the_host_that_is_known() {
    let source = Source::acme();
    let (ours, theirs) = (Key::new("ed25519"), Key::new("ed25519"));
    let server = GitSsh::start(&ours.public);
    let url = server.url(&source.repository.path);
    let settings = |key: &Key, hosts: &str| {
        source.world.write("known_hosts", hosts);
        source.settings(&format!(
            "git:\n  sshKeyFile: {}\n  knownHostsFile: {}\n",
            key.path().display(),
            source.world.path("known_hosts").display()
        ))
    };
    source.plan_from(&url, &settings(&ours, &server.known_host())).ends(0).says("Plan: 2 to add");
    source.plan_from(&url, &settings(&theirs, &server.known_host())).ends(1).says("ARG1703");
    let wrong = server.known_host_with(&theirs.public);
    source.plan_from(&url, &settings(&ours, &wrong)).ends(1).says("ARG1704").says("another key");
    source.plan_from(&url, &settings(&ours, "")).ends(1).says("ARG1704").says("no key of it is known");
}

#[test]
fn a_mirror_that_is_broken_is_made_anew() {
    let source = Source::acme();
    let server = GitHttp::start(&source.repository.path);
    let (url, settings) = (server.url("/.git"), source.trusting(&server, &[]));
    source.plan_from(&url, &settings).ends(0);
    let mirrors = source.world.path("cache/argus/git");
    let mirror = std::fs::read_dir(mirrors).expect("mirrors").next().expect("one").expect("an entry").path();
    let packs = mirror.join("repository.git/objects/pack");
    for entry in std::fs::read_dir(packs).expect("packs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "pack") {
            std::fs::remove_file(&path).expect("it goes");
        }
    }
    // There is nothing new to fetch.
    source.plan_from(&url, &settings).ends(0).says("Plan: 2 to add");
}

/// A key that is locked, wrong or missing is told as such, and not as a repository that is down.
#[test]
fn what_is_wrong_with_a_key_is_told() {
    let source = Source::acme();
    for (kind, form) in [("ed25519", "OPENSSH"), ("rsa", "PEM"), ("rsa", "PKCS8")] {
        let key = Key::new(kind);
        key.lock("hunter2-canary", form);
        let server = GitSsh::start(&key.public);
        let url = server.url(&source.repository.path);
        source.world.write("known_hosts", &server.known_host());
        let hosts = source.world.path("known_hosts").display().to_string();
        let passphrase = source.world.path("passphrase").display().to_string();
        let locked = format!("git:\n  sshKeyFile: {}\n  knownHostsFile: {hosts}\n", key.path().display());
        let ran = source.plan_from(&url, &source.settings(&locked)).ends(1);
        ran.says("ARG1703").says("has a passphrase").says("git.sshPassphraseFile").does_not_say("yesterday");
        source.world.write("passphrase", "wrong\n");
        let opened = source.settings(&format!("{locked}  sshPassphraseFile: {passphrase}\n"));
        let ran = source.plan_from(&url, &opened).ends(1).says("ARG1703").says("git.sshKeyFile");
        ran.does_not_say("passwordFile").does_not_say("yesterday");
        source.world.write("passphrase", "hunter2-canary\n");
        source.plan_from(&url, &opened).ends(0).says("Plan: 2 to add").does_not_say("hunter2");
    }
    let (ours, theirs) = (Key::new("ed25519"), Key::new("ed25519"));
    let server = GitSsh::start(&ours.public);
    source.world.write("known_hosts", &server.known_host());
    let hosts = format!("git:\n  knownHostsFile: {}\n", source.world.path("known_hosts").display());
    let url = server.url(&source.repository.path);
    let ran = source.plan_from(&url, &source.settings(&hosts)).ends(1).says("ARG1703");
    ran.says("name a private key in `git.sshKeyFile`").does_not_say("passwordFile");
    let refused = source.settings(&format!("{hosts}  sshKeyFile: {}\n", theirs.path().display()));
    let ran = source.plan_from(&url, &refused).ends(1).says("ARG1703");
    ran.says("the server knows the key").does_not_say("passwordFile");
}
