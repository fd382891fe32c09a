//! The chart in `charts/argus` and the overlays in `charts/kustomize`: rendered by a real Helm and the Kustomize of `kubectl`,
//! and given to a real API server.
//!
//! There is no node and no controller behind it: nothing runs, and nobody waits for what would have to.

mod kustomize;
mod life;
mod pods;
mod rights;
mod work;

use std::path::Path;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::support::kubernetes::{Cluster, Ran, User, helm_alone, helm_binary, shared};

/// The chart.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/argus");

/// What leaves the definitions alone: those that all tests share are there already.
const NO_DEFINITIONS: &str = "crds.install=false";

/// The least that has to be said.
fn least() -> Value {
    json!({ "config": { "controller": { "sources": [{ "name": "acme-config", "git": { "url": "https://git.example/config.git" } }] } } })
}

/// These values, with the least that has to be said.
fn with(values: Value) -> Value {
    let mut all = least();
    all.as_object_mut().expect("values").extend(values.as_object().expect("values").clone());
    all
}

/// Every switch of the chart, for namespaces that are bound to organizations.
fn everything(bound: &[&str]) -> Value {
    let binding = json!({
        "organizations": ["acme", "lab-*"],
        "tiers": true,
        "secretNamespaces": ["acme-keys"],
        "gitSources": { "names": ["acme-*"], "urls": ["https://git.example/*"], "secrets": ["git-token"] },
        "mode": "apply",
        "guards": { "owners": 2 },
        "approvals": { "quorum": 2 },
        "windows": [{ "kind": "allow", "schedule": "0 8 * * 1-5", "duration": "10h" }],
    });
    let namespaces: serde_json::Map<String, Value> =
        bound.iter().map(|name| ((*name).to_owned(), binding.clone())).collect();
    json!({
        "image": { "repository": "registry.example/argus", "digest": format!("sha256:{}", "0".repeat(64)) },
        "imagePullSecrets": [{ "name": "registry" }],
        "replicas": 3,
        "workers": 8,
        "config": {
            "connections": 8,
            "controller": { "sources": [{
                "name": "acme-config",
                "git": { "url": "https://git.example/config.git", "passwordFile": "/etc/argus/secrets/git/token" },
                "interval": "1m",
            }] },
            "policyLimits": { "memoryMib": 256 },
        },
        "secrets": [
            { "name": "git", "secretName": "argus-git", "items": [{ "key": "token", "path": "token" }], "optional": true },
            { "name": "keys", "secretName": "argus-keys" },
        ],
        "migrate": {
            "extraEnv": [{ "name": "PGSSLROOTCERT", "value": "/etc/database/ca.crt" }],
            "extraVolumes": [{ "name": "database", "secret": { "secretName": "database-ca" } }],
            "extraVolumeMounts": [{ "name": "database", "mountPath": "/etc/database", "readOnly": true }],
        },
        "kubernetes": { "namespaces": namespaces },
        "serviceAccount": { "annotations": { "example/identity": "argus" } },
        "service": { "annotations": { "example/balancer": "internal" } },
        "ingress": {
            "enabled": true,
            "className": "public",
            "annotations": { "example/rate": "10" },
            "hosts": [{ "host": "argus.example", "paths": ["/hooks", "/more"] }],
            "tls": [{ "hosts": ["argus.example"], "secretName": "argus-tls" }],
        },
        "log": { "filter": "argus=debug,info" },
        "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" } },
        "prometheusRule": { "enabled": true, "runbooks": "https://docs.example/", "labels": { "release": "prometheus" } },
        "dashboard": { "enabled": true, "annotations": { "grafana_folder": "Argus" } },
        "podDisruptionBudget": { "maxUnavailable": "50%" },
        "networkPolicy": {
            "enabled": true,
            "ingress": { "from": [{ "namespaceSelector": { "matchLabels": { "example/role": "ingress" } } }] },
            "egress": {
                "database": { "to": [{ "ipBlock": { "cidr": "10.0.0.0/8" } }] },
                "kafka": { "enabled": true },
                "extra": [{ "ports": [{ "port": 4318, "protocol": "TCP" }] }],
            },
        },
        "priorityClassName": "important",
        "nodeSelector": { "example/pool": "platform" },
        "tolerations": [{ "key": "example/platform", "operator": "Exists" }],
        "affinity": { "nodeAffinity": {} },
        "podLabels": { "example/team": "platform" },
        "podAnnotations": { "example/mesh": "off" },
        "extraEnv": [{ "name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318" }],
        "extraVolumes": [{ "name": "heads", "persistentVolumeClaim": { "claimName": "heads" } }],
        "extraVolumeMounts": [{ "name": "heads", "mountPath": "/var/lib/argus-heads" }],
    })
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let from = entry.expect("an entry").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("a copy");
        }
    }
}

