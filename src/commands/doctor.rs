//! `argus doctor`: whether everything that this machine's settings name is there and works.

use super::context::{Context, Done};
use super::output::report;
use super::{notify, relay};
use crate::exit_code::ExitCode;
use crate::model::finding::Finding;
use crate::render::inert;
use crate::render::text::counted;
use crate::settings::webhook::WebhookSettings;
use crate::sink::Sink;
use crate::sink::courier::NotificationSettings;
use crate::sink::forge::Teller;
use crate::source::cluster;
use crate::store::Store;
use crate::store::notifications::Tally;
use crate::store::queue::listed::SourceItem;
use crate::telemetry;

/// Since when something may wait before somebody should have a look, in seconds.
const WAIT_SECONDS_MAX: f64 = 300.0;

/// What was found.
#[derive(Default)]
struct Diagnosis {
    text: String,
    ill: bool,
}

impl Diagnosis {
    fn good(&mut self, what: &str) {
        self.text.push_str(&format!("ok    {}\n", inert::line(what)));
    }

    fn bad(&mut self, what: &str, hint: &str) {
        self.ill = true;
        self.text.push_str(&format!("BAD   {}\n      {}\n", inert::line(what), inert::line(hint)));
    }
}

/// Looks at everything and says what it sees.
pub async fn run(context: &Context) -> Done {
    let mut diagnosis = Diagnosis::default();
    match context.database().await {
        Ok(database) => {
            diagnosis.good(&format!("the database answers, and its schema fits: {}", database.store.url()));
            if let Err(error) = waiting(context, &database.store, &mut diagnosis).await {
                diagnosis.bad(&error.to_string(), &error.hint());
            }
        }
        Err(failure) => {
            for finding in &failure.findings {
                diagnosis.bad(&finding.message, finding.hint.as_deref().unwrap_or("see `argus explain`"));
            }
        }
    }
    sinks(context, &mut diagnosis).await;
    controller(context, &mut diagnosis);
    forges(context, &mut diagnosis).await;
    namespaces(context, &mut diagnosis).await;
    notifications(context, &mut diagnosis);
    collector(&mut diagnosis);
    report(&diagnosis.text, if diagnosis.ill { ExitCode::Failed } else { ExitCode::Done })
}

/// What waits for the sinks.
async fn waiting(
    context: &Context,
    store: &Store,
    diagnosis: &mut Diagnosis,
) -> Result<(), crate::store::error::StoreError> {
    let refused = store.undeliverable().await?;
    for (sink, many, age) in store.backlog().await? {
        let what = format!("{} for the sink `{sink}`", counted(many.max(0) as usize, "event"));
        let named = context.sinks().iter().any(|settings| settings.name == sink)
            || (sink == notify::SINK && context.notifications().is_some());
        if !named {
            let hint = format!("if it is gone for good, `argus relay --forget {sink}`");
            diagnosis.bad(&format!("{what} wait, and these settings do not name it"), &hint);
        } else if age > WAIT_SECONDS_MAX {
            let hint = "is `argus relay` running? its log says what the sink does not take";
            diagnosis.bad(&format!("{what} wait, the oldest for {age:.0} s"), hint);
        } else {
            diagnosis.good(&format!("{what} wait, the oldest for {age:.0} s"));
        }
        if let Some(many) = refused.get(&sink) {
            let hint =
                "the table argus.undeliverable says which and why; delete a row there when it has been dealt with";
            diagnosis
                .bad(&format!("the sink `{sink}` has refused {} for good", counted(*many as usize, "event")), hint);
        }
    }
    queue(context, store, diagnosis).await?;
    messages(context, store, diagnosis).await
}

/// Whether somebody works for the controller, and whether its sources get on.
async fn queue(
    context: &Context,
    store: &Store,
    diagnosis: &mut Diagnosis,
) -> Result<(), crate::store::error::StoreError> {
    let sources = store.source_items().await?;
    if sources.is_empty() && context.controller().sources.is_empty() {
        return Ok(());
    }
    match store.replicas().await? {
        0 => diagnosis.bad("no controller is running", "start `argus controller`; until then nothing is reconciled"),
        many => diagnosis.good(&format!("{} of the controller", counted(many, "replica"))),
    }
    for SourceItem { name, state, findings, waiting, .. } in &sources {
        let why = findings.first().map(|finding| format!(": {}", finding.message)).unwrap_or_default();
        let what = format!("the source `{name}` is {}{why}", state.to_lowercase());
        match state.as_str() {
            "Stalled" => diagnosis.bad(&what, "docs/operations.md tells what to do about it"),
            "Degraded" => {
                let what = format!("{what}, {} not as it says", counted(*waiting as usize, "organization"));
                diagnosis.bad(&what, &format!("`argus get work {name}` tells which and why"));
            }
            _ => diagnosis.good(&what),
        }
    }
    Ok(())
}

