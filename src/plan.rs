//! A plan: the ordered changes of one run, the version of every row that it read, and why the rest was left alone.

mod beyond;
pub mod lineage;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::code::Code;
use crate::model::finding::{Finding, Severity};
use crate::model::id::OrganizationName;
use crate::model::kind::{Kind, KindId, Scope};
use crate::model::origin::Origin;
use crate::model::revision::{Authorship, Revision};
use crate::model::secret::{self, veil};
use crate::model::state::AppliedRow;
use crate::model::value::Value;
use lineage::Lineage;

/// The version of the plan's JSON. It grows when a reader of the old form would misread the new one.
pub const PLAN_FORMAT: u32 = 2;

/// What happens to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A row comes into being.
    Create,
    /// Fields of a row change.
    Update,
    /// A row that exists becomes managed; fields may change with it.
    Adopt,
    /// A row stays and is no longer managed.
    Release,
    /// A row goes.
    Delete,
}

/// Why something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Desired has moved.
    Change,
    /// Live has moved.
    Drift,
    /// Both have moved.
    Conflict,
}

/// Who wrote a row, as the audit tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attribution {
    /// The actor that the writer named, or the database role; `unattributed` where neither is known.
    pub actor: String,
    /// Through what: `argus`, an API, or the name of the application that spoke SQL.
    pub via: String,
    /// When, RFC 3339.
    pub at: String,
}

/// One differing field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// The path: `displayName`, `settings.theme`.
    pub path: String,
    /// What the row holds.
    pub before: Value,
    /// What it will hold.
    pub after: Value,
    /// What Argus wrote last, if it ever did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub applied: Option<Value>,
    /// Why it differs.
    pub cause: Cause,
    /// Where the desired value was written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<Origin>,
    /// Who wrote it there, where the source has a history.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub written_by: Option<Authorship>,
    /// Who moved live, where live has moved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub moved_by: Option<Attribution>,
}

/// What happens to one resource, in full: whoever carries it out has nothing left to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The kind.
    pub kind: KindId,
    /// The name (after a rename).
    #[schemars(with = "String")]
    pub name: Arc<str>,
    /// What happens.
    pub action: Action,
    /// Why.
    pub cause: Cause,
    /// Whether it is a row that nobody declared in a collection where all are declared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extra: bool,
    /// The name before, where the resource is renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub previous_name: Option<Arc<str>>,
    /// The version of the row that was read; none where there was no row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// The differing fields, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// The stored fields to write, whole, by path; null writes the field's empty value.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// What undoes it: what the row holds of the fields that are written, or of a row that goes everything that it
    /// holds. What comes needs nothing to be undone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undo: BTreeMap<String, Value>,
    /// Where the resource was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Who wrote it there, or took it away from there, where the source has a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<Authorship>,
    /// Who wrote the row that goes or came, where that is not Argus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_by: Option<Attribution>,
    /// Why, in words, where the cause does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the ownership record of one resource becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The kind.
    pub kind: KindId,
    /// The name.
    #[schemars(with = "String")]
    pub name: Arc<str>,
    /// The fields that the manifest names, by path; none drops the record.
    pub spec: Option<Value>,
    /// Where the manifest stands; none where the record is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What the record says now, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Ownership>,
}

/// What an ownership record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ownership {
    /// The fields that the manifest named, by path.
    pub spec: Value,
    /// Where the manifest stood.
    pub origin: Origin,
}

impl Ownership {
    /// What the record of a resource of this kind says.
    pub fn of(kind: &Kind, record: &AppliedRow) -> Ownership {
        Ownership { spec: record.spec.to_json(kind), origin: record.origin.clone() }
    }
}

/// What the guards count in one dimension, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// What is counted: `members`, `teamMembers`, `admins`, `roleGrants`, `apiKeys`, `budgets`, `owners`, `reverters`.
    pub dimension: String,
    /// Of which part: the name of a team; empty for the organization.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub part: String,
    /// How many there were.
    pub before: u64,
    /// How many of those go (or, for budgets, are cut).
    pub removed: u64,
    /// How many there will be.
    pub after: u64,
}

