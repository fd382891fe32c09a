//! A resource: kind, organization, name and canonical spec, with where each of it was written.

use std::fmt;
use std::sync::Arc;

use super::id::{GLOBAL, OrganizationName};
use super::kind::{Kind, KindId};
use super::origin::{Origin, Position};
use super::value::Value;

/// One named field of a spec.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The number of the field in its kind.
    pub field: u8,
    /// Where it was written; unknown for rows.
    pub at: Position,
    /// Its canonical value; null says "empty it".
    pub value: Value,
}

/// The fields that somebody named, in the order of their kind. What is absent is unmanaged.
#[derive(Clone, Debug, Default)]
pub struct Spec(Box<[Entry]>);

impl Spec {
    /// A spec of these entries; of two for one field the later one wins.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.field);
        entries.dedup_by(|later, earlier| {
            let same = later.field == earlier.field;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Spec(entries.into())
    }

    /// A spec without positions.
    pub fn from_values(values: impl IntoIterator<Item = (u8, Value)>) -> Self {
        let entry = |(field, value)| Entry { field, at: Position::default(), value };
        Spec::new(values.into_iter().map(entry).collect())
    }

    /// A spec from JSON with dotted paths as keys, as [`Spec::to_json`] writes it. Fields that the kind no longer
    /// has are dropped.
    pub fn from_json(kind: &Kind, json: &Value) -> Self {
        let field = |(path, value): &(Box<str>, Value)| kind.field_at(path).map(|at| (at, value.clone()));
        Spec::from_values(json.pairs().iter().filter_map(field))
    }

    /// A flat map from dotted paths to values.
    pub fn to_json(&self, kind: &Kind) -> Value {
        Value::map(self.0.iter().map(|entry| (kind.fields[entry.field as usize].path, entry.value.clone())))
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The entry of a field.
    pub fn entry(&self, field: u8) -> Option<&Entry> {
        self.0.binary_search_by_key(&field, |entry| entry.field).ok().map(|at| &self.0[at])
    }

    /// The value of a field, if it is named.
    pub fn value(&self, field: u8) -> Option<&Value> {
        self.entry(field).map(|entry| &entry.value)
    }
}

impl PartialEq for Spec {
    /// Equal values; where they were written does not count.
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(a, b)| a.field == b.field && a.value == b.value)
    }
}

impl Eq for Spec {}

/// What identifies a resource everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// The organization, empty for what is shared by all.
    pub organization: OrganizationName,
    /// The kind.
    pub kind: KindId,
    /// The name; a member's is the email address.
    pub name: Arc<str>,
}

impl fmt::Display for ResourceId {
    /// `acme/Member/ada@acme.example`, `Organization/acme`, `Tier/team`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.get().scope {
            super::kind::Scope::Child => write!(f, "{}/{}/{}", self.organization, self.kind, self.name),
            _ => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// One resource as a source describes it.
#[derive(Clone, Debug)]
pub struct Resource {
    /// What it is.
    pub id: ResourceId,
    /// The fields that the manifest names.
    pub spec: Spec,
    /// Where it begins.
    pub origin: Origin,
    /// The name that it had before (`argus.io/previous-name`).
    pub previous_name: Option<Arc<str>>,
}

impl Resource {
    /// Its kind.
    pub fn kind(&self) -> &'static Kind {
        self.id.kind.get()
    }

    /// The value of a field, if it is named.
    pub fn value(&self, path: &str) -> Option<&Value> {
        self.spec.value(self.kind().field_at(path)?)
    }

    /// The text of a field, if it is named and one.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.value(path).and_then(Value::as_text)
    }

    /// Where a field was written, or else the resource.
    pub fn origin_of(&self, path: &str) -> Origin {
        let entry = self.kind().field_at(path).and_then(|field| self.spec.entry(field));
        match entry {
            Some(entry) if entry.at.line > 0 => Origin::new(&self.origin.file, entry.at),
            _ => self.origin.clone(),
        }
    }

    /// Whether it is shared by all organizations.
    pub fn is_global(&self) -> bool {
        &*self.id.organization == GLOBAL
    }
}
