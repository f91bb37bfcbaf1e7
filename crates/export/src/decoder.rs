//! `gpt2`, `llama`, `qwen2`, `qwen3`: pre-norm decoders with causal attention, as one graph that reads a
//! prompt and one that goes on from its keys and values, or as one graph of hidden states.

use amphora_checkpoint::architecture::{
    DecoderConfig, DecoderPositions, DecoderTask, FeedForwardModules, MatrixLayout, Norm,
    Projections,
};
use amphora_error::{Error, Result};
use amphora_onnx::build::{Attribute, Value};

use crate::attention::heads_first;
use crate::emitter::Emitter;
use crate::rotary::{self, Rotation};

/// Past the end of every axis, in a form that 32 bits hold.
const END: i64 = i32::MAX as i64;

pub(crate) fn forward(
    emitter: &mut Emitter<'_>,
    config: &DecoderConfig,
    inputs: &[Value],
) -> Result<Vec<Value>> {
    let [ids, mask, past @ ..] = inputs else {
        return Err(Error::internal(
            "architecture-inputs",
            "a decoder reads ids and a mask",
        ));
    };
    let past: Vec<[&Value; 2]> = past.chunks_exact(2).map(|kv| [&kv[0], &kv[1]]).collect();
    let scene = scene(emitter, config, mask, past.first().map(|[key, _]| *key))?;

    let table = emitter.weight(&config.module(&format!("{}.weight", config.family.tokens)))?;
    let axis = [("axis", Attribute::Int(0))];
    let mut x = emitter.graph.node("Gather", &[&table, ids], &axis);
    if let DecoderPositions::Table(name) = config.family.positions {
        let table = emitter.weight(&config.module(&format!("{name}.weight")))?;
        let graph = &mut emitter.graph;
        let places = graph.node("Gather", &[&table, &scene.places], &axis);
        x = graph.binary("Add", &x, &places);
    }
    let mut cache = Vec::new();
    for layer in 0..config.layers {
        let past = past.get(layer as usize).copied();
        x = block(emitter, config, layer, &x, &scene, past, &mut cache)?;
    }
    let x = norm(
        emitter,
        config,
        &x,
        &config.module(config.family.final_norm),
    )?;
    match config.task {
        DecoderTask::Features => Ok(vec![x]),
        DecoderTask::CausalLm => {
            let logits = emitter.vocabulary(&x, ids, &config.head(), None)?;
            Ok(std::iter::once(logits).chain(cache).collect())
        }
    }
}

/// What every layer shares.
struct Scene {
    /// The place of each token among those that the mask keeps, from 0: `[batch, sequence]`.
    places: Value,
    /// Added to the scores of attention: `[batch, 1, sequence, total]`.
    bias: Value,
    rotation: Option<Rotation>,
}

/// Everything that follows from the mask (`[batch, total]`) and the number of tokens before it.
fn scene(
    emitter: &mut Emitter<'_>,
    config: &DecoderConfig,
    mask: &Value,
    past: Option<&Value>,
) -> Result<Scene> {
    let graph = &mut emitter.graph;
    let (zero, one) = (graph.int64(0), graph.int64(1));
    let shape = graph.unary("Shape", mask);
    let axis = [("axis", Attribute::Int(0))];
    let total = graph.node("Gather", &[&shape, &one], &axis);
    // Padding counts as nothing, on whichever side it stands.
    let counted = graph.binary("CumSum", mask, &one);
    let counted = graph.binary("Sub", &counted, &one);
    let mut places = graph.binary("Mul", &counted, mask);
    let mut first = zero.clone();
    if let Some(past) = past {
        let (shape, two) = (graph.unary("Shape", past), graph.int64(2));
        first = graph.node("Gather", &[&shape, &two], &axis);
        let start = graph.unsqueeze(&first, &[0]);
        let (end, along) = (graph.int64s(&[END]), graph.int64s(&[1]));
        places = graph.node("Slice", &[&places, &start, &end, &along], &[]);
    }

    // A token sees itself and what came before it. The least finite number keeps a softmax over nothing
    // but padding a number.
    let keys = graph.node("Range", &[&zero, &total, &one], &[]);
    let queries = graph.node("Range", &[&first, &total, &one], &[]);
    let queries = graph.unsqueeze(&queries, &[1]);
    let later = graph.binary("Greater", &keys, &queries);
    let padding = graph.binary("Equal", mask, &zero);
    let padding = graph.unsqueeze(&padding, &[1, 2]);
    let excluded = graph.binary("Or", &padding, &later);
    let (least, kept) = (graph.scalar(f32::MIN), graph.scalar(0.0));
    let bias = graph.node("Where", &[&excluded, &least, &kept], &[]);
    let rotation = match &config.rotary {
        Some(rotary) => Some(rotary::rotation(emitter, rotary, config.d_head, &places)?),
        None => None,
    };
    Ok(Scene {
        places,
        bias,
        rotation,
    })
}

