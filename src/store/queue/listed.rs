//! What the queue tells those who watch: the sources, the organizations that wait, and figures of both.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Row as _};

use super::presence::REPLICAS;
use super::{FIGHT_ROUNDS, read_findings};
use crate::model::finding::Finding;
use crate::store::Store;
use crate::store::content::{self, moment};
use crate::store::error::StoreError;
use crate::store::observing::SourceSeen;

/// How often in a row something has to fail before it is told apart from what will perhaps do the next time.
pub const QUARANTINE_FAILURES: i32 = 5;

/// The most organizations that are listed.
const LISTED_MAX: i64 = 10_000;

/// A source that controllers look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceItem {
    /// Its name.
    pub name: String,
    /// What it is: `git`, `cluster`.
    pub form: String,
    /// `Ready`; `Reconciling` while something of it is looked at or worked on; `Degraded` where some of its organizations are
    /// not as they should be; `Stalled` where it cannot be read or trusted; `Unknown` before the first look.
    pub state: String,
    /// What was found last: `main@sha1:…`.
    pub revision: Option<String>,
    /// How many organizations it has.
    pub organizations: i64,
    /// How many of them wait.
    pub waiting: i64,
    /// When it was last looked at.
    pub looked_at: Option<String>,
    /// When it was last looked at with success.
    pub succeeded_at: Option<String>,
    /// How many looks have failed in a row.
    pub failures: i32,
    /// What is wrong with it as a whole.
    pub findings: Vec<Finding>,
}

/// An organization of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkItem {
    /// The source.
    pub source: String,
    /// The organization; empty for what all share.
    pub organization: String,
    /// `Ready`; `Waiting` or `Working`; what has become of it (`Held`, `Denied`, `Stopped`, `Blocked`, `Failed`, `Stale`);
    /// `Quarantined` after many failures in a row; `Fighting` where somebody undoes it again and again.
    pub state: String,
    /// How often in a row it has ended badly.
    pub failures: i32,
    /// When it was last tried.
    pub tried_at: Option<String>,
    /// When it is tried again; nothing where nothing is left to do.
    pub due: Option<String>,
    /// The revision that was tried last.
    pub revision: Option<String>,
    /// Why it is in that state.
    pub message: Option<String>,
    /// What is to be known of it.
    pub findings: Vec<Finding>,
}

impl Store {
    /// The sources, by name.
    pub async fn source_items(&self) -> Result<Vec<SourceItem>, StoreError> {
        let query = format!(
            "SELECT s.name, s.form, s.findings::text, s.revision, s.failures, {}, {},
                    COALESCE(w.organizations, 0), COALESCE(w.waiting, 0), COALESCE(w.unready, 0), COALESCE(w.fresh, 0),
                    argus.is_held(s.holder) OR s.asked > s.answered, s.looked_at IS NULL
             FROM argus.source s
             LEFT JOIN (SELECT source, count(*) FILTER (WHERE organization <> '') AS organizations,
                               count(*) FILTER (WHERE asked > answered) AS waiting,
                               count(*) FILTER (WHERE asked > answered AND outcome NOT IN ('applied', 'unchanged')) AS unready,
                               count(*) FILTER (WHERE asked > answered AND outcome IS NULL
                                                   OR outcome IN ('applied', 'unchanged') AND asked > answered) AS fresh
                        FROM argus.work GROUP BY source) w ON w.source = s.name
             ORDER BY s.name COLLATE \"C\"",
            moment("s.looked_at"),
            moment("s.succeeded_at"),
        );
        let mut planning = self.planning().await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&mut *planning.transaction).await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            let (failures, unready, fresh): (i32, i64, i64) = (row.try_get(4)?, row.try_get(9)?, row.try_get(10)?);
            let (busy, unknown): (bool, bool) = (row.try_get(11)?, row.try_get(12)?);
            let state = match () {
                () if failures > 0 => "Stalled",
                () if unknown => "Unknown",
                () if busy || fresh > 0 => "Reconciling",
                () if unready > 0 => "Degraded",
                () => "Ready",
            };
            items.push(SourceItem {
                name: content::some_text(row, 0)?,
                form: content::some_text(row, 1)?,
                state: state.into(),
                revision: content::text(row, 3)?,
                organizations: row.try_get(7)?,
                waiting: row.try_get(8)?,
                looked_at: content::text(row, 5)?,
                succeeded_at: content::text(row, 6)?,
                failures,
                findings: read_findings(row, 2)?,
            });
        }
        Ok(items)
    }

    /// The organizations that wait or that somebody fights over; or all of them, those that wait first.
    pub async fn work_items(&self, all: bool) -> Result<Vec<WorkItem>, StoreError> {
        let query = format!(
            "SELECT w.source, w.organization, w.outcome, w.failures, {}, CASE WHEN w.asked > w.answered THEN {} END,
                    w.revision, w.findings::text, argus.is_held(w.holder), w.asked > w.answered,
                    w.undone >= $2 AND w.undone_at > clock_timestamp() - interval '1 hour', w.undone, w.undone_what, w.undone_by
             FROM argus.work w
             WHERE $1 OR w.asked > w.answered OR (w.undone >= $2 AND w.undone_at > clock_timestamp() - interval '1 hour')
             ORDER BY w.asked <= w.answered, w.source COLLATE \"C\", w.organization COLLATE \"C\" LIMIT $3",
            moment("w.tried_at"),
            moment("w.due"),
        );
        let mut planning = self.planning().await?;
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(all)
            .bind(FIGHT_ROUNDS.cast_signed())
            .bind(LISTED_MAX)
            .fetch_all(&mut *planning.transaction)
            .await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            let (outcome, failures): (Option<String>, i32) = (content::text(row, 2)?, row.try_get(3)?);
            let (held, waits, fights): (bool, bool, Option<bool>) =
                (row.try_get(8)?, row.try_get(9)?, row.try_get(10)?);
            let findings = read_findings(row, 7)?;
            let fight = fights.unwrap_or(false).then(|| fight(row)).transpose()?;
            let state = match outcome.as_deref() {
                _ if fight.is_some() => "Fighting".to_owned(),
                _ if held => "Working".to_owned(),
                _ if failures >= QUARANTINE_FAILURES => "Quarantined".to_owned(),
                Some("applied" | "unchanged") | None if waits => "Waiting".to_owned(),
                Some("applied" | "unchanged" | "observed") | None => "Ready".to_owned(),
                Some(outcome) => capitalized(outcome),
            };
            items.push(WorkItem {
                source: content::some_text(row, 0)?,
                organization: content::some_text(row, 1)?,
                state,
                failures,
                tried_at: content::text(row, 4)?,
                due: content::text(row, 5)?,
                revision: content::text(row, 6)?,
                message: fight.or_else(|| findings.first().map(|finding| finding.message.clone())),
                findings,
            });
        }
        Ok(items)
    }
}

