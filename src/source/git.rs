//! Git: a bare repository whose objects are read, and never checked out, so that nothing in it is executed, linked or
//! followed. The only home of git2.
//!
//! `address` and `settings` say what may be read, `mirror` brings it here, `tree` finds the manifests of a commit, and a
//! [`Checkout`] is one commit: its settings, policies, manifests and lines.

pub mod address;
mod commit;
mod fault;
mod header;
pub mod hosts;
pub mod index;
mod library;
pub mod lineage;
pub mod material;
mod merge;
pub mod mirror;
pub mod people;
mod readings;
pub mod settings;
mod tree;
mod verify;

use std::cell::Cell;
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use git2::{ObjectType, Oid, Repository};

use self::address::Place;
use self::mirror::{Fetch, Mirror};
use self::settings::Limits;
use self::tree::{Entry, Search};
use super::manifest::{FileReading, read_file};
use super::names::{POLICIES_DIRECTORY, SETTINGS_FILE};
use super::yaml::FILE_BYTES_MAX;
use crate::model::code::Code;
use crate::model::finding::{self, Finding};
use crate::model::origin::Origin;
use crate::model::revision::Revision;
use crate::policy::{self, PolicyFile};
use crate::render::excerpt::{Excerpts, LINE_CHARS_MAX};

/// How a file begins that only points at its content.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The most files that are opened again to show lines of them.
const EXCERPT_FILES_MAX: usize = 1_000;

/// A repository on this machine: the user's own, or a mirror of one on a server.
pub struct Depot {
    repository: Repository,
    /// Where it is.
    path: PathBuf,
    /// What people call it.
    shown: String,
    mirror: Option<Mirror>,
    /// Where what was read of it is kept, if it is.
    cache: Option<PathBuf>,
    limits: Limits,
    /// The folder that is the root of the source, with `/` between its parts and behind it; nothing for all of it.
    root: String,
    /// Whether what is merged has its place before the objects of the repository.
    writes_in_memory: Cell<bool>,
}

/// One commit of a repository.
#[derive(Clone)]
pub struct Checkout {
    depot: Rc<Depot>,
    /// The commit, and what it was asked for as.
    pub revision: Revision,
    /// All that the commit holds.
    whole: Oid,
    /// What it holds of the source: everything is named from there.
    tree: Oid,
    /// The annotated tag that it was asked for by.
    tag: Option<Oid>,
    /// What was merged for it, the branch first; its tree is known to this process alone.
    merged_from: Option<[Oid; 2]>,
}

impl std::fmt::Debug for Checkout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkout({})", self.revision)
    }
}

/// What of a commit is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The directories and files; none for all of it.
    pub paths: Vec<PathBuf>,
    /// The directory of policies, if it is not the usual one.
    pub policies: Option<String>,
}

