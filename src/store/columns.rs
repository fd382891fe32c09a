//! Which column holds what: the tables that follow from the kinds, for whoever writes SQL in this folder.

use std::sync::LazyLock;

use super::content;
use crate::model::kind::{Kind, KindId, Scope};
use crate::model::shape::{Column, Field, Shape, snake_case};

/// The type of a column, as far as reading and writing must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Text,
    Time,
    TextSet,
    IntSet,
    Json,
}

impl Type {
    fn of(shape: &Shape) -> Type {
        match shape {
            Shape::Bool => Type::Bool,
            Shape::Int { .. } => Type::Int,
            Shape::Time => Type::Time,
            Shape::Set { item: Shape::Int { .. }, .. } => Type::IntSet,
            Shape::Set { .. } => Type::TextSet,
            Shape::List { .. } | Shape::Map { .. } => Type::Json,
            Shape::Line { .. }
            | Shape::Prose { .. }
            | Shape::Name
            | Shape::Email
            | Shape::Domain
            | Shape::Url
            | Shape::Permission
            | Shape::EventPattern
            | Shape::Schedule
            | Shape::Duration
            | Shape::Money
            | Shape::Enum(_) => Type::Text,
        }
    }

    /// The name of the type in SQL.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Type::Bool => "boolean",
            Type::Int => "bigint",
            Type::Text => "text",
            Type::Time => "timestamptz",
            Type::TextSet => "text[]",
            Type::IntSet => "bigint[]",
            Type::Json => "jsonb",
        }
    }

    /// What reads the column in the form of a canonical value.
    fn read(self, column: &str) -> String {
        match self {
            Type::Time => content::moment(&format!(r#"t."{column}""#)),
            Type::TextSet | Type::IntSet => format!(r#"array_to_json(t."{column}")::text"#),
            Type::Json => format!(r#"t."{column}"::text"#),
            _ => format!(r#"t."{column}""#),
        }
    }
}

/// One column of a side table.
#[derive(Debug)]
pub(super) struct SideColumn {
    /// The path of the field within a record; empty for the item of a set.
    pub path: &'static str,
    pub name: String,
    pub ty: Type,
}

/// A table that holds the items of one field.
#[derive(Debug)]
pub(super) struct Side {
    pub table: &'static str,
    /// The column that names the row that the items belong to.
    pub owner: &'static str,
    pub columns: Vec<SideColumn>,
    /// The column that no two items of one row share.
    pub key: String,
    /// The field of a record that orders the items; empty for a set.
    pub order: &'static str,
}

/// Where a field stands.
#[derive(Debug)]
pub(super) enum Place {
    Column { name: String, ty: Type },
    Money { minor: String, currency: String },
    Side(Side),
}

/// A field that is state.
#[derive(Debug)]
pub(super) struct StoredField {
    pub at: u8,
    pub field: &'static Field,
    pub place: Place,
}

/// The table of a kind.
#[derive(Debug)]
pub(super) struct Table {
    pub kind: &'static Kind,
    pub id: KindId,
    pub name: &'static str,
    /// The column of the name.
    pub key: &'static str,
    pub fields: Vec<StoredField>,
}

static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| Kind::stored().filter_map(Table::of).collect());

/// The tables of all kinds, in the order in which rows are created.
pub(super) fn tables() -> &'static [Table] {
    &TABLES
}

/// The table of a kind; a declaration that is no state has none.
pub(super) fn table(kind: KindId) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.id == kind)
}

impl Table {
    fn of(kind: &'static Kind) -> Option<Table> {
        let name = kind.table?;
        let stored = |(at, field): (u8, &'static Field)| {
            let place = match field.column {
                Column::None => return None,
                Column::Side { table, item } => Place::Side(Side::of(name, table, item, field)),
                Column::Own | Column::Named(_) => {
                    let column = field.column_name().unwrap_or_else(|| snake_case(field.path));
                    match field.shape {
                        Shape::Money => {
                            Place::Money { minor: format!("{column}_minor"), currency: format!("{column}_currency") }
                        }
                        _ => Place::Column { name: column, ty: Type::of(&field.shape) },
                    }
                }
            };
            Some(StoredField { at, field, place })
        };
        let fields = kind.stored_fields().filter_map(stored).collect();
        Some(Table { kind, id: KindId::of(kind), name, key: kind.key.column(), fields })
    }

    /// What gives the organization of a row `t`.
    pub(super) fn organization(&self) -> &'static str {
        match self.kind.scope {
            Scope::Global => "''",
            Scope::Root => "t.name",
            Scope::Child => "t.organization",
        }
    }

    /// The condition that a row `t` is of one of the organizations of the first parameter.
    pub(super) fn among(&self) -> &'static str {
        match self.kind.scope {
            Scope::Global => "'' = ANY($1)",
            Scope::Root => "t.name = ANY($1)",
            Scope::Child => "t.organization = ANY($1)",
        }
    }

    /// The condition that a row `t` can be managed: built-in roles cannot.
    pub(super) fn managed(&self) -> &'static str {
        if self.name == "role" { "NOT t.built_in" } else { "true" }
    }

    /// The query that reads the rows of some organizations, without side tables.
    pub(super) fn select(&self) -> String {
        let mut columns = vec![self.organization().to_owned(), format!("t.{}", self.key), "t.version".to_owned()];
        for stored in &self.fields {
            match &stored.place {
                Place::Column { name, ty } => columns.push(ty.read(name)),
                Place::Money { minor, currency } => {
                    columns.push(Type::Int.read(minor));
                    columns.push(Type::Text.read(currency));
                }
                Place::Side(_) => {}
            }
        }
        format!(
            "SELECT {} FROM argus.{} t WHERE {} AND {}",
            columns.join(", "),
            self.name,
            self.among(),
            self.managed()
        )
    }

    /// The field of this path.
    pub(super) fn field(&self, path: &str) -> Option<&StoredField> {
        self.fields.iter().find(|stored| stored.field.path == path)
    }
}

impl Side {
    fn of(owner: &'static str, table: &'static str, item: &'static str, field: &'static Field) -> Side {
        let column = |field: &'static Field| SideColumn {
            path: field.path,
            name: field.column_name().unwrap_or_else(|| snake_case(field.path)),
            ty: Type::of(&field.shape),
        };
        match field.shape {
            Shape::List { fields, key, .. } => {
                let columns: Vec<SideColumn> = fields.iter().map(column).collect();
                let named = columns.iter().find(|column| column.path == key);
                let key_column = named.map_or_else(|| snake_case(key), |column| column.name.clone());
                Side { table, owner, columns, key: key_column, order: key }
            }
            Shape::Set { item: shape, .. } => {
                let columns = vec![SideColumn { path: "", name: item.to_owned(), ty: Type::of(shape) }];
                Side { table, owner, columns, key: item.to_owned(), order: "" }
            }
            _ => Side { table, owner, columns: Vec::new(), key: item.to_owned(), order: "" },
        }
    }

    /// The query that reads the items of some organizations.
    pub(super) fn select(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| column.ty.read(&column.name)).collect();
        format!(
            r#"SELECT t.organization, t."{}", {} FROM argus.{} t WHERE t.organization = ANY($1)"#,
            self.owner,
            columns.join(", "),
            self.table
        )
    }
}
