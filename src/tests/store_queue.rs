//! The queue of the controller: who gets what, in which order, and what happens to those whose time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use argus::event::telling;
use argus::model::code::Code;
use argus::model::id::OrganizationName;
use argus::store::Store;
use argus::store::apply::ApplyContext;
use argus::store::baselines::Moves;
use argus::store::queue::{Batch, Claim, Found, Holder, Moved, Settled, Undone};
use argus::store::run::{RunEnd, RunId};

use crate::support::plans::{SOURCE, apply, approved, begin, by, create, plan, update};
use crate::support::postgres::{Database, one, refused, run};

const LEASE: Duration = Duration::from_secs(60);

async fn replica(store: &Store, name: &str) -> Holder {
    let holder = Holder::new(name);
    store.arrive(&holder, LEASE).await.expect("it is told");
    let own = std::slice::from_ref(&holder);
    assert_eq!(store.beat(own, LEASE).await.expect("it is told"), own);
    holder
}

/// A source whose look has found that these have moved.
async fn waiting(store: &Store, holder: &Holder, organizations: &[&str]) {
    store.enroll(SOURCE, "git").await.expect("it is enrolled");
    let look = store.take_source(SOURCE, holder).await.expect("an answer").expect("nobody looks at it");
    let moved = organizations.iter().map(|name| Moved { organization: (*name).into(), said: "1".into(), version: 0 });
    let found = Found { revision: Some("main@sha1:1".into()), moved: moved.collect(), ..Found::default() };
    assert_eq!(store.looked(&look, &found).await.expect("it is noted"), Some(organizations.len()));
}

async fn claim(store: &Store, holder: &Holder, at_once: u16) -> Option<Batch> {
    store.claim_work(SOURCE, holder, at_once, 100).await.expect("an answer")
}

fn names(batch: &Option<Batch>) -> String {
    let names = batch.iter().flat_map(|batch| batch.items.keys());
    names.map(|name: &OrganizationName| if name.is_empty() { "*" } else { name }).collect::<Vec<_>>().join(" ")
}

fn settled(outcome: &'static str) -> Settled {
    let (findings, again) = (Vec::new(), None);
    Settled { outcome, findings, again, failed: false, gone: false, version: Some(1), undone: None }
}

async fn settle(store: &Store, batch: &Batch, outcome: &'static str) {
    let all: BTreeMap<_, _> = batch.items.keys().map(|name| (name.clone(), settled(outcome))).collect();
    store.settle_work(batch, None, &all).await.expect("it is noted");
}

#[tokio::test]
async fn what_all_share_goes_first_and_alone_and_the_rest_goes_together() {
    let database = Database::new().await;
    let store = database.store().await;
    let (one, other) = (replica(&store, "one").await, replica(&store, "other").await);
    waiting(&store, &one, &["", "acme", "globex"]).await;
    let shared = claim(&store, &one, 9).await;
    assert_eq!(names(&shared), "*");
    assert_eq!(names(&claim(&store, &other, 9).await), "", "what all share is not through");
    settle(&store, &shared.expect("a batch"), "applied").await;
    let rest = claim(&store, &other, 9).await;
    assert_eq!(names(&rest), "acme globex");
    assert_eq!(names(&claim(&store, &one, 9).await), "", "it is held");
    settle(&store, &rest.expect("a batch"), "applied").await;
    assert_eq!(names(&claim(&store, &one, 9).await), "", "nothing is left");
}

#[tokio::test]
async fn what_all_share_and_does_not_work_out_holds_nobody_back() {
    let database = Database::new().await;
    let store = database.store().await;
    let holder = replica(&store, "one").await;
    waiting(&store, &holder, &["", "acme"]).await;
    let shared = claim(&store, &holder, 9).await.expect("a batch");
    let failed = Settled { again: Some(Duration::from_secs(600)), failed: true, ..settled("failed") };
    store.settle_work(&shared, None, &BTreeMap::from([("".into(), failed)])).await.expect("it is noted");
    assert_eq!(names(&claim(&store, &holder, 9).await), "acme");
}

#[tokio::test]
async fn no_more_is_under_way_than_the_source_allows() {
    let database = Database::new().await;
    let store = database.store().await;
    let holder = replica(&store, "one").await;
    waiting(&store, &holder, &["a", "b", "c"]).await;
    let one_by_one = async || store.claim_work(SOURCE, &holder, 2, 1).await.expect("an answer");
    let (first, second, third) = (one_by_one().await, one_by_one().await, one_by_one().await);
    assert_eq!((names(&first), names(&second), names(&third)), ("a".into(), "b".into(), String::new()));
    settle(&store, &first.expect("a batch"), "applied").await;
    assert_eq!(names(&one_by_one().await), "c");
}

