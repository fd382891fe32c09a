//! What a worker forbids itself.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What a worker maps beside what policies use: the program itself, its libraries, and what the allocator reserves.
const OVERHEAD_BYTES: u64 = 256 * 1024 * 1024;

/// Standard input, output and error, and nothing more.
const FILES_MAX: u64 = 3;

/// Limits memory, files, processes and dumps, for good.
pub fn confine(memory_mib: u32, stack_bytes: usize) -> io::Result<()> {
    let memory = u64::from(memory_mib) * 1024 * 1024;
    let stack = stack_bytes as u64;
    let limits = [
        // What can be written to. Nothing that a policy does can go beyond it.
        (Resource::Data, memory + stack),
        // And all that is mapped, for where the kernel counts the other differently.
        (Resource::As, memory + stack + OVERHEAD_BYTES),
        (Resource::Core, 0),
        (Resource::Nofile, FILES_MAX),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Memlock, 0),
    ];
    for (resource, most) in limits {
        // Whoever started it may allow even less, and what is forbidden cannot be allowed again.
        let most = getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// Allows so many more seconds of processor time. A worker that nobody watches any more ends by this.
pub fn allow_cpu(seconds: u32) -> io::Result<()> {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    // The kernel looks at whole seconds: what has begun is given away.
    let most = u64::try_from(used).unwrap_or_default() + u64::from(seconds) + 1;
    let maximum = getrlimit(Resource::Cpu).maximum;
    let most = maximum.map_or(most, |allowed| allowed.min(most));
    setrlimit(Resource::Cpu, Rlimit { current: Some(most), maximum })?;
    Ok(())
}
