//! Checks and findings in the formats of conftest, which CI systems read.

use std::sync::Arc;

use super::context::Context;
use super::place::Place;
use crate::cli::Report;
use crate::exit_code::ExitCode;
use crate::render::checks::{Around, Check};

/// Checks in the format that was asked for.
pub fn draw(context: &Context, checks: &[Check], Report(form): Report, code: ExitCode) -> String {
    form.draw(checks, Around { paint: context.paint(), exit_code: code as u8 })
}

/// The same checks with the files as they are called from here: findings name them from the root of their source.
pub fn from_here(checks: Vec<Check>, place: &Place) -> Vec<Check> {
    let named = |check: Check| match check.file.is_empty() {
        true => check,
        false => Check { file: Arc::from(place.from_here(&check.file)), ..check },
    };
    checks.into_iter().map(named).collect()
}
