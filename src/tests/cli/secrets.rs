//! A secret that is put into every place where somebody might put one appears nowhere: in no output, log or row.

mod machine;

use std::process::Command;

use super::{ACME, Ran, World, bare, run};

/// What is searched for. Nothing else holds it.
const CANARY: &str = "canary7f3a91";

/// Places in an organization that take a secret by mistake, each as lines below `spec`.
const PLACES: &[&str] = &[
    "password: CANARY",
    "settings: {apiKey: CANARY}",
    "settings: {smtp_password: \"CANARY\"}",
    "settings: {note: ghp_CANARYCANARYCANARYCANARY}",
    "settings: {url: \"https://user:CANARY@acme.example/\"}",
    "features: {token: CANARY}",
    "labels: {client-secret: CANARY}",
    "description: \"the key is argus_sk_CANARYCANARYCANARYCANARYCANARY\"",
    "displayName: \"xoxb-CANARY-CANARY\"",
    "logoUrl: \"https://user:CANARY@acme.example/logo.png\"",
    "logoUrl: \"https://acme.example/logo.png?access_token=CANARY\"",
    "sso: {clientSecret: CANARY}",
    "sso: {protocol: oidc, issuer: \"https://a:CANARY@login.example\", clientId: x, domain: acme.example}",
    "notificationChannels: [{name: a, type: slack, config: {webhookUrl: \"https://hooks.slack.com/services/T0/B0/CANARY\"}}]",
    "notificationChannels: [{name: a, type: webhook, config: {url: \"https://user:CANARY@acme.example\"}}]",
    "notificationChannels: [{name: a, type: webhook, config: {url: \"https://hooks.slack.com/services/T0/B0/CANARY\"}}]",
    "notificationChannels: [{name: a, type: email, config: {addresses: [a@acme.example], password: CANARY}}]",
    "apiKeys: [{name: k, owner: {user: ada@acme.example}, scopes: [read], secret: CANARY}]",
    "apiKeys: [{name: k, owner: {user: ada@acme.example}, scopes: [read], key: argus_sk_CANARYCANARYCANARYCANARY}]",
    "apiKeys: [{name: k, owner: {user: ada@acme.example}, scopes: [read], deliverTo: {age: AGE-SECRET-KEY-CANARYCANARY}}]",
    "serviceAccounts: [{name: s, token: CANARY}]",
];

/// Runs the binary with the loudest log and expects it to keep the secret to itself.
fn quiet(mut command: Command) -> Ran {
    command.args(["--log", "trace"]);
    run(command).does_not_say(CANARY)
}

/// Everything that the database remembers in text.
fn remembered(world: &World) -> String {
    ["audit", "applied", "run", "run_organization", "pass", "organization", "notification_channel", "api_key"]
        .map(|table| world.sql(&format!("SELECT t::text FROM argus.{table} t")))
        .join("\n")
}

#[test]
fn a_secret_in_a_manifest_is_refused_and_repeated_nowhere() {
    let world = World::applied(ACME);
    // All at once, so that one pass shows them all.
    for (number, place) in PLACES.iter().enumerate() {
        let text =
            format!("{ACME}  {}\n", place.replace("CANARY", CANARY)).replace("acme\n", &format!("acme-{number}\n"));
        world.write(&format!("{number}.yaml"), &text);
    }
    for format in ["text", "json", "markdown"] {
        for command in ["validate", "plan", "drift"] {
            let ran = quiet(world.command(&[command, "--format", format])).ends(1);
            for (number, place) in PLACES.iter().enumerate() {
                let told = ran.all().contains(&format!("{number}.yaml:"));
                assert!(told || format != "text", "{place} is let through: {ran}");
            }
        }
    }
    for command in [&["apply", "--auto-approve"][..], &["apply", "--auto-approve", "--format", "json"], &["diff"]] {
        assert_ne!(quiet(world.command(command)).code, Some(0));
    }
    quiet(world.command(&["plan", "-o", "saved.plan"])).ends(1);
    let saved = std::fs::read_to_string(world.path("saved.plan")).unwrap_or_default();
    assert!(!saved.contains(CANARY), "{saved}");
    for command in
        [&["export"][..], &["history"], &["history", "--format", "json"], &["get", "organizations", "-o", "json"]]
    {
        quiet(world.command(command)).ends(0);
    }
    assert!(!remembered(&world).contains(CANARY));
    assert_eq!(world.sql("SELECT name FROM argus.organization"), "acme");
}

