//! A directory of manifests on this machine: found, read and parsed on all cores, and the lines that findings show.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::gather::on_all_cores;
use super::manifest::{FileReading, read_file};
use super::names::{POLICIES_DIRECTORY, SCHEMA_FILE, SETTINGS_FILE, is_manifest};
use super::world::assemble;
use super::yaml::{FILE_BYTES_MAX, too_large};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::Origin;
use crate::model::plain::is_unseen;
use crate::model::state::World;
use crate::render::excerpt::{Excerpts, LINE_CHARS_MAX};

/// What is read of a directory, and the limits on it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directories and files below the root that are read; none for all of it.
    pub paths: Vec<PathBuf>,
    /// The directory below the root that holds policies and no manifests.
    pub policies: String,
    /// The most files.
    pub files_max: usize,
    /// The most entries of any sort that are looked at.
    pub entries_max: usize,
    /// The deepest directory.
    pub depth_levels_max: usize,
    /// The most bytes in all files together.
    pub total_bytes_max: u64,
    /// How many threads read at once; none for one per core.
    pub threads: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            paths: Vec::new(),
            policies: POLICIES_DIRECTORY.into(),
            files_max: 1_000_000,
            entries_max: 2_000_000,
            depth_levels_max: 64,
            total_bytes_max: 8 * 1024 * 1024 * 1024,
            threads: None,
        }
    }
}

/// Reads all manifests below a directory, or a single file.
pub fn read(root: &Path, options: &Options) -> World {
    let found = find(root, options);
    let files = found.files;
    let readings = on_all_cores(&files, options.threads, Vec::new, |bytes, file| read_one(file, bytes));
    let mut world = assemble(readings.into_iter().chain(found.unreadable));
    world.files = files.len();
    world.findings.extend(found.findings);
    world.findings = crate::model::finding::in_order(std::mem::take(&mut world.findings));
    world
}

struct Candidate {
    path: PathBuf,
    name: Arc<str>,
    bytes: u64,
}

#[derive(Default)]
struct Found {
    files: Vec<Candidate>,
    unreadable: Vec<FileReading>,
    findings: Vec<Finding>,
    entries: usize,
    bytes: u64,
    full: bool,
}

impl Found {
    /// There is nothing to read at all: whatever the source held before must stay.
    fn nothing(&mut self, finding: Finding) {
        self.unreadable.push(FileReading { unreadable: true, ..FileReading::empty(&".".into()) });
        self.findings.push(finding);
    }
}

/// Finds the manifests, sorted by name.
fn find(root: &Path, options: &Options) -> Found {
    let mut found = Found::default();
    let shown = file_name(root);
    match fs::metadata(root) {
        Err(fault) => {
            let message = format!("{shown} cannot be read: {}", reason(&fault));
            found.nothing(
                Finding::error(Code::Unreadable, message)
                    .hint("give the directory that holds the manifests, or one file"),
            );
        }
        Ok(about) if about.is_dir() => {
            if options.paths.is_empty() {
                walk(root, "", 0, options, &mut found);
            }
            for path in &options.paths {
                find_below(root, path, options, &mut found);
            }
            found.files.sort_by(|a, b| a.name.cmp(&b.name));
            // Configured paths may overlap.
            found.files.dedup_by(|a, b| a.name == b.name);
            if found.files.is_empty() && found.unreadable.is_empty() {
                let message = format!("{shown} holds no manifest");
                found.nothing(
                    Finding::error(Code::Unreadable, message)
                        .hint("manifests are files that end in .yaml, .yml or .json; an empty source deletes nothing"),
                );
            }
        }
        // Opening a pipe would wait for somebody to write into it.
        Ok(about) if !about.is_file() => found.nothing(irregular(&shown)),
        Ok(about) => {
            let name = root.file_name().map_or_else(|| shown.clone(), |name| file_name(Path::new(name)));
            found.files.push(Candidate { path: root.into(), name: name.into(), bytes: about.len() });
        }
    }
    found
}

