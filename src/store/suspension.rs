//! Suspensions: how they begin and end, and which are on.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Store;
use super::content;
use super::error::StoreError;
use super::planning::Planning;
use crate::brake::{SUSPENSION_DAYS_MAX, Suspension};

/// When a suspension ends. The database's clock counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After so long.
    After(TimeDelta),
    /// At this moment.
    At(DateTime<Utc>),
}

/// What a suspension says.
#[derive(Clone, Copy, Debug)]
pub struct NewSuspension<'a> {
    /// What is stopped.
    pub of: Suspended<'a>,
    /// Why.
    pub reason: &'a str,
    /// Whom to ask.
    pub owner: &'a str,
    /// When it ends.
    pub end: End,
    /// Who begins it.
    pub actor: &'a str,
}

/// What is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspended<'a> {
    /// An organization, for one source or for any.
    Organization {
        /// Its name.
        name: &'a str,
        /// The source; none for any.
        source: Option<&'a str>,
    },
    /// All of a source.
    Source(&'a str),
}

impl<'a> Suspended<'a> {
    /// Source and organization, as the columns hold them.
    fn columns(self) -> (&'a str, &'a str) {
        match self {
            Suspended::Organization { name, source } => (source.unwrap_or_default(), name),
            Suspended::Source(source) => (source, ""),
        }
    }
}

/// How many columns a [`Suspension`] has.
pub(super) const COLUMNS: usize = 9;

/// These columns.
pub(super) fn columns() -> String {
    format!(
        "s.id, s.source, s.organization, s.reason, s.owner, {}, {}, s.created_by, s.created_role",
        content::moment("s.ends_at"),
        content::moment("s.created_at")
    )
}

/// The suspension that a row holds from a column on; none where there is none.
pub(super) fn read(row: &PgRow, from: usize) -> Result<Option<Suspension>, StoreError> {
    let Some(id) = row.try_get::<Option<i64>, _>(from)? else { return Ok(None) };
    let text = |at: usize| content::some_text(row, from + at);
    let named = |at: usize| Ok::<_, StoreError>(Some(text(at)?).filter(|name| !name.is_empty()));
    Ok(Some(Suspension {
        id,
        source: named(1)?,
        organization: named(2)?.map(Into::into),
        reason: text(3)?,
        owner: text(4)?,
        until: text(5)?,
        created_at: text(6)?,
        created_by: text(7)?,
        created_role: text(8)?,
    }))
}

impl Store {
    /// Suspends. Once this is done nothing more is written to what is suspended: it waits for what is being applied.
    pub async fn suspend(&self, new: &NewSuspension<'_>) -> Result<Suspension, StoreError> {
        let NewSuspension { of, reason, owner, end, actor } = new;
        let (source, organization) = of.columns();
        let mut transaction = self.reconciling().await?;
        let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *transaction).await?;
        let ends = match end {
            End::After(length) => now.trunc_subsecs(0) + *length,
            End::At(moment) => *moment,
        };
        if ends <= now || ends > now + TimeDelta::days(SUSPENSION_DAYS_MAX) {
            return Err(StoreError::SuspensionEnd { ends, now: now.trunc_subsecs(0) });
        }
        let query = format!(
            "INSERT INTO argus.suspension AS s (source, organization, reason, owner, ends_at, created_by)
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING {}",
            columns()
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(source)
            .bind(organization)
            .bind(*reason)
            .bind(*owner)
            .bind(ends)
            .bind(*actor)
            .fetch_one(&mut *transaction)
            .await?;
        let suspension = read(&row, 0)?.ok_or_else(|| StoreError::from(sqlx::Error::RowNotFound))?;
        transaction.commit().await?;
        Ok(suspension)
    }

    /// Lifts every suspension of exactly this (of an organization without a source: whatever source they are for), and
    /// gives those that were on.
    pub async fn resume(&self, of: Suspended<'_>, actor: &str, reason: &str) -> Result<Vec<Suspension>, StoreError> {
        let (source, organization) = of.columns();
        let mut transaction = self.reconciling().await?;
        let query = format!(
            "UPDATE argus.suspension s SET lifted_at = clock_timestamp(), lifted_by = $3, lift_reason = $4
             WHERE s.lifted_at IS NULL AND s.ends_at > clock_timestamp() AND s.organization = $2
               AND (s.source = $1 OR $1 = '') RETURNING {}",
            columns()
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(source)
            .bind(organization)
            .bind(actor)
            .bind(reason)
            .fetch_all(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let lifted: Vec<Option<Suspension>> = rows.iter().map(|row| read(row, 0)).collect::<Result<_, _>>()?;
        Ok(lifted.into_iter().flatten().collect())
    }
}

impl Planning {
    /// The suspensions that are on: those of a source and of all sources, or without one all of them.
    pub async fn suspensions(&mut self, source: Option<&str>) -> Result<Vec<Suspension>, StoreError> {
        let query = format!(
            "SELECT {} FROM argus.suspension s
             WHERE s.lifted_at IS NULL AND s.ends_at > clock_timestamp() AND ($1::text IS NULL OR s.source IN ('', $1))
             ORDER BY s.organization, s.source, s.ends_at DESC, s.id",
            columns()
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(source).fetch_all(&mut *self.transaction).await?;
        let all: Vec<Option<Suspension>> = rows.iter().map(|row| read(row, 0)).collect::<Result<_, _>>()?;
        Ok(all.into_iter().flatten().collect())
    }
}
