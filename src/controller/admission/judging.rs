//! What an object would lead to: the world with it is compared with the world without it, and planned and judged as the
//! controller would.
//!
//! What was wrong before does not count against whoever writes now: else one broken object would keep all others from being
//! written, and itself from being mended. And nothing is refused because something else is not there yet, or still is:
//! the objects of an organization come one by one, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use super::Gate;
use super::review::{Change, Request, warning};
use crate::commands::context::Failure;
use crate::commands::judges::Judges;
use crate::controller::cluster::pass_over;
use crate::engine::judging::{self, Asking};
use crate::engine::{self, Heard, Pass, Targets};
use crate::model::code::Code;
use crate::model::finding::{Finding, Severity};
use crate::model::id::OrganizationName;
use crate::model::kind::Scope;
use crate::model::state::World;
use crate::plan::Plan;
use crate::render::text;
use crate::source::cluster::Followed;
use crate::source::cluster::object::{Kept, Key, Object, Said, keep};
use crate::source::cluster::sort::Sort;
use crate::verdict::Told;

/// What another object may yet put right, or has to go for: children come before their organization, a team before its
/// parent, and what is moved from one object to another stands in both for a moment.
const MAY_BE_PUT_RIGHT_ELSEWHERE: &[Code] = &[
    Code::DeclaredTwice,
    Code::DanglingReference,
    Code::UndeclaredOrganization,
    Code::TeamCycle,
    Code::ChildAboveParent,
    Code::RemovedYetDeclared,
    Code::NoOwner,
    Code::WrongRoleScope,
    Code::BadPreviousName,
    Code::RenameConflict,
];

/// What is thought of an object.
#[derive(Debug)]
pub enum Opinion {
    /// There is nothing to look at.
    Passed,
    /// It may be stored, and this is worth knowing.
    Allowed(Vec<String>),
    /// It may not, and this is why.
    Refused(Vec<Finding>),
    /// Nobody can tell.
    Unknown(String),
}

/// An object as it is and as it would be.
struct Move {
    key: Key,
    before: Option<Kept>,
    after: Option<Kept>,
    /// Whether it comes.
    comes: bool,
}

impl Move {
    /// What is asked for; none where nothing of it counts.
    fn of(followed: &Followed, request: &Request) -> Option<Move> {
        let Some(Sort::Kind(kind)) = request.sort else { return None };
        let kept = |object: &Object| keep(&followed.cluster, &followed.name, &followed.binding, kind, object.clone());
        let (before, after) = match &request.change {
            Change::Create(new) => (None, Some(kept(new))),
            Change::Update(both) => (Some(kept(&both.0)), Some(kept(&both.1))),
            Change::Delete(old) => {
                let before = kept(old);
                // What has rows is held back, and says for as long what becomes of them.
                let after = before.held.then(|| Kept { deleting: true, ..before.clone() });
                (Some(before), after)
            }
            Change::Other => return None,
        };
        if let (Change::Update(_), Some(before), Some(after)) = (&request.change, &before, &after)
            && before.moves == after.moves
        {
            return None;
        }
        // What goes has no more say, and whoever takes off its finalizers has reasons.
        if before.as_ref().is_some_and(|before| before.deleting) {
            return None;
        }
        let key = before.as_ref().or(after.as_ref())?.key.clone();
        Some(Move { key, comes: before.is_none(), before, after })
    }

    /// The organizations that it is about, now and then, by all names.
    fn organizations(&self) -> BTreeSet<OrganizationName> {
        let mut names = BTreeSet::new();
        for kept in [&self.before, &self.after].into_iter().flatten() {
            let Said::Read(reading) = &kept.said else { continue };
            names.extend(kept.organization.clone());
            let roots = reading.resources.iter().filter(|resource| resource.kind().scope == Scope::Root);
            names.extend(roots.filter_map(|root| root.previous_name.clone()));
        }
        names
    }

    /// Whether a finding is about this object.
    fn is_about(&self, followed: &Followed, finding: &Finding) -> bool {
        let place = followed.cache().place(&self.key);
        if finding.origin.as_ref().is_some_and(|origin| origin.file == place) {
            return true;
        }
        let Some(subject) = finding.subject.as_deref() else { return false };
        let declares = |kept: &Kept| match &kept.said {
            Said::Read(reading) => reading.resources.iter().any(|resource| resource.id.to_string() == subject),
            Said::Refused(_) => false,
        };
        [&self.before, &self.after].into_iter().flatten().any(declares)
    }
}

/// What a finding says, wherever it was written.
type Words<'a> = (Code, Option<&'a str>, Option<&'a str>, &'a str);

fn words(finding: &Finding) -> Words<'_> {
    (finding.code, finding.rule.as_deref(), finding.subject.as_deref(), &finding.message)
}

