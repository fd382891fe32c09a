//! Desired, Live and Applied: what a source says, what PostgreSQL holds, what Argus wrote last. Three types, never
//! mixed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::finding::Finding;
use super::id::OrganizationName;
use super::kind::KindId;
use super::origin::Origin;
use super::resource::{Resource, ResourceId, Spec};

/// The key of a resource within its organization.
pub type LocalId = (KindId, Arc<str>);

/// What a source says of one organization (or, under the empty name, of what all share).
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The organization.
    pub organization: OrganizationName,
    /// Its resources, sorted by kind and name, each identity once.
    pub resources: Vec<Resource>,
    /// The collections whose members are exactly the declared ones.
    pub authoritative: BTreeSet<KindId>,
    /// What is taken out of comparison.
    pub ignore: Vec<Ignore>,
}

impl Desired {
    /// The resource of this identity.
    pub fn get(&self, id: &LocalId) -> Option<&Resource> {
        let key = |resource: &Resource| (resource.id.kind, resource.id.name.clone());
        self.resources.binary_search_by(|resource| key(resource).cmp(id)).ok().map(|at| &self.resources[at])
    }
}

/// Everything that a source says, and what could not be understood.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// By organization; what all share stands under the empty name, first.
    pub organizations: BTreeMap<OrganizationName, Desired>,
    /// Organizations that must stay as they are, because part of what describes them could not be read.
    pub blocked: BTreeSet<OrganizationName>,
    /// Files that hold no readable resource although they exist: whatever they held before must stay.
    pub unreadable_files: BTreeSet<Arc<str>>,
    /// Resources that stand in a document with errors: they are declared, and nothing more is known of them.
    pub faulty: BTreeSet<ResourceId>,
    /// What is wrong or worth knowing.
    pub findings: Vec<Finding>,
    /// How many files there are.
    pub files: usize,
    /// Organizations whose manifests are as they were when they were last found settled, and so were not read again.
    pub unread: BTreeMap<OrganizationName, Unread>,
}

/// What is known of an organization whose manifests were not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The digest of what they say.
    pub said: String,
    /// The digest of where they say it.
    pub places: String,
    /// How many resources they describe.
    pub resources: usize,
}

impl World {
    /// Whether the source describes this organization.
    pub fn describes(&self, organization: &str) -> bool {
        self.organizations.contains_key(organization) || self.unread.contains_key(organization)
    }
}

/// A rule that takes fields or whole rows out of comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignore {
    /// The kind.
    pub kind: KindId,
    /// The names: `*` stands for any run of characters.
    pub name: Box<str>,
    /// The fields; none means the whole row.
    pub fields: Vec<Box<str>>,
    /// Where the rule was written.
    pub origin: Origin,
}

/// One row of PostgreSQL.
#[derive(Clone, Debug)]
pub struct LiveRow {
    /// The version of the organization when the row was last written.
    pub version: i64,
    /// Every stored field of the kind.
    pub spec: Spec,
}

/// The rows of one organization.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// By kind and name. Built-in roles are not among them.
    pub rows: BTreeMap<LocalId, LiveRow>,
}

/// What Argus wrote last for one resource.
#[derive(Clone, Debug)]
pub struct AppliedRow {
    /// The source that owns it.
    pub source: Arc<str>,
    /// The fields that its manifest named.
    pub spec: Spec,
    /// Where its manifest stood.
    pub origin: Origin,
}

/// The ownership records of one organization.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// By kind and name.
    pub rows: BTreeMap<LocalId, AppliedRow>,
}
