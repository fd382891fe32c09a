//! The schema by itself: what it promises to anybody who writes to it, Argus or not.

use argus::model::kind::{KINDS, Kind, Scope};
use argus::model::resource::ResourceId;
use argus::model::shape::{Column, Field, Shape, snake_case};
use argus::store::history::{HistoryFilter, last_to_move};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::store_writes::everything;
use crate::support::plans::{apply, create, kind, plan};
use crate::support::postgres::{Database, one, refused, run};

/// A database with two organizations of every kind, and a tier.
async fn two_organizations() -> Database {
    let database = Database::new().await;
    let store = database.store().await;
    apply(&store, "r0", plan("", vec![create("Tier", "team", r#"{"limits.dailySpend": "1 USD"}"#)]))
        .await
        .expect("tier");
    apply(&store, "r1", everything("acme")).await.expect("acme");
    apply(&store, "r2", everything("apex")).await.expect("apex");
    database
}

async fn clock(session: &mut PgConnection, organization: &str) -> i64 {
    let query = format!("SELECT coalesce(max(version), 0) FROM argus.clock WHERE organization = '{organization}'");
    one(session, &query).await.parse().expect("a number")
}

/// The tables of the schema with the column that names the tenant.
async fn tenant_tables(session: &mut PgConnection) -> Vec<(String, String)> {
    sqlx::query_as(
        "SELECT c.table_name::text, min(c.column_name)::text
         FROM information_schema.columns c
         WHERE c.table_schema = 'argus'
           AND (c.column_name = 'organization' OR (c.table_name = 'organization' AND c.column_name = 'name'))
         GROUP BY c.table_name ORDER BY 1",
    )
    .fetch_all(session)
    .await
    .expect("tables")
}

#[tokio::test]
async fn a_session_that_knows_nothing_of_argus_is_told_of_with_its_role_and_application() {
    let database = two_organizations().await;
    database.psql("UPDATE argus.project SET description = 'changed' WHERE organization = 'acme'");
    database.psql("INSERT INTO argus.member_role VALUES ('acme', 'grace@acme.example', 'admin')");
    let mut session = database.session().await;
    assert_eq!(clock(&mut session, "acme").await, 3);
    assert_eq!(clock(&mut session, "apex").await, 1, "nobody has touched it");

    let store = database.store().await;
    let id = |of: &str, name: &str| ResourceId { organization: "acme".into(), kind: kind(of), name: name.into() };
    let (project, grace) = (id("Project", "search"), id("Member", "grace@acme.example"));
    let mut planning = store.planning().await.expect("planning");
    let told = planning.attributions(&[project.clone(), grace.clone()]).await.expect("attributions");
    let moved = last_to_move(&told[&project], project.kind, "description").expect("somebody moved it");
    let (by, before) = (moved.attribution(), moved.before.as_ref().expect("before"));
    assert_eq!((by.actor.as_str(), by.via.as_str()), ("argus", "psql"), "the role that logged in, and its program");
    assert_eq!(before.get("description").map(ToString::to_string).as_deref(), Some("null"));
    let moved = last_to_move(&told[&project], project.kind, "quotas.apiKeys").expect("it was created");
    assert_eq!((moved.action.as_str(), moved.attribution().via.as_str()), ("insert", "argus"));
    let moved = last_to_move(&told[&grace], grace.kind, "roles").expect("a role was granted");
    assert_eq!((moved.relation.as_str(), moved.version), ("member_role", 3));
    let filter = HistoryFilter { organization: Some("acme".into()), limit: 2, ..HistoryFilter::default() };
    let history = planning.history(&filter).await.expect("history");
    assert_eq!(history.iter().map(|row| row.version).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(planning.runs(10).await.expect("runs").len(), 3);
}

#[tokio::test]
async fn a_transaction_counts_once_however_much_it_writes_and_a_rolled_back_one_not_at_all() {
    let database = two_organizations().await;
    let mut session = database.session().await;
    run(
        &mut session,
        "BEGIN; UPDATE argus.team SET description = 'a' WHERE organization = 'acme';
         SAVEPOINT s; UPDATE argus.project SET description = 'lost'; ROLLBACK TO s;
         DELETE FROM argus.budget WHERE organization = 'acme';
         UPDATE argus.project SET description = 'b' WHERE organization = 'acme'; COMMIT",
    )
    .await;
    assert_eq!((clock(&mut session, "acme").await, clock(&mut session, "apex").await), (2, 1));
    run(
        &mut session,
        "BEGIN; SAVEPOINT s; UPDATE argus.team SET description = 'x' WHERE organization = 'apex'; ROLLBACK TO s;
         UPDATE argus.team SET description = 'y' WHERE organization = 'apex'; COMMIT",
    )
    .await;
    assert_eq!(clock(&mut session, "apex").await, 2, "the savepoint took its count along");
    run(&mut session, "BEGIN; UPDATE argus.team SET description = 'z'; ROLLBACK").await;
    run(&mut session, "UPDATE argus.team SET description = description, version = 77").await;
    assert_eq!((clock(&mut session, "acme").await, clock(&mut session, "apex").await), (2, 2), "nothing has moved");
    let ordinals =
        "SELECT bool_and(ordinal = place) FROM (SELECT ordinal, row_number() OVER (PARTITION BY organization,
                    version ORDER BY ordinal) AS place FROM argus.audit) o";
    assert_eq!(one(&mut session, ordinals).await, "true", "the rows of a version are counted from 1 without gaps");
}

#[tokio::test]
async fn versions_have_no_gaps_under_eight_writers_at_once() {
    let database = two_organizations().await;
    let mut writers = Vec::new();
    for writer in 0..8 {
        let mut session = database.session().await;
        writers.push(tokio::spawn(async move {
            for turn in 0..15 {
                let end = if turn % 5 == 4 { "ROLLBACK" } else { "COMMIT" };
                run(
                    &mut session,
                    &format!(
                        "BEGIN; INSERT INTO argus.team (organization, name) VALUES ('acme', 't{writer}-{turn}');
                         INSERT INTO argus.team_member VALUES ('acme', 't{writer}-{turn}', 'ada@acme.example'); {end}"
                    ),
                )
                .await;
            }
        }));
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    let mut session = database.session().await;
    assert_eq!(clock(&mut session, "acme").await, 1 + 8 * 12);
    let seen = "SELECT count(DISTINCT version) || ' ' || min(version) || ' ' || max(version) FROM argus.audit
                WHERE organization = 'acme'";
    assert_eq!(one(&mut session, seen).await, "97 1 97");
    let behind = "SELECT count(*) FROM argus.team t JOIN argus.audit a ON a.organization = t.organization
                  AND a.name = t.name AND a.relation = 'team_member' AND a.action = 'insert'
                  WHERE t.version <> a.version AND t.name LIKE 't%-%'";
    assert_eq!(one(&mut session, behind).await, "0");
}

#[tokio::test]
async fn a_forged_clock_is_refused() {
    let database = two_organizations().await;
    let mut session = database.session_as("forger", "argus_reconciler").await;
    let forged = "BEGIN; SELECT set_config('argus.tick_of', pg_current_xact_id()::text || ':acme', true);
                  SELECT set_config('argus.tick_at', '1', true);
                  UPDATE argus.team SET description = 'unseen' WHERE organization = 'acme'";
    assert_eq!(refused(&mut session, forged).await, "23502");
    run(&mut session, "ROLLBACK").await;
    assert_eq!(refused(&mut session, "SELECT argus.tick('acme')").await, "42501");
}

#[tokio::test]
async fn the_audit_is_only_ever_added_to() {
    let database = two_organizations().await;
    let mut session = database.session().await;
    let roles = ["argus_app", "argus_planner", "argus_reconciler", "argus_migrator", "argus_owner"];
    for role in roles {
        for write in ["UPDATE argus.audit SET actor = 'x'", "DELETE FROM argus.audit", "TRUNCATE argus.audit"] {
            assert_eq!(refused(&mut session, &format!("SET ROLE {role}; {write}")).await, "42501", "{role}: {write}");
            run(&mut session, "RESET ROLE").await;
        }
    }
    for role in &roles[..4] {
        let forged = format!(
            "SET ROLE {role}; INSERT INTO argus.audit (organization, version, ordinal, at, kind, name, relation, action,
             role, txid) VALUES ('acme', 99, 1, now(), 'Team', 'x', 'team', 'insert', 'x', '1')"
        );
        assert_eq!(refused(&mut session, &forged).await, "42501", "{role}");
        run(&mut session, "RESET ROLE").await;
    }
    // Not even the superuser, as long as nobody switches the triggers off.
    for write in ["UPDATE argus.audit SET actor = 'x'", "DELETE FROM argus.audit", "TRUNCATE argus.audit"] {
        assert_eq!(refused(&mut session, write).await, "42501", "{write}");
    }
    for kind in Kind::stored() {
        let table = kind.table.expect("a table");
        assert_eq!(refused(&mut session, &format!("TRUNCATE argus.{table} CASCADE")).await, "42501", "{table}");
    }
}

#[tokio::test]
async fn row_level_security_is_forced_on_every_table_that_names_a_tenant() {
    let database = Database::new().await;
    let mut session = database.session().await;
    let tables = tenant_tables(&mut session).await;
    assert!(tables.len() >= 22, "{tables:?}");
    for (table, _) in &tables {
        let query = format!(
            "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = 'argus.{table}'::regclass"
        );
        assert_eq!(one(&mut session, &query).await, "true", "{table}");
    }
    let attributes = "SELECT bool_or(rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)
                      FROM pg_roles WHERE rolname LIKE 'argus\\_%'";
    assert_eq!(one(&mut session, attributes).await, "false");
    let views = "SELECT count(*) FROM pg_views WHERE schemaname = 'argus'";
    assert_eq!(one(&mut session, views).await, "0", "a view would show what its owner sees");
    let owner = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'argus' AND pg_get_userbyid(c.relowner) <> 'argus_owner'";
    assert_eq!(one(&mut session, owner).await, "0");
    let open = "SELECT string_agg(p.proname, ',') FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                WHERE n.nspname = 'argus' AND p.proname <> 'is_plain'
                  AND has_function_privilege('argus_app', p.oid, 'EXECUTE')";
    assert_eq!(
        one(&mut session, open).await,
        "",
        "but for what checks call, which reads nothing, the application calls nothing"
    );
    let fixed = "SELECT string_agg(p.proname, ',') FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                 WHERE n.nspname = 'argus' AND p.prosecdef
                   AND NOT coalesce(p.proconfig::text LIKE '%search_path=pg_catalog%', false)";
    assert_eq!(one(&mut session, fixed).await, "", "what runs as the owner finds its tables where they are");
}

#[tokio::test]
async fn the_application_sees_and_writes_one_organization() {
    let database = two_organizations().await;
    let mut session = database.session().await;
    let tables = tenant_tables(&mut session).await;
    let mut app = database.session_as("tenant", "argus_app").await;
    for organization in ["", "acme"] {
        run(&mut app, &format!("BEGIN; SELECT set_config('argus.org', '{organization}', true)")).await;
        for (table, column) in &tables {
            let granted = format!("SELECT has_table_privilege('argus.{table}', 'SELECT')");
            if one(&mut app, &granted).await == "false" {
                continue;
            }
            let foreign = format!("SELECT count(*) FROM argus.{table} WHERE {column} <> '{organization}'");
            assert_eq!(one(&mut app, &foreign).await, "0", "{table} shows others to `{organization}`");
        }
        let own = one(&mut app, "SELECT count(*) FROM argus.team").await;
        assert_eq!(own, if organization.is_empty() { "0" } else { "2" });
        run(&mut app, "COMMIT").await;
        // After a transaction that named an organization the setting is empty and not missing.
        assert_eq!(one(&mut app, "SELECT count(*) FROM argus.team").await, "0");
    }
    // Whether a name exists elsewhere does not show: the answer is the same for those that do and those that do not.
    for name in ["platform", "no-such-team"] {
        let probe = format!(
            "BEGIN; SET LOCAL argus.org = 'acme'; INSERT INTO argus.team (organization, name) VALUES ('apex', '{name}')"
        );
        assert_eq!(refused(&mut app, &probe).await, "42501", "{name}");
        run(&mut app, "ROLLBACK").await;
    }
    for organization in ["apex", "no-such-organization"] {
        let probe = format!(
            "BEGIN; SET LOCAL argus.org = 'acme'; INSERT INTO argus.organization (name) VALUES ('{organization}')"
        );
        assert_eq!(refused(&mut app, &probe).await, "42501", "{organization}");
        run(&mut app, "ROLLBACK").await;
    }
    // Nor do foreign keys tell: they carry the organization.
    database.psql("INSERT INTO argus.team (organization, name) VALUES ('apex', 'theirs')");
    for parent in ["theirs", "nobodys"] {
        let probe = format!(
            "BEGIN; SET LOCAL argus.org = 'acme'; INSERT INTO argus.team (organization, name, parent)
             VALUES ('acme', 'child', '{parent}'); SET CONSTRAINTS ALL IMMEDIATE"
        );
        assert_eq!(refused(&mut app, &probe).await, "23503", "{parent}");
        run(&mut app, "ROLLBACK").await;
    }
    let move_out = "BEGIN; SET LOCAL argus.org = 'acme'; UPDATE argus.team SET organization = 'apex'";
    assert_eq!(refused(&mut app, move_out).await, "23000");
    run(&mut app, "ROLLBACK").await;
    run(&mut app, "BEGIN; SET LOCAL argus.org = 'acme'; UPDATE argus.team SET description = 'mine'; COMMIT").await;
    let touched = "SELECT string_agg(DISTINCT organization, ',') FROM argus.team WHERE description = 'mine'";
    assert_eq!(one(&mut session, touched).await, "acme");
    for ddl in ["TRUNCATE argus.team", "ALTER TABLE argus.team DISABLE ROW LEVEL SECURITY", "CREATE TABLE argus.x ()"] {
        assert_eq!(refused(&mut app, ddl).await, "42501", "{ddl}");
    }
}

#[tokio::test]
async fn the_planner_can_write_nothing() {
    let database = Database::new().await;
    let mut session = database.session().await;
    let can = "SELECT string_agg(c.relname || ' ' || p, ', ')
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               CROSS JOIN unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) p
               WHERE n.nspname = 'argus' AND c.relkind = 'r' AND has_table_privilege('argus_planner', c.oid, p)";
    assert_eq!(one(&mut session, can).await, "");
    let secrets = "SELECT has_table_privilege('argus_planner', 'argus.invitation', 'SELECT')
                   AND has_column_privilege('argus_planner', 'argus.invitation', 'token_hash', 'SELECT')";
    assert_eq!(one(&mut session, secrets).await, "false");
}

#[tokio::test]
async fn built_in_roles_are_in_every_organization_and_cannot_be_changed() {
    let database = two_organizations().await;
    let mut session = database.session().await;
    let built_in = "SELECT count(*) FROM argus.role WHERE built_in AND organization = 'acme'";
    assert_eq!(one(&mut session, built_in).await, argus::model::kinds::role::BUILT_IN.len().to_string());
    for write in [
        "UPDATE argus.role SET permissions = '{*}' WHERE name = 'viewer'",
        "DELETE FROM argus.role WHERE name = 'viewer'",
        "INSERT INTO argus.role (organization, name, built_in) VALUES ('acme', 'god', true)",
        "UPDATE argus.role SET built_in = true WHERE name = 'auditor'",
    ] {
        assert_eq!(refused(&mut session, write).await, "42501", "{write}");
    }
    assert_eq!(
        one(&mut session, "SELECT count(*) FROM argus.audit WHERE name = 'viewer' AND kind = 'Role'").await,
        "0"
    );
    let before = clock(&mut session, "acme").await;
    run(
        &mut session,
        "SET ROLE argus_owner; UPDATE argus.built_in_role SET permissions = '{a:b}' WHERE name = 'viewer';
         SELECT argus.spread_built_in_roles(); RESET ROLE",
    )
    .await;
    let spread = "SELECT count(*) FROM argus.role WHERE name = 'viewer' AND permissions = '{a:b}'";
    assert_eq!(one(&mut session, spread).await, "2");
    assert_eq!(clock(&mut session, "acme").await, before, "that is no write to an organization");
}

/// A column with what the database says of it.
struct Held {
    default: serde_json::Value,
    nullable: bool,
    data_type: String,
}

async fn held(session: &mut PgConnection, table: &str, column: &str) -> Held {
    let row = sqlx::query(
        "SELECT coalesce(column_default, 'NULL'), is_nullable = 'YES', udt_name::text FROM information_schema.columns
         WHERE table_schema = 'argus' AND table_name = $1 AND column_name = $2",
    )
    .bind(table)
    .bind(column)
    .fetch_optional(&mut *session)
    .await
    .expect("columns")
    .unwrap_or_else(|| panic!("argus.{table} has no column {column}"));
    let default: String = row.get(0);
    let default = one(session, &format!("SELECT to_jsonb(CAST({default} AS {}))", row.get::<String, _>(2))).await;
    let default = if default.is_empty() { "null".to_owned() } else { default };
    Held { default: serde_json::from_str(&default).expect("JSON"), nullable: row.get(1), data_type: row.get(2) }
}

async fn check_column(session: &mut PgConnection, table: &str, column: &str, field: &Field) {
    let held = held(session, table, column).await;
    let preset = serde_json::to_value(field.preset.value()).expect("JSON");
    let shown = format!("argus.{table}.{column}");
    assert_eq!(held.default, preset, "{shown}: the default and the preset differ");
    assert_eq!(held.nullable, !field.required && preset.is_null(), "{shown}: whether it can be null");
    let wanted = match field.shape {
        Shape::Bool => "bool",
        Shape::Int { .. } => "int8",
        Shape::Time => "timestamptz",
        Shape::Set { item: Shape::Int { .. }, .. } => "_int8",
        Shape::Set { .. } => "_text",
        Shape::List { .. } | Shape::Map { .. } => "jsonb",
        _ => "text",
    };
    assert_eq!(held.data_type, wanted, "{shown}");
}

#[tokio::test]
async fn the_columns_of_every_kind_have_the_presets_of_its_fields() {
    let database = Database::new().await;
    let mut session = database.session().await;
    for kind in KINDS {
        let Some(table) = kind.table else { continue };
        let mut known = vec!["id".to_owned(), "version".to_owned(), kind.key.column().to_owned()];
        if kind.scope == Scope::Child {
            known.push("organization".to_owned());
        }
        for (_, field) in kind.stored_fields() {
            match (field.column, field.shape) {
                (Column::Side { table: side, .. }, Shape::List { fields, .. }) => {
                    for item in fields {
                        let column = item.column_name().unwrap_or_else(|| snake_case(item.path));
                        // Records are whole rows: what has no preset must be given.
                        let required = Field { required: item.preset == argus::model::shape::Preset::Null, ..*item };
                        check_column(&mut session, side, &column, &required).await;
                    }
                }
                (Column::Side { table: side, item }, _) => assert!(!held(&mut session, side, item).await.nullable),
                (_, Shape::Money) => {
                    let column = field.column_name().expect("a column");
                    for part in ["minor", "currency"] {
                        let column = format!("{column}_{part}");
                        let held = held(&mut session, table, &column).await;
                        assert_eq!(
                            (held.default.is_null(), held.nullable),
                            (true, !field.required),
                            "{table}.{column}"
                        );
                        known.push(column);
                    }
                }
                _ => {
                    let column = field.column_name().expect("a column");
                    check_column(&mut session, table, &column, field).await;
                    known.push(column);
                }
            }
        }
        known.extend(match table {
            "role" => vec!["built_in".to_owned()],
            "api_key" => ["status", "prefix", "sha256"].map(str::to_owned).to_vec(),
            _ => Vec::new(),
        });
        let unknown = "SELECT string_agg(column_name, ', ') FROM information_schema.columns
                       WHERE table_schema = 'argus' AND table_name = $1 AND NOT column_name = ANY($2)";
        let unknown: Option<String> = sqlx::query_scalar(AssertSqlSafe(unknown))
            .bind(table)
            .bind(known)
            .fetch_one(&mut session)
            .await
            .expect("columns");
        assert_eq!(unknown, None, "argus.{table} has columns that no field has");
    }
}

/// Values that a field must not hold, as SQL.
fn bad_values(shape: &Shape) -> Vec<String> {
    match shape {
        Shape::Int { min, max } => vec![(min - 1).to_string(), (max + 1).to_string()],
        Shape::Line { chars_max } | Shape::Prose { chars_max } => vec![format!("repeat('x', {})", chars_max + 1)],
        Shape::Enum(_) => vec!["'nonsense'".into(), "''".into()],
        Shape::Duration => vec!["'90'".into(), "'soon'".into()],
        Shape::Time => vec!["'2030-01-01T00:00:00.5Z'".into(), "'infinity'".into(), "'20000-01-01T00:00:00Z'".into()],
        Shape::Url => vec!["'http://plain.example'".into(), "'javascript:x'".into()],
        Shape::Set { item: Shape::Int { min, max }, .. } => {
            let mut bad = vec![format!("'{{{}}}'", min - 1), format!("'{{{}}}'", max + 1)];
            bad.extend(["'{50,NULL}'".into(), "'{{50},{60}}'".into()]);
            bad
        }
        Shape::Set { .. } => ["'{a,NULL}'", "'{{a},{b}}'", "array_fill('x'::text, '{10001}')"].map(String::from).into(),
        Shape::Map { .. } => {
            let odd = [r#"'{"x": 1e400}'"#, r#"'{"x": -1e400}'"#, "jsonb_build_object('x', repeat('x', 2000000))"];
            let deep = r#"('{"x":' || repeat('[', 200) || repeat(']', 200) || '}')::jsonb"#;
            [&odd[..], &[deep, "'[]'", "'1'"]].concat().into_iter().map(String::from).collect()
        }
        Shape::List { .. } => vec!["'{}'".into(), "'[[1e400]]'".into()],
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn checks_are_the_last_line_of_defence() {
    let database = two_organizations().await;
    let mut session = database.session().await;
    let mut checked = 0;
    for kind in Kind::stored() {
        let table = kind.table.expect("a table");
        for (_, field) in kind.stored_fields() {
            let Some(column) = field.column_name() else { continue };
            let bad: Vec<String> = match field.shape {
                Shape::Money => {
                    ["_minor\" = -1", "_minor\" = 1000000000000001", "_currency\" = 'usd'", "_currency\" = 'US'"]
                        .iter()
                        .map(|bad| format!("\"{column}{bad}"))
                        .collect()
                }
                shape => bad_values(&shape).into_iter().map(|bad| format!("\"{column}\" = {bad}")).collect(),
            };
            let managed = if table == "role" { "NOT built_in" } else { "true" };
            for bad in bad {
                let write = format!("UPDATE argus.{table} SET {bad} WHERE {managed}");
                assert_eq!(refused(&mut session, &write).await, "23514", "{write}");
                checked += 1;
            }
        }
        let key = kind.key.column();
        let bad_names: &[&str] = match kind.key.shape() {
            Shape::Email => &["Ada@acme.example", "a da@acme.example"],
            _ => &["Acme", "-x", "x-", "a b", "a/b", "", "..", "\u{430}cme"],
        };
        let organization = if kind.scope == Scope::Child { "organization, " } else { "" };
        let of = if kind.scope == Scope::Child { "'acme', " } else { "" };
        for bad in bad_names {
            let write = format!("INSERT INTO argus.{table} ({organization}{key}) VALUES ({of}'{bad}')");
            let state = refused(&mut session, &write).await;
            // A required field that is missing is found first.
            assert!(["23514", "23502"].contains(&state.as_str()), "{write}: {state}");
        }
    }
    assert!(checked > 60, "{checked} bad values were tried");
    let two_owners = "UPDATE argus.api_key SET owner_user = 'ada@acme.example'";
    assert_eq!(refused(&mut session, two_owners).await, "23514");
    let half_money = "UPDATE argus.budget SET override_cap_currency = NULL";
    assert_eq!(refused(&mut session, half_money).await, "23514");
}
