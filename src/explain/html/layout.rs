//! Where the boxes and arrows of a layered drawing go: producers left, consumers right, few crossings, short arrows.
//!
//! The steps of Sugiyama, Tagawa and Toda (1981): a layer for each node by its longest path from a source; a bend in
//! every layer that an arrow passes; layers ordered by the mean place of neighbours; places moved towards neighbours.

/// Rounds of ordering and of moving; more change nothing at the size of a pipeline.
const ROUNDS: usize = 12;

/// Rows between the middles of two neighbours in a layer, by how many of the two are nodes.
const GAPS: [f64; 3] = [0.3, 0.65, 1.0];

/// A place: in layers from the left, in rows from the top.
pub type Point = (f64, f64);

/// A drawing's geometry.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The middle of each node.
    pub nodes: Vec<Point>,
    /// Of each edge the middle of its first node, its bends, and the middle of its last node.
    pub routes: Vec<Vec<Point>>,
    /// The number of layers.
    pub layers: usize,
    /// The lowest place; the highest is 0.
    pub lowest: f64,
}

/// Places `nodes` nodes with these edges, each from a lower to a higher number.
pub fn layout(nodes: usize, edges: &[(usize, usize)]) -> Layout {
    let mut layer = vec![0; nodes];
    let mut by_target = edges.to_vec();
    by_target.sort_unstable_by_key(|(from, to)| (*to, *from));
    for &(from, to) in &by_target {
        layer[to] = layer[to].max(layer[from] + 1);
    }
    // Items are nodes, then bends.
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for &(from, to) in edges {
        let bends = layer[from] + 1..layer[to];
        let first = layer.len();
        layer.extend(bends.clone());
        chains.push([from].into_iter().chain(first..first + bends.len()).chain([to]).collect());
    }
    let mut around: [Vec<Vec<usize>>; 2] = [vec![Vec::new(); layer.len()], vec![Vec::new(); layer.len()]];
    for pair in chains.iter().flat_map(|chain| chain.windows(2)) {
        around[0][pair[1]].push(pair[0]);
        around[1][pair[0]].push(pair[1]);
    }
    let layers = layer.iter().max().map_or(0, |last| last + 1);
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); layers];
    (0..layer.len()).for_each(|item| order[layer[item]].push(item));
    untangle(&mut order, &around);
    let rows = place(&order, &around, nodes);
    let point = |item: &usize| (layer[*item] as f64, rows[*item]);
    Layout {
        nodes: (0..nodes).map(|node| point(&node)).collect(),
        routes: chains.iter().map(|chain| chain.iter().map(point).collect()).collect(),
        layers,
        lowest: rows.iter().copied().fold(0.0, f64::max),
    }
}

/// Orders each layer by the mean place of its items' neighbours, to and fro, and keeps the order with fewest crossings.
fn untangle(order: &mut Vec<Vec<usize>>, around: &[Vec<Vec<usize>>; 2]) {
    let mut best = (crossings(order, around), order.clone());
    for round in 0..ROUNDS {
        let side = round % 2;
        let layers: Vec<usize> = if side == 0 {
            (1..order.len()).collect()
        } else {
            (0..order.len().saturating_sub(1)).rev().collect()
        };
        for layer in layers {
            let places = places(order, around[0].len());
            let wish = |item: &usize| mean(&around[side][*item], &places).unwrap_or(places[*item]);
            order[layer].sort_by(|a, b| wish(a).total_cmp(&wish(b)));
        }
        let now = crossings(order, around);
        if now < best.0 {
            best = (now, order.clone());
        }
    }
    *order = best.1;
}

fn places(order: &[Vec<usize>], items: usize) -> Vec<f64> {
    let mut places = vec![0.0; items];
    for layer in order {
        for (place, item) in layer.iter().enumerate() {
            places[*item] = place as f64;
        }
    }
    places
}

fn crossings(order: &[Vec<usize>], around: &[Vec<Vec<usize>>; 2]) -> usize {
    let places = places(order, around[0].len());
    let mut count = 0;
    for layer in order {
        for (i, a) in layer.iter().enumerate() {
            for b in &layer[i + 1..] {
                let ends =
                    around[1][*a].iter().flat_map(|end| around[1][*b].iter().map(move |other| (end, other)));
                count += ends.filter(|(a, b)| places[**a] > places[**b]).count();
            }
        }
    }
    count
}

