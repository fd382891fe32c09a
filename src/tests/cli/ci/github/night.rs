//! What runs every night: drift becomes a pull request, and forks are planned with the snapshot.

use serde_json::{Value, json};

use super::super::super::ACME;
use super::super::{Forge, git, has_tools, root, yaml};
use super::Names;
use crate::support::keys::Key;

impl Forge {
    /// The pull requests that are open.
    fn requests(&self) -> Value {
        serde_json::from_str(&self.kept("requests.json")).expect("pull requests")
    }

    /// The step of this name of a job of the workflow.
    fn step(&self, job: &str, name: &str) -> Value {
        let workflow = yaml("examples/ci/github.yml");
        let steps = workflow["jobs"][job]["steps"].as_array().expect("steps");
        let step = steps.iter().find(|step| step["name"] == name).expect("a step");
        Value::from(vec![step.clone()])
    }
}

#[test]
fn drift_becomes_a_request_that_adopts_it() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    let drift = &[("command", "drift"), ("adopt", "true")];
    forge.with_database(drift).ends(0);
    assert_eq!(forge.requests(), json!([]));
    forge.world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine now'");
    forge.with_database(drift).ends(2);
    assert!(forge.kept("calls").contains("pr create --base main --head argus/drift"), "{}", forge.kept("calls"));
    // What merging does comes first, for the report says the reverse.
    let body = forge.kept("request.md");
    assert!(body.starts_with("Merging this writes into the manifests what stands in the database now.\n"), "{body}");
    assert!(body.contains("1 resource has drifted"), "{body}");
    let pushed = |file: &str| git(&forge.kept.join("repo.git"), &["show", &format!("argus/drift:{file}")]);
    assert!(pushed("acme.yaml").contains("displayName: Mine now"));
    assert!(!std::fs::read_to_string(forge.world.path("acme.yaml")).expect("a file").contains("Mine now"));
    // The next night it is the same request, with what has drifted since.
    forge.world.mallory("psql", "UPDATE argus.organization SET display_name = 'Still mine'");
    forge.with_database(&[("command", "drift"), ("adopt", "true"), ("fail-on-drift", "false")]).ends(0);
    assert!(forge.kept("calls").contains("pr edit 7"), "{}", forge.kept("calls"));
    assert!(pushed("acme.yaml").contains("displayName: Still mine"));
    assert_eq!(forge.requests().as_array().map(Vec::len), Some(1));
    // Once it is merged nothing has drifted any more.
    git(&forge.world.root, &["fetch", "--quiet", "origin", "argus/drift"]);
    git(&forge.world.root, &["checkout", "--quiet", "FETCH_HEAD"]);
    forge.with_database(&[("command", "apply")]).ends(0);
    forge.with_database(drift).ends(0);
    forge.world.is_settled();
    // Of a request that nobody merged nothing is left to adopt.
    assert_eq!(forge.requests(), json!([]));
    assert!(forge.kept("calls").contains("pr close 7"), "{}", forge.kept("calls"));
}

#[test]
fn the_pull_request_of_a_fork_is_not_taken_for_ours() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    let theirs = json!({"number": 3, "headRefName": "argus/drift", "baseRefName": "main", "isCrossRepository": true});
    forge.keep("requests.json", &json!([theirs]).to_string());
    let drift = &[("command", "drift"), ("adopt", "true")];
    forge.with_database(drift).ends(0);
    forge.world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine now'");
    forge.with_database(drift).ends(2);
    forge.with_database(drift).ends(2);
    assert_eq!(forge.requests().as_array().map(Vec::len), Some(2));
    forge.world.sql("UPDATE argus.organization SET display_name = 'Acme'");
    forge.with_database(drift).ends(0);
    assert_eq!(forge.requests(), json!([theirs]));
    let calls = forge.kept("calls");
    assert!(!calls.contains("edit 3") && !calls.contains("close 3"), "{calls}");
}

