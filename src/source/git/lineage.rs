//! Where a commit comes from: whether it leads on from what was applied, whose commits came between, which of them wrote a
//! line, and which removed a resource. One walk backwards answers for all lines and resources together.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};
use std::rc::Rc;
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
pub(super) const COMMITS_MAX: usize = 20_000;

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
    /// It does not lead on from it. These it does not have in common with it; all of its history, where the other one is
    /// not in the repository.
    Elsewhere(Vec<Commit>),
}

impl Since {
    /// The commits that it brings beside those of the other one, one more than are looked at where there are more.
    pub fn brought(&self) -> &[Commit] {
        match self {
            Since::Nothing | Since::Same => &[],
            Since::Ahead(commits) | Since::Elsewhere(commits) => commits,
        }
    }
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

/// A resource that its manifest no longer holds.
#[derive(Clone, Debug)]
pub struct Gone {
    /// Which.
    pub id: ResourceId,
    /// Where it stood when it was applied last.
    pub origin: Origin,
    /// The commit that its organization was applied from last: what was removed before has come back since.
    pub applied: Option<String>,
}

/// The commits of which one may have removed something; none for all of them.
type Suspects = Option<Rc<HashSet<Oid>>>;

/// Lines of one file that nobody is known to have written yet: where each stands in the commit at hand, and where it
/// stands in the one that was asked about.
type Pending = BTreeMap<Arc<str>, Vec<(u32, u32)>>;

impl Checkout {
    /// How this commit stands to another one.
    pub fn since(&self, applied: Option<&str>) -> Result<Since, Box<Finding>> {
        let Some(applied) = applied else { return Ok(Since::Nothing) };
        let repository = &self.depot.repository;
        let head = self.id();
        let Some(applied) = self.known(applied) else { return Ok(Since::Elsewhere(self.brought_beside(&[])?)) };
        if applied == head {
            return Ok(Since::Same);
        }
        let brought = self.brought_beside(&[applied])?;
        Ok(match repository.graph_descendant_of(head, applied) {
            Ok(true) => Since::Ahead(brought),
            _ => Since::Elsewhere(brought),
        })
    }

    /// What came since any of these commits.
    pub fn since_any(&self, applied: &BTreeSet<&str>) -> Result<Since, Box<Finding>> {
        let known: Vec<Oid> = applied.iter().filter_map(|id| self.known(id)).collect();
        let brought = self.brought_beside(&known)?;
        let repository = &self.depot.repository;
        let leads_on =
            |other: &Oid| *other == self.id() || repository.graph_descendant_of(self.id(), *other) == Ok(true);
        Ok(if known.iter().any(leads_on) { Since::Ahead(brought) } else { Since::Elsewhere(brought) })
    }

    /// The same, as far as they are commits of this repository at all.
    pub fn since_any_of_here(&self, applied: &BTreeSet<String>) -> Result<Since, Box<Finding>> {
        let here: BTreeSet<&str> = applied.iter().map(String::as_str).filter(|id| self.known(id).is_some()).collect();
        if here.is_empty() { Ok(Since::Nothing) } else { self.since_any(&here) }
    }

    /// A commit of this repository.
    fn known(&self, id: &str) -> Option<Oid> {
        Oid::from_str(id).ok().filter(|id| self.depot.repository.find_commit(*id).is_ok())
    }

    /// The commits that lead here and to none of the others, the newest first.
    fn brought_beside(&self, others: &[Oid]) -> Result<Vec<Commit>, Box<Finding>> {
        let repository = &self.depot.repository;
        let unreadable = |error: git2::Error| Box::new(fault::reading("the history", &error));
        let mut walk = repository.revwalk().map_err(unreadable)?;
        walk.push(self.id()).map_err(unreadable)?;
        for other in others {
            walk.hide(*other).map_err(unreadable)?;
        }
        let cut_off = self.depot.cut_off()?;
        let mut brought = Vec::new();
        for id in walk.take(COMMITS_MAX + 1) {
            let id = id.map_err(unreadable)?;
            if cut_off.contains(&id) {
                return Err(Box::new(fault::shallow()));
            }
            brought.push(commit::read(&repository.find_commit(id).map_err(unreadable)?));
        }
        Ok(brought)
    }

