//! `argus suspend`: nothing is written to an organization, or on behalf of a source, until a moment or `argus resume`.

use std::path::{Path, PathBuf};

use super::context::{Context, Done, Failure};
use super::output::report;
use crate::brake::{REASON_CHARS_MAX, SUSPENSION_DAYS_MAX};
use crate::cli::brakes::{Suspend, Suspended as Args};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{EMAIL_CHARS_MAX, name_fault};
use crate::model::time::{parse_duration, parse_time};
use crate::render::excerpt::Excerpts;
use crate::render::inert;
use crate::settings::Source;
use crate::store::Store;
use crate::store::suspension::{End, NewSuspension, Suspended};

/// Suspends, and says until when.
pub async fn run(context: &Context, args: &Suspend) -> Done {
    let subject = Subject::read(&args.what)?;
    let actor = context.actor();
    let owner = line("owner", args.owner.as_deref().unwrap_or(&actor), EMAIL_CHARS_MAX)?;
    let reason = line("reason", &args.reason, REASON_CHARS_MAX)?;
    let end = end(args)?;
    let database = context.database().await?;
    let new = NewSuspension { of: subject.suspended(), reason, owner, end, actor: &actor };
    let suspension = database.store.suspend(&new).await?;
    if let Some(name) = &suspension.organization
        && !exists(&database.store, name).await?
    {
        let message = format!("there is no organization `{name}` yet; it will not come into being either");
        context.complain(&[Finding::warning(Code::NoSuchTarget, message)], &Excerpts::default());
    }
    let text = format!("Suspended: {} until {}.\n", inert::line(&suspension.subject()), suspension.until);
    report(&text, ExitCode::Done)
}

/// What is suspended or resumed.
pub struct Subject {
    organization: Option<String>,
    source: Option<String>,
    /// Where the manifests are.
    pub path: PathBuf,
}

impl Subject {
    /// What the command line says; with `--all` and without `--source`, the source is that of the manifests.
    pub fn read(args: &Args) -> Result<Subject, Failure> {
        let Args { organization, path, all, source } = args;
        let bad = |message: String| Failure::from(Finding::error(Code::BadSettings, message));
        if *all && organization.is_some() && path.is_some() {
            return Err(bad("--all means every organization, and one is named".into()));
        }
        // With --all the only word that is left is the path.
        let (organization, path) = match all {
            true => (None, path.clone().or(organization.as_ref().map(PathBuf::from))),
            false => (organization.clone(), path.clone()),
        };
        let path = path.unwrap_or_else(|| PathBuf::from("."));
        let source = match (source, all) {
            (None, true) => Some(source_of(&path)?),
            (source, _) => source.clone(),
        };
        for (what, name) in [("organization", &organization), ("source", &source)] {
            if let Some(fault) = name.as_deref().and_then(name_fault) {
                return Err(bad(format!(
                    "`{}` names no {what}: {fault}",
                    inert::line(name.as_deref().unwrap_or_default())
                )));
            }
        }
        Ok(Subject { organization, source, path })
    }

    /// As the store takes it.
    pub fn suspended(&self) -> Suspended<'_> {
        match &self.organization {
            Some(name) => Suspended::Organization { name, source: self.source.as_deref() },
            None => Suspended::Source(self.source.as_deref().unwrap_or_default()),
        }
    }

    /// The organization, if it is one.
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    /// The source, if it is about one.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// In words.
    pub fn words(&self) -> String {
        match (&self.organization, &self.source) {
            (Some(organization), None) => format!("`{organization}`"),
            (Some(organization), Some(source)) => format!("`{organization}` of the source `{source}`"),
            (None, source) => format!("the source `{}`", source.as_deref().unwrap_or_default()),
        }
    }
}

/// The name of the source, as `argus apply` finds it: the environment outweighs the file.
fn source_of(path: &Path) -> Result<String, Failure> {
    match std::env::var("ARGUS_SOURCE").ok().filter(|name| !name.is_empty()) {
        Some(name) => Ok(name),
        None => Ok(Source::read(path)?.source),
    }
}

/// A text that fits on a line and says something.
pub fn line<'a>(what: &str, text: &'a str, chars_max: usize) -> Result<&'a str, Failure> {
    let text = text.trim();
    let fault = match text.chars().count() {
        0 => Some(format!("the {what} says nothing")),
        count if count > chars_max => Some(format!("the {what} has {count} characters, and {chars_max} is the most")),
        _ if text.chars().any(char::is_control) => Some(format!("the {what} is more than a line of text")),
        _ => None,
    };
    fault.map_or(Ok(text), |fault| Err(Failure::from(Finding::error(Code::BadSettings, fault))))
}

fn end(args: &Suspend) -> Result<End, Failure> {
    let bad = |why: String| Failure::from(Finding::error(Code::BadSettings, why));
    match (&args.length, &args.until) {
        (_, Some(until)) => parse_time(until).map(End::At).map_err(bad),
        (Some(length), None) => {
            let length = parse_duration(length).map_err(bad)?;
            let fits = length.num_minutes() >= 1 && length <= chrono::TimeDelta::days(SUSPENSION_DAYS_MAX);
            if !fits {
                return Err(bad(format!("a suspension takes at least 1m and at most {SUSPENSION_DAYS_MAX}d")));
            }
            Ok(End::After(length))
        }
        (None, None) => Err(bad("a suspension has an end: add --for or --until".into())),
    }
}

async fn exists(store: &Store, organization: &str) -> Result<bool, Failure> {
    let states = store.planning().await?.states("", None).await?;
    Ok(states.get(organization).is_some_and(|state| state.exists))
}
