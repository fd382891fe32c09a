//! Policies that would bring down whoever evaluates them (`fixtures/policies`): each is refused or denied, costs its
//! worker at most, and the next input is judged as ever.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use argus::approval::Need;
use argus::model::code::Code;
use argus::model::finding::Finding;
use argus::policy::judgement::{Answers, Failure, judge};
use argus::sandbox::{Limits, Sandbox};
use serde_json::{Value, json};

use crate::support::plans::plan;

use super::{ARGUS, children, file, given, inputs, kib_of};

/// How long an input may take here.
const WALL: Duration = Duration::from_millis(700);

/// How long beyond its limit a verdict may be waited for.
const LATE_MAX: Duration = Duration::from_millis(500);

/// How much more memory than before the one who asks may ever have had, whatever the policies wanted.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

/// What must happen.
enum Fate {
    /// It does not load, for this reason.
    Refused(Code, &'static str),
    /// An input with this version fails, for one of these reasons.
    Fails(&'static [&'static str]),
    /// All inputs are answered; that with version 1 in this way.
    Answers(Value),
}
use Fate::{Answers as Answered, Fails, Refused};

const MEMORY: &str = "more than 512 MiB of memory";
const TIME: &str = "took longer than 700 ms";

fn fates() -> Vec<(&'static str, Fate)> {
    vec![
        ("circle", Refused(Code::BadPolicy, "in a circle: f -> f")),
        ("circle-through-with", Refused(Code::BadPolicy, "in a circle: f -> f")),
        ("circle-through-data", Refused(Code::BadPolicy, "in a circle: deny -> deny")),
        ("brackets", Refused(Code::BadPolicy, "brackets are nested more than 20 levels deep")),
        ("http", Refused(Code::ForbiddenBuiltin, "`http.send` is called")),
        ("clock", Refused(Code::ForbiddenBuiltin, "`time.now_ns` is called")),
        ("v0", Refused(Code::BadPolicy, "`if` keyword is required")),
        ("range-24-tb", Fails(&[MEMORY])),
        ("range-50-million", Fails(&[MEMORY])),
        ("cube", Fails(&[TIME])),
        ("cube-kept", Fails(&[TIME, MEMORY])),
        ("doubling", Fails(&[TIME, MEMORY])),
        ("wide-format", Fails(&[MEMORY])),
        ("all-addresses", Fails(&[TIME, MEMORY])),
        ("big-power", Fails(&[TIME, MEMORY])),
        ("all-paths", Fails(&[TIME, MEMORY])),
        ("replacing", Fails(&[TIME, MEMORY])),
        ("million-messages", Fails(&[TIME, "it has more than 4 MiB"])),
        ("much-to-say", Fails(&["it has more than 4 MiB"])),
        ("prints", Answered(json!([["spoken"]]))),
    ]
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixtures/policies")
}

fn fixture(name: &str) -> argus::policy::PolicyFile {
    let text = std::fs::read_to_string(fixtures().join(format!("{name}.rego"))).expect("a fixture");
    assert!(text.starts_with("# "), "{name} says what it does");
    file(&format!("policies/{name}.rego"), &text)
}

async fn hazard(name: &str) -> Result<Sandbox, Vec<Finding>> {
    let limits = Limits { wall: WALL, ..Limits::default() };
    Sandbox::load_with(Path::new(ARGUS), vec![fixture("good"), fixture(name)], limits, 1).await
}

