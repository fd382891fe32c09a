//! Which organizations a pass looks at: those of which files or rows have moved, within what was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Pass;
use super::ground::View;
use crate::digest;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kind::{Kind, KindId, Scope as KindScope};
use crate::model::kinds;
use crate::model::resource::ResourceId;
use crate::model::state::{Desired, Unread, World};
use crate::plan::OrganizationPlan;
use crate::store::error::StoreError;
use crate::store::planning::{OrganizationState, Pass as SettledPass};

/// So many held organizations are told one by one.
const HELD_TOLD_MAX: usize = 20;

/// What a pass is limited to; nothing named means everything.
#[derive(Clone, Debug, Default)]
pub struct Targets(Vec<Target>);

#[derive(Clone, Debug)]
enum Target {
    Organization(OrganizationName),
    Resource(ResourceId),
}

impl Targets {
    /// Reads `acme`, `acme/Member/ada@acme.example`, `Organization/acme` or `Tier/team`.
    pub fn parse(words: &[String]) -> Result<Targets, Box<Finding>> {
        words.iter().map(|word| Target::parse(word)).collect::<Result<_, _>>().map(Targets)
    }

    /// Some organizations, and everything of each; what all share is one of them.
    pub fn organizations(names: impl IntoIterator<Item = OrganizationName>) -> Targets {
        Targets(names.into_iter().map(Target::Organization).collect())
    }

    /// Whether everything of an organization is meant.
    pub fn cover_all_of(&self, organization: &str) -> bool {
        let whole = |target: &Target| matches!(target, Target::Organization(name) if &**name == organization);
        self.all() || self.0.iter().any(whole)
    }

    /// Whether everything is meant.
    pub fn all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a resource is meant.
    pub fn cover(&self, id: &ResourceId) -> bool {
        let covers = |target: &Target| match target {
            Target::Organization(name) => *name == id.organization,
            Target::Resource(resource) => resource == id,
        };
        self.all() || self.0.iter().any(covers)
    }

    /// Whether something of an organization is meant.
    pub fn touch(&self, organization: &str) -> bool {
        let touches = |target: &Target| match target {
            Target::Organization(name) => &**name == organization,
            Target::Resource(resource) => &*resource.organization == organization,
        };
        self.all() || self.0.iter().any(touches)
    }

    /// The resources of an organization that are meant one by one.
    pub fn resources<'a>(&'a self, organization: &'a str) -> impl Iterator<Item = &'a ResourceId> {
        self.0.iter().filter_map(move |target| match target {
            Target::Resource(id) if &*id.organization == organization => Some(id),
            Target::Resource(_) | Target::Organization(_) => None,
        })
    }

    /// The organizations of which everything is meant.
    pub fn whole_organizations(&self) -> BTreeSet<OrganizationName> {
        let whole = |target: &Target| match target {
            Target::Organization(name) => Some(name.clone()),
            Target::Resource(_) => None,
        };
        self.0.iter().filter_map(whole).collect()
    }

    /// The organizations of which something is meant, where not everything is.
    fn organizations_touched(&self) -> BTreeSet<OrganizationName> {
        let name = |target: &Target| match target {
            Target::Organization(name) => name.clone(),
            Target::Resource(id) => id.organization.clone(),
        };
        self.0.iter().map(name).collect()
    }

    /// The organizations that are named and not known.
    pub fn unmatched<'a>(&'a self, known: &'a dyn Fn(&str) -> bool) -> impl Iterator<Item = &'a str> {
        let name = |target: &'a Target| match target {
            Target::Organization(name) => &**name,
            Target::Resource(resource) => &*resource.organization,
        };
        self.0.iter().map(name).filter(move |name| !known(name))
    }
}

