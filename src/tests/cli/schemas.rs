//! The schemas of what Argus reads and prints: kept as files, and true of what is printed.

use std::path::Path;

use serde_json::Value;

use super::{ACME, World, bare, run};

const OF: &[&str] = &[
    "manifest",
    "plan",
    "findings",
    "outcome",
    "rows",
    "sources",
    "work",
    "runs",
    "suspensions",
    "held",
    "approvals",
    "history",
    "audit",
    "audit-heads",
    "audit-verification",
    "notifications",
    "policy-input",
    "judgement",
    "event-list",
    "events",
    "asyncapi",
];

#[test]
fn the_schemas_in_the_documentation_are_those_that_argus_prints() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
    let mut stale = Vec::new();
    for of in OF {
        let printed = run(bare(&["schema", of])).ends(0).out;
        let path = folder.join(format!("{of}.schema.json"));
        if std::env::var_os("ARGUS_UPDATE").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, &printed).expect("a schema");
        }
        if std::fs::read_to_string(&path).ok().as_deref() != Some(&*printed) {
            stale.push(path);
        }
    }
    let files = std::fs::read_dir(&folder).expect("the folder").count();
    assert!(stale.is_empty() && files == OF.len(), "stale, ARGUS_UPDATE=1 writes them anew: {stale:?}");
}

#[test]
fn the_definitions_for_kubernetes_are_printed_and_written_as_they_are_kept() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let world = World::new();
    world.argus(&["crds", "-o", "a/b"]).ends(0);
    let printed = world.argus(&["crds"]).ends(0).out;
    let documents: Vec<&str> = printed.split("---\n").collect();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&kept).expect("the definitions") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a definition");
        assert_eq!(std::fs::read_to_string(world.path("a/b").join(&name)).expect("it was written"), text);
        assert!(documents.contains(&text.as_str()), "{name} is not printed");
        names.push(name);
    }
    assert_eq!(documents.len(), names.len());
    world.write("file", "").argus(&["crds", "-o", "file/b"]).ends(1).says("cannot make the directory");
}

/// Checks a value against the part of JSON Schema that the schemas of documents use.
pub fn conforms(value: &Value, schema: &Value, root: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let definition = root.pointer(reference.trim_start_matches('#')).expect("a definition");
        return conforms(value, definition, root, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let null = any.iter().any(|schema| schema["type"] == "null");
        if null && value.is_null() {
            return;
        }
        let other = any.iter().find(|schema| schema["type"] != "null").expect("another form");
        return conforms(value, other, root, at);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![kind],
    };
    assert!(types.contains(&kind), "{at} is {value}, and the schema says {types:?}");
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(value.get(name).is_some(), "{at} lacks {name}: {value}");
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let below = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null | Value::Bool(_)) => {
                assert!(schema.get("properties").is_none(), "{below} is not in the schema");
            }
            (Value::Null, others) => conforms(value, others, root, &below),
            (known, _) => conforms(value, known, root, &below),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(item, &schema["items"], root, &format!("{at}[]"));
    }
}

#[test]
fn what_is_printed_as_json_is_as_its_schema_says() {
    let world = World::applied(ACME);
    world.argus(&["suspend", "globex", "--reason", "not yet", "--for", "2h"]).ends(0);
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine'");
    world.mallory("psql", "INSERT INTO argus.team (organization, name) VALUES ('acme', 'shadow')");
    world.write("acme.yaml", &ACME.replace("role: owner", "role: admin"));
    let cases: &[(&[&str], &str, i32)] = &[
        (&["validate", "--format", "json"], "findings", 1),
        (&["plan", "--format", "json"], "plan", 1),
        (&["drift", "--format", "json"], "plan", 1),
        (&["get", "organizations", "-o", "json"], "rows", 0),
        (&["get", "members", "-o", "json"], "rows", 0),
        (&["get", "runs", "-o", "json"], "runs", 0),
        (&["get", "suspensions", "-o", "json"], "suspensions", 0),
        (&["notify", "list", "-O", "acme", "-o", "json"], "notifications", 0),
        (&["history", "--format", "json"], "history", 0),
        (&["audit", "tail", "--format", "json"], "audit", 0),
        (&["audit", "heads", "--format", "json"], "audit-heads", 0),
        (&["audit", "verify", "--format", "json"], "audit-verification", 0),
    ];
    world.sql(
        "INSERT INTO argus.notification (organization, event, position, type, subject, rule, channel, priority, title, text, why)
         VALUES ('acme', gen_random_uuid(), 1, 'drift.detected', 'Team/core', 'all', 'ops', 1, 'x', 'x', 'not taken')",
    );
    let check = |ran: super::Ran, of: &str| {
        let schema: Value = run(bare(&["schema", of])).ends(0).json();
        let printed = ran.json();
        let document = printed["document"].as_str().expect("a document says what it is");
        assert_eq!(document, format!("argus.{of}"));
        assert!(printed["format"].is_u64() || printed["plan"]["format"].is_u64(), "{of} tells its version");
        conforms(&printed, &schema, &schema, of);
    };
    for (arguments, of, code) in cases {
        check(world.argus(arguments).ends(*code), of);
    }
    world.write("acme.yaml", ACME);
    for (arguments, of) in [(&["plan", "--format", "json"][..], "plan"), (&["drift", "--format", "json"], "plan")] {
        check(world.argus(arguments).ends(0), of);
    }
    check(world.argus(&["apply", "--auto-approve", "--format", "json"]).ends(0), "outcome");
    // Something that waits, and what was said to it.
    let crowd: String =
        (0..9).map(|number| format!("    - {{user: m{number}@acme.example, role: member}}\n")).collect();
    world.write("acme.yaml", &format!("{ACME}{crowd}"));
    world.argus(&["apply", "--auto-approve"]).ends(0);
    world.write("acme.yaml", ACME);
    check(world.argus(&["apply", "--auto-approve", "--format", "json"]).ends(4), "outcome");
    check(world.argus(&["get", "held", "-o", "json"]).ends(0), "held");
    let digest = world.sql("SELECT plan_digest FROM argus.held_plan");
    check(world.argus(&["show", &digest, "--format", "json"]).ends(0), "plan");
    world.mallory(
        "psql",
        "SELECT argus.approve(organization, plan_digest, rules_digest, now() + interval '1 h', 'x', NULL, NULL)
         FROM argus.held_plan",
    );
    let approvals = world.argus(&["get", "approvals", "-o", "json"]).ends(0);
    assert_eq!(approvals.json()["items"][0]["state"], "unverified");
    check(approvals, "approvals");
    std::fs::write(world.path("machine.yml"), "approvers: [{name: mallory, databaseRoles: [mallory]}]\n")
        .expect("a file");
    let run = ["apply", "acme.yaml", "--auto-approve", "--format", "json", "--config", "machine.yml"];
    let approved = world.argus(&run).ends(0);
    assert_eq!(approved.json()["approved_by"]["acme"][0], "mallory");
    check(approved, "outcome");
    check(world.argus(&["get", "approvals", "-o", "json"]).ends(0), "approvals");
}
