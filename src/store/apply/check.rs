//! Whether the rows that a plan touches are still those that it was made from.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, PgConnection};

use super::Tried;
use crate::model::kind::Scope;
use crate::model::kinds;
use crate::plan::{Action, OrganizationPlan};
use crate::store::columns::tables;

/// Looks up names in all tables at once: one array of names per table, in order, after the organization.
static LOOK_UP: LazyLock<String> = LazyLock::new(|| {
    let one = |(at, table): (usize, &crate::store::columns::Table)| {
        let mine = match table.kind.scope {
            Scope::Child => "t.organization = $1 AND",
            Scope::Root | Scope::Global => "",
        };
        format!(
            "SELECT {at}::int, t.{key}, t.version FROM argus.{} t WHERE {mine} t.{key} = ANY(${}::text[])",
            table.name,
            at + 2,
            key = table.key
        )
    };
    tables().iter().enumerate().map(one).collect::<Vec<String>>().join(" UNION ALL ")
});

/// Finds everything that is stale about a plan. `organization` is its name before this plan.
pub(super) async fn stale(
    connection: &mut PgConnection,
    plan: &OrganizationPlan,
    organization: &str,
) -> Result<Vec<String>, Tried> {
    // By table and name: the version that the row must have, or none if it must not exist.
    let mut wanted: Vec<BTreeMap<&str, Option<i64>>> = tables().iter().map(|_| BTreeMap::new()).collect();
    for change in &plan.changes {
        let Some(at) = tables().iter().position(|table| table.id == change.kind) else {
            return Err(Tried::bad(format!("a {} is no state", change.kind)));
        };
        let name = change.previous_name.as_deref().unwrap_or(&change.name);
        let version = match change.action {
            Action::Create => None,
            Action::Update | Action::Adopt | Action::Release | Action::Delete => change.version,
        };
        if wanted[at].insert(name, version).is_some() {
            return Err(Tried::bad(format!("{} `{name}` is changed twice", change.kind)));
        }
    }
    // A new name must be free, unless what has it moves away as well.
    for change in plan.changes.iter().filter(|change| change.previous_name.is_some()) {
        if let Some(at) = tables().iter().position(|table| table.id == change.kind) {
            wanted[at].entry(&change.name).or_insert(None);
        }
    }
    if wanted.iter().all(BTreeMap::is_empty) {
        return Ok(Vec::new());
    }
    let mut query = sqlx::query_as::<_, (i32, String, i64)>(AssertSqlSafe(LOOK_UP.as_str())).bind(organization);
    for names in &wanted {
        query = query.bind(names.keys().map(|name| (*name).to_owned()).collect::<Vec<String>>());
    }
    let rows = query.fetch_all(&mut *connection).await?;
    let mut found: Vec<BTreeMap<&str, i64>> = tables().iter().map(|_| BTreeMap::new()).collect();
    for (at, name, version) in &rows {
        found[*at as usize].insert(name, *version);
    }
    let mut stale = Vec::new();
    for ((table, wanted), found) in tables().iter().zip(&wanted).zip(&found) {
        for (name, wanted) in wanted {
            let subject = || format!("{} `{name}`", table.kind.name);
            match (wanted, found.get(name)) {
                (None, None) => {}
                (Some(wanted), Some(found)) if wanted == found => {}
                (Some(wanted), Some(found)) => {
                    stale.push(format!("{} is at version {found}, and was at {wanted} when it was planned", subject()));
                }
                (Some(_), None) => stale.push(format!("{} is gone", subject())),
                (None, Some(_)) => stale.push(format!("{} exists, and did not when it was planned", subject())),
            }
        }
    }
    if let Some(left) = left_behind(connection, plan, organization).await? {
        stale.push(left);
    }
    Ok(stale)
}

/// An organization goes with all of its rows, which the plan lists. A row that it does not list has come since.
async fn left_behind(
    connection: &mut PgConnection,
    plan: &OrganizationPlan,
    organization: &str,
) -> Result<Option<String>, Tried> {
    let goes =
        plan.changes.iter().any(|change| change.action == Action::Delete && change.kind.is(&kinds::organization::KIND));
    if !goes {
        return Ok(None);
    }
    for table in tables().iter().filter(|table| table.kind.scope == Scope::Child) {
        let listed: Vec<String> = plan
            .changes
            .iter()
            .filter(|change| change.kind == table.id && change.action == Action::Delete)
            .map(|change| change.name.to_string())
            .collect();
        let query = format!(
            "SELECT t.{key} FROM argus.{} t WHERE t.organization = $1 AND {} AND NOT t.{key} = ANY($2) LIMIT 1",
            table.name,
            table.managed(),
            key = table.key
        );
        let left: Option<String> = sqlx::query_scalar(AssertSqlSafe(query))
            .bind(organization)
            .bind(listed)
            .fetch_optional(&mut *connection)
            .await?;
        if let Some(name) = left {
            return Ok(Some(format!("{} `{name}` has come since it was planned", table.kind.name)));
        }
    }
    Ok(None)
}
