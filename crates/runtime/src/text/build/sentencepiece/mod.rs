//! sentencepiece models: unigram and BPE.

mod charsmap;
mod normalizer;
mod proto;

use std::collections::HashMap;

use amphora_error::{Error, Result, quoted};
use prost::Message;
use serde_json::{Value, json};

use self::charsmap::Charsmap;
use self::normalizer::{Before, Matcher, Prefix, SPACE};
use self::proto::{Kind, ModelProto, NormalizerSpec, Piece, Trainer};
use super::{
    AddedToken, Built, MAX_TOKENS, Part, TokenizerConfig, added_tokens, bos_eos, cls_sep, template,
    unknown_class,
};
pub(in crate::text) use normalizer::Normalizer;

/// Largest model file, in bytes, three times the largest in use.
const MAX_MODEL_BYTES: usize = 16 << 20;
/// Longest piece of a BPE model, in characters: every place in it is tried as the seam of a merge.
const MAX_PIECE: usize = 128;
/// Most merges of a BPE model, several times the most in use.
const MAX_MERGES: usize = 4 << 20;

/// What a class of tokenizers makes of a sentencepiece model.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    Plain,
    Llama,
    T5,
    XlmRoberta,
    Albert,
    DebertaV2,
}

const CLASSES: [(&str, Family); 7] = [
    ("AlbertTokenizer", Family::Albert),
    ("BertGenerationTokenizer", Family::Plain),
    ("DebertaV2Tokenizer", Family::DebertaV2),
    ("GemmaTokenizer", Family::Llama),
    ("LlamaTokenizer", Family::Llama),
    ("T5Tokenizer", Family::T5),
    ("XLMRobertaTokenizer", Family::XlmRoberta),
];

pub(super) fn build(bytes: &bytes::Bytes, config: &mut TokenizerConfig) -> Result<Built> {
    let family = match CLASSES.iter().find(|(class, _)| *class == config.class) {
        Some((_, family)) => *family,
        None if config.class.is_empty() => Family::Plain,
        None => {
            let known: Vec<&str> = CLASSES.iter().map(|(class, _)| *class).collect();
            return Err(unknown_class(config, &known));
        }
    };
    let model = decode(bytes)?;
    let trainer = model.trainer.clone().unwrap_or_default();
    config.default_roles(&defaults(family, &model, &trainer));
    let pieces = vocabulary(family, model.pieces, config);
    let mut ids = numbers(&pieces)?;
    let bpe = match trainer.model_type.unwrap_or(1) {
        1 => false,
        2 => true,
        other => {
            return Err(Error::unsupported(
                "sentencepiece-type",
                "the model cuts text into whole words or characters",
            )
            .expected("unigram (1) or BPE (2)")
            .found(other.to_string()));
        }
    };
    let byte_fallback = trainer.byte_fallback.unwrap_or(false);
    let core = match bpe {
        true => bpe_model(&pieces, &ids, byte_fallback)?,
        false => unigram_model(&pieces, byte_fallback)?,
    };
    let of = |kind: Kind| pieces.iter().filter(move |piece| piece.is(kind));
    let user_defined: Vec<AddedToken> = of(Kind::UserDefined)
        .map(|piece| AddedToken {
            special: false,
            ..AddedToken::special(piece.piece.as_str())
        })
        .collect();
    let control = of(Kind::Control).map(|piece| AddedToken::special(piece.piece.as_str()));
    let own: Vec<AddedToken> = control.chain(user_defined.iter().cloned()).collect();
    let special = own.iter().filter(|token| token.special).cloned();
    let stated = config.added.iter().map(|(_, token)| token.clone());
    let special = Matcher::new(
        special
            .chain(stated)
            .chain(config.roles().cloned())
            .filter(|token| !user_defined.iter().any(|own| own.content == token.content)),
    );
    let added = added_tokens(config, own, &mut ids)?;
    let normalizer = normalizer(
        family,
        model.normalizer,
        &trainer,
        config,
        special,
        user_defined,
    )?;
    let mut decoders = vec![json!({
        "type": "Replace", "pattern": {"String": SPACE.to_string()}, "content": " ",
    })];
    if byte_fallback {
        decoders.push(json!({"type": "ByteFallback"}));
    }
    decoders.push(json!({"type": "Fuse"}));
    if normalizer.dummy_prefix != Prefix::Nowhere || normalizer.remove_extra_whitespaces {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(Built {
        json: json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": null,
            "post_processor": frame(family, config, &ids)?,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": core,
        }),
        normalizer: Some(normalizer),
    })
}

fn decode(bytes: &bytes::Bytes) -> Result<ModelProto> {
    if bytes.len() > MAX_MODEL_BYTES {
        return Err(Error::limit(
            "tokenizer-file-size",
            "the sentencepiece model is too large",
        )
        .expected(format!("at most {MAX_MODEL_BYTES} bytes"))
        .found(format!("{} bytes", bytes.len())));
    }
    let model = ModelProto::decode(bytes.clone())
        .ok()
        .filter(|model| !model.pieces.is_empty())
        .ok_or_else(|| {
            Error::malformed("sentencepiece", "the file is not a sentencepiece model")
        })?;
    if model.pieces.iter().any(|piece| !piece.score.is_finite()) {
        return Err(Error::malformed(
            "sentencepiece-score",
            "the score of a piece is not finite",
        ));
    }
    Ok(model)
}

