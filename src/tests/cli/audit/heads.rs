//! Heads: what is signed, with which key, and where it is kept.

use std::os::unix::fs::PermissionsExt as _;

use super::Audited;
use crate::support::keys::Key;

#[test]
fn an_apply_signs_what_has_moved_and_keeps_it_in_the_file_as_well() {
    let audited = Audited::new();
    let heads = || std::fs::read_to_string(audited.heads()).expect("the heads");
    let first = heads();
    assert_eq!(first.lines().count(), 2, "one for each organization: {first}");
    let mode = std::fs::metadata(audited.heads()).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    audited.run(&["apply", "--auto-approve"]).ends(0);
    assert_eq!(heads(), first, "nothing has moved");
    audited.write("globex", 1);
    audited.run(&["apply", "--auto-approve", "--no-drift"]).ends(0);
    let second = heads();
    assert!(second.starts_with(&first));
    let new: Vec<&str> = second[first.len()..].lines().collect();
    assert!(new.len() == 1 && new[0].contains("globex"), "{new:?}");
    audited.verify().ends(0).says("3 signed heads agreed.");
    let shown = audited.run(&["audit", "heads"]).ends(0);
    shown.says("argus@machine").says("`globex`").does_not_say("does not count");
    let listed = audited.run(&["audit", "heads", "-O", "globex", "--format", "json"]).ends(0).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(listed["items"][0]["signer"], "argus@machine");
    audited.run(&["audit", "heads", "-n", "1"]).ends(0).says("These are the newest 1 of 3.");
}

#[test]
fn heads_are_signed_as_often_as_the_settings_say_and_whenever_somebody_asks() {
    let audited = Audited::new();
    audited.settings("1h");
    audited.write("acme", 1);
    audited.run(&["apply", "--auto-approve", "--no-drift"]).ends(0);
    assert_eq!(audited.world.sql("SELECT count(*) FROM argus.head"), "2", "an hour has not passed");
    audited.run(&["audit", "heads", "--sign"]).ends(0).says("Signed 1 head with SHA256:").says("heads.txt");
    audited.run(&["audit", "heads", "--sign"]).ends(0).says("Signed 0 heads");
    audited.world.argus(&["audit", "heads", "--sign"]).ends(1).says("ARG1804").says("--sign-key FILE");
    audited.settings("soon");
    audited.run(&["audit", "heads"]).ends(1).says("a length of time is written");
    audited.world.write("argus.yaml", "audit: {signKey: mine}\n");
    audited.world.plan().ends(1).says("ARG5006").says("`audit` cannot be set");
}

#[test]
fn a_key_is_retired_and_another_comes_and_both_count_in_their_time() {
    let mut audited = Audited::new();
    audited.write("acme", 1);
    audited.run(&["audit", "seal"]).ends(0);
    let new = Key::new("ed25519");
    let old = std::mem::replace(&mut audited.key, new);
    audited.settings("0s");
    // A second in which neither is of use stands between them.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let now = audited.world.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS\"Z\"')");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let (until, from) = (format!("valid-before=\"{now}\""), format!("valid-after=\"{now}\""));
    audited.list(&[(&old, &until), (&audited.key, &from)]);
    audited.run(&["audit", "heads", "--sign"]).ends(0).says("Signed 1 head");
    audited.verify().ends(0).says("3 signed heads agreed.").does_not_say("ARG1803");
    // The old one goes on signing: that counts for nothing.
    audited.write("acme", 1);
    audited.run(&["audit", "seal"]).ends(0);
    let key = old.path().display().to_string();
    audited.run(&["audit", "heads", "--sign", "--sign-key", &key]).ends(0).says("Signed 1 head");
    let verified = audited.verify().ends(0).says("3 signed heads agreed.");
    verified.says("warning[ARG1803]").says("counts only until");
    audited.run(&["audit", "heads"]).ends(0).says("does not count: the key");
    // One that is not let sign for the audit, and one that nobody knows.
    audited.list(&[(&old, "namespaces=\"git\"")]);
    audited.verify().ends(0).says("does not let the key").says("which no list of signers has").says("No signed head");
    // Used before it was to be used.
    audited.list(&[(&old, "valid-after=\"20990101Z\""), (&audited.key, "")]);
    audited.verify().ends(0).says("counts only from 2099-01-01").says("1 signed head agreed.");
}

