//! Reading for plans: one snapshot, read-only, under a role that cannot write.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use sqlx::postgres::PgPool;
use sqlx::{Postgres, Row as _, Transaction};

use super::error::StoreError;
use super::{content, live, migrate};
use crate::model::id::OrganizationName;
use crate::model::kind::{Kind, KindId};
use crate::model::origin::Origin;
use crate::model::resource::Spec;
use crate::model::state::{Applied, AppliedRow, Live};
use crate::model::value::Value;

/// What a source said of an organization when it was last found settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The source.
    pub source: Arc<str>,
    /// The digest of what it said.
    pub digest: String,
    /// The organization's version then.
    pub version: i64,
    /// What was worth knowing then: the findings of the plan, as JSON.
    pub notes: Value,
}

/// What is known of an organization without reading its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrganizationState {
    /// Its clock: the version of its last write. 0 before the first.
    pub version: i64,
    /// Whether its row exists; for what all share, always.
    pub exists: bool,
    /// Its last settled pass for the source that asks.
    pub pass: Option<Pass>,
    /// The source that owns its row.
    pub owner: Option<Arc<str>>,
}

impl OrganizationState {
    /// The last pass of a source, if nothing has moved since: neither the rows nor what is said, as its digest tells.
    pub fn settled(&self, source: &str, digest: &str) -> Option<&Pass> {
        let pass = self.pass.as_ref().filter(|pass| pass.version == self.version);
        pass.filter(|pass| pass.digest == digest && *pass.source == *source)
    }
}

/// The transaction that plans are made in.
#[derive(Debug)]
pub struct Planning {
    pub(super) transaction: Transaction<'static, Postgres>,
}

impl Planning {
    pub(super) async fn open(pool: &PgPool) -> Result<Planning, StoreError> {
        let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        sqlx::raw_sql("SET LOCAL ROLE argus_planner; SET LOCAL search_path = pg_catalog")
            .execute(&mut *transaction)
            .await?;
        migrate::check(&mut transaction).await?;
        Ok(Planning { transaction })
    }

    /// Every organization that the database has ever known, and [`GLOBAL`](crate::model::id::GLOBAL), with the last
    /// pass of this source; or those of these names alone.
    pub async fn states(
        &mut self,
        source: &str,
        only: Option<&BTreeSet<OrganizationName>>,
    ) -> Result<BTreeMap<OrganizationName, OrganizationState>, StoreError> {
        let rows = sqlx::query(
            "SELECT c.organization, c.version, c.organization = '' OR o.name IS NOT NULL, a.source,
                    p.digest, p.version, p.notes::text
             FROM argus.clock c
             LEFT JOIN argus.organization o ON o.name = c.organization
             LEFT JOIN argus.applied a
               ON a.organization = c.organization AND a.kind = 'Organization' AND a.name = c.organization
             LEFT JOIN argus.pass p ON p.organization = c.organization AND p.source = $1
             WHERE $2::text[] IS NULL OR c.organization = ANY ($2)",
        )
        .bind(source)
        .bind(only.map(|only| only.iter().map(ToString::to_string).collect::<Vec<String>>()))
        .fetch_all(&mut *self.transaction)
        .await?;
        let mut known = Known::default();
        let mut states = BTreeMap::new();
        for row in &rows {
            let pass = match content::text(row, 4)? {
                None => None,
                Some(digest) => Some(Pass {
                    source: known.text(source),
                    digest,
                    version: row.try_get(5)?,
                    notes: content::json(row, 6)?.unwrap_or_default(),
                }),
            };
            let state = OrganizationState {
                version: row.try_get(1)?,
                exists: row.try_get(2)?,
                pass,
                owner: content::text(row, 3)?.map(|owner| known.text(&owner)),
            };
            states.insert(content::some_text(row, 0)?.into(), state);
        }
        Ok(states)
    }

    /// The rows of some organizations: every stored field of every kind, as canonical values. Each organization that is
    /// asked for has an entry.
    pub async fn live(
        &mut self,
        organizations: &[OrganizationName],
    ) -> Result<BTreeMap<OrganizationName, Live>, StoreError> {
        live::read(&mut self.transaction, organizations).await
    }

