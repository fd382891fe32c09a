//! One custom resource, and what is kept of it: not the object, but what it says, and what is needed to answer it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::settings::{Binding, DeletionPolicy};
use super::status::Status;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kind::{API_VERSION, Kind, KindId, Scope};
use crate::model::kinds::organization;
use crate::model::origin::{Origin, Position};
use crate::model::resource::{Entry, Resource, Spec};
use crate::model::secret::shown;
use crate::source::manifest::{FileReading, PREVIOUS_NAME, read_file};

/// What holds an object back from going until its rows are gone.
pub const FINALIZER: &str = "argus.io/finalizer";

/// The annotation that asks for a look at once; any new value does.
pub const REQUESTED_AT: &str = "argus.io/requestedAt";

/// The annotation that says what becomes of the rows when the object is deleted: `delete` or `orphan`.
pub const DELETION_POLICY: &str = "argus.io/deletion-policy";

/// What begins the names of annotations that mean something to Argus.
const OURS: &str = "argus.io/";

/// A custom resource as the API server gives it, as far as it is of interest.
#[derive(Clone, Debug, Deserialize)]
pub struct Object {
    /// What all objects have.
    #[serde(default)]
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: Option<Json>,
    /// What became of it.
    #[serde(default)]
    pub status: Option<Json>,
}

/// What all objects have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its name in its namespace.
    pub name: String,
    /// What tells it from one that had the name before.
    pub uid: String,
    /// How often its spec has changed.
    pub generation: i64,
    /// The version of the whole object.
    pub resource_version: String,
    /// When somebody deleted it; it goes when the last finalizer does.
    pub deletion_timestamp: Option<String>,
    /// What holds it back from going.
    pub finalizers: Vec<String>,
    /// Notes on it.
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// The version as a number. All objects of a cluster are counted by one clock, and versions compare.
    pub fn version(&self) -> u64 {
        version(&self.resource_version)
    }

    /// Whether the finalizer of Argus is on it.
    pub fn is_held(&self) -> bool {
        self.finalizers.iter().any(|name| name == FINALIZER)
    }
}

/// A resource version as a number; what is none is the oldest of all.
pub fn version(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}

/// Names an object within its namespace.
pub type Key = (KindId, Arc<str>);

/// What is kept of an object.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Kind and name.
    pub key: Key,
    /// What tells it from one that had the name before.
    pub uid: Box<str>,
    /// How often its spec has changed.
    pub generation: i64,
    /// The version of the whole object.
    pub version: u64,
    /// Whether somebody deleted it.
    pub deleting: bool,
    /// Whether the finalizer is on it.
    pub held: bool,
    /// What becomes of its rows when it is deleted, where it says so itself.
    pub deletion: Option<DeletionPolicy>,
    /// A digest of all that moves the organization: what it says, whether it goes, and when a look was asked for.
    pub moves: u64,
    /// A digest of the status that it has.
    pub told: u64,
    /// The organization that it belongs to, as far as that can be told.
    pub organization: Option<OrganizationName>,
    /// What it says.
    pub said: Said,
}

/// What an object says.
#[derive(Clone, Debug)]
pub enum Said {
    /// Resources, or what is wrong with them.
    Read(Box<FileReading>),
    /// Nothing that counts: its namespace is not bound to the organization. Nothing of it was read.
    Refused(Box<Finding>),
}

/// The place of an object: `kubernetes/team-a/Organization/acme`.
pub fn place(cluster: &str, namespace: &str, key: &Key) -> Arc<str> {
    format!("{cluster}/{namespace}/{}/{}", key.0, key.1).into()
}

/// The object of a place, if it is one of this namespace.
pub fn key_at(cluster: &str, namespace: &str, place: &str) -> Option<Key> {
    let rest = place.strip_prefix(cluster)?.strip_prefix('/')?.strip_prefix(namespace)?.strip_prefix('/')?;
    let (kind, name) = rest.split_once('/')?;
    Some((KindId::of(Kind::named(kind)?), name.into()))
}

/// Takes from an object what is to be kept.
pub fn keep(cluster: &str, namespace: &str, binding: &Binding, kind: KindId, object: Object) -> Kept {
    let Object { metadata, spec, status } = object;
    let key: Key = (kind, metadata.name.as_str().into());
    let file = place(cluster, namespace, &key);
    let organization = named_organization(kind.get(), &metadata, spec.as_ref());
    let policy = metadata.annotations.get(DELETION_POLICY);
    let document = document(kind.get(), &metadata, spec).to_string();
    let said = match refusal(kind.get(), namespace, binding, organization.as_deref(), &metadata) {
        Some(finding) => Said::Refused(Box::new(finding.at(Origin::file(&file)))),
        None => {
            let mut reading = read(&file, &document, binding, namespace);
            if let Some(word) = policy.filter(|word| DeletionPolicy::named(word).is_none()) {
                let message = format!("`{DELETION_POLICY}` is `delete` or `orphan`, and not {}", shown(word));
                let finding = Finding::error(Code::UnknownWord, message).at(Origin::file(&file));
                reading.findings.push(finding.hint("correct the annotation, or remove it"));
                reading.blocked.extend(organization.clone());
            }
            Said::Read(Box::new(reading))
        }
    };
    let moves = digest(&[
        document.as_bytes(),
        metadata.uid.as_bytes(),
        metadata.deletion_timestamp.as_deref().unwrap_or_default().as_bytes(),
        metadata.annotations.get(REQUESTED_AT).map(String::as_bytes).unwrap_or_default(),
        policy.map(String::as_bytes).unwrap_or_default(),
    ]);
    Kept {
        uid: metadata.uid.as_str().into(),
        generation: metadata.generation,
        version: metadata.version(),
        deleting: metadata.deletion_timestamp.is_some(),
        held: metadata.is_held(),
        deletion: policy.and_then(|word| DeletionPolicy::named(word)),
        moves,
        told: status.map(Status::from_json).unwrap_or_default().digest(),
        organization,
        said,
        key,
    }
}

