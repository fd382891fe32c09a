//! The private server: a PostgreSQL of one's own, started from the binaries of the machine, on a socket of its own,
//! shared by all who use the same data directory, and stopped by the last of them.
//!
//! Who uses it is counted by locks on files, which the kernel takes back however a user ends. `start.lock` is held
//! while somebody starts, joins, leaves or stops; `users.lock` is shared by everybody who uses the server, so that
//! whoever can have it alone is the last.

mod account;
mod binaries;

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use self::account::Account;
use self::binaries::Binaries;
use super::POSTGRES_MAJOR_MIN;
use super::error::StoreError;
use super::url::DatabaseUrl;
use crate::plan::sha256_hex;

/// The name of the superuser and of the database.
const NAME: &str = "argus";

/// The port; on a socket it is only part of a file name.
const PORT: u16 = 5432;

/// How the names of directories begin in which data is made.
const MAKING: &str = "data.making-";

/// The longest path of a directory that a socket can stand in, with room for its name: the kernel allows 107 bytes.
const SOCKET_DIRECTORY_BYTES_MAX: usize = 85;

/// How long somebody waits for others to start or stop the server.
const LOCK_TIME_MAX: Duration = Duration::from_secs(120);

/// How long a server may take to say that it is there.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// How long the server may take to start; a crash leaves it work to do.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// How long is waited for the processes of a killed server to notice.
const ORPHANS_TIME_MAX: Duration = Duration::from_secs(10);

/// A private server in use. Dropping it stops the server if nobody else uses it.
#[derive(Debug)]
pub struct PrivateServer {
    place: Place,
    binaries: Binaries,
    url: DatabaseUrl,
    // None once it was left.
    users: Option<File>,
}

impl PrivateServer {
    /// Starts the server of a data directory, or joins those who use it already. Blocks until it answers.
    pub fn start(data_dir: &Path, binaries: Option<&Path>) -> Result<PrivateServer, StoreError> {
        PrivateServer::start_with(data_dir, binaries, &[])
    }

    /// The same, with settings of the server such as `fsync=off`, which hold if this starts it.
    pub fn start_with(
        data_dir: &Path,
        binaries: Option<&Path>,
        settings: &[&str],
    ) -> Result<PrivateServer, StoreError> {
        let place = Place::prepare(data_dir)?;
        let binaries =
            Binaries::find(binaries, std::env::var_os("PATH").as_deref(), place.major(), POSTGRES_MAJOR_MIN)?;
        let starting = place.lock_start()?;
        let users = place.open_lock("users.lock")?;
        users.lock_shared().map_err(|error| place.fault("its lock cannot be taken", &error))?;
        place.initialize(&binaries)?;
        if !place.answers() {
            place.start(&binaries, settings)?;
        }
        drop(starting);
        let url = DatabaseUrl::on_socket(&place.sockets, PORT, NAME, NAME);
        Ok(PrivateServer { place, binaries, url, users: Some(users) })
    }

    /// Its address.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Leaves the server, and stops it if nobody else uses it. Says whether it did.
    pub fn stop_if_last(mut self) -> Result<bool, StoreError> {
        self.leave()
    }

    fn leave(&mut self) -> Result<bool, StoreError> {
        let Some(users) = self.users.take() else { return Ok(false) };
        let _starting = self.place.lock_start()?;
        // Nobody joins while `start.lock` is held, so that giving up the share and asking for all of it leaves no gap.
        users.unlock().map_err(|error| self.place.fault("its lock cannot be given back", &error))?;
        match users.try_lock() {
            Ok(()) => self.place.stop(&self.binaries).map(|()| true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(self.place.fault("its lock cannot be taken", &error)),
        }
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            tracing::warn!(%error, "the private PostgreSQL server was not stopped");
        }
    }
}

/// The directory of a server: locks, log, data, and the socket where its path is short enough.
#[derive(Debug)]
struct Place {
    root: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
    account: Option<Account>,
}

impl Place {
    fn prepare(root: &Path) -> Result<Place, StoreError> {
        let account = Account::for_servers();
        let fault = |what: &str, error: &std::io::Error| StoreError::PrivateServer {
            directory: root.to_path_buf(),
            why: format!("{what}: {error}"),
            hint: "choose a data directory that can be written".into(),
        };
        // What leads there stays open to pass through: as root, the server runs under another account.
        if let Some(parent) = root.parent() {
            std::fs::create_dir_all(parent).map_err(|error| fault("what it stands in cannot be made", &error))?;
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|error| fault("it cannot be made", &error))?;
        let root = root.canonicalize().map_err(|error| fault("it cannot be found", &error))?;
        let mut place = Place { data: root.join("data"), sockets: root.clone(), root, account };
        place.give(&place.root)?;
        if place.root.as_os_str().len() > SOCKET_DIRECTORY_BYTES_MAX {
            place.sockets = place.short_sockets()?;
        }
        Ok(place)
    }

