//! Reading a commit again: the index tells what was found in the last one, so that only what lies between the two is looked
//! for, and only the organizations of which something has moved are read.
//!
//! An index is only a help. What of it does not fit (another tree that is gone, another version, a broken file) is left
//! aside and everything is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use git2::Oid;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::readings::{self, Kept, Readings};
use super::tree::{Entry, Known, Listing};
use super::{Checkout, Reading, fault};
use crate::digest;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kind::KINDS;
use crate::model::kinds;
use crate::model::state::{Desired, Unread, World};
use crate::model::value::Value;
use crate::source::gather::on_all_cores;
use crate::source::manifest::FileReading;
use crate::source::world::assemble;

/// The version of the files in the cache.
const CACHE_FORMAT: u32 = 1;

/// The largest index that is read.
const INDEX_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A file of readings that holds more than this, and most of it of blobs that are gone, is begun anew.
const WASTE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Tells whether an organization is as it was when it was last found settled.
pub type IsSettled<'a> = &'a dyn Fn(&str, &Unread) -> bool;

#[derive(Default, Serialize, Deserialize)]
struct Index {
    tree: String,
    /// By path.
    files: Vec<IndexedFile>,
    /// By name. Those that have to be read whatever moves are left out.
    organizations: BTreeMap<OrganizationName, IndexedOrganization>,
    /// The organizations that each file speaks of, by its place among the files.
    speaks_of: Vec<Vec<OrganizationName>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct IndexedFile(Arc<str>, String, u64, Option<Kept>);

#[derive(Clone, Serialize, Deserialize)]
struct IndexedOrganization {
    said: String,
    places: String,
    resources: usize,
    /// From when on what is said may mean something else: a moment of it passes.
    until: Option<String>,
}

/// What is to be written when the world was checked.
pub struct Saving {
    place: Cache,
    tree: Oid,
    files: Vec<IndexedFile>,
    speaks_of: Vec<Vec<OrganizationName>>,
    unread: BTreeMap<OrganizationName, IndexedOrganization>,
    now: DateTime<Utc>,
}

/// Where the cache of one source is.
#[derive(Clone)]
struct Cache {
    index: PathBuf,
    readings: PathBuf,
}

impl Cache {
    fn new(folder: &Path, reading: &Reading) -> Cache {
        let short = |texts: &mut dyn Iterator<Item = &[u8]>| -> String {
            let mut hasher = Sha256::new();
            for text in texts {
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text);
            }
            hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
        };
        let format = CACHE_FORMAT.to_string();
        // Fields are kept by their numbers.
        let fields = KINDS.iter().flat_map(|kind| kind.fields).map(|field| field.path.as_bytes());
        let version = short(&mut [env!("CARGO_PKG_VERSION").as_bytes(), format.as_bytes()].into_iter().chain(fields));
        let paths = reading.paths.iter().map(|path| path.as_os_str().as_encoded_bytes());
        let what = short(&mut paths.chain([reading.policies.as_deref().unwrap_or_default().as_bytes()]));
        Cache {
            index: folder.join(format!("index-{version}-{what}.json")),
            readings: folder.join(format!("readings-{version}")),
        }
    }

    fn load(&self) -> Option<Index> {
        let about = fs::metadata(&self.index).ok().filter(|about| about.len() <= INDEX_BYTES_MAX)?;
        let text = fs::read(&self.index).ok().filter(|_| about.is_file())?;
        let index: Index = serde_json::from_slice(&text).ok()?;
        let sorted = index.files.is_sorted_by(|a, b| a.0 < b.0) && index.files.len() == index.speaks_of.len();
        sorted.then_some(index)
    }

    /// Written beside its place and moved there, so that half of one is never read.
    fn save(&self, index: &Index) -> std::io::Result<()> {
        let text = serde_json::to_vec(index)?;
        let making = self.index.with_extension(format!("making-{}", std::process::id()));
        let written = fs::File::create(&making).and_then(|mut file| file.write_all(&text));
        let moved = written.and_then(|()| fs::rename(&making, &self.index));
        if moved.is_err() {
            let _ = fs::remove_file(&making);
        }
        moved
    }
}

