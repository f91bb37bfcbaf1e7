//! `resnet`: residual convolutional networks over pictures.

use amphora_checkpoint::architecture::{ConvolutionNorm, ResNetConfig};
use amphora_error::Result;
use amphora_onnx::build::{Attribute, Value};

use crate::emitter::Emitter;

/// PyTorch's default epsilon of batch normalization.
const NORM_EPSILON: f64 = 1e-5;

pub(crate) fn forward(
    emitter: &mut Emitter<'_>,
    config: &ResNetConfig,
    pixels: &Value,
) -> Result<Vec<Value>> {
    let x = convolution(emitter, &config.stem(), pixels)?;
    let x = emitter.graph.unary("Relu", &x);
    let mut x = emitter.graph.node(
        "MaxPool",
        &[&x],
        &[
            ("kernel_shape", Attribute::Ints(vec![3; 2])),
            ("pads", Attribute::Ints(vec![1; 4])),
            ("strides", Attribute::Ints(vec![2; 2])),
        ],
    );
    for block in config.residual_blocks() {
        let shortcut = match &block.shortcut {
            Some(layer) => convolution(emitter, layer, &x)?,
            None => x.clone(),
        };
        for (place, layer) in block.convolutions.iter().enumerate() {
            if place > 0 {
                x = emitter.graph.unary("Relu", &x);
            }
            x = convolution(emitter, layer, &x)?;
        }
        let sum = emitter.graph.binary("Add", &x, &shortcut);
        x = emitter.graph.unary("Relu", &sum);
    }
    let pooled = emitter.graph.unary("GlobalAveragePool", &x);
    let axis = ("axis", Attribute::Int(1));
    let features = emitter.graph.node("Flatten", &[&pooled], &[axis]);
    Ok(vec![emitter.linear(&features, config.classifier())?])
}

fn convolution(emitter: &mut Emitter<'_>, layer: &ConvolutionNorm, x: &Value) -> Result<Value> {
    let [kernel, stride, padding] =
        [layer.kernel, layer.stride, layer.padding()].map(|size| size as i64);
    let weight = emitter.weight(&format!("{}.weight", layer.conv))?;
    let x = emitter.graph.node(
        "Conv",
        &[x, &weight],
        &[
            ("kernel_shape", Attribute::Ints(vec![kernel; 2])),
            ("pads", Attribute::Ints(vec![padding; 4])),
            ("strides", Attribute::Ints(vec![stride; 2])),
        ],
    );
    emitter.batch_norm(&x, &layer.norm, NORM_EPSILON)
}