#[tokio::test]
async fn what_was_blocked_is_tried_again_when_what_all_share_has_come() {
    let database = Database::new().await;
    let store = database.store().await;
    let holder = replica(&store, "one").await;
    waiting(&store, &holder, &["acme"]).await;
    let batch = claim(&store, &holder, 9).await.expect("a batch");
    let blocked = Settled { again: Some(Duration::from_secs(600)), failed: true, ..settled("blocked") };
    store.settle_work(&batch, None, &BTreeMap::from([("acme".into(), blocked)])).await.expect("it is noted");
    assert_eq!(names(&claim(&store, &holder, 9).await), "");
    waiting(&store, &holder, &[""]).await;
    let shared = claim(&store, &holder, 9).await.expect("a batch");
    settle(&store, &shared, "applied").await;
    assert_eq!(names(&claim(&store, &holder, 9).await), "acme");
}

/// Whatever somebody died over is taken by itself: if it is what killed them, it takes nothing else along.
#[tokio::test]
async fn what_was_begun_and_not_ended_comes_alone_and_last() {
    let database = Database::new().await;
    let store = database.store().await;
    let (dying, other) = (replica(&store, "dying").await, replica(&store, "other").await);
    waiting(&store, &dying, &["a", "b"]).await;
    assert_eq!(names(&claim(&store, &dying, 9).await), "a b");
    assert_eq!(names(&claim(&store, &other, 9).await), "", "it is held");
    store.leave(&[dying]).await.expect("it is gone");
    waiting(&store, &other, &["c"]).await;
    let (first, second, third) =
        (claim(&store, &other, 9).await, claim(&store, &other, 9).await, claim(&store, &other, 9).await);
    assert_eq!((names(&first), names(&second), names(&third)), ("c".into(), "a".into(), "b".into()));
}

/// A replica that was away for longer than its lease writes nothing any more, whatever it believes; and what it says of its
/// work is not heard.
#[tokio::test]
async fn whoever_has_lost_the_lease_cannot_commit() {
    let database = Database::new().await;
    let store = database.store().await;
    let (zombie, next) = (replica(&store, "zombie").await, replica(&store, "next").await);
    waiting(&store, &zombie, &["acme"]).await;
    let batch = claim(&store, &zombie, 9).await.expect("a batch");
    let verdict = approved(plan("acme", vec![create("Organization", "acme", "{}")]));
    let (run_id, by) = (begin(&store, "r1").await, by("ada"));
    let context = |holder, fence| ApplyContext {
        run: &run_id,
        by: &by,
        read_at: None,
        rolls_back: None,
        lease: Some((holder, fence)),
    };
    let mut session = database.session().await;
    let fence = batch.items["acme"].fence;
    run(&mut session, "UPDATE argus.replica SET valid_until = clock_timestamp() WHERE name = 'zombie'").await;
    let error = store.apply(&verdict, &context(&zombie, fence)).await.expect_err("its time is over");
    assert_eq!(error.code(), Code::Stale);
    let beaten = store.beat(std::slice::from_ref(&zombie), LEASE).await.expect("an answer");
    assert!(beaten.is_empty(), "a name whose time is over never comes back");
    let taken = claim(&store, &next, 9).await.expect("it is free");
    assert!(taken.items["acme"].fence > fence);
    assert!(store.apply(&verdict, &context(&next, fence)).await.is_err(), "under the fence of somebody else");
    assert_eq!(one(&mut session, "SELECT count(*) FROM argus.organization").await, "0");
    settle(&store, &batch, "applied").await;
    assert_eq!(one(&mut session, "SELECT holder FROM argus.work").await, "next");
    store.give_back(&batch, true, &[]).await.expect("an answer");
    assert_eq!(one(&mut session, "SELECT holder FROM argus.work").await, "next");
    store.apply(&verdict, &context(&next, taken.items["acme"].fence)).await.expect("it holds the lease");
    settle(&store, &taken, "applied").await;
    assert_eq!(one(&mut session, "SELECT asked = answered AND holder IS NULL FROM argus.work").await, "true");
}

