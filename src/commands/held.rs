//! Plans that wait and the approvals that they have: `argus get held`, `argus get approvals`, and `argus show DIGEST`.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};

use super::context::{Context, Done, Failure};
use super::output::report;
use super::show::Saved;
use crate::approval::{End, Given};
use crate::cli::{Face, Get, Rows};
use crate::engine::approving::{self, ApprovingError, Listed, Waiting};
use crate::exit_code::ExitCode;
use crate::plan::{OrganizationPlan, Plan};
use crate::render::json::{ApprovalItem, HeldItem, ListDocument};
use crate::render::{inert, json, table, text};
use crate::store::approvals::{Approving, Which};
use crate::verdict::{Terms, Told};

impl From<ApprovingError> for Failure {
    fn from(error: ApprovingError) -> Self {
        Failure::from(error.finding())
    }
}

/// Lists the plans that wait.
pub async fn list(context: &Context, args: &Get) -> Done {
    let database = context.database().await?;
    let mut approving = database.store.approving().await?;
    let waiting = match &args.name {
        Some(begins) => {
            approving::find(&mut approving, context.approvers(), begins, args.organization.as_deref()).await?
        }
        None => {
            let held = approving.held("", args.organization.as_deref()).await?;
            approving::waiting(&mut approving, context.approvers(), held).await?
        }
    };
    let text = match args.output {
        Rows::Json => json::pretty(&ListDocument::new("argus.held", waiting.iter().map(item).collect())),
        Rows::Name => waiting.iter().map(|each| format!("{}\n", each.plan.plan_digest)).collect(),
        Rows::Table | Rows::Wide | Rows::Yaml => {
            let header = ["PLAN", "ORGANIZATION", "OF RUN", "SOURCE", "HELD", "ACTOR", "WHY", "NEEDS"];
            let lines: Vec<Vec<String>> = waiting.iter().map(line).collect();
            table::table(&header.map(String::from), &lines)
        }
    };
    report(&text, ExitCode::Done)
}

fn line(waiting: &Waiting) -> Vec<String> {
    let Waiting { plan, held } = waiting;
    let codes: Vec<String> = held.iter().map(|held| held.finding.code.to_string()).collect();
    // The hold that is furthest from being lifted tells what is missing.
    let needs = held.iter().max_by_key(|held| held.missing()).map(text::needs);
    vec![
        text::short(&plan.plan_digest).to_owned(),
        shown_organization(&plan.organization),
        plan.run_digests.first().map(|digest| text::short(digest).to_owned()).unwrap_or_default(),
        inert::line(&plan.source),
        moment(plan.held_at),
        inert::line(&plan.actor),
        codes.join(","),
        needs.unwrap_or_default().trim_start_matches("needs ").to_owned(),
    ]
}

fn item(waiting: &Waiting) -> HeldItem {
    let Waiting { plan, held } = waiting;
    HeldItem {
        organization: plan.organization.to_string(),
        plan: plan.plan_digest.clone(),
        rules: plan.rules_digest.clone(),
        run_plans: plan.run_digests.clone(),
        source: plan.source.clone(),
        run: plan.run.clone(),
        actor: plan.actor.clone(),
        authors: plan.authors.clone(),
        held_at: plan.held_at,
        held: held.clone(),
    }
}

/// Lists approvals, the newest first.
pub async fn approvals(context: &Context, args: &Get) -> Done {
    let database = context.database().await?;
    let mut approving = database.store.approving().await?;
    let which = Which::Newest(args.organization.as_deref());
    let now = approving.now;
    let listed = approving::list(&mut approving, context.approvers(), &which).await?;
    let begins = args.name.as_deref().unwrap_or_default();
    let listed = listed.iter().filter(|each| each.given.plan_digest.starts_with(begins));
    let items: Vec<ApprovalItem> = listed.map(|listed| approval_item(listed, now)).collect();
    let text = match args.output {
        Rows::Json => json::pretty(&ListDocument::new("argus.approvals", items)),
        Rows::Name => items.iter().map(|item| format!("{}\n", item.id)).collect(),
        Rows::Table | Rows::Wide | Rows::Yaml => {
            let header = ["ID", "PLAN", "ORGANIZATION", "BY", "WAY", "AT", "EXPIRES", "STATE", "COMMENT"];
            let lines: Vec<Vec<String>> = items.iter().map(approval_line).collect();
            table::table(&header.map(String::from), &lines)
        }
    };
    report(&text, ExitCode::Done)
}

