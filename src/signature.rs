//! Who signed a Git commit or an annotated tag, judged by lists of signers that stand outside the repository.
//!
//! The yardstick is `git verify-commit` with `gpg.ssh.allowedSignersFile`, `gpg.ssh.revocationFile` and gpg. What it
//! refuses is refused here. On purpose, some of what it takes is refused as well:
//!
//! - RSA below 2,048 bits, DSA and Elgamal, whatever the list says; of SSH also RSA above 4,096 bits;
//! - OpenPGP signatures, and bindings of keys to user ids and subkeys to keys, that were made with MD5, SHA-1, RIPEMD-160 or
//!   SHA-224;
//! - OpenPGP keys whose flags do not say that they sign, and signatures with a critical part that is not understood;
//! - an OpenPGP signature from the future (five minutes are let through);
//! - a commit that claims to be from the future is judged by today's standing of its SSH key, not by that of the future;
//! - SSH certificates (`cert-authority`), binary lists of revoked SSH keys and X.509: they are not understood;
//! - times in a list of allowed signers that do not end in `Z`: they would mean something else on another machine.
//!
//! In one thing it takes more: where several lines of a list have the same key, one that lets it sign is enough, while Git
//! asks the first of them alone.
//!
//! As with Git, who signed is not compared with who the commit says that its author or committer is: anybody can write any
//! name there. As with Git, an SSH key is judged at the moment that the commit names, and an OpenPGP key at the moment of
//! its signature *and* now: once it has expired, what it signed before counts only after its holder has prolonged it.

mod allowed;
mod openpgp;
pub mod ssh;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};

/// What Git makes SSH signatures for.
pub const NAMESPACE: &str = "git";

/// The longest signature, armour included.
pub const SIGNATURE_BYTES_MAX: usize = 16_384;

/// The longest signed text: a commit without its signature.
pub const PAYLOAD_BYTES_MAX: usize = 4_194_304;

/// The largest list of signers.
pub const FILE_BYTES_MAX: usize = 4_194_304;

/// The most keys of all lists together.
pub const KEYS_MAX: usize = 10_000;

/// How far the clock of whoever signs may be ahead.
pub const CLOCK_SKEW_SECONDS_MAX: i64 = 300;

/// Whom commits may be signed by.
#[derive(Clone, Debug, Default)]
pub struct Signers {
    people: Keys,
    forges: Vec<(String, Keys)>,
    /// Fingerprints of SSH keys that count no more.
    revoked: BTreeSet<String>,
}

/// Keys of one standing.
#[derive(Clone, Debug, Default)]
struct Keys {
    ssh: Vec<allowed::Entry>,
    openpgp: Vec<openpgp::Cert>,
}

