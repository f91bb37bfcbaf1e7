//! Text to token ids and back, against the ids that transformers recorded.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

#[cfg(feature = "generation")]
mod chat;
mod sentencepiece;
mod streaming;
mod transformers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use amphora_error::{ErrorKind, Result};
use amphora_files::json;
use amphora_onnx::{Dim, Dtype, TensorSpec};
use amphora_runtime::Tensor;
use amphora_runtime::text::{
    Padding, Shortened, Side, Text, TextConfig, TextProcessor, TokenizerFiles,
};
use amphora_testing::{each, fixture};
use serde_json::{Value, json};

/// The files of a directory that `keep` keeps.
fn files(directory: &Path, keep: impl Fn(&str) -> bool) -> TokenizerFiles {
    TokenizerFiles::gather(|name| {
        let path = directory.join(name);
        let wanted = keep(name) && path.exists();
        Ok(wanted.then(|| fs_err::read(path).unwrap().into()))
    })
    .unwrap()
}

/// A name and a content.
type File<'a> = (&'a str, &'a [u8]);

/// Files out of memory.
fn made(files: &[File]) -> TokenizerFiles {
    TokenizerFiles::gather(|name| {
        let found = files.iter().find(|(known, _)| *known == name);
        Ok(found.map(|(_, bytes)| bytes.to_vec().into()))
    })
    .unwrap()
}

fn rows(path: &PathBuf) -> Vec<Value> {
    json::read(path).unwrap().as_array().unwrap().clone()
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn same<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("expected {expected:?}, found {found:?}")),
    }
}

fn encoded(processor: &TextProcessor, text: &str) -> Result<Vec<u32>, String> {
    let encoded = processor.encode(&[text.into()]);
    encoded
        .map(|encoded| encoded.ids(0).to_vec())
        .map_err(|error| error.to_string())
}

fn spec(name: &str, dtype: Dtype, dims: &[Dim]) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        dtype,
        shape: Some(dims.to_vec()),
    }
}

fn open() -> [Dim; 2] {
    [Dim::Symbol("batch".into()), Dim::Symbol("sequence".into())]
}

#[test]
fn minilm_from_every_form() {
    let Some(directory) = fixture("minilm") else {
        return;
    };
    let sentences = rows(&directory.join("sentences.json"));
    assert_eq!(sentences.len(), 24);
    let all = files(&directory, |_| true);
    let forms = [
        all.clone(),
        files(&directory, |name| name != "tokenizer.json"),
        files(&directory, |name| name == "vocab.txt"),
    ];
    for files in &forms {
        let untruncated = TextConfig {
            truncation: Some(false),
            max_length: Some(usize::MAX),
            ..TextConfig::default()
        };
        let whole = TextProcessor::new(files, &untruncated).unwrap();
        let config = TextConfig {
            max_length: Some(256),
            ..TextConfig::default()
        };
        let short = TextProcessor::new(files, &config).unwrap();
        each(&sentences, |row| {
            let text = row["text"].as_str().unwrap();
            same(encoded(&whole, text)?, ids(&row["ids_untruncated"]))?;
            same(encoded(&short, text)?, ids(&row["ids_256"]))
        });
    }
    let config = TextConfig::from_files(&all).unwrap();
    assert_eq!(config.max_length, Some(256));
    assert_eq!(config.padding, Some(Padding::Longest));
    let packed = TextProcessor::new(&all, &config).unwrap();
    let longest = sentences.last().unwrap()["text"].as_str().unwrap();
    assert_eq!(packed.encode(&[longest.into()]).unwrap().ids(0).len(), 256);
}

