//! The relay against a real broker: every event once, in order per organization, whatever dies on the way.

mod broker;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::collector::Collector;
use crate::support::kafka::{Broker, Message, PARTITIONS, shared};
use crate::support::postgres::{Database, scratch};
use crate::support::receiver::Receiver;

/// The binary.
const ARGUS: &str = env!("CARGO_BIN_EXE_argus");

/// A database, and the settings of a machine whose only sink is a broker.
struct Post {
    database: Database,
    folder: PathBuf,
    topics: String,
}

impl Post {
    async fn new(broker: &Broker, more: &str) -> Post {
        Post::at(&broker.address(), broker.topics(PARTITIONS), more).await
    }

    /// A sink of the name `broker` that leads to this address, and to topics whose names begin like this.
    async fn at(address: &str, topics: String, more: &str) -> Post {
        let named: Vec<String> =
            argus::event::Topic::ALL.iter().map(|topic| format!("{topic}: {topics}.{topic}")).collect();
        let settings = format!(
            "sinks:\n  - name: broker\n    kafka:\n      brokers: ['{address}']\n      topics: {{{}}}\n{more}",
            named.join(", ")
        );
        let mut post = Post::with(&settings).await;
        post.topics = topics;
        post.sql("INSERT INTO argus.sink (name) VALUES ('broker')");
        post
    }

