//! What commands measure: plans, verdicts, what was applied, how long it took; and what the relay sees in the database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::Outcome;
use crate::guard;
use crate::metrics::Metrics;
use crate::metrics::table::{
    AUDIT_HEAD_AGE, AUDIT_UNSEALED, AUDIT_UNSIGNED_CHAINS, CHANGES, CHANNELS_FAILING, DATABASE_UP, DRIFT, GUARD_TRIPS,
    NOTIFICATIONS_WAITING, ORGANIZATIONS, OUTBOX_BACKLOG, OUTBOX_OLDEST_AGE, POLICY_VERDICTS, RECONCILE_DURATION,
    REPLICAS, REPORTS_OLDEST_AGE, REPORTS_WAITING, RESOURCE_INFO, RUN_END, SOURCE_FAILURES, SOURCE_LOOK_AGE,
    UNDELIVERABLE, WORK_FIGHTING, WORK_OLDEST_AGE, WORK_WAITING,
};
use crate::model::finding::Finding;
use crate::plan::Plan;
use crate::store::observing::{Ended, Observed, SourceSeen, UNREADY_MAX};
use crate::verdict::Told;

/// The commands that reconcile, which are measured as runs.
pub const RUNS: &[&str] = &["apply", "plan", "drift", "rollback"];

/// What was planned: the drift that was found, by kind.
pub fn planned(metrics: &Metrics, plan: &Plan) {
    let mut drift: BTreeMap<&str, usize> = BTreeMap::new();
    for change in plan.organizations.iter().flat_map(|organization| organization.drift()) {
        *drift.entry(change.kind.get().name).or_default() += 1;
    }
    metrics.clear(&DRIFT);
    for (kind, many) in drift {
        metrics.set(&DRIFT, &[&plan.source, kind], many as f64);
    }
}

/// What was said of a plan: by rules of policies, and by guards.
pub fn judged(metrics: &Metrics, told: &Told) {
    let Told { rules_digest: _, held, denied, stopped: _, blocked: _, warned } = told;
    let rule = |verdict: &str, finding: &Finding| {
        if let Some(rule) = &finding.rule {
            metrics.add(&POLICY_VERDICTS, &[verdict, rule], 1.0);
        }
    };
    denied.values().flatten().for_each(|finding| rule("deny", finding));
    warned.values().flatten().for_each(|finding| rule("warn", finding));
    for finding in held.values().flatten().map(|held| &held.finding) {
        match &finding.rule {
            Some(_) => rule("hold", finding),
            None => metrics.add(&GUARD_TRIPS, &[guard::name(finding.code)], 1.0),
        }
    }
}

/// What a plan has changed.
pub fn changed(metrics: &Metrics, plan: &Plan, outcome: &Outcome) {
    let source = &*plan.source;
    let summary = outcome.summary();
    let done = [
        ("create", summary.add),
        ("update", summary.change),
        ("delete", summary.destroy),
        ("release", summary.release),
    ];
    for (action, many) in done {
        metrics.add(&CHANGES, &[source, action], many as f64);
    }
}

/// What came of the plan of a whole source.
pub fn applied(metrics: &Metrics, plan: &Plan, outcome: &Outcome) {
    changed(metrics, plan, outcome);
    let source = &*plan.source;
    let mut states: BTreeMap<&str, usize> = BTreeMap::from([("applied", outcome.applied.len())]);
    for (name, (refusal, _)) in outcome.refused.iter() {
        let many = states.entry(refusal.word()).or_default();
        *many += 1;
        if *many as i64 <= UNREADY_MAX {
            metrics.set(&RESOURCE_INFO, &["Organization", source, name, "False", refusal.word(), ""], 1.0);
        }
    }
    for (state, many) in states {
        metrics.set(&ORGANIZATIONS, &[source, state], many as f64);
    }
    let revision = plan.revision.as_ref().map(ToString::to_string).unwrap_or_default();
    metrics.set(&RESOURCE_INFO, &["Source", source, source, ready(outcome.word()), outcome.word(), &revision], 1.0);
}

/// Whether a source is ready that a run has left like this: what waits for people is as it should be.
fn ready(outcome: &str) -> &'static str {
    match outcome {
        "succeeded" | "observed" => "True",
        "waiting" => "Unknown",
        _ => "False",
    }
}

/// How a command ended.
pub fn ended(metrics: &Metrics, kind: &str, source: &str, outcome: &str, took: Duration, now: f64) {
    let labels = [kind, source, outcome];
    metrics.observe(&RECONCILE_DURATION, &labels, took.as_secs_f64());
    metrics.set(&RUN_END, &labels, now);
}

/// The runs that a relay has counted, or that had ended before it came.
#[derive(Debug, Default)]
pub struct Counted(Option<BTreeSet<String>>);

impl Counted {
    /// Counts the runs that have ended since it was last asked.
    pub fn count(&mut self, metrics: &Metrics, ended: &[Ended]) {
        if let Some(counted) = &self.0 {
            for run in ended.iter().filter(|ended| !counted.contains(&ended.run)) {
                metrics.observe(&RECONCILE_DURATION, &[kind(run.rolls_back), &run.source, &run.outcome], run.took);
            }
        }
        self.0 = Some(ended.iter().map(|ended| ended.run.clone()).collect());
    }
}

/// The command that makes such a run.
fn kind(rolls_back: bool) -> &'static str {
    if rolls_back { "rollback" } else { "apply" }
}

