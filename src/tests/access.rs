//! Who gains and loses what, on random graphs of roles, teams and projects, against a computation that knows no
//! shortcuts: it asks of every person, place and permission whether somebody may, before and after.

use std::collections::{BTreeMap, BTreeSet};

use argus::access::{self, Access, Grant};
use argus::diff::rows::Rows;
use argus::model::kind::Kind;
use argus::model::resource::Spec;
use argus::model::value::Value;
use chrono::{DateTime, Utc};
use proptest::prelude::*;

use crate::support::plans::kind;

const PEOPLE: [&str; 4] = ["ada@acme.example", "bob@acme.example", "cyd@acme.example", "dee@acme.example"];
const TEAMS: [&str; 3] = ["core", "data", "edge"];
const PROJECTS: [&str; 2] = ["api", "web"];
const OWN_ROLES: [&str; 2] = ["auditor", "builder"];
const ROLES: [&str; 7] = ["owner", "admin", "member", "viewer", "maintainer", "auditor", "builder"];
const AREAS: [&str; 5] = ["keys", "members", "projects", "project", "teams"];
/// The last one occurs in no role: only a wildcard allows it.
const VERBS: [&str; 3] = ["read", "write", "unheard"];
const PATTERNS: [&str; 8] =
    ["*", "keys:*", "keys:read", "members:read", "members:write", "project:*", "project:read", "teams:write"];

fn now() -> DateTime<Utc> {
    "2026-06-01T00:00:00Z".parse().expect("a moment")
}

#[derive(Clone, Debug)]
struct Member {
    roles: Vec<&'static str>,
    suspended: bool,
    expires_at: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Team {
    parent: Option<&'static str>,
    members: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct Project {
    archived: bool,
    members: Vec<(&'static str, &'static str)>,
    teams: Vec<(&'static str, &'static str)>,
}

#[derive(Clone, Debug)]
struct Graph {
    suspended: bool,
    roles: BTreeMap<&'static str, Vec<&'static str>>,
    members: BTreeMap<&'static str, Member>,
    teams: BTreeMap<&'static str, Team>,
    projects: BTreeMap<&'static str, Project>,
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(words)
}

fn pairs(
    left: &'static [&'static str],
    right: &'static [&'static str],
) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    prop::collection::btree_map(one_of(left), one_of(right), 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

fn graphs() -> impl Strategy<Value = Graph> {
    let member = (
        prop::collection::vec(one_of(&ROLES), 1..3),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.2, one_of(&["2026-05-31T23:59:59Z", "2026-06-01T00:00:00Z", "2026-06-01T00:00:01Z"])),
    );
    let member = member.prop_map(|(roles, suspended, expires_at)| Member { roles, suspended, expires_at });
    let team = (prop::option::of(one_of(&TEAMS)), prop::collection::vec(one_of(&PEOPLE), 0..3));
    let team = team.prop_map(|(parent, members)| Team { parent, members });
    let project = (prop::bool::weighted(0.15), pairs(&PEOPLE, &ROLES), pairs(&TEAMS, &ROLES));
    let project = project.prop_map(|(archived, members, teams)| Project { archived, members, teams });
    (
        prop::bool::weighted(0.05),
        prop::collection::btree_map(one_of(&OWN_ROLES), prop::collection::vec(one_of(&PATTERNS), 1..4), 0..3),
        prop::collection::btree_map(one_of(&PEOPLE), member, 0..5),
        prop::collection::btree_map(one_of(&TEAMS), team, 0..4),
        prop::collection::btree_map(one_of(&PROJECTS), project, 0..3),
    )
        .prop_map(|(suspended, roles, members, teams, projects)| Graph {
            suspended,
            roles,
            members,
            teams,
            projects,
        })
}