impl Checkout {
    /// Reads the manifests: all of them, or of the organizations that are settled only what is known of them.
    pub fn read(
        &self,
        reading: &Reading,
        settled: Option<IsSettled<'_>>,
        now: DateTime<Utc>,
    ) -> Result<(World, Option<Saving>), Box<Finding>> {
        let cache = self.depot.cache.as_deref().filter(|_| self.merged_from.is_none());
        let cache = cache.map(|folder| Cache::new(folder, reading));
        let index = cache.as_ref().and_then(Cache::load).unwrap_or_default();
        let listing = self.listing(reading, &index).inspect_err(|finding| self.depot.forget_if_broken(finding))?;
        let files: Vec<(Entry, Option<Kept>)> = with_kept(listing.files, &index);
        // What has changed tells which organizations it speaks of, and those decide what else has to be read.
        let changed = index.changed(&files);
        let mut chosen: Vec<&(Entry, Option<Kept>)> = changed.iter().map(|at| &files[*at]).collect();
        let mut read =
            self.readings(&chosen, cache.as_ref()).inspect_err(|finding| self.depot.forget_if_broken(finding))?;
        let wanted = match settled.filter(|_| listing.unreadable.is_empty()) {
            Some(settled) => index.wanted(&files, &read, settled, now),
            None => Wanted::All,
        };
        let rest = |at: &usize| !changed.contains(at);
        let rest: Vec<&(Entry, Option<Kept>)> = match &wanted {
            Wanted::All => (0..files.len()).filter(rest).map(|at| &files[at]).collect(),
            Wanted::Some { files: wanted, .. } => wanted.iter().copied().filter(rest).map(|at| &files[at]).collect(),
        };
        read.extend(self.readings(&rest, cache.as_ref()).inspect_err(|finding| self.depot.forget_if_broken(finding))?);
        chosen.extend(rest);
        let saving = cache.map(|place| Saving::new(place, self.tree, &files, &chosen, &read, &wanted, &index, now));
        // Of what is declared twice the same one is kept whatever was read first.
        read.sort_by(|(a, _), (b, _)| a.file.cmp(&b.file));
        let mut world = assemble(read.into_iter().map(|(reading, _)| reading).chain(listing.unreadable));
        world.files = files.len();
        if let Wanted::Some { unread, .. } = wanted {
            let known = |known: IndexedOrganization| known.unread();
            world.unread = unread.into_iter().map(|(name, organization)| (name, known(organization))).collect();
        }
        Ok((world, saving))
    }

    fn listing(&self, reading: &Reading, index: &Index) -> Result<Listing, Box<Finding>> {
        let repository = &self.depot.repository;
        let unreadable = |error: git2::Error| Box::new(fault::reading("the tree of the commit", &error));
        let root = repository.find_tree(self.tree).map_err(unreadable)?;
        let older = Oid::from_str(&index.tree).ok().and_then(|id| repository.find_tree(id).ok());
        let files: Vec<Entry> = index.files.iter().filter_map(IndexedFile::entry).collect();
        let known = older.filter(|_| files.len() == index.files.len()).map(|tree| Known { tree, files: &files });
        self.search(reading).run(&root, known.as_ref())
    }

    /// The readings of some files, and whether each had to be parsed.
    fn readings(
        &self,
        files: &[&(Entry, Option<Kept>)],
        cache: Option<&Cache>,
    ) -> Result<Vec<(FileReading, bool)>, Box<Finding>> {
        let kept = cache.map(|cache| Readings::at(&cache.readings));
        let kept = kept.as_ref();
        let path = &self.depot.path;
        let one = |repository: Result<&git2::Repository, &git2::Error>,
                   from: &mut Option<fs::File>,
                   (entry, place): &(Entry, Option<Kept>)| {
            let again = place.and_then(|place| readings::read(from.as_mut()?, place, &entry.path));
            match again {
                Some(reading) => Ok((reading, false)),
                None => super::read_one(repository, entry).map(|reading| (reading, true)),
            }
        };
        let open = || kept.and_then(Readings::open);
        if self.merged_from.is_some() {
            let mut from = open();
            return files.iter().map(|file| one(Ok(&self.depot.repository), &mut from, file)).collect();
        }
        let own = || (git2::Repository::open(path), open());
        let read = on_all_cores(files, None, own, |(repository, from), file| one(repository.as_ref(), from, file));
        read.into_iter().collect()
    }
}

/// What has to be read.
enum Wanted {
    All,
    Some {
        /// The files, by their places.
        files: Vec<usize>,
        /// The organizations that none of them speaks of.
        unread: BTreeMap<OrganizationName, IndexedOrganization>,
    },
}

impl Index {
    /// The files that are new or hold something else than before.
    fn changed(&self, files: &[(Entry, Option<Kept>)]) -> BTreeSet<usize> {
        let before: BTreeMap<&str, &str> = self.files.iter().map(|file| (&*file.0, file.1.as_str())).collect();
        let same = |entry: &Entry| before.get(&*entry.path).is_some_and(|blob| *blob == entry.blob.to_string());
        files.iter().enumerate().filter(|(_, (entry, _))| !same(entry)).map(|(at, _)| at).collect()
    }

