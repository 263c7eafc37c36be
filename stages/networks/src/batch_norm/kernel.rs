//! Batch normalisation of f32 numbers with the channels last, by their own statistics or by given ones, and the gradient of
//! the former; with a ReLU before or after it. Each way goes through the numbers once for statistics and once for results,
//! in vectors whatever the number of channels: libtorch's, with a ReLU of its own, takes more than twice as long where
//! channels are few. The bits are the same on all processors.

use crate::vectors::for_each_processor;

/// Where a ReLU joins the norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) enum Relu {
    None,
    Before,
    After,
}

impl Relu {
    /// The least that goes into the norm, and the least that comes out.
    fn floors(self) -> Floors {
        let floor = |here| if self == here { 0.0 } else { f32::NEG_INFINITY };
        Floors { before: floor(Relu::Before), after: floor(Relu::After) }
    }
}

#[derive(Clone, Copy)]
struct Floors {
    before: f32,
    after: f32,
}

/// What the gradient needs of the way forward, a number a channel of each: y = scale x + shift.
pub(crate) struct Kept<Numbers> {
    /// Of x, after the ReLU that may come before.
    pub mean: Numbers,
    /// One by the standard deviation of the same.
    pub inverse: Numbers,
    pub scale: Numbers,
    pub shift: Numbers,
}

impl<Numbers> Kept<Numbers> {
    fn from(mut parts: impl Iterator<Item = Numbers>) -> Kept<Numbers> {
        let mut part = || parts.next().expect("four parts");
        Kept { mean: part(), inverse: part(), scale: part(), shift: part() }
    }
}

