//! What can go wrong with PostgreSQL, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::brake::{SUSPENSION_DAYS_MAX, Suspension};
use crate::model::code::Code;
use crate::model::finding::Finding;

/// What went wrong in finding, starting, reaching or reading the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address cannot be used.
    #[error("the address of the database is wrong: {why}")]
    BadUrl {
        /// Why, without repeating the address.
        why: String,
    },
    /// The address is an empty text.
    #[error("the address of the database is empty")]
    EmptyUrl,
    /// The database cannot be reached.
    #[error("the database {database} cannot be reached: {why}")]
    NoDatabase {
        /// Its address, without the password.
        database: String,
        /// Why.
        why: String,
    },
    /// The database is of a PostgreSQL that is too old.
    #[error("the database {database} is PostgreSQL {version}, and Argus needs {needed} or later")]
    TooOld {
        /// Its address.
        database: String,
        /// Its version.
        version: String,
        /// The version that is needed.
        needed: u32,
    },
    /// There are no server binaries.
    #[error("no PostgreSQL server was found ({searched})")]
    NoPostgres {
        /// Where was looked and what was found there.
        searched: String,
    },
    /// The private server does not start.
    #[error("the private PostgreSQL server in {} does not start: {why}", directory.display())]
    PrivateServer {
        /// Its data directory.
        directory: PathBuf,
        /// Why.
        why: String,
        /// What to do about it.
        hint: String,
    },
    /// The schema is newer than this binary.
    #[error("the schema of the database is version {schema}, and this Argus ({binary}) knows versions up to {known}")]
    SchemaNewer {
        /// The version of the schema.
        schema: i32,
        /// The newest version that the binary knows.
        known: i32,
        /// The version of the binary.
        binary: &'static str,
    },
    /// The schema is older than this binary, or there is none.
    #[error("the schema of the database is version {schema}, and this Argus ({binary}) needs version {needed}")]
    SchemaOlder {
        /// The version of the schema; 0 where there is none.
        schema: i32,
        /// The version that the binary needs.
        needed: i32,
        /// The version of the binary.
        binary: &'static str,
    },
    /// A migration is not the one that was run.
    #[error("migration {version} ({name}) was run in another form than this Argus holds")]
    ChangedMigration {
        /// Its version.
        version: i32,
        /// Its name.
        name: String,
    },
    /// A migration fails.
    #[error("migration {version} ({name}) fails: {why}")]
    Migration {
        /// Its version.
        version: i32,
        /// Its name.
        name: &'static str,
        /// What PostgreSQL says.
        why: String,
    },
    /// The login may not create the roles.
    #[error("the roles of Argus cannot be set up by `{login}`: {why}")]
    NoRoles {
        /// The role that logged in.
        login: String,
        /// What PostgreSQL says.
        why: String,
    },
    /// The login may not do this.
    #[error("the database role `{login}` is no member of {roles}")]
    NotAMember {
        /// The role that logged in.
        login: String,
        /// What it would have to be a member of.
        roles: String,
    },
    /// Somebody else works on the same source.
    #[error("another run of the source `{source_name}` is under way{}", after(*waited))]
    Locked {
        /// The source.
        source_name: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Somebody else delivers what this was to deliver.
    #[error("another relay has taken over a part of the sink `{sink}`")]
    Fenced {
        /// The sink.
        sink: String,
    },
    /// A suspension would end where it cannot.
    #[error(
        "a suspension ends in the future and within {SUSPENSION_DAYS_MAX} days, and {ends} is not that: for the database it is {now}"
    )]
    SuspensionEnd {
        /// When it would end.
        ends: DateTime<Utc>,
        /// The database's clock.
        now: DateTime<Utc>,
    },
    /// What undoes a run is not of a form that this binary reads.
    #[error("what undoes the run cannot be read: {why}")]
    UnknownUndo {
        /// Why.
        why: String,
    },
    /// A query fails.
    #[error("PostgreSQL: {}", describe(.0))]
    Query(#[from] sqlx::Error),
}

