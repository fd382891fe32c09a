//! Forms of values and the fields that take them, as structural schemas.
//!
//! A structural schema says of everything what it is: no references, no alternatives, and each bound is given, because
//! what a rule in CEL may cost is worked out from the bounds.

use serde_json::{Value, json};

use crate::model::id::{EMAIL_CHARS_MAX, NAME_CHARS_MAX};
use crate::model::money::{CURRENCIES, MINOR_UNITS_MAX};
use crate::model::plain::is_unseen;
use crate::model::rule::Rule;
use crate::model::shape::{Field, Shape};

/// The longest text that is neither free nor bounded by its form.
const WORD_CHARS_MAX: usize = 300;

/// The longest text in a free map.
const MAP_TEXT_CHARS_MAX: usize = 4_000;

/// The longest length of time, in seconds: a hundred years.
const DURATION_SECONDS_MAX: i64 = 100 * 366 * 86_400;

/// One label of a domain.
const LABEL: &str = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";

/// A mapping that is being put together.
pub struct Node {
    schema: Value,
    validations: Vec<Value>,
    /// Whether it is one of many.
    inline: bool,
}

impl Node {
    /// A mapping with nothing in it.
    pub fn new() -> Node {
        Node { schema: json!({ "type": "object", "properties": {} }), validations: Vec::new(), inline: false }
    }

    /// The same, as one of many in a list.
    pub fn inline() -> Node {
        Node { inline: true, ..Node::new() }
    }

    /// Adds a property.
    pub fn property(&mut self, name: &str, schema: Value) {
        insert(&mut self.schema, name, schema);
    }

    /// Says that a property must be given.
    pub fn needs(&mut self, name: &str) {
        require(&mut self.schema, name);
    }

    /// Adds a rule.
    pub fn rule(&mut self, rule: Value) {
        self.validations.push(rule);
    }

    /// Adds the fields of a resource, nested as their paths say. None has a default: a field that is not named is left
    /// alone. Some take the words that are given for their paths.
    pub fn fields(&mut self, fields: &'static [Field], words: &dyn Fn(&str) -> Option<Vec<&'static str>>) {
        for field in fields {
            let mut value = form(&field.shape);
            if !self.inline {
                value = worded(value, &field.shape);
            }
            if let Shape::List { fields, .. } = field.shape {
                value["items"] = record(fields, &|path| words(&format!("{}.{path}", field.path)));
            }
            if let Some(words) = words(field.path) {
                let place = if field.shape.is_collection() { &mut value["items"] } else { &mut value };
                *place = json!({ "type": "string", "enum": words });
            }
            if field.fixed {
                let fixed = Rule::new("self == oldSelf", "", "this is said when it is made and cannot change later");
                value["x-kubernetes-validations"] = json!([rule(&fixed)]);
            }
            let value = described(value, field.about);
            self.field(field, if field.required { value } else { nullable(value) });
        }
    }

    /// Puts a field where its path leads.
    fn field(&mut self, field: &Field, value: Value) {
        let mut parts: Vec<&str> = field.path.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        let mut at = &mut self.schema;
        for part in parts {
            if field.required {
                require(at, part);
            }
            let below = &mut at["properties"][part];
            if below.is_null() {
                *below = json!({ "type": "object", "nullable": true, "properties": {} });
                *below = described(below.take(), &format!("What belongs to `{part}`."));
            }
            if field.required
                && let Some(group) = below.as_object_mut()
            {
                group.remove("nullable");
            }
            at = below;
        }
        match (field.singular, field.shape) {
            (Some(single), Shape::Set { item, .. }) => {
                let one = described(form(item), &format!("A single one of `{last}`."));
                insert(at, single, if field.required { one } else { nullable(one) });
                self.validations.extend(either(field.required, single, last));
            }
            _ if field.required => require(at, last),
            _ => {}
        }
        insert(at, last, value);
    }

    /// The schema with its rules.
    pub fn finish(mut self, about: &str) -> Value {
        if !self.validations.is_empty() {
            self.schema["x-kubernetes-validations"] = Value::Array(self.validations);
        }
        described(self.schema, about)
    }
}

/// Says that a field has two spellings.
fn either(required: bool, single: &str, many: &str) -> Vec<Value> {
    let twice = format!("!has(self.{single}) || !has(self.{many})");
    let message = format!("`{single}` and `{many}` say the same thing twice: keep `{many}`");
    let mut rules = vec![validation(&twice, single, &message, "FieldValueInvalid")];
    if required {
        let missing = format!("has(self.{single}) || has(self.{many})");
        let message = format!("`{many}` is missing: add `{many}`, or `{single}` for a single one");
        rules.push(validation(&missing, many, &message, "FieldValueRequired"));
    }
    rules
}

