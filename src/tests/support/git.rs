//! Repositories made by the real `git`, with fixed people and dates and no settings but their own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::postgres::scratch;

/// When everything in these repositories happens.
pub const COMMITTED_AT: &str = "2026-05-05T12:00:00Z";

/// A repository in a folder of its own.
pub struct Repository {
    /// The folder.
    pub path: PathBuf,
}

/// `git` that knows nothing of whoever runs the tests.
pub fn git_command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder);
    unbiased(&mut command);
    command
}

/// Takes away from a program what this machine and whoever runs the tests have set for `git`.
pub fn unbiased(command: &mut Command) {
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    command.envs([
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@acme.example"),
        ("GIT_AUTHOR_DATE", COMMITTED_AT),
        ("GIT_COMMITTER_NAME", "Grace"),
        ("GIT_COMMITTER_EMAIL", "grace@acme.example"),
        ("GIT_COMMITTER_DATE", COMMITTED_AT),
        ("TZ", "UTC"),
        ("LC_ALL", "C"),
    ]);
}

/// Runs a command with this as its input.
pub fn run_with(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // What refuses its input early closes the pipe, and says why in what it returns.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// What a command that must go well wrote, without the last newline.
pub fn written(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

impl Repository {
    /// An empty one, with the branch `main`.
    pub fn new() -> Repository {
        let path = scratch("repository");
        std::fs::create_dir_all(&path).expect("a folder");
        let repository = Repository { path };
        repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    /// `git` in it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = git_command(&self.path);
        command.args(arguments);
        command
    }

    /// What `git` says; it must go well.
    pub fn git(&self, arguments: &[&str]) -> String {
        written(&self.command(arguments).output().expect("git runs"))
    }

    /// Writes a file into the work tree.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// Commits everything in the work tree, and gives the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Writes an object as it is, however wrong, and gives its name.
    pub fn object(&self, kind: &str, bytes: &[u8]) -> String {
        let arguments = ["hash-object", "-t", kind, "--literally", "-w", "--stdin"];
        written(&run_with(self.command(&arguments), bytes))
    }

    /// Writes a tree as it is: modes, names and objects may be anything, in any order and twice.
    pub fn tree(&self, entries: &[(&str, &str, &str)]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, object) in entries {
            bytes.extend([mode.as_bytes(), b" ", name.as_bytes(), b"\0"].concat());
            let digits = (0..object.len()).step_by(2).map(|at| &object[at..at + 2]);
            bytes.extend(digits.map(|two| u8::from_str_radix(two, 16).expect("a name of an object")));
        }
        self.object("tree", &bytes)
    }

    /// Commits a tree on top of what `main` has, moves `main` there and gives the commit. The work tree stays as it is.
    pub fn commit_tree(&self, tree: &str, message: &str) -> String {
        let main = self.command(&["rev-parse", "-q", "--verify", "refs/heads/main"]).output().expect("git runs");
        let parent = String::from_utf8_lossy(&main.stdout).trim_end().to_owned();
        let parents = if parent.is_empty() { Vec::new() } else { vec!["-p", parent.as_str()] };
        let commit = self.git(&[&["commit-tree", tree, "-m", message][..], &parents].concat());
        self.git(&["update-ref", "refs/heads/main", &commit]);
        commit
    }

    /// The bytes of a commit.
    pub fn raw_commit(&self, commit: &str) -> Vec<u8> {
        let output = self.command(&["cat-file", "commit", commit]).output().expect("git runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A commit taken apart: what is signed, and the signature (empty if there is none).
pub fn split_commit(raw: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut payload, mut signature) = (Vec::new(), Vec::new());
    let (mut in_header, mut in_signature) = (true, false);
    for line in raw.split_inclusive(|b| *b == b'\n') {
        in_header &= line != b"\n";
        in_signature = in_header && (line.starts_with(b"gpgsig ") || (in_signature && line.starts_with(b" ")));
        match line.strip_prefix(b"gpgsig ").or_else(|| line.strip_prefix(b" ")) {
            Some(rest) if in_signature => signature.extend_from_slice(rest),
            _ => payload.extend_from_slice(line),
        }
    }
    (payload, signature)
}

/// A commit put together: the signature stands last in the header.
pub fn join_commit(payload: &[u8], signature: &str) -> Vec<u8> {
    let header = payload.windows(2).position(|two| two == b"\n\n").expect("a header") + 1;
    let lines = signature.trim_end().replace('\n', "\n ");
    [&payload[..header], b"gpgsig ", lines.as_bytes(), b"\n", &payload[header..]].concat()
}
