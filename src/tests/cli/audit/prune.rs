//! Dropping what is old: only by the tier, only with a signed checkpoint, and the chain stays whole.

use super::super::block_on;
use super::{ACME, Audited};
use crate::support::postgres::refused;

const TIER: &str =
    "apiVersion: argus.io/v1alpha1\nkind: Tier\nmetadata: {name: short}\nspec: {limits: {auditRetentionDays: 30}}\n";

/// Makes the rows of an organization two months old, as if they had been written and sealed then.
pub fn age(audited: &Audited, organization: &str) {
    audited.tamper(&format!(
        "UPDATE argus.audit SET at = at - interval '60 days' WHERE organization = '{organization}';
         DELETE FROM argus.seal WHERE organization = '{organization}';
         DELETE FROM argus.chain WHERE organization = '{organization}'; DELETE FROM argus.head;
         INSERT INTO argus.unsealed SELECT DISTINCT organization, version FROM argus.audit
         WHERE organization = '{organization}' ON CONFLICT DO NOTHING"
    ));
    std::fs::remove_file(audited.heads()).expect("the heads go");
    audited.seal();
    audited.run(&["audit", "heads", "--sign"]).ends(0);
}

/// An organization with old rows and new ones, whose tier keeps thirty days.
fn old_and_new() -> Audited {
    let audited = Audited::new();
    audited.world.write("tiers.yaml", TIER).write("acme.yaml", &ACME.replace("spec:\n", "spec:\n  tier: short\n"));
    audited.run(&["apply", "--auto-approve"]).ends(0);
    audited.world.mallory("psql", "UPDATE argus.organization SET display_name = 'Old' WHERE name = 'acme'");
    age(&audited, "acme");
    audited.world.mallory("psql", "INSERT INTO argus.team (organization, name) VALUES ('acme', 'new')");
    audited.seal();
    audited
}

fn count(audited: &Audited, what: &str) -> i64 {
    audited
        .world
        .sql(&format!("SELECT count(*) FROM argus.{what} WHERE organization = 'acme'"))
        .parse()
        .expect("a number")
}

#[test]
fn what_is_older_than_the_tier_keeps_goes_and_the_chain_begins_at_a_checkpoint() {
    let audited = old_and_new();
    let (rows, all) = (count(&audited, "audit"), audited.world.sql("SELECT count(*) FROM argus.audit"));
    let planned = audited.run(&["audit", "prune", "--plan"]).ends(0);
    planned.says(&format!("{} rows of 1 organization would go", rows - 1)).does_not_say("globex");
    audited.run(&["audit", "prune"]).ends(1).says("nothing was dropped").says("--auto-approve");
    assert_eq!(audited.world.sql("SELECT count(*) FROM argus.audit"), all);
    audited.run(&["audit", "prune", "--auto-approve"]).ends(0).says(&format!("Dropped {} rows", rows - 1));
    assert_eq!((count(&audited, "audit"), count(&audited, "seal")), (1, 2), "the seal at the checkpoint stays");
    assert_eq!(
        audited.world.sql("SELECT retention_days, dropped, actor, organization FROM argus.checkpoint"),
        format!("30|{}|tester|acme", rows - 1)
    );
    let verified = audited.verify().ends(0);
    verified.says("1 chain begins at a signed checkpoint.");
    audited.run(&["audit", "prune", "--auto-approve"]).ends(0).says("Nothing is older");
    // Life goes on: sealing, exporting, reading, drift, rolling back.
    audited.write("acme", 2);
    audited.seal();
    audited.verify().ends(0);
    audited.run(&["audit", "export", "-o", "all.ndjson"]).ends(0);
    audited.run(&["audit", "verify", "--export", "all.ndjson"]).ends(0);
    let world = &audited.world;
    // It stands among the manifests here, and is none.
    world.remove("all.ndjson.manifest.json");
    world.argus(&["history", "acme"]).ends(0).says("Team/new");
    world.argus(&["audit", "tail", "-O", "acme"]).ends(0).says("Team/new");
    world.argus(&["audit", "show", "acme", "1"]).ends(1).says("ARG1808");
    world.argus(&["drift"]).ends(0).says("unattributed");
    audited.run(&["apply", "--auto-approve"]).ends(0);
    let run = world.sql("SELECT id FROM argus.run ORDER BY started_at DESC LIMIT 1");
    audited.run(&["rollback", &run, "--auto-approve"]).ends(0);
    audited.verify().ends(0).says("1 chain begins at a signed checkpoint.");
    // A second checkpoint behind the first.
    age_rest(&audited);
    audited.run(&["audit", "prune", "--auto-approve"]).ends(0).says("Dropped");
    audited.verify().ends(0).says("1 chain begins at a signed checkpoint.");
    assert_eq!(count(&audited, "checkpoint"), 2);
}

