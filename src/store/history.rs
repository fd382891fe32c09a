//! What has happened: audit rows, who moved a field last, and runs.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::columns::{Place, StoredField, table};
use super::content;
use super::error::StoreError;
use super::planning::Planning;

use crate::model::id::OrganizationName;
use crate::model::kind::{Kind, KindId};
use crate::model::resource::ResourceId;
use crate::model::value::Value;
use crate::plan::Attribution;

/// How many audit rows of one resource are looked at to find who wrote it.
const ROWS_PER_RESOURCE_MAX: i64 = 50;

/// The columns of the audit that make an [`AuditRow`], sixteen of them.
pub(super) static COLUMNS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "a.organization, a.version, a.ordinal, {}, a.kind, a.name, a.relation, a.action, a.before::text, a.after::text,
         a.actor, a.via, a.run, a.role, a.application, host(a.client_addr)",
        content::moment("a.at")
    )
});

/// One write to one row, as the database noted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditRow {
    /// The organization.
    #[schemars(with = "String")]
    pub organization: OrganizationName,
    /// The version that the write made.
    pub version: i64,
    /// Its place among the writes of that version.
    pub ordinal: i64,
    /// When, RFC 3339.
    pub at: String,
    /// The kind.
    pub kind: String,
    /// The name of the resource.
    #[schemars(with = "String")]
    pub name: Arc<str>,
    /// The table: the kind's own, or that of one of its lists.
    pub relation: String,
    /// `insert`, `update` or `delete`.
    pub action: String,
    /// The row before, by column.
    pub before: Option<Value>,
    /// The row after, by column.
    pub after: Option<Value>,
    /// Who the writer said to be.
    pub actor: Option<String>,
    /// Through what, as the writer said.
    pub via: Option<String>,
    /// The run.
    pub run: Option<String>,
    /// The database role that logged in.
    pub role: String,
    /// The application that the session named.
    pub application: Option<String>,
    /// Where the session came from; none for a local socket.
    pub client_addr: Option<String>,
    /// Whoever agreed with what the run did to this organization, where that was held.
    pub approved_by: Vec<String>,
    /// The commit that the run applied: `main@sha1:...`.
    pub revision: Option<String>,
    /// What that commit says of itself: author, committer, signer, pull request.
    pub commit: Option<Value>,
}

impl AuditRow {
    pub(super) fn read(row: &PgRow) -> Result<AuditRow, StoreError> {
        Ok(AuditRow {
            organization: content::some_text(row, 0)?.into(),
            version: row.try_get(1)?,
            ordinal: row.try_get(2)?,
            at: content::some_text(row, 3)?,
            kind: content::some_text(row, 4)?,
            name: content::some_text(row, 5)?.into(),
            relation: content::some_text(row, 6)?,
            action: content::some_text(row, 7)?,
            before: content::json(row, 8)?,
            after: content::json(row, 9)?,
            actor: content::text(row, 10)?,
            via: content::text(row, 11)?,
            run: content::text(row, 12)?,
            role: content::some_text(row, 13)?,
            application: content::text(row, 14)?,
            client_addr: content::text(row, 15)?,
            approved_by: Vec::new(),
            revision: None,
            commit: None,
        })
    }

    /// Who, through what and when. Without a named actor it is the database role and the application.
    pub fn attribution(&self) -> Attribution {
        let application = self.application.clone().filter(|name| !name.is_empty());
        Attribution {
            actor: self.actor.clone().unwrap_or_else(|| self.role.clone()),
            via: self.via.clone().or(application).unwrap_or_else(|| "sql".into()),
            at: self.at.clone(),
        }
    }

    /// Whether the write was to the resource's own row, and not to an item of one of its lists.
    pub fn is_of_main_table(&self) -> bool {
        Kind::named(&self.kind).is_some_and(|kind| kind.table == Some(&*self.relation))
    }

