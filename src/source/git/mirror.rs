//! Mirrors: bare repositories on this machine into which servers are fetched. One process at a time fetches into a
//! mirror; what a fetch that was cut short leaves behind is swept away by the next one, and a mirror that is broken is
//! made anew.

use std::fs::{self, File};
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use git2::{
    AutotagOption, Cred, CredentialType, Direction, FetchOptions, ProxyOptions, RemoteCallbacks, RemoteRedirect,
    Repository,
};
use sha2::{Digest as _, Sha256};

use super::address::{Address, Place, Server, is_off_limits};
use super::fault;
use super::hosts::KnownHosts;
use super::settings::Limits;
use crate::failpoint::failpoint;
use crate::model::code::Code;
use crate::model::finding::Finding;

/// How one gets in.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Who signs in over https; the user of the address comes first.
    pub username: Option<String>,
    /// Their password or token.
    pub password: Option<String>,
    /// The private key for ssh.
    pub ssh_key: Option<String>,
    /// Its passphrase.
    pub ssh_passphrase: Option<String>,
    /// The keys of the hosts that are trusted over ssh; none leaves it to the file of the user.
    pub known_hosts: Option<KnownHosts>,
}

/// Told how far a fetch has come: objects, of how many, and bytes.
pub type FetchProgress = std::sync::Arc<dyn Fn(usize, usize, usize) + Send + Sync>;

/// What a fetch is told.
#[derive(Clone)]
pub struct Fetch {
    /// Where from.
    pub address: Address,
    /// What is asked for there: branches, tags and commits; none stands for what the server calls `HEAD`.
    pub wanted: Vec<Option<String>>,
    /// How one gets in.
    pub credentials: Credentials,
    /// How much is too much.
    pub limits: Limits,
    /// Whether what was read of blobs is kept for later runs. It is not signed as they are.
    pub keeps_readings: bool,
    /// Where mirrors are kept.
    pub cache: PathBuf,
    /// Who is told.
    pub progress: FetchProgress,
}

/// Where the branches and tags of a server stand in its mirror. What was asked for by its name stands under the digest of
/// that, so that no name is in the way of another one.
const MIRRORED: &str = "refs/argus/";
const NAMED: &str = "refs/argus/named/";

/// The most branches and tags of a server, and the most that are fetched to find a commit among them.
const REFERENCES_MAX: usize = 100_000;
const REFERENCES_FETCHED_MAX: usize = 20_000;

/// How long an id is in hexadecimal.
const ID_CHARS: usize = 40;

/// After so many packs a mirror is made anew, as one.
const PACKS_MAX: usize = 100;

/// How much longer than allowed a fetch is waited for before its thread is left alone.
const GRACE: Duration = Duration::from_secs(2);

/// How the text of a private key in the newer form of OpenSSH begins that no passphrase protects.
const NOT_ENCRYPTED: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbm";

/// A mirror that holds what its server had a moment ago.
pub struct Mirror {
    /// The repository.
    pub path: PathBuf,
    /// What was asked for: of everything else the mirror knows only what once was.
    wanted: Vec<Option<String>>,
    /// Keeps other processes from replacing the mirror while it is read.
    _lock: File,
}

impl Mirror {
    /// Fetches everything that leads to what is asked for.
    pub fn fetch(fetch: &Fetch) -> Result<Mirror, Box<Finding>> {
        let folder = folder(fetch);
        let unwritable = |error: std::io::Error| {
            let message = format!("the mirror in {} cannot be written: {error}", folder.display());
            Box::new(
                Finding::error(Code::CannotWrite, message)
                    .hint("`git.cacheDir` names where mirrors are kept; it is best not made, so that Argus makes it"),
            )
        };
        make(&folder).map_err(unwritable)?;
        let lock = File::create(folder.join("lock")).map_err(unwritable)?;
        lock.lock().map_err(unwritable)?;
        let path = folder.join("repository.git");
        sweep(&path);
        let fresh = !path.join("HEAD").is_file();
        match on_a_thread(fetch, &path) {
            Err(finding) if finding.code == Code::RepositoryCorrupt && !fresh => {
                tracing::warn!(mirror = %path.display(), "the mirror is broken and is made anew");
                remove(&path).map_err(unwritable)?;
                on_a_thread(fetch, &path)?;
            }
            other => other?,
        }
        // What branches lead to may be gone although there was nothing to fetch.
        if !leads_somewhere(&path) {
            remove(&path).map_err(unwritable)?;
            on_a_thread(fetch, &path)?;
        }
        lock.unlock().map_err(unwritable)?;
        lock.lock_shared().map_err(unwritable)?;
        Ok(Mirror { path, wanted: fetch.wanted.clone(), _lock: lock })
    }

