//! One repository that a namespace names. What the object says is read anew for every turn, with its Secrets, which are kept
//! nowhere; and after each turn the object is told how it stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::Desk;
use super::super::cluster::Office;
use super::super::cluster::answer::{reasons, standing_of};
use super::super::pass::Done;
use super::said;
use crate::commands::context::{Context, Failure};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::render::text;
use crate::settings::controller::SourceSettings;
use crate::source::cluster::Followed;
use crate::source::cluster::api::Fault;
use crate::source::cluster::object::Object;
use crate::source::cluster::repository::{Repository, Wanted};
use crate::source::cluster::sort::Sort;
use crate::source::cluster::status::{Came, Entry, Organization, Run, Standing, Status};
use crate::source::cluster::writing::{As, answer};
use crate::source::git::material::Material;
use crate::source::git::settings::{GitSettings, Limits, SignerFiles, Verify};
use crate::store::Store;
use crate::store::queue;

/// How often the status is written where somebody else writes it as well.
const TRIES: usize = 5;

/// The entries of a Secret.
type Entries = BTreeMap<String, Vec<u8>>;

/// An object that names a repository.
#[derive(Clone)]
pub struct Named {
    office: Arc<Office>,
    name: Arc<str>,
    uid: Box<str>,
    /// The generation that was read.
    generation: i64,
}

/// How long a fetch may take that somebody else than the machine asks for, in seconds: it keeps a worker busy.
const FETCH_SECONDS_MAX: u32 = 60;

/// How an object is called that has named a source.
pub fn called(followed: &Followed, name: &str) -> String {
    format!("{}/{}/{name}", followed.cluster, followed.name)
}

impl Named {
    /// The one of this object.
    pub fn new(office: &Arc<Office>, repository: &Repository) -> Named {
        let Repository { name, uid, generation, .. } = repository;
        Named { office: office.clone(), name: name.clone(), uid: uid.clone(), generation: *generation }
    }

    /// How it is called.
    pub fn called(&self) -> String {
        called(self.office.at().1, &self.name)
    }

    /// The desk of what it asks for, with the entries of the Secrets that it names.
    pub fn desk(
        &self,
        context: &Context,
        wanted: &Wanted,
        secrets: BTreeMap<&str, Entries>,
    ) -> Result<Desk, Box<Finding>> {
        let (_, followed) = self.office.at();
        let usual = context.git();
        let urls = followed.binding.repositories.as_ref().map(|bound| bound.urls.clone()).unwrap_or_default();
        let fetch_seconds_max = usual.limits.fetch_seconds_max.min(FETCH_SECONDS_MAX);
        let mut git = GitSettings {
            url: Some(wanted.url.clone()),
            reference: wanted.reference.clone(),
            source: Some(wanted.source.clone()),
            paths: wanted.paths.clone(),
            mode: wanted.mode,
            allow: urls,
            cache_dir: usual.cache_dir.clone(),
            ca_file: usual.ca_file.clone(),
            verify: wanted.verify,
            limits: Limits { fetch_seconds_max, ..usual.limits },
            // Whoever comes without the Secret does not find what was fetched with it.
            of_others: Some(format!("{}.{}", followed.name, wanted.secret.as_deref().unwrap_or_default())),
            ..GitSettings::default()
        };
        for (name, entries) in secrets {
            if wanted.secret.as_deref() == Some(name) {
                way_in(&mut git, name, &entries)?;
            }
            if wanted.signers.as_deref() == Some(name) {
                git.signers = signers(name, entries)?;
            }
        }
        let settings = SourceSettings::of_repository(&wanted.source, git, wanted.interval, wanted.timeout)?;
        let context = context.of_source(&settings.name, &settings.git).bound_to(followed.bound());
        Ok(Desk { settings, context, office: None, named: Some(self.clone()) })
    }

