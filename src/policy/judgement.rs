//! What the answers of the rules mean for the plan of one organization.
//!
//! Only a clean answer lets a plan through: what is undefined, of the wrong type, an error or no answer at all denies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::{Rule, Sort};
use crate::approval::Need;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::origin::Origin;
use crate::plan::OrganizationPlan;

/// The most answers of one rule that are told one by one.
const ANSWERS_TOLD_MAX: usize = 100;

/// The longest message of an answer, in characters.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// What came back for one input.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// An answer for each rule, in their order.
    Given(Vec<Answer>),
    /// The worker could not finish.
    Failed(Failure),
}

impl From<Result<Vec<Answer>, Failure>> for Answers {
    fn from(answers: Result<Vec<Answer>, Failure>) -> Self {
        answers.map_or_else(Answers::Failed, Answers::Given)
    }
}

/// What one rule said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// A value; sets come as lists.
    Value(serde_json::Value),
    /// Nothing.
    Undefined,
    /// Evaluating it ended with this error.
    Error(String),
}

/// Why a worker did not finish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// It took longer than it may.
    Wall(Duration),
    /// It used more processor time than it may.
    Cpu(Duration),
    /// It wanted more memory than it may have, overflowed its stack or died in another way.
    Died(String),
    /// It said something that makes no sense, or too much.
    Garbled(String),
    /// The input document has more bytes than it may.
    TooLarge(usize),
    /// So many inputs before this one had failed that it was not tried.
    GivenUp(usize),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Wall(limit) => write!(f, "the policies took longer than {} ms", limit.as_millis()),
            Failure::Cpu(limit) => write!(f, "the policies used more than {} s of processor time", limit.as_secs()),
            Failure::Died(how) => write!(f, "the policies brought their worker down: {how}"),
            Failure::Garbled(what) => write!(f, "the policies' answer makes no sense: {what}"),
            Failure::GivenUp(failed) => {
                write!(f, "the policies failed on {failed} other plans, and were not asked again")
            }
            Failure::TooLarge(bytes) => write!(f, "the input document has {bytes} bytes, more than policies are told"),
        }
    }
}

/// What policy says of the plan of one organization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Why it is refused.
    pub denials: Vec<Finding>,
    /// Why it is held, and what lifts each hold.
    pub holds: Vec<Hold>,
    /// What somebody should look at, and which denials were excused.
    pub warnings: Vec<Finding>,
    /// How far it holds only together with what all organizations share.
    pub tie: Tie,
}

/// How what is said of an organization hangs together with the change of what all organizations share, which is a plan
/// of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tie {
    /// Not at all.
    #[default]
    Free,
    /// It was judged by its tier as that would be, so it stands only if the tier becomes so.
    Leans,
    /// It does, and was not asked what the tier would do to it as it is: the tier may become so only if it passes.
    Spares,
}

/// A hold and what lifts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// Why.
    pub finding: Finding,
    /// What lifts it.
    pub need: Need,
}

/// What policy says of all organizations with changes.
#[derive(Clone, Debug)]
pub struct Judgements {
    /// The digest of the rules that judge: policies and terms.
    pub rules_digest: String,
    /// By organization; none where there are no policies. An organization that is missing was not judged.
    pub by_organization: Option<BTreeMap<OrganizationName, Judgement>>,
}

impl Judgements {
    /// Where there are no policies: only the terms of the source judge.
    pub fn none(terms: &impl Serialize) -> Judgements {
        Judgements { rules_digest: super::rules_digest(&[], terms), by_organization: None }
    }
}

/// What the answers mean for a plan. `default_need` lifts the holds of rules that say nothing of approvals.
pub fn judge(rules: &[Rule], answers: &Answers, plan: &OrganizationPlan, default_need: &Need) -> Judgement {
    let organization = &*plan.organization;
    let mut judgement = Judgement::default();
    let answers = match answers {
        Answers::Given(answers) if answers.len() == rules.len() => answers,
        Answers::Given(_) => {
            let failure = Failure::Garbled("it has not an answer for each rule".into());
            judgement.denials.push(failed(&failure).about(organization));
            return judgement;
        }
        Answers::Failed(failure) => {
            judgement.denials.push(failed(failure).about(organization));
            return judgement;
        }
    };
    // Who excuses by name means whoever has the name, and not whoever takes it or leaves it.
    let excused = if plan.renamed_from().is_some() { BTreeSet::new() } else { excuses(rules, answers) };
    for (rule, answer) in rules.iter().zip(answers) {
        match statements(rule, answer) {
            Err(why) => judgement.denials.push(broken(rule, &why).about(organization)),
            Ok(statements) => judgement.take(rule, statements, plan, &excused, default_need),
        }
    }
    judgement
}

impl Judgement {
    fn take(
        &mut self,
        rule: &Rule,
        statements: Vec<Statement>,
        plan: &OrganizationPlan,
        excused: &BTreeSet<(&str, String)>,
        default_need: &Need,
    ) {
        let told = statements.into_iter().map(|statement| statement.finding(rule, plan));
        match rule.sort {
            Sort::Deny if excused.contains(&(rule.package.as_str(), rule.suffix().to_owned())) => {
                self.warnings.extend(told.map(|finding| Finding {
                    severity: crate::model::finding::Severity::Note,
                    code: Code::PolicyExcused,
                    message: format!("an exception excuses: {}", finding.message),
                    ..finding
                }));
            }
            Sort::Deny => self.denials.extend(told),
            Sort::Warn => self.warnings.extend(told),
            Sort::Hold => {
                let need = rule.metadata.approvals.as_ref().unwrap_or(default_need);
                self.holds.extend(told.map(|finding| Hold { finding, need: need.clone() }));
            }
            Sort::Exception => {}
        }
    }
}

