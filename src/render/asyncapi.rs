//! What a program elsewhere has to know to read events: a JSON Schema for each type, and an AsyncAPI document around them.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::json::pretty;
use crate::event::{EventType, TYPES, Topic};

/// The version of AsyncAPI.
const ASYNCAPI: &str = "3.0.0";

/// The schema of what a type of event carries, with everything that it refers to inside.
fn content(of: &EventType) -> Json {
    let mut generator =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut schema = (of.content)(&mut generator).to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
    }
    schema
}

/// The schema of an event of one type, as it is in structured mode.
fn event(of: &EventType) -> Json {
    let text = |about: &str| json!({"type": "string", "description": about});
    json!({
        "title": of.on_the_wire(),
        "description": of.about,
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "dataschema", "sequence", "datacontenttype", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text("Whoever has seen it drops what comes under it again."),
            "source": text("`urn:argus:` and the id of the database."),
            "type": {"const": of.on_the_wire()},
            "time": {"type": "string", "format": "date-time", "description": "When it happened."},
            "subject": text("What it is about."),
            "dataschema": {"const": of.schema()},
            "partitionkey": text("What keeps the events of an organization in order."),
            "organization": text("The organization; absent where it belongs to none."),
            "sequence": {"type": "string", "pattern": "^[0-9]+$",
                "description": "Its number among the events of the organization, without gaps."},
            "traceparent": {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
                "description": "The trace that it was told in, as W3C writes it: deliveries are children of it."},
            "datacontenttype": {"const": "application/json"},
            "data": content(of),
        },
    })
}

/// The schema of any event: a document of structured mode fulfils it.
pub fn events() -> String {
    let types: Map<String, Json> = TYPES.iter().map(|of| (of.name.to_owned(), event(of))).collect();
    let any: Vec<Json> = TYPES.iter().map(|of| json!({"$ref": format!("#/$defs/{}", of.name)})).collect();
    pretty(&json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of Argus",
        "oneOf": any,
        "$defs": types,
    }))
}

/// The AsyncAPI document.
pub fn document() -> String {
    let mut channels = Map::new();
    let mut operations = Map::new();
    for topic in Topic::ALL {
        let of = TYPES.iter().filter(|of| of.topic == *topic);
        let messages: Map<String, Json> =
            of.map(|of| (of.name.to_owned(), json!({"$ref": format!("#/components/messages/{}", of.name)}))).collect();
        let channel = json!({
            "address": format!("argus.{topic}"),
            "description": "In order per organization, which is the key. Every event comes at least once, and under one id.",
            "messages": messages,
        });
        channels.insert(topic.word().to_owned(), channel);
        let operation = json!({"action": "receive", "channel": {"$ref": format!("#/channels/{topic}")}});
        operations.insert(format!("receive-{topic}"), operation);
    }
    let message = |of: &&EventType| {
        let message = json!({
            "name": of.on_the_wire(),
            "title": of.name,
            "summary": of.about,
            "contentType": "application/cloudevents+json",
            "headers": {
                "type": "object",
                "required": ["ce_id", "content-type"],
                "properties": {
                    "ce_id": {"type": "string", "description": "The id of the event, in every mode."},
                    "content-type": {"enum": ["application/cloudevents+json; charset=utf-8", "application/json"],
                        "description": "The latter in binary mode: attributes are headers that begin with `ce_`, and the \
                                        value is `data`."},
                    "traceparent": {"type": "string",
                        "description": "The trace that the event was told in, in every mode, where it was told in one."},
                },
            },
            "payload": event(of),
            "bindings": {"kafka": {"key": {"type": "string"}}},
        });
        (of.name.to_owned(), message)
    };
    let messages: Map<String, Json> = TYPES.iter().map(message).collect();
    pretty(&json!({
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Events of Argus",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What happens to organizations, as CloudEvents 1.0.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }))
}
