//! Reading the audit: the last rows, one row, and all rows in order.

pub mod verifying;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Postgres, Row as _, Transaction};

use super::chain::{self, BYTES_PER_READ, FIELDS, FIELDS_LEN, SIZE};
use super::content;
use super::error::StoreError;
use super::history::{AuditRow, COLUMNS};
use super::planning::Planning;
use crate::audit::chain::Place;
use crate::audit::head::Signed;
use crate::audit::row::Fields;
use crate::audit::{Hash, NO_HASH, hex};

/// How many rows are read at once.
const ROWS_PER_READ: i64 = 5_000;

/// What [`Filter`] asks for, of a row that is called `a`; its first parameter is `$1`, its last `$7`.
const FILTERED: &str = "($1::text IS NULL OR a.kind = $1) AND ($2::text IS NULL OR a.name = $2)
    AND ($3::text IS NULL OR COALESCE(a.actor, a.role) = $3) AND ($4::text IS NULL OR a.action = $4)
    AND ($5::text IS NULL OR a.run = $5) AND ($6::timestamptz IS NULL OR a.at >= $6)
    AND ($7::timestamptz IS NULL OR a.at < $7)";

/// Which rows are wanted; what is none does not restrict.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these organizations; of all if there are none.
    pub organizations: Vec<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this name.
    pub name: Option<String>,
    /// By this actor or database role.
    pub actor: Option<String>,
    /// Of this action.
    pub action: Option<String>,
    /// Of this run.
    pub run: Option<String>,
    /// At or after this moment.
    pub since: Option<DateTime<Utc>>,
    /// Before this moment.
    pub until: Option<DateTime<Utc>>,
}

impl Filter {
    /// Whether all rows of an organization are wanted, if any is.
    pub fn takes_whole_chains(&self) -> bool {
        let Filter { organizations: _, kind, name, actor, action, run, since, until } = self;
        [kind, name, actor, action, run].iter().all(|each| each.is_none()) && since.is_none() && until.is_none()
    }

    /// None where all organizations are wanted.
    fn only(&self) -> Option<&[String]> {
        Some(&*self.organizations).filter(|some| !some.is_empty())
    }
}

/// A query with the parameters of a filter.
macro_rules! filtered {
    ($query:expr, $filter:expr) => {
        sqlx::query(AssertSqlSafe($query))
            .bind($filter.kind.as_deref())
            .bind($filter.name.as_deref())
            .bind($filter.actor.as_deref())
            .bind($filter.action.as_deref())
            .bind($filter.run.as_deref())
            .bind($filter.since)
            .bind($filter.until)
    };
}

/// An audit row with its seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SealedRow {
    /// Its place in the chain; none while it waits to be sealed.
    pub sequence: Option<i64>,
    /// The link before, lower-case hex.
    pub previous: Option<String>,
    /// Its link, lower-case hex.
    pub hash: Option<String>,
    /// The transaction.
    pub txid: Option<String>,
    /// The row.
    #[serde(flatten)]
    pub row: AuditRow,
}

fn sealed_row(row: &PgRow) -> Result<SealedRow, StoreError> {
    let sequence: Option<i64> = row.try_get(16)?;
    // Before the first link there is none, which is shown as such.
    let previous = chain::hash(row, 18)?.or(sequence.filter(|sequence| *sequence == 1).map(|_| NO_HASH));
    Ok(SealedRow {
        sequence,
        hash: chain::hash(row, 17)?.map(|hash| hex(&hash)),
        previous: previous.map(|hash| hex(&hash)),
        txid: content::text(row, 19)?,
        row: AuditRow::read(row)?,
    })
}

/// The tables of a [`SealedRow`], and its columns behind those of the row.
const SEALED: &str = "s.sequence, s.hash, p.hash, a.txid::text";
const SEALED_FROM: &str = "argus.audit a
    LEFT JOIN argus.seal s ON s.organization = a.organization AND s.version = a.version AND s.ordinal = a.ordinal
    LEFT JOIN argus.seal p ON p.organization = s.organization AND p.sequence = s.sequence - 1";

impl Planning {
    /// The last rows, the newest last.
    pub async fn audit_tail(&mut self, filter: &Filter, limit: u32) -> Result<Vec<SealedRow>, StoreError> {
        let query = format!(
            "SELECT {}, {SEALED} FROM {SEALED_FROM}
             WHERE {FILTERED} AND ($8::text[] IS NULL OR a.organization = ANY ($8))
             ORDER BY a.at DESC, a.organization DESC, a.version DESC, a.ordinal DESC LIMIT $9",
            *COLUMNS
        );
        let query = filtered!(query, filter).bind(filter.only()).bind(i64::from(limit));
        let rows = query.fetch_all(&mut *self.transaction).await?;
        rows.iter().rev().map(sealed_row).collect()
    }

