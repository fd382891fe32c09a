//! What verifying reads: chains, rows and seals, all of one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, Transaction};

use super::super::chain::{self, BYTES_PER_READ, FIELDS, SIZE};
use super::super::error::StoreError;
use super::super::{Store, content, migrate};
use super::{ROWS_PER_READ, Scope, place_of, signed};
use crate::audit::chain::{Place, Point, Row, Seal};
use crate::audit::head::Signed;

/// How many seals are read at once.
const SEALS_PER_READ: i64 = 20_000;

/// How transactions that share a snapshot begin.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What every one of them is told.
const AS_PLANNER: &str = "SET LOCAL ROLE argus_planner; SET LOCAL search_path = pg_catalog";

/// What is known of a chain beside its rows and seals, nothing of which is verified.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Where it is said to end.
    pub end: Option<(Point, Place)>,
    /// The checkpoints.
    pub checkpoints: Vec<Signed>,
    /// The heads.
    pub heads: Vec<Signed>,
}

/// Two transactions with one snapshot: rows and seals are read beside each other.
pub struct Verifying {
    rows: Transaction<'static, Postgres>,
    seals: Transaction<'static, Postgres>,
    /// The id of the database.
    pub database: String,
    /// The moment, by its clock.
    pub now: DateTime<Utc>,
}

impl Store {
    /// Begins to verify: nothing that is written from now on is seen.
    pub async fn verifying(&self) -> Result<Verifying, StoreError> {
        let mut rows = self.pool.begin_with(BEGIN).await?;
        sqlx::raw_sql(AS_PLANNER).execute(&mut *rows).await?;
        migrate::check(&mut rows).await?;
        let snapshot: String = sqlx::query_scalar("SELECT pg_export_snapshot()").fetch_one(&mut *rows).await?;
        let mut seals = self.pool.begin_with(BEGIN).await?;
        let share = format!("SET TRANSACTION SNAPSHOT '{}'; {AS_PLANNER}", snapshot.replace('\'', "''"));
        sqlx::raw_sql(AssertSqlSafe(share)).execute(&mut *seals).await?;
        let (database, now) = chain::here(&mut rows).await?;
        Ok(Verifying { rows, seals, database, now })
    }
}

/// The organizations of a table, by leaps over its key.
fn organizations_of(table: &str) -> String {
    format!(
        "(WITH RECURSIVE o AS (
             (SELECT t.organization FROM argus.{table} t ORDER BY t.organization LIMIT 1)
             UNION ALL
             SELECT (SELECT t.organization FROM argus.{table} t WHERE t.organization > o.organization
                     ORDER BY t.organization LIMIT 1)
             FROM o WHERE o.organization IS NOT NULL
         ) SELECT o.organization FROM o WHERE o.organization IS NOT NULL)"
    )
}

impl Verifying {
    /// What is said of each chain, in the order in which rows and seals come; of all or of some.
    pub async fn chains(&mut self, only: Option<&[String]>) -> Result<Vec<(Arc<str>, Said)>, StoreError> {
        let tables = ["audit", "seal", "chain", "checkpoint", "head"].map(organizations_of);
        let query = format!(
            "SELECT o.organization, c.sequence, c.hash, c.version, c.ordinal
             FROM (SELECT u.organization FROM ({}) u WHERE $1::text[] IS NULL OR u.organization = ANY ($1)
                   GROUP BY u.organization) o
             LEFT JOIN argus.chain c ON c.organization = o.organization ORDER BY o.organization",
            tables.join(" UNION ALL ")
        );
        // Those that are named come one after the other, as they are read.
        let query = if only.is_some() { query + " COLLATE \"C\"" } else { query };
        let rows = sqlx::query(AssertSqlSafe(query)).bind(only).fetch_all(&mut *self.rows).await?;
        let mut chains: Vec<(Arc<str>, Said)> = Vec::with_capacity(rows.len());
        let mut places: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for row in &rows {
            let organization: Arc<str> = content::some_text(row, 0)?.into();
            let end = match row.try_get::<Option<i64>, _>(1)? {
                None => None,
                Some(sequence) => {
                    let point = Point { sequence, hash: chain::hash(row, 2)?.unwrap_or_default() };
                    Some((point, Place { version: row.try_get(3)?, ordinal: row.try_get(4)? }))
                }
            };
            places.insert(organization.clone(), chains.len());
            chains.push((organization, Said { end, ..Said::default() }));
        }
        for (table, is_head) in [("head", true), ("checkpoint", false)] {
            let query = format!(
                "SELECT t.organization, t.statement, t.signature FROM argus.{table} t
                 WHERE $1::text[] IS NULL OR t.organization = ANY ($1) ORDER BY t.organization, t.sequence"
            );
            for row in &sqlx::query(AssertSqlSafe(query)).bind(only).fetch_all(&mut *self.rows).await? {
                let place = places.get(&*content::some_text(row, 0)?).copied();
                let Some((_, said)) = place.and_then(|at| chains.get_mut(at)) else { continue };
                let into = if is_head { &mut said.heads } else { &mut said.checkpoints };
                into.push(signed(row, 1)?);
            }
        }
        Ok(chains)
    }

