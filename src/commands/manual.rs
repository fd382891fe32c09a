//! `argus completions` and `argus man`: derived from the command line itself.

use clap::CommandFactory as _;

use super::context::{Context, Done};
use super::output;
use crate::cli::{Cli, Completions};
use crate::exit_code::ExitCode;

/// Prints completions for a shell.
pub fn completions(_: &Context, args: &Completions) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "argus", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Done)
}

/// Prints the manual: one page for `argus` and one section for each command.
pub fn page(_: &Context) -> Done {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let render = |command: clap::Command, page: &mut Vec<u8>| clap_mangen::Man::new(command).render(page);
    // Writing into memory cannot fail.
    let _ = render(command.clone(), &mut page);
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let _ = render(sub.clone(), &mut page);
    }
    output::print(&String::from_utf8_lossy(&page))?;
    Ok(ExitCode::Done)
}
