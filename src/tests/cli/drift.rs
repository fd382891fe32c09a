//! Drift: who moved what behind the manifests' back, shown apart from what the manifests change.

use super::{ACME, World};

/// An update of the organization's name from outside.
const MINE: &str = "UPDATE argus.organization SET display_name = 'Mine now' WHERE name = 'acme'";

/// Somebody makes an owner of herself.
const OWNER: &str = "BEGIN; INSERT INTO argus.member (organization, email) VALUES ('acme', 'mallory@acme.example');
    INSERT INTO argus.member_role (organization, member, role) VALUES ('acme', 'mallory@acme.example', 'owner'); COMMIT";

#[test]
fn an_update_by_sql_shows_who_did_it_through_what_and_where_the_value_was_written() {
    let world = World::applied(ACME);
    world.argus(&["drift", "--detailed-exitcode"]).ends(0).says("No drift.");
    world.mallory("night shift", MINE);
    for format in ["text", "markdown", "json"] {
        let drift = world.argus(&["drift", "--detailed-exitcode", "--format", format]).ends(2);
        drift.says("mallory").says("night shift").says("Mine now").says("Acme").says("acme.yaml");
    }
    world.argus(&["drift"]).ends(0).says("acme.yaml:6:16").says("[changed by mallory via night shift");
    let json = world.argus(&["drift", "--format", "json"]).ends(0).json();
    let field = &json["plan"]["organizations"][0]["changes"][0]["fields"][0];
    assert_eq!((&field["before"], &field["after"]), (&"Mine now".into(), &"Acme".into()), "{field}");
    assert_eq!((&field["applied"], &field["cause"]), (&"Acme".into(), &"drift".into()), "{field}");
    assert_eq!(field["moved_by"]["actor"], "mallory", "{field}");
    assert_eq!(field["moved_by"]["via"], "night shift", "{field}");
    assert_eq!((&field["origin"]["line"], &field["origin"]["column"]), (&6.into(), &16.into()), "{field}");
    world.apply().ends(0);
    world.is_settled();
    assert_eq!(world.sql("SELECT display_name FROM argus.organization"), "Acme");
}

#[test]
fn an_owner_inserted_by_sql_shows_as_extra_and_goes() {
    let world = World::applied(ACME);
    world.mallory("psql", OWNER);
    for format in ["text", "markdown", "json"] {
        let drift = world.argus(&["drift", "--detailed-exitcode", "--format", format]).ends(2);
        drift.says("extra").says("mallory@acme.example").says("owner").says("psql");
    }
    world.argus(&["drift"]).says("Member/mallory@acme.example (extra)").says("last written by mallory via psql");
    let json = world.argus(&["drift", "--format", "json"]).ends(0).json();
    let change = &json["plan"]["organizations"][0]["changes"][0];
    assert_eq!((&change["extra"], &change["moved_by"]["actor"]), (&true.into(), &"mallory".into()), "{change}");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT email FROM argus.member"), "ada@acme.example");
    world.is_settled();
}

#[test]
fn a_row_deleted_by_sql_shows_and_comes_back() {
    let world = World::applied(&format!("{ACME}  teams: [{{name: core}}]\n"));
    world.mallory("psql", "DELETE FROM argus.team");
    world.argus(&["drift", "--detailed-exitcode"]).ends(2).says("Team/core").says("deleted by mallory via psql");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT name FROM argus.team"), "core");
    world.is_settled();
}

#[test]
fn a_role_taken_away_by_sql_names_who_took_it() {
    let text = ACME.replace("role: owner", "roles: [owner, billing_admin]");
    let world = World::applied(&text);
    world.mallory("psql", "DELETE FROM argus.member_role WHERE role = 'billing_admin'");
    world.argus(&["drift", "--detailed-exitcode"]).ends(2).says("roles").says("changed by mallory via psql");
    world.apply().ends(0);
    world.is_settled();
}

#[test]
fn rows_of_a_collection_that_is_not_whole_are_told_of_and_left() {
    let world = World::new();
    world.write("acme.yaml", ACME);
    world.write(
        "core.yaml",
        "apiVersion: argus.io/v1alpha1\nkind: Team\nmetadata: {name: core}\nspec: {organization: acme}\n",
    );
    world.apply().ends(0);
    world.mallory("psql", "INSERT INTO argus.team (organization, name) VALUES ('acme', 'shadow')");
    world.plan().ends(0).says("1 unmanaged Team left alone");
    world.argus(&["drift", "--detailed-exitcode"]).ends(0);
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT name FROM argus.team ORDER BY 1"), "core\nshadow");
    // Once settled it is still told of.
    world.plan().ends(0).says("1 unmanaged Team left alone");
    // Named as whole, it is no longer left.
    world.write("acme.yaml", &format!("{ACME}  authoritative: [teams]\n"));
    world.plan().ends(2).says("Team/shadow (extra)");
}

