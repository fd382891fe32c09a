//! What has happened, for people: the newest events, as long as they are kept.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sqlx::Row as _;

use crate::store::Store;
use crate::store::content::{self, moment};
use crate::store::error::StoreError;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventItem {
    /// When it happened.
    pub at: String,
    /// Its id, which it has wherever it goes.
    pub id: String,
    /// Its type: `resource.created`.
    #[serde(rename = "type")]
    pub of: String,
    /// The organization; empty for runs and sources.
    pub organization: String,
    /// What it is about.
    pub subject: String,
    /// The run that told it.
    pub run: Option<String>,
    /// What it carries.
    pub data: Json,
}

/// Which events are listed.
#[derive(Clone, Debug, Default)]
pub struct EventFilter<'a> {
    /// Those of this organization.
    pub organization: Option<&'a str>,
    /// Those whose type begins like this.
    pub of: Option<&'a str>,
    /// Those that are no older than this.
    pub within: Option<Duration>,
    /// At most so many.
    pub most: u32,
}

impl Store {
    /// The newest events, the oldest of them first.
    pub async fn newest_events(&self, filter: &EventFilter<'_>) -> Result<Vec<EventItem>, StoreError> {
        let EventFilter { organization, of, within, most } = filter;
        let query = format!(
            "SELECT {}, e.id::text, e.type, e.organization, e.subject, e.run, e.data::text FROM argus.event e
             WHERE ($1::text IS NULL OR e.organization = $1) AND ($2::text IS NULL OR starts_with(e.type, $2))
               AND ($3::float8 IS NULL OR e.at >= clock_timestamp() - make_interval(secs => $3))
             ORDER BY e.at DESC, e.organization DESC, e.position DESC LIMIT $4",
            moment("e.at")
        );
        let mut planning = self.planning().await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(organization)
            .bind(of)
            .bind(within.map(|within| within.as_secs_f64()))
            .bind(i64::from(*most))
            .fetch_all(&mut *planning.transaction)
            .await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in rows.iter().rev() {
            events.push(EventItem {
                at: content::some_text(row, 0)?,
                id: row.try_get(1)?,
                of: row.try_get(2)?,
                organization: content::some_text(row, 3)?,
                subject: content::some_text(row, 4)?,
                run: content::text(row, 5)?,
                data: serde_json::from_str(&row.try_get::<String, _>(6)?).unwrap_or_default(),
            });
        }
        Ok(events)
    }
}
