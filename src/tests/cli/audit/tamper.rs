//! A superuser tampers with the audit: whatever it is, it is found, and the first bad row is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use argus::audit::chain::{Facts, Fault, Place, Point, Report, Row, Seal, verify};
use argus::audit::row::link;
use argus::audit::{Hash, hex};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::super::block_on;
use super::Audited;

/// How many random tamperings are tried within one transaction, and how many through the binary.
const TAMPERINGS: u64 = 1_000;
const TAMPERINGS_BY_BINARY: u64 = 30;

/// How many rows each organization has at least, and where heads were signed.
const ROWS: i64 = 24;

/// The canonical text as PostgreSQL can make it by itself: another implementation of the same form.
const CANONICAL: &str = r#"
    '{"organization":' || to_json(a.organization) || ',"version":' || a.version || ',"ordinal":' || a.ordinal
    || ',"at":"' || to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","kind":' || to_json(a.kind) || ',"name":' || to_json(a.name) || ',"relation":' || to_json(a.relation)
    || ',"action":' || to_json(a.action) || ',"before":' || coalesce(a.before::text, 'null')
    || ',"after":' || coalesce(a.after::text, 'null') || ',"actor":' || coalesce(to_json(a.actor)::text, 'null')
    || ',"via":' || coalesce(to_json(a.via)::text, 'null') || ',"run":' || coalesce(to_json(a.run)::text, 'null')
    || ',"role":' || to_json(a.role) || ',"application":' || coalesce(to_json(a.application)::text, 'null')
    || ',"client_addr":' || coalesce(to_json(a.client_addr::text)::text, 'null')
    || ',"txid":"' || a.txid::text || '"}'"#;

/// A generator that gives the same numbers for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below this one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn sequence(&mut self, first: i64, last: i64) -> i64 {
        first + self.below((last - first + 1) as u64) as i64
    }
}

/// What was done, and what has to be found: the first bad row lies between these two.
struct Tampering {
    sql: String,
    organization: &'static str,
    from: i64,
    to: i64,
}

/// A chain, as it was before.
struct Chain {
    places: BTreeMap<i64, Place>,
    heads: Vec<Point>,
}

impl Chain {
    fn end(&self) -> i64 {
        *self.places.keys().next_back().expect("a row")
    }

    /// The rows among which a head tells that this one is.
    fn between_heads(&self, sequence: i64) -> (i64, i64) {
        let good = self.heads.iter().map(|head| head.sequence).filter(|head| *head < sequence).max();
        let bad = self.heads.iter().map(|head| head.sequence).filter(|head| *head >= sequence).min();
        (good.unwrap_or(0) + 1, bad.expect("a head behind every row"))
    }
}

const ORGANIZATIONS: [&str; 2] = ["acme", "globex"];

/// The changes to one column each.
const COLUMNS: &[&str] = &[
    "at = at + interval '1 microsecond'",
    "kind = kind || 'x'",
    "name = 'somebody else'",
    "relation = 'invitation'",
    "action = CASE action WHEN 'insert' THEN 'delete' ELSE 'insert' END",
    "before = '{\"forged\": true}'",
    "after = coalesce(after, '{}') || '{\"big\": 100000000000000000000000000000001}'",
    "actor = coalesce(actor, '') || ' '",
    "via = 'elsewhere'",
    "run = coalesce(run, '') || 'x'",
    "role = 'nobody'",
    "application = NULLIF('', application || 'x') || 'y'",
    "client_addr = '192.0.2.1'",
    "txid = '1'",
];