fn spec(kind_name: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Spec {
    let kind = Kind::named(kind_name).expect("a kind");
    Spec::from_values(fields.into_iter().map(|(path, value)| (kind.field_at(path).expect("a field"), value)))
}

fn records(left: &'static str, pairs: &[(&'static str, &'static str)]) -> Value {
    let record = |(name, role): &(&str, &str)| Value::map([(left, Value::text(*name)), ("role", Value::text(*role))]);
    Value::List(pairs.iter().map(record).collect())
}

fn rows(graph: &Graph) -> Rows {
    let mut rows = Rows::new();
    let mut add = |kind_name: &str, name: &str, fields: Vec<(&'static str, Value)>| {
        rows.entry(kind(kind_name)).or_default().insert(name.to_owned(), spec(kind_name, fields));
    };
    let status = |off: bool, word: &'static str| ("status", Value::text(if off { word } else { "active" }));
    add("Organization", "acme", vec![status(graph.suspended, "suspended")]);
    for (name, permissions) in &graph.roles {
        add("Role", name, vec![("permissions", Value::set(permissions.iter().copied()))]);
    }
    for (email, member) in &graph.members {
        let expires = member.expires_at.map_or(Value::Null, Value::text);
        let roles = Value::set(member.roles.iter().copied());
        add("Member", email, vec![("roles", roles), status(member.suspended, "suspended"), ("expiresAt", expires)]);
    }
    for (name, team) in &graph.teams {
        let parent = team.parent.map_or(Value::Null, Value::text);
        let members: Vec<_> = team.members.iter().map(|user| (*user, "member")).collect();
        add("Team", name, vec![("parent", parent), ("members", records("user", &members))]);
    }
    for (name, project) in &graph.projects {
        let fields = vec![
            status(project.archived, "archived"),
            ("members", records("user", &project.members)),
            ("teams", records("team", &project.teams)),
        ];
        add("Project", name, fields);
    }
    rows
}

/// Whether a pattern, read by itself, allows a permission.
fn allows(pattern: &str, permission: &str) -> bool {
    pattern == "*"
        || pattern == permission
        || pattern.strip_suffix('*').is_some_and(|head| permission.starts_with(head))
}

impl Graph {
    fn patterns(&self, role: &str) -> Vec<&'static str> {
        // Written out by hand: what these roles mean is a promise of its own.
        match role {
            "owner" => vec!["*"],
            "admin" => vec![
                "budgets:*",
                "keys:*",
                "members:*",
                "notifications:*",
                "organization:read",
                "projects:*",
                "roles:read",
                "serviceaccounts:*",
                "teams:*",
            ],
            "member" => vec!["keys:read", "members:read", "organization:read", "projects:read", "teams:read"],
            "viewer" => vec!["organization:read", "project:read", "projects:read", "teams:read"],
            "maintainer" => vec!["project:*"],
            own => self.roles.get(own).cloned().unwrap_or_default(),
        }
    }

    fn is_active(&self, person: &str) -> bool {
        self.members.get(person).is_some_and(|member| {
            !member.suspended
                && member.expires_at.is_none_or(|end| end.parse::<DateTime<Utc>>().expect("a moment") > now())
        })
    }

    /// Whether somebody is in a team, directly or in one that has it above itself.
    fn is_in(&self, person: &str, team: &str) -> bool {
        let mut below: BTreeSet<&str> = BTreeSet::from([team]);
        loop {
            let more: BTreeSet<&str> = self
                .teams
                .iter()
                .filter(|(_, child)| child.parent.is_some_and(|parent| below.contains(parent)))
                .map(|(name, _)| *name)
                .collect();
            if more.is_subset(&below) {
                break;
            }
            below.extend(more);
        }
        below.iter().filter_map(|name| self.teams.get(name)).any(|team| team.members.contains(&person))
    }

    fn may(&self, person: &str, place: Option<&str>, permission: &str) -> bool {
        if self.suspended || !self.is_active(person) {
            return false;
        }
        let of_role = |role: &str| self.patterns(role).into_iter().any(|pattern| allows(pattern, permission));
        let roles = &self.members[person].roles;
        let Some(project) = place else { return roles.iter().any(|role| of_role(role)) };
        if roles.iter().any(|role| self.patterns(role).contains(&"*")) {
            return true;
        }
        self.projects.get(project).filter(|project| !project.archived).is_some_and(|project| {
            project.members.iter().any(|(user, role)| *user == person && of_role(role))
                || project.teams.iter().any(|(team, role)| self.is_in(person, team) && of_role(role))
        })
    }
}

