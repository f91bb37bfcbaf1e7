//! Model directories as they are published: the keys, classes and tensor names of well-known models.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use amphora::{PackRequest, Store, Timestamp};
use amphora_bundle::manifest::Manifest;
use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_testing::each;
use common::{safetensors, seeded};
use serde_json::{Value, json};

/// Names and shapes of further tensors, which are filled with zeros.
type Added<'a> = &'a [(&'a str, &'a [u64])];

/// The tensors of a checkpoint, some of them renamed and some added.
fn respelled(
    checkpoint: &Checkpoint,
    rename: impl Fn(&str) -> String,
    added: Added<'_>,
) -> Vec<u8> {
    let stored = checkpoint.tensors().iter();
    let stored = stored.map(|(name, tensor)| {
        let data = tensor.data().unwrap().to_vec();
        (rename(name), tensor.shape().to_vec(), data)
    });
    let added = added.iter().map(|(name, shape)| {
        let bytes = 4 * shape.iter().product::<u64>();
        let zeros = vec![0; bytes as usize];
        ((*name).to_owned(), shape.to_vec(), zeros)
    });
    safetensors(stored.chain(added))
}

/// The export of a checkpoint's bytes.
fn exported(architecture: &Architecture, checkpoint: &[u8]) -> amphora::Result<Vec<u8>> {
    let bytes = checkpoint.to_vec().into();
    let checkpoint = Checkpoint::from_bytes(bytes, &Limits::default()).unwrap();
    let options = amphora_export::ExportOptions::default();
    let model = amphora_export::export(architecture, &checkpoint, &options)?;
    Ok(amphora_onnx::write::to_bytes(&model))
}

/// The configuration of `bert-base-uncased` as it was published, smaller.
fn published_bert() -> Value {
    json!({
        "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1,
        "gradient_checkpointing": false, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "hidden_size": 12, "initializer_range": 0.02, "intermediate_size": 20,
        "layer_norm_eps": 1e-12, "max_position_embeddings": 16, "model_type": "bert",
        "num_attention_heads": 3, "num_hidden_layers": 2, "pad_token_id": 0,
        "position_embedding_type": "absolute", "transformers_version": "4.6.0.dev0",
        "type_vocab_size": 2, "use_cache": true, "vocab_size": 40,
    })
}

