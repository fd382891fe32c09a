//! Notifications: the rules and channels of organizations, and the messages that wait for them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::Store;
use super::deliveries::{Arrival, Shard};
use super::error::StoreError;
use crate::event::cloud::Event;
use crate::model::time::parse_duration;
use crate::notification::channel::{Channel, ChannelType, Message, SecretRef};
use crate::notification::{Priority, Rule, Told};

mod listed;

pub use listed::{Listed, State, Tally};

/// The name under which events wait for being matched.
pub const SINK: &str = "notifications";

/// The most messages that wait for the channels of one organization.
pub const QUEUE_MAX: i64 = 10_000;

/// The most channels of one organization that are sent to at the same time, so that none takes the place of all others.
const ORGANIZATION_GATES_MAX: i64 = 64;

/// The most rules of one organization that are followed, by their names.
pub const RULES_MAX: i64 = 100;

/// How long a message is tried to be sent.
pub const TRIED_DAYS: i32 = 3;

/// A channel that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The organization.
    pub organization: String,
    /// The channel.
    pub channel: String,
    /// How many attempts have failed in a row.
    pub failures: i32,
}

/// A message in its place in the queue.
#[derive(Clone, Debug)]
pub struct Queued {
    /// The message.
    pub message: Message,
    /// How often it was tried before.
    pub attempts: i32,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Sent,
    /// It will never be taken, for this reason.
    Failed(String),
    /// It is tried again after so long; and why this attempt failed.
    Again(Duration, String),
}

