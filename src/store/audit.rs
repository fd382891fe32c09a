//! Reading the audit: the last rows, one row, all rows in order, and what verifying needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::postgres::{PgListener, PgRow};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, Transaction};

use super::chain::{self, BYTES_PER_READ, FIELDS, FIELDS_LEN, SIZE};
use super::error::StoreError;
use super::history::{AuditRow, COLUMNS};
use super::planning::Planning;
use super::{Store, content};
use crate::audit::chain::{Place, Point, Row, Seal};
use crate::audit::head::Signed;
use crate::audit::row::Fields;
use crate::audit::{Hash, NO_HASH, hex};

/// How many rows are read at once.
const ROWS_PER_READ: i64 = 5_000;

/// How many seals are read at once.
const SEALS_PER_READ: i64 = 20_000;

/// The channel on which the database tells that something waits to be sealed.
const CHANNEL: &str = "argus_unsealed";

/// How transactions that share a snapshot begin.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What every one of them is told.
const AS_PLANNER: &str = "SET LOCAL ROLE argus_planner; SET LOCAL search_path = pg_catalog";

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
        super::migrate::check(&mut rows).await?;
        let snapshot: String = sqlx::query_scalar("SELECT pg_export_snapshot()").fetch_one(&mut *rows).await?;
        let mut seals = self.pool.begin_with(BEGIN).await?;
        let share = format!("SET TRANSACTION SNAPSHOT '{}'; {AS_PLANNER}", snapshot.replace('\'', "''"));
        sqlx::raw_sql(AssertSqlSafe(share)).execute(&mut *seals).await?;
        let (database, now) = chain::here(&mut rows).await?;
        Ok(Verifying { rows, seals, database, now })
    }

    /// A session that is told when something waits to be sealed.
    pub async fn waiter(&self) -> Result<Waiter, StoreError> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Waiter(listener))
    }
}

/// Waits for new audit rows.
pub struct Waiter(PgListener);

impl Waiter {
    /// Waits until something came, or for so long.
    pub async fn wait(&mut self, longest: Duration) -> Result<(), StoreError> {
        match tokio::time::timeout(longest, self.0.recv()).await {
            // What came meanwhile is looked at together.
            Ok(told) => told.map(drop).map_err(StoreError::from),
            Err(_) => Ok(()),
        }
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