#[test]
fn qwen_from_every_form() {
    let Some(directory) = fixture("qwen3_tiny") else {
        return;
    };
    let cases = rows(&directory.join("tokenizer_cases.json"));
    let forms = [
        files(&directory, |_| true),
        files(&directory, |name| name != "tokenizer.json"),
    ];
    for files in &forms {
        let processor = TextProcessor::new(files, &TextConfig::default()).unwrap();
        each(&cases, |row| {
            let expected = ids(&row["ids"]);
            same(
                encoded(&processor, row["text"].as_str().unwrap())?,
                expected.clone(),
            )?;
            let decoded = |skip| processor.decode(&expected, skip).unwrap();
            same(json!(decoded(false)), row["decoded"].clone())?;
            same(json!(decoded(true)), row["decoded_skip_special"].clone())
        });
    }
}

#[test]
fn qwen_embedding() {
    let Some(directory) = fixture("qwen3_embedding_tiny") else {
        return;
    };
    let all = files(&directory, |_| true);
    let config = TextConfig {
        max_length: Some(256),
        ..TextConfig::default()
    };
    let processor = TextProcessor::new(&all, &config).unwrap();
    each(&rows(&directory.join("texts.json")), |row| {
        same(
            encoded(&processor, row["text"].as_str().unwrap())?,
            ids(&row["ids"]),
        )
    });
    let config = TextConfig {
        empty_text: Some(" ".into()),
        ..TextConfig::default()
    };
    let processor = TextProcessor::new(&all, &config).unwrap();
    let space = encoded(&processor, " ").unwrap();
    assert_eq!(space.len(), 2);
    for blank in ["", "\n\t "] {
        assert_eq!(encoded(&processor, blank).unwrap(), space);
    }
}

/// A BERT of a few words.
const WORDS: &[u8] = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nplan\n##ner\nsplits\ntask\n.\n";

fn words(config: &TextConfig) -> TextProcessor {
    TextProcessor::new(&made(&[("vocab.txt", WORDS)]), config).unwrap()
}

#[test]
fn every_input_by_its_name() {
    let config = TextConfig {
        decoder_start_token_id: Some(7),
        ..TextConfig::default()
    };
    let pair = Text {
        text: "the planner",
        pair: Some("splits the task."),
    };
    let texts = [pair, Text::from("task")];
    let encoded = words(&config).encode(&texts).unwrap();
    let specs = [
        spec("input_ids", Dtype::Int64, &open()),
        spec("attention_mask", Dtype::Float32, &open()),
        spec("token_type_ids", Dtype::Int32, &open()),
        spec("position_ids", Dtype::Int64, &open()),
        spec("decoder_input_ids", Dtype::Int64, &open()),
    ];
    let expected = |left: bool| {
        let row = |row: &[i64], pad: usize| {
            let padding = std::iter::repeat_n(0, pad);
            match left {
                true => padding.chain(row.iter().copied()).collect::<Vec<_>>(),
                false => row.iter().copied().chain(padding).collect(),
            }
        };
        let two = |first: &[i64], second: &[i64]| [row(first, 0), row(second, 7)].concat();
        let ids = two(&[2, 5, 6, 7, 3, 8, 5, 9, 10, 3], &[2, 9, 3]);
        let mask: Vec<f32> = two(&[1; 10], &[1; 3]).iter().map(|v| *v as f32).collect();
        let segments = two(&[0, 0, 0, 0, 0, 1, 1, 1, 1, 1], &[0; 3]);
        let segments: Vec<i32> = segments.iter().map(|v| *v as i32).collect();
        let positions = two(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[0, 1, 2]);
        BTreeMap::from([
            ("input_ids".to_owned(), Tensor::new([2, 10], ids).unwrap()),
            (
                "attention_mask".to_owned(),
                Tensor::new([2, 10], mask).unwrap(),
            ),
            (
                "token_type_ids".to_owned(),
                Tensor::new([2, 10], segments).unwrap(),
            ),
            (
                "position_ids".to_owned(),
                Tensor::new([2, 10], positions).unwrap(),
            ),
            (
                "decoder_input_ids".to_owned(),
                Tensor::new([2, 1], vec![7_i64, 7]).unwrap(),
            ),
        ])
    };
    assert_eq!(encoded.tensors(&specs).unwrap(), expected(false));
    let left = TextConfig {
        padding_side: Some(Side::Left),
        ..config
    };
    assert_eq!(
        words(&left).tensors(&texts, &specs).unwrap(),
        expected(true)
    );
}