/// The plan of one organization; under the empty name that of what all share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrganizationPlan {
    /// The organization.
    #[schemars(with = "String")]
    pub organization: OrganizationName,
    /// The digest of the changes and of the versions that they stand on.
    pub digest: String,
    /// The changes, in the order in which they are carried out.
    pub changes: Vec<Change>,
    /// The ownership records that change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Record>,
    /// What the guards look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<Count>,
    /// The digest of what the source says, to be remembered when nothing is left to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settles: Option<String>,
    /// The digest of what the source says of the organization, wherever it stands; none where the plan comes from
    /// something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// The organization's version when its rows were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<i64>,
    /// Drift that is reported and not corrected, because the source's mode or the caller says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Change>,
    /// What was left alone and why, and what must be known before this is applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// The findings that hold this organization back until somebody approves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Finding>,
    /// Who has a part in it beside those of the whole plan, by all names, lower case: none of them approves it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub authors: BTreeSet<String>,
}

/// The plan of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The version of this form.
    pub format: u32,
    /// The source.
    pub source: String,
    /// The commit that it was made of, where the source has a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// How that commit stands to what was applied before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// The run that it takes back, if it is the plan of a rollback. It is not bound by the digest: the same changes need
    /// the same approvals, whoever thought of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<String>,
    /// What it goes beyond, where it only shows what a branch adds to what is due without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<Revision>,
    /// The digest of the digests of the organizations.
    pub digest: String,
    /// How many organizations the source describes.
    pub organizations_seen: usize,
    /// How many resources it describes.
    pub resources_seen: usize,
    /// Those with something to do or to tell, sorted by name.
    pub organizations: Vec<Arc<OrganizationPlan>>,
    /// What could not be planned, and other things worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// The SHA-256 of some bytes, in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What of a change is bound by the digest: what is written, on which version, and all that people and policies are told
/// of it. Where it was written and when somebody moved it is left out, so that a manifest that moves within its file voids
/// no approval.
///
/// What only tells is bound without what looks like a secret: a plan that is kept is kept without it.
#[derive(Serialize)]
struct Bound<'a> {
    kind: KindId,
    name: &'a str,
    action: Action,
    cause: Cause,
    extra: bool,
    previous_name: Option<&'a str>,
    version: Option<i64>,
    set: &'a BTreeMap<String, Value>,
    fields: Vec<BoundField<'a>>,
    undo: BTreeMap<&'a str, Value>,
    moved_by: Option<(&'a str, &'a str)>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct BoundField<'a> {
    path: Cow<'a, str>,
    before: Value,
    after: Value,
    applied: Option<Value>,
    cause: Cause,
    moved_by: Option<(&'a str, &'a str)>,
}

impl Attribution {
    /// When it was is left out.
    fn bound(&self) -> (&str, &str) {
        let Attribution { actor, via, at: _ } = self;
        (actor, via)
    }
}

impl FieldChange {
    fn bound(&self, kind: KindId) -> BoundField<'_> {
        let FieldChange { path, before, after, applied, cause, origin: _, written_by: _, moved_by } = self;
        let told = |value: &Value| veil::at(kind, path, value);
        BoundField {
            path: secret::mask(path),
            before: told(before),
            after: told(after),
            applied: applied.as_ref().map(told),
            cause: *cause,
            moved_by: moved_by.as_ref().map(Attribution::bound),
        }
    }
}

impl Record {
    /// Where the manifest stands is left out, as it is of changes.
    fn bound(&self) -> (KindId, &str, Option<&Value>, Option<Value>) {
        let Record { kind, name, spec, origin: _, before } = self;
        let before = before.as_ref().map(|Ownership { spec, origin: _ }| veil::without_secrets(spec));
        (*kind, name, spec.as_ref(), before)
    }
}

