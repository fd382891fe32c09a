//! `argus relay`: deliver events until told to stop, or until none is left.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::context::{Context, Done, Failure};
use super::notify;
use super::output::report;
use crate::cli::Relay;
use crate::engine::notifying;
use crate::engine::relay::{self, RelayError, Relayed, Relaying};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::time::parse_duration;
use crate::render::inert;
use crate::render::text::counted;
use crate::server::{self, Beside};
use crate::sink::courier::Courier;
use crate::sink::{SINKS_MAX, SinkSettings};
use crate::store::Store;
use crate::telemetry::measure;

/// Delivers.
pub async fn run(context: &Context, args: &Relay) -> Done {
    if let Some(sink) = &args.forget {
        return forget(context, sink).await;
    }
    let courier = notify::courier(context, &args.sinks)?;
    let named: Vec<String> =
        args.sinks.iter().filter(|sink| courier.is_none() || *sink != notify::SINK).cloned().collect();
    // Whoever asks for notifications alone, or has nothing else, needs no sink.
    let alone = courier.is_some() && named.is_empty() && (!args.sinks.is_empty() || context.sinks().is_empty());
    let sinks = if alone { Vec::new() } else { chosen(context.sinks(), &named)? };
    let keep = parse_duration(&args.keep).ok().and_then(|keep| keep.to_std().ok()).ok_or_else(|| {
        let why = format!("`{}` is no length of time", args.keep);
        Failure::from(Finding::error(Code::BadSettings, why).hint("write `--keep 30d` or `--keep 12h`"))
    })?;
    let database = context.database().await?;
    let relaying = Relaying {
        holder: format!("{}-{}", std::process::id(), &context.new_run()?),
        workers: args.workers.into(),
        once: args.once,
        keep,
        metrics: context.metrics().clone(),
    };
    let stop = stop_signal()?;
    let server = match args.listen {
        Some(address) => Some(served(context, &database.store, address, Beside::default(), stop.clone()).await?),
        None => None,
    };
    let (relayed, notified) = deliver(&database.store, &sinks, courier, &relaying, stop).await?;
    if let Some(server) = server {
        server.abort();
    }
    if context.global.metrics_file.is_some() {
        measure::observed(context.metrics(), Some(&database.store.observe().await?));
    }
    let Relayed { delivered, found, refused, failed } = relayed;
    if !failed.is_empty() {
        let failed: BTreeSet<(String, String)> = failed.into_iter().collect();
        let finding = |(sink, why): (String, String)| {
            let finding = Finding::error(Code::CannotDeliver, format!("nothing can be delivered to `{sink}`: {why}"));
            finding.hint("nothing is lost: what waits is delivered as soon as the sink takes it")
        };
        return Err(Failure::from_findings(failed.into_iter().map(finding).collect()));
    }
    let counts = [(found, "had arrived before"), (refused, "refused for good")];
    let others = counts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!(", {number} {what}"));
    let others: String = others.collect();
    // Standard output may be a sink.
    if sinks.iter().all(|sink| sink.lines.is_none()) {
        report(&format!("Delivered {}{others}.\n{notified}", counted(delivered as usize, "event")), ExitCode::Done)?;
    }
    Ok(ExitCode::Done)
}

/// Delivers events to sinks and messages to channels, until told to stop.
pub async fn deliver(
    store: &Store,
    sinks: &[SinkSettings],
    courier: Option<Courier>,
    relaying: &Relaying,
    stop: watch::Receiver<bool>,
) -> Result<(Relayed, String), Failure> {
    let delivering = async {
        let relayed = relay::run(store, sinks, relaying, stop.clone()).await;
        relayed.map_err(|error| match error {
            RelayError::BadSink(why) => bad(why.to_string()),
            RelayError::Store(error) => Failure::from(error),
        })
    };
    let notifying = async {
        let Some(courier) = courier else { return Ok(String::new()) };
        let notified = notifying::run(store, courier, relaying, stop.clone()).await;
        notified.map(|notified| notify::told(&notified)).map_err(Failure::from)
    };
    // What one of both cannot begin is told at once, and not when the other is told to stop.
    tokio::try_join!(delivering, notifying)
}

/// Serves metrics and probes at an address.
pub async fn served(
    context: &Context,
    store: &Store,
    address: SocketAddr,
    beside: Beside,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, Failure> {
    let listener = server::bind(address).await.map_err(|error| {
        let why = format!("metrics cannot be served at {address}: {error}");
        Failure::from(Finding::error(Code::BadSettings, why).hint("is another one there? see docs/telemetry.md"))
    })?;
    let at = listener.local_addr().unwrap_or(address);
    tracing::info!(%at, "metrics are served at http://{at}");
    Ok(tokio::spawn(server::serve(listener, context.metrics().clone(), store.clone(), beside, stop)))
}

/// Forgets a sink: nothing waits for it any more.
async fn forget(context: &Context, sink: &str) -> Done {
    let database = context.database().await?;
    match database.store.forget_sink(sink).await? {
        true => report(&format!("Forgot the sink {}.\n", inert::line(sink)), ExitCode::Done),
        false => Err(bad(format!("nothing waits for a sink of the name `{sink}`"))),
    }
}

/// The sinks that are asked for, if all of them make sense.
pub fn chosen(all: &[SinkSettings], names: &[String]) -> Result<Vec<SinkSettings>, Failure> {
    if all.is_empty() {
        let finding = Finding::error(Code::BadSettings, "no sink is configured: nothing can be delivered");
        return Err(Failure::from(finding.hint("name one under `sinks` in the file of --config; see docs/events.md")));
    }
    if all.len() > SINKS_MAX {
        return Err(bad(format!("{} sinks are configured, and {SINKS_MAX} are the most", all.len())));
    }
    let mut seen = BTreeSet::new();
    for sink in all {
        sink.check().map_err(|why| bad(why.to_string()))?;
        if !seen.insert(&sink.name) {
            return Err(bad(format!("two sinks are called `{}`", sink.name)));
        }
    }
    if let Some(unknown) = names.iter().find(|name| !seen.contains(name)) {
        let known: Vec<&str> = all.iter().map(|sink| sink.name.as_str()).collect();
        return Err(bad(format!("no sink is called `{unknown}`; there are {}", known.join(", "))));
    }
    Ok(all.iter().filter(|sink| names.is_empty() || names.contains(&sink.name)).cloned().collect())
}

fn bad(why: String) -> Failure {
    Failure::from(Finding::error(Code::BadSettings, why).hint("see docs/events.md"))
}

/// Becomes true when somebody asks the process to end.
pub fn stop_signal() -> Result<watch::Receiver<bool>, Failure> {
    signals().map_err(|error| {
        Failure::from(Finding::error(Code::CannotDeliver, format!("signals cannot be listened to: {error}")))
    })
}

fn signals() -> std::io::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = tell.send(true);
    });
    Ok(told)
}
