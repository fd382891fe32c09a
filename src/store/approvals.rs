//! Plans that are held, and what people said to them: kept, read, recorded and taken back. What is used up is used up
//! by applying.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, Row as _, Transaction};

use super::error::{StoreError, sqlstate};
use super::planning::Planning;
use super::run::RunId;
use super::{Store, content, migrate};
use crate::approval::{End, Given, Signed};
use crate::model::id::OrganizationName;
use crate::plan::OrganizationPlan;
use crate::policy::judgement::Hold;
use crate::verdict::Terms;

/// The largest plan of one organization that is kept, as JSON.
pub const PLAN_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How much of plans is kept of one run at most. What is beyond waits for the next run.
pub const RUN_BYTES_MAX: usize = 512 * 1024 * 1024;

/// How much is sent in one statement.
const STATEMENT_BYTES: usize = 8 * 1024 * 1024;

/// How many plans of one organization wait at most; the oldest make room.
const WAITING_MAX: i64 = 20;

/// How long a plan waits.
const WAITING_DAYS_MAX: i32 = 30;

/// How many approvals of one plan are looked at.
const APPROVALS_PER_PLAN_MAX: i64 = 10_000;

/// And of one role: each rules digest of it has as many places.
const APPROVALS_OF_ROLE_MAX: i64 = 200;

/// How many rows are listed.
const LISTED_MAX: i64 = 1_000;

/// How much of a name is kept. Nobody's is longer.
const AUTHOR_CHARS_MAX: usize = 300;

/// The columns of an approval, of `argus.approval a`.
const GIVEN: &str = "a.id, a.organization, a.plan_digest, a.rules_digest, a.role, a.statement, a.signature, a.comment,
    least(greatest(a.at, '0001-01-01Z'), '9999-12-31Z'),
    least(greatest(a.expires_at, '0001-01-01Z'), '9999-12-31Z'),
    a.used_by_run, a.used_as, least(greatest(a.used_at, '0001-01-01Z'), '9999-12-31Z'),
    a.revoked_by, least(greatest(a.revoked_at, '0001-01-01Z'), '9999-12-31Z')";

/// What the plans of a run are kept under.
#[derive(Clone, Copy, Debug)]
pub struct Keeping<'a> {
    /// The run that held them.
    pub run: &'a RunId,
    /// The digest of its plan.
    pub run_digest: &'a str,
    /// The digest of the rules that hold them.
    pub rules_digest: &'a str,
    /// The source.
    pub source: &'a str,
    /// Who started the run.
    pub actor: &'a str,
    /// Whose doing all of it is, by all names, lower case, beside those of each plan. The database adds the role that
    /// logged in.
    pub authors: &'a BTreeSet<String>,
    /// The terms of the source.
    pub terms: &'a Terms,
}

/// One plan to keep.
#[derive(Clone, Debug)]
pub struct ToKeep {
    /// The plan, as it may be shown.
    pub plan: OrganizationPlan,
    /// Why it is held, and what lifts that.
    pub holds: Vec<Hold>,
}

/// A plan that waits, without the plan itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPlan {
    /// The organization.
    pub organization: OrganizationName,
    /// The digest of its plan.
    pub plan_digest: String,
    /// The digest of the rules that hold it.
    pub rules_digest: String,
    /// The digests of the plans of the runs that held it, the newest first.
    pub run_digests: Vec<String>,
    /// The source.
    pub source: String,
    /// The run that held it last.
    pub run: String,
    /// Who started that run.
    pub actor: String,
    /// Whose doing it is, by all names, lower case.
    pub authors: BTreeSet<String>,
    /// When that run held it.
    pub held_at: DateTime<Utc>,
    /// Why it is held, and what lifts that.
    pub holds: Vec<Hold>,
}

/// An approval to record.
#[derive(Clone, Debug)]
pub struct NewApproval<'a> {
    /// The organization.
    pub organization: &'a str,
    /// The digest of its plan.
    pub plan_digest: &'a str,
    /// The digest of the rules that hold it.
    pub rules_digest: &'a str,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// What is said with it.
    pub comment: Option<&'a str>,
    /// What was signed, if it does not stand on the role.
    pub signed: Option<&'a Signed>,
}

