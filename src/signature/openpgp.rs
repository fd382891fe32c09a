//! OpenPGP signatures, and which of the listed certificates made one. The certificates themselves are read in `cert`, and
//! the crate that knows the packets has its home in these two files.

mod cert;

use std::fmt::Write as _;
use std::io::Read;

use chrono::{DateTime, Utc};
use pgp::armor::{BlockType, Dearmor, DearmorOptions};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{self, Packet, PacketParser, SignatureType, SignatureVersion, SubpacketData};
use pgp::types::{Fingerprint, KeyId};

use super::{Fault, SIGNATURE_BYTES_MAX, Signed, latest};
pub use cert::{Cert, looks_like, read};
use cert::{Part, Standing};

/// A signature that was read, of a form that may count.
#[derive(Clone, Debug)]
pub struct Signature {
    packet: packet::Signature,
    created: i64,
    issuer: String,
}

impl Signature {
    /// Reads an armored signature. It must be a single one: of several, which would count?
    pub fn read(text: &str) -> Result<Signature, Fault> {
        let garbled = |message: String| Fault::Garbled(message);
        let bytes = dearmor(text, BlockType::Signature, SIGNATURE_BYTES_MAX).map_err(garbled)?;
        let mut packets = PacketParser::new(bytes.as_slice());
        let packet = match packets.next() {
            Some(Ok(Packet::Signature(packet))) => packet,
            Some(Err(error)) => return Err(Fault::Garbled(unreadable(&error))),
            _ => return Err(Fault::Garbled("the block holds no signature".into())),
        };
        if !packets.into_inner().is_empty() {
            return Err(Fault::Garbled("the block holds more than one signature".into()));
        }
        match packet.version() {
            SignatureVersion::V4 | SignatureVersion::V6 => {}
            SignatureVersion::V2 | SignatureVersion::V3 => return Err(Fault::Weak("it is of version 3".into())),
            version => return Err(Fault::Unsupported(format!("an OpenPGP signature of version {version:?}"))),
        }
        if packet.typ() != Some(SignatureType::Binary) {
            return Err(Fault::Garbled("it is no signature of a document".into()));
        }
        if let Some(weakness) = weakness(&packet) {
            return Err(Fault::Weak(weakness));
        }
        if let Some(part) = not_understood(&packet) {
            return Err(Fault::Unsupported(format!("it holds {part}, which must be understood")));
        }
        let created = packet.created().ok_or_else(|| garbled("it does not say when it was made".into()))?;
        let by_fingerprint = packet.issuer_fingerprint().first().map(|fingerprint| hex(fingerprint.as_bytes()));
        let by_id = || packet.issuer_key_id().first().map(|id| hex(id.as_ref()));
        let issuer = by_fingerprint.or_else(by_id).ok_or_else(|| garbled("it does not name its key".into()))?;
        Ok(Signature { created: i64::from(created.as_secs()), issuer, packet })
    }

    /// The fingerprint, or else the id, of the key that it claims to be made with.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    fn may_be_by(&self, part: &Part) -> bool {
        names(&self.packet, &part.fingerprint, &part.id)
    }
}

/// Whose signature it is, as name and fingerprint; nothing if no certificate has its key.
pub fn verify(certs: &[Cert], signature: &Signature, signed: &Signed<'_>) -> Option<Result<(String, String), Fault>> {
    let parts = certs.iter().flat_map(|cert| cert.parts.iter().map(move |part| (cert, part)));
    let mut verdict = None;
    for (cert, part) in parts.filter(|(_, part)| signature.may_be_by(part)) {
        let key = hex(part.fingerprint.as_bytes());
        if !part.verifies(&signature.packet, signed.payload) {
            verdict.get_or_insert(Err(Fault::Forged { key }));
            continue;
        }
        // The same certificate may be listed twice, once before and once after it was prolonged; but one that says that
        // the key was revoked is the last word.
        match permits(cert, part, &key, signature, signed) {
            revoked @ Err(Fault::Revoked { .. }) => return Some(revoked.map(|()| (String::new(), key))),
            permitted => {
                if !matches!(verdict, Some(Ok(_))) {
                    verdict = Some(permitted.map(|()| (cert.name.clone(), key)));
                }
            }
        }
    }
    verdict
}

