//! Trees of a commit -> the manifests in them. Nothing is followed: links, other repositories and pointers to files that
//! are kept elsewhere are told, and so is a name that could mean something else on a machine that checks it out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use git2::{ObjectType, Odb, Oid, Repository, Tree};

use super::fault;
use super::settings::Limits;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::Origin;
use crate::model::plain::is_unseen;
use crate::source::manifest::FileReading;
use crate::source::names::{SCHEMA_FILE, SETTINGS_FILE, is_manifest};
use crate::source::yaml::{FILE_BYTES_MAX, too_large};

pub const LINK: i32 = 0o120_000;
const FOLDER: i32 = 0o040_000;
const REPOSITORY: i32 = 0o160_000;

/// The longest target of a link that is looked at.
const LINK_BYTES_MAX: usize = 4_096;

/// The longest name of an entry.
const NAME_BYTES_MAX: usize = 255;

/// A manifest that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path from the root of the repository.
    pub path: Arc<str>,
    /// Its content.
    pub blob: Oid,
    /// How large it is.
    pub bytes: u64,
}

/// What was found in a tree.
#[derive(Default)]
pub struct Listing {
    /// The manifests, by path.
    pub files: Vec<Entry>,
    /// What is there and cannot be used.
    pub unreadable: Vec<FileReading>,
}

/// What was found in another tree, in which nothing was wrong.
pub struct Known<'a> {
    /// That tree.
    pub tree: Tree<'a>,
    /// Its manifests, by path.
    pub files: &'a [Entry],
}

impl Known<'_> {
    /// The manifests below a directory.
    fn below(&self, prefix: &str) -> &[Entry] {
        let from = self.files.partition_point(|entry| &*entry.path < prefix);
        let to = from + self.files[from..].partition_point(|entry| entry.path.starts_with(prefix));
        &self.files[from..to]
    }

    /// The manifest at a path.
    fn at(&self, path: &str) -> Option<&Entry> {
        self.files.binary_search_by(|entry| (*entry.path).cmp(path)).ok().map(|at| &self.files[at])
    }
}

/// What is looked for.
pub struct Search<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// The directories and files that are read; none for all of it.
    pub paths: &'a [PathBuf],
    /// The directory that holds policies and no manifests.
    pub policies: &'a str,
    /// How much is too much.
    pub limits: &'a Limits,
}

impl Search<'_> {
    /// Finds the manifests of a tree. What it has in common with a tree that is known is not looked at again.
    pub fn run<'a>(&'a self, root: &'a Tree<'a>, known: Option<&'a Known<'a>>) -> Result<Listing, Box<Finding>> {
        let odb = self.repository.odb().map_err(|error| Box::new(fault::reading("the objects", &error)))?;
        let mut walk =
            Walk { search: self, root, known, odb, listing: Listing::default(), entries: 0, bytes: 0, full: false };
        if self.paths.is_empty() {
            walk.tree(root, known.map(|known| known.tree.clone()), "", 0)?;
        }
        for path in self.paths {
            walk.below(root, path)?;
        }
        let mut listing = walk.listing;
        listing.files.sort_by(|a, b| a.path.cmp(&b.path));
        listing.files.dedup_by(|a, b| a.path == b.path);
        if listing.files.is_empty() && listing.unreadable.is_empty() {
            let finding = Finding::error(Code::Unreadable, "the commit holds no manifest");
            let hint = "manifests are files that end in .yaml, .yml or .json; an empty source deletes nothing";
            let nothing = FileReading { unreadable: true, ..FileReading::empty(&".".into()) };
            listing.unreadable.push(FileReading { findings: vec![finding.hint(hint)], ..nothing });
        }
        Ok(listing)
    }
}

struct Walk<'a> {
    search: &'a Search<'a>,
    root: &'a Tree<'a>,
    known: Option<&'a Known<'a>>,
    odb: Odb<'a>,
    listing: Listing,
    entries: usize,
    bytes: u64,
    full: bool,
}

