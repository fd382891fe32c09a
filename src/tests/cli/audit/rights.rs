//! Who may see and write the chain.

use super::super::{World, block_on};
use super::{ACME, Audited};
use crate::support::postgres::{one, refused};

/// A row that is to be sealed: organization, sequence, version and ordinal.
type Given = (&'static str, i64, i64, i64);

/// What PostgreSQL says to whoever lacks a right.
const DENIED: &str = "42501";

#[test]
fn an_application_sees_the_chain_of_its_own_organization_alone() {
    let audited = Audited::new();
    let database = &audited.world.database;
    block_on(async {
        let mut app = database.session_as("audit_app", "argus_app").await;
        for table in ["audit", "seal", "chain", "head"] {
            let all = format!("SELECT count(*) FROM argus.{table}");
            assert_eq!(one(&mut app, &all).await, "0", "{table}: nobody is named");
            let own = format!("SELECT string_agg(DISTINCT organization, ',') FROM argus.{table}");
            sqlx::raw_sql("SET argus.org = 'globex'").execute(&mut app).await.expect("a setting");
            assert_eq!(one(&mut app, &own).await, "globex", "{table}");
            sqlx::raw_sql("RESET argus.org").execute(&mut app).await.expect("a setting");
        }
        assert_eq!(one(&mut app, "SELECT count(*) FROM argus.checkpoint").await, "0");
        assert_eq!(refused(&mut app, "SELECT * FROM argus.unsealed").await, DENIED);
        for write in [
            "INSERT INTO argus.seal VALUES ('globex', 99, 1, 1, decode(repeat('00', 32), 'hex'))",
            "DELETE FROM argus.seal",
            "SELECT argus.add_seals('{}', '{}', '{}', '{}', '{}')",
            "SELECT argus.prune_audit('globex', 1, '', '', '', '', '')",
        ] {
            assert_eq!(refused(&mut app, write).await, DENIED, "{write}");
        }
    });
}

#[test]
fn nobody_but_a_superuser_changes_or_removes_what_was_sealed() {
    let audited = Audited::new();
    let database = &audited.world.database;
    block_on(async {
        let mut reconciler = database.session_as("audit_reconciler", "argus_reconciler").await;
        let mut owner = database.session_as("audit_owner", "argus_owner").await;
        sqlx::raw_sql("SET ROLE argus_owner").execute(&mut owner).await.expect("the owner");
        for table in ["audit", "seal", "chain", "head", "checkpoint"] {
            for statement in ["DELETE FROM", "TRUNCATE"] {
                let sql = format!("{statement} argus.{table}");
                assert_eq!(refused(&mut reconciler, &sql).await, DENIED, "{sql}");
                if table != "checkpoint" || statement == "TRUNCATE" {
                    assert_eq!(refused(&mut owner, &sql).await, DENIED, "the owner: {sql}");
                }
            }
            let sql = format!("UPDATE argus.{table} SET organization = organization");
            assert_eq!(refused(&mut reconciler, &sql).await, DENIED, "{sql}");
            if table != "checkpoint" {
                assert_eq!(refused(&mut owner, &sql).await, DENIED, "the owner: {sql}");
            }
        }
        for sql in [
            "INSERT INTO argus.seal VALUES ('acme', 99, 1, 1, decode(repeat('00', 32), 'hex'))",
            "INSERT INTO argus.chain VALUES ('initech', 0, 0, 0, decode(repeat('00', 32), 'hex'))",
            "INSERT INTO argus.unsealed VALUES ('acme', 1)",
            "INSERT INTO argus.checkpoint (organization) VALUES ('acme')",
            "INSERT INTO argus.head (organization, sequence, hash, at, key, statement, signature)
             VALUES ('acme', 1, '', now(), '', '', '')",
        ] {
            assert_eq!(refused(&mut reconciler, sql).await, DENIED, "{sql}");
        }
        // A head for a seal that is not there, also by whoever may sign.
        let head = "INSERT INTO argus.head (organization, sequence, hash, key, statement, signature)
                    VALUES ('acme', 9999, '', '', '', '')";
        assert_eq!(refused(&mut reconciler, head).await, "23000");
    });
}

#[test]
fn only_the_rows_that_come_next_are_sealed() {
    let world = World::applied(ACME);
    world.mallory(
        "psql",
        "INSERT INTO argus.team (organization, name) SELECT 'acme', 't' || i FROM generate_series(1, 3) i",
    );
    let number = |sql: &str| world.sql(sql).parse::<i64>().expect("a number");
    let end = number("SELECT sequence FROM argus.chain WHERE organization = 'acme'");
    let version = number("SELECT max(version) FROM argus.audit WHERE organization = 'acme'");
    block_on(async {
        let mut reconciler = world.database.session_as("seal_reconciler", "argus_reconciler").await;
        let hash = "decode(repeat('ab', 32), 'hex')";
        let add = |rows: &[Given], hash: &str| {
            let list = |of: &dyn Fn(&Given) -> String| rows.iter().map(of).collect::<Vec<_>>().join(",");
            format!(
                "SELECT argus.add_seals(ARRAY[{}]::text[], ARRAY[{}]::bigint[], ARRAY[{}]::bigint[], ARRAY[{}]::bigint[], ARRAY[{}]::bytea[])",
                list(&|row| format!("'{}'", row.0)),
                list(&|row| row.1.to_string()),
                list(&|row| row.2.to_string()),
                list(&|row| row.3.to_string()),
                list(&|_| hash.to_owned()),
            )
        };
        for (rows, why) in [
            (vec![("acme", end + 2, version, 1)], "a gap in the sequence"),
            (vec![("acme", end, version, 1)], "a sequence that is taken"),
            (vec![("acme", end + 1, version, 2)], "a row is passed over"),
            (vec![("acme", end + 1, version, 2), ("acme", end + 2, version, 1)], "another order"),
            (vec![("acme", end + 1, version + 1, 1)], "a row that is not there"),
            (vec![("acme", end + 1, version, 1), ("acme", end + 1, version, 1)], "the same twice"),
            (vec![("nobody", 1, 1, 1)], "an organization without rows"),
        ] {
            assert_eq!(refused(&mut reconciler, &add(&rows, hash)).await, "23000", "{why}");
        }
        let next = vec![("acme", end + 1, version, 1)];
        assert_eq!(refused(&mut reconciler, &add(&next, "'\\x00'")).await, "23514", "no hash");
        let left = "SELECT (SELECT sequence FROM argus.chain WHERE organization = 'acme') || ' ' || count(*) FROM argus.unsealed";
        let mut session = world.database.session().await;
        assert_eq!(one(&mut session, left).await, format!("{end} 1"), "nothing was kept");
        // The true continuation is taken, whatever its hash is: the next verify tells.
        sqlx::raw_sql(sqlx::AssertSqlSafe(add(&next, hash))).execute(&mut reconciler).await.expect("it comes next");
        assert_eq!(one(&mut session, left).await, format!("{} 1", end + 1), "two rows of the version still wait");
    });
    world.argus(&["audit", "seal"]).ends(0).says("Sealed 2 rows.");
    world.argus(&["audit", "verify"]).ends(7).says(&format!("row {}", end + 1)).says("ARG1801");
}
