//! Brakes in the database: what a suspension stops, also when it comes between a verdict and its transaction.

use std::time::Duration;

use argus::model::code::Code;
use argus::store::apply::ApplyContext;
use argus::store::error::ApplyError;
use argus::store::suspension::{End, NewSuspension, Suspended};
use argus::store::{Store, run::RunId};
use chrono::TimeDelta;

use crate::support::plans::{SOURCE, apply, approved, begin, by, create, plan, rename, update};
use crate::support::postgres::{Database, one, refused, run};

fn suspension(of: Suspended<'_>) -> NewSuspension<'_> {
    NewSuspension { of, reason: "an incident", owner: "grace", end: End::After(TimeDelta::hours(2)), actor: "ada" }
}

fn acme(source: Option<&str>) -> Suspended<'_> {
    Suspended::Organization { name: "acme", source }
}

async fn writes(store: &Store, run: &str) -> Result<(), ApplyError> {
    let changes = vec![create("Organization", run, "{}")];
    apply(store, run, plan(run, changes)).await.map(drop)
}

#[tokio::test]
async fn a_suspension_that_comes_behind_the_verdict_stops_the_transaction() {
    let database = Database::new().await;
    let store = database.store().await;
    let verdict = approved(plan("acme", vec![create("Organization", "acme", "{}")]));
    let run: RunId = begin(&store, "r1").await;
    store.suspend(&suspension(acme(None))).await.expect("suspended");
    let by = by("ada");
    let context = ApplyContext { run: &run, by: &by, read_at: None, rolls_back: None, lease: None };
    let error = store.apply(&verdict, &context).await.expect_err("it is suspended by now");
    assert_eq!(error.code(), Code::Suspended);
    let finding = error.finding();
    assert!(finding.message.contains("`acme` is suspended until ") && finding.message.contains("an incident"));
    assert!(finding.hint.as_ref().is_some_and(|hint| hint.contains("grace") && hint.contains("argus resume acme")));
    let mut session = database.session().await;
    assert_eq!(one(&mut session, "SELECT count(*) FROM argus.organization").await, "0");
    assert_eq!(one(&mut session, "SELECT count(*) FROM argus.run_organization").await, "0");
    store.resume(acme(None), "ada", "over").await.expect("resumed");
    store.apply(&verdict, &context).await.expect("nothing is in its way any more");
}

