//! What events carry. These fields are the allow-list: what is not named here never leaves, whatever else is known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::finding::Finding;
use crate::model::kind::Kind;
use crate::model::origin::Origin;
use crate::model::revision::{Authorship, Revision};
use crate::model::secret;
use crate::model::secret::veil;
use crate::model::shape::Shape;
use crate::model::value::Value;
use crate::plan::{self, Attribution, Change, FieldChange};

/// The most fields of one resource that are told one by one.
const FIELDS_MAX: usize = 100;

/// The longest value that is told, as JSON.
const VALUE_BYTES_MAX: usize = 2_000;

/// The most reasons that are told of one plan.
const REASONS_MAX: usize = 20;

/// The longest message, in characters.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// Which run an event comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The run.
    pub run: String,
    /// The source that it worked for.
    pub source: String,
    /// Who started it.
    pub actor: String,
    /// The commit that it applied: `main@sha1:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Who wrote that commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The pull request that it came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl Cause {
    /// The run of a source.
    pub fn new(run: &str, source: &str, actor: &str, revision: Option<&Revision>) -> Cause {
        Cause {
            run: run.into(),
            source: source.into(),
            actor: actor.into(),
            revision: revision.map(ToString::to_string),
            author: revision.map(|revision| revision.commit.author.to_string()),
            request: revision.and_then(|revision| revision.commit.request.clone()),
        }
    }
}

/// A field of a resource that has changed or has drifted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldTold {
    /// Its path.
    pub path: String,
    /// Why it differs: `change`, `drift` or `conflict`.
    pub cause: String,
    /// Its value before. It is told of fields that hold a choice, a number, an amount, a moment or the name of a
    /// resource; never of texts, addresses and free maps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Its value after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Who moved it elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_by: Option<Attribution>,
}

/// Whether values of this form may leave.
fn may_leave(shape: &Shape) -> bool {
    match shape {
        Shape::Bool
        | Shape::Int { .. }
        | Shape::Name
        | Shape::Permission
        | Shape::EventPattern
        | Shape::Schedule
        | Shape::Duration
        | Shape::Time
        | Shape::Money
        | Shape::Enum(_) => true,
        Shape::Set { item, .. } => may_leave(item),
        Shape::Line { .. } | Shape::Prose { .. } | Shape::Email | Shape::Domain | Shape::Url => false,
        // Records name people; maps are free.
        Shape::List { .. } | Shape::Map { .. } => false,
    }
}

impl FieldTold {
    fn of(kind: &Kind, field: &FieldChange) -> FieldTold {
        let known = kind.field(&field.path);
        let leaves = known.is_some_and(|field| may_leave(&field.shape));
        let told = |value: &Value| {
            let value = veil::without_secrets(value);
            (leaves && value.to_string().len() <= VALUE_BYTES_MAX).then_some(value)
        };
        FieldTold {
            // The key of a free map is as free as its values.
            path: match known {
                Some(_) => field.path.clone(),
                None => format!("{}.*", field.path.split('.').next().unwrap_or_default()),
            },
            cause: word(&field.cause),
            before: told(&field.before),
            after: told(&field.after),
            moved_by: field.moved_by.clone(),
        }
    }
}

