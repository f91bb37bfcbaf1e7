//! Text out of tokens that come one by one, and what each token stands for.

use amphora_runtime::text::{TextConfig, TextProcessor};
use amphora_testing::fixture;
use serde_json::json;

use super::{files, made};

/// One tokenizer for every way in which tokens become text.
fn tokenizers() -> Vec<(String, TextProcessor)> {
    let mut made_by: Vec<(String, TextProcessor)> = Vec::new();
    let mut add = |name: &str, files: &[(&str, &[u8])]| {
        let processor = TextProcessor::new(&made(files), &TextConfig::default()).unwrap();
        made_by.push((name.to_owned(), processor));
    };
    add(
        "unigram",
        &[("spiece.model", include_bytes!("models/unigram.model"))],
    );
    add(
        "bpe with bytes",
        &[("spiece.model", include_bytes!("models/bpe.model"))],
    );
    let pieces = [
        "a", "b", "▁a", "▁", " ", "##c", "é", "日", "x</w>", ".", "n't", "<0xF0>", "<0x9F>",
        "<0x98>", "<0x80>",
    ];
    let vocabulary: serde_json::Map<String, serde_json::Value> = pieces
        .iter()
        .zip(0..)
        .map(|(piece, id)| ((*piece).to_owned(), json!(id)))
        .collect();
    let replace = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
    let decoders = [
        ("none", json!(null)),
        (
            "metaspace",
            json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}),
        ),
        (
            "wordpiece",
            json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        ),
        ("suffix", json!({"type": "BPEDecoder", "suffix": "</w>"})),
        (
            "ctc",
            json!({"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": true}),
        ),
        (
            "llama",
            json!({"type": "Sequence", "decoders": [replace, {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}),
        ),
        (
            "both ends",
            json!({"type": "Sequence", "decoders": [replace, {"type": "Fuse"},
                {"type": "Strip", "content": "a", "start": 2, "stop": 2}]}),
        ),
    ];
    for (name, decoder) in decoders {
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": [{"id": 15, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true}],
            "decoder": decoder,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"},
        });
        add(
            name,
            &[("tokenizer.json", &serde_json::to_vec(&tokenizer).unwrap())],
        );
    }
    for name in ["minilm", "qwen3_tiny"] {
        if let Some(directory) = fixture(name) {
            let files = files(&directory, |_| true);
            let processor = TextProcessor::new(&files, &TextConfig::default()).unwrap();
            made_by.push((name.to_owned(), processor));
        }
    }
    made_by
}

#[test]
fn streams_what_decoding_the_whole_gives() {
    for (name, processor) in tokenizers() {
        let mut seed = 3_u64;
        let mut random = move |most: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % most
        };
        for case in 0..60 {
            // Runs of few tokens, so that they repeat and follow each other in every order.
            let range = if case % 2 == 0 {
                processor.vocab_size() + 2
            } else {
                40.min(processor.vocab_size())
            };
            let start = random(processor.vocab_size() + 1 - range.min(processor.vocab_size()));
            let ids: Vec<u32> = (0..random(300))
                .map(|_| (start + random(range)) as u32)
                .collect();
            for skip_special in [false, true] {
                let mut stream = processor.stream(skip_special);
                let mut text = String::new();
                for id in &ids {
                    text += &stream.push(*id).unwrap();
                }
                text += &stream.finish().unwrap();
                let whole = processor.decode(&ids, skip_special).unwrap();
                assert_eq!(text, whole, "{name}, {ids:?}");
            }
        }
    }
}

/// Tokenizers that make text of each token apart; of the others a text is as if it stood alone.
const APART: [&str; 7] = [
    "unigram",
    "bpe with bytes",
    "none",
    "metaspace",
    "wordpiece",
    "llama",
    "minilm",
];

#[test]
fn a_text_goes_on_where_its_prompt_ends() {
    let mut joined = 0;
    for (name, processor) in tokenizers() {
        if !APART.contains(&name.as_str()) {
            continue;
        }
        let mut seed = 5_u64;
        let mut random = move |most: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % most
        };
        let shown = |id: &u32| {
            let token = processor.token(*id);
            token.is_some_and(|token| !token.starts_with("<0x") && !processor.is_special(*id))
        };
        for _ in 0..200 {
            let mut ids = |count| -> Vec<u32> {
                let ids = (0..count).map(|_| random(processor.vocab_size()) as u32);
                ids.collect()
            };
            let (mut prompt, text) = (ids(6), ids(9));
            while prompt.last().is_some_and(|last| !shown(last)) {
                prompt.pop();
            }
            let mut stream = processor.stream(true).after(&prompt);
            let mut found = processor.decode(&prompt, true).unwrap();
            for id in &text {
                found += &stream.push(*id).unwrap();
            }
            found += &stream.finish().unwrap();
            let whole = processor
                .decode(&[&prompt[..], &text].concat(), true)
                .unwrap();
            assert_eq!(found, whole, "{name}, {prompt:?}, {text:?}");
            let alone = processor.decode(&text, true).unwrap();
            joined +=
                usize::from(!whole.ends_with(&alone) || whole.ends_with(&format!(" {alone}")));
        }
    }
    assert!(joined > 100, "{joined}");
}

#[test]
fn characters_come_whole_and_soon() {
    let Some(directory) = fixture("qwen3_tiny") else {
        return;
    };
    let processor =
        TextProcessor::new(&files(&directory, |_| true), &TextConfig::default()).unwrap();
    let text = "naïve 日本語 😀 👩‍👩‍👧 end";
    let ids = processor.encode(&[text.into()]).unwrap().ids(0).to_vec();
    let bytes: Vec<u8> = ids
        .iter()
        .flat_map(|id| processor.token_bytes(*id).unwrap())
        .collect();
    assert_eq!(bytes, text.as_bytes());
    let mut stream = processor.stream(true);
    let mut found = String::new();
    let mut fed = 0;
    for id in ids {
        found += &stream.push(id).unwrap();
        fed += processor.token_bytes(id).unwrap().len();
        // Never more than one unfinished character behind.
        assert!(fed - found.len() < 4, "{found:?}");
    }
    assert_eq!(found, text);
    assert_eq!(processor.vocab_size(), 1482);
    assert_eq!(processor.token_id("<|im_end|>"), Some(1475));
    assert_eq!(processor.token_bytes(1475), Some(b"<|im_end|>".to_vec()));
    assert!(processor.is_special(1475) && !processor.is_special(1476));
    assert_eq!(processor.token_bytes(4000), None);
}

#[test]
fn bytes_of_sentencepiece_tokens() {
    let model: &[u8] = include_bytes!("models/bpe.model");
    let files = made(&[("tokenizer.model", model)]);
    let processor = TextProcessor::new(&files, &TextConfig::default()).unwrap();
    let ids = processor
        .encode(&["the graph 😀\n".into()])
        .unwrap()
        .ids(0)
        .to_vec();
    let bytes: Vec<u8> = ids
        .iter()
        .flat_map(|id| processor.token_bytes(*id).unwrap())
        .collect();
    assert_eq!(bytes, " the graph 😀\n".as_bytes());
}
