//! What the chart is made of fits together. What Helm and an API server make of it is asked in `cluster::chart`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use argus::render::crds;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of a folder with their texts.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a text"))
        })
        .collect()
}

#[test]
fn the_definitions_in_the_chart_are_those_of_the_reference() {
    let folder = Path::new(ROOT).join("charts/argus/files/crds");
    let list = Path::new(ROOT).join("charts/argus/files/kustomization.yaml");
    let wanted: BTreeMap<String, String> =
        crds::all().iter().map(|definition| (format!("{}.yaml", definition.plural), definition.yaml())).collect();
    let names: String = wanted.keys().map(|name| format!("  - crds/{name}\n")).collect();
    let wanted_list = format!(
        "# The definitions of custom resources, for Kustomize; the chart reads their files itself. `make reference` writes \
         it.\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{names}"
    );
    if std::env::var_os("ARGUS_UPDATE").is_some() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in &wanted {
            std::fs::write(folder.join(name), text).expect("a definition");
        }
        std::fs::write(&list, &wanted_list).expect("a list");
    }
    let about = "run `make reference` and look at what it changes";
    let written = files(&folder);
    let names: BTreeSet<&String> = wanted.keys().chain(written.keys()).collect();
    let stale: Vec<_> = names.into_iter().filter(|name| wanted.get(*name) != written.get(*name)).collect();
    assert!(stale.is_empty(), "out of date in {}: {stale:?}; {about}", folder.display());
    assert!(text("charts/argus/files/kustomization.yaml") == wanted_list, "{} is out of date; {about}", list.display());
}

#[test]
fn a_definition_begins_as_the_chart_expects_it() {
    // The chart puts an annotation under the first `metadata:` of a text, and there may be neither another nor annotations.
    for definition in crds::all() {
        let text = definition.yaml();
        assert_eq!(text.matches("\nmetadata:\n").count(), 1, "{}", definition.plural);
        assert_eq!(definition.document["metadata"].as_object().map(|fields| fields.len()), Some(1));
        assert!(definition.document["metadata"]["name"].is_string());
    }
}

#[test]
fn the_chart_is_for_this_version() {
    let chart = yaml("charts/argus/Chart.yaml");
    let argus = env!("CARGO_PKG_VERSION");
    assert_eq!(
        (&chart["apiVersion"], &chart["appVersion"], &chart["version"]),
        (&"v2".into(), &argus.into(), &argus.into())
    );
}

/// Where values and schema differ in which keys there are.
fn differing(path: &str, values: &Value, schema: &Value, found: &mut Vec<String>) {
    let (Some(values), Some(fields)) = (values.as_object(), schema["properties"].as_object()) else { return };
    if schema["additionalProperties"] != false {
        found.push(format!("{path} takes what nobody knows"));
    }
    let names: BTreeSet<&String> = values.keys().chain(fields.keys()).collect();
    for name in names {
        let path = format!("{path}.{name}");
        match (values.get(name), fields.get(name)) {
            (Some(value), Some(schema)) => differing(&path, value, schema, found),
            (Some(_), None) => found.push(format!("the schema lacks {path}")),
            (None, _) if path == ".global" => {}
            (None, _) => found.push(format!("values.yaml lacks {path}")),
        }
    }
}

#[test]
fn values_and_their_schema_know_the_same_keys() {
    let (values, mut schema) = (yaml("charts/argus/values.yaml"), yaml("charts/argus/values.schema.json"));
    let mut found = Vec::new();
    differing("", &values, &schema, &mut found);
    assert_eq!(found, Vec::<String>::new());
    // It can fail.
    schema["properties"]["image"]["properties"].as_object_mut().expect("fields").remove("tag");
    schema["properties"]["http"]["properties"]["path"] = Value::Bool(true);
    schema["properties"]["log"]["additionalProperties"] = Value::Bool(true);
    differing("", &values, &schema, &mut found);
    let expected = ["values.yaml lacks .http.path", "the schema lacks .image.tag", ".log takes what nobody knows"];
    assert_eq!(found, expected);
}

#[test]
fn every_value_is_read_by_a_template() {
    let templates: String = files(&Path::new(ROOT).join("charts/argus/templates")).into_values().collect();
    let values = yaml("charts/argus/values.yaml");
    for name in values.as_object().expect("values").keys() {
        assert!(templates.contains(&format!(".Values.{name}")), "no template reads {name}");
    }
}
