//! Model directories packed whole: what goes in is text or a picture, what comes out is what PyTorch and
//! the libraries around it recorded, and nothing about the model is said but in its manifest.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use amphora::{
    Answer, Engines, ErrorKind, GenerateRequest, PackRequest, Packed, Pattern, PromptText,
    RunRequest, Store, Subject, Timestamp,
};
use amphora_bundle::manifest::{Pooling, Postprocessing, Sampling};
use amphora_runtime::read_safetensors;
use amphora_runtime::text::TokenizerFiles;
use amphora_testing::{each, fixture, minilm};
use serde_json::{Value, json};

/// A store of bundles in a directory that goes away.
struct Scene {
    store: Store,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(folder.path().join("artifacts")).unwrap(),
            _folder: folder,
        }
    }

    fn pack(&self, directory: &Path) -> amphora::Result<Packed> {
        let now = Timestamp::from_unix_seconds(0).unwrap();
        let request = PackRequest {
            name: Some("model".to_owned()),
            golden_cases: 6,
            ..PackRequest::new(self.store.clone(), directory, now)
        };
        amphora::pack(&request, &|_| {})
    }

    fn subject(&self, packed: &Packed) -> Subject {
        Subject::resolve(&self.store, &packed.exp_hash).unwrap()
    }

    fn read(&self, packed: &Packed, texts: &[&str]) -> amphora::Result<Answer> {
        amphora::run(RunRequest {
            texts: texts
                .iter()
                .map(|text| ((*text).to_owned(), None))
                .collect(),
            ..RunRequest::new(self.subject(packed))
        })
    }
}

/// A copy of a directory that can be changed.
fn copy(directory: &Path) -> tempfile::TempDir {
    let copied = tempfile::tempdir().unwrap();
    copy_into(directory, copied.path());
    copied
}

fn copy_into(directory: &Path, into: &Path) {
    for entry in fs_err::read_dir(directory).unwrap() {
        let from = entry.unwrap().path();
        let to = into.join(from.file_name().unwrap());
        if from.is_dir() {
            fs_err::create_dir(&to).unwrap();
            copy_into(&from, &to);
        } else {
            fs_err::write(&to, fs_err::read(&from).unwrap()).unwrap();
        }
    }
}

fn furthest(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let differences = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - b).abs());
    differences.fold(0.0, |most, d| if d.is_nan() { d } else { most.max(d) })
}

fn recorded(file: PathBuf, name: &str) -> Vec<f64> {
    read_safetensors(file, 1 << 30).unwrap()[name]
        .to_f64()
        .unwrap()
}

#[test]
fn minilm_answers_every_text_with_the_embedding_of_sentence_transformers() {
    let Some(folder) = minilm() else {
        return;
    };
    let scene = Scene::new();
    let packed = scene.pack(&folder).unwrap();
    let sentences = amphora_files::json::read(folder.join("sentences.json")).unwrap();
    let texts: Vec<String> = sentences
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["text"].as_str().unwrap().to_owned())
        .collect();
    let expected = recorded(folder.join("vectors.safetensors"), "embeddings");
    let rows: Vec<(usize, &str)> = texts.iter().map(String::as_str).enumerate().collect();
    each(&rows, |(row, text)| {
        let answer = scene
            .read(&packed, &[text])
            .map_err(|error| error.to_string())?;
        let embedding = answer.embedding.ok_or("there is no embedding")?;
        let expected = &expected[row * 384..(row + 1) * 384];
        match furthest(embedding.as_slice::<f32>().unwrap(), expected) {
            distance if distance < 1e-5 => Ok(()),
            distance => Err(format!("{distance:e} away")),
        }
    });
    // Several texts are one batch, padded; each keeps its embedding.
    let answer = scene
        .read(&packed, &[&texts[0], &texts[5], &texts[2]])
        .unwrap();
    let embedding = answer.embedding.unwrap();
    assert_eq!(embedding.shape(), [3, 384]);
    let batch: Vec<f64> = [0, 5, 2]
        .iter()
        .flat_map(|row| expected[row * 384..(row + 1) * 384].to_vec())
        .collect();
    assert!(furthest(embedding.as_slice::<f32>().unwrap(), &batch) < 1e-5);
}