    /// The files of which something has moved, and those that speak of the same organizations.
    fn wanted(
        &self,
        files: &[(Entry, Option<Kept>)],
        changed: &[(FileReading, bool)],
        settled: IsSettled<'_>,
        now: DateTime<Utc>,
    ) -> Wanted {
        let before: BTreeMap<&str, usize> = self.files.iter().enumerate().map(|(at, file)| (&*file.0, at)).collect();
        let same = |entry: &Entry, at: usize| self.files[at].1 == entry.blob.to_string();
        let spoken_of: BTreeSet<OrganizationName> =
            changed.iter().flat_map(|(reading, _)| organizations(reading)).collect();
        let mut moved: BTreeSet<&OrganizationName> = spoken_of.iter().collect();
        let mut wanted = BTreeSet::new();
        let mut still_there = BTreeSet::new();
        for (at, (entry, _)) in files.iter().enumerate() {
            match before.get(&*entry.path).copied() {
                Some(known) if same(entry, known) => {
                    still_there.insert(known);
                }
                _ => {
                    wanted.insert(at);
                }
            }
        }
        for known in (0..self.files.len()).filter(|known| !still_there.contains(known)) {
            moved.extend(&self.speaks_of[known]);
        }
        // Everything refers to what all share.
        if self.organizations.is_empty() || moved.iter().any(|name| &***name == GLOBAL) {
            return Wanted::All;
        }
        let moment = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        let quiet = |name: &OrganizationName| {
            let known =
                self.organizations.get(name).filter(|known| known.until.as_ref().is_none_or(|until| *until > moment));
            known.is_some_and(|known| settled(name, &known.unread()))
        };
        let all: BTreeSet<&OrganizationName> = self.speaks_of.iter().flatten().collect();
        moved.extend(all.into_iter().filter(|name| !quiet(name)));
        // What is in one file is read together: none of it is read by half.
        let places: BTreeMap<&str, usize> =
            files.iter().enumerate().map(|(at, (entry, _))| (&*entry.path, at)).collect();
        loop {
            let count = moved.len();
            for known in &still_there {
                let speaks_of = &self.speaks_of[*known];
                if speaks_of.iter().any(|name| moved.contains(name)) || speaks_of.is_empty() {
                    moved.extend(speaks_of);
                    wanted.extend(places.get(&*self.files[*known].0));
                }
            }
            if moved.len() == count {
                break;
            }
        }
        let unread = self.organizations.iter().filter(|(name, _)| !moved.contains(name));
        let unread = unread.map(|(name, known)| (name.clone(), known.clone())).collect();
        Wanted::Some { files: wanted.into_iter().collect(), unread }
    }
}

impl IndexedFile {
    fn entry(&self) -> Option<Entry> {
        let IndexedFile(path, blob, bytes, _) = self;
        Some(Entry { path: path.clone(), blob: Oid::from_str(blob).ok()?, bytes: *bytes })
    }
}

impl IndexedOrganization {
    fn unread(&self) -> Unread {
        let IndexedOrganization { said, places, resources, until: _ } = self;
        Unread { said: said.clone(), places: places.clone(), resources: *resources }
    }
}

/// Files with what is kept of their blobs, wherever these stood before.
fn with_kept(files: Vec<Entry>, index: &Index) -> Vec<(Entry, Option<Kept>)> {
    let form = |path: &str| path.to_ascii_lowercase().ends_with(".json");
    let kept: BTreeMap<(&str, bool), Kept> = index
        .files
        .iter()
        .filter_map(|IndexedFile(path, blob, _, kept)| Some(((blob.as_str(), form(path)), (*kept)?)))
        .collect();
    let known = |entry: &Entry| kept.get(&(entry.blob.to_string().as_str(), form(&entry.path))).copied();
    files
        .into_iter()
        .map(|entry| {
            let kept = known(&entry);
            (entry, kept)
        })
        .collect()
}

