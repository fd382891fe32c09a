//! A controller with a forge: what is pushed is applied at once, what is asked for is planned, and both are told there.

use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ACME, World, run};
use crate::hooks::{Answer, SECRET, hex, send};
use crate::support::forge::{Fault, Forge, OWN, TOKEN};
use crate::support::git::Repository;
use crate::support::git_http::GitHttp;
use crate::support::keys::Key;
use crate::support::tls::authority;

/// How long something may take to come about on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A repository, its forge, and a machine that looks at both.
struct Desk {
    world: World,
    repository: Repository,
    forge: Forge,
}

/// A controller that runs; it is gone when this is dropped.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Desk {
    fn new() -> Desk {
        Desk::at("github", |path| format!("{{url: \"{path}\", ref: main}}"))
    }

    /// A desk with a forge of this name, and the repository at the address that is made of its path.
    fn at(name: &'static str, git: impl Fn(&str) -> String) -> Desk {
        let desk = Desk { world: World::new(), repository: Repository::new(), forge: Forge::start(name) };
        let (git, url) = (git(&desk.repository.path.display().to_string()), desk.forge.url());
        desk.world.write("machine/secret", &format!("{SECRET}\n"));
        desk.world.write("machine/token", &format!("{TOKEN}\n"));
        desk.world.write("machine/ca.pem", &authority().certificate);
        desk.world.write(
            "machine/machine.yaml",
            &format!(
                "controller:\n  listen: 127.0.0.1:0\n  sources:\n    - name: default\n      git: {git}\n      \
                 interval: 6h\n      webhook: {{provider: {name}, secretFile: secret}}\n      forge: {{provider: {name}, url: \"{url}\", \
                 repository: acme/config, tokenFile: token, caFile: ca.pem}}\n"
            ),
        );
        desk.commit("acme.yaml", ACME);
        desk
    }

    fn commit(&self, file: &str, text: &str) -> String {
        self.repository.write(file, text);
        self.repository.commit(file)
    }

    /// A branch off `main` with these files, under the name that the forge gives to what is asked for.
    fn asked(&self, number: i64, files: &[(&str, &str)]) -> String {
        self.repository.git(&["checkout", "-q", "--detach", "main"]);
        files.iter().for_each(|(file, text)| self.repository.write(file, text));
        let head = self.repository.commit("a change");
        self.repository.git(&["update-ref", &format!("refs/pull/{number}/head"), &head]);
        self.repository.git(&["checkout", "-q", "main"]);
        head
    }

    /// Asks for a look, as somebody at the machine does.
    fn reconcile(&self) {
        let mut command = self.world.command(&["reconcile", "default"]);
        command.env("ARGUS_CONFIG", self.world.path("machine/machine.yaml"));
        run(command).ends(0);
    }

    fn start(&self) -> Running {
        self.start_with(|_| {})
    }

    fn start_with(&self, more: impl Fn(&mut std::process::Command)) -> Running {
        let _ = std::fs::remove_file(self.world.path("log"));
        let mut command = self.world.command(&["controller", "--log", "info"]);
        command.env("XDG_CACHE_HOME", self.world.path("cache"));
        command.env("ARGUS_CONFIG", self.world.path("machine/machine.yaml"));
        more(&mut command);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.world.path("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().expect("it starts");
        let began = Instant::now();
        loop {
            let log = self.log();
            let said = log.split_once("served at http://").and_then(|(_, rest)| rest.split_whitespace().next());
            if let Some(address) = said.and_then(|address| address.parse().ok()) {
                return Running { child, address };
            }
            assert!(child.try_wait().expect("it runs").is_none() && began.elapsed() < PATIENCE, "{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.world.path("log")).unwrap_or_default()
    }

    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "{what}: {:?}\n{}", *self.forge.held(), self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The last state of a commit under a name, and what is said of it.
    fn state(&self, commit: &str, context: &str) -> (String, String) {
        let held = self.forge.held();
        let last = held.statuses.iter().rev().find(|one| one.0 == commit && one.1 == context);
        last.map(|(_, _, state, said)| (state.clone(), said.clone())).unwrap_or_default()
    }

    /// All comments of Argus under a number.
    fn comments(&self, number: i64) -> Vec<String> {
        let held = self.forge.held();
        let own = held.comments.iter().filter(|comment| comment.number == number && comment.author == OWN);
        own.map(|comment| comment.text.clone()).collect()
    }
}

fn hook(controller: &Running, event: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let signature = format!("sha256={}", hex(SECRET, &[body.as_bytes()]));
    let headers = [("x-github-event", event), ("x-hub-signature-256", signature.as_str())];
    send(controller.address, "/hooks/default", &headers, body.as_bytes())
}

fn pushed(commit: &str) -> Value {
    json!({"ref": "refs/heads/main", "after": commit, "repository": {"full_name": "acme/config", "default_branch": "main"}})
}

fn opened(number: i64, head: &str) -> Value {
    json!({"action": "synchronize", "number": number, "repository": {"full_name": "acme/config"},
           "pull_request": {"number": number, "head": {"sha": head, "ref": "topic"}, "base": {"ref": "main"}}})
}

#[test]
fn what_is_pushed_is_applied_at_once_and_the_forge_is_told() {
    let desk = Desk::new();
    let first = desk.repository.git(&["rev-parse", "HEAD"]);
    let controller = desk.start();
    let success = ("success".to_owned(), "1 organization as it says".to_owned());
    desk.until("the first commit is told of", || desk.state(&first, "argus/default") == success);
    let second = desk.commit("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"));
    assert_eq!(hook(&controller, "push", &pushed(&second)).body, "woken\n");
    desk.until("the second commit is told of", || desk.state(&second, "argus/default") == success);
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization").trim(), "Acme Two");
    let states: Vec<String> =
        desk.forge.held().statuses.iter().filter(|one| one.0 == second).map(|one| one.2.clone()).collect();
    assert!(states == ["pending", "success"] || states == ["success"], "{states:?}");
    // What cannot be applied is a failure, and what is right again is none.
    let third = desk.commit("globex.yaml", &ACME.replace("acme", "globex").replace("role: owner", "role: nobody"));
    assert_eq!(hook(&controller, "push", &pushed(&third)).body, "woken\n");
    desk.until("the third commit is told of", || desk.state(&third, "argus/default").0 == "failure");
    let fourth = desk.commit("globex.yaml", &ACME.replace("acme", "globex"));
    assert_eq!(hook(&controller, "push", &pushed(&fourth)).body, "woken\n");
    desk.until("the fourth commit is told of", || desk.state(&fourth, "argus/default").0 == "success");
    assert_eq!(desk.state(&fourth, "argus/default").1, "2 organizations as it says");
    assert_eq!(desk.forge.held().complaints, Vec::<String>::new());
}

/// A commit that nothing comes of says why, until something does; where nobody knows the commit, nothing is said.
#[test]
fn a_look_that_comes_to_nothing_is_told_at_its_commit() {
    let key = Key::new("ed25519");
    let allowed = key.path().with_file_name("allowed");
    std::fs::write(&allowed, format!("ada@acme.example {}\n", key.public)).expect("a list");
    let signers = format!("{{allowedSigners: [\"{}\"]}}", allowed.display());
    let desk = Desk::at("github", |path| format!("{{url: \"{path}\", ref: main, verify: head, signers: {signers}}}"));
    let signing = format!("user.signingKey={}", key.path().display());
    let sign = || {
        let how = ["-c", "gpg.format=ssh", "-c", &signing, "commit", "-q", "--amend", "--no-edit", "-S"];
        desk.repository.git(&how);
        desk.repository.git(&["rev-parse", "HEAD"])
    };
    let told = |what: &str, commit: &str, state: &str, words: &str| {
        desk.until(what, || {
            let (now, said) = desk.state(commit, "argus/default");
            now == state && said.contains(words)
        });
    };
    let unsigned = desk.repository.git(&["rev-parse", "HEAD"]);
    let controller = desk.start();
    let push = |commit: &str| assert_eq!(hook(&controller, "push", &pushed(commit)).body, "woken\n");
    told("nobody has signed it", &unsigned, "failure", "ARG1401: ");
    assert_eq!(desk.world.sql("SELECT count(*) FROM argus.organization").trim(), "0");
    let first = sign();
    push(&first);
    told("it is signed", &first, "success", "1 organization as it says");
    // Settings that make no sense, and who mends them.
    desk.commit("argus.yaml", "source: default\nmode: somehow\n");
    let wrong = sign();
    push(&wrong);
    told("the settings are wrong", &wrong, "failure", "argus.yaml");
    desk.commit("argus.yaml", "source: default\n");
    let mended = sign();
    push(&mended);
    told("they are mended", &mended, "success", "1 organization as it says");
    // The same commit, of which the machine thinks otherwise for a while.
    std::fs::write(&allowed, format!("ada@acme.example {}\n", Key::new("ed25519").public)).expect("a list");
    let ask = || desk.reconcile();
    ask();
    told("nobody who may has signed it", &mended, "failure", "ARG1402: ");
    std::fs::write(&allowed, "nonsense\n").expect("a list");
    ask();
    desk.until("the list is wrong", || {
        desk.world.sql("SELECT findings::text LIKE '%ARG1412%' FROM argus.source") == "t"
    });
    assert!(desk.state(&mended, "argus/default").1.contains("ARG1402"), "that is not the fault of the commit");
    std::fs::write(&allowed, format!("ada@acme.example {}\n", key.public)).expect("a list");
    ask();
    told("somebody who may has", &mended, "success", "1 organization as it says");
    // A branch that does not lead on, even if no organization differs.
    desk.repository.git(&["checkout", "-q", "--orphan", "other"]);
    desk.repository.git(&["commit", "-q", "-m", "Another history"]);
    let rewound = sign();
    desk.repository.git(&["branch", "-q", "-M", "other", "main"]);
    push(&rewound);
    told("it is rewound", &rewound, "failure", "does not lead on from");
    desk.repository.git(&["reset", "-q", "--hard", &mended]);
    desk.commit("globex.yaml", &ACME.replace("acme", "globex"));
    let back = sign();
    push(&back);
    told("it leads on again", &back, "success", "2 organizations as it says");
    // A repository that is away has no commit that could be told of.
    let before = desk.forge.held().statuses.len();
    let away = desk.world.path("away");
    std::fs::rename(&desk.repository.path, &away).expect("it is moved away");
    ask();
    desk.until("it is away", || desk.world.sql("SELECT failures > 0 FROM argus.source") == "t");
    std::fs::rename(&away, &desk.repository.path).expect("it is moved back");
    ask();
    desk.until("it is back", || desk.world.sql("SELECT failures = 0 FROM argus.source") == "t");
    assert_eq!(desk.forge.held().statuses.len(), before);
    assert_eq!(desk.forge.held().complaints, Vec::<String>::new());
}

#[test]
fn what_is_asked_for_is_planned_in_one_comment_by_the_rules_of_the_base() {
    let desk = Desk::new();
    desk.commit("argus.yaml", "source: default\nguards: {owners: 1}\n");
    desk.commit(
        "policies/names.rego",
        "package argus.names\nimport rego.v1\ndeny contains \"not this name\" if { some change in input.changes; change.after.displayName == \"Evil\" }\n",
    );
    let controller = desk.start();
    desk.until("it is applied", || desk.world.sql("SELECT count(*) FROM argus.organization").trim() == "1");
    let head = desk.asked(7, &[("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"))]);
    assert_eq!(hook(&controller, "pull_request", &opened(7, &head)).body, "planned\n");
    desk.until("it is planned", || !desk.comments(7).is_empty());
    let comment = desk.comments(7).concat();
    assert!(
        comment.starts_with("<!-- argus:plan default -->\n### Plan: 0 to add, 1 to change, 0 to destroy.\n"),
        "{comment}"
    );
    assert!(comment.contains("Acme Two") && comment.contains("<!-- argus:verdict allowed -->"), "{comment}");
    desk.until("its state is told", || desk.state(&head, "argus/default/plan").0 == "success");
    assert_eq!(desk.state(&head, "argus/default/plan").1, "Plan: 0 to add, 1 to change, 0 to destroy.");
    // Something newer takes its place, and whoever changes the rules is judged by those that hold.
    let rules = "package argus.names\nimport rego.v1\n";
    let evil = ACME.replace("Acme\n", "Evil\n");
    let newer = desk.asked(7, &[("acme.yaml", &evil), ("policies/names.rego", rules)]);
    assert_eq!(hook(&controller, "pull_request", &opened(7, &newer)).body, "planned\n");
    desk.until("the newer one is planned", || desk.comments(7).concat().contains("Evil"));
    let comments = desk.comments(7);
    assert!(
        comments.len() == 1
            && comments[0].contains("not this name")
            && comments[0].contains("this branch changes policies"),
        "{comments:?}"
    );
    desk.until("its state is told", || desk.state(&newer, "argus/default/plan").0 == "failure");
    // What does not go together cannot be planned, and says so.
    let conflict = desk.asked(8, &[("acme.yaml", &ACME.replace("Acme\n", "Here\n"))]);
    desk.commit("acme.yaml", &ACME.replace("Acme\n", "There\n"));
    assert_eq!(hook(&controller, "pull_request", &opened(8, &conflict)).body, "planned\n");
    desk.until("the conflict is told", || desk.comments(8).concat().contains("cannot be merged"));
    desk.until("its state is told", || desk.state(&conflict, "argus/default/plan").0 == "failure");
    assert_eq!(desk.world.sql("SELECT display_name FROM argus.organization").trim(), "Acme", "planning writes nothing");
    assert_eq!(desk.forge.held().complaints, Vec::<String>::new());
    let log = desk.log();
    assert!(!log.contains(SECRET) && !log.contains(TOKEN), "{log}");
}

