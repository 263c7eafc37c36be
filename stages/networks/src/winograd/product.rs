//! Products of small matrices, of which blocks of the result stay in registers.

use super::lanes::Lanes;

/// A matrix: number (i, j) lies at i `row` + j `column`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub numbers: &'a [f32],
    pub row: usize,
    pub column: usize,
}

/// Rows of a block: what is multiplied has a multiple of these.
pub(super) const ROWS: usize = 8;

/// out [rows, width] = a [rows, depth] b [depth, width], or adds that to what is there: rows of `out` are `out_row` apart, those
/// of `b` its `row`, and their numbers side by side.
#[inline(always)]
pub(super) fn product<P: Lanes<8> + Lanes<16>>(
    p: P,
    [rows, depth, width]: [usize; 3],
    a: Matrix,
    b: Matrix,
    (out, out_row): (&mut [f32], usize),
    more: bool,
) {
    let size = [rows, depth, width];
    if width % 64 == 0 {
        blocks::<P, 4, 4, 16>(p, size, a, b, (out, out_row), more);
    } else if width % 32 == 0 {
        blocks::<P, ROWS, 2, 16>(p, size, a, b, (out, out_row), more);
    } else if width % 16 == 0 {
        blocks::<P, ROWS, 1, 16>(p, size, a, b, (out, out_row), more);
    } else {
        blocks::<P, ROWS, 1, 8>(p, size, a, b, (out, out_row), more);
    }
}

#[inline(always)]
fn blocks<P: Lanes<L>, const R: usize, const V: usize, const L: usize>(
    p: P,
    [rows, depth, width]: [usize; 3],
    a: Matrix,
    b: Matrix,
    (out, out_row): (&mut [f32], usize),
    more: bool,
) {
    for column in (0..width).step_by(V * L) {
        let b = Matrix { numbers: &b.numbers[column..], ..b };
        for row in (0..rows).step_by(R) {
            let a = Matrix { numbers: &a.numbers[row * a.row..], ..a };
            block::<P, R, V, L>(p, depth, a, b, (&mut out[row * out_row + column..], out_row), more);
        }
    }
}

/// R rows and V vectors of the product.
#[inline(always)]
fn block<P: Lanes<L>, const R: usize, const V: usize, const L: usize>(
    p: P,
    depth: usize,
    a: Matrix,
    b: Matrix,
    (out, out_row): (&mut [f32], usize),
    more: bool,
) {
    assert!(depth > 0 && (depth - 1) * a.column + (R - 1) * a.row < a.numbers.len());
    assert!((depth - 1) * b.row + V * L <= b.numbers.len());
    let mut sums = [[p.splat(0.0); V]; R];
    for step in 0..depth {
        // SAFETY: in the numbers, as the assertions say; an array is aligned as its numbers are.
        let vectors = unsafe { &*b.numbers.as_ptr().add(step * b.row).cast::<[[f32; L]; V]>() };
        let mut loaded = [p.splat(0.0); V];
        for (loaded, vector) in loaded.iter_mut().zip(vectors) {
            *loaded = p.load(vector);
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: in the numbers, as the assertions say.
            let number = p.splat(unsafe { *a.numbers.get_unchecked(row * a.row + step * a.column) });
            for (sum, &vector) in sums.iter_mut().zip(&loaded) {
                *sum = p.mul_add(number, vector, *sum);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        let (vectors, _) = out[row * out_row..][..V * L].as_chunks_mut();
        for (vector, &sum) in vectors.iter_mut().zip(sums) {
            p.store(if more { p.add(p.load(vector), sum) } else { sum }, vector);
        }
    }
}
