//! Sealing: audit rows get their links, and ends of chains are signed.
//!
//! One sealer works at a time; whoever finds another at work goes home. Each batch is one transaction, so that a chain is
//! always whole, wherever somebody was interrupted.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::audit::NAMESPACE;
use crate::audit::head::{About, LINE_BYTES_MAX, Signed, Statement, moment};
use crate::failpoint::failpoint;
use crate::signature::ssh::SigningKey;
use crate::store::Store;
use crate::store::chain::{Batch, Prunable};
use crate::store::error::StoreError;

/// What sealing came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// How many rows were sealed.
    pub rows: usize,
    /// Whether somebody else is at it, who will seal the rest.
    pub busy: bool,
}

/// Seals all that waits.
#[tracing::instrument(name = "seal audit", skip_all, fields(argus.rows = tracing::field::Empty))]
pub async fn seal(store: &Store) -> Result<Sealed, StoreError> {
    let mut sealed = Sealed::default();
    loop {
        match store.seal_batch().await? {
            Batch::Busy => return Ok(Sealed { busy: true, ..sealed }),
            Batch::Sealed(0) => {
                tracing::Span::current().record("argus.rows", sealed.rows);
                return Ok(sealed);
            }
            Batch::Sealed(rows) => sealed.rows += rows,
        }
    }
}

/// What signing came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedHeads {
    /// What was signed.
    pub heads: Vec<Signed>,
    /// Whether somebody else is at it.
    pub busy: bool,
    /// How many bytes of an interrupted write were taken off the end of the file.
    pub torn: usize,
}

/// Why heads were not signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key does not sign.
    #[error("the key cannot sign: {0}")]
    Key(String),
    /// The file cannot be written.
    #[error("the heads cannot be written to {file}: {source}")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Signs the end of every chain that has moved since it was signed last. The file comes before the database: what the
/// database has forgotten is signed again, while what the file does not hold would be missed for ever.
#[tracing::instrument(name = "sign heads", skip_all)]
pub async fn sign_heads(store: &Store, key: &SigningKey, file: Option<&Path>) -> Result<SignedHeads, SigningError> {
    let Some(signing) = store.signing().await? else {
        return Ok(SignedHeads { busy: true, ..SignedHeads::default() });
    };
    let mut heads = Vec::with_capacity(signing.unsigned.len());
    for end in &signing.unsigned {
        let statement = Statement {
            statement: About::Head,
            database: signing.database.clone(),
            organization: end.organization.clone(),
            sequence: end.sequence,
            hash: end.hash,
            at: moment(signing.now),
            key: key.fingerprint(),
        };
        heads.push(sign(key, &statement)?);
    }
    failpoint("seal.heads_after_sign", "");
    let mut torn = 0;
    if let Some(path) = file.filter(|_| !heads.is_empty()) {
        let failed = |source| SigningError::File { file: path.display().to_string(), source };
        torn = append(path, &heads).map_err(failed)?;
    }
    failpoint("seal.heads_after_file", "");
    signing.keep(&key.fingerprint(), &heads).await?;
    Ok(SignedHeads { heads, busy: false, torn })
}

fn sign(key: &SigningKey, statement: &Statement) -> Result<Signed, SigningError> {
    let statement = statement.text();
    let signature = key.sign(NAMESPACE, statement.as_bytes()).map_err(SigningError::Key)?;
    Ok(Signed { statement, signature })
}

/// Appends heads to their file, which only its owner may read. A line that an interrupted write has left without its end
/// is taken off before; gives how many bytes that were.
fn append(path: &Path, heads: &[Signed]) -> std::io::Result<usize> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let torn = torn_at_end(&mut file)?;
    let end = file.seek(SeekFrom::End(0))? - torn as u64;
    if torn > 0 {
        file.set_len(end)?;
    }
    file.seek(SeekFrom::Start(end))?;
    let text: String = heads.iter().map(Signed::line).collect();
    let (first, rest) = text.as_bytes().split_at(text.len() / 2);
    file.write_all(first)?;
    failpoint("seal.heads_within_file", "");
    file.write_all(rest)?;
    file.sync_all()?;
    // A new file is there only once its folder says so.
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(torn)
}

/// How many bytes stand behind the last end of a line.
fn torn_at_end(file: &mut File) -> std::io::Result<usize> {
    let length = file.metadata()?.len();
    // No line is longer than this, and so neither is a part of one.
    let from = length.saturating_sub(LINE_BYTES_MAX as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(tail.iter().rev().take_while(|byte| **byte != b'\n').count())
}

/// Drops what may go of a chain, with a signed checkpoint in its place.
pub async fn prune(
    store: &Store,
    of: &Prunable,
    key: &SigningKey,
    (database, at, actor): (&str, chrono::DateTime<chrono::Utc>, &str),
) -> Result<i64, SigningError> {
    let statement = Statement {
        statement: About::Checkpoint,
        database: database.to_owned(),
        organization: of.organization.clone(),
        sequence: of.sequence,
        hash: of.hash,
        at: moment(at),
        key: key.fingerprint(),
    };
    let signed = sign(key, &statement)?;
    Ok(store.prune(of, actor, &key.fingerprint(), &signed).await?)
}
