//! Rolling back: what undoes a run becomes a plan like any other, which is judged and applied like any other.
//!
//! A row goes back only from where the run has left it. What somebody has written since is refused, and with it all of
//! its organization, so that nothing is half undone.

pub mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::diff;
use crate::diff::rows::{self, Rows};
use crate::model::code::Code;
use crate::model::finding::{Finding, in_order};
use crate::model::id::OrganizationName;
use crate::model::kind::{Kind, KindId, Scope};
use crate::model::kinds;
use crate::model::resource::{ResourceId, Spec};
use crate::model::shape::{Field, Shape};
use crate::model::state::{Applied, Live, LiveRow, LocalId};
use crate::model::value::Value;
use crate::plan::{Action, Attribution, Cause, Change, FieldChange, OrganizationPlan, Ownership, Record};
use undo::{Recorded, Undo, Undone};

/// So many obstacles of one organization are told one by one.
const OBSTACLES_TOLD_MAX: usize = 50;

/// So many rows that come back anew are named one by one.
const NAMES_TOLD_MAX: usize = 10;

/// What rolling back one organization stands on.
pub struct Ground<'a> {
    /// The organization, under the name that its rows have now.
    pub organization: &'a OrganizationName,
    /// The source on whose behalf the run was.
    pub source: &'a str,
    /// What undoes the run.
    pub undo: &'a Undo,
    /// The version that the run has left.
    pub version: i64,
    /// What was rolled back in the organization since, in order.
    pub since: &'a [Since],
    /// The rows.
    pub live: &'a Live,
    /// The ownership records.
    pub applied: &'a Applied,
    /// The present moment.
    pub now: DateTime<Utc>,
    /// Whether a resource is among those that are to be rolled back.
    pub targeted: &'a (dyn Fn(&ResourceId) -> bool + Sync),
}

/// A run that rolled back another one in the organization.
#[derive(Clone, Debug)]
pub struct Since {
    /// The run.
    pub run: String,
    /// The version that it has left.
    pub version: i64,
    /// Whether it takes back the run that is to be rolled back; or brings it back, being a rollback of such a one.
    pub takes_back: Option<bool>,
    /// What it wrote itself.
    pub wrote: Undo,
    /// What undid the run that it rolled back.
    pub of: Option<Undo>,
}

/// What is in the way of rolling back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The row.
    pub row: LocalId,
    /// What is the matter with it, behind its name.
    pub what: String,
    /// Whether whoever wrote it last is to be named.
    pub written: bool,
}

/// What came of turning a run around.
#[derive(Clone, Debug)]
pub struct Inverse {
    /// The plan that undoes it. Of no use where something is in the way.
    pub plan: OrganizationPlan,
    /// What is in the way.
    pub obstacles: Vec<Obstacle>,
    /// The runs that have rolled back some of it already.
    pub done_by: BTreeSet<String>,
}

/// Turns around what a run did to an organization.
pub fn invert(ground: &Ground<'_>) -> Inverse {
    let mut inversion = Inversion {
        ground,
        written: ground.since.iter().map(|since| since.wrote.written()).collect(),
        before: ground.since.iter().map(|since| since.of.as_ref().map(Undo::written).unwrap_or_default()).collect(),
        changes: Vec::new(),
        obstacles: Vec::new(),
        anew: BTreeMap::new(),
        done_by: BTreeSet::new(),
    };
    let mut meant: BTreeSet<LocalId> = BTreeSet::new();
    let mut skipped: BTreeSet<LocalId> = BTreeSet::new();
    for undone in ground.undo.entries() {
        let names = [undone.local(), undone.local_before()];
        let turned = inversion.is_meant(&names) && !inversion.is_done(&undone);
        if turned {
            inversion.turn(&undone);
        }
        if turned { &mut meant } else { &mut skipped }.extend(names);
    }
    let records = inversion.records(&meant, &skipped);
    inversion.finish(records)
}

/// The plan of an organization that cannot be rolled back: it changes nothing, and says what is in the way.
pub fn refused(inverse: &Inverse, writers: &BTreeMap<LocalId, Attribution>) -> OrganizationPlan {
    let organization = &inverse.plan.organization;
    let told = inverse.obstacles.iter().take(OBSTACLES_TOLD_MAX).map(|obstacle| {
        let Obstacle { row, what, written } = obstacle;
        let id = ResourceId { organization: organization.clone(), kind: row.0, name: row.1.clone() };
        let by = writers.get(row).filter(|_| *written);
        let by = by.map(|by| format!(", by {} via {} at {}", by.actor, by.via, by.at)).unwrap_or_default();
        Finding::error(Code::CannotRollBack, format!("{id} {what}{by}"))
            .about(&id)
            .hint("nothing of this organization is rolled back; change the manifests instead")
    });
    let mut findings: Vec<Finding> = told.collect();
    let more = inverse.obstacles.len().saturating_sub(OBSTACLES_TOLD_MAX);
    if more > 0 {
        findings.push(Finding::error(Code::CannotRollBack, format!("{more} more are in the way")).about(organization));
    }
    OrganizationPlan::unchanged(organization, in_order(findings))
}

