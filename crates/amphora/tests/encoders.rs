//! Text encoders of Hugging Face directories: exported, run, compared with PyTorch and with a reference.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_models::{Array, Data, Precision, reference};
use amphora_runtime::Tensor;
use amphora_testing::{each, fixture};
use candle_core::{DType, Device};
use candle_nn::{Module as _, VarBuilder};
use candle_transformers::models::{bert, distilbert, xlm_roberta};
use common::{answer, candle_weights, furthest, relative, seeded, session, values};
use serde_json::{Value, json};

/// Inputs by name, all of one shape.
struct Inputs {
    shape: [usize; 2],
    values: BTreeMap<&'static str, Vec<i64>>,
}

impl Inputs {
    fn tensors(&self) -> BTreeMap<String, Tensor> {
        let tensor = |(name, values): (&&str, &Vec<i64>)| {
            let tensor = Tensor::new(self.shape, values.clone()).unwrap();
            ((*name).to_owned(), tensor)
        };
        self.values.iter().map(tensor).collect()
    }

    /// An input for candle.
    fn theirs(&self, name: &str) -> candle_core::Tensor {
        let tensor = candle_core::Tensor::from_slice(&self.values[name], &self.shape, &Device::Cpu);
        tensor.unwrap().to_dtype(DType::U32).unwrap()
    }
}

/// The one output of an exported model.
fn run(architecture: &Architecture, checkpoint: &Checkpoint, inputs: &Inputs) -> Vec<f32> {
    answer(&mut session(architecture, checkpoint), &inputs.tensors())
}

#[test]
fn bert_computes_what_pytorch_did_and_reads_each_input() {
    let Some(folder) = fixture("bert_tiny") else {
        return;
    };
    let config = amphora_files::json::read(folder.join("config.json")).unwrap();
    let architecture = Architecture::from_config(&config).unwrap();
    let open = |file: &str| Checkpoint::open(folder.join(file), &Limits::default()).unwrap();
    let (checkpoint, vectors) = (open("model.safetensors"), open("vectors.safetensors"));
    let names = ["input_ids", "attention_mask", "token_type_ids"];
    let recorded = |name: &str| vectors.tensors()[name].to_f64().unwrap();
    let whole = |name: &'static str| {
        let values = vectors.tensors()[name].to_f64().unwrap();
        let values = values
            .into_iter()
            .map(|value| value as i64)
            .collect::<Vec<_>>();
        (name, values)
    };
    let inputs = || Inputs {
        shape: [4, 29],
        values: names.map(whole).into(),
    };
    let logits = run(&architecture, &checkpoint, &inputs());
    assert!(furthest(&logits, &recorded("logits_f64")) < 1e-5);

    each(&names, |name| {
        let mut changed = inputs();
        let values = changed.values.get_mut(name).unwrap();
        // Of the first sequence, the third token: another word, left out, of the other segment.
        values[2] = match *name {
            "input_ids" => (values[2] + 1) % 1000,
            _ => 1 - values[2],
        };
        let found = run(&architecture, &checkpoint, &changed);
        let (first, others) = (&found[..3], &found[3..]);
        match first != &logits[..3] && others == &logits[3..] {
            true => Ok(()),
            false => Err("the output of the sequence stays, or that of another changes"),
        }
    });
}

