//! Documents -> resources: the envelope, the spec along the kind's fields, and the children that stand inline.
//!
//! A document with any error yields nothing, and its organization is blocked: half an organization is never planned.

mod fields;
mod steering;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use super::decode::Reader;
use super::slots;
use super::yaml::{self, Document, Node};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName, name_fault};
use crate::model::kind::{API_VERSION, KINDS, Key, Kind, KindId, Scope};
use crate::model::origin::{Origin, Position};
use crate::model::resource::{Entry, Resource, ResourceId, Spec};
use crate::model::secret::shown;
use crate::model::shape::Shape;
use crate::model::state::Ignore;
use crate::model::suggest::nearest;
use crate::model::value::Value;

/// The annotation that names what a resource was called before.
pub const PREVIOUS_NAME: &str = "argus.io/previous-name";

/// The longest name of a Kubernetes object, in characters.
const OBJECT_NAME_CHARS_MAX: usize = 253;

/// What one file says.
#[derive(Clone, Debug)]
pub struct FileReading {
    /// The file.
    pub file: Arc<str>,
    /// Its resources, in the order of the file.
    pub resources: Vec<Resource>,
    /// The collections that it lists whole.
    pub authoritative: Vec<(OrganizationName, KindId)>,
    /// The rules that take something out of comparison.
    pub ignore: Vec<(OrganizationName, Ignore)>,
    /// The organizations of which it holds something that could not be understood.
    pub blocked: Vec<OrganizationName>,
    /// The resources in documents with errors, as far as they could be told.
    pub faulty: Vec<ResourceId>,
    /// Whether it holds something of which not even the organization could be told.
    pub unreadable: bool,
    /// What is wrong or worth knowing.
    pub findings: Vec<Finding>,
}

impl FileReading {
    /// The reading of a file that says nothing.
    pub fn empty(file: &Arc<str>) -> Self {
        FileReading {
            file: file.clone(),
            resources: Vec::new(),
            authoritative: Vec::new(),
            ignore: Vec::new(),
            blocked: Vec::new(),
            faulty: Vec::new(),
            unreadable: false,
            findings: Vec::new(),
        }
    }

    /// The reading of a file that cannot be read at all.
    pub fn unreadable(file: &Arc<str>, finding: Finding) -> Self {
        let finding = if finding.origin.is_some() { finding } else { finding.at(Origin::file(file)) };
        FileReading { unreadable: true, findings: vec![finding], ..FileReading::empty(file) }
    }
}

/// Reads one file.
pub fn read_file(file: &Arc<str>, bytes: &[u8]) -> FileReading {
    let bytes = match Path::new(&**file).extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) {
        true => yaml::joined_surrogates(bytes),
        false => Cow::Borrowed(bytes),
    };
    let parsed = yaml::parse(file, &bytes);
    let mut reading = FileReading::empty(file);
    let mut lowering = Lowering { reader: Reader::new(file), reading: &mut reading, organization: None };
    for document in &parsed.documents {
        lowering.document(document);
    }
    let found = std::mem::take(&mut lowering.reader.findings);
    let more = lowering.reader.errors - found.len();
    reading.findings = parsed.findings;
    reading.findings.extend(found);
    if more > 0 {
        let message = format!("{more} more errors of this file are not shown");
        reading.findings.push(Finding::note(Code::TooManyValues, message).at(Origin::file(file)));
    }
    reading.unreadable |= parsed.cut;
    if parsed.documents.is_empty() && !parsed.cut {
        reading.unreadable = true;
        if reading.findings.is_empty() {
            let finding = Finding::warning(Code::EmptyFile, "the file holds no document")
                .at(Origin::file(file))
                .hint("an empty file deletes nothing; delete the file itself if what it held shall go");
            reading.findings.push(finding);
        }
    }
    if reading.unreadable {
        // Nobody knows what else of these organizations stood in the part that could not be read.
        let read = reading.resources.iter().map(|resource| resource.id.organization.clone());
        reading.blocked.extend(read.collect::<Vec<_>>());
    }
    reading.blocked.sort();
    reading.blocked.dedup();
    reading.resources.shrink_to_fit();
    reading
}

