//! Telemetry: traces to a real collector, logs as JSON, metrics over real HTTP and in files, and no secret in any of them.

mod metrics;
mod secrets;

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{ACME, Ran, World, run};
use crate::support::collector::{Collector, Span};
use crate::support::git::Repository;
use crate::support::receiver::Receiver;

/// A place in a trace, as CI systems tell it.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A world with a sink of the name `hook`.
fn with_hook(receiver: &Receiver, more: &str) -> World {
    let world = World::new();
    let url = receiver.url("/events");
    std::fs::create_dir_all(world.path("machine")).expect("a folder");
    let key = world.path("machine/key").display().to_string();
    world.write("machine/key", "a secret that is long enough\n");
    let settings = format!("sinks: [{{name: hook, webhook: {{url: '{url}', secretFile: '{key}'}}}}]\n{more}");
    world.write("machine/machine.yaml", &settings);
    world.sql("INSERT INTO argus.sink (name) VALUES ('hook')");
    world
}

/// A command that tells this collector what it does.
fn traced(world: &World, collector: &Collector, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
    command.env("HOME", world.path("home")).env("XDG_CACHE_HOME", world.path("cache"));
    command
}

fn relay(world: &World, collector: &Collector) -> Command {
    let mut command = traced(world, collector, &["relay", "--once"]);
    command.arg("--config").arg(world.path("machine/machine.yaml"));
    command
}

/// The lines of a log, each of which is a document.
#[track_caller]
fn lines(ran: &Ran) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}: {ran}"));
    ran.err.lines().map(parse).collect()
}

#[test]
fn one_trace_goes_from_the_commit_to_the_delivered_event() {
    let (collector, receiver) = (Collector::start(), Receiver::start(|_, _| 204));
    let (world, repository) = (with_hook(&receiver, ""), Repository::new());
    repository.write("acme.yaml", ACME);
    let commit = repository.commit("Add acme (#7)");
    let path = repository.path.display().to_string();
    let mut apply = traced(&world, &collector, &["apply", "--auto-approve", "--git", &path]);
    apply.env("TRACEPARENT", PARENT).env("OTEL_SERVICE_NAME", "argus-of-acme");
    apply.env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
    run(apply).ends(0);
    // Another process, later, which knows nothing of the first but what stands in the database.
    run(relay(&world, &collector)).ends(0);

    let trace = PARENT.split('-').nth(1).expect("a trace");
    let of_trace: Vec<Span> = collector.spans().into_iter().filter(|span| span.trace == trace).collect();
    let names: std::collections::BTreeSet<&str> = of_trace.iter().map(|span| span.name.as_str()).collect();
    for name in [
        "argus apply",
        "fetch",
        "read commit",
        "read manifests",
        "validate",
        "plan",
        "ask policies",
        "judge",
        "apply",
        "apply organization",
        "seal audit",
        "send hook",
    ] {
        assert!(names.contains(name), "{name} is missing in {names:?}");
    }
    let command = collector.span("argus apply");
    assert_eq!((&*command.parent, command.of("argus.exit_code")), ("00f067aa0ba902b7", "0"));
    assert_eq!(command.resource["service.name"], "argus-of-acme");
    assert_eq!(command.resource["deployment.environment.name"], "test");
    let run = world.sql("SELECT id FROM argus.run");
    let applied = collector.span("apply organization");
    assert_eq!((applied.of("argus.organization"), applied.of("argus.run")), ("acme", &*run));
    for name in ["read commit", "plan", "apply", "apply organization"] {
        assert_eq!(collector.span(name).of("vcs.ref.head.revision"), commit, "{name}");
    }
    // What was told of the organization was told within the span that applied it, and is delivered below that.
    let row = format!("00-{trace}-{}-01", applied.id);
    let rows = world.sql("SELECT DISTINCT trace FROM argus.event WHERE organization = 'acme'");
    assert_eq!(rows, row);
    let untraced =
        world.sql(&format!("SELECT count(*) FROM argus.event WHERE trace IS NULL OR trace NOT LIKE '00-{trace}-%'"));
    assert_eq!(untraced, "0");
    let requests = receiver.requests();
    for request in &requests {
        let event: Value = serde_json::from_str(&request.body).expect("JSON");
        assert_eq!(request.header("traceparent"), event["traceparent"].as_str().expect("a trace"));
        let sent = of_trace.iter().find(|span| span.of("messaging.message.id") == event["id"]).expect("its span");
        assert_eq!(sent.parent, request.header("traceparent").split('-').nth(2).expect("a span"));
        assert_eq!((&*sent.kind, sent.of("messaging.system")), ("SPAN_KIND_PRODUCER", "webhook"));
    }
    assert!(requests.iter().any(|request| request.header("traceparent") == row), "{requests:?}");
    assert!(collector.requests().iter().all(|request| request.path == "/v1/traces"));
}