/// Those of some findings that others do not say already.
fn beyond<'a>(after: &'a [Finding], before: &[Finding]) -> Vec<&'a Finding> {
    let known: BTreeSet<Words<'_>> = before.iter().map(words).collect();
    after.iter().filter(|finding| !known.contains(&words(finding))).collect()
}

/// Those denials that were not there before. A rule may count in its message: where it said as much of the same thing
/// before, only in other words, it says nothing new.
fn newly_denied<'a>(after: &'a [Finding], before: &[Finding]) -> Vec<&'a Finding> {
    let what = |finding: &Finding| (finding.code, finding.rule.clone(), finding.subject.clone());
    let counted = |findings: &[Finding]| {
        let mut counts: BTreeMap<_, usize> = BTreeMap::new();
        findings.iter().for_each(|finding| *counts.entry(what(finding)).or_default() += 1);
        counts
    };
    let (now, then) = (counted(after), counted(before));
    let more = |finding: &&Finding| now.get(&what(finding)) > then.get(&what(finding));
    beyond(after, before).into_iter().filter(more).collect()
}

/// What there is to say.
#[derive(Default)]
struct Sayings {
    refused: Vec<Finding>,
    warnings: Vec<String>,
}

impl Sayings {
    /// What is new and wrong refuses, unless another object may put it right; what was wrong before is only told.
    fn take_errors(&mut self, after: &[Finding], before: &[Finding]) {
        for finding in beyond(after, before) {
            match MAY_BE_PUT_RIGHT_ELSEWHERE.contains(&finding.code) {
                true => self.warnings.push(warning(finding)),
                false => self.refused.push(finding.clone()),
            }
        }
        self.as_before(after.iter().filter(|finding| before.iter().any(|known| words(known) == words(finding))));
    }

    fn as_before<'a>(&mut self, findings: impl Iterator<Item = &'a Finding>) {
        self.warnings.extend(findings.map(|finding| format!("{} (as before)", warning(finding))));
    }

    /// What waits for people, or for another time.
    fn take_waiting(&mut self, told: &Told) {
        for held in told.held.values().flatten() {
            self.warnings.push(format!("{}; it waits: {}", warning(&held.finding), text::needs(held)));
        }
        self.warnings.extend(told.stopped.values().flatten().map(|stop| format!("{}; it waits", warning(stop))));
        self.warnings.extend(told.warned.values().flatten().map(warning));
    }
}

/// What is needed to plan.
struct Planner<'a> {
    gate: &'a Gate,
    followed: &'a Followed,
    judges: Judges,
    targets: Targets,
}

impl Planner<'_> {
    /// Plans a world and judges the plan; with a plan that is due anyway, what goes beyond it.
    async fn plan(&self, world: &World, due: Option<&Plan>) -> Result<(Heard, Told), Failure> {
        let Gate { context, store, .. } = self.gate;
        let (bench, now) = (self.judges.bench(), context.now());
        let Judges { terms, authors, approvers, .. } = &self.judges;
        let pass = Pass { due, ..pass_over(self.followed, &bench, &self.targets, now) };
        let heard = engine::plan(world, store, &pass, &|_, _| {}).await?;
        let asking = Asking { terms, policies: &heard.judgements, approvers, authors, now, force: false };
        let told = judging::judge(store, &heard.plan, &asking).await?.told;
        Ok((heard, told))
    }
}

fn all(map: &BTreeMap<OrganizationName, Vec<Finding>>) -> Vec<Finding> {
    map.values().flatten().cloned().collect()
}

/// A policy that could not be evaluated has said nothing.
fn unjudged(told: &Told) -> Option<Opinion> {
    let failed = told.denied.values().flatten().find(|finding| finding.code == Code::PolicyFailed)?;
    Some(Opinion::Unknown(failed.said().into_owned()))
}

impl Gate {
    /// What is thought of an object.
    pub(super) async fn judged(&self, followed: &Followed, request: &Request) -> Result<Opinion, Failure> {
        let Some(change) = Move::of(followed, request) else { return Ok(Opinion::Passed) };
        let now = self.context.now();
        let organizations = change.organizations();
        let (before, after) = {
            let cache = followed.cache();
            let supposing = |kept: &Option<Kept>| cache.supposing(&organizations, &change.key, kept.clone());
            (supposing(&change.before), supposing(&change.after))
        };
        let (before, after) = (before.world(&organizations, now)?, after.world(&organizations, now)?);
        let mut sayings = of_worlds(&change, &before, &after);
        if sayings.refused.is_empty() && organizations.iter().any(|name| !after.blocked.contains(name)) {
            let judges = Judges::with(&self.context, &*self.policies().await?, None, followed.binding.terms.clone());
            let targets = Targets::organizations(organizations);
            let planner = Planner { gate: self, followed, judges, targets };
            if let Some(opinion) = of_plans(&planner, &change, (&before, &after), &mut sayings).await? {
                return Ok(opinion);
            }
        }
        Ok(match sayings.refused.is_empty() {
            true => Opinion::Allowed(sayings.warnings),
            false => Opinion::Refused(sayings.refused),
        })
    }
}

