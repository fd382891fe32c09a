//! `argus audit verify`: whether every row is the one that was sealed, in the database or in an export.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::context::{Context, Done, Failure};
use super::super::output::print;
use super::super::snapshot::bounded;
use super::export::{manifest_of, signature_of};
use super::{kept_heads, needed, shown, signers_of};
use crate::audit::chain::{Fault, Point, Report, What};
use crate::audit::export::{self, Bad};
use crate::audit::head::{About, Untrusted, vouch};
use crate::audit::manifest::{self, Manifest};
use crate::cli::audit::{AuditFormat, VerifyAudit};
use crate::engine::verifying::{self, Discounted, Verified};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::render::excerpt::Excerpts;
use crate::render::{inert, json, text};
use crate::signature::{SIGNATURE_BYTES_MAX, Signers};

/// How many statements that do not count are told one by one.
const DISCOUNTED_TOLD: usize = 20;

/// The version of the JSON form.
const VERIFICATION_FORMAT: u32 = 1;

/// What verifying came to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verification {
    /// `argus.audit-verification`.
    pub document: String,
    /// The version of this form.
    pub format: u32,
    /// Whether nothing was found that is not as it was sealed and signed.
    pub good: bool,
    /// Counts, and the first bad row of each organization that has any.
    pub report: Report,
    /// What is to be told, also what does not make it bad.
    pub findings: Vec<Finding>,
}

/// Verifies, and tells.
pub async fn run(context: &Context, args: &VerifyAudit) -> Done {
    let signers = signers_of(context, args.signers.signers.as_deref())?;
    let signers = match &args.heads {
        // Heads that nobody can verify would only look like a proof.
        Some(_) => Some(needed(signers, "a list of those whose heads count", "--signers", "signers")?),
        None => signers,
    };
    let (kept, mut findings) = kept_heads(context, args.heads.as_deref())?;
    let only = Some(&*args.organizations).filter(|some| !some.is_empty());
    let (report, told, source) = match &args.export {
        Some(file) => {
            let (report, told) = of_export(context, file, signers.as_ref(), &kept.heads, only)?;
            (report, told, file.display().to_string())
        }
        None => {
            let database = context.database().await?;
            let verified = verifying::verify(&database.store, signers.as_ref(), &kept.heads, only).await?;
            let Verified { report, discounted, unjudged, heads: _ } = verified;
            let mut told: Vec<Finding> = report.faults.iter().map(finding).collect();
            told.extend(untrusted(&discounted));
            if unjudged > 0 {
                let heads = text::counted(unjudged, "head");
                let note = format!("{heads} in the database were not looked at: nobody said whose signatures count");
                told.push(Finding::note(Code::HeadUntrusted, note).hint("give `--signers FILE`"));
            }
            (report, told, "the database".to_owned())
        }
    };
    findings.extend(told);
    let good = !findings.iter().any(Finding::is_error);
    match args.format {
        AuditFormat::Json => {
            let document = "argus.audit-verification".into();
            print(&json::pretty(&Verification { document, format: VERIFICATION_FORMAT, good, report, findings }))?;
        }
        AuditFormat::Text => {
            context.complain(&findings, &Excerpts::default());
            print(&summary(&report, &source, good))?;
        }
    }
    Ok(if good { ExitCode::Done } else { ExitCode::Tampered })
}

fn summary(report: &Report, source: &str, good: bool) -> String {
    let Report { organizations, rows, unsealed, checkpoints, heads, faults: _ } = report;
    let rows = text::counted(*rows as usize, "row");
    let chains = text::counted(*organizations as usize, "chain");
    let mut out = match good {
        true => format!("Verified {rows} in {chains} of {source}: every row is the one that was sealed.\n"),
        false => {
            format!("{source} is not what was sealed: {rows} in {chains} are good up to the first bad one of each.\n")
        }
    };
    if *checkpoints > 0 {
        let begin = if *checkpoints == 1 { "begins" } else { "begin" };
        out += &format!("{} {begin} at a signed checkpoint.\n", text::counted(*checkpoints as usize, "chain"));
    }
    out += &match heads {
        0 => "No signed head was compared: who can write everything could have rewritten everything.\n".to_owned(),
        heads => format!("{} agreed.\n", text::counted(*heads as usize, "signed head")),
    };
    if *unsealed > 0 {
        out += &format!("{} not sealed yet.\n", text::counted(*unsealed as usize, "row"));
    }
    out
}

/// What is certain of the rows before: a head vouches for them.
fn vouched(fault: &Fault) -> String {
    match fault.vouched_until {
        0 => String::new(),
        until => format!("; a signed head vouches for all up to row {until}"),
    }
}

/// The first bad row of a chain, as a finding.
pub fn finding(fault: &Fault) -> Finding {
    let code = match fault.what {
        What::Cut | What::Rewritten => Code::AuditRewritten,
        _ => Code::AuditTampered,
    };
    let message = format!("{}: {}{}", shown(&fault.organization), fault.message(), vouched(fault));
    let finding = Finding::error(code, message);
    match fault.what {
        What::Beginning => finding.hint("checkpoints count only with the list of those who sign: `--signers FILE`"),
        _ => finding,
    }
}