impl Store {
    /// The rules of some organizations, by their names.
    pub async fn notification_rules(&self, organizations: &[&str]) -> Result<Vec<Rule>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let rows = sqlx::query(
            "SELECT organization, name, channel, events, conditions::text, template, priority, cooldown
             FROM (SELECT r.*, row_number() OVER (PARTITION BY organization ORDER BY name) AS place
                   FROM argus.notification_rule r WHERE organization = ANY ($1)) r
             WHERE place <= $2 ORDER BY organization, name",
        )
        .bind(organizations)
        .bind(RULES_MAX)
        .fetch_all(&mut *transaction)
        .await?;
        rows.iter().map(rule).collect()
    }

    /// A channel.
    pub async fn notification_channel(&self, organization: &str, name: &str) -> Result<Option<Channel>, StoreError> {
        let mut transaction = self.reconciling().await?;
        channel(&mut transaction, organization, name).await
    }

    /// Queues what the rules have told of events, and notes that the events were matched: both or neither. Fails, and
    /// queues nothing, if a part is no longer held. Gives how many messages are new.
    pub async fn queue_notifications(
        &self,
        shards: &[Shard],
        events: &[Event],
        told: &[Told],
    ) -> Result<u64, StoreError> {
        let mut transaction = self.reconciling().await?;
        let arrivals: Vec<(&Event, Arrival)> = events.iter().map(|event| (event, Arrival::Confirmed)).collect();
        super::deliveries::confirm(&mut transaction, SINK, shards, &arrivals, true).await?;
        let mut new = 0;
        for told in told {
            if let Some(event) = events.get(told.event)
                && let Some(withheld) = audible(&mut transaction, event, told).await?
            {
                new += queue(&mut transaction, event, told, withheld).await?;
            }
        }
        let mut channels: Vec<(&str, &str)> =
            told.iter().filter_map(|told| Some((&*events.get(told.event)?.organization, &*told.channel))).collect();
        // Everybody takes these rows in the same order.
        channels.sort_unstable();
        channels.dedup();
        wake(&mut transaction, &channels).await?;
        let mut organizations: Vec<&str> = channels.iter().map(|(organization, _)| *organization).collect();
        organizations.dedup();
        for organization in organizations {
            make_room(&mut transaction, organization).await?;
        }
        transaction.commit().await?;
        Ok(new)
    }

    /// Takes channels for which something is due: those that work, or those that have failed last. They are held until the
    /// lease ends.
    pub async fn hold_gates(&self, failing: bool, at_most: i64, lease: Duration) -> Result<Vec<Gate>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let rows = sqlx::query(
            "WITH waiting AS (
                 SELECT g.organization, g.channel, g.wake,
                        row_number() OVER (PARTITION BY g.organization ORDER BY g.wake)
                            + (SELECT count(*) FROM argus.notification_gate h
                               WHERE h.organization = g.organization AND h.held_until > clock_timestamp()) AS place
                 FROM argus.notification_gate g
                 WHERE g.wake <= clock_timestamp() AND g.held_until <= clock_timestamp() AND (g.failures > 0) = $1),
             due AS (
                 SELECT g.organization, g.channel
                 FROM argus.notification_gate g JOIN waiting w USING (organization, channel)
                 WHERE w.place <= $4 AND g.held_until <= clock_timestamp()
                 -- One that has failed for the first time does not wait behind those that are long dead.
                 ORDER BY g.failures, w.wake LIMIT $2 FOR UPDATE OF g SKIP LOCKED)
             UPDATE argus.notification_gate g SET held_until = clock_timestamp() + make_interval(secs => $3)
             FROM due WHERE g.organization = due.organization AND g.channel = due.channel
             RETURNING g.organization, g.channel, g.failures",
        )
        .bind(failing)
        .bind(at_most)
        .bind(lease.as_secs_f64())
        .bind(ORGANIZATION_GATES_MAX)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let gate = |row: &PgRow| {
            Ok(Gate { organization: row.try_get(0)?, channel: row.try_get(1)?, failures: row.try_get(2)? })
        };
        rows.iter().map(gate).collect()
    }

    /// The channel of a gate and the messages that may be sent to it now, the most important first. What there is no channel
    /// for any more is dropped, and what has waited for too long is given up; both say so.
    pub async fn due_notifications(
        &self,
        gate: &Gate,
        at_most: i64,
    ) -> Result<Option<(Channel, Vec<Queued>)>, StoreError> {
        let Gate { organization, channel: name, .. } = gate;
        let mut transaction = self.reconciling().await?;
        let channel = channel(&mut transaction, organization, name).await?;
        let dropped = match &channel {
            None => Some("there is no such channel any more"),
            Some(channel) if !channel.enabled => Some("the channel is disabled"),
            Some(_) => None,
        };
        if let Some(why) = dropped {
            end_waiting(&mut transaction, gate, "dropped", why, 0).await?;
            transaction.commit().await?;
            return Ok(None);
        }
        let why = format!("not taken within {TRIED_DAYS} days");
        end_waiting(&mut transaction, gate, "failed", &why, TRIED_DAYS).await?;
        let Some(channel) = channel else { return Ok(None) };
        let sent: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM argus.notification
             WHERE organization = $1 AND channel = $2 AND state = 'sent' AND done_at > clock_timestamp() - interval '1 hour'",
        )
        .bind(organization)
        .bind(name)
        .fetch_one(&mut *transaction)
        .await?;
        let room = channel.rate_limit.map_or(at_most, |limit| (limit - sent).clamp(0, at_most));
        let rows = sqlx::query(
            "SELECT n.id::text, n.rule, n.priority, n.title, n.text, n.withheld, n.created_at, n.attempts,
                    e.organization, e.position, e.id::text, e.type, e.subject, e.at, e.trace, e.data::text,
                    (SELECT id::text FROM argus.installation)
             FROM argus.notification n
             LEFT JOIN argus.event e ON $4 AND e.organization = n.organization AND e.position = n.position AND e.id = n.event
             WHERE n.organization = $1 AND n.channel = $2 AND n.state = 'waiting' AND n.due <= clock_timestamp()
             ORDER BY n.priority DESC, n.due, n.position LIMIT $3",
        )
        .bind(organization)
        .bind(name)
        .bind(room)
        .bind(channel.of == ChannelType::Webhook)
        .fetch_all(&mut *transaction)
        .await?;
        let queued = rows.iter().map(|row| queued(organization, row)).collect::<Result<_, StoreError>>()?;
        transaction.commit().await?;
        Ok(Some((channel, queued)))
    }

    /// Notes what became of a message.
    pub async fn note_notification(&self, organization: &str, id: &str, outcome: &Outcome) -> Result<(), StoreError> {
        let (state, after, why) = match outcome {
            Outcome::Sent => ("sent", Duration::ZERO, None),
            Outcome::Failed(why) => ("failed", Duration::ZERO, Some(why)),
            Outcome::Again(after, why) => ("waiting", *after, Some(why)),
        };
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "UPDATE argus.notification
             SET state = $3, attempts = attempts + 1, why = left($5, 500),
                 due = clock_timestamp() + make_interval(secs => $4),
                 done_at = CASE WHEN $3 = 'waiting' THEN NULL ELSE clock_timestamp() END
             WHERE organization = $1 AND id = $2::uuid AND state = 'waiting'",
        )
        .bind(organization)
        .bind(id)
        .bind(state)
        .bind(after.as_secs_f64())
        .bind(why)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Lets a channel go until something is due for it, and in any case for a while.
    pub async fn release_gate(&self, gate: &Gate, failures: i32, pause: Duration) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        // Locked before it is looked at what waits: whoever queues meanwhile has committed, or wakes it afterwards.
        sqlx::query("SELECT FROM argus.notification_gate WHERE organization = $1 AND channel = $2 FOR UPDATE")
            .bind(&gate.organization)
            .bind(&gate.channel)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "UPDATE argus.notification_gate g SET held_until = '-infinity', failures = $3, wake = greatest(
                 clock_timestamp() + make_interval(secs => $4),
                 (SELECT COALESCE(min(n.due), 'infinity') FROM argus.notification n
                  WHERE n.organization = $1 AND n.channel = $2 AND n.state = 'waiting'),
                 -- The moment at which there is room again for one more within an hour.
                 (SELECT n.done_at + interval '1 hour' FROM argus.notification n
                  WHERE n.organization = $1 AND n.channel = $2 AND n.state = 'sent'
                    AND n.done_at > clock_timestamp() - interval '1 hour'
                  ORDER BY n.done_at DESC
                  OFFSET COALESCE((SELECT c.rate_limit_per_hour - 1 FROM argus.notification_channel c
                                   WHERE c.organization = $1 AND c.name = $2), 1000000) LIMIT 1))
             WHERE organization = $1 AND channel = $2",
        )
        .bind(&gate.organization)
        .bind(&gate.channel)
        .bind(failures)
        .bind(pause.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Drops what is done for so long, and what is remembered of it.
    pub async fn forget_notifications(&self, keep: Duration) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        // What was sent within the hour is what a limit is counted by.
        let keep = keep.as_secs_f64().max(3600.0);
        for statement in [
            "DELETE FROM argus.notification
             WHERE state <> 'waiting' AND done_at < clock_timestamp() - make_interval(secs => $1)",
            "DELETE FROM argus.notification_quiet WHERE until < clock_timestamp() - make_interval(secs => $1)",
        ] {
            sqlx::query(statement).bind(keep).execute(&mut *transaction).await?;
        }
        sqlx::query(
            "DELETE FROM argus.notification_gate
             WHERE wake = 'infinity' AND held_until < clock_timestamp() AND overflowed = 0",
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}

fn rule(row: &PgRow) -> Result<Rule, StoreError> {
    let (priority, cooldown): (String, Option<String>) = (row.try_get(6)?, row.try_get(7)?);
    let conditions: String = row.try_get(4)?;
    Ok(Rule {
        organization: row.try_get(0)?,
        name: row.try_get(1)?,
        channel: row.try_get(2)?,
        events: row.try_get(3)?,
        conditions: serde_json::from_str(&conditions).ok(),
        template: row.try_get(5)?,
        priority: Priority::named(&priority),
        cooldown: cooldown.and_then(|text| parse_duration(&text).ok()).map(|length| length.num_seconds()),
    })
}

async fn channel(connection: &mut PgConnection, organization: &str, name: &str) -> Result<Option<Channel>, StoreError> {
    let row = sqlx::query(
        "SELECT type, config_addresses, config_url, config_secret_ref_name, config_secret_ref_key, rate_limit_per_hour,
                enabled
         FROM argus.notification_channel WHERE organization = $1 AND name = $2",
    )
    .bind(organization)
    .bind(name)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let of: String = row.try_get(0)?;
    // A type that this binary does not know came with a newer one, which sends.
    let Some(of) = ChannelType::named(&of) else { return Ok(None) };
    let (secret, key): (Option<String>, Option<String>) = (row.try_get(3)?, row.try_get(4)?);
    Ok(Some(Channel {
        organization: organization.into(),
        name: name.into(),
        of,
        addresses: row.try_get(1)?,
        url: row.try_get(2)?,
        secret: secret.zip(key).map(|(name, key)| SecretRef { name, key }),
        rate_limit: row.try_get(5)?,
        enabled: row.try_get(6)?,
    }))
}

fn queued(organization: &str, row: &PgRow) -> Result<Queued, StoreError> {
    let event = match row.try_get::<Option<String>, _>(8)? {
        None => None,
        Some(organization) => Some(Event {
            organization,
            shard: 0,
            position: row.try_get(9)?,
            id: row.try_get(10)?,
            of: row.try_get(11)?,
            subject: row.try_get(12)?,
            at: row.try_get(13)?,
            trace: row.try_get(14)?,
            content: row.try_get(15)?,
            installation: row.try_get(16)?,
        }),
    };
    let at: DateTime<Utc> = row.try_get(6)?;
    let message = Message {
        id: row.try_get(0)?,
        organization: organization.into(),
        rule: Some(row.try_get(1)?),
        priority: Priority::numbered(row.try_get(2)?),
        title: row.try_get(3)?,
        text: row.try_get(4)?,
        withheld: row.try_get(5)?,
        event: event.map(|event| event.on_the_wire(None).structured()),
        at,
    };
    Ok(Queued { message, attempts: row.try_get(7)? })
}

/// Whether an event is told by a rule, or was told not long ago; and how many were not told since.
async fn audible(connection: &mut PgConnection, event: &Event, told: &Told) -> Result<Option<i64>, StoreError> {
    let Some(cooldown) = told.cooldown.filter(|cooldown| *cooldown > 0) else { return Ok(Some(0)) };
    // What is being told again and is not over counts; what is over begins anew and says how many there were.
    let row = sqlx::query(
        "WITH before AS (
             SELECT until, withheld FROM argus.notification_quiet
             WHERE organization = $1 AND rule = $2 AND type = $3 AND subject = $4)
         INSERT INTO argus.notification_quiet AS q (organization, rule, type, subject, until)
         VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
         ON CONFLICT (organization, rule, type, subject) DO UPDATE SET
             withheld = CASE WHEN q.until > clock_timestamp() THEN q.withheld + 1 ELSE 0 END,
             until = CASE WHEN q.until > clock_timestamp() THEN q.until ELSE excluded.until END
         RETURNING q.withheld > 0, COALESCE((SELECT withheld FROM before), 0)",
    )
    .bind(&event.organization)
    .bind(&told.rule)
    .bind(&event.of)
    .bind(&event.subject)
    .bind(cooldown as f64)
    .fetch_one(connection)
    .await?;
    let quiet: bool = row.try_get(0)?;
    Ok(if quiet { None } else { Some(row.try_get(1)?) })
}

