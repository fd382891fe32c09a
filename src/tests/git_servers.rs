//! The servers that the Git source is tested with, tried with the real `git`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::git::{Repository, git_command, unbiased};
use crate::support::git_http::{Answer, GitHttp};
use crate::support::git_ssh::GitSsh;
use crate::support::keys::Key;
use crate::support::postgres::scratch;

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = scratch("clones");
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn repository() -> Repository {
    let repository = Repository::new();
    // Enough that the pack is larger than one piece of anything.
    let text: String = (0..20_000).map(|number| format!("{number:x}{:x}\n", number * 7919 % 104_729)).collect();
    repository.write("numbers.txt", &text);
    repository.write("acme.yaml", "kind: Organization\n");
    repository.commit("Begin");
    repository
}

fn https(server: &GitHttp, folder: &Folder, settings: &[&str], url: &str) -> Output {
    let authority = format!("http.sslCAInfo={}", server.authority().display());
    let mut command = git_command(&folder.0);
    command.args(["-c", &authority]).args(settings.iter().flat_map(|setting| ["-c", setting]));
    command.args(["clone", "-q", url, "clone"]).output().expect("git runs")
}

fn error(output: &Output) -> String {
    assert!(!output.status.success(), "it went well");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn same(repository: &Repository, clone: &Path) {
    let head = git_command(clone).args(["rev-parse", "HEAD"]).output().expect("git runs");
    assert_eq!(String::from_utf8_lossy(&head.stdout).trim_end(), repository.git(&["rev-parse", "HEAD"]));
}

#[test]
fn git_clones_over_https_and_every_request_is_noted() {
    let (repository, folder) = (repository(), Folder::new());
    let server = GitHttp::start(&repository.path);
    let output = https(&server, &folder, &[], &server.url("/.git"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    same(&repository, &folder.0.join("clone"));
    let lines: Vec<String> = server.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines[0], "GET /.git/info/refs?service=git-upload-pack");
    assert!(lines[1..].iter().all(|line| line == "POST /.git/git-upload-pack") && lines.len() == server.count());
    // Later requests that say much are gzipped, and the protocol is the present one.
    let protocol = |request: &crate::support::git_http::Request| request.headers.get("git-protocol").cloned();
    assert_eq!(server.requests().iter().find_map(protocol).as_deref(), Some("version=2"));
}

#[test]
fn git_does_not_trust_an_authority_that_it_was_not_told() {
    let (repository, folder) = (repository(), Folder::new());
    let server = GitHttp::start(&repository.path);
    let url = server.url("/.git");
    let output = git_command(&folder.0).args(["clone", "-q", &url, "clone"]).output().expect("git runs");
    assert!(error(&output).contains("certificate"), "{}", error(&output));
    assert_eq!(server.count(), 0);
}

#[test]
fn only_the_right_password_lets_in() {
    let (repository, folder) = (repository(), Folder::new());
    let server = GitHttp::with_user(&repository.path, "argus", "a secret: ü");
    let url = |user: &str| server.url("/.git").replace("https://", &format!("https://{user}@"));
    assert!(error(&https(&server, &folder, &[], &server.url("/.git"))).contains("could not read Username"));
    assert!(error(&https(&server, &folder, &[], &url("argus:wrong"))).contains("Authentication failed"));
    assert!(https(&server, &folder, &[], &url("argus:a%20secret%3A%20%C3%BC")).status.success());
    same(&repository, &folder.0.join("clone"));
    let with = server.requests().iter().filter(|request| request.authorization.is_some()).count();
    assert!(with >= 3 && with < server.count(), "{:?}", server.requests());
}

#[test]
fn bad_habits_are_as_asked_for() {
    let (repository, folder) = (repository(), Folder::new());
    let (server, elsewhere) = (GitHttp::start(&repository.path), GitHttp::start(&repository.path));
    let url = server.url("/.git");
    for status in [401, 403, 404, 500] {
        server.answer("info/refs", Answer::Status(status));
        let said = error(&https(&server, &folder, &[], &url));
        let expected = if status == 401 {
            "Username"
        } else if status == 404 {
            "not found"
        } else {
            &status.to_string()
        };
        assert!(said.contains(expected), "{status}: {said}");
    }
    server.answer("", Answer::Backend);
    server.answer("POST", Answer::Cut(20_000));
    let said = error(&https(&server, &folder, &[], &url));
    assert!(said.contains("early EOF") || said.contains("RPC failed"), "{said}");

    server.answer("info/refs", Answer::Redirect(elsewhere.url("/.git/info/refs?service=git-upload-pack")));
    let before = server.count();
    assert!(https(&server, &folder, &[], &url).status.success());
    assert_eq!(
        (server.count() - before, elsewhere.requests()[0].line.as_str()),
        (1, "GET /.git/info/refs?service=git-upload-pack")
    );
    std::fs::remove_dir_all(folder.0.join("clone")).expect("a clone");

    server.answer("", Answer::Backend);
    server.answer("POST", Answer::Slow(10_000, Duration::from_millis(50)));
    let from = Instant::now();
    assert!(https(&server, &folder, &[], &url).status.success());
    assert!(from.elapsed() >= Duration::from_millis(500), "{:?}", from.elapsed());

    // Silence and an endless answer last until the client has had enough, here by its own limits.
    for answer in
        [Answer::Silence, Answer::Endless(b"001e# service=git-upload-pack\n0000".to_vec(), b"0006a\n".repeat(1_000))]
    {
        let silent = matches!(answer, Answer::Silence);
        server.answer("info/refs", answer);
        let mut command = Command::new("timeout");
        let authority = format!("http.sslCAInfo={}", server.authority().display());
        command.args(["2", "git", "-c", &authority, "ls-remote", &url]);
        unbiased(&mut command);
        let output = command.output().expect("git runs");
        assert!(!output.status.success());
        assert!(!silent || output.status.code() == Some(124), "{:?}", output);
    }
}

#[test]
fn git_clones_over_ssh_with_the_right_key_from_the_right_host_and_may_do_nothing_else() {
    let (repository, folder) = (repository(), Folder::new());
    let (ours, mallory) = (Key::new("ed25519"), Key::new("ed25519"));
    let server = GitSsh::start(&ours.public);
    let known = folder.0.join("known_hosts");
    let ssh = |key: &Key| {
        format!(
            "ssh -F /dev/null -o IdentitiesOnly=yes -o IdentityFile={} -o BatchMode=yes -o StrictHostKeyChecking=yes \
             -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null",
            key.path().display(),
            known.display()
        )
    };
    let url = server.url(&repository.path);
    let git = |key: &Key, arguments: &[&str]| {
        let mut command = git_command(&folder.0);
        command.env("GIT_SSH_COMMAND", ssh(key)).env_remove("SSH_AUTH_SOCK");
        command.args(arguments).output().expect("git runs")
    };
    std::fs::write(&known, server.known_host()).expect("a file");
    let output = git(&ours, &["clone", "-q", &url, "clone"]);
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), server.log());
    same(&repository, &folder.0.join("clone"));
    assert!(error(&git(&mallory, &["ls-remote", &url])).contains("Permission denied"));
    let clone = folder.0.join("clone").display().to_string();
    assert!(
        error(&git(&ours, &["-C", &clone, "push", "-q", &url, "HEAD:refs/heads/mine"]))
            .contains("only git-upload-pack")
    );
    let words = ssh(&ours);
    let words: Vec<&str> = words.split_whitespace().skip(1).collect();
    let host =
        url.trim_start_matches("ssh://").split('/').next().and_then(|host| host.split_once(':')).expect("a host");
    let shell = Command::new("ssh").args(words).args(["-p", host.1, host.0, "id"]).output().expect("ssh runs");
    assert!(error(&shell).contains("only git-upload-pack"));
    std::fs::write(&known, server.known_host_with(&mallory.public)).expect("a file");
    assert!(error(&git(&ours, &["ls-remote", &url])).contains("REMOTE HOST IDENTIFICATION HAS CHANGED"));
}

#[test]
fn trees_that_git_would_never_write_can_be_made() {
    let repository = repository();
    let blob = repository.object("blob", b"x");
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let tree = repository.tree(&[
        ("100644", "..", &blob),
        ("100644", ".git", &blob),
        ("100644", "a", &blob),
        ("100644", "a", &blob),
        ("120000", "link", &blob),
        ("160000", "module", &commit),
    ]);
    let made = repository.commit_tree(&tree, "Hostile");
    assert_eq!(repository.git(&["rev-parse", "main^"]), commit);
    let listed = repository.git(&["ls-tree", &made]);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    assert_eq!(names, ["..", ".git", "a", "a", "link", "module"]);
    let checked = repository.command(&["fsck"]).output().expect("git runs");
    let said = String::from_utf8_lossy(&checked.stderr);
    for fault in ["hasDotdot", "hasDotgit", "duplicateEntries"] {
        assert!(said.contains(fault), "{fault}: {said}");
    }
}