impl Depot {
    /// Opens a repository; what is on a server is fetched first.
    pub fn open(fetch: &Fetch, authorities: Option<&Path>) -> Result<Rc<Depot>, Box<Finding>> {
        library::set_up(&fetch.limits, authorities);
        let shown = fetch.address.to_string();
        let (path, mirror) = match fetch.address.place() {
            Place::Here(path) => (path.clone(), None),
            Place::Https(_) | Place::Ssh(_) => {
                let mirror = Mirror::fetch(fetch)?;
                (mirror.path.clone(), Some(mirror))
            }
        };
        let cache = Some(mirror::folder(fetch)).filter(|_| fetch.keeps_readings);
        let cache = cache.filter(|folder| match mirror::make(folder) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "what is read is not kept");
                false
            }
        });
        Depot::at(&path, shown, mirror, cache, fetch.limits).map(Rc::new)
    }

    /// Opens a repository as it was fetched before, if it holds a commit already: nothing is asked of the server.
    pub fn open_at(fetch: &Fetch, authorities: Option<&Path>, commit: &str) -> Result<Rc<Depot>, Box<Finding>> {
        let (Place::Https(_) | Place::Ssh(_)) = fetch.address.place() else { return Depot::open(fetch, authorities) };
        let Some(mirror) = Mirror::holding(fetch, commit) else { return Depot::open(fetch, authorities) };
        library::set_up(&fetch.limits, authorities);
        let (path, cache) = (mirror.path.clone(), Some(mirror::folder(fetch)).filter(|_| fetch.keeps_readings));
        Depot::at(&path, fetch.address.to_string(), Some(mirror), cache, fetch.limits).map(Rc::new)
    }

    /// Opens the repository that a directory stands in. The directory is the root of the source, as it is without Git.
    pub fn around(directory: &Path, limits: Limits) -> Result<Rc<Depot>, Box<Finding>> {
        library::set_up(&limits, None);
        let shown = directory.display().to_string();
        if directory.is_file() {
            let finding = Finding::error(Code::BadRepository, format!("{shown} is a file, and no root of a source"));
            return Err(Box::new(finding.hint("name the directory, and the file below it with `--path`")));
        }
        let found = Repository::discover(directory).map_err(|_| Box::new(no_repository(&shown)))?;
        let mut depot = Depot::at(found.path(), shown, None, None, limits)?;
        depot.root = root_within(&found, directory)?;
        Ok(Rc::new(depot))
    }

    fn at(
        path: &Path,
        shown: String,
        mirror: Option<Mirror>,
        cache: Option<PathBuf>,
        limits: Limits,
    ) -> Result<Depot, Box<Finding>> {
        let repository = Repository::open(path).map_err(|_| Box::new(no_repository(&shown)))?;
        Ok(Depot {
            repository,
            path: path.to_owned(),
            shown,
            mirror,
            cache,
            limits,
            root: String::new(),
            writes_in_memory: Cell::new(false),
        })
    }

    /// Where its files are on this machine.
    pub fn folder(&self) -> &Path {
        self.repository.workdir().unwrap_or(&self.path)
    }

    /// What of a tree is the source.
    fn source_of(&self, whole: Oid, reference: &str) -> Result<Oid, Box<Finding>> {
        let root = self.root.trim_end_matches('/');
        if root.is_empty() {
            return Ok(whole);
        }
        let unreadable = |error: git2::Error| Box::new(fault::reading(root, &error));
        let entry = match self.repository.find_tree(whole).map_err(unreadable)?.get_path(Path::new(root)) {
            Ok(entry) => Some(entry),
            Err(error) if error.code() == git2::ErrorCode::NotFound => None,
            Err(error) => return Err(unreadable(error)),
        };
        let folder = entry.filter(|entry| entry.kind() == Some(ObjectType::Tree)).map(|entry| entry.id());
        folder.ok_or_else(|| {
            let message = format!("`{}` holds no folder {root}", fault::quoted(reference));
            let finding = Finding::error(Code::Unreadable, message);
            Box::new(finding.hint("nothing was planned, and what was applied before stays as it is"))
        })
    }

    /// Throws a mirror away that turned out to be broken, so that the next run makes it anew. What is the user's own stays.
    fn forget_if_broken(&self, finding: &Finding) {
        if let Some(mirror) = self.mirror.as_ref().filter(|_| finding.code == Code::RepositoryCorrupt) {
            mirror.discard();
        }
    }

    /// The commits whose parents were left out when the repository was cloned.
    fn cut_off(&self) -> Result<HashSet<Oid>, Box<Finding>> {
        match std::fs::read_to_string(self.repository.commondir().join("shallow")) {
            Ok(text) => Ok(text.lines().filter_map(|line| Oid::from_str(line.trim()).ok()).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashSet::new()),
            // Whatever is left out must not be taken for what never was.
            Err(_) => Err(Box::new(fault::shallow())),
        }
    }

    /// The commit that a name means, and the annotated tag that stands between.
    fn resolve(&self, reference: Option<&str>) -> Result<Option<(Oid, Option<Oid>)>, Box<Finding>> {
        let object = match reference {
            Some(name) if mirror::is_whole_id(name) => self.object(Oid::from_str(name).ok()),
            _ => {
                let candidates = match &self.mirror {
                    Some(mirror) => mirror.candidates(reference),
                    None => mirror::meant(reference),
                };
                let target = |name: &String| self.repository.find_reference(name).ok()?.resolve().ok()?.target();
                let found: Vec<Oid> = candidates.iter().filter_map(target).collect();
                match (&found[..], reference) {
                    ([_, _, ..], Some(name)) => return Err(Box::new(ambiguous(&self.shown, name))),
                    _ if self.mirror.is_some() => self.object(found.first().copied()),
                    _ => self.repository.revparse_single(reference.unwrap_or("HEAD")).ok(),
                }
            }
        };
        let Some(object) = object else { return Ok(None) };
        let tag = (object.kind() == Some(ObjectType::Tag)).then(|| object.id());
        Ok(object.peel(ObjectType::Commit).ok().map(|commit| (commit.id(), tag)))
    }

    fn object(&self, id: Option<Oid>) -> Option<git2::Object<'_>> {
        self.repository.find_object(id?, None).ok()
    }

    /// What `HEAD` stands for.
    fn head_name(&self) -> String {
        let head = self.repository.head().ok().filter(|_| self.mirror.is_none());
        head.and_then(|head| head.shorthand().ok().map(fault::quoted)).unwrap_or_else(|| "HEAD".into())
    }
}

