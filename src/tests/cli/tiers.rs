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

fn catalogue(word: &str) -> String {
    format!(
        "package argus.catalogue\n\n{word} contains \"a tier changes\" if {{\n\tsome change in input.changes\n\t\
         change.kind == \"Tier\"\n\tchange.action == \"update\"\n}}\n"
    )
}

#[test]
fn an_organization_does_not_pass_on_the_strength_of_a_tier_that_does_not() {
    let members =
        |world: &World, of: &str| world.sql(&format!("SELECT count(*) FROM argus.member WHERE organization = '{of}'"));
    for (word, code) in [("hold", 4), ("deny", 3)] {
        let world = world();
        let tiers = |seats: u32| format!("{}---\n{}", tier(TEAM, seats), tier("{name: other}", 9));
        world.write("apex.yaml", &organization("{name: apex}", "other", &["bob"]));
        world.write("tiers.yaml", &tiers(5)).apply().ends(0);
        world.write("policies/catalogue.rego", &catalogue(word)).write("tiers.yaml", &tiers(9));
        world.write("acme.yaml", &organization(ACME, "team", &["bob", "carol", "dave", "edsger", "frances"]));
        // One that has another tier goes on.
        world.write("apex.yaml", &organization("{name: apex}", "other", &["bob", "carol"]));
        let ran = world.apply().ends(code).says("error[ARG3207]");
        assert_eq!((members(&world, "acme"), members(&world, "apex")), ("3".into(), "3".into()), "{ran}");
        // One that comes to the tier waits as well.
        world.write("acme.yaml", &organization(ACME, "team", &["bob", "carol"]));
        world.write("apex.yaml", &organization("{name: apex}", "team", &["bob", "carol", "dave"]));
        world.apply().ends(code).says("error[ARG3207]");
        assert_eq!(members(&world, "apex"), "3");
    }
}

#[test]
fn a_tier_that_has_moved_since_the_plan_holds_back_who_was_judged_by_it() {
    let world = world();
    world.write("tiers.yaml", &tier(TEAM, 9));
    world.write("acme.yaml", &organization(ACME, "team", &["bob", "carol", "dave", "edsger", "frances"]));
    world.argus(&["plan", ".", "-o", "next.plan"]).ends(0);
    world.sql("UPDATE argus.tier SET limits_members = 4");
    world.argus(&["apply", "next.plan", "--auto-approve"]).says("ARG4001").says("ARG3207");
    assert_eq!(seats(&world), "4|3");
}

#[test]
fn a_tier_waits_for_the_organization_that_was_to_make_room_for_it() {
    let world = world();
    world.write("tiers.yaml", &tier(TEAM, 2)).write("acme.yaml", &organization(ACME, "team", &["bob"]));
    let until = ["suspend", "acme", "--reason", "an incident", "--for", "2h", "--owner", "ops@acme.example"];
    world.argus(&until).ends(0);
    world.apply().ends(4).says("`acme` was judged with changes of its own, and these are not carried out");
    assert_eq!(seats(&world), "5|3");
    world.argus(&["resume", "acme", "--no-report"]).ends(0);
    world.apply().ends(0);
    assert_eq!(seats(&world), "2|2");
}

#[test]
fn organizations_of_other_sources_follow_a_tier_that_gets_another_name() {
    let world = World::new();
    let unnamed = organization(ACME, "team", &["bob", "carol"]);
    world.write("theirs/argus.yaml", "source: theirs\npolicies: none\n").write("theirs/acme.yaml", &unnamed);
    world.write("argus.yaml", "source: ours\npaths: [tiers.yaml]\n").write("policies/seats.rego", POLICY.trim_start());
    world.write("tiers.yaml", &tier(TEAM, 5)).apply().ends(0);
    world.argus(&["apply", "theirs", "--auto-approve"]).ends(0);
    assert_eq!(seats(&world), "5|3");
    world.write("tiers.yaml", &tier(CREW, 2));
    tier_is_denied(&world).ends(3).says("in `acme`: 3 members, and 2 are allowed");
}

#[test]
fn an_organization_that_does_not_name_its_tier_is_judged_by_the_new_name_of_it() {
    let nameless = |members: &[&str]| organization(ACME, "team", members).replace("  tier: team\n", "");
    let world = World::with(&nameless(&["bob", "carol"]));
    world.write("policies/seats.rego", POLICY.trim_start()).write("tiers.yaml", &tier(TEAM, 3)).apply().ends(0);
    world.sql("UPDATE argus.organization SET tier = 'team'");
    world.write("tiers.yaml", &tier(CREW, 3)).write("acme.yaml", &nameless(&["bob", "carol", "dave"]));
    world.apply().ends(3).says("4 members, and 3 are allowed");
    assert_eq!(seats(&world), "3|3");
}

#[test]
fn of_many_organizations_that_hold_a_tier_no_need_and_no_warning_is_lost() {
    let world = World::new();
    let mut all = String::new();
    for number in 1..=25 {
        all.push_str(&format!("---\n{}", organization(&format!("{{name: o{number:02}}}"), "team", &[])));
    }
    let policy = "package argus.look\n\nhold_any contains \"somebody looks\" if count(input.tiersBefore) > 0\n\n\
                  # METADATA\n# custom:\n#   approvals: {quorum: 2, groups: [finance]}\n\
                  hold_bank contains \"a bank\" if {\n\tcount(input.tiersBefore) > 0\n\tinput.organization == \"o25\"\n}\n\n\
                  warn_one contains \"look at this one\" if {\n\tcount(input.tiersBefore) > 0\n\t\
                  input.organization == \"o07\"\n}\n\n\
                  deny_one contains \"never\" if {\n\tcount(input.tiersBefore) > 0\n\tinput.organization == \"o08\"\n}\n\n\
                  exception contains [\"one\"] if input.organization == \"o08\"\n";
    world.write("all.yaml", &all).write("tiers.yaml", &tier(TEAM, 5)).apply().ends(0);
    world.write("policies/look.rego", policy).write("tiers.yaml", &tier(TEAM, 6));
    let verdict = world.plan_json()["verdict"].clone();
    let held = verdict["held"][""].as_array().expect("holds").clone();
    assert!((21..=23).contains(&held.len()), "{verdict:#}");
    let finance = serde_json::json!({ "quorum": 2, "groups": ["finance"] });
    assert!(held.iter().any(|held| held["need"] == finance), "{verdict:#}");
    let warned = verdict["warned"][""].to_string();
    assert!(warned.contains("in `o07`: look at this one"), "{verdict:#}");
    assert!(warned.contains("in `o08`: an exception excuses: never"), "{verdict:#}");
}
