//! What a network is, as pipeline.yaml says it.

use serde::Deserialize;

use crate::allcnn::AllCnn;
use crate::convmixer::{self, ConvMixer};
use crate::fc::Fc;
use crate::network::Architecture;
use crate::resnet::{self, ResNet};
use crate::vit::{Sizes, Vit};
use crate::weights::Plan;
use crate::wr::WideResidual;

/// Sizes that do not make a network.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A size outside its range.
    #[error("model `{kind}`: {what} is {value}, must be {must}")]
    Size {
        /// The architecture.
        kind: &'static str,
        /// Which size.
        what: &'static str,
        /// What it is.
        value: i64,
        /// What it may be.
        must: String,
    },
}

/// An architecture and its sizes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Model {
    /// Fully connected.
    Fc {
        /// Widths of the hidden layers.
        widths: Vec<i64>,
    },
    /// All-convolutional.
    AllCnn {
        /// Channels of the first two convolutions and of the next two.
        planes: [i64; 2],
    },
    /// ConvMixer with patches of 2x2.
    ConvMixer {
        /// Channels.
        dim: i64,
        /// Blocks.
        depth: i64,
    },
    /// Vision transformer.
    Vit {
        /// Side of a patch, in pixels.
        patch: i64,
        /// Width of a token.
        dim: i64,
        /// Blocks.
        depth: i64,
        /// Attention heads of a block.
        heads: i64,
        /// Width of a head.
        head_dim: i64,
        /// Hidden width of a block's perceptron.
        mlp: i64,
        /// Whether query, key and value have a bias: those of the ImageNet networks do, the paper's for CIFAR-10 does not.
        #[serde(default)]
        qkv_bias: bool,
    },
    /// Wide residual network.
    Wr {
        /// Convolutions on the longest way, 6 b + 4 for b blocks a group.
        depth: i64,
        /// Factor on the width of all but the first convolution.
        widen: i64,
        /// Channels of the first convolution.
        planes: i64,
    },
    /// Residual network of ImageNet.
    ResNet {
        /// Layers with weights on the longest way.
        depth: i64,
        /// Channels of the first convolution.
        planes: i64,
    },
}

impl Model {
    /// Whether it has attention.
    pub fn attends(&self) -> bool {
        matches!(self, Model::Vit { .. })
    }

    /// Declares the tensors for images of `input` (channels, height, width), and says how they are used.
    pub(crate) fn plan(
        &self,
        plan: &mut Plan,
        input: [i64; 3],
        classes: i64,
    ) -> Result<Box<dyn Architecture>, ModelError> {
        let kind = self.kind();
        let refusal = |what, value, must: &str| ModelError::Size { kind, what, value, must: must.to_owned() };
        let check =
            |ok: bool, what, value, must: &str| if ok { Ok(()) } else { Err(refusal(what, value, must)) };
        let positive = |what, value| check(value > 0, what, value, "at least 1");
        let [channels, height, width] = input;
        for (what, value) in
            [("channels", channels), ("height", height), ("width", width), ("classes", classes)]
        {
            positive(what, value)?;
        }
        let divides = |patch| {
            let must = format!("a divisor of the images' height and width, {height} and {width}");
            check(height % patch == 0 && width % patch == 0, "patch", patch, &must)
        };
        Ok(match *self {
            Model::Fc { ref widths } => {
                widths.iter().try_for_each(|&width| positive("widths", width))?;
                Box::new(Fc::new(plan, input, classes, widths))
            }
            Model::AllCnn { planes } => {
                planes.iter().try_for_each(|&planes| positive("planes", planes))?;
                Box::new(AllCnn::new(plan, channels, classes, planes))
            }
            Model::ConvMixer { dim, depth } => {
                positive("dim", dim)?;
                positive("depth", depth)?;
                divides(convmixer::PATCH)?;
                Box::new(ConvMixer::new(plan, channels, classes, dim, depth))
            }
            Model::Vit { patch, dim, depth, heads, head_dim, mlp, qkv_bias } => {
                for (what, value) in [("patch", patch), ("dim", dim), ("depth", depth)] {
                    positive(what, value)?;
                }
                for (what, value) in [("heads", heads), ("head_dim", head_dim), ("mlp", mlp)] {
                    positive(what, value)?;
                }
                divides(patch)?;
                let sizes = Sizes { patch, dim, depth, heads, head_dim, mlp, qkv_bias };
                Box::new(Vit::new(plan, input, classes, sizes))
            }
            Model::Wr { depth, widen, planes } => {
                positive("widen", widen)?;
                positive("planes", planes)?;
                check(depth >= 10 && depth % 6 == 4, "depth", depth, "one of 10, 16, 22, ..")?;
                Box::new(WideResidual::new(plan, channels, classes, depth, widen, planes))
            }
            Model::ResNet { depth, planes } => {
                positive("planes", planes)?;
                let shape = resnet::Shape::of_depth(depth);
                let shape = shape.ok_or_else(|| refusal("depth", depth, resnet::DEPTHS))?;
                Box::new(ResNet::new(plan, channels, classes, shape, planes))
            }
        })
    }

