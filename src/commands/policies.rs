//! Policies for commands: read from a folder, loaded into the sandbox, their faults shown with the lines.

use std::path::Path;
use std::sync::Arc;

use super::context::{Context, Failure};
use crate::model::code::Code;
use crate::model::finding::{Finding, in_order};
use crate::model::origin::Origin;
use crate::policy::PolicyFile;
use crate::render::excerpt::Excerpts;
use crate::sandbox::Sandbox;
use crate::source::policies;

/// What findings call a folder without a name.
const NAMELESS: &str = "policies";

/// The files of a folder. They are shown under its last name, so that the digest of the rules does not depend on where
/// the folder stands.
pub fn read(folder: &Path) -> Result<Vec<PolicyFile>, Failure> {
    let whole = std::path::absolute(folder).unwrap_or_default();
    let shown = whole.file_name().map_or_else(|| NAMELESS.into(), |name| name.to_string_lossy());
    read_as(folder, &shown)
}

/// The same, shown under the name by which the folder was asked for, so that editors and CI systems find them.
pub fn read_as_named(folder: &Path) -> Result<Vec<PolicyFile>, Failure> {
    let shown = folder.display().to_string();
    read_as(folder, shown.strip_prefix("./").unwrap_or(&shown))
}

fn read_as(folder: &Path, shown: &str) -> Result<Vec<PolicyFile>, Failure> {
    let files = policies::read(folder, shown).map_err(Failure::from_findings)?;
    files.ok_or_else(|| missing(folder))
}

/// There is no such folder, although there should be.
pub fn missing(folder: &Path) -> Failure {
    let finding = Finding::error(Code::BadPolicy, format!("there is no folder {}", folder.display()));
    Failure::from(finding.hint("the policies are meant to stand there; bring it back, or name another one"))
}

/// Loads policies, into as many workers as there are cores.
pub async fn load(context: &Context, files: Vec<PolicyFile>) -> Result<Sandbox, Failure> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let texts: Vec<PolicyFile> = files.clone();
    Sandbox::load(files, context.policy_limits(), workers).await.map_err(|findings| {
        let findings = in_order(findings);
        let excerpts = excerpts(&texts, &findings);
        Failure::from_findings(findings).with_excerpts(excerpts)
    })
}

/// Refuses policies that judge nothing.
pub fn must_judge(sandbox: &Sandbox, folder: &str) -> Result<(), Failure> {
    if sandbox.rules().is_empty() {
        let finding = Finding::error(Code::BadPolicy, format!("{folder} holds no rule that judges anything"));
        let hint = "write a `deny`, `hold` or `warn` rule; if the source is meant to go without, say `policies: none`";
        return Err(Failure::from(finding.hint(hint)));
    }
    Ok(())
}

/// The lines that findings point at.
pub fn excerpts(files: &[PolicyFile], findings: &[Finding]) -> Excerpts {
    let mut excerpts = Excerpts::default();
    for origin in findings.iter().filter_map(|finding| finding.origin.as_ref()) {
        if let Some(text) = line(files, &origin.file, origin.line) {
            excerpts.insert(&origin.file, origin.line, text);
        }
    }
    excerpts
}

/// A line of a file.
pub fn line<'a>(files: &'a [PolicyFile], file: &Arc<str>, line: u32) -> Option<&'a str> {
    let text = files.iter().find(|known| known.path == *file).map(|known| known.text.as_str())?;
    text.lines().nth((line as usize).checked_sub(1)?)
}

/// Refuses a folder that a source names where a link stands on the way to it: it would lead out of the source.
pub fn without_links(root: &Path, named: &str) -> Result<(), Failure> {
    let base = if root.is_file() { root.parent().unwrap_or(Path::new(".")) } else { root };
    let mut way = base.to_path_buf();
    for part in Path::new(named).components() {
        way.push(part);
        if way.symlink_metadata().is_ok_and(|about| about.is_symlink()) {
            let shown = way.strip_prefix(base).unwrap_or(&way).display().to_string();
            let finding =
                Finding::error(Code::BadPolicy, "it is a symbolic link").at(Origin::file(&shown.as_str().into()));
            return Err(finding.hint("put the folder itself here; links are never followed").into());
        }
    }
    Ok(())
}
