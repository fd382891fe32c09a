//! Proofs: what a delivery has to show, so that it is believed. Signatures are of the bytes as they came; secrets and signatures are
//! compared in a time that tells nothing of them; and it takes the same work to find that a proof is right, wrong or missing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::Headers;

/// The fewest bytes of a secret.
pub const SECRET_BYTES_MIN: usize = 16;

/// The most secrets that count at the same time: enough to change one without missing a delivery.
pub const SECRETS_MAX: usize = 3;

/// How far a moment that was signed may be from now, either way.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// The most signatures that one header may list, where a provider lists them.
const LISTED_MAX: usize = 5;

/// What a secret of the form of Standard Webhooks begins with.
const STANDARD_HEAD: &str = "whsec_";

/// How a provider shows that it knows the secret.
#[derive(Clone, Copy, Debug)]
pub enum Proof {
    /// The HMAC-SHA256 of the body in hex behind `head`, in at least one of these headers. Each of them that is there has to be right.
    Body {
        /// The headers.
        headers: &'static [&'static str],
        /// What stands before the hex.
        head: &'static str,
    },
    /// The same, of `<moment>.<body>`, where the moment stands in a header of its own as seconds since 1970.
    Stamped {
        /// The header of the signature.
        signature: &'static str,
        /// The header of the moment.
        moment: &'static str,
        /// What stands before the hex.
        head: &'static str,
    },
    /// Standard Webhooks, where the secret is one of its form (`whsec_` and base64); the secret itself in a header otherwise.
    StandardOrToken {
        /// The header that holds the secret.
        token: &'static str,
    },
}

/// Why a delivery is not believed. Whoever sent it is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A header is missing, stands there twice, or has not the form that it has to have.
    Unproven,
    /// The signature, or the token, is not right.
    Wrong,
    /// It was signed too long ago, or in the future.
    Stale,
}

impl Doubt {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Doubt::Unproven => "unproven",
            Doubt::Wrong => "wrong",
            Doubt::Stale => "stale",
        }
    }
}

/// One secret.
#[derive(Clone)]
struct Secret {
    key: Vec<u8>,
    /// Whether it signs as Standard Webhooks has it.
    standard: bool,
}

/// The secrets of a source, any of which will do. They cannot be printed.
#[derive(Clone)]
pub struct Secrets(Vec<Secret>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(hidden)")
    }
}

impl Secrets {
    /// Takes them as they stand in their files.
    pub fn new(texts: &[String]) -> Result<Secrets, String> {
        if texts.is_empty() || texts.len() > SECRETS_MAX {
            return Err(format!("a webhook has one secret, and {SECRETS_MAX} at most while they are changed"));
        }
        texts.iter().map(|text| Secret::read(text)).collect::<Result<_, _>>().map(Secrets)
    }

    /// What stands in for those of a source that is not there. Nothing is believed because of it.
    pub fn of_nobody() -> Secrets {
        Secrets(Vec::new())
    }

    /// Whether one of these tags is that of these parts under a secret that fits. The work is the same whatever comes of it.
    fn made(&self, fits: impl Fn(&Secret) -> bool, parts: &[&[u8]], tags: &[Tag]) -> bool {
        let nobody = Secret { key: vec![0; 32], standard: false };
        (0..SECRETS_MAX).fold(false, |known, at| {
            let secret = self.0.get(at);
            // A key of any length will do, so this cannot fail.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&secret.unwrap_or(&nobody).key) else { return known };
            parts.iter().for_each(|part| mac.update(part));
            let right = tags.iter().fold(false, |right, tag| right | mac.clone().verify_slice(tag).is_ok());
            known | (right & secret.is_some_and(&fits))
        })
    }

    /// Whether a token is one of these secrets: what is compared are digests of both under a key, so that the time tells nothing.
    fn holds(&self, token: &[u8]) -> bool {
        self.0.iter().fold(false, |known, secret| {
            let digest = |text: &[u8]| {
                let mut mac = Hmac::<Sha256>::new_from_slice(&secret.key).ok()?;
                mac.update(text);
                Some(mac)
            };
            let given = digest(token).map(|mac| mac.finalize().into_bytes());
            let same =
                given.is_some_and(|given| digest(&secret.key).is_some_and(|mac| mac.verify_slice(&given).is_ok()));
            known | (same & !secret.standard)
        })
    }
}

