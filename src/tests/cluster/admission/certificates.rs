//! The certificate that the API server is shown: from files that somebody else replaces, or self-made.

use std::time::{Duration, Instant};

use argus::controller::admission::certificates::Keeper;
use argus::server::certificates::Lives;
use argus::server::tls::Shown;
use argus::source::cluster::admission::SelfSigned;
use argus::source::cluster::api::{Api, Times};
use argus::source::cluster::settings::ClusterSettings;
use serde_json::{Value, json};

use super::{Gated, PATIENCE, at, organization, port_of};
use crate::support::git_http::base64;
use crate::support::kubernetes::{User, shared};
use crate::support::tls::Authority;

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn files_that_are_replaced_are_shown_without_a_restart() {
    let gated = Gated::new(&json!(["acme"]));
    let other = Authority::new("Another authority of the tests");
    let port = port_of(&gated.folder.join("controller-0.log"), "/admit").expect("a port");
    gated.ask(&at(port), Some(&other.certificate));
    gated.until("the one of before is not trusted", || {
        gated.try_it(&organization(&json!({}))).err.contains("certificate")
    });
    // Half of it is not shown.
    let key = std::fs::read(gated.folder.join("tls.key")).expect("a key");
    gated.certify(&other);
    let new = std::fs::read(gated.folder.join("tls.key")).expect("a key");
    std::fs::write(gated.folder.join("tls.key"), &key).expect("a key");
    gated.until("it is told", || gated.log().contains("stays as it was"));
    std::fs::write(gated.folder.join("tls.key"), new).expect("a key");
    gated.until("the new one is shown", || gated.try_it(&organization(&json!({}))).done);
}

/// Lets Argus keep the Secret and tell the configuration of the webhook, and nothing beside them.
fn admit_keeper(gated: &Gated) {
    let (namespace, hook) = (&gated.namespace.name, gated.hook());
    let rbac = "rbac.authorization.k8s.io";
    let user = json!([{ "kind": "User", "apiGroup": rbac, "name": "argus" }]);
    let objects = [
        json!({ "kind": "Role", "metadata": { "name": "keeper" }, "rules": [
            { "apiGroups": [""], "resources": ["secrets"], "verbs": ["create"] },
            { "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["argus-admission"],
                "verbs": ["get", "update"] },
        ] }),
        json!({ "kind": "RoleBinding", "metadata": { "name": "keeper" }, "subjects": user,
            "roleRef": { "apiGroup": rbac, "kind": "Role", "name": "keeper" } }),
        json!({ "kind": "ClusterRole", "metadata": { "name": hook }, "rules": [
            { "apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"],
                "resourceNames": [hook], "verbs": ["get", "patch"] },
        ] }),
        json!({ "kind": "ClusterRoleBinding", "metadata": { "name": hook }, "subjects": user,
            "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": hook } }),
    ];
    for mut object in objects {
        object["apiVersion"] = json!(format!("{rbac}/v1"));
        gated.namespace.kubectl_with(&["create", "-f", "-"], &object.to_string()).well();
    }
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "argus" },
        "spec": { "type": "ExternalName", "externalName": "localhost" } });
    gated.namespace.kubectl_with(&["create", "-f", "-"], &service.to_string()).well();
    assert!(!namespace.is_empty());
}

fn remove_keeper(gated: &Gated) {
    let hook = gated.hook();
    gated.namespace.kubectl(&["delete", "clusterrole,clusterrolebinding", &hook, "--ignore-not-found"]).well();
}

/// How the API server reaches a controller by the name of a service.
fn through_service(gated: &Gated, port: u16) -> Value {
    json!({ "service": { "name": "argus", "namespace": gated.namespace.name, "path": "/admit", "port": port } })
}

fn bundle(gated: &Gated) -> Value {
    let hook = gated.namespace.kubectl(&["get", "validatingwebhookconfiguration", &gated.hook(), "-o", "json"]);
    hook.well().json()["webhooks"][0]["clientConfig"]["caBundle"].clone()
}

