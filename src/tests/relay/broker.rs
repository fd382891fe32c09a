//! The way to a broker: who is let in, what happens when it fails, and a reader that knows nothing of Argus.

use std::process::Command;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::{Post, positions};
use crate::support::kafka::{PARTITIONS, PASSWORD, USER, read, shared};
use crate::support::tls::{Authority, authority};

/// How many brokers a cluster has whose faults are made.
const BROKERS: i32 = 3;

/// A sink on the shared broker, at this address and with these settings.
async fn at(address: &str, more: &str) -> Post {
    let post = Post::at(address, shared().topics(PARTITIONS), more).await;
    let own = authority().issue(&["argus"]);
    for (file, text) in [
        ("ca.pem", authority().certificate.clone()),
        ("stranger.pem", Authority::new("A stranger").certificate),
        ("own.pem", own.certificate.pem()),
        ("own.key", own.key.serialize_pem()),
        ("password", format!("{PASSWORD}\n")),
        ("wrong", "another password\n".into()),
    ] {
        std::fs::write(post.folder.join(file), text).expect("a file");
    }
    post.tell("acme", 5);
    post
}

fn login(mechanism: &str, ca: &str, password: &str) -> String {
    format!(
        "      tls: {{caFile: {ca}}}\n      sasl: {{mechanism: {mechanism}, username: {USER}, passwordFile: {password}}}\n"
    )
}

