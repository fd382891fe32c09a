//! Metrics: one table of all that there are, and a registry that holds their values and writes them for Prometheus.
//!
//! Documentation, dashboard and alert rules are checked against the table. No metric has a label whose values people can
//! make without end: where names come from outside, a metric keeps so many of them, and the others go under one.

pub mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use table::{ALL, Kind, Metric};

/// The most series that one metric has.
pub const SERIES_MAX: usize = 1_000;

/// The longest value of a label, in characters.
const LABEL_CHARS_MAX: usize = 200;

/// What stands in a label whose metric has too many series already.
const OTHER: &str = "other";

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0, which Prometheus scrapes.
    Open,
    /// The text format 0.0.4, which everything reads, and the node exporter from files.
    Text,
}

impl Form {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Form::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The value of a series.
#[derive(Clone, Debug, Default)]
struct Value {
    /// Of a counter and a gauge: the value. Of a histogram: the sum.
    number: f64,
    /// Of a histogram: how many were not above each bound.
    buckets: Vec<u64>,
    /// Of a histogram: how many there were.
    count: u64,
}

type Series = BTreeMap<Vec<String>, Value>;

/// What is measured.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<BTreeMap<&'static str, Series>>);

impl Metrics {
    /// A registry that says which version measures.
    pub fn new() -> Metrics {
        let metrics = Metrics::default();
        metrics.set(&table::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        metrics
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<&'static str, Series>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, metric: &Metric, labels: &[&str], change: impl FnOnce(&mut Value)) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let mut all = self.all();
        let series = all.entry(metric.name).or_default();
        let mut labels: Vec<String> = labels.iter().map(|label| bounded(label)).collect();
        if series.len() >= SERIES_MAX && !series.contains_key(&labels) {
            labels.iter_mut().for_each(|label| OTHER.clone_into(label));
        }
        change(series.entry(labels).or_default());
    }

    /// Counts so many more.
    pub fn add(&self, metric: &Metric, labels: &[&str], more: f64) {
        self.change(metric, labels, |value| value.number += more);
    }

    /// Says how much it is now.
    pub fn set(&self, metric: &Metric, labels: &[&str], now: f64) {
        self.change(metric, labels, |value| value.number = now);
    }

    /// Counts a measurement of a histogram.
    pub fn observe(&self, metric: &Metric, labels: &[&str], measured: f64) {
        let Kind::Histogram(bounds) = metric.kind else { return };
        self.change(metric, labels, |value| {
            value.buckets.resize(bounds.len(), 0);
            for (bucket, _) in value.buckets.iter_mut().zip(bounds).filter(|(_, bound)| measured <= **bound) {
                *bucket += 1;
            }
            value.number += measured;
            value.count += 1;
        });
    }

    /// Forgets all series of a metric: what is said of it next is all that there is.
    pub fn clear(&self, metric: &Metric) {
        self.all().remove(metric.name);
    }

    /// Everything, in the order of the table. What was never measured is left out.
    pub fn text(&self, form: Form) -> String {
        let all = self.all();
        let mut text = String::new();
        for metric in ALL {
            let Some(series) = all.get(metric.name) else { continue };
            let family = match (form, metric.kind) {
                (Form::Open, Kind::Counter) => metric.name.trim_end_matches("_total"),
                _ => metric.name,
            };
            let _ = writeln!(text, "# HELP {family} {}\n# TYPE {family} {}", metric.help, metric.kind.word());
            for (labels, value) in series {
                write_series(&mut text, metric, labels, value);
            }
        }
        if form == Form::Open {
            text.push_str("# EOF\n");
        }
        text
    }
}

fn write_series(text: &mut String, metric: &Metric, labels: &[String], value: &Value) {
    let pairs: Vec<String> =
        metric.labels.iter().zip(labels).map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    let with = |more: Option<String>| {
        let pairs: Vec<String> = pairs.iter().cloned().chain(more).collect();
        if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
    };
    let name = metric.name;
    match metric.kind {
        Kind::Counter | Kind::Gauge => {
            let _ = writeln!(text, "{name}{} {}", with(None), value.number);
        }
        Kind::Histogram(bounds) => {
            for (bound, count) in bounds.iter().zip(&value.buckets) {
                let _ = writeln!(text, "{name}_bucket{} {count}", with(Some(format!("le=\"{bound:?}\""))));
            }
            let _ = writeln!(text, "{name}_bucket{} {}", with(Some("le=\"+Inf\"".into())), value.count);
            let _ = writeln!(text, "{name}_sum{} {}", with(None), value.number);
            let _ = writeln!(text, "{name}_count{} {}", with(None), value.count);
        }
    }
}

/// A value of a label that is not too long, and without control characters.
fn bounded(value: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    value.chars().take(LABEL_CHARS_MAX).map(shown).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_prometheus_reads_them() {
        let metrics = Metrics::default();
        metrics.add(&table::EVENTS_DELIVERED, &["hook"], 2.0);
        metrics.add(&table::EVENTS_DELIVERED, &["a \"quoted\" \\ \n name"], 1.0);
        metrics.set(&table::AUDIT_UNSEALED, &[], 7.0);
        for seconds in [0.3, 4.0, 1e9] {
            metrics.observe(&table::OUTBOX_LAG, &["hook"], seconds);
        }
        let text = metrics.text(Form::Open);
        for line in [
            "# TYPE argus_events_delivered counter",
            "argus_events_delivered_total{sink=\"hook\"} 2",
            "argus_events_delivered_total{sink=\"a \\\"quoted\\\" \\\\ \u{fffd} name\"} 1",
            "argus_audit_unsealed_rows 7",
            "argus_outbox_lag_seconds_bucket{sink=\"hook\",le=\"0.1\"} 0",
            "argus_outbox_lag_seconds_bucket{sink=\"hook\",le=\"0.5\"} 1",
            "argus_outbox_lag_seconds_bucket{sink=\"hook\",le=\"5.0\"} 2",
            "argus_outbox_lag_seconds_bucket{sink=\"hook\",le=\"+Inf\"} 3",
            "argus_outbox_lag_seconds_count{sink=\"hook\"} 3",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}: {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        let text = metrics.text(Form::Text);
        assert!(text.contains("# TYPE argus_events_delivered_total counter") && !text.contains("EOF"), "{text}");
        metrics.clear(&table::AUDIT_UNSEALED);
        assert!(!metrics.text(Form::Text).contains("unsealed"));
    }

    #[test]
    fn names_from_outside_make_no_endless_series() {
        let metrics = Metrics::default();
        for number in 0..SERIES_MAX + 500 {
            metrics.add(&table::POLICY_VERDICTS, &["deny", &format!("rule {number}")], 1.0);
        }
        let long = "x".repeat(100_000);
        metrics.add(&table::GUARD_TRIPS, &[&long], 1.0);
        let text = metrics.text(Form::Open);
        assert_eq!(text.matches("argus_policy_verdicts_total{").count(), SERIES_MAX + 1);
        assert!(text.contains("argus_policy_verdicts_total{verdict=\"other\",rule=\"other\"} 500"));
        assert!(text.lines().all(|line| line.len() < 1_000));
    }
}