/// One layer; the keys and values that it attends to are added to `cache`.
fn block(
    emitter: &mut Emitter<'_>,
    config: &DecoderConfig,
    layer: u64,
    x: &Value,
    scene: &Scene,
    past: Option<[&Value; 2]>,
    cache: &mut Vec<Value>,
) -> Result<Value> {
    let modules = &config.family.layer;
    let name = |module: &str| config.layer_module(layer, module);
    let normalized = norm(emitter, config, x, &name(modules.attention_norm))?;
    let [mut queries, mut keys, mut values] = projections(emitter, config, layer, &normalized)?;
    if let Some(rotation) = &scene.rotation {
        queries = rotation.turn(&mut emitter.graph, &queries);
        keys = rotation.turn(&mut emitter.graph, &keys);
    }
    if let Some([past_keys, past_values]) = past {
        let axis = [("axis", Attribute::Int(2))];
        let graph = &mut emitter.graph;
        keys = graph.node("Concat", &[past_keys, &keys], &axis);
        values = graph.node("Concat", &[past_values, &values], &axis);
    }
    let context = attention(emitter, config, [&queries, &keys, &values], &scene.bias);
    cache.extend([keys, values]);
    let attended = name(modules.attended);
    let attended = linear(emitter, config, &context, &attended, config.attended_bias)?;
    let x = emitter.graph.binary("Add", x, &attended);

    let normalized = norm(emitter, config, &x, &name(modules.feed_forward_norm))?;
    let bias = config.feed_forward_bias;
    let wide = |emitter: &mut Emitter<'_>, module: &str| {
        linear(emitter, config, &normalized, &name(module), bias)
    };
    let (hidden, last) = match modules.feed_forward {
        FeedForwardModules::Plain { inner, outer } => {
            let hidden = wide(emitter, inner)?;
            (emitter.activate(config.activation, &hidden), outer)
        }
        FeedForwardModules::Gated { gate, up, down } => {
            let gate = wide(emitter, gate)?;
            let gate = emitter.activate(config.activation, &gate);
            let up = wide(emitter, up)?;
            (emitter.graph.binary("Mul", &gate, &up), down)
        }
    };
    let hidden = linear(emitter, config, &hidden, &name(last), bias)?;
    Ok(emitter.graph.binary("Add", &x, &hidden))
}

