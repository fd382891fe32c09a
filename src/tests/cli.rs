//! The real binary against a real PostgreSQL: config repos in folders of their own, a database per test, and SQL from
//! outside.

mod adopt;
mod approvals;
mod audit;
mod brakes;
mod ci;
mod codes;
mod commands;
mod comments;
mod contracts;
mod controller;
mod crashes;
mod drift;
mod events;
mod faces;
mod git;
mod guards;
mod ownership;
mod parity;
mod poison;
mod policies;
mod private;
mod random;
mod reviews;
mod rollback;
mod saved_plans;
mod schemas;
mod secrets;
mod snapshot;
mod soak;
mod solutions;
mod telemetry;
mod tiers;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::postgres::{Database, scratch};

/// The binary.
const ARGUS: &str = env!("CARGO_BIN_EXE_argus");

/// An organization with an owner, to which tests add.
const ACME: &str = "\
apiVersion: argus.io/v1alpha1
kind: Organization
metadata:
  name: acme
spec:
  displayName: Acme
  members:
    - user: ada@acme.example
      role: owner
";

/// A database and a config repo.
struct World {
    database: Database,
    root: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
struct Ran {
    command: String,
    code: Option<i32>,
    out: String,
    err: String,
}

impl World {
    /// A database with the schema and nothing in it, and an empty repo.
    fn new() -> World {
        World::on(block_on(Database::new()))
    }

    /// An empty repo beside this database.
    fn on(database: Database) -> World {
        let root = scratch("repo");
        std::fs::create_dir_all(&root).expect("a folder for the repo");
        World { database, root }
    }

    /// A world with this one file in it.
    fn with(text: &str) -> World {
        let world = World::new();
        world.write("acme.yaml", text);
        world
    }

    /// A world in which this one file has been applied.
    fn applied(text: &str) -> World {
        let world = World::with(text);
        world.apply().ends(0);
        world
    }

    /// A copy of this database and of this repo, as they are now.
    fn copy(&self) -> World {
        let world = World::on(block_on(self.database.copy()));
        for entry in std::fs::read_dir(&self.root).expect("the repo can be read") {
            let path = entry.expect("an entry").path();
            std::fs::copy(&path, world.path(&path.file_name().expect("a name").to_string_lossy())).expect("a copy");
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file of the repo.
    fn write(&self, name: &str, text: &str) -> &World {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file can be written");
        self
    }

    fn remove(&self, name: &str) -> &World {
        std::fs::remove_file(self.path(name)).expect("a file can be removed");
        self
    }

    /// The binary in the repo, with the database in its environment and nothing else of ours or the machine's.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(arguments);
        command.current_dir(&self.root).env("ARGUS_DATABASE_URL", self.database.url.to_string());
        command
    }

    /// Runs the binary to its end.
    fn argus(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments))
    }

    fn plan(&self) -> Ran {
        self.argus(&["plan", "--detailed-exitcode"])
    }

    fn apply(&self) -> Ran {
        self.argus(&["apply", "--auto-approve"])
    }

    /// The plan as JSON.
    fn plan_json(&self) -> Value {
        self.argus(&["plan", "--format", "json"]).json()
    }

    /// Says that nothing is left to do.
    fn is_settled(&self) {
        self.plan().ends(0).says("No changes.");
        self.argus(&["plan", "--detailed-exitcode", "--full"]).ends(0).says("No changes.");
    }

    /// Runs SQL as the superuser and gives what it says, a line per row.
    fn sql(&self, sql: &str) -> String {
        psql(&self.database, sql, &[])
    }

    /// Runs SQL as a person would who has the rights of the reconciler.
    fn mallory(&self, application: &str, sql: &str) -> String {
        self.sql(
            "DO $$ BEGIN CREATE ROLE mallory LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             DO $$ BEGIN GRANT argus_reconciler TO mallory; EXCEPTION WHEN unique_violation THEN NULL; END $$",
        );
        psql(&self.database, sql, &[("PGUSER", "mallory"), ("PGAPPNAME", application)])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whoever looks for the reason of a failure finds the repo.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

impl Ran {
    /// Expects an exit code.
    #[track_caller]
    fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Expects a text in what was said, on either stream.
    #[track_caller]
    fn says(self, text: &str) -> Ran {
        assert!(self.all().contains(text), "{text:?} is missing in\n{self}");
        self
    }

    /// Expects that a text is not said.
    #[track_caller]
    fn does_not_say(self, text: &str) -> Ran {
        assert!(!self.all().contains(text), "{text:?} is there in\n{self}");
        self
    }

    fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Standard output as JSON.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ended with {:?}\n{}\n{}", self.command, self.code, self.out, self.err)
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

/// The binary without any settings.
fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(ARGUS);
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = ["ARGUS_", "PG", "OTEL_"].iter().any(|beginning| name.starts_with(beginning));
        if ours || matches!(&*name, "NO_COLOR" | "CI" | "TRACEPARENT") {
            command.env_remove(name);
        }
    }
    command.env("ARGUS_ACTOR", "tester");
    command
}

fn run(mut command: Command) -> Ran {
    let output = command.output().expect("the binary runs");
    ran(&command, output)
}

fn ran(command: &Command, output: Output) -> Ran {
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    Ran {
        command: format!("argus {}", arguments.join(" ")),
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn psql(database: &Database, sql: &str, environment: &[(&str, &str)]) -> String {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "-At", "-c", sql]).stdin(Stdio::null());
    psql.envs(database.url.environment()).envs(environment.iter().copied());
    let output = psql.output().expect("psql runs");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The files of a folder with their contents.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).expect("a file can be read");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    files.sort();
    files
}