#[tokio::test]
async fn a_suspension_stops_what_it_names_and_nothing_else() {
    let database = Database::new().await;
    let store = database.store().await;
    for of in [acme(None), acme(Some(SOURCE)), Suspended::Source(SOURCE)] {
        store.suspend(&suspension(of)).await.expect("suspended");
        assert!(writes(&store, "acme").await.is_err(), "{of:?}");
        store.resume(of, "ada", "over").await.expect("resumed");
    }
    store.suspend(&suspension(acme(Some("other")))).await.expect("suspended");
    store.suspend(&suspension(Suspended::Source("other"))).await.expect("suspended");
    let globex = Suspended::Organization { name: "globex", source: None };
    store.suspend(&suspension(globex)).await.expect("suspended");
    writes(&store, "acme").await.expect("these are about others");
    // Whatever it is going to be called.
    let renamed = plan("apex", vec![rename("Organization", "acme", "apex", 1, "{}")]);
    store.suspend(&suspension(acme(None))).await.expect("suspended");
    assert!(apply(&store, "r2", renamed.clone()).await.is_err());
    store.resume(acme(None), "ada", "over").await.expect("resumed");
    store.suspend(&suspension(Suspended::Organization { name: "apex", source: None })).await.expect("suspended");
    assert!(apply(&store, "r3", renamed).await.is_err());
    // What all share belongs to the source as a whole.
    let tier = |run: &'static str| plan("", vec![create("Tier", run, "{}")]);
    apply(&store, "t1", tier("t1")).await.expect("no organization");
    store.suspend(&suspension(Suspended::Source(SOURCE))).await.expect("suspended");
    assert!(apply(&store, "t2", tier("t2")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn suspending_waits_for_what_is_being_applied_and_nothing_is_written_after_it() {
    for of in [acme(None), Suspended::Source(SOURCE)] {
        let database = Database::new().await;
        let store = database.store().await;
        writes(&store, "acme").await.expect("applied");
        // Somebody holds the clock, so that the apply stands in the middle of its transaction.
        let mut holder = database.session().await;
        run(&mut holder, "BEGIN; SELECT argus.hold_clock('acme')").await;
        let change = || plan("acme", vec![update("Organization", "acme", 1, r#"{"displayName": "New"}"#)]);
        let applying = tokio::spawn({
            let (store, change) = (store.clone(), change());
            async move { apply(&store, "r2", change).await }
        });
        let mut watcher = database.session().await;
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while one(&mut watcher, waiting).await != "1" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let other = store.clone();
        let suspending = tokio::spawn(async move {
            other.suspend(&suspension(of)).await.expect("suspended");
        });
        while one(&mut watcher, waiting).await != "2" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(one(&mut watcher, "SELECT count(*) FROM argus.suspension").await, "0", "it is not said yet");
        run(&mut holder, "COMMIT").await;
        applying.await.expect("no panic").expect("what was under way comes to its end");
        suspending.await.expect("no panic");
        let later = apply(&store, "r3", plan("acme", vec![update("Organization", "acme", 2, "{}")])).await;
        assert_eq!(later.expect_err("it is suspended").code(), Code::Suspended);
    }
}

#[tokio::test]
async fn what_was_suspended_is_never_forgotten_and_lifted_only_once() {
    let database = Database::new().await;
    let store = database.store().await;
    let first = store.suspend(&suspension(acme(None))).await.expect("suspended");
    assert_eq!((first.created_by.as_str(), first.owner.as_str()), ("ada", "grace"));
    let mut session = database.session_as("brakeman", "argus_reconciler").await;
    run(&mut session, "SET ROLE argus_reconciler").await;
    for forbidden in [
        "DELETE FROM argus.suspension",
        "TRUNCATE argus.suspension",
        "UPDATE argus.suspension SET ends_at = now()",
        "UPDATE argus.suspension SET reason = 'x'",
        "UPDATE argus.suspension SET lifted_role = 'somebody'",
        "INSERT INTO argus.suspension (source, organization, reason, owner, ends_at, created_by, created_role)
         VALUES ('', 'acme', 'x', 'x', now() + interval '1 hour', 'x', 'somebody')",
    ] {
        assert_eq!(refused(&mut session, forbidden).await, "42501", "{forbidden}");
    }
    let insert = |values: &str| {
        format!(
            "INSERT INTO argus.suspension (source, organization, reason, owner, ends_at, created_by) VALUES ({values})"
        )
    };
    for bad in [
        "'', '', 'x', 'x', now() + interval '1 hour', 'x'",
        "'', 'acme', ' ', 'x', now() + interval '1 hour', 'x'",
        "'', 'acme', E'a\\nb', 'x', now() + interval '1 hour', 'x'",
        "'', 'acme', 'x', '', now() + interval '1 hour', 'x'",
        "'', 'acme', 'x', 'x', now() - interval '1 hour', 'x'",
        "'', 'acme', 'x', 'x', now() + interval '91 days', 'x'",
        "'', 'acme', 'x', 'x', 'infinity', 'x'",
    ] {
        assert_eq!(refused(&mut session, &insert(bad)).await, "23514", "{bad}");
    }
    run(&mut session, &insert("'', 'acme', 'by hand', 'x', now() + interval '1 hour', 'x'")).await;
    let lift = "UPDATE argus.suspension SET lifted_at = '2000-01-01', lifted_by = 'eve', lift_reason = 'so'
                WHERE reason = 'by hand'";
    run(&mut session, lift).await;
    assert_eq!(refused(&mut session, lift).await, "42501", "once");
    let lifted = "SELECT created_role || ' ' || lifted_role || ' ' || (lifted_at > created_at) FROM argus.suspension
                  WHERE reason = 'by hand'";
    assert_eq!(one(&mut session, lifted).await, "brakeman brakeman true", "the database says who and when");
    run(&mut session, "RESET ROLE").await;
    // Not even the owner of the table forgets.
    let mut superuser = database.session().await;
    run(&mut superuser, "SET ROLE argus_owner").await;
    assert_eq!(refused(&mut superuser, "DELETE FROM argus.suspension").await, "42501");
    assert_eq!(store.resume(acme(None), "ada", "over").await.expect("resumed").len(), 1);
    assert_eq!(store.resume(acme(None), "ada", "over").await.expect("nothing is left").len(), 0);
}

#[tokio::test]
async fn a_suspension_is_over_when_the_clock_of_the_database_says_so() {
    let database = Database::new().await;
    let store = database.store().await;
    let mut session = database.session().await;
    let ends = "INSERT INTO argus.suspension (source, organization, reason, owner, ends_at, created_by)
                VALUES ('', 'acme', 'short', 'x', clock_timestamp() + interval '2 seconds', 'x')";
    run(&mut session, ends).await;
    let is_on =
        || async { store.planning().await.expect("planning").suspensions(None).await.expect("read").len() == 1 };
    let mut refused = 0;
    loop {
        let over = "SELECT clock_timestamp() >= ends_at FROM argus.suspension";
        let over_before = one(&mut session, over).await == "true";
        let (listed, applied) = (is_on().await, writes(&store, "acme").await);
        let over_after = one(&mut session, over).await == "true";
        match &applied {
            Err(error) => {
                assert_eq!(error.code(), Code::Suspended);
                assert!(!over_before, "it was over");
                refused += 1;
            }
            Ok(()) => assert!(over_after, "it was not over"),
        }
        assert!(if listed { !over_before } else { over_after }, "what is listed is what is on");
        if applied.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(refused > 0, "it was on for a while");
    assert!(!is_on().await);
}
