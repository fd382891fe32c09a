//! What waits, what goes first, what is tried again and what is given up.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::json;

use super::{CANARY, Desk, ids, said, text, until};
use crate::support::receiver::{Receiver, Reply};

const ALL: &str = "- {name: all, channel: ops, events: ['*']}";

#[tokio::test(flavor = "multi_thread")]
async fn each_event_that_a_rule_means_is_a_message_and_no_other_is() {
    let receiver = Receiver::start(|_, _| 200);
    let rules = "- {name: drift, channel: ops, events: ['drift.*'], template: 'one {{ subject }} {{ percent }} {{ more.deep }}'}
- {name: big, channel: ops, events: [run.failed, drift.detected], conditions: [{field: percent, operator: atLeast, value: '90'}], template: 'two {{ subject }}'}";
    let desk = Desk::to(&receiver, "", rules).await;
    desk.tell("drift.detected", "Team/a", &json!({"percent": 9, "more": {"deep": "x"}}));
    desk.tell("drift.detected", "Team/b", &json!({"percent": 100}));
    desk.tell("resource.updated", "Team/c", &json!({"percent": 100}));
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 3 messages.\n");
    let mut texts: Vec<String> =
        receiver.requests().iter().map(|each| text(each).lines().nth(1).expect("a text").to_owned()).collect();
    texts.sort();
    assert_eq!(texts, ["one Team/a 9 x", "one Team/b 100 (no more.deep)", "two Team/b"]);
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 0 messages.\n");
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_anywhere_loses_no_message_and_sends_what_it_repeats_under_the_same_id() {
    let receiver = Receiver::start(|_, _| 200);
    let desk = Desk::to(&receiver, "", ALL).await;
    for (round, point) in ["match", "queue", "claim", "send", "note"].into_iter().enumerate() {
        desk.tell("drift.detected", "Team/a", &json!({"round": round}));
        let before = receiver.requests().len();
        let mut command = desk.command(&["relay", "--once"]);
        let output = command.env("ARGUS_FAILPOINT", format!("notify.after_{point}")).output().expect("it runs");
        assert!(output.status.code().is_none(), "it dies after {point}: {}", said(&output));
        desk.sql("UPDATE argus.shard SET until = '-infinity'; DELETE FROM argus.relay");
        desk.sql("UPDATE argus.notification_gate SET held_until = '-infinity'");
        desk.relays();
        let ids = ids(&receiver.requests()[before..]);
        match point {
            "send" => assert!(ids.len() == 2 && ids[0] == ids[1], "after {point}: {ids:?}"),
            _ => assert_eq!(ids.len(), 1, "after {point}"),
        }
        assert_eq!(desk.sql("SELECT count(*) FROM argus.notification WHERE state = 'sent'"), (round + 1).to_string());
    }
    assert_eq!(desk.sql("SELECT count(*) FROM argus.delivery"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_that_work_together_send_each_message_once_and_matching_again_adds_none() {
    let receiver = Receiver::start(|_, _| 200);
    let desk = Desk::to(&receiver, "", ALL).await;
    for number in 0..60 {
        desk.tell("drift.detected", &format!("Team/{number}"), &json!({}));
    }
    let relays: Vec<_> = (0..3).map(|_| desk.command(&["relay", "--once"]).spawn().expect("it starts")).collect();
    for mut relay in relays {
        assert!(relay.wait().expect("it ends").success());
    }
    // What others held when one of them ended is there for the next.
    desk.relays();
    let mut came = ids(&receiver.requests());
    came.sort();
    let all = came.len();
    came.dedup();
    assert_eq!((all, came.len()), (60, 60));
    desk.sql(
        "INSERT INTO argus.delivery SELECT 'notifications', argus.shard_of(organization), organization, position
         FROM argus.event WHERE organization = 'acme' AND type = 'drift.detected'",
    );
    assert_eq!(desk.done(&["relay", "--once", "--sink", "notifications"]), "Delivered 0 events.\nSent 0 messages.\n");
    assert_eq!(receiver.requests().len(), 60);
    desk.done(&["relay", "--forget", "notifications"]);
    desk.tell("drift.detected", "Team/a", &json!({}));
    assert_eq!(desk.sql("SELECT count(*) FROM argus.delivery"), "0", "nobody waits for it any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_never_answer_delay_no_other() {
    // They take connections, and that is all.
    let dead = TcpListener::bind("127.0.0.1:0").expect("a port");
    let alive = Receiver::start(|_, _| 200);
    let many: Vec<String> = (0..40).map(|n| format!("dead{n:02}")).collect();
    let channel =
        |name: &str| format!("- {{name: {name}, type: slack, config: {{secretRef: {{name: {name}, key: url}}}}}}\n");
    let rule = |name: &str| format!("- {{name: {name}, channel: {name}, events: ['*']}}\n");
    // The one that works comes last, whatever the order is by.
    let names: Vec<&str> = many.iter().map(String::as_str).chain(["works"]).collect();
    let desk = Desk::new(
        &names.iter().map(|name| channel(name)).collect::<String>(),
        &names.iter().map(|name| rule(name)).collect::<String>(),
    )
    .await;
    let port = dead.local_addr().expect("an address").port();
    for name in &many {
        desk.secret(name, "url", &format!("http://127.0.0.1:{port}/"));
    }
    // A mail server can be as dead as any other.
    desk.secret("dead01", "url", &format!("smtps://argus%40acme.example:x@localhost:{port}"));
    desk.sql("UPDATE argus.notification_channel SET type = 'email', config_addresses = '{a@acme.example}' WHERE name = 'dead01'");
    desk.sql("DELETE FROM argus.delivery");
    desk.secret("works", "url", &alive.url("/"));
    desk.tell("drift.detected", "Team/a", &json!({}));
    let mut relay = desk.command(&["relay"]).spawn().expect("it starts");
    until("the one that works is told", || !alive.requests().is_empty());
    // None of the others has come to an end yet.
    let ended = desk.sql("SELECT count(*) FROM argus.notification WHERE channel LIKE 'dead%' AND attempts > 0");
    assert_eq!(ended, "0");
    until("the others were tried", || desk.sql("SELECT count(*) FROM argus.notification WHERE attempts = 0") == "0");
    // The dead are known to be dead; what happens now still arrives at once.
    desk.tell("drift.detected", "Team/b", &json!({}));
    until("the one that works is told again", || alive.requests().len() == 2);
    // Whoever is told to stop does so, whatever hangs.
    let told = std::process::Command::new("kill").args(["-TERM", &relay.id().to_string()]).status().expect("it runs");
    assert!(told.success() && relay.wait().expect("it ends").success());
    for name in ["dead00", "dead01"] {
        let why =
            desk.sql(&format!("SELECT DISTINCT why FROM argus.notification WHERE channel = '{name}' AND attempts > 0"));
        assert!(why.contains("no answer within") || why.contains("time"), "{name}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_is_tried_again_and_what_never_will_be_is_not() {
    let receiver = Receiver::replying(|_, before| match before {
        0 => Reply { status: 500, body: format!("out of order?token={CANARY}\u{7}\n"), ..Reply::default() },
        1 => Reply { status: 429, head: "retry-after: 7200\r\n".into(), ..Reply::default() },
        2 => Reply { status: 200, ..Reply::default() },
        3 => Reply { status: 410, body: "gone".into(), ..Reply::default() },
        _ => Reply { status: 307, ..Reply::default() },
    });
    let desk = Desk::to(&receiver, "", ALL).await;
    desk.tell("drift.detected", "Team/a", &json!({}));
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 0 messages, 1 tried again later.\n");
    assert_eq!(desk.states(), "waiting 1 the receiver answers 500: out of order?token=********");
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 0 messages.\n", "it is not yet time");
    desk.later();
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 0 messages, 1 tried again later.\n");
    // However long a receiver wants to be left alone, an hour is the most.
    let wait = desk.sql("SELECT wake BETWEEN clock_timestamp() + interval '50 min' AND clock_timestamp() + interval '61 min' FROM argus.notification_gate");
    assert_eq!(wait, "t");
    desk.later();
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 1 message.\n");
    for _ in 0..2 {
        desk.tell("drift.detected", "Team/a", &json!({}));
        assert_eq!(desk.relays(), "Delivered 0 events.\nSent 0 messages, 1 refused for good.\n");
    }
    let states = "sent 3\nfailed 1 the receiver answers 410: gone\n\
                  failed 1 the receiver answers 307, and nobody is followed elsewhere";
    assert_eq!(desk.states(), states);
    // The first three were the same message.
    let ids = ids(&receiver.requests());
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3] && ids.len() == 5, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_answers_without_end_is_cut_short() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut request = [0; 65536];
                let _ = stream.read(&mut request);
                let mut more = stream.write_all(b"HTTP/1.1 500 So\r\ntransfer-encoding: chunked\r\n\r\n");
                while more.is_ok() {
                    more = stream.write_all(b"8\r\nagain...\r\n");
                }
            });
        }
    });
    let desk = Desk::to(&Receiver::start(|_, _| 200), "", ALL).await;
    desk.secret("ops", "url", &format!("http://127.0.0.1:{port}/"));
    desk.tell("drift.detected", "Team/a", &json!({}));
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 0 messages, 1 tried again later.\n");
    let told = desk.states();
    assert!(told.starts_with("waiting 1 the receiver answers 500: again...again") && told.len() < 200, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_for_days_is_given_up_and_says_so() {
    let receiver = Receiver::start(|_, _| 503);
    let desk = Desk::to(&receiver, "", ALL).await;
    desk.tell("drift.detected", "Team/a", &json!({}));
    desk.relays();
    desk.sql("UPDATE argus.notification SET created_at = created_at - interval '3 days'");
    desk.later();
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 0 messages.\n");
    assert_eq!(desk.states(), "failed 1 not taken within 3 days; the last attempt: the receiver answers 503");
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(desk.sql("SELECT count(*) FROM argus.notification_gate"), "0", "nothing waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn within_the_cooldown_the_same_is_told_once_and_then_with_how_many_there_were() {
    let receiver = Receiver::start(|_, _| 200);
    let desk =
        Desk::to(&receiver, "", "- {name: all, channel: ops, events: ['*'], cooldown: 1h, template: '{{ subject }}'}")
            .await;
    for subject in ["Team/a", "Team/a", "Team/b", "Team/a"] {
        desk.tell("drift.detected", subject, &json!({}));
    }
    desk.tell("drift.resolved", "Team/a", &json!({}));
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 3 messages.\n");
    let listed = desk.done(&["notify", "list", "-O", "acme"]);
    assert!(listed.contains("Not told because of a cooldown: 2 events.\n"), "{listed}");
    desk.sql("UPDATE argus.notification_quiet SET until = clock_timestamp() - interval '1 second'");
    desk.tell("drift.detected", "Team/a", &json!({}));
    desk.tell("drift.detected", "Team/b", &json!({}));
    desk.tell("drift.detected", "Team/a", &json!({}));
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 2 messages.\n");
    let texts: Vec<String> = receiver.requests()[3..].iter().map(text).collect();
    assert!(texts[0].ends_with("Team/a\n(2 more like this were not told meanwhile.)"), "{texts:?}");
    assert!(texts[1].ends_with("Team/b"), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_of_an_hour_messages_wait_and_the_important_go_first() {
    let receiver = Receiver::start(|_, _| 200);
    let rules = "- {name: few, channel: ops, events: [run.failed, plan.denied], priority: critical, template: '{{ priority }} {{ subject }}'}
- {name: rest, channel: ops, events: ['drift.*'], priority: low, template: '{{ priority }} {{ subject }}'}";
    let desk = Desk::to(&receiver, ", rateLimitPerHour: 2", rules).await;
    for number in 1..=3 {
        desk.tell("drift.detected", &format!("Team/{number}"), &json!({}));
    }
    desk.tell("plan.denied", "plan", &json!({}));
    let told = || -> Vec<String> {
        receiver.requests().iter().map(|each| text(each).lines().nth(1).expect("a text").to_owned()).collect()
    };
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 2 messages.\n");
    assert_eq!(told(), ["critical plan", "low Team/1"]);
    // A new event wakes the channel, and there is no more room for it.
    desk.tell("drift.detected", "Team/4", &json!({}));
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 0 messages.\n");
    let opens = desk.sql("SELECT wake > clock_timestamp() + interval '58 minutes' FROM argus.notification_gate");
    assert_eq!(opens, "t", "nobody looks again before there is room");
    // An hour ago for one of both.
    desk.sql(
        "UPDATE argus.notification SET done_at = done_at - interval '1 hour' WHERE state = 'sent' AND priority = 3;
         UPDATE argus.notification_gate SET wake = '-infinity'",
    );
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 1 message.\n");
    assert_eq!(told(), ["critical plan", "low Team/1", "low Team/2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_gives_up_the_least_important_and_counts_them() {
    let receiver = Receiver::start(|_, _| 500);
    let rules = "- {name: low, channel: ops, events: ['drift.*'], priority: low}
- {name: high, channel: ops, events: ['plan.*'], priority: high}";
    let desk = Desk::to(&receiver, "", rules).await;
    desk.sql(
        "INSERT INTO argus.notification (organization, event, position, type, subject, rule, channel, priority, title, text, due)
         SELECT 'acme', gen_random_uuid(), -n, 'drift.detected', 'Team/' || n, 'low', 'ops', 0, 'x', 'x', 'infinity'
         FROM generate_series(1, 10000) n",
    );
    for _ in 0..3 {
        desk.tell("plan.denied", "plan", &json!({}));
    }
    desk.tell("drift.detected", "Team/new", &json!({}));
    desk.relays();
    let left = desk.sql("SELECT priority || ' ' || count(*) FROM argus.notification WHERE state = 'waiting' GROUP BY priority ORDER BY 1");
    assert_eq!(left, "0 9997\n2 3");
    let newest = desk.sql("SELECT count(*) FROM argus.notification WHERE subject = 'Team/new'");
    assert_eq!(newest, "1", "of what matters as little the oldest goes");
    let listed = desk.done(&["notify", "list", "-O", "acme", "--state", "failed"]);
    assert!(listed.contains("Given up because the queue was full: 4 messages.\n"), "{listed}");
    let doctor = desk.run(&["doctor"]);
    assert!(said(&doctor).contains("BAD   4 messages given up because a queue was full"), "{}", said(&doctor));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_channel_that_is_disabled_or_gone_is_dropped_and_says_why() {
    let receiver = Receiver::start(|_, _| 500);
    let desk = Desk::to(&receiver, "", ALL).await;
    desk.tell("drift.detected", "Team/a", &json!({}));
    desk.relays();
    desk.sql("UPDATE argus.notification_channel SET enabled = false");
    desk.later();
    desk.relays();
    desk.sql("UPDATE argus.notification_channel SET enabled = true");
    desk.sql("DELETE FROM argus.delivery");
    desk.tell("drift.detected", "Team/b", &json!({}));
    desk.relays();
    desk.sql("DELETE FROM argus.notification_rule; DELETE FROM argus.notification_channel; DELETE FROM argus.delivery");
    desk.later();
    desk.relays();
    let states = "dropped 1 the channel is disabled; the last attempt: the receiver answers 500\n\
                  dropped 1 there is no such channel any more; the last attempt: the receiver answers 500";
    assert_eq!(desk.sql("SELECT state || ' ' || attempts || ' ' || why FROM argus.notification WHERE subject LIKE 'Team/_' ORDER BY position"), states);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_tells_of_every_message_as_a_table_and_as_json() {
    let receiver = Receiver::start(|_, before| [200, 404, 500][before]);
    let desk = Desk::to(&receiver, "", ALL).await;
    for subject in ["Team/a", "Team/b", "Team/c"] {
        desk.tell("drift.detected", subject, &json!({}));
        desk.relays();
    }
    let table = desk.done(&["notify", "list", "-O", "acme"]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    assert_eq!(rows[0], ["STATE", "CHANNEL", "RULE", "EVENT", "SUBJECT", "PRIORITY", "TRIES", "AT", "WHY"]);
    assert_eq!((rows[1][0], rows[1][4], rows[1][8]), ("waiting", "Team/c", "the receiver answers 500"), "{table}");
    assert_eq!((rows[2][0], rows[2][4], rows[2][8]), ("failed", "Team/b", "the receiver answers 404"), "{table}");
    assert_eq!((rows[3][0], rows[3][4]), ("sent", "Team/a"), "{table}");
    let json: serde_json::Value =
        serde_json::from_str(&desk.done(&["notify", "list", "-O", "acme", "--state", "failed", "-o", "json"]))
            .expect("JSON");
    assert_eq!(json["document"], "argus.notifications");
    assert_eq!(json["items"].as_array().expect("items").len(), 1);
    assert_eq!(
        (&json["items"][0]["type"], &json["items"][0]["why"]),
        (&json!("drift.detected"), &json!("the receiver answers 404"))
    );
    // A tenant sees its own queue and changes nothing of it.
    let app = |organization: &str, sql: &str| {
        desk.sql(&format!("SET argus.org = '{organization}'; SET ROLE argus_app; {sql}"))
    };
    assert_eq!(app("acme", "SELECT count(*) FROM argus.notification"), "3");
    assert_eq!(app("globex", "SELECT count(*) FROM argus.notification"), "0");
    let may = "SELECT has_table_privilege('argus_app', 'argus.notification', 'INSERT, UPDATE, DELETE')";
    assert_eq!(desk.sql(may), "f");
    let nobody = desk.run(&["notify", "list", "-O", "globex"]);
    assert!(
        nobody.status.code() == Some(1) && said(&nobody).contains("there is no organization `globex`"),
        "{}",
        said(&nobody)
    );
    let doctor = said(&desk.run(&["doctor"]));
    assert!(doctor.contains("ok    1 message waiting for channels of organizations, 1 not taken"), "{doctor}");
    assert!(doctor.contains("0 events for the sink `notifications` wait") && !doctor.contains("BAD"), "{doctor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_organization_takes_all_places_and_a_channel_is_held_by_one_at_a_time() {
    let desk = Desk::new("[]", "[]").await;
    let store = desk.database.store().await;
    desk.sql(
        "INSERT INTO argus.notification_gate (organization, channel, wake)
         SELECT 'acme', 'c' || n, '-infinity' FROM generate_series(1, 100) n UNION ALL SELECT 'globex', 'c1', clock_timestamp();
         INSERT INTO argus.notification_gate (organization, channel, wake, failures) VALUES
             ('initech', 'long-dead', '-infinity', 30), ('initech', 'once', clock_timestamp(), 1)",
    );
    let lease = std::time::Duration::from_secs(60);
    let hold = async |failing, at_most| store.hold_gates(failing, at_most, lease).await.expect("gates");
    let held = hold(false, 256).await;
    assert_eq!(held.iter().filter(|gate| gate.organization == "acme").count(), 64);
    assert!(held.iter().any(|gate| gate.organization == "globex") && held.len() == 65);
    assert_eq!(hold(false, 256).await, [], "they are held");
    assert_eq!(hold(true, 1).await[0].channel, "once", "before one that is long dead");
    // Whoever held them has died: when the lease has ended they are free.
    desk.sql("UPDATE argus.notification_gate SET held_until = clock_timestamp() - interval '1 second'");
    let held = hold(false, 256).await;
    assert_eq!(held.len(), 65);
    for gate in &held {
        store.release_gate(gate, 0, std::time::Duration::ZERO).await.expect("it is free");
    }
    assert_eq!(hold(false, 256).await.len(), 36, "for the others nothing is due");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_many_rules_has_as_many_as_are_followed_and_keeps_nobody_else_waiting() {
    let rules: String =
        (0..120).map(|number| format!("- {{name: r{number:03}, channel: ops, events: ['*']}}\n")).collect();
    let receiver = Receiver::start(|_, _| 200);
    let desk = Desk::to(&receiver, "", &rules).await;
    for number in 0..12 {
        desk.tell("drift.detected", &format!("Team/{number}"), &json!({}));
    }
    let store = desk.database.store().await;
    assert_eq!(store.notification_rules(&["acme"]).await.expect("rules").len(), 100);
    desk.relays();
    assert_eq!(desk.sql("SELECT count(*) FROM argus.notification"), "1200", "in several turns");
    assert_eq!(desk.sql("SELECT max(rule) FROM argus.notification"), "r099");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_its_time_counts_as_one_that_fails_until_it_is_quick() {
    let receiver = Receiver::start(|_, before| {
        if before < 2 {
            std::thread::sleep(std::time::Duration::from_secs(3));
        }
        200
    });
    let desk = Desk::to(&receiver, "", ALL).await;
    for number in 0..3 {
        desk.tell("drift.detected", &format!("Team/{number}"), &json!({}));
    }
    let _relay = Ended(desk.command(&["relay"]).spawn().expect("it runs"));
    until("it was slow", || desk.sql("SELECT failures FROM argus.notification_gate") == "1");
    until("all were taken", || receiver.requests().len() == 3 && !desk.states().contains("waiting"));
    until("it is quick again", || desk.sql("SELECT failures FROM argus.notification_gate") == "0");
}

/// A process that ends with its test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_under_which_events_wait_is_registered_again_where_somebody_forgets_it() {
    let receiver = Receiver::start(|_, _| 200);
    let desk = Desk::to(&receiver, "", ALL).await;
    let _relay = Ended(desk.command(&["relay"]).spawn().expect("it runs"));
    until("it matches", || desk.sql("SELECT count(*) FROM argus.relay") == "1");
    desk.sql("DELETE FROM argus.sink");
    until("it is there again", || desk.sql("SELECT count(*) FROM argus.sink") == "1");
    desk.tell("drift.detected", "Team/a", &json!({}));
    until("what comes then is sent", || receiver.requests().len() == 1);
}
