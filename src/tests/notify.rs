//! Notifications end to end: rules on real events, messages to real servers on loopback.

mod addresses;
mod faces;
mod queue;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::mail::MailServer;
use crate::support::postgres::{Database, scratch};
use crate::support::receiver::{Receiver, Request};
use crate::support::tls::authority;

/// The binary.
const ARGUS: &str = env!("CARGO_BIN_EXE_argus");

/// What a secret ends with: it may stand nowhere but in its file.
const CANARY: &str = "canary-7f3a9c51";

/// An organization with channels and rules, and a machine that has their secrets.
struct Desk {
    database: Database,
    folder: PathBuf,
}

impl Desk {
    /// The organization `acme` with these channels and rules, which are written as in a manifest.
    async fn new(channels: &str, rules: &str) -> Desk {
        let desk = Desk { database: Database::new().await, folder: scratch("notify") };
        std::fs::create_dir_all(desk.folder.join("manifests")).expect("a folder");
        desk.settings("allow: ['127.0.0.1', localhost]");
        desk.describe(channels, rules);
        desk.done(&["apply", "manifests", "--auto-approve"]);
        desk.sql("INSERT INTO argus.sink (name) VALUES ('notifications')");
        desk
    }

    /// A channel of Slack that leads to this receiver, and rules.
    async fn to(receiver: &Receiver, more: &str, rules: &str) -> Desk {
        let desk = Desk::new(
            &format!("- {{name: ops, type: slack, config: {{secretRef: {{name: ops, key: url}}}}{more}}}"),
            rules,
        )
        .await;
        desk.secret("ops", "url", &receiver.url(&format!("/services/{CANARY}")));
        desk
    }

    fn describe(&self, channels: &str, rules: &str) {
        let indented = |lines: &str| lines.lines().map(|line| format!("    {line}\n")).collect::<String>();
        let manifest = format!(
            "apiVersion: argus.io/v1alpha1\nkind: Organization\nmetadata: {{name: acme}}\nspec:\n  displayName: Acme\n  \
             members: [{{user: ada@acme.example, role: owner}}]\n  notificationChannels:\n{}  notificationRules:\n{}",
            indented(channels),
            indented(rules)
        );
        std::fs::write(self.folder.join("manifests/acme.yaml"), manifest).expect("the manifests");
    }

    fn settings(&self, notifications: &str) {
        let lines: String = notifications.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!("notifications:\n  secretsDir: {}\n{lines}", self.folder.join("secrets").display());
        std::fs::write(self.folder.join("machine.yaml"), text).expect("the settings");
    }

    fn secret(&self, name: &str, key: &str, text: &str) {
        let folder = self.folder.join("secrets/acme").join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(key), format!("{text}\n")).expect("the secret");
    }

    fn sql(&self, sql: &str) -> String {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command", sql]);
        let output = psql.envs(self.database.url.environment()).stdin(Stdio::null()).output().expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Tells of something that happens to the organization.
    fn tell(&self, of: &str, subject: &str, content: &serde_json::Value) {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        self.sql(&format!(
            "SELECT argus.tell('acme', NULL, NULL, ARRAY[{}], ARRAY[{}], ARRAY[{}])",
            quoted(of),
            quoted(subject),
            quoted(&content.to_string())
        ));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ARGUS);
        command.args(arguments).arg("--config").arg(self.folder.join("machine.yaml")).current_dir(&self.folder);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("ARGUS_DATABASE_URL", self.database.url.to_string()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// Runs something that works, and gives what it said.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn relays(&self) -> String {
        self.done(&["relay", "--once"])
    }

    /// Makes everything due that waits for its time, as if that had come.
    fn later(&self) {
        self.sql(
            "UPDATE argus.notification SET due = '-infinity' WHERE state = 'waiting';
             UPDATE argus.notification_gate SET wake = '-infinity', held_until = '-infinity'",
        );
    }

    /// State, attempts and reason of every message, in the order in which they were told.
    fn states(&self) -> String {
        self.sql("SELECT state || ' ' || attempts || COALESCE(' ' || why, '') FROM argus.notification ORDER BY position, rule")
    }
}

/// Waits until something is so. What never comes to be ends the test.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(90), "{what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans up.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

/// The ids that messages came under.
fn ids(requests: &[Request]) -> Vec<String> {
    requests.iter().map(|request| request.header("webhook-id").to_owned()).collect()
}

/// What a message to Slack says.
fn text(request: &Request) -> String {
    let json: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
    json["text"].as_str().expect("a text").to_owned()
}

/// The machine's server for mail, as its settings name it.
fn smtp(desk: &Desk, server: &MailServer, tls: &str) -> String {
    let (user, password) = MailServer::login();
    std::fs::write(desk.folder.join("password"), format!("{password}\n")).expect("the password");
    std::fs::write(desk.folder.join("ca.pem"), &authority().certificate).expect("the certificate");
    let folder = desk.folder.display();
    format!(
        "smtp: {{host: localhost, port: {}, tls: {tls}, user: {user}, passwordFile: {folder}/password, from: 'Argus <{user}>', \
         caFile: {folder}/ca.pem}}",
        server.port()
    )
}
