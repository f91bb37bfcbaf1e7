//! Directories, spellings of keys, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;

use amphora::{ExportRequest, export};
use amphora_checkpoint::architecture::{Architecture, GraphRole};
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_export::{ExportOptions, export_graphs};
use amphora_onnx::{Model, write};
use amphora_testing::each;
use serde_json::{Value, json};

use crate::families::config;
use crate::support::{safetensors, seeded, seeded_checkpoint};

type Tensors = BTreeMap<String, (Vec<u64>, Vec<f32>)>;

/// The encoded graphs of a configuration.
fn graphs(config: &Value, checkpoint: &Checkpoint) -> Vec<Vec<u8>> {
    let architecture = Architecture::from_config(config).unwrap();
    let graphs = export_graphs(&architecture, checkpoint, &ExportOptions::default()).unwrap();
    graphs
        .iter()
        .map(|(_, proto)| write::to_bytes(proto))
        .collect()
}

#[test]
fn old_and_new_spellings_of_keys_give_the_same_graphs() {
    let llama = |changed| config("llama", "LlamaForCausalLM", changed);
    let llama3 = |extra: Value| {
        let mut scaling = json!({
            "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        });
        for (key, value) in extra.as_object().unwrap() {
            scaling[key] = value.clone();
        }
        scaling
    };
    let gpt2 = |changed| config("gpt2", "GPT2LMHeadModel", changed);
    let mut renamed = gpt2(json!({"hidden_size": 12, "num_hidden_layers": 2,
        "num_attention_heads": 3, "max_position_embeddings": 32, "n_inner": 48}));
    for key in ["n_embd", "n_layer", "n_head", "n_positions"] {
        renamed.as_object_mut().unwrap().remove(key);
    }
    let rows = [
        (
            llama(json!({"torch_dtype": "float32", "rope_theta": 5e5})),
            llama(json!({"dtype": "float32",
                "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}})),
        ),
        (
            llama(json!({"rope_theta": 5e5, "rope_scaling": llama3(json!({"type": "llama3"}))})),
            llama(json!({
                "rope_parameters": llama3(json!({"rope_type": "llama3", "rope_theta": 5e5})),
            })),
        ),
        (
            llama(json!({"rope_scaling": null, "sliding_window": null})),
            llama(json!({"rope_parameters": {"rope_theta": 1e4},
                "layer_types": ["full_attention", "full_attention"]})),
        ),
        (gpt2(json!({})), renamed),
    ];
    each(&rows, |(old, new)| {
        let checkpoint = seeded_checkpoint(&Architecture::from_config(old).unwrap());
        match graphs(old, &checkpoint) == graphs(new, &checkpoint) {
            true => Ok(()),
            false => Err("the graphs differ"),
        }
    });
}

/// Writes a model directory with the weights in one file.
fn directory(at: &Path, config: &Value) {
    fs_err::create_dir_all(at).unwrap();
    fs_err::write(at.join("config.json"), config.to_string()).unwrap();
    let tensors = seeded(&Architecture::from_config(config).unwrap());
    fs_err::write(at.join("model.safetensors"), safetensors(&tensors)).unwrap();
}

/// The same with the weights in three files.
fn sharded_directory(at: &Path, config: &Value) {
    fs_err::create_dir_all(at).unwrap();
    fs_err::write(at.join("config.json"), config.to_string()).unwrap();
    let tensors = seeded(&Architecture::from_config(config).unwrap());
    let mut map = serde_json::Map::new();
    for shard in 0..3 {
        let name = format!("model-{:05}-of-00003.safetensors", shard + 1);
        let part: Vec<_> = tensors.iter().skip(shard).step_by(3).collect();
        for (tensor, _) in &part {
            map.insert((*tensor).clone(), name.clone().into());
        }
        fs_err::write(at.join(&name), safetensors(part)).unwrap();
    }
    let index = json!({"metadata": {"total_size": 0}, "weight_map": map});
    fs_err::write(at.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

fn request(from: &Path, to: &Path) -> ExportRequest {
    ExportRequest {
        checkpoint: from.to_owned(),
        config: None,
        output: to.to_owned(),
        opset: None,
        link: false,
        external_data: false,
    }
}

#[test]
fn shards_give_the_same_files_as_one_file_of_weights() {
    let rows = [
        config("qwen2", "Qwen2ForCausalLM", json!({})),
        config("gpt2", "GPT2LMHeadModel", json!({})),
        config(
            "qwen3",
            "Qwen3ForCausalLM",
            json!({"tie_word_embeddings": true}),
        ),
    ];
    each(&rows, |config| {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        directory(&at("one"), config);
        sharded_directory(&at("many"), config);
        for (from, to) in [("one", "a"), ("many", "b")] {
            let exported = export(&request(&at(from), &at(to))).unwrap();
            let roles: Vec<&str> = exported.graphs.iter().map(|graph| graph.role).collect();
            assert_eq!(roles, ["prefill", "decode"]);
        }
        let same = |name: &str| {
            fs_err::read(at("a").join(name)).unwrap() == fs_err::read(at("b").join(name)).unwrap()
        };
        match same("prefill.onnx") && same("decode.onnx") {
            true => Ok(()),
            false => Err("the files differ"),
        }
    });
}

#[test]
fn both_graphs_share_one_file_of_weights_and_a_tied_head_is_stored_once() {
    let config = config(
        "qwen3",
        "Qwen3ForCausalLM",
        json!({"tie_word_embeddings": true, "vocab_size": 4000}),
    );
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("model"), scratch.path().join("out"));
    directory(&from, &config);
    let mut asked = request(&from, &to);
    asked.external_data = true;
    let exported = export(&asked).unwrap();
    for graph in &exported.graphs {
        assert_eq!(graph.external_files, ["model.onnx.data"]);
        Model::open(&graph.path, &amphora_onnx::Limits::default())
            .unwrap()
            .check()
            .unwrap();
    }
    let weights = fs_err::metadata(from.join("model.safetensors"))
        .unwrap()
        .len();
    let data = fs_err::metadata(to.join("model.onnx.data")).unwrap().len();
    // Every payload starts on a page.
    assert!(data < weights + 40 * 4096, "{data} of {weights}");

    // Linked, the graphs hold next to nothing.
    let asked = ExportRequest {
        link: true,
        ..request(&from, &from)
    };
    for graph in export(&asked).unwrap().graphs {
        assert_eq!(graph.external_files, ["model.safetensors"]);
        assert!(graph.size < weights / 4);
        let linked = Model::open(&graph.path, &amphora_onnx::Limits::default()).unwrap();
        linked.check().unwrap();
    }
}

/// Every initializer by name, wherever its bytes lie.
fn weights(graph: &Path) -> Vec<(String, bytes::Bytes)> {
    let model = Model::open(graph, &amphora_onnx::Limits::default()).unwrap();
    let graph = model.proto().graph.as_ref().unwrap();
    let stored = graph.initializer.iter();
    stored
        .map(|it| (it.name().to_owned(), model.tensor_bytes(it).unwrap()))
        .collect()
}

#[test]
fn shards_are_linked_like_one_file() {
    let config = config("llama", "LlamaForCausalLM", json!({}));
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    directory(&at("one"), &config);
    sharded_directory(&at("many"), &config);
    let linked = |name: &str| {
        let asked = ExportRequest {
            link: true,
            ..request(&at(name), &at(name))
        };
        export(&asked).unwrap().graphs
    };
    for (one, many) in linked("one").iter().zip(linked("many")) {
        assert_eq!(many.external_files.len(), 3, "{many:?}");
        assert_eq!(one.contract, many.contract);
        assert_eq!(weights(&one.path), weights(&many.path));
    }
}

#[test]
fn what_fails_leaves_no_directory() {
    let config = config("llama", "LlamaForCausalLM", json!({}));
    let scratch = tempfile::tempdir().unwrap();
    let from = scratch.path().join("model");
    directory(&from, &config);
    let to = scratch.path().join("out");
    let mut rows = vec![
        ("opset-range", request(&from, &to)),
        ("link-outside", request(&from, &to)),
    ];
    rows[0].1.opset = Some(99);
    rows[1].1.link = true;
    each(&rows, |(rule, asked)| {
        let error = export(asked).unwrap_err();
        match error.rule() == *rule && !to.exists() {
            true => Ok(()),
            false => Err(format!("{error:?}, left: {}", to.exists())),
        }
    });
}

#[test]
fn an_embedding_directory_is_one_graph_whatever_class_its_configuration_names() {
    let config = config(
        "qwen3",
        "Qwen3ForCausalLM",
        json!({"tie_word_embeddings": true}),
    );
    let scratch = tempfile::tempdir().unwrap();
    let from = scratch.path().join("model");
    directory(&from, &config);
    fs_err::write(from.join("modules.json"), "[]").unwrap();
    let exported = export(&request(&from, &scratch.path().join("model.onnx"))).unwrap();
    let [graph] = exported.graphs.as_slice() else {
        panic!("{exported:?}")
    };
    let outputs: Vec<&str> = graph
        .contract
        .outputs
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!((graph.role, outputs), ("single", vec!["last_hidden_state"]));
}

#[test]
fn a_language_model_needs_a_directory() {
    let config = config("llama", "LlamaForCausalLM", json!({}));
    let scratch = tempfile::tempdir().unwrap();
    let from = scratch.path().join("model");
    directory(&from, &config);
    let error = export(&request(&from, &scratch.path().join("model.onnx"))).unwrap_err();
    assert_eq!(error.rule(), "output-directory");
}

#[test]
fn what_no_decoder_here_computes_is_refused_by_name() {
    let llama = |changed| config("llama", "LlamaForCausalLM", changed);
    let qwen2 = |changed| config("qwen2", "Qwen2ForCausalLM", changed);
    let gpt2 = |changed| config("gpt2", "GPT2LMHeadModel", changed);
    let longrope = json!({"rope_type": "longrope", "factor": 4.0});
    let betas = json!({"rope_type": "yarn", "factor": 4.0, "beta_fast": 1, "beta_slow": 2});
    let sliding = json!({"use_sliding_window": true, "sliding_window": 8, "max_window_layers": 1});
    let kinds = json!({"layer_types": ["full_attention", "sliding_attention"]});
    let rows = [
        (
            config("llama", "LlamaForSequenceClassification", json!({})),
            "LlamaForSequenceClassification",
        ),
        (
            config("gpt2", "GPT2DoubleHeadsModel", json!({})),
            "GPT2DoubleHeadsModel",
        ),
        (llama(json!({"rope_parameters": longrope})), "longrope"),
        (llama(json!({"rope_parameters": betas})), "beta_fast"),
        (
            llama(json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}})),
            "dynamic",
        ),
        (
            llama(json!({"partial_rotary_factor": 0.5})),
            "partial_rotary_factor",
        ),
        (llama(json!({"hidden_act": "xielu"})), "hidden_act"),
        (
            llama(json!({"quantization_config": {"bits": 4}})),
            "quantization_config",
        ),
        (qwen2(sliding), "use_sliding_window"),
        (qwen2(kinds), "sliding_attention"),
        (
            gpt2(json!({"scale_attn_by_inverse_layer_idx": true})),
            "scale_attn_by_inverse_layer_idx",
        ),
        (
            gpt2(json!({"scale_attn_weights": false})),
            "scale_attn_weights",
        ),
        (
            gpt2(json!({"add_cross_attention": true})),
            "add_cross_attention",
        ),
        (
            llama(json!({"num_key_value_heads": 3})),
            "num_key_value_heads",
        ),
        (llama(json!({"head_dim": 3})), "odd"),
        (
            llama(json!({"tie_word_embeddings": "yes"})),
            "tie_word_embeddings",
        ),
        (
            llama(json!({"max_position_embeddings": 0})),
            "max_position_embeddings",
        ),
        (
            llama(json!({"num_hidden_layers": 100_000})),
            "num_hidden_layers",
        ),
        (llama(json!({"rope_theta": -1.0})), "rope_theta"),
        (llama(json!({"rope_scaling": {"type": "linear"}})), "factor"),
        (
            llama(json!({"rope_scaling": {"type": "linear", "factor": 2.0},
                "rope_parameters": {"rope_type": "default"}})),
            "contradict",
        ),
    ];
    each(&rows, |(config, named)| {
        match Architecture::from_config(config) {
            Err(error) if error.fault_list().iter().any(|fault| fault.contains(named)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn families_without_an_exporter_are_refused_by_name() {
    each(&["albert", "electra", "t5", "deit", "swin"], |name| {
        let error = Architecture::from_config(&json!({"model_type": name})).unwrap_err();
        let text = error.to_string();
        let named = text.contains(name) && text.contains("no exporter");
        match named && error.hint_text().is_some() {
            true => Ok(()),
            false => Err(text),
        }
    });
}

#[test]
fn a_window_as_wide_as_the_context_is_none() {
    let rows = [
        json!({"use_sliding_window": true, "sliding_window": 32, "max_window_layers": 0}),
        json!({"use_sliding_window": true, "sliding_window": 4, "max_window_layers": 2}),
        json!({"use_sliding_window": false, "sliding_window": 4}),
    ];
    each(&rows, |changed| {
        let config = config("qwen2", "Qwen2ForCausalLM", changed.clone());
        Architecture::from_config(&config).map(drop)
    });
}

#[test]
fn every_fault_of_a_checkpoint_is_named() {
    let config = config(
        "qwen2",
        "Qwen2ForCausalLM",
        json!({"tie_word_embeddings": true}),
    );
    let architecture = Architecture::from_config(&config).unwrap();
    let open = |tensors: &Tensors| {
        let file = safetensors(tensors);
        Checkpoint::from_bytes(file.into(), &Limits::default()).unwrap()
    };
    let mut tensors = seeded(&architecture);
    let embedding = tensors["model.embed_tokens.weight"].clone();
    // A head that is stored although it is tied: fine when it is the same.
    tensors.insert("lm_head.weight".to_owned(), embedding);
    architecture.bind(&open(&tensors)).unwrap();

    tensors.get_mut("lm_head.weight").unwrap().1[0] += 1.0;
    let error = architecture.bind(&open(&tensors)).unwrap_err();
    assert!(
        error.fault_list()[0].contains("tie_word_embeddings"),
        "{error}"
    );

    tensors.remove("model.norm.weight");
    let bias = tensors
        .remove("model.layers.0.self_attn.q_proj.bias")
        .unwrap();
    tensors.insert(
        "model.layers.9.self_attn.q_proj.bias".to_owned(),
        bias.clone(),
    );
    tensors.insert("model.layers.1.mlp.up_proj.weight".to_owned(), bias);
    let error = architecture.bind(&open(&tensors)).unwrap_err();
    assert_eq!(error.rule(), "checkpoint-parameters");
    assert_eq!(error.fault_list().len(), 4, "{error}");
}

#[test]
fn graphs_that_a_model_does_not_have_are_refused() {
    let config = config("qwen3", "Qwen3Model", json!({}));
    let architecture = Architecture::from_config(&config).unwrap();
    assert_eq!(architecture.roles(), [GraphRole::Single]);
    assert!(architecture.graph_inputs(GraphRole::Decode).is_empty());
    let checkpoint = seeded_checkpoint(&architecture);
    let options = ExportOptions::default();
    let role = GraphRole::Decode;
    let error = amphora_export::export_graph(&architecture, &checkpoint, role, &options);
    assert_eq!(error.unwrap_err().rule(), "graph-role");
}
