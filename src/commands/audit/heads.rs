//! `argus audit heads`: the signed ends of the chains, and signing them now.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::context::{Context, Done};
use super::super::output::{print, report};
use super::{key_of, needed, shown, signers_of, torn};
use crate::audit::head::{About, Signed, Statement};
use crate::audit::hex;
use crate::cli::audit::{AuditFormat, Heads};
use crate::engine::sealing;
use crate::exit_code::ExitCode;
use crate::render::excerpt::Excerpts;
use crate::render::json::ListDocument;
use crate::render::{inert, json, table, text};
use crate::store::audit::Filter;

/// A head, and what is to be thought of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HeadItem {
    /// The organization; empty for what all share.
    pub organization: String,
    /// Where its chain ended.
    pub sequence: i64,
    /// The link there, lower-case hex.
    pub hash: String,
    /// When it was signed.
    pub at: String,
    /// The fingerprint of the key.
    pub key: String,
    /// Whose key it is; none if nobody looked, or if it does not count.
    pub signer: Option<String>,
    /// Why it does not count.
    pub fault: Option<String>,
    /// What was signed.
    pub statement: String,
    /// The signature.
    pub signature: String,
}

/// Lists heads, or signs them.
pub async fn run(context: &Context, args: &Heads) -> Done {
    let signers = signers_of(context, args.signers.signers.as_deref())?;
    let database = context.database().await?;
    if args.sign {
        let key = needed(key_of(context, args.sign_key.as_deref())?, "a key to sign with", "--sign-key", "signKey")?;
        let file = context.audit().heads.as_deref();
        let signed = sealing::sign_heads(&database.store, &key, file).await?;
        context.complain(&torn(context, &signed).into_iter().collect::<Vec<_>>(), &Excerpts::default());
        let busy = if signed.busy { " Somebody else is signing." } else { "" };
        let heads = text::counted(signed.heads.len(), "head");
        let at = file.map(Path::display).map(|file| format!(", also in {file}")).unwrap_or_default();
        return report(&format!("Signed {heads} with {}{at}.{busy}\n", key.fingerprint()), ExitCode::Done);
    }
    let filter = Filter { organizations: args.organizations.clone(), ..Filter::default() };
    let mut planning = database.store.planning().await?;
    let (heads, count) = planning.heads(&filter, args.limit).await?;
    let (id, now) = planning.here().await?;
    let items: Vec<HeadItem> = heads
        .into_iter()
        .map(|signed| item(signed, |signed| signers.as_ref().map(|signers| signed.judge(signers, Some(&id), now))))
        .collect();
    match args.format {
        AuditFormat::Json => print(&json::pretty(&ListDocument::new("argus.audit-heads", items)))?,
        AuditFormat::Text => {
            let shown = items.len();
            print(&table::table(&HEADER.map(String::from), &items.iter().map(cells).collect::<Vec<_>>()))?;
            if count > shown as i64 {
                print(&format!("These are the newest {shown} of {count}.\n"))?;
            }
        }
    }
    Ok(ExitCode::Done)
}

const HEADER: [&str; 6] = ["AT", "ORGANIZATION", "SEQUENCE", "HASH", "KEY", "SIGNER"];

type Judged = Result<(Statement, crate::signature::Signer), crate::audit::head::Untrusted>;

fn item(signed: Signed, judge: impl Fn(&Signed) -> Option<Judged>) -> HeadItem {
    let judged = judge(&signed);
    let said = Statement::read(&signed.statement);
    let (signer, fault) = match (judged, &said) {
        (_, Err(why)) => (None, Some(why.clone())),
        (_, Ok(said)) if said.statement != About::Head => (None, Some("it is no head".into())),
        (None, _) => (None, None),
        (Some(Ok((_, signer))), _) => (Some(signer.name), None),
        (Some(Err(untrusted)), _) => (None, Some(untrusted.why().to_owned())),
    };
    let Signed { statement, signature } = signed;
    match said {
        Ok(Statement { organization, sequence, hash, at, key, .. }) => {
            HeadItem { organization, sequence, hash: hex(&hash), at, key, signer, fault, statement, signature }
        }
        Err(_) => {
            let (organization, hash, at, key) = Default::default();
            HeadItem { organization, sequence: 0, hash, at, key, signer, fault, statement, signature }
        }
    }
}

fn cells(item: &HeadItem) -> Vec<String> {
    let HeadItem { organization, sequence, hash, at, key, signer, fault, .. } = item;
    let signer = match (signer, fault) {
        (_, Some(fault)) => format!("does not count: {}", inert::line(fault)),
        (Some(signer), None) => inert::line(signer),
        (None, None) => "not looked at".into(),
    };
    let hash = hash.get(..12).unwrap_or(hash).to_owned();
    vec![at.clone(), shown(organization), sequence.to_string(), hash, inert::line(key), signer]
}
