//! CustomResourceDefinitions of Kubernetes, worked out from the table of kinds.
//!
//! A custom resource is the manifest itself, so the schema takes what the reader takes, as far as a structural schema
//! and CEL can say it. Nothing gets a default: a field that a manifest does not name is left alone, and a default would
//! name it.

mod columns;
mod forms;
mod git_source;
mod status;

use serde_json::{Value, json};

use crate::model::kind::{API_VERSION, KINDS, Key, Kind, Scope};
use crate::model::kinds::organization::AUTHORITATIVE;
use crate::model::rule::Rule;
use crate::model::shape::Shape;
use forms::{Node, described, form, nullable, rule, worded};

/// How many children of one kind may stand within an organization. An object of Kubernetes holds about a megabyte, so
/// that larger collections stand in documents of their own.
const CHILDREN_MAX: u32 = 5_000;

/// The category that lists the resources of all kinds: `kubectl get argus`.
const CATEGORY: &str = "argus";

/// A CustomResourceDefinition.
#[derive(Debug)]
pub struct Definition {
    /// `organizations`: the resource in addresses and for `kubectl`.
    pub plural: String,
    /// The document.
    pub document: Value,
}

impl Definition {
    /// The document in YAML.
    pub fn yaml(&self) -> String {
        // What consists of text, numbers, lists and mappings can always be written.
        serde_yaml::to_string(&self.document).unwrap_or_default()
    }
}

/// What tells one custom resource from another.
struct Names<'a> {
    kind: &'a str,
    plural: String,
    short: &'a [&'a str],
}

/// The definitions of all kinds in their order, and of where they come from.
pub fn all() -> Vec<Definition> {
    KINDS.iter().map(|kind| of_kind(kind)).chain([git_source::definition_of_source()]).collect()
}

fn of_kind(kind: &'static Kind) -> Definition {
    let names = Names { kind: kind.name, plural: kind.plural.to_lowercase(), short: kind.short_names };
    definition(&names, document(kind), columns::of_kind(kind))
}

/// A definition around a schema.
fn definition(names: &Names<'_>, schema: Value, columns: Vec<Value>) -> Definition {
    let (group, version) = API_VERSION.split_once('/').unwrap_or_default();
    let plural = &names.plural;
    let mut spelled = json!({
        "kind": names.kind,
        "listKind": format!("{}List", names.kind),
        "plural": plural,
        "singular": names.kind.to_lowercase(),
        "categories": [CATEGORY],
    });
    // A short name that is the plural as well would be in its own way.
    let short: Vec<&str> = names.short.iter().copied().filter(|name| name != plural).collect();
    if !short.is_empty() {
        spelled["shortNames"] = json!(short);
    }
    let document = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": spelled,
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": columns,
                "schema": { "openAPIV3Schema": schema },
            }],
        },
    });
    Definition { plural: plural.clone(), document }
}

/// A document of a kind.
fn document(kind: &'static Kind) -> Value {
    let mut spec = Node::new();
    spec.property(
        kind.key.field(),
        described(worded(form(&kind.key.shape()), &kind.key.shape()), key_about(kind, true)),
    );
    if kind.key == Key::User {
        spec.needs(kind.key.field());
    }
    if kind.scope == Scope::Child {
        let mut organization = described(form(&Shape::Name), "The organization that it belongs to. It cannot change.");
        let moved = Rule::new("self == oldSelf", "", "a resource stays in its organization: make it anew in the other");
        organization["x-kubernetes-validations"] = json!([rule(&moved)]);
        spec.property("organization", organization);
        spec.needs("organization");
    }
    spec.fields(kind.fields, &|path| words(kind, path));
    for about in kind.rules.iter().filter(|rule| !rule.is_about_the_name()) {
        spec.rule(rule(about));
    }
    if kind.scope == Scope::Root {
        for child in Kind::children() {
            spec.property(child.plural, children(child));
        }
    }
    let mut spec = spec.finish(kind.about);
    let must_be_given = spec.get("required").is_some();
    if !must_be_given {
        spec["nullable"] = true.into();
    }
    let mut document = Node::new();
    document.property("spec", spec);
    if must_be_given {
        document.needs("spec");
    }
    if kind.key == Key::Name {
        let rules = kind.rules.iter().filter(|rule| rule.is_about_the_name());
        for rule in [rule(&OBJECT_NAME)].into_iter().chain(rules.map(|about| named(about, DOCUMENT_NAME, "spec."))) {
            document.rule(rule);
        }
    }
    enveloped(document, status::of_kind(), kind.about)
}

