//! The chain of the audit: sealing what waits, signing where chains end, and dropping what is old enough.

use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, Transaction, ValueRef as _};

use super::content;
use super::error::{StoreError, sqlstate};
use super::{Store, events, migrate};
use crate::audit::head::Signed;
use crate::audit::row::{Fields, Moment, link};
use crate::audit::{Hash, NO_HASH};
use crate::event::telling;
use crate::failpoint::failpoint;

/// How many rows are sealed in one transaction.
const ROWS_PER_BATCH: i64 = 5_000;

/// How many bytes of rows, as they are stored, are read at once; one row is always read.
pub(super) const BYTES_PER_READ: i64 = 8 * 1024 * 1024;

/// The advisory lock of whoever seals ("argusaud" in bytes), and that of whoever signs heads.
const SEALING: i64 = 0x6172_6775_7361_7564;
const SIGNING: i64 = SEALING + 1;

/// How a transaction that writes here begins.
macro_rules! begin {
    ($isolation:literal) => {
        concat!(
            "BEGIN ISOLATION LEVEL ",
            $isolation,
            " READ WRITE; SET LOCAL ROLE argus_reconciler; SET LOCAL search_path = pg_catalog;
             SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '120s';
             SET LOCAL idle_in_transaction_session_timeout = '60s'"
        )
    };
}

/// Sealing sees one moment: of each organization all that was written before it.
const BEGIN_SEALING: &str = begin!("REPEATABLE READ");

/// What is signed stands in seals, which never change; what it is told after may move meanwhile.
const BEGIN_SIGNING: &str = begin!("READ COMMITTED");

/// The columns of [`fields`], of an audit row that is called `a`.
pub(super) const FIELDS: &str = "a.organization, a.version, a.ordinal, a.at, a.kind, a.name, a.relation, a.action, \
    a.before::text, a.after::text, a.actor, a.via, a.run, a.role, a.application, a.client_addr::text, a.txid::text";

/// How many columns these are.
pub(super) const FIELDS_LEN: usize = 17;

/// SQL for the size of a row as it is stored.
pub(super) const SIZE: &str = "coalesce(pg_column_size(a.before), 0) + coalesce(pg_column_size(a.after), 0) + 300";

/// The rows that come next, of all organizations that wait, and where the chain of each ends.
static NEXT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {FIELDS}, a.chain_sequence, a.chain_hash
         FROM (SELECT a.*, sum({SIZE}) OVER (ORDER BY a.organization, a.version, a.ordinal ROWS UNBOUNDED PRECEDING)
                           - ({SIZE}) AS bytes_before
               FROM (SELECT a.*, c.sequence AS chain_sequence, c.hash AS chain_hash
                     FROM (SELECT DISTINCT organization FROM argus.unsealed) u
                     LEFT JOIN argus.chain c ON c.organization = u.organization
                     CROSS JOIN LATERAL (
                         SELECT * FROM argus.audit a
                         WHERE a.organization = u.organization
                           AND (c.organization IS NULL OR (a.version, a.ordinal) > (c.version, c.ordinal))
                         ORDER BY a.version, a.ordinal LIMIT $1
                     ) a
                     ORDER BY a.organization, a.version, a.ordinal LIMIT $1) a) a
         WHERE a.bytes_before < $2 ORDER BY a.organization, a.version, a.ordinal"
    )
});

/// The bytes of a column; none where it is null.
pub(super) fn bytes(row: &PgRow, at: usize) -> Result<Option<&[u8]>, StoreError> {
    let column = row.try_get_raw(at)?;
    if column.is_null() {
        return Ok(None);
    }
    Ok(Some(column.as_bytes().map_err(sqlx::Error::Decode)?))
}

