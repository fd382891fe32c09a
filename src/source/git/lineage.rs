//! Where a commit comes from: whether it leads on from what was applied, whose commits came between, which of them wrote a
//! line, and which removed a resource. One walk backwards answers for all lines and resources together.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};
use std::sync::Arc;

use git2::{DiffOptions, Oid, Patch};

use super::{Checkout, commit, fault, tree};
use crate::model::finding::Finding;
use crate::model::origin::Origin;
use crate::model::resource::ResourceId;
use crate::model::revision::{Authorship, Commit};
use crate::source::manifest::read_file;
use crate::source::yaml::FILE_BYTES_MAX;

/// How many commits are looked at in one walk. Who wrote what is older is not told.
const COMMITS_MAX: usize = 20_000;

/// How many versions of files are compared line by line in one walk, or read to find what they no longer hold.
const VERSIONS_MAX: usize = 5_000;

/// How much work one walk may be, in steps of a few nanoseconds, and how many of them an entry of a tree takes, and a byte
/// of a manifest that is read. Who wrote what is not found by then is not told.
const STEPS_MAX: u64 = 4_000_000_000;
const STEPS_PER_ENTRY: u64 = 40;
const STEPS_PER_BYTE: u64 = 10;

/// How a commit stands to the one that was applied last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// Nothing of this source has been applied from a commit.
    Nothing,
    /// It is the same one.
    Same,
    /// It leads on from it; these came between, the newest first.
    Ahead(Vec<Commit>),
    /// It does not lead on from it.
    Elsewhere,
}

/// What a walk found.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// Who wrote a line, by file and line.
    pub lines: BTreeMap<(Arc<str>, u32), Authorship>,
    /// Who removed a resource.
    pub removed: BTreeMap<ResourceId, Authorship>,
    /// Whether the walk ended early, because it was too much work.
    pub cut_short: bool,
}

/// Lines of one file that nobody is known to have written yet: where each stands in the commit at hand, and where it
/// stands in the one that was asked about.
type Pending = BTreeMap<Arc<str>, Vec<(u32, u32)>>;

impl Checkout {
    /// How this commit stands to another one.
    pub fn since(&self, applied: Option<&str>) -> Result<Since, Box<Finding>> {
        let Some(applied) = applied else { return Ok(Since::Nothing) };
        let repository = &self.depot.repository;
        let head = self.id();
        let Ok(applied) = Oid::from_str(applied) else { return Ok(Since::Elsewhere) };
        if applied == head {
            return Ok(Since::Same);
        }
        if repository.find_commit(applied).is_err() || !repository.graph_descendant_of(head, applied).unwrap_or(false) {
            return Ok(Since::Elsewhere);
        }
        let unreadable = |error: git2::Error| Box::new(fault::reading("the history", &error));
        let mut walk = repository.revwalk().map_err(unreadable)?;
        walk.push(head).and_then(|()| walk.hide(applied)).map_err(unreadable)?;
        let mut between = Vec::new();
        for id in walk.take(COMMITS_MAX) {
            let found = id.and_then(|id| repository.find_commit(id)).map_err(unreadable)?;
            between.push(commit::read(&found));
        }
        Ok(Since::Ahead(between))
    }

    /// Who wrote some lines, and who was the last to remove some resources from their files.
    pub fn explain(
        &self,
        lines: &BTreeSet<(Arc<str>, u32)>,
        gone: &[(ResourceId, Origin)],
    ) -> Result<Explained, Box<Finding>> {
        let unreadable = |error: git2::Error| Box::new(fault::reading("the history", &error));
        let mut pending: Pending = BTreeMap::new();
        for (file, line) in lines {
            pending.entry(file.clone()).or_default().push((*line, *line));
        }
        let mut walk = Walk {
            checkout: self,
            explained: Explained::default(),
            gone: BTreeMap::new(),
            versions: 0,
            steps: Some(STEPS_MAX),
        };
        for (id, origin) in gone {
            walk.gone.entry(origin.file.clone()).or_default().push(id.clone());
        }
        walk.run(pending).map_err(unreadable)?;
        Ok(Explained { cut_short: walk.steps.is_none(), ..walk.explained })
    }

    pub(super) fn id(&self) -> Oid {
        Oid::from_str(&self.revision.commit.id).unwrap_or(Oid::ZERO_SHA1)
    }
}

struct Walk<'a> {
    checkout: &'a Checkout,
    explained: Explained,
    /// What is still looked for, by the file that held it.
    gone: BTreeMap<Arc<str>, Vec<ResourceId>>,
    versions: usize,
    /// How much work is left; none once there was not enough.
    steps: Option<u64>,
}

