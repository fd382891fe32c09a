//! Random desired, live and applied worlds: what must hold for every plan, whatever it starts from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use argus::diff::{self, Rules};
use argus::guard::Guards;
use argus::model::kind::{Kind, KindId};
use argus::model::kinds::{member, notification_channel, organization, project, role, team};
use argus::model::origin::{Origin, Position};
use argus::model::resource::{Resource, ResourceId, Spec};
use argus::model::state::{Applied, AppliedRow, Desired, Live, LiveRow, LocalId};
use argus::model::value::Value;
use argus::plan::{Action, Cause, OrganizationPlan, Plan};
use proptest::prelude::*;

use crate::support::plans::judge;

pub const SOURCE: &str = "main";
pub const ORGANIZATION: &str = "acme";

/// The kinds of the small universe, with fields of each sort: text, word, truth, set, records, map.
const KINDS: &[(&Kind, &[&str])] = &[
    (&organization::KIND, &["displayName", "status", "requireMfa", "settings"]),
    (&role::KIND, &["description", "permissions"]),
    (&member::KIND, &["roles", "status"]),
    (&team::KIND, &["displayName", "parent", "members"]),
    (&project::KIND, &["displayName", "status", "quotas.apiKeys"]),
    (&notification_channel::KIND, &["type", "enabled", "rateLimitPerHour"]),
];

const NAMES: &[&str] = &["one", "two", "three"];

/// A resource by numbers: kind, name, and for each field nothing or one of a few values.
type Numbers = BTreeMap<(usize, usize), [Option<u8>; 4]>;

fn value(path: &str, choice: u8) -> Value {
    match path {
        "displayName" | "description" => {
            [Value::Null, Value::text("a"), Value::text("b"), Value::text("c")][choice as usize].clone()
        }
        "status" => Value::text(["active", "suspended"][choice as usize % 2]),
        "type" => Value::text(["slack", "email"][choice as usize % 2]),
        "requireMfa" | "enabled" => Value::Bool(choice.is_multiple_of(2)),
        "parent" => [Value::Null, Value::text("one"), Value::text("two"), Value::Null][choice as usize].clone(),
        "quotas.apiKeys" | "rateLimitPerHour" => Value::Int(i64::from(choice)),
        "roles" | "permissions" => {
            Value::set([&["owner"][..], &["admin"], &["owner", "viewer"], &[]][choice as usize].to_vec())
        }
        "members" => {
            let record = |user: &str| Value::map([("user", Value::text(user)), ("role", Value::text("member"))]);
            let users = [&[][..], &["one"], &["one", "two"], &["two"]][choice as usize];
            Value::List(users.iter().map(|user| record(user)).collect())
        }
        "settings" => {
            let pairs = [&[][..], &[("x", 1)], &[("x", 2), ("y", 1)], &[("y", 3)]][choice as usize];
            Value::map(pairs.iter().map(|(key, number)| (*key, Value::Int(*number))))
        }
        other => unreachable!("{other}"),
    }
}

fn id((kind, name): (usize, usize)) -> LocalId {
    let kind = KINDS[kind].0;
    let name = if std::ptr::eq(kind, &organization::KIND) { ORGANIZATION } else { NAMES[name] };
    (KindId::of(kind), name.into())
}

fn named(kind: usize, choices: &[Option<u8>; 4]) -> Spec {
    let (kind, paths) = KINDS[kind];
    let named = paths.iter().zip(choices).filter_map(|(path, choice)| {
        let field = kind.field_at(path)?;
        choice.map(|choice| (field, value(path, choice)))
    });
    Spec::from_values(named)
}

/// Every stored field: what the numbers say, defaults elsewhere.
fn whole(kind: usize, choices: &[Option<u8>; 4]) -> Spec {
    let said = named(kind, choices);
    let fields = KINDS[kind].0.stored_fields().map(|(number, field)| {
        let preset = field.preset.value();
        (number, said.value(number).filter(|value| **value != Value::Null).cloned().unwrap_or(preset))
    });
    Spec::from_values(fields)
}

#[derive(Clone, Debug)]
pub struct Worlds {
    pub desired: Desired,
    pub live: Live,
    pub applied: Applied,
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let choices = proptest::array::uniform4(proptest::option::weighted(0.7, 0_u8..4));
    proptest::collection::btree_map((0..KINDS.len(), 0..NAMES.len()), choices, 0..12)
}

prop_compose! {
    pub fn worlds()(
        desired in numbers(),
        live in numbers(),
        applied in numbers(),
        share in 0_u8..4,
        authoritative in proptest::collection::btree_set(1..KINDS.len(), 0..3),
    ) -> Worlds {
        // Some worlds are unrelated, in others the sides have grown from each other.
        let live: Numbers = if share > 0 { desired.clone().into_iter().chain(live).collect() } else { live };
        let applied: Numbers = if share > 1 { live.clone().into_iter().chain(applied).collect() } else { applied };
        build(&desired, &live, &applied, &authoritative)
    }
}

