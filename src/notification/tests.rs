//! The rules of organizations on events, and the limits of what messages may be.

use chrono::DateTime;
use serde_json::{Value as Json, json};

use super::channel::Message;
use super::text::CUT;
use super::*;

fn event(of: &str, content: &Json) -> Event {
    Event {
        installation: "6f6e".into(),
        organization: "acme".into(),
        shard: 0,
        position: 7,
        id: "1-2-3".into(),
        of: of.into(),
        subject: "Team/core".into(),
        at: DateTime::from_timestamp(1_700_000_000, 0).expect("a moment"),
        trace: None,
        content: content.to_string(),
    }
}

fn rule() -> Rule {
    Rule {
        organization: "acme".into(),
        name: "all".into(),
        channel: "ops".into(),
        events: vec!["*".into()],
        conditions: Some(Vec::new()),
        template: None,
        priority: Priority::High,
        cooldown: None,
    }
}

fn condition(field: &str, operator: &str, value: &str) -> Condition {
    Condition { field: field.into(), operator: Some(operator.into()), value: value.into() }
}

/// Whether a rule with these conditions tells of an event.
fn tells(of: &str, content: &Json, patterns: &[&str], conditions: Vec<Condition>) -> bool {
    let events = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    let rule = Rule { events, conditions: Some(conditions), ..rule() };
    !told(&[event(of, content)], &[rule]).is_empty()
}

#[test]
fn a_rule_means_the_types_that_its_patterns_name_in_its_own_organization() {
    let means = |patterns: &[&str]| tells("drift.detected", &json!({}), patterns, Vec::new());
    assert!(means(&["*"]) && means(&["drift.*"]) && means(&["key.rotated", "drift.detected"]));
    assert!(!means(&["budget.*"]) && !means(&["drift.resolved"]) && !means(&[]));
    let others = Rule { organization: "globex".into(), ..rule() };
    assert_eq!(told(&[event("drift.detected", &json!({}))], &[others]), []);
    let nobodys = Event { organization: String::new(), ..event("run.failed", &json!({})) };
    assert_eq!(told(&[nobodys], &[Rule { organization: String::new(), ..rule() }]), [], "a run is of no organization");
}

#[test]
fn all_conditions_count_and_numbers_are_compared_as_numbers() {
    let content = json!({
        "percent": 9, "limit": 10.5, "text": "10", "empty": null, "flag": true, "tags": ["a", "b"], "deep": {"er": "x y"},
        "why": [{"code": "ARG1"}, {"code": "ARG2"}],
    });
    let meets = |field: &str, operator: &str, value: &str| {
        tells("drift.detected", &content, &["*"], vec![condition(field, operator, value)])
    };
    for (field, operator, value) in [
        ("percent", "equals", "9"),
        ("percent", "equals", "9.0"),
        ("percent", "atLeast", "9"),
        ("percent", "atMost", "10"),
        ("limit", "atLeast", "9"),
        ("text", "atLeast", "9"),
        ("flag", "equals", "true"),
        ("tags", "equals", "b"),
        ("tags", "contains", "a"),
        ("deep.er", "contains", " y"),
        ("why.code", "equals", "ARG2"),
        ("why.0.code", "equals", "ARG1"),
        ("text", "notEquals", "10.0"),
        ("nothing", "notEquals", "x"),
        ("type", "equals", "drift.detected"),
        ("subject", "contains", "core"),
        ("severity", "equals", "warning"),
        ("priority", "equals", "high"),
        ("organization", "equals", "acme"),
        ("time", "equals", "2023-11-14T22:13:20Z"),
        ("id", "equals", "1-2-3"),
    ] {
        assert!(meets(field, operator, value), "{field} {operator} {value}");
    }
    for (field, operator, value) in [
        // As text 9 would be more than 10.
        ("percent", "atLeast", "10"),
        ("percent", "equals", "90"),
        ("percent", "atLeast", "nan"),
        ("deep.er", "atMost", "9"),
        ("nothing", "equals", ""),
        ("empty", "equals", "null"),
        ("tags", "notEquals", "a"),
        ("why.2.code", "contains", ""),
        ("deep", "equals", "x y"),
        ("percent", "looksLike", "9"),
    ] {
        assert!(!meets(field, operator, value), "{field} {operator} {value}");
    }
    let both = vec![condition("percent", "equals", "9"), condition("flag", "equals", "false")];
    assert!(!tells("drift.detected", &content, &["*"], both));
    let unreadable = Rule { conditions: None, ..rule() };
    assert_eq!(told(&[event("drift.detected", &content)], &[unreadable]), []);
    // Whoever tells how much it matters is believed.
    let severe = json!({"severity": "critical"});
    assert!(tells("drift.detected", &severe, &["*"], vec![condition("severity", "equals", "critical")]));
}

