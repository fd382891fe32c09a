//! Lines: one CloudEvents document on each line of standard output, for whatever collects logs.

use std::io::Write as _;

use serde::Deserialize;

use super::{Asked, Delivered, Destination};
use crate::event::cloud::Event;
use crate::event::people::PseudonymKey;

/// Lines on standard output have no settings yet that could be wrong: `lines: {}`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LinesSettings {}

impl LinesSettings {
    pub(super) fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Lines;

impl Lines {
    pub(super) fn open(_: &LinesSettings) -> Result<Lines, String> {
        Ok(Lines)
    }
}

impl Destination for Lines {
    fn deliver<'a>(&'a mut self, events: &'a [Event], pseudonyms: Option<&'a PseudonymKey>) -> Asked<'a, Delivered> {
        Box::pin(async move {
            let mut text = String::new();
            for event in events {
                text.push_str(&event.on_the_wire(pseudonyms).structured());
                text.push('\n');
            }
            let mut out = std::io::stdout().lock();
            match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                Ok(()) => Delivered { arrived: (0..events.len()).collect(), ..Delivered::default() },
                Err(error) => Delivered { failed: Some(error.to_string()), ..Delivered::default() },
            }
        })
    }
}