impl Change {
    fn bound(&self) -> Bound<'_> {
        // Named one by one: a new field must be a decision to bind it or not.
        let Change {
            kind,
            name,
            action,
            cause,
            extra,
            previous_name,
            version,
            fields,
            set,
            undo,
            origin: _,
            written_by: _,
            moved_by,
            reason,
        } = self;
        Bound {
            kind: *kind,
            name,
            action: *action,
            cause: *cause,
            extra: *extra,
            previous_name: previous_name.as_deref(),
            version: *version,
            set,
            fields: fields.iter().map(|field| field.bound(*kind)).collect(),
            undo: undo.iter().map(|(path, value)| (path.as_str(), veil::without_secrets(value))).collect(),
            moved_by: moved_by.as_ref().map(Attribution::bound),
            reason: reason.as_deref(),
        }
    }
}

/// What of a finding is bound: all but where it was written.
#[derive(Serialize)]
struct BoundFinding<'a> {
    severity: Severity,
    code: Code,
    rule: Option<&'a str>,
    subject: Option<&'a str>,
    message: Cow<'a, str>,
    hint: Option<Cow<'a, str>>,
}

fn bound_finding(finding: &Finding) -> BoundFinding<'_> {
    let Finding { severity, code, rule, subject, origin: _, message, hint } = finding;
    BoundFinding {
        severity: *severity,
        code: *code,
        rule: rule.as_deref(),
        subject: subject.as_deref(),
        message: secret::mask(message),
        hint: hint.as_deref().map(secret::mask),
    }
}

impl OrganizationPlan {
    /// The plan with its digest.
    pub fn sealed(mut self) -> Self {
        self.digest = self.compute_digest();
        self
    }

    /// The digest that the content asks for; one that differs from the field betrays a change.
    pub fn compute_digest(&self) -> String {
        let OrganizationPlan {
            organization,
            digest: _,
            changes,
            records,
            // What is counted depends on the hour and on rows that the plan does not touch: whoever judges a plan that
            // was saved counts again.
            counts: _,
            // These say how far the plan has looked, which every write to the organization moves.
            settles: _,
            read_at: _,
            said,
            // Nothing is done about it.
            left: _,
            findings,
            holds,
            // What else is in the history does not change what is approved.
            authors: _,
        } = self;
        let changes: Vec<Bound<'_>> = changes.iter().map(Change::bound).collect();
        let records: Vec<_> = records.iter().map(Record::bound).collect();
        // Notes tell what was left alone; they forbid nothing, and may tell of rows that the plan does not touch.
        let findings = findings.iter().filter(|finding| finding.severity != Severity::Note);
        let findings: Vec<_> = findings.map(bound_finding).collect();
        let holds: Vec<_> = holds.iter().map(bound_finding).collect();
        let bound = (PLAN_FORMAT, organization, changes, records, said, findings, holds);
        sha256_hex(serde_json::to_string(&bound).unwrap_or_default().as_bytes())
    }

    /// The plan of an organization of which nothing has moved, with what there is to tell all the same.
    pub fn unchanged(organization: &OrganizationName, findings: Vec<Finding>) -> Self {
        OrganizationPlan {
            organization: organization.clone(),
            digest: String::new(),
            changes: Vec::new(),
            records: Vec::new(),
            counts: Vec::new(),
            settles: None,
            said: None,
            read_at: None,
            left: Vec::new(),
            findings,
            holds: Vec::new(),
            authors: BTreeSet::new(),
        }
        .sealed()
    }

    /// Whether there is anything to carry out, to write down or to say.
    pub fn has_something_to_tell(&self) -> bool {
        !self.is_settled() || !self.findings.is_empty() || !self.holds.is_empty()
    }

    /// Whether there is nothing to carry out. Bookkeeping alone is no change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether nothing has to be written, not even bookkeeping.
    pub fn is_settled(&self) -> bool {
        self.changes.is_empty() && self.records.is_empty() && self.left.is_empty() && self.settles.is_none()
    }

    /// Whose it is: those who have a part in it, and those whose all of the run is.
    pub fn authors_among<'a>(&'a self, all: &'a BTreeSet<String>) -> Cow<'a, BTreeSet<String>> {
        match self.authors.is_empty() {
            true => Cow::Borrowed(all),
            false => Cow::Owned(all.union(&self.authors).cloned().collect()),
        }
    }