/// What was signed, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The commit without its signature.
    pub payload: &'a [u8],
    /// The signature as it stands in the commit; empty if there is none.
    pub signature: &'a [u8],
    /// When the commit says that it was made.
    pub committed_at: DateTime<Utc>,
    /// Now.
    pub judged_at: DateTime<Utc>,
    /// Whether the commit has more than one parent.
    pub is_merge: bool,
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The principal, the user id of the OpenPGP certificate, or the forge.
    pub name: String,
    /// The fingerprint of the key: `SHA256:...` for SSH, upper-case hex for OpenPGP, there of the very (sub)key.
    pub key: String,
    /// Whether a forge signed, for a merge that it made itself.
    pub by_forge: bool,
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no signature.
    #[error("it is not signed")]
    Unsigned,
    /// No list has the key.
    #[error("it is signed with the key {key}, which no list of signers has")]
    Unknown {
        /// Its fingerprint, or for OpenPGP perhaps its key id.
        key: String,
    },
    /// The signature does not belong to this text.
    #[error("its signature with the key {key} does not belong to it: one of both was changed")]
    Forged {
        /// The fingerprint of the key that it claims.
        key: String,
    },
    /// The key, or the signature, has expired.
    #[error("the key {key} counts only until {}", seconds(.at))]
    Expired {
        /// The fingerprint.
        key: String,
        /// Until when it counted.
        at: DateTime<Utc>,
    },
    /// The key, or the signature, does not count yet.
    #[error("the key {key} counts only from {}", seconds(.at))]
    NotYetValid {
        /// The fingerprint.
        key: String,
        /// From when on.
        at: DateTime<Utc>,
    },
    /// The signature claims to be from the future.
    #[error("its signature with the key {key} claims to be of {}, which is in the future", seconds(.at))]
    FromTheFuture {
        /// The fingerprint.
        key: String,
        /// When it claims to have been made.
        at: DateTime<Utc>,
    },
    /// The key was revoked.
    #[error("the key {key} was revoked")]
    Revoked {
        /// The fingerprint.
        key: String,
    },
    /// The signature was made for something else.
    #[error("its signature was made for `{0}` and not for `{NAMESPACE}`")]
    WrongNamespace(String),
    /// The list lets the key sign other things only.
    #[error("the list of signers does not let the key {key} sign for `{NAMESPACE}`")]
    NotForGit {
        /// The fingerprint.
        key: String,
    },
    /// The OpenPGP key is not one that signs.
    #[error("the key {key} is not one that signs: {reason}")]
    NotForSigning {
        /// The fingerprint.
        key: String,
        /// What is missing.
        reason: &'static str,
    },
    /// What it was made with is broken.
    #[error("its signature proves nothing: {0}")]
    Weak(String),
    /// A forge signed what is no merge.
    #[error("it is signed by {forge} (key {key}), whose signature counts for merge commits alone")]
    ForgeOnly {
        /// What the forge is called.
        forge: String,
        /// The fingerprint.
        key: String,
    },
    /// A forge signed a merge that holds something of its own.
    #[error(
        "it is signed by {forge} (key {key}), whose signature counts for what merging its two parents makes, and it holds something else"
    )]
    ForgeAdded {
        /// What the forge is called.
        forge: String,
        /// The fingerprint.
        key: String,
    },
    /// The signature of another tag.
    #[error("{0}")]
    OtherTag(String),
    /// A sort of signature that is not understood.
    #[error("its signature is of a sort that is not verified: {0}")]
    Unsupported(String),
    /// The signature cannot be read.
    #[error("its signature cannot be read: {0}")]
    Garbled(String),
}

fn seconds(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Fault {
    /// What a person should know of it. The subject is the commit or the tag.
    pub fn finding(&self, subject: &str) -> Finding {
        Finding::error(self.code(), self.to_string()).about(subject).hint(self.hint())
    }

    fn hint(&self) -> &'static str {
        match self {
            Fault::Unsigned => "sign it: git commit --amend --no-edit -S",
            Fault::Unknown { .. } => "add the key to a list of signers on the machine, if you know whose it is",
            Fault::NotForSigning { .. } => "export the certificate anew, or sign with another key",
            Fault::Forged { .. } => "find out who made it; git verify-commit says the same",
            Fault::Expired { .. } => "sign with a key that is in use, or have the key prolonged in the list",
            Fault::NotYetValid { .. } | Fault::FromTheFuture { .. } => "set the clock of whoever signed, and sign anew",
            Fault::Revoked { .. } => "sign with another key, and look at what this one has signed",
            Fault::WrongNamespace(_) => "let Git sign: git commit --amend --no-edit -S",
            Fault::NotForGit { .. } => "write namespaces=\"git\" into its line, if it is meant for commits",
            Fault::Weak(_) => "sign with another key; ssh-ed25519 is a good one",
            Fault::ForgeOnly { .. } => "sign on a machine of your own, or merge with a merge commit",
            Fault::ForgeAdded { .. } => "merge on a machine of your own, and sign that",
            Fault::OtherTag(_) => "find out who moved the tag; sign a tag of this name",
            Fault::Unsupported(_) => "sign with a plain SSH key or with OpenPGP",
            Fault::Garbled(_) => "sign anew: git commit --amend --no-edit -S",
        }
    }

    /// The code of the finding that it becomes.
    pub fn code(&self) -> Code {
        match self {
            Fault::Unsigned => Code::Unsigned,
            Fault::Unknown { .. } | Fault::NotForSigning { .. } => Code::UnknownSigner,
            Fault::Forged { .. } => Code::ForgedSignature,
            Fault::Expired { .. } => Code::SignerExpired,
            Fault::NotYetValid { .. } | Fault::FromTheFuture { .. } => Code::SignerNotYetValid,
            Fault::Revoked { .. } => Code::SignerRevoked,
            Fault::WrongNamespace(_) | Fault::NotForGit { .. } => Code::WrongNamespace,
            Fault::Weak(_) => Code::WeakSignature,
            Fault::Garbled(_) => Code::GarbledSignature,
            Fault::Unsupported(_) => Code::UnsupportedSignature,
            Fault::ForgeOnly { .. } | Fault::ForgeAdded { .. } => Code::ForgeSigned,
            Fault::OtherTag(_) => Code::ForgedSignature,
        }
    }
}

