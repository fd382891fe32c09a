//! Reports for CI systems: checks and findings in the formats of conftest, and where comments lead.

use std::sync::Arc;

use super::context::{Context, Failure};
use super::place::Place;
use crate::cli::{Linked, Report};
use crate::exit_code::ExitCode;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::secret;
use crate::render::checks::{Around, Check};
use crate::render::markdown::Links;

/// The longest address that is linked to.
const ADDRESS_BYTES_MAX: usize = 1_000;

/// Checks in the format that was asked for.
pub fn draw(context: &Context, checks: &[Check], Report(form): Report, code: ExitCode) -> String {
    form.draw(checks, Around { paint: context.paint(), exit_code: code as u8 })
}

/// The same checks with the files as they are called from here: findings name them from the root of their source.
pub fn from_here(checks: Vec<Check>, place: &Place) -> Vec<Check> {
    let named = |check: Check| match check.file.is_empty() {
        true => check,
        false => Check { file: Arc::from(place.called_here(&check.file)), ..check },
    };
    checks.into_iter().map(named).collect()
}

impl Linked {
    /// What a comment needs to know to lead somewhere.
    pub fn links<'a>(&'a self, named: &'a dyn Fn(&str) -> String) -> Result<Links<'a>, Failure> {
        let said = |base: &'a Option<String>| base.as_deref().filter(|base| !base.is_empty());
        let (files, codes) = (said(&self.link_base), said(&self.codes_base));
        for base in [files, codes].into_iter().flatten() {
            // What ends a link, or leads out of one, would let an address write the rest of the comment.
            let plain = |c: char| c.is_ascii_graphic() && !"()<>[]\"'`\\|".contains(c);
            let is_address = base.starts_with("https://") || base.starts_with("http://");
            if !is_address || !base.chars().all(plain) || base.len() > ADDRESS_BYTES_MAX {
                let message = format!("{} is no address that could be linked to", secret::shown(base));
                let hint = "write `https://git.example/acme/config/blob/0123abc`";
                return Err(Failure::from(Finding::error(Code::BadAddress, message).hint(hint)));
            }
        }
        Ok(Links { files, named: Some(named), codes })
    }
}