/// Finds what one of the configured paths holds; it may be a directory or a file, and no link.
fn find_below(root: &Path, path: &Path, options: &Options, found: &mut Found) {
    let parts = path.components().filter(|part| !matches!(part, std::path::Component::CurDir));
    let path: PathBuf = parts.collect();
    if path.as_os_str().is_empty() {
        return walk(root, "", 0, options, found);
    }
    let name: Arc<str> = file_name(&path).into();
    let mut place = root.to_owned();
    for part in path.components() {
        place.push(part);
        match fs::symlink_metadata(&place) {
            Ok(about) if about.is_symlink() => {
                let finding = Finding::error(Code::Symlink, format!("{name} leads over a symbolic link"))
                    .hint("put the files themselves there; links are never followed");
                return found.unreadable.push(FileReading::unreadable(&name, finding));
            }
            Ok(_) => {}
            Err(fault) => return found.unreadable.push(FileReading::unreadable(&name, unreadable(&name, &fault))),
        }
    }
    match fs::metadata(&place) {
        Ok(about) if about.is_dir() => walk(&place, &format!("{name}/"), 0, options, found),
        Ok(about) if !about.is_file() => {
            let finding = irregular(&name);
            found.unreadable.push(FileReading::unreadable(&name, finding));
        }
        Ok(about) => found.files.push(Candidate { path: place, name, bytes: about.len() }),
        Err(fault) => found.unreadable.push(FileReading::unreadable(&name, unreadable(&name, &fault))),
    }
}

fn walk(directory: &Path, prefix: &str, depth: usize, options: &Options, found: &mut Found) {
    let here: Arc<str> = if prefix.is_empty() { ".".into() } else { prefix.trim_end_matches('/').into() };
    if depth > options.depth_levels_max {
        let message = format!("directories are nested more than {} levels deep", options.depth_levels_max);
        let finding = Finding::error(Code::TooManyFiles, message).hint("no config repo needs this depth");
        found.unreadable.push(FileReading::unreadable(&here, finding));
        return;
    }
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(fault) => {
            found.unreadable.push(FileReading::unreadable(&here, unreadable(&here, &fault)));
            return;
        }
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(fault) => {
                found.unreadable.push(FileReading::unreadable(&here, unreadable(&here, &fault)));
                return;
            }
        };
        if found.full {
            return;
        }
        found.entries += 1;
        let raw = entry.file_name();
        if raw.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if prefix.is_empty() && raw == SETTINGS_FILE || raw == SCHEMA_FILE {
            continue;
        }
        let name: Arc<str> = format!("{prefix}{}", file_name(Path::new(&raw))).into();
        let is_manifest = is_manifest(&raw.to_string_lossy());
        match entry.file_type() {
            Err(fault) => found.unreadable.push(FileReading::unreadable(&name, unreadable(&name, &fault))),
            Ok(kind) if kind.is_symlink() => {
                let leads_to_files = is_manifest || fs::metadata(entry.path()).is_ok_and(|about| about.is_dir());
                if leads_to_files {
                    let finding = Finding::error(Code::Symlink, format!("{name} is a symbolic link"))
                        .hint("put the file itself here; links are never followed");
                    found.unreadable.push(FileReading::unreadable(&name, finding));
                }
            }
            Ok(kind) if kind.is_dir() && *name == *options.policies.trim_matches('/') => {}
            Ok(kind) if kind.is_dir() => walk(&entry.path(), &format!("{name}/"), depth + 1, options, found),
            Ok(_) if !is_manifest => {}
            Ok(kind) if !kind.is_file() => {
                found.unreadable.push(FileReading::unreadable(&name, irregular(&name)));
            }
            Ok(_) => match raw.to_str() {
                Some(shown) if *shown == name[prefix.len()..] => match entry.metadata() {
                    Err(fault) => found.unreadable.push(FileReading::unreadable(&name, unreadable(&name, &fault))),
                    Ok(about) => {
                        found.bytes = found.bytes.saturating_add(about.len().min(FILE_BYTES_MAX));
                        found.files.push(Candidate { path: entry.path(), name, bytes: about.len() });
                    }
                },
                fault => {
                    let what = if fault.is_some() { "holds characters that cannot be seen" } else { "is not UTF-8" };
                    let finding =
                        Finding::error(Code::Unreadable, format!("the name of {name} {what}")).hint("rename the file");
                    found.unreadable.push(FileReading::unreadable(&name, finding));
                }
            },
        }
        let over = if found.files.len() > options.files_max {
            Some(format!("there are more than {} manifests", options.files_max))
        } else if found.entries > options.entries_max {
            Some(format!("there are more than {} files and directories", options.entries_max))
        } else if found.bytes > options.total_bytes_max {
            Some(format!("the manifests have more than {} bytes together", options.total_bytes_max))
        } else {
            None
        };
        if let Some(message) = over {
            let finding = Finding::error(Code::TooManyFiles, message).hint("split the source into several");
            // Which files were not looked at is unknown, so that nothing of this source can be trusted.
            found.files.clear();
            found.full = true;
            found.unreadable.push(FileReading::unreadable(&".".into(), finding));
        }
    }
}

