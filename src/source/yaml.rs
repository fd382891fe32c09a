//! Bytes -> a located tree: every value with the line and column where it was written. The only home of
//! saphyr-parser.
//!
//! All limits are counted on the way, before anything large is built. Constructs that change what a value means
//! (tags, merge keys) or that hide something (duplicate keys, invisible characters) are errors; all of a file are
//! reported, up to the first place that is no YAML at all.

mod builder;
mod characters;

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};

/// The largest file, in bytes. An organization of several thousand members fits many times.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The deepest nesting of lists and mappings.
pub const DEPTH_LEVELS_MAX: usize = 32;

/// The most values in one file, each expansion of an alias counted.
pub const FILE_NODES_MAX: usize = 250_000;

/// The most brackets and commas in one file: the parser holds all tokens of a bracketed list at once.
pub const FILE_FLOW_SIGNS_MAX: usize = 300_000;

/// The most documents in one file.
pub const FILE_DOCUMENTS_MAX: usize = 10_000;

/// The most findings of one file that are kept.
pub const FILE_FINDINGS_MAX: usize = 200;

/// One value and where it stands.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    /// The value.
    pub value: NodeValue<'a>,
    /// Where it begins.
    pub at: Position,
    /// Where it ends: the first place behind it.
    pub end: Position,
}

/// A value as it was written.
#[derive(Clone, Debug)]
pub enum NodeValue<'a> {
    /// A single value.
    Scalar(Cow<'a, str>, Style),
    /// A list.
    Sequence(Vec<Node<'a>>),
    /// A mapping, in the order of the file.
    Mapping(Vec<(Node<'a>, Node<'a>)>),
}

/// How a single value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In single or double quotes.
    Quoted,
    /// As a block (`|` or `>`).
    Block,
}

impl<'a> Node<'a> {
    /// The text of a single value.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether nothing or `null` stands here.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, NodeValue::Scalar(text, Style::Plain) if text.is_empty() || text == "null")
    }

    /// Whether there is anything in it: a text, an item or a pair.
    pub fn holds_something(&self) -> bool {
        match &self.value {
            NodeValue::Scalar(text, _) => !text.is_empty() && !self.is_null(),
            NodeValue::Sequence(items) => !items.is_empty(),
            NodeValue::Mapping(pairs) => !pairs.is_empty(),
        }
    }

    /// The pairs of a mapping.
    pub fn pairs(&self) -> Option<&[(Node<'a>, Node<'a>)]> {
        match &self.value {
            NodeValue::Mapping(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The items of a list; of anything else, none.
    pub fn items(&self) -> &[Node<'a>] {
        match &self.value {
            NodeValue::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The value under a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.pairs()?.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// What it is, in words.
    pub fn what(&self) -> &'static str {
        match &self.value {
            NodeValue::Scalar(..) if self.is_null() => "nothing",
            NodeValue::Scalar(..) => "a single value",
            NodeValue::Sequence(_) => "a list",
            NodeValue::Mapping(_) => "a mapping",
        }
    }
}

/// One document of a file.
#[derive(Debug)]
pub struct Document<'a> {
    /// Its value.
    pub root: Node<'a>,
    /// Whether a finding concerns it.
    pub faulty: bool,
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed<'a> {
    /// Its documents, without empty ones.
    pub documents: Vec<Document<'a>>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// Whether the rest of the file behind the documents could not be read.
    pub cut: bool,
}

/// Reads the documents of a file.
pub fn parse<'a>(file: &Arc<str>, bytes: &'a [u8]) -> Parsed<'a> {
    let text = match checked_text(bytes) {
        Ok(text) => text,
        Err((at, finding)) => {
            let finding = finding.at(Origin::new(file, at));
            return Parsed { findings: vec![finding], cut: true, ..Parsed::default() };
        }
    };
    let mut parsed = Parsed::default();
    characters::report(file, text, &mut parsed.findings);
    let unseen = !parsed.findings.is_empty();
    parsed = builder::build(file, text, parsed);
    for document in &mut parsed.documents {
        document.faulty |= unseen;
    }
    parsed
}

/// JSON in which characters beyond 16 bits stand as YAML writes them, `\U0001F600` for `\ud83d\ude00`: YAML knows no
/// pairs of surrogates. Such a pair is two characters longer, so that what is found further to the right on its line
/// is shown two columns too far to the left.
pub fn joined_surrogates(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Vec<u8> = Vec::new();
    let (mut copied, mut at, mut quoted) = (0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                if let (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) =
                    (escaped_unit(bytes, at), escaped_unit(bytes, at + ESCAPED_UNIT_BYTES))
                {
                    let joined = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                    out.extend_from_slice(&bytes[copied..at]);
                    out.extend_from_slice(format!("\\U{joined:08X}").as_bytes());
                    copied = at + 2 * ESCAPED_UNIT_BYTES;
                    at = copied;
                    continue;
                }
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(bytes);
    }
    out.extend_from_slice(&bytes[copied..]);
    Cow::Owned(out)
}

/// The length of `\u` and four digits.
const ESCAPED_UNIT_BYTES: usize = 6;

fn escaped_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + ESCAPED_UNIT_BYTES)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

/// The file as text without a byte order mark at its start, or why it is none.
fn checked_text(bytes: &[u8]) -> Result<&str, (Position, Box<Finding>)> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err((Position::default(), Box::new(too_large(bytes.len() as u64))));
    }
    let utf16 = bytes.starts_with(&[0xFF, 0xFE])
        || bytes.starts_with(&[0xFE, 0xFF])
        || matches!(bytes, [0, b, ..] | [b, 0, ..] if b.is_ascii_graphic());
    if utf16 {
        let finding = Finding::error(Code::NotUtf8, "the file is UTF-16").hint("save it as UTF-8");
        return Err((Position::default(), Box::new(finding)));
    }
    let text = std::str::from_utf8(bytes).map_err(|fault| {
        let before = &bytes[..fault.valid_up_to()];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|b| **b == b'\n').count() as u32 + 1;
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() as u32 + 1;
        let message = format!("the byte 0x{:02X} is not UTF-8", bytes[fault.valid_up_to()]);
        let hint = "save the file as UTF-8, or remove the byte";
        (Position::new(line, column), Box::new(Finding::error(Code::NotUtf8, message).hint(hint)))
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let flow_signs = text.bytes().filter(|b| matches!(b, b',' | b'[' | b'{')).count();
    if flow_signs > FILE_FLOW_SIGNS_MAX {
        return Err((Position::default(), Box::new(too_many())));
    }
    Ok(text)
}

/// The finding for a file of this size.
pub fn too_large(bytes: u64) -> Finding {
    Finding::error(
        Code::FileTooLarge,
        format!("the file has {bytes} bytes, and a manifest has at most {FILE_BYTES_MAX}"),
    )
    .hint("split it: children of an organization may stand in files of their own with `spec.organization`")
}

fn too_many() -> Finding {
    Finding::error(Code::TooManyValues, format!("the file holds more than {FILE_NODES_MAX} values"))
        .hint("split it into several files; repeated aliases count each time")
}
