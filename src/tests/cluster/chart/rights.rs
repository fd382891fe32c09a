//! What the account of the controller may do: what custom resources take in the namespaces that are bound, and nothing else.

use argus::render::crds;
use serde_json::json;

use super::{NO_DEFINITIONS, apply, render};
use crate::cluster::document;
use crate::support::kubernetes::{Namespace, User, shared};

/// What may be asked of a kind.
const VERBS: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// A question: the verb, the group, the resource and the part of it.
type Question = (&'static str, &'static str, String, &'static str);

/// Which of these the account may, in a namespace or (`""`) everywhere.
fn allowed(account: &str, namespace: &str, questions: &[Question]) -> Vec<Question> {
    let review = |(verb, group, resource, subresource): &Question| {
        let home = account.split(':').nth(2).expect("a namespace");
        let asked = json!({
            "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource,
        });
        let groups =
            json!(["system:serviceaccounts", format!("system:serviceaccounts:{home}"), "system:authenticated"]);
        let spec = json!({ "user": account, "groups": groups, "resourceAttributes": asked });
        json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec })
    };
    let reviews: String = questions.iter().map(|question| format!("---\n{}\n", review(question))).collect();
    let arguments = ["create", "-f", "-", "-o", "jsonpath={.status.allowed}{\"\\n\"}"];
    let answers = shared().kubectl(User::Admin, &arguments, &reviews).well().out;
    let answers: Vec<bool> = answers.lines().map(|line| line.parse().expect(line)).collect();
    assert_eq!(answers.len(), questions.len());
    questions.iter().zip(answers).filter(|(_, yes)| *yes).map(|(question, _)| question.clone()).collect()
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn the_account_may_do_what_custom_resources_take_where_they_are_bound_and_nothing_else() {
    let [home, bound, other] = std::array::from_fn(|_| shared().namespace());
    let values = json!({ "kubernetes": { "namespaces": { (bound.name.clone()): ["acme"] } } });
    apply(shared(), &render(&home.name, &values, &["--set", NO_DEFINITIONS]).well().out);
    let account = format!("system:serviceaccount:{}:argus", home.name);

    let mut granted: Vec<Question> = Vec::new();
    let mut questions: Vec<Question> = Vec::new();
    for definition in crds::all() {
        let question = |verb, part| (verb, "argus.io", definition.plural.clone(), part);
        granted.extend(["get", "list", "watch", "patch"].map(|verb| question(verb, "")));
        granted.push(question("patch", "status"));
        questions
            .extend(["", "status", "finalizers"].iter().flat_map(|part| VERBS.iter().map(|verb| question(verb, part))));
    }
    granted.extend(["create", "patch"].map(|verb| (verb, "events.k8s.io", "events".to_owned(), "")));
    for (group, resource, part) in [
        ("events.k8s.io", "events", ""),
        ("", "events", ""),
        ("", "secrets", ""),
        ("", "configmaps", ""),
        ("", "pods", ""),
        ("", "pods", "exec"),
        ("", "serviceaccounts", ""),
        ("", "serviceaccounts", "token"),
        ("", "namespaces", ""),
        ("", "nodes", ""),
        ("apps", "deployments", ""),
        ("batch", "jobs", ""),
        ("coordination.k8s.io", "leases", ""),
        ("rbac.authorization.k8s.io", "roles", ""),
        ("rbac.authorization.k8s.io", "rolebindings", ""),
        ("rbac.authorization.k8s.io", "clusterroles", ""),
        ("rbac.authorization.k8s.io", "clusterrolebindings", ""),
        ("apiextensions.k8s.io", "customresourcedefinitions", ""),
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations", ""),
    ] {
        questions.extend(VERBS.iter().map(|verb| (*verb, group, resource.to_owned(), part)));
    }
    for verb in ["bind", "escalate"] {
        questions.push((verb, "rbac.authorization.k8s.io", "roles".to_owned(), ""));
    }
    for resource in ["users", "groups", "serviceaccounts"] {
        questions.push(("impersonate", "", resource.to_owned(), ""));
    }
    let sorted = |mut questions: Vec<Question>| {
        questions.sort();
        questions
    };
    assert_eq!(sorted(allowed(&account, &bound.name, &questions)), sorted(granted));
    for namespace in [home.name.as_str(), &other.name, "kube-system", ""] {
        assert_eq!(allowed(&account, namespace, &questions), Vec::new(), "in {namespace:?}");
    }
    // Another account of the same place has nothing of it.
    assert_eq!(allowed(&account.replace(":argus", ":default"), &bound.name, &questions), Vec::new());
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn the_account_writes_status_finalizer_and_event_and_is_refused_beyond() {
    let [home, bound, other] = std::array::from_fn(|_| shared().namespace());
    let values = json!({ "kubernetes": { "namespaces": { (bound.name.clone()): ["acme"] } } });
    apply(shared(), &render(&home.name, &values, &["--set", NO_DEFINITIONS]).well().out);
    let account = format!("--as=system:serviceaccount:{}:argus", home.name);
    let organization = document("Organization", "acme", &json!({ "displayName": "Acme" })).to_string();
    for namespace in [&bound, &other] {
        namespace.kubectl_with(&["create", "-f", "-"], &organization).well();
    }
    let finalizer = r#"{"metadata":{"finalizers":["argus.io/finalizer"]}}"#;
    let mut status = document("Organization", "acme", &json!({ "displayName": "Acme" }));
    status["status"] = json!({ "observedGeneration": 1 });
    let patch =
        |patch: &str| ["patch", "org", "acme", "--type=merge", &account, "--patch", patch].map(str::to_owned).to_vec();
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "name": "applied", "namespace": bound.name },
        "eventTime": "2030-01-02T03:04:05.000000Z", "type": "Normal", "reason": "Applied", "action": "Apply",
        "note": "1 to add", "reportingController": "argus.io/controller", "reportingInstance": "argus-0",
        "regarding": { "apiVersion": "argus.io/v1alpha1", "kind": "Organization", "name": "acme", "namespace": bound.name },
    })
    .to_string();
    let run = |namespace: &Namespace, arguments: &[String], input: &str| {
        namespace.kubectl_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), input)
    };
    // `kubectl patch` would read the status by itself first, which a controller does not.
    let of_status = ["apply", "--server-side", "--subresource=status", "-f", "-", &account].map(str::to_owned);
    run(&bound, &patch(finalizer), "").well();
    run(&bound, &of_status, &status.to_string()).well();
    bound.kubectl_with(&["create", "-f", "-", &account], &event).well();
    let written = bound.kubectl(&["get", "org", "acme", "-o", "json"]).well().json();
    assert_eq!(written["metadata"]["finalizers"], json!(["argus.io/finalizer"]));
    assert_eq!(written["status"], json!({ "observedGeneration": 1 }));
    // Nothing waits for anybody after this test.
    run(&bound, &patch(r#"{"metadata":{"finalizers":null}}"#), "").well();
    run(&other, &of_status, &status.to_string()).refused("cannot patch resource \"organizations/status\"");
    for refused in [patch(finalizer), vec!["get".into(), "org".into(), account.clone()]] {
        run(&other, &refused, "").refused("is forbidden");
    }
    bound.kubectl(&["get", "secrets", &account]).refused("cannot list resource \"secrets\"");
    bound.kubectl(&["delete", "org", "acme", &account]).refused("cannot delete resource \"organizations\"");
}
