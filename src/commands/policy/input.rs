//! `argus policy input`: what policies are told of a plan.

use crate::cli::policy::PolicyInput;
use crate::commands::context::{Context, Done, Failure};
use crate::commands::{output, plan};
use crate::engine::{Heard, hearing};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::GLOBAL;
use crate::plan::OrganizationPlan;
use crate::render::json;

/// What the file of what all organizations share is called.
const SHARED: &str = "_shared";

/// Plans, and prints the documents or writes a file for each.
pub async fn run(context: &Context, args: &PolicyInput) -> Done {
    let reading = context.read(&args.manifests)?;
    context.draw(&reading);
    let mut judges = plan::judges(context, &reading, &args.planning.judging).await?;
    let database = context.database().await?;
    let Heard { plan, .. } = plan::make(context, &database.store, &reading, &mut judges, &args.planning).await?;
    let wanted = |name: &str| args.organization.as_deref().is_none_or(|wanted| wanted == name);
    let told =
        |plan: &OrganizationPlan| wanted(&plan.organization) && (args.organization.is_some() || !plan.is_empty());
    if !plan.organizations.iter().any(|plan| told(plan)) {
        return Err(nothing(args.organization.as_deref()));
    }
    // What all share comes first: the tiers that change with it are those of all other documents.
    let needed = plan.organizations.iter().filter(|plan| told(plan) || &*plan.organization == GLOBAL);
    let plans: Vec<&OrganizationPlan> = needed.map(|plan| &**plan).collect();
    let mut documents =
        hearing::documents(&database.store, &plan.source, &plans, &judges.bench(), context.now()).await?;
    documents.retain(|(name, _)| plan.organizations.iter().any(|plan| plan.organization == *name && told(plan)));
    let indented = |document: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(document).unwrap_or_default();
        json::pretty(&value)
    };
    match &args.output {
        None => {
            for (_, document) in &documents {
                output::print(&indented(document))?;
            }
        }
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| {
                let message = format!("cannot make the folder {}: {error}", folder.display());
                Failure::from(Finding::error(Code::CannotWrite, message))
            })?;
            for (name, document) in &documents {
                let name = if &**name == GLOBAL { SHARED } else { name };
                output::write_file(&folder.join(format!("{name}.json")), &indented(document), false)?;
            }
        }
    }
    Ok(ExitCode::Done)
}

fn nothing(organization: Option<&str>) -> Failure {
    let message = match organization {
        Some(name) => format!("nothing of the organization `{name}` would change"),
        None => "nothing would change".to_owned(),
    };
    Finding::error(Code::NoSuchTarget, message).hint("policies are told of changes; with none there is no input").into()
}
