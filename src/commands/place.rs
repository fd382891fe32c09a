//! Where the manifests of a run are: a directory, or a commit of a repository. Settings, policies, manifests and lines all
//! come from the same place, so that none of them is of another revision.

use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::context::{Context, Failure};
use super::credentials::{credentials, refuse_own_signers, signers};
use super::judges::NONE;
use super::policies;
use super::progress::Progress;
use crate::cli::Manifests;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::Origin;
use crate::model::revision::Revision;
use crate::model::state::World;
use crate::policy::PolicyFile;
use crate::render::excerpt::Excerpts;
use crate::settings::Source;
use crate::source::directory;
use crate::source::git::address::{self, Address};
use crate::source::git::index::IsSettled;
use crate::source::git::mirror::Fetch;
use crate::source::git::settings::Verify;
use crate::source::git::{self, Checkout, Depot};
use crate::source::names::POLICIES_DIRECTORY;
use crate::validate;

/// What stands before the folder of policies that were read from a commit, where a plan tells of it.
const FROM_COMMIT: &str = "git:";

/// Where the manifests are.
pub enum Place {
    /// A directory, or a single file.
    Folder(PathBuf),
    /// A commit.
    Commit(Box<Checkout>),
}

/// A branch that somebody wants to merge.
pub struct Request {
    /// What it would be merged into, as it is.
    pub base: Place,
    depot: Rc<Depot>,
    base_name: String,
    head_name: String,
}

impl Request {
    /// The base with the branch merged.
    pub fn head(&self) -> Result<Place, Failure> {
        let merged = Checkout::merged(&self.depot, &self.base_name, &self.head_name)?;
        Ok(Place::Commit(Box::new(merged)))
    }
}

/// The policies of a source.
pub struct Found {
    /// Where they are: a folder, `none`, or nothing where nobody has said anything and there are none.
    pub folder: Option<String>,
    /// Their files.
    pub files: Vec<PolicyFile>,
}

/// What the command line, or the environment in its place, says of a repository.
pub struct Named<'a> {
    /// Its address.
    pub git: Option<&'a str>,
    /// The branch, tag or commit.
    pub reference: Option<&'a str>,
}

impl<'a> Named<'a> {
    /// What is said there. A variable that is empty says nothing: in CI that is how one arrives that is not set.
    pub fn by(manifests: &'a Manifests) -> Result<Named<'a>, Failure> {
        let said = |value: &'a Option<String>, variable: &str| {
            value.as_deref().filter(|value| !value.is_empty() || std::env::var_os(variable).is_none())
        };
        let git = said(&manifests.git, Manifests::ADDRESS_VARIABLE);
        let reference = said(&manifests.reference, Manifests::REFERENCE_VARIABLE);
        if let (Some(_), Some(path)) = (git, &manifests.path) {
            let other = Named::by_whom("--git", Manifests::ADDRESS_VARIABLE, git);
            let hint =
                "the former names a repository and the latter a directory here; `--path` reads a part of a repository";
            return Err(Named::both(other, &format!("the directory {}", path.display()), hint));
        }
        Ok(Named { git, reference })
    }

    /// Whether a flag or a variable says it.
    pub fn by_whom(flag: &'static str, variable: &'static str, value: Option<&str>) -> &'static str {
        if std::env::var(variable).ok().as_deref() == value { variable } else { flag }
    }

    /// What is said once too often.
    pub fn both(one: &str, other: &str, hint: &str) -> Failure {
        let message = format!("{one} cannot be used with {other}");
        Failure::from(Finding::error(Code::BadSettings, message).hint(hint))
    }
}

impl Place {
    /// The place that the command line names, or else the settings of the machine.
    pub fn new(context: &Context, manifests: &Manifests) -> Result<Place, Failure> {
        let (path, machine) = (&manifests.path, context.git());
        let Named { git, reference } = Named::by(manifests)?;
        match git.or(machine.url.as_deref().filter(|_| path.is_none())) {
            Some(url) => {
                let reference = reference.or(machine.reference.as_deref());
                let depot = open(context, url, vec![reference.map(str::to_owned)])?;
                commit(context, &depot, reference)
            }
            None if reference.is_some() => {
                let around = path.clone().unwrap_or_else(here);
                let depot = Depot::around(&around, machine.limits)?;
                commit(context, &depot, reference)
            }
            None => Ok(Place::Folder(path.clone().unwrap_or_else(here))),
        }
    }

    /// The commit that the settings of the machine named a while ago, without asking the server again if it is still here.
    /// `called` is what it was asked for as.
    pub fn seen(context: &Context, commit: &str, called: &str) -> Result<Place, Failure> {
        let machine = context.git();
        let url = machine.url.as_deref().unwrap_or_default();
        // A tag is more than the commit that it leads to.
        if machine.verify == Verify::Tag {
            let depot = open(context, url, vec![machine.reference.clone()])?;
            return self::commit(context, &depot, machine.reference.as_deref());
        }
        let fetch = fetch(context, url, vec![machine.reference.clone()])?;
        let depot = Depot::open_at(&fetch, machine.ca_file.as_deref(), commit)?;
        verified(context, &depot, Checkout::at(&depot, commit, called)?)
    }

