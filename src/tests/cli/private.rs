//! The private server: shared by all who use it, stopped by the last, whatever happens to them.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{ACME, bare, run};
use crate::support::postgres::{scratch, watch};

/// A place of its own for a private server.
struct Place {
    root: PathBuf,
    _watchdog: std::process::Child,
}

impl Place {
    fn new() -> Place {
        let root = scratch("private");
        std::fs::create_dir_all(&root).expect("a folder");
        std::fs::write(root.join("acme.yaml"), ACME).expect("a file");
        Place { _watchdog: watch(&root.join("server")), root }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(arguments);
        command.current_dir(&self.root).env("ARGUS_DATA_DIR", self.root.join("server"));
        command
    }

    fn runs(&self) -> bool {
        self.root.join("server/data/postmaster.pid").exists()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.runs() {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

#[track_caller]
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_server_is_shared_and_stopped_by_the_last() {
    let place = Place::new();
    run(place.command(&["apply", "--auto-approve"])).ends(0);
    assert!(!place.runs());
    // Two at once; each waits for its input to end.
    let user = || {
        let mut command = place.command(&["db", "run", "--", "sh", "-c", "echo up; cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary runs")
    };
    let up = |child: &mut std::process::Child| {
        use std::io::Read as _;
        let mut said = [0; 3];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut said).expect("it is up");
    };
    let (mut one, mut two) = (user(), user());
    up(&mut one);
    up(&mut two);
    run(place.command(&["get", "members", "-o", "name"])).ends(0).says("acme/Member/ada@acme.example");
    drop(one.stdin.take());
    assert!(one.wait().expect("it ends").success());
    assert!(place.runs(), "somebody still uses it");
    // One that is killed leaves no trace of its use; the server stays up until the next one has come and gone.
    two.kill().expect("it can be killed");
    two.wait().expect("it ends");
    assert!(place.runs());
    run(place.command(&["plan", "--detailed-exitcode"])).ends(0).says("No changes.");
    wait_until("the server stopped", || !place.runs());
}

#[test]
fn without_binaries_the_package_is_named() {
    let place = Place::new();
    let nowhere = place.root.join("nowhere");
    std::fs::create_dir(&nowhere).expect("a folder");
    let nowhere = nowhere.to_string_lossy();
    run(place.command(&["plan", "--postgres-bin", &nowhere])).ends(1).says("ARG5002").says("apt install postgresql");
    run(place.command(&["validate", "--postgres-bin", &nowhere])).ends(0);
}

/// What is applied to a database that goes with the job is lost in green.
#[test]
fn a_job_gets_no_private_server_unless_somebody_says_where() {
    let place = Place::new();
    for (ci, refused) in [("true", true), ("1", true), ("True", true), ("false", false), ("", false)] {
        let mut command = bare(&["plan", "--postgres-bin", "/nonexistent"]);
        command.current_dir(&place.root).env("CI", ci).env("XDG_STATE_HOME", place.root.join("state"));
        let ran = run(command).ends(1);
        if refused {
            ran.says("ARG5001").says("ARGUS_DATABASE_URL")
        } else {
            ran.says("ARG5002")
        };
    }
    // Whoever says where it shall be has asked for it, and is not told.
    let mut command = place.command(&["apply", "--auto-approve"]);
    let ran = run({
        command.env("CI", "true");
        command
    });
    ran.ends(0).does_not_say("No database is configured");
    let state = Place::new();
    let mut command = bare(&["apply", "--auto-approve"]);
    command.current_dir(&state.root).env("XDG_STATE_HOME", &state.root);
    run(command).ends(0).says("No database is configured: using a private PostgreSQL in");
    wait_until("the server stopped", || !state.root.join("argus/postgres/data/postmaster.pid").exists());
}

/// A secret that is not set for a job arrives as an empty text, and no private server takes its place.
#[test]
fn an_empty_address_is_no_missing_one() {
    let place = Place::new();
    let mut command = place.command(&["apply", "--auto-approve"]);
    command.env("ARGUS_DATABASE_URL", "");
    run(command).ends(1).says("ARG5005").says("is empty").says("CI secret");
    assert!(!place.root.join("server").exists());
}