impl Walk<'_> {
    fn refuse(&mut self, path: &str, finding: Finding) {
        self.listing.unreadable.push(FileReading::unreadable(&path.into(), finding));
    }

    /// One of the configured paths: a directory or a file.
    fn below(&mut self, root: &Tree<'_>, path: &std::path::Path) -> Result<(), Box<Finding>> {
        let parts: Vec<_> = path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect();
        let mut place = String::new();
        let mut id = root.id();
        for (at, part) in parts.iter().enumerate() {
            let tree = self.search.repository.find_tree(id);
            let tree = tree.map_err(|error| Box::new(fault::reading(&shown(place.as_bytes()), &error)))?;
            let name = part.as_os_str().as_encoded_bytes();
            let Some((found, mode)) =
                tree.iter().find(|entry| entry.name_bytes() == name).map(|e| (e.id(), e.filemode()))
            else {
                let path = path.display().to_string();
                let finding = Finding::error(Code::Unreadable, format!("{path} is not in this commit"));
                self.refuse(&path, finding.hint("what it held before stays as it is until it is there again"));
                return Ok(());
            };
            let last = at + 1 == parts.len();
            if mode != FOLDER {
                if !last {
                    let finding = Finding::error(Code::Unreadable, format!("{} is no directory", shown(name)));
                    self.refuse(&path.display().to_string(), finding);
                    return Ok(());
                }
                return self.leaf(&place, name, found, mode, true).map(drop);
            }
            place.push_str(&format!("{}/", shown(name)));
            id = found;
        }
        let tree = self.search.repository.find_tree(id);
        let tree = tree.map_err(|error| Box::new(fault::reading(&shown(place.as_bytes()), &error)))?;
        let older = self.known.and_then(|known| {
            let id = match parts.is_empty() {
                true => known.tree.id(),
                false => known.tree.get_path(path).ok()?.id(),
            };
            self.search.repository.find_tree(id).ok()
        });
        self.tree(&tree, older, &place, 0)
    }

    /// Takes over what is known of a directory.
    fn take_over(&mut self, files: &[Entry]) {
        self.bytes += files.iter().map(|entry| entry.bytes).sum::<u64>();
        self.listing.files.extend_from_slice(files);
    }

    /// Looks at a directory; `older` is the same one in the tree that is known.
    fn tree(
        &mut self,
        tree: &Tree<'_>,
        older: Option<Tree<'_>>,
        prefix: &str,
        depth: usize,
    ) -> Result<(), Box<Finding>> {
        if let Some(known) = self.known.filter(|_| older.as_ref().is_some_and(|older| older.id() == tree.id())) {
            self.take_over(known.below(prefix));
            self.look_at_limits();
            return Ok(());
        }
        let here = if prefix.is_empty() { "." } else { prefix.trim_end_matches('/') };
        if depth > self.search.limits.depth_levels_max {
            let most = self.search.limits.depth_levels_max;
            let finding =
                Finding::error(Code::TooManyFiles, format!("directories are nested more than {most} levels deep"));
            self.refuse(here, finding.hint("no config repo needs this depth"));
            return Ok(());
        }
        let mut seen: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for entry in tree.iter() {
            if self.full {
                return Ok(());
            }
            self.entries += 1;
            let (name, mode) = (entry.name_bytes(), entry.filemode());
            if let Some(finding) = bad_name(name) {
                self.refuse(&format!("{prefix}{}", shown(name)), finding);
                continue;
            }
            let of_interest = mode == FOLDER || is_manifest(&String::from_utf8_lossy(name));
            if of_interest && let Some(other) = seen.insert(name.to_ascii_lowercase(), name.to_vec()) {
                let (one, other) = (shown(name), shown(&other));
                let message = if one == other {
                    format!("{one} stands twice in the same directory")
                } else {
                    format!("{one} and {other} differ only in case")
                };
                let finding = Finding::error(Code::NameTwice, message);
                self.refuse(
                    &format!("{prefix}{one}"),
                    finding.hint("many machines keep only one of the two; rename one"),
                );
                continue;
            }
            if name.starts_with(b".") {
                continue;
            }
            if mode == FOLDER {
                let path = format!("{prefix}{}", shown(name));
                if path == self.search.policies.trim_matches('/') {
                    continue;
                }
                let before = older.as_ref().and_then(|older| {
                    let before = older.iter().find(|other| other.name_bytes() == name)?;
                    (before.filemode() == FOLDER).then(|| before.id())
                });
                if let Some(known) = self.known.filter(|_| before == Some(entry.id())) {
                    self.take_over(known.below(&format!("{path}/")));
                    self.look_at_limits();
                    continue;
                }
                let before = before.and_then(|id| self.search.repository.find_tree(id).ok());
                match self.search.repository.find_tree(entry.id()) {
                    Ok(tree) => self.tree(&tree, before, &format!("{path}/"), depth + 1)?,
                    Err(error) => return Err(Box::new(fault::reading(&path, &error))),
                }
            } else {
                self.leaf(prefix, name, entry.id(), mode, false)?;
            }
            self.look_at_limits();
        }
        Ok(())
    }

    /// An entry that is no directory; `asked` says that its very path was asked for.
    fn leaf(&mut self, prefix: &str, name: &[u8], id: Oid, mode: i32, asked: bool) -> Result<(), Box<Finding>> {
        let path = format!("{prefix}{}", shown(name));
        let settings = prefix.is_empty() && name == SETTINGS_FILE.as_bytes() || name == SCHEMA_FILE.as_bytes();
        let manifest = asked || is_manifest(&String::from_utf8_lossy(name)) && !settings;
        match mode {
            REPOSITORY => {
                let finding = Finding::error(Code::Submodule, format!("{path} is a submodule"));
                let hint = "put the manifests themselves here, or leave it out by naming `paths` in argus.yaml";
                self.refuse(&path, finding.hint(hint));
            }
            LINK if manifest || !self.leads_to_file(prefix, id) => {
                let finding = Finding::error(Code::Symlink, format!("{path} is a symbolic link"));
                self.refuse(&path, finding.hint("put the file itself here; links are never followed"));
            }
            _ if !manifest || mode == LINK => {}
            _ if std::str::from_utf8(name).ok().is_none_or(|name| name != shown(name.as_bytes())) => {
                let finding = Finding::error(Code::BadEntryName, format!("the name of {path} is not plain text"));
                self.refuse(&path, finding.hint("rename the file"));
            }
            _ if let Some(known) = self.known.and_then(|known| known.at(&path)).filter(|known| known.blob == id) => {
                let known = known.clone();
                self.take_over(&[known]);
            }
            _ => {
                let (bytes, kind) = match self.odb.read_header(id) {
                    Ok((bytes, kind)) => (bytes as u64, kind),
                    Err(error) => return Err(Box::new(fault::reading(&path, &error))),
                };
                if kind != ObjectType::Blob {
                    let finding =
                        Finding::error(Code::RepositoryCorrupt, format!("{path} is no file, though it says so"));
                    self.refuse(&path, finding);
                } else if bytes > FILE_BYTES_MAX {
                    self.refuse(&path, too_large(bytes));
                } else {
                    self.bytes += bytes;
                    self.listing.files.push(Entry { path: path.into(), blob: id, bytes });
                }
            }
        }
        Ok(())
    }

    /// Whether a link leads to a file of the same commit, and over no other link. Whatever else may stand for a directory
    /// of manifests, whether it is called like one or not.
    fn leads_to_file(&self, prefix: &str, link: Oid) -> bool {
        let short = self.odb.read_header(link).is_ok_and(|(bytes, _)| bytes <= LINK_BYTES_MAX);
        let Some(blob) = short.then(|| self.search.repository.find_blob(link).ok()).flatten() else { return false };
        let Ok(target) = std::str::from_utf8(blob.content()) else { return false };
        let mut path: Vec<&str> = prefix.split_terminator('/').collect();
        for part in target.split('/') {
            match part {
                "." => {}
                ".." if path.pop().is_some() => {}
                "" | ".." => return false,
                part => path.push(part),
            }
        }
        let found = self.root.get_path(std::path::Path::new(&path.join("/")));
        found.is_ok_and(|entry| entry.kind() == Some(ObjectType::Blob) && entry.filemode() != LINK)
    }

    fn look_at_limits(&mut self) {
        let limits = self.search.limits;
        let over = if self.entries > limits.entries_max {
            Some((format!("there are more than {} files and directories", limits.entries_max), "entriesMax"))
        } else if self.listing.files.len() > limits.files_max {
            Some((format!("there are more than {} manifests", limits.files_max), "filesMax"))
        } else if self.bytes > limits.total_bytes_max {
            Some((format!("the manifests have more than {} bytes together", limits.total_bytes_max), "totalBytesMax"))
        } else {
            None
        };
        if let Some((message, setting)) = over.filter(|_| !self.full) {
            // Which files were not looked at is unknown, so that nothing of this source can be trusted.
            self.listing.files.clear();
            self.full = true;
            let finding = Finding::error(Code::TooManyFiles, message).at(Origin::file(&".".into()));
            self.refuse(
                ".",
                finding.hint(format!("split the source into several; `git.limits.{setting}` allows more")),
            );
        }
    }
}

