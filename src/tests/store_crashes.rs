//! The process dies at each step of applying, or the connection at the commit: all or nothing.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use argus::plan::OrganizationPlan;
use argus::store::Store;
use argus::store::apply::failpoints;
use argus::store::error::ApplyError;
use argus::store::url::DatabaseUrl;
use sqlx::PgConnection;

use crate::store_writes::everything;
use crate::support::plans::{apply, create, delete, plan, record, rename, update};
use crate::support::postgres::{Database, one, scratch};

/// Changes of all sorts to what [`everything`] makes.
fn changes() -> OrganizationPlan {
    let changes = vec![
        rename("Role", "auditor", "examiner", 1, "{}"),
        create("Team", "support", r#"{"members": [{"user": "grace@acme.example", "role": "member"}]}"#),
        update("Organization", "acme", 1, r#"{"displayName": null, "settings": {}}"#),
        update("Member", "ada@acme.example", 1, r#"{"roles": ["owner"]}"#),
        update("Project", "search", 1, r#"{"teams": [], "quotas.apiKeys": null}"#),
        delete("NotificationRule", "alerts", 1),
        delete("Budget", "monthly", 1),
        delete("ApiKey", "main", 1),
    ];
    let records = vec![record("Team", "support", Some("{}")), record("Budget", "monthly", None)];
    OrganizationPlan { records, ..plan("acme", changes) }.sealed()
}

/// The points that carrying out a plan reaches.
fn reached(plan: &OrganizationPlan) -> Vec<String> {
    use argus::plan::Action;
    let touches = |point: &str| {
        let Some((step, kind)) = point.strip_prefix("apply.after_").and_then(|rest| rest.split_once('.')) else {
            return true;
        };
        plan.changes.iter().filter(|change| change.kind.get().name == kind).any(|change| match step {
            "rename" => change.previous_name.is_some(),
            "create" => change.action == Action::Create,
            "update" => matches!(change.action, Action::Update | Action::Adopt),
            "delete" => change.action == Action::Delete,
            other => panic!("an unknown step {other}"),
        })
    };
    failpoints().into_iter().filter(|point| touches(point)).collect()
}

/// All that an apply may write, in one text.
async fn picture(session: &mut PgConnection) -> String {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'argus' AND c.relkind = 'r' AND c.relname <> 'run' ORDER BY 1",
    )
    .fetch_all(&mut *session)
    .await
    .expect("tables");
    let mut picture = String::new();
    for table in tables {
        let rows =
            format!("SELECT string_agg(to_jsonb(t)::text, E'\\n' ORDER BY to_jsonb(t)::text) FROM argus.{table} t");
        picture += &format!("{table}:\n{}\n", one(session, &rows).await);
    }
    picture
}

fn die_at(url: &DatabaseUrl, which: &str, point: &str) {
    let status = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "store_crashes::a_child_that_applies", "--ignored"])
        .envs([("ARGUS_TEST_URL", url.to_string().as_str()), ("ARGUS_TEST_PLAN", which), ("ARGUS_FAILPOINT", point)])
        .env("ARGUS_FAILPOINT_ORG", "acme")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("a child");
    // 6 is SIGABRT.
    assert_eq!(status.signal(), Some(6), "{point} was not reached: {status}");
}

#[test]
#[ignore = "the child of another test"]
fn a_child_that_applies() {
    let Ok(url) = std::env::var("ARGUS_TEST_URL") else { return };
    let which = std::env::var("ARGUS_TEST_PLAN").expect("a plan");
    let plan = if which == "changes" { changes() } else { everything("acme") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::connect(&url.parse().expect("an address"), 2).await.expect("the store");
        apply(&store, &format!("killed-{which}"), plan).await.expect("applied");
    });
}

