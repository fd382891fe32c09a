//! Rows as manifests: an organization with its children inline, or one resource as a document of its own.
//!
//! Whatever is written here reads back to the same values. General writers leave dates, `12:30` or `1_000` without
//! quotes, which some reader takes for something other than text, and our own reader refuses; so quotes are decided
//! here, by the very rule that the reader goes by.

mod piece;

pub use piece::{Piece, Quotes, key};

use crate::model::id::OrganizationName;
use crate::model::kind::{API_VERSION, Key, Kind, KindId, Scope};
use crate::model::kinds::organization;
use crate::model::plain::{is_unseen, misread_as};
use crate::model::resource::Spec;
use crate::model::shape::{Field, Shape};
use crate::model::state::Live;
use crate::model::value::Value;

/// Writes an organization with its children inline, as far as the selection takes them. Fields that hold their
/// defaults are left out.
pub fn organization(
    organization: &OrganizationName,
    live: &Live,
    schema_url: Option<&str>,
    selection: impl Fn(KindId, &str) -> bool,
) -> String {
    let root: &'static Kind = &organization::KIND;
    let id = KindId::of(root);
    let mut out = head(root, schema_url, organization);
    let mut spec = Node::default();
    if let Some(row) = live.rows.get(&(id, organization.clone())).filter(|_| selection(id, organization)) {
        spec.fields(root, &row.spec, true);
    }
    for child in Kind::children() {
        let child_id = KindId::of(child);
        let rows = live.rows.range((child_id, "".into())..).take_while(|((kind, _), _)| *kind == child_id);
        let mut items = Vec::new();
        for ((_, name), row) in rows.filter(|((_, name), _)| selection(child_id, name)) {
            let mut item = Node::default();
            item.push(child.key.field(), Yaml::Text(name.to_string()));
            item.fields(child, &row.spec, true);
            items.push(Yaml::Mapping(item));
        }
        if !items.is_empty() {
            spec.push(child.plural, Yaml::Sequence(items));
        }
    }
    write_spec(&mut out, spec);
    out
}

/// Writes what all organizations share, a document each. Fields that hold their defaults are left out.
pub fn shared(live: &Live, schema_url: Option<&str>) -> String {
    let document = |kind: &'static Kind, name: &str, spec: &Spec| {
        let mut out = head(kind, schema_url, name);
        let mut node = Node::default();
        node.fields(kind, spec, true);
        write_spec(&mut out, node);
        out
    };
    let shared = live.rows.iter().filter(|((kind, _), _)| kind.get().scope == Scope::Global);
    let documents: Vec<String> = shared.map(|((kind, name), row)| document(kind.get(), name, &row.spec)).collect();
    documents.join("---\n")
}

/// Writes one resource as a document of its own.
pub fn resource(kind: &'static Kind, organization: &OrganizationName, name: &str, spec: &Spec) -> String {
    let object = match kind.key {
        Key::Name => name.to_owned(),
        Key::User => object_name(name),
    };
    let mut out = head(kind, None, &object);
    let mut node = Node::default();
    if kind.scope == Scope::Child {
        node.push("organization", Yaml::Text(organization.to_string()));
    }
    if kind.key == Key::User {
        node.push(kind.key.field(), Yaml::Text(name.to_owned()));
    }
    node.fields(kind, spec, false);
    write_spec(&mut out, node);
    out
}

/// A name for the Kubernetes object of a person: the address, with what cannot stand in a name replaced.
fn object_name(email: &str) -> String {
    let safe: String = email.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    safe.trim_matches('-').chars().take(63).collect()
}

fn head(kind: &Kind, schema_url: Option<&str>, name: &str) -> String {
    let mut out = String::new();
    if let Some(url) = schema_url {
        out.push_str(&format!("# yaml-language-server: $schema={}\n", url.replace(['\n', '\r'], "")));
    }
    out.push_str(&format!("apiVersion: {API_VERSION}\nkind: {}\nmetadata:\n  name: ", kind.name));
    write_text(&mut out, name, 4);
    out
}

