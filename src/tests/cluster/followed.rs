//! A namespace that is followed: what it says, what moves, and what nobody gets at from there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argus::model::code::Code;
use argus::model::finding::Finding;
use argus::model::kind::{Kind, KindId};
use argus::model::state::World;
use argus::source::cluster::api::Times;
use argus::source::cluster::cache::Cache;
use argus::source::cluster::object::{Key, Said};
use argus::source::cluster::settings::{Binding, ClusterSettings};
use argus::source::cluster::{Cluster, Followed};
use argus::source::directory::{self, Options};
use argus::validate;
use chrono::Utc;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{ROOT, document, over, resources};
use crate::support::kubernetes::{Namespace, User, shared};

/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Argus at a namespace of the cluster.
pub struct Follower {
    pub runtime: Runtime,
    pub cluster: Cluster,
    pub namespace: Namespace,
}

/// Short times, so that what is tried again is tried soon; nothing hangs on them.
pub fn times() -> Times {
    Times {
        request: Duration::from_secs(10),
        wait: Duration::from_millis(50),
        wait_max: Duration::from_secs(1),
        ..Times::default()
    }
}

impl Follower {
    /// Argus in a new namespace, with the role that the documentation asks for, bound to these organizations.
    pub fn new(organizations: &[&str]) -> Follower {
        let namespace = shared().namespace();
        namespace.admit_argus();
        Follower::at(namespace, organizations, None, times())
    }

    /// Argus in this namespace, through this address.
    pub fn at(namespace: Namespace, organizations: &[&str], address: Option<&str>, times: Times) -> Follower {
        let organizations = organizations.iter().map(|name| (*name).to_owned());
        let binding = Binding { organizations: organizations.collect(), tiers: false, ..Binding::default() };
        Follower::bound(namespace, binding, address, times)
    }

    /// The same with a binding that says more.
    pub fn bound(namespace: Namespace, binding: Binding, address: Option<&str>, times: Times) -> Follower {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let settings = ClusterSettings {
            kubeconfig: Some(shared().way_in(User::Argus, address)),
            namespaces: BTreeMap::from([(namespace.name.clone(), binding)]),
            ..ClusterSettings::default()
        };
        let cluster = runtime.block_on(Cluster::follow(&settings, "replica-1", times)).expect("a cluster");
        Follower { runtime, cluster, namespace }
    }

    /// The namespace as it is followed.
    pub fn followed(&self) -> &Arc<Followed> {
        self.cluster.namespace(&self.namespace.name).expect("the namespace")
    }

