//! `argus policy eval`: policies are asked about one input document, all of them or by a query.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value;

use crate::approval::Need;
use crate::cli::policy::{Answer as Format, PolicyEval};
use crate::commands::context::{Context, Done, Failure};
use crate::commands::output::report;
use crate::commands::policies;
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::plan::{Change, OrganizationPlan};
use crate::policy::input::{INPUT_VERSION, Input};
use crate::policy::judgement::{self, Answers, Judgement};
use crate::render::excerpt::{self, Excerpts};
use crate::render::json::{self, JUDGEMENT_FORMAT, JudgementDocument};
use crate::sandbox::{INPUT_BYTES_MAX, Sandbox};

/// Asks and prints the answer.
pub async fn run(context: &Context, args: &PolicyEval) -> Done {
    let files = policies::read_as_named(&args.policies)?;
    let input = args.input.as_deref().map(read).transpose()?;
    let sandbox = policies::load(context, files).await?;
    match (&args.query, input) {
        (Some(query), input) => ask(&sandbox, input.unwrap_or_default(), query, args).await,
        (None, Some(input)) => {
            policies::must_judge(&sandbox, &args.policies.display().to_string())?;
            judge(context, &sandbox, input, args).await
        }
        (None, None) => {
            let finding = Finding::error(Code::BadSettings, "there is no input to judge");
            Err(finding.hint("give one with --input; `argus policy input` prints that of a plan").into())
        }
    }
}

/// The input, from a file or from standard input.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Failure::from(Finding::error(Code::Unreadable, format!("cannot read the input {shown}: {error}")))
    };
    let limit = INPUT_BYTES_MAX as u64 + 1;
    let mut input = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut input)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut input))
    };
    read.map_err(unreadable)?;
    if input.len() > INPUT_BYTES_MAX {
        let message = format!("the input {shown} has more than {} MiB", INPUT_BYTES_MAX / 1024 / 1024);
        return Err(Finding::error(Code::FileTooLarge, message).into());
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(&input) {
        Ok(_) => Ok(input),
        Err(error) => {
            let finding = Finding::error(Code::Syntax, format!("the input {shown} is no JSON: {error}"));
            Err(finding.hint("`argus policy input -O NAME` prints one document").into())
        }
    }
}

/// The judgement of all rules.
async fn judge(context: &Context, sandbox: &Sandbox, input: Vec<u8>, args: &PolicyEval) -> Done {
    let document: Option<Value> = serde_json::from_slice(&input).ok();
    if args.fail
        && let Some(wrong) = missing(document.as_ref())
    {
        let finding = Finding::error(Code::BadSettings, format!("this is no input document: {wrong}"));
        return Err(finding.hint("`argus policy input -O NAME` prints one; without --fail, anything is judged").into());
    }
    let organization = document.as_ref().and_then(|document| document["organization"].as_str()).unwrap_or_default();
    let answers = sandbox.judge(vec![input]).await.pop().unwrap_or(Answers::Given(Vec::new()));
    let plan = plan(organization, document.as_ref());
    let judgement = judgement::judge(sandbox.rules(), &answers, &plan, &Need::default());
    let code = match (args.fail, &judgement) {
        (true, Judgement { denials, .. }) if !denials.is_empty() => ExitCode::Denied,
        (true, Judgement { holds, .. }) if !holds.is_empty() => ExitCode::Held,
        _ => ExitCode::Done,
    };
    match args.format {
        Format::Text => report(&text(context, &judgement), code),
        Format::Json => report(&json::pretty(&told(sandbox, judgement, organization, answers)), code),
        Format::Values => {
            let finding = Finding::error(Code::BadSettings, "the format `values` is for queries");
            Err(finding.hint("name a query, or choose the format text or json").into())
        }
    }
}

/// What a document lacks that is to decide: a rule that finds nothing to look at is silent.
fn missing(document: Option<&Value>) -> Option<String> {
    let Some(fields) = document.and_then(Value::as_object) else { return Some("it is no object".into()) };
    let schema = schemars::schema_for!(Input<'_>);
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    if let Some(name) = required.into_iter().find(|name| !fields.contains_key(*name)) {
        return Some(format!("it has no `{name}`"));
    }
    if fields["version"] != INPUT_VERSION {
        return Some(format!("its version is {}, and this Argus knows {INPUT_VERSION}", fields["version"]));
    }
    (!fields["changes"].is_array() || !fields["organization"].is_string())
        .then(|| "`organization` is a text, and `changes` a list".into())
}

/// As much of the plan as the document tells: enough to point at the lines of what differs.
fn plan(organization: &str, document: Option<&Value>) -> OrganizationPlan {
    let changes = document.and_then(|document| document["changes"].as_array()).map(Vec::as_slice).unwrap_or_default();
    let changes = changes.iter().filter_map(|change| Change::deserialize(change).ok()).collect();
    OrganizationPlan { changes, ..OrganizationPlan::unchanged(&organization.into(), Vec::new()) }
}

fn text(context: &Context, judgement: &Judgement) -> String {
    let Judgement { denials, holds, warnings, tie: _ } = judgement;
    let word = match (denials.len(), holds.len()) {
        (1.., _) => "Denied",
        (0, 1..) => "Held",
        (0, 0) => "Allowed",
    };
    let findings: Vec<Finding> =
        denials.iter().chain(holds.iter().map(|hold| &hold.finding)).chain(warnings).cloned().collect();
    let mut out = excerpt::draw(&findings, &Excerpts::default(), context.paint().color);
    if !findings.is_empty() {
        out.push('\n');
    }
    out.push_str(&format!(
        "{word}: {}, {}, {}.\n",
        crate::render::text::counted(denials.len(), "denial"),
        crate::render::text::counted(holds.len(), "hold"),
        crate::render::text::counted(warnings.len(), "warning")
    ));
    out
}

fn told(sandbox: &Sandbox, judgement: Judgement, organization: &str, answers: Answers) -> JudgementDocument {
    let Judgement { denials, holds, warnings, tie: _ } = judgement;
    let names = sandbox.rules().iter().map(|rule| format!("data.{}.{}", rule.package, rule.name));
    let answers = match answers {
        Answers::Given(answers) => names.zip(answers).collect(),
        Answers::Failed(_) => BTreeMap::new(),
    };
    JudgementDocument {
        document: "argus.judgement".into(),
        format: JUDGEMENT_FORMAT,
        organization: organization.to_owned(),
        denials,
        holds,
        warnings,
        answers,
    }
}

/// The result of a query.
async fn ask(sandbox: &Sandbox, input: Vec<u8>, query: &str, args: &PolicyEval) -> Done {
    let result = sandbox.query(input, query.to_owned()).await.map_err(|error| {
        Failure::from(Finding::error(Code::PolicyFailed, format!("the query has no result: {error}")))
    })?;
    let results = result["result"].as_array().cloned().unwrap_or_default();
    let values = |result: &Value| -> Vec<Value> {
        let expressions = result["expressions"].as_array().map(Vec::as_slice).unwrap_or_default();
        expressions.iter().map(|expression| expression["value"].clone()).collect()
    };
    let code = if args.fail && results.is_empty() { ExitCode::Failed } else { ExitCode::Done };
    let text = match args.format {
        Format::Json => json::pretty(&result),
        Format::Values => results.iter().map(|result| json::pretty(&values(result))).collect(),
        Format::Text if results.is_empty() => "undefined\n".into(),
        Format::Text => results.iter().flat_map(values).map(|value| json::pretty(&value)).collect(),
    };
    report(&text, code)
}
