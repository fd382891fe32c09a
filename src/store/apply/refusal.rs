//! What a violated constraint means in the words of a manifest: which field of which resource, and never a value.

use crate::model::kind::Kind;
use crate::plan::{Action, Change, OrganizationPlan};
use crate::store::columns::{Place, StoredField, Table, tables};
use crate::store::error::{describe, sqlstate};

/// How many resources are named.
const NAMED_MAX: usize = 3;

/// What PostgreSQL refuses about a plan.
pub(super) fn explain(error: &sqlx::Error, plan: &OrganizationPlan) -> String {
    let state = sqlstate(error);
    let violated = error.as_database_error().and_then(|error| Some((error.table()?, error.constraint()?)));
    let told = violated.and_then(|(relation, constraint)| in_words(&state, relation, constraint, plan));
    match (told, violated) {
        (Some(told), Some((_, constraint))) => format!("{told} (SQLSTATE {state}, constraint {constraint})"),
        _ => describe(error),
    }
}

fn in_words(state: &str, relation: &str, constraint: &str, plan: &OrganizationPlan) -> Option<String> {
    let table = tables().iter().find(|table| side(table, relation).is_some() || table.name == relation)?;
    let kind = table.kind;
    let field = field(table, relation, constraint);
    let writes = |change: &&Change| {
        change.kind == table.id
            && matches!(change.action, Action::Create | Action::Update | Action::Adopt)
            && field.as_ref().is_none_or(|field| change.set.contains_key(field.stored.field.path))
    };
    let writers: Vec<&Change> = plan.changes.iter().filter(writes).collect();
    let of = of(kind, &writers);
    let path = field.as_ref().map(|field| format!("`{}`", field.path));
    Some(match (state, path) {
        // The reference may be one that the plan writes, or one to what the plan takes away.
        ("23503", Some(path)) if !writers.is_empty() => match field.and_then(|field| field.refers) {
            Some(target) => format!("{path} of {of} names a {target} that does not exist"),
            None => format!("{path} of {of} names something that does not exist"),
        },
        ("23503", Some(path)) => format!("{path} of some {} still names something that goes", kind.name),
        ("23505", Some(path)) => format!("{path} of {of} holds something that must be there only once, and is already"),
        ("23505", None) => format!("{of} exists already"),
        ("23514", Some(path)) => format!("{path} of {of} holds something that its column does not take"),
        ("23514", None) => format!("{of} is not as the database takes it"),
        _ => return None,
    })
}

struct Violated<'a> {
    stored: &'a StoredField,
    /// The path for people; of the item of a list with the field within it.
    path: String,
    refers: Option<&'static str>,
}

fn side<'a>(table: &'a Table, relation: &str) -> Option<&'a StoredField> {
    table.fields.iter().find(|stored| matches!(&stored.place, Place::Side(side) if side.table == relation))
}

/// PostgreSQL calls a constraint after its table and its columns.
fn field<'a>(table: &'a Table, relation: &str, constraint: &str) -> Option<Violated<'a>> {
    let name = constraint.strip_prefix(relation)?.strip_prefix('_')?;
    let (columns, _) = name.rsplit_once('_')?;
    let columns = columns.strip_prefix("organization_").unwrap_or(columns);
    if let Some(stored) = side(table, relation) {
        let Place::Side(side) = &stored.place else { return None };
        let column = side.columns.iter().find(|column| column.name == columns);
        let inner = |path: &str| match stored.field.shape {
            crate::model::shape::Shape::List { fields, .. } => fields.iter().find(|field| field.path == path),
            _ => None,
        };
        return Some(match column {
            Some(column) if !column.path.is_empty() => Violated {
                stored,
                path: format!("{}.{}", stored.field.path, column.path),
                refers: inner(column.path).and_then(|field| field.refers),
            },
            Some(_) => Violated { stored, path: stored.field.path.into(), refers: stored.field.refers },
            None => Violated { stored, path: stored.field.path.into(), refers: None },
        });
    }
    let named = |stored: &&StoredField| match &stored.place {
        Place::Column { name, .. } => name == columns,
        Place::Money { minor, currency } => minor == columns || currency == columns,
        Place::Side(_) => false,
    };
    let stored = table.fields.iter().find(named)?;
    Some(Violated { stored, path: stored.field.path.into(), refers: stored.field.refers })
}

/// The resources in question.
fn of(kind: &Kind, writers: &[&Change]) -> String {
    let names: Vec<String> = writers.iter().take(NAMED_MAX).map(|change| format!("`{}`", change.name)).collect();
    match writers.len() {
        0 => format!("some {}", kind.name),
        1 => format!("{} {}", kind.name, names[0]),
        more if more <= NAMED_MAX => format!("one of the {} {}", kind.plural, names.join(", ")),
        more => format!("one of {more} {} ({}, …)", kind.plural, names.join(", ")),
    }
}