/// What can be told from the objects alone.
fn of_worlds(change: &Move, before: &World, after: &World) -> Sayings {
    let findings = |world: &World, kept: &Option<Kept>, severity: Severity| -> Vec<Finding> {
        let refusal = match kept.as_ref().map(|kept| &kept.said) {
            Some(Said::Refused(finding)) => Some((**finding).clone()),
            Some(Said::Read(_)) | None => None,
        };
        world.findings.iter().cloned().chain(refusal).filter(|finding| finding.severity == severity).collect()
    };
    let mut sayings = Sayings::default();
    let both = |severity| (findings(after, &change.after, severity), findings(before, &change.before, severity));
    let (new, old) = both(Severity::Error);
    sayings.take_errors(&new, &old);
    let (new, old) = both(Severity::Warning);
    sayings.warnings.extend(beyond(&new, &old).into_iter().map(warning));
    sayings
}

/// What rows, guards, policies and brakes tell beside that. Gives an opinion where there can be no other.
async fn of_plans(
    planner: &Planner<'_>,
    change: &Move,
    (before, after): (&World, &World),
    sayings: &mut Sayings,
) -> Result<Option<Opinion>, Failure> {
    let (heard, told) = planner.plan(after, None).await?;
    if let Some(opinion) = unjudged(&told) {
        return Ok(Some(opinion));
    }
    sayings.take_waiting(&told);
    let plans = heard.plan.organizations.iter().flat_map(|plan| &plan.findings);
    let own = |finding: &&Finding| finding.severity == Severity::Warning && change.is_about(planner.followed, finding);
    sayings.warnings.extend(plans.filter(own).map(warning));
    if told.blocked.is_empty() && told.denied.is_empty() {
        return Ok(None);
    }
    // Only now is it worth a look at what was there without it.
    let (known, known_told) = planner.plan(before, None).await?;
    sayings.take_errors(&all(&told.blocked), &all(&known_told.blocked));
    if told.denied.is_empty() {
        return Ok(None);
    }
    // What is due anyway was judged when it came. Only what is added counts.
    let (_, added) = planner.plan(after, Some(&known.plan)).await?;
    if let Some(opinion) = unjudged(&added) {
        return Ok(Some(opinion));
    }
    let mut refused = Vec::new();
    for (organization, denials) in &added.denied {
        let before = known_told.denied.get(organization).map(Vec::as_slice).unwrap_or_default();
        // Where nobody could judge the organization without it, only what is about this object is held against it.
        let was_judged = !known.unseen.contains(organization);
        let is_root = change.comes && change.key.0.get().scope == Scope::Root;
        let counts = |denial: &&Finding| was_judged || is_root || change.is_about(planner.followed, denial);
        refused.extend(newly_denied(denials, before).into_iter().filter(counts).cloned());
    }
    let is_refused = |denial: &Finding| refused.iter().any(|new| words(new) == words(denial));
    sayings.as_before(told.denied.values().flatten().filter(|denial| !is_refused(denial)));
    sayings.refused.extend(refused);
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(rule: &str, message: &str) -> Finding {
        let finding = Finding::error(Code::PolicyDenied, message).about("acme");
        Finding { rule: Some(rule.into()), ..finding }
    }

    #[test]
    fn a_denial_is_new_where_its_rule_says_more_than_before() {
        let before = [denied("cap", "12 keys have no owner")];
        let messages = |after: &[Finding]| -> Vec<String> {
            newly_denied(after, &before).into_iter().map(|finding| finding.message.clone()).collect()
        };
        assert!(messages(&before).is_empty());
        assert!(messages(&[denied("cap", "11 keys have no owner")]).is_empty());
        assert_eq!(messages(&[denied("region", "eu only")]), ["eu only"]);
        let both = [denied("cap", "12 keys have no owner"), denied("cap", "a key lasts too long")];
        assert_eq!(messages(&both), ["a key lasts too long"]);
    }

    #[test]
    fn what_another_object_may_put_right_is_a_warning_and_what_was_wrong_before_is_none_of_ours() {
        let old = Finding::error(Code::PlainSecret, "this is a password").about("Organization/acme");
        let dangling = Finding::error(Code::DanglingReference, "there is no team").about("acme/Team/core");
        let wrong = Finding::error(Code::FieldsDisagree, "these do not fit").about("acme/Team/core");
        let mut sayings = Sayings::default();
        sayings.take_errors(&[old.clone(), dangling.clone()], std::slice::from_ref(&old));
        assert!(sayings.refused.is_empty());
        assert_eq!(sayings.warnings, ["ARG1102: there is no team", "ARG1038: this is a password (as before)"]);
        sayings.take_errors(std::slice::from_ref(&wrong), &[]);
        assert_eq!(sayings.refused, [wrong]);
    }
}
