//! Parse, run, and turn the outcome into an exit code.

use argus::cli::Cli;
use argus::{commands, sandbox, telemetry};
use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // A worker for policies is started with limits that leave no room for anything else.
    if std::env::args_os().nth(1).is_some_and(|word| word == sandbox::worker::WORD) {
        return sandbox::worker::run();
    }
    let cli = Cli::parse();
    telemetry::start(&cli.global.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli)).into(),
        Err(error) => {
            tracing::error!(%error, "the runtime does not start: {error}");
            argus::exit_code::ExitCode::Failed.into()
        }
    }
}