#[test]
fn the_password_of_a_database_is_told_to_nobody() {
    let world = World::with(ACME);
    let good = world.database.url.to_string().replacen("argus@", &format!("argus:{CANARY}@"), 1);
    assert!(good.contains(CANARY));
    for command in [
        &["plan"][..],
        &["apply", "--auto-approve"],
        &["db", "status"],
        &["history", "--format", "json"],
        &["export"],
        &["drift", "--format", "json"],
        &["db", "migrate", "--print-roles"],
    ] {
        let mut by_flag = bare(command);
        by_flag.current_dir(&world.root).args(["--database-url", &good]);
        quiet(by_flag).ends(0);
    }
    assert!(!remembered(&world).contains(CANARY));
    // Addresses with which nothing can be reached, each wrong in its own way.
    for bad in [
        format!("postgres://argus:{CANARY}@127.0.0.1:1/argus"),
        format!("postgres://argus:{CANARY}@localhost/argus?host=/no/such/folder"),
        format!("postgres://argus@localhost:1/argus?password={CANARY}"),
        format!("postgres://argus:{CANARY}@[/argus"),
        format!("mysql://argus:{CANARY}@localhost/argus"),
        format!("postgres://localhost/argus?pasword={CANARY}"),
        format!("postgres://argus:{CANARY}@localhost:{CANARY}/argus"),
        format!("postgres://argus@localhost:1/argus?sslmode={CANARY}"),
        format!("postgres://argus@localhost:1/argus?options[{CANARY}]={CANARY}&sslmode=x"),
    ] {
        let mut by_environment = bare(&["plan"]);
        by_environment.current_dir(&world.root).env("ARGUS_DATABASE_URL", &bad);
        quiet(by_environment).ends(1).says("ARG500");
        let mut by_flag = bare(&["db", "status"]);
        by_flag.current_dir(&world.root).args(["--database-url", &bad]);
        quiet(by_flag).ends(1);
        world.write("../machine.yaml", &format!("databaseUrl: \"{bad}\"\n"));
        let mut by_file = bare(&["plan", "--config", "../machine.yaml"]);
        by_file.current_dir(&world.root);
        quiet(by_file).ends(1);
    }
    let mut help = bare(&["plan", "--help"]);
    help.env("ARGUS_DATABASE_URL", &good);
    run(help).ends(0).does_not_say(CANARY);
}

#[test]
fn wrong_settings_are_said_without_what_stands_beside_them() {
    let world = World::applied(ACME);
    for settings in [
        "databaseUrl: postgres://argus:CANARY@localhost/argus\nconections: 3\n",
        "databaseUrl: [\"postgres://argus:CANARY@localhost/argus\"]\n",
        "databaseUrl: {password: CANARY}\n",
        "connections: CANARY\n",
        "connections: postgres://argus:CANARY@localhost/argus\n",
        "databaseUrl: \"postgres://argus:CANARY@localhost/argus\n",
        "password=CANARY\n",
        "- CANARY\n",
        "databaseUrl: postgres://argus:CANARY@localhost/argus\ndatabaseUrl: CANARY\n",
    ] {
        let settings = settings.replace("CANARY", CANARY);
        world.write("../machine.yaml", &settings);
        let mut command = world.command(&["plan", "--config", "../machine.yaml"]);
        command.env_remove("ARGUS_DATABASE_URL");
        quiet(command).ends(1).says("ARG5005");
        // In the settings of the source the same holds.
        world.write("argus.yaml", &settings);
        quiet(world.command(&["plan"])).ends(1).says("ARG500");
        world.remove("argus.yaml");
    }
}

