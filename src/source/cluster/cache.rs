//! What is known of one namespace: what its objects say, how far it was watched, and which organizations have moved.
//! Pure but for its lock: events go in, worlds come out.

mod supposed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::object::{Kept, Key, Said, place};
use super::settings::DeletionPolicy;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kind::{KINDS, KindId};
use crate::model::kinds::{organization, removal};
use crate::model::origin::Origin;
use crate::model::resource::{Resource, ResourceId, Spec};
use crate::model::state::{Desired, World};
use crate::model::value::Value;
use crate::source::manifest::FileReading;
use crate::source::world::assemble;
use crate::validate;

/// How many organizations that are gone are remembered.
const GONE_KEPT_MAX: usize = 10_000;

/// What is known of one namespace.
#[derive(Debug)]
pub struct Cache {
    cluster: Arc<str>,
    namespace: Arc<str>,
    deletion: DeletionPolicy,
    /// By kind, in the order of [`KINDS`].
    kinds: Vec<Reach>,
    objects: BTreeMap<Key, Kept>,
    /// The objects of each organization.
    members: BTreeMap<OrganizationName, BTreeSet<Key>>,
    /// Objects of which it is not known whose they are.
    strays: BTreeSet<Key>,
    /// Organizations that say what they were called before: what they are called now and were then.
    renames: BTreeMap<Key, (OrganizationName, OrganizationName)>,
    /// The newest version of anything that was seen of each organization, of what went as well.
    newest: BTreeMap<OrganizationName, u64>,
}

/// How far a kind was followed.
#[derive(Clone, Debug, Default)]
struct Reach {
    /// Whether all of it was listed once.
    listed: bool,
    /// Everything up to this version is known.
    reach: u64,
    /// Why it is not followed now.
    fault: Option<Finding>,
}

/// What a change concerns: an organization, or something of the namespace that belongs to none.
pub type Moved = Option<OrganizationName>;

/// A list is older than what is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list is of version {listed}, and {known} was seen already")]
pub struct Stale {
    /// The version of the list.
    pub listed: u64,
    /// The newest version that was seen of its kind.
    pub known: u64,
}

fn number(kind: KindId) -> usize {
    KINDS.iter().position(|known| kind.is(known)).unwrap_or_default()
}

impl Cache {
    /// One that knows nothing.
    pub fn new(cluster: &str, namespace: &str, deletion: DeletionPolicy) -> Cache {
        Cache {
            cluster: cluster.into(),
            namespace: namespace.into(),
            deletion,
            kinds: vec![Reach::default(); KINDS.len()],
            objects: BTreeMap::new(),
            members: BTreeMap::new(),
            strays: BTreeSet::new(),
            renames: BTreeMap::new(),
            newest: BTreeMap::new(),
        }
    }

    /// Takes a whole list of a kind: what it does not hold is no longer there.
    pub fn replace(&mut self, kind: KindId, listed: u64, objects: Vec<Kept>) -> Result<BTreeSet<Moved>, Stale> {
        let known = self.kinds[number(kind)].reach;
        if listed < known {
            return Err(Stale { listed, known });
        }
        let here: BTreeSet<Key> = objects.iter().map(|kept| kept.key.clone()).collect();
        let mut moved = BTreeSet::new();
        let from = (kind, Arc::from(""));
        let known = self.objects.range(from..).map(|(key, _)| key).take_while(|key| key.0 == kind);
        let gone: Vec<Key> = known.filter(|key| !here.contains(*key)).cloned().collect();
        for key in gone {
            moved.extend(self.take_out(&key, listed));
        }
        for kept in objects {
            moved.extend(self.put(kept));
        }
        let followed = &mut self.kinds[number(kind)];
        *followed = Reach { listed: true, reach: listed.max(followed.reach), fault: None };
        Ok(moved)
    }

    /// Takes an object that has come or changed.
    pub fn change(&mut self, kept: Kept) -> BTreeSet<Moved> {
        self.reached(kept.key.0, kept.version);
        self.put(kept)
    }

