//! Argus in a pod: no kubeconfig, but the token of a service account, which the kubelet puts into a folder and replaces there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Controlled, organization};
use crate::support::kubernetes::{Namespace, User, shared};
use crate::support::postgres::{Database, scratch};

/// How long it may take until a new token is used: files are read anew once a minute, and who was refused waits.
const ROTATED: Duration = Duration::from_secs(180);

/// Makes the folder of the account what it is in a pod, without a trace outside: nothing of `/var/run` needs to be there, or is
/// written.
const INSIDE: &str = r#"set -eu
    mount -t tmpfs tmpfs "$(readlink -f /var/run)"
    mkdir -p /var/run/secrets/kubernetes.io/serviceaccount
    mount --bind "$1" /var/run/secrets/kubernetes.io/serviceaccount
    shift
    exec "$@""#;

/// The folder of a service account, as the kubelet keeps it: what is there stands behind a link that is replaced as a whole.
struct Account {
    folder: PathBuf,
    written: u32,
}

impl Account {
    fn new(folder: &Path, authority: &str, namespace: &str, token: &str) -> Account {
        std::fs::create_dir_all(folder).expect("a folder");
        let mut account = Account { folder: folder.to_owned(), written: 0 };
        for (file, text) in [("ca.crt", authority), ("namespace", namespace)] {
            std::fs::write(folder.join(file), text).expect("a file");
        }
        account.holds(token);
        std::os::unix::fs::symlink("..data/token", folder.join("token")).expect("a link");
        account
    }

    /// Replaces the token.
    fn holds(&mut self, token: &str) {
        self.written += 1;
        let (fresh, link) = (format!("..{}", self.written), self.folder.join("..data_tmp"));
        std::fs::create_dir(self.folder.join(&fresh)).expect("a folder");
        std::fs::write(self.folder.join(&fresh).join("token"), token).expect("a token");
        std::os::unix::fs::symlink(&fresh, &link).expect("a link");
        std::fs::rename(&link, self.folder.join("..data")).expect("it is replaced");
    }
}

/// What runs a command where nobody else sees its mounts.
fn apart() -> Command {
    let mut ways = [vec!["--mount"], vec!["--user", "--map-root-user", "--mount"]].into_iter();
    let works = |way: &Vec<&str>| {
        let mut tried = Command::new("unshare");
        tried.args(way).args(["sh", "-c", "mount -t tmpfs tmpfs \"$(readlink -f /var/run)\""]);
        tried.stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let way = ways.find(works).expect(
        "this test needs a mount namespace of its own: run it as root, or allow `unshare --user --map-root-user --mount`",
    );
    let mut command = Command::new("unshare");
    command.args(way);
    command
}

/// A new token of the account.
fn token(namespace: &Namespace) -> String {
    namespace.kubectl(&["create", "token", "argus", "--duration=1h"]).well().out.trim().to_owned()
}

/// Whether the API server still takes a token.
fn is_good(namespace: &Namespace, token: &str) -> bool {
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": token } });
    let reviewed = namespace.kubectl_with(&["create", "-f", "-", "-o", "json"], &review.to_string()).well().json();
    reviewed["status"]["authenticated"] == true
}

#[test]
#[ignore = "it needs an API server of Kubernetes: make e2e"]
fn in_a_pod_it_gets_in_with_the_token_of_its_account_and_with_every_one_that_follows() {
    let namespace = shared().namespace();
    namespace.admit_argus();
    let named = format!("--serviceaccount={}:argus", namespace.name);
    namespace.kubectl(&["create", "serviceaccount", "argus"]).well();
    namespace.kubectl(&["create", "rolebinding", "argus-inside", "--role=argus", &named]).well();
    // Nobody else is let in: what is done is done by the account.
    namespace.kubectl(&["delete", "rolebinding", "argus"]).well();
    let first = token(&namespace);
    assert!(is_good(&namespace, &first));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (database, folder) = (runtime.block_on(Database::new()), scratch("inside"));
    let way_in = std::fs::read_to_string(shared().way_in(User::Nobody, None)).expect("a kubeconfig");
    let way_in: serde_json::Value = serde_json::from_str(&way_in).expect("a kubeconfig");
    let authority = way_in["clusters"][0]["cluster"]["certificate-authority"].as_str().expect("a file");
    let authority = std::fs::read_to_string(authority).expect("an authority");
    let mut account = Account::new(&folder.join("account"), &authority, &namespace.name, &first);
    let mut controlled = Controlled { namespace, database, folder, controllers: Vec::new() };
    controlled.bind(&json!({ "organizations": ["acme"] }));
    controlled.set(|settings| {
        let kubernetes = settings["kubernetes"].as_object_mut().expect("a section");
        kubernetes.remove("kubeconfig").expect("it was there");
    });
    let argus = controlled.argus(&["controller", "--config", "machine.yaml", "--log", "info"]);
    let mut command = apart();
    command.args(["sh", "-c", INSIDE, "inside"]).arg(&account.folder);
    command.arg(argus.get_program()).args(argus.get_args()).current_dir(&controlled.folder);
    for (name, value) in argus.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", shared().port().to_string());
    let log = std::fs::File::create(controlled.folder.join("controller-0.log")).expect("a log");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    controlled.controllers.push(command.spawn().expect("it runs"));

    controlled.apply(&organization(&json!({ "displayName": "One" })));
    controlled.wait("org/acme", "ready");
    assert_eq!(controlled.sql("SELECT display_name FROM argus.organization"), "One");

    // The account is another one now, and its tokens with it.
    controlled.namespace.kubectl(&["delete", "serviceaccount", "argus"]).well();
    controlled.namespace.kubectl(&["create", "serviceaccount", "argus"]).well();
    let second = token(&controlled.namespace);
    account.holds(&second);
    let revoked = Instant::now();
    while is_good(&controlled.namespace, &first) {
        assert!(revoked.elapsed() < ROTATED, "the first token is never refused");
        std::thread::sleep(Duration::from_millis(500));
    }
    controlled.apply(&organization(&json!({ "displayName": "Two" })));
    let so = || {
        let stored = controlled.json("org/acme");
        stored["status"]["observedGeneration"] == stored["metadata"]["generation"]
            && controlled.sql("SELECT display_name FROM argus.organization") == "Two"
    };
    while !so() {
        assert!(revoked.elapsed() < ROTATED, "the second token is not used\n{}", controlled.log());
        std::thread::sleep(Duration::from_millis(500));
    }
    controlled.wait("org/acme", "ready");
    for token in [&first, &second] {
        assert!(!controlled.log().contains(&**token), "a token is told");
    }
}