#[test]
fn what_the_database_refuses_is_said_without_the_values_of_its_rows() {
    let world = World::applied(ACME);
    world.sql("ALTER TABLE argus.organization ADD CONSTRAINT no_canary CHECK (description IS NULL)");
    world.write("acme.yaml", &ACME.replace("  members:", &format!("  description: {CANARY}\n  members:")));
    for format in ["text", "json"] {
        // The plan shows what the manifest says; the error does not repeat the row.
        let mut command = world.command(&["apply", "--auto-approve", "--format", format]);
        command.args(["--log", "trace"]);
        let ran = run(command).ends(1).says("no_canary");
        assert!(!ran.err.contains(CANARY), "{ran}");
    }
    assert!(!remembered(&world).contains(CANARY));
}

#[test]
fn a_secret_that_somebody_wrote_into_a_row_is_shown_to_nobody() {
    let channel = "  settings: {theme: dark}\n  notificationChannels:\n    - {name: hook, type: webhook, config: {url: \
                   \"https://acme.example/hook\"}}\n";
    let world = World::applied(&format!("{ACME}{channel}"));
    let secrets = [
        "UPDATE argus.notification_channel SET config_url = 'https://hooks.slack.com/services/T0/B0/CANARY'",
        "UPDATE argus.organization SET settings = settings || '{\"password\": \"CANARY\", \"theme\": \"ghp_CANARY\"}'",
        "UPDATE argus.organization SET description = 'the key is argus_sk_CANARYCANARY'",
    ];
    for sql in secrets {
        world.mallory("psql", &sql.replace("CANARY", CANARY));
    }
    for format in ["text", "json", "markdown"] {
        for command in ["plan", "drift", "history"] {
            let mask = if command == "history" && format == "markdown" { r"\*\*\*\*" } else { "********" };
            quiet(world.command(&[command, "--format", format])).ends(0).says(mask);
        }
    }
    quiet(world.command(&["drift", "--emit-patch"]));
    quiet(world.command(&["diff"]));
    for kind in ["organizations", "notificationChannels"] {
        for output in ["table", "wide", "json", "yaml", "name"] {
            quiet(world.command(&["get", kind, "-o", output])).ends(0);
        }
        quiet(world.command(&["get", kind, "-o", "json"])).says("********");
    }
    // What an export leaves out is said, and the rest of it can be read.
    let exported = quiet(world.command(&["export", "-o", ".exported"])).ends(0);
    let exported =
        exported.says("`config.url` of NotificationChannel `hook`").says("`settings` of Organization `acme`");
    exported.says("`description` of Organization `acme`");
    let text = std::fs::read_to_string(world.path(".exported/acme.yaml")).expect("the export");
    assert!(!text.contains("****") && text.contains("displayName: Acme"), "{text}");
    // A saved plan holds what is to be written, for its owner alone, and is still carried out.
    quiet(world.command(&["plan", "-o", ".saved.plan"])).ends(0);
    for format in ["text", "json", "markdown"] {
        quiet(world.command(&["show", ".saved.plan", "--format", format])).ends(0).says("********");
    }
    quiet(world.command(&["apply", ".saved.plan", "--auto-approve"])).ends(0);
    let events = world.sql("SELECT e::text FROM argus.event e");
    assert!(events.contains("drift.corrected") && !events.contains(CANARY), "{events}");
    quiet(world.command(&["history", "--format", "json"])).ends(0);
    let left = world.sql("SELECT config_url FROM argus.notification_channel");
    assert_eq!(left, "https://acme.example/hook");
    // A rollback would bring them back, and shows them no more than anything else.
    let run_id = world.sql("SELECT id FROM argus.run ORDER BY started_at DESC LIMIT 1");
    for (format, mask) in [("text", "********"), ("json", "********"), ("markdown", "********")] {
        quiet(world.command(&["rollback", &run_id, "--plan", "--format", format])).ends(0).says(mask);
    }
    quiet(world.command(&["rollback", &run_id, "--auto-approve"])).ends(0);
}
