//! A real API server of Kubernetes with its etcd, on loopback, with data and certificates of its own; `kubectl` and `helm`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use serde_json::{Value, json};

use super::postgres::scratch;
use super::tls::authority;

/// What says where the binary is.
const BINARY: &str = "ARGUS_KUBERNETES";

/// What says where Helm is.
const HELM: &str = "ARGUS_HELM";

/// How long the API server may take to be ready.
const START_TIME_MAX: Duration = Duration::from_secs(120);

/// How long it may take to serve a kind that it was just told of.
const SERVE_TIME_MAX: Duration = Duration::from_secs(60);

/// The definitions of all kinds, as they are checked in.
const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum User {
    /// Somebody who may do everything.
    Admin,
    /// Somebody whom no role was given.
    Nobody,
    /// Argus, which may do in a namespace what [`Namespace::admit_argus`] gives it.
    Argus,
}

impl User {
    fn name(self) -> &'static str {
        match self {
            User::Admin => "admin",
            User::Nobody => "nobody",
            User::Argus => "argus",
        }
    }
}

/// An API server.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
}

/// A namespace of a test.
pub struct Namespace {
    cluster: &'static Cluster,
    /// Its name.
    pub name: String,
}

/// How a command of `kubectl` or `helm` ended.
#[derive(Debug)]
pub struct Ran {
    /// What was asked for.
    pub command: String,
    /// Whether it was done.
    pub done: bool,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Ran {
    /// Expects that it was done.
    pub fn well(self) -> Ran {
        assert!(self.done, "{}\n{}{}", self.command, self.out, self.err);
        self
    }

    /// Expects that it was refused, with these words.
    pub fn refused(self, words: &str) -> Ran {
        assert!(!self.done, "{}\n{}{}", self.command, self.out, self.err);
        assert!(self.err.contains(words), "{}\nwithout {words:?}: {}{}", self.command, self.out, self.err);
        self
    }

    /// What it printed, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{}: {error}: {}", self.command, self.out))
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os(BINARY).map(PathBuf::from).filter(|path| path.is_file());
    path.unwrap_or_else(|| panic!("{BINARY} names no API server of Kubernetes: run `make e2e`, which builds one"))
}

/// Where Helm is; the definitions of the Prometheus operator are beside it.
pub fn helm_binary() -> PathBuf {
    let path = std::env::var_os(HELM).map(PathBuf::from).filter(|path| path.is_file());
    path.unwrap_or_else(|| panic!("{HELM} names no Helm: run `make e2e`, which builds it"))
}

/// Runs `helm` without any cluster, with this text as its input.
pub fn helm_alone(arguments: &[&str], input: &str) -> Ran {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    let home = HOME.get_or_init(|| scratch("helm"));
    let mut command = helm(home);
    // What is not there cannot be asked.
    command.env("KUBECONFIG", home.join("none"));
    run("helm", command, arguments, input)
}

/// Helm, with what it keeps in a folder.
fn helm(home: &Path) -> Command {
    let mut command = Command::new(helm_binary());
    for (name, folder) in [("CACHE", "cache"), ("CONFIG", "config"), ("DATA", "data")] {
        command.env(format!("HELM_{name}_HOME"), home.join(folder));
    }
    command
}

/// Runs a program to its end with this text as its input.
fn run(name: &str, mut program: Command, arguments: &[&str], input: &str) -> Ran {
    program.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().expect("it runs");
    let mut pipe = child.stdin.take().expect("a pipe");
    let text = input.to_owned();
    // What it does not read is of no interest.
    let writer = std::thread::spawn(move || drop(pipe.write_all(text.as_bytes())));
    let mut errors = child.stderr.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it was written");
    Ran {
        command: format!("{name} {}", arguments.join(" ")),
        done: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: reader.join().expect("it was read").expect("UTF-8"),
    }
}

/// The API server that tests share, which knows the definitions of all kinds. Each test has a namespace of its own.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| {
        let cluster = Cluster::start();
        cluster.define(Path::new(DEFINITIONS));
        cluster
    })
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

