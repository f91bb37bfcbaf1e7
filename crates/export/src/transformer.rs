//! `transformer`: `nn.TransformerEncoder` with `norm_first`, exact GELU and a final LayerNorm.

use amphora_checkpoint::architecture::TransformerConfig;
use amphora_error::Result;
use amphora_onnx::build::{Attribute, Value};

use crate::attention::{attention, heads_first, masked_mean, real_mask};
use crate::emitter::Emitter;

pub(crate) fn forward(
    emitter: &mut Emitter<'_>,
    config: &TransformerConfig,
    ids: &Value,
    mask: &Value,
) -> Result<Vec<Value>> {
    let embedding = emitter.weight("embed.weight")?;
    let positions = emitter.weight("pos.weight")?;
    let graph = &mut emitter.graph;
    let tokens = graph.node("Gather", &[&embedding, ids], &[("axis", Attribute::Int(0))]);
    let positions = graph.rows_for(&positions, ids, 1);
    let mut x = graph.binary("Add", &tokens, &positions);

    // Padding is excluded with minus infinity, as `src_key_padding_mask` does.
    let (zero_id, zero) = (graph.int64(0), graph.scalar(0.0));
    let excluded = graph.scalar(f32::NEG_INFINITY);
    let padding = graph.binary("Equal", mask, &zero_id);
    let bias = graph.node("Where", &[&padding, &excluded, &zero], &[]);
    let bias = graph.unsqueeze(&bias, &[1, 2]);

    let epsilon = config.layer_norm_eps;
    for layer in 0..config.n_layers {
        let name = |module: &str| format!("encoder.layers.{layer}.{module}");

        let normalized = emitter.layer_norm(&x, &name("norm1"), epsilon)?;
        let qkv = emitter.affine(
            &normalized,
            &name("self_attn.in_proj_weight"),
            &name("self_attn.in_proj_bias"),
        )?;
        let graph = &mut emitter.graph;
        let [queries, keys, values] = graph
            .split(&qkv, -1, [config.d_model as i64; 3])
            .map(|part| heads_first(graph, &part, config.n_heads, config.d_head()));
        let context = attention(
            graph,
            [&queries, &keys, &values],
            &bias,
            config.d_head(),
            config.d_model,
        );
        let attended = emitter.affine(
            &context,
            &name("self_attn.out_proj.weight"),
            &name("self_attn.out_proj.bias"),
        )?;
        x = emitter.graph.binary("Add", &x, &attended);

        let normalized = emitter.layer_norm(&x, &name("norm2"), epsilon)?;
        let hidden = emitter.affine(&normalized, &name("linear1.weight"), &name("linear1.bias"))?;
        let hidden = emitter.graph.gelu(&hidden);
        let hidden = emitter.affine(&hidden, &name("linear2.weight"), &name("linear2.bias"))?;
        x = emitter.graph.binary("Add", &x, &hidden);
    }

    let x = emitter.layer_norm(&x, "encoder.norm", epsilon)?;
    let kept = real_mask(&mut emitter.graph, mask);
    let features = masked_mean(&mut emitter.graph, &x, &kept);
    emitter.heads(&features, &config.heads)
}