impl StoreError {
    /// The code that tells more.
    pub fn code(&self) -> Code {
        match self {
            StoreError::BadUrl { .. } | StoreError::EmptyUrl | StoreError::SuspensionEnd { .. } => Code::BadSettings,
            StoreError::NoDatabase { .. }
            | StoreError::TooOld { .. }
            | StoreError::PrivateServer { .. }
            | StoreError::NoRoles { .. }
            | StoreError::Migration { .. }
            | StoreError::Query(_) => Code::NoDatabase,
            StoreError::NoPostgres { .. } => Code::NoPostgres,
            StoreError::SchemaNewer { .. } | StoreError::ChangedMigration { .. } => Code::SchemaNewer,
            StoreError::SchemaOlder { .. } => Code::SchemaOlder,
            StoreError::UnknownUndo { .. } => Code::CannotRollBack,
            StoreError::Locked { .. } | StoreError::Fenced { .. } => Code::Locked,
            StoreError::NotAMember { .. } => Code::UnverifiedIdentity,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            StoreError::BadUrl { .. } => {
                "write it as `postgres://user:password@host:5432/database`; special characters are percent-encoded"
                    .into()
            }
            StoreError::EmptyUrl => "a CI secret that is not set for this job or environment arrives as an empty text; \
                                     unset ARGUS_DATABASE_URL where none is meant"
                .into(),
            StoreError::NoDatabase { .. } => {
                "check `--database-url` or ARGUS_DATABASE_URL, and that the server runs; without either, Argus starts \
                 a private server"
                    .into()
            }
            StoreError::TooOld { needed, .. } => format!("use PostgreSQL {needed} or later"),
            StoreError::NoPostgres { .. } => {
                "install it (Debian, Ubuntu: `apt install postgresql`; Fedora: `dnf install postgresql-server`; \
                 macOS: `brew install postgresql@17`), name the directory of its binaries, or give `--database-url`"
                    .into()
            }
            StoreError::PrivateServer { hint, .. } => hint.clone(),
            StoreError::SchemaNewer { .. } => "use a newer Argus; nothing was read or written".into(),
            StoreError::SchemaOlder { .. } => "run `argus db migrate`".into(),
            StoreError::ChangedMigration { .. } => {
                "use the Argus that ran it, or a newer one; migrations that were run are never edited".into()
            }
            StoreError::Migration { .. } => {
                "nothing of this migration was kept; mend the cause and run it again".into()
            }
            StoreError::NoRoles { .. } => {
                "let an administrator run what `argus db migrate --print-roles` prints, then migrate again".into()
            }
            StoreError::NotAMember { login, .. } => {
                format!("let an administrator run: GRANT argus_approver TO \"{login}\"")
            }
            StoreError::Locked { .. } => {
                "try again when it has ended, or let `argus apply` wait for it with `--lock-timeout SECONDS`".into()
            }
            StoreError::Fenced { .. } => "nothing is lost: it delivers what is left".into(),
            StoreError::SuspensionEnd { .. } => {
                "give a moment to come, at most 90 days ahead (`--until`), or a time from now (`--for 2d`)".into()
            }
            StoreError::UnknownUndo { .. } => "use the Argus that made the run, or a newer one".into(),
            StoreError::Query(error) if sqlstate(error) == "42501" => {
                "this login lacks a role: let an administrator grant it `argus_planner`, and to apply `argus_reconciler` \
                 as well"
                    .into()
            }
            StoreError::Query(_) => "try again; if it stays, the log of the PostgreSQL server tells more".into(),
        }
    }

    /// As a finding.
    pub fn finding(&self) -> Finding {
        Finding::error(self.code(), self.to_string()).hint(self.hint())
    }
}

fn after(waited: Duration) -> String {
    if waited.is_zero() { String::new() } else { format!(", and did not end within {} s", waited.as_secs()) }
}