/// What the relay sees in the database; nothing where it does not answer, so that nobody relies on what was.
pub fn observed(metrics: &Metrics, observed: Option<&Observed>) {
    metrics.set(&DATABASE_UP, &[], f64::from(u8::from(observed.is_some())));
    let seen = [
        RESOURCE_INFO,
        ORGANIZATIONS,
        RUN_END,
        DRIFT,
        AUDIT_UNSEALED,
        AUDIT_UNSIGNED_CHAINS,
        AUDIT_HEAD_AGE,
        OUTBOX_BACKLOG,
        OUTBOX_OLDEST_AGE,
        UNDELIVERABLE,
        NOTIFICATIONS_WAITING,
        CHANNELS_FAILING,
        REPORTS_WAITING,
        REPORTS_OLDEST_AGE,
        SOURCE_FAILURES,
        SOURCE_LOOK_AGE,
        WORK_WAITING,
        WORK_OLDEST_AGE,
        WORK_FIGHTING,
        REPLICAS,
    ];
    seen.iter().for_each(|metric| metrics.clear(metric));
    let Some(observed) = observed else { return };
    let Observed {
        sources,
        replicas,
        ended: _,
        runs,
        ends,
        stalled,
        organizations,
        unready,
        drift,
        unsealed,
        unsigned,
        head_age,
        undeliverable,
        notifications: (waiting, failing),
        reports,
        backlog,
    } = observed;
    queue(metrics, sources, *replicas);
    metrics.set(&NOTIFICATIONS_WAITING, &[], *waiting as f64);
    metrics.set(&CHANNELS_FAILING, &[], *failing as f64);
    for (source, many, age) in reports {
        metrics.set(&REPORTS_WAITING, &[source], *many as f64);
        metrics.set(&REPORTS_OLDEST_AGE, &[source], *age);
    }
    let mut left: BTreeMap<&str, (&str, Option<&str>)> =
        runs.iter().map(|run| (&*run.source, (&*run.outcome, run.revision.as_deref()))).collect();
    // What the controller looks at is more than what its last run was about.
    left.extend(sources.iter().map(|source| (&*source.name, (standing(source), source.revision.as_deref()))));
    for (source, (outcome, revision)) in
        left.into_iter().filter(|(source, _)| !stalled.iter().any(|name| name == source))
    {
        let revision = revision.unwrap_or_default();
        metrics.set(&RESOURCE_INFO, &["Source", source, source, ready(outcome), outcome, revision], 1.0);
    }
    for end in ends {
        metrics.set(&RUN_END, &[kind(end.rolls_back), &end.source, &end.outcome], end.at);
    }
    for source in stalled {
        metrics.set(&RESOURCE_INFO, &["Source", source, source, "False", "stalled", ""], 1.0);
    }
    for (source, organization, outcome) in unready {
        metrics.set(&RESOURCE_INFO, &["Organization", source, organization, "False", outcome, ""], 1.0);
    }
    for (source, state, many) in organizations {
        metrics.set(&ORGANIZATIONS, &[source, state], *many as f64);
    }
    for (source, kind, many) in drift {
        metrics.set(&DRIFT, &[source, kind], *many as f64);
    }
    metrics.set(&AUDIT_UNSEALED, &[], *unsealed as f64);
    metrics.set(&AUDIT_UNSIGNED_CHAINS, &[], *unsigned as f64);
    if let Some(age) = head_age {
        metrics.set(&AUDIT_HEAD_AGE, &[], *age);
    }
    for (sink, many) in undeliverable {
        metrics.set(&UNDELIVERABLE, &[sink], *many as f64);
    }
    for (sink, many, age) in backlog {
        metrics.set(&OUTBOX_BACKLOG, &[sink], *many as f64);
        metrics.set(&OUTBOX_OLDEST_AGE, &[sink], *age);
    }
}

/// How a source of the controller stands as a whole, in the words of a run that would have been about all of it.
fn standing(source: &SourceSeen) -> &'static str {
    let many = |state: &str| source.states.get(state).copied().unwrap_or_default();
    let bad = ["blocked", "failed", "stale", "denied", "held", "stopped"].into_iter().find(|state| many(state) > 0);
    match bad {
        Some(worst) if many("applied") + many("observed") + many("waiting") == 0 => worst,
        Some(_) => "partial",
        None if many("waiting") > 0 || source.revision.is_none() && source.look_age.is_none() => "waiting",
        None if many("observed") > 0 => "observed",
        None => "succeeded",
    }
}

/// How it goes with the sources of the controller.
fn queue(metrics: &Metrics, sources: &[SourceSeen], replicas: i64) {
    metrics.set(&REPLICAS, &[], replicas as f64);
    for source in sources {
        let SourceSeen { name, failures, look_age, waiting: (new, again), oldest, fighting, states, revision: _ } =
            source;
        for (state, many) in states {
            metrics.set(&ORGANIZATIONS, &[name, state], *many as f64);
        }
        metrics.set(&SOURCE_FAILURES, &[name], f64::from(*failures));
        if let Some(age) = look_age {
            metrics.set(&SOURCE_LOOK_AGE, &[name], *age);
        }
        metrics.set(&WORK_WAITING, &[name, "new"], *new as f64);
        metrics.set(&WORK_WAITING, &[name, "again"], *again as f64);
        metrics.set(&WORK_OLDEST_AGE, &[name], *oldest);
        metrics.set(&WORK_FIGHTING, &[name], *fighting as f64);
    }
}
