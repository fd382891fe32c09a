//! `argus schema`: JSON Schemas, for editors and for programs.

use super::audit::heads::HeadItem;
use super::audit::verify::Verification;
use super::context::{Context, Done, Failure};
use super::output::report;
use super::relay;
use crate::brake::Suspension;
use crate::cli::schema::{Schema, SchemaOf};
use crate::event::Topic;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::policy::input::Input;
use crate::render::asyncapi::{self, Wire};
use crate::render::json::{
    self, ApprovalItem, FindingsDocument, HeldItem, JudgementDocument, ListDocument, OutcomeDocument, PlanDocument,
    RowItem,
};
use crate::render::schema;
use crate::sink::kafka::{Mechanism, Mode};
use crate::store::audit::SealedRow;
use crate::store::events::listed::EventItem;
use crate::store::history::{AuditRow, RunRow};
use crate::store::notifications::Listed;
use crate::store::queue::listed::{SourceItem, WorkItem};

/// Prints a schema.
pub fn run(context: &Context, args: &Schema) -> Done {
    if args.sink.is_some() && args.of != SchemaOf::Asyncapi {
        let finding = Finding::error(Code::BadSettings, "`--sink` goes with `argus schema asyncapi` alone");
        return Err(Failure::from(finding.hint("leave it out: this schema is the same for every sink")));
    }
    let text = match args.of {
        SchemaOf::Manifest => json::pretty(&schema::manifest_schema()),
        SchemaOf::Plan => json::schema::<PlanDocument>(),
        SchemaOf::Findings => json::schema::<FindingsDocument>(),
        SchemaOf::Outcome => json::schema::<OutcomeDocument>(),
        SchemaOf::Rows => json::schema::<ListDocument<RowItem>>(),
        SchemaOf::Sources => json::schema::<ListDocument<SourceItem>>(),
        SchemaOf::Work => json::schema::<ListDocument<WorkItem>>(),
        SchemaOf::Runs => json::schema::<ListDocument<RunRow>>(),
        SchemaOf::Suspensions => json::schema::<ListDocument<Suspension>>(),
        SchemaOf::Held => json::schema::<ListDocument<HeldItem>>(),
        SchemaOf::Approvals => json::schema::<ListDocument<ApprovalItem>>(),
        SchemaOf::History => json::schema::<ListDocument<AuditRow>>(),
        SchemaOf::Audit => json::schema::<ListDocument<SealedRow>>(),
        SchemaOf::AuditHeads => json::schema::<ListDocument<HeadItem>>(),
        SchemaOf::AuditVerification => json::schema::<Verification>(),
        SchemaOf::Notifications => json::schema::<ListDocument<Listed>>(),
        SchemaOf::PolicyInput => json::schema::<Input<'_>>(),
        SchemaOf::EventList => json::schema::<ListDocument<EventItem>>(),
        SchemaOf::Events => asyncapi::events(),
        SchemaOf::Asyncapi => asyncapi::document(wire(context, args.sink.as_deref())?.as_ref()),
        SchemaOf::Judgement => json::schema::<JudgementDocument>(),
    };
    report(&text, ExitCode::Done)
}

/// How the sink of this name is read.
fn wire(context: &Context, sink: Option<&str>) -> Result<Option<Wire>, Failure> {
    let Some(name) = sink else { return Ok(None) };
    let sinks = relay::chosen(context.sinks(), &[name.to_owned()])?;
    let kafka = sinks.iter().find_map(|sink| sink.kafka.as_ref());
    let wire = kafka.map(|kafka| Wire {
        hosts: kafka.brokers.clone(),
        encrypted: kafka.tls.is_some(),
        security: kafka.sasl.as_ref().map(|sasl| match sasl.mechanism {
            Mechanism::ScramSha512 => "scramSha512",
            Mechanism::ScramSha256 => "scramSha256",
            Mechanism::Plain => "plain",
        }),
        addresses: Topic::ALL.iter().map(|topic| (*topic, kafka.topic(*topic))).collect(),
        binary: kafka.mode == Mode::Binary,
    });
    let no_kafka = || Finding::error(Code::BadSettings, format!("the sink `{name}` does not lead to Kafka"));
    wire.map(Some)
        .ok_or_else(|| Failure::from(no_kafka().hint("an AsyncAPI document tells of topics; see docs/events.md")))
}