    /// What reads the rows, and what reads the seals.
    pub fn split(self, only: Option<&[String]>) -> (Reader<RowBatch>, Reader<SealBatch>) {
        fn reader<T>(transaction: Transaction<'static, Postgres>, only: Option<&[String]>, after: Place) -> Reader<T> {
            Reader { transaction, scope: Scope::of(only), after, kind: std::marker::PhantomData }
        }
        (reader(self.rows, only, Place::BEFORE), reader(self.seals, only, Place::BEFORE))
    }
}

/// Reads rows or seals in order, batch by batch.
pub struct Reader<T> {
    transaction: Transaction<'static, Postgres>,
    scope: Scope,
    after: Place,
    kind: std::marker::PhantomData<fn() -> T>,
}

/// Some audit rows, as they came; what reads them has the work of making texts of them.
pub struct RowBatch(Vec<PgRow>);

/// Some seals.
pub struct SealBatch(Vec<PgRow>);

/// The organization of a row, as the same text as the one before where it is the same.
fn interned(row: &PgRow, last: &mut Arc<str>) -> Result<Arc<str>, StoreError> {
    let bytes = chain::bytes(row, 0)?.unwrap_or_default();
    if bytes != last.as_bytes() {
        *last = String::from_utf8_lossy(bytes).into();
    }
    Ok(last.clone())
}

impl RowBatch {
    /// The rows with their canonical texts.
    pub fn rows(self) -> impl Iterator<Item = Result<Row, StoreError>> {
        let mut last: Arc<str> = "".into();
        self.0.into_iter().map(move |row| {
            let organization = interned(&row, &mut last)?;
            let fields = chain::fields(&row)?;
            let place = Place { version: fields.version, ordinal: fields.ordinal };
            Ok(Row { organization, place, canonical: fields.canonical() })
        })
    }
}

impl SealBatch {
    /// The seals.
    pub fn seals(self) -> impl Iterator<Item = Result<Seal, StoreError>> {
        let mut last: Arc<str> = "".into();
        self.0.into_iter().map(move |row| {
            Ok(Seal {
                organization: interned(&row, &mut last)?,
                sequence: row.try_get(1)?,
                place: Place { version: row.try_get(2)?, ordinal: row.try_get(3)? },
                hash: chain::hash(&row, 4)?.unwrap_or_default(),
            })
        })
    }
}

impl Reader<RowBatch> {
    /// The next rows; none at the end.
    pub async fn next(&mut self) -> Result<Option<RowBatch>, StoreError> {
        loop {
            let Some((condition, organization)) = self.scope.condition("a", "a.version, a.ordinal", "$1, $2, $3")
            else {
                return Ok(None);
            };
            let query = format!(
                "SELECT {FIELDS}
                 FROM (SELECT a.*, sum({SIZE}) OVER (ORDER BY a.organization, a.version, a.ordinal
                                                     ROWS UNBOUNDED PRECEDING) - ({SIZE}) AS bytes_before
                       FROM (SELECT a.* FROM argus.audit a WHERE {condition}
                             ORDER BY a.organization, a.version, a.ordinal LIMIT {ROWS_PER_READ}) a) a
                 WHERE a.bytes_before < {BYTES_PER_READ} ORDER BY a.organization, a.version, a.ordinal"
            );
            let (version, ordinal) = (self.after.version, self.after.ordinal);
            let rows = read(&mut self.transaction, query, organization, &[version, ordinal]).await?;
            let last = rows.last().map(|row| Ok::<_, StoreError>((content::some_text(row, 0)?, place_of(row)?)));
            let last = last.transpose()?;
            self.after = last.as_ref().map_or(Place::BEFORE, |(_, place)| *place);
            let more = self.scope.advance(last.map(|(organization, _)| organization));
            if !rows.is_empty() {
                return Ok(Some(RowBatch(rows)));
            }
            if !more {
                return Ok(None);
            }
        }
    }
}

impl Reader<SealBatch> {
    /// The next seals; none at the end.
    pub async fn next(&mut self) -> Result<Option<SealBatch>, StoreError> {
        loop {
            let Some((condition, organization)) = self.scope.condition("s", "s.sequence", "$1, $2") else {
                return Ok(None);
            };
            let query = format!(
                "SELECT s.organization, s.sequence, s.version, s.ordinal, s.hash FROM argus.seal s WHERE {condition}
                 ORDER BY s.organization, s.sequence LIMIT {SEALS_PER_READ}"
            );
            let rows = read(&mut self.transaction, query, organization, &[self.after.version]).await?;
            let last = rows.last().map(|row| Ok::<_, StoreError>((content::some_text(row, 0)?, row.try_get(1)?)));
            let last = last.transpose()?;
            self.after.version = last.as_ref().map_or(i64::MIN, |(_, sequence)| *sequence);
            let more = self.scope.advance(last.map(|(organization, _)| organization));
            if !rows.is_empty() {
                return Ok(Some(SealBatch(rows)));
            }
            if !more {
                return Ok(None);
            }
        }
    }
}

async fn read(
    connection: &mut PgConnection,
    query: String,
    organization: &str,
    after: &[i64],
) -> Result<Vec<PgRow>, StoreError> {
    let query = sqlx::query(AssertSqlSafe(query)).bind(organization);
    Ok(after.iter().fold(query, |query, number| query.bind(*number)).fetch_all(&mut *connection).await?)
}
