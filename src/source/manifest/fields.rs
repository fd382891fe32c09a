//! The fields of a spec, and the children that stand inline.

use super::{Draft, Lowering, find};
use crate::model::code::Code;
use crate::model::id::OrganizationName;
use crate::model::kind::{Kind, KindId, Scope};
use crate::model::kinds::organization::{AUTHORITATIVE, IGNORE};
use crate::model::origin::{Origin, Position};
use crate::model::resource::{Entry, Resource, ResourceId, Spec};
use crate::model::shape::Shape;
use crate::model::value::Value;
use crate::source::slots::{self, Slot, Slots};
use crate::source::yaml::{Node, NodeValue};

impl Lowering<'_, '_> {
    /// Reads the fields of a mapping, and of the groups within it.
    pub(super) fn fill<'n, 'a>(
        &mut self,
        kind: &'static Kind,
        slots: &Slots,
        node: &'n Node<'a>,
        draft: &mut Draft<'n, 'a>,
    ) {
        for (name, value) in node.pairs().unwrap_or_default() {
            match slots.get(name.text().unwrap_or_default()) {
                Some(Slot::Field(field)) => self.field(kind, *field, value, None, draft),
                Some(Slot::Singular(field)) => self.field(kind, *field, value, Some(name), draft),
                Some(Slot::Group(below)) if value.is_null() => {
                    for field in below.fields() {
                        self.field(kind, field, value, None, draft);
                    }
                }
                Some(Slot::Group(below)) => match value.pairs() {
                    Some(_) => self.fill(kind, below, value, draft),
                    None => {
                        let name = name.text().unwrap_or_default();
                        for field in below.fields() {
                            draft.named |= 1 << field;
                        }
                        let text = value.text().unwrap_or_default();
                        if !self.reader.is_secret(value, text, name) && !self.reader.is_secret_itself(value, name) {
                            let message = format!("`{name}` is a mapping, and this is {}", value.what());
                            let names: Vec<&str> = below.names().collect();
                            let hint = format!("its fields are {}", names.join(", "));
                            self.reader.error(value.at, Code::WrongType, message, hint);
                        }
                    }
                },
                Some(Slot::Children(kind)) => draft.children.push((*kind, value)),
                Some(Slot::Key | Slot::Organization | Slot::PreviousName) => {}
                None => {
                    let names: Vec<&'static str> = slots.names().collect();
                    self.reader.unknown_field(name, value, kind.name, names.iter().copied());
                }
            }
        }
    }

    fn field<'n, 'a>(
        &mut self,
        kind: &'static Kind,
        number: u8,
        node: &'n Node<'a>,
        singular: Option<&Node<'_>>,
        draft: &mut Draft<'n, 'a>,
    ) {
        let field = &kind.fields[number as usize];
        if draft.named & (1 << number) != 0
            && let Some(singular) = field.singular
        {
            let message = format!("`{singular}` and `{}` say the same thing twice", field.path);
            self.reader.error(node.at, Code::FieldsDisagree, message, format!("keep `{}`", field.path));
            return;
        }
        draft.named |= 1 << number;
        let value = if node.is_null() {
            if field.required {
                let message = format!("`{}` must be given, and this is null", field.path);
                self.reader.error(node.at, Code::NullRequired, message, "write its value");
                return;
            }
            match field.shape {
                Shape::Set { .. } | Shape::List { .. } => Value::List([].into()),
                Shape::Map { .. } => Value::Map([].into()),
                _ => Value::Null,
            }
        } else {
            let value = match (singular, field.shape) {
                (Some(name), Shape::Set { item, .. }) => {
                    let path = name.text().unwrap_or(field.path);
                    self.reader.single(node, item, path).map(|item| Value::List([item].into()))
                }
                _ => self.reader.value(node, &field.shape, field.path),
            };
            let Some(value) = value else { return };
            value
        };
        if kind.scope == Scope::Root && matches!(field.path, AUTHORITATIVE | IGNORE) {
            draft.steering.push((field.path, node));
        }
        draft.entries.push(Entry { field: number, at: node.at, value });
    }

    pub(super) fn required(&mut self, kind: &'static Kind, draft: &Draft<'_, '_>, at: Position) {
        for (number, field) in kind.fields.iter().enumerate() {
            if field.required && draft.named & (1 << number) == 0 {
                let message = format!("`{}` is missing in {}", field.path, kind.name);
                self.reader.error(at, Code::MissingField, message, format!("add `{}`: {}", field.path, field.about));
            }
        }
    }

    /// Takes the children of one kind that stand within their organization; that makes the collection authoritative.
    pub(super) fn children(&mut self, organization: &OrganizationName, kind: KindId, node: &Node<'_>) {
        let plural = kind.get().plural;
        if kind.get().table.is_some() {
            self.reading.authoritative.push((organization.clone(), kind));
        }
        let items = match &node.value {
            NodeValue::Sequence(items) => items,
            _ if node.is_null() || node.pairs().is_some_and(<[_]>::is_empty) => return,
            _ => {
                let message = format!("`{plural}` is a list, and this is {}", node.what());
                let hint = format!("begin each item with `- {}:`", kind.get().key.field());
                self.reader.error(node.at, Code::WrongType, message, hint);
                return;
            }
        };
        for item in items {
            self.child(organization, kind, item);
        }
    }

    fn child(&mut self, organization: &OrganizationName, id: KindId, node: &Node<'_>) {
        let kind = id.get();
        let key = kind.key.field();
        self.reader.subject = None;
        if node.pairs().is_none() {
            let text = node.text().unwrap_or_default();
            if !self.reader.is_secret(node, text, kind.plural) {
                let message = format!("an item of `{}` is a mapping, and this is {}", kind.plural, node.what());
                self.reader.error(node.at, Code::WrongType, message, format!("begin it with `- {key}:`"));
            }
            return;
        }
        let name = match find(node, key) {
            Some((_, value)) => self.key(kind, value, key),
            None => {
                let message = format!("an item of `{}` lacks `{key}`", kind.plural);
                self.reader.error(node.at, Code::MissingField, message, format!("add `{key}:`"));
                None
            }
        };
        let resource = name.map(|name| ResourceId { organization: organization.clone(), kind: id, name });
        self.reader.subject.clone_from(&resource);
        let previous_name = find(node, "previousName")
            .filter(|(_, value)| !value.is_null())
            .and_then(|(_, value)| self.key(kind, value, "previousName"));
        // All but the key is usually a field, so that the list has its final size from the start.
        let fields = node.pairs().map_or(0, <[_]>::len).saturating_sub(1);
        let mut draft = Draft { entries: Vec::with_capacity(fields), ..Draft::default() };
        self.fill(kind, slots::inline(kind), node, &mut draft);
        self.required(kind, &draft, node.at);
        if let Some(id) = resource {
            let origin = Origin::new(self.reader.file, node.at);
            self.reading.resources.push(Resource { id, spec: Spec::new(draft.entries), origin, previous_name });
        }
    }
}
