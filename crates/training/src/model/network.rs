//! The models as functions of their entry and their weights, written for candle's gradient.
//!
//! Names and shapes of the weights are those of [`Architecture::parameters`]; the arithmetic is that
//! of the published layers, as in `amphora-models`, which the tests compare with.

use std::collections::BTreeMap;
use std::sync::Arc;

use amphora_checkpoint::architecture::{
    Architecture, FeedForward, MlpConfig, TransformerConfig, UrmConfig,
};
use candle_core::{Result, Tensor, bail};

use super::layers::{Activation, AddRow, Dropout, LayerNorm, RmsNorm, SwiGlu, linear};
use super::random::Random;
use super::sequence::{Attention, CausalConvolution, MaskedMean, Rotary};

/// The weights of one forward pass, by name. The table of the entry is absent: what was gathered from
/// it is an argument of its own.
#[derive(Default)]
pub(crate) struct Weights(pub(crate) BTreeMap<String, Tensor>);

impl Weights {
    fn get(&self, name: &str) -> Result<&Tensor> {
        match self.0.get(name) {
            Some(tensor) => Ok(tensor),
            None => bail!("the model has no parameter {name}"),
        }
    }

    fn linear(&self, x: &Tensor, module: &str) -> Result<Tensor> {
        let weight = self.get(&format!("{module}.weight"))?;
        linear(x, weight, Some(self.get(&format!("{module}.bias"))?))
    }

    fn layer_norm(&self, x: &Tensor, module: &str, eps: f64) -> Result<Tensor> {
        let weight = self.get(&format!("{module}.weight"))?;
        let bias = self.get(&format!("{module}.bias"))?;
        x.contiguous()?.apply_op3(weight, bias, LayerNorm { eps })
    }

    fn rms_norm(&self, x: &Tensor, module: &str, eps: f64) -> Result<Tensor> {
        let weight = self.get(&format!("{module}.weight"))?;
        x.contiguous()?.apply_op2(weight, RmsNorm { eps })
    }

    /// The logits of a head for the state `[batch, d]`.
    pub(crate) fn head(&self, state: &Tensor, name: &str) -> Result<Tensor> {
        self.linear(state, &format!("{name}_head"))
    }
}

/// Random zeros during training: the probability of a zero and the generator.
pub(crate) struct Noise {
    pub(crate) probability: f64,
    pub(crate) random: Random,
}

/// Applies dropout where there is noise.
fn drop(x: Tensor, noise: &mut Option<Noise>) -> Result<Tensor> {
    let Some(Noise {
        probability,
        random,
    }) = noise
    else {
        return Ok(x);
    };
    if *probability <= 0.0 {
        return Ok(x);
    }
    // Sixteen bits decide about an element: the probability is kept to 2^-17.
    let threshold = (*probability * 65_536.0).round() as u64;
    let mut kept = Vec::with_capacity(x.elem_count() + 3);
    while kept.len() < x.elem_count() {
        let bits = random.bits();
        kept.extend([0, 16, 32, 48].map(|shift| (bits >> shift) & 0xffff >= threshold));
    }
    kept.truncate(x.elem_count());
    let scale = 65_536.0 / (65_536 - threshold.min(65_535)) as f64;
    x.contiguous()?.apply_op1(Dropout {
        kept: kept.into(),
        scale,
    })
}

/// How a model turns what was gathered into the state that its heads read.
#[derive(Clone)]
pub(crate) enum Network {
    Mlp(MlpConfig),
    Transformer(TransformerConfig),
    Urm {
        config: UrmConfig,
        rotary: Rotary,
        /// Loops at the end that the gradient flows through.
        gradient_loops: usize,
    },
}

impl Network {
    /// `None` for an architecture that is no planner model.
    pub(crate) fn new(architecture: &Architecture, gradient_loops: usize) -> Option<Self> {
        match architecture {
            Architecture::Mlp(config) => Some(Self::Mlp(config.clone())),
            Architecture::Transformer(config) => Some(Self::Transformer(config.clone())),
            Architecture::Urm(config) => Some(Self::Urm {
                rotary: Rotary::new(
                    config.max_len as usize,
                    config.d_head() as usize,
                    config.rope_theta,
                ),
                config: config.clone(),
                gradient_loops,
            }),
            _ => None,
        }
    }

    /// The state `[batch, d]` for what was gathered: `[batch, width]` of a feature model, `[batch,
    /// time, d]` of a token model.
    pub(crate) fn state(
        &self,
        weights: &Weights,
        gathered: &Tensor,
        lengths: &Arc<[usize]>,
        noise: &mut Option<Noise>,
    ) -> Result<Tensor> {
        match self {
            Self::Mlp(config) => mlp(config, weights, gathered, noise),
            Self::Transformer(config) => transformer(config, weights, gathered, lengths, noise),
            Self::Urm {
                config,
                rotary,
                gradient_loops,
            } => {
                let urm = Urm {
                    config,
                    weights,
                    attention: || Attention {
                        heads: config.n_heads as usize,
                        lengths: lengths.clone(),
                        rotary: Some(rotary.clone()),
                    },
                };
                let x = urm.run(gathered, *gradient_loops, noise)?;
                x.apply_op1(MaskedMean {
                    lengths: lengths.clone(),
                })
            }
        }
    }
}

