//! `test_*` rules: what passes, what fails, and what is known of each.

use std::time::Duration;

use argus::policy::PolicyFile;
use argus::sandbox::{Limits, Outcome, Sandbox, TestResult};

use super::{file, load};

const POLICY: &str = r#"package argus.size

deny contains msg if {
    some change in input.changes
    change.name == "large"
    msg := "too large"
}

warn contains "odd" if input.organization == "odd"

default hold := false
hold if input.version == 2

deny_unasked contains "never" if input.version == 3
"#;

const TESTS: &str = r#"package argus.size_test

import data.argus.size

large := {"changes": [{"name": "large"}], "organization": "acme"}

test_large_is_denied if "too large" in size.deny with input as large

test_small_passes if {
    count(size.deny) == 0 with input as {"changes": []}
    size.hold with input as {"version": 2}
}

test_fails if {
    print("large is", large.organization)
    count(size.deny) == 1 with input as large
    count(size.deny) == 2 with input as large
    true
}

test_false := false

test_says_something := "yes"

test_breaks if to_number("x") == size.hold

todo_test_odd if size.warn

helper if true
"#;

async fn run(tests: &str, filter: Option<&str>) -> (Sandbox, Vec<TestResult>) {
    let files = [("policies/size.rego", POLICY), ("policies/size_test.rego", tests)];
    let sandbox = load(&files, Limits::default()).await.expect("it loads");
    let results = sandbox.test(filter.map(str::to_owned)).await;
    (sandbox, results)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_true_passes() {
    let (_, results) = run(TESTS, None).await;
    let outcomes: Vec<_> = results.iter().map(|test| (test.name.as_str(), test.line, &test.outcome)).collect();
    let broken = "could not parse string as number (policies/size_test.rego:25:27)";
    let expected = [
        ("test_large_is_denied", 7, Outcome::Passed),
        ("test_small_passes", 9, Outcome::Passed),
        ("test_fails", 14, Outcome::Failed),
        ("test_false", 21, Outcome::Failed),
        ("test_says_something", 23, Outcome::Failed),
        ("test_breaks", 25, Outcome::Errored(broken.into())),
        ("todo_test_odd", 27, Outcome::Skipped),
    ];
    assert_eq!(outcomes, expected.each_ref().map(|(name, line, outcome)| (*name, *line, outcome)));
    assert!(results.iter().all(|test| test.package == "argus.size_test" && &*test.file == "policies/size_test.rego"));
    let failed = &results[2];
    assert_eq!(
        (failed.prints.as_slice(), failed.stopped_at),
        (&["policies/size_test.rego:15: large is acme".into()][..], Some(17))
    );
    assert!(failed.duration > Duration::ZERO && results[6].duration == Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_picks_by_package_and_name() {
    let names = |results: Vec<TestResult>| results.into_iter().map(|test| test.name).collect::<Vec<_>>();
    assert_eq!(names(run(TESTS, Some("size_test.test_sm")).await.1), ["test_small_passes"]);
    assert_eq!(names(run(TESTS, Some("false")).await.1), ["test_false"]);
    assert!(run(TESTS, Some("nothing")).await.1.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_known_which_rules_a_test_made_speak() {
    let (sandbox, results) = run(TESTS, None).await;
    let names = |rules: &[usize]| rules.iter().map(|rule| sandbox.rules()[*rule].name.as_str()).collect::<Vec<_>>();
    let of = |name: &str| {
        let test = results.iter().find(|test| test.name == name).expect("a test");
        (names(&test.spoke), names(&test.silent))
    };
    assert_eq!(of("test_large_is_denied"), (vec!["deny"], vec![]));
    assert_eq!(of("test_small_passes"), (vec!["hold"], vec!["deny"]));
    assert_eq!(of("test_false"), (vec![], vec![]));
    let one_line = "package argus.size_test\ntest_it if count(data.argus.size.warn) == 0 with input as {\"organization\": \"acme\"}";
    let (sandbox, results) = run(one_line, None).await;
    assert_eq!((results[0].spoke.len(), &*sandbox.rules()[results[0].silent[0]].name), (0, "warn"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_never_ends_fails_alone() {
    let tests = r#"package t
r := numbers.range(1, 3000)
test_first if true
test_endless if count([1 | some a in r; some b in r; some c in r; a + b + c == 0]) == 0
test_huge if count(numbers.range(1, 1000000000000)) > 1
test_last if true
"#;
    let files = vec![file("a.rego", "package a\ndeny contains 1 if false"), file("a_test.rego", tests)];
    let limits = Limits { wall: Duration::from_millis(500), ..Limits::default() };
    let sandbox = Sandbox::load_with(std::path::Path::new(super::ARGUS), files, limits, 1).await.expect("it loads");
    let outcomes: Vec<Outcome> = sandbox.test(None).await.into_iter().map(|test| test.outcome).collect();
    let [Outcome::Passed, Outcome::Errored(endless), Outcome::Errored(huge), Outcome::Passed] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    assert!(endless.contains("took longer than 500 ms"), "{endless}");
    assert!(huge.contains("more than 512 MiB of memory"), "{huge}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_do_not_change_what_judges() {
    let with = |tests: &str| {
        let files =
            vec![file("a.rego", "package a\ndeny contains 1 if helper\nhelper if false"), file("a_test.rego", tests)];
        async move { Sandbox::load_with(std::path::Path::new(super::ARGUS), files, Limits::default(), 1).await }
    };
    let sandbox = with("package a\nhelper if true\ntest_it if count(deny) == 1").await.expect("it loads");
    let answers = sandbox.judge(vec![b"{}".to_vec()]).await;
    assert_eq!(super::given(&answers[0]), [serde_json::json!({ "value": [] })]);
    assert_eq!(sandbox.test(None).await[0].outcome, Outcome::Passed, "the test itself sees what it adds");
    assert_eq!(super::given(&sandbox.judge(vec![b"{}".to_vec()]).await[0]), [serde_json::json!({ "value": [] })]);
}

#[test]
fn a_file_of_tests_is_known_by_its_name() {
    let is_test = |path: &str| PolicyFile { path: path.into(), text: String::new() }.is_test();
    assert!(
        is_test("policies/a_test.rego") && !is_test("policies/test_a.rego") && !is_test("policies/a_test.rego.bak")
    );
}
