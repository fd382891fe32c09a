//! Events: what is told of a pass stands in the database together with what it did, in order, once, and without what
//! nobody should see.

use serde_json::Value;

use super::{ACME, World, block_on};

/// All events: organization, position, type and subject.
const ALL: &str = "SELECT organization || '/' || position || ' ' || type || ' ' || subject FROM argus.event
    ORDER BY organization, position";

/// What one sort of events carries, the last of them.
fn content(world: &World, of: &str) -> Value {
    let text = world.sql(&format!("SELECT data FROM argus.event WHERE type = '{of}' ORDER BY at DESC LIMIT 1"));
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{of} was told: {text}"))
}

fn count(world: &World, of: &str) -> String {
    world.sql(&format!("SELECT count(*) FROM argus.event WHERE type = '{of}'"))
}

#[test]
fn every_resource_that_is_written_is_told_of_in_order_and_so_is_the_run() {
    let world = World::applied(&format!("{ACME}  teams: [{{name: core, displayName: 'Core team'}}]\n"));
    let run = world.sql("SELECT id FROM argus.run");
    assert_eq!(
        world.sql(ALL),
        format!(
            "/1 run.succeeded {run}\nacme/1 resource.created Organization/acme\n\
             acme/2 resource.created Member/ada@acme.example\nacme/3 resource.created Team/core"
        )
    );
    let told = content(&world, "run.succeeded");
    assert_eq!(
        (&told["outcome"], &told["created"], &told["run"]),
        (&"succeeded".into(), &3.into(), &run.clone().into())
    );
    world.write("acme.yaml", &ACME.replace("role: owner", "roles: [owner, billing_admin]"));
    world.apply().ends(0);
    let told = content(&world, "resource.updated");
    assert_eq!(told["fields"][0]["path"], "roles");
    assert_eq!(told["fields"][0]["after"], serde_json::json!(["billing_admin", "owner"]));
    assert_eq!(content(&world, "resource.deleted")["name"], "core");
    // Nothing happens, and nothing but that is told.
    let before = world.sql("SELECT count(*) FROM argus.event");
    world.apply().ends(0);
    let runs: u64 = world.sql("SELECT count(*) FROM argus.run").parse().expect("a number");
    let all: u64 = world.sql("SELECT count(*) FROM argus.event").parse().expect("a number");
    assert_eq!(all, before.parse::<u64>().expect("a number") + runs - 2, "only a run that is kept is told");
}

#[test]
fn what_is_told_is_as_the_schema_of_its_type_says() {
    let world = World::applied(&format!("{ACME}  teams: [{{name: core}}]\n"));
    world.write("argus.yaml", "mode: apply\nguards: {owners: 2}\n");
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine' WHERE name = 'acme'");
    world.write("acme.yaml", &format!("{ACME}    - {{user: grace@acme.example, role: owner}}\n"));
    world.apply().ends(0);
    world.write("acme.yaml", &ACME.replace("Acme", "Acme Corporation"));
    world.apply().ends(4);
    world.mallory(
        "psql",
        "SELECT argus.approve(organization, plan_digest, rules_digest, now() + interval '1 hour', NULL, NULL, NULL)
         FROM argus.held_plan",
    );
    let schema: Value = super::run(super::bare(&["schema", "events"])).ends(0).json();
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let store = block_on(world.database.store());
    block_on(store.register_sink("test")).expect("a sink");
    world.sql("INSERT INTO argus.delivery SELECT 'test', argus.shard_of(organization), organization, position FROM argus.event");
    let lease = std::time::Duration::from_secs(30);
    let shards = block_on(store.hold_shards("test", "me", lease)).expect("the parts");
    let events = block_on(store.claim("test", &shards, 100)).expect("the events");
    let mut types = std::collections::BTreeSet::new();
    for event in &events {
        let document: Value = serde_json::from_str(&event.on_the_wire(None).structured()).expect("JSON");
        let faults: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{document}: {faults:?}");
        types.insert(event.of.clone());
    }
    let told: Vec<&str> = types.iter().map(String::as_str).collect();
    assert_eq!(
        told,
        ["drift.detected", "plan.approved", "plan.held", "resource.created", "resource.deleted", "run.succeeded"]
    );
}

#[test]
fn texts_addresses_and_free_maps_do_not_leave() {
    let text = format!(
        "{ACME}  description: canary-text\n  billingEmail: canary@acme.example\n  settings: {{canary: canary}}\n"
    );
    let world = World::applied(ACME);
    world.write("acme.yaml", &text);
    world.apply().ends(0);
    let told = content(&world, "resource.updated");
    assert!(!told.to_string().contains("canary"), "{told}");
    let paths: Vec<&str> =
        told["fields"].as_array().expect("fields").iter().filter_map(|f| f["path"].as_str()).collect();
    assert_eq!(paths, ["description", "billingEmail", "settings.*"]);
}

