//! Rows that hold what no manifest can say: they are read all the same, and stop nobody.

use argus::model::resource::ResourceId;
use argus::model::value::Value;
use argus::store::history::HistoryFilter;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::store_writes::everything;
use crate::support::plans::{apply, create, kind, plan};
use crate::support::postgres::{Database, run};

/// Takes away every check, as if an older schema or the owner had let the rows in.
async fn without_checks(session: &mut PgConnection) {
    let checks: Vec<String> = sqlx::query_scalar(
        "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
         WHERE contype = 'c' AND connamespace = 'argus'::regnamespace AND conrelid <> 'argus.audit'::regclass",
    )
    .fetch_all(&mut *session)
    .await
    .expect("checks");
    assert!(checks.len() > 50);
    run(session, &checks.join(";")).await;
}

#[tokio::test]
async fn no_content_of_any_column_makes_reading_fail() {
    let database = Database::new().await;
    let store = database.store().await;
    let tier = plan("", vec![create("Tier", "team", r#"{"limits.dailySpend": "1 USD"}"#)]);
    apply(&store, "r0", tier).await.expect("tier");
    apply(&store, "r1", everything("acme")).await.expect("acme");
    let mut session = database.session().await;
    without_checks(&mut session).await;
    let columns: Vec<(String, String, String, bool)> = sqlx::query_as(
        "SELECT c.table_name::text, c.column_name::text, c.udt_name::text, c.is_nullable = 'YES'
         FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
         WHERE c.table_schema = 'argus' AND t.table_type = 'BASE TABLE'
           AND c.table_name NOT IN ('schema_migration', 'person', 'invitation', 'built_in_role', 'clock', 'audit')
           AND c.column_name NOT IN ('organization', 'version')",
    )
    .fetch_all(&mut session)
    .await
    .expect("columns");
    let deep = "(repeat('[', 3000) || repeat(']', 3000))::jsonb";
    let mut tried = 0;
    for (table, column, ty, nullable) in &columns {
        let mut odd: Vec<&str> = match &**ty {
            "jsonb" => vec!["'1e400'", "'[-1e131071, 1e-16000]'", "'null'", r#"'{"x": 1e400, "": [{}]}'"#, deep],
            "timestamptz" => vec!["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'294276-12-31'"],
            "_text" => vec!["'{NULL}'", "'{{a,NULL},{b,c}}'", "'[5:6]={a,b}'", "'{}'"],
            "_int8" => vec!["'{NULL,9223372036854775807}'", "'{{1,2},{3,4}}'", "'[-3:-2]={1,2}'"],
            "int8" => vec!["9223372036854775807", "-9223372036854775808"],
            "int4" => vec!["2147483647", "-2147483648"],
            "text" => vec!["''", "repeat(chr(128169), 100000)", "E'\\u0001\\u202e\\n'"],
            _ => continue,
        };
        if *nullable {
            odd.push("NULL");
        }
        for value in odd {
            // Keys may refuse it, which is as good; so do rows that others refer to.
            let write = format!(r#"UPDATE argus.{table} SET "{column}" = {value}"#);
            if sqlx::raw_sql(AssertSqlSafe(write.as_str())).execute(&mut session).await.is_err() {
                continue;
            }
            tried += 1;
            let mut planning = store.planning().await.expect("planning");
            planning.states("test", None).await.unwrap_or_else(|error| panic!("{write}: {error}"));
            let names = ["acme".into(), "".into()];
            planning.live(&names).await.unwrap_or_else(|error| panic!("{write}: {error}"));
            planning.applied(&names).await.unwrap_or_else(|error| panic!("{write}: {error}"));
            planning.runs(10).await.unwrap_or_else(|error| panic!("{write}: {error}"));
            let filter = HistoryFilter { limit: 3, ..HistoryFilter::default() };
            planning.history(&filter).await.unwrap_or_else(|error| panic!("{write}: {error}"));
        }
    }
    assert!(tried > 150, "{tried} odd values were written");
    // What all of it left in the audit is read as well.
    let mut planning = store.planning().await.expect("planning");
    let filter = HistoryFilter { limit: 100_000, ..HistoryFilter::default() };
    assert!(planning.history(&filter).await.expect("history").len() > 150);
}

#[tokio::test]
async fn an_audit_row_that_cannot_be_a_value_is_shown_as_text() {
    let database = Database::new().await;
    let store = database.store().await;
    let mut session = database.session().await;
    run(
        &mut session,
        "INSERT INTO argus.audit (organization, version, ordinal, at, kind, name, relation, action, before, after, role,
                                  txid)
         VALUES ('acme', 1, 1, 'infinity', 'Team', 'core', 'team', 'update', '{\"x\": 1e400, \"y\": 1}',
                 (repeat('[', 200) || repeat(']', 200))::jsonb, 'r', pg_current_xact_id())",
    )
    .await;
    let mut planning = store.planning().await.expect("planning");
    let id = ResourceId { organization: "acme".into(), kind: kind("Team"), name: "core".into() };
    let told = planning.attributions(std::slice::from_ref(&id)).await.expect("attributions");
    let row = &told[&id][0];
    assert_eq!(row.at, "infinity");
    let before = row.before.as_ref().expect("before");
    assert!(before.get("x").and_then(Value::as_text).expect("a text").starts_with("10000"));
    assert_eq!(before.get("y"), Some(&Value::Int(1)));
    let after = row.after.as_ref().expect("after").to_string();
    assert!(after.contains(r#""[[["#), "the innermost is a text: {after}");
}