/// As it is out there: GitLab, a repository on a server, and somebody who pushes to the branch while a change to it is planned.
#[test]
fn what_is_asked_for_on_a_server_is_planned_while_others_push() {
    let root = crate::support::postgres::scratch("served");
    std::fs::create_dir_all(&root).expect("a folder");
    let server = GitHttp::start(&root);
    let (url, authority) = (server.url("config.git"), server.authority().display().to_string());
    let desk = Desk::at("gitlab", |_| format!("{{url: \"{url}\", ref: main, caFile: \"{authority}\"}}"));
    let served = root.join("config.git").display().to_string();
    desk.repository.git(&["clone", "-q", "--mirror", ".", &served]);
    desk.repository.git(&["remote", "add", "served", &served]);
    let controller = desk.start();
    desk.until("it is applied", || desk.world.sql("SELECT count(*) FROM argus.organization").trim() == "1");
    let tell = |event: &str, body: &Value| {
        let headers = [("x-gitlab-event", event), ("x-gitlab-token", SECRET)];
        send(controller.address, "/hooks/default", &headers, body.to_string().as_bytes()).body
    };
    let project = json!({"path_with_namespace": "acme/config", "default_branch": "main"});
    let mut heads = Vec::new();
    for number in 1..=4_i64 {
        let head = desk.asked(number, &[(&format!("o{number}.yaml"), &ACME.replace("acme", &format!("o{number}")))]);
        desk.commit("acme.yaml", &ACME.replace("Acme\n", &format!("Acme {number}\n")));
        desk.repository.git(&["push", "-q", "served", "main", &format!("{head}:refs/merge-requests/{number}/head")]);
        let asked = json!({"object_kind": "merge_request", "project": project, "object_attributes":
            {"iid": number, "action": "open", "target_branch": "main", "last_commit": {"id": head}}});
        assert_eq!(tell("Merge Request Hook", &asked), "planned\n");
        assert_eq!(
            tell("Push Hook", &json!({"ref": "refs/heads/main", "project": project, "after": number})),
            "woken\n"
        );
        heads.push(head);
    }
    for (number, head) in (1..).zip(&heads) {
        desk.until("it is planned", || desk.state(head, "argus/default/plan").0 == "success");
        desk.until("it is commented", || desk.comments(number).len() == 1);
        let comment = desk.comments(number).concat();
        assert!(comment.contains("### Plan: 2 to add, 0 to change, 0 to destroy."), "{comment}");
        let link = format!("{}/acme/config/-/blob/{head}/o{number}.yaml", desk.forge.url());
        assert!(comment.contains(&link), "{link}: {comment}");
    }
    desk.until("what was pushed is applied", || {
        desk.world.sql("SELECT display_name FROM argus.organization").trim() == "Acme 4"
    });
    let last = desk.repository.git(&["rev-parse", "main"]);
    desk.until("it is told", || desk.state(&last, "argus/default").0 == "success");
    assert_eq!(desk.forge.held().complaints, Vec::<String>::new());
    let _ = std::fs::remove_dir_all(&root);
}