    /// The name that the organization itself has before this plan, if the plan gives it another.
    pub fn renamed_from(&self) -> Option<&str> {
        let root = self.changes.iter().find(|change| change.kind.get().scope == Scope::Root)?;
        root.previous_name.as_deref()
    }

    /// Whether an error forbids to carry it out.
    pub fn is_blocked(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }

    /// The findings that stay true while neither the manifests nor the rows move.
    pub fn lasting_findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| matches!(finding.code, Code::UnmanagedRows | Code::Ignored | Code::DoneDeclaration))
    }
}

/// How many resources come, change and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// How many come into being.
    pub add: usize,
    /// How many change, adopted and renamed ones among them.
    pub change: usize,
    /// How many go.
    pub destroy: usize,
    /// How many stay and are no longer managed.
    pub release: usize,
}

impl Plan {
    /// A plan of these organizations, sorted and sealed.
    pub fn new(
        source: &str,
        seen: (usize, usize),
        mut organizations: Vec<OrganizationPlan>,
        findings: Vec<Finding>,
    ) -> Self {
        organizations.sort_by(|a, b| a.organization.cmp(&b.organization));
        let plan = Plan {
            format: PLAN_FORMAT,
            source: source.into(),
            revision: None,
            lineage: None,
            beyond: None,
            rolls_back: None,
            digest: String::new(),
            organizations_seen: seen.0,
            resources_seen: seen.1,
            organizations: organizations.into_iter().map(Arc::new).collect(),
            findings,
        };
        Plan { digest: plan.compute_digest(), ..plan }
    }

    /// The digest of the digests of the organizations that change.
    pub fn compute_digest(&self) -> String {
        let changing = self.organizations.iter().filter(|plan| !plan.is_empty());
        let digests: Vec<(&str, &str)> = changing.map(|plan| (&*plan.organization, plan.digest.as_str())).collect();
        sha256_hex(serde_json::to_string(&(PLAN_FORMAT, &self.source, digests)).unwrap_or_default().as_bytes())
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.organizations.iter().all(|plan| plan.is_empty())
    }

    /// The same plan with nothing in it but drift. Carried out, it leaves the rest to the next pass.
    pub fn only_drift(&self) -> Plan {
        let only = |organization: &Arc<OrganizationPlan>| OrganizationPlan {
            changes: organization.changes.iter().filter(|change| change.drifted()).cloned().collect(),
            records: Vec::new(),
            settles: None,
            read_at: None,
            ..(**organization).clone()
        };
        let drifted = self.organizations.iter().filter(|organization| organization.drift().next().is_some());
        let seen = (self.organizations_seen, self.resources_seen);
        Plan::new(&self.source, seen, drifted.map(|each| only(each).sealed()).collect(), self.findings.clone())
    }

    /// Whether drift was found, corrected or not.
    pub fn has_drift(&self) -> bool {
        self.organizations.iter().any(|plan| plan.drift().next().is_some())
    }

    /// How much would change.
    pub fn summary(&self) -> Summary {
        Plan::count(self.organizations.iter().map(|plan| &**plan))
    }

    /// How much would change in these organizations.
    pub fn count<'a>(organizations: impl Iterator<Item = &'a OrganizationPlan>) -> Summary {
        let mut summary = Summary::default();
        for change in organizations.flat_map(|plan| &plan.changes) {
            match change.action {
                Action::Create => summary.add += 1,
                Action::Update | Action::Adopt => summary.change += 1,
                Action::Delete => summary.destroy += 1,
                Action::Release => summary.release += 1,
            }
        }
        summary
    }

    /// All findings: those of the run first, then those of each organization.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        let of_organizations = self.organizations.iter().flat_map(|plan| plan.findings.iter().chain(&plan.holds));
        self.findings.iter().chain(of_organizations)
    }
}

impl OrganizationPlan {
    /// The changes in which live has moved, to be corrected or left.
    pub fn drift(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().chain(&self.left).filter(|change| change.drifted())
    }
}

impl Change {
    /// Whether live has moved in it.
    pub fn drifted(&self) -> bool {
        self.cause != Cause::Change || self.fields.iter().any(|field| field.cause != Cause::Change)
    }
}
