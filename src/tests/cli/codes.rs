//! What is said of plans, guards, applies and the world around: a folder of `fixtures/plan` for each code, with
//! manifests, what happens between, and what the last command says. `ARGUS_UPDATE=1` writes the expectations anew.
//!
//! `steps` lists what happens, a line each: `argus ...`, `psql FILE`, `lock SOURCE` (another run is under way),
//! `lonely argus ...` (no database is configured); `<held>` stands for the digest of the plan that waits, `<run>` for the
//! run that was noted last. Without it, `first` is applied, `between.sql` runs, and `second` (or
//! again `first`) is planned.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use argus::model::code::Code;

use super::{World, bare, run};

/// Codes that no folder of files can show, because they need a real repository; each is shown by these tests instead.
const SHOWN_ELSEWHERE: &[(std::ops::RangeInclusive<u16>, &str)] = &[
    (1401..=1412, "src/tests/signatures.rs"),
    (1701..=1725, "src/tests/cli/git.rs"),
    (1801..=1808, "src/tests/cli/audit.rs"),
    (1901..=1901, "src/tests/relay.rs"),
    (1902..=1903, "src/tests/notify.rs"),
    (1911..=1914, "src/tests/cluster"),
    (1920..=1921, "src/tests/cluster/admission.rs"),
    (2017..=2017, "src/plan/beyond.rs"),
    (4101..=4102, "src/tests/cli/controller.rs"),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixtures/plan")
}

fn folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixtures()).expect("fixtures");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    folders
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a copy");
        }
    }
}

fn steps(folder: &Path) -> Vec<String> {
    if let Ok(steps) = std::fs::read_to_string(folder.join("steps")) {
        return steps.lines().map(str::to_owned).collect();
    }
    let mut steps = vec!["argus apply first --auto-approve".to_owned()];
    if folder.join("between.sql").exists() {
        steps.push("psql between.sql".into());
    }
    let second = if folder.join("second").exists() { "second" } else { "first" };
    steps.push(format!("argus plan {second}"));
    steps
}

/// Goes through the steps of a folder and gives what the last command said and how it ended.
fn shown(folder: &Path) -> String {
    let world = World::new();
    copy(folder, &world.root);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut locks = Vec::new();
    let mut last = String::new();
    for step in steps(folder) {
        let step = match step.contains("<held>") {
            true => step.replace("<held>", &world.sql("SELECT left(plan_digest, 12) FROM argus.held_plan")),
            false => step,
        };
        let step = if step.contains("<run>") { step.replace("<run>", &last_run(&world)) } else { step };
        let words: Vec<&str> = step.split_whitespace().collect();
        match words[..] {
            ["psql", file] => {
                let sql = std::fs::read_to_string(world.path(file)).expect("SQL");
                world.mallory("psql", &sql);
            }
            ["psql", file, "as", "superuser"] => {
                drop(world.sql(&std::fs::read_to_string(world.path(file)).expect("SQL")));
            }
            ["lock", source] => {
                let lock = async { world.database.store().await.source_lock(source, Duration::ZERO).await };
                locks.push(runtime.block_on(lock).expect("the lock is free"));
            }
            ["argus", ..] | ["lonely", "argus", ..] => {
                let ran = match words[0] {
                    "argus" => world.argus(&words[1..]),
                    _ => {
                        let mut command = bare(&words[2..]);
                        command.current_dir(&world.root);
                        run(command)
                    }
                };
                last = format!("$ {step}\n{}{}(exit code {})\n", ran.err, ran.out, ran.code.unwrap_or(-1));
            }
            _ => panic!("{}: no step: {step}", folder.display()),
        }
    }
    for lock in locks {
        runtime.block_on(lock.release());
    }
    steady(&last.replace(&*world.root.to_string_lossy(), "<root>"))
}

/// The run that was noted last.
fn last_run(world: &World) -> String {
    world.sql("SELECT id FROM argus.run ORDER BY started_at DESC LIMIT 1")
}

/// Whether this begins with the id of a run: `20260101T000000Z-0123456789ab`.
fn is_run_id(text: &str) -> bool {
    text.len() >= 29
        && text.bytes().take(29).enumerate().all(|(at, b)| match at {
            8 => b == b'T',
            15 => b == b'Z',
            16 => b == b'-',
            0..16 => b.is_ascii_digit(),
            _ => b.is_ascii_hexdigit(),
        })
}

/// The same text with what differs from run to run replaced.
fn steady(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if is_run_id(rest) {
            out.push_str("<run>");
            rest = &rest[29..];
            continue;
        }
        let stamp = rest.get(..10).is_some_and(|date| {
            date.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() })
        });
        if stamp && rest[10..].starts_with('T') {
            let end = rest.find('Z').map_or(rest.len(), |at| at + 1);
            // Moments that a fixture itself names are whole seconds.
            let written = rest[..end].len() == "2026-01-01T00:00:00Z".len() && rest.starts_with("2020");
            let _ = write!(out, "{}", if written { &rest[..end] } else { "<time>" });
            rest = &rest[end..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

#[test]
fn every_code_is_shown_as_a_person_needs_it() {
    let update = std::env::var_os("ARGUS_UPDATE").is_some();
    let only = std::env::var("ARGUS_FIXTURE").ok();
    let mut differing = Vec::new();
    for folder in folders() {
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let text = shown(&folder);
        let expected = folder.join("expected.txt");
        if update {
            std::fs::write(&expected, &text).expect("an expectation");
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        if wanted != text {
            differing.push(format!("--- {name}, expected\n{wanted}\n--- {name}, found\n{text}"));
        }
        let code = name.split('-').next().unwrap_or_default();
        if !text.contains(&format!("[ARG{code}]")) {
            differing.push(format!("{name} does not show its code:\n{text}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_code_beyond_manifests_has_a_fixture() {
    let shown: BTreeSet<String> = folders()
        .iter()
        .filter_map(|folder| Some(format!("ARG{}", folder.file_name()?.to_str()?.split('-').next()?)))
        .collect();
    let elsewhere = |code: &Code| SHOWN_ELSEWHERE.iter().any(|(numbers, _)| numbers.contains(&code.number()));
    let codes = Code::ALL.iter().filter(|code| code.number() >= 1200 && !elsewhere(code)).map(ToString::to_string);
    let missing: Vec<String> = codes.filter(|code| !shown.contains(code)).collect();
    assert_eq!(missing, Vec::<String>::new());
}
