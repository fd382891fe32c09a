//! Floors: a module imports from those below it; the pure ones know no I/O, clock, environment or async.

use std::collections::BTreeSet;

use super::{Source, assert_none, code_of, mentions, sources};

/// The floors from the ground up, and on each the modules in order: a module imports from the floors below it and
/// from earlier names on its own.
const FLOORS: &[Floor] = &[
    Floor { about: "words", modules: &["model", "failpoint"], apart: false },
    Floor {
        about: "thought",
        modules: &[
            "plan",
            "agenda",
            "digest",
            "validate",
            "diff",
            "rollback",
            "guard",
            "access",
            "approval",
            "signature",
            "audit",
            "event",
            "notification",
            "hook",
            "identity",
            "policy",
            "brake",
            "verdict",
        ],
        apart: false,
    },
    Floor { about: "faces of values", modules: &["render"], apart: false },
    // What the floors above tell of their work: to whom, the tops decide.
    Floor { about: "signals", modules: &["metrics", "trace"], apart: true },
    // Adapters to the world know nothing of each other; the engine is where they meet.
    Floor { about: "world", modules: &["source", "store", "sandbox", "sink", "delivery"], apart: true },
    Floor { about: "engine", modules: &["engine"], apart: false },
    Floor {
        about: "tops",
        modules: &["exit_code", "cli", "settings", "telemetry", "server", "commands", "controller", "main"],
        apart: false,
    },
];

/// Floors below this one know no I/O, clock, environment or async.
const FIRST_IMPURE_FLOOR: usize = 3;

/// What a pure floor does not mention.
const IMPURE: &[&str] =
    &["std::fs", "std::env", "std::net", "std::process", "tokio", "SystemTime::now", "Instant::now", "Utc::now"];

/// Files of pure floors that may mention some of it all the same.
const IMPURE_ALL_THE_SAME: &[(&str, &[&str], &str)] = &[(
    "failpoint.rs",
    &["std::env", "std::process"],
    "it ends the process where a test asks for it through the environment",
)];

struct Floor {
    about: &'static str,
    modules: &'static [&'static str],
    /// Whether its modules never import each other, in whatever order.
    apart: bool,
}

/// Floor and place on the floor of a module right under the crate.
fn place(module: &str) -> Option<(usize, usize)> {
    FLOORS.iter().enumerate().find_map(|(floor, on)| {
        let at = on.modules.iter().position(|name| *name == module)?;
        Some((floor, at))
    })
}

/// The code without inline test modules.
fn without_tests(code: &str) -> String {
    let mut kept = code.to_owned();
    while let Some(start) = kept.find("#[cfg(test)]") {
        let after = &kept[start..];
        let (Some(open), semicolon) = (after.find('{'), after.find(';')) else { break };
        let end = match semicolon {
            Some(semicolon) if semicolon < open => semicolon + 1,
            _ => {
                let mut depth = 0;
                let closing = after[open..].char_indices().find(|(_, c)| {
                    depth += i32::from(*c == '{') - i32::from(*c == '}');
                    depth == 0
                });
                closing.map_or(after.len(), |(at, _)| open + at + 1)
            }
        };
        let lines = after[..end].matches('\n').count();
        kept.replace_range(start..start + end, &"\n".repeat(lines));
    }
    kept
}

/// The word that starts here.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The first words of a path or of a group of paths: `{model::x, plan::{A, B}}` names `model` and `plan`.
fn heads(text: &str) -> Vec<&str> {
    let Some(group) = text.strip_prefix('{') else { return vec![word(text)] };
    let (mut depth, mut found, mut fresh) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                found.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    found
}

/// The modules right under the crate that a file names, each with its line: by `crate::` and by enough `super::`.
fn named_modules(source: &Source) -> BTreeSet<(usize, String)> {
    let code = code_of(&source.text);
    let depth = source.module().len();
    let line = |at: usize| code[..at].matches('\n').count() + 1;
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        named.extend(heads(&code[at + "crate::".len()..]).into_iter().map(|name| (line(at), name.to_owned())));
    }
    for (at, _) in code.match_indices("super::") {
        let run = code[at..].split("super::").skip(1).take_while(|part| part.is_empty()).count() + 1;
        if code[..at].ends_with("super::") || run < depth {
            continue;
        }
        named.extend(heads(&code[at + run * "super::".len()..]).into_iter().map(|name| (line(at), name.to_owned())));
    }
    named.retain(|(_, name)| place(name).is_some());
    named
}

