//! Several replicas on one queue: whatever happens to one of them, the others go on, and nothing is written twice or by
//! somebody whose time is over. Leases pass by themselves here, and who is paused is really paused.

use std::time::{Duration, Instant};

use super::{Desk, Running, named};
use crate::cli::ACME;

/// How many organizations there are to fight for.
const ORGANIZATIONS: usize = 12;

/// How often something happens to a replica, unless somebody asks for more.
const ROUNDS: usize = 6;

/// Within what everything has to be as the last commit says.
const CONVERGED: Duration = Duration::from_secs(60);

/// What the sessions of the database are at, and who waits for whom.
const SESSIONS: &str = "
    SELECT pid, state, wait_event, pg_blocking_pids(pid), clock_timestamp() - state_change, left(query, 200)
    FROM pg_stat_activity WHERE datname = current_database()";

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Organizations under a source whose replicas have short leases.
fn many() -> Desk {
    let desk = Desk::new();
    for number in 1..ORGANIZATIONS {
        desk.repository.write(&format!("o{number}.yaml"), &named(&format!("o{number}")));
    }
    desk.commit("acme.yaml", ACME);
    leases_of(&desk, "2s");
    watch(&desk);
    desk
}

fn leases_of(desk: &Desk, length: &str) {
    desk.settings_beside(&format!("lease: {length}"), "interval: 6h\nconcurrency: 6");
}

/// Notes of each apply whose turn it was in its own transaction: a batch is one claim under one fence.
fn watch(desk: &Desk) {
    desk.world.sql(
        "CREATE TABLE public.turn (run text, organization text, batch text);
         CREATE FUNCTION public.turn() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
             BEGIN
                 INSERT INTO public.turn
                 SELECT NEW.run, NEW.organization, (SELECT w.batch FROM argus.work w
                                                    WHERE w.organization = NEW.organization AND w.holder IS NOT NULL);
                 RETURN NULL;
             END $$;
         CREATE TRIGGER turn AFTER INSERT OR UPDATE ON argus.run_organization
             FOR EACH ROW WHEN (NEW.outcome = 'applied') EXECUTE FUNCTION public.turn()",
    );
}

/// Commits something new of all but one organization.
fn commit(desk: &Desk, round: usize) {
    for number in 1..ORGANIZATIONS {
        let name = format!("o{number}");
        let text = named(&name).replace(&format!("displayName: {name}"), &format!("displayName: Round {round}"));
        desk.repository.write(&format!("{name}.yaml"), &text);
    }
    desk.repository.commit(&format!("round {round}"));
    desk.argus(&["reconcile", "default"]).ends(0);
}