fn tampering(dice: &mut Dice, chains: &BTreeMap<&'static str, Chain>) -> Tampering {
    let organization = ORGANIZATIONS[dice.below(2) as usize];
    let other = ORGANIZATIONS[usize::from(organization == ORGANIZATIONS[0])];
    let chain = &chains[organization];
    let end = chain.end();
    let k = dice.sequence(1, end);
    let of = |sequence: i64| {
        let Place { version, ordinal } = chain.places[&sequence];
        format!("organization = '{organization}' AND version = {version} AND ordinal = {ordinal}")
    };
    let row = of(k);
    let Place { version, ordinal } = chain.places[&k];
    let seal = format!("organization = '{organization}' AND sequence = {k}");
    let behind = format!("organization = '{organization}' AND (version, ordinal) > ({version}, {ordinal})");
    let bytes = hex(&[k as u8; 32]);
    let exactly = |sql: String| Tampering { sql, organization, from: k, to: k };
    match dice.below(16) {
        0..=3 => {
            let column = COLUMNS[dice.below(COLUMNS.len() as u64) as usize];
            let sql = match column.starts_with("application") {
                true => "application = coalesce(application, '') || 'x'",
                false => column,
            };
            exactly(format!("UPDATE argus.audit SET {sql} WHERE {row}"))
        }
        4 => exactly(format!("DELETE FROM argus.audit WHERE {row}")),
        5 => exactly(format!("DELETE FROM argus.seal WHERE {seal}")),
        6 => exactly(format!("DELETE FROM argus.audit WHERE {row}; DELETE FROM argus.seal WHERE {seal}")),
        7 => exactly(format!("UPDATE argus.seal SET hash = '\\x{bytes}' WHERE {seal}")),
        // A row among the sealed ones.
        8 => exactly(format!(
            "INSERT INTO argus.audit SELECT organization, version, ordinal - 1000, at, kind, name, relation, action, \
             before, after, actor, via, run, role, application, client_addr, txid FROM argus.audit WHERE {row} \
             AND NOT EXISTS (SELECT FROM argus.audit b WHERE b.organization = argus.audit.organization \
                             AND b.version = argus.audit.version AND b.ordinal < argus.audit.ordinal); \
             UPDATE argus.audit SET name = name || '!' WHERE {row}"
        )),
        // Two rows change places.
        9 if k < end => {
            let j = dice.sequence(k + 1, end);
            let (to, other) = (chain.places[&j], of(j));
            exactly(format!(
                "UPDATE argus.audit SET version = -1 WHERE {row}; \
                 UPDATE argus.audit SET version = {version}, ordinal = {ordinal} WHERE {other}; \
                 UPDATE argus.audit SET version = {}, ordinal = {} WHERE organization = '{organization}' AND version = -1",
                to.version, to.ordinal
            ))
        }
        // Two seals change places.
        10 if k < end => {
            let j = dice.sequence(k + 1, end);
            let other = format!("organization = '{organization}' AND sequence = {j}");
            exactly(format!(
                "UPDATE argus.seal SET sequence = 1000000 WHERE {seal}; UPDATE argus.seal SET sequence = {k} WHERE {other}; \
                 UPDATE argus.seal SET sequence = {j} WHERE organization = '{organization}' AND sequence = 1000000"
            ))
        }
        // A row goes to another organization, or behind the end.
        11 => {
            exactly(format!("UPDATE argus.audit SET organization = '{other}', version = version + 1000000 WHERE {row}"))
        }
        12 => exactly(format!("UPDATE argus.audit SET version = version + 1000000 WHERE {row}")),
        // The end is cut off; what says where it is stays, or goes along as in an older copy.
        13 if k < end => {
            let along = dice.below(2) == 0;
            let moved = format!(
                "; UPDATE argus.chain c SET sequence = s.sequence, version = s.version, ordinal = s.ordinal, hash = s.hash \
                 FROM argus.seal s WHERE c.organization = s.organization AND s.organization = '{organization}' \
                 AND s.sequence = {k}"
            );
            let sql = format!(
                "DELETE FROM argus.audit WHERE {behind}; DELETE FROM argus.seal WHERE {behind}{}",
                if along { &moved } else { "" }
            );
            Tampering { from: k + 1, to: k + 1, ..exactly(sql) }
        }
        // Where it ends is said otherwise.
        14 => {
            let at = dice.sequence(1, end);
            let (sql, first) = match dice.below(3) {
                0 => (
                    format!("UPDATE argus.chain SET hash = '\\x{bytes}' WHERE organization = '{organization}'"),
                    end + 1,
                ),
                1 => (format!("DELETE FROM argus.chain WHERE organization = '{organization}'"), 1),
                _ => {
                    let at = if at == end { end + 7 } else { at };
                    let sql = format!("UPDATE argus.chain SET sequence = {at} WHERE organization = '{organization}'");
                    (sql, at.min(end) + 1)
                }
            };
            Tampering { from: first, to: first, ..exactly(sql) }
        }
        // A row changes, and all links behind it are computed anew.
        _ => {
            let (from, to) = chain.between_heads(k);
            let sql = format!(
                "UPDATE argus.audit SET actor = 'nobody at all' WHERE {row}; SELECT pg_temp.relink('{organization}', {k})"
            );
            Tampering { from, to, ..exactly(sql) }
        }
    }
}