async fn queue(connection: &mut PgConnection, event: &Event, told: &Told, withheld: i64) -> Result<u64, StoreError> {
    let queued = sqlx::query(
        "INSERT INTO argus.notification
             (organization, event, position, type, subject, rule, channel, priority, title, text, withheld)
         VALUES ($1, $2::uuid, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (organization, event, rule) DO NOTHING",
    )
    .bind(&event.organization)
    .bind(&event.id)
    .bind(event.position)
    .bind(&event.of)
    .bind(&event.subject)
    .bind(&told.rule)
    .bind(&told.channel)
    .bind(told.priority.number())
    .bind(&told.title)
    .bind(&told.text)
    .bind(withheld)
    .execute(connection)
    .await?;
    Ok(queued.rows_affected())
}

/// Says of channels that something waits for them. One that has failed stays as it is: it is tried when its pause is over.
async fn wake(connection: &mut PgConnection, channels: &[(&str, &str)]) -> Result<(), StoreError> {
    let (organizations, names): (Vec<&str>, Vec<&str>) = channels.iter().copied().unzip();
    sqlx::query(
        "INSERT INTO argus.notification_gate AS g (organization, channel, wake)
         SELECT o, c, clock_timestamp() FROM unnest($1::text[], $2::text[]) AS t(o, c)
         ON CONFLICT (organization, channel) DO UPDATE
         SET wake = CASE WHEN g.failures > 0 AND g.wake < 'infinity' THEN g.wake ELSE least(g.wake, excluded.wake) END",
    )
    .bind(organizations)
    .bind(names)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives up what is more than an organization's queue holds: the least important first, and of those the oldest.
async fn make_room(connection: &mut PgConnection, organization: &str) -> Result<(), StoreError> {
    sqlx::query(
        "WITH waiting AS (
             SELECT id, row_number() OVER (ORDER BY priority DESC, position DESC, id) AS place FROM argus.notification
             WHERE organization = $1 AND state = 'waiting'),
         gone AS (
             DELETE FROM argus.notification n USING waiting w
             WHERE n.organization = $1 AND n.id = w.id AND w.place > $2 AND n.state = 'waiting' RETURNING n.channel)
         UPDATE argus.notification_gate g SET overflowed = g.overflowed + c.many
         FROM (SELECT channel, count(*) AS many FROM gone GROUP BY channel) c
         WHERE g.organization = $1 AND g.channel = c.channel",
    )
    .bind(organization)
    .bind(QUEUE_MAX)
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends all that waits for a channel for so many days.
async fn end_waiting(
    connection: &mut PgConnection,
    gate: &Gate,
    state: &str,
    why: &str,
    days: i32,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE argus.notification
         SET state = $3, done_at = clock_timestamp(), why = left($4 || COALESCE('; the last attempt: ' || why, ''), 500)
         WHERE organization = $1 AND channel = $2 AND state = 'waiting'
           AND created_at <= clock_timestamp() - make_interval(days => $5)",
    )
    .bind(&gate.organization)
    .bind(&gate.channel)
    .bind(state)
    .bind(why)
    .bind(days)
    .execute(connection)
    .await?;
    Ok(())
}
