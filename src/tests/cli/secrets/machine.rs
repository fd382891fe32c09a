//! Secrets of the machine: passwords, keys and tokens that its settings lead to. Everything runs with the loudest log, and
//! everything that leaves is searched: output, rows, files, and what receivers are sent.

use super::{CANARY, quiet};
use crate::cli::{ACME, World};
use crate::support::git::Repository;
use crate::support::git_http::GitHttp;
use crate::support::kafka::{PARTITIONS, PASSWORD, USER, shared};
use crate::support::keys::Key;
use crate::support::receiver::Receiver;
use crate::support::tls::authority;

/// Everything that a database holds, as text.
fn all_rows(world: &World) -> String {
    let tables = world.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'argus'");
    let rows = |table: &str| world.sql(&format!("SELECT t::text FROM argus.{table} t"));
    tables.lines().map(rows).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_secret_of_the_machine_is_in_anything_that_leaves_it() {
    let (world, repository, receiver) = (World::new(), Repository::new(), Receiver::start(|_, _| 204));
    let server = GitHttp::with_user(&repository.path, "bot", &format!("{CANARY}-git"));
    let (key, topics) = (Key::new("ed25519"), shared().topics(PARTITIONS));
    let private = std::fs::read_to_string(key.path()).expect("the key");
    let private = private.lines().nth(1).expect("the first line of what is secret").to_owned();
    let secrets = world.path("../secrets-of-").display().to_string() + &world.database.name();
    std::fs::create_dir_all(&secrets).expect("a folder");
    let file = |name: &str, text: &str| {
        let path = format!("{secrets}/{name}");
        std::fs::write(&path, text).expect("a secret");
        path
    };
    let named: Vec<String> =
        argus::event::Topic::ALL.iter().map(|topic| format!("{topic}: {topics}.{topic}")).collect();
    let settings = format!(
        "git: {{username: bot, passwordFile: {git}, caFile: {git_ca}}}
audit: {{signKey: {key}, heads: {secrets}/heads.ndjson}}
sinks:
  - name: broker
    pseudonymKeyFile: {pseudonyms}
    kafka:
      brokers: ['{broker}']
      topics: {{{topics}}}
      tls: {{caFile: {ca}}}
      sasl: {{username: {USER}, passwordFile: {password}}}
  - {{name: hook, webhook: {{url: '{url}', secretFile: {hook}}}}}
",
        git = file("git", &format!("{CANARY}-git\n")),
        git_ca = server.authority().display(),
        key = key.path().display(),
        pseudonyms = file("pseudonyms", &format!("{CANARY}-pseudonyms\n")),
        broker = shared().login_address(),
        topics = named.join(", "),
        ca = file("ca.pem", &authority().certificate),
        password = file("kafka", PASSWORD),
        url = receiver.url(&format!("/hook?token={CANARY}")),
        hook = file("hook", &format!("{CANARY}-of-the-hook\n")),
    );
    let settings = file("machine.yaml", &settings);
    world.sql("INSERT INTO argus.sink (name) VALUES ('broker'), ('hook')");
    let database = world.database.url.to_string().replacen("argus@", &format!("argus:{CANARY}@"), 1);
    let url = server.url("/.git");
    let git = ["--git", &url, "--ref", "main"];
    let tells = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.args(["--config", &settings]).env("ARGUS_DATABASE_URL", &database);
        command.env("XDG_CACHE_HOME", format!("{secrets}/cache")).env("HOME", &secrets);
        let ran = quiet(command);
        let told = ran.all();
        assert!(!told.contains(PASSWORD) && !told.contains(&private), "{ran}");
        ran
    };
    let commit = |text: &str| {
        repository.write("acme.yaml", text);
        repository.commit("Change");
    };
    commit(ACME);
    tells(&[&["plan"], &git[..]].concat()).ends(0);
    tells(&[&["apply", "--auto-approve"], &git[..]].concat()).ends(0);
    commit(&format!("{ACME}  teams: [{{name: core, displayName: Core}}]\n"));
    for format in ["text", "json", "markdown", "sarif", "junit", "github", "gitlab"] {
        tells(&[&["plan", "--format", format], &git[..]].concat()).ends(0);
    }
    tells(&[&["plan", "-o", ".saved.plan"], &git[..]].concat()).ends(0);
    tells(&[&["apply", "--auto-approve"], &git[..]].concat()).ends(0);
    world.mallory("psql", "UPDATE argus.team SET display_name = 'Else'");
    tells(&[&["drift", "--format", "json"], &git[..]].concat()).ends(0);
    tells(&[&["apply", "--auto-approve"], &git[..]].concat()).ends(0);
    for more in [
        &["audit", "seal"][..],
        &["audit", "heads", "--sign"],
        &["audit", "tail", "--format", "json"],
        &["audit", "verify"],
        &["audit", "export", "-o", ".all.ndjson"],
        &["audit", "export", "-o", ".all.csv"],
        &["history", "--format", "json"],
        &["export", "-o", ".exported"],
        &["get", "runs", "-o", "json"],
        &["relay", "--once"],
        &["doctor"],
        &["schema", "asyncapi", "--sink", "broker"],
    ] {
        tells(more).ends(0);
    }
    // What fails says no more than what works.
    std::fs::write(format!("{secrets}/kafka"), format!("{CANARY}-wrong")).expect("a secret");
    std::fs::write(format!("{secrets}/git"), format!("{CANARY}-wrong")).expect("a secret");
    world.sql("SELECT argus.tell('acme', NULL, NULL, '{resource.updated}', '{x}', ARRAY['{}'])");
    tells(&["relay", "--once", "--sink", "broker"]).ends(1);
    tells(&[&["plan"], &git[..]].concat()).ends(1);

    let mut left = vec![all_rows(&world)];
    assert!(left[0].contains("Else") && left[0].contains("drift.corrected"), "the rows are there");
    let sent = receiver.requests();
    assert!(sent.len() > 5, "{sent:?}");
    left.extend(sent.iter().map(|request| format!("{:?} {}", request.headers, request.body)));
    let messages: Vec<_> =
        argus::event::Topic::ALL.iter().flat_map(|topic| shared().read(&format!("{topics}.{topic}"))).collect();
    assert!(messages.len() > 5, "{messages:?}");
    left.extend(messages.iter().map(|message| format!("{message:?}")));
    for name in [".saved.plan", ".all.ndjson", ".all.csv", ".exported/acme.yaml"] {
        left.push(std::fs::read_to_string(world.path(name)).expect("a file"));
    }
    left.push(std::fs::read_to_string(format!("{secrets}/heads.ndjson")).expect("the heads"));
    for text in left {
        let found = [CANARY, PASSWORD, &private].iter().any(|secret| text.contains(secret));
        assert!(!found, "{text}");
    }
    let _ = std::fs::remove_dir_all(secrets);
}
