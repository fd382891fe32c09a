//! Metrics: over HTTP while a relay works, and in a file when a command ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use argus::metrics::table::{ALL, Kind};

use super::{ACME, World, start, with_hook};
use crate::support::receiver::Receiver;

/// One more owner.
const SECOND: &str = "    - {user: grace@acme.example, role: owner}\n";

/// How long something is waited for that has to happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// A relay that runs until it is dropped.
struct Relay {
    child: Child,
    address: String,
}

impl Relay {
    fn start(world: &World) -> Relay {
        let mut command = world.command(&["relay", "--listen", "127.0.0.1:0", "--log", "info", "--config"]);
        command.arg(world.path("machine/machine.yaml"));
        let mut child = start(command);
        let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
        let address = loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).expect("it says something") > 0, "it ends without serving");
            if let Some((_, address)) = line.trim().split_once("served at http://") {
                break address.split_whitespace().next().expect("an address").to_owned();
            }
        };
        // Whoever writes into a pipe that nobody reads has to wait.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Relay { child, address }
    }

    /// What is answered: status and body.
    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream
            .write_all(format!("{request}\r\nhost: argus\r\nconnection: close\r\n\r\n").as_bytes())
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        (head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default(), body.to_owned())
    }

    fn metrics(&self) -> String {
        let (status, text) =
            self.ask("GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
        assert_eq!(status, 200, "{text}");
        text
    }

    /// Waits until the value of a series is as it should be, and gives all values that were seen on the way.
    fn until(&self, series: &str, fits: impl Fn(f64) -> bool) -> Vec<f64> {
        let (began, mut seen) = (Instant::now(), Vec::new());
        loop {
            let text = self.metrics();
            if let Some(value) = value(&text, series) {
                seen.push(value);
                if fits(value) {
                    return seen;
                }
            }
            assert!(began.elapsed() < PATIENCE, "{series} was {seen:?} in\n{text}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of a series.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Checks that a text holds nothing but metrics of the table, with their labels.
#[track_caller]
fn only_known(text: &str) {
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        let fits = |metric: &&argus::metrics::table::Metric| match metric.kind {
            Kind::Histogram(_) => {
                ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{}{end}", metric.name))
            }
            Kind::Counter | Kind::Gauge => metric.name == name,
        };
        let metric = ALL.iter().find(fits).unwrap_or_else(|| panic!("{line} is of no metric"));
        for label in metric.labels {
            assert!(line.contains(&format!("{label}=\"")), "{line} lacks {label}");
        }
    }
}

#[test]
fn a_sink_that_is_down_is_seen_in_a_backlog_that_rises_and_falls() {
    let down = Arc::new(AtomicBool::new(true));
    let asked = down.clone();
    let receiver = Receiver::start(move |_, _| if asked.load(Ordering::SeqCst) { 503 } else { 204 });
    let world = with_hook(&receiver, "");
    let relay = Relay::start(&world);
    let backlog = "argus_outbox_backlog{sink=\"hook\"}";
    relay.until(backlog, |waiting| waiting == 0.0);
    let mut waited = 0.0;
    for round in 1..=3 {
        // Nobody waits for the sink: applies go on.
        world.write("acme.yaml", &ACME.replace("Acme", &format!("Acme {round}")));
        world.argus(&["apply", "--auto-approve", "acme.yaml"]).ends(0);
        let seen = relay.until(backlog, |waiting| waiting > waited);
        waited = *seen.last().expect("a value");
    }
    relay.until("argus_outbox_oldest_age_seconds{sink=\"hook\"}", |age| age > 0.0);
    relay.until("argus_delivery_failures_total{sink=\"hook\"}", |failures| failures > 0.0);
    assert_eq!(value(&relay.metrics(), "argus_events_delivered_total{sink=\"hook\"}"), Some(0.0));
    let told: f64 = world.sql("SELECT count(*) FROM argus.event").parse().expect("a number");
    assert_eq!(waited, told);
    // What the commands did is counted by whoever stays.
    let runs = "argus_reconcile_duration_seconds_count{kind=\"apply\",source=\"default\",outcome=\"succeeded\"}";
    relay.until(runs, |runs| runs == 3.0);
    down.store(false, Ordering::SeqCst);
    relay.until(backlog, |waiting| waiting == 0.0);
    let text = relay.metrics();
    only_known(&text);
    assert_eq!(value(&text, "argus_outbox_oldest_age_seconds{sink=\"hook\"}"), Some(0.0), "{text}");
    assert_eq!(value(&text, "argus_events_delivered_total{sink=\"hook\"}"), Some(told), "{text}");
    assert_eq!(value(&text, "argus_outbox_lag_seconds_count{sink=\"hook\"}"), Some(told), "{text}");
    assert_eq!(value(&text, "argus_outbox_lag_seconds_bucket{sink=\"hook\",le=\"+Inf\"}"), Some(told), "{text}");
    assert_eq!(value(&text, "argus_undeliverable_events{sink=\"hook\"}"), Some(0.0), "{text}");
}

#[test]
fn the_relay_tells_how_runs_left_their_sources_and_what_has_drifted() {
    let receiver = Receiver::start(|_, _| 204);
    let world = with_hook(&receiver, "");
    world.write("argus.yaml", "source: platform\nmode: apply\npaths: [orgs]\nguards: {owners: 2}\n");
    world.write("orgs/acme.yaml", ACME);
    world.argus(&["apply", "--auto-approve"]).ends(0);
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine' WHERE name = 'acme'");
    // One of two owners goes: that is held.
    let globex = ACME.replace("acme", "globex");
    world.write("orgs/globex.yaml", &format!("{globex}{SECOND}"));
    world.argus(&["apply", "--auto-approve", "--no-drift"]).ends(0);
    world.write("orgs/globex.yaml", &globex);
    world.argus(&["apply", "--auto-approve", "--no-drift"]).ends(4);
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Theirs' WHERE name = 'globex'");
    world.sql(
        "INSERT INTO argus.notification (organization, event, position, type, subject, rule, channel, priority, title, text)
         VALUES ('acme', gen_random_uuid(), 1, 'drift.detected', 'x', 'r', 'c', 1, 'x', 'x');
         INSERT INTO argus.notification_gate (organization, channel, wake, failures) VALUES ('acme', 'c', now(), 3)",
    );
    let relay = Relay::start(&world);
    let text = relay.metrics();
    only_known(&text);
    for series in [
        "argus_notifications_waiting",
        "argus_notification_channels_failing",
        "argus_resource_info{kind=\"Source\",source=\"platform\",name=\"platform\",ready=\"False\",reason=\"partial\",revision=\"\"}",
        "argus_resource_info{kind=\"Organization\",source=\"platform\",name=\"globex\",ready=\"False\",reason=\"held\",revision=\"\"}",
        "argus_organizations{source=\"platform\",state=\"held\"}",
        "argus_drift_resources{source=\"platform\",kind=\"Organization\"}",
        "argus_database_up",
    ] {
        assert_eq!(value(&text, series), Some(1.0), "{series}: {text}");
    }
    assert_eq!(value(&text, "argus_audit_unsealed_rows"), Some(1.0), "{text}");
    assert_eq!(value(&text, "argus_audit_unsigned_chains"), Some(2.0), "{text}");
    assert!(!text.contains("argus_audit_head_age_seconds "), "nothing was ever signed: {text}");
    assert!(
        text.contains("argus_run_end_timestamp_seconds{kind=\"apply\",source=\"platform\",outcome=\"partial\"}"),
        "{text}"
    );
    // A source that cannot be read has no run that could tell.
    let nowhere = world.path("nowhere").display().to_string();
    world.argus(&["apply", "--auto-approve", "--source", "platform", "--git", &nowhere]).ends(1);
    let info = "argus_resource_info{kind=\"Source\",source=\"platform\",name=\"platform\",ready=\"False\"";
    relay.until(&format!("{info},reason=\"stalled\",revision=\"\"}}"), |there| there == 1.0);
    assert!(!relay.metrics().contains("reason=\"partial\""));
}

#[test]
fn the_server_serves_nothing_else_and_says_when_the_database_is_away() {
    let receiver = Receiver::start(|_, _| 204);
    let world = with_hook(&receiver, "");
    let relay = Relay::start(&world);
    assert_eq!(relay.ask("GET /healthz HTTP/1.1"), (200, "ok\n".into()));
    let (status, said) = relay.ask("GET /readyz HTTP/1.1");
    assert_eq!((status, said.lines().next(), said.lines().last()), (200, Some("database ok"), Some("ready")), "{said}");
    assert!(said.contains("relay ") && !said.contains("leases"), "{said}");
    // As OpenMetrics to whoever asks for that, and to others in the format that everything reads.
    assert!(relay.metrics().ends_with("# EOF\n"));
    let (_, text) = relay.ask("GET /metrics HTTP/1.1");
    assert!(
        text.contains("# TYPE argus_database_up gauge\nargus_database_up 1\n") && !text.contains("# EOF"),
        "{text}"
    );
    for (request, status) in [
        ("GET / HTTP/1.1", 404),
        ("GET /metrics/../../etc/passwd HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("DELETE /healthz HTTP/1.1", 405),
        ("nonsense", 400),
    ] {
        assert_eq!(relay.ask(request).0, status, "{request}");
    }
    // More than any request has: it is refused, or cut off.
    let mut stream = TcpStream::connect(&relay.address).expect("it listens");
    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n");
    let header = format!("x-long: {}\r\n", "a".repeat(1_000));
    while stream.write_all(header.as_bytes()).is_ok() {}
    assert_eq!(relay.ask("GET /healthz HTTP/1.1").0, 200, "the others are served all the same");

    // Others say nothing, or never come to an end: they are cut off, and then it is somebody else's turn.
    let mut idle: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(&relay.address).expect("it listens")).collect();
    for stream in idle.iter_mut().step_by(2) {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost:");
    }
    assert_eq!(relay.ask("GET /healthz HTTP/1.1").0, 200);
    drop(idle);

    // And others ask without end and read nothing: whoever writes to them does not wait for ever.
    let asks = "GET /metrics HTTP/1.1\r\nhost: argus\r\n\r\n".repeat(700);
    let deaf: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(&relay.address).expect("it listens");
            stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a limit");
            let _ = stream.write_all(asks.as_bytes());
            stream
        })
        .collect();
    assert_eq!(relay.ask("GET /healthz HTTP/1.1").0, 200);
    drop(deaf);

    let name = world.sql("SELECT current_database()");
    // Those that are there go once nobody new can come.
    world.sql(&format!(
        "DO $$ BEGIN
             UPDATE pg_database SET datallowconn = false WHERE datname = '{name}';
             COMMIT;
             PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid();
         END $$"
    ));
    relay.until("argus_database_up", |up| up == 0.0);
    assert_eq!(relay.ask("GET /readyz HTTP/1.1").0, 503);
    assert_eq!(relay.ask("GET /healthz HTTP/1.1").0, 200);
    assert!(!relay.metrics().contains("argus_outbox_backlog"), "what nobody knows now is not told");
}

#[test]
fn a_command_writes_its_metrics_when_it_ends_however_it_ends() {
    let world = World::new();
    world.write("argus.yaml", "source: platform\nmode: apply\npaths: [orgs]\nguards: {owners: 2}\n");
    world.write(
        "policies/names.rego",
        "package argus.names\nimport rego.v1\n\
         deny contains \"no\" if { input.organization == \"globex\" }\nwarn contains \"look\" if { input.organization == \"acme\" }\n",
    );
    world.write("orgs/acme.yaml", &format!("{ACME}{SECOND}"));
    let file = world.path("argus.prom");
    let shown = file.display().to_string();
    let measured = |arguments: &[&str], code: i32| {
        let ran = world.argus(&[arguments, &["--metrics-file", &shown]].concat()).ends(code);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{error}: {ran}"));
        only_known(&text);
        assert!(!text.contains("# EOF"), "it is the older format: {text}");
        std::fs::remove_file(&file).expect("it is there");
        text
    };
    let text = measured(&["apply", "--auto-approve"], 0);
    for (series, expected) in [
        ("argus_reconcile_duration_seconds_count{kind=\"apply\",source=\"platform\",outcome=\"succeeded\"}", 1.0),
        ("argus_organizations{source=\"platform\",state=\"applied\"}", 1.0),
        ("argus_changes_total{source=\"platform\",action=\"create\"}", 3.0),
        ("argus_policy_verdicts_total{verdict=\"warn\",rule=\"argus.names.warn\"}", 1.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}: {text}");
    }
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine' WHERE name = 'acme'");
    let text = measured(&["drift", "--detailed-exitcode"], 2);
    assert_eq!(value(&text, "argus_drift_resources{source=\"platform\",kind=\"Organization\"}"), Some(1.0), "{text}");
    let text = measured(&["plan", "--format", "json"], 0);
    assert!(text.contains("kind=\"plan\",source=\"platform\",outcome=\"succeeded\""), "{text}");
    // A policy denies one, a guard holds the other, and something is wrong with a file.
    world.write("orgs/globex.yaml", &ACME.replace("acme", "globex"));
    world.write("orgs/acme.yaml", ACME);
    let text = measured(&["apply", "--auto-approve"], 3);
    for series in [
        "argus_policy_verdicts_total{verdict=\"deny\",rule=\"argus.names.deny\"}",
        "argus_guard_trips_total{guard=\"owners\"}",
        "argus_organizations{source=\"platform\",state=\"denied\"}",
        "argus_resource_info{kind=\"Organization\",source=\"platform\",name=\"globex\",ready=\"False\",reason=\"denied\",revision=\"\"}",
    ] {
        assert_eq!(value(&text, series), Some(1.0), "{series}: {text}");
    }
    world.write("orgs/acme.yaml", "kind: [");
    let text = measured(&["plan"], 1);
    assert!(text.contains("kind=\"plan\",source=\"platform\",outcome=\"failed\""), "{text}");
    // Where it cannot be written, that is told; how the command ended says more.
    let ran = world.argus(&["validate", "--metrics-file", "nowhere/argus.prom"]).ends(1).says("nowhere/argus.prom");
    assert!(!ran.err.is_empty() && !world.path("nowhere").exists());
    world.write("orgs/acme.yaml", ACME);
    world.remove("orgs/globex.yaml");
    world.argus(&["plan", "--metrics-file", "nowhere/argus.prom"]).ends(1).says("nowhere/argus.prom");
}
