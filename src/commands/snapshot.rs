//! `argus snapshot`: all that planning for a source reads, in a file, so that a plan needs no secrets; and reading it
//! again, once it is clear who vouches for it.

use std::io::Read as _;
use std::path::Path;

use chrono::TimeDelta;

use super::context::{Context, Database, Done, Failure};
use super::output;
use super::place::Place;
use crate::cli::{Snapshot, Snapshotted};
use crate::engine::ground::Ground;
use crate::engine::picture::{self, Picture, Showing, file};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::secret;
use crate::model::time::parse_duration;
use crate::signature::ssh::{PRIVATE_KEY_BYTES_MAX, SigningKey};
use crate::signature::{CLOCK_SKEW_SECONDS_MAX, FILE_BYTES_MAX, Fault, Signers};

/// What signatures are made for; one that was made for something else is none.
const NAMESPACE: &str = "argus-snapshot";

/// Takes a snapshot and writes it.
pub async fn run(context: &Context, args: &Snapshot) -> Done {
    if let Some(field) = args.redact.iter().find(|field| !picture::is_field(field)) {
        let finding = Finding::error(Code::UnknownField, format!("no kind has a field `{field}`"));
        return Err(Failure::from(finding.hint("write `billingEmail`, or `Member.displayName` for that of one kind")));
    }
    let key = args.sign_key.as_deref().map(signing_key).transpose()?;
    let place = Place::new(context, &args.manifests)?;
    let source = context.source_settings(&place, &args.manifests)?.source;
    let database = context.database().await?;
    let showing = Showing { without: &args.redact, names: args.show_names };
    let random = context.random()?.draw();
    let mut planning = database.store.planning().await?;
    let picture = Picture::take(&mut planning, &source, &showing, random, context.now()).await?;
    let mut text = file::write(&picture);
    if text.len() as u64 > file::FILE_BYTES_MAX {
        let message = format!("the snapshot has {} bytes; {} is the most", text.len(), file::FILE_BYTES_MAX);
        return Err(Failure::from(Finding::error(Code::CannotWrite, message).hint("split the source in two")));
    }
    let by = match &key {
        None => "not signed".to_owned(),
        Some(key) => {
            let signature = key.sign(NAMESPACE, text.as_bytes()).map_err(|why| {
                Failure::from(Finding::error(Code::BadSettings, format!("the snapshot cannot be signed: {why}")))
            })?;
            text.push_str(&signature);
            format!("signed with {}", key.fingerprint())
        }
    };
    output::write_file(&args.output, &text, false)?;
    let organizations = crate::render::text::counted(picture.organizations(), "organization");
    output::report(
        &format!(
            "Snapshot of {organizations} of the source `{source}` in {}: {} values hidden, {by}.\n",
            args.output.display(),
            picture.head.hidden
        ),
        ExitCode::Done,
    )
}

/// The private key in a file.
pub(super) fn signing_key(path: &Path) -> Result<SigningKey, Failure> {
    let bad = |why: String| {
        let finding = Finding::error(Code::BadSettings, format!("{} cannot sign: {why}", path.display()));
        Failure::from(finding.hint("make one with `ssh-keygen -t ed25519 -N '' -f FILE`"))
    };
    let text = bounded(path, PRIVATE_KEY_BYTES_MAX as u64).map_err(bad)?;
    SigningKey::read(&text).map_err(bad)
}

/// A regular file of UTF-8, within a limit that counts while it is read.
pub(super) fn bounded(path: &Path, bytes_max: u64) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is no regular file".into());
    }
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    Ok(text)
}

/// What a plan is made on.
pub enum Base {
    /// The database.
    Database(Box<Database>),
    /// What was written down of it.
    Snapshot(Box<Picture>),
}