fn approval_item(listed: &Listed, now: DateTime<Utc>) -> ApprovalItem {
    let Listed { given, by, own } = listed;
    let (used_by, revoked_by, recorded) = match &given.end {
        Some(End::Used { run, name, .. }) => (Some(run.clone()), None, Some(name.clone())),
        Some(End::Revoked { role, .. }) => (None, Some(role.clone()), None),
        None => (None, None, None),
    };
    let state = match (&given.end, by) {
        (Some(End::Used { .. }), _) => "used",
        (Some(End::Revoked { .. }), _) => "revoked",
        (None, _) if given.expires_at <= now => "ended",
        (None, Err(_)) => "unverified",
        (None, Ok(_)) if *own => "own",
        (None, Ok(_)) => "open",
    };
    ApprovalItem {
        id: given.id,
        organization: given.organization.to_string(),
        plan: given.plan_digest.clone(),
        rules: given.rules_digest.clone(),
        // Whoever a run found it to be stays so, whatever the settings say by now.
        approver: recorded.or_else(|| by.clone().ok()),
        unverified: by.as_ref().err().map(ToString::to_string),
        way: way(given).into(),
        role: given.role.clone(),
        at: given.at,
        expires_at: given.expires_at,
        state: state.into(),
        used_by,
        revoked_by,
        comment: given.comment.clone(),
    }
}

fn way(given: &Given) -> &'static str {
    if given.signed.is_some() { "signature" } else { "role" }
}

fn approval_line(item: &ApprovalItem) -> Vec<String> {
    let state = match (&item.used_by, &item.revoked_by) {
        (Some(run), _) => format!("used by {}", inert::line(run)),
        (None, Some(role)) => format!("revoked by {}", inert::line(role)),
        (None, None) => item.state.clone(),
    };
    vec![
        item.id.to_string(),
        text::short(&item.plan).to_owned(),
        shown_organization(&item.organization),
        item.approver.as_deref().map_or_else(|| "?".to_owned(), inert::line),
        format!("{} ({})", item.way, inert::line(&item.role)),
        moment(item.at),
        moment(item.expires_at),
        state,
        item.comment.as_deref().map(inert::line).unwrap_or_default(),
    ]
}

/// Prints the plans that are held under a digest.
pub async fn show(context: &Context, begins: &str, format: Face) -> Done {
    let database = context.database().await?;
    let mut approving = database.store.approving().await?;
    let waiting = approving::find(&mut approving, context.approvers(), begins, None).await?;
    report(&together(&mut approving, &waiting).await?.shown(context, format), ExitCode::Done)
}

/// Plans that wait as one plan, with what holds them.
pub async fn together(approving: &mut Approving, waiting: &[Waiting]) -> Result<Saved, ApprovingError> {
    let mut plans: Vec<OrganizationPlan> = Vec::new();
    let mut terms = Terms::default();
    let mut held = BTreeMap::new();
    for each in waiting {
        let Some((plan, of_source)) = approving.plan_of(&each.plan).await? else {
            return Err(ApprovingError::Damaged {
                organization: each.plan.organization.to_string(),
                digest: each.plan.plan_digest.clone(),
            });
        };
        plans.push(plan);
        terms = of_source;
        held.insert(each.plan.organization.clone(), each.held.clone());
    }
    let source = waiting.first().map(|each| each.plan.source.clone()).unwrap_or_default();
    let rules_digest = waiting.first().map(|each| each.plan.rules_digest.clone()).unwrap_or_default();
    let resources = plans.iter().map(|plan| plan.changes.len()).sum();
    let plan = Plan::new(&source, (plans.len(), resources), plans, Vec::new());
    Ok(Saved { plan, terms, policies: None, told: Told { rules_digest, held, ..Told::default() } })
}

/// A moment to the second.
pub fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// An organization in a line.
pub fn shown_organization(name: &str) -> String {
    if name.is_empty() { "(shared)".to_owned() } else { inert::line(name) }
}