    /// A directory with a short path for the socket. In a folder that others can write to it must be ours alone.
    fn short_sockets(&self) -> Result<PathBuf, StoreError> {
        let digest = sha256_hex(self.root.as_os_str().as_encoded_bytes());
        let directory = PathBuf::from("/tmp").join(format!("argus-{}", &digest[..16]));
        match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => self.give(&directory)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(self.fault("the directory of its socket cannot be made", &error)),
        }
        let meta = std::fs::symlink_metadata(&directory)
            .map_err(|error| self.fault("the directory of its socket cannot be seen", &error))?;
        let owner = std::fs::metadata(&self.root).map(|root| root.uid()).ok();
        if !meta.is_dir() || Some(meta.uid()) != owner || meta.mode() & 0o077 != 0 {
            let why = format!("{} is somebody else's", directory.display());
            return Err(self.fails(why, "remove it, or choose a data directory with a shorter path"));
        }
        Ok(directory)
    }

    /// Makes a directory the account's that the server runs under.
    fn give(&self, directory: &Path) -> Result<(), StoreError> {
        match &self.account {
            None => Ok(()),
            Some(account) => std::os::unix::fs::chown(directory, Some(account.uid), Some(account.gid))
                .map_err(|error| self.fault("it cannot be given to the account of the server", &error)),
        }
    }

    fn fails(&self, why: impl Into<String>, hint: impl Into<String>) -> StoreError {
        StoreError::PrivateServer { directory: self.root.clone(), why: why.into(), hint: hint.into() }
    }

    fn fault(&self, what: &str, error: &std::io::Error) -> StoreError {
        self.fails(format!("{what}: {error}"), "see that the directory can be written and that the disk is not full")
    }

    /// The version that the data is of.
    fn major(&self) -> Option<u32> {
        std::fs::read_to_string(self.data.join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    fn open_lock(&self, name: &str) -> Result<File, StoreError> {
        let path = self.root.join(name);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|error| self.fault("its lock cannot be opened", &error))
    }

    fn lock_start(&self) -> Result<File, StoreError> {
        let lock = self.open_lock("start.lock")?;
        let deadline = Instant::now() + LOCK_TIME_MAX;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    let why = format!("somebody else has been starting or stopping it for {LOCK_TIME_MAX:?}");
                    return Err(self.fails(why, "see whether another Argus hangs"));
                }
                Err(TryLockError::Error(error)) => return Err(self.fault("its lock cannot be taken", &error)),
            }
        }
    }

    /// A command that runs as the account of the server.
    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        // The present directory may be one that the account cannot enter; variables could point at another server.
        command.current_dir(&self.root).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        if let Some(account) = &self.account {
            account.take_on(&mut command);
        }
        command
    }

    fn run(&self, mut command: Command, doing: &str) -> Result<Output, StoreError> {
        let output = command.output().map_err(|error| self.fault(&format!("{doing} cannot be run"), &error))?;
        if output.status.success() {
            return Ok(output);
        }
        let said = [&output.stderr[..], &output.stdout[..]].concat();
        let said = String::from_utf8_lossy(&said);
        let last: Vec<&str> = said.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        let hint = match &self.account {
            Some(account) => format!(
                "as root the server runs as `{}`, who must be able to reach {}; its log is {}",
                account.name,
                self.root.display(),
                self.log().display()
            ),
            None => format!("its log is {}", self.log().display()),
        };
        Err(self.fails(format!("{doing} failed: {}", last.join(" ")), hint))
    }

    fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Makes the data, if there is none. It is made aside and renamed when whole, so that a half-made one is never used;
    /// each time under another name, because an `initdb` may live on when whoever started it is killed.
    fn initialize(&self, binaries: &Binaries) -> Result<(), StoreError> {
        if self.data.exists() {
            return Ok(());
        }
        let entries = std::fs::read_dir(&self.root).map_err(|error| self.fault("it cannot be listed", &error))?;
        for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(MAKING)) {
            // What stays is in nobody's way.
            let _ = std::fs::remove_dir_all(entry.path());
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let making = self.root.join(format!("{MAKING}{}-{}", std::process::id(), now.as_nanos()));
        let mut initdb = self.command(binaries.program("initdb"));
        initdb.arg("--pgdata").arg(&making).args(["--username", NAME, "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        self.run(initdb, "initdb")?;
        let mut single = self.command(binaries.program("postgres"));
        single.args(["--single", "-D"]).arg(&making).arg("postgres");
        single.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = single.spawn().map_err(|error| self.fault("postgres cannot be run", &error))?;
        if let Some(mut input) = child.stdin.take() {
            // A failure shows in the output, or in the database that is not there.
            let _ = input.write_all(format!("CREATE DATABASE {NAME}\n").as_bytes());
        }
        let output = child.wait_with_output().map_err(|error| self.fault("postgres cannot be run", &error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(self.fails(format!("its database cannot be made: {said}"), "see that the disk is not full"));
        }
        std::fs::rename(&making, &self.data).map_err(|error| self.fault("its data cannot be put in place", &error))
    }

    /// Whether a server listens on the socket and answers: the socket of one that is dying can still be connected to.
    fn answers(&self) -> bool {
        // The protocol's question whether to encrypt, which every server answers with one letter.
        const QUESTION: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        let ask = || -> std::io::Result<bool> {
            let mut socket = UnixStream::connect(self.sockets.join(format!(".s.PGSQL.{PORT}")))?;
            socket.set_read_timeout(Some(ANSWER_TIME_MAX))?;
            socket.write_all(&QUESTION)?;
            let mut answer = [0];
            socket.read_exact(&mut answer)?;
            Ok(matches!(&answer, b"N" | b"S"))
        };
        ask().unwrap_or(false)
    }

    fn start(&self, binaries: &Binaries, settings: &[&str]) -> Result<(), StoreError> {
        self.forget_strangers()?;
        let deadline = Instant::now() + ORPHANS_TIME_MAX;
        loop {
            match self.try_start(binaries, settings) {
                // The children of a killed server go as soon as they notice; until then a new one is refused.
                Err(_) if Instant::now() < deadline && self.refused_for_orphans() => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                done => return done,
            }
        }
    }

    fn try_start(&self, binaries: &Binaries, settings: &[&str]) -> Result<(), StoreError> {
        let log = self.log();
        // One start, one log: what it says is about this server.
        File::create(&log).map_err(|error| self.fault("its log cannot be written", &error))?;
        self.give(&log)?;
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let mut options = vec![
            format!("-k {}", quoted(&self.sockets.to_string_lossy())),
            format!("-p {PORT}"),
            "-c listen_addresses=''".to_owned(),
            "-c unix_socket_permissions=0700".to_owned(),
        ];
        options.extend(settings.iter().map(|setting| format!("-c {}", quoted(setting))));
        let mut start = self.command(binaries.program("pg_ctl"));
        start.args(["start", "--wait", "--silent", "--timeout", &START_TIME_MAX.as_secs().to_string(), "--pgdata"]);
        start.arg(&self.data).arg("--log").arg(&log).arg("--options").arg(options.join(" "));
        // The server keeps what it inherits: pipes would stay open until it ends.
        start.stdout(Stdio::null()).stderr(Stdio::null());
        match self.run(start, "pg_ctl start") {
            Ok(_) => Ok(()),
            Err(error) => match std::fs::read_to_string(&log) {
                Ok(log) if !log.trim().is_empty() => {
                    let last: Vec<&str> = log.lines().rev().take(3).collect();
                    let last: Vec<&str> = last.into_iter().rev().collect();
                    Err(self.fails(last.join(" "), error.hint()))
                }
                _ => Err(error),
            },
        }
    }

    fn refused_for_orphans(&self) -> bool {
        std::fs::read_to_string(self.log())
            .is_ok_and(|log| log.contains("shared memory block") && log.contains("in use"))
    }

    /// Removes the notes of a server that was killed, where its process number belongs to something else by now, or to
    /// a process that is dead and that nobody has buried (as in a container without an init): a server would take that
    /// for its predecessor and refuse to start. Whether children of the predecessor live on it finds out by itself, from
    /// the shared memory of the data directory.
    fn forget_strangers(&self) -> Result<(), StoreError> {
        let of_socket = self.sockets.join(format!(".s.PGSQL.{PORT}.lock"));
        for note in [self.data.join("postmaster.pid"), of_socket] {
            let Ok(text) = std::fs::read_to_string(&note) else { continue };
            let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else { continue };
            // Where there is no /proc, PostgreSQL's own checks have to do.
            let Ok(command) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
            if !String::from_utf8_lossy(&command).contains("postgres") {
                std::fs::remove_file(&note)
                    .map_err(|error| self.fault("the note of its predecessor cannot be removed", &error))?;
            }
        }
        Ok(())
    }

    fn stop(&self, binaries: &Binaries) -> Result<(), StoreError> {
        if !self.data.join("postmaster.pid").exists() {
            return Ok(());
        }
        let mut stop = self.command(binaries.program("pg_ctl"));
        stop.args(["stop", "--wait", "--silent", "--mode=fast", "--timeout", "60", "--pgdata"]).arg(&self.data);
        let stopped = self.run(stop, "pg_ctl stop");
        // One that died by itself has stopped as well.
        if stopped.is_err() && !self.answers() { Ok(()) } else { stopped.map(drop) }
    }
}
