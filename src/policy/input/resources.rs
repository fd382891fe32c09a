//! Resources in the input document: by the plural of their kind and by name, their fields nested as people write them.
//! A field that is not set is not there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::json;

use crate::model::kind::{Kind, KindId, Scope};
use crate::model::origin::Origin;
use crate::model::resource::{Entry, Spec};
use crate::model::secret;
use crate::model::shape::{Column, Field, Shape};
use crate::model::value::Value;

/// One resource: its name, where it is declared, and its fields.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The kind.
    pub kind: KindId,
    /// The name.
    pub name: Cow<'a, str>,
    /// Where it is declared; none where nobody declares it.
    pub origin: Option<Cow<'a, Origin>>,
    /// Its fields.
    pub spec: Cow<'a, Spec>,
}

/// All resources of an organization: those of each kind by name, and the organization itself under `organization`.
#[derive(Clone, Debug, Default)]
pub struct Resources<'a>(BTreeMap<KindId, BTreeMap<Cow<'a, str>, View<'a>>>);

impl<'a> Resources<'a> {
    /// Adds one.
    pub fn add(&mut self, view: View<'a>) {
        self.0.entry(view.kind).or_default().insert(view.name.clone(), view);
    }
}

/// Under which name a kind stands in the document, and whether there is one or many of it.
fn place(kind: &'static Kind) -> Option<(&'static str, bool)> {
    match kind.scope {
        Scope::Root => Some(("organization", true)),
        _ => Some((kind.plural, false)),
    }
}

impl Serialize for Resources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let none = BTreeMap::new();
        let mut map = serializer.serialize_map(None)?;
        for kind in Kind::stored() {
            let Some((name, one)) = place(kind) else { continue };
            let rows = self.0.get(&KindId::of(kind)).unwrap_or(&none);
            if one {
                map.serialize_entry(name, &rows.values().next())?;
            } else {
                map.serialize_entry(name, rows)?;
            }
        }
        map.end()
    }
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("origin", &self.origin)?;
        Level { kind: self.kind.get(), entries: self.spec.entries(), depth: 0 }.write(&mut map)?;
        map.end()
    }
}

/// The entries below one common beginning of their paths.
#[derive(Clone, Copy)]
struct Level<'a> {
    kind: &'static Kind,
    entries: &'a [Entry],
    /// How many characters of the paths are behind.
    depth: usize,
}

impl Level<'_> {
    fn write<M: SerializeMap>(self, map: &mut M) -> Result<(), M::Error> {
        let path = |entry: &Entry| &self.kind.fields[entry.field as usize].path[self.depth..];
        let head = |entry: &Entry| path(entry).split('.').next().unwrap_or_default();
        // The fields of a kind that begin alike stand side by side.
        for group in self.entries.chunk_by(|a, b| head(a) == head(b)) {
            // What is not set is left out: `not key.expiresAt` must hold, and null would be something.
            let Some(first) = group.iter().find(|entry| entry.value != Value::Null) else { continue };
            let name = head(first);
            if name.len() == path(first).len() {
                map.serialize_entry(name, &Shown(&first.value))?;
            } else {
                map.serialize_entry(name, &Level { entries: group, depth: self.depth + name.len() + 1, ..self })?;
            }
        }
        Ok(())
    }
}

impl Serialize for Level<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write(&mut map)?;
        map.end()
    }
}

/// A value without what looks like a secret.
struct Shown<'a>(&'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Text(text) => serializer.serialize_str(&secret::mask(text)),
            Value::List(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(&Shown(item)))?;
                seq.end()
            }
            map @ Value::Map(_) => secret::veil::without_secrets(map).serialize(serializer),
            plain => plain.serialize(serializer),
        }
    }
}

impl JsonSchema for Resources<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Resources".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        for kind in Kind::stored() {
            let Some((name, one)) = place(kind) else { continue };
            let mut resource = resource_schema(kind);
            if one {
                resource["type"] = json!(["object", "null"]);
            } else {
                resource = json!({ "type": "object", "additionalProperties": resource });
            }
            properties.insert(name.into(), resource);
        }
        json_schema!({ "type": "object", "additionalProperties": false, "properties": properties })
    }
}

