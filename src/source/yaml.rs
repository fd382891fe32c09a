//! Bytes -> a located tree: every value with the line and column where it was written. The only home of
//! saphyr-parser.
//!
//! All limits are counted on the way, before anything large is built. Constructs that change what a value means
//! (tags, merge keys) or that hide something (duplicate keys, invisible characters) are errors; all of a file are
//! reported, up to the first place that is no YAML at all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::syntax::{self, Place};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};
use crate::model::plain::is_unseen;

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
    bad_characters(file, text, &mut parsed);
    let unseen = !parsed.findings.is_empty();
    let (open, anchors) = (Vec::new(), HashMap::new());
    let mut builder = Builder { file, text, parsed, open, anchors, nodes: 0, clean: true, unseen };
    builder.run();
    for document in &mut builder.parsed.documents {
        document.faulty |= unseen;
    }
    builder.parsed
}

/// The file as text without a byte order mark at its start, or why it is none.
fn checked_text(bytes: &[u8]) -> Result<&str, (Position, Finding)> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err((Position::default(), too_large(bytes.len() as u64)));
    }
    let utf16 = bytes.starts_with(&[0xFF, 0xFE])
        || bytes.starts_with(&[0xFE, 0xFF])
        || matches!(bytes, [0, b, ..] | [b, 0, ..] if b.is_ascii_graphic());
    if utf16 {
        let finding = Finding::error(Code::NotUtf8, "the file is UTF-16").hint("save it as UTF-8");
        return Err((Position::default(), finding));
    }
    let text = std::str::from_utf8(bytes).map_err(|fault| {
        let before = &bytes[..fault.valid_up_to()];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|b| **b == b'\n').count() as u32 + 1;
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() as u32 + 1;
        let message = format!("the byte 0x{:02X} is not UTF-8", bytes[fault.valid_up_to()]);
        let hint = "save the file as UTF-8, or remove the byte";
        (Position::new(line, column), Finding::error(Code::NotUtf8, message).hint(hint))
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let flow_signs = text.bytes().filter(|b| matches!(b, b',' | b'[' | b'{')).count();
    if flow_signs > FILE_FLOW_SIGNS_MAX {
        return Err((Position::default(), too_many()));
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

/// The finding for a character that does not belong into a manifest.
pub fn bad_character(c: char) -> Finding {
    let what = match c {
        '\0' => "the NUL character",
        '\r' => "a carriage return without a line feed",
        '\u{FEFF}' => "a byte order mark within the file",
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
            "a character that turns the direction of writing"
        }
        '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{180E}' | '\u{AD}' => "a character of no width",
        '\u{2028}' | '\u{2029}' | '\u{85}' => "a line break that few editors show",
        '\0'..='\u{9F}' => "a control character",
        _ => "a character that cannot be seen",
    };
    Finding::error(Code::BadCharacter, format!("{what} (U+{:04X}) stands here", c as u32))
        .hint("delete it; whoever reviews this file cannot see it")
}

/// Reports the characters that do not belong into a file.
fn bad_characters(file: &Arc<str>, text: &str, parsed: &mut Parsed<'_>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    // Only control bytes and the lead bytes of characters beyond ASCII need a closer look.
    while let Some(step) =
        bytes[from..].iter().position(|b| !matches!(b, b' '..=b'~' | b'\n' | b'\t') && !matches!(b, 0x80..=0xBF))
    {
        let at = from + step;
        let Some(c) = text[at..].chars().next() else { return };
        from = at + c.len_utf8();
        let crlf = c == '\r' && bytes.get(from) == Some(&b'\n');
        if !is_unseen(c) || crlf {
            continue;
        }
        let line = bytes[..at].iter().filter(|b| **b == b'\n').count() as u32 + 1;
        let line_start = bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let column = text[line_start..at].chars().count() as u32 + 1;
        parsed.findings.push(bad_character(c).at(Origin::new(file, Position::new(line, column))));
        // Counting lines from the start each time is quadratic: a few are enough to know what is wrong.
        if parsed.findings.len() >= 10 {
            return;
        }
    }
}

/// A collection whose end has not come yet.
struct Open<'a> {
    items: Items<'a>,
    at: Position,
    anchor: usize,
    nodes_before: usize,
    flow: bool,
}

enum Items<'a> {
    Sequence(Vec<Node<'a>>),
    Mapping(Vec<(Node<'a>, Node<'a>)>, Option<Node<'a>>),
}

/// What an alias stands for.
struct Anchored<'a> {
    node: Node<'a>,
    nodes: usize,
    levels: usize,
}

