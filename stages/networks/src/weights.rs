//! The tensors of a network, by PyTorch's names, in one flat buffer.
//!
//! One buffer, because an optimizer then updates all weights with a few operations instead of a few for each tensor, and
//! a checkpoint is one copy from the device.

use rand::Rng;
use rand_distr::StandardNormal;
use tch::{Device, Kind, Tensor};

use crate::random::Random;

/// Tensors that do not fit a network.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// Another shape than the network's.
    #[error("tensor `{name}` has shape {found:?}, the network's has {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape that was given.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<i64>,
    },
}

/// A tensor of a network, as its number in [`Weights`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot(usize);

/// How a tensor begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Init {
    /// All the same.
    Constant(f32),
    /// Uniform in plus or minus the bound.
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
}

#[derive(Debug)]
struct Entry {
    name: String,
    shape: Vec<i64>,
    init: Init,
    trained: bool,
}

impl Entry {
    fn count(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// What an architecture is made of: it declares its tensors here, in PyTorch's order, before any exists.
#[derive(Debug, Default)]
pub(crate) struct Plan(Vec<Entry>);

impl Plan {
    /// A tensor that is trained.
    pub fn trained(&mut self, name: String, shape: &[i64], init: Init) -> Slot {
        self.add(name, shape, init, true)
    }

    /// A tensor that training only keeps up to date (running statistics).
    pub fn statistic(&mut self, name: String, shape: &[i64], init: Init) -> Slot {
        self.add(name, shape, init, false)
    }

    fn add(&mut self, name: String, shape: &[i64], init: Init, trained: bool) -> Slot {
        self.0.push(Entry { name, shape: shape.to_vec(), init, trained });
        Slot(self.0.len() - 1)
    }
}

/// The tensors of a network: views of one flat buffer, the trained ones first.
///
/// The weights of convolutions lie in the buffer with the channels last, which is what convolutions read fastest.
#[derive(Debug)]
pub struct Weights {
    entries: Vec<Entry>,
    /// By [`Slot`].
    views: Vec<Tensor>,
    flat: Tensor,
    trained: i64,
}

impl Weights {
    /// Allocates the planned tensors on `device` and draws their initial values.
    pub(crate) fn new(plan: Plan, random: &mut Random, device: Device) -> Weights {
        let count = |trained| plan.0.iter().filter(|entry| entry.trained == trained).map(Entry::count).sum();
        let (trained, statistics): (i64, i64) = (count(true), count(false));
        let flat = Tensor::zeros([trained + statistics], (Kind::Float, device));
        let views = views(&plan.0, &flat);
        let weights = Weights { entries: plan.0, views, flat, trained };
        for (entry, view) in weights.entries.iter().zip(&weights.views) {
            let values: Vec<f32> = (0..entry.count()).map(|_| draw(entry.init, random)).collect();
            copy(&values, view);
        }
        weights
    }

    pub(crate) fn get(&self, slot: Slot) -> &Tensor {
        &self.views[slot.0]
    }

    /// How many numbers are trained.
    pub fn trained_count(&self) -> usize {
        self.trained as usize
    }

    /// Whether there are running statistics, which a batch of one sample does not have.
    pub fn has_statistics(&self) -> bool {
        self.entries.iter().any(|entry| !entry.trained)
    }

    /// All trained numbers, `[P]`: what an optimizer updates, in place.
    pub fn trained(&self) -> Tensor {
        self.flat.narrow(0, 0, self.trained)
    }

    /// The gradient of a loss, in the order of [`Weights::trained`], `[P]`.
    pub fn gradient(&self, loss: &Tensor) -> Tensor {
        let trained: Vec<&Tensor> = self
            .entries
            .iter()
            .zip(&self.views)
            .filter_map(|(entry, view)| entry.trained.then_some(view))
            .collect();
        let gradients = Tensor::run_backward(&[loss], &trained, false, false);
        let parts: Vec<Tensor> = gradients.iter().map(|part| channels_last(part).reshape([-1])).collect();
        Tensor::cat(&parts, 0)
    }

    /// Names, shapes and values of all tensors, statistics included, row-major.
    pub fn export(&self) -> impl Iterator<Item = (&str, Vec<usize>, Vec<f32>)> {
        let host = views(&self.entries, &self.flat.to_device(Device::Cpu));
        self.entries.iter().zip(host).map(|(entry, view)| {
            let mut values = vec![0.0; view.numel()];
            view.copy_data(&mut values, view.numel());
            (entry.name.as_str(), entry.shape.iter().map(|&length| length as usize).collect(), values)
        })
    }

    /// Sets all tensors: `tensor` gives shape and values (row-major) for a name.
    ///
    /// # Errors
    /// Those of `tensor`, and when a shape differs.
    pub fn import<'a, E: From<WeightsError>>(
        &self,
        mut tensor: impl FnMut(&str) -> Result<(Vec<usize>, &'a [f32]), E>,
    ) -> Result<(), E> {
        for (entry, view) in self.entries.iter().zip(&self.views) {
            let (shape, values) = tensor(&entry.name)?;
            let equal = shape.len() == entry.shape.len()
                && shape.iter().zip(&entry.shape).all(|(&found, &expected)| found as i64 == expected);
            if !equal {
                let expected = entry.shape.clone();
                return Err(WeightsError::Shape { name: entry.name.clone(), found: shape, expected }.into());
            }
            copy(values, view);
        }
        Ok(())
    }
}

fn draw(init: Init, random: &mut Random) -> f32 {
    match init {
        Init::Constant(value) => value,
        Init::Uniform(bound) => ((2.0 * random.random::<f64>() - 1.0) * bound) as f32,
        Init::Normal(deviation) => {
            let value: f32 = random.sample(StandardNormal);
            value * deviation
        }
    }
}

/// Each entry's part of `flat`, which holds the trained ones first, as a leaf of the graph of derivatives.
fn views(entries: &[Entry], flat: &Tensor) -> Vec<Tensor> {
    let mut places = vec![0; entries.len()];
    let mut end = 0;
    for trained in [true, false] {
        for (entry, place) in entries.iter().zip(&mut places).filter(|(entry, _)| entry.trained == trained) {
            *place = end;
            end += entry.count();
        }
    }
    let view = |(entry, place): (&Entry, i64)| {
        let part = flat.narrow(0, place, entry.count());
        let part = match entry.shape[..] {
            [out, into, height, width] => part.view([out, height, width, into]).permute([0, 3, 1, 2]),
            _ => part.view(&entry.shape[..]),
        };
        part.detach().set_requires_grad(entry.trained)
    };
    entries.iter().zip(places).map(view).collect()
}

/// A convolution's weights [out, in, height, width] in the order in which they lie in the buffer.
fn channels_last(part: &Tensor) -> Tensor {
    if part.dim() == 4 { part.permute([0, 2, 3, 1]) } else { part.shallow_clone() }
}

fn copy(values: &[f32], view: &Tensor) {
    tch::no_grad(|| view.shallow_clone().copy_(&Tensor::from_slice(values).view(&view.size()[..])));
}
