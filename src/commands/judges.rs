//! What judges the plans of a source: which policies there are, where they come from, and the terms beside them.
//!
//! Policies that the machine names outweigh those that the source names; a folder that is named has to exist and to
//! hold a rule. Without any word of them, `policies` beside the manifests is taken if it is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::{Context, Failure};
use super::place::{Found, Place};
use super::policies;
use crate::cli::Judging;
use crate::engine::hearing::{Bench, Policies};
use crate::identity::Approvers;
use crate::model::revision::{Commit, Revision};
use crate::policy;
use crate::sandbox::Sandbox;
use crate::settings::Source;
use crate::verdict::Terms;

/// What says that there should be none.
pub const NONE: &str = "none";

/// All that judges the plans of a source.
pub struct Judges {
    /// The terms of the source.
    pub terms: Terms,
    /// Whose plans they are, by all names, lower case.
    pub authors: BTreeSet<String>,
    /// Who may approve them.
    pub approvers: Approvers,
    /// The commit of the manifests, if they have one.
    pub revision: Option<Revision>,
    /// The folder of the policies, `none`, or nothing where nobody has said anything.
    pub folder: Option<String>,
    /// Whether somebody wants to know what people gain and lose, beside the policies.
    pub tells_access: bool,
    sandbox: Option<Arc<Sandbox>>,
    rules_digest: String,
}

/// Policies, ready to judge by whatever terms.
pub struct Loaded {
    /// The files, and the folder that they are of.
    pub found: Found,
    sandbox: Option<Arc<Sandbox>>,
}

impl Loaded {
    /// Loads the policies that were found.
    pub async fn new(context: &Context, found: Found) -> Result<Loaded, Failure> {
        let sandbox = match found.folder.as_deref() {
            None | Some(NONE) => None,
            Some(folder) => {
                let sandbox = policies::load(context, found.files.clone()).await?;
                policies::must_judge(&sandbox, folder)?;
                Some(Arc::new(sandbox))
            }
        };
        Ok(Loaded { found, sandbox })
    }
}

impl Judges {
    /// Loads the policies of a source.
    pub async fn new(context: &Context, place: &Place, how: &Judging, settings: &Source) -> Result<Judges, Failure> {
        let found =
            place.policies(context.policies(how.policies.as_deref()).as_deref(), settings.policies.as_deref())?;
        Judges::of(context, found, place.revision().cloned(), settings.terms()).await
    }

    /// Loads the policies that were found.
    pub async fn of(
        context: &Context,
        found: Found,
        revision: Option<Revision>,
        terms: Terms,
    ) -> Result<Judges, Failure> {
        Ok(Judges::with(context, &Loaded::new(context, found).await?, revision, terms))
    }

    /// Policies that were loaded, and these terms.
    pub fn with(context: &Context, loaded: &Loaded, revision: Option<Revision>, terms: Terms) -> Judges {
        let rules_digest = policy::rules_digest(&loaded.found.files, &terms);
        let authors = context.authors(revision.as_ref());
        Judges {
            terms,
            authors,
            approvers: context.approvers().clone(),
            revision,
            folder: loaded.found.folder.clone(),
            tells_access: false,
            sandbox: loaded.sandbox.clone(),
            rules_digest,
        }
    }

    /// Terms without policies, for those who only look.
    pub fn terms_alone(context: &Context, terms: Terms) -> Judges {
        let rules_digest = policy::rules_digest(&[], &terms);
        let (authors, approvers) = (context.authors(None), context.approvers().clone());
        let folder = Some(NONE.into());
        Judges { terms, authors, approvers, revision: None, folder, tells_access: false, sandbox: None, rules_digest }
    }

    /// Notes whose commits are applied together with the last one: none of them approves.
    pub fn add_authors<'a>(&mut self, commits: impl Iterator<Item = &'a Commit>) {
        self.authors.extend(commits.flat_map(Commit::people));
    }

    /// Notes who else has a part in the plans, by all names, lower case.
    pub fn add_names<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        self.authors.extend(names.cloned());
    }

    /// What a pass and a verdict need of it.
    pub fn bench(&self) -> Bench<'_> {
        let policies = match (&self.sandbox, self.folder.is_some()) {
            (Some(sandbox), _) => Policies::Loaded(sandbox),
            (None, true) => Policies::None,
            (None, false) => Policies::Absent,
        };
        Bench {
            policies,
            rules_digest: &self.rules_digest,
            need: &self.terms.approvals,
            mode: self.terms.mode.word(),
            authors: &self.authors,
            approvers: &self.approvers,
            revision: self.revision.as_ref(),
            tells_access: self.tells_access,
        }
    }
}