    /// Takes that an object has gone.
    pub fn remove(&mut self, key: &Key, version: u64) -> BTreeSet<Moved> {
        self.reached(key.0, version);
        match self.objects.get(key) {
            // It was made anew since then.
            Some(newer) if newer.version > version => BTreeSet::new(),
            _ => self.take_out(key, version),
        }
    }

    /// Takes that everything of a kind is known up to a version.
    pub fn reached(&mut self, kind: KindId, version: u64) {
        let followed = &mut self.kinds[number(kind)];
        followed.reach = followed.reach.max(version);
        followed.fault = None;
    }

    /// Takes that a kind cannot be followed now.
    pub fn failed(&mut self, kind: KindId, fault: Finding) {
        self.kinds[number(kind)].fault = Some(fault);
    }

    /// Why something is not followed now, and whether all of it was once.
    pub fn standing(&self) -> (bool, Vec<Finding>) {
        let faults = self.kinds.iter().filter_map(|followed| followed.fault.clone());
        (self.kinds.iter().all(|followed| followed.listed), faults.collect())
    }

    fn put(&mut self, kept: Kept) -> BTreeSet<Moved> {
        let mut moved = BTreeSet::new();
        match self.objects.get(&kept.key) {
            Some(known) if known.version > kept.version && known.uid == kept.uid => return moved,
            Some(known) if known.moves == kept.moves && known.uid == kept.uid => {}
            _ => moved.extend([whose(&kept)]),
        }
        // What makes it another one's also takes it from whose it was.
        if let Some(known) = self.objects.get(&kept.key)
            && whose(known) != whose(&kept)
        {
            let (key, version) = (kept.key.clone(), kept.version);
            moved.extend(self.take_out(&key, version));
        }
        match whose(&kept) {
            Some(organization) => {
                let newest = self.newest.entry(organization.clone()).or_default();
                *newest = kept.version.max(*newest);
                self.members.entry(organization).or_default().insert(kept.key.clone());
            }
            None => drop(self.strays.insert(kept.key.clone())),
        }
        match rename(&kept) {
            Some(rename) => drop(self.renames.insert(kept.key.clone(), rename)),
            None => drop(self.renames.remove(&kept.key)),
        }
        self.objects.insert(kept.key.clone(), kept);
        moved
    }

