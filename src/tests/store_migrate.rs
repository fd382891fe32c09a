//! Migrations and roles.

use argus::model::code::Code;
use argus::store::Store;
use argus::store::error::{ApplyError, StoreError};
use argus::store::migrate::{self, MIGRATIONS};
use argus::store::url::DatabaseUrl;

use crate::store_writes::everything;
use crate::support::plans::{apply, plan, update};
use crate::support::postgres::{Database, one, run};

#[tokio::test]
async fn two_migrations_at_once_wait_for_each_other() {
    let database = Database::empty().await;
    let (first, second) = tokio::join!(migrate::migrate(&database.url), migrate::migrate(&database.url));
    let ran = [first.expect("the first").len(), second.expect("the second").len()];
    assert_eq!(ran.iter().sum::<usize>(), MIGRATIONS.len(), "{ran:?}");
    assert!(ran.contains(&0), "one of them found all done: {ran:?}");
    let status = migrate::status(&database.url).await.expect("status");
    assert!(status.iter().all(|state| state.applied_at.is_some()));
    assert!(migrate::migrate(&database.url).await.expect("again").is_empty());
}

#[tokio::test]
async fn an_older_schema_is_refused_with_the_command_that_mends_it() {
    let database = Database::empty().await;
    let error = Store::connect(&database.url, 2).await.expect_err("there is no schema");
    assert_eq!(error.code(), Code::SchemaOlder);
    assert!(error.to_string().contains("version 0") && error.to_string().contains(&migrate::newest().to_string()));
    assert!(error.hint().contains("argus db migrate"), "{}", error.hint());
    let status = migrate::status(&database.url).await.expect("status");
    assert_eq!(status.iter().filter(|state| state.applied_at.is_none()).count(), MIGRATIONS.len());
}

#[tokio::test]
async fn a_binary_older_than_the_schema_refuses_and_names_both_versions() {
    let database = Database::new().await;
    let store = database.store().await;
    apply(&store, "r1", everything("acme")).await.expect("applied");
    let newer = "INSERT INTO argus.schema_migration VALUES (999, 'later', 'x', now(), '9.9.9')";
    let mut session = database.session().await;
    run(&mut session, newer).await;
    let known = migrate::newest().to_string();
    for error in [
        Store::connect(&database.url, 2).await.expect_err("connecting"),
        store.planning().await.expect_err("planning on a connection from before"),
        migrate::migrate(&database.url).await.expect_err("migrating"),
    ] {
        assert_eq!(error.code(), Code::SchemaNewer);
        assert!(error.to_string().contains("999") && error.to_string().contains(&known), "{error}");
    }
    let change = update("Project", "search", 1, r#"{"description": "New."}"#);
    let error = apply(&store, "r2", plan("acme", vec![change])).await.expect_err("applying");
    assert!(matches!(&error, ApplyError::Store { source: StoreError::SchemaNewer { .. }, .. }), "{error}");
    assert_eq!(one(&mut session, "SELECT version FROM argus.clock WHERE organization = 'acme'").await, "1");
}

#[tokio::test]
async fn a_migration_that_was_run_in_another_form_is_found() {
    let database = Database::new().await;
    run(&mut database.session().await, "UPDATE argus.schema_migration SET checksum = 'x' WHERE version = 1").await;
    let error = migrate::migrate(&database.url).await.expect_err("it was edited");
    assert!(matches!(&error, StoreError::ChangedMigration { version: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_login_that_may_not_make_roles_is_told_what_an_administrator_has_to_run() {
    let database = Database::empty().await;
    let mut session = database.session().await;
    run(&mut session, "CREATE ROLE weak LOGIN").await;
    let weak: DatabaseUrl = database.url.to_string().replace("argus@", "weak@").parse().expect("an address");
    let error = migrate::migrate(&weak).await.expect_err("it may not");
    assert!(matches!(&error, StoreError::NoRoles { login, .. } if login == "weak"), "{error}");
    assert!(error.hint().contains("--print-roles"), "{}", error.hint());
    // The administrator may run it as often as they like.
    for _ in 0..2 {
        run(&mut session, &migrate::print_roles("weak")).await;
    }
    migrate::migrate(&weak).await.expect("now it may");
    let store = Store::connect(&weak, 2).await.expect("and needs no more to work");
    apply(&store, "r1", everything("acme")).await.expect("applied");
    let acme: std::sync::Arc<str> = "acme".into();
    let live = store.planning().await.expect("planning").live(std::slice::from_ref(&acme)).await.expect("live");
    assert_eq!(live[&acme].rows.len(), 13);
    assert_eq!(one(&mut session, "SELECT DISTINCT role FROM argus.audit").await, "weak");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_without_its_password() {
    let url: DatabaseUrl = "postgres://ada:canary@127.0.0.1:1/argus?sslmode=disable".parse().expect("an address");
    let error = Store::connect(&url, 2).await.expect_err("nobody listens there");
    assert_eq!(error.code(), Code::NoDatabase);
    let shown = format!("{error} {error:?} {:?}", error.finding());
    assert!(shown.contains("127.0.0.1:1") && !shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn the_lock_of_a_source_is_held_by_one_run_and_goes_with_it() {
    use std::time::Duration;
    let database = Database::new().await;
    let store = database.store().await;
    let held = store.source_lock("manifests", Duration::ZERO).await.expect("it is free");
    store.source_lock("others", Duration::ZERO).await.expect("another source is another lock");
    let error = store.source_lock("manifests", Duration::from_millis(150)).await.expect_err("it is held");
    assert_eq!(error.code(), Code::Locked);
    held.release().await;
    store.source_lock("manifests", Duration::from_secs(5)).await.expect("it is free again");
}
