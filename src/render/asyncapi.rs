//! What a program elsewhere has to know to read events: a JSON Schema for each type, and an AsyncAPI document around them.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::json::pretty;
use crate::event::cloud::{CONTENT, STRUCTURED};
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

/// Where events are read, and in which form they come.
#[derive(Clone, Debug)]
pub struct Wire {
    /// The brokers, `host:port`.
    pub hosts: Vec<String>,
    /// Whether the way there is encrypted.
    pub encrypted: bool,
    /// How readers log in, in the words of AsyncAPI; nothing where nobody does.
    pub security: Option<&'static str>,
    /// What each topic is called.
    pub addresses: Vec<(Topic, String)>,
    /// Whether attributes are headers.
    pub binary: bool,
}

impl Wire {
    fn servers(&self) -> Json {
        let server = |host: &String| {
            let mut server = json!({"host": host, "protocol": if self.encrypted { "kafka-secure" } else { "kafka" }});
            if let (Some(security), Some(server)) = (self.security, server.as_object_mut()) {
                server.insert("security".into(), json!([{"type": security}]));
            }
            server
        };
        let servers = self.hosts.iter().enumerate();
        servers.map(|(place, host)| (format!("broker-{}", place + 1), server(host))).collect::<Map<_, _>>().into()
    }
}

/// The headers of a message and what it carries, in words of JSON Schema, and the type of that.
fn form(of: &EventType, wire: Option<&Wire>) -> (Json, Json, &'static str) {
    let text = |about: &str| json!({"type": "string", "description": about});
    let id = text("The id of the event, in every mode.");
    let trace = text("The trace that the event was told in, in every mode, where it was told in one.");
    let whole = event(of);
    let Some(wire) = wire else {
        let kind = json!({"enum": [STRUCTURED, CONTENT], "description": "The latter in binary mode: attributes are headers \
            that begin with `ce_`, and the value is `data`."});
        let headers = json!({"type": "object", "required": ["ce_id", "content-type"],
            "properties": {"ce_id": id, "content-type": kind, "traceparent": trace}});
        return (headers, whole, "application/cloudevents+json");
    };
    if !wire.binary {
        let headers = json!({"type": "object", "required": ["ce_id", "content-type"],
            "properties": {"ce_id": id, "content-type": {"const": STRUCTURED}, "traceparent": trace}});
        return (headers, whole, "application/cloudevents+json");
    }
    let is_attribute = |name: &str| !["data", "datacontenttype"].contains(&name);
    let properties = whole["properties"].as_object().into_iter().flatten().filter(|(name, _)| is_attribute(name));
    let mut properties: Map<String, Json> =
        properties.map(|(name, schema)| (format!("ce_{name}"), schema.clone())).collect();
    properties.insert("content-type".into(), json!({"const": CONTENT}));
    properties.insert("traceparent".into(), trace);
    let required = whole["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let mut required: Vec<String> =
        required.filter(|name| is_attribute(name)).map(|name| format!("ce_{name}")).collect();
    required.push("content-type".into());
    let headers = json!({"type": "object", "required": required, "properties": properties});
    (headers, content(of), CONTENT)
}

/// The AsyncAPI document, of a sink that leads to Kafka if there is one.
pub fn document(wire: Option<&Wire>) -> String {
    let address = |topic: Topic| {
        let named = wire.and_then(|wire| wire.addresses.iter().find(|(of, _)| *of == topic));
        named.map_or_else(|| format!("argus.{topic}"), |(_, address)| address.clone())
    };
    let mut channels = Map::new();
    let mut operations = Map::new();
    for topic in Topic::ALL {
        let of = TYPES.iter().filter(|of| of.topic == *topic);
        let messages: Map<String, Json> =
            of.map(|of| (of.name.to_owned(), json!({"$ref": format!("#/components/messages/{}", of.name)}))).collect();
        let channel = json!({
            "address": address(*topic),
            "description": "In order per organization, which is the key. Every event comes at least once, and under one id.",
            "messages": messages,
        });
        channels.insert(topic.word().to_owned(), channel);
        let operation = json!({"action": "receive", "channel": {"$ref": format!("#/channels/{topic}")}});
        operations.insert(format!("receive-{topic}"), operation);
    }
    let message = |of: &&EventType| {
        let (headers, payload, kind) = form(of, wire);
        let message = json!({
            "name": of.on_the_wire(),
            "title": of.name,
            "summary": of.about,
            "contentType": kind,
            "headers": headers,
            "payload": payload,
            "bindings": {"kafka": {"key": {"type": "string"}}},
        });
        (of.name.to_owned(), message)
    };
    let messages: Map<String, Json> = TYPES.iter().map(message).collect();
    let mut document = json!({
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
    });
    if let (Some(wire), Some(document)) = (wire, document.as_object_mut()) {
        document.insert("servers".into(), wire.servers());
        let kind = if wire.binary { CONTENT } else { "application/cloudevents+json" };
        document.insert("defaultContentType".into(), kind.into());
    }
    pretty(&document)
}
