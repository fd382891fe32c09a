//! Policies in a folder: the files that end in `.rego`, at whatever depth.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use crate::model::code::Code;
use crate::model::finding::{self, Finding};
use crate::model::origin::{Origin, Position};
use crate::model::plain::is_unseen;
use crate::policy::{self, PolicyFile};

/// How deep folders may be nested.
const DEPTH_LEVELS_MAX: usize = 16;

/// The most entries of any sort that are looked at.
const ENTRIES_MAX: usize = 20_000;

/// Reads a folder, sorted by name; none where there is no such folder. `shown` is what findings call it.
pub fn read(folder: &Path, shown: &str) -> Result<Option<Vec<PolicyFile>>, Vec<Finding>> {
    let mut reading = Reading::default();
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => reading.fault(shown, &format!("it cannot be read: {error}")),
        Ok(about) if about.is_symlink() => reading.link(shown),
        Ok(about) if !about.is_dir() => reading.fault(shown, "it is no folder"),
        Ok(_) => reading.walk(folder, shown.trim_end_matches('/'), 0),
    }
    let Reading { mut files, mut findings, .. } = reading;
    if findings.is_empty() {
        findings = policy::oversized(&files);
    }
    if !findings.is_empty() {
        return Err(finding::in_order(findings));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Some(files))
}

#[derive(Default)]
struct Reading {
    files: Vec<PolicyFile>,
    findings: Vec<Finding>,
    entries: usize,
    bytes: usize,
}

impl Reading {
    fn walk(&mut self, folder: &Path, shown: &str, depth: usize) {
        if depth > DEPTH_LEVELS_MAX {
            return self.fault(shown, &format!("folders are nested more than {DEPTH_LEVELS_MAX} levels deep"));
        }
        let entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => return self.fault(shown, &format!("it cannot be read: {error}")),
        };
        for entry in entries {
            self.entries += 1;
            if self.entries > ENTRIES_MAX
                || self.files.len() > policy::FILES_MAX
                || self.bytes > policy::TOTAL_BYTES_MAX
            {
                // What there is of it is too much already, and will be told.
                if self.entries == ENTRIES_MAX + 1 {
                    self.fault(shown, &format!("there are more than {ENTRIES_MAX} files and folders"));
                }
                return;
            }
            let raw = entry.file_name();
            if raw.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let name = format!("{shown}/{}", visible(&raw.to_string_lossy()));
            let is_rego = raw.as_encoded_bytes().ends_with(b".rego");
            match entry.file_type() {
                Err(error) => self.fault(&name, &format!("it cannot be read: {error}")),
                Ok(kind) if kind.is_symlink() => {
                    if is_rego || fs::metadata(entry.path()).is_ok_and(|about| about.is_dir()) {
                        self.link(&name);
                    }
                }
                Ok(kind) if kind.is_dir() => self.walk(&entry.path(), &name, depth + 1),
                Ok(_) if !is_rego => {}
                Ok(kind) if !kind.is_file() => self.fault(&name, "it is no regular file"),
                Ok(_) if raw.to_str().is_none_or(|raw| visible(raw) != raw) => {
                    self.fault(&name, "its name is not UTF-8, or holds characters that cannot be seen");
                }
                Ok(_) => self.file(&entry.path(), &name),
            }
        }
    }

    fn file(&mut self, path: &Path, name: &str) {
        let mut bytes = Vec::new();
        // Its size is not asked for: it may grow meanwhile.
        let most = policy::FILE_BYTES_MAX as u64 + 1;
        let read = File::open(path).and_then(|open| open.take(most).read_to_end(&mut bytes));
        if let Err(error) = read {
            return self.fault(name, &format!("it cannot be read: {error}"));
        }
        self.bytes += bytes.len();
        let name: Arc<str> = name.into();
        match String::from_utf8(bytes) {
            Ok(text) => self.files.push(PolicyFile { path: name, text }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let before = String::from_utf8_lossy(&error.as_bytes()[..good]);
                let line = before.matches('\n').count() + 1;
                let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
                let position = Position::new(number(line), number(column));
                let finding = Finding::error(Code::BadPolicy, "the file is not UTF-8 here");
                self.findings.push(finding.at(Origin::new(&name, position)).hint("save it as UTF-8"));
            }
        }
    }

    fn link(&mut self, name: &str) {
        let finding = Finding::error(Code::BadPolicy, "it is a symbolic link").at(Origin::file(&name.into()));
        self.findings.push(finding.hint("put the file itself here; links are never followed"));
    }

    fn fault(&mut self, name: &str, message: &str) {
        self.findings.push(Finding::error(Code::BadPolicy, message).at(Origin::file(&name.into())));
    }
}

/// A name in which everything can be seen.
fn visible(name: &str) -> String {
    name.chars().map(|c| if c.is_control() || is_unseen(c) || c == '\u{FFFD}' { '?' } else { c }).collect()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
