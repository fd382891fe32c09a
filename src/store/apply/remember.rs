//! What is written beside the rows, in the same transaction: who owns them, that the source is settled, and the run.

use sqlx::PgConnection;

use super::{ApplyContext, Tried};
use crate::model::finding::Finding;
use crate::model::kinds;
use crate::plan::{OrganizationPlan, Record};
use crate::rollback::undo::Undo;
use crate::store::run::RollsBack;
use crate::store::undo;

/// An organization that gets another name takes its ownership records along.
pub(super) async fn move_records(connection: &mut PgConnection, from: &str, to: &str) -> Result<(), Tried> {
    sqlx::query(
        "UPDATE argus.applied SET organization = $2, name = CASE kind WHEN $3 THEN $2 ELSE name END WHERE organization = $1",
    )
    .bind(from)
    .bind(to)
    .bind(kinds::organization::KIND.name)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM argus.pass WHERE organization = $1").bind(from).execute(&mut *connection).await?;
    Ok(())
}

/// Writes the ownership records. Gives what another source has come to own since the plan was made.
pub(super) async fn write_records(
    connection: &mut PgConnection,
    plan: &OrganizationPlan,
    context: &ApplyContext<'_>,
) -> Result<Vec<String>, Tried> {
    let (kept, dropped): (Vec<&Record>, Vec<&Record>) = plan.records.iter().partition(|record| record.spec.is_some());
    let kinds = |records: &[&Record]| records.iter().map(|record| record.kind.to_string()).collect::<Vec<_>>();
    let names = |records: &[&Record]| records.iter().map(|record| record.name.to_string()).collect::<Vec<_>>();
    if !dropped.is_empty() {
        sqlx::query(
            "DELETE FROM argus.applied a USING unnest($2::text[], $3::text[]) AS r(kind, name)
             WHERE a.organization = $1 AND a.kind = r.kind AND a.name = r.name AND a.source = $4",
        )
        .bind(&*plan.organization)
        .bind(kinds(&dropped))
        .bind(names(&dropped))
        .bind(&context.by.source)
        .execute(&mut *connection)
        .await?;
    }
    if kept.is_empty() {
        return Ok(Vec::new());
    }
    let number = |of: fn(&crate::model::origin::Origin) -> u32| {
        let one = |record: &&Record| record.origin.as_ref().map_or(0, of).min(i32::MAX as u32) as i32;
        kept.iter().map(one).collect::<Vec<i32>>()
    };
    let file = |record: &&Record| record.origin.as_ref().map(|origin| origin.file.to_string()).unwrap_or_default();
    let spec = |record: &&Record| record.spec.as_ref().map(ToString::to_string).unwrap_or_default();
    let owned: Vec<(String, String)> = sqlx::query_as(
        "INSERT INTO argus.applied AS a (source, organization, run, kind, name, spec, file, line, col)
         SELECT $2, $1, $3, r.kind, r.name, r.spec::jsonb, r.file, r.line, r.col
         FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::int[])
              AS r(kind, name, spec, file, line, col)
         ON CONFLICT (organization, kind, name) DO UPDATE
             SET spec = excluded.spec, file = excluded.file, line = excluded.line, col = excluded.col,
                 run = excluded.run, at = now()
             WHERE a.source = excluded.source
         RETURNING kind, name",
    )
    .bind(&*plan.organization)
    .bind(&context.by.source)
    .bind(context.run.as_str())
    .bind(kinds(&kept))
    .bind(names(&kept))
    .bind(kept.iter().map(spec).collect::<Vec<String>>())
    .bind(kept.iter().map(file).collect::<Vec<String>>())
    .bind(number(|origin| origin.line))
    .bind(number(|origin| origin.column))
    .fetch_all(&mut *connection)
    .await?;
    if owned.len() == kept.len() {
        return Ok(Vec::new());
    }
    let is_owned =
        |record: &&&Record| !owned.iter().any(|(kind, name)| *kind == record.kind.get().name && **name == *record.name);
    let foreign = kept.iter().filter(is_owned);
    Ok(foreign.map(|record| format!("{} `{}` belongs to another source now", record.kind, record.name)).collect())
}