/// Why an approval was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The plan is no longer held.
    #[error("no such plan is held any more")]
    NotHeld,
    /// The statement was recorded before.
    #[error("this statement has been recorded before; it counts once")]
    Repeated,
    /// The plan has as many as anybody could need.
    #[error("the plan has 50 approvals of this role already")]
    TooMany,
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A plan of an organization, by its name and digest.
pub type PlanKey = (OrganizationName, String);

/// The approvals of some plans that have not come to their end, as of one moment.
#[derive(Clone, Debug)]
pub struct Open {
    /// The approvals, nobody of whom is verified yet.
    pub given: Vec<Given>,
    /// Whose plans these are, as far as anybody who kept them has told.
    pub authors: BTreeMap<PlanKey, BTreeSet<String>>,
    /// The role that logged in.
    pub role: String,
    /// The moment, by the clock of the database.
    pub now: DateTime<Utc>,
    /// Which database this is.
    pub database: String,
}

impl Planning {
    /// The approvals of some plans that have not come to their end.
    pub async fn open_approvals(&mut self, of: &[PlanKey]) -> Result<Open, StoreError> {
        let (role, now, database) = here(&mut self.transaction).await?;
        let given = given(&mut self.transaction, &Which::Open(of)).await?;
        let authors = authors(&mut self.transaction, &given).await?;
        Ok(Open { given, authors, role, now, database })
    }
}

