//! The brakes end to end: sources that only observe, windows, suspensions.

use super::{ACME, World};

/// A window that keeps everything shut at every moment.
const SHUT: &str = "{kind: deny, schedule: \"* * * * *\", duration: 1h}";

/// A second in a leap year.
const HARDLY_EVER: &str = "{kind: allow, schedule: \"0 0 29 2 *\", duration: 1s, timeZone: Europe/Berlin}";

fn written(world: &World) -> String {
    world.sql(
        "SELECT (SELECT count(*) FROM argus.organization) || ' ' || (SELECT count(*) FROM argus.audit) || ' '
                || (SELECT count(*) FROM argus.applied) || ' ' || (SELECT count(*) FROM argus.pass)",
    )
}

fn outcomes(world: &World) -> String {
    world.sql("SELECT string_agg(outcome, ' ' ORDER BY started_at) FROM argus.run")
}

#[test]
fn a_source_that_observes_reports_and_writes_nothing() {
    let world = World::with(ACME);
    world.write("globex.yaml", &ACME.replace("acme", "globex"));
    world.write("argus.yaml", "mode: observe\n");
    world.plan().ends(2).says("stopped[ARG3201]").says("Stopped: 2 organizations");
    let ran = world.argus(&["apply"]).ends(0).says("note[ARG3201]: the source only observes: nothing is written");
    let told = ran.err.matches("ARG3201").count();
    assert_eq!(told, 1, "once for all organizations: {ran}");
    ran.says("Not applied: 2 organizations");
    world.argus(&["apply", "--auto-approve", "--force"]).ends(0).says("ARG3201");
    assert_eq!(written(&world), "0 0 0 0");
    assert_eq!(outcomes(&world), "observed observed");
    // A plan that was saved knows where it comes from.
    world.argus(&["plan", "-o", "saved.plan"]).ends(0);
    std::fs::create_dir(world.path("elsewhere")).expect("a folder");
    std::fs::rename(world.path("saved.plan"), world.path("elsewhere/saved.plan")).expect("it can be moved");
    world.argus(&["apply", "elsewhere/saved.plan", "--auto-approve"]).ends(0).says("ARG3201");
    assert_eq!(written(&world), "0 0 0 0");
    // Drift is reported as what is left.
    world.write("argus.yaml", "mode: enforce\n").apply().ends(0);
    let settled = written(&world);
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine' WHERE name = 'acme'");
    world.write("argus.yaml", "mode: observe\n");
    world.plan().ends(0).says("drift, left as it is").says("mallory").does_not_say("ARG3201");
    world.apply().ends(0).does_not_say("ARG3201");
    assert_eq!(world.sql("SELECT display_name FROM argus.organization ORDER BY name"), "Mine\nAcme");
    assert_ne!(written(&world), settled, "what mallory wrote is in the audit");
}

#[test]
fn a_closed_window_stops_what_would_be_written_until_it_opens_or_somebody_insists() {
    for window in [SHUT, HARDLY_EVER] {
        let world = World::with(ACME);
        world.write("argus.yaml", &format!("windows:\n  - {window}\n"));
        world.plan().ends(2).says("stopped[ARG3202]").says("Stopped: 1 organization");
        world.apply().ends(4).says("warning[ARG3202]").says("Not applied: 1 organization");
        assert_eq!((written(&world).as_str(), outcomes(&world).as_str()), ("0 0 0 0", "stopped"));
        world.argus(&["apply", "--auto-approve", "--force"]).ends(0).does_not_say("ARG3202");
        assert_eq!(world.sql("SELECT outcome, forced FROM argus.run WHERE outcome = 'succeeded'"), "succeeded|t");
        // With nothing left to write it has nothing to say.
        world.apply().ends(0).does_not_say("ARG3202");
        world.is_settled();
        // Only bookkeeping is left: the manifest says what is there already.
        world.write("acme.yaml", &format!("{ACME}  requireMfa: false\n"));
        let before = world.sql("SELECT spec FROM argus.applied ORDER BY 1");
        world.apply().ends(0).does_not_say("ARG3202");
        assert_eq!(world.sql("SELECT spec FROM argus.applied ORDER BY 1"), before, "bookkeeping waits as well");
        world.write("argus.yaml", "windows:\n  - {kind: allow, schedule: \"* * * * *\", duration: 1h}\n");
        world.apply().ends(0);
        assert_ne!(world.sql("SELECT spec FROM argus.applied ORDER BY 1"), before);
    }
}

#[test]
fn a_window_of_a_saved_plan_goes_with_it() {
    let world = World::with(ACME);
    world.write("argus.yaml", &format!("windows: [{SHUT}]\n"));
    world.argus(&["plan", "-o", "saved.plan"]).ends(0).says("ARG3202");
    world.write("argus.yaml", "");
    world.argus(&["show", "saved.plan"]).ends(0).says("ARG3202");
    world.argus(&["apply", "saved.plan", "--auto-approve"]).ends(4).says("ARG3202");
    assert_eq!(written(&world), "0 0 0 0");
    let text = std::fs::read_to_string(world.path("saved.plan")).expect("the plan");
    world.write("opened.plan", &text.replace("\"deny\"", "\"allow\""));
    world.argus(&["apply", "opened.plan", "--auto-approve"]).ends(1).says("changed or damaged");
}

#[test]
fn a_window_that_cannot_be_is_told_with_its_place_by_every_command() {
    let world = World::with(ACME);
    world.write("argus.yaml", "source: acme\nwindows:\n  - kind: deny\n    schedule: \"0 8 * * *\"\n    duration: 8h\n    timeZone: Europe/Berln\n");
    for command in ["validate", "plan", "apply", "drift"] {
        world.argus(&[command]).ends(1).says("ARG5005").says("argus.yaml:6:").says("did you mean `Europe/Berlin`?");
    }
}