struct Inversion<'a> {
    ground: &'a Ground<'a>,
    /// For each rollback since, the rows that it wrote.
    written: Vec<BTreeMap<LocalId, Option<i64>>>,
    /// For each rollback since, the versions that rows had before the run that it rolled back.
    before: Vec<BTreeMap<LocalId, Option<i64>>>,
    changes: Vec<Change>,
    obstacles: Vec<Obstacle>,
    /// What comes back under a new id.
    anew: BTreeMap<KindId, Vec<Arc<str>>>,
    done_by: BTreeSet<String>,
}

impl Inversion<'_> {
    fn id(&self, (kind, name): &LocalId) -> ResourceId {
        ResourceId { organization: self.ground.organization.clone(), kind: *kind, name: name.clone() }
    }

    fn is_meant(&self, names: &[LocalId]) -> bool {
        names.iter().any(|local| (self.ground.targeted)(&self.id(local)))
    }

    /// Whether this was rolled back before, and not brought back since.
    fn is_done(&mut self, undone: &Undone) -> bool {
        let local = undone.local();
        let mut last = None;
        for (since, written) in self.ground.since.iter().zip(&self.written) {
            if let Some(takes_back) = since.takes_back.filter(|_| written.contains_key(&local)) {
                last = Some(since.run.clone()).filter(|_| takes_back);
            }
        }
        let done = last.is_some();
        self.done_by.extend(last);
        done
    }

    /// The version that a row would have if nothing had been rolled back since: rolling back leaves it as it was.
    fn own_version(&self, local: &LocalId, mut version: i64) -> i64 {
        let rollback = |version: i64| self.ground.since.iter().position(|since| since.version == version);
        while let Some(at) = rollback(version) {
            match self.before[at].get(local) {
                Some(Some(before)) if *before < version => version = *before,
                _ => break,
            }
        }
        version
    }

    fn in_the_way(&mut self, row: LocalId, what: impl Into<String>, written: bool) {
        self.obstacles.push(Obstacle { row, what: what.into(), written });
    }

    /// The row as the run has left it; none, and an obstacle, where it is not.
    fn left_row(&mut self, undone: &Undone) -> Option<LiveRow> {
        let local = undone.local();
        let Some(row) = self.ground.live.rows.get(&local) else {
            self.in_the_way(local, "is gone since the run", true);
            return None;
        };
        let version = self.own_version(&local, row.version);
        // What a run did not have to write has kept the version from before.
        if version != self.ground.version && Some(version) != undone.version {
            self.in_the_way(local, "was written since the run", true);
            return None;
        }
        Some(row.clone())
    }

    fn is_free(&mut self, local: LocalId) -> bool {
        let free = !self.ground.live.rows.contains_key(&local);
        if !free {
            self.in_the_way(local, "has come since the run", true);
        }
        free
    }

    /// Turns one change around.
    fn turn(&mut self, undone: &Undone) {
        let (local, old) = (undone.local(), undone.local_before());
        let kind = undone.kind.get();
        match undone.action {
            Action::Create => {
                let Some(row) = self.left_row(undone) else { return };
                self.changes.push(Change {
                    version: Some(row.version),
                    undo: rows::whole(kind, &row.spec),
                    reason: Some("it came with the run".into()),
                    ..diff::blank(&local, Action::Delete, Cause::Change)
                });
            }
            Action::Delete => {
                if self.is_free(local.clone()) {
                    self.anew.entry(undone.kind).or_default().push(undone.name.clone());
                    self.changes.push(Change {
                        fields: fields(kind, None, &undone.undo),
                        set: undone.undo.clone(),
                        reason: Some("it went with the run".into()),
                        ..diff::blank(&local, Action::Create, Cause::Change)
                    });
                }
            }
            Action::Release => {
                let Some(row) = self.left_row(undone) else { return };
                self.changes
                    .push(Change { version: Some(row.version), ..diff::blank(&local, Action::Adopt, Cause::Change) });
            }
            Action::Update | Action::Adopt => {
                let Some(row) = self.left_row(undone) else { return };
                let renamed = undone.previous_name.is_some();
                if renamed && !self.is_free(old.clone()) {
                    return;
                }
                let held = |path: &str| kind.field_at(path).and_then(|field| row.spec.value(field)).cloned();
                let differing = undone.undo.iter().filter(|(path, value)| held(path).as_ref() != Some(*value));
                let set: BTreeMap<String, Value> =
                    differing.map(|(path, value)| (path.clone(), value.clone())).collect();
                let action = match undone.action {
                    Action::Adopt if set.is_empty() && !renamed => Action::Release,
                    _ => Action::Update,
                };
                if action == Action::Update && set.is_empty() && !renamed {
                    return;
                }
                self.changes.push(Change {
                    version: Some(row.version),
                    previous_name: renamed.then(|| undone.name.clone()),
                    fields: fields(kind, Some(&row.spec), &set),
                    undo: set.keys().map(|path| (path.clone(), held(path).unwrap_or_default())).collect(),
                    set,
                    ..diff::blank(&old, action, Cause::Change)
                });
            }
        }
    }

    /// The ownership records as they were.
    fn records(&mut self, meant: &BTreeSet<LocalId>, skipped: &BTreeSet<LocalId>) -> Vec<Record> {
        let mut records = Vec::new();
        for Recorded { kind, name, before } in self.ground.undo.records() {
            let local = (kind, name.clone());
            let alone = !skipped.contains(&local) && self.is_meant(std::slice::from_ref(&local));
            if !meant.contains(&local) && !alone {
                continue;
            }
            let own = self.ground.applied.rows.get(&local);
            if let Some(owner) = own.map(|own| own.source.clone()).filter(|owner| **owner != *self.ground.source) {
                self.in_the_way(local, format!("belongs to the source `{owner}` by now"), false);
                continue;
            }
            let now = own.map(|own| Ownership::of(kind.get(), own));
            if now == before {
                continue;
            }
            let (spec, origin) = before.map(|Ownership { spec, origin }| (spec, origin)).unzip();
            records.push(Record { kind, name, spec, origin, before: now });
        }
        records
    }

    fn finish(mut self, mut records: Vec<Record>) -> Inverse {
        diff::sort(&mut self.changes);
        records.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let before = rows::before(self.ground.live, &self.changes);
        let after = rows::after(&before, &self.changes);
        self.leaves_nothing_behind();
        self.names_nothing_that_goes(&after);
        let counts = diff::counts(self.ground.live, &self.changes, self.ground.now);
        let (holds, findings) = (self.holds(), self.comes_anew());
        let Inversion { ground, changes, mut obstacles, done_by, .. } = self;
        obstacles.sort_by(|a, b| (&a.row, &a.what).cmp(&(&b.row, &b.what)));
        obstacles.dedup();
        let root = changes.iter().find(|change| change.kind.get().scope == Scope::Root);
        let renamed = root.filter(|root| root.previous_name.is_some()).map(|root| root.name.clone());
        let organization = renamed.unwrap_or_else(|| ground.organization.clone());
        let plan = OrganizationPlan {
            changes,
            records,
            counts,
            holds,
            ..OrganizationPlan::unchanged(&organization, findings)
        };
        Inverse { plan: plan.sealed(), obstacles, done_by }
    }

    /// An organization that goes takes all of its rows along, so that there must be none but those that came with it.
    fn leaves_nothing_behind(&mut self) {
        let goes = |change: &Change| change.action == Action::Delete;
        if !self.changes.iter().any(|change| goes(change) && change.kind.get().scope == Scope::Root) {
            return;
        }
        let gone: BTreeSet<LocalId> =
            self.changes.iter().filter(|c| goes(c)).map(|change| (change.kind, change.name.clone())).collect();
        let left: Vec<LocalId> = self.ground.live.rows.keys().filter(|row| !gone.contains(*row)).cloned().collect();
        for row in left {
            self.in_the_way(row, "would be left without its organization", true);
        }
    }

    /// No row that stays, and none that comes back, may name what is not there afterwards.
    fn names_nothing_that_goes(&mut self, after: &Rows) {
        let touched: BTreeSet<(KindId, &str)> =
            self.changes.iter().map(|change| (change.kind, &*change.name)).collect();
        let exists = |kind: &'static Kind, name: &str| {
            let row = after.get(&KindId::of(kind)).is_some_and(|of_kind| of_kind.contains_key(name));
            row || (std::ptr::eq(kind, &kinds::role::KIND) && kinds::role::built_in(name).is_some())
        };
        let mut dangling = Vec::new();
        for (kind, of_kind) in after {
            for (name, spec) in of_kind {
                for (path, target, named) in references(kind.get(), spec) {
                    // What all share stands elsewhere.
                    if target.scope != Scope::Global && !exists(target, named) {
                        let ours = touched.contains(&(*kind, name.as_str()));
                        let what = match ours {
                            true => format!("names {} `{named}` in `{path}`, which is gone since the run", target.name),
                            false => format!("names {} `{named}` in `{path}`, which would go", target.name),
                        };
                        dangling.push(((*kind, Arc::from(name.as_str())), what, !ours));
                    }
                }
            }
        }
        for (row, what, written) in dangling {
            self.in_the_way(row, what, written);
        }
    }

    /// What is protected does not go without a word.
    fn holds(&self) -> Vec<Finding> {
        let goes = |change: &&Change| change.action == Action::Delete;
        let root = self.changes.iter().filter(goes).any(|change| change.kind.get().scope == Scope::Root);
        let protected = self.changes.iter().filter(goes).filter(|change| {
            let kind = change.kind.get();
            // What goes with its organization is held with it, once.
            kind.protected && (!root || kind.scope == Scope::Root)
        });
        let hold = |change: &Change| {
            let id = self.id(&(change.kind, change.name.clone()));
            let message = format!("rolling back deletes {id}, which is protected");
            Finding::warning(Code::Protected, message)
                .about(&id)
                .hint("let somebody approve this, or roll back with --force, which the history remembers")
        };
        in_order(protected.map(hold).collect())
    }

    /// What comes back is written anew: what hung on the old row and no manifest tells of does not come back.
    fn comes_anew(&self) -> Vec<Finding> {
        let one = |(kind, names): (&KindId, &Vec<Arc<str>>)| {
            let shown: Vec<String> = names.iter().take(NAMES_TOLD_MAX).map(|name| format!("`{name}`")).collect();
            let more = names.len().saturating_sub(NAMES_TOLD_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let (verb, id) = if names.len() == 1 { ("comes", "a new id") } else { ("come", "new ids") };
            let message = format!("{kind} {}{more} {verb} back with {id}", shown.join(", "));
            let lost = match () {
                () if kind.is(&kinds::api_key::KIND) => "the old keys stay worthless: new ones have to be issued",
                () if kind.is(&kinds::member::KIND) => "people whom the platform does not know are invited again",
                () => "what was bound to the old id from outside is not bound to the new one",
            };
            Finding::warning(Code::ComesAnew, message).about(self.ground.organization).hint(lost)
        };
        self.anew.iter().map(one).collect()
    }
}