/// The columns of an audit row, as they stand in the row.
pub(super) fn fields(row: &PgRow) -> Result<Fields<'_>, StoreError> {
    let micros = bytes(row, 3)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_be_bytes);
    let column = |at: usize| bytes(row, at);
    Ok(Fields {
        organization: column(0)?.unwrap_or_default(),
        version: row.try_get(1)?,
        ordinal: row.try_get(2)?,
        at: Moment::Micros(micros),
        what: [column(4)?, column(5)?, column(6)?, column(7)?],
        states: [column(8)?, column(9)?],
        who: [column(10)?, column(11)?, column(12)?, column(13)?, column(14)?, column(15)?, column(16)?],
    })
}

/// A link as the database holds it; one of another length is none that anybody made.
pub(super) fn hash(row: &PgRow, at: usize) -> Result<Option<Hash>, StoreError> {
    Ok(bytes(row, at)?.map(|bytes| bytes.try_into().unwrap_or(NO_HASH)))
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Somebody else is at it.
    Busy,
    /// So many rows were sealed; none if nothing waits.
    Sealed(usize),
}

/// Where a chain ends that no head tells of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// The organization.
    pub organization: String,
    /// The end.
    pub sequence: i64,
    /// The link there.
    pub hash: Hash,
}

/// A transaction in which heads are signed: nobody else signs meanwhile.
pub struct Signing {
    transaction: Transaction<'static, Postgres>,
    /// The id of the database.
    pub database: String,
    /// The moment, by its clock.
    pub now: DateTime<Utc>,
    /// The ends that no head tells of.
    pub unsigned: Vec<Unsigned>,
}

/// What may be dropped of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prunable {
    /// The organization.
    pub organization: String,
    /// For how many days its tier keeps rows.
    pub retention_days: i64,
    /// The last row that may go.
    pub sequence: i64,
    /// The link there.
    pub hash: Hash,
    /// How many rows these are.
    pub rows: i64,
}

impl Store {
    async fn begin_audit(&self, begin: &'static str) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut transaction = self.pool.begin_with(begin).await?;
        migrate::check(&mut transaction).await?;
        Ok(transaction)
    }

    /// Seals what comes next, a bounded number of rows, in one transaction.
    pub async fn seal_batch(&self) -> Result<Batch, StoreError> {
        let mut transaction = self.begin_audit(BEGIN_SEALING).await?;
        let sealed = seal(&mut transaction).await;
        match sealed {
            Ok(Batch::Sealed(rows)) => {
                failpoint("seal.before_commit", "");
                transaction.commit().await?;
                failpoint("seal.after_commit", "");
                Ok(Batch::Sealed(rows))
            }
            // Somebody sealed between this snapshot and the lock.
            Err(StoreError::Query(error)) if sqlstate(&error) == "40001" => {
                transaction.rollback().await?;
                Ok(Batch::Busy)
            }
            other => {
                transaction.rollback().await?;
                other
            }
        }
    }

    /// Begins to sign heads; none if somebody else is at it.
    pub async fn signing(&self) -> Result<Option<Signing>, StoreError> {
        let mut transaction = self.begin_audit(BEGIN_SIGNING).await?;
        if !locked(&mut transaction, SIGNING).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        let rows = sqlx::query(
            "SELECT c.organization, c.sequence, c.hash FROM argus.chain c
             WHERE c.sequence > 0 AND NOT EXISTS (SELECT FROM argus.head h
                                                  WHERE h.organization = c.organization AND h.sequence = c.sequence)
             ORDER BY c.organization",
        )
        .fetch_all(&mut *transaction)
        .await?;
        let mut unsigned = Vec::with_capacity(rows.len());
        for row in &rows {
            unsigned.push(Unsigned {
                organization: content::some_text(row, 0)?,
                sequence: row.try_get(1)?,
                hash: hash(row, 2)?.unwrap_or_default(),
            });
        }
        let (database, now) = here(&mut transaction).await?;
        Ok(Some(Signing { transaction, database, now, unsigned }))
    }

    /// Whether no head was signed for so long, by the clock of the database.
    pub async fn heads_are_due(&self, every: TimeDelta) -> Result<bool, StoreError> {
        let mut planning = self.planning().await?;
        let query = "SELECT coalesce(max(at) <= clock_timestamp() - make_interval(secs => $1), true) FROM argus.head";
        let query = sqlx::query_scalar(query).bind(every.num_seconds() as f64);
        Ok(query.fetch_one(&mut *planning.transaction).await?)
    }

