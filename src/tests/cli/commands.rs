//! The commands around planning and applying: locks, targets, listings, explanations, and outputs that go wrong.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use argus::model::code::Code;
use argus::model::kind::{KINDS, Kind};
use argus::store::private::PrivateServer;

use super::{ACME, World, bare, ran, run};
use crate::support::postgres::{CARELESS, Database, scratch, watch};

#[test]
fn planning_writes_nothing_not_even_a_transaction_number() {
    // The numbers are those of a whole server: here is one that nobody else uses.
    let directory = scratch("quiet");
    let server = PrivateServer::start_with(&directory, None, CARELESS).expect("a server");
    let mut watchdog = watch(&directory);
    let world = World::on(Database { url: server.url().clone() });
    world.argus(&["db", "migrate"]).ends(0);
    world.write("acme.yaml", ACME).apply().ends(0);
    world.mallory("psql", "UPDATE argus.organization SET display_name = 'moved'");
    let number = || world.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())");
    let before = number();
    for command in [
        &["plan"][..],
        &["plan", "--full"],
        &["plan", "-o", "saved.plan"],
        &["drift"],
        &["diff"],
        &["export"],
        &["get", "members"],
        &["history"],
        &["db", "status"],
    ] {
        let ran = world.argus(command);
        assert!(matches!((command[0], ran.code), ("diff", Some(1)) | (_, Some(0))), "{ran}");
        assert_eq!(number(), before, "{ran}");
    }
    let refused = |sql: &str| {
        let sql = format!(
            "SET ROLE argus_planner; DO $$ BEGIN {sql}; RAISE 'it was not refused';
             EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
        );
        world.sql(&sql);
    };
    for table in Kind::stored().filter_map(|kind| kind.table).chain(["applied", "pass", "run", "audit", "clock"]) {
        refused(&format!("DELETE FROM argus.{table}"));
        refused(&format!("INSERT INTO argus.{table} DEFAULT VALUES"));
    }
    drop(server);
    drop(watchdog.stdin.take());
    watchdog.wait().expect("it has tidied up");
}

#[test]
fn the_second_run_of_a_source_waits_or_gives_up() {
    let world = World::with(ACME);
    // Somebody holds the clock of the organization, so that the first run has to wait.
    let mut holder = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "-At"])
        .envs(world.database.url.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql runs");
    let mut input = holder.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, b"BEGIN; SELECT argus.hold_clock('acme');\n").expect("psql reads");
    let mut first_byte = [0];
    holder.stdout.take().expect("a pipe").read_exact(&mut first_byte).expect("the clock is held");

    let first = world.command(&["apply", "--auto-approve"]).stdout(Stdio::piped()).spawn().expect("the binary runs");
    while world.sql("SELECT count(*) FROM argus.run") == "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    world.apply().ends(6).says("ARG4004").says("another run of the source `default` is under way");
    world.argus(&["apply", "--auto-approve", "--source", "other", "--target", "globex"]).ends(1).says("ARG2");
    let patient = world.command(&["apply", "--auto-approve", "--lock-timeout", "60"]);
    let waiting = std::thread::spawn(move || run(patient));
    drop(input);
    holder.wait().expect("psql ends");
    assert!(first.wait_with_output().expect("the first ends").status.success());
    // It reads the rows after it has got the lock, and finds nothing left to do.
    waiting.join().expect("the second ends").ends(0).says("No changes.");
}

