//! `argus show`: a saved plan, printed again, or one that is held.

use std::path::Path;

use super::context::{Context, Done, Failure};
use super::output::report;
use super::{held, plan};
use crate::cli::Show;
use crate::engine::approving::is_digest;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::plan::{PLAN_FORMAT, Plan};
use crate::render::json::{self, PLAN_DOCUMENT, PlanDocument};
use crate::verdict::{Terms, Told};

/// The largest saved plan.
const PLAN_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Prints a saved plan, or one that is held.
pub async fn run(context: &Context, args: &Show) -> Done {
    if let Some(begins) = args.file.to_str().filter(|text| is_digest(text) && !args.file.exists()) {
        return held::show(context, begins, args.format).await;
    }
    let (plan, terms, told) = read(&args.file)?;
    report(&plan::show(context, &plan, &terms, &told, args.format), ExitCode::Done)
}

/// Reads a saved plan, the terms that it was made under and what was said of it; a damaged or changed one is refused.
pub fn read(path: &Path) -> Result<(Plan, Terms, Told), Failure> {
    let shown = path.display();
    let bad = |message: String| {
        let finding = Finding::error(Code::NotAPlan, message);
        Failure::from(finding.hint("save a new one with `argus plan -o FILE`"))
    };
    let about = std::fs::metadata(path).map_err(|error| bad(format!("cannot read {shown}: {error}")))?;
    if !about.is_file() {
        return Err(bad(format!("{shown} is no regular file")));
    }
    let size = about.len();
    if size > PLAN_BYTES_MAX {
        return Err(bad(format!("{shown} has {size} bytes; a plan has at most {PLAN_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(format!("cannot read {shown}: {error}")))?;
    let document: PlanDocument =
        serde_json::from_str(&text).map_err(|error| bad(format!("{shown} is no saved plan: {error}")))?;
    let PlanDocument { document, seal: _, summary: _, verdict, terms, plan } = document;
    if document != PLAN_DOCUMENT || plan.format != PLAN_FORMAT {
        return Err(bad(format!("{shown} is a plan of form {}, and this Argus reads form {PLAN_FORMAT}", plan.format)));
    }
    let whole = plan.organizations.iter().all(|organization| organization.digest == organization.compute_digest());
    // The seal covers all of it, so that everything that is written again has to come out the same.
    let again = json::pretty(&json::plan_document(&plan, &terms, &verdict));
    if again != text || plan.digest != plan.compute_digest() || !whole {
        return Err(bad(format!("{shown} is not the plan that was saved: it has been changed or damaged")));
    }
    Ok((plan, terms, verdict))
}
