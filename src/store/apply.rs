//! Applying: an approved plan of one organization, carried out in one transaction, exactly and wholly or not at all.
//!
//! The transaction holds the organization's clock from its first statement on, so that nobody else writes the
//! organization while it looks at versions and writes. Whatever gets in the way (a deadlock, a lock that is not given,
//! a connection that is cut) undoes all of it, and all of it is tried again, a bounded number of times.

mod approvals;
mod check;
mod refusal;
mod remember;
mod rows;
mod write;

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::error::{ApplyError, StoreError, describe, sqlstate};
use super::events::Teller;
use super::queue::Holder;
use super::run::{RollsBack, RunId};
use super::{Store, events, migrate, suspension};
use crate::agenda::Backoff;
use crate::brake::Suspension;
use crate::event::content::Cause;
use crate::event::telling;
use crate::failpoint::failpoint;
use crate::plan::OrganizationPlan;
use crate::verdict::Approved;

/// How often an organization is tried.
pub const ATTEMPTS_MAX: u32 = 6;

/// How long is waited between tries.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(60), longest: Duration::from_secs(8) };

/// How often it is asked what became of a commit.
const COMMIT_QUESTIONS_MAX: u32 = 20;

/// What every transaction that applies begins with, in one round trip.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL ROLE argus_reconciler; SET LOCAL search_path = pg_catalog;
    SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '120s';
    SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// What names everything to the database and asks what has to be known, in one round trip.
static NAMED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT (SELECT max(version) FROM argus.schema_migration),
                ARRAY(SELECT argus.hold_clock(name) FROM unnest($5::text[]) AS c(name)),
                set_config('argus.org', $1, true), set_config('argus.actor', $2, true),
                set_config('argus.via', $3, true), set_config('argus.run', $4, true), {},
                $7::text IS NULL OR argus.hold_work($6, $1, $7, $8)
         FROM (VALUES (1)) AS one LEFT JOIN argus.suspension_of($6, $5) s ON true",
        suspension::columns()
    )
});

/// Where it says whether the work is still held: behind five columns and those of a suspension.
const LEASE_COLUMN: usize = 6 + suspension::COLUMNS;

/// Who applies what for.
#[derive(Clone, Copy, Debug)]
pub struct ApplyContext<'a> {
    /// The run.
    pub run: &'a RunId,
    /// Who started it, and for which source.
    pub by: &'a Cause,
    /// The organization's version when its rows were read for this plan. Only if nobody has written in between can
    /// the pass be remembered as settled; with none it is not.
    pub read_at: Option<i64>,
    /// The run that this one rolls back, if it is a rollback.
    pub rolls_back: Option<&'a RollsBack>,
    /// The replica that holds the organization, and under which fence, where several share the work.
    pub lease: Option<(&'a Holder, i64)>,
}

/// What applying an organization came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The organization's version afterwards.
    pub version: i64,
    /// Whether the pass was remembered as settled.
    pub settled: bool,
    /// How many tries it took.
    pub attempts: u32,
}

/// How one try ended without success.
#[derive(Debug)]
enum Tried {
    /// The database said something; it depends on what whether it is worth another try.
    Sql(sqlx::Error),
    /// The commit was sent and no answer came.
    Unanswered(sqlx::Error),
    /// The rows are not those of the plan.
    Stale(Vec<String>),
    /// Somebody has suspended it.
    Suspended(Box<Suspension>),
    /// Approvals that the plan needs are no longer there to be used.
    Unapproved(Vec<String>),
    /// The plan makes no sense.
    Bad(String),
    /// The schema is another one.
    Schema(StoreError),
}

impl Tried {
    fn bad(why: impl Into<String>) -> Tried {
        Tried::Bad(why.into())
    }
}

impl From<sqlx::Error> for Tried {
    fn from(error: sqlx::Error) -> Self {
        Tried::Sql(error)
    }
}

/// What kind of failure an error is.
enum Failure {
    /// Somebody was in the way, or the connection was cut: another try may do.
    Passing,
    /// A change is against the rules.
    Refused,
    /// Anything else.
    Other,
}

fn failure(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => return Failure::Passing,
        sqlx::Error::Database(_) => {}
        _ => return Failure::Other,
    }
    match &*sqlstate(error) {
        // Serialization failure, deadlock, lock not available; this process was paused in the middle; the server is shutting
        // down, crashed or starting up.
        "40001" | "40P01" | "55P03" | "25P03" | "57P01" | "57P02" | "57P03" => Failure::Passing,
        state if state.starts_with("08") => Failure::Passing,
        // Constraints, values, privileges and row-level security, and what triggers refuse.
        state if ["22", "23", "42501", "44", "P0001"].iter().any(|class| state.starts_with(class)) => Failure::Refused,
        _ => Failure::Other,
    }
}