#[test]
fn a_target_limits_what_is_done() {
    let world = World::with(&format!("{ACME}  teams: [{{name: core}}, {{name: more}}]\n"));
    world.write("globex.yaml", &ACME.replace("acme", "globex"));
    world.argus(&["apply", "--auto-approve", "--target", "acme"]).ends(0);
    assert_eq!(world.sql("SELECT name FROM argus.organization"), "acme");
    world.write(
        "acme.yaml",
        &format!("{ACME}  teams: [{{name: core, displayName: A}}, {{name: more, displayName: B}}]\n"),
    );
    world.argus(&["plan", "--target", "acme/Team/core", "--detailed-exitcode"]).ends(2).does_not_say("Team/more");
    world.argus(&["apply", "--auto-approve", "--target", "acme/Team/core"]).ends(0);
    assert_eq!(world.sql("SELECT name, display_name FROM argus.team ORDER BY 1"), "core|A\nmore|");
    // What was left out is still to be done.
    world.plan().ends(2).says("Team/more").says("Organization/globex").does_not_say("Team/core");
    world.argus(&["plan", "--target", "nobody"]).ends(1).says("there is no organization `nobody`");
    world.argus(&["plan", "--target", "a/b/c/d"]).ends(1).says("names no target");
    world.argus(&["plan", "--target", "acme/Temas/core"]).ends(1).says("is no kind");
}

#[test]
fn nothing_is_applied_unasked() {
    let world = World::with(ACME);
    world.argus(&["apply"]).ends(1).says("nobody is here to be asked").says("--auto-approve");
    assert_eq!(world.sql("SELECT count(*) FROM argus.organization"), "0");
    assert_eq!(world.sql("SELECT count(*) FROM argus.run"), "0");
    world.apply().ends(0);
    // With nothing to change there is nothing to ask.
    world.argus(&["apply"]).ends(0);
}

#[test]
fn rows_are_listed_in_every_form() {
    let world = World::applied(&format!("{ACME}  teams: [{{name: core, displayName: The core}}]\n"));
    world.argus(&["get", "teams"]).ends(0).says("ORGANIZATION").says("The core").does_not_say("VERSION");
    world.argus(&["get", "teams", "-o", "wide"]).ends(0).says("VERSION");
    assert_eq!(world.argus(&["get", "team", "-o", "name"]).ends(0).out, "acme/Team/core\n");
    assert_eq!(world.argus(&["get", "orgs", "-o", "name"]).ends(0).out, "Organization/acme\n");
    let json = world.argus(&["get", "teams", "core", "-O", "acme", "-o", "json"]).ends(0).json();
    assert_eq!(json["items"][0]["spec"]["displayName"], "The core", "{json}");
    // What is listed as manifests can be read as manifests.
    let yaml = world.argus(&["get", "teams", "-o", "yaml"]).ends(0).out;
    assert!(yaml.contains("displayName: The core"), "{yaml}");
    let mut manifests = world.argus(&["get", "organizations", "-o", "yaml"]).out;
    for plural in ["members", "teams"] {
        manifests.push_str(&format!("---\n{}", world.argus(&["get", plural, "-o", "yaml"]).out));
    }
    let other = World::with(&manifests);
    other.argus(&["validate"]).ends(0).says("Valid: 3 resources");
    for kind in Kind::stored() {
        for output in ["table", "wide", "json", "yaml", "name"] {
            world.argus(&["get", kind.plural, "-o", output]).ends(0);
        }
    }
    world.argus(&["get", "teams", "nobody"]).ends(1).says("there is no Team `nobody`");
    world.argus(&["get", "temas"]).ends(1).says("nothing is called `temas`").says("there are: tiers, organizations");
    world.argus(&["get", "teams", "-O", "nobody"]).ends(1).says("there is no organization `nobody`");
    for output in ["table", "wide", "json", "name"] {
        world.argus(&["get", "runs", "-o", output]).ends(0).says("2");
    }
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let world = World::with(ACME);
    let made = Command::new("mkfifo").arg(world.path("pipe")).status().expect("mkfifo runs");
    assert!(made.success());
    for arguments in [&["validate", "pipe"][..], &["plan", "pipe"], &["apply", "pipe", "--auto-approve"]] {
        world.argus(arguments).ends(1).says("pipe is no regular file");
    }
    world.argus(&["show", "pipe"]).ends(1).says("pipe is no regular file");
    world.write("argus.yaml", "paths: [pipe]\n").argus(&["validate"]).ends(1).says("pipe is no regular file");
}

