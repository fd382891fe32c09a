//! What every definition for Kubernetes keeps to, whatever the kinds are. What an API server makes of them is asked in
//! `cluster`.

use argus::brake::Mode;
use argus::model::kind::{KINDS, Kind};
use argus::model::kinds::role::{self, BUILT_IN};
use argus::model::shape::{Field, Shape};
use argus::render::crds;
use argus::source::git::settings::GitSettings;
use serde_json::Value;

/// Every schema of a definition with the path that leads to it.
fn schemas(definition: &Value) -> Vec<(String, Value)> {
    fn walk(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
        found.push((path.to_owned(), schema.clone()));
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), below, found);
        }
        for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
            if schema[key].is_object() {
                walk(&format!("{path}{mark}"), &schema[key], found);
            }
        }
    }
    let mut found = Vec::new();
    let kind = definition["spec"]["names"]["kind"].as_str().expect("a kind");
    walk(kind, &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
    found
}

fn all() -> Vec<(String, Value)> {
    crds::all().iter().flat_map(|definition| schemas(&definition.document)).collect()
}

#[test]
fn every_schema_says_what_it_is_and_how_much_it_takes() {
    for (path, schema) in all() {
        let envelope = path.split('.').count() == 2 && ["apiVersion", "kind"].iter().any(|name| path.ends_with(name));
        let has = |key: &str| schema.get(key).is_some();
        match schema["type"].as_str() {
            Some("string") => assert!(envelope || has("maxLength") || has("enum"), "{path} has no end"),
            Some("array") => {
                assert!(has("maxItems") && has("x-kubernetes-list-type"), "{path}: {schema}");
                let unique = schema["x-kubernetes-list-type"] == "map";
                assert_eq!(unique, has("x-kubernetes-list-map-keys"), "{path}");
            }
            Some("object") if has("additionalProperties") => assert!(has("maxProperties"), "{path} has no end"),
            Some("object") => assert!(has("properties") || path.ends_with(".metadata"), "{path} takes nothing"),
            Some("integer" | "boolean") => {}
            other => {
                // What a free map holds is the only thing that has no type.
                assert_eq!((other, &schema["x-kubernetes-preserve-unknown-fields"]), (None, &true.into()), "{path}");
                assert!(path.ends_with("{}"), "{path}");
                continue;
            }
        }
        assert!(!has("x-kubernetes-preserve-unknown-fields") && !has("$ref"), "{path}");
        let described =
            schema["description"].as_str().is_some_and(|text| text.ends_with(['.', '`']) || text.contains('.'));
        assert!(described || path.ends_with(".metadata") || path.ends_with("[]"), "{path} is not described");
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            assert!(rule["message"].as_str().is_some_and(|message| message.contains(' ')), "{path}: {rule}");
        }
    }
}

#[test]
fn no_field_of_a_resource_is_named_by_a_default_that_its_manifest_does_not_name() {
    // A field that is not named is left alone, and a default would name it. What a source leaves out is as usual.
    let with_default: Vec<String> =
        all().into_iter().filter(|(_, schema)| schema.get("default").is_some()).map(|(path, _)| path).collect();
    let of_source = ["interval", "suspend", "timeout", "verify"].map(|name| format!("GitSource.spec.{name}"));
    assert_eq!(with_default, of_source);
}

#[test]
fn every_field_of_every_kind_stands_in_its_definition_and_inline() {
    let known: Vec<String> = all().into_iter().map(|(path, _)| path).collect();
    let check = |path: String| assert!(known.contains(&path), "{path} is missing");
    fn each(head: &str, fields: &[Field], check: &dyn Fn(String)) {
        for field in fields {
            check(format!("{head}.{}", field.path));
            if let Shape::List { fields, .. } = field.shape {
                each(&format!("{head}.{}[]", field.path), fields, check);
            }
        }
    }
    for kind in KINDS {
        each(&format!("{}.spec", kind.name), kind.fields, &check);
    }
    for kind in Kind::children() {
        each(&format!("Organization.spec.{}[]", kind.plural), kind.fields, &check);
    }
}

#[test]
fn the_columns_that_a_kind_names_are_fields_of_single_values() {
    for kind in KINDS {
        for path in kind.columns {
            let field = kind.field(path).unwrap_or_else(|| panic!("{} has no field {path}", kind.name));
            assert!(!field.shape.is_collection(), "{}.{path}", kind.name);
        }
    }
}

#[test]
fn the_words_of_rules_and_of_a_source_are_those_of_the_rest() {
    let rule = role::KIND.rules[0].cel;
    let quoted: Vec<&str> = rule.split('\'').skip(1).step_by(2).collect();
    let built_in: Vec<&str> = BUILT_IN.iter().map(|role| role.name).collect();
    assert_eq!(quoted, built_in);
    let word_list = |path: &str| {
        let (_, schema) = all().into_iter().find(|(known, _)| known == path).expect("a field");
        let rule = schema["x-kubernetes-validations"][0]["rule"].as_str().unwrap_or_default().to_owned();
        let words = schema["enum"].as_array().cloned().unwrap_or_default();
        let listed = words.iter().map(|word| word.as_str().expect("a word").to_owned());
        listed.chain(rule.split('"').skip(1).step_by(2).map(str::to_owned)).collect::<Vec<_>>()
    };
    let verify = word_list("GitSource.spec.verify");
    for word in &verify {
        serde_json::from_value::<GitSettings>(serde_json::json!({ "verify": word })).expect("the settings know it");
    }
    assert_eq!(verify.len(), 4);
    let modes = [Mode::Enforce, Mode::Apply, Mode::Observe].map(Mode::word);
    assert_eq!(word_list("GitSource.spec.mode"), modes);
}

#[test]
fn short_names_lead_to_one_kind_each() {
    let mut names = Vec::new();
    for definition in crds::all() {
        let spelled = &definition.document["spec"]["names"];
        let short = spelled["shortNames"].as_array().cloned().unwrap_or_default();
        names.extend(short.iter().map(|name| name.as_str().expect("text").to_owned()));
        names.push(spelled["plural"].as_str().expect("text").to_owned());
        if spelled["singular"] != spelled["plural"] {
            names.push(spelled["singular"].as_str().expect("text").to_owned());
        }
    }
    let many = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), many, "{names:?}");
}
