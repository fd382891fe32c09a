//! Standard output. A reader that has gone away, as `| head` does, is no error.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::context::{Done, Failure};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::source::git::mirror::own_user;

/// Prints text as it is.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(cannot_write("standard output", &error)),
        Ok(()) => Ok(()),
    }
}

/// Prints a report and ends with this code.
pub fn report(text: &str, code: ExitCode) -> Done {
    print(text)?;
    Ok(code)
}

/// Writes a file whole or not at all: to a neighbour first, then over the name. One's own link stays, and leads to the new
/// file; a link of somebody else's is replaced, and followed nowhere. What is no file (`/dev/null`, a pipe) is written into.
pub fn write_file(path: &Path, text: &str, private: bool) -> Result<(), Failure> {
    let cannot = |error: &std::io::Error| cannot_write(&path.display().to_string(), error);
    let real = match std::fs::metadata(path) {
        Ok(there) if there.is_file() && is_own(path) => std::fs::canonicalize(path).map_err(|error| cannot(&error))?,
        Ok(there) if there.is_file() => path.to_owned(),
        Ok(_) => {
            let open = std::fs::OpenOptions::new().write(true).open(path);
            return open.and_then(|mut device| device.write_all(text.as_bytes())).map_err(|error| cannot(&error));
        }
        Err(_) => path.to_owned(),
    };
    replace(&real, text, private).map_err(|error| cannot(&error))
}

/// Whether the name itself, be it a link or a file, belongs to whoever writes.
fn is_own(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::symlink_metadata(path).is_ok_and(|there| there.uid() == own_user())
}

fn replace(path: &Path, text: &str, private: bool) -> std::io::Result<()> {
    let mut neighbour = path.as_os_str().to_owned();
    neighbour.push(format!(".{}.tmp", std::process::id()));
    let neighbour = Path::new(&neighbour);
    let result = create(neighbour, private).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(neighbour, path)
    });
    result.inspect_err(|_| {
        let _ = std::fs::remove_file(neighbour);
    })
}

fn create(path: &Path, private: bool) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mode = if private { 0o600 } else { 0o666 };
    std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

fn cannot_write(what: &str, error: &std::io::Error) -> Failure {
    let finding = Finding::error(Code::CannotWrite, format!("cannot write {what}: {error}"));
    Failure::from(finding.hint("nothing was left half-written; make room or choose another place, and run again"))
}