    /// The desk as it is at this moment, by what the API server says; none where it is to be none of this name any more.
    pub async fn at_hand(&self, context: &Context, source: &str) -> Result<Option<Desk>, Failure> {
        let (cluster, followed) = self.office.at();
        let object = self.object().await.map_err(|fault| self.unreadable(&fault))?;
        let Some(repository) = object.map(|object| followed.repository(&object)).filter(|there| !there.deleting) else {
            return Ok(None);
        };
        let Some(wanted) = asks_for(&repository).filter(|wanted| wanted.source == source) else { return Ok(None) };
        let mut secrets: BTreeMap<&str, Entries> = BTreeMap::new();
        for name in [&wanted.secret, &wanted.signers].into_iter().flatten() {
            let read = cluster.api().secret(&followed.name, name).await.map_err(|fault| self.unreadable(&fault))?;
            let Some(entries) = read else {
                let message = format!("there is no Secret `{name}` in the namespace `{}`", followed.name);
                let finding = Finding::error(Code::BadSettings, message).about(&self.name);
                return Err(Failure::from(finding.hint("make it, or name another one; it is looked for again")));
            };
            secrets.insert(name, entries);
        }
        Ok(Some(Named::new(&self.office, &repository).desk(context, wanted, secrets)?))
    }

    /// Whether the object is there, whichever it is.
    pub async fn is_there(office: &Office, name: &str) -> Result<bool, Fault> {
        let (cluster, followed) = office.at();
        Ok(cluster.api().get(&followed.name, Sort::GitSource, name).await?.is_some())
    }

    /// The object as it is now, unless another one has taken its name.
    async fn object(&self) -> Result<Option<Object>, Fault> {
        let (cluster, followed) = self.office.at();
        let object = cluster.api().get(&followed.name, Sort::GitSource, &self.name).await?;
        Ok(object.filter(|object| *object.metadata.uid == *self.uid))
    }

    fn unreadable(&self, fault: &Fault) -> Box<Finding> {
        let (name, namespace) = (&self.name, &self.office.at().1.name);
        let finding =
            fault.finding(&format!("read the GitSource `{name}` of the namespace `{namespace}`, or its Secrets"));
        Box::new(match fault.status {
            403 => finding.hint(
                "the account of Argus needs `get` on the Secrets that `gitSources.secrets` lists, by their names, and `get`, \
                 `list`, `watch` on gitsources",
            ),
            _ => finding,
        })
    }

    /// Tells the object how it stands where it is no source.
    pub async fn tell(&self, standing: Standing, why: &str, now: DateTime<Utc>) {
        let came = |object: &Object| Came::new(object.metadata.generation, now, standing, why.to_owned());
        for _ in 0..TRIES {
            let answered = match self.object().await {
                Ok(Some(object)) => self.write(&object, &came(&object)).await,
                Ok(None) => return,
                Err(fault) => Err(fault),
            };
            if !self.is_to_be_tried_again(answered) {
                return;
            }
        }
    }

    /// Tells the object how it stands after a turn. What the database says is read after the object was, so that whoever was
    /// faster and knew less is written over, and whoever knew more is not. `done` is the work that was done, if it was work,
    /// and `failed` why it came to nothing.
    pub async fn answer(&self, store: &Store, desk: &Desk, done: Option<&Done>, failed: &[Finding]) {
        for _ in 0..TRIES {
            let object = match self.object().await {
                Ok(Some(object)) => object,
                Ok(None) => return,
                Err(fault) => {
                    self.is_to_be_tried_again(Err(fault));
                    return;
                }
            };
            // Of what it says by now somebody else tells.
            let repository = self.office.at().1.repository(&object);
            if repository.generation != self.generation || asks_for(&repository).is_none() {
                return;
            }
            let came = match store.standing(&desk.settings.name).await {
                Ok(Some(standing)) => came(&object, desk, &standing, (done, failed)),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "how it stands with `{}` is not told: {error}", desk.settings.name);
                    return;
                }
            };
            let answered = self.write(&object, &came).await;
            if !self.is_to_be_tried_again(answered) {
                return;
            }
        }
    }

    async fn write(&self, object: &Object, came: &Came) -> Result<bool, Fault> {
        let (cluster, followed) = self.office.at();
        let metadata = &object.metadata;
        let status = object.status.clone().map(Status::from_json).unwrap_or_default();
        let version = Some(metadata.resource_version.clone());
        let seen = As { name: &metadata.name, uid: &metadata.uid, status, version };
        answer(cluster.api(), &followed.name, Sort::GitSource, &seen, came).await
    }

    /// Whether somebody else was faster; anything else that goes wrong is told, and comes right after the next turn.
    fn is_to_be_tried_again(&self, answered: Result<bool, Fault>) -> bool {
        match answered {
            Ok(_) => false,
            Err(fault) if fault.is_conflict() => true,
            Err(fault) if fault.is_absent() => false,
            Err(fault) => {
                let (name, namespace) = (&self.name, &self.office.at().1.name);
                tracing::warn!("the GitSource `{name}` of `{namespace}` is not told how it stands: {fault}");
                false
            }
        }
    }
}

