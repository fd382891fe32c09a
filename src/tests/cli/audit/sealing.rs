//! Sealing: what is sealed, by whom, and how anybody can compute it anew.

use std::path::Path;
use std::process::Command;

use super::super::World;
use super::{ACME, Audited};

#[test]
fn an_apply_seals_what_it_wrote_and_what_others_wrote_before() {
    let world = World::applied(ACME);
    assert_eq!(world.sql("SELECT count(*) FROM argus.unsealed"), "0");
    assert_eq!(world.sql("SELECT count(*) = (SELECT count(*) FROM argus.audit) FROM argus.seal"), "t");
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine'");
    world.argus(&["audit", "verify"]).ends(0).says("1 row not sealed yet.").says("No signed head was compared");
    world.apply().ends(0);
    world.argus(&["audit", "verify"]).ends(0).does_not_say("not sealed yet");
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine'");
    world.argus(&["audit", "seal"]).ends(0).says("Sealed 1 row.");
    world.argus(&["audit", "seal"]).ends(0).says("Sealed 0 rows.");
    let run = world.sql("SELECT id FROM argus.run ORDER BY started_at DESC LIMIT 1");
    world.argus(&["rollback", &run, "--auto-approve", "--force"]);
    assert_eq!(world.sql("SELECT count(*) FROM argus.unsealed"), "0", "a rollback seals as well");
    world.argus(&["audit", "verify"]).ends(0);
}

#[test]
fn rows_of_before_the_migration_wait_and_are_sealed() {
    let world = World::applied(ACME);
    // As the migration leaves a database that an older binary has filled.
    world.sql(
        "BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM argus.seal; DELETE FROM argus.chain;
         INSERT INTO argus.unsealed SELECT DISTINCT organization, version FROM argus.audit; COMMIT",
    );
    let rows = world.sql("SELECT count(*) FROM argus.audit");
    world.argus(&["audit", "seal"]).ends(0).says(&format!("Sealed {rows} rows."));
    world.argus(&["audit", "verify"]).ends(0).says(&format!("Verified {rows} rows"));
}

#[test]
fn many_rows_are_sealed_in_several_transactions() {
    let world = World::applied(ACME);
    world.mallory(
        "psql",
        "INSERT INTO argus.team (organization, name) SELECT 'acme', 't' || i FROM generate_series(1, 11000) i",
    );
    world.argus(&["audit", "seal"]).ends(0).says("Sealed 11000 rows.");
    world.argus(&["audit", "verify"]).ends(0);
    assert_eq!(world.sql("SELECT count(*) FROM argus.unsealed"), "0");
}

#[test]
fn sealers_and_writers_at_once_leave_one_whole_chain() {
    let world = World::applied(ACME);
    world.write("globex.yaml", super::GLOBEX);
    world.apply().ends(0);
    std::thread::scope(|threads| {
        for writer in 0..3 {
            let world = &world;
            threads.spawn(move || {
                for turn in 0..15 {
                    let organization = if (writer + turn) % 2 == 0 { "acme" } else { "globex" };
                    let end = if turn % 5 == 4 { "ROLLBACK" } else { "COMMIT" };
                    world.sql(&format!(
                        "BEGIN; INSERT INTO argus.team (organization, name) VALUES ('{organization}', 't{writer}-{turn}');
                         UPDATE argus.organization SET description = '{writer}.{turn}' WHERE name = '{organization}'; {end}"
                    ));
                }
            });
        }
        for _ in 0..2 {
            threads.spawn(|| {
                for _ in 0..8 {
                    world.argus(&["audit", "seal"]).ends(0);
                }
            });
        }
    });
    world.argus(&["audit", "seal"]).ends(0);
    assert_eq!(world.sql("SELECT count(*) FROM argus.unsealed"), "0");
    assert_eq!(world.sql("SELECT count(*) = (SELECT count(*) FROM argus.audit) FROM argus.seal"), "t");
    world.argus(&["audit", "verify"]).ends(0);
}

#[test]
fn whoever_finds_a_sealer_at_work_goes_home_and_an_apply_does_not_mind() {
    let world = World::with(ACME);
    world.sql("SELECT 1");
    let lock = "SELECT pg_advisory_lock(7021788523168626020); SELECT pg_sleep(60)";
    let mut holder = Command::new("psql");
    holder.args(["-X", "-q", "-c", lock]).envs(world.database.url.environment());
    let mut holder = holder.stdout(std::process::Stdio::null()).spawn().expect("psql runs");
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while world.sql(held) == "0" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    world.apply().ends(0).does_not_say("ARG1806");
    world.argus(&["audit", "seal"]).ends(0).says("Sealed 0 rows. Somebody else is sealing");
    // A server does not notice at once that its client is gone.
    world.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_sleep%'",
    );
    holder.wait().expect("it ends");
    while world.sql(held) != "0" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    world.argus(&["audit", "seal"]).ends(0).does_not_say("Sealed 0 rows");
}

#[test]
fn an_apply_that_cannot_seal_warns_and_has_done_its_work() {
    let world = World::with(ACME);
    world.sql("REVOKE EXECUTE ON FUNCTION argus.add_seals(text[], bigint[], bigint[], bigint[], bytea[]) FROM argus_reconciler");
    world.apply().ends(0).says("warning[ARG1806]").says("the audit could not be sealed");
    assert_eq!(world.sql("SELECT count(*) FROM argus.organization"), "1");
    world.write("machine.cfg", "audit: {signKey: nowhere}\n");
    let ran = world.argus(&["apply", "--auto-approve", "--config", "machine.cfg"]);
    ran.ends(0).says("warning[ARG1806]").says("the ends of the audit could not be signed");
}

/// The script of docs/audit.md.
fn script() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md");
    let text = std::fs::read_to_string(page).expect("the page");
    let (_, rest) = text.split_once("```python\n").expect("a script");
    rest.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn a_stranger_computes_every_link_anew_with_what_the_documentation_tells() {
    let audited = Audited::new();
    // Numbers beyond a double, characters of all sorts.
    audited.world.mallory(
        "psql",
        "SELECT set_config('argus.actor', E'a\"\\\\b\\t' || chr(1) || chr(127) || 'ü' || U&'\\202e', false);
         UPDATE argus.organization SET settings = '{\"n\": 123456789012345678901234567890.000, \"m\": 1e300}'",
    );
    audited.run(&["audit", "seal"]).ends(0);
    audited.run(&["audit", "export", "-o", "all.ndjson"]).ends(0);
    audited.world.write("check.py", &script());
    let python = |file: &str| {
        let mut python = Command::new("python3");
        let output = python.arg("check.py").arg(file).current_dir(&audited.world.root).output().expect("python3 runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let rows = audited.world.sql("SELECT count(*) FROM argus.audit");
    let (good, said) = python("all.ndjson");
    assert!(good && said.contains(&format!("{rows} rows are good")), "{said}");
    let text = std::fs::read_to_string(audited.world.path("all.ndjson")).expect("the export");
    audited.world.write("bad.ndjson", &text.replacen("ada@acme", "eve@acme", 1));
    let (good, said) = python("bad.ndjson");
    assert!(!good, "{said}");
}
