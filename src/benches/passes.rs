//! Micro-benchmarks of the steps of a pass, on one generated organization of 100 resources.
//!
//! They tell which step has become slower; `make measure` tells what whole commands cost.

#[allow(dead_code, reason = "the other programs use the rest")]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;

use argus::diff::{self, Rules};
use argus::model::resource::Spec;
use argus::model::state::{Applied, AppliedRow, Desired, Live, LiveRow, World};
use argus::plan::OrganizationPlan;
use argus::policy::PolicyFile;
use argus::policy::judgement::Answers;
use argus::sandbox::{Limits, Sandbox};
use argus::source::{manifest, world as source_world};
use argus::validate;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use saphyr_parser::Parser;

const SEED: u64 = 7;
const SOURCE: &str = "generated";

fn read(text: &str) -> World {
    let files = [("tiers.yaml", world::TIERS), ("organizations/org-00000.yaml", text)];
    let reading = |(file, text): (&str, &str)| manifest::read_file(&Arc::from(file), text.as_bytes());
    source_world::assemble(files.into_iter().map(reading))
}

/// The rows and records that an apply of these manifests leaves.
fn settled(desired: &Desired) -> (Live, Applied) {
    let (mut live, mut applied) = (Live::default(), Applied::default());
    for resource in desired.resources.iter().filter(|resource| resource.kind().table.is_some()) {
        let id = (resource.id.kind, resource.id.name.clone());
        let stored = resource.kind().stored_fields().map(|(number, field)| {
            let named = resource.spec.value(number).cloned();
            (number, named.unwrap_or_else(|| field.preset.value()))
        });
        live.rows.insert(id.clone(), LiveRow { version: 1, spec: Spec::from_values(stored) });
        let (spec, origin) = (resource.spec.clone(), resource.origin.clone());
        applied.rows.insert(id, AppliedRow { source: SOURCE.into(), spec, origin });
    }
    (live, applied)
}

fn plan(desired: &Desired, live: &Live, applied: &Applied) -> OrganizationPlan {
    let tiers = ["free", "team", "enterprise"].map(|tier| (Arc::from(tier), Vec::new()));
    let rules = Rules {
        source: SOURCE,
        correct_drift: true,
        now: chrono::DateTime::UNIX_EPOCH,
        tiers: &BTreeMap::from(tiers),
        declared_tiers: &BTreeSet::new(),
        targeted: &|_| true,
    };
    diff::organization(desired, live, applied, &rules)
}

fn reading(bencher: &mut Criterion) {
    let text = world::organization(SEED, 0);
    let mut group = bencher.benchmark_group("read");
    group.throughput(Throughput::Bytes(text.len() as u64));
    // The floor: events of the parser, which every reader of YAML needs.
    group.bench_function("events", |bencher| {
        bencher.iter(|| Parser::new_from_str(black_box(&text)).filter(Result::is_ok).count());
    });
    group.bench_function("manifest", |bencher| {
        let file = Arc::from("organizations/org-00000.yaml");
        bencher.iter(|| manifest::read_file(&file, black_box(text.as_bytes())));
    });
    group.finish();
}

fn thinking(bencher: &mut Criterion) {
    let text = world::organization(SEED, 0);
    let name: Arc<str> = world::organization_name(0).into();
    let all = read(&text);
    let desired = &all.organizations[&name];
    let (live, applied) = settled(desired);
    // What is measured must be what its name says.
    assert_eq!(desired.resources.len(), world::RESOURCES_PER_ORGANIZATION);
    assert!(plan(desired, &live, &applied).changes.is_empty(), "a settled organization has changes");
    let created = plan(desired, &Live::default(), &Applied::default()).changes.len();
    assert_eq!(created, world::RESOURCES_PER_ORGANIZATION);

    let mut group = bencher.benchmark_group("think");
    group.throughput(Throughput::Elements(world::RESOURCES_PER_ORGANIZATION as u64));
    group.bench_function("validate", |bencher| {
        let validate = |mut world: World| {
            validate::validate(&mut world, chrono::DateTime::UNIX_EPOCH);
            world
        };
        bencher.iter_batched(|| read(&text), validate, BatchSize::SmallInput);
    });
    group.bench_function("plan without changes", |bencher| {
        bencher.iter(|| plan(black_box(desired), &live, &applied));
    });
    group.bench_function("plan of a new organization", |bencher| {
        bencher.iter(|| plan(black_box(desired), &Live::default(), &Applied::default()));
    });
    group.finish();
}

/// Ten packages of three rules each, of which one looks through all keys.
fn policies() -> Vec<PolicyFile> {
    let package = |number: usize| {
        let text = format!(
            "package p{number}\n
deny contains msg if {{
    some name, key in input.after.apiKeys
    not key.expiresAt
    msg := sprintf(\"%s: %s\", [name, key.description])
}}

warn contains \"large\" if count(input.changes) > {number}000

default hold := false

hold if input.organization == \"p{number}\"
"
        );
        PolicyFile { path: format!("policies/p{number}.rego").into(), text }
    };
    (0..10).map(package).collect()
}

/// An input of about 8 KB with 18 keys.
fn input() -> Vec<u8> {
    let description = "x".repeat(330);
    let keys = (0..18).map(|number| {
        let key = serde_json::json!({
            "name": format!("key-{number}"),
            "description": description,
            "expiresAt": "2027-01-01T00:00:00Z",
            "scopes": ["read", "write"],
        });
        (format!("key-{number}"), key)
    });
    let keys: serde_json::Map<String, serde_json::Value> = keys.collect();
    let input = serde_json::json!({ "organization": "acme", "changes": [], "after": { "apiKeys": keys } });
    let bytes = input.to_string().into_bytes();
    assert!((7_500..8_500).contains(&bytes.len()), "{} bytes", bytes.len());
    bytes
}

/// What an input costs from asking to answer, workers of the real binary included.
fn judging(bencher: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_argus"));
    let inputs: Vec<Vec<u8>> = vec![input(); 500];
    let mut group = bencher.benchmark_group("judge");
    group.throughput(Throughput::Elements(inputs.len() as u64));
    let silent = |answers: &Answers| matches!(answers, Answers::Given(given) if given.len() == 30);
    for workers in [1, 2] {
        let load = Sandbox::load_with(program, policies(), Limits::default(), workers);
        let sandbox = runtime.block_on(load).expect("policies that load");
        group.bench_function(format!("{workers} workers"), |bencher| {
            let judge = |inputs| {
                let answers = runtime.block_on(sandbox.judge(inputs));
                assert!(answers.iter().all(silent));
            };
            bencher.iter_batched(|| inputs.clone(), judge, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(passes, reading, thinking, judging);
criterion_main!(passes);
