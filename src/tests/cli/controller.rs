//! The controller: real repositories, a real database, processes that are stopped, paused and killed.

mod history;
mod measured;
mod replicas;
mod retried;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{ACME, Ran, World, run};
use crate::support::git::Repository;

/// How long something may take to come about on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A database, a repository, and the settings of a machine that looks at it.
struct Desk {
    world: World,
    repository: Repository,
}

/// A controller that runs; it is gone when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "kill {name}");
    }
}

impl Desk {
    /// One source, `default`, that is looked at when somebody asks and hardly ever beside.
    fn new() -> Desk {
        let desk = Desk { world: World::new(), repository: Repository::new() };
        desk.settings("interval: 6h");
        desk
    }

    /// The same with one organization.
    fn acme() -> Desk {
        let desk = Desk::new();
        desk.commit("acme.yaml", ACME);
        desk
    }

    /// Sets how the source is looked at.
    fn settings(&self, how: &str) {
        self.settings_beside("", how);
    }

    /// The same, with keys of the controller itself.
    fn settings_beside(&self, controller: &str, how: &str) {
        let path = self.repository.path.display();
        let how = how.replace('\n', "\n      ");
        let controller = if controller.is_empty() { String::new() } else { format!("  {controller}\n") };
        let text = format!(
            "controller:\n{controller}  sources:\n    - name: default\n      git: {{url: \"{path}\", ref: main}}\n      {how}\n"
        );
        self.world.write("machine.yaml", &text);
    }

    fn commit(&self, file: &str, text: &str) -> String {
        self.repository.write(file, text);
        self.repository.commit(file)
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.world.command(arguments);
        command.env("XDG_CACHE_HOME", self.world.path("cache")).env("ARGUS_CONFIG", self.world.path("machine.yaml"));
        command
    }