/// Which approvals are wanted.
#[derive(Clone, Debug)]
pub enum Which<'a> {
    /// The newest, of one organization or of all.
    Newest(Option<&'a str>),
    /// The one of this number.
    Numbered(i64),
    /// Those of these plans, by organization and digest, that have not come to their end.
    Open(&'a [PlanKey]),
}

/// A snapshot in which plans that are held and approvals are read.
#[derive(Debug)]
pub struct Approving {
    transaction: Transaction<'static, Postgres>,
    /// The role that logged in.
    pub role: String,
    /// The moment, by the clock of the database.
    pub now: DateTime<Utc>,
    /// Which database this is.
    pub database: String,
}

impl Store {
    /// Opens a snapshot in which plans that are held and approvals are read. An approver needs no other right.
    pub async fn approving(&self) -> Result<Approving, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        become_one_of(&mut transaction, &["argus_planner", "argus_approver"]).await?;
        migrate::check(&mut transaction).await?;
        let (role, now, database) = here(&mut transaction).await?;
        Ok(Approving { transaction, role, now, database })
    }

    /// Keeps plans that are held under their digests, and lets those go that have waited for too long. Gives those that
    /// are not kept, and why.
    pub async fn keep(
        &self,
        keeping: &Keeping<'_>,
        plans: &[ToKeep],
    ) -> Result<Vec<(OrganizationName, String)>, StoreError> {
        let mut unkept = Vec::new();
        let mut transaction = self.reconciling().await?;
        let (mut batch, mut batch_bytes, mut run_bytes) = (Batch::default(), 0, 0);
        for ToKeep { plan, holds } in plans {
            let text = serde_json::to_string(plan).unwrap_or_default();
            if text.len() > PLAN_BYTES_MAX {
                let why = format!("its plan has {} bytes, and {PLAN_BYTES_MAX} are kept at most", text.len());
                unkept.push((plan.organization.clone(), why));
                continue;
            }
            if run_bytes + text.len() > RUN_BYTES_MAX {
                let why = format!("the plans of this run come to more than {RUN_BYTES_MAX} bytes");
                unkept.push((plan.organization.clone(), why));
                continue;
            }
            (batch_bytes, run_bytes) = (batch_bytes + text.len(), run_bytes + text.len());
            batch.organizations.push(plan.organization.to_string());
            batch.digests.push(plan.digest.clone());
            batch.holds.push(serde_json::to_string(holds).unwrap_or_default());
            batch.plans.push(text);
            let cut = |name: &String| name.chars().take(AUTHOR_CHARS_MAX).collect::<String>();
            let authors: Vec<String> = plan.authors_among(keeping.authors).iter().map(cut).collect();
            batch.authors.push(serde_json::to_string(&authors).unwrap_or_default());
            if batch_bytes > STATEMENT_BYTES {
                std::mem::take(&mut batch).write(&mut transaction, keeping).await?;
                batch_bytes = 0;
            }
        }
        batch.write(&mut transaction, keeping).await?;
        let of: Vec<String> = plans.iter().map(|each| each.plan.organization.to_string()).collect();
        drop_old(&mut transaction, &of).await?;
        transaction.commit().await?;
        Ok(unkept)
    }

    /// Whether plans of organizations, by their digests, are kept as held under these rules, all of them.
    pub async fn keeps(&self, plans: &[(&str, &str)], rules_digest: &str) -> Result<bool, StoreError> {
        let mut transaction = self.reconciling().await?;
        let (organizations, digests): (Vec<&str>, Vec<&str>) = plans.iter().copied().unzip();
        let query = "SELECT NOT EXISTS (
                         SELECT FROM unnest($1::text[], $2::text[]) AS p(organization, digest)
                         WHERE NOT EXISTS (SELECT FROM argus.held_plan h
                                           WHERE h.organization = p.organization AND h.plan_digest = p.digest
                                             AND h.rules_digest = $3))";
        let query = sqlx::query_scalar(query).bind(organizations).bind(digests).bind(rules_digest);
        Ok(query.fetch_one(&mut *transaction).await?)
    }

    /// Records approvals, all or none, and gives their numbers.
    pub async fn approve(&self, approvals: &[NewApproval<'_>]) -> Result<Vec<i64>, RecordError> {
        let mut transaction = self.pool.begin().await.map_err(StoreError::from)?;
        become_one_of(&mut transaction, &["argus_approver", "argus_reconciler"]).await?;
        let mut numbers = Vec::with_capacity(approvals.len());
        for NewApproval { organization, plan_digest, rules_digest, expires_at, comment, signed } in approvals {
            let number = sqlx::query_scalar("SELECT argus.approve($1, $2, $3, $4, $5, $6, $7)")
                .bind(organization)
                .bind(plan_digest)
                .bind(rules_digest)
                .bind(expires_at)
                .bind(comment)
                .bind(signed.map(|signed| signed.statement.as_str()))
                .bind(signed.map(|signed| signed.signature.as_str()))
                .fetch_one(&mut *transaction)
                .await;
            numbers.push(number.map_err(|error| match &*sqlstate(&error) {
                "P0002" => RecordError::NotHeld,
                "23505" => RecordError::Repeated,
                "54000" => RecordError::TooMany,
                _ => RecordError::Store(error.into()),
            })?);
        }
        transaction.commit().await.map_err(StoreError::from)?;
        Ok(numbers)
    }

    /// Takes an approval back, and says whether it was there to be taken.
    pub async fn revoke_approval(&self, number: i64) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        become_one_of(&mut transaction, &["argus_approver", "argus_reconciler"]).await?;
        let revoked =
            sqlx::query_scalar("SELECT argus.revoke_approval($1)").bind(number).fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(revoked)
    }
}

/// Takes the first of these roles that the login is a member of, for this transaction.
async fn become_one_of(transaction: &mut Transaction<'static, Postgres>, roles: &[&str]) -> Result<(), StoreError> {
    let names: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    let row = sqlx::query(
        "SELECT (SELECT r.name FROM unnest($1::text[]) WITH ORDINALITY AS r(name, at)
                 JOIN pg_catalog.pg_roles p ON p.rolname = r.name
                 WHERE pg_has_role(session_user, p.oid, 'MEMBER') ORDER BY r.at LIMIT 1),
                session_user::text",
    )
    .bind(names)
    .fetch_one(&mut **transaction)
    .await?;
    let Some(role) = row.try_get::<Option<String>, _>(0)? else {
        return Err(StoreError::NotAMember { login: row.try_get(1)?, roles: roles.join(" or ") });
    };
    sqlx::query("SELECT set_config('role', $1, true), set_config('search_path', 'pg_catalog', true)")
        .bind(role)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Plans that are kept by one statement, column by column.
