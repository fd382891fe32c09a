//! Two runs with one approval, and runs that die with one: it is used together with what it lets through, or not at
//! all.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use argus::approval::{Approval, Approver};
use argus::brake::Brakes;
use argus::engine::{Applying, approving};
use argus::event::content::Cause;
use argus::guard;
use argus::model::code::Code;
use argus::plan::{Change, Plan};
use argus::policy::judgement::Judgements;
use argus::store::Store;
use argus::store::apply::{ApplyContext, failpoints};
use argus::store::run::RunId;
use argus::verdict::{self, Approved, Judging, Terms, Verdict};
use chrono::{TimeDelta, Utc};
use sqlx::PgConnection;

use super::{CI, Court, staff};
use crate::cli::run;
use crate::support::plans::{SOURCE, apply, begin, by, create, plan, update};
use crate::support::postgres::{Database, one, run as sql};

/// How often two stores race.
const RACES: usize = 25;

/// How often two processes do.
const PROCESS_RACES: usize = 4;

/// A plan that is held for somebody's approval, and the approval that it got.
struct Case {
    plan: Plan,
    approvals: Vec<Approval>,
}

impl Case {
    /// Keeps a plan with these changes, and approves it in the database.
    async fn new(store: &Store, session: &mut PgConnection, name: &str, changes: Vec<Change>) -> Case {
        let mut held = plan("acme", changes);
        held.holds.push(guard::empty_source("x", 1));
        let mut case = Case { plan: Plan::new(SOURCE, (1, 1), vec![held.sealed()], Vec::new()), approvals: Vec::new() };
        let verdict = case.verdict();
        assert!(verdict.approved.is_empty(), "it is held");
        let applying = Applying {
            run: begin(store, &format!("held-{name}")).await,
            actor: "ada".into(),
            authors: BTreeSet::new(),
            terms: Terms::default(),
            forced: false,
            policed: false,
            at_once: 1,
            rolls_back: None,
            whole: true,
            lease: None,
        };
        let unkept = approving::keep(store, &case.plan, &verdict.told, &applying).await.expect("it is kept");
        assert!(unkept.is_empty());
        let (plan_digest, rules_digest) = (case.plan.organizations[0].digest.clone(), verdict.told.rules_digest);
        let approve = format!(
            "SELECT argus.approve('acme', '{plan_digest}', '{rules_digest}', now() + interval '1 h', NULL, NULL, NULL)"
        );
        case.approvals.push(Approval {
            id: one(session, &approve).await.parse().expect("a number"),
            plan_digest,
            rules_digest,
            approver: Approver { name: "grace".into(), groups: BTreeSet::new(), also: BTreeSet::new() },
            at: Utc::now() - TimeDelta::hours(1),
            expires_at: Utc::now() + TimeDelta::hours(1),
        });
        case
    }

    fn verdict(&self) -> Verdict {
        let terms = Terms::default();
        let judging = Judging {
            terms: &terms,
            policies: &Judgements::none(&terms),
            brakes: &Brakes::default(),
            approvals: &self.approvals,
            authors: &BTreeSet::new(),
            now: Utc::now(),
            force: false,
        };
        verdict::judge(&self.plan, &judging)
    }

    /// What the verdict lets through.
    fn approved(&self) -> Approved {
        self.verdict().approved.pop().expect("it is approved")
    }

    fn number(&self) -> i64 {
        self.approvals[0].id
    }
}

fn context(run: &RunId) -> ApplyContext<'_> {
    static BY: LazyLock<Cause> = LazyLock::new(|| by("ci"));
    ApplyContext { run, by: &BY, read_at: None, rolls_back: None, lease: None }
}

