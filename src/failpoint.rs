//! Points at which a test can make the process die, to show that whatever was half done is undone, or stand still, to show
//! that whoever comes back late gets nothing in. They exist only in debug builds.

/// Aborts the process here, if `ARGUS_FAILPOINT` names this point (and `ARGUS_FAILPOINT_ORG`, where it is set, this
/// organization). With `ARGUS_FAILPOINT_STOPS` it is stopped instead, the first time, until somebody lets it go on. A release
/// build has no such point.
#[inline]
pub fn failpoint(name: &str, organization: &str) {
    #[cfg(debug_assertions)]
    armed::act_if_meant(name, organization);
    #[cfg(not(debug_assertions))]
    let _ = (name, organization);
}

#[cfg(debug_assertions)]
mod armed {
    use std::process::{Command, abort, id};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    static WANTED: OnceLock<Option<(String, Option<String>)>> = OnceLock::new();
    static STOPPED: AtomicBool = AtomicBool::new(false);

    pub fn act_if_meant(name: &str, organization: &str) {
        let wanted = WANTED.get_or_init(|| {
            let point = std::env::var("ARGUS_FAILPOINT").ok()?;
            Some((point, std::env::var("ARGUS_FAILPOINT_ORG").ok()))
        });
        if let Some((point, only)) = wanted
            && point == name
            && only.as_deref().is_none_or(|only| only == organization)
        {
            if std::env::var_os("ARGUS_FAILPOINT_STOPS").is_none() {
                // No unwinding, no destructors: as if the machine had lost its power.
                abort();
            }
            if !STOPPED.swap(true, Ordering::SeqCst) {
                // All threads, in the middle of whatever they are at: as if the machine had been put to sleep.
                let _ = Command::new("kill").args(["-STOP", &id().to_string()]).status();
            }
        }
    }
}
