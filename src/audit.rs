//! The audit that can be trusted: what a row's canonical text is, how the rows of an organization are chained, what is
//! signed of a chain, and how an export tells that it is whole.
//!
//! Everything here is a function of values. `docs/audit.md` describes every form, so that a stranger can check it.

pub mod chain;
pub mod csv;
pub mod export;
pub mod head;
pub mod manifest;
pub mod row;

use std::fmt::Write as _;

/// What heads, checkpoints and manifests are signed for; a signature that was made for something else is none.
pub const NAMESPACE: &str = "argus-audit";

/// A link of a chain.
pub type Hash = [u8; 32];

/// What stands before the first link.
pub const NO_HASH: Hash = [0; 32];

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A hash from lower-case hex.
pub fn hash_of_hex(text: &str) -> Option<Hash> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let bytes = text.as_bytes();
    if bytes.len() != 2 * NO_HASH.len() {
        return None;
    }
    let mut hash = NO_HASH;
    for (byte, two) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = digit(two[0])? << 4 | digit(two[1])?;
    }
    Some(hash)
}

/// A hash in JSON: lower-case hex.
pub(crate) mod as_hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::{Hash, hash_of_hex, hex};

    pub fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(hash))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        hash_of_hex(&text).ok_or_else(|| D::Error::custom("a hash is 64 digits of lower-case hex"))
    }
}

#[cfg(test)]
mod tests {
    use super::{hash_of_hex, hex};

    #[test]
    fn a_hash_has_one_form_as_text() {
        let text = "00ff".repeat(16);
        assert_eq!(hash_of_hex(&text).map(|hash| hex(&hash)).as_deref(), Some(text.as_str()));
        for wrong in [&text[1..], &text.to_uppercase(), &format!("{text}0"), &text.replace('f', "g"), ""] {
            assert_eq!(hash_of_hex(wrong), None, "{wrong}");
        }
    }
}
