//! GitSource: where manifests come from, in the words of the settings.

use serde_json::{Value, json};

use super::columns::{column, standing};
use super::forms::{Node, described, explained, form, nullable, rule, text, worded};
use super::{Definition, Names, definition, enveloped, status};
use crate::brake::Mode;
use crate::model::rule::Rule;
use crate::model::shape::Shape;

const ABOUT: &str = "A repository whose manifests say what organizations should be.";

/// What of a repository can be asked to be signed.
const VERIFY: [&str; 4] = ["none", "head", "tag", "all-since-applied"];

const ADDRESS: &str = "this is no repository: write `https://host/path`, `ssh://user@host/path` or `user@host:path`, \
     without a password";

const RULES: &[Rule] = &[
    Rule::needs(
        "self.verify == 'none' || has(self.signers)",
        "signers",
        "what is signed is judged by a list of signers: name the Secret that holds it in `signers.secretRef`",
    ),
    Rule::needs(
        "self.verify != 'tag' || has(self.ref)",
        "ref",
        "`verify: tag` is about the tag that `ref` names: add it",
    ),
    Rule::new(
        "!self.interval.startsWith('0') && !self.timeout.startsWith('0')",
        "interval",
        "nothing can be done in no time: give an `interval` such as 5m and a `timeout` such as 10m",
    ),
    Rule::new(
        "!has(self.paths) || self.paths.all(path, !path.startsWith('/') && !path.split('/').exists(part, part == '..'))",
        "paths",
        "a path is relative and leads out of nothing: write it from the root of the repository, without `..`",
    ),
];

/// Its definition.
pub fn definition_of_source() -> Definition {
    let names = Names { kind: "GitSource", plural: "gitsources".into(), short: &["gitsrc"] };
    let mut columns = vec![column("URL", "string", ".spec.url", false), column("Ref", "string", ".spec.ref", false)];
    columns.extend(standing());
    for (name, form, path) in [
        ("Suspended", "boolean", ".spec.suspend"),
        ("Mode", "string", ".spec.mode"),
        ("Verify", "string", ".spec.verify"),
        ("Interval", "string", ".spec.interval"),
        ("Source", "string", ".spec.source"),
    ] {
        columns.push(column(name, form, path, true));
    }
    let mut document = Node::new();
    document.property("spec", spec());
    document.needs("spec");
    definition(&names, enveloped(document, status::of_source(), ABOUT), columns)
}

fn spec() -> Value {
    let mut spec = Node::new();
    let address = text(
        "^(https://[^\\s@/]+/\\S*|ssh://[^\\s/:@]+(@[^\\s/:@]+)?(:[0-9]+)?/\\S+|[^\\s@/:]+@[^\\s@/:]+:\\S+)$",
        2_048,
    );
    spec.property(
        "url",
        described(
            explained(address, ADDRESS),
            "The repository: `https://`, `ssh://` or `git@host:path`, without a password.",
        ),
    );
    spec.needs("url");
    let reference = text("^[^-\\s~^:?*\\[\\\\][^\\s~^:?*\\[\\\\]*$", 255);
    spec.property(
        "ref",
        nullable(described(reference, "The branch, tag or commit; left out, what the repository calls `HEAD`.")),
    );
    let name = described(form(&Shape::Name), "The name that the source has to have; left out, that of the object.");
    spec.property("source", nullable(name));
    let paths = json!({
        "description": "The directories and files that are read; left out, those that `argus.yaml` names.",
        "type": "array",
        "nullable": true,
        "maxItems": 100,
        "x-kubernetes-list-type": "set",
        "items": { "type": "string", "minLength": 1, "maxLength": 500, "pattern": "^[^\\n]*$" },
    });
    spec.property("paths", paths);
    spec.property(
        "interval",
        defaulted(worded(form(&Shape::Duration), &Shape::Duration), "5m", "How often the repository is looked at."),
    );
    spec.property(
        "timeout",
        defaulted(worded(form(&Shape::Duration), &Shape::Duration), "10m", "How long a fetch may take."),
    );
    let verify = json!({ "type": "string", "enum": VERIFY });
    spec.property("verify", defaulted(verify, "none", "What has to be signed."));
    spec.property("signers", secret("The Secret of this namespace with the lists of those who may sign."));
    let mut access = secret_ref("The Secret of this namespace with what it takes to get in.");
    access["nullable"] = true.into();
    spec.property("secretRef", access);
    let modes = json!({ "type": "string", "enum": [Mode::Enforce.word(), Mode::Apply.word(), Mode::Observe.word()] });
    let about = "What happens to drift; left out, what `argus.yaml` says. It outweighs that.";
    spec.property("mode", nullable(described(modes, about)));
    let suspend =
        described(json!({ "type": "boolean", "default": false }), "Whether nothing of it is applied for now.");
    spec.property("suspend", suspend);
    for about in RULES {
        spec.rule(rule(about));
    }
    spec.finish(ABOUT)
}

/// These fields have defaults: a source is no manifest, and what it leaves out is not left alone but as usual.
fn defaulted(mut schema: Value, default: &str, about: &str) -> Value {
    schema["default"] = default.into();
    described(schema, about)
}

fn secret(about: &str) -> Value {
    let mut holder = Node::new();
    holder.property("secretRef", secret_ref(about));
    holder.needs("secretRef");
    let mut holder = holder.finish("Who may sign.");
    holder["nullable"] = true.into();
    holder
}

fn secret_ref(about: &str) -> Value {
    let mut named = Node::new();
    named.property("name", described(text("^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", 253), "Its name."));
    named.needs("name");
    named.finish(about)
}
