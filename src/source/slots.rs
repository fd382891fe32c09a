//! What may stand where in a document, worked out once from the table of kinds.

use std::sync::LazyLock;

use crate::model::kind::{KINDS, Kind, KindId, Scope};
use crate::model::shape::Field;

/// What a name in a mapping stands for.
#[derive(Debug)]
pub enum Slot {
    /// A field of the kind.
    Field(u8),
    /// The other spelling of a field, which takes a single item.
    Singular(u8),
    /// Fields below a common head: `sso`.
    Group(Slots),
    /// The children of an organization that are of this kind.
    Children(KindId),
    /// What identifies the resource.
    Key,
    /// The organization that it belongs to.
    Organization,
    /// The name that it had before.
    PreviousName,
}

/// The names that may stand in a mapping.
#[derive(Debug, Default)]
pub struct Slots(Vec<(&'static str, Slot)>);

impl Slots {
    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&Slot> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, slot)| slot)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// The numbers of all fields in and below it.
    pub fn fields(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        for (_, slot) in &self.0 {
            match slot {
                Slot::Field(field) => fields.push(*field),
                Slot::Group(below) => fields.extend(below.fields()),
                _ => {}
            }
        }
        fields
    }

    fn insert(&mut self, path: &'static str, slot: Slot) {
        match path.split_once('.') {
            None => self.0.push((path, slot)),
            Some((head, rest)) => {
                let at = match self.0.iter().position(|(name, _)| *name == head) {
                    Some(at) => at,
                    None => {
                        self.0.push((head, Slot::Group(Slots::default())));
                        self.0.len() - 1
                    }
                };
                if let Slot::Group(below) = &mut self.0[at].1 {
                    below.insert(rest, slot);
                }
            }
        }
    }
}

/// The names in the spec of a kind.
#[derive(Debug)]
struct KindSlots {
    /// In a document of its own.
    document: Slots,
    /// As an item within its organization.
    inline: Slots,
}

static SLOTS: LazyLock<Vec<KindSlots>> = LazyLock::new(|| KINDS.iter().map(|kind| KindSlots::of(kind)).collect());

impl KindSlots {
    fn of(kind: &'static Kind) -> KindSlots {
        let mut document = Slots::default();
        let mut inline = Slots::default();
        document.insert(kind.key.field(), Slot::Key);
        inline.insert(kind.key.field(), Slot::Key);
        inline.insert("previousName", Slot::PreviousName);
        if kind.scope == Scope::Child {
            document.insert("organization", Slot::Organization);
        }
        let fields: &'static [Field] = kind.fields;
        for (number, field) in (0_u8..).zip(fields) {
            for slots in [&mut document, &mut inline] {
                slots.insert(field.path, Slot::Field(number));
                if let Some(singular) = field.singular {
                    slots.insert(singular, Slot::Singular(number));
                }
            }
        }
        if kind.scope == Scope::Root {
            for child in Kind::children() {
                document.insert(child.plural, Slot::Children(KindId::of(child)));
            }
        }
        KindSlots { document, inline }
    }
}

fn of(kind: &'static Kind) -> Option<&'static KindSlots> {
    let at = KINDS.iter().position(|known| std::ptr::eq(*known, kind))?;
    SLOTS.get(at)
}

/// The names in the spec of a document.
pub fn document(kind: &'static Kind) -> &'static Slots {
    static NONE: Slots = Slots(Vec::new());
    of(kind).map_or(&NONE, |slots| &slots.document)
}

/// The names in an item within an organization.
pub fn inline(kind: &'static Kind) -> &'static Slots {
    static NONE: Slots = Slots(Vec::new());
    of(kind).map_or(&NONE, |slots| &slots.inline)
}
