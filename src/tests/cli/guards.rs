//! The guards end to end: what would take too much away is held until a person says so.

use super::{ACME, World};

/// An organization with an owner and this many members beside her.
fn staff(owners: &[&str], members: usize) -> String {
    let mut text =
        "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {name: acme}\nspec:\n  members:\n".to_owned();
    for owner in owners {
        text.push_str(&format!("    - {{user: {owner}@acme.example, role: owner}}\n"));
    }
    for number in 0..members {
        text.push_str(&format!("    - {{user: m{number}@acme.example, role: member}}\n"));
    }
    text
}

fn members(world: &World) -> String {
    world.sql("SELECT count(*) FROM argus.member")
}

#[test]
fn a_quarter_of_the_members_may_leave_and_not_more() {
    let world = World::applied(&staff(&["ada"], 99));
    // 26 of 100 people.
    world.write("acme.yaml", &staff(&["ada"], 73));
    world
        .plan()
        .ends(2)
        .says("held[ARG3001] 26 of 100 members lose their access: 26 %")
        .says("Held: 1 organization, see above.");
    world.argus(&["plan", "--format", "json"]).ends(0).says("ARG3001");
    world.argus(&["plan", "--format", "markdown"]).ends(0).says("Held until somebody approves").says("ARG3001");
    world.apply().ends(4).says("ARG3001").says("guards.members");
    assert_eq!(members(&world), "100");
    assert_eq!(
        world.sql(
            "SELECT o.outcome FROM argus.run_organization o JOIN argus.run r ON r.id = o.run ORDER BY r.started_at"
        ),
        "applied\nheld"
    );
    // 25 of 100.
    world.write("acme.yaml", &staff(&["ada"], 74));
    world.apply().ends(0);
    assert_eq!(members(&world), "75");
    world.is_settled();
}

#[test]
fn suspending_people_counts_as_taking_them_away() {
    let text = staff(&["ada"], 9);
    let world = World::applied(&text);
    world.write("acme.yaml", &text.replace("role: member}", "role: member, status: suspended}"));
    world.apply().ends(4).says("ARG3001").says("9 of 10");
    assert_eq!(world.sql("SELECT count(*) FROM argus.member WHERE status = 'suspended'"), "0");
}

#[test]
fn a_guard_gives_way_to_force_and_the_run_says_so() {
    let world = World::applied(&staff(&["ada"], 9));
    world.write("acme.yaml", &staff(&["ada"], 1));
    world.apply().ends(4);
    world.argus(&["apply", "--auto-approve", "--force"]).ends(0);
    assert_eq!(members(&world), "2");
    assert_eq!(world.sql("SELECT forced FROM argus.run ORDER BY started_at"), "f\nf\nt");
    world.argus(&["get", "runs"]).ends(0).says("true");
}

#[test]
fn the_last_owner_does_not_leave() {
    // Without an owner a manifest is wrong in itself.
    let world = World::applied(&staff(&["ada"], 3));
    world.write("acme.yaml", &staff(&[], 4));
    world.apply().ends(1).says("ARG1111");
    assert_eq!(members(&world), "4");
    // Where members are declared apart, the one who leaves is seen by the guard.
    let member = |name: &str, role: &str| {
        format!(
            "apiVersion: argus.io/v1alpha1\nkind: Member\nmetadata: {{name: {name}}}\nspec: {{organization: acme, user: \
             {name}@acme.example, role: {role}}}\n"
        )
    };
    let organization = "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {name: acme}\n";
    let world = World::with(organization);
    world.write("ada.yaml", &member("ada", "owner"));
    world.apply().ends(0);
    world.remove("ada.yaml");
    world.apply().ends(4).says("ARG3007").says("ARG3008");
    assert_eq!(members(&world), "1");
}

#[test]
fn the_settings_of_a_source_move_its_guards() {
    let world = World::applied(&staff(&["ada", "grace"], 9));
    world.write("argus.yaml", "guards: {owners: 2}\n").write("acme.yaml", &staff(&["ada"], 9));
    world.apply().ends(4).says("ARG3007").says("1 of 2 owners would stay, and at least 2 must");
    world.write("argus.yaml", "guards: {members: {percent: 50}}\n").write("acme.yaml", &staff(&["ada", "grace"], 5));
    world.apply().ends(4).says("ARG3004").does_not_say("ARG3001");
    world.write("argus.yaml", "guards: {members: {percent: 50}, roleGrants: {percent: 50}}\n");
    world.apply().ends(0);
    world.write("argus.yaml", "guards: {members: {number: 0}}\n").write("acme.yaml", &staff(&["ada", "grace"], 4));
    world.apply().ends(4).says("ARG3001").says("1 of 7");
}

#[test]
fn a_source_cannot_set_what_only_the_machine_may() {
    let world = World::applied(&staff(&["ada"], 1));
    for setting in ["databaseUrl: postgres://elsewhere/x", "force: true", "sinks: {}", "signers: []", "credentials: {}"]
    {
        world.write("argus.yaml", &format!("mode: apply\n{setting}\n"));
        for command in ["plan", "apply", "drift", "validate"] {
            world.argus(&[command]).ends(1).says("ARG5006").says("argus.yaml:2").does_not_say("elsewhere");
        }
    }
    world.write("argus.yaml", "gaurds: {}\n");
    world.plan().ends(1).says("ARG5005").says("argus.yaml:1");
}

#[test]
fn memberships_that_end_at_once_are_as_lost_as_deleted_ones() {
    let admins = |more: &str| {
        let one = |number: usize| format!("    - {{user: a{number}@acme.example, role: admin{more}}}\n");
        format!("{ACME}{}", (0..20).map(one).collect::<String>())
    };
    let world = World::applied(&admins(""));
    world.write("acme.yaml", &admins(", expiresAt: \"2001-01-01T00:00:00Z\""));
    world.apply().ends(4).says("ARG3001").says("ARG3003");
}