/// Whether a signature that this key did make counts.
fn permits(cert: &Cert, part: &Part, key: &str, signature: &Signature, signed: &Signed<'_>) -> Result<(), Fault> {
    let key = key.to_owned();
    match &part.standing {
        _ if cert.revoked => return Err(Fault::Revoked { key }),
        Standing::Revoked => return Err(Fault::Revoked { key }),
        Standing::Weak(weakness) => return Err(Fault::Weak(weakness.clone())),
        Standing::NotForSigning(reason) => return Err(Fault::NotForSigning { key, reason }),
        Standing::Good => {}
    }
    if signature.created < part.created {
        return Err(Fault::NotYetValid { key, at: moment(part.created) });
    }
    if signature.created > latest(signed).timestamp() {
        return Err(Fault::FromTheFuture { key, at: moment(signature.created) });
    }
    let lasts = signature.packet.signature_expiration_time().map_or(0, |lasts| i64::from(lasts.as_secs()));
    let own_end = (lasts > 0).then_some(signature.created + lasts);
    let ends = [cert.expires, part.expires, own_end].into_iter().flatten().min();
    let until = signature.created.max(signed.judged_at.timestamp());
    match ends {
        Some(end) if end <= until => Err(Fault::Expired { key, at: moment(end) }),
        _ => Ok(()),
    }
}

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// Fingerprints and ids as gpg writes them.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// Why a signature proves nothing whoever made it.
fn weakness(signature: &packet::Signature) -> Option<String> {
    match signature.hash_alg()? {
        HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512 => None,
        HashAlgorithm::Sha3_256 | HashAlgorithm::Sha3_512 => None,
        other => Some(format!("it was made with {other}")),
    }
}

/// A part that its maker says must be understood, and is not.
fn not_understood(signature: &packet::Signature) -> Option<&'static str> {
    let critical = signature.config()?.hashed_subpackets.iter().filter(|part| part.is_critical);
    critical.map(|part| &part.data).find_map(|data| match data {
        SubpacketData::Notation(_) => Some("a notation"),
        SubpacketData::Experimental(..) | SubpacketData::Other(..) => Some("a part of an unknown sort"),
        SubpacketData::PolicyURI(_) => Some("a policy"),
        SubpacketData::RegularExpression(_) => Some("a regular expression"),
        SubpacketData::IntendedRecipientFingerprint(_) => Some("an intended recipient"),
        _ => None,
    })
}

/// The bytes in an armored block, which must be whole and nothing but that.
fn dearmor(text: &str, what: BlockType, bytes_max: usize) -> Result<Vec<u8>, String> {
    let ends = format!("-----END {what}-----");
    if text.matches("-----BEGIN ").count() != 1 || !text.trim_end().ends_with(&ends) {
        return Err("the armor is not whole, or not alone".into());
    }
    let options = DearmorOptions::new().set_limit(bytes_max);
    let mut dearmor = Dearmor::with_options(text.as_bytes(), options);
    dearmor.read_header().map_err(|error| unreadable(&error))?;
    if dearmor.typ != Some(what) {
        return Err(format!("it is no {what}"));
    }
    let mut bytes = Vec::new();
    dearmor.read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    // The sum may be missing, but as with gpg it may not be wrong.
    match dearmor.checksum {
        Some(sum) if sum != u64::from(crc24(&bytes)) => Err("its checksum is wrong".into()),
        _ => Ok(bytes),
    }
}

/// The checksum of an armor, by RFC 9580, section 6.1.1.
fn crc24(bytes: &[u8]) -> u32 {
    const START: u32 = 0x00B7_04CE;
    const POLYNOMIAL: u32 = 0x0186_4CFB;
    bytes.iter().fold(START, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 16), |sum, _| {
            let sum = sum << 1;
            if sum & 0x0100_0000 == 0 { sum } else { sum ^ POLYNOMIAL }
        })
    })
}

/// What lies at the bottom of an error, without the layers above it.
fn unreadable(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    format!("its packets cannot be read: {}", error.to_string().lines().next().unwrap_or_default())
}

/// Whether a signature names this key as the one that made it.
fn names(signature: &packet::Signature, fingerprint: &Fingerprint, id: &KeyId) -> bool {
    signature.issuer_fingerprint().contains(&fingerprint) || signature.issuer_key_id().contains(&id)
}
