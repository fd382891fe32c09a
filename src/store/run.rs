//! Runs, the lock of a source, and the invitations that memberships leave behind.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Row as _};

use super::baselines::Moves;
use super::error::StoreError;
use super::events::Teller;
use super::{Store, events};
use crate::event::Draft;
use crate::event::telling::Lasting;
use crate::model::id::OrganizationName;
use crate::model::revision::Revision;
use crate::model::value::Value;
use crate::plan::sha256_hex;

/// How often somebody who waits for a lock looks again.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// How many invitations are issued at once.
const INVITATIONS_MAX: i64 = 10_000;

/// The id of a run. Whoever starts the run makes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(Arc<str>);

impl RunId {
    /// A run of this id.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        RunId(id.into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of a run when it begins.
#[derive(Clone, Debug)]
pub struct RunStart<'a> {
    /// Its id.
    pub run: &'a RunId,
    /// The source.
    pub source: &'a str,
    /// Who started it.
    pub actor: &'a str,
    /// The digest of the plan that it applies.
    pub plan_digest: &'a str,
    /// The digest of the rules that judged it.
    pub rules_digest: &'a str,
    /// Whether there were policies, or should have been.
    pub policed: bool,
    /// Whether the guards were overruled.
    pub forced: bool,
    /// The run that it rolls back, if it is a rollback.
    pub rolls_back: Option<&'a RunId>,
    /// The commit that its plan was made of, if there is one.
    pub revision: Option<&'a Revision>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub struct RunEnd<'a> {
    /// In a word: `succeeded`, `partial`, or why nothing was applied.
    pub outcome: &'a str,
    /// A summary for people.
    pub summary: &'a Value,
    /// Which commits its organizations stand at from now on.
    pub moves: Option<&'a Moves>,
    /// What is told of it.
    pub told: &'a Draft,
}

/// The run that another one rolls back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollsBack {
    /// Its id.
    pub run: RunId,
    /// Whether it was a rollback itself, so that rolling it back brings back what the source had said.
    pub brings_back: bool,
}

/// An invitation with its token, which is stored nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The organization.
    pub organization: OrganizationName,
    /// The address.
    pub email: Arc<str>,
    /// The token, in hex: to be sent and forgotten.
    pub token: String,
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invitation({}, {}, token hidden)", self.organization, self.email)
    }
}

/// The lock of a source, held until this is dropped.
#[derive(Debug)]
pub struct SourceLock {
    // The lock belongs to the session: it goes when the connection is closed, however that happens.
    connection: Option<sqlx::PgConnection>,
}

impl SourceLock {
    /// Gives the lock back and waits until that is done. Dropping does the same without waiting.
    pub async fn release(mut self) {
        if let Some(connection) = self.connection.take() {
            // A connection that cannot be closed in order is cut by dropping it, which frees the lock as well.
            let _ = connection.close().await;
        }
    }
}

