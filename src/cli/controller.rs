//! The command line of the controller.

use std::net::SocketAddr;

use clap::Args;

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