    /// The organizations of which something is old enough to go, of all or of some, with the database and the moment.
    pub async fn prunable(
        &self,
        only: Option<&[String]>,
    ) -> Result<(Vec<Prunable>, String, DateTime<Utc>), StoreError> {
        let mut planning = self.planning().await?;
        let rows = sqlx::query(
            "SELECT o.name, t.limits_audit_retention_days, s.sequence, s.hash,
                    (SELECT count(*) FROM argus.audit a
                     WHERE a.organization = o.name AND (a.version, a.ordinal) <= (s.version, s.ordinal))
             FROM argus.organization o JOIN argus.tier t ON t.name = o.tier
             CROSS JOIN LATERAL (
                 -- The first row that is kept: what stands before it is older, all of it.
                 SELECT min(s.sequence) - 1 AS sequence FROM argus.seal s
                 LEFT JOIN argus.audit a
                   ON a.organization = s.organization AND a.version = s.version AND a.ordinal = s.ordinal
                 WHERE s.organization = o.name
                   AND a.at >= clock_timestamp() - make_interval(days => t.limits_audit_retention_days::integer)
             ) kept
             JOIN LATERAL (
                 SELECT s.* FROM argus.seal s
                 WHERE s.organization = o.name AND (kept.sequence IS NULL OR s.sequence <= kept.sequence)
                 ORDER BY s.sequence DESC LIMIT 1
             ) s ON true
             WHERE t.limits_audit_retention_days IS NOT NULL AND ($1::text[] IS NULL OR o.name = ANY ($1))
               AND EXISTS (SELECT FROM argus.audit a WHERE a.organization = o.name AND a.version = s.version
                                                       AND a.ordinal = s.ordinal)
             ORDER BY o.name",
        )
        .bind(only)
        .fetch_all(&mut *planning.transaction)
        .await?;
        let mut prunable = Vec::with_capacity(rows.len());
        for row in &rows {
            prunable.push(Prunable {
                organization: content::some_text(row, 0)?,
                retention_days: row.try_get(1)?,
                sequence: row.try_get(2)?,
                hash: hash(row, 3)?.unwrap_or_default(),
                rows: row.try_get(4)?,
            });
        }
        let (database, now) = here(&mut planning.transaction).await?;
        Ok((prunable, database, now))
    }

    /// Drops what may go of a chain, with a signed checkpoint in its place; gives the number of rows.
    pub async fn prune(&self, of: &Prunable, actor: &str, key: &str, signed: &Signed) -> Result<i64, StoreError> {
        let mut transaction = self.reconciling().await?;
        failpoint("seal.prune_after_begin", &of.organization);
        let dropped: i64 = sqlx::query_scalar("SELECT argus.prune_audit($1, $2, $3, $4, $5, $6, $7)")
            .bind(&of.organization)
            .bind(of.sequence)
            .bind(&of.hash[..])
            .bind(actor)
            .bind(key)
            .bind(&signed.statement)
            .bind(&signed.signature)
            .fetch_one(&mut *transaction)
            .await?;
        failpoint("seal.prune_before_commit", &of.organization);
        transaction.commit().await?;
        failpoint("seal.prune_after_commit", &of.organization);
        Ok(dropped)
    }
}