impl<'a> Kept<&'a [f32]> {
    /// From numbers [4, channels].
    pub fn of(numbers: &'a [f32]) -> Kept<&'a [f32]> {
        Kept::from(numbers.chunks(numbers.len() / 4))
    }
}

impl<'a> Kept<&'a mut [f32]> {
    /// In numbers [4, channels].
    pub fn of_mut(numbers: &'a mut [f32]) -> Kept<&'a mut [f32]> {
        Kept::from(numbers.chunks_mut(numbers.len() / 4))
    }
}

/// Numbers are looked at in rows of at least so many, so that vectors are full whatever the number of channels.
const ROW: usize = 256;

/// Numbers that stay in the first cache while they are gone through twice, where rows are no longer than that.
const BLOCK: usize = 4096;

/// Of no more rows than these is a sum f32; sums of sums are f64.
const MOST_ROWS: usize = 64;

/// The numbers of a row: whole pixels, and as far as it goes whole vectors (of 16 numbers, or fewer).
fn row_width(channels: usize) -> usize {
    let pixels = 1 << 4u32.saturating_sub(channels.trailing_zeros());
    let together = channels * pixels;
    together * ROW.div_ceil(together)
}

/// Normalises the pixels of `x` into `y`. Returns the variance of each channel.
pub(crate) fn forward(
    x: &[f32],
    weight: Option<&[f32]>,
    bias: Option<&[f32]>,
    epsilon: f64,
    relu: Relu,
    y: &mut [f32],
    kept: &mut Kept<&mut [f32]>,
) -> Vec<f64> {
    let channels = kept.mean.len();
    let width = row_width(channels);
    let mut sums = Sums::new(width);
    moments(x, relu.floors(), &mut sums);
    let count = (x.len() / channels) as f64;
    let mut variances = Vec::with_capacity(channels);
    for (channel, [sum, square]) in sums.fold(channels).enumerate() {
        let mean = sum / count;
        let variance = square / count - mean * mean;
        let variance = if variance < 0.0 { 0.0 } else { variance };
        let inverse = (variance + epsilon).sqrt().recip();
        let (scale, shift) = line(weight, bias, channel, mean, inverse);
        kept.mean[channel] = mean as f32;
        kept.inverse[channel] = inverse as f32;
        kept.scale[channel] = scale as f32;
        kept.shift[channel] = shift as f32;
        variances.push(variance);
    }
    let [scale, shift] = [&kept.scale, &kept.shift].map(|numbers| numbers.repeat(width / channels));
    apply(x, &scale, &shift, relu.floors(), y);
    variances
}

/// Normalises the pixels of `x` into `y` by the mean and the variance of each channel that are given.
pub(crate) fn by_statistics(
    x: &[f32],
    [weight, bias]: [Option<&[f32]>; 2],
    [mean, variance]: [&[f32]; 2],
    epsilon: f64,
    relu: Relu,
    y: &mut [f32],
) {
    let channels = mean.len();
    let of_channel = |channel| {
        let inverse = (f64::from(variance[channel]) + epsilon).sqrt().recip();
        let (scale, shift) = line(weight, bias, channel, f64::from(mean[channel]), inverse);
        (scale as f32, shift as f32)
    };
    let (scale, shift): (Vec<f32>, Vec<f32>) = (0..channels).map(of_channel).unzip();
    let [scale, shift] = [scale, shift].map(|numbers| numbers.repeat(row_width(channels) / channels));
    apply(x, &scale, &shift, relu.floors(), y);
}

/// Scale and shift of a channel: those of its norm, by the mean and one by the deviation, and of what weight and bias make
/// of it.
fn line(weight: Option<&[f32]>, bias: Option<&[f32]>, channel: usize, mean: f64, inverse: f64) -> (f64, f64) {
    let scale = weight.map_or(1.0, |weight| f64::from(weight[channel])) * inverse;
    (scale, bias.map_or(0.0, |bias| f64::from(bias[channel])) - mean * scale)
}

/// From the gradient of y, that of x into `of_x`; those of weight and bias, a number a channel, into the others.
pub(crate) fn backward(
    x: &[f32],
    gradient: &[f32],
    relu: Relu,
    kept: &Kept<&[f32]>,
    of_x: &mut [f32],
    of_weight: &mut [f32],
    of_bias: &mut [f32],
) {
    let channels = kept.mean.len();
    let width = row_width(channels);
    let columns = |numbers: &[f32]| numbers.repeat(width / channels);
    let [mean, scale, shift] = [kept.mean, kept.scale, kept.shift].map(columns);
    let mut sums = Sums::new(width);
    slopes(x, gradient, [&mean, &scale, &shift], relu.floors(), &mut sums);
    // x also moves its mean and its variance: its gradient is scale times y's, and tilt x + level.
    let (mut tilt, mut level) = (vec![0.0; channels], vec![0.0; channels]);
    let count = (x.len() / channels) as f64;
    for (channel, [sum, product]) in sums.fold(channels).enumerate() {
        let [mean, inverse, scale] =
            [kept.mean, kept.inverse, kept.scale].map(|kept| f64::from(kept[channel]));
        of_weight[channel] = (product * inverse) as f32;
        of_bias[channel] = sum as f32;
        let slope = -scale * inverse * inverse * product / count;
        tilt[channel] = slope as f32;
        level[channel] = (-scale * sum / count - mean * slope) as f32;
    }
    back(x, gradient, [&scale, &shift, &columns(&tilt), &columns(&level)], relu.floors(), of_x);
}

/// Two sums of each column.
struct Sums {
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Sums {
    fn new(width: usize) -> Sums {
        Sums { first: vec![0.0; width], second: vec![0.0; width] }
    }

    /// Those of each channel.
    fn fold(&self, channels: usize) -> impl Iterator<Item = [f64; 2]> {
        let sum = move |sums: &[f64], channel| sums.iter().skip(channel).step_by(channels).sum();
        (0..channels).map(move |channel| [sum(&self.first, channel), sum(&self.second, channel)])
    }
}

for_each_processor! {
    /// Adds each column's sum, and its sum of squares.
    fn moments = portable::moments, (x: &[f32], floors: Floors, sums: &mut Sums)
}

for_each_processor! {
    /// y = scale x + shift.
    fn apply = portable::apply, (x: &[f32], scale: &[f32], shift: &[f32], floors: Floors, y: &mut [f32])
}

for_each_processor! {
    /// Adds each column's sum of the gradient, and that of its products with x - mean.
    fn slopes = portable::slopes, (
        x: &[f32], gradient: &[f32], mean_scale_shift: [&[f32]; 3], floors: Floors, sums: &mut Sums
    )
}

for_each_processor! {
    /// The gradient of x.
    fn back = portable::back, (
        x: &[f32], gradient: &[f32], scale_shift_tilt_level: [&[f32]; 4], floors: Floors, of_x: &mut [f32]
    )
}

/// In plain loops, of which the compiler makes vectors. It does not fuse products and sums: so y is above its floor in both
/// ways or in none. What belongs to a column comes as a row; the last row of the numbers may be shorter.
mod portable {
    use super::{BLOCK, Floors, MOST_ROWS, Sums};

