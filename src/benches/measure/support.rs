//! A real broker and a real API server, as the tests start them.
#![allow(dead_code, reason = "the tests use the rest")]

#[path = "../../tests/support/kafka.rs"]
pub mod kafka;
#[path = "../../tests/support/kubernetes.rs"]
pub mod kubernetes;
#[path = "../../tests/support/tls.rs"]
pub mod tls;

/// What both need of a database's folder.
mod postgres {
    /// A folder that nobody else has.
    pub fn scratch(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("argus-measure-{}-{name}", std::process::id()))
    }
}