#[test]
fn what_is_not_sampled_is_told_of_and_recorded_nowhere() {
    let (collector, receiver) = (Collector::start(), Receiver::start(|_, _| 204));
    let world = with_hook(&receiver, "telemetry: {sample: 0}\n");
    world.write("acme.yaml", ACME);
    let parent = PARENT.replace("-01", "-00");
    let mut apply = traced(&world, &collector, &["apply", "--auto-approve", "acme.yaml"]);
    run({
        apply.env("TRACEPARENT", &parent);
        apply
    })
    .ends(0);
    world.write("acme.yaml", &ACME.replace("Acme", "Acme Corporation"));
    let mut apply = traced(&world, &collector, &["apply", "--auto-approve", "acme.yaml"]);
    apply.arg("--config").arg(world.path("machine/machine.yaml"));
    run(apply).ends(0);
    run(relay(&world, &collector)).ends(0);
    assert!(collector.spans().is_empty(), "{:?}", collector.spans());
    let flags = world.sql("SELECT DISTINCT right(trace, 3) FROM argus.event");
    assert_eq!(flags, "-00");
    let of_parent =
        world.sql("SELECT count(*) > 0 FROM argus.event WHERE trace LIKE '00-4bf92f3577b34da6a3ce929d0e0e4736-%'");
    assert_eq!(of_parent, "t");
}

#[test]
fn without_a_collector_events_are_part_of_what_started_the_command_all_the_same() {
    let world = World::with(ACME);
    let mut apply = world.command(&["apply", "--auto-approve"]);
    apply.env("TRACEPARENT", PARENT);
    run(apply).ends(0).does_not_say("TRACEPARENT");
    assert_eq!(world.sql("SELECT DISTINCT trace FROM argus.event"), PARENT);
    // What is no place in a trace is not followed, and the trace is one of its own.
    world.write("acme.yaml", &ACME.replace("Acme", "Acme Corporation"));
    let mut apply = world.command(&["apply", "--auto-approve"]);
    apply.env("TRACEPARENT", PARENT.to_uppercase());
    run(apply).ends(0).says("TRACEPARENT is not followed");
    let own = world
        .sql("SELECT count(DISTINCT trace) FROM argus.event WHERE trace LIKE '%-00' AND trace NOT LIKE '00-4bf9%'");
    assert_eq!(own, "1");
}

#[test]
fn a_plan_is_the_same_in_any_trace() {
    let (world, collector) = (World::with(ACME), Collector::start());
    let plan = |parent: Option<&str>| {
        let mut plan = traced(&world, &collector, &["plan", "--format", "json"]);
        plan.envs(parent.map(|parent| ("TRACEPARENT", parent)));
        run(plan).ends(0).out
    };
    assert_eq!(plan(None), plan(Some(PARENT)));
    assert_eq!(plan(None), world.argus(&["plan", "--format", "json"]).ends(0).out);
}

#[test]
fn an_organization_that_cannot_be_applied_fails_its_own_span_without_a_value() {
    let (world, collector) = (World::applied(ACME), Collector::start());
    world.write("globex.yaml", &ACME.replace("acme", "globex").replace("Acme", "Globex"));
    world.sql(
        "CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'canary of %', NEW.display_name; END $$;
         CREATE TRIGGER no BEFORE INSERT ON argus.organization FOR EACH ROW EXECUTE FUNCTION public.no()",
    );
    run(traced(&world, &collector, &["apply", "--auto-approve"])).ends(1);
    let failed: Vec<Span> = collector.spans().into_iter().filter(|span| span.failed).collect();
    let names: Vec<&str> = failed.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["apply organization", "argus apply"]);
    assert_eq!(failed[0].of("argus.organization"), "globex");
    let sent: String = collector.requests().into_iter().map(|request| request.body).collect();
    assert!(!sent.contains("canary") && !sent.contains("Globex"), "{sent}");
}