#[test]
fn every_policy_among_the_fixtures_is_met() {
    let mut found: Vec<String> = std::fs::read_dir(fixtures())
        .expect("fixtures")
        .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    found.sort();
    let elsewhere = ["breaks", "conflict", "good", "no-boolean", "undefined"];
    let mut known: Vec<&str> = fates().iter().map(|(name, _)| *name).chain(elsewhere).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

/// Whoever measures memory must be alone in a process.
#[test]
fn every_hazard_costs_its_worker_and_nothing_else() {
    let mut alone = Command::new(std::env::current_exe().expect("this test"));
    alone.args(["--exact", "sandbox::hazards::meets_every_hazard_alone", "--ignored", "--nocapture"]);
    let output = alone.env("RUST_BACKTRACE", "0").output().expect("the test runs");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
    // What policies print, and how their workers die, is told by whoever asked them, if anybody.
    assert!(complained.is_empty(), "{complained}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test above runs it in a process of its own"]
async fn meets_every_hazard_alone() {
    // Whatever is allocated once is allocated now.
    drop(hazard("prints").await.expect("it loads").judge(inputs([1, 2])).await);
    let before = kib_of("self", "VmRSS");
    for (name, fate) in fates() {
        let loaded = hazard(name).await;
        let sandbox = match (loaded, &fate) {
            (Err(findings), Refused(code, why)) => {
                let [finding] = &findings[..] else { panic!("{name}: {findings:?}") };
                assert!(finding.code == *code && finding.message.contains(why), "{name}: {finding:?}");
                let place = finding.origin.as_ref().expect("a place");
                assert!(
                    &*place.file == format!("policies/{name}.rego").as_str() && place.line > 1,
                    "{name}: {finding:?}"
                );
                continue;
            }
            (Ok(sandbox), Fails(_) | Answered(_)) => sandbox,
            (loaded, _) => panic!("{name}: {:?}", loaded.map(|_| "it loads")),
        };
        // The others in the same batch, before and behind, are answered.
        let answers = sandbox.judge(inputs([2, 1, 3, 2])).await;
        let silent = |answers: &Answers| given(answers).iter().all(|answer| *answer == json!({ "value": [] }));
        let two = |answers: &Answers| given(answers).contains(&json!({ "value": ["two"] }));
        assert!(two(&answers[0]) && silent(&answers[2]) && two(&answers[3]), "{name}: {answers:?}");
        match (&fate, &answers[1]) {
            (Fails(reasons), Answers::Failed(failure)) => {
                let said = failure.to_string();
                assert!(reasons.iter().any(|reason| said.contains(reason)), "{name}: {said}");
                let denials = judge(sandbox.rules(), &answers[1], &plan("acme", Vec::new()), &Need::default()).denials;
                assert!(denials.len() == 1 && denials[0].code == Code::PolicyFailed, "{name}: {denials:?}");
                in_time(name, &sandbox).await;
            }
            (Answered(expected), answers) => {
                let values: Vec<Value> = given(answers).into_iter().map(|answer| answer["value"].clone()).collect();
                assert!(expected.as_array().is_some_and(|all| all.iter().all(|one| values.contains(one))), "{name}");
            }
            (_, answers) => panic!("{name}: {answers:?}"),
        }
        drop(sandbox);
        assert_eq!(children("self"), Vec::<u32>::new(), "{name} leaves no process behind");
    }
    let most = kib_of("self", "VmHWM");
    assert!(most < before + GROWTH_KIB_MAX, "{before} KiB before, {most} KiB at most");
}

/// The verdict comes soon after the limit. Others may keep the machine busy, so that one time of three is enough.
async fn in_time(name: &str, sandbox: &Sandbox) {
    let mut took = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        let answers = sandbox.judge(inputs([1])).await;
        took.push(began.elapsed());
        assert!(matches!(answers[0], Answers::Failed(_)), "{name}: {answers:?}");
        if took.iter().any(|took| *took < WALL + LATE_MAX) {
            return;
        }
    }
    panic!("{name}: {took:?}");
}

/// What judges and may not judge so: denied by what comes back.
#[tokio::test(flavor = "multi_thread")]
async fn verdicts_that_are_none_deny() {
    for (name, said) in [
        ("undefined", &["hazard.deny: the rule gives no clean answer: it is undefined"][..]),
        (
            "no-boolean",
            &[
                "hazard.deny: the rule gives no clean answer",
                "hazard.hold: the rule gives no",
                "hazard.warn: the rule gives no",
            ],
        ),
        (
            "conflict",
            &["hazard.deny: the rule gives no clean answer: rule conflicts with rule at policies/conflict.rego:6:1"],
        ),
        ("breaks", &["hazard.deny: the rule gives no clean answer: could not parse string as number"]),
    ] {
        let sandbox = hazard(name).await.expect("it loads");
        let answers = sandbox.judge(inputs([1])).await;
        let judgement = judge(sandbox.rules(), &answers[0], &plan("acme", Vec::new()), &Need::default());
        let said_by = |finding: Finding| format!("{}: {}", finding.rule.unwrap_or_default(), finding.message);
        let denials: Vec<String> = judgement.denials.into_iter().map(said_by).collect();
        assert_eq!(denials.len(), said.len(), "{name}: {denials:?}");
        assert!(denials.iter().zip(said).all(|(denial, said)| denial.contains(said)), "{name}: {denials:?}");
        assert!(judgement.holds.is_empty() && judgement.warnings.is_empty());
    }
}

/// What is too large to be written down here, or too long.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_or_costs_the_worker_that_loads_it() {
    let refused = async |text: String| {
        let files = vec![fixture("good"), file("policies/large.rego", &format!("package large\n\n{text}\n"))];
        let findings =
            Sandbox::load_with(Path::new(ARGUS), files, Limits::default(), 1).await.expect_err("it is refused");
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.origin.as_ref().map(|origin| &*origin.file), Some("policies/large.rego"));
        finding.message.clone()
    };
    assert_eq!(refused("#".repeat(2 * 1024 * 1024)).await, "the file has more than 1024 KiB");
    let sum = format!("deny contains 1 if 1{} == 1", " + 1".repeat(200_000));
    assert!(refused(sum).await.ends_with("they recurse without end, or nest too deep"));
    let many: Vec<_> = (0..1_001).map(|number| file(&format!("policies/{number}.rego"), "package a")).collect();
    let findings = Sandbox::load_with(Path::new(ARGUS), many, Limits::default(), 1).await.expect_err("it is refused");
    assert_eq!(findings[0].message, "there are more than 1000 files of policies");
}

/// No circle, and deeper than any stack: what Rego forbids is not all that recurses.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_calls_that_is_too_long_costs_its_worker() {
    let links: String = (0..20_000).map(|link| format!("f{link}(x) := f{}(x)\n", link + 1)).collect();
    let chain = format!("package hazard\n\n{links}f20000(x) := x\n\ndeny contains 1 if f0(input.version) == 1\n");
    let files = vec![fixture("good"), file("policies/chain.rego", &chain)];
    let limits = Limits { wall: Duration::from_secs(10), ..Limits::default() };
    let sandbox = match Sandbox::load_with(Path::new(ARGUS), files, limits, 1).await {
        Ok(sandbox) => sandbox,
        // Getting it ready may already be too much.
        Err(findings) => {
            assert!(findings[0].message.contains("loading it failed"), "{findings:?}");
            return;
        }
    };
    let answers = sandbox.judge(inputs([1])).await;
    let Answers::Failed(Failure::Died(how)) = &answers[0] else { panic!("{answers:?}") };
    assert!(how.contains("they recurse without end, or nest too deep"), "{how}");
}
