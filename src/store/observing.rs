//! What a relay tells of the database to whoever watches over it: outbox, drift, the audit, and how the last runs ended.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::Store;
use super::error::StoreError;
use crate::event::telling::{DRIFT, SOURCE};

/// How long each question may take: a database that is busy is not kept busy by those who watch it.
const STATEMENT_TIME_MAX: Duration = Duration::from_secs(5);

/// For how long a run that has ended is told as one that has lately. Whoever looks more seldom misses some.
const LATELY: Duration = Duration::from_secs(600);

/// How many organizations that are not ready are told one by one.
pub const UNREADY_MAX: i64 = 200;

/// How a source was left by its last run.
#[derive(Clone, Debug, PartialEq)]
pub struct LastRun {
    /// Its name.
    pub source: String,
    /// Whether it took back another one.
    pub rolls_back: bool,
    /// How it ended: `succeeded`, `partial`, `failed`, `held`, …
    pub outcome: String,
    /// When it ended, as seconds since 1970.
    pub ended: f64,
    /// The commit, where it was of one: `main@sha1:…`.
    pub revision: Option<String>,
}

/// A run that has ended lately.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Its id.
    pub run: String,
    /// Its source.
    pub source: String,
    /// Whether it took back another one.
    pub rolls_back: bool,
    /// How it ended.
    pub outcome: String,
    /// How long it took, in seconds.
    pub took: f64,
}

/// When runs of a source last ended in a way.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnds {
    /// The source.
    pub source: String,
    /// Whether they took back others.
    pub rolls_back: bool,
    /// How they ended.
    pub outcome: String,
    /// When the last of them did, as seconds since 1970.
    pub at: f64,
}

/// How it goes with a source that the controller looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSeen {
    /// Its name.
    pub name: String,
    /// How many looks have failed in a row.
    pub failures: i32,
    /// How long ago the last one with success was, in seconds.
    pub look_age: Option<f64>,
    /// How many organizations wait since something has moved, and how many because they could not be applied.
    pub waiting: (i64, i64),
    /// For how long the oldest has been due that nobody works on, in seconds.
    pub oldest: f64,
    /// How many organizations somebody else changes back.
    pub fighting: i64,
    /// How many organizations are in which state: `applied`, `waiting`, `held`, …
    pub states: BTreeMap<String, i64>,
    /// The revision that was found last.
    pub revision: Option<String>,
}

/// What is seen.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The sources of the controller.
    pub sources: Vec<SourceSeen>,
    /// How many replicas of the controller are there.
    pub replicas: i64,
    /// How the sources were left.
    pub runs: Vec<LastRun>,
    /// When runs of each source that ended this way last did, of those that are not too long ago.
    pub ends: Vec<RunEnds>,
    /// The sources that cannot be read or trusted now.
    pub stalled: Vec<String>,
    /// The runs that have ended lately.
    pub ended: Vec<Ended>,
    /// How many organizations they left in which state, of sources that the controller does not look at: it tells of whole sources.
    pub organizations: Vec<(String, String, i64)>,
    /// Some of those that were not applied: source, organization, and what became of it (`held`, `failed`, …).
    pub unready: Vec<(String, String, String)>,
    /// How many resources have drifted and were left so, by source and kind.
    pub drift: Vec<(String, String, i64)>,
    /// How many rows of the audit are not sealed.
    pub unsealed: i64,
    /// How many chains end behind their last signed head.
    pub unsigned: i64,
    /// How long ago a head was signed, in seconds.
    pub head_age: Option<f64>,
    /// How many events each sink has refused for good.
    pub undeliverable: Vec<(String, i64)>,
    /// How many messages wait for channels, and how many channels did not take the last one.
    pub notifications: (i64, i64),
    /// How many reports wait for the forge of each source, and for how long the oldest does, in seconds.
    pub reports: Vec<(String, i64, f64)>,
    /// How many events wait for each sink, and for how long the oldest does, in seconds.
    pub backlog: Vec<(String, i64, f64)>,
}

