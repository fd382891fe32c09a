//! Where a plan comes from: who wrote each line that it carries out, who removed what goes, whose commits it is part of, and
//! whether the commit leads on from the one that was applied. Each organization is compared with the commit that it was
//! applied from itself: what was applied of one of them says nothing of another one, which was held then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Targets;
use super::outcome::Outcome;
use crate::identity::Approvers;
use crate::model::code::Code;
use crate::model::finding::{Finding, Severity};
use crate::model::id::OrganizationName;
use crate::model::origin::Origin;
use crate::model::resource::ResourceId;
use crate::plan::lineage::{Baseline, Lineage};
use crate::plan::{Action, Change, OrganizationPlan, Plan};
use crate::signature::Signers;
use crate::source::git::Checkout;
use crate::source::git::lineage::{Explained, Gone, Since};
use crate::source::git::people::People;
use crate::store::baselines::{Baselines, Moves};

/// How many lines are asked for at once. In a plan of more it is told of the resources, and not of every field.
const LINES_MAX: usize = 50_000;

/// How the people behind commits are found.
#[derive(Clone, Copy, Debug)]
pub struct Knowing<'a> {
    /// Who may sign, where signatures are asked for.
    pub signers: Option<&'a Signers>,
    /// Who may approve: they are known by their keys as well.
    pub approvers: &'a Approvers,
    /// The present moment.
    pub now: DateTime<Utc>,
}

/// A source with a history, and where it stood when it was applied last.
#[derive(Clone, Debug)]
pub struct History<'a> {
    /// The commit.
    pub checkout: &'a Checkout,
    /// Who has a part in what came since the source was applied last, by all names, lower case.
    pub authors: BTreeSet<String>,
    /// Whether there may be others.
    others: bool,
    /// Where the source and its organizations stood; none for a branch, which need not lead on from what was applied before
    /// it is merged.
    baselines: Option<Baselines>,
    /// For each commit at which one of them stood: whether this one leads on from it.
    leads_on: BTreeMap<Option<String>, bool>,
    /// What is told of the commit beside what it changes.
    told: Vec<Finding>,
    knowing: Knowing<'a>,
}

