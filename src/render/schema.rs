//! JSON Schema (draft 2020-12) of manifests, worked out from the table of kinds.
//!
//! An editor that knows it completes fields and underlines what the reader would refuse. What two fields must fulfil
//! together, and what several documents mean, only the reader and the checks can say.

use serde_json::{Map, Value, json};

use crate::model::id::{EMAIL_CHARS_MAX, NAME_CHARS_MAX};
use crate::model::kind::{API_VERSION, KINDS, Key, Kind, Scope};
use crate::model::money::CURRENCIES;
use crate::model::shape::{Field, Preset, Shape};

/// The schema of one manifest document of any kind.
pub fn manifest_schema() -> Value {
    let mut definitions = Map::new();
    for kind in KINDS {
        definitions.insert(kind.name.into(), document(kind));
        if kind.scope == Scope::Child {
            definitions.insert(item_name(kind), item(kind));
        }
    }
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    // Branching on the kind, and not one `oneOf`, makes an editor complain about the field and not about all kinds.
    let branches: Vec<Value> = KINDS
        .iter()
        .map(|kind| {
            json!({
                "if": { "properties": { "kind": { "const": kind.name } }, "required": ["kind"] },
                "then": { "$ref": format!("#/$defs/{}", kind.name) },
            })
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Manifest of Argus",
        "description": "One document: a resource of an organization, or an organization with what belongs to it.",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": { "const": API_VERSION, "description": "The version of the form of manifests." },
            "kind": { "enum": names, "description": "What the document describes." },
        },
        "allOf": branches,
        "$defs": definitions,
    })
}

fn item_name(kind: &Kind) -> String {
    format!("{}Item", kind.name)
}

/// A document of its own.
fn document(kind: &'static Kind) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let key = described(shape(&kind.key.shape()), key_about(kind));
    properties.insert(kind.key.field().into(), key);
    if kind.key == Key::User {
        required.push(kind.key.field());
    }
    if kind.scope == Scope::Child {
        let organization = described(shape(&Shape::Name), "The organization that it belongs to.");
        properties.insert("organization".into(), organization);
        required.push("organization");
    }
    let mut spec = fields(kind.fields, properties, &required);
    if kind.scope == Scope::Root
        && let Some(Value::Object(properties)) = spec.get_mut("properties")
    {
        for child in Kind::children() {
            let items = json!({
                "description": format!("{} Listing them here makes the list complete: others are extra.", child.about),
                "type": ["array", "null"],
                "items": { "$ref": format!("#/$defs/{}", item_name(child)) },
            });
            properties.insert(child.plural.into(), items);
        }
    }
    let nothing_required = spec.get("required").is_none();
    if nothing_required && let Some(object) = spec.as_object_mut() {
        object.insert("type".into(), json!(["object", "null"]));
    }
    let mut required = vec!["apiVersion", "kind"];
    if !nothing_required {
        required.push("spec");
    }
    json!({
        "description": kind.about,
        "type": "object",
        "required": required,
        "additionalProperties": false,
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "const": kind.name },
            "metadata": metadata(kind),
            "spec": spec,
        },
    })
}

fn metadata(kind: &Kind) -> Value {
    let free = json!({ "type": ["object", "null"] });
    let name = match kind.key {
        Key::Name => json!({ "type": "string", "minLength": 1, "maxLength": 253, "description": key_about(kind) }),
        Key::User => {
            json!({ "type": "string", "minLength": 1, "maxLength": 253, "description": "Any name of the object." })
        }
    };
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": { "name": name, "namespace": { "type": "string" }, "annotations": free, "labels": free },
    })
}

/// An item within an organization.
fn item(kind: &'static Kind) -> Value {
    let mut properties = Map::new();
    properties.insert(kind.key.field().into(), described(shape(&kind.key.shape()), key_about(kind)));
    let previous = described(shape(&kind.key.shape()), "The name that it had before; the row keeps its id.");
    properties.insert("previousName".into(), nullable(previous));
    let mut item = fields(kind.fields, properties, &[kind.key.field()]);
    if let Some(object) = item.as_object_mut() {
        object.insert("description".into(), kind.about.into());
    }
    item
}

fn key_about(kind: &Kind) -> &'static str {
    match kind.key {
        Key::Name => "What it is called.",
        Key::User => "The email address of the person.",
    }
}

