//! What models of a family usually take, by the `model_type` of their `config.json`.
//!
//! The second choice, for models without a graph that can be read: a graph knows better. The table is
//! that of the Universal Model Plugin's installer, with two corrections: `roberta` and `distilbert`
//! take no segments, and the pictures of ViT are scaled to -1..1, not by ImageNet's statistics.

use amphora_files::RelativePath;
use amphora_onnx::Dtype;
use serde_json::{Map, Value, json};

use super::{Io, IoSpec, Preprocessing};

/// What the models of one `model_type` take and give.
struct Row {
    model_type: &'static str,
    inputs: Inputs,
    output: &'static [i64],
}

enum Inputs {
    /// Token ids and what goes with them, all `[batch, time]`, 64-bit integers.
    Tokens(&'static [&'static str], &'static str),
    /// One picture, `[batch, 3, 224, 224]`: mean and standard deviation of each channel.
    Pixels([f64; 3], [f64; 3]),
}

use Inputs::{Pixels, Tokens};

const IDS: &[&str] = &["input_ids", "attention_mask"];
const SEGMENTS: &[&str] = &["input_ids", "attention_mask", "token_type_ids"];
const HALF: [f64; 3] = [0.5; 3];
const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];
/// Logits of every token, of a whole input, and an output of which nothing is known.
const PER_TOKEN: &[i64] = &[-1, -1, -1];
const PER_INPUT: &[i64] = &[-1, -1];
const UNNAMED: &[i64] = &[];

const fn row(model_type: &'static str, inputs: Inputs, output: &'static [i64]) -> Row {
    Row {
        model_type,
        inputs,
        output,
    }
}

const TABLE: [Row; 15] = [
    row("bert", Tokens(SEGMENTS, "bert"), PER_TOKEN),
    row("roberta", Tokens(IDS, "roberta"), PER_TOKEN),
    row("distilbert", Tokens(IDS, "distilbert"), PER_TOKEN),
    row("albert", Tokens(SEGMENTS, "albert"), PER_TOKEN),
    row("electra", Tokens(SEGMENTS, "electra"), PER_TOKEN),
    row("gpt2", Tokens(IDS, "gpt2"), PER_TOKEN),
    row("gpt", Tokens(IDS, "gpt2"), PER_TOKEN),
    row("gpt-neo", Tokens(IDS, "gpt2"), UNNAMED),
    row("gpt-j", Tokens(IDS, "gpt2"), UNNAMED),
    row("t5", Tokens(IDS, "t5"), PER_TOKEN),
    row("mt5", Tokens(IDS, "t5"), UNNAMED),
    row("ul2", Tokens(IDS, "t5"), UNNAMED),
    row("vit", Pixels(HALF, HALF), PER_INPUT),
    row("deit", Pixels(IMAGENET_MEAN, IMAGENET_STD), PER_INPUT),
    row("swin", Pixels(IMAGENET_MEAN, IMAGENET_STD), PER_INPUT),
];

/// Every `model_type` of the table.
pub const MODEL_TYPES: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut index = 0;
    while index < TABLE.len() {
        names[index] = TABLE[index].model_type;
        index += 1;
    }
    names
};

/// What models of this `model_type` usually take and give, with the preprocessing of their inputs;
/// `None` when the table does not have it. The spellings of configurations (`gpt_neo`, `gptj`) name
/// the same rows.
///
/// ```
/// use amphora_bundle::manifest::io_of_model_type;
///
/// let io = io_of_model_type("albert").unwrap();
/// let names: Vec<&str> = io.inputs.iter().map(|input| input.name.as_str()).collect();
/// assert_eq!(names, ["input_ids", "attention_mask", "token_type_ids"]);
/// assert!(io_of_model_type("mamba").is_none());
/// ```
pub fn io_of_model_type(model_type: &str) -> Option<Io> {
    let model_type = match model_type {
        "gpt_neo" => "gpt-neo",
        "gptj" => "gpt-j",
        other => other,
    };
    let row = TABLE.iter().find(|row| row.model_type == model_type)?;
    let inputs = match &row.inputs {
        Tokens(names, tokenizer) => names.iter().map(|name| ids(name, tokenizer)).collect(),
        Pixels(mean, std) => vec![pixels(mean, std)],
    };
    let output = match row.output {
        UNNAMED => spec("output", Dtype::Float32, &[-1, -1]),
        shape => spec("logits", Dtype::Float32, shape),
    };
    Some(Io {
        inputs,
        outputs: vec![output],
    })
}

fn spec(name: &str, dtype: Dtype, shape: &[i64]) -> IoSpec {
    IoSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(shape.to_vec()),
        dims: None,
        description: None,
        preprocessing: None,
        postprocessing: Vec::new(),
    }
}

fn ids(name: &str, tokenizer_type: &str) -> IoSpec {
    IoSpec {
        preprocessing: Some(Preprocessing {
            r#type: "tokenization".to_owned(),
            tokenizer: RelativePath::parse("tokenizer.json").ok(),
            tokenizer_type: Some(tokenizer_type.to_owned()),
            config: None,
        }),
        ..spec(name, Dtype::Int64, &[-1, -1])
    }
}

fn pixels(mean: &[f64; 3], std: &[f64; 3]) -> IoSpec {
    let config = json!({"mean": mean, "std": std, "resize": 224});
    let config: Option<Map<String, Value>> = config.as_object().cloned();
    IoSpec {
        preprocessing: Some(Preprocessing {
            r#type: "normalization".to_owned(),
            tokenizer: None,
            tokenizer_type: None,
            config,
        }),
        ..spec("pixel_values", Dtype::Float32, &[-1, 3, 224, 224])
    }
}
