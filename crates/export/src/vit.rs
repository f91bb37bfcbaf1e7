//! `vit`: patches of a picture as a sequence, pre-norm layers, and a classifier where the class has one.

use amphora_checkpoint::architecture::VitConfig;
use amphora_error::Result;
use amphora_onnx::build::{Attribute, Value};

use crate::attention::{heads_first, unmasked_attention};
use crate::emitter::Emitter;

pub(crate) fn forward(
    emitter: &mut Emitter<'_>,
    config: &VitConfig,
    pixels: &Value,
) -> Result<Vec<Value>> {
    let mut x = embeddings(emitter, config, pixels)?;
    for layer in 0..config.layers {
        x = block(emitter, config, layer, &x)?;
    }
    let x = emitter.layer_norm(&x, &config.module("layernorm"), config.layer_norm_eps)?;
    if config.labels.is_none() {
        return Ok(vec![x]);
    }
    let first = emitter.graph.int64(0);
    let axis = ("axis", Attribute::Int(1));
    let first = emitter.graph.node("Gather", &[&x, &first], &[axis]);
    Ok(vec![emitter.linear(&first, "classifier")?])
}

/// `[batch, 1 + patches, width]`: a learned vector for the class, then the patches, row by row.
fn embeddings(emitter: &mut Emitter<'_>, config: &VitConfig, pixels: &Value) -> Result<Value> {
    let name = |part: &str| config.module(&format!("embeddings.{part}"));
    let weight = emitter.weight(&name("patch_embeddings.projection.weight"))?;
    let bias = emitter.weight(&name("patch_embeddings.projection.bias"))?;
    let class = emitter.weight(&name("cls_token"))?;
    let positions = emitter.weight(&name("position_embeddings"))?;
    let sides: Vec<i64> = config.patch.iter().map(|side| *side as i64).collect();
    let width = config.width as i64;

    let graph = &mut emitter.graph;
    let patches = graph.node(
        "Conv",
        &[pixels, &weight, &bias],
        &[
            ("kernel_shape", Attribute::Ints(sides.clone())),
            ("strides", Attribute::Ints(sides)),
        ],
    );
    let patches = graph.reshape(&patches, &[0, width, -1]);
    let patches = graph.transpose(&patches, &[0, 2, 1]);
    let shape = graph.unary("Shape", pixels);
    let [zero, one] = [0, 1].map(|place| graph.int64s(&[place]));
    let batch = graph.node("Slice", &[&shape, &zero, &one, &zero], &[]);
    let rest = graph.int64s(&[1, width]);
    let axis = ("axis", Attribute::Int(0));
    let shape = graph.node("Concat", &[&batch, &rest], &[axis]);
    let class = graph.binary("Expand", &class, &shape);
    let axis = ("axis", Attribute::Int(1));
    let sequence = graph.node("Concat", &[&class, &patches], &[axis]);
    Ok(graph.binary("Add", &sequence, &positions))
}

fn block(emitter: &mut Emitter<'_>, config: &VitConfig, layer: u64, x: &Value) -> Result<Value> {
    let name = |module: &str| config.layer_module(layer, module);
    let affine = |emitter: &mut Emitter<'_>, x: &Value, module: &str| {
        let module = name(module);
        emitter.affine(x, &format!("{module}.weight"), &format!("{module}.bias"))
    };
    let eps = config.layer_norm_eps;
    let normed = emitter.layer_norm(x, &name("layernorm_before"), eps)?;
    let mut heads = Vec::with_capacity(3);
    for part in ["query", "key", "value"] {
        let module = format!("attention.attention.{part}");
        let projected = match config.qkv_bias {
            true => affine(emitter, &normed, &module)?,
            false => emitter.project(&normed, &format!("{}.weight", name(&module)))?,
        };
        let graph = &mut emitter.graph;
        heads.push(heads_first(
            graph,
            &projected,
            config.attention_heads,
            config.d_head(),
        ));
    }
    let context = unmasked_attention(
        &mut emitter.graph,
        [&heads[0], &heads[1], &heads[2]],
        config.d_head(),
        config.width,
    );
    let attended = affine(emitter, &context, "attention.output.dense")?;
    let x = emitter.graph.binary("Add", &attended, x);
    let normed = emitter.layer_norm(&x, &name("layernorm_after"), eps)?;
    let inner = affine(emitter, &normed, "intermediate.dense")?;
    let inner = emitter.activate(config.activation, &inner);
    let outer = affine(emitter, &inner, "output.dense")?;
    Ok(emitter.graph.binary("Add", &outer, &x))
}
