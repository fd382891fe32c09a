//! A secret that is put into every place where one may stand is found in no log, no metric and no span.

use super::{ACME, lines, run, traced, with_hook};
use crate::support::collector::Collector;
use crate::support::receiver::Receiver;

/// What is searched for. Nothing else holds it.
const CANARY: &str = "canary7f3a91";

/// Whether something holds the secret as it is or in base64, wherever in it the secret begins.
fn holds(bytes: &[u8]) -> bool {
    // "canary7f3a91" without its first and last letters, at each of the three places where base64 may cut it.
    [CANARY.as_bytes(), b"Y2FuYXJ5N2YzYTkx", b"NhbmFyeTdmM2E5M", b"jYW5hcnk3ZjNhOT"]
        .iter()
        .any(|needle| bytes.windows(needle.len()).any(|window| window == *needle))
}

#[test]
fn a_secret_in_any_place_is_in_no_log_metric_or_span() {
    let (collector, receiver) = (Collector::start(), Receiver::start(|_, before| if before == 0 { 503 } else { 204 }));
    let world = with_hook(&receiver, "");
    let key = world.path("machine/key").display().to_string();
    let headers = world.path("machine/headers").display().to_string();
    let git = world.path("machine/git").display().to_string();
    world.write("machine/key", &format!("{CANARY}{CANARY}{CANARY}\n"));
    world.write("machine/headers", &format!("authorization: Bearer {CANARY}\n"));
    world.write("machine/git", &format!("{CANARY}\n"));
    let url = receiver.url(&format!("/events?token={CANARY}"));
    world.write(
        "machine/machine.yaml",
        &format!(
            "sinks:\n- {{name: hook, webhook: {{url: '{url}', secretFile: '{key}'}}, pseudonymKeyFile: '{key}'}}\n\
             - name: broker\n  kafka: {{brokers: ['127.0.0.1:1'], sasl: {{username: ada, passwordFile: '{git}'}}}}\n\
             git: {{username: ada, passwordFile: '{git}'}}\n\
             telemetry: {{logs: json, otlp: {{endpoint: '{}', headersFile: '{headers}'}}}}\n",
            collector.url()
        ),
    );
    // The role may log in with a password, here with any.
    let database = world.database.url.to_string();
    let (scheme, rest) = database.split_once("://").expect("an address");
    let (user, rest) = rest.split_once('@').expect("a user");
    let user = user.split(':').next().expect("a name");
    let database = format!("{scheme}://{user}:{CANARY}@{rest}");
    world.write("acme.yaml", ACME);
    world.write("orgs/key.yaml", &format!("{ACME}  description: 'argus_sk_{CANARY}{CANARY}{CANARY}'\n"));
    let address = format!("https://ada:{CANARY}@127.0.0.1:1/acme.git");
    let plain = "https://127.0.0.1:1/acme.git".to_owned();

    let (mut spans, mut loudest) = (0, false);
    world.sql("INSERT INTO argus.sink (name) VALUES ('broker')");
    for (arguments, code) in [
        (&["apply", "--auto-approve", "acme.yaml"][..], 0),
        (&["plan", "orgs/key.yaml"], 1),
        (&["apply", "--auto-approve", "--git", &address], 1),
        (&["plan", "--git", &plain], 1),
        (&["relay", "--once", "--sink", "hook"], 1),
        (&["relay", "--once", "--sink", "hook"], 0),
        (&["relay", "--once", "--sink", "broker"], 1),
        (&["doctor"], 1),
    ] {
        let mut command = traced(&world, &collector, arguments);
        command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        command.env("ARGUS_DATABASE_URL", &database).env("ARGUS_GIT_PASSWORD", CANARY);
        command.args(["--log", "trace", "--metrics-file"]).arg(world.path("argus.prom"));
        command.arg("--config").arg(world.path("machine/machine.yaml"));
        let ran = run(command).ends(code);
        assert!(!holds(ran.all().as_bytes()), "{ran}");
        loudest |= lines(&ran).iter().any(|line| line["level"] == "TRACE");
        let metrics = std::fs::read(world.path("argus.prom")).expect("metrics");
        assert!(!metrics.is_empty() && !holds(&metrics), "{}", String::from_utf8_lossy(&metrics));
        spans = collector.spans().len().max(spans);
    }
    assert!(loudest, "what libraries trace is searched as well");
    assert!(spans > 8, "{:?}", collector.spans());
    for request in collector.requests() {
        assert!(!holds(&request.bytes), "{}", request.body);
        assert_eq!(request.header("authorization"), format!("Bearer {CANARY}"), "the collector alone is told");
    }
    assert!(receiver.requests().iter().any(|request| request.path.contains(CANARY)), "so is the receiver");
    // The same with the variables that others know.
    let mut command = world.command(&["validate", "acme.yaml", "--log", "trace"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/{CANARY}", Collector::answering(403).url()));
    command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {CANARY}"));
    let ran = run(command).ends(0).says("403");
    assert!(!holds(ran.all().as_bytes()), "{ran}");
}

#[test]
fn the_search_finds_what_it_searches_for() {
    assert!(holds(b"x canary7f3a91 y") && holds(b"eCBjYW5hcnk3ZjNhOTEgeQ==") && !holds(b"canary7f3a90"));
}
