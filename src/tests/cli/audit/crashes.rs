//! The process dies while it seals, signs or drops: everything is as it was, or as it should be.

use argus::store::chain::FAILPOINTS;

use super::super::{World, run};
use super::Audited;

/// A copy of a world with settings of its own.
fn copy(of: &Audited) -> World {
    let world = of.world.copy();
    let (old, new) = (of.world.root.display().to_string(), world.root.display().to_string());
    let settings = std::fs::read_to_string(world.path("machine.cfg")).expect("settings").replace(&old, &new);
    world.write("machine.cfg", &settings);
    world
}

#[test]
fn a_kill_at_any_step_of_sealing_signing_and_dropping_leaves_old_or_new() {
    let audited = Audited::new();
    audited.world.write(
        "tiers.yaml",
        "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata: {name: short}\nspec: {limits: {auditRetentionDays: 30}}\n",
    );
    audited.world.write("acme.yaml", &super::ACME.replace("spec:\n", "spec:\n  tier: short\n"));
    audited.run(&["apply", "--auto-approve"]).ends(0);
    super::prune::age(&audited, "acme");
    audited.write("globex", 3);
    for point in FAILPOINTS {
        let world = copy(&audited);
        let argus = |arguments: &[&str]| world.command(&[arguments, &["--config", "machine.cfg"]].concat());
        let command: &[&str] = match point.strip_prefix("seal.") {
            Some(step) if step.starts_with("heads_") => &["audit", "heads", "--sign"],
            Some(step) if step.starts_with("prune_") => &["audit", "prune", "--auto-approve"],
            _ => &["audit", "seal"],
        };
        if command[1] == "heads" {
            run(argus(&["audit", "seal"])).ends(0);
        }
        let mut dying = argus(command);
        dying.env("ARGUS_FAILPOINT", point);
        let ran = run(dying);
        assert_eq!(ran.code, None, "{point} was not reached: {ran}");
        let state = || {
            world.sql(
                "SELECT (SELECT count(*) FROM argus.unsealed), (SELECT count(*) FROM argus.head),
                        (SELECT count(*) FROM argus.checkpoint), (SELECT count(*) FROM argus.audit)",
            )
        };
        let (now, before) = (state(), audited.world.sql("SELECT count(*) FROM argus.audit"));
        let done = point.ends_with("after_commit");
        let checkpoints = now.split('|').nth(2).expect("a number");
        assert_eq!(checkpoints != "0", done && point.contains("prune"), "{point}: {now}");
        assert_eq!(now.ends_with(&format!("|{before}")), checkpoints == "0", "{point}: {now}");
        run(argus(&["audit", "verify"])).ends(0);
        // The next one brings it to its end.
        run(argus(command)).ends(0);
        run(argus(&["audit", "seal"])).ends(0);
        run(argus(&["audit", "heads", "--sign"])).ends(0);
        assert!(state().starts_with("0|"), "{point}: {}", state());
        let verified = run(argus(&["audit", "verify"])).ends(0);
        verified.does_not_say("ends within a line").does_not_say("not sealed yet");
        let heads = std::fs::read_to_string(world.path("heads.txt")).expect("the heads");
        assert!(
            heads.ends_with('\n') && heads.lines().all(|line| line.starts_with("{\"statement\":")),
            "{point}: {heads}"
        );
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_chain() {
    let audited = Audited::new();
    let world = &audited.world;
    world.mallory(
        "psql",
        "INSERT INTO argus.team (organization, name) SELECT 'acme', 't' || i FROM generate_series(1, 12000) i",
    );
    let mut killed = 0;
    for number in 0..15 {
        let mut child = world.command(&["audit", "seal"]).spawn().expect("the binary runs");
        std::thread::sleep(std::time::Duration::from_millis(number * 37));
        child.kill().expect("it can be killed");
        killed += usize::from(child.wait().expect("it ends").code().is_none());
    }
    assert!(killed > 0, "all had ended by themselves");
    audited.verify().ends(0);
    world.argus(&["audit", "seal"]).ends(0);
    audited.verify().ends(0).does_not_say("not sealed yet");
    assert_eq!(world.sql("SELECT count(*) = (SELECT count(*) FROM argus.audit) FROM argus.seal"), "t");
}