impl Walk<'_> {
    /// Goes back, the newest commits first. Each passes on what it has not written itself.
    fn run(&mut self, pending: Pending) -> Result<(), git2::Error> {
        let repository = &self.checkout.depot.repository;
        let mut queue = BinaryHeap::new();
        let mut waiting: BTreeMap<Oid, Pending> = BTreeMap::new();
        let mut seen = HashSet::new();
        match self.checkout.merged_from {
            None => {
                let head = repository.find_commit(self.checkout.id())?;
                queue.push((head.time().seconds(), head.id()));
                waiting.insert(head.id(), pending);
            }
            // A merge that nobody has made has written nothing itself.
            Some(parents) => {
                let tree = repository.find_tree(self.checkout.tree)?;
                let parents: Vec<_> = parents.iter().map(|id| repository.find_commit(*id)).collect::<Result<_, _>>()?;
                for (parent, passed) in self.one(&tree, parents, None, pending)? {
                    queue.push((parent.time().seconds(), parent.id()));
                    waiting.insert(parent.id(), passed);
                }
            }
        }
        let mut looked_at = 0;
        while let Some((_, id)) = queue.pop() {
            let pending = waiting.remove(&id).unwrap_or_default();
            let again = !seen.insert(id);
            let searching = !again && !self.gone.is_empty();
            if pending.is_empty() && !searching {
                continue;
            }
            looked_at += 1;
            if looked_at > COMMITS_MAX || self.steps.is_none() {
                break;
            }
            let commit = repository.find_commit(id)?;
            let author = commit::read(&commit).authorship();
            let passed = self.one(&commit.tree()?, commit.parents().collect(), Some(&author), pending)?;
            for (parent, passed) in passed {
                let entry = waiting.entry(parent.id()).or_default();
                for (file, lines) in passed {
                    entry.entry(file).or_default().extend(lines);
                }
                if searching || !entry.is_empty() {
                    queue.push((parent.time().seconds(), parent.id()));
                }
            }
        }
        Ok(())
    }

    /// What of it a commit has written; the rest goes to its parents.
    fn one<'r>(
        &mut self,
        tree: &git2::Tree<'r>,
        parents: Vec<git2::Commit<'r>>,
        author: Option<&Authorship>,
        mut pending: Pending,
    ) -> Result<Vec<(git2::Commit<'r>, Pending)>, git2::Error> {
        let repository = &self.checkout.depot.repository;
        let mut passed = Vec::new();
        // What differs from every parent, so that this commit has something to do with it.
        let mut differs: Option<BTreeSet<String>> = None;
        let wanted: BTreeSet<Arc<str>> = pending.keys().chain(self.gone.keys()).cloned().collect();
        let wanted: Vec<&str> = wanted.iter().map(|path| &**path).collect();
        for parent in &parents {
            let older = parent.tree()?;
            let mut charge = |entries: usize| self.pay(STEPS_PER_ENTRY * entries as u64);
            let Some(changed) = tree::changed(repository, Some(&older), Some(tree), &wanted, &mut charge)? else {
                return Ok(Vec::new());
            };
            let changed: BTreeSet<String> = changed.into_iter().map(str::to_owned).collect();
            let mut touched: Pending = BTreeMap::new();
            for path in &changed {
                touched.extend(pending.remove_entry(path.as_str()));
            }
            // All that it has not touched it has from this parent.
            let mut share = std::mem::replace(&mut pending, touched);
            for (file, lines) in &mut pending {
                let versions = (tree::blob_at(repository, &older, file), tree::blob_at(repository, tree, file));
                if let (Some(there), Some(here)) = versions
                    && let Some(kept) = self.kept(there, here, lines)
                {
                    share.insert(file.clone(), kept);
                }
            }
            pending.retain(|_, lines| !lines.is_empty());
            passed.push((parent.clone(), share));
            differs = Some(match differs {
                None => changed,
                Some(others) => others.intersection(&changed).cloned().collect(),
            });
        }
        if let Some(author) = author.filter(|_| self.steps.is_some()) {
            self.search(&parents, author, tree, differs.as_ref())?;
            for (file, lines) in pending {
                for (_, asked) in lines {
                    self.explained.lines.insert((file.clone(), asked), author.clone());
                }
            }
        }
        Ok(passed)
    }

    /// The lines that stand in the older version as well, with their places there; they are taken out of `lines`.
    fn kept(&mut self, older: Oid, newer: Oid, lines: &mut Vec<(u32, u32)>) -> Option<Vec<(u32, u32)>> {
        self.versions += 1;
        if self.versions > VERSIONS_MAX {
            // Better nobody than somebody else.
            lines.clear();
            return None;
        }
        let (older, newer) = (self.text(older)?, self.text(newer)?);
        let count = [&older, &newer].map(|text| text.iter().filter(|byte| **byte == b'\n').count() as u64 + 1);
        let lines_of_both: u64 = count.iter().sum();
        // Comparing is the more work for each line the more of them there are.
        if !self.pay(lines_of_both * lines_of_both.isqrt() + (older.len() + newer.len()) as u64) {
            lines.clear();
            return None;
        }
        let mut options = DiffOptions::new();
        options.context_lines(0).interhunk_lines(0);
        let patch = Patch::from_buffers(&older, None, &newer, None, Some(&mut options)).ok()?;
        let mut hunks = Vec::with_capacity(patch.num_hunks());
        for at in 0..patch.num_hunks() {
            let (hunk, _) = patch.hunk(at).ok()?;
            hunks.push((hunk.old_start(), hunk.old_lines(), hunk.new_start(), hunk.new_lines()));
        }
        let mut kept = Vec::new();
        lines.retain(|(line, asked)| match place_before(&hunks, *line) {
            Some(before) => {
                kept.push((before, *asked));
                false
            }
            None => true,
        });
        Some(kept)
    }

    /// Looks whether a commit takes one of the resources out of its file, compared with every parent.
    fn search(
        &mut self,
        parents: &[git2::Commit<'_>],
        author: &Authorship,
        tree: &git2::Tree<'_>,
        differs: Option<&BTreeSet<String>>,
    ) -> Result<(), git2::Error> {
        let repository = &self.checkout.depot.repository;
        let touched = |file: &&Arc<str>| differs.is_some_and(|differs| differs.contains(&***file));
        let files: Vec<Arc<str>> = self.gone.keys().filter(touched).cloned().collect();
        for file in files {
            let here = self.held(&file, tree::blob_at(repository, tree, &file));
            let mut there = BTreeSet::new();
            for parent in parents {
                there.extend(self.held(&file, tree::blob_at(repository, &parent.tree()?, &file)));
            }
            let Some(searched) = self.gone.get_mut(&file) else { continue };
            let explained = &mut self.explained.removed;
            searched.retain(|id| {
                let removed = there.contains(id) && !here.contains(id);
                if removed {
                    explained.insert(id.clone(), author.clone());
                }
                !removed
            });
            if searched.is_empty() {
                self.gone.remove(&file);
            }
        }
        Ok(())
    }

    /// The resources that a version of a file holds.
    fn held(&mut self, file: &Arc<str>, blob: Option<Oid>) -> BTreeSet<ResourceId> {
        self.versions += 1;
        let text = blob.filter(|_| self.versions <= VERSIONS_MAX).and_then(|blob| self.text(blob));
        let text = text.filter(|text| self.pay(STEPS_PER_BYTE * text.len() as u64));
        let reading = text.map(|text| read_file(file, &text));
        reading.into_iter().flat_map(|reading| reading.resources).map(|resource| resource.id).collect()
    }

    /// Takes some work off what is left of it.
    fn pay(&mut self, steps: u64) -> bool {
        self.steps = self.steps.and_then(|left| left.checked_sub(steps));
        self.steps.is_some()
    }

    fn text(&self, blob: Oid) -> Option<Vec<u8>> {
        super::bounded(&self.checkout.depot.repository, blob, FILE_BYTES_MAX).ok()
    }
}