#[test]
fn lengths() {
    let text = "the planner splits the task.";
    let config = |max_length, padding, truncation| TextConfig {
        max_length,
        padding: Some(padding),
        truncation: Some(truncation),
        ..TextConfig::default()
    };
    let fixed = words(&config(Some(4), Padding::Fixed, true));
    let ids = |processor: &TextProcessor, texts: &[&str], dims: &[Dim]| {
        let texts: Vec<Text<'_>> = texts.iter().map(|text| Text::from(*text)).collect();
        let tensors = processor.tensors(&texts, &[spec("input_ids", Dtype::Int64, dims)])?;
        let tensor = tensors["input_ids"].clone();
        Result::Ok((tensor.shape().to_vec(), tensor.into_vec::<i64>().unwrap()))
    };
    let found = ids(&fixed, &[text, "task"], &open()).unwrap();
    assert_eq!(found, (vec![2, 4], vec![2, 5, 6, 3, 2, 9, 3, 0]));

    // A graph that fixes the length: longer texts are cut to it with their frame, shorter ones filled.
    let free = words(&TextConfig::default());
    let dims = [Dim::Unknown, Dim::Fixed(5)];
    let found = ids(&free, &[text, ""], &dims).unwrap();
    assert_eq!(found, (vec![2, 5], vec![2, 5, 6, 7, 3, 2, 3, 0, 0, 0]));
    let found = ids(&free, &["task"], &[Dim::Fixed(5)]).unwrap();
    assert_eq!(found, (vec![5], vec![2, 9, 3, 0, 0]));

    let pair = Text {
        text,
        pair: Some("task task task"),
    };
    let four = words(&config(Some(9), Padding::Longest, true));
    let encoded = four.encode(&[pair]).unwrap();
    assert_eq!(encoded.ids(0), [2, 5, 6, 7, 3, 9, 9, 9, 3]);
    assert_eq!(encoded.segments(0), [0, 0, 0, 0, 0, 1, 1, 1, 1]);
    let left = TextConfig {
        truncation_side: Some(Side::Left),
        ..config(Some(4), Padding::Longest, true)
    };
    assert_eq!(
        words(&left).encode(&[text.into()]).unwrap().ids(0),
        [2, 9, 10, 3]
    );

    let refused = |result: Result<(Vec<usize>, Vec<i64>)>| {
        let error = result.unwrap_err();
        (error.kind(), error.rule())
    };
    let strict = words(&config(Some(4), Padding::None, false));
    let limit = (ErrorKind::Limit, "text-length");
    assert_eq!(refused(ids(&strict, &[text], &open())), limit);
    let ragged = (ErrorKind::Usage, "text-ragged");
    assert_eq!(
        refused(ids(&strict, &["task", "the task"], &open())),
        ragged
    );
    let batch = [Dim::Fixed(1), Dim::Unknown];
    let inputs = (ErrorKind::Usage, "text-inputs");
    assert_eq!(refused(ids(&free, &["task", "the task"], &batch)), inputs);
    let narrow = words(&config(Some(1), Padding::Longest, true));
    assert_eq!(
        refused(ids(&narrow, &[text], &open())),
        (ErrorKind::Usage, "text-config")
    );
    let bare = TextConfig {
        add_special_tokens: Some(false),
        ..TextConfig::default()
    };
    let empty = (ErrorKind::Usage, "text-empty");
    assert_eq!(refused(ids(&words(&bare), &[""], &open())), empty);
    assert_eq!(
        ids(&words(&bare), &["the task"], &open()).unwrap().1,
        [5, 9]
    );
}