fn secret(gated: &Gated) -> Value {
    gated.namespace.kubectl(&["get", "secret", "argus-admission", "-o", "json"]).json()["data"].clone()
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn a_self_made_certificate_is_shared_by_replicas_and_its_authority_is_told() {
    let mut gated = Gated::idle();
    admit_keeper(&gated);
    let own = json!({ "serviceName": "argus", "namespace": gated.namespace.name });
    gated.set(&json!(["acme"]), &json!({ "selfSigned": own, "webhookName": gated.hook() }), &[]);
    gated.ask(&through_service(&gated, 1), None);
    let first = gated.start();
    gated.until("its authority is told", || bundle(&gated).is_string());
    let known = secret(&gated);
    assert_eq!(known["ca.crt"], bundle(&gated));
    gated.ask(&through_service(&gated, first), None);
    gated.until_it_can_tell();
    // The other one shows the same, because it is trusted as well.
    let second = gated.start();
    gated.ask(&through_service(&gated, second), None);
    gated.controllers[0].kill().expect("it is killed");
    gated.until_it_can_tell();
    assert_eq!((&secret(&gated), bundle(&gated)), (&known, known["ca.crt"].clone()));
    assert!(!gated.log().contains("PRIVATE KEY"), "{}", gated.log());
    // Somebody empties the field; it is told again by whoever comes next.
    let none = r#"[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]"#;
    let hook = gated.hook();
    gated.namespace.kubectl(&["patch", "validatingwebhookconfiguration", &hook, "--type=json", "-p", none]).well();
    gated.start();
    gated.until("its authority is told again", || bundle(&gated) == known["ca.crt"]);
    remove_keeper(&gated);
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn certificates_are_renewed_while_the_authority_of_before_is_still_known() {
    let gated = Gated::idle();
    admit_keeper(&gated);
    gated.ask(&through_service(&gated, 1), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let settings =
        ClusterSettings { kubeconfig: Some(shared().way_in(User::Argus, None)), ..ClusterSettings::default() };
    let api = runtime.block_on(Api::new(&settings, "replica", Times::default())).expect("a client");
    let lives = |seconds: u64| Lives {
        certificate: Duration::from_secs(seconds),
        authority: Duration::from_secs(3 * seconds),
        announced: Duration::from_secs(1),
    };
    let keeper = |lives: Lives| Keeper {
        client: api.client(),
        own: SelfSigned {
            service_name: "argus".into(),
            namespace: gated.namespace.name.clone(),
            secret_name: "argus-admission".into(),
        },
        webhook: gated.hook(),
        lives,
        shown: Shown::default(),
    };
    let one = keeper(lives(6));
    runtime.block_on(one.step()).expect("it is made");
    let first = (secret(&gated), bundle(&gated));
    assert_eq!(first.0["ca.crt"], first.1);
    let other = keeper(lives(6));
    runtime.block_on(other.step()).expect("it is there");
    assert_eq!((secret(&gated), bundle(&gated)), first);
    // Both go on, and what they tell always holds what is shown, and what was told just before.
    let (mut told, mut renewed) = (vec![first.1.clone()], 0);
    let deadline = Instant::now() + PATIENCE;
    while told.len() < 4 {
        assert!(Instant::now() < deadline, "{} were told", told.len());
        for keeper in [&one, &other] {
            runtime.block_on(keeper.step()).expect("it is kept");
        }
        let now = (secret(&gated), bundle(&gated));
        assert_eq!(now.0["ca.crt"], now.1);
        if Some(&now.1) != told.last() {
            told.push(now.1);
            renewed += 1;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(renewed >= 3);
    // A Secret of somebody else is left alone.
    gated.namespace.kubectl(&["delete", "secret", "argus-admission"]).well();
    let data = format!("--from-literal=other={}", base64(b"thing"));
    gated.namespace.kubectl(&["create", "secret", "generic", "argus-admission", &data]).well();
    let refused = runtime.block_on(one.step()).expect_err("it is somebody else's");
    assert!(refused.contains("holds something else"), "{refused}");
    assert!(secret(&gated).get("ca.crt").is_none());
    remove_keeper(&gated);
}
