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
    world.argus(&["apply", "saved.plan", "--auto-approve"]).ends(5).says("the settings of its source have changed");
    // Where there are no settings, those count that it was made under.
    world.remove("argus.yaml").argus(&["apply", "saved.plan", "--auto-approve"]).ends(4).says("ARG3202");
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

/// What a suspension of `acme` says on the command line.
fn suspend(world: &World, more: &[&str]) -> super::Ran {
    let arguments = ["suspend", "--reason", "an incident", "--for", "2h"];
    world.argus(&[&arguments[..], more].concat())
}

#[test]
fn a_suspended_organization_is_planned_and_left_alone_until_it_is_resumed() {
    let globex = ACME.replace("acme", "globex");
    let world = World::applied(&format!("{ACME}---\n{globex}"));
    suspend(&world, &["acme", "--owner", "Grace Hopper"]).ends(0).says("Suspended: `acme` until 20");
    let change = |text: &str| text.replace("displayName: Acme", "displayName: Changed");
    world.write("acme.yaml", &change(&format!("{ACME}---\n{globex}")));
    world.plan().ends(2).says("stopped[ARG3203] `acme` is suspended until 20").says("an incident").says("Grace Hopper");
    let before = world.sql("SELECT max(version) FROM argus.audit WHERE organization = 'acme'");
    world.apply().ends(4).says("warning[ARG3203]").says("in 1 organization.\n").says("Not applied: 1 organization");
    let names = "SELECT name, display_name FROM argus.organization ORDER BY 1";
    assert_eq!(world.sql(names), "acme|Acme\nglobex|Changed");
    // Neither force nor another source passes by.
    world.argus(&["apply", "--auto-approve", "--force"]).ends(4).says("ARG3203");
    assert_eq!(world.sql("SELECT max(version) FROM argus.audit WHERE organization = 'acme'"), before);
    assert_eq!(outcomes(&world), "succeeded partial stopped");
    // What others do meanwhile is reported before it goes on.
    world.mallory("psql", "INSERT INTO argus.member (organization, email) VALUES ('acme', 'eve@evil.example')");
    world.argus(&["drift", "--detailed-exitcode"]).ends(2).says("eve@evil.example");
    let ran = world.argus(&["resume", "acme", "--reason", "it is over"]).ends(0);
    let (drift, resumed) = (ran.out.find("Member/eve@evil.example"), ran.out.find("Resumed: `acme` (an incident)."));
    assert!(drift.is_some_and(|drift| resumed.is_some_and(|resumed| drift < resumed)), "{ran}");
    ran.says("last written by mallory");
    world.apply().ends(0);
    assert_eq!(world.sql(names), "acme|Changed\nglobex|Changed");
    world.argus(&["resume", "acme", "--no-report"]).ends(1).says("ARG2014").says("`acme` is not suspended");
    let kept = "SELECT organization, reason, owner, created_by, created_role, lifted_by, lifted_role, lift_reason
                FROM argus.suspension";
    assert_eq!(world.sql(kept), "acme|an incident|Grace Hopper|tester|argus|tester|argus|it is over");
}

#[test]
fn suspensions_overlap_and_all_of_them_count() {
    let world = World::with(&format!("{ACME}---\n{}", ACME.replace("acme", "globex")));
    world.write("argus.yaml", "source: main\n");
    suspend(&world, &["acme"]).ends(0).says("there is no organization `acme` yet");
    suspend(&world, &["acme", "--source", "main"]).ends(0).says("`acme` of the source `main`");
    suspend(&world, &["--all"]).ends(0).says("the source `main`");
    world.apply().ends(4);
    let listed = world.argus(&["get", "suspensions"]).ends(0);
    assert_eq!(listed.out.lines().count(), 4, "{listed}");
    let listed = world.argus(&["get", "suspensions", "-o", "json"]).ends(0).json();
    assert_eq!(listed["document"], "argus.suspensions");
    assert_eq!(listed["items"][0]["organization"], serde_json::Value::Null, "the source as a whole");
    assert_eq!(listed["items"][1]["source"], serde_json::Value::Null, "of any source");
    world
        .argus(&["resume", "--all", "--no-report"])
        .ends(0)
        .says("Resumed: the source `main`")
        .says("`acme` is suspended");
    world.apply().ends(4).says("in 1 organization.\n");
    assert_eq!(world.sql("SELECT name FROM argus.organization"), "globex");
    // Of one source only, and the other stays.
    world.argus(&["resume", "acme", "--source", "main", "--no-report"]).ends(0).says("ARG3203");
    world.apply().ends(4);
    world.argus(&["resume", "acme", "--no-report"]).ends(0).does_not_say("ARG3203");
    world.apply().ends(0);
    assert_eq!(world.sql("SELECT count(*) FROM argus.organization"), "2");
    assert_eq!(world.argus(&["get", "suspensions", "-o", "json"]).ends(0).json()["items"], serde_json::json!([]));
}