/// What an object asks for, if anything is to be done about it.
fn asks_for(repository: &Repository) -> Option<&Wanted> {
    repository.said.as_ref().ok().filter(|wanted| !wanted.suspend)
}

/// What a Secret says of how one gets in, by the names that tools of Kubernetes give its entries.
fn way_in(git: &mut GitSettings, secret: &str, entries: &Entries) -> Result<(), Box<Finding>> {
    let material = |names: &[&str]| {
        let (name, bytes) = names.iter().find_map(|name| Some((*name, entries.get(*name)?)))?;
        Some(Material::given(format!("`{name}` of the Secret `{secret}`"), bytes.clone()))
    };
    git.username = material(&["username"]).map(|name| name.text()).transpose()?.map(|name| name.trim().to_owned());
    git.ssh_key_file = material(&["identity", "ssh-privatekey"]);
    let password = material(&["password"]);
    match &git.ssh_key_file {
        Some(_) => git.ssh_passphrase_file = password,
        None => git.password_file = password,
    }
    git.known_hosts_file = material(&["known_hosts"]);
    if git.ssh_key_file.is_none() && git.password_file.is_none() {
        let message = format!("the Secret `{secret}` holds nothing that gets anybody in");
        let hint =
            "it has a `password` (with a `username`, where the server wants one), or an `identity` with `known_hosts`";
        return Err(Box::new(Finding::error(Code::BadSettings, message).hint(hint)));
    }
    if git.ssh_key_file.is_some() && git.known_hosts_file.is_none() {
        let message = format!("the Secret `{secret}` holds a key, and does not say which server to trust");
        let hint = "add `known_hosts`, as `ssh-keyscan` prints it";
        return Err(Box::new(Finding::error(Code::BadSettings, message).hint(hint)));
    }
    Ok(())
}

/// The lists of those who may sign, told apart by the names of the entries.
fn signers(secret: &str, entries: Entries) -> Result<SignerFiles, Box<Finding>> {
    let mut signers = SignerFiles::default();
    for (name, bytes) in entries {
        let list = Material::given(format!("`{name}` of the Secret `{secret}`"), bytes);
        match name.as_str() {
            "allowed_signers" => signers.allowed_signers.push(list),
            "revoked" => signers.revoked.push(list),
            name if name.ends_with(".asc") || name.ends_with(".pgp") => signers.openpgp.push(list),
            name => match name.strip_prefix("forge.") {
                Some(forge) => drop(signers.forges.insert(forge.to_owned(), list)),
                None => {
                    let message = format!("{list} is no list of signers");
                    let hint = "entries are called `allowed_signers`, `revoked`, `NAME.asc` or `forge.NAME`";
                    return Err(Box::new(Finding::error(Code::BadSigners, message).hint(hint)));
                }
            },
        }
    }
    Ok(signers)
}

/// How an object stands, by what the database says of its source.
fn came(object: &Object, desk: &Desk, standing: &queue::Standing, (done, failed): (Option<&Done>, &[Finding])) -> Came {
    let (stands, message) = stands(standing, failed);
    let differ = standing.outcomes.iter().find(|outcomes| outcomes.word == "observed");
    let entry = |(organization, revision): &(String, Option<String>)| {
        Entry::Organization(Organization { organization: organization.clone(), revision: revision.clone() })
    };
    let run = done.and_then(|done| {
        let run = done.run.as_ref().filter(|_| done.changes > 0)?;
        Some(Run { id: run.as_str().to_owned(), plan_digest: done.digest.clone(), changes: done.changes as u64 })
    });
    let is_trusted = standing.failures == 0 && standing.revision.is_some() && !failed.iter().any(is_of_signatures);
    Came {
        drift: differ.map(|outcomes| format!("{} differ although nobody asked for it", counted(outcomes))),
        rows: Some(standing.organizations.iter().map(entry).collect()),
        run,
        revision: standing.revision.clone().or_else(|| Some("none".into())),
        verified: verified(desk.settings.git.verify).filter(|_| is_trusted).map(Into::into),
        ..Came::new(object.metadata.generation, desk.context.now(), stands, message)
    }
}

