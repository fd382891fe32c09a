//! `argus approve`: say yes to a plan that is held, as somebody whom the settings list and who can be verified.

use std::borrow::Cow;
use std::path::Path;

use chrono::{DateTime, Duration, DurationRound as _, Utc};

use super::context::{Context, Database, Done, Failure};
use super::output::{print, report};
use super::{apply, held};
use crate::approval::statement::{STATEMENT_BYTES_MAX, Statement};
use crate::approval::{Approver, End, LASTS_MAX, LASTS_MIN, Signed};
use crate::cli::{Approve, Face};
use crate::engine::approving::{self, ApprovingError, Waiting};
use crate::exit_code::ExitCode;
use crate::identity::SIGNATURE_BYTES_MAX;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::secret;
use crate::model::time::parse_duration;
use crate::render::{inert, text};
use crate::store::approvals::{Approving, NewApproval, Which};

/// The longest comment.
const COMMENT_CHARS_MAX: usize = 1_000;

/// Records an approval, prints a statement for one, or takes one back.
pub async fn run(context: &Context, args: &Approve) -> Done {
    if let Some(number) = args.revoke {
        return revoke(context, number).await;
    }
    let comment = args.comment.as_deref().map(checked_comment).transpose()?;
    let comment = comment.as_deref();
    let database = context.database().await?;
    if let (Some(file), Some(signature)) = (&args.signed, &args.signature) {
        return record_signed(context, &database, file, signature, comment).await;
    }
    let lasts = lasts(&args.expires_in)?;
    let begins = args.digest.as_deref().unwrap_or_default();
    let mut approving = database.store.approving().await?;
    let waiting = approving::find(&mut approving, context.approvers(), begins, args.organization.as_deref()).await?;
    if args.statement {
        return print_statement(context, &approving, &waiting, lasts, args.approver.as_deref());
    }
    let approver = context.approvers().of_role(&approving.role).map_err(ApprovingError::from)?;
    approving::refuse_own(approver, &waiting)?;
    show(context, &mut approving, &waiting).await?;
    let expires_at = approving.now + lasts;
    // Nobody else has to wait while a person thinks.
    drop(approving);
    let question = format!("Approve this as {}? Only `yes` is taken for a yes: ", approver.name);
    if !args.auto_approve && !apply::asked(&question, "nothing was approved", "add --auto-approve")? {
        return report("Nothing was approved.\n", ExitCode::Failed);
    }
    record(context, &database, approver, &waiting, expires_at, None, comment).await
}

fn cannot(why: impl Into<String>) -> Failure {
    Failure::from(ApprovingError::Cannot(why.into()))
}

fn lasts(text: &str) -> Result<Duration, Failure> {
    let lasts = parse_duration(text).map_err(cannot)?;
    if (LASTS_MIN..=LASTS_MAX).contains(&lasts) {
        Ok(lasts)
    } else {
        Err(cannot(format!("an approval holds from a minute to 30 days, and not for {text}")))
    }
}

/// A comment that can be kept, without what looks like a secret.
fn checked_comment(text: &str) -> Result<Cow<'_, str>, Failure> {
    match text.chars().count() {
        0..=COMMENT_CHARS_MAX => Ok(secret::mask(text)),
        count => Err(cannot(format!("a comment of {count} characters; {COMMENT_CHARS_MAX} is the most"))),
    }
}

/// Shows what is approved, and what it needs.
async fn show(context: &Context, approving: &mut Approving, waiting: &[Waiting]) -> Result<(), Failure> {
    print(&held::together(approving, waiting).await?.shown(context, Face::default()))
}

/// Records an approval of each of these plans, and says what is still missing.
async fn record(
    context: &Context,
    database: &Database,
    approver: &Approver,
    waiting: &[Waiting],
    expires_at: DateTime<Utc>,
    signed: Option<&Signed>,
    comment: Option<&str>,
) -> Done {
    let each = waiting.iter().map(|waiting| NewApproval {
        organization: &waiting.plan.organization,
        plan_digest: &waiting.plan.plan_digest,
        rules_digest: &waiting.plan.rules_digest,
        expires_at,
        comment,
        signed,
    });
    let new: Vec<NewApproval<'_>> = each.collect();
    let numbers = database.store.approve(&new).await.map_err(ApprovingError::from)?;
    let mut approving = database.store.approving().await?;
    let plans = waiting.iter().map(|each| each.plan.clone()).collect();
    let now = approving::waiting(&mut approving, context.approvers(), plans).await?;
    let mut out = String::new();
    for (number, each) in numbers.iter().zip(&now) {
        out.push_str(&format!(
            "Approved as {}: {} of {}, until {}. It can be taken back: argus approve --revoke {number}\n",
            approver.name,
            text::short(&each.plan.plan_digest),
            held::shown_organization(&each.plan.organization),
            held::moment(expires_at),
        ));
        let missing = each.held.iter().filter(|held| held.missing() > 0);
        missing.for_each(|held| out.push_str(&format!("  {} still {}\n", held.finding.code, text::needs(held))));
    }
    let waiting = now.iter().filter(|each| !each.is_met()).count();
    let rolls_back = rolls_back(&mut approving, &now).await?;
    out.push_str(&match waiting {
        0 if rolls_back => {
            "Nothing is missing: `argus rollback RUN`, as whoever asked for it gave it, carries it out.\n".to_owned()
        }
        0 => "Nothing is missing: `argus apply` carries it out.\n".to_owned(),
        count => format!("Still held: {}.\n", text::counted(count, "organization")),
    });
    report(&out, ExitCode::Done)
}

