//! Work on organizations: who takes which, what came of each, and when it is tried again. Every claim takes the next fence, and
//! the transaction that applies looks at it.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Row as _;

use super::{Holder, some};
use crate::agenda::Backoff;
use crate::failpoint::failpoint;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::store::Store;
use crate::store::error::{StoreError, sqlstate};
use crate::store::run::RunId;

/// How long a source that is undone again and again waits before it does the same once more.
const TRUCE: Backoff = Backoff { first: Duration::from_secs(120), longest: Duration::from_secs(3600) };

/// How long something is left alone that has failed.
pub const AGAIN: Backoff = Backoff { first: Duration::from_secs(4), longest: Duration::from_secs(900) };

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
    /// What came of it last, if it is only tried again: nobody has asked for it since.
    pub before: Option<Before>,
}

/// What came of an organization before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    outcome: String,
    findings: String,
    revision: Option<String>,
}

impl Before {
    /// Whether it is what came of it now, at this revision.
    pub fn is(&self, settled: &Settled, revision: Option<&str>) -> bool {
        let Before { outcome, findings, revision: at } = self;
        *outcome == settled.outcome && *findings == some(&settled.findings) && at.as_deref() == revision
    }
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

impl Store {
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
        let lock = "SELECT set_config('lock_timeout', '500ms', true),
                           pg_advisory_xact_lock(hashtextextended('argus.claim:' || $1, 0))";
        match sqlx::query(lock).bind(source).execute(&mut *transaction).await {
            // Whoever claims takes a moment for it. If they stand still, there may be something to do elsewhere.
            Err(error) if sqlstate(&error) == "55P03" => return Ok(None),
            locked => locked?,
        };
        let row = sqlx::query(
            "SELECT (SELECT count(DISTINCT batch) FROM argus.work
                     WHERE source = $1 AND holder IS NOT NULL AND argus.is_held(holder)),
                    EXISTS (SELECT FROM argus.work WHERE source = $1 AND organization = '' AND asked > answered
                                                     AND failures = 0),
                    gen_random_uuid()::text",
        )
        .bind(source)
        .fetch_one(&mut *transaction)
        .await?;
        let (under_way, shared_first): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
        let name: String = row.try_get(2)?;
        if under_way >= i64::from(at_once) {
            return Ok(None);
        }
        failpoint("controller.claiming", source);
        let due: Vec<(String, bool)> = sqlx::query_as(
            "SELECT organization, tries > 0 FROM argus.work
             WHERE source = $1 AND asked > answered AND due <= clock_timestamp()
               AND (holder IS NULL OR NOT argus.is_held(holder)) AND (organization = '' OR NOT $2)
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
             RETURNING organization, fence, asked, failures, undone,
                       CASE WHEN asked_at < tried_at THEN outcome END, findings::text, revision",
        )
        .bind(source)
        .bind(chosen.map(|(name, _)| name).collect::<Vec<String>>())
        .bind(holder.as_str())
        .bind(name)
        .fetch_all(&mut *transaction)
        .await?;
        // After everything that it may be an answer to: a look that finds something newer asks for these rows once more, and waits
        // for them to do so. An older revision would be taken for an answer to the newer one, which nobody would do any more.
        let revision = sqlx::query_scalar("SELECT revision FROM argus.source WHERE name = $1")
            .bind(source)
            .fetch_one(&mut *transaction)
            .await?;
        failpoint("controller.before_claimed", source);
        transaction.commit().await?;
        let mut items = BTreeMap::new();
        for row in &rows {
            let item = Item {
                fence: row.try_get(1)?,
                asked: row.try_get(2)?,
                failures: row.try_get::<i32, _>(3)?.unsigned_abs(),
                undone: row.try_get::<i32, _>(4)?.unsigned_abs(),
                before: match row.try_get::<Option<String>, _>(5)? {
                    Some(outcome) => Some(Before { outcome, findings: row.try_get(6)?, revision: row.try_get(7)? }),
                    None => None,
                },
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
                 WHERE source = $1 AND asked > answered AND outcome IN ('blocked', 'failed')
                   AND (holder IS NULL OR NOT argus.is_held(holder))",
            )
            .bind(&batch.source)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Gives back a batch that nothing came of: each organization is tried again after a while; by itself, if one of them may
    /// be to blame for the others.
    pub async fn give_back(&self, batch: &Batch, alone: bool, why: &[Finding]) -> Result<(), StoreError> {
        let after = batch.items.iter().map(|(name, item)| AGAIN.after(item.failures + 1, name).as_secs_f64());
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "UPDATE argus.work SET holder = NULL, batch = NULL, outcome = 'failed', findings = $5::text::json,
                    failures = failures + 1, tries = CASE WHEN $6 THEN tries ELSE 0 END, tried_at = clock_timestamp(),
                    due = clock_timestamp() + make_interval(secs => b.after)
             FROM unnest($2::text[], $3::bigint[], $4::float8[]) AS b(name, fence, after)
             WHERE source = $1 AND organization = b.name AND work.fence = b.fence AND holder IS NOT NULL",
        )
        .bind(&batch.source)
        .bind(batch.items.keys().map(ToString::to_string).collect::<Vec<String>>())
        .bind(batch.items.values().map(|item| item.fence).collect::<Vec<i64>>())
        .bind(after.collect::<Vec<f64>>())
        .bind(some(why))
        .bind(alone)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Notes what organizations of a batch are planned from: what was said of them before, and what is said now. Where
    /// somebody has asked for something newer meanwhile, that stays.
    pub async fn note_said(
        &self,
        batch: &Batch,
        said: &BTreeMap<OrganizationName, (String, String)>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        for (organization, (before, now)) in said {
            let Some(item) = batch.items.get(organization) else { continue };
            sqlx::query(
                "UPDATE argus.work SET said = $5 WHERE source = $1 AND organization = $2 AND fence = $3 AND said = $4",
            )
            .bind(&batch.source)
            .bind(&**organization)
            .bind(item.fence)
            .bind(before)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// As much of a text as a column holds.
fn cut(text: &str) -> String {
    text.chars().take(500).collect()
}