impl Target {
    fn parse(word: &str) -> Result<Target, Box<Finding>> {
        let parts: Vec<&str> = word.split('/').collect();
        let bad = |message: String| {
            let finding = Finding::error(Code::NoSuchTarget, message);
            Box::new(finding.hint("write `acme`, `acme/Member/ada@acme.example`, `Organization/acme` or `Tier/team`"))
        };
        let kind = |name: &str| Kind::meant_by(name).ok_or_else(|| bad(format!("`{name}` is no kind")));
        if parts.iter().any(|part| part.is_empty()) {
            return Err(bad(format!("`{word}` names no target")));
        }
        match parts[..] {
            [organization] if !organization.is_empty() => Ok(Target::Organization(organization.into())),
            [kind_name, name] => {
                let kind = kind(kind_name)?;
                let organization = match kind.scope {
                    KindScope::Global => GLOBAL,
                    KindScope::Root => name,
                    KindScope::Child => return Err(bad(format!("`{word}` does not say of which organization"))),
                };
                let id = ResourceId { organization: organization.into(), kind: KindId::of(kind), name: name.into() };
                Ok(Target::Resource(id))
            }
            [organization, kind_name, name] => {
                let kind = KindId::of(kind(kind_name)?);
                Ok(Target::Resource(ResourceId { organization: organization.into(), kind, name: name.into() }))
            }
            _ => Err(bad(format!("`{word}` names no target"))),
        }
    }
}

/// One organization to look at.
pub struct Subject<'a> {
    /// What is said of it; nothing, where it is no longer described.
    pub desired: &'a Desired,
    /// The name under which its rows stand now; another one where it is being renamed.
    pub row_name: OrganizationName,
    /// The digest of what is said.
    pub said: String,
    /// The digest of all that the comparison depends on.
    pub digest: String,
    /// Whether all of it is meant.
    pub whole: bool,
}

/// What a pass looks at, and what it does not and why.
pub struct Scope<'a> {
    /// What must be read and compared.
    pub moved: Vec<Subject<'a>>,
    /// What is as it was when it was last found settled, with what there was to tell then.
    pub unmoved: Vec<OrganizationPlan>,
    /// Why some organizations are not looked at, and what was wrong before.
    pub findings: Vec<Finding>,
    /// How many organizations the source owns although it describes none any more; 0 where it describes some.
    pub empties_itself: usize,
    /// The organizations that stay as they are because part of what describes them cannot be used.
    pub unseen: BTreeSet<OrganizationName>,
}

impl<'a> Scope<'a> {
    /// Decides for every organization that the source describes or owns.
    pub async fn new(
        world: &'a World,
        gone: &'a BTreeMap<OrganizationName, Desired>,
        states: &BTreeMap<OrganizationName, OrganizationState>,
        planning: &mut View,
        pass: &Pass<'_>,
    ) -> Result<Scope<'a>, StoreError> {
        let held = held(world, planning, pass.source).await?;
        let mut scope = Scope {
            moved: Vec::new(),
            unmoved: Vec::new(),
            findings: Vec::new(),
            empties_itself: 0,
            unseen: held.clone(),
        };
        scope.findings.extend(held_findings(held.iter().filter(|name| pass.targets.touch(name))));
        let known = |name: &str| {
            let in_database = name != GLOBAL && states.contains_key(name);
            world.describes(name) || gone.contains_key(name) || in_database
        };
        for name in pass.targets.unmatched(&known) {
            let message = match name {
                GLOBAL => "this source has nothing that all organizations share".to_owned(),
                name => format!("there is no organization `{name}`"),
            };
            let finding = Finding::error(Code::NoSuchTarget, message);
            scope.findings.push(finding.hint("neither the manifests nor the database know it"));
        }
        let described = world.organizations.iter().chain(gone);
        for (name, desired) in described.filter(|(name, _)| !held.contains(*name) && pass.targets.touch(name)) {
            scope.add(name, desired, states, pass);
        }
        for (name, unread) in &world.unread {
            if pass.targets.touch(name) {
                scope.add_unread(name, unread, states, pass);
            }
        }
        if world.unread.is_empty() && world.organizations.keys().all(|name| &**name == GLOBAL) {
            scope.empties_itself = gone.keys().filter(|name| &***name != GLOBAL).count();
        }
        Ok(scope)
    }

    fn add(
        &mut self,
        name: &OrganizationName,
        desired: &'a Desired,
        states: &BTreeMap<OrganizationName, OrganizationState>,
        pass: &Pass<'_>,
    ) {
        let said = digest::said(desired);
        let digest = digest::of(&said, &digest::places(desired), pass.correct_drift);
        let state = states.get(name);
        if !pass.full
            && pass.targets.all()
            && let Some(settled) = state.and_then(|state| state.settled(pass.source, &digest))
        {
            return self.leave(name, settled);
        }
        let row_name = renamed_from(desired, states).unwrap_or_else(|| name.clone());
        self.moved.push(Subject { desired, row_name, said, digest, whole: pass.targets.cover_all_of(name) });
    }

    /// An organization whose manifests were not read, because nothing had moved. If something has moved since then, this
    /// pass cannot tell what.
    fn add_unread(
        &mut self,
        name: &OrganizationName,
        unread: &Unread,
        states: &BTreeMap<OrganizationName, OrganizationState>,
        pass: &Pass<'_>,
    ) {
        let digest = digest::of(&unread.said, &unread.places, pass.correct_drift);
        match states.get(name).and_then(|state| state.settled(pass.source, &digest)) {
            Some(settled) => self.leave(name, settled),
            None => {
                let finding = Finding::error(Code::Stale, format!("`{name}` has moved while the manifests were read"));
                self.findings.push(finding.about(name).hint("plan again"));
            }
        }
    }

    /// Leaves an organization alone that is as it was when it was last found settled.
    fn leave(&mut self, name: &OrganizationName, settled: &SettledPass) {
        let findings: Vec<Finding> = serde_json::from_str(&settled.notes.to_string()).unwrap_or_default();
        if !findings.is_empty() {
            self.unmoved.push(OrganizationPlan::unchanged(name, findings));
        }
    }
}

