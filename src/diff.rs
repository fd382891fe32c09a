//! Desired, Live and Applied of one organization become the changes that bring Live to Desired, each with its cause.
//!
//! Reads nothing and writes nothing: the three states come in whole, the plan goes out whole.

mod census;
mod declared;
mod fields;
mod gone;
mod renames;
pub mod rows;
mod targets;
mod undeclared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::kind::{KINDS, Kind, KindId};
use crate::model::kinds;
use crate::model::resource::{Resource, ResourceId};
use crate::model::state::{Applied, Desired, Live, LocalId};
pub use census::counts;

use crate::plan::{Action, Cause, Change, OrganizationPlan, Ownership, Record};

/// What the run says about how to compare.
#[derive(Clone)]
pub struct Rules<'a> {
    /// The source on whose behalf this happens; it owns what it applied.
    pub source: &'a str,
    /// Whether drift is corrected, or only reported.
    pub correct_drift: bool,
    /// When this happens.
    pub now: DateTime<Utc>,
    /// The tiers that exist and who uses them.
    pub tiers: &'a BTreeMap<Arc<str>, Vec<OrganizationName>>,
    /// The tiers that this source declares.
    pub declared_tiers: &'a BTreeSet<Arc<str>>,
    /// Whether a resource is among those that the run is limited to.
    pub targeted: &'a (dyn Fn(&ResourceId) -> bool + Sync),
}

/// Compares one organization.
pub fn organization(desired: &Desired, live: &Live, applied: &Applied, rules: &Rules<'_>) -> OrganizationPlan {
    let mut diff = Diff::new(desired, live, applied, rules);
    diff.declared();
    diff.no_longer_declared();
    diff.never_declared();
    diff.removals_done();
    diff.finish()
}

/// A declared removal and whether it found anything to remove.
struct Removal<'a> {
    resource: &'a Resource,
    release: bool,
    used: bool,
}

struct Diff<'a> {
    desired: &'a Desired,
    live: &'a Live,
    applied: &'a Applied,
    rules: &'a Rules<'a>,
    removals: BTreeMap<LocalId, Removal<'a>>,
    /// Rows that a declared resource has taken over under a new name.
    renamed_away: BTreeSet<LocalId>,
    /// Names as they are after the renames, for references that follow by themselves.
    renames: BTreeMap<LocalId, Arc<str>>,
    changes: Vec<Change>,
    left: Vec<Change>,
    records: Vec<Record>,
    findings: Vec<Finding>,
    holds: Vec<Finding>,
    ignored: BTreeMap<usize, u64>,
}

impl<'a> Diff<'a> {
    fn new(desired: &'a Desired, live: &'a Live, applied: &'a Applied, rules: &'a Rules<'a>) -> Self {
        let removals = desired.resources.iter().filter(|resource| resource.id.kind.is(&kinds::removal::KIND));
        let removals = removals.filter_map(|resource| {
            let kind = Kind::named(resource.text("target.kind")?)?;
            let id = (KindId::of(kind), Arc::from(resource.text("target.name")?));
            Some((id, Removal { resource, release: resource.text("mode") == Some("release"), used: false }))
        });
        let renames = desired.resources.iter().filter_map(|resource| {
            let previous = resource.previous_name.clone()?;
            Some(((resource.id.kind, previous), resource.id.name.clone()))
        });
        Diff {
            desired,
            live,
            applied,
            rules,
            removals: removals.collect(),
            renamed_away: BTreeSet::new(),
            renames: renames.collect(),
            changes: Vec::new(),
            left: Vec::new(),
            records: Vec::new(),
            findings: Vec::new(),
            holds: Vec::new(),
            ignored: BTreeMap::new(),
        }
    }

    fn id(&self, local: &LocalId) -> ResourceId {
        ResourceId { organization: self.desired.organization.clone(), kind: local.0, name: local.1.clone() }
    }

    fn drop_record(&mut self, local: &LocalId) {
        let before = self.applied.rows.get(local).map(|own| Ownership::of(local.0.get(), own));
        self.records.push(Record { kind: local.0, name: local.1.clone(), spec: None, origin: None, before });
    }

    fn owns(&self, local: &LocalId) -> bool {
        self.applied.rows.get(local).is_some_and(|own| *own.source == *self.rules.source)
    }

