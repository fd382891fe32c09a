//! The command line of `argus audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `argus audit`
#[derive(Args, Debug)]
pub struct Audit {
    /// What to do with the audit.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What to do with the audit.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show the last rows, the newest last
    Tail(Tail),
    /// Show one row whole, with its seal
    Show(ShowRow),
    /// Write sealed rows into a file that can be verified by itself
    Export(ExportRows),
    /// Verify that every row is the one that was sealed, in the database or in an export
    Verify(VerifyAudit),
    /// Show the signed ends of the chains, or sign them now
    Heads(Heads),
    /// Seal what waits to be sealed
    Seal,
    /// Drop rows that are older than the tier of their organization keeps them
    Prune(Prune),
}

/// How rows of the audit are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditAction {
    /// It came.
    Insert,
    /// It changed.
    Update,
    /// It went.
    Delete,
}

/// Which rows of the audit.
#[derive(Args, Clone, Debug)]
pub struct AuditFilter {
    /// Only those of this organization (empty for what all share); may be repeated
    #[arg(short = 'O', long = "organization", value_name = "NAME")]
    pub organizations: Vec<String>,
    /// Only what this actor or database role did
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// Only this kind
    #[arg(long)]
    pub kind: Option<String>,
    /// Only the resource of this name
    #[arg(long)]
    pub name: Option<String>,
    /// Only this action
    #[arg(long, value_enum)]
    pub action: Option<AuditAction>,
    /// Only what this run wrote
    #[arg(long)]
    pub run: Option<String>,
    /// Only since then: `2h`, `7d`, or `YYYY-MM-DDThh:mm:ssZ`
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only before then: `2h`, `7d`, or `YYYY-MM-DDThh:mm:ssZ`
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
}

/// Whom to trust.
#[derive(Args, Clone, Debug)]
pub struct AuditSigners {
    /// Whose signatures count (`allowed_signers`, see ssh-keygen); without it `audit.signers` of the settings
    #[arg(long, value_name = "FILE")]
    pub signers: Option<PathBuf>,
}

/// `argus audit tail`
#[derive(Args, Debug)]
pub struct Tail {
    /// Which rows.
    #[command(flatten)]
    pub filter: AuditFilter,
    /// How many rows
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub lines: u32,
    /// Go on with what comes
    #[arg(short, long)]
    pub follow: bool,
    /// How to write them; with --follow a line of JSON for each
    #[arg(long, value_enum, default_value_t)]
    pub format: AuditFormat,
}

/// `argus audit show`
#[derive(Args, Debug)]
pub struct ShowRow {
    /// The organization; empty for what all share
    pub organization: String,
    /// Its place in the chain
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub sequence: i64,
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    pub format: AuditFormat,
}

/// How rows are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportForm {
    /// A line of JSON for each row.
    #[default]
    Ndjson,
    /// CSV that no spreadsheet takes for formulas.
    Csv,
}

/// `argus audit export`
#[derive(Args, Debug)]
pub struct ExportRows {
    /// Which rows.
    #[command(flatten)]
    pub filter: AuditFilter,
    /// The file; beside it `FILE.manifest.json` tells what it holds
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How to write the rows
    #[arg(long, value_enum, default_value_t)]
    pub format: ExportForm,
    /// Sign the manifest with this private SSH key; without it `audit.signKey` of the settings
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,
}

/// `argus audit verify`
#[derive(Args, Debug)]
pub struct VerifyAudit {
    /// Only the chain of this organization (empty for what all share); may be repeated
    #[arg(short = 'O', long = "organization", value_name = "NAME")]
    pub organizations: Vec<String>,
    /// Verify this file that `argus audit export` wrote, without a database
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Heads that were kept elsewhere; without it `audit.heads` of the settings
    #[arg(long, value_name = "FILE")]
    pub heads: Option<PathBuf>,
    /// Whom to trust.
    #[command(flatten)]
    pub signers: AuditSigners,
    /// How to write the report
    #[arg(long, value_enum, default_value_t)]
    pub format: AuditFormat,
}

/// `argus audit heads`
#[derive(Args, Debug)]
pub struct Heads {
    /// Only those of this organization (empty for what all share); may be repeated
    #[arg(short = 'O', long = "organization", value_name = "NAME")]
    pub organizations: Vec<String>,
    /// Sign every end that has moved since it was signed last
    #[arg(long, conflicts_with = "organizations")]
    pub sign: bool,
    /// Sign with this private SSH key; without it `audit.signKey` of the settings
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub sign_key: Option<PathBuf>,
    /// Whom to trust.
    #[command(flatten)]
    pub signers: AuditSigners,
    /// How many at most, the newest first
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// How to write them
    #[arg(long, value_enum, default_value_t)]
    pub format: AuditFormat,
}

/// `argus audit prune`
#[derive(Args, Debug)]
pub struct Prune {
    /// Only of this organization; may be repeated
    #[arg(short = 'O', long = "organization", value_name = "NAME")]
    pub organizations: Vec<String>,
    /// Show what would go, and drop nothing
    #[arg(long)]
    pub plan: bool,
    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,
    /// Sign checkpoints with this private SSH key; without it `audit.signKey` of the settings
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,
    /// Whom to trust.
    #[command(flatten)]
    pub signers: AuditSigners,
}