/// A signature that was read.
enum Block {
    Ssh(Box<ssh::Signature>),
    OpenPgp(openpgp::Signature),
}

impl Block {
    /// Reads what stands in the commit. What follows a block is no part of any signature, and so is refused.
    fn read(signature: &[u8]) -> Result<Block, Fault> {
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Err(Fault::Garbled(format!("it has more than {SIGNATURE_BYTES_MAX} bytes")));
        }
        let text = str::from_utf8(signature).map_err(|_| Fault::Garbled("it is no text".into()))?.trim_end();
        let is = |what: &str| text.starts_with(&format!("-----BEGIN {what}-----"));
        match text {
            "" => Err(Fault::Unsigned),
            _ if is("SSH SIGNATURE") => ssh::Signature::read(text).map(Box::new).map(Block::Ssh),
            _ if is("PGP SIGNATURE") => openpgp::Signature::read(text).map(Block::OpenPgp),
            _ if is("PGP MESSAGE") => Err(Fault::Unsupported("an OpenPGP message".into())),
            _ if is("SIGNED MESSAGE") => Err(Fault::Unsupported("X.509".into())),
            _ => Err(Fault::Garbled("it is neither of SSH nor of OpenPGP".into())),
        }
    }
}

impl Keys {
    fn len(&self) -> usize {
        self.ssh.len() + self.openpgp.len()
    }

    /// Whose key it is, as name and fingerprint; nothing if it is none of these.
    fn verify(&self, block: &Block, signed: &Signed<'_>) -> Option<Result<(String, String), Fault>> {
        match block {
            Block::Ssh(signature) => {
                let at = standing_at(signed);
                let text = allowed::Text { namespace: NAMESPACE, payload: signed.payload, at };
                allowed::verify(&self.ssh, signature, &text)
            }
            Block::OpenPgp(signature) => openpgp::verify(&self.openpgp, signature, signed),
        }
    }
}

impl Signers {
    /// Whether nobody may sign.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys there are, of people and of forges.
    pub fn len(&self) -> usize {
        self.people.len() + self.forges.iter().map(|(_, keys)| keys.len()).sum::<usize>()
    }

    /// Adds a list of OpenSSH's form `allowed_signers`, which ssh-keygen(1) describes. Either the whole list or nothing.
    pub fn add_allowed_signers(&mut self, file: &str, text: &str) -> Result<(), Vec<Finding>> {
        let entries = small(file, text.len()).and_then(|()| allowed::read(file, text))?;
        self.room(file, entries.len())?;
        self.people.ssh.extend(entries);
        Ok(())
    }

    /// Adds OpenPGP certificates, as `gpg --export` writes them, armored or not.
    pub fn add_openpgp(&mut self, file: &str, bytes: &[u8]) -> Result<(), Vec<Finding>> {
        let certs = small(file, bytes.len()).and_then(|()| openpgp::read(file, bytes))?;
        self.room(file, certs.len())?;
        self.people.openpgp.extend(certs);
        Ok(())
    }

    /// Adds SSH keys that count no more, whoever lists them: one public key a line.
    pub fn add_revoked_ssh(&mut self, file: &str, bytes: &[u8]) -> Result<(), Vec<Finding>> {
        small(file, bytes.len())?;
        if bytes.starts_with(b"SSHKRL\n") {
            let fault = bad(file, 0, "this is a binary list of revoked keys, which is not understood");
            return Err(vec![fault.hint("list the public keys themselves, one a line")]);
        }
        let keys = allowed::read_keys(file, bytes)?;
        self.room(file, keys.len())?;
        self.revoked.extend(keys.iter().map(ssh::Key::fingerprint));
        Ok(())
    }