/// The word that a value of an enumeration is written as.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|json| json.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What has happened to one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceTold {
    /// The organization; empty for what all share.
    pub organization: String,
    /// The kind.
    pub kind: String,
    /// The name; of a member the address.
    pub name: String,
    /// The name before, where it got another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_name: Option<String>,
    /// What was done, or what would be: `create`, `update`, `adopt`, `release`, `delete`; `none` where nothing is left.
    pub action: String,
    /// Why: `change`, `drift` or `conflict`.
    pub cause: String,
    /// Whether it was a row that nobody had declared in a collection where all are declared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extra: bool,
    /// The fields that differ; none where the whole resource came or went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldTold>,
    /// How many more fields differ than are told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_fields: usize,
    /// Where it is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Who wrote that, and in which commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<Authorship>,
    /// Who wrote the row elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_by: Option<Attribution>,
    /// The digest of the plan of the organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<String>,
    /// Where it comes from.
    #[serde(flatten)]
    pub by: Cause,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl ResourceTold {
    /// That drift of a resource, which was told before, is there no more.
    pub fn resolved(organization: &str, kind: &str, name: &str, by: &Cause) -> ResourceTold {
        ResourceTold {
            organization: organization.into(),
            kind: kind.into(),
            name: name.into(),
            previous_name: None,
            action: "none".into(),
            cause: word(&plan::Cause::Drift),
            extra: false,
            fields: Vec::new(),
            more_fields: 0,
            origin: None,
            written_by: None,
            moved_by: None,
            plan_digest: None,
            by: by.clone(),
        }
    }

    /// What a change does.
    pub fn of(organization: &str, change: &Change, digest: &str, by: &Cause) -> ResourceTold {
        let kind = change.kind.get();
        ResourceTold {
            organization: organization.into(),
            kind: kind.name.into(),
            name: change.name.to_string(),
            previous_name: change.previous_name.as_deref().map(str::to_owned),
            action: word(&change.action),
            cause: word(&change.cause),
            extra: change.extra,
            fields: change.fields.iter().take(FIELDS_MAX).map(|field| FieldTold::of(kind, field)).collect(),
            more_fields: change.fields.len().saturating_sub(FIELDS_MAX),
            origin: change.origin.clone(),
            written_by: change.written_by.clone(),
            moved_by: change.moved_by.clone(),
            plan_digest: Some(digest).filter(|digest| !digest.is_empty()).map(str::to_owned),
            by: by.clone(),
        }
    }
}

/// A rule that leaves something out of comparison, where there is something that it leaves out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftIgnored {
    /// The organization.
    pub organization: String,
    /// What is left out, and how much of it.
    pub message: String,
    /// Where the rule stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Where it comes from.
    #[serde(flatten)]
    pub by: Cause,
}

/// Why something is held, denied or stalled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// The stable code: `ARG3101`.
    pub code: String,
    /// The rule of a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What there is to say, without what looks like a secret.
    pub message: String,
}

impl Reason {
    /// The first of some findings.
    pub fn all<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<Reason> {
        let reason = |finding: &Finding| Reason {
            code: finding.code.to_string(),
            rule: finding.rule.as_deref().map(str::to_owned),
            subject: finding.subject.as_deref().map(str::to_owned),
            message: secret::mask(&finding.message).chars().take(MESSAGE_CHARS_MAX).collect(),
        };
        findings.into_iter().take(REASONS_MAX).map(reason).collect()
    }
}

/// What became of the plan of an organization.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanTold {
    /// The organization; empty for what all share.
    pub organization: String,
    /// The digest of its plan: what is approved.
    pub plan_digest: String,
    /// The digest of the rules that judged it.
    pub rules_digest: String,
    /// Why, of a plan that is held or denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Reason>,
    /// When an approval ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Who held it by starting a run, or who approved it.
    pub actor: String,
    /// The run that met it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The commit that it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunTold {
    /// In one word: `succeeded`, `partial`, `held`, `denied`, `failed`, …
    pub outcome: String,
    /// The digest of its plan.
    pub plan_digest: String,
    /// How many organizations were applied.
    pub applied: usize,
    /// How many were not.
    pub refused: usize,
    /// How many resources were created.
    pub created: usize,
    /// How many were changed.
    pub updated: usize,
    /// How many went.
    pub deleted: usize,
    /// Whether guards were overruled.
    pub forced: bool,
    /// The run that it rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<String>,
    /// Which run it was.
    #[serde(flatten)]
    pub by: Cause,
}

/// What became of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceTold {
    /// The source.
    pub source: String,
    /// Why it does not get on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Reason>,
    /// Who tried to read it.
    pub actor: String,
}

/// The signed end of an organization's audit chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadTold {
    /// The organization.
    pub organization: String,
    /// How many rows the chain has.
    pub sequence: i64,
    /// The hash of the last one, in hexadecimal.
    pub hash: String,
    /// The statement that was signed.
    pub statement: String,
    /// The signature of it.
    pub signature: String,
}
