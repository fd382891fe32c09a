//! What waits, what was sent and what was not, as `argus notify list` and `argus doctor` tell it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;

use super::super::Store;
use super::super::content;
use super::super::error::StoreError;
use crate::notification::Priority;

/// What became of a message so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is to be sent.
    Waiting,
    /// It was taken.
    Sent,
    /// It was not taken, and is not tried again.
    Failed,
    /// Its channel is disabled or gone.
    Dropped,
}

impl State {
    /// All.
    pub const ALL: &'static [State] = &[State::Waiting, State::Sent, State::Failed, State::Dropped];

    /// As the database writes it.
    pub fn word(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Sent => "sent",
            State::Failed => "failed",
            State::Dropped => "dropped",
        }
    }
}

/// A message of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// What became of it: `waiting`, `sent`, `failed` or `dropped`.
    pub state: String,
    /// The channel.
    pub channel: String,
    /// The rule.
    pub rule: String,
    /// The type of the event.
    #[serde(rename = "type")]
    pub of: String,
    /// What the event is about.
    pub subject: String,
    /// How much it matters: `low`, `normal`, `high` or `critical`.
    pub priority: String,
    /// How many like it were not told before it.
    pub withheld: i64,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was queued.
    pub created_at: String,
    /// When it is tried next.
    pub due: String,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<String>,
    /// Why the last attempt failed, or why there is none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How many messages there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// To be sent.
    pub waiting: i64,
    /// Not taken.
    pub failed: i64,
    /// Given up because a queue was full.
    pub overflowed: i64,
    /// Not told because of cooldowns that are still on.
    pub withheld: i64,
}

impl Store {
    /// The newest messages of an organization in one state, or in any; at most so many.
    pub async fn notifications(
        &self,
        organization: &str,
        state: Option<State>,
        at_most: i64,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let query = format!(
            "SELECT id::text, state, channel, rule, type, subject, priority, withheld, attempts, {}, {}, {}, why
             FROM argus.notification WHERE organization = $1 AND ($2::text IS NULL OR state = $2)
             ORDER BY state = 'waiting' DESC, COALESCE(done_at, created_at) DESC, position DESC, id LIMIT $3",
            content::moment("created_at"),
            content::moment("due"),
            content::moment("done_at"),
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(organization)
            .bind(state.map(State::word))
            .bind(at_most)
            .fetch_all(&mut *transaction)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Listed {
                    id: row.try_get(0)?,
                    state: row.try_get(1)?,
                    channel: row.try_get(2)?,
                    rule: row.try_get(3)?,
                    of: row.try_get(4)?,
                    subject: row.try_get(5)?,
                    priority: Priority::numbered(row.try_get(6)?).word().into(),
                    withheld: row.try_get(7)?,
                    attempts: row.try_get(8)?,
                    created_at: content::some_text(row, 9)?,
                    due: content::some_text(row, 10)?,
                    done_at: content::text(row, 11)?,
                    why: row.try_get(12)?,
                })
            })
            .collect()
    }

    /// How many messages of an organization, or of all, there are.
    pub async fn notification_tally(&self, organization: Option<&str>) -> Result<Tally, StoreError> {
        let mut transaction = self.reconciling().await?;
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM argus.notification
                     WHERE state = 'waiting' AND ($1::text IS NULL OR organization = $1)),
                    (SELECT count(*) FROM argus.notification
                     WHERE state = 'failed' AND ($1::text IS NULL OR organization = $1)),
                    (SELECT COALESCE(sum(overflowed), 0)::bigint FROM argus.notification_gate
                     WHERE $1::text IS NULL OR organization = $1),
                    (SELECT COALESCE(sum(withheld), 0)::bigint FROM argus.notification_quiet
                     WHERE $1::text IS NULL OR organization = $1)",
        )
        .bind(organization)
        .fetch_one(&mut *transaction)
        .await?;
        Ok(Tally {
            waiting: row.try_get(0)?,
            failed: row.try_get(1)?,
            overflowed: row.try_get(2)?,
            withheld: row.try_get(3)?,
        })
    }
}