    async fn with(settings: &str) -> Post {
        let (database, folder) = (Database::new().await, scratch("relay"));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("machine.yaml"), settings).expect("the settings");
        Post { database, folder, topics: String::new() }
    }

    /// A sink of the name `hook` that leads here.
    async fn to(receiver: &Receiver) -> Post {
        let url = receiver.url("/events?token=canary");
        let post = Post::with(&format!("sinks: [{{name: hook, webhook: {{url: '{url}', secretFile: key}}}}]\n")).await;
        std::fs::write(post.folder.join("key"), "a secret that is long enough\n").expect("the key");
        post.sql("INSERT INTO argus.sink (name) VALUES ('hook')");
        post
    }

    fn sql(&self, sql: &str) -> String {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command", sql]);
        let output = psql.envs(self.database.url.environment()).stdin(Stdio::null()).output().expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Tells of so many things that happen to an organization.
    fn tell(&self, organization: &str, many: usize) {
        self.sql(&format!(
            "SELECT argus.tell('{organization}', NULL, NULL, array_agg('resource.updated'::text), array_agg('Team/t' || n),
                 array_agg('{{\"organization\": \"{organization}\", \"name\": \"t' || n || '\"}}'))
             FROM generate_series(1, {many}) n"
        ));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ARGUS);
        command.args(arguments).arg("--config").arg(self.folder.join("machine.yaml")).current_dir(&self.folder);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("ARGUS_DATABASE_URL", self.database.url.to_string()).stdin(Stdio::null());
        command
    }

    fn relay(&self) -> Output {
        self.command(&["relay", "--once"]).output().expect("the relay runs")
    }

    /// Relays everything, and says what it said.
    fn relays(&self) -> String {
        let output = self.relay();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What stands in the topic of what was written.
    fn read(&self, broker: &Broker) -> Vec<Message> {
        broker.read(&format!("{}.audit", self.topics))
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The positions of each organization in the order in which they stand on the wire, without what comes a second time; and
/// how many messages come a second time.
fn positions(messages: &[Message]) -> (BTreeMap<String, Vec<i64>>, usize) {
    let (mut seen, mut again) = (HashSet::new(), 0);
    let mut positions: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for message in messages {
        if seen.insert(message.id()) {
            let position = message.json()["sequence"].as_str().and_then(|text| text.parse().ok()).expect("a number");
            positions.entry(message.key.clone()).or_default().push(position);
        } else {
            again += 1;
        }
    }
    (positions, again)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_once_and_in_order_on_the_partition_of_its_organization() {
    let post = Post::new(shared(), "").await;
    for (organization, many) in [("acme", 500), ("globex", 300), ("initech", 1)] {
        post.tell(organization, many);
    }
    assert_eq!(post.relays(), "Delivered 801 events.\n");
    assert_eq!(post.relays(), "Delivered 0 events.\n");
    let messages = post.read(shared());
    let (positions, again) = positions(&messages);
    assert_eq!(again, 0);
    for (organization, many) in [("acme", 500), ("globex", 300), ("initech", 1)] {
        assert_eq!(positions[organization], (1..=many).collect::<Vec<i64>>());
        let of = messages.iter().filter(|message| message.key == organization);
        assert_eq!(of.map(|message| message.partition).collect::<HashSet<_>>().len(), 1, "{organization}");
    }
    let first = messages[0].json();
    assert_eq!(first["type"], "io.argus.resource.updated");
    assert_eq!(first["id"], messages[0].id());
    assert_eq!(messages[0].header("content-type"), Some("application/cloudevents+json; charset=utf-8"));
    assert_eq!(post.sql("SELECT count(*) FROM argus.delivery"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_binary_mode_the_attributes_are_headers_and_people_have_other_names() {
    let post = Post::new(shared(), "      mode: binary\n      compression: lz4\n    pseudonymKeyFile: key\n").await;
    std::fs::write(post.folder.join("key"), "a key that is long enough\n").expect("the key");
    post.sql(
        "SELECT argus.tell('acme', NULL, NULL, '{resource.created}', '{Member/ada@acme.example}',
             ARRAY['{\"name\": \"ada@acme.example\", \"actor\": \"Grace\"}'])",
    );
    post.relays();
    let messages = post.read(shared());
    let said = format!("{messages:?}");
    assert!(!said.contains("ada@") && !said.contains("Grace"), "{said}");
    assert_eq!(messages[0].header("ce_type"), Some("io.argus.resource.created"));
    assert_eq!(messages[0].header("ce_specversion"), Some("1.0"));
    let person = messages[0].json()["name"].as_str().expect("a name").to_owned();
    assert!(person.starts_with("person-"), "{person}");
    assert_eq!(messages[0].header("ce_subject"), Some(format!("Member/{person}").as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_says_which_trace_it_is_part_of_in_either_mode() {
    let collector = Collector::start();
    for (mode, more) in [("structured", ""), ("binary", "      mode: binary\n")] {
        let post = Post::new(shared(), more).await;
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (organization, trace) in [("acme", format!("'{trace}'")), ("globex", "NULL".into())] {
            post.sql(&format!(
                "SELECT argus.tell('{organization}', NULL, {trace}, '{{resource.created}}', '{{Team/core}}',
                     ARRAY['{{\"name\": \"core\"}}'])"
            ));
        }
        let mut relay = post.command(&["relay", "--once"]);
        relay.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
        assert!(relay.output().expect("it runs").status.success());
        for message in post.read(shared()) {
            let expected = Some(trace).filter(|_| message.key == "acme");
            assert_eq!(message.header("traceparent"), expected, "{mode}: {message:?}");
            match mode {
                "binary" => assert_eq!(message.header("ce_traceparent"), expected, "{message:?}"),
                _ => assert_eq!(message.json()["traceparent"].as_str(), expected, "{message:?}"),
            }
        }
    }
    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "what is in no trace has no span: {spans:?}");
    for span in spans {
        assert_eq!((&*span.trace, &*span.parent), ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"));
        assert_eq!((&*span.name, span.of("messaging.system")), ("send broker", "kafka"));
        assert_eq!(span.of("cloudevents.event_type"), "io.argus.resource.created");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_costs_no_event_and_no_order() {
    let mut broker = tokio::task::spawn_blocking(Broker::start).await.expect("a broker");
    let post = Post::new(&broker, "").await;
    post.tell("acme", 50);
    post.relays();
    broker.kill();
    // What happens meanwhile is written all the same.
    for _ in 0..3 {
        post.tell("acme", 50);
        post.tell("globex", 10);
    }
    let output = post.relay();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ARG1901"), "{output:?}");
    assert_eq!(post.sql("SELECT count(*) FROM argus.delivery"), "180");
    broker.resume();
    post.relays();
    let (positions, again) = positions(&post.read(&broker));
    assert_eq!(positions["acme"], (1..=200).collect::<Vec<i64>>());
    assert_eq!(positions["globex"], (1..=30).collect::<Vec<i64>>());
    assert_eq!(again, 0, "the relay looks before it sends again");
    assert_eq!(post.sql("SELECT count(*) FROM argus.delivery"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_anywhere_loses_nothing_and_sends_nothing_twice() {
    let post = Post::new(shared(), "").await;
    for (round, point) in ["hold", "claim", "delivery", "confirm", "question"].into_iter().enumerate() {
        post.tell("acme", 20);
        post.tell("globex", 20);
        let mut command = post.command(&["relay", "--once", "--workers", "1"]);
        let output = command.env("ARGUS_FAILPOINT", format!("relay.after_{point}")).output().expect("it runs");
        if point != "question" {
            assert!(output.status.code().is_none(), "it dies after {point}: {output:?}");
        }
        // What the dead one held is free when its lease has passed; here nobody waits for that.
        post.sql("UPDATE argus.shard SET until = '-infinity'; DELETE FROM argus.relay");
        post.relays();
        let (positions, again) = positions(&post.read(shared()));
        let all: Vec<i64> = (1..=20 * (round as i64 + 1)).collect();
        assert_eq!((&positions["acme"], &positions["globex"]), (&all, &all), "after {point}");
        assert_eq!(again, 0, "after {point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_was_paused_beyond_its_lease_confirms_nothing() {
    let post = Post::new(shared(), "").await;
    let store = post.database.store().await;
    post.tell("acme", 5);
    store.register_sink("broker").await.expect("the sink");
    let lease = std::time::Duration::from_secs(30);
    let old = store.hold_shards("broker", "old", lease).await.expect("the parts");
    let claimed = store.claim("broker", &old, 10).await.expect("a claim");
    assert_eq!(claimed.len(), 5);
    post.sql("UPDATE argus.shard SET until = '-infinity'; DELETE FROM argus.relay");
    let new = store.hold_shards("broker", "new", lease).await.expect("the parts");
    assert_eq!(new.len(), 16);
    assert!(new.iter().any(|shard| shard.uncertain), "what was claimed may have arrived");
    let of = claimed[0].shard;
    let part: Vec<_> = old.iter().filter(|shard| shard.number == of).copied().collect();
    let arrivals: Vec<_> = claimed.iter().map(|event| (event, argus::store::deliveries::Arrival::Confirmed)).collect();
    store.confirm("broker", &part, &arrivals, true).await.expect_err("it is fenced out");
    assert_eq!(post.sql("SELECT count(*) FROM argus.delivery"), "5");
    assert!(store.claim("broker", &old, 10).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_relays_share_the_parts_fairly() {
    let post = Post::new(shared(), "").await;
    let store = post.database.store().await;
    store.register_sink("broker").await.expect("the sink");
    let lease = std::time::Duration::from_secs(30);
    assert_eq!(store.hold_shards("broker", "a", lease).await.expect("all").len(), 16);
    assert_eq!(store.hold_shards("broker", "b", lease).await.expect("none is free").len(), 0);
    assert_eq!(store.hold_shards("broker", "a", lease).await.expect("the half").len(), 8);
    assert_eq!(store.hold_shards("broker", "b", lease).await.expect("the other half").len(), 8);
    store.release_shards("broker", "a").await.expect("it goes");
    assert_eq!(store.hold_shards("broker", "b", lease).await.expect("all of it").len(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_each_event_signed_and_those_of_an_organization_in_order() {
    let receiver = Receiver::start(|_, _| 204);
    let post = Post::to(&receiver).await;
    post.tell("acme", 30);
    post.tell("globex", 20);
    assert_eq!(post.relays(), "Delivered 50 events.\n");
    let mut positions: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for request in receiver.requests() {
        let event: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
        assert_eq!(request.header("webhook-id"), event["id"].as_str().expect("an id"));
        assert!(request.header("webhook-signature").starts_with("v1,"));
        assert_eq!(request.header("content-type"), "application/cloudevents+json; charset=utf-8");
        let position = event["sequence"].as_str().and_then(|text| text.parse().ok()).expect("a number");
        positions.entry(event["organization"].as_str().expect("a name").into()).or_default().push(position);
    }
    assert_eq!(positions["acme"], (1..=30).collect::<Vec<i64>>());
    assert_eq!(positions["globex"], (1..=20).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_a_webhook_does_not_take_holds_back_its_organization_alone() {
    // The third event of acme is not taken at first.
    let stubborn = std::sync::atomic::AtomicBool::new(true);
    let refusing = std::sync::Arc::new(stubborn);
    let asked = refusing.clone();
    let receiver = Receiver::start(move |request, _| {
        let third = request.body.contains("\"organization\":\"acme\"") && request.body.contains("\"sequence\":\"3\"");
        if third && asked.load(std::sync::atomic::Ordering::SeqCst) { 503 } else { 200 }
    });
    let post = Post::to(&receiver).await;
    post.tell("acme", 5);
    post.tell("globex", 5);
    let output = post.relay();
    assert_eq!(output.status.code(), Some(1));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(said.contains("ARG1901") && said.contains("503") && !said.contains("canary"), "{said}");
    assert_eq!(post.sql("SELECT organization || ' ' || count(*) FROM argus.delivery GROUP BY organization"), "acme 3");
    refusing.store(false, std::sync::atomic::Ordering::SeqCst);
    post.relays();
    let sent: Vec<String> = receiver
        .requests()
        .iter()
        .filter(|request| request.body.contains("\"organization\":\"acme\""))
        .map(|request| serde_json::from_str::<serde_json::Value>(&request.body).expect("JSON")["sequence"].to_string())
        .collect();
    assert_eq!(sent, ["\"1\"", "\"2\"", "\"3\"", "\"3\"", "\"4\"", "\"5\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_followed_nowhere_and_what_is_too_large_for_it_is_put_aside() {
    let elsewhere = Receiver::start(|_, before| if before == 0 { 307 } else { 413 });
    let post = Post::to(&elsewhere).await;
    post.tell("acme", 1);
    // With more workers, one that is late tries again what another gave up.
    let output = post.command(&["relay", "--once", "--workers", "1"]).output().expect("the relay runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("307"), "{output:?}");
    assert_eq!(post.relays(), "Delivered 0 events, 1 refused for good.\n");
    assert_eq!(
        post.sql("SELECT sink || ' ' || position || ' ' || why FROM argus.undeliverable"),
        "hook 1 it is too large for the receiver"
    );
    let output = post.command(&["doctor"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("BAD   the sink `hook` has refused 1 event for good"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_of_topics_that_are_not_there_and_of_sinks_that_nobody_names() {
    let post = Post::new(shared(), "      partitions: 3\n").await;
    let doctor = |post: &Post| {
        let output = post.command(&["doctor"]).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = doctor(&post);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ok    the sink `broker` is ready"), "{said}");
    post.sql("INSERT INTO argus.sink (name) VALUES ('gone')");
    post.tell("acme", 3);
    let settings = std::fs::read_to_string(post.folder.join("machine.yaml")).expect("the settings");
    let other = settings
        .replace(&format!("drift: {}.drift", post.topics), "drift: nowhere")
        .replace("partitions: 3", "partitions: 5");
    std::fs::write(post.folder.join("machine.yaml"), other).expect("the settings");
    let (code, said) = doctor(&post);
    assert_eq!(code, Some(1), "{said}");
    for bad in ["there is no topic `nowhere`", "has 3 partitions and not 5", "argus relay --forget gone"] {
        assert!(said.contains(bad), "{said}");
    }
    let output = post.command(&["relay", "--forget", "gone"]).output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Forgot the sink gone.\n");
    assert_eq!(post.sql("SELECT count(*) FROM argus.delivery"), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_documents_and_settings_that_make_no_sense_are_told() {
    let post = Post::with("sinks: [{name: out, lines: {}}]\n").await;
    post.sql("INSERT INTO argus.sink (name) VALUES ('out')");
    post.tell("acme", 3);
    let lines = post.relays();
    for (of, told) in [("events", "goes with `argus schema asyncapi` alone"), ("asyncapi", "does not lead to Kafka")] {
        let output = post.command(&["schema", of, "--sink", "out"]).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(told), "{said}");
    }
    let types: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(types.len(), 3);
    for (settings, told) in [
        ("sinks: []", "no sink is configured"),
        ("sinks: [{name: a}]", "leads nowhere"),
        ("sinks: [{name: a, lines: {}, kafka: {brokers: ['x:1']}}]", "leads to two places"),
        ("sinks: [{name: a, lines: {}}, {name: a, lines: {}}]", "two sinks are called `a`"),
        ("sinks: [{name: A, lines: {}}]", "it needs a name"),
        ("sinks: [{name: a, kafka: {brokers: [x]}}]", "not written as `host:port`"),
        ("sinks: [{name: a, kafka: {brokers: ['x:1'], topics: {audits: y}}}]", "there is no topic `audits`"),
        (
            "sinks: [{name: a, kafka: {brokers: ['x:1'], sasl: {mechanism: PLAIN, username: u, passwordFile: f}}}]",
            "PLAIN sends",
        ),
        ("sinks: [{name: a, kafka: {brokers: ['x:1'], sasl: {username: u, passwordFile: f}}}]", "f cannot be read"),
        ("sinks: [{name: a, webhook: {url: 'http://acme.example', secretFile: f}}]", "must begin with https"),
        ("sinks: [{name: a, webhook: {url: 'https://u:p@acme.example', secretFile: f}}]", "holds a password"),
        ("sinks: [{name: a, pseudonymKeyFile: machine.yaml.not, lines: {}}]", "cannot be read"),
    ] {
        std::fs::write(post.folder.join("machine.yaml"), settings).expect("the settings");
        let output = post.relay();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(told), "{settings}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_webhook_gets_each_event_once_however_long_it_takes() {
    // 45 events of one organization take longer than one turn may.
    let receiver = Receiver::start(|_, _| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        200
    });
    let post = Post::to(&receiver).await;
    post.tell("acme", 45);
    assert_eq!(post.relays(), "Delivered 45 events.\n");
    assert_eq!(receiver.requests().len(), 45);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_when_they_are_old_and_nobody_waits_for_them() {
    let receiver = Receiver::start(|_, _| 503);
    let post = Post::to(&receiver).await;
    post.tell("acme", 3);
    let keep = |time: &str| post.command(&["relay", "--once", "--keep", time]).output().expect("it runs");
    assert_eq!(keep("0s").status.code(), Some(1), "nothing is taken");
    assert_eq!(post.sql("SELECT count(*) FROM argus.event"), "3", "the sink waits for them");
    post.sql("DELETE FROM argus.delivery");
    assert_eq!(keep("1d").status.code(), Some(0));
    assert_eq!(post.sql("SELECT count(*) FROM argus.event"), "3", "they are young");
    assert_eq!(keep("0s").status.code(), Some(0));
    assert_eq!(post.sql("SELECT count(*) FROM argus.event"), "0");
    let said = keep("soon");
    assert!(String::from_utf8_lossy(&said.stderr).contains("`soon` is no length of time"), "{said:?}");
}
