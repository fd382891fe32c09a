//! Migrations: forward only, each in a transaction, under a lock; and the roles that they need.

use std::fmt::Write as _;

use sqlx::{Connection as _, PgConnection, Row as _};

use super::error::{StoreError, describe, sqlstate};
use super::url::DatabaseUrl;
use crate::model::kinds::role::BUILT_IN;
use crate::plan::sha256_hex;

/// The version of this binary, for messages.
const BINARY: &str = env!("CARGO_PKG_VERSION");

/// The advisory lock that migrations run under ("argus db" in bytes).
const LOCK: i64 = 0x6172_6775_7320_6462;

/// One step of the schema. What was run once is never edited; a newer step mends it.
#[derive(Debug)]
pub struct Migration {
    /// Its version, counted from 1 without gaps.
    pub version: i32,
    /// Its name.
    pub name: &'static str,
    /// What it runs.
    pub sql: &'static str,
}

impl Migration {
    /// The SHA-256 of what it runs.
    pub fn checksum(&self) -> String {
        sha256_hex(self.sql.as_bytes())
    }
}

/// All migrations, in order.
pub static MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "foundation", sql: include_str!("../../migrations/0001_foundation.sql") },
    Migration { version: 2, name: "kinds", sql: include_str!("../../migrations/0002_kinds.sql") },
    Migration { version: 3, name: "approvals", sql: include_str!("../../migrations/0003_approvals.sql") },
    Migration { version: 4, name: "brakes", sql: include_str!("../../migrations/0004_brakes.sql") },
    Migration { version: 5, name: "policies", sql: include_str!("../../migrations/0005_policies.sql") },
    Migration { version: 6, name: "revisions", sql: include_str!("../../migrations/0006_revisions.sql") },
    Migration { version: 7, name: "approval_places", sql: include_str!("../../migrations/0007_approval_places.sql") },
    Migration { version: 8, name: "chain", sql: include_str!("../../migrations/0008_chain.sql") },
    Migration { version: 9, name: "events", sql: include_str!("../../migrations/0009_events.sql") },
    Migration { version: 10, name: "baselines", sql: include_str!("../../migrations/0010_baselines.sql") },
    Migration { version: 11, name: "notifications", sql: include_str!("../../migrations/0011_notifications.sql") },
    Migration { version: 12, name: "controller", sql: include_str!("../../migrations/0012_controller.sql") },
    Migration { version: 13, name: "forges", sql: include_str!("../../migrations/0013_forges.sql") },
    Migration { version: 14, name: "named_sources", sql: include_str!("../../migrations/0014_named_sources.sql") },
];

/// The roles: none can log in. Whoever logs in is a member of those that it needs. The migrator has to become the owner
/// by `SET ROLE`; it does not have the owner's rights all the time.
const ROLES: &[(&str, &str, &str)] = &[
    ("argus_owner", "INHERIT", "owns all tables and functions"),
    ("argus_migrator", "NOINHERIT", "may become the owner, to migrate"),
    ("argus_planner", "INHERIT", "reads all organizations, writes nothing"),
    ("argus_reconciler", "INHERIT", "reads and writes all organizations"),
    ("argus_app", "INHERIT", "reads and writes the one organization that `argus.org` names"),
    ("argus_approver", "INHERIT", "reads plans that are held and approves them, and nothing else"),
];

/// Who is a member of what.
const MEMBERSHIPS: &[(&str, &str)] = &[("argus_owner", "argus_migrator")];

/// What the login that migrates is made a member of.
const LOGIN_ROLES: &[&str] = &["argus_migrator", "argus_planner", "argus_reconciler"];

/// A migration and whether it was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationState {
    /// Its version.
    pub version: i32,
    /// Its name.
    pub name: String,
    /// When it was run, RFC 3339; none if it waits.
    pub applied_at: Option<String>,
    /// The binary that ran it.
    pub binary_version: Option<String>,
}

/// The newest version that this binary knows.
pub fn newest() -> i32 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// Brings the schema up to this binary and gives the migrations that it ran.
pub async fn migrate(url: &DatabaseUrl) -> Result<Vec<MigrationState>, StoreError> {
    let mut connection = super::connect(url).await?;
    // The lock belongs to the session: it goes with the connection, also when this fails.
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
    let migrated = migrate_under_lock(&mut connection, MIGRATIONS).await;
    // Cutting the connection instead of closing it in order would free the lock as well.
    let _ = connection.close().await;
    migrated
}

