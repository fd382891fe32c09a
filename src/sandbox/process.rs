//! One worker, seen from outside: its process and its pipes.

use std::io::{self, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout_at;

use super::Limits;
use super::frame;
use super::messages::{Purpose, REPLY_BYTES_MAX, Reply, Request};
use super::worker::{LOAD_WALL, WORD};
use crate::policy::judgement::Failure;

/// How long beyond its limit a worker may take to say by itself that it was too slow.
const GRACE: Duration = Duration::from_millis(100);

/// How much is read of a worker's last words.
const LAST_WORDS_BYTES_MAX: u64 = 4096;

/// How much of them is told.
const LAST_WORDS_CHARS_MAX: usize = 200;

/// Without these the allocator takes a GiB at once, and the limit on memory would limit nothing below it.
const ALLOCATOR: [(&str, &str); 2] = [("MIMALLOC_ARENA_RESERVE", "65536"), ("MIMALLOC_ARENA_EAGER_COMMIT", "0")];

/// A worker. Dropping it ends and reaps its process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
    limits: Limits,
    ready_for: Vec<Purpose>,
}

impl Process {
    /// Starts one.
    pub fn start(program: &Path, limits: Limits) -> io::Result<Process> {
        let mut command = Command::new(program);
        command
            .arg0("argus")
            .arg(WORD)
            .arg(limits.memory_mib.to_string())
            .current_dir("/")
            // Who interrupts a command at its terminal speaks to the command, which then ends its workers itself.
            .process_group(0)
            .env_clear()
            .envs(ALLOCATOR)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let taken = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = taken else {
            return Err(io::Error::other("no pipes"));
        };
        let (stdin, stdout) = (ChildStdin::from_std(stdin)?, ChildStdout::from_std(stdout)?);
        Ok(Process {
            child,
            stdin,
            stdout: BufReader::with_capacity(64 * 1024, stdout),
            stderr,
            limits,
            ready_for: vec![Purpose::Judging],
        })
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends requests. A worker reads what it is sent at once, so that this waits only where it has gone astray.
    pub async fn send(&mut self, frames: &[u8], deadline: Instant) -> Result<(), Lost> {
        match timeout_at(deadline.into(), self.stdin.write_all(frames)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Lost::Gone),
            Err(_) => Err(Lost::Late),
        }
    }

    /// Its next reply.
    pub async fn reply(&mut self, deadline: Instant) -> Result<Reply, Lost> {
        match timeout_at(deadline.into(), frame::read_async(&mut self.stdout, REPLY_BYTES_MAX)).await {
            Ok(Ok((tag, content))) => Reply::read(tag, content).ok_or(Lost::Garbled("a reply of no known sort".into())),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(Lost::Garbled(error.to_string())),
            Ok(Err(_)) => Err(Lost::Gone),
            Err(_) => Err(Lost::Late),
        }
    }

    /// Gets it ready for what it will be asked.
    pub async fn prepare(&mut self, purpose: Purpose) -> Result<(), Lost> {
        if self.ready_for.contains(&purpose) {
            return Ok(());
        }
        let mut frame = Vec::new();
        Request::Prepare(purpose).write(&mut frame).map_err(|error| Lost::Garbled(error.to_string()))?;
        let deadline = self.deadline(Instant::now(), LOAD_WALL);
        self.send(&frame, deadline).await?;
        match self.reply(deadline).await? {
            Reply::Ready => self.ready_for.push(purpose),
            _ => return Err(Lost::Garbled("it answers another question".into())),
        }
        Ok(())
    }

    /// By when the reply to a request that it began at this moment must be here.
    pub fn deadline(&self, began: Instant, wall: Duration) -> Instant {
        began + wall + GRACE
    }

    /// Ends it, and says how it ended by itself, if it did.
    pub async fn bury(self, lost: Lost, wall: Duration) -> Failure {
        let limits = self.limits;
        match lost {
            Lost::Late => {
                // Taking hundreds of MiB back takes the kernel a moment.
                let _ = tokio::task::spawn_blocking(move || drop(self)).await;
                Failure::Wall(wall)
            }
            Lost::Garbled(what) => Failure::Garbled(what),
            Lost::Gone => {
                let died = tokio::task::spawn_blocking(move || self.last_words()).await;
                let (status, words) = died.unwrap_or_else(|_| (None, String::new()));
                cause(status, &words, limits)
            }
        }
    }

    fn last_words(mut self) -> (Option<ExitStatus>, String) {
        // Its standard output has ended, so that it has, or is about to.
        let status = self.wait(Duration::from_secs(1));
        let mut words = Vec::new();
        let _ = self.stderr.by_ref().take(LAST_WORDS_BYTES_MAX).read_to_end(&mut words);
        (status, String::from_utf8_lossy(&words).into_owned())
    }

    fn wait(&mut self, most: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + most;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
                Ok(Some(status)) => return Some(status),
                _ => break,
            }
        }
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub enum Lost {
    /// It is not here in time.
    Late,
    /// The worker has ended.
    Gone,
    /// It is none.
    Garbled(String),
}

/// What killed a worker.
fn cause(status: Option<ExitStatus>, words: &str, limits: Limits) -> Failure {
    let memory = || Failure::Died(format!("they want more than {} MiB of memory", limits.memory_mib));
    if words.contains("memory allocation of") || words.contains("capacity overflow") {
        return memory();
    }
    if words.contains("overflowed its stack") {
        return Failure::Died("they recurse without end, or nest too deep".into());
    }
    match status.and_then(|status| status.signal()) {
        Some(libc::SIGXCPU) => Failure::Cpu(Duration::from_secs(limits.cpu_seconds.into())),
        Some(libc::SIGKILL) => Failure::Died("something killed it; perhaps the machine is out of memory".into()),
        signal => {
            let how = match (signal, status.and_then(|status| status.code())) {
                (Some(signal), _) => format!("signal {signal}"),
                (None, Some(code)) => format!("exit code {code}"),
                (None, None) => "nobody knows how".into(),
            };
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            let words: String = words.chars().filter(|c| !c.is_control()).take(LAST_WORDS_CHARS_MAX).collect();
            Failure::Died(format!("{how}, {}", if words.is_empty() { "without a word" } else { &words }))
        }
    }
}