    /// Whether the write left nothing under this name: the row went, or got another name.
    pub fn takes_away(&self, name: &str) -> bool {
        let key = Kind::named(&self.kind).map_or("name", |kind| kind.key.column());
        let called = |row: &Option<Value>| row.as_ref().and_then(|row| row.get(key)?.as_text().map(|key| key == name));
        match self.after {
            None => true,
            Some(_) => called(&self.before) == Some(true) && called(&self.after) == Some(false),
        }
    }

    /// Whether the write moved a field of the resource; creating and deleting it moves all of them.
    pub fn moved(&self, kind: KindId, path: &str) -> bool {
        let Some(table) = table(kind) else { return false };
        let Some(StoredField { place, .. }) = table.field(path) else { return false };
        let differs = |column: &str| {
            let side = |row: &Option<Value>| row.as_ref().and_then(|row| row.get(column).cloned());
            side(&self.before) != side(&self.after)
        };
        match place {
            Place::Side(side) => self.relation == side.table,
            _ if self.relation != table.name => false,
            _ if self.before.is_none() || self.after.is_none() => true,
            Place::Column { name, .. } => differs(name),
            Place::Money { minor, currency } => differs(minor) || differs(currency),
        }
    }
}

/// The newest of some audit rows (newest first) that moved a field.
pub fn last_to_move<'a>(rows: &'a [AuditRow], kind: KindId, path: &str) -> Option<&'a AuditRow> {
    rows.iter().find(|row| row.moved(kind, path))
}

/// Which audit rows are wanted; what is none does not restrict.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    /// Of this organization.
    pub organization: Option<OrganizationName>,
    /// Of this kind.
    pub kind: Option<KindId>,
    /// Of this name.
    pub name: Option<Arc<str>>,
    /// By this actor or database role.
    pub actor: Option<String>,
    /// Of this run.
    pub run: Option<String>,
    /// How many at most, the newest first.
    pub limit: u32,
}

/// A run, as it was noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// The source.
    pub source: String,
    /// Who started it.
    pub actor: String,
    /// The digest of its plan.
    pub plan_digest: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// When it ended.
    pub finished_at: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// The summary for people.
    pub summary: Option<Value>,
    /// Whether the guards were overruled.
    pub forced: bool,
    /// The run that it rolled back, if it is a rollback.
    pub rolls_back: Option<String>,
    /// How many organizations it applied.
    pub organizations_applied: i64,
    /// How many it could not apply.
    pub organizations_failed: i64,
    /// Whoever agreed with those that were held.
    pub approved_by: Vec<String>,
    /// The commit that its plan was made of: `main@sha1:...`.
    pub revision: Option<String>,
    /// What that commit says of itself.
    pub commit: Option<Value>,
}

