//! `urm`: one block of rotary attention and a gated feed-forward part, applied in a loop. The loop is
//! unrolled; every round uses the same initializers.

use amphora_checkpoint::architecture::{FeedForward, UrmConfig};
use amphora_error::Result;
use amphora_onnx::build::{Attribute, Value};

use crate::attention::{attention, heads_first, masked_mean, real_mask};
use crate::emitter::Emitter;

pub(crate) fn forward(
    emitter: &mut Emitter<'_>,
    config: &UrmConfig,
    ids: &Value,
    mask: &Value,
) -> Result<Vec<Value>> {
    let embedding = emitter.weight("embed.weight")?;
    let steps = emitter.weight("step.weight")?;
    let rotation = rotation(emitter, config, ids)?;
    let graph = &mut emitter.graph;
    let axis = ("axis", Attribute::Int(0));
    let tokens = graph.node("Gather", &[&embedding, ids], std::slice::from_ref(&axis));

    // Padding is pushed down by a finite bias: a row of padding alone still has a softmax.
    let kept = real_mask(graph, mask);
    let one = graph.scalar(1.0);
    let mask_bias = graph.scalar(config.mask_bias as f32);
    let padding = graph.binary("Sub", &one, &kept);
    let bias = graph.binary("Mul", &padding, &mask_bias);
    let bias = graph.unsqueeze(&bias, &[1, 2]);

    let mut state: Option<Value> = None;
    for round in 0..config.loops {
        let graph = &mut emitter.graph;
        let round = graph.int64(round as i64);
        let step = graph.node("Gather", &[&steps, &round], std::slice::from_ref(&axis));
        // The state before the first round is zero.
        let x = match &state {
            Some(state) => graph.binary("Add", state, &tokens),
            None => tokens.clone(),
        };
        let x = graph.binary("Add", &x, &step);
        state = Some(block(emitter, config, &x, &bias, &rotation)?);
    }

    let x = emitter.rms_norm(&state.unwrap_or(tokens), "norm", config.rms_norm_eps)?;
    let features = masked_mean(&mut emitter.graph, &x, &kept);
    emitter.heads(&features, &config.heads)
}

/// Cosines and sines of the rotary angles, `[sequence, d_head]`.
struct Rotation {
    cos: Value,
    sin: Value,
}

fn rotation(emitter: &mut Emitter<'_>, config: &UrmConfig, ids: &Value) -> Result<Rotation> {
    let shape = [config.max_len, config.d_head()];
    let cos = emitter.buffer("rope_cos", &shape, || rotary_table(config, f64::cos))?;
    let sin = emitter.buffer("rope_sin", &shape, || rotary_table(config, f64::sin))?;
    Ok(Rotation {
        cos: emitter.graph.rows_for(&cos, ids, 1),
        sin: emitter.graph.rows_for(&sin, ids, 1),
    })
}

/// `function` of `position / theta^(2i / d_head)`, the angles twice side by side (Su et al. 2021,
/// in the arrangement that rotates halves).
fn rotary_table(config: &UrmConfig, function: impl Fn(f64) -> f64) -> Vec<f64> {
    let d_head = config.d_head();
    (0..config.max_len)
        .flat_map(|position| (0..d_head).map(move |column| (position, column % (d_head / 2))))
        .map(|(position, pair)| {
            let exponent = (2 * pair) as f64 / d_head as f64;
            function(position as f64 * (1.0 / config.rope_theta.powf(exponent)))
        })
        .collect()
}

fn block(
    emitter: &mut Emitter<'_>,
    config: &UrmConfig,
    x: &Value,
    bias: &Value,
    rotation: &Rotation,
) -> Result<Value> {
    let qkv = emitter.project(x, "block.qkv_proj.weight")?;
    let graph = &mut emitter.graph;
    let (heads, d_head, d) = (config.n_heads, config.d_head(), config.d_model as i64);
    // Queries and keys stay together: both are rotated.
    let [queries_keys, values] = graph.split(&qkv, -1, [2 * d, d]);
    let queries_keys = heads_first(graph, &queries_keys, 2 * heads, d_head);
    let values = heads_first(graph, &values, heads, d_head);

    let half = (d_head / 2) as i64;
    let [low, high] = graph.split(&queries_keys, -1, [half, half]);
    let negated = graph.unary("Neg", &high);
    let turned = graph.node("Concat", &[&negated, &low], &[("axis", Attribute::Int(-1))]);
    let straight = graph.binary("Mul", &queries_keys, &rotation.cos);
    let turned = graph.binary("Mul", &turned, &rotation.sin);
    let rotated = graph.binary("Add", &straight, &turned);
    let [queries, keys] = graph.split(&rotated, 1, [heads as i64; 2]);

    let context = attention(
        graph,
        [&queries, &keys, &values],
        bias,
        d_head,
        config.d_model,
    );
    let attended = emitter.project(&context, "block.o_proj.weight")?;
    let x = emitter.graph.binary("Add", x, &attended);
    let x = emitter.rms_norm(&x, "block.attn_norm", config.rms_norm_eps)?;
    let hidden = feed_forward(emitter, config, &x)?;
    let x = emitter.graph.binary("Add", &x, &hidden);
    emitter.rms_norm(&x, "block.mlp_norm", config.rms_norm_eps)
}

/// SwiGLU (Shazeer 2020), with a causal depthwise convolution over time where the configuration says so.
fn feed_forward(emitter: &mut Emitter<'_>, config: &UrmConfig, x: &Value) -> Result<Value> {
    let gate_up = emitter.project(x, "block.mlp.gate_up_proj.weight")?;
    let graph = &mut emitter.graph;
    let inner = config.d_inner as i64;
    let [gate, up] = graph.split(&gate_up, -1, [inner, inner]);
    let gate = graph.silu(&gate);
    let mut hidden = graph.binary("Mul", &gate, &up);
    if let FeedForward::ConvSwiGlu { kernel } = config.feed_forward {
        let kernel = kernel as i64;
        let weight = emitter.weight("block.mlp.dwconv.weight")?;
        let bias = emitter.weight("block.mlp.dwconv.bias")?;
        let graph = &mut emitter.graph;
        let channels_first = graph.transpose(&hidden, &[0, 2, 1]);
        let convolved = graph.node(
            "Conv",
            &[&channels_first, &weight, &bias],
            &[
                ("group", Attribute::Int(inner)),
                ("kernel_shape", Attribute::Ints(vec![kernel])),
                ("pads", Attribute::Ints(vec![kernel - 1, 0])),
            ],
        );
        let channels_last = graph.transpose(&convolved, &[0, 2, 1]);
        hidden = graph.silu(&channels_last);
    }
    emitter.project(&hidden, "block.mlp.down_proj.weight")
}
