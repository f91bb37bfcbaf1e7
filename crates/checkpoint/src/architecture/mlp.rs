//! `mlp`: a feature vector through Linear, LayerNorm and ReLU layers, then one linear head per output.

use amphora_error::Result;
use serde_json::{Map, Value};

use super::config::{MAX_SIZE, Reader};
use super::{Head, Parameter, head_parameters, layer_norm, linear};

/// Modules of one layer in PyTorch's `nn.Sequential`: Linear, LayerNorm, ReLU, Dropout.
const MODULES_PER_LAYER: usize = 4;
/// Document 000's defaults for the width of the first layer and the number of layers.
const DEFAULT_HIDDEN: u64 = 512;
const DEFAULT_LAYERS: u64 = 3;

/// Sizes of the `mlp` architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpConfig {
    /// Features in the input.
    pub d_in: u64,
    /// Width of each hidden layer. Unless the configuration lists `hidden_sizes`, layer `i` of
    /// `n_layers` is `d_hidden >> i` wide.
    pub hidden_sizes: Vec<u64>,
    /// Epsilon of the layer normalizations.
    pub layer_norm_eps: f64,
    /// The heads, in the order of the outputs.
    pub heads: Vec<Head>,
}

impl MlpConfig {
    pub(super) fn read(object: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::default();
        let d_in = reader.size(object, "d_in", 1..=MAX_SIZE);
        let d_hidden = reader.size_or(object, "d_hidden", 1..=MAX_SIZE, DEFAULT_HIDDEN);
        let n_layers = reader.size_or(object, "n_layers", 1..=64, DEFAULT_LAYERS);
        let listed = reader.sizes(object, "hidden_sizes", 1..=64, 1..=MAX_SIZE);
        if let Some(sizes) = &listed {
            if object.contains_key("n_layers") && sizes.len() as u64 != n_layers {
                reader.invalid(format!(
                    "`hidden_sizes`: expected `n_layers` = {n_layers} numbers, found {}",
                    sizes.len()
                ));
            }
            if object.contains_key("d_hidden") && sizes[0] != d_hidden {
                reader.invalid(format!(
                    "`hidden_sizes`: expected `d_hidden` = {d_hidden} first, found {}",
                    sizes[0]
                ));
            }
        }
        let hidden_sizes =
            listed.unwrap_or_else(|| (0..n_layers).map(|layer| d_hidden >> layer).collect());
        if hidden_sizes.contains(&0) {
            reader.invalid(format!(
                "`n_layers`: halving `d_hidden` = {d_hidden} leaves no width for {n_layers} layers"
            ));
        }
        reader.only(object, "activation", "relu");
        reader.only(object, "norm", "layernorm");
        let config = Self {
            d_in,
            hidden_sizes,
            layer_norm_eps: reader.epsilon_or(object, "layer_norm_eps", 1e-5),
            heads: reader.heads(object),
        };
        reader.finish("mlp", config)
    }

    /// Names of the Linear and the LayerNorm of each hidden layer, with the widths before and after.
    pub fn layers(&self) -> impl Iterator<Item = MlpLayer> + '_ {
        let before = std::iter::once(&self.d_in).chain(&self.hidden_sizes);
        before
            .zip(&self.hidden_sizes)
            .enumerate()
            .map(|(layer, (&d_in, &d_out))| MlpLayer {
                linear: format!("trunk.{}", layer * MODULES_PER_LAYER),
                norm: format!("trunk.{}", layer * MODULES_PER_LAYER + 1),
                d_in,
                d_out,
            })
    }

    /// Width of the last hidden layer, which the heads read.
    pub fn d_out(&self) -> u64 {
        self.hidden_sizes.last().copied().unwrap_or(self.d_in)
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let layers = self.layers().flat_map(|layer| {
            let linear = linear(&layer.linear, layer.d_in, layer.d_out);
            linear
                .into_iter()
                .chain(layer_norm(&layer.norm, layer.d_out))
        });
        layers
            .chain(head_parameters(&self.heads, self.d_out()))
            .collect()
    }
}

/// One hidden layer of an [`MlpConfig`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlpLayer {
    /// Module name of the linear layer, for example `trunk.4`.
    pub linear: String,
    /// Module name of the layer normalization, for example `trunk.5`.
    pub norm: String,
    /// Width before the layer.
    pub d_in: u64,
    /// Width after the layer.
    pub d_out: u64,
}