/// While an apply is under way nobody takes its organization, even if the lease passes meanwhile.
#[tokio::test]
async fn nobody_takes_what_is_being_committed() {
    let database = Database::new().await;
    let store = database.store().await;
    let (slow, next) = (replica(&store, "slow").await, replica(&store, "next").await);
    waiting(&store, &slow, &["acme"]).await;
    let fence = claim(&store, &slow, 9).await.expect("a batch").items["acme"].fence;
    let mut session = database.session().await;
    run(&mut session, &format!("BEGIN; SELECT argus.hold_work('{SOURCE}', 'acme', 'slow', {fence})")).await;
    let mut other = database.session().await;
    run(&mut other, "UPDATE argus.replica SET valid_until = clock_timestamp() WHERE name = 'slow'").await;
    assert_eq!(names(&claim(&store, &next, 9).await), "");
    run(&mut session, "ROLLBACK").await;
    assert_eq!(names(&claim(&store, &next, 9).await), "acme");
}

#[tokio::test]
async fn a_look_counts_only_for_whoever_still_has_the_source() {
    let database = Database::new().await;
    let store = database.store().await;
    let (zombie, next) = (replica(&store, "zombie").await, replica(&store, "next").await);
    store.enroll(SOURCE, "git").await.expect("it is enrolled");
    let old = store.take_source(SOURCE, &zombie).await.expect("an answer").expect("it is free");
    assert!(store.take_source(SOURCE, &next).await.expect("an answer").is_none(), "somebody looks");
    store.leave(&[zombie]).await.expect("it is gone");
    let new = store.take_source(SOURCE, &next).await.expect("an answer").expect("it is free");
    let found = |revision: &str| Found { revision: Some(revision.into()), ..Found::default() };
    assert_eq!(store.looked(&old, &found("old")).await.expect("an answer"), None);
    assert_eq!(store.looked(&new, &found("new")).await.expect("an answer"), Some(0));
    let known = store.sources().await.expect("sources").sources;
    assert_eq!(known[SOURCE].revision.as_deref(), Some("new"));
}

/// Asking while somebody works is not lost: it is answered by the next one.
#[tokio::test]
async fn what_was_asked_for_is_known_of_all_or_of_some_and_whether_somebody_waits_for_a_look() {
    let database = Database::new().await;
    let store = database.store().await;
    let one = replica(&store, "one").await;
    waiting(&store, &one, &["acme", "globex"]).await;
    let known = async |only: Option<&[&str]>| {
        let only = only.map(|only| only.iter().map(|name| OrganizationName::from(*name)).collect());
        let known = store.asked_for(SOURCE, only.as_ref()).await.expect("an answer");
        known.into_iter().map(|(name, (said, version))| format!("{name} {said} {version}")).collect::<Vec<_>>()
    };
    assert_eq!(known(None).await, ["acme 1 0", "globex 1 0"]);
    assert_eq!(known(Some(&["globex", "initech"])).await, ["globex 1 0"]);
    assert!(known(Some(&[])).await.is_empty());
    assert!(!store.is_asked_for(SOURCE).await.expect("an answer"), "the look has answered it");
    assert!(store.wake_source(SOURCE).await.expect("an answer"));
    assert!(store.is_asked_for(SOURCE).await.expect("an answer"));
}

#[tokio::test]
async fn what_is_asked_for_meanwhile_is_done_again() {
    let database = Database::new().await;
    let store = database.store().await;
    let holder = replica(&store, "one").await;
    waiting(&store, &holder, &["acme"]).await;
    let batch = claim(&store, &holder, 9).await.expect("a batch");
    assert!(store.wake_organization(SOURCE, "acme").await.expect("an answer"));
    assert!(!store.wake_organization(SOURCE, "globex").await.expect("an answer"));
    assert!(!store.wake_source("other").await.expect("an answer"));
    settle(&store, &batch, "applied").await;
    let again = claim(&store, &holder, 9).await;
    assert_eq!(names(&again), "acme");
    settle(&store, &again.expect("a batch"), "applied").await;
    assert_eq!(names(&claim(&store, &holder, 9).await), "");
}