#[test]
fn the_spellings_of_published_checkpoints_give_the_same_graph() {
    let config = published_bert();
    let guessing = Architecture::from_config(&config).unwrap();
    let bare = Architecture::without_head(&config).unwrap();
    type Rename = fn(&str) -> String;
    let converted: Rename = |name| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        name.replace("LayerNorm.bias", "LayerNorm.beta")
    };
    let unused: Added<'_> = &[
        ("bert.embeddings.position_ids", &[1, 16]),
        ("bert.pooler.dense.weight", &[12, 12]),
        ("bert.pooler.dense.bias", &[12]),
        ("cls.seq_relationship.weight", &[2, 12]),
        ("cls.seq_relationship.bias", &[2]),
    ];
    let head: Added<'_> = &[
        ("cls.predictions.bias", &[40]),
        ("cls.predictions.transform.dense.weight", &[12, 12]),
        ("cls.predictions.transform.dense.bias", &[12]),
        ("cls.predictions.transform.LayerNorm.gamma", &[12]),
        ("cls.predictions.transform.LayerNorm.beta", &[12]),
        ("pooler.dense.weight", &[12, 12]),
        ("pooler.dense.bias", &[12]),
    ];
    let prefixed: Rename = |name| format!("bert.{name}");
    let unprefixed: Rename = |name| name.trim_start_matches("bert.").to_owned();
    let both: Rename = |name| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        format!("bert.{}", name.replace("LayerNorm.bias", "LayerNorm.beta"))
    };
    let rows: [(&Architecture, Rename, Added<'_>); 5] = [
        (&guessing, converted, unused),
        (&guessing, unprefixed, &[]),
        (&bare, converted, head),
        (&bare, prefixed, unused),
        (&bare, both, &[]),
    ];
    each(&rows, |(architecture, rename, added)| {
        let checkpoint = seeded(architecture);
        let plain = respelled(&checkpoint, str::to_owned, &[]);
        let other = respelled(&checkpoint, rename, added);
        let plain = exported(architecture, &plain).unwrap();
        match exported(architecture, &other) {
            Ok(other) if other == plain => Ok(()),
            Ok(_) => Err("the graphs differ".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });

    // A tied head that is stored all the same must be the table of embeddings.
    let stored: Added<'_> = &[
        ("cls.predictions.decoder.weight", &[40, 12]),
        ("cls.predictions.decoder.bias", &[40]),
    ];
    let contradicting = respelled(&seeded(&guessing), str::to_owned, stored);
    let error = exported(&guessing, &contradicting).unwrap_err();
    assert_eq!(error.fault_list().len(), 2, "{error}");
    assert!(error.fault_list()[0].contains("tie_word_embeddings"));
}

#[test]
fn roberta_pads_with_1_unless_its_configuration_says_otherwise() {
    let mut config = published_bert();
    config["model_type"] = "roberta".into();
    config["architectures"] = json!(["RobertaModel"]);
    for pad in [Value::Null, json!(1)] {
        config["pad_token_id"] = pad;
        let Architecture::Encoder(encoder) = Architecture::from_config(&config).unwrap() else {
            panic!("{config}")
        };
        assert_eq!((encoder.pad_id, encoder.max_len()), (1, 14));
    }
}

#[test]
fn an_embedding_directory_says_what_its_export_gives_whatever_class_it_names() {
    let scratch = tempfile::tempdir().unwrap();
    let config = published_bert();
    let bare = Architecture::without_head(&config).unwrap();
    directory(scratch.path(), &config, &bare);
    fs_err::write(scratch.path().join("modules.json"), "[]").unwrap();
    let said = amphora::io_schema(scratch.path(), None).unwrap().unwrap();
    let graph = export_from(scratch.path()).unwrap().graphs.remove(0);
    let said: Vec<_> = said
        .io
        .io
        .outputs
        .iter()
        .map(|it| it.tensor_spec())
        .collect();
    assert_eq!(said, graph.contract.outputs);
    assert_eq!(said[0].name, "last_hidden_state");
}

/// Writes a model directory with seeded weights.
fn directory(at: &Path, config: &Value, architecture: &Architecture) {
    let tensors = respelled(&seeded(architecture), str::to_owned, &[]);
    fs_err::write(at.join("config.json"), config.to_string()).unwrap();
    fs_err::write(at.join("model.safetensors"), tensors).unwrap();
}

/// Exports the model in a directory to a file in it.
fn export_from(directory: &Path) -> amphora::Result<amphora::Exported> {
    amphora::export(&amphora::ExportRequest {
        checkpoint: directory.to_owned(),
        config: None,
        output: directory.join("model.onnx"),
        opset: None,
        link: false,
        external_data: false,
    })
}

/// The manifest of a packed configuration.
fn packed(config: &Value) -> amphora::Result<Manifest> {
    let scratch = tempfile::tempdir().unwrap();
    let from = scratch.path().join("model");
    fs_err::create_dir(&from).unwrap();
    directory(&from, config, &Architecture::from_config(config)?);
    let store = Store::open(scratch.path().join("artifacts")).unwrap();
    let now = Timestamp::from_unix_seconds(0).unwrap();
    let request = PackRequest {
        name: Some("model".to_owned()),
        ..PackRequest::new(store, from, now)
    };
    let packed = amphora::pack(&request, &|_| {})?;
    let bundle = amphora::open(&packed.path).unwrap();
    Ok(bundle.manifest().clone())
}

#[test]
fn what_was_published_long_ago_is_packed_too() {
    let gpt2 = |context: u64| {
        json!({
            "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
            "attn_pdrop": 0.1, "bos_token_id": 39, "embd_pdrop": 0.1, "eos_token_id": 39,
            "initializer_range": 0.02, "layer_norm_epsilon": 1e-5, "model_type": "gpt2",
            "n_ctx": context, "n_embd": 12, "n_head": 3, "n_layer": 2, "n_positions": context,
            "resid_pdrop": 0.1, "summary_type": "cls_index", "vocab_size": 40,
            "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}},
        })
    };
    // No id of padding, as the first Llama said it.
    let llama = json!({
        "architectures": ["LlamaForCausalLM"], "bos_token_id": 0, "eos_token_id": 1,
        "hidden_act": "silu", "hidden_size": 16, "intermediate_size": 24,
        "initializer_range": 0.02, "max_sequence_length": 32, "max_position_embeddings": 32,
        "model_type": "llama", "num_attention_heads": 4, "num_hidden_layers": 2,
        "pad_token_id": -1, "rms_norm_eps": 1e-6, "torch_dtype": "float16", "vocab_size": 40,
    });
    // The labels of no classifier.
    let mut bert = published_bert();
    bert["id2label"] = json!({"0": "LABEL_0", "1": "LABEL_1"});
    let rows = [(gpt2(2), 2), (gpt2(16), 2), (llama, 2), (bert, 1)];
    each(&rows, |(config, graphs)| {
        let manifest = packed(config).map_err(|error| error.to_string())?;
        if manifest.golden.len() != *graphs {
            return Err(format!("{:?}", manifest.golden.keys()));
        }
        if let Some(generation) = &manifest.spec.generation {
            let id = config["eos_token_id"].as_u64();
            assert_eq!(generation.pad_token_id.map(u64::from), id);
        }
        let logits = &manifest.spec.io.outputs[0];
        assert_eq!(logits.shape.as_deref(), Some(&[-1, -1, 40][..]));
        assert!(logits.postprocessing.is_empty());
        Ok(())
    });
}

#[test]
fn an_unknown_class_is_refused_in_the_file_that_names_it_with_a_way_out() {
    let scratch = tempfile::tempdir().unwrap();
    let mut config = published_bert();
    let architecture = Architecture::from_config(&config).unwrap();
    config["architectures"] = json!(["BertForQuestionAnswering"]);
    directory(scratch.path(), &config, &architecture);
    let error = export_from(scratch.path()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("config.json"), "{text}");
    assert!(text.contains("BertForQuestionAnswering"), "{text}");
    assert!(error.hint_text().unwrap().contains("ONNX"), "{error:?}");
}

#[test]
fn the_pooler_of_a_vit_is_left_out_whatever_its_width() {
    let config = json!({
        "architectures": ["ViTModel"], "hidden_act": "gelu", "hidden_size": 12, "image_size": 8,
        "intermediate_size": 20, "layer_norm_eps": 1e-12, "model_type": "vit",
        "num_attention_heads": 3, "num_channels": 3, "num_hidden_layers": 1, "patch_size": 4,
        "pooler_act": "tanh", "pooler_output_size": 6, "qkv_bias": true,
    });
    let architecture = Architecture::from_config(&config).unwrap();
    let checkpoint = seeded(&architecture);
    let plain = respelled(&checkpoint, str::to_owned, &[]);
    let pooler: Added<'_> = &[
        ("vit.pooler.dense.weight", &[6, 12]),
        ("vit.pooler.dense.bias", &[6]),
    ];
    let pooled = respelled(&checkpoint, |name| format!("vit.{name}"), pooler);
    let [plain, pooled] = [plain, pooled].map(|file| exported(&architecture, &file).unwrap());
    assert!(plain == pooled);
}

