//! Reports: what forges are to be told. Of everything that is told of the same, the newest alone counts; whoever tells holds it by a
//! lease, and what was asked for meanwhile is told next.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::Store;
use super::error::StoreError;
use crate::model::code::Code;
use crate::model::revision::Revision;

/// For how long it is tried to tell something.
pub const TRIED_DAYS: i32 = 3;

/// For how long it is remembered what was told.
const KEPT_DAYS: i32 = 90;

/// What is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A commit, under a name.
    Status {
        /// The commit.
        commit: String,
        /// The name.
        context: String,
        /// How it stands: `pending`, `success`, `failure`.
        state: String,
        /// Where to read on.
        target: Option<String>,
    },
    /// What is asked for under a number.
    Comment {
        /// The number.
        number: i64,
    },
}

/// What a forge is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The source whose forge it is.
    pub source: String,
    /// What it is about.
    pub about: About,
    /// What is said.
    pub text: String,
}

/// A report that somebody holds.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// What is told.
    pub report: Report,
    /// What the forge calls the comment, if it was told before.
    pub remote: Option<String>,
    /// How many attempts have failed in a row.
    pub failures: i32,
    asked: i64,
    fence: i64,
}

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told; and what the forge calls the comment.
    Told(Option<String>),
    /// It will never be taken, for this reason.
    Refused(String),
    /// It is told after so long; and why this attempt failed.
    Again(Duration, String),
}

/// How it stands with the revision of a source that was found last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many organizations have not been tried at it.
    pub waiting: i64,
    /// How many were tried and wait nevertheless, by what came of it: `held`, `denied`, `failed`, …
    pub unsettled: BTreeMap<String, i64>,
    /// How many are as it says.
    pub settled: i64,
    /// How many were looked at and left as they are, because the source only reports.
    pub observed: i64,
    /// How many mistakes are of no single organization.
    pub errors: i64,
    /// Why it does not lead on from what was applied, if it does not.
    pub rewound: Option<String>,
}

impl About {
    fn key(&self) -> (&'static str, String, &str) {
        match self {
            About::Status { commit, context, .. } => ("status", commit.clone(), context),
            About::Comment { number } => ("comment", number.to_string(), ""),
        }
    }
}

impl Store {
    /// Asks for a report.
    pub async fn ask_report(&self, report: &Report) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        ask(&mut transaction, report).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Says how it stands with the revision of a source that was found last, in the words that are given for it. Two who do so at
    /// the same time do it one after the other, so that the later one knows more.
    pub async fn report_standing(
        &self,
        source: &str,
        target: Option<&str>,
        words: impl Fn(&Standing) -> (&'static str, String),
    ) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        one_after_the_other(&mut transaction, source).await?;
        let found: Option<(String, i64, Option<String>)> = sqlx::query_as(
            "SELECT revision, (SELECT count(*) FROM json_array_elements(findings) f WHERE f ->> 'severity' = 'error'),
                    (SELECT f ->> 'message' FROM json_array_elements(findings) f WHERE f ->> 'code' = $2 LIMIT 1)
             FROM argus.source WHERE name = $1 AND failures = 0 AND revision IS NOT NULL",
        )
        .bind(source)
        .bind(Code::Rewound.to_string())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((revision, errors, rewound)) = found else { return Ok(()) };
        let Some((_, commit)) = Revision::parts(&revision) else { return Ok(()) };
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT CASE WHEN asked <= answered AND outcome = 'observed' THEN 'observed'
                         WHEN asked <= answered THEN 'settled'
                         WHEN outcome IS NULL OR revision IS DISTINCT FROM $2 THEN 'waiting'
                         ELSE outcome END, count(*)
             FROM argus.work WHERE source = $1 AND organization <> '' GROUP BY 1",
        )
        .bind(source)
        .bind(&revision)
        .fetch_all(&mut *transaction)
        .await?;
        let mut standing = Standing { errors, rewound, ..Standing::default() };
        for (word, many) in rows {
            match word.as_str() {
                "settled" => standing.settled = many,
                "waiting" => standing.waiting = many,
                "observed" => standing.observed += many,
                _ => drop(standing.unsettled.insert(word, many)),
            }
        }
        ask(&mut transaction, &of_commit(source, commit, target, words(&standing))).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Says how it stands with a commit that was not found to be the revision of its source.
    pub async fn report_commit(
        &self,
        source: &str,
        commit: &str,
        target: Option<&str>,
        words: (&'static str, String),
    ) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        one_after_the_other(&mut transaction, source).await?;
        ask(&mut transaction, &of_commit(source, commit, target, words)).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Takes the report of each of these sources that has been due for longest.
    pub async fn claim_reports(&self, sources: &[&str], lease: Duration) -> Result<Vec<Claimed>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let rows = sqlx::query(
            "WITH due AS (
                 SELECT d.* FROM unnest($1::text[]) AS s(source)
                 CROSS JOIN LATERAL (
                     SELECT r.source, r.kind, r.subject, r.context FROM argus.report r
                     WHERE r.source = s.source AND r.asked > r.told AND r.due <= clock_timestamp()
                       AND r.held_until <= clock_timestamp()
                     ORDER BY r.due, r.asked_at LIMIT 1 FOR UPDATE SKIP LOCKED) d)
             UPDATE argus.report r
             SET held_until = clock_timestamp() + make_interval(secs => $2), fence = r.fence + 1
             FROM due d
             WHERE r.source = d.source AND r.kind = d.kind AND r.subject = d.subject AND r.context = d.context
             RETURNING r.source, r.kind, r.subject, r.context, r.state, r.target, r.text, r.remote, r.failures, r.asked, r.fence",
        )
        .bind(sources)
        .bind(lease.as_secs_f64())
        .fetch_all(&mut *transaction)
        .await?;
        let claimed = rows.iter().map(claimed).collect::<Result<_, StoreError>>()?;
        transaction.commit().await?;
        Ok(claimed)
    }

    /// Notes what became of a report. Says whether it was still held: if not, somebody else tells it.
    pub async fn note_report(&self, claimed: &Claimed, outcome: &Outcome) -> Result<bool, StoreError> {
        let (kind, subject, context) = claimed.report.about.key();
        let (done, after, why, remote) = match outcome {
            Outcome::Told(remote) => (true, Duration::ZERO, None, remote.as_deref()),
            Outcome::Refused(why) => (true, Duration::ZERO, Some(why), None),
            Outcome::Again(after, why) => (false, *after, Some(why), None),
        };
        let mut transaction = self.reconciling().await?;
        let noted = sqlx::query(
            "UPDATE argus.report
             SET told = CASE WHEN $7 THEN $6 ELSE told END, failures = CASE WHEN $7 THEN 0 ELSE failures + 1 END,
                 due = clock_timestamp() + make_interval(secs => $8), why = left($9, 500),
                 remote = COALESCE(left($10, 100), remote), held_until = '-infinity'
             WHERE source = $1 AND kind = $2 AND subject = $3 AND context = $4 AND fence = $5
               AND held_until > clock_timestamp()",
        )
        .bind(&claimed.report.source)
        .bind(kind)
        .bind(subject)
        .bind(context)
        .bind(claimed.fence)
        .bind(claimed.asked)
        .bind(done)
        .bind(after.as_secs_f64())
        .bind(why)
        .bind(remote)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(noted.rows_affected() > 0)
    }

    /// Gives up what could not be told for long, and forgets what was told long ago. Gives how many were given up.
    pub async fn forget_reports(&self) -> Result<u64, StoreError> {
        let mut transaction = self.reconciling().await?;
        let given_up = sqlx::query(
            "UPDATE argus.report
             SET told = asked, failures = 0, why = left(format('not taken within %s days: %s', $1, why), 500)
             WHERE asked > told AND asked_at < clock_timestamp() - make_interval(days => $1)
               AND held_until <= clock_timestamp()",
        )
        .bind(TRIED_DAYS)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM argus.report
             WHERE asked <= told AND asked_at < clock_timestamp() - make_interval(days => $1)",
        )
        .bind(KEPT_DAYS)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(given_up.rows_affected())
    }
}

