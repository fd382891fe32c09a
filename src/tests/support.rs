//! What the tests stand on.

pub mod plans;
pub mod postgres;
