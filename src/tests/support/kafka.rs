//! A real broker of Apache Kafka, on loopback, with data of its own; and `kcat`, which knows nothing of Argus.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use serde_json::Value;

use super::postgres::scratch;
use super::tls::authority;

/// The version that the installer brings.
const VERSION: &str = "4.1.1";

/// Who may log in.
pub const USER: &str = "argus";

/// With what.
pub const PASSWORD: &str = "canary-of-the-broker";

/// What checks the two kinds of login.
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

/// How long a broker may take to answer.
const START_TIME_MAX: Duration = Duration::from_secs(90);

/// How many partitions a topic has, if nothing else is said.
pub const PARTITIONS: u32 = 3;

/// A broker.
pub struct Broker {
    folder: PathBuf,
    port: u16,
    /// Where whoever logs in goes.
    login_port: u16,
    /// Where whoever shows a certificate goes.
    certificate_port: u16,
    process: Option<Child>,
    watchdog: Option<Child>,
}

/// A message as `kcat` reads it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its partition.
    pub partition: i64,
    /// Its key.
    pub key: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// What it carries.
    pub value: String,
}

impl Message {
    /// One header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The id of the event.
    pub fn id(&self) -> String {
        self.header("ce_id").expect("every message has the id of its event").to_owned()
    }

    /// The document of an event in structured mode.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.value).expect("the message is JSON")
    }
}

/// Where the installer puts the broker.
fn classes() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"))).expect("a home");
    let folder = cache.join(format!("argus/kafka-{VERSION}"));
    assert!(folder.is_dir(), "there is no {}: run .ci/install", folder.display());
    folder
}

/// Waits for a future from wherever a test is.
fn futures<F: Future<Output: Send> + Send>(future: F) -> F::Output {
    std::thread::scope(|threads| {
        let wait =
            || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
        threads.spawn(wait).join().expect("it ends")
    })
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

/// A program of Kafka's own.
pub fn java(class: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("java");
    command.args(["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(format!("{}/*", classes().display())).arg(class).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// The broker that tests share. Each has topics of its own.
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(Broker::start)
}

impl Broker {
    /// Starts a broker with nothing in it.
    pub fn start() -> Broker {
        let folder = scratch("kafka");
        std::fs::create_dir_all(&folder).expect("a folder");
        let [port, login_port, certificate_port, controller] = free_ports();
        let own = authority().issue(&["127.0.0.1"]);
        std::fs::write(folder.join("ca.pem"), &authority().certificate).expect("a file");
        std::fs::write(folder.join("own.pem"), own.key.serialize_pem() + &own.certificate.pem()).expect("a file");
        let settings = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},LOGIN://127.0.0.1:{login_port},\
             CERTIFICATE://127.0.0.1:{certificate_port},CONTROLLER://127.0.0.1:{controller}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,LOGIN:SASL_SSL,CERTIFICATE:SSL,CONTROLLER:PLAINTEXT\n\
             ssl.keystore.type=PEM\nssl.keystore.location={folder}/own.pem\n\
             ssl.truststore.type=PEM\nssl.truststore.location={folder}/ca.pem\n\
             listener.name.certificate.ssl.client.auth=required\n\
             sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN\n\
             listener.name.login.scram-sha-512.sasl.jaas.config={SCRAM} required;\n\
             listener.name.login.scram-sha-256.sasl.jaas.config={SCRAM} required;\n\
             listener.name.login.plain.sasl.jaas.config={PLAIN} required user_{USER}=\"{PASSWORD}\";\n\
             controller.listener.names=CONTROLLER\nlog.dirs={folder}/data\nauto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\nlog.cleaner.enable=false\n",
            folder = folder.display()
        );
        let file = folder.join("server.properties");
        std::fs::write(&file, settings).expect("the settings");
        let file = file.display().to_string();
        let logins = ["512", "256"].map(|bits| format!("SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]"));
        let arguments = ["format", "-t", "Y2hpbGRyZW4gb2YgYXJndQ", "-c", &file, "--add-scram", &logins[0]];
        let mut format = java("kafka.tools.StorageTool", &arguments);
        let format = format.args(["--add-scram", &logins[1]]).output().expect("java runs");
        assert!(format.status.success(), "{}", String::from_utf8_lossy(&format.stderr));
        let mut broker = Broker { folder, port, login_port, certificate_port, process: None, watchdog: None };
        broker.resume();
        broker
    }

    /// Starts it again with the data that it had.
    pub fn resume(&mut self) {
        let file = self.folder.join("server.properties").display().to_string();
        let log = std::fs::File::create(self.folder.join("log")).expect("a log");
        let mut command = java("kafka.Kafka", &[&file]);
        let process = command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("java runs");
        self.watchdog = Some(watch(process.id(), &self.folder));
        self.process = Some(process);
        let deadline = Instant::now() + START_TIME_MAX;
        while !self.answers() {
            assert!(Instant::now() < deadline, "the broker does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Kills it as a power cut would. What it had confirmed stays.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if let Some(mut watchdog) = self.watchdog.take() {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
    }

    fn answers(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && kcat(&self.address(), &["-L", "-m", "2"]).output().is_ok_and(|output| output.status.success())
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let file = std::fs::File::open(self.folder.join("log"));
        let _ = file.and_then(|mut file| file.read_to_string(&mut text));
        text.lines().rev().take(30).collect::<Vec<_>>().join("\n")
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where to log in as [`USER`], behind TLS.
    pub fn login_address(&self) -> String {
        format!("127.0.0.1:{}", self.login_port)
    }

    /// Where a certificate of the authority must be shown.
    pub fn certificate_address(&self) -> String {
        format!("127.0.0.1:{}", self.certificate_port)
    }

    /// Makes topics for a test, and gives what stands before their names.
    pub fn topics(&self, partitions: u32) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let names: Vec<String> = argus::event::Topic::ALL.iter().map(|topic| format!("{prefix}.{topic}")).collect();
        let many = partitions.try_into().expect("a number");
        let topics: Vec<_> = names.iter().map(|name| NewTopic::new(name, many, TopicReplication::Fixed(1))).collect();
        let admin: AdminClient<_> =
            ClientConfig::new().set("bootstrap.servers", self.address()).create().expect("an administrator");
        let made = futures(admin.create_topics(&topics, &AdminOptions::new())).expect("the broker answers");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        prefix
    }

    /// Everything that stands in a topic.
    pub fn read(&self, topic: &str) -> Vec<Message> {
        read(&self.address(), topic)
    }
}

fn kcat(address: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", address]).args(arguments).stdin(Stdio::null());
    command
}

/// Everything that stands in a topic of the broker at this address.
pub fn read(address: &str, topic: &str) -> Vec<Message> {
    let output = kcat(address, &["-C", "-q", "-e", "-J", "-o", "beginning", "-t", topic]).output().expect("kcat runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let message = |line: &str| {
        let read: Value = serde_json::from_str(line).expect("kcat writes JSON");
        let headers = read["headers"].as_array().cloned().unwrap_or_default();
        Message {
            partition: read["partition"].as_i64().expect("a partition"),
            key: text_of(&read["key"]),
            headers: headers.chunks(2).map(|pair| (text_of(&pair[0]), text_of(&pair[1]))).collect(),
            value: text_of(&read["payload"]),
        }
    };
    text.lines().map(message).collect()
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits for the end of this process, then kills the broker and removes its folder.
fn watch(broker: u32, folder: &Path) -> Child {
    let script = r#"cat >/dev/null; kill -KILL "$1"; sleep 0.2; rm -rf "$2""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "watchdog", &broker.to_string()]).arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().expect("a shell")
}
