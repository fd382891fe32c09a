//! `argus audit export`: sealed rows in a file that can be verified by itself.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::super::context::{Context, Done, Failure};
use super::super::output::{report, write_file};
use super::{filter, key_of};
use crate::audit::export::write_line;
use crate::audit::head::moment;
use crate::audit::manifest::{DOCUMENT, FORMAT, Form, Manifest, ORGANIZATIONS_MAX, Part};
use crate::audit::{NAMESPACE, csv, hex};
use crate::cli::audit::{ExportForm, ExportRows};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::render::text;
use crate::store::audit::{Exported, Filter, SealedRows};

/// Where the manifest of a file stands.
pub fn manifest_of(path: &Path) -> PathBuf {
    beside(path, ".manifest.json")
}

/// Where the signature of that manifest stands.
pub fn signature_of(path: &Path) -> PathBuf {
    beside(path, ".manifest.json.sig")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// What was written.
#[derive(Default)]
struct Written {
    rows: u64,
    parts: BTreeMap<String, Part>,
    organizations: u64,
    sha256: Sha256,
}

/// Writes the rows, and what the file holds beside it.
pub async fn run(context: &Context, args: &ExportRows) -> Done {
    if std::fs::metadata(&args.output).is_ok_and(|there| !there.is_file()) {
        let message = format!("{} is there, and is no file", args.output.display());
        let hint = "an export is a file with its manifest beside it; name one";
        return Err(Failure::from(Finding::error(Code::CannotWrite, message).hint(hint)));
    }
    let filter = filter(&args.filter, context.now())?;
    let key = key_of(context, args.sign_key.as_deref())?;
    let database = context.database().await?;
    let mut planning = database.store.planning().await?;
    let (id, at) = planning.here().await?;
    let unsealed = planning.unsealed(&filter).await?;
    let form = match args.format {
        ExportForm::Ndjson => Form::Ndjson,
        ExportForm::Csv => Form::Csv,
    };
    let temporary = beside(&args.output, &format!(".{}.tmp", std::process::id()));
    let written = write(&temporary, planning.sealed(&filter), form).await;
    let written = match written {
        Ok(written) => written,
        Err(failure) => {
            let _ = std::fs::remove_file(&temporary);
            return Err(failure);
        }
    };
    let manifest = Manifest {
        document: DOCUMENT.into(),
        format: FORMAT,
        form,
        database: id,
        at: moment(at),
        key: key.as_ref().map(|key| key.fingerprint()),
        filters: filters(&filter),
        contiguous: filter.takes_whole_chains(),
        rows: written.rows,
        unsealed: u64::try_from(unsealed).unwrap_or_default(),
        sha256: written.sha256.finalize().into(),
        organization_count: written.organizations,
        organizations: if written.organizations > ORGANIZATIONS_MAX as u64 { BTreeMap::new() } else { written.parts },
    };
    let text = manifest.text();
    let signature = key.as_ref().map(|key| key.sign(NAMESPACE, text.as_bytes())).transpose().map_err(|why| {
        Failure::from(Finding::error(Code::NoAuditKey, format!("the manifest cannot be signed: {why}")))
    })?;
    std::fs::rename(&temporary, &args.output).map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        cannot_write(&args.output, &error)
    })?;
    write_file(&manifest_of(&args.output), &text, true)?;
    let signed = signature_of(&args.output);
    match &signature {
        Some(signature) => write_file(&signed, signature, true)?,
        // The signature of a file that was here before is none of this one.
        None => match std::fs::remove_file(&signed) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot_write(&signed, &error)),
            _ => {}
        },
    }
    let by = manifest.key.as_deref().map_or_else(|| "not signed".to_owned(), |key| format!("signed with {key}"));
    let waiting = match manifest.unsealed {
        0 => String::new(),
        rows => {
            let waits = text::counted(rows as usize, "row");
            format!("{waits} not sealed yet, and so not in it: `argus audit seal` seals them.\n")
        }
    };
    let rows = text::counted(manifest.rows as usize, "row");
    let organizations = text::counted(manifest.organization_count as usize, "organization");
    let file = args.output.display();
    let sha256 = hex(&manifest.sha256);
    report(
        &format!("Exported {rows} of {organizations} to {file} ({by}), SHA-256 {sha256}.\n{waiting}"),
        ExitCode::Done,
    )
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::from(Finding::error(Code::CannotWrite, format!("cannot write {}: {error}", path.display())))
}

/// Streams the rows into a file that only its owner may read.
async fn write(path: &Path, mut rows: SealedRows, form: Form) -> Result<Written, Failure> {
    let failed = |error: std::io::Error| cannot_write(path, &error);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut written = Written::default();
    let put = |file: &mut BufWriter<File>, sha256: &mut Sha256, text: &[u8]| {
        sha256.update(text);
        file.write_all(text)
    };
    if form == Form::Csv {
        put(&mut file, &mut written.sha256, csv::header().as_bytes()).map_err(failed)?;
    }
    let mut line = Vec::new();
    while let Some(batch) = rows.next().await? {
        for row in batch.rows() {
            let Exported { sequence, previous, hash, fields } = row?;
            line.clear();
            match form {
                Form::Ndjson => write_line(sequence, &previous, &hash, &fields, &mut line),
                Form::Csv => csv::write(sequence, &hex(&previous), &hex(&hash), &fields, &mut line),
            }
            put(&mut file, &mut written.sha256, &line).map_err(failed)?;
            written.rows += 1;
            let organization = String::from_utf8_lossy(fields.organization);
            match written.parts.get_mut(&*organization) {
                Some(part) => *part = Part { last: sequence, rows: part.rows + 1, hash, ..*part },
                None => {
                    written.organizations += 1;
                    // Those before it are counted; listing them all would be another export.
                    if written.organizations > ORGANIZATIONS_MAX as u64 {
                        written.parts.clear();
                    }
                    let part = Part { first: sequence, last: sequence, rows: 1, hash };
                    written.parts.insert(organization.into_owned(), part);
                }
            }
        }
    }
    file.flush().map_err(failed)?;
    file.get_ref().sync_all().map_err(failed)?;
    Ok(written)
}

fn filters(filter: &Filter) -> BTreeMap<String, String> {
    let Filter { organizations, kind, name, actor, action, run, since, until } = filter;
    let organizations = Some(organizations.join(",")).filter(|_| !organizations.is_empty());
    let times = [("since", since), ("until", until)].map(|(key, at)| (key, at.map(moment)));
    let texts = [("kind", kind), ("name", name), ("actor", actor), ("action", action), ("run", run)];
    let texts = texts.into_iter().map(|(key, text)| (key, text.clone()));
    let all = texts.chain(times).chain([("organizations", organizations)]);
    all.filter_map(|(key, text)| Some((key.to_owned(), text?))).collect()
}
