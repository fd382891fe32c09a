//! Work on many files with all cores.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many files are taken at a time: a counter per file would be shared too often, a fixed share would be uneven.
const FILES_PER_TURN: usize = 16;

/// Does something with every item, with something of its own for each thread, and keeps the order.
pub fn on_all_cores<T: Sync, S, R: Send>(
    items: &[T],
    threads: Option<usize>,
    own: impl Fn() -> S + Sync,
    with: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let threads = threads
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1)
        .clamp(1, items.len().div_ceil(FILES_PER_TURN).max(1));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut own = own();
        let mut done = Vec::new();
        loop {
            let from = next.fetch_add(FILES_PER_TURN, Ordering::Relaxed);
            if from >= items.len() {
                return done;
            }
            for (at, item) in items.iter().enumerate().skip(from).take(FILES_PER_TURN) {
                done.push((at, with(&mut own, item)));
            }
        }
    };
    let mut done: Vec<(usize, R)> = if threads == 1 {
        work()
    } else {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            // A worker only ends early by a panic of ours, which goes on here.
            let joined = workers.into_iter().map(|worker| worker.join());
            joined.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    };
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, done)| done).collect()
}
