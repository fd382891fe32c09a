//! libgit2 as Argus wants it: it reads no settings of the user, keeps little in memory, and gives up on a silent server.
//! The only place where its options are set, because they are those of the whole process.

use std::path::Path;
use std::sync::Once;

use git2::ConfigLevel;
use git2::opts;

use super::settings::Limits;

/// What is kept of objects that were read. Each is needed once.
const CACHE_BYTES_MAX: libc::ssize_t = 32 * 1024 * 1024;

/// How much of a pack is mapped at once, and of all packs together.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
const WINDOWS_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Where nothing is. What OpenSSL would otherwise trust beside the pinned authorities it looks up there.
const NOWHERE: &str = "/nonexistent";

static SET_UP: Once = Once::new();

/// Sets the options, the first time that it is called. Authorities that are pinned are the only ones that are trusted.
#[allow(unsafe_code, reason = "the options of libgit2 and of OpenSSL are globals; they are set once, before any use")]
pub fn set_up(limits: &Limits, authorities: Option<&Path>) {
    SET_UP.call_once(|| {
        if let Some(file) = authorities {
            // OpenSSL reads them when libgit2 starts, which it does further down.
            unsafe {
                std::env::set_var("SSL_CERT_FILE", file);
                std::env::set_var("SSL_CERT_DIR", NOWHERE);
            }
        }
        let milliseconds = |seconds: u32| i32::try_from(seconds.saturating_mul(1_000)).unwrap_or(i32::MAX);
        // None of them can fail for a value that is in its range, and without them Argus is slower and no less right.
        unsafe {
            for level in [ConfigLevel::System, ConfigLevel::Global, ConfigLevel::XDG, ConfigLevel::ProgramData] {
                let _ = opts::set_search_path(level, "");
            }
            let _ = opts::set_cache_max_size(CACHE_BYTES_MAX);
            let _ = opts::set_mwindow_size(WINDOW_BYTES);
            let _ = opts::set_mwindow_mapped_limit(WINDOWS_BYTES_MAX);
            let _ = opts::set_server_connect_timeout_in_milliseconds(milliseconds(limits.connect_seconds_max));
            let _ = opts::set_server_timeout_in_milliseconds(milliseconds(limits.silence_seconds_max));
            // Nothing of a repository is executed, so that it does not matter whose it is.
            let _ = opts::set_verify_owner_validation(false);
        }
        opts::strict_hash_verification(true);
    });
}