#[test]
fn every_family_and_task_agrees_with_its_reference() {
    let bert = |class: &str| {
        json!({
            "model_type": "bert", "architectures": [format!("Bert{class}")], "vocab_size": 40,
            "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
            "intermediate_size": 20, "max_position_embeddings": 16, "num_labels": 5,
        })
    };
    let roberta = |class: &str| {
        json!({
            "model_type": "roberta", "architectures": [format!("Roberta{class}")],
            "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 20, "max_position_embeddings": 18,
            "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5, "hidden_act": "relu",
        })
    };
    let distilbert = |class: &str| {
        json!({
            "model_type": "distilbert", "architectures": [format!("DistilBert{class}")],
            "vocab_size": 40, "dim": 12, "n_layers": 2, "n_heads": 4, "hidden_dim": 20,
            "max_position_embeddings": 16, "activation": "gelu",
        })
    };
    let classes = [
        "Model",
        "ForSequenceClassification",
        "ForTokenClassification",
        "ForMaskedLM",
    ];
    let mut rows: Vec<_> = classes
        .iter()
        .flat_map(|class| [bert(class), roberta(class), distilbert(class)])
        .collect();
    for activation in [
        "gelu_new",
        "gelu_pytorch_tanh",
        "silu",
        "tanh",
        "gelu_python",
    ] {
        let mut config = bert("ForMaskedLM");
        config["hidden_act"] = activation.into();
        config["tie_word_embeddings"] = (activation != "silu").into();
        rows.push(config);
    }
    each(&rows, |config| {
        let architecture = Architecture::from_config(config).unwrap();
        let written = architecture.to_config_json(14);
        assert_eq!(Architecture::from_config(&written).unwrap(), architecture);
        let checkpoint = seeded(&architecture);
        // The second sequence ends in padding.
        let ids: Vec<i64> = vec![5, 7, 9, 11, 13, 15, 6, 8, 10, 1, 1, 1];
        let mask: Vec<i64> = vec![1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0];
        let mut inputs = Inputs {
            shape: [2, 6],
            values: [("input_ids", ids), ("attention_mask", mask)].into(),
        };
        if config["model_type"] == "bert" {
            let segments = vec![0, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0];
            inputs.values.insert("token_type_ids", segments);
        }
        let found = run(&architecture, &checkpoint, &inputs);
        let named = inputs.values.into_iter().map(|(name, values)| {
            let array = Array::new(vec![2, 6], Data::I64(values)).unwrap();
            (name.to_owned(), array)
        });
        let truth = reference(&architecture, &checkpoint, Precision::F64).unwrap();
        let truth = truth.forward(&named.collect()).unwrap();
        let output = truth.outputs.values().next().unwrap();
        match furthest(&found, output.as_f64().unwrap()) {
            far if far < 1e-5 => Ok(()),
            far => Err(format!("{far:e} from the reference")),
        }
    });
}

/// A classifier over the first token, as candle has it: dense, activation, logits.
fn classified(
    states: &candle_core::Tensor,
    weights: &VarBuilder<'_>,
    names: [&str; 2],
    activation: fn(&candle_core::Tensor) -> candle_core::Result<candle_core::Tensor>,
) -> candle_core::Tensor {
    let linear = |name: &str| {
        let weight = weights.get_unchecked(&format!("{name}.weight")).unwrap();
        let bias = weights.get_unchecked(&format!("{name}.bias")).unwrap();
        candle_nn::Linear::new(weight, Some(bias))
    };
    let first = states.get_on_dim(1, 0).unwrap().contiguous().unwrap();
    let dense = linear(names[0]).forward(&first).unwrap();
    linear(names[1])
        .forward(&activation(&dense).unwrap())
        .unwrap()
}