/// Lets the database's clock say that the rows that are left are old: the tier keeps them for a day, and they are.
fn age_rest(audited: &Audited) {
    // Whatever `at` says is sealed: so the rest is sealed anew, from the checkpoint on.
    audited.tamper(
        "UPDATE argus.audit SET at = at - interval '60 days' WHERE organization = 'acme';
         DELETE FROM argus.seal s WHERE organization = 'acme' AND sequence > (SELECT max(sequence) FROM argus.checkpoint);
         UPDATE argus.chain c SET sequence = p.sequence, version = p.version, ordinal = p.ordinal, hash = p.hash
         FROM argus.checkpoint p WHERE c.organization = p.organization;
         DELETE FROM argus.head;
         INSERT INTO argus.unsealed SELECT DISTINCT organization, version FROM argus.audit WHERE organization = 'acme'
         ON CONFLICT DO NOTHING",
    );
    std::fs::remove_file(audited.heads()).expect("the heads go");
    audited.seal();
}

#[test]
fn nothing_is_dropped_without_a_key_a_list_and_a_tier_that_says_so() {
    let audited = old_and_new();
    let world = &audited.world;
    let rows = count(&audited, "audit");
    world.argus(&["audit", "prune", "--auto-approve"]).ends(1).says("ARG1804").says("--sign-key FILE");
    let key = audited.key.path().display().to_string();
    world
        .argus(&["audit", "prune", "--auto-approve", "--sign-key", &key])
        .ends(1)
        .says("ARG1804")
        .says("--signers FILE");
    let other = crate::support::keys::Key::new("ed25519");
    audited.list(&[(&other, "")]);
    audited.run(&["audit", "prune", "--auto-approve"]).ends(1).says("ARG1804").says("would not count");
    audited.list(&[(&audited.key, "")]);
    world.write("tiers.yaml", &TIER.replace("30", "90"));
    audited.run(&["apply", "--auto-approve"]).ends(0);
    audited.run(&["audit", "prune", "--auto-approve"]).ends(0).says("Nothing is older");
    world.write(
        "tiers.yaml",
        &TIER.replace("spec: {limits: {auditRetentionDays: 30}}", "spec: {limits: {auditRetentionDays: null}}"),
    );
    audited.run(&["apply", "--auto-approve"]).ends(0);
    audited.run(&["audit", "prune", "--auto-approve"]).ends(0).says("Nothing is older");
    assert!(count(&audited, "audit") >= rows);
    assert_eq!(count(&audited, "checkpoint"), 0);
}

#[test]
fn the_database_itself_keeps_what_the_tier_keeps_whoever_asks() {
    let audited = old_and_new();
    let database = &audited.world.database;
    let hash = |sequence: &str| {
        let sql =
            format!("SELECT encode(hash, 'hex') FROM argus.seal WHERE organization = 'acme' AND sequence = {sequence}");
        audited.world.sql(&sql)
    };
    let last = audited.world.sql("SELECT max(sequence) FROM argus.seal WHERE organization = 'acme'");
    block_on(async {
        let mut reconciler = database.session_as("prune_reconciler", "argus_reconciler").await;
        let prune = |organization: &str, sequence: &str, hash: &str| {
            format!("SELECT argus.prune_audit('{organization}', {sequence}, '\\x{hash}', 'me', 'k', 's', 's')")
        };
        for (sql, state, why) in [
            (prune("acme", &last, &hash(&last)), "42501", "the last row is new"),
            (prune("acme", "1", &hash("2")), "23000", "the link of another row"),
            (prune("acme", "0", &hash("1")), "23000", "no row"),
            (prune("globex", "1", &hash("1")), "42501", "no tier"),
            (prune("nobody", "1", &hash("1")), "42501", "no organization"),
        ] {
            assert_eq!(refused(&mut reconciler, &sql).await, state, "{why}");
        }
        // Not even the owner drops a row that no checkpoint stands in for.
        let mut owner = database.session_as("prune_owner", "argus_owner").await;
        sqlx::raw_sql("SET ROLE argus_owner").execute(&mut owner).await.expect("the owner");
        assert_eq!(refused(&mut owner, "DELETE FROM argus.audit WHERE organization = 'acme'").await, "42501");
        assert_eq!(refused(&mut owner, "DELETE FROM argus.seal WHERE organization = 'acme'").await, "42501");
    });
    assert_eq!(count(&audited, "checkpoint"), 0);
}

#[test]
fn a_chain_is_not_dropped_that_is_not_whole_and_a_checkpoint_counts_only_if_its_signature_does() {
    let audited = old_and_new();
    audited
        .tamper("UPDATE argus.audit SET actor = 'nobody' WHERE organization = 'acme' AND version = 1 AND ordinal = 1");
    audited.run(&["audit", "prune", "--auto-approve"]).ends(7).says("ARG1801").says("these rows are evidence");
    let audited = old_and_new();
    audited.run(&["audit", "prune", "--auto-approve"]).ends(0);
    let other = crate::support::keys::Key::new("ed25519");
    audited.list(&[(&other, "")]);
    audited.verify().ends(7).says("ARG1801").says("no signed checkpoint that counts").says("warning[ARG1803]");
    audited.world.argus(&["audit", "verify"]).ends(7).says("checkpoints count only with the list of those who sign");
    audited.list(&[(&audited.key, "")]);
    audited.verify().ends(0);
    audited.tamper("UPDATE argus.checkpoint SET sequence = sequence - 1, statement = replace(statement, '\"sequence\":', '\"sequence\":1')");
    audited.verify().ends(7).says("error[ARG1803]").says("no signed checkpoint that counts");
}