#[test]
fn a_message_says_what_the_template_says_and_otherwise_what_argus_says() {
    let content = json!({"actor": "Ada\n<b>", "why": [{"message": "one"}, {"message": "two"}], "many": {"a": 1}});
    let says = |of: &str, template: Option<&str>| {
        let rule = Rule { template: template.map(str::to_owned), ..rule() };
        told(&[event(of, &content)], &[rule])[0].text.clone()
    };
    assert_eq!(
        says("drift.detected", Some("{{type}} {{ actor }}: {{ why.message }} {{ many }}\n")),
        "drift.detected Ada <b>: one, two {\"a\":1}"
    );
    assert_eq!(says("drift.detected", Some("{{ nothing }}")), "(no nothing)");
    let own = "Team/core is again as it is described.";
    for template in [None, Some(""), Some(" \n"), Some("{{ open"), Some("{{ a | b }}")] {
        assert_eq!(says("drift.resolved", template), own, "{template:?}");
    }
    assert_eq!(says("key.rotated", None), "key.rotated: Team/core");
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let held = event("plan.held", &json!({"planDigest": digest, "why": [{"message": "the last owner leaves"}]}));
    let held = &told(&[held], &[rule()])[0].text;
    assert_eq!(*held, format!("The plan {digest} of acme waits until people agree: the last owner leaves"));
    assert_eq!(told(&[event("key.rotated", &json!({}))], &[rule()])[0].title, "[high] acme: key.rotated Team/core");
}

fn message(text: &str) -> Message {
    Message {
        id: "1".into(),
        organization: "acme".into(),
        rule: Some("all".into()),
        priority: Priority::Normal,
        title: "acme: drift.detected".into(),
        text: text.into(),
        withheld: 0,
        event: None,
        at: DateTime::from_timestamp(1_700_000_000, 0).expect("a moment"),
    }
}

#[test]
fn no_face_is_longer_than_its_target_takes_and_what_is_cut_says_so() {
    for piece in ["é", "&", "*", "😀", "\"", "a\n", "line of text\n"] {
        let long = message(&piece.repeat(16_000 / piece.chars().count()));
        let slack = faces::slack(&long);
        let text = slack["blocks"][0]["text"]["text"].as_str().expect("a text");
        assert!(text.encode_utf16().count() <= 3_000 && text.ends_with(CUT), "{piece:?}: {}", text.len());
        assert!(!text.trim_end_matches(CUT).ends_with("&am"), "a form is whole or not there");
        let discord = faces::discord(&long);
        let text = discord["content"].as_str().expect("a text");
        assert!(text.encode_utf16().count() <= 2_000 && text.ends_with(CUT), "{piece:?}");
        let before = text.trim_end_matches(CUT);
        let slashes = before.len() - before.trim_end_matches('\\').len();
        assert_eq!(slashes % 2, 0, "a form is whole or not there: {piece:?}");
        let teams = faces::teams(&long).to_string();
        let whole = teams.len() > long.text.len();
        assert!(teams.len() <= 28 * 1024 && (whole || teams.contains(CUT)), "{piece:?}: {}", teams.len());
        assert_eq!(teams.contains(CUT), ["é", "😀", "\"", "a\n", "line of text\n"].contains(&piece), "{piece:?}");
    }
    let short = message("short");
    for face in [faces::slack(&short), faces::discord(&short), faces::teams(&short)] {
        assert!(!face.to_string().contains(CUT) && face.to_string().contains("short"), "{face}");
    }
}

#[test]
fn the_subject_of_a_mail_is_one_line() {
    let hostile = Message { title: "a\r\nBcc: eve@evil.example\u{85}b".into(), ..message("text\r\n\u{7}more") };
    let (subject, text) = faces::mail(&hostile);
    assert_eq!(subject, "a  Bcc: eve@evil.example b");
    assert!(text.starts_with("text\nmore\n"), "{text}");
    let told = Message { withheld: 3, ..message("text\n") };
    assert!(faces::mail(&told).1.starts_with("text\n(3 more like this were not told meanwhile.)\n"));
}

#[test]
fn of_each_organization_come_as_many_events_as_make_no_more_messages_than_there_may_be() {
    let of = |organization: &str, position| Event {
        organization: organization.into(),
        position,
        ..event("drift.detected", &json!({}))
    };
    let events: Vec<Event> =
        (1..=9).flat_map(|position| ["acme", "globex", "initech"].map(|name| of(name, position))).collect();
    let both = BTreeSet::from(["acme".to_owned(), "globex".to_owned()]);
    let rules = |name: &str, many| vec![Rule { organization: name.into(), ..rule() }; many];
    let many = |rules: &[Rule], name: &str| {
        first_of_each(events.clone(), &both, rules, 6).iter().filter(|event| event.organization == name).count()
    };
    let all = [rules("acme", 3), rules("globex", 100)].concat();
    assert_eq!((many(&all, "acme"), many(&all, "globex"), many(&all, "initech")), (2, 1, 0));
    assert_eq!(many(&[], "acme"), 6, "what no rule means is matched as well");
    let first = first_of_each(events.clone(), &both, &all, 6);
    assert_eq!(first.iter().map(|event| event.position).max(), Some(2), "the first of them");
}
