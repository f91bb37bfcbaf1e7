//! What PyTorch computed and recorded.

use amphora_checkpoint::architecture::{Architecture, GraphRole};
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_export::ExportOptions;
use amphora_models::{Precision, reference};
use amphora_testing::{each, fixture};
use serde_json::{Value, json};

use crate::support::{Batch, Graphs, Outputs, close, furthest, last_row, token_row, truth};

/// A model directory with recorded vectors.
struct Scene {
    config: Value,
    checkpoint: Checkpoint,
    vectors: Checkpoint,
}

impl Scene {
    fn open(name: &str) -> Option<Self> {
        let folder = fixture(name)?;
        let open = |path| Checkpoint::open(path, &Limits::default()).unwrap();
        Some(Self {
            config: amphora_files::json::read(folder.join("config.json")).unwrap(),
            checkpoint: open(folder.clone()),
            vectors: open(folder.join("vectors.safetensors")),
        })
    }

    fn architecture(&self) -> Architecture {
        Architecture::from_config(&self.config).unwrap()
    }

    fn recorded(&self, name: &str) -> Vec<f64> {
        self.vectors.tensors()[name].to_f64().unwrap()
    }

    fn whole(&self, name: &str) -> Vec<i64> {
        let values = self.recorded(name).into_iter();
        values.map(|value| value as i64).collect()
    }

    fn rows(&self, name: &str) -> Vec<Vec<i64>> {
        let width = self.vectors.tensors()[name].shape()[1] as usize;
        self.whole(name)
            .chunks(width)
            .map(<[i64]>::to_vec)
            .collect()
    }

    fn graphs(&self) -> Graphs {
        let options = ExportOptions::default();
        Graphs::new(&self.architecture(), &self.checkpoint, &options)
    }
}

/// Fixture, its ids, its logits, its greedy tokens.
const MODELS: [(&str, &str, &str, usize); 3] = [
    ("gpt2_tiny", "input_ids", "logits", 32),
    ("llama_tiny", "input_ids", "logits", 32),
    ("qwen3_tiny", "prompt_ids", "prefill_logits", 64),
];

#[test]
fn logits_and_greedy_tokens_are_pytorchs() {
    each(&MODELS, |(name, ids, logits, count)| {
        let Some(scene) = Scene::open(name) else {
            return Ok(());
        };
        let mut graphs = scene.graphs();
        let prompt = scene.whole(ids);
        let found = graphs.read(&Batch::one(&prompt));
        let values = found["logits"].as_slice::<f32>().unwrap();
        close("logits", furthest(values, &scene.recorded(logits)))?;
        let exact = scene.recorded(&format!("{logits}_f64"));
        close("logits in 64 bits", furthest(values, &exact))?;
        let (tokens, steps) = graphs.greedy(&prompt, *count);
        if tokens != scene.whole("greedy_tokens") {
            return Err(format!("greedy tokens {tokens:?}"));
        }
        if scene.vectors.tensors().contains_key("greedy_step_logits") {
            let recorded = scene.recorded("greedy_step_logits");
            close("steps", furthest(&steps.concat(), &recorded))?;
        }
        Ok(())
    });
}

#[test]
fn the_reference_computes_what_pytorch_did_in_64_bits() {
    each(&MODELS, |(name, ids, logits, _)| {
        let Some(scene) = Scene::open(name) else {
            return Ok(());
        };
        let model = reference(&scene.architecture(), &scene.checkpoint, Precision::F64).unwrap();
        let batch = Batch::one(&scene.whole(ids));
        let found = truth(&model, GraphRole::Prefill, &batch, &Outputs::new());
        let far = furthest(&found["logits"], &scene.recorded(&format!("{logits}_f64")));
        // The recorded pass normalizes, and computes angles, in 32 bits whatever the rest is in.
        match far < 1e-6 {
            true => Ok(()),
            false => Err(format!("{far:e} away")),
        }
    });
}

#[test]
fn keys_and_values_are_pytorchs() {
    let Some(scene) = Scene::open("qwen3_tiny") else {
        return;
    };
    let found = scene.graphs().read(&Batch::one(&scene.whole("prompt_ids")));
    let rows: Vec<String> = (0..3)
        .flat_map(|layer| {
            [
                format!("present_key_{layer}"),
                format!("present_value_{layer}"),
            ]
        })
        .collect();
    each(&rows, |name| {
        let values = found[name].as_slice::<f32>().unwrap();
        close(name, furthest(values, &scene.recorded(name)))
    });
}

#[test]
fn a_batch_padded_on_the_left_is_pytorchs() {
    let Some(scene) = Scene::open("qwen3_tiny") else {
        return;
    };
    let batch = Batch {
        ids: scene.rows("padded_input_ids"),
        mask: scene.rows("padded_attention_mask"),
    };
    let found = scene.graphs().read(&batch);
    let last = [0, 1].map(|row| last_row(&found["logits"], row)).concat();
    let far = furthest(&last, &scene.recorded("padded_logits_last"));
    close("logits of the last tokens", far).unwrap();
}

#[test]
fn hidden_states_of_the_bare_model_are_pytorchs() {
    each(
        &[("gpt2_tiny", "GPT2Model"), ("llama_tiny", "LlamaModel")],
        |(name, class)| {
            let Some(mut scene) = Scene::open(name) else {
                return Ok(());
            };
            // The names keep the prefix of the class with a head, and llama's weights the head.
            scene.config["architectures"] = json!([class]);
            let found = scene.graphs().read(&Batch::one(&scene.whole("input_ids")));
            let values = found["last_hidden_state"].as_slice::<f32>().unwrap();
            close(
                "hidden states",
                furthest(values, &scene.recorded("hidden_3")),
            )
        },
    );
}

#[test]
fn hidden_states_for_embeddings_are_pytorchs() {
    let Some(scene) = Scene::open("qwen3_embedding_tiny") else {
        return;
    };
    let mask = scene.rows("attention_mask");
    let batch = Batch {
        ids: scene.rows("input_ids"),
        mask: mask.clone(),
    };
    let found = scene.graphs().read(&batch);
    let hidden = &found["last_hidden_state"];
    let last: Vec<f32> = (0..mask.len())
        .flat_map(|row| last_row(hidden, row))
        .collect();
    let far = furthest(&last, &scene.recorded("last_token_hidden"));
    close("hidden states of the last tokens", far).unwrap();
    each(&[0, 12], |row| {
        let name = format!("last_hidden_state_row{row}");
        let kept = (0..mask[*row].len()).filter(|token| mask[*row][*token] == 1);
        let values: Vec<f32> = kept
            .flat_map(|token| token_row(hidden, *row, token))
            .collect();
        close(&name, furthest(&values, &scene.recorded(&name)))
    });
}