/// Computes all links from a place on anew, as somebody would who has read the documentation.
fn relink() -> String {
    format!(
        "CREATE FUNCTION pg_temp.relink(of_organization text, start bigint) RETURNS void LANGUAGE plpgsql AS $f$
         DECLARE last bytea := coalesce((SELECT hash FROM argus.seal s WHERE s.organization = of_organization
                                         AND s.sequence = start - 1), decode(repeat('00', 32), 'hex'));
                 r record;
         BEGIN
             FOR r IN SELECT s.sequence, {CANONICAL} AS canonical
                      FROM argus.seal s JOIN argus.audit a USING (organization, version, ordinal)
                      WHERE s.organization = of_organization AND s.sequence >= start ORDER BY s.sequence
             LOOP
                 last := sha256('argus-audit-v1'::bytea || '\\x00'::bytea || last || int8send(r.sequence)
                                || convert_to(r.canonical, 'UTF8'));
                 UPDATE argus.seal s SET hash = last WHERE s.organization = of_organization AND s.sequence = r.sequence;
             END LOOP;
             UPDATE argus.chain c SET hash = last WHERE c.organization = of_organization;
         END $f$"
    )
    .replace(
        "USING (organization, version, ordinal)",
        "ON a.organization = s.organization AND a.version = s.version AND a.ordinal = s.ordinal",
    )
}

fn hash(row: &sqlx::postgres::PgRow, at: usize) -> Hash {
    row.get::<Vec<u8>, _>(at).try_into().expect("a hash")
}

/// What is in the database now, judged by the pure code alone.
async fn judged(session: &mut PgConnection, heads: &BTreeMap<&'static str, Chain>) -> Report {
    let rows = format!(
        "SELECT a.organization, a.version, a.ordinal, {CANONICAL} FROM argus.audit a ORDER BY organization COLLATE \"C\", 2, 3"
    );
    let rows = sqlx::query(AssertSqlSafe(rows)).fetch_all(&mut *session).await.expect("rows");
    let seals =
        "SELECT organization, sequence, version, ordinal, hash FROM argus.seal ORDER BY organization COLLATE \"C\", 2";
    let seals = sqlx::query(seals).fetch_all(&mut *session).await.expect("seals");
    let ends = "SELECT organization, sequence, version, ordinal, hash FROM argus.chain";
    let ends = sqlx::query(ends).fetch_all(&mut *session).await.expect("ends");
    let place = |row: &sqlx::postgres::PgRow, at: usize| Place { version: row.get(at), ordinal: row.get(at + 1) };
    let organization = |row: &sqlx::postgres::PgRow| -> Arc<str> { row.get::<String, _>(0).into() };
    let facts: Vec<(Arc<str>, Facts)> = ORGANIZATIONS
        .iter()
        .map(|name| {
            let end = ends.iter().find(|row| *organization(row) == **name);
            let end = end.map(|row| (Point { sequence: row.get(1), hash: hash(row, 4) }, place(row, 2)));
            let heads = heads.get(name).map(|chain| chain.heads.clone()).unwrap_or_default();
            (Arc::from(*name), Facts { end, checkpoints: Vec::new(), heads })
        })
        .collect();
    let seals = seals.iter().map(|row| Seal {
        organization: organization(row),
        sequence: row.get(1),
        place: place(row, 2),
        hash: hash(row, 4),
    });
    let rows = rows.iter().map(|row| Row {
        organization: organization(row),
        place: place(row, 1),
        canonical: row.get::<String, _>(3).into_bytes(),
    });
    verify(&facts, seals, rows)
}

