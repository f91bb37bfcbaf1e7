//! What the two token models share: multi-head attention and the masked mean.

use amphora_onnx::Dtype;
use amphora_onnx::build::{GraphBuilder, Reduction, Value};

/// `x` of `[batch, sequence, n_heads * d_head]` as `[batch, n_heads, sequence, d_head]`.
pub(crate) fn heads_first(graph: &mut GraphBuilder, x: &Value, n_heads: u64, d_head: u64) -> Value {
    let split = graph.reshape(x, &[0, 0, n_heads as i64, d_head as i64]);
    graph.transpose(&split, &[0, 2, 1, 3])
}

/// Scaled dot-product attention (Vaswani et al. 2017): queries, keys and values are
/// `[batch, n_heads, sequence, d_head]`, `bias` is added to the scores and broadcasts to
/// `[batch, n_heads, sequence, sequence]`; the result is `[batch, sequence, d_model]`.
pub(crate) fn attention(
    graph: &mut GraphBuilder,
    [queries, keys, values]: [&Value; 3],
    bias: &Value,
    d_head: u64,
    d_model: u64,
) -> Value {
    let scores = scores(graph, queries, keys, d_head);
    let biased = graph.binary("Add", &scores, bias);
    gathered(graph, &biased, values, d_model)
}

/// [`attention`] where every place sees every other.
pub(crate) fn unmasked_attention(
    graph: &mut GraphBuilder,
    [queries, keys, values]: [&Value; 3],
    d_head: u64,
    d_model: u64,
) -> Value {
    let scores = scores(graph, queries, keys, d_head);
    gathered(graph, &scores, values, d_model)
}

fn scores(graph: &mut GraphBuilder, queries: &Value, keys: &Value, d_head: u64) -> Value {
    let keys = graph.transpose(keys, &[0, 1, 3, 2]);
    let products = graph.binary("MatMul", queries, &keys);
    let root = graph.scalar((d_head as f64).sqrt() as f32);
    graph.binary("Div", &products, &root)
}

fn gathered(graph: &mut GraphBuilder, scores: &Value, values: &Value, d_model: u64) -> Value {
    let weights = graph.softmax(scores);
    let context = graph.binary("MatMul", &weights, values);
    let context = graph.transpose(&context, &[0, 2, 1, 3]);
    graph.reshape(&context, &[0, 0, d_model as i64])
}

/// The mean of `x` over the sequence, counting only what `mask` (`[batch, sequence]`, float32)
/// keeps; the mean of nothing is zero.
pub(crate) fn masked_mean(graph: &mut GraphBuilder, x: &Value, mask: &Value) -> Value {
    let mask = graph.unsqueeze(mask, &[2]);
    let kept = graph.binary("Mul", x, &mask);
    let sum = graph.reduce(Reduction::Sum, &kept, &[1], false);
    let count = graph.reduce(Reduction::Sum, &mask, &[1], false);
    let one = graph.scalar(1.0);
    let count = graph.binary("Max", &count, &one);
    graph.binary("Div", &sum, &count)
}

/// The integer mask as float32.
pub(crate) fn real_mask(graph: &mut GraphBuilder, mask: &Value) -> Value {
    graph.cast(mask, Dtype::Float32)
}
