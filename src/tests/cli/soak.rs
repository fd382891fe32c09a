//! Kills all over the path of a change: whatever dies wherever, every row that changed has its audit row, the chain
//! verifies, and the broker has every event, in order per organization. A few are killed with the tests, a thousand by
//! `make soak`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{World, run};
use crate::support::kafka::{PARTITIONS, shared};

/// How many are killed when the tests run.
const KILLS: usize = 20;

/// How many rounds there may be for each of them: not every point is come by in every round.
const ROUNDS_PER_KILL: usize = 10;

/// Whose sessions have not been ended yet.
const SESSIONS: &str = "
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'argus'";

/// The organizations that are changed.
const ORGANIZATIONS: &[&str] = &["acme", "globex", "initech", "umbrella"];

/// What applying writes here.
const WRITTEN: &[(&str, &str)] =
    &[("after_update", "Organization"), ("after_create", "Team"), ("after_delete", "Team")];

/// Where something can die beside applying, which tells its points itself.
const ELSEWHERE: &[&str] = &[
    "seal.after_lock",
    "seal.after_read",
    "seal.after_hash",
    "seal.after_write",
    "seal.before_commit",
    "seal.after_commit",
    "relay.after_hold",
    "relay.after_claim",
    "relay.after_delivery",
    "relay.after_confirm",
    "relay.after_question",
];

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }
}

fn manifest(name: &str, dice: &mut Dice) -> String {
    let teams: Vec<String> = (0..6).filter(|_| dice.below(2) == 0).map(|n| format!("{{name: t{n}}}")).collect();
    format!(
        "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {{name: {name}}}\nspec:\n  displayName: N{}\n  \
         teams: [{}]\n  members: [{{user: ada@acme.example, role: owner}}]\n",
        dice.below(1_000_000),
        teams.join(", ")
    )
}

/// Rows whose last audit row says something else, and runs that changed something and told nothing.
const UNTOLD: &str = "
    SELECT count(*) FROM (
        SELECT organization, name, 'team' AS relation, to_jsonb(t) - 'version' AS content FROM argus.team t
        UNION ALL SELECT name, name, 'organization', to_jsonb(o) - 'version' FROM argus.organization o) live
    WHERE live.content IS DISTINCT FROM (
        SELECT a.after FROM argus.audit a
        WHERE a.organization = live.organization AND a.relation = live.relation AND a.name = live.name
        ORDER BY a.version DESC, a.ordinal DESC LIMIT 1)
    UNION ALL
    SELECT count(*) FROM (SELECT DISTINCT run, organization FROM argus.audit WHERE run IS NOT NULL) a
    WHERE NOT EXISTS (SELECT FROM argus.event e WHERE e.run = a.run AND e.organization = a.organization)
    UNION ALL
    SELECT count(*) FROM (SELECT organization, count(*) AS many, max(position) AS last FROM argus.event GROUP BY 1) e
    WHERE many <> last";

#[test]
#[allow(clippy::print_stdout, reason = "how many came twice is told to whoever soaks")]
fn whatever_is_killed_nothing_is_lost_and_nothing_comes_out_of_order() {
    let kills = std::env::var("ARGUS_SOAK").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let (world, broker, mut dice) = (World::new(), shared(), Dice(7));
    let topics = broker.topics(PARTITIONS);
    let named: Vec<String> =
        argus::event::Topic::ALL.iter().map(|topic| format!("{topic}: {topics}.{topic}")).collect();
    let settings = format!(
        "sinks: [{{name: broker, kafka: {{brokers: ['{}'], topics: {{{}}}}}}}]\n",
        broker.address(),
        named.join(", ")
    );
    let machine = world.path(".machine.yaml");
    std::fs::write(&machine, settings).expect("the settings");
    let machine = machine.display().to_string();
    world.sql("INSERT INTO argus.sink (name) VALUES ('broker')");
    world.write("argus.yaml", "guards: {teamMembers: {percent: 100}, roleGrants: {percent: 100}}\n");
    let applying = argus::store::apply::failpoints();
    let come_by = |point: &str| match point.splitn(3, '.').collect::<Vec<_>>()[..] {
        [_, step, kind] => WRITTEN.contains(&(step, kind)),
        _ => true,
    };
    let points: Vec<&str> =
        applying.iter().map(String::as_str).filter(|point| come_by(point)).chain(ELSEWHERE.iter().copied()).collect();
    let (mut died, mut died_at, mut rounds) = (0, BTreeSet::new(), 0);
    while died < kills {
        assert!(rounds < kills * ROUNDS_PER_KILL, "{died} were killed in {rounds} rounds");
        // One point after the other, so that none is left out.
        let point = points[rounds % points.len()];
        for name in ORGANIZATIONS {
            if dice.below(2) == 0 {
                world.write(&format!("{name}.yaml"), &manifest(name, &mut dice));
            }
        }
        for (name, arguments) in [
            ("apply", vec!["apply", "--auto-approve"]),
            ("seal", vec!["audit", "seal"]),
            ("relay", vec!["relay", "--once", "--workers", "1", "--config", &machine]),
        ] {
            let mut command = world.command(&arguments);
            let at_a_point = point.split('.').next() == Some(name);
            if at_a_point {
                command.env("ARGUS_FAILPOINT", point);
            }
            let mut child =
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
            if !at_a_point && dice.below(3) == 0 {
                std::thread::sleep(Duration::from_millis(dice.below(400) as u64));
                // As a power cut would.
                let _ = child.kill();
            }
            if child.wait().expect("it ends").code().is_none() {
                died += 1;
                died_at.extend(at_a_point.then_some(point));
            }
        }
        // The server ends what the dead had begun once it notices that they are gone.
        let start = Instant::now();
        while world.sql(SESSIONS) != "0" {
            assert!(start.elapsed() < Duration::from_secs(60), "sessions of the dead are still there");
            std::thread::sleep(Duration::from_millis(5));
        }
        // What the dead held is free when its lease has passed; here nobody waits for that.
        world.sql("UPDATE argus.shard SET until = '-infinity'; DELETE FROM argus.relay");
        assert_eq!(world.sql(UNTOLD), "0\n0\n0", "round {rounds}, {point}");
        world.argus(&["audit", "verify"]).ends(0);
        rounds += 1;
    }
    assert!(!died_at.is_empty(), "nothing died at a point");
    world.apply().ends(0);
    world.argus(&["audit", "seal"]).ends(0);
    run(world.command(&["relay", "--once", "--config", &machine])).ends(0);
    assert_eq!(world.sql("SELECT count(*) FROM argus.delivery"), "0");
    let (mut seen, mut messages) = (HashSet::new(), 0);
    for topic in argus::event::Topic::ALL {
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        for message in broker.read(&format!("{topics}.{topic}")) {
            messages += 1;
            if seen.insert(message.id()) {
                let document = message.json();
                let position = document["sequence"].as_str().and_then(|text| text.parse().ok()).expect("a number");
                let before = last.insert(message.key.clone(), position);
                assert!(before < Some(position), "{} comes after {before:?}: {document}", message.key);
            }
        }
    }
    let all: HashSet<String> = world.sql("SELECT id FROM argus.event").lines().map(str::to_owned).collect();
    assert_eq!(seen, all, "every event is there, and nothing else");
    println!(
        "{rounds} rounds, {died} killed, at {} of {} points and at random moments, {} events, {} of them twice on the wire",
        died_at.len(),
        points.len(),
        all.len(),
        messages - all.len()
    );
}