impl Store {
    /// Notes that a run begins.
    pub async fn begin_run(&self, start: &RunStart<'_>) -> Result<(), StoreError> {
        let RunStart { run, source, actor, plan_digest, rules_digest, policed, forced, rolls_back, revision } = start;
        let commit = revision.map(|revision| serde_json::to_string(&revision.commit).unwrap_or_default());
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "INSERT INTO argus.run (id, source, actor, plan_digest, forced, rules_digest, policed, rolls_back, revision, commit)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb) ON CONFLICT (id) DO NOTHING",
        )
        .bind(run.as_str())
        .bind(*source)
        .bind(*actor)
        .bind(*plan_digest)
        .bind(*forced)
        .bind(*rules_digest)
        .bind(*policed)
        .bind(rolls_back.map(RunId::as_str))
        .bind(revision.map(|revision| revision.to_string()))
        .bind(commit)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Notes how a run ended.
    pub async fn finish_run(&self, run: &RunId, end: &RunEnd<'_>) -> Result<(), StoreError> {
        let RunEnd { outcome, summary, moves, told } = end;
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "UPDATE argus.run SET finished_at = clock_timestamp(), outcome = $2, summary = $3::text::jsonb WHERE id = $1",
        )
        .bind(run.as_str())
        .bind(*outcome)
        .bind(summary.to_string())
        .execute(&mut *transaction)
        .await?;
        events::tell(&mut transaction, "", Some(run.as_str()), std::slice::from_ref(told)).await?;
        if let Some(moves) = moves {
            moves.write(&mut transaction, run).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Notes what became of an organization that was not applied: `held`, `failed`, `stale`. What is to be told of it is
    /// told once for a source, as long as it is the same.
    pub async fn note_organization(
        &self,
        run: &RunId,
        organization: &str,
        outcome: &str,
        message: &str,
        told: Option<(&str, &Lasting)>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.reconciling().await?;
        sqlx::query(
            "INSERT INTO argus.run_organization (run, organization, outcome, message) VALUES ($1, $2, $3, $4)
             ON CONFLICT (run, organization) DO UPDATE SET outcome = excluded.outcome, message = excluded.message
             WHERE run_organization.outcome <> 'applied'",
        )
        .bind(run.as_str())
        .bind(organization)
        .bind(outcome)
        .bind(message)
        .execute(&mut *transaction)
        .await?;
        if let Some((source, lasting)) = told {
            let teller = Teller { run: Some(run.as_str()), source, organization };
            teller.tell_lasting(&mut transaction, std::slice::from_ref(lasting)).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Takes the lock of a source, so that no two runs work on it at once.
    pub async fn source_lock(&self, source: &str, timeout: Duration) -> Result<SourceLock, StoreError> {
        let started = Instant::now();
        // A connection of its own: the pool must not hand the lock's session to somebody else.
        let mut connection = self.dedicated_connection().await?;
        loop {
            let taken: bool =
                sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('argus.source:' || $1, 0))")
                    .bind(source)
                    .fetch_one(&mut connection)
                    .await?;
            if taken {
                return Ok(SourceLock { connection: Some(connection) });
            }
            let waited = started.elapsed();
            if waited >= timeout {
                return Err(StoreError::Locked { source_name: source.to_owned(), waited: timeout });
            }
            tokio::time::sleep(LOCK_POLL.min(timeout - waited)).await;
        }
    }

    /// Issues the invitations that wait: makes a token for each (of bytes that the caller draws), stores its digest and
    /// gives back the tokens to be sent.
    pub async fn issue_invitations(
        &self,
        mut random: impl FnMut() -> [u8; 32] + Send,
    ) -> Result<Vec<Invitation>, StoreError> {
        let mut transaction = self.reconciling().await?;
        let waiting = sqlx::query(
            "SELECT organization, email FROM argus.invitation
             WHERE token_hash IS NULL AND accepted_at IS NULL
             ORDER BY organization, email LIMIT $1 FOR UPDATE SKIP LOCKED",
        )
        .bind(INVITATIONS_MAX)
        .fetch_all(&mut *transaction)
        .await?;
        let mut issued = Vec::with_capacity(waiting.len());
        for row in &waiting {
            let token: String = random().iter().map(|byte| format!("{byte:02x}")).collect();
            let (organization, email): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            issued.push(Invitation { organization: organization.into(), email: email.into(), token });
        }
        let column = |of: fn(&Invitation) -> String| issued.iter().map(of).collect::<Vec<String>>();
        sqlx::query(
            "UPDATE argus.invitation i SET token_hash = n.hash, expires_at = now() + interval '7 days'
             FROM unnest($1::text[], $2::text[], $3::text[]) AS n(organization, email, hash)
             WHERE i.organization = n.organization AND i.email = n.email",
        )
        .bind(column(|invitation| invitation.organization.to_string()))
        .bind(column(|invitation| invitation.email.to_string()))
        .bind(column(|invitation| sha256_hex(invitation.token.as_bytes())))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(issued)
    }
}
