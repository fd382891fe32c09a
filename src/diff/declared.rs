//! What is declared: each resource beside its row becomes a creation, an update, an adoption, or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Diff, blank, fields, renames};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::{Kind, KindId};
use crate::model::kinds;
use crate::model::origin::Origin;
use crate::model::resource::Resource;
use crate::model::shape::Shape;
use crate::model::state::{AppliedRow, LiveRow, LocalId};
use crate::model::time::parse_time;
use crate::model::value::Value;
use crate::plan::{Action, Cause, Change, FieldChange, Ownership, Record};

impl Diff<'_> {
    /// Compares every declared resource with its row.
    pub(super) fn declared(&mut self) {
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
            // The rename was carried out before: whatever has the old name now is something else.
            (true, true) if self.owns(local) && !self.owns(&previous) => local.clone(),
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
                written_by: None,
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
            self.drop_record(&(local.0, previous.clone()));
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
        // In the words of the row as it is: what was renamed has its old name again when this is undone.
        let kind = resource.kind();
        let undo = set.keys().filter_map(|path| Some((path.clone(), row.spec.value(kind.field_at(path)?)?.clone())));
        let undo = undo.collect();
        Change {
            version: Some(row.version),
            fields,
            set,
            undo,
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
                before: self.applied.rows.get(local).map(|own| Ownership::of(resource.kind(), own)),
            });
        }
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
}