/// What candle's own implementation of a family answers for sequences that it classifies.
fn theirs(config: &Value, checkpoint: &Checkpoint, inputs: &Inputs) -> candle_core::Tensor {
    let weights = candle_weights(checkpoint);
    let (ids, mask) = (inputs.theirs("input_ids"), inputs.theirs("attention_mask"));
    let mut config = config.clone();
    let defaults = json!({
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.02,
        "position_embedding_type": "absolute",
    });
    let object = config.as_object_mut().unwrap();
    object.extend(defaults.as_object().unwrap().clone());
    let class = config["architectures"][0].as_str().unwrap();
    let guesses = class.ends_with("ForMaskedLM");
    match config["model_type"].as_str().unwrap() {
        "bert" if guesses => {
            let config: bert::Config = serde_json::from_value(config).unwrap();
            // The head's bias under the name that candle reads.
            let weights = weights.rename_f(|name: &str| match name {
                "cls.predictions.decoder.bias" => "cls.predictions.bias".to_owned(),
                other => other.to_owned(),
            });
            let model = bert::BertForMaskedLM::load(weights, &config).unwrap();
            let segments = inputs.theirs("token_type_ids");
            model.forward(&ids, &segments, Some(&mask)).unwrap()
        }
        "bert" => {
            let config: bert::Config = serde_json::from_value(config).unwrap();
            let model = bert::BertModel::load(weights.clone(), &config).unwrap();
            let segments = inputs.theirs("token_type_ids");
            let states = model.forward(&ids, &segments, Some(&mask)).unwrap();
            let names = ["bert.pooler.dense", "classifier"];
            classified(&states, &weights, names, candle_core::Tensor::tanh)
        }
        // The same model under another name; its head leaves the bias out.
        "roberta" if guesses => {
            let bias = weights.get_unchecked("lm_head.bias").unwrap();
            let config: xlm_roberta::Config = serde_json::from_value(config).unwrap();
            let model = xlm_roberta::XLMRobertaForMaskedLM::new(&config, weights).unwrap();
            let first = ids.zeros_like().unwrap();
            let products = model.forward(&ids, &mask, &first, None, None, None);
            products.unwrap().broadcast_add(&bias).unwrap()
        }
        "roberta" => {
            let labels = config["num_labels"].as_u64().unwrap() as usize;
            let config: xlm_roberta::Config = serde_json::from_value(config).unwrap();
            let model =
                xlm_roberta::XLMRobertaForSequenceClassification::new(labels, &config, weights);
            let first = ids.zeros_like().unwrap();
            model.unwrap().forward(&ids, &mask, &first).unwrap()
        }
        _ => {
            let config: distilbert::Config = serde_json::from_value(config).unwrap();
            // Its mask says what is left out.
            let padding = mask
                .eq(0_u32)
                .unwrap()
                .unsqueeze(1)
                .unwrap()
                .unsqueeze(1)
                .unwrap();
            if guesses {
                let model = distilbert::DistilBertForMaskedLM::load(weights, &config).unwrap();
                return model.forward(&ids, &padding).unwrap();
            }
            let model = distilbert::DistilBertModel::load(weights.clone(), &config).unwrap();
            let states = model.forward(&ids, &padding).unwrap();
            let names = ["pre_classifier", "classifier"];
            classified(&states, &weights, names, candle_core::Tensor::relu)
        }
    }
}

#[test]
fn candle_transformers_computes_the_same() {
    let bert = json!({
        "model_type": "bert", "architectures": ["BertForSequenceClassification"], "vocab_size": 40,
        "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 20, "max_position_embeddings": 16, "num_labels": 5,
        "hidden_act": "gelu", "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    });
    let roberta = json!({
        "model_type": "roberta", "architectures": ["RobertaForSequenceClassification"],
        "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 20, "max_position_embeddings": 18, "type_vocab_size": 1,
        "pad_token_id": 1, "layer_norm_eps": 1e-5, "hidden_act": "gelu", "num_labels": 3,
    });
    // candle's GELU of this family is an approximation.
    let distilbert = json!({
        "model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"],
        "vocab_size": 40, "dim": 12, "n_layers": 2, "n_heads": 4, "hidden_dim": 20,
        "max_position_embeddings": 16, "activation": "relu", "pad_token_id": 0, "num_labels": 4,
    });
    let guessing = |config: &Value, class: &str, more: Value| {
        let mut config = config.clone();
        config["architectures"] = json!([class]);
        let more = more.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(more);
        config
    };
    // candle's head of this family is one that is not tied.
    let untied = json!({"tie_word_embeddings": false});
    let rows = [
        guessing(&bert, "BertForMaskedLM", untied),
        guessing(&roberta, "RobertaForMaskedLM", json!({})),
        guessing(&distilbert, "DistilBertForMaskedLM", json!({})),
        bert,
        roberta,
        distilbert,
    ];
    each(&rows, |config| {
        let architecture = Architecture::from_config(config).unwrap();
        let checkpoint = seeded(&architecture);
        // The second sequence ends in padding.
        let pad = config["pad_token_id"].as_i64().unwrap();
        let ids = vec![5, 7, 9, 11, 13, 15, 6, 8, 10, pad, pad, pad];
        let mask = vec![1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0];
        let mut inputs = Inputs {
            shape: [2, 6],
            values: [("input_ids", ids), ("attention_mask", mask)].into(),
        };
        if config["model_type"] == "bert" {
            let segments = vec![0, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0];
            inputs.values.insert("token_type_ids", segments);
        }
        let theirs = values(&theirs(config, &checkpoint, &inputs));
        match relative(&run(&architecture, &checkpoint, &inputs), &theirs) {
            far if far < 1e-5 => Ok(()),
            far => Err(format!("{far:e} apart")),
        }
    });
}

#[test]
fn candle_transformers_agrees_on_the_recorded_bert() {
    let Some(folder) = fixture("bert_tiny") else {
        return;
    };
    let config = amphora_files::json::read(folder.join("config.json")).unwrap();
    let architecture = Architecture::from_config(&config).unwrap();
    let open = |file: &str| Checkpoint::open(folder.join(file), &Limits::default()).unwrap();
    let (checkpoint, vectors) = (open("model.safetensors"), open("vectors.safetensors"));
    let whole = |name: &'static str| {
        let values = vectors.tensors()[name].to_f64().unwrap();
        (name, values.into_iter().map(|value| value as i64).collect())
    };
    let names = ["input_ids", "attention_mask", "token_type_ids"];
    let inputs = Inputs {
        shape: [4, 29],
        values: names.map(whole).into(),
    };
    let theirs = values(&theirs(&config, &checkpoint, &inputs));
    assert!(furthest(&run(&architecture, &checkpoint, &inputs), &theirs) < 1e-5);
}