impl Cluster {
    /// Starts one with nothing in it. It ends with this process.
    pub fn start() -> Cluster {
        // What is missing is told before anything is made.
        binary();
        let folder = scratch("kubernetes");
        std::fs::create_dir_all(&folder).expect("a folder");
        let [port, client, peer] = free_ports();
        let cluster = Cluster { folder, port };
        let own = authority().issue(&["127.0.0.1"]);
        cluster.write("ca.pem", &authority().certificate);
        cluster.write("own.pem", &own.certificate.pem());
        cluster.write("own.key", &own.key.serialize_pem());
        let accounts = KeyPair::generate().expect("a key");
        cluster.write("accounts.key", &accounts.serialize_pem());
        cluster.write("accounts.pem", &accounts.public_key_pem());
        cluster.write(
            "tokens.csv",
            "token-of-admin,admin,1,\"system:masters\"\ntoken-of-nobody,nobody,2\ntoken-of-argus,argus,3\n",
        );
        cluster.write("kubeconfig", &cluster.kubeconfig(&format!("https://127.0.0.1:{port}"), User::Admin).to_string());
        let file = |name: &str| cluster.folder.join(name).display().to_string();
        let etcd = format!("http://127.0.0.1:{client}");
        let data = file("etcd");
        let etcd_id = cluster.spawn("etcd", &[&data, &etcd, &format!("http://127.0.0.1:{peer}")]);
        let server = [
            format!("--etcd-servers={etcd}"),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", file("certificates")),
            format!("--tls-cert-file={}", file("own.pem")),
            format!("--tls-private-key-file={}", file("own.key")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", file("accounts.pem")),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
            "--service-cluster-ip-range=10.0.0.0/24".into(),
            // Nothing here runs pods, so nobody makes accounts for them.
            "--disable-admission-plugins=ServiceAccount".into(),
        ];
        let server: Vec<&str> = server.iter().map(String::as_str).collect();
        let server_id = cluster.spawn("apiserver", &server);
        // It waits for the end of this process, of which a closed pipe tells, and is no child that anybody waits for.
        std::mem::forget(watch(&[server_id, etcd_id], &cluster.folder));
        let deadline = Instant::now() + START_TIME_MAX;
        while !cluster.kubectl(User::Admin, &["get", "--raw", "/readyz"], "").out.starts_with("ok") {
            assert!(Instant::now() < deadline, "the API server is not ready: {}", cluster.log());
            std::thread::sleep(Duration::from_millis(200));
        }
        cluster
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).expect("a file");
    }