#[test]
fn of_a_pair_the_text_is_shortened_that_should_be() {
    let pair = Text {
        text: "task task task",
        pair: Some("the planner splits the task."),
    };
    let config = |max_length, strategy| TextConfig {
        max_length: Some(max_length),
        truncation_strategy: Some(strategy),
        ..TextConfig::default()
    };
    let first = vec![2, 9, 9, 3, 5, 6, 7, 8, 5, 9, 10, 3];
    let second = vec![2, 9, 9, 9, 3, 5, 6, 7, 8, 5, 9, 3];
    let rows = [
        (12, Shortened::LongestFirst, Ok(second.clone())),
        (12, Shortened::OnlySecond, Ok(second.clone())),
        (12, Shortened::OnlyFirst, Ok(first)),
        (7, Shortened::OnlySecond, Ok(vec![2, 9, 9, 9, 3, 5, 3])),
        (6, Shortened::OnlySecond, Err("text-length")),
        (10, Shortened::OnlyFirst, Err("text-length")),
    ];
    each(&rows, |(most, strategy, expected)| {
        let encoded = words(&config(*most, *strategy)).encode(&[pair]);
        let found = encoded.map(|encoded| encoded.ids(0).to_vec());
        same(found.map_err(|error| error.rule()), expected.clone())
    });
    let alone = words(&config(4, Shortened::OnlySecond));
    let alone = alone.encode(&[Text::from("the planner")]).unwrap();
    assert_eq!(alone.ids(0), [2, 5, 6, 3]);

    // The tokenizer's own file says the same, and a packer writes it down.
    let Some(directory) = fixture("minilm") else {
        return;
    };
    let mut tokenizer: Value = json::read(directory.join("tokenizer.json")).unwrap();
    tokenizer["truncation"] =
        json!({"direction": "Right", "max_length": 11, "strategy": "OnlySecond", "stride": 0});
    let bytes = serde_json::to_vec(&tokenizer).unwrap();
    let files = made(&[("tokenizer.json", &bytes)]);
    let stated = TextConfig::from_files(&files).unwrap();
    assert_eq!(stated.truncation_strategy, Some(Shortened::OnlySecond));
    for config in [TextConfig::default(), stated] {
        let processor = TextProcessor::new(&files, &config).unwrap();
        let pair = Text {
            text: "one two three four five six",
            pair: Some("one two three"),
        };
        let encoded = processor.encode(&[pair]).unwrap();
        assert_eq!(encoded.segments(0), [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
    }
}

#[test]
fn one_error_names_every_input() {
    let encoded = words(&TextConfig::default())
        .encode(&["task".into()])
        .unwrap();
    let specs = [
        spec("input_ids", Dtype::Float64, &open()),
        spec(
            "attention_mask",
            Dtype::Int64,
            &[Dim::Unknown, Dim::Unknown, Dim::Unknown],
        ),
        spec("pixel_values", Dtype::Float32, &open()),
        spec("token_type_ids", Dtype::Int64, &open()),
    ];
    let error = encoded.tensors(&specs).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Usage, "text-inputs")
    );
    assert_eq!(
        error.fault_list(),
        [
            "input 'input_ids': expected int64 or int32, found float64",
            "input 'attention_mask': expected the shape [?, ?, ?], found [1, 3]",
            "input 'pixel_values': it is not made from text",
        ]
    );
}

