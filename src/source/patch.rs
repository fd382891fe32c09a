//! A patch against manifests that adopts drift: only the lines of what has drifted change; comments, order and style
//! of all others stay.

mod edit;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::manifest;
use super::yaml::{self, Node};
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::kind::{Kind, Scope};
use crate::model::kinds;
use crate::model::origin::Origin;
use crate::model::resource::Spec;
use crate::model::shape::Shape;
use crate::model::state::World;
use crate::model::value::Value;
use crate::plan::{Action, Cause, Change, FieldChange, Plan};
use crate::render::unified::git_patch;
use edit::Editor;

/// A patch, and what it could not adopt.
#[derive(Debug, Default)]
pub struct Adopted {
    /// The patch, as `git apply` takes it.
    pub patch: String,
    /// What has to be adopted by hand, and why.
    pub findings: Vec<Finding>,
}

/// A row that no manifest has, with the place of its organization's manifest and the organization's name.
type Extra<'a> = (&'a Change, &'a Origin, &'a Arc<str>);

/// What has drifted in one file.
#[derive(Default)]
struct FileDrift<'a> {
    changes: Vec<(&'a Change, &'a Origin)>,
    extras: Vec<Extra<'a>>,
}

/// Writes the live state of all that has drifted into the manifests.
pub fn adopt(root: &Path, world: &World, plan: &Plan) -> Adopted {
    let mut adopted = Adopted::default();
    for (file, drift) in by_file(world, plan, &mut adopted.findings) {
        let path = if root.is_file() { root.to_owned() } else { root.join(&*file) };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let finding = Finding::error(Code::Unreadable, format!("cannot read the file again: {error}"));
                adopted.findings.push(finding.at(Origin::file(&file)));
                continue;
            }
        };
        let edited = adopt_in_file(&file, &text, &drift, &mut adopted.findings);
        let new = (!edited.trim().is_empty()).then_some(edited.as_str());
        let still_reads = new.is_none_or(|new| {
            let reading = manifest::read_file(&file, new.as_bytes());
            !reading.findings.iter().any(Finding::is_error)
        });
        if still_reads {
            adopted.patch.push_str(&git_patch(&file, &text, new));
        } else {
            adopted.findings.push(by_hand(&Origin::file(&file), "the file would no longer be valid"));
        }
    }
    adopted
}

fn by_hand(origin: &Origin, why: &str) -> Finding {
    let finding = Finding::warning(Code::DriftLeft, format!("this drift has to be adopted by hand: {why}"));
    finding.at(origin.clone()).hint("`argus drift` shows the live value; write it into the manifest")
}

fn by_file<'a>(world: &'a World, plan: &'a Plan, findings: &mut Vec<Finding>) -> BTreeMap<Arc<str>, FileDrift<'a>> {
    let mut files: BTreeMap<Arc<str>, FileDrift<'a>> = BTreeMap::new();
    for organization in &plan.organizations {
        let described = world.organizations.get(&organization.organization);
        let root = described.and_then(|described| {
            described.resources.iter().find(|resource| resource.id.kind.is(&kinds::organization::KIND))
        });
        for change in organization.drift() {
            match (&change.origin, root) {
                (Some(origin), _) if !change.extra => {
                    files.entry(origin.file.clone()).or_default().changes.push((change, origin));
                }
                (_, Some(root)) => {
                    let extra = (change, &root.origin, &organization.organization);
                    files.entry(root.origin.file.clone()).or_default().extras.push(extra);
                }
                (_, None) => {
                    let name = format!("{} `{}`", change.kind, change.name);
                    findings.push(Finding::warning(Code::DriftLeft, format!("{name} has no manifest to adopt it in")));
                }
            }
        }
    }
    files
}

fn adopt_in_file(file: &Arc<str>, text: &str, drift: &FileDrift<'_>, findings: &mut Vec<Finding>) -> String {
    let parsed = yaml::parse(file, text.as_bytes());
    let mut editor = Editor::new(text);
    for (change, origin) in &drift.changes {
        let Some(place) = parsed.documents.iter().find_map(|document| find(&document.root, origin, None)) else {
            findings.push(by_hand(origin, "its manifest is not where it was"));
            continue;
        };
        if change.action == Action::Create {
            match place.list {
                Some((key, list)) => editor.remove_item(key, list, place.node),
                None => editor.remove_document(place.node),
            }
            continue;
        }
        let spec = if place.list.is_some() { Some(place.node) } else { place.node.get("spec") };
        let fields: Vec<&FieldChange> = change.fields.iter().filter(|field| field.cause != Cause::Change).collect();
        let done = spec.is_some_and(|spec| adopt_fields(&mut editor, change.kind.get(), spec, &fields));
        if !done {
            findings.push(by_hand(origin, "the way it is written is beyond what Argus edits"));
        }
    }
    for (kind, extras) in extras_by_list(&drift.extras) {
        let (_, origin, organization) = extras[0];
        let root = parsed.documents.iter().find_map(|document| find(&document.root, origin, None));
        let spec = root.and_then(|root| root.node.get("spec"));
        let list = spec.and_then(|spec| spec.pairs()?.iter().find(|(key, _)| key.text() == Some(kind.plural)));
        match list {
            Some((key, list)) => {
                editor.add_items(key, list, extras.iter().map(|(change, ..)| item(kind, change)).collect())
            }
            None => {
                extras.iter().for_each(|(change, ..)| editor.append_document(&document(kind, organization, change)))
            }
        }
    }
    editor.finish()
}