/// Among how many runs of a source it is looked for when one last ended in some way.
const ENDS_AMONG: i64 = 200;

/// All sources that have runs, one step along the index for each, however many runs there are.
const SOURCES: &str = "
    RECURSIVE sources(source) AS (
        SELECT min(source) FROM argus.run
        UNION ALL
        SELECT (SELECT min(r.source) FROM argus.run r WHERE r.source > s.source) FROM sources s WHERE s.source IS NOT NULL)";

/// The last run of each source that has ended.
const LAST: &str = "
    SELECT l.* FROM sources s CROSS JOIN LATERAL (
        SELECT r.source, r.id AS run, r.rolls_back IS NOT NULL AS rolls_back, r.outcome,
               extract(epoch FROM r.finished_at)::float8 AS ended, r.revision
        FROM argus.run r WHERE r.source = s.source AND r.finished_at IS NOT NULL AND r.outcome IS NOT NULL
        ORDER BY r.started_at DESC LIMIT 1) l";

/// A row of these: source, run, whether it took back another one, outcome, when it ended, revision.
type Row = (String, String, bool, String, f64, Option<String>);

/// Of a run that is called `l`: whether the controller does not look at its source.
const UNWATCHED: &str = "NOT EXISTS (SELECT FROM argus.source watched WHERE watched.name = l.source)";