    /// What is not a number stays so.
    #[inline(always)]
    fn at_least(floor: f32, x: f32) -> f32 {
        if x < floor { floor } else { x }
    }

    #[inline(always)]
    pub fn moments(x: &[f32], floors: Floors, sums: &mut Sums) {
        let width = sums.first.len();
        let (whole, last) = x.split_at(x.len() / width * width);
        let (mut means, mut squares) = (vec![0.0; width], vec![0.0; width]);
        for block in whole.chunks((BLOCK / width).max(4) * width).chain([last]) {
            means.fill(0.0);
            squares.fill(0.0);
            for row in block.chunks(width) {
                for (mean, &x) in means.iter_mut().zip(row) {
                    *mean += at_least(floors.before, x);
                }
            }
            let rows = block.len().div_ceil(width);
            for mean in &mut means {
                *mean /= rows as f32;
            }
            for row in block.chunks(width) {
                for ((square, mean), &x) in squares.iter_mut().zip(&means).zip(row) {
                    let off = at_least(floors.before, x) - mean;
                    *square += off * off;
                }
            }
            let columns = sums.first.iter_mut().zip(&mut sums.second).zip(means.iter().zip(&squares));
            for ((first, second), (&mean, &square)) in columns.take(block.len()) {
                let mean = f64::from(mean);
                *first += rows as f64 * mean;
                *second += f64::from(square) + rows as f64 * mean * mean;
            }
        }
    }