#[test]
fn settings_that_cannot_be_read_are_not_taken_for_none() {
    let world = World::applied(ACME);
    let settings = world.path("argus.yaml");
    std::os::unix::fs::symlink("nowhere.yaml", &settings).expect("a link");
    world.plan().ends(1).says("ARG5005").says("argus.yaml is no regular file");
    std::fs::remove_file(&settings).expect("the link goes");
    world.write(".real.yaml", "mode: apply\n");
    std::os::unix::fs::symlink(".real.yaml", &settings).expect("a link");
    world.plan().ends(1).says("ARG5005");
    std::fs::remove_file(&settings).expect("the link goes");
    std::fs::create_dir(&settings).expect("a folder");
    world.plan().ends(1).says("ARG5005");
    std::fs::remove_dir(&settings).expect("the folder goes");
    for (name, text) in
        [("argus.yml", "source: acme\n"), ("argus.json", "{\"guards\": {\"owners\": 2}}"), ("argus.yml", "token: x\n")]
    {
        world.write(name, text).plan().ends(1).says("ARG5005").says(name).says("rename it to argus.yaml");
        world.remove(name);
    }
    // A manifest may be called so.
    world.remove("acme.yaml").write("argus.yml", ACME);
    world.is_settled();
}

#[test]
fn history_can_be_narrowed() {
    let world = World::applied(&format!("{ACME}  teams: [{{name: core}}]\n"));
    world.write("globex.yaml", &ACME.replace("acme", "globex"));
    world.apply().ends(0);
    world.mallory("night shift", "UPDATE argus.team SET display_name = 'Mine'");
    let all = world.argus(&["history"]).ends(0).says("Team/core").says("globex").says("mallory via night shift");
    assert!(
        all.out.lines().nth(1).expect("a row").contains("display_name: null -> \"Mine\""),
        "the newest is first: {all}"
    );
    world.argus(&["history", "acme"]).ends(0).does_not_say("globex").says("tester via argus");
    world.argus(&["history", "acme", "--kind", "team"]).ends(0).says("Team/core").does_not_say("Member/");
    world.argus(&["history", "acme", "--kind", "member", "--name", "ada@acme.example"]).ends(0).says("Member/ada@");
    world.argus(&["history", "--actor", "mallory"]).ends(0).says("Mine").does_not_say("tester");
    assert_eq!(world.argus(&["history", "--limit", "1"]).ends(0).out.lines().count(), 2);
    world.argus(&["history", "--kind", "temas"]).ends(1).says("`temas` is no kind");
    let json = world.argus(&["history", "--format", "json", "--actor", "mallory"]).ends(0).json();
    assert_eq!(json["items"].as_array().map(Vec::len), Some(1), "{json}");
    world.argus(&["history", "--format", "markdown"]).ends(0).says("| AT |");
}

#[test]
fn the_schema_of_a_database_is_made_and_told_of() {
    let world = World::on(super::block_on(Database::empty()));
    world.argus(&["db", "status"]).ends(1).says("pending");
    world.argus(&["get", "organizations"]).ends(1).says("ARG5004").says("argus db migrate");
    world.argus(&["db", "migrate"]).ends(0).says("Applied");
    world.argus(&["db", "migrate"]).ends(0).says("already");
    world.argus(&["db", "status"]).ends(0).does_not_say("pending");
    let roles = world.argus(&["db", "migrate", "--print-roles"]).ends(0);
    // An administrator can run it, again and again.
    world.sql(&roles.out);
    roles.says("argus_reconciler").says("NOBYPASSRLS");
}

