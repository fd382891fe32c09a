//! Looks at sources: who makes one, what it has found, and which organizations are asked for because of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row as _};

use super::{FIGHT_ROUNDS, Holder, some};
use crate::agenda::Facts;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::store::Store;
use crate::store::error::StoreError;

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
    /// The object that names it, if one does.
    pub named_by: Option<String>,
}

/// Whose the name of a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the object's own.
    Own,
    /// Another object has it.
    Others(String),
    /// The settings of a machine list it.
    Machine,
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

impl Store {
    /// Notes that there is such a source, by the word of the machine: no object names it any more. It is looked at as soon as
    /// somebody can.
    pub async fn enroll(&self, name: &str, form: &str) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "INSERT INTO argus.source AS s (name, form) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET form = excluded.form, named_by = NULL
                 WHERE s.form <> excluded.form OR s.named_by IS NOT NULL",
        )
        .bind(name)
        .bind(form)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Notes that an object names such a source, unless the name is somebody else's: then it gives who that is. An object
    /// has one name: others that it had are free again, if nothing was ever applied under them. Where the object says something
    /// else than when it was last noticed, a look is asked for.
    pub async fn claim_source(&self, name: &str, form: &str, by: &str, said: &str) -> Result<Claim, StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "INSERT INTO argus.source (name, form, named_by) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(form)
        .bind(by)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM argus.source s
             WHERE s.named_by = $2 AND s.name <> $1 AND NOT argus.is_held(s.holder)
               AND NOT EXISTS (SELECT FROM argus.applied a WHERE a.source = s.name)",
        )
        .bind(name)
        .bind(by)
        .execute(&mut *transaction)
        .await?;
        let whose: Option<String> = sqlx::query_scalar("SELECT named_by FROM argus.source WHERE name = $1")
            .bind(name)
            .fetch_one(&mut *transaction)
            .await?;
        if whose.as_deref() == Some(by) {
            sqlx::query(
                "WITH moved AS (
                     UPDATE argus.source SET asked = CASE WHEN named_as IS NULL THEN asked ELSE asked + 1 END, named_as = $2
                     WHERE name = $1 AND named_as IS DISTINCT FROM $2 RETURNING name)
                 SELECT pg_notify('argus_work', '') FROM moved",
            )
            .bind(name)
            .bind(said)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(match whose {
            Some(whose) if whose == by => Claim::Own,
            Some(whose) => Claim::Others(whose),
            None => Claim::Machine,
        })
    }

    /// Gives the name of a source from one object to another one. Says whether it was still the first one's.
    pub async fn hand_over_source(&self, name: &str, from: &str, to: &str) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let handed = sqlx::query(
            "UPDATE argus.source SET named_by = $3, named_as = NULL, asked = asked + 1 WHERE name = $1 AND named_by = $2",
        )
            .bind(name)
            .bind(from)
            .bind(to)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(handed.rows_affected() > 0)
    }

    /// All sources, as they are now. To ask whether somebody is there is dear, so it is asked of those that have a holder.
    pub async fn sources(&self) -> Result<Sources, StoreError> {
        let mut transaction = self.reconciling().await?;
        let rows = sqlx::query(
            "SELECT s.name, s.asked, s.answered, s.looked_at, s.full_at, s.failures, argus.is_held(s.holder), s.revision,
                    COALESCE(w.waiting, 0), w.due, COALESCE(w.worked_on, false), s.named_by
             FROM argus.source s
             LEFT JOIN (SELECT source, count(*) AS waiting,
                               bool_or(holder IS NOT NULL AND argus.is_held(holder)) AS worked_on,
                               min(due) FILTER (WHERE holder IS NULL OR NOT argus.is_held(holder)) AS due
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
                named_by: row.try_get(11)?,
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
                "DELETE FROM argus.work WHERE source = $1 AND NOT organization = ANY ($2)
                   AND (holder IS NULL OR NOT argus.is_held(holder))",
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

    /// Notes that a look has failed, and why. Whoever has asked for it is answered by that. Says whether it counts: not where
    /// somebody else has the source by now.
    pub async fn look_failed(&self, look: &Look, findings: &[Finding]) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let noted = sqlx::query(
            "UPDATE argus.source
             SET looked_at = clock_timestamp(), failures = failures + 1, findings = $3::text::json, holder = NULL,
                 answered = GREATEST(answered, $4)
             WHERE name = $1 AND fence = $2 AND holder IS NOT NULL",
        )
        .bind(&look.source)
        .bind(look.fence)
        .bind(some(findings))
        .bind(look.asked)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(noted.rows_affected() > 0)
    }

    /// Whether somebody waits for a look at a source.
    pub async fn is_asked_for(&self, source: &str) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let waits: Option<bool> = sqlx::query_scalar("SELECT asked > answered FROM argus.source WHERE name = $1")
            .bind(source)
            .fetch_optional(&mut *transaction)
            .await?;
        Ok(waits.unwrap_or(true))
    }

    /// What was last asked for of organizations of a source, of these or of all: what was said of them, and the version of
    /// their rows.
    pub async fn asked_for(
        &self,
        source: &str,
        only: Option<&BTreeSet<OrganizationName>>,
    ) -> Result<BTreeMap<OrganizationName, (String, i64)>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT organization, said, version FROM argus.work
             WHERE source = $1 AND said IS NOT NULL AND version IS NOT NULL
               AND ($2::text[] IS NULL OR organization = ANY ($2))",
        )
        .bind(source)
        .bind(only.map(|only| only.iter().map(ToString::to_string).collect::<Vec<String>>()))
        .fetch_all(&mut *transaction)
        .await?;
        Ok(rows.into_iter().map(|(name, said, version)| (name.into(), (said, version))).collect())
    }
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
