//! `argus diff`: rows as they are beside rows as they would be, as text; like `kubectl diff`, it ends with 1 where
//! they differ and with more than 1 where it fails.

use std::sync::Arc;

use super::context::{Context, Done, Failure};
use super::judges::Judges;
use super::output::report;
use super::plan;
use crate::cli::{Diff, Judging, Planning};
use crate::engine::Heard;
use crate::exit_code::ExitCode;
use crate::model::resource::Spec;
use crate::model::state::Live;
use crate::plan::{Action, Change, OrganizationPlan};
use crate::render::{inert, unified, yaml};
use crate::store::Store;

/// Prints the difference.
pub async fn run(context: &Context, args: &Diff) -> Done {
    compare(context, args).await.map_err(|failure| failure.with_code(ExitCode::Differences))
}

async fn compare(context: &Context, args: &Diff) -> Done {
    let reading = context.read(&args.manifests)?;
    context.draw(&reading);
    let database = context.database().await?;
    // Nothing is applied and nothing is said of it: no policy has to be asked.
    let mut judges = Judges::terms_alone(context, reading.settings.terms());
    let how = Planning { target: args.target.clone(), no_drift: false, full: false, judging: Judging::default() };
    let Heard { plan, .. } = plan::make(context, &database.store, &reading, &mut judges, &how).await?;
    let mut text = String::new();
    for organization in plan.organizations.iter().filter(|organization| !organization.is_empty()) {
        let live = rows(&database.store, organization).await?;
        for change in &organization.changes {
            text.push_str(&one(organization, change, &live));
        }
    }
    let code = match (plan::has_errors(&reading, &plan), plan.is_empty()) {
        (true, _) => ExitCode::Differences,
        (false, true) => ExitCode::Done,
        (false, false) => ExitCode::Failed,
    };
    report(&text, code)
}

async fn rows(store: &Store, organization: &OrganizationPlan) -> Result<Live, Failure> {
    // A renamed organization still stands under its old name.
    let old_name = organization.changes.iter().find_map(|change| {
        let root = change.kind.get().scope == crate::model::kind::Scope::Root;
        change.previous_name.clone().filter(|_| root)
    });
    let name: Arc<str> = old_name.unwrap_or_else(|| organization.organization.clone());
    Ok(store.planning().await?.live(std::slice::from_ref(&name)).await?.remove(&name).unwrap_or_default())
}

fn one(organization: &OrganizationPlan, change: &Change, live: &Live) -> String {
    let kind = change.kind.get();
    let old_name = change.previous_name.as_ref().unwrap_or(&change.name);
    let row = live.rows.get(&(change.kind, old_name.clone()));
    let text =
        |name: &Arc<str>, spec: &Spec| yaml::resource(kind, &organization.organization, name, &inert::spec(spec));
    let old = row.map(|row| text(old_name, &row.spec)).unwrap_or_default();
    let new = match change.action {
        Action::Delete => String::new(),
        Action::Release => old.clone(),
        Action::Create | Action::Update | Action::Adopt => {
            let before = row.map(|row| row.spec.entries()).unwrap_or_default();
            let before = before.iter().map(|entry| (entry.field, entry.value.clone()));
            let set = change.set.iter().filter_map(|(path, value)| Some((kind.field_at(path)?, value.clone())));
            text(&change.name, &Spec::from_values(before.chain(set)))
        }
    };
    let place = format!("{}/{}/{}", organization.organization, kind.name, change.name);
    unified::unified(&format!("live/{place}"), &old, &format!("manifests/{place}"), &new)
}
