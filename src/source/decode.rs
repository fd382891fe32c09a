//! Located values -> canonical values, by their [`Shape`]. Every error is reported where it stands; nothing that looks
//! like a secret is ever repeated.

mod texts;

use std::sync::Arc;

use super::yaml::{Node, NodeValue, Style};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::{Origin, Position};
use crate::model::plain::misread_as;
use crate::model::resource::ResourceId;
use crate::model::secret::{self, shown};
use crate::model::shape::{Field, Shape};
use crate::model::suggest::nearest;
use crate::model::value::Value;

/// The longest key of a free map, in characters.
pub const MAP_KEY_CHARS_MAX: usize = 253;

/// The longest text in a free map, in characters.
pub const MAP_TEXT_CHARS_MAX: usize = 4_000;

/// Collects what is wrong with one file while its values are read.
pub struct Reader<'f> {
    /// The file.
    pub file: &'f Arc<str>,
    /// What was found so far.
    pub findings: Vec<Finding>,
    /// How many of them are errors.
    pub errors: usize,
    /// The resource that is being read, for messages.
    pub subject: Option<ResourceId>,
}

impl<'f> Reader<'f> {
    /// A reader that has found nothing yet.
    pub fn new(file: &'f Arc<str>) -> Self {
        Reader { file, findings: Vec::new(), errors: 0, subject: None }
    }

    /// Reports an error; an empty hint is none.
    pub fn error(&mut self, at: Position, code: Code, message: impl Into<String>, hint: impl Into<String>) {
        self.errors += 1;
        if self.findings.len() >= super::yaml::FILE_FINDINGS_MAX {
            return;
        }
        let hint = hint.into();
        let mut finding = Finding::error(code, message).at(Origin::new(self.file, at));
        finding.subject = self.subject.as_ref().map(ToString::to_string);
        finding.hint = (!hint.is_empty()).then_some(hint);
        self.findings.push(finding);
    }

    /// Reads a value; none if something was wrong with it.
    pub fn value(&mut self, node: &Node<'_>, shape: &Shape, path: &str) -> Option<Value> {
        match shape {
            Shape::Set { item, items_max } => self.set(node, item, *items_max, path),
            Shape::List { fields, key, items_max } => self.list(node, fields, key, *items_max, path),
            Shape::Map { items_max } => self.map(node, *items_max, path),
            _ => self.single(node, shape, path),
        }
    }

