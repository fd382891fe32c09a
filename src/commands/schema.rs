//! `argus schema`: JSON Schemas, for editors and for programs.

use super::audit::heads::HeadItem;
use super::audit::verify::Verification;
use super::context::{Context, Done};
use super::output::report;
use crate::brake::Suspension;
use crate::cli::schema::{Schema, SchemaOf};
use crate::exit_code::ExitCode;
use crate::policy::input::Input;
use crate::render::json::{
    self, ApprovalItem, FindingsDocument, HeldItem, JudgementDocument, ListDocument, OutcomeDocument, PlanDocument,
    RowItem,
};
use crate::render::{asyncapi, schema};
use crate::store::audit::SealedRow;
use crate::store::history::{AuditRow, RunRow};
use crate::store::notifications::Listed;

/// Prints a schema.
pub fn run(_: &Context, args: &Schema) -> Done {
    let text = match args.of {
        SchemaOf::Manifest => json::pretty(&schema::manifest_schema()),
        SchemaOf::Plan => json::schema::<PlanDocument>(),
        SchemaOf::Findings => json::schema::<FindingsDocument>(),
        SchemaOf::Outcome => json::schema::<OutcomeDocument>(),
        SchemaOf::Rows => json::schema::<ListDocument<RowItem>>(),
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
        SchemaOf::Events => asyncapi::events(),
        SchemaOf::Asyncapi => asyncapi::document(),
        SchemaOf::Judgement => json::schema::<JudgementDocument>(),
    };
    report(&text, ExitCode::Done)
}
