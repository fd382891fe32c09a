//! `argus audit`: read, export and verify the audit, seal it, sign where it ends, and drop what is old. Here what its
//! commands share, and what every command that writes does when its work is done.

pub mod export;
pub mod heads;
pub mod prune;
pub mod tail;
pub mod verify;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::context::{Context, Done, Failure};
use super::output::report;
use super::snapshot;
use crate::audit::head::{HeadsFile, read_file};
use crate::cli::audit::{Audit, AuditAction, AuditCommand, AuditFilter};
use crate::engine::sealing::{self, Sealed, SignedHeads, SigningError};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::Kind;
use crate::model::secret;
use crate::model::time::{parse_duration, parse_time};
use crate::render::excerpt::Excerpts;
use crate::render::{inert, text};
use crate::signature::Signers;
use crate::signature::ssh::SigningKey;
use crate::store::Store;
use crate::store::audit::Filter;

/// The largest file of heads.
const HEADS_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Does what was asked for.
pub async fn run(context: &Context, args: &Audit) -> Done {
    match &args.command {
        AuditCommand::Tail(args) => tail::run(context, args).await,
        AuditCommand::Show(args) => tail::show(context, args).await,
        AuditCommand::Export(args) => export::run(context, args).await,
        AuditCommand::Verify(args) => verify::run(context, args).await,
        AuditCommand::Heads(args) => heads::run(context, args).await,
        AuditCommand::Seal => seal(context).await,
        AuditCommand::Prune(args) => prune::run(context, args).await,
    }
}

async fn seal(context: &Context) -> Done {
    let database = context.database().await?;
    let Sealed { rows, busy } = sealing::seal(&database.store).await?;
    let busy = if busy { " Somebody else is sealing, and will seal the rest." } else { "" };
    report(&format!("Sealed {}.{busy}\n", text::counted(rows, "row")), ExitCode::Done)
}

/// Seals what a command has written, and signs the ends of the chains if that is due. Whatever goes wrong is a warning:
/// the work of the command is done, and the rows wait.
pub async fn after_work(context: &Context, store: &Store) {
    let mut told = Vec::new();
    if let Err(error) = sealing::seal(store).await {
        told.push(Finding::warning(Code::SealingFailed, format!("the audit could not be sealed: {error}")));
    }
    match sign_if_due(context, store).await {
        Ok(None) => {}
        Ok(Some(signed)) => told.extend(torn(context, &signed)),
        Err(failure) => told.extend(failure.findings.into_iter().map(|finding| {
            let message = format!("the ends of the audit could not be signed: {}", finding.message);
            Finding { hint: finding.hint, ..Finding::warning(Code::SealingFailed, message) }
        })),
    }
    if !told.is_empty() {
        context.complain(&told, &Excerpts::default());
    }
}

async fn sign_if_due(context: &Context, store: &Store) -> Result<Option<SignedHeads>, Failure> {
    let settings = context.audit();
    let Some(path) = &settings.sign_key else { return Ok(None) };
    // By the clock of the database, which wrote down when it was.
    let due = store.heads_are_due(settings.every()).await?;
    if !due {
        return Ok(None);
    }
    let key = snapshot::signing_key(path)?;
    Ok(Some(sealing::sign_heads(store, &key, settings.heads.as_deref()).await?))
}

/// What to tell of a file of heads that ended within a line.
fn torn(context: &Context, signed: &SignedHeads) -> Option<Finding> {
    let file = context.audit().heads.as_deref().map(Path::display).map(|file| file.to_string()).unwrap_or_default();
    (signed.torn > 0).then(|| {
        let taken = format!("{file} ended within a line: {} bytes of an interrupted write were taken off", signed.torn);
        Finding::warning(Code::TornHeads, taken)
    })
}

impl From<SigningError> for Failure {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::Store(error) => Failure::from(error),
            SigningError::Key(_) => Failure::from(Finding::error(Code::NoAuditKey, error.to_string())),
            SigningError::File { .. } => Failure::from(Finding::error(Code::CannotWrite, error.to_string())),
        }
    }
}

