//! What one plan adds to another: the changes of a branch without those that are due anyway.

use super::{Action, Change, OrganizationPlan};
use crate::model::code::Code;
use crate::model::finding::Finding;

impl OrganizationPlan {
    /// What this plan does that the other one does not do already. It is for people: nobody carries it out.
    pub fn beyond(self, other: Option<&OrganizationPlan>) -> OrganizationPlan {
        let Some(other) = other else { return self };
        let taken_back: Vec<Finding> = other.changes.iter().filter_map(|due| taken_back(&self, due)).collect();
        let changes = |own: Vec<Change>, due: &[Change]| -> Vec<Change> {
            own.into_iter().filter_map(|change| change_beyond(change, due)).collect()
        };
        let new = |own: Vec<Finding>, due: &[Finding]| -> Vec<Finding> {
            own.into_iter().filter(|finding| !due.contains(finding)).collect()
        };
        let mut findings = new(self.findings, &other.findings);
        findings.extend(taken_back);
        OrganizationPlan {
            changes: changes(self.changes, &other.changes),
            left: changes(self.left, &other.left),
            holds: new(self.holds, &other.holds),
            findings,
            records: Vec::new(),
            settles: None,
            ..self
        }
        .sealed()
    }
}

fn same_subject(one: &Change, other: &Change) -> bool {
    (one.kind, &one.name) == (other.kind, &other.name)
}

/// A change without what is due anyway; nothing, if all of it is.
fn change_beyond(mut change: Change, due: &[Change]) -> Option<Change> {
    let Some(due) = due.iter().find(|due| same_subject(&change, due)) else { return Some(change) };
    if change.action != due.action || change.previous_name != due.previous_name {
        return Some(change);
    }
    if change.set == due.set {
        return None;
    }
    if change.action == Action::Create {
        change.reason = Some("it is to be created anyway, otherwise than here".into());
        return Some(change);
    }
    change
        .fields
        .retain(|field| !due.fields.iter().any(|other| other.path == field.path && other.after == field.after));
    change.set.retain(|path, value| due.set.get(path) != Some(value));
    // Nothing is left where all that differs is that less is done.
    (!change.set.is_empty() || !change.fields.is_empty()).then_some(change)
}

/// What is due of a resource and no longer happens; nothing, if all of it does or something else happens instead.
fn taken_back(plan: &OrganizationPlan, due: &Change) -> Option<Finding> {
    let done = match due.action {
        Action::Create => "created",
        Action::Update => "changed",
        Action::Adopt => "adopted",
        Action::Release => "released",
        Action::Delete => "deleted",
    };
    let (organization, kind, name) = (&plan.organization, due.kind, &due.name);
    let id = format!("{kind}/{name}");
    let own = plan.changes.iter().find(|change| same_subject(change, due));
    let message = match own {
        None => format!("{id} is to be {done} anyway, and no longer is with this branch"),
        // It is shown as what it is.
        Some(own) if own.action == Action::Delete => return None,
        Some(own) if own.action != due.action => {
            format!("{id} is to be {done} anyway, and with this branch something else is done with it")
        }
        Some(own) => {
            let paths: Vec<String> =
                due.set.keys().filter(|path| !own.set.contains_key(*path)).map(|path| format!("`{path}`")).collect();
            if paths.is_empty() {
                return None;
            }
            format!("{} of {id} is to be {done} anyway, and no longer is with this branch", paths.join(", "))
        }
    };
    Some(Finding::note(Code::TakenBack, message).about(format!("{organization}/{kind}/{name}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn change(name: &str, action: &str, set: &[(&str, &str)]) -> Change {
        let set: BTreeMap<&str, &str> = set.iter().copied().collect();
        let change = json!({"kind": "Team", "name": name, "action": action, "cause": "change", "set": set});
        serde_json::from_value(change).expect("a change")
    }

    fn plan(changes: Vec<Change>) -> OrganizationPlan {
        OrganizationPlan { changes, ..OrganizationPlan::unchanged(&"acme".into(), Vec::new()) }
    }

    #[test]
    fn only_what_is_not_due_anyway_is_left() {
        let due = plan(vec![
            change("both", "update", &[("displayName", "A")]),
            change("more", "update", &[("displayName", "A")]),
            change("kept", "delete", &[]),
        ]);
        let own = plan(vec![
            change("both", "update", &[("displayName", "A")]),
            change("more", "update", &[("displayName", "A"), ("description", "B")]),
            change("new", "create", &[("displayName", "C")]),
        ]);
        let beyond = own.beyond(Some(&due));
        let left: Vec<(&str, usize)> = beyond.changes.iter().map(|change| (&*change.name, change.set.len())).collect();
        assert_eq!(left, [("more", 1), ("new", 1)]);
        let notes: Vec<Code> = beyond.findings.iter().map(|finding| finding.code).collect();
        assert_eq!(notes, [Code::TakenBack]);
    }

    #[test]
    fn what_is_done_no_longer_is_told() {
        let due = plan(vec![
            change("less", "update", &[("displayName", "A"), ("description", "B")]),
            change("back", "delete", &[]),
            change("gone", "update", &[("displayName", "A")]),
        ]);
        let own = plan(vec![
            change("less", "update", &[("displayName", "A")]),
            change("back", "update", &[("displayName", "C")]),
            change("gone", "delete", &[]),
        ]);
        let beyond = own.beyond(Some(&due));
        let left: Vec<&str> = beyond.changes.iter().map(|change| &*change.name).collect();
        assert_eq!(left, ["back", "gone"]);
        let told: Vec<&str> = beyond.findings.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(
            told,
            [
                "`description` of Team/less is to be changed anyway, and no longer is with this branch",
                "Team/back is to be deleted anyway, and with this branch something else is done with it",
            ]
        );
        let nothing = OrganizationPlan::unchanged(&"acme".into(), Vec::new()).beyond(Some(&due));
        assert_eq!((nothing.changes.len(), nothing.findings.len()), (0, 3));
    }
}