/// Whether the settings of the controller make sense.
fn controller(context: &Context, diagnosis: &mut Diagnosis) {
    match context.controller().checked() {
        Ok(settings) if settings.sources.is_empty() => {}
        Ok(settings) => {
            diagnosis.good(&format!("the controller looks at {}", counted(settings.sources.len(), "source")))
        }
        Err(finding) => diagnosis.bad(&finding.message, finding.hint.as_deref().unwrap_or("see docs/settings.md")),
    }
}

/// Whether the secrets of webhooks are there, and each forge shows its repository.
async fn forges(context: &Context, diagnosis: &mut Diagnosis) {
    const HINT: &str = "see docs/webhooks.md";
    for source in &context.controller().sources {
        let name = &source.name;
        match source.webhook.as_ref().map(WebhookSettings::secrets) {
            None => {}
            Some(Ok(_)) => diagnosis.good(&format!("the webhook of the source `{name}` has a secret")),
            Some(Err(why)) => diagnosis.bad(&format!("the webhook of the source `{name}`: {why}"), HINT),
        }
        let fault = match source.forge.as_ref().map(Teller::open) {
            None => continue,
            Some(Ok(teller)) => teller.fault().await,
            Some(Err(why)) => Some(why),
        };
        match fault {
            None => diagnosis.good(&format!("the forge of the source `{name}` shows its repository")),
            Some(why) => diagnosis.bad(&format!("the forge of the source `{name}`: {why}"), HINT),
        }
    }
}

/// Whether the namespaces of a cluster can be followed.
async fn namespaces(context: &Context, diagnosis: &mut Diagnosis) {
    let Some(settings) = context.kubernetes() else { return };
    let bad = |diagnosis: &mut Diagnosis, finding: &Finding| {
        diagnosis.bad(&finding.message, finding.hint.as_deref().unwrap_or("see docs/kubernetes.md"));
    };
    match cluster::examine(settings).await {
        Err(finding) => bad(diagnosis, &finding),
        Ok(examined) => {
            for (namespace, examined) in examined {
                match examined {
                    Err(finding) => bad(diagnosis, &finding),
                    Ok(()) => diagnosis.good(&format!("the namespace `{namespace}` can be followed and answered")),
                }
            }
        }
    }
}

/// How many messages wait for the channels of organizations, and how many went nowhere.
async fn messages(
    context: &Context,
    store: &Store,
    diagnosis: &mut Diagnosis,
) -> Result<(), crate::store::error::StoreError> {
    let tally = store.notification_tally(None).await?;
    if context.notifications().is_none() && tally == Tally::default() {
        return Ok(());
    }
    let Tally { waiting, failed, overflowed, .. } = tally;
    let many = |number: i64| counted(number.max(0) as usize, "message");
    diagnosis.good(&format!("{} waiting for channels of organizations, {failed} not taken", many(waiting)));
    if overflowed > 0 {
        let hint = "`argus notify list -O ORG` says which organizations and why";
        diagnosis.bad(&format!("{} given up because a queue was full", many(overflowed)), hint);
    }
    Ok(())
}

/// Whether what the settings say of notifications makes sense.
fn notifications(context: &Context, diagnosis: &mut Diagnosis) {
    match context.notifications().map(NotificationSettings::check) {
        None => {}
        Some(Ok(())) => diagnosis.good("the settings of notifications make sense"),
        Some(Err(why)) => diagnosis.bad(&format!("notifications: {why}"), "see docs/notifications.md"),
    }
}

/// Whether the collector takes traces, if there should be one.
fn collector(diagnosis: &mut Diagnosis) {
    match tokio::task::block_in_place(telemetry::collector) {
        None => {}
        Some(Ok(())) => diagnosis.good("the collector takes traces"),
        Some(Err(why)) => diagnosis.bad(&format!("no traces are exported: {why}"), "see docs/telemetry.md"),
    }
}

/// Whether each sink could be delivered to now.
async fn sinks(context: &Context, diagnosis: &mut Diagnosis) {
    if context.sinks().is_empty() {
        diagnosis.good("no sink is configured: events stay in the database");
        return;
    }
    let chosen = match relay::chosen(context.sinks(), &[]) {
        Ok(chosen) => chosen,
        Err(failure) => {
            for finding in &failure.findings {
                diagnosis.bad(&finding.message, finding.hint.as_deref().unwrap_or("see docs/events.md"));
            }
            return;
        }
    };
    for settings in &chosen {
        let faults = match Sink::open(settings) {
            Ok(mut sink) => sink.faults().await,
            Err(why) => vec![why.why],
        };
        if faults.is_empty() {
            diagnosis.good(&format!("the sink `{}` is ready", settings.name));
        }
        for fault in faults {
            diagnosis.bad(&format!("the sink `{}`: {fault}", settings.name), "see docs/events.md");
        }
    }
}
