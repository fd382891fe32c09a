//! What the status of a custom resource holds: conditions, how far it got, what it stands for, and a short history.

use serde_json::{Value, json};

use super::forms::{Node, described};

/// How many passes the history tells of.
const HISTORY_MAX: u32 = 10;

/// The status of a resource.
pub fn of_kind() -> Value {
    let mut row = Node::new();
    row.property("kind", line("Its kind.", 63));
    row.property("name", line("Its name, or the email address of a member.", 254));
    row.property("id", line("The id of the row, which it keeps through renames.", 36));
    row.needs("kind");
    row.needs("name");
    status("The rows that it stands for.", &["kind", "name"], row, 10_000)
}

/// The status of where resources come from.
pub fn of_source() -> Value {
    let mut organization = Node::new();
    organization.property("organization", line("Its name; empty for what all organizations share.", 63));
    organization.property("revision", line("The revision that was tried last.", 500));
    organization.needs("organization");
    status("The organizations that it holds.", &["organization"], organization, 5_000)
}

fn status(about_inventory: &str, keys: &[&str], entry: Node, entries_max: u32) -> Value {
    let mut inventory = items(entry.finish("One of them."), "map", entries_max, about_inventory);
    inventory["x-kubernetes-list-map-keys"] = json!(keys);
    let mut conditions = items(
        condition(),
        "map",
        20,
        "How it stands: `Ready` always; `Reconciling`, `Stalled`, `Drifted`, `Fighting` and `SourceVerified` only where they are true.",
    );
    conditions["x-kubernetes-list-map-keys"] = json!(["type"]);
    let mut status = Node::new();
    status.property("observedGeneration", count("The generation that the conditions are about."));
    status.property("conditions", conditions);
    status.property("lastAppliedRevision", line("The revision that was applied last.", 500));
    status.property("lastAttemptedRevision", line("The revision that was tried last.", 500));
    status.property("inventory", inventory);
    status.property("history", items(pass(), "atomic", HISTORY_MAX, "The last passes, the newest first."));
    status.finish("What became of it. Argus writes it, nobody else.")
}

/// A condition, in the form that all of Kubernetes knows.
fn condition() -> Value {
    let mut condition = Node::new();
    let mut kind = line("What it is about.", 316);
    kind["pattern"] = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$".into();
    condition.property("type", kind);
    let states = json!({ "type": "string", "enum": ["True", "False", "Unknown"] });
    condition.property("status", described(states, "Whether it holds."));
    condition.property("observedGeneration", count("The generation that it is about."));
    condition.property("lastTransitionTime", time("Since when it holds."));
    let mut reason = line("One word for why.", 1_024);
    reason["pattern"] = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$".into();
    condition.property("reason", reason);
    let message = json!({ "type": "string", "maxLength": 32_768 });
    condition.property("message", described(message, "Why, for people."));
    for name in ["type", "status", "lastTransitionTime", "reason", "message"] {
        condition.needs(name);
    }
    condition.finish("One condition.")
}

/// A pass that has ended.
fn pass() -> Value {
    let mut pass = Node::new();
    pass.property("run", line("The id of the run, as `argus get runs` lists it.", 36));
    pass.property("revision", line("What it was made of.", 500));
    pass.property("planDigest", line("The digest of its plan.", 100));
    pass.property("finishedAt", time("When it ended."));
    pass.property("outcome", line("How it ended.", 63));
    pass.property("changes", count("How many resources it changed."));
    pass.finish("One pass.")
}

fn items(item: Value, list_type: &str, items_max: u32, about: &str) -> Value {
    json!({
        "description": about,
        "type": "array",
        "maxItems": items_max,
        "x-kubernetes-list-type": list_type,
        "items": item,
    })
}

fn line(about: &str, chars_max: usize) -> Value {
    described(json!({ "type": "string", "maxLength": chars_max }), about)
}

fn count(about: &str) -> Value {
    described(json!({ "type": "integer", "format": "int64", "minimum": 0 }), about)
}

fn time(about: &str) -> Value {
    described(json!({ "type": "string", "format": "date-time", "maxLength": 40 }), about)
}
