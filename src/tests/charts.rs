//! Dashboard, alert rules and the page of metrics name what the table of metrics has, and nothing else.

mod chart;
mod image;
mod running;

use std::collections::BTreeSet;

use argus::metrics::table::{ALL, Kind, Metric};
use serde_json::Value;

/// The dashboard, the alert rules, and the page that tells what to do about them.
const DASHBOARD: &str = include_str!("../../charts/argus/files/dashboard.json");
const RULES: &str = include_str!("../../charts/argus/files/argus.rules.yaml");
const PAGE: &str = include_str!("../../docs/telemetry.md");

/// Labels that Prometheus adds.
const ADDED: &[&str] = &["instance", "job"];

/// What PromQL has of its own, as far as it is used here: functions and aggregations.
const FUNCTIONS: &[&str] = &[
    "absent",
    "count",
    "histogram_quantile",
    "increase",
    "label_values",
    "max",
    "max_over_time",
    "min",
    "rate",
    "sum",
    "time",
];
const OPERATORS: &[&str] = &["and", "or", "unless", "bool"];
const GROUPINGS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

fn tokens(expression: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => {
                let end = rest[1..].find('"').ok_or("a text does not end")?;
                tokens.push(Token::Text(rest[1..=end].to_owned()));
                end + 2
            }
            // A range, or a number: what is in it names nothing.
            '[' => rest.find(']').ok_or("a range does not end")? + 1,
            c if c.is_ascii_digit() => {
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len())
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token::Mark(c));
                }
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// The metric that a name is of, and its labels.
fn metric(name: &str) -> Result<(&'static Metric, Vec<&'static str>), String> {
    for metric in ALL {
        let rest = name.strip_prefix(metric.name);
        let labels = metric.labels.iter().chain(ADDED).copied();
        match (metric.kind, rest) {
            (Kind::Histogram(_), Some("_bucket")) => return Ok((metric, labels.chain(["le"]).collect())),
            (Kind::Histogram(_), Some("_sum" | "_count")) => return Ok((metric, labels.collect())),
            (Kind::Histogram(_), Some("")) => {
                return Err(format!("{name} is a histogram, and so has no value by itself"));
            }
            (Kind::Counter | Kind::Gauge, Some("")) => return Ok((metric, labels.collect())),
            _ => {}
        }
    }
    Err(format!("there is no metric {name}"))
}

/// What is wrong with an expression.
fn faults(expression: &str) -> Vec<String> {
    let tokens = match tokens(expression) {
        Ok(tokens) => tokens,
        Err(why) => return vec![why],
    };
    let (mut faults, mut known, mut grouped, mut open) = (Vec::new(), BTreeSet::new(), Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            Token::Mark(c @ ('(' | '{')) => open.push(*c),
            Token::Mark(c @ (')' | '}')) => {
                let fits = open.pop() == Some(if *c == ')' { '(' } else { '{' });
                faults.extend((!fits).then(|| format!("`{c}` closes nothing")));
            }
            Token::Word(word) if GROUPINGS.contains(&word.as_str()) => {
                let list = tokens[at..].iter().take_while(|token| **token != Token::Mark(')'));
                let labels: Vec<&Token> = list.filter(|token| !matches!(token, Token::Mark(_))).collect();
                grouped.extend(labels.iter().filter_map(|token| match token {
                    Token::Word(label) => Some(label.clone()),
                    _ => None,
                }));
                at += tokens[at..].iter().position(|token| *token == Token::Mark(')')).map_or(0, |end| end + 1);
            }
            Token::Word(word) if word.starts_with("argus_") => match metric(word) {
                Err(why) => faults.push(why),
                Ok((metric, labels)) => {
                    known.extend(labels.iter().copied());
                    if tokens.get(at) == Some(&Token::Mark('{')) {
                        let end = tokens[at..].iter().position(|token| *token == Token::Mark('}'));
                        let Some(end) = end else { return vec!["matchers do not end".into()] };
                        let words = tokens[at..at + end].iter().filter_map(|token| match token {
                            Token::Word(word) => Some(word.as_str()),
                            _ => None,
                        });
                        let unknown = words.filter(|word| !labels.contains(word));
                        faults.extend(unknown.map(|word| format!("{} has no label {word}", metric.name)));
                        at += end + 1;
                    }
                }
            },
            Token::Word(word) if OPERATORS.contains(&word.as_str()) => {}
            Token::Word(word) if FUNCTIONS.contains(&word.as_str()) => {
                let called = matches!(tokens.get(at), Some(Token::Mark('(')))
                    || matches!(tokens.get(at), Some(Token::Word(by)) if GROUPINGS.contains(&by.as_str()));
                faults.extend((!called).then(|| format!("{word} is not called")));
                if word == "label_values" {
                    // Its second argument is a label.
                    let label = tokens[at..].iter().rev().find_map(|token| match token {
                        Token::Word(word) => Some(word.clone()),
                        _ => None,
                    });
                    grouped.extend(label);
                    let end = tokens[at..].iter().position(|token| *token == Token::Mark(','));
                    let named = end.map_or(&[][..], |end| &tokens[at + 1..at + end]);
                    match named {
                        [Token::Word(name)] => match metric(name) {
                            Ok((_, labels)) => known.extend(labels),
                            Err(why) => faults.push(why),
                        },
                        _ => faults.push("label_values takes a metric and a label".into()),
                    }
                    at = tokens.len();
                    open.clear();
                }
            }
            Token::Word(word) => faults.push(format!("{word} is neither a metric nor a function")),
            Token::Text(_) | Token::Mark(_) => {}
        }
    }
    faults.extend(open.iter().map(|c| format!("`{c}` is not closed")));
    faults.extend(
        grouped.iter().filter(|label| !known.contains(label.as_str())).map(|label| format!("no label {label}")),
    );
    faults
}

