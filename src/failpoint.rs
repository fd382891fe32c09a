//! Points at which a test can make the process die, to show that whatever was half done is undone. They exist only
//! in debug builds.

/// Aborts the process here, if `ARGUS_FAILPOINT` names this point (and `ARGUS_FAILPOINT_ORG`, where it is set, this
/// organization). A release build has no such point.
#[inline]
pub fn failpoint(name: &str, organization: &str) {
    #[cfg(debug_assertions)]
    armed::abort_if_meant(name, organization);
    #[cfg(not(debug_assertions))]
    let _ = (name, organization);
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;

    static WANTED: OnceLock<Option<(String, Option<String>)>> = OnceLock::new();

    pub fn abort_if_meant(name: &str, organization: &str) {
        let wanted = WANTED.get_or_init(|| {
            let point = std::env::var("ARGUS_FAILPOINT").ok()?;
            Some((point, std::env::var("ARGUS_FAILPOINT_ORG").ok()))
        });
        if let Some((point, only)) = wanted
            && point == name
            && only.as_deref().is_none_or(|only| only == organization)
        {
            // No unwinding, no destructors: as if the machine had lost its power.
            std::process::abort();
        }
    }
}
