//! Where something was written.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A place in a file, both numbers counted from 1; 0 means unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl Position {
    /// The place at this line and column.
    pub fn new(line: u32, column: u32) -> Self {
        Position { line, column }
    }
}

/// A place in a file of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The file, relative to the root of its source.
    #[schemars(with = "String")]
    pub file: Arc<str>,
    /// The line, from 1; 0 stands for the file as a whole.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Origin {
    /// A place in a file.
    pub fn new(file: &Arc<str>, at: Position) -> Self {
        Origin { file: file.clone(), line: at.line, column: at.column }
    }

    /// A file as a whole.
    pub fn file(file: &Arc<str>) -> Self {
        Origin::new(file, Position::default())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}