    /// A branch as it would be once merged, and what it would be merged into: the settings and policies are those of the
    /// latter, so that no branch changes what judges it.
    pub fn of_request(context: &Context, manifests: &Manifests, base: &str, head: &str) -> Result<Request, Failure> {
        let machine = context.git();
        let Named { git, reference } = Named::by(manifests)?;
        if reference.is_some() {
            let other = Named::by_whom("--ref", Manifests::REFERENCE_VARIABLE, reference);
            return Err(Named::both("--base", other, "`--head` names the branch"));
        }
        let depot = match git.or(machine.url.as_deref().filter(|_| manifests.path.is_none())) {
            Some(url) => open(context, url, vec![Some(base.to_owned()), Some(head.to_owned())])?,
            None => Depot::around(&manifests.path.clone().unwrap_or_else(here), machine.limits)?,
        };
        let (base_name, head_name) = (base.to_owned(), head.to_owned());
        Ok(Request { base: commit(context, &depot, Some(base))?, depot, base_name, head_name })
    }

    /// The settings of the source.
    pub fn settings(&self) -> Result<Source, Box<Finding>> {
        match self {
            Place::Folder(root) => Source::read(root),
            Place::Commit(checkout) => match checkout.settings()? {
                Some(text) => Source::from_text(&text),
                None => Ok(Source::default()),
            },
        }
    }

    /// What the manifests say, checked. Of a commit, organizations that are settled are not read again.
    #[tracing::instrument(name = "read manifests", skip_all, fields(
        argus.source = settings.source,
        vcs.ref.head.revision = self.revision().map(|revision| &*revision.commit.id),
    ))]
    pub fn world(
        &self,
        settings: &Source,
        settled: Option<IsSettled<'_>>,
        now: DateTime<Utc>,
    ) -> Result<World, Failure> {
        match self {
            Place::Folder(root) => {
                let usual = directory::Options::default();
                let policies = settings.policies.clone().unwrap_or_else(|| usual.policies.clone());
                let options = directory::Options { paths: settings.paths.clone(), policies, ..usual };
                let mut world = directory::read(root, &options);
                tracing::info_span!("validate").in_scope(|| validate::validate(&mut world, now));
                Ok(world)
            }
            Place::Commit(checkout) => {
                let reading = git::Reading { paths: settings.paths.clone(), policies: settings.policies.clone() };
                let (mut world, saving) = checkout.read(&reading, settled, now)?;
                tracing::info_span!("validate").in_scope(|| validate::validate(&mut world, now));
                if let Some(saving) = saving {
                    saving.save(&world);
                }
                Ok(world)
            }
        }
    }

    /// The commit and what is in it, if it is one.
    pub fn checkout(&self) -> Option<&Checkout> {
        match self {
            Place::Folder(_) => None,
            Place::Commit(checkout) => Some(checkout),
        }
    }

    /// The commit, if it is one.
    pub fn revision(&self) -> Option<&Revision> {
        self.checkout().map(|checkout| &checkout.revision)
    }

    /// The lines that some places point at.
    pub fn excerpts<'a>(&self, origins: impl IntoIterator<Item = &'a Origin>) -> Excerpts {
        match self {
            Place::Folder(root) => directory::excerpts(root, origins),
            Place::Commit(checkout) => checkout.excerpts(origins),
        }
    }

    /// The text of a manifest.
    pub fn text(&self, file: &str) -> Result<String, String> {
        match self {
            Place::Folder(root) => {
                let path = if root.is_file() { root.clone() } else { root.join(file) };
                std::fs::read_to_string(path).map_err(|error| error.to_string())
            }
            Place::Commit(checkout) => {
                let bytes = checkout.file(file).ok_or("it is not in the commit")?;
                String::from_utf8(bytes).map_err(|error| error.to_string())
            }
        }
    }

    /// The policies: those that the command line or the machine names come first, then those that the settings of the
    /// source name, and then those beside the manifests, if there are any.
    pub fn policies(&self, machine: Option<&Path>, named: Option<&str>) -> Result<Found, Failure> {
        if let Some(folder) = machine {
            return Found::on_this_machine(folder.display().to_string());
        }
        match (self, named) {
            (_, Some(NONE)) => Ok(Found { folder: Some(NONE.into()), files: Vec::new() }),
            (Place::Folder(root), named) => {
                if let Some(named) = named {
                    policies::without_links(root, named)?;
                }
                let base = if root.is_file() { root.parent().unwrap_or(Path::new(".")) } else { root };
                let folder = base.join(named.unwrap_or(POLICIES_DIRECTORY));
                match named.is_some() || folder.symlink_metadata().is_ok() {
                    true => Found::on_this_machine(folder.display().to_string()),
                    false => Ok(Found { folder: None, files: Vec::new() }),
                }
            }
            (Place::Commit(checkout), named) => {
                let folder = named.unwrap_or(POLICIES_DIRECTORY);
                match checkout.policies(folder).map_err(Failure::from_findings)? {
                    Some(files) => Ok(Found { folder: Some(format!("{FROM_COMMIT}{folder}")), files }),
                    None if named.is_some() => Err(policies::missing(Path::new(folder))),
                    None => Ok(Found { folder: None, files: Vec::new() }),
                }
            }
        }
    }

    /// The name of a file as it is called from where the command runs; of a commit from the root of its repository.
    pub fn called_here(&self, file: &str) -> String {
        match self {
            Place::Folder(root) => {
                let folder = if root.is_file() { root.parent().unwrap_or(Path::new("")) } else { root };
                folder.strip_prefix(".").unwrap_or(folder).join(file).display().to_string()
            }
            Place::Commit(checkout) => format!("{}{file}", checkout.root()),
        }
    }

    /// What stands before the names of files in a patch, so that `git apply` finds them from where the command runs; of a
    /// commit from the root of its repository.
    pub fn patch_prefix(&self) -> String {
        let root = match self {
            Place::Folder(root) => root,
            Place::Commit(checkout) => return checkout.root().to_owned(),
        };
        let here = std::env::current_dir().ok();
        let here = here.as_deref().and_then(|here| root.strip_prefix(here).ok());
        let below = here.unwrap_or(root);
        let below = if root.is_file() { below.parent() } else { Some(below) };
        let mut prefix = String::new();
        for part in below.into_iter().flat_map(Path::components) {
            match part {
                Component::Normal(name) => prefix.push_str(&format!("{}/", name.to_string_lossy())),
                Component::CurDir => {}
                // Outside of where the command runs, only the names below the root are of use.
                _ => return String::new(),
            }
        }
        prefix
    }
}

