//! What the tests stand on.

pub mod git;
pub mod gnupg;
pub mod keys;
pub mod plans;
pub mod postgres;