    /// A mirror as it is, if it holds a commit. Nobody replaces it meanwhile.
    pub fn holding(fetch: &Fetch, commit: &str) -> Option<Mirror> {
        let folder = folder(fetch);
        refuse_shared(&folder).ok()?;
        let lock = File::open(folder.join("lock")).ok()?;
        lock.lock_shared().ok()?;
        let path = folder.join("repository.git");
        let id = git2::Oid::from_str(commit).ok()?;
        Repository::open_bare(&path).ok()?.find_commit(id).ok()?;
        Some(Mirror { path, wanted: Vec::new(), _lock: lock })
    }

    /// Throws a mirror away that turned out to be broken.
    pub fn discard(&self) {
        tracing::warn!(mirror = %self.path.display(), "the mirror is broken; the next run makes it anew");
        let _ = remove(&self.path);
    }

    /// The references in the mirror that a name may mean; none if it was not asked for.
    pub fn candidates(&self, reference: Option<&str>) -> Vec<String> {
        match self.wanted.iter().any(|wanted| wanted.as_deref() == reference) {
            true => meant(reference).iter().map(|name| mirrored(name)).collect(),
            false => Vec::new(),
        }
    }
}

/// What a name may mean on a server.
pub fn meant(reference: Option<&str>) -> Vec<String> {
    match reference {
        None | Some("HEAD") => vec!["HEAD".into()],
        Some(full) if full.starts_with("refs/") => vec![full.into()],
        Some(name) => vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")],
    }
}

/// Where it stands in the mirror.
fn mirrored(name: &str) -> String {
    let digest: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{NAMED}{digest}")
}

/// What is fetched. What is no name of a reference cannot be on the server.
fn refspecs(wanted: &[Option<String>]) -> Vec<String> {
    let is_commit = |name: &Option<String>| name.as_deref().is_some_and(is_whole_id);
    let (commits, names): (Vec<_>, Vec<_>) = wanted.iter().partition(|name| is_commit(name));
    let names = names.into_iter().flat_map(|name| meant(name.as_deref()));
    let valid = names.filter(|name| name == "HEAD" || git2::Reference::is_valid_name(name));
    let mut specs: Vec<String> = valid.map(|name| format!("+{name}:{}", mirrored(&name))).collect();
    if !commits.is_empty() {
        specs.extend(["heads", "tags"].map(|what| format!("+refs/{what}/*:{MIRRORED}{what}/*")));
    }
    specs
}

/// Whether a name is the whole id of a commit.
pub fn is_whole_id(name: &str) -> bool {
    name.len() == ID_CHARS && git2::Oid::from_str(name).is_ok()
}

/// Whether everything is there that branches and tags lead to directly.
fn leads_somewhere(path: &Path) -> bool {
    let Ok(repository) = Repository::open_bare(path) else { return false };
    let Ok(references) = repository.references_glob(&format!("{MIRRORED}*")) else { return false };
    let odb = repository.odb();
    let there = |id: git2::Oid| odb.as_ref().is_ok_and(|odb| odb.exists(id));
    references.flatten().filter_map(|reference| reference.target()).all(there)
}

/// Where everything is kept that is known of a repository.
pub fn folder(fetch: &Fetch) -> PathBuf {
    fetch.cache.join(name(&fetch.address))
}

