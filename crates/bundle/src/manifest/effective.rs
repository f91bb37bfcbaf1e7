//! What a caller must know in order to feed a graph: the manifest's word, settled with the graph's.

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::{Error, Result, quoted};
use amphora_files::RelativePath;
use amphora_onnx::{Contract, Dim, Dtype, TensorSpec};
use serde::Serialize;

use super::{Io, IoSpec, Preprocessing};

/// The files that make a detected tokenizer, the first that is there.
const TOKENIZERS: [&str; 6] = [
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
];
/// Inputs that come out of a tokenizer beside `input_ids`.
const COMPANIONS: [&str; 2] = ["attention_mask", "token_type_ids"];

/// Who says what goes in and what comes out, the most reliable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IoSource {
    /// The manifest, and the graph where there is one.
    Manifest,
    /// The graph alone.
    Graph,
    /// The architecture of a checkpoint: what its export takes and gives.
    Architecture,
    /// The signature of a TensorFlow SavedModel.
    Signature,
    /// The `model_type` of a configuration: the graph may differ.
    ModelType,
    /// Nobody: one input of floats, as hosts before manifests assumed.
    Legacy,
}

impl IoSource {
    /// Whether it is only what is usual for such models, not what this one is known to take.
    pub fn is_unverified(self) -> bool {
        matches!(self, Self::ModelType | Self::Legacy)
    }
}

/// The I/O of one graph as a host uses it.
///
/// ```
/// use amphora_bundle::manifest::{Io, IoSpec, effective_io};
/// use amphora_onnx::{Contract, Dim, Dtype, TensorSpec};
///
/// let ids = |length| TensorSpec {
///     name: "input_ids".into(),
///     dtype: Dtype::Int64,
///     shape: Some(vec![Dim::Symbol("batch".into()), length]),
/// };
/// # let graph = Contract { inputs: vec![ids(Dim::Unknown)], outputs: vec![], opset: 17, other_opsets: Default::default(),
/// #   ir_version: 8, operators: Default::default(), parameters: 0 };
/// // The graph takes sequences of any length; the manifest fixes them at 128 tokens.
/// let manifest = Io { inputs: vec![IoSpec::of(&ids(Dim::Fixed(128)))], outputs: vec![] };
/// let known = effective_io(Some(&manifest), &graph, false, &|file| file == "tokenizer.json")?;
/// assert_eq!(known.io.inputs[0].shape, Some(vec![-1, 128]));
/// // Nobody said how token ids are made, but their name and type do.
/// assert_eq!(known.io.inputs[0].preprocessing.as_ref().unwrap().r#type, "tokenization");
/// assert!(known.detected.contains("input_ids"));
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectiveIo {
    /// Inputs and outputs, in the order of the graph where there is one: its names and element
    /// types, dimensions that both sides allow, and preprocessing as stated or detected.
    #[serde(flatten)]
    pub io: Io,
    /// Who says so.
    pub source: IoSource,
    /// The inputs whose preprocessing was detected, not stated.
    pub detected: BTreeSet<String>,
    /// Where manifest and graph contradict each other, and the graph was believed.
    pub warnings: Vec<String>,
}

impl EffectiveIo {
    /// The I/O that `source` states, with preprocessing detected where it is not stated. `has` says
    /// which files lie beside the model.
    ///
    /// Detection: `input_ids` of 64-bit integers is made by a tokenizer, and so are `attention_mask`
    /// and `token_type_ids` beside it; `pixel_values`, and any float tensor of rank 4 with three
    /// channels, is made from a picture.
    pub fn of(mut io: Io, source: IoSource, has: &dyn Fn(&str) -> bool) -> Self {
        let detected = detect(&mut io.inputs, has);
        Self {
            io,
            source,
            detected,
            warnings: Vec::new(),
        }
    }

    /// The single float tensor in and out that hosts assumed when nothing was said.
    pub fn legacy() -> Self {
        let spec = |name: &str| IoSpec {
            name: name.to_owned(),
            dtype: Dtype::Float32,
            shape: Some(vec![-1, -1]),
            dims: None,
            description: None,
            preprocessing: None,
            postprocessing: Vec::new(),
        };
        let io = Io {
            inputs: vec![spec("input")],
            outputs: vec![spec("output")],
        };
        Self::of(io, IoSource::Legacy, &|_| false)
    }

    /// The contract of `graph`, narrowed to what both sides allow: what a session enforces.
    pub fn narrow(&self, graph: &Contract) -> Contract {
        let specs = |specs: &[IoSpec]| specs.iter().map(IoSpec::tensor_spec).collect();
        Contract {
            inputs: specs(&self.io.inputs),
            outputs: specs(&self.io.outputs),
            ..graph.clone()
        }
    }
}

