//! The command line of `argus suspend` and `argus resume`.

use std::path::PathBuf;

use clap::Args;

/// What is suspended or resumed.
#[derive(Args, Clone, Debug)]
pub struct Suspended {
    /// The organization (with --all there is none)
    #[arg(value_name = "ORG", required_unless_present = "all")]
    pub organization: Option<String>,
    /// The directory with the manifests, whose argus.yaml names the source
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Everything that the source applies
    #[arg(long)]
    pub all: bool,
    /// The source; without it that of PATH for --all, and any for an organization
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
}

/// `argus suspend`
#[derive(Args, Debug)]
pub struct Suspend {
    /// What is suspended.
    #[command(flatten)]
    pub what: Suspended,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// How long, at most 90d: `8h`, `2d`
    #[arg(long = "for", value_name = "DURATION", required_unless_present = "until", conflicts_with = "until")]
    pub length: Option<String>,
    /// Until when, at most 90 days ahead: `YYYY-MM-DDThh:mm:ssZ`
    #[arg(long, value_name = "MOMENT")]
    pub until: Option<String>,
    /// Whom others should ask; without it, whoever suspends
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
}

/// `argus resume`
#[derive(Args, Debug)]
pub struct Resume {
    /// What is resumed.
    #[command(flatten)]
    pub what: Suspended,
    /// Why it goes on
    #[arg(long, value_name = "TEXT", default_value = "resumed")]
    pub reason: String,
    /// Do not report what has drifted meanwhile
    #[arg(long)]
    pub no_report: bool,
}