/// Every organization that a source describes or owns, or those of these names alone, with the digest of what is said of it
/// and the version of its rows. What was not read is not among them.
pub async fn census(
    world: &World,
    planning: &mut View,
    source: &str,
    correct_drift: bool,
    only: Option<&BTreeSet<OrganizationName>>,
) -> Result<Vec<(OrganizationName, String, i64)>, StoreError> {
    let counts = |name: &OrganizationName| only.is_none_or(|only| only.contains(name));
    let states = planning.states(source, only).await?;
    let owns_shared = counts(&GLOBAL.into()) && owns_shared(world, planning, source).await?;
    let gone = no_longer_described(world, &states, source, owns_shared);
    let described = world.organizations.iter().chain(&gone).filter(|(name, _)| counts(name));
    let counted = described.map(|(name, desired)| {
        let digest = digest::of(&digest::said(desired), &digest::places(desired), correct_drift);
        (name.clone(), digest, states.get(name).map_or(0, |state| state.version))
    });
    Ok(counted.collect())
}

/// The organizations of which a pass has to know how they stand: those that it is limited to and what they were called
/// before. All of them where it is limited to none, or where it has to be told how many the source describes no more.
pub fn concerned(world: &World, targets: &Targets) -> Option<BTreeSet<OrganizationName>> {
    let is_empty = world.unread.is_empty() && world.organizations.keys().all(|name| &**name == GLOBAL);
    if targets.all() || is_empty {
        return None;
    }
    let mut concerned: BTreeSet<OrganizationName> = targets.organizations_touched();
    let touched = concerned.iter().filter_map(|name| world.organizations.get(name));
    let before = touched.flat_map(|desired| &desired.resources);
    let before: Vec<OrganizationName> = before
        .filter(|resource| resource.id.kind.is(&kinds::organization::KIND))
        .filter_map(|resource| resource.previous_name.clone())
        .collect();
    concerned.extend(before);
    Some(concerned)
}

/// Whether the source owns something that all share. Only of interest where it describes nothing of that kind.
pub async fn owns_shared(world: &World, planning: &mut View, source: &str) -> Result<bool, StoreError> {
    if world.organizations.contains_key(GLOBAL) {
        return Ok(false);
    }
    let shared = planning.applied(&[GLOBAL.into()]).await?;
    Ok(shared.values().flat_map(|applied| applied.rows.values()).any(|row| *row.source == *source))
}

