//! `argus schema`: JSON Schemas, for editors and for programs.

use super::context::{Context, Done};
use super::output::report;
use crate::cli::{Schema, SchemaOf};
use crate::exit_code::ExitCode;
use crate::render::json::{self, FindingsDocument, PlanDocument};
use crate::render::schema;

/// Prints a schema.
pub fn run(_: &Context, args: &Schema) -> Done {
    let text = match args.of {
        SchemaOf::Manifest => json::pretty(&schema::manifest_schema()),
        SchemaOf::Plan => json::schema::<PlanDocument>(),
        SchemaOf::Findings => json::schema::<FindingsDocument>(),
    };
    report(&text, ExitCode::Done)
}
