//! The batches of an epoch: samples in random order, cropped and mirrored where wanted, on the device.

use networks::{Dataset, Random};
use rand::Rng;
use rand::seq::SliceRandom;
use tch::{Kind, Tensor};

/// Pixels that a crop may move by, and so the black border around each image.
const MARGIN: i64 = 4;

/// Draws batches from the train split. What is random is drawn on the host, a few numbers a sample once an epoch; what
/// touches pixels is done on the device, a whole batch at once.
pub struct Batches<'a> {
    data: &'a Dataset,
    size: i64,
    order: Random,
    crops: Option<Crops>,
}

/// Random crops and mirror images.
struct Crops {
    random: Random,
    /// All pixels with their borders, u8 [N (H + 2 margin) (W + 2 margin), C].
    pixels: Tensor,
    /// Where the rows of an image begin, from its upper left pixel, i64 [H, 1].
    rows: Tensor,
    /// Where the pixels of a row lie, from its first, i64 `[W]`.
    columns: Tensor,
}

/// One pass through the train split.
pub struct Epoch {
    /// Samples in their order, i64 `[N]`.
    order: Tensor,
    /// For each of them, in that order: the pixel that becomes the upper left one, and 1, or -1 where the row is read
    /// backwards; i64 [N, 1, 1].
    crops: Option<(Tensor, Tensor)>,
}

impl<'a> Batches<'a> {
    /// Batches of `size` samples, the last of an epoch being what is left, in an order that is drawn from `order`; cropped
    /// and mirrored as drawn from `crops`, if that is there.
    pub fn new(data: &'a Dataset, size: i64, order: Random, crops: Option<Random>) -> Batches<'a> {
        Batches { data, size, order, crops: crops.map(|random| Crops::new(data, random)) }
    }

    /// How many batches an epoch has.
    pub fn count(&self) -> u64 {
        (self.data.train.count() as u64).div_ceil(self.size as u64)
    }

    /// Draws the next epoch.
    pub fn epoch(&mut self) -> Epoch {
        let mut order: Vec<i64> = (0..self.data.train.count() as i64).collect();
        order.shuffle(&mut self.order);
        let crops = self.crops.as_mut().map(|crops| crops.draw(&order, self.data));
        Epoch { order: Tensor::from_slice(&order).to_device(self.data.train.labels.device()), crops }
    }

    /// Images f32 [B, C, H, W] and labels i64 `[B]` of a batch of an epoch, counted from 0.
    pub fn get(&self, epoch: &Epoch, batch: i64) -> (Tensor, Tensor) {
        let start = batch * self.size;
        let count = self.size.min(self.data.train.count() as i64 - start);
        let samples = epoch.order.narrow(0, start, count);
        let pixels = match (&self.crops, &epoch.crops) {
            (Some(crops), Some((corners, steps))) => {
                crops.read(&corners.narrow(0, start, count), &steps.narrow(0, start, count))
            }
            _ => self.data.train.pixels.index_select(0, &samples),
        };
        (self.data.normalise(&pixels), self.data.train.labels.index_select(0, &samples))
    }
}

impl Crops {
    fn new(data: &Dataset, random: Random) -> Crops {
        let [channels, height, width] = data.shape();
        let bordered = data.train.pixels.constant_pad_nd([0, 0, MARGIN, MARGIN, MARGIN, MARGIN]);
        let options = (Kind::Int64, bordered.device());
        Crops {
            random,
            pixels: bordered.view([-1, channels]),
            rows: (Tensor::arange(height, options) * (width + 2 * MARGIN)).view([height, 1]),
            columns: Tensor::arange(width, options),
        }
    }

    fn draw(&mut self, order: &[i64], data: &Dataset) -> (Tensor, Tensor) {
        let [_, height, width] = data.shape();
        let (tall, wide) = (height + 2 * MARGIN, width + 2 * MARGIN);
        let mut draw = |&sample: &i64| {
            let row = self.random.random_range(0..=2 * MARGIN);
            let column = self.random.random_range(0..=2 * MARGIN);
            let corner = (sample * tall + row) * wide + column;
            if self.random.random() { (corner + width - 1, -1) } else { (corner, 1) }
        };
        let (corners, steps): (Vec<i64>, Vec<i64>) = order.iter().map(&mut draw).unzip();
        let upload =
            |values: &[i64]| Tensor::from_slice(values).view([-1, 1, 1]).to_device(self.pixels.device());
        (upload(&corners), upload(&steps))
    }

