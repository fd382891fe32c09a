//! What is tried again and comes to the same leaves no run behind; what comes to something else does.

use super::{Desk, named};
use crate::cli::ACME;

const RUNS: &str = "SELECT count(*) FROM argus.run";

/// Tries all that waits once more, as the controller does after a while, and waits until it was.
fn again(desk: &Desk) {
    let before = desk.world.sql("SELECT clock_timestamp()");
    desk.world.sql(
        "UPDATE argus.work SET due = clock_timestamp() WHERE asked > answered; SELECT pg_notify('argus_work', '')",
    );
    let tried = "SELECT bool_and(tried_at > '{}' AND holder IS NULL) FROM argus.work WHERE asked > answered";
    desk.until(&tried.replace("{}", before.trim()), "t");
}

#[test]
fn what_is_tried_again_and_comes_to_the_same_leaves_no_run() {
    let desk = Desk::new();
    let more = "    - user: grace@acme.example\n      role: admin\n    - user: alan@acme.example\n      role: admin\n";
    desk.repository.write(
        "policies/names.rego",
        "package argus.names\nimport rego.v1\ndeny contains \"not this name\" if { some change in input.changes; change.after.displayName == \"Evil\" }\n",
    );
    desk.repository.write("globex.yaml", &named("globex"));
    desk.repository.write("initech.yaml", &named("initech"));
    desk.commit("acme.yaml", &format!("{ACME}{more}"));
    let _controller = desk.start();
    desk.until("SELECT count(*) FROM argus.organization", "3");
    // One is held, one denied, and one is wrong.
    desk.repository.write("globex.yaml", &named("globex").replace("displayName: globex", "displayName: Evil"));
    desk.repository.write("initech.yaml", &named("initech").replace("role: owner", "rolle: owner"));
    desk.commit("acme.yaml", ACME);
    desk.reconcile().ends(1);
    let states = || ["acme", "globex", "initech"].map(|name| desk.state(name)).join(" ");
    assert_eq!(states(), "Held Denied Blocked");
    again(&desk);
    let (runs, events) = (desk.world.sql(RUNS), desk.world.sql("SELECT count(*) FROM argus.event"));
    for _ in 0..3 {
        again(&desk);
    }
    assert_eq!(desk.world.sql(RUNS), runs, "{}", desk.argus(&["get", "runs"]).out);
    assert_eq!(desk.world.sql("SELECT count(*) FROM argus.event"), events);
    // A plan that is no longer kept is kept anew, in a run.
    desk.world.sql("DELETE FROM argus.held_plan");
    again(&desk);
    assert_eq!(desk.world.sql("SELECT count(*) FROM argus.held_plan").trim(), "1");
    let kept = desk.world.sql(RUNS);
    assert_ne!(kept, runs);
    again(&desk);
    assert_eq!(desk.world.sql(RUNS), kept);
    // So is one of which the rows have moved: it is another plan.
    desk.world.mallory("psql", "UPDATE argus.organization SET description = 'Mine' WHERE name = 'acme'");
    desk.until("SELECT count(*) FROM argus.run WHERE started_at > (SELECT max(at) FROM argus.audit)", "1");
    // Somebody who asks gets a run, as ever.
    let moved = desk.world.sql(RUNS);
    desk.argus(&["reconcile", "default", "-O", "globex", "--wait", "--timeout", "90s"]).ends(3);
    assert_ne!(desk.world.sql(RUNS), moved);
}
