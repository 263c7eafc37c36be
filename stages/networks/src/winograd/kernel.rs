//! Convolutions 3x3 of f32 numbers with the channels last, stride 1 and padding 1, and their gradients, by Winograd's
//! F(4x4, 3x3): a quarter of the multiplications. A few tiles go through at a time, so that what lies between stays in the
//! cache. What is not a number, or infinite, makes all results of each tile that sees it no numbers.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::lanes::Avx512;
use super::lanes::{Lanes, Portable};
use super::product::{Matrix, ROWS, product};
use super::transforms::{FILTER, Filter, OfFilter, OfResults, PATCH, Patch, Results, TILE, Transform};

/// Of a convolution x [images, height, width, inputs] -> y [images, height, width, outputs]: inputs and outputs are multiples of
/// `CHANNELS`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Shape {
    pub images: usize,
    pub height: usize,
    pub width: usize,
    pub inputs: usize,
    pub outputs: usize,
}

pub(crate) const CHANNELS: usize = 8;

/// Pairs of points, and taps of a filter.
const POINTS: usize = PATCH * PATCH;
const TAPS: usize = FILTER * FILTER;

/// The pair of points (1, 1): what is there goes into all results of a tile, and the gradient there is the sum of theirs.
const ALL: usize = PATCH + 1;

/// Tiles that go through at a time.
const TILES: usize = 2 * ROWS;

/// y = the convolution of x with weights [outputs, 3, 3, inputs], and the bias.
pub(crate) fn forward(shape: Shape, x: &[f32], weights: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let mut filters = vec![0.0; weights.len()];
    for (at, &weight) in weights.iter().enumerate() {
        filters[outputs_last(shape, at)] = weight;
    }
    convolve(shape, x, &filters, bias, y);
}

/// The gradient of x: the convolution of y's with the filters turned round.
pub(crate) fn of_x(shape: Shape, gradient: &[f32], weights: &[f32], of_x: &mut [f32]) {
    let Shape { inputs, outputs, .. } = shape;
    let mut filters = vec![0.0; weights.len()];
    for (at, weights) in weights.chunks_exact(inputs).enumerate() {
        let (output, tap) = (at / TAPS, TAPS - 1 - at % TAPS);
        filters[(tap * outputs + output) * inputs..][..inputs].copy_from_slice(weights);
    }
    convolve(Shape { inputs: outputs, outputs: inputs, ..shape }, gradient, &filters, None, of_x);
}

/// The gradients of the weights and of the bias.
pub(crate) fn of_weights(
    shape: Shape,
    x: &[f32],
    gradient: &[f32],
    of_weights: &mut [f32],
    of_bias: &mut [f32],
) {
    let mut of_filters = vec![0.0; of_weights.len()];
    of_bias.fill(0.0);
    correlate(shape, x, gradient, &mut of_filters, of_bias);
    for (at, of_weight) in of_weights.iter_mut().enumerate() {
        *of_weight = of_filters[outputs_last(shape, at)];
    }
}

/// Where number `at` of weights [outputs, 3, 3, inputs] lies in filters [3, 3, inputs, outputs].
fn outputs_last(Shape { inputs, outputs, .. }: Shape, at: usize) -> usize {
    let of_one = TAPS * inputs;
    at % of_one * outputs + at / of_one
}

/// Defines a function that is compiled for the vectors of the processor that it runs on. Without them, libtorch's convolution
/// is taken (`is_ours`), and this one by tests.
macro_rules! on_this_processor {
    ($(#[$documentation:meta])* fn $name:ident = $of:path, ($($argument:ident: $type:ty),+)) => {
        $(#[$documentation])*
        fn $name($($argument: $type),+) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl")]
                fn avx512(p: Avx512, $($argument: $type),+) {
                    $of(p, $($argument),+);
                }
                if let Some(p) = Avx512::detect() {
                    // SAFETY: the processor has it.
                    return unsafe { avx512(p, $($argument),+) };
                }
            }
            $of(Portable, $($argument),+);
        }
    };
}

