//! What is wrong with policies is found when they are loaded, with its place and what to do; what is right is not
//! complained about.

use argus::model::finding::Finding;
use argus::policy::rule::{Sort, Weight};
use argus::sandbox::Limits;

use super::{load, ready};

fn told(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| {
        let origin = finding.origin.as_ref().map(ToString::to_string).unwrap_or_default();
        let hint = finding.hint.as_deref().unwrap_or_default();
        format!("{origin} {} {} | {hint}", finding.code, finding.message)
    };
    findings.iter().map(line).collect()
}

async fn errors(files: &[(&str, &str)]) -> Vec<String> {
    match load(files, Limits::default()).await {
        Ok(sandbox) => panic!("it loads: {:?}", sandbox.rules()),
        Err(findings) => told(&findings),
    }
}

/// Loads each as a package of its own with these lines, and expects one error that begins like this.
async fn refused(cases: &[(&str, &str)]) {
    for (lines, expected) in cases {
        let found = errors(&[("a.rego", &format!("package a\n{lines}\n"))]).await;
        assert!(found.len() == 1 && found[0].starts_with(expected), "{lines}\n  {expected}\n  {found:#?}");
    }
}

/// Loads each as a package of its own with these lines, and expects that nothing is wrong.
async fn accepted(cases: &[&str]) {
    for lines in cases {
        let text = format!("package a\n{lines}\n");
        if let Err(findings) = load(&[("a.rego", &text)], Limits::default()).await {
            panic!("{lines}\n{:#?}", told(&findings));
        }
    }
}

