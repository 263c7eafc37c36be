//! Attention of f32 numbers, one head of one sample after another, and its gradient. For short sequences: libtorch's asks
//! its library for two products a head forward and five back, of which each costs more to ask for than to compute. The
//! bits are the same on all processors.

use crate::vectors::for_each_processor;

/// Numbers that are computed together; the width of a head is a multiple.
pub(crate) const LANES: usize = 8;

/// Sizes of a call. Queries, keys and values come as [samples, tokens, 3, heads, width], results are
/// [samples, tokens, heads, width].
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Shape {
    pub samples: usize,
    pub tokens: usize,
    pub heads: usize,
    pub width: usize,
}

impl Shape {
    /// Numbers of queries, of keys, of values, and of results.
    pub fn numbers(self) -> usize {
        self.samples * self.tokens * self.heads * self.width
    }

    /// Weights of all heads, which the gradient needs, or of the one that is computed.
    pub fn weights(self, kept: bool) -> usize {
        self.weights_of_head() * if kept { self.samples * self.heads } else { 1 }
    }

    fn weights_of_head(self) -> usize {
        self.tokens * self.lanes()
    }

    /// Tokens, as whole vectors.
    fn lanes(self) -> usize {
        self.tokens.next_multiple_of(LANES)
    }

    /// From one token's numbers to the next one's, of a result.
    fn step(self) -> usize {
        self.heads * self.width
    }

    /// Every head with its sample.
    fn each(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.samples).flat_map(move |sample| (0..self.heads).map(move |head| (sample, head)))
    }

    /// Where the numbers of a head begin in a result.
    fn place(self, sample: usize, head: usize) -> usize {
        sample * self.tokens * self.step() + head * self.width
    }

    /// Where the queries, keys and values of a head begin.
    fn places(self, sample: usize, head: usize) -> [usize; 3] {
        [0, 1, 2].map(|part| sample * self.tokens * 3 * self.step() + part * self.step() + head * self.width)
    }

    /// What the products of queries and keys are multiplied with.
    fn scale(self) -> f32 {
        (self.width as f32).sqrt().recip()
    }
}

for_each_processor! {
    /// out = softmax(Q K' / √width) V of each head. Its weights, the softmax, are [tokens (keys), lanes (queries)]; all are
    /// kept where there is room for all, or else the last.
    pub(crate) fn forward = portable::forward, (qkv: &[f32], shape: Shape, weights: &mut [f32], out: &mut [f32])
}

for_each_processor! {
    /// From the gradient of the result, that of queries, keys and values.
    pub(crate) fn backward = portable::backward, (
        qkv: &[f32], weights: &[f32], gradient: &[f32], shape: Shape, of_qkv: &mut [f32]
    )
}

/// In plain loops, of which the compiler makes vectors. Products of queries and keys have a row a key and a column a
/// query: so a softmax goes down the rows, all queries at once.
mod portable {
    use super::{LANES, Shape};