/// Makes such a folder. What is in it is nobody else's business: what others could write there is not believed, and
/// neither is what they could put in its place.
pub fn make(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    folder.parent().into_iter().chain([folder]).try_for_each(refuse_shared)
}

/// Refuses a folder that is a link, somebody else's, or open to others.
fn refuse_shared(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let about = fs::symlink_metadata(folder)?;
    let why = if !about.is_dir() {
        "is no folder but leads to one"
    } else if about.uid() != own_user() {
        "belongs to somebody else"
    } else if about.mode() & 0o022 != 0 {
        "may be written by others"
    } else {
        return Ok(());
    };
    Err(std::io::Error::other(format!("{} {why}", folder.display())))
}

/// The user of this process.
#[allow(unsafe_code, reason = "the standard library does not tell")]
pub fn own_user() -> u32 {
    // SAFETY: geteuid takes nothing, changes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// A folder for each address, which tells people which.
fn name(address: &Address) -> String {
    let digest = Sha256::digest(address.text().as_bytes());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let text = address.to_string();
    let readable = text.rsplit(['/', ':']).find(|part| !part.is_empty()).unwrap_or_default();
    let plain: String = readable.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    format!("{plain}-{digest}")
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes what fetches that were cut short have left, and a mirror of too many packs.
fn sweep(path: &Path) {
    let Ok(entries) = fs::read_dir(path.join("objects/pack")) else { return };
    let mut packs = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.ends_with(b".idx") || bytes.ends_with(b".pack") {
            packs += usize::from(bytes.ends_with(b".idx"));
        } else {
            let _ = fs::remove_file(entry.path());
        }
    }
    if packs > PACKS_MAX {
        let _ = remove(path);
    }
}

/// Servers that send a byte now and then cannot be told from slow ones by the library: the whole fetch has an end.
fn on_a_thread(fetch: &Fetch, path: &Path) -> Result<(), Box<Finding>> {
    let (done, wait) = mpsc::sync_channel(1);
    let (own, into) = (fetch.clone(), path.to_owned());
    std::thread::Builder::new()
        .name("fetch".into())
        .spawn(move || {
            let _ = done.send(fetch_into(&own, &into));
        })
        .map_err(|error| Finding::error(Code::RepositoryUnreachable, format!("no thread could be started: {error}")))?;
    let most = Duration::from_secs(u64::from(fetch.limits.fetch_seconds_max));
    wait.recv_timeout(most + GRACE).unwrap_or_else(|_| Err(Box::new(too_long(fetch))))
}

fn too_long(fetch: &Fetch) -> Finding {
    let seconds = fetch.limits.fetch_seconds_max;
    let message = format!("{} was not fetched within {seconds} seconds", fetch.address);
    Finding::error(Code::RepositoryTooLarge, message).hint("`git.limits.fetchSecondsMax` allows more")
}

fn fetch_into(fetch: &Fetch, path: &Path) -> Result<(), Box<Finding>> {
    let shown = fetch.address.to_string();
    if let Some(server) = fetch.address.server() {
        refuse_off_limits(server)?;
    }
    let repository = match Repository::open_bare(path) {
        Ok(repository) => repository,
        Err(_) => {
            // A mirror is made beside its place and moved there, so that half of one is never taken for a whole one.
            let making = path.with_extension("making");
            let unwritable = |error: std::io::Error| {
                Finding::error(
                    Code::CannotWrite,
                    format!("the mirror in {} cannot be written: {error}", path.display()),
                )
            };
            remove(&making).map_err(unwritable)?;
            Repository::init_bare(&making).map_err(|error| fault::reading(&making.display().to_string(), &error))?;
            remove(path).map_err(unwritable)?;
            fs::rename(&making, path).map_err(unwritable)?;
            Repository::open_bare(path).map_err(|error| fault::reading(&path.display().to_string(), &error))?
        }
    };
    let stopped = std::cell::RefCell::new(None);
    let began = Instant::now();
    let most = Duration::from_secs(u64::from(fetch.limits.fetch_seconds_max));
    let callbacks = || {
        let mut callbacks = RemoteCallbacks::new();
        let mut asked = 0;
        callbacks.credentials(move |_, user, allowed| {
            asked += 1;
            credential(fetch, user, allowed, asked)
        });
        callbacks.certificate_check(|certificate, host| check_host(fetch, certificate, host, &stopped));
        callbacks.sideband_progress(|_| began.elapsed() <= most);
        callbacks.transfer_progress(|progress| {
            (fetch.progress)(progress.received_objects(), progress.total_objects(), progress.received_bytes());
            let limits = &fetch.limits;
            let too_much = if progress.total_objects() > limits.objects_max {
                Some((progress.total_objects(), "objects", limits.objects_max, "objectsMax"))
            } else if progress.received_bytes() > limits.pack_bytes_max {
                Some((progress.received_bytes(), "bytes", limits.pack_bytes_max, "packBytesMax"))
            } else {
                None
            };
            if let Some((number, what, most, setting)) = too_much {
                let message = format!("{} sends {number} {what} or more, and {most} are the most", fetch.address);
                let finding = Finding::error(Code::RepositoryTooLarge, message);
                *stopped.borrow_mut() = Some(finding.hint(format!("`git.limits.{setting}` allows more")));
            } else if began.elapsed() > most {
                *stopped.borrow_mut() = Some(too_long(fetch));
            }
            stopped.borrow().is_none()
        });
        callbacks
    };
    let failed = |error: git2::Error| Box::new(stopped.take().unwrap_or_else(|| fault::fetching(&shown, &error)));
    // Connecting knows no such option of its own.
    let unredirected = repository.config().and_then(|mut config| config.set_bool("http.followRedirects", false));
    unredirected.map_err(|error| fault::reading(&path.display().to_string(), &error))?;
    let specs = refspecs(&fetch.wanted);
    let mut remote = repository.remote_anonymous(fetch.address.text()).map_err(failed)?;
    let mut connection = remote.connect_auth(Direction::Fetch, Some(callbacks()), Some(proxy())).map_err(failed)?;
    let number = connection.list().map_err(failed)?.len();
    refuse_too_many(fetch, number, specs.iter().any(|spec| spec.ends_with('*')))?;
    if specs.is_empty() {
        return Ok(());
    }
    let mut options = FetchOptions::new();
    options.remote_callbacks(callbacks());
    options.proxy_options(proxy());
    options.download_tags(AutotagOption::None);
    options.follow_redirects(RemoteRedirect::None);
    options.update_fetchhead(false);
    options.prune(git2::FetchPrune::On);
    connection.remote().fetch(&specs, Some(&mut options), None).map_err(failed)?;
    failpoint("git.fetched", &shown);
    Ok(())
}

fn proxy() -> ProxyOptions<'static> {
    let mut proxy = ProxyOptions::new();
    proxy.auto();
    proxy
}

