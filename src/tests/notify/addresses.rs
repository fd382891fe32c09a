//! Where messages may go, and what nobody may see of it.

use std::io::Write as _;
use std::net::TcpListener;

use serde_json::json;

use super::{CANARY, Desk, said};
use crate::support::receiver::Receiver;

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_says_what_came_of_it() {
    let receiver = Receiver::start(|_, before| [200, 403][before]);
    let desk = Desk::to(&receiver, "", "[]").await;
    assert_eq!(desk.done(&["notify", "test", "-O", "acme", "ops"]), "Sent a test message to ops (slack).\n");
    assert!(receiver.requests()[0].body.contains("Argus can send to the channel ops of acme"));
    for (arguments, told) in [
        (["acme", "ops"], "error[ARG1902]: a message does not reach the channel `ops`: the receiver answers 403"),
        (["acme", "other"], "there is no channel `other`"),
        (["globex", "ops"], "there is no organization `globex`"),
    ] {
        let output = desk.run(&["notify", "test", "-O", arguments[0], arguments[1]]);
        assert!(output.status.code() == Some(1) && said(&output).contains(told), "{}", said(&output));
    }
    std::fs::write(desk.folder.join("secrets/acme/ops/url"), " \n").expect("a file");
    assert!(said(&desk.run(&["notify", "test", "-O", "acme", "ops"])).contains("the secret `ops/url` is empty"));
    std::fs::remove_file(desk.folder.join("secrets/acme/ops/url")).expect("a file");
    assert!(said(&desk.run(&["notify", "test", "-O", "acme", "ops"])).contains("the secret `ops/url` cannot be read"));
    // Whoever writes rows by SQL gets nowhere else either.
    std::fs::create_dir_all(desk.folder.join("secrets/globex")).expect("a folder");
    std::fs::write(desk.folder.join("secrets/globex/url"), receiver.url("/")).expect("a secret of others");
    for (name, key) in [("..", "globex"), ("ops", "../../globex/url"), ("../globex", "url"), ("ops", "/etc/hostname")] {
        desk.sql(&format!(
            "UPDATE argus.notification_channel SET config_secret_ref_name = '{name}', config_secret_ref_key = '{key}'"
        ));
        let output = desk.run(&["notify", "test", "-O", "acme", "ops"]);
        assert!(said(&output).contains("the secret has a name that no file can have"), "{}", said(&output));
    }
    assert_eq!(receiver.requests().len(), 2);
    std::fs::write(desk.folder.join("machine.yaml"), "sinks: []\n").expect("the settings");
    assert!(said(&desk.run(&["notify", "test", "-O", "acme", "ops"])).contains("have no notifications"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_of_a_tenant_leads_into_a_network_of_the_machine() {
    let receiver = Receiver::start(|_, _| 200);
    let desk = Desk::to(&receiver, "", "[]").await;
    let port = receiver.port();
    let test = |url: &str| {
        desk.secret("ops", "url", url);
        let output = desk.run(&["notify", "test", "-O", "acme", "ops"]);
        let said = said(&output);
        assert!(!said.contains(CANARY), "{said}");
        (output.status.code(), said)
    };
    desk.settings("allow: []");
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
    ] {
        let (code, said) = test(&format!("https://{host}:{port}/{CANARY}"));
        assert!(code == Some(1) && said.contains("leads into a network that messages may not go to"), "{host}: {said}");
        let (code, said) = test(&format!("http://{host}:{port}/{CANARY}"));
        assert!(code == Some(1) && said.contains("does not begin with https://"), "{host}: {said}");
    }
    let (_, said) = test(&format!("https://user:{CANARY}@hooks.example/"));
    assert!(said.contains("holds a user or a password"), "{said}");
    let (_, said) = test(CANARY);
    assert!(said.contains("the address is none"), "{said}");
    assert_eq!(receiver.requests().len(), 0);
    // A name that is allowed is allowed wherever it leads; an address, however a name came to it.
    for (allow, url, code) in [
        ("localhost", format!("http://localhost:{port}/"), 0),
        ("localhost", format!("http://127.0.0.1:{port}/"), 1),
        ("127.0.0.0/8", format!("http://127.0.0.1:{port}/"), 0),
        ("127.0.0.0/8", format!("http://localhost:{port}/"), 1),
    ] {
        desk.settings(&format!("allow: ['{allow}']"));
        let (found, said) = test(&url);
        assert_eq!(found, Some(code), "{allow} {url}: {said}");
    }
    assert_eq!(receiver.requests().len(), 2);
    desk.settings("allow: ['10.0.0.0/99']");
    let (_, said) = test("https://hooks.example/");
    assert!(said.contains("ARG") && said.contains("is no host, no address and no network"), "{said}");
    let doctor = said_by(&desk, &["doctor"]);
    assert!(doctor.contains("BAD   notifications: `10.0.0.0/99` under `allow`"), "{doctor}");
    // A relay says so at once, and so it does of a sink.
    assert!(said_by(&desk, &["relay"]).contains("is no host, no address and no network"));
    let machine = desk.folder.join("machine.yaml");
    let sink = |name: &str| {
        let text = format!(
            "notifications: {{}}\nsinks: [{{name: {name}, webhook: {{url: 'https://a.example', secretFile: nowhere}}}}]\n"
        );
        std::fs::write(&machine, text).expect("the settings");
        said_by(&desk, &["relay"])
    };
    assert!(sink("hook").contains("nowhere cannot be read"));
    assert!(sink("notifications").contains("a sink is called `notifications`"));
}

fn said_by(desk: &Desk, arguments: &[&str]) -> String {
    said(&desk.run(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_sees_nothing_and_a_redirect_is_not_followed() {
    let inside = Receiver::start(|_, _| 200);
    let outside = Receiver::start(|_, _| 302);
    let desk = Desk::to(&outside, "", "[]").await;
    let mut command = desk.command(&["notify", "test", "-O", "acme", "ops"]);
    let proxy = inside.url("/");
    let output =
        command.env("HTTP_PROXY", &proxy).env("http_proxy", &proxy).env("ALL_PROXY", &proxy).output().expect("it runs");
    assert!(said(&output).contains("the receiver answers 302, and nobody is followed elsewhere"), "{}", said(&output));
    assert_eq!((outside.requests().len(), inside.requests().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_stands_nowhere_but_in_its_file() {
    // Whoever answers may repeat what it was told.
    let receiver = Receiver::replying(|request, before| crate::support::receiver::Reply {
        status: if before % 2 == 0 { 500 } else { 404 },
        body: format!("nothing at {} nor at {}", request.path, request.path.replace('-', "%2D")),
        ..Default::default()
    });
    let desk = Desk::to(&receiver, "", "- {name: all, channel: ops, events: ['*']}").await;
    let mut all = String::new();
    for number in 0..2 {
        desk.tell("drift.detected", &format!("Team/{number}"), &json!({}));
        let mut command = desk.command(&["relay", "--once", "--log", "trace"]);
        all.push_str(&said(&command.output().expect("it runs")));
        desk.later();
    }
    // Nobody is there any more.
    desk.secret("ops", "url", &format!("http://127.0.0.1:1/{CANARY}"));
    for arguments in [
        &["relay", "--once", "--log", "trace"][..],
        &["notify", "test", "-O", "acme", "ops", "--log", "trace"],
        &["notify", "list", "-O", "acme", "-o", "json"],
        &["doctor"],
        &["export"],
    ] {
        all.push_str(&said(&desk.run(arguments)));
    }
    let tables = desk.sql(
        "SELECT string_agg(format('SELECT r::text FROM argus.%I r', c.relname), ' UNION ALL ')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'argus' AND c.relkind = 'r'",
    );
    all.push_str(&desk.sql(&tables));
    assert!(all.contains("the receiver answers 500"), "{all}");
    let place = all.find(CANARY).map(|at| all[at.saturating_sub(200)..at].to_owned());
    assert_eq!(place, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_about_in_the_folder_of_its_organization_and_not_out_of_it() {
    let receiver = Receiver::start(|_, _| 200);
    let desk = Desk::to(&receiver, "", "[]").await;
    let secrets = desk.folder.join("secrets");
    std::fs::create_dir_all(secrets.join("globex/other")).expect("a folder");
    std::fs::write(secrets.join("globex/other/url"), receiver.url("/others")).expect("a secret");
    let own = secrets.join("acme/ops/url");
    std::fs::rename(&own, secrets.join("acme/ops/real")).expect("moved");
    std::os::unix::fs::symlink("real", &own).expect("a link");
    desk.done(&["notify", "test", "-O", "acme", "ops"]);
    std::fs::remove_file(&own).expect("gone");
    std::os::unix::fs::symlink("../../globex/other/url", &own).expect("a link");
    let output = desk.run(&["notify", "test", "-O", "acme", "ops"]);
    assert!(output.status.code() == Some(1) && said(&output).contains("leads out of"), "{}", said(&output));
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_talks_without_end_is_not_listened_to_for_long() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let talking = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut told = 0_u64;
        let _ = stream.write_all(b"220 ");
        while stream.write_all(&[b'a'; 65536]).is_ok() {
            told += 65536;
        }
        told
    });
    let desk = Desk::new(
        "- {name: mail, type: email, config: {addresses: [a@acme.example], secretRef: {name: own, key: server}}}",
        "[]",
    )
    .await;
    desk.secret("own", "server", &format!("smtp://u%40acme.example:x@127.0.0.1:{port}"));
    assert_eq!(desk.run(&["notify", "test", "-O", "acme", "mail"]).status.code(), Some(1));
    let told = talking.join().expect("it was cut off");
    assert!(told < 32 * 1024 * 1024, "{told} bytes were taken, buffers of sockets included");
}