    /// Who wrote some lines, and who was the last to remove some resources from their files since they were applied.
    pub fn explain(&self, lines: &BTreeSet<(Arc<str>, u32)>, gone: &[Gone]) -> Result<Explained, Box<Finding>> {
        let unreadable = |error: git2::Error| Box::new(fault::reading("the history", &error));
        let mut pending: Pending = BTreeMap::new();
        // The history knows files from the root of the repository.
        let from_top = |file: &Arc<str>| -> Arc<str> { format!("{}{file}", self.root()).into() };
        for (file, line) in lines {
            pending.entry(from_top(file)).or_default().push((*line, *line));
        }
        let mut walk = Walk {
            checkout: self,
            cut_off: self.depot.cut_off()?,
            ends_early: false,
            explained: Explained::default(),
            gone: BTreeMap::new(),
            versions: 0,
            steps: Some(STEPS_MAX),
        };
        let mut suspects: BTreeMap<&str, Suspects> = BTreeMap::new();
        for Gone { id, origin, applied } in gone {
            let suspects = match applied.as_deref().map(|applied| (applied, suspects.get(applied))) {
                None => None,
                Some((_, Some(known))) => known.clone(),
                Some((applied, None)) => {
                    let new = self.brought_ids(applied).map_err(unreadable)?.map(Rc::new);
                    suspects.insert(applied, new.clone());
                    new
                }
            };
            walk.gone.entry(from_top(&origin.file)).or_default().push((id.clone(), suspects));
        }
        walk.leave_what_is_there().map_err(unreadable)?;
        walk.run(pending).map_err(unreadable)?;
        if walk.ends_early {
            return Err(Box::new(fault::shallow()));
        }
        let cut_short = walk.steps.is_none();
        let Explained { lines, removed, cut_short: _ } = walk.explained;
        let from_root = |file: Arc<str>| file.strip_prefix(self.root()).map_or(file.clone(), Arc::from);
        Ok(Explained {
            lines: lines.into_iter().map(|((file, line), who)| ((from_root(file), line), who)).collect(),
            removed,
            cut_short,
        })
    }

    /// The ids of the commits that lead here and not to another one; none where that is not in the repository.
    fn brought_ids(&self, other: &str) -> Result<Option<HashSet<Oid>>, git2::Error> {
        let repository = &self.depot.repository;
        let Some(other) = self.known(other) else { return Ok(None) };
        let mut walk = repository.revwalk()?;
        walk.push(self.id()).and_then(|()| walk.hide(other))?;
        walk.take(COMMITS_MAX).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn id(&self) -> Oid {
        Oid::from_str(&self.revision.commit.id).unwrap_or(Oid::ZERO_SHA1)
    }
}

struct Walk<'a> {
    checkout: &'a Checkout,
    /// The commits behind which the history is not here. What they hold somebody else may have written.
    cut_off: HashSet<Oid>,
    /// Whether something was looked for behind one of them.
    ends_early: bool,
    explained: Explained,
    /// What is still looked for, by the file that held it.
    gone: BTreeMap<Arc<str>, Vec<(ResourceId, Suspects)>>,
    versions: usize,
    /// How much work is left; none once there was not enough.
    steps: Option<u64>,
}

impl Walk<'_> {
    /// What still stands in its file nobody has removed, whatever happened to it before: something else hides it.
    fn leave_what_is_there(&mut self) -> Result<(), git2::Error> {
        if self.gone.is_empty() {
            return Ok(());
        }
        let repository = &self.checkout.depot.repository;
        let tree = repository.find_tree(self.checkout.whole)?;
        for file in Vec::from_iter(self.gone.keys().cloned()) {
            let there = self.held(&file, tree::blob_at(repository, &tree, &file));
            if let Some(searched) = self.gone.get_mut(&file) {
                searched.retain(|(id, _)| !there.contains(id));
            }
        }
        self.gone.retain(|_, searched| !searched.is_empty());
        Ok(())
    }

    /// Whether a commit may have removed something that is still looked for.
    fn suspects(&self, commit: Oid) -> bool {
        self.gone.values().flatten().any(|(_, suspects)| suspected(suspects, commit))
    }

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
                let tree = repository.find_tree(self.checkout.whole)?;
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
            let searching = !again && self.suspects(id);
            if pending.is_empty() && !searching {
                continue;
            }
            looked_at += 1;
            if looked_at > COMMITS_MAX || self.steps.is_none() {
                break;
            }
            if self.cut_off.contains(&id) {
                self.ends_early = true;
                break;
            }
            let commit = repository.find_commit(id)?;
            let author = commit::read(&commit).authorship();
            let passed = self.one(&commit.tree()?, commit.parents().collect(), Some((id, &author)), pending)?;
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
        by: Option<(Oid, &Authorship)>,
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
                    && !kept.is_empty()
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
        if let Some((id, author)) = by.filter(|_| self.steps.is_some()) {
            self.search(&parents, (id, author), tree, differs.as_ref())?;
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
        (commit, author): (Oid, &Authorship),
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
            searched.retain(|(id, suspects)| {
                let removed = suspected(suspects, commit) && there.contains(id) && !here.contains(id);
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

fn suspected(suspects: &Suspects, commit: Oid) -> bool {
    suspects.as_ref().is_none_or(|suspects| suspects.contains(&commit))
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