/// Each branch and tag is kept in memory while they are listed, and in a file of its own if it is fetched.
fn refuse_too_many(fetch: &Fetch, number: usize, all: bool) -> Result<(), Box<Finding>> {
    let (most, hint) = match all {
        false => (REFERENCES_MAX, "keep manifests in a repository of their own"),
        true => (REFERENCES_FETCHED_MAX, "name the branch instead of the commit, so that no other is looked at"),
    };
    if number <= most {
        return Ok(());
    }
    let message = format!("{} has {number} branches and tags, and {most} are the most", fetch.address);
    Err(Box::new(Finding::error(Code::RepositoryTooLarge, message).hint(hint)))
}

/// The host may have several addresses; none of them may be one that nobody should be sent to.
fn refuse_off_limits(server: &Server) -> Result<(), Box<Finding>> {
    let unresolved = |error: std::io::Error| {
        let message = format!("the host `{}` cannot be found: {error}", server.host);
        Box::new(Finding::error(Code::RepositoryUnreachable, message))
    };
    for address in (server.host.as_str(), server.port).to_socket_addrs().map_err(unresolved)? {
        if is_off_limits(address.ip()) {
            let message = format!("the host `{}` is at {}, where no repository is", server.host, address.ip());
            let finding = Finding::error(Code::BadRepository, message);
            return Err(Box::new(finding.hint("addresses of the own link are never asked: clouds keep secrets there")));
        }
    }
    Ok(())
}

