//! The command line: types for clap, one variant per command, and nothing else.

pub mod audit;
pub mod brakes;
pub mod controller;
pub mod notify;
pub mod policy;
pub mod schema;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use crate::brake::Mode;
use crate::exit_code::ExitCode;
use crate::render::checks::{FORMS, Form};

/// Keeps organizations in the shape that their manifests say they should have.
#[derive(Debug, Parser)]
#[command(name = "argus", version, about, after_help = ExitCode::HELP, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
}

/// Options that every command takes. A flag outweighs the environment, the environment outweighs the file.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The settings of this machine (YAML)
    #[arg(long, value_name = "FILE", global = true, env = "ARGUS_CONFIG")]
    pub config: Option<PathBuf>,
    /// The address of the database: postgres://user@host/database; without one, a private PostgreSQL is started
    #[arg(long, value_name = "URL", global = true, env = "ARGUS_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Where the private PostgreSQL keeps its data
    #[arg(long, value_name = "DIR", global = true, env = "ARGUS_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where PostgreSQL's server binaries are (`initdb`, `postgres`)
    #[arg(long, value_name = "DIR", global = true, env = "ARGUS_POSTGRES_BIN")]
    pub postgres_bin: Option<PathBuf>,
    /// How many connections to the database to use
    #[arg(long, value_name = "N", global = true, env = "ARGUS_CONNECTIONS", value_parser = clap::value_parser!(u32).range(2..=200))]
    pub connections: Option<u32>,
    /// When to use colour; `auto` also obeys NO_COLOR
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true, env = "ARGUS_COLOR")]
    pub color: Color,
    /// What to log to standard error: error, warn, info, debug, trace, or filters by module
    #[arg(long, value_name = "FILTER", default_value = "warn", global = true, env = "ARGUS_LOG")]
    pub log: String,
    /// How a line on standard error looks [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", global = true, env = "ARGUS_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Write metrics of this command here when it ends, in the text format of Prometheus
    #[arg(long, value_name = "FILE", global = true, env = "ARGUS_METRICS_FILE")]
    pub metrics_file: Option<PathBuf>,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON document on each line, with the trace and the run; findings too.
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// When a person watches.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; `argus schema` prints its schema.
    Json,
    /// For a comment under a pull request.
    Markdown,
}

/// How a report is written of which the findings are a part: the whole of it, or the findings alone.
#[derive(Clone, Copy, Debug)]
pub enum Face {
    /// The whole.
    Whole(Format),
    /// The findings alone, as CI systems read them.
    Findings(Report),
}

impl Default for Face {
    fn default() -> Self {
        Face::Whole(Format::default())
    }
}

impl ValueEnum for Face {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Face>> = LazyLock::new(|| {
            let wholes = Format::value_variants().iter().copied().map(Face::Whole);
            wholes.chain(FORMS.iter().filter(|form| form.is_for_ci).map(|form| Face::Findings(Report(form)))).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Face::Whole(format) => format.to_possible_value(),
            Face::Findings(Report(form)) => {
                let value = Report(form).to_possible_value()?;
                Some(value.help(format!("{}: the findings alone", form.about)))
            }
        }
    }
}

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Rows {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// Manifests.
    Yaml,
    /// `kind/name`, a line each.
    Name,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check manifests without a database
    Validate(Validate),
    /// Show what would change, and why
    Plan(Plan),
    /// Make it so: plan and apply, or apply a saved plan
    Apply(Apply),
    /// Take back what a run has written
    Rollback(Rollback),
    /// Stop an organization or a source: nothing is written to it any more
    Suspend(brakes::Suspend),
    /// Report what has drifted meanwhile, and go on
    Resume(brakes::Resume),
    /// Look at sources and keep organizations as they say, always
    Controller(controller::Controller),
    /// Ask the controller to look at a source now
    Reconcile(controller::Reconcile),
    /// Show what has happened lately
    Events(controller::Events),
    /// Write down all that planning reads, without what others must not see: for a plan that needs no secrets
    Snapshot(Snapshot),
    /// Deliver events to the sinks that the settings of this machine name
    Relay(Relay),
    /// Try the channels of an organization, and show what waits for them
    Notify(notify::Notify),
    /// Look whether all that the settings of this machine name is there and works
    Doctor,
    /// Print a saved plan, or one that is held
    Show(Show),
    /// Approve a plan that is held
    Approve(Approve),
    /// Show who has changed what behind the manifests' back
    Drift(Drift),
    /// Show the difference between rows and manifests as text
    Diff(Diff),
    /// Write live organizations as manifests
    Export(Export),
    /// List live resources
    Get(Get),
    /// Explain a finding (ARG1042), a kind (Budget) or a field (Budget.limit)
    Explain(Explain),
    /// Show who changed what and when
    History(History),
    /// Read, export and verify the audit, sign where it ends, and drop what is old
    Audit(audit::Audit),
    /// Test and check policies, and ask them
    Policy(policy::Policy),
    /// Manage the database
    Db(Db),
    /// Print a JSON Schema: of manifests for editors, of plans and findings for programs
    Schema(schema::Schema),
    /// Print the CustomResourceDefinitions of Kubernetes
    Crds(Crds),
    /// Print completions for a shell
    Completions(Completions),
    /// Print the manual page
    Man,
}

