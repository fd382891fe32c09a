//! Faces of values: how plans, findings, schemas and rows are written for people, programs and pull requests. Pure.

pub mod asyncapi;
pub mod checks;
pub mod crds;
pub mod excerpt;
pub mod inert;
pub mod json;
pub mod markdown;
pub mod schema;
pub mod table;
pub mod text;
pub mod unified;
pub mod yaml;