    fn foreign_owner(&self, local: &LocalId) -> Option<Arc<str>> {
        let own = self.applied.rows.get(local)?;
        (&*own.source != self.rules.source).then(|| own.source.clone())
    }

    /// The first rule that takes a field (or with an empty path the whole row) out of comparison.
    fn ignore_rule(&self, local: &LocalId, path: &str) -> Option<usize> {
        let covers = |field: &str| field == path || path.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'));
        self.desired.ignore.iter().position(|rule| {
            let fields = if path.is_empty() { rule.fields.is_empty() } else { rule.fields.iter().any(|f| covers(f)) };
            rule.kind == local.0 && fields && matches(&rule.name, &local.1)
        })
    }

    fn whole_row_ignored(&mut self, local: &LocalId) -> bool {
        let rule = self.ignore_rule(local, "");
        if let Some(rule) = rule {
            *self.ignored.entry(rule).or_default() += 1;
        }
        rule.is_some()
    }

    fn finish(mut self) -> OrganizationPlan {
        self.keep_targeted();
        gone::Unlink::new(self.desired, self.live, self.applied, self.rules.source, &self.changes)
            .extend(&mut self.changes, &mut self.findings);
        for (rule, count) in &self.ignored {
            let rule = &self.desired.ignore[*rule];
            let message = match rule.fields.is_empty() {
                true => format!("{count} {} left out of comparison by a rule", plural(rule.kind, *count)),
                false => {
                    let fields = if *count == 1 { "field" } else { "fields" };
                    format!("{count} differing {fields} of {} left out of comparison by a rule", rule.kind)
                }
            };
            let finding = Finding::note(Code::Ignored, message).about(&self.desired.organization);
            self.findings.push(finding.at(rule.origin.clone()));
        }
        renames::hold_lookalikes(self.desired, self.live, &self.changes, &mut self.holds);
        sort(&mut self.changes);
        sort(&mut self.left);
        self.records.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        // A rename drops the old record and writes the new one; where a name is taken over, the last word stays.
        self.records.dedup_by(|later, earlier| {
            let same = (later.kind, &later.name) == (earlier.kind, &earlier.name);
            if same && later.spec.is_some() {
                std::mem::swap(later, earlier);
            }
            same
        });
        let counts = counts(self.live, &self.changes, self.rules.now);
        OrganizationPlan {
            organization: self.desired.organization.clone(),
            digest: String::new(),
            changes: self.changes,
            records: self.records,
            counts,
            settles: None,
            said: None,
            read_at: None,
            left: self.left,
            findings: crate::model::finding::in_order(self.findings),
            holds: crate::model::finding::in_order(self.holds),
            authors: BTreeSet::new(),
        }
        .sealed()
    }
}

/// A change without anything in it.
pub fn blank(local: &LocalId, action: Action, cause: Cause) -> Change {
    Change {
        kind: local.0,
        name: local.1.clone(),
        action,
        cause,
        extra: false,
        previous_name: None,
        version: None,
        fields: Vec::new(),
        set: BTreeMap::new(),
        undo: BTreeMap::new(),
        origin: None,
        written_by: None,
        moved_by: None,
        reason: None,
    }
}

/// Renames first, because new rows may want to refer to the new name; then what comes and changes, in the order of
/// [`KINDS`], so that a reference finds its target; last what goes, in the reverse order, so that nothing refers to
/// it any more.
pub fn sort(changes: &mut [Change]) {
    changes.sort_by_key(|change| {
        let position =
            i32::try_from(KINDS.iter().position(|kind| change.kind.is(kind)).unwrap_or_default()).unwrap_or(0);
        let stage = match (change.action, &change.previous_name) {
            (Action::Delete | Action::Release, _) => 2,
            (_, Some(_)) => 0,
            (_, None) => 1,
        };
        let position = if stage == 2 { -position } else { position };
        (stage, position, change.name.clone())
    });
}

/// Whether a name fits a pattern in which `*` stands for any run of characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let head = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((tail, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(tail)
}

fn plural(kind: KindId, count: u64) -> String {
    match count {
        1 => kind.get().name.to_owned(),
        _ => kind.get().plural.to_owned(),
    }
}
