//! What the machine says of a cluster: how to reach it, and which organizations each namespace may describe.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::admission::AdmissionSettings;
use crate::approval::Need;
use crate::brake::{Mode, Windows};
use crate::diff::matches;
use crate::guard::Guards;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, name_fault};
use crate::verdict::Terms;

/// The most namespaces that are watched: each takes a connection for every kind.
pub const NAMESPACES_MAX: usize = 200;

/// The most patterns of one namespace.
const PATTERNS_MAX: usize = 1_000;

/// What a cluster is called when nobody says so.
const NAME: &str = "kubernetes";

/// The section `kubernetes` of the settings of the machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterSettings {
    /// The file that says how to get into the cluster; without one, Argus runs in it.
    pub kubeconfig: Option<PathBuf>,
    /// The context of that file; without one, the current one.
    pub context: Option<String>,
    /// What the cluster is called in the names of its sources.
    pub name: String,
    /// The namespaces that are watched, each with the organizations that it may describe.
    pub namespaces: BTreeMap<String, Binding>,
    /// What becomes of rows whose object is deleted, where the object does not say so.
    pub deletion_policy: DeletionPolicy,
    /// Where the API server asks before it stores an object; without it, it asks nobody.
    pub admission: Option<AdmissionSettings>,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        ClusterSettings {
            kubeconfig: None,
            context: None,
            name: NAME.into(),
            namespaces: BTreeMap::new(),
            deletion_policy: DeletionPolicy::default(),
            admission: None,
        }
    }
}

/// What becomes of a row whose object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeletionPolicy {
    /// It goes.
    #[default]
    Delete,
    /// It stays, and is no longer managed.
    Orphan,
}

impl DeletionPolicy {
    /// The policy of this word.
    pub fn named(word: &str) -> Option<DeletionPolicy> {
        match word {
            "delete" => Some(DeletionPolicy::Delete),
            "orphan" => Some(DeletionPolicy::Orphan),
            _ => None,
        }
    }
}

/// What a namespace may describe, and how its plans are judged.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// The organizations, by name; `*` stands for any run of characters.
    pub organizations: Vec<String>,
    /// Whether it may describe tiers, which all organizations share.
    pub tiers: bool,
    /// The namespaces into which its keys may be delivered, beside itself; `*` stands for any run of characters.
    pub secret_namespaces: Vec<String>,
    /// Which repositories its objects may name; none where it may name none.
    pub repositories: Option<RepositoryBinding>,
    /// What its plans are judged by.
    pub terms: Terms,
}

/// Which repositories the objects of a namespace may name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RepositoryBinding {
    /// What sources may be called; `*` stands for any run of characters.
    pub names: Vec<String>,
    /// Where repositories may be; `*` stands for any run of characters. A Secret goes nowhere else.
    pub urls: Vec<String>,
    /// The Secrets of the namespace that may be read for them.
    pub secrets: Vec<String>,
}

impl RepositoryBinding {
    fn fault(&self) -> Option<String> {
        if self.names.is_empty() {
            return Some("has `gitSources` without `names`: say what its sources may be called".into());
        }
        if self.urls.is_empty() {
            return Some("has `gitSources` without `urls`: say where its repositories may be".into());
        }
        if [&self.names, &self.urls, &self.secrets].iter().any(|list| list.len() > PATTERNS_MAX) {
            return Some(format!("has more than {PATTERNS_MAX} entries in a list of `gitSources`"));
        }
        let odd = |pattern: &&String| name_fault(&pattern.replace('*', "x")).is_some();
        if let Some(name) = self.names.iter().find(odd) {
            return Some(format!("has in `gitSources.names` `{name}`, which is neither a name nor a pattern"));
        }
        let odd = |name: &&String| !is_object_name(name);
        self.secrets.iter().find(odd).map(|name| format!("has in `gitSources.secrets` `{name}`, which names no Secret"))
    }
}

impl Binding {
    /// Whether it may describe this organization; under the empty name, what all share.
    pub fn covers(&self, organization: &str) -> bool {
        match organization {
            GLOBAL => self.tiers,
            name => self.organizations.iter().any(|pattern| matches(pattern, name)),
        }
    }

    /// Whether its keys may be delivered into this other namespace.
    pub fn delivers_to(&self, namespace: &str) -> bool {
        self.secret_namespaces.iter().any(|pattern| matches(pattern, namespace))
    }

    fn fault(&self) -> Option<String> {
        if self.organizations.is_empty() && !self.tiers {
            return Some("is bound to nothing: name its organizations".into());
        }
        if self.organizations.len() > PATTERNS_MAX {
            return Some(format!("has more than {PATTERNS_MAX} organizations: say them with `*`"));
        }
        let plain = |pattern: &String| name_fault(&pattern.replace('*', "x")).map(|fault| (pattern.clone(), fault));
        if let Some((pattern, fault)) = self.organizations.iter().find_map(plain) {
            return Some(format!("is bound to `{pattern}`, which is neither a name nor a pattern: {fault}"));
        }
        let odd = |name: &&String| namespace_fault(&name.replace('*', "x")).is_some();
        if let Some(name) = self.secret_namespaces.iter().find(odd) {
            return Some(format!("has in `secretNamespaces` `{name}`, which is neither a name nor a pattern"));
        }
        if let Some(fault) = self.repositories.as_ref().and_then(RepositoryBinding::fault) {
            return Some(fault);
        }
        self.terms.approvals.fault().map(|fault| format!("has `approvals` that cannot be met or hold nothing: {fault}"))
    }
}

/// The long form of a binding.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Written {
    organizations: Vec<String>,
    tiers: bool,
    secret_namespaces: Vec<String>,
    git_sources: Option<RepositoryBinding>,
    mode: Mode,
    guards: Guards,
    approvals: Need,
    windows: Windows,
}

