//! sentencepiece models, against sentencepiece.

use amphora_runtime::text::{TextConfig, TextProcessor, TokenizerFiles};
use amphora_testing::{each, peer, repository};
use serde_json::{Value, json};

use super::{encoded, ids, made, same};

const UNIGRAM: &[u8] = include_bytes!("models/unigram.model");
const BPE: &[u8] = include_bytes!("models/bpe.model");
const RECORDED: &[u8] = include_bytes!("models/ids.json");

fn processor(files: &[(&str, &[u8])]) -> TextProcessor {
    TextProcessor::new(&made(files), &TextConfig::default()).unwrap()
}

/// Texts as ids and back, where nothing is unknown: an unknown character is written differently.
fn compare(processor: &TextProcessor, rows: &[Value], unknown: u32) {
    each(rows, |row| {
        let expected = ids(&row["ids"]);
        same(
            encoded(processor, row["text"].as_str().unwrap())?,
            expected.clone(),
        )?;
        match expected.contains(&unknown) {
            true => Ok(()),
            false => same(
                json!(processor.decode(&expected, false).unwrap()),
                row["decoded"].clone(),
            ),
        }
    });
}

#[test]
fn recorded() {
    let recorded: Value = serde_json::from_slice(RECORDED).unwrap();
    for (name, model) in [("unigram", UNIGRAM), ("bpe", BPE)] {
        let processor = processor(&[("tokenizer.model", model)]);
        compare(&processor, recorded[name].as_array().unwrap(), 0);
    }
}

/// Trains models of several kinds and encodes what a user could write, with sentencepiece itself.
const PEER: &str = r#"
import json, pathlib, random, sys
import sentencepiece
target = pathlib.Path(sys.argv[1])
lines = [l.strip() for name in sys.argv[2:] for l in pathlib.Path(name).read_text(encoding='utf-8').splitlines()]
lines = [l for l in lines if l and len(l) < 300]
kinds = {
    'unigram': dict(model_type='unigram', vocab_size=1000, user_defined_symbols=['<sep>', '[x]'], pad_id=3),
    'unigram_bytes': dict(model_type='unigram', vocab_size=1000, byte_fallback=True, add_dummy_prefix=False,
                          normalization_rule_name='nfkc_cf'),
    'bpe': dict(model_type='bpe', vocab_size=1000, remove_extra_whitespaces=False),
    'bpe_bytes': dict(model_type='bpe', vocab_size=1200, byte_fallback=True, normalization_rule_name='identity',
                      remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_digits=True,
                      user_defined_symbols=['<sep>']),
}
random.seed(5)
alphabet = list('abcdefghijklmnoprstuw     ABC.,-_()0123456789\n\t') + ['é', 'ß', '日', '😀', 'ﬁ', '\u00a0', '\u3000', 'e\u0301', '<sep>', '[x]', '\u2581']
texts = lines[:300] + [''.join(random.choices(alphabet, k=random.randint(0, 40))) for _ in range(500)]
answer = {}
for name, options in kinds.items():
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_prefix=str(target / name),
        hard_vocab_limit=False, minloglevel=2, num_threads=1, **options)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(target / (name + '.model')))
    answer[name] = [{'text': t, 'ids': (i := processor.encode(t)), 'decoded': processor.decode(i)} for t in texts]
(target / 'answer.json').write_text(json.dumps(answer))
"#;

