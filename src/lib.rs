//! Argus keeps organizations in the shape that a source says they should have.

pub mod failpoint;
pub mod guard;
pub mod model;
pub mod plan;
pub mod store;
