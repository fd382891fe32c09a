//! `argus history`: who changed what, when and through what.

use super::context::{Context, Done, Failure};
use super::output::report;
use crate::cli::{Format, History};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::{Kind, KindId};
use crate::model::secret::veil;
use crate::model::value::Value;
use crate::render::json::ListDocument;
use crate::render::{inert, json, table, text};
use crate::store::history::{AuditRow, HistoryFilter};

/// Prints audit rows, the newest first.
pub async fn run(context: &Context, args: &History) -> Done {
    let kind = args.kind.as_deref().map(|word| {
        Kind::meant_by(word).map(KindId::of).ok_or_else(|| {
            Failure::from(Finding::error(Code::NoSuchTarget, format!("`{}` is no kind", inert::line(word))))
        })
    });
    let filter = HistoryFilter {
        organization: args.organization.as_deref().map(Into::into),
        kind: kind.transpose()?,
        name: args.name.as_deref().map(Into::into),
        actor: args.actor.clone(),
        run: None,
        limit: args.limit,
    };
    let database = context.database().await?;
    let rows = database.store.planning().await?.history(&filter).await?.into_iter().map(without_secrets);
    let rows: Vec<AuditRow> = rows.collect();
    let text = match args.format {
        Format::Json => json::pretty(&ListDocument::new("argus.history", rows)),
        Format::Text => table::table(&HEADER.map(String::from), &rows.iter().map(cells).collect::<Vec<_>>()),
        Format::Markdown => markdown(&rows),
    };
    report(&text, ExitCode::Done)
}

/// The row without what looks like a secret in what it held.
pub(super) fn without_secrets(row: AuditRow) -> AuditRow {
    let shown = |value: Option<Value>| value.as_ref().map(veil::without_secrets);
    AuditRow { before: shown(row.before), after: shown(row.after), ..row }
}

/// What the columns are called.
pub(super) const HEADER: [&str; 7] = ["AT", "ORGANIZATION", "VERSION", "WHAT", "ACTION", "BY", "CHANGED"];

/// The columns of a table, as [`HEADER`] names them.
pub(super) fn cells(row: &AuditRow) -> Vec<String> {
    let by = row.attribution();
    let approved = match text::names(row.approved_by.iter()) {
        nobody if nobody.is_empty() => nobody,
        names => format!(", approved by {names}"),
    };
    let commit = row.commit.as_ref().map(commit).unwrap_or_default();
    vec![
        row.at.clone(),
        row.organization.to_string(),
        format!("{}.{}", row.version, row.ordinal),
        format!("{}/{}", row.kind, inert::line(&row.name)),
        row.action.to_string(),
        format!("{} via {}{commit}{approved}", inert::line(&by.actor), inert::line(&by.via)),
        changed(row),
    ]
}

/// Which commit it was, whose, and through which pull request it came.
fn commit(commit: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_text).unwrap_or_default().to_owned();
    let id = text(commit.get("id"));
    let author = text(commit.get("author").and_then(|author| author.get("name")));
    let parts = [id.get(..12).unwrap_or(&id).to_owned(), author, text(commit.get("request"))];
    let shown: Vec<String> = parts.iter().filter(|part| !part.is_empty()).map(|part| inert::line(part)).collect();
    format!(", commit {}", shown.join(" "))
}

/// The columns that differ, with what they held and hold.
fn changed(row: &AuditRow) -> String {
    let (Some(before), Some(after)) = (&row.before, &row.after) else { return String::new() };
    let differing = after.pairs().iter().filter(|(column, value)| before.get(column) != Some(value));
    let shown = differing.map(|(column, value)| {
        let old = before.get(column).unwrap_or(&Value::Null);
        format!("{column}: {} -> {}", inert::value(old), inert::value(value))
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn markdown(rows: &[AuditRow]) -> String {
    let line = |cells: Vec<String>| {
        format!("| {} |\n", cells.iter().map(|c| inert::markdown(c)).collect::<Vec<_>>().join(" | "))
    };
    let header = format!("| {} |\n|{}\n", HEADER.join(" | "), "---|".repeat(HEADER.len()));
    std::iter::once(header).chain(rows.iter().map(|row| line(cells(row)))).collect()
}
