//! The private server: shared, stopped by the last, and none the worse for being killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use argus::model::code::Code;
use argus::store::private::PrivateServer;
use sqlx::{Connection as _, PgConnection};

use crate::support::postgres::{CARELESS, one, run, scratch, watch};

/// A data directory that is removed, with its server, when the test ends.
struct Scratch {
    path: PathBuf,
    watchdog: Child,
}

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = scratch(name);
        let watchdog = watch(&path);
        Scratch { path, watchdog }
    }

    fn start(&self) -> PrivateServer {
        PrivateServer::start_with(&self.path, None, CARELESS).expect("a server starts")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Closing its pipe sets it to work.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

async fn session(server: &PrivateServer) -> PgConnection {
    PgConnection::connect(&server.url().to_string()).await.expect("a connection")
}

fn pid(directory: &Path) -> Option<String> {
    let note = std::fs::read_to_string(directory.join("data/postmaster.pid")).ok()?;
    note.lines().next().map(str::to_owned)
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().expect("kill runs").success());
}

#[tokio::test]
async fn a_server_is_shared_and_the_last_user_stops_it() {
    let scratch = Scratch::new("shared");
    let first = scratch.start();
    let second = scratch.start();
    assert_eq!(first.url().to_string(), second.url().to_string());
    let running = pid(&scratch.path).expect("it runs");
    assert!(!first.stop_if_last().expect("it is left"), "somebody else uses it");
    assert_eq!(one(&mut session(&second).await, "SELECT current_user").await, "argus");
    assert_eq!(pid(&scratch.path), Some(running));
    assert!(second.stop_if_last().expect("it is stopped"));
    assert_eq!(pid(&scratch.path), None);
}

#[tokio::test]
async fn a_server_listens_on_no_network_and_lets_nobody_else_in() {
    use std::os::unix::fs::MetadataExt as _;
    let scratch = Scratch::new("closed");
    let server = PrivateServer::start(&scratch.path, None).expect("a server starts");
    let mut session = session(&server).await;
    assert_eq!(one(&mut session, "SELECT current_setting('listen_addresses')").await, "");
    assert_eq!(one(&mut session, "SELECT current_setting('fsync')").await, "on");
    assert_eq!(std::fs::metadata(&scratch.path).expect("it is there").mode() & 0o777, 0o700);
}

#[tokio::test]
async fn after_everybody_was_killed_the_next_start_finds_all_that_was_committed() {
    let scratch = Scratch::new("killed");
    // A user of its own process, so that the kernel takes its locks back when it is killed.
    let mut user = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "store_private::a_user_that_is_killed", "--ignored"])
        .env("ARGUS_TEST_DIRECTORY", &scratch.path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let patience = Instant::now() + Duration::from_secs(60);
    while !scratch.path.join("ready").exists() {
        assert!(Instant::now() < patience, "the child never got ready");
        std::thread::sleep(Duration::from_millis(50));
    }
    let server = pid(&scratch.path).expect("it runs");
    user.kill().expect("killed");
    user.wait().expect("reaped");
    kill("-KILL", &server);
    let next = scratch.start();
    assert_ne!(pid(&scratch.path), Some(server));
    assert_eq!(one(&mut session(&next).await, "SELECT count(*) FROM kept").await, "1");
    assert!(next.stop_if_last().expect("it is stopped"), "the killed user counts no more");
}

#[test]
#[ignore = "the child of another test"]
fn a_user_that_is_killed() {
    let Some(directory) = std::env::var_os("ARGUS_TEST_DIRECTORY") else { return };
    let directory = PathBuf::from(directory);
    let server = PrivateServer::start(&directory, None).expect("a server starts");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { run(&mut session(&server).await, "CREATE TABLE kept AS SELECT 1").await });
    std::fs::write(directory.join("ready"), "").expect("a note");
    std::thread::sleep(Duration::from_secs(120));
}

#[tokio::test]
async fn what_a_killed_initdb_left_behind_is_never_used() {
    let scratch = Scratch::new("half");
    std::fs::create_dir_all(scratch.path.join("data.making-1/base")).expect("a folder");
    std::fs::write(scratch.path.join("data.making-1/PG_VERSION"), "15\n").expect("a file");
    let server = scratch.start();
    assert_eq!(one(&mut session(&server).await, "SELECT 1").await, "1");
    assert!(!scratch.path.join("data.making-1").exists());
}

#[tokio::test]
async fn a_process_number_that_now_belongs_to_something_else_is_no_obstacle() {
    let scratch = Scratch::new("stranger");
    scratch.start().stop_if_last().expect("it is stopped");
    let note = scratch.path.join("data/postmaster.pid");
    std::fs::write(&note, format!("{}\n/nowhere\n1\n5432\n", std::process::id())).expect("a note");
    let server = scratch.start();
    assert_eq!(one(&mut session(&server).await, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_path_that_is_too_long_for_a_socket_gets_a_short_one() {
    let scratch = Scratch::new(&"long".repeat(40));
    let server = scratch.start();
    assert_eq!(one(&mut session(&server).await, "SELECT 1").await, "1");
    let sockets = server.url().to_string().split_once("host=").expect("a directory").1.to_owned();
    assert!(sockets.len() < 100 && !sockets.contains("long"), "{sockets}");
    assert!(server.stop_if_last().expect("it is stopped"));
    std::fs::remove_dir(&sockets).expect("it is empty and ours");
}

#[test]
fn a_setting_that_names_no_binaries_says_what_to_install() {
    let path = scratch("none");
    let error = PrivateServer::start(&path, Some(Path::new("/nonexistent"))).expect_err("nothing is there");
    assert_eq!(error.code(), Code::NoPostgres);
    assert!(error.hint().contains("apt install postgresql"), "{}", error.hint());
    std::fs::remove_dir_all(path).expect("removed");
}
