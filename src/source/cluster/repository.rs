//! A GitSource: a repository that a namespace names, and what is known of all that it names.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::Value as Json;

use super::bound::BIND;
use super::cache::Stale;
use super::object::{Object, REQUESTED_AT, digest};
use super::settings::{Binding, is_object_name};
use crate::brake::Mode;
use crate::diff::matches;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::name_fault;
use crate::model::origin::Origin;
use crate::model::secret::shown;
use crate::model::time::parse_duration;
use crate::source::git::address::{Address, Place};
use crate::source::git::settings::Verify;

/// How often a repository may be looked at by itself at most.
const INTERVAL_MIN: TimeDelta = TimeDelta::seconds(30);

/// The most paths of one.
const PATHS_MAX: usize = 100;

/// An object as it was seen.
#[derive(Clone, Debug)]
pub struct Repository {
    /// What the object is called.
    pub name: Arc<str>,
    /// What tells it from one that had the name before.
    pub uid: Box<str>,
    /// How often its spec has changed.
    pub generation: i64,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// Whether somebody deleted it.
    pub deleting: bool,
    /// A digest of all that is a reason for a look: what it says, and when one was asked for.
    pub moves: u64,
    /// The generation that its status is about.
    pub observed: i64,
    /// What it says, or why that does not count.
    pub said: Result<Wanted, Box<Finding>>,
    version: u64,
}

