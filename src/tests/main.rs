//! The integration tests: one binary, one module per theme.

mod diff_properties;
mod examples;
mod house;
mod manifests;
mod patch;
mod reference;
mod written;