impl Store {
    /// Carries out an approved plan in one transaction: exactly its changes, and only if every row that it touches is
    /// still the one that it was made from.
    pub async fn apply(&self, approved: &Approved, context: &ApplyContext<'_>) -> Result<Outcome, ApplyError> {
        let plan = approved.plan();
        let organization = || plan.organization.to_string();
        let mut attempts = 1;
        loop {
            let passing = match self.attempt(approved, context).await {
                Ok((version, settled)) => return Ok(Outcome { version, settled, attempts }),
                Err(Tried::Stale(what)) => return Err(ApplyError::Stale { organization: organization(), what }),
                Err(Tried::Suspended(suspension)) => {
                    return Err(ApplyError::Suspended { organization: organization(), suspension });
                }
                Err(Tried::Unapproved(what)) => {
                    return Err(ApplyError::ApprovalGone { organization: organization(), what });
                }
                Err(Tried::Bad(why)) => return Err(ApplyError::BadPlan { organization: organization(), why }),
                Err(Tried::Schema(source)) => {
                    return Err(ApplyError::Store { organization: organization(), source });
                }
                Err(Tried::Unanswered(error)) => match self.commit_outcome(plan, context).await? {
                    Some((version, settled)) => return Ok(Outcome { version, settled, attempts }),
                    None => error,
                },
                Err(Tried::Sql(error)) => match failure(&error) {
                    Failure::Passing => error,
                    Failure::Refused => {
                        let constraint = error.as_database_error().and_then(|error| error.constraint());
                        return Err(ApplyError::Refused {
                            organization: organization(),
                            sqlstate: sqlstate(&error),
                            message: refusal::explain(&error, plan),
                            constraint: constraint.map(str::to_owned),
                        });
                    }
                    Failure::Other => {
                        return Err(ApplyError::Store { organization: organization(), source: error.into() });
                    }
                },
            };
            if attempts == ATTEMPTS_MAX {
                let why = describe(&passing);
                return Err(ApplyError::Contended { organization: organization(), attempts, why });
            }
            let whose = format!("{}/{}", context.run, plan.organization);
            tokio::time::sleep(BACKOFF.after(attempts, &whose)).await;
            attempts += 1;
        }
    }

    /// One try. Gives the version afterwards and whether the source is settled.
    async fn attempt(&self, approved: &Approved, context: &ApplyContext<'_>) -> Result<(i64, bool), Tried> {
        let plan = approved.plan();
        let mut transaction = self.pool.begin_with(BEGIN).await?;
        let carried_out = match carry_out(&mut transaction, approved, context).await {
            Ok(carried_out) => carried_out,
            Err(tried) => {
                // Now, and not when the connection is next looked at: others wait for the clock.
                let _ = transaction.rollback().await;
                return Err(tried);
            }
        };
        failpoint("apply.before_commit", &plan.organization);
        match transaction.commit().await {
            Ok(()) => {}
            // The server says that it did not commit.
            Err(error) if error.as_database_error().is_some() && !sqlstate(&error).starts_with("57P") => {
                return Err(Tried::Sql(error));
            }
            Err(error) => return Err(Tried::Unanswered(error)),
        }
        failpoint("apply.after_commit", &plan.organization);
        Ok(carried_out)
    }

    /// What became of a commit that was not answered: the run's row stands in the same transaction. None if the
    /// transaction was undone.
    async fn commit_outcome(
        &self,
        plan: &OrganizationPlan,
        context: &ApplyContext<'_>,
    ) -> Result<Option<(i64, bool)>, ApplyError> {
        let mut questions = 0;
        loop {
            match self.ask_commit_outcome(plan, context).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) if questions == COMMIT_QUESTIONS_MAX => {
                    return Err(ApplyError::Unknown {
                        organization: plan.organization.to_string(),
                        why: error.to_string(),
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
            questions += 1;
        }
    }

    async fn ask_commit_outcome(
        &self,
        plan: &OrganizationPlan,
        context: &ApplyContext<'_>,
    ) -> Result<Option<(i64, bool)>, StoreError> {
        // A connection of its own: those of the pool may be as dead as the one that was lost.
        let mut connection = self.dedicated_connection().await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        // The transaction in question holds the clock until it has ended, one way or the other.
        sqlx::query("SELECT argus.hold_clock($1)").bind(&*plan.organization).execute(&mut *transaction).await?;
        let row = sqlx::query(
            "SELECT r.version, EXISTS (SELECT FROM argus.pass p
                                       WHERE p.organization = $2 AND p.source = $3 AND p.version = r.version)
             FROM argus.run_organization r WHERE r.run = $1 AND r.organization = $2 AND r.outcome = 'applied'",
        )
        .bind(context.run.as_str())
        .bind(&*plan.organization)
        .bind(&context.by.source)
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        Ok(row.map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?))).transpose()?)
    }
}