/// Names that lead elsewhere, on this machine or on another one.
fn bad_name(name: &[u8]) -> Option<Finding> {
    let lower = name.to_ascii_lowercase();
    let why = if name.is_empty() || name == b"." || name == b".." {
        "names another directory"
    } else if name.contains(&b'/') || name.contains(&b'\\') {
        "holds a separator of paths"
    } else if lower == b".git" || lower.starts_with(b"git~") && lower[4..].iter().all(u8::is_ascii_digit) {
        "is the folder in which Git keeps itself"
    } else if name.len() > NAME_BYTES_MAX {
        "is longer than names of files can be"
    } else {
        return None;
    };
    let finding = Finding::error(Code::BadEntryName, format!("the entry {} {why}", shown(name)));
    Some(finding.hint("no ordinary Git makes such an entry; find out who did"))
}

/// A name in which everything can be seen.
pub fn shown(name: &[u8]) -> String {
    let visible = |c: char| if c.is_control() || is_unseen(c) || c == '\u{FFFD}' { '?' } else { c };
    String::from_utf8_lossy(name).chars().take(NAME_BYTES_MAX).map(visible).collect()
}

/// The blob at a path of a tree.
pub fn blob_at(repository: &Repository, root: &Tree<'_>, path: &str) -> Option<Oid> {
    let (folders, name) = match path.rsplit_once('/') {
        Some((folders, name)) => (folders.split('/').collect(), name),
        None => (Vec::new(), path),
    };
    let mut at: Option<Tree<'_>> = None;
    for folder in folders {
        let entry = at.as_ref().unwrap_or(root).get_name(folder)?.id();
        at = Some(repository.find_tree(entry).ok()?);
    }
    let entry = at.as_ref().unwrap_or(root).get_name(name)?;
    (entry.kind() == Some(ObjectType::Blob)).then(|| entry.id())
}