    /// A kubeconfig for whoever reaches the cluster through this address, as this user unless another context is asked
    /// for.
    fn kubeconfig(&self, address: &str, user: User) -> Value {
        let users = [User::Admin, User::Nobody, User::Argus].map(User::name);
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": {
                "server": address,
                "certificate-authority": self.folder.join("ca.pem"),
            }}],
            "users": users.map(|name| json!({"name": name, "user": {"token": format!("token-of-{name}")}})),
            "contexts": users.map(|name| json!({"name": name, "context": {"cluster": "tests", "user": name}})),
            "current-context": user.name(),
        })
    }

    /// A file that says how a user reaches the cluster, straight or through this address.
    pub fn way_in(&self, user: User, address: Option<&str>) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("kubeconfig-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let own = format!("https://127.0.0.1:{}", self.port);
        self.write(&name, &self.kubeconfig(address.unwrap_or(&own), user).to_string());
        self.folder.join(name)
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts a part of the binary and gives its id.
    fn spawn(&self, part: &str, arguments: &[&str]) -> u32 {
        let log = std::fs::File::create(self.folder.join(format!("{part}.log"))).expect("a log");
        let mut command = Command::new(binary());
        command.arg(part).args(arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("it runs").id()
    }

    fn log(&self) -> String {
        let part = |name: &str| {
            let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            text.lines().rev().take(20).collect::<Vec<_>>().join("\n")
        };
        format!("{}\n{}", part("apiserver.log"), part("etcd.log"))
    }

    /// Tells it of kinds, and waits until it serves them all.
    fn define(&self, folder: &Path) {
        let folder = folder.display().to_string();
        self.kubectl(User::Admin, &["create", "-f", &folder], "").well();
        let wait = format!("--timeout={}s", SERVE_TIME_MAX.as_secs());
        self.kubectl(User::Admin, &["wait", "--for=condition=Established", "-f", &folder, &wait], "").well();
        // What is established is published a moment later, and `kubectl` asks for what is published.
        let kinds = std::fs::read_dir(&folder).expect("definitions").count();
        let deadline = Instant::now() + SERVE_TIME_MAX;
        let published = || {
            let schema = self.kubectl(User::Admin, &["get", "--raw", "/openapi/v3/apis/argus.io/v1alpha1"], "");
            let groups = self.kubectl(User::Admin, &["api-resources", "--api-group=argus.io", "-o", "name"], "");
            // A kind, and the list of it.
            let told = schema.out.matches("\"x-kubernetes-group-version-kind\":[{\"group\":\"argus.io\"").count();
            told >= 2 * kinds && groups.out.lines().count() == kinds
        };
        while !published() {
            assert!(Instant::now() < deadline, "the kinds are not served: {}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Runs `kubectl` with this text as its input.
    pub fn kubectl(&self, user: User, arguments: &[&str], input: &str) -> Ran {
        let mut command = Command::new(binary());
        command.arg("kubectl").arg("--kubeconfig").arg(self.folder.join("kubeconfig"));
        command.args(["--context", user.name(), "--cache-dir"]).arg(self.folder.join("cache"));
        run("kubectl", command, arguments, input)
    }

    /// Runs `helm` as somebody who may do everything, with this text as its input.
    pub fn helm(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = helm(&self.folder.join("helm"));
        command.env("KUBECONFIG", self.folder.join("kubeconfig")).env("HELM_KUBECONTEXT", User::Admin.name());
        run("helm", command, arguments, input)
    }

    /// A namespace with nothing in it.
    pub fn namespace(&'static self) -> Namespace {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.kubectl(User::Admin, &["create", "namespace", &name], "").well();
        Namespace { cluster: self, name }
    }
}

impl Namespace {
    /// Gives Argus the role that the chart gives it, in this namespace and nowhere else.
    pub fn admit_argus(&self) {
        // The file is rendered from the chart: what Argus needs and the chart forgets is missed by every test.
        let rendered = include_str!("../../../charts/kustomize/bound/role.yaml");
        let role = rendered.split("\n---\n").find(|text| text.contains("\nkind: Role\n")).expect("a Role");
        self.kubectl_with(&["apply", "-f", "-"], &role.replace("  namespace: bound\n", "")).well();
        self.kubectl(&["create", "rolebinding", "argus", "--role=argus", "--user=argus"]).well();
    }

    /// Runs `kubectl` in it.
    pub fn kubectl(&self, arguments: &[&str]) -> Ran {
        self.kubectl_with(arguments, "")
    }

    /// Runs `kubectl` in it with this text as its input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Ran {
        self.as_user(User::Admin, arguments, input)
    }

    /// Runs `kubectl` in it as somebody.
    pub fn as_user(&self, user: User, arguments: &[&str], input: &str) -> Ran {
        let arguments: Vec<&str> = ["--namespace", &self.name].iter().chain(arguments).copied().collect();
        self.cluster.kubectl(user, &arguments, input)
    }
}

/// Waits for the end of this process, then kills what was started and removes its folder.
fn watch(processes: &[u32], folder: &Path) -> Child {
    let script = r#"cat >/dev/null; folder=$1; shift; kill -KILL "$@"; sleep 0.2; rm -rf "$folder""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "watchdog"]).arg(folder).args(processes.iter().map(u32::to_string));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().expect("a shell")
}
