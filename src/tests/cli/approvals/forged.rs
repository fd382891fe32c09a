//! Approvals that somebody makes up by SQL count for nothing.

use super::{CI, Court};
use crate::support::keys::Key;

/// Columns of a row that says all that an approval of the plan that waits should say.
const SAYS: &str =
    "INSERT INTO argus.approval (organization, plan_digest, rules_digest, role, at, expires_at, statement, signature)
    SELECT organization, plan_digest, rules_digest, ROLE, now() - interval '1 min', now() + interval '1 h', STATEMENT
    FROM argus.held_plan";

fn says(role: &str, statement: &str) -> String {
    SAYS.replace("ROLE", &format!("'{role}'")).replace("STATEMENT", statement)
}

#[test]
fn a_row_that_the_superuser_writes_is_the_superusers() {
    let court = Court::new();
    court.apply().ends(4);
    // The database notes who it was, whatever the row says; and when, and that nobody has used it.
    court.world.sql(&says("test_grace", "NULL, NULL"));
    assert_eq!(court.world.sql("SELECT role, at > now() - interval '30 s' FROM argus.approval"), "argus|t");
    court.apply().ends(4).says("nobody has agreed yet");
    court.ci(&["get", "approvals"]).ends(0).says("unverified");
    // Past all triggers: a role that is not listed is nobody, and a name without its signature is nobody.
    court.against_the_rules(&says("grace", "NULL, NULL"));
    court.against_the_rules(&says("test_mallory", "NULL, NULL"));
    court.against_the_rules(&says("test_grace", "'argus approval statement v1', 'x'"));
    court.apply().ends(4).says("nobody has agreed yet");
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.approval"), "4");
    assert_eq!(court.members(), "10");
}

#[test]
fn a_statement_without_the_right_signature_is_nobodys_in_the_database_as_well() {
    let court = Court::new();
    let (key, mallory) = (Key::new("ed25519"), Key::new("ed25519"));
    court.settings(&format!(
        "approvers:\n  - {{name: grace, sshKeys: [\"{}\"]}}\n  - {{name: mallory, sshKeys: [\"{}\"]}}\n",
        key.public, mallory.public
    ));
    court.apply().ends(4);
    let digest = court.digest();
    let text = court.ci(&["approve", &digest, "--statement", "--as", "grace"]).ends(0).out;
    let forge = |text: &str, signature: &str| {
        court.against_the_rules(&says("test_grace", &format!("'{text}', '{signature}'")));
        court.apply().ends(4).says("nobody has agreed yet");
        court.against_the_rules("DELETE FROM argus.approval");
    };
    forge(&text, &mallory.sign_text(&text, "argus-approval", &[]));
    // Her signature of something else: another plan, another time.
    let other = text.replace(&digest, &"d".repeat(64));
    forge(&text, &key.sign_text(&other, "argus-approval", &[]));
    forge(&other, &key.sign_text(&other, "argus-approval", &[]));
    // Whoever may approve signs for herself, not for others.
    let claimed = text.replace("approver: grace", "approver: mallory");
    forge(&claimed, &key.sign_text(&claimed, "argus-approval", &[]));
    assert_eq!(court.members(), "10");
    // And the real one counts, even where nobody but the superuser wrote it down.
    let good = key.sign_text(&text, "argus-approval", &[]);
    court.against_the_rules(&says("nobody", &format!("'{text}', '{good}'")));
    court.apply().ends(0).says("approved by grace.");
}

