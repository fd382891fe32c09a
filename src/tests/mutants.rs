//! The policies that ship, changed in one place at a time: whatever is dropped, turned round or moved by one, a test of
//! the policies has to notice.

use std::path::{Path, PathBuf};

use regorus::{Engine, Value};

/// Changes that no test can notice, with the reason.
const EQUIVALENT: &[(&str, &str, &str)] = &[
    ("domains.rego", "changes.writes(change, {\"allowedEmailDomains\"})", "it spares looking at members"),
    ("owners.rego", "change.before != null", "it spares a call for each new member"),
    ("tiers.rego", "limits_after != limits_before", "it spares looking at budgets"),
];

struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn name(&self) -> String {
        self.path.strip_prefix(folder()).expect("a path within").display().to_string()
    }

    fn is_test(&self) -> bool {
        self.name().ends_with("_test.rego")
    }
}

/// One change of one line.
struct Mutant {
    line: usize,
    what: &'static str,
    text: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

fn files(folder: &Path) -> Vec<File> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rego") {
            found.push(File { text: std::fs::read_to_string(&path).expect("a file"), path });
        }
    }
    found
}

/// The other way round.
fn negated(condition: &str) -> String {
    condition.strip_prefix("not ").map_or_else(|| format!("not {condition}"), str::to_owned)
}

/// Every change of a policy that says something else.
fn mutants(text: &str) -> Vec<Mutant> {
    let lines: Vec<&str> = text.lines().collect();
    let mut mutants = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with('#') || bare.starts_with("package") || bare.starts_with("import") {
            continue;
        }
        let mut put = |new: String, what: &'static str| {
            let mut changed: Vec<&str> = lines.clone();
            changed[at] = &new;
            mutants.push(Mutant { line: at + 1, what, text: changed.join("\n") + "\n" });
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let is_condition = !indent.is_empty()
            && !bare.contains(":=")
            && !bare.starts_with(['}', '{', '"', '[', ']', ')'])
            && !bare.starts_with("some ")
            && !bare.ends_with(['{', '(', '[', ',']);
        if is_condition {
            put(String::new(), "dropped");
            put(format!("{indent}{}", negated(bare)), "negated");
        }
        if indent.is_empty()
            && let Some((head, condition)) = line.split_once(" if ").filter(|(_, condition)| *condition != "{")
        {
            put(format!("{head} if {}", negated(condition)), "negated");
            put(format!("{head} if true"), "always");
            put(String::new(), "dropped");
        }
        let turned =
            [(" <= ", " < "), (" >= ", " > "), (" < ", " <= "), (" > ", " >= "), (" == ", " != "), (" != ", " == ")];
        for (operator, other) in turned {
            for (found, _) in line.match_indices(operator) {
                put(format!("{}{other}{}", &line[..found], &line[found + operator.len()..]), "turned");
            }
        }
        for (from, to) in numbers(line) {
            let number: i64 = line[from..to].parse().expect("digits");
            put(format!("{}{}{}", &line[..from], number + 1, &line[to..]), "one more");
            put(format!("{}{}{}", &line[..from], number - 1, &line[to..]), "one less");
        }
    }
    mutants
}

/// Where numbers stand that are no part of a name, a text or a negative number.
fn numbers(line: &str) -> Vec<(usize, usize)> {
    let bytes = line.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let part_of_more = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'"' | b'-' | b'`' | b'.');
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        if !before.is_some_and(part_of_more) && !bytes.get(end).is_some_and(part_of_more) {
            found.push((at, end));
        }
        at = end;
    }
    found
}

/// The rules of a file that are tests, as a query calls them.
fn tests(file: &File) -> Vec<String> {
    let package = file.text.lines().find_map(|line| line.strip_prefix("package ")).expect("a package");
    let names = file.text.lines().filter(|line| line.starts_with("test_")).map(|line| line.split(' ').next());
    names.map(|name| format!("data.{package}.{}", name.expect("a name"))).collect()
}

