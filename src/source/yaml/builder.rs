//! Events of the parser -> nodes, counted on the way.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::{
    DEPTH_LEVELS_MAX, Document, FILE_DOCUMENTS_MAX, FILE_FINDINGS_MAX, Node, NodeValue, Parsed, Style, characters,
    too_many,
};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};
use crate::model::plain::is_unseen;
use crate::source::syntax::{self, Place};

/// A collection whose end has not come yet.
struct Open {
    mapping: bool,
    /// Where its values begin among those that wait.
    from: usize,
    at: Position,
    anchor: usize,
    nodes_before: usize,
    flow: bool,
}

/// What an alias stands for.
struct Anchored<'a> {
    node: Node<'a>,
    nodes: usize,
    levels: usize,
}

/// Reads the documents of a text whose characters were looked at before; what was found of them is in `parsed`.
pub fn build<'a>(file: &Arc<str>, text: &'a str, parsed: Parsed<'a>) -> Parsed<'a> {
    let unseen = !parsed.findings.is_empty();
    let mut builder = Builder {
        file,
        text,
        parsed,
        open: Vec::new(),
        waiting: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        documents: 0,
        clean: true,
        unseen,
    };
    builder.run();
    builder.parsed
}

struct Builder<'f, 'a> {
    file: &'f Arc<str>,
    text: &'a str,
    parsed: Parsed<'a>,
    open: Vec<Open>,
    /// The values of all open collections, innermost last: a collection is copied out once, when its size is known.
    waiting: Vec<Node<'a>>,
    anchors: HashMap<usize, Anchored<'a>>,
    nodes: usize,
    documents: usize,
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
            (Place::Tab, _) => self.first_tab(stop),
            // Where the file ends there is nothing to show.
            _ if self.text.lines().nth(stop.line.saturating_sub(1) as usize).is_none() => self.line_before(stop),
            _ => stop,
        };
        self.report(at, Finding::error(words.code, words.message).hint(words.hint));
    }

    /// The first tab of a line.
    fn first_tab(&self, stop: Position) -> Position {
        let line = self.text.lines().nth(stop.line.saturating_sub(1) as usize);
        let tab = line.and_then(|line| line.chars().position(|c| c == '\t'));
        tab.map_or(stop, |at| Position::new(stop.line, at as u32 + 1))
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
                self.documents += 1;
                if self.documents > FILE_DOCUMENTS_MAX {
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
                    // What a tag makes of the text is told once, by the tag.
                    _ if tag.is_some() => Style::Quoted,
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                // What stands in the file itself was looked at before; here only escapes can bring something new.
                if style == Style::Quoted
                    && matches!(text, Cow::Owned(_))
                    && let Some(bad) = text.chars().find(|c| is_unseen(*c))
                {
                    self.report(at, characters::bad_character(bad).hint("do not write it as an escape either"));
                }
                let node = Node { value: NodeValue::Scalar(text, style), at, end: position(&span.end) };
                self.keep(anchor, &node, 1, 0)?;
                self.place(node);
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(false, anchor, tag.is_some(), &span)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(true, anchor, tag.is_some(), &span)?;
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
        if self.nodes > super::FILE_NODES_MAX {
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

    fn begin(&mut self, mapping: bool, anchor: usize, tagged: bool, span: &Span) -> Option<()> {
        let at = position(&span.start);
        if tagged {
            self.tag(at);
        }
        let nodes_before = self.nodes;
        self.count(1, at)?;
        self.depth(self.open.len() + 1, at)?;
        let from = self.waiting.len();
        self.open.push(Open { mapping, from, at, anchor, nodes_before, flow: !span.is_empty() });
        Some(())
    }

    fn close(&mut self, span: &Span) -> Option<()> {
        let open = self.open.pop()?;
        let last = self.waiting[open.from..].last().map(|node| node.end);
        let mut values = self.waiting.drain(open.from..);
        let value = if open.mapping {
            let mut pairs = Vec::with_capacity(values.len() / 2);
            while let (Some(key), Some(value)) = (values.next(), values.next()) {
                pairs.push((key, value));
            }
            drop(values);
            self.keys(&pairs);
            NodeValue::Mapping(pairs)
        } else {
            NodeValue::Sequence(values.collect())
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
        match self.open.last() {
            Some(_) => self.waiting.push(node),
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
                let shown = crate::source::decode::shown(text);
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