    fn take_out(&mut self, key: &Key, version: u64) -> BTreeSet<Moved> {
        let Some(known) = self.objects.remove(key) else { return BTreeSet::new() };
        self.renames.remove(key);
        let whose = whose(&known);
        match &whose {
            Some(organization) => {
                if let Some(keys) = self.members.get_mut(organization) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.members.remove(organization);
                    }
                }
                let newest = self.newest.entry(organization.clone()).or_default();
                *newest = version.max(*newest);
            }
            None => drop(self.strays.remove(key)),
        }
        self.forget();
        BTreeSet::from([whose])
    }

    /// Forgets how new organizations were that are gone, once there are very many: what all kinds were followed to says as
    /// much.
    fn forget(&mut self) {
        if self.newest.len() > self.members.len() + GONE_KEPT_MAX {
            let reach = self.kinds.iter().map(|followed| followed.reach).min().unwrap_or_default();
            let Cache { newest, members, .. } = self;
            newest.retain(|name, version| *version > reach || members.contains_key(name));
        }
    }

    /// The organizations that objects describe now; under the empty name, what all share.
    pub fn organizations(&self) -> BTreeSet<OrganizationName> {
        self.members.keys().cloned().collect()
    }

    /// The newest version of anything that was seen of an organization: what to remember with what was applied of it.
    pub fn newest(&self, organization: &str) -> u64 {
        self.newest.get(organization).copied().unwrap_or_default()
    }

    /// Up to which version all is known of an organization: a plan from here is not to follow one from further on.
    ///
    /// What was seen of it counts at once; that nothing else happened is known up to where every kind was followed.
    pub fn freshness(&self, organization: &str) -> u64 {
        let reach = self.kinds.iter().map(|followed| followed.reach).min().unwrap_or_default();
        reach.max(self.newest(organization))
    }

    /// The objects of an organization.
    pub fn objects(&self, organization: &str) -> impl Iterator<Item = &Kept> {
        self.members.get(organization).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }

    /// The objects that belong to no organization that may be here.
    pub fn strays(&self) -> impl Iterator<Item = &Kept> {
        self.strays.iter().filter_map(|key| self.objects.get(key))
    }

    /// An object.
    pub fn object(&self, key: &Key) -> Option<&Kept> {
        self.objects.get(key)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// What the namespace says of these organizations, checked. All others are only named: a pass over this world has to be
    /// limited to them.
    ///
    /// There is none before everything was listed once: what was not asked for would look like what is not there.
    pub fn world(&self, wanted: &BTreeSet<OrganizationName>, now: DateTime<Utc>) -> Result<World, Box<Finding>> {
        self.world_of(wanted, now, usize::MAX)
    }

    /// What the namespace says of these organizations, checked, and whether it describes others: one of them is named. It is
    /// for who asks of these alone, and is not to wait longer where there are more.
    pub fn part(&self, wanted: &BTreeSet<OrganizationName>, now: DateTime<Utc>) -> Result<World, Box<Finding>> {
        self.world_of(wanted, now, 1)
    }

    fn world_of(
        &self,
        wanted: &BTreeSet<OrganizationName>,
        now: DateTime<Utc>,
        named_max: usize,
    ) -> Result<World, Box<Finding>> {
        let (listed, faults) = self.standing();
        if !listed {
            let message = format!("not all of the namespace `{}` could be listed yet", self.namespace);
            let finding = Finding::error(Code::ClusterBehind, message);
            let why = faults.first().map(|fault| fault.message.clone());
            return Err(Box::new(finding.hint(why.unwrap_or_else(|| "it is being listed; try again".into()))));
        }
        let wanted = self.with_renamed(wanted);
        let shared: OrganizationName = GLOBAL.into();
        let keys = wanted.iter().chain([&shared]).collect::<BTreeSet<_>>();
        let members = keys.into_iter().filter_map(|name| self.members.get(name)).flatten();
        let kept = members.chain(&self.strays).filter_map(|key| self.objects.get(key));
        let readings = kept.filter(|kept| !kept.deleting).map(|kept| match &kept.said {
            Said::Read(reading) => FileReading::clone(reading),
            // Should something of it have been applied once, when the namespace was bound to more, it stays.
            Said::Refused(_) => FileReading { unreadable: true, ..FileReading::empty(&self.place(&kept.key)) },
        });
        let mut world = assemble(readings);
        validate::validate(&mut world, now);
        for name in &wanted {
            self.release_orphans(name, &mut world);
        }
        // An organization of which all objects go is not described any more.
        let is_described = |name: &&OrganizationName| self.objects(name).any(|kept| !kept.deleting);
        let others = || self.members.keys().filter(|name| !wanted.contains(*name)).filter(is_described);
        let shared = self.members.get_key_value(GLOBAL).map(|(name, _)| name).filter(is_described);
        for name in shared.into_iter().chain(others().filter(|name| &***name != GLOBAL).take(named_max)) {
            let named = || Desired { organization: name.clone(), ..Desired::default() };
            world.organizations.entry(name.clone()).or_insert_with(named);
        }
        Ok(world)
    }

    /// The wanted organizations, and those that were called so before or claim to have been.
    fn with_renamed(&self, wanted: &BTreeSet<OrganizationName>) -> BTreeSet<OrganizationName> {
        let mut all = wanted.clone();
        for (now, before) in self.renames.values() {
            if wanted.contains(now) || wanted.contains(before) {
                all.extend([now.clone(), before.clone()]);
            }
        }
        all
    }

    /// Lets go of the rows of objects that are deleted and shall leave them.
    fn release_orphans(&self, organization: &OrganizationName, world: &mut World) {
        let orphans = self.objects(organization).filter(|kept| kept.deleting && self.deletion_of(kept).is_orphan());
        let mut released = Vec::new();
        for kept in orphans {
            let Said::Read(reading) = &kept.said else { continue };
            let origin = Origin::file(&self.place(&kept.key));
            for resource in reading.resources.iter().filter(|resource| resource.kind().table.is_some()) {
                let declared = world.organizations.get(organization);
                if declared.is_none_or(|desired| desired.get(&(resource.id.kind, resource.id.name.clone())).is_none()) {
                    released.push(release_of(&resource.id, &origin));
                }
            }
        }
        if released.is_empty() {
            return;
        }
        let blank = || Desired { organization: organization.clone(), ..Desired::default() };
        let desired = world.organizations.entry(organization.clone()).or_insert_with(blank);
        desired.resources.extend(released);
        desired.resources.sort_by(|a, b| (a.id.kind, &a.id.name).cmp(&(b.id.kind, &b.id.name)));
    }

    /// What becomes of the rows of an object when it is deleted.
    pub fn deletion_of(&self, kept: &Kept) -> DeletionPolicy {
        kept.deletion.unwrap_or(self.deletion)
    }

    /// The place of an object, as findings and ownership records tell it.
    pub fn place(&self, key: &Key) -> Arc<str> {
        place(&self.cluster, &self.namespace, key)
    }
}

