//! The audit: sealing and verifying the rows that a first apply writes, beside that apply.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use super::report::Figures;
use super::usage::{Usage, expect, median};
use super::{postgres, with_server};

/// Leaves the audit as it was before anybody sealed it.
const UNSEAL: &str = "SET session_replication_role = replica; DELETE FROM argus.seal; DELETE FROM argus.chain; \
                      DELETE FROM argus.unsealed; INSERT INTO argus.unsealed SELECT DISTINCT organization, version \
                      FROM argus.audit";

/// What is measured, and with what.
#[derive(Clone, Copy)]
pub struct Audit<'a> {
    /// The binary.
    pub argus: &'a Path,
    /// The manifests.
    pub repo: &'a Path,
    /// The private server.
    pub data: &'a Path,
    /// How often each is run.
    pub runs: usize,
}

impl Audit<'_> {
    /// Everything, on a server that is up and empty; and how many rows of the audit there were.
    pub fn measure(&self) -> Result<(Figures, u64), Box<dyn Error>> {
        let mut figures = Figures::new();
        figures.insert("apply".into(), with_server(self.argus(&["apply", "--auto-approve"]).arg(self.repo))?);
        let rows = postgres::query("SELECT count(*) FROM argus.audit")?.join("").parse()?;
        // A table that was just filled is not yet as it will be from now on.
        postgres::query("VACUUM ANALYZE")?;
        figures.insert("seal".into(), self.several(&["audit", "seal"], Some(UNSEAL))?);
        postgres::query("VACUUM ANALYZE")?;
        figures.insert("verify".into(), self.several(&["audit", "verify"], None)?);
        Ok((figures, rows))
    }

    fn argus(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.argus);
        command.env_remove("ARGUS_DATABASE_URL").args(words).arg("--data-dir").arg(self.data);
        command
    }

    fn several(&self, words: &[&str], before: Option<&str>) -> Result<Usage, Box<dyn Error>> {
        let once = || {
            if let Some(sql) = before {
                postgres::query(sql)?;
            }
            with_server(&mut self.argus(words))
        };
        // The first run fills the caches of the system and of the server.
        if before.is_none() {
            expect(0, &mut self.argus(words))?;
        }
        let runs: Result<Vec<Usage>, _> = (0..self.runs).map(|_| once()).collect();
        Ok(median(runs?))
    }
}
