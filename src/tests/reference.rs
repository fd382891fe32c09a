//! `docs/kinds.md` and the definitions in `crds` say what `KINDS` says. `ARGUS_UPDATE=1` (or `make reference`) writes
//! them anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use argus::model::kind::{KINDS, Key, Kind, Scope};
use argus::model::shape::{Column, Field, Preset, Shape};
use argus::render::crds;

const HEAD: &str = "\
# Kinds

Every kind with its fields. [manifests.md](manifests.md) tells how a manifest is put together, and
`argus explain KIND.FIELD` prints one entry of this page.

This page is derived from the registry of kinds; `make reference` writes it anew.
";

/// The page.
fn page() -> String {
    let mut out = HEAD.to_owned();
    for kind in KINDS {
        section(&mut out, kind).expect("writing to a string cannot fail");
    }
    out
}

fn section(out: &mut String, kind: &Kind) -> std::fmt::Result {
    writeln!(out, "\n## {}\n\n{}\n", kind.name, kind.about)?;
    match kind.scope {
        Scope::Global => {
            writeln!(out, "- Shared by all organizations: a document of its own, without `spec.organization`.")?
        }
        Scope::Root => writeln!(out, "- The tenant itself: a document of its own.")?,
        Scope::Child => {
            writeln!(out, "- Part of an organization: inline under `spec.{}`, or a document of its own.", kind.plural)?;
        }
    }
    match kind.key {
        Key::Name => writeln!(out, "- Identified by its name.")?,
        Key::User => writeln!(out, "- Identified by the email address in `user`.")?,
    }
    let words: Vec<String> =
        [kind.plural].iter().chain(kind.short_names).map(|word| format!("`{}`", word.to_lowercase())).collect();
    writeln!(out, "- On the command line: {}.", words.join(", "))?;
    if kind.protected {
        writeln!(out, "- Protected: leaving the manifests is not enough to delete it.")?;
    }
    out.push_str("\n| field | form | left out | |\n|---|---|---|---|\n");
    rows(out, "", kind.fields)?;
    writeln!(out, "\n```yaml\n{}```", kind.example)
}

fn rows(out: &mut String, prefix: &str, fields: &[Field]) -> std::fmt::Result {
    for field in fields {
        let path = format!("{prefix}{}", field.path);
        let preset = match field.preset {
            _ if field.required => "must be given".to_owned(),
            Preset::Null => "nothing".to_owned(),
            preset => format!("`{}`", text_of(preset)),
        };
        let mut notes = vec![field.about.to_owned()];
        notes.extend(field.refers.map(|kind| format!("Names a [{kind}](#{}).", kind.to_lowercase())));
        notes.extend(field.singular.map(|name| format!("`{name}: x` stands for a single one.")));
        notes.extend(field.fixed.then(|| "Cannot change later.".to_owned()));
        notes.extend((field.column == Column::None).then(|| "Steers Argus; is not stored.".to_owned()));
        writeln!(out, "| `{path}` | {} | {preset} | {} |", form(&field.shape), notes.join(" "))?;
        if let Shape::List { fields, .. } = field.shape {
            rows(out, &format!("{path}[]."), fields)?;
        }
    }
    Ok(())
}

fn text_of(preset: Preset) -> String {
    match preset {
        Preset::Text(text) => text.to_owned(),
        preset => preset.value().to_string(),
    }
}

fn form(shape: &Shape) -> String {
    match shape {
        Shape::Bool => "`true` or `false`".into(),
        Shape::Int { min, max } => format!("whole number, {min} to {max}"),
        Shape::Line { chars_max } => format!("one line, up to {chars_max} characters"),
        Shape::Prose { chars_max } => format!("text, up to {chars_max} characters"),
        Shape::Name => "name".into(),
        Shape::Email => "email address".into(),
        Shape::Domain => "domain".into(),
        Shape::Url => "`https` address".into(),
        Shape::Permission => "`area:verb`, `area:*` or `*`".into(),
        Shape::EventPattern => "event type, `area.*` or `*`".into(),
        Shape::Schedule => "cron schedule of five fields".into(),
        Shape::Duration => "length of time, as in `90d`".into(),
        Shape::Time => "moment with a zone".into(),
        Shape::Money => "money, as in `250 USD`".into(),
        Shape::Enum(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::Set { item, items_max } => format!("up to {items_max}, each: {}", form(item)),
        Shape::List { key: "", items_max, .. } => format!("up to {items_max} records, in order"),
        Shape::List { key, items_max, .. } => format!("up to {items_max} records, each with its own `{key}`"),
        Shape::Map { items_max } => format!("free map, up to {items_max} entries"),
    }
}

#[test]
fn the_reference_of_kinds_says_what_the_registry_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kinds.md");
    if std::env::var_os("ARGUS_UPDATE").is_some() {
        std::fs::write(path, page()).expect("the page can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page(), "docs/kinds.md is out of date: run `make reference` and look at what it changes");
}

#[test]
fn the_reference_has_a_row_for_every_field_of_every_kind() {
    let page = page();
    for kind in KINDS {
        let start = page.find(&format!("\n## {}\n", kind.name)).expect(kind.name);
        let section = page[start + 4..].split("\n## ").next().unwrap_or_default();
        for field in kind.fields {
            assert!(section.contains(&format!("| `{}` |", field.path)), "{}.{}", kind.name, field.path);
        }
    }
}

#[test]
fn the_definitions_for_kubernetes_say_what_the_registry_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let wanted: BTreeMap<String, String> =
        crds::all().iter().map(|definition| (format!("{}.yaml", definition.plural), definition.yaml())).collect();
    if std::env::var_os("ARGUS_UPDATE").is_some() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in &wanted {
            std::fs::write(folder.join(name), text).expect("a definition");
        }
    }
    let written: BTreeMap<String, String> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a definition"))
        })
        .collect();
    let stale: Vec<&String> =
        wanted.iter().filter(|(name, text)| written.get(*name) != Some(text)).map(|(n, _)| n).collect();
    assert!(stale.is_empty(), "out of date in crds: {stale:?}; run `make reference` and look at what it changes");
    let strange: Vec<&String> = written.keys().filter(|name| !wanted.contains_key(*name)).collect();
    assert!(strange.is_empty(), "no kind belongs to these files in crds: {strange:?}");
}
