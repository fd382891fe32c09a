//! `argus show`: a saved plan, printed again, or one that is held.

use std::path::Path;

use super::context::{Context, Done, Failure};
use super::held;
use super::output::report;
use super::report::draw;
use crate::cli::{Face, Format, Show};
use crate::engine::approving::is_digest;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::plan::{PLAN_FORMAT, Plan};
use crate::render::json::{self, PLAN_DOCUMENT, PlanDocument};
use crate::render::{checks, inert, markdown, text};
use crate::verdict::{Terms, Told};

/// The largest saved plan.
const PLAN_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Prints a saved plan, or one that is held.
pub async fn run(context: &Context, args: &Show) -> Done {
    if let Some(begins) = args.file.to_str().filter(|text| is_digest(text) && !args.file.exists()) {
        return held::show(context, begins, args.format).await;
    }
    report(&read(&args.file)?.shown(context, args.format), ExitCode::Done)
}

/// A saved plan, or one that is held.
pub struct Saved {
    /// The plan.
    pub plan: Plan,
    /// The terms that it was made under.
    pub terms: Terms,
    /// The folder of the policies that judged it.
    pub policies: Option<String>,
    /// What was said of it.
    pub told: Told,
}

impl Saved {
    /// The plan in the format that was asked for.
    pub fn shown(&self, context: &Context, format: Face) -> String {
        let Saved { plan, terms, policies, told } = self;
        match format {
            Face::Whole(Format::Text) => heading(plan) + &text::plan(plan, told, text::Part::All, context.paint()),
            Face::Whole(Format::Markdown) => markdown::plan(plan, told),
            Face::Whole(Format::Json) => {
                json::pretty(&json::shown_plan_document(plan, terms, policies.as_deref(), told))
            }
            // Where the root of the source is, a plan does not say: files are named from there.
            Face::Findings(form) => draw(context, &checks::of_plan(plan, told), form, ExitCode::Done),
        }
    }
}

/// What a saved plan is, where it is not one of manifests.
pub fn heading(plan: &Plan) -> String {
    let run = plan.rolls_back.as_deref().map(inert::line);
    run.map(|run| format!("Rolling back the run {run}.\n\n")).unwrap_or_default()
}

/// Reads a saved plan; a damaged or changed one is refused.
pub fn read(path: &Path) -> Result<Saved, Failure> {
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
    let PlanDocument { document, seal: _, summary: _, verdict: told, terms, policies, plan } = document;
    if document != PLAN_DOCUMENT || plan.format != PLAN_FORMAT {
        return Err(bad(format!("{shown} is a plan of form {}, and this Argus reads form {PLAN_FORMAT}", plan.format)));
    }
    let whole = plan.organizations.iter().all(|organization| organization.digest == organization.compute_digest());
    // The seal covers all of it, so that everything that is written again has to come out the same.
    let again = json::pretty(&json::plan_document(&plan, &terms, policies.as_deref(), &told));
    if again != text || plan.digest != plan.compute_digest() || !whole {
        return Err(bad(format!("{shown} is not the plan that was saved: it has been changed or damaged")));
    }
    Ok(Saved { plan, terms, policies, told })
}
