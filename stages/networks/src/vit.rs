//! `vit`: a vision transformer with a class token, learned positions and pre-norm.

use tch::Tensor;

use crate::attention::attention;
use crate::layers::{LayerNorm, Linear, Pass};
use crate::network::Architecture;
use crate::weights::{Init, Plan, Slot};

/// Sizes of a vision transformer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Side of a patch, in pixels.
    pub patch: i64,
    /// Width of a token.
    pub dim: i64,
    /// Blocks.
    pub depth: i64,
    /// Attention heads of a block.
    pub heads: i64,
    /// Width of a head.
    pub head_dim: i64,
    /// Hidden width of a block's perceptron.
    pub mlp: i64,
    /// Whether query, key and value have a bias.
    pub qkv_bias: bool,
}

struct Block {
    attention_norm: LayerNorm,
    qkv: Linear,
    out: Linear,
    mlp_norm: LayerNorm,
    up: Linear,
    down: Linear,
}

pub(crate) struct Vit {
    sizes: Sizes,
    embed: Linear,
    class_token: Slot,
    positions: Slot,
    blocks: Vec<Block>,
    head_norm: LayerNorm,
    head: Linear,
}

impl Vit {
    pub fn new(plan: &mut Plan, [channels, height, width]: [i64; 3], classes: i64, sizes: Sizes) -> Vit {
        let Sizes { patch, dim, depth, heads, head_dim, mlp, qkv_bias } = sizes;
        let tokens = (height / patch) * (width / patch) + 1;
        let positions = plan.trained("pos_embedding".into(), &[1, tokens, dim], Init::Normal(1.0));
        let class_token = plan.trained("cls_token".into(), &[1, 1, dim], Init::Normal(1.0));
        let embed = Linear::new(plan, "to_patch_embedding.1", patch * patch * channels, dim);
        let linear = if qkv_bias { Linear::new } else { Linear::without_bias };
        let mut block = |index| {
            let at = format!("transformer.layers.{index}");
            Block {
                attention_norm: LayerNorm::new(plan, &format!("{at}.0.norm"), dim),
                qkv: linear(plan, &format!("{at}.0.fn.to_qkv"), dim, 3 * heads * head_dim),
                out: Linear::new(plan, &format!("{at}.0.fn.to_out.0"), heads * head_dim, dim),
                mlp_norm: LayerNorm::new(plan, &format!("{at}.1.norm"), dim),
                up: Linear::new(plan, &format!("{at}.1.fn.net.0"), dim, mlp),
                down: Linear::new(plan, &format!("{at}.1.fn.net.3"), mlp, dim),
            }
        };
        let blocks = (0..depth).map(&mut block).collect();
        let head_norm = LayerNorm::new(plan, "mlp_head.0", dim);
        let head = Linear::new(plan, "mlp_head.1", dim, classes);
        Vit { sizes, embed, class_token, positions, blocks, head_norm, head }
    }

    /// [N, C, H, W] -> [N, patches, pixels of a patch in (row, column, channel) order].
    fn patches(&self, images: &Tensor) -> Tensor {
        let patch = self.sizes.patch;
        let [batch, channels, height, width] = images.size()[..] else {
            unreachable!("Network::forward takes images of four axes");
        };
        images
            .view([batch, channels, height / patch, patch, width / patch, patch])
            .permute([0, 2, 4, 3, 5, 1])
            .reshape([batch, -1, patch * patch * channels])
    }

    fn attend(&self, pass: &Pass, block: &Block, x: &Tensor) -> Tensor {
        let Sizes { heads, head_dim, .. } = self.sizes;
        let [batch, tokens, _] = x.size()[..] else { unreachable!("tokens have three axes") };
        let qkv = block.qkv.forward(pass, &block.attention_norm.forward(pass, x));
        let mixed = attention(&qkv.view([batch, tokens, 3, heads, head_dim]));
        block.out.forward(pass, &mixed)
    }
}

impl Architecture for Vit {
    fn forward(&self, pass: &Pass, images: &Tensor) -> Tensor {
        let patches = self.embed.forward(pass, &self.patches(images));
        let class_token = pass.weights.get(self.class_token).expand([patches.size()[0], -1, -1], false);
        let class_token = class_token.to_kind(patches.kind());
        let mut x = Tensor::cat(&[class_token, patches], 1) + pass.weights.get(self.positions);
        for block in &self.blocks {
            x = &x + self.attend(pass, block, &x);
            let hidden = block.up.forward(pass, &block.mlp_norm.forward(pass, &x)).gelu("none");
            x = &x + block.down.forward(pass, &hidden);
        }
        self.head.forward(pass, &self.head_norm.forward(pass, &x.select(1, 0)))
    }
}
