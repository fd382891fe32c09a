//! Pseudonyms: the same person under the same name that is not theirs, for a sink that must not know who it was.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value as Json;
use sha2::Sha256;

/// How many digits a pseudonym has: enough that two people never share one.
const DIGITS: usize = 24;

/// The fields that name a person whatever they look like.
const NAMING: &[&str] = &["actor", "author"];

/// The key that pseudonyms are made with. Whoever has it can find out who is meant; whoever has not cannot.
#[derive(Clone)]
pub struct PseudonymKey(Vec<u8>);

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey(hidden)")
    }
}

impl PseudonymKey {
    /// The fewest bytes of a key.
    pub const BYTES_MIN: usize = 16;

    /// A key of these bytes, if there are enough of them.
    pub fn new(bytes: &[u8]) -> Option<PseudonymKey> {
        (bytes.len() >= Self::BYTES_MIN).then(|| PseudonymKey(bytes.to_vec()))
    }

    /// The pseudonym of somebody.
    pub fn of(&self, person: &str) -> String {
        // A key of any length will do, so this cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return "person".into() };
        mac.update(person.trim().to_lowercase().as_bytes());
        let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("person-{}", &digits[..DIGITS])
    }

    /// Text with a pseudonym for each address in it.
    pub fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, address, after)) = first_address(rest) {
            out.push_str(before);
            out.push_str(&self.of(address));
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// What an event carries, with pseudonyms for people.
    pub fn content(&self, content: &mut Json) {
        match content {
            Json::String(text) => *text = self.text(text),
            Json::Array(items) => items.iter_mut().for_each(|item| self.content(item)),
            Json::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Json::String(text) if NAMING.contains(&name.as_str()) && !text.is_empty() => {
                            *text = self.of(&person(text));
                        }
                        value => self.content(value),
                    }
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }
}

/// Who is meant by `Ada <ada@acme.example>`: the address, so that it is the same person as elsewhere.
fn person(text: &str) -> String {
    first_address(text).map_or_else(|| text.to_owned(), |(_, address, _)| address.to_owned())
}

/// The first address in a text, with what stands before and behind it.
fn first_address(text: &str) -> Option<(&str, &str, &str)> {
    let part = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let host = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    text.match_indices('@').find_map(|(at, _)| {
        let start = text[..at].char_indices().rev().take_while(|(_, c)| part(*c)).last().map(|(start, _)| start)?;
        // `Member/ada@acme.example` names a kind before the address.
        let start = text[start..at].rfind('/').map_or(start, |slash| start + slash + 1);
        let length: usize = text[at + 1..].chars().take_while(|c| host(*c)).map(char::len_utf8).sum();
        let end = at + 1 + text[at + 1..at + 1 + length].trim_end_matches(['.', '-']).len();
        (start < at && end > at + 1).then(|| (&text[..start], &text[start..end], &text[end..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_one_pseudonym_wherever_they_are_named() {
        let key = PseudonymKey::new(b"0123456789abcdef").expect("it is long enough");
        let ada = key.of("ada@acme.example");
        let mut content = serde_json::json!({
            "name": "ada@acme.example",
            "actor": "Ada <ADA@acme.example>",
            "writtenBy": {"author": "ada", "commit": "c0ffee"},
            "why": [{"message": "ada@acme.example, the last owner, leaves.", "subject": "Member/ada@acme.example"}],
            "sequence": 7,
        });
        key.content(&mut content);
        assert_eq!(content["name"], ada);
        assert_eq!(content["actor"], ada);
        assert_eq!(content["writtenBy"]["author"], key.of("ada"));
        assert_eq!(content["writtenBy"]["commit"], "c0ffee");
        assert_eq!(content["why"][0]["message"], format!("{ada}, the last owner, leaves."));
        assert_eq!(content["why"][0]["subject"], format!("Member/{ada}"));
        assert_eq!(content["sequence"], 7);
    }

    #[test]
    fn another_key_makes_other_pseudonyms_and_a_short_one_is_none() {
        let one = PseudonymKey::new(b"0123456789abcdef").expect("it is long enough");
        let other = PseudonymKey::new(b"fedcba9876543210").expect("it is long enough");
        assert_ne!(one.of("ada"), other.of("ada"));
        assert!(PseudonymKey::new(b"short").is_none());
        assert_eq!(format!("{one:?}"), "PseudonymKey(hidden)");
    }

    #[test]
    fn text_without_an_address_stays_as_it_is() {
        let key = PseudonymKey::new(b"0123456789abcdef").expect("it is long enough");
        for text in ["", "@", "a@", "@b", "main@sha1", "é@", "50 % @ noon"] {
            let said = key.text(text);
            assert!(said == text || text == "main@sha1", "{text}: {said}");
        }
    }
}