/// The fields that a change writes, for people: of a map those keys that differ.
fn fields(kind: &'static Kind, live: Option<&Spec>, set: &BTreeMap<String, Value>) -> Vec<FieldChange> {
    let one = |path: String, before: Value, after: Value| FieldChange {
        path,
        before,
        after,
        applied: None,
        cause: Cause::Change,
        origin: None,
        written_by: None,
        moved_by: None,
    };
    let mut fields = Vec::new();
    for (path, after) in set {
        let Some(field) = kind.field(path) else { continue };
        let before = live.and_then(|live| live.value(kind.field_at(path)?)).cloned().unwrap_or_default();
        if !field.shape.is_map() {
            fields.push(one(path.clone(), before, after.clone()));
            continue;
        }
        let keys: BTreeSet<&str> = before.pairs().iter().chain(after.pairs()).map(|(key, _)| &**key).collect();
        for key in keys {
            let value = |map: &Value| map.get(key).cloned().unwrap_or_default();
            if before.get(key) != after.get(key) {
                fields.push(one(format!("{path}.{key}"), value(&before), value(after)));
            }
        }
    }
    fields
}

/// What a row refers to: the path of the field, the kind, and the name.
fn references<'s>(kind: &'static Kind, spec: &'s Spec) -> Vec<(&'static str, &'static Kind, &'s str)> {
    let target = |field: &Field| field.refers.and_then(Kind::named);
    let mut found = Vec::new();
    for (number, field) in kind.stored_fields() {
        let Some(value) = spec.value(number) else { continue };
        match field.shape {
            Shape::List { fields, .. } => {
                for inner in fields {
                    let Some(target) = target(inner) else { continue };
                    let names = value.items().iter().filter_map(|item| item.get(inner.path)?.as_text());
                    found.extend(names.map(|name| (field.path, target, name)));
                }
            }
            Shape::Set { .. } => {
                let names = value.items().iter().filter_map(Value::as_text);
                found.extend(
                    target(field).into_iter().flat_map(|target| names.clone().map(move |n| (field.path, target, n))),
                );
            }
            _ => found.extend(target(field).zip(value.as_text()).map(|(target, name)| (field.path, target, name))),
        }
    }
    found
}
