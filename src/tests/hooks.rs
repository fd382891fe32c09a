//! Hooks over real sockets with a real PostgreSQL: who is believed, what is woken, and what nobody can do.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use argus::metrics::{Form, Metrics};
use argus::server::hooks::{Hooked, Hooks};
use argus::server::{self, Beside};
use argus::settings::webhook::WebhookSettings;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use tokio::sync::watch;

use crate::support::postgres::{Database, one, run, scratch};

mod wire;

pub const SECRET: &str = "canary-5d0c9e7a-secret";
const HEAD: &str = "5c1f0e6d3b2a49788796a5b4c3d2e1f00f1e2d3c";

/// A server with the hooks of some sources.
struct Desk {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    _stop: watch::Sender<bool>,
}

/// A folder of secrets.
struct Secrets(PathBuf);

impl Secrets {
    fn new() -> Secrets {
        let folder = scratch("hooks");
        std::fs::create_dir_all(&folder).expect("a folder");
        Secrets(folder)
    }

    /// The section `webhook` of a provider, with these secrets.
    fn section(&self, provider: &str, secrets: &[&str]) -> Result<WebhookSettings, String> {
        let mut files = Vec::new();
        for (number, secret) in secrets.iter().enumerate() {
            let file = self.0.join(format!("{provider}-{number}"));
            std::fs::write(&file, format!("{secret}\n")).expect("a secret");
            files.push(file);
        }
        serde_json::from_value(json!({"provider": provider, "secretFiles": files})).map_err(|error| error.to_string())
    }