/// The commit is what is read, reported and patched; the work tree is not, and neither is what is checked out.
#[test]
fn what_is_adopted_is_patched_where_it_was_read() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    let main = git(&forge.world.root, &["rev-parse", "HEAD"]);
    git(&forge.world.root, &["switch", "--quiet", "--create", "other"]);
    forge.world.write("acme.yaml", &format!("# Of another branch.\n{ACME}"));
    forge.commit();
    forge.world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine now'");
    forge.workflow("drift", &forge.push_of(&main), &[]).ends(2);
    let kept = forge.kept.join("repo.git");
    assert_eq!(git(&kept, &["rev-parse", "argus/drift^"]), main);
    assert!(git(&kept, &["show", "argus/drift:acme.yaml"]).contains("displayName: Mine now"));
    assert!(std::fs::read_to_string(forge.world.path("acme.yaml")).expect("a file").starts_with("# Of another"));
    // The same where the manifests are in a folder of the repository.
    forge.world.remove("acme.yaml").write("infra/orgs/acme.yaml", ACME);
    let moved = forge.commit();
    forge.workflow("drift", &forge.push_of(&moved), &[("path", "infra/orgs")]).ends(2);
    assert!(git(&kept, &["show", "argus/drift:infra/orgs/acme.yaml"]).contains("displayName: Mine now"));
}

#[test]
fn a_fork_is_planned_with_the_snapshot_of_the_night_and_without_a_secret() {
    if !has_tools() {
        return;
    }
    let forge = Forge::on_github(ACME);
    let key = Key::new("ed25519");
    forge.world.write("snapshot-signers", &format!("nightly namespaces=\"argus-snapshot\" {}\n", key.public));
    let policy = "package p\n\n# METADATA\n# title: x\nwarn contains \"of the main branch\" if input.version == 1\n";
    forge.world.write("policies/p.rego", policy);
    forge.commit();
    let mut names = forge.names();
    names.insert("secrets.SNAPSHOT_KEY".into(), std::fs::read_to_string(key.path()).expect("a key"));
    let start = git(&forge.world.root, &["rev-parse", "HEAD"]);
    // Before the first night there is nothing to plan with.
    git(&forge.world.root, &["push", "--quiet", "origin", "HEAD:refs/pull/12/head"]);
    let early = forge.steps(&forge.step("fork", "Fetch"), &mut names.clone(), &Names::new());
    early.ends(1).says("::error::there is no branch argus/snapshot yet: run this workflow once by hand");
    // By night.
    forge.steps(&forge.step("snapshot", "Key"), &mut names, &Names::new()).ends(0);
    names.insert("github.sha".into(), start.clone());
    forge.workflow("snapshot", &names, &[]).ends(0);
    forge.steps(&forge.step("snapshot", "Keep"), &mut names, &Names::new()).ends(0);
    assert!(!forge.kept.join("snapshot-key").exists());
    assert_eq!(git(&forge.kept.join("repo.git"), &["ls-tree", "--name-only", "argus/snapshot"]), "nightly.snapshot");
    // By day somebody proposes something, with policies of their own that nobody asks.
    git(&forge.world.root, &["checkout", "--quiet", "--detach", &start]);
    forge.world.write("acme.yaml", &ACME.replace("Acme", "Acme of a fork"));
    forge.world.write("policies/p.rego", &policy.replace("main branch", "fork"));
    forge.commit();
    git(&forge.world.root, &["push", "--quiet", "--force", "origin", "HEAD:refs/pull/12/head"]);
    git(&forge.world.root, &["checkout", "--quiet", "--detach", &start]);
    forge.steps(&forge.step("fork", "Fetch"), &mut names, &Names::new()).ends(0);
    let inputs = forge.inputs("fork", &names);
    let inputs: Vec<(&str, &str)> = inputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // No database, no secret: nothing but what the job has.
    forge.action(&inputs, &[]).ends(0);
    let comments = forge.comments();
    let body = comments[0]["body"].as_str().expect("a text");
    assert!(body.contains("\"Acme\" -> \"Acme of a fork\"") && body.contains("signed by nightly"), "{body}");
    assert!(body.contains("of the main branch") && !body.contains("of the fork"), "{body}");
    assert!(root().join(".github/actions/argus/action.yml").exists());
}
