//! How it stands with one source, for whoever has named it.

use sqlx::Row as _;

use super::{FIGHT_ROUNDS, read_findings};
use crate::model::finding::Finding;
use crate::store::Store;
use crate::store::content;
use crate::store::error::StoreError;

/// How many organizations are named of those that have come to the same.
const NAMED_MAX: i32 = 3;

/// The most organizations that are listed.
const ORGANIZATIONS_MAX: i64 = 5_000;

/// What is known of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The revision that was found last.
    pub revision: Option<String>,
    /// How many looks have failed in a row.
    pub failures: i32,
    /// What is wrong with it as a whole.
    pub findings: Vec<Finding>,
    /// Whether there was no look yet, or somebody has asked for another one.
    pub is_to_be_looked_at: bool,
    /// What has become of its organizations.
    pub outcomes: Vec<Outcomes>,
    /// Its organizations, each with the revision that was tried last; of very many, the first.
    pub organizations: Vec<(String, Option<String>)>,
}

/// Organizations that have come to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes {
    /// What that is: an outcome, `waiting` for those that somebody will work on, or `fighting`.
    pub word: String,
    /// How many there are.
    pub count: i64,
    /// The first of them.
    pub first: Vec<String>,
    /// Why, of the very first.
    pub findings: Vec<Finding>,
    /// What somebody has undone of it last, and who.
    pub fight: Option<String>,
}

impl Store {
    /// How it stands with a source; nothing where there is none of this name.
    pub async fn standing(&self, source: &str) -> Result<Option<Standing>, StoreError> {
        let mut planning = self.planning().await?;
        let row = sqlx::query(
            "SELECT revision, failures, findings::text, looked_at IS NULL OR asked > answered OR argus.is_held(holder)
             FROM argus.source WHERE name = $1",
        )
        .bind(source)
        .fetch_optional(&mut *planning.transaction)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let outcomes = sqlx::query(
            "SELECT w.word, count(*), (array_agg(w.organization ORDER BY w.organization COLLATE \"C\"))[1:$3],
                    (array_agg(w.findings::text ORDER BY w.organization COLLATE \"C\"))[1],
                    (array_agg(w.fight ORDER BY w.organization COLLATE \"C\"))[1]
             FROM (SELECT organization, findings,
                          undone_what || ' is undone again and again, last by ' || undone_by AS fight,
                          CASE WHEN undone >= $2 AND undone_at > clock_timestamp() - interval '1 hour' THEN 'fighting'
                               WHEN asked > answered AND (outcome IS NULL OR outcome IN ('applied', 'unchanged'))
                                   THEN 'waiting'
                               ELSE COALESCE(outcome, 'waiting') END AS word
                   FROM argus.work WHERE source = $1) w
             GROUP BY 1 ORDER BY 1",
        )
        .bind(source)
        .bind(FIGHT_ROUNDS.cast_signed())
        .bind(NAMED_MAX)
        .fetch_all(&mut *planning.transaction)
        .await?;
        let outcomes = outcomes.iter().map(|row| {
            Ok(Outcomes {
                word: row.try_get(0)?,
                count: row.try_get(1)?,
                first: row.try_get(2)?,
                findings: read_findings(row, 3)?,
                fight: content::text(row, 4)?,
            })
        });
        let outcomes = outcomes.collect::<Result<_, StoreError>>()?;
        let organizations = sqlx::query_as(
            "SELECT organization, revision FROM argus.work WHERE source = $1 ORDER BY organization COLLATE \"C\" LIMIT $2",
        )
        .bind(source)
        .bind(ORGANIZATIONS_MAX)
        .fetch_all(&mut *planning.transaction)
        .await?;
        Ok(Some(Standing {
            revision: content::text(&row, 0)?,
            failures: row.try_get(1)?,
            findings: read_findings(&row, 2)?,
            is_to_be_looked_at: row.try_get(3)?,
            outcomes,
            organizations,
        }))
    }
}
