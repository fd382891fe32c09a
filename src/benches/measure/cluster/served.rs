//! The API server of the measurement: what is made in it, what it counts, and what it takes to write bare.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argus::model::kind::{API_VERSION, Kind, KindId};
use argus::source::cluster::api::{Api, Times, Told};
use argus::source::cluster::object::{FINALIZER, Metadata};
use argus::source::cluster::settings::ClusterSettings;
use chrono::Utc;
use kube::api::{ListParams, PostParams};
use kube::core::Request;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use super::super::support::kubernetes::{Cluster, User};

/// How many requests are under way while objects are made, and while they are written bare: as many as the two workers of a
/// controller have.
const MADE_AT_ONCE: usize = 32;
const WRITTEN_AT_ONCE: usize = 16;

/// How many objects are listed at once.
const PAGE_OBJECTS: u32 = 500;

/// The kinds of what is made.
const KINDS: [&str; 6] = ["Organization", "Member", "Team", "Project", "ServiceAccount", "Budget"];

/// How many children each organization has.
pub const CHILDREN: usize = 10;

/// An object that is to be made: its kind and the whole of it.
type Document = (&'static Kind, Json);

/// The API server, and a client that may do everything.
pub struct Served {
    cluster: &'static Cluster,
    api: Api,
}

/// What was asked of the API server.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Requests of the controller's account, watches among them when they begin.
    pub all: f64,
    /// Requests for custom resources and events that have ended, by verb.
    pub verbs: BTreeMap<String, f64>,
}

impl Asked {
    /// What was asked since then.
    pub fn since(&self, before: &Asked) -> Asked {
        let verb = |(verb, count): (&String, &f64)| {
            (verb.clone(), count - before.verbs.get(verb).copied().unwrap_or_default())
        };
        let verbs = self.verbs.iter().map(verb).filter(|(_, count)| *count > 0.0).collect();
        Asked { all: self.all - before.all, verbs }
    }

    /// Watches that were begun: they are counted among the verbs only when they end.
    pub fn watches(&self) -> f64 {
        self.all - self.verbs.iter().filter(|(verb, _)| *verb != "WATCH").map(|(_, count)| count).sum::<f64>()
    }

    /// Requests of some verbs.
    pub fn of(&self, verbs: &[&str]) -> f64 {
        // A sum of nothing would be -0.
        verbs.iter().filter_map(|verb| self.verbs.get(*verb)).fold(0.0, |all, count| all + count)
    }
}

fn kind(name: &str) -> Result<&'static Kind, Box<dyn Error>> {
    Ok(Kind::named(name).ok_or_else(|| format!("there is no kind {name}"))?)
}

/// The name of an organization.
pub fn organization(place: usize, number: usize) -> String {
    format!("n{place}-{number:05}")
}

/// An organization and its children, each an object of its own.
fn documents(name: &str) -> Result<Vec<Document>, Box<dyn Error>> {
    let document = |kind_name: &str, object: &str, spec: Json| {
        let metadata = json!({ "name": object });
        let document = json!({ "apiVersion": API_VERSION, "kind": kind_name, "metadata": metadata, "spec": spec });
        Ok::<_, Box<dyn Error>>((kind(kind_name)?, document))
    };
    let mut documents = vec![document("Organization", name, json!({ "displayName": format!("The {name}") }))?];
    for (number, role) in ["owner", "owner", "admin", "member"].into_iter().enumerate() {
        let spec = json!({ "organization": name, "user": format!("person{number}@{name}.example"), "role": role });
        documents.push(document("Member", &format!("{name}-{number}"), spec)?);
    }
    for team in ["core", "field"] {
        let spec = json!({ "organization": name, "name": team, "displayName": format!("Team {team}"),
            "members": [{ "user": format!("person0@{name}.example"), "role": "maintainer" }] });
        documents.push(document("Team", &format!("{name}-{team}"), spec)?);
    }
    for project in ["search", "billing"] {
        let spec = json!({ "organization": name, "name": project, "description": format!("Where {project} happens."),
            "teams": [{ "team": "core", "role": "developer" }] });
        documents.push(document("Project", &format!("{name}-{project}"), spec)?);
    }
    let spec = json!({ "organization": name, "name": "deployer", "roles": ["viewer"] });
    documents.push(document("ServiceAccount", &format!("{name}-deployer"), spec)?);
    let spec = json!({ "organization": name, "name": "monthly", "period": "monthly", "limit": "250 USD",
        "warnAt": [50, 80], "onLimit": "block" });
    documents.push(document("Budget", &format!("{name}-monthly"), spec)?);
    assert_eq!(documents.len(), 1 + CHILDREN, "as many as is said");
    Ok(documents)
}

