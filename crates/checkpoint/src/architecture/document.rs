//! Writing a configuration in document 000's completed form.

use serde_json::{Map, Value, json};

use super::{Architecture, Axis, FeedForward, Head, Port};

pub(super) fn write(architecture: &Architecture, opset: u64) -> Value {
    let mut object = Map::new();
    object.insert("model_type".into(), architecture.model_type().into());
    let fields = match architecture {
        Architecture::Mlp(c) => json!({
            "d_in": c.d_in,
            "d_hidden": c.hidden_sizes.first(),
            "n_layers": c.hidden_sizes.len(),
            "hidden_sizes": c.hidden_sizes,
            "activation": "relu",
            "norm": "layernorm",
            "layer_norm_eps": c.layer_norm_eps,
            "dropout": 0.0,
            "heads": heads(&c.heads),
        }),
        Architecture::Transformer(c) => json!({
            "vocab_size": c.vocab_size,
            "d_model": c.d_model,
            "n_layers": c.n_layers,
            "n_heads": c.n_heads,
            "d_ff": c.d_ff,
            "max_len": c.max_len,
            "activation": "gelu",
            "norm": "pre_layernorm",
            "layer_norm_eps": c.layer_norm_eps,
            "positions": "learned",
            "pooling": "masked_mean",
            "pad_id": c.pad_id,
            "dropout": 0.0,
            "heads": heads(&c.heads),
        }),
        Architecture::Urm(c) => {
            let (mlp, kernel) = match c.feed_forward {
                FeedForward::SwiGlu => ("swiglu", None),
                FeedForward::ConvSwiGlu { kernel } => ("conv_swiglu", Some(kernel)),
            };
            json!({
                "vocab_size": c.vocab_size,
                "d_model": c.d_model,
                "n_heads": c.n_heads,
                "d_inner": c.d_inner,
                "loops": c.loops,
                "max_len": c.max_len,
                "mlp": mlp,
                "conv_kernel": kernel,
                "norm": "post_rmsnorm",
                "rms_norm_eps": c.rms_norm_eps,
                "positions": "rope",
                "rope_theta": c.rope_theta,
                "mask_bias": c.mask_bias,
                "pooling": "masked_mean",
                "pad_id": c.pad_id,
                "dropout": 0.0,
                "heads": heads(&c.heads),
            })
        }
        Architecture::Conv2dFsq(c) => json!({
            "input_shape": ["batch", c.channels, c.sensors, c.window],
            "fsq_levels": c.fsq_levels,
            "fsq_eps": c.fsq_eps,
            "n_classes": c.n_classes,
            "dropout": 0.0,
        }),
        Architecture::Encoder(c) => c.document(),
        Architecture::Decoder(c) => c.document(),
        Architecture::ResNet(c) => c.document(),
        Architecture::Vit(c) => c.document(),
    };
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    object.insert("onnx".into(), onnx(architecture, opset));
    Value::Object(object)
}

fn heads(heads: &[Head]) -> Value {
    heads
        .iter()
        .map(|head| (head.name.clone(), json!({ "n_classes": head.n_classes })))
        .collect()
}

fn onnx(architecture: &Architecture, opset: u64) -> Value {
    let (inputs, outputs) = (architecture.inputs(), architecture.outputs());
    let names = |ports: &[Port]| {
        ports
            .iter()
            .map(|port| port.name.clone())
            .collect::<Value>()
    };
    let dynamic_axes: Value = inputs
        .iter()
        .chain(&outputs)
        .map(|port| (port.name.clone(), dynamic_axes(port)))
        .collect();
    json!({
        "opset_version": opset,
        "input_names": names(&inputs),
        "output_names": names(&outputs),
        "dynamic_axes": dynamic_axes,
    })
}

fn dynamic_axes(port: &Port) -> Value {
    port.shape
        .iter()
        .enumerate()
        .filter_map(|(axis, size)| match size {
            Axis::Dynamic { name, .. } => Some((axis.to_string(), Value::from(*name))),
            Axis::Fixed(_) => None,
        })
        .collect()
}
