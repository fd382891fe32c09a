//! Drift as edits of one file: what of each resource is written where.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Drifted;
use super::edit::Editor;
use super::expect::{held, within};
use crate::model::kind::Kind;
use crate::model::shape::{Field, Shape};
use crate::model::value::Value;
use crate::plan::{Action, Cause, FieldChange};
use crate::render::yaml::{self as render, Piece};
use crate::source::decode::Reader;
use crate::source::yaml::{self, Document, Node};

/// A key and its value.
type Pair<'n, 't> = (&'n Node<'t>, &'n Node<'t>);

/// A resource in its file, with the list that it is an item of.
#[derive(Clone, Copy)]
struct Place<'n, 't> {
    node: &'n Node<'t>,
    list: Option<Pair<'n, 't>>,
}

/// A list of which items go and to which some come.
struct ListEdit<'n, 't> {
    list: Pair<'n, 't>,
    stays: Vec<bool>,
    added: Vec<Piece>,
}

/// The text with the drift written into it; none where something is not where it should be.
pub fn edit(file: &Arc<str>, text: &str, drift: &[Drifted<'_>]) -> Option<String> {
    let parsed = yaml::parse(file, text.as_bytes());
    let json = file.ends_with(".json");
    let mut writer = Writer {
        file,
        json,
        places: places(&parsed.documents),
        editor: Editor::new(text, &parsed.documents, json),
        lists: BTreeMap::new(),
    };
    // What stands within something else is written before what comes behind the whole of it.
    for drifted in drift.iter().filter(|drifted| !drifted.change.extra) {
        writer.declared(drifted)?;
    }
    for drifted in drift.iter().filter(|drifted| drifted.change.extra) {
        writer.extra(drifted)?;
    }
    for (_, ListEdit { list: (key, list), stays, added }) in std::mem::take(&mut writer.lists) {
        writer.editor.edit_list(key, list, &stays, added);
    }
    Some(writer.editor.finish())
}

/// Every mapping that can be a resource, by where it begins.
fn places<'n, 't>(documents: &'n [Document<'t>]) -> HashMap<(u32, u32), Place<'n, 't>> {
    let mut places = HashMap::new();
    for document in documents {
        let root = &document.root;
        let spec = root.get("spec").and_then(Node::pairs).unwrap_or_default();
        for (key, list) in spec {
            for node in list.items() {
                places.insert((node.at.line, node.at.column), Place { node, list: Some((key, list)) });
            }
        }
        places.insert((root.at.line, root.at.column), Place { node: root, list: None });
    }
    places
}

struct Writer<'f, 'n, 't> {
    file: &'f Arc<str>,
    json: bool,
    places: HashMap<(u32, u32), Place<'n, 't>>,
    editor: Editor<'t>,
    lists: BTreeMap<(u32, u32), ListEdit<'n, 't>>,
}