/// All but the commit.
async fn carry_out(
    connection: &mut PgConnection,
    approved: &Approved,
    context: &ApplyContext<'_>,
) -> Result<(i64, bool), Tried> {
    let plan = approved.plan();
    let organization = &*plan.organization;
    let renamed = plan.renamed_from();
    let read_before = begin(connection, plan, context, renamed).await?;
    failpoint("apply.after_begin", organization);
    // Before the rows are looked at: of two runs with the same approval the second is told that it was used, and not
    // that the rows have moved, which the first has done.
    let gone = approvals::consume(connection, approved, context).await?;
    if !gone.is_empty() {
        return Err(Tried::Unapproved(gone));
    }
    failpoint("apply.after_approvals", organization);
    let stale = check::stale(connection, plan, renamed.unwrap_or(organization)).await?;
    if !stale.is_empty() {
        return Err(Tried::Stale(stale));
    }
    failpoint("apply.after_check", organization);
    write::Writer { connection, plan }.write().await?;
    if let Some(old) = renamed {
        remember::move_records(connection, old, organization).await?;
    }
    let foreign = remember::write_records(connection, plan, context).await?;
    if !foreign.is_empty() {
        return Err(Tried::Stale(foreign));
    }
    failpoint("apply.after_records", organization);
    // Somebody else's write in between was not looked at by this plan: the next pass has to.
    let settles = plan.settles.as_deref().filter(|_| context.read_at == Some(read_before));
    let version = remember::write_outcome(connection, plan, context, settles).await?;
    if let Some(rolls_back) = context.rolls_back {
        remember::write_rollback(connection, plan, context, rolls_back).await?;
    }
    events::tell(connection, organization, Some(context.run.as_str()), &telling::applied(plan, context.by)).await?;
    let teller = Teller { run: Some(context.run.as_str()), source: &context.by.source, organization };
    teller.forget_others(connection, telling::PLAN, &[]).await?;
    failpoint("apply.after_events", organization);
    Ok((version, settles.is_some()))
}

/// Names the organization, the actor and the run to the database, takes the clock, and checks that the schema is still
/// the one of this binary and that nobody has suspended this since the verdict. Gives the clock's version.
async fn begin(
    connection: &mut PgConnection,
    plan: &OrganizationPlan,
    context: &ApplyContext<'_>,
    renamed: Option<&str>,
) -> Result<i64, Tried> {
    // An organization that gets another name holds both clocks, in the order of their names.
    let mut clocks: Vec<String> =
        [Some(&*plan.organization), renamed].into_iter().flatten().map(str::to_owned).collect();
    clocks.sort();
    let row = sqlx::query(AssertSqlSafe(NAMED.as_str()))
        .bind(&*plan.organization)
        .bind(&context.by.actor)
        .bind("argus")
        .bind(context.run.as_str())
        .bind(&clocks)
        .bind(&context.by.source)
        .bind(context.lease.map(|(holder, _)| holder.as_str()))
        .bind(context.lease.map(|(_, fence)| fence))
        .fetch_one(&mut *connection)
        .await?;
    if !row.try_get::<bool, _>(LEASE_COLUMN)? {
        let why = "the time for which this replica held it is over, and another one may be at it";
        return Err(Tried::Stale(vec![why.into()]));
    }
    migrate::compare(row.try_get::<Option<i32>, _>(0)?.unwrap_or(0)).map_err(Tried::Schema)?;
    if let Some(suspension) = suspension::read(&row, 6).map_err(Tried::Schema)? {
        return Err(Tried::Suspended(Box::new(suspension)));
    }
    let versions: Vec<i64> = row.try_get(1)?;
    let at = clocks.iter().position(|name| **name == *renamed.unwrap_or(&plan.organization));
    Ok(at.and_then(|at| versions.get(at)).copied().unwrap_or_default())
}

/// Every point of applying at which a test can make the process die, in the order in which they are reached.
#[cfg(debug_assertions)]
pub fn failpoints() -> Vec<String> {
    let per_kind = |step: &'static str| {
        super::columns::tables().iter().map(move |table| format!("apply.after_{step}.{}", table.kind.name))
    };
    let fixed = |names: &'static [&'static str]| names.iter().map(|name| format!("apply.{name}"));
    fixed(&["after_begin", "after_approvals", "after_check"])
        .chain(["rename", "create", "update", "delete"].into_iter().flat_map(per_kind))
        .chain(fixed(&["after_records", "after_events", "before_commit", "after_commit"]))
        .collect()
}