#[test]
fn live() {
    let Some(peer) = peer("sentencepiece", None) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let docs = fs_err::read_dir(repository().join("docs")).unwrap();
    let mut docs: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
    docs.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    docs.sort();
    let mut arguments = vec![folder.path().to_string_lossy().into_owned()];
    arguments.extend(docs.iter().map(|path| path.to_string_lossy().into_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    peer.run(PEER, &arguments);
    let answer = rows_by_name(&folder.path().join("answer.json"));
    assert_eq!(answer.len(), 4);
    for (name, rows) in answer {
        let model = fs_err::read(folder.path().join(format!("{name}.model"))).unwrap();
        let files = TokenizerFiles::gather(|file| {
            Ok((file == "spiece.model").then(|| model.clone().into()))
        });
        let processor = TextProcessor::new(&files.unwrap(), &TextConfig::default()).unwrap();
        compare(&processor, &rows, 0);
    }
}

fn rows_by_name(path: &std::path::Path) -> Vec<(String, Vec<Value>)> {
    let answer: Value = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    let kinds = answer.as_object().unwrap().clone();
    kinds
        .into_iter()
        .map(|(name, rows)| (name, rows.as_array().unwrap().clone()))
        .collect()
}

#[test]
fn frames_of_the_classes() {
    let with = |class: &str, more: &str| {
        let config = format!("{{\"tokenizer_class\": \"{class}\"{more}}}");
        let files = [
            ("spiece.model", UNIGRAM),
            ("tokenizer_config.json", config.as_bytes()),
        ];
        processor(&files)
    };
    let plain = processor(&[("spiece.model", UNIGRAM)]);
    let bare = encoded(&plain, "the graph").unwrap();
    let frame = |before: &[u32], ids: &[u32], after: &[u32]| [before, ids, after].concat();

    let llama = with("LlamaTokenizer", "");
    assert_eq!(
        encoded(&llama, "the graph").unwrap(),
        frame(&[1], &bare, &[])
    );
    let both = with("LlamaTokenizerFast", r#", "add_eos_token": true"#);
    assert_eq!(
        encoded(&both, "the graph").unwrap(),
        frame(&[1], &bare, &[2])
    );
    let t5 = with("T5Tokenizer", r#", "extra_ids": 10"#);
    assert_eq!(encoded(&t5, "the graph").unwrap(), frame(&[], &bare, &[2]));
    let size = plain.vocab_size() as u32;
    assert_eq!(t5.token_id("<extra_id_0>"), Some(size + 9));
    assert_eq!(t5.token_id("<extra_id_9>"), Some(size));
    assert_eq!(
        encoded(&t5, "<extra_id_0>the graph").unwrap(),
        frame(&[size + 9], &bare, &[2])
    );

    // fairseq puts one token in front of the pieces.
    let config: &[u8] = br#"{"tokenizer_class": "XLMRobertaTokenizer"}"#;
    let files = [
        ("sentencepiece.bpe.model", BPE),
        ("tokenizer_config.json", config),
    ];
    let roberta = processor(&files);
    let plain_bpe = processor(&files[..1]);
    let moved: Vec<u32> = encoded(&plain_bpe, "the graph")
        .unwrap()
        .iter()
        .map(|id| id + 1)
        .collect();
    assert_eq!(
        encoded(&roberta, "the graph").unwrap(),
        frame(&[0], &moved, &[2])
    );
    let mask = plain_bpe.vocab_size() as u32 + 1;
    assert_eq!(encoded(&roberta, "<mask>").unwrap(), [0, mask, 2]);
    assert_eq!(roberta.pad_id(), 1);

    // After a special token a sentence goes on, or starts anew for the older classes.
    let special = encoded(&plain, "<ctl>the graph").unwrap();
    assert_eq!(special[1..], bare);
    let go_on = encoded(&llama, "<ctl>the graph").unwrap();
    assert_ne!(go_on[2..], bare);
    let anew = encoded(
        &with("LlamaTokenizer", r#", "legacy": true"#),
        "<ctl>the graph",
    )
    .unwrap();
    assert_eq!(anew[2..], bare);
}

/// A damaged model is refused, or taken as another model; it never ends the program.
#[test]
fn damaged() {
    let mut seed = 7_u64;
    let mut random = move |most: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % most
    };
    for _ in 0..200 {
        let mut bytes = UNIGRAM.to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        if random(4) == 0 {
            bytes.truncate(random(bytes.len()));
        }
        let files = made(&[("spiece.model", &bytes)]);
        if let Ok(processor) = TextProcessor::new(&files, &TextConfig::default()) {
            let _ = processor.encode(&["the graph… of e\u{301} and ﬁ".into()]);
        }
    }
}