/// Who undoes each other waits; what the source says anew meanwhile does not.
#[tokio::test]
async fn a_fight_puts_off_what_somebody_undoes_and_not_what_the_source_says() {
    let database = Database::new().await;
    let store = database.store().await;
    let holder = replica(&store, "one").await;
    waiting(&store, &holder, &["acme"]).await;
    let mut session = database.session().await;
    run(&mut session, "UPDATE argus.work SET undone = 5, undone_at = clock_timestamp()").await;
    let undone = Some(Undone { what: "Team/core".into(), by: "mallory".into() });
    let corrected = Settled { undone, ..settled("applied") };
    let settle_as = async |batch: &Batch| {
        let all = BTreeMap::from([("acme".into(), corrected.clone())]);
        store.settle_work(batch, None, &all).await.expect("it is noted");
    };
    // The rows move while it is at work.
    let batch = claim(&store, &holder, 9).await.expect("a batch");
    run(&mut session, "UPDATE argus.work SET asked = asked + 1").await;
    settle_as(&batch).await;
    assert_eq!(names(&claim(&store, &holder, 9).await), "", "it waits for its turn");
    // The source says something else while it is at work.
    run(&mut session, "UPDATE argus.work SET due = clock_timestamp()").await;
    let batch = claim(&store, &holder, 9).await.expect("a batch");
    let look = store.take_source(SOURCE, &holder).await.expect("an answer").expect("nobody looks at it");
    let moved = vec![Moved { organization: "acme".into(), said: "2".into(), version: 0 }];
    store.looked(&look, &Found { moved, ..Found::default() }).await.expect("it is noted");
    settle_as(&batch).await;
    assert_eq!(names(&claim(&store, &holder, 9).await), "acme");
}

/// What is wrong with the source as a whole fails for all in one batch, ever more seldom; what may be the fault of one is
/// found out one by one.
#[tokio::test]
async fn a_batch_that_comes_to_nothing_comes_again_together_or_one_by_one() {
    let database = Database::new().await;
    let store = database.store().await;
    let holder = replica(&store, "one").await;
    waiting(&store, &holder, &["a", "b", "c"]).await;
    let mut session = database.session().await;
    let mut waits = Vec::new();
    for _ in 0..6 {
        let batch = claim(&store, &holder, 9).await;
        assert_eq!(names(&batch), "a b c");
        store.give_back(&batch.expect("a batch"), false, &[]).await.expect("it is noted");
        assert_eq!(names(&claim(&store, &holder, 9).await), "", "it is left alone for a while");
        let wait =
            one(&mut session, "SELECT extract(epoch FROM min(due) - clock_timestamp())::bigint FROM argus.work").await;
        waits.push(wait.parse::<i64>().expect("a number"));
        run(&mut session, "UPDATE argus.work SET due = clock_timestamp()").await;
    }
    assert!(waits[0] <= 4 && waits[5] >= 60, "{waits:?}");
    let batch = claim(&store, &holder, 9).await.expect("a batch");
    store.give_back(&batch, true, &[]).await.expect("it is noted");
    run(&mut session, "UPDATE argus.work SET due = clock_timestamp()").await;
    assert_eq!(claim(&store, &holder, 9).await.map(|batch| batch.items.len()), Some(1));
}

/// A look that fails answers whoever asked for it: it is not asked for again and again by them.
#[tokio::test]
async fn a_look_that_fails_is_an_answer() {
    let database = Database::new().await;
    let store = database.store().await;
    let holder = replica(&store, "one").await;
    store.enroll(SOURCE, "git").await.expect("it is enrolled");
    let look = store.take_source(SOURCE, &holder).await.expect("an answer").expect("it is free");
    assert!(store.wake_source(SOURCE).await.expect("an answer"));
    store.look_failed(&look, &[]).await.expect("it is noted");
    let facts = store.sources().await.expect("sources").sources[SOURCE].facts.clone();
    assert_eq!(
        (facts.failures, facts.asked - facts.answered),
        (1, 1),
        "what was asked for meanwhile is still asked for"
    );
    let look = store.take_source(SOURCE, &holder).await.expect("an answer").expect("it is free");
    store.look_failed(&look, &[]).await.expect("it is noted");
    let facts = store.sources().await.expect("sources").sources[SOURCE].facts.clone();
    assert_eq!((facts.failures, facts.asked - facts.answered), (2, 0));
}

async fn finish(store: &Store, run: &str, moves: &Moves) {
    let told = telling::recovered(SOURCE, "ada");
    let summary = argus::model::value::Value::from(&serde_json::json!({}));
    let end = RunEnd { outcome: "succeeded", summary: &summary, moves: Some(moves), told: &told };
    store.finish_run(&RunId::new(run), &end).await.expect("it is noted");
}

fn at(commits: &[(&str, &str)]) -> BTreeMap<OrganizationName, Option<String>> {
    commits.iter().map(|(name, commit)| ((*name).into(), Some((*commit).into()))).collect()
}

