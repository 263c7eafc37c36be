//! Winograd's F(4x4, 3x3): the 3x3 correlation of a 6x6 patch as 36 products, one for each pair of the points below, at which
//! patch and filter are taken for polynomials (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2016):
//! Y = A' ((G g G') * (B' d B)) A, with * number by number. Gradients go the same ways back, by the transposed matrices.

use super::lanes::Lanes;

/// A tile of results is so wide and high, a filter, and a patch that a tile of results depends on: as many as points.
pub(super) const TILE: usize = 4;
pub(super) const FILTER: usize = 3;
pub(super) const PATCH: usize = TILE + FILTER - 1;

/// The points are 0, A, -A, B, -B and infinity. A is 1: for the bias and its gradient, kernel.rs counts on it.
const A: f32 = 1.0;
const B: f32 = 2.0;
const A2: f32 = A * A;
const B2: f32 = B * B;

/// One way of a transform: `I` vectors to `O`.
pub(super) trait Transform<const I: usize, const O: usize> {
    fn of<P: Lanes<L>, const L: usize>(p: P, x: [P::Vector; I]) -> [P::Vector; O];
}

/// B': patches, to points.
pub(super) struct Patch;
/// A': points to results.
pub(super) struct Results;
/// A: gradients of results, to points.
pub(super) struct OfResults;
/// G: filters, to points.
pub(super) struct Filter;
/// G': points to gradients of filters.
pub(super) struct OfFilter;

/// x times a number, and y.
#[inline(always)]
fn plus<P: Lanes<L>, const L: usize>(p: P, x: P::Vector, by: f32, y: P::Vector) -> P::Vector {
    p.mul_add(p.splat(by), x, y)
}

#[inline(always)]
fn times<P: Lanes<L>, const L: usize>(p: P, x: P::Vector, by: f32) -> P::Vector {
    p.multiply(x, p.splat(by))
}

/// even + by odd, and even - by odd.
#[inline(always)]
fn both<P: Lanes<L>, const L: usize>(p: P, even: P::Vector, odd: P::Vector, by: f32) -> [P::Vector; 2] {
    [plus(p, odd, by, even), plus(p, odd, -by, even)]
}

impl Transform<6, 6> for Patch {
    #[inline(always)]
    fn of<P: Lanes<L>, const L: usize>(p: P, [d0, d1, d2, d3, d4, d5]: [P::Vector; 6]) -> [P::Vector; 6] {
        let [a, minus_a] = both(p, plus(p, d2, -B2, d4), plus(p, d1, -B2, d3), A);
        let [b, minus_b] = both(p, plus(p, d2, -A2, d4), plus(p, d1, -A2, d3), B);
        let zero = plus(p, d0, A2 * B2, plus(p, d2, -A2 - B2, d4));
        [zero, a, minus_a, b, minus_b, plus(p, d1, A2 * B2, plus(p, d3, -A2 - B2, d5))]
    }
}

impl Transform<6, 4> for Results {
    #[inline(always)]
    fn of<P: Lanes<L>, const L: usize>(
        p: P,
        [m0, a, minus_a, b, minus_b, m5]: [P::Vector; 6],
    ) -> [P::Vector; 4] {
        let (even_a, odd_a) = (p.add(a, minus_a), p.subtract(a, minus_a));
        let (even_b, odd_b) = (p.add(b, minus_b), p.subtract(b, minus_b));
        [
            p.add(m0, p.add(even_a, even_b)),
            plus(p, odd_b, B, times(p, odd_a, A)),
            plus(p, even_b, B2, times(p, even_a, A2)),
            plus(p, odd_b, B * B2, plus(p, odd_a, A * A2, m5)),
        ]
    }
}

impl Transform<4, 6> for OfResults {
    #[inline(always)]
    fn of<P: Lanes<L>, const L: usize>(p: P, [y0, y1, y2, y3]: [P::Vector; 4]) -> [P::Vector; 6] {
        let [a, minus_a] = both(p, plus(p, y2, A2, y0), plus(p, y3, A2, y1), A);
        let [b, minus_b] = both(p, plus(p, y2, B2, y0), plus(p, y3, B2, y1), B);
        [y0, a, minus_a, b, minus_b, y3]
    }
}

/// What a filter's number at a point is divided by.
const AT_ZERO: f32 = A2 * B2;
const AT_A: f32 = 2.0 * A2 * (A2 - B2);
const AT_B: f32 = 2.0 * B2 * (B2 - A2);

impl Transform<3, 6> for Filter {
    #[inline(always)]
    fn of<P: Lanes<L>, const L: usize>(p: P, [g0, g1, g2]: [P::Vector; 3]) -> [P::Vector; 6] {
        let (even_a, even_b) = (plus(p, g2, A2, g0), plus(p, g2, B2, g0));
        let [a, minus_a] = both(p, times(p, even_a, 1.0 / AT_A), times(p, g1, 1.0 / AT_A), A);
        let [b, minus_b] = both(p, times(p, even_b, 1.0 / AT_B), times(p, g1, 1.0 / AT_B), B);
        [times(p, g0, 1.0 / AT_ZERO), a, minus_a, b, minus_b, g2]
    }
}

impl Transform<6, 3> for OfFilter {
    #[inline(always)]
    fn of<P: Lanes<L>, const L: usize>(
        p: P,
        [u0, a, minus_a, b, minus_b, u5]: [P::Vector; 6],
    ) -> [P::Vector; 3] {
        let (even_a, odd_a) = (p.add(a, minus_a), p.subtract(a, minus_a));
        let (even_b, odd_b) = (p.add(b, minus_b), p.subtract(b, minus_b));
        [
            plus(p, even_b, 1.0 / AT_B, plus(p, even_a, 1.0 / AT_A, times(p, u0, 1.0 / AT_ZERO))),
            plus(p, odd_b, B / AT_B, times(p, odd_a, A / AT_A)),
            plus(p, even_b, B2 / AT_B, plus(p, even_a, A2 / AT_A, u5)),
        ]
    }
}