#[test]
fn a_forge_that_is_away_holds_up_nothing_and_is_told_when_it_is_back() {
    let desk = Desk::new();
    desk.forge.held().faults = (0..4).map(|_| Fault::status(503, "away")).collect();
    let _controller = desk.start();
    desk.until("it is applied", || desk.world.sql("SELECT count(*) FROM argus.organization").trim() == "1");
    let commit = desk.repository.git(&["rev-parse", "HEAD"]);
    desk.until("it is told", || desk.state(&commit, "argus/default").0 == "success");
    assert!(desk.log().contains("the forge answers 503: away"), "{}", desk.log());
    assert!(desk.forge.held().faults.is_empty());
}

#[test]
fn a_controller_that_dies_between_planning_and_telling_loses_nothing() {
    for point in ["review.after_plan", "report.after_claim", "report.after_tell"] {
        let desk = Desk::new();
        {
            let _controller = desk.start();
            let commit = desk.repository.git(&["rev-parse", "HEAD"]);
            desk.until("it is told", || desk.state(&commit, "argus/default").0 == "success");
        }
        let head = desk.asked(7, &[("acme.yaml", &ACME.replace("Acme\n", "Acme Two\n"))]);
        let mut dying = desk.start_with(|command| {
            command.env("ARGUS_FAILPOINT", point);
        });
        assert_eq!(hook(&dying, "pull_request", &opened(7, &head)).body, "planned\n", "{point}");
        desk.until("it dies", || dying_has_died(&desk));
        assert!(dying.child.wait().expect("it ends").code().is_none(), "{point}: {}", desk.log());
        // Nobody waits for real until what it held is free again.
        desk.world.sql(
            "UPDATE argus.replica SET valid_until = '-infinity'; UPDATE argus.report SET held_until = '-infinity'",
        );
        let _controller = desk.start();
        desk.until("it is told", || desk.state(&head, "argus/default/plan").0 == "success");
        desk.until("it is commented", || desk.comments(7).len() == 1);
        assert_eq!(desk.forge.held().complaints, Vec::<String>::new(), "{point}");
    }
}

