//! The command line of `argus notify`.

use clap::{Args, Subcommand, ValueEnum};

/// `argus notify`
#[derive(Args, Debug)]
pub struct Notify {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with notifications.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send a test message to a channel now, and say what came of it
    Test(Test),
    /// Show what waits for the channels of an organization, and what became of the rest
    List(List),
}

/// `argus notify test`
#[derive(Args, Debug)]
pub struct Test {
    /// The organization
    #[arg(short = 'O', long = "organization", value_name = "NAME")]
    pub organization: String,
    /// The channel
    #[arg(value_name = "CHANNEL")]
    pub channel: String,
}

/// `argus notify list`
#[derive(Args, Debug)]
pub struct List {
    /// The organization
    #[arg(short = 'O', long = "organization", value_name = "NAME")]
    pub organization: String,
    /// Only what is in this state
    #[arg(long, value_enum)]
    pub state: Option<StateWord>,
    /// How many at most; the newest are shown, and what waits before all
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub limit: u16,
    /// How to write them
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Listing,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateWord {
    /// It is to be sent.
    Waiting,
    /// It was taken.
    Sent,
    /// It was not taken, and is not tried again.
    Failed,
    /// Its channel is disabled or gone.
    Dropped,
}

/// How messages are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// A table.
    #[default]
    Table,
    /// JSON.
    Json,
}