impl Checkout {
    /// The commit that a name means.
    pub fn of(depot: &Rc<Depot>, reference: Option<&str>) -> Result<Checkout, Box<Finding>> {
        let name = reference.unwrap_or("HEAD");
        let (found, tag) = depot.resolve(reference)?.ok_or_else(|| {
            let message = format!("{} has no branch, tag or commit `{}`", depot.shown, fault::quoted(name));
            let hint = match depot.mirror.is_some() && looks_like_id(name) {
                true => "commits of a server are named by their whole ids of 40 characters",
                false => "nothing was planned, and what was applied before stays as it is",
            };
            Box::new(Finding::error(Code::NoSuchRevision, message).hint(hint))
        })?;
        let unreadable = |error: git2::Error| Box::new(fault::reading(&format!("the commit {found}"), &error));
        let commit = depot.repository.find_commit(found).map_err(unreadable);
        let commit = commit.inspect_err(|finding| depot.forget_if_broken(finding))?;
        let whole = commit.tree_id();
        let tree = depot.source_of(whole, name)?;
        let reference = match reference {
            Some(name) => fault::quoted(name),
            None => depot.head_name(),
        };
        let revision = Revision { reference, commit: commit::read(&commit) };
        Ok(Checkout { depot: depot.clone(), revision, whole, tree, tag, merged_from: None })
    }

    /// A commit by its id, called what it was once asked for as.
    pub fn at(depot: &Rc<Depot>, commit: &str, called: &str) -> Result<Checkout, Box<Finding>> {
        let checkout = Checkout::of(depot, Some(commit))?;
        let revision = Revision { reference: called.into(), ..checkout.revision };
        Ok(Checkout { revision, ..checkout })
    }

    /// The root of the source within the repository, with a `/` behind it; empty where that is all of it.
    pub fn root(&self) -> &str {
        &self.depot.root
    }

    /// Whether a folder below the root of the source has settings of its own.
    pub fn has_settings_of_its_own(&self, folder: &Path) -> bool {
        let parts = folder.components().filter(|part| *part != Component::CurDir);
        let folder: PathBuf = parts.collect();
        let settings = folder.join(SETTINGS_FILE);
        !folder.as_os_str().is_empty() && settings.to_str().is_some_and(|path| self.find(path).is_some())
    }

    /// Whether a file or folder is the same in another commit, or in neither.
    pub fn agrees_with(&self, other: &Checkout, path: &str) -> bool {
        self.find(path.trim_matches('/')) == other.find(path.trim_matches('/'))
    }

    /// Another commit of the same repository.
    pub fn other(&self, reference: &str) -> Result<Checkout, Box<Finding>> {
        Checkout::of(&self.depot, Some(reference))
    }