/// The key that signs, if there is one.
fn key_of(context: &Context, flag: Option<&Path>) -> Result<Option<SigningKey>, Failure> {
    let path = flag.or(context.audit().sign_key.as_deref());
    path.map(snapshot::signing_key).transpose()
}

/// Whose signatures count, if anybody's.
fn signers_of(context: &Context, flag: Option<&Path>) -> Result<Option<Signers>, Failure> {
    let path = flag.or(context.audit().signers.as_deref());
    path.map(snapshot::allowed_signers).transpose()
}

fn needed<T>(there: Option<T>, what: &str, flag: &str, setting: &str) -> Result<T, Failure> {
    there.ok_or_else(|| {
        let finding = Finding::error(Code::NoAuditKey, format!("{what}: there is none"));
        Failure::from(finding.hint(format!("give `{flag} FILE`, or set `audit.{setting}` on this machine")))
    })
}

/// The heads that were kept elsewhere, and what to tell of their file. The one of the settings may not be there yet.
fn kept_heads(context: &Context, flag: Option<&Path>) -> Result<(HeadsFile, Vec<Finding>), Failure> {
    let path: PathBuf = match (flag, &context.audit().heads) {
        (Some(flag), _) => flag.to_owned(),
        (None, Some(set)) if set.exists() => set.clone(),
        (None, _) => return Ok((HeadsFile::default(), Vec::new())),
    };
    let shown = path.display();
    let text = snapshot::bounded(&path, HEADS_BYTES_MAX).map_err(|why| {
        Failure::from(Finding::error(Code::Unreadable, format!("the heads in {shown} cannot be read: {why}")))
    })?;
    let file = read_file(text.as_bytes());
    let mut told = Vec::new();
    if let Some(at) = file.torn {
        let bytes = text.len() - at;
        told.push(Finding::warning(
            Code::TornHeads,
            format!("{shown} ends within a line: {bytes} bytes are left aside"),
        ));
    }
    if let Some(first) = file.unreadable.first() {
        let lines = text::counted(file.unreadable.len(), "line");
        let message = format!("{shown}: {lines} cannot be read and count for nothing, the first is line {first}");
        told.push(Finding::warning(Code::HeadUntrusted, message));
    }
    Ok((file, told))
}

/// What was asked for on the command line.
fn filter(args: &AuditFilter, now: DateTime<Utc>) -> Result<Filter, Failure> {
    let kind = args.kind.as_deref().map(|word| {
        Kind::meant_by(word).map(|kind| kind.name.to_owned()).ok_or_else(|| {
            Failure::from(Finding::error(Code::NoSuchTarget, format!("`{}` is no kind", inert::line(word))))
        })
    });
    let action = args.action.map(|action| match action {
        AuditAction::Insert => "insert",
        AuditAction::Update => "update",
        AuditAction::Delete => "delete",
    });
    Ok(Filter {
        organizations: args.organizations.clone(),
        kind: kind.transpose()?,
        name: args.name.clone(),
        actor: args.actor.clone(),
        action: action.map(str::to_owned),
        run: args.run.clone(),
        since: args.since.as_deref().map(|text| moment("--since", text, now)).transpose()?,
        until: args.until.as_deref().map(|text| moment("--until", text, now)).transpose()?,
    })
}

/// A moment, or a time before now.
fn moment(flag: &str, text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Failure> {
    match parse_duration(text) {
        Ok(ago) => Ok(now - ago),
        Err(_) => parse_time(text).map_err(|why| {
            let finding = Finding::error(Code::BadTime, format!("{flag}: {}", secret::mask(&why)));
            Failure::from(finding.hint("write `2h`, `7d` or `2030-01-01T00:00:00Z`"))
        }),
    }
}

/// An organization as people see it.
fn shown(organization: &str) -> String {
    match organization {
        "" => "what all organizations share".into(),
        name => format!("`{}`", inert::line(name)),
    }
}