/// All expressions below a value: those of panels and rules, and the queries of variables.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value.as_str()) {
                    ("expr", Some(expression)) => found.push(expression.to_owned()),
                    ("query", Some(query)) if query.contains('(') => found.push(query.to_owned()),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("the dashboard is JSON")
}

/// The alert rules.
fn rules() -> Vec<Value> {
    let rules: Value = serde_yaml::from_str(RULES).expect("the rules are YAML");
    let groups = rules["groups"].as_array().expect("groups").clone();
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

#[test]
fn dashboard_and_rules_name_only_metrics_and_labels_that_there_are() {
    let (mut of_dashboard, mut of_rules) = (Vec::new(), Vec::new());
    expressions(&dashboard(), &mut of_dashboard);
    expressions(&Value::from(rules()), &mut of_rules);
    assert!(of_dashboard.len() > 20 && of_rules.len() > 10, "{} and {}", of_dashboard.len(), of_rules.len());
    for expression in of_dashboard.iter().chain(&of_rules) {
        assert_eq!(faults(expression), Vec::<String>::new(), "{expression}");
    }
    // Every metric is looked at somewhere.
    let all: String = of_dashboard.concat() + &of_rules.concat();
    let unseen: Vec<&str> = ALL.iter().map(|metric| metric.name).filter(|name| !all.contains(name)).collect();
    assert!(unseen.is_empty(), "nobody looks at {unseen:?}");
}

#[test]
fn what_names_no_metric_is_found() {
    for (expression, told) in [
        ("argus_outbox_backlogs", "there is no metric argus_outbox_backlogs"),
        ("argus_outbox_backlog_total", "there is no metric argus_outbox_backlog_total"),
        ("rate(argus_events_delivered[5m])", "there is no metric argus_events_delivered"),
        ("argus_outbox_lag_seconds > 1", "is a histogram"),
        ("argus_outbox_backlog{topic=\"x\"}", "argus_outbox_backlog has no label topic"),
        ("argus_outbox_lag_seconds_sum{le=\"1\"}", "has no label le"),
        ("sum by (organization) (argus_outbox_backlog)", "no label organization"),
        ("sum by (sink) (argus_outbox_backlog", "`(` is not closed"),
        ("sum by (sink) (argus_outbox_backlog))", "`)` closes nothing"),
        ("argus_outbox_backlog{sink=\"x\"", "matchers do not end"),
        ("argus_outbox_backlog{sink=\"x}", "a text does not end"),
        ("rat(argus_events_delivered_total[5m])", "rat is neither a metric nor a function"),
        ("sum + argus_outbox_backlog", "sum is not called"),
        ("label_values(argus_outbox_backlog, topic)", "no label topic"),
        ("label_values(argus_outbox_backlogs, sink)", "there is no metric"),
    ] {
        let found = faults(expression).join(", ");
        assert!(found.contains(told), "{expression}: {found}");
    }
    for expression in [
        "max by (sink) (argus_outbox_oldest_age_seconds{job=\"argus\"}) > 300",
        "histogram_quantile(0.95, sum by (sink, le) (rate(argus_outbox_lag_seconds_bucket[15m]))) > 1.5e3",
        "label_values(argus_outbox_backlog, sink)",
    ] {
        assert_eq!(faults(expression), Vec::<String>::new(), "{expression}");
    }
}

#[test]
fn every_alert_says_how_grave_it_is_and_where_to_read_on() {
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = rule["alert"].as_str().expect("a name").to_owned();
        assert!(["info", "warning", "critical"].contains(&rule["labels"]["severity"].as_str().expect(&name)), "{name}");
        // The labels that its summary shows are those that its expression leaves.
        let (summary, expression) =
            (rule["annotations"]["summary"].as_str().expect(&name), rule["expr"].as_str().expect(&name));
        for shown in summary.split("$labels.").skip(1) {
            let label = shown.split(|c: char| !c.is_alphanumeric()).next().expect("a label");
            let by = expression.split("by (").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
            assert!(by.split(", ").any(|left| left == label), "{name}: {label} is gone in {expression}");
        }
        let runbook = rule["annotations"]["runbook_url"].as_str().expect(&name);
        let anchor = runbook.strip_prefix("docs/telemetry.md#").expect(runbook);
        let heading = PAGE.lines().filter_map(|line| line.strip_prefix("### "));
        let anchors: Vec<String> = heading.map(|heading| heading.to_lowercase().replace(' ', "-")).collect();
        assert!(anchors.iter().any(|heading| heading == anchor), "{runbook} leads nowhere");
        assert!(names.insert(name.clone()), "{name} is there twice");
    }
    assert!(names.len() > 10, "{names:?}");
}