#[test]
fn every_code_and_kind_and_field_is_explained() {
    let explain = |what: &str| run(bare(&["explain", what])).ends(0);
    let index = run(bare(&["explain"])).ends(0).out;
    for code in Code::ALL {
        assert!(index.contains(&code.to_string()), "{code}");
    }
    for code in Code::ALL {
        explain(&code.to_string()).says(code.title());
    }
    for kind in KINDS {
        let page = explain(kind.name).says(kind.about).out;
        assert!(kind.fields.iter().all(|field| page.contains(field.path)), "{page}");
    }
    explain("budget.limit").says("money such as 250 USD");
    explain("org.sso").says("sso.issuer");
    for unknown in ["ARG9999", "Budgets.limt", "nothing", "é"] {
        run(bare(&["explain", unknown])).ends(1).says("neither a code nor a kind nor a field");
    }
}

#[test]
fn the_manual_and_the_completions_know_every_command() {
    let commands =
        ["validate", "plan", "apply", "show", "drift", "diff", "export", "get", "explain", "history", "db", "schema"];
    let manual = run(bare(&["man"])).ends(0);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(bare(&["completions", shell])).ends(0);
        for command in commands {
            assert!(script.out.contains(command) && manual.out.contains(command), "{shell}: {command}");
        }
    }
    run(bare(&["schema"])).ends(0).says("argus.io/v1alpha1");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = World::applied(ACME);
    for arguments in
        [&["explain", "Organization"][..], &["man"], &["schema"], &["plan"], &["export"], &["get", "members"]]
    {
        let mut command = world.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        ran(&command, output).ends(0).does_not_say("panic");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_said_and_leaves_no_half_file() {
    let world = World::with(ACME);
    world.argus(&["plan", "-o", "no/such/folder/saved.plan"]).ends(1).says("ARG5007").says("no/such/folder/saved.plan");
    std::fs::create_dir(world.path("taken")).expect("a folder");
    world.argus(&["plan", "-o", "taken"]).ends(1).says("ARG5007");
    world.argus(&["export", "-o", "acme.yaml"]).ends(1).says("ARG5007").says("acme.yaml");
    let left: Vec<_> =
        std::fs::read_dir(&world.root).expect("the repo").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    // A disk that is full.
    for arguments in [&["schema"][..], &["plan"], &["man"], &["validate"]] {
        let mut command = world.command(arguments);
        command.stdout(std::fs::File::create("/dev/full").expect("a full disk")).stderr(Stdio::piped());
        let output = command.spawn().and_then(std::process::Child::wait_with_output).expect("it ends");
        ran(&command, output).ends(1).says("ARG5007").says("standard output");
    }
}

#[test]
fn colour_comes_only_where_it_is_wanted() {
    let world = World::with(ACME);
    let escape = "\u{1b}[";
    world.plan().does_not_say(escape);
    world.argus(&["plan", "--color", "always"]).says(escape);
    let mut command = world.command(&["plan", "--color", "auto"]);
    command.env("NO_COLOR", "1");
    run(command).does_not_say(escape);
    // Whoever asks for it by flag gets it; markdown and JSON have none in any case.
    for format in ["json", "markdown"] {
        world.argus(&["plan", "--color", "always", "--format", format]).does_not_say(escape);
    }
}

#[test]
fn new_people_get_invitations_and_their_tokens_stand_in_one_file_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::with(ACME);
    let ran = world.argus(&["apply", "--auto-approve", "--invitations", "invitations.csv"]).ends(0);
    let file = world.path("invitations.csv");
    let text = std::fs::read_to_string(&file).expect("the file");
    let token = text.lines().nth(1).and_then(|line| line.strip_prefix("acme,ada@acme.example,")).expect("a token");
    assert_eq!(token.len(), 64, "{text}");
    assert_eq!(std::fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    let ran = ran.does_not_say(token);
    assert!(!ran.out.is_empty());
    assert_eq!(
        world.sql(
            "SELECT token_hash = encode(sha256(convert_to($$TOKEN$$, 'UTF8')), 'hex') FROM argus.invitation"
                .replace("TOKEN", token)
                .as_str()
        ),
        "t"
    );
}

#[test]
fn a_target_that_names_nothing_is_told_of() {
    let world = World::applied(ACME);
    for target in ["acme/Member/nosuch@acme.example", "acme/Team/zzz", "acme/team/", "nobody", "Tier/none"] {
        world.argus(&["plan", "--target", target]).ends(1).says("ARG2014");
    }
    world.argus(&["plan", "--target", "acme/Member/ada@acme.example"]).ends(0);
}

#[test]
fn a_command_line_that_is_wrong_does_not_end_as_a_difference_does() {
    for arguments in [
        &["drift", "--detailed-exitcode", "--polices", "x"][..],
        &["plan", "--detailed-exitcode", "--bogus"],
        &["policy", "test", "--fail-on-warn", "--bogus"],
        &["no-such-command"],
        &[],
    ] {
        run(bare(arguments)).ends(1);
    }
    // Of `diff`, 1 says that something differs.
    run(bare(&["--color", "never", "diff", "--bogus"])).ends(2);
    run(bare(&["--help"])).ends(0).says("or the command line is wrong");
    run(bare(&["--version"])).ends(0);
}

/// The roles that docs/operations.md tells to make do what it says, and no more.
#[test]
fn a_pipeline_plans_and_applies_with_the_roles_that_are_documented() {
    let world = World::with(ACME);
    let document = include_str!("../../../docs/operations.md");
    let begins = document.find("CREATE ROLE ci_plan").expect("the roles");
    let sql = document[begins..].split("```").next().expect("the end of the block");
    // Roles are those of the whole server, and others may have made them.
    for statement in sql.lines().filter_map(|line| line.split(';').next()).chain(["CREATE ROLE ci_half LOGIN"]) {
        let ignored = "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL";
        world.sql(&format!("DO $$ BEGIN {statement}; {ignored}; END $$"));
    }
    world.sql("DO $$ BEGIN GRANT argus_reconciler TO ci_half; EXCEPTION WHEN unique_violation THEN NULL; END $$");
    let as_role = |role: &str, arguments: &[&str]| {
        let url = world.database.url.to_string();
        let (_, rest) = url.split_once('@').expect("a user");
        let mut command = world.command(arguments);
        command.env("ARGUS_DATABASE_URL", format!("postgres://{role}@{rest}"));
        run(command)
    };
    as_role("ci_plan", &["plan"]).ends(0).says("Plan: 2 to add");
    let refused = as_role("ci_plan", &["apply", "--auto-approve"]);
    assert_ne!(refused.code, Some(0), "{refused}");
    refused.says("`argus_reconciler`");
    as_role("ci_half", &["apply", "--auto-approve"]).ends(1).says("`argus_planner`").does_not_say("the log of");
    as_role("ci_apply", &["apply", "--auto-approve"]).ends(0).says("2 added");
    as_role("ci_plan", &["drift"]).ends(0).says("No drift.");
    as_role("ci_plan", &["snapshot", "--unsigned", "-o", "taken.json"]).ends(0);
    let run = world.sql("SELECT id FROM argus.run ORDER BY started_at DESC LIMIT 1");
    as_role("ci_apply", &["rollback", &run, "--auto-approve", "--force"]).ends(0);
}

/// Help tells what is there, and nothing that is not.
#[test]
fn help_promises_what_there_is() {
    let world = World::new();
    world.argus(&["--help"]).ends(0).says("CustomResourceDefinitions").says("controller");
    world.argus(&["apply", "--help"]).ends(0).says("has saved");
    world.argus(&["validate", "--help"]).ends(0).says("with the manifests").does_not_say("saved plan");
}

/// Files of others that lie at the root are no manifests, and it is told how to leave them out.
#[test]
fn a_file_of_another_program_is_left_out_by_naming_paths() {
    let world = World::new();
    world.write("organizations/acme.yaml", ACME).write("mkdocs.yml", "site_name: Acme\n");
    world.argus(&["validate"]).ends(1).says("mkdocs.yml:1:1").says("folders of manifests in `paths` of argus.yaml");
    world.write("argus.yaml", "source: acme\npaths: [organizations]\n");
    world.argus(&["validate"]).ends(0);
}
