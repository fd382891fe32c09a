//! Argus keeps organizations in the shape that a source says they should have.

pub mod diff;
pub mod guard;
pub mod model;
pub mod plan;
pub mod render;
pub mod cli;
pub mod exit_code;
pub mod settings;
