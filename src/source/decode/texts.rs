//! The forms of text: names, addresses, money, moments and the like, each brought into its canonical form.

use super::Reader;
use crate::model::code::Code;
use crate::model::id;
use crate::model::money::Money;
use crate::model::plain::misread_as;
use crate::model::secret;
use crate::model::secret::shown;
use crate::model::shape::Shape;
use crate::model::suggest::nearest;
use crate::model::time;
use crate::model::value::Value;
use crate::source::yaml::{Node, Style};

/// The longest address, in characters.
pub const URL_CHARS_MAX: usize = 2_048;

/// The longest permission or event pattern, in characters.
pub const PATTERN_CHARS_MAX: usize = 100;

/// The longest text that any other single value may have, in characters.
const WORD_CHARS_MAX: usize = 300;

impl Reader<'_> {
    /// Reads a text of any form.
    pub(super) fn texts(
        &mut self,
        node: &Node<'_>,
        text: &str,
        style: Style,
        shape: &Shape,
        path: &str,
    ) -> Option<Value> {
        let chars_max = match shape {
            Shape::Line { chars_max } | Shape::Prose { chars_max } => *chars_max as usize,
            Shape::Url => URL_CHARS_MAX,
            _ => WORD_CHARS_MAX,
        };
        self.length(node, text, chars_max, path)?;
        match shape {
            Shape::Prose { .. } => {
                if misread_as(text).is_some() {
                    self.plain_text(node, text, style, path)?;
                }
            }
            Shape::Time | Shape::Money | Shape::Duration | Shape::Schedule | Shape::Enum(_) => {}
            _ => self.plain_text(node, text, style, path)?,
        }
        let canonical: Result<Box<str>, (Code, String, &str)> = match shape {
            Shape::Prose { .. } => Ok(text.into()),
            Shape::Line { .. } => match text.contains('\n') {
                false => Ok(text.into()),
                true => Err((Code::WrongType, format!("`{path}` is one line, and this has several"), "join the lines")),
            },
            Shape::Name => match id::name_fault(text) {
                None => Ok(text.into()),
                Some(fault) => Err((
                    Code::BadName,
                    format!("{} is no name: {fault}", shown(text)),
                    "a name has 1 to 63 lower-case letters (a-z), digits, and hyphens or underscores within",
                )),
            },
            Shape::Email => id::normalize_email(text)
                .map(Into::into)
                .map_err(|fault| (Code::BadEmail, fault, "write it as in `ada@acme.example`")),
            Shape::Domain => match id::domain_fault(text) {
                None => Ok(text.to_ascii_lowercase().into()),
                Some(fault) => Err((
                    Code::BadAddress,
                    fault,
                    "write it as in `acme.example`; an international domain in its `xn--` form",
                )),
            },
            Shape::Url => match url_fault(text) {
                None => Ok(text.into()),
                Some((Code::PlainSecret, fault)) => {
                    self.plain_secret(node.at, &format!("`{path}` {fault}"));
                    return None;
                }
                Some((code, fault)) => {
                    Err((code, format!("{} {fault}", shown(text)), "write it as in `https://acme.example/path`"))
                }
            },
            Shape::Permission => match is_permission(text) {
                true => Ok(text.into()),
                false => Err((
                    Code::BadPattern,
                    format!("{} is no permission", shown(text)),
                    "write `area:verb`, `area:*` or `*`, in lower case; a text that begins with `*` in quotes",
                )),
            },
            Shape::EventPattern => match is_event_pattern(text) {
                true => Ok(text.into()),
                false => Err((
                    Code::BadPattern,
                    format!("{} matches no type of event", shown(text)),
                    "write `area.verb`, `area.*` or `*`, in lower case",
                )),
            },
            Shape::Schedule => time::parse_schedule(text)
                .map(|_| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ").into())
                .map_err(|fault| (Code::BadSchedule, fault, "write it as cron does, as in \"0 3 * * 1\"")),
            Shape::Duration => time::normalize_duration(text)
                .map(Into::into)
                .map_err(|fault| (Code::BadDuration, fault, "write a number and a unit: `90d`, `24h`, `30m`, `45s`")),
            Shape::Time => time::normalize_time(text)
                .map(Into::into)
                .map_err(|fault| (Code::BadTime, fault, "write day, time and zone, as in `2027-12-31T00:00:00Z`")),
            Shape::Money => Money::parse(text)
                .map(|money| money.to_string().into())
                .map_err(|fault| (Code::BadMoney, fault, "write an amount and a currency, as in `250 USD`")),
            Shape::Enum(words) => {
                if words.contains(&text) {
                    Ok(text.into())
                } else {
                    let hint = match nearest(text, words.iter().copied()) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!("write one of {}", words.join(", ")),
                    };
                    let message = format!("`{path}` is one of {}, and this is {}", words.join(", "), shown(text));
                    self.error(node.at, Code::UnknownWord, message, hint);
                    return None;
                }
            }
            Shape::Bool | Shape::Int { .. } | Shape::Set { .. } | Shape::List { .. } | Shape::Map { .. } => {
                return None;
            }
        };
        match canonical {
            Ok(text) => Some(Value::Text(text)),
            Err((code, message, hint)) => {
                self.error(node.at, code, message, hint);
                None
            }
        }
    }
}

fn url_fault(text: &str) -> Option<(Code, &'static str)> {
    let Some(rest) = text.strip_prefix("https://") else {
        return Some((Code::BadAddress, "is no address that begins with `https://`"));
    };
    if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['<', '>', '"', '\\', '^', '`', '{', '|', '}']) {
        return Some((Code::BadAddress, "holds a character that cannot stand in an address"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some((Code::PlainSecret, "holds credentials in its address"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Some((Code::BadAddress, "has a port that is no number"));
    }
    if id::domain_fault(host).is_some() {
        return Some((Code::BadAddress, "names no host"));
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let secret_parameter = query.split(['&', '#']).any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        !value.is_empty() && secret::is_secret_parameter(name)
    });
    secret_parameter.then_some((Code::PlainSecret, "holds a secret in its address"))
}

fn is_word(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_lowercase())
        && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn is_permission(text: &str) -> bool {
    text.len() <= PATTERN_CHARS_MAX
        && (text == "*"
            || match text.split_once(':') {
                None => is_word(text),
                Some((area, verb)) => is_word(area) && (verb == "*" || is_word(verb)),
            })
}

fn is_event_pattern(text: &str) -> bool {
    let head = text.strip_suffix(".*").unwrap_or(text);
    text.len() <= PATTERN_CHARS_MAX && (text == "*" || head.split('.').all(is_word))
}
