//! The controller over a cluster: from its start until everything is applied and told, at rest, one change after the other,
//! and a start over what is applied already; against a real API server with its etcd.

#[path = "cluster/served.rs"]
mod served;
#[path = "cluster/told.rs"]
mod told;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::controller::{Ended, Session, processor_seconds};
use super::postgres;
use super::support::kubernetes::{Namespace, shared};
pub use served::binary;
use served::{Asked, CHILDREN, Served, organization};

/// How many namespaces the organizations are spread over.
const NAMESPACES: usize = 4;

/// How long something may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// How long nothing is done before a controller is taken to be at rest.
const QUIET: Duration = Duration::from_secs(15);

/// How many changes are made one after the other.
const CHANGES: usize = 100;

/// To how many organizations is written bare, at most.
const BARE_MAX: usize = 1_000;

/// What is measured, and with what.
#[derive(Clone, Copy)]
pub struct Cluster<'a> {
    /// The binary.
    pub argus: &'a Path,
    /// The private server.
    pub data: &'a Path,
    /// A folder that is empty.
    pub folder: &'a Path,
    /// How many organizations there are.
    pub organizations: usize,
    /// For how long a controller is watched that has nothing to do, in seconds.
    pub idle: u64,
}

/// What was used by one moment.
struct Moment {
    at: Instant,
    controller: f64,
    server: f64,
    api_server: f64,
    etcd: f64,
    transactions: f64,
    asked: Asked,
}

/// What a stretch of time has cost.
struct Cost {
    seconds: f64,
    /// Processor seconds.
    controller: f64,
    server: f64,
    api_server: f64,
    etcd: f64,
    /// Transactions of PostgreSQL.
    transactions: f64,
    asked: Asked,
    /// The most memory that the controller has held since it started, and what it holds at the end.
    peak_kib: u64,
    held_kib: u64,
}

/// All that came out.
struct Figures {
    organizations: usize,
    /// From the start until everything is applied and told, and how many rows there are then.
    first: Cost,
    rows: u64,
    /// While nothing happens, and how many looks there were.
    idle: Cost,
    looks: u64,
    /// Changes one after the other, in seconds, the shortest first.
    changes: Vec<f64>,
    changed: Cost,
    /// From a start over what is applied until nothing is left to do, and with the quiet after it.
    again: Cost,
    /// How many objects were written bare, and how long that took.
    bare: (usize, f64),
}

/// What is there while it is measured.
struct Scene {
    session: Session,
    served: Served,
    runtime: tokio::runtime::Runtime,
    namespaces: Vec<Namespace>,
}

/// A controller that runs.
struct Running(Ended);

impl Cluster<'_> {
    /// Everything, on a database that is up and empty; gives the text for the document.
    pub fn measure(&self) -> Result<String, Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let served = runtime.block_on(Served::new(shared()))?;
        served.count();
        let namespaces = (0..NAMESPACES).map(|_| shared().namespace()).collect();
        let mut scene = Scene { session: Session::new()?, served, runtime, namespaces };
        let each = self.organizations.div_ceil(NAMESPACES);
        for (place, namespace) in scene.namespaces.iter().enumerate() {
            eprintln!("making {each} organizations of {CHILDREN} children in {} ...", namespace.name);
            namespace.admit_argus();
            scene.runtime.block_on(scene.served.fill(&namespace.name, place, 0..each))?;
        }
        let organizations = each * NAMESPACES;
        let settings = self.settings(&scene)?;

        let (running, start) = self.start(&settings, &mut scene)?;
        scene.until(&format!(
            "SELECT count(*) = {organizations} AND bool_and(asked = answered AND outcome = 'applied') FROM argus.work"
        ))?;
        let first = scene.cost(&running, start)?;
        eprintln!("all are applied after {:.1} s", first.seconds);
        let status = scene.all_ready(organizations * (1 + CHILDREN))?;
        let rows = scene.rows()?;

        eprintln!("watching it for {} s ...", self.idle);
        std::thread::sleep(QUIET);
        let (looked, start) = (scene.looks()?, scene.moment(&running)?);
        std::thread::sleep(Duration::from_secs(self.idle));
        let idle = scene.cost(&running, start)?;
        let looks = scene.looks()? - looked;

        eprintln!("changing {CHANGES} objects one after the other ...");
        let start = scene.moment(&running)?;
        let mut changes = Vec::new();
        for number in 0..CHANGES.min(organizations) {
            changes.push(scene.change(number)?);
        }
        changes.sort_by(f64::total_cmp);
        let changed = scene.cost(&running, start)?;

        eprintln!("starting it anew ...");
        running.end()?;
        let since = scene.session.ask("SELECT clock_timestamp()")?;
        let (running, start) = self.start(&settings, &mut scene)?;
        scene.until(&format!(
            "SELECT (SELECT bool_and(succeeded_at > '{since}') FROM argus.source)
                    AND (SELECT bool_and(asked = answered) FROM argus.work)"
        ))?;
        let seconds = start.at.elapsed().as_secs_f64();
        std::thread::sleep(QUIET);
        // Whatever it still does after that is counted, but not the time.
        let again = Cost { seconds, ..scene.cost(&running, start)? };
        running.end()?;

        let sample = (organizations / 10).clamp(1, BARE_MAX);
        eprintln!("writing to {sample} organizations with nothing else ...");
        let bare = shared().namespace();
        let seconds = scene.runtime.block_on(scene.served.write_bare(&bare.name, 0..sample, &status))?;
        let bare = (sample * (1 + CHILDREN), seconds);
        Ok(told::report(&Figures { organizations, first, rows, idle, looks, changes, changed, again, bare }))
    }

    /// Binds each namespace to its organizations.
    fn settings(&self, scene: &Scene) -> Result<PathBuf, Box<dyn Error>> {
        let bound = |(place, namespace): (usize, &Namespace)| (namespace.name.clone(), json!([format!("n{place}-*")]));
        let namespaces: serde_json::Map<String, Json> = scene.namespaces.iter().enumerate().map(bound).collect();
        let cluster = json!({ "kubeconfig": scene.served.way_in(), "namespaces": namespaces });
        let file = self.folder.join("machine.yaml");
        std::fs::write(&file, json!({ "policies": "none", "kubernetes": cluster }).to_string())?;
        Ok(file)
    }

    /// Starts a controller, and gives how things stood before it did anything.
    fn start(&self, settings: &Path, scene: &mut Scene) -> Result<(Running, Moment), Box<dyn Error>> {
        let mut moment = scene.moment_of(0.0)?;
        let mut command = Command::new(self.argus);
        command.env_remove("ARGUS_DATABASE_URL").arg("controller").arg("--config").arg(settings);
        command.arg("--data-dir").arg(self.data).env("XDG_CACHE_HOME", self.folder.join("cache"));
        let log = std::fs::File::create(self.folder.join("controller.log"))?;
        moment.at = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        Ok((Running(Ended(child)), moment))
    }
}

