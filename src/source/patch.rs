//! A patch against manifests that adopts drift: only the lines of what has drifted change; comments, order and style
//! of all others stay.
//!
//! No edit is trusted: the edited text is read again, and it must say exactly what it said before with the drift in
//! it. What would come out as anything else is left for a person, and the other edits of its file stand.

mod edit;
mod expect;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::manifest;
use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::id::OrganizationName;
use crate::model::kinds;
use crate::model::origin::Origin;
use crate::model::state::World;
use crate::plan::{Change, Plan};
use crate::render::unified::git_patch;
use expect::Said;

/// A patch, and what it could not adopt.
#[derive(Debug, Default)]
pub struct Adopted {
    /// The patch, as `git apply` takes it.
    pub patch: String,
    /// What has to be adopted by hand, and why.
    pub findings: Vec<Finding>,
}

/// One resource that has drifted.
#[derive(Clone, Copy)]
struct Drifted<'a> {
    change: &'a Change,
    organization: &'a OrganizationName,
    /// Where it stands; of a row that nobody declares, where its organization stands.
    origin: &'a Origin,
}

/// Writes the live state of all that has drifted into the manifests, whose texts `text_of` gives. The patch names the
/// files with `prefix` before them.
pub fn adopt(text_of: &dyn Fn(&str) -> Result<String, String>, prefix: &str, world: &World, plan: &Plan) -> Adopted {
    let mut adopted = Adopted::default();
    for (file, drift) in by_file(world, plan, &mut adopted.findings) {
        match text_of(&file) {
            Ok(text) => {
                let new = adopt_in_file(&file, &text, &drift, &mut adopted.findings);
                adopted.patch.push_str(&git_patch(&format!("{prefix}{file}"), &text, new.as_deref()));
            }
            Err(error) => {
                let finding = Finding::error(Code::Unreadable, format!("cannot read the file again: {error}"));
                adopted.findings.push(finding.at(Origin::file(&file)));
            }
        }
    }
    adopted
}

fn by_file<'a>(world: &'a World, plan: &'a Plan, findings: &mut Vec<Finding>) -> BTreeMap<Arc<str>, Vec<Drifted<'a>>> {
    let mut files: BTreeMap<Arc<str>, Vec<Drifted<'a>>> = BTreeMap::new();
    for plan in &plan.organizations {
        let organization = &plan.organization;
        let resources = world.organizations.get(organization).map(|described| described.resources.as_slice());
        let root = resources.unwrap_or_default().iter().find(|each| each.id.kind.is(&kinds::organization::KIND));
        for change in plan.drift() {
            let origin = if change.extra { root.map(|root| &root.origin) } else { change.origin.as_ref() };
            match origin {
                Some(origin) => {
                    files.entry(origin.file.clone()).or_default().push(Drifted { change, organization, origin });
                }
                None => {
                    let message = format!("{} `{}` has no manifest to adopt it in", change.kind, change.name);
                    findings.push(Finding::warning(Code::DriftLeft, message).about(organization));
                }
            }
        }
    }
    files
}

/// The text with the drift in it; none when nothing is left that it would say.
fn adopt_in_file(file: &Arc<str>, text: &str, drift: &[Drifted<'_>], findings: &mut Vec<Finding>) -> Option<String> {
    let before = Said::by(&manifest::read_file(file, text.as_bytes()));
    let mut accepted = Vec::new();
    let mut new = Some(text.to_owned());
    accept(&Attempt { file, text, before: &before }, drift, &mut accepted, &mut new, findings);
    new
}

struct Attempt<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    before: &'a Said,
}

/// Takes all of the drift at once, or halves it to find what does not come out right.
fn accept<'a>(
    attempt: &Attempt<'_>,
    drift: &[Drifted<'a>],
    accepted: &mut Vec<Drifted<'a>>,
    new: &mut Option<String>,
    findings: &mut Vec<Finding>,
) {
    let known = accepted.len();
    accepted.extend_from_slice(drift);
    match attempt.edited(accepted) {
        Some(edited) => *new = edited,
        None => {
            accepted.truncate(known);
            if let [one] = drift {
                findings.push(by_hand(one));
            } else {
                let (first, second) = drift.split_at(drift.len() / 2);
                accept(attempt, first, accepted, new, findings);
                accept(attempt, second, accepted, new, findings);
            }
        }
    }
}

impl Attempt<'_> {
    /// The text with this drift in it, if it reads as it should; inside, none when nothing is left to say.
    fn edited(&self, drift: &[Drifted<'_>]) -> Option<Option<String>> {
        let edited = write::edit(self.file, self.text, drift)?;
        let expected = self.before.with(drift)?;
        let reading = manifest::read_file(self.file, edited.as_bytes());
        let nothing_left = expected.says_nothing() && reading.resources.is_empty() && reading.faulty.is_empty();
        if nothing_left {
            return Some(None);
        }
        (Said::by(&reading) == expected).then_some(Some(edited))
    }
}

fn by_hand(drifted: &Drifted<'_>) -> Finding {
    let Drifted { change, organization, origin } = drifted;
    let message = format!("the drift of {} `{}` has to be adopted by hand", change.kind, change.name);
    Finding::warning(Code::DriftLeft, message)
        .about(organization)
        .at((*origin).clone())
        .hint("the way it is written is beyond what Argus edits; `argus drift` shows the live values")
}
