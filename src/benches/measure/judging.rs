//! Judging: what the policies add to a first plan of every organization, and what OPA takes for the same documents.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::usage::{Usage, expect};

/// How many organizations OPA is given: all of their documents have to be one document for it, and fit into memory.
const OPA_ORGANIZATIONS_MAX: usize = 1_000;

/// The version of the program, if there is one.
pub fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().next().and_then(|line| line.split_once(": ")).map(|(_, version)| version.to_owned())
}

/// What OPA takes to answer all rules that judge for these documents, in one process, and for how many it was asked.
pub fn opa(
    program: &str,
    policies: &Path,
    rules: &[String],
    documents: &Path,
    folder: &Path,
) -> Result<(Usage, usize), Box<dyn Error>> {
    let all = folder.join("documents.json");
    let count = gather(documents, &all)?;
    let answers: Vec<String> = rules.iter().map(|rule| format!("{rule:?}: data.{rule}")).collect();
    let query = format!("[answer | some document in input; answer := asked with input as document]");
    let module = folder.join("asked.rego");
    // One module that asks everything, so that OPA compiles and plans it once.
    std::fs::write(&module, format!("package measure\n\nasked := {{{}}}\n", answers.join(", ")))?;
    let query = query.replace("asked", "data.measure.asked");
    let mut command = Command::new(program);
    command.args(["eval", "--format", "raw", "--data"]).arg(policies).arg("--data").arg(&module);
    command.arg("--input").arg(&all).arg(query).stderr(Stdio::inherit());
    Ok((expect(0, &mut command)?, count))
}

/// Makes one list of a stream of documents.
fn gather(documents: &Path, into: &Path) -> Result<usize, Box<dyn Error>> {
    let stream = serde_json::Deserializer::from_reader(std::io::BufReader::new(File::open(documents)?));
    let mut out = BufWriter::new(File::create(into)?);
    let mut count = 0;
    for document in stream.into_iter::<Box<serde_json::value::RawValue>>().take(OPA_ORGANIZATIONS_MAX) {
        out.write_all(if count == 0 { b"[" } else { b"," })?;
        out.write_all(document?.get().as_bytes())?;
        count += 1;
    }
    out.write_all(b"]")?;
    out.flush()?;
    Ok(count)
}
