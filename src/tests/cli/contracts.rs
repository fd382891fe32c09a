//! What holds for every kind: apply and plan is empty, export and plan is empty, and equal worlds give equal bytes.

use std::collections::BTreeSet;

use argus::model::kind::{KINDS, Kind, Scope};
use argus::model::shape::{Field, Shape};

use super::World;

/// What the example of a team names beside the examples of other kinds.
const ENGINEERING: &str = "\
apiVersion: argus.io/v1alpha1
kind: Team
metadata:
  name: engineering
spec:
  organization: acme
";

/// The kinds whose examples a kind needs beside it: what it refers to, and what an organization cannot be without.
fn needed(kind: &'static Kind) -> BTreeSet<&'static str> {
    fn of_fields(fields: &'static [Field], needed: &mut BTreeSet<&'static str>) {
        for field in fields {
            if let Some(refers) = field.refers.filter(|refers| needed.insert(refers)) {
                of_fields(Kind::named(refers).expect("a kind").fields, needed);
            }
            if let Shape::List { fields, .. } = field.shape {
                of_fields(fields, needed);
            }
        }
    }
    let mut kinds = BTreeSet::from([kind.name, "Organization", "Member"]);
    kinds.clone().into_iter().for_each(|name| of_fields(Kind::named(name).expect("a kind").fields, &mut kinds));
    kinds
}

fn write_examples(world: &World, kinds: &BTreeSet<&'static str>) {
    for name in kinds {
        world.write(&format!("{}.yaml", name.to_lowercase()), Kind::named(name).expect("a kind").example);
    }
    if kinds.contains("Team") {
        world.write("engineering.yaml", ENGINEERING);
    }
}

fn everything() -> World {
    let world = World::new();
    write_examples(&world, &KINDS.iter().map(|kind| kind.name).collect());
    world
}

#[test]
fn the_example_of_every_kind_is_applied_and_then_nothing_is_left_to_do() {
    for kind in KINDS {
        let world = World::new();
        write_examples(&world, &needed(kind));
        world.plan().ends(2).says("to add");
        world.apply().ends(0);
        world.is_settled();
        let Some(table) = kind.table else { continue };
        assert_ne!(world.sql(&format!("SELECT count(*) FROM argus.{table}")), "0", "{}", kind.name);
    }
}

#[test]
fn what_is_exported_plans_to_nothing() {
    let world = everything();
    world.apply().ends(0);
    world.argus(&["export", "--output", "exported"]).ends(0);
    let plan = || world.argus(&["plan", "exported", "--detailed-exitcode"]);
    plan().ends(0).says("No changes.");
    world.argus(&["apply", "exported", "--auto-approve"]).ends(0).says("0 added, 0 changed, 0 destroyed");
    plan().ends(0).says("No changes.");
    world.argus(&["export", "--output", "again"]).ends(0);
    assert_eq!(super::files(&world.path("again")), super::files(&world.path("exported")));
    let text = world.argus(&["export"]).ends(0).out;
    for kind in Kind::stored() {
        let written = match kind.scope {
            Scope::Child => format!("{}:", kind.plural),
            Scope::Global | Scope::Root => format!("kind: {}", kind.name),
        };
        assert!(text.contains(&written), "{written} is missing in\n{text}");
    }
}

#[test]
fn what_is_exported_can_be_applied_to_an_empty_database() {
    let world = everything();
    world.apply().ends(0);
    let text = world.argus(&["export"]).ends(0).out;
    let other = World::applied(&text);
    other.is_settled();
    assert_eq!(other.argus(&["export"]).ends(0).out, text);
}

#[test]
fn ten_runs_give_the_same_bytes() {
    let world = everything();
    let all = || -> Vec<String> {
        let formats = ["text", "json", "markdown"];
        formats.iter().map(|format| world.argus(&["plan", "--format", format]).ends(0).all()).collect()
    };
    for applied in [false, true] {
        if applied {
            world.apply().ends(0);
            world.sql("UPDATE argus.team SET description = 'moved'");
        }
        let first = all();
        for _ in 1..10 {
            assert_eq!(all(), first);
        }
    }
}

/// The least that can be said of one resource of every kind.
const MINIMAL: &str = "\
apiVersion: argus.io/v1alpha1
kind: Tier
metadata: {name: small}
---
apiVersion: argus.io/v1alpha1
kind: Organization
metadata: {name: acme}
spec:
  roles: [{name: least, permissions: [\"projects:read\"]}]
  members: [{user: ada@acme.example, role: owner}]
  teams: [{name: least}]
  projects: [{name: least}]
  serviceAccounts: [{name: least}]
  apiKeys: [{name: least, owner: {user: ada@acme.example}, scopes: [read]}]
  notificationChannels: [{name: least, type: webhook, config: {url: \"https://acme.example/hook\"}}]
  notificationRules: [{name: least, channel: least, events: [\"*\"]}]
  budgets: [{name: least, period: daily, limit: 1 USD}]
";

#[test]
fn what_a_minimal_document_leaves_out_has_its_preset() {
    let world = World::applied(MINIMAL);
    world.is_settled();
    for kind in Kind::stored() {
        let rows = world.argus(&["get", kind.plural, "-o", "json"]).ends(0).json();
        let [row] = rows["items"].as_array().expect("rows").as_slice() else { panic!("{}: {rows}", kind.name) };
        let mut presets = 0;
        for (_, field) in kind.stored_fields() {
            let named = match (kind.name, field.path) {
                ("Member", "roles") | ("ApiKey", "owner.user") | ("NotificationChannel", "config.url") => true,
                _ => field.required,
            };
            if !named {
                presets += 1;
                let preset = serde_json::to_value(field.preset.value()).expect("JSON");
                let found = field.path.split('.').fold(&row["spec"], |value, part| &value[part]);
                let found = if found.is_null() { &row["spec"][field.path] } else { found };
                assert_eq!(found, &preset, "{} {}", kind.name, field.path);
            }
        }
        assert!(presets > 0, "{} leaves nothing out", kind.name);
    }
    world.argus(&["export", "--output", "exported"]).ends(0);
    world.argus(&["plan", "exported", "--detailed-exitcode"]).ends(0).says("No changes.");
}
