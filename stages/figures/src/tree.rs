//! A tree of merges: where each branch lies, and what its leaves have in common.

use anyhow::{Result, bail, ensure};
use tables::Table;

/// A tree over K leaves, as scipy numbers clusters: leaf i is node i, merge j is node K + j.
#[derive(Debug)]
pub struct Tree {
    /// The leaves from top to bottom.
    pub leaves: Vec<usize>,
    /// The merges, lowest first.
    pub merges: Vec<Merge>,
}

/// Two branches that become one. Places count leaves from the top; a branch lies midway between its two.
#[derive(Debug, Clone, PartialEq)]
pub struct Merge {
    /// The height at which they merge.
    pub height: f64,
    /// Each branch: its place, and the height where it begins.
    pub branches: [(f64, f64); 2],
    /// The category of all leaves below, where they have the same one.
    pub category: Option<String>,
    place: f64,
}

impl Tree {
    /// Reads merges (columns `left`, `right`, `height`), given the place of each leaf (from 0) and its category.
    ///
    /// # Errors
    /// When the places are not 0, 1, .. in some order, or the merges make no tree over these leaves.
    pub fn of(linkage: &Table, places: &[i64], categories: &[String]) -> Result<Tree> {
        let leaf_count = places.len();
        let mut leaves = vec![None; leaf_count];
        for (leaf, &place) in places.iter().enumerate() {
            match usize::try_from(place).ok().and_then(|place| leaves.get_mut(place)) {
                Some(slot @ None) => *slot = Some(leaf),
                _ => bail!(
                    "column `leaf` holds {place} in row {leaf}: not the places 0..{leaf_count}, each once"
                ),
            }
        }
        let (left, right) = (linkage.values::<i64>("left")?, linkage.values::<i64>("right")?);
        let heights = linkage.numbers("height")?;
        ensure!(
            heights.len() + 1 == leaf_count,
            "{} merges make no tree over {leaf_count} configurations",
            heights.len()
        );
        let mut merges: Vec<Merge> = Vec::with_capacity(heights.len());
        for (j, height) in heights.into_iter().enumerate() {
            let branch = |node: i64| match usize::try_from(node) {
                Ok(leaf) if leaf < leaf_count => Ok(((places[leaf] as f64, 0.0), Some(&categories[leaf]))),
                Ok(node) if node < leaf_count + j => {
                    let merge = &merges[node - leaf_count];
                    Ok(((merge.place, merge.height), merge.category.as_ref()))
                }
                _ => bail!("merge {j} joins cluster {node}, which is not there yet"),
            };
            let ((one, of_one), (two, of_two)) = (branch(left[j])?, branch(right[j])?);
            let category = if of_one == of_two { of_one.cloned() } else { None };
            merges.push(Merge { height, branches: [one, two], category, place: (one.0 + two.0) / 2.0 });
        }
        Ok(Tree { leaves: leaves.into_iter().flatten().collect(), merges })
    }

    /// The height of the highest merge; 0 of a single leaf.
    pub fn height(&self) -> f64 {
        self.merges.iter().map(|merge| merge.height).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use tables::Column;

    use super::*;

    fn linkage(left: &[i64], right: &[i64], height: &[f64]) -> Table {
        Table::new(vec![
            Column::new("left".into(), left.to_vec()),
            Column::new("right".into(), right.to_vec()),
            Column::new("height".into(), height.to_vec()),
        ])
        .unwrap()
    }

    fn categories(names: [&str; 3]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    #[test]
    fn branches_lie_between_their_leaves() {
        let linkage = linkage(&[2, 0], &[1, 3], &[1.0, 2.5]);
        let tree = Tree::of(&linkage, &[2, 0, 1], &categories(["fc", "vit", "vit"])).unwrap();
        assert_eq!(tree.leaves, [1, 2, 0]);
        assert_eq!(tree.merges[0].branches, [(1.0, 0.0), (0.0, 0.0)]);
        assert_eq!(tree.merges[1].branches, [(2.0, 0.0), (0.5, 1.0)]);
        assert_eq!(tree.merges[0].category.as_deref(), Some("vit"));
        assert_eq!(tree.merges[1].category, None);
        assert_eq!(tree.height(), 2.5);
    }

    #[test]
    fn what_is_no_tree_is_told() {
        let message = |linkage: &Table, places: &[i64]| {
            Tree::of(linkage, places, &categories(["a", "b", "c"])[..places.len()]).unwrap_err().to_string()
        };
        let good = linkage(&[0, 2], &[1, 3], &[1.0, 2.0]);
        assert_eq!(
            message(&good, &[0, 1, 1]),
            "column `leaf` holds 1 in row 2: not the places 0..3, each once"
        );
        assert_eq!(message(&good, &[0, 1]), "2 merges make no tree over 2 configurations");
        let early = linkage(&[0, 2], &[4, 3], &[1.0, 2.0]);
        assert_eq!(message(&early, &[0, 1, 2]), "merge 0 joins cluster 4, which is not there yet");
    }

    #[test]
    fn a_single_leaf_is_a_tree() {
        let tree = Tree::of(&linkage(&[], &[], &[]), &[0], &categories(["a", "", ""])[..1]).unwrap();
        assert_eq!((tree.leaves.len(), tree.merges.len(), tree.height()), (1, 0, 0.0));
    }
}