    /// Adds the keys with which a forge signs the commits that it makes itself: public SSH keys, one a line, or OpenPGP
    /// certificates. They count for merge commits alone: there the forge vouches for nothing but that it merged, while an
    /// ordinary commit that somebody wrote in its editor is as good as their password.
    pub fn add_forge(&mut self, name: &str, file: &str, bytes: &[u8]) -> Result<(), Vec<Finding>> {
        small(file, bytes.len())?;
        let keys = if openpgp::looks_like(bytes) {
            Keys { openpgp: openpgp::read(file, bytes)?, ssh: Vec::new() }
        } else {
            Keys { ssh: allowed::read_unbounded(name, file, bytes)?, openpgp: Vec::new() }
        };
        self.room(file, keys.len())?;
        self.forges.push((name.to_owned(), keys));
        Ok(())
    }

    fn room(&self, file: &str, more: usize) -> Result<(), Vec<Finding>> {
        if self.len() + self.revoked.len() + more <= KEYS_MAX {
            return Ok(());
        }
        Err(vec![bad(file, 0, format!("with this list there are more than {KEYS_MAX} keys"))])
    }

    /// Who signed a file for a use (`argus-snapshot`), with an SSH key of a list. It is judged by the keys as they stand now.
    pub fn verify_file(
        &self,
        namespace: &str,
        payload: &[u8],
        signature: &str,
        now: DateTime<Utc>,
    ) -> Result<Signer, Fault> {
        let signature = match Block::read(signature.as_bytes())? {
            Block::Ssh(signature) => signature,
            Block::OpenPgp(_) => return Err(Fault::Unsupported("OpenPGP".into())),
        };
        if signature.namespace() != namespace {
            return Err(Fault::WrongNamespace(signature.namespace().escape_default().to_string()));
        }
        let key = signature.key().fingerprint();
        let text = allowed::Text { namespace, payload, at: now };
        let verdict = allowed::verify(&self.people.ssh, &signature, &text).unwrap_or(Err(Fault::Unknown { key }))?;
        Ok(Signer { name: verdict.0, key: verdict.1, by_forge: false })
    }

    /// Who signed it, or why that cannot be said.
    pub fn verify(&self, signed: &Signed<'_>) -> Result<Signer, Fault> {
        let block = Block::read(signed.signature)?;
        if signed.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Fault::Garbled(format!("what it is for has more than {PAYLOAD_BYTES_MAX} bytes")));
        }
        let key = match &block {
            Block::Ssh(signature) => {
                if signature.namespace() != NAMESPACE {
                    return Err(Fault::WrongNamespace(signature.namespace().escape_default().to_string()));
                }
                signature.key().fingerprint()
            }
            Block::OpenPgp(signature) => signature.issuer().to_owned(),
        };
        if self.revoked.contains(&key) {
            return Err(Fault::Revoked { key });
        }
        if let Some(verdict) = self.people.verify(&block, signed) {
            return verdict.map(|(name, key)| Signer { name, key, by_forge: false });
        }
        for (forge, keys) in &self.forges {
            let Some(verdict) = keys.verify(&block, signed) else { continue };
            let (_, key) = verdict?;
            return match signed.is_merge {
                true => Ok(Signer { name: forge.clone(), key, by_forge: true }),
                false => Err(Fault::ForgeOnly { forge: forge.clone(), key }),
            };
        }
        Err(Fault::Unknown { key })
    }
}

/// Something wrong in a list of signers; line 0 stands for all of it.
fn bad(file: &str, line: usize, message: impl Into<String>) -> Finding {
    let line = u32::try_from(line).unwrap_or(u32::MAX);
    Finding::error(Code::BadSigners, message).at(Origin::new(&Arc::from(file), Position::new(line, 0)))
}

fn small(file: &str, bytes: usize) -> Result<(), Vec<Finding>> {
    if bytes <= FILE_BYTES_MAX {
        return Ok(());
    }
    Err(vec![bad(file, 0, format!("{bytes} bytes; a list of signers has at most {FILE_BYTES_MAX}"))])
}

/// The moment at which the standing of an SSH key counts.
fn standing_at(signed: &Signed<'_>) -> DateTime<Utc> {
    signed.committed_at.min(signed.judged_at)
}

/// The latest moment that is not the future.
fn latest(signed: &Signed<'_>) -> DateTime<Utc> {
    signed.judged_at + TimeDelta::seconds(CLOCK_SKEW_SECONDS_MAX)
}
