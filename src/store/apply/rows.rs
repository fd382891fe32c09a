//! Canonical values as the rows that PostgreSQL is given: JSON objects by column, many at once.

use serde_json::{Map, Value as Json};

use crate::model::money::Money;
use crate::model::shape::{Field, Shape};
use crate::model::value::Value;
use crate::store::columns::{Place, Side, StoredField, Table};

/// The value that is written for a value of a plan: where that is null, the field's empty value.
fn whole<'a>(field: &Field, value: &'a Value, empty: &'a mut Value) -> &'a Value {
    if *value == Value::Null {
        *empty = field.preset.value();
        empty
    } else {
        value
    }
}

fn json(value: &Value) -> Result<Json, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// Puts the columns of a field into a row. The fields of side tables have none.
pub(super) fn put(row: &mut Map<String, Json>, stored: &StoredField, value: &Value) -> Result<(), String> {
    let mut empty = Value::Null;
    let value = whole(stored.field, value, &mut empty);
    match &stored.place {
        Place::Column { name, .. } => {
            row.insert(name.clone(), json(value)?);
        }
        Place::Money { minor, currency } => {
            let (amount, code) = match value {
                Value::Null => (Json::Null, Json::Null),
                value => {
                    let text = value.as_text().ok_or_else(|| format!("`{}` is no money", stored.field.path))?;
                    let money = Money::parse(text).map_err(|why| format!("`{}`: {why}", stored.field.path))?;
                    (money.minor.into(), money.currency.into())
                }
            };
            row.insert(minor.clone(), amount);
            row.insert(currency.clone(), code);
        }
        Place::Side(_) => {}
    }
    Ok(())
}

/// The rows of a side table for the items of one resource.
pub(super) fn items(side: &Side, field: &Field, owner: &str, value: &Value) -> Result<Vec<Json>, String> {
    let fields: &[Field] = match field.shape {
        Shape::List { fields, .. } => fields,
        _ => &[],
    };
    let mut rows = Vec::with_capacity(value.items().len());
    for item in value.items() {
        let mut row = Map::new();
        row.insert(OWNER.to_owned(), owner.into());
        for column in &side.columns {
            let value = match fields.iter().find(|field| field.path == column.path) {
                None => item.clone(),
                Some(field) => {
                    let mut empty = Value::Null;
                    whole(field, item.get(column.path).unwrap_or(&Value::Null), &mut empty).clone()
                }
            };
            row.insert(column.name.clone(), json(&value)?);
        }
        rows.push(Json::Object(row));
    }
    Ok(rows)
}

/// The name under which the rows of a side table carry the name of their owner; no column is called like that.
pub(super) const OWNER: &str = "of";

/// The name under which the rows of a main table carry their own.
pub(super) const NAME: &str = "named";

/// The columns of a main table in the form `"a" text, "b" bigint`.
pub(super) fn definition(fields: &[&StoredField]) -> String {
    let mut columns = vec![format!("{NAME} text")];
    for stored in fields {
        match &stored.place {
            Place::Column { name, ty } => columns.push(format!("\"{name}\" {}", ty.sql())),
            Place::Money { minor, currency } => columns.push(format!("\"{minor}\" bigint, \"{currency}\" text")),
            Place::Side(_) => {}
        }
    }
    columns.join(", ")
}

/// The names of the columns of some fields.
pub(super) fn columns<'a>(fields: &[&'a StoredField]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for stored in fields {
        match &stored.place {
            Place::Column { name, .. } => names.push(name),
            Place::Money { minor, currency } => names.extend([minor.as_str(), currency]),
            Place::Side(_) => {}
        }
    }
    names
}

/// The fields of a table that stand in tables of their own.
pub(super) fn sides(table: &Table) -> impl Iterator<Item = (&StoredField, &Side)> {
    table.fields.iter().filter_map(|stored| match &stored.place {
        Place::Side(side) => Some((stored, side)),
        Place::Column { .. } | Place::Money { .. } => None,
    })
}
