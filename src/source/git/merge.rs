//! What a branch would bring: the tree that merging it would make. Nothing of it is written into the repository.

use std::rc::Rc;

use git2::{MergeOptions, Oid};

use super::tree::shown;
use super::{Checkout, Depot, fault};
use crate::model::code::Code;
use crate::model::finding::Finding;

/// So many files that conflict are told one by one.
const TOLD_MAX: usize = 10;

/// Merged objects come before those of the repository, and are gone with the process.
const IN_MEMORY_FIRST: i32 = 999;

impl Checkout {
    /// The branch `head` merged into `base`, under the name of the branch.
    pub fn merged(depot: &Rc<Depot>, base: &str, head: &str) -> Result<Checkout, Box<Finding>> {
        let (base, head) = (Checkout::of(depot, Some(base))?, Checkout::of(depot, Some(head))?);
        let repository = &depot.repository;
        let unreadable = |error: git2::Error| Box::new(fault::reading("the branches", &error));
        let ahead = |one, other| repository.graph_descendant_of(one, other).unwrap_or(false);
        let (base_id, head_id) = (base.id(), head.id());
        if base_id == head_id || ahead(head_id, base_id) {
            return Ok(head);
        }
        if ahead(base_id, head_id) {
            return Ok(Checkout { revision: head.revision, ..base });
        }
        whole_to_the_fork(depot, base_id, head_id)?;
        let odb = repository.odb().map_err(unreadable)?;
        odb.add_new_mempack_backend(IN_MEMORY_FIRST).map_err(unreadable)?;
        let commit = |id| repository.find_commit(id).map_err(unreadable);
        let mut options = MergeOptions::new();
        options.fail_on_conflict(false);
        let merged = repository.merge_commits(&commit(base_id)?, &commit(head_id)?, Some(&options));
        let mut merged = merged.map_err(unreadable)?;
        if merged.has_conflicts() {
            return Err(conflict(&base, &head, &merged));
        }
        let whole = merged.write_tree_to(repository).map_err(unreadable)?;
        let tree = depot.source_of(whole, &head.revision.reference)?;
        Ok(Checkout { whole, tree, merged_from: Some([head_id, base_id]), ..head })
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

fn conflict(base: &Checkout, head: &Checkout, merged: &git2::Index) -> Box<Finding> {
    let conflicts = merged.conflicts().into_iter().flatten().flatten();
    let mut files: Vec<String> =
        conflicts.filter_map(|all| all.our.or(all.their).or(all.ancestor)).map(|entry| shown(&entry.path)).collect();
    files.dedup();
    let more = files.len().saturating_sub(TOLD_MAX);
    files.truncate(TOLD_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (base, head) = (&base.revision.reference, &head.revision.reference);
    let message = format!("`{head}` cannot be merged into `{base}`: {}{more}", files.join(", "));
    let hint = format!("merge `{base}` into it, or rebase it, and push again");
    Box::new(Finding::error(Code::MergeConflict, message).hint(hint))
}