#[test]
fn heads_of_another_database_and_changed_ones_are_told_apart() {
    let audited = Audited::new();
    let copy = std::fs::read_to_string(audited.heads()).expect("the heads");
    audited.world.write("kept.txt", &copy);
    let verify = || audited.run(&["audit", "verify", "--heads", "kept.txt"]);
    verify().ends(0).says("2 signed heads agreed.");
    audited.world.write("kept.txt", &copy.replacen("\\\"sequence\\\":", "\\\"sequence\\\":1", 1));
    verify().ends(7).says("error[ARG1803]").says("line 1 does not count");
    audited.world.write("kept.txt", &format!("{copy}garbage\n{}", &copy[..40]));
    verify().ends(0).says("1 line cannot be read").says("the first is line 3").says("ends within a line: 40 bytes");
    let other = Audited::new();
    // All databases of these tests are copies of one.
    other.world.sql("UPDATE argus.installation SET id = gen_random_uuid()");
    other.write("acme", 1);
    other.run(&["apply", "--auto-approve", "--no-drift"]).ends(0);
    let foreign = std::fs::read_to_string(other.heads()).expect("the heads");
    let foreign = foreign.lines().last().expect("a head").to_owned() + "\n";
    audited.world.write("kept.txt", &format!("{copy}{foreign}"));
    audited.list(&[(&audited.key, ""), (&other.key, "")]);
    verify().ends(0).says("it is about the database").says("2 signed heads agreed.");
    audited.run(&["audit", "verify", "--heads", "nowhere.txt"]).ends(1).says("ARG1013");
    audited.world.argus(&["audit", "verify", "--heads", "kept.txt"]).ends(1).says("ARG1804").says("--signers FILE");
    // A head that somebody has changed in the database.
    audited.tamper("UPDATE argus.head SET statement = replace(statement, '\"sequence\":', '\"sequence\":1') WHERE organization = 'acme'");
    audited.verify().ends(7).says("error[ARG1803]").says("head 1 of `acme` in the database does not count");
}

#[test]
fn a_file_that_was_torn_is_mended_by_the_next_that_appends() {
    let audited = Audited::new();
    let whole = std::fs::read_to_string(audited.heads()).expect("the heads");
    std::fs::write(audited.heads(), format!("{whole}{}", &whole[..100])).expect("a file");
    audited.verify().ends(0).says("warning[ARG1807]").says("100 bytes are left aside");
    audited.write("acme", 1);
    let signed = audited.run(&["apply", "--auto-approve", "--no-drift"]).ends(0);
    signed.says("warning[ARG1807]").says("100 bytes of an interrupted write were taken off");
    let mended = std::fs::read_to_string(audited.heads()).expect("the heads");
    assert!(mended.starts_with(&whole) && mended.lines().count() == 3, "{mended}");
    audited.verify().ends(0).does_not_say("ARG1807");
    // What cannot be written is told, and signed the next time.
    audited.write("acme", 1);
    std::fs::remove_file(audited.heads()).expect("it goes");
    std::fs::create_dir(audited.heads()).expect("a folder in its place");
    let failed = audited.run(&["apply", "--auto-approve", "--no-drift"]).ends(0);
    failed.says("warning[ARG1806]").says("the heads cannot be written");
    std::fs::remove_dir(audited.heads()).expect("it goes");
    audited.run(&["audit", "heads", "--sign"]).ends(0).says("Signed 1 head");
}
