//! A progress bar on standard error, when a person watches; nothing in a pipe.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How wide the bar is.
const WIDTH: usize = 30;
/// How long work may take before it is worth a bar.
const QUIET_FOR: Duration = Duration::from_millis(500);
/// How often it is drawn.
const EVERY: Duration = Duration::from_millis(100);

/// A bar that clears itself when it is dropped.
pub struct Progress {
    what: &'static str,
    watched: bool,
    started: Instant,
    drawn: Mutex<Option<Instant>>,
}

impl Progress {
    /// A bar for this work.
    pub fn new(what: &'static str) -> Self {
        let watched = std::io::stderr().is_terminal();
        Progress { what, watched, started: Instant::now(), drawn: Mutex::new(None) }
    }

    /// So many of so many are done.
    pub fn tell(&self, done: usize, total: usize) {
        if !self.watched || total == 0 || self.started.elapsed() < QUIET_FOR {
            return;
        }
        let Ok(mut drawn) = self.drawn.lock() else { return };
        if drawn.is_some_and(|at| at.elapsed() < EVERY) && done < total {
            return;
        }
        *drawn = Some(Instant::now());
        let full = (WIDTH * done / total).min(WIDTH);
        let bar = format!("{}{}", "=".repeat(full), " ".repeat(WIDTH - full));
        let _ = write!(std::io::stderr(), "\r{} [{bar}] {done}/{total}\u{1b}[K", self.what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.lock().is_ok_and(|drawn| drawn.is_some()) {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