/// Each way in is tried once: libgit2 asks again as long as it is given something.
fn credential(fetch: &Fetch, user: Option<&str>, allowed: CredentialType, asked: usize) -> Result<Cred, git2::Error> {
    let Credentials { username, password, ssh_key, ssh_passphrase, known_hosts: _ } = &fetch.credentials;
    let refused = |why: &str| git2::Error::new(git2::ErrorCode::Auth, git2::ErrorClass::Callback, why);
    if asked > 3 {
        return Err(refused("what was offered is not accepted"));
    }
    let is_ssh = matches!(fetch.address.place(), Place::Ssh(_));
    let user = user.or(username.as_deref());
    if allowed.contains(CredentialType::USERNAME) {
        return Cred::username(user.unwrap_or("git"));
    }
    if is_ssh && allowed.contains(CredentialType::SSH_KEY) {
        return match ssh_key {
            Some(key) if asked <= 2 => {
                Cred::ssh_key_from_memory(user.unwrap_or("git"), None, key, ssh_passphrase.as_deref())
            }
            Some(_) => Err(refused("the key is not accepted")),
            None => Err(refused(fault::NO_KEY)),
        };
    }
    if !is_ssh && allowed.contains(CredentialType::USER_PASS_PLAINTEXT) {
        return match password {
            Some(password) if asked == 1 => Cred::userpass_plaintext(user.unwrap_or("git"), password),
            Some(_) => Err(refused("the password is not accepted")),
            None => Err(refused(fault::NO_PASSWORD)),
        };
    }
    Err(refused("it wants something else than a password or a key"))
}

/// Whether a private key is of use only with a passphrase. The library would call it one of an unknown format.
pub fn needs_passphrase(key: &str) -> bool {
    let mut lines = key.trim_start().lines();
    match lines.next().map(str::trim_end) {
        // What comes first in the newer form is its name and that of the cipher.
        Some("-----BEGIN OPENSSH PRIVATE KEY-----") => {
            lines.next().is_some_and(|line| !line.starts_with(NOT_ENCRYPTED))
        }
        Some(first) => first.contains("ENCRYPTED") || lines.next().is_some_and(|line| line.contains("ENCRYPTED")),
        None => false,
    }
}

fn check_host(
    fetch: &Fetch,
    certificate: &git2::cert::Cert<'_>,
    host: &str,
    stopped: &std::cell::RefCell<Option<Finding>>,
) -> Result<git2::CertificateCheckStatus, git2::Error> {
    let (Some(key), Some(known)) = (certificate.as_hostkey(), &fetch.credentials.known_hosts) else {
        // Certificates are checked against the authorities, and keys against the file of the user.
        return Ok(git2::CertificateCheckStatus::CertificatePassthrough);
    };
    let port = fetch.address.server().map_or(22, |server| server.port);
    match key.hostkey().map(|key| known.check(host, port, key)) {
        Some(Ok(())) => Ok(git2::CertificateCheckStatus::CertificateOk),
        verdict => {
            let why = verdict.and_then(Result::err).unwrap_or("the library does not show its key");
            let finding = Finding::error(Code::HostNotTrusted, format!("the host `{host}` is not trusted: {why}"));
            *stopped.borrow_mut() =
                Some(finding.hint("`git.knownHostsFile` holds the keys, as `ssh-keyscan HOST` prints them"));
            Err(git2::Error::new(git2::ErrorCode::Certificate, git2::ErrorClass::Ssh, why))
        }
    }
}