    /// The ownership records of some organizations, of all sources. Each organization that is asked for has an entry.
    pub async fn applied(
        &mut self,
        organizations: &[OrganizationName],
    ) -> Result<BTreeMap<OrganizationName, Applied>, StoreError> {
        let mut of: BTreeMap<OrganizationName, Applied> =
            organizations.iter().map(|name| (name.clone(), Applied::default())).collect();
        let mut known = Known::default();
        for some in organizations.chunks(live::ORGANIZATIONS_AT_ONCE) {
            let rows = sqlx::query(
                r#"SELECT organization, kind, name, source, spec::text, file, line, col
                   FROM argus.applied WHERE organization = ANY($1)"#,
            )
            .bind(live::texts(some))
            .fetch_all(&mut *self.transaction)
            .await?;
            for row in &rows {
                // A kind that this binary does not know belongs to another version of it: not ours to judge.
                let Some(kind) = Kind::named(&content::some_text(row, 1)?) else { continue };
                let spec = content::json(row, 4)?.unwrap_or_default();
                let origin = Origin {
                    file: known.text(&content::some_text(row, 5)?),
                    line: u32::try_from(row.try_get::<i32, _>(6)?).unwrap_or_default(),
                    column: u32::try_from(row.try_get::<i32, _>(7)?).unwrap_or_default(),
                };
                let source = known.text(&content::some_text(row, 3)?);
                let record = AppliedRow { source, spec: Spec::from_json(kind, &spec), origin };
                let name = content::some_text(row, 2)?;
                if let Some(applied) = of.get_mut(&*content::some_text(row, 0)?) {
                    applied.rows.insert((KindId::of(kind), name.into()), record);
                }
            }
        }
        Ok(of)
    }

    /// The organizations of which these files, or files below these directories, described something when the source
    /// was last applied; `.` stands for all of it.
    pub async fn organizations_of_files(
        &mut self,
        source: &str,
        files: &[Arc<str>],
    ) -> Result<BTreeSet<OrganizationName>, StoreError> {
        let query = "SELECT DISTINCT a.organization FROM argus.applied a
                     WHERE a.source = $1 AND EXISTS (SELECT FROM unnest($2::text[]) AS f(path)
                         WHERE f.path = '.' OR a.file = f.path OR starts_with(a.file, f.path || '/'))";
        let rows: Vec<String> =
            sqlx::query_scalar(query).bind(source).bind(live::texts(files)).fetch_all(&mut *self.transaction).await?;
        Ok(rows.into_iter().map(Arc::from).collect())
    }

    /// The organizations of which a source owns something.
    pub async fn owned_organizations(&mut self, source: &str) -> Result<BTreeSet<OrganizationName>, StoreError> {
        let rows: Vec<String> = sqlx::query_scalar("SELECT DISTINCT organization FROM argus.applied WHERE source = $1")
            .bind(source)
            .fetch_all(&mut *self.transaction)
            .await?;
        Ok(rows.into_iter().map(Arc::from).collect())
    }

    /// Whether the last run of a source was judged by policies, or should have been.
    pub async fn was_policed(&mut self, source: &str) -> Result<bool, StoreError> {
        let policed: Option<bool> =
            sqlx::query_scalar("SELECT policed FROM argus.run WHERE source = $1 ORDER BY started_at DESC LIMIT 1")
                .bind(source)
                .fetch_optional(&mut *self.transaction)
                .await?;
        Ok(policed.unwrap_or(false))
    }

    /// The organizations of each tier that has any, both sorted.
    pub async fn tier_users(&mut self) -> Result<BTreeMap<Arc<str>, Vec<OrganizationName>>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            r#"SELECT tier, name FROM argus.organization WHERE tier IS NOT NULL ORDER BY tier, name COLLATE "C""#,
        )
        .fetch_all(&mut *self.transaction)
        .await?;
        let mut users: BTreeMap<Arc<str>, Vec<OrganizationName>> = BTreeMap::new();
        for (tier, name) in rows {
            users.entry(tier.into()).or_default().push(name.into());
        }
        Ok(users)
    }
}

/// Texts that come again and again, each kept once.
#[derive(Default)]
struct Known(HashSet<Arc<str>>);

impl Known {
    fn text(&mut self, text: &str) -> Arc<str> {
        match self.0.get(text) {
            Some(known) => known.clone(),
            None => {
                let new: Arc<str> = text.into();
                self.0.insert(new.clone());
                new
            }
        }
    }
}
