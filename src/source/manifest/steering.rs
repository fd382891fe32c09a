//! What steers Argus: which collections are complete, and what is taken out of comparison.

use super::{Lowering, given};
use crate::model::code::Code;
use crate::model::id::OrganizationName;
use crate::model::kind::{Kind, KindId, Scope};
use crate::model::kinds::organization::AUTHORITATIVE;
use crate::model::origin::Origin;
use crate::model::state::Ignore;
use crate::model::suggest::nearest;
use crate::source::decode::shown;
use crate::source::yaml::{Node, NodeValue};

impl Lowering<'_, '_> {
    /// Resolves what `spec.authoritative` and `spec.ignore` name.
    pub(super) fn steer(&mut self, organization: &OrganizationName, steering: &[(&'static str, &Node<'_>)]) {
        for (path, node) in steering {
            let NodeValue::Sequence(items) = &node.value else { continue };
            for item in items {
                match *path {
                    AUTHORITATIVE => self.authoritative(organization, item),
                    _ => self.ignore(organization, item),
                }
            }
        }
    }

    fn authoritative(&mut self, organization: &OrganizationName, item: &Node<'_>) {
        let text = item.text().unwrap_or_default();
        let stored = || Kind::children().filter(|kind| kind.table.is_some());
        match stored().find(|kind| kind.plural == text) {
            Some(kind) => self.reading.authoritative.push((organization.clone(), KindId::of(kind))),
            None => {
                let meant = stored()
                    .find(|kind| kind.name == text)
                    .map(|kind| kind.plural)
                    .or_else(|| nearest(text, stored().map(|kind| kind.plural)));
                let hint = match meant {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => {
                        let plurals: Vec<&str> = stored().map(|kind| kind.plural).collect();
                        format!("the collections are {}", plurals.join(", "))
                    }
                };
                let message = format!("{} is no collection of an organization", shown(text));
                self.reader.error(item.at, Code::UnknownWord, message, hint);
            }
        }
    }

    fn ignore(&mut self, organization: &OrganizationName, item: &Node<'_>) {
        let Some(node) = item.get("kind") else { return };
        let text = node.text().unwrap_or_default();
        let kinds = || Kind::stored().filter(|kind| kind.scope != Scope::Global);
        let Some(kind) = kinds().find(|kind| kind.name == text) else {
            let hint = match nearest(text, kinds().map(|kind| kind.name)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("the kinds are {}", kinds().map(|kind| kind.name).collect::<Vec<_>>().join(", ")),
            };
            let message = format!("{} is no kind whose rows can be ignored", shown(text));
            self.reader.error(node.at, Code::UnknownWord, message, hint);
            return;
        };
        let mut fields = Vec::new();
        if let Some(Node { value: NodeValue::Sequence(paths), .. }) = given(Some(item), "fields") {
            for path in paths {
                let text = path.text().unwrap_or_default();
                if is_path(kind, text) {
                    fields.push(text.into());
                    continue;
                }
                let hint = match nearest(text, kind.fields.iter().map(|field| field.path)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => {
                        let paths: Vec<&str> = kind.stored_fields().map(|(_, field)| field.path).collect();
                        format!("the fields are {}", paths.join(", "))
                    }
                };
                let message = format!("{} is no field of {}", shown(text), kind.name);
                self.reader.error(path.at, Code::UnknownWord, message, hint);
            }
        }
        let name = given(Some(item), "name").and_then(Node::text).unwrap_or("*").into();
        let origin = Origin::new(self.reader.file, item.at);
        self.reading.ignore.push((organization.clone(), Ignore { kind: KindId::of(kind), name, fields, origin }));
    }
}

/// Whether a path names a stored field of a kind, a group of them, or a key of a free map.
fn is_path(kind: &'static Kind, path: &str) -> bool {
    kind.stored_fields().any(|(_, field)| {
        let below = |long: &str, short: &str| {
            long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
        };
        field.path == path || below(field.path, path) || (field.shape.is_map() && below(path, field.path))
    })
}