/// What does not count: what was changed is an error, what only proves nothing is a warning.
pub fn untrusted(discounted: &[Discounted]) -> Vec<Finding> {
    let told = |each: &Discounted| {
        let message = format!("{} does not count: {}", inert::line(&each.what), inert::line(each.why.why()));
        match each.why {
            Untrusted::Changed(_) => Finding::error(Code::HeadUntrusted, message),
            Untrusted::Worthless(_) => Finding::warning(Code::HeadUntrusted, message),
        }
    };
    let (mut bad, mut worthless): (Vec<Finding>, Vec<Finding>) =
        discounted.iter().map(told).partition(Finding::is_error);
    for many in [&mut bad, &mut worthless] {
        let more = many.len().saturating_sub(DISCOUNTED_TOLD);
        if more > 0 {
            many.truncate(DISCOUNTED_TOLD);
            let severity = many[0].severity;
            let message = format!("{more} more do not count");
            many.push(Finding { severity, ..Finding::warning(Code::HeadUntrusted, message) });
        }
    }
    bad.extend(worthless);
    bad
}

fn of_export(
    context: &Context,
    file: &Path,
    signers: Option<&Signers>,
    kept: &verifying::KeptHeads,
    only: Option<&[String]>,
) -> Result<(Report, Vec<Finding>), Failure> {
    if only.is_some() {
        let finding = Finding::error(Code::BadSettings, "an export is verified as a whole");
        return Err(Failure::from(finding.hint("leave out --organization")));
    }
    let mut told = Vec::new();
    let manifest = match manifest(context, file, signers, &mut told) {
        Ok(manifest) => manifest,
        Err(finding) => return Ok((Report::default(), vec![*finding])),
    };
    let made: Option<DateTime<Utc>> = DateTime::parse_from_rfc3339(&manifest.at).ok().map(|at| at.with_timezone(&Utc));
    let mut heads: BTreeMap<Arc<str>, Vec<Point>> = BTreeMap::new();
    if let Some(signers) = signers {
        let mut discounted = Vec::new();
        let lines = kept.iter().map(|(line, signed)| (format!("line {line}"), signed));
        let judging = (signers, Some(&*manifest.database), context.now());
        let trusted = verifying::trust(lines, About::Head, judging, &mut discounted);
        told.extend(untrusted(&discounted));
        let asked: Option<Vec<&str>> = manifest.filters.get("organizations").map(|names| names.split(',').collect());
        for (organization, points) in trusted {
            // Heads of what the export is not about, or of what came after it, say nothing of it.
            if asked.as_ref().is_some_and(|asked| !asked.contains(&&*organization)) {
                continue;
            }
            let before = points.into_iter().filter(|(_, at)| made.is_none_or(|made| *at <= made));
            let before: Vec<Point> = before.map(|(point, _)| point).collect();
            if !before.is_empty() {
                heads.insert(organization, before);
            }
        }
    }
    let unreadable = |error: std::io::Error| {
        Failure::from(Finding::error(Code::Unreadable, format!("cannot read {}: {error}", file.display())))
    };
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let checked = export::verify(std::io::BufReader::new(opened), &manifest, &heads).map_err(unreadable)?;
    told.extend(checked.bad.iter().map(bad));
    Ok((checked.report, told))
}

fn bad(bad: &Bad) -> Finding {
    let Bad { line, fault, message } = bad;
    let at = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    let of = fault.as_ref().map(|fault| format!("{}: ", shown(&fault.organization))).unwrap_or_default();
    let rewritten = fault.as_ref().is_some_and(|fault| matches!(fault.what, What::Cut | What::Rewritten));
    let code = if rewritten { Code::AuditRewritten } else { Code::ExportTampered };
    Finding::error(code, format!("{at}{of}{message}"))
}

/// The manifest of an export, if it can be read and nobody changed it.
fn manifest(
    context: &Context,
    file: &Path,
    signers: Option<&Signers>,
    told: &mut Vec<Finding>,
) -> Result<Manifest, Box<Finding>> {
    let path = manifest_of(file);
    let fault = |why: String| {
        let message = format!("the manifest {} cannot be used: {why}", path.display());
        Box::new(
            Finding::error(Code::ExportTampered, message).hint("it was written beside the export: keep both together"),
        )
    };
    let text = bounded(&path, manifest::BYTES_MAX).map_err(fault)?;
    let manifest = Manifest::read(&text).map_err(fault)?;
    let Some(signers) = signers else {
        let note = "nobody said whose signature of the manifest counts: whoever wrote the file could have written both";
        told.push(Finding::note(Code::HeadUntrusted, note).hint("give `--signers FILE`"));
        return Ok(manifest);
    };
    let at = DateTime::parse_from_rfc3339(&manifest.at).map_err(|error| fault(error.to_string()))?.with_timezone(&Utc);
    let signature = match bounded(&signature_of(file), SIGNATURE_BYTES_MAX as u64) {
        Ok(signature) => signature,
        Err(_) if manifest.key.is_none() => {
            let message = "the manifest is not signed";
            told.push(Finding::warning(Code::HeadUntrusted, message).hint("export with `--sign-key FILE`"));
            return Ok(manifest);
        }
        Err(why) => return Err(fault(format!("its signature {} cannot be read: {why}", signature_of(file).display()))),
    };
    match vouch(signers, text.as_bytes(), &signature, at, context.now()) {
        Ok(signer) if Some(&signer.key) == manifest.key.as_ref() => {}
        Ok(signer) => return Err(fault(format!("it names another key than {}, which signed it", signer.key))),
        Err(Untrusted::Changed(why)) => return Err(fault(why)),
        Err(Untrusted::Worthless(why)) => {
            let message = format!("the signature of the manifest does not count: {why}");
            told.push(Finding::warning(Code::HeadUntrusted, message));
        }
    }
    Ok(manifest)
}