struct Builder<'f, 'a> {
    file: &'f Arc<str>,
    text: &'a str,
    parsed: Parsed<'a>,
    open: Vec<Open<'a>>,
    anchors: HashMap<usize, Anchored<'a>>,
    nodes: usize,
    /// Whether the current document has no finding yet.
    clean: bool,
    /// Whether characters were found that cannot be seen; the parser trips over some of them once more.
    unseen: bool,
}

fn position(marker: &Marker) -> Position {
    Position::new(marker.line() as u32, marker.col() as u32 + 1)
}

impl<'a> Builder<'_, 'a> {
    fn run(&mut self) {
        let mut parser = Parser::new_from_str(self.text);
        while let Some(next) = parser.next_event() {
            match next {
                Ok((event, span)) => {
                    if self.event(event, span).is_none() {
                        self.parsed.cut = true;
                        return;
                    }
                }
                Err(fault) => {
                    self.syntax(fault.info(), position(fault.marker()));
                    self.parsed.cut = true;
                    return;
                }
            }
        }
    }

    fn report(&mut self, at: Position, finding: Finding) {
        self.clean = false;
        if self.parsed.findings.len() < FILE_FINDINGS_MAX {
            self.parsed.findings.push(finding.at(Origin::new(self.file, at)));
        }
    }

    fn syntax(&mut self, info: &str, stop: Position) {
        let words = syntax::words(info);
        if words.code == Code::BadCharacter && self.unseen {
            return;
        }
        let opening = self.open.iter().rfind(|open| open.flow);
        let at = match (words.place, opening) {
            (Place::Opening, Some(open)) => open.at,
            (Place::LineBefore, _) => self.line_before(stop),
            _ => stop,
        };
        self.report(at, Finding::error(words.code, words.message).hint(words.hint));
    }

    /// The start of the last line with content before a place.
    fn line_before(&self, stop: Position) -> Position {
        let lines = (1_u32..).zip(self.text.lines()).take_while(|(number, _)| *number < stop.line);
        let last =
            lines.filter(|(_, line)| !line.trim_start().is_empty() && !line.trim_start().starts_with('#')).last();
        last.map_or(stop, |(number, line)| {
            Position::new(number, (line.chars().count() - line.trim_start().chars().count()) as u32 + 1)
        })
    }

    /// Takes one event; none when a limit ends the reading.
    fn event(&mut self, event: Event<'a>, span: Span) -> Option<()> {
        let at = position(&span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.clean = true;
                if self.parsed.documents.len() >= FILE_DOCUMENTS_MAX {
                    let message = format!("the file holds more than {FILE_DOCUMENTS_MAX} documents");
                    self.report(at, Finding::error(Code::TooManyValues, message).hint("split it into several files"));
                    return None;
                }
            }
            Event::DocumentEnd => {
                if let Some(last) = self.parsed.documents.last_mut() {
                    last.faulty |= !self.clean;
                }
                self.clean = true;
            }
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    self.tag(at);
                }
                self.count(1, at)?;
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                // What stands in the file itself was looked at before; here only escapes can bring something new.
                if style == Style::Quoted
                    && matches!(text, Cow::Owned(_))
                    && let Some(bad) = text.chars().find(|c| is_unseen(*c))
                {
                    self.report(at, bad_character(bad).hint("do not write it as an escape either"));
                }
                let node = Node { value: NodeValue::Scalar(text, style), at, end: position(&span.end) };
                self.keep(anchor, &node, 1, 0)?;
                self.place(node);
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(Items::Sequence(Vec::new()), anchor, tag.is_some(), &span)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(Items::Mapping(Vec::new(), None), anchor, tag.is_some(), &span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&span)?,
            Event::Alias(anchor) => self.alias(anchor, at)?,
        }
        Some(())
    }

    fn tag(&mut self, at: Position) {
        let finding = Finding::error(Code::Tag, "a tag (`!name`) stands before a value")
            .hint("remove it; a text that begins with `!` belongs into quotes");
        self.report(at, finding);
    }

    fn count(&mut self, nodes: usize, at: Position) -> Option<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > FILE_NODES_MAX {
            self.report(at, too_many());
            return None;
        }
        Some(())
    }

    fn depth(&mut self, levels: usize, at: Position) -> Option<()> {
        if levels > DEPTH_LEVELS_MAX {
            let message = format!("values are nested more than {DEPTH_LEVELS_MAX} levels deep");
            self.report(at, Finding::error(Code::TooDeep, message).hint("no manifest needs this depth"));
            return None;
        }
        Some(())
    }

    fn begin(&mut self, items: Items<'a>, anchor: usize, tagged: bool, span: &Span) -> Option<()> {
        let at = position(&span.start);
        if tagged {
            self.tag(at);
        }
        let nodes_before = self.nodes;
        self.count(1, at)?;
        self.depth(self.open.len() + 1, at)?;
        self.open.push(Open { items, at, anchor, nodes_before, flow: !span.is_empty() });
        Some(())
    }

    fn close(&mut self, span: &Span) -> Option<()> {
        let open = self.open.pop()?;
        let (value, last) = match open.items {
            Items::Sequence(items) => {
                let last = items.last().map(|node| node.end);
                (NodeValue::Sequence(items), last)
            }
            Items::Mapping(pairs, _) => {
                self.keys(&pairs);
                let last = pairs.last().map(|(_, value)| value.end);
                (NodeValue::Mapping(pairs), last)
            }
        };
        // A bracket has a width; the end of a block is only known by what it holds.
        let end = if span.is_empty() { last.unwrap_or(open.at) } else { position(&span.end) };
        let node = Node { value, at: open.at, end };
        if open.anchor != 0 {
            let levels = levels(&node);
            self.keep(open.anchor, &node, self.nodes - open.nodes_before, levels)?;
        }
        self.place(node);
        Some(())
    }

    /// Remembers what an anchor names. The copy counts, because it takes room.
    fn keep(&mut self, anchor: usize, node: &Node<'a>, nodes: usize, levels: usize) -> Option<()> {
        if anchor != 0 {
            self.count(nodes, node.at)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, levels });
        }
        Some(())
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Option<()> {
        let Some(known) = self.anchors.get(&anchor) else {
            let within = self.open.iter().any(|open| open.anchor == anchor);
            let message = match within {
                true => "an alias stands within the value that it repeats",
                false => "an alias (`*name`) points at nothing above it in this document",
            };
            self.report(at, Finding::error(Code::BadAlias, message).hint("write the value out"));
            let value = NodeValue::Scalar(Cow::Borrowed(""), Style::Plain);
            self.place(Node { value, at, end: at });
            return Some(());
        };
        let (nodes, levels) = (known.nodes, known.levels);
        self.count(nodes, at)?;
        self.depth(self.open.len() + levels, at)?;
        if let Some(known) = self.anchors.get(&anchor) {
            let node = known.node.clone();
            self.place(node);
        }
        Some(())
    }

    fn place(&mut self, node: Node<'a>) {
        match self.open.last_mut() {
            Some(open) => match &mut open.items {
                Items::Sequence(items) => items.push(node),
                Items::Mapping(pairs, waiting) => match waiting.take() {
                    Some(key) => pairs.push((key, node)),
                    None => *waiting = Some(node),
                },
            },
            // Empty documents between `---` lines say nothing.
            None if node.is_null() && self.clean => {}
            None => self.parsed.documents.push(Document { root: node, faulty: !self.clean }),
        }
    }

    /// Reports keys that are no text, merge, or stand twice.
    fn keys(&mut self, pairs: &[(Node<'a>, Node<'a>)]) {
        let mut seen: HashMap<&str, Position> = HashMap::new();
        let many = pairs.len() > 16;
        for (at, (key, _)) in pairs.iter().enumerate() {
            let text = match &key.value {
                NodeValue::Scalar(text, Style::Plain) if text == "<<" => {
                    let finding = Finding::error(Code::MergeKey, "a merge key (`<<`) pulls in another mapping")
                        .hint("write the fields out, so that each has a place of its own");
                    self.report(key.at, finding);
                    continue;
                }
                NodeValue::Scalar(text, style) if !text.is_empty() || *style != Style::Plain => text,
                _ => {
                    let message = format!("a key must be text, and this is {}", key.what());
                    self.report(key.at, Finding::error(Code::BadKey, message).hint("write `key: value`"));
                    continue;
                }
            };
            let first = if many {
                match seen.get(&**text) {
                    Some(first) => Some(*first),
                    None => {
                        seen.insert(text, key.at);
                        None
                    }
                }
            } else {
                pairs[..at].iter().find(|(earlier, _)| earlier.text() == Some(text)).map(|(earlier, _)| earlier.at)
            };
            if let Some(first) = first {
                let shown = super::decode::shown(text);
                let message = format!("{shown} already stands in line {}, column {}", first.line, first.column);
                let hint = "keep one of the two; a YAML reader would silently drop the other";
                self.report(key.at, Finding::error(Code::DuplicateKey, message).hint(hint));
            }
        }
    }
}

fn levels(node: &Node<'_>) -> usize {
    match &node.value {
        NodeValue::Scalar(..) => 0,
        NodeValue::Sequence(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        NodeValue::Mapping(pairs) => {
            1 + pairs.iter().map(|(key, value)| levels(key).max(levels(value))).max().unwrap_or(0)
        }
    }
}