impl Command {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Validate(_) => "validate",
            Command::Plan(_) => "plan",
            Command::Apply(_) => "apply",
            Command::Rollback(_) => "rollback",
            Command::Suspend(_) => "suspend",
            Command::Resume(_) => "resume",
            Command::Controller(_) => "controller",
            Command::Reconcile(_) => "reconcile",
            Command::Events(_) => "events",
            Command::Snapshot(_) => "snapshot",
            Command::Relay(_) => "relay",
            Command::Notify(_) => "notify",
            Command::Doctor => "doctor",
            Command::Show(_) => "show",
            Command::Approve(_) => "approve",
            Command::Drift(_) => "drift",
            Command::Diff(_) => "diff",
            Command::Export(_) => "export",
            Command::Get(_) => "get",
            Command::Explain(_) => "explain",
            Command::History(_) => "history",
            Command::Audit(_) => "audit",
            Command::Policy(_) => "policy",
            Command::Db(_) => "db",
            Command::Schema(_) => "schema",
            Command::Crds(_) => "crds",
            Command::Completions(_) => "completions",
            Command::Man => "man",
        }
    }
}

/// Where the manifests are.
#[derive(Args, Clone, Debug)]
pub struct Manifests {
    /// The directory (or file) with the manifests, by default this one
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// The name of the source, as `source` in argus.yaml sets it
    #[arg(long, value_name = "NAME", env = "ARGUS_SOURCE")]
    pub source: Option<String>,
    /// Read a Git repository instead: an https or ssh address, or a path
    #[arg(long, value_name = "URL", env = Manifests::ADDRESS_VARIABLE)]
    pub git: Option<String>,
    /// The branch, tag or commit of the repository; without --git, of the one that PATH stands in
    #[arg(long = "ref", value_name = "REF", env = Manifests::REFERENCE_VARIABLE)]
    pub reference: Option<String>,
    /// Read only this directory or file, instead of those that argus.yaml names; may be repeated
    #[arg(long = "path", value_name = "PATH")]
    pub only: Vec<PathBuf>,
}

impl Manifests {
    /// What may name the repository instead of `--git`.
    pub const ADDRESS_VARIABLE: &'static str = "ARGUS_GIT_URL";
    /// What may name the branch, tag or commit instead of `--ref`.
    pub const REFERENCE_VARIABLE: &'static str = "ARGUS_GIT_REF";
}

/// How to plan.
#[derive(Args, Clone, Debug)]
pub struct Planning {
    /// Only this: an organization (`acme`) or a resource (`acme/Member/ada@acme.example`); may be repeated
    #[arg(long, value_name = "WHAT")]
    pub target: Vec<String>,
    /// Report drift and leave it
    #[arg(long)]
    pub no_drift: bool,
    /// Read every organization, also those of which neither files nor rows have moved
    #[arg(long)]
    pub full: bool,
    /// What judges the plan.
    #[command(flatten)]
    pub judging: Judging,
}

