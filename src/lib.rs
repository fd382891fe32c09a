//! Argus keeps organizations in the shape that a source says they should have.

pub mod guard;
pub mod model;
pub mod plan;
pub mod render;
pub mod source;
pub mod validate;
