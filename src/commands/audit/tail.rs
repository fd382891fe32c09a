//! `argus audit tail` and `argus audit show`.

use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use super::super::context::{Context, Done, Failure};
use super::super::history::{HEADER, cells, without_secrets};
use super::super::output::report;
use super::{filter, shown};
use crate::cli::audit::{AuditFormat, ShowRow, Tail};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::secret;
use crate::render::json::ListDocument;
use crate::render::{inert, json, table};
use crate::store::audit::SealedRow;
use crate::store::ear::Word;
use crate::store::history::AuditRow;

/// How long nothing is looked at where nobody tells of anything new.
const POLL: Duration = Duration::from_secs(5);

/// How many rows are shown at once that came together.
const TOGETHER: u32 = 100_000;

/// Shows the last rows, and goes on with what comes.
pub async fn run(context: &Context, args: &Tail) -> Done {
    let filter = filter(&args.filter, context.now())?;
    let database = context.database().await?;
    // Whoever listens before looking misses nothing.
    let mut ear = if args.follow { Some(database.store.ear(Word::Unsealed).await?) } else { None };
    let mut planning = database.store.planning().await?;
    let rows: Vec<SealedRow> = planning.audit_tail(&filter, args.lines).await?.into_iter().map(inert_row).collect();
    let mut seen = if args.follow { planning.clocks(&filter).await? } else { Default::default() };
    drop(planning);
    let text = match (args.format, args.follow) {
        (AuditFormat::Json, false) => json::pretty(&ListDocument::new("argus.audit", rows)),
        (AuditFormat::Json, true) => lines(&rows),
        (AuditFormat::Text, _) => table::table(&header(), &rows.iter().map(line).collect::<Vec<_>>()),
    };
    let mut listened_to = say(&text)?;
    while let Some(ear) = ear.as_mut().filter(|_| listened_to) {
        ear.hear(POLL).await?;
        let mut planning = database.store.planning().await?;
        let now = planning.clocks(&filter).await?;
        let moved = now.iter().filter(|(name, version)| seen.get(*name) != Some(version));
        let moved = moved.map(|(name, _)| (name.clone(), seen.get(name).copied().unwrap_or(i64::MIN))).collect();
        let rows = planning.audit_since(&moved, &filter, TOGETHER).await?;
        drop(planning);
        seen = now;
        if rows.is_empty() {
            continue;
        }
        let full = rows.len() == TOGETHER as usize;
        let rows: Vec<SealedRow> = rows.into_iter().map(inert_row).collect();
        let mut text = match args.format {
            AuditFormat::Json => lines(&rows),
            AuditFormat::Text => rows.iter().map(|row| line(row).join("   ").trim_end().to_owned() + "\n").collect(),
        };
        if full && args.format == AuditFormat::Text {
            text.push_str(&format!("More than {TOGETHER} rows came at once: these are the first of them.\n"));
        }
        listened_to = say(&text)?;
    }
    Ok(ExitCode::Done)
}

/// Prints, and tells whether anybody is still there to read.
fn say(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            let message = format!("cannot write standard output: {error}");
            Err(Failure::from(Finding::error(Code::CannotWrite, message)))
        }
    }
}

fn lines(rows: &[SealedRow]) -> String {
    rows.iter().map(|row| serde_json::to_string(row).unwrap_or_default() + "\n").collect()
}

fn header() -> Vec<String> {
    let [at, organization, version, rest @ ..] = HEADER;
    [at, organization, "SEQUENCE", version].iter().chain(&rest).map(|name| (*name).to_owned()).collect()
}

fn line(row: &SealedRow) -> Vec<String> {
    let mut cells = cells(&row.row);
    cells[1] = inert::line(&cells[1]);
    let sequence = row.sequence.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string());
    cells.insert(2, sequence);
    cells
}

/// The row without what looks like a secret, wherever it stands.
fn inert_row(row: SealedRow) -> SealedRow {
    let masked = |text: Option<String>| text.map(|text| secret::mask(&text).into_owned());
    let AuditRow { name, actor, via, run, application, .. } = &row.row;
    let (name, actor, via) = (secret::mask(name).into_owned(), masked(actor.clone()), masked(via.clone()));
    let (run, application) = (masked(run.clone()), masked(application.clone()));
    let plain = without_secrets(row.row.clone());
    SealedRow { row: AuditRow { name: name.into(), actor, via, run, application, ..plain }, ..row }
}

/// Shows one row whole.
pub async fn show(context: &Context, args: &ShowRow) -> Done {
    let database = context.database().await?;
    let found = database.store.planning().await?.audit_row(&args.organization, args.sequence).await?;
    let row = found.map(inert_row).ok_or_else(|| {
        let message = format!("{} has no sealed row {}", shown(&args.organization), args.sequence);
        let hint = "it may not be sealed yet, or have been dropped; `argus audit tail -O ORG` shows the last ones";
        Failure::from(Finding::error(Code::NoSuchAuditRow, message).hint(hint))
    })?;
    let text = match args.format {
        AuditFormat::Json => json::pretty(&ListDocument::new("argus.audit", vec![row])),
        AuditFormat::Text => whole(&row),
    };
    report(&text, ExitCode::Done)
}

fn whole(sealed: &SealedRow) -> String {
    let SealedRow { sequence, previous, hash, txid, row } = sealed;
    let or_none = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), inert::line);
    let state = |value: &Option<crate::model::value::Value>| {
        value.as_ref().map_or_else(|| "-".to_owned(), |value| inert::line(&value.to_string()))
    };
    let cells = [
        ("organization", inert::line(&row.organization)),
        ("sequence", sequence.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string())),
        ("version", format!("{}.{}", row.version, row.ordinal)),
        ("at", row.at.clone()),
        ("what", format!("{}/{}", inert::line(&row.kind), inert::line(&row.name))),
        ("relation", inert::line(&row.relation)),
        ("action", inert::line(&row.action)),
        ("actor", or_none(&row.actor)),
        ("via", or_none(&row.via)),
        ("run", or_none(&row.run)),
        ("role", inert::line(&row.role)),
        ("application", or_none(&row.application)),
        ("address", or_none(&row.client_addr)),
        ("transaction", or_none(txid)),
        ("before", state(&row.before)),
        ("after", state(&row.after)),
        ("previous", or_none(previous)),
        ("hash", or_none(hash)),
    ];
    cells.iter().map(|(name, value)| format!("{name:<13}{value}\n")).collect()
}
