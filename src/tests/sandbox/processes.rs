//! Workers as processes: what they may use, what they see, and that none is left behind.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use argus::policy::judgement::{Answers, Failure};
use argus::sandbox::{Limits, Sandbox};
use serde_json::json;

use super::{ARGUS, children, file, given, inputs, kib_of, load, status_of};

const POLICY: &str = "package a\ndeny contains \"two\" if input.version == 2\n";

/// It takes as long as it may, if the version is 1.
const SLOW: &str = r#"package a
r := numbers.range(1, 3000)
deny contains "never" if {
    input.version == 1
    count([1 | some a in r; some b in r; some c in r; a + b + c == 0]) == 1
}
"#;

async fn sandbox(policy: &str, limits: Limits, workers: usize) -> Sandbox {
    let files = vec![file("policies/a.rego", policy)];
    Sandbox::load_with(Path::new(ARGUS), files, limits, workers).await.expect("it loads")
}

/// The test with this name, alone in a process of its own: other tests have workers too.
fn alone(test: &str) -> Command {
    let mut alone = Command::new(std::env::current_exe().expect("this test"));
    let name = format!("sandbox::processes::{test}");
    alone.args(["--exact", &name, "--ignored", "--nocapture"]).env("RUST_BACKTRACE", "0");
    alone
}