/// Settles what a manifest states with what the graph itself says.
///
/// Descriptions, preprocessing and fixed sizes come from the manifest; names, order and element
/// types from the graph. A size that only one side fixes is fixed, and with it every dimension that
/// has the same symbol. Without a manifest's word the graph's is all there is.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Incompatible`] (`io-conflict`) listing every contradiction: an input
/// or output that only one side has (the graph may have further outputs), one symbol fixed at two
/// sizes, and, when `strict`, other element types and shapes, which are warnings otherwise.
pub fn effective_io(
    stated: Option<&Io>,
    graph: &Contract,
    strict: bool,
    has: &dyn Fn(&str) -> bool,
) -> Result<EffectiveIo> {
    let Some(stated) = stated else {
        return Ok(EffectiveIo::of(Io::of(graph), IoSource::Graph, has));
    };
    let mut conflict = Conflict::default();
    conflict.names("input", &stated.inputs, &graph.inputs);
    conflict.names("output", &stated.outputs, &graph.outputs);
    let sides = [
        ("input", &stated.inputs, &graph.inputs),
        ("output", &stated.outputs, &graph.outputs),
    ];
    let mut sizes = BTreeMap::new();
    let [inputs, outputs] = sides.map(|(side, stated, graph)| {
        let stated: BTreeMap<&str, &IoSpec> = stated.iter().map(|s| (s.name.as_str(), s)).collect();
        let settled = graph.iter().map(|found| {
            let word = stated.get(found.name.as_str()).copied();
            conflict.settle(side, word, found, &mut sizes)
        });
        settled.collect::<Vec<IoSpec>>()
    });
    let warnings = conflict.into_warnings(strict)?;
    let mut io = Io { inputs, outputs };
    for spec in io.inputs.iter_mut().chain(&mut io.outputs) {
        fix(spec, &sizes);
    }
    Ok(EffectiveIo {
        warnings,
        ..EffectiveIo::of(io, IoSource::Manifest, has)
    })
}

/// What speaks against a manifest and a graph describing the same model.
#[derive(Default)]
struct Conflict {
    faults: Vec<String>,
    /// Faults only where nothing may be doubtful.
    doubts: Vec<String>,
}

impl Conflict {
    fn names(&mut self, side: &str, stated: &[IoSpec], graph: &[TensorSpec]) {
        let in_manifest: BTreeSet<&str> = stated.iter().map(|spec| spec.name.as_str()).collect();
        let in_graph: BTreeSet<&str> = graph.iter().map(|found| found.name.as_str()).collect();
        for spec in stated {
            if !in_graph.contains(spec.name.as_str()) {
                let name = quoted(&spec.name);
                self.faults
                    .push(format!("the manifest's {side} {name} is not in the graph"));
            }
        }
        for found in graph {
            if in_manifest.contains(found.name.as_str()) {
                continue;
            }
            let name = quoted(&found.name);
            let text = format!("the graph's {side} {name} is not in the manifest");
            match side {
                // Nobody who knows the manifest alone could call the graph.
                "input" => self.faults.push(text),
                _ => self.doubts.push(text),
            }
        }
    }

