//! Which commit a source and each of its organizations was applied from last.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, PgConnection};

use super::content;
use super::error::StoreError;
use super::planning::Planning;
use super::run::RunId;
use crate::model::id::OrganizationName;

/// How many commits of other sources are looked at, to find a repository that changes its name.
const OTHERS_MAX: i64 = 10_000;

/// Where a source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baselines {
    /// The commit that all of it was applied from last, if it was.
    pub whole: Option<String>,
    /// The organizations that stand at another one, or at none.
    pub own: BTreeMap<OrganizationName, Option<String>>,
}

impl Baselines {
    /// Whether nothing of the source was applied from a commit.
    pub fn is_empty(&self) -> bool {
        self.whole.is_none() && self.own.values().all(Option::is_none)
    }

    /// Every commit that something was applied from.
    pub fn commits(&self) -> BTreeSet<&str> {
        self.whole.iter().chain(self.own.values().flatten()).map(String::as_str).collect()
    }
}

/// How a run moves where a source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// The source.
    pub source: String,
    /// Where all of it stands now; none leaves it where it was.
    pub whole: Option<String>,
    /// Organizations that have come to stand somewhere else.
    pub own: BTreeMap<OrganizationName, Option<String>>,
    /// Organizations that stay where they stood when the plan was made, unless somebody has moved them since.
    pub kept: BTreeMap<OrganizationName, Option<String>>,
    /// Organizations that stand where all of the source does.
    pub joined: BTreeSet<OrganizationName>,
}

impl Planning {
    /// Where a source stands.
    pub async fn baselines(&mut self, source: &str) -> Result<Baselines, StoreError> {
        let row = sqlx::query("SELECT commit FROM argus.source_baseline WHERE source = $1")
            .bind(source)
            .fetch_optional(&mut *self.transaction)
            .await?;
        let whole = row.as_ref().map_or(Ok(None), |row| content::text(row, 0))?;
        // A run that did not come to its end has not noted what it applied; the oldest comes first.
        let rows = sqlx::query(
            "SELECT of.organization, of.commit
             FROM (SELECT organization, commit, '-infinity'::timestamptz AS at
                   FROM argus.organization_baseline WHERE source = $1
                   UNION ALL
                   SELECT o.organization, r.commit ->> 'id', r.started_at
                   FROM argus.run r JOIN argus.run_organization o ON o.run = r.id
                   WHERE r.source = $1 AND r.commit IS NOT NULL AND r.outcome IS NULL AND o.outcome = 'applied'
                     AND r.started_at > COALESCE((SELECT l.started_at FROM argus.source_baseline s
                                                  JOIN argus.run l ON l.id = s.run WHERE s.source = $1), '-infinity')) of
             ORDER BY of.at",
        )
        .bind(source)
        .fetch_all(&mut *self.transaction)
        .await?;
        let mut own = BTreeMap::new();
        for row in &rows {
            own.insert(content::some_text(row, 0)?.into(), content::text(row, 1)?);
        }
        Ok(Baselines { whole, own })
    }

    /// The commits that other sources were applied from.
    pub async fn commits_of_others(&mut self, source: &str) -> Result<BTreeSet<String>, StoreError> {
        let commits: Vec<String> = sqlx::query_scalar(
            "SELECT commit FROM argus.source_baseline WHERE source <> $1 AND commit IS NOT NULL
             UNION
             SELECT commit FROM argus.organization_baseline WHERE source <> $1 AND commit IS NOT NULL
             LIMIT $2",
        )
        .bind(source)
        .bind(OTHERS_MAX)
        .fetch_all(&mut *self.transaction)
        .await?;
        Ok(commits.into_iter().collect())
    }
}

/// Those of some organizations that a run which began after this one has written last: where they stand is for that one to say,
/// however late this one comes to its end.
const OVERTAKEN: &str = "
    SELECT name FROM unnest($2::text[]) AS o(name), argus.run mine
    WHERE mine.id = $3 AND EXISTS (
        SELECT FROM (SELECT l.run FROM argus.run_organization l
                     WHERE l.organization = o.name AND l.version IS NOT NULL AND l.outcome = 'applied'
                     ORDER BY l.version DESC LIMIT 1) last
        JOIN argus.run r ON r.id = last.run
        WHERE r.source = $1 AND r.started_at > mine.started_at)";

impl Moves {
    pub(super) async fn write(&self, connection: &mut PgConnection, run: &RunId) -> Result<(), StoreError> {
        let Moves { source, whole, own, kept, joined } = self;
        let moved: Vec<String> = own.keys().chain(joined).map(ToString::to_string).collect();
        let overtaken: Vec<String> = sqlx::query_scalar(OVERTAKEN)
            .bind(source)
            .bind(moved)
            .bind(run.as_str())
            .fetch_all(&mut *connection)
            .await?;
        let is_ours = |name: &&OrganizationName| !overtaken.iter().any(|overtaken| **overtaken == ***name);
        sqlx::query(
            "INSERT INTO argus.source_baseline AS b (source, commit, run) VALUES ($1, $2, $3)
             ON CONFLICT (source) DO UPDATE SET commit = COALESCE(excluded.commit, b.commit), run = excluded.run",
        )
        .bind(source)
        .bind(whole)
        .bind(run.as_str())
        .execute(&mut *connection)
        .await?;
        sqlx::query("DELETE FROM argus.organization_baseline WHERE source = $1 AND organization = ANY ($2)")
            .bind(source)
            .bind(joined.iter().filter(is_ours).map(ToString::to_string).collect::<Vec<String>>())
            .execute(&mut *connection)
            .await?;
        let own = own.iter().filter(|(name, _)| is_ours(name));
        stand(connection, source, own, "UPDATE SET commit = excluded.commit").await?;
        stand(connection, source, kept.iter(), "NOTHING").await?;
        Ok(())
    }
}

/// Notes where organizations stand, and what becomes of what is noted already.
async fn stand(
    connection: &mut PgConnection,
    source: &str,
    of: impl Iterator<Item = (&OrganizationName, &Option<String>)>,
    noted: &str,
) -> Result<(), StoreError> {
    let (names, commits): (Vec<String>, Vec<Option<String>>) =
        of.map(|(name, commit)| (name.to_string(), commit.clone())).unzip();
    let insert = format!(
        "INSERT INTO argus.organization_baseline (source, organization, commit)
         SELECT $1, o.organization, o.commit FROM unnest($2::text[], $3::text[]) AS o(organization, commit)
         ON CONFLICT (source, organization) DO {noted}"
    );
    sqlx::query(AssertSqlSafe(insert)).bind(source).bind(names).bind(commits).execute(connection).await?;
    Ok(())
}