#[derive(Default)]
struct Batch {
    organizations: Vec<String>,
    digests: Vec<String>,
    holds: Vec<String>,
    plans: Vec<String>,
    authors: Vec<String>,
}

impl Batch {
    async fn write(
        self,
        transaction: &mut Transaction<'static, Postgres>,
        keeping: &Keeping<'_>,
    ) -> Result<(), StoreError> {
        if self.organizations.is_empty() {
            return Ok(());
        }
        let Keeping { run, run_digest, rules_digest, source, actor, authors: _, terms } = keeping;
        sqlx::query(
            "INSERT INTO argus.held_plan AS h (organization, plan_digest, rules_digest, run_digests, source, run, actor,
                                               authors, holds, terms, plan)
             SELECT p.organization, p.digest, $1, ARRAY[$2::text], $3, $4, $5,
                    ARRAY(SELECT json_array_elements_text(p.authors::json)), p.holds::json, $6::json, p.plan::json
             FROM unnest($7::text[], $8::text[], $9::text[], $10::text[], $11::text[])
                  AS p(organization, digest, holds, plan, authors)
             ON CONFLICT (organization, plan_digest, rules_digest) DO UPDATE
                 SET run_digests = (excluded.run_digests
                                    || array_remove(h.run_digests, excluded.run_digests[1]))[1:20],
                     source = excluded.source, run = excluded.run, actor = excluded.actor,
                     authors = ARRAY(SELECT DISTINCT unnest(h.authors || excluded.authors)), holds = excluded.holds,
                     terms = excluded.terms, plan = excluded.plan, held_at = clock_timestamp()",
        )
        .bind(rules_digest)
        .bind(run_digest)
        .bind(source)
        .bind(run.as_str())
        .bind(actor)
        .bind(serde_json::to_string(terms).unwrap_or_default())
        .bind(self.organizations)
        .bind(self.digests)
        .bind(self.holds)
        .bind(self.plans)
        .bind(self.authors)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }
}

/// Lets those plans go that have waited for too long, and of some organizations those that are too many. One that
/// somebody has approved stays as long as the approval: it knows who its authors are.
async fn drop_old(transaction: &mut Transaction<'static, Postgres>, of: &[String]) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM argus.held_plan h
         WHERE (h.held_at < clock_timestamp() - make_interval(days => $1)
                OR (h.organization, h.plan_digest, h.rules_digest) IN (
                    SELECT n.organization, n.plan_digest, n.rules_digest
                    FROM (SELECT o.*, row_number() OVER (PARTITION BY o.organization ORDER BY o.held_at DESC) AS place
                          FROM (SELECT organization, plan_digest, rules_digest, held_at FROM argus.held_plan
                                WHERE organization = ANY($2)) o) n
                    WHERE n.place > $3))
           AND NOT EXISTS (SELECT FROM argus.approval a
                           WHERE a.plan_digest = h.plan_digest AND a.rules_digest = h.rules_digest
                             AND a.organization = h.organization AND a.used_at IS NULL AND a.revoked_at IS NULL
                             AND a.expires_at > clock_timestamp())",
    )
    .bind(WAITING_DAYS_MAX)
    .bind(of)
    .bind(WAITING_MAX)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

