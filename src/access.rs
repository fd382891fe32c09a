//! Access: who may do what, before and after a plan, and so what each person gains and loses by it.
//!
//! A person may do what their roles in the organization allow, and in each project what their own roles there and
//! those of their teams allow; who is in a team is in the teams above it. A membership that is suspended or over
//! allows nothing, nor does a suspended organization or an archived project. `*` in the organization allows
//! everything everywhere, `area:*` every verb of its area.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::diff::rows::Rows;
use crate::model::kind::{Kind, KindId};
use crate::model::kinds;
use crate::model::kinds::role::built_in;
use crate::model::resource::Spec;
use crate::model::time::parse_time;
use crate::model::value::Value;

/// How many teams may stand above each other; more is a circle.
const TEAMS_ABOVE_MAX: usize = 64;

/// What a role lets one person do in one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Grant {
    /// The person, by email address.
    #[schemars(with = "String")]
    pub person: Arc<str>,
    /// The project that it is limited to; null for the organization.
    #[schemars(with = "Option<String>")]
    pub project: Option<Arc<str>>,
    /// The role that lets them.
    #[schemars(with = "String")]
    pub role: Arc<str>,
    /// The team through which they have the role; null where they have it themselves.
    #[schemars(with = "Option<String>")]
    pub team: Option<Arc<str>>,
    /// What they may do by it: `projects:read`, `keys:*`, `*`. Where several roles allow the same, one of them tells it.
    #[schemars(with = "Vec<String>")]
    pub permissions: Vec<Arc<str>>,
}

/// What a plan gives to people and takes from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Access {
    /// What they may do afterwards and could not before, sorted.
    pub gained: Vec<Grant>,
    /// What they could do before and may not afterwards, sorted.
    pub lost: Vec<Grant>,
}

/// What people gain and lose from the one to the other.
pub fn difference(before: &Rows, after: &Rows, now: DateTime<Utc>) -> Access {
    let (before, after) = (Holdings::of(before, now), Holdings::of(after, now));
    Access { gained: after.beyond(&before), lost: before.beyond(&after) }
}

/// Whom and where: a person, and a project or the organization.
type Place = (Arc<str>, Option<Arc<str>>);

/// Through what: a role, and perhaps a team.
type Through = (Arc<str>, Option<Arc<str>>);

/// What people hold: permissions by person and place, each with the first that grants it.
#[derive(Default)]
struct Holdings(BTreeMap<Place, BTreeMap<Arc<str>, Through>>);

impl Holdings {
    fn of(rows: &Rows, now: DateTime<Utc>) -> Holdings {
        let mut holdings = Holdings::default();
        let organization = &kinds::organization::KIND;
        if of(rows, organization).any(|(_, spec)| text(organization, spec, "status") == Some("suspended")) {
            return holdings;
        }
        let roles = Roles(rows);
        let member = &kinds::member::KIND;
        let people: BTreeMap<&str, Arc<str>> = of(rows, member)
            .filter(|(_, spec)| is_active(spec, now))
            .map(|(email, _)| (email.as_str(), Arc::from(email.as_str())))
            .collect();
        for (email, spec) in of(rows, member) {
            let Some(person) = people.get(email.as_str()) else { continue };
            for role in items(member, spec, "roles").iter().filter_map(Value::as_text) {
                holdings.grant((person.clone(), None), roles.permissions(role), &(role.into(), None));
            }
        }
        let in_teams = members_of_teams(rows);
        let project = &kinds::project::KIND;
        for (name, spec) in of(rows, project).filter(|(_, spec)| text(project, spec, "status") != Some("archived")) {
            let place: Option<Arc<str>> = Some(name.as_str().into());
            for entry in items(project, spec, "members") {
                let (Some(user), Some(role)) = (part(entry, "user"), part(entry, "role")) else { continue };
                let Some(person) = people.get(user) else { continue };
                holdings.grant((person.clone(), place.clone()), roles.permissions(role), &(role.into(), None));
            }
            for entry in items(project, spec, "teams") {
                let (Some(team), Some(role)) = (part(entry, "team"), part(entry, "role")) else { continue };
                let through = (Arc::from(role), Some(Arc::from(team)));
                for person in in_teams.get(team).into_iter().flatten().filter_map(|user| people.get(user)) {
                    holdings.grant((person.clone(), place.clone()), roles.permissions(role), &through);
                }
            }
        }
        holdings
    }