impl Base {
    /// What the command line asks for. With a snapshot no database is asked for, none is started and nothing is connected.
    pub async fn of(context: &Context, how: &Snapshotted, source: &str) -> Result<Base, Failure> {
        match &how.snapshot {
            None => Ok(Base::Database(Box::new(context.database().await?))),
            Some(file) => read(context, file, how, source).map(|picture| Base::Snapshot(Box::new(picture))),
        }
    }

    /// The same for the engine.
    pub fn ground(&self) -> Ground<'_> {
        match self {
            Base::Database(database) => Ground::Database(&database.store),
            Base::Snapshot(picture) => Ground::Picture(picture),
        }
    }
}

/// Reads a snapshot, if somebody vouches for it and it is of this source and not too old.
fn read(context: &Context, path: &Path, how: &Snapshotted, source: &str) -> Result<Picture, Failure> {
    let shown = path.display();
    let age_max = parse_duration(&how.snapshot_max_age).map_err(|why| {
        Failure::from(Finding::error(Code::BadDuration, format!("--snapshot-max-age: {why}")).hint("write `7d`, `12h`"))
    })?;
    let no_snapshot = |why: String| {
        let finding = Finding::error(Code::NotASnapshot, format!("{shown} cannot be used: {why}"));
        Failure::from(finding.hint("take a new one with `argus snapshot -o FILE`"))
    };
    let text = bounded(path, file::FILE_BYTES_MAX).map_err(no_snapshot)?;
    let (said, signature) = file::split(&text);
    let signer = match &how.snapshot_signers {
        None => None,
        Some(list) => Some(vouch(context, path, said, signature, list)?),
    };
    let mut picture = file::read(said).map_err(|fault| no_snapshot(fault.to_string()))?;
    let Picture { head, .. } = &picture;
    if head.source != source {
        let other = secret::shown(&head.source);
        return Err(no_snapshot(format!("it is of the source {other}, and these are manifests of `{source}`")));
    }
    let age = context.now() - head.taken_at;
    let skew = TimeDelta::seconds(CLOCK_SKEW_SECONDS_MAX);
    if age > age_max || age < -skew {
        let message = match age < -skew {
            true => format!("{shown} was taken in the future"),
            false => format!("{shown} is {} old, and {} is the most", picture::age(age), picture::age(age_max)),
        };
        let hint = "take a new one with `argus snapshot -o FILE`; --snapshot-max-age says how old it may be";
        return Err(Failure::from(Finding::error(Code::SnapshotTooOld, message).hint(hint)));
    }
    picture.signer = signer;
    Ok(picture)
}

/// Who vouches for a snapshot.
fn vouch(context: &Context, path: &Path, said: &str, signature: &str, list: &Path) -> Result<String, Failure> {
    let signers = allowed_signers(list)?;
    let signed = signers.verify_file(NAMESPACE, said.as_bytes(), signature, context.now());
    let signer = signed.map_err(|fault| {
        let why = match fault {
            Fault::WrongNamespace(other) => format!("its signature was made for `{other}` and not for `{NAMESPACE}`"),
            Fault::NotForGit { key } => {
                format!("the list of signers does not let the key {key} sign for `{NAMESPACE}`")
            }
            other => other.to_string(),
        };
        let finding = Finding::error(Code::SnapshotUntrusted, format!("{} counts for nothing: {why}", path.display()));
        Failure::from(finding.hint("take one with `argus snapshot --sign-key FILE`, with a key that is listed"))
    })?;
    Ok(signer.name)
}

/// The list of allowed signers in a file.
pub(super) fn allowed_signers(list: &Path) -> Result<Signers, Failure> {
    let name = list.display().to_string();
    let text = bounded(list, FILE_BYTES_MAX as u64).map_err(|why| {
        let finding = Finding::error(Code::BadSigners, format!("{name} cannot be read: {why}"));
        Failure::from(finding.hint("a line for each key: `argus@ci ssh-ed25519 AAAA...`"))
    })?;
    let mut signers = Signers::default();
    signers.add_allowed_signers(&name, &text).map_err(Failure::from_findings)?;
    Ok(signers)
}