    fn webhook(&self, provider: &str) -> WebhookSettings {
        self.section(provider, &[SECRET]).expect("settings")
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn hooked(source: &str, webhook: &WebhookSettings) -> Hooked {
    let (source, webhook) = (source.to_owned(), webhook.clone());
    Hooked { source, webhook, reference: Some("main".into()), repository: None, plans: true }
}

impl Desk {
    async fn new(database: &Database, sources: &[Hooked]) -> Desk {
        let (metrics, store) = (Arc::new(Metrics::new()), database.store().await);
        let hooks = Hooks::new(sources, store.clone(), metrics.clone()).expect("hooks");
        let listener = server::bind("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (tell, told) = watch::channel(false);
        tokio::spawn(server::serve(
            listener,
            metrics.clone(),
            store,
            Beside { replica: None, hooks: Some(hooks) },
            told,
        ));
        Desk { address, metrics, _stop: tell }
    }

    fn measured(&self, series: &str) -> f64 {
        let text = self.metrics.text(Form::Text);
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_default()
    }
}

/// A database that knows a source, which nobody has asked for yet.
async fn known(sources: &[&str]) -> Database {
    let database = Database::new().await;
    let mut session = database.session().await;
    for source in sources {
        run(&mut session, &format!("INSERT INTO argus.source (name, form, asked) VALUES ('{source}', 'git', 0)")).await;
    }
    database
}

async fn asked(database: &Database, source: &str) -> i64 {
    let asked =
        one(&mut database.session().await, &format!("SELECT asked FROM argus.source WHERE name = '{source}'")).await;
    asked.parse().expect("a number")
}

pub fn hex(secret: &str, parts: &[&[u8]]) -> String {
    let bytes = tag(secret.as_bytes(), parts);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tag(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// What is answered: the status, the head and the body.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // Whoever is cut off may be so in the middle of what they say.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// Sends a hook as it is told, and gives what is answered.
pub fn send(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: argus\r\ncontent-length: {length}\r\n{lines}\r\n");
    // It may well be answered before all of it is sent.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    read(&mut stream)
}

/// A push to GitHub, by its id.
fn push_of_github(address: SocketAddr, source: &str, id: &str, body: &Json) -> Answer {
    let body = body.to_string();
    let signature = format!("sha256={}", hex(SECRET, &[body.as_bytes()]));
    let headers = [("x-github-event", "push"), ("x-github-delivery", id), ("x-hub-signature-256", &signature)];
    send(address, &format!("/hooks/{source}"), &headers, body.as_bytes())
}

fn pushed(branch: &str, number: usize) -> Json {
    json!({
        "ref": format!("refs/heads/{branch}"), "before": "0".repeat(40), "after": HEAD, "forced": false, "number": number,
        "repository": {"id": 7, "full_name": "acme/config", "default_branch": "main"},
        "pusher": {"name": "ada", "email": "ada@acme.example"}, "commits": [],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_wakes_its_source_and_no_other() {
    let (secrets, database) = (Secrets::new(), known(&["one", "other"]).await);
    let branches = |branch: &str| {
        let full = format!("refs/heads/{branch}");
        let project = json!({"path_with_namespace": "acme/config", "default_branch": "main"});
        [
            ("github", json!({"ref": full, "repository": {"full_name": "acme/config"}})),
            ("gitea", json!({"ref": full, "after": HEAD, "repository": {"full_name": "acme/config"}})),
            ("forgejo", json!({"ref": full, "before": HEAD, "repository": {"full_name": "acme/config"}})),
            ("gitlab", json!({"object_kind": "push", "ref": full, "checkout_sha": HEAD, "project": project})),
            (
                "bitbucket",
                json!({"repository": {"full_name": "acme/config"}, "push": {"changes": [
                {"new": {"type": "branch", "name": branch, "target": {"hash": HEAD}}, "old": null}]}}),
            ),
            (
                "bitbucket-server",
                json!({"eventKey": "repo:refs_changed", "repository": {"slug": "config", "project": {"key": "ACME"}},
                "changes": [{"ref": {"id": full, "displayId": branch, "type": "BRANCH"}, "toHash": HEAD, "type": "UPDATE"}]}),
            ),
            ("generic", json!({"ref": full})),
        ]
    };
    for (provider, body) in branches("main") {
        let (webhook, elsewhere) = (secrets.webhook(provider), secrets.webhook("github"));
        let desk = Desk::new(&database, &[hooked("one", &webhook), hooked("other", &elsewhere)]).await;
        let (before, other) = (asked(&database, "one").await, asked(&database, "other").await);
        let tell = |body: &Json, id: &str| {
            send(desk.address, "/hooks/one", &signed(provider, id, body), body.to_string().as_bytes())
        };
        let answer = tell(&body, &format!("{provider}-1"));
        assert_eq!((answer.status, answer.body.as_str()), (200, "woken\n"), "{provider}: {answer:?}");
        assert_eq!(asked(&database, "one").await, before + 1, "{provider}");
        let (_, elsewhere) = branches("topic").into_iter().find(|(of, _)| *of == provider).expect("a push");
        let answer = tell(&elsewhere, &format!("{provider}-2"));
        assert_eq!((answer.status, answer.body.as_str()), (200, "nothing\n"), "{provider}: {answer:?}");
        // What is not understood is worth a look.
        let answer = tell(&json!({"odd": provider}), &format!("{provider}-3"));
        assert_eq!((answer.status, answer.body.as_str()), (200, "woken\n"), "{provider}: {answer:?}");
        assert_eq!(asked(&database, "one").await, before + 2, "{provider}");
        assert_eq!(asked(&database, "other").await, other, "{provider}");
        assert_eq!(desk.measured("argus_webhooks_received_total{source=\"one\",outcome=\"woken\"}"), 2.0);
        assert_eq!(desk.measured("argus_webhooks_received_total{source=\"one\",outcome=\"nothing\"}"), 1.0);
    }
}

/// The headers that a provider sends with a push.
fn signed(provider: &str, id: &str, body: &Json) -> Vec<(&'static str, &'static str)> {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let (body, id) = (body.to_string(), leak(id.to_owned()));
    let plain = leak(hex(SECRET, &[body.as_bytes()]));
    let headed = leak(format!("sha256={plain}"));
    match provider {
        "github" => vec![("x-github-event", "push"), ("x-github-delivery", id), ("x-hub-signature-256", headed)],
        "gitlab" => vec![("x-gitlab-event", "Push Hook"), ("x-gitlab-event-uuid", id), ("x-gitlab-token", SECRET)],
        "gitea" => vec![("x-gitea-event", "push"), ("x-gitea-delivery", id), ("x-gitea-signature", plain)],
        "forgejo" => vec![
            ("x-forgejo-event", "push"),
            ("x-forgejo-delivery", id),
            ("x-forgejo-signature", plain),
            ("x-gitea-signature", plain),
        ],
        "bitbucket" => vec![("x-event-key", "repo:push"), ("x-request-uuid", id), ("x-hub-signature", headed)],
        "bitbucket-server" => {
            vec![("x-event-key", "repo:refs_changed"), ("x-request-id", id), ("x-hub-signature", headed)]
        }
        _ => {
            let now = leak(chrono::Utc::now().timestamp().to_string());
            let tag = leak(format!("sha256={}", hex(SECRET, &[now.as_bytes(), b".", body.as_bytes()])));
            vec![("x-argus-delivery", id), ("x-argus-timestamp", now), ("x-argus-signature", tag)]
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signing_token_of_gitlab_counts_and_its_moment_does() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let (secrets, database) = (Secrets::new(), known(&["one"]).await);
    let key = [7_u8; 32];
    let own = format!("whsec_{}", STANDARD.encode(key));
    let webhook = secrets.section("gitlab", &[&own]).expect("settings");
    let desk = Desk::new(&database, &[hooked("one", &webhook)]).await;
    let body =
        json!({"object_kind": "push", "ref": "refs/heads/main", "project": {"default_branch": "main"}}).to_string();
    let tell = |id: &str, moment: i64| {
        let moment = moment.to_string();
        let tag = tag(&key, &[id.as_bytes(), b".", moment.as_bytes(), b".", body.as_bytes()]);
        let signature = format!("v1,{}", STANDARD.encode(tag));
        let headers = [
            ("x-gitlab-event", "Push Hook"),
            ("idempotency-key", id),
            ("webhook-id", id),
            ("webhook-timestamp", &moment),
            ("webhook-signature", &signature),
        ];
        send(desk.address, "/hooks/one", &headers, body.as_bytes())
    };
    let now = chrono::Utc::now().timestamp();
    assert_eq!(tell("a", now).body, "woken\n");
    assert_eq!(tell("a", now + 1).body, "before\n", "it is sent again, and signed again");
    // The same push once more is another delivery: its id is signed.
    assert_eq!(tell("b", now).body, "woken\n");
    assert_eq!(tell("c", now - 3_600).status, 401);
    assert_eq!(asked(&database, "one").await, 2);
    let token = [("x-gitlab-event", "Push Hook"), ("x-gitlab-token", own.as_str())];
    assert_eq!(send(desk.address, "/hooks/one", &token, body.as_bytes()).status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_answered_and_a_secret_is_changed_without_missing_anything() {
    let (secrets, database) = (Secrets::new(), known(&["one"]).await);
    let webhook = secrets.section("github", &["the old secret, still", SECRET]).expect("settings");
    let desk = Desk::new(&database, &[hooked("one", &webhook)]).await;
    let body = br#"{"zen": "Keep it logically awesome.", "hook_id": 1}"#;
    for secret in ["the old secret, still", SECRET] {
        let signature = format!("sha256={}", hex(secret, &[body]));
        let headers = [("x-github-event", "ping"), ("x-github-delivery", "p"), ("x-hub-signature-256", &signature)];
        let answer = send(desk.address, "/hooks/one", &headers, body);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ping\n"));
    }
    assert_eq!(asked(&database, "one").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_comes_again_does_nothing_whichever_replica_it_comes_to() {
    let (secrets, database) = (Secrets::new(), known(&["one", "other"]).await);
    let webhook = secrets.webhook("github");
    let sources = [hooked("one", &webhook), hooked("other", &webhook)];
    let (desk, replica) = (Desk::new(&database, &sources).await, Desk::new(&database, &sources).await);
    let body = pushed("main", 1);
    assert_eq!(push_of_github(desk.address, "one", "a", &body).body, "woken\n");
    for address in [desk.address, replica.address] {
        assert_eq!(push_of_github(address, "one", "a", &body).body, "before\n");
        // The id is not signed: whoever has caught a delivery can change it, and gains nothing.
        assert_eq!(push_of_github(address, "one", "b", &body).body, "before\n");
        assert_eq!(push_of_github(address, "one", "a", &pushed("main", 2)).body, "before\n");
    }
    assert_eq!(asked(&database, "one").await, 1);
    // Another source is another matter.
    assert_eq!(push_of_github(replica.address, "other", "a", &body).body, "woken\n");
    // Of many that come at once, one does something.
    let many: Vec<_> = (0..24)
        .map(|number| {
            let address = if number % 2 == 0 { desk.address } else { replica.address };
            std::thread::spawn(move || push_of_github(address, "one", "many", &pushed("main", 3)).body)
        })
        .collect();
    let answers: Vec<String> = many.into_iter().map(|one| one.join().expect("it is answered")).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "woken\n").count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| *answer == "before\n").count(), 23, "{answers:?}");
    assert_eq!(asked(&database, "one").await, 2);
    // What counts no longer is forgotten.
    let mut session = database.session().await;
    run(&mut session, "UPDATE argus.hook_seen SET until = clock_timestamp() - interval '1 second'").await;
    assert_eq!(push_of_github(desk.address, "one", "a", &body).body, "woken\n");
    database.store().await.forget_hooks().await.expect("it is tidied up");
    assert_eq!(one(&mut session, "SELECT count(*) FROM argus.hook_seen").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_noted_is_not_lost_when_it_is_sent_again() {
    let (secrets, database) = (Secrets::new(), known(&["one"]).await);
    let webhook = secrets.webhook("github");
    let desk = Desk::new(&database, &[hooked("one", &webhook)]).await;
    let mut session = database.session().await;
    run(&mut session, "ALTER FUNCTION argus.wake_source(text) RENAME TO wake_source_away").await;
    let answer = push_of_github(desk.address, "one", "a", &pushed("main", 1));
    assert_eq!((answer.status, answer.body.as_str()), (503, "try again\n"));
    assert!(answer.head.contains("retry-after: 10"), "{answer:?}");
    assert_eq!(desk.measured("argus_webhooks_refused_total{reason=\"database\"}"), 1.0);
    run(&mut session, "ALTER FUNCTION argus.wake_source_away(text) RENAME TO wake_source").await;
    assert_eq!(push_of_github(desk.address, "one", "a", &pushed("main", 1)).body, "woken\n");
    assert_eq!(asked(&database, "one").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_waits_for_a_plan_of_its_newest_head() {
    let (secrets, database) = (Secrets::new(), known(&["one", "none"]).await);
    let webhook = secrets.webhook("github");
    let without = Hooked { plans: false, ..hooked("none", &webhook) };
    let repository = Some("acme/config".to_owned());
    let desk = Desk::new(&database, &[Hooked { repository, ..hooked("one", &webhook) }, without]).await;
    let tell = |source: &str, repository: &str, number: i64, head: &str, base: &str| {
        let body = json!({"action": "synchronize", "number": number, "repository": {"full_name": repository},
            "pull_request": {"number": number, "head": {"sha": head, "ref": "x"}, "base": {"ref": base}}});
        let body = body.to_string();
        let signature = format!("sha256={}", hex(SECRET, &[body.as_bytes()]));
        let headers = [("x-github-event", "pull_request"), ("x-hub-signature-256", signature.as_str())];
        send(desk.address, &format!("/hooks/{source}"), &headers, body.as_bytes()).body
    };
    let newer = HEAD.replace('5', "6");
    assert_eq!(tell("one", "acme/config", 7, HEAD, "main"), "planned\n");
    assert_eq!(tell("one", "acme/config", 7, &newer, "main"), "planned\n");
    assert_eq!(tell("one", "acme/config", 8, HEAD, "main"), "planned\n");
    assert_eq!(tell("one", "acme/config", 9, HEAD, "release"), "nothing\n");
    assert_eq!(tell("one", "acme/other", 9, HEAD, "main"), "nothing\n");
    assert_eq!(tell("none", "acme/config", 9, HEAD, "main"), "nothing\n");
    let rows = "SELECT string_agg(source || ' ' || number || ' ' || left(head, 2) || ' ' || asked, ', ' ORDER BY number) FROM argus.review";
    assert_eq!(one(&mut database.session().await, rows).await, "one 7 6c 2, one 8 5c 1");
    assert_eq!((asked(&database, "one").await, asked(&database, "none").await), (0, 0), "nothing was pushed");
}

#[tokio::test]
async fn a_secret_that_anybody_could_know_starts_nothing() {
    let (secrets, database) = (Secrets::new(), Database::new().await);
    let store = database.store().await;
    let refused = |webhook: &WebhookSettings| {
        let hooks = Hooks::new(&[hooked("one", webhook)], store.clone(), Arc::new(Metrics::new()));
        hooks.expect_err("it does not start").to_string()
    };
    for (texts, told) in [
        (&[][..], "has one secret"),
        (&[""], "is empty"),
        (&["  \r"], "fewer than 16 bytes"),
        (&["fifteen bytes.."], "fewer than 16 bytes"),
        (&["whsec_AAAA"], "fewer than 16 bytes"),
        (&[SECRET, "short"], "fewer than 16 bytes"),
        (&[SECRET, SECRET, SECRET, SECRET], "3 at most"),
    ] {
        let why = refused(&secrets.section("github", texts).expect("settings"));
        assert!(why.contains(told) && why.contains("`one`") && !why.contains("canary"), "{texts:?}: {why}");
    }
    let settings = |text: &str| serde_json::from_str::<WebhookSettings>(text).map_err(|error| error.to_string());
    let nowhere = settings(r#"{"provider": "github", "secretFile": "/nonexistent/secret"}"#).expect("settings");
    assert!(refused(&nowhere).contains("cannot be read"));
    let unknown = settings(r#"{"provider": "sourceforge", "secretFile": "x"}"#).expect_err("it is unknown");
    assert!(unknown.contains("github, gitlab, gitea, forgejo, bitbucket, bitbucket-server, generic"), "{unknown}");
    settings(r#"{"provider": "github", "secret": "in the open"}"#).expect_err("secrets stand in files");
    let endless =
        settings(r#"{"provider": "github", "secretFile": "x", "bodyBytesMax": 999999999}"#).expect("settings");
    assert!(refused(&endless).contains("bodyBytesMax"));
}
