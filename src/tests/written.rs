//! What is written reads back the same, to our strict reader and to others, and fits the JSON Schema.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use argus::model::id::{GLOBAL, OrganizationName};
use argus::model::kind::{KINDS, Kind, KindId, Scope};
use argus::model::kinds::organization;
use argus::model::plain::is_unseen;
use argus::model::resource::Spec;
use argus::model::secret;
use argus::model::shape::{Column, Field, Shape};
use argus::model::state::{Live, LiveRow};
use argus::model::value::Value;
use argus::render::schema::manifest_schema;
use argus::render::yaml;
use argus::source::manifest::read_file;
use argus::validate;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use serde_json::Value as Json;

/// Text as people and other programs write it, with everything that YAML finds remarkable.
fn line(chars_max: usize) -> BoxedStrategy<String> {
    let odd = prop::sample::select(vec![
        "",
        " ",
        "no",
        "Yes",
        "on",
        "~",
        "null",
        "1",
        "1e3",
        "0x10",
        "1_000",
        "12:30",
        "2030-01-01",
        ".5",
        "-",
        "- a",
        "? a",
        ": a",
        "a: b",
        "a:",
        "a #b",
        "#a",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "'",
        "\"",
        "%a",
        "@a",
        "`a`",
        "[a]",
        "{a}",
        "a, b",
        "<<",
        "=",
        "...",
        "---",
        "a\tb",
        "\ta",
        " a ",
        "'a'",
        "it's",
        "a\\nb",
        "日本",
        "É",
        "😀",
        "true",
        "False",
        "0o17",
        "+1",
        "1.",
        "key: |",
        "a: 'b",
    ])
    .prop_map(str::to_owned);
    let free = "[ -~éß漢]{0,40}";
    prop_oneof![odd, "[a-z][a-z ]{0,20}", free]
        .prop_map(move |text| text.chars().take(chars_max).collect::<String>())
        .prop_filter("no secret", |text: &String| secret::looks_like(text).is_none())
        .boxed()
}

fn prose(chars_max: usize) -> BoxedStrategy<String> {
    vec(line(60), 0..6)
        .prop_map(move |lines| lines.join("\n").chars().take(chars_max).collect::<String>())
        .prop_filter("no secret", |text: &String| secret::looks_like(text).is_none())
        .boxed()
}

fn text(strategy: impl Strategy<Value = String> + 'static) -> BoxedStrategy<Value> {
    strategy.prop_map(Value::text).boxed()
}

fn name() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-z0-9]([a-z0-9_-]{0,10}[a-z0-9])?",
        prop::sample::select(vec!["no", "on", "1", "0x10", "1e3", "null", "y", "007", "2030-01-01", "1_0"])
            .prop_map(str::to_owned),
    ]
    .boxed()
}

/// Canonical values of a shape.
fn values(shape: &'static Shape) -> BoxedStrategy<Value> {
    match shape {
        Shape::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Shape::Int { min, max } => prop_oneof![Just(*min), Just(*max), *min..=*max].prop_map(Value::Int).boxed(),
        Shape::Line { chars_max } => text(line(*chars_max as usize)),
        Shape::Prose { chars_max } => text(prose(*chars_max as usize)),
        Shape::Name => text(name()),
        Shape::Email => text("[a-z0-9]{1,8}(\\+[a-z]{1,4})?@[a-z]{1,8}\\.example"),
        Shape::Domain => text("[a-z0-9]{1,8}\\.example"),
        Shape::Url => text("https://[a-z]{1,8}\\.example(:[1-9][0-9]{1,3})?(/[a-z0-9#,.-]{0,8})?"),
        Shape::Permission => text("\\*|[a-z]{1,6}(:([a-z]{1,6}|\\*))?"),
        Shape::EventPattern => text("\\*|[a-z]{1,6}(\\.[a-z]{1,6})?(\\.\\*)?"),
        Shape::Schedule => text("[0-9] [0-9] ([1-9]|\\*) \\* ([0-6]|\\*)"),
        Shape::Duration => text("[1-9][0-9]?[dhms]"),
        Shape::Time => text("20[3-9][0-9]-0[1-9]-[12][0-8]T[01][0-9]:[0-5][0-9]:[0-5][0-9]Z"),
        Shape::Money => text("[1-9][0-9]{0,8}(\\.[0-9][1-9])? (USD|EUR)"),
        Shape::Enum(words) => prop::sample::select(*words).prop_map(Value::text).boxed(),
        Shape::Set { item, .. } => {
            btree_set(values(item), 0..4).prop_map(|items| Value::List(items.into_iter().collect())).boxed()
        }
        Shape::List { fields, key, .. } => {
            let fields: &'static [Field] = fields;
            let key: &'static str = key;
            vec(records(fields), 0..4)
                .prop_map(move |mut items| {
                    if !key.is_empty() {
                        items.sort_by(|a, b| a.get(key).cmp(&b.get(key)));
                        items.dedup_by(|a, b| a.get(key) == b.get(key));
                    }
                    Value::List(items.into())
                })
                .boxed()
        }
        Shape::Map { .. } => {
            let key = line(30).prop_filter("a key", |key| !key.trim().is_empty() && !secret::is_secret_name(key));
            let number = prop_oneof![
                any::<i64>().prop_map(Value::Int),
                (-1e9..1e9).prop_map(Value::Float),
                Just(Value::Float(0.1)),
                Just(Value::Float(1e300)),
                Just(Value::Float(5e-324)),
            ];
            let value = prop_oneof![text(prose(100)), number, any::<bool>().prop_map(Value::Bool), Just(Value::Null)];
            btree_map(key, value, 0..5).prop_map(Value::map).boxed()
        }
    }
}