impl Found {
    fn on_this_machine(folder: String) -> Result<Found, Failure> {
        let files = if folder == NONE { Vec::new() } else { policies::read(Path::new(&folder))? };
        Ok(Found { folder: Some(folder), files })
    }

    /// The policies that a plan tells of which was not made of a commit.
    pub fn of_saved(folder: Option<&str>) -> Result<Found, Failure> {
        match folder {
            None => Ok(Found { folder: None, files: Vec::new() }),
            Some(folder) => Found::on_this_machine(folder.to_owned()),
        }
    }
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

/// Opens a repository; what is on a server is fetched first.
#[tracing::instrument(name = "fetch", skip_all, fields(otel.kind = "client"))]
fn open(context: &Context, url: &str, wanted: Vec<Option<String>>) -> Result<Rc<Depot>, Failure> {
    let fetch = fetch(context, url, wanted)?;
    Ok(Depot::open(&fetch, context.git().ca_file.as_deref())?)
}

/// What is fetched, from where and how.
fn fetch(context: &Context, url: &str, wanted: Vec<Option<String>>) -> Result<Fetch, Failure> {
    let settings = context.git();
    let progress = Arc::new(Progress::new("fetching"));
    let address = Address::parse(url, &settings.allow)?;
    let cache = settings.cache_dir.clone().unwrap_or_else(default_cache);
    Ok(Fetch {
        credentials: credentials(settings, matches!(address.place(), address::Place::Ssh(_)))?,
        address,
        wanted,
        limits: settings.limits,
        keeps_readings: settings.verify == Verify::None,
        cache: cache.join(settings.of_others.as_deref().unwrap_or_default()),
        progress: Arc::new(move |done, total, _| progress.tell(done, total)),
    })
}

/// A commit, if it is signed as it has to be.
#[tracing::instrument(name = "read commit", skip_all, fields(
    vcs.ref.head.revision = tracing::field::Empty,
    vcs.ref.head.name = tracing::field::Empty,
))]
fn commit(context: &Context, depot: &Rc<Depot>, reference: Option<&str>) -> Result<Place, Failure> {
    let checkout = Checkout::of(depot, reference)?;
    verified(context, depot, checkout)
}

/// The same commit, if it is signed as it has to be.
fn verified(context: &Context, depot: &Rc<Depot>, mut checkout: Checkout) -> Result<Place, Failure> {
    let here = tracing::Span::current();
    here.record("vcs.ref.head.revision", &*checkout.revision.commit.id);
    here.record("vcs.ref.head.name", &*checkout.revision.reference);
    if context.git().verify != Verify::None {
        refuse_own_signers(&context.git().signers, depot.folder())?;
        let signers = signers(context.git())?;
        let signed = checkout.verify(context.git().verify, &signers, context.now()).map_err(Failure::from);
        signed.map_err(|failure| failure.of_commit(Some(&checkout.revision.commit.id)))?;
    }
    Ok(Place::Commit(Box::new(checkout)))
}

/// Where mirrors are kept when nobody says so.
fn default_cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.unwrap_or_else(|| PathBuf::from("/var/cache")).join("argus/git")
}