    fn kind(&self) -> &'static str {
        match self {
            Model::Fc { .. } => "fc",
            Model::AllCnn { .. } => "allcnn",
            Model::ConvMixer { .. } => "convmixer",
            Model::Vit { .. } => "vit",
            Model::Wr { .. } => "wr",
            Model::ResNet { .. } => "resnet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> serde_json::Result<Model> {
        serde_json::from_str(text)
    }

    fn refusal(text: &str) -> String {
        let planned = parse(text).unwrap().plan(&mut Plan::default(), [3, 32, 32], 10);
        planned.err().unwrap().to_string()
    }

    #[test]
    fn a_model_is_read_by_its_kind() {
        assert_eq!(
            parse(r#"{"kind": "allcnn", "planes": [6, 8]}"#).unwrap(),
            Model::AllCnn { planes: [6, 8] }
        );
        let wr = Model::Wr { depth: 10, widen: 4, planes: 8 };
        assert_eq!(parse(r#"{"kind": "wr", "depth": 10, "widen": 4, "planes": 8}"#).unwrap(), wr);
    }

    #[test]
    fn the_networks_of_imagenet_are_models() {
        let resnet = Model::ResNet { depth: 50, planes: 64 };
        assert_eq!(parse(r#"{"kind": "resnet", "depth": 50, "planes": 64}"#).unwrap(), resnet);
        let sizes = r#""patch": 16, "dim": 384, "depth": 12, "heads": 6, "head_dim": 64, "mlp": 1536"#;
        for (rest, biased) in [("", false), (r#", "qkv_bias": true"#, true)] {
            let model = parse(&format!(r#"{{"kind": "vit", {sizes}{rest}}}"#)).unwrap();
            assert!(matches!(model, Model::Vit { qkv_bias, .. } if qkv_bias == biased), "{model:?}");
        }
    }

    #[test]
    fn a_misspelt_size_is_refused() {
        let message = parse(r#"{"kind": "fc", "width": [8]}"#).unwrap_err().to_string();
        assert!(message.contains("unknown field `width`"), "{message}");
    }

    #[test]
    fn impossible_sizes_are_told_with_what_they_must_be() {
        assert_eq!(
            refusal(r#"{"kind": "wr", "depth": 12, "widen": 4, "planes": 8}"#),
            "model `wr`: depth is 12, must be one of 10, 16, 22, .."
        );
        assert_eq!(
            refusal(
                r#"{"kind": "vit", "patch": 5, "dim": 8, "depth": 1, "heads": 1, "head_dim": 8, "mlp": 8}"#
            ),
            "model `vit`: patch is 5, must be a divisor of the images' height and width, 32 and 32"
        );
        assert_eq!(
            refusal(r#"{"kind": "resnet", "depth": 20, "planes": 64}"#),
            "model `resnet`: depth is 20, must be 18, 34, 50, 101 or 152"
        );
        assert_eq!(
            refusal(r#"{"kind": "fc", "widths": [8, 0]}"#),
            "model `fc`: widths is 0, must be at least 1"
        );
    }
}