/// The largest tree, as the bytes of its object, and the longest names of all files together.
const TREE_BYTES_MAX: usize = 64 * 1024 * 1024;
const PATHS_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Refuses a tree that unfolds to more than the limits allow, hidden directories included. A few objects can say that there
/// are more files than any memory holds.
pub fn refuse_endless(repository: &Repository, root: Oid, limits: &Limits) -> Result<(), Box<Finding>> {
    let unreadable = |error: git2::Error| Box::new(fault::reading("a tree", &error));
    let refused = |why: String| {
        let hint = "`git.limits.entriesMax` allows more entries, and nothing a larger or deeper tree";
        Err(Box::new(Finding::error(Code::TooManyFiles, format!("the branches are not merged: {why}")).hint(hint)))
    };
    let odb = repository.odb().map_err(unreadable)?;
    let (mut entries, mut bytes) = (0, 0);
    let mut waiting = vec![(root, 0, 0)];
    while let Some((id, depth, prefix)) = waiting.pop() {
        let (size, _) = odb.read_header(id).map_err(unreadable)?;
        if size > TREE_BYTES_MAX || depth > COMPARED_LEVELS_MAX {
            return refused("a directory is too large or nested too deeply".into());
        }
        let tree = repository.find_tree(id).map_err(unreadable)?;
        for entry in tree.iter() {
            let path = prefix + 1 + entry.name_bytes().len();
            (entries, bytes) = (entries + 1, bytes + path);
            if entries > limits.entries_max || bytes > PATHS_BYTES_MAX {
                return refused(format!("there are more than {} files and directories", limits.entries_max));
            }
            if entry.filemode() == FOLDER {
                waiting.push((entry.id(), depth + 1, path));
            }
        }
    }
    Ok(())
}