/// Whether nobody is connected to the database any more but who asks.
fn dying_has_died(desk: &Desk) -> bool {
    let others =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'argus'";
    desk.world.sql(others).trim() == "0"
}

#[test]
fn the_doctor_looks_at_webhooks_and_forges() {
    for name in ["github", "gitlab", "gitea"] {
        let desk = Desk::at(name, |path| format!("{{url: \"{path}\", ref: main}}"));
        let doctor = || {
            let mut command = desk.world.command(&["doctor"]);
            command.env("ARGUS_CONFIG", desk.world.path("machine/machine.yaml"));
            run(command)
        };
        let (webhook, forge) = ("the webhook of the source `default`", "the forge of the source `default`");
        // That no controller runs is wrong as well.
        doctor().says(&format!("ok    {webhook} has a secret")).says(&format!("ok    {forge} shows its repository"));
        desk.world.write("machine/secret", "short").write("machine/token", "another-token");
        let ran = doctor().ends(1).says(&format!("BAD   {webhook}: the secret has fewer than 16 bytes"));
        ran.says(&format!("BAD   {forge}: the forge answers 401")).does_not_say("another-token");
        desk.world.remove("machine/token");
        doctor().ends(1).says(&format!("BAD   {forge}: ")).says("cannot be read");
        assert_eq!(desk.forge.held().complaints, Vec::<String>::new());
    }
}

