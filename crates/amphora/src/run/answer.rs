//! From the outputs of a graph to an answer.

use std::collections::BTreeMap;

use amphora_bundle::manifest::Postprocessing;
use amphora_bundle::{Bundle, BundleId, Name, Version};
use amphora_error::{Error, Result, quoted};
use amphora_runtime::audio::{AudioConfig, Sound};
use amphora_runtime::postprocess::{Context, Label, are_distributions, postprocess};
use amphora_runtime::{Outputs, Tensor};
use serde::Serialize;
use serde_json::{Map, Value};

use super::open::Opened;
use crate::labels::names_classes;

/// How many labels are named where neither the caller nor the manifest says so.
const DEFAULT_TOP_K: u32 = 3;

/// The answer of a model.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The bundle, when one was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleRan>,
    /// The engine that ran it, with its version.
    pub engine: String,
    /// The outputs in graph order, as the graph gave them: `{name: {dtype, shape, data}}`.
    #[serde(serialize_with = "outputs_to_json")]
    pub outputs: Outputs,
    /// The most probable classes, by output, where the bundle has labels: one list for each row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, Vec<Vec<Label>>>>,
    /// One vector for each sequence, where the manifest says that they are pooled; of several such outputs
    /// the first.
    #[serde(
        serialize_with = "optional_tensor",
        skip_serializing_if = "Option::is_none"
    )]
    pub embedding: Option<Tensor>,
    /// What other outputs became by the steps of the manifest (probabilities, classes, further embeddings):
    /// `{name: {dtype, shape, data}}`.
    #[serde(
        serialize_with = "tensors_to_json",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub postprocessed: BTreeMap<String, Tensor>,
    /// The outputs that are sounds by the manifest: `{name: {sample_rate, channels, layout}}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sounds: BTreeMap<String, AudioConfig>,
    /// How many values of all outputs are NaN or infinite.
    pub nonfinite: usize,
    /// Where a package's manifest and its graph contradict each other, and the graph was believed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Answer {
    /// The sound of the one output that is a sound.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] when the manifest describes no output as a sound, or several;
    /// [`amphora_error::ErrorKind::Incompatible`] when the output holds something else,
    /// [`amphora_error::ErrorKind::Malformed`] when a sample is not finite.
    pub fn sound(&self) -> Result<Sound> {
        let mut sounds = self.sounds.iter();
        let (Some((name, config)), None) = (sounds.next(), sounds.next()) else {
            return Err(Error::usage(
                "output-medium",
                "there is not one output that is a sound",
            )
            .found(match self.sounds.len() {
                0 => "no output with the postprocessing 'audio'".to_owned(),
                _ => self.sounds.keys().map(|name| quoted(name).to_string()).collect::<Vec<_>>().join(", "),
            })
            .hint("the manifest states it under the output: `postprocessing: [{type: audio, sample_rate: 48000, channels: 2}]`"));
        };
        let tensor = self.outputs.get(name);
        let tensor =
            tensor.ok_or_else(|| Error::internal("output-missing", "an output is gone"))?;
        Sound::from_tensor(tensor, config)
            .map_err(|error| error.at(format!("output {}", quoted(name))))
    }
}

/// Which bundle answered.
#[derive(Debug, Clone, Serialize)]
pub struct BundleRan {
    /// The id.
    pub id: BundleId,
    /// The name.
    pub name: Name,
    /// The version.
    pub version: Version,
}

impl BundleRan {
    pub(crate) fn of(bundle: &Bundle) -> Self {
        let metadata = &bundle.manifest().metadata;
        Self {
            id: bundle.id(),
            name: metadata.full_name(),
            version: metadata.version.clone(),
        }
    }
}

fn outputs_to_json<S: serde::Serializer>(outputs: &Outputs, to: S) -> Result<S::Ok, S::Error> {
    outputs.to_json().serialize(to)
}

fn optional_tensor<S: serde::Serializer>(
    tensor: &Option<Tensor>,
    to: S,
) -> Result<S::Ok, S::Error> {
    tensor.as_ref().map(Tensor::to_json).serialize(to)
}

fn tensors_to_json<S: serde::Serializer>(
    tensors: &BTreeMap<String, Tensor>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let entries = tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.to_json()));
    entries.collect::<Map<String, Value>>().serialize(to)
}

/// The answer that `outputs` are, by the steps of the manifest. Where it names the classes of no output,
/// those are named whose rows fit the labels.
pub(super) fn answer(
    opened: Opened,
    mask: Option<&Tensor>,
    outputs: Outputs,
    top_k: Option<usize>,
) -> Result<Answer> {
    let engine = opened.session.engine();
    let mut answer = Answer {
        bundle: opened.ran,
        engine: format!("{} {}", engine.name(), engine.version()),
        labels: opened.labels.is_some().then(BTreeMap::new),
        embedding: None,
        postprocessed: BTreeMap::new(),
        sounds: BTreeMap::new(),
        nonfinite: outputs.nonfinite(),
        outputs,
        warnings: opened.io.warnings,
    };
    let labels = opened.labels.as_ref();
    let outputs = &opened.io.io.outputs;
    let is_said = outputs
        .iter()
        .any(|spec| names_classes(&spec.postprocessing));
    for spec in outputs {
        let Some(tensor) = answer.outputs.get(&spec.name) else {
            continue;
        };
        let unsaid = match (is_said, labels) {
            (false, Some(labels)) if spec.postprocessing.is_empty() => usual(tensor, labels),
            _ => Vec::new(),
        };
        let is_shown = !spec.postprocessing.is_empty();
        let steps = if is_shown {
            &spec.postprocessing
        } else {
            &unsaid
        };
        if steps.is_empty() {
            continue;
        }
        if let Some(config) = AudioConfig::of_output(steps) {
            answer.sounds.insert(spec.name.clone(), config);
            continue;
        }
        let context = Context {
            output: &spec.name,
            mask,
            labels,
        };
        let found = postprocess(tensor, &with_top_k(steps, top_k), &context)?;
        if let (Some(named), Some(rows)) = (&mut answer.labels, found.labels) {
            named.insert(spec.name.clone(), rows);
        }
        if is_shown && found.is_embedding && answer.embedding.is_none() {
            answer.embedding = Some(found.tensor);
        } else if is_shown {
            answer.postprocessed.insert(spec.name.clone(), found.tensor);
        }
    }
    Ok(answer)
}

/// The steps with the number of labels that the caller wants.
fn with_top_k(steps: &[Postprocessing], wanted: Option<usize>) -> Vec<Postprocessing> {
    let wanted = wanted.map(|k| u32::try_from(k).unwrap_or(u32::MAX));
    let step = |step: &Postprocessing| match step {
        Postprocessing::Labels { top_k } => Postprocessing::Labels {
            top_k: wanted.or(*top_k),
        },
        other => other.clone(),
    };
    steps.iter().map(step).collect()
}

/// The steps of a classifier of which only the labels are known: its output has one logit, or one
/// probability, for each label in its last dimension. None for any other output.
fn usual(tensor: &Tensor, labels: &BTreeMap<u64, String>) -> Vec<Postprocessing> {
    let top_k = Some(DEFAULT_TOP_K);
    match tensor.shape() {
        [_, classes] if *classes == labels.len() && *classes > 1 => {}
        _ => return Vec::new(),
    }
    if tensor.as_slice::<f32>().is_none() {
        return Vec::new();
    }
    let softmax = Postprocessing::Softmax { temperature: None };
    let named = Postprocessing::Labels { top_k };
    match are_distributions(tensor) {
        true => vec![named],
        false => vec![softmax, named],
    }
}