impl Saving {
    #[allow(clippy::too_many_arguments, reason = "it gathers what one reading leaves behind")]
    fn new(
        place: Cache,
        tree: Oid,
        files: &[(Entry, Option<Kept>)],
        chosen: &[&(Entry, Option<Kept>)],
        read: &[(FileReading, bool)],
        wanted: &Wanted,
        index: &Index,
        now: DateTime<Utc>,
    ) -> Saving {
        let mut kept: BTreeMap<&str, Kept> = BTreeMap::new();
        let parsed = || chosen.iter().zip(read).filter(|(_, (_, parsed))| *parsed);
        // A cache that cannot be written costs time and nothing else.
        if parsed().next().is_some() {
            match Readings::at(&place.readings).add(parsed().map(|(_, (reading, _))| reading)) {
                Ok(places) => {
                    let places = parsed().zip(places).filter_map(|((file, _), kept)| Some((&*file.0.path, kept?)));
                    kept.extend(places);
                }
                Err(error) => tracing::warn!(%error, "what was read could not be kept"),
            }
        }
        let read: BTreeMap<&str, &FileReading> =
            chosen.iter().zip(read).map(|(file, (reading, _))| (&*file.0.path, reading)).collect();
        let before: BTreeMap<&str, usize> = index.files.iter().enumerate().map(|(at, file)| (&*file.0, at)).collect();
        let speaks_of = |path: &str| match read.get(path) {
            Some(reading) => organizations(reading),
            None => before.get(path).map(|at| index.speaks_of[*at].clone()).unwrap_or_default(),
        };
        let indexed = |(entry, old): &(Entry, Option<Kept>)| {
            let kept = kept.get(&*entry.path).copied().or(*old);
            IndexedFile(entry.path.clone(), entry.blob.to_string(), entry.bytes, kept)
        };
        Saving {
            place,
            tree,
            speaks_of: files.iter().map(|(entry, _)| speaks_of(&entry.path)).collect(),
            files: files.iter().map(indexed).collect(),
            unread: match wanted {
                Wanted::All => BTreeMap::new(),
                Wanted::Some { unread, .. } => unread.clone(),
            },
            now,
        }
    }

    /// Notes what was found, once it was checked. Of what is wrong or worth telling nothing is noted: it is told again.
    pub fn save(self, world: &World) {
        let Saving { place, tree, mut files, speaks_of, unread, now } = self;
        if !world.unreadable_files.is_empty() {
            return;
        }
        let mut told: BTreeSet<&OrganizationName> = world.blocked.iter().collect();
        let places: BTreeMap<&str, usize> = files.iter().enumerate().map(|(at, file)| (&*file.0, at)).collect();
        for finding in &world.findings {
            match finding.origin.as_ref().and_then(|origin| places.get(&*origin.file)) {
                Some(at) => told.extend(&speaks_of[*at]),
                None => return,
            }
        }
        let mut organizations = unread;
        for (name, desired) in &world.organizations {
            if &**name != GLOBAL && !told.contains(name) && !renames(desired) {
                organizations.insert(name.clone(), indexed(desired, now));
            }
        }
        let live: u64 = files.iter().filter_map(|file| file.3).map(|kept| u64::from(kept.bytes)).sum();
        let size = fs::metadata(&place.readings).map(|about| about.len()).unwrap_or_default();
        if size > WASTE_BYTES_MIN && size / 4 > live {
            let _ = fs::remove_file(&place.readings);
            files.iter_mut().for_each(|file| file.3 = None);
        }
        let index = Index { tree: tree.to_string(), files, organizations, speaks_of };
        if let Err(error) = place.save(&index) {
            tracing::warn!(%error, index = %place.index.display(), "the index could not be written");
        }
    }
}

/// A rename has to be looked at as long as it stands there.
fn renames(desired: &Desired) -> bool {
    let root = desired.resources.iter().find(|resource| resource.id.kind.is(&kinds::organization::KIND));
    root.is_some_and(|root| root.previous_name.is_some())
}

fn indexed(desired: &Desired, now: DateTime<Utc>) -> IndexedOrganization {
    let now = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut until: Option<&str> = None;
    let values = desired.resources.iter().flat_map(|resource| resource.spec.entries()).map(|entry| &entry.value);
    values.for_each(|value| first_moment(value, &now, &mut until));
    IndexedOrganization {
        said: digest::said(desired),
        places: digest::places(desired),
        resources: desired.resources.len(),
        until: until.map(str::to_owned),
    }
}

/// The first moment after now that a value names.
fn first_moment<'a>(value: &'a Value, now: &str, first: &mut Option<&'a str>) {
    match value {
        Value::Text(text) => {
            let is_moment =
                text.len() == now.len() && text.ends_with('Z') && DateTime::parse_from_rfc3339(text).is_ok();
            if is_moment && **text > *now && first.is_none_or(|first| **text < *first) {
                *first = Some(text);
            }
        }
        Value::List(items) => items.iter().for_each(|item| first_moment(item, now, first)),
        Value::Map(pairs) => pairs.iter().for_each(|(_, item)| first_moment(item, now, first)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

/// The organizations that a file speaks of.
fn organizations(reading: &FileReading) -> Vec<OrganizationName> {
    let FileReading { file: _, resources, authoritative, ignore, blocked, faulty, unreadable: _, findings: _ } =
        reading;
    let mut names: BTreeSet<&OrganizationName> = resources.iter().map(|resource| &resource.id.organization).collect();
    names.extend(authoritative.iter().map(|(name, _)| name));
    names.extend(ignore.iter().map(|(name, _)| name));
    names.extend(blocked);
    names.extend(faulty.iter().map(|id| &id.organization));
    names.into_iter().cloned().collect()
}