impl Secret {
    fn read(text: &str) -> Result<Secret, String> {
        let (key, standard) = match text.strip_prefix(STANDARD_HEAD) {
            Some(encoded) => (STANDARD.decode(encoded).map_err(|_| "the secret is no base64".to_owned())?, true),
            None => (text.as_bytes().to_vec(), false),
        };
        if key.len() < SECRET_BYTES_MIN {
            return Err(format!("the secret has fewer than {SECRET_BYTES_MIN} bytes"));
        }
        Ok(Secret { key, standard })
    }
}

impl Proof {
    /// What is signed, in parts: two deliveries of which this is the same are the same.
    pub fn signed<'a>(self, headers: &Headers<'a>, body: &'a [u8]) -> Vec<&'a [u8]> {
        let of = |name| headers.one(name).unwrap_or_default().as_bytes();
        match self {
            Proof::Body { .. } => vec![body],
            Proof::Stamped { moment, .. } => vec![of(moment), b".", body],
            Proof::StandardOrToken { .. } => vec![of("webhook-id"), b".", of("webhook-timestamp"), b".", body],
        }
    }

    /// Whether a delivery is believed.
    pub fn verify(
        self,
        secrets: &Secrets,
        headers: &Headers<'_>,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), Doubt> {
        let parts = self.signed(headers, body);
        match self {
            Proof::Body { headers: names, head } => {
                let there = names.iter().filter(|name| !headers.all(name).is_empty());
                let given: Vec<Option<Tag>> = there.map(|name| hex(headers.one(name), head)).collect();
                let tag = given.first().copied().flatten();
                let right = secrets.made(|_| true, &parts, tag.as_slice());
                if given.is_empty() || given.contains(&None) {
                    return Err(Doubt::Unproven);
                }
                // Of several that say different things one is wrong.
                decided(right && given.iter().all(|other| *other == tag))
            }
            Proof::Stamped { signature, moment, head } => {
                let (tag, at) = (hex(headers.one(signature), head), headers.one(moment));
                let right = secrets.made(|_| true, &parts, tag.as_slice());
                let at = at.and_then(seconds).filter(|_| tag.is_some()).ok_or(Doubt::Unproven)?;
                decided(right).and_then(|()| fresh(at, now))
            }
            Proof::StandardOrToken { token } => {
                let one = |name| headers.one(name);
                let (id, moment) = (one("webhook-id"), one("webhook-timestamp"));
                let listed = one("webhook-signature").and_then(listed);
                let signed = secrets.made(|secret| secret.standard, &parts, listed.as_deref().unwrap_or_default());
                let token_right = one(token).is_some_and(|token| secrets.holds(token.as_bytes()));
                if token_right {
                    return Ok(());
                }
                let (Some(at), Some(_), Some(_)) = (moment.and_then(seconds), id, listed) else {
                    return Err(if one(token).is_some() { Doubt::Wrong } else { Doubt::Unproven });
                };
                decided(signed).and_then(|()| fresh(at, now))
            }
        }
    }
}

/// What an HMAC-SHA256 comes to.
type Tag = [u8; 32];

fn decided(right: bool) -> Result<(), Doubt> {
    if right { Ok(()) } else { Err(Doubt::Wrong) }
}

fn fresh(at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Doubt> {
    if (now - at).abs() <= TOLERANCE { Ok(()) } else { Err(Doubt::Stale) }
}

/// A moment as digits alone: whoever signs writes it in one way.
fn seconds(text: &str) -> Option<DateTime<Utc>> {
    let digits = !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().and_then(|seconds| DateTime::from_timestamp(seconds, 0))
}

/// A tag as providers write it: in lower case, whole, and with nothing around it.
fn hex(text: Option<&str>, head: &str) -> Option<Tag> {
    let digits = text?.strip_prefix(head)?.as_bytes();
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut tag = Tag::default();
    if digits.len() != 2 * tag.len() {
        return None;
    }
    for (byte, pair) in tag.iter_mut().zip(digits.chunks(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(tag)
}

/// The signatures of version 1 in a list: `v1,<base64> v1,<base64>`.
fn listed(text: &str) -> Option<Vec<Tag>> {
    let all: Vec<&str> = text.split(' ').collect();
    if all.len() > LISTED_MAX {
        return None;
    }
    let tags = all.iter().filter_map(|one| one.strip_prefix("v1,"));
    let tags: Option<Vec<Tag>> = tags.map(|encoded| STANDARD.decode(encoded).ok()?.try_into().ok()).collect();
    tags.filter(|tags| !tags.is_empty())
}