impl Approving {
    /// The plans that are held, the newest first: those whose digest, or the digest of whose run's plan, begins like
    /// this, or all of them; of one organization, or of all.
    pub async fn held(&mut self, begins: &str, organization: Option<&str>) -> Result<Vec<HeldPlan>, StoreError> {
        let rows = sqlx::query(
            "SELECT h.organization, h.plan_digest, h.rules_digest, h.run_digests, h.source, h.run, h.actor, h.authors,
                    least(greatest(h.held_at, '0001-01-01Z'), '9999-12-31Z'), h.holds::text
             FROM argus.held_plan h
             WHERE ($1 = '' OR starts_with(h.plan_digest, $1)
                    OR EXISTS (SELECT FROM unnest(h.run_digests) AS r(digest) WHERE starts_with(r.digest, $1)))
               AND ($2::text IS NULL OR h.organization = $2)
             ORDER BY h.held_at DESC, h.organization, h.plan_digest, h.rules_digest LIMIT $3",
        )
        .bind(begins)
        .bind(organization)
        // An approval of a run's plan is for all that it held, however many these are.
        .bind(if begins.is_empty() { LISTED_MAX } else { i64::from(u16::MAX) })
        .fetch_all(&mut *self.transaction)
        .await?;
        let read = |row: &PgRow| {
            Ok(HeldPlan {
                organization: content::some_text(row, 0)?.into(),
                plan_digest: content::some_text(row, 1)?,
                rules_digest: content::some_text(row, 2)?,
                run_digests: row.try_get(3)?,
                source: content::some_text(row, 4)?,
                run: content::some_text(row, 5)?,
                actor: content::some_text(row, 6)?,
                authors: row.try_get::<Vec<String>, _>(7)?.into_iter().collect(),
                held_at: row.try_get(8)?,
                holds: serde_json::from_str(&content::some_text(row, 9)?).unwrap_or_default(),
            })
        };
        rows.iter().map(read).collect()
    }

    /// The plan itself and its terms; none where it is not what its digest says, or of a form that this binary does not
    /// read.
    pub async fn plan_of(&mut self, held: &HeldPlan) -> Result<Option<(OrganizationPlan, Terms)>, StoreError> {
        let row = sqlx::query(
            "SELECT plan::text, terms::text FROM argus.held_plan
             WHERE organization = $1 AND plan_digest = $2 AND rules_digest = $3",
        )
        .bind(&*held.organization)
        .bind(&held.plan_digest)
        .bind(&held.rules_digest)
        .fetch_optional(&mut *self.transaction)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let plan: Option<OrganizationPlan> = serde_json::from_str(&content::some_text(&row, 0)?).ok();
        let plan = plan.filter(|plan| {
            let digest = plan.compute_digest();
            plan.organization == held.organization && digest == held.plan_digest && digest == plan.digest
        });
        let terms: Option<Terms> = serde_json::from_str(&content::some_text(&row, 1)?).ok();
        Ok(plan.zip(terms))
    }

    /// Approvals, the newest first.
    pub async fn given(&mut self, which: &Which<'_>) -> Result<Vec<Given>, StoreError> {
        given(&mut self.transaction, which).await
    }

    /// Whose plans these approvals are of, as far as anybody who kept them has told.
    pub async fn authors(&mut self, given: &[Given]) -> Result<BTreeMap<PlanKey, BTreeSet<String>>, StoreError> {
        authors(&mut self.transaction, given).await
    }

    /// The approvals of some plans that have not come to their end.
    pub async fn open_approvals(&mut self, of: &[PlanKey]) -> Result<Open, StoreError> {
        let given = given(&mut self.transaction, &Which::Open(of)).await?;
        let authors = authors(&mut self.transaction, &given).await?;
        Ok(Open { given, authors, role: self.role.clone(), now: self.now, database: self.database.clone() })
    }
}

/// The role that logged in, the moment, and which database this is.
async fn here(connection: &mut PgConnection) -> Result<(String, DateTime<Utc>, String), StoreError> {
    let query = "SELECT session_user::text, clock_timestamp(), id::text FROM argus.installation";
    Ok(sqlx::query_as(query).fetch_one(connection).await?)
}

