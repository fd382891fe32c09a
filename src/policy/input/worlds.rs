//! The states of one organization that its input document tells of.

use std::borrow::Cow;

use super::resources::{Resources, View};
use super::{ChangePart, FieldPart};
use crate::diff::rows::{self, Rows};
use crate::model::kind::KindId;
use crate::model::kinds;
use crate::model::origin::Origin;
use crate::model::resource::Spec;
use crate::model::secret::veil;
use crate::model::state::{Applied, Live};
use crate::plan::{Action, Change, OrganizationPlan, Record};

/// The rows as they are and as they would be, and what the manifests say.
#[derive(Debug)]
pub struct Worlds<'a> {
    /// The plan that leads from the one to the other.
    pub plan: &'a OrganizationPlan,
    live: &'a Live,
    applied: &'a Applied,
    /// The rows as they are, under the names that they would have.
    pub before: Rows,
    /// The rows as they would be.
    pub after: Rows,
}

impl<'a> Worlds<'a> {
    /// What a plan makes of these rows.
    pub fn new(plan: &'a OrganizationPlan, live: &'a Live, applied: &'a Applied) -> Worlds<'a> {
        let before = rows::before(live, &plan.changes);
        let after = rows::after(&before, &plan.changes);
        Worlds { plan, live, applied, before, after }
    }

    /// The rows as they are for those who ask who may do what. A role or a team with another name is the same one, but a
    /// member with another address is somebody else: their rows stand under the address that they have.
    pub fn before_by_person(&self) -> Cow<'_, Rows> {
        let is_person = |change: &Change| change.kind.is(&kinds::member::KIND) && change.previous_name.is_some();
        if !self.plan.changes.iter().any(is_person) {
            return Cow::Borrowed(&self.before);
        }
        let others: Vec<Change> = self.plan.changes.iter().filter(|change| !is_person(change)).cloned().collect();
        Cow::Owned(rows::before(self.live, &others))
    }

    /// The ownership record that the plan writes for a resource, if it writes one.
    fn record(&self, kind: KindId, name: &str) -> Option<&'a Record> {
        // Both lists are in the order of kinds and names, but a plan of a run may come from a file.
        self.plan.records.iter().find(|record| record.kind == kind && *record.name == *name)
    }

    fn origin(&self, kind: KindId, name: &str) -> Option<Cow<'a, Origin>> {
        match self.record(kind, name) {
            Some(record) => record.origin.as_ref().map(Cow::Borrowed),
            None => self.applied.rows.get(&(kind, name.into())).map(|row| Cow::Borrowed(&row.origin)),
        }
    }

    /// What the manifests say.
    pub fn desired(&self) -> Resources<'a> {
        let mut desired = Resources::default();
        for ((kind, name), row) in &self.applied.rows {
            if self.record(*kind, name).is_none() {
                let (name, origin) = (Cow::Borrowed(&**name), Some(Cow::Borrowed(&row.origin)));
                desired.add(View { kind: *kind, name, origin, spec: Cow::Borrowed(&row.spec) });
            }
        }
        for record in &self.plan.records {
            if let Some(spec) = &record.spec {
                let spec = Cow::Owned(Spec::from_json(record.kind.get(), spec));
                let (name, origin) = (Cow::Borrowed(&*record.name), record.origin.as_ref().map(Cow::Borrowed));
                desired.add(View { kind: record.kind, name, origin, spec });
            }
        }
        desired
    }

    /// The rows as they are.
    pub fn live(&self) -> Resources<'a> {
        let mut live = Resources::default();
        for ((kind, name), row) in &self.live.rows {
            let origin = self.applied.rows.get(&(*kind, name.clone())).map(|row| Cow::Borrowed(&row.origin));
            live.add(View { kind: *kind, name: Cow::Borrowed(name), origin, spec: Cow::Borrowed(&row.spec) });
        }
        live
    }

    /// The rows as they would be.
    pub fn after(&'a self) -> Resources<'a> {
        let mut after = Resources::default();
        for (kind, of_kind) in &self.after {
            for (name, spec) in of_kind {
                let origin = self.origin(*kind, name);
                after.add(View { kind: *kind, name: Cow::Borrowed(name), origin, spec: Cow::Borrowed(spec) });
            }
        }
        after
    }

    /// What a change does to its resource.
    pub fn change(&'a self, change: &'a Change) -> ChangePart<'a> {
        let Change {
            kind,
            name,
            action,
            cause,
            extra,
            previous_name,
            version: _,
            fields,
            set: _,
            undo: _,
            origin,
            written_by,
            moved_by,
            reason: _,
        } = change;
        let view = |spec: &'a Spec, name: &'a str| View {
            kind: *kind,
            name: Cow::Borrowed(name),
            origin: origin.as_ref().map(Cow::Borrowed),
            spec: Cow::Borrowed(spec),
        };
        let old_name = previous_name.as_ref().unwrap_or(name);
        let before = self.live.rows.get(&(*kind, old_name.clone())).map(|row| view(&row.spec, old_name));
        let after = self.after.get(kind).and_then(|rows| rows.get(&**name)).map(|spec| view(spec, name));
        ChangePart {
            kind: kind.get().name,
            name,
            previous_name: previous_name.as_deref(),
            action: *action,
            cause: *cause,
            extra: *extra,
            before: before.filter(|_| *action != Action::Create),
            after,
            fields: fields
                .iter()
                .filter(|_| matches!(action, Action::Update | Action::Adopt))
                .map(|field| FieldPart {
                    path: &field.path,
                    before: veil::at(*kind, &field.path, &field.before),
                    after: veil::at(*kind, &field.path, &field.after),
                    cause: field.cause,
                    origin: field.origin.as_ref(),
                })
                .collect(),
            origin: origin.as_ref(),
            written_by: written_by.as_ref(),
            moved_by: moved_by.as_ref(),
        }
    }
}
