//! Several replicas on one queue: whatever happens to one of them, the others go on, and nothing is written twice or by
//! somebody whose time is over.

use super::{Desk, Running, named};
use crate::cli::ACME;

/// How many organizations there are to fight for.
const ORGANIZATIONS: usize = 12;

/// How often something happens to a replica, unless somebody asks for more.
const ROUNDS: usize = 12;

fn many() -> Desk {
    let desk = Desk::new();
    for number in 1..ORGANIZATIONS {
        desk.repository.write(&format!("o{number}.yaml"), &named(&format!("o{number}")));
    }
    desk.commit("acme.yaml", ACME);
    desk.settings("interval: 6h\nconcurrency: 6");
    desk
}

/// Three replicas under a hail of kills and pauses longer than a lease, with commits coming in all the time. Every version of
/// every organization was applied once, by one run; and in the end all is as the last commit says.
#[test]
fn killed_and_paused_replicas_apply_nothing_twice() {
    let rounds = std::env::var("ARGUS_CHAOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let desk = many();
    let start = |number: usize| {
        desk.start_with(|command| {
            command.env("XDG_CACHE_HOME", desk.world.path(&format!("cache{number}")));
        })
    };
    let mut replicas: Vec<Running> = (0..3).map(start).collect();
    desk.until("SELECT count(*) FROM argus.organization", &ORGANIZATIONS.to_string());
    for round in 0..rounds {
        for number in 1..ORGANIZATIONS {
            let name = format!("o{number}");
            let text = named(&name).replace(&format!("displayName: {name}"), &format!("displayName: Round {round}"));
            desk.repository.write(&format!("{name}.yaml"), &text);
        }
        desk.repository.commit(&format!("round {round}"));
        desk.argus(&["reconcile", "default"]).ends(0);
        // Somewhere in the middle of it; which place that is differs from round to round.
        std::thread::sleep(std::time::Duration::from_millis(20 + (round as u64 * 137) % 400));
        let victim = round % 3;
        match round % 4 {
            // Paused for so long that its lease passes: what it was about to do must not happen any more.
            3 => {
                replicas[victim].signal("-STOP");
                desk.world.sql("SELECT pg_sleep(0.3)");
                desk.world.sql(&format!(
                    "UPDATE argus.replica SET valid_until = clock_timestamp() WHERE name LIKE '%/{}/%'",
                    replicas[victim].0.id()
                ));
                desk.world.sql("SELECT pg_notify('argus_work', '')");
                std::thread::sleep(std::time::Duration::from_millis(700));
                replicas[victim].signal("-CONT");
            }
            _ => {
                replicas[victim].signal("-KILL");
                let _ = replicas[victim].0.wait();
                // The others need not wait for the time of the dead.
                desk.world.sql(&format!(
                    "UPDATE argus.replica SET valid_until = clock_timestamp() WHERE name LIKE '%/{}/%'",
                    replicas[victim].0.id()
                ));
                replicas[victim] = start(victim);
            }
        }
    }
    let last = format!("Round {}", rounds - 1);
    desk.until(
        &format!("SELECT count(*) FROM argus.organization WHERE display_name = '{last}'"),
        &(ORGANIZATIONS - 1).to_string(),
    );
    desk.reconcile().ends(0);
    // One run wrote each version, and none wrote a version that says what the one before it said.
    let twice = "SELECT count(*) FROM (SELECT organization, version FROM argus.run_organization
                 WHERE outcome = 'applied' AND version IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
                 AND count(DISTINCT said) > 1) twice";
    assert_eq!(desk.world.sql(twice).trim(), "0", "{}", desk.log());
    let idle_writes =
        "SELECT count(*) FROM argus.audit a WHERE a.action = 'update' AND a.before - 'version' = a.after - 'version'";
    assert_eq!(desk.world.sql(idle_writes).trim(), "0");
    let back = "SELECT count(*) FROM (SELECT organization, version,
                    (after ->> 'display_name') AS now, lag(after ->> 'display_name') OVER w AS earlier
                FROM argus.audit WHERE kind = 'Organization' WINDOW w AS (PARTITION BY organization ORDER BY version)) o
                WHERE now LIKE 'Round %' AND earlier LIKE 'Round %'
                  AND substr(now, 7)::int <= substr(earlier, 7)::int";
    assert_eq!(desk.world.sql(back).trim(), "0", "something was written twice or taken back\n{}", desk.log());
}

/// Where a replica may die: from the first look to the last note of what came of it.
const POINTS: &[(&str, &str)] = &[
    ("controller.after_take", "default"),
    ("controller.before_looked", "default"),
    ("controller.after_looked", "default"),
    ("controller.after_claim", "default"),
    ("apply.after_begin", "o5"),
    ("apply.before_commit", "o5"),
    ("apply.after_commit", "o5"),
    ("controller.before_settle", "default"),
    ("controller.after_settle", "default"),
];

/// What a replica dies over in the middle is done by another one, once.
#[test]
fn dying_at_any_step_loses_nothing() {
    for (point, of) in POINTS {
        let desk = many();
        let mut dying = desk.start_with(|command| {
            command.env("ARGUS_FAILPOINT", point).env("ARGUS_FAILPOINT_ORG", of);
        });
        let ended = dying.0.wait().expect("it dies");
        assert!(!ended.success(), "{point}: {ended}");
        desk.world.sql("UPDATE argus.replica SET valid_until = clock_timestamp()");
        desk.once().ends(0);
        assert_eq!(
            desk.world.sql("SELECT count(*) FROM argus.organization").trim(),
            ORGANIZATIONS.to_string(),
            "{point}"
        );
        assert_eq!(desk.world.sql("SELECT count(*) FROM argus.clock WHERE version > 1").trim(), "0", "{point}");
        desk.once().ends(0).says("Stopped after 0 turns.");
    }
}
