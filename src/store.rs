//! PostgreSQL: live rows, ownership records, applying, history. The only home of sqlx.
//!
//! Reading and writing are different types. [`Planning`] is a READ ONLY transaction under a role that cannot write;
//! [`Store::apply`] takes only a plan that the guards have approved, and carries it out in one transaction.

pub mod apply;
pub mod approvals;
pub mod audit;
pub mod baselines;
pub mod chain;
pub mod deliveries;
pub mod ear;
pub mod error;
pub mod events;
pub mod history;
pub mod hooks;
pub mod migrate;
pub mod notifications;
pub mod observing;
pub mod planning;
pub mod private;
pub mod queue;
pub mod reports;
pub mod reviews;
pub mod run;
pub mod suspension;
pub mod undo;
pub mod url;

mod columns;
mod content;
mod live;

use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

use error::StoreError;
use url::DatabaseUrl;

pub use error::ApplyError;
pub use planning::Planning;

/// How long a connection may take to come about.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// How long somebody waits for a connection that others use.
const ACQUIRE_TIME_MAX: Duration = Duration::from_secs(60);

/// How a transaction under the role that may write begins. Whoever stands still in the middle of one (a process that is paused,
/// a machine that is gone) must not hold up all others who wait for the same rows.
const BEGIN_RECONCILING: &str = "SET LOCAL ROLE argus_reconciler; SET LOCAL search_path = pg_catalog;
    SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// The oldest PostgreSQL that will do.
pub const POSTGRES_MAJOR_MIN: u32 = 15;

/// A database whose schema fits this binary.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    url: DatabaseUrl,
}

impl Store {
    /// Connects, within a bounded time, and checks that the schema is the one that this binary needs.
    pub async fn connect(url: &DatabaseUrl, connections_max: u32) -> Result<Store, StoreError> {
        let mut first = connect(url).await?;
        migrate::check(&mut first).await?;
        // Closing in order is a courtesy; a connection that does not is cut.
        let _ = first.close().await;
        let pool = PgPoolOptions::new()
            .max_connections(connections_max.max(1))
            .acquire_timeout(ACQUIRE_TIME_MAX)
            .connect_lazy_with(url.options().application_name("argus"));
        Ok(Store { pool, url: url.clone() })
    }

    /// Opens the transaction that plans are made in: a snapshot, read-only, under a role that cannot write.
    pub async fn planning(&self) -> Result<Planning, StoreError> {
        Planning::open(&self.pool).await
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The address, which does not show its password.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// A transaction under the role that may write.
    async fn reconciling(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::raw_sql(BEGIN_RECONCILING).execute(&mut *transaction).await?;
        Ok(transaction)
    }

    /// A connection outside of the pool.
    async fn dedicated_connection(&self) -> Result<PgConnection, StoreError> {
        connect(&self.url).await
    }
}

/// A connection, within a bounded time, to a PostgreSQL that is new enough.
pub(crate) async fn connect(url: &DatabaseUrl) -> Result<PgConnection, StoreError> {
    let database = url.to_string();
    let failed = |why: String| StoreError::NoDatabase { database: database.clone(), why };
    let options = url.options().application_name("argus");
    let deadline = tokio::time::Instant::now() + CONNECT_TIME_MAX;
    let connection = loop {
        match tokio::time::timeout_at(deadline, PgConnection::connect_with(&options)).await {
            Err(_) => return Err(failed(format!("no answer within {CONNECT_TIME_MAX:?}"))),
            Ok(Ok(connection)) => break connection,
            // 57P03: the server is starting up or shutting down; it says so itself.
            Ok(Err(error)) if error::sqlstate(&error) == "57P03" => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(Err(error)) => return Err(failed(error::describe(&error))),
        }
    };
    let version = connection.server_version_num().unwrap_or_default() / 10_000;
    if version < POSTGRES_MAJOR_MIN {
        return Err(StoreError::TooOld { database, version: version.to_string(), needed: POSTGRES_MAJOR_MIN });
    }
    Ok(connection)
}
