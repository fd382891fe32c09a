//! What the pods run, run here: the words and the environment of the manifests, with a real database behind them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize as _;
use serde_json::Value;

use crate::support::postgres::{Database, scratch};

/// How long it may take until it is ready.
const READY_TIME_MAX: Duration = Duration::from_secs(30);

const KUSTOMIZE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/kustomize");

/// The pod of the object of a kind, in a file of manifests.
fn pod(file: &str, kind: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(KUSTOMIZE).join(file)).expect(file);
    let documents =
        serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect("YAML"));
    let mut found = documents.filter(|document| document["kind"] == kind);
    found.next().expect(kind)["spec"]["template"]["spec"].clone()
}

/// What the container of a pod runs, where `at` says what stands here in the place of what is there.
fn command(pod: &Value, database: &Database, at: &dyn Fn(&str) -> String) -> Command {
    let container = &pod["containers"][0];
    let mut command = Command::new(env!("CARGO_BIN_EXE_argus"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for word in container["args"].as_array().expect("words") {
        command.arg(at(word.as_str().expect("a word")));
    }
    for variable in container["env"].as_array().expect("an environment") {
        let name = variable["name"].as_str().expect("a name");
        match variable["value"].as_str() {
            Some(value) => command.env(name, at(value)),
            None => {
                assert_eq!(name, "ARGUS_DATABASE_URL", "the only one that comes from a Secret");
                assert!(variable["valueFrom"]["secretKeyRef"]["name"].is_string(), "{variable}");
                command.env(name, database.url.to_string())
            }
        };
    }
    command
}

/// Ends with whoever started it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_job_migrates_and_the_controller_answers_its_probes_and_ends_when_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(Database::empty());
    let folder = scratch("pod");
    std::fs::create_dir_all(&folder).expect("a folder");
    let settings = Path::new(KUSTOMIZE).join("production/settings.yaml").display().to_string();
    let at = |word: &str| {
        word.replace("/etc/argus/config/argus.yaml", &settings)
            .replace("0.0.0.0:8080", "127.0.0.1:0")
            .replace("/var/cache", &folder.display().to_string())
    };

    let job = pod("migrate/job.yaml", "Job");
    let migrated = command(&job, &database, &at).output().expect("it runs");
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));

    let controller = pod("base/argus.yaml", "Deployment");
    let mut running = Running(command(&controller, &database, &at).spawn().expect("it runs"));
    let mut said = BufReader::new(running.0.stderr.take().expect("a pipe"));
    let address = loop {
        let mut line = String::new();
        assert!(said.read_line(&mut line).expect("it says something") > 0, "it ends without serving");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("no JSON: {error}: {line}"));
        let message = told["message"].as_str().unwrap_or_default();
        if let Some((_, address)) = message.split_once("served at http://") {
            break address.to_owned();
        }
    };
    // Whoever writes into a pipe that nobody reads has to wait.
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = controller["containers"][0][probe]["httpGet"]["path"].as_str().expect(probe);
        let ask = || {
            let mut stream = TcpStream::connect(&address).expect("it listens");
            let request = format!("GET {path} HTTP/1.1\r\nhost: argus\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers");
            answer
        };
        // It serves before its workers are there, and is ready then.
        let began = Instant::now();
        let mut answer = ask();
        while probe == "readinessProbe" && !answer.starts_with("HTTP/1.1 200 ") && began.elapsed() < READY_TIME_MAX {
            std::thread::sleep(Duration::from_millis(50));
            answer = ask();
        }
        assert!(answer.starts_with("HTTP/1.1 200 "), "{probe}: {answer}");
    }
    let told = Command::new("kill").args(["-TERM", &running.0.id().to_string()]).status().expect("it runs");
    assert!(told.success());
    let ended = running.0.wait().expect("it ends");
    assert!(ended.success(), "{ended}");
    std::fs::remove_dir_all(&folder).expect("it goes");
}

#[test]
fn a_word_that_argus_does_not_know_would_be_found() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let database = runtime.block_on(Database::empty());
    let controller = pod("base/argus.yaml", "Deployment");
    let at = |word: &str| word.replace("--listen", "--listens");
    let ran = command(&controller, &database, &at).output().expect("it runs");
    assert!(!ran.status.success() && String::from_utf8_lossy(&ran.stderr).contains("--listens"), "{ran:?}");
}