on_this_processor! {
    /// y = the convolution of x with filters [3, 3, inputs, outputs], and the bias.
    fn convolve = convolve_on, (
        shape: Shape, x: &[f32], filters: &[f32], bias: Option<&[f32]>, y: &mut [f32]
    )
}

on_this_processor! {
    /// The gradient of filters [3, 3, inputs, outputs]; adds that of the bias.
    fn correlate = correlate_on, (
        shape: Shape, x: &[f32], gradient: &[f32], of_filters: &mut [f32], of_bias: &mut [f32]
    )
}

/// U = the filters at the points [36, inputs, outputs]; for a few tiles, V = their patches at the points [tiles, 36, inputs],
/// M = V U for each pair of points [tiles, 36, outputs], and of M the results.
#[inline(always)]
fn convolve_on<P: Lanes<8> + Lanes<16>>(
    p: P,
    shape: Shape,
    x: &[f32],
    filters: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let Shape { inputs, outputs, .. } = shape;
    let pairs = inputs * outputs;
    let mut buffers = Buffers::new(shape);
    let [u, v, m] = buffers.parts(shape);
    transform::<Filter, P, FILTER, PATCH>(
        p,
        pairs,
        filters,
        &Square::dense(FILTER, pairs),
        u,
        &Square::dense(PATCH, pairs),
    );
    for first in (0..shape.tiles()).step_by(TILES) {
        let places = first..shape.tiles().min(first + TILES);
        for (tile, v) in places.clone().zip(v.chunks_exact_mut(POINTS * inputs)) {
            let patch = shape.square(shape.place(tile), PATCH, 1, inputs);
            transform::<Patch, P, PATCH, PATCH>(p, inputs, x, &patch, v, &Square::dense(PATCH, inputs));
        }
        for (point, u) in u.chunks_exact(pairs).enumerate() {
            // Beyond the last tile there are results of old numbers, which nobody reads.
            let v = Matrix { numbers: &v[point * inputs..], row: POINTS * inputs, column: 1 };
            let u = Matrix { numbers: u, row: outputs, column: 1 };
            product(p, [TILES, inputs, outputs], v, u, (&mut m[point * outputs..], POINTS * outputs), false);
        }
        for (tile, m) in places.zip(m.chunks_exact_mut(POINTS * outputs)) {
            if let Some(bias) = bias {
                add(&mut m[ALL * outputs..][..outputs], bias);
            }
            let results = shape.square(shape.place(tile), TILE, 0, outputs);
            transform::<Results, P, PATCH, TILE>(p, outputs, m, &Square::dense(PATCH, outputs), y, &results);
        }
    }
}

/// V as above, M = the gradients of a few tiles' results at the points [tiles, 36, outputs]; U, the sum of V' M for each pair of
/// points [36, inputs, outputs], is the gradient of the filters at the points.
#[inline(always)]
fn correlate_on<P: Lanes<8> + Lanes<16>>(
    p: P,
    shape: Shape,
    x: &[f32],
    gradient: &[f32],
    of_filters: &mut [f32],
    of_bias: &mut [f32],
) {
    let Shape { inputs, outputs, .. } = shape;
    let pairs = inputs * outputs;
    let mut buffers = Buffers::new(shape);
    let [u, v, m] = buffers.parts(shape);
    // Of the bias: sums of sums lose fewer digits.
    let mut of_block = vec![0.0; outputs];
    for first in (0..shape.tiles()).step_by(TILES) {
        let count = TILES.min(shape.tiles() - first);
        let parts = v.chunks_exact_mut(POINTS * inputs).zip(m.chunks_exact_mut(POINTS * outputs));
        for (tile, (v, m)) in (first..first + count).zip(parts) {
            let patch = shape.square(shape.place(tile), PATCH, 1, inputs);
            transform::<Patch, P, PATCH, PATCH>(p, inputs, x, &patch, v, &Square::dense(PATCH, inputs));
            let results = shape.square(shape.place(tile), TILE, 0, outputs);
            transform::<OfResults, P, TILE, PATCH>(
                p,
                outputs,
                gradient,
                &results,
                m,
                &Square::dense(PATCH, outputs),
            );
            add(&mut of_block, &m[ALL * outputs..][..outputs]);
        }
        add(of_bias, &of_block);
        of_block.fill(0.0);
        for (point, u) in u.chunks_exact_mut(pairs).enumerate() {
            let v = Matrix { numbers: &v[point * inputs..], row: 1, column: POINTS * inputs };
            let m = Matrix { numbers: &m[point * outputs..], row: POINTS * outputs, column: 1 };
            product(p, [inputs, count, outputs], v, m, (u, outputs), true);
        }
    }
    transform::<OfFilter, P, PATCH, FILTER>(
        p,
        pairs,
        u,
        &Square::dense(PATCH, pairs),
        of_filters,
        &Square::dense(FILTER, pairs),
    );
}

