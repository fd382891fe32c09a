//! The queue of the controller: sources to look at, organizations to work on, and the leases of those who do.
//!
//! A replica says every few seconds that it is there. What it holds is its own as long as the database believes that: all
//! moments are those of the database, and a name whose time has passed never counts again. Every claim takes the next fence,
//! and the transaction that applies looks at it.

pub mod listed;
pub mod said;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::Store;
use super::error::StoreError;
use super::observing::SourceSeen;
use super::run::RunId;
use crate::agenda::{Backoff, Facts};
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};

/// How long a source that is undone again and again waits before it does the same once more.
const TRUCE: Backoff = Backoff { first: Duration::from_secs(120), longest: Duration::from_secs(3600) };

/// How many replicas are there, each with its workers.
const REPLICAS: &str = "SELECT count(DISTINCT regexp_replace(name, '/[^/]*$', '')) FROM argus.replica
                        WHERE valid_until > clock_timestamp()";

/// The most findings that are kept of a source or an organization.
const FINDINGS_MAX: usize = 20;

/// Who works, as the database sees it. Each worker of a replica is somebody by itself: what one of them has lost track of is
/// free as soon as it goes on under another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder(Arc<str>);

impl Holder {
    /// Somebody of this name, which nobody else has or has ever had. What stands before the last `/` is the replica.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Holder(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// All sources, as of one moment of the database.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The moment.
    pub now: DateTime<Utc>,
    /// By name.
    pub sources: BTreeMap<String, SourceState>,
}

/// What is known of a source.
#[derive(Clone, Debug)]
pub struct SourceState {
    /// What decides when it is due.
    pub facts: Facts,
    /// Whether somebody looks at it now.
    pub held: bool,
    /// Whether somebody works on its organizations now.
    pub worked_on: bool,
    /// What was found last.
    pub revision: Option<String>,
    /// How many of its organizations wait, and since when the first one may be worked on.
    pub waiting: i64,
    /// When the first of those that wait is due.
    pub due: Option<DateTime<Utc>>,
}

impl SourceState {
    /// Whether others may build on it: it was looked at with success, and nothing of it waits.
    pub fn is_through(&self) -> bool {
        self.facts.looked_at.is_some() && self.facts.failures == 0 && self.waiting == 0
    }
}

/// A look at a source that somebody may take now.
#[derive(Clone, Debug)]
pub struct Look {
    /// The source.
    pub source: String,
    /// Which requests it answers.
    pub asked: i64,
    /// What makes the result count.
    pub fence: i64,
    /// What was found last time.
    pub revision: Option<String>,
}

/// What a look has found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The commit, as it is shown.
    pub revision: Option<String>,
    /// Whether it was made without shortcuts.
    pub full: bool,
    /// What is wrong with the source as a whole.
    pub findings: Vec<Finding>,
    /// The organizations that have moved.
    pub moved: Vec<Moved>,
    /// All that there are, where that is known for certain: others are forgotten.
    pub all: Option<Vec<OrganizationName>>,
    /// The commit that the source stands at from now on; none leaves it where it was.
    pub commit: Option<String>,
}

/// An organization of which something has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its name.
    pub organization: OrganizationName,
    /// The digest of what the source says of it.
    pub said: String,
    /// The version of its rows.
    pub version: i64,
}

/// Organizations that somebody works on together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The source.
    pub source: String,
    /// Who works.
    pub holder: Holder,
    /// The revision that was found last.
    pub revision: Option<String>,
    /// The organizations.
    pub items: BTreeMap<OrganizationName, Item>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What makes an apply count.
    pub fence: i64,
    /// Which requests are answered.
    pub asked: i64,
    /// How often in a row it has ended badly.
    pub failures: u32,
    /// How often in a row somebody else has undone it.
    pub undone: u32,
}

