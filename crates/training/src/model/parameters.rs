//! Named parameters in memory, and their initial values.

use amphora_checkpoint::architecture::{Architecture, Parameter as Declared};
use amphora_error::{Error, Result};

use super::random::{Purpose, Random};

/// A tensor that training changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    /// The name in the state dict.
    pub(crate) name: String,
    /// The shape of `values`, outermost dimension first.
    pub(crate) shape: Vec<usize>,
    /// Row-major elements.
    pub(crate) values: Vec<f32>,
    /// Whether a step touches only the rows that the batch names: the first layer of a feature model
    /// and the embedding of a token model.
    pub(crate) table: bool,
}

impl Parameter {
    /// The number of elements of one row.
    pub(crate) fn width(&self) -> usize {
        self.shape.iter().skip(1).product::<usize>().max(1)
    }
}

/// Fresh values for every required parameter of `architecture`, each from its own random stream.
///
/// PyTorch's defaults: uniform in `±1/sqrt(fan in)` for linear layers and convolutions, with
/// `±sqrt(6 / (fan in + fan out))` and zero biases inside `nn.MultiheadAttention`; ones and zeros for
/// normalizations. Embeddings are normal with deviation `1/sqrt(d)` instead of 1, so that a token and
/// what attention adds to it are of one size; the row of padding is zero.
pub(crate) fn initial(architecture: &Architecture, seed: u64) -> Result<Vec<Parameter>> {
    let declared: Vec<_> = architecture
        .parameters()
        .into_iter()
        .filter(|parameter| !parameter.optional)
        .collect();
    let padding = match architecture {
        Architecture::Transformer(config) => Some(config.pad_id),
        Architecture::Urm(config) => Some(config.pad_id),
        _ => None,
    };
    let first = first_layer(architecture);
    declared
        .iter()
        .enumerate()
        .map(|(index, parameter)| {
            let mut random = Random::stream(seed, Purpose::Initial, index as u64);
            let shape = sizes(&parameter.shape)?;
            let mut values = fill(parameter, &declared, &shape, &mut random);
            let mut stored = Parameter {
                name: parameter.name.clone(),
                table: false,
                shape,
                values: Vec::new(),
            };
            if Some(&stored.name) == first.as_ref() {
                // Stored by input, so that a feature's weights lie together.
                let (outputs, inputs) = (stored.shape[0], stored.shape[1]);
                values = super::sequence::transpose(&values, outputs, inputs);
                stored.shape = vec![inputs, outputs];
                stored.table = true;
            } else if stored.name == EMBEDDING {
                stored.table = true;
                let width = stored.width();
                let row = usize::try_from(padding.unwrap_or_default()).unwrap_or_default();
                values
                    .iter_mut()
                    .skip(row * width)
                    .take(width)
                    .for_each(|x| *x = 0.0);
            }
            stored.values = values;
            Ok(stored)
        })
        .collect()
}

/// The embedding of the token models.
const EMBEDDING: &str = "embed.weight";

/// The name of the weight that reads the sparse input, if the model has one.
pub(crate) fn first_layer(architecture: &Architecture) -> Option<String> {
    match architecture {
        Architecture::Mlp(config) => {
            let first = config.layers().next()?;
            Some(format!("{}.weight", first.linear))
        }
        _ => None,
    }
}

fn sizes(shape: &[u64]) -> Result<Vec<usize>> {
    /// More elements than this in one tensor is a mistake in the configuration, not a planner.
    const LARGEST: usize = 1 << 28;
    let sizes: Option<Vec<usize>> = shape.iter().map(|d| usize::try_from(*d).ok()).collect();
    sizes
        .filter(|sizes| {
            let count = sizes.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
            count.is_some_and(|count| count <= LARGEST)
        })
        .ok_or_else(|| {
            Error::limit("parameter-size", "a parameter is too large to train")
                .expected(format!("at most {LARGEST} elements"))
                .found(format!("shape {shape:?}"))
        })
}

fn fill(parameter: &Declared, all: &[Declared], shape: &[usize], random: &mut Random) -> Vec<f32> {
    let count = shape.iter().product();
    let mut uniform = |bound: f64| -> Vec<f32> {
        (0..count)
            .map(|_| ((random.uniform() * 2.0 - 1.0) * bound) as f32)
            .collect()
    };
    let fan_in = |shape: &[u64]| shape.iter().skip(1).product::<u64>() as f64;
    let name = parameter.name.as_str();
    if name.ends_with("in_proj_weight") {
        // fan in + fan out
        return uniform((6.0 / (shape[0] + shape[1]) as f64).sqrt());
    }
    if name.ends_with("in_proj_bias") || name.ends_with("out_proj.bias") {
        return vec![0.0; count];
    }
    if matches!(name, EMBEDDING | "pos.weight" | "step.weight") {
        let deviation = 1.0 / (shape[1] as f64).sqrt();
        return (0..count)
            .map(|_| (random.normal() * deviation) as f32)
            .collect();
    }
    match (name.strip_suffix(".bias"), parameter.shape.len()) {
        (Some(module), _) => {
            let weight = format!("{module}.weight");
            let weight = all.iter().find(|other| other.name == weight);
            match weight.filter(|weight| weight.shape.len() > 1) {
                Some(weight) => uniform(1.0 / fan_in(&weight.shape).sqrt()),
                None => vec![0.0; count],
            }
        }
        (None, 1) => vec![1.0; count],
        (None, _) => uniform(1.0 / fan_in(&parameter.shape).sqrt()),
    }
}
