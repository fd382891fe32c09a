//! Faces of values: how findings, schemas and rows are written for people and programs. Pure.

pub mod excerpt;
pub mod schema;
pub mod yaml;