/// Why an organization was not applied. Nothing of it was written, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A row has moved since the plan was made.
    #[error("the plan of `{organization}` is stale: {}", what.join("; "))]
    Stale {
        /// The organization.
        organization: String,
        /// Each row that has moved, and how.
        what: Vec<String>,
    },
    /// An approval that the plan needs was used, taken back or has ended since the verdict.
    #[error("the plan of `{organization}` is no longer approved: {}", what.join("; "))]
    ApprovalGone {
        /// The organization.
        organization: String,
        /// Each approval that is gone, and how.
        what: Vec<String>,
    },
    /// PostgreSQL refuses a change.
    #[error("PostgreSQL refuses the changes of `{organization}`: {message}")]
    Refused {
        /// The organization.
        organization: String,
        /// The SQLSTATE.
        sqlstate: String,
        /// What it says, without values of rows.
        message: String,
        /// The constraint.
        constraint: Option<String>,
    },
    /// Somebody has suspended it since the verdict.
    #[error("`{organization}` was suspended before it was written: {}", suspension.stop().finding.message)]
    Suspended {
        /// The organization.
        organization: String,
        /// What stands in its way.
        suspension: Box<Suspension>,
    },
    /// Others write the organization all the time.
    #[error("`{organization}` was tried {attempts} times, and others wrote it each time: {why}")]
    Contended {
        /// The organization.
        organization: String,
        /// How often it was tried.
        attempts: u32,
        /// What was in the way at last.
        why: String,
    },
    /// The plan cannot be carried out as it stands.
    #[error("the plan of `{organization}` cannot be carried out: {why}")]
    BadPlan {
        /// The organization.
        organization: String,
        /// Why.
        why: String,
    },
    /// The connection was lost and it is unknown whether the changes were kept.
    #[error("the connection was lost while `{organization}` was committed, and the database cannot be asked: {why}")]
    Unknown {
        /// The organization.
        organization: String,
        /// Why it cannot be asked.
        why: String,
    },
    /// The database fails.
    #[error("`{organization}` was not applied: {source}")]
    Store {
        /// The organization.
        organization: String,
        /// What went wrong.
        source: StoreError,
    },
}

impl ApplyError {
    /// The code that tells more.
    pub fn code(&self) -> Code {
        match self {
            ApplyError::Stale { .. } => Code::Stale,
            ApplyError::Suspended { .. } => Code::Suspended,
            ApplyError::ApprovalGone { .. } => Code::ApprovalGone,
            ApplyError::Contended { .. } => Code::Contended,
            ApplyError::BadPlan { .. } => Code::NotAPlan,
            ApplyError::Refused { .. } | ApplyError::Unknown { .. } => Code::ApplyFailed,
            ApplyError::Store { source: StoreError::Query(_), .. } => Code::ApplyFailed,
            ApplyError::Store { source, .. } => source.code(),
        }
    }

    /// The organization.
    pub fn organization(&self) -> &str {
        match self {
            ApplyError::Stale { organization, .. }
            | ApplyError::Suspended { organization, .. }
            | ApplyError::ApprovalGone { organization, .. }
            | ApplyError::Refused { organization, .. }
            | ApplyError::Contended { organization, .. }
            | ApplyError::BadPlan { organization, .. }
            | ApplyError::Unknown { organization, .. }
            | ApplyError::Store { organization, .. } => organization,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            ApplyError::Stale { .. } => "nothing was written; plan again and look at what has moved".into(),
            ApplyError::Suspended { suspension, .. } => suspension.stop().finding.hint.unwrap_or_default(),
            ApplyError::ApprovalGone { .. } => "nothing was written; plan again, and ask for a new approval".into(),
            ApplyError::Refused { .. } => {
                "nothing of this organization was written; mend what PostgreSQL complains about and apply again".into()
            }
            ApplyError::Contended { .. } => "nothing was written; try again when it is quieter".into(),
            ApplyError::BadPlan { .. } => "plan again".into(),
            ApplyError::Unknown { .. } => "plan again: the plan is empty if the changes were kept".into(),
            ApplyError::Store { source, .. } => source.hint(),
        }
    }

    /// As a finding.
    pub fn finding(&self) -> Finding {
        let finding = match self {
            ApplyError::Suspended { suspension, .. } => suspension.stop().finding,
            _ => Finding::error(self.code(), self.to_string()).hint(self.hint()),
        };
        match self.organization() {
            "" => finding,
            organization => finding.about(format!("Organization/{organization}")),
        }
    }
}

/// What a database error says, without values of rows: PostgreSQL puts those into the detail, and into the messages of
/// some classes, which are left out.
pub(super) fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => {
            let state = database.code().unwrap_or_default();
            let quotes_input = state.starts_with("22");
            if quotes_input {
                format!("a value is not of the form that its column takes (SQLSTATE {state})")
            } else {
                format!("{} (SQLSTATE {state})", database.message())
            }
        }
        sqlx::Error::PoolTimedOut => "no connection became free in time".into(),
        other => other.to_string(),
    }
}

/// The SQLSTATE of an error; empty where it is none of the server's.
pub(super) fn sqlstate(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
}
