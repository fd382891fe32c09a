//! Desired, Live and Applied of one organization become the changes that bring Live to Desired, each with its cause.
//!
//! Reads nothing and writes nothing: the three states come in whole, the plan goes out whole.

mod census;
mod fields;
mod gone;
mod renames;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::kind::{KINDS, Kind, KindId, Scope};
use crate::model::kinds;
use crate::model::origin::Origin;
use crate::model::resource::{Resource, ResourceId};
use crate::model::shape::Shape;
use crate::model::state::{Applied, AppliedRow, Desired, Live, LiveRow, LocalId};
use crate::model::time::parse_time;
use crate::model::value::Value;
use crate::plan::{Action, Cause, Change, FieldChange, OrganizationPlan, Record};

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

    /// Compares every declared resource with its row.
    fn declared(&mut self) {
        let desired = self.desired;
        for resource in desired.resources.iter().filter(|resource| resource.kind().table.is_some()) {
            let local: LocalId = (resource.id.kind, resource.id.name.clone());
            if let Some(owner) = self.foreign_owner(&local) {
                let finding =
                    Finding::error(Code::OwnedElsewhere, format!("the source `{owner}` owns {}", resource.id))
                        .hint("remove it here, or release it there first (a Removal with `mode: release`)");
                self.findings.push(finding.about(&resource.id).at(resource.origin.clone()));
                continue;
            }
            if self.whole_row_ignored(&local) {
                continue;
            }
            self.tier_exists(resource);
            let row_id = self.row_of(resource, &local);
            match self.live.rows.get(&row_id) {
                None => self.create(resource, &local),
                Some(row) => self.update(resource, &local, &row_id, row),
            }
        }
    }

    /// The name under which the row of a resource stands now: its previous one, where it is renamed.
    fn row_of(&mut self, resource: &Resource, local: &LocalId) -> LocalId {
        let Some(previous) = &resource.previous_name else { return local.clone() };
        let previous: LocalId = (local.0, previous.clone());
        match (self.live.rows.contains_key(&previous), self.live.rows.contains_key(local)) {
            (true, false) if self.foreign_owner(&previous).is_none() => {
                self.renamed_away.insert(previous.clone());
                previous
            }
            (true, _) => {
                let message = format!("{} cannot be renamed from `{}`: both exist", resource.id, previous.1);
                let finding = Finding::error(Code::RenameConflict, message)
                    .hint("remove one of the two first, or take `argus.io/previous-name` away");
                self.findings.push(finding.about(&resource.id).at(resource.origin.clone()));
                self.renamed_away.insert(previous);
                local.clone()
            }
            (false, _) => {
                if self.live.rows.contains_key(local) {
                    let message =
                        format!("`{}` has been renamed already; its previous name may be deleted", resource.id);
                    let finding = Finding::note(Code::DoneDeclaration, message);
                    self.findings.push(finding.about(&resource.id).at(resource.origin.clone()));
                }
                local.clone()
            }
        }
    }

    fn tier_exists(&mut self, resource: &Resource) {
        let Some(tier) = resource.id.kind.is(&kinds::organization::KIND).then(|| resource.text("tier")).flatten()
        else {
            return;
        };
        if self.rules.tiers.contains_key(tier) || self.rules.declared_tiers.contains(tier) {
            return;
        }
        let finding = Finding::error(Code::DanglingReference, format!("there is no tier `{tier}`"))
            .hint("declare the Tier in this source, or choose one that exists (`argus get tiers`)");
        self.findings.push(finding.about(&resource.id).at(resource.origin_of("tier")));
    }

    fn create(&mut self, resource: &Resource, local: &LocalId) {
        let kind = resource.kind();
        let gone = self.applied.rows.contains_key(local);
        let cause = if gone { Cause::Drift } else { Cause::Change };
        let stored = resource.spec.entries().iter().filter(|entry| fields::is_stored(kind, entry.field));
        let fields: Vec<FieldChange> = stored
            .clone()
            .map(|entry| FieldChange {
                path: kind.fields[entry.field as usize].path.into(),
                before: Value::Null,
                after: fields::target(kind, entry.field, &entry.value),
                applied: None,
                cause,
                origin: Some(Origin::new(&resource.origin.file, entry.at)).filter(|origin| origin.line > 0),
                moved_by: None,
            })
            .collect();
        let set = fields.iter().map(|field| (field.path.clone(), field.after.clone())).collect();
        let change = Change {
            fields,
            set,
            origin: Some(resource.origin.clone()),
            reason: gone.then(|| "the row is gone, and Argus has not deleted it".to_owned()),
            ..blank(local, Action::Create, cause)
        };
        if gone && !self.rules.correct_drift {
            self.left.push(change);
            return;
        }
        if !gone {
            self.expired_at_birth(resource);
        }
        self.changes.push(change);
        self.record(resource, local, None);
    }

    /// Something new that has ended already is a slip of the pen.
    fn expired_at_birth(&mut self, resource: &Resource) {
        for entry in resource.spec.entries() {
            let field = &resource.kind().fields[entry.field as usize];
            let end = matches!(field.shape, Shape::Time).then(|| entry.value.as_text()).flatten();
            if end.and_then(|end| parse_time(end).ok()).is_some_and(|end| end <= self.rules.now) {
                let message = format!("{} would come into being after its end", resource.id);
                let finding = Finding::error(Code::InThePast, message)
                    .hint("give a moment that is still to come, or leave the field out");
                self.findings.push(finding.about(&resource.id).at(resource.origin_of(field.path)));
            }
        }
    }

    fn update(&mut self, resource: &Resource, local: &LocalId, row_id: &LocalId, row: &LiveRow) {
        let kind = resource.kind();
        let own = self.applied.rows.get(row_id);
        let compared = fields::compare(
            kind,
            &fields::Sides { desired: resource, live: &row.spec, applied: own.map(|row| &row.spec) },
            &|path| self.ignore_rule(local, path),
            &|field, value| self.follow_renames(kind, field, value),
        );
        for rule in compared.ignored {
            *self.ignored.entry(rule).or_default() += 1;
        }
        for (path, message) in compared.kept {
            let finding = Finding::note(Code::KeptField, message).hint("name the field again to manage it");
            self.findings.push(finding.about(format!("{} {path}", resource.id)).at(resource.origin.clone()));
        }
        for path in compared.fixed {
            let message = format!("`{path}` of {} cannot change once it exists", resource.id);
            let finding = Finding::error(Code::FixedField, message).hint("declare it under a new name instead");
            self.findings.push(finding.about(&resource.id).at(resource.origin_of(&path)));
        }
        let (left, now): (Vec<_>, Vec<_>) = compared
            .differing
            .into_iter()
            .partition(|field| field.change.cause == Cause::Drift && !self.rules.correct_drift);
        if !left.is_empty() {
            self.left.push(self.updating(resource, local, row, left, Action::Update));
        }
        let renamed = (row_id != local).then(|| row_id.1.clone());
        if let Some(previous) = &renamed {
            self.records.push(Record { kind: local.0, name: previous.clone(), spec: None, origin: None });
        }
        if own.is_none() || renamed.is_some() || !now.is_empty() {
            let action = if own.is_none() { Action::Adopt } else { Action::Update };
            let mut change = self.updating(resource, local, row, now, action);
            change.previous_name = renamed;
            self.changes.push(change);
        }
        self.record(resource, local, own);
    }

    fn updating(
        &self,
        resource: &Resource,
        local: &LocalId,
        row: &LiveRow,
        fields: Vec<fields::Differing>,
        action: Action,
    ) -> Change {
        let mut set = BTreeMap::new();
        for field in &fields {
            set.insert(field.field.path.to_owned(), field.whole.clone());
        }
        // Keys of one map arrive one by one; the column is written once, with all that this change may write.
        for (path, value) in fields::merged_maps(resource.kind(), &row.spec, &fields) {
            set.insert(path.to_owned(), value);
        }
        let fields: Vec<FieldChange> = fields.into_iter().map(|field| field.change).collect();
        let cause = fields::summary(&fields);
        Change {
            version: Some(row.version),
            fields,
            set,
            origin: Some(resource.origin.clone()),
            ..blank(local, action, cause)
        }
    }

    /// Keeps the ownership record in step with the manifest, and leaves it alone where it is already.
    fn record(&mut self, resource: &Resource, local: &LocalId, own: Option<&AppliedRow>) {
        let same = own.is_some_and(|own| own.spec == resource.spec && own.origin.file == resource.origin.file);
        let same = same && self.applied.rows.contains_key(local);
        if !same {
            self.records.push(Record {
                kind: local.0,
                name: local.1.clone(),
                spec: Some(resource.spec.to_json(resource.kind())),
                origin: Some(resource.origin.clone()),
            });
        }
    }

    /// What this source applied once and no longer declares.
    fn no_longer_declared(&mut self) {
        let applied = self.applied;
        let organization_goes = self.organization_goes();
        for (local, own) in applied.rows.iter().filter(|(_, own)| &*own.source == self.rules.source) {
            if self.desired.get(local).is_some() || self.renamed_away.contains(local) {
                continue;
            }
            let Some(row) = self.live.rows.get(local) else {
                self.drop_record(local);
                self.removal_of(local);
                continue;
            };
            if self.whole_row_ignored(local) {
                continue;
            }
            if self.tier_in_use(local, own) {
                continue;
            }
            let removal = self.removal_of(local);
            let said = removal.is_some();
            // What goes with its organization is held with it, once.
            let with_organization = organization_goes.clone().filter(|_| local.0.get().scope != Scope::Root);
            let (release, reason) = match removal.or(with_organization) {
                Some((release, reason)) => (release, reason),
                None => (false, format!("no longer declared in {}", own.origin.file)),
            };
            if local.0.get().protected && !said && (organization_goes.is_none() || local.0.get().scope == Scope::Root) {
                self.hold_protected(local, own);
            }
            let action = if release { Action::Release } else { Action::Delete };
            let change = Change {
                version: Some(row.version),
                reason: Some(reason),
                origin: Some(own.origin.clone()),
                ..blank(local, action, Cause::Change)
            };
            self.changes.push(change);
            self.drop_record(local);
        }
    }

    /// Whether the organization itself goes: whether it is only released, and why its parts go with it.
    fn organization_goes(&self) -> Option<(bool, String)> {
        let root: LocalId = (KindId::of(&kinds::organization::KIND), self.desired.organization.clone());
        if self.desired.get(&root).is_some() || !self.live.rows.contains_key(&root) {
            return None;
        }
        self.applied.rows.get(&root).filter(|own| &*own.source == self.rules.source)?;
        if self.desired.resources.iter().any(|resource| resource.previous_name.as_ref() == Some(&root.1)) {
            return None;
        }
        let removal = self.removals.get(&root);
        let release = removal.is_some_and(|removal| removal.release);
        Some((release, "goes with its organization".to_owned()))
    }

    fn hold_protected(&mut self, local: &LocalId, own: &AppliedRow) {
        let id = self.id(local);
        let message = format!("{id} is no longer declared, and absence alone does not delete a protected resource");
        let finding = Finding::warning(Code::Protected, message)
            .about(&id)
            .at(own.origin.clone())
            .hint("declare a Removal that names it, or put its manifest back");
        self.holds.push(finding);
    }

    fn tier_in_use(&mut self, local: &LocalId, own: &AppliedRow) -> bool {
        if !local.0.is(&kinds::tier::KIND) {
            return false;
        }
        let users = self.rules.tiers.get(&*local.1).into_iter().flatten();
        let users: Vec<&str> = users.map(|name| &**name).take(5).collect();
        if users.is_empty() {
            return false;
        }
        let message = format!("the tier `{}` is in use and stays: {}", local.1, users.join(", "));
        let finding = Finding::warning(Code::TierInUse, message)
            .about(self.id(local))
            .at(own.origin.clone())
            .hint("move its organizations to another tier; it goes with the next run after that");
        self.findings.push(finding);
        true
    }

    /// Rows that no source declares: extra where all are declared, unmanaged elsewhere.
    fn never_declared(&mut self) {
        let live = self.live;
        let organization_goes = self.organization_goes();
        let mut unmanaged: BTreeMap<KindId, u64> = BTreeMap::new();
        for (local, row) in &live.rows {
            let declared = self.desired.get(local).is_some() || self.renamed_away.contains(local);
            if declared || self.applied.rows.contains_key(local) {
                continue;
            }
            if self.whole_row_ignored(local) {
                continue;
            }
            let delete = |cause, extra, reason: &str| Change {
                version: Some(row.version),
                extra,
                reason: Some(reason.to_owned()),
                ..blank(local, Action::Delete, cause)
            };
            if let Some((release, why)) = &organization_goes {
                if !release {
                    self.changes.push(delete(Cause::Change, false, why));
                }
            } else if let Some((release, reason)) = self.removal_of(local) {
                if !release {
                    self.changes.push(delete(Cause::Change, false, &reason));
                }
            } else if self.desired.authoritative.contains(&local.0) {
                let mut change = delete(Cause::Drift, true, "not declared, and all of its kind are");
                change.fields = fields::held(local.0.get(), &row.spec);
                if self.rules.correct_drift {
                    self.changes.push(change);
                } else {
                    self.left.push(change);
                }
            } else if local.0.get().scope == Scope::Child {
                *unmanaged.entry(local.0).or_default() += 1;
            }
        }
        for (kind, count) in unmanaged {
            let message = format!("{count} unmanaged {} left alone", plural(kind, count));
            let finding = Finding::note(Code::UnmanagedRows, message).about(&self.desired.organization);
            let hint =
                format!("declare them, or list `{}` in `spec.authoritative` to have them removed", kind.get().plural);
            self.findings.push(finding.hint(hint));
        }
    }

    /// The removal of a row, if one is declared: whether it releases, and why.
    fn removal_of(&mut self, local: &LocalId) -> Option<(bool, String)> {
        let removal = self.removals.get_mut(local)?;
        if !self.live.rows.contains_key(local) {
            return None;
        }
        removal.used = true;
        Some((removal.release, removal.resource.text("reason").unwrap_or_default().to_owned()))
    }

    fn removals_done(&mut self) {
        for ((kind, name), removal) in &self.removals {
            let managed = self.applied.rows.contains_key(&(*kind, name.clone()));
            let released = removal.release && !managed;
            if !removal.used || released {
                let message = format!("the removal of {kind} `{name}` is done and may be deleted");
                let finding = Finding::note(Code::DoneDeclaration, message).about(&removal.resource.id);
                self.findings.push(finding.at(removal.resource.origin.clone()));
            }
        }
    }

    fn drop_record(&mut self, local: &LocalId) {
        self.records.push(Record { kind: local.0, name: local.1.clone(), spec: None, origin: None });
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

    /// A reference to something that is renamed follows by itself in the database; that is no difference.
    fn follow_renames(&self, kind: &'static Kind, field: u8, live: &Value) -> Option<Value> {
        if self.renames.is_empty() {
            return None;
        }
        renames::follow(kind, field, live, &|kind, name| {
            let local = (KindId::of(Kind::named(kind)?), Arc::from(name));
            self.renamed_away_or_will_be(&local).then(|| self.renames.get(&local).cloned()).flatten()
        })
    }

    fn renamed_away_or_will_be(&self, local: &LocalId) -> bool {
        let target = self.renames.get(local).map(|name| (local.0, name.clone()));
        let free = target.is_some_and(|target| !self.live.rows.contains_key(&target));
        free && self.live.rows.contains_key(local)
    }

    /// Drops what the run is not about. A rename is about both of its names.
    fn keep_targeted(&mut self) {
        let organization = self.desired.organization.clone();
        let targeted = self.rules.targeted;
        let meant = |kind: KindId, name: &Arc<str>| {
            targeted(&ResourceId { organization: organization.clone(), kind, name: name.clone() })
        };
        let renames = &self.renames;
        self.changes.retain(|change| meant(change.kind, &change.name));
        self.left.retain(|change| meant(change.kind, &change.name));
        self.records.retain(|record| {
            let renamed = renames.get(&(record.kind, record.name.clone()));
            meant(record.kind, &record.name) || renamed.is_some_and(|name| meant(record.kind, name))
        });
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
        let counts = census::counts(self.live, &self.changes);
        OrganizationPlan {
            organization: self.desired.organization.clone(),
            digest: String::new(),
            changes: self.changes,
            records: self.records,
            counts,
            settles: None,
            read_at: None,
            left: self.left,
            findings: crate::model::finding::in_order(self.findings),
            holds: crate::model::finding::in_order(self.holds),
        }
        .sealed()
    }
}

/// A change without anything in it.
fn blank(local: &LocalId, action: Action, cause: Cause) -> Change {
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
        origin: None,
        moved_by: None,
        reason: None,
    }
}

/// Renames first, because new rows may want to refer to the new name; then what comes and changes, in the order of
/// [`KINDS`], so that a reference finds its target; last what goes, in the reverse order, so that nothing refers to
/// it any more.
fn sort(changes: &mut [Change]) {
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