/// A run that comes to its end late takes back nothing of where a later one has brought organizations, nor what it has only
/// read and others have moved since.
#[tokio::test]
async fn a_run_that_ends_late_leaves_alone_where_others_have_come() {
    let database = Database::new().await;
    let store = database.store().await;
    let none = BTreeMap::new();
    let moves = |own: &[(&str, &str)], kept: &BTreeMap<OrganizationName, Option<String>>, joined: &[&str]| Moves {
        source: SOURCE.into(),
        whole: None,
        own: at(own),
        kept: kept.clone(),
        joined: joined.iter().map(|name| (*name).into()).collect::<BTreeSet<_>>(),
    };
    for name in ["acme", "globex"] {
        let organization = create("Organization", name, r#"{"displayName": "One"}"#);
        apply(&store, &format!("slow-{name}"), plan(name, vec![organization])).await.expect("it is applied");
    }
    let changed = update("Organization", "acme", 1, r#"{"displayName": "Two"}"#);
    apply(&store, "later", plan("acme", vec![changed])).await.expect("it is applied");
    finish(&store, "later", &moves(&[("acme", "two"), ("initech", "two")], &none, &[])).await;
    let stand = async || store.planning().await.expect("a snapshot").baselines(SOURCE).await.expect("baselines").own;
    assert_eq!(stand().await, at(&[("acme", "two"), ("initech", "two")]));
    // It has stood still since it has applied them.
    finish(&store, "slow-acme", &moves(&[("acme", "one")], &at(&[("initech", "one"), ("hooli", "one")]), &[])).await;
    assert_eq!(stand().await, at(&[("acme", "two"), ("hooli", "one"), ("initech", "two")]));
    finish(&store, "slow-acme", &moves(&[], &none, &["acme", "hooli"])).await;
    assert_eq!(stand().await, at(&[("acme", "two"), ("initech", "two")]));
    // Of what nobody has written since, it says where it stands.
    finish(&store, "slow-globex", &moves(&[("globex", "one")], &none, &[])).await;
    assert_eq!(stand().await, at(&[("acme", "two"), ("globex", "one"), ("initech", "two")]));
}

/// The name of a source is somebody's, and passes to another one only by those who may.
#[tokio::test]
async fn a_name_is_kept_until_it_is_handed_over_or_forgotten() {
    let database = Database::new().await;
    let store = database.store().await;
    let claim = async |name: &str, by: &str| store.claim_source(name, "git", by, "1").await.expect("an answer");
    let asked = async || store.sources().await.expect("sources").sources[SOURCE].facts.asked;
    assert_eq!(claim(SOURCE, "k/a/one").await, Claim::Own);
    assert_eq!(claim(SOURCE, "k/a/one").await, Claim::Own);
    assert_eq!(asked().await, 1);
    store.claim_source(SOURCE, "git", "k/a/one", "2").await.expect("an answer");
    assert_eq!(asked().await, 2, "what it says by now is looked at");
    assert_eq!(claim(SOURCE, "k/b/other").await, Claim::Others("k/a/one".into()));
    assert_eq!(asked().await, 2, "others ask for nothing");
    assert!(!store.hand_over_source(SOURCE, "k/b/third", "k/b/other").await.expect("an answer"));
    assert!(store.hand_over_source(SOURCE, "k/a/one", "k/a/two").await.expect("an answer"));
    assert_eq!(claim(SOURCE, "k/a/one").await, Claim::Others("k/a/two".into()));
    // An object has one name: another one that nothing was applied under is free again.
    assert_eq!(claim("next", "k/a/two").await, Claim::Own);
    assert_eq!(claim(SOURCE, "k/b/other").await, Claim::Own);
    // What was applied keeps the name as well.
    let record = format!(
        "INSERT INTO argus.applied (source, kind, organization, name, spec, file, line, col, run)
         VALUES ('{SOURCE}', 'Organization', 'acme', 'acme', '{{}}', 'acme.yaml', 1, 1, 'run')"
    );
    run(&mut database.session().await, &record).await;
    assert_eq!(claim("elsewhere", "k/b/other").await, Claim::Own);
    assert_eq!(claim(SOURCE, "k/a/one").await, Claim::Others("k/b/other".into()));
    // The settings of a machine have the last word.
    store.enroll(SOURCE, "git").await.expect("it is enrolled");
    assert_eq!(claim(SOURCE, "k/b/other").await, Claim::Machine);
    let forget = format!("SELECT argus.forget_source('{SOURCE}')");
    // Nobody but a reconciler may (42501: insufficient privilege).
    assert_eq!(refused(&mut database.session_as("onlooker", "argus_planner").await, &forget).await, "42501");
    assert_eq!(one(&mut database.session_as("operator", "argus_reconciler").await, &forget).await, "true");
    assert_eq!(claim(SOURCE, "k/a/one").await, Claim::Own);
}