/// Queries, keys and values as `[batch, heads, sequence, d_head]`.
fn projections(
    emitter: &mut Emitter<'_>,
    config: &DecoderConfig,
    layer: u64,
    x: &Value,
) -> Result<[Value; 3]> {
    let modules = &config.family.layer;
    let name = |module: &str| config.layer_module(layer, module);
    let bias = config.projection_bias;
    let heads = [config.attention_heads, config.kv_heads, config.kv_heads];
    let d_head = config.d_head;
    let flat = match modules.projections {
        Projections::Packed(packed) => {
            let packed = linear(emitter, config, x, &name(packed), bias)?;
            let widths = heads.map(|heads| (heads * d_head) as i64);
            emitter.graph.split(&packed, -1, widths)
        }
        Projections::Separate { query, key, value } => [
            linear(emitter, config, x, &name(query), bias)?,
            linear(emitter, config, x, &name(key), bias)?,
            linear(emitter, config, x, &name(value), bias)?,
        ],
    };
    let [queries, keys, values] = flat;
    let [query_norm, key_norm] = match modules.query_key_norms {
        Some(norms) => norms.map(Some),
        None => [None; 2],
    };
    let mut split = |x: &Value, heads: u64, normalized: Option<&str>| -> Result<Value> {
        let Some(module) = normalized else {
            return Ok(heads_first(&mut emitter.graph, x, heads, d_head));
        };
        let x = emitter
            .graph
            .reshape(x, &[0, 0, heads as i64, d_head as i64]);
        let x = norm(emitter, config, &x, &name(module))?;
        Ok(emitter.graph.transpose(&x, &[0, 2, 1, 3]))
    };
    Ok([
        split(&queries, heads[0], query_norm)?,
        split(&keys, heads[1], key_norm)?,
        split(&values, heads[2], None)?,
    ])
}

/// Scaled dot-product attention. Queries that share keys and values lie side by side, so that one
/// product serves them all and nothing is repeated (Ainslie et al. 2023).
fn attention(
    emitter: &mut Emitter<'_>,
    config: &DecoderConfig,
    [queries, keys, values]: [&Value; 3],
    bias: &Value,
) -> Value {
    let graph = &mut emitter.graph;
    let (heads, groups) = (config.attention_heads as i64, config.kv_heads as i64);
    let (d_head, shared) = (config.d_head as i64, heads != groups);
    let queries = match shared {
        true => graph.reshape(queries, &[0, groups, -1, d_head]),
        false => queries.clone(),
    };
    let keys = graph.transpose(keys, &[0, 1, 3, 2]);
    let products = graph.binary("MatMul", &queries, &keys);
    let root = graph.scalar((config.d_head as f64).sqrt() as f32);
    let mut scores = graph.binary("Div", &products, &root);
    if shared {
        scores = graph.reshape(&scores, &[0, heads, -1, 0]);
    }
    let biased = graph.binary("Add", &scores, bias);
    let mut weights = graph.softmax(&biased);
    if shared {
        weights = graph.reshape(&weights, &[0, groups, -1, 0]);
    }
    let mut context = graph.binary("MatMul", &weights, values);
    if shared {
        context = graph.reshape(&context, &[0, heads, -1, d_head]);
    }
    let context = graph.transpose(&context, &[0, 2, 1, 3]);
    graph.reshape(&context, &[0, 0, heads * d_head])
}

fn norm(
    emitter: &mut Emitter<'_>,
    config: &DecoderConfig,
    x: &Value,
    module: &str,
) -> Result<Value> {
    match config.family.norm {
        Norm::Layer => emitter.layer_norm(x, module, config.norm_eps),
        Norm::RootMeanSquare => emitter.rms_norm(x, module, config.norm_eps),
    }
}

/// A linear layer over the last axis of a sequence.
fn linear(
    emitter: &mut Emitter<'_>,
    config: &DecoderConfig,
    x: &Value,
    module: &str,
    bias: bool,
) -> Result<Value> {
    let weight = format!("{module}.weight");
    let product = match config.family.layout {
        MatrixLayout::OutIn => emitter.project(x, &weight)?,
        MatrixLayout::InOut => {
            let weight = emitter.weight(&weight)?;
            emitter.graph.binary("MatMul", x, &weight)
        }
    };
    if !bias {
        return Ok(product);
    }
    let bias = emitter.weight(&format!("{module}.bias"))?;
    Ok(emitter.graph.binary("Add", &product, &bias))
}
