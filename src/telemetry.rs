//! Logs to standard error. Reports go to standard output and never pass through here.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts logging; a filter that cannot be read counts as `warn`.
pub fn start(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    let colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colored);
    let subscriber = subscriber.with_target(false);
    // A second start, in tests, changes nothing.
    let _ = subscriber.without_time().try_init();
}
