//! What a controller measures is of whole sources, however many batches they come to.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Desk, PATIENCE, named};
use crate::cli::ACME;

/// More than are worked on together.
const ORGANIZATIONS: usize = 205;

/// An organization as small as it gets.
fn small(name: &str) -> String {
    format!(
        "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {{name: {name}}}\nspec: {{displayName: One}}\n"
    )
}

/// What a controller that listens tells.
fn metrics(desk: &Desk) -> String {
    let began = Instant::now();
    let address = loop {
        let log = desk.log();
        let said = log.split_once("served at http://").and_then(|(_, rest)| rest.split_whitespace().next());
        if let Some(address) = said {
            break address.to_owned();
        }
        assert!(began.elapsed() < PATIENCE, "it serves nothing: {log}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut stream = TcpStream::connect(&address).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: argus\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Waits until each of these series has this value; none where there is no such series.
#[track_caller]
fn until(desk: &Desk, wanted: &[(&str, Option<f64>)]) -> String {
    let began = Instant::now();
    loop {
        let text = metrics(desk);
        let wrong = wanted.iter().find(|(series, wanted)| value(&text, series) != *wanted);
        let Some((series, wanted)) = wrong else { return text };
        assert!(began.elapsed() < PATIENCE, "{series} is not {wanted:?}:\n{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_figures_of_a_source_are_those_of_all_its_organizations_and_not_of_its_last_batch() {
    let desk = Desk::new();
    for number in 0..ORGANIZATIONS {
        desk.repository.write(&format!("orgs/s{number}.yaml"), &small(&format!("s{number}")));
    }
    let more = "    - user: grace@acme.example\n      role: admin\n    - user: alan@acme.example\n      role: admin\n";
    let globex = format!("{}{more}", named("globex"));
    desk.repository.write("orgs/globex.yaml", &globex);
    desk.commit("orgs/acme.yaml", ACME);
    desk.settings_beside("listen: 127.0.0.1:0", "interval: 6h");
    let _controller = desk.start();
    let all = (ORGANIZATIONS + 2) as f64;
    let state = |state: &str| format!("argus_organizations{{source=\"default\",state=\"{state}\"}}");
    let (applied, held, blocked, waiting) = (state("applied"), state("held"), state("blocked"), state("waiting"));
    let info = |kind: &str, name: &str, ready: &str, reason: &str| {
        let revision = match kind {
            "Source" => desk.world.sql("SELECT revision FROM argus.source").trim().to_owned(),
            _ => String::new(),
        };
        format!(
            "argus_resource_info{{kind=\"{kind}\",source=\"default\",name=\"{name}\",ready=\"{ready}\",reason=\"{reason}\",revision=\"{revision}\"}}"
        )
    };
    let first = until(&desk, &[(&applied, Some(all)), (&waiting, None), (&held, None)]);
    assert_eq!(value(&first, &info("Source", "default", "True", "succeeded")), Some(1.0), "{first}");
    assert_eq!(desk.world.sql("SELECT count(*) > 1 FROM argus.run").trim(), "t", "there were several batches");
    // One is held, one is blocked, and one is applied; all others stay as they are.
    desk.repository.write("orgs/globex.yaml", &named("globex"));
    desk.repository.write("orgs/acme.yaml", &ACME.replace("role: owner", "rolle: owner"));
    desk.commit("orgs/s1.yaml", &small("s1").replace("One", "Two"));
    desk.reconcile().ends(1);
    let second =
        until(&desk, &[(&applied, Some(all - 2.0)), (&held, Some(1.0)), (&blocked, Some(1.0)), (&waiting, None)]);
    for series in [
        info("Source", "default", "False", "partial"),
        info("Organization", "globex", "False", "held"),
        info("Organization", "acme", "False", "blocked"),
    ] {
        assert_eq!(value(&second, &series), Some(1.0), "{series}: {second}");
    }
    // When runs last ended in some way is not forgotten when others end otherwise.
    desk.repository.write("orgs/globex.yaml", &globex);
    desk.commit("orgs/acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"));
    desk.reconcile().ends(0);
    let third = until(&desk, &[(&applied, Some(all)), (&held, None), (&blocked, None)]);
    let end = |text: &str, outcome: &str| {
        value(
            text,
            &format!("argus_run_end_timestamp_seconds{{kind=\"apply\",source=\"default\",outcome=\"{outcome}\"}}"),
        )
    };
    let (partial, succeeded) = (end(&third, "partial"), end(&third, "succeeded"));
    assert!(partial.is_some() && partial < succeeded, "{partial:?}, {succeeded:?}: {third}");
    assert!(end(&second, "succeeded") <= partial && end(&first, "partial").is_none(), "{second}");
    let at = desk
        .world
        .sql("SELECT max(extract(epoch FROM finished_at))::numeric(20, 3) FROM argus.run WHERE outcome = 'succeeded'");
    let at: f64 = at.trim().parse().expect("a moment");
    assert!(succeeded.is_some_and(|told| (told - at).abs() < 0.01), "{succeeded:?} and not {at}");
}
