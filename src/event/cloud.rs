//! CloudEvents 1.0: how an event looks on the wire, in structured mode (one JSON document) and in binary mode (the
//! attributes beside the content).

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::people::PseudonymKey;
use super::{EventType, Topic};

/// The version of the specification.
const SPEC_VERSION: &str = "1.0";

/// The media type of a document in structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";

/// The media type of what an event carries.
pub const CONTENT: &str = "application/json";

/// The header that says which trace a message is part of: to those that know nothing of CloudEvents.
pub const TRACE_HEADER: &str = "traceparent";

/// An event in its place.
#[derive(Clone, Debug)]
pub struct Event {
    /// The database that it happened in.
    pub installation: String,
    /// The organization; empty for runs and sources.
    pub organization: String,
    /// Which part of a sink's deliveries it is in.
    pub shard: i16,
    /// Its number among the events of the organization, without gaps.
    pub position: i64,
    /// Its id: whoever has seen it drops what comes under it again.
    pub id: String,
    /// Its type: `resource.created`.
    pub of: String,
    /// What it is about.
    pub subject: String,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The trace that it is part of.
    pub trace: Option<String>,
    /// What it carries, as JSON.
    pub content: String,
}

/// An event as a sink is given it: its attributes in the order in which they are written, and what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnTheWire {
    /// The attributes of CloudEvents, without `ce_` or `ce-`.
    pub attributes: Vec<(&'static str, String)>,
    /// What it carries, as JSON.
    pub content: String,
}

impl Event {
    /// Where it belongs. Types that this binary does not know were told by a newer one, and go with runs.
    pub fn topic(&self) -> Topic {
        EventType::named(&self.of).map_or(Topic::Runs, |of| of.topic)
    }

    /// What decides about order: events of an organization stay in theirs.
    pub fn key(&self) -> &str {
        &self.organization
    }

    /// Its type on the wire.
    pub fn wire_type(&self) -> String {
        EventType::named(&self.of).map_or_else(|| format!("io.argus.{}", self.of), EventType::on_the_wire)
    }

    /// Its form on the wire, with pseudonyms for people if a key is given.
    pub fn on_the_wire(&self, pseudonyms: Option<&PseudonymKey>) -> OnTheWire {
        let (known, of) = (EventType::named(&self.of), self.wire_type());
        let (subject, content) = match pseudonyms {
            None => (self.subject.clone(), self.content.clone()),
            Some(key) => {
                let mut content: Json = serde_json::from_str(&self.content).unwrap_or_default();
                key.content(&mut content);
                (key.text(&self.subject), content.to_string())
            }
        };
        let mut attributes = vec![
            ("specversion", SPEC_VERSION.to_owned()),
            ("id", self.id.clone()),
            ("source", format!("urn:argus:{}", self.installation)),
            ("type", of),
            ("time", self.at.to_rfc3339_opts(SecondsFormat::Micros, true)),
        ];
        if !subject.is_empty() {
            attributes.push(("subject", subject));
        }
        attributes.extend(known.map(|of| ("dataschema", of.schema())));
        if !self.organization.is_empty() {
            attributes.push(("partitionkey", self.organization.clone()));
            attributes.push(("organization", self.organization.clone()));
        }
        attributes.push(("sequence", self.position.to_string()));
        attributes.extend(self.trace.clone().map(|trace| ("traceparent", trace)));
        OnTheWire { attributes, content }
    }
}

impl OnTheWire {
    /// One attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(attribute, _)| *attribute == name).map(|(_, value)| value.as_str())
    }

    /// The document of structured mode.
    pub fn structured(&self) -> String {
        let mut document = String::with_capacity(self.content.len() + 600);
        for (name, value) in &self.attributes {
            document.push(if document.is_empty() { '{' } else { ',' });
            document.push_str(&json!(name).to_string());
            document.push(':');
            document.push_str(&json!(value).to_string());
        }
        document.push_str(",\"datacontenttype\":\"application/json\",\"data\":");
        // What the database holds is JSON; were it not, the document would still be one.
        let whole = serde_json::from_str::<&RawValue>(&self.content).is_ok();
        document.push_str(if whole { &self.content } else { "null" });
        document.push('}');
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            installation: "6f6e".into(),
            organization: "acme".into(),
            shard: 0,
            position: 7,
            id: "1-2-3".into(),
            of: "resource.created".into(),
            subject: "Member/ada@acme.example".into(),
            at: DateTime::from_timestamp(1_700_000_000, 123_456_000).expect("a moment"),
            trace: None,
            content: r#"{"name":"ada@acme.example","limit":1.50}"#.into(),
        }
    }

    #[test]
    fn the_document_holds_attributes_and_content_as_they_are() {
        let document = event().on_the_wire(None).structured();
        assert!(document.contains(r#""data":{"name":"ada@acme.example","limit":1.50}"#), "{document}");
        let read: Json = serde_json::from_str(&document).expect("it is JSON");
        assert_eq!(read["specversion"], "1.0");
        assert_eq!(read["type"], "io.argus.resource.created");
        assert_eq!(read["source"], "urn:argus:6f6e");
        assert_eq!(read["sequence"], "7");
        assert_eq!(read["partitionkey"], "acme");
        assert_eq!(read["time"], "2023-11-14T22:13:20.123456Z");
        assert_eq!(read["dataschema"], "urn:argus:event:resource.created:1");
    }

    #[test]
    fn with_a_key_nobody_is_named() {
        let key = PseudonymKey::new(b"0123456789abcdef").expect("it is long enough");
        let wire = event().on_the_wire(Some(&key));
        assert!(!wire.structured().contains("ada"), "{}", wire.structured());
        assert_eq!(wire.attribute("subject"), Some(format!("Member/{}", key.of("ada@acme.example")).as_str()));
    }
}