impl Planning {
    /// Whether drift is corrected: in the mode of the source, unless somebody says otherwise.
    pub fn corrects_drift(&self, mode: Mode) -> bool {
        mode == Mode::Enforce && !self.no_drift
    }
}

/// What judges a plan.
#[derive(Args, Clone, Debug, Default)]
pub struct Judging {
    /// The folder of the policies; it outweighs the one that the source names
    #[arg(long, value_name = "DIR", env = "ARGUS_POLICIES")]
    pub policies: Option<PathBuf>,
}

/// `argus validate`
#[derive(Args, Debug)]
pub struct Validate {
    /// Where the manifests are.
    #[command(flatten)]
    pub manifests: Manifests,
    /// How to write the findings
    #[arg(long, value_enum, default_value_t)]
    pub format: Face,
}

/// `argus plan`
#[derive(Args, Debug)]
pub struct Plan {
    /// Where the manifests are.
    #[command(flatten)]
    pub manifests: Manifests,
    /// How to plan.
    #[command(flatten)]
    pub planning: Planning,
    /// Show what a branch adds to what this branch already plans, whose settings and policies judge it
    #[arg(long, value_name = "REF", conflicts_with = "output")]
    pub base: Option<String>,
    /// The branch that would be merged into the base
    #[arg(long, value_name = "REF", requires = "base", default_value = "HEAD")]
    pub head: String,
    /// What to plan with instead of the database.
    #[command(flatten)]
    pub snapshotted: Snapshotted,
    /// Save the plan, for `argus apply FILE`
    #[arg(short, long, value_name = "FILE", conflicts_with = "snapshot")]
    pub output: Option<PathBuf>,
    /// End with 2 when something would change
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Where a comment leads.
    #[command(flatten)]
    pub links: Linked,
    /// How to write the plan
    #[arg(long, value_enum, default_value_t)]
    pub format: Face,
}

/// What to plan with instead of the database.
#[derive(Args, Clone, Debug)]
pub struct Snapshotted {
    /// Plan with what `argus snapshot` wrote: neither a database nor the network is touched
    #[arg(long, value_name = "FILE", requires = "vouching")]
    pub snapshot: Option<PathBuf>,
    /// Who may have signed the snapshot (`allowed_signers`, see ssh-keygen)
    #[arg(long, value_name = "FILE", group = "vouching", requires = "snapshot")]
    pub snapshot_signers: Option<PathBuf>,
    /// Take the snapshot whoever made it
    #[arg(long, group = "vouching", requires = "snapshot")]
    pub snapshot_unsigned: bool,
    /// How old the snapshot may be
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub snapshot_max_age: String,
}

/// Where a comment leads.
#[derive(Args, Clone, Debug)]
pub struct Linked {
    /// Link places to these files: `https://git.example/acme/config/blob/0123abc`
    #[arg(long, value_name = "URL", env = "ARGUS_LINK_BASE")]
    pub link_base: Option<String>,
    /// Link codes to these pages: `https://git.example/argus/argus/blob/main/docs/codes`
    #[arg(long, value_name = "URL", env = "ARGUS_CODES_BASE")]
    pub codes_base: Option<String>,
}

/// `argus relay`
#[derive(Args, Debug)]
pub struct Relay {
    /// Only to these sinks of the settings
    #[arg(long = "sink", value_name = "NAME")]
    pub sinks: Vec<String>,
    /// End when nothing waits any more, instead of waiting for more
    #[arg(long)]
    pub once: bool,
    /// Deliver nothing, and forget this sink and all that waits for it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sinks", "once", "workers"])]
    pub forget: Option<String>,
    /// How long events are kept that nobody waits for: 30d, 12h
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub keep: String,
    /// Serve /metrics, /healthz and /readyz here: 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS", env = "ARGUS_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// How many workers each sink has
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub workers: u16,
}