    fn grant<'a>(&mut self, place: Place, permissions: impl Iterator<Item = &'a str>, through: &Through) {
        let held = self.0.entry(place).or_default();
        for permission in permissions {
            held.entry(permission.into()).or_insert_with(|| through.clone());
        }
    }

    /// What is held here and not there.
    fn beyond(&self, there: &Holdings) -> Vec<Grant> {
        let mut beyond = Vec::new();
        for (place, held) in &self.0 {
            let mut here: BTreeMap<&Through, Vec<Arc<str>>> = BTreeMap::new();
            for (permission, through) in held.iter().filter(|(permission, _)| !there.allows(place, permission)) {
                here.entry(through).or_default().push(permission.clone());
            }
            for ((role, team), permissions) in here {
                let ((person, project), (role, team)) = (place.clone(), (role.clone(), team.clone()));
                beyond.push(Grant { person, project, role, team, permissions });
            }
        }
        beyond
    }

    fn allows(&self, place: &Place, permission: &str) -> bool {
        let all = |place: &Place| self.0.get(place).is_some_and(|held| held.contains_key("*"));
        if all(&(place.0.clone(), None)) {
            return true;
        }
        let area = permission.split_once(':').map(|(area, _)| format!("{area}:*"));
        self.0.get(place).is_some_and(|held| {
            held.contains_key("*")
                || held.contains_key(permission)
                || area.is_some_and(|area| held.contains_key(area.as_str()))
        })
    }
}

/// The roles of an organization, its own and the built-in ones.
struct Roles<'a>(&'a Rows);

impl<'a> Roles<'a> {
    fn permissions(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let kind = &kinds::role::KIND;
        let own = self.0.get(&KindId::of(kind)).and_then(|roles| roles.get(name));
        let own = own.map(|spec| items(kind, spec, "permissions")).unwrap_or_default();
        let built_in = built_in(name).map(|role| role.permissions).unwrap_or_default();
        own.iter().filter_map(Value::as_text).chain(built_in.iter().copied())
    }
}

/// Who is in each team, itself or through a team below it.
fn members_of_teams(rows: &Rows) -> BTreeMap<&str, BTreeSet<&str>> {
    let kind = &kinds::team::KIND;
    let parents: BTreeMap<&str, &str> =
        of(rows, kind).filter_map(|(name, spec)| Some((name.as_str(), text(kind, spec, "parent")?))).collect();
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, spec) in of(rows, kind) {
        let own: Vec<&str> = items(kind, spec, "members").iter().filter_map(|entry| part(entry, "user")).collect();
        let mut team = Some(name.as_str());
        for _ in 0..TEAMS_ABOVE_MAX {
            let Some(here) = team else { break };
            members.entry(here).or_default().extend(&own);
            team = parents.get(here).copied();
        }
    }
    members
}

fn is_active(spec: &Spec, now: DateTime<Utc>) -> bool {
    let member = &kinds::member::KIND;
    let end = text(member, spec, "expiresAt").and_then(|end| parse_time(end).ok());
    text(member, spec, "status") != Some("suspended") && end.is_none_or(|end| end > now)
}

fn of<'a>(rows: &'a Rows, kind: &'static Kind) -> impl Iterator<Item = (&'a String, &'a Spec)> {
    rows.get(&KindId::of(kind)).into_iter().flatten()
}

fn text<'a>(kind: &'static Kind, spec: &'a Spec, path: &str) -> Option<&'a str> {
    spec.value(kind.field_at(path)?).and_then(Value::as_text)
}

fn items<'a>(kind: &'static Kind, spec: &'a Spec, path: &str) -> &'a [Value] {
    kind.field_at(path).and_then(|field| spec.value(field)).map(Value::items).unwrap_or_default()
}

fn part<'a>(record: &'a Value, name: &str) -> Option<&'a str> {
    record.get(name).and_then(Value::as_text)
}