impl Store {
    /// Looks at everything that metrics tell of the database.
    pub async fn observe(&self) -> Result<Observed, StoreError> {
        let mut transaction = self.reconciling().await?;
        let limit = format!("SET LOCAL statement_timeout = {}", STATEMENT_TIME_MAX.as_millis());
        sqlx::raw_sql(AssertSqlSafe(limit)).execute(&mut *transaction).await?;
        let last = format!("WITH {SOURCES} {LAST} ORDER BY l.source");
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(last)).fetch_all(&mut *transaction).await?;
        let run = |(source, _, rolls_back, outcome, ended, revision): Row| LastRun {
            source,
            rolls_back,
            outcome,
            ended,
            revision,
        };
        let runs = rows.into_iter().map(run).collect();
        let ends = format!(
            "WITH {SOURCES}
             SELECT l.source, l.rolls_back, l.outcome, extract(epoch FROM max(l.finished_at))::float8
             FROM sources s CROSS JOIN LATERAL (
                 SELECT r.source, r.rolls_back IS NOT NULL AS rolls_back, r.outcome, r.finished_at
                 FROM argus.run r WHERE r.source = s.source AND r.finished_at IS NOT NULL AND r.outcome IS NOT NULL
                 ORDER BY r.started_at DESC LIMIT $1) l
             GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        );
        let ends: Vec<(String, bool, String, f64)> =
            sqlx::query_as(AssertSqlSafe(ends)).bind(ENDS_AMONG).fetch_all(&mut *transaction).await?;
        let end = |(source, rolls_back, outcome, at)| RunEnds { source, rolls_back, outcome, at };
        let ends = ends.into_iter().map(end).collect();
        let rows: Vec<(String, String, bool, String, f64)> = sqlx::query_as(
            "SELECT id, source, rolls_back IS NOT NULL, outcome, extract(epoch FROM finished_at - started_at)::float8
             FROM argus.run WHERE finished_at > clock_timestamp() - make_interval(secs => $1) AND outcome IS NOT NULL
               -- Along the index: what began before has ended before, or is told of by nobody.
               AND started_at > clock_timestamp() - interval '1 day'
             ORDER BY finished_at, id",
        )
        .bind(LATELY.as_secs_f64())
        .fetch_all(&mut *transaction)
        .await?;
        let ended = |(run, source, rolls_back, outcome, took)| Ended { run, source, rolls_back, outcome, took };
        let ended = rows.into_iter().map(ended).collect();
        let organizations = format!(
            "WITH {SOURCES}
             SELECT l.source, o.outcome, count(*) FROM ({LAST}) l JOIN argus.run_organization o ON o.run = l.run
             WHERE {UNWATCHED} GROUP BY 1, 2 ORDER BY 1, 2"
        );
        let organizations = sqlx::query_as(AssertSqlSafe(organizations)).fetch_all(&mut *transaction).await?;
        let unready = format!(
            "(WITH {SOURCES}
              SELECT l.source, o.organization, o.outcome FROM ({LAST}) l JOIN argus.run_organization o ON o.run = l.run
              WHERE o.outcome <> 'applied' AND {UNWATCHED} ORDER BY 1, 2 LIMIT $1)
             UNION ALL
             (SELECT source, organization, outcome FROM argus.work
              WHERE organization <> '' AND (asked > answered AND outcome NOT IN ('applied', 'unchanged') OR outcome = 'observed')
              ORDER BY 1, 2 LIMIT $1)
             ORDER BY 1, 2 LIMIT $1"
        );
        let unready = sqlx::query_as(AssertSqlSafe(unready));
        let unready = unready.bind(UNREADY_MAX).fetch_all(&mut *transaction).await?;
        let drift = sqlx::query_as(
            "SELECT source, split_part(substr(matter, length($1) + 1), '/', 1), count(*) FROM argus.told
             WHERE starts_with(matter, $1) GROUP BY 1, 2 ORDER BY 1, 2",
        );
        let drift = drift.bind(DRIFT).fetch_all(&mut *transaction).await?;
        let stalled =
            sqlx::query_scalar("SELECT source FROM argus.told WHERE organization = '' AND matter = $1 ORDER BY 1");
        let stalled = stalled.bind(SOURCE).fetch_all(&mut *transaction).await?;
        let unsealed = sqlx::query_scalar(
            "SELECT count(*) FROM argus.unsealed u
             JOIN argus.audit a ON a.organization = u.organization AND a.version = u.version
             LEFT JOIN argus.seal s
               ON s.organization = a.organization AND s.version = a.version AND s.ordinal = a.ordinal
             WHERE s.organization IS NULL",
        );
        let unsealed = unsealed.fetch_one(&mut *transaction).await?;
        let (unsigned, head_age) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM argus.chain c
                     WHERE c.sequence > 0 AND NOT EXISTS (SELECT FROM argus.head h
                         WHERE h.organization = c.organization AND h.sequence = c.sequence)),
                    (SELECT extract(epoch FROM clock_timestamp() - max(at))::float8 FROM argus.head)",
        )
        .fetch_one(&mut *transaction)
        .await?;
        let undeliverable = sqlx::query_as(
            "SELECT s.name, count(u.position) FROM argus.sink s
                            LEFT JOIN argus.undeliverable u ON u.sink = s.name GROUP BY s.name ORDER BY s.name",
        )
        .fetch_all(&mut *transaction)
        .await?;
        let notifications = sqlx::query_as(
            "SELECT (SELECT count(*) FROM argus.notification WHERE state = 'waiting'),
                    (SELECT count(*) FROM argus.notification_gate WHERE failures > 0)",
        );
        let notifications = notifications.fetch_one(&mut *transaction).await?;
        let reports = sqlx::query_as(
            "SELECT source, count(*), extract(epoch FROM clock_timestamp() - min(asked_at))::float8
             FROM argus.report WHERE asked > told GROUP BY source ORDER BY source",
        );
        let reports = reports.fetch_all(&mut *transaction).await?;
        let backlog = super::events::backlog(&mut transaction).await?;
        let (sources, replicas) = super::queue::listed::seen(&mut transaction).await?;
        Ok(Observed {
            sources,
            replicas,
            ended,
            stalled,
            runs,
            ends,
            organizations,
            unready,
            drift,
            unsealed,
            unsigned,
            head_age,
            undeliverable,
            notifications,
            reports,
            backlog,
        })
    }
}
