//! The pool: which worker answers what, how far they are fed ahead, and what happens when one is lost.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Limits;
use super::messages::{Load, Loaded, Reply, Request};
use super::process::{Lost, Process};
use super::worker::LOAD_WALL;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::origin::Origin;
use crate::policy::judgement::Failure;
use crate::policy::{self, PolicyFile};

/// The most requests that a worker is sent ahead of its replies.
const AHEAD_MAX: usize = 32;

/// The most bytes that a worker is sent ahead of its replies, beyond the first request.
const AHEAD_BYTES_MAX: usize = 512 * 1024;

/// How long further workers wait whether the ones before do all the work anyway, each.
const RELUCTANCE: Duration = Duration::from_millis(25);

/// Where nothing was answered at all, so many failures are enough to know that nothing will be.
const FAILURES_ALONE_MAX: usize = 32;

/// And so many whatever else was answered.
const FAILURES_MAX: usize = 1_000;

/// Workers with the same policies.
#[derive(Debug)]
pub struct Pool {
    program: PathBuf,
    limits: Limits,
    /// What a new worker is told first.
    load: Vec<u8>,
    /// Loaded, and with nothing to do.
    idle: Mutex<Vec<Process>>,
    /// How many may be at work.
    at_work: Semaphore,
    workers: usize,
    /// How many requests have failed since one was answered.
    failed_alone: AtomicUsize,
}

/// Requests that wait for a worker, and what became of the others.
#[derive(Debug)]
struct Work {
    waiting: Mutex<VecDeque<(usize, Request)>>,
    tally: Mutex<Tally>,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    answered: usize,
    failed: usize,
}

type Answered = Vec<(usize, Result<Reply, Failure>)>;

impl Pool {
    /// Loads policies in a first worker, which finds what is wrong with them.
    pub async fn load(
        program: PathBuf,
        files: Vec<PolicyFile>,
        limits: Limits,
        workers: usize,
    ) -> Result<(Pool, Loaded), Vec<Finding>> {
        let oversized = policy::oversized(&files);
        if !oversized.is_empty() {
            return Err(oversized);
        }
        let mut load = Load { files, limits, rules: None };
        let (first, loaded) = if load.files.is_empty() {
            (None, Loaded::default())
        } else {
            let (process, loaded) = loaded(&program, &load).await?;
            (Some(process), loaded)
        };
        load.rules = Some(loaded.rules.clone());
        let mut frame = Vec::new();
        Request::Load(load).write(&mut frame).map_err(|error| vec![broken(&error)])?;
        let pool = Pool {
            program,
            limits,
            load: frame,
            idle: Mutex::new(first.into_iter().collect()),
            at_work: Semaphore::new(workers),
            workers,
            failed_alone: AtomicUsize::new(0),
        };
        Ok((pool, loaded))
    }

    /// Replies to all requests, in order.
    pub async fn ask(pool: &Arc<Pool>, requests: Vec<Request>) -> Vec<Result<Reply, Failure>> {
        let count = requests.len();
        let waiting = Mutex::new(requests.into_iter().enumerate().collect());
        // Who asks again after nothing but failures gets one more try, since another question may be an easier one.
        let failed = pool.failed_alone.load(Ordering::Relaxed).min(FAILURES_ALONE_MAX - 1);
        let work = Arc::new(Work { waiting, tally: Mutex::new(Tally { answered: 0, failed }) });
        let mut tasks = JoinSet::new();
        for number in 0..pool.workers.min(count) {
            tasks.spawn(Pool::drive(pool.clone(), work.clone(), number));
        }
        let mut replies: Vec<Option<Result<Reply, Failure>>> = (0..count).map(|_| None).collect();
        while let Some(done) = tasks.join_next().await {
            for (number, reply) in done.unwrap_or_default() {
                replies[number] = Some(reply);
            }
        }
        let Tally { answered, failed } = *lock(&work.tally);
        pool.failed_alone.store(if answered > 0 { 0 } else { failed }, Ordering::Relaxed);
        let unanswered = || Err(Failure::Died("whoever asked them has ended".into()));
        replies.into_iter().map(|reply| reply.unwrap_or_else(unanswered)).collect()
    }

    /// Takes work as long as there is any, with one worker after the other if need be.
    async fn drive(pool: Arc<Pool>, work: Arc<Work>, number: usize) -> Answered {
        let mut answered = Answered::new();
        let Ok(_permit) = pool.at_work.acquire().await else { return answered };
        let mut process = pool.idle();
        if process.is_none() && number > 0 {
            tokio::time::sleep(RELUCTANCE * u32::try_from(number).unwrap_or(1)).await;
        }
        let mut sent = VecDeque::new();
        loop {
            if sent.is_empty() && !work.send_next(&mut sent, &mut answered, pool.workers) {
                break;
            }
            let conversation = match process.take().map_or_else(|| pool.idle(), Some) {
                Some(ready) => Ok(ready),
                None => pool.fresh().await,
            };
            let failure = match conversation {
                Err(failure) => failure,
                Ok(mut ready) => match pool.converse(&mut ready, &work, &mut sent, &mut answered).await {
                    Ok(()) => {
                        process = Some(ready);
                        continue;
                    }
                    Err(lost) => ready.bury(lost, pool.limits.wall).await,
                },
            };
            // What the worker was at is lost with it; what it had not begun goes to the next one.
            if let Some((number, _)) = sent.pop_front() {
                work.count(false);
                answered.push((number, Err(failure)));
            }
        }
        lock(&pool.idle).extend(process);
        answered
    }