/// How it goes with all sources, and how many replicas are there.
pub(in crate::store) async fn seen(connection: &mut PgConnection) -> Result<(Vec<SourceSeen>, i64), StoreError> {
    let rows = sqlx::query(
        "SELECT s.name, s.failures, extract(epoch FROM clock_timestamp() - s.succeeded_at)::float8,
                COALESCE(w.new, 0), COALESCE(w.again, 0), GREATEST(COALESCE(w.oldest, 0), 0), COALESCE(w.fighting, 0),
                s.revision
         FROM argus.source s
         LEFT JOIN (SELECT source,
                           count(*) FILTER (WHERE asked > answered AND (outcome IS NULL OR outcome IN ('applied', 'unchanged')))
                               AS new,
                           count(*) FILTER (WHERE asked > answered AND outcome NOT IN ('applied', 'unchanged')) AS again,
                           extract(epoch FROM clock_timestamp() - min(due)
                               FILTER (WHERE asked > answered
                                         AND (holder IS NULL OR NOT argus.is_held(holder))))::float8 AS oldest,
                           count(*) FILTER (WHERE undone >= $1 AND undone_at > clock_timestamp() - interval '1 hour') AS fighting
                    FROM argus.work GROUP BY source) w ON w.source = s.name
         ORDER BY s.name",
    )
    .bind(FIGHT_ROUNDS.cast_signed())
    .fetch_all(&mut *connection)
    .await?;
    // What is done over again, whatever for, is as it was left; what something new is said of is not.
    let states: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT source, CASE WHEN asked > answered AND (outcome IS NULL OR outcome IN ('applied', 'unchanged')) THEN 'waiting'
                             WHEN outcome IS NULL OR outcome = 'unchanged' THEN 'applied' ELSE outcome END, count(*)
         FROM argus.work WHERE organization <> '' GROUP BY 1, 2",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut states_of: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for (source, state, many) in states {
        states_of.entry(source).or_default().insert(state, many);
    }
    let mut sources = Vec::with_capacity(rows.len());
    for row in &rows {
        let name: String = row.try_get(0)?;
        sources.push(SourceSeen {
            states: states_of.remove(&name).unwrap_or_default(),
            revision: row.try_get(7)?,
            name,
            failures: row.try_get(1)?,
            look_age: row.try_get(2)?,
            waiting: (row.try_get(3)?, row.try_get(4)?),
            oldest: row.try_get(5)?,
            fighting: row.try_get(6)?,
        });
    }
    let replicas = sqlx::query_scalar(REPLICAS).fetch_one(connection).await?;
    Ok((sources, replicas))
}

/// What two do to each other again and again.
fn fight(row: &sqlx::postgres::PgRow) -> Result<String, StoreError> {
    let times: i32 = row.try_get(11)?;
    let what = content::text(row, 12)?.unwrap_or_default();
    let by = content::text(row, 13)?.filter(|by| !by.is_empty()).unwrap_or_else(|| "somebody".into());
    Ok(format!("{by} has changed {what} back {times} times; it is corrected ever more seldom"))
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