    /// The text of `argus.yaml`, if there is one.
    pub fn settings(&self) -> Result<Option<String>, Box<Finding>> {
        let bad = |message: &str| {
            Box::new(Finding::error(Code::BadSettings, message).at(Origin::file(&SETTINGS_FILE.into())))
        };
        let Some((id, kind)) = self.find(SETTINGS_FILE) else { return Ok(None) };
        if kind != ObjectType::Blob {
            return Err(bad("argus.yaml is no regular file"));
        }
        let bytes = self.blob(id, policy::FILE_BYTES_MAX as u64).map_err(|why| bad(&why))?;
        String::from_utf8(bytes).map(Some).map_err(|_| bad("the settings are not UTF-8"))
    }

    /// The policies in a folder of the commit; none where there is no such folder.
    pub fn policies(&self, folder: &str) -> Result<Option<Vec<PolicyFile>>, Vec<Finding>> {
        let folder = folder.trim_matches('/');
        let fault = |path: &str, message: &str| Finding::error(Code::BadPolicy, message).at(Origin::file(&path.into()));
        let Some((id, kind)) = self.find(folder) else { return Ok(None) };
        if kind != ObjectType::Tree {
            return Err(vec![fault(folder, "it is no folder")]);
        }
        let (mut files, mut findings, mut entries) = (Vec::new(), Vec::new(), 0);
        let mut waiting = vec![(id, folder.to_owned(), 0)];
        while let Some((id, path, depth)) = waiting.pop() {
            let tree = self.depot.repository.find_tree(id).map_err(|error| vec![fault::reading(&path, &error)])?;
            for entry in tree.iter().filter(|entry| !entry.name_bytes().starts_with(b".")) {
                entries += 1;
                if entries > POLICY_ENTRIES_MAX || depth > POLICY_DEPTH_MAX {
                    return Err(vec![fault(
                        folder,
                        "there are too many files and folders, or they are nested too deeply",
                    )]);
                }
                let name = format!("{path}/{}", tree::shown(entry.name_bytes()));
                let is_rego = entry.name_bytes().ends_with(b".rego");
                match entry.kind() {
                    Some(ObjectType::Tree) => waiting.push((entry.id(), name, depth + 1)),
                    _ if !is_rego => {}
                    Some(ObjectType::Blob) if entry.filemode() != tree::LINK => {
                        let text = self.blob(entry.id(), policy::FILE_BYTES_MAX as u64 + 1);
                        match text
                            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".into()))
                        {
                            Ok(text) => files.push(PolicyFile { path: name.into(), text }),
                            Err(why) => findings.push(fault(&name, &why)),
                        }
                    }
                    _ => findings.push(fault(&name, "it is no regular file; links are never followed")),
                }
            }
        }
        if findings.is_empty() {
            findings = policy::oversized(&files);
        }
        if !findings.is_empty() {
            return Err(finding::in_order(findings));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Some(files))
    }

    fn search<'a>(&'a self, reading: &'a Reading) -> Search<'a> {
        Search {
            repository: &self.depot.repository,
            paths: &reading.paths,
            policies: reading.policies.as_deref().unwrap_or(POLICIES_DIRECTORY),
            limits: &self.depot.limits,
        }
    }

    /// Just the lines that some places point at.
    pub fn excerpts<'o>(&self, origins: impl IntoIterator<Item = &'o Origin>) -> Excerpts {
        let mut wanted: Vec<&Origin> = origins.into_iter().filter(|origin| origin.line > 0).collect();
        wanted.sort();
        wanted.dedup_by(|a, b| a.file == b.file && a.line == b.line);
        let mut excerpts = Excerpts::default();
        for group in wanted.chunk_by(|a, b| a.file == b.file).take(EXCERPT_FILES_MAX) {
            let file: &Arc<str> = &group[0].file;
            let Some(bytes) = self.file(file) else { continue };
            let bytes = bytes.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(&bytes);
            let mut lines = bytes.split(|b| *b == b'\n').zip(1..);
            for origin in group {
                let Some((line, _)) = lines.find(|(_, number)| *number == origin.line) else { break };
                let text = String::from_utf8_lossy(&line[..line.len().min(4 * LINE_CHARS_MAX)]);
                excerpts.insert(file, origin.line, text.trim_end_matches('\r'));
            }
        }
        excerpts
    }

    /// The bytes of a file, if it is one and no larger than a manifest.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        let (id, kind) = self.find(path)?;
        (kind == ObjectType::Blob).then(|| self.blob(id, FILE_BYTES_MAX).ok()).flatten()
    }

    /// What stands at a path; links are no files.
    fn find(&self, path: &str) -> Option<(Oid, ObjectType)> {
        let tree = self.depot.repository.find_tree(self.tree).ok()?;
        let entry = tree.get_path(Path::new(path)).ok()?;
        match entry.filemode() {
            tree::LINK => Some((entry.id(), ObjectType::Any)),
            _ => Some((entry.id(), entry.kind()?)),
        }
    }

    fn blob(&self, id: Oid, bytes_max: u64) -> Result<Vec<u8>, String> {
        bounded(&self.depot.repository, id, bytes_max)
    }
}

