//! What would be known if one object were another: a copy of what that concerns, with the other one put in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Cache;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::source::cluster::object::{Kept, Key, Said};
use crate::source::manifest::FileReading;

impl Cache {
    /// A copy that knows all of some organizations, and of the others no more than that they are there. In it this is
    /// the object of the key, or there is none.
    ///
    /// It is for [`Cache::world`] of these organizations.
    pub fn supposing(&self, concerned: &BTreeSet<OrganizationName>, key: &Key, kept: Option<Kept>) -> Cache {
        let mut whole = self.with_renamed(concerned);
        whole.insert(GLOBAL.into());
        let mut supposed = Cache {
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
            deletion: self.deletion,
            kinds: self.kinds.clone(),
            objects: BTreeMap::new(),
            members: BTreeMap::new(),
            strays: BTreeSet::new(),
            renames: BTreeMap::new(),
            newest: BTreeMap::new(),
        };
        for name in self.members.keys() {
            match whole.contains(name) {
                true => self.objects(name).for_each(|kept| drop(supposed.put(kept.clone()))),
                false => self.stand_in(name).into_iter().for_each(|kept| drop(supposed.put(kept))),
            }
        }
        self.strays().for_each(|kept| drop(supposed.put(kept.clone())));
        supposed.take_out(key, 0);
        kept.into_iter().for_each(|kept| drop(supposed.put(kept)));
        supposed
    }

    /// An object that says no more than that its organization is there; none where all of it goes.
    fn stand_in(&self, organization: &str) -> Option<Kept> {
        let one = self.objects(organization).find(|kept| !kept.deleting)?;
        let Kept { key, uid, generation, version, deleting, held, free, deletion, moves, told, organization, said: _ } =
            one;
        Some(Kept {
            key: key.clone(),
            uid: uid.clone(),
            generation: *generation,
            version: *version,
            deleting: *deleting,
            held: *held,
            free: *free,
            deletion: *deletion,
            moves: *moves,
            told: *told,
            organization: organization.clone(),
            said: Said::Read(Arc::new(FileReading::empty(&self.place(key)))),
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::model::kind::{KINDS, Kind, KindId};
    use crate::model::state::World;
    use crate::source::cluster::object::keep;
    use crate::source::cluster::settings::{Binding, DeletionPolicy};

    fn kept(kind: &str, name: &str, annotations: Json, spec: Json) -> Kept {
        let binding = Binding { organizations: vec!["acme*".into()], ..Binding::default() };
        let metadata = json!({ "name": name, "resourceVersion": "40", "annotations": annotations });
        let object = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).expect("an object");
        keep("kubernetes", "team-a", &binding, KindId::of(Kind::named(kind).expect("a kind")), object)
    }

    fn team(name: &str, organization: &str) -> Kept {
        kept("Team", name, json!({}), json!({ "organization": organization }))
    }

    /// A cache that has listed two organizations, and a team of each.
    fn listed() -> Cache {
        let mut cache = Cache::new("kubernetes", "team-a", DeletionPolicy::Delete);
        for kind in KINDS {
            cache.replace(KindId::of(kind), 50, Vec::new()).expect("it is not stale");
        }
        for kept in [
            kept("Organization", "acme", json!({}), json!({})),
            kept("Organization", "acme-eu", json!({}), json!({})),
            team("core", "acme"),
            team("web", "acme-eu"),
        ] {
            cache.change(kept);
        }
        cache
    }

    fn world(cache: &Cache, concerned: &[&str]) -> World {
        let now = DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap_or_default();
        cache.world(&set(concerned), now).expect("a world")
    }

    fn set(names: &[&str]) -> BTreeSet<OrganizationName> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn teams(world: &World, organization: &str) -> Vec<String> {
        let resources = world.organizations.get(organization).into_iter().flat_map(|desired| &desired.resources);
        resources.skip(1).map(|resource| resource.id.name.to_string()).collect()
    }

    #[test]
    fn another_object_stands_in_the_place_of_the_one_that_is_known_and_others_are_only_named() {
        let cache = listed();
        let other = team("core", "acme-eu");
        let both = set(&["acme", "acme-eu"]);
        let supposed = world(&cache.supposing(&both, &other.key, Some(other.clone())), &["acme", "acme-eu"]);
        assert_eq!(
            (teams(&supposed, "acme"), teams(&supposed, "acme-eu")),
            (vec![], vec!["core".into(), "web".into()])
        );
        let gone = cache.supposing(&set(&["acme"]), &other.key, None);
        assert_eq!(teams(&world(&gone, &["acme"]), "acme"), Vec::<String>::new());
        assert!(world(&gone, &["acme"]).describes("acme-eu"));
        // What is known stays as it is.
        assert_eq!(teams(&world(&cache, &["acme"]), "acme"), ["core"]);
    }

    #[test]
    fn what_is_wrong_elsewhere_is_not_looked_at_and_what_renames_it_is() {
        let mut cache = listed();
        cache.change(kept("Team", "lost", json!({}), json!({ "organization": "acme-eu", "parent": "nobody" })));
        let core = team("core", "acme");
        let supposed = cache.supposing(&set(&["acme"]), &core.key, Some(core.clone()));
        assert!(world(&supposed, &["acme"]).blocked.is_empty());
        let previous = json!({ "argus.io/previous-name": "acme-eu" });
        let renamed = kept("Organization", "acme-new", previous, json!({}));
        let concerned = ["acme-new", "acme-eu"];
        let supposed = cache.supposing(&set(&concerned), &renamed.key.clone(), Some(renamed));
        let blocked = world(&supposed, &concerned).blocked;
        assert!(blocked.contains("acme-eu") && blocked.contains("acme-new"), "{blocked:?}");
    }
}
