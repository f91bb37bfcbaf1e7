//! Token ids as the inputs of a graph.

use std::collections::BTreeMap;

use amphora_error::{Error, Result, quoted};
use amphora_onnx::{Dim, Dtype, TensorSpec};
use tokenizers::Encoding;

use super::Side;
use super::processor::{Pad, Rules};
use crate::Tensor;
use crate::tensor::show_shape;

/// What an input of a graph holds, by its name.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Ids,
    Mask,
    Segments,
    Positions,
    DecoderIds,
}

/// The names in use: those of transformers first, then those of the first BERT.
const INPUTS: [(&str, Kind); 9] = [
    ("input_ids", Kind::Ids),
    ("attention_mask", Kind::Mask),
    ("token_type_ids", Kind::Segments),
    ("position_ids", Kind::Positions),
    ("decoder_input_ids", Kind::DecoderIds),
    ("input_word_ids", Kind::Ids),
    ("input_mask", Kind::Mask),
    ("input_type_ids", Kind::Segments),
    ("segment_ids", Kind::Segments),
];

/// Whether an input of this name can be filled from text.
pub fn is_text_input(name: &str) -> bool {
    kind(name).is_some()
}

/// Whether an input of this name tells tokens from padding.
pub fn is_mask_input(name: &str) -> bool {
    kind(name) == Some(Kind::Mask)
}

fn kind(name: &str) -> Option<Kind> {
    let row = INPUTS.iter().find(|(known, _)| *known == name);
    row.map(|(_, kind)| *kind)
}

/// Texts as token ids; each has its own length until they become tensors.
#[derive(Debug, Clone)]
pub struct Encoded {
    pub(super) rows: Vec<Row>,
    pub(super) rules: Rules,
}

/// One text.
#[derive(Debug, Clone)]
pub(super) struct Row {
    ids: Vec<u32>,
    segments: Vec<u32>,
}

impl Row {
    pub(super) fn of(encoding: &Encoding) -> Self {
        Self {
            ids: encoding.get_ids().to_vec(),
            segments: encoding.get_type_ids().to_vec(),
        }
    }
}

impl Encoded {
    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The token ids of a text, special tokens included, without padding; empty for a text that does
    /// not exist.
    pub fn ids(&self, text: usize) -> &[u32] {
        self.rows.get(text).map_or(&[], |row| &row.ids)
    }

    /// The segment of every token of a text: 0, or 1 for the second text of a pair where the
    /// tokenizer tells them apart.
    pub fn segments(&self, text: usize) -> &[u32] {
        self.rows.get(text).map_or(&[], |row| &row.segments)
    }

    /// The inputs that `specs` ask for, by name, each `[batch, sequence]` of the type that its spec
    /// states (`int64` or `int32`; a mask can be of any number type, and boolean):
    ///
    /// | name | holds |
    /// |---|---|
    /// | `input_ids` | the ids, filled up with the padding token |
    /// | `attention_mask` | 1 for a token, 0 for padding |
    /// | `token_type_ids` | the segments |
    /// | `position_ids` | 0, 1, ... from the first token that is not padding; 0 for padding before it |
    /// | `decoder_input_ids` | `[batch, 1]`, the token that a decoder starts with |
    ///
    /// (`input_word_ids`, `input_mask`, `input_type_ids` and `segment_ids` are other names for the
    /// first three.) A sequence dimension that a spec fixes is the length that rows are filled up to.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] naming every input that cannot be filled, and why.
    pub fn tensors(&self, specs: &[TensorSpec]) -> Result<BTreeMap<String, Tensor>> {
        let length = self.length(specs)?;
        let mut tensors = BTreeMap::new();
        let mut faults = Vec::new();
        for spec in specs {
            match self.tensor(spec, length) {
                Ok(tensor) => {
                    tensors.insert(spec.name.clone(), tensor);
                }
                Err(fault) => faults.push(format!("input {}: {fault}", quoted(&spec.name))),
            }
        }
        match faults.is_empty() {
            true => Ok(tensors),
            false => Err(Error::usage(
                "text-inputs",
                "the text does not fit the inputs of the graph",
            )
            .faults(faults)),
        }
    }