impl Planning {
    /// The recent audit rows of some resources, newest first.
    pub async fn attributions(&mut self, of: &[ResourceId]) -> Result<BTreeMap<ResourceId, Vec<AuditRow>>, StoreError> {
        let column = |text: fn(&ResourceId) -> &str| of.iter().map(|id| text(id).to_owned()).collect::<Vec<String>>();
        let query = format!(
            "SELECT {}, w.at
             FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS w(organization, kind, name, at)
             CROSS JOIN LATERAL (
                 SELECT * FROM argus.audit a
                 WHERE a.organization = w.organization AND a.kind = w.kind AND a.name = w.name
                 ORDER BY a.version DESC, a.ordinal DESC LIMIT {ROWS_PER_RESOURCE_MAX}
             ) a
             ORDER BY w.at, a.version DESC, a.ordinal DESC",
            *COLUMNS
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(column(|id| &id.organization))
            .bind(column(|id| id.kind.get().name))
            .bind(column(|id| &id.name))
            .fetch_all(&mut *self.transaction)
            .await?;
        let mut found: BTreeMap<ResourceId, Vec<AuditRow>> = BTreeMap::new();
        for row in &rows {
            let place = usize::try_from(row.try_get::<i64, _>(16)?).unwrap_or_default();
            if let Some(id) = of.get(place.wrapping_sub(1)) {
                found.entry(id.clone()).or_default().push(AuditRow::read(row)?);
            }
        }
        Ok(found)
    }

    /// Audit rows, newest first.
    pub async fn history(&mut self, filter: &HistoryFilter) -> Result<Vec<AuditRow>, StoreError> {
        let HistoryFilter { organization, kind, name, actor, run, limit } = filter;
        let query = format!(
            "SELECT {}, ARRAY(SELECT DISTINCT p.used_as FROM argus.approval p
                              WHERE p.used_by_run = a.run AND p.organization = a.organization ORDER BY 1),
                    (SELECT r.revision FROM argus.run r WHERE r.id = a.run),
                    (SELECT r.commit::text FROM argus.run r WHERE r.id = a.run)
             FROM argus.audit a
             WHERE ($1::text IS NULL OR a.organization = $1) AND ($2::text IS NULL OR a.kind = $2)
               AND ($3::text IS NULL OR a.name = $3) AND ($4::text IS NULL OR a.run = $4)
               AND ($6::text IS NULL OR COALESCE(a.actor, a.role) = $6)
             ORDER BY a.at DESC, a.organization, a.version DESC, a.ordinal DESC LIMIT $5",
            *COLUMNS
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(organization.as_deref())
            .bind(kind.map(|kind| kind.get().name))
            .bind(name.as_deref())
            .bind(run.as_deref())
            .bind(i64::from(*limit))
            .bind(actor)
            .fetch_all(&mut *self.transaction)
            .await?;
        let read = |row: &PgRow| {
            let (revision, commit) = (content::text(row, 17)?, content::json(row, 18)?);
            Ok(AuditRow { approved_by: row.try_get(16)?, revision, commit, ..AuditRow::read(row)? })
        };
        rows.iter().map(read).collect()
    }

    /// Runs, newest first.
    pub async fn runs(&mut self, limit: u32) -> Result<Vec<RunRow>, StoreError> {
        self.some_runs(None, limit).await
    }

    /// The run of this id.
    pub async fn run(&mut self, id: &str) -> Result<Option<RunRow>, StoreError> {
        Ok(self.some_runs(Some(id), 1).await?.pop())
    }

    async fn some_runs(&mut self, id: Option<&str>, limit: u32) -> Result<Vec<RunRow>, StoreError> {
        let query = format!(
            "SELECT r.id, r.source, r.actor, r.plan_digest, {}, {}, r.outcome, r.summary::text, r.forced,
                    (SELECT count(*) FROM argus.run_organization o WHERE o.run = r.id AND o.outcome = 'applied'),
                    (SELECT count(*) FROM argus.run_organization o WHERE o.run = r.id AND o.outcome <> 'applied'),
                    ARRAY(SELECT DISTINCT p.used_as FROM argus.approval p WHERE p.used_by_run = r.id ORDER BY 1),
                    r.rolls_back, r.revision, r.commit::text
             FROM argus.run r WHERE $2::text IS NULL OR r.id = $2
             ORDER BY r.started_at DESC, r.id DESC LIMIT $1",
            content::moment("r.started_at"),
            content::moment("r.finished_at"),
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(i64::from(limit))
            .bind(id)
            .fetch_all(&mut *self.transaction)
            .await?;
        let read = |row: &PgRow| {
            Ok(RunRow {
                id: content::some_text(row, 0)?,
                source: content::some_text(row, 1)?,
                actor: content::some_text(row, 2)?,
                plan_digest: content::some_text(row, 3)?,
                started_at: content::some_text(row, 4)?,
                finished_at: content::text(row, 5)?,
                outcome: content::text(row, 6)?,
                summary: content::json(row, 7)?,
                forced: row.try_get(8)?,
                organizations_applied: row.try_get(9)?,
                organizations_failed: row.try_get(10)?,
                approved_by: row.try_get(11)?,
                rolls_back: content::text(row, 12)?,
                revision: content::text(row, 13)?,
                commit: content::json(row, 14)?,
            })
        };
        rows.iter().map(read).collect()
    }
}
