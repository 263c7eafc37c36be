//! Hierarchical clustering by complete linkage, with leaves in optimal order.

use std::ops::Range;

use kodama::{Method, linkage};
use ndarray::{Array2, ArrayView2};

/// Two clusters made one. Clusters are numbered as scipy does: 0..K are the leaves, K + i is what merge i made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The cluster that is drawn first.
    pub left: usize,
    /// The other.
    pub right: usize,
    /// The largest distance between a leaf of one and a leaf of the other.
    pub height: f64,
    /// Leaves in both together.
    pub count: usize,
}

/// A tree over K leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// The K - 1 merges, by height.
    pub merges: Vec<Merge>,
    /// The leaves in the order they are drawn in.
    pub leaves: Vec<usize>,
}

/// Complete linkage of a symmetric, finite matrix of distances [K, K] (the diagonal is not looked at), leaves ordered so
/// that the sum of distances between neighbours is least among the orders the tree allows (Bar-Joseph, Gifford and
/// Jaakkola 2001).
///
/// Of an order and its reverse, which are as good, the one with the smaller cluster of the last merge first.
///
/// # Panics
/// When the matrix is not square.
pub fn complete_linkage(distances: ArrayView2<f64>) -> Tree {
    assert!(distances.is_square(), "distances of leaves to each other");
    let count = distances.nrows();
    if count < 2 {
        return Tree { merges: Vec::new(), leaves: (0..count).collect() };
    }
    let mut condensed: Vec<f64> =
        (0..count).flat_map(|i| (i + 1..count).map(move |j| distances[[i, j]])).collect();
    let steps = linkage(&mut condensed, count, Method::Complete);
    let merge = |step: &kodama::Step<f64>| Merge {
        left: step.cluster1,
        right: step.cluster2,
        height: step.dissimilarity,
        count: step.size,
    };
    order(steps.steps().iter().map(merge).collect(), distances)
}

/// Turns the subtrees of merges so that the leaves come in optimal order.
fn order(mut merges: Vec<Merge>, distances: ArrayView2<f64>) -> Tree {
    let mut best =
        Best { cost: Array2::from_elem(distances.dim(), f64::INFINITY), distances, members: Vec::new() };
    for leaf in 0..distances.nrows() {
        best.cost[[leaf, leaf]] = 0.0;
        best.members.push(Members { leaves: vec![leaf], split: 0 });
    }
    for merge in &merges {
        best.merge(merge.left, merge.right);
    }
    let root = best.members.len() - 1;
    let all = &best.members[root];
    let ends = all.left().iter().flat_map(|&first| all.right().iter().map(move |&last| (first, last)));
    let (first, last) = least(ends, |&(first, last)| best.cost[[first, last]]);
    let mut leaves = Vec::with_capacity(all.leaves.len());
    best.draw(root, first, last, &mut merges, &mut leaves);
    Tree { merges, leaves }
}

/// The leaves of a cluster: those of its left part, then, from `split` on, those of its right part. A leaf's cluster has
/// only a right part.
struct Members {
    leaves: Vec<usize>,
    split: usize,
}

impl Members {
    fn left(&self) -> &[usize] {
        &self.leaves[..self.split]
    }

    fn right(&self) -> &[usize] {
        &self.leaves[self.split..]
    }

    /// Which of `leaves` can be at the other end when `end` is at one: those of the other part.
    fn opposite(&self, end: usize) -> Range<usize> {
        if self.split == 0 || self.left().contains(&end) {
            self.split..self.leaves.len()
        } else {
            0..self.split
        }
    }
}

/// The least costs of drawing each cluster, by its two ends.
struct Best<'a> {
    distances: ArrayView2<'a, f64>,
    /// For each pair of leaves, the cost of the smallest cluster that has both, drawn with these at its ends.
    cost: Array2<f64>,
    /// For each cluster.
    members: Vec<Members>,
}

impl Best<'_> {
    /// Finds the costs of the cluster of two clusters, for all its ends: O(leaves cubed).
    fn merge(&mut self, left: usize, right: usize) {
        let (left, right) = (&self.members[left], &self.members[right]);
        for &first in &left.leaves {
            let ends = &left.leaves[left.opposite(first)];
            // The cost of having come from `first` to each leaf that may begin the right part.
            let begun: Vec<f64> = right
                .leaves
                .iter()
                .map(|&next| {
                    let costs = ends.iter().map(|&end| self.cost[[first, end]] + self.distances[[end, next]]);
                    costs.fold(f64::INFINITY, f64::min)
                })
                .collect();
            for &last in &right.leaves {
                let nexts = right.opposite(last);
                let costs = nexts.map(|place| begun[place] + self.cost[[right.leaves[place], last]]);
                let cost = costs.fold(f64::INFINITY, f64::min);
                self.cost[[first, last]] = cost;
                self.cost[[last, first]] = cost;
            }
        }
        let leaves = [&left.leaves[..], &right.leaves].concat();
        self.members.push(Members { split: left.leaves.len(), leaves });
    }

    /// Appends the leaves of a cluster, drawn from `first` to `last`, and turns its merges accordingly.
    fn draw(&self, cluster: usize, first: usize, last: usize, merges: &mut [Merge], leaves: &mut Vec<usize>) {
        let Some(index) = cluster.checked_sub(self.distances.nrows()) else {
            leaves.push(cluster);
            return;
        };
        let merge = &mut merges[index];
        if !self.members[cluster].left().contains(&first) {
            (merge.left, merge.right) = (merge.right, merge.left);
        }
        let (left, right) = (merge.left, merge.right);
        let (before, after) = (&self.members[left], &self.members[right]);
        let ends = &before.leaves[before.opposite(first)];
        let nexts = &after.leaves[after.opposite(last)];
        let joints = ends.iter().flat_map(|&end| nexts.iter().map(move |&next| (end, next)));
        let (end, next) = least(joints, |&(end, next)| {
            self.cost[[first, end]] + self.distances[[end, next]] + self.cost[[next, last]]
        });
        self.draw(left, first, end, merges, leaves);
        self.draw(right, next, last, merges, leaves);
    }
}

