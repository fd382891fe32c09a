//! Plans written by hand: worlds are expected, not computed by what is tested.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use argus::brake::Brakes;
use argus::guard::Guards;
use argus::model::kind::{Kind, KindId};
use argus::model::origin::{Origin, Position};
use argus::model::value::Value;
use argus::plan::{Action, Cause, Change, OrganizationPlan, PLAN_FORMAT, Plan, Record};
use argus::policy::judgement::Judgements;
use argus::store::Store;
use argus::store::apply::{ApplyContext, Outcome};
use argus::store::error::ApplyError;
use argus::store::run::{RunId, RunStart};
use argus::verdict::{self, Approved, Judging, Terms, Verdict};

/// The source of all plans that are made here.
pub const SOURCE: &str = "test";

/// The kind of this name.
pub fn kind(name: &str) -> KindId {
    KindId::of(Kind::named(name).expect("a kind"))
}

/// A value from JSON.
pub fn value(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

/// A change of an action, with what it sets as JSON by path.
pub fn change(action: Action, of: &str, name: &str, version: Option<i64>, set: &str) -> Change {
    let set: BTreeMap<String, Value> = serde_json::from_str(set).expect("JSON");
    Change {
        kind: kind(of),
        name: name.into(),
        action,
        cause: Cause::Change,
        extra: false,
        previous_name: None,
        version,
        fields: Vec::new(),
        set,
        undo: BTreeMap::new(),
        origin: None,
        written_by: None,
        moved_by: None,
        reason: None,
    }
}

/// A row that comes.
pub fn create(of: &str, name: &str, set: &str) -> Change {
    change(Action::Create, of, name, None, set)
}

/// A row that changes.
pub fn update(of: &str, name: &str, version: i64, set: &str) -> Change {
    change(Action::Update, of, name, Some(version), set)
}

/// A row that goes.
pub fn delete(of: &str, name: &str, version: i64) -> Change {
    change(Action::Delete, of, name, Some(version), "{}")
}

/// A row that gets another name.
pub fn rename(of: &str, from: &str, to: &str, version: i64, set: &str) -> Change {
    Change { previous_name: Some(from.into()), ..change(Action::Update, of, to, Some(version), set) }
}

/// An ownership record: of what a manifest names, or none to drop it.
pub fn record(of: &str, name: &str, spec: Option<&str>) -> Record {
    let file: Arc<str> = "acme.yaml".into();
    Record {
        kind: kind(of),
        name: name.into(),
        spec: spec.map(value),
        origin: spec.map(|_| Origin::new(&file, Position::new(3, 5))),
        before: None,
    }
}

/// The plan of an organization.
pub fn plan(organization: &str, changes: Vec<Change>) -> OrganizationPlan {
    OrganizationPlan { changes, ..OrganizationPlan::unchanged(&organization.into(), Vec::new()) }.sealed()
}

/// The verdict of guards alone.
pub fn judge(plan: &Plan, guards: &Guards, force: bool) -> Verdict {
    let terms = Terms { guards: guards.clone(), ..Terms::default() };
    let judging = Judging {
        terms: &terms,
        policies: &Judgements::none(&terms),
        brakes: &Brakes::default(),
        approvals: &[],
        authors: &BTreeSet::new(),
        now: chrono::DateTime::UNIX_EPOCH,
        force,
    };
    verdict::judge(plan, &judging)
}

/// What the guards let through.
pub fn approved(plan: OrganizationPlan) -> Approved {
    let plan = Plan {
        revision: None,
        lineage: None,
        beyond: None,
        format: PLAN_FORMAT,
        source: SOURCE.into(),
        rolls_back: None,
        digest: String::new(),
        organizations_seen: 1,
        resources_seen: 1,
        organizations: vec![Arc::new(plan)],
        findings: Vec::new(),
    };
    let mut verdict = judge(&plan, &Guards::default(), true);
    verdict.approved.pop().expect("the guards let it through")
}

/// Begins a run.
pub async fn begin(store: &Store, run: &str) -> RunId {
    let run = RunId::new(run);
    let start = RunStart {
        run: &run,
        source: SOURCE,
        actor: "ada",
        plan_digest: "d",
        rules_digest: "r",
        policed: false,
        forced: false,
        rolls_back: None,
        revision: None,
    };
    store.begin_run(&start).await.expect("a run begins");
    run
}

/// Whose doing a run is.
pub fn by(actor: &str) -> argus::event::content::Cause {
    argus::event::content::Cause::new("run", SOURCE, actor, None)
}

/// Applies a plan in a run of its own.
pub async fn apply(store: &Store, run: &str, plan: OrganizationPlan) -> Result<Outcome, ApplyError> {
    let run = begin(store, run).await;
    let read_at = plan.read_at;
    let by = by("ada");
    let context = ApplyContext { run: &run, by: &by, read_at, rolls_back: None, lease: None };
    store.apply(&approved(plan), &context).await
}