/// The denials that exceptions excuse, by package and what stands behind `deny_`.
fn excuses<'a>(rules: &'a [Rule], answers: &[Answer]) -> BTreeSet<(&'a str, String)> {
    let mut excused = BTreeSet::new();
    for (rule, answer) in rules.iter().zip(answers).filter(|(rule, _)| rule.sort == Sort::Exception) {
        let Answer::Value(serde_json::Value::Array(items)) = answer else { continue };
        // An exception gives a name, or a list of names.
        let names = items.iter().flat_map(|item| item.as_array().map_or(std::slice::from_ref(item), Vec::as_slice));
        let names = names.filter_map(serde_json::Value::as_str);
        excused.extend(names.map(|name| (rule.package.as_str(), name.to_owned())));
    }
    excused
}

/// One thing that a rule says.
struct Statement {
    message: String,
    hint: Option<String>,
    subject: Option<String>,
    origin: Option<Origin>,
    path: Option<String>,
}

/// What a rule's answer says; an error where it is none that the contract knows.
fn statements(rule: &Rule, answer: &Answer) -> Result<Vec<Statement>, String> {
    let value = match answer {
        Answer::Value(value) => value,
        Answer::Undefined => return Err("it is undefined; give it a default, or use `contains`".into()),
        Answer::Error(error) => return Err(error.clone()),
    };
    match value {
        serde_json::Value::Array(items) if rule.partial => {
            if rule.sort == Sort::Exception {
                let names = |item: &serde_json::Value| {
                    item.is_string()
                        || item.as_array().is_some_and(|list| list.iter().all(serde_json::Value::is_string))
                };
                return if items.iter().all(names) {
                    Ok(Vec::new())
                } else {
                    Err("an exception gives names of rules, or lists of them".into())
                };
            }
            let mut said = items.iter().take(ANSWERS_TOLD_MAX).map(Statement::of).collect::<Result<Vec<_>, _>>()?;
            if items.len() > ANSWERS_TOLD_MAX {
                said.push(Statement::plain(format!("and {} more of the same rule", items.len() - ANSWERS_TOLD_MAX)));
            }
            Ok(said)
        }
        serde_json::Value::Bool(false) if !rule.partial => Ok(Vec::new()),
        serde_json::Value::Bool(true) if !rule.partial && rule.sort != Sort::Exception => {
            let title = rule.metadata.title.clone();
            Ok(vec![Statement::plain(title.unwrap_or_else(|| format!("`{}` holds", rule.name)))])
        }
        other => Err(format!("its answer is {}, and neither true, false nor a set of messages", type_name(other))),
    }
}

impl Statement {
    fn plain(message: String) -> Self {
        Statement { message, hint: None, subject: None, origin: None, path: None }
    }

    fn of(item: &serde_json::Value) -> Result<Statement, String> {
        if let Some(text) = item.as_str() {
            return Ok(Statement::plain(cut(text)));
        }
        let message = item.get("msg").and_then(serde_json::Value::as_str);
        let message = message.ok_or_else(|| {
            format!("an answer of it is {}, and neither a message nor an object with `msg`", type_name(item))
        })?;
        let text = |key: &str| item.get(key).and_then(serde_json::Value::as_str).map(cut);
        // A place that is none is left out: what matters is that the plan is refused.
        let origin = item.get("origin").and_then(|origin| Origin::deserialize(origin).ok());
        let (hint, subject, path) = (text("hint"), text("subject"), text("path"));
        Ok(Statement { message: cut(message), hint, subject, origin, path })
    }

    /// Where it points: at the field that it names of the resource that is written there, or else as it says.
    fn place(&self, plan: &OrganizationPlan) -> Option<Origin> {
        let (origin, path) = (self.origin.as_ref()?, self.path.as_deref().unwrap_or_default());
        let written_there = plan.changes.iter().filter(|change| change.origin.as_ref() == Some(origin));
        let mut fields = written_there.flat_map(|change| &change.fields).filter(|field| {
            field.path == path || field.path.strip_prefix(path).is_some_and(|below| below.starts_with('.'))
        });
        fields.find_map(|field| field.origin.clone()).or_else(|| Some(origin.clone()))
    }

    fn finding(self, rule: &Rule, plan: &OrganizationPlan) -> Finding {
        let place = self.place(plan);
        let Statement { message, hint, subject, origin: _, path: _ } = self;
        let finding = match rule.sort {
            Sort::Deny => Finding::error(Code::PolicyDenied, message),
            Sort::Hold => Finding::warning(Code::PolicyHeld, message),
            Sort::Warn | Sort::Exception => Finding::warning(Code::PolicyWarned, message),
        };
        Finding {
            hint: hint.or_else(|| rule.metadata.remediation.clone()),
            origin: place,
            rule: Some(rule.label()),
            ..finding.about(subject.unwrap_or_else(|| plan.organization.to_string()))
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

fn type_name(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a text",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

/// The finding of a worker that did not finish.
fn failed(failure: &Failure) -> Finding {
    Finding::error(Code::PolicyFailed, failure.to_string())
        .hint("a plan that is not judged is not applied; `argus policy test` and `argus policy eval` find the rule")
}

/// The finding of a rule whose answer is none.
fn broken(rule: &Rule, why: &str) -> Finding {
    let message = format!("the rule gives no clean answer: {}", cut(why));
    let origin = Origin { file: rule.file.clone(), line: rule.line, column: 1 };
    let finding = Finding::error(Code::PolicyUnclear, message).at(origin);
    Finding { rule: Some(rule.label()), ..finding.hint("anything but a clean answer denies: mend the rule") }
}
