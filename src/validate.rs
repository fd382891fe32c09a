//! A table of checks over a [`World`] -> findings. What is wrong with an organization blocks that organization; what
//! is wrong with a tier blocks the organizations that use it. Pure: the time comes in as a value.

mod limits;
mod references;
mod steering;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::model::code::Code;
use crate::model::finding::{Finding, Severity, in_order};
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kind::{Kind, KindId};
use crate::model::kinds::{organization, tier};
use crate::model::resource::{Resource, ResourceId};
use crate::model::state::{Desired, World};

/// Fewer organizations than this are not worth a thread.
const ORGANIZATIONS_PER_THREAD_MIN: usize = 64;

/// The most errors of one organization that are told.
const ORGANIZATION_ERRORS_MAX: usize = 200;

/// What a check may look at.
struct Scene<'w> {
    world: &'w World,
    desired: &'w Desired,
    /// Those in documents with errors, sorted: they are declared, and nothing more is known of them.
    faulty: Vec<&'w ResourceId>,
    /// The declared tiers, and those in documents with errors.
    tiers: &'w HashMap<&'w str, Option<&'w Resource>>,
    now: DateTime<Utc>,
}

impl<'w> Scene<'w> {
    fn of(&self, kind: &'static Kind) -> impl Iterator<Item = &'w Resource> {
        let id = KindId::of(kind);
        let desired: &'w Desired = self.desired;
        // Resources are sorted by kind.
        let from = desired.resources.partition_point(|resource| resource.id.kind < id);
        desired.resources[from..].iter().take_while(move |resource| resource.id.kind == id)
    }

    fn names(&self, kind: KindId) -> impl Iterator<Item = &'w str> {
        let faulty = self.faulty.iter().filter(move |id| id.kind == kind).map(|id| &*id.name);
        self.of(kind.get()).map(|resource| &*resource.id.name).chain(faulty)
    }

    /// What is declared under this name: the resource, or nothing more than that it stands in a faulty document.
    fn get(&self, kind: KindId, name: &str) -> Option<Option<&'w Resource>> {
        let desired: &'w Desired = self.desired;
        // Resources are sorted by kind and name.
        let at =
            desired.resources.binary_search_by(|resource| (resource.id.kind, &*resource.id.name).cmp(&(kind, name)));
        let faulty = || self.faulty.binary_search_by(|id| (id.kind, &*id.name).cmp(&(kind, name))).is_ok();
        at.map_or_else(|_| faulty().then_some(None), |at| Some(Some(&desired.resources[at])))
    }

    /// Whether a file or a document could not be understood, so that what seems to be missing may stand there.
    fn incomplete(&self) -> bool {
        self.world.blocked.contains(&self.desired.organization)
    }
}

type Check = fn(&Scene<'_>, &mut Vec<Finding>);

/// The checks, each looking at one organization (or, under the empty name, at what all share).
const CHECKS: &[Check] = &[
    own_checks,
    references::undeclared_organization,
    references::references,
    references::role_scopes,
    references::team_cycles,
    limits::budgets,
    limits::quotas,
    limits::past,
    limits::schedules,
    steering::removals,
    steering::owners,
    steering::previous_names,
];

/// Checks a world; adds what it finds and blocks the organizations that have errors.
pub fn validate(world: &mut World, now: DateTime<Utc>) {
    let (mut findings, mut blocked) = check_all(world, now);
    steering::previous_organizations(world, &mut findings, &mut blocked);
    for (organization, tiers) in blocked {
        world.blocked.insert(organization);
        world.faulty.extend(tiers);
    }
    block_users_of_faulty_tiers(world);
    world.findings.append(&mut findings);
    world.findings = in_order(std::mem::take(&mut world.findings));
}

/// An organization with errors, and the tiers that they concern.
type Blocked = Vec<(OrganizationName, Vec<ResourceId>)>;

fn check_all(world: &World, now: DateTime<Utc>) -> (Vec<Finding>, Blocked) {
    let mut tiers: HashMap<&str, Option<&Resource>> = HashMap::new();
    tiers.extend(world.faulty.iter().filter(|id| id.kind.is(&tier::KIND)).map(|id| (&*id.name, None)));
    let global = world.organizations.get(GLOBAL);
    tiers.extend(global.iter().flat_map(|desired| &desired.resources).map(|tier| (&*tier.id.name, Some(tier))));

    let organizations: Vec<&Desired> = world.organizations.values().collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(organizations.len() / ORGANIZATIONS_PER_THREAD_MIN).max(1);
    let share = organizations.len().div_ceil(threads).max(1);
    let tiers = &tiers;
    let work = |part: &[&Desired]| {
        let mut findings = Vec::new();
        let mut blocked = Vec::new();
        for desired in part {
            let before = findings.len();
            check_one(world, desired, tiers, now, &mut findings);
            let errors: Vec<&Finding> = findings[before..].iter().filter(|finding| finding.is_error()).collect();
            if errors.is_empty() {
                continue;
            }
            let more = errors.len().saturating_sub(ORGANIZATION_ERRORS_MAX);
            let concerned = |resource: &&Resource| {
                resource.is_global() && errors.iter().any(|e| e.subject.as_deref() == Some(&resource.id.to_string()))
            };
            let tiers = desired.resources.iter().filter(concerned).map(|tier| tier.id.clone()).collect();
            blocked.push((desired.organization.clone(), tiers));
            if more > 0 {
                shorten(&mut findings, before, &desired.organization, more);
            }
        }
        (findings, blocked)
    };
    if threads == 1 {
        return work(&organizations);
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = organizations.chunks(share).map(|part| scope.spawn(move || work(part))).collect();
        let mut all = (Vec::new(), Vec::new());
        for worker in workers {
            let (findings, blocked) = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.0.extend(findings);
            all.1.extend(blocked);
        }
        all
    })
}

