//! What a model directory says of the way from text or a picture to the graph, and from there to an
//! answer, written as the manifest's hints.

use std::collections::BTreeMap;

use amphora_bundle::manifest::{Graph, Postprocessing, Preprocessing};
use amphora_checkpoint::architecture::{Architecture, EncoderTask};
use amphora_error::Result;
use amphora_files::{RelativePath, json};
use amphora_runtime::image::ImageConfig;
use amphora_runtime::postprocess::sentence_transformers;
use amphora_runtime::text::{TextConfig, TokenizerFiles, is_text_input};
use serde::Serialize;
use serde_json::{Map, Value};

use super::assets::AssetFiles;
use super::subject::Subject;

/// How pictures are prepared, as the Hugging Face Hub names the file.
const IMAGE_CONFIG: &str = "preprocessor_config.json";
/// The output of models without a head.
const HIDDEN: &str = "last_hidden_state";
/// The output of classifiers.
const LOGITS: &str = "logits";

/// The hints for the graphs of a bundle.
pub(super) struct Processing {
    text: Option<Preprocessing>,
    image: Option<Preprocessing>,
    outputs: BTreeMap<&'static str, Vec<Postprocessing>>,
}

impl Processing {
    /// Reads the files that were taken from the directory of the model.
    pub(super) fn read(subject: &Subject, files: &AssetFiles) -> Result<Self> {
        let file = |name: &str| Ok(files.content(name));
        let config = subject.config_value();
        let image = match files.content(IMAGE_CONFIG) {
            Some(bytes) => {
                let config = json::parse(&bytes).and_then(|config| image(&config));
                Some(config.map_err(|error| error.in_file(IMAGE_CONFIG))?)
            }
            None => None,
        };
        let mut outputs = BTreeMap::new();
        let embedding = sentence_transformers(&file)?;
        if !embedding.is_empty() {
            outputs.insert(HIDDEN, embedding);
        }
        let classifies = subject.parts.len() == 1 && !guesses_tokens(subject);
        if files.assets.labels.is_some() && classifies {
            let steps = vec![
                Postprocessing::Softmax { temperature: None },
                Postprocessing::Labels { top_k: None },
            ];
            outputs.insert(LOGITS, steps);
        }
        Ok(Self {
            text: text(config, &TokenizerFiles::gather(file)?)?,
            image,
            outputs,
        })
    }

    /// Writes the hints into the manifest's description of a graph.
    pub(super) fn describe(&self, graph: &mut Graph) {
        for spec in &mut graph.io.inputs {
            if is_text_input(&spec.name) {
                spec.preprocessing.clone_from(&self.text);
            }
            if self.image.is_some() && spec.name == "pixel_values" {
                spec.preprocessing.clone_from(&self.image);
            }
        }
        for spec in &mut graph.io.outputs {
            if let Some(steps) = self.outputs.get(spec.name.as_str()) {
                spec.postprocessing.clone_from(steps);
            }
        }
    }

    /// Whether the directory says how pictures become tensors.
    pub(super) fn prepares_pictures(&self) -> bool {
        self.image.is_some()
    }
}

/// Whether the logits are those of the tokens of the vocabulary, for which a configuration's labels are not.
fn guesses_tokens(subject: &Subject) -> bool {
    let architecture = subject.graph.as_ref().map(|graph| &graph.architecture);
    let Some(Architecture::Encoder(config)) = architecture else {
        return false;
    };
    matches!(config.task, EncoderTask::MaskedLm { .. })
}

fn text(config: &Value, files: &TokenizerFiles) -> Result<Option<Preprocessing>> {
    if !files.can_tokenize() {
        return Ok(None);
    }
    let tokenizer = files.names().find(|name| *name == "tokenizer.json");
    let family = config.get("model_type").and_then(Value::as_str);
    Ok(Some(Preprocessing {
        r#type: "tokenization".to_owned(),
        tokenizer: tokenizer.map(RelativePath::parse).transpose()?,
        tokenizer_type: family.map(str::to_owned),
        config: Some(keys(&TextConfig::from_files(files)?)),
    }))
}

fn image(config: &Value) -> Result<Preprocessing> {
    let config = ImageConfig::from_preprocessor_config(config)?;
    Ok(Preprocessing {
        r#type: "image".to_owned(),
        tokenizer: None,
        tokenizer_type: None,
        config: Some(config.to_manifest()),
    })
}

/// A configuration as the manifest holds it.
fn keys<T: Serialize>(config: &T) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(keys)) => keys,
        _ => Map::new(),
    }
}