/// U, V and M.
struct Buffers(Vec<f32>);

impl Buffers {
    /// Numbers in a line of the cache: vectors that lie across two lines take longer.
    const LINE: usize = 16;

    fn sizes(Shape { inputs, outputs, .. }: Shape) -> [usize; 3] {
        [inputs * outputs, TILES * inputs, TILES * outputs].map(|size| POINTS * size)
    }

    fn new(shape: Shape) -> Buffers {
        Buffers(vec![0.0; Buffers::LINE + Buffers::sizes(shape).iter().sum::<usize>()])
    }

    /// Each of whole lines.
    fn parts(&mut self, shape: Shape) -> [&mut [f32]; 3] {
        let start = self.0.as_ptr().align_offset(Buffers::LINE * size_of::<f32>());
        let [u, v, m] = Buffers::sizes(shape);
        let (u, rest) = self.0[start..].split_at_mut(u);
        let (v, rest) = rest.split_at_mut(v);
        [u, v, &mut rest[..m]]
    }
}

/// Where a tile lies: its image, and its first row and column.
#[derive(Clone, Copy)]
struct Place {
    image: usize,
    row: usize,
    column: usize,
}

impl Shape {
    fn tiles(&self) -> usize {
        self.images * self.height.div_ceil(TILE) * self.width.div_ceil(TILE)
    }

    fn place(&self, tile: usize) -> Place {
        let (rows, columns) = (self.height.div_ceil(TILE), self.width.div_ceil(TILE));
        Place {
            image: tile / columns / rows,
            row: tile / columns % rows * TILE,
            column: tile % columns * TILE,
        }
    }

    /// `size` by `size` pixels from a place on, or so many rows and columns before it, in images of so many channels.
    #[inline(always)]
    fn square(&self, place: Place, size: usize, before: usize, channels: usize) -> Square {
        let pixel = (place.image * self.height + place.row) * self.width + place.column;
        let row = self.width * channels;
        Square {
            start: (pixel * channels).wrapping_sub(before * (row + channels)),
            row,
            column: channels,
            rows: before.saturating_sub(place.row)..size.min(self.height + before - place.row),
            columns: before.saturating_sub(place.column)..size.min(self.width + before - place.column),
        }
    }
}

/// Where the pixels of a square lie, each `column` numbers, those of them that there are: the others are zero.
struct Square {
    /// Where the first would lie, if before all numbers then modulo the size of memory.
    start: usize,
    row: usize,
    column: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Square {
    /// All of `size` by `size` pixels, one after the other.
    #[inline(always)]
    fn dense(size: usize, channels: usize) -> Square {
        Square { start: 0, row: size * channels, column: channels, rows: 0..size, columns: 0..size }
    }

    #[inline(always)]
    fn has(&self, row: usize, column: usize) -> bool {
        self.rows.start <= row
            && row < self.rows.end
            && self.columns.start <= column
            && column < self.columns.end
    }

    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> usize {
        self.start.wrapping_add(row * self.row + column * self.column)
    }
}

#[inline(always)]
fn add(sums: &mut [f32], numbers: &[f32]) {
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += number;
    }
}

#[inline(always)]
fn load<P: Lanes<L>, const L: usize>(p: P, numbers: &[f32], at: usize) -> P::Vector {
    p.load(numbers[at..].first_chunk().expect("channels are whole vectors"))
}