/// Renders the chart with these values.
fn render(namespace: &str, values: &Value, arguments: &[&str]) -> Ran {
    let first = ["template", "argus", CHART, "--namespace", namespace, "--values", "-"];
    helm_alone(&[&first, arguments].concat(), &values.to_string())
}

/// The documents of a text.
fn documents(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    let documents = documents.map(|document| Value::deserialize(document).expect("YAML"));
    documents.filter(|document| !document.is_null()).collect()
}

/// What these documents are: kind and name, in order.
fn names(documents: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = |document: &Value| format!("{} {}", text(&document["kind"]), text(&document["metadata"]["name"]));
    let mut names: Vec<String> = documents.iter().map(name).collect();
    names.sort();
    names
}

/// The one document of a kind.
fn one<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let mut found = documents.iter().filter(|document| document["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there are several of {kind}");
    first
}

/// Applies a text on the side of the server, which says nothing but that it was done. Each object says its namespace.
fn apply(cluster: &Cluster, text: &str) {
    let applied = cluster.kubectl(User::Admin, &["apply", "--server-side", "-f", "-"], text).well();
    assert_eq!(applied.err, "", "{text}");
}

/// Tells the shared API server of what the Prometheus operator defines.
fn know_monitoring(cluster: &Cluster) {
    let folder = helm_binary().with_file_name("monitoring").display().to_string();
    cluster.kubectl(User::Admin, &["apply", "--server-side", "-f", &folder], "").well();
    let wait = ["wait", "--for=condition=Established", "--timeout=60s", "-f", &folder];
    cluster.kubectl(User::Admin, &wait, "").well();
}

#[test]
#[ignore = "it needs Helm: make e2e"]
fn lint_complains_of_nothing() {
    for values in [least(), everything(&["acme-config"])] {
        let linted = helm_alone(&["lint", "--strict", CHART, "--values", "-"], &values.to_string()).well();
        assert!(linted.out.contains("0 chart(s) failed") && !linted.out.contains("[WARNING]"), "{linted:?}");
    }
}