/// Keeps the first errors of those from a place on, and says how many more there are.
fn shorten(findings: &mut Vec<Finding>, from: usize, organization: &OrganizationName, more: usize) {
    let mut kept = 0;
    for finding in in_order(findings.split_off(from)) {
        kept += usize::from(finding.is_error());
        if !finding.is_error() || kept <= ORGANIZATION_ERRORS_MAX {
            findings.push(finding);
        }
    }
    let message = format!("{more} more errors of `{organization}` are not shown");
    findings.push(Finding::note(Code::TooManyValues, message).about(format!("Organization/{organization}")));
}

fn check_one(
    world: &World,
    desired: &Desired,
    tiers: &HashMap<&str, Option<&Resource>>,
    now: DateTime<Utc>,
    findings: &mut Vec<Finding>,
) {
    let faulty = faulty_of(world, &desired.organization).collect();
    let scene = Scene { world, desired, faulty, tiers, now };
    for check in CHECKS {
        check(&scene, findings);
    }
}

/// The resources of an organization that stand in documents with errors.
fn faulty_of<'w>(world: &'w World, organization: &OrganizationName) -> impl Iterator<Item = &'w ResourceId> {
    // The set is sorted by organization first, then by kind, then by name.
    let first = Kind::named("Tier").unwrap_or(&organization::KIND);
    let from = ResourceId { organization: organization.clone(), kind: KindId::of(first), name: "".into() };
    let organization = organization.clone();
    world.faulty.range(from..).take_while(move |id| id.organization == organization)
}

/// What each kind demands of its own resources.
fn own_checks(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let mut faults = Vec::new();
    for resource in &scene.desired.resources {
        (resource.kind().check)(resource, &mut faults);
        for fault in faults.drain(..) {
            let at = match fault.field {
                "" => resource.origin.clone(),
                field => resource.origin_of(field),
            };
            findings.push(Finding::error(fault.code, fault.message).about(&resource.id).at(at).hint(fault.hint));
        }
    }
}

/// Blocks what all share, and the organizations that use a tier with errors.
pub fn block_users_of_faulty_tiers(world: &mut World) {
    let faulty: BTreeSet<Arc<str>> =
        world.faulty.iter().filter(|id| id.kind.is(&tier::KIND)).map(|id| id.name.clone()).collect();
    if faulty.is_empty() {
        return;
    }
    world.blocked.insert(GLOBAL.into());
    for (name, desired) in &world.organizations {
        let id = KindId::of(&organization::KIND);
        let uses = |resource: &Resource| resource.text("tier").is_some_and(|tier| faulty.contains(tier));
        if desired.resources.iter().take_while(|resource| resource.id.kind <= id).any(uses) {
            world.blocked.insert(name.clone());
        }
    }
}

/// Whether anything found is an error.
pub fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}