    /// The length of every row.
    fn length(&self, specs: &[TensorSpec]) -> Result<usize> {
        let lengths = || self.rows.iter().map(|row| row.ids.len());
        let longest = lengths().max().unwrap_or(0);
        if longest == 0 {
            return Err(Error::usage(
                "text-empty",
                "there is nothing to encode: no text has a token",
            )
            .hint("give a text that is not empty, or set 'empty_text' in the manifest"));
        }
        let wanted = match (fixed_length(specs), self.rules.padding) {
            (Some(fixed), _) | (None, Pad::Fixed(fixed)) => fixed,
            (None, Pad::Longest(multiple)) => longest.next_multiple_of(multiple),
            (None, Pad::None) if lengths().all(|length| length == longest) => longest,
            (None, Pad::None) => {
                let lengths: Vec<String> = lengths().take(16).map(|n| n.to_string()).collect();
                return Err(Error::usage(
                    "text-ragged",
                    "the texts have different lengths, and padding is off",
                )
                .found(format!("{} tokens", lengths.join(", ")))
                .hint("give one text at a time, or set 'padding' in the manifest"));
            }
        };
        if longest > wanted {
            return Err(Error::limit("text-length", "a text has too many tokens")
                .expected(format!("at most {wanted}"))
                .found(longest.to_string())
                .hint("shorten the text, or set 'truncation' in the manifest"));
        }
        Ok(wanted)
    }

    fn tensor(&self, spec: &TensorSpec, length: usize) -> Result<Tensor, String> {
        let kind = kind(&spec.name).ok_or("it is not made from text")?;
        let length = match kind {
            Kind::DecoderIds => 1,
            _ => length,
        };
        let shape = self.shape(spec, length)?;
        let elements = self.rows.len().checked_mul(length);
        let mut values = Vec::with_capacity(elements.ok_or("it does not fit into memory")?);
        for row in &self.rows {
            self.fill(row, kind, length, &mut values);
        }
        let is_mask = kind == Kind::Mask;
        let tensor = match spec.dtype {
            Dtype::Int64 => Tensor::new(shape, values),
            Dtype::Int32 => {
                let narrow: Result<Vec<i32>, _> = values.into_iter().map(i32::try_from).collect();
                Tensor::new(
                    shape,
                    narrow.map_err(|_| "a token id is too large for int32")?,
                )
            }
            Dtype::Bool if is_mask => Tensor::new(
                shape,
                values.into_iter().map(|v| v == 1).collect::<Vec<_>>(),
            ),
            Dtype::Float32 if is_mask => Tensor::new(
                shape,
                values.into_iter().map(|v| v as f32).collect::<Vec<_>>(),
            ),
            other => return Err(format!("expected int64 or int32, found {other}")),
        };
        tensor.map_err(|error| error.to_string())
    }

    fn shape(&self, spec: &TensorSpec, length: usize) -> Result<Vec<usize>, String> {
        let batch = self.rows.len();
        let found = vec![batch, length];
        let Some(dims) = &spec.shape else {
            return Ok(found);
        };
        let fits = |dim: &Dim, size: usize| match dim {
            Dim::Fixed(fixed) => *fixed == size as u64,
            Dim::Symbol(_) | Dim::Unknown => true,
        };
        match dims.as_slice() {
            [first, second] if fits(first, batch) && fits(second, length) => Ok(found),
            [only] if batch == 1 && fits(only, length) => Ok(vec![length]),
            _ => {
                let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
                Err(format!(
                    "expected the shape [{}], found {}",
                    dims.join(", "),
                    show_shape(&found)
                ))
            }
        }
    }

    fn fill(&self, row: &Row, kind: Kind, length: usize, values: &mut Vec<i64>) {
        let rules = &self.rules;
        if kind == Kind::DecoderIds {
            values.push(rules.decoder_start_token_id.into());
            return;
        }
        let tokens = row.ids.len();
        let padding = match kind {
            Kind::Ids => rules.pad_id.into(),
            Kind::Segments => rules.pad_type_id.into(),
            _ => 0,
        };
        let padding = std::iter::repeat_n(padding, length - tokens);
        if rules.padding_side == Side::Left {
            values.extend(padding.clone());
        }
        match kind {
            Kind::Ids => values.extend(row.ids.iter().map(|id| i64::from(*id))),
            Kind::Segments => values.extend(row.segments.iter().map(|id| i64::from(*id))),
            Kind::Mask | Kind::DecoderIds => values.extend(std::iter::repeat_n(1, tokens)),
            Kind::Positions => values.extend((0..).take(tokens)),
        }
        if rules.padding_side == Side::Right {
            values.extend(padding);
        }
    }
}

/// The sequence length that inputs of a graph fix, the smallest where they differ: the others are
/// then refused by name.
pub(super) fn fixed_length(specs: &[TensorSpec]) -> Option<usize> {
    let length = |spec: &TensorSpec| {
        let kind = kind(&spec.name).filter(|kind| *kind != Kind::DecoderIds);
        match (kind, spec.shape.as_deref()?.last()?) {
            (Some(_), Dim::Fixed(length)) => usize::try_from(*length).ok(),
            _ => None,
        }
    };
    specs.iter().filter_map(length).min()
}