#[test]
fn drift_is_told_once_while_it_is_the_same_and_when_it_is_gone() {
    let world = World::applied(ACME);
    world.write("argus.yaml", "mode: apply\n");
    world.write("acme.yaml", &format!("{ACME}  requireMfa: true\n"));
    world.apply().ends(0);
    world.mallory("psql", "UPDATE argus.organization SET require_mfa = NOT require_mfa WHERE name = 'acme'");
    for _ in 0..3 {
        world.apply().ends(0);
    }
    assert_eq!(count(&world, "drift.detected"), "1", "{}", world.sql(ALL));
    let told = content(&world, "drift.detected");
    assert_eq!((&told["kind"], &told["name"]), (&"Organization".into(), &"acme".into()));
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine' WHERE name = 'acme'");
    world.apply().ends(0);
    world.apply().ends(0);
    assert_eq!(count(&world, "drift.detected"), "2", "it has become something else");
    world.write("argus.yaml", "mode: enforce\n");
    world.apply().ends(0);
    assert_eq!((count(&world, "drift.corrected").as_str(), count(&world, "drift.resolved").as_str()), ("1", "1"));
    assert_eq!(world.sql("SELECT count(*) FROM argus.told"), "0");
}

#[test]
fn what_is_not_looked_at_is_not_told_to_be_gone() {
    let world = World::applied(&format!("{ACME}  requireMfa: true\n  teams: [{{name: core}}]\n"));
    world.write("argus.yaml", "mode: apply\n");
    world.apply().ends(0);
    world.mallory("psql", "UPDATE argus.organization SET require_mfa = false WHERE name = 'acme'");
    world.apply().ends(0);
    let target = ["apply", "--auto-approve", "--target", "acme/Team/core"];
    world.mallory("psql", "UPDATE argus.team SET description = 'x'");
    world.argus(&target).ends(0);
    assert_eq!((count(&world, "drift.detected").as_str(), count(&world, "drift.resolved").as_str()), ("1", "0"));
    world.mallory("psql", "UPDATE argus.organization SET require_mfa = true WHERE name = 'acme'");
    world.argus(&target).ends(0);
    assert_eq!(count(&world, "drift.resolved"), "0", "only a look at everything tells");
    world.apply().ends(0);
    assert_eq!(count(&world, "drift.resolved"), "1", "{}", world.sql(ALL));
}

#[test]
fn drift_that_goes_is_told_whatever_else_is_left_to_do_and_drift_that_waits_is_not_gone() {
    let grace = "    - {user: grace@acme.example, role: owner}\n";
    let text = format!("{ACME}{grace}  teams: [{{name: core, displayName: Core}}]\n");
    let world = World::applied(&text);
    world.write("argus.yaml", "mode: observe\n");
    world.mallory("psql", "UPDATE argus.team SET display_name = 'Else'");
    world.apply().ends(0);
    // There is a change now that nobody carries out, and the drift is taken back by hand.
    world.write("acme.yaml", &text.replace("Acme", "Acme Corporation"));
    world.apply().ends(0);
    assert_eq!((count(&world, "drift.detected").as_str(), count(&world, "drift.resolved").as_str()), ("1", "0"));
    world.mallory("psql", "UPDATE argus.team SET display_name = 'Core'");
    world.apply().ends(0);
    assert_eq!(count(&world, "drift.resolved"), "1", "{}", world.sql(ALL));
    assert_eq!(content(&world, "drift.resolved")["name"], "core");
    // Drift that was told, and that a plan would correct which waits for somebody, is still there.
    world.mallory("psql", "UPDATE argus.team SET display_name = 'Else'");
    world.apply().ends(0);
    world.write("argus.yaml", "mode: enforce\nguards: {owners: 2}\n");
    world.write("acme.yaml", &text.replace(grace, ""));
    world.apply().ends(4);
    assert_eq!((count(&world, "drift.detected").as_str(), count(&world, "drift.resolved").as_str()), ("2", "1"));
}

#[test]
fn a_plan_that_waits_is_told_once_and_so_is_its_approval() {
    let world = World::applied(ACME);
    world.write("argus.yaml", "guards: {owners: 2}\n");
    world.write("acme.yaml", &format!("{ACME}    - {{user: grace@acme.example, role: owner}}\n"));
    world.apply().ends(0);
    world.write("acme.yaml", ACME);
    world.apply().ends(4);
    world.apply().ends(4);
    assert_eq!(count(&world, "plan.held"), "1", "{}", world.sql(ALL));
    let told = content(&world, "plan.held");
    let digest = told["planDigest"].as_str().expect("a digest").to_owned();
    assert_eq!(digest, world.sql("SELECT plan_digest FROM argus.held_plan"));
    assert!(told["why"][0]["code"].as_str().is_some_and(|code| code.starts_with("ARG3")), "{told}");
    world.mallory(
        "psql",
        "SELECT argus.approve(organization, plan_digest, rules_digest, now() + interval '1 hour', NULL, NULL, NULL)
         FROM argus.held_plan",
    );
    let told = content(&world, "plan.approved");
    assert_eq!((told["planDigest"].as_str(), told["actor"].as_str()), (Some(digest.as_str()), Some("mallory")));
}

