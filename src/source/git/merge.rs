//! What a merge makes: the tree of a branch as it would be once merged, and whether a merge commit holds just that. Nothing
//! of it is written into the repository.

use std::collections::BTreeSet;
use std::rc::Rc;

use git2::{Commit, MergeOptions, Oid, Repository, Tree};

use super::tree::{self, shown};
use super::{Checkout, Depot, fault};
use crate::model::code::Code;
use crate::model::finding::Finding;

/// So many files that conflict are told one by one.
const TOLD_MAX: usize = 10;

/// Merged objects come before those of the repository, and are gone with the process.
const IN_MEMORY_FIRST: i32 = 999;

/// So many common ancestors are merged into one. Histories that cross more often are not merged here.
const ANCESTORS_MAX: usize = 8;

/// How often common ancestors are merged that have several of their own.
const CROSSINGS_MAX: u32 = 1;

/// What came of merging two commits.
enum Merged {
    /// The tree, in memory.
    Tree(Oid),
    /// Files in which they conflict.
    Conflict(Vec<String>),
}

impl Depot {
    /// Merges two commits in memory. What attributes of the repository or of this machine say of merging is not read: it
    /// would be other programs and other rules.
    fn merge(&self, ours: Oid, theirs: Oid) -> Result<Merged, Box<Finding>> {
        let unreadable = |error: git2::Error| Box::new(fault::reading("the branches", &error));
        let odb = self.repository.odb().map_err(unreadable)?;
        if !self.writes_in_memory.replace(true) {
            odb.add_new_mempack_backend(IN_MEMORY_FIRST).map_err(unreadable)?;
        }
        let bare = Repository::from_odb(odb).map_err(unreadable)?;
        let commit = |id| bare.find_commit(id).map_err(unreadable);
        let ancestors = self.ancestors(ours, theirs)?;
        for id in self.to_be_merged(ours, theirs, &ancestors)? {
            tree::refuse_endless(&bare, commit(id)?.tree_id(), &self.limits)?;
        }
        let (ours, theirs) = (commit(ours)?, commit(theirs)?);
        let mut options = MergeOptions::new();
        options.fail_on_conflict(false).recursion_limit(CROSSINGS_MAX);
        let before = match ancestors[..] {
            [one] => Some(commit(one)?.tree().map_err(unreadable)?),
            _ => None,
        };
        let trees = || -> Result<_, git2::Error> { Ok((ours.tree()?, theirs.tree()?)) };
        let (our_tree, their_tree) = trees().map_err(unreadable)?;
        let merged = match &before {
            Some(before) => bare.merge_trees(before, &our_tree, &their_tree, Some(&options)),
            None => bare.merge_commits(&ours, &theirs, Some(&options)),
        };
        let mut merged = merged.map_err(unreadable)?;
        if merged.has_conflicts() {
            let conflicts = merged.conflicts().into_iter().flatten().flatten();
            let entries = conflicts.filter_map(|all| all.our.or(all.their).or(all.ancestor));
            let mut files: Vec<String> = entries.map(|entry| shown(&entry.path)).collect();
            files.dedup();
            return Ok(Merged::Conflict(files));
        }
        let moved = moved_away(&bare, before.as_ref(), &our_tree, &their_tree).map_err(unreadable)?;
        if !moved.is_empty() {
            return Ok(Merged::Conflict(moved));
        }
        merged.write_tree_to(&bare).map(Merged::Tree).map_err(unreadable)
    }

    /// The commits that two lead on from and that no other such commit leads on from.
    fn ancestors(&self, one: Oid, other: Oid) -> Result<Vec<Oid>, Box<Finding>> {
        let found = match self.repository.merge_bases(one, other) {
            Ok(found) => found.to_vec(),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Vec::new(),
            Err(error) => return Err(Box::new(fault::reading("the history", &error))),
        };
        if found.len() > ANCESTORS_MAX {
            let message = format!("the histories cross more than {ANCESTORS_MAX} times and are not merged");
            let finding = Finding::error(Code::RepositoryTooLarge, message);
            return Err(Box::new(finding.hint("rebase the branch, so that it leads on from one commit of the other")));
        }
        Ok(found)
    }

