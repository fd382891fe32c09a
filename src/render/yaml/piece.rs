//! Parts of manifests: a value, a list item or a pair, to be written into a file that exists.

use super::{Node, Yaml, inline, inline_text, is_block, quoted, write_item, write_mapping, yaml};
use crate::model::kind::Kind;
use crate::model::plain::is_unseen;
use crate::model::resource::Spec;
use crate::model::shape::Shape;
use crate::model::value::Value;

/// Which quotes a text takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotes {
    /// None where it reads back without them.
    Needed,
    /// `'`, where that can write it.
    Single,
    /// `"`.
    Double,
}

/// A value that is ready to be written in any style.
pub struct Piece(Yaml);

impl Piece {
    /// The value of a field.
    pub fn value(shape: &Shape, value: &Value) -> Self {
        Piece(yaml(shape, value))
    }

    /// One record of a list of this shape.
    pub fn record(shape: &Shape, record: &Value) -> Self {
        match shape {
            Shape::List { fields, .. } => Piece(Yaml::Mapping(super::record(fields, record))),
            _ => Piece::value(shape, record),
        }
    }

    /// A resource as an item of the list of its kind.
    pub fn child(kind: &'static Kind, name: &str, spec: &Spec) -> Self {
        let mut node = Node::default();
        node.push(kind.key.field(), Yaml::Text(name.to_owned()));
        node.fields(kind, spec, true);
        Piece(Yaml::Mapping(node))
    }

    /// A mapping of these.
    pub fn mapping(pairs: Vec<(String, Piece)>) -> Self {
        Piece(Yaml::Mapping(Node(pairs.into_iter().map(|(name, piece)| (name, piece.0)).collect())))
    }

    /// A list of these.
    pub fn list(items: Vec<Piece>) -> Self {
        let single = items.iter().all(|item| !matches!(item.0, Yaml::Mapping(_)));
        let items = items.into_iter().map(|item| item.0).collect();
        Piece(if single { Yaml::Line(items) } else { Yaml::Sequence(items) })
    }

    /// On one line.
    pub fn inline(&self, quotes: Quotes) -> String {
        match (&self.0, quotes) {
            (Yaml::Text(text), Quotes::Single) if !text.chars().any(|c| is_unseen(c) || c.is_control()) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            (Yaml::Text(text), Quotes::Single | Quotes::Double) => quoted(text),
            (other, _) => inline(other),
        }
    }

    /// On one line, as JSON.
    pub fn json(&self) -> String {
        json(&self.0)
    }

    /// Behind `name`, as lines whose first is indented by so much: `name: value`, or `name:` and lines below it.
    pub fn pair(self, name: &str, indent: usize) -> String {
        let mut out = String::new();
        write_mapping(&mut out, &Node(vec![(name.to_owned(), self.0)]), indent, false);
        out
    }

    /// As lines that begin with `- `, indented by so much.
    pub fn item(&self, indent: usize) -> String {
        let mut out = String::new();
        write_item(&mut out, &self.0, indent);
        out
    }

    /// Whether it is best written in lines of its own.
    pub fn takes_lines(&self) -> bool {
        match &self.0 {
            Yaml::Text(text) => is_block(text),
            Yaml::Sequence(items) => !items.is_empty(),
            Yaml::Mapping(node) => !node.0.is_empty(),
            Yaml::Null | Yaml::Plain(_) | Yaml::Line(_) => false,
        }
    }
}

/// A key as it stands before a colon.
pub fn key(name: &str, as_json: bool) -> String {
    if as_json { quoted(name) } else { inline_text(name, true) }
}

fn json(value: &Yaml) -> String {
    match value {
        Yaml::Text(text) => quoted(text),
        Yaml::Line(items) | Yaml::Sequence(items) => {
            format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", "))
        }
        Yaml::Mapping(node) => {
            let pairs = node.0.iter().map(|(name, value)| format!("{}: {}", quoted(name), json(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => inline(other),
    }
}