fn mlp(
    config: &MlpConfig,
    weights: &Weights,
    gathered: &Tensor,
    noise: &mut Option<Noise>,
) -> Result<Tensor> {
    let mut x = gathered.clone();
    for (index, layer) in config.layers().enumerate() {
        x = match index {
            0 => x.apply_op2(weights.get(&format!("{}.bias", layer.linear))?, AddRow)?,
            _ => weights.linear(&x, &layer.linear)?,
        };
        x = weights.layer_norm(&x, &layer.norm, config.layer_norm_eps)?;
        x = drop(x.apply_op1(Activation::Relu)?, noise)?;
    }
    Ok(x)
}

/// Dropout after the attention, inside and after the feed-forward part, as
/// `nn.TransformerEncoderLayer` has it; the attention weights themselves are not dropped.
fn transformer(
    config: &TransformerConfig,
    weights: &Weights,
    gathered: &Tensor,
    lengths: &Arc<[usize]>,
    noise: &mut Option<Noise>,
) -> Result<Tensor> {
    let (batch, time, d) = gathered.dims3()?;
    let eps = config.layer_norm_eps;
    let positions = weights.get("pos.weight")?.narrow(0, 0, time)?;
    let mut x = gathered
        .reshape((batch, time * d))?
        .apply_op2(&positions.flatten_all()?, AddRow)?
        .reshape((batch, time, d))?;
    for layer in 0..config.n_layers {
        let name = |module: &str| format!("encoder.layers.{layer}.{module}");
        let normal = weights.layer_norm(&x, &name("norm1"), eps)?;
        let qkv = linear(
            &normal,
            weights.get(&name("self_attn.in_proj_weight"))?,
            Some(weights.get(&name("self_attn.in_proj_bias"))?),
        )?;
        let context = qkv.apply_op1(Attention {
            heads: config.n_heads as usize,
            lengths: lengths.clone(),
            rotary: None,
        })?;
        let attended = weights.linear(&context, &name("self_attn.out_proj"))?;
        x = (x + drop(attended, noise)?)?;
        let normal = weights.layer_norm(&x, &name("norm2"), eps)?;
        let hidden = weights.linear(&normal, &name("linear1"))?;
        let hidden = drop(hidden.apply_op1(Activation::Gelu)?, noise)?;
        let hidden = weights.linear(&hidden, &name("linear2"))?;
        x = (x + drop(hidden, noise)?)?;
    }
    weights
        .layer_norm(&x, "encoder.norm", eps)?
        .apply_op1(MaskedMean {
            lengths: lengths.clone(),
        })
}

struct Urm<'a, F: Fn() -> Attention> {
    config: &'a UrmConfig,
    weights: &'a Weights,
    attention: F,
}

impl<F: Fn() -> Attention> Urm<'_, F> {
    /// The loop over the tied block. What the loops before the last `gradient_loops` computed is a
    /// constant to the gradient (truncated backpropagation through the loop).
    fn run(
        &self,
        embedded: &Tensor,
        gradient_loops: usize,
        noise: &mut Option<Noise>,
    ) -> Result<Tensor> {
        let steps = self.weights.get("step.weight")?;
        let loops = self.config.loops as usize;
        let mut state: Option<Tensor> = None;
        for turn in 0..loops {
            let step = steps.narrow(0, turn, 1)?.flatten_all()?;
            let input = match state.take() {
                Some(state) => (state + embedded)?,
                None => embedded.clone(),
            };
            let out = self.block(&input.apply_op2(&step, AddRow)?, noise)?;
            let constant = loops - turn > gradient_loops;
            state = Some(if constant { out.detach() } else { out });
        }
        match state {
            Some(x) => self.weights.rms_norm(&x, "norm", self.config.rms_norm_eps),
            None => bail!("a URM without loops"),
        }
    }

    fn block(&self, x: &Tensor, noise: &mut Option<Noise>) -> Result<Tensor> {
        let (weights, eps) = (self.weights, self.config.rms_norm_eps);
        let project = |x: &Tensor, name: &str| {
            let weight = weights.get(&format!("block.{name}.weight"))?;
            linear(x, weight, None)
        };
        let context = project(x, "qkv_proj")?.apply_op1((self.attention)())?;
        let attended = drop(project(&context, "o_proj")?, noise)?;
        let x = weights.rms_norm(&(x + attended)?, "block.attn_norm", eps)?;
        let mut hidden = project(&x, "mlp.gate_up_proj")?.apply_op1(SwiGlu)?;
        if let FeedForward::ConvSwiGlu { .. } = self.config.feed_forward {
            let kernel = weights.get("block.mlp.dwconv.weight")?;
            let bias = weights.get("block.mlp.dwconv.bias")?;
            hidden = hidden
                .apply_op3(kernel, bias, CausalConvolution)?
                .apply_op1(Activation::Silu)?;
        }
        let hidden = drop(project(&hidden, "mlp.down_proj")?, noise)?;
        weights.rms_norm(&(x + hidden)?, "block.mlp_norm", eps)
    }
}