#[test]
fn what_makes_no_sense_starts_nothing_and_says_why() {
    let desk = Desk::new();
    let settings = std::fs::read_to_string(desk.world.path("machine/machine.yaml")).expect("settings");
    let refused = |settings: &str, told: &str| {
        desk.world.write("machine/machine.yaml", settings);
        let mut command = desk.world.command(&["controller"]);
        command.env("ARGUS_CONFIG", desk.world.path("machine/machine.yaml"));
        let ran = run(command).ends(1).says("ARG").says(told);
        assert!(!ran.err.contains(SECRET) && !ran.err.contains(TOKEN), "{ran:?}");
    };
    refused(&settings.replace("  listen: 127.0.0.1:0\n", ""), "nothing listens");
    refused(&settings.replace("secretFile: secret", "secretFile: nowhere"), "cannot be read");
    refused(&settings.replace("tokenFile: token", "tokenFile: nowhere"), "cannot be read");
    refused(&settings.replace("acme/config", "../config"), "`repository`");
    refused(
        &settings.replace("webhook: {provider: github", "webhook: {provider: carrier-pigeon"),
        "a webhook comes from one of",
    );
    for empty in ["", "\n", "short\n"] {
        desk.world.write("machine/secret", empty);
        refused(&settings, "`default`");
    }
}
