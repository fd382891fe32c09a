//! Asking for something to be done, and how far it is with that.

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::{FIGHT_ROUNDS, read_findings};
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::store::Store;
use crate::store::error::StoreError;

/// What somebody has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The source.
    pub source: String,
    /// The organization, if only one was meant.
    pub organization: Option<String>,
    /// Whether there is any controller that could hear it.
    pub somebody_is_there: bool,
    number: i64,
    at: DateTime<Utc>,
}

/// How far it is with that.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Whether all was looked at and tried.
    pub done: bool,
    /// Whether the source cannot be looked at.
    pub failed: bool,
    /// What came of organizations that were asked for since, or that wait.
    pub outcomes: Vec<(OrganizationName, String)>,
    /// What is to be known of the source, and what is wrong with those that are not as they should be.
    pub findings: Vec<Finding>,
}

impl Store {
    /// Asks for a look at a source. Gives whether there is one of this name.
    pub async fn wake_source(&self, name: &str) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let known = sqlx::query_scalar("SELECT argus.wake_source($1)").bind(name).fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(known)
    }

    /// Asks for work on an organization of a source. Gives whether the source knows it.
    pub async fn wake_organization(&self, source: &str, organization: &str) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let woken: i64 = sqlx::query_scalar("SELECT argus.wake_organization($1, $2)")
            .bind(source)
            .bind(organization)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(woken > 0)
    }

    /// Asks for a look at a source, or for work on one of its organizations; none where there is no such thing.
    pub async fn ask(&self, source: &str, organization: Option<&str>) -> Result<Option<Asked>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let query = match organization {
            None => "SELECT argus.wake_source($1) AND $2::text IS NULL",
            Some(_) => "SELECT argus.wake_organization($1, $2) > 0",
        };
        let known: bool =
            sqlx::query_scalar(query).bind(source).bind(organization).fetch_one(&mut *transaction).await?;
        let (number, at, somebody_is_there) = sqlx::query_as(
            "SELECT COALESCE((SELECT asked FROM argus.source WHERE name = $1), 0), clock_timestamp(),
                    EXISTS (SELECT FROM argus.replica WHERE valid_until > clock_timestamp())",
        )
        .bind(source)
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let (source, organization) = (source.to_owned(), organization.map(str::to_owned));
        Ok(known.then_some(Asked { source, organization, number, at, somebody_is_there }))
    }

    /// How far it is with what was asked for.
    pub async fn progress(&self, asked: &Asked) -> Result<Progress, StoreError> {
        let Asked { source, organization, number, at, somebody_is_there: _ } = asked;
        let mut transaction = self.reconciling().await?;
        let row = sqlx::query(
            "SELECT answered >= $2, failures > 0 AND looked_at > $3, findings::text FROM argus.source WHERE name = $1",
        )
        .bind(source)
        .bind(number)
        .bind(at)
        .fetch_one(&mut *transaction)
        .await?;
        let (answered, failed): (bool, Option<bool>) = (row.try_get(0)?, row.try_get(1)?);
        let failed = failed.unwrap_or(false) && organization.is_none();
        let rows = sqlx::query(
            "SELECT organization, COALESCE(outcome, ''), findings::text, asked > answered AND (tried_at IS NULL OR tried_at < $3)
             FROM argus.work WHERE source = $1 AND ($2::text IS NULL OR organization = $2)
               AND (asked_at > $3 OR tried_at > $3 OR asked > answered)
             ORDER BY organization",
        )
        .bind(source)
        .bind(organization)
        .bind(at)
        .fetch_all(&mut *transaction)
        .await?;
        let mut progress =
            Progress { failed, done: failed || answered || organization.is_some(), ..Progress::default() };
        if organization.is_none() {
            progress.findings = read_findings(&row, 2)?;
        }
        if failed {
            return Ok(progress);
        }
        for row in &rows {
            if row.try_get(3)? {
                progress.done = false;
            }
            let outcome: String = row.try_get(1)?;
            if !matches!(outcome.as_str(), "applied" | "unchanged" | "observed") {
                progress.findings.extend(read_findings(row, 2)?);
            }
            progress.outcomes.push((row.try_get::<String, _>(0)?.into(), outcome));
        }
        Ok(progress)
    }

    /// Asks for work on every organization whose rows somebody has moved since they were last looked at. Gives how many.
    pub async fn wake_what_moved(&self) -> Result<u64, StoreError> {
        let mut transaction = self.reconciling().await?;
        let woken = sqlx::query(
            "UPDATE argus.work w
             SET asked = w.asked + 1, asked_at = clock_timestamp(), version = m.version,
                 -- One that somebody undoes again and again waits for its turn.
                 due = CASE WHEN w.undone >= $1 THEN GREATEST(w.due, clock_timestamp()) ELSE clock_timestamp() END
             FROM (SELECT w.source, w.organization, c.version FROM argus.work w
                   JOIN argus.clock c ON c.organization = w.organization AND c.version IS DISTINCT FROM w.version
                   WHERE w.holder IS NULL OR NOT argus.is_held(w.holder)
                   FOR UPDATE OF w SKIP LOCKED) m
             WHERE w.source = m.source AND w.organization = m.organization",
        )
        .bind(FIGHT_ROUNDS.cast_signed())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(woken.rows_affected())
    }
}