fn floor_faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        let top = source.top();
        if top == "lib" || top == "tests" || top == "benches" {
            continue;
        }
        let Some((floor, at)) = place(top) else {
            faults.push(format!("src/{}: `{top}` stands on no floor; give it a place in FLOORS", source.path));
            continue;
        };
        for (line, name) in named_modules(source) {
            let Some((its_floor, its_place)) = place(&name) else { continue };
            let on = FLOORS[floor].about;
            let reason = if name == top {
                continue;
            } else if its_floor > floor {
                format!("`{name}` is on a floor above ({})", FLOORS[its_floor].about)
            } else if its_floor == floor && FLOORS[floor].apart {
                format!("the modules of this floor ({on}) never import each other")
            } else if its_floor == floor && its_place > at {
                format!("`{name}` comes later on the same floor ({on})")
            } else {
                continue;
            };
            faults.push(format!("src/{}:{line}: `{top}` imports from `{name}`: {reason}", source.path));
        }
    }
    faults
}

/// The line where `use std::{fs, env}` names `std::fs`.
fn mentions_in_group(code: &str, name: &str) -> Option<usize> {
    let (parent, child) = name.split_once("::")?;
    let group = format!("{parent}::{{");
    let at = code.match_indices(&group).find(|(at, _)| heads(&code[at + group.len() - 1..]).contains(&child))?.0;
    Some(code[..at].matches('\n').count() + 1)
}

fn purity_faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        let pure = place(source.top()).is_some_and(|(floor, _)| floor < FIRST_IMPURE_FLOOR);
        if !pure || source.path.ends_with("/tests.rs") {
            continue;
        }
        let code = without_tests(&code_of(&source.text));
        let excused: &[&str] =
            IMPURE_ALL_THE_SAME.iter().find(|(path, ..)| *path == source.path).map_or(&[], |(_, words, _)| words);
        for word in IMPURE.iter().filter(|word| !excused.contains(word)) {
            if let Some(line) = mentions(&code, word).or_else(|| mentions_in_group(&code, word)) {
                faults.push(format!("src/{}:{line}: a pure floor mentions {word}", source.path));
            }
        }
    }
    faults
}

#[test]
fn every_module_imports_only_from_floors_below_and_from_earlier_names_on_its_own() {
    assert_none(&floor_faults(&sources()));
}

#[test]
fn an_import_from_above_or_from_a_neighbour_is_found() {
    let bad = [
        ("model/value.rs", "use crate::plan::Plan;", "floor above"),
        ("model/kinds/tier.rs", "use super::super::super::render::text;", "floor above"),
        ("plan.rs", "fn f() { super::engine::run() }", "floor above"),
        ("diff.rs", "use crate::{model::value::Value,\n  guard::Approved};", "later on the same floor"),
        ("store/live.rs", "use crate::source::yaml;", "never import each other"),
        ("sink.rs", "pub(crate) use crate::source::yaml;", "never import each other"),
        ("engine/relay.rs", "fn f(x: crate::commands::Apply) {}", "floor above"),
        ("gadget.rs", "", "stands on no floor"),
    ];
    for (path, text, reason) in bad {
        let faults = floor_faults(&[Source::new(path, text)]);
        assert!(faults.len() == 1 && faults[0].contains(reason), "{path}: {text}: {faults:?}");
    }
    let good = [
        ("guard.rs", "use crate::plan::Plan; use crate::model::{id, value::Value};"),
        ("plan.rs", "//! See [`crate::guard`].\n/* crate::engine */ const HELP: &str = \"crate::engine\";"),
        ("plan.rs", "const HELP: &str = r#\"a \" crate::engine\"#; fn f<'a>(x: &'a str) -> char { '\"' }"),
        ("plan.rs", "mod tests { use super::*; }"),
        ("model/kinds/tier.rs", "use super::role; use super::super::plan;"),
        ("commands/apply.rs", "use crate::{store, source, engine::Engine}; use super::plan;"),
    ];
    for (path, text) in good {
        assert_none(&floor_faults(&[Source::new(path, text)]));
    }
}

#[test]
fn pure_floors_know_no_io_clock_environment_or_async() {
    assert_none(&purity_faults(&sources()));
}

#[test]
fn impurity_on_a_pure_floor_is_found() {
    for text in [
        "use std::fs;",
        "use std::{fmt, fs::File};",
        "use std::env::var;",
        "async fn f() { tokio::spawn(g()).await; }",
        "fn f() { chrono::Utc::now(); }",
        "use chrono::Utc;\nfn f() { Utc::now() }",
        "#[cfg(test)]\nmod tests { fn f() {} }\nfn f() { SystemTime::now() }",
    ] {
        assert_eq!(purity_faults(&[Source::new("diff.rs", text)]).len(), 1, "{text}");
    }
    for (path, text) in [
        ("store/live.rs", "use tokio::fs; use std::env;"),
        ("diff.rs", "// no std::fs here\n#[cfg(test)]\nmod tests { fn f() { if x { std::fs::read(y) } } }"),
        ("diff/tests.rs", "use std::fs;"),
    ] {
        assert_none(&purity_faults(&[Source::new(path, text)]));
    }
}