fn write_spec(out: &mut String, spec: Node) {
    if !spec.0.is_empty() {
        out.push_str("spec:\n");
        write_mapping(out, &spec, 2, false);
    }
}

/// A mapping that is being put together, in the order in which it is written.
#[derive(Default)]
struct Node(Vec<(String, Yaml)>);

enum Yaml {
    Null,
    Plain(String),
    Text(String),
    /// A list of single values, on one line.
    Line(Vec<Yaml>),
    Sequence(Vec<Yaml>),
    Mapping(Node),
}

impl Node {
    fn push(&mut self, name: &str, value: Yaml) {
        self.0.push((name.to_owned(), value));
    }

    /// Adds the fields of a spec in the order of the kind, nested as their paths say.
    fn fields(&mut self, kind: &'static Kind, spec: &Spec, without_defaults: bool) {
        for entry in spec.entries() {
            let field: &'static Field = &kind.fields[entry.field as usize];
            let empty_default = entry.value.is_empty() && field.preset.value().is_empty();
            let default = entry.value == field.preset.value() || empty_default;
            if without_defaults && default && !field.required {
                continue;
            }
            self.insert(field.path, yaml(&field.shape, &entry.value));
        }
    }

    fn insert(&mut self, path: &str, value: Yaml) {
        let Some((head, rest)) = path.split_once('.') else {
            self.push(path, value);
            return;
        };
        if !self.0.iter().any(|(name, _)| name == head) {
            self.push(head, Yaml::Mapping(Node::default()));
        }
        if let Some((_, Yaml::Mapping(below))) = self.0.iter_mut().find(|(name, _)| name == head) {
            below.insert(rest, value);
        }
    }
}

fn yaml(shape: &Shape, value: &Value) -> Yaml {
    match (shape, value) {
        (Shape::List { fields, .. }, Value::List(items)) => {
            Yaml::Sequence(items.iter().map(|item| Yaml::Mapping(record(fields, item))).collect())
        }
        (_, Value::List(items)) => Yaml::Line(items.iter().map(single).collect()),
        (_, Value::Map(pairs)) => {
            Yaml::Mapping(Node(pairs.iter().map(|(name, value)| (name.to_string(), single(value))).collect()))
        }
        (_, value) => single(value),
    }
}

fn record(fields: &'static [Field], item: &Value) -> Node {
    let mut node = Node::default();
    for field in fields {
        let Some(value) = item.get(field.path) else { continue };
        if field.required || *value != field.preset.value() {
            node.insert(field.path, yaml(&field.shape, value));
        }
    }
    node
}

fn single(value: &Value) -> Yaml {
    match value {
        Value::Null => Yaml::Null,
        Value::Bool(yes) => Yaml::Plain(yes.to_string()),
        Value::Int(number) => Yaml::Plain(number.to_string()),
        Value::Float(number) => {
            // Never an exponent: not every reader takes one for a number.
            let digits = number.to_string();
            Yaml::Plain(if digits.contains('.') { digits } else { format!("{digits}.0") })
        }
        Value::Text(text) => Yaml::Text(text.to_string()),
        Value::List(items) => Yaml::Line(items.iter().map(single).collect()),
        Value::Map(pairs) => {
            Yaml::Mapping(Node(pairs.iter().map(|(name, value)| (name.to_string(), single(value))).collect()))
        }
    }
}

/// Writes the lines of a mapping; of an item of a list the first line is indented already.
fn write_mapping(out: &mut String, node: &Node, indent: usize, mut in_place: bool) {
    for (name, value) in &node.0 {
        if !in_place {
            out.push_str(&" ".repeat(indent));
        }
        in_place = false;
        out.push_str(&inline_text(name, true));
        out.push(':');
        match value {
            Yaml::Mapping(below) if below.0.is_empty() => out.push_str(" {}\n"),
            Yaml::Mapping(below) => {
                out.push('\n');
                write_mapping(out, below, indent + 2, false);
            }
            Yaml::Sequence(items) if !items.is_empty() => {
                out.push('\n');
                items.iter().for_each(|item| write_item(out, item, indent + 2));
            }
            other => {
                out.push(' ');
                write_value(out, other, indent + 2);
            }
        }
    }
}

