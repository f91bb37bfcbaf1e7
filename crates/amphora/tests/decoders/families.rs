//! Every family and form on small seeded weights: against the reference, and against itself.

use amphora_checkpoint::architecture::{Architecture, GraphRole};
use amphora_export::ExportOptions;
use amphora_models::{Precision, reference};
use amphora_testing::each;
use serde_json::{Value, json};

use crate::support::{
    Batch, Graphs, Outputs, Pad, Random, Truth, close, furthest, last_row, seeded_checkpoint,
    token_row, truth,
};

const VOCABULARY: usize = 40;

/// A small configuration of a family, with some keys replaced.
pub(crate) fn config(model_type: &str, class: &str, changed: Value) -> Value {
    let mut config = match model_type {
        "gpt2" => json!({
            "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 32,
            "activation_function": "gelu_new",
        }),
        _ => json!({
            "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 24, "max_position_embeddings": 32,
            "hidden_act": "silu", "rms_norm_eps": 1e-6,
        }),
    };
    config["model_type"] = model_type.into();
    config["vocab_size"] = VOCABULARY.into();
    config["architectures"] = json!([class]);
    for (key, value) in changed.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

/// Every family with a head, in the variants that change the graph.
fn language_models() -> Vec<Value> {
    let llama3 = json!({
        "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    });
    let llama = |changed| config("llama", "LlamaForCausalLM", changed);
    let qwen2 = |changed| config("qwen2", "Qwen2ForCausalLM", changed);
    let qwen3 = |changed| config("qwen3", "Qwen3ForCausalLM", changed);
    let gpt2 = |changed| config("gpt2", "GPT2LMHeadModel", changed);
    vec![
        gpt2(json!({})),
        gpt2(json!({"activation_function": "gelu", "n_inner": 20, "tie_word_embeddings": false})),
        gpt2(json!({"activation_function": "relu", "n_inner": null})),
        llama(json!({})),
        llama(json!({"attention_bias": true, "mlp_bias": true, "tie_word_embeddings": true})),
        llama(json!({"rope_scaling": llama3, "num_key_value_heads": 1, "head_dim": 6})),
        llama(json!({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 1e3})),
        llama(json!({"num_key_value_heads": 4, "hidden_act": "gelu_pytorch_tanh"})),
        llama(json!({"rope_scaling": {"type": "yarn", "factor": 4.0,
            "original_max_position_embeddings": 16}, "head_dim": 8})),
        llama(
            json!({"rope_parameters": {"rope_type": "yarn", "factor": 3.0, "truncate": false,
            "beta_fast": 2, "beta_slow": 0.25, "original_max_position_embeddings": 16}}),
        ),
        qwen2(json!({"rope_theta": 1e6, "tie_word_embeddings": true})),
        qwen2(json!({})),
        qwen3(json!({"head_dim": 8, "tie_word_embeddings": true})),
        qwen3(json!({"attention_bias": true})),
    ]
}

fn bare_models() -> Vec<Value> {
    vec![
        config("gpt2", "GPT2Model", json!({})),
        config("llama", "LlamaModel", json!({})),
        config("qwen2", "Qwen2Model", json!({})),
        config("qwen3", "Qwen3Model", json!({})),
    ]
}

/// Prompts of four lengths.
fn prompts(random: &mut Random) -> Vec<Vec<i64>> {
    [5, 1, 9, 3]
        .map(|count| random.ids(VOCABULARY, count))
        .into()
}

fn all_close(found: &Outputs, expected: &Truth) -> Result<(), String> {
    if !found.keys().eq(expected.keys()) {
        return Err(format!("{:?}", found.keys()));
    }
    for (name, tensor) in found {
        let values = tensor.as_slice::<f32>().unwrap();
        close(name, furthest(values, &expected[name]))?;
    }
    Ok(())
}

#[test]
fn every_family_and_form_agrees_with_its_reference() {
    let rows = [language_models(), bare_models()].concat();
    each(&rows, |config| {
        let architecture = Architecture::from_config(config).unwrap();
        let written = architecture.to_config_json(14);
        assert_eq!(Architecture::from_config(&written).unwrap(), architecture);
        let checkpoint = seeded_checkpoint(&architecture);
        let mut graphs = Graphs::new(&architecture, &checkpoint, &ExportOptions::default());
        let model = reference(&architecture, &checkpoint, Precision::F64).unwrap();
        let mut random = Random(1);
        for pad in [Pad::Left, Pad::Right] {
            let batch = Batch::padded(&prompts(&mut random), pad);
            let role = architecture.roles()[0];
            let found = graphs.read(&batch);
            all_close(&found, &truth(&model, role, &batch, &Outputs::new()))?;
            if role == GraphRole::Single {
                continue;
            }
            // Two more tokens of each row at once, behind whatever padding there is.
            let more = Batch {
                ids: batch
                    .ids
                    .iter()
                    .map(|_| random.ids(VOCABULARY, 2))
                    .collect(),
                mask: batch
                    .mask
                    .iter()
                    .map(|row| [row.as_slice(), &[1, 1]].concat())
                    .collect(),
            };
            let next = graphs.go_on(&more, &found);
            all_close(&next, &truth(&model, GraphRole::Decode, &more, &found))?;
        }
        Ok::<(), String>(())
    });
}

#[test]
fn reading_at_once_and_going_on_are_the_same() {
    each(&language_models(), |config| {
        let architecture = Architecture::from_config(config).unwrap();
        let checkpoint = seeded_checkpoint(&architecture);
        let mut graphs = Graphs::new(&architecture, &checkpoint, &ExportOptions::default());
        let mut random = Random(2);
        for _ in 0..6 {
            let count = 2 + random.below(20);
            let ids = random.ids(VOCABULARY, count);
            let whole = graphs.read(&Batch::one(&ids));
            // Cut anywhere; 0 is an empty past.
            let cut = random.below(count);
            let mut before = match cut {
                0 => empty_past(&whole),
                _ => graphs.read(&Batch::one(&ids[..cut])),
            };
            for (place, id) in ids.iter().enumerate().skip(cut) {
                let next = Batch {
                    ids: vec![vec![*id]],
                    mask: vec![vec![1; place + 1]],
                };
                before = graphs.go_on(&next, &before);
                let expected = token_row(&whole["logits"], 0, place);
                let found = last_row(&before["logits"], 0);
                close(
                    &format!("token {place} of {count}"),
                    furthest(&found, &expected),
                )?;
            }
            for (name, tensor) in before
                .iter()
                .filter(|(name, _)| name.starts_with("present"))
            {
                let expected = whole[name].as_slice::<f32>().unwrap();
                close(name, furthest(tensor.as_slice::<f32>().unwrap(), expected))?;
            }
        }
        Ok::<(), String>(())
    });
}

/// Keys and values of no token.
fn empty_past(outputs: &Outputs) -> Outputs {
    let cache = outputs
        .iter()
        .filter(|(name, _)| name.starts_with("present"));
    let empty = |(name, tensor): (&String, &amphora_runtime::Tensor)| {
        let &[batch, heads, _, width] = tensor.shape() else {
            panic!("{name}: {:?}", tensor.shape())
        };
        let none = amphora_runtime::Tensor::new([batch, heads, 0, width], Vec::<f32>::new());
        (name.clone(), none.unwrap())
    };
    cache.map(empty).collect()
}

#[test]
fn a_ragged_batch_equals_its_rows_one_by_one() {
    each(&language_models(), |config| {
        let architecture = Architecture::from_config(config).unwrap();
        let checkpoint = seeded_checkpoint(&architecture);
        let mut graphs = Graphs::new(&architecture, &checkpoint, &ExportOptions::default());
        let rows = prompts(&mut Random(3));
        for pad in [Pad::Left, Pad::Right] {
            let batch = Batch::padded(&rows, pad);
            let mut together = graphs.read(&batch);
            let mut mask = batch.mask.clone();
            let mut alone: Vec<Outputs> = Vec::new();
            for (place, row) in rows.iter().enumerate() {
                alone.push(graphs.read(&Batch::one(row)));
                let last = batch.mask[place]
                    .iter()
                    .rposition(|kept| *kept == 1)
                    .unwrap();
                let found = token_row(&together["logits"], place, last);
                let expected = last_row(&alone[place]["logits"], 0);
                close(&format!("{pad:?} {place}"), furthest(&found, &expected))?;
            }
            for step in 0..3 {
                mask.iter_mut().for_each(|row| row.push(1));
                let ids = |place: usize| vec![(7 * step + place as i64) % VOCABULARY as i64];
                let next = Batch {
                    ids: (0..rows.len()).map(ids).collect(),
                    mask: mask.clone(),
                };
                together = graphs.go_on(&next, &together);
                for (place, row) in rows.iter().enumerate() {
                    let next = Batch {
                        ids: vec![ids(place)],
                        mask: vec![vec![1; row.len() + step as usize + 1]],
                    };
                    alone[place] = graphs.go_on(&next, &alone[place]);
                    let found = last_row(&together["logits"], place);
                    let expected = last_row(&alone[place]["logits"], 0);
                    close(
                        &format!("{pad:?} {place} {step}"),
                        furthest(&found, &expected),
                    )?;
                }
            }
        }
        Ok::<(), String>(())
    });
}

#[test]
fn a_row_of_nothing_but_padding_gives_numbers() {
    each(&language_models(), |config| {
        let architecture = Architecture::from_config(config).unwrap();
        let checkpoint = seeded_checkpoint(&architecture);
        let mut graphs = Graphs::new(&architecture, &checkpoint, &ExportOptions::default());
        let batch = Batch {
            ids: vec![vec![1, 2, 3], vec![4, 5, 6]],
            mask: vec![vec![0, 0, 0], vec![1, 1, 1]],
        };
        let outputs = graphs.read(&batch);
        let odd = outputs.iter().find(|(_, tensor)| tensor.nonfinite() > 0);
        odd.map_or(Ok(()), |(name, _)| Err(format!("{name} has a NaN")))
    });
}

#[test]
fn every_opset_gives_the_same_numbers() {
    let rows: Vec<(Value, u64)> = [
        config("gpt2", "GPT2LMHeadModel", json!({})),
        config("llama", "LlamaForCausalLM", json!({})),
        config("qwen3", "Qwen3ForCausalLM", json!({"head_dim": 8})),
    ]
    .into_iter()
    .flat_map(|config| [11, 12, 13, 17, 18, 21, 26].map(|opset| (config.clone(), opset)))
    .collect();
    each(&rows, |(config, opset)| {
        let architecture = Architecture::from_config(config).unwrap();
        let checkpoint = seeded_checkpoint(&architecture);
        let prompt = Random(4).ids(VOCABULARY, 7);
        let logits = |opset| {
            let options = ExportOptions {
                opset,
                ..ExportOptions::default()
            };
            let mut graphs = Graphs::new(&architecture, &checkpoint, &options);
            graphs.greedy(&prompt, 3).1.concat()
        };
        close("logits", furthest(&logits(Some(*opset)), &logits(None)))
    });
}
