//! The integration tests: one binary, one module per theme.

mod examples;
mod house;
mod reference;