/// `argus snapshot`
#[derive(Args, Debug)]
pub struct Snapshot {
    /// Where the manifests are: argus.yaml there names the source.
    #[command(flatten)]
    pub manifests: Manifests,
    /// The file
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Sign it with this private SSH key (ed25519, without a passphrase)
    #[arg(long, value_name = "FILE", required_unless_present = "unsigned")]
    pub sign_key: Option<PathBuf>,
    /// Do not sign it
    #[arg(long, conflicts_with = "sign_key")]
    pub unsigned: bool,
    /// Leave out a field altogether, not even a digest: `billingEmail`, `Member.displayName`; may be repeated
    #[arg(long, value_name = "FIELD")]
    pub redact: Vec<String>,
    /// Show what the rows are called that the source does not manage
    #[arg(long)]
    pub show_names: bool,
}

/// `argus apply`
#[derive(Args, Debug)]
#[command(after_help = "PATH may also be a plan that `argus plan -o FILE` has saved.")]
pub struct Apply {
    /// Where the manifests are, or a saved plan.
    #[command(flatten)]
    pub manifests: Manifests,
    /// How to plan.
    #[command(flatten)]
    pub planning: Planning,
    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,
    /// Apply although a guard holds the plan, no window is open or it was rolled back; the history will say so
    #[arg(long)]
    pub force: bool,
    /// How many seconds to wait while another run of the same source is under way
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub lock_timeout: u32,
    /// Write the tokens of new invitations to this file (readable by its owner only)
    #[arg(long, value_name = "FILE")]
    pub invitations: Option<PathBuf>,
    /// How to write the plan and the outcome
    #[arg(long, value_enum, default_value_t)]
    pub format: Face,
}

/// `argus rollback`
#[derive(Args, Debug)]
pub struct Rollback {
    /// The run, as `argus get runs` lists it
    pub run: String,
    /// Where the manifests are: argus.yaml there says how the source is judged.
    #[command(flatten)]
    pub manifests: Manifests,
    /// What judges the plan.
    #[command(flatten)]
    pub judging: Judging,
    /// Only this organization; may be repeated
    #[arg(short = 'O', long = "organization", value_name = "NAME")]
    pub organizations: Vec<String>,
    /// Only this: an organization (`acme`) or a resource (`acme/Member/ada@acme.example`); may be repeated
    #[arg(long, value_name = "WHAT")]
    pub target: Vec<String>,
    /// Show what would be taken back, and write nothing
    #[arg(long)]
    pub plan: bool,
    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,
    /// Roll back although a guard holds the plan or a window is closed; the history will say so
    #[arg(long)]
    pub force: bool,
    /// How many seconds to wait while another run of the same source is under way
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub lock_timeout: u32,
    /// How to write the plan and the outcome
    #[arg(long, value_enum, default_value_t)]
    pub format: Face,
}

/// `argus show`
#[derive(Args, Debug)]
pub struct Show {
    /// The saved plan, or the digest of a plan that is held (8 digits or more)
    #[arg(value_name = "FILE|DIGEST")]
    pub file: PathBuf,
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    pub format: Face,
}

/// `argus approve`
#[derive(Args, Debug)]
#[command(after_help = Approve::HELP)]
pub struct Approve {
    /// The digest of a plan that is held, or of the plan of a run with all that it held (8 digits or more)
    #[arg(required_unless_present_any = ["signed", "revoke"])]
    pub digest: Option<String>,
    /// Only the plan of this organization
    #[arg(short = 'O', long, value_name = "NAME", requires = "digest")]
    pub organization: Option<String>,
    /// How long the approval holds: from 1m to 30d
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub expires_in: String,
    /// What to say with it
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,
    /// Print a statement to be signed, and record nothing
    #[arg(long, requires = "digest", conflicts_with_all = ["comment", "auto_approve"])]
    pub statement: bool,
    /// Whose statement it is, if not that of whoever logs in to the database
    #[arg(long = "as", value_name = "NAME", requires = "statement")]
    pub approver: Option<String>,
    /// Record a statement that was signed
    #[arg(long, value_name = "FILE", requires = "signature", conflicts_with_all = ["digest", "expires_in"])]
    pub signed: Option<PathBuf>,
    /// The signature of the statement, as `ssh-keygen -Y sign` writes it
    #[arg(long, value_name = "FILE", requires = "signed")]
    pub signature: Option<PathBuf>,
    /// Take back the approval of this number
    #[arg(long, value_name = "ID", conflicts_with_all = ["digest", "expires_in", "comment", "auto_approve", "signed"])]
    pub revoke: Option<i64>,
}