#[test]
fn the_last_token_of_every_text_is_its_embedding() {
    let Some(folder) = fixture("qwen3_embedding_tiny") else {
        return;
    };
    // The texts were recorded with at most 256 tokens.
    let copied = copy(&folder);
    let limit = copied.path().join("sentence_bert_config.json");
    fs_err::write(limit, r#"{"max_seq_length": 256}"#).unwrap();
    let scene = Scene::new();
    let packed = scene.pack(copied.path()).unwrap();
    let texts = amphora_files::json::read(folder.join("texts.json")).unwrap();
    let texts: Vec<&str> = texts
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["text"].as_str().unwrap())
        .collect();
    let answer = scene.read(&packed, &texts).unwrap();
    let expected = recorded(folder.join("vectors.safetensors"), "embeddings");
    let found = answer.embedding.unwrap();
    assert!(furthest(found.as_slice::<f32>().unwrap(), &expected) < 1e-5);
}

#[test]
fn a_graph_that_another_exporter_left_in_the_directory_is_taken() {
    let Some(folder) = fixture("qwen3_embedding_tiny") else {
        return;
    };
    // PyTorch's own export, which leaves the positions to the caller.
    let copied = copy(&folder);
    let [weights, graph] = ["model.safetensors", "model.onnx"].map(|name| copied.path().join(name));
    fs_err::remove_file(weights).unwrap();
    fs_err::create_dir(copied.path().join("onnx")).unwrap();
    fs_err::rename(graph, copied.path().join("onnx/model.onnx")).unwrap();
    let scene = Scene::new();
    let packed = scene.pack(copied.path()).unwrap();
    let answer = scene
        .read(&packed, &["Hello world", "naïve café é"])
        .unwrap();
    let vectors = recorded(folder.join("vectors.safetensors"), "embeddings");
    let expected = [&vectors[..128], &vectors[3 * 128..4 * 128]].concat();
    let found = answer.embedding.unwrap();
    assert!(furthest(found.as_slice::<f32>().unwrap(), &expected) < 1e-5);
}

#[test]
fn pictures_get_the_recorded_logits() {
    let Some(folder) = fixture("resnet_tiny") else {
        return;
    };
    let scene = Scene::new();
    let packed = scene.pack(&folder).unwrap();
    let pictures = amphora_files::json::read(folder.join("images.json")).unwrap();
    let vectors = folder.join("vectors.safetensors");
    let names: Vec<&str> = pictures
        .as_array()
        .unwrap()
        .iter()
        .map(|picture| picture["file"].as_str().unwrap())
        .collect();
    each(&names, |name| {
        let answer = amphora::run(RunRequest {
            images: vec![folder.join("images").join(name)],
            ..RunRequest::new(scene.subject(&packed))
        })
        .map_err(|error| error.to_string())?;
        let expected = recorded(
            vectors.clone(),
            &format!("logits_{}", name.replace('.', "_")),
        );
        let logits = answer.outputs.get("logits").unwrap();
        match furthest(logits.as_slice::<f32>().unwrap(), &expected) {
            distance if distance < 1e-3 => Ok(()),
            distance => Err(format!("{distance:e} away")),
        }
    });
    // What is no picture is refused by name.
    let broken = amphora::run(RunRequest {
        images: vec![folder.join("config.json")],
        ..RunRequest::new(scene.subject(&packed))
    });
    let error = broken.unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
    // The bundle reads no text, and says what it takes.
    let error = scene.read(&packed, &["a"]).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Usage, "input-medium")
    );
}