/// What a GitSource asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What the source is called.
    pub source: String,
    /// Where the repository is.
    pub url: String,
    /// The branch, tag or commit.
    pub reference: Option<String>,
    /// The directories and files that are read.
    pub paths: Vec<PathBuf>,
    /// How often it is looked at.
    pub interval: Option<TimeDelta>,
    /// How long a step may take.
    pub timeout: Option<TimeDelta>,
    /// What has to be signed.
    pub verify: Verify,
    /// The Secret with the lists of those who may sign.
    pub signers: Option<String>,
    /// The Secret with what it takes to get in.
    pub secret: Option<String>,
    /// What happens to drift, whatever the repository says.
    pub mode: Option<Mode>,
    /// Whether nothing of it is applied for now.
    pub suspend: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    url: String,
    #[serde(rename = "ref")]
    reference: Option<String>,
    source: Option<String>,
    paths: Option<Vec<PathBuf>>,
    interval: Option<String>,
    timeout: Option<String>,
    #[serde(default)]
    verify: Verify,
    signers: Option<Signers>,
    secret_ref: Option<SecretRef>,
    mode: Option<Mode>,
    #[serde(default)]
    suspend: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Signers {
    secret_ref: SecretRef,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretRef {
    name: String,
}

impl Repository {
    /// Takes from an object of a namespace what is to be kept. `at` is where it is, as findings tell it.
    pub fn of(object: &Object, namespace: &str, binding: &Binding, at: &str) -> Repository {
        let Object { metadata, spec, status } = object;
        let said = wanted(&metadata.name, spec.as_ref(), namespace, binding);
        let text = spec.as_ref().map(Json::to_string).unwrap_or_default();
        let observed = status.as_ref().and_then(|status| status["observedGeneration"].as_i64());
        Repository {
            name: metadata.name.as_str().into(),
            uid: metadata.uid.as_str().into(),
            generation: metadata.generation,
            made_at: metadata.creation_timestamp.clone().unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            moves: digest(&[
                text.as_bytes(),
                metadata.uid.as_bytes(),
                metadata.annotations.get(REQUESTED_AT).map(String::as_bytes).unwrap_or_default(),
            ]),
            observed: observed.unwrap_or_default(),
            said: said.map_err(|finding| Box::new(finding.at(Origin::file(&Arc::from(at))))),
            version: metadata.version(),
        }
    }
}

/// What an object asks for, if its namespace may ask for that. Nothing is asked of anybody before that is known.
fn wanted(name: &str, spec: Option<&Json>, namespace: &str, binding: &Binding) -> Result<Wanted, Box<Finding>> {
    let unbound = |what: String| {
        let finding = Finding::error(Code::NotBound, format!("the namespace `{namespace}` is not bound to {what}"));
        Err(Box::new(finding.hint(BIND)))
    };
    let Some(bound) = &binding.repositories else {
        return unbound("any repository".into());
    };
    let wrong = |what: String| {
        Box::new(Finding::error(Code::BadSettings, what).hint("docs/kubernetes.md tells what a GitSource says"))
    };
    let spec = spec.cloned().unwrap_or_default();
    let spec: Spec = serde_json::from_value(spec).map_err(|error| wrong(format!("it is no GitSource: {error}")))?;
    let source = spec.source.unwrap_or_else(|| name.to_owned());
    if let Some(fault) = name_fault(&source) {
        let message = format!("no source can be called {}: {fault}", shown(&source));
        let hint = "`spec.source` gives it another name than that of the object";
        return Err(Box::new(Finding::error(Code::BadSettings, message).hint(hint)));
    }
    if !bound.names.iter().any(|pattern| matches(pattern, &source)) {
        return unbound(format!("sources that are called `{source}`"));
    }
    // Also what every pattern would match.
    let address = Address::parse(&spec.url, &[])?;
    if Address::parse(&spec.url, &bound.urls).is_err() {
        return unbound(format!("repositories at {address}"));
    }
    if spec.url.contains(['?', '#']) {
        return Err(wrong("the address of a repository has no `?` and no `#`".into()));
    }
    if matches!(address.place(), Place::Here(_)) {
        return Err(wrong("a repository on the machine of Argus is nothing that a namespace can name".into()));
    }
    let (secret, signers) = (spec.secret_ref.map(|of| of.name), spec.signers.map(|signers| signers.secret_ref.name));
    for name in [&secret, &signers].into_iter().flatten() {
        if !is_object_name(name) || !bound.secrets.contains(name) {
            return unbound(format!("the Secret {}", shown(name)));
        }
    }
    if spec.verify != Verify::None && signers.is_none() {
        return Err(wrong("what has to be signed is judged by a list, and `signers` names none".into()));
    }
    let paths = spec.paths.unwrap_or_default();
    if paths.len() > PATHS_MAX {
        return Err(wrong(format!("it names more than {PATHS_MAX} paths")));
    }
    let length = |text: Option<String>| match text.as_deref().map(parse_duration).transpose() {
        Ok(length) => Ok(length),
        Err(_) => Err(wrong("a length of time is written `30s`, `5m` or `1h`".into())),
    };
    let interval = length(spec.interval)?;
    if interval.is_some_and(|interval| interval < INTERVAL_MIN) {
        return Err(wrong("`interval` is at least 30s; `argus.io/requestedAt` asks for a look at once".into()));
    }
    Ok(Wanted {
        source,
        url: spec.url,
        reference: spec.reference,
        paths,
        interval,
        timeout: length(spec.timeout)?,
        verify: spec.verify,
        signers,
        secret,
        mode: spec.mode,
        suspend: spec.suspend,
    })
}

/// What is known of the repositories that a namespace names.
#[derive(Debug, Default)]
pub struct Repositories {
    /// Whether all of them were listed once.
    pub listed: bool,
    /// Why nothing is heard of them now.
    pub fault: Option<Finding>,
    reach: u64,
    known: BTreeMap<Arc<str>, Repository>,
}

impl Repositories {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Repository> {
        self.known.values()
    }

    /// Takes a whole list: what it does not hold is no longer there.
    pub fn replace(&mut self, listed: u64, all: Vec<Repository>) -> Result<(), Stale> {
        if listed < self.reach {
            return Err(Stale { listed, known: self.reach });
        }
        self.known = all.into_iter().map(|one| (one.name.clone(), one)).collect();
        (self.listed, self.reach, self.fault) = (true, listed, None);
        Ok(())
    }

    /// Takes one that has come or changed. Says whether that is a reason to do something.
    pub fn change(&mut self, one: Repository) -> bool {
        self.reached(one.version);
        let known = self.known.get(&one.name);
        if known.is_some_and(|known| known.version > one.version && known.uid == one.uid) {
            return false;
        }
        let moved = known.is_none_or(|known| known.moves != one.moves || known.deleting != one.deleting);
        self.known.insert(one.name.clone(), one);
        moved
    }

    /// Takes that one has gone.
    pub fn remove(&mut self, name: &str, version: u64) {
        self.reached(version);
        if self.known.get(name).is_some_and(|known| known.version <= version) {
            self.known.remove(name);
        }
    }

    /// Takes that everything is known up to a version.
    pub fn reached(&mut self, version: u64) {
        self.reach = self.reach.max(version);
        self.fault = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::settings::RepositoryBinding;
    use super::*;

    fn read(name: &str, spec: Json) -> Result<Wanted, Code> {
        let repositories = RepositoryBinding {
            names: vec!["acme-*".into()],
            urls: vec!["https://git.example/acme/*".into()],
            secrets: vec!["token".into()],
        };
        let binding = Binding { repositories: Some(repositories), ..Binding::default() };
        wanted(name, Some(&spec), "team-a", &binding).map_err(|finding| finding.code)
    }

    #[test]
    fn a_namespace_names_what_it_is_bound_to_and_nothing_else() {
        let url = "https://git.example/acme/config.git";
        let good = read("acme-config", json!({ "url": url, "secretRef": { "name": "token" }, "interval": "30s" }));
        assert_eq!(good.map(|wanted| (wanted.source, wanted.secret)), Ok(("acme-config".into(), Some("token".into()))));
        for (name, spec, code) in [
            ("globex", json!({ "url": url }), Code::NotBound),
            ("acme-a", json!({ "url": url, "source": "globex" }), Code::NotBound),
            ("acme-a", json!({ "url": url, "secretRef": { "name": "other" } }), Code::NotBound),
            ("acme-a", json!({ "url": url, "secretRef": { "name": "../token" } }), Code::NotBound),
            (
                "acme-a",
                json!({ "url": url, "verify": "head", "signers": { "secretRef": { "name": "x" } } }),
                Code::NotBound,
            ),
            ("acme-a", json!({ "url": url, "verify": "head" }), Code::BadSettings),
            ("acme-a", json!({ "url": "https://git.example/globex/config.git" }), Code::NotBound),
            ("acme-a", json!({ "url": format!("{url}?again") }), Code::BadSettings),
            ("acme-a", json!({ "url": url, "interval": "1s" }), Code::BadSettings),
            ("acme-a", json!({ "url": "/etc" }), Code::NotBound),
            ("acme-a", json!({ "url": "file:///etc" }), Code::BadRepository),
            ("acme-a", json!({ "url": url, "interval": "often" }), Code::BadSettings),
            ("acme-a", json!({ "url": url, "passwordFile": "/etc/shadow" }), Code::BadSettings),
            ("acme.a", json!({ "url": url }), Code::BadSettings),
        ] {
            assert_eq!(read(name, spec.clone()).map(|wanted| wanted.source), Err(code), "{name} {spec}");
        }
        let nothing = wanted("acme-a", Some(&json!({ "url": url })), "team-a", &Binding::default());
        assert_eq!(nothing.map_err(|finding| finding.code), Err(Code::NotBound));
    }

    #[test]
    fn a_path_of_this_machine_is_refused_even_where_every_address_may_be_read() {
        let all = || vec!["*".to_owned()];
        let repositories = RepositoryBinding { names: all(), urls: all(), secrets: Vec::new() };
        let binding = Binding { repositories: Some(repositories), ..Binding::default() };
        for url in ["/srv/acme.git", "./acme", "file:///srv/acme.git"] {
            assert!(wanted("acme", Some(&json!({ "url": url })), "team-a", &binding).is_err(), "{url}");
        }
    }

    #[test]
    fn an_old_list_and_an_old_object_change_nothing() {
        let object = |version: &str, url: &str| {
            let metadata = json!({ "name": "acme-a", "uid": "1", "resourceVersion": version });
            let object =
                serde_json::from_value(json!({ "metadata": metadata, "spec": { "url": url } })).expect("an object");
            Repository::of(&object, "team-a", &Binding::default(), "k/team-a/GitSource/acme-a")
        };
        let mut known = Repositories::default();
        assert!(known.replace(5, vec![object("4", "https://a.example/a")]).is_ok());
        assert!(known.change(object("7", "https://a.example/b")));
        // The status has changed, and nothing else.
        assert!(!known.change(object("8", "https://a.example/b")));
        assert!(!known.change(object("6", "https://a.example/a")));
        assert!(known.replace(3, Vec::new()).is_err());
        known.remove("acme-a", 2);
        assert_eq!(known.all().count(), 1);
        known.remove("acme-a", 9);
        assert_eq!(known.all().count(), 0);
    }
}