/// The parts of special tokens: what the model itself names, and what the class adds.
fn defaults(
    family: Family,
    model: &ModelProto,
    trainer: &Trainer,
) -> Vec<(&'static str, AddedToken)> {
    let piece = |id: i32| {
        let piece = usize::try_from(id).ok().and_then(|id| model.pieces.get(id));
        piece.filter(|piece| piece.is(Kind::Control) || piece.is(Kind::UserDefined))
    };
    // Numbers that the format has when the field is absent.
    let own = [
        ("bos_token", trainer.bos_id.unwrap_or(1)),
        ("eos_token", trainer.eos_id.unwrap_or(2)),
        ("pad_token", trainer.pad_id.unwrap_or(-1)),
    ];
    let own = own
        .into_iter()
        .filter_map(|(role, id)| Some((role, AddedToken::special(piece(id)?.piece.as_str()))));
    let unknown = model.pieces.iter().find(|piece| piece.is(Kind::Unknown));
    let unknown = unknown.map(|piece| ("unk_token", AddedToken::special(piece.piece.as_str())));
    let class: &[(&'static str, &str)] = match family {
        Family::Plain | Family::Llama => &[],
        Family::T5 => &[("eos_token", "</s>"), ("pad_token", "<pad>")],
        Family::XlmRoberta => &[
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("cls_token", "<s>"),
            ("sep_token", "</s>"),
            ("unk_token", "<unk>"),
            ("pad_token", "<pad>"),
            ("mask_token", "<mask>"),
        ],
        Family::Albert | Family::DebertaV2 => &[
            ("cls_token", "[CLS]"),
            ("sep_token", "[SEP]"),
            ("mask_token", "[MASK]"),
        ],
    };
    let class = class.iter().map(|(role, token)| {
        let lstrip = *role == "mask_token";
        (
            *role,
            AddedToken {
                lstrip,
                ..AddedToken::special(*token)
            },
        )
    });
    class.chain(own).chain(unknown).collect()
}

/// The pieces in the order of their numbers, which some classes change.
fn vocabulary(family: Family, pieces: Vec<Piece>, config: &mut TokenizerConfig) -> Vec<Piece> {
    let made = |piece: &str, kind: Kind| Piece {
        piece: piece.to_owned(),
        score: 0.0,
        kind: Some(kind as i32),
    };
    match family {
        Family::T5 => {
            // Sentinels follow the pieces, the last one first.
            let count = config.field("extra_ids").and_then(Value::as_u64);
            let count = count.unwrap_or(100).min(1000);
            let sentinels = (0..count)
                .rev()
                .map(|number| made(&format!("<extra_id_{number}>"), Kind::Control));
            pieces.into_iter().chain(sentinels).collect()
        }
        Family::XlmRoberta => {
            // fairseq numbers four special tokens first, in another order than the model.
            let first = [
                made("<s>", Kind::Control),
                made("<pad>", Kind::Control),
                made("</s>", Kind::Control),
                made("<unk>", Kind::Unknown),
            ];
            let last = made("<mask>", Kind::Control);
            let kept = pieces.into_iter().skip(3);
            first.into_iter().chain(kept).chain([last]).collect()
        }
        _ => pieces,
    }
}

/// The number of every piece.
fn numbers(pieces: &[Piece]) -> Result<HashMap<String, u32>> {
    if pieces.len() > MAX_TOKENS as usize {
        return Err(
            Error::limit("tokenizer-tokens", "the vocabulary is too large")
                .expected(format!("at most {MAX_TOKENS} tokens"))
                .found(pieces.len().to_string()),
        );
    }
    let mut ids = HashMap::with_capacity(pieces.len());
    for (piece, id) in pieces.iter().zip(0..) {
        if ids.insert(piece.piece.clone(), id).is_some() {
            return Err(
                Error::malformed("sentencepiece-twice", "a piece occurs twice")
                    .found(quoted(&piece.piece).to_string()),
            );
        }
    }
    Ok(ids)
}

fn unigram_model(pieces: &[Piece], byte_fallback: bool) -> Result<Value> {
    let unknown = pieces.iter().position(|piece| piece.is(Kind::Unknown));
    let unknown = unknown.ok_or_else(no_unknown)?;
    let vocabulary: Vec<(&str, f64)> = pieces
        .iter()
        .map(|piece| (piece.piece.as_str(), f64::from(piece.score)))
        .collect();
    Ok(json!({
        "type": "Unigram",
        "unk_id": unknown,
        "vocab": vocabulary,
        "byte_fallback": byte_fallback,
    }))
}

fn no_unknown() -> Error {
    Error::malformed(
        "sentencepiece-unknown",
        "the model has no piece for unknown characters",
    )
}

fn bpe_model(pieces: &[Piece], ids: &HashMap<String, u32>, byte_fallback: bool) -> Result<Value> {
    let unknown = pieces.iter().find(|piece| piece.is(Kind::Unknown));
    Ok(json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": unknown.ok_or_else(no_unknown)?.piece,
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": true,
        "byte_fallback": byte_fallback,
        "ignore_merges": false,
        "vocab": ids.iter().map(|(piece, id)| (piece.clone(), Value::from(*id))).collect::<Value>(),
        "merges": merges(pieces, ids)?,
    }))
}