fn passes(test: &str) {
    let output = alone(test).env("ARGUS_CANARY", "canary").output().expect("the test runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_worker_sees_nothing_and_may_do_nothing() {
    passes("alone_a_worker_is_looked_at");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test above runs it in a process of its own"]
async fn alone_a_worker_is_looked_at() {
    assert!(std::env::var_os("ARGUS_CANARY").is_some(), "there is something to be seen");
    let open = std::env::current_exe().expect("this test");
    let _held = std::fs::File::open(&open).expect("a file that is open");
    let sandbox = sandbox(POLICY, Limits { memory_mib: 300, ..Limits::default() }, 1).await;
    let [worker] = children("self")[..] else { panic!("{:?}", children("self")) };
    let of = |name: &str| std::fs::read_to_string(format!("/proc/{worker}/{name}")).expect("a worker");
    let names: Vec<String> = of("environ").split_terminator('\0').map(str::to_owned).collect();
    assert!(names.iter().all(|name| name.starts_with("MIMALLOC_")), "{names:?}");
    assert_eq!(std::fs::read_link(format!("/proc/{worker}/cwd")).expect("a folder"), Path::new("/"));
    for entry in std::fs::read_dir(format!("/proc/{worker}/fd")).expect("files") {
        let path = entry.expect("a file").path();
        let leads = std::fs::read_link(&path).expect("a file").to_string_lossy().into_owned();
        // What whoever started this test gives to everybody is not of ours to take away.
        let ours =
            leads.starts_with("socket:") || leads.starts_with("anon_inode:") || *leads == *open.to_string_lossy();
        assert!(!ours, "{leads}");
    }
    let limits = of("limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).expect("a limit");
        let mut words = line[name.len()..].split_whitespace().map(|word| word.parse::<u64>().ok());
        (words.next().flatten(), words.next().flatten())
    };
    let both = |most: u64| (Some(most), Some(most));
    assert_eq!(limit("Max data size"), both((300 + 64) << 20));
    assert_eq!(limit("Max address space"), both((300 + 64 + 256) << 20));
    assert_eq!(limit("Max open files"), both(3));
    for none in ["Max core file size", "Max file size", "Max processes", "Max locked memory"] {
        assert_eq!(limit(none), both(0), "{none}");
    }
    assert!(limit("Max cpu time").0.is_some_and(|seconds| seconds <= 12));
    drop(sandbox.judge(inputs([1])).await);
}

#[test]
fn nothing_starts_that_is_not_needed_and_nothing_stays() {
    passes("alone_workers_come_and_go");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test above runs it in a process of its own"]
async fn alone_workers_come_and_go() {
    let none = Sandbox::load_with(Path::new(ARGUS), Vec::new(), Limits::default(), 2).await.expect("no policies");
    assert_eq!(none.judge(inputs([1, 2])).await, [Answers::Given(vec![]), Answers::Given(vec![])]);
    assert_eq!(children("self").len(), 0, "for no policies there is no worker");

    let sandbox = sandbox(SLOW, Limits { wall: Duration::from_millis(300), ..Limits::default() }, 2).await;
    let first = children("self");
    assert_eq!(first.len(), 1, "loading takes one worker");
    assert!(sandbox.judge(Vec::new()).await.is_empty());
    assert_eq!(given(&sandbox.judge(inputs([2])).await[0]), [json!({ "value": [] })]);
    assert_eq!(children("self"), first, "and the same one judges, again and again");

    drop(sandbox.judge(inputs([1, 1, 1, 1, 2])).await);
    assert_eq!(children("self").len(), 2, "work for two is done by two, and they stay for the next");

    for worker in children("self") {
        let killed = Command::new("kill").args(["-KILL", &worker.to_string()]).status().expect("kill runs");
        assert!(killed.success());
        let threads = || std::fs::read_dir(format!("/proc/{worker}/task")).map_or(0, Iterator::count);
        while status_of(worker) != Some('Z') || threads() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let answers = sandbox.judge(inputs([2, 2])).await;
    assert!(answers.iter().all(|answers| given(answers) == [json!({ "value": [] })]), "the dead are replaced");

    // Whoever does not want to wait any longer leaves no worker at work.
    let waited = tokio::time::timeout(Duration::from_millis(50), sandbox.judge(inputs([1]))).await;
    assert!(waited.is_err());
    drop(sandbox);
    let until = Instant::now() + Duration::from_secs(10);
    while !children("self").is_empty() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(children("self").len(), 0);
}

/// `kill -9` gives nobody a chance to clean up: the workers must notice by themselves, at work or not.
#[test]
fn no_worker_outlives_whoever_started_it() {
    let mut parent = alone("alone_a_parent_waits_to_be_killed").stdout(Stdio::piped()).spawn().expect("the test runs");
    let mut lines = BufReader::new(parent.stdout.take().expect("a pipe")).lines().map(|line| line.expect("a line"));
    let workers = lines.find_map(|line| line.strip_prefix("workers ").map(str::to_owned)).expect("workers");
    let workers: Vec<u32> = workers.split(' ').map(|worker| worker.parse().expect("an id")).collect();
    assert_eq!(workers.len(), 2, "one is at work and one is not");
    parent.kill().expect("it is killed");
    parent.wait().expect("it ends");
    let until = Instant::now() + Duration::from_secs(10);
    // Orphans that have ended wait for nobody of ours: whoever adopts them reaps them.
    let lives = |worker: &u32| status_of(*worker).is_some_and(|state| state != 'Z' && state != 'X');
    while workers.iter().any(lives) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(workers.iter().filter(|worker| lives(worker)).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test above runs it in a process of its own, and kills it"]
async fn alone_a_parent_waits_to_be_killed() {
    let limits = Limits { wall: Duration::from_secs(60), cpu_seconds: 60, ..Limits::default() };
    let (busy, idle) = (sandbox(SLOW, limits, 1).await, sandbox(POLICY, limits, 1).await);
    let judging = tokio::spawn(async move { busy.judge(inputs([1])).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let workers: Vec<String> = children("self").iter().map(u32::to_string).collect();
    println!("\nworkers {}", workers.join(" "));
    drop(judging.await);
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_is_limited_apart_from_time() {
    let limits = Limits { cpu_seconds: 1, wall: Duration::from_secs(30), ..Limits::default() };
    let sandbox = sandbox(SLOW, limits, 1).await;
    // The limit counts for each input, and not for the worker's life.
    let answers = sandbox.judge(inputs([2, 1, 2, 1])).await;
    let cpu = Answers::Failed(Failure::Cpu(Duration::from_secs(1)));
    let good = Answers::Given(vec![serde_json::from_value(json!({ "value": [] })).expect("an answer")]);
    assert_eq!(answers, [good.clone(), cpu.clone(), good, cpu]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_worker_can_do_at_all_is_given_up_after_a_while() {
    let always = SLOW.replace("input.version == 1", "input.version > 0");
    let sandbox = sandbox(&always, Limits { wall: Duration::from_millis(20), ..Limits::default() }, 2).await;
    let answers = sandbox.judge(inputs(std::iter::repeat_n(1, 2_000))).await;
    let given_up = answers.iter().filter(|answers| matches!(answers, Answers::Failed(Failure::GivenUp(_)))).count();
    let late = answers.iter().filter(|answers| matches!(answers, Answers::Failed(Failure::Wall(_)))).count();
    assert!(given_up > 1_800 && late >= 32 && given_up + late == 2_000, "{given_up} given up, {late} late");
    // Asked again, it is tried again, if only a little; and one answer makes good for all that failed.
    let again = sandbox.judge(inputs(std::iter::repeat_n(1, 100))).await;
    let late = again.iter().filter(|answers| matches!(answers, Answers::Failed(Failure::Wall(_)))).count();
    assert!((1..32).contains(&late), "{late} late");
    assert_eq!(given(&sandbox.judge(inputs([0])).await[0]), [json!({ "value": [] })]);
    let third = sandbox.judge(inputs(std::iter::repeat_n(1, 100))).await;
    assert!(third.iter().filter(|answers| matches!(answers, Answers::Failed(Failure::Wall(_)))).count() >= 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_of_any_size_are_told_apart() {
    let sandbox = sandbox(POLICY, Limits::default(), 2).await;
    let large = |version: u32, bytes: usize| {
        json!({ "version": version, "organization": "x".repeat(bytes) }).to_string().into_bytes()
    };
    let answers = sandbox.judge(vec![large(2, 10), large(2, 8 << 20), large(1, 300_000), large(2, 65_536)]).await;
    let said: Vec<_> = answers.iter().map(|answers| given(answers)[0]["value"] == json!(["two"])).collect();
    assert_eq!(said, [true, true, false, true]);
    let answers =
        sandbox.judge(vec![large(2, 65 << 20), large(2, 10), b"{".to_vec(), b"\xff".to_vec(), Vec::new()]).await;
    assert!(matches!(answers[0], Answers::Failed(Failure::TooLarge(bytes)) if bytes > 65 << 20));
    assert_eq!(given(&answers[1]), [json!({ "value": ["two"] })]);
    for answers in &answers[2..] {
        assert!(matches!(answers, Answers::Failed(Failure::Garbled(why)) if why.contains("no JSON")), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_may_ask_at_once() {
    let sandbox = std::sync::Arc::new(sandbox(POLICY, Limits::default(), 2).await);
    let asked = (0..8_u32).map(|number| {
        let sandbox = sandbox.clone();
        tokio::spawn(async move { sandbox.judge(inputs((0..200).map(|input| (input + number) % 4))).await })
    });
    for (number, answers) in (0..).zip(asked.collect::<Vec<_>>()) {
        let answers = answers.await.expect("answers");
        for (input, answers) in (0..200_u32).zip(&answers) {
            let said = if (input + number) % 4 == 2 { json!(["two"]) } else { json!([]) };
            assert_eq!(given(answers), [json!({ "value": said })]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_worker_is_told() {
    for program in ["/bin/true", "/bin/cat", "/nothing/here"] {
        let files = vec![file("policies/a.rego", POLICY)];
        let loaded = Sandbox::load_with(Path::new(program), files, Limits::default(), 1).await;
        assert_eq!(loaded.expect_err("it is no worker").len(), 1, "{program}");
    }
    for limits in [
        Limits { memory_mib: 1, ..Limits::default() },
        Limits { cpu_seconds: 0, ..Limits::default() },
        Limits { wall: Duration::ZERO, ..Limits::default() },
    ] {
        let findings = load(&[("a.rego", POLICY)], limits).await.expect_err("no such limits");
        assert_eq!(findings[0].code, argus::model::code::Code::BadSettings);
    }
}

#[test]
fn limits_are_written_in_units() {
    let limits: Limits = serde_json::from_value(json!({ "memoryMib": 256, "wallMilliseconds": 1500 })).expect("limits");
    assert_eq!(limits, Limits { memory_mib: 256, wall: Duration::from_millis(1500), ..Limits::default() });
    assert!(serde_json::from_value::<Limits>(json!({ "wall": 3 })).is_err());
    assert!(kib_of("self", "VmRSS") > 0);
}
