//! Where a plan comes from: who wrote each line that it carries out, who removed what goes, and whether the commit leads on
//! from the one that was applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::code::Code;
use crate::model::finding::{Finding, Severity};
use crate::model::origin::Origin;
use crate::model::resource::ResourceId;
use crate::plan::{Action, Change, OrganizationPlan};
use crate::source::git::Checkout;
use crate::source::git::lineage::{Explained, Since};

/// How many lines are asked for at once. In a plan of more it is told of the resources, and not of every field.
const LINES_MAX: usize = 50_000;

/// A source with a history, and where it stood when it was applied last.
#[derive(Clone, Debug)]
pub struct History<'a> {
    /// The commit.
    pub checkout: &'a Checkout,
    /// The commit that was applied last.
    pub applied: Option<String>,
    /// How the one stands to the other.
    pub since: Since,
}

impl History<'_> {
    /// Fills in who wrote what, and holds what nobody has removed and what would be rewound.
    pub fn explain(&self, plans: &mut [OrganizationPlan]) -> Vec<Finding> {
        let mut gone = Vec::new();
        let mut lines = BTreeSet::new();
        for plan in plans.iter() {
            gone.extend(plan.changes.iter().filter_map(|change| removed(plan, change)));
            lines.extend(plan.changes.iter().chain(&plan.left).flat_map(lines_of));
        }
        if lines.len() > LINES_MAX {
            let resources = plans.iter().flat_map(|plan| &plan.changes).filter_map(|change| place(&change.origin));
            lines = resources.take(LINES_MAX).collect();
        }
        let explained = match self.checkout.explain(&lines, &gone) {
            Ok(explained) => explained,
            Err(finding) => return vec![Finding { severity: Severity::Warning, ..*finding }],
        };
        for plan in plans {
            self.hold(plan, &explained);
            for change in plan.changes.iter_mut().chain(&mut plan.left) {
                let id = ResourceId {
                    organization: plan.organization.clone(),
                    kind: change.kind,
                    name: change.name.clone(),
                };
                change.written_by = match change.action {
                    Action::Delete | Action::Release => explained.removed.get(&id).cloned(),
                    _ => place(&change.origin).and_then(|place| explained.lines.get(&place).cloned()),
                };
                for field in &mut change.fields {
                    field.written_by = place(&field.origin).and_then(|place| explained.lines.get(&place).cloned());
                }
            }
        }
        match explained.cut_short {
            true => vec![too_much_work()],
            false => Vec::new(),
        }
    }

    fn hold(&self, plan: &mut OrganizationPlan, explained: &Explained) {
        if plan.is_empty() {
            return;
        }
        let before = self.applied.as_deref().map(|id| id.get(..12).unwrap_or(id)).unwrap_or_default();
        if self.since == Since::Elsewhere {
            let name = &self.checkout.revision.reference;
            let message = format!("{name} does not lead on from {before}, which was applied");
            let hint = "somebody has rewound or forced the branch; if that was meant, approve the plan";
            plan.holds.push(Finding::warning(Code::Rewound, message).hint(hint));
            return;
        }
        if self.applied.is_none() {
            return;
        }
        let unexplained: Vec<Finding> = plan
            .changes
            .iter()
            .filter_map(|change| removed(plan, change))
            .filter(|(id, _)| !explained.removed.contains_key(id))
            .map(|(id, origin)| {
                let message = format!("{id} is gone, and no commit removes it");
                let hint = "look at what else has changed: `paths`, the branch; if it was meant, approve the plan";
                Finding::warning(Code::Unexplained, message).about(&id).at(origin).hint(hint)
            })
            .collect();
        plan.holds.extend(unexplained);
    }
}

fn too_much_work() -> Finding {
    let message = "the history is too much work to look through: not everything is told of who wrote or removed what";
    Finding::warning(Code::RepositoryTooLarge, message).hint(
        "smaller files in more directories help; what is gone without a commit that removes it waits for approval",
    )
}

/// A resource that goes because its manifest does, and where that stood.
fn removed(plan: &OrganizationPlan, change: &Change) -> Option<(ResourceId, Origin)> {
    let leaves = change.action == Action::Delete && !change.extra;
    let origin = change.origin.clone().filter(|_| leaves)?;
    Some((ResourceId { organization: plan.organization.clone(), kind: change.kind, name: change.name.clone() }, origin))
}

fn lines_of(change: &Change) -> impl Iterator<Item = (Arc<str>, u32)> {
    let written = matches!(change.action, Action::Create | Action::Update | Action::Adopt);
    let fields = change.fields.iter().filter_map(|field| place(&field.origin));
    place(&change.origin).into_iter().chain(fields).filter(move |_| written)
}

fn place(origin: &Option<Origin>) -> Option<(Arc<str>, u32)> {
    origin.as_ref().filter(|origin| origin.line > 0).map(|origin| (origin.file.clone(), origin.line))
}