/// Does something with each of these, so many at the same time.
async fn each<T, F>(
    items: impl IntoIterator<Item = T>,
    at_once: usize,
    mut start: impl FnMut(T) -> F,
) -> Result<(), Box<dyn Error>>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    for item in items {
        if under_way.len() >= at_once
            && let Some(ended) = under_way.join_next().await
        {
            ended??;
        }
        under_way.spawn(start(item));
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    Ok(())
}

fn address(namespace: &str, kind: &Kind) -> String {
    format!("/apis/{API_VERSION}/namespaces/{namespace}/{}", kind.plural.to_lowercase())
}

impl Served {
    /// A client that may do everything.
    pub async fn new(cluster: &'static Cluster) -> Result<Served, Box<dyn Error>> {
        let kubeconfig = Some(cluster.way_in(User::Admin, None));
        let settings = ClusterSettings { kubeconfig, ..ClusterSettings::default() };
        let api = Api::new(&settings, "measure", Times::default()).await.map_err(|finding| finding.message.clone())?;
        Ok(Served { cluster, api })
    }

    /// The file that lets the controller in.
    pub fn way_in(&self) -> PathBuf {
        self.cluster.way_in(User::Argus, None)
    }

    /// Has the requests of the controller's account counted by themselves. They are served as before.
    pub fn count(&self) {
        let rule = json!({
            "subjects": [{ "kind": "User", "user": { "name": "argus" } }],
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"],
                "clusterScope": true }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
        });
        let schema = json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
            "kind": "FlowSchema",
            "metadata": { "name": "argus" },
            "spec": {
                "matchingPrecedence": 500,
                "priorityLevelConfiguration": { "name": "global-default" },
                "distinguisherMethod": { "type": "ByUser" },
                "rules": [rule],
            },
        });
        self.cluster.kubectl(User::Admin, &["create", "-f", "-"], &schema.to_string()).well();
    }

    /// Makes organizations, with all that belongs to them.
    pub async fn fill(
        &self,
        namespace: &str,
        place: usize,
        numbers: std::ops::Range<usize>,
    ) -> Result<(), Box<dyn Error>> {
        let mut all = Vec::new();
        for number in numbers {
            all.extend(documents(&organization(place, number))?);
        }
        each(all, MADE_AT_ONCE, |(kind, document)| {
            let (client, path) = (self.api.client(), address(namespace, kind));
            async move {
                let request = Request::new(path).create(&PostParams::default(), document.to_string().into_bytes());
                let request = request.map_err(|error| error.to_string())?;
                client.request::<Json>(request).await.map(drop).map_err(|error| error.to_string())
            }
        })
        .await
    }

    /// All objects of a kind.
    async fn list(&self, namespace: &str, kind: &Kind) -> Result<Vec<Json>, Box<dyn Error>> {
        let (mut objects, mut token) = (Vec::new(), None);
        loop {
            let list = ListParams { continue_token: token, ..ListParams::default().limit(PAGE_OBJECTS) };
            let mut page: Json = self.api.client().request(Request::new(address(namespace, kind)).list(&list)?).await?;
            if let Json::Array(items) = page["items"].take() {
                objects.extend(items);
            }
            token = page["metadata"]["continue"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(objects);
            }
        }
    }

    /// How many objects are ready, and the status of one of them.
    pub async fn ready(&self, namespace: &str) -> Result<(usize, Json), Box<dyn Error>> {
        let (mut count, mut status) = (0, Json::Null);
        for name in KINDS {
            for object in self.list(namespace, kind(name)?).await? {
                let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
                if conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True") {
                    count += 1;
                    status = object["status"].clone();
                }
            }
        }
        Ok((count, status))
    }

    /// Changes a team.
    pub async fn rename(&self, namespace: &str, organization: &str, name: &str) -> Result<(), Box<dyn Error>> {
        let change = json!({ "spec": { "displayName": name } });
        let team = format!("{organization}-core");
        let merged = self.api.merge(namespace, KindId::of(kind("Team")?).into(), &team, &change).await;
        merged.map(drop).map_err(|fault| fault.message.into())
    }

    /// Writes to so many organizations what a controller writes to each of their objects: the finalizer, this status, and an
    /// event. Gives how long that takes, in seconds.
    pub async fn write_bare(
        &self,
        namespace: &str,
        numbers: std::ops::Range<usize>,
        status: &Json,
    ) -> Result<f64, Box<dyn Error>> {
        self.fill(namespace, 9, numbers.clone()).await?;
        let mut all = Vec::new();
        for number in numbers {
            all.extend(documents(&organization(9, number))?);
        }
        let (namespace, status): (Arc<str>, Arc<Json>) = (namespace.into(), Arc::new(status.clone()));
        let began = std::time::Instant::now();
        each(all, WRITTEN_AT_ONCE, |(kind, document)| {
            let (api, namespace, status) = (self.api.clone(), namespace.clone(), status.clone());
            let kind_id = KindId::of(kind);
            async move {
                let name = document["metadata"]["name"].as_str().unwrap_or_default();
                let held = json!({ "metadata": { "finalizers": [FINALIZER] } });
                api.merge(&namespace, kind_id.into(), name, &held).await.map_err(|fault| fault.message)?;
                let metadata = json!({ "name": name, "namespace": &*namespace });
                let told =
                    json!({ "apiVersion": API_VERSION, "kind": kind.name, "metadata": metadata, "status": &*status });
                let object =
                    api.apply_status(&namespace, kind_id.into(), name, &told).await.map_err(|fault| fault.message)?;
                let metadata: &Metadata = &object.metadata;
                let told = Told { is_well: true, reason: "Applied", note: "the rows are as it says", at: Utc::now() };
                api.tell(&namespace, kind_id.into(), metadata, &told).await.map_err(|fault| fault.message)
            }
        })
        .await?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// What the API server was asked by now.
    pub fn asked(&self) -> Asked {
        let metrics = self.cluster.kubectl(User::Admin, &["get", "--raw", "/metrics"], "").well().out;
        let mut asked = Asked::default();
        for line in metrics.lines() {
            let Some((name, count)) = line.rsplit_once(' ') else { continue };
            let count = || count.parse::<f64>().unwrap_or_default();
            if name.starts_with("apiserver_flowcontrol_dispatched_requests_total{")
                && label(name, "flow_schema") == "argus"
            {
                asked.all += count();
            }
            let ours = ["argus.io", "events.k8s.io"].contains(&label(name, "group"));
            if name.starts_with("apiserver_request_total{") && ours {
                *asked.verbs.entry(label(name, "verb").to_owned()).or_default() += count();
            }
        }
        asked
    }

    /// The processor time of the API server and of etcd, in seconds.
    pub fn processor_seconds(&self) -> Result<(f64, f64), Box<dyn Error>> {
        let mut of = BTreeMap::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            if fields.get(1).and_then(|parent| parent.parse().ok()) != Some(std::process::id()) {
                continue;
            }
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let part = words.split(|byte| *byte == 0).nth(1).unwrap_or_default();
            let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
            of.insert(String::from_utf8_lossy(part).into_owned(), (ticks(11) + ticks(12)) / 100.0);
        }
        let seconds = |part: &str| of.get(part).copied().unwrap_or_default();
        Ok((seconds("apiserver"), seconds("etcd")))
    }
}

/// The value of a label of a metric.
fn label<'a>(metric: &'a str, name: &str) -> &'a str {
    let (_, labels) = metric.split_once('{').unwrap_or_default();
    let found = labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""));
    found.unwrap_or_default().trim_end_matches(['"', '}'])
}

/// Where the API server is, if there is one to be had.
pub fn binary() -> Option<PathBuf> {
    std::env::var_os("ARGUS_KUBERNETES").map(PathBuf::from).filter(|path| Path::is_file(path))
}
