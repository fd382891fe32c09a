//! The audit as people and auditors meet it: read, exported, verified, signed and pruned.

mod crashes;
mod exports;
mod heads;
mod prune;
mod reading;
mod rights;
mod sealing;
mod tamper;

use std::path::PathBuf;

use serde_json::Value;

use super::{ACME, Ran, World};
use crate::support::keys::Key;

/// A tier that keeps its audit for thirty days, and a second organization.
const GLOBEX: &str = "\
apiVersion: argus.io/v1alpha1
kind: Organization
metadata:
  name: globex
spec:
  members:
    - user: hans@globex.example
      role: owner
";

/// A world with a key that signs, a list that it stands in, and a file of heads kept elsewhere.
struct Audited {
    world: World,
    key: Key,
}

impl Audited {
    /// Two organizations, each with some rows, all of them sealed and signed.
    fn new() -> Audited {
        let world = World::with(ACME);
        world.write("globex.yaml", GLOBEX);
        let audited = Audited { world, key: Key::new("ed25519") };
        audited.list(&[(&audited.key, "")]);
        audited.settings("0s");
        audited.run(&["apply", "--auto-approve"]).ends(0);
        audited
    }

    /// The settings of the machine.
    fn settings(&self, every: &str) {
        let key = self.key.path().display().to_string();
        let (signers, heads) = (self.signers().display().to_string(), self.heads().display().to_string());
        self.world.write(
            "machine.cfg",
            &format!("audit:\n  signKey: {key}\n  signers: {signers}\n  heads: {heads}\n  every: {every}\n"),
        );
    }

    /// Lists these keys, each with its options.
    fn list(&self, keys: &[(&Key, &str)]) {
        let line = |(key, options): &(&Key, &str)| format!("argus@machine {options} {}\n", key.public);
        self.world.write("signers.txt", &keys.iter().map(line).collect::<String>());
    }

    fn signers(&self) -> PathBuf {
        self.world.path("signers.txt")
    }

    fn heads(&self) -> PathBuf {
        self.world.path("heads.txt")
    }

    /// Runs the binary with the settings of the machine.
    fn run(&self, arguments: &[&str]) -> Ran {
        let config = self.world.path("machine.cfg").display().to_string();
        self.world.argus(&[arguments, &["--config", &config]].concat())
    }

    /// Writes some rows by SQL: `count` transactions of one row each.
    fn write(&self, organization: &str, count: usize) {
        let sql = format!(
            "UPDATE argus.organization SET description = clock_timestamp()::text WHERE name = '{organization}';"
        );
        for _ in 0..count {
            self.world.mallory("psql", &sql);
        }
    }

    fn seal(&self) {
        self.run(&["audit", "seal"]).ends(0);
    }

    fn verify(&self) -> Ran {
        self.run(&["audit", "verify"])
    }

    /// What verifying finds, as JSON.
    fn verification(&self) -> Value {
        self.run(&["audit", "verify", "--format", "json"]).json()
    }

    /// Runs SQL as somebody whom no trigger stops.
    fn tamper(&self, sql: &str) {
        self.world.sql(&format!("BEGIN; SET LOCAL session_replication_role = replica; {sql}; COMMIT"));
    }
}