impl Running {
    /// What the system says of its memory, in KiB.
    fn memory(&self, what: &str) -> Result<u64, Box<dyn Error>> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(what)).ok_or("no word on its memory")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Tells it to stop, and waits until it has.
    fn end(mut self) -> Result<(), Box<dyn Error>> {
        Command::new("kill").arg(self.0.0.id().to_string()).status()?;
        let ended = self.0.0.wait()?;
        if ended.success() { Ok(()) } else { Err(format!("the controller ended with {ended}").into()) }
    }
}

impl Scene {
    fn moment(&mut self, running: &Running) -> Result<Moment, Box<dyn Error>> {
        self.moment_of(processor_seconds(&running.0)?)
    }

    fn moment_of(&mut self, controller: f64) -> Result<Moment, Box<dyn Error>> {
        let (api_server, etcd) = self.served.processor_seconds()?;
        let transactions =
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
        let transactions = self.session.ask(transactions)?.parse()?;
        let (server, asked) = (postgres::server_seconds()?, self.served.asked());
        Ok(Moment { at: Instant::now(), controller, server, api_server, etcd, transactions, asked })
    }

    fn cost(&mut self, running: &Running, since: Moment) -> Result<Cost, Box<dyn Error>> {
        let seconds = since.at.elapsed().as_secs_f64();
        let (peak_kib, held_kib) = (running.memory("VmHWM:")?, running.memory("VmRSS:")?);
        let now = self.moment(running)?;
        Ok(Cost {
            seconds,
            controller: now.controller - since.controller,
            server: now.server - since.server,
            api_server: now.api_server - since.api_server,
            etcd: now.etcd - since.etcd,
            transactions: now.transactions - since.transactions,
            asked: now.asked.since(&since.asked),
            peak_kib,
            held_kib,
        })
    }

    /// Waits until SQL says so, and tells now and then how far it is.
    fn until(&mut self, so: &str) -> Result<(), Box<dyn Error>> {
        let (began, so) = (Instant::now(), so.replace('\n', " "));
        let mut told = began;
        while self.session.ask(&so)? != "t" {
            if began.elapsed() > PATIENCE {
                return Err(format!("{so}: not within {PATIENCE:?}").into());
            }
            if told.elapsed() > Duration::from_secs(10) {
                let through = self.session.ask(
                    "SELECT count(*) FILTER (WHERE asked = answered) || ' of ' || count(*) || ' asked for' FROM argus.work",
                )?;
                eprintln!("{:.0} s: {through}", began.elapsed().as_secs_f64());
                told = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Sees that all objects are ready, and gives the status of one of them.
    fn all_ready(&self, objects: usize) -> Result<Json, Box<dyn Error>> {
        let (mut ready, mut status) = (0, Json::Null);
        for namespace in &self.namespaces {
            let (count, one) = self.runtime.block_on(self.served.ready(&namespace.name))?;
            (ready, status) = (ready + count, one);
        }
        if ready != objects {
            return Err(format!("{ready} of {objects} objects are ready").into());
        }
        Ok(status)
    }

    /// How many rows the objects have become.
    fn rows(&mut self) -> Result<u64, Box<dyn Error>> {
        let mut rows = 0;
        for table in ["organization", "member", "team", "project", "service_account", "budget"] {
            rows += self.session.ask(&format!("SELECT count(*) FROM argus.{table}"))?.parse::<u64>()?;
        }
        Ok(rows)
    }

    /// How often namespaces were looked at.
    fn looks(&mut self) -> Result<u64, Box<dyn Error>> {
        Ok(self.session.ask("SELECT sum(fence) FROM argus.source")?.parse()?)
    }

    /// Changes an object, and gives how long it is until its row is written and that is told and noted.
    fn change(&mut self, number: usize) -> Result<f64, Box<dyn Error>> {
        let (place, number) = (number % NAMESPACES, number / NAMESPACES);
        let name = organization(place, number);
        let began = Instant::now();
        self.runtime.block_on(self.served.rename(&self.namespaces[place].name, &name, "Renamed"))?;
        self.session.until(
            &format!(
                "SELECT asked = answered AND EXISTS (SELECT FROM argus.team WHERE organization = '{name}' \
                 AND display_name = 'Renamed') FROM argus.work WHERE organization = '{name}'"
            ),
            "t",
        )?;
        Ok(began.elapsed().as_secs_f64())
    }
}