#[test]
fn a_collector_that_does_not_answer_fails_nothing_and_is_told_of_once() {
    // One that refuses, one that nobody can reach, and one that takes connections and never answers.
    let refusing = Collector::answering(401);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", silent.local_addr().expect("an address"));
    for (endpoint, timeout, told) in [
        (refusing.url().as_str(), "500", "401"),
        ("http://127.0.0.1:1", "500", "refused"),
        (silent.as_str(), "500", "traces are not exported"),
        (silent.as_str(), "600000", "the collector takes too long"),
    ] {
        let world = World::with(ACME);
        let mut apply = world.command(&["apply", "--auto-approve"]);
        apply.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_EXPORTER_OTLP_TIMEOUT", timeout);
        let ran = run(apply).ends(0).says("Applied").says(told);
        assert_eq!(ran.err.lines().count(), 1, "{ran}");
    }
}

#[test]
fn the_doctor_asks_the_collector() {
    let (taking, refusing) = (Collector::start(), Collector::answering(403));
    let world = World::new();
    for (endpoint, code, told) in [
        (taking.url().as_str(), 0, "ok    the collector takes traces"),
        (refusing.url().as_str(), 1, "BAD   no traces are exported: the collector answers 403"),
        ("nowhere", 1, "BAD   no traces are exported: the endpoint is no address"),
    ] {
        world.write("machine/machine.yaml", &format!("telemetry: {{sample: 0, otlp: {{endpoint: '{endpoint}'}}}}\n"));
        let mut doctor = world.command(&["doctor", "--config"]);
        doctor.arg(world.path("machine/machine.yaml"));
        run(doctor).ends(code).says(told);
    }
    assert_eq!(taking.spans().len(), 1, "{:?}", taking.spans());
    world.argus(&["doctor"]).ends(0).does_not_say("collector");
}

#[test]
fn settings_of_a_collector_that_make_no_sense_are_told_and_fail_nothing() {
    let world = World::with(ACME);
    world.write("machine/headers", "authorization Bearer canary\n");
    let headers = world.path("machine/headers").display().to_string();
    for (settings, code, told) in [
        ("otlp: {endpoint: nowhere}", 0, "the endpoint is no address"),
        ("otlp: {endpoint: 'https://u:canary@acme.example'}", 0, "holds a password"),
        ("otlp: {endpoint: 'ftp://acme.example'}", 0, "must begin with https:// or http://"),
        (&format!("otlp: {{endpoint: 'http://127.0.0.1:1', headersFile: '{headers}'}}"), 0, "line 1 of"),
        ("otlp: {endpoint: 'http://127.0.0.1:1', headersFile: nothing}", 0, "nothing cannot be read"),
        ("otlp: {endpoint: 'http://127.0.0.1:1', timeout: soon}", 1, "a `timeout` is written `5s`"),
        ("sample: 2", 1, "`sample` is a number from 0 to 1"),
        ("logs: xml", 1, "the settings are wrong"),
    ] {
        world.write("machine/machine.yaml", &format!("telemetry: {{{settings}}}\n"));
        let mut validate = world.command(&["validate", "acme.yaml", "--config"]);
        validate.arg(world.path("machine/machine.yaml"));
        run(validate).ends(code).says(told).does_not_say("canary");
    }
    let mut validate = world.command(&["validate", "acme.yaml"]);
    validate.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1").env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    run(validate).ends(0).says("only http/protobuf is spoken");
    // Headers go to another machine encrypted or not at all.
    let mut validate = world.command(&["validate", "acme.yaml"]);
    validate.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://acme.example").env("OTEL_EXPORTER_OTLP_HEADERS", "a=canary");
    run(validate).ends(0).says("by https alone").does_not_say("canary");
    for (name, value) in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let mut validate = world.command(&["validate", "acme.yaml"]);
        validate.env("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere").env(name, value);
        assert_eq!(run(validate).ends(0).err, "", "{name}");
    }
}

