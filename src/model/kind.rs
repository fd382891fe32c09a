//! What a kind is, and the registry of all of them.

use std::fmt;

use super::finding::Fault;
use super::kinds;
use super::resource::Resource;
use super::rule::Rule;
use super::shape::{Field, Shape};

/// Every kind, in the order in which they are created; they are deleted in the reverse order.
///
/// A kind stands behind what it refers to: a member needs its role, a key its service account.
pub static KINDS: &[&Kind] = &[
    &kinds::tier::KIND,
    &kinds::organization::KIND,
    &kinds::role::KIND,
    &kinds::member::KIND,
    &kinds::team::KIND,
    &kinds::project::KIND,
    &kinds::service_account::KIND,
    &kinds::api_key::KIND,
    &kinds::notification_channel::KIND,
    &kinds::notification_rule::KIND,
    &kinds::budget::KIND,
    &kinds::removal::KIND,
];

/// The version of manifests that this Argus reads.
pub const API_VERSION: &str = "argus.io/v1alpha1";

/// Whose a kind's resources are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Shared by all organizations.
    Global,
    /// The organization itself.
    Root,
    /// Part of one organization.
    Child,
}

/// What identifies a resource among those of its kind and organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Its name: `metadata.name`, or `spec.name` where Kubernetes needs another object name.
    Name,
    /// The email address in `spec.user`.
    User,
}

impl Key {
    /// The field that carries it in a spec.
    pub fn field(self) -> &'static str {
        match self {
            Key::Name => "name",
            Key::User => "user",
        }
    }

    /// The column that carries it.
    pub fn column(self) -> &'static str {
        match self {
            Key::Name => "name",
            Key::User => "email",
        }
    }

    /// Its form.
    pub fn shape(self) -> Shape {
        match self {
            Key::Name => Shape::Name,
            Key::User => Shape::Email,
        }
    }
}

/// Everything that Argus knows about one type of resource.
#[derive(Debug)]
pub struct Kind {
    /// `ServiceAccount`.
    pub name: &'static str,
    /// `serviceAccounts`: the field of an Organization that lists them, and their name in commands.
    pub plural: &'static str,
    /// Short names for the command line, as `kubectl` has them.
    pub short_names: &'static [&'static str],
    /// One sentence for schema and documentation.
    pub about: &'static str,
    /// Whose they are.
    pub scope: Scope,
    /// What identifies one.
    pub key: Key,
    /// The table of its rows; a declaration that is no state has none.
    pub table: Option<&'static str>,
    /// Its fields, in the order in which they are written out.
    pub fields: &'static [Field],
    /// Whether losing one from the manifests is not enough to delete it.
    pub protected: bool,
    /// The fields of single values that `kubectl get` shows at first glance.
    pub columns: &'static [&'static str],
    /// The part of `check` that an API server of Kubernetes sees to by itself.
    pub rules: &'static [Rule],
    /// What its fields must fulfil together.
    pub check: fn(&Resource, &mut Vec<Fault>),
    /// A document of this kind that shows every field; contract tests apply it.
    pub example: &'static str,
}

impl Kind {
    /// The kind of this name, in the exact case.
    pub fn named(name: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.name == name).copied()
    }

    /// The kind that a person means on the command line: name, plural or short name in any case.
    pub fn meant_by(word: &str) -> Option<&'static Kind> {
        let same = |name: &str| name.eq_ignore_ascii_case(word);
        KINDS
            .iter()
            .find(|kind| same(kind.name) || same(kind.plural) || kind.short_names.iter().any(|name| same(name)))
            .copied()
    }

    /// The number of a field in [`Kind::fields`].
    pub fn field_at(&self, path: &str) -> Option<u8> {
        self.fields.iter().position(|field| field.path == path).map(|at| at as u8)
    }

    /// The field of this path.
    pub fn field(&self, path: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.path == path)
    }

    /// The fields that are state, with their numbers.
    pub fn stored_fields(&self) -> impl Iterator<Item = (u8, &'static Field)> {
        let fields: &'static [Field] = self.fields;
        (0_u8..).zip(fields).filter(|(_, field)| field.column != super::shape::Column::None)
    }

    /// The kinds that have rows, in order.
    pub fn stored() -> impl DoubleEndedIterator<Item = &'static Kind> {
        KINDS.iter().copied().filter(|kind| kind.table.is_some())
    }

    /// The kinds that stand inline in an Organization, in order.
    pub fn children() -> impl Iterator<Item = &'static Kind> {
        KINDS.iter().copied().filter(|kind| kind.scope == Scope::Child)
    }
}

/// A kind as a small number that sorts in creation order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(u8);

impl KindId {
    /// The number of a kind of the registry.
    pub fn of(kind: &'static Kind) -> KindId {
        let at = KINDS.iter().position(|known| std::ptr::eq(*known, kind));
        KindId(at.expect("a kind stands in KINDS") as u8)
    }

    /// The kind.
    pub fn get(self) -> &'static Kind {
        KINDS[self.0 as usize]
    }

    /// Whether it is this kind.
    pub fn is(self, kind: &'static Kind) -> bool {
        std::ptr::eq(self.get(), kind)
    }
}

impl fmt::Debug for KindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get().name)
    }
}

impl fmt::Display for KindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get().name)
    }
}

impl serde::Serialize for KindId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.get().name)
    }
}

impl<'de> serde::Deserialize<'de> for KindId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let kind = Kind::named(&name);
        kind.map(KindId::of).ok_or_else(|| serde::de::Error::custom(format!("unknown kind `{name}`")))
    }
}

impl schemars::JsonSchema for KindId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Kind".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        schemars::json_schema!({ "type": "string", "enum": names })
    }
}