async fn migrate_under_lock(
    connection: &mut PgConnection,
    migrations: &[Migration],
) -> Result<Vec<MigrationState>, StoreError> {
    let known = migrations.last().map_or(0, |migration| migration.version);
    if schema_version(connection).await? > known {
        return check(connection).await.map(|()| Vec::new());
    }
    set_up_roles(connection).await?;
    let mut ran = run_state(connection).await?;
    for migration in migrations {
        match ran.iter().find(|state| state.0 == migration.version) {
            Some((_, checksum)) if *checksum == migration.checksum() => {}
            Some(_) => {
                let name = migration.name.to_owned();
                return Err(StoreError::ChangedMigration { version: migration.version, name });
            }
            None => run(connection, migration).await?,
        }
    }
    fill_built_in_roles(connection).await?;
    ran.sort();
    let before: Vec<i32> = ran.into_iter().map(|(version, _)| version).collect();
    let states = states(connection).await?;
    Ok(states.into_iter().filter(|state| !before.contains(&state.version)).collect())
}

/// What has been run and what waits.
pub async fn status(url: &DatabaseUrl) -> Result<Vec<MigrationState>, StoreError> {
    let mut connection = super::connect(url).await?;
    states(&mut connection).await
}

/// Fails if the schema is not the one of this binary.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    compare(schema_version(connection).await?)
}

/// Fails if a schema of this version is not the one of this binary.
pub(super) fn compare(schema: i32) -> Result<(), StoreError> {
    let known = newest();
    match schema.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(StoreError::SchemaOlder { schema, needed: known, binary: BINARY }),
        std::cmp::Ordering::Greater => Err(StoreError::SchemaNewer { schema, known, binary: BINARY }),
    }
}

/// The version of the schema; 0 where there is none.
async fn schema_version(connection: &mut PgConnection) -> Result<i32, StoreError> {
    if !has_schema(connection).await? {
        return Ok(0);
    }
    let version: Option<i32> =
        sqlx::query_scalar("SELECT max(version) FROM argus.schema_migration").fetch_one(connection).await?;
    Ok(version.unwrap_or(0))
}

async fn has_schema(connection: &mut PgConnection) -> Result<bool, StoreError> {
    // pg_catalog can be read by everybody; to_regclass would need rights on the schema.
    let query =
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                                WHERE n.nspname = 'argus' AND c.relname = 'schema_migration')";
    Ok(sqlx::query_scalar(query).fetch_one(connection).await?)
}

async fn run_state(connection: &mut PgConnection) -> Result<Vec<(i32, String)>, StoreError> {
    if !has_schema(connection).await? {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as("SELECT version, checksum FROM argus.schema_migration").fetch_all(connection).await?)
}

async fn states(connection: &mut PgConnection) -> Result<Vec<MigrationState>, StoreError> {
    let mut states: Vec<MigrationState> = Vec::new();
    if has_schema(connection).await? {
        let rows = sqlx::query(
            r#"SELECT version, name, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), binary_version
               FROM argus.schema_migration ORDER BY version"#,
        )
        .fetch_all(connection)
        .await?;
        for row in &rows {
            states.push(MigrationState {
                version: row.try_get(0)?,
                name: row.try_get(1)?,
                applied_at: row.try_get(2)?,
                binary_version: row.try_get(3)?,
            });
        }
    }
    for migration in MIGRATIONS {
        if !states.iter().any(|state| state.version == migration.version) {
            let Migration { version, name, .. } = migration;
            let name = (*name).to_owned();
            states.push(MigrationState { version: *version, name, applied_at: None, binary_version: None });
        }
    }
    Ok(states)
}

