//! Changes of tiers: the policies are asked about every organization that has them, and what a tier would break denies
//! the change of the tier, whatever else happens to that organization.

use super::{Ran, World};

/// No more members than the tier allows, nobody called Mallory, and somebody has to look at Grace.
const POLICY: &str = r#"
package argus.seats

deny_seats contains msg if {
	allowed := input.tiers[input.after.organization.tier].limits.members
	count(input.after.members) > allowed
	msg := sprintf("%d members, and %d are allowed", [count(input.after.members), allowed])
}

deny_mallory contains "not Mallory" if {
	some change in input.changes
	contains(change.name, "mallory")
}

hold_grace contains "is it the right Grace?" if {
	some change in input.changes
	contains(change.name, "grace")
}
"#;

fn tier(name: &str, members: u32) -> String {
    format!("apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata: {name}\nspec: {{limits: {{members: {members}}}}}\n")
}

fn organization(metadata: &str, tier: &str, members: &[&str]) -> String {
    let members = members.iter().map(|name| format!("    - {{user: {name}@acme.example, role: member}}\n"));
    format!(
        "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {metadata}\nspec:\n  tier: {tier}\n  members:\n    \
         - {{user: ada@acme.example, role: owner}}\n{}",
        members.collect::<String>()
    )
}

const ACME: &str = "{name: acme}";
const TEAM: &str = "{name: team}";
const CREW: &str = "{name: crew, annotations: {argus.io/previous-name: team}}";

/// An organization with three members, of five that its tier allows.
fn world() -> World {
    let world = World::with(&organization(ACME, "team", &["bob", "carol"]));
    world.write("policies/seats.rego", POLICY.trim_start()).write("tiers.yaml", &tier(TEAM, 5)).apply().ends(0);
    world
}

/// What is in the database: how many members the tier allows, and how many there are.
fn seats(world: &World) -> String {
    world.sql("SELECT (SELECT limits_members FROM argus.tier), (SELECT count(*) FROM argus.member)")
}

/// Applies, and expects that nothing of what all share came through.
#[track_caller]
fn tier_is_denied(world: &World) -> Ran {
    let plan = world.plan_json();
    let denied = plan["verdict"]["denied"][""].to_string();
    assert!(denied.contains("3 members, and 2 are allowed"), "{plan:#}");
    let ran = world.apply();
    assert_eq!(seats(world), "5|3", "{ran}");
    ran
}

#[test]
fn a_tier_that_shrinks_below_what_an_organization_has_is_denied() {
    let world = world();
    world.write("tiers.yaml", &tier(TEAM, 3)).apply().ends(0);
    assert_eq!(seats(&world), "3|3");
    world.write("tiers.yaml", &tier(TEAM, 5)).apply().ends(0);
    world.write("tiers.yaml", &tier(TEAM, 2));
    tier_is_denied(&world).ends(3);
}

#[test]
fn a_denied_change_of_the_organization_does_not_spare_the_tier() {
    let world = world();
    world.write("tiers.yaml", &tier(TEAM, 2));
    // It changes and stays beyond.
    world.write("acme.yaml", &organization(ACME, "team", &["bob", "dave"]));
    tier_is_denied(&world).ends(3);
    // It would fit, and is denied for another reason.
    world.write("acme.yaml", &organization(ACME, "team", &["mallory"]));
    tier_is_denied(&world).ends(3);
    // It would fit, if somebody approved it.
    world.write("acme.yaml", &organization(ACME, "team", &["grace"]));
    tier_is_denied(&world).ends(3);
    // It would leave the tier, and gets a new name.
    world.write(
        "acme.yaml",
        &organization("{name: apex, annotations: {argus.io/previous-name: acme}}", "team", &["mallory"]),
    );
    tier_is_denied(&world).ends(3);
    // It cannot be understood.
    world.write("acme.yaml", &organization(ACME, "team", &["bob"]).replace("role: owner", "role: ower"));
    tier_is_denied(&world);
}

#[test]
fn an_organization_that_makes_room_in_the_same_run_lets_its_tier_shrink() {
    let world = world();
    world.write("tiers.yaml", &tier(TEAM, 2)).write("acme.yaml", &organization(ACME, "team", &["bob"]));
    world.apply().ends(0);
    assert_eq!(seats(&world), "2|2");
    world.is_settled();
}

#[test]
fn a_denial_that_is_not_of_the_tier_denies_the_organization_alone() {
    let world = world();
    world.write("tiers.yaml", &tier(TEAM, 4));
    world.write("acme.yaml", &organization(ACME, "team", &["bob", "carol", "mallory"]));
    world.apply().ends(3).says("not Mallory");
    assert_eq!(seats(&world), "4|3");
    // Nor does a tier pay for an organization that wants more than it ever had.
    world.write("tiers.yaml", &tier(TEAM, 3));
    world.write("acme.yaml", &organization(ACME, "team", &["bob", "carol", "dave"]));
    world.apply().ends(3).says("4 members, and 3 are allowed");
    assert_eq!(seats(&world), "3|3");
}

#[test]
fn a_new_name_does_not_hide_that_a_tier_shrinks() {
    let world = world();
    world.write("tiers.yaml", &tier(CREW, 2));
    world.write("acme.yaml", &organization(ACME, "crew", &["bob", "carol"]));
    tier_is_denied(&world).ends(3);
    world.write("tiers.yaml", &tier(CREW, 3)).apply();
    assert_eq!(seats(&world), "3|3");
}