#[test]
fn nobody_writes_an_approval_but_by_saying_yes() {
    let court = Court::new();
    court.apply().ends(4);
    court.approve("grace", &court.digest()).ends(0);
    let as_role = |role: &str, sql: &str| court.sql_as(role, sql);
    let digests = court
        .world
        .sql("SELECT quote_literal(plan_digest) || ', ' || quote_literal(rules_digest) FROM argus.held_plan");
    for role in [CI, "test_grace", "test_mallory"] {
        for sql in [
            &says("test_grace", "NULL, NULL"),
            "DELETE FROM argus.approval",
            "TRUNCATE argus.approval",
            "UPDATE argus.approval SET role = 'test_heidi'",
            "UPDATE argus.approval SET expires_at = now() + interval '9 d'",
            "UPDATE argus.approval SET revoked_at = NULL",
            "UPDATE argus.held_plan SET authors = '{}' WHERE false; SET ROLE argus_owner",
        ] {
            let (done, said) = as_role(role, sql);
            assert!(!done && (said.contains("permission denied") || said.contains("refused")), "{role}: {sql}: {said}");
        }
    }
    // What a role says by the function is its own.
    let call = format!("SELECT argus.approve('acme', {digests}, now() + interval '1 h', NULL, NULL, NULL)");
    for (role, other) in [(CI, "argus_reconciler"), ("test_mallory", "argus_approver")] {
        assert!(as_role(role, &call).0);
        assert!(as_role(role, &format!("SET ROLE {other}; {call}")).0, "another role does not make it another person");
    }
    assert_eq!(
        court.world.sql("SELECT string_agg(role, ' ' ORDER BY id) FROM argus.approval"),
        format!("test_grace {CI} {CI} test_mallory test_mallory")
    );
    // Of a plan that is not held nothing is approved, nor for longer than may be.
    let (done, said) = as_role("test_grace", &call.replace("'acme'", "'apex'"));
    assert!(!done && said.contains("no such plan is held"), "{said}");
    assert!(!as_role("test_grace", &call.replace("interval '1 h'", "interval '-1 h'")).0);
    assert!(as_role("test_grace", &call.replace("interval '1 h'", "interval '9 years'")).0);
    assert_eq!(court.world.sql("SELECT max(expires_at - at) <= interval '30 d' FROM argus.approval"), "t");
    // The one who applies may use an approval, once, and the database says when.
    let use_up = |run: &str| {
        format!("UPDATE argus.approval SET used_at = '2001-01-01', used_by_run = '{run}', used_as = 'x' WHERE id = 1")
    };
    let run = court.world.sql("SELECT max(id) FROM argus.run");
    assert!(as_role(CI, &use_up(&run)).0);
    assert_eq!(court.world.sql("SELECT used_at > '2020-01-01' FROM argus.approval WHERE id = 1"), "t");
    assert!(!as_role(CI, &use_up(&run)).0, "once");
    assert!(!as_role(CI, "UPDATE argus.approval SET used_at = NULL, used_by_run = NULL, used_as = NULL").0);
    assert!(
        !as_role("test_grace", "SELECT argus.revoke_approval(1) WHERE NOT argus.revoke_approval(1) AND 1 / 0 = 1").0
    );
    court.against_the_rules(
        "UPDATE argus.approval SET at = now() - interval '2 h', expires_at = now() - interval '1 h' WHERE id = 2",
    );
    assert!(!as_role(CI, &use_up(&run).replace("id = 1", "id = 2")).0, "nor after it has ended");
}

#[test]
fn too_many_approvals_of_one_plan_are_refused() {
    let court = Court::new();
    court.apply().ends(4);
    let digests = court
        .world
        .sql("SELECT quote_literal(plan_digest) || ', ' || quote_literal(rules_digest) FROM argus.held_plan");
    let fill = format!(
        "SELECT count(argus.approve('acme', {digests}, now() + interval '1 h', NULL, NULL, NULL)) FROM generate_series(1, 50)"
    );
    for role in ["test_mallory", "test_grace"] {
        assert!(court.sql_as(role, &fill).0);
    }
    court.approve("grace", &court.digest()).ends(1).says("ARG3301").says("50 approvals of this role");
    // Nobody takes the places of anybody else.
    court.approve("heidi", &court.digest()).ends(0);
    court.apply().ends(0);
}

#[test]
fn a_plan_that_waits_cannot_be_shown_as_another_one() {
    let court = Court::new();
    court.apply().ends(4);
    let digest = court.digest();
    // Whoever reconciles may write the table.
    let forge = |path: &str, value: &str| {
        let sql = format!(
            "SET ROLE argus_reconciler; UPDATE argus.held_plan SET plan = jsonb_set(plan::jsonb, '{path}', '{value}')::json"
        );
        court.world.sql(&sql);
    };
    forge("{changes,0,reason}", "\"she asked for it\"");
    for command in [&["show", &digest][..], &["approve", &digest, "--auto-approve"]] {
        court.as_role("test_grace", command).ends(1).says("is damaged");
    }
    court.apply().ends(4).says("nobody has agreed yet");
    court.as_role("test_grace", &["show", &digest]).ends(0);
    forge("{holds}", "[{\"severity\": \"note\", \"code\": \"ARG3001\", \"message\": \"all is well\"}]");
    court.approve("grace", &digest).ends(1).says("is damaged");
}