/// Two chains, with heads here and there and at their ends.
fn chains(audited: &Audited) -> BTreeMap<&'static str, Chain> {
    for organization in ORGANIZATIONS {
        for part in 0..3 {
            audited.write(organization, 4);
            audited.world.mallory(
                "psql",
                &format!("INSERT INTO argus.team (organization, name) SELECT '{organization}', 't{part}' || i FROM generate_series(1, 4) i"),
            );
            audited.seal();
            audited.run(&["audit", "heads", "--sign"]).ends(0);
        }
    }
    let chain = |organization: &'static str| {
        let of = |sql: &str| audited.world.sql(&sql.replace("{}", organization));
        let numbers = |line: &str| line.split('|').map(|part| part.parse().expect("a number")).collect::<Vec<i64>>();
        let places = of("SELECT sequence, version, ordinal FROM argus.seal WHERE organization = '{}'");
        let places = places.lines().map(numbers).map(|n| (n[0], Place { version: n[1], ordinal: n[2] })).collect();
        let heads = of(
            "SELECT sequence || ' ' || encode(hash, 'hex') FROM argus.head WHERE organization = '{}' ORDER BY sequence",
        );
        let heads = heads.lines().map(|line| {
            let (sequence, hash) = line.split_once(' ').expect("two words");
            let hash = argus::audit::hash_of_hex(hash).expect("a hash");
            Point { sequence: sequence.parse().expect("a number"), hash }
        });
        (organization, Chain { places, heads: heads.collect() })
    };
    let chains: BTreeMap<_, _> = ORGANIZATIONS.into_iter().map(chain).collect();
    assert!(
        chains
            .values()
            .all(|chain| chain.end() >= ROWS && chain.heads.last().is_some_and(|head| head.sequence == chain.end()))
    );
    chains
}

fn found<'a>(faults: &'a [Fault], organization: &str) -> Option<&'a Fault> {
    faults.iter().find(|fault| *fault.organization == *organization)
}

#[test]
fn a_thousand_random_tamperings_are_all_found_with_their_first_row() {
    let audited = Audited::new();
    let chains = chains(&audited);
    block_on(async {
        let mut session = audited.world.database.session().await;
        let run = |sql: String| AssertSqlSafe(sql);
        let clean = judged(&mut session, &chains).await;
        assert!(clean.faults.is_empty() && clean.unsealed == 0 && clean.heads > 6, "{clean:?}");
        sqlx::raw_sql(run(relink())).execute(&mut session).await.expect("a function");
        sqlx::raw_sql("BEGIN; SET LOCAL session_replication_role = replica")
            .execute(&mut session)
            .await
            .expect("it begins");
        let mut forms = std::collections::BTreeSet::new();
        for seed in 1..=TAMPERINGS {
            let Tampering { sql, organization, from, to } = tampering(&mut Dice::new(seed), &chains);
            sqlx::raw_sql(run(format!("SAVEPOINT t; {sql}")))
                .execute(&mut session)
                .await
                .unwrap_or_else(|e| panic!("{sql}: {e}"));
            let report = judged(&mut session, &chains).await;
            sqlx::raw_sql("ROLLBACK TO t").execute(&mut session).await.expect("it is taken back");
            let fault = found(&report.faults, organization);
            let fault = fault.unwrap_or_else(|| panic!("{seed}: nothing was found after {sql}: {report:?}"));
            assert!(
                (from..=to).contains(&fault.from) && fault.from <= fault.to,
                "{seed}: {sql}\n{fault:?}, and not {from}..={to}"
            );
            assert!(fault.to <= to.max(chains[organization].end() + 7), "{seed}: {sql}\n{fault:?}");
            forms.insert(format!("{:?}", fault.what));
        }
        assert!(forms.len() >= 7, "{forms:?}");
        assert!(judged(&mut session, &chains).await.faults.is_empty());
    });
}