/// What has to be signed, in words.
fn verified(verify: Verify) -> Option<&'static str> {
    match verify {
        Verify::None => None,
        Verify::Head => Some("the commit is signed by somebody who may"),
        Verify::Tag => Some("the tag is signed by somebody who may"),
        Verify::AllSinceApplied => Some("all commits since the last applied one are signed by somebody who may"),
    }
}

/// The codes of what is not signed as it has to be.
const SIGNATURES: std::ops::Range<u16> = 1400..1500;

fn is_of_signatures(finding: &Finding) -> bool {
    SIGNATURES.contains(&finding.code.number())
}

fn stands(standing: &queue::Standing, failed: &[Finding]) -> (Standing, String) {
    let queue::Standing { failures, findings, is_to_be_looked_at, outcomes, organizations, .. } = standing;
    let wrong: Vec<&Finding> = findings.iter().filter(|finding| finding.is_error()).collect();
    let any = |code: Code| wrong.iter().any(|finding| finding.code == code);
    if *failures > 0 {
        let standing = match () {
            () if wrong.iter().any(|finding| is_of_signatures(finding)) => Standing::NotVerified,
            () if any(Code::NotBound) => Standing::NotBound,
            () => Standing::ReconciliationFailed,
        };
        return (standing, reasons(wrong.into_iter()));
    }
    if !failed.is_empty() {
        let unsigned = failed.iter().any(is_of_signatures);
        let standing = if unsigned { Standing::NotVerified } else { Standing::ReconciliationFailed };
        return (standing, failed.first().map(said).unwrap_or_default());
    }
    if !wrong.is_empty() {
        let standing = if any(Code::NotBound) { Standing::NotBound } else { Standing::InvalidManifest };
        return (standing, reasons(wrong.into_iter()));
    }
    let all = organizations.len();
    let is_well = |word: &str| matches!(word, "applied" | "unchanged");
    let unwell = outcomes.iter().filter(|outcomes| !is_well(&outcomes.word) && outcomes.word != "waiting");
    let unwell: Vec<&queue::Outcomes> = unwell.collect();
    if *is_to_be_looked_at || unwell.is_empty() && outcomes.iter().any(|outcomes| outcomes.word == "waiting") {
        let waits: i64 =
            outcomes.iter().filter(|outcomes| outcomes.word == "waiting").map(|outcomes| outcomes.count).sum();
        return (
            Standing::Progressing,
            format!("{waits} of {} still to be worked on", text::counted(all, "organization")),
        );
    }
    // Of several, the one that needs somebody comes first.
    let Some(worst) = ["fighting", "denied", "held", "blocked", "failed", "stale", "stopped", "observed"]
        .iter()
        .find_map(|word| unwell.iter().find(|outcomes| outcomes.word == *word))
    else {
        return (Standing::Applied, format!("the rows are as it says: {}", text::counted(all, "organization")));
    };
    let message = unwell.iter().map(|outcomes| {
        let why = match &outcomes.fight {
            Some(fight) if outcomes.word == "fighting" => Some(format!(" ({fight})")),
            _ => outcomes.findings.first().map(|finding| format!(" ({}: {})", finding.code, finding.said())),
        };
        format!("{}: {}{}", outcomes.word, counted(outcomes), why.unwrap_or_default())
    });
    let stands = match worst.word.as_str() {
        "fighting" => Standing::Fighting,
        "blocked" if worst.findings.iter().any(|finding| finding.code == Code::NotBound) => Standing::NotBound,
        "blocked" if worst.findings.iter().any(|finding| finding.code == Code::OwnedElsewhere) => {
            Standing::OwnedByAnotherSource
        }
        "blocked" => Standing::InvalidManifest,
        word => standing_of(word, &worst.findings),
    };
    (stands, message.collect::<Vec<_>>().join("; "))
}

/// Some organizations: how many, and the first by name.
fn counted(outcomes: &queue::Outcomes) -> String {
    let named = |name: &String| if name.is_empty() { "what all share".to_owned() } else { name.clone() };
    let first: Vec<String> = outcomes.first.iter().map(named).collect();
    let more = outcomes.count - first.len() as i64;
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}
