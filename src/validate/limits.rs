//! Amounts and moments: a child never has more than its parent, and what lies in the past or never comes is told.

use std::collections::HashMap;

use super::Scene;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kinds::budget::SUBJECTS;
use crate::model::kinds::{budget, organization, project};
use crate::model::money::Money;
use crate::model::resource::Resource;
use crate::model::shape::Shape;
use crate::model::time::{fires_after, parse_schedule, parse_time};
use crate::model::value::Value;

fn money(resource: &Resource, path: &str) -> Option<Money> {
    resource.text(path).and_then(|text| Money::parse(text).ok())
}

/// No part of an organization may spend more than the organization in the same period and currency.
pub fn budgets(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let of_a_part = |budget: &Resource| SUBJECTS.iter().any(|path| budget.text(path).is_some());
    // Of several budgets of the organization the strictest counts.
    let mut whole: HashMap<(&str, &str), (&Resource, Money)> = HashMap::new();
    for budget in scene.of(&budget::KIND).filter(|budget| !of_a_part(budget)) {
        let (Some(period), Some(limit)) = (budget.text("period"), money(budget, "limit")) else { continue };
        let strictest = whole.entry((period, limit.currency)).or_insert((budget, limit));
        if limit.minor < strictest.1.minor {
            *strictest = (budget, limit);
        }
    }
    for budget in scene.of(&budget::KIND).filter(|budget| of_a_part(budget)) {
        let (Some(period), Some(limit)) = (budget.text("period"), money(budget, "limit")) else { continue };
        let Some((parent, most)) = whole.get(&(period, limit.currency)) else { continue };
        if limit.minor > most.minor {
            let message = format!(
                "this {period} budget of {limit} is above that of the organization, {most} (`{}` at {})",
                parent.id.name,
                parent.origin_of("limit")
            );
            findings.push(
                Finding::error(Code::ChildAboveParent, message)
                    .about(&budget.id)
                    .at(budget.origin_of("limit"))
                    .hint("lower it, or raise the budget of the organization first"),
            );
        }
    }
}

/// No project may have more than the tier of its organization gives.
pub fn quotas(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    let tier = scene.of(&organization::KIND).next().and_then(|organization| organization.text("tier"));
    let Some(Some(tier)) = tier.and_then(|name| scene.tiers.get(name)) else { return };
    for (quota, limit) in [
        ("quotas.requestsPerMinute", "limits.requestsPerMinute"),
        ("quotas.tokensPerMonth", "limits.tokensPerMonth"),
        ("quotas.apiKeys", "limits.apiKeys"),
    ] {
        let Some(most) = tier.value(limit).and_then(Value::as_int) else { continue };
        for project in scene.of(&project::KIND) {
            let Some(wanted) = project.value(quota).and_then(Value::as_int) else { continue };
            if wanted > most {
                let message = format!(
                    "`{quota}` is {wanted}, and the tier `{}` gives the whole organization {most} ({})",
                    tier.id.name,
                    tier.origin_of(limit)
                );
                findings.push(
                    Finding::error(Code::ChildAboveParent, message)
                        .about(&project.id)
                        .at(project.origin_of(quota))
                        .hint("lower it, or choose a larger tier"),
                );
            }
        }
    }
}

/// Moments at which something ends should lie ahead.
pub fn past(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    for resource in &scene.desired.resources {
        for entry in resource.spec.entries() {
            let field = &resource.kind().fields[entry.field as usize];
            if !matches!(field.shape, Shape::Time) {
                continue;
            }
            let moment = entry.value.as_text().and_then(|text| parse_time(text).ok());
            if moment.is_some_and(|moment| moment <= scene.now) {
                let message = format!("`{}` has passed", field.path);
                findings.push(
                    Finding::warning(Code::InThePast, message)
                        .about(&resource.id)
                        .at(resource.origin_of(field.path))
                        .hint("it ends at once; choose a moment ahead, or remove the resource"),
                );
            }
        }
    }
}

/// Schedules must fire some day.
pub fn schedules(scene: &Scene<'_>, findings: &mut Vec<Finding>) {
    // Many keys share few schedules, and a schedule that never fires is searched for a hundred years.
    let mut fires: HashMap<&str, bool> = HashMap::new();
    for resource in &scene.desired.resources {
        for entry in resource.spec.entries() {
            let field = &resource.kind().fields[entry.field as usize];
            let Some(text) = entry.value.as_text().filter(|_| matches!(field.shape, Shape::Schedule)) else { continue };
            let known = fires
                .entry(text)
                .or_insert_with(|| parse_schedule(text).is_ok_and(|schedule| fires_after(&schedule, scene.now)));
            if !*known {
                let message = format!("the schedule `{text}` never fires");
                findings.push(
                    Finding::error(Code::NeverFires, message)
                        .about(&resource.id)
                        .at(resource.origin_of(field.path))
                        .hint("choose a day that exists; the fields are minute, hour, day, month, weekday"),
                );
            }
        }
    }
}