impl JsonSchema for View<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Resource".into()
    }

    /// A resource of any kind: it may have the fields of all of them.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut any = json!({ "type": "object", "additionalProperties": false, "properties": {} });
        for kind in Kind::stored() {
            merge(&mut any, &resource_schema(kind));
        }
        let about = "A resource: its name, where it is declared (null where nobody does), the fields of its kind.";
        any["description"] = about.into();
        Schema::try_from(any).unwrap_or_default()
    }
}

/// Widens a schema to what another one allows.
fn merge(into: &mut serde_json::Value, from: &serde_json::Value) {
    let Some(properties) = from.get("properties").and_then(serde_json::Value::as_object) else { return };
    for (name, schema) in properties {
        let known = &mut into["properties"][name];
        if known.is_null() {
            *known = schema.clone();
            continue;
        }
        let both: BTreeSet<String> = [&*known, schema].into_iter().flat_map(types).collect();
        known["type"] = json!(both);
        match (known.get("properties").is_some(), known.get("items").is_some()) {
            (true, _) => merge(known, schema),
            (_, true) if schema.get("items").is_some() => merge(&mut known["items"], &schema["items"]),
            _ => {
                if known.get("items").is_none() && schema.get("items").is_some() {
                    known["items"] = schema["items"].clone();
                }
            }
        }
    }
}

fn types(schema: &serde_json::Value) -> Vec<String> {
    match &schema["type"] {
        serde_json::Value::String(one) => vec![one.clone()],
        many => many.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
    }
}

/// The schema of a resource of this kind.
fn resource_schema(kind: &'static Kind) -> serde_json::Value {
    let mut schema = fields_schema(kind.fields.iter().filter(|field| field.column != Column::None));
    schema["description"] = kind.about.into();
    schema["properties"]["name"] = json!({ "type": "string" });
    schema["properties"]["origin"] = json!({
        "type": ["object", "null"],
        "description": "Where it is declared.",
        "additionalProperties": false,
        "properties": {
            "file": { "type": "string" }, "line": { "type": "integer" }, "column": { "type": "integer" },
        },
    });
    schema
}

fn fields_schema(fields: impl Iterator<Item = &'static Field>) -> serde_json::Value {
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": {} });
    for field in fields {
        let mut parts: Vec<&str> = field.path.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        let mut at = &mut schema;
        for part in parts {
            let below = &mut at["properties"][part];
            if below.is_null() {
                *below = json!({ "type": "object", "additionalProperties": false, "properties": {} });
            }
            at = below;
        }
        let mut value = value_schema(&field.shape);
        value["description"] = field.about.into();
        at["properties"][last] = value;
    }
    schema
}

/// What a value of this form is in the document. What is right in detail, the manifests' own schema says.
fn value_schema(shape: &Shape) -> serde_json::Value {
    match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Int { .. } => json!({ "type": "integer" }),
        Shape::Set { item, .. } => json!({ "type": "array", "items": value_schema(item) }),
        Shape::List { fields, .. } => json!({ "type": "array", "items": fields_schema(fields.iter()) }),
        Shape::Map { .. } => json!({ "type": "object", "additionalProperties": true }),
        Shape::Line { .. }
        | Shape::Prose { .. }
        | Shape::Name
        | Shape::Email
        | Shape::Domain
        | Shape::Url
        | Shape::Permission
        | Shape::EventPattern
        | Shape::Schedule
        | Shape::Duration
        | Shape::Time
        | Shape::Money
        | Shape::Enum(_) => json!({ "type": "string" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kind::KINDS;

    #[test]
    fn fields_of_a_kind_that_begin_alike_stand_side_by_side() {
        for kind in KINDS {
            let heads: Vec<&str> = kind.fields.iter().filter_map(|field| field.path.split('.').next()).collect();
            let runs: Vec<&str> = heads.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
            let different: BTreeSet<&str> = runs.iter().copied().collect();
            assert_eq!(runs.len(), different.len(), "{}: {heads:?}", kind.name);
        }
    }

    #[test]
    fn no_kind_has_a_field_that_hides_the_name_or_the_place_of_its_resources() {
        for kind in KINDS.iter().filter(|kind| kind.table.is_some()) {
            assert!(kind.fields.iter().all(|field| !matches!(field.path, "name" | "origin")), "{}", kind.name);
        }
    }
}