    /// Sends what waits and takes replies, until nothing waits.
    async fn converse(
        &self,
        process: &mut Process,
        work: &Work,
        sent: &mut VecDeque<(usize, Request)>,
        answered: &mut Answered,
    ) -> Result<(), Lost> {
        if let Some((_, first)) = sent.front() {
            process.prepare(first.purpose()).await?;
        }
        let mut frames = Vec::new();
        let mut pending = 0;
        let mut began = Instant::now();
        loop {
            // Half of what may be sent ahead is sent together, which saves calls of the kernel.
            if pending <= AHEAD_MAX / 2 {
                if pending > 0 || sent.is_empty() {
                    work.send_next(sent, answered, self.workers);
                }
                frames.clear();
                for (_, request) in sent.iter().skip(pending) {
                    // A request that cannot be written was never let in.
                    request.write(&mut frames).map_err(|error| Lost::Garbled(error.to_string()))?;
                }
                if pending == 0 {
                    began = Instant::now();
                }
                pending = sent.len();
                process.send(&frames, process.deadline(began, self.limits.wall)).await?;
            }
            if pending == 0 {
                return Ok(());
            }
            let reply = process.reply(process.deadline(began, self.limits.wall)).await?;
            began = Instant::now();
            pending -= 1;
            if let Some((number, _)) = sent.pop_front() {
                let reply = match reply {
                    Reply::Failed(failure) => Err(failure),
                    reply => Ok(reply),
                };
                let failed = reply.is_err();
                work.count(!failed);
                answered.push((number, reply));
                if let Some(failure) = work.hopeless().filter(|_| failed) {
                    // It has more of the same before it, which nobody waits for.
                    answered.extend(sent.drain(..).map(|(number, _)| (number, Err(failure.clone()))));
                    return Err(Lost::Late);
                }
            }
        }
    }

    fn idle(&self) -> Option<Process> {
        let mut idle = lock(&self.idle);
        while let Some(mut process) = idle.pop() {
            if process.is_alive() {
                return Some(process);
            }
        }
        None
    }

    /// A new worker with the policies loaded.
    async fn fresh(&self) -> Result<Process, Failure> {
        let start = |error: io::Error| Failure::Died(format!("no worker can be started: {error}"));
        let mut process = Process::start(&self.program, self.limits).map_err(start)?;
        let deadline = process.deadline(Instant::now(), LOAD_WALL);
        let lost = match process.send(&self.load, deadline).await {
            Err(lost) => lost,
            Ok(()) => loop {
                match process.reply(deadline).await {
                    Ok(Reply::Loading(_)) => {}
                    Ok(Reply::Loaded(Ok(_))) => return Ok(process),
                    Ok(_) => break Lost::Garbled("policies that were loaded before do not load again".into()),
                    Err(lost) => break lost,
                }
            },
        };
        Err(process.bury(lost, LOAD_WALL).await)
    }
}

impl Work {
    /// Takes the next share of what waits; false where nothing was left.
    fn send_next(&self, sent: &mut VecDeque<(usize, Request)>, answered: &mut Answered, workers: usize) -> bool {
        let mut waiting = lock(&self.waiting);
        if let Some(failure) = self.hopeless() {
            answered.extend(waiting.drain(..).map(|(number, _)| (number, Err(failure.clone()))));
            return false;
        }
        // The less is left, the less each takes, so that all are done at about the same time.
        let share = (waiting.len() / (2 * workers)).clamp(1, AHEAD_MAX);
        let mut bytes: usize = sent.iter().map(|(_, request)| request.bytes()).sum();
        while sent.len() < share && (bytes < AHEAD_BYTES_MAX || sent.is_empty()) {
            let Some((number, request)) = waiting.pop_front() else { break };
            if let Some(failure) = request.fault() {
                answered.push((number, Err(failure)));
                continue;
            }
            bytes += request.bytes();
            sent.push_back((number, request));
        }
        !sent.is_empty()
    }

    /// What the rest fails with, if nothing will come of it.
    fn hopeless(&self) -> Option<Failure> {
        let Tally { answered, failed } = *lock(&self.tally);
        let most = if answered == 0 { FAILURES_ALONE_MAX } else { FAILURES_MAX };
        (failed >= most).then_some(Failure::GivenUp(failed))
    }

    fn count(&self, answered: bool) {
        let mut tally = lock(&self.tally);
        if answered {
            tally.answered += 1;
        } else {
            tally.failed += 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads policies in a worker for the first time.
async fn loaded(program: &std::path::Path, load: &Load) -> Result<(Process, Loaded), Vec<Finding>> {
    let mut frame = Vec::new();
    Request::Load(load.clone()).write(&mut frame).map_err(|error| vec![broken(&error)])?;
    let mut process = Process::start(program, load.limits).map_err(|error| vec![broken(&error)])?;
    let deadline = process.deadline(Instant::now(), LOAD_WALL);
    let mut at = None;
    let lost = match process.send(&frame, deadline).await {
        Err(lost) => lost,
        Ok(()) => loop {
            match process.reply(deadline).await {
                Ok(Reply::Loading(number)) => at = load.files.get(number as usize),
                Ok(Reply::Loaded(Ok(loaded))) => return Ok((process, loaded)),
                Ok(Reply::Loaded(Err(findings))) => return Err(findings),
                Ok(_) => break Lost::Garbled("it answers another question".into()),
                Err(lost) => break lost,
            }
        },
    };
    let failure = process.bury(lost, LOAD_WALL).await;
    let finding = Finding::error(Code::BadPolicy, format!("loading it failed: {failure}"))
        .hint("policies are loaded in a process of their own, which did not survive this");
    Err(vec![match at {
        Some(file) => finding.at(Origin::file(&file.path)),
        None => finding,
    }])
}

fn broken(error: &io::Error) -> Finding {
    Finding::error(Code::PolicyFailed, format!("no worker for policies can be started: {error}"))
}