impl<'de> Deserialize<'de> for Binding {
    /// A list of organizations, or a mapping that says more.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Binding;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of organizations, or a mapping with `organizations`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Binding, A::Error> {
                let organizations = Vec::deserialize(SeqAccessDeserializer::new(items))?;
                Ok(Binding { organizations, ..Binding::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, pairs: A) -> Result<Binding, A::Error> {
                let Written { organizations, tiers, secret_namespaces, git_sources, mode, guards, approvals, windows } =
                    Written::deserialize(MapAccessDeserializer::new(pairs))?;
                Ok(Binding {
                    organizations,
                    tiers,
                    secret_namespaces,
                    repositories: git_sources,
                    terms: Terms { mode, guards, approvals, windows },
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl ClusterSettings {
    /// The name of the source that a namespace is.
    pub fn source_of(&self, namespace: &str) -> String {
        format!("{}-{namespace}", self.name)
    }

    /// The same, with the file that it names looked for beside the file that it stands in.
    pub fn beside(mut self, folder: &Path) -> ClusterSettings {
        if let Some(file) = &mut self.kubeconfig {
            *file = folder.join(&*file);
        }
        self.admission = self.admission.map(|admission| admission.beside(folder));
        self
    }

    /// Says what cannot be right.
    pub fn check(&self) -> Result<(), Box<Finding>> {
        let bad = |message: String| Err(Box::new(Finding::error(Code::BadSettings, message)));
        if let Some(fault) = name_fault(&self.name) {
            return bad(format!("`kubernetes.name` is not a name: {fault}"));
        }
        if self.namespaces.len() > NAMESPACES_MAX {
            return bad(format!("`kubernetes.namespaces` names more than {NAMESPACES_MAX} namespaces"));
        }
        for (namespace, binding) in &self.namespaces {
            if let Some(fault) = namespace_fault(namespace) {
                return bad(format!("`{namespace}` is no name of a namespace: {fault}"));
            }
            let source = self.source_of(namespace);
            if let Some(fault) = name_fault(&source) {
                let message = format!("the namespace `{namespace}` would be the source `{source}`: {fault}");
                let hint = "give the cluster a shorter `kubernetes.name`";
                return Err(Box::new(Finding::error(Code::BadSettings, message).hint(hint)));
            }
            if let Some(fault) = binding.fault() {
                return bad(format!("the namespace `{namespace}` {fault}"));
            }
        }
        self.admission.as_ref().map_or(Ok(()), AdmissionSettings::check)
    }
}

/// Whether objects may be called this: it becomes part of addresses.
pub(super) fn is_object_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=253).contains(&name.len()) && name.chars().all(plain) && name.starts_with(ends) && name.ends_with(ends)
}

/// A namespace becomes part of addresses: nothing but a label of DNS gets there.
pub(super) fn namespace_fault(name: &str) -> Option<&'static str> {
    let odd = |c: char| !matches!(c, 'a'..='z' | '0'..='9' | '-');
    if name.is_empty() || name.len() > 63 {
        return Some("it has 1 to 63 characters");
    }
    if name.contains(odd) || name.starts_with('-') || name.ends_with('-') {
        return Some("it consists of lower-case letters, digits and inner hyphens");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ClusterSettings, String> {
        let settings: ClusterSettings = serde_json::from_str(text).map_err(|error| error.to_string())?;
        settings.check().map_err(|finding| finding.message)?;
        Ok(settings)
    }

    #[test]
    fn a_namespace_is_bound_by_names_and_patterns_and_to_nothing_else() {
        let settings = read(
            r#"{"namespaces": {"team-a": ["acme", "acme-*"],
                "platform": {"organizations": ["*"], "tiers": true, "mode": "observe"}}}"#,
        )
        .expect("these settings are right");
        let team = &settings.namespaces["team-a"];
        let covered = ["acme", "acme-eu", "acmex", "globex", "x-acme-eu", GLOBAL].map(|name| team.covers(name));
        assert_eq!(covered, [true, true, false, false, false, false]);
        let platform = &settings.namespaces["platform"];
        assert!(platform.covers("globex") && platform.covers(GLOBAL));
        assert_eq!((platform.terms.mode, team.terms.mode), (Mode::Observe, Mode::Enforce));
        assert_eq!(settings.source_of("team-a"), "kubernetes-team-a");
        assert_eq!(settings.deletion_policy, DeletionPolicy::Delete);
    }

    #[test]
    fn settings_that_cannot_be_are_refused_with_what_is_wrong() {
        for (text, why) in [
            (r#"{"namespaces": {"a": []}}"#, "is bound to nothing"),
            (r#"{"namespaces": {"a": ["Acme"]}}"#, "neither a name nor a pattern"),
            (r#"{"namespaces": {"../a": ["acme"]}}"#, "no name of a namespace"),
            (r#"{"namespaces": {"a": {"organisations": ["acme"]}}}"#, "unknown field"),
            (r#"{"namespaces": {"a": "acme"}}"#, "a list of organizations, or a mapping"),
            (r#"{"namespaces": {"a": {"organizations": ["acme"], "approvals": {"quorum": 0}}}}"#, "cannot be met"),
            (r#"{"name": "My Cluster"}"#, "is not a name"),
            (r#"{"deletionPolicy": "keep"}"#, "unknown variant"),
            (r#"{"token": "x"}"#, "unknown field"),
        ] {
            let found = read(text).expect_err(text);
            assert!(found.contains(why), "{text}: {found}");
        }
        let long = format!(r#"{{"name": "production", "namespaces": {{"{}": ["acme"]}}}}"#, "a".repeat(60));
        assert!(read(&long).expect_err("too long").contains("would be the source"));
    }
}
