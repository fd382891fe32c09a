//! `argus db`: the schema of the database, and the private server.

use super::context::{Context, Done, Failure};
use super::output::report;
use crate::cli::{Db, DbCommand};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::render::table;
use crate::store::migrate;
use crate::store::private::PrivateServer;
use crate::store::url::DatabaseUrl;

/// Does what was asked for.
pub async fn run(context: &Context, args: &Db) -> Done {
    match &args.command {
        DbCommand::Migrate { print_roles: true } => report(&migrate::print_roles(&login(context)?), ExitCode::Done),
        DbCommand::Migrate { print_roles: false } => migrate_schema(context).await,
        DbCommand::Status => status(context).await,
        DbCommand::Run { command } => run_command(context, command).await,
    }
}

/// The address, with the private server behind it if none is configured.
fn address(context: &Context) -> Result<(DatabaseUrl, Option<PrivateServer>), Failure> {
    match context.database_url()? {
        Some(url) => Ok((url, None)),
        None => {
            let server = context.private_server()?;
            Ok((server.url().clone(), Some(server)))
        }
    }
}

/// The role that logs in, for which the roles are set up.
fn login(context: &Context) -> Result<String, Failure> {
    Ok(context.database_url()?.map_or_else(|| "argus".to_owned(), |url| url.user().to_owned()))
}

async fn migrate_schema(context: &Context) -> Done {
    let (url, _server) = address(context)?;
    let applied = migrate::migrate(&url).await?;
    let text = match applied.len() {
        0 => format!("The schema is at version {} already.\n", migrate::newest()),
        count => format!("Applied {count} migrations: the schema is at version {}.\n", migrate::newest()),
    };
    report(&text, ExitCode::Done)
}

async fn status(context: &Context) -> Done {
    let (url, _server) = address(context)?;
    let status = migrate::status(&url).await?;
    let header = ["VERSION", "NAME", "APPLIED", "BY"].map(String::from);
    let rows = status.iter().map(|migration| {
        let pending = || "pending".to_owned();
        vec![
            migration.version.to_string(),
            migration.name.to_string(),
            migration.applied_at.clone().unwrap_or_else(pending),
            migration.binary_version.clone().unwrap_or_default(),
        ]
    });
    let code =
        if status.iter().all(|migration| migration.applied_at.is_some()) { ExitCode::Done } else { ExitCode::Failed };
    report(&table::table(&header, &rows.collect::<Vec<_>>()), code)
}

/// Runs a command while the private server is up.
async fn run_command(context: &Context, command: &[String]) -> Done {
    if context.database_url()?.is_some() {
        let finding = Finding::error(Code::BadSettings, "a database is configured, and this is about the private one");
        return Err(Failure::from(finding.hint("call the command itself, with the address of your database")));
    }
    let database = context.database().await?;
    let server =
        database.server().ok_or_else(|| Failure::from(Finding::error(Code::NoDatabase, "no private server")))?;
    let [program, arguments @ ..] = command else { return Ok(ExitCode::Failed) };
    let status = tokio::process::Command::new(program).args(arguments).envs(server.url().environment()).status().await;
    match status {
        Ok(status) if status.success() => Ok(ExitCode::Done),
        Ok(_) => Ok(ExitCode::Failed),
        Err(error) => Err(Failure::from(Finding::error(Code::BadSettings, format!("cannot run {program}: {error}")))),
    }
}