/// Waits for whoever says how it stands with a source at the same time.
async fn one_after_the_other(connection: &mut PgConnection, source: &str) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('argus.report:' || $1, 0))")
        .bind(source)
        .execute(connection)
        .await?;
    Ok(())
}

/// The report of how it stands with a commit of a source.
fn of_commit(source: &str, commit: &str, target: Option<&str>, (state, text): (&'static str, String)) -> Report {
    let (context, state) = (format!("argus/{source}"), state.to_owned());
    let about = About::Status { commit: commit.into(), context, state, target: target.map(str::to_owned) };
    Report { source: source.into(), about, text }
}

/// Asks for a report within a transaction of somebody's. What was told like this already is not told again.
pub(super) async fn ask(connection: &mut PgConnection, report: &Report) -> Result<(), StoreError> {
    let (kind, subject, context) = report.about.key();
    let (state, target) = match &report.about {
        About::Status { state, target, .. } => (Some(state), target.as_ref()),
        About::Comment { .. } => (None, None),
    };
    sqlx::query(
        "INSERT INTO argus.report AS r (source, kind, subject, context, state, text, target)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (source, kind, subject, context) DO UPDATE
         SET state = excluded.state, text = excluded.text, target = excluded.target, asked = r.asked + 1,
             asked_at = clock_timestamp(), due = CASE WHEN r.failures > 0 THEN r.due ELSE clock_timestamp() END
         WHERE r.why IS NOT NULL OR (r.state, r.text, r.target)
             IS DISTINCT FROM (excluded.state, excluded.text, excluded.target)",
    )
    .bind(&report.source)
    .bind(kind)
    .bind(subject)
    .bind(context)
    .bind(state)
    .bind(&report.text)
    .bind(target)
    .execute(connection)
    .await?;
    Ok(())
}

fn claimed(row: &PgRow) -> Result<Claimed, StoreError> {
    let (kind, subject): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    let about = match kind.as_str() {
        "comment" => About::Comment { number: subject.parse().unwrap_or_default() },
        _ => {
            About::Status { commit: subject, context: row.try_get(3)?, state: row.try_get(4)?, target: row.try_get(5)? }
        }
    };
    Ok(Claimed {
        report: Report { source: row.try_get(0)?, about, text: row.try_get(6)? },
        remote: row.try_get(7)?,
        failures: row.try_get(8)?,
        asked: row.try_get(9)?,
        fence: row.try_get(10)?,
    })
}