async fn given(connection: &mut PgConnection, which: &Which<'_>) -> Result<Vec<Given>, StoreError> {
    let query = match which {
        Which::Newest(_) => format!(
            "SELECT {GIVEN} FROM argus.approval a WHERE $1::text IS NULL OR a.organization = $1
             ORDER BY a.id DESC LIMIT {LISTED_MAX}"
        ),
        Which::Numbered(_) => format!("SELECT {GIVEN} FROM argus.approval a WHERE a.id = $1"),
        Which::Open(_) => format!(
            "SELECT {GIVEN} FROM unnest($1::text[], $2::text[]) AS w(organization, digest)
             CROSS JOIN LATERAL (
                 SELECT * FROM argus.approval a
                 WHERE a.plan_digest = w.digest AND a.organization = w.organization AND a.used_at IS NULL
                   AND a.revoked_at IS NULL AND a.expires_at > clock_timestamp()
                   -- Of each role the newest: none takes the places of another one.
                   AND (SELECT count(*) FROM argus.approval o
                        WHERE o.plan_digest = a.plan_digest AND o.organization = a.organization AND o.role = a.role
                          AND o.id > a.id AND o.used_at IS NULL AND o.revoked_at IS NULL
                          AND o.expires_at > clock_timestamp()) < {APPROVALS_OF_ROLE_MAX}
                 ORDER BY a.id DESC LIMIT {APPROVALS_PER_PLAN_MAX}) a
             ORDER BY a.id DESC"
        ),
    };
    let query = sqlx::query(sqlx::AssertSqlSafe(query));
    let query = match which {
        Which::Newest(organization) => query.bind(*organization),
        Which::Numbered(number) => query.bind(*number),
        Which::Open(plans) => {
            let (organizations, digests) = columns(plans.iter());
            query.bind(organizations).bind(digests)
        }
    };
    query.fetch_all(connection).await?.iter().map(read_given).collect()
}

async fn authors(
    connection: &mut PgConnection,
    given: &[Given],
) -> Result<BTreeMap<PlanKey, BTreeSet<String>>, StoreError> {
    let of: BTreeSet<PlanKey> = given.iter().map(Given::plan).collect();
    let mut authors: BTreeMap<PlanKey, BTreeSet<String>> = BTreeMap::new();
    if of.is_empty() {
        return Ok(authors);
    }
    let (organizations, digests) = columns(of.iter());
    let rows: Vec<(String, String, Vec<String>)> = sqlx::query_as(
        "SELECT h.organization, h.plan_digest, h.authors
         FROM unnest($1::text[], $2::text[]) AS w(organization, digest)
         JOIN argus.held_plan h ON h.organization = w.organization AND h.plan_digest = w.digest",
    )
    .bind(organizations)
    .bind(digests)
    .fetch_all(connection)
    .await?;
    // Other rules may have held the same plan before: whose doing it was then it still is.
    for (organization, digest, names) in rows {
        authors.entry((organization.into(), digest)).or_default().extend(names);
    }
    Ok(authors)
}

fn columns<'a>(plans: impl Iterator<Item = &'a PlanKey>) -> (Vec<String>, Vec<String>) {
    plans.map(|(organization, digest)| (organization.to_string(), digest.clone())).unzip()
}

fn read_given(row: &PgRow) -> Result<Given, StoreError> {
    let signed = content::text(row, 5)?.zip(content::text(row, 6)?);
    let used = content::text(row, 10)?.zip(row.try_get::<Option<DateTime<Utc>>, _>(12)?);
    let revoked = content::text(row, 13)?.zip(row.try_get::<Option<DateTime<Utc>>, _>(14)?);
    let end = match (used, revoked) {
        (Some((run, at)), _) => Some(End::Used { run, name: content::some_text(row, 11)?, at }),
        (None, Some((role, at))) => Some(End::Revoked { role, at }),
        (None, None) => None,
    };
    Ok(Given {
        id: row.try_get(0)?,
        organization: content::some_text(row, 1)?.into(),
        plan_digest: content::some_text(row, 2)?,
        rules_digest: content::some_text(row, 3)?,
        role: content::some_text(row, 4)?,
        signed: signed.map(|(statement, signature)| Signed { statement, signature }),
        comment: content::text(row, 7)?,
        at: row.try_get(8)?,
        expires_at: row.try_get(9)?,
        end,
    })
}