impl<'a> History<'a> {
    /// A branch that somebody wants to merge.
    pub fn of_request(checkout: &'a Checkout, told: Vec<Finding>, knowing: Knowing<'a>) -> History<'a> {
        let (authors, leads_on) = (BTreeSet::new(), BTreeMap::new());
        History { checkout, authors, others: false, baselines: None, leads_on, told, knowing }
    }

    /// What leads on, or does not, from where the source and its organizations stood.
    pub fn new(
        checkout: &'a Checkout,
        baselines: Baselines,
        knowing: Knowing<'a>,
    ) -> Result<History<'a>, Box<Finding>> {
        let mut leads_on = BTreeMap::new();
        for commit in baselines.own.values().chain([&baselines.whole]) {
            if !leads_on.contains_key(commit) {
                leads_on.insert(commit.clone(), !matches!(checkout.since(commit.as_deref())?, Since::Elsewhere(_)));
            }
        }
        let people = checkout.people_beside(baselines.whole.as_deref(), knowing.signers, knowing.now);
        let others = people.others;
        let (authors, baselines, told) = (BTreeSet::new(), Some(baselines), Vec::new());
        let mut history = History { checkout, authors, others, baselines, leads_on, told, knowing };
        history.authors = history.names(people);
        Ok(history)
    }

    /// The people behind commits by all names. Whoever holds a key that has signed is one of them, and where there may be
    /// others, anybody who may approve can be one of them.
    fn names(&self, people: People) -> BTreeSet<String> {
        let People { mut names, keys, others } = people;
        names.extend(self.knowing.approvers.holding(&keys).map(|approver| approver.name.to_lowercase()));
        if others {
            names.extend(self.knowing.approvers.all().map(|approver| approver.name.to_lowercase()));
        }
        names
    }

    /// What is to be known of the whole.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.told.clone();
        let Some(baselines) = &self.baselines else { return findings };
        if !self.leads_on(&baselines.whole) {
            let name = &self.checkout.revision.reference;
            let message = format!("{name} does not lead on from {}, which was applied last", short(&baselines.whole));
            let hint = "put the branch back; if that was meant, let somebody approve what is held, and say once \
                        `argus apply --force`, so that it counts as applied";
            findings.push(Finding::warning(Code::Rewound, message).hint(hint));
        }
        if self.others && !self.knowing.approvers.is_empty() {
            let message = "not everybody is known whose commits these are, so that nobody may approve what is held";
            let hint = "let Argus read a repository whose history is whole; one that is too long for that is applied once \
                        with --force";
            findings.push(Finding::warning(Code::UnknownAuthors, message).hint(hint));
        }
        findings
    }

    /// How the plan stands to what was applied before; nothing for a branch.
    pub fn lineage(&self, targets: &Targets, unseen: BTreeSet<OrganizationName>) -> Option<Lineage> {
        let baselines = self.baselines.as_ref()?;
        let of = |commit: &Option<String>| Baseline { commit: commit.clone(), leads_on: self.leads_on(commit) };
        Some(Lineage {
            whole: of(&baselines.whole),
            own: baselines.own.iter().map(|(name, commit)| (name.clone(), of(commit))).collect(),
            unseen,
            only: (!targets.all()).then(|| targets.whole_organizations()),
            authors: self.authors.clone(),
        })
    }

    fn leads_on(&self, commit: &Option<String>) -> bool {
        self.leads_on.get(commit).copied().unwrap_or(true)
    }

    /// The commit that an organization was applied from last, whatever it was called then.
    fn baseline(&self, plan: &OrganizationPlan) -> &Option<String> {
        let Some(Baselines { whole, own }) = &self.baselines else { return &None };
        let before = plan.renamed_from().and_then(|before| own.get(before));
        before.or_else(|| own.get(&plan.organization)).unwrap_or(whole)
    }

    /// Fills in who wrote what and whose the plans are, and holds what nobody has removed and what would be rewound.
    pub fn explain(&self, plans: &mut [OrganizationPlan]) -> Vec<Finding> {
        let mut gone = Vec::new();
        let mut lines = BTreeSet::new();
        for plan in plans.iter() {
            let applied = self.baseline(plan);
            let removed = plan.changes.iter().filter_map(|change| removed(plan, change));
            gone.extend(removed.map(|(id, origin)| Gone { id, origin, applied: applied.clone() }));
            lines.extend(plan.changes.iter().chain(&plan.left).flat_map(lines_of));
        }
        if lines.len() > LINES_MAX {
            let resources = plans.iter().flat_map(|plan| &plan.changes).filter_map(|change| place(&change.origin));
            lines = resources.take(LINES_MAX).collect();
        }
        // A history that cannot be read explains nothing, and so what would be explained by it is held.
        let (explained, mut findings) = match self.checkout.explain(&lines, &gone) {
            Ok(explained) => (explained, Vec::new()),
            // Half a history would name others than those who wrote it.
            Err(finding) if finding.code == Code::ShallowHistory => {
                plans
                    .iter_mut()
                    .filter(|plan| !plan.is_empty())
                    .for_each(|plan| plan.findings.push((*finding).clone()));
                return Vec::new();
            }
            Err(finding) => (Explained::default(), vec![Finding { severity: Severity::Warning, ..*finding }]),
        };
        if explained.cut_short {
            findings.push(too_much_work());
        }
        let mut people = Behind::default();
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
            plan.authors = self.authors_of(plan, &mut people);
        }
        findings
    }

    /// Who has a part in a plan beside those of the whole: whoever wrote its lines, and where its organization stood
    /// somewhere else, whoever has a part in what came since then.
    fn authors_of(&self, plan: &OrganizationPlan, known: &mut Behind) -> BTreeSet<String> {
        let mut authors = BTreeSet::new();
        if plan.is_empty() {
            return authors;
        }
        let Knowing { signers, now, .. } = self.knowing;
        let commits = plan.changes.iter().flat_map(|change| {
            let of_fields = change.fields.iter().filter_map(|field| field.written_by.as_ref());
            change.written_by.iter().chain(of_fields).map(|written| &written.commit)
        });
        for commit in commits.collect::<BTreeSet<&String>>() {
            let of_it = known.commits.entry(commit.clone()).or_insert_with(|| {
                let names = self.names(self.checkout.people_of(commit, signers, now));
                names.difference(&self.authors).cloned().collect()
            });
            authors.extend(of_it.iter().cloned());
        }
        let baseline = self.baseline(plan);
        if self.baselines.as_ref().is_some_and(|baselines| baselines.whole != *baseline) {
            let since = known.since.entry(baseline.clone()).or_insert_with(|| {
                let names = self.names(self.checkout.people_beside(baseline.as_deref(), signers, now));
                names.difference(&self.authors).cloned().collect()
            });
            authors.extend(since.iter().cloned());
        }
        authors
    }

    fn hold(&self, plan: &mut OrganizationPlan, explained: &Explained) {
        if plan.is_empty() {
            return;
        }
        let baseline = self.baseline(plan);
        if !self.leads_on(baseline) {
            let name = &self.checkout.revision.reference;
            let message = format!("{name} does not lead on from {}, which was applied", short(baseline));
            let hint = "somebody has rewound or forced the branch; if that was meant, approve the plan";
            plan.holds.push(Finding::warning(Code::Rewound, message).hint(hint));
            return;
        }
        if baseline.is_none() {
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

/// The people behind commits that were asked about, beside those of the whole.
#[derive(Default)]
struct Behind {
    commits: BTreeMap<String, BTreeSet<String>>,
    since: BTreeMap<Option<String>, BTreeSet<String>>,
}

/// Where the source and its organizations stand after a run; nothing for what is not made of a commit.
///
/// An organization moves to the commit at hand when it was applied, or when there was nothing to apply and the commit leads
/// on from where it stood. What was held, failed or not looked at stays where it was, and so does everything else where the
/// branch was rewound, until somebody insists.
pub fn moves(plan: &Plan, outcome: &Outcome, forced: bool) -> Option<Moves> {
    let lineage = plan.lineage.as_ref()?;
    let head = &plan.revision.as_ref()?.commit.id;
    let Lineage { whole, own, unseen, only, authors: _ } = lineage;
    let mut moves = Moves { source: plan.source.clone(), ..Moves::default() };
    // A run that was refused all of it has moved nothing, and leaves its commit as good as unread.
    let has_come = outcome.worst().is_none() || !outcome.applied.is_empty();
    let is_whole = only.is_none() && has_come && (whole.leads_on || forced);
    moves.whole = is_whole.then(|| head.clone());
    let stays = |name: &OrganizationName| unseen.contains(name) || outcome.refused.contains_key(name);
    let is_seen = |name: &OrganizationName| only.as_ref().is_none_or(|only| only.contains(name)) && !stays(name);
    let arrive = |moves: &mut Moves, name: &OrganizationName| match is_whole {
        true => drop(moves.joined.insert(name.clone())),
        false => drop(moves.own.insert(name.clone(), Some(head.clone()))),
    };
    for (name, baseline) in own {
        match is_seen(name) && (baseline.leads_on || forced) {
            true => arrive(&mut moves, name),
            false => drop(moves.kept.insert(name.clone(), baseline.commit.clone())),
        }
    }
    if is_whole && whole.commit.as_ref() != Some(head) {
        for name in outcome.refused.keys().chain(unseen).filter(|name| !own.contains_key(*name)) {
            moves.kept.insert(name.clone(), whole.commit.clone());
        }
    }
    // Where something was held because of the history, only what was applied has been looked at.
    for (name, approved) in
        outcome.applied.iter().filter(|(name, approved)| is_seen(name) && (forced || !approved.plan().is_empty()))
    {
        if let Some(before) = approved.plan().renamed_from() {
            moves.own.remove(before);
            moves.kept.remove(before);
            moves.joined.insert(before.into());
        }
        moves.own.remove(name);
        moves.kept.remove(name);
        arrive(&mut moves, name);
    }
    Some(moves)
}

fn short(commit: &Option<String>) -> &str {
    commit.as_deref().map(|id| id.get(..12).unwrap_or(id)).unwrap_or_default()
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
