//! What the guards count: how much of each dimension there was, goes, and stays.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::rows::{self, Rows};
use crate::model::kind::{Kind, KindId};
use crate::model::kinds;
use crate::model::kinds::role::built_in;
use crate::model::money::Money;
use crate::model::resource::Spec;
use crate::model::state::Live;
use crate::model::time::parse_time;
use crate::model::value::Value;
use crate::plan::{Change, Count};

/// Counts every dimension before and after; nothing where nothing changes.
pub fn counts(live: &Live, changes: &[Change], now: DateTime<Utc>) -> Vec<Count> {
    if changes.is_empty() {
        return Vec::new();
    }
    let mut before = rows::before(live, changes);
    let mut after = rows::after(&before, changes);
    expire(&mut before, now);
    expire(&mut after, now);
    let mut counts = Vec::new();
    let mut count = |dimension: &str, part: &str, before: &BTreeSet<String>, after: &BTreeSet<String>| {
        let removed = before.difference(after).count();
        if before.is_empty() && after.is_empty() {
            return;
        }
        counts.push(Count {
            dimension: dimension.into(),
            part: part.into(),
            before: before.len() as u64,
            removed: removed as u64,
            after: after.len() as u64,
        });
    };
    count("members", "", &members(&before), &members(&after));
    count("admins", "", &holders(&before, is_admin), &holders(&after, is_admin));
    count("owners", "", &holders(&before, is_owner), &holders(&after, is_owner));
    count("reverters", "", &reverters(&before), &reverters(&after));
    count("roleGrants", "", &grants(&before), &grants(&after));
    count("apiKeys", "", &names(&before, &kinds::api_key::KIND), &names(&after, &kinds::api_key::KIND));
    count("budgets", "", &names(&before, &kinds::budget::KIND), &uncut_budgets(&before, &after));
    for team in names(&before, &kinds::team::KIND) {
        count("teamMembers", &team, &team_members(&before, &team), &team_members(&after, &team));
    }
    counts
}

fn of<'a>(rows: &'a Rows, kind: &'static Kind) -> impl Iterator<Item = (&'a String, &'a Spec)> {
    rows.get(&KindId::of(kind)).into_iter().flatten()
}

fn value<'a>(kind: &'static Kind, spec: &'a Spec, path: &str) -> Option<&'a Value> {
    spec.value(kind.field_at(path)?)
}

fn text<'a>(kind: &'static Kind, spec: &'a Spec, path: &str) -> Option<&'a str> {
    value(kind, spec, path).and_then(Value::as_text)
}

fn items<'a>(kind: &'static Kind, spec: &'a Spec, path: &str) -> &'a [Value] {
    value(kind, spec, path).map(Value::items).unwrap_or_default()
}

fn names(rows: &Rows, kind: &'static Kind) -> BTreeSet<String> {
    of(rows, kind).map(|(name, _)| name.clone()).collect()
}

/// A membership that has ended is none: to end it at once takes as much away as to delete it.
fn expire(rows: &mut Rows, now: DateTime<Utc>) {
    let member = &kinds::member::KIND;
    if let Some(members) = rows.get_mut(&KindId::of(member)) {
        members.retain(|_, spec| {
            let end = text(member, spec, "expiresAt").and_then(|end| parse_time(end).ok());
            end.is_none_or(|end| end > now)
        });
    }
}

/// Members who may act: a suspended one is as locked out as a removed one.
fn active_members(rows: &Rows) -> impl Iterator<Item = (&String, &Spec)> {
    let member = &kinds::member::KIND;
    of(rows, member).filter(move |(_, spec)| text(member, spec, "status") != Some("suspended"))
}

fn members(rows: &Rows) -> BTreeSet<String> {
    active_members(rows).map(|(name, _)| name.clone()).collect()
}

fn holders(rows: &Rows, wanted: fn(&str) -> bool) -> BTreeSet<String> {
    let has = |spec: &Spec| items(&kinds::member::KIND, spec, "roles").iter().filter_map(Value::as_text).any(wanted);
    active_members(rows).filter(|(_, spec)| has(spec)).map(|(name, _)| name.clone()).collect()
}

fn is_owner(role: &str) -> bool {
    role == "owner"
}

fn is_admin(role: &str) -> bool {
    role == "owner" || role == "admin"
}

fn mighty<'a>(mut permissions: impl Iterator<Item = &'a str>) -> bool {
    permissions.any(|permission| permission == "*" || permission == "members:*")
}

/// Members who could undo a change: they may manage members, or everything.
fn reverters(rows: &Rows) -> BTreeSet<String> {
    let role = &kinds::role::KIND;
    let own: BTreeSet<&str> = of(rows, role)
        .filter(|(_, spec)| mighty(items(role, spec, "permissions").iter().filter_map(Value::as_text)))
        .map(|(name, _)| name.as_str())
        .collect();
    let may = |name: &str| own.contains(name) || built_in(name).is_some_and(|r| mighty(r.permissions.iter().copied()));
    let has = |spec: &Spec| items(&kinds::member::KIND, spec, "roles").iter().filter_map(Value::as_text).any(&may);
    active_members(rows).filter(|(_, spec)| has(spec)).map(|(name, _)| name.clone()).collect()
}

fn grants(rows: &Rows) -> BTreeSet<String> {
    let mut grants = BTreeSet::new();
    for kind in [&kinds::member::KIND, &kinds::service_account::KIND] {
        for (name, spec) in of(rows, kind) {
            let roles = items(kind, spec, "roles").iter().filter_map(Value::as_text);
            grants.extend(roles.map(|role| format!("{}/{name}/{role}", kind.name)));
        }
    }
    grants
}

fn team_members(rows: &Rows, team: &str) -> BTreeSet<String> {
    let kind = &kinds::team::KIND;
    let spec = rows.get(&KindId::of(kind)).and_then(|teams| teams.get(team));
    let members = spec.map(|spec| items(kind, spec, "members")).unwrap_or_default();
    members.iter().filter_map(|member| member.get("user")?.as_text()).map(str::to_owned).collect()
}

/// The budgets of before that are still there and have not become smaller.
fn uncut_budgets(before: &Rows, after: &Rows) -> BTreeSet<String> {
    let kind = &kinds::budget::KIND;
    let limit = |spec: &Spec| text(kind, spec, "limit").and_then(|text| Money::parse(text).ok());
    let later = after.get(&KindId::of(kind));
    let uncut = of(before, kind).filter(|(name, spec)| {
        let now = later.and_then(|budgets| budgets.get(*name)).and_then(limit);
        match (limit(spec), now) {
            (Some(old), Some(new)) => new.currency == old.currency && new.minor >= old.minor,
            (old, new) => old == new,
        }
    });
    uncut.map(|(name, _)| name.clone()).collect()
}