async fn run(connection: &mut PgConnection, migration: &Migration) -> Result<(), StoreError> {
    let Migration { version, name, sql } = migration;
    let failed = |error: sqlx::Error| StoreError::Migration { version: *version, name, why: describe(&error) };
    let mut transaction = connection.begin().await?;
    // All that it makes belongs to the owner, who cannot log in.
    sqlx::raw_sql("SET LOCAL ROLE argus_owner; SET LOCAL search_path = pg_catalog")
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    sqlx::raw_sql(*sql).execute(&mut *transaction).await.map_err(failed)?;
    sqlx::query("INSERT INTO argus.schema_migration (version, name, checksum, binary_version) VALUES ($1, $2, $3, $4)")
        .bind(version)
        .bind(name)
        .bind(migration.checksum())
        .bind(BINARY)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// Writes the built-in roles where they differ from those of this binary.
async fn fill_built_in_roles(connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("SET LOCAL ROLE argus_owner; SET LOCAL search_path = pg_catalog").execute(&mut *transaction).await?;
    let mut changed = 0;
    for role in BUILT_IN {
        let permissions: Vec<String> = role.permissions.iter().map(|permission| (*permission).to_owned()).collect();
        changed += sqlx::query(
            "INSERT INTO argus.built_in_role AS b (name, scope, permissions) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET scope = excluded.scope, permissions = excluded.permissions
             WHERE (b.scope, b.permissions) IS DISTINCT FROM (excluded.scope, excluded.permissions)",
        )
        .bind(role.name)
        .bind(role.scope)
        .bind(permissions)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    }
    if changed > 0 {
        sqlx::query("SELECT argus.spread_built_in_roles()").execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Makes what is missing of the roles and of the schema, as whoever logged in.
async fn set_up_roles(connection: &mut PgConnection) -> Result<(), StoreError> {
    let login: String = sqlx::query_scalar("SELECT session_user::text").fetch_one(&mut *connection).await?;
    if roles_are_set_up(connection).await? {
        return Ok(());
    }
    match sqlx::raw_sql(sqlx::AssertSqlSafe(print_roles(&login))).execute(&mut *connection).await {
        Ok(_) => Ok(()),
        // 42501: insufficient privilege. Anything else is just as final, and tells its own story.
        Err(error) if sqlstate(&error) == "42501" => Err(StoreError::NoRoles { login, why: describe(&error) }),
        Err(error) => Err(error.into()),
    }
}

/// Whether the login can already do all that migrating needs.
async fn roles_are_set_up(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let needed: Vec<&str> = LOGIN_ROLES.iter().copied().chain(["argus_owner", "argus_app", "argus_approver"]).collect();
    let names: Vec<String> = needed.into_iter().map(str::to_owned).collect();
    let query = "SELECT (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = ANY($1)) = cardinality($1)
                   AND coalesce((SELECT bool_and(pg_has_role(rolname, 'MEMBER'))
                                 FROM pg_catalog.pg_roles WHERE rolname = ANY($2)), false)
                   AND EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'argus')";
    let members: Vec<String> = LOGIN_ROLES.iter().map(|name| (*name).to_owned()).collect();
    Ok(sqlx::query_scalar(query).bind(names).bind(members).fetch_one(connection).await?)
}

/// The SQL that sets up the roles and the schema for a login: for an administrator to run where the login may not. It
/// can be run again and again.
pub fn print_roles(login: &str) -> String {
    let quoted = format!("\"{}\"", login.replace('"', "\"\""));
    let mut sql = String::from("-- The roles of Argus, none of which can log in. To be run in its database.\n");
    for (role, inherit, about) in ROLES {
        // Roles belong to the whole server: another database may be making the same one at this moment.
        let _ = write!(
            sql,
            "-- {role}: {about}.\nDO $$ BEGIN\n    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{role}') \
             THEN\n        CREATE ROLE {role} NOLOGIN {inherit} NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;\n    END IF;\n\
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;\nEND $$;\n"
        );
    }
    let grants = MEMBERSHIPS.iter().map(|(role, to)| (*role, (*to).to_owned()));
    let grants = grants.chain(LOGIN_ROLES.iter().map(|role| (*role, quoted.clone())));
    for (role, to) in grants {
        let member = to.trim_matches('"').replace("\"\"", "\"").replace('\'', "''");
        let _ = write!(
            sql,
            "DO $$ BEGIN\n    IF NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members m\n            \
             JOIN pg_catalog.pg_roles r ON r.oid = m.roleid JOIN pg_catalog.pg_roles g ON g.oid = m.member\n            \
             WHERE r.rolname = '{role}' AND g.rolname = '{member}') THEN\n        GRANT {role} TO {to};\n    END IF;\n\
             EXCEPTION WHEN unique_violation THEN NULL;\nEND $$;\n"
        );
    }
    sql.push_str("CREATE SCHEMA IF NOT EXISTS argus AUTHORIZATION argus_owner;\n");
    sql
}