    /// Numbers as a matrix of which only steps are known.
    #[derive(Clone, Copy)]
    struct Matrix<'a> {
        numbers: &'a [f32],
        /// From one row to the next.
        row: usize,
        /// From one column to the next.
        column: usize,
    }

    impl<'a> Matrix<'a> {
        fn of_rows(numbers: &'a [f32], step: usize) -> Matrix<'a> {
            Matrix { numbers, row: step, column: 1 }
        }

        fn transposed(self) -> Matrix<'a> {
            Matrix { row: self.column, column: self.row, ..self }
        }
    }

    #[inline(always)]
    pub fn forward(qkv: &[f32], shape: Shape, weights: &mut [f32], out: &mut [f32]) {
        let Shape { tokens, width, .. } = shape;
        let (lanes, step) = (shape.lanes(), shape.step());
        let (mut queries, mut row) = (vec![0.0; width * lanes], vec![0.0; lanes]);
        for (at, (sample, head)) in shape.each().enumerate() {
            let place = at * shape.weights_of_head() % weights.len();
            let weights = &mut weights[place..][..shape.weights_of_head()];
            let [query, key, value] =
                shape.places(sample, head).map(|place| Matrix::of_rows(&qkv[place..], 3 * step));
            transpose(query, tokens, shape.scale(), &mut queries, lanes);
            product([tokens, width, lanes], key, Matrix::of_rows(&queries, lanes), weights, lanes);
            softmax(weights, &mut row);
            let out = &mut out[shape.place(sample, head)..];
            let weights = Matrix::of_rows(weights, lanes).transposed();
            product([tokens, tokens, width], weights, value, out, step);
        }
    }

    #[inline(always)]
    pub fn backward(qkv: &[f32], weights: &[f32], gradient: &[f32], shape: Shape, of_qkv: &mut [f32]) {
        let Shape { tokens, width, .. } = shape;
        let (lanes, step) = (shape.lanes(), shape.step());
        let (mut gradients, mut row) = (vec![0.0; width * lanes], vec![0.0; lanes]);
        let mut slopes = vec![0.0; shape.weights_of_head()];
        let each = shape.each().zip(weights.chunks_exact(shape.weights_of_head()));
        for ((sample, head), weights) in each {
            let places = shape.places(sample, head);
            let [query, key, value] = places.map(|place| Matrix::of_rows(&qkv[place..], 3 * step));
            let gradient = Matrix::of_rows(&gradient[shape.place(sample, head)..], step);
            transpose(gradient, tokens, 1.0, &mut gradients, lanes);
            let columns = Matrix::of_rows(&gradients, lanes);
            product([tokens, width, lanes], value, columns, &mut slopes, lanes);
            softmax_back(weights, &mut slopes, &mut row, shape.scale());
            let [slopes, weights] = [&slopes[..], weights].map(|numbers| Matrix::of_rows(numbers, lanes));
            let [of_query, of_key, of_value] = places;
            let sizes = [tokens, tokens, width];
            product(sizes, slopes.transposed(), key, &mut of_qkv[of_query..], 3 * step);
            product(sizes, slopes, query, &mut of_qkv[of_key..], 3 * step);
            product(sizes, weights, gradient, &mut of_qkv[of_value..], 3 * step);
        }
    }

    /// Tokens become columns, multiplied with `scale`; columns beyond them are 0.
    #[inline(always)]
    fn transpose(tokens: Matrix, count: usize, scale: f32, out: &mut [f32], lanes: usize) {
        let width = out.len() / lanes;
        for first in (0..lanes).step_by(LANES) {
            for column in (0..width).step_by(LANES) {
                // In blocks of fixed size, of which the compiler makes shuffles; of single numbers it makes a scatter, which
                // is slow.
                let mut block = [[0.0; LANES]; LANES];
                for (token, block) in (first..count).zip(&mut block) {
                    block.copy_from_slice(&tokens.numbers[token * tokens.row + column..][..LANES]);
                }
                for at in 0..LANES {
                    let out = &mut out[(column + at) * lanes + first..][..LANES];
                    for (out, block) in out.iter_mut().zip(&block) {
                        *out = block[at] * scale;
                    }
                }
            }
        }
    }

    /// Left [rows, terms] times right [terms, columns] into rows of `out` that begin `step` after one another.
    #[inline(always)]
    fn product(
        [rows, terms, columns]: [usize; 3],
        left: Matrix,
        right: Matrix,
        out: &mut [f32],
        step: usize,
    ) {
        const TOGETHER: usize = 4;
        let whole = rows / TOGETHER * TOGETHER;
        for row in (0..whole).step_by(TOGETHER) {
            strip::<TOGETHER>([row, terms, columns], left, right, out, step);
        }
        for row in whole..rows {
            strip::<1>([row, terms, columns], left, right, out, step);
        }
    }

    /// Some rows of a product.
    #[inline(always)]
    fn strip<const ROWS: usize>(
        [row, terms, columns]: [usize; 3],
        left: Matrix,
        right: Matrix,
        out: &mut [f32],
        step: usize,
    ) {
        const TWICE: usize = 2 * LANES;
        let whole = columns / TWICE * TWICE;
        for column in (0..whole).step_by(TWICE) {
            block::<ROWS, TWICE>([row, terms, column], left, right, out, step);
        }
        if whole < columns {
            block::<ROWS, LANES>([row, terms, whole], left, right, out, step);
        }
    }

    /// Some rows and columns of a product.
    #[inline(always)]
    fn block<const ROWS: usize, const COLUMNS: usize>(
        [row, terms, column]: [usize; 3],
        left: Matrix,
        right: Matrix,
        out: &mut [f32],
        step: usize,
    ) {
        let mut sums = [[0.0_f32; COLUMNS]; ROWS];
        for term in 0..terms {
            let right: &[f32; COLUMNS] =
                right.numbers[term * right.row + column..].first_chunk().expect("as many columns");
            for (at, sums) in sums.iter_mut().enumerate() {
                let left = left.numbers[(row + at) * left.row + term * left.column];
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = left.mul_add(*right, *sum);
                }
            }
        }
        for (at, sums) in sums.iter().enumerate() {
            out[(row + at) * step + column..][..COLUMNS].copy_from_slice(sums);
        }
    }

    /// Of each column. `row` is for its maxima, and then its sums.
    #[inline(always)]
    fn softmax(numbers: &mut [f32], row: &mut [f32]) {
        let lanes = row.len();
        row.fill(f32::NEG_INFINITY);
        for numbers in numbers.chunks_exact(lanes) {
            with(row, numbers, f32::max);
        }
        for numbers in numbers.chunks_exact_mut(lanes) {
            with(numbers, row, |number, most| number - most);
        }
        for number in &mut *numbers {
            *number = exp(*number);
        }
        row.fill(0.0);
        for numbers in numbers.chunks_exact(lanes) {
            with(row, numbers, |sum, number| sum + number);
        }
        for sum in &mut *row {
            *sum = sum.recip();
        }
        for numbers in numbers.chunks_exact_mut(lanes) {
            with(numbers, row, |number, part| number * part);
        }
    }

    /// From gradients of the weights to those of the products, in their place. `means` is a row, for those of the gradients.
    #[inline(always)]
    fn softmax_back(weights: &[f32], slopes: &mut [f32], means: &mut [f32], scale: f32) {
        let lanes = means.len();
        with(slopes, weights, |slope, weight| slope * weight * scale);
        means.fill(0.0);
        for slopes in slopes.chunks_exact(lanes) {
            with(means, slopes, |mean, slope| mean + slope);
        }
        for (weights, slopes) in weights.chunks_exact(lanes).zip(slopes.chunks_exact_mut(lanes)) {
            let both = weights.as_chunks().0.iter().zip(means.as_chunks().0);
            for (slopes, (weights, means)) in slopes.as_chunks_mut().0.iter_mut().zip(both) {
                *slopes = of_each(
                    of_each(*weights, *means, |weight, mean| weight * mean),
                    *slopes,
                    |part, slope| slope - part,
                );
            }
        }
    }

    /// Changes numbers by as many others, in vectors however few they are.
    #[inline(always)]
    fn with(numbers: &mut [f32], others: &[f32], change: impl Fn(f32, f32) -> f32) {
        let others = others.as_chunks().0;
        for (numbers, others) in numbers.as_chunks_mut().0.iter_mut().zip(others) {
            *numbers = of_each(*numbers, *others, &change);
        }
    }

    /// By value, so that the compiler knows that results overwrite no numbers that it has yet to read.
    #[inline(always)]
    fn of_each(
        mut numbers: [f32; LANES],
        others: [f32; LANES],
        change: impl Fn(f32, f32) -> f32,
    ) -> [f32; LANES] {
        for (number, other) in numbers.iter_mut().zip(others) {
            *number = change(*number, other);
        }
        numbers
    }

    /// e^x for x that is 0 or less, by Taylor's series between powers of 2; `f32::exp` is a call, which no loop of vectors
    /// has. What is not a number stays so.
    #[inline(always)]
    pub(super) fn exp(x: f32) -> f32 {
        // Added and subtracted, it rounds to a whole number, which is then in its last bits too.
        const ROUND: f32 = 12_582_912.0;
        // ln 2 in two parts, of which the first has zeros at its end: its products with whole numbers are exact.
        const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
        let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
        let power = shifted - ROUND;
        let rest = power.mul_add(-LN_2[1], power.mul_add(-LN_2[0], x));
        let mut series = 1.0 / 5040.0;
        for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            series = rest.mul_add(series, factor);
        }
        let power = series * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
        // Below that it is no normal number, and slow to compute with.
        if x < -87.0 { 0.0 } else { power }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [Shape; 5] = [
        Shape { samples: 2, tokens: 17, heads: 2, width: 16 },
        Shape { samples: 1, tokens: 1, heads: 1, width: 8 },
        Shape { samples: 3, tokens: 4, heads: 3, width: 24 },
        Shape { samples: 1, tokens: 65, heads: 2, width: 64 },
        Shape { samples: 1, tokens: 8, heads: 1, width: 40 },
    ];

    /// Numbers that repeat nowhere soon.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * 7919 + seed) % 1009) as f32 / 300.0 - 1.5).collect()
    }

    /// Results, weights, and the gradient of queries, keys and values.
    fn both_ways(qkv: &[f32], gradient: &[f32], shape: Shape) -> [Vec<f32>; 3] {
        let mut weights = vec![f32::NAN; shape.weights(true)];
        let mut out = vec![f32::NAN; shape.numbers()];
        let mut of_qkv = vec![f32::NAN; 3 * shape.numbers()];
        forward(qkv, shape, &mut weights, &mut out);
        backward(qkv, &weights, gradient, shape, &mut of_qkv);
        [out, weights, of_qkv]
    }

    /// One head by the formulas, in f64: its result, and the gradients of queries, keys and values, each [tokens, width].
    fn head(parts: [&[Vec<f64>]; 3], gradient: &[Vec<f64>]) -> [Vec<Vec<f64>>; 4] {
        let [query, key, value] = parts;
        let (tokens, width) = (query.len(), query[0].len());
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let scale = (width as f64).sqrt().recip();
        let sum = |terms: &dyn Fn(usize) -> (f64, Vec<f64>)| {
            let mut sum = vec![0.0; width];
            for (factor, numbers) in (0..tokens).map(terms) {
                sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += factor * number);
            }
            sum
        };
        let softmax = |query: &Vec<f64>| {
            let powers: Vec<f64> = key.iter().map(|key| (dot(query, key) * scale).exp()).collect();
            let total: f64 = powers.iter().sum();
            powers.iter().map(|power| power / total).collect::<Vec<_>>()
        };
        let weights: Vec<Vec<f64>> = query.iter().map(softmax).collect();
        let slopes = |at: usize| {
            let slopes: Vec<f64> = value.iter().map(|value| dot(&gradient[at], value)).collect();
            let mean = dot(&slopes, &weights[at]);
            slopes.iter().zip(&weights[at]).map(|(slope, weight)| weight * (slope - mean) * scale).collect()
        };
        let slopes: Vec<Vec<f64>> = (0..tokens).map(slopes).collect();
        let each = |row: &dyn Fn(usize) -> Vec<f64>| (0..tokens).map(row).collect::<Vec<_>>();
        [
            each(&|at| sum(&|other| (weights[at][other], value[other].clone()))),
            each(&|at| sum(&|other| (slopes[at][other], key[other].clone()))),
            each(&|at| sum(&|other| (slopes[other][at], query[other].clone()))),
            each(&|at| sum(&|other| (weights[other][at], gradient[other].clone()))),
        ]
    }

    #[test]
    fn both_ways_are_as_the_formulas_have_them() {
        for shape in SHAPES {
            let Shape { tokens, width, .. } = shape;
            let qkv = numbers(3 * shape.numbers(), 1);
            let gradient = numbers(shape.numbers(), 501);
            let [out, _, of_qkv] = both_ways(&qkv, &gradient, shape);
            let read = |numbers: &[f32], place: usize, step: usize| -> Vec<Vec<f64>> {
                let row =
                    |token| numbers[place + token * step..][..width].iter().map(|&x| f64::from(x)).collect();
                (0..tokens).map(row).collect()
            };
            for (sample, at) in shape.each() {
                let (places, place) = (shape.places(sample, at), shape.place(sample, at));
                let parts = places.map(|place| read(&qkv, place, 3 * shape.step()));
                let parts = parts.each_ref().map(|part| &part[..]);
                let expected = head(parts, &read(&gradient, place, shape.step()));
                let of_parts = places.map(|place| read(&of_qkv, place, 3 * shape.step()));
                let found = [read(&out, place, shape.step())].into_iter().chain(of_parts);
                for (which, (found, expected)) in found.zip(expected).enumerate() {
                    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                        let error = (found - expected).abs();
                        assert!(error < 3e-5, "{shape:?}, part {which}: {found} for {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn processors_with_wider_vectors_make_the_same_bits() {
        for shape in SHAPES {
            let qkv = numbers(3 * shape.numbers(), 1);
            let gradient = numbers(shape.numbers(), 501);
            let [out, weights, of_qkv] = both_ways(&qkv, &gradient, shape);
            let mut plain = [&out, &weights, &of_qkv].map(|numbers| vec![f32::NAN; numbers.len()]);
            let [plain_out, plain_weights, plain_of_qkv] = &mut plain;
            portable::forward(&qkv, shape, plain_weights, plain_out);
            portable::backward(&qkv, plain_weights, &gradient, shape, plain_of_qkv);
            assert_eq!([out, weights, of_qkv], plain, "{shape:?}");
        }
    }

    #[test]
    fn powers_of_e_are_near_and_fade_to_nothing() {
        for at in 0..=200_000 {
            let x = -(at as f32) / 2000.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(portable::exp(x)) - expected).abs();
            assert!(error <= 1.5e-7 * expected + 2e-38, "{x}: {error:e}");
        }
        assert_eq!((portable::exp(0.0), portable::exp(-0.0)), (1.0, 1.0));
        assert_eq!(portable::exp(f32::NEG_INFINITY), 0.0);
        assert!(portable::exp(f32::NAN).is_nan());
    }

    #[test]
    fn what_is_not_a_number_shows_in_its_head_and_nowhere_else() {
        let shape = SHAPES[0];
        let gradient = numbers(shape.numbers(), 501);
        for part in 0..3 {
            let mut qkv = numbers(3 * shape.numbers(), 1);
            qkv[shape.places(1, 1)[part] + 3] = f32::NAN;
            let [out, _, of_qkv] = both_ways(&qkv, &gradient, shape);
            for (sample, head) in shape.each() {
                let is_bad = |numbers: &[f32], place: usize, step: usize| {
                    let row = |token| &numbers[place + token * step..][..shape.width];
                    (0..shape.tokens).any(|token| row(token).iter().any(|number| number.is_nan()))
                };
                let expected = (sample, head) == (1, 1);
                assert_eq!(is_bad(&out, shape.place(sample, head), shape.step()), expected, "part {part}");
                let of_parts =
                    shape.places(sample, head).map(|place| is_bad(&of_qkv, place, 3 * shape.step()));
                assert_eq!(of_parts.contains(&true), expected, "part {part}");
            }
        }
    }
}