/// The most entries of any sort in a folder of policies, and how deep it may be.
const POLICY_ENTRIES_MAX: usize = 20_000;
const POLICY_DEPTH_MAX: usize = 16;

/// A blob, whose size is looked at before it is read.
fn bounded(repository: &Repository, id: Oid, bytes_max: u64) -> Result<Vec<u8>, String> {
    let quoted = |error: git2::Error| fault::quoted(error.message());
    let (bytes, _) = repository.odb().and_then(|odb| odb.read_header(id)).map_err(quoted)?;
    if bytes as u64 > bytes_max {
        return Err(format!("it has {bytes} bytes, and {bytes_max} are the most"));
    }
    repository.find_blob(id).map(|blob| blob.content().to_vec()).map_err(quoted)
}

fn read_one(repository: Result<&Repository, &git2::Error>, entry: &Entry) -> Result<FileReading, Box<Finding>> {
    let unreadable = |error: &git2::Error| Box::new(fault::reading(&entry.path, error));
    let repository = repository.map_err(unreadable)?;
    let blob = repository.find_blob(entry.blob).map_err(|error| unreadable(&error))?;
    if blob.content().starts_with(LFS_POINTER) {
        let finding =
            Finding::error(Code::LfsPointer, format!("{} only points at its content, which Git LFS keeps", entry.path));
        return Ok(FileReading::unreadable(
            &entry.path,
            finding.hint("take manifests out of `.gitattributes` and commit them"),
        ));
    }
    Ok(read_file(&entry.path, blob.content()))
}

/// Where a directory stands within a repository; what cannot be told is refused, lest the settings of another folder hold.
fn root_within(repository: &Repository, directory: &Path) -> Result<String, Box<Finding>> {
    let shown = directory.display();
    let Some(top) = repository.workdir() else { return Ok(String::new()) };
    let places = top.canonicalize().and_then(|top| Ok((top, directory.canonicalize()?)));
    let within = places.ok().and_then(|(top, place)| place.strip_prefix(top).map(Path::to_owned).ok());
    let parts = within.and_then(|within| within.to_str().map(|within| within.replace(std::path::MAIN_SEPARATOR, "/")));
    match parts {
        Some(parts) if parts.is_empty() || parts == ".git" || parts.starts_with(".git/") => Ok(String::new()),
        Some(parts) => Ok(format!("{parts}/")),
        None => {
            let finding =
                Finding::error(Code::BadRepository, format!("where {shown} stands in its repository is not clear"));
            Err(Box::new(finding.hint("name it by a path of plain text within the work tree")))
        }
    }
}

fn ambiguous(shown: &str, name: &str) -> Finding {
    let name = fault::quoted(name);
    let message = format!("{shown} has a branch and a tag `{name}`");
    Finding::error(Code::NoSuchRevision, message).hint(format!("name `refs/tags/{name}` or `refs/heads/{name}`"))
}

/// Whether a name may be the beginning of an id.
fn looks_like_id(name: &str) -> bool {
    name.len() >= 4 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn no_repository(shown: &str) -> Finding {
    Finding::error(Code::RepositoryUnreachable, format!("there is no Git repository at {shown}"))
        .hint("name one with `--git`, or run Argus within one")
}