    /// Waits until what is known fulfils this.
    pub fn until(&self, what: &str, fulfilled: impl Fn(&Cache) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !fulfilled(&self.followed().cache()) {
            let standing = self.followed().cache().standing();
            assert!(Instant::now() < deadline, "never {what}: {standing:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until everything was listed, and takes what has moved by then.
    pub fn listed(&self) {
        self.until("listed", |cache| cache.standing().0);
        self.calm();
    }

    /// Takes what has moved.
    pub fn calm(&self) -> BTreeSet<Option<Arc<str>>> {
        let taken = async { tokio::time::timeout(Duration::from_millis(300), self.cluster.moved()).await };
        self.runtime.block_on(taken).unwrap_or_default().into_iter().map(|(_, organization)| organization).collect()
    }

    /// Waits until this organization, or something that belongs to none, has moved.
    pub fn moved(&self, organization: Option<&str>) {
        let wanted: Option<Arc<str>> = organization.map(Arc::from);
        let deadline = Instant::now() + PATIENCE;
        while !self.calm().contains(&wanted) {
            assert!(Instant::now() < deadline, "{organization:?} never moved");
        }
    }

    /// What is said of these organizations.
    pub fn world(&self, organizations: &[&str]) -> Result<World, Box<Finding>> {
        let wanted = organizations.iter().map(|name| Arc::from(*name)).collect();
        self.followed().cache().world(&wanted, Utc::now())
    }

    /// Creates an object.
    pub fn create(&self, kind: &str, name: &str, spec: &Value) {
        self.create_with(&document(kind, name, spec));
    }

    /// Creates an object from its whole document.
    pub fn create_with(&self, document: &Value) {
        self.namespace.kubectl_with(&["create", "-f", "-"], &document.to_string()).well();
    }
}

/// An object by kind and name.
pub fn key(kind: &str, name: &str) -> Key {
    (KindId::of(Kind::named(kind).expect("a kind")), name.into())
}

/// Whether the cache has an object.
pub fn has(kind: &str, name: &str) -> impl Fn(&Cache) -> bool + use<> {
    let key = key(kind, name);
    move |cache| cache.object(&key).is_some()
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn objects_say_what_the_files_said_that_they_were_made_from() {
    let namespace = shared().namespace();
    namespace.admit_argus();
    let root = Path::new(ROOT).join("examples/acme");
    over(&namespace, &["create"], &resources(&root)).well();
    let organizations = ["acme".to_owned(), "globex".to_owned()];
    let binding = Binding {
        organizations: organizations.to_vec(),
        tiers: true,
        secret_namespaces: vec!["*".into()],
        ..Binding::default()
    };
    let follower = Follower::bound(namespace, binding, None, times());
    follower.listed();
    let told = follower.world(&["acme", "globex"]).expect("a world");
    let mut written = directory::read(&root, &Options::default());
    validate::validate(&mut written, Utc::now());
    assert_eq!(told.findings.iter().filter(|finding| finding.is_error()).collect::<Vec<_>>(), Vec::<&Finding>::new());
    assert!(told.organizations.keys().eq(written.organizations.keys()) && told.organizations.len() == 3);
    for (told, written) in told.organizations.values().zip(written.organizations.values()) {
        let said = |world: &argus::model::state::Desired| {
            world.resources.iter().map(|one| (one.id.clone(), one.spec.clone())).collect::<Vec<_>>()
        };
        assert_eq!(said(told), said(written));
        assert_eq!(told.authoritative, written.authoritative);
        assert_eq!(argus::digest::said(told), argus::digest::said(written));
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_is_made_edited_asked_for_and_deleted_moves_its_organization_and_no_other() {
    let follower = Follower::new(&["acme", "acme-eu"]);
    follower.create("Organization", "acme", &json!({ "displayName": "Acme" }));
    follower.create("Organization", "acme-eu", &json!({}));
    follower.listed();
    let edits: [&[&str]; 4] = [
        &["patch", "org", "acme", "--type=merge", "--patch", r#"{"spec":{"displayName":"Acme Corporation"}}"#],
        &["annotate", "org", "acme", "argus.io/requestedAt=2030-01-01T00:00:00Z"],
        &["annotate", "org", "acme", "argus.io/requestedAt=2030-01-02T00:00:00Z", "--overwrite"],
        &["delete", "org", "acme"],
    ];
    for edit in edits {
        follower.namespace.kubectl(edit).well();
        let deadline = Instant::now() + PATIENCE;
        let moved = loop {
            let moved = follower.calm();
            if !moved.is_empty() {
                break moved;
            }
            assert!(Instant::now() < deadline, "{edit:?}");
        };
        assert_eq!(moved, BTreeSet::from([Some(Arc::from("acme"))]), "{edit:?}");
    }
    // A note that means nothing here, and a status, are seen and move nothing.
    follower.namespace.kubectl(&["annotate", "org", "acme-eu", "example.com/seen=now"]).well();
    let status = r#"{"status":{"observedGeneration":1}}"#;
    follower
        .namespace
        .kubectl(&["patch", "org", "acme-eu", "--subresource=status", "--type=merge", "-p", status])
        .well();
    let version = follower.namespace.kubectl(&["get", "org", "acme-eu", "-o", "json"]).well().json();
    let version: u64 = version["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).expect("one");
    follower.until("seen", |cache| cache.newest("acme-eu") >= version);
    assert_eq!(follower.calm(), BTreeSet::new());
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn whoever_may_write_to_a_namespace_reaches_no_other_organization_through_any_field() {
    let follower = Follower::new(&["acme", "acme-*"]);
    follower.create("Organization", "acme", &json!({ "tier": "team" }));
    let named = |name: &str, annotations: Value, kind: &str, spec: Value| {
        let mut document = document(kind, name, &spec);
        document["metadata"]["annotations"] = annotations;
        document
    };
    let previous = json!({ "argus.io/previous-name": "globex" });
    let target = json!({ "kind": "Organization", "name": "globex" });
    let reaching = [
        named("globex", json!({}), "Organization", json!({})),
        named("innocent", json!({}), "Organization", json!({ "name": "globex" })),
        named("acme-new", previous.clone(), "Organization", json!({})),
        named(
            "mallory",
            json!({}),
            "Member",
            json!({ "organization": "globex", "user": "mallory@acme.example", "role": "owner" }),
        ),
        named("drop", json!({}), "Removal", json!({ "organization": "globex", "target": target, "reason": "mine" })),
        named("free", json!({}), "Tier", json!({ "limits": { "members": 1_000_000 } })),
    ];
    for document in &reaching {
        follower.create_with(document);
    }
    // What stays within its organization by what it is, whatever it names.
    follower.create_with(&named("core", previous, "Team", json!({ "organization": "acme" })));
    follower.create("Removal", "drop-other", &json!({ "organization": "acme", "target": target, "reason": "mine" }));
    let secret = json!({ "namespace": "kube-system", "name": "stolen", "key": "token" });
    let key = json!({ "organization": "acme-keys", "owner": { "user": "a@acme.example" }, "scopes": ["read"],
        "deliverTo": { "secret": secret } });
    follower.create("Organization", "acme-keys", &json!({}));
    follower.create("ApiKey", "bot", &key);
    follower.listed();
    let bot = self::key("ApiKey", "bot");
    follower.until("told of all", |cache| cache.object(&bot).is_some());
    let world = follower.world(&["acme", "acme-new", "acme-keys", "globex", ""]).expect("a world");
    let described: Vec<&str> = world.organizations.keys().map(|name| &**name).collect();
    assert_eq!(described, ["acme", "acme-keys"]);
    let resources = || world.organizations.values().flat_map(|desired| &desired.resources);
    assert!(resources().all(|resource| resource.id.organization.starts_with("acme")), "{world:?}");
    // The team was never called like an organization, and the removal removes nothing beyond its own.
    let previous = resources().filter_map(|resource| Some((resource.id.to_string(), resource.previous_name.clone()?)));
    assert_eq!(previous.collect::<Vec<_>>(), [("acme/Team/core".to_owned(), Arc::from("globex"))]);
    let blocked: Vec<&str> = world.blocked.iter().map(|name| &**name).collect();
    assert!(blocked.contains(&"acme-keys"), "{blocked:?}");
    let keys = world.findings.iter().filter(|finding| finding.code == Code::NotBound);
    assert_eq!(
        keys.map(|finding| finding.subject.clone()).collect::<Vec<_>>(),
        [Some("acme-keys/ApiKey/bot".to_owned())]
    );
    // Each of those that reach elsewhere is told so, itself, with its place and who can help.
    let cache = follower.followed().cache();
    let refused: BTreeMap<String, &Finding> = cache
        .strays()
        .filter_map(|kept| match &kept.said {
            Said::Refused(finding) => Some((format!("{}/{}", kept.key.0, kept.key.1), &**finding)),
            Said::Read(_) => None,
        })
        .collect();
    let expected = reaching.iter().map(|document| {
        format!("{}/{}", document["kind"].as_str().expect("kind"), document["metadata"]["name"].as_str().expect("name"))
    });
    assert_eq!(refused.keys().cloned().collect::<BTreeSet<_>>(), expected.collect());
    for (name, finding) in refused {
        assert_eq!(finding.code, Code::NotBound, "{name}");
        let place = finding.origin.as_ref().map(ToString::to_string);
        assert_eq!(place, Some(format!("kubernetes/{}/{name}", follower.namespace.name)));
        assert!(finding.hint.as_deref().is_some_and(|hint| hint.contains("kubernetes.namespaces")), "{finding:?}");
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_the_server_takes_and_argus_does_not_blocks_its_organization_alone() {
    let follower = Follower::new(&["acme*"]);
    follower.create("Organization", "acme", &json!({}));
    follower.create("Organization", "acme-bad", &json!({ "settings": { "password": "hunter22" } }));
    follower.until("both are heard of", |cache| cache.len() == 2);
    follower.listed();
    let world = follower.world(&["acme", "acme-bad"]).expect("a world");
    assert_eq!(world.blocked.iter().map(|name| &**name).collect::<Vec<_>>(), ["acme-bad"]);
    let told: Vec<String> =
        world.findings.iter().map(|finding| finding.origin.clone().expect("a place").to_string()).collect();
    assert_eq!(told, [format!("kubernetes/{}/Organization/acme-bad", follower.namespace.name)]);
    assert!(follower.world(&["acme"]).expect("a world").blocked.is_empty());
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn without_the_right_to_list_everything_there_is_no_world_and_with_it_there_is() {
    let namespace = shared().namespace();
    let follower = Follower::at(namespace, &["acme"], None, times());
    follower.create("Organization", "acme", &json!({}));
    follower.until("told what is missing", |cache| !cache.standing().1.is_empty());
    let (listed, faults) = follower.followed().cache().standing();
    assert!(!listed && faults.iter().all(|fault| fault.code == Code::ClusterRefused), "{faults:?}");
    assert!(faults[0].message.contains("is forbidden"), "{faults:?}");
    let refused = follower.world(&["acme"]).expect_err("nothing was listed");
    assert!(refused.code == Code::ClusterBehind && refused.hint.expect("why").contains("is forbidden"));
    follower.namespace.admit_argus();
    follower.listed();
    assert!(follower.world(&["acme"]).expect("a world").describes("acme"));
    // Rights that were never given: other namespaces, and what else is in this one.
    for (verb, what) in [("list", "secrets"), ("get", "secrets"), ("delete", "organizations"), ("create", "teams")] {
        follower.namespace.as_user(User::Argus, &["auth", "can-i", verb, what], "").refused("");
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_way_in_that_leads_nowhere_is_told_with_what_to_do() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let follow = |settings: &ClusterSettings| match runtime.block_on(Cluster::follow(settings, "r", times())) {
        Ok(_) => panic!("it leads somewhere"),
        Err(finding) => finding,
    };
    let missing = ClusterSettings { kubeconfig: Some("/nowhere/kubeconfig".into()), ..ClusterSettings::default() };
    let finding = follow(&missing);
    assert!(finding.code == Code::BadSettings && finding.message.contains("/nowhere/kubeconfig"), "{finding:?}");
    let way = Some(shared().way_in(User::Argus, None));
    let context = ClusterSettings { kubeconfig: way, context: Some("other".into()), ..ClusterSettings::default() };
    assert!(follow(&context).message.contains("other"), "{:?}", follow(&context));
    let outside = follow(&ClusterSettings::default());
    assert!(outside.message.contains("does not run in a cluster"), "{outside:?}");
}