    fn set(&mut self, node: &Node<'_>, item: &Shape, items_max: u32, path: &str) -> Option<Value> {
        let NodeValue::Sequence(nodes) = &node.value else { return self.empty_or_wrong(node, "a list", path) };
        self.room(nodes.len(), items_max, node.at, path)?;
        let errors = self.errors;
        let mut items: Vec<(Value, Position)> = Vec::with_capacity(nodes.len());
        for node in nodes {
            if node.is_null() {
                self.error(node.at, Code::WrongType, format!("an item of `{path}` is empty"), "remove it");
            } else if let Some(value) = self.single(node, item, path) {
                items.push((value, node.at));
            }
        }
        items.sort();
        for pair in items.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let text = pair[1].0.as_text().map_or_else(|| pair[1].0.to_string(), str::to_owned);
            self.twice(&text, pair[0].1, pair[1].1, path);
        }
        (self.errors == errors).then(|| Value::List(items.into_iter().map(|(value, _)| value).collect()))
    }

    fn twice(&mut self, text: &str, first: Position, second: Position, path: &str) {
        let message =
            format!("{} stands twice in `{path}`, first in line {}, column {}", shown(text), first.line, first.column);
        self.error(second, Code::DuplicateItem, message, "keep one of the two");
    }

    fn room(&mut self, items: usize, items_max: u32, at: Position, path: &str) -> Option<()> {
        if items <= items_max as usize {
            return Some(());
        }
        let message = format!("`{path}` has {items} items, and at most {items_max} may stand there");
        self.error(at, Code::OutOfBounds, message, "remove some, or split the resource");
        None
    }

    fn empty_or_wrong(&mut self, node: &Node<'_>, wanted: &str, path: &str) -> Option<Value> {
        let empty = match &node.value {
            NodeValue::Mapping(pairs) => pairs.is_empty(),
            NodeValue::Sequence(items) => items.is_empty(),
            NodeValue::Scalar(..) => node.is_null(),
        };
        if empty {
            return Some(if wanted == "a mapping" { Value::Map([].into()) } else { Value::List([].into()) });
        }
        if let (Some(text), NodeValue::Scalar(..)) = (node.text(), &node.value)
            && self.is_secret(node, text, path)
        {
            return None;
        }
        let hint = match wanted {
            "a list" => "write `[one, two]`, or one `- item` per line below the key",
            _ => "write one `key: value` per line, indented below the key",
        };
        self.error(node.at, Code::WrongType, format!("`{path}` takes {wanted}, and this is {}", node.what()), hint);
        None
    }

    fn list(
        &mut self,
        node: &Node<'_>,
        fields: &'static [Field],
        key: &str,
        items_max: u32,
        path: &str,
    ) -> Option<Value> {
        let NodeValue::Sequence(nodes) = &node.value else { return self.empty_or_wrong(node, "a list", path) };
        self.room(nodes.len(), items_max, node.at, path)?;
        let errors = self.errors;
        let mut items: Vec<(Value, Position)> = Vec::with_capacity(nodes.len());
        for node in nodes {
            if let Some(value) = self.record(node, fields, path) {
                items.push((value, node.at));
            }
        }
        if !key.is_empty() {
            items.sort_by(|(a, a_at), (b, b_at)| a.get(key).cmp(&b.get(key)).then(a_at.cmp(b_at)));
            for pair in items.windows(2).filter(|pair| pair[0].0.get(key) == pair[1].0.get(key)) {
                let text = pair[1].0.get(key).and_then(Value::as_text).unwrap_or_default().to_owned();
                self.twice(&text, pair[0].1, pair[1].1, path);
            }
        }
        (self.errors == errors).then(|| Value::List(items.into_iter().map(|(value, _)| value).collect()))
    }

    /// Reads one record of a list, completed with the presets of the fields that it leaves out.
    fn record(&mut self, node: &Node<'_>, fields: &'static [Field], path: &str) -> Option<Value> {
        let Some(pairs) = node.pairs() else {
            let text = node.text().unwrap_or_default();
            if !self.is_secret(node, text, path) {
                let names: Vec<&str> = fields.iter().map(|field| field.path).collect();
                let message = format!("an item of `{path}` is a mapping, and this is {}", node.what());
                self.error(node.at, Code::WrongType, message, format!("its fields are {}", names.join(", ")));
            }
            return None;
        };
        let errors = self.errors;
        let mut values: Vec<(&str, Value)> = Vec::with_capacity(fields.len());
        let mut named = 0_u64;
        for (name, node) in pairs {
            let text = name.text().unwrap_or_default();
            let Some(at) = fields.iter().position(|field| field.path == text) else {
                let owner = format!("an item of `{path}`");
                self.unknown_field(name, node, &owner, fields.iter().map(|field| field.path));
                continue;
            };
            let field = &fields[at];
            named |= 1 << at;
            if node.is_null() {
                if field.required {
                    let message = format!("`{}` in an item of `{path}` must be given, and this is null", field.path);
                    self.error(node.at, Code::NullRequired, message, "write its value");
                } else {
                    values.push((field.path, field.preset.value()));
                }
            } else if let Some(value) = self.value(node, &field.shape, field.path) {
                values.push((field.path, value));
            }
        }
        for (at, field) in fields.iter().enumerate().filter(|(at, _)| named & (1 << at) == 0) {
            if field.required {
                let message = format!("an item of `{path}` lacks `{}`", field.path);
                self.error(node.at, Code::MissingField, message, format!("add `{}`", fields[at].path));
            } else {
                values.push((field.path, field.preset.value()));
            }
        }
        (self.errors == errors).then(|| Value::map(values))
    }

    fn map(&mut self, node: &Node<'_>, items_max: u32, path: &str) -> Option<Value> {
        let Some(pairs) = node.pairs() else { return self.empty_or_wrong(node, "a mapping", path) };
        self.room(pairs.len(), items_max, node.at, path)?;
        let errors = self.errors;
        let mut values: Vec<(Box<str>, Value)> = Vec::with_capacity(pairs.len());
        for (key, node) in pairs {
            let NodeValue::Scalar(name, style) = &key.value else { continue };
            if *style == Style::Plain && (name.is_empty() || name == "<<") {
                // Already told when the tree was built.
                continue;
            }
            let misread = if *style == Style::Plain { misread_as(name) } else { None };
            if secret::looks_like(name).is_some() {
                self.is_secret(key, name, path);
            } else if let Some(misread) = misread {
                let message = format!("a key of `{path}` is text, and {} reads as {misread}", shown(name));
                self.error(key.at, Code::BadKey, message, format!("put it into quotes: \"{name}\""));
            } else if name.trim().is_empty() || name.chars().count() > MAP_KEY_CHARS_MAX || name.contains('\n') {
                let message = format!("a key of `{path}` is one line of 1 to {MAP_KEY_CHARS_MAX} characters");
                self.error(key.at, Code::BadKey, message, "choose a shorter name");
            } else if secret::is_secret_name(name)
                && node.holds_something()
                && !matches!(node.text(), Some("true" | "false"))
            {
                self.secret_below(node, &format!("`{path}.{name}` is named like a secret"));
            } else if let Some(value) = self.free(node, &format!("{path}.{name}")) {
                values.push((name.as_ref().into(), value));
            }
        }
        (self.errors == errors).then(|| Value::map(values))
    }

    /// Reads a value of a free map: text, a truth value, or a number in plain decimal digits.
    fn free(&mut self, node: &Node<'_>, path: &str) -> Option<Value> {
        let NodeValue::Scalar(text, style) = &node.value else {
            let message = format!("{} takes a single value, and this is {}", shown(path), node.what());
            self.error(node.at, Code::WrongType, message, "give each setting a name of its own");
            return None;
        };
        if node.is_null() {
            return Some(Value::Null);
        }
        if self.is_secret(node, text, path) {
            return None;
        }
        if *style == Style::Plain {
            match &**text {
                "true" => return Some(Value::Bool(true)),
                "false" => return Some(Value::Bool(false)),
                _ => {}
            }
            if is_decimal(text) {
                let number = text.parse::<i64>().ok().map(Value::Int);
                if number.is_none() {
                    let message = format!("{} is beyond 64 bits", shown(text));
                    self.error(node.at, Code::OutOfBounds, message, "put it into quotes to keep it as text");
                }
                return number;
            }
            if let Some(number) = fraction(text) {
                return Some(number);
            }
            if text.trim_start_matches(['+', '-']).to_ascii_lowercase().starts_with(".inf")
                || text.eq_ignore_ascii_case(".nan")
            {
                let message = format!("{} is not a finite number", shown(text));
                self.error(node.at, Code::OutOfBounds, message, "give a number in decimal digits");
                return None;
            }
        }
        if *style == Style::Plain && misread_as(text) == Some("a number") {
            let message = format!("{} is a number in a form that not every reader reads alike", shown(text));
            let hint = format!("put it into quotes, \"{text}\", or write decimal digits, as in `1000` or `0.5`");
            self.error(node.at, Code::WrongType, message, hint);
            return None;
        }
        self.plain_text(node, text, *style, path)?;
        self.length(node, text, MAP_TEXT_CHARS_MAX, path)?;
        Some(Value::text(&**text))
    }

    /// Refuses plain text that some YAML reader takes for something else, or that silently goes on in the next line.
    fn plain_text(&mut self, node: &Node<'_>, text: &str, style: Style, path: &str) -> Option<()> {
        if style != Style::Plain {
            return Some(());
        }
        if let Some(misread) = misread_as(text) {
            let hint = match misread {
                "nothing" => "write `null` to empty it, or put the text into quotes".to_owned(),
                _ => format!("put it into quotes: \"{text}\""),
            };
            let message = format!("{} takes text, and {} reads as {misread}", shown(path), shown(text));
            self.error(node.at, Code::WrongType, message, hint);
            return None;
        }
        if node.at.line != node.end.line {
            let message = format!("the text of {} goes on in the next line", shown(path));
            let hint = "put it into quotes, or check the indentation of the next line";
            self.error(node.at, Code::WrongType, message, hint);
            return None;
        }
        Some(())
    }

    fn length(&mut self, node: &Node<'_>, text: &str, chars_max: usize, path: &str) -> Option<()> {
        // Bytes are an upper bound of characters, and cheaper.
        if text.len() <= chars_max {
            return Some(());
        }
        let chars = text.chars().count();
        if chars <= chars_max {
            return Some(());
        }
        let message = format!("{} has {chars} characters, and at most {chars_max} are allowed", shown(path));
        self.error(node.at, Code::OutOfBounds, message, "make it shorter");
        None
    }

    /// Reports a value that looks like a well-known key.
    pub fn is_secret(&mut self, node: &Node<'_>, text: &str, path: &str) -> bool {
        let Some(what) = secret::looks_like(text) else { return false };
        self.plain_secret(node.at, &format!("{} holds what looks like {what}", shown(path)));
        true
    }

    fn plain_secret(&mut self, at: Position, message: &str) {
        self.error(
            at,
            Code::PlainSecret,
            message,
            "remove it and revoke it, for it stands in the history of this file; keep secrets in a store, and name \
             them by `secretRef`",
        );
    }

    /// Reports a value under a name for secrets at every line that it takes: none of them may be drawn, whatever else
    /// is wrong there.
    fn secret_below(&mut self, node: &Node<'_>, message: &str) {
        self.plain_secret(node.at, message);
        let mut line = node.at.line;
        self.secret_lines(node, message, &mut line);
    }

    fn secret_lines(&mut self, node: &Node<'_>, message: &str, line: &mut u32) {
        match &node.value {
            NodeValue::Scalar(..) => {
                if node.at.line > *line {
                    *line = node.at.line;
                    self.plain_secret(node.at, message);
                }
            }
            NodeValue::Sequence(items) => items.iter().for_each(|item| self.secret_lines(item, message, line)),
            NodeValue::Mapping(pairs) => {
                for (key, value) in pairs {
                    self.secret_lines(key, message, line);
                    self.secret_lines(value, message, line);
                }
            }
        }
    }

    /// Reports a single value where the name of a secret is wanted: it may be the secret itself.
    pub fn is_secret_itself(&mut self, node: &Node<'_>, name: &str) -> bool {
        let asks = name.to_ascii_lowercase().contains("secret") && node.pairs().is_none() && node.holds_something();
        if asks {
            let message = format!("`{name}` is a mapping that names a secret, and this may be the secret itself");
            self.secret_below(node, &message);
        }
        asks
    }

    /// Reports a field that nobody knows, with the one that was probably meant.
    pub fn unknown_field(
        &mut self,
        name: &Node<'_>,
        node: &Node<'_>,
        owner: &str,
        known: impl Iterator<Item = &'static str> + Clone,
    ) {
        let text = name.text().unwrap_or_default();
        if text.is_empty() || text == "<<" {
            return;
        }
        let meant = nearest(text, known.clone());
        let holds = node.holds_something();
        if secret::looks_like(text).is_some() {
            self.is_secret(name, text, owner);
            return;
        }
        if holds && secret::is_secret_name(text) {
            self.secret_below(node, &format!("{} is no field of {owner}, and is named like a secret", shown(text)));
            return;
        }
        if holds && self.is_secret(node, node.text().unwrap_or_default(), text) {
            return;
        }
        let message = format!("unknown field {} in {owner}", shown(text));
        let hint = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => {
                let names: Vec<&str> = known.collect();
                format!("the fields here are {}", names.join(", "))
            }
        };
        self.error(name.at, Code::UnknownField, message, hint);
    }

    /// Reads a single value.
    pub fn single(&mut self, node: &Node<'_>, shape: &Shape, path: &str) -> Option<Value> {
        let NodeValue::Scalar(text, style) = &node.value else {
            let message = format!("`{path}` takes {}, and this is {}", wanted(shape), node.what());
            self.error(node.at, Code::WrongType, message, "write one value behind the key");
            return None;
        };
        if node.is_null() {
            return Some(Value::Null);
        }
        let (text, style) = (&**text, *style);
        if self.is_secret(node, text, path) {
            return None;
        }
        match shape {
            Shape::Bool => self.truth(node, text, style, path),
            Shape::Int { min, max } => self.int(node, text, style, (*min, *max), path),
            _ => self.texts(node, text, style, shape, path),
        }
    }

    fn truth(&mut self, node: &Node<'_>, text: &str, style: Style, path: &str) -> Option<Value> {
        let meant = match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" | "1" => Some(true),
            "false" | "no" | "off" | "n" | "0" => Some(false),
            _ => None,
        };
        match (text, style) {
            ("true", Style::Plain) => return Some(Value::Bool(true)),
            ("false", Style::Plain) => return Some(Value::Bool(false)),
            _ => {}
        }
        let message = format!("`{path}` is `true` or `false`, and this is {}", shown(text));
        let hint = match meant {
            Some(meant) => format!("write {meant}, in lower case and without quotes"),
            None => "write true or false".into(),
        };
        let code = if meant.is_some() { Code::LooseBoolean } else { Code::WrongType };
        self.error(node.at, code, message, hint);
        None
    }

    fn int(&mut self, node: &Node<'_>, text: &str, style: Style, (min, max): (i64, i64), path: &str) -> Option<Value> {
        if !is_decimal(text) || style != Style::Plain {
            let message = format!("`{path}` takes a whole number, and this is {}", shown(text));
            let hint = match is_decimal(text) {
                true => "remove the quotes",
                false => "write decimal digits only, without point, exponent, underscore or leading zero",
            };
            self.error(node.at, Code::WrongType, message, hint);
            return None;
        }
        match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Some(Value::Int(number)),
            _ => {
                let message = format!("`{path}` is from {min} to {max}, and this is {}", shown(text));
                self.error(node.at, Code::OutOfBounds, message, "choose a number within the bounds");
                None
            }
        }
    }

    /// Reports pairs of a mapping that Argus itself defines (the envelope) and that nobody knows.
    pub fn unknown_among(&mut self, node: &Node<'_>, known: &'static [&'static str], owner: &str) {
        for (name, value) in node.pairs().unwrap_or_default() {
            if !known.contains(&name.text().unwrap_or_default()) {
                self.unknown_field(name, value, owner, known.iter().copied());
            }
        }
    }
}

fn wanted(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "`true` or `false`",
        Shape::Int { .. } => "a whole number",
        _ => "text",
    }
}

/// Whether a text is a whole number in the one form that every YAML reader reads alike.
pub fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
        && text != "-0"
}

/// A number with a point, if this is one in the form that every YAML reader reads alike.
fn fraction(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.')?;
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(part) || (whole.len() > 1 && whole.starts_with('0')) {
        return None;
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    // PostgreSQL's jsonb knows neither a negative zero nor large whole numbers with a point.
    Some(if number == 0.0 {
        Value::Float(0.0)
    } else if number.fract() == 0.0 && number.abs() >= 1e16 && number.abs() < 9.2e18 {
        Value::Int(number as i64)
    } else {
        Value::Float(number)
    })
}
