//! Where the server binaries of the machine are.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::store::error::StoreError;

/// The server binaries of one PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub directory: PathBuf,
    pub major: u32,
}

/// The programs that are needed.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Folders that packages install to; `*` stands for a version.
const FOLDERS: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
    "/Library/PostgreSQL/*/bin",
    "/usr/libexec/postgresql*",
    "/usr/bin",
];

impl Binaries {
    /// The program of this name.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The binaries in a directory, or why there are none that can be used.
    fn in_directory(directory: &Path, major_min: u32) -> Result<Binaries, String> {
        let shown = directory.display();
        for name in PROGRAMS {
            let program = directory.join(name);
            if !program.is_file() {
                return Err(format!("{shown}: no `{name}`"));
            }
            if is_script(&program) {
                // A wrapper may do anything: start a container, change the user, pick another version.
                return Err(format!("{shown}: `{name}` is a script and no server binary"));
            }
        }
        let output = Command::new(directory.join("initdb")).arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        match major_of(&text) {
            None => Err(format!("{shown}: `initdb --version` names no version of PostgreSQL")),
            Some(major) if major < major_min => Err(format!("{shown}: version {major} is too old")),
            Some(major) => {
                // A link leads to the folder that also holds what the programs need.
                let real = directory.join("postgres").canonicalize().ok();
                let directory = real.and_then(|program| program.parent().map(Path::to_path_buf));
                Ok(Binaries { directory: directory.unwrap_or_else(|| PathBuf::from(shown.to_string())), major })
            }
        }
    }

    /// The binaries to use: those of the setting; else those on PATH and in the usual folders, the first of `major`
    /// where a data directory asks for one, else the newest.
    pub(super) fn find(
        setting: Option<&Path>,
        path: Option<&OsStr>,
        major: Option<u32>,
        major_min: u32,
    ) -> Result<Binaries, StoreError> {
        let candidates = match setting {
            Some(directory) => vec![directory.to_path_buf()],
            None => {
                let on_path = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
                let known = FOLDERS.iter().flat_map(|pattern| matching(pattern));
                on_path.into_iter().filter(|directory| directory.is_absolute()).chain(known).collect()
            }
        };
        let mut found: Vec<Binaries> = Vec::new();
        let mut faults: Vec<String> = Vec::new();
        for directory in &candidates {
            // A folder without any of the programs is no news.
            let empty = !PROGRAMS.iter().any(|name| directory.join(name).exists());
            if empty && setting.is_none() {
                continue;
            }
            match Binaries::in_directory(directory, major_min) {
                Ok(binaries) if found.contains(&binaries) => {}
                Ok(binaries) => found.push(binaries),
                Err(fault) => faults.push(fault),
            }
        }
        let chosen = match major {
            Some(major) => found.iter().find(|binaries| binaries.major == major).cloned(),
            // The first of the newest: PATH comes before the folders.
            None => found.iter().rev().max_by_key(|binaries| binaries.major).cloned(),
        };
        chosen.ok_or_else(|| {
            let versions: Vec<String> = found.iter().map(|binaries| binaries.major.to_string()).collect();
            let searched = match (setting, major, versions.is_empty()) {
                (_, Some(major), false) => {
                    format!("the data directory is of version {major}, and only {} is here", versions.join(", "))
                }
                (Some(_), _, _) => faults.join("; "),
                (None, _, _) if faults.is_empty() => "neither on PATH nor in the usual folders".to_owned(),
                (None, _, _) => format!("on PATH and in the usual folders; {}", faults.join("; ")),
            };
            StoreError::NoPostgres { searched }
        })
    }
}

/// The major version in `initdb (PostgreSQL) 15.18 (Debian ...)`.
fn major_of(text: &str) -> Option<u32> {
    let version = text.strip_prefix("initdb (PostgreSQL) ")?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn is_script(program: &Path) -> bool {
    let mut head = [0; 2];
    let read = std::fs::File::open(program).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == *b"#!"
}

/// The folders that match a pattern with at most one `*`, the highest version first.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let parent = if parent.is_empty() { "/" } else { parent };
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(version) = name.strip_prefix(prefix) else { continue };
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        let folder = format!("{}{after}", entry.path().display());
        found.push((digits.parse().unwrap_or(0), PathBuf::from(folder)));
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder(name: &str, script: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("argus-binaries-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for program in PROGRAMS {
            let path = folder.join(program);
            std::fs::write(&path, script).expect("a program");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        }
        folder
    }

    #[test]
    fn a_wrapper_script_on_path_is_not_taken_for_a_server() {
        let wrapper = folder("wrapper", "#!/bin/sh\necho 'initdb (PostgreSQL) 99.1'\n");
        let fault = Binaries::in_directory(&wrapper, 15).expect_err("a script is no server");
        assert!(fault.contains("is a script"), "{fault}");
        std::fs::remove_dir_all(wrapper).expect("removed");
    }

    #[test]
    fn versions_are_read_as_initdb_writes_them() {
        assert_eq!(major_of("initdb (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("initdb (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("initdb wrapper 15"), None);
        assert_eq!(major_of(""), None);
    }

    #[test]
    fn nothing_found_names_the_packages_to_install() {
        let missing = Path::new("/nonexistent/bin");
        let error = Binaries::find(Some(missing), None, None, 15).expect_err("nothing is there");
        assert_eq!(error.code(), crate::model::code::Code::NoPostgres);
        assert!(error.to_string().contains("/nonexistent/bin"), "{error}");
        for word in ["apt install postgresql", "dnf install", "brew install"] {
            assert!(error.hint().contains(word), "{}", error.hint());
        }
    }
}