/// What is being gathered for one resource.
#[derive(Default)]
struct Draft<'n, 'a> {
    entries: Vec<Entry>,
    /// The fields that were written, rightly or not, as bits.
    named: u64,
    /// The collections of children, with where each stands.
    children: Vec<(KindId, &'n Node<'a>)>,
    /// The fields that steer Argus, as they were written.
    steering: Vec<(&'static str, &'n Node<'a>)>,
}

struct Lowering<'r, 'f> {
    reader: Reader<'f>,
    reading: &'r mut FileReading,
    /// The organization that was named last, so that its neighbours share the name's memory.
    organization: Option<OrganizationName>,
}

/// The key and the value under a name.
fn find<'n, 'a>(node: &'n Node<'a>, name: &str) -> Option<(&'n Node<'a>, &'n Node<'a>)> {
    node.pairs()?.iter().find(|(key, _)| key.text() == Some(name)).map(|(key, value)| (key, value))
}

/// The value under a name, unless it is null.
fn given<'n, 'a>(node: Option<&'n Node<'a>>, name: &str) -> Option<&'n Node<'a>> {
    find(node?, name).map(|(_, value)| value).filter(|value| !value.is_null())
}

impl Lowering<'_, '_> {
    /// Takes what one document says, or nothing of it.
    fn document(&mut self, document: &Document<'_>) {
        let (errors, before) = (self.reader.errors, self.reading.resources.len());
        let (steered, ignored) = (self.reading.authoritative.len(), self.reading.ignore.len());
        self.reader.subject = None;
        let told = self.lower(&document.root);
        if self.reader.errors == errors && !document.faulty {
            return;
        }
        let good = self.reading.resources.drain(before..).map(|resource| resource.id);
        self.reading.faulty.extend(good);
        self.reading.authoritative.truncate(steered);
        self.reading.ignore.truncate(ignored);
        match told {
            Some(organization) => self.reading.blocked.push(organization),
            None => self.reading.unreadable = true,
        }
    }

    /// Lowers one document and gives its organization, as far as it can be told.
    fn lower(&mut self, root: &Node<'_>) -> Option<OrganizationName> {
        if root.pairs().is_none() {
            let message = format!("a manifest is a mapping, and this is {}", root.what());
            let hint = format!("begin with `apiVersion: {API_VERSION}`");
            self.reader.error(root.at, Code::NotAMapping, message, hint);
            return None;
        }
        let ours = self.version(root);
        let spec = given(Some(root), "spec");
        let metadata = given(Some(root), "metadata");
        let named_organization = given(spec, "organization")
            .and_then(Node::text)
            .filter(|name| name_fault(name).is_none())
            .map(|name| self.organization(name));
        if !ours {
            return named_organization;
        }
        self.reader.unknown_among(root, &["apiVersion", "kind", "metadata", "spec"], "a manifest");
        let Some(kind) = self.kind(root) else { return named_organization };
        self.metadata(metadata);
        let place = find(root, "spec").map_or(root.at, |(key, _)| key.at);
        if let Some(node) = spec
            && node.pairs().is_none()
        {
            let message = format!("`spec` is a mapping, and this is {}", node.what());
            self.reader.error(node.at, Code::WrongType, message, "indent its fields below it");
            return None;
        }
        let name = self.name(kind, root, metadata, spec, place);
        let organization = match kind.scope {
            Scope::Global => Some(self.organization(GLOBAL)),
            Scope::Root => name.as_ref().map(|name| self.organization(name)),
            Scope::Child => self.named_organization(kind, spec, place),
        };
        let id = match (&organization, &name) {
            (Some(organization), Some(name)) => {
                Some(ResourceId { organization: organization.clone(), kind: KindId::of(kind), name: name.clone() })
            }
            _ => None,
        };
        self.reader.subject.clone_from(&id);
        let previous_name = self.previous_name(kind, metadata);
        let mut draft = Draft::default();
        if let Some(spec) = spec {
            self.fill(kind, slots::document(kind), spec, &mut draft);
        }
        self.required(kind, &draft, place);
        if let Some(id) = id {
            let Draft { entries, children, steering, .. } = draft;
            let organization = id.organization.clone();
            let origin = Origin::new(self.reader.file, root.at);
            self.reading.resources.push(Resource { id, spec: Spec::new(entries), origin, previous_name });
            self.steer(&organization, &steering);
            for (kind, node) in children {
                self.children(&organization, kind, node);
            }
        }
        organization
    }

    /// Whether the document is one of ours.
    fn version(&mut self, root: &Node<'_>) -> bool {
        let hint = format!("write `apiVersion: {API_VERSION}`");
        match root.get("apiVersion") {
            Some(node) if node.text() == Some(API_VERSION) => true,
            Some(node) => {
                let text = node.text().unwrap_or_default();
                let message = match text.starts_with("argus.io/") {
                    true => format!("this Argus does not know the version {}", shown(text)),
                    false => format!("{} is no version of a manifest of Argus", shown(text)),
                };
                let hint = match text.starts_with("argus.io/") {
                    true => hint,
                    false => format!("{hint}, or keep other files out of the directory of manifests"),
                };
                self.reader.error(node.at, Code::UnknownVersion, message, hint);
                text.starts_with("argus.io/")
            }
            None => {
                let is_ours = root.get("kind").and_then(Node::text).is_some_and(|name| Kind::named(name).is_some());
                let hint = match is_ours {
                    true => hint,
                    false => format!("{hint}, or name the folders of manifests in `paths` of argus.yaml"),
                };
                self.reader.error(root.at, Code::UnknownVersion, "`apiVersion` is missing", hint);
                is_ours
            }
        }
    }