/// Where a line stood before some hunks, each as old start, old lines, new start, new lines; none if a hunk brought it.
fn place_before(hunks: &[(u32, u32, u32, u32)], line: u32) -> Option<u32> {
    let mut moved: i64 = 0;
    for (_, old_lines, new_start, new_lines) in hunks {
        // A hunk that only removes lines stands behind the line that it names.
        let first = if *new_lines == 0 { new_start + 1 } else { *new_start };
        if line < first {
            break;
        }
        if line < first + new_lines {
            return None;
        }
        moved += i64::from(*old_lines) - i64::from(*new_lines);
    }
    u32::try_from(i64::from(line) + moved).ok()
}

#[cfg(test)]
mod tests {
    use super::place_before;

    #[test]
    fn lines_move_with_what_comes_and_goes_before_them() {
        // Two lines came at 3, one went behind 10, one changed at 20.
        let hunks = [(2, 0, 3, 2), (9, 1, 10, 0), (19, 1, 20, 1)];
        assert_eq!(place_before(&hunks, 2), Some(2));
        assert_eq!(place_before(&hunks, 3), None);
        assert_eq!(place_before(&hunks, 4), None);
        assert_eq!(place_before(&hunks, 5), Some(3));
        assert_eq!(place_before(&hunks, 10), Some(8));
        assert_eq!(place_before(&hunks, 11), Some(10));
        assert_eq!(place_before(&hunks, 20), None);
        assert_eq!(place_before(&hunks, 21), Some(20));
    }
}