const SHOWN: &str = "      tls: {caFile: ca.pem, certFile: own.pem, keyFile: own.key}\n";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_proves_who_they_are_gets_in_behind_encryption() {
    let (by_login, by_certificate) = (shared().login_address(), shared().certificate_address());
    for (address, more) in [
        (&by_login, login("SCRAM-SHA-512", "ca.pem", "password")),
        (&by_login, login("SCRAM-SHA-256", "ca.pem", "password")),
        (&by_login, login("PLAIN", "ca.pem", "password")),
        (&by_certificate, SHOWN.to_owned()),
    ] {
        let post = at(address, &more).await;
        assert_eq!(post.relays(), "Delivered 5 events.\n", "{more}");
        assert_eq!(post.read(shared()).len(), 5, "{more}");
        let doctor = post.command(&["doctor"]).output().expect("it runs");
        assert!(doctor.status.success(), "{more}{}", String::from_utf8_lossy(&doctor.stdout));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_to_whom_it_cannot_trust_or_who_does_not_let_it_in() {
    let (by_login, by_certificate) = (shared().login_address(), shared().certificate_address());
    let cases = [
        (&by_login, login("SCRAM-SHA-512", "ca.pem", "wrong"), "uthentication failed"),
        (&by_login, login("PLAIN", "ca.pem", "wrong"), "uthentication failed"),
        (&by_login, login("SCRAM-SHA-512", "stranger.pem", "password"), "certificate"),
        (&by_login, format!("      sasl: {{username: {USER}, passwordFile: password}}\n"), ""),
        (&by_certificate, "      tls: {caFile: ca.pem}\n".to_owned(), "ertificate"),
    ];
    let mut under_way = Vec::new();
    for (address, more, told) in cases {
        let post = at(address, &more).await;
        let relay =
            post.command(&["relay", "--once"]).stdout(super::Stdio::piped()).stderr(super::Stdio::piped()).spawn();
        under_way.push((post, more, told, relay.expect("it runs")));
    }
    for (post, more, told, relay) in under_way {
        let output = relay.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{more}{said}");
        assert!(said.contains("ARG1901") && said.contains(told) && !said.contains(PASSWORD), "{more}{said}");
        assert_eq!(post.read(shared()).len(), 0, "{more}");
        assert_eq!(post.sql("SELECT count(*) FROM argus.delivery"), "5", "{more}");
    }
}

/// A cluster that fails as it is told, with the topics of a sink that leads there.
async fn faulty() -> (MockCluster<'static, DefaultProducerContext>, Post) {
    let cluster = MockCluster::new(BROKERS).expect("a cluster");
    let topics = "faulty".to_owned();
    for topic in argus::event::Topic::ALL {
        cluster.create_topic(&format!("{topics}.{topic}"), PARTITIONS as i32, BROKERS).expect("a topic");
    }
    let post = Post::at(&cluster.bootstrap_servers().replace(',', "', '"), topics, "").await;
    for (organization, many) in [("acme", 300), ("globex", 200)] {
        post.tell(organization, many);
    }
    (cluster, post)
}

/// That all events are there, once and in order.
fn all_are_there(cluster: &MockCluster<'static, DefaultProducerContext>, post: &Post, after: &str) {
    let (positions, again) = positions(&read(&cluster.bootstrap_servers(), "faulty.audit"));
    assert_eq!(positions["acme"], (1..=300).collect::<Vec<i64>>(), "after {after}");
    assert_eq!(positions["globex"], (1..=200).collect::<Vec<i64>>(), "after {after}");
    assert_eq!(again, 0, "after {after}");
    assert_eq!(post.sql("SELECT count(*) FROM argus.delivery"), "0", "after {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_fails_for_a_while_is_asked_again() {
    use RDKafkaRespErr::*;
    for error in [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ] {
        let (cluster, post) = faulty().await;
        cluster.request_errors(RDKafkaApiKey::Produce, &[error; 4]);
        assert_eq!(post.relays(), "Delivered 500 events.\n", "{error:?}");
        all_are_there(&cluster, &post, &format!("{error:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_outright_gets_everything_once_it_takes_it() {
    let (cluster, post) = faulty().await;
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refused; 50]);
    let output = post.relay();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("uthorization failed"), "{said}");
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    post.relays();
    all_are_there(&cluster, &post, "a refusal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_cluster_that_cuts_connections_loses_nothing() {
    let (cluster, post) = faulty().await;
    for broker in 1..=BROKERS {
        cluster.broker_round_trip_time(broker, Duration::from_millis(50)).expect("it is slow");
    }
    // With this answer the cluster ends the connection in place of giving one.
    let cut = RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT;
    for request in [RDKafkaApiKey::Metadata, RDKafkaApiKey::InitProducerId, RDKafkaApiKey::Produce] {
        cluster.request_errors(request, &[cut; 2]);
    }
    assert_eq!(post.relays(), "Delivered 500 events.\n");
    all_are_there(&cluster, &post, "an outage");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_needs_nothing_but_the_document() {
    let folder = Command::new("bash").args([".ci/install", "consumer-path"]).output().expect("it says where");
    let folder = String::from_utf8(folder.stdout).expect("UTF-8");
    assert!(std::path::Path::new(folder.trim()).is_dir(), "there is no {folder}: run .ci/install tests");
    for mode in ["structured", "binary"] {
        let post = Post::new(shared(), &format!("      mode: {mode}\n")).await;
        // What really happens, and not what a test tells.
        std::fs::create_dir(post.folder.join("orgs")).expect("a folder");
        let apply = |teams: &str| {
            let manifest = format!(
                "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {{name: acme}}\nspec:\n  teams: [{teams}]\n  \
                 members: [{{user: ada@acme.example, role: owner}}]\n"
            );
            std::fs::write(post.folder.join("orgs/acme.yaml"), manifest).expect("a manifest");
            let mut command = post.command(&["apply", "orgs", "--auto-approve"]);
            let output = command.env("HOME", &post.folder).output().expect("it runs");
            assert!(output.status.success(), "{output:?}");
        };
        apply("{name: one, displayName: First}, {name: two}, {name: three}");
        apply("{name: one, displayName: First}, {name: two, displayName: Second}");
        post.sql("UPDATE argus.team SET display_name = 'Else' WHERE name = 'one'");
        apply("{name: one, displayName: First}, {name: two, displayName: Second}");
        post.relays();
        let document = post.command(&["schema", "asyncapi", "--sink", "broker"]).output().expect("it runs");
        assert!(document.status.success(), "{document:?}");
        std::fs::write(post.folder.join("asyncapi.json"), document.stdout).expect("the document");
        let consumer = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/support/kafka/consumer.py");
        let mut python = Command::new("python3");
        python.arg(consumer).arg(post.folder.join("asyncapi.json")).env("PYTHONPATH", folder.trim());
        let output = python.output().expect("python runs");
        assert!(output.status.success(), "{mode}: {}", String::from_utf8_lossy(&output.stderr));
        let mut read: Vec<String> = String::from_utf8(output.stdout)
            .expect("UTF-8")
            .lines()
            .map(|line| {
                let told: serde_json::Value = serde_json::from_str(line).expect("JSON");
                let text = |name: &str| told[name].as_str().expect("a text").to_owned();
                format!("{}|{}|{}|{}", text("key"), told["sequence"], text("type"), text("id"))
            })
            .collect();
        read.sort();
        let all = post.sql(
            "SELECT COALESCE(NULLIF(organization, ''), 'argus') || '|' || position || '|' || type || '|' || id
             FROM argus.event",
        );
        let mut all: Vec<String> = all.lines().map(str::to_owned).collect();
        all.sort();
        for of in ["resource.created", "resource.updated", "resource.deleted", "drift.", "run.succeeded"] {
            assert!(all.iter().any(|event| event.contains(of)), "{of} is missing: {all:?}");
        }
        assert_eq!(read, all, "{mode}");
    }
}