/// A path with `/`, whatever cannot be shown replaced by `?`.
fn file_name(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .map(|c| match c {
            '\u{FFFD}' => '?',
            '\\' if std::path::MAIN_SEPARATOR == '\\' => '/',
            c if c.is_control() || is_unseen(c) => '?',
            c => c,
        })
        .collect()
}

fn reason(fault: &io::Error) -> String {
    match fault.kind() {
        io::ErrorKind::NotFound => "it does not exist".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => fault.to_string(),
    }
}

fn irregular(name: &str) -> Finding {
    Finding::error(Code::Unreadable, format!("{name} is no regular file")).hint("only regular files can be manifests")
}

fn unreadable(name: &str, fault: &io::Error) -> Finding {
    Finding::error(Code::Unreadable, format!("{name} cannot be read: {}", reason(fault)))
        .hint("what it held before stays as it is until it can be read again")
}

fn read_one(file: &Candidate, bytes: &mut Vec<u8>) -> FileReading {
    if file.bytes > FILE_BYTES_MAX {
        return FileReading::unreadable(&file.name, too_large(file.bytes));
    }
    bytes.clear();
    // The file may have grown since it was found.
    let read = File::open(&file.path).and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(bytes));
    match read {
        Ok(_) => read_file(&file.name, bytes),
        Err(fault) => FileReading::unreadable(&file.name, unreadable(&file.name, &fault)),
    }
}

/// Reads just the lines that some places point at.
pub fn excerpts<'a>(root: &Path, origins: impl IntoIterator<Item = &'a Origin>) -> Excerpts {
    let mut wanted: Vec<&Origin> = origins.into_iter().filter(|origin| origin.line > 0).collect();
    wanted.sort();
    wanted.dedup_by(|a, b| a.file == b.file && a.line == b.line);
    let mut excerpts = Excerpts::default();
    let single = fs::metadata(root).is_ok_and(|about| !about.is_dir());
    for group in wanted.chunk_by(|a, b| a.file == b.file).take(EXCERPT_FILES_MAX) {
        let file = &group[0].file;
        let inside = !file.starts_with('/') && file.split('/').all(|part| part != "..");
        if !inside {
            continue;
        }
        let path = if single { root.to_path_buf() } else { root.join(&**file) };
        let Ok(open) = File::open(path) else { continue };
        let mut reader = BufReader::new(open.take(FILE_BYTES_MAX));
        let mut line = Vec::new();
        let mut number = 0;
        for origin in group {
            while number < origin.line {
                line.clear();
                match reader.read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => break,
                    Ok(_) => number += 1,
                }
            }
            if number != origin.line {
                break;
            }
            let bytes = if number == 1 { line.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(&line) } else { &line };
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LINE_CHARS_MAX)]);
            excerpts.insert(file, number, text.trim_end_matches(['\n', '\r']));
        }
    }
    excerpts
}

/// The most files that are opened again to show lines of them.
const EXCERPT_FILES_MAX: usize = 1_000;