impl<'n, 't> Writer<'_, 'n, 't> {
    fn list(&mut self, list: Pair<'n, 't>) -> &mut ListEdit<'n, 't> {
        let at = (list.0.at.line, list.0.at.column);
        let stays = || vec![true; list.1.items().len()];
        self.lists.entry(at).or_insert_with(|| ListEdit { list, stays: stays(), added: Vec::new() })
    }

    /// Something that is declared: its row is gone, or holds something else.
    fn declared(&mut self, drifted: &Drifted<'_>) -> Option<()> {
        let Drifted { change, origin, .. } = drifted;
        let place = *self.places.get(&(origin.line, origin.column))?;
        if change.action == Action::Create {
            match place.list {
                Some(list) => {
                    let at = list.1.items().iter().position(|item| std::ptr::eq(item, place.node))?;
                    self.list(list).stays[at] = false;
                }
                None => self.editor.remove_document(place.node),
            }
            return Some(());
        }
        let spec = if place.list.is_some() { place.node } else { place.node.get("spec")? };
        let fields: Vec<&FieldChange> = change.fields.iter().filter(|field| field.cause != Cause::Change).collect();
        self.fields(change.kind.get(), spec, &fields)
    }

    /// A row that nobody declares: an item of the list of its kind, or a document of its own.
    fn extra(&mut self, drifted: &Drifted<'_>) -> Option<()> {
        let Drifted { change, organization, origin } = drifted;
        let kind = change.kind.get();
        let root = *self.places.get(&(origin.line, origin.column))?;
        match pair(root.node.get("spec")?, kind.plural) {
            Some(list) => {
                let child = Piece::child(kind, &change.name, &held(change));
                self.list(list).added.push(child);
            }
            None if self.json => return None,
            None => {
                let document = render::resource(kind, organization, &change.name, &held(change));
                self.editor.append_document(&document);
            }
        }
        Some(())
    }

    /// Writes the live values of some fields of one resource.
    fn fields(&mut self, kind: &'static Kind, spec: &'n Node<'t>, fields: &[&FieldChange]) -> Option<()> {
        let mut maps: BTreeMap<&'static str, Vec<(&str, &Value)>> = BTreeMap::new();
        let mut groups: BTreeMap<&'static str, Vec<(&str, &Value)>> = BTreeMap::new();
        for change in fields {
            let Some(number) = kind.field_at(&change.path) else {
                let is_map = |field: &&Field| field.shape.is_map() && within(field.path, &change.path).is_some();
                let field = kind.fields.iter().find(is_map)?;
                maps.entry(field.path).or_default().push((within(field.path, &change.path)?, &change.before));
                continue;
            };
            let field = &kind.fields[usize::from(number)];
            let singular = field.singular.and_then(|singular| pair(spec, singular));
            match (pair_at(spec, field.path), singular, field.path.rsplit_once('.')) {
                (Some(pair), _, _) => self.field(field, pair, &change.before),
                (None, Some((key, value)), _) => match (change.before.items(), field.shape) {
                    ([one], Shape::Set { item, .. }) => self.editor.replace(key, value, Piece::value(item, one)),
                    _ => {
                        let piece = Piece::value(&field.shape, &change.before);
                        self.editor.replace_pair(key, value, field.path, piece);
                    }
                },
                // A group that is null names every field below it; what is set again begins the group anew.
                (None, None, Some((group, _))) if pair_at(spec, group)?.1.is_null() => {
                    groups.entry(group).or_default().push((field.path, &change.before));
                }
                _ => return None,
            }
        }
        for (path, moved) in maps {
            self.map(spec, pair_at(spec, path)?, &moved);
        }
        for (group, live) in groups {
            let (key, value) = pair_at(spec, group)?;
            let below = kind.fields.iter().filter_map(|field| Some((field, within(group, field.path)?)));
            let pairs = below.map(|(field, name)| {
                let value = live.iter().find(|(path, _)| *path == field.path).map_or(&Value::Null, |(_, value)| value);
                (name.to_owned(), Piece::value(&field.shape, value))
            });
            self.editor.replace(key, value, Piece::mapping(pairs.collect()));
        }
        Some(())
    }

    fn field(&mut self, field: &Field, (key, value): Pair<'n, 't>, new: &Value) {
        match field.shape {
            Shape::Set { item, .. } => {
                let listed = self.canonical(value, item);
                let stays = listed.iter().map(|old| old.as_ref().is_some_and(|old| new.items().contains(old)));
                let added = new.items().iter().filter(|new| !listed.iter().flatten().any(|old| old == *new));
                let added = added.map(|new| Piece::value(item, new)).collect();
                self.editor.edit_list(key, value, &stays.collect::<Vec<_>>(), added);
            }
            Shape::List { fields, key: identity, .. } => self.records(field, fields, identity, (key, value), new),
            _ => self.editor.replace(key, value, Piece::value(&field.shape, new)),
        }
    }

    /// The items of a list as the reader understands them.
    fn canonical(&self, list: &Node<'_>, shape: &Shape) -> Vec<Option<Value>> {
        let mut reader = Reader::new(self.file);
        list.items().iter().map(|item| reader.single(item, shape, "")).collect()
    }

    /// Gives a list other records. Records are told apart by their key; without one, by all that they hold.
    fn records(
        &mut self,
        field: &Field,
        fields: &'static [Field],
        identity: &str,
        (key, value): Pair<'n, 't>,
        new: &Value,
    ) {
        let mut reader = Reader::new(self.file);
        let (mut stays, mut known) = (Vec::new(), Vec::new());
        for node in value.items() {
            let named = fields.iter().find(|field| field.path == identity);
            let id = named.and_then(|named| reader.single(node.get(identity)?, &named.shape, identity));
            let at = new.items().iter().position(|record| id.is_some() && record.get(identity) == id.as_ref());
            if let Some(at) = at {
                self.record(&mut reader, fields, node, &new.items()[at]);
            }
            known.extend(at);
            stays.push(at.is_some());
        }
        let added = new.items().iter().enumerate().filter(|(at, _)| !known.contains(at));
        // A list of one record, so that it is written as its shape asks for.
        let added = added.map(|(_, record)| Piece::record(&field.shape, record)).collect();
        self.editor.edit_list(key, value, &stays, added);
    }

    fn record(&mut self, reader: &mut Reader<'_>, fields: &'static [Field], node: &'n Node<'t>, wanted: &Value) {
        let mut missing = Vec::new();
        for field in fields {
            let new = wanted.get(field.path).cloned().unwrap_or_default();
            match pair(node, field.path) {
                Some((key, value)) => {
                    let written = if value.is_null() { None } else { reader.value(value, &field.shape, field.path) };
                    if written.unwrap_or_else(|| field.preset.value()) != new {
                        self.field(field, (key, value), &new);
                    }
                }
                None if new != field.preset.value() => {
                    missing.push((field.path.to_owned(), Piece::value(&field.shape, &new)));
                }
                None => {}
            }
        }
        if !missing.is_empty() {
            let stays = vec![true; node.pairs().unwrap_or_default().len()];
            self.editor.edit_map(node, &stays, missing);
        }
    }

    /// Writes the keys of a map that have moved.
    fn map(&mut self, spec: &'n Node<'t>, (key, map): Pair<'n, 't>, moved: &[(&str, &Value)]) {
        let pairs = map.pairs().unwrap_or_default();
        let named = |name: &str| pairs.iter().position(|(key, _)| key.text() == Some(name));
        let mut stays = vec![true; pairs.len()];
        let mut added = Vec::new();
        for (name, value) in moved {
            match (named(name), value) {
                (Some(at), Value::Null) => stays[at] = false,
                (Some(at), value) => {
                    let (key, old) = &pairs[at];
                    self.editor.replace(key, old, Piece::value(&ANY, value));
                }
                (None, value) => added.push(((*name).to_owned(), Piece::value(&ANY, value))),
            }
        }
        if pairs.is_empty() {
            self.editor.replace(key, map, Piece::mapping(added));
        } else if added.is_empty() && !stays.contains(&true) {
            // An empty map would claim all of its keys, so the map is no longer named.
            let stays: Vec<bool> = spec.pairs().unwrap_or_default().iter().map(|(name, _)| name.at != key.at).collect();
            self.editor.edit_map(spec, &stays, Vec::new());
        } else {
            self.editor.edit_map(map, &stays, added);
        }
    }
}

/// A single value of a free map, whatever its form.
const ANY: Shape = Shape::Map { items_max: 0 };

fn pair<'n, 't>(node: &'n Node<'t>, name: &str) -> Option<Pair<'n, 't>> {
    node.pairs()?.iter().find(|(key, _)| key.text() == Some(name)).map(|(key, value)| (key, value))
}

/// The key and the value of a dotted path.
fn pair_at<'n, 't>(spec: &'n Node<'t>, path: &str) -> Option<Pair<'n, 't>> {
    match path.split_once('.') {
        None => pair(spec, path),
        Some((head, rest)) => pair_at(pair(spec, head)?.1, rest),
    }
}