/// Extra rows, grouped so that one list is edited once.
fn extras_by_list<'a>(extras: &[Extra<'a>]) -> Vec<(&'static Kind, Vec<Extra<'a>>)> {
    let mut lists: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for extra in extras {
        lists.entry((extra.0.kind, extra.1.line)).or_default().push(*extra);
    }
    lists.into_iter().map(|((kind, _), extras)| (kind.get(), extras)).collect()
}

/// A resource in its file, with the list that it is an item of.
struct Place<'n, 't> {
    node: &'n Node<'t>,
    list: Option<(&'n Node<'t>, &'n Node<'t>)>,
}

fn find<'n, 't>(
    node: &'n Node<'t>,
    origin: &Origin,
    list: Option<(&'n Node<'t>, &'n Node<'t>)>,
) -> Option<Place<'n, 't>> {
    if node.pairs().is_some() && (node.at.line, node.at.column) == (origin.line, origin.column) {
        return Some(Place { node, list });
    }
    let below = node.pairs().unwrap_or_default().iter();
    below.into_iter().find_map(|(key, value)| {
        let items = value.items().iter();
        find(value, origin, None).or_else(|| items.into_iter().find_map(|item| find(item, origin, Some((key, value)))))
    })
}

/// Writes the live values of the fields of one resource; says whether all could be written.
fn adopt_fields(editor: &mut Editor<'_>, kind: &'static Kind, spec: &Node<'_>, fields: &[&FieldChange]) -> bool {
    let mut done = true;
    let mut emptied_maps: BTreeMap<&str, Vec<(&str, &Value)>> = BTreeMap::new();
    for change in fields {
        let field = kind.fields.iter().find(|field| {
            change.path == field.path || change.path.strip_prefix(field.path).is_some_and(|rest| rest.starts_with('.'))
        });
        let Some(field) = field else {
            done = false;
            continue;
        };
        if let Some(key) = change.path.strip_prefix(field.path).and_then(|rest| rest.strip_prefix('.')) {
            let map = pair_at(spec, field.path).map(|(_, map)| map);
            match map.and_then(|map| map.pairs()?.iter().find(|(name, _)| name.text() == Some(key))) {
                Some((name, _)) if change.before == Value::Null => match map {
                    Some(map) => editor.remove_pair(map, name),
                    None => done = false,
                },
                Some((name, value)) => editor.replace(name, value, &change.before),
                None => emptied_maps.entry(field.path).or_default().push((key, &change.before)),
            }
            continue;
        }
        let singular = field.singular.and_then(|singular| pair_at(spec, singular));
        match (pair_at(spec, field.path), singular) {
            (Some((name, value)), _) => match field.shape {
                Shape::Set { .. } => editor.replace_set(name, value, &change.before),
                Shape::List { key, .. } if !key.is_empty() => editor.replace_records(name, value, key, &change.before),
                _ => editor.replace(name, value, &change.before),
            },
            (None, Some((name, value))) => match change.before.items() {
                [one] => editor.replace(name, value, one),
                _ => editor.replace_pair(name, value, field.path, &change.before),
            },
            (None, None) => done &= adopt_emptied_group(editor, spec, field.path, &change.before),
        }
    }
    for (path, entries) in emptied_maps {
        let value = Value::map(entries.into_iter().map(|(key, value)| (key, value.clone())));
        match pair_at(spec, path) {
            Some((name, map)) if map.pairs().is_none_or(<[_]>::is_empty) => editor.replace(name, map, &value),
            Some((_, map)) => editor.add_pairs(map, &value),
            None => done = false,
        }
    }
    done
}

/// `sso: null` names every field below it; one that is set again is written as the beginning of the group.
fn adopt_emptied_group(editor: &mut Editor<'_>, spec: &Node<'_>, path: &str, value: &Value) -> bool {
    let Some((group, field)) = path.rsplit_once('.') else { return false };
    match pair_at(spec, group) {
        Some((name, node)) if node.is_null() => {
            editor.replace(name, node, &Value::map([(field, value.clone())]));
            true
        }
        _ => false,
    }
}

/// The key and the value of a dotted path.
fn pair_at<'n, 't>(spec: &'n Node<'t>, path: &str) -> Option<(&'n Node<'t>, &'n Node<'t>)> {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let (key, value) =
        spec.pairs()?.iter().find(|(key, _)| key.text() == Some(head)).map(|(key, value)| (key, value))?;
    match rest {
        None => Some((key, value)),
        Some(rest) => pair_at(value, rest),
    }
}

/// A row as an item of the list of its kind.
fn item(kind: &'static Kind, change: &Change) -> Value {
    let key = (kind.key.field().to_owned(), Value::text(&*change.name));
    nested(std::iter::once(key).chain(change.fields.iter().map(|field| (field.path.clone(), field.before.clone()))))
}

/// Dotted paths as mappings within mappings.
fn nested(pairs: impl Iterator<Item = (String, Value)>) -> Value {
    let mut top: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    let mut whole: BTreeMap<String, Value> = BTreeMap::new();
    for (path, value) in pairs {
        match path.split_once('.') {
            None => {
                whole.insert(path, value);
            }
            Some((head, rest)) => top.entry(head.to_owned()).or_default().push((rest.to_owned(), value)),
        }
    }
    let groups = top.into_iter().map(|(head, below)| (head, nested(below.into_iter())));
    Value::map(whole.into_iter().chain(groups.collect::<Vec<_>>()))
}

/// A row as a document of its own.
fn document(kind: &'static Kind, organization: &Arc<str>, change: &Change) -> String {
    let values = change.fields.iter().filter_map(|field| Some((kind.field_at(&field.path)?, field.before.clone())));
    debug_assert_eq!(kind.scope, Scope::Child);
    crate::render::yaml::resource(kind, organization, &change.name, &Spec::from_values(values))
}