#[test]
fn the_settings_name_a_collector_its_headers_and_whom_to_trust() {
    let (world, collector) = (World::with(ACME), Collector::start());
    world.write("machine/headers", "x-team: platform\n\nauthorization: Bearer of-acme\n");
    let headers = world.path("machine/headers").display().to_string();
    let settings = format!("telemetry: {{otlp: {{endpoint: '{}/', headersFile: '{headers}'}}}}\n", collector.url());
    world.write("machine/machine.yaml", &settings);
    let command = |more: &[(&str, &str)]| {
        let mut validate = world.command(&["validate", "acme.yaml", "--config"]);
        validate.arg(world.path("machine/machine.yaml")).envs(more.iter().copied());
        run(validate).ends(0);
    };
    command(&[]);
    let request = collector.requests().remove(0);
    assert_eq!((&*request.path, request.header("content-type")), ("/v1/traces", "application/x-protobuf"));
    assert_eq!((request.header("x-team"), request.header("authorization")), ("platform", "Bearer of-acme"));
    assert_eq!(collector.span("argus validate").resource["service.name"], "argus");
    // The variables outweigh the file, as everywhere.
    let other = Collector::start();
    let endpoint = format!("{}/elsewhere", other.url());
    command(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=search")]);
    assert_eq!(collector.requests().len(), 1);
    let request = other.requests().remove(0);
    assert_eq!((&*request.path, request.header("x-team")), ("/elsewhere", "search"));
}

#[test]
fn every_line_of_a_json_log_is_a_document_with_its_trace_and_its_run() {
    let (receiver, collector) = (Receiver::start(|_, before| if before == 0 { 503 } else { 204 }), Collector::start());
    let world = with_hook(&receiver, "telemetry: {logs: json}\n");
    world.write("acme.yaml", ACME);
    let mut apply = world.command(&["apply", "--auto-approve", "acme.yaml", "--log", "debug", "--log-format", "json"]);
    apply.env("TRACEPARENT", PARENT);
    let ran = run(apply).ends(0);
    let logged = lines(&ran);
    let run_id = world.sql("SELECT id FROM argus.run");
    assert!(
        logged.iter().any(|line| line["target"].as_str().is_some_and(|target| target.starts_with("sqlx"))),
        "{ran}"
    );
    for line in &logged {
        assert_eq!(
            (&line["trace_id"], &line["run"]),
            (&"4bf92f3577b34da6a3ce929d0e0e4736".into(), &Value::from(&*run_id))
        );
        assert!(line["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{line}");
    }
    // By the settings; what cannot be delivered is a finding, and a line as well.
    let ran = run(relay(&world, &collector)).ends(1);
    let logged = lines(&ran);
    let finding = logged.iter().find(|line| line["target"] == "argus::finding").expect("a finding");
    assert_eq!((&finding["level"], &finding["fields"]["code"]), (&"ERROR".into(), &"ARG1901".into()));
    assert!(logged.iter().any(|line| line["level"] == "WARN" && line["fields"]["sink"] == "hook"), "{ran}");
    assert!(logged.iter().all(|line| line["trace_id"].is_string() && line["run"].is_string()), "{ran}");
    // Manifests that are wrong, and settings that cannot be read.
    world.write("acme.yaml", &ACME.replace("kind: Organization", "kind: Organisation"));
    let ran = world.argus(&["plan", "acme.yaml", "--log-format", "json"]).ends(1);
    let finding = lines(&ran).remove(0);
    assert_eq!((&finding["fields"]["file"], &finding["fields"]["line"]), (&"acme.yaml".into(), &2.into()));
    let ran = world.argus(&["plan", "--config", "nothing.yaml", "--log-format", "json"]).ends(1);
    assert_eq!(lines(&ran)[0]["level"], "ERROR");
}

/// Runs a command in the background.
fn start(mut command: Command) -> std::process::Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
}
