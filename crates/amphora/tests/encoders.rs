//! Text encoders of Hugging Face directories: exported, run, compared with PyTorch and with a reference.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_export::{ExportOptions, export};
use amphora_models::{Array, Data, Precision, reference};
use amphora_onnx::Model;
use amphora_runtime::{EngineChoice, OrtLocation, Session, SessionOptions, Tensor, engine};
use amphora_testing::{each, fixture};
use serde_json::json;

/// Inputs by name, all of one shape.
struct Inputs {
    shape: [usize; 2],
    values: BTreeMap<&'static str, Vec<i64>>,
}

/// The one output of an exported model.
fn run(architecture: &Architecture, checkpoint: &Checkpoint, inputs: &Inputs) -> Vec<f32> {
    answer(&mut session(architecture, checkpoint), inputs)
}

fn session(architecture: &Architecture, checkpoint: &Checkpoint) -> Session {
    let proto = export(architecture, checkpoint, &ExportOptions::default()).unwrap();
    let model = Model::from_proto(proto, &amphora_onnx::Limits::default()).unwrap();
    model.check().unwrap();
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    Session::new(&model, rten, &SessionOptions::default(), None).unwrap()
}

fn answer(session: &mut Session, inputs: &Inputs) -> Vec<f32> {
    let tensor = |(name, values): (&&str, &Vec<i64>)| {
        let tensor = Tensor::new(inputs.shape, values.clone()).unwrap();
        ((*name).to_owned(), tensor)
    };
    let outputs = session
        .run(&inputs.values.iter().map(tensor).collect())
        .unwrap();
    let (_, output) = outputs.iter().next().unwrap();
    output.as_slice::<f32>().unwrap().to_vec()
}

fn furthest(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).abs());
    differences.fold(0.0, |most, d| if d.is_nan() { d } else { most.max(d) })
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

/// A checkpoint of an architecture with weights that a formula gives.
fn seeded(architecture: &Architecture) -> Checkpoint {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (place, parameter) in architecture.parameters().into_iter().enumerate() {
        if parameter.optional {
            continue;
        }
        let start = data.len();
        let count = parameter.shape.iter().product::<u64>();
        for index in 0..count {
            let angle = (place as f64 + 1.0) * 0.7 + index as f64 * 1.3;
            let norm = parameter.name.to_lowercase().contains("norm.weight");
            let value = if norm { 1.0 } else { 0.0 } + 0.3 * angle.sin();
            data.extend((value as f32).to_le_bytes());
        }
        header.insert(
            parameter.name,
            json!({"dtype": "F32", "shape": parameter.shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = serde_json::Value::from(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend(data);
    Checkpoint::from_bytes(file.into(), &Limits::default()).unwrap()
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
    ];
    let rows: Vec<_> = classes
        .iter()
        .flat_map(|class| [bert(class), roberta(class), distilbert(class)])
        .collect();
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

#[test]
fn what_no_encoder_here_computes_is_refused_by_name() {
    let base = |key: &str, value: serde_json::Value| {
        let mut config = json!({
            "model_type": "bert", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2,
            "num_attention_heads": 3, "intermediate_size": 20, "max_position_embeddings": 16,
        });
        config[key] = value;
        config
    };
    let rows = [
        (
            base("architectures", json!(["BertForMaskedLM"])),
            "config-unsupported",
        ),
        (base("hidden_act", json!("gelu_new")), "config-unsupported"),
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
    let config = serde_json::Value::Object(checkpoint.config().unwrap().clone());
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
        let found = answer(&mut session, &inputs);
        let expected = recorded(&format!("last_hidden_state_{text}"));
        let scale = expected.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
        match furthest(&found, &expected) {
            distance if distance < 1e-5 * scale => Ok(()),
            distance => Err(format!("{distance:e} away, scale {scale}")),
        }
    });
}