#[test]
fn what_is_found_by_the_code_is_found_by_the_command() {
    let audited = Audited::new();
    let chains = chains(&audited);
    let tables = ["audit", "seal", "chain"];
    let backup: String = tables.map(|table| format!("CREATE TABLE public.{table} AS TABLE argus.{table};")).concat();
    let restore: String = tables
        .map(|table| format!("DELETE FROM argus.{table}; INSERT INTO argus.{table} TABLE public.{table};"))
        .concat();
    audited.world.sql(&backup);
    audited.verify().ends(0);
    for seed in 1..=TAMPERINGS_BY_BINARY {
        let Tampering { sql, organization, from, to } = tampering(&mut Dice::new(seed), &chains);
        // Each through a connection of its own.
        let function = if sql.contains("relink") { relink() + ";" } else { String::new() };
        audited.world.sql(&format!("{function} BEGIN; SET LOCAL session_replication_role = replica; {sql}; COMMIT"));
        let ran = audited.run(&["audit", "verify", "--format", "json"]).ends(7);
        let faults = ran.json()["report"]["faults"].as_array().expect("faults").clone();
        let fault = faults.iter().find(|fault| fault["organization"] == organization);
        let first = fault.and_then(|fault| fault["from"].as_i64()).unwrap_or_else(|| panic!("{sql}: {ran}"));
        assert!((from..=to).contains(&first), "{seed}: {sql}\n{ran}");
        audited.world.sql(&format!("BEGIN; SET LOCAL session_replication_role = replica; {restore} COMMIT"));
    }
    audited.verify().ends(0);
    // An organization of which nothing is left is missed by its heads.
    audited.tamper("DELETE FROM argus.audit WHERE organization = 'acme'; DELETE FROM argus.seal WHERE organization = 'acme';
                    DELETE FROM argus.chain WHERE organization = 'acme'; DELETE FROM argus.head WHERE organization = 'acme'");
    audited.verify().ends(7).says("ARG1802").says("`acme`: rows 1 to");
    audited.run(&["audit", "verify", "-O", "globex"]).ends(0).does_not_say("acme");
    audited.run(&["audit", "verify", "-O", "acme", "-O", "globex"]).ends(7).says("`acme`");
}

#[test]
fn an_older_copy_that_goes_on_is_found_by_the_heads_that_were_kept() {
    let audited = Audited::new();
    let tables = ["audit", "seal", "chain", "head", "unsealed"];
    audited.write("acme", 3);
    audited.seal();
    audited.run(&["audit", "heads", "--sign"]).ends(0);
    let backup: String = tables.map(|table| format!("CREATE TABLE public.{table} AS TABLE argus.{table};")).concat();
    audited.world.sql(&backup);
    let before: i64 =
        audited.world.sql("SELECT sequence FROM argus.chain WHERE organization = 'acme'").parse().expect("a number");
    audited.write("acme", 3);
    audited.seal();
    audited.run(&["audit", "heads", "--sign"]).ends(0);
    let restore = |table: &str| {
        format!(
            "DELETE FROM argus.{table} WHERE organization = 'acme'; INSERT INTO argus.{table} SELECT * FROM public.{table} WHERE organization = 'acme'"
        )
    };
    audited.tamper(&tables.map(restore).join(";"));
    let verify = |audited: &Audited| audited.verification()["report"]["faults"][0].clone();
    let fault = verify(&audited);
    assert_eq!(
        (&fault["what"], &fault["from"], &fault["to"]),
        (&"cut".into(), &(before + 1).into(), &(before + 3).into())
    );
    // It goes on as if nothing had been.
    audited.tamper("DELETE FROM argus.seal WHERE organization = 'acme' AND version > (SELECT version FROM argus.chain WHERE organization = 'acme')");
    audited.write("acme", 5);
    audited.seal();
    let fault = verify(&audited);
    assert_eq!((&fault["what"], &fault["from"]), (&"rewritten".into(), &(before + 1).into()), "{fault}");
    audited.verify().ends(7).says("error[ARG1802]").says("one of them was changed");
    std::fs::remove_file(audited.heads()).expect("the heads go");
    audited.verify().ends(0).says("signed head");
}

#[test]
fn links_of_the_database_are_those_of_the_code() {
    let audited = Audited::new();
    block_on(async {
        let mut session = audited.world.database.session().await;
        let rows = format!(
            "SELECT s.sequence, s.hash, coalesce(p.hash, decode(repeat('00', 32), 'hex')), {CANONICAL}
             FROM argus.seal s
             JOIN argus.audit a ON a.organization = s.organization AND a.version = s.version AND a.ordinal = s.ordinal
             LEFT JOIN argus.seal p ON p.organization = s.organization AND p.sequence = s.sequence - 1"
        );
        let rows = sqlx::query(AssertSqlSafe(rows)).fetch_all(&mut session).await.expect("rows");
        assert!(rows.len() > 3);
        for row in &rows {
            let canonical: String = row.get(3);
            assert_eq!(link(&hash(row, 2), row.get(0), canonical.as_bytes()), hash(row, 1), "{canonical}");
        }
    });
}
