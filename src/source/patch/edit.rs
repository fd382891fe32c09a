//! Edits of a YAML text: values, items and documents are replaced, added and removed in place.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::model::origin::Position;
use crate::model::plain::misread_as;
use crate::model::value::Value;
use crate::source::yaml::{Node, NodeValue};

/// A text and what is to change in it.
pub struct Editor<'a> {
    text: &'a str,
    lines: Vec<usize>,
    newline: &'static str,
    /// Replacements by place; those of one place are in the order in which they were asked for.
    edits: BTreeMap<(usize, usize), String>,
    appended: String,
}

impl<'a> Editor<'a> {
    /// An editor of this text.
    pub fn new(text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        Editor { text, lines, newline, edits: BTreeMap::new(), appended: String::new() }
    }

    /// The text with all edits. Of two that overlap, the one that begins first counts.
    pub fn finish(self) -> String {
        let mut out = String::with_capacity(self.text.len() + self.appended.len());
        let mut at = 0;
        for ((start, end), new) in &self.edits {
            if *start < at {
                continue;
            }
            out.push_str(&self.text[at..*start]);
            out.push_str(new);
            at = *end;
        }
        out.push_str(&self.text[at..]);
        if !self.appended.is_empty() {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push_str(self.newline);
            }
            out.push_str(&self.appended);
        }
        out
    }

    /// Gives a pair another value.
    pub fn replace(&mut self, key: &Node<'_>, value: &Node<'_>, new: &Value) {
        let range = self.value_range(key, value);
        // After a key the value is set off by a space; where a value stands already, the space does too.
        let space = if self.text[..range.start].ends_with(':') { " " } else { "" };
        self.edit(range, format!("{space}{}", flow(new)));
    }

    /// Gives a pair another key and another value.
    pub fn replace_pair(&mut self, key: &Node<'_>, value: &Node<'_>, name: &str, new: &Value) {
        let range = self.offset(key.at)..self.value_range(key, value).end;
        self.edit(range, format!("{name}: {}", flow(new)));
    }

    /// Gives a set other items; in a list of lines only those that come and go are touched.
    pub fn replace_set(&mut self, key: &Node<'_>, value: &Node<'_>, new: &Value) {
        let listed: Vec<&Node<'_>> = value.items().iter().collect();
        if new.items().is_empty() || listed.is_empty() || self.is_flow(value) {
            return self.replace(key, value, new);
        }
        let same = |node: &Node<'_>, item: &Value| node.text().is_some_and(|text| written_as(text, item));
        let stay = |node: &Node<'_>| new.items().iter().any(|item| same(node, item));
        if !listed.iter().any(|node| stay(node)) {
            return self.replace(key, value, new);
        }
        listed.iter().filter(|node| !stay(node)).for_each(|node| self.remove_lines(node));
        let added = new.items().iter().filter(|item| !listed.iter().any(|node| same(node, item)));
        let added: Vec<Value> = added.cloned().collect();
        self.add_lines(value, &added);
    }

    /// Gives a list other records; records are told apart by their key.
    pub fn replace_records(&mut self, key: &Node<'_>, value: &Node<'_>, identity: &str, new: &Value) {
        let listed = value.items();
        if new.items().is_empty() || listed.is_empty() || self.is_flow(value) {
            return self.replace(key, value, new);
        }
        let id_of = |node: &Node<'_>| node.get(identity).and_then(|node| node.text().map(str::to_lowercase));
        let record_of = |node: &Node<'_>| {
            let id = id_of(node)?;
            new.items().iter().find(|record| record.get(identity).and_then(Value::as_text) == Some(&id))
        };
        if !listed.iter().any(|node| record_of(node).is_some()) {
            return self.replace(key, value, new);
        }
        for node in listed {
            match record_of(node) {
                None => self.remove_lines(node),
                Some(record) => self.replace_record(node, record),
            }
        }
        let known = |record: &Value| {
            listed.iter().any(|node| id_of(node).as_deref() == record.get(identity).and_then(Value::as_text))
        };
        let added: Vec<Value> = new.items().iter().filter(|record| !known(record)).cloned().collect();
        self.add_lines(value, &added);
    }

    fn replace_record(&mut self, node: &Node<'_>, record: &Value) {
        let mut missing = Vec::new();
        for (name, wanted) in record.pairs() {
            match node.pairs().unwrap_or_default().iter().find(|(key, _)| key.text() == Some(name)) {
                Some((key, value)) if !value.text().is_some_and(|text| written_as(text, wanted)) => {
                    self.replace(key, value, wanted);
                }
                Some(_) => {}
                None => missing.push((name.clone(), wanted.clone())),
            }
        }
        if !missing.is_empty() {
            self.add_pairs(node, &Value::map(missing));
        }
    }

    /// Adds pairs to a mapping that is not empty.
    pub fn add_pairs(&mut self, map: &Node<'_>, pairs: &Value) {
        let Some((first, _)) = map.pairs().and_then(<[_]>::first) else { return };
        let mut new = String::new();
        if self.is_flow(map) {
            for (key, value) in pairs.pairs() {
                new.push_str(&format!("{}: {}, ", scalar(key), flow(value)));
            }
            let at = self.offset(first.at);
            return self.edit(at..at, new);
        }
        let margin = " ".repeat(first.at.column.saturating_sub(1) as usize);
        for (key, value) in pairs.pairs() {
            new.push_str(&format!("{margin}{}: {}{}", scalar(key), flow(value), self.newline));
        }
        self.insert_after(map, &new);
    }

    /// Removes a pair from a mapping.
    pub fn remove_pair(&mut self, map: &Node<'_>, key: &Node<'_>) {
        let pairs = map.pairs().unwrap_or_default();
        let Some(at) = pairs.iter().position(|(name, _)| name.at == key.at) else { return };
        let value = &pairs[at].1;
        if self.is_flow(map) {
            let start = self.offset(key.at);
            let end = match pairs.get(at + 1) {
                Some((next, _)) => self.offset(next.at),
                None => self.end(value),
            };
            let start = match (pairs.get(at + 1), at) {
                (None, 1..) => self.end(&pairs[at - 1].1),
                _ => start,
            };
            self.edit(start..end, String::new());
        } else if pairs.len() == 1 {
            let range = self.offset(map.at)..self.end(map);
            self.edit(range, "{}".into());
        } else {
            let lines = self.whole_lines(self.offset(key.at)..self.end(value));
            self.edit(lines, String::new());
        }
    }

    /// Removes an item from the list that stands under a key.
    pub fn remove_item(&mut self, key: &Node<'_>, list: &Node<'_>, item: &Node<'_>) {
        if self.is_flow(list) {
            let items = list.items();
            let Some(at) = items.iter().position(|other| other.at == item.at) else { return };
            let range = match (at, items.get(at + 1)) {
                (_, Some(next)) => self.offset(item.at)..self.offset(next.at),
                (0, None) => self.offset(item.at)..self.end(item),
                (_, None) => self.end(&items[at - 1])..self.end(item),
            };
            return self.edit(range, String::new());
        }
        self.remove_lines(item);
        let lines = |node: &Node<'_>| self.whole_lines(self.offset(node.at)..self.end(node));
        let gone = |node: &Node<'_>| self.edits.contains_key(&(lines(node).start, lines(node).end));
        if list.items().iter().all(gone) {
            let all: Vec<_> = list.items().iter().map(lines).collect();
            all.iter().for_each(|lines| drop(self.edits.remove(&(lines.start, lines.end))));
            self.replace(key, list, &Value::List([].into()));
        }
    }

    /// Adds items to the list that stands under a key.
    pub fn add_items(&mut self, key: &Node<'_>, list: &Node<'_>, items: Vec<Value>) {
        if list.items().is_empty() {
            return self.replace(key, list, &Value::List(items.into()));
        }
        if self.is_flow(list) {
            let last = list.items().last().map(|last| self.end(last)).unwrap_or_default();
            let new: String = items.iter().map(|item| format!(", {}", flow(item))).collect();
            return self.edit(last..last, new);
        }
        self.add_lines(list, &items);
    }

    /// Removes a document with the line that sets it off.
    pub fn remove_document(&mut self, root: &Node<'_>) {
        let lines = self.whole_lines(self.offset(root.at)..self.end(root));
        let before = &self.text[..lines.start];
        let separator = before.trim_end().strip_suffix("---").filter(|rest| rest.is_empty() || rest.ends_with('\n'));
        let start = separator.map_or(lines.start, str::len);
        self.edit(start..lines.end, String::new());
    }

    /// Adds a document at the end.
    pub fn append_document(&mut self, document: &str) {
        if !document.starts_with("---") {
            self.appended.push_str("---");
            self.appended.push_str(self.newline);
        }
        self.appended.push_str(&document.replace('\n', self.newline));
    }

    fn remove_lines(&mut self, item: &Node<'_>) {
        let lines = self.whole_lines(self.offset(item.at)..self.end(item));
        self.edit(lines, String::new());
    }

    /// Adds items in lines of their own behind the last one of a block list.
    fn add_lines(&mut self, list: &Node<'_>, items: &[Value]) {
        let Some(first) = list.items().first() else { return };
        let line_start = self.lines[first.at.line as usize - 1];
        let before = &self.text[line_start..self.offset(first.at)];
        let margin = &before[..before.find('-').unwrap_or(before.len())];
        let mut new = String::new();
        for item in items {
            match item {
                Value::Map(pairs) => {
                    // Who it is comes first, as people write it.
                    let rank = |key: &str| !matches!(key, "user" | "name" | "team");
                    let mut pairs: Vec<_> = pairs.iter().collect();
                    pairs.sort_by_key(|(key, _)| rank(key));
                    for (at, (key, value)) in pairs.into_iter().enumerate() {
                        let dash = if at == 0 { "- " } else { "  " };
                        new.push_str(&format!("{margin}{dash}{}: {}{}", scalar(key), flow(value), self.newline));
                    }
                }
                item => new.push_str(&format!("{margin}- {}{}", flow(item), self.newline)),
            }
        }
        self.insert_after(list, &new);
    }

    /// Inserts whole lines behind the last line of a node.
    fn insert_after(&mut self, node: &Node<'_>, new: &str) {
        if new.is_empty() {
            return;
        }
        let end = self.whole_lines(self.offset(node.at)..self.end(node)).end;
        let missing = !self.text[..end].ends_with('\n');
        let new =
            if missing { format!("{}{}", self.newline, new.trim_end_matches(['\r', '\n'])) } else { new.to_owned() };
        self.edit(end..end, new);
    }

    fn edit(&mut self, range: Range<usize>, new: String) {
        self.edits.entry((range.start, range.end)).or_default().push_str(&new);
    }

    /// From behind the colon (where the value is in lines of its own) or from its beginning, to the end of a value.
    fn value_range(&self, key: &Node<'_>, value: &Node<'_>) -> Range<usize> {
        let behind_key = self.offset(key.end);
        let colon = behind_key + self.text[behind_key..].find(':').map_or(0, |at| at + 1);
        let start = self.offset(value.at);
        let nothing = value.text() == Some("") && value.is_null();
        let in_lines = matches!(value.value, NodeValue::Sequence(_) | NodeValue::Mapping(_)) && !self.is_flow(value);
        match (nothing, in_lines) {
            (true, _) => colon..colon,
            (_, true) => colon..self.end(value),
            _ => start..self.end(value),
        }
    }

    fn is_flow(&self, node: &Node<'_>) -> bool {
        self.text[self.offset(node.at)..].starts_with(['[', '{'])
    }

    /// Where a node really ends: block collections end with their last value.
    fn end(&self, node: &Node<'_>) -> usize {
        match &node.value {
            NodeValue::Sequence(items) if !self.is_flow(node) => {
                items.last().map_or(self.offset(node.at), |i| self.end(i))
            }
            NodeValue::Mapping(pairs) if !self.is_flow(node) => {
                pairs.last().map_or(self.offset(node.at), |(key, value)| {
                    if value.text() == Some("") && value.is_null() { self.offset(key.end) } else { self.end(value) }
                })
            }
            _ => {
                let start = self.offset(node.at);
                let end = self.offset(node.end).max(start);
                start + self.text[start..end].trim_end().len()
            }
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

/// Whether a scalar of a manifest says this value.
fn written_as(text: &str, value: &Value) -> bool {
    match value {
        Value::Text(wanted) => **wanted == *text || **wanted == *text.to_lowercase(),
        Value::Null => text.is_empty() || text == "null",
        other => other.to_string() == text,
    }
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Text(text) => scalar(text),
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Text without quotes where every reader takes it for text, as JSON elsewhere.
fn scalar(text: &str) -> String {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_@./-+ ".contains(c));
    if first && plain && !text.ends_with(' ') && misread_as(text).is_none() {
        text.to_owned()
    } else {
        Value::text(text).to_string()
    }
}
