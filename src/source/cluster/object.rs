//! One custom resource, and what is kept of it: not the object, but what it says, and what is needed to answer it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::bound::BIND;
use super::settings::{Binding, DeletionPolicy};
use super::status::Status;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kind::{API_VERSION, Kind, KindId, Scope};
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
    /// When it was made.
    pub creation_timestamp: Option<String>,
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
    /// Whether nothing holds it back, of Argus or of others.
    pub free: bool,
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
    Read(Arc<FileReading>),
    /// Nothing that counts: its namespace is not bound to the organization. Nothing of it was read.
    Refused(Arc<Finding>),
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
    keep_anew(cluster, namespace, binding, kind, object, None)
}

/// Takes from an object what is to be kept, where this was kept of it before. If it says the same as then, it is not read
/// again: most of what is heard of objects is what Argus has written to them.
pub fn keep_anew(
    cluster: &str,
    namespace: &str,
    binding: &Binding,
    kind: KindId,
    object: Object,
    known: Option<Kept>,
) -> Kept {
    let Object { metadata, spec, status } = object;
    let organization = named_organization(kind.get(), &metadata, spec.as_ref());
    let policy = metadata.annotations.get(DELETION_POLICY);
    let document = document(kind.get(), &metadata, spec).to_string();
    let moves = digest(&[
        document.as_bytes(),
        metadata.uid.as_bytes(),
        metadata.deletion_timestamp.as_deref().unwrap_or_default().as_bytes(),
        metadata.annotations.get(REQUESTED_AT).map(String::as_bytes).unwrap_or_default(),
        policy.map(String::as_bytes).unwrap_or_default(),
    ]);
    let told = status.map(Status::from_json).unwrap_or_default().digest();
    let (generation, version) = (metadata.generation, metadata.version());
    let (held, free) = (metadata.is_held(), metadata.finalizers.is_empty());
    if let Some(known) = known.filter(|known| known.moves == moves && *known.uid == metadata.uid) {
        return Kept { generation, version, held, free, told, ..known };
    }
    let key: Key = (kind, metadata.name.as_str().into());
    let file = place(cluster, namespace, &key);
    let said = match refusal(kind.get(), namespace, binding, organization.as_deref(), &metadata) {
        Some(finding) => Said::Refused(Arc::new(finding.at(Origin::file(&file)))),
        None => {
            let mut reading = read(&file, &document, binding, namespace);
            if let Some(word) = policy.filter(|word| DeletionPolicy::named(word).is_none()) {
                let message = format!("`{DELETION_POLICY}` is `delete` or `orphan`, and not {}", shown(word));
                let finding = Finding::error(Code::UnknownWord, message).at(Origin::file(&file));
                reading.findings.push(finding.hint("correct the annotation, or remove it"));
                reading.blocked.extend(organization.clone());
            }
            Said::Read(Arc::new(reading))
        }
    };
    Kept {
        uid: metadata.uid.as_str().into(),
        generation,
        version,
        deleting: metadata.deletion_timestamp.is_some(),
        held,
        free,
        deletion: policy.and_then(|word| DeletionPolicy::named(word)),
        moves,
        told,
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
    let refused = |what: String| {
        let message = format!("the namespace `{namespace}` is not bound to {what}");
        Some(Finding::error(Code::NotBound, message).hint(BIND))
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
    let ours = metadata
        .annotations
        .iter()
        .filter(|(name, _)| name.starts_with(OURS) && ![REQUESTED_AT, DELETION_POLICY].contains(&name.as_str()));
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
    if let Some(stray) = reading.resources.iter().find(|resource| !binding.covers_all_of(resource)) {
        let message = format!("the namespace `{namespace}` is not bound to what {} belongs to", stray.id);
        let finding = Finding::error(Code::NotBound, message).about(&stray.id);
        return FileReading::unreadable(file, finding);
    }
    let elsewhere = reading.resources.iter().filter_map(|resource| binding.delivery_elsewhere(namespace, resource));
    let findings = elsewhere.map(|finding| finding.at(Origin::file(file)));
    let findings: Vec<Finding> = findings.collect();
    if !findings.is_empty() {
        reading.blocked.extend(reading.resources.iter().map(|resource| resource.id.organization.clone()).take(1));
        reading.findings.extend(findings);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &Kind, json: Json) -> Kept {
        let binding = Binding { organizations: vec!["acme".into(), "acme-*".into()], ..Binding::default() };
        let object = serde_json::from_value(json).expect("an object");
        let kind = Kind::named(kind.name).expect("a kind");
        keep("kubernetes", "team-a", &binding, KindId::of(kind), object)
    }

    fn kept(kind: &str, annotations: Json, spec: Json) -> Kept {
        let metadata = json!({
            "name": "acme", "uid": "1", "generation": 3, "resourceVersion": "42", "annotations": annotations,
            "finalizers": [FINALIZER], "managedFields": [{ "anything": "at all" }],
        });
        object(Kind::named(kind).expect("a kind"), json!({ "metadata": metadata, "spec": spec }))
    }

    fn codes(kept: &Kept) -> Vec<Code> {
        match &kept.said {
            Said::Read(reading) => reading.findings.iter().map(|finding| finding.code).collect(),
            Said::Refused(finding) => vec![finding.code],
        }
    }

    #[test]
    fn what_is_kept_says_what_the_object_said_and_where_but_no_line_of_it() {
        let kept = kept("Organization", json!({}), json!({ "displayName": "Acme", "teams": [{ "name": "core" }] }));
        let Said::Read(reading) = &kept.said else { panic!("{kept:?}") };
        let ids: Vec<String> = reading.resources.iter().map(|resource| resource.id.to_string()).collect();
        assert_eq!(ids, ["Organization/acme", "acme/Team/core"]);
        for resource in &reading.resources {
            assert_eq!(resource.origin.to_string(), "kubernetes/team-a/Organization/acme");
            assert!(resource.spec.entries().iter().all(|entry| entry.at == Position::default()));
        }
        assert_eq!((kept.version, kept.generation, kept.held, kept.deleting), (42, 3, true, false));
        let key = key_at("kubernetes", "team-a", "kubernetes/team-a/Organization/acme");
        assert_eq!(key, Some(kept.key));
        for other in ["kubernetes/team-b/Organization/acme", "other/team-a/Organization/acme", "acme.yaml", ""] {
            assert_eq!(key_at("kubernetes", "team-a", other), None, "{other}");
        }
    }

    #[test]
    fn nothing_is_read_of_what_reaches_for_another_organization() {
        let renames = |name: &str| json!({ PREVIOUS_NAME: name });
        for (kind, annotations, spec) in [
            ("Member", json!({}), json!({ "organization": "globex", "user": "not an address" })),
            ("Organization", json!({}), json!({ "name": "globex", "members": "not a list" })),
            ("Organization", renames("globex"), json!({ "members": "not a list" })),
            ("Removal", json!({}), json!({ "organization": "globex" })),
            ("Tier", json!({}), json!({ "limits": "not a mapping" })),
        ] {
            let kept = kept(kind, annotations, spec);
            // Had anything been read, its mistakes would be told.
            assert_eq!(codes(&kept), [Code::NotBound], "{kind}");
            assert!(matches!(kept.said, Said::Refused(_)));
        }
        assert_eq!(codes(&kept("Organization", renames("acme-old"), json!({}))), []);
    }

    #[test]
    fn a_key_is_delivered_into_its_own_namespace_alone() {
        let key = |namespace: &str| {
            let secret = json!({ "namespace": namespace, "name": "key", "key": "token" });
            let spec = json!({ "name": "bot", "organization": "acme", "owner": { "user": "a@acme.example" },
                "scopes": ["read"], "deliverTo": { "secret": secret } });
            kept("ApiKey", json!({}), spec)
        };
        assert_eq!(codes(&key("team-a")), []);
        let other = key("kube-system");
        assert_eq!(codes(&other), [Code::NotBound]);
        assert!(matches!(&other.said, Said::Read(reading) if reading.blocked == [Arc::from("acme")]), "{other:?}");
    }

    #[test]
    fn an_organization_moves_when_something_of_it_is_said_anew_and_not_when_its_status_is() {
        let moves = |annotations: Json, spec: Json| kept("Organization", annotations, spec).moves;
        let before = moves(json!({}), json!({ "displayName": "Acme" }));
        assert_eq!(moves(json!({ "example.com/seen": "now" }), json!({ "displayName": "Acme" })), before);
        assert_ne!(moves(json!({}), json!({ "displayName": "Acme Inc" })), before);
        assert_ne!(moves(json!({ REQUESTED_AT: "now" }), json!({ "displayName": "Acme" })), before);
        assert_ne!(moves(json!({ DELETION_POLICY: "orphan" }), json!({ "displayName": "Acme" })), before);
        assert_ne!(moves(json!({ PREVIOUS_NAME: "acme-old" }), json!({ "displayName": "Acme" })), before);
    }

    #[test]
    fn what_says_the_same_as_before_is_not_read_again_and_all_else_of_it_is_new() {
        let binding = Binding { organizations: vec!["acme".into()], ..Binding::default() };
        let again = |metadata: Json, spec: Json, known: &Kept| {
            let object = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).expect("an object");
            keep_anew("kubernetes", "team-a", &binding, known.key.0, object, Some(known.clone()))
        };
        let shares = |a: &Kept, b: &Kept| match (&a.said, &b.said) {
            (Said::Read(a), Said::Read(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        let first = kept("Organization", json!({}), json!({ "displayName": "Acme" }));
        let metadata = |uid: &str| json!({ "name": "acme", "uid": uid, "generation": 3, "resourceVersion": "43" });
        let same = again(metadata("1"), json!({ "displayName": "Acme" }), &first);
        assert!(shares(&same, &first) && same.moves == first.moves);
        assert_eq!((same.version, same.held, same.free, first.held, first.free), (43, false, true, true, false));
        for (uid, name) in [("1", "Acme Inc"), ("2", "Acme")] {
            let other = again(metadata(uid), json!({ "displayName": name }), &first);
            assert!(!shares(&other, &first) && *other.uid == *uid && other.moves != first.moves);
            let Said::Read(reading) = &other.said else { panic!("{other:?}") };
            assert_eq!(reading.resources[0].text("displayName"), Some(name));
        }
    }

    #[test]
    fn annotations_with_slips_are_told_and_block() {
        for annotations in [json!({ DELETION_POLICY: "orphaned" }), json!({ "argus.io/previous-nam": "acme-old" })] {
            let kept = kept("Organization", annotations, json!({}));
            let Said::Read(reading) = &kept.said else { panic!("{kept:?}") };
            assert_eq!(reading.blocked, [Arc::from("acme")], "{reading:?}");
        }
    }

    #[test]
    fn any_text_and_any_size_that_a_cluster_takes_comes_through_as_it_is() {
        let text = "a \"quoted\" \\ text: #x, [y] {z} - é 😀 'n' %s\ttab | > & * ! ? <<";
        let kept_ = kept("Organization", json!({}), json!({ "description": text }));
        let Said::Read(reading) = &kept_.said else { panic!("{kept_:?}") };
        assert_eq!(reading.resources[0].text("description"), Some(text), "{reading:?}");
        let members: Vec<Json> = (0..5_000)
            .map(|number| json!({ "user": format!("u{number}@acme.example"), "roles": ["member"], "status": "active" }))
            .collect();
        let kept_ = kept("Organization", json!({}), json!({ "members": members }));
        let Said::Read(reading) = &kept_.said else { panic!("{kept_:?}") };
        assert_eq!((reading.resources.len(), reading.findings.len()), (5_001, 0), "{:?}", reading.findings);
    }
}