/// The organizations that the source owns and no longer describes, each with nothing said of it.
pub fn no_longer_described(
    world: &World,
    states: &BTreeMap<OrganizationName, OrganizationState>,
    source: &str,
    owns_shared: bool,
) -> BTreeMap<OrganizationName, Desired> {
    let renamed: BTreeSet<&Arc<str>> = world
        .organizations
        .values()
        .flat_map(|desired| &desired.resources)
        .filter(|resource| resource.id.kind.is(&kinds::organization::KIND))
        .filter_map(|resource| resource.previous_name.as_ref())
        .collect();
    let owned = states.iter().filter(|(_, state)| state.owner.as_deref() == Some(source)).map(|(name, _)| name.clone());
    let candidates = owned.chain(owns_shared.then(|| GLOBAL.into()));
    let gone = candidates.filter(|name| !world.describes(name) && !renamed.contains(name));
    gone.map(|name| (name.clone(), Desired { organization: name, ..Desired::default() })).collect()
}

/// The tiers that exist, each with the organizations that use it where the pass may take one away.
pub async fn tiers(
    planning: &mut View,
    targets: &Targets,
) -> Result<BTreeMap<Arc<str>, Vec<OrganizationName>>, StoreError> {
    let is_of_interest = targets.touch(GLOBAL) || planning.database().is_none();
    let mut tiers = if is_of_interest { planning.tier_users().await? } else { BTreeMap::new() };
    let shared = planning.live(&[Arc::from(GLOBAL)]).await?;
    for (_, name) in shared.values().flat_map(|live| live.rows.keys()) {
        tiers.entry(name.clone()).or_default();
    }
    Ok(tiers)
}

/// The tiers that the source declares.
pub fn declared_tiers(world: &World) -> BTreeSet<Arc<str>> {
    let shared = world.organizations.get(GLOBAL).map(|desired| desired.resources.as_slice()).unwrap_or_default();
    shared.iter().map(|resource| resource.id.name.clone()).collect()
}

/// The organizations that must stay as they are: those with errors, and those of files that cannot be read.
async fn held(world: &World, planning: &mut View, source: &str) -> Result<BTreeSet<OrganizationName>, StoreError> {
    let mut held = world.blocked.clone();
    held.extend(planning.beyond());
    if !world.unreadable_files.is_empty() {
        let files: Vec<Arc<str>> = world.unreadable_files.iter().cloned().collect();
        held.extend(planning.organizations_of_files(source, &files).await?);
    }
    Ok(held)
}

/// Says which organizations are held, in one finding where they are too many to be told one by one.
fn held_findings<'a>(held: impl Iterator<Item = &'a OrganizationName>) -> Vec<Finding> {
    let held: Vec<&OrganizationName> = held.collect();
    let name = |name: &OrganizationName| match &**name {
        GLOBAL => "what all organizations share".to_owned(),
        name => format!("`{name}`"),
    };
    let why = "because part of what describes it cannot be used";
    let hint = "mend what is wrong there; the other organizations go on";
    let finding = |message: String| Finding::error(Code::HeldOrganization, message).hint(hint);
    if held.len() > HELD_TOLD_MAX {
        let first: Vec<String> = held.iter().take(HELD_TOLD_MAX).map(|held| name(held)).collect();
        let rest = held.len() - HELD_TOLD_MAX;
        return vec![finding(format!("{} and {rest} more are held as they are, {why}", first.join(", ")))];
    }
    held.into_iter().map(|held| finding(format!("{} is held as it is, {why}", name(held))).about(held)).collect()
}

/// The name under which the rows of a renamed organization stand, as long as they do.
fn renamed_from(desired: &Desired, states: &BTreeMap<OrganizationName, OrganizationState>) -> Option<OrganizationName> {
    let root = desired.resources.iter().find(|resource| resource.id.kind.is(&kinds::organization::KIND))?;
    let previous = root.previous_name.clone()?;
    let exists = |name: &str| states.get(name).is_some_and(|state| state.exists);
    (exists(&previous) && !exists(&desired.organization)).then_some(previous)
}
