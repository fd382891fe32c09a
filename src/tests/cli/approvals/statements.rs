//! Approvals that were signed elsewhere: a statement of one organization, one database and one set of rules.

use super::{CI, Court, staff};
use crate::cli::run;
use crate::support::keys::Key;
use crate::support::postgres::scratch;

#[test]
fn a_statement_that_is_signed_approves_whoever_records_it() {
    let court = Court::new();
    let (key, other) = (Key::new("ed25519"), Key::new("ecdsa"));
    let settings = format!(
        "approvers:\n  - {{name: grace, emails: [grace@acme.example], sshKeys: [\"{}\"]}}\n  - {{name: judy, sshKeys: [\"{}\"], databaseRoles: [test_heidi]}}\n",
        key.public, other.public
    );
    court.settings(&settings).apply().ends(4);
    let digest = court.digest();
    let [statement, signature] = ["said", "said.sig"].map(|name| {
        court.world.path(&format!("../{}-{name}", court.machine.file_name().expect("a name").to_string_lossy()))
    });
    let record = |role: &str| {
        court.as_role(
            role,
            &["approve", "--signed", &statement.to_string_lossy(), "--signature", &signature.to_string_lossy()],
        )
    };
    let say = |arguments: &[&str]| {
        let ran = court.ci(&[&["approve", &digest, "--statement"], arguments].concat()).ends(0);
        assert_eq!(ran.err, "", "nothing but the statement is said");
        std::fs::write(&statement, &ran.out).expect("a file");
        ran.out
    };
    // Printing needs a name, and records nothing.
    court.ci(&["approve", &digest, "--statement"]).ends(1).says("ARG3302");
    court.ci(&["approve", &digest, "--statement", "--as", "eve"]).ends(1).says("ARG3302");
    let text = say(&["--as", "Grace", "--expires-in", "2h"]);
    for line in
        ["argus approval statement v1\n", "organization: acme\n", &format!("plan: {digest}\n"), "approver: grace\n"]
    {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.approval"), "0");
    // Who has a role prints their own.
    assert!(court.as_role("test_heidi", &["approve", &digest, "--statement"]).ends(0).out.contains("approver: judy\n"));

    // Signed by another key, for another purpose, or changed afterwards: nothing.
    other.sign(&statement, "argus-approval", &[]);
    std::fs::rename(format!("{}.sig", statement.display()), &signature).expect("a signature");
    record(CI).ends(1).says("ARG3302").says("not one of `grace`");
    key.sign(&statement, "file", &[]);
    record(CI).ends(1).says("ARG3302").says("`file`");
    key.sign(&statement, "argus-approval", &[]);
    std::fs::write(&statement, text.replace("organization: acme", "organization: apex")).expect("a file");
    record(CI).ends(1).says("ARG3302");
    std::fs::write(&statement, "x".repeat(3_000)).expect("a file");
    record(CI).ends(1).says("more than 2000 bytes");
    std::fs::write(&statement, &text).expect("a file");
    assert_eq!(court.world.sql("SELECT count(*) FROM argus.approval"), "0");

    // Whoever may write approvals records it, and it is hers.
    record(CI).ends(0).says("- Member/m8@acme.example").says("Approved as grace").says("Nothing is missing");
    court.ci(&["get", "approvals"]).ends(0).says("grace").says("signature (test_ci)");
    record(CI).ends(1).says("ARG3301").says("recorded before");
    // At apply time it is verified again: without her key it is nobody's.
    court.settings(
        &settings.replace(&key.public, &other.public.replace("of a test", "x")).replace("judy", "other").replacen(
            &other.public,
            &key.public,
            1,
        ),
    );
    court
        .settings(&format!("approvers: [{{name: grace, sshKeys: [\"{}\"]}}]\n", other.public))
        .apply()
        .ends(4)
        .says("nobody has agreed yet");
    court.ci(&["get", "approvals"]).ends(0).says("unverified").says("?");
    court.settings(&settings).apply().ends(0).says("acme: approved by grace.");
    assert_eq!(court.members(), "2");
    record(CI).ends(1).says("ARG3303");
    for file in [&statement, &signature] {
        let _ = std::fs::remove_file(file);
    }
}

#[test]
fn a_statement_is_of_one_organization_one_database_and_one_set_of_rules() {
    let court = Court::with("acme", 9);
    let key = Key::new("ed25519");
    court.settings(&format!(
        "approvers: [{{name: grace, emails: [grace@acme.example], sshKeys: [\"{}\"]}}]\n",
        key.public
    ));
    court.write("globex.yaml", &staff("globex", 9)).apply().ends(0);
    court.write("acme.yaml", &staff("acme", 1)).write("globex.yaml", &staff("globex", 1));
    let run_digest = court.ci(&["apply", "--auto-approve", "--format", "json"]).ends(4).json()["plan"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let say = |more: &[&str]| court.ci(&[&["approve", &run_digest, "--statement", "--as", "grace"], more].concat());
    say(&[]).ends(1).says("ARG3301").says("--organization");
    let text = say(&["-O", "globex"]).ends(0).out;
    let folder = scratch("statement");
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("said");
    let record = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        key.sign(&file, "argus-approval", &[]);
        court.ci(&["approve", "--signed", &file.to_string_lossy(), "--signature", &format!("{}.sig", file.display())])
    };
    let database = court.world.sql("SELECT id FROM argus.installation");
    assert!(text.contains(&database), "{text}");
    record(&text.replace(&database, "00000000-0000-4000-8000-000000000000")).ends(1).says("another database");
    record(&text.replace("organization: globex", "organization: acme")).ends(1).says("ARG3303");
    let rules = text.lines().find_map(|line| line.strip_prefix("rules: ")).expect("rules");
    record(&text.replace(rules, &"e".repeat(64))).ends(1).says("other rules");
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).expect(name).to_owned();
    let past = text
        .replace(&line("issued"), "issued: 2020-01-01T00:00:00Z")
        .replace(&line("expires"), "expires: 2020-01-02T00:00:00Z");
    record(&past).ends(1).says("ARG3301").says("has ended at 2020-01-02");
    // One from the future waits until then.
    let future = text
        .replace(&line("issued"), "issued: 2099-01-01T00:00:00Z")
        .replace(&line("expires"), "expires: 2099-01-02T00:00:00Z");
    record(&future).ends(0).says("nobody has agreed yet");
    court.apply().ends(4);
    record(&text).ends(0).says("Nothing is missing");
    // It is hers, and so is nothing of what she makes herself.
    let mut hers = court.command(CI, &["apply", "--auto-approve"]);
    hers.env("ARGUS_ACTOR", "grace@acme.example");
    run(hers).ends(4).does_not_say("approved by");
    say(&["-O", "globex"]).ends(1).says("ARG3301").says("is your own");
    assert_eq!(court.members(), "20");
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn nobody_keeps_a_statement_from_being_recorded_by_recording_it_unsigned() {
    let court = Court::new();
    let key = Key::new("ed25519");
    court.settings(&format!("approvers: [{{name: grace, sshKeys: [\"{}\"]}}]\n", key.public)).apply().ends(4);
    let digest = court.digest();
    let [statement, signature] = ["said", "said.sig"].map(|name| scratch(&format!("junk-{name}")));
    let text = court.ci(&["approve", &digest, "--statement", "--as", "grace"]).ends(0).out;
    std::fs::write(&statement, &text).expect("a file");
    key.sign(&statement, "argus-approval", &[]);
    std::fs::rename(format!("{}.sig", statement.display()), &signature).expect("a signature");
    let digests = court
        .world
        .sql("SELECT quote_literal(plan_digest) || ', ' || quote_literal(rules_digest) FROM argus.held_plan");
    let junk = format!("SELECT argus.approve('acme', {digests}, now() + interval '1 h', NULL, '{text}', 'junk')");
    assert!(court.sql_as("test_mallory", &junk).0);
    let record = || {
        let files = [statement.to_string_lossy().into_owned(), signature.to_string_lossy().into_owned()];
        court.ci(&["approve", "--signed", &files[0], "--signature", &files[1]])
    };
    record().ends(0).says("Approved as grace");
    court.world.sql("CREATE TABLE argus_test.kept AS TABLE argus.held_plan");
    court.apply().ends(0).says("approved by grace");
    // What was used does not come back, whoever brings it, also where the very same plan waits again.
    court.world.sql("INSERT INTO argus.held_plan SELECT * FROM argus_test.kept ON CONFLICT DO NOTHING");
    for role in ["test_heidi", CI] {
        let (done, said) = court.sql_as(role, &junk.replace("'junk'", "'other'"));
        assert!(!done && said.contains("the statement was used or taken back"), "{said}");
    }
    record().ends(1).says("ARG3301");
}
