//! A real broker, as the tests start it.
#![allow(dead_code, reason = "the tests use the rest")]

#[path = "../../tests/support/kafka.rs"]
pub mod kafka;
#[path = "../../tests/support/tls.rs"]
pub mod tls;

/// What the broker needs of a database's folder.
mod postgres {
    /// A folder that nobody else has.
    pub fn scratch(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("argus-measure-{}-{name}", std::process::id()))
    }
}
