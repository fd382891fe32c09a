//! Events: delivering what waits to a real broker, beside what a producer of Kafka's own does and a bare COPY of the rows.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

use argus::event::Topic;

use super::report::Figures;
use super::support::kafka::{Broker, PARTITIONS, java};
use super::usage::{Usage, expect};
use super::{postgres, with_server};

/// How many organizations the events are of.
const ORGANIZATIONS: usize = 2_000;

/// How many workers deliver.
const WORKERS: &str = "4";

/// The columns of which an event is made.
const ROWS: &str = "\\copy (SELECT e.organization, e.position, e.id, e.type, e.subject, e.at, e.trace, e.data \
                    FROM argus.event e ORDER BY e.organization, e.position) TO '/dev/null'";

/// What is measured, and with what.
#[derive(Clone, Copy)]
pub struct Events<'a> {
    /// The binary.
    pub argus: &'a Path,
    /// The private server.
    pub data: &'a Path,
    /// A folder that is empty.
    pub folder: &'a Path,
    /// How many events there are.
    pub events: usize,
}

impl Events<'_> {
    /// Everything, on a server that is up and empty.
    pub fn measure(&self) -> Result<Figures, Box<dyn Error>> {
        let mut figures = Figures::new();
        let broker = Broker::start();
        let settings = self.folder.join("machine.yaml");
        let topics = broker.topics(PARTITIONS);
        let named: Vec<String> = Topic::ALL.iter().map(|topic| format!("{topic}: {topics}.{topic}")).collect();
        let sink = format!("{{brokers: ['{}'], topics: {{{}}}}}", broker.address(), named.join(", "));
        std::fs::write(&settings, format!("sinks: [{{name: broker, kafka: {sink}}}]\n"))?;
        self.tell()?;
        postgres::query("VACUUM ANALYZE")?;
        let bytes = postgres::query("SELECT avg(length(data::text) + length(subject) + 150)::bigint FROM argus.event")?
            .join("");
        figures.insert("copy".into(), with_server(Command::new("psql").args(["-X", "-c", ROWS]))?);
        let mut relay = Command::new(self.argus);
        relay.env_remove("ARGUS_DATABASE_URL").args(["relay", "--once", "--workers", WORKERS, "--config"]);
        figures.insert("relay".into(), with_server(relay.arg(&settings).arg("--data-dir").arg(self.data))?);
        let waiting = postgres::query("SELECT count(*) FROM argus.delivery")?.join("");
        if waiting != "0" {
            return Err(format!("{waiting} events were not delivered").into());
        }
        figures.insert("producer".into(), self.producer(&broker, &format!("{topics}.audit"), &bytes)?);
        Ok(figures)
    }

    /// Tells of so many changes, for a sink that waits for them.
    fn tell(&self) -> Result<(), Box<dyn Error>> {
        postgres::query("INSERT INTO argus.sink (name) VALUES ('broker')")?;
        let each = self.events.div_ceil(ORGANIZATIONS);
        postgres::query(&format!(
            "SELECT count(argus.tell('org-' || o, NULL, NULL,
                 (SELECT array_agg('resource.updated'::text) FROM generate_series(1, {each})),
                 (SELECT array_agg('Team/team-' || n) FROM generate_series(1, {each}) n),
                 (SELECT array_agg(format('{{\"organization\": \"org-%s\", \"kind\": \"Team\", \"name\": \"team-%s\", \
                     \"actor\": \"somebody@acme.example\", \"version\": %s, \"fields\": [{{\"path\": \"displayName\", \
                     \"before\": \"Team %s\", \"after\": \"Another team %s\"}}]}}', o, n, n, n, n))
                  FROM generate_series(1, {each}) n)))
             FROM generate_series(1, {ORGANIZATIONS}) o"
        ))?;
        Ok(())
    }

    /// What Kafka's own program for this says that it sends, of records of the same size and with the same settings.
    fn producer(&self, broker: &Broker, topic: &str, bytes: &str) -> Result<Usage, Box<dyn Error>> {
        let address = format!("bootstrap.servers={}", broker.address());
        let events = self.events.to_string();
        let arguments = [
            "--topic",
            topic,
            "--num-records",
            &events,
            "--record-size",
            bytes,
            "--throughput",
            "-1",
            "--producer-props",
        ];
        let mut producer = java("org.apache.kafka.tools.ProducerPerformance", &arguments);
        producer.args([&address, "acks=all", "enable.idempotence=true", "compression.type=zstd", "linger.ms=5"]);
        let output = producer.stderr(Stdio::inherit()).output()?;
        let said = String::from_utf8(output.stdout)?;
        let rate = said.lines().last().and_then(|line| line.split(", ").nth(1)).and_then(|part| part.split(' ').next());
        let rate: f64 = rate.ok_or_else(|| format!("the producer says no rate: {said}"))?.parse()?;
        Ok(Usage { wall_seconds: self.events as f64 / rate, ..Usage::default() })
    }
}

/// Whether there are a broker and a Java to run it with.
pub fn possible() -> bool {
    expect(0, Command::new("java").arg("-version").stderr(Stdio::null())).is_ok()
}