/// The engine makes it undefined where nothing holds, and whatever asks for it falls silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_collected_by_a_key_is_refused() {
    let message = "ARG3110 `h` collects by a key, and is nothing at all where nothing holds | write `name := ";
    refused(&[(
        "deny if not h.x\nh[k] contains c.name if { some c in input.changes; k := c.kind }",
        &format!("a.rego:3:1 {message}{{key: values | ...}}`, which is empty then, and not undefined"),
    )])
    .await;
    accepted(&[
        "deny if not h.x\nh := {k: 1 | some c in input.changes; k := c.kind}",
        "deny if count(h.x) > 9\nh.x contains name if { some c in input.changes; name := c.name }",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_may_be_undefined_for_one_of_many_is_refused() {
    let lost = |name: &str, at: &str| {
        let message = "says here may be undefined, and its other answers would be lost | bind it to a variable";
        format!("a.rego:{at} ARG3110 what `{name}` {message}")
    };
    let cases = [
        ("deny contains sprintf(\"%s\", [c.name]) if some c in input.changes", lost("deny", "2:15")),
        ("deny contains {\"msg\": c.after.ttl} if some c in input.changes", lost("deny", "2:23")),
        ("deny contains input.changes[_].name", lost("deny", "2:15")),
        ("deny contains c.name if c := input.changes[_]", lost("deny", "2:15")),
        ("deny contains c.name if [c, _] := [input.changes[_], 1]", lost("deny", "2:15")),
        ("deny contains c.name if walk(input.changes, [_, c])", lost("deny", "2:15")),
        ("deny := c.name == \"a\" if some c in input.changes", lost("deny", "2:9")),
        ("deny if h[1]\nh[c.name] := 1 if some c in input.changes", lost("h", "3:3")),
        ("deny if h[1]\nh[1] := c.name if some c in input.changes", lost("h", "3:9")),
        ("deny if f(1)\nf(n) := c.name if { some c in input.changes; n == 1 }", lost("f", "3:9")),
        (
            "deny if f\nf := 1 if { input.version == 3 } else := c.name if { some c in input.changes }",
            lost("f", "3:42"),
        ),
    ];
    for (lines, expected) in &cases {
        refused(&[(*lines, expected.as_str())]).await;
    }
    accepted(&[
        "deny contains name if { some c in input.changes; name := sprintf(\"%s\", [c.name]) }",
        "deny contains {\"msg\": name, \"path\": \"a\"} if { some c in input.changes; name := c.name }",
        // One way alone loses nothing, and what does not look at the variables is the same in every way.
        "deny contains sprintf(\"%s\", [input.organization]) if some c in input.changes",
        "deny contains c.name if c := input.changes[0]",
        "deny contains input.changes[0].name",
        "deny contains [d.name | some d in input.changes] if some c in input.changes",
        "deny if f(input)\nf(x) := x.changes[0].name if count(x.changes) == 1",
        "deny if f(1)\nf(i) := input.changes[i].name if input.changes[i]",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_input_does_not_have_is_an_error_with_a_suggestion() {
    refused(&[
        (
            "deny contains 1 if input.rol",
            "a.rego:2:26 ARG3112 `input` has no field `rol` | there are `access`, `after`",
        ),
        (
            "deny contains 1 if input.chnages[_]",
            "a.rego:2:26 ARG3112 `input` has no field `chnages` | did you mean `changes`?",
        ),
        ("deny contains 1 if input[\"chnages\"]", "a.rego:2:27 ARG3112 `input` has no field `chnages` | did you"),
        (
            "deny contains 1 if input.changes[0].aftr",
            "a.rego:2:37 ARG3112 `input.changes[0]` has no field `aftr` | did you mean `after`?",
        ),
        (
            "deny contains 1 if input.changes.name == 1",
            "a.rego:2:34 ARG3112 `input.changes` has no field `name`: it is a list | a list is",
        ),
        (
            "deny contains 1 if input.authors[\"ada\"]",
            "a.rego:2:35 ARG3112 `input.authors` has no field `ada`: it is a list",
        ),
        (
            "deny contains 1 if input.organization.name",
            "a.rego:2:39 ARG3112 `input.organization` has no field `name`: it is a text",
        ),
        (
            "deny contains 1 if input.organization[_]",
            "a.rego:2:39 ARG3112 `input.organization` holds nothing to look at one by one: it is a text",
        ),
        (
            "deny contains 1 if input.after.members[\"ada\"].role",
            "a.rego:2:47 ARG3112 `input.after.members[\"ada\"]` has no field `role` | did you mean `roles`?",
        ),
        (
            "deny contains 1 if input.after.apikeys",
            "a.rego:2:32 ARG3112 `input.after` has no field `apikeys` | did you mean `apiKeys`?",
        ),
        (
            "deny contains 1 if input.after.organization.sso.clientID",
            "a.rego:2:49 ARG3112 `input.after.organization.sso` has no field `clientID` | did you mean `clientId`?",
        ),
        (
            "deny contains 1 if not input.plan.digset",
            "a.rego:2:35 ARG3112 `input.plan` has no field `digset` | did you mean `digest`?",
        ),
        (
            "deny contains 1 if count(input.access.gaind) > 0",
            "a.rego:2:39 ARG3112 `input.access` has no field `gaind` | did you mean `gained`?",
        ),
        (
            "deny contains input.changes[_].nam",
            "a.rego:2:32 ARG3112 `input.changes[_]` has no field `nam` | did you mean `name`?",
        ),
        (
            "deny contains 1 if input.changes[_].origin.fiel == 1",
            "a.rego:2:44 ARG3112 `input.changes[_].origin` has no field `fiel` | did you mean `file`?",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_input_is_followed_through_variables_rules_and_functions() {
    refused(&[
        ("deny contains 1 if { some c in input.changes; c.aftr }", "a.rego:2:49 ARG3112 `c` has no field `aftr`"),
        ("deny contains 1 if { c := input.changes[_]; c.aftr }", "a.rego:2:47 ARG3112 `c` has no field `aftr`"),
        ("deny contains 1 if { c = input.changes[_]; c.aftr }", "a.rego:2:46 ARG3112 `c` has no field `aftr`"),
        ("deny contains 1 if { input.changes[_] = c; c.aftr }", "a.rego:2:46 ARG3112 `c` has no field `aftr`"),
        ("deny contains 1 if { c.aftr; c := input.changes[_] }", "a.rego:2:24 ARG3112 `c` has no field `aftr`"),
        ("deny contains c.aftr if some c in input.changes", "a.rego:2:17 ARG3112 `c` has no field `aftr`"),
        ("deny contains 1 if { some name, key in input.after.apiKeys; key.ownr }", "a.rego:2:65 ARG3112 `key` has no field `ownr`"),
        ("deny contains 1 if { key := input.after.apiKeys[name]; key.owner.usr }", "a.rego:2:66 ARG3112 `key.owner` has no field `usr`"),
        ("deny contains 1 if { o := input.organization; o.name }", "a.rego:2:49 ARG3112 `o` has no field `name`: it is a text"),
        ("deny contains 1 if every c in input.changes { c.aftr }", "a.rego:2:49 ARG3112 `c` has no field `aftr`"),
        ("deny contains 1 if count([c | some c in input.changes; c.aftr]) > 1", "a.rego:2:58 ARG3112 `c` has no field `aftr`"),
        ("deny contains 1 if { l := [c | some c in input.changes]; l[_].aftr }", "a.rego:2:63 ARG3112 `l[_]` has no field `aftr`"),
        ("deny contains 1 if { l := {c | some c in input.changes}; some x in l; x.aftr }", "a.rego:2:73 ARG3112 `x` has no field `aftr`"),
        ("deny contains 1 if { l := {c.name: c | some c in input.changes}; l.ada.aftr }", "a.rego:2:72 ARG3112 `l.ada` has no field `aftr`"),
        ("deny contains 1 if { x := {\"c\": input.changes[0]}; x.c.aftr }", "a.rego:2:56 ARG3112 `x.c` has no field `aftr`"),
        ("deny contains 1 if { {\"name\": n, \"origin\": o} = input.changes[_]; o.fiel }", "a.rego:2:69 ARG3112 `o` has no field `fiel`"),
        ("deny contains 1 if { some {\"origin\": o} in input.changes; o.fiel }", "a.rego:2:61 ARG3112 `o` has no field `fiel`"),
        ("members := input.after.members\ndeny contains 1 if members.ada.role", "a.rego:3:32 ARG3112 `members.ada` has no field `role`"),
        ("gone contains c if { some c in input.changes; c.action == \"delete\" }\ndeny contains 1 if { some c in gone; c.aftr }", "a.rego:3:40 ARG3112 `c` has no field `aftr`"),
        ("change(n) := input.changes[n]\ndeny contains 1 if change(1).aftr", "a.rego:3:30 ARG3112 `change(1)` has no field `aftr`"),
        ("deny contains 1 if deep.aftr\ndeep := c if { some c in more }\nmore := input.changes", "a.rego:2:25 ARG3112 `deep` has no field `aftr`"),
        ("import input.changes\ndeny contains 1 if changes[_].aftr", "a.rego:3:31 ARG3112 `changes[_]` has no field `aftr`"),
        ("import input as doc\ndeny contains 1 if doc.chnages", "a.rego:3:24 ARG3112 `doc` has no field `chnages`"),
        ("import input.chnages\ndeny contains 1 if chnages[_]", "a.rego:2:8 ARG3112 `input.chnages` does not exist | did you mean `changes`?"),
        ("deny := x if { x := true } else := input.rol", "a.rego:2:42 ARG3112 `input` has no field `rol`"),
    ])
    .await;
    let both = [
        ("lib.rego", "package lib\nowners contains m if some m in input.after.members"),
        (
            "a.rego",
            "package a\nimport data.lib\ndeny contains 1 if lib.owners[_].role\nwarn contains 1 if data.lib.owners[_].role",
        ),
    ];
    let found = errors(&both).await;
    assert!(
        found.len() == 2 && found[0].starts_with("a.rego:3:34 ARG3112 `lib.owners[_]` has no field `role`"),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_may_be_there_is_left_in_peace() {
    accepted(&[
        "deny contains msg if { some c in input.changes; c.action == \"delete\"; msg := sprintf(\"%s\", [c.name]) }",
        "deny contains 1 if input.after.members[input.organization].roles[_] == \"owner\"",
        "deny contains 1 if input.after.members[\"ada@acme.example\"].expiresAt",
        "deny contains 1 if input.after.organization.settings.whatever.else == 1",
        "deny contains 1 if input.changes[_].fields[_].before.anything[0].more",
        "deny contains 1 if { some f in input.changes[_].fields; f.path == \"limit\"; f.after.x }",
        // A resource of any kind has the fields of all.
        "deny contains 1 if { some c in input.changes; c.before.roles; c.after.limit; c.after.owner.user }",
        "deny contains 1 if input.tiers[input.after.organization.tier].limits.members < 3",
        "deny contains 1 if { walk(input, [path, value]); value == 3; path[0] == \"x\" }",
        "deny contains 1 if { x := object.get(input, [\"after\", \"nothing\"], {}); x.foo }",
        "deny contains 1 if { some k; input[k].foo }",
        "deny contains 1 if { f(input.changes[0]) }\nf(c) if c.anything",
        "deny contains 1 if { c := {\"a\": 1}; c.b }",
        "deny contains 1 if { c := json.unmarshal(input.organization); c.b.d[_].e }",
        "deny contains 1 if { input.nothing with input as {\"nothing\": 1} }",
        "deny contains 1 if { x := helper with input.changes as []; x.foo.bar }\nhelper := input.plan",
        "deny contains 1 if { some input.organization in [\"x\"] }",
        "deny contains 1 if { some i; input.changes[i].before.roles[j] == \"owner\"; i > j }",
        "deny contains 1 if input.authors & {1} == {1}",
        "deny contains 1 if { a := {x | some x in input.authors} - {\"ada\"}; a[_] == \"b\" }",
        "deny contains 1 if { split(input.organization, \"-\", parts); parts[0] == \"x\" }",
        "default hold := false\nhold if input.version > 1",
        "p[x] := y if { some x, y in input.after.members }\ndeny contains 1 if p.ada.anything",
        "a.b.c := 1\na.b.d := a.b.c\ndeny contains 1 if a.b.d == 1",
        "deny contains 1 if { print(\"x\", input.organization, 3); true }",
        "import rego.v1\ndeny contains 1 if 1 in [1]",
        "import data.a.helper as h\nhelper := 1\ndeny contains 1 if h == 1",
        "# A comment\r\ndeny contains 1 if {\r\n  input.version == 1\r\n}\r\n",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_outside_cannot_be_called_by_any_name() {
    let cases = [
        "deny contains 1 if http.send({\"url\": \"https://acme.example\"}).status_code == 200",
        "deny contains 1 if time.now_ns() > 1",
        "deny contains 1 if { x := time.now_ns(); x > 1 }",
        "deny contains 1 if rand.intn(\"x\", 3) == 1",
        "deny contains 1 if uuid.rfc4122(\"x\") == \"\"",
        "deny contains 1 if opa.runtime().env.PATH",
        "deny contains 1 if net.lookup_ip_addr(\"acme.example\")[_]",
        "deny contains 1 if count([]) == 1 with count as time.now_ns",
        "deny contains 1 if count([y | some x in [1]; y := time.now_ns()]) == x",
    ];
    for case in cases {
        let found = errors(&[("a.rego", &format!("package a\n{case}"))]).await;
        assert!(found[0].contains("ARG3111") && found[0].contains("which no policy may do"), "{case}: {found:?}");
    }
    let sandbox = ready("package a\ndeny contains 1 if false").await;
    for query in ["time.now_ns()", "x := time.now_ns()", "http.send({})", "rand.intn(\"x\", 1)"] {
        let error = sandbox.query(Vec::new(), query.into()).await.expect_err("it may not be called");
        assert!(error.to_string().contains("which no policy may do"), "{query}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_and_rules_that_are_not_there_are_errors() {
    refused(&[
        (
            "deny contains 1 if strings.revrse(\"a\") == \"b\"",
            "a.rego:2:20 ARG3110 there is no function `strings.revrse` | did you mean `strings.reverse`?",
        ),
        (
            "deny contains 1 if crypto.md5(\"a\") == \"b\"",
            "a.rego:2:20 ARG3110 there is no function `crypto.md5` | not all that OPA has",
        ),
        (
            "deny contains 1 if is_ownr(1)\nis_owner(x) if x == 1",
            "a.rego:2:20 ARG3110 there is no function `is_ownr` | did you mean `is_owner`?",
        ),
        ("deny contains 1 if count(1, 2, 3) == 1", "a.rego:2:20 ARG3110 `count` takes 1 argument, and here are 3"),
        ("deny contains 1 if f(1, 2, 3)\nf(x) if x == 1", "a.rego:2:20 ARG3110 `f` takes 1 argument, and here are 3"),
        (
            "deny contains 1 if data.lib.owners[_]",
            "a.rego:2:25 ARG3110 `data.lib` does not exist | below `data` there are",
        ),
        (
            "deny contains 1 if data.a.ownrs[_]\nowners contains 1",
            "a.rego:2:27 ARG3110 `data.a.ownrs` does not exist | did you mean `owners`?",
        ),
        ("import data.lib\ndeny contains 1 if lib.x", "a.rego:2:8 ARG3110 `data.lib` does not exist"),
        ("deny contains 1 if data.a.f(1)", "a.rego:2:20 ARG3110 there is no function `data.a.f`"),
        (
            "deny contains 1 if ownrs[_] == 1\nowners contains 1",
            "a.rego:2:20 ARG3110 use of undefined variable `ownrs` is unsafe",
        ),
        ("deny contains 1 if x > 1", "a.rego:2:20 ARG3110 use of undefined variable `x` is unsafe"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_judges_cannot_lean_on_tests() {
    let files = [
        ("a.rego", "package a\ndeny contains 1 if data.a_test.helper"),
        ("a_test.rego", "package a_test\nhelper := true\ntest_it if data.a.deny with data.a_test.helper as true"),
    ];
    assert!(errors(&files).await[0].starts_with("a.rego:2:25 ARG3110 `data.a_test` does not exist"));
    let files = [("a.rego", "package a\ndeny contains 1 if false"), ("a_test.rego", "package a\ndeny contains 2")];
    assert!(errors(&files).await[0].starts_with("a_test.rego:2:1 ARG3110 a test adds to `deny`, which judges"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rego_of_another_version_is_refused_with_the_way_to_write_it() {
    refused(&[
        (
            "deny[msg] {\n  msg := \"no\"\n}",
            "a.rego:2:11 ARG3110 `if` keyword is required before rule body | this is Rego v0;",
        ),
        ("allow { input.version }", "a.rego:2:7 ARG3110 `if` keyword is required before rule body | this is Rego v0;"),
        (
            "deny[msg] if {\n  msg := \"no\"\n}",
            "a.rego:2:1 ARG3110 `deny` is no set of messages | write `deny contains msg if",
        ),
        ("deny[\"x\"]", "a.rego:2:1 ARG3110 `deny` is no set of messages | write `deny contains msg if"),
        ("deny contains 1 if {\n  msg := \n}", "a.rego:3:7 ARG3110 "),
    ])
    .await;
    assert!(errors(&[("a.rego", "deny contains 1")]).await[0].starts_with("a.rego:1:1 ARG3110 expecting `package`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_could_not_judge_are_refused() {
    refused(&[
        ("deny(x) := x", "a.rego:2:1 ARG3110 `deny` is a function, and nobody calls it to judge"),
        ("deny_admins(x) if x == 1", "a.rego:2:1 ARG3110 `deny_admins` is a function"),
        (
            "violation contains \"x\" if input.version == 1",
            "a.rego:2:1 ARG3110 nobody asks for `violation` | call it `deny`",
        ),
        (
            "deny contains 1\ndeny := true",
            "a.rego:3:1 ARG3110 `deny` is a single value here, and a set (`contains`) elsewhere",
        ),
        ("deny.all contains 1", "a.rego:2:1 ARG3110 `deny` is no set of messages"),
        (
            "exception := true if input.version == 1",
            "a.rego:2:1 ARG3110 `exception` names no rules | write `exception contains \"name\"",
        ),
    ])
    .await;
    let files = [("a.rego", "package a\nwarn contains 1"), ("b.rego", "package a\nwarn if true")];
    assert!(errors(&files).await[0].starts_with("b.rego:2:1 ARG3110 `warn` is a single value here"));
}

#[tokio::test(flavor = "multi_thread")]
async fn circles_are_refused_however_they_are_closed() {
    refused(&[
        (
            "f(x) := f(x)\ndeny contains 1 if f(1)",
            "a.rego:2:1 ARG3110 rules refer to each other in a circle: f -> f | Rego has no recursion",
        ),
        (
            "f(x) := g(x)\ng(x) := f(x)\ndeny contains 1 if f(1)",
            "a.rego:2:1 ARG3110 rules refer to each other in a circle: f -> g -> f",
        ),
        (
            "p if q\nq if p\ndeny contains 1 if p",
            "a.rego:2:1 ARG3110 rules refer to each other in a circle: p -> q -> p",
        ),
        ("deny contains 1 if data.a.deny[2]", "a.rego:2:1 ARG3110 rules refer to each other in a circle: deny -> deny"),
        (
            "deny contains 1 if count(data.a) > 0",
            "a.rego:2:1 ARG3110 rules refer to each other in a circle: deny -> deny",
        ),
        (
            "deny contains 1 if { some k; data[k].deny }",
            "a.rego:2:1 ARG3110 rules refer to each other in a circle: deny -> deny",
        ),
        (
            "f(x) := y if { y := count(x) with count as f }\ndeny contains 1 if f([])",
            "a.rego:2:1 ARG3110 rules refer to each other in a circle: f -> f",
        ),
        (
            "f(x) := y if { y := [f(z) | some z in x] }\ndeny contains 1 if f([])",
            "a.rego:2:1 ARG3110 rules refer to each other",
        ),
        (
            "default f(_) := 1\nf(x) := f(x - 1) if x > 0\ndeny contains 1 if f(3)",
            "a.rego:2:1 ARG3110 rules refer to each other",
        ),
    ])
    .await;
    let files = [
        ("a.rego", "package a\nimport data.b\ndeny contains 1 if b.p"),
        ("b.rego", "package b\np if data.c.q"),
        ("c.rego", "package c\nq if count(data.a.deny) == 0"),
    ];
    let found = errors(&files).await;
    assert!(
        found[0].starts_with(
            "a.rego:3:1 ARG3110 rules refer to each other in a circle: deny -> data.b.p -> data.c.q -> deny"
        ),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_mistakes_are_told_at_once() {
    let files = [
        (
            "a.rego",
            "package a\ndeny contains 1 if input.rol\nwarn contains 1 if foo(1)\nhold contains 1 if time.now_ns() == 1",
        ),
        ("b.rego", "package b\ndeny contains 1 if input.chnages[_].x"),
    ];
    let found = errors(&files).await;
    let places: Vec<&str> = found.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(places, ["a.rego:2:26", "a.rego:3:20", "a.rego:4:20", "b.rego:2:26"]);
    let files = [("a.rego", "package a\ndeny {"), ("b.rego", "package b\nwarn["), ("c.rego", "package c\n")];
    assert_eq!(errors(&files).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_carry_what_metadata_says() {
    let text = "\
# METADATA
# title: The package
package argus.keys

# METADATA
# title: Keys expire
# custom:
#   id: keys-expire
#   severity: high
#   remediation: Set expiresAt.
deny_forever contains msg if {
    some key in input.after.apiKeys
    msg := key.name
}

deny_forever contains \"again\" if input.version == 3

default hold_wide := false

# METADATA
# title: Wide
# scope: document
# custom: {approvals: {quorum: 2, groups: [security]}}
hold_wide if input.version == 2
";
    let sandbox = load(&[("policies/keys.rego", text)], Limits::default()).await.expect("it loads");
    let [deny, hold] = sandbox.rules() else { panic!("{:?}", sandbox.rules()) };
    assert_eq!((deny.label(), deny.sort, deny.partial), ("keys-expire".into(), Sort::Deny, true));
    assert_eq!((deny.suffix(), &*deny.file, deny.line), ("forever", "policies/keys.rego", 11));
    assert_eq!(deny.metadata.severity, Some(Weight::High));
    assert_eq!(deny.metadata.remediation.as_deref(), Some("Set expiresAt."));
    assert_eq!((hold.label(), hold.sort, hold.partial), ("argus.keys.hold_wide".into(), Sort::Hold, false));
    assert_eq!(hold.metadata.approvals.as_ref().map(|need| need.quorum), Some(2));
    refused(&[
        ("# METADATA\n# custom:\n#   severity: urgent\ndeny contains 1", "a.rego:2:1 ARG3110 `urgent` is no severity"),
        ("# METADATA\n# title: [\ndeny contains 1", "a.rego:3:1 ARG3110 this METADATA cannot be read"),
        ("deny contains 1\n# METADATA\n# title: x\n", "a.rego:4:1 ARG3110 this METADATA is about nothing"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_metadata_asks_for_is_never_ignored() {
    let small = "# METADATA\n# title: small\n";
    let big = "# METADATA\n# custom: {approvals: {quorum: 3, groups: [board]}}\n";
    let clauses =
        format!("{small}hold_x contains \"a\" if input.version == 1\n{big}hold_x contains \"b\" if input.version == 2");
    let both = format!("{small}# scope: document\n\n{big}hold_x contains \"a\" if input.version == 1");
    let apart = format!("{small}hold_x contains \"a\" if input.version == 1");
    refused(&[
        (&clauses, "a.rego:6:1 ARG3110 `hold_x` has METADATA already, and this would be ignored | a rule has one"),
        (&both, "a.rego:7:1 ARG3110 `hold_x` has METADATA already"),
        (&format!("{big}deny contains 1"), "a.rego:3:1 ARG3110 nobody is asked for the `approvals` of `deny`"),
        (&format!("{big}helper := 1\ndeny contains 1 if helper == 2"), "a.rego:3:1 ARG3110 nobody is asked for"),
    ])
    .await;
    let package = errors(&[("a.rego", &format!("{big}package a\ndeny contains 1\n"))]).await;
    assert!(
        package[0].starts_with("a.rego:2:1 ARG3110 nobody is asked for the `approvals` of a package"),
        "{package:?}"
    );
    let elsewhere = format!("package a\n{big}hold_x contains \"b\" if input.version == 2\n");
    let files = errors(&[("a.rego", &format!("package a\n{apart}\n")), ("b.rego", &elsewhere)]).await;
    assert!(files[0].starts_with("b.rego:3:1 ARG3110 `hold_x` has METADATA already"), "{files:?}");
    // The same said twice is said once.
    accepted(&[&format!("{big}hold_x contains 1 if input.version == 1\n{big}hold_x contains 2 if input.version == 2")])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flaws_do_not_keep_policies_from_judging() {
    let flaws = async |text: &str| told(ready(&format!("package a\n{text}")).await.flaws());
    let none: [String; 0] = [];
    assert_eq!(flaws("deny contains 1 if helper\nhelper if input.version == 1").await, none);
    let found = flaws("deny contains 1 if input.version == 1\ndenny_all contains 2 if other\nother := true").await;
    assert!(found[0].contains(":3:1 ARG3113 nobody uses `denny_all` | ") && found[0].ends_with("did you mean `deny`?"));
    assert!(found[1].contains(":4:1 ARG3113 nobody uses `other`"), "{found:?}");
    let found = flaws("deny if input.version == 1").await;
    assert!(found[0].contains("ARG3113 `deny` is undefined where its body does not hold"), "{found:?}");
    let found = flaws("# METADATA\n# severity: high\ndeny contains 1").await;
    assert!(found[0].contains(":2:1 ARG3113 METADATA knows no `severity` | write it below `custom`"), "{found:?}");
    let doubled = "# METADATA\n# custom: {id: x}\ndeny contains 1\n# METADATA\n# custom: {id: x}\nwarn contains 1";
    assert!(flaws(doubled).await[0].contains("another rule has the id `x` as well"));
    let files = [
        ("a.rego", "package a\ndeny contains 1\nhelper := true"),
        ("a_test.rego", "package a_test\ntest_it if data.a.helper"),
    ];
    let sandbox = load(&files, Limits::default()).await.expect("it loads");
    assert!(told(sandbox.flaws())[0].contains("only tests use `helper`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_parts_of_the_input_are_asked_for_that_rules_look_at() {
    let parts = async |text: &str| {
        let parts = ready(&format!("package a\n{text}")).await.parts();
        [parts.desired, parts.live, parts.after, parts.access]
    };
    assert_eq!(parts("deny contains 1 if input.version == 1").await, [false; 4]);
    assert_eq!(parts("deny contains 1 if input.after.members.x").await, [false, false, true, false]);
    assert_eq!(parts("deny contains 1 if count(h) == 1\nh := input.live").await, [false, true, false, false]);
    assert_eq!(parts("import input.access\ndeny contains 1 if access.gained[_]").await, [false, false, false, true]);
    assert_eq!(parts("deny contains 1 if input[\"desired\"].teams.x").await, [true, false, false, false]);
    assert_eq!(parts("deny contains 1 if { some k; input[k] == 1 }").await, [true; 4]);
    assert_eq!(parts("deny contains 1 if { x := input; x.version == 1 }").await, [true; 4]);
    assert_eq!(parts("deny contains 1 if f(input)\nf(x) if x.version == 1").await, [true; 4]);
    let files = [
        ("a.rego", "package a\ndeny contains 1 if input.version == 1"),
        ("a_test.rego", "package a_test\ntest_it if count(data.a.deny) == 0 with input as input.after"),
    ];
    let sandbox = load(&files, Limits::default()).await.expect("it loads");
    assert!(!sandbox.parts().after, "tests bring their own input");
}
