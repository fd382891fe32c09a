//! All metrics that there are.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How many measurements were not above each of these bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, which of a counter ends with `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it tells, in a sentence.
    pub help: &'static str,
}

/// How long a run may take, in seconds.
const RUNS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];

/// How long an event may wait, in seconds.
const WAITS: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// How long an answer may take, in seconds.
const ANSWERS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

macro_rules! metrics {
    ($($word:ident: $name:literal, $kind:expr, [$($label:literal),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $word: Metric = Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help };)*

        /// All of them.
        pub const ALL: &[Metric] = &[$($word),*];
    };
}

metrics! {
    BUILD_INFO: "argus_build_info", Kind::Gauge, ["version"], "1, for the version that measures.";
    RECONCILE_DURATION: "argus_reconcile_duration_seconds", Kind::Histogram(RUNS), ["kind", "source", "outcome"],
        "How long a run took (kind: apply, plan, drift, rollback), by how it ended; of the relay those that ended while it watched.";
    RUN_END: "argus_run_end_timestamp_seconds", Kind::Gauge, ["kind", "source", "outcome"],
        "When such a run last ended this way, as seconds since 1970; of the relay and the controller among the last 200 runs of the source.";
    RESOURCE_INFO: "argus_resource_info", Kind::Gauge, ["kind", "source", "name", "ready", "reason", "revision"],
        "1, for each source and for organizations that are not ready, with how the controller or the last run left them.";
    ORGANIZATIONS: "argus_organizations", Kind::Gauge, ["source", "state"],
        "How many organizations are in a state: applied, held, denied, stopped, blocked, stale, failed, observed, and of the controller waiting. Of the controller those of the whole source, of others those of the last run.";
    CHANGES: "argus_changes_total", Kind::Counter, ["source", "action"],
        "How many resources were written, by what was done to them.";
    DRIFT: "argus_drift_resources", Kind::Gauge, ["source", "kind"],
        "How many resources have drifted, by kind: of a command those that it found, of the relay those that were left so.";
    POLICY_VERDICTS: "argus_policy_verdicts_total", Kind::Counter, ["verdict", "rule"],
        "How often a rule of the policies has denied, held or warned of an organization.";
    GUARD_TRIPS: "argus_guard_trips_total", Kind::Counter, ["guard"],
        "How often a guard has held an organization.";
    AUDIT_UNSEALED: "argus_audit_unsealed_rows", Kind::Gauge, [],
        "How many rows of the audit wait to be sealed.";
    AUDIT_UNSIGNED_CHAINS: "argus_audit_unsigned_chains", Kind::Gauge, [],
        "How many chains of the audit end behind their last signed head.";
    AUDIT_HEAD_AGE: "argus_audit_head_age_seconds", Kind::Gauge, [],
        "How long ago a head of the audit was last signed; absent where none ever was.";
    DATABASE_UP: "argus_database_up", Kind::Gauge, [],
        "Whether the database answers the relay.";
    OUTBOX_BACKLOG: "argus_outbox_backlog", Kind::Gauge, ["sink"],
        "How many events wait for a sink.";
    OUTBOX_OLDEST_AGE: "argus_outbox_oldest_age_seconds", Kind::Gauge, ["sink"],
        "How long the oldest event has been waiting for a sink.";
    OUTBOX_LAG: "argus_outbox_lag_seconds", Kind::Histogram(WAITS), ["sink"],
        "How long events had waited when the sink confirmed them.";
    EVENTS_DELIVERED: "argus_events_delivered_total", Kind::Counter, ["sink"],
        "How many events a sink has confirmed to this relay.";
    EVENTS_REFUSED: "argus_events_refused_total", Kind::Counter, ["sink"],
        "How many events a sink has refused for good.";
    DELIVERY_FAILURES: "argus_delivery_failures_total", Kind::Counter, ["sink"],
        "How often delivering to a sink has failed, and is tried again.";
    UNDELIVERABLE: "argus_undeliverable_events", Kind::Gauge, ["sink"],
        "How many events that a sink refused wait for somebody to look at them.";
    SOURCE_FAILURES: "argus_source_failures", Kind::Gauge, ["source"],
        "How many looks of the controller at a source have failed in a row; 0 where it gets on.";
    SOURCE_LOOK_AGE: "argus_source_look_age_seconds", Kind::Gauge, ["source"],
        "How long ago the controller last looked at a source with success.";
    WORK_WAITING: "argus_work_waiting", Kind::Gauge, ["source", "state"],
        "How many organizations wait for the controller: for the first time since something moved (new), or again because they could not be applied (again).";
    WORK_OLDEST_AGE: "argus_work_oldest_age_seconds", Kind::Gauge, ["source"],
        "For how long the oldest organization has been due that nobody works on.";
    WORK_FIGHTING: "argus_work_fighting", Kind::Gauge, ["source"],
        "How many organizations somebody else changes back again and again.";
    REPLICAS: "argus_controller_replicas", Kind::Gauge, [],
        "How many replicas of the controller are there.";
    CONTROLLER_TURNS: "argus_controller_turns_total", Kind::Counter, ["source", "step"],
        "How many steps the controller has done: a look at a source, or work on a batch of its organizations.";
    CONTROLLER_FAILURES: "argus_controller_failures_total", Kind::Counter, ["source", "step"],
        "How many steps of the controller came to nothing.";
    ADMISSIONS: "argus_admission_requests_total", Kind::Counter, ["outcome"],
        "How often an API server has asked, by answer: passed (nothing to look at), allowed, warned, refused, unknown.";
    ADMISSION_DURATION: "argus_admission_duration_seconds", Kind::Histogram(ANSWERS), [],
        "How long it took to answer API servers.";
    NOTIFICATIONS_WAITING: "argus_notifications_waiting", Kind::Gauge, [],
        "How many messages wait for the channels of organizations.";
    CHANNELS_FAILING: "argus_notification_channels_failing", Kind::Gauge, [],
        "How many channels of organizations did not take the last message.";
    WEBHOOKS_RECEIVED: "argus_webhooks_received_total", Kind::Counter, ["source", "outcome"],
        "How many hooks of forges were believed, by what came of them: woken, planned, nothing, before (it was seen already), ping.";
    WEBHOOKS_REFUSED: "argus_webhooks_refused_total", Kind::Counter, ["reason"],
        "How many hooks were refused: unknown, unproven, wrong, stale, rate, size, encoding, cut, database.";
    REPORTS_WAITING: "argus_reports_waiting", Kind::Gauge, ["source"],
        "How many reports wait for the forge of a source.";
    REPORTS_OLDEST_AGE: "argus_reports_oldest_age_seconds", Kind::Gauge, ["source"],
        "How long the oldest report has been waiting for the forge of a source.";
    REPORTS_TOLD: "argus_reports_told_total", Kind::Counter, ["source", "kind"],
        "How many reports (kind: status, comment) the forge of a source has taken.";
    REPORT_FAILURES: "argus_report_failures_total", Kind::Counter, ["source"],
        "How often the forge of a source did not take a report.";
}
