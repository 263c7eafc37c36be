//! A network: an architecture with its tensors.

use tch::{Device, Kind, Tensor};

use crate::layers::{Mode, Pass, Precision};
use crate::model::{Model, ModelError};
use crate::random::Random;
use crate::weights::{Plan, Weights};

/// How an architecture uses the tensors that it planned.
pub(crate) trait Architecture {
    /// Images [N, C, H, W] to logits [N, classes].
    fn forward(&self, pass: &Pass, images: &Tensor) -> Tensor;
}

/// A network on a device.
pub struct Network {
    architecture: Box<dyn Architecture>,
    /// Its tensors.
    pub weights: Weights,
}

impl Network {
    /// Builds a network for images of `input` (channels, height, width), with PyTorch's initial values drawn from
    /// `random`.
    ///
    /// # Errors
    /// When the sizes of the model make no sense, or none for such images.
    pub fn new(
        model: &Model,
        input: [i64; 3],
        classes: i64,
        random: &mut Random,
        device: Device,
    ) -> Result<Network, ModelError> {
        let mut plan = Plan::default();
        let architecture = model.plan(&mut plan, input, classes)?;
        Ok(Network { architecture, weights: Weights::new(plan, random, device) })
    }

    /// Logits f32 [N, classes] of images f32 [N, C, H, W]. In training mode the running statistics are updated.
    pub fn forward(&self, images: &Tensor, mode: Mode, precision: Precision) -> Tensor {
        let pass = Pass { weights: &self.weights, mode, precision };
        self.architecture.forward(&pass, images).to_kind(Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use kit::{Tensors, TensorsError};

    use super::*;
    use crate::WeightsError;
    use crate::random::{Stream, generator};

    const CIFAR: [i64; 3] = [3, 32, 32];

    fn build(model: &Model) -> Network {
        build_for(model, CIFAR, 10)
    }

    fn build_for(model: &Model, input: [i64; 3], classes: i64) -> Network {
        device::prepare("cpu", 1).unwrap();
        Network::new(model, input, classes, &mut generator(42, Stream::Weights), Device::Cpu).unwrap()
    }

    /// A file of small networks with their weights, and what PyTorch computes with them.
    struct Golden {
        file: Tensors,
        models: Vec<(&'static str, Model)>,
    }

    fn goldens() -> [Golden; 2] {
        let open = |name: &str| {
            let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden"));
            Tensors::open(&folder.join(name)).unwrap()
        };
        let vit = |patch, qkv_bias| Model::Vit {
            patch,
            dim: 16,
            depth: 2,
            heads: 2,
            head_dim: 8,
            mlp: 24,
            qkv_bias,
        };
        let cifar = vec![
            ("allcnn", Model::AllCnn { planes: [6, 8] }),
            ("convmixer", Model::ConvMixer { dim: 12, depth: 2 }),
            ("fc", Model::Fc { widths: vec![12, 10] }),
            ("vit", vit(4, false)),
            ("wr-10-2-4", Model::Wr { depth: 10, widen: 2, planes: 4 }),
            ("wr-16-1-4", Model::Wr { depth: 16, widen: 1, planes: 4 }),
        ];
        let imagenet = vec![
            ("resnet18", Model::ResNet { depth: 18, planes: 4 }),
            ("resnet50", Model::ResNet { depth: 50, planes: 2 }),
            ("vit-s", vit(16, true)),
        ];
        [
            Golden { file: open("networks.safetensors"), models: cifar },
            Golden { file: open("imagenet.safetensors"), models: imagenet },
        ]
    }

    impl Golden {
        fn input(&self) -> Tensor {
            self.tensor("input")
        }

        fn tensor(&self, name: &str) -> Tensor {
            let tensor = self.file.f32s(name).unwrap();
            let shape: Vec<i64> = tensor.shape.iter().map(|&length| length as i64).collect();
            Tensor::from_slice(tensor.values).view(&shape[..])
        }

        /// The network with initial values, for such inputs.
        fn new_network(&self, model: &Model) -> Network {
            let [_, channels, height, width] = self.input().size()[..] else { panic!("four axes") };
            build_for(model, [channels, height, width], 10)
        }

        /// The network with the file's weights, taken by PyTorch's names.
        fn network(&self, name: &str, model: &Model) -> Network {
            let network = self.new_network(model);
            network
                .weights
                .import(|tensor| {
                    let tensor = self.file.f32s(&format!("{name}/weights/{tensor}"))?;
                    Ok::<_, Error>((tensor.shape, tensor.values))
                })
                .unwrap();
            network
        }
    }

    #[derive(Debug, thiserror::Error)]
    enum Error {
        #[error(transparent)]
        File(#[from] TensorsError),
        #[error(transparent)]
        Weights(#[from] WeightsError),
    }

    /// Largest error, relative to the largest expected value.
    fn error(found: &Tensor, expected: &Tensor) -> f64 {
        ((found - expected).abs().max() / expected.abs().max()).double_value(&[])
    }

    #[test]
    fn forward_values_are_those_of_pytorch() {
        for golden in goldens() {
            let images = golden.input();
            for (name, model) in &golden.models {
                for (mode, output) in [(Mode::Evaluate, "output_eval"), (Mode::Train, "output_train")] {
                    let network = golden.network(name, model);
                    let forward = || network.forward(&images, mode, Precision::F32);
                    let expected = golden.tensor(&format!("{name}/{output}"));
                    // Without gradients other operations compute it. In training statistics do not count.
                    for logits in [forward(), tch::no_grad(forward)] {
                        let error = error(&logits, &expected);
                        assert!(error <= 1e-5, "{name} {output}: {error:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn tensors_are_named_as_in_pytorch_and_complete() {
        for golden in goldens() {
            for (name, model) in &golden.models {
                let prefix = format!("{name}/weights/");
                let names = golden.file.names();
                let expected: Vec<&str> =
                    names.iter().filter_map(|name| name.strip_prefix(&prefix)).collect();
                let network = golden.new_network(model);
                let mut names: Vec<&str> = network.weights.export().map(|(name, ..)| name).collect();
                names.sort_unstable();
                assert_eq!(names, expected, "{name}");
            }
        }
    }

    #[test]
    fn tensors_are_exported_as_they_were_imported() {
        for golden in goldens() {
            for (name, model) in &golden.models {
                for (tensor, shape, values) in golden.network(name, model).weights.export() {
                    let expected = golden.file.f32s(&format!("{name}/weights/{tensor}")).unwrap();
                    assert_eq!(shape, expected.shape, "{name} {tensor}");
                    assert_eq!(values, expected.values, "{name} {tensor}");
                }
            }
        }
    }

    #[test]
    fn bfloat16_stays_near_f32_and_is_not_equal_to_it() {
        for golden in goldens() {
            let images = golden.input();
            for (name, model) in &golden.models {
                let network = golden.network(name, model);
                let mixed = network.forward(&images, Mode::Evaluate, Precision::Mixed);
                let error = error(&mixed, &golden.tensor(&format!("{name}/output_eval")));
                assert!(error > 1e-6 && error < 0.1, "{name}: {error:e}");
                let loss = network.forward(&images, Mode::Train, Precision::Mixed).square().mean(Kind::Float);
                let gradient = network.weights.gradient(&loss);
                assert_eq!(gradient.size(), [network.weights.trained_count() as i64]);
                assert_eq!(gradient.isfinite().all().int64_value(&[]), 1, "{name}");
            }
        }
    }

    #[test]
    fn gradients_follow_the_order_of_the_trained_numbers() {
        for golden in goldens() {
            let images = golden.input();
            for (name, model) in &golden.models {
                // A step along the gradient raises the loss by the gradient's square, to first order.
                let network = golden.network(name, model);
                let loss = |network: &Network| {
                    network.forward(&images, Mode::Evaluate, Precision::F32).logsumexp(1, false)
                };
                let before = loss(&network).mean(Kind::Float);
                let gradient = network.weights.gradient(&before);
                let square = gradient.square().sum(Kind::Double).double_value(&[]);
                let step = 1e-3 / square.sqrt();
                let _ = tch::no_grad(|| network.weights.trained().g_add_(&(&gradient * step)));
                let rise = (loss(&network).mean(Kind::Double) - before).double_value(&[]);
                let ratio = rise / (step * square);
                assert!((ratio - 1.0).abs() < 0.05, "{name}: {ratio}");
            }
        }
    }

    #[test]
    fn parameters_at_full_size_are_as_many_as_the_paper_says() {
        let vit =
            Model::Vit { patch: 4, dim: 512, depth: 6, heads: 8, head_dim: 64, mlp: 512, qkv_bias: false };
        let full = [
            (Model::AllCnn { planes: [96, 144] }, 399_486),
            (Model::ConvMixer { dim: 256, depth: 8 }, 594_186),
            (Model::Fc { widths: vec![1024, 512, 256, 128] }, 3_837_066),
            (vit, 9_523_722),
            (Model::Wr { depth: 10, widen: 4, planes: 8 }, 300_226),
            (Model::Wr { depth: 16, widen: 4, planes: 64 }, 43_890_122),
        ];
        for (model, count) in full {
            assert_eq!(build(&model).weights.trained_count(), count, "{model:?}");
        }
        let vit =
            Model::Vit { patch: 16, dim: 384, depth: 12, heads: 6, head_dim: 64, mlp: 1536, qkv_bias: true };
        let imagenet = [
            (Model::ResNet { depth: 18, planes: 64 }, 11_689_512),
            (Model::ResNet { depth: 34, planes: 64 }, 21_797_672),
            (Model::ResNet { depth: 50, planes: 64 }, 25_557_032),
            (Model::ResNet { depth: 101, planes: 64 }, 44_549_160),
            (Model::ResNet { depth: 152, planes: 64 }, 60_192_808),
            (vit, 22_050_664),
        ];
        for (model, count) in imagenet {
            let network = build_for(&model, [3, 224, 224], 1000);
            assert_eq!(network.weights.trained_count(), count, "{model:?}");
        }
        // The students of the sloppy data.
        for (widths, count) in [(vec![512], 105_477), (vec![512, 512], 368_133)] {
            let network = build_for(&Model::Fc { widths }, [1, 1, 200], 5);
            assert_eq!(network.weights.trained_count(), count);
        }
    }

    type Shapes = BTreeMap<String, Vec<usize>>;

    /// The bound of PyTorch's uniform start, 1/sqrt(inputs); a bias has as many inputs as the weight it belongs to.
    fn bound(name: &str, shapes: &Shapes) -> f64 {
        let weight = name.strip_suffix("bias").map_or(name.to_owned(), |layer| format!("{layer}weight"));
        1.0 / (shapes[&weight][1..].iter().product::<usize>() as f64).sqrt()
    }

    #[test]
    fn every_tensor_starts_with_pytorchs_range_and_spread() {
        let vit = Model::Vit { patch: 4, dim: 64, depth: 2, heads: 4, head_dim: 16, mlp: 96, qkv_bias: true };
        let models = [
            Model::AllCnn { planes: [24, 36] },
            Model::ConvMixer { dim: 64, depth: 2 },
            Model::Fc { widths: vec![128, 64] },
            vit,
            Model::Wr { depth: 16, widen: 2, planes: 8 },
            Model::ResNet { depth: 18, planes: 8 },
            Model::ResNet { depth: 50, planes: 8 },
        ];
        for model in models {
            let network = build(&model);
            let shapes: Shapes =
                network.weights.export().map(|(name, shape, _)| (name.to_owned(), shape)).collect();
            for (name, shape, values) in network.weights.export() {
                // Of norms, all but biases and means are 1. Only norms have weights of one axis.
                let norm = name.contains("running_")
                    || shapes.get(&name.replace("bias", "weight")).is_some_and(|weight| weight.len() == 1);
                if norm {
                    let zero = name.ends_with("bias") || name.ends_with("running_mean");
                    let expected = if zero { 0.0 } else { 1.0 };
                    assert!(values.iter().all(|&value| value == expected), "{model:?} {name} {shape:?}");
                    continue;
                }
                let token = name == "cls_token" || name == "pos_embedding";
                // torchvision's start of a residual network's convolutions.
                let he = matches!(model, Model::ResNet { .. }) && shape.len() == 4;
                let normal = token || he;
                let (spread, limit) = if token {
                    (1.0, 5.5)
                } else if he {
                    let spread = (2.0 / (shape[0] * shape[2] * shape[3]) as f64).sqrt();
                    (spread, 5.5 * spread)
                } else {
                    let bound = bound(name, &shapes);
                    (bound / 3f64.sqrt(), bound * (1.0 + 1e-7))
                };
                let count = values.len() as f64;
                let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
                let square = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / count;
                let largest = values.iter().fold(0f64, |largest, &value| largest.max(f64::from(value).abs()));
                assert!(largest <= limit, "{model:?} {name}: {largest} over {limit}");
                // Five standard errors, of the mean and of the mean square.
                assert!(mean.abs() <= 5.0 * spread / count.sqrt(), "{model:?} {name}: mean {mean}");
                let ratio = square / spread.powi(2);
                let tolerance = 5.0 * (if normal { 2f64 } else { 0.8 } / count).sqrt();
                assert!(
                    (ratio - 1.0).abs() <= tolerance,
                    "{model:?} {name}: spread ratio {ratio}, {count} values"
                );
            }
        }
    }

    #[test]
    fn the_seed_fixes_the_initial_values() {
        let model = Model::ConvMixer { dim: 12, depth: 2 };
        let start = |seed| {
            let mut random = generator(seed, Stream::Weights);
            let network = Network::new(&model, CIFAR, 10, &mut random, Device::Cpu).unwrap();
            network.weights.export().flat_map(|(.., values)| values).collect::<Vec<f32>>()
        };
        assert_eq!(start(42), start(42));
        assert_ne!(start(42), start(43));
    }
}