#[test]
fn a_classifier_names_its_classes_and_an_own_label_file_goes_first() {
    let Some(folder) = fixture("bert_tiny") else {
        return;
    };
    let copied = copy(&folder);
    let words: String = (0..1000).map(|word| format!("w{word}\n")).collect();
    let words = words
        .replacen("w0\n", "[PAD]\n", 1)
        .replacen("w1\n", "[UNK]\n", 1)
        .replacen("w2\n", "[CLS]\n", 1)
        .replacen("w3\n", "[SEP]\n", 1);
    fs_err::write(copied.path().join("vocab.txt"), words).unwrap();
    let scene = Scene::new();
    let packed = scene.pack(copied.path()).unwrap();
    let answer = amphora::run(RunRequest {
        texts: vec![("w7 w8".to_owned(), Some("w9".to_owned()))],
        top_k: Some(2),
        ..RunRequest::new(scene.subject(&packed))
    })
    .unwrap();
    let labels = &answer.labels.unwrap()["logits"][0];
    assert_eq!(labels.len(), 2);
    assert!(labels[0].label.starts_with("LABEL_"));
    let whole = answer.postprocessed["logits"].to_f64().unwrap();
    assert!((whole.iter().sum::<f64>() - 1.0).abs() < 1e-6);

    // The second text has segment 1: without it the answer is another.
    let alone = scene.read(&packed, &["w7 w8 w9"]).unwrap();
    assert_ne!(alone.outputs.to_json(), answer.outputs.to_json());

    let own = copied.path().join("labels.json");
    fs_err::write(&own, r#"["no", "maybe", "yes"]"#).unwrap();
    let now = Timestamp::from_unix_seconds(0).unwrap();
    let request = PackRequest {
        name: Some("named".to_owned()),
        labels: Some(own),
        golden_cases: 2,
        ..PackRequest::new(scene.store.clone(), copied.path(), now)
    };
    let named = amphora::pack(&request, &|_| {}).unwrap();
    let answer = scene.read(&named, &["w7"]).unwrap();
    let label = &answer.labels.unwrap()["logits"][0][0].label;
    assert!(["no", "maybe", "yes"].contains(&label.as_str()));
}

#[test]
fn a_language_model_is_two_proven_graphs_and_knows_how_it_writes() {
    for name in ["gpt2_tiny", "llama_tiny", "qwen3_tiny"] {
        let Some(folder) = fixture(name) else {
            return;
        };
        let scene = Scene::new();
        let packed = scene.pack(&folder).unwrap();
        let bundle = amphora::open(&packed.path).unwrap();
        let manifest = bundle.manifest();
        let roles: Vec<&str> = manifest.golden.keys().map(String::as_str).collect();
        assert_eq!(roles, ["decode", "prefill"], "{name}");
        let config = amphora_files::json::read(folder.join("generation_config.json")).unwrap();
        let generation = manifest.spec.generation.as_ref().unwrap();
        let stop: Vec<u64> = generation
            .stop_token_ids
            .iter()
            .map(|id| u64::from(*id))
            .collect();
        assert_eq!(stop, [config["eos_token_id"].as_u64().unwrap()], "{name}");
        assert!(generation.context_length.is_some() && generation.sampling.is_none());
        // All logits of the longest prompt are few.
        assert_eq!(generation.positions_per_call, None);
        let ids = &manifest.spec.io.inputs[0];
        assert_eq!(ids.preprocessing.is_some(), name == "qwen3_tiny", "{name}");
    }
}

/// What `generation_config.json` says, and what the manifest then says.
#[test]
fn how_tokens_are_chosen_comes_from_the_generation_config() {
    let Some(folder) = fixture("gpt2_tiny") else {
        return;
    };
    let penalty = Sampling {
        repetition_penalty: Some(1.2),
        ..Sampling::default()
    };
    let drawn = Sampling {
        temperature: Some(1.0),
        ..Sampling::default()
    };
    let whole = Sampling {
        temperature: Some(0.6),
        top_k: Some(20),
        top_p: Some(0.95),
        min_p: Some(0.1),
        repetition_penalty: None,
    };
    let rows = [
        (json!({"temperature": 0.5, "top_k": 9}), None),
        (json!({"do_sample": false, "repetition_penalty": 1.0}), None),
        (json!({"repetition_penalty": 1.2}), Some(penalty)),
        (json!({"do_sample": true, "top_k": 0}), Some(drawn)),
        (
            json!({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.1,
                "repetition_penalty": 1.0}),
            Some(whole),
        ),
    ];
    each(&rows, |(config, expected)| {
        let (scene, copied) = (Scene::new(), copy(&folder));
        let mut config = config.clone();
        config["eos_token_id"] = json!([0, 5]);
        config["pad_token_id"] = json!(-1);
        fs_err::write(
            copied.path().join("generation_config.json"),
            config.to_string(),
        )
        .unwrap();
        let packed = scene.pack(copied.path()).map_err(|e| e.to_string())?;
        let bundle = amphora::open(&packed.path).unwrap();
        let found = bundle.manifest().spec.generation.clone().unwrap();
        let filling = (found.stop_token_ids.as_slice(), found.pad_token_id);
        match found.sampling == *expected && filling == (&[0, 5], Some(0)) {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

#[test]
fn a_text_goes_on_with_the_blank_behind_its_prompt() {
    let Some(folder) = fixture("llama_tiny") else {
        return;
    };
    let (scene, copied) = (Scene::new(), copy(&folder));
    let model = include_bytes!("../../runtime/tests/text/models/bpe.model");
    fs_err::write(copied.path().join("tokenizer.model"), model).unwrap();
    let class = json!({"tokenizer_class": "LlamaTokenizer"}).to_string();
    fs_err::write(copied.path().join("tokenizer_config.json"), class).unwrap();
    let mut config = amphora_files::json::read(copied.path().join("config.json")).unwrap();
    config["max_position_embeddings"] = json!(100_000);
    fs_err::write(copied.path().join("config.json"), config.to_string()).unwrap();
    let packed = scene.pack(copied.path()).unwrap();
    // 1,000 logits each, 4 bytes a logit, 256 MB.
    let manifest = amphora::open(&packed.path).unwrap().manifest().clone();
    let generation = manifest.spec.generation.as_ref().unwrap();
    let positions = generation.positions_per_call;
    assert_eq!(positions.map(u32::from), Some(67_108));
    let request = GenerateRequest {
        subject: scene.subject(&packed),
        prompts: vec![PromptText::Plain("the graph".to_owned())],
        chat: None,
        date: None,
        pattern: Some(Pattern::Regex(" (is|an) engine".to_owned())),
        max_new_tokens: 20,
        sampling: Sampling::default(),
        seed: 0,
        stop: Vec::new(),
        special_tokens: false,
        time_limit: None,
        engines: Engines::default(),
        verify: false,
    };
    let mut streamed = String::new();
    let written = amphora::generate(request, &mut |_, text| {
        streamed.push_str(text);
        Ok(())
    });
    let text = &written.unwrap().texts[0];
    assert_eq!(text.complete, Some(true));
    assert!(
        [" is engine", " an engine"].contains(&text.text.as_str()),
        "{text:?}"
    );
    assert_eq!(streamed, text.text);
}

#[test]
fn every_file_that_a_tokenizer_is_read_from_goes_into_the_bundle() {
    let Some(folder) = fixture("bert_tiny") else {
        return;
    };
    let copied = copy(&folder);
    let names = TokenizerFiles::NAMES;
    for name in names.iter().filter(|name| **name != "config.json") {
        let text = if name.ends_with("json") { "{}" } else { "w\n" };
        fs_err::write(copied.path().join(name), text).unwrap();
    }
    // One that can be read, so that the others are not looked into.
    let tokenizer = r#"{"model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "[UNK]": 1}, "unk_token": "[UNK]"}}"#;
    fs_err::write(copied.path().join("tokenizer.json"), tokenizer).unwrap();
    let packed = Scene::new().pack(copied.path()).unwrap();
    let listed = |name: &str| packed.files.iter().any(|file| file.path.as_str() == name);
    each(&names, |name| match listed(name) {
        true => Ok(()),
        false => Err("it was left behind"),
    });
}

#[test]
fn what_lies_beside_the_weights_decides_the_hints() {
    let Some(folder) = fixture("qwen3_embedding_tiny") else {
        return;
    };
    type Change = fn(&Path);
    let rows: [(&str, Change, Result<usize, ErrorKind>); 4] = [
        (
            "no modules",
            |at| fs_err::remove_file(at.join("modules.json")).unwrap(),
            Ok(0),
        ),
        (
            "a module that is not known",
            |at| {
                fs_err::write(
                    at.join("modules.json"),
                    r#"[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]"#,
                )
                .unwrap();
            },
            Err(ErrorKind::Unsupported),
        ),
        (
            "modules that are no list",
            |at| fs_err::write(at.join("modules.json"), "{}").unwrap(),
            Err(ErrorKind::Malformed),
        ),
        (
            "an index of modules without its folder",
            |at| fs_err::remove_dir_all(at.join("1_Pooling")).unwrap(),
            Err(ErrorKind::NotFound),
        ),
    ];
    each(&rows, |(_, change, expected)| {
        let copied = copy(&folder);
        change(copied.path());
        let scene = Scene::new();
        let found = match scene.pack(copied.path()) {
            Ok(packed) => {
                let bundle = amphora::open(&packed.path).unwrap();
                let outputs = &bundle.manifest().spec.io.outputs;
                Ok(outputs[0].postprocessing.len())
            }
            Err(error) => Err(error.kind()),
        };
        match found == *expected {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
    let scene = Scene::new();
    let packed = scene.pack(&folder).unwrap();
    let bundle = amphora::open(&packed.path).unwrap();
    let steps = &bundle.manifest().spec.io.outputs[0].postprocessing;
    let last = Postprocessing::Pooling {
        mode: Pooling::Last,
    };
    assert_eq!(*steps, [last, Postprocessing::Normalize]);
    let config = bundle.manifest().spec.io.inputs[0].preprocessing.clone();
    assert_eq!(
        config.unwrap().config.unwrap()["padding"],
        Value::from("longest")
    );
}

#[test]
fn what_could_not_be_served_is_not_sealed() {
    let (Some(language), Some(bare), Some(embedding), Some(pictures)) = (
        fixture("qwen3_tiny"),
        fixture("bert_tiny"),
        fixture("qwen3_embedding_tiny"),
        fixture("resnet_tiny"),
    ) else {
        return;
    };
    let rows: [(&Path, &str, &str, &str); 6] = [
        (
            &language,
            "generation_config.json",
            r#"{"eos_token_id": [2, 999999]}"#,
            "generation-token",
        ),
        (
            &language,
            "chat_template.jinja",
            "{% for message in messages %}",
            "chat-template",
        ),
        (&language, "generation_config.json", "{", "json"),
        (&embedding, "tokenizer.json", "{\"version\": ", "json"),
        (
            &bare,
            "tokenizer.json",
            r#"{"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 99999}, "unk_token": "a"}}"#,
            "tokenizer-vocabulary",
        ),
        (&pictures, "preprocessor_config.json", "[", "json"),
    ];
    each(&rows, |(model, file, content, rule)| {
        let directory = copy(model);
        fs_err::write(directory.path().join(file), content).unwrap();
        let scene = Scene::new();
        let error = match scene.pack(directory.path()) {
            Ok(packed) => return Err(format!("sealed {packed:?}")),
            Err(error) => error,
        };
        let place = error.file().unwrap_or(Path::new(""));
        let right = error.rule() == *rule && place.starts_with(directory.path());
        let named =
            place.ends_with(file) || *rule == "generation-token" || *rule == "tokenizer-vocabulary";
        match right && named && scene.store.list().unwrap().bundles.is_empty() {
            true => Ok(()),
            false => Err(format!("{error:?}")),
        }
    });
}

#[test]
fn what_people_would_miss_is_said_at_packing() {
    let rows = [
        ("bert_tiny", "", "there is no tokenizer"),
        (
            "resnet_tiny",
            "preprocessor_config.json",
            "there is no preprocessor_config.json",
        ),
    ];
    each(&rows, |(name, left_out, expected)| {
        let Some(model) = fixture(name) else {
            return Ok(());
        };
        let directory = copy(&model);
        if !left_out.is_empty() {
            fs_err::remove_file(directory.path().join(left_out)).unwrap();
        }
        let scene = Scene::new();
        let packed = scene
            .pack(directory.path())
            .map_err(|error| format!("{error:?}"))?;
        match packed
            .warnings
            .iter()
            .any(|warning| warning.starts_with(expected))
        {
            true => Ok(()),
            false => Err(format!("{:?}", packed.warnings)),
        }
    });
}

#[test]
fn refusals_of_a_bundle_say_what_helps_a_bundle() {
    let (Some(embedding), Some(bare)) = (fixture("qwen3_embedding_tiny"), fixture("bert_tiny"))
    else {
        return;
    };
    let scene = Scene::new();
    let nothing = scene
        .read(&scene.pack(&embedding).unwrap(), &[])
        .unwrap_err();
    let hint = nothing.hint_text().unwrap();
    assert!(hint.starts_with("give --text, or tensors"), "{hint}");

    let packed = scene.pack(&bare).unwrap();
    let silent = scene.read(&packed, &["a text"]).unwrap_err();
    assert_eq!(silent.rule(), "tokenizer-missing");
    let hint = silent.hint_text().unwrap();
    assert!(hint.starts_with("pack the model again"), "{hint}");
    assert_eq!(silent.file(), Some(&*packed.path));
}
