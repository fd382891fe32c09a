//! A real PostgreSQL for tests: one server for the whole test binary, one database per test, made from a template that
//! is migrated once. A watchdog ends the server when the test binary ends, however that happens.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use argus::store::private::PrivateServer;
use argus::store::url::DatabaseUrl;
use argus::store::{Store, migrate};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A database of one test.
pub struct Database {
    /// Its address, as the superuser.
    pub url: DatabaseUrl,
}

struct Server {
    private: PrivateServer,
    // Ends when the pipe to it closes, which the kernel sees to.
    _watchdog: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The settings of a server whose data nobody will miss.
pub const CARELESS: &[&str] =
    &["fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=300", "autovacuum=off"];

/// A directory for this test binary that the account of the server can reach.
pub fn scratch(name: &str) -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from("/tmp").join(format!("argus-test-{}-{number}-{name}", std::process::id()))
}

fn server() -> &'static Server {
    SERVER.get_or_init(|| {
        let directory = scratch("server");
        let private = PrivateServer::start_with(&directory, None, CARELESS).expect("a server starts");
        let watchdog = watch(&directory);
        let template = private.url().clone();
        // A runtime of its own: the one of the test that comes first ends with that test.
        let migrated = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut connection = connect(&template, "postgres").await;
                sqlx::raw_sql("CREATE DATABASE template_argus").execute(&mut connection).await.expect("a database");
                migrate::migrate(&template.with_database("template_argus")).await.expect("the schema");
            });
        });
        migrated.join().expect("the template is made");
        Server { private, _watchdog: watchdog }
    })
}

/// Starts a shell that waits for the end of this process, then kills the server and removes its directory.
pub fn watch(directory: &std::path::Path) -> Child {
    let script = r#"cat >/dev/null; pid=$(head -n 1 "$1/data/postmaster.pid") && kill -QUIT "$pid"
        for _ in $(seq 100); do [ -e "$1/data/postmaster.pid" ] || break; sleep 0.1; done; rm -rf "$1""#;
    Command::new("sh")
        .args(["-c", script, "watchdog"])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // In a group of its own, so that an interrupt at the terminal does not end it first.
        .process_group(0)
        .spawn()
        .expect("a shell")
}

/// Connects as the superuser, without knowing anything of Argus.
pub async fn connect(url: &DatabaseUrl, database: &str) -> PgConnection {
    let url = url.with_database(database).to_string();
    PgConnection::connect(&url).await.expect("a connection")
}

impl Database {
    /// A database with the schema and nothing in it.
    pub async fn new() -> Database {
        Database::from("template_argus").await
    }

    /// A database without a schema.
    pub async fn empty() -> Database {
        Database::from("template1").await
    }

    /// A database with everything that is in this one, which nobody may be connected to.
    pub async fn copy(&self) -> Database {
        Database::from(&self.name()).await
    }

    /// Its name.
    pub fn name(&self) -> String {
        let environment = self.url.environment();
        environment.into_iter().find(|(name, _)| *name == "PGDATABASE").expect("a name").1
    }

    async fn from(template: &str) -> Database {
        let server = tokio::task::spawn_blocking(server).await.expect("a server");
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection = connect(server.private.url(), "postgres").await;
        let create = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.expect("a database of its own");
        Database { url: server.private.url().with_database(&name) }
    }

    /// The store on it.
    pub async fn store(&self) -> Store {
        Store::connect(&self.url, 8).await.expect("the store connects")
    }

    /// A session of the superuser that knows nothing of Argus.
    pub async fn session(&self) -> PgConnection {
        connect(&self.url, &self.name()).await
    }

    /// A session that logs in as a new role, which is a member of `of`.
    pub async fn session_as(&self, login: &str, of: &str) -> PgConnection {
        let mut session = self.session().await;
        // Roles are shared by all databases of the server, and tests run side by side.
        let create = format!(
            "DO $$ BEGIN CREATE ROLE {login} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             DO $$ BEGIN GRANT {of} TO {login}; EXCEPTION WHEN unique_violation THEN NULL; END $$"
        );
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut session).await.expect("a role");
        let url = self.url.to_string().replace("argus@", &format!("{login}@"));
        PgConnection::connect(&url).await.expect("a connection")
    }

    /// Runs SQL as the superuser through `psql`, as a person would.
    pub fn psql(&self, sql: &str) {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]).envs(self.url.environment());
        psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = psql.spawn().expect("psql runs");
        child.stdin.take().expect("a pipe").write_all(sql.as_bytes()).expect("psql reads");
        let output = child.wait_with_output().expect("psql ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Runs SQL and expects it to work.
pub async fn run(session: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(session).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Runs SQL, expects it to fail and gives the SQLSTATE.
pub async fn refused(session: &mut PgConnection, sql: &str) -> String {
    let error = match sqlx::raw_sql(AssertSqlSafe(sql)).execute(session).await {
        Ok(_) => panic!("{sql} was not refused"),
        Err(error) => error,
    };
    let database = error.as_database_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    database.code().unwrap_or_default().into_owned()
}

/// The one value of a query, as text.
pub async fn one(session: &mut PgConnection, sql: &str) -> String {
    let query = format!("SELECT q.v::text FROM ({sql}) AS q(v)");
    let value: Option<String> = sqlx::query_scalar(AssertSqlSafe(query.as_str()))
        .fetch_one(session)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    value.unwrap_or_default()
}
