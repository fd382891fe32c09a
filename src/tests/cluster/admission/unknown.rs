//! Nobody can tell: the database is away, or the time is over.

use serde_json::json;

use super::{Gated, organization, team};

impl Gated {
    /// Takes the database away from everybody, or gives it back.
    fn allow_connections(&self, allowed: bool) {
        let name = self.database.name();
        let set = format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS {allowed}");
        let end = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'");
        let mut psql = std::process::Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "-At", "-c", &set, "-c", &end]);
        psql.envs(self.database.url.environment()).env("PGDATABASE", "postgres");
        let output = psql.output().expect("psql runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn without_the_database_an_object_is_let_through_and_that_is_said() {
    let gated = Gated::new(&json!(["acme"]));
    gated.allow_connections(false);
    let ignored = gated.try_it(&organization(&json!({}))).well();
    assert!(ignored.err.contains("Warning: ARG1920: nobody has looked at this object"), "{}", ignored.err);
    // What the object alone tells needs no database.
    gated.try_it(&organization(&json!({ "settings": { "password": "hunter22hunter22" } }))).refused("ARG1038");
    gated.allow_connections(true);
    gated.until("it can tell again", || gated.try_it(&organization(&json!({}))).well().err.is_empty());
    assert!(gated.metric("unknown") >= 1.0);
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn without_the_database_an_object_is_refused_where_that_was_asked_for() {
    let gated = Gated::with(&json!(["acme"]), &json!({ "onFailure": "fail" }), &[]);
    gated.allow_connections(false);
    let refused = gated.try_it(&organization(&json!({}))).refused("ARG1920");
    assert!(refused.err.contains("apply it again in a while"), "{}", refused.err);
    gated.allow_connections(true);
    gated.until("it can tell again", || gated.try_it(&organization(&json!({}))).done);
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn an_answer_that_takes_too_long_is_none() {
    let gated = Gated::with(&json!(["acme"]), &json!({ "timeout": "700ms" }), &[]);
    gated.apply(&organization(&json!({}))).well();
    gated.wait("org/acme");
    let mut lock = std::process::Command::new("psql");
    lock.args(["--no-psqlrc", "--quiet"]).envs(gated.database.url.environment());
    lock.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut lock = lock.spawn().expect("psql runs");
    let mut pipe = lock.stdin.take().expect("a pipe");
    let sql = "BEGIN; LOCK TABLE argus.organization, argus.team IN ACCESS EXCLUSIVE MODE;\n";
    std::io::Write::write_all(&mut pipe, sql.as_bytes()).expect("it is written");
    gated.until("it takes too long", || {
        let ran = gated.try_it(&team("core", &json!({}))).well();
        ran.err.contains("ARG1920") && ran.err.contains("within 700ms")
    });
    drop(pipe);
    lock.wait().expect("psql ends");
    gated.until("it can tell again", || gated.try_it(&team("core", &json!({}))).well().err.is_empty());
}