#[inline(always)]
fn store<P: Lanes<L>, const L: usize>(p: P, vector: P::Vector, numbers: &mut [f32], at: usize) {
    p.store(vector, numbers[at..].first_chunk_mut().expect("channels are whole vectors"));
}

/// The transform of the square `from` of `x`, first of its columns and then of the rows, as the square `to` of `y`.
#[inline(always)]
fn transform<T: Transform<I, O>, P: Lanes<8> + Lanes<16>, const I: usize, const O: usize>(
    p: P,
    channels: usize,
    x: &[f32],
    from: &Square,
    y: &mut [f32],
    to: &Square,
) {
    if channels.is_multiple_of(16) {
        transform_by::<T, P, I, O, 16>(p, channels, x, from, y, to);
    } else {
        transform_by::<T, P, I, O, 8>(p, channels, x, from, y, to);
    }
}

#[inline(always)]
fn transform_by<T: Transform<I, O>, P: Lanes<L>, const I: usize, const O: usize, const L: usize>(
    p: P,
    channels: usize,
    x: &[f32],
    from: &Square,
    y: &mut [f32],
    to: &Square,
) {
    let mut half = [[p.splat(0.0); I]; O];
    for channel in (0..channels).step_by(L) {
        for j in 0..I {
            let mut column = [p.splat(0.0); I];
            for (i, vector) in column.iter_mut().enumerate() {
                if from.has(i, j) {
                    *vector = load(p, x, from.at(i, j) + channel);
                }
            }
            for (half, vector) in half.iter_mut().zip(T::of(p, column)) {
                half[j] = vector;
            }
        }
        for (i, half) in half.iter().enumerate() {
            for (j, vector) in T::of(p, *half).into_iter().enumerate() {
                if to.has(i, j) {
                    store(p, vector, y, to.at(i, j) + channel);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that repeat nowhere soon, from -1 to 1.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * 7919 + at / 1009 * 31 + seed) % 1009) as f32 / 504.0 - 1.0).collect()
    }

    /// What goes into a convolution and its gradients.
    struct Given {
        shape: Shape,
        x: Vec<f32>,
        weights: Vec<f32>,
        bias: Vec<f32>,
        gradient: Vec<f32>,
    }

    impl Given {
        fn new([images, height, width, inputs, outputs]: [usize; 5]) -> Given {
            let pixels = images * height * width;
            Given {
                shape: Shape { images, height, width, inputs, outputs },
                x: numbers(pixels * inputs, 1),
                weights: numbers(outputs * inputs * TAPS, 2),
                bias: numbers(outputs, 3),
                gradient: numbers(pixels * outputs, 4),
            }
        }
    }

    struct Found<Number> {
        y: Vec<Number>,
        of_x: Vec<Number>,
        of_weights: Vec<Number>,
        of_bias: Vec<Number>,
    }

    impl<Number: Copy> Found<Number> {
        fn new(given: &Given, number: Number) -> Found<Number> {
            let like = |numbers: &[f32]| vec![number; numbers.len()];
            Found {
                y: like(&given.gradient),
                of_x: like(&given.x),
                of_weights: like(&given.weights),
                of_bias: like(&given.bias),
            }
        }

        fn parts(&self) -> [&[Number]; 4] {
            [&self.y, &self.of_x, &self.of_weights, &self.of_bias]
        }
    }

    fn found(given: &Given) -> Found<f32> {
        let Given { shape, x, weights, bias, gradient } = given;
        let mut found = Found::new(given, f32::NAN);
        forward(*shape, x, weights, Some(bias), &mut found.y);
        of_x(*shape, gradient, weights, &mut found.of_x);
        of_weights(*shape, x, gradient, &mut found.of_weights, &mut found.of_bias);
        found
    }

    /// By the definition, in f64.
    fn defined(given: &Given) -> Found<f64> {
        let Shape { images, height, width, inputs, outputs } = given.shape;
        let mut found = Found::new(given, 0.0);
        let pixel = |image, row, column| (image * height + row) * width + column;
        for (image, row, column) in (0..images).flat_map(|image| {
            (0..height).flat_map(move |row| (0..width).map(move |column| (image, row, column)))
        }) {
            let to = pixel(image, row, column) * outputs;
            for output in 0..outputs {
                found.y[to + output] += f64::from(given.bias[output]);
                found.of_bias[output] += f64::from(given.gradient[to + output]);
            }
            for tap in 0..TAPS {
                let (row, column) = (row + tap / FILTER, column + tap % FILTER);
                if !(1..=height).contains(&row) || !(1..=width).contains(&column) {
                    continue;
                }
                let from = pixel(image, row - 1, column - 1) * inputs;
                for (output, input) in
                    (0..outputs).flat_map(|output| (0..inputs).map(move |input| (output, input)))
                {
                    let at = (output * TAPS + tap) * inputs + input;
                    let [x, weight, gradient] =
                        [given.x[from + input], given.weights[at], given.gradient[to + output]]
                            .map(f64::from);
                    found.y[to + output] += x * weight;
                    found.of_x[from + input] += gradient * weight;
                    found.of_weights[at] += gradient * x;
                }
            }
        }
        found
    }

    /// Images, height and width, inputs and outputs: blocks that are full and not, also one after the other, many of them,
    /// tiles that are cut, all widths of products.
    const SHAPES: [[usize; 5]; 9] = [
        [2, 16, 16, 16, 64],
        [5, 8, 8, 8, 32],
        [20, 32, 32, 8, 8],
        [1, 4, 4, 8, 8],
        [3, 5, 7, 16, 8],
        [2, 1, 1, 8, 16],
        [1, 2, 9, 24, 40],
        [1, 13, 6, 64, 48],
        [1, 3, 3, 32, 24],
    ];

    #[test]
    fn results_and_gradients_are_as_defined() {
        for sizes in SHAPES {
            let given = Given::new(sizes);
            for (part, (found, defined)) in
                found(&given).parts().into_iter().zip(defined(&given).parts()).enumerate()
            {
                let scale = defined.iter().fold(0.0, |most, number| number.abs().max(most));
                for (found, defined) in found.iter().zip(defined) {
                    let error = (f64::from(*found) - defined).abs() / scale;
                    assert!(error < 5e-5, "{sizes:?}, part {part}: {found} for {defined}");
                }
            }
        }
    }

    #[test]
    fn bits_are_the_same_on_all_processors() {
        for sizes in SHAPES {
            let given = Given::new(sizes);
            let Given { shape, x, weights: filters, bias, gradient } = &given;
            let [mut here, mut portable] = [(); 2].map(|()| Found::new(&given, 0.0));
            convolve(*shape, x, filters, Some(bias), &mut here.y);
            correlate(*shape, x, gradient, &mut here.of_weights, &mut here.of_bias);
            convolve_on(Portable, *shape, x, filters, Some(bias), &mut portable.y);
            correlate_on(Portable, *shape, x, gradient, &mut portable.of_weights, &mut portable.of_bias);
            let bits = |found: &Found<f32>| {
                found.parts().map(|part| part.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
            };
            assert_eq!(bits(&here), bits(&portable), "{sizes:?}");
        }
    }

    #[test]
    fn what_is_not_a_number_shows_in_all_that_sees_it() {
        let mut given = Given::new([2, 9, 9, 8, 8]);
        let pixel = (9 + 4) * 9 + 4;
        given.x[pixel * 8] = f32::NAN;
        given.gradient[pixel * 8] = f32::NAN;
        let found = found(&given);
        for (row, column) in (12..15).flat_map(|row| (3..6).map(move |column| (row, column))) {
            let at = (row * 9 + column) * 8;
            assert!(found.y[at..at + 8].iter().chain(&found.of_x[at..at + 8]).all(|number| number.is_nan()));
        }
        assert!(
            found.of_bias[0].is_nan() && found.of_weights[..8 * TAPS].iter().all(|number| number.is_nan())
        );
        assert!(!found.y[0].is_nan() && !found.of_x[0].is_nan() && !found.of_bias[1].is_nan());
    }
}