/// Everything that anybody could be asked for.
fn questions() -> Vec<(&'static str, Option<&'static str>, String)> {
    let mut questions = Vec::new();
    for person in PEOPLE {
        for place in [None, Some(PROJECTS[0]), Some(PROJECTS[1])] {
            for area in AREAS {
                questions.extend(VERBS.map(|verb| (person, place, format!("{area}:{verb}"))));
            }
            questions.push((person, place, "somethingelse:unheard".into()));
        }
    }
    questions
}

/// Whether one of these grants speaks of it. What is allowed in the whole organization with `*` is so in each project.
fn told(grants: &[Grant], person: &str, place: Option<&str>, permission: &str) -> bool {
    grants.iter().filter(|grant| *grant.person == *person).any(|grant| {
        let reaches = |pattern: &str| grant.project.as_deref() == place || (grant.project.is_none() && pattern == "*");
        grant.permissions.iter().any(|pattern| allows(pattern, permission) && reaches(pattern))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_people_gain_and_lose_is_what_asking_them_one_by_one_says(before in graphs(), after in graphs()) {
        let Access { gained, lost } = access::difference(&rows(&before), &rows(&after), now());
        for (person, place, permission) in questions() {
            let (could, may) = (before.may(person, place, &permission), after.may(person, place, &permission));
            if may && !could {
                prop_assert!(told(&gained, person, place, &permission), "{person} {place:?} {permission}: {gained:?}");
            }
            if could && !may {
                prop_assert!(told(&lost, person, place, &permission), "{person} {place:?} {permission}: {lost:?}");
            }
        }
        // And nothing is told that is not so: each grant holds something that changes hands.
        for (grants, from, to) in [(&gained, &before, &after), (&lost, &after, &before)] {
            for (grant, pattern) in grants.iter().flat_map(|grant| grant.permissions.iter().map(move |p| (grant, p))) {
                let place = grant.project.as_deref();
                let asked_for = &**pattern == "*" || AREAS.iter().any(|area| pattern.starts_with(&format!("{area}:")));
                let changes_hands = questions().iter().any(|(person, at, permission)| {
                    **person == *grant.person
                        && *at == place
                        && allows(pattern, permission)
                        && to.may(person, place, permission)
                        && !from.may(person, place, permission)
                });
                prop_assert!(changes_hands || !asked_for, "{pattern} of {grant:?}");
                prop_assert!(to.patterns(&grant.role).contains(&&**pattern), "{grant:?}");
            }
        }
    }

    #[test]
    fn nobody_gains_or_loses_by_a_plan_that_changes_nothing(graph in graphs()) {
        let rows = rows(&graph);
        prop_assert_eq!(access::difference(&rows, &rows, now()), Access::default());
    }
}

#[test]
fn a_new_team_role_is_told_with_the_team_that_brings_it() {
    let member = Member { roles: vec!["member"], suspended: false, expires_at: None };
    let mut graph = Graph {
        suspended: false,
        roles: BTreeMap::new(),
        members: BTreeMap::from([(PEOPLE[0], member)]),
        teams: BTreeMap::from([
            ("core", Team { parent: None, members: vec![] }),
            ("edge", Team { parent: Some("core"), members: vec![PEOPLE[0]] }),
        ]),
        projects: BTreeMap::from([("api", Project { archived: false, members: vec![], teams: vec![] })]),
    };
    let before = rows(&graph);
    graph.projects.get_mut("api").expect("a project").teams.push(("core", "maintainer"));
    let Access { gained, lost } = access::difference(&before, &rows(&graph), now());
    let expected = Grant {
        person: PEOPLE[0].into(),
        project: Some("api".into()),
        role: "maintainer".into(),
        team: Some("core".into()),
        permissions: vec!["project:*".into()],
    };
    assert_eq!((gained, lost), (vec![expected], vec![]));
}
