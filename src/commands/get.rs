//! `argus get`: live resources as a table, as JSON, as manifests or as names; the runs and the suspensions.

mod queue;

use std::fmt::Write as _;
use std::sync::Arc;

use super::context::{Context, Done, Failure};
use super::held;
use super::output::report;
use crate::brake::Suspension;
use crate::cli::{Get, Rows};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::kind::{KINDS, Kind, KindId, Scope};
use crate::model::resource::Spec;
use crate::model::shape::{Field, Shape};
use crate::model::value::Value;
use crate::render::json::{ListDocument, RowItem};
use crate::render::{inert, json, table, text, yaml};
use crate::store::planning::Planning;

/// How many fields a narrow table shows.
const NARROW_FIELDS: usize = 4;

/// How many runs are listed.
const RUNS: u32 = 100;

/// One row to show.
struct Row {
    organization: OrganizationName,
    name: Arc<str>,
    version: i64,
    spec: Spec,
}

/// Lists what was asked for.
pub async fn run(context: &Context, args: &Get) -> Done {
    match args.kind.as_str() {
        "held" => return held::list(context, args).await,
        "approvals" | "approval" => return held::approvals(context, args).await,
        _ => {}
    }
    let database = context.database().await?;
    match args.kind.as_str() {
        "sources" | "source" => return queue::sources(&database.store, args).await,
        "work" => return queue::work(&database.store, args).await,
        _ => {}
    }
    let mut planning = database.store.planning().await?;
    if matches!(args.kind.as_str(), "runs" | "run") {
        return runs(&mut planning, args.output).await;
    }
    if matches!(args.kind.as_str(), "suspensions" | "suspension") {
        return suspensions(&mut planning, args).await;
    }
    let stored = Kind::meant_by(&args.kind).filter(|kind| kind.table.is_some());
    let kind = stored.ok_or_else(|| {
        let finding = Finding::error(Code::NoSuchTarget, format!("nothing is called `{}`", args.kind));
        let known = KINDS.iter().filter(|kind| kind.table.is_some()).map(|kind| kind.plural);
        let known = known.collect::<Vec<_>>().join(", ");
        Failure::from(finding.hint(format!("there are: {known}, sources, work, runs, suspensions, held, approvals")))
    })?;
    let rows = read(&mut planning, kind, args).await?;
    if let (Some(name), true) = (&args.name, rows.is_empty()) {
        let message = format!("there is no {} `{}`", kind.name, inert::line(name));
        return Err(Failure::from(Finding::error(Code::NoSuchTarget, message)));
    }
    report(&show(kind, &rows, args.output), ExitCode::Done)
}

async fn read(planning: &mut Planning, kind: &'static Kind, args: &Get) -> Result<Vec<Row>, Failure> {
    let states = planning.states("", None).await?;
    let organizations: Vec<OrganizationName> = match (kind.scope, &args.organization) {
        (Scope::Global, _) => vec![GLOBAL.into()],
        (_, Some(name)) if states.get(name.as_str()).is_some_and(|state| state.exists) => vec![name.as_str().into()],
        (_, Some(name)) => {
            let message = format!("there is no organization `{}`", inert::line(name));
            return Err(Failure::from(Finding::error(Code::NoSuchTarget, message)));
        }
        (_, None) => {
            states.into_iter().filter(|(name, state)| state.exists && &**name != GLOBAL).map(|(n, _)| n).collect()
        }
    };
    let id = KindId::of(kind);
    let mut rows = Vec::new();
    for chunk in organizations.chunks(200) {
        for (organization, live) in planning.live(chunk).await? {
            let of_kind = live.rows.into_iter().filter(|((kind, _), _)| *kind == id);
            let named = of_kind.filter(|((_, name), _)| args.name.as_deref().is_none_or(|wanted| wanted == &**name));
            rows.extend(named.map(|((_, name), row)| Row {
                organization: organization.clone(),
                name,
                version: row.version,
                spec: inert::spec(&row.spec),
            }));
        }
    }
    Ok(rows)
}

fn show(kind: &'static Kind, rows: &[Row], output: Rows) -> String {
    match output {
        Rows::Table | Rows::Wide => tabulate(kind, rows, output == Rows::Wide),
        Rows::Name => rows.iter().fold(String::new(), |mut text, row| {
            let _ = writeln!(text, "{}", place(kind, row));
            text
        }),
        Rows::Yaml => {
            let documents = rows.iter().map(|row| yaml::resource(kind, &row.organization, &row.name, &row.spec));
            documents.collect::<Vec<_>>().join("---\n")
        }
        Rows::Json => {
            let items = rows.iter().map(|row| RowItem {
                kind: KindId::of(kind),
                organization: row.organization.to_string(),
                name: row.name.to_string(),
                version: row.version,
                spec: row.spec.to_json(kind),
            });
            json::pretty(&ListDocument::new("argus.rows", items.collect()))
        }
    }
}

