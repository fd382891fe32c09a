//! One poisoned organization among many: the others go on, and it keeps its last good state whole.

use super::World;

/// How many organizations there are.
const MANY: usize = 1_000;

fn organization(name: &str, about: &str) -> String {
    format!(
        "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {{name: {name}}}\nspec:\n  description: {about}\n  \
         members: [{{user: ada@{name}.example, role: owner}}]\n  teams: [{{name: core, description: {about}}}]\n"
    )
}

fn write(world: &World, many: usize, about: &str) {
    for number in 0..many {
        let name = format!("org-{number:04}");
        world.write(&format!("{name}.yaml"), &organization(&name, about));
    }
}

fn counts(world: &World) -> String {
    world.sql(
        "SELECT o.description, t.description, count(*), min(o.name) FROM argus.organization o
         JOIN argus.team t ON t.organization = o.name GROUP BY 1, 2 ORDER BY 3",
    )
}

#[test]
fn what_one_organization_does_wrong_holds_back_no_other() {
    let world = World::new();
    write(&world, MANY, "old");
    world.apply().ends(0).says("in 1000 organizations");
    assert_eq!(counts(&world), "old|old|1000|org-0000");

    // The database refuses a row of one of them, and that only after others of it were written.
    world.sql(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'the cup is poisoned'; END $$;
         CREATE TRIGGER poison BEFORE UPDATE ON argus.team FOR EACH ROW WHEN (NEW.organization = 'org-0500')
         EXECUTE FUNCTION poison()",
    );
    write(&world, MANY, "new");
    let ran = world.argus(&["apply", "--auto-approve", "--format", "json"]).ends(1);
    let outcome = ran.json();
    assert_eq!(outcome["applied"].as_array().expect("names").len(), MANY - 1);
    let refused = outcome["not_applied"].as_object().expect("names");
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["org-0500"]);
    assert!(refused["org-0500"][0]["message"].as_str().expect("why").contains("the cup is poisoned"), "{outcome}");
    assert_eq!(counts(&world), "old|old|1|org-0500\nnew|new|999|org-0000");
    assert_eq!(
        world.sql("SELECT outcome FROM argus.run_organization WHERE organization = 'org-0500' ORDER BY at"),
        "applied\nfailed"
    );
    let again = world.apply().ends(1).says("org-0500").says("the cup is poisoned");
    again.says("ARG4002").says("Not applied: 1 organization, left as it was.");
    world.sql("DROP TRIGGER poison ON argus.team");
    world.apply().ends(0);
    world.plan().ends(0).says("No changes.");
}

#[test]
fn a_file_that_cannot_be_read_holds_what_it_described_and_nothing_else() {
    let world = World::new();
    write(&world, 50, "old");
    world.apply().ends(0);
    write(&world, 50, "new");
    world.write("org-0007.yaml", "kind: [Organization\n");
    let ran = world.apply().ends(1).says("org-0007.yaml:1:").says("`org-0007` is held as it is");
    ran.says("ARG1003").says("in 49 organizations");
    assert_eq!(counts(&world), "old|old|1|org-0007\nnew|new|49|org-0000");
    let outcome = world.argus(&["apply", "--auto-approve", "--format", "json"]).ends(1);
    assert!(outcome.err.contains("org-0007.yaml"), "{outcome}");
    world.write("org-0007.yaml", &organization("org-0007", "new"));
    world.apply().ends(0);
    world.plan().ends(0).says("No changes.");
}

#[test]
fn an_error_in_one_document_keeps_the_whole_organization_as_it_was() {
    let world = World::new();
    for name in ["acme", "globex"] {
        world.write(&format!("{name}.yaml"), &organization(name, "old"));
    }
    world.apply().ends(0);
    world.write("globex.yaml", &organization("globex", "new"));
    world.write("acme.yaml", &organization("acme", "new"));
    world.write(
        "extra.yaml",
        "apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata: {name: more}\nspec: {organization: acme, parent: nowhere}\n",
    );
    world.apply().ends(1).says("ARG1102").says("extra.yaml:4:");
    assert_eq!(world.sql("SELECT name, description FROM argus.organization ORDER BY 1"), "acme|old\nglobex|new");
    assert_eq!(world.sql("SELECT count(*) FROM argus.team"), "2");
}

#[test]
fn what_a_tenant_writes_into_its_own_row_stops_no_other() {
    let world = World::new();
    for name in ["acme", "globex"] {
        world.write(&format!("{name}.yaml"), &organization(name, "old"));
    }
    world.apply().ends(0);
    let as_tenant = |value: &str| {
        format!(
            "BEGIN; SET LOCAL ROLE argus_app; SET LOCAL argus.org = 'globex';
             UPDATE argus.organization SET settings = settings || {value} WHERE name = 'globex'; COMMIT"
        )
    };
    let oddities = [r#"'{"x": 1e400}'"#, r#"('{"x":' || repeat('[', 200) || repeat(']', 200) || '}')::jsonb"#];
    let attempt = |value: &str| {
        world.sql(&format!(
            "DO $do$ BEGIN EXECUTE $q$ UPDATE argus.organization SET settings = settings || {value} $q$;
             RAISE EXCEPTION 'it was let in' USING ERRCODE = 'P0002';
             EXCEPTION WHEN check_violation THEN NULL; END $do$"
        ))
    };
    oddities.iter().for_each(|value| drop(attempt(value)));
    // As if it had been let in all the same.
    world.sql("ALTER TABLE argus.organization DROP CONSTRAINT organization_settings_check");
    for value in oddities {
        world.sql(&as_tenant(value));
        write_settings(&world, "theme");
        world.plan().ends(2).says("settings.theme");
        world.sql("UPDATE argus.applied SET spec = spec || '{\"settings\": {\"x\": 1e400}}' WHERE name = 'globex'");
        world.plan().ends(2);
        world.argus(&["history"]).ends(0).says("Organization/globex");
        world.argus(&["get", "organizations"]).ends(0).says("acme");
        world.argus(&["export"]).ends(0);
        // Whoever declares it overwrites it.
        write_settings(&world, "x");
        world.plan().ends(2).says("settings.x");
        world.apply().ends(0);
        assert_eq!(world.sql("SELECT settings -> 'x' FROM argus.organization WHERE name = 'globex'"), "1");
        world.is_settled();
    }
}

fn write_settings(world: &World, key: &str) {
    let settings = format!("  settings: {{{key}: 1}}\n");
    world.write("globex.yaml", &format!("{}{settings}", organization("globex", "old")));
}