#[test]
fn what_no_encoder_here_computes_is_refused_by_name() {
    let base = |key: &str, value: Value| {
        let mut config = json!({
            "model_type": "bert", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 3, "intermediate_size": 20, "max_position_embeddings": 16,
        });
        config[key] = value;
        config
    };
    let rows = [
        (
            base("architectures", json!(["BertForQuestionAnswering"])),
            "config-unsupported",
        ),
        (
            base("hidden_act", json!("quick_gelu")),
            "config-unsupported",
        ),
        (
            base("position_embedding_type", json!("relative_key")),
            "config-unsupported",
        ),
        (base("is_decoder", json!(true)), "config-unsupported"),
        (base("num_attention_heads", json!(5)), "config-invalid"),
        (base("hidden_size", json!(-1)), "config-invalid"),
        (base("model_type", json!("electra")), "model-type"),
    ];
    each(&rows, |(config, rule)| {
        match Architecture::from_config(config) {
            Err(error) if error.rule() == *rule => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn minilm_computes_what_pytorch_did_on_every_text() {
    let Some(folder) = amphora_testing::minilm() else {
        return;
    };
    let checkpoint = Checkpoint::open(&folder, &Limits::default()).unwrap();
    let config = Value::Object(checkpoint.config().unwrap().clone());
    let architecture = Architecture::from_config(&config).unwrap();
    let vectors = Checkpoint::open(folder.join("vectors.safetensors"), &Limits::default()).unwrap();
    let recorded = |name: &str| vectors.tensors()[name].to_f64().unwrap();
    let whole = |name: &str| -> Vec<i64> {
        let values = recorded(name).into_iter();
        values.map(|value| value as i64).collect()
    };
    let mut session = session(&architecture, &checkpoint);
    let texts: Vec<String> = (0..24).map(|text| format!("{text:02}")).collect();
    each(&texts, |text| {
        let ids = whole(&format!("ids_{text}"));
        let count = ids.len();
        let inputs = Inputs {
            shape: [1, count],
            values: BTreeMap::from([
                ("input_ids", ids),
                ("attention_mask", vec![1; count]),
                ("token_type_ids", vec![0; count]),
            ]),
        };
        let found = answer(&mut session, &inputs.tensors());
        let expected = recorded(&format!("last_hidden_state_{text}"));
        let scale = expected.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
        match furthest(&found, &expected) {
            distance if distance < 1e-5 * scale => Ok(()),
            distance => Err(format!("{distance:e} away, scale {scale}")),
        }
    });
}