/// The organization that an object is about, told from its envelope alone.
fn named_organization(kind: &Kind, metadata: &Metadata, spec: Option<&Json>) -> Option<OrganizationName> {
    let text = |field: &str| spec.and_then(|spec| spec.get(field)).and_then(Json::as_str);
    match kind.scope {
        Scope::Global => Some(GLOBAL.into()),
        Scope::Root => match spec.and_then(|spec| spec.get(kind.key.field())) {
            Some(name) => name.as_str().map(Into::into),
            None => Some(metadata.name.as_str().into()),
        },
        Scope::Child => text("organization").map(Into::into),
    }
}

/// Why nothing of an object is read: it reaches for what its namespace is not bound to.
fn refusal(
    kind: &Kind,
    namespace: &str,
    binding: &Binding,
    organization: Option<&str>,
    metadata: &Metadata,
) -> Option<Finding> {
    let hint = "whoever runs Argus binds namespaces to organizations, in `kubernetes.namespaces` of its settings";
    let refused = |what: String| {
        let message = format!("the namespace `{namespace}` is not bound to {what}");
        Some(Finding::error(Code::NotBound, message).hint(hint))
    };
    match organization {
        Some(GLOBAL) if !binding.covers(GLOBAL) => return refused("tiers, which all organizations share".into()),
        Some(name) if !binding.covers(name) => return refused(format!("the organization {}", shown(name))),
        _ => {}
    }
    // An organization that takes another name takes what stands under the old one.
    let previous = metadata.annotations.get(PREVIOUS_NAME).filter(|_| kind.scope == Scope::Root);
    match previous {
        Some(name) if !binding.covers(name) => refused(format!("the organization {}, which this renames", shown(name))),
        _ => None,
    }
}

/// The object as a manifest.
fn document(kind: &Kind, metadata: &Metadata, spec: Option<Json>) -> Json {
    let ours = metadata.annotations.iter().filter(|(name, _)| {
        name.starts_with(OURS) && ![REQUESTED_AT, DELETION_POLICY].contains(&name.as_str())
    });
    let ours: serde_json::Map<String, Json> = ours.map(|(name, text)| (name.clone(), json!(text))).collect();
    json!({
        "apiVersion": API_VERSION,
        "kind": kind.name,
        "metadata": { "name": metadata.name, "annotations": ours },
        "spec": spec,
    })
}

/// Reads a manifest that is one object. Lines and columns of it would be those of a text that nobody has.
fn read(file: &Arc<str>, document: &str, binding: &Binding, namespace: &str) -> FileReading {
    let mut reading = read_file(file, document.as_bytes());
    let nowhere = Position::default();
    reading.resources = reading.resources.into_iter().map(without_places).collect();
    for finding in &mut reading.findings {
        finding.origin = finding.origin.take().map(|origin| Origin::new(&origin.file, nowhere));
    }
    for (_, rule) in &mut reading.ignore {
        rule.origin = Origin::file(file);
    }
    // The envelope has told whose it is. Should the reader ever take it for another's, nothing of it counts.
    let strays = |resource: &Resource| {
        let renames = resource.id.kind.is(&organization::KIND).then_some(resource.previous_name.as_deref()).flatten();
        !binding.covers(&resource.id.organization) || renames.is_some_and(|name| !binding.covers(name))
    };
    if let Some(stray) = reading.resources.iter().find(|resource| strays(resource)) {
        let message = format!("the namespace `{namespace}` is not bound to what {} belongs to", stray.id);
        let finding = Finding::error(Code::NotBound, message).about(&stray.id);
        return FileReading::unreadable(file, finding);
    }
    reading
}

fn without_places(resource: Resource) -> Resource {
    let Resource { id, spec, origin, previous_name } = resource;
    let entry = |entry: &Entry| Entry { at: Position::default(), ..entry.clone() };
    let spec = Spec::new(spec.entries().iter().map(entry).collect());
    Resource { id, spec, origin: Origin::file(&origin.file), previous_name }
}

/// Eight bytes that differ when any of these parts does.
pub fn digest(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let bytes = hasher.finalize();
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