    /// The version of every organization: whatever comes after it is new.
    pub async fn clocks(&mut self, filter: &Filter) -> Result<BTreeMap<String, i64>, StoreError> {
        let query = "SELECT organization, version FROM argus.clock WHERE $1::text[] IS NULL OR organization = ANY ($1)";
        let rows = sqlx::query(query).bind(filter.only()).fetch_all(&mut *self.transaction).await?;
        rows.iter().map(|row| Ok((content::some_text(row, 0)?, row.try_get(1)?))).collect()
    }

    /// The rows that came after these versions, the newest last, and no more than so many.
    pub async fn audit_since(
        &mut self,
        moved: &BTreeMap<String, i64>,
        filter: &Filter,
        limit: u32,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let query = format!(
            "SELECT {}, {SEALED} FROM unnest($8::text[], $9::bigint[]) AS m(organization, version)
             CROSS JOIN ({SEALED_FROM})
             WHERE a.organization = m.organization AND a.version > m.version AND {FILTERED}
             ORDER BY a.at, a.organization, a.version, a.ordinal LIMIT $10",
            *COLUMNS
        );
        let (names, versions): (Vec<String>, Vec<i64>) = moved.iter().map(|(name, at)| (name.clone(), *at)).unzip();
        let rows = filtered!(query, filter)
            .bind(names)
            .bind(versions)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.transaction)
            .await?;
        rows.iter().map(sealed_row).collect()
    }

    /// The row of a place in a chain.
    pub async fn audit_row(&mut self, organization: &str, sequence: i64) -> Result<Option<SealedRow>, StoreError> {
        let query =
            format!("SELECT {}, {SEALED} FROM {SEALED_FROM} WHERE s.organization = $1 AND s.sequence = $2", *COLUMNS);
        let row = sqlx::query(AssertSqlSafe(query))
            .bind(organization)
            .bind(sequence)
            .fetch_optional(&mut *self.transaction)
            .await?;
        row.as_ref().map(sealed_row).transpose()
    }

    /// How many rows that a filter takes wait to be sealed.
    pub async fn unsealed(&mut self, filter: &Filter) -> Result<i64, StoreError> {
        let query = format!(
            "SELECT count(*) FROM argus.unsealed u
             JOIN argus.audit a ON a.organization = u.organization AND a.version = u.version
             LEFT JOIN argus.seal s
               ON s.organization = a.organization AND s.version = a.version AND s.ordinal = a.ordinal
             WHERE s.organization IS NULL AND {FILTERED} AND ($8::text[] IS NULL OR a.organization = ANY ($8))"
        );
        let row = filtered!(query, filter).bind(filter.only()).fetch_one(&mut *self.transaction).await?;
        Ok(row.try_get(0)?)
    }

    /// The heads that were signed, the newest first, and their number.
    pub async fn heads(&mut self, filter: &Filter, limit: u32) -> Result<(Vec<Signed>, i64), StoreError> {
        let of = "FROM argus.head h WHERE $1::text[] IS NULL OR h.organization = ANY ($1)";
        let query = format!("SELECT h.statement, h.signature {of} ORDER BY h.at DESC, h.organization LIMIT $2");
        let rows = sqlx::query(AssertSqlSafe(query))
            .bind(filter.only())
            .bind(i64::from(limit))
            .fetch_all(&mut *self.transaction)
            .await?;
        let heads: Result<Vec<Signed>, StoreError> = rows.iter().map(|row| signed(row, 0)).collect();
        let count = format!("SELECT count(*) {of}");
        let count = sqlx::query_scalar(AssertSqlSafe(count)).bind(filter.only());
        Ok((heads?, count.fetch_one(&mut *self.transaction).await?))
    }

    /// The id of the database and the moment by its clock.
    pub async fn here(&mut self) -> Result<(String, DateTime<Utc>), StoreError> {
        chain::here(&mut self.transaction).await
    }

    /// Goes through all sealed rows that a filter takes, those of an organization together and in order.
    pub fn sealed(self, filter: &Filter) -> SealedRows {
        let scope = Scope::of(filter.only());
        SealedRows { transaction: self.transaction, filter: filter.clone(), scope, after: Place::BEFORE }
    }
}

fn signed(row: &PgRow, at: usize) -> Result<Signed, StoreError> {
    Ok(Signed { statement: content::some_text(row, at)?, signature: content::some_text(row, at + 1)? })
}