/// The files that one tree adds to directories that it has from before and that are gone from another one.
pub fn added_where_gone(
    repository: &Repository,
    before: Option<&Tree<'_>>,
    adding: Option<&Tree<'_>>,
    moving: Option<&Tree<'_>>,
    prefix: &str,
    depth: usize,
    found: &mut Vec<String>,
) -> Result<(), git2::Error> {
    let (Some(before), Some(adding)) = (before, adding) else { return Ok(()) };
    if before.id() == adding.id()
        || moving.is_some_and(|moving| moving.id() == before.id())
        || depth > COMPARED_LEVELS_MAX
    {
        return Ok(());
    }
    let folder = |tree: &Tree<'_>, name: &[u8]| {
        let entry = tree.iter().find(|entry| entry.name_bytes() == name && entry.filemode() == FOLDER);
        entry.map(|entry| repository.find_tree(entry.id())).transpose()
    };
    let known: BTreeMap<Vec<u8>, (Oid, i32)> =
        before.iter().map(|entry| (entry.name_bytes().to_vec(), (entry.id(), entry.filemode()))).collect();
    for entry in adding.iter() {
        let path = format!("{prefix}{}", shown(entry.name_bytes()));
        match known.get(entry.name_bytes()) {
            None if moving.is_none() => found.push(path),
            Some((id, FOLDER)) if entry.filemode() == FOLDER && *id != entry.id() => {
                let (before, adding) = (repository.find_tree(*id)?, repository.find_tree(entry.id())?);
                let moving = moving.map(|moving| folder(moving, entry.name_bytes())).transpose()?.flatten();
                let prefix = format!("{path}/");
                added_where_gone(repository, Some(&before), Some(&adding), moving.as_ref(), &prefix, depth + 1, found)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The paths among these of files in which two trees differ. Equal subtrees are not opened, and neither is one in which
/// none of them is; each entry of those that are opened is charged to whoever asks. None if they do not want to pay.
pub fn changed<'p>(
    repository: &Repository,
    older: Option<&Tree<'_>>,
    newer: Option<&Tree<'_>>,
    wanted: &[&'p str],
    charge: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<BTreeSet<&'p str>>, git2::Error> {
    let mut paths = BTreeSet::new();
    let wanted = wanted.iter().map(|path| (*path, *path)).collect();
    let whole = differing(repository, older, newer, wanted, &mut paths, charge)?;
    Ok(whole.then_some(paths))
}

/// The deepest directories that are looked at. What lies deeper holds no manifest.
const COMPARED_LEVELS_MAX: usize = 128;

/// Of each path that is wanted there is what is left of it, and all of it. Whether everything was paid for.
fn differing<'p>(
    repository: &Repository,
    older: Option<&Tree<'_>>,
    newer: Option<&Tree<'_>>,
    wanted: Vec<(&'p str, &'p str)>,
    paths: &mut BTreeSet<&'p str>,
    charge: &mut dyn FnMut(usize) -> bool,
) -> Result<bool, git2::Error> {
    if older.map(Tree::id) == newer.map(Tree::id) {
        return Ok(true);
    }
    if !charge(wanted.len() + older.map_or(0, Tree::len) + newer.map_or(0, Tree::len)) {
        return Ok(false);
    }
    let mut below: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let mut here = BTreeMap::new();
    for (rest, path) in wanted {
        match rest.split_once('/') {
            Some((folder, rest)) => below.entry(folder).or_default().push((rest, path)),
            None => drop(here.insert(rest, path)),
        }
    }
    let entry = |tree: Option<&Tree<'_>>, name: &str| {
        tree.and_then(|tree| tree.get_name(name)).map(|entry| (entry.id(), entry.filemode()))
    };
    for (name, path) in here {
        let (older, newer) = (entry(older, name), entry(newer, name));
        let is_file = |side: Option<(Oid, i32)>| side.is_some_and(|(_, mode)| mode != FOLDER);
        if older != newer && (is_file(older) || is_file(newer)) {
            paths.insert(path);
        }
    }
    for (name, wanted) in below {
        let tree = |side: Option<(Oid, i32)>| match side {
            Some((id, FOLDER)) => repository.find_tree(id).map(Some),
            _ => Ok(None),
        };
        let (older, newer) = (entry(older, name), entry(newer, name));
        if older == newer {
            continue;
        }
        let (older, newer) = (tree(older)?, tree(newer)?);
        if !differing(repository, older.as_ref(), newer.as_ref(), wanted, paths, charge)? {
            return Ok(false);
        }
    }
    Ok(true)
}
