//! Forges are told what waits for them: by a real queue, over TLS, to one that is strict and one that is broken.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argus::engine::reporting;
use argus::metrics::{Form, Metrics};
use argus::sink::forge::{ForgeSettings, Teller};
use argus::store::Store;
use argus::store::reports::{About, Outcome, Report};
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::forge::{Fault, Forge, OWN, TOKEN, Written};
use crate::support::postgres::{Database, one, run, scratch};
use crate::support::receiver::Reply;
use crate::support::tls::authority;

const COMMIT: &str = "5c1f0e6d3b2a49788796a5b4c3d2e1f00f1e2d3c";

/// All forges.
const ALL: [&str; 4] = ["github", "gitlab", "gitea", "forgejo"];

/// How long something is waited for that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that knows how to reach forges.
struct Desk {
    folder: PathBuf,
    database: Database,
    store: Store,
    metrics: Arc<Metrics>,
    forges: BTreeMap<String, Arc<Teller>>,
}

impl Desk {
    async fn new(forges: &[(&str, &str, &Forge)]) -> Desk {
        let folder = scratch("forges");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("token"), format!("{TOKEN}\n")).expect("the token");
        std::fs::write(folder.join("ca.pem"), &authority().certificate).expect("the certificate");
        let database = Database::new().await;
        let store = database.store().await;
        let mut desk = Desk { folder, database, store, metrics: Arc::new(Metrics::new()), forges: BTreeMap::new() };
        for (source, name, forge) in forges {
            let settings = desk.settings(name, &json!({"url": forge.url()})).expect("settings");
            let teller = Teller::open(&settings).expect("a forge");
            desk.forges.insert((*source).to_owned(), Arc::new(teller));
        }
        desk
    }

    fn settings(&self, name: &str, more: &Json) -> Result<ForgeSettings, String> {
        let mut settings =
            json!({"provider": name, "repository": "acme/config", "tokenFile": "token", "caFile": "ca.pem"});
        for (key, value) in more.as_object().expect("an object") {
            settings[key] = value.clone();
        }
        let settings: ForgeSettings = serde_json::from_value(settings).map_err(|error| error.to_string())?;
        Ok(settings.beside(&self.folder))
    }

    async fn status(&self, source: &str, commit: &str, state: &str, text: &str) {
        let target = Some("https://argus.acme.example/runs".to_owned());
        let (context, state) = (format!("argus/{source}"), state.to_owned());
        let about = About::Status { commit: commit.into(), context, state, target };
        let report = Report { source: source.into(), about, text: text.into() };
        self.store.ask_report(&report).await.expect("it is asked for");
    }

    async fn comment(&self, source: &str, number: i64, text: &str) {
        let text = format!("<!-- argus:plan {source} -->\n{text}");
        let report = Report { source: source.into(), about: About::Comment { number }, text };
        self.store.ask_report(&report).await.expect("it is asked for");
    }

    /// Somebody who tells until they are told to stop.
    fn teller(&self) -> (watch::Sender<bool>, JoinHandle<()>) {
        let (tell, told) = watch::channel(false);
        let (store, forges, metrics) = (self.store.clone(), self.forges.clone(), self.metrics.clone());
        (tell, tokio::spawn(async move { reporting::run(&store, &forges, &metrics, told).await }))
    }

    /// Tells all that can be told now.
    async fn tells(&self) {
        let (stop, teller) = self.teller();
        self.until("SELECT count(*) FROM argus.report WHERE asked > told AND due <= clock_timestamp()", "0").await;
        stop.send(true).expect("it listens");
        teller.await.expect("it ends");
    }

    async fn until(&self, query: &str, value: &str) {
        let mut session = self.database.session().await;
        let began = Instant::now();
        loop {
            let now = one(&mut session, query).await;
            if now == value {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{query}: {now} and not {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn sql(&self, sql: &str) {
        run(&mut self.database.session().await, sql).await;
    }

    async fn one(&self, sql: &str) -> String {
        one(&mut self.database.session().await, sql).await
    }

    fn measured(&self, series: &str) -> f64 {
        let text = self.metrics.text(Form::Text);
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_default()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans up.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn states(forge: &Forge) -> Vec<String> {
    forge
        .held()
        .statuses
        .iter()
        .map(|(commit, context, state, _)| format!("{} {context} {state}", &commit[..4]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_forge_is_told_how_it_stands_in_its_own_words() {
    for name in ALL {
        let forge = Forge::start(name);
        let desk = Desk::new(&[("platform", name, &forge)]).await;
        desk.status("platform", COMMIT, "pending", "2 organizations are being looked at").await;
        desk.tells().await;
        // What was told is not told again.
        desk.status("platform", COMMIT, "pending", "2 organizations are being looked at").await;
        desk.tells().await;
        desk.status("platform", COMMIT, "failure", &"ä\n".repeat(1000)).await;
        desk.tells().await;
        // Of what came while nobody told, the newest alone counts.
        desk.status("platform", COMMIT, "pending", "again").await;
        desk.status("platform", COMMIT, "success", "2 organizations were applied").await;
        desk.tells().await;
        let failure = if name == "gitlab" { "failed" } else { "failure" };
        let expected = ["pending", failure, "success"].map(|state| format!("5c1f argus/platform {state}"));
        assert_eq!(states(&forge), expected, "{name}");
        assert_eq!(forge.held().complaints, Vec::<String>::new(), "{name}");
        let longest = if name == "github" { 140 } else { 255 };
        let description = forge.held().statuses[1].3.clone();
        assert!(description.chars().count() == longest && description.ends_with('…'), "{name}: {description}");
        assert_eq!(desk.measured("argus_reports_told_total{source=\"platform\",kind=\"status\"}"), 3.0, "{name}");
        // Told once more, because somebody died before they noted it: nothing is otherwise.
        desk.sql("UPDATE argus.report SET told = 0").await;
        desk.tells().await;
        assert_eq!(states(&forge).last(), expected.last(), "{name}");
        assert_eq!(desk.one("SELECT count(*) FROM argus.report WHERE why IS NOT NULL").await, "0", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_comment_and_it_is_found_again() {
    for name in ALL {
        let forge = Forge::start(name);
        let desk = Desk::new(&[("platform", name, &forge)]).await;
        let mark = "<!-- argus:plan platform -->";
        // Others say much, and somebody pretends to be Argus.
        let other =
            |id: u64, number: i64, text: &str| Written { id, number, author: "mallory".into(), text: text.into() };
        forge.held().comments = (1..=130).map(|id| other(id, 7, &format!("word {id}"))).collect();
        forge.held().comments.push(other(131, 7, &format!("{mark}\n### No changes.\n")));
        forge.held().comments.push(other(132, 8, "elsewhere"));
        let own = |forge: &Forge| {
            let held = forge.held();
            let own = held.comments.iter().filter(|comment| comment.author == OWN);
            own.map(|comment| format!("{} {}", comment.number, comment.text.lines().nth(1).expect("a line")))
                .collect::<Vec<_>>()
        };
        desk.comment("platform", 7, "one").await;
        desk.tells().await;
        desk.comment("platform", 7, "two").await;
        desk.tells().await;
        assert_eq!(own(&forge), ["7 two"], "{name}");
        let asked = forge.requests().len();
        desk.comment("platform", 7, "three").await;
        desk.tells().await;
        assert_eq!(forge.requests().len(), asked + 1, "{name}: its id is known");
        // Nobody knows its id any more: it is found by its first line and its author.
        desk.sql("UPDATE argus.report SET remote = NULL").await;
        desk.comment("platform", 7, "four").await;
        desk.tells().await;
        assert_eq!(own(&forge), ["7 four"], "{name}");
        // Somebody has taken it away.
        forge.held().comments.retain(|comment| comment.author != OWN);
        desk.comment("platform", 7, "five").await;
        desk.comment("platform", 8, "another").await;
        desk.tells().await;
        assert_eq!(own(&forge), ["7 five", "8 another"], "{name}");
        // There are two, whoever did that: one is left.
        let twin = Written { id: 999, number: 7, author: OWN.into(), text: format!("{mark}\ntwin") };
        forge.held().comments.push(twin);
        desk.sql("UPDATE argus.report SET remote = NULL").await;
        desk.comment("platform", 7, "six").await;
        desk.tells().await;
        assert_eq!(own(&forge), ["7 six", "8 another"], "{name}");
        let pretended =
            forge.held().comments.iter().find(|comment| comment.id == 131).map(|comment| comment.text.clone());
        assert_eq!(
            pretended.as_deref(),
            Some(&*format!("{mark}\n### No changes.\n")),
            "{name}: it is left to whoever wrote it"
        );
        assert_eq!(forge.held().complaints, Vec::<String>::new(), "{name}");
        assert_eq!(desk.one("SELECT count(*) FROM argus.report WHERE why IS NOT NULL").await, "0", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_program_that_may_not_ask_whose_it_is_will_do() {
    let forge = Forge::start("github");
    forge.held().anonymous = true;
    let desk = Desk::new(&[("platform", "github", &forge)]).await;
    for text in ["one", "two"] {
        desk.comment("platform", 7, text).await;
        desk.sql("UPDATE argus.report SET remote = NULL").await;
        desk.tells().await;
    }
    let held = forge.held();
    assert_eq!(held.comments.len(), 1);
    assert!(held.comments[0].text.ends_with("two") && held.complaints.is_empty(), "{:?}", held.complaints);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_by_one_who_was_not_answered_is_found_by_the_next() {
    let forge = Forge::start("github");
    let desk = Desk::new(&[("platform", "github", &forge)]).await;
    // Whose it is, the list, and then the comment is written, and the answer lost.
    let through = |status| Fault::Done(Reply { status, ..Reply::default() });
    desk.comment("platform", 7, "one").await;
    forge.held().faults = [Fault::status(502, "bad gateway")].into();
    desk.tells().await;
    assert_eq!(desk.one("SELECT why FROM argus.report").await, "the forge answers 502: bad gateway");
    desk.sql("UPDATE argus.report SET due = '-infinity'").await;
    forge.held().faults.push_back(Fault::Done(Reply {
        status: 200,
        head: String::new(),
        body: json!({"login": OWN}).to_string(),
    }));
    forge.held().faults.push_back(Fault::Done(Reply { status: 200, head: String::new(), body: "[]".into() }));
    forge.held().faults.push_back(through(504));
    desk.tells().await;
    assert_eq!(forge.held().comments.len(), 1, "it was written");
    assert_eq!(desk.one("SELECT told FROM argus.report").await, "0", "and nobody knows");
    desk.sql("UPDATE argus.report SET due = '-infinity'").await;
    desk.tells().await;
    assert_eq!(desk.one("SELECT told FROM argus.report").await, "1");
    assert_eq!(forge.held().comments.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_is_told_later_and_what_never_will_be_is_not() {
    let forge = Forge::start("github");
    let desk = Desk::new(&[("platform", "github", &forge)]).await;
    let reply =
        |status: u16, head: &str, body: &str| Fault::Answer(Reply { status, head: head.into(), body: body.into() });
    let due = "SELECT failures || ' ' || (due > clock_timestamp()) || ' ' || why FROM argus.report";
    let limited = "x-ratelimit-remaining: 0\r\nx-ratelimit-reset: 9999999999\r\n";
    for (round, (fault, told)) in [
        (reply(401, "", "Bad credentials"), "the forge answers 401: Bad credentials"),
        (reply(403, "", "Resource not accessible"), "the forge answers 403: Resource not accessible"),
        (reply(404, "", ""), "the forge answers 404"),
        (reply(500, "", &format!("token {TOKEN}?\u{7}")), "the forge answers 500: token ********?"),
        (reply(301, "", ""), "the forge answers 301, and nobody is followed elsewhere"),
        (reply(201, "", "no json"), "the forge answers what is no JSON"),
        (reply(429, "retry-after: 7200\r\n", ""), "the forge answers 429"),
        (reply(403, limited, "API rate limit exceeded"), "the forge answers 403: API rate limit exceeded"),
    ]
    .into_iter()
    .enumerate()
    {
        forge.held().faults = [fault].into();
        if round == 0 {
            desk.status("platform", COMMIT, "pending", "x").await;
        }
        desk.tells().await;
        assert_eq!(desk.one(due).await, format!("{} true {told}", round + 1));
        let wait = desk.one("SELECT due < clock_timestamp() + interval '61 min' FROM argus.report").await;
        assert_eq!(wait, "true", "{told}: however long a forge wants to be left alone, an hour is the most");
        let long = desk.one("SELECT due > clock_timestamp() + interval '59 min' FROM argus.report").await;
        assert_eq!(long == "true", told.contains("429") || told.contains("limit"), "{told}");
        desk.sql("UPDATE argus.report SET due = '-infinity'").await;
    }
    desk.tells().await;
    assert_eq!(states(&forge), ["5c1f argus/platform pending"]);
    assert_eq!(desk.measured("argus_report_failures_total{source=\"platform\"}"), 8.0);
    // A commit that the forge does not know will not come to be known by asking.
    let gone = format!("dead{}", &COMMIT[4..]);
    desk.status("platform", &gone, "success", "x").await;
    desk.tells().await;
    let row = format!("SELECT (asked = told) || ' ' || why FROM argus.report WHERE subject = '{gone}'");
    assert_eq!(
        desk.one(&row).await,
        format!("true the forge answers 422: {{\"message\":\"No commit found for SHA: {gone}\"}}")
    );
    assert_eq!(forge.held().complaints, Vec::<String>::new());
    // What has waited for days is given up, and says so.
    forge.held().faults = [reply(500, "", "")].into();
    desk.status("platform", COMMIT, "success", "x").await;
    desk.tells().await;
    desk.sql("UPDATE argus.report SET asked_at = asked_at - interval '4 days'").await;
    assert_eq!(desk.store.forget_reports().await.expect("it is tidied up"), 1);
    let row = format!("SELECT (asked = told) || ' ' || why FROM argus.report WHERE subject = '{COMMIT}'");
    assert_eq!(desk.one(&row).await, "true not taken within 3 days: the forge answers 500");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forge_that_does_not_answer_delays_no_other_and_one_that_is_back_is_told_all() {
    let (dead, alive) = (Forge::start("gitlab"), Forge::start("github"));
    let desk = Desk::new(&[("dead", "gitlab", &dead), ("alive", "github", &alive)]).await;
    dead.held().faults = (0..3).map(|_| Fault::Hang(Duration::from_secs(30))).collect();
    for number in 0..6 {
        let commit = format!("{number}{}", &COMMIT[1..]);
        desk.status("dead", &commit, "pending", "x").await;
        desk.status("alive", &commit, "pending", "x").await;
    }
    let (stop, teller) = desk.teller();
    let waiting =
        |source: &str| format!("SELECT count(*) FROM argus.report WHERE source = '{source}' AND asked > told");
    desk.until(&waiting("alive"), "0").await;
    assert_eq!(desk.one(&waiting("dead")).await, "6");
    let seen = desk.store.observe().await.expect("it is looked at").reports;
    assert!(matches!(seen.as_slice(), [(source, 6, age)] if source == "dead" && *age > 0.0), "{seen:?}");
    desk.until("SELECT count(*) FROM argus.report WHERE source = 'dead' AND why LIKE '%timed out%'", "1").await;
    // Whoever is told to stop does so, whatever hangs.
    stop.send(true).expect("it listens");
    teller.await.expect("it ends");
    dead.held().faults.clear();
    desk.sql("UPDATE argus.report SET held_until = '-infinity', due = '-infinity' WHERE asked > told").await;
    desk.tells().await;
    desk.until(&waiting("dead"), "0").await;
    assert_eq!((dead.held().statuses.len(), alive.held().statuses.len()), (6, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_tell_each_thing_once_and_nothing_older_after_something_newer() {
    let forge = Forge::start("gitea");
    let desk = Desk::new(&[("platform", "gitea", &forge)]).await;
    for number in 0..40 {
        desk.status("platform", &format!("{number:02}{}", &COMMIT[2..]), "pending", "x").await;
    }
    let tellers: Vec<_> = (0..3).map(|_| desk.teller()).collect();
    let waiting = "SELECT count(*) FROM argus.report WHERE asked > told";
    desk.until(waiting, "0").await;
    for (stop, teller) in tellers {
        stop.send(true).expect("it listens");
        teller.await.expect("it ends");
    }
    assert_eq!(forge.held().statuses.len(), 40);

    // Somebody holds one and is slow: what comes meanwhile waits, and what they note then counts for nothing.
    desk.status("platform", COMMIT, "pending", "x").await;
    let (first, lease) = (
        desk.store.claim_reports(&["platform"], Duration::from_secs(300)).await.expect("a claim"),
        Duration::from_secs(300),
    );
    assert_eq!(first.len(), 1);
    desk.status("platform", COMMIT, "success", "x").await;
    assert!(desk.store.claim_reports(&["platform"], lease).await.expect("no claim").is_empty(), "it is held");
    let told = Outcome::Told(None);
    assert!(desk.store.note_report(&first[0], &told).await.expect("it is noted"));
    let second = desk.store.claim_reports(&["platform"], lease).await.expect("a claim");
    assert!(matches!(&second[0].report.about, About::Status { state, .. } if state == "success"), "the newest is told");
    desk.sql("UPDATE argus.report SET held_until = '-infinity'").await;
    let third = desk.store.claim_reports(&["platform"], lease).await.expect("a claim");
    assert!(!desk.store.note_report(&second[0], &told).await.expect("it is asked"), "somebody else holds it");
    assert!(desk.store.note_report(&third[0], &told).await.expect("it is noted"));
    assert_eq!(desk.one(waiting).await, "0");
}

#[tokio::test]
async fn settings_of_a_forge_that_cannot_be_right_are_refused() {
    let forge = Forge::start("github");
    let desk = Desk::new(&[]).await;
    std::fs::write(desk.folder.join("lines"), "one\ntwo\n").expect("a file");
    for (name, more, told) in [
        ("sourcehut", json!({}), "github, gitlab, gitea, forgejo"),
        ("github", json!({"token": "in the open"}), "unknown field"),
        ("gitea", json!({}), "`url` says where it is"),
        ("github", json!({"url": "http://forge.example"}), "https://"),
        ("github", json!({"url": "https://user:canary@forge.example"}), "belongs into a file"),
        ("github", json!({"repository": "acme/../config"}), "`acme/config`"),
        ("github", json!({"tokenFile": "nowhere"}), "cannot be read"),
        ("github", json!({"tokenFile": "lines"}), "it is one line"),
        ("github", json!({"caFile": "token"}), "no certificate"),
        ("github", json!({"targetUrl": "javascript:alert(1)"}), "`targetUrl`"),
    ] {
        let why = desk.settings(name, &more).and_then(|settings| Teller::open(&settings).map(drop)).expect_err(told);
        assert!(why.contains(told) && !why.contains("canary"), "{more}: {why}");
    }
    let settings = desk.settings("github", &json!({"url": forge.url()})).expect("settings");
    assert_eq!(settings.reference_of(7), "refs/pull/7/head");
    assert_eq!(desk.settings("gitlab", &json!({})).expect("settings").reference_of(7), "refs/merge-requests/7/head");
    assert!(!format!("{:?}", Teller::open(&settings).expect("a forge")).contains(TOKEN));
    // Nobody whom the settings do not name is trusted.
    let settings = desk.settings("github", &json!({"url": forge.url(), "caFile": null})).expect("settings");
    let teller = Teller::open(&settings).expect("a forge");
    let told = teller.comment(7, "<!-- argus:plan x -->\n", None).await;
    assert!(format!("{told:?}").contains("certificate") && forge.requests().is_empty(), "{told:?}");
}
