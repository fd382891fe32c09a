//! `argus audit tail` and `argus audit show`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::super::World;
use super::Audited;

fn whats(ran: &super::Ran) -> Vec<String> {
    let items = ran.json()["items"].as_array().expect("items").clone();
    items
        .iter()
        .map(|item| {
            format!("{}/{}", item["kind"].as_str().expect("a kind"), item["action"].as_str().expect("an action"))
        })
        .collect()
}

#[test]
fn the_tail_ends_with_the_newest_row_and_every_filter_restricts_it() {
    let audited = Audited::new();
    let world = &audited.world;
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine' WHERE name = 'acme'");
    world.mallory("psql", "INSERT INTO argus.team (organization, name) VALUES ('globex', 'shadow')");
    world.mallory("psql", "DELETE FROM argus.team WHERE name = 'shadow'");
    let tail = |more: &[&str]| world.argus(&[&["audit", "tail", "--format", "json"], more].concat()).ends(0);
    let all = tail(&[]);
    let last = whats(&all);
    assert_eq!(last[last.len() - 3..], ["Organization/update", "Team/insert", "Team/delete"]);
    let items = all.json()["items"].clone();
    let last = items.as_array().expect("items").last().expect("a row").clone();
    assert_eq!((&last["sequence"], &last["hash"]), (&serde_json::Value::Null, &serde_json::Value::Null), "it waits");
    assert_eq!(whats(&tail(&["-n", "1"])), ["Team/delete"]);
    assert_eq!(whats(&tail(&["-O", "globex", "--actor", "mallory"])), ["Team/insert", "Team/delete"]);
    assert_eq!(whats(&tail(&["--action", "update"])), ["Organization/update"]);
    assert_eq!(whats(&tail(&["--kind", "teams", "--action", "insert"])), ["Team/insert"]);
    assert_eq!(whats(&tail(&["--name", "acme", "--actor", "mallory"])), ["Organization/update"]);
    assert_eq!(whats(&tail(&["--since", "2h", "--name", "shadow"])), ["Team/insert", "Team/delete"]);
    assert_eq!(whats(&tail(&["--until", "2h"])), Vec::<String>::new());
    assert_eq!(whats(&tail(&["--until", "2099-01-01T00:00:00Z", "--name", "shadow", "-n", "1"])), ["Team/delete"]);
    let run = world.sql("SELECT id FROM argus.run");
    assert!(whats(&tail(&["--run", &run])).iter().all(|what| what.ends_with("/insert")));
    assert_eq!(whats(&tail(&["--run", "none"])), Vec::<String>::new());
    world.argus(&["audit", "tail", "--since", "yesterday"]).ends(1).says("ARG1032").says("write `2h`");
    world.argus(&["audit", "tail", "--kind", "gadget"]).ends(1).says("`gadget` is no kind");
    world.argus(&["audit", "tail"]).ends(0).says("SEQUENCE").says("Team/shadow").says("mallory via psql");
}

#[test]
fn a_row_is_shown_whole_with_its_seal_and_a_missing_one_is_told() {
    let audited = Audited::new();
    let world = &audited.world;
    let shown = world.argus(&["audit", "show", "acme", "1", "--format", "json"]).ends(0).json()["items"][0].clone();
    assert_eq!((&shown["sequence"], &shown["organization"]), (&1.into(), &"acme".into()));
    assert_eq!(shown["previous"].as_str().map(str::len), Some(64));
    assert_eq!(
        shown["hash"].as_str(),
        Some(&*world.sql("SELECT encode(hash, 'hex') FROM argus.seal WHERE organization = 'acme' AND sequence = 1"))
    );
    let second = world.argus(&["audit", "show", "acme", "2", "--format", "json"]).json()["items"][0].clone();
    assert_eq!(second["previous"], shown["hash"]);
    let text = world.argus(&["audit", "show", "acme", "2"]).ends(0);
    text.says("previous").says(shown["hash"].as_str().expect("a hash")).says("actor        tester");
    world.argus(&["audit", "show", "acme", "99"]).ends(1).says("ARG1808").says("`acme` has no sealed row 99");
    world.argus(&["audit", "show", "nobody", "1"]).ends(1).says("ARG1808");
}

#[test]
fn whoever_follows_sees_what_comes_and_stops_when_nobody_reads() {
    let world = World::applied(super::ACME);
    let mut command = world.command(&["audit", "tail", "-n", "0", "--follow", "--format", "json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary runs");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    // Once it listens, nothing is missed.
    let listens = || {
        world.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()")
    };
    while listens() == "0" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut seen = Vec::new();
    for name in ["a", "b", "c"] {
        world.mallory("psql", &format!("INSERT INTO argus.team (organization, name) VALUES ('acme', '{name}')"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        let row: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        seen.push(row["name"].as_str().expect("a name").to_owned());
    }
    assert_eq!(seen, ["a", "b", "c"]);
    drop(out);
    world.mallory("psql", "DELETE FROM argus.team");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn hostile_names_are_shown_and_not_obeyed_and_secrets_are_not_shown() {
    let audited = Audited::new();
    let world = &audited.world;
    let secret = "ghp_0123456789abcdefCANARY";
    world.mallory(
        "x\x1b[31m=cmd",
        &format!(
            "SELECT set_config('argus.actor', '=1+1 {secret} ' || chr(27) || '[2J' || U&'\\202e', false);
             UPDATE argus.organization SET settings = '{{\"password\": \"hunter2\", \"t\": \"{secret}\"}}'"
        ),
    );
    audited.seal();
    let last = world.sql("SELECT max(sequence) FROM argus.seal WHERE organization = 'acme'");
    for arguments in [
        &["audit", "tail"][..],
        &["audit", "tail", "--format", "json"],
        &["audit", "show", "acme", &last],
        &["audit", "show", "acme", &last, "--format", "json"],
        &["history", "acme"],
    ] {
        let ran = world.argus(arguments).ends(0);
        assert!(!ran.out.contains('\x1b'), "{ran}");
        ran.does_not_say("CANARY").does_not_say("hunter2");
    }
    world.argus(&["audit", "tail"]).does_not_say("\u{202e}").says("\\u{202e}");
}