/// Which organizations are gone through, and how far.
enum Scope {
    /// All, behind this one.
    All(String),
    /// These, the first of which is under way.
    Some(Vec<String>),
}

impl Scope {
    fn of(only: Option<&[String]>) -> Scope {
        match only {
            None => Scope::All(String::new()),
            Some(some) => {
                let mut some = some.to_vec();
                some.sort();
                some.dedup();
                Scope::Some(some)
            }
        }
    }

    /// What restricts a query to what comes next, of a table that is called `of`, and the organization that it names.
    fn condition(&self, of: &str, place: &str, parameters: &str) -> Option<(String, &str)> {
        match self {
            Scope::All(after) => Some((format!("({of}.organization, {place}) > ({parameters})"), after)),
            Scope::Some(some) => {
                let (organization, behind) = parameters.split_once(", ")?;
                let condition = format!("{of}.organization = {organization} AND ({place}) > ({behind})");
                Some((condition, some.first()?))
            }
        }
    }

    /// Goes on behind what was read; whether there may be more.
    fn advance(&mut self, read: Option<String>) -> bool {
        match (self, read) {
            (Scope::All(after), Some(last)) => {
                *after = last;
                true
            }
            (Scope::All(_), None) => false,
            (Scope::Some(_), Some(_)) => true,
            (Scope::Some(some), None) => {
                some.remove(0);
                !some.is_empty()
            }
        }
    }
}

impl Place {
    /// Before every row.
    const BEFORE: Place = Place { version: i64::MIN, ordinal: i64::MIN };
}

/// Sealed rows, batch by batch.
pub struct SealedRows {
    transaction: Transaction<'static, Postgres>,
    filter: Filter,
    scope: Scope,
    after: Place,
}

/// Some sealed rows.
pub struct SealedBatch(Vec<PgRow>);

/// A sealed row, for an export.
pub struct Exported<'a> {
    /// Its place in the chain.
    pub sequence: i64,
    /// The link before.
    pub previous: Hash,
    /// Its link.
    pub hash: Hash,
    /// The row.
    pub fields: Fields<'a>,
}

impl SealedBatch {
    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = Result<Exported<'_>, StoreError>> {
        self.0.iter().map(|row| {
            Ok(Exported {
                sequence: row.try_get(FIELDS_LEN)?,
                hash: chain::hash(row, FIELDS_LEN + 1)?.unwrap_or_default(),
                previous: chain::hash(row, FIELDS_LEN + 2)?.unwrap_or(NO_HASH),
                fields: chain::fields(row)?,
            })
        })
    }
}

impl SealedRows {
    /// The next rows; none at the end.
    pub async fn next(&mut self) -> Result<Option<SealedBatch>, StoreError> {
        loop {
            let place = "a.version, a.ordinal";
            let Some((condition, organization)) = self.scope.condition("a", place, "$8, $9, $10") else {
                return Ok(None);
            };
            let query = format!(
                "SELECT {FIELDS}, a.sequence, a.hash, a.previous
                 FROM (SELECT a.*, sum({SIZE}) OVER (ORDER BY a.organization, a.version, a.ordinal
                                                     ROWS UNBOUNDED PRECEDING) - ({SIZE}) AS bytes_before
                       FROM (SELECT a.*, s.sequence, s.hash, p.hash AS previous FROM argus.audit a
                             JOIN argus.seal s
                               ON s.organization = a.organization AND s.version = a.version AND s.ordinal = a.ordinal
                             LEFT JOIN argus.seal p ON p.organization = s.organization AND p.sequence = s.sequence - 1
                             WHERE {FILTERED} AND {condition}
                             ORDER BY a.organization, a.version, a.ordinal LIMIT {ROWS_PER_READ}) a) a
                 WHERE a.bytes_before < {BYTES_PER_READ} ORDER BY a.organization, a.version, a.ordinal"
            );
            let rows = filtered!(query, self.filter)
                .bind(organization)
                .bind(self.after.version)
                .bind(self.after.ordinal)
                .fetch_all(&mut *self.transaction)
                .await?;
            let last = rows.last().map(|row| Ok::<_, StoreError>((content::some_text(row, 0)?, place_of(row)?)));
            let last = last.transpose()?;
            self.after = last.as_ref().map_or(Place::BEFORE, |(_, place)| *place);
            let more = self.scope.advance(last.map(|(organization, _)| organization));
            if !rows.is_empty() {
                return Ok(Some(SealedBatch(rows)));
            }
            if !more {
                return Ok(None);
            }
        }
    }
}

fn place_of(row: &PgRow) -> Result<Place, StoreError> {
    Ok(Place { version: row.try_get(1)?, ordinal: row.try_get(2)? })
}