#[test]
fn every_fault_of_a_configuration_is_named_and_none_that_follows_from_another() {
    let rows = [
        (published_bert(), "hidden_size"),
        (published_bert(), "vocab_size"),
        (
            json!({
                "architectures": ["LlamaForCausalLM"], "hidden_size": 16, "intermediate_size": 24,
                "max_position_embeddings": 32, "model_type": "llama", "num_attention_heads": 4,
                "num_hidden_layers": 2, "num_key_value_heads": 2, "vocab_size": 40,
            }),
            "num_attention_heads",
        ),
    ];
    each(&rows, |(config, missing)| {
        let mut config = config.clone();
        config.as_object_mut().unwrap().remove(*missing);
        config["architectures"] = json!(["SomethingElse"]);
        config["hidden_act"] = json!("xielu");
        config["num_hidden_layers"] = json!("two");
        config["pad_token_id"] = json!(3);
        let error = Architecture::from_config(&config).unwrap_err();
        let faults = error.fault_list();
        let expected = [*missing, "num_hidden_layers", "SomethingElse", "xielu"];
        let named = |word: &&str| faults.iter().any(|fault| fault.contains(*word));
        match expected.iter().all(named) && faults.len() == expected.len() {
            true => Ok(()),
            false => Err(error.to_string()),
        }
    });
}