fn write_item(out: &mut String, item: &Yaml, indent: usize) {
    out.push_str(&" ".repeat(indent));
    out.push_str("- ");
    match item {
        Yaml::Mapping(item) if !item.0.is_empty() => write_mapping(out, item, indent + 2, true),
        other => write_value(out, other, indent + 2),
    }
}

fn write_value(out: &mut String, value: &Yaml, indent: usize) {
    match value {
        Yaml::Text(text) => write_text(out, text, indent),
        other => {
            out.push_str(&inline(other));
            out.push('\n');
        }
    }
}

fn inline(value: &Yaml) -> String {
    match value {
        Yaml::Null => "null".into(),
        Yaml::Plain(text) => text.clone(),
        Yaml::Text(text) => inline_text(text, true),
        Yaml::Line(items) | Yaml::Sequence(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Yaml::Mapping(node) => {
            let pairs = node.0.iter().map(|(name, value)| format!("{}: {}", inline_text(name, true), inline(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Writes a text: several lines as a block, one line as it is or in quotes.
fn write_text(out: &mut String, text: &str, indent: usize) {
    if !is_block(text) {
        out.push_str(&inline_text(text, false));
        out.push('\n');
        return;
    }
    // The sign behind the bar says what becomes of the line feeds at the end.
    out.push_str(match (text.ends_with("\n\n"), text.ends_with('\n')) {
        (true, _) => "|+\n",
        (false, true) => "|\n",
        (false, false) => "|-\n",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// Whether a text can stand as a block and read back the same.
fn is_block(text: &str) -> bool {
    let plain_start = |line: &str| line.starts_with(|c: char| !c.is_whitespace());
    let plain_end = |line: &str| !line.ends_with([' ', '\t']);
    text.trim_end_matches('\n').contains('\n')
        && plain_start(text)
        && text.split('\n').all(|line| line.is_empty() || plain_end(line))
        && !text.chars().any(|c| c != '\n' && (c == '\t' || is_unseen(c)))
}

/// A text on one line; within brackets or as a key more signs need quotes.
fn inline_text(text: &str, within: bool) -> String {
    if is_plain(text, within) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if is_unseen(c) && (c as u32) < 0x1_0000 => quoted.push_str(&format!("\\u{:04X}", c as u32)),
            c if is_unseen(c) => quoted.push_str(&format!("\\U{:08X}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a text reads as itself without quotes.
fn is_plain(text: &str, within: bool) -> bool {
    let first = |c: char| c.is_alphanumeric() || matches!(c, '/' | '_' | '.' | '+' | '(' | ';' | '$' | '^');
    let inner = |c: char| {
        c.is_alphanumeric()
            || matches!(
                c,
                ' ' | '/'
                    | '_'
                    | '.'
                    | '+'
                    | '-'
                    | '@'
                    | '('
                    | ')'
                    | ';'
                    | '$'
                    | '^'
                    | '*'
                    | '='
                    | '%'
                    | '!'
                    | '?'
                    | '\''
            )
    };
    let colons_inside = |text: &str| {
        let bytes = text.as_bytes();
        (0..bytes.len()).filter(|at| bytes[*at] == b':').all(|at| bytes.get(at + 1).is_some_and(|b| *b != b' '))
    };
    misread_as(text).is_none()
        && text.starts_with(first)
        && !text.ends_with(' ')
        && !text.starts_with("...")
        && text.chars().all(|c| (inner(c) || c == ':' || (c == ',' && !within)) && !is_unseen(c))
        && colons_inside(text)
}