/// A record of a list. It may stand many times, so that words are told by a pattern, which costs nothing and lets null be.
fn record(fields: &'static [Field], words: &dyn Fn(&str) -> Option<Vec<&'static str>>) -> Value {
    let mut record = Node::new();
    for field in fields {
        let mut value = described(form(&field.shape), field.about);
        if let Some(words) = words(field.path) {
            value["enum"] = json!(words);
        }
        if field.required {
            record.needs(field.path);
        } else {
            if let Some(words) = without_words(&mut value) {
                value["pattern"] = format!("^({})$", words.join("|")).into();
            }
            value = nullable(value);
        }
        record.property(field.path, value);
    }
    record.finish("One of them.")
}

/// Takes the words of a schema out of it but for its description: an API server takes null for none of them, even where
/// it is one of them.
fn without_words(schema: &mut Value) -> Option<Vec<String>> {
    let Some(Value::Array(words)) = schema.as_object_mut()?.remove("enum") else { return None };
    let words: Vec<String> = words.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    schema["maxLength"] = words.iter().map(String::len).max().unwrap_or_default().into();
    let about = schema["description"].as_str().unwrap_or_default();
    schema["description"] = format!("{about} One of {}.", words.join(", ")).into();
    Some(words)
}

/// A rule as a schema has it.
pub fn rule(rule: &Rule) -> Value {
    let reason = if rule.missing { "FieldValueRequired" } else { "FieldValueInvalid" };
    validation(rule.cel, rule.at, rule.message, reason)
}

/// A rule in CEL.
fn validation(cel: &str, at: &str, message: &str, reason: &str) -> Value {
    let mut validation = json!({ "rule": cel, "message": message, "reason": reason });
    if !at.is_empty() {
        validation["fieldPath"] = format!(".{at}").into();
    }
    validation
}

/// Adds a property to a mapping.
fn insert(node: &mut Value, name: &str, schema: Value) {
    node["properties"][name] = schema;
}

fn require(node: &mut Value, name: &str) {
    if node.get("required").is_none() {
        node["required"] = json!([]);
    }
    if let Value::Array(names) = &mut node["required"]
        && !names.iter().any(|known| known == name)
    {
        names.push(name.into());
    }
}

/// The same with a description.
pub fn described(mut schema: Value, about: &str) -> Value {
    schema["description"] = about.into();
    schema
}

/// The same, or null, which empties the field.
pub fn nullable(mut schema: Value) -> Value {
    schema["nullable"] = true.into();
    if let Some(words) = without_words(&mut schema) {
        let message = format!("write one of {}", words.join(", "));
        add_rule(&mut schema, &format!("self in {words:?}"), &message);
    }
    schema
}

/// The same, with words for people instead of its pattern. A rule costs something for each value that is looked at, so
/// that what stands in lists keeps its pattern.
pub fn worded(schema: Value, shape: &Shape) -> Value {
    let message = match shape {
        Shape::Line { .. } => {
            "this is text on one line, without characters that nobody sees: join the lines, delete those"
        }
        Shape::Prose { .. } => "there are characters in this text that nobody sees: delete them",
        Shape::Email => "this is no email address: write it as in `ada@acme.example`",
        Shape::Domain => {
            "this is no domain name: write it as in `acme.example`; an international domain in its `xn--` form"
        }
        Shape::Url => "this is no address: write it as in `https://acme.example/path`, without a name or a password",
        Shape::Schedule => "this is no schedule: write five fields as cron does, as in \"0 3 * * 1\"",
        Shape::Duration => "this is no length of time: write a number and a unit: `90d`, `24h`, `30m`, `45s`",
        Shape::Money => {
            "this is no money: write an amount and a currency, as in `250 USD`, and no more digits than the currency has"
        }
        _ => return schema,
    };
    explained(schema, message)
}

/// The same, with this message instead of its pattern.
pub fn explained(mut schema: Value, message: &str) -> Value {
    if let Some(Value::String(pattern)) = schema.as_object_mut().and_then(|schema| schema.remove("pattern")) {
        add_rule(&mut schema, &format!("self.matches(r\"{pattern}\")"), message);
    }
    schema
}

fn add_rule(schema: &mut Value, cel: &str, message: &str) {
    if schema.get("x-kubernetes-validations").is_none() {
        schema["x-kubernetes-validations"] = json!([]);
    }
    if let Value::Array(rules) = &mut schema["x-kubernetes-validations"] {
        rules.insert(0, validation(cel, "", message, "FieldValueInvalid"));
    }
}

/// Text of this pattern and length.
pub fn text(pattern: &str, chars_max: usize) -> Value {
    json!({ "type": "string", "pattern": pattern, "maxLength": chars_max })
}

