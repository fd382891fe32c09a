//! The command line of `argus schema`.

use clap::{Args, ValueEnum};

/// `argus schema`
#[derive(Args, Debug)]
pub struct Schema {
    /// Of what
    #[arg(value_enum, default_value_t)]
    pub of: SchemaOf,
    /// Describe the topics of this sink, with its brokers and its names (asyncapi)
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
}

/// What a schema describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Manifests.
    #[default]
    Manifest,
    /// What `plan`, `show` and `drift` print as JSON, and what `plan -o` saves.
    Plan,
    /// What `validate` prints as JSON.
    Findings,
    /// What `apply` prints as JSON.
    Outcome,
    /// What `get` prints as JSON.
    Rows,
    /// What `get sources` prints as JSON.
    Sources,
    /// What `get work` prints as JSON.
    Work,
    /// What `get runs` prints as JSON.
    Runs,
    /// What `get suspensions` prints as JSON.
    Suspensions,
    /// What `get held` prints as JSON.
    Held,
    /// What `get approvals` prints as JSON.
    Approvals,
    /// What `history` prints as JSON.
    History,
    /// What `audit tail` and `audit show` print as JSON.
    Audit,
    /// What `audit heads` prints as JSON.
    AuditHeads,
    /// What `audit verify` prints as JSON.
    AuditVerification,
    /// What `notify list` prints as JSON.
    Notifications,
    /// What policies are told, as `policy input` prints it.
    PolicyInput,
    /// What `policy eval` prints as JSON.
    Judgement,
    /// What `events` prints as JSON.
    EventList,
    /// Events, of every type.
    Events,
    /// Topics and events, as an AsyncAPI document.
    Asyncapi,
}
