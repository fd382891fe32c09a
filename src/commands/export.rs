//! `argus export`: live organizations as manifests that plan to nothing.

use std::path::Path;
use std::sync::Arc;

use super::context::{Context, Done, Failure};
use super::output;
use crate::cli::Export;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::{GLOBAL, OrganizationName};
use crate::model::resource::{Entry, Spec};
use crate::model::secret::veil;
use crate::model::state::Live;
use crate::render::excerpt::Excerpts;
use crate::render::{json, schema, yaml};
use crate::source::names::{SCHEMA_FILE, SETTINGS_FILE};

/// How many organizations are read at a time.
const ORGANIZATIONS_PER_READ: usize = 200;

/// The file of what all organizations share.
const TIERS_FILE: &str = "tiers.yaml";

/// Writes the organizations that were named, or all of them and the tiers.
pub async fn run(context: &Context, args: &Export) -> Done {
    let database = context.database().await?;
    let mut planning = database.store.planning().await?;
    let states = planning.states("", None).await?;
    let wanted: Vec<OrganizationName> = match args.organizations.is_empty() {
        true => states.iter().filter(|(_, state)| state.exists).map(|(name, _)| name.clone()).collect(),
        false => args.organizations.iter().map(|name| Arc::from(name.as_str())).collect(),
    };
    if let Some(missing) = wanted.iter().find(|name| !states.get(*name).is_some_and(|state| state.exists)) {
        let finding = Finding::error(Code::NoSuchTarget, format!("there is no organization `{missing}`"));
        return Err(Failure::from(finding.hint("`argus get organizations` lists them")));
    }
    if let Some(directory) = &args.output {
        prepare(directory)?;
    }
    let mut first = true;
    for chunk in wanted.chunks(ORGANIZATIONS_PER_READ) {
        let mut live = planning.live(chunk).await?;
        for name in chunk {
            let mut live = live.remove(name).unwrap_or_default();
            leave_out_secrets(context, &mut live);
            if !live.rows.is_empty() {
                write(args, name, &live, std::mem::take(&mut first))?;
            }
        }
    }
    Ok(ExitCode::Done)
}

/// Leaves out fields that hold what looks like a secret: a manifest with it would be refused, and one with a mask in
/// its place would destroy it.
fn leave_out_secrets(context: &Context, live: &mut Live) {
    let mut findings = Vec::new();
    for ((kind, name), row) in &mut live.rows {
        let clean = |entry: &&Entry| veil::without_secrets(&entry.value) == entry.value;
        let (kept, left): (Vec<&Entry>, Vec<&Entry>) = row.spec.entries().iter().partition(clean);
        if left.is_empty() {
            continue;
        }
        for entry in left {
            let path = kind.get().fields[entry.field as usize].path;
            let message = format!("`{path}` of {kind} `{name}` holds what looks like a secret, and is left out");
            let finding = Finding::warning(Code::PlainSecret, message);
            findings.push(finding.hint("move it into a store for secrets; until then nothing manages this field"));
        }
        row.spec = Spec::new(kept.into_iter().cloned().collect());
    }
    context.complain(&findings, &Excerpts::default());
}

fn prepare(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|error| {
        Failure::from(Finding::error(Code::CannotWrite, format!("cannot make {}: {error}", directory.display())))
    })?;
    output::write_file(&directory.join(SCHEMA_FILE), &json::pretty(&schema::manifest_schema()), false)
}

fn write(args: &Export, name: &OrganizationName, live: &Live, first: bool) -> Result<(), Failure> {
    let text = match &**name {
        GLOBAL => yaml::shared(live, Some(&args.schema)),
        _ => yaml::organization(name, live, Some(&args.schema), |_, _| true),
    };
    match &args.output {
        Some(directory) => output::write_file(&directory.join(file_name(name)), &text, false),
        None if first => output::print(&text),
        None => output::print(&format!("---\n{text}")),
    }
}

/// The file of an organization, which is neither that of the tiers nor that of the settings. A name has no dot.
fn file_name(name: &str) -> String {
    let taken = |file: &str| file == TIERS_FILE || file == SETTINGS_FILE;
    match format!("{name}.yaml") {
        _ if name == GLOBAL => TIERS_FILE.to_owned(),
        file if taken(&file) => format!("{name}.organization.yaml"),
        file => file,
    }
}
