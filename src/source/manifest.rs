//! Documents -> resources: the envelope, the spec along the kind's fields, and the children that stand inline.
//!
//! A document with any error yields nothing, and its organization is blocked: half an organization is never planned.

use std::sync::Arc;

use super::decode::{Reader, shown};
use super::slots::{self, Slot, Slots};
use super::yaml::{self, Document, Node, NodeValue};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName, name_fault};
use crate::model::kind::{API_VERSION, KINDS, Key, Kind, KindId, Scope};
use crate::model::kinds::organization::{AUTHORITATIVE, IGNORE};
use crate::model::origin::{Origin, Position};
use crate::model::resource::{Entry, Resource, ResourceId, Spec};
use crate::model::shape::Shape;
use crate::model::state::Ignore;
use crate::model::suggest::nearest;
use crate::model::value::Value;

/// The annotation that names what a resource was called before.
pub const PREVIOUS_NAME: &str = "argus.io/previous-name";

/// The longest name of a Kubernetes object, in characters.
const OBJECT_NAME_CHARS_MAX: usize = 253;

/// What one file says.
#[derive(Debug)]
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
    let parsed = yaml::parse(file, bytes);
    let mut reading = FileReading::empty(file);
    let mut lowering = Lowering { reader: Reader::new(file), reading: &mut reading, organization: None };
    for document in &parsed.documents {
        lowering.document(document);
    }
    let found = std::mem::take(&mut lowering.reader.findings);
    reading.findings = parsed.findings;
    reading.findings.extend(found);
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
        self.reader.subject = id.as_ref().map(ToString::to_string);
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
                self.reader.error(root.at, Code::UnknownVersion, "`apiVersion` is missing", hint);
                root.get("kind").and_then(Node::text).is_some_and(|name| Kind::named(name).is_some())
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

    /// Reads the fields of a mapping, and of the groups within it.
    fn fill<'n, 'a>(&mut self, kind: &'static Kind, slots: &Slots, node: &'n Node<'a>, draft: &mut Draft<'n, 'a>) {
        for (name, value) in node.pairs().unwrap_or_default() {
            match slots.get(name.text().unwrap_or_default()) {
                Some(Slot::Field(field)) => self.field(kind, *field, value, None, draft),
                Some(Slot::Singular(field)) => self.field(kind, *field, value, Some(name), draft),
                Some(Slot::Group(below)) if value.is_null() => {
                    for field in below.fields() {
                        self.field(kind, field, value, None, draft);
                    }
                }
                Some(Slot::Group(below)) => match value.pairs() {
                    Some(_) => self.fill(kind, below, value, draft),
                    None => {
                        let name = name.text().unwrap_or_default();
                        for field in below.fields() {
                            draft.named |= 1 << field;
                        }
                        let text = value.text().unwrap_or_default();
                        if !self.reader.is_secret(value, text, name) {
                            let message = format!("`{name}` is a mapping, and this is {}", value.what());
                            let names: Vec<&str> = below.names().collect();
                            let hint = format!("its fields are {}", names.join(", "));
                            self.reader.error(value.at, Code::WrongType, message, hint);
                        }
                    }
                },
                Some(Slot::Children(kind)) => draft.children.push((*kind, value)),
                Some(Slot::Key | Slot::Organization | Slot::PreviousName) => {}
                None => {
                    let names: Vec<&'static str> = slots.names().collect();
                    self.reader.unknown_field(name, value, kind.name, names.iter().copied());
                }
            }
        }
    }

    fn field<'n, 'a>(
        &mut self,
        kind: &'static Kind,
        number: u8,
        node: &'n Node<'a>,
        singular: Option<&Node<'_>>,
        draft: &mut Draft<'n, 'a>,
    ) {
        let field = &kind.fields[number as usize];
        if draft.named & (1 << number) != 0
            && let Some(singular) = field.singular
        {
            let message = format!("`{singular}` and `{}` say the same thing twice", field.path);
            self.reader.error(node.at, Code::FieldsDisagree, message, format!("keep `{}`", field.path));
            return;
        }
        draft.named |= 1 << number;
        let value = if node.is_null() {
            if field.required {
                let message = format!("`{}` must be given, and this is null", field.path);
                self.reader.error(node.at, Code::NullRequired, message, "write its value");
                return;
            }
            match field.shape {
                Shape::Set { .. } | Shape::List { .. } => Value::List([].into()),
                Shape::Map { .. } => Value::Map([].into()),
                _ => Value::Null,
            }
        } else {
            let value = match (singular, field.shape) {
                (Some(name), Shape::Set { item, .. }) => {
                    let path = name.text().unwrap_or(field.path);
                    self.reader.single(node, item, path).map(|item| Value::List([item].into()))
                }
                _ => self.reader.value(node, &field.shape, field.path),
            };
            let Some(value) = value else { return };
            value
        };
        if kind.scope == Scope::Root && matches!(field.path, AUTHORITATIVE | IGNORE) {
            draft.steering.push((field.path, node));
        }
        draft.entries.push(Entry { field: number, at: node.at, value });
    }

    fn required(&mut self, kind: &'static Kind, draft: &Draft<'_, '_>, at: Position) {
        for (number, field) in kind.fields.iter().enumerate() {
            if field.required && draft.named & (1 << number) == 0 {
                let message = format!("`{}` is missing in {}", field.path, kind.name);
                self.reader.error(at, Code::MissingField, message, format!("add `{}`: {}", field.path, field.about));
            }
        }
    }

    /// Takes the children of one kind that stand within their organization; that makes the collection authoritative.
    fn children(&mut self, organization: &OrganizationName, kind: KindId, node: &Node<'_>) {
        let plural = kind.get().plural;
        if kind.get().table.is_some() {
            self.reading.authoritative.push((organization.clone(), kind));
        }
        let items = match &node.value {
            NodeValue::Sequence(items) => items,
            _ if node.is_null() || node.pairs().is_some_and(<[_]>::is_empty) => return,
            _ => {
                let message = format!("`{plural}` is a list, and this is {}", node.what());
                let hint = format!("begin each item with `- {}:`", kind.get().key.field());
                self.reader.error(node.at, Code::WrongType, message, hint);
                return;
            }
        };
        for item in items {
            self.child(organization, kind, item);
        }
    }

    fn child(&mut self, organization: &OrganizationName, id: KindId, node: &Node<'_>) {
        let kind = id.get();
        let key = kind.key.field();
        self.reader.subject = None;
        if node.pairs().is_none() {
            let text = node.text().unwrap_or_default();
            if !self.reader.is_secret(node, text, kind.plural) {
                let message = format!("an item of `{}` is a mapping, and this is {}", kind.plural, node.what());
                self.reader.error(node.at, Code::WrongType, message, format!("begin it with `- {key}:`"));
            }
            return;
        }
        let name = match find(node, key) {
            Some((_, value)) => self.key(kind, value, key),
            None => {
                let message = format!("an item of `{}` lacks `{key}`", kind.plural);
                self.reader.error(node.at, Code::MissingField, message, format!("add `{key}:`"));
                None
            }
        };
        let resource = name.map(|name| ResourceId { organization: organization.clone(), kind: id, name });
        self.reader.subject = resource.as_ref().map(ToString::to_string);
        let previous_name = find(node, "previousName")
            .filter(|(_, value)| !value.is_null())
            .and_then(|(_, value)| self.key(kind, value, "previousName"));
        let mut draft = Draft::default();
        self.fill(kind, slots::inline(kind), node, &mut draft);
        self.required(kind, &draft, node.at);
        if let Some(id) = resource {
            let origin = Origin::new(self.reader.file, node.at);
            self.reading.resources.push(Resource { id, spec: Spec::new(draft.entries), origin, previous_name });
        }
    }

    /// Resolves what `spec.authoritative` and `spec.ignore` name.
    fn steer(&mut self, organization: &OrganizationName, steering: &[(&'static str, &Node<'_>)]) {
        for (path, node) in steering {
            let NodeValue::Sequence(items) = &node.value else { continue };
            for item in items {
                match *path {
                    AUTHORITATIVE => self.authoritative(organization, item),
                    _ => self.ignore(organization, item),
                }
            }
        }
    }

    fn authoritative(&mut self, organization: &OrganizationName, item: &Node<'_>) {
        let text = item.text().unwrap_or_default();
        let stored = || Kind::children().filter(|kind| kind.table.is_some());
        match stored().find(|kind| kind.plural == text) {
            Some(kind) => self.reading.authoritative.push((organization.clone(), KindId::of(kind))),
            None => {
                let meant = stored()
                    .find(|kind| kind.name == text)
                    .map(|kind| kind.plural)
                    .or_else(|| nearest(text, stored().map(|kind| kind.plural)));
                let hint = match meant {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => {
                        let plurals: Vec<&str> = stored().map(|kind| kind.plural).collect();
                        format!("the collections are {}", plurals.join(", "))
                    }
                };
                let message = format!("{} is no collection of an organization", shown(text));
                self.reader.error(item.at, Code::UnknownWord, message, hint);
            }
        }
    }

    fn ignore(&mut self, organization: &OrganizationName, item: &Node<'_>) {
        let Some(node) = item.get("kind") else { return };
        let text = node.text().unwrap_or_default();
        let kinds = || Kind::stored().filter(|kind| kind.scope != Scope::Global);
        let Some(kind) = kinds().find(|kind| kind.name == text) else {
            let hint = match nearest(text, kinds().map(|kind| kind.name)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("the kinds are {}", kinds().map(|kind| kind.name).collect::<Vec<_>>().join(", ")),
            };
            let message = format!("{} is no kind whose rows can be ignored", shown(text));
            self.reader.error(node.at, Code::UnknownWord, message, hint);
            return;
        };
        let mut fields = Vec::new();
        if let Some(Node { value: NodeValue::Sequence(paths), .. }) = given(Some(item), "fields") {
            for path in paths {
                let text = path.text().unwrap_or_default();
                if is_path(kind, text) {
                    fields.push(text.into());
                    continue;
                }
                let hint = match nearest(text, kind.fields.iter().map(|field| field.path)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => {
                        let paths: Vec<&str> = kind.stored_fields().map(|(_, field)| field.path).collect();
                        format!("the fields are {}", paths.join(", "))
                    }
                };
                let message = format!("{} is no field of {}", shown(text), kind.name);
                self.reader.error(path.at, Code::UnknownWord, message, hint);
            }
        }
        let name = given(Some(item), "name").and_then(Node::text).unwrap_or("*").into();
        let origin = Origin::new(self.reader.file, item.at);
        self.reading.ignore.push((organization.clone(), Ignore { kind: KindId::of(kind), name, fields, origin }));
    }
}

/// Whether a path names a stored field of a kind, a group of them, or a key of a free map.
fn is_path(kind: &'static Kind, path: &str) -> bool {
    kind.stored_fields().any(|(_, field)| {
        let below = |long: &str, short: &str| {
            long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
        };
        field.path == path || below(field.path, path) || (field.shape.is_map() && below(path, field.path))
    })
}
