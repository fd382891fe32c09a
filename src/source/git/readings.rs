//! What was read of blobs before: a blob that was parsed once is not parsed again, in this process or in a later one.
//!
//! One file that only grows, in which each reading has its length and a digest before it; the index knows where they stand.
//! Only readings without any finding are kept: of the others the lines would be shown, and they are few.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::kind::KindId;
use crate::model::origin::{Origin, Position};
use crate::model::resource::{Entry, Resource, ResourceId, Spec};
use crate::model::state::Ignore;
use crate::model::value::Value;
use crate::source::manifest::FileReading;

/// How many bytes of the digest stand before a reading.
const DIGEST_BYTES: usize = 8;

/// The largest reading that is kept or taken back.
const READING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where a reading stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where it begins.
    pub at: u64,
    /// How long it is.
    pub bytes: u32,
}

/// A reading as it is written. The file that it came from is left out: the same blob may stand elsewhere tomorrow.
#[derive(Serialize, Deserialize)]
struct Written {
    resources: Vec<WrittenResource>,
    authoritative: Vec<(Arc<str>, KindId)>,
    ignore: Vec<WrittenRule>,
}

#[derive(Serialize, Deserialize)]
struct WrittenRule(Arc<str>, KindId, Box<str>, Vec<Box<str>>, (u32, u32));

#[derive(Serialize, Deserialize)]
struct WrittenResource(KindId, Arc<str>, Arc<str>, (u32, u32), Option<Arc<str>>, Vec<(u8, (u32, u32), Value)>);

/// The file.
pub struct Readings {
    path: PathBuf,
}

impl Readings {
    /// The one at this path, whether it is there already or not.
    pub fn at(path: &Path) -> Readings {
        Readings { path: path.to_owned() }
    }

    /// A reader of its own for a thread; none where there is nothing to read.
    pub fn open(&self) -> Option<File> {
        File::open(&self.path).ok()
    }

    /// Adds readings and tells where they stand.
    pub fn add<'a>(&self, readings: impl Iterator<Item = &'a FileReading>) -> io::Result<Vec<Option<Kept>>> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let mut at = file.seek(SeekFrom::End(0))?;
        let mut out = Vec::new();
        let mut kept = Vec::new();
        for reading in readings {
            let Some(text) = write(reading) else {
                kept.push(None);
                continue;
            };
            out.extend_from_slice(&Sha256::digest(&text)[..DIGEST_BYTES]);
            out.extend_from_slice(&text);
            let bytes = u32::try_from(text.len() + DIGEST_BYTES).unwrap_or_default();
            kept.push(Some(Kept { at, bytes }));
            at += u64::from(bytes);
        }
        file.write_all(&out)?;
        file.sync_data()?;
        Ok(kept)
    }
}

/// Whether a reading may be kept.
pub fn is_clean(reading: &FileReading) -> bool {
    reading.findings.is_empty() && reading.blocked.is_empty() && reading.faulty.is_empty() && !reading.unreadable
}

fn write(reading: &FileReading) -> Option<Vec<u8>> {
    let FileReading { file: _, resources, authoritative, ignore, blocked: _, faulty: _, unreadable: _, findings: _ } =
        reading;
    if !is_clean(reading) {
        return None;
    }
    let entry = |entry: &Entry| (entry.field, (entry.at.line, entry.at.column), entry.value.clone());
    let resource = |resource: &Resource| {
        let Resource { id, spec, origin, previous_name } = resource;
        WrittenResource(
            id.kind,
            id.organization.clone(),
            id.name.clone(),
            (origin.line, origin.column),
            previous_name.clone(),
            spec.entries().iter().map(entry).collect(),
        )
    };
    let rule = |(organization, ignore): &(Arc<str>, Ignore)| {
        let Ignore { kind, name, fields, origin } = ignore;
        WrittenRule(organization.clone(), *kind, name.clone(), fields.clone(), (origin.line, origin.column))
    };
    let written = Written {
        resources: resources.iter().map(resource).collect(),
        authoritative: authoritative.clone(),
        ignore: ignore.iter().map(rule).collect(),
    };
    serde_json::to_vec(&written).ok().filter(|text| text.len() <= READING_BYTES_MAX)
}

/// Takes a reading back; nothing, if it is not what was written.
pub fn read(from: &mut File, kept: Kept, file: &Arc<str>) -> Option<FileReading> {
    let bytes = kept.bytes as usize;
    if !(DIGEST_BYTES..=READING_BYTES_MAX).contains(&bytes) {
        return None;
    }
    let mut text = vec![0; bytes];
    from.seek(SeekFrom::Start(kept.at)).ok()?;
    from.read_exact(&mut text).ok()?;
    let (digest, text) = text.split_at(DIGEST_BYTES);
    if Sha256::digest(text)[..DIGEST_BYTES] != *digest {
        return None;
    }
    let Written { resources, authoritative, ignore } = serde_json::from_slice(text).ok()?;
    let place = |(line, column)| Position::new(line, column);
    let resource = |WrittenResource(kind, organization, name, at, previous_name, entries)| {
        let entries = entries.into_iter().map(|(field, at, value)| Entry { field, at: place(at), value });
        Resource {
            id: ResourceId { organization, kind, name },
            spec: Spec::new(entries.collect()),
            origin: Origin::new(file, place(at)),
            previous_name,
        }
    };
    Some(FileReading {
        resources: resources.into_iter().map(resource).collect(),
        authoritative,
        ignore: ignore
            .into_iter()
            .map(|WrittenRule(organization, kind, name, fields, at)| {
                (organization, Ignore { kind, name, fields, origin: Origin::new(file, place(at)) })
            })
            .collect(),
        ..FileReading::empty(file)
    })
}
