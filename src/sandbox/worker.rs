//! A worker: the other end of the pipes. It confines itself before it reads anything, evaluates on a thread of its own
//! and ends when whoever started it does.

mod confine;
mod rego;
mod testing;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use super::frame;
use super::messages::{REQUEST_BYTES_MAX, Reply, Request};
use rego::Policies;

/// The first argument of a worker. The second is how much memory it may use, in MiB.
pub const WORD: &str = "__policy-worker";

/// The stack that policies are evaluated on. Only what is used of it costs memory.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// How long policies may take to load.
pub const LOAD_WALL: Duration = Duration::from_secs(10);

/// How much processor time they may take to load.
const LOAD_CPU_SECONDS: u32 = 10;

/// Serves until whoever asks has gone.
pub fn run() -> ExitCode {
    let Some(memory_mib) = std::env::args().nth(2).and_then(|word| word.parse::<u32>().ok()) else {
        return complain("a worker is started by argus itself");
    };
    // A policy that panics has brought its worker down, whichever thread waits for what.
    std::panic::set_hook(Box::new(|panic| {
        let _ = writeln!(io::stderr(), "{panic}");
        std::process::abort();
    }));
    let (requests, queue) = mpsc::channel();
    let thread = std::thread::Builder::new().name("policies".into()).stack_size(STACK_BYTES);
    let (started, has_started) = mpsc::channel();
    let evaluating = thread.spawn(move || {
        drop(started);
        if let Err(error) = serve(&queue) {
            complain(&format!("no answer: {error}"));
            std::process::exit(1);
        }
    });
    if let Err(error) = evaluating {
        return complain(&format!("no thread: {error}"));
    }
    // The thread comes first and has all that it needs: afterwards there can be no more.
    let _: Result<(), _> = has_started.recv();
    if let Err(error) = confine::confine(memory_mib, STACK_BYTES) {
        return complain(&format!("no limits: {error}"));
    }
    let mut stdin = io::stdin().lock();
    loop {
        match frame::read(&mut stdin, REQUEST_BYTES_MAX) {
            Ok(Some((tag, content))) => match Request::read(tag, content) {
                Some(request) => drop(requests.send(request)),
                None => return complain("a request makes no sense"),
            },
            // Nobody waits for an answer any more, not even for one that is being worked at.
            Ok(None) => return ExitCode::SUCCESS,
            Err(error) => return complain(&format!("no request: {error}")),
        }
    }
}

/// Answers one request after the other.
fn serve(queue: &mpsc::Receiver<Request>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut policies = None;
    let mut bytes = Vec::new();
    while let Ok(request) = queue.recv() {
        let reply = match request {
            Request::Load(load) => {
                confine::allow_cpu(LOAD_CPU_SECONDS)?;
                let told = &mut |number| {
                    let mut bytes = Vec::new();
                    Reply::Loading(number).write(&mut bytes)?;
                    stdout.write_all(&bytes)?;
                    stdout.flush()
                };
                match Policies::load(load, told)? {
                    Ok((ready, loaded)) => {
                        policies = Some(ready);
                        Reply::Loaded(Ok(loaded))
                    }
                    Err(findings) => Reply::Loaded(Err(findings)),
                }
            }
            request => {
                let Some(policies) = &mut policies else {
                    return Err(io::Error::other("nothing was loaded"));
                };
                let seconds = match request {
                    Request::Prepare(_) => LOAD_CPU_SECONDS,
                    _ => policies.limits().cpu_seconds,
                };
                confine::allow_cpu(seconds)?;
                match request {
                    Request::Prepare(purpose) => {
                        policies.prepare(purpose);
                        Reply::Ready
                    }
                    Request::Judge(input) => policies.judge(input),
                    Request::Query { query, input } => policies.query(query, input),
                    Request::Test(name) => policies.test(&name),
                    Request::Load(_) => return Err(io::Error::other("asked to load twice")),
                }
            }
        };
        bytes.clear();
        reply.write(&mut bytes)?;
        stdout.write_all(&bytes)?;
        stdout.flush()?;
        bytes.shrink_to(1024 * 1024);
    }
    Ok(())
}

fn complain(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{why}");
    ExitCode::FAILURE
}