/// Every pair of pieces that together is a piece, the best piece first: sentencepiece merges the pair
/// whose result has the highest score.
fn merges<'a>(pieces: &'a [Piece], ids: &HashMap<String, u32>) -> Result<Vec<(&'a str, &'a str)>> {
    let mut order: Vec<&Piece> = pieces.iter().filter(|p| p.is(Kind::Normal)).collect();
    order.sort_by(|a, b| b.score.total_cmp(&a.score));
    let number = |part: &str| {
        let id = *ids.get(part)?;
        pieces[id as usize].is(Kind::Normal).then_some(id)
    };
    let mut merges = Vec::new();
    for piece in order {
        let piece = piece.piece.as_str();
        if piece.chars().count() > MAX_PIECE {
            return Err(
                Error::limit("sentencepiece-piece", "a piece of the model is too long")
                    .expected(format!("at most {MAX_PIECE} characters"))
                    .found(format!("{} bytes", piece.len())),
            );
        }
        let mut seams: Vec<(u32, u32, usize)> = piece
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| Some((number(&piece[..at])?, number(&piece[at..])?, at)))
            .collect();
        seams.sort_unstable();
        merges.extend(seams.into_iter().map(|(_, _, at)| piece.split_at(at)));
        if merges.len() > MAX_MERGES {
            return Err(
                Error::limit("sentencepiece-merges", "the model has too many merges")
                    .expected(format!("at most {MAX_MERGES}")),
            );
        }
    }
    Ok(merges)
}

fn normalizer(
    family: Family,
    spec: Option<NormalizerSpec>,
    trainer: &Trainer,
    config: &TokenizerConfig,
    special: Matcher,
    user_defined: Vec<AddedToken>,
) -> Result<Normalizer> {
    let spec = spec.unwrap_or_default();
    let unsupported = |what: &str| {
        Err(Error::unsupported(
            "sentencepiece-option",
            format!("the model was trained with an option that is not supported: {what}"),
        )
        .hint("save the tokenizer in its fast form, which writes tokenizer.json"))
    };
    if trainer.treat_whitespace_as_suffix == Some(true) {
        return unsupported("treat_whitespace_as_suffix");
    }
    if spec.escape_whitespaces == Some(false) {
        return unsupported("escape_whitespaces off");
    }
    let flag = |name: &str, default: bool| config.flag(name).unwrap_or(default);
    if flag("split_by_punct", false) {
        return unsupported("split_by_punct");
    }
    let charsmap = spec.precompiled_charsmap.filter(|map| !map.is_empty());
    let before = match family {
        Family::Albert => Before {
            quotes: true,
            strip_accents: !flag("keep_accents", false),
            lowercase: flag("do_lower_case", true),
        },
        Family::DebertaV2 => Before {
            lowercase: flag("do_lower_case", false),
            ..Before::default()
        },
        _ => Before::default(),
    };
    let prefix = spec.add_dummy_prefix.unwrap_or(true) && flag("add_prefix_space", true);
    let sections = family != Family::Llama || flag("legacy", false);
    Ok(Normalizer {
        charsmap: charsmap.map(|map| Charsmap::parse(&map)).transpose()?,
        dummy_prefix: match (prefix, sections) {
            (false, _) => Prefix::Nowhere,
            (true, false) => Prefix::Start,
            (true, true) => Prefix::Sections,
        },
        remove_extra_whitespaces: spec.remove_extra_whitespaces.unwrap_or(true),
        special,
        user_defined: Matcher::new(user_defined),
        before,
    })
}

/// The special tokens around a text.
fn frame(family: Family, config: &TokenizerConfig, ids: &HashMap<String, u32>) -> Result<Value> {
    let flag = |name: &str, default: bool| config.flag(name).unwrap_or(default);
    match family {
        Family::Plain | Family::Llama => {
            let bos = flag("add_bos_token", family == Family::Llama);
            bos_eos(config, bos, flag("add_eos_token", false), ids)
        }
        Family::T5 => {
            let eos = Part::Token(config.content("eos_token").unwrap_or("</s>"), 0);
            let single = [Part::Text("A", 0), eos];
            let pair = [Part::Text("A", 0), eos, Part::Text("B", 0), eos];
            template(&single, &pair, ids)
        }
        Family::XlmRoberta => cls_sep(config, 2, 0, ids),
        Family::Albert | Family::DebertaV2 => cls_sep(config, 1, 1, ids),
    }
}
