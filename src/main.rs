//! Parse, run, and turn the outcome into an exit code.

use argus::cli::Cli;
use argus::commands::context::Context;
use argus::exit_code::ExitCode;
use argus::{commands, controller, sandbox, telemetry};
use clap::{CommandFactory as _, Parser as _};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // A worker for policies is started with limits that leave no room for anything else.
    if std::env::args_os().nth(1).is_some_and(|word| word == sandbox::worker::WORD) {
        return sandbox::worker::run();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // What cannot be told has nobody to be told to.
            let _ = error.print();
            return ExitCode::of_usage(error.use_stderr(), command().as_deref()).into();
        }
    };
    let Cli { command, global } = cli;
    let context = match Context::new(global) {
        Ok(context) => context,
        Err((failure, format)) => return failure.tell_without_context(format).into(),
    };
    let telemetry = telemetry::start(&context.global.log, context.log_format(), context.telemetry());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let code = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(&context, command, controller::run)),
        Err(error) => {
            tracing::error!(%error, "the runtime does not start: {error}");
            ExitCode::Failed
        }
    };
    telemetry.finish();
    code.into()
}

/// The command that is meant, whatever is wrong with the rest.
fn command() -> Option<String> {
    let known = Cli::command();
    let is_known = |word: &String| known.get_subcommands().any(|command| command.get_name() == word);
    std::env::args_os().skip(1).filter_map(|word| word.into_string().ok()).find(is_known)
}