/// The item of least cost; the first such.
fn least<T>(items: impl Iterator<Item = T>, cost: impl Fn(&T) -> f64) -> T {
    items.min_by(|a, b| cost(a).total_cmp(&cost(b))).expect("both parts of a merge have leaves")
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, array};

    use super::*;
    use crate::golden::{assert_close, golden};

    /// What an order costs: the sum of distances between neighbours.
    fn cost(leaves: &[usize], distances: &Array2<f64>) -> f64 {
        leaves.windows(2).map(|pair| distances[[pair[0], pair[1]]]).sum()
    }

    /// Scattered points, their distances.
    fn scattered(count: usize) -> Array2<f64> {
        let at = |i: usize| ((i * i + 1) as f64 * 12.9898).sin() * 43758.5453 % 1.0;
        Array2::from_shape_fn((count, count), |(i, j)| {
            (at(2 * i) - at(2 * j)).hypot(at(2 * i + 1) - at(2 * j + 1))
        })
    }

    /// Every order of a cluster's leaves that the tree allows.
    fn orders(cluster: usize, tree: &Tree) -> Vec<Vec<usize>> {
        let Some(index) = cluster.checked_sub(tree.leaves.len()) else { return vec![vec![cluster]] };
        let Merge { left, right, .. } = tree.merges[index];
        let (left, right) = (orders(left, tree), orders(right, tree));
        let pairs = left.iter().flat_map(|left| right.iter().map(move |right| (left, right)));
        pairs.flat_map(|(a, b)| [[&a[..], b].concat(), [&b[..], a].concat()]).collect()
    }

    #[test]
    fn agrees_with_the_golden_tree() {
        let distances = golden::<f64, 2>("trajectory_distance");
        let tree = complete_linkage(distances.view());
        let expected = golden::<f64, 2>("linkage_complete");
        assert_eq!(tree.merges.len(), expected.nrows());
        for (merge, row) in tree.merges.iter().zip(expected.axis_iter(Axis(0))) {
            let (left, right) = (row[0] as usize, row[1] as usize);
            assert!([(left, right), (right, left)].contains(&(merge.left, merge.right)), "{merge:?}");
            assert_close(merge.height, row[2], 1e-12, 1e-10);
            assert_eq!(merge.count, row[3] as usize);
        }
    }

    #[test]
    fn the_order_is_no_worse_than_the_golden_one() {
        // Nor equal to it: scipy, where it comes from, does not always return the best order (its issue 11227).
        let distances = golden::<f64, 2>("trajectory_distance");
        let scipy = golden::<i64, 1>("leaves_complete_optimal").mapv(|leaf| leaf as usize);
        let found = complete_linkage(distances.view()).leaves;
        assert!(cost(&found, &distances) <= cost(scipy.as_slice().unwrap(), &distances));
        assert_eq!(found, [1, 3, 4, 2, 0]);
    }

    #[test]
    fn no_order_that_the_tree_allows_is_better() {
        for count in 2..=9 {
            let distances = scattered(count);
            let tree = complete_linkage(distances.view());
            let found = cost(&tree.leaves, &distances);
            let all = orders(2 * count - 2, &tree);
            assert_eq!(all.len(), 1 << (count - 1));
            let best = all.iter().map(|leaves| cost(leaves, &distances)).fold(f64::INFINITY, f64::min);
            assert_close(found, best, 1e-12, 0.0);
        }
    }

    #[test]
    fn merges_are_drawn_in_the_order_of_the_leaves() {
        let tree = complete_linkage(scattered(40).view());
        let mut clusters: Vec<Vec<usize>> = (0..40).map(|leaf| vec![leaf]).collect();
        for (index, merge) in tree.merges.iter().enumerate() {
            clusters.push([&clusters[merge.left][..], &clusters[merge.right]].concat());
            assert_eq!(clusters[40 + index].len(), merge.count);
            assert!(index == 0 || tree.merges[index - 1].height <= merge.height);
        }
        assert_eq!(clusters.pop(), Some(tree.leaves));
    }

    #[test]
    fn equal_distances_make_a_tree_all_the_same() {
        let tree = complete_linkage(Array2::ones((4, 4)).view());
        assert!(tree.merges.iter().all(|merge| merge.height == 1.0));
        let mut leaves = tree.leaves;
        leaves.sort();
        assert_eq!(leaves, [0, 1, 2, 3]);
    }

    #[test]
    fn fewer_than_two_leaves_have_nothing_to_merge() {
        assert_eq!(complete_linkage(Array2::zeros((0, 0)).view()), Tree { merges: vec![], leaves: vec![] });
        assert_eq!(complete_linkage(array![[0.0]].view()), Tree { merges: vec![], leaves: vec![0] });
    }
}