/// Whether these are plans of a rollback: no manifest says what they bring.
async fn rolls_back(approving: &mut Approving, waiting: &[Waiting]) -> Result<bool, Failure> {
    let Some(first) = waiting.first() else { return Ok(false) };
    Ok(approving.plan_of(&first.plan).await?.is_some_and(|(plan, _)| plan.said.is_none()))
}

/// Prints the statement that is to be signed, and nothing else, to standard output.
fn print_statement(
    context: &Context,
    approving: &Approving,
    waiting: &[Waiting],
    lasts: Duration,
    name: Option<&str>,
) -> Done {
    let [one] = waiting else {
        return Err(cannot(format!(
            "a statement is about one organization, and this is about {}: choose with --organization",
            waiting.len()
        )));
    };
    let approvers = context.approvers();
    // Whose name it bears matters to nobody until it is signed.
    let approver = match name {
        Some(name) => approvers.named(name),
        None => approvers.of_role(&approving.role),
    };
    let approver = approver.map_err(ApprovingError::from)?;
    approving::refuse_own(approver, waiting)?;
    let issued_at = approving.now.duration_trunc(Duration::seconds(1)).unwrap_or(approving.now);
    let statement = Statement {
        database: approving.database.clone(),
        organization: one.plan.organization.clone(),
        plan_digest: one.plan.plan_digest.clone(),
        rules_digest: one.plan.rules_digest.clone(),
        approver: approver.name.clone(),
        issued_at,
        expires_at: issued_at + lasts,
    };
    report(&statement.to_string(), ExitCode::Done)
}

/// Records a statement that was signed. Whoever does that need not be its signer.
async fn record_signed(
    context: &Context,
    database: &Database,
    statement: &Path,
    signature: &Path,
    comment: Option<&str>,
) -> Done {
    let signed =
        Signed { statement: read(statement, STATEMENT_BYTES_MAX)?, signature: read(signature, SIGNATURE_BYTES_MAX)? };
    let signer = context.approvers().signer(&signed.statement, &signed.signature);
    let (said, approver) = signer.map_err(ApprovingError::from)?;
    let mut approving = database.store.approving().await?;
    if said.database != approving.database {
        return Err(cannot("the statement is about another database"));
    }
    if said.expires_at <= approving.now {
        return Err(cannot(format!("the statement has ended at {}", held::moment(said.expires_at))));
    }
    let found =
        approving::find(&mut approving, context.approvers(), &said.plan_digest, Some(&said.organization)).await?;
    let waiting: Vec<Waiting> = found.into_iter().filter(|each| each.plan.rules_digest == said.rules_digest).collect();
    if waiting.is_empty() {
        return Err(cannot("the plan is held by other rules by now: look at it again, and sign another statement"));
    }
    approving::refuse_own(approver, &waiting)?;
    show(context, &mut approving, &waiting).await?;
    drop(approving);
    record(context, database, approver, &waiting, said.expires_at, Some(&signed), comment).await
}

fn read(path: &Path, bytes_max: usize) -> Result<String, Failure> {
    use std::io::Read as _;
    let shown = path.display();
    let mut text = String::new();
    // One byte more than may be, so that what is too long shows as that.
    let read = std::fs::File::open(path).and_then(|file| file.take(bytes_max as u64 + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes > bytes_max => Err(cannot(format!("{shown} has more than {bytes_max} bytes"))),
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::from(Finding::error(Code::Unreadable, format!("cannot read {shown}: {error}")))),
    }
}

async fn revoke(context: &Context, number: i64) -> Done {
    let database = context.database().await?;
    if database.store.revoke_approval(number).await? {
        return report(&format!("Approval {number} is taken back.\n"), ExitCode::Done);
    }
    let found = database.store.approving().await?.given(&Which::Numbered(number)).await?;
    Err(cannot(match found.into_iter().next().map(|given| given.end) {
        Some(Some(End::Used { run, .. })) => {
            format!("approval {number} was used by the run {} already", inert::line(&run))
        }
        Some(Some(End::Revoked { role, at })) => {
            format!("approval {number} was taken back by {} at {} already", inert::line(&role), held::moment(at))
        }
        _ => format!("there is no approval {number}"),
    }))
}
