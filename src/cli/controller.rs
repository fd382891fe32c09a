//! The command line of the controller, and of whoever watches what comes of it.

use std::net::SocketAddr;

use clap::Args;

use super::Rows;

/// `argus controller`
#[derive(Args, Debug)]
pub struct Controller {
    /// Serve /metrics, /healthz and /readyz here: 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS", env = "ARGUS_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// How many steps to do at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: Option<u16>,
    /// End when nothing is due any more, instead of waiting for more; events are not delivered
    #[arg(long)]
    pub once: bool,
}

/// `argus reconcile`
#[derive(Args, Debug)]
pub struct Reconcile {
    /// The source, as `argus get sources` lists it
    pub source: String,
    /// Only this organization, as far as the source has been looked at
    #[arg(short = 'O', long, value_name = "NAME")]
    pub organization: Option<String>,
    /// Wait until it is done, and say what came of it
    #[arg(long)]
    pub wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "TIME", default_value = "10m", requires = "wait")]
    pub timeout: String,
}

/// `argus events`
#[derive(Args, Debug)]
pub struct Events {
    /// Only those of this organization
    #[arg(short = 'O', long, value_name = "NAME")]
    pub organization: Option<String>,
    /// Only those whose type begins like this: `drift`, `source.stalled`
    #[arg(long = "type", value_name = "TYPE")]
    pub of: Option<String>,
    /// Only those that are no older than this: 1h, 7d
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// How to write them
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Rows,
}
