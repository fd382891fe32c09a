//! What judges the plans of a source: which policies there are, where they come from, and the terms beside them.
//!
//! Policies that the machine names outweigh those that the source names; a folder that is named has to exist and to
//! hold a rule. Without any word of them, `policies` beside the manifests is taken if it is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::context::{Context, Failure};
use super::policies;
use crate::engine::hearing::{Bench, Policies};
use crate::identity::Approvers;
use crate::policy;
use crate::sandbox::Sandbox;
use crate::verdict::Terms;

/// The folder that is taken where nobody names one.
const DEFAULT_FOLDER: &str = "policies";

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
    /// The folder of the policies, `none`, or nothing where nobody has said anything.
    pub folder: Option<String>,
    sandbox: Option<Sandbox>,
    rules_digest: String,
}

impl Judges {
    /// Loads the policies of a source: `named` is what its settings say, relative to `root`.
    pub async fn new(
        context: &Context,
        flag: Option<&Path>,
        named: Option<&str>,
        root: &Path,
        terms: Terms,
    ) -> Result<Judges, Failure> {
        let machine = context.policies(flag);
        if let (None, Some(named)) = (&machine, named.filter(|named| *named != NONE)) {
            policies::without_links(root, named)?;
        }
        let folder = folder(machine, named, root);
        let files = match folder.as_deref() {
            None | Some(NONE) => Vec::new(),
            Some(folder) => policies::read(Path::new(folder))?,
        };
        let rules_digest = policy::rules_digest(&files, &terms);
        let sandbox = match folder.as_deref() {
            None | Some(NONE) => None,
            Some(folder) => {
                let sandbox = policies::load(context, files).await?;
                policies::must_judge(&sandbox, Path::new(folder))?;
                Some(sandbox)
            }
        };
        let (authors, approvers) = (context.authors(), context.approvers().clone());
        Ok(Judges { terms, authors, approvers, folder, sandbox, rules_digest })
    }

    /// Terms without policies, for those who only look.
    pub fn terms_alone(context: &Context, terms: Terms) -> Judges {
        let rules_digest = policy::rules_digest(&[], &terms);
        let (authors, approvers) = (context.authors(), context.approvers().clone());
        Judges { terms, authors, approvers, folder: Some(NONE.into()), sandbox: None, rules_digest }
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
        }
    }
}

/// Which folder it is.
fn folder(machine: Option<PathBuf>, named: Option<&str>, root: &Path) -> Option<String> {
    if let Some(folder) = machine {
        return Some(folder.display().to_string());
    }
    let base = if root.is_file() { root.parent().unwrap_or(Path::new(".")) } else { root };
    match named {
        Some(NONE) => Some(NONE.into()),
        Some(folder) => Some(base.join(folder).display().to_string()),
        None => {
            let default = base.join(DEFAULT_FOLDER);
            default.symlink_metadata().is_ok().then(|| default.display().to_string())
        }
    }
}