fn build(desired: &Numbers, live: &Numbers, applied: &Numbers, authoritative: &BTreeSet<usize>) -> Worlds {
    let file: Arc<str> = "acme.yaml".into();
    let origin = Origin::new(&file, Position::new(1, 1));
    let resources: BTreeMap<LocalId, Resource> = desired
        .iter()
        .map(|(key, choices)| {
            let local = id(*key);
            let id = ResourceId { organization: ORGANIZATION.into(), kind: local.0, name: local.1.clone() };
            let spec = named(key.0, choices);
            (local, Resource { id, spec, origin: origin.clone(), previous_name: None })
        })
        .collect();
    let row = |(key, choices): (&(usize, usize), &[Option<u8>; 4])| {
        (id(*key), LiveRow { version: 7, spec: whole(key.0, choices) })
    };
    let record = |(key, choices): (&(usize, usize), &[Option<u8>; 4])| {
        let source = if key.1 == 2 && key.0 > 2 { "other" } else { SOURCE };
        (id(*key), AppliedRow { source: source.into(), spec: named(key.0, choices), origin: origin.clone() })
    };
    Worlds {
        desired: Desired {
            organization: ORGANIZATION.into(),
            resources: resources.into_values().collect(),
            authoritative: authoritative.iter().map(|kind| KindId::of(KINDS[*kind].0)).collect(),
            ignore: Vec::new(),
        },
        live: Live { rows: live.iter().map(row).collect() },
        applied: Applied { rows: applied.iter().map(record).collect() },
    }
}

/// An organization of many people: for each the choice of roles before, and the one after, if they stay.
pub fn crowd(people: &[(u8, Option<u8>)]) -> Worlds {
    let nothing = [None; 4];
    let empty = build(
        &Numbers::from([((0, 0), nothing)]),
        &Numbers::from([((0, 0), nothing)]),
        &Numbers::new(),
        &BTreeSet::new(),
    );
    let origin = empty.desired.resources[0].origin.clone();
    let roles = |choice: u8| [Some(choice), Some(0), None, None];
    people.iter().enumerate().fold(empty, |mut worlds, (number, (before, after))| {
        let local: LocalId = (KindId::of(&member::KIND), format!("m{number:02}@acme.example").into());
        worlds.live.rows.insert(local.clone(), LiveRow { version: 7, spec: whole(2, &roles(*before)) });
        let record = AppliedRow { source: SOURCE.into(), spec: named(2, &roles(*before)), origin: origin.clone() };
        worlds.applied.rows.insert(local.clone(), record);
        if let Some(after) = after {
            let id = ResourceId { organization: ORGANIZATION.into(), kind: local.0, name: local.1 };
            let spec = named(2, &roles(*after));
            worlds.desired.resources.push(Resource { id, spec, origin: origin.clone(), previous_name: None });
        }
        worlds
    })
}

pub fn plan(worlds: &Worlds, correct_drift: bool) -> OrganizationPlan {
    let rules = Rules {
        source: SOURCE,
        correct_drift,
        now: chrono::DateTime::UNIX_EPOCH,
        tiers: &BTreeMap::new(),
        declared_tiers: &BTreeSet::new(),
        targeted: &|_| true,
    };
    diff::organization(&worlds.desired, &worlds.live, &worlds.applied, &rules)
}

/// Carries a plan out on the worlds, written by hand and knowing nothing of how the plan came about.
pub fn carried_out(worlds: &Worlds, plan: &OrganizationPlan) -> Worlds {
    let mut after = worlds.clone();
    for change in &plan.changes {
        let local: LocalId = (change.kind, change.name.clone());
        match change.action {
            Action::Delete => drop(after.live.rows.remove(&local).expect("what is deleted was there")),
            Action::Release => {}
            Action::Create => {
                let kind = change.kind.get();
                let fields = kind.stored_fields().map(|(number, field)| {
                    (number, change.set.get(field.path).cloned().unwrap_or_else(|| field.preset.value()))
                });
                let row = LiveRow { version: 8, spec: Spec::from_values(fields) };
                assert!(after.live.rows.insert(local, row).is_none(), "what is created was not there");
            }
            Action::Update | Action::Adopt => {
                let row = after.live.rows.get_mut(&local).expect("what is updated is there");
                let old = row.spec.entries().iter().map(|entry| (entry.field, entry.value.clone()));
                let set = change.set.iter().map(|(path, value)| {
                    (change.kind.get().field_at(path).expect("a field of the kind"), value.clone())
                });
                row.spec = Spec::from_values(old.chain(set));
            }
        }
    }
    for record in &plan.records {
        let local: LocalId = (record.kind, record.name.clone());
        match &record.spec {
            None => drop(after.applied.rows.remove(&local)),
            Some(spec) => {
                let row = AppliedRow {
                    source: SOURCE.into(),
                    spec: Spec::from_json(record.kind.get(), spec),
                    origin: record.origin.clone().expect("a record has an origin"),
                };
                after.applied.rows.insert(local, row);
            }
        }
    }
    after
}

