//! Small rules of many forms, each with an answer that is undefined for one of several ways in which its body holds:
//! whatever Argus loads means to it what it means to OPA, or is an error and denies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::parity::{opa, opa_json};
use super::{bare, run};
use crate::support::postgres::scratch;

/// What heads say. `x` is a variable that the body may bind to what may be undefined.
const SAID: &[&str] = &[
    "x",
    "c.after.displayName",
    "sprintf(\"%v\", [c.after.displayName])",
    "{\"msg\": c.after.displayName}",
    "{\"msg\": x, \"kind\": \"A\"}",
    "[c.name, c.after.displayName]",
    "name_of(c)",
    "{y | some d in input.changes; y := d.after.displayName}",
    "{d.name: y | some d in input.changes; y := d.after.displayName}",
    "input.changes[0].after.displayName",
    "input.changes[_].after.displayName",
    "first_of_all",
    "\"said\"",
];

/// Bodies that bind `c` to one change or to each of them.
const BODIES: &[&str] = &[
    "some c in input.changes",
    "c := input.changes[_]",
    "c = input.changes[_]",
    "c := input.changes[0]",
    "some i; c := input.changes[i]",
    "c := input.changes[i]; i >= 0",
    "i := 1; c := input.changes[i]",
    "[c, _] := [input.changes[_], 1]",
    "walk(input.changes, [_, c])",
    "c := object.get(input.changes, 1, {})",
    "some c in input.changes; not c.after.description",
    "all := [d | some d in input.changes]; c := all[count(all) - 1]",
    "one := one_of(input.changes); c := one",
];

/// Forms of a rule called `r`, with what is said for `$H`, a body for `$B`.
const FORMS: &[&str] = &[
    "r contains $H if { $B }",
    "r contains $H if { $B; x := c.after.displayName }",
    "r[c.name] := $H if { $B }",
    "r[$H] := 1 if { $B; x := c.after.displayName }",
    "r := $H if { $B }",
    "r := $H if { $B; x := c.after.displayName }",
    "default r := \"none\"\n\nr := $H if { $B }",
    "r := y if { not input.commit; y := 1 } else := $H if { $B }",
    "r := \"first\" if { input.organization == \"other\" } else := $H if { $B } else := \"last\"",
    "r := g(1)\n\ng(n) := $H if { n == 1; $B }",
    "r := \"silent\" if { not g(input.changes) }\n\ng(all) := $H if { $B; count(all) > 0 }",
    "r contains $H if { $B }\n\nr contains \"more\"",
];

/// Without a body.
const ALONE: &[&str] = &["r contains $H", "r := $H", "r[\"a\"] := $H", "default r := 0\n\nr := $H"];

const SHARED: &str = "\
name_of(d) := d.after.displayName

first_of_all := input.changes[0].after.displayName

one_of(all) := all[0]
";

/// How many are loaded together.
const RULES_AT_ONCE: usize = 300;

/// What is asked of each.
const ASKED: &str = "\
deny contains answer if answer := {\"msg\": \"is\", \"hint\": json.marshal(r)}
";

/// The rules, each a package of its own.
fn rules() -> Vec<String> {
    let mut rules = Vec::new();
    for said in SAID {
        for form in FORMS {
            for body in BODIES {
                let bound = form.replace("$H", said).replace("$B", body);
                if !said.contains('x') || bound.contains("x := c.after") || !uses_x(said) {
                    rules.push(bound);
                }
            }
        }
        if !uses_x(said) && !said.contains("c.") && !said.contains("(c)") {
            rules.extend(ALONE.iter().map(|form| form.replace("$H", said)));
        }
    }
    rules
}

fn uses_x(said: &str) -> bool {
    said == "x" || said.contains(" x,")
}

fn inputs() -> Vec<Value> {
    let named = |name: &str| json!({ "kind": "Team", "name": name, "after": { "displayName": "one" } });
    let bare = |name: &str| json!({ "kind": "Team", "name": name, "after": {} });
    let of = |changes: Vec<Value>| json!({ "version": 1, "organization": "acme", "changes": changes });
    vec![of(vec![named("a"), bare("b")]), of(vec![bare("a"), named("b")]), of(vec![bare("a"), bare("b")]), of(vec![])]
}

