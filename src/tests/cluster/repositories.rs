//! Repositories that a namespace names: `kubectl apply` of a GitSource, and back to the object; and what it does not reach.

use argus::source::cluster::sort::Sort;
use serde_json::{Value, json};

use super::controlled::Controlled;
use super::document;
use crate::support::git::Repository;
use crate::support::git_ssh::GitSsh;
use crate::support::keys::Key;
use crate::support::kubernetes::shared;

/// The organization of a name, with one owner.
fn organization(name: &str, more: &str) -> String {
    format!(
        "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata:\n  name: {name}\n{more}spec:\n  displayName: {name}\n  \
         members: [{{user: ada@{name}.example, role: owner}}]\n"
    )
}

/// A repository behind a server, a namespace that may name it, and a controller.
struct World {
    repository: Repository,
    server: GitSsh,
    key: Key,
    controlled: Controlled,
}

impl World {
    /// With what the binding says beside its repositories.
    fn new(binding: &Value) -> World {
        let (repository, key) = (Repository::new(), Key::new("ed25519"));
        let server = GitSsh::start(&key.public);
        let mut binding = binding.clone();
        binding["gitSources"] =
            json!({ "names": ["team-*"], "urls": ["ssh://*@127.0.0.1:*/*"], "secrets": ["way-in", "signers"] });
        let namespace = shared().namespace();
        namespace.admit_argus();
        namespace
            .kubectl(&[
                "create",
                "role",
                "secrets",
                "--verb=get",
                "--resource=secrets",
                "--resource-name=way-in",
                "--resource-name=signers",
            ])
            .well();
        namespace.kubectl(&["create", "rolebinding", "secrets", "--role=secrets", "--user=argus"]).well();
        let controlled = Controlled::at(namespace, &binding);
        World { repository, server, key, controlled }
    }

    /// The Secret with the key.
    fn let_in(&self) {
        let identity = std::fs::read_to_string(self.key.path()).expect("a key");
        self.secret("way-in", &json!({ "identity": identity, "known_hosts": self.server.known_host() }));
    }

    fn secret(&self, name: &str, entries: &Value) {
        let secret =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": entries });
        self.controlled.apply(&secret);
    }

    fn commit(&self, text: &str) -> String {
        self.repository.write("argus.yaml", "source: team-acme\n");
        self.repository.write("all.yaml", text);
        self.repository.commit("a commit")
    }

    /// What a GitSource says of the repository, and more.
    fn spec(&self, more: &Value) -> Value {
        let mut spec =
            json!({ "url": self.server.url(&self.repository.path), "ref": "main", "secretRef": { "name": "way-in" } });
        spec.as_object_mut().expect("a mapping").extend(more.as_object().expect("a mapping").clone());
        spec
    }

    fn name(&self, name: &str, more: &Value) {
        self.controlled.apply(&document(Sort::GitSource.name(), name, &self.spec(more)));
    }

    fn look(&self) {
        let at = format!("argus.io/requestedAt={:?}", std::time::SystemTime::now());
        self.controlled.namespace.kubectl(&["annotate", "--overwrite", "gitsource", "team-acme", &at]).well();
    }

    fn status(&self) -> Value {
        self.controlled.json("gitsource/team-acme")["status"].clone()
    }
}