/// Moves items towards the mean of their neighbours, as far as those beside them let them.
fn place(order: &[Vec<usize>], around: &[Vec<Vec<usize>>; 2], nodes: usize) -> Vec<f64> {
    let gap = |a: usize, b: usize| GAPS[usize::from(a < nodes) + usize::from(b < nodes)];
    let mut rows = vec![0.0; around[0].len()];
    for layer in order {
        for pair in layer.windows(2) {
            rows[pair[1]] = rows[pair[0]] + gap(pair[0], pair[1]);
        }
    }
    for round in 0..2 * ROUNDS {
        let forwards = round % 2 == 0;
        for step in 0..order.len() {
            let layer = &order[if forwards { step } else { order.len() - 1 - step }];
            let wishes: Vec<f64> = layer
                .iter()
                .map(|item| {
                    let both: Vec<usize> =
                        around[0][*item].iter().chain(&around[1][*item]).copied().collect();
                    mean(&both, &rows).unwrap_or(rows[*item])
                })
                .collect();
            // Pushed down from above, and up from below: the mean of two orders that both keep the gaps keeps them too.
            let (mut down, mut up) = (wishes.clone(), wishes);
            for i in 1..layer.len() {
                down[i] = down[i].max(down[i - 1] + gap(layer[i - 1], layer[i]));
            }
            for i in (1..layer.len()).rev() {
                up[i - 1] = up[i - 1].min(up[i] - gap(layer[i - 1], layer[i]));
            }
            for (i, item) in layer.iter().enumerate() {
                rows[*item] = (down[i] + up[i]) / 2.0;
            }
        }
    }
    let highest = rows.iter().copied().fold(f64::INFINITY, f64::min);
    rows.iter_mut().for_each(|row| *row -= highest);
    rows
}

fn mean(items: &[usize], values: &[f64]) -> Option<f64> {
    (!items.is_empty()).then(|| items.iter().map(|item| values[*item]).sum::<f64>() / items.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipeline like a paper's: 0 feeds nearly all, and figures hang on its end.
    const EDGES: [(usize, usize); 11] =
        [(0, 1), (0, 2), (1, 2), (0, 3), (2, 4), (2, 5), (3, 5), (4, 6), (5, 6), (6, 7), (6, 8)];

    #[test]
    fn arrows_go_from_left_to_right_through_each_layer_between() {
        let layout = layout(9, &EDGES);
        for (route, (from, to)) in layout.routes.iter().zip(EDGES) {
            assert_eq!((route[0], route[route.len() - 1]), (layout.nodes[from], layout.nodes[to]));
            assert!(route.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1.0), "{route:?}");
        }
        assert_eq!(layout.layers, 6);
    }

    #[test]
    fn boxes_of_a_layer_keep_their_distance() {
        let layout = layout(9, &EDGES);
        for (i, a) in layout.nodes.iter().enumerate() {
            for b in &layout.nodes[i + 1..] {
                assert!(a.0 != b.0 || (a.1 - b.1).abs() > 0.999, "{:?}", layout.nodes);
            }
        }
        let inside = |point: &Point| (0.0..=layout.lowest).contains(&point.1);
        assert!(layout.nodes.iter().chain(layout.routes.iter().flatten()).all(inside));
    }

    #[test]
    fn arrows_that_need_not_cross_do_not() {
        let layout = layout(6, &[(0, 4), (0, 5), (1, 3), (2, 3)]);
        let rows: Vec<f64> = layout.nodes.iter().map(|point| point.1).collect();
        let above = |a: usize, b: usize| rows[a] < rows[b];
        assert_eq!(above(0, 1), above(4, 3), "{rows:?}");
        assert_eq!(above(0, 2), above(5, 3), "{rows:?}");
    }

    #[test]
    fn nothing_and_one_box_are_drawn_too() {
        assert_eq!(layout(0, &[]).layers, 0);
        assert_eq!(layout(1, &[]).nodes, [(0.0, 0.0)]);
    }
}