    fn argus(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments))
    }

    /// A controller that does all that is due and ends.
    fn once(&self) -> Ran {
        self.argus(&["controller", "--once"])
    }

    /// The same, with a look that somebody has asked for.
    fn asked(&self) -> Ran {
        self.argus(&["reconcile", "default"]).ends(0);
        self.once()
    }

    /// A controller that goes on.
    fn start(&self) -> Running {
        self.start_with(|_| {})
    }

    fn start_with(&self, more: impl Fn(&mut std::process::Command)) -> Running {
        let mut command = self.command(&["controller", "--log", "info"]);
        more(&mut command);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.world.path("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Running(command.spawn().expect("it starts"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.world.path("log")).unwrap_or_default()
    }

    /// Asks for a look and waits for what comes of it.
    fn reconcile(&self) -> Ran {
        self.argus(&["reconcile", "default", "--wait", "--timeout", "90s"])
    }

    /// Waits until SQL says this.
    #[track_caller]
    fn until(&self, sql: &str, said: &str) {
        let began = Instant::now();
        loop {
            let now = self.world.sql(sql);
            if now.trim() == said {
                return;
            }
            if began.elapsed() > PATIENCE {
                let work = self.argus(&["get", "work", "-o", "wide"]).out;
                panic!("{sql}: {now:?} instead of {said:?}\n{}\n{work}", self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What `get work` says of an organization.
    fn state(&self, organization: &str) -> String {
        let listed = self.argus(&["get", "work", "-O", organization, "-o", "json"]).ends(0).json();
        listed["items"][0]["state"].as_str().unwrap_or("none").to_owned()
    }
}

/// An organization under another name.
fn named(name: &str) -> String {
    ACME.replace("acme", name).replace("Acme", name)
}

#[test]
fn what_is_pushed_is_applied_and_what_is_not_is_left_alone() {
    let desk = Desk::acme();
    desk.commit("globex.yaml", &named("globex"));
    desk.once().ends(0);
    assert_eq!(desk.world.sql("SELECT name FROM argus.organization ORDER BY 1").trim(), "acme\nglobex");
    desk.once().ends(0).says("Stopped after 0 turns.");
    let _controller = desk.start();
    desk.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"));
    let versions = "SELECT string_agg(organization || version, ' ' ORDER BY organization) FROM argus.clock WHERE organization <> ''";
    let before = desk.world.sql(versions);
    desk.reconcile().ends(0).says("Reconciled default: 1 organization; 1 applied.");
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization WHERE name = 'acme'").trim(), "Acme Two");
    assert_eq!(before.replace("acme1", "acme2"), desk.world.sql(versions));
    // Every organization stands at the commit that it was applied from, and planning by hand finds nothing to do.
    let path = desk.repository.path.display().to_string();
    desk.argus(&["plan", "--git", &path, "--detailed-exitcode"]).ends(0).says("No changes.");
    desk.argus(&["get", "sources"]).ends(0).says("default").says("Ready").says("main@sha1:");
    desk.reconcile().ends(0).says("Reconciled default: 0 organizations; nothing was to be done.");
}

#[test]
fn the_interval_alone_brings_a_commit_in() {
    let desk = Desk::acme();
    desk.settings("interval: 1s");
    let _controller = desk.start();
    desk.until("SELECT display_name FROM argus.organization", "Acme");
    desk.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"));
    desk.until("SELECT display_name FROM argus.organization", "Acme Two");
}

#[test]
fn what_somebody_writes_behind_its_back_is_corrected_without_a_look() {
    let desk = Desk::acme();
    let _controller = desk.start();
    desk.until("SELECT display_name FROM argus.organization", "Acme");
    let looks = desk.world.sql("SELECT looked_at FROM argus.source");
    desk.world.mallory("psql", "UPDATE argus.organization SET display_name = 'Mine'");
    desk.until("SELECT display_name FROM argus.organization", "Acme");
    assert_eq!(desk.world.sql("SELECT looked_at FROM argus.source"), looks);
    let drift = "SELECT count(*) FROM argus.event WHERE type LIKE '%drift%'";
    assert_ne!(desk.world.sql(drift).trim(), "0");
}

/// What cannot be applied holds nobody back, is tried ever more seldom, and once more as soon as the source says something
/// else.
#[test]
fn a_poisoned_organization_is_alone_with_its_fate() {
    let desk = Desk::new();
    for number in 0..20 {
        desk.repository.write(&format!("o{number}.yaml"), &named(&format!("o{number}")));
    }
    desk.commit("acme.yaml", ACME);
    desk.world.sql(
        "CREATE FUNCTION argus.poison() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = '23514'; END $$;
         CREATE TRIGGER poison BEFORE INSERT OR UPDATE ON argus.organization
             FOR EACH ROW WHEN (NEW.name = 'acme') EXECUTE FUNCTION argus.poison()",
    );
    let _controller = desk.start();
    desk.until("SELECT count(*) FROM argus.organization", "20");
    desk.until("SELECT failures > 1 FROM argus.work WHERE organization = 'acme'", "t");
    assert_eq!(desk.state("acme"), "Failed");
    desk.argus(&["get", "sources"]).ends(0).says("Degraded");
    desk.argus(&["get", "work"]).ends(0).says("acme").does_not_say("o7");
    // Nobody is waiting for real: the failures are those of a long night.
    desk.world.sql(
        "UPDATE argus.work SET failures = 9, due = clock_timestamp() + interval '1 day' WHERE organization = 'acme'",
    );
    assert_eq!(desk.state("acme"), "Quarantined");
    desk.world.sql("DROP TRIGGER poison ON argus.organization");
    desk.commit("o1.yaml", &named("o1").replace("displayName: o1", "displayName: Other"));
    desk.reconcile().ends(0).says("applied");
    assert_eq!(desk.state("acme"), "Ready");
    assert_eq!(desk.world.sql("SELECT failures FROM argus.work WHERE organization = 'acme'").trim(), "0");
}

#[test]
fn a_source_that_cannot_be_read_is_stalled_and_comes_back() {
    let desk = Desk::acme();
    desk.once().ends(0);
    let away = desk.world.path("away");
    std::fs::rename(&desk.repository.path, &away).expect("it is moved away");
    let _controller = desk.start();
    desk.reconcile().ends(1).says("ARG17");
    desk.argus(&["get", "sources"]).ends(0).says("Stalled");
    let events = "SELECT count(*) FROM argus.event WHERE type LIKE '%source.stalled'";
    assert_eq!(desk.world.sql(events).trim(), "1");
    std::fs::rename(&away, &desk.repository.path).expect("it is moved back");
    desk.reconcile().ends(0);
    desk.argus(&["get", "sources"]).ends(0).says("Ready");
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization").trim(), "Acme");
}

#[test]
fn a_file_that_is_wrong_stops_its_organization_and_no_other() {
    let desk = Desk::acme();
    desk.commit("globex.yaml", &named("globex"));
    let _controller = desk.start();
    desk.until("SELECT count(*) FROM argus.organization", "2");
    desk.repository.write("globex.yaml", &named("globex").replace("displayName: globex", "displayName: Two"));
    desk.commit("acme.yaml", &ACME.replace("role: owner", "rolle: owner"));
    desk.reconcile().ends(1).says("acme").says("did you mean");
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization WHERE name = 'globex'").trim(), "Two");
    assert_eq!(desk.state("acme"), "Blocked");
    desk.commit("acme.yaml", ACME);
    desk.reconcile().ends(0);
    assert_eq!(desk.state("acme"), "Ready");
}

#[test]
fn a_source_waits_for_those_that_it_depends_on() {
    let desk = Desk::acme();
    let base = Repository::new();
    base.write("argus.yaml", "source: base\n");
    base.write("globex.yaml", &named("globex"));
    base.commit("one");
    let away = desk.world.path("away");
    std::fs::rename(&base.path, &away).expect("it is moved away");
    let (first, second) = (desk.repository.path.display(), base.path.display());
    desk.world.write(
        "machine.yaml",
        &format!(
            "controller:\n  sources:\n    - {{name: default, git: {{url: \"{first}\"}}, dependsOn: [base]}}\n    \
             - {{name: base, git: {{url: \"{second}\"}}, interval: 1s}}\n"
        ),
    );
    desk.once().ends(0);
    assert_eq!(desk.world.sql("SELECT count(*) FROM argus.organization").trim(), "0");
    desk.argus(&["get", "sources"]).ends(0).says("Unknown").says("Stalled");
    std::fs::rename(&away, &base.path).expect("it is moved back");
    let _controller = desk.start();
    desk.until("SELECT string_agg(name, ' ' ORDER BY name) FROM argus.organization", "acme globex");
    let order = "SELECT (SELECT looked_at FROM argus.source WHERE name = 'default') > \
                 (SELECT min(tried_at) FROM argus.work WHERE source = 'base')";
    assert_eq!(desk.world.sql(order).trim(), "t");
}

/// Whoever lets through what is held need not wait until it is looked at again.
#[test]
fn an_approval_and_a_resume_wake_what_they_free() {
    let desk = Desk::acme();
    let more = "    - user: grace@acme.example\n      role: admin\n    - user: alan@acme.example\n      role: admin\n";
    desk.commit("acme.yaml", &format!("{ACME}{more}"));
    let machine = std::fs::read_to_string(desk.world.path("machine.yaml")).expect("settings");
    // Roles are shared by all databases of the server, and tests run side by side.
    desk.world.sql(
        "DO $$ BEGIN
             PERFORM pg_advisory_xact_lock(hashtext('argus test roles'));
             IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'test_boss') THEN
                 CREATE ROLE test_boss LOGIN;
                 GRANT argus_approver TO test_boss;
             END IF;
         END $$",
    );
    let approvers = "approvers: [{name: boss, databaseRoles: [test_boss]}]\n";
    desk.world.write("machine.yaml", &format!("{machine}{approvers}"));
    let _controller = desk.start();
    desk.until("SELECT count(*) FROM argus.member", "3");
    desk.commit("acme.yaml", ACME);
    desk.reconcile().ends(4).says("Reconciled default: 1 organization; 1 held.");
    let digest = desk.world.sql("SELECT plan_digest FROM argus.held_plan");
    let mut approving = desk.command(&["approve", digest.trim(), "--auto-approve"]);
    let url = desk.world.database.url.to_string().replace("argus@", "test_boss@");
    approving.env("ARGUS_DATABASE_URL", url).env("ARGUS_ACTOR", "boss");
    run(approving).ends(0);
    desk.until("SELECT count(*) FROM argus.member", "1");
    desk.argus(&["suspend", "acme", "--for", "1h", "--reason", "we look"]).ends(0);
    desk.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"));
    desk.reconcile().ends(4).says("1 stopped");
    desk.argus(&["resume", "acme", "--no-report", "--reason", "seen"]).ends(0);
    desk.until("SELECT display_name FROM argus.organization", "Acme Two");
}

/// Two who undo each other are found out, named, and no longer follow each other's every move; what the source says anew is
/// applied all the same.
#[test]
fn a_fight_is_told_and_slowed_down() {
    let desk = Desk::acme();
    let _controller = desk.start();
    for round in 0..3 {
        desk.until("SELECT display_name FROM argus.organization", "Acme");
        desk.until("SELECT undone FROM argus.work WHERE organization = 'acme'", &round.to_string());
        desk.world.mallory("other-tool", "UPDATE argus.organization SET display_name = 'Mine'");
    }
    desk.until("SELECT undone FROM argus.work WHERE organization = 'acme'", "3");
    desk.world.mallory("other-tool", "UPDATE argus.organization SET display_name = 'Mine'");
    desk.until("SELECT asked > answered AND due > clock_timestamp() + interval '30 seconds' FROM argus.work", "t");
    assert_eq!(desk.state("acme"), "Fighting");
    desk.argus(&["get", "work"]).ends(0).says("mallory through other-tool").says("Organization/acme").says("3 times");
    desk.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"));
    desk.reconcile().ends(0);
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization").trim(), "Acme Two");
}

#[test]
fn it_stops_in_order_when_it_is_told_to() {
    let desk = Desk::acme();
    let mut controller = desk.start();
    desk.until("SELECT display_name FROM argus.organization", "Acme");
    desk.until("SELECT count(*) FROM argus.replica", "2");
    controller.signal("-TERM");
    let ended = controller.0.wait().expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", desk.log());
    assert_eq!(desk.world.sql("SELECT count(*) FROM argus.replica").trim(), "0");
}

#[test]
fn asking_for_what_is_not_there_is_an_error_and_for_what_nobody_hears_a_warning() {
    let desk = Desk::acme();
    desk.argus(&["controller", "--config", "/dev/null"]).ends(1).says("ARG5005").says("nothing to look at");
    desk.argus(&["reconcile", "default"]).ends(1).says("no controller looks at a source `default`");
    desk.once().ends(0);
    desk.argus(&["reconcile", "other"]).ends(1).says("there are: default");
    desk.argus(&["reconcile", "default", "-O", "globex"]).ends(1).says("knows no organization `globex`");
    desk.argus(&["reconcile", "default", "-O", "acme"]).ends(0).says("ARG4101").says("Asked for acme.");
    desk.argus(&["reconcile", "default", "--wait", "--timeout", "1s"]).ends(6).says("was not through within 1s");
    desk.argus(&["get", "sources", "-o", "json"]).ends(0).says("argus.sources").says("\"Reconciling\"");
    desk.once().ends(0);
    desk.argus(&["get", "sources", "default", "-o", "name"]).ends(0).says("default");
    assert_eq!(desk.state("acme"), "Ready");
}

#[test]
fn a_step_that_takes_too_long_is_given_up_and_tried_again() {
    let desk = Desk::acme();
    desk.settings("interval: 1h\ntimeout: 2s");
    let _controller = desk.start();
    desk.until("SELECT display_name FROM argus.organization", "Acme");
    // Somebody sits on the organization, and lets go later.
    let blocker = std::thread::scope(|threads| {
        let blocking = threads.spawn(|| {
            desk.world.sql(
                "BEGIN; SELECT 1 FROM argus.clock WHERE organization = 'acme' FOR UPDATE; SELECT pg_sleep(6); COMMIT",
            )
        });
        desk.until("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6)%' AND state = 'active' AND pid <> pg_backend_pid()", "1");
        desk.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"));
        desk.argus(&["reconcile", "default"]).ends(0);
        desk.until("SELECT findings::text LIKE '%ARG4102%' FROM argus.work WHERE organization = 'acme'", "t");
        blocking.join()
    });
    blocker.expect("the blocker ends");
    desk.until("SELECT display_name FROM argus.organization", "Acme Two");
}

/// An hour in which nothing happens has the looks of its interval, and no work: the clock is moved by moving all that is
/// remembered into the past.
#[test]
fn an_idle_hour_is_idle() {
    let desk = Desk::acme();
    desk.settings("interval: 5m");
    desk.once().ends(0);
    let runs = desk.world.sql("SELECT count(*) FROM argus.run");
    let mut turns = 0;
    for _ in 0..60 {
        desk.world.sql(
            "UPDATE argus.source SET looked_at = looked_at - interval '1 minute', full_at = full_at - interval '1 minute';
             UPDATE argus.work SET due = due - interval '1 minute', tried_at = tried_at - interval '1 minute'",
        );
        let said = desk.once().ends(0).out;
        turns += said
            .trim()
            .trim_start_matches("Stopped after ")
            .trim_end_matches(" turns.")
            .parse::<u32>()
            .expect("a number");
    }
    assert!((9..=12).contains(&turns), "{turns}");
    assert_eq!(desk.world.sql("SELECT count(*) FROM argus.run"), runs);
}

#[test]
fn the_doctor_and_the_events_tell_how_it_goes() {
    let desk = Desk::acme();
    desk.argus(&["doctor"]).ends(1).says("no controller is running").says("the controller looks at 1 source");
    let _controller = desk.start();
    desk.until("SELECT display_name FROM argus.organization", "Acme");
    desk.reconcile().ends(0);
    desk.argus(&["doctor"]).ends(0).says("1 replica of the controller").says("the source `default` is ready");
    desk.argus(&["events", "-O", "acme", "--type", "resource.created"]).ends(0).says("Organization/acme");
    let listed = desk.argus(&["events", "--since", "1h", "--limit", "2", "-o", "json"]).ends(0).json();
    assert_eq!(
        (listed["document"].as_str(), listed["items"].as_array().map(Vec::len)),
        (Some("argus.events"), Some(2))
    );
    desk.argus(&["events", "-O", "globex"]).ends(0).does_not_say("acme");
    desk.argus(&["events", "--since", "soon"]).ends(1).says("no length of time");
    desk.commit("acme.yaml", "nothing: of this\n");
    desk.reconcile().ends(1);
    desk.argus(&["doctor"]).ends(1).says("degraded").says("argus get work default");
}

/// Somebody sits on the organization for longer than work may take to end: what is under way is left, and the database takes
/// it back.
#[test]
fn it_stops_although_something_is_under_way() {
    let desk = Desk::acme();
    let mut controller = desk.start();
    desk.until("SELECT display_name FROM argus.organization", "Acme");
    std::thread::scope(|threads| {
        let blocking = threads.spawn(|| {
            desk.world.sql(
                "BEGIN; SELECT 1 FROM argus.clock WHERE organization = 'acme' FOR UPDATE; SELECT pg_sleep(45); COMMIT",
            )
        });
        let sleeps =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(45)%' AND pid <> pg_backend_pid()";
        desk.until(sleeps, "1");
        desk.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"));
        desk.argus(&["reconcile", "default"]).ends(0);
        desk.until("SELECT count(*) FROM argus.work WHERE argus.is_held(holder)", "1");
        controller.signal("-TERM");
        controller.0.wait().expect("it ends");
        assert!(!blocking.is_finished(), "it has waited for what it should have left\n{}", desk.log());
        assert_eq!(desk.world.sql("SELECT count(*) FROM argus.replica"), "0");
        desk.world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(45)%' AND pid <> pg_backend_pid() AND query NOT LIKE '%terminate%'");
        // Whoever was cut off says so.
        let _ = blocking.join();
    });
    desk.once().ends(0);
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization"), "Acme Two");
}

/// Connections that are cut in the middle of a turn leave nothing behind that nobody takes up.
#[test]
fn whoever_loses_the_database_goes_on_under_another_name() {
    let desk = Desk::acme();
    let _controller = desk.start();
    desk.until("SELECT display_name FROM argus.organization", "Acme");
    for round in 0..5 {
        desk.commit("acme.yaml", &ACME.replace("Acme\n", &format!("Round {round}\n")));
        desk.argus(&["reconcile", "default"]).ends(0);
        desk.world.sql(
            "SELECT pg_sleep(random() / 4); SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE application_name = 'argus' AND datname = current_database() AND pid <> pg_backend_pid()",
        );
        desk.until("SELECT display_name FROM argus.organization", &format!("Round {round}"));
    }
    desk.reconcile().ends(0);
}

/// What `/readyz` says.
fn readiness(port: u16) -> Option<(u16, String)> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: argus\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split("\r\n\r\n").nth(1)?.to_owned()))
}

#[test]
fn it_is_ready_while_the_database_believes_in_it() {
    let desk = Desk::acme();
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let _controller = desk.start_with(|command| {
        command.env("ARGUS_LISTEN", format!("127.0.0.1:{port}"));
    });
    desk.until("SELECT display_name FROM argus.organization", "Acme");
    let until = |wanted: u16, line: &str| {
        let began = Instant::now();
        loop {
            let said = readiness(port);
            if said.as_ref().is_some_and(|(status, text)| *status == wanted && text.contains(line)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{said:?} instead of {wanted} {line}\n{}", desk.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    until(200, "leases ok\n");
    desk.world.sql("ALTER TABLE argus.replica RENAME TO hidden");
    until(503, "leases failed\n");
    desk.world
        .sql("ALTER TABLE argus.hidden RENAME TO replica; UPDATE argus.replica SET valid_until = clock_timestamp()");
    until(200, "database ok\nleases ok\n");
}
