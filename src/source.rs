//! Where manifests come from, and how bytes become [`crate::model::state::World`].

pub mod cluster;
pub mod decode;
pub mod directory;
mod gather;
pub mod git;
pub mod manifest;
pub mod names;
pub mod patch;
pub mod policies;
pub mod slots;
pub mod syntax;
pub mod world;
pub mod yaml;