    #[inline(always)]
    pub fn apply(x: &[f32], scale: &[f32], shift: &[f32], floors: Floors, y: &mut [f32]) {
        for (x, y) in x.chunks(scale.len()).zip(y.chunks_mut(scale.len())) {
            for (((y, &x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                *y = at_least(floors.after, at_least(floors.before, x) * scale + shift);
            }
        }
    }

    #[inline(always)]
    pub fn slopes(
        x: &[f32],
        gradient: &[f32],
        [mean, scale, shift]: [&[f32]; 3],
        floors: Floors,
        sums: &mut Sums,
    ) {
        let width = mean.len();
        let (mut slopes, mut products) = (vec![0.0; width], vec![0.0; width]);
        for (x, gradient) in x.chunks(MOST_ROWS * width).zip(gradient.chunks(MOST_ROWS * width)) {
            slopes.fill(0.0);
            products.fill(0.0);
            for (x, gradient) in x.chunks(width).zip(gradient.chunks(width)) {
                let columns = mean.iter().zip(scale).zip(shift).zip(slopes.iter_mut().zip(&mut products));
                for ((&x, &gradient), (((mean, scale), shift), (sum, product))) in
                    x.iter().zip(gradient).zip(columns)
                {
                    let x = at_least(floors.before, x);
                    let slope = if x * scale + shift <= floors.after { 0.0 } else { gradient };
                    *sum += slope;
                    *product += slope * (x - mean);
                }
            }
            let columns = sums.first.iter_mut().zip(&mut sums.second).zip(slopes.iter().zip(&products));
            for ((first, second), (&slope, &product)) in columns {
                *first += f64::from(slope);
                *second += f64::from(product);
            }
        }
    }

    #[inline(always)]
    pub fn back(
        x: &[f32],
        gradient: &[f32],
        [scale, shift, tilt, level]: [&[f32]; 4],
        floors: Floors,
        of_x: &mut [f32],
    ) {
        let width = scale.len();
        let rows = x.chunks(width).zip(gradient.chunks(width)).zip(of_x.chunks_mut(width));
        for ((x, gradient), of_x) in rows {
            let columns = scale.iter().zip(shift).zip(tilt.iter().zip(level));
            for (((&x, &gradient), of_x), ((scale, shift), (tilt, level))) in
                x.iter().zip(gradient).zip(of_x).zip(columns)
            {
                let slope = if x * scale + shift <= floors.after { 0.0 } else { gradient };
                let number = slope * scale + (x * tilt + level);
                *of_x = if x <= floors.before { 0.0 } else { number };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::EPSILON;

    /// Numbers that repeat nowhere soon, a channel's around its own mean.
    fn numbers(count: usize, channels: usize, seed: usize) -> Vec<f32> {
        let number = |at: usize| {
            (((at * 7919 + seed) % 1009) as f32 / 600.0).powi(2) - 1.0 + (at % channels % 5) as f32 / 4.0
        };
        (0..count).map(number).collect()
    }

    /// One channel by the formulas, in f64.
    struct Channel {
        y: Vec<f64>,
        of_x: Vec<f64>,
        of_weight: f64,
        of_bias: f64,
        variance: f64,
    }

    fn channel(x: &[f64], gradient: &[f64], [weight, bias, epsilon]: [f64; 3], relu: Relu) -> Channel {
        let count = x.len() as f64;
        let mean_of = |numbers: &mut dyn Iterator<Item = f64>| numbers.sum::<f64>() / count;
        let input: Vec<f64> = x.iter().map(|x| if relu == Relu::Before { x.max(0.0) } else { *x }).collect();
        let mean = mean_of(&mut input.iter().copied());
        let variance = mean_of(&mut input.iter().map(|x| (x - mean).powi(2)));
        let deviation = (variance + epsilon).sqrt();
        let standard: Vec<f64> = input.iter().map(|x| (x - mean) / deviation).collect();
        let norm: Vec<f64> = standard.iter().map(|x| weight * x + bias).collect();
        let passes = |norm: f64| relu != Relu::After || norm > 0.0;
        let slopes: Vec<f64> =
            gradient.iter().zip(&norm).map(|(g, norm)| if passes(*norm) { *g } else { 0.0 }).collect();
        let of_bias: f64 = slopes.iter().sum();
        let of_weight: f64 = slopes.iter().zip(&standard).map(|(slope, x)| slope * x).sum();
        let of_x = (0..x.len()).map(|at| {
            let slope = slopes[at] - of_bias / count - standard[at] * of_weight / count;
            if relu == Relu::Before && x[at] <= 0.0 { 0.0 } else { weight / deviation * slope }
        });
        Channel {
            of_x: of_x.collect(),
            y: norm.iter().map(|norm| if passes(*norm) { *norm } else { 0.0 }).collect(),
            of_weight,
            of_bias,
            variance,
        }
    }

    /// What both ways make of the numbers.
    struct Ways {
        y: Vec<f32>,
        kept: Vec<f32>,
        variances: Vec<f64>,
        of_x: Vec<f32>,
        of_weight: Vec<f32>,
        of_bias: Vec<f32>,
    }

    fn both_ways(
        x: &[f32],
        gradient: &[f32],
        affine: Option<[&[f32]; 2]>,
        channels: usize,
        relu: Relu,
    ) -> Ways {
        let [weight, bias] = affine.map_or([None; 2], |both| both.map(Some));
        let (mut y, mut of_x) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        let (mut of_weight, mut of_bias) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
        let mut kept = vec![f32::NAN; 4 * channels];
        let variances = forward(x, weight, bias, EPSILON, relu, &mut y, &mut Kept::of_mut(&mut kept));
        backward(x, gradient, relu, &Kept::of(&kept), &mut of_x, &mut of_weight, &mut of_bias);
        Ways { y, kept, variances, of_x, of_weight, of_bias }
    }

    fn column(numbers: &[f32], channel: usize, channels: usize) -> Vec<f64> {
        numbers.iter().skip(channel).step_by(channels).map(|&number| f64::from(number)).collect()
    }

    fn assert_near(found: &[f64], expected: &[f64], bound: f64, what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= bound, "{what}: {found} for {expected}");
        }
    }

    /// Rows of one pixel and of many, numbers that end within a row and within a block, few blocks and many.
    const SHAPES: [[usize; 2]; 8] =
        [[1, 7], [3, 1000], [8, 1024], [10, 333], [16, 5000], [48, 100], [300, 50], [513, 9]];

    #[test]
    fn both_ways_are_as_the_formulas_have_them() {
        for [channels, pixels] in SHAPES {
            let x = numbers(channels * pixels, channels, 1);
            let gradient = numbers(channels * pixels, channels, 501);
            let weight: Vec<f32> = (0..channels).map(|at| 0.5 + (at % 3) as f32).collect();
            let bias: Vec<f32> = (0..channels).map(|at| (at % 4) as f32 / 8.0 - 0.2).collect();
            let relus = [Relu::None, Relu::Before, Relu::After];
            for (relu, affine) in relus.into_iter().flat_map(|relu| [(relu, true), (relu, false)]) {
                let what = format!("{channels} channels, {relu:?}, affine: {affine}");
                let parameters = affine.then_some([&weight[..], &bias]);
                let ways = both_ways(&x, &gradient, parameters, channels, relu);
                for at in 0..channels {
                    let [x, gradient, y, of_x] =
                        [&x, &gradient, &ways.y, &ways.of_x].map(|numbers| column(numbers, at, channels));
                    let [weight, bias] =
                        parameters.map_or([1.0, 0.0], |both| both.map(|numbers| f64::from(numbers[at])));
                    let expected = channel(&x, &gradient, [weight, bias, EPSILON], relu);
                    assert_near(&y, &expected.y, 1e-5, &what);
                    assert_near(&of_x, &expected.of_x, 2e-5, &what);
                    let [of_weight, of_bias] = [&ways.of_weight, &ways.of_bias].map(|of| f64::from(of[at]));
                    let bound = 1e-6 * pixels as f64;
                    assert_near(&[of_weight, of_bias], &[expected.of_weight, expected.of_bias], bound, &what);
                    assert_near(&[ways.variances[at]], &[expected.variance], 1e-6 * expected.variance, &what);
                }
            }
        }
    }

    #[test]
    fn processors_with_wider_vectors_make_the_same_bits() {
        let floors = Floors { before: 0.0, after: 0.1 };
        for [channels, pixels] in SHAPES {
            let width = row_width(channels);
            let [x, gradient] = [1, 501].map(|seed| numbers(channels * pixels, channels, seed));
            let columns = [11, 12, 13, 14].map(|seed| numbers(width, channels, seed));
            let [mean, scale, shift, level] = columns.each_ref().map(|numbers| &numbers[..]);
            let [mut ours, mut plain] = [(); 2].map(|()| Sums::new(width));
            let [mut out, mut plain_out] = [(); 2].map(|()| vec![0.0; x.len()]);
            moments(&x, floors, &mut ours);
            portable::moments(&x, floors, &mut plain);
            assert_eq!((&ours.first, &ours.second), (&plain.first, &plain.second), "{channels}");
            slopes(&x, &gradient, [mean, scale, shift], floors, &mut ours);
            portable::slopes(&x, &gradient, [mean, scale, shift], floors, &mut plain);
            assert_eq!((ours.first, ours.second), (plain.first, plain.second), "{channels}");
            apply(&x, scale, shift, floors, &mut out);
            portable::apply(&x, scale, shift, floors, &mut plain_out);
            assert_eq!(out, plain_out, "{channels}");
            back(&x, &gradient, [scale, shift, mean, level], floors, &mut out);
            portable::back(&x, &gradient, [scale, shift, mean, level], floors, &mut plain_out);
            assert_eq!(out, plain_out, "{channels}");
        }
    }

    #[test]
    fn a_mean_far_from_zero_costs_no_more_digits_than_the_numbers_have() {
        let x: Vec<f32> = numbers(16 * 5000, 16, 1).into_iter().map(|x| x + 1000.0).collect();
        let variances = both_ways(&x, &x, None, 16, Relu::None).variances;
        for (at, variance) in variances.into_iter().enumerate() {
            let x = column(&x, at, 16);
            let expected = channel(&x, &x, [1.0, 0.0, EPSILON], Relu::None).variance;
            assert_near(&[variance], &[expected], 1e-5 * expected, "far from zero");
        }
    }

    #[test]
    fn what_is_not_a_number_shows_in_all_that_its_channel_gives_and_nowhere_else() {
        for relu in [Relu::None, Relu::Before, Relu::After] {
            let mut x = numbers(8 * 100, 8, 1);
            x[16] = f32::NAN;
            let ways = both_ways(&x, &numbers(8 * 100, 8, 501), None, 8, relu);
            for at in 0..8 {
                let each = [&ways.y, &ways.of_x, &ways.of_weight, &ways.kept];
                for (which, numbers) in each.into_iter().enumerate() {
                    let is_bad = column(numbers, at, 8).iter().any(|number| number.is_nan());
                    assert_eq!(is_bad, at == 0, "{relu:?}, {which}, channel {at}");
                }
                assert_eq!(ways.variances[at].is_nan(), at == 0, "{relu:?}, variance of channel {at}");
            }
        }
    }
}