impl Approve {
    /// How people approve.
    const HELP: &'static str = "\
Only those approve whom the settings of the machine (--config FILE) list under `approvers`, and never what is their own.
They are known by the database role that they log in as, or by a statement that they sign:
  argus approve DIGEST --statement --as grace > statement
  ssh-keygen -Y sign -n argus-approval -f ~/.ssh/id_ed25519 statement
  argus approve --signed statement --signature statement.sig";
}

/// `argus drift`
#[derive(Args, Debug)]
pub struct Drift {
    /// Where the manifests are.
    #[command(flatten)]
    pub manifests: Manifests,
    /// Only this: an organization or a resource; may be repeated
    #[arg(long, value_name = "WHAT")]
    pub target: Vec<String>,
    /// What judges the plan.
    #[command(flatten)]
    pub judging: Judging,
    /// Write a patch against the manifests that adopts the drift
    #[arg(long)]
    pub emit_patch: bool,
    /// End with 2 when there is drift
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// How to write the report
    #[arg(long, value_enum, default_value_t, conflicts_with = "emit_patch")]
    pub format: Face,
}

/// `argus diff`
#[derive(Args, Debug)]
pub struct Diff {
    /// Where the manifests are.
    #[command(flatten)]
    pub manifests: Manifests,
    /// Only this: an organization or a resource; may be repeated
    #[arg(long, value_name = "WHAT")]
    pub target: Vec<String>,
}

/// `argus export`
#[derive(Args, Debug)]
pub struct Export {
    /// The organizations; without any, all of them and the tiers
    pub organizations: Vec<String>,
    /// Write a file per organization into this directory
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// The schema that editors are told of
    #[arg(long, value_name = "URL", default_value = "argus.schema.json")]
    pub schema: String,
}

/// `argus crds`
#[derive(Args, Debug)]
pub struct Crds {
    /// Write a file for each into this directory
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// `argus get`
#[derive(Args, Debug)]
pub struct Get {
    /// The kind: organizations, members, keys, ...; or `sources`, `work` (what waits for the controller), `runs`,
    /// `suspensions`, `held` (plans that wait), `approvals`
    pub kind: String,
    /// The name of one; of plans that wait the beginning of a digest
    pub name: Option<String>,
    /// The organization; without one, all of them
    #[arg(short = 'O', long, value_name = "NAME")]
    pub organization: Option<String>,
    /// How to write them
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Rows,
}

/// `argus explain`
#[derive(Args, Debug)]
pub struct Explain {
    /// A code (ARG1042), a kind (Budget) or a field (Budget.limit); without one, the list of codes
    pub what: Option<String>,
}

/// `argus history`
#[derive(Args, Debug)]
pub struct History {
    /// The organization
    pub organization: Option<String>,
    /// Only this kind
    #[arg(long)]
    pub kind: Option<String>,
    /// Only the resource of this name
    #[arg(long)]
    pub name: Option<String>,
    /// Only what this actor or database role did
    #[arg(long)]
    pub actor: Option<String>,
    /// How many rows at most, the newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// How to write them
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How tests are reported; the formats of conftest.
#[derive(Clone, Copy, Debug)]
pub struct Report(pub &'static Form);

impl Default for Report {
    fn default() -> Self {
        Report(&FORMS[0])
    }
}

impl ValueEnum for Report {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Report>> = LazyLock::new(|| FORMS.iter().map(Report).collect());
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, others) = self.0.names.split_first()?;
        Some(PossibleValue::new(*name).aliases(others.iter().copied()).help(self.0.about))
    }
}

/// `argus db`
#[derive(Args, Debug)]
pub struct Db {
    /// What to do with the database.
    #[command(subcommand)]
    pub command: DbCommand,
}

/// What to do with the database.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Bring the schema to the version of this Argus
    Migrate {
        /// Print the SQL that creates the roles, for an administrator, and do nothing
        #[arg(long)]
        print_roles: bool,
    },
    /// Show the versions of the schema
    Status,
    /// Run a command with the private PostgreSQL up and PGHOST, PGUSER and PGDATABASE set
    Run {
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

/// `argus completions`
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}
