//! The controller: a first pass over everything, an idle minute, and the way from `git push` to applied and noted.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::report::Figures;
use super::usage::Usage;
use super::{git, postgres, world};

/// The secret that the sender of hooks knows.
const SECRET: &str = "a secret that nobody guesses";

/// How long something may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// For how long an idle controller is watched.
const IDLE: Duration = Duration::from_secs(60);

/// What is measured, and with what.
#[derive(Clone, Copy)]
pub struct Controller<'a> {
    /// The binary.
    pub argus: &'a Path,
    /// The private server.
    pub data: &'a Path,
    /// A folder that is empty but for the repository.
    pub folder: &'a Path,
    /// The work tree from which is pushed.
    pub repo: &'a Path,
    /// How many pushes there are.
    pub pushes: usize,
}

/// A session of `psql` that answers one line at a time.
pub struct Session {
    _psql: Ended,
    into: ChildStdin,
    out: BufReader<ChildStdout>,
}

/// A process that ends with this.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Session {
    /// One with the server that is up.
    pub fn new() -> Result<Session, Box<dyn Error>> {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-qAt", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = psql.spawn()?;
        let (into, out) = (child.stdin.take().ok_or("no input")?, child.stdout.take().ok_or("no output")?);
        Ok(Session { _psql: Ended(child), into, out: BufReader::new(out) })
    }

    /// The one line that SQL answers.
    pub fn ask(&mut self, sql: &str) -> Result<String, Box<dyn Error>> {
        writeln!(self.into, "{sql};")?;
        self.into.flush()?;
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Asks again and again until this is said.
    pub fn until(&mut self, sql: &str, said: &str) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        while self.ask(sql)? != said {
            if began.elapsed() > PATIENCE {
                return Err(format!("{sql}: not {said} within {PATIENCE:?}").into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Controller<'_> {
    /// Everything, on a server that is up and empty.
    pub fn measure(&self) -> Result<Figures, Box<dyn Error>> {
        let bare = self.folder.join("config.git");
        git::git(
            self.folder,
            &["clone", "-q", "--bare", &self.repo.display().to_string(), &bare.display().to_string()],
        )?;
        git::git(self.repo, &["remote", "add", "origin", &bare.display().to_string()])?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings = self.folder.join("machine.yaml");
        std::fs::write(self.folder.join("secret"), SECRET)?;
        std::fs::write(
            &settings,
            format!(
                "policies: none\ncontroller:\n  listen: 127.0.0.1:{port}\n  sources:\n    - name: generated\n      \
                 git: {{url: '{}', ref: main}}\n      interval: 1h\n      \
                 webhook: {{provider: gitlab, secretFile: secret}}\n",
                bare.display()
            ),
        )?;
        let mut session = Session::new()?;
        let mut figures = Figures::new();
        let (began, before) = (Instant::now(), postgres::server_seconds()?);
        let mut command = Command::new(self.argus);
        command.env_remove("ARGUS_DATABASE_URL").arg("controller").arg("--config").arg(&settings);
        command.arg("--data-dir").arg(self.data).env("XDG_CACHE_HOME", self.folder.join("cache"));
        let controller = Ended(command.stdout(Stdio::null()).spawn()?);
        let settled = "SELECT count(*) > 1 AND bool_and(asked = answered) FROM argus.work";
        session.until(settled, "t")?;
        let first = used(&controller, began.elapsed(), postgres::server_seconds()? - before)?;
        figures.insert("controller-first".into(), first);

        let (cpu, before, began) = (processor_seconds(&controller)?, postgres::server_seconds()?, Instant::now());
        std::thread::sleep(IDLE);
        let mut idle = used(&controller, began.elapsed(), postgres::server_seconds()? - before)?;
        idle.cpu_seconds -= cpu;
        figures.insert("controller-idle".into(), idle);

        let (mut pushed, mut applied) = (Vec::new(), Vec::new());
        for number in 0..self.pushes {
            let (alone, whole) = self.push(number, port, &mut session)?;
            pushed.push(alone);
            applied.push(whole);
        }
        for (name, times) in [("push", &mut pushed), ("applied", &mut applied)] {
            times.sort();
            let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64();
            for (what, share) in [("median", 0.5), ("p99", 0.99)] {
                figures.insert(format!("{name}-{what}"), Usage { wall_seconds: at(share), ..Usage::default() });
            }
        }
        Ok(figures)
    }

    /// One push of a change to one organization, and its hook. Gives how long the push took, and how long it was from its
    /// beginning until the rows were written and what came of it was noted.
    fn push(&self, number: usize, port: u16, session: &mut Session) -> Result<(Duration, Duration), Box<dyn Error>> {
        let file = self.repo.join(world::organization_file(number));
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, text.replacen("displayName: ", "displayName: The ", 1))?;
        git::commit(self.repo)?;
        let began = Instant::now();
        git::git(self.repo, &["push", "-q", "origin", "main"])?;
        let pushed = began.elapsed();
        hook(port, number)?;
        let name = world::organization_name(number);
        let noted = format!(
            "SELECT outcome = 'applied' AND asked = answered AND EXISTS (
                 SELECT FROM argus.organization WHERE name = '{name}' AND display_name LIKE 'The %')
             FROM argus.work WHERE organization = '{name}'"
        );
        session.until(&noted.replace('\n', " "), "t")?;
        Ok((pushed, began.elapsed()))
    }
}

/// Tells the controller of a push.
fn hook(port: u16, number: usize) -> Result<(), Box<dyn Error>> {
    // No two hooks are the same: the same one again would be taken for a replay.
    let body =
        format!("{{\"object_kind\": \"push\", \"ref\": \"refs/heads/main\", \"checkout_sha\": \"{number:040}\"}}");
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        stream,
        "POST /hooks/generated HTTP/1.1\r\nHost: argus\r\nConnection: close\r\nContent-Type: application/json\r\n\
         X-Gitlab-Event: Push Hook\r\nX-Gitlab-Event-UUID: push-{number}\r\nX-Gitlab-Token: {SECRET}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        _ => Err(format!("the hook was answered with {answer}").into()),
    }
}

/// What the controller has used by now.
fn used(controller: &Ended, wall: Duration, server_seconds: f64) -> Result<Usage, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", controller.0.id()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak of memory")?;
    let rss_kib = peak.trim().trim_end_matches(" kB").parse()?;
    let cpu_seconds = processor_seconds(controller)?;
    Ok(Usage { cpu_seconds, wall_seconds: wall.as_secs_f64(), rss_kib, server_seconds })
}

/// The processor time that a controller has used, in seconds.
pub fn processor_seconds(controller: &Ended) -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", controller.0.id()))?;
    // Behind the name of the program: user and system time are the 12th and 13th field, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or("no processor time");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
