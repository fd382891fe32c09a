//! What the tests stand on.

pub mod keys;
pub mod plans;
pub mod postgres;