#[test]
fn equal_worlds_plan_to_nothing() {
    let numbers: Numbers = (0..KINDS.len()).map(|kind| ((kind, 0), [Some(1), Some(1), Some(1), Some(1)])).collect();
    let worlds = build(&numbers, &numbers, &numbers, &BTreeSet::from([1, 2, 3]));
    let plan = plan(&worlds, true);
    assert!(plan.is_settled() && plan.findings.is_empty(), "{plan:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, max_global_rejects: 60_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_is_carried_out_leaves_nothing_to_do(worlds in worlds()) {
        let first = plan(&worlds, true);
        // A world that contradicts itself (a team that lists somebody who goes) is never carried out.
        prop_assume!(!first.is_blocked());
        let after = carried_out(&worlds, &first);
        let second = plan(&after, true);
        prop_assert!(second.changes.is_empty(), "{:#?}\nafter\n{:#?}", second.changes, first.changes);
        prop_assert!(second.records.is_empty(), "{:#?}\nafter\n{:#?}", second.records, first.changes);
    }

    #[test]
    fn a_plan_touches_only_rows_whose_fields_differ(worlds in worlds()) {
        for change in &plan(&worlds, true).changes {
            let row = worlds.live.rows.get(&(change.kind, change.name.clone()));
            prop_assert_eq!(change.version, row.map(|row| row.version));
            if change.action == Action::Update {
                prop_assert!(!change.set.is_empty());
            }
            for (path, value) in &change.set {
                let field = change.kind.get().field_at(path).expect("a field of the kind");
                if let (Some(row), Action::Update | Action::Adopt) = (row, change.action) {
                    prop_assert_ne!(row.spec.value(field), Some(value), "{} is written and does not differ", path);
                }
            }
        }
    }

    #[test]
    fn nothing_of_another_source_and_nothing_unowned_is_touched(worlds in worlds()) {
        for change in &plan(&worlds, true).changes {
            let local = (change.kind, change.name.clone());
            let owner = worlds.applied.rows.get(&local).map(|row| &*row.source);
            prop_assert_ne!(owner, Some("other"));
            if change.action == Action::Delete && owner.is_none() {
                let organization_goes = worlds.desired.resources.iter().all(|r| !r.id.kind.is(&organization::KIND));
                prop_assert!(change.extra || organization_goes, "{:?} is deleted and nobody owns it", local);
                prop_assert!(!change.extra || worlds.desired.authoritative.contains(&change.kind));
            }
        }
    }

    #[test]
    fn drift_that_is_left_is_reported_and_never_written(worlds in worlds()) {
        let left = plan(&worlds, false);
        for change in &left.changes {
            prop_assert!(change.fields.iter().all(|field| field.cause != Cause::Drift), "{:#?}", change);
            prop_assert!(!change.extra);
        }
        let corrected = plan(&worlds, true);
        let count = |plan: &OrganizationPlan| plan.drift().flat_map(|c| c.fields.iter().filter(|f| f.cause == Cause::Drift)).count();
        prop_assert_eq!(count(&left), count(&corrected));
    }

    #[test]
    fn no_plan_that_breaks_a_guard_is_approved(worlds in worlds(), owners in 0_u64..3, percent in 0_u8..100) {
        let plan = Plan::new(SOURCE, (1, 1), vec![plan(&worlds, true)], Vec::new());
        let mut guards = Guards { owners, ..Guards::default() };
        guards.members.percent = percent;
        let verdict = judge(&plan, &guards, false);
        for approved in &verdict.approved {
            let after = carried_out(&worlds, approved.plan());
            let members = |live: &Live| -> BTreeSet<Arc<str>> {
                let field = member::KIND.field_at("status").expect("a field");
                let active = |row: &LiveRow| row.spec.value(field) != Some(&Value::text("suspended"));
                let of_kind = live.rows.iter().filter(|((kind, _), row)| kind.is(&member::KIND) && active(row));
                of_kind.map(|((_, name), _)| name.clone()).collect()
            };
            let owners_of = |live: &Live| {
                let field = member::KIND.field_at("roles").expect("a field");
                let owner = |name: &Arc<str>| live.rows[&(KindId::of(&member::KIND), name.clone())]
                    .spec.value(field).is_some_and(|roles| roles.items().contains(&Value::text("owner")));
                members(live).into_iter().filter(owner).collect::<BTreeSet<_>>()
            };
            let (before, later) = (members(&worlds.live), members(&after.live));
            let gone = before.difference(&later).count();
            prop_assert!(gone <= 1 || gone * 100 <= before.len() * usize::from(percent), "{} of {} go", gone, before.len());
            let (owners_before, owners_after) = (owners_of(&worlds.live), owners_of(&after.live));
            if owners_before.difference(&owners_after).count() > 0 {
                prop_assert!(owners_after.len() as u64 >= owners, "{} owners stay", owners_after.len());
            }
        }
    }

    #[test]
    fn equal_worlds_give_equal_bytes(worlds in worlds()) {
        let bytes = |plan: OrganizationPlan| serde_json::to_string(&plan).expect("a plan is JSON");
        prop_assert_eq!(bytes(plan(&worlds, true)), bytes(plan(&worlds.clone(), true)));
    }
}