/// A database in which the organization is there.
async fn acme() -> (Database, Store, PgConnection) {
    let database = Database::new().await;
    let store = database.store().await;
    apply(&store, "r0", plan("acme", vec![create("Organization", "acme", "{}")])).await.expect("acme");
    let session = database.session().await;
    (database, store, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_runs_with_one_approval_one_applies() {
    let (database, store, mut session) = acme().await;
    let stores = [store, database.store().await];
    for number in 0..RACES {
        let name = format!("team-{number}");
        let case = Case::new(&stores[0], &mut session, &name, vec![create("Team", &name, "{}")]).await;
        let runs = [begin(&stores[0], &format!("{name}-a")).await, begin(&stores[1], &format!("{name}-b")).await];
        // Both have their verdict before either has begun.
        let [a, b] = [case.approved(), case.approved()];
        let (contexts, started) = ([context(&runs[0]), context(&runs[1])], number % 2);
        let (first, second) = tokio::join!(
            stores[started].apply(&a, &contexts[started]),
            stores[1 - started].apply(&b, &contexts[1 - started])
        );
        let mut ends = [first, second].map(|end| end.map(drop).map_err(|error| error.code()));
        ends.sort_by_key(Result::is_err);
        assert_eq!(ends, [Ok(()), Err(Code::ApprovalGone)], "{name}");
        let used = "SELECT count(DISTINCT used_by_run) || ' of ' || count(used_by_run) FROM argus.approval";
        assert_eq!(one(&mut session, used).await, format!("{0} of {0}", number + 1));
        let agree = format!(
            "SELECT count(*) FROM argus.approval p
             JOIN argus.run_organization r ON r.run = p.used_by_run AND r.outcome = 'applied'
             JOIN argus.team t ON t.name = '{name}' WHERE p.id = {}",
            case.number()
        );
        assert_eq!(one(&mut session, &agree).await, "1", "the run that used it is the one that wrote the row");
    }
}

#[tokio::test]
async fn an_approval_that_is_gone_by_then_lets_nothing_through() {
    let (_database, store, mut session) = acme().await;
    let past = "at = now() - interval '3 h', expires_at = now() - interval '1 s'";
    for (number, (what, happens)) in [
        ("was used by the run r0", "used_at = now(), used_by_run = 'r0', used_as = 'x'"),
        ("was taken back by the role eve", "revoked_at = now(), revoked_by = 'eve'"),
        ("has ended", past),
        ("is of another plan", "plan_digest = rules_digest"),
        ("is of another plan", "rules_digest = plan_digest"),
        ("is of another plan", "organization = 'apex'"),
        ("is not there", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("team-{number}");
        let case = Case::new(&store, &mut session, &name, vec![create("Team", &name, "{}")]).await;
        let update = format!("UPDATE argus.approval SET {happens} WHERE id = {}", case.number());
        let update = match what {
            "is not there" => format!("DELETE FROM argus.approval WHERE id = {}", case.number()),
            _ => update,
        };
        sql(&mut session, &format!("SET session_replication_role = replica; {update}; RESET session_replication_role"))
            .await;
        let run = begin(&store, &name).await;
        let error = store.apply(&case.approved(), &context(&run)).await.expect_err(what);
        assert_eq!(error.code(), Code::ApprovalGone, "{error}");
        assert!(error.to_string().contains(&format!("approval {} by grace {what}", case.number())), "{error}");
        assert_eq!(one(&mut session, "SELECT count(*) FROM argus.team").await, "0", "{what}");
    }
    assert_eq!(one(&mut session, "SELECT version FROM argus.clock WHERE organization = 'acme'").await, "1");
}

#[tokio::test]
async fn a_row_that_has_moved_leaves_the_approval_unused() {
    let (_database, store, mut session) = acme().await;
    let changes = vec![update("Organization", "acme", 1, r#"{"description": "new"}"#)];
    let case = Case::new(&store, &mut session, "stale", changes).await;
    let unused = format!("SELECT used_at IS NULL FROM argus.approval WHERE id = {}", case.number());
    sql(&mut session, "UPDATE argus.organization SET description = 'theirs'").await;
    let run = begin(&store, "stale").await;
    let error = store.apply(&case.approved(), &context(&run)).await.expect_err("the row has moved");
    assert_eq!((error.code(), one(&mut session, &unused).await.as_str()), (Code::Stale, "true"));
}

/// A court in which the plan that waits is saved and approved.
fn saved() -> Court {
    let court = Court::new();
    court.ci(&["plan", "-o", "saved.plan"]).ends(0);
    court.ci(&["apply", "saved.plan", "--auto-approve"]).ends(4);
    court.approve("grace", &court.digest()).ends(0);
    court
}

const SAVED: &[&str] = &["apply", "saved.plan", "--auto-approve", "--lock-timeout", "120"];

#[test]
fn of_two_processes_with_one_approval_one_applies() {
    for _ in 0..PROCESS_RACES {
        let court = saved();
        let ends = std::thread::scope(|threads| {
            let runs = [0, 1].map(|_| threads.spawn(|| court.ci(SAVED)));
            runs.map(|run| run.join().expect("it ends"))
        });
        let mut codes = ends.each_ref().map(|ran| ran.code);
        codes.sort();
        assert_eq!(codes, [Some(0), Some(4)], "{}\n{}", ends[0], ends[1]);
        assert_eq!(court.members(), "2");
        let used = "SELECT count(*) FROM argus.approval p JOIN argus.run_organization r ON r.run = p.used_by_run \
                    AND r.outcome = 'applied'";
        assert_eq!(court.world.sql(used), "1");
    }
}

#[test]
fn a_run_that_dies_has_used_its_approval_and_written_its_rows_or_neither() {
    let points: Vec<String> = failpoints().into_iter().filter(|point| reached(point)).collect();
    assert!(points.iter().any(|point| point == "apply.after_approvals") && points.len() == 8, "{points:?}");
    for point in &points {
        let court = saved();
        let mut command = court.command(CI, SAVED);
        command.env("ARGUS_FAILPOINT", point).env("ARGUS_FAILPOINT_ORG", "acme");
        let died = run(command);
        assert_eq!(died.code, None, "{point} was not reached: {died}");
        let state = (court.members(), court.world.sql("SELECT count(used_at) FROM argus.approval"));
        if point == "apply.after_commit" {
            assert_eq!(state, ("2".into(), "1".into()), "{point}");
            court.ci(SAVED).ends(4);
        } else {
            assert_eq!(state, ("10".into(), "0".into()), "{point}");
            court.ci(SAVED).ends(0).says("approved by grace");
        }
        court.write("acme.yaml", &staff("acme", 1)).apply().ends(0);
        assert_eq!(court.members(), "2", "{point}");
    }
}

/// Whether a plan that deletes members comes by.
fn reached(point: &str) -> bool {
    let step = point.trim_start_matches("apply.after_").trim_start_matches("apply.");
    !step.contains('.') || step == "delete.Member"
}