#[tokio::test]
async fn a_process_that_dies_while_applying_leaves_all_or_nothing() {
    let database = Database::new().await;
    let mut session = database.session().await;
    for (which, plan) in [("everything", everything("acme")), ("changes", changes())] {
        let points = reached(&plan);
        assert!(points.len() > 10, "{points:?}");
        let before = picture(&mut session).await;
        for point in points.iter().filter(|point| *point != "apply.after_commit") {
            die_at(&database.url, which, point);
            assert_eq!(picture(&mut session).await, before, "{which}: something was left by dying at {point}");
        }
        die_at(&database.url, which, "apply.after_commit");
        let after = picture(&mut session).await;
        assert_ne!(after, before);
        // All of it is there: nothing is left to apply.
        let store = database.store().await;
        let again = apply(&store, &format!("again-{which}"), plan).await.expect_err("it was applied");
        assert!(matches!(again, ApplyError::Stale { .. }), "{again}");
        assert_eq!(picture(&mut session).await, after);
    }
}

/// Stands between Argus and the server and cuts the first connection over which a COMMIT goes: before the server gets
/// it, or before its answer comes back.
struct Cutter {
    url: DatabaseUrl,
    directory: std::path::PathBuf,
    cut: Arc<AtomicBool>,
}

impl Drop for Cutter {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn cutter(database: &Database, deliver: bool) -> Cutter {
    let environment = database.url.environment();
    let get = |name: &str| environment.iter().find(|(key, _)| *key == name).expect("a variable").1.clone();
    let file = format!(".s.PGSQL.{}", get("PGPORT"));
    let server = std::path::Path::new(&get("PGHOST")).join(&file);
    let directory = scratch("cutter");
    std::fs::create_dir(&directory).expect("a folder");
    let listener = UnixListener::bind(directory.join(&file)).expect("a socket");
    let cut = Arc::new(AtomicBool::new(false));
    let done = cut.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, UnixStream::connect(&server)) else { break };
            let (mut from_server, mut to_client) =
                (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
            std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
            let cut = cut.clone();
            std::thread::spawn(move || forward(client, server, deliver, &cut));
        }
    });
    let url = format!(
        "postgres://{}@localhost:{}/{}?host={}",
        get("PGUSER"),
        get("PGPORT"),
        get("PGDATABASE"),
        directory.display()
    );
    Cutter { url: url.parse().expect("an address"), directory, cut: done }
}

fn forward(mut client: UnixStream, mut server: UnixStream, deliver: bool, cut: &AtomicBool) {
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        // The whole statement: READ COMMITTED is something else.
        let commits = buffer[..count].windows(7).any(|window| window == b"COMMIT\0");
        if commits && !cut.swap(true, Ordering::SeqCst) {
            let _ = client.shutdown(std::net::Shutdown::Both);
            if deliver {
                let _ = server.write_all(&buffer[..count]);
                // The answer goes nowhere; the server finds out when it has written it.
                std::thread::sleep(std::time::Duration::from_millis(300));
            }
            let _ = server.shutdown(std::net::Shutdown::Both);
            return;
        }
        if server.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _ = server.shutdown(std::net::Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_at_the_commit_is_resolved_by_the_row_of_the_run() {
    for deliver in [true, false] {
        let database = Database::new().await;
        let direct = database.store().await;
        let run = crate::support::plans::begin(&direct, "r1").await;
        let cutter = cutter(&database, deliver);
        let store = Store::connect(&cutter.url, 1).await.expect("the store");
        let context = argus::store::apply::ApplyContext {
            run: &run,
            by: &crate::support::plans::by("ada"),
            read_at: None,
            rolls_back: None,
            lease: None,
        };
        let approved = crate::support::plans::approved(everything("acme"));
        let outcome = store.apply(&approved, &context).await.expect("it is found out, or tried again");
        assert!(cutter.cut.load(Ordering::SeqCst), "the connection was cut");
        assert_eq!((outcome.version, outcome.attempts), (1, if deliver { 1 } else { 2 }), "delivered: {deliver}");
        let mut session = database.session().await;
        assert_eq!(one(&mut session, "SELECT count(*) FROM argus.organization").await, "1");
        assert_eq!(one(&mut session, "SELECT max(version) FROM argus.audit").await, "1", "written once");
    }
}
