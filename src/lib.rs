//! Argus keeps organizations in the shape that a source says they should have.
//!
//! The path of the data goes one way:
//!
//! ```text
//! source -> manifests -> Desired --+
//!                                  +-> diff -> Plan -> guards + policy -> Verdict -> apply -> rows + Applied + audit
//! PostgreSQL ----------> Live -----+
//! PostgreSQL ----------> Applied --+
//! ```
//!
//! A module imports from the floors below it and from earlier names on its own floor. Only floors 3 and up are
//! asynchronous; time, randomness and ids come in as values.

// Floor 0: words.
pub mod failpoint;
pub mod model;

// Floor 1: thought. No I/O, no clock, no environment.
pub mod access;
pub mod agenda;
pub mod approval;
pub mod audit;
pub mod brake;
pub mod diff;
pub mod digest;
pub mod event;
pub mod guard;
pub mod hook;
pub mod identity;
pub mod notification;
pub mod plan;
pub mod policy;
pub mod rollback;
pub mod signature;
pub mod validate;
pub mod verdict;

// Floor 2: faces of values.
pub mod render;

// Floor 3: signals. What the floors above tell of their work.
pub mod metrics;
pub mod trace;

// Floor 4: the world. Adapters never import each other.
pub mod sandbox;
pub mod sink;
pub mod source;
pub mod store;

// Floor 5: the engine.
pub mod engine;

// Floor 6: the tops.
pub mod commands;
pub mod controller;

// Around them: what `main` needs to get going.
pub mod cli;
pub mod exit_code;
pub mod server;
pub mod settings;
pub mod telemetry;