#[test]
fn a_suspension_of_another_source_or_one_that_is_over_stops_nothing() {
    let world = World::with(ACME);
    suspend(&world, &["acme", "--source", "other"]).ends(0);
    suspend(&world, &["--all", "--source", "other"]).ends(0);
    // As if three hours had passed.
    suspend(&world, &["acme"]).ends(0);
    suspend(&world, &["--all"]).ends(0);
    world.sql(
        "ALTER TABLE argus.suspension DISABLE TRIGGER guard;
         UPDATE argus.suspension SET created_at = created_at - interval '3 hours', ends_at = ends_at - interval '3 hours'
         WHERE source <> 'other';
         ALTER TABLE argus.suspension ENABLE TRIGGER guard",
    );
    world.plan().ends(2).does_not_say("ARG3203");
    world.apply().ends(0);
    world.argus(&["get", "suspensions", "-o", "name"]).ends(0).says("1\n").says("2\n").does_not_say("3");
    world.argus(&["resume", "acme", "--source", "default", "--no-report"]).ends(1).says("is not suspended");
}

#[test]
fn where_nothing_is_to_be_written_a_suspension_says_nothing() {
    let world = World::applied(ACME);
    suspend(&world, &["--all"]).ends(0);
    world.apply().ends(0).does_not_say("ARG3203");
    world.is_settled();
    world.write("acme.yaml", &format!("{ACME}  requireMfa: false\n"));
    let before = world.sql("SELECT spec FROM argus.applied ORDER BY 1");
    world.apply().ends(0).does_not_say("ARG3203");
    assert_eq!(world.sql("SELECT spec FROM argus.applied ORDER BY 1"), before, "bookkeeping waits as well");
}

#[test]
fn a_suspension_has_a_reason_an_owner_and_an_end_that_is_near() {
    let world = World::with(ACME);
    let refused = |arguments: &[&str], why: &str| {
        let ran = world.argus(&[&["suspend"], arguments].concat());
        assert!(matches!(ran.code, Some(1 | 2)), "{ran}");
        ran.says(why);
    };
    refused(&["acme", "--for", "2h"], "--reason");
    refused(&["acme", "--reason", "x"], "--for");
    refused(&["--reason", "x", "--for", "2h"], "ORG");
    refused(&["acme", "--reason", "x", "--for", "2h", "--until", "2030-01-01T00:00:00Z"], "cannot be used with");
    refused(&["acme", "--reason", " ", "--for", "2h"], "the reason says nothing");
    refused(&["acme", "--reason", "a\nb", "--for", "2h"], "more than a line");
    refused(&["acme", "--reason", &"x".repeat(501), "--for", "2h"], "500 is the most");
    refused(&["acme", "--reason", "x", "--owner", "", "--for", "2h"], "the owner says nothing");
    refused(&["acme", "--reason", "x", "--for", "91d"], "at most 90d");
    refused(&["acme", "--reason", "x", "--for", "59s"], "at least 1m");
    refused(&["acme", "--reason", "x", "--for", "soon"], "is no length of time");
    refused(&["acme", "--reason", "x", "--until", "2020-01-01T00:00:00Z"], "2020-01-01 00:00:00 UTC is not that");
    refused(&["acme", "--reason", "x", "--until", "2999-01-01T00:00:00Z"], "within 90 days");
    refused(&["acme", "--reason", "x", "--until", "2030-01-01"], "is no moment");
    refused(&["Acme!", "--reason", "x", "--for", "2h"], "names no organization");
    refused(&["acme", "elsewhere", "--all", "--reason", "x", "--for", "2h"], "one is named");
    assert_eq!(world.sql("SELECT count(*) FROM argus.suspension"), "0");
    let until = (chrono::Utc::now() + chrono::TimeDelta::days(89)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    world.argus(&["suspend", "acme", "--reason", "x", "--until", &until]).ends(0).says(&until);
    assert_eq!(world.sql("SELECT owner FROM argus.suspension"), "tester");
}

#[test]
fn the_source_of_all_is_that_of_the_manifests_wherever_they_are() {
    let world = World::new();
    world.write("one/argus.yaml", "source: one\n").write("two/argus.yaml", "source: two\n");
    suspend(&world, &["--all", "one"]).ends(0).says("the source `one`");
    let mut command = world.command(&["suspend", "--all", "one", "--reason", "x", "--for", "2h"]);
    command.env("ARGUS_SOURCE", "three");
    super::run(command).ends(0).says("the source `three`");
    world.write("one/acme.yaml", ACME);
    world.argus(&["resume", "--all", "two", "--no-report"]).ends(1).says("the source `two` is not suspended");
    world.argus(&["resume", "--all", "one"]).ends(0).says("No drift.").says("Resumed: the source `one`");
}

#[test]
fn nothing_is_resumed_where_what_has_drifted_cannot_be_told() {
    let world = World::applied(ACME);
    suspend(&world, &["acme"]).ends(0);
    std::fs::create_dir(world.path("empty")).expect("a folder");
    world.argus(&["resume", "acme", "empty"]).ends(1).says("what has drifted is not known");
    world.write("other/globex.yaml", &ACME.replace("acme", "globex"));
    world.argus(&["resume", "acme", "other"]).ends(1).says("these manifests do not describe `acme`");
    world.remove("other/globex.yaml").write("acme.yaml", &ACME.replace("displayName", "dispalyName"));
    world.argus(&["resume", "acme"]).ends(1).says("what has drifted is not known").does_not_say("No drift");
    suspend(&world, &["--all"]).ends(0);
    world.argus(&["resume", "--all", "empty"]).ends(1);
    assert_eq!(world.sql("SELECT count(*) FROM argus.suspension WHERE lifted_at IS NULL"), "2");
    world.argus(&["resume", "acme", "--no-report"]).ends(0);
    world.write("acme.yaml", ACME).argus(&["resume", "--all"]).ends(0).says("No drift.");
}