    fn kind(&mut self, root: &Node<'_>) -> Option<&'static Kind> {
        let names = || KINDS.iter().map(|kind| kind.name);
        let all = || format!("the kinds are {}", names().collect::<Vec<_>>().join(", "));
        let Some(node) = root.get("kind") else {
            self.reader.error(root.at, Code::UnknownKind, "`kind` is missing", all());
            return None;
        };
        let text = node.text().unwrap_or_default();
        let known = Kind::named(text);
        if known.is_none() {
            let hint = nearest(text, names()).map_or_else(all, |meant| format!("did you mean `{meant}`?"));
            self.reader.error(node.at, Code::UnknownKind, format!("unknown kind {}", shown(text)), hint);
        }
        known
    }

    fn metadata(&mut self, metadata: Option<&Node<'_>>) {
        let Some(metadata) = metadata else { return };
        if metadata.pairs().is_none() {
            let message = format!("`metadata` is a mapping, and this is {}", metadata.what());
            self.reader.error(metadata.at, Code::WrongType, message, "write `name:` below it");
            return;
        }
        self.reader.unknown_among(metadata, &["name", "namespace", "annotations", "labels"], "`metadata`");
        for group in ["annotations", "labels"] {
            let Some(node) = given(Some(metadata), group) else { continue };
            let Some(pairs) = node.pairs() else {
                let message = format!("`metadata.{group}` is a mapping, and this is {}", node.what());
                self.reader.error(node.at, Code::WrongType, message, "write one `name: value` per line below it");
                continue;
            };
            for (key, value) in pairs {
                let name = key.text().unwrap_or_default();
                if let Some(text) = value.text() {
                    self.reader.is_secret(value, text, name);
                }
                let meant = name.starts_with("argus.io/") && nearest(name, [PREVIOUS_NAME]).is_some();
                if group == "annotations" && meant && name != PREVIOUS_NAME {
                    let message = format!("unknown annotation {}", shown(name));
                    let hint = format!("did you mean `{PREVIOUS_NAME}`?");
                    self.reader.error(key.at, Code::UnknownField, message, hint);
                }
            }
        }
    }

    /// What identifies the resource: for a person `spec.user`, else `spec.name` or `metadata.name`.
    fn name(
        &mut self,
        kind: &'static Kind,
        root: &Node<'_>,
        metadata: Option<&Node<'_>>,
        spec: Option<&Node<'_>>,
        place: Position,
    ) -> Option<Arc<str>> {
        let object = given(metadata, "name");
        let own = spec.and_then(|spec| find(spec, kind.key.field())).map(|(_, value)| value);
        if (kind.key == Key::User || own.is_some())
            && let Some(node) = object
        {
            let text = node.text().unwrap_or_default();
            if text.is_empty() || text.len() > OBJECT_NAME_CHARS_MAX {
                let message = format!("`metadata.name` is text of 1 to {OBJECT_NAME_CHARS_MAX} characters");
                self.reader.error(node.at, Code::BadName, message, "give the object a short name");
            }
        }
        match (kind.key, own, object) {
            (_, Some(node), _) => self.key(kind, node, &format!("spec.{}", kind.key.field())),
            (Key::Name, None, Some(node)) => self.key(kind, node, "metadata.name"),
            (Key::Name, None, None) => {
                let at = find(root, "metadata").map_or(root.at, |(key, _)| key.at);
                self.reader.error(
                    at,
                    Code::MissingField,
                    "`metadata.name` is missing",
                    "add `name:` below `metadata:`",
                );
                None
            }
            (Key::User, None, _) => {
                let hint = "add the email address of the person, as in `user: ada@acme.example`";
                self.reader.error(place, Code::MissingField, "`spec.user` is missing", hint);
                None
            }
        }
    }

    fn key(&mut self, kind: &'static Kind, node: &Node<'_>, path: &str) -> Option<Arc<str>> {
        match self.reader.single(node, &kind.key.shape(), path)? {
            Value::Text(text) => Some(text.into()),
            _ => {
                let message = format!("`{path}` must be given, and this is null");
                self.reader.error(node.at, Code::NullRequired, message, "write its value");
                None
            }
        }
    }

    fn named_organization(
        &mut self,
        kind: &Kind,
        spec: Option<&Node<'_>>,
        place: Position,
    ) -> Option<OrganizationName> {
        let Some((_, node)) = spec.and_then(|spec| find(spec, "organization")) else {
            let message = format!("`spec.organization` is missing: a {} belongs to an organization", kind.name);
            self.reader.error(place, Code::MissingField, message, "add `organization:` and its name below `spec:`");
            return None;
        };
        match self.reader.single(node, &Shape::Name, "spec.organization")? {
            Value::Text(text) => Some(self.organization(&text)),
            _ => {
                let message = "`spec.organization` must be given, and this is null";
                self.reader.error(node.at, Code::NullRequired, message, "write the name of the organization");
                None
            }
        }
    }

    fn organization(&mut self, name: &str) -> OrganizationName {
        match &self.organization {
            Some(last) if **last == *name => last.clone(),
            _ => self.organization.insert(name.into()).clone(),
        }
    }

    fn previous_name(&mut self, kind: &'static Kind, metadata: Option<&Node<'_>>) -> Option<Arc<str>> {
        let node = given(given(metadata, "annotations"), PREVIOUS_NAME)?;
        self.key(kind, node, PREVIOUS_NAME)
    }
}