#[test]
fn ignored_rows_and_fields_are_left_out_and_said_so() {
    let world = World::applied(&format!(
        "{ACME}  ignore:\n    - {{kind: Member, name: \"*@contractor.example\"}}\n    - {{kind: Organization, fields: [displayName]}}\n"
    ));
    world.mallory("psql", MINE);
    world.mallory("psql", &OWNER.replace("mallory@acme", "mallory@contractor"));
    world.plan().ends(0).says("1 Member left out of comparison").says("1 differing field of Organization left out");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT display_name FROM argus.organization"), "Mine now");
    assert_eq!(world.sql("SELECT count(*) FROM argus.member"), "2");
    world.plan().ends(0).says("1 Member left out of comparison");
}

#[test]
fn drift_is_left_and_changes_are_applied_where_the_source_or_the_command_says_so() {
    for by_settings in [true, false] {
        let world = World::applied(ACME);
        world.mallory("psql", MINE);
        world.write("acme.yaml", &ACME.replace("  members:", "  description: New\n  members:"));
        let mut apply = vec!["apply", "--auto-approve"];
        if by_settings {
            world.write("argus.yaml", "mode: apply\n");
        } else {
            apply.push("--no-drift");
        }
        world.argus(&apply).ends(0).says("drift, left as it is").says("Left as they are: 1 drifted resource.");
        assert_eq!(world.sql("SELECT display_name || '/' || description FROM argus.organization"), "Mine now/New");
        // It is reported again and again, and the record still says what Argus wrote.
        world.argus(&["drift", "--detailed-exitcode"]).ends(2).says("\"Mine now\" -> \"Acme\"");
        let extra: &[&str] = if by_settings { &[] } else { &["--no-drift"] };
        world.argus(&[&["plan", "--detailed-exitcode"], extra].concat()).ends(0).says("drift, left as it is");
    }
}

#[test]
fn a_conflict_is_shown_as_one() {
    let world = World::applied(ACME);
    world.mallory("psql", MINE);
    world.write("acme.yaml", &ACME.replace("displayName: Acme", "displayName: Acme Corporation"));
    world.plan().ends(2).says("conflict, both have moved; applied was \"Acme\"; changed by mallory via psql");
    let json = world.plan_json();
    assert_eq!(json["plan"]["organizations"][0]["changes"][0]["cause"], "conflict");
    world.apply().ends(0);
    world.is_settled();
}

#[test]
fn drift_and_change_of_one_resource_are_shown_apart() {
    let world = World::applied(ACME);
    world.mallory("psql", MINE);
    world.write("acme.yaml", &ACME.replace("  members:", "  description: New\n  members:"));
    let text = world.plan().ends(2).out;
    let (changes, drift) = text.split_once("drift, to be corrected").expect("a part about drift");
    assert!(changes.contains("description") && !changes.contains("Mine now"), "{text}");
    assert!(drift.contains("Mine now") && !drift.contains("description"), "{text}");
}

#[test]
fn a_field_that_is_no_longer_named_is_reset_if_nobody_else_has_changed_it() {
    let named = ACME.replace("  members:", "  description: Ours\n  members:");
    let world = World::applied(&named);
    world.write("acme.yaml", ACME);
    world.plan().ends(2).says("description: \"Ours\" -> null");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT description IS NULL FROM argus.organization"), "t");
    world.is_settled();

    let world = World::applied(&named);
    world.mallory("psql", "UPDATE argus.organization SET description = 'Theirs'");
    world.write("acme.yaml", ACME);
    world.plan().ends(0).says("`description` is no longer named and keeps \"Theirs\"");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT description FROM argus.organization"), "Theirs");
}

#[test]
fn null_and_an_empty_list_empty_and_silence_leaves_alone() {
    let world = World::applied(&ACME.replace("  members:", "  allowedEmailDomains: [acme.example]\n  members:"));
    world.mallory("psql", "UPDATE argus.organization SET description = 'Theirs', billing_email = 'a@b.example'");
    world.plan().ends(0);
    world.write("acme.yaml", &ACME.replace("  members:", "  allowedEmailDomains: []\n  description: null\n  members:"));
    world.apply().ends(0);
    assert_eq!(
        world.sql("SELECT allowed_email_domains, description, billing_email FROM argus.organization"),
        "{}||a@b.example"
    );
    world.is_settled();
}

#[test]
fn a_row_renamed_by_sql_names_who_renamed_it() {
    let world = World::applied(&format!("{ACME}  teams:\n    - {{name: platform, displayName: Platform}}\n"));
    world.mallory("tool", "UPDATE argus.team SET name = 'plat2' WHERE name = 'platform'");
    let told = world.argus(&["drift", "--detailed-exitcode"]).ends(2).says("mallory via tool");
    told.does_not_say("by tester");
}