#[test]
#[ignore = "it needs Helm: make e2e"]
fn what_no_value_can_be_is_refused_with_its_place() {
    for (values, words) in [
        (json!({ "replica": 2 }), "additional properties 'replica' not allowed"),
        (json!({ "replicas": "2" }), "at '/replicas': got string, want integer"),
        (json!({ "image": { "digest": "latest" } }), "at '/image/digest'"),
        (json!({ "database": { "url": "postgres://u:p@db/argus" } }), "at '/database': additional properties 'url'"),
        (json!({ "database": { "secretName": "" } }), "at '/database/secretName'"),
        (json!({ "secrets": [{ "name": "git" }] }), "at '/secrets/0': missing property 'secretName'"),
        (json!({ "kubernetes": { "namespaces": { "acme": "acme" } } }), "at '/kubernetes/namespaces/acme'"),
        (json!({ "kubernetes": { "namespaces": { "acme": [] } } }), "at '/kubernetes/namespaces/acme'"),
        (
            json!({ "kubernetes": { "namespaces": { "acme": { "organisations": ["acme"] } } } }),
            "'organisations' not allowed",
        ),
        (json!({ "kubernetes": { "namespaces": { "Acme": ["acme"] } } }), "'Acme'"),
        (json!({ "networkPolicy": { "egress": { "dsn": { "enabled": true } } } }), "at '/networkPolicy/egress'"),
        (json!({ "fullnameOverride": "1" }), "at '/fullnameOverride'"),
        (json!({ "ingress": { "enabled": true } }), "at '/ingress/hosts': minItems"),
        (json!({ "http": { "port": 80 } }), "at '/http/port'"),
        (json!({ "terminationGracePeriodSeconds": 10 }), "at '/terminationGracePeriodSeconds'"),
        (json!({}), "there is nothing to look at"),
        (json!({ "config": { "controller": { "sources": [] } } }), "there is nothing to look at"),
        (json!({ "config": { "databaseUrl": "postgres://u:p@db/argus" } }), "would stand in a ConfigMap"),
        (json!({ "config": { "kubernetes": { "namespaces": {} } } }), "comes from `kubernetes.namespaces`"),
    ] {
        render("argus", &values, &[]).refused(words);
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn the_least_is_taken() {
    let namespace = shared().namespace();
    let rendered = render(&namespace.name, &least(), &["--set", NO_DEFINITIONS]).well();
    let objects = documents(&rendered.out);
    let expected = [
        "ConfigMap argus-config",
        "Deployment argus",
        "Job argus-migrate",
        "PodDisruptionBudget argus",
        "Service argus",
        "ServiceAccount argus",
    ];
    assert_eq!(names(&objects), expected);
    apply(shared(), &rendered.out);
    let pod = &one(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["containers"][0]["image"], format!("argus:{}", env!("CARGO_PKG_VERSION")));
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn everything_is_taken() {
    know_monitoring(shared());
    let [home, first, second] = std::array::from_fn(|_| shared().namespace());
    let values = everything(&[&first.name, &second.name]);
    let rendered = render(&home.name, &values, &["--set", NO_DEFINITIONS]).well();
    let objects = documents(&rendered.out);
    let expected = [
        "ConfigMap argus-config",
        "ConfigMap argus-dashboard",
        "Deployment argus",
        "Ingress argus",
        "Job argus-migrate",
        "NetworkPolicy argus",
        "PodDisruptionBudget argus",
        "PrometheusRule argus",
        "Role argus",
        "Role argus",
        "RoleBinding argus",
        "RoleBinding argus",
        "Service argus",
        "ServiceAccount argus",
        "ServiceMonitor argus",
    ];
    assert_eq!(names(&objects), expected);
    apply(shared(), &rendered.out);
    // What is selected is what there is.
    let deployment = home.kubectl(&["get", "deployment", "argus", "-o", "json"]).well().json();
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for (kind, at) in [
        ("service", "/spec/selector"),
        ("poddisruptionbudget", "/spec/selector/matchLabels"),
        ("networkpolicy", "/spec/podSelector/matchLabels"),
        ("deployment", "/spec/selector/matchLabels"),
    ] {
        let object = home.kubectl(&["get", kind, "argus", "-o", "json"]).well().json();
        let selector = object.pointer(at).and_then(Value::as_object).expect(kind);
        assert!(!selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == *value), "{object}");
    }
    let service = home.kubectl(&["get", "service", "argus", "-o", "json"]).well().json();
    let monitor = home.kubectl(&["get", "servicemonitor", "argus", "-o", "json"]).well().json();
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().expect("labels");
    assert!(wanted.iter().all(|(name, value)| service["metadata"]["labels"][name] == *value), "{service}");
    // Alerts and dashboard are the files, to the byte.
    let file = |name: &str| std::fs::read_to_string(Path::new(CHART).join("files").join(name)).expect(name);
    let rules = home.kubectl(&["get", "prometheusrule", "argus", "-o", "json"]).well().json();
    let mut wanted: Value = serde_yaml::from_str(&file("argus.rules.yaml")).expect("YAML");
    for rule in wanted["groups"][0]["rules"].as_array_mut().expect("rules") {
        let place = &mut rule["annotations"]["runbook_url"];
        *place = place.as_str().expect("a place").replace("docs/", "https://docs.example/").into();
    }
    assert_eq!(rules["spec"], wanted);
    let dashboard = home.kubectl(&["get", "configmap", "argus-dashboard", "-o", "json"]).well().json();
    assert_eq!(dashboard["data"]["argus.json"].as_str().map(str::trim), Some(file("dashboard.json").trim()));
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn every_switch_by_itself_is_taken() {
    know_monitoring(shared());
    let namespace = shared().namespace();
    let switch =
        |path: &[&str], value: Value| path.iter().rev().fold(value, |value, name| json!({ (*name).to_owned(): value }));
    let all = everything(&[&namespace.name]);
    // Mounts without their volumes are none.
    let alone = all.as_object().expect("values").iter().filter(|(name, _)| *name != "extraVolumeMounts");
    let each = alone.map(|(name, value)| switch(&[name], value.clone()));
    let off = [
        &["migrate", "enabled"],
        &["podDisruptionBudget", "enabled"],
        &["serviceAccount", "create"],
        &["rbac", "create"],
    ];
    let off = off.map(|path| switch(path, json!(false)));
    let others = [
        json!({ "fullnameOverride": "x".repeat(52), "kubernetes": { "namespaces": { (namespace.name.clone()): ["acme"] } } }),
        json!({ "serviceAccount": { "create": false, "name": "another" } }),
        // What looks like a number is a text.
        json!({ "database": { "secretName": "1", "secretKey": "2" }, "podLabels": { "app.kubernetes.io/name": "3", "x": "4" } }),
        json!({ "serviceAccount": { "name": "5" }, "secrets": [{ "name": "6", "secretName": "7" }], "priorityClassName": "8" }),
        json!({ "service": { "type": "LoadBalancer", "port": 80 }, "http": { "address": "[::]", "port": 9000 } }),
        json!({ "podSecurityContext": { "runAsUser": null, "runAsGroup": null, "fsGroup": null } }),
        json!({ "topologySpreadConstraints": [], "resources": null, "image": { "tag": "main", "pullPolicy": "Always" } }),
        json!({ "networkPolicy": { "enabled": true } }),
    ];
    for values in each.chain(off).chain(others) {
        let rendered = render(&namespace.name, &with(values.clone()), &["--set", NO_DEFINITIONS]).well();
        // What is there already may not be changed everywhere: each is tried as if it were alone.
        let arguments = ["--namespace", &namespace.name, "create", "--dry-run=server", "--validate=strict", "-f", "-"];
        let tried = shared().kubectl(User::Admin, &arguments, &rendered.out).well();
        assert_eq!(tried.err, "", "{values}");
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes and Helm: make e2e"]
fn the_values_that_the_documents_show_are_taken() {
    let namespace = shared().namespace();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["docs/install.md", "charts/argus/README.md"] {
        let text = std::fs::read_to_string(root.join(page)).expect(page);
        let shown = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let values: Vec<Value> = shown.map(|text| serde_yaml::from_str(text).expect(text)).collect();
        let values: Vec<&Value> = values.iter().filter(|values| values["config"].is_object()).collect();
        assert_eq!(values.len(), 1, "{page}");
        let rendered = render(&namespace.name, values[0], &["--set", NO_DEFINITIONS]).well();
        let create = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
        assert_eq!(shared().kubectl(User::Admin, &create, &rendered.out).well().err, "");
    }
}
