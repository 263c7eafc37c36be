//! The architectures of the sweep, and what train and predict share: data sets, seeds.
//!
//! ```
//! use networks::{Mode, Model, Network, Precision, Stream, generator};
//! use tch::{Device, Kind, Tensor};
//!
//! let model = Model::Fc { widths: vec![32, 16] };
//! let mut random = generator(42, Stream::Weights);
//! let network = Network::new(&model, [3, 32, 32], 10, &mut random, Device::Cpu)?;
//! let images = Tensor::zeros([5, 3, 32, 32], (Kind::Float, Device::Cpu));
//! let logits = tch::no_grad(|| network.forward(&images, Mode::Evaluate, Precision::F32));
//! assert_eq!(logits.size(), [5, 10]);
//! # Ok::<(), networks::ModelError>(())
//! ```

mod allcnn;
mod attention;
mod batch_norm;
mod convmixer;
mod data;
mod fc;
mod layers;
mod logits;
mod model;
mod network;
mod own;
mod random;
mod resnet;
mod vectors;
mod vit;
mod weights;
mod winograd;
mod wr;

pub use data::{DataError, Dataset, Split};
pub use layers::{Mode, Precision};
pub use model::{Model, ModelError};
pub use network::Network;
pub use random::{Random, Stream, generator};
pub use weights::{Weights, WeightsError};
