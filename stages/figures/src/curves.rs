//! Curves through points in order of x: values between, means of several.

use crate::ink::Spot;

/// A point of a curve, in the units of its axes.
pub type Point = (f64, f64);

/// The value at `x` of the line through points in order of x; beyond the ends, that of the end.
pub fn interpolated(points: &[Point], x: f64) -> f64 {
    let next = points.partition_point(|point| point.0 <= x);
    match (next.checked_sub(1).map(|last| points[last]), points.get(next)) {
        (Some((x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        (Some((_, y)), None) | (None, Some(&(_, y))) => y,
        (None, None) => f64::NAN,
    }
}

/// The points at which x is larger than ever before.
pub fn rising(points: &[Point]) -> Vec<Point> {
    let mut highest = f64::NEG_INFINITY;
    let rises = |point: &&Point| {
        let rises = point.0 > highest;
        highest = highest.max(point.0);
        rises
    };
    points.iter().filter(rises).copied().collect()
}

/// The mean of curves at `steps` + 1 places between 0 and 1, where at least half of them reach.
pub fn mean(curves: &[Vec<Point>], steps: usize) -> Vec<Point> {
    let at = |step: usize| {
        let x = step as f64 / steps as f64;
        let reaches = |curve: &&Vec<Point>| {
            curve.first().is_some_and(|first| first.0 <= x) && curve.last().is_some_and(|last| x <= last.0)
        };
        let values: Vec<f64> = curves.iter().filter(reaches).map(|curve| interpolated(curve, x)).collect();
        let enough = !values.is_empty() && 2 * values.len() >= curves.len();
        enough.then(|| (x, values.iter().sum::<f64>() / values.len() as f64))
    };
    (0..=steps).filter_map(at).collect()
}

/// A quantile of sorted values, linear between neighbours.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let points: Vec<Point> = sorted.iter().enumerate().map(|(i, &value)| (i as f64, value)).collect();
    interpolated(&points, share * (sorted.len() as f64 - 1.0))
}

/// The spots of a line on the page without those closer than `step` pixels to the one kept before; the last stays.
pub fn thinned(spots: impl IntoIterator<Item = Spot>, step: f64) -> Vec<Spot> {
    let mut kept: Vec<Spot> = Vec::new();
    let mut last = None;
    for spot in spots {
        let far = |from: &Spot| (spot.0 - from.0).hypot(spot.1 - from.1) >= step;
        if kept.last().is_none_or(far) {
            kept.push(spot);
        }
        last = Some(spot);
    }
    if let Some(last) = last.filter(|last| kept.last() != Some(last)) {
        kept.push(last);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_between_points_are_interpolated_and_held_beyond() {
        let points = [(0.0, 1.0), (2.0, 5.0)];
        assert_eq!([-1.0, 0.0, 0.5, 2.0, 9.0].map(|x| interpolated(&points, x)), [1.0, 1.0, 2.0, 5.0, 5.0]);
        assert_eq!(quantile(&[0.0, 10.0, 20.0], 0.1), 2.0);
        assert_eq!(quantile(&[4.0], 0.9), 4.0);
    }

    #[test]
    fn a_curve_that_turns_back_is_held_to_its_rises() {
        let points = [(0.1, 1.0), (0.3, 2.0), (0.2, 9.0), (0.3, 9.0), (0.5, 3.0)];
        assert_eq!(rising(&points), [(0.1, 1.0), (0.3, 2.0), (0.5, 3.0)]);
    }

    #[test]
    fn means_end_where_fewer_than_half_of_the_curves_reach() {
        let long = vec![(0.0, 0.0), (1.0, 4.0)];
        let short = vec![(0.0, 2.0), (0.5, 2.0)];
        let shown = mean(&[long.clone(), short.clone(), short], 4);
        assert_eq!(shown, [(0.0, 4.0 / 3.0), (0.25, 5.0 / 3.0), (0.5, 2.0)]);
        assert_eq!(mean(&[long], 2), [(0.0, 0.0), (0.5, 2.0), (1.0, 4.0)]);
        assert!(mean(&[], 2).is_empty());
    }

    #[test]
    fn lines_lose_only_what_nobody_sees() {
        let spots = [(0.0, 0.0), (0.1, 0.0), (5.0, 0.0), (5.0, 0.2), (5.0, 0.4)];
        assert_eq!(thinned(spots, 1.0), [(0.0, 0.0), (5.0, 0.0), (5.0, 0.4)]);
        assert_eq!(thinned([], 1.0), []);
    }
}