/// Remembers that the source is settled, if it is, what the run did and what undoes it, and lets the plans go that were
/// held for it: what the source says now was applied. One that somebody has approved stays as long as the approval.
/// Gives the organization's version.
pub(super) async fn write_outcome(
    connection: &mut PgConnection,
    plan: &OrganizationPlan,
    context: &ApplyContext<'_>,
    settles: Option<&str>,
) -> Result<i64, Tried> {
    let lasting: Vec<&Finding> = plan.lasting_findings().collect();
    let notes = serde_json::to_string(&lasting).unwrap_or_else(|_| "[]".to_owned());
    let undo = Undo::of(plan).map(|undo| serde_json::to_string(&undo)).transpose();
    let undo = undo.map_err(|error| Tried::bad(format!("what undoes it cannot be kept: {error}")))?;
    let version = sqlx::query_scalar(
        "WITH clock AS (
             SELECT version FROM argus.clock WHERE organization = $1
         ), passed AS (
             INSERT INTO argus.pass (organization, source, digest, version, notes)
             SELECT $1, $2, $3, version, $4::text::jsonb FROM clock WHERE $3::text IS NOT NULL
             ON CONFLICT (organization) DO UPDATE
                 SET source = excluded.source, digest = excluded.digest, version = excluded.version,
                     notes = excluded.notes
         ), dropped AS (
             DELETE FROM argus.held_plan h WHERE h.organization = $1 AND h.source = $2
               AND NOT EXISTS (SELECT FROM argus.approval a
                               WHERE a.plan_digest = h.plan_digest AND a.rules_digest = h.rules_digest
                                 AND a.organization = h.organization AND a.used_at IS NULL AND a.revoked_at IS NULL
                                 AND a.expires_at > clock_timestamp())
         ), undone AS (
             INSERT INTO argus.undo (run, organization, content)
             SELECT $5, $1, $6::text::json WHERE $6::text IS NOT NULL
         ), let_go AS (
             -- The source says something else than what was rolled back, or somebody insists.
             DELETE FROM argus.rolled_back WHERE $8 AND source = $2 AND organization = ANY ($9)
         )
         INSERT INTO argus.run_organization (run, organization, outcome, version, said)
         SELECT $5, $1, 'applied', version, $7 FROM clock
         ON CONFLICT (run, organization) DO UPDATE
             SET outcome = excluded.outcome, version = excluded.version, said = excluded.said, message = NULL,
                 at = excluded.at
         RETURNING version",
    )
    .bind(&*plan.organization)
    .bind(&context.by.source)
    .bind(settles)
    .bind(notes)
    .bind(context.run.as_str())
    .bind(undo)
    .bind(&plan.said)
    .bind(context.rolls_back.is_none())
    .bind(names(plan))
    .fetch_one(connection)
    .await?;
    Ok(version)
}

/// The names of the organization, before and after the plan.
fn names(plan: &OrganizationPlan) -> Vec<String> {
    [Some(&*plan.organization), plan.renamed_from()].into_iter().flatten().map(str::to_owned).collect()
}

/// Holds what a rollback takes back, until the source says something else; or lets go what it brings back.
pub(super) async fn write_rollback(
    connection: &mut PgConnection,
    plan: &OrganizationPlan,
    context: &ApplyContext<'_>,
    rolls_back: &RollsBack,
) -> Result<(), Tried> {
    let RollsBack { run, brings_back } = rolls_back;
    if *brings_back {
        undo::let_go(connection, &context.by.source, &names(plan), run.as_str()).await?;
    } else {
        // The source goes on calling it by the name that is taken back.
        let name = plan.renamed_from().unwrap_or(&plan.organization);
        undo::hold_what_was_said(connection, (&context.by.source, name), run.as_str(), context.run.as_str()).await?;
    }
    Ok(())
}