/// Whether some test fails with these files.
fn is_noticed<'a>(files: impl Iterator<Item = (&'a str, &'a str)>, tests: &[String]) -> bool {
    let mut engine = Engine::new();
    for (name, text) in files {
        if engine.add_policy(name.into(), text.into()).is_err() {
            return true;
        }
    }
    tests.iter().any(|test| !matches!(engine.eval_rule(test.clone()), Ok(Value::Bool(true))))
}

#[test]
fn whatever_is_changed_in_a_policy_a_test_of_the_policies_notices() {
    let files = files(&folder());
    let mut jobs: Vec<(&File, Mutant)> = Vec::new();
    for file in files.iter().filter(|file| !file.is_test()) {
        jobs.extend(mutants(&file.text).into_iter().map(|mutant| (file, mutant)));
    }
    let whole: Vec<(String, &str)> = files.iter().map(|file| (file.name(), file.text.as_str())).collect();
    let all: Vec<String> = files.iter().filter(|file| file.is_test()).flat_map(tests).collect();
    let fails = is_noticed(whole.iter().map(|(name, text)| (name.as_str(), *text)), &all);
    assert!(!fails, "the policies do not pass their own tests as they are");
    assert!(jobs.len() > 300, "{} mutants", jobs.len());
    let survives = |(file, mutant): &(&File, Mutant)| {
        let name = file.name();
        // Whoever changes a policy runs its own tests first; what all share is tested by all.
        let own = name.replace(".rego", "_test.rego");
        let mut testing: Vec<&File> = files.iter().filter(|file| file.is_test()).collect();
        testing.sort_by_key(|test| (test.name() != own, test.name()));
        if !name.starts_with("lib/") {
            testing.retain(|test| test.name() == own);
        }
        let tests: Vec<String> = testing.iter().flat_map(|test| tests(test)).collect();
        let needed = files.iter().filter(|other| {
            let is_lib = other.name().starts_with("lib/");
            name.starts_with("lib/") || is_lib || other.name() == name || other.name() == own
        });
        let names: Vec<(String, &str)> = needed
            .map(|other| (other.name(), if other.path == file.path { mutant.text.as_str() } else { &other.text }))
            .collect();
        let survives = !is_noticed(names.iter().map(|(name, text)| (name.as_str(), *text)), &tests);
        let line = file.text.lines().nth(mutant.line - 1).unwrap_or_default().trim();
        let excused = EQUIVALENT.iter().any(|(of, text, _)| *of == name && *text == line) && mutant.what == "dropped";
        (survives && !excused).then(|| format!("{name}:{}: {} and nobody notices: {line}", mutant.line, mutant.what))
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let survivors: Vec<String> = std::thread::scope(|threads| {
        let shares = jobs.chunks(jobs.len().div_ceil(cores));
        let shares: Vec<_> =
            shares.map(|share| threads.spawn(|| share.iter().filter_map(survives).collect::<Vec<_>>())).collect();
        shares.into_iter().flat_map(|share| share.join().expect("no panic")).collect()
    });
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

#[test]
fn a_change_that_nobody_tests_is_found() {
    let rule = "package a\n\ndeny contains \"x\" if {\n\tinput.size > 3\n\tinput.odd\n}\n";
    let test =
        "package a_test\n\nimport data.a\n\ntest_x if count(a.deny) == 1 with input as {\"size\": 9, \"odd\": true}\n";
    let tests = ["data.a_test.test_x".to_owned()];
    let survivors: Vec<(usize, &str)> = mutants(rule)
        .iter()
        .filter(|mutant| !is_noticed([("a", mutant.text.as_str()), ("a_test", test)].into_iter(), &tests))
        .map(|mutant| (mutant.line, mutant.what))
        .collect();
    assert_eq!(survivors, [(4, "dropped"), (4, "turned"), (4, "one more"), (4, "one less"), (5, "dropped")]);
}
