//! Using up the approvals that let a plan through, in the transaction that carries it out: whoever comes second finds
//! them used, and writes nothing.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{ApplyContext, Tried};
use crate::verdict::Approved;

/// Marks the approvals as used by this run. Gives what is wrong with those that cannot be used, in which case the
/// transaction must not go on.
pub(super) async fn consume(
    connection: &mut PgConnection,
    approved: &Approved,
    context: &ApplyContext<'_>,
) -> Result<Vec<String>, Tried> {
    if approved.approvals().is_empty() {
        return Ok(Vec::new());
    }
    let plan = approved.plan();
    let numbers: Vec<i64> = approved.approvals().keys().copied().collect();
    let names: Vec<String> = approved.approvals().values().cloned().collect();
    // Locked in the order of their numbers; whoever waited for somebody else sees what that has left.
    let found: Vec<(i64, Option<String>)> = sqlx::query_as(
        "SELECT a.id,
                CASE WHEN (a.organization, a.plan_digest, a.rules_digest) <> ($2, $3, $4) THEN 'is of another plan'
                     WHEN a.used_at IS NOT NULL THEN 'was used by the run ' || a.used_by_run
                     WHEN a.revoked_at IS NOT NULL THEN 'was taken back by the role ' || a.revoked_by
                     WHEN a.expires_at <= clock_timestamp() THEN 'has ended'
                END
         FROM argus.approval a WHERE a.id = ANY($1) ORDER BY a.id FOR UPDATE",
    )
    .bind(&numbers)
    .bind(&*plan.organization)
    .bind(&plan.digest)
    .bind(approved.rules_digest())
    .fetch_all(&mut *connection)
    .await?;
    let found: BTreeMap<i64, Option<String>> = found.into_iter().collect();
    let gone: Vec<String> = approved
        .approvals()
        .iter()
        .filter_map(|(number, name)| {
            let why = match found.get(number) {
                None => "is not there".to_owned(),
                Some(Some(why)) => why.clone(),
                Some(None) => return None,
            };
            Some(format!("approval {number} by {name} {why}"))
        })
        .collect();
    if gone.is_empty() {
        sqlx::query(
            "UPDATE argus.approval a SET used_at = clock_timestamp(), used_by_run = $1, used_as = n.name
             FROM unnest($2::bigint[], $3::text[]) AS n(id, name) WHERE a.id = n.id",
        )
        .bind(context.run.as_str())
        .bind(numbers)
        .bind(names)
        .execute(connection)
        .await?;
    }
    Ok(gone)
}
