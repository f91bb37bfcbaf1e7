//! `bert`, `roberta`, `distilbert`: post-norm text encoders, with a classifier where the class has one.

use amphora_checkpoint::architecture::{EncoderConfig, EncoderTask, Positions};
use amphora_error::{Error, Result};
use amphora_onnx::Dtype;
use amphora_onnx::build::{Attribute, Value};

use crate::attention::{attention, heads_first, real_mask};
use crate::emitter::Emitter;

pub(crate) fn forward(
    emitter: &mut Emitter<'_>,
    config: &EncoderConfig,
    inputs: &[Value],
) -> Result<Vec<Value>> {
    let [ids, mask, segments @ ..] = inputs else {
        return Err(Error::internal(
            "architecture-inputs",
            "an encoder reads ids and a mask",
        ));
    };
    let mut x = embeddings(emitter, config, ids, segments.first())?;

    // The least finite number, as the implementation that trained the weights has it: a row of padding
    // alone still has a softmax.
    let kept = real_mask(&mut emitter.graph, mask);
    let graph = &mut emitter.graph;
    let (one, least) = (graph.scalar(1.0), graph.scalar(f32::MIN));
    let padding = graph.binary("Sub", &one, &kept);
    let bias = graph.binary("Mul", &padding, &least);
    let bias = graph.unsqueeze(&bias, &[1, 2]);

    for layer in 0..config.layers {
        x = block(emitter, config, layer, &x, &bias)?;
    }

    let classifier = &config.family.classifier;
    let result = match config.task {
        EncoderTask::Features => x,
        EncoderTask::TokenClassification { .. } => {
            emitter.affine(&x, "classifier.weight", "classifier.bias")?
        }
        EncoderTask::SequenceClassification { .. } => {
            let first = emitter.graph.int64(0);
            let axis = ("axis", Attribute::Int(1));
            let first = emitter.graph.node("Gather", &[&x, &first], &[axis]);
            let dense = emitter.linear(&first, classifier.dense)?;
            let active = emitter.activate(classifier.activation, &dense);
            emitter.linear(&active, classifier.output)?
        }
        EncoderTask::MaskedLm { .. } => {
            let head = &config.family.masked_lm;
            let [weight, bias] = ["weight", "bias"].map(|part| format!("{}.{part}", head.dense));
            let dense = emitter.affine(&x, &weight, &bias)?;
            let active = emitter.activate(config.masked_lm_activation(), &dense);
            let normed = emitter.layer_norm(&active, head.norm, config.layer_norm_eps)?;
            emitter.vocabulary(&normed, ids, &config.masked_lm_rows(), Some(head.bias))?
        }
    };
    Ok(vec![result])
}

fn embeddings(
    emitter: &mut Emitter<'_>,
    config: &EncoderConfig,
    ids: &Value,
    segments: Option<&Value>,
) -> Result<Value> {
    let name = |table: &str| config.module(&format!("embeddings.{table}"));
    let words = emitter.weight(&config.words())?;
    let positions = emitter.weight(&name("position_embeddings.weight"))?;
    let axis = [("axis", Attribute::Int(0))];
    let mut x = emitter.graph.node("Gather", &[&words, ids], &axis);
    if config.segments > 0 {
        let kinds = emitter.weight(&name("token_type_embeddings.weight"))?;
        let graph = &mut emitter.graph;
        // A family without segments as an input is of the first kind throughout.
        let kind = match segments {
            Some(segments) => segments.clone(),
            None => graph.int64(0),
        };
        let kind = graph.node("Gather", &[&kinds, &kind], &axis);
        x = graph.binary("Add", &x, &kind);
    }
    let graph = &mut emitter.graph;
    let places = match config.family.positions {
        Positions::FromZero => graph.rows_for(&positions, ids, 1),
        Positions::AfterPadding => {
            let pad = graph.int64(config.pad_id as i64);
            let padding = graph.binary("Equal", ids, &pad);
            let tokens = graph.unary("Not", &padding);
            let tokens = graph.cast(&tokens, Dtype::Int64);
            let along = graph.int64(1);
            let counted = graph.binary("CumSum", &tokens, &along);
            let counted = graph.binary("Mul", &counted, &tokens);
            let places = graph.binary("Add", &counted, &pad);
            graph.node("Gather", &[&positions, &places], &axis)
        }
    };
    let x = graph.binary("Add", &x, &places);
    emitter.layer_norm(&x, &name("LayerNorm"), config.layer_norm_eps)
}

fn block(
    emitter: &mut Emitter<'_>,
    config: &EncoderConfig,
    layer: u64,
    x: &Value,
    bias: &Value,
) -> Result<Value> {
    let names = &config.family.layer;
    let affine = |emitter: &mut Emitter<'_>, x: &Value, module: &str| {
        let module = config.layer_module(layer, module);
        emitter.affine(x, &format!("{module}.weight"), &format!("{module}.bias"))
    };
    let mut heads = Vec::with_capacity(3);
    for module in [names.query, names.key, names.value] {
        let projected = affine(emitter, x, module)?;
        let graph = &mut emitter.graph;
        heads.push(heads_first(
            graph,
            &projected,
            config.attention_heads,
            config.d_head(),
        ));
    }
    let [queries, keys, values] = [&heads[0], &heads[1], &heads[2]];
    let context = attention(
        &mut emitter.graph,
        [queries, keys, values],
        bias,
        config.d_head(),
        config.width,
    );
    let attended = affine(emitter, &context, names.attended)?;
    let x = emitter.graph.binary("Add", &attended, x);
    let norm = config.layer_module(layer, names.attended_norm);
    let x = emitter.layer_norm(&x, &norm, config.layer_norm_eps)?;
    let inner = affine(emitter, &x, names.inner)?;
    let inner = emitter.activate(config.activation, &inner);
    let outer = affine(emitter, &inner, names.outer)?;
    let x = emitter.graph.binary("Add", &outer, &x);
    let norm = config.layer_module(layer, names.outer_norm);
    emitter.layer_norm(&x, &norm, config.layer_norm_eps)
}
