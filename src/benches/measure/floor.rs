//! The floor of a plan: read the files, parse them with the fastest suitable crate, copy the rows out of PostgreSQL,
//! and think nothing.

use std::error::Error;
use std::path::Path;

use saphyr_parser::Parser;

use super::postgres::{Client, copy_out};

/// Does it, in this process, and returns how many events and bytes there were.
pub fn run(repo: &Path, tables: &[String]) -> Result<(usize, u64), Box<dyn Error>> {
    let (mut events, mut bytes) = (0, 0);
    for file in files(repo)? {
        let text = std::fs::read_to_string(file)?;
        for event in Parser::new_from_str(&text) {
            event?;
            events += 1;
        }
    }
    let mut client = Client::connect()?;
    for table in tables {
        bytes += client.copy_out(&copy_out(table), |_| Ok(()))?;
    }
    Ok((events, bytes))
}

fn files(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    Ok(found)
}
