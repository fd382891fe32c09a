//! What a value may look like: one table entry from which parser, JSON Schema, columns and comparison derive.

use super::value::Value;

/// The form of a value.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// `true` or `false`.
    Bool,
    /// A whole number between two bounds, both included.
    Int {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// Free text on one line.
    Line {
        /// How long it may be.
        chars_max: u32,
    },
    /// Free text on many lines.
    Prose {
        /// How long it may be.
        chars_max: u32,
    },
    /// The name of a resource.
    Name,
    /// An email address, in lower case.
    Email,
    /// A domain name.
    Domain,
    /// An `https` address without credentials.
    Url,
    /// `area:verb`, `area:*` or `*`.
    Permission,
    /// What an event's type must match: `key.*`, `budget.exceeded`, `*`.
    EventPattern,
    /// A cron schedule of five fields.
    Schedule,
    /// A length of time in one unit: `90d`, `24h`, `30m`, `45s`.
    Duration,
    /// A moment: RFC 3339 with a zone, kept in UTC.
    Time,
    /// An amount of money.
    Money,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// Single values whose order has no meaning: kept sorted, each once.
    Set {
        /// The form of each.
        item: &'static Shape,
        /// How many there may be.
        items_max: u32,
    },
    /// Records, kept sorted by their key.
    List {
        /// The fields of each record.
        fields: &'static [Field],
        /// The field that no two records share; empty where there is none and the order is kept.
        key: &'static str,
        /// How many there may be.
        items_max: u32,
    },
    /// A free map from names to single values.
    Map {
        /// How many entries there may be.
        items_max: u32,
    },
}

impl Shape {
    /// Whether the value is compared key by key and not as a whole.
    pub fn is_map(&self) -> bool {
        matches!(self, Shape::Map { .. })
    }

    /// Whether the value holds several.
    pub fn is_collection(&self) -> bool {
        matches!(self, Shape::Set { .. } | Shape::List { .. } | Shape::Map { .. })
    }
}

/// What a field holds when nobody has named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Nothing.
    Null,
    /// This truth.
    Bool(bool),
    /// This number.
    Int(i64),
    /// This text.
    Text(&'static str),
    /// An empty set or list.
    NoItems,
    /// An empty map.
    NoEntries,
}

impl Preset {
    /// The preset as a value.
    pub fn value(self) -> Value {
        match self {
            Preset::Null => Value::Null,
            Preset::Bool(yes) => Value::Bool(yes),
            Preset::Int(number) => Value::Int(number),
            Preset::Text(text) => Value::text(text),
            Preset::NoItems => Value::List([].into()),
            Preset::NoEntries => Value::Map([].into()),
        }
    }
}

/// Where a field stands in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// In a column named after the field (`sso.clientId` is `sso_client_id`).
    Own,
    /// In a column of another name.
    Named(&'static str),
    /// In rows of a table of its own, one per item; a set's item stands in this column.
    Side {
        /// The table.
        table: &'static str,
        /// The column of a set's item; unused for records, whose fields have columns of their own.
        item: &'static str,
    },
    /// Nowhere: it steers Argus and is no state.
    None,
}

/// One field of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The path as people write it: `displayName`, `sso.clientId`.
    pub path: &'static str,
    /// The form of its value.
    pub shape: Shape,
    /// One sentence for schema and documentation.
    pub about: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// Its value when nobody has named it.
    pub preset: Preset,
    /// Where it is stored.
    pub column: Column,
    /// The kind that its value (or each item) names.
    pub refers: Option<&'static str>,
    /// Another spelling that takes a single item: `role` for `roles`.
    pub singular: Option<&'static str>,
    /// Whether the resource has no meaning without what the field names, and goes with it.
    pub dependent: bool,
    /// Whether it can be set only when the resource is created.
    pub fixed: bool,
}

impl Field {
    /// A field that may be left out.
    pub const fn new(path: &'static str, shape: Shape, about: &'static str) -> Self {
        let preset = match shape {
            Shape::Set { .. } | Shape::List { .. } => Preset::NoItems,
            Shape::Map { .. } => Preset::NoEntries,
            Shape::Bool => Preset::Bool(false),
            _ => Preset::Null,
        };
        Field {
            path,
            shape,
            about,
            required: false,
            preset,
            column: Column::Own,
            refers: None,
            singular: None,
            dependent: false,
            fixed: false,
        }
    }

    /// It must be given, and not as null.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What it holds when nobody has named it.
    pub const fn preset(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }

    /// It stands in a column of this name.
    pub const fn column(mut self, name: &'static str) -> Self {
        self.column = Column::Named(name);
        self
    }

    /// Its items are rows of a table of their own.
    pub const fn side(mut self, table: &'static str, item: &'static str) -> Self {
        self.column = Column::Side { table, item };
        self
    }

    /// It steers Argus and is not stored.
    pub const fn unstored(mut self) -> Self {
        self.column = Column::None;
        self
    }

    /// Its value (or each item) is the name of a resource of this kind in the same organization.
    pub const fn refers(mut self, kind: &'static str) -> Self {
        self.refers = Some(kind);
        self
    }

    /// A single item may be written under this name.
    pub const fn singular(mut self, name: &'static str) -> Self {
        self.singular = Some(name);
        self
    }

    /// The resource goes with what the field names.
    pub const fn dependent(mut self) -> Self {
        self.dependent = true;
        self
    }

    /// It cannot change once the resource exists.
    pub const fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    /// The name of its column, where it has one.
    pub fn column_name(&self) -> Option<String> {
        match self.column {
            Column::Own => Some(snake_case(self.path)),
            Column::Named(name) => Some(name.into()),
            Column::Side { .. } | Column::None => None,
        }
    }
}

/// `sso.clientId` as `sso_client_id`.
pub fn snake_case(path: &str) -> String {
    let mut snake = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        match c {
            '.' => snake.push('_'),
            'A'..='Z' => {
                snake.push('_');
                snake.push(c.to_ascii_lowercase());
            }
            _ => snake.push(c),
        }
    }
    snake
}
