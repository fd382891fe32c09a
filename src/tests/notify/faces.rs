//! How messages look where they arrive.

use serde_json::{Value as Json, json};

use super::{Desk, said, smtp};
use crate::support::mail::{MailServer, Tls};
use crate::support::receiver::Receiver;
use crate::support::tls::authority;

/// A name that wants to be more than one.
const HOSTILE: &str = "<!channel> <@U1> @here @everyone *b* _i_ `c` [x](https://evil.example) <https://evil.example|y> & ||s||\r\nBcc: eve@evil.example\u{202e}";

fn channel(of: &str) -> String {
    format!("- {{name: ops, type: {of}, config: {{secretRef: {{name: ops, key: url}}}}}}")
}

const RULE: &str =
    "- {name: all, channel: ops, events: ['*'], template: \"Now {{ displayName }}\\nand <!channel>\", priority: high}";

/// What a channel of this type is sent when something with a hostile name happens.
async fn sent(of: &str) -> Json {
    let receiver = Receiver::start(|_, _| 204);
    let desk = Desk::new(&channel(of), RULE).await;
    desk.secret("ops", "url", &receiver.url("/x"));
    desk.tell("drift.detected", &format!("Team/{HOSTILE}"), &json!({"displayName": HOSTILE}));
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 1 message.\n");
    let requests = receiver.requests();
    assert_eq!(requests[0].header("content-type"), "application/json");
    serde_json::from_str(&requests[0].body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_is_sent_text_in_which_nothing_is_markup_link_or_mention() {
    let json = sent("slack").await;
    let text = json["text"].as_str().expect("a text");
    for bad in ["<", ">", "://", "@here", "@everyone", "\u{202e}", "\r"] {
        assert!(!text.contains(bad), "{bad}: {text}");
    }
    assert!(text.starts_with("[high] acme: drift.detected Team/&lt;!channel&gt;"), "{text}");
    assert!(
        text.contains("Now &lt;!channel&gt; &lt;(at)U1&gt; (at)here")
            || text.contains("Now &lt;!channel&gt; &lt;@U1&gt; (at)here"),
        "{text}"
    );
    assert!(text.contains("&amp; ||s||"), "{text}");
    assert_eq!(json["mrkdwn"], false);
    assert_eq!(json["blocks"][0]["text"]["type"], "plain_text", "in which Slack knows no markup");
}

#[tokio::test(flavor = "multi_thread")]
async fn discord_is_sent_escaped_markdown_that_mentions_nobody() {
    let json = sent("discord").await;
    let text = json["content"].as_str().expect("a text");
    let mut before = ' ';
    for c in text.chars() {
        assert!(!"*_~`|<>[]()#:@".contains(c) || before == '\\', "`{c}` is not escaped: {text}");
        before = if before == '\\' && c == '\\' { ' ' } else { c };
    }
    assert_eq!(json["allowed_mentions"], json!({"parse": []}));
    assert!(text.contains(r"\*b\* \_i\_ \`c\`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_is_sent_a_card_of_runs_that_know_no_markdown() {
    let json = sent("teams").await;
    let card = &json["attachments"][0];
    assert_eq!(
        (&json["type"], &card["contentType"]),
        (&json!("message"), &json!("application/vnd.microsoft.card.adaptive"))
    );
    let body = card["content"]["body"].as_array().expect("a body");
    for block in body {
        assert_eq!(block["type"], "RichTextBlock");
        assert!(block["inlines"].as_array().expect("inlines").iter().all(|run| run["type"] == "TextRun"), "{block}");
    }
    let texts: Vec<&str> = body.iter().map(|block| block["inlines"][0]["text"].as_str().expect("a text")).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(
        texts.iter().all(|text| !text.contains("://") && !text.contains("@here") && !text.contains('\n')),
        "{texts:?}"
    );
    assert!(card["content"].get("msteams").is_none(), "without an entity nobody is mentioned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_sent_the_event_itself_and_a_signature_where_there_is_a_key() {
    let json = sent("webhook").await;
    assert_eq!(json["type"], "io.argus.notification");
    assert_eq!(json["data"]["event"]["type"], "io.argus.drift.detected");
    assert_eq!(json["data"]["event"]["data"]["displayName"], HOSTILE, "JSON is no markup");
    assert_eq!((&json["data"]["rule"], &json["data"]["priority"]), (&json!("all"), &json!("high")));

    let receiver = Receiver::encrypted();
    let config = "{url: 'https://hooks.example/x', secretRef: {name: ops, key: key}}";
    let desk = Desk::new(&format!("- {{name: ops, type: webhook, config: {config}}}"), RULE).await;
    // A manifest can name no host of this machine.
    let url = format!("https://localhost:{}/signed", receiver.port());
    desk.sql(&format!("UPDATE argus.notification_channel SET config_url = '{url}'; DELETE FROM argus.delivery"));
    desk.secret("ops", "key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    desk.tell("drift.detected", "Team/a", &json!({}));
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 0 messages, 1 tried again later.\n");
    assert!(desk.states().contains("certificate"), "nobody trusts it: {}", desk.states());
    std::fs::write(desk.folder.join("ca.pem"), &authority().certificate).expect("the certificate");
    desk.settings(&format!("allow: [localhost]\ncaFile: {}/ca.pem", desk.folder.display()));
    desk.later();
    assert_eq!(desk.relays(), "Delivered 0 events.\nSent 1 message.\n");
    let request = &receiver.requests()[0];
    assert_eq!(request.path, "/signed");
    let data: Json = serde_json::from_str(&request.body).expect("JSON");
    assert_eq!(data["data"]["id"], request.header("webhook-id"));
    let signed = format!("{}.{}.{}", request.header("webhook-id"), request.header("webhook-timestamp"), request.body);
    assert_eq!(request.header("webhook-signature"), signature("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &signed));
}

/// The signature that the other side works out.
fn signature(key: &str, signed: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&STANDARD.decode(key).expect("base64")).expect("a key");
    mac.update(signed.as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

const MAIL: &str = "- {name: ops, type: email, config: {addresses: [ops@acme.example, sec@acme.example]}}";

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_over_the_server_of_the_machine_and_is_plain_text() {
    for (tls, word) in [(Tls::Starttls, "starttls"), (Tls::Implicit, "implicit")] {
        let server = MailServer::start(tls, |_| "250 ok");
        let desk = Desk::new(MAIL, RULE).await;
        desk.settings(&smtp(&desk, &server, word));
        desk.tell("drift.detected", &format!("Team/{HOSTILE}"), &json!({"displayName": HOSTILE}));
        let mut command = desk.command(&["relay", "--once"]);
        let output = command.env("ARGUS_FAILPOINT", "notify.after_send").output().expect("it runs");
        assert!(output.status.code().is_none(), "it dies after the mail was taken: {}", said(&output));
        desk.later();
        assert_eq!(desk.relays(), "Delivered 0 events.\nSent 1 message.\n");
        let mails = server.mails();
        assert_eq!(mails.len(), 2, "at least once");
        assert_eq!(mails[0].header("Message-ID"), mails[1].header("Message-ID"), "and always the same");
        let mail = &mails[0];
        assert!(mail.encrypted && mail.user.as_deref() == Some(MailServer::login().0), "{mail:?}");
        assert_eq!(
            (mail.from.as_str(), &mail.to[..]),
            ("argus@acme.example", &["ops@acme.example".to_owned(), "sec@acme.example".to_owned()][..])
        );
        assert_eq!(
            (mail.header("Auto-Submitted"), mail.header("Content-Type")),
            ("auto-generated".into(), "text/plain; charset=utf-8".into())
        );
        let head = mail.text.split("\r\n\r\n").next().expect("a head");
        assert!(!head.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{head}");
        assert_eq!(head.lines().filter(|line| line.starts_with("Subject")).count(), 1, "{head}");
        let body = mail.body();
        assert!(body.starts_with("Now <!channel>") && body.contains("\r\nand <!channel>\r\n"), "{body}");
        assert!(
            !body.contains("://")
                && !body.contains('\u{202e}')
                && body.contains("\r\n-- \r\nArgus, for acme (rule all)"),
            "{body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_over_a_server_of_the_organization_where_the_channel_names_one() {
    let server = MailServer::start(Tls::Implicit, |_| "250 ok");
    let desk = Desk::new(
        "- {name: ops, type: email, config: {addresses: [ops@acme.example], secretRef: {name: ops, key: server}}}",
        "[]",
    )
    .await;
    std::fs::write(desk.folder.join("ca.pem"), &authority().certificate).expect("the certificate");
    let trust = format!("caFile: {}/ca.pem", desk.folder.display());
    desk.settings(&format!("{trust}\nallow: [localhost]"));
    let address = |password: &str| format!("smtps://argus%40acme.example:{password}@localhost:{}", server.port());
    desk.secret("ops", "server", &address("a%20canary%2Fpassword"));
    assert_eq!(desk.done(&["notify", "test", "-O", "acme", "ops"]), "Sent a test message to ops (email).\n");
    assert_eq!(server.mails()[0].user.as_deref(), Some("argus@acme.example"));
    // A server that repeats a wrong password: nobody else is told of it.
    desk.secret("ops", "server", &address("wrong-canary"));
    let output = said(&desk.run(&["notify", "test", "-O", "acme", "ops"]));
    assert!(output.contains("535") && !output.contains("wrong-canary"), "{output}");
    // Whoever is not allowed is not even connected to.
    desk.settings(&trust);
    let output = said(&desk.run(&["notify", "test", "-O", "acme", "ops"]));
    assert!(output.contains("leads into a network that messages may not go to"), "{output}");
    desk.secret("ops", "server", "https://hooks.example/");
    let output = said(&desk.run(&["notify", "test", "-O", "acme", "ops"]));
    assert!(output.contains("the secret holds no address of a mail server"), "{output}");
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_never_sent_in_the_open_and_a_recipient_that_is_refused_is_told() {
    let server = MailServer::start(Tls::Never, |_| "250 ok");
    let desk = Desk::new(MAIL, "[]").await;
    desk.settings(&smtp(&desk, &server, "starttls"));
    let output = desk.run(&["notify", "test", "-O", "acme", "ops"]);
    assert!(output.status.code() == Some(1) && said(&output).contains("ARG1902"), "{}", said(&output));
    assert_eq!(server.mails().len(), 0);
    desk.settings(&smtp(&desk, &server, "none"));
    let output = said(&desk.run(&["notify", "test", "-O", "acme", "ops"]));
    assert!(output.contains("would send the password in the open"), "{output}");
    desk.settings(&format!("smtp: {{host: localhost, port: {}, tls: none, from: argus@acme.example}}", server.port()));
    assert_eq!(desk.done(&["notify", "test", "-O", "acme", "ops"]), "Sent a test message to ops (email).\n");
    assert!(server.mails().len() == 1 && !server.mails()[0].encrypted, "the settings of the machine may say so");
    let strict =
        MailServer::start(Tls::Implicit, |to| if to.starts_with("sec") { "550 nobody here" } else { "250 ok" });
    desk.settings(&smtp(&desk, &strict, "implicit"));
    let output = said(&desk.run(&["notify", "test", "-O", "acme", "ops"]));
    assert!(output.contains("550") || output.contains("nobody here"), "{output}");
    desk.settings("allow: []");
    let output = said(&desk.run(&["notify", "test", "-O", "acme", "ops"]));
    assert!(output.contains("the machine has no server for mail, and the channel names none"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_cannot_be_read_is_told_where_it_stands_and_never_costs_a_message() {
    let receiver = Receiver::start(|_, _| 200);
    let desk = Desk::new(&channel("slack"), RULE).await;
    desk.secret("ops", "url", &receiver.url("/"));
    desk.describe(&channel("slack"), "- {name: all, channel: ops, events: ['*'], template: \"Now {{ name\"}");
    let output = said(&desk.run(&["validate", "manifests"]));
    assert!(
        output.contains("ARG1903") && output.contains("line 1 of the template opens `{{` and does not close it"),
        "{output}"
    );
    assert!(output.contains("acme.yaml:10:"), "it points at the template: {output}");
    desk.describe(
        &channel("slack"),
        "- {name: all, channel: ops, events: ['*'], conditions: [{field: 'a b', value: x}]}",
    );
    assert!(said(&desk.run(&["validate", "manifests"])).contains("ARG1903"));
    desk.describe(
        &channel("slack"),
        "- {name: all, channel: ops, events: ['*'], conditions: [{field: a, operator: atMost, value: x}]}",
    );
    assert!(said(&desk.run(&["validate", "manifests"])).contains("`atLeast` and `atMost` compare numbers"));
    desk.sql("UPDATE argus.notification_rule SET template = 'Now {{ name'; DELETE FROM argus.delivery");
    desk.tell("drift.resolved", "Team/a", &json!({}));
    desk.relays();
    assert!(super::text(&receiver.requests()[0]).ends_with("\nTeam/a is again as it is described."));
}
