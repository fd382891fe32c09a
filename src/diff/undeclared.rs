//! What is not declared: what left its manifest, what nobody ever declared, and the removals that say what may go.

use std::collections::BTreeMap;

use super::{Diff, blank, fields, plural, rows};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::{KindId, Scope};
use crate::model::kinds;
use crate::model::state::{AppliedRow, LocalId};
use crate::plan::{Action, Cause, Change};

impl Diff<'_> {
    /// What this source applied once and no longer declares.
    pub(super) fn no_longer_declared(&mut self) {
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
                undo: if release { BTreeMap::new() } else { rows::whole(local.0.get(), &row.spec) },
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

    /// That nobody declares a protected row is not enough to delete it, even where all of its kind are declared.
    fn hold_extra(&mut self, local: &LocalId) {
        let id = self.id(local);
        let message = format!("{id} is not declared, and absence alone does not delete a protected resource");
        let hint = "declare it, or declare a Removal that names it (`mode: release` leaves the row alone)";
        self.holds.push(Finding::warning(Code::Protected, message).about(&id).hint(hint));
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
    pub(super) fn never_declared(&mut self) {
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
                undo: rows::whole(local.0.get(), &row.spec),
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
                if !self.rules.correct_drift {
                    self.left.push(change);
                    continue;
                }
                if local.0.get().protected {
                    self.hold_extra(local);
                }
                self.changes.push(change);
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

    pub(super) fn removals_done(&mut self) {
        for ((kind, name), removal) in &self.removals {
            let managed = self.applied.rows.contains_key(&(*kind, name.clone()));
            // Where all of a kind are declared, the removal goes on saying that this row may stay undeclared.
            let at_work = removal.used && self.desired.authoritative.contains(kind);
            let released = removal.release && !managed && !at_work;
            if !removal.used || released {
                let message = format!("the removal of {kind} `{name}` is done and may be deleted");
                let finding = Finding::note(Code::DoneDeclaration, message).about(&removal.resource.id);
                self.findings.push(finding.at(removal.resource.origin.clone()));
            }
        }
    }
}