fn records(fields: &'static [Field]) -> BoxedStrategy<Value> {
    let pairs: Vec<BoxedStrategy<(&'static str, Value)>> = fields
        .iter()
        .map(|field| {
            let value = match field.required {
                true => values(&field.shape),
                false => prop_oneof![values(&field.shape), Just(field.preset.value())].boxed(),
            };
            value.prop_map(move |value| (field.path, value)).boxed()
        })
        .collect();
    pairs.prop_map(Value::map).boxed()
}

/// Specs of a kind: the required fields, and any of the others.
fn specs(kind: &'static Kind) -> BoxedStrategy<Spec> {
    let entries: Vec<BoxedStrategy<Option<(u8, Value)>>> = (0_u8..)
        .zip(kind.fields)
        .filter(|(_, field)| field.column != Column::None)
        .map(|(number, field)| {
            let value = values(&field.shape).prop_map(move |value| Some((number, value)));
            if field.required {
                value.boxed()
            } else {
                let empty = match field.shape {
                    Shape::Set { .. } | Shape::List { .. } => Value::List([].into()),
                    Shape::Map { .. } => Value::Map([].into()),
                    _ => Value::Null,
                };
                prop_oneof![3 => value, 2 => Just(None), 1 => Just(Some((number, empty)))].boxed()
            }
        })
        .collect();
    entries.prop_map(|entries| Spec::from_values(entries.into_iter().flatten())).boxed()
}

fn any_resource() -> BoxedStrategy<(&'static Kind, String, Spec)> {
    prop::sample::select(KINDS.to_vec())
        .prop_flat_map(|kind| {
            let key = match kind.key.shape() {
                Shape::Email => "[a-z]{1,8}@[a-z]{1,8}\\.example".boxed(),
                _ => name(),
            };
            (Just(kind), key, specs(kind))
        })
        .boxed()
}

fn organization_of(kind: &Kind, name: &str) -> OrganizationName {
    match kind.scope {
        Scope::Global => GLOBAL.into(),
        Scope::Root => name.into(),
        Scope::Child => "acme".into(),
    }
}

/// The spec as JSON, nested as people write it.
fn nested(kind: &Kind, spec: &Spec) -> Json {
    let mut root = serde_json::json!({});
    for entry in spec.entries() {
        let mut at = &mut root;
        for part in kind.fields[entry.field as usize].path.split('.') {
            at = &mut at[part];
        }
        *at = serde_json::to_value(&entry.value).expect("JSON");
    }
    root
}

/// Whether two values are equal as people read them: a record may leave out what is its default.
fn covers(full: &Json, written: &Json) -> bool {
    match (full, written) {
        (Json::Object(full), Json::Object(written)) => written.iter().all(|(key, value)| covers(&full[key], value)),
        (Json::Array(full), Json::Array(written)) => {
            full.len() == written.len() && full.iter().zip(written).all(|(full, written)| covers(full, written))
        }
        (Json::Number(full), Json::Number(written)) => full.as_f64() == written.as_f64(),
        (full, written) => full == written,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_resource_reads_back_the_same((kind, name, spec) in any_resource()) {
        let organization = organization_of(kind, &name);
        let text = yaml::resource(kind, &organization, &name, &spec);
        let reading = read_file(&"a.yaml".into(), text.as_bytes());
        prop_assert!(reading.findings.is_empty(), "{:?}\n{text}", reading.findings);
        let [resource] = &reading.resources[..] else { panic!("one resource in\n{text}") };
        prop_assert_eq!(&*resource.id.name, &*name);
        prop_assert_eq!(&resource.id.organization, &organization);
        prop_assert_eq!(resource.spec.to_json(kind), spec.to_json(kind), "\n{}", text);
    }

    #[test]
    fn another_reader_reads_the_same_from_it((kind, name, spec) in any_resource()) {
        let text = yaml::resource(kind, &organization_of(kind, &name), &name, &spec);
        let json: Json = serde_yaml::from_str(&text).expect("YAML");
        let wanted = nested(kind, &spec);
        let written = json.get("spec").cloned().unwrap_or(serde_json::json!({}));
        for (key, value) in wanted.as_object().expect("a mapping") {
            prop_assert!(covers(value, &written[key]), "{key}: {value} is not {}\n{text}", written[key]);
        }
    }

    #[test]
    fn what_the_reader_takes_fits_the_schema((kind, name, spec) in any_resource()) {
        let text = yaml::resource(kind, &organization_of(kind, &name), &name, &spec);
        let json: Json = serde_yaml::from_str(&text).expect("YAML");
        let faults = faults(&json);
        prop_assert!(faults.is_empty(), "{faults:?}\n{text}");
    }

    #[test]
    fn an_organization_reads_back_the_same(rows in vec(any_resource(), 0..8)) {
        let mut live = Live::default();
        for (kind, name, spec) in rows.into_iter().filter(|(kind, ..)| kind.table.is_some() && kind.scope == Scope::Child) {
            live.rows.insert((KindId::of(kind), name.into()), LiveRow { version: 1, spec });
        }
        let text = yaml::organization(&"acme".into(), &live, Some("https://argus.example/schema.json"), |_, _| true);
        prop_assert!(text.starts_with("# yaml-language-server: $schema=https://argus.example/schema.json\napiVersion: "));
        let reading = read_file(&"a.yaml".into(), text.as_bytes());
        prop_assert!(reading.findings.is_empty(), "{:?}\n{text}", reading.findings);
        let read: BTreeMap<(KindId, Arc<str>), Spec> = reading
            .resources
            .into_iter()
            .filter(|resource| !resource.id.kind.is(&organization::KIND))
            .map(|resource| ((resource.id.kind, resource.id.name), resource.spec))
            .collect();
        prop_assert_eq!(read.keys().collect::<Vec<_>>(), live.rows.keys().collect::<Vec<_>>());
        for (id, row) in &live.rows {
            for (number, field) in id.0.get().stored_fields() {
                let or_default = |spec: &Spec| spec.value(number).cloned().unwrap_or(field.preset.value());
                prop_assert_eq!(or_default(&read[id]), or_default(&row.spec), "{} {}\n{}", id.0, field.path, text);
            }
        }
    }

    #[test]
    fn no_input_makes_the_reader_panic(bytes in vec(any::<u8>(), 0..200), at in 0_usize..1000, with in any::<u8>()) {
        let _ = read_file(&"a.yaml".into(), &bytes);
        // A real manifest with one byte changed reaches deeper than noise.
        let mut text = organization::KIND.example.as_bytes().to_vec();
        let at = at % text.len();
        text[at] = with;
        let reading = read_file(&"a.yaml".into(), &text);
        prop_assert!(reading.unreadable || !reading.blocked.is_empty() || !reading.resources.is_empty());
    }
}

fn validator() -> &'static jsonschema::Validator {
    static VALIDATOR: std::sync::LazyLock<jsonschema::Validator> =
        std::sync::LazyLock::new(|| jsonschema::validator_for(&manifest_schema()).expect("a schema"));
    &VALIDATOR
}

fn faults(json: &Json) -> Vec<String> {
    validator().iter_errors(json).map(|fault| format!("{}: {fault}", fault.instance_path())).collect()
}

fn documents(path: &Path) -> Vec<Json> {
    let text = fs::read_to_string(path).expect("a file");
    let text = text.trim_start_matches('\u{FEFF}');
    serde_yaml::Deserializer::from_str(text)
        .map(|document| serde::Deserialize::deserialize(document).expect("YAML"))
        .collect()
}

fn manifests(folder: &str) -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixtures").join(folder);
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            if name.starts_with('.') || name == "policies" || name == "argus.yaml" {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn examples_and_right_manifests_fit_the_schema() {
    for kind in KINDS {
        let json: Json = serde_yaml::from_str(kind.example).expect("YAML");
        assert_eq!(faults(&json), Vec::<String>::new(), "{}", kind.name);
    }
    let files = manifests("good");
    assert!(files.len() > 5);
    for file in files {
        for document in documents(&file) {
            assert_eq!(faults(&document), Vec::<String>::new(), "{}", file.display());
        }
    }
}

#[test]
fn wrong_manifests_do_not_fit_the_schema() {
    for folder in [
        "1020-versions",
        "1021-kinds",
        "1022-missing-fields",
        "1024-wrong-shapes",
        "1024-numbers-that-are-not",
        "1026-null-required",
        "1027-names",
        "1029-words",
        "1030-addresses",
        "1031-money",
        "1032-moments",
        "1033-lengths-of-time",
        "1035-addresses",
        "1036-patterns",
        "1037-items-twice",
        "1042-unknown-fields",
        "1120-fields-disagree",
    ] {
        for file in manifests(&format!("bad/{folder}")) {
            let fitting = documents(&file).iter().all(|document| faults(document).is_empty());
            assert!(!fitting, "{} fits the schema", file.display());
        }
    }
}

#[test]
fn an_unknown_field_is_the_only_thing_that_the_schema_complains_of() {
    let text =
        "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata:\n  name: acme\nspec:\n  displayname: Acme\n";
    let json: Json = serde_yaml::from_str(text).expect("YAML");
    let faults = faults(&json);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains("displayname"), "{faults:?}");
}

#[test]
fn an_organization_is_written_as_people_would_write_it() {
    let mut live = Live::default();
    for kind in KINDS.iter().filter(|kind| kind.table.is_some() && kind.scope != Scope::Global) {
        let reading = read_file(&"a.yaml".into(), kind.example.as_bytes());
        for resource in reading.resources {
            let stored =
                resource.spec.entries().iter().filter(|entry| kind.fields[entry.field as usize].column != Column::None);
            let spec = Spec::from_values(stored.map(|entry| (entry.field, entry.value.clone())));
            live.rows.insert((resource.id.kind, resource.id.name), LiveRow { version: 1, spec });
        }
    }
    let text = yaml::organization(&"acme".into(), &live, None, |_, _| true);
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/fixtures/written/acme.yaml");
    if std::env::var_os("ARGUS_UPDATE").is_some() {
        fs::create_dir_all(expected.parent().expect("a folder")).expect("a folder");
        fs::write(&expected, &text).expect("an expectation");
    }
    assert_eq!(text, fs::read_to_string(expected).unwrap_or_default());
    let some =
        yaml::organization(&"acme".into(), &live, None, |kind, name| kind.get().name == "Team" && name == "platform");
    assert!(some.contains("teams:") && !some.contains("members:\n    - user: ada@acme.example\n      roles"), "{some}");
}

#[test]
fn characters_that_cannot_be_seen_are_written_as_escapes() {
    let kind = &organization::KIND;
    let at = kind.field_at("displayName").expect("a field");
    for c in (0..=0x2_0000_u32).filter_map(char::from_u32).filter(|c| is_unseen(*c)) {
        let spec = Spec::from_values([(at, Value::text(format!("a{c}b")))]);
        let text = yaml::resource(kind, &"acme".into(), "acme", &spec);
        assert!(text.chars().all(|c| !is_unseen(c)), "U+{:04X}", c as u32);
        let json: Json = serde_yaml::from_str(&text).expect("YAML");
        assert_eq!(json["spec"]["displayName"], format!("a{c}b"));
    }
    assert!(!validate::has_errors(&[]));
}