impl Signing {
    /// Writes down what was signed, each for the end of the same place, and ends the transaction.
    pub async fn keep(mut self, key: &str, signed: &[Signed]) -> Result<(), StoreError> {
        let column = |of: fn(&Signed) -> &str| signed.iter().map(|each| of(each).to_owned()).collect::<Vec<String>>();
        sqlx::query(
            "INSERT INTO argus.head (organization, sequence, hash, key, statement, signature)
             SELECT n.organization, n.sequence, n.hash, $4, n.statement, n.signature
             FROM unnest($1::text[], $2::bigint[], $3::bytea[], $5::text[], $6::text[])
                  AS n(organization, sequence, hash, statement, signature)",
        )
        .bind(self.unsigned.iter().map(|each| each.organization.clone()).collect::<Vec<String>>())
        .bind(self.unsigned.iter().map(|each| each.sequence).collect::<Vec<i64>>())
        .bind(self.unsigned.iter().map(|each| each.hash.to_vec()).collect::<Vec<Vec<u8>>>())
        .bind(key)
        .bind(column(|each| &each.statement))
        .bind(column(|each| &each.signature))
        .execute(&mut *self.transaction)
        .await?;
        for (end, signed) in self.unsigned.iter().zip(signed) {
            let draft = telling::signed_head(&end.organization, end.sequence, &end.hash, signed);
            events::tell(&mut self.transaction, &end.organization, None, &[draft]).await?;
        }
        failpoint("seal.heads_before_commit", "");
        self.transaction.commit().await?;
        failpoint("seal.heads_after_commit", "");
        Ok(())
    }
}

/// The id of the database and the moment by its clock.
pub(super) async fn here(connection: &mut PgConnection) -> Result<(String, DateTime<Utc>), StoreError> {
    let row = sqlx::query("SELECT (SELECT id::text FROM argus.installation), clock_timestamp()")
        .fetch_one(&mut *connection)
        .await?;
    Ok((content::some_text(&row, 0)?, row.try_get(1)?))
}

async fn locked(connection: &mut PgConnection, lock: i64) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(lock).fetch_one(&mut *connection).await?)
}

/// All of a batch but the commit.
async fn seal(connection: &mut PgConnection) -> Result<Batch, StoreError> {
    if !locked(connection, SEALING).await? {
        return Ok(Batch::Busy);
    }
    failpoint("seal.after_lock", "");
    let rows = sqlx::query(AssertSqlSafe(NEXT.as_str()))
        .bind(ROWS_PER_BATCH)
        .bind(BYTES_PER_READ)
        .fetch_all(&mut *connection)
        .await?;
    failpoint("seal.after_read", "");
    let mut organizations: Vec<String> = Vec::with_capacity(rows.len());
    let (mut sequences, mut versions, mut ordinals, mut hashes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut sequence, mut last) = (0, NO_HASH);
    let mut canonical = Vec::new();
    for row in &rows {
        let fields = fields(row)?;
        let organization = String::from_utf8_lossy(fields.organization);
        if organizations.last().map(String::as_str) != Some(&*organization) {
            sequence = row.try_get::<Option<i64>, _>(FIELDS_LEN)?.unwrap_or(0);
            last = hash(row, FIELDS_LEN + 1)?.unwrap_or(NO_HASH);
        }
        sequence += 1;
        canonical.clear();
        fields.write(&mut canonical);
        last = link(&last, sequence, &canonical);
        organizations.push(organization.into_owned());
        sequences.push(sequence);
        versions.push(fields.version);
        ordinals.push(fields.ordinal);
        hashes.push(last.to_vec());
    }
    failpoint("seal.after_hash", "");
    // Without rows it drops what waits for nothing.
    sqlx::query("SELECT argus.add_seals($1, $2, $3, $4, $5)")
        .bind(organizations)
        .bind(sequences)
        .bind(versions)
        .bind(ordinals)
        .bind(hashes)
        .execute(&mut *connection)
        .await?;
    failpoint("seal.after_write", "");
    Ok(Batch::Sealed(rows.len()))
}

/// Every point of sealing, signing and dropping at which a test can make the process die.
#[cfg(debug_assertions)]
pub const FAILPOINTS: &[&str] = &[
    "seal.after_lock",
    "seal.after_read",
    "seal.after_hash",
    "seal.after_write",
    "seal.before_commit",
    "seal.after_commit",
    "seal.heads_after_sign",
    "seal.heads_within_file",
    "seal.heads_after_file",
    "seal.heads_before_commit",
    "seal.heads_after_commit",
    "seal.prune_after_begin",
    "seal.prune_before_commit",
    "seal.prune_after_commit",
];
