//! Faces of values: plans and findings for people, programs and pull requests. Pure.

pub mod inert;
pub mod json;
pub mod markdown;
pub mod table;
pub mod text;
pub mod unified;