#[test]
fn settings_of_the_tokenizer_config() {
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nTask\ntask\n".as_bytes();
    let config = |text: &'static str| ("tokenizer_config.json", text.as_bytes());
    let cased =
        config(r#"{"do_lower_case": false, "model_max_length": 4, "padding_side": "left"}"#);
    let processor =
        |files: &[(&str, &[u8])]| TextProcessor::new(&made(files), &TextConfig::default()).unwrap();
    let cased_only = processor(&[("vocab.txt", vocabulary), cased]);
    assert_eq!(
        encoded(&cased_only, "Task task Task").unwrap(),
        [2, 5, 6, 3]
    );
    let uncased = processor(&[("vocab.txt", vocabulary)]);
    assert_eq!(encoded(&uncased, "Task task").unwrap(), [2, 6, 6, 3]);
    let lower = TextConfig {
        lowercase: Some(true),
        ..TextConfig::default()
    };
    let lower = TextProcessor::new(&made(&[("vocab.txt", vocabulary), cased]), &lower).unwrap();
    assert_eq!(encoded(&lower, "Task").unwrap(), [2, 6, 3]);
    assert_eq!(cased_only.special_token("cls_token"), Some("[CLS]"));
    assert_eq!(cased_only.pad_id(), 0);

    // The same override reaches into a tokenizer.json.
    let Some(directory) = fixture("minilm") else {
        return;
    };
    let json = fs_err::read(directory.join("tokenizer.json")).unwrap();
    let cased = processor(&[
        ("tokenizer.json", &json),
        config(r#"{"do_lower_case": false}"#),
    ]);
    let uncased = processor(&[("tokenizer.json", &json)]);
    assert_eq!(encoded(&cased, "HELLO").unwrap()[1], 100);
    assert_eq!(encoded(&uncased, "HELLO").unwrap()[1], 7592);
}

#[test]
fn what_is_refused() {
    let broken_config: &[u8] = b"{\"tokenizer_class\": \"FlaubertTokenizer\"}";
    let panics = json!({
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["b", "c"]]},
    });
    let panics = serde_json::to_vec(&panics).unwrap();
    let huge = br#"{"model": {"type": "WordLevel", "vocab": {"a": 4294967295}, "unk_token": "a"}}"#;
    let deep = [vec![b'['; 100], vec![b']'; 100]].concat();
    let rows: Vec<(&str, Vec<File>, ErrorKind, &str)> = vec![
        ("nothing", vec![], ErrorKind::NotFound, "tokenizer-missing"),
        (
            "half",
            vec![("vocab.json", b"{}")],
            ErrorKind::NotFound,
            "tokenizer-missing",
        ),
        (
            "no object",
            vec![("tokenizer.json", b"[]")],
            ErrorKind::Malformed,
            "tokenizer",
        ),
        (
            "not JSON",
            vec![("tokenizer.json", b"{")],
            ErrorKind::Malformed,
            "json",
        ),
        (
            "deep",
            vec![("tokenizer.json", &deep)],
            ErrorKind::Malformed,
            "json",
        ),
        (
            "merge of nothing",
            vec![("tokenizer.json", &panics)],
            ErrorKind::Malformed,
            "tokenizer",
        ),
        (
            "id beyond",
            vec![("tokenizer.json", huge)],
            ErrorKind::Limit,
            "tokenizer-tokens",
        ),
        (
            "not UTF-8",
            vec![("vocab.txt", b"\xff")],
            ErrorKind::Malformed,
            "vocabulary-encoding",
        ),
        (
            "no [UNK]",
            vec![("vocab.txt", b"a\n")],
            ErrorKind::Malformed,
            "special-token-missing",
        ),
        (
            "class",
            vec![
                ("vocab.txt", WORDS),
                ("tokenizer_config.json", broken_config),
            ],
            ErrorKind::Unsupported,
            "tokenizer-class",
        ),
        (
            "merge",
            vec![
                ("vocab.json", b"{\"a\": 0}"),
                ("merges.txt", b"#version: 0.2\na b\n"),
            ],
            ErrorKind::Malformed,
            "merge",
        ),
        (
            "number",
            vec![
                ("vocab.txt", WORDS),
                ("added_tokens.json", b"{\"<x>\": 99}"),
            ],
            ErrorKind::Malformed,
            "added-token",
        ),
        (
            "no model",
            vec![("spiece.model", b"hello")],
            ErrorKind::Malformed,
            "sentencepiece",
        ),
    ];
    each(&rows, |(_, listed, kind, rule)| {
        let result = TextProcessor::new(&made(listed), &TextConfig::default());
        let error = result.err().ok_or("it was taken")?;
        same((error.kind(), error.rule()), (*kind, *rule)).map_err(|e| format!("{e}\n{error:?}"))
    });
    let config = json!({"max_lenght": 3});
    let error = TextConfig::from_manifest(config.as_object()).unwrap_err();
    assert_eq!(error.rule(), "text-config");
}
