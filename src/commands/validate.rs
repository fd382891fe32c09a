//! `argus validate`: manifests checked without a database.

use super::context::{Context, Done};
use super::output::report;
use super::report::{draw, from_here};
use crate::cli::{Face, Format, Validate};
use crate::exit_code::ExitCode;
use crate::render::json::{self, FINDINGS_FORMAT, FindingsDocument};
use crate::render::{checks, markdown};

/// Reads and checks the manifests and prints what is wrong.
pub fn run(context: &Context, args: &Validate) -> Done {
    let reading = context.read(&args.manifests)?;
    let world = &reading.world;
    let resources = world.organizations.values().map(|desired| desired.resources.len()).sum();
    let failed = world.findings.iter().any(|finding| finding.is_error());
    let code = if failed { ExitCode::Failed } else { ExitCode::Done };
    match args.format {
        Face::Findings(form) => {
            let checks = checks::of_findings(&world.findings, &format!("{resources} resources"));
            report(&draw(context, &from_here(checks, &reading.place), form, code), code)
        }
        Face::Whole(Format::Text) => {
            context.draw(&reading);
            let verdict = if failed { "There are errors" } else { "Valid" };
            report(&format!("{verdict}: {resources} resources in {} files.\n", world.files), code)
        }
        Face::Whole(Format::Markdown) => report(&markdown::report(&world.findings, world.files), code),
        Face::Whole(Format::Json) => {
            let document = FindingsDocument {
                document: "argus.findings".into(),
                format: FINDINGS_FORMAT,
                files: world.files,
                resources,
                findings: world.findings.clone(),
            };
            report(&json::pretty(&document), code)
        }
    }
}