/// Waits until all is as a round says, and says how long that took.
#[track_caller]
fn converged(desk: &Desk, round: usize) -> Duration {
    let began = Instant::now();
    let sql = format!("SELECT count(*) FROM argus.organization WHERE display_name = 'Round {round}'");
    while desk.world.sql(&sql).trim() != (ORGANIZATIONS - 1).to_string() {
        if began.elapsed() > CONVERGED {
            let work = desk.argus(&["get", "work", "-o", "wide"]).out;
            panic!("round {round} has not come to its end:\n{work}\n{}\n{}", desk.world.sql(SESSIONS), desk.log());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    began.elapsed()
}

/// Waits until the database no longer believes in a replica, as anybody has to.
fn until_its_time_is_over(desk: &Desk, replica: &Running) {
    let believed =
        format!("FROM argus.replica WHERE valid_until > clock_timestamp() AND name LIKE '%/{}/%'", replica.0.id());
    desk.until(&format!("SELECT count(*) {believed}"), "0");
}

/// Waits until a replica has stopped at its point.
fn until_it_stands_still(desk: &Desk, replica: &Running) {
    let (state, began) = (format!("/proc/{}/stat", replica.0.id()), Instant::now());
    while !std::fs::read_to_string(&state).expect("it lives").contains(") T ") {
        assert!(began.elapsed() < CONVERGED, "it goes on\n{}", desk.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everything was written once, in turn, and by whoever held it; nothing was taken back; and where each organization stands
/// was not either.
#[track_caller]
fn nothing_was_written_twice(desk: &Desk) {
    let none = |what: &str, sql: &str| {
        let many = desk.world.sql(&format!("SELECT count(*) FROM ({sql}) found"));
        assert_eq!(many.trim(), "0", "{what}: {}\n{}", desk.world.sql(sql), desk.log());
    };
    none(
        "versions that two runs have written",
        "SELECT organization, version FROM argus.audit GROUP BY 1, 2 HAVING count(DISTINCT run) > 1",
    );
    none("runs that wrote when it was not their turn", "SELECT * FROM public.turn WHERE batch IS NULL");
    none("runs of two turns", "SELECT run FROM public.turn GROUP BY 1 HAVING count(DISTINCT batch) > 1");
    none("turns of two runs", "SELECT batch FROM public.turn GROUP BY 1 HAVING count(DISTINCT run) > 1");
    none(
        "writes that change nothing",
        "SELECT * FROM argus.audit a WHERE a.action = 'update' AND a.before - 'version' = a.after - 'version'",
    );
    none(
        "what was taken back or written again",
        "SELECT * FROM (SELECT organization, version,
                    (after ->> 'display_name') AS now, lag(after ->> 'display_name') OVER w AS earlier
                FROM argus.audit WHERE kind = 'Organization' WINDOW w AS (PARTITION BY organization ORDER BY version)) o
         WHERE now LIKE 'Round %' AND earlier LIKE 'Round %' AND substr(now, 7)::int <= substr(earlier, 7)::int",
    );
    none(
        "organizations that stand where they no longer are",
        "SELECT b.organization, b.commit, last.commit FROM argus.organization_baseline b
         CROSS JOIN LATERAL (SELECT r.commit ->> 'id' AS commit FROM argus.run_organization o JOIN argus.run r ON r.id = o.run
             WHERE o.organization = b.organization AND o.outcome = 'applied' ORDER BY o.version DESC, r.started_at LIMIT 1) last
         WHERE b.commit IS DISTINCT FROM last.commit
           AND b.commit IS DISTINCT FROM (SELECT s.commit FROM argus.source_baseline s WHERE s.source = b.source)",
    );
}

/// Three replicas under kills and pauses longer than a lease, with commits coming in all the time. Every version of every
/// organization was written once, by whoever held it; and in the end all is as the last commit says.
#[test]
#[allow(clippy::print_stdout, reason = "what happened is told to whoever asks for more of it")]
fn killed_and_paused_replicas_apply_nothing_twice() {
    let rounds = std::env::var("ARGUS_CHAOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let (desk, mut dice, began) = (many(), Dice(11), Instant::now());
    let start = |number: usize| {
        desk.start_with(|command| {
            command.env("XDG_CACHE_HOME", desk.world.path(&format!("cache{number}")));
        })
    };
    let mut replicas: Vec<Running> = (0..3).map(start).collect();
    desk.until("SELECT count(*) FROM argus.organization", &ORGANIZATIONS.to_string());
    let (mut commits, mut kills, mut pauses, mut longest) = (0, 0, 0, Duration::ZERO);
    for round in 0..rounds {
        commits += 1;
        commit(&desk, commits);
        // Somewhere in the middle of it.
        std::thread::sleep(Duration::from_millis(dice.below(700)));
        let victim = dice.below(3) as usize;
        let another = (victim + 1 + dice.below(2) as usize) % 3;
        let (paused, killed) = match round % 3 {
            0 => (None, Some(victim)),
            1 => (Some(victim), None),
            _ => (Some(victim), Some(another)),
        };
        if let Some(paused) = paused {
            replicas[paused].signal("-STOP");
            pauses += 1;
        }
        if let Some(killed) = killed {
            replicas[killed].signal("-KILL");
            let _ = replicas[killed].0.wait();
            replicas[killed] = start(killed);
            kills += 1;
        }
        if let Some(paused) = paused {
            until_its_time_is_over(&desk, &replicas[paused]);
            // What it was about to do must not happen any more: the others are further.
            commits += 1;
            commit(&desk, commits);
            longest = longest.max(converged(&desk, commits));
            replicas[paused].signal("-CONT");
            // It comes back in the middle of the next round, or after it.
            std::thread::sleep(Duration::from_millis(dice.below(300)));
        } else if dice.below(2) == 0 {
            longest = longest.max(converged(&desk, commits));
        }
    }
    longest = longest.max(converged(&desk, commits));
    desk.reconcile().ends(0);
    nothing_was_written_twice(&desk);
    desk.argus(&["audit", "verify"]).ends(0);
    println!(
        "{rounds} rounds, {kills} killed, {pauses} paused for longer than a lease, {commits} commits, converged within {longest:.1?}, {:.0?} in all",
        began.elapsed()
    );
}

/// Where a replica may die or stand still: from the first look to the last note of what came of it.
const POINTS: &[(&str, &str)] = &[
    ("controller.after_take", "default"),
    ("controller.before_looked", "default"),
    ("controller.after_looked", "default"),
    ("controller.claiming", "default"),
    ("controller.before_claimed", "default"),
    ("controller.after_claim", "default"),
    ("apply.after_begin", "o5"),
    ("apply.before_commit", "o5"),
    ("apply.after_commit", "o5"),
    ("controller.before_settle", "default"),
    ("controller.after_settle", "default"),
];

/// Does something for every point, all at the same time: most of it is waiting.
fn at_every_point(test: impl Fn(&Desk, &str, &str) + Sync) {
    std::thread::scope(|scope| {
        for (point, of) in POINTS {
            let test = &test;
            scope.spawn(move || test(&many(), point, of));
        }
    });
}

/// What a replica dies over in the middle is done by another one, once.
#[test]
fn dying_at_any_step_loses_nothing() {
    at_every_point(|desk, point, of| {
        let mut dying = desk.start_with(|command| {
            command.env("ARGUS_FAILPOINT", point).env("ARGUS_FAILPOINT_ORG", of);
        });
        let ended = dying.0.wait().expect("it dies");
        assert!(!ended.success(), "{point}: {ended}");
        until_its_time_is_over(desk, &dying);
        desk.once().ends(0);
        let organizations = desk.world.sql("SELECT count(*) FROM argus.organization");
        assert_eq!(organizations.trim(), ORGANIZATIONS.to_string(), "{point}");
        assert_eq!(desk.world.sql("SELECT count(*) FROM argus.clock WHERE version > 1").trim(), "0", "{point}");
        desk.once().ends(0).says("Stopped after 0 turns.");
    });
}

/// What a replica stands still over for too long is done by another one; coming back, it gets nothing in.
#[test]
fn standing_still_at_any_step_for_longer_than_a_lease_gets_nothing_in() {
    at_every_point(|desk, point, of| {
        let slow = desk.start_with(|command| {
            command.env("ARGUS_FAILPOINT", point).env("ARGUS_FAILPOINT_ORG", of).env("ARGUS_FAILPOINT_STOPS", "1");
        });
        until_it_stands_still(desk, &slow);
        until_its_time_is_over(desk, &slow);
        let others = desk.start_with(|command| {
            command.env("XDG_CACHE_HOME", desk.world.path("cache of others"));
        });
        commit(desk, 1);
        converged(desk, 1);
        slow.signal("-CONT");
        // It is back, under other names.
        let back =
            format!("FROM argus.replica WHERE valid_until > clock_timestamp() AND name LIKE '%/{}/%'", slow.0.id());
        desk.until(&format!("SELECT count(*) > 0 {back}"), "t");
        desk.reconcile().ends(0);
        let stands = desk.world.sql("SELECT count(*) FROM argus.organization WHERE display_name = 'Round 1'");
        assert_eq!(stands.trim(), (ORGANIZATIONS - 1).to_string(), "{point}\n{}", desk.log());
        drop(others);
        // Alone it goes on as if nothing had been.
        commit(desk, 2);
        converged(desk, 2);
        nothing_was_written_twice(desk);
    });
}

/// Somebody who is about to claim work when a look finds something newer does the newer one, or leaves it to be done: it does not
/// take the older one for an answer.
#[test]
fn what_is_found_while_somebody_claims_work_is_not_lost() {
    let desk = many();
    leases_of(&desk, "30s");
    let slow = desk.start_with(|command| {
        command.env("ARGUS_FAILPOINT", "controller.claiming").env("ARGUS_FAILPOINT_STOPS", "1");
    });
    until_it_stands_still(&desk, &slow);
    let before = desk.world.sql("SELECT revision FROM argus.source");
    commit(&desk, 1);
    let _others = desk.start_with(|command| {
        command.env("XDG_CACHE_HOME", desk.world.path("cache of others"));
    });
    desk.until(&format!("SELECT revision <> '{}' FROM argus.source", before.trim()), "t");
    slow.signal("-CONT");
    converged(&desk, 1);
    nothing_was_written_twice(&desk);
}
