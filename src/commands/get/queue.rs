//! `argus get sources` and `argus get work`: what the controller looks at, and what waits for it.

use crate::cli::{Get, Rows};
use crate::commands::context::Done;
use crate::commands::output::report;
use crate::exit_code::ExitCode;
use crate::render::json::{self, ListDocument};
use crate::render::{inert, table};
use crate::store::Store;
use crate::store::queue::listed::{SourceItem, WorkItem};

/// The sources, and how the last look has left them.
pub async fn sources(store: &Store, args: &Get) -> Done {
    let mut all = store.source_items().await?;
    all.retain(|item| args.name.as_ref().is_none_or(|name| *name == item.name));
    let wide = args.output == Rows::Wide;
    let text = match args.output {
        Rows::Json => json::pretty(&ListDocument::new("argus.sources", all)),
        Rows::Name => all.iter().map(|item| format!("{}\n", item.name)).collect(),
        Rows::Table | Rows::Wide | Rows::Yaml => {
            let header = ["NAME", "STATE", "REVISION", "ORGANIZATIONS", "WAITING", "LOOKED AT", "MESSAGE"];
            let line = |item: &SourceItem| {
                let revision = item.revision.as_deref().map(|revision| if wide { revision } else { short(revision) });
                vec![
                    inert::line(&item.name),
                    item.state.clone(),
                    revision.map_or_else(none, inert::line),
                    item.organizations.to_string(),
                    item.waiting.to_string(),
                    item.looked_at.clone().unwrap_or_else(none),
                    item.findings.first().map_or_else(none, |finding| inert::line(&finding.message)),
                ]
            };
            table::table(&header.map(String::from), &all.iter().map(line).collect::<Vec<_>>())
        }
    };
    report(&text, ExitCode::Done)
}

/// The organizations that wait, and why; of one that is named, whether it waits or not.
pub async fn work(store: &Store, args: &Get) -> Done {
    let is_meant = |item: &WorkItem| {
        args.organization.as_ref().is_none_or(|name| *name == item.organization)
            && args.name.as_ref().is_none_or(|name| *name == item.source)
    };
    let mut all = store.work_items(args.output == Rows::Wide || args.organization.is_some()).await?;
    all.retain(is_meant);
    let text = match args.output {
        Rows::Json => json::pretty(&ListDocument::new("argus.work", all)),
        Rows::Name => all.iter().map(|item| format!("{}/{}\n", item.source, item.organization)).collect(),
        Rows::Table | Rows::Wide | Rows::Yaml => {
            let header = ["SOURCE", "ORGANIZATION", "STATE", "FAILURES", "TRIED AT", "DUE", "MESSAGE"];
            let line = |item: &WorkItem| {
                vec![
                    inert::line(&item.source),
                    if item.organization.is_empty() { "*".into() } else { inert::line(&item.organization) },
                    item.state.clone(),
                    item.failures.to_string(),
                    item.tried_at.clone().unwrap_or_else(none),
                    item.due.clone().unwrap_or_else(none),
                    item.message.as_deref().map_or_else(none, inert::line),
                ]
            };
            table::table(&header.map(String::from), &all.iter().map(line).collect::<Vec<_>>())
        }
    };
    report(&text, ExitCode::Done)
}

fn none() -> String {
    "-".into()
}

/// A revision with as much of the id as people read.
fn short(revision: &str) -> &str {
    let end = revision.rfind(':').map_or(revision.len(), |colon| revision.len().min(colon + 13));
    revision.get(..end).unwrap_or(revision)
}
