//! Rows as canonical values: one query per table, for many organizations at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::columns::{Place, Side, StoredField, Table, Type, tables};
use super::content;
use super::error::StoreError;
use crate::model::id::OrganizationName;
use crate::model::money::Money;
use crate::model::resource::Spec;
use crate::model::shape::Shape;
use crate::model::state::{Live, LiveRow};
use crate::model::value::Value;

/// How many organizations one query asks for: few enough that their undecoded rows take little memory.
pub(super) const ORGANIZATIONS_AT_ONCE: usize = 256;

/// Reads the rows of some organizations.
pub(super) async fn read(
    connection: &mut PgConnection,
    organizations: &[OrganizationName],
) -> Result<BTreeMap<OrganizationName, Live>, StoreError> {
    let mut of: BTreeMap<OrganizationName, Live> =
        organizations.iter().map(|name| (name.clone(), Live::default())).collect();
    for some in organizations.chunks(ORGANIZATIONS_AT_ONCE) {
        let names = texts(some);
        for table in tables() {
            for (organization, name, row) in read_table(connection, table, &names).await? {
                if let Some(live) = of.get_mut(&*organization) {
                    live.rows.insert((table.id, name), row);
                }
            }
        }
    }
    Ok(of)
}

/// A row before its side tables are read.
struct Half {
    organization: Box<str>,
    name: Arc<str>,
    version: i64,
    values: Vec<(u8, Value)>,
}

async fn read_table(
    connection: &mut PgConnection,
    table: &Table,
    names: &[String],
) -> Result<Vec<(Box<str>, Arc<str>, LiveRow)>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(table.select())).bind(names).fetch_all(&mut *connection).await?;
    let mut halves = Vec::with_capacity(rows.len());
    for row in rows {
        halves.push(half(table, &row)?);
    }
    let sides = table.fields.iter().filter_map(|stored| match &stored.place {
        Place::Side(side) => Some((stored.at, side)),
        Place::Column { .. } | Place::Money { .. } => None,
    });
    for (at, side) in sides {
        let mut items = read_side(connection, side, names).await?;
        for half in &mut halves {
            let key = (half.organization.clone(), half.name.clone());
            let mut mine = items.remove(&key).unwrap_or_default();
            sort_items(&mut mine, side.order);
            half.values.push((at, Value::List(mine.into())));
        }
    }
    let whole = |half: Half| {
        let Half { organization, name, version, values } = half;
        (organization, name, LiveRow { version, spec: Spec::from_values(values) })
    };
    Ok(halves.into_iter().map(whole).collect())
}

fn half(table: &Table, row: &PgRow) -> Result<Half, StoreError> {
    let mut values = Vec::with_capacity(table.fields.len());
    let mut column = 3;
    for stored in &table.fields {
        let value = match &stored.place {
            Place::Side(_) => continue,
            Place::Column { ty, .. } => {
                column += 1;
                let value = cell(row, column - 1, *ty)?;
                in_order(stored, value)
            }
            Place::Money { .. } => {
                column += 2;
                money(row, column - 2)?
            }
        };
        values.push((stored.at, value));
    }
    Ok(Half {
        organization: content::some_text(row, 0)?.into(),
        name: content::some_text(row, 1)?.into(),
        version: row.try_get(2)?,
        values,
    })
}

async fn read_side(
    connection: &mut PgConnection,
    side: &Side,
    names: &[String],
) -> Result<HashMap<(Box<str>, Arc<str>), Vec<Value>>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(side.select())).bind(names).fetch_all(&mut *connection).await?;
    let mut items: HashMap<(Box<str>, Arc<str>), Vec<Value>> = HashMap::new();
    for row in &rows {
        let item = match &side.columns[..] {
            [item] if item.path.is_empty() => cell(row, 2, item.ty)?,
            fields => {
                let mut pairs = Vec::with_capacity(fields.len());
                for (at, field) in fields.iter().enumerate() {
                    pairs.push((field.path, cell(row, 2 + at, field.ty)?));
                }
                Value::map(pairs)
            }
        };
        let key = (content::some_text(row, 0)?.into(), content::some_text(row, 1)?.into());
        items.entry(key).or_default().push(item);
    }
    Ok(items)
}

/// The value of one column.
fn cell(row: &PgRow, at: usize, ty: Type) -> Result<Value, StoreError> {
    Ok(match ty {
        Type::Bool => row.try_get::<Option<bool>, _>(at)?.map_or(Value::Null, Value::Bool),
        Type::Int => row.try_get::<Option<i64>, _>(at)?.map_or(Value::Null, Value::Int),
        Type::Text | Type::Time => content::text(row, at)?.map_or(Value::Null, Value::text),
        Type::TextSet | Type::IntSet => content::json(row, at)?.map_or(Value::Null, content::set),
        Type::Json => content::json(row, at)?.unwrap_or_default(),
    })
}

fn money(row: &PgRow, at: usize) -> Result<Value, StoreError> {
    let (minor, currency): (Option<i64>, Option<String>) = (row.try_get(at)?, content::text(row, at + 1)?);
    let shown = |(minor, currency): (i64, String)| match Money::from_minor(minor, &currency) {
        Some(money) => Value::text(money.to_string()),
        // Somebody wrote it by SQL. No manifest can say it, so it differs from whatever is declared, and one
        // organization's oddity stops no other.
        None => Value::text(format!("{minor} minor units of {currency}")),
    };
    Ok(minor.zip(currency).map_or(Value::Null, shown))
}

/// Records of a column are in the order of their key, as those of side tables are.
fn in_order(stored: &StoredField, value: Value) -> Value {
    match (stored.field.shape, value) {
        (Shape::List { key, .. }, Value::List(items)) if !key.is_empty() => {
            let mut items = items.into_vec();
            sort_items(&mut items, key);
            Value::List(items.into())
        }
        (_, value) => value,
    }
}

/// Items of a set by their value, records by their key.
fn sort_items(items: &mut [Value], key: &str) {
    if key.is_empty() {
        items.sort();
    } else {
        items.sort_by(|a, b| a.get(key).cmp(&b.get(key)));
    }
}

/// Names as a parameter.
pub(super) fn texts(names: &[Arc<str>]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}
