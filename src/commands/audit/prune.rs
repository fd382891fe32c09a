//! `argus audit prune`: drop rows that are old enough, with a signed checkpoint in their place.

use super::super::apply::asked;
use super::super::context::{Context, Done, Failure};
use super::super::output::{print, report};
use super::{kept_heads, key_of, needed, shown, signers_of, verify};
use crate::audit::head::{About, Signed, Statement, moment};
use crate::audit::{NAMESPACE, NO_HASH};
use crate::cli::audit::Prune;
use crate::engine::{sealing, verifying};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::render::{table, text};
use crate::store::chain::Prunable;

/// Verifies what would go, asks, and drops it.
pub async fn run(context: &Context, args: &Prune) -> Done {
    let key = needed(key_of(context, args.sign_key.as_deref())?, "a key for checkpoints", "--sign-key", "signKey")?;
    let signers = signers_of(context, args.signers.signers.as_deref())?;
    let signers = needed(signers, "a list of those whose checkpoints count", "--signers", "signers")?;
    let database = context.database().await?;
    let only = Some(&*args.organizations).filter(|some| !some.is_empty());
    let (prunable, id, now) = database.store.prunable(only).await?;
    // A checkpoint that counts for nothing would make the rest of its chain worthless.
    let trial = Statement {
        statement: About::Checkpoint,
        database: id.clone(),
        organization: String::new(),
        sequence: 1,
        hash: NO_HASH,
        at: moment(now),
        key: key.fingerprint(),
    };
    let refused = |why: &str| {
        let message = format!("a checkpoint of the key {} would not count: {why}", key.fingerprint());
        Failure::from(Finding::error(Code::NoAuditKey, message).hint("add the key to the list of signers"))
    };
    let signature = key.sign(NAMESPACE, trial.text().as_bytes()).map_err(|why| refused(&why))?;
    let trial = Signed { statement: trial.text(), signature };
    trial.judge(&signers, Some(&id), now).map_err(|why| refused(why.why()))?;
    if prunable.is_empty() {
        return report("Nothing is older than it is kept.\n", ExitCode::Done);
    }
    let (kept, _) = kept_heads(context, None)?;
    let names: Vec<String> = prunable.iter().map(|each| each.organization.clone()).collect();
    let verified = verifying::verify(&database.store, Some(&signers), &kept.heads, Some(&names)).await?;
    let mut findings: Vec<Finding> = verified.report.faults.iter().map(verify::finding).collect();
    findings.extend(verify::untrusted(&verified.discounted).into_iter().filter(Finding::is_error));
    if !findings.is_empty() {
        let hint = "nothing was dropped: these rows are evidence";
        findings.iter_mut().for_each(|finding| finding.hint = Some(hint.into()));
        return Err(Failure::from_findings(findings).with_code(ExitCode::Tampered));
    }
    let rows: i64 = prunable.iter().map(|each| each.rows).sum();
    print(&table::table(&HEADER.map(String::from), &prunable.iter().map(cells).collect::<Vec<_>>()))?;
    let what = format!("{} of {}", text::counted(rows as usize, "row"), text::counted(prunable.len(), "organization"));
    if args.plan {
        return report(&format!("{what} would go; nothing was dropped.\n"), ExitCode::Done);
    }
    let question = format!("Drop {what} for ever? Only `yes` is taken for a yes: ");
    if !args.auto_approve && !asked(&question, "nothing was dropped", "add --auto-approve")? {
        return report("Nothing was dropped.\n", ExitCode::Failed);
    }
    let actor = context.actor();
    let mut dropped = 0;
    for each in &prunable {
        dropped += sealing::prune(&database.store, each, &key, (&id, now, &actor)).await?;
    }
    let dropped = text::counted(dropped as usize, "row");
    report(&format!("Dropped {dropped}; signed checkpoints stand in for them.\n"), ExitCode::Done)
}

const HEADER: [&str; 4] = ["ORGANIZATION", "KEPT DAYS", "ROWS", "UP TO"];

fn cells(of: &Prunable) -> Vec<String> {
    vec![shown(&of.organization), of.retention_days.to_string(), of.rows.to_string(), of.sequence.to_string()]
}
