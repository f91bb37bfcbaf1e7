//! `conv2d_fsq`: convolutions, finite scalar quantization, classifier.

use amphora_checkpoint::architecture::{Conv2dFsqConfig, Convolution};
use amphora_error::Result;
use amphora_onnx::Dtype;
use amphora_onnx::build::{Attribute, Reduction, Value};

use crate::emitter::Emitter;

/// PyTorch's default epsilon of batch and layer normalization.
const NORM_EPSILON: f64 = 1e-5;

pub(crate) fn forward(
    emitter: &mut Emitter<'_>,
    config: &Conv2dFsqConfig,
    input: &Value,
) -> Result<Vec<Value>> {
    let mut x = input.clone();
    for layer in config.convolutions() {
        x = convolution(emitter, &layer, &x)?;
    }
    let pooled = emitter.graph.unary("GlobalAveragePool", &x);
    let pooled = emitter
        .graph
        .node("Flatten", &[&pooled], &[("axis", Attribute::Int(1))]);
    let position = emitter.linear(&pooled, "to_codes")?;
    let (quantized, codes) = quantize(emitter, config, &position)?;

    let features = emitter.linear(&quantized, "from_codes")?;
    let features = emitter.layer_norm(&features, "head.0", NORM_EPSILON)?;
    let features = emitter.graph.unary("Relu", &features);
    let logits = emitter.linear(&features, "head.3")?;
    let graph = &mut emitter.graph;
    let probabilities = graph.softmax(&logits);
    let confidence = graph.reduce(Reduction::Max, &probabilities, &[-1], false);
    Ok(vec![codes, confidence, logits])
}

fn convolution(emitter: &mut Emitter<'_>, layer: &Convolution, x: &Value) -> Result<Value> {
    let [_, _, height, width] = layer.shape.map(|size| size as i64);
    let padding = layer.padding as i64;
    let weight = emitter.weight(&format!("{}.weight", layer.conv))?;
    let bias = emitter.weight(&format!("{}.bias", layer.conv))?;
    let x = emitter.graph.node(
        "Conv",
        &[x, &weight, &bias],
        &[
            ("group", Attribute::Int(layer.groups as i64)),
            ("kernel_shape", Attribute::Ints(vec![height, width])),
            ("pads", Attribute::Ints(vec![0, padding, 0, padding])),
            ("strides", Attribute::Ints(vec![1, layer.stride as i64])),
        ],
    );
    let x = emitter.batch_norm(&x, layer.norm, NORM_EPSILON)?;
    Ok(emitter.activate(layer.activation, &x))
}

/// Finite scalar quantization (Mentzer et al. 2023): each dimension is bounded to its number of
/// levels and rounded, half to even; the digits form one code, the first the least significant.
/// Returns the quantized position in [-1, 1] and the code.
fn quantize(
    emitter: &mut Emitter<'_>,
    config: &Conv2dFsqConfig,
    position: &Value,
) -> Result<(Value, Value)> {
    let levels: Vec<f64> = config
        .fsq_levels
        .iter()
        .map(|level| *level as f64)
        .collect();
    let half_l = |level: f64| (level - 1.0) * (1.0 + config.fsq_eps) / 2.0;
    let offset = |level: f64| if level % 2.0 == 0.0 { 0.5 } else { 0.0 };
    let basis = levels.iter().scan(1.0, |product, level| {
        let basis = *product;
        *product *= level;
        Some(basis)
    });
    let per_level = |function: &dyn Fn(f64) -> f64| levels.iter().map(|l| function(*l)).collect();

    let shape = [levels.len() as u64];
    let shift = emitter.buffer("fsq.shift", &shape, || {
        per_level(&|level| (offset(level) / half_l(level)).atanh())
    })?;
    let scale = emitter.buffer("fsq.half_l", &shape, || per_level(&half_l))?;
    let center = emitter.buffer("fsq.offset", &shape, || per_level(&offset))?;
    let half_width = emitter.buffer("fsq.half_width", &shape, || {
        per_level(&|level| (level / 2.0).floor())
    })?;
    let basis = emitter.buffer("fsq.basis", &shape, || basis.collect())?;

    let graph = &mut emitter.graph;
    let shifted = graph.binary("Add", position, &shift);
    let squashed = graph.unary("Tanh", &shifted);
    let scaled = graph.binary("Mul", &squashed, &scale);
    let bounded = graph.binary("Sub", &scaled, &center);
    let rounded = graph.unary("Round", &bounded);
    let quantized = graph.binary("Div", &rounded, &half_width);
    let digits = graph.binary("Add", &rounded, &half_width);
    let weighted = graph.binary("Mul", &digits, &basis);
    // Whole numbers below 2^24: the sum is exact in float32, and so is the cast.
    let code = graph.reduce(Reduction::Sum, &weighted, &[-1], false);
    Ok((quantized, graph.cast(&code, Dtype::Int64)))
}