const NAMES: &str = "SELECT string_agg(name || '=' || display_name, ',' ORDER BY name) FROM argus.organization";

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_repository_that_is_named_is_applied_and_told_how_it_stands() {
    let world = World::new(&json!({ "organizations": ["acme", "globex"] }));
    let first = world.commit(&organization("acme", ""));
    world.name("team-acme", &json!({}));
    // Without its Secret nobody gets in, and it says so; with it, it goes on by itself.
    world.controlled.reason("gitsource/team-acme", "ReconciliationFailed");
    let why = world.status().to_string();
    assert!(why.contains("there is no Secret `way-in`") && why.contains("Reconciling"), "{why}");
    world.let_in();
    world.look();
    world.controlled.wait("gitsource/team-acme", "ready");
    assert_eq!(world.controlled.sql(NAMES), "acme=acme");
    let status = world.status();
    assert_eq!(status["lastAppliedRevision"], format!("main@sha1:{first}"), "{status}");
    assert_eq!(status["lastAttemptedRevision"], status["lastAppliedRevision"]);
    assert_eq!(status["inventory"], json!([{ "organization": "acme", "revision": format!("main@sha1:{first}") }]));
    assert!(status["history"][0]["changes"].as_u64().is_some_and(|changes| changes > 1), "{status}");
    assert!(status["history"][0]["planDigest"].as_str().is_some_and(|digest| digest.len() == 64), "{status}");
    // A commit, and a look that somebody asks for.
    let second = world.commit(&[organization("acme", ""), organization("globex", "")].join("---\n"));
    world.look();
    world.controlled.until(NAMES, "acme=acme,globex=globex");
    world.controlled.until_so("the second commit is applied", || {
        world.status()["lastAppliedRevision"] == format!("main@sha1:{second}")
    });
    // What was suspended waits, and goes on.
    world.name("team-acme", &json!({ "suspend": true }));
    world.controlled.reason("gitsource/team-acme", "Suspended");
    world.commit(&organization("acme", "").replace("displayName: acme", "displayName: Third"));
    world.look();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(world.controlled.sql(NAMES), "acme=acme,globex=globex");
    world.name("team-acme", &json!({ "suspend": false }));
    world.controlled.until("SELECT display_name FROM argus.organization WHERE name = 'acme'", "Third");
    // globex is described no more, and it takes more than that to remove an organization.
    world.controlled.reason("gitsource/team-acme", "Held");
    assert!(world.status().to_string().contains("held: globex"), "{}", world.status());
    // Without the object nobody looks any more, and the rows stay.
    world.controlled.namespace.kubectl(&["delete", "gitsource", "team-acme", "--timeout=60s"]).well();
    world.commit(&organization("acme", "").replace("displayName: acme", "displayName: Fourth"));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(world.controlled.sql(NAMES), "acme=Third,globex=globex");
    let log = world.controlled.log();
    assert!(!log.contains("PRIVATE KEY") && !log.contains("panicked"), "{log}");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn by_a_repository_a_namespace_reaches_no_more_than_by_its_objects() {
    let world = World::new(&json!({ "organizations": ["acme", "acme-*"], "mode": "apply" }));
    world.let_in();
    world.secret("other", &json!({ "password": "hunter2" }));
    // Nothing of these is even asked for.
    let elsewhere = world.server.url(&world.repository.path).replace("127.0.0.1", "localhost");
    for (name, more) in [
        ("other", json!({})),
        ("team-a", json!({ "source": "production" })),
        ("team-b", json!({ "secretRef": { "name": "other" } })),
        ("team-c", json!({ "verify": "head", "signers": { "secretRef": { "name": "other" } } })),
        ("team-d", json!({ "url": elsewhere })),
    ] {
        world.name(name, &more);
        world.controlled.reason(&format!("gitsource/{name}"), "NotBound");
    }
    assert!(!world.server.log().contains("Accepted"), "{}", world.server.log());
    let sources =
        format!("SELECT string_agg(name, ',') FROM argus.source WHERE name <> 'k-{}'", world.controlled.namespace.name);
    assert_eq!(world.controlled.sql(&sources), "");
    // What is not its own stays as it is, and what is goes on.
    world.controlled.sql("INSERT INTO argus.organization (name, display_name) VALUES ('globex', 'Mine')");
    let renames = "  annotations: {argus.io/previous-name: globex}\n";
    let key = "apiVersion: argus.io/v1alpha1\nkind: ApiKey\nmetadata: {name: bot}\nspec: {organization: acme-keys, \
        owner: {user: ada@acme-keys.example}, scopes: [read], deliverTo: {secret: {namespace: kube-system, name: k, key: t}}}\n";
    let tier = "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata: {name: mine}\nspec: {limits: {members: 1}}\n";
    let texts = [
        organization("acme", ""),
        organization("globex", ""),
        organization("acme-eu", renames),
        organization("acme-keys", ""),
    ];
    world.commit(&[texts.join("---\n"), key.into(), tier.into()].join("---\n"));
    world.name("team-acme", &json!({ "mode": "enforce" }));
    world.controlled.reason("gitsource/team-acme", "NotBound");
    world.controlled.until(NAMES, "acme=acme,globex=Mine");
    let said = world.status().to_string();
    assert!(said.contains("ARG1913") && said.contains("globex"), "{said}");
    assert_eq!(world.controlled.sql("SELECT count(*) FROM argus.tier WHERE name = 'mine'"), "0");
    // It asks for more than its namespace may: what has drifted is reported, and stays.
    world.controlled.sql("UPDATE argus.organization SET display_name = 'Drifted' WHERE name = 'acme'");
    world.look();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(world.controlled.sql(NAMES), "acme=Drifted,globex=Mine");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_a_namespace_may_describe_no_longer_stays() {
    let world = World::new(&json!({ "organizations": ["acme", "acme-eu"] }));
    world.let_in();
    world.commit(&[organization("acme", ""), organization("acme-eu", "")].join("---\n"));
    world.name("team-acme", &json!({}));
    world.controlled.wait("gitsource/team-acme", "ready");
    let World { repository, server, key, mut controlled } = world;
    controlled.kill();
    controlled.set(|settings| {
        for binding in settings["kubernetes"]["namespaces"].as_object_mut().expect("a mapping").values_mut() {
            binding["organizations"] = json!(["acme"]);
        }
    });
    let world = World { repository, server, key, controlled };
    world.commit(&organization("acme", "").replace("displayName: acme", "displayName: Second"));
    let World { repository, server, key, mut controlled } = world;
    controlled.start();
    let world = World { repository, server, key, controlled };
    world.look();
    world.controlled.until(NAMES, "acme=Second,acme-eu=acme-eu");
    // Not even a removal that the repository declares: it may not speak of it at all.
    world.controlled.wait("gitsource/team-acme", "ready");
    let removal = "apiVersion: argus.io/v1alpha1\nkind: Removal\nmetadata: {name: gone}\nspec: {organization: acme-eu, target: \
        {kind: Organization, name: acme-eu}, reason: it is gone}\n";
    world.commit(&[organization("acme", ""), removal.into()].join("---\n"));
    world.look();
    world.controlled.reason("gitsource/team-acme", "NotBound");
    world.controlled.until(NAMES, "acme=acme,acme-eu=acme-eu");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn what_has_to_be_signed_is_or_nothing_of_it_is_applied() {
    let world = World::new(&json!({ "organizations": ["acme"] }));
    world.let_in();
    let ada = Key::new("ed25519");
    world.secret("signers", &json!({ "allowed_signers": format!("ada@acme.example {}\n", ada.public) }));
    world.commit(&organization("acme", ""));
    world.name("team-acme", &json!({ "verify": "head", "signers": { "secretRef": { "name": "signers" } } }));
    world.controlled.reason("gitsource/team-acme", "NotVerified");
    assert!(world.status().to_string().contains("ARG1401"), "{}", world.status());
    assert_eq!(world.controlled.sql(NAMES), "");
    let signing = format!("user.signingKey={}", ada.path().display());
    let commit = ["commit", "-q", "-S", "--allow-empty", "-m", "signed"];
    world.repository.git(&[&["-c", "gpg.format=ssh", "-c", &signing], &commit[..]].concat());
    world.look();
    world.controlled.wait("gitsource/team-acme", "ready");
    world.controlled.wait("gitsource/team-acme", "sourceverified");
    assert_eq!(world.controlled.sql(NAMES), "acme=acme");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn of_two_that_want_the_same_name_the_first_has_it() {
    let world = World::new(&json!({ "organizations": ["acme"] }));
    world.let_in();
    world.commit(&organization("acme", ""));
    world.name("team-acme", &json!({}));
    world.controlled.wait("gitsource/team-acme", "ready");
    std::thread::sleep(std::time::Duration::from_secs(1));
    world.name("team-other", &json!({ "source": "team-acme", "ref": "nowhere" }));
    world.controlled.reason("gitsource/team-other", "OwnedByAnotherSource");
    // A pause gives the name to nobody.
    world.name("team-acme", &json!({ "suspend": true }));
    world.controlled.reason("gitsource/team-acme", "Suspended");
    world.controlled.reason("gitsource/team-other", "OwnedByAnotherSource");
    world.controlled.namespace.kubectl(&["delete", "gitsource", "team-acme", "--timeout=60s"]).well();
    // Its time has come, and what it says is wrong.
    world.controlled.reason("gitsource/team-other", "ReconciliationFailed");
    world.name("team-other", &json!({ "source": "team-acme" }));
    world.controlled.wait("gitsource/team-other", "ready");
    assert_eq!(world.controlled.sql(NAMES), "acme=acme");
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn whoever_undoes_a_repository_is_named_in_a_condition() {
    let world = World::new(&json!({ "organizations": ["acme"] }));
    world.let_in();
    world.commit(&organization("acme", ""));
    world.name("team-acme", &json!({}));
    world.controlled.wait("gitsource/team-acme", "ready");
    for _ in 0..3 {
        world.controlled.sql("UPDATE argus.organization SET display_name = 'Mine'");
        world.controlled.until(NAMES, "acme=acme");
    }
    world.controlled.wait("gitsource/team-acme", "fighting");
    let said = world.status().to_string();
    assert!(said.contains("Organization/acme is undone again and again, last by"), "{said}");
}
