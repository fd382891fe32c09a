//! Edits of a YAML text: values, items, pairs and documents are replaced, added and removed in place.
//!
//! Nothing here knows what the text means. Whoever edits reads the result again before it is used.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::model::origin::Position;
use crate::render::yaml::{Piece, Quotes, key};
use crate::source::yaml::{Document, Node, NodeValue, Style};

const BYTE_ORDER_MARK: &str = "\u{FEFF}";

/// A text and what is to change in it.
pub struct Editor<'a> {
    mark: &'static str,
    text: &'a str,
    lines: Vec<usize>,
    newline: &'static str,
    /// Whether all is written as JSON.
    json: bool,
    /// The outermost collections in brackets, in order.
    brackets: Vec<Range<usize>>,
    /// Replacements by place; those of one place are in the order in which they were asked for.
    edits: BTreeMap<(usize, usize), String>,
    appended: String,
}

impl<'a> Editor<'a> {
    /// An editor of this text, which holds these documents.
    pub fn new(text: &'a str, documents: &[Document<'_>], json: bool) -> Self {
        let (mark, text) = match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => (BYTE_ORDER_MARK, rest),
            None => ("", text),
        };
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let (brackets, edits, appended) = (Vec::new(), BTreeMap::new(), String::new());
        let mut editor = Editor { mark, text, lines, newline, json, brackets, edits, appended };
        documents.iter().for_each(|document| editor.find_brackets(&document.root));
        editor.brackets.sort_by_key(|range| range.start);
        editor
    }

    fn find_brackets(&mut self, node: &Node<'_>) {
        if self.is_flow(node) {
            self.brackets.push(self.offset(node.at)..self.end(node));
            return;
        }
        node.items().iter().for_each(|item| self.find_brackets(item));
        node.pairs().unwrap_or_default().iter().for_each(|(_, value)| self.find_brackets(value));
    }

    /// The text with all edits. Of two that overlap, the one that begins first counts.
    pub fn finish(self) -> String {
        let mut out = String::with_capacity(self.text.len() + self.appended.len());
        out.push_str(self.mark);
        let mut at = 0;
        for ((start, end), new) in &self.edits {
            if *start < at {
                continue;
            }
            out.push_str(&self.text[at..*start]);
            // Whole lines behind a last line that has no end yet.
            if *start == self.text.len() && new.ends_with('\n') {
                self.end_line(&mut out);
            }
            out.push_str(new);
            at = *end;
        }
        out.push_str(&self.text[at..]);
        if !self.appended.is_empty() {
            self.end_line(&mut out);
            out.push_str(&self.appended);
        }
        out
    }

    fn end_line(&self, out: &mut String) {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push_str(self.newline);
        }
    }

    /// Gives a pair another value.
    pub fn replace(&mut self, key: &Node<'_>, value: &Node<'_>, new: Piece) {
        let colon = self.colon(key);
        let is_block = matches!(value.value, NodeValue::Scalar(_, Style::Block));
        let in_lines = !self.in_brackets(colon) && new.takes_lines();
        let start = if is_block || in_lines || is_absent(value) { colon } else { self.offset(value.at) };
        let end = if is_absent(value) { colon } else { self.end(value) };
        if self.is_block_collection(value) {
            self.children(value).iter().for_each(|child| self.remove_lines(child.clone()));
            return self.edit(colon..colon, format!(" {}", self.inline(&new, Quotes::Needed)));
        }
        // A comment stands behind the first line of the value, or behind the last one of a value on one line.
        let comment_from = if is_block { colon } else { end };
        let rest = self.rest_of_line(comment_from);
        let comment = self.text[rest.clone()].find('#').map(|at| &self.text[rest.start + at..rest.end]);
        let comment = comment.map(|comment| format!(" {}", comment.trim_end())).unwrap_or_default();
        if in_lines {
            let lines = new.pair("x", key.at.column.saturating_sub(1) as usize);
            let lines = lines.trim_end_matches('\n').trim_start().trim_start_matches("x:");
            let (first, below) = lines.split_once('\n').unwrap_or((lines, ""));
            let end = if is_block { end } else { rest.end };
            return self.edit(start..end, format!("{first}{comment}\n{below}"));
        }
        let written = self.inline(&new, self.quotes(value));
        if is_block {
            self.edit(start..end, format!(" {written}{comment}"));
        } else if is_absent(value) {
            // Spaces before the end of the line set off nothing.
            let end = if self.text[rest.clone()].trim().is_empty() { rest.end } else { end };
            self.edit(start..end, format!(" {written}"));
        } else {
            self.edit(start..end, written);
        }
    }

    fn rest_of_line(&self, from: usize) -> Range<usize> {
        let end = self.text[from..].find('\n').map_or(self.text.len(), |at| from + at);
        let end = if self.text[from..end].ends_with('\r') { end - 1 } else { end };
        from..end
    }

    /// Gives a pair another key and another value.
    pub fn replace_pair(&mut self, key: &Node<'_>, value: &Node<'_>, name: &str, new: Piece) {
        let name = self::key(name, self.json);
        self.edit(self.offset(key.at)..self.offset(key.end), name);
        self.replace(key, value, new);
    }

    /// Takes items from a list that stands under a key, and adds some.
    pub fn edit_list(&mut self, key: &Node<'_>, list: &Node<'_>, stays: &[bool], added: Vec<Piece>) {
        let items = list.items();
        if items.is_empty() {
            if !added.is_empty() {
                self.replace(key, list, Piece::list(added));
            }
            return;
        }
        if self.is_flow(list) {
            let children: Vec<Range<usize>> = items.iter().map(|item| self.offset(item.at)..self.end(item)).collect();
            let added = added.iter().map(|piece| self.inline(piece, Quotes::Needed)).collect();
            return self.edit_brackets(list, &children, stays, added);
        }
        let going = items.iter().zip(stays).filter(|(_, stays)| !**stays);
        going.for_each(|(item, _)| self.remove_lines(self.offset(item.at)..self.end(item)));
        if added.is_empty() && !stays.contains(&true) {
            let colon = self.colon(key);
            return self.edit(colon..colon, " []".into());
        }
        let Some(margin) = self.margin_of_item(&items[0]) else { return };
        let lines: String = added.iter().map(|piece| piece.item(margin)).collect();
        self.insert_after(list, lines);
    }

    /// Takes pairs from a mapping that has some, and adds others.
    pub fn edit_map(&mut self, map: &Node<'_>, stays: &[bool], added: Vec<(String, Piece)>) {
        let pairs = map.pairs().unwrap_or_default();
        let Some((first, _)) = pairs.first() else { return };
        if self.is_flow(map) {
            let children = self.children(map);
            let write = |(name, piece): &(String, Piece)| {
                format!("{}: {}", key(name, self.json), self.inline(piece, Quotes::Needed))
            };
            let added = added.iter().map(write).collect();
            return self.edit_brackets(map, &children, stays, added);
        }
        for ((name, value), _) in pairs.iter().zip(stays).filter(|(_, stays)| !**stays) {
            let lines = self.whole_lines(self.offset(name.at)..self.end_of_pair(name, value));
            // Comments between the lines of the value stay. Less deep, so that no text above takes them for its own.
            let comments = self.text[lines.clone()].lines().map(str::trim).filter(|line| line.starts_with('#'));
            let margin = " ".repeat(name.at.column.saturating_sub(1) as usize);
            let comments: String = comments.map(|comment| format!("{margin}{comment}\n")).collect();
            let is_text = matches!(value.value, NodeValue::Scalar(..));
            self.edit(lines, if is_text { String::new() } else { comments });
        }
        let margin = first.at.column.saturating_sub(1) as usize;
        let lines: String = added.into_iter().map(|(name, piece)| piece.pair(&name, margin)).collect();
        self.insert_after(map, lines);
    }

    /// Removes a document with the line that sets it off.
    pub fn remove_document(&mut self, root: &Node<'_>) {
        let lines = self.whole_lines(self.offset(root.at)..self.end(root));
        let start = self.text[..lines.start].rfind("\n---").map(|at| at + 1);
        let start = start.or_else(|| self.text.starts_with("---").then_some(0));
        // Between the marker and the document stands nothing but comments.
        let only_comments = |at: &usize| {
            let between = self.text[*at..lines.start].lines().skip(1);
            between.map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
        };
        let start = start.filter(only_comments).unwrap_or(lines.start);
        let end = self.text[lines.end.saturating_sub(1)..].find("\n---");
        let end = end.map_or(self.text.len(), |at| lines.end.saturating_sub(1) + at + 1);
        self.edit(start..end, String::new());
    }

    /// Adds a document at the end.
    pub fn append_document(&mut self, document: &str) {
        let document = format!("---\n{document}").replace('\n', self.newline);
        self.appended.push_str(&document);
    }

    /// Edits what stands between brackets: commas go with what they follow, or with what they would lead to.
    fn edit_brackets(&mut self, node: &Node<'_>, children: &[Range<usize>], stays: &[bool], added: Vec<String>) {
        let Some(last) = stays.iter().rposition(|stays| *stays) else {
            let (start, end) = (self.offset(node.at) + 1, self.end(node).saturating_sub(1));
            return self.edit(start..end.max(start), added.join(", "));
        };
        let mut behind = 0;
        for (child, _) in children.iter().zip(stays).filter(|(_, stays)| !**stays) {
            match self.comma_after(child.end) {
                Some(comma) => {
                    let spaces = self.text[comma + 1..].find(|c| c != ' ').unwrap_or_default();
                    let range = child.start..comma + 1 + spaces;
                    let lines = self.whole_lines(range.clone());
                    let alone = self.text[lines.start..range.start].trim().is_empty()
                        && self.text[range.end..lines.end].trim().is_empty();
                    let range = if alone { lines } else { range };
                    behind = range.end;
                    self.edit(range, String::new());
                }
                None => {
                    if let Some(comma) = self.comma_after(children[last].end) {
                        self.edit(comma..comma + 1, String::new());
                    }
                    let lines = self.whole_lines(child.clone());
                    let rest = self.text[lines.start..child.start].trim().is_empty() && lines.start > 0;
                    if rest && self.text[child.end..lines.end].trim().is_empty() {
                        self.edit(lines, String::new());
                    } else {
                        let spaces = self.text[..child.start].trim_end_matches(' ').len();
                        self.edit(spaces.max(behind)..child.end, String::new());
                    }
                }
            }
        }
        let line_start = self.whole_lines(children[last].clone()).start;
        let before = &self.text[line_start..children[last].start];
        let separator = if before.trim().is_empty() && !before.is_empty() {
            format!(",{}{before}", self.newline)
        } else {
            ", ".to_owned()
        };
        let new: String = added.iter().map(|piece| format!("{separator}{piece}")).collect();
        self.edit(children[last].end..children[last].end, new);
    }

    /// The comma behind a value within brackets, beyond spaces, lines and comments.
    fn comma_after(&self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let rest = &self.text[at..];
            let step = rest.find(|c: char| !c.is_whitespace())?;
            match rest.as_bytes()[step] {
                b',' => return Some(at + step),
                b'#' => at += step + rest[step..].find('\n')?,
                _ => return None,
            }
        }
    }

    fn remove_lines(&mut self, range: Range<usize>) {
        let lines = self.whole_lines(range);
        self.edit(lines, String::new());
    }

    /// Inserts whole lines behind the last line of a node.
    fn insert_after(&mut self, node: &Node<'_>, lines: String) {
        if !lines.is_empty() {
            let end = self.whole_lines(self.offset(node.at)..self.end(node)).end;
            self.edit(end..end, lines);
        }
    }

    fn edit(&mut self, range: Range<usize>, new: String) {
        let new = if self.newline == "\n" { new } else { new.replace("\r\n", "\n").replace('\n', self.newline) };
        if range.start < range.end || !new.is_empty() {
            self.edits.entry((range.start, range.end)).or_default().push_str(&new);
        }
    }

    fn inline(&self, piece: &Piece, quotes: Quotes) -> String {
        if self.json { piece.json() } else { piece.inline(quotes) }
    }

    /// The quotes that a value stands in.
    fn quotes(&self, value: &Node<'_>) -> Quotes {
        match (&value.value, self.text.as_bytes().get(self.offset(value.at))) {
            (NodeValue::Scalar(_, Style::Quoted), Some(b'\'')) => Quotes::Single,
            (NodeValue::Scalar(_, Style::Quoted), Some(b'"')) => Quotes::Double,
            _ => Quotes::Needed,
        }
    }

    /// How far the dash of an item is indented, where nothing but the dash stands before it.
    fn margin_of_item(&self, item: &Node<'_>) -> Option<usize> {
        let at = self.offset(item.at);
        let before = &self.text[self.whole_lines(at..at).start..at];
        let margin = before.find(|c| c != ' ')?;
        before[margin..].trim_end().eq("-").then_some(margin)
    }

    /// Behind the colon of a key.
    fn colon(&self, key: &Node<'_>) -> usize {
        let behind = self.offset(key.end);
        behind + self.text[behind..].find(':').map_or(0, |at| at + 1)
    }

    /// Where the items or pairs of a collection stand.
    fn children(&self, node: &Node<'_>) -> Vec<Range<usize>> {
        let pairs = node.pairs().unwrap_or_default().iter();
        let pairs = pairs.map(|(key, value)| self.offset(key.at)..self.end_of_pair(key, value));
        node.items().iter().map(|item| self.offset(item.at)..self.end(item)).chain(pairs).collect()
    }

    fn end_of_pair(&self, key: &Node<'_>, value: &Node<'_>) -> usize {
        if is_absent(value) { self.offset(key.end) } else { self.end(value) }
    }

    fn in_brackets(&self, at: usize) -> bool {
        let before = self.brackets.partition_point(|range| range.start <= at);
        before > 0 && at < self.brackets[before - 1].end
    }

    fn is_flow(&self, node: &Node<'_>) -> bool {
        !matches!(node.value, NodeValue::Scalar(..)) && self.text[self.offset(node.at)..].starts_with(['[', '{'])
    }

    fn is_block_collection(&self, node: &Node<'_>) -> bool {
        !matches!(node.value, NodeValue::Scalar(..)) && !self.is_flow(node)
    }

    /// Where a node really ends. The parser tells where it went on, which may be behind spaces and comments.
    fn end(&self, node: &Node<'_>) -> usize {
        let start = self.offset(node.at);
        let rest = &self.text[start..];
        match &node.value {
            NodeValue::Scalar(_, Style::Block) => {
                let indent = node.at.column.saturating_sub(1) as usize;
                let inside =
                    |line: &&str| line.trim().is_empty() || line.len() - line.trim_start_matches(' ').len() >= indent;
                let first = self.whole_lines(start..start).start;
                let length = self.text[first..].split_inclusive('\n').take_while(inside).map(str::len).sum::<usize>();
                first + self.text[first..first + length].trim_end().len()
            }
            NodeValue::Scalar(_, Style::Quoted) if rest.starts_with(['"', '\'']) => {
                let quote = rest.as_bytes()[0];
                let mut bytes = rest.bytes().enumerate().skip(1).peekable();
                while let Some((at, byte)) = bytes.next() {
                    let doubled = quote == b'\'' && byte == quote && bytes.peek().is_some_and(|(_, b)| *b == quote);
                    if doubled || (quote == b'"' && byte == b'\\') {
                        bytes.next();
                    } else if byte == quote {
                        return start + at + 1;
                    }
                }
                self.text.len()
            }
            NodeValue::Scalar(..) => {
                let end = self.offset(node.end).max(start);
                let text = &self.text[start..end];
                let text = text.find(" #").map_or(text, |comment| &text[..comment]);
                start + text.trim_end().len()
            }
            _ if self.is_flow(node) => {
                let mut at = self.children(node).last().map_or(start + 1, |last| last.end);
                while let Some(c) = self.text[at..].chars().next().filter(|c| !matches!(c, ']' | '}')) {
                    at += if c == '#' { self.rest_of_line(at).len() } else { c.len_utf8() };
                }
                (at + 1).min(self.text.len())
            }
            _ => self.children(node).last().map_or(start, |last| last.end),
        }
    }

    fn whole_lines(&self, range: Range<usize>) -> Range<usize> {
        let start = self.text[..range.start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[range.end..].find('\n').map_or(self.text.len(), |at| range.end + at + 1);
        start..end
    }

    fn offset(&self, at: Position) -> usize {
        let line = (at.line.max(1) as usize - 1).min(self.lines.len() - 1);
        let start = self.lines[line];
        let rest = &self.text[start..];
        let column = at.column.max(1) as usize - 1;
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }
}

/// Whether nothing at all stands where the value would.
fn is_absent(value: &Node<'_>) -> bool {
    value.is_null() && value.text() == Some("")
}