/// As `--target` takes it.
fn place(kind: &Kind, row: &Row) -> String {
    match kind.scope {
        Scope::Child => format!("{}/{}/{}", row.organization, kind.name, inert::line(&row.name)),
        _ => format!("{}/{}", kind.name, inert::line(&row.name)),
    }
}

fn tabulate(kind: &'static Kind, rows: &[Row], wide: bool) -> String {
    let telling = |field: &&(u8, &Field)| !matches!(field.1.shape, Shape::Prose { .. } | Shape::Map { .. });
    let fields: Vec<(u8, &Field)> = kind.stored_fields().collect();
    let fields: Vec<(u8, &Field)> =
        fields.iter().filter(telling).take(if wide { usize::MAX } else { NARROW_FIELDS }).copied().collect();
    let mut header: Vec<String> = Vec::new();
    if kind.scope == Scope::Child {
        header.push("ORGANIZATION".into());
    }
    header.push("NAME".into());
    header.extend(fields.iter().map(|(_, field)| field.path.to_uppercase()));
    if wide {
        header.push("VERSION".into());
    }
    let lines = rows.iter().map(|row| {
        let mut line = Vec::new();
        if kind.scope == Scope::Child {
            line.push(row.organization.to_string());
        }
        line.push(inert::line(&row.name));
        line.extend(fields.iter().map(|(field, _)| cell(row.spec.value(*field).unwrap_or(&Value::Null))));
        if wide {
            line.push(row.version.to_string());
        }
        line
    });
    table::table(&header, &lines.collect::<Vec<_>>())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Text(text) => inert::line(text),
        Value::List(items) if items.iter().all(|item| item.pairs().is_empty()) => {
            if items.is_empty() {
                "-".into()
            } else {
                items.iter().map(cell).collect::<Vec<_>>().join(",")
            }
        }
        Value::List(items) => items.len().to_string(),
        other => inert::value(other),
    }
}

async fn runs(planning: &mut Planning, output: Rows) -> Done {
    let runs = planning.runs(RUNS).await?;
    let text = match output {
        Rows::Json => json::pretty(&ListDocument::new("argus.runs", runs)),
        Rows::Name => runs.iter().map(|run| format!("{}\n", run.id)).collect(),
        Rows::Table | Rows::Wide | Rows::Yaml => {
            let header = [
                "RUN",
                "SOURCE",
                "ACTOR",
                "STARTED",
                "OUTCOME",
                "APPLIED",
                "FAILED",
                "FORCED",
                "APPROVED BY",
                "ROLLS BACK",
                "REVISION",
            ];
            let line = |run: &crate::store::history::RunRow| {
                vec![
                    inert::line(&run.id),
                    inert::line(&run.source),
                    inert::line(&run.actor),
                    run.started_at.clone(),
                    run.outcome.clone().unwrap_or_else(|| "unfinished".into()),
                    run.organizations_applied.to_string(),
                    run.organizations_failed.to_string(),
                    run.forced.to_string(),
                    Some(text::names(run.approved_by.iter())).filter(|names| !names.is_empty()).unwrap_or("-".into()),
                    run.rolls_back.as_deref().map_or_else(|| "-".to_owned(), inert::line),
                    run.revision.as_deref().map_or_else(|| "-".to_owned(), inert::line),
                ]
            };
            table::table(&header.map(String::from), &runs.iter().map(line).collect::<Vec<_>>())
        }
    };
    report(&text, ExitCode::Done)
}

/// The suspensions that are on.
async fn suspensions(planning: &mut Planning, args: &Get) -> Done {
    let mut all = planning.suspensions(None).await?;
    if let Some(name) = &args.organization {
        all.retain(|suspension| suspension.organization.as_deref().is_none_or(|of| of == name));
    }
    let text = match args.output {
        Rows::Json => json::pretty(&ListDocument::new("argus.suspensions", all)),
        Rows::Name => all.iter().map(|suspension| format!("{}\n", suspension.id)).collect(),
        Rows::Table | Rows::Wide | Rows::Yaml => {
            let header = ["ORGANIZATION", "SOURCE", "UNTIL", "OWNER", "BY", "SINCE", "REASON"].map(String::from);
            let line = |suspension: &Suspension| {
                let any = |name: Option<&str>| name.map_or_else(|| "*".to_owned(), inert::line);
                vec![
                    any(suspension.organization.as_deref()),
                    any(suspension.source.as_deref()),
                    suspension.until.clone(),
                    inert::line(&suspension.owner),
                    inert::line(&format!("{} as {}", suspension.created_by, suspension.created_role)),
                    suspension.created_at.clone(),
                    inert::line(&suspension.reason),
                ]
            };
            table::table(&header, &all.iter().map(line).collect::<Vec<_>>())
        }
    };
    report(&text, ExitCode::Done)
}