/// The form of a value.
pub fn form(shape: &Shape) -> Value {
    const WORD: &str = "[a-z][a-z0-9_-]*";
    const ATOM: &str = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
    match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Int { min, max } => json!({ "type": "integer", "format": "int64", "minimum": min, "maximum": max }),
        Shape::Line { chars_max } => text(&format!("^[^\\n{}]*$", unseen()), *chars_max as usize),
        Shape::Prose { chars_max } => text(&format!("^[^{}]*$", unseen()), *chars_max as usize),
        Shape::Name => text("^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$", NAME_CHARS_MAX),
        Shape::Email => {
            let first = ATOM.replace("~-]+", "~]");
            let rest = ATOM.replace("]+", "]*");
            text(&format!("^{first}{rest}(\\.{ATOM})*@{LABEL}(\\.{LABEL})+$"), EMAIL_CHARS_MAX)
        }
        Shape::Domain => text(&format!("^{LABEL}(\\.{LABEL})+$"), 253),
        Shape::Url => {
            let port = "(:0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?";
            let rest = "([/?#][!#-;=?-Z\\[\\]_a-z~]*)?";
            text(&format!("^https://{LABEL}(\\.{LABEL})+{port}{rest}$"), 2_048)
        }
        Shape::Permission => text(&format!("^(\\*|{WORD}(:(\\*|{WORD}))?)$"), 100),
        Shape::EventPattern => text(&format!("^(\\*|{WORD}(\\.{WORD})*(\\.\\*)?)$"), 100),
        Shape::Schedule => text("^\\s*\\S+(\\s+\\S+){4}\\s*$", WORD_CHARS_MAX),
        Shape::Duration => {
            let mut schema = text("^(0|[1-9][0-9]{0,9})[wdhms]$", 11);
            let rule = format!(
                "!self.matches('^[0-9]{{1,10}}[wdhms]$') || int(self.substring(0, self.size() - 1)) * \
                 {{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}}[self.substring(self.size() - 1)] \
                 <= {DURATION_SECONDS_MAX}"
            );
            let message = "this is longer than a hundred years: give a shorter time, such as `90d`";
            schema["x-kubernetes-validations"] = json!([validation(&rule, "", message, "FieldValueInvalid")]);
            schema
        }
        Shape::Time => {
            let mut schema = text(
                "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.0{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
                40,
            );
            schema["format"] = "date-time".into();
            schema
        }
        Shape::Money => text(&money(), 40),
        Shape::Enum(words) => json!({ "type": "string", "enum": words }),
        Shape::Set { item, items_max } => json!({
            "type": "array",
            "items": form(item),
            "maxItems": items_max,
            "x-kubernetes-list-type": "set",
        }),
        Shape::List { key: "", items_max, .. } => json!({
            "type": "array",
            "maxItems": items_max,
            "x-kubernetes-list-type": "atomic",
        }),
        Shape::List { key, items_max, .. } => json!({
            "type": "array",
            "maxItems": items_max,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [key],
        }),
        // Text, a number or a truth value: a structural schema has no word for that. What is kept as it is holds a
        // single value at most, because no mapping and no list fulfils its bounds.
        Shape::Map { items_max } => json!({
            "type": "object",
            "maxProperties": items_max,
            "additionalProperties": {
                "x-kubernetes-preserve-unknown-fields": true,
                "nullable": true,
                "maxLength": MAP_TEXT_CHARS_MAX,
                "pattern": format!("^[^{}]*$", unseen()),
                "minProperties": 1,
                "maxProperties": 0,
                "minItems": 1,
                "maxItems": 0,
            },
        }),
    }
}

/// The characters that nobody sees, as they stand within a class of a pattern.
fn unseen() -> String {
    let mut class = String::new();
    let mut open: Option<(char, char)> = None;
    let mut close = |open: &mut Option<(char, char)>| {
        if let Some((first, last)) = open.take() {
            class.push_str(&format!("\\x{{{:X}}}", first as u32));
            if last > first {
                class.push_str(&format!("-\\x{{{:X}}}", last as u32));
            }
        }
    };
    for c in '\0'..=char::MAX {
        match &mut open {
            _ if !is_unseen(c) => close(&mut open),
            Some((_, last)) => *last = c,
            None => open = Some((c, c)),
        }
    }
    close(&mut open);
    class
}

/// Amounts that are never finer than the minor unit of their currency, and never more than the largest.
fn money() -> String {
    let mut digits: Vec<u32> = CURRENCIES.iter().map(|(_, digits)| *digits).collect();
    digits.sort_unstable();
    digits.dedup();
    let alternatives: Vec<String> = digits
        .into_iter()
        .map(|digits| {
            let of: Vec<&str> =
                CURRENCIES.iter().filter(|(_, known)| *known == digits).map(|(code, _)| *code).collect();
            let most = MINOR_UNITS_MAX / 10_i64.pow(digits);
            let more = most.to_string().len() - 2;
            let (below, zeros) = match digits {
                0 => (String::new(), String::new()),
                _ => (format!("(\\.[0-9]{{1,{digits}}})?"), format!("(\\.0{{1,{digits}}})?")),
            };
            format!("((0|[1-9][0-9]{{0,{more}}}){below}|{most}{zeros}) ({})", of.join("|"))
        })
        .collect();
    format!("^({})$", alternatives.join("|"))
}
