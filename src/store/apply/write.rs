//! The writes of a plan, a few statements per kind whatever the number of rows.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use sqlx::{AssertSqlSafe, PgConnection};

use super::Tried;
use super::rows::{NAME, OWNER, columns, definition, items, put, sides};
use crate::failpoint::failpoint;
use crate::model::kind::Scope;
use crate::model::value::Value;
use crate::plan::{Action, Change, OrganizationPlan};
use crate::store::columns::{Side, StoredField, Table, table, tables};

/// A plan, and the transaction that it is carried out in.
pub(super) struct Writer<'a> {
    pub connection: &'a mut PgConnection,
    pub plan: &'a OrganizationPlan,
}

/// The condition that a row `t` is one of the organization of the first parameter; those of the organization itself and
/// of what all share are found by their name alone.
fn mine(table: &Table) -> &'static str {
    match table.kind.scope {
        Scope::Child => "t.organization = $1",
        Scope::Root | Scope::Global => "$1::text IS NOT NULL",
    }
}

impl<'a> Writer<'a> {
    /// Carries out all changes.
    pub(super) async fn write(&mut self) -> Result<(), Tried> {
        // New names first: what comes may refer to them. References to a renamed row follow by their foreign keys.
        self.rename().await?;
        // Then what comes, each kind before those that refer to it.
        for table in tables() {
            self.create(table).await?;
        }
        // What changes may refer to what has come, and lets go of what is about to go.
        for table in tables() {
            self.update(table).await?;
        }
        // Last what goes, each kind after those that refer to it.
        for table in tables().iter().rev() {
            self.delete(table).await?;
        }
        if !self.plan.changes.is_empty() {
            // What is checked at the end is checked here, where a failure is told apart from a lost connection.
            sqlx::raw_sql("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    fn reached(&self, step: &str, table: &Table) {
        failpoint(&format!("apply.after_{step}.{}", table.kind.name), &self.plan.organization);
    }

    fn changes(&self, table: &Table, wanted: fn(&Change) -> bool) -> Vec<&'a Change> {
        let plan = self.plan;
        plan.changes.iter().filter(|change| change.kind == table.id && wanted(change)).collect()
    }

    async fn rename(&mut self) -> Result<(), Tried> {
        // In the order of the plan: of a chain of names the last one moves first.
        for change in &self.plan.changes {
            let Some(previous) = &change.previous_name else { continue };
            let Some(table) = table(change.kind) else { continue };
            let query = format!(
                "UPDATE argus.{} t SET {key} = $3 WHERE {} AND t.{key} = $2",
                table.name,
                mine(table),
                key = table.key
            );
            let written = sqlx::query(AssertSqlSafe(query))
                .bind(&*self.plan.organization)
                .bind(&**previous)
                .bind(&*change.name)
                .execute(&mut *self.connection)
                .await?;
            expect_rows("renamed", table, 1, written.rows_affected())?;
            self.reached("rename", table);
        }
        Ok(())
    }

    async fn create(&mut self, table: &Table) -> Result<(), Tried> {
        let created = self.changes(table, |change| change.action == Action::Create);
        if created.is_empty() {
            return Ok(());
        }
        let fields: Vec<&StoredField> = table.fields.iter().collect();
        let mut rows = Vec::with_capacity(created.len());
        for change in &created {
            known_paths(table, change)?;
            let mut row = Map::new();
            row.insert(NAME.to_owned(), (*change.name).into());
            for stored in &fields {
                put(&mut row, stored, change.set.get(stored.field.path).unwrap_or(&Value::Null)).map_err(Tried::bad)?;
            }
            rows.push(Json::Object(row));
        }
        let names: Vec<String> = columns(&fields).iter().map(|name| format!("\"{name}\"")).collect();
        let mut into: Vec<String> = vec![format!("\"{}\"", table.key)];
        let mut from: Vec<String> = vec![format!("r.{NAME}")];
        if table.kind.scope == Scope::Child {
            into.insert(0, "organization".to_owned());
            from.insert(0, "$1".to_owned());
        }
        into.extend(names.iter().cloned());
        from.extend(names.iter().map(|name| format!("r.{name}")));
        let query = format!(
            "INSERT INTO argus.{} ({}) SELECT {} FROM jsonb_to_recordset($2::text::jsonb) AS r({}) WHERE $1::text IS NOT NULL",
            table.name,
            into.join(", "),
            from.join(", "),
            definition(&fields)
        );
        self.execute(&query, &Json::Array(rows)).await?;
        for (stored, side) in sides(table) {
            let mut rows = Vec::new();
            for change in &created {
                if let Some(value) = change.set.get(stored.field.path) {
                    rows.extend(items(side, stored.field, &change.name, value).map_err(Tried::bad)?);
                }
            }
            self.insert_items(side, rows, "").await?;
        }
        self.reached("create", table);
        Ok(())
    }

    async fn update(&mut self, table: &Table) -> Result<(), Tried> {
        let updated = self.changes(table, |change| matches!(change.action, Action::Update | Action::Adopt));
        if updated.is_empty() {
            return Ok(());
        }
        // One statement for all rows of which the same fields change.
        let mut groups: BTreeMap<Vec<u8>, Vec<&Change>> = BTreeMap::new();
        for change in &updated {
            known_paths(table, change)?;
            let of_columns =
                |stored: &&StoredField| change.set.contains_key(stored.field.path) && !columns(&[*stored]).is_empty();
            let written: Vec<u8> = table.fields.iter().filter(of_columns).map(|stored| stored.at).collect();
            if !written.is_empty() {
                groups.entry(written).or_default().push(change);
            }
        }
        for (written, changes) in &groups {
            let fields: Vec<&StoredField> = table.fields.iter().filter(|stored| written.contains(&stored.at)).collect();
            let mut rows = Vec::with_capacity(changes.len());
            for change in changes {
                let mut row = Map::new();
                row.insert(NAME.to_owned(), (*change.name).into());
                for stored in &fields {
                    put(&mut row, stored, change.set.get(stored.field.path).unwrap_or(&Value::Null))
                        .map_err(Tried::bad)?;
                }
                rows.push(Json::Object(row));
            }
            let set: Vec<String> = columns(&fields).iter().map(|name| format!("\"{name}\" = r.\"{name}\"")).collect();
            let query = format!(
                "UPDATE argus.{} t SET {} FROM jsonb_to_recordset($2::text::jsonb) AS r({}) WHERE {} AND t.{} = r.{NAME}",
                table.name,
                set.join(", "),
                definition(&fields),
                mine(table),
                table.key
            );
            let affected = self.execute(&query, &Json::Array(rows)).await?;
            expect_rows("updated", table, changes.len(), affected)?;
        }
        for (stored, side) in sides(table) {
            let changed: Vec<(&str, &Value)> =
                updated.iter().filter_map(|change| Some((&*change.name, change.set.get(stored.field.path)?))).collect();
            if !changed.is_empty() {
                self.replace_items(stored, side, &changed).await?;
            }
        }
        self.reached("update", table);
        Ok(())
    }

    /// Makes the items of some resources what they shall be, and writes only those that differ.
    async fn replace_items(
        &mut self,
        stored: &StoredField,
        side: &Side,
        changed: &[(&str, &Value)],
    ) -> Result<(), Tried> {
        let mut rows = Vec::new();
        for (owner, value) in changed {
            rows.extend(items(side, stored.field, owner, value).map_err(Tried::bad)?);
        }
        let owners: Vec<String> = changed.iter().map(|(owner, _)| (*owner).to_owned()).collect();
        let query = format!(
            "DELETE FROM argus.{table} t WHERE t.organization = $1 AND t.\"{owner}\" = ANY($3)
             AND NOT EXISTS (SELECT FROM jsonb_to_recordset($2::text::jsonb) AS r({definition})
                             WHERE r.\"{OWNER}\" = t.\"{owner}\" AND r.\"{key}\" = t.\"{key}\")",
            table = side.table,
            owner = side.owner,
            key = side.key,
            definition = side_definition(side),
        );
        sqlx::query(AssertSqlSafe(query))
            .bind(&*self.plan.organization)
            .bind(Json::Array(rows.clone()).to_string())
            .bind(owners)
            .execute(&mut *self.connection)
            .await?;
        let others: Vec<&str> =
            side.columns.iter().map(|column| column.name.as_str()).filter(|name| *name != side.key).collect();
        let set: Vec<String> = others.iter().map(|name| format!("\"{name}\" = excluded.\"{name}\"")).collect();
        let differs: Vec<String> =
            others.iter().map(|name| format!("t.\"{name}\" IS DISTINCT FROM excluded.\"{name}\"")).collect();
        let conflict = format!("ON CONFLICT (organization, \"{}\", \"{}\") DO", side.owner, side.key);
        let conflict = match others.is_empty() {
            true => format!("{conflict} NOTHING"),
            false => format!("{conflict} UPDATE SET {} WHERE {}", set.join(", "), differs.join(" OR ")),
        };
        self.insert_items(side, rows, &conflict).await
    }

    async fn insert_items(&mut self, side: &Side, rows: Vec<Json>, conflict: &str) -> Result<(), Tried> {
        if rows.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = side.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let from: Vec<String> = names.iter().map(|name| format!("r.{name}")).collect();
        let query = format!(
            "INSERT INTO argus.{} AS t (organization, \"{}\", {}) SELECT $1, r.\"{OWNER}\", {}
             FROM jsonb_to_recordset($2::text::jsonb) AS r({}) {conflict}",
            side.table,
            side.owner,
            names.join(", "),
            from.join(", "),
            side_definition(side)
        );
        self.execute(&query, &Json::Array(rows)).await?;
        Ok(())
    }

    async fn delete(&mut self, table: &Table) -> Result<(), Tried> {
        let deleted = self.changes(table, |change| change.action == Action::Delete);
        if deleted.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = deleted.iter().map(|change| change.name.to_string()).collect();
        let query = format!("DELETE FROM argus.{} t WHERE {} AND t.{} = ANY($2)", table.name, mine(table), table.key);
        let affected = sqlx::query(AssertSqlSafe(query))
            .bind(&*self.plan.organization)
            .bind(names)
            .execute(&mut *self.connection)
            .await?;
        expect_rows("deleted", table, deleted.len(), affected.rows_affected())?;
        self.reached("delete", table);
        Ok(())
    }

    async fn execute(&mut self, query: &str, rows: &Json) -> Result<u64, Tried> {
        let done = sqlx::query(AssertSqlSafe(query))
            .bind(&*self.plan.organization)
            .bind(rows.to_string())
            .execute(&mut *self.connection)
            .await?;
        Ok(done.rows_affected())
    }
}

fn side_definition(side: &Side) -> String {
    let columns: Vec<String> =
        side.columns.iter().map(|column| format!("\"{}\" {}", column.name, column.ty.sql())).collect();
    format!("\"{OWNER}\" text, {}", columns.join(", "))
}

/// A plan that writes what the kind does not have was made by another binary, or by hand.
fn known_paths(table: &Table, change: &Change) -> Result<(), Tried> {
    match change.set.keys().find(|path| table.field(path).is_none()) {
        None => Ok(()),
        Some(path) => Err(Tried::bad(format!("{} has no stored field `{path}`", change.kind))),
    }
}

/// The rows were looked at under the clock's lock: that one is missing now cannot be, and nothing is kept if it is.
fn expect_rows(what: &str, table: &Table, wanted: usize, written: u64) -> Result<(), Tried> {
    if written == wanted as u64 {
        return Ok(());
    }
    Err(Tried::bad(format!("{written} rows of argus.{} were {what}, and {wanted} should have been", table.name)))
}
