//! `argus notify`: try a channel, and look at what waits for channels and what became of the rest. What `argus relay` needs of
//! notifications stands here as well.

use super::context::{Context, Done, Failure};
use super::output::report;
use crate::cli::notify::{Command, List, Listing, Notify, StateWord, Test};
use crate::engine::notifying::Notified;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::notification::channel::Message;
use crate::render::json::{self, ListDocument};
use crate::render::text::counted;
use crate::render::{inert, table};
use crate::sink::courier::{Courier, Sent};
use crate::store::Store;
use crate::store::notifications::{Listed, State};

pub use crate::store::notifications::SINK;

/// Does what was asked for.
pub async fn run(context: &Context, args: &Notify) -> Done {
    match &args.command {
        Command::Test(args) => test(context, args).await,
        Command::List(args) => list(context, args).await,
    }
}

/// The courier of a relay, if the settings of the machine have notifications and these sinks are not others alone.
pub fn courier(context: &Context, sinks: &[String]) -> Result<Option<Courier>, Failure> {
    let Some(settings) = context.notifications() else { return Ok(None) };
    if context.sinks().iter().any(|sink| sink.name == SINK) {
        return Err(bad(format!("a sink is called `{SINK}`, which is what notifications are called")));
    }
    if !sinks.is_empty() && !sinks.iter().any(|sink| sink == SINK) {
        return Ok(None);
    }
    Courier::open(settings).map(Some).map_err(bad)
}

/// What a relay says of messages.
pub fn told(notified: &Notified) -> String {
    let Notified { queued: _, sent, again, failed } = notified;
    let others = [(again, "tried again later"), (failed, "refused for good")];
    let others = others.iter().filter(|(many, _)| **many > 0).map(|(many, what)| format!(", {many} {what}"));
    format!("Sent {}{}.\n", counted(*sent as usize, "message"), others.collect::<String>())
}

fn bad(why: String) -> Failure {
    let finding = Finding::error(Code::BadSettings, format!("the settings of notifications are wrong: {why}"));
    Failure::from(finding.hint("see docs/notifications.md"))
}

fn missing(what: &str, name: &str, hint: String) -> Failure {
    let message = format!("there is no {what} `{}`", inert::line(name));
    Failure::from(Finding::error(Code::NoSuchTarget, message).hint(hint))
}

/// Sends a test message, and says what came of it.
async fn test(context: &Context, args: &Test) -> Done {
    let Test { organization, channel: name } = args;
    let Some(settings) = context.notifications() else {
        let finding = Finding::error(Code::BadSettings, "the settings of this machine have no notifications");
        let hint = "write the section `notifications` into the file of --config; see docs/notifications.md";
        return Err(Failure::from(finding.hint(hint)));
    };
    let courier = Courier::open(settings).map_err(bad)?;
    let database = context.database().await?;
    exists(&database.store, organization).await?;
    let channel = database.store.notification_channel(organization, name).await?;
    let channel = channel.ok_or_else(|| {
        missing(
            "channel",
            name,
            format!("`argus get channels -O {}` lists those that there are", inert::line(organization)),
        )
    })?;
    let now = context.now();
    let id: String = context.random()?.draw().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let message = Message::test(format!("test-{id}"), organization, name, now);
    let of = channel.of.word();
    let failed = |why: &str, hint: &str| {
        let message = format!("a message does not reach the channel `{}`: {}", inert::line(name), inert::line(why));
        Err(Failure::from(
            Finding::error(Code::CannotNotify, message).about(format!("{organization}/{name}")).hint(hint),
        ))
    };
    match courier.send(&channel, &message, now).await {
        Sent::Taken => {
            let disabled = if channel.enabled { "" } else { "; it is disabled, so that no other message goes there" };
            report(&format!("Sent a test message to {} ({of}){disabled}.\n", inert::line(name)), ExitCode::Done)
        }
        Sent::Refused(why) => failed(&why, "it would be refused again: mend the channel or its secret, or see `allow`"),
        Sent::Failed { why, .. } => failed(&why, "messages that wait are tried again for three days"),
    }
}

/// Shows the queue.
async fn list(context: &Context, args: &List) -> Done {
    let state = args.state.map(|word| match word {
        StateWord::Waiting => State::Waiting,
        StateWord::Sent => State::Sent,
        StateWord::Failed => State::Failed,
        StateWord::Dropped => State::Dropped,
    });
    let database = context.database().await?;
    let listed = database.store.notifications(&args.organization, state, i64::from(args.limit)).await?;
    if listed.is_empty() {
        exists(&database.store, &args.organization).await?;
    }
    let text = match args.output {
        Listing::Json => json::pretty(&ListDocument::new("argus.notifications", listed)),
        Listing::Table => {
            let header = ["STATE", "CHANNEL", "RULE", "EVENT", "SUBJECT", "PRIORITY", "TRIES", "AT", "WHY"];
            let lines: Vec<Vec<String>> = listed.iter().map(line).collect();
            let tally = database.store.notification_tally(Some(&args.organization)).await?;
            let mut text = table::table(&header.map(String::from), &lines);
            if tally.withheld > 0 {
                text.push_str(&format!(
                    "Not told because of a cooldown: {}.\n",
                    counted(tally.withheld as usize, "event")
                ));
            }
            if tally.overflowed > 0 {
                text.push_str(&format!(
                    "Given up because the queue was full: {}.\n",
                    counted(tally.overflowed as usize, "message")
                ));
            }
            text
        }
    };
    report(&text, ExitCode::Done)
}

async fn exists(store: &Store, organization: &str) -> Result<(), Failure> {
    let states = store.planning().await?.states("", None).await?;
    match states.get(organization).is_some_and(|state| state.exists) {
        true => Ok(()),
        false => Err(missing("organization", organization, "`argus get orgs` lists those that there are".into())),
    }
}

fn line(listed: &Listed) -> Vec<String> {
    let at = listed.done_at.as_ref().unwrap_or(if listed.attempts > 0 { &listed.due } else { &listed.created_at });
    vec![
        listed.state.clone(),
        inert::line(&listed.channel),
        inert::line(&listed.rule),
        inert::line(&listed.of),
        inert::line(&listed.subject),
        listed.priority.clone(),
        listed.attempts.to_string(),
        at.clone(),
        listed.why.as_deref().map(inert::line).unwrap_or_default(),
    ]
}
