//! The words of Argus: values, names, kinds, resources, states and findings. Knows no I/O.

pub mod code;
pub mod finding;
pub mod id;
pub mod kind;
pub mod kinds;
pub mod money;
pub mod origin;
pub mod plain;
pub mod resource;
pub mod revision;
pub mod rule;
pub mod secret;
pub mod shape;
pub mod state;
pub mod suggest;
pub mod template;
pub mod time;
pub mod value;