#[test]
fn the_dashboard_is_one_that_can_be_imported() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels {
        let (title, place) = (panel["title"].as_str().expect("a title"), &panel["gridPos"]);
        let right = place["x"].as_u64().zip(place["w"].as_u64()).map(|(x, width)| x + width);
        assert!(right.is_some_and(|right| right <= 24), "{title} is wider than the page");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title} asks whoever is chosen");
            assert!(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), "{title} shows nothing");
        }
    }
    assert_eq!((&dashboard["uid"], &dashboard["title"]), (&"argus".into(), &"Argus".into()));
}

const HEAD: &str = "\
# Metrics

All metrics of Argus. [telemetry.md](telemetry.md) tells where they come from and how to look at them.

This page is derived from the table of metrics; `make reference` writes it anew.

| metric | what it is | labels | |
|---|---|---|---|
";

#[test]
fn the_reference_of_metrics_says_what_the_table_says() {
    let row = |metric: &Metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |\n", metric.name, metric.kind.word(), labels.join(", "), metric.help)
    };
    let page = format!("{HEAD}{}", ALL.iter().map(row).collect::<String>());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("ARGUS_UPDATE").is_some() {
        std::fs::write(path, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/metrics.md is out of date: run `make reference` and look at what it changes");
}

#[test]
fn the_table_keeps_the_conventions_of_prometheus() {
    let mut names = BTreeSet::new();
    for metric in ALL {
        let Metric { name, kind, labels, help } = metric;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(name.starts_with("argus_") && plain(name) && names.insert(*name), "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(labels.iter().all(|label| plain(label) && !ADDED.contains(label) && *label != "le"), "{name}");
        assert!(help.ends_with('.') && !help.contains(['\n', '\\', '|']), "{name}: {help}");
        if let Kind::Histogram(bounds) = kind {
            assert!(bounds.windows(2).all(|two| two[0] < two[1]) && name.ends_with("_seconds"), "{name}");
        }
    }
}
