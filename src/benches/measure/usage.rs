//! What a command costs: processor time, wall time and the most memory it held, as the kernel tells it.

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The cost of one command.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time of the command and of those that it waited for.
    pub cpu_seconds: f64,
    /// Time on the clock.
    pub wall_seconds: f64,
    /// The most memory that it held.
    pub rss_kib: u64,
    /// Processor time of PostgreSQL meanwhile.
    pub server_seconds: f64,
}

/// Runs a command whose output nobody reads and returns its exit code and its cost.
pub fn run(command: &mut Command) -> Result<(i32, Usage), Box<dyn Error>> {
    let shown = format!("{command:?}");
    let start = Instant::now();
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(|error| format!("{shown}: {error}"))?;
    let (status, usage) = wait(child.id())?;
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let cost = Usage {
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        wall_seconds: start.elapsed().as_secs_f64(),
        // Kibibytes on Linux.
        rss_kib: usage.ru_maxrss as u64,
        server_seconds: 0.0,
    };
    if !libc::WIFEXITED(status) {
        return Err(format!("{shown} was killed").into());
    }
    Ok((libc::WEXITSTATUS(status), cost))
}

/// Runs a command that must end with this exit code.
pub fn expect(code: i32, command: &mut Command) -> Result<Usage, Box<dyn Error>> {
    let shown = format!("{command:?}");
    match run(command)? {
        (got, usage) if got == code => Ok(usage),
        (got, _) => Err(format!("{shown} ended with {got}, not with {code}").into()),
    }
}

#[allow(unsafe_code, reason = "std waits for a child without telling what it has used")]
fn wait(pid: u32) -> Result<(i32, libc::rusage), Box<dyn Error>> {
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to live values of the types that wait4 fills; zeroes are a valid rusage. The child is
    // ours, and nothing else waits for it: its `Child` is dropped without waiting.
    let got = unsafe { libc::wait4(pid as libc::pid_t, &mut status, 0, usage.as_mut_ptr()) };
    if got < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: see above.
    Ok((status, unsafe { usage.assume_init() }))
}

/// The run with the median processor time.
pub fn median(mut runs: Vec<Usage>) -> Usage {
    runs.sort_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds));
    runs[runs.len() / 2]
}