impl DeletionPolicy {
    fn is_orphan(self) -> bool {
        self == DeletionPolicy::Orphan
    }
}

/// Whose an object is; nobody's where it may not be here.
fn whose(kept: &Kept) -> Moved {
    match &kept.said {
        Said::Read(_) => kept.organization.clone(),
        Said::Refused(_) => None,
    }
}

/// What an organization is called and was called before, if it says so.
fn rename(kept: &Kept) -> Option<(OrganizationName, OrganizationName)> {
    let root = KindId::of(&organization::KIND);
    let Said::Read(reading) = &kept.said else { return None };
    let resource = reading.resources.iter().find(|resource| kept.key.0 == root && resource.id.kind == root)?;
    Some((resource.id.organization.clone(), resource.previous_name.clone()?))
}

/// What a person would write to let go of a row.
fn release_of(id: &ResourceId, origin: &Origin) -> Resource {
    let fields = [
        ("target.kind", id.kind.get().name),
        ("target.name", &*id.name),
        ("reason", "its object was deleted, and leaves it"),
        ("mode", "release"),
    ];
    let values = fields.into_iter().filter_map(|(path, text)| Some((removal::KIND.field_at(path)?, Value::text(text))));
    let name = format!("orphan of {} {}", id.kind, id.name).into();
    Resource {
        id: ResourceId { organization: id.organization.clone(), kind: KindId::of(&removal::KIND), name },
        spec: Spec::from_values(values),
        origin: origin.clone(),
        previous_name: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::object::{DELETION_POLICY, keep};
    use super::super::settings::Binding;
    use super::*;
    use crate::model::kind::Kind;
    use crate::model::kinds::team;

    fn kept(kind: &str, name: &str, version: u64, spec: Json) -> Kept {
        kept_with(kind, json!({ "name": name, "resourceVersion": version.to_string() }), spec)
    }

    fn kept_with(kind: &str, metadata: Json, spec: Json) -> Kept {
        let binding = Binding { organizations: vec!["acme*".into()], ..Binding::default() };
        let kind = KindId::of(Kind::named(kind).expect("a kind"));
        let object = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).expect("an object");
        keep("kubernetes", "team-a", &binding, kind, object)
    }

    fn team(name: &str, version: u64) -> Kept {
        kept("Team", name, version, json!({ "organization": "acme" }))
    }

    /// A cache that has listed everything at this version: an organization with these teams.
    fn listed(version: u64, teams: &[(&str, u64)]) -> Cache {
        let mut cache = Cache::new("kubernetes", "team-a", DeletionPolicy::Delete);
        for kind in KINDS.iter().map(|kind| KindId::of(kind)) {
            let objects = match kind {
                kind if kind.is(&organization::KIND) => vec![kept("Organization", "acme", 10, json!({}))],
                kind if kind.is(&team::KIND) => teams.iter().map(|(name, version)| team(name, *version)).collect(),
                _ => Vec::new(),
            };
            cache.replace(kind, version, objects).expect("it is not stale");
        }
        cache
    }

    fn wanted(names: &[&str]) -> BTreeSet<OrganizationName> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn names(world: &World, organization: &str) -> Vec<String> {
        let desired = world.organizations.get(organization);
        desired
            .into_iter()
            .flat_map(|desired| &desired.resources)
            .map(|resource| resource.id.name.to_string())
            .collect()
    }

    fn teams() -> KindId {
        KindId::of(&team::KIND)
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
    }

    #[test]
    fn there_is_no_world_before_everything_was_listed() {
        let mut cache = Cache::new("kubernetes", "team-a", DeletionPolicy::Delete);
        cache.replace(teams(), 50, vec![team("core", 40)]).expect("it is not stale");
        let refused = cache.world(&wanted(&["acme"]), now()).expect_err("the organizations are missing");
        assert_eq!(refused.code, Code::ClusterBehind);
        assert_eq!(
            names(&listed(50, &[("core", 40)]).world(&wanted(&["acme"]), now()).expect("a world"), "acme"),
            ["acme", "core"]
        );
    }

    #[test]
    fn a_list_that_is_older_than_what_was_seen_changes_nothing() {
        let mut cache = listed(50, &[("core", 40)]);
        assert_eq!(cache.change(team("new", 60)), BTreeSet::from([Some(Arc::from("acme"))]));
        let stale = cache.replace(teams(), 55, vec![team("core", 40)]);
        assert_eq!(stale.expect_err("it is stale"), Stale { listed: 55, known: 60 });
        assert_eq!(names(&cache.world(&wanted(&["acme"]), now()).expect("a world"), "acme"), ["acme", "core", "new"]);
        // An object that is older than the one that is known does not come back either.
        assert_eq!(cache.change(team("new", 59)), BTreeSet::new());
    }

    #[test]
    fn what_has_moved_is_told_once_and_what_is_the_same_not_at_all() {
        let mut cache = listed(50, &[("core", 40), ("web", 41)]);
        let acme = || BTreeSet::from([Some(Arc::from("acme"))]);
        assert_eq!(cache.replace(teams(), 60, vec![team("core", 40), team("web", 58)]).ok(), Some(BTreeSet::new()));
        assert_eq!(cache.replace(teams(), 61, vec![team("core", 40)]).ok(), Some(acme()));
        assert_eq!(cache.remove(&team("core", 0).key, 62), acme());
        assert_eq!(cache.remove(&team("core", 0).key, 63), BTreeSet::new());
        // A late word that it has gone does not take away the one that was made anew.
        cache.change(team("core", 70));
        assert_eq!(cache.remove(&team("core", 0).key, 69), BTreeSet::new());
        assert_eq!(names(&cache.world(&wanted(&["acme"]), now()).expect("a world"), "acme"), ["acme", "core"]);
    }

    #[test]
    fn freshness_counts_what_was_seen_what_went_and_how_far_all_kinds_were_followed() {
        let mut cache = listed(50, &[("core", 40)]);
        assert_eq!((cache.newest("acme"), cache.freshness("acme")), (40, 50));
        cache.change(team("core", 60));
        assert_eq!((cache.newest("acme"), cache.freshness("acme")), (60, 60));
        cache.remove(&team("core", 0).key, 70);
        assert_eq!((cache.newest("acme"), cache.freshness("acme")), (70, 70));
        // What is known of one kind alone is no word on the others.
        cache.reached(teams(), 90);
        assert_eq!(cache.freshness("acme"), 70);
        KINDS.iter().for_each(|kind| cache.reached(KindId::of(kind), 90));
        assert_eq!((cache.newest("acme"), cache.freshness("acme"), cache.freshness("acme-eu")), (70, 90, 90));
    }

    #[test]
    fn an_object_that_goes_is_not_described_and_one_that_leaves_its_rows_releases_them() {
        let going = |policy: &str| {
            let metadata = json!({ "name": "core", "resourceVersion": "60", "deletionTimestamp": "2027-01-15T08:00:00Z",
                "annotations": { DELETION_POLICY: policy } });
            kept_with("Team", metadata, json!({ "organization": "acme" }))
        };
        let mut cache = listed(50, &[("core", 40), ("web", 41)]);
        cache.change(going("delete"));
        let world = cache.world(&wanted(&["acme"]), now()).expect("a world");
        assert_eq!(names(&world, "acme"), ["acme", "web"]);
        cache.change(Kept { version: 61, ..going("orphan") });
        let world = cache.world(&wanted(&["acme"]), now()).expect("a world");
        let removal = world.organizations["acme"].resources.last().expect("a removal");
        let told = ["target.kind", "target.name", "mode"].map(|path| removal.text(path));
        assert_eq!(told, [Some("Team"), Some("core"), Some("release")]);
        // What another object declares stays managed.
        cache.change(kept("Team", "other", 62, json!({ "organization": "acme", "name": "core" })));
        let world = cache.world(&wanted(&["acme"]), now()).expect("a world");
        assert_eq!(names(&world, "acme"), ["acme", "core", "web"]);
    }

    #[test]
    fn a_part_says_the_same_of_what_was_asked_for_and_of_all_others_that_there_is_one() {
        let mut cache = listed(50, &[("core", 40)]);
        for name in ["acme-a", "acme-b", "acme-c"] {
            cache.change(kept("Organization", name, 60, json!({})));
        }
        let described = |wanted: &BTreeSet<OrganizationName>| {
            let world = cache.part(wanted, now()).expect("a world");
            assert_eq!(names(&world, "acme"), if wanted.contains("acme") { vec!["acme", "core"] } else { vec![] });
            world.organizations.keys().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(described(&wanted(&["acme"])), ["acme", "acme-a"]);
        // One of which nothing is left is not taken for all of them.
        assert_eq!(described(&wanted(&["acme-gone"])), ["acme"]);
        let all = wanted(&["acme", "acme-a", "acme-b", "acme-c"]);
        assert_eq!(described(&all), ["acme", "acme-a", "acme-b", "acme-c"]);
    }

    #[test]
    fn an_organization_that_was_not_asked_for_is_only_named_and_what_it_was_called_before_is_looked_at() {
        let mut cache = listed(50, &[("core", 40)]);
        let broken = json!({ "organization": "acme-eu", "parent": "nobody" });
        cache.change(kept("Team", "broken", 60, broken));
        let world = cache.world(&wanted(&["acme"]), now()).expect("a world");
        assert!(world.findings.is_empty() && world.blocked.is_empty(), "{:?}", world.findings);
        assert!(world.describes("acme-eu") && names(&world, "acme-eu").is_empty());
        let world = cache.world(&wanted(&["acme-eu"]), now()).expect("a world");
        assert_eq!(world.blocked, wanted(&["acme-eu"]));
        let metadata = json!({ "name": "acme-new", "resourceVersion": "61",
            "annotations": { "argus.io/previous-name": "acme" } });
        cache.change(kept_with("Organization", metadata, json!({})));
        // Both are declared: whichever is asked for, this is told.
        for name in ["acme", "acme-new"] {
            let world = cache.world(&wanted(&[name]), now()).expect("a world");
            assert!(world.blocked.contains("acme-new"), "{name}: {:?}", world.findings);
        }
    }
}