fn write(folder: &Path, rules: &BTreeMap<String, String>) {
    std::fs::create_dir_all(folder).expect("a folder");
    for (package, rule) in rules {
        let text = format!("package {package}\n\n{SHARED}\n{rule}\n\n{ASKED}");
        std::fs::write(folder.join(format!("{package}.rego")), text).expect("a file");
    }
}

/// Takes away those that are refused, and gives how many.
fn loaded(folder: &Path, rules: &mut BTreeMap<String, String>) -> usize {
    let before = rules.len();
    for _ in 0..50 {
        write(folder, rules);
        let shown = folder.display().to_string();
        let input = folder.join("none.json");
        std::fs::write(&input, inputs()[0].to_string()).expect("a file");
        let asked = ["policy", "eval", "--policies", &shown, "--input", &input.display().to_string()];
        let ran = run(bare(&asked));
        let refused: BTreeSet<String> = ran
            .err
            .lines()
            .filter_map(|line| line.trim().strip_prefix("--> "))
            .filter_map(|place| Some(place.split(".rego").next()?.rsplit('/').next()?.to_owned()))
            .collect();
        if refused.is_empty() {
            assert!(ran.code == Some(0), "{ran}");
            return before - rules.len();
        }
        rules.retain(|package, _| !refused.contains(package));
        std::fs::remove_dir_all(folder).expect("it can be removed");
    }
    panic!("there is no end to what is refused");
}

#[test]
fn what_is_loaded_means_what_it_means_to_opa() {
    let Some(opa) = opa() else { return };
    let all: Vec<(String, String)> =
        rules().into_iter().enumerate().map(|(number, rule)| (format!("p{number:04}"), rule)).collect();
    let (mut refused, mut asked, mut defined) = (0, 0, 0);
    let mut wrong = String::new();
    for some in all.chunks(RULES_AT_ONCE) {
        let folder = scratch("solutions").join("policies");
        let mut rules: BTreeMap<String, String> = some.iter().cloned().collect();
        refused += loaded(&folder, &mut rules);
        asked += rules.len();
        for input in inputs() {
            defined += compare(&opa, &folder, &rules, &input, &mut wrong);
        }
        std::fs::remove_dir_all(&folder).expect("it can be removed");
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(refused > 100 && asked > 1000 && defined > 1000, "{refused} refused, {asked} asked, {defined} answered");
}

/// Asks both about one input, and gives how many rules have something to say.
fn compare(opa: &str, folder: &Path, rules: &BTreeMap<String, String>, input: &Value, wrong: &mut String) -> usize {
    let shown = folder.display().to_string();
    let file = scratch("solutions-input.json");
    std::fs::write(&file, input.to_string()).expect("a file");
    let path = file.display().to_string();
    let judged = run(bare(&["policy", "eval", "--policies", &shown, "--input", &path, "--format", "json"])).ends(0);
    let answers = judged.json()["answers"].clone();
    let mut failing = BTreeSet::new();
    let theirs = loop {
        // Where Argus has an error it denies, whatever OPA says.
        let answered = |package: &&String| answers[format!("data.{package}.deny")].get("error").is_none();
        let entries: Vec<String> = rules
            .keys()
            .filter(|package| !failing.contains(*package))
            .filter(answered)
            .map(|package| format!("{package:?}: [a | some a in data.{package}.deny]"))
            .collect();
        let query = format!("{{{}}}", entries.join(", "));
        let said = opa_json(opa, &["eval", "--data", &shown, "--input", &path, "--strict-builtin-errors", &query]);
        // It ends with the first error.
        let Some(errors) = said["errors"].as_array() else {
            break said["result"][0]["expressions"][0]["value"].clone();
        };
        for error in errors {
            let file = error["location"]["file"].as_str().unwrap_or_else(|| panic!("{error}"));
            let package = file.rsplit('/').next().and_then(|name| name.strip_suffix(".rego")).expect("a package");
            assert!(failing.insert(package.to_owned()), "{error}");
        }
    };
    std::fs::remove_file(&file).expect("it can be removed");
    let mut defined = 0;
    for (package, rule) in rules {
        let ours = &answers[format!("data.{package}.deny")];
        let theirs = if failing.contains(package) { &json!("an error") } else { &theirs[package] };
        defined += usize::from(*theirs != json!([]));
        if ours.get("error").is_none() && ours["value"] != *theirs {
            let _ = writeln!(wrong, "{input}, {package}: {rule}\n  ours   {ours}\n  theirs {theirs}");
        }
    }
    defined
}