    /// All commits whose trees are looked at when two are merged.
    fn to_be_merged(&self, ours: Oid, theirs: Oid, ancestors: &[Oid]) -> Result<BTreeSet<Oid>, Box<Finding>> {
        let mut all = BTreeSet::from([ours, theirs]);
        all.extend(ancestors);
        for (at, one) in ancestors.iter().enumerate() {
            for other in &ancestors[at + 1..] {
                all.extend(self.ancestors(*one, *other)?);
            }
        }
        Ok(all)
    }

    /// Whether a commit merges two others and adds nothing of its own.
    pub(super) fn only_merges(&self, commit: &Commit<'_>) -> Result<bool, Box<Finding>> {
        let parents: Vec<Oid> = commit.parent_ids().collect();
        let [ours, theirs] = parents[..] else { return Ok(false) };
        if ours == theirs {
            return Ok(false);
        }
        Ok(matches!(self.merge(ours, theirs)?, Merged::Tree(tree) if tree == commit.tree_id()))
    }
}

impl Checkout {
    /// The branch `head` merged into `base`, under the name of the branch.
    pub fn merged(depot: &Rc<Depot>, base: &str, head: &str) -> Result<Checkout, Box<Finding>> {
        let (base, head) = (Checkout::of(depot, Some(base))?, Checkout::of(depot, Some(head))?);
        let ahead = |one, other| depot.repository.graph_descendant_of(one, other).unwrap_or(false);
        let (base_id, head_id) = (base.id(), head.id());
        if base_id == head_id || ahead(head_id, base_id) {
            return Ok(head);
        }
        if ahead(base_id, head_id) {
            return Ok(Checkout { revision: head.revision, ..base });
        }
        whole_to_the_fork(depot, base_id, head_id)?;
        match depot.merge(base_id, head_id)? {
            Merged::Tree(whole) => {
                let tree = depot.source_of(whole, &head.revision.reference)?;
                Ok(Checkout { whole, tree, merged_from: Some([head_id, base_id]), ..head })
            }
            Merged::Conflict(files) => Err(conflict(&base, &head, files)),
        }
    }
}

/// Refuses what ends, where it was cloned, before the two branches part: without the commit at which they do, all of both
/// conflicts.
fn whole_to_the_fork(depot: &Depot, base: Oid, head: Oid) -> Result<(), Box<Finding>> {
    let cut_off = depot.cut_off()?;
    if cut_off.is_empty() {
        return Ok(());
    }
    let unreadable = |error: git2::Error| Box::new(fault::reading("the history", &error));
    let mut walk = depot.repository.revwalk().map_err(unreadable)?;
    walk.push(base).and_then(|()| walk.push(head)).map_err(unreadable)?;
    if let Ok(forks) = depot.repository.merge_bases(base, head) {
        forks.iter().try_for_each(|fork| walk.hide(*fork)).map_err(unreadable)?;
    }
    for id in walk {
        if cut_off.contains(&id.map_err(unreadable)?) {
            return Err(Box::new(fault::shallow()));
        }
    }
    Ok(())
}

/// The files that one side adds to directories that the other one has moved or removed. Git would put some of them
/// elsewhere, by what it guesses of where the directory went.
fn moved_away(
    repository: &Repository,
    before: Option<&Tree<'_>>,
    ours: &Tree<'_>,
    theirs: &Tree<'_>,
) -> Result<Vec<String>, git2::Error> {
    let mut moved = Vec::new();
    for (adding, moving) in [(ours, theirs), (theirs, ours)] {
        tree::added_where_gone(repository, before, Some(adding), Some(moving), "", 0, &mut moved)?;
    }
    Ok(moved)
}

fn conflict(base: &Checkout, head: &Checkout, mut files: Vec<String>) -> Box<Finding> {
    let more = files.len().saturating_sub(TOLD_MAX);
    files.truncate(TOLD_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (base, head) = (&base.revision.reference, &head.revision.reference);
    let message = format!("`{head}` cannot be merged into `{base}`: {}{more}", files.join(", "));
    let hint = format!("merge `{base}` into it, or rebase it, and push again");
    Box::new(Finding::error(Code::MergeConflict, message).hint(hint))
}
