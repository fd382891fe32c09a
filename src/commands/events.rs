//! `argus events`: what has happened lately, as sinks are told it.

use super::context::{Context, Done, Failure};
use super::output::report;
use crate::cli::Rows;
use crate::cli::controller::Events;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::time::parse_duration;
use crate::render::json::{self, ListDocument};
use crate::render::{inert, table};
use crate::store::events::listed::{EventFilter, EventItem};

/// Lists the newest events, the oldest of them first.
pub async fn run(context: &Context, args: &Events) -> Done {
    let within = args.since.as_deref().map(|since| {
        parse_duration(since).ok().and_then(|since| since.to_std().ok()).ok_or_else(|| {
            let finding = Finding::error(Code::BadSettings, format!("`{}` is no length of time", inert::line(since)));
            Failure::from(finding.hint("write `--since 1h` or `--since 7d`"))
        })
    });
    let filter = EventFilter {
        organization: args.organization.as_deref(),
        of: args.of.as_deref(),
        within: within.transpose()?,
        most: args.limit,
    };
    let events = context.database().await?.store.newest_events(&filter).await?;
    let text = match args.output {
        Rows::Json => json::pretty(&ListDocument::new("argus.events", events)),
        Rows::Name => events.iter().map(|event| format!("{}\n", event.id)).collect(),
        Rows::Table | Rows::Wide | Rows::Yaml => {
            let mut header = vec!["AT", "TYPE", "ORGANIZATION", "SUBJECT", "RUN"];
            let wide = args.output == Rows::Wide;
            header.extend(wide.then_some("DATA"));
            let line = |event: &EventItem| {
                let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { inert::line(text) };
                let mut line = vec![
                    event.at.clone(),
                    event.of.clone(),
                    or_none(&event.organization),
                    or_none(&event.subject),
                    or_none(event.run.as_deref().unwrap_or_default()),
                ];
                line.extend(wide.then(|| inert::line(&event.data.to_string())));
                line
            };
            let header: Vec<String> = header.into_iter().map(String::from).collect();
            table::table(&header, &events.iter().map(line).collect::<Vec<_>>())
        }
    };
    report(&text, ExitCode::Done)
}
