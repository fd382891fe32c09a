//! What undoes a run, what has been rolled back, and what stays held for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::content;
use super::error::StoreError;
use super::live::texts;
use super::planning::Planning;
use crate::model::id::OrganizationName;
use crate::rollback::undo::{UNDO_FORMAT, Undo};

/// What a run did to one organization.
#[derive(Clone, Debug)]
pub struct Wrote {
    /// The organization, under the name that it had when the run was done.
    pub organization: OrganizationName,
    /// The version that the run left.
    pub version: i64,
    /// What undoes it; none where nothing was written.
    pub undo: Option<Undo>,
}

/// A run that rolled back another one, in one organization.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// The run.
    pub run: String,
    /// The run that it rolled back.
    pub rolls_back: String,
    /// The version that it left.
    pub version: i64,
    /// What it wrote.
    pub wrote: Undo,
    /// What undid the run that it rolled back, if that is known under this name.
    pub of: Option<Undo>,
}

/// What is not applied again as long as the source says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    /// The organization, under the name that the source gives it.
    pub organization: OrganizationName,
    /// The digest of what the source said.
    pub said: String,
    /// The run that applied it.
    pub run: String,
    /// The run that took it back.
    pub by_run: String,
    /// When, RFC 3339.
    pub at: String,
}

/// What a column of `argus.undo` holds; an error where a newer Argus has written it.
fn read(row: &PgRow, at: usize) -> Result<Option<Undo>, StoreError> {
    let Some(text) = content::text(row, at)? else { return Ok(None) };
    let unreadable = |why: String| StoreError::UnknownUndo { why };
    let undo: Undo = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    match undo.format {
        UNDO_FORMAT => Ok(Some(undo)),
        other => Err(unreadable(format!("it is of form {other}, and this Argus reads form {UNDO_FORMAT}"))),
    }
}

impl Planning {
    /// How many times a run rolls back: a rollback of a rollback brings back what a source said.
    pub async fn rollback_depth(&mut self, run: &str) -> Result<i64, StoreError> {
        let query = "WITH RECURSIVE up (id, depth) AS (
                         SELECT r.rolls_back, 1 FROM argus.run r WHERE r.id = $1 AND r.rolls_back IS NOT NULL
                         UNION ALL
                         SELECT r.rolls_back, up.depth + 1 FROM argus.run r JOIN up ON r.id = up.id
                         WHERE r.rolls_back IS NOT NULL AND up.depth < 100000
                     ) SELECT coalesce(max(depth), 0)::bigint FROM up";
        Ok(sqlx::query_scalar(query).bind(run).fetch_one(&mut *self.transaction).await?)
    }

    /// The organizations that a run applied, with what undoes that.
    pub async fn wrote(&mut self, run: &str) -> Result<Vec<Wrote>, StoreError> {
        let rows = sqlx::query(
            "SELECT o.organization, o.version, u.content::text
             FROM argus.run_organization o
             LEFT JOIN argus.undo u ON u.run = o.run AND u.organization = o.organization
             WHERE o.run = $1 AND o.outcome = 'applied' ORDER BY o.organization COLLATE \"C\"",
        )
        .bind(run)
        .fetch_all(&mut *self.transaction)
        .await?;
        let wrote = |row: &PgRow| {
            Ok(Wrote {
                organization: content::some_text(row, 0)?.into(),
                version: row.try_get(1)?,
                undo: read(row, 2)?,
            })
        };
        rows.iter().map(wrote).collect()
    }

    /// What was rolled back in some organizations, each after a version, in order.
    pub async fn rollbacks_since(
        &mut self,
        organizations: &[(OrganizationName, i64)],
    ) -> Result<BTreeMap<OrganizationName, Vec<Rollback>>, StoreError> {
        let names: Vec<Arc<str>> = organizations.iter().map(|(name, _)| name.clone()).collect();
        let versions: Vec<i64> = organizations.iter().map(|(_, version)| *version).collect();
        let rows = sqlx::query(
            "SELECT o.organization, o.run, r.rolls_back, o.version, u.content::text, b.content::text
             FROM unnest($1::text[], $2::bigint[]) AS w(organization, version)
             JOIN argus.run_organization o
               ON o.organization = w.organization AND o.version > w.version AND o.outcome = 'applied'
             JOIN argus.run r ON r.id = o.run AND r.rolls_back IS NOT NULL
             JOIN argus.undo u ON u.run = o.run AND u.organization = o.organization
             LEFT JOIN argus.undo b ON b.run = r.rolls_back AND b.organization = o.organization
             ORDER BY o.organization, o.version",
        )
        .bind(texts(&names))
        .bind(versions)
        .fetch_all(&mut *self.transaction)
        .await?;
        let mut of: BTreeMap<OrganizationName, Vec<Rollback>> = BTreeMap::new();
        for row in &rows {
            let Some(wrote) = read(row, 4)? else { continue };
            of.entry(content::some_text(row, 0)?.into()).or_default().push(Rollback {
                run: content::some_text(row, 1)?,
                rolls_back: content::some_text(row, 2)?,
                version: row.try_get(3)?,
                wrote,
                of: read(row, 5)?,
            });
        }
        Ok(of)
    }

    /// What is not applied again as long as the source says it.
    pub async fn rolled_back(&mut self, source: &str) -> Result<Vec<RolledBack>, StoreError> {
        let query = format!(
            "SELECT b.organization, b.said, b.run, b.by_run, {} FROM argus.rolled_back b
             WHERE b.source = $1 ORDER BY b.organization, b.at DESC, b.by_run",
            content::moment("b.at")
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(source).fetch_all(&mut *self.transaction).await?;
        let read = |row: &PgRow| {
            Ok(RolledBack {
                organization: content::some_text(row, 0)?.into(),
                said: content::some_text(row, 1)?,
                run: content::some_text(row, 2)?,
                by_run: content::some_text(row, 3)?,
                at: content::some_text(row, 4)?,
            })
        };
        rows.iter().map(read).collect()
    }
}

/// Notes that what the source said last was taken back, so that it is not applied again before the source says
/// something else. `name` is what the source calls the organization.
pub(super) async fn hold_what_was_said(
    connection: &mut PgConnection,
    (source, name): (&str, &str),
    rolled_back: &str,
    run: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO argus.rolled_back (organization, source, said, run, by_run)
         SELECT o.organization, r.source, o.said, $3, $4
         FROM argus.run_organization o JOIN argus.run r ON r.id = o.run
         WHERE o.organization = $1 AND r.source = $2 AND o.outcome = 'applied' AND o.said IS NOT NULL
         ORDER BY o.version DESC, o.at DESC LIMIT 1
         ON CONFLICT DO NOTHING",
    )
    .bind(name)
    .bind(source)
    .bind(rolled_back)
    .bind(run)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what a rollback held for these organizations, as it is itself taken back.
pub(super) async fn let_go(
    connection: &mut PgConnection,
    source: &str,
    organizations: &[String],
    by_run: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM argus.rolled_back
         WHERE source = $1 AND organization = ANY ($2) AND by_run = $3",
    )
    .bind(source)
    .bind(organizations)
    .bind(by_run)
    .execute(connection)
    .await?;
    Ok(())
}