    fn settle<'a>(
        &mut self,
        side: &str,
        stated: Option<&'a IoSpec>,
        graph: &'a TensorSpec,
        sizes: &mut BTreeMap<&'a str, u64>,
    ) -> IoSpec {
        let Some(stated) = stated else {
            return IoSpec::of(graph);
        };
        let place = format!("{side} {}", quoted(&stated.name));
        let word = stated.tensor_spec();
        if word.dtype != graph.dtype {
            self.doubts.push(format!(
                "{place}: the manifest says {}, the graph {}",
                word.dtype, graph.dtype
            ));
        }
        let shape = match (&word.shape, &graph.shape) {
            (None, found) => found.clone(),
            (Some(word), None) => Some(word.clone()),
            (Some(word), Some(found)) if compatible(word, found) => {
                Some(self.both(&place, word, found, sizes))
            }
            (Some(word), Some(found)) => {
                let (word, found_text) = (show(word), show(found));
                self.doubts.push(format!(
                    "{place}: the manifest says {word}, the graph {found_text}"
                ));
                Some(found.clone())
            }
        };
        IoSpec {
            description: stated.description.clone(),
            preprocessing: stated.preprocessing.clone(),
            postprocessing: stated.postprocessing.clone(),
            ..IoSpec::of(&TensorSpec {
                name: graph.name.clone(),
                dtype: graph.dtype,
                shape,
            })
        }
    }

    /// The dimensions that both shapes allow; notes the symbols of the graph that are fixed here.
    fn both<'a>(
        &mut self,
        place: &str,
        word: &[Dim],
        found: &'a [Dim],
        sizes: &mut BTreeMap<&'a str, u64>,
    ) -> Vec<Dim> {
        let mut both = Vec::new();
        for (word, found) in word.iter().zip(found) {
            if let (Dim::Fixed(size), Dim::Symbol(symbol)) = (word, found) {
                let known = *sizes.entry(symbol).or_insert(*size);
                if known != *size {
                    let symbol = quoted(symbol);
                    self.faults.push(format!(
                        "{place}: the manifest fixes {symbol} at {size}, and elsewhere at {known}"
                    ));
                }
            }
            both.push(match (word, found) {
                (Dim::Fixed(_), _) | (_, Dim::Unknown) => word.clone(),
                _ => found.clone(),
            });
        }
        both
    }

    fn into_warnings(self, strict: bool) -> Result<Vec<String>> {
        let Self { mut faults, doubts } = self;
        if strict {
            faults.extend(doubts);
        } else if faults.is_empty() {
            return Ok(doubts);
        }
        if faults.is_empty() {
            return Ok(Vec::new());
        }
        Err(Error::incompatible(
            "io-conflict",
            "the manifest and the graph contradict each other",
        )
        .faults(faults)
        .hint("correct spec.io of the manifest, or leave it out: the graph describes itself"))
    }
}

/// Fixes the dimensions whose symbol has one size everywhere.
fn fix(spec: &mut IoSpec, sizes: &BTreeMap<&str, u64>) {
    let mut known = spec.tensor_spec();
    for dim in known.shape.iter_mut().flatten() {
        if let Dim::Symbol(symbol) = dim
            && let Some(size) = sizes.get(symbol.as_str())
        {
            *dim = Dim::Fixed(*size);
        }
    }
    let IoSpec { shape, dims, .. } = IoSpec::of(&known);
    spec.shape = shape;
    spec.dims = dims;
}

/// Whether every size can be the same: an open dimension fits any size.
fn compatible(stated: &[Dim], graph: &[Dim]) -> bool {
    let fits = |(a, b): (&Dim, &Dim)| match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a == b,
        _ => true,
    };
    stated.len() == graph.len() && stated.iter().zip(graph).all(fits)
}

fn show(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// Adds the preprocessing that names, types and shapes give away; returns the inputs that got it.
fn detect(inputs: &mut [IoSpec], has: &dyn Fn(&str) -> bool) -> BTreeSet<String> {
    let ids = inputs
        .iter()
        .find(|spec| spec.name == "input_ids" && spec.dtype == Dtype::Int64);
    let tokenization = ids.map(|spec| {
        let stated = spec.preprocessing.clone();
        stated.unwrap_or_else(|| Preprocessing {
            tokenizer: tokenizer(has),
            ..only("tokenization")
        })
    });
    let mut detected = BTreeSet::new();
    for spec in inputs
        .iter_mut()
        .filter(|spec| spec.preprocessing.is_none())
    {
        let name = spec.name.as_str();
        let tokens = name == "input_ids" || COMPANIONS.contains(&name);
        spec.preprocessing = match &tokenization {
            Some(tokenization) if tokens && spec.dtype == Dtype::Int64 => {
                Some(tokenization.clone())
            }
            _ if is_picture(spec) => Some(only("image")),
            _ => None,
        };
        if spec.preprocessing.is_some() {
            detected.insert(spec.name.clone());
        }
    }
    detected
}

fn only(kind: &str) -> Preprocessing {
    Preprocessing {
        r#type: kind.to_owned(),
        tokenizer: None,
        tokenizer_type: None,
        config: None,
    }
}

fn tokenizer(has: &dyn Fn(&str) -> bool) -> Option<RelativePath> {
    let found = TOKENIZERS.into_iter().find(|name| has(name))?;
    RelativePath::parse(found).ok()
}

/// By its name, or as `[batch, 3, height, width]` or `[batch, height, width, 3]`.
fn is_picture(spec: &IoSpec) -> bool {
    const CHANNELS: i64 = 3;
    let float = matches!(
        spec.dtype,
        Dtype::Float32 | Dtype::Float16 | Dtype::Bfloat16
    );
    let by_shape = || {
        matches!(
            spec.shape.as_deref(),
            Some([_, CHANNELS, _, _] | [_, _, _, CHANNELS])
        ) && spec.dtype == Dtype::Float32
    };
    (float && spec.name == "pixel_values") || by_shape()
}
