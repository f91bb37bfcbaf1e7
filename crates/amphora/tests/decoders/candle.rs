//! Seeded models in the implementation of candle-transformers, which shares nothing with ours.

use std::collections::HashMap;

use amphora_checkpoint::architecture::Architecture;
use amphora_export::ExportOptions;
use amphora_testing::each;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::{llama, qwen2, qwen3};
use serde_json::{Value, json};

use crate::families::config;
use crate::support::{Batch, Graphs, Random, close, furthest, last_row, seeded, seeded_checkpoint};

/// The logits of the token after `ids[..n]`, for each `n` from `first` on: the first at once, the others
/// from the cache.
type Logits = Box<dyn FnMut(&[i64], usize) -> Vec<Vec<f32>>>;

/// Builds a model from its configuration.
type Build = fn(&Value, VarBuilder<'_>) -> Logits;

fn weights(architecture: &Architecture) -> VarBuilder<'static> {
    let tensors: HashMap<String, Tensor> = seeded(architecture)
        .into_iter()
        .map(|(name, (shape, values))| {
            let shape: Vec<usize> = shape.into_iter().map(|size| size as usize).collect();
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

fn size(config: &Value, key: &str) -> usize {
    config[key].as_u64().unwrap() as usize
}

/// Steps through `ids`: `first` at once, then one by one.
fn step_through(
    ids: &[i64],
    first: usize,
    mut forward: impl FnMut(&Tensor, usize) -> candle_core::Result<Tensor>,
) -> Vec<Vec<f32>> {
    let parts = std::iter::once(0..first).chain((first..ids.len()).map(|place| place..place + 1));
    parts
        .map(|part| {
            let part_ids: Vec<u32> = ids[part.clone()].iter().map(|id| *id as u32).collect();
            let part_ids = Tensor::new(vec![part_ids], &Device::Cpu).unwrap();
            let logits = forward(&part_ids, part.start).unwrap();
            logits.flatten_all().unwrap().to_vec1().unwrap()
        })
        .collect()
}

fn qwen2(config: &Value, weights: VarBuilder<'_>) -> Logits {
    let sizes = qwen2::Config {
        vocab_size: size(config, "vocab_size"),
        hidden_size: size(config, "hidden_size"),
        intermediate_size: size(config, "intermediate_size"),
        num_hidden_layers: size(config, "num_hidden_layers"),
        num_attention_heads: size(config, "num_attention_heads"),
        num_key_value_heads: size(config, "num_key_value_heads"),
        max_position_embeddings: size(config, "max_position_embeddings"),
        sliding_window: size(config, "max_position_embeddings"),
        max_window_layers: 99,
        tie_word_embeddings: config["tie_word_embeddings"] == true,
        rope_theta: config["rope_theta"].as_f64().unwrap(),
        rms_norm_eps: 1e-6,
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    let mut model = qwen2::ModelForCausalLM::new(&sizes, weights).unwrap();
    Box::new(move |ids, first| {
        model.clear_kv_cache();
        step_through(ids, first, |ids, past| model.forward(ids, past))
    })
}

fn qwen3(config: &Value, weights: VarBuilder<'_>) -> Logits {
    let sizes = qwen3::Config {
        vocab_size: size(config, "vocab_size"),
        hidden_size: size(config, "hidden_size"),
        intermediate_size: size(config, "intermediate_size"),
        num_hidden_layers: size(config, "num_hidden_layers"),
        num_attention_heads: size(config, "num_attention_heads"),
        head_dim: size(config, "head_dim"),
        attention_bias: false,
        num_key_value_heads: size(config, "num_key_value_heads"),
        max_position_embeddings: size(config, "max_position_embeddings"),
        sliding_window: None,
        max_window_layers: 99,
        tie_word_embeddings: config["tie_word_embeddings"] == true,
        rope_theta: config["rope_theta"].as_f64().unwrap(),
        rms_norm_eps: 1e-6,
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    let mut model = qwen3::ModelForCausalLM::new(&sizes, weights).unwrap();
    Box::new(move |ids, first| {
        model.clear_kv_cache();
        step_through(ids, first, |ids, past| model.forward(ids, past))
    })
}

fn llama(config: &Value, weights: VarBuilder<'_>) -> Logits {
    let scaling = config.get("rope_scaling");
    let sizes = llama::Config {
        hidden_size: size(config, "hidden_size"),
        intermediate_size: size(config, "intermediate_size"),
        vocab_size: size(config, "vocab_size"),
        num_hidden_layers: size(config, "num_hidden_layers"),
        num_attention_heads: size(config, "num_attention_heads"),
        num_key_value_heads: size(config, "num_key_value_heads"),
        use_flash_attn: false,
        rms_norm_eps: 1e-6,
        rope_theta: config["rope_theta"].as_f64().unwrap() as f32,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: scaling.map(|scaling| serde_json::from_value(scaling.clone()).unwrap()),
        max_position_embeddings: size(config, "max_position_embeddings"),
        tie_word_embeddings: config["tie_word_embeddings"] == true,
    };
    let model = llama::Llama::load(weights, &sizes).unwrap();
    Box::new(move |ids, first| {
        let mut cache = llama::Cache::new(true, DType::F32, &sizes, &Device::Cpu).unwrap();
        step_through(ids, first, |ids, past| model.forward(ids, past, &mut cache))
    })
}

#[test]
fn seeded_models_compute_what_candle_transformers_does() {
    let llama3 = json!({
        "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    });
    let rows: Vec<(Value, Build)> = vec![
        (
            config("qwen2", "Qwen2ForCausalLM", json!({"rope_theta": 1e6})),
            qwen2,
        ),
        (
            config(
                "qwen2",
                "Qwen2ForCausalLM",
                json!({"rope_theta": 1e4, "tie_word_embeddings": true}),
            ),
            qwen2,
        ),
        (
            config(
                "qwen3",
                "Qwen3ForCausalLM",
                json!({"rope_theta": 1e6, "head_dim": 8, "tie_word_embeddings": true}),
            ),
            qwen3,
        ),
        (
            config("llama", "LlamaForCausalLM", json!({"rope_theta": 1e4})),
            llama,
        ),
        (
            config(
                "llama",
                "LlamaForCausalLM",
                json!({"rope_theta": 5e5, "rope_scaling": llama3, "tie_word_embeddings": true}),
            ),
            llama,
        ),
    ];
    each(&rows, |(config, candle)| {
        let architecture = Architecture::from_config(config).unwrap();
        let checkpoint = seeded_checkpoint(&architecture);
        let mut graphs = Graphs::new(&architecture, &checkpoint, &ExportOptions::default());
        let mut other = candle(config, weights(&architecture));
        let ids = Random(5).ids(40, 24);
        let expected = other(&ids, 17);
        let mut outputs = graphs.read(&Batch::one(&ids[..17]));
        for (step, expected) in expected.iter().enumerate() {
            let found = last_row(&outputs["logits"], 0);
            close(&format!("step {step}"), furthest(&found, expected))?;
            if let Some(next) = ids.get(17 + step) {
                let next = Batch {
                    ids: vec![vec![*next]],
                    mask: vec![vec![1; 18 + step]],
                };
                outputs = graphs.go_on(&next, &outputs);
            }
        }
        Ok::<(), String>(())
    });
}
