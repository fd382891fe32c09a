//! Budget: how much somebody may spend in a period, and what happens at the limit.

use crate::model::code::Code;
use crate::model::finding::Fault;
use crate::model::kind::{Key, Kind, Scope};
use crate::model::resource::Resource;
use crate::model::rule::Rule;
use crate::model::shape::{Field, Preset, Shape};
use crate::model::value::Value;

/// The fields of which at most one says whose budget it is; with none it is the organization's.
pub const SUBJECTS: [&str; 4] = ["subject.team", "subject.project", "subject.serviceAccount", "subject.apiKey"];

const RULES: &[Rule] = &[
    Rule::new(
        "!has(self.subject) || [has(self.subject.team), has(self.subject.project), has(self.subject.serviceAccount), \
         has(self.subject.apiKey)].filter(given, given).size() <= 1",
        "subject",
        "a budget has one subject: keep one; without any the budget is that of the organization",
    ),
    Rule::new(
        "!has(self.override) || !has(self.override.cap) || \
         !self.limit.matches('^[0-9.]+ [A-Z]{3}$') || !self.override.cap.matches('^[0-9.]+ [A-Z]{3}$') || \
         (self.limit.split(' ')[1] == self.override.cap.split(' ')[1] && \
         double(self.limit.split(' ')[0]) <= double(self.override.cap.split(' ')[0]))",
        "override.cap",
        "an override lifts the limit, and this cap does not: give a cap in the same currency that is at least the limit",
    ),
];

/// The kind.
pub static KIND: Kind = Kind {
    name: "Budget",
    plural: "budgets",
    short_names: &["bud"],
    about: "How much the organization, or one team, project, service account or key, may spend in a period.",
    scope: Scope::Child,
    key: Key::Name,
    table: Some("budget"),
    fields: &[
        Field::new("subject.team", Shape::Name, "It is the budget of this team.").refers("Team").dependent(),
        Field::new("subject.project", Shape::Name, "It is the budget of this project.").refers("Project").dependent(),
        Field::new("subject.serviceAccount", Shape::Name, "It is the budget of this service account.")
            .refers("ServiceAccount")
            .dependent(),
        Field::new("subject.apiKey", Shape::Name, "It is the budget of this key.").refers("ApiKey").dependent(),
        Field::new("period", Shape::Enum(&["daily", "monthly", "quarterly", "annual"]), "How often it starts anew.")
            .required(),
        Field::new("limit", Shape::Money, "How much may be spent in one period, as in `250 USD`.").required(),
        Field::new(
            "warnAt",
            Shape::Set { item: &Shape::Int { min: 1, max: 100 }, items_max: 20 },
            "The percentages at which somebody is told.",
        ),
        Field::new("onLimit", Shape::Enum(&["block", "queue", "warn"]), "What happens at the limit.")
            .preset(Preset::Text("warn")),
        Field::new("gracePeriod", Shape::Duration, "How long spending may go on beyond the limit."),
        Field::new(
            "override.roles",
            Shape::Set { item: &Shape::Name, items_max: 20 },
            "Who may lift the limit for a while.",
        )
        .refers("Role")
        .side("budget_override_role", "role"),
        Field::new("override.approvals", Shape::Int { min: 1, max: 10 }, "How many of them must agree."),
        Field::new("override.cap", Shape::Money, "How far they may lift it."),
        Field::new(
            "notify",
            Shape::Set { item: &Shape::Name, items_max: 20 },
            "The channels that are told of warnings and of the limit.",
        )
        .refers("NotificationChannel")
        .side("budget_channel", "channel"),
    ],
    protected: false,
    columns: &["period", "limit", "onLimit"],
    rules: RULES,
    check,
    example: r#"apiVersion: argus.io/v1alpha1
kind: Budget
metadata:
  name: search-monthly
spec:
  organization: acme
  subject:
    project: search
  period: monthly
  limit: 250 USD
  warnAt: [50, 80]
  onLimit: block
  gracePeriod: 24h
  override:
    roles: [owner]
    approvals: 1
    cap: 400.50 USD
  notify: [ops-mail]
"#,
};

fn check(budget: &Resource, faults: &mut Vec<Fault>) {
    let has = |path: &str| budget.value(path).is_some_and(|value| *value != Value::Null);
    let subjects: Vec<&'static str> = SUBJECTS.into_iter().filter(|path| has(path)).collect();
    if let [_, second, ..] = subjects[..] {
        faults.push(Fault::new(
            second,
            Code::FieldsDisagree,
            "a budget has one subject",
            "keep one; without any the budget is that of the organization",
        ));
    }
    let money = |path: &str| budget.text(path).and_then(|text| crate::model::money::Money::parse(text).ok());
    if let (Some(limit), Some(cap)) = (money("limit"), money("override.cap"))
        && (limit.currency != cap.currency || cap.minor < limit.minor)
    {
        faults.push(Fault::new(
            "override.cap",
            Code::FieldsDisagree,
            format!("an override lifts the limit of {limit}, and {cap} does not"),
            "give a cap in the same currency that is at least the limit",
        ));
    }
}
