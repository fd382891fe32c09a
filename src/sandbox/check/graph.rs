//! Who refers to whom: rules that refer to each other in a circle, and rules that nobody refers to.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::names::RuleId;

/// The rules that each rule refers to.
pub struct Graph(BTreeMap<RuleId, BTreeSet<RuleId>>);

impl Graph {
    /// Of these references.
    pub fn of(edges: impl IntoIterator<Item = (RuleId, RuleId)>) -> Graph {
        let mut graph: BTreeMap<RuleId, BTreeSet<RuleId>> = BTreeMap::new();
        for (from, to) in edges {
            graph.entry(from).or_default().insert(to);
        }
        Graph(graph)
    }

    /// All rules that these lead to, themselves among them.
    pub fn reached(&self, from: impl IntoIterator<Item = RuleId>) -> BTreeSet<RuleId> {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<RuleId> = from.into_iter().collect();
        while let Some(rule) = waiting.pop() {
            if reached.insert(rule) {
                waiting.extend(self.next(rule));
            }
        }
        reached
    }

    /// Circles: each rule that leads to itself is in one of them. A circle begins with its lowest number.
    pub fn circles(&self) -> Vec<Vec<RuleId>> {
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for rule in self.in_circles() {
            if seen.contains(&rule) {
                continue;
            }
            if let Some(circle) = self.circle(rule) {
                seen.extend(circle.iter().copied());
                circles.push(circle);
            }
        }
        circles
    }

    fn next(&self, rule: RuleId) -> impl Iterator<Item = RuleId> {
        self.0.get(&rule).into_iter().flatten().copied()
    }

    /// The rules that are left when those are taken away, one after the other, that nothing leads to or that lead to
    /// nothing: all circles, and what lies between two of them.
    fn in_circles(&self) -> BTreeSet<RuleId> {
        let mut back: BTreeMap<RuleId, BTreeSet<RuleId>> = BTreeMap::new();
        for (from, to) in self.0.iter().flat_map(|(from, to)| to.iter().map(move |to| (*from, *to))) {
            back.entry(to).or_default().insert(from);
        }
        let mut left: BTreeSet<RuleId> = self.0.keys().filter(|rule| back.contains_key(*rule)).copied().collect();
        let mut waiting: Vec<RuleId> = left.iter().copied().collect();
        while let Some(rule) = waiting.pop() {
            if !left.contains(&rule) {
                continue;
            }
            let leads = self.next(rule).any(|to| left.contains(&to));
            let is_led_to = back.get(&rule).is_some_and(|from| from.iter().any(|from| left.contains(from)));
            if !leads || !is_led_to {
                left.remove(&rule);
                waiting.extend(self.next(rule).chain(back.get(&rule).into_iter().flatten().copied()));
            }
        }
        left
    }

    /// The shortest way from a rule to itself.
    fn circle(&self, rule: RuleId) -> Option<Vec<RuleId>> {
        let mut came_from: BTreeMap<RuleId, RuleId> = BTreeMap::new();
        let mut waiting = VecDeque::from([rule]);
        while let Some(at) = waiting.pop_front() {
            for to in self.next(at) {
                if to == rule {
                    let mut circle = vec![at];
                    while circle[0] != rule {
                        circle.insert(0, came_from[&circle[0]]);
                    }
                    return Some(circle);
                }
                if let Entry::Vacant(entry) = came_from.entry(to) {
                    entry.insert(at);
                    waiting.push_back(to);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_nothing_else() {
        let circles = |edges: &[(RuleId, RuleId)]| Graph::of(edges.iter().copied()).circles();
        assert_eq!(circles(&[(1, 2), (2, 3), (1, 3)]), Vec::<Vec<RuleId>>::new());
        assert_eq!(circles(&[(1, 1), (1, 2)]), [[1]]);
        assert_eq!(circles(&[(0, 1), (1, 2), (2, 3), (3, 1), (3, 9)]), [[1, 2, 3]]);
        // What lies between two circles is in none.
        assert_eq!(circles(&[(1, 2), (2, 1), (2, 5), (5, 7), (7, 8), (8, 7)]), [[1, 2], [7, 8]]);
        // Two circles through one rule: each rule is in one that is told, and telling it once is enough.
        let both = circles(&[(1, 2), (2, 1), (1, 3), (3, 1)]);
        assert_eq!(both, [vec![1, 2], vec![3, 1]]);
    }

    #[test]
    fn a_long_chain_is_no_circle_and_takes_no_stack() {
        let chain: Vec<_> = (0..100_000).map(|rule| (rule, rule + 1)).collect();
        let graph = Graph::of(chain);
        assert!(graph.circles().is_empty());
        assert_eq!(graph.reached([99_990]).len(), 11);
    }
}
