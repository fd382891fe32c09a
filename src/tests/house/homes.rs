//! Each third-party crate has one home.

use std::fs;

use super::{Source, assert_none, code_of, mentions, root, sources};

/// Where each direct dependency may be named. A new dependency needs a line here, and so a thought.
const HOMES: &[(&str, Home)] = &[
    ("axum", Home::In(&["server"])),
    ("base64", Home::In(&["hook/proof", "sink/webhook"])),
    ("chrono", Home::Anywhere("the words for moments")),
    ("chrono_tz", Home::In(&["brake"])),
    ("clap", Home::In(&["cli", "commands", "main"])),
    ("clap_complete", Home::In(&["cli", "commands"])),
    ("clap_mangen", Home::In(&["commands"])),
    ("cron", Home::In(&["model/time"])),
    ("git2", Home::In(&["source/git"])),
    ("hmac", Home::In(&["event/people", "hook/proof", "sink/webhook"])),
    ("k8s_openapi", Home::In(&["controller", "source/cluster", "delivery"])),
    ("kube", Home::In(&["controller", "source/cluster", "delivery"])),
    ("mimalloc", Home::In(&["main"])),
    ("lettre", Home::In(&["sink/courier/mail"])),
    ("libc", Home::Anywhere("constants and calls of the system that std lacks")),
    ("opentelemetry", Home::In(&["telemetry", "trace"])),
    ("opentelemetry_http", Home::In(&["telemetry/otlp"])),
    ("opentelemetry_otlp", Home::In(&["telemetry/otlp"])),
    ("opentelemetry_sdk", Home::In(&["telemetry"])),
    ("pgp", Home::In(&["signature/openpgp"])),
    ("rcgen", Home::In(&["server/certificates"])),
    ("rdkafka", Home::In(&["sink/kafka"])),
    ("regex", Home::In(&["commands/policy"])),
    ("regorus", Home::In(&["sandbox"])),
    ("reqwest", Home::In(&["sink/courier", "sink/forge", "sink/http", "sink/webhook"])),
    ("rustix", Home::In(&["sandbox"])),
    ("rustls", Home::In(&["server/tls", "sink/http"])),
    ("saphyr_parser", Home::In(&["source/yaml"])),
    ("schemars", Home::Anywhere("schemas are derived beside their types")),
    ("serde", Home::Anywhere("it is derived beside the types")),
    ("serde_json", Home::Anywhere("the form of plans, records and events")),
    // Manifests are not read with it, because it keeps no places; the settings and the METADATA of a rule are small and
    // need none but for errors.
    ("serde_yaml", Home::In(&["render/crds", "render/yaml", "sandbox/check/metadata", "settings"])),
    ("sha2", Home::Anywhere("digests")),
    ("similar", Home::OneFileIn("render")),
    ("sqlx", Home::In(&["store"])),
    ("ssh_key", Home::In(&["signature/ssh"])),
    ("strsim", Home::Anywhere("suggestions stand where the mistake is found")),
    ("thiserror", Home::Anywhere("one error enum per step")),
    ("tokio", Home::Anywhere("the pure floors are checked on their own")),
    ("tokio_rustls", Home::In(&["server/tls"])),
    ("tracing", Home::Anywhere("one line where a failure is handled")),
    ("tracing_opentelemetry", Home::In(&["telemetry", "trace"])),
    ("tracing_subscriber", Home::In(&["telemetry"])),
];

#[derive(Clone, Copy, Debug)]
enum Home {
    /// Any module, for this reason.
    Anywhere(#[allow(dead_code, reason = "said to whoever reads the table")] &'static str),
    /// These modules: a file, or a folder of files.
    In(&'static [&'static str]),
    /// A single file of this module.
    OneFileIn(&'static str),
}

/// Whether a file is this module or stands in its folder.
fn lives_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn home_faults(sources: &[Source], homes: &[(&str, Home)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, home) in homes {
        let mut lived_in = Vec::new();
        for source in sources.iter().filter(|source| !matches!(source.top(), "tests" | "benches")) {
            let code = code_of(&source.text);
            let Some(line) = mentions(&code, name) else { continue };
            let fits = match home {
                Home::Anywhere(_) => true,
                Home::In(places) => places.iter().any(|place| lives_in(&source.path, place)),
                Home::OneFileIn(folder) => lives_in(&source.path, folder),
            };
            if !fits {
                faults.push(format!("src/{}:{line}: {name} lives in {home:?}", source.path));
            }
            lived_in.push(source.path.as_str());
        }
        if matches!(home, Home::OneFileIn(_)) && lived_in.len() > 1 {
            faults.push(format!("{name} has one file, and now {}", lived_in.join(", ")));
        }
    }
    faults
}

/// The names of the direct dependencies of a Cargo.toml, as code writes them.
fn dependencies(manifest: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect()
}

#[test]
fn every_crate_is_named_only_in_its_home() {
    assert_none(&home_faults(&sources(), HOMES));
}

#[test]
fn every_direct_dependency_has_a_home() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml can be read");
    let found = dependencies(&manifest);
    assert!(found.len() > 10, "{found:?}");
    let homeless: Vec<&String> = found.iter().filter(|name| HOMES.iter().all(|(known, _)| known != name)).collect();
    assert!(homeless.is_empty(), "give these a line in HOMES: {homeless:?}");
    assert_eq!(dependencies("[dependencies]\na-b = \"1\"\n\n[profile.dev]\nx = 1\n"), ["a_b"]);
}

#[test]
fn a_crate_away_from_home_is_found() {
    for (path, text) in [
        ("engine.rs", "use sqlx::PgPool;"),
        ("source.rs", "fn f(e: saphyr_parser::Event) {}"),
        ("model/kinds/api_key.rs", "use cron::Schedule;"),
        ("commands/export.rs", "serde_yaml::to_string(&x)"),
        ("source/yaml/extra.rs", "use sqlx::Row;"),
        ("storefront.rs", "#[derive(sqlx::FromRow)] struct S;"),
    ] {
        assert_eq!(home_faults(&[Source::new(path, text)], HOMES).len(), 1, "{path}: {text}");
    }
    let two = [Source::new("render/text.rs", "use similar::Diff;"), Source::new("render/diff.rs", "similar::x()")];
    assert_eq!(home_faults(&two, HOMES).len(), 1);
    for (path, text) in [
        ("store/live.rs", "use sqlx::PgPool;"),
        ("store.rs", "use sqlx::PgPool;"),
        ("engine.rs", "// sqlx::query is never called here\nlet similar = 1; self::sqlx::x();"),
        ("tests/contract.rs", "use sqlx::PgPool;"),
    ] {
        assert_none(&home_faults(&[Source::new(path, text)], HOMES));
    }
}
