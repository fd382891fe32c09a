//! The integration tests: one binary, one module per theme.

mod access;
mod approval;
mod cli;
mod comments;
mod diff_properties;
mod examples;
mod house;
mod identity;
mod manifests;
mod patch;
mod policies;
mod reference;
mod rollback_properties;
mod sandbox;
mod store_brakes;
mod store_content;
mod store_crashes;
mod store_migrate;
mod store_private;
mod store_schema;
mod store_writes;
mod support;
mod verdict;
mod verdict_properties;
mod windows;
mod written;