/// What came of an organization.
#[derive(Clone, Debug)]
pub struct Settled {
    /// In a word: `applied`, `held`, `failed`, …
    pub outcome: &'static str,
    /// Why.
    pub findings: Vec<Finding>,
    /// When to try again; none where nothing is left to do.
    pub again: Option<Duration>,
    /// Whether it counts as a failure.
    pub failed: bool,
    /// Whether there is nothing of it any more.
    pub gone: bool,
    /// The version of its rows that was looked at; where they were written, the run knows the one after that.
    pub version: Option<i64>,
    /// What somebody else has undone, and who, if this run had to do it again.
    pub undone: Option<Undone>,
}

/// What somebody else has undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The resource.
    pub what: String,
    /// Who, and through what.
    pub by: String,
}

/// How often somebody has to undo what a source says before both are taken to be fighting.
pub const FIGHT_ROUNDS: u32 = 3;

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
    /// Says that somebody begins to work, and for how long that is believed.
    pub async fn arrive(&self, holder: &Holder, lease: Duration) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "INSERT INTO argus.replica (name, valid_until) VALUES ($1, clock_timestamp() + make_interval(secs => $2))",
        )
        .bind(holder.as_str())
        .bind(lease.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
        // Whoever is gone for long is of no interest.
        sqlx::query("DELETE FROM argus.replica WHERE valid_until < clock_timestamp() - interval '1 day'")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Says that some are still there, and for how long that is believed. Gives those who are: whose time has passed has lost
    /// all that they held.
    pub async fn beat(&self, holders: &[Holder], lease: Duration) -> Result<Vec<Holder>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let alive: Vec<String> = sqlx::query_scalar(
            "UPDATE argus.replica SET valid_until = clock_timestamp() + make_interval(secs => $2)
             WHERE name = ANY ($1) AND valid_until > clock_timestamp() RETURNING name",
        )
        .bind(names(holders))
        .bind(lease.as_secs_f64())
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(alive.into_iter().map(Holder::new).collect())
    }

    /// Gives back all that some hold: others need not wait until their time has passed.
    pub async fn leave(&self, holders: &[Holder]) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query("DELETE FROM argus.replica WHERE name = ANY ($1)")
            .bind(names(holders))
            .execute(&mut *transaction)
            .await?;
        sqlx::query("SELECT pg_notify('argus_work', '')").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Whether a replica is there with any of its workers.
    pub async fn is_there(&self, replica: &str) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let query = "SELECT EXISTS (SELECT FROM argus.replica
                                    WHERE starts_with(name, $1 || '/') AND valid_until > clock_timestamp())";
        Ok(sqlx::query_scalar(query).bind(replica).fetch_one(&mut *transaction).await?)
    }

    /// How many replicas are there.
    pub async fn replicas(&self) -> Result<usize, StoreError> {
        let mut transaction = self.reconciling().await?;
        let many: i64 = sqlx::query_scalar(REPLICAS).fetch_one(&mut *transaction).await?;
        Ok(many.max(0) as usize)
    }

    /// Notes that there is such a source. It is looked at as soon as somebody can.
    pub async fn enroll(&self, name: &str, form: &str) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "INSERT INTO argus.source AS s (name, form) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET form = excluded.form WHERE s.form <> excluded.form",
        )
        .bind(name)
        .bind(form)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

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
                   WHERE NOT argus.is_held(w.holder)
                   FOR UPDATE OF w SKIP LOCKED) m
             WHERE w.source = m.source AND w.organization = m.organization",
        )
        .bind(FIGHT_ROUNDS.cast_signed())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(woken.rows_affected())
    }

    /// All sources, as they are now.
    pub async fn sources(&self) -> Result<Sources, StoreError> {
        let mut transaction = self.reconciling().await?;
        let rows = sqlx::query(
            "SELECT s.name, s.asked, s.answered, s.looked_at, s.full_at, s.failures, argus.is_held(s.holder), s.revision,
                    COALESCE(w.waiting, 0), w.due, COALESCE(w.worked_on, false)
             FROM argus.source s
             LEFT JOIN (SELECT source, count(*) AS waiting, bool_or(argus.is_held(holder)) AS worked_on,
                               min(due) FILTER (WHERE NOT argus.is_held(holder)) AS due
                        FROM argus.work WHERE asked > answered GROUP BY source) w ON w.source = s.name
             ORDER BY s.name",
        )
        .fetch_all(&mut *transaction)
        .await?;
        let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *transaction).await?;
        let mut sources = BTreeMap::new();
        for row in &rows {
            let name: String = row.try_get(0)?;
            let facts = Facts {
                name: name.clone(),
                asked: row.try_get(1)?,
                answered: row.try_get(2)?,
                looked_at: row.try_get(3)?,
                full_at: row.try_get(4)?,
                failures: row.try_get::<i32, _>(5)?.unsigned_abs(),
            };
            let state = SourceState {
                facts,
                held: row.try_get(6)?,
                revision: row.try_get(7)?,
                waiting: row.try_get(8)?,
                due: row.try_get(9)?,
                worked_on: row.try_get(10)?,
            };
            sources.insert(name, state);
        }
        Ok(Sources { now, sources })
    }

    /// Takes a source to look at it, unless somebody else does.
    pub async fn take_source(&self, name: &str, holder: &Holder) -> Result<Option<Look>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let row = sqlx::query(
            "UPDATE argus.source SET holder = $2, fence = fence + 1
             WHERE name = $1 AND NOT argus.is_held(holder) AND argus.is_held($2)
             RETURNING asked, fence, revision",
        )
        .bind(name)
        .bind(holder.as_str())
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let (asked, fence, revision) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Some(Look { source: name.to_owned(), asked, fence, revision }))
    }

    /// Notes what a look has found, and asks for work on what has moved. Gives how much that is; nothing where somebody else
    /// has the source by now.
    pub async fn looked(&self, look: &Look, found: &Found) -> Result<Option<usize>, StoreError> {
        let Found { revision, full, findings, moved, all, commit } = found;
        let mut transaction = self.reconciling().await?;
        let counts = sqlx::query(
            "UPDATE argus.source
             SET answered = GREATEST(answered, $3), looked_at = clock_timestamp(), succeeded_at = clock_timestamp(),
                 full_at = CASE WHEN $4 THEN clock_timestamp() ELSE full_at END,
                 failures = 0, findings = $5::text::json, revision = $6, holder = NULL
             WHERE name = $1 AND fence = $2 AND holder IS NOT NULL",
        )
        .bind(&look.source)
        .bind(look.fence)
        .bind(look.asked)
        .bind(full)
        .bind(some(findings))
        .bind(revision)
        .execute(&mut *transaction)
        .await?;
        if counts.rows_affected() == 0 {
            return Ok(None);
        }
        if look.revision != *revision {
            // What could not be done may be possible now; and what was only reported may have to be done.
            sqlx::query(
                "UPDATE argus.work SET due = clock_timestamp(),
                        asked = CASE WHEN outcome = 'observed' THEN GREATEST(asked, answered + 1) ELSE asked END
                 WHERE source = $1 AND (asked > answered OR outcome = 'observed')",
            )
            .bind(&look.source)
            .execute(&mut *transaction)
            .await?;
        }
        if let Some(all) = all {
            let names: Vec<String> = all.iter().map(ToString::to_string).collect();
            sqlx::query(
                "DELETE FROM argus.work WHERE source = $1 AND NOT organization = ANY ($2) AND NOT argus.is_held(holder)",
            )
            .bind(&look.source)
            .bind(names)
            .execute(&mut *transaction)
            .await?;
        }
        enqueue(&mut transaction, &look.source, moved).await?;
        if let Some(commit) = commit {
            stand_at(&mut transaction, &look.source, commit).await?;
        }
        if !moved.is_empty() {
            sqlx::query("SELECT pg_notify('argus_work', '')").execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(Some(moved.len()))
    }

    /// Notes that a look has failed, and why.
    pub async fn look_failed(&self, look: &Look, findings: &[Finding]) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "UPDATE argus.source
             SET looked_at = clock_timestamp(), failures = failures + 1, findings = $3::text::json, holder = NULL
             WHERE name = $1 AND fence = $2 AND holder IS NOT NULL",
        )
        .bind(&look.source)
        .bind(look.fence)
        .bind(some(findings))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// What was last asked for of the organizations of a source: what was said of them, and the version of their rows.
    pub async fn asked_for(&self, source: &str) -> Result<BTreeMap<OrganizationName, (String, i64)>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT organization, said, version FROM argus.work
             WHERE source = $1 AND said IS NOT NULL AND version IS NOT NULL",
        )
        .bind(source)
        .fetch_all(&mut *transaction)
        .await?;
        Ok(rows.into_iter().map(|(name, said, version)| (name.into(), (said, version))).collect())
    }

    /// Takes organizations of a source that are due, up to so many, unless enough is under way. What all share comes alone
    /// and before all others, who refer to it; and so does whatever somebody has begun without coming to an end, so that it
    /// drags nothing else along.
    pub async fn claim_work(
        &self,
        source: &str,
        holder: &Holder,
        at_once: u16,
        most: usize,
    ) -> Result<Option<Batch>, StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('argus.claim:' || $1, 0))")
            .bind(source)
            .execute(&mut *transaction)
            .await?;
        let row = sqlx::query(
            "SELECT (SELECT count(DISTINCT batch) FROM argus.work
                     WHERE source = $1 AND holder IS NOT NULL AND argus.is_held(holder)),
                    EXISTS (SELECT FROM argus.work WHERE source = $1 AND organization = '' AND asked > answered
                                                     AND failures = 0),
                    gen_random_uuid()::text, (SELECT revision FROM argus.source WHERE name = $1)",
        )
        .bind(source)
        .fetch_one(&mut *transaction)
        .await?;
        let (under_way, shared_first): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
        let (name, revision): (String, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
        if under_way >= i64::from(at_once) {
            return Ok(None);
        }
        let due: Vec<(String, bool)> = sqlx::query_as(
            "SELECT organization, tries > 0 FROM argus.work
             WHERE source = $1 AND asked > answered AND due <= clock_timestamp()
               AND NOT argus.is_held(holder) AND (organization = '' OR NOT $2)
             ORDER BY organization <> '', tries > 0, due, organization LIMIT $3 FOR UPDATE SKIP LOCKED",
        )
        .bind(source)
        .bind(shared_first)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&mut *transaction)
        .await?;
        let Some((first, begun)) = due.first().cloned() else { return Ok(None) };
        let alone = first.is_empty() || begun;
        let chosen = due.into_iter().filter(|(name, begun)| *name == first || !(alone || *begun));
        let rows = sqlx::query(
            "UPDATE argus.work SET holder = $3, batch = $4, fence = fence + 1, tries = tries + 1, anew = false
             WHERE source = $1 AND organization = ANY ($2) AND argus.is_held($3)
             RETURNING organization, fence, asked, failures, undone",
        )
        .bind(source)
        .bind(chosen.map(|(name, _)| name).collect::<Vec<String>>())
        .bind(holder.as_str())
        .bind(name)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let mut items = BTreeMap::new();
        for row in &rows {
            let item = Item {
                fence: row.try_get(1)?,
                asked: row.try_get(2)?,
                failures: row.try_get::<i32, _>(3)?.unsigned_abs(),
                undone: row.try_get::<i32, _>(4)?.unsigned_abs(),
            };
            items.insert(row.try_get::<String, _>(0)?.into(), item);
        }
        let batch = Batch { source: source.to_owned(), holder: holder.clone(), revision, items };
        Ok(Some(batch).filter(|batch| !batch.items.is_empty()))
    }

    /// Notes what came of organizations, in this run if there was one. What somebody else holds by now is left to them.
    pub async fn settle_work(
        &self,
        batch: &Batch,
        run: Option<&RunId>,
        settled: &BTreeMap<OrganizationName, Settled>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        for (name, settled) in settled {
            let Some(item) = batch.items.get(name) else { continue };
            let Settled { outcome, findings, again, failed, gone, version, undone } = settled;
            if *gone {
                sqlx::query(
                    "DELETE FROM argus.work WHERE source = $1 AND organization = $2 AND fence = $3 AND asked = $4",
                )
                .bind(&batch.source)
                .bind(&**name)
                .bind(item.fence)
                .bind(item.asked)
                .execute(&mut *transaction)
                .await?;
            }
            let rounds = if undone.is_some() { item.undone + 1 } else { item.undone };
            let rest =
                if rounds >= FIGHT_ROUNDS { TRUCE.after(rounds + 1 - FIGHT_ROUNDS, name) } else { Duration::ZERO };
            sqlx::query(
                "UPDATE argus.work w
                 SET holder = NULL, batch = NULL, tries = 0, tried_at = clock_timestamp(),
                     answered = CASE WHEN $5::float8 IS NULL THEN GREATEST(answered, $4) ELSE answered END,
                     -- Whoever has asked meanwhile is heard at once, but for a fight.
                     due = clock_timestamp() + make_interval(secs =>
                               CASE WHEN asked > $4 AND anew THEN 0 WHEN asked > $4 THEN $6 ELSE COALESCE($5, $6) END),
                     failures = CASE WHEN $7 THEN failures + 1 ELSE 0 END,
                     outcome = $8, findings = $9::text::json, revision = $10,
                     version = COALESCE((SELECT r.version FROM argus.run_organization r
                                         WHERE r.run = $11 AND r.organization = $2 AND r.outcome = 'applied'), $12, version),
                     undone = CASE WHEN $13::text IS NULL THEN undone
                                   WHEN undone_at > clock_timestamp() - interval '1 hour' THEN undone + 1 ELSE 1 END,
                     undone_what = COALESCE($13, undone_what), undone_by = COALESCE($14, undone_by),
                     undone_at = CASE WHEN $13::text IS NULL THEN undone_at ELSE clock_timestamp() END
                 WHERE source = $1 AND organization = $2 AND fence = $3 AND holder IS NOT NULL",
            )
            .bind(&batch.source)
            .bind(&**name)
            .bind(item.fence)
            .bind(item.asked)
            .bind(again.map(|again| again.as_secs_f64()))
            .bind(rest.as_secs_f64())
            .bind(failed)
            .bind(*outcome)
            .bind(some(findings))
            .bind(&batch.revision)
            .bind(run.map(RunId::as_str))
            .bind(version)
            .bind(undone.as_ref().map(|undone| cut(&undone.what)))
            .bind(undone.as_ref().map(|undone| cut(&undone.by)))
            .execute(&mut *transaction)
            .await?;
        }
        if settled.get(GLOBAL).is_some_and(|shared| shared.outcome == "applied") {
            // What was missing to others may be there now.
            sqlx::query(
                "UPDATE argus.work SET due = clock_timestamp()
                 WHERE source = $1 AND asked > answered AND outcome IN ('blocked', 'failed') AND NOT argus.is_held(holder)",
            )
            .bind(&batch.source)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Gives back a batch that nothing came of: each is tried again after a while, by itself.
    pub async fn give_back(&self, batch: &Batch, after: Duration, why: &[Finding]) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "UPDATE argus.work SET holder = NULL, batch = NULL, outcome = 'failed', findings = $5::text::json,
                    failures = failures + 1, tried_at = clock_timestamp(),
                    due = clock_timestamp() + make_interval(secs => $4)
             FROM unnest($2::text[], $3::bigint[]) AS b(name, fence)
             WHERE source = $1 AND organization = b.name AND work.fence = b.fence AND holder IS NOT NULL",
        )
        .bind(&batch.source)
        .bind(batch.items.keys().map(ToString::to_string).collect::<Vec<String>>())
        .bind(batch.items.values().map(|item| item.fence).collect::<Vec<i64>>())
        .bind(after.as_secs_f64())
        .bind(some(why))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// How it goes with all sources, and how many replicas are there.
pub(super) async fn seen(connection: &mut PgConnection) -> Result<(Vec<SourceSeen>, i64), StoreError> {
    let rows = sqlx::query(
        "SELECT s.name, s.failures, extract(epoch FROM clock_timestamp() - s.succeeded_at)::float8,
                COALESCE(w.new, 0), COALESCE(w.again, 0), GREATEST(COALESCE(w.oldest, 0), 0), COALESCE(w.fighting, 0)
         FROM argus.source s
         LEFT JOIN (SELECT source,
                           count(*) FILTER (WHERE asked > answered AND (outcome IS NULL OR outcome IN ('applied', 'unchanged')))
                               AS new,
                           count(*) FILTER (WHERE asked > answered AND outcome NOT IN ('applied', 'unchanged')) AS again,
                           extract(epoch FROM clock_timestamp() - min(due)
                               FILTER (WHERE asked > answered AND NOT argus.is_held(holder)))::float8 AS oldest,
                           count(*) FILTER (WHERE undone >= $1 AND undone_at > clock_timestamp() - interval '1 hour') AS fighting
                    FROM argus.work GROUP BY source) w ON w.source = s.name
         ORDER BY s.name",
    )
    .bind(FIGHT_ROUNDS.cast_signed())
    .fetch_all(&mut *connection)
    .await?;
    let mut sources = Vec::with_capacity(rows.len());
    for row in &rows {
        sources.push(SourceSeen {
            name: row.try_get(0)?,
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

async fn enqueue(connection: &mut PgConnection, source: &str, moved: &[Moved]) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO argus.work AS w (source, organization, said, version)
         SELECT $1, m.organization, m.said, m.version FROM unnest($2::text[], $3::text[], $4::bigint[])
             AS m(organization, said, version)
         ON CONFLICT (source, organization) DO UPDATE
             SET asked = w.asked + 1, asked_at = clock_timestamp(),
                 -- One that somebody undoes again and again waits for its turn, unless the source says something new.
                 due = CASE WHEN w.undone >= $5 AND w.said = excluded.said THEN GREATEST(w.due, clock_timestamp())
                            ELSE clock_timestamp() END,
                 anew = w.anew OR w.said IS DISTINCT FROM excluded.said,
                 said = excluded.said, version = excluded.version",
    )
    .bind(source)
    .bind(moved.iter().map(|moved| moved.organization.to_string()).collect::<Vec<String>>())
    .bind(moved.iter().map(|moved| moved.said.clone()).collect::<Vec<String>>())
    .bind(moved.iter().map(|moved| moved.version).collect::<Vec<i64>>())
    .bind(FIGHT_ROUNDS.cast_signed())
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves where a source stands to a commit. Organizations that are not through stay where they stood, and those that are
/// come along: of them it says nothing else than the commit that they were applied from.
async fn stand_at(connection: &mut PgConnection, source: &str, commit: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO argus.organization_baseline (source, organization, commit)
         SELECT w.source, w.organization, b.commit FROM argus.work w JOIN argus.source_baseline b ON b.source = w.source
         WHERE w.source = $1 AND NOT (w.asked = w.answered AND w.outcome IN ('applied', 'unchanged'))
         ON CONFLICT (source, organization) DO NOTHING",
    )
    .bind(source)
    .execute(&mut *connection)
    .await?;
    // Before anything of it was applied there is nothing to move.
    let moved =
        sqlx::query("UPDATE argus.source_baseline SET commit = $2 WHERE source = $1 AND commit IS DISTINCT FROM $2")
            .bind(source)
            .bind(commit)
            .execute(&mut *connection)
            .await?;
    if moved.rows_affected() > 0 {
        sqlx::query(
            "DELETE FROM argus.organization_baseline b USING argus.work w
             WHERE b.source = $1 AND w.source = b.source AND w.organization = b.organization
               AND w.asked = w.answered AND w.outcome IN ('applied', 'unchanged')",
        )
        .bind(source)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Findings as a column holds them.
fn read_findings(row: &PgRow, column: usize) -> Result<Vec<Finding>, StoreError> {
    let text: String = row.try_get(column)?;
    // What another version has written may look different; that it failed is told all the same.
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

fn names(holders: &[Holder]) -> Vec<String> {
    holders.iter().map(|holder| holder.as_str().to_owned()).collect()
}

/// The first of some findings, as the columns hold them.
fn some(findings: &[Finding]) -> String {
    let first = &findings[..findings.len().min(FINDINGS_MAX)];
    serde_json::to_string(first).unwrap_or_else(|_| "[]".into())
}

/// As much of a text as a column holds.
fn cut(text: &str) -> String {
    text.chars().take(500).collect()
}