    /// u8 [B, H, W, C].
    fn read(&self, corners: &Tensor, steps: &Tensor) -> Tensor {
        let places = corners + &self.rows + steps * &self.columns;
        let [batch, height, width] = places.size()[..] else { unreachable!("a sum of three axes") };
        self.pixels.index_select(0, &places.view([-1])).view([batch, height, width, -1])
    }
}

#[cfg(test)]
mod tests {
    use networks::{Stream, generator};

    use super::*;
    use crate::tests::striped;

    fn batches(data: &Dataset, size: i64, augment: bool, seed: u64) -> Batches<'_> {
        let crops = augment.then(|| generator(seed, Stream::Augmentation));
        Batches::new(data, size, generator(seed, Stream::Order), crops)
    }

    /// Pixels of a normalised batch as they were: 0..=255.
    fn pixels(images: &Tensor) -> Vec<f32> {
        Vec::try_from((images * 255.0).round().contiguous().view([-1])).unwrap()
    }

    #[test]
    fn an_epoch_holds_every_sample_once() {
        let data = striped(10);
        let mut batches = batches(&data, 4, false, 42);
        let epoch = batches.epoch();
        let mut seen = Vec::new();
        for (batch, size) in [4, 4, 2].into_iter().enumerate() {
            let (images, labels) = batches.get(&epoch, batch as i64);
            assert_eq!(images.size(), [size, 1, 8, 8]);
            let labels: Vec<i64> = labels.try_into().unwrap();
            let first: Vec<f32> = pixels(&images.select(3, 0).select(2, 0));
            assert!(
                first.iter().zip(&labels).all(|(&pixel, &label)| pixel as i64 % 2 == label),
                "images keep labels"
            );
            seen.extend(first);
        }
        assert_ne!(seen, (0..10).map(|sample| sample as f32).collect::<Vec<_>>(), "shuffled");
        seen.sort_by(f32::total_cmp);
        assert_eq!(seen, (0..10).map(|sample| sample as f32).collect::<Vec<_>>());
    }

    #[test]
    fn epochs_differ_and_follow_from_the_seed() {
        let data = striped(10);
        let orders = |seed| {
            let mut batches = batches(&data, 4, false, seed);
            [(); 2].map(|()| Vec::<i64>::try_from(batches.epoch().order).unwrap())
        };
        assert_eq!(orders(42), orders(42));
        assert_ne!(orders(42), orders(43));
        assert_ne!(orders(42)[0], orders(42)[1]);
    }

    #[test]
    fn augmented_images_are_crops_of_the_bordered_ones_half_of_them_mirrored() {
        let data = striped(200);
        let mut batches = batches(&data, 200, true, 42);
        let epoch = batches.epoch();
        let (images, _) = batches.get(&epoch, 0);
        let order: Vec<i64> = Vec::try_from(&epoch.order).unwrap();
        let (mut mirrored, mut places) = (0, [[0; 9]; 9]);
        for (at, &sample) in order.iter().enumerate() {
            let found = pixels(&images.get(at as i64));
            // Every crop done by hand: pixel (y, x) of the crop is pixel (y + row - 4, x + column - 4) of the image.
            let image = pixels(&data.normalise(&data.train.pixels.narrow(0, sample, 1)));
            let crop = |row: i64, column: i64, mirror: bool| -> Vec<f32> {
                let pixel = |y: i64, x: i64| {
                    let (y, x) = (y + row - 4, (if mirror { 7 - x } else { x }) + column - 4);
                    if (0..8).contains(&y) && (0..8).contains(&x) { image[(8 * y + x) as usize] } else { 0.0 }
                };
                (0..64).map(|place| pixel(place / 8, place % 8)).collect()
            };
            let all = (0..9)
                .flat_map(|row| (0..9).flat_map(move |column| [(row, column, false), (row, column, true)]));
            let (row, column, mirror) = all
                .into_iter()
                .find(|&(row, column, mirror)| crop(row, column, mirror) == found)
                .expect("a crop");
            mirrored += usize::from(mirror);
            places[row as usize][column as usize] += 1;
        }
        assert!((70..130).contains(&mirrored), "{mirrored} of 200 mirrored");
        assert!(places.iter().flatten().filter(|&&count| count > 0).count() > 60, "of 81 places: {places:?}");
    }
}
