//! The sandbox with workers of the real binary.

mod hazards;
mod loading;
mod processes;
mod testing;

use std::path::Path;
use std::sync::Arc;

use argus::model::finding::Finding;
use argus::policy::PolicyFile;
use argus::policy::judgement::Answers;
use argus::sandbox::{Limits, Sandbox};
use serde_json::{Value, json};

/// The binary whose workers are used.
const ARGUS: &str = env!("CARGO_BIN_EXE_argus");

fn file(path: &str, text: &str) -> PolicyFile {
    PolicyFile { path: Arc::from(path), text: text.into() }
}

async fn load(files: &[(&str, &str)], limits: Limits) -> Result<Sandbox, Vec<Finding>> {
    let files = files.iter().map(|(path, text)| file(path, text)).collect();
    Sandbox::load_with(Path::new(ARGUS), files, limits, 2).await
}

async fn ready(text: &str) -> Sandbox {
    load(&[("policies/a.rego", text)], Limits::default()).await.expect("policies that load")
}

fn given(answers: &Answers) -> Vec<Value> {
    let Answers::Given(answers) = answers else { panic!("{answers:?}") };
    answers.iter().map(|answer| serde_json::to_value(answer).expect("an answer")).collect()
}

/// Inputs of which only the version matters.
fn inputs(versions: impl IntoIterator<Item = u32>) -> Vec<Vec<u8>> {
    versions.into_iter().map(|version| json!({ "version": version }).to_string().into_bytes()).collect()
}

/// What `/proc` says of a process in KiB.
fn kib_of(process: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a number");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The children of all threads of a process, zombies among them.
fn children(process: &str) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let mut children: Vec<u32> = threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|children| children.split_whitespace().map(|id| id.parse().expect("an id")).collect::<Vec<_>>())
        .collect();
    children.sort_unstable();
    children
}

/// The state of a process, if there is one: `R`, `S`, `Z`.
fn status_of(process: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

const DENY_LARGE: &str = r#"package argus.size
deny contains msg if {
    input.changes[_].name == "large"
    msg := "too large"
}
warn contains "look" if input.organization == "odd"
default hold := false
hold if input.version == 2
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_answers_every_input_in_order() {
    let sandbox = ready(DENY_LARGE).await;
    let names: Vec<_> = sandbox.rules().iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["deny", "hold", "warn"]);
    let inputs = (0..100).map(|number| {
        let name = if number % 3 == 0 { "large" } else { "small" };
        json!({ "changes": [{ "name": name }], "organization": "odd", "version": number }).to_string().into_bytes()
    });
    let answers = sandbox.judge(inputs.collect()).await;
    assert_eq!(answers.len(), 100);
    for (number, answers) in answers.iter().enumerate() {
        let deny = if number % 3 == 0 { json!(["too large"]) } else { json!([]) };
        let expected = [json!({ "value": deny }), json!({ "value": number == 2 }), json!({ "value": ["look"] })];
        assert_eq!(given(answers), expected, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_gives_what_opa_eval_would() {
    let sandbox = ready(DENY_LARGE).await;
    let input = json!({ "changes": [{ "name": "large" }] }).to_string().into_bytes();
    let result = sandbox.query(input, "data.argus.size.deny".into()).await.expect("a result");
    assert_eq!(result["result"][0]["expressions"][0]["value"], json!(["too large"]));
}