#[test]
fn what_has_happened_neither_changes_nor_goes_while_somebody_waits_for_it() {
    let world = World::applied(ACME);
    for sql in [
        "UPDATE argus.event SET subject = 'x'",
        "DELETE FROM argus.event",
        "INSERT INTO argus.event (organization, position, type, subject, at, data) VALUES ('x', 1, 'a.b', '', now(), '{}')",
        "INSERT INTO argus.delivery (sink, shard, organization, position) VALUES ('x', 1, 'x', 1)",
        "UPDATE argus.stream SET position = 0",
    ] {
        // What is let through is an error here, which `sql` does not take.
        world.sql(&format!(
            "DO $$ BEGIN
                 BEGIN SET LOCAL ROLE argus_reconciler; {sql};
                 EXCEPTION WHEN insufficient_privilege THEN RETURN; END;
                 RAISE EXCEPTION 'it was let through';
             END $$"
        ));
    }
    let all = world.sql("SELECT count(*) FROM argus.event");
    world.sql("INSERT INTO argus.sink (name) VALUES ('broker')");
    world.write("acme.yaml", &format!("{ACME}  description: more\n"));
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT count(*) FROM argus.delivery"), "2", "only what came after the sink");
    assert_eq!(world.sql("SELECT argus.forget_events(now() + interval '1 hour', 100)"), all);
    assert_eq!(world.sql("SELECT count(*) FROM argus.event"), "2", "what is waited for stays");
}

#[test]
fn an_organization_with_another_name_goes_on_as_another_stream_that_tells_the_old_one() {
    let world = World::applied(ACME);
    world
        .write("acme.yaml", &ACME.replace("name: acme", "name: globex\n  annotations: {argus.io/previous-name: acme}"));
    world.apply().ends(0);
    let streams = "SELECT organization || '/' || position || ' ' || type FROM argus.event
        WHERE type LIKE 'resource.%' ORDER BY at, position";
    assert_eq!(world.sql(streams), "acme/1 resource.created\nacme/2 resource.created\nglobex/1 resource.updated");
    let told = content(&world, "resource.updated");
    assert_eq!((&told["name"], &told["previousName"]), (&"globex".into(), &"acme".into()), "{told}");
}

#[test]
fn a_source_that_cannot_be_read_is_told_once_and_so_is_that_it_can_be_again() {
    let (world, repository) = (World::new(), crate::support::git::Repository::new());
    repository.write("acme.yaml", ACME);
    repository.commit("Begin");
    let path = repository.path.display().to_string();
    let apply = |git: &str| world.argus(&["apply", "--git", git, "--source", "default", "--auto-approve"]);
    apply("/nowhere/at/all").ends(1);
    apply("/nowhere/at/all").ends(1);
    assert_eq!(count(&world, "source.stalled"), "1", "{}", world.sql(ALL));
    let told = content(&world, "source.stalled");
    assert_eq!(told["source"], "default");
    assert!(told["why"][0]["code"].as_str().is_some_and(|code| code.starts_with("ARG17")), "{told}");
    apply(&path).ends(0);
    apply(&path).ends(0);
    assert_eq!(count(&world, "source.recovered"), "1", "{}", world.sql(ALL));
}

#[test]
fn a_head_that_is_signed_is_told_with_its_statement() {
    let world = World::applied(ACME);
    let key = crate::support::keys::Key::new("ed25519");
    world.write("machine.yaml", &format!("audit: {{signKey: {}}}\n", key.path().display()));
    std::fs::rename(world.path("machine.yaml"), world.path(".machine.yaml")).expect("out of the way");
    world.argus(&["audit", "heads", "--sign", "--config", ".machine.yaml"]).ends(0);
    let told = content(&world, "audit.head");
    assert_eq!((&told["organization"], &told["sequence"]), (&"acme".into(), &3.into()), "{told}");
    assert_eq!(told["hash"], world.sql("SELECT encode(hash, 'hex') FROM argus.chain WHERE organization = 'acme'"));
    assert!(told["signature"].as_str().is_some_and(|text| text.contains("SSH SIGNATURE")), "{told}");
}

#[test]
fn a_head_is_signed_whatever_is_told_meanwhile() {
    let world = World::applied(ACME);
    let many = block_on(async {
        let signing = world.database.store().await.signing().await.expect("it begins").expect("nobody else is at it");
        world.sql("SELECT argus.tell('acme', NULL, NULL, '{resource.updated}', '{x}', ARRAY['{}'])");
        let signed = argus::audit::head::Signed { statement: "s".into(), signature: "x".into() };
        let many = signing.unsigned.len();
        signing.keep("key", &vec![signed; many]).await.expect("it is kept");
        many
    });
    assert_eq!(count(&world, "audit.head"), many.to_string());
}