/// What identifies a document whose key is its name.
const DOCUMENT_NAME: &str = "(has(self.spec) && has(self.spec.name) ? self.spec.name : self.metadata.name)";

/// The name of the object is the name of the resource, unless another is given.
const OBJECT_NAME: Rule = Rule::new(
    "(has(self.spec) && has(self.spec.name)) || (size(self.metadata.name) <= 63 && !self.metadata.name.contains('.'))",
    "spec.name",
    "`metadata.name` is no name of Argus, which has no dots and at most 63 characters: shorten it, or give the name in \
     `spec.name`",
);

/// A document with what every object has.
fn enveloped(mut document: Node, status: Value, about: &str) -> Value {
    let version = described(json!({ "type": "string" }), "The version of the form of manifests.");
    document.property("apiVersion", version);
    document.property("kind", described(json!({ "type": "string" }), "What the document describes."));
    document.property("metadata", json!({ "type": "object" }));
    document.property("status", status);
    document.finish(about)
}

/// What identifies a resource, in words.
fn key_about(kind: &Kind, in_document: bool) -> &'static str {
    match (kind.key, in_document) {
        (Key::User, _) => "The email address of the person.",
        (Key::Name, true) => "What it is called, where `metadata.name` cannot be the name.",
        (Key::Name, false) => "What it is called.",
    }
}

/// The children of a kind that stand within an organization.
fn children(kind: &'static Kind) -> Value {
    let about = format!("{} Listing them here makes the list complete: others are extra.", kind.about);
    json!({
        "description": about,
        "type": "array",
        "nullable": true,
        "maxItems": CHILDREN_MAX,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": [kind.key.field()],
        "items": item(kind),
    })
}

fn item(kind: &'static Kind) -> Value {
    let mut item = Node::inline();
    item.property(kind.key.field(), described(form(&kind.key.shape()), key_about(kind, false)));
    item.needs(kind.key.field());
    let previous = described(form(&kind.key.shape()), "The name that it had before; the row keeps its id.");
    item.property("previousName", nullable(previous));
    item.fields(kind.fields, &|path| words(kind, path));
    for about in kind.rules {
        item.rule(if about.is_about_the_name() { named(about, "self.name", "") } else { rule(about) });
    }
    item.finish(kind.about)
}

/// A rule about a name, which this expression tells.
fn named(about: &Rule, expression: &str, head: &str) -> Value {
    let mut rule = rule(about);
    rule["rule"] = about.cel.replace("{name}", expression).into();
    rule["fieldPath"] = format!(".{head}{}", about.at).into();
    rule
}

/// The words that a field takes because of what other kinds there are.
fn words(kind: &Kind, path: &str) -> Option<Vec<&'static str>> {
    let names = |scoped: fn(&Kind) -> bool| Kind::stored().filter(|kind| scoped(kind)).map(|kind| kind.name).collect();
    match (kind.scope, path) {
        (Scope::Root, AUTHORITATIVE) => {
            Some(Kind::children().filter(|kind| kind.table.is_some()).map(|kind| kind.plural).collect())
        }
        (Scope::Root, "ignore.kind") => Some(names(|kind| kind.scope != Scope::Global)),
        (Scope::Child, "target.kind") => Some(names(|_| true)),
        _ => None,
    }
}