/// A mapping of these fields, nested as their paths say.
fn fields(fields: &'static [Field], properties: Map<String, Value>, required: &[&str]) -> Value {
    let mut node = json!({ "type": "object", "additionalProperties": false });
    node["properties"] = Value::Object(properties);
    let mut one_of_two = Vec::new();
    for name in required {
        require(&mut node, name);
    }
    for field in fields {
        let mut parts: Vec<&str> = field.path.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        let mut at = &mut node;
        for part in parts {
            if field.required {
                require(at, part);
            }
            let below = &mut at["properties"][part];
            if below.is_null() {
                *below = json!({ "type": ["object", "null"], "additionalProperties": false, "properties": {} });
            }
            if field.required {
                below["type"] = json!("object");
            }
            at = below;
        }
        let mut value = described(shape(&field.shape), field.about);
        if let Some(preset) = preset(field.preset) {
            value["default"] = preset;
        }
        if let (Some(singular), Shape::Set { item, .. }) = (field.singular, field.shape) {
            let single = described(shape(item), "A single one.");
            at["properties"][singular] = if field.required { single } else { nullable(single) };
            let both = json!({ "required": [singular, last] });
            if field.required {
                one_of_two.push(json!({ "oneOf": [{ "required": [singular] }, { "required": [last] }] }));
            } else {
                one_of_two.push(json!({ "not": both }));
            }
        } else if field.required {
            require(at, last);
        }
        at["properties"][last] = if field.required { value } else { nullable(value) };
    }
    if !one_of_two.is_empty() {
        node["allOf"] = Value::Array(one_of_two);
    }
    node
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

fn described(mut schema: Value, about: &str) -> Value {
    schema["description"] = about.into();
    schema
}

/// The same, or null, which empties the field.
fn nullable(mut schema: Value) -> Value {
    if let Value::String(name) = &schema["type"] {
        schema["type"] = json!([name, "null"]);
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
    schema
}

fn preset(preset: Preset) -> Option<Value> {
    match preset {
        Preset::Bool(yes) => Some(yes.into()),
        Preset::Int(number) => Some(number.into()),
        Preset::Text(text) => Some(text.into()),
        Preset::Null | Preset::NoItems | Preset::NoEntries => None,
    }
}

fn shape(shape: &Shape) -> Value {
    const WORD: &str = "[a-z][a-z0-9_-]*";
    match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Int { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Line { chars_max } => json!({ "type": "string", "maxLength": chars_max, "pattern": "^[^\\n]*$" }),
        Shape::Prose { chars_max } => json!({ "type": "string", "maxLength": chars_max }),
        Shape::Name => json!({
            "type": "string",
            "maxLength": NAME_CHARS_MAX,
            "pattern": "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$",
        }),
        Shape::Email => json!({
            "type": "string",
            "maxLength": EMAIL_CHARS_MAX,
            "pattern": "^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+$",
        }),
        Shape::Domain => json!({
            "type": "string",
            "maxLength": 253,
            "pattern": "^[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+$",
        }),
        Shape::Url => json!({ "type": "string", "maxLength": 2048, "pattern": "^https://[^\\s@]+(/.*)?$" }),
        Shape::Permission => json!({
            "type": "string",
            "maxLength": 100,
            "pattern": format!("^(\\*|{WORD}(:(\\*|{WORD}))?)$"),
        }),
        Shape::EventPattern => json!({
            "type": "string",
            "maxLength": 100,
            "pattern": format!("^(\\*|{WORD}(\\.{WORD})*(\\.\\*)?)$"),
        }),
        Shape::Schedule => json!({ "type": "string", "pattern": "^\\s*\\S+(\\s+\\S+){4}\\s*$" }),
        Shape::Duration => json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*)[wdhms]$" }),
        Shape::Time => json!({
            "type": "string",
            "format": "date-time",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([Zz]|[+-][0-9]{2}:[0-9]{2})$",
        }),
        Shape::Money => {
            let codes: Vec<&str> = CURRENCIES.iter().map(|(code, _)| *code).collect();
            json!({ "type": "string", "pattern": format!("^(0|[1-9][0-9]*)(\\.[0-9]+)? ({})$", codes.join("|")) })
        }
        Shape::Enum(words) => json!({ "type": "string", "enum": words }),
        Shape::Set { item, items_max } => json!({
            "type": "array",
            "items": self::shape(item),
            "uniqueItems": true,
            "maxItems": items_max,
        }),
        Shape::List { fields, items_max, .. } => json!({
            "type": "array",
            "items": self::fields(fields, Map::new(), &[]),
            "maxItems": items_max,
        }),
        Shape::Map { items_max } => json!({
            "type": "object",
            "maxProperties": items_max,
            "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
        }),
    }
}
