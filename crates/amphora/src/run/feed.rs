//! From what a person gives to the inputs of a graph: tensors by name, and text, pictures and sound by
//! the way that the manifest describes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use amphora_bundle::manifest::IoSpec;
use amphora_error::{Error, ErrorKind, Result, quoted, quoted_list};
use amphora_files::{OpenedFile, RelativePath, json};
use amphora_onnx::{Dtype, TensorSpec};
use amphora_runtime::audio::{AudioConfig, AudioProcessor};
use amphora_runtime::image::{ImageConfig, ImageProcessor};
use amphora_runtime::text::{
    Text, TextConfig, TextProcessor, TokenizerFiles, is_mask_input, is_text_input,
};
use amphora_runtime::{Session, Tensor};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::open::{Files, Opened};

/// Largest `.npy` file read, in bytes.
const MAX_INPUT_BYTES: u64 = 4 << 30;
/// Largest picture or sound read, in bytes.
const MAX_MEDIA_BYTES: u64 = 512 << 20;
/// What a tokenizer's main file is called.
const TOKENIZER: &str = "tokenizer.json";
/// What the input is called that tells tokens from padding.
const MASK: &str = "attention_mask";

/// Where the value of an input comes from.
#[derive(Debug, Clone)]
pub enum InputValue {
    /// A `.npy` file.
    Npy(PathBuf),
    /// A JSON file.
    JsonFile(PathBuf),
    /// JSON text: nested arrays, or `{"shape": [...], "data": [...]}`.
    Json(String),
}

/// Everything that was given.
pub(super) struct Raw<'a> {
    pub(super) inputs: &'a [(String, InputValue)],
    pub(super) texts: &'a [(String, Option<String>)],
    pub(super) images: &'a [PathBuf],
    pub(super) audio: Option<&'a Path>,
}

impl Raw<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty()
            && self.texts.is_empty()
            && self.images.is_empty()
            && self.audio.is_none()
    }
}

/// What goes into the session.
pub(super) struct Fed {
    /// The inputs, by name.
    pub(super) inputs: BTreeMap<String, Tensor>,
    /// Which tokens count, `[batch, time]`: 1 for a token, 0 for padding; none where nothing says so.
    pub(super) mask: Option<Tensor>,
}

/// The inputs of the session. What is given by name is not made from text or a picture. A value
/// that is no tensor is reported with all other faults of the inputs, and alone when there is no other.
pub(super) fn tensors(opened: &Opened, raw: &Raw<'_>) -> Result<Fed> {
    let Named {
        mut tensors,
        unreadable,
        only,
    } = named(&opened.session, raw.inputs)?;
    let free: Vec<&IoSpec> = opened
        .io
        .io
        .inputs
        .iter()
        .filter(|spec| !tensors.contains_key(&spec.name) && !unreadable.contains_key(&spec.name))
        .collect();
    let mut mask = None;
    if !raw.texts.is_empty() {
        let fed = from_texts(opened, &free, raw.texts)?;
        tensors.extend(fed.inputs);
        mask = fed.mask;
    }
    if !raw.images.is_empty() {
        let spec = made_from(opened, &free, Medium::Image)?;
        tensors.insert(spec.name.clone(), from_images(opened, spec, raw.images)?);
    }
    if let Some(path) = raw.audio {
        let spec = made_from(opened, &free, Medium::Audio)?;
        tensors.insert(spec.name.clone(), from_audio(opened, spec, path)?);
    }
    let Some(only) = only else {
        let named = tensors.iter().find(|(name, _)| is_mask_input(name));
        return Ok(Fed {
            mask: named.map(|(_, mask)| mask.clone()).or(mask),
            inputs: tensors,
        });
    };
    match opened.session.check(&tensors, &unreadable) {
        Err(all) if all.fault_list().len() > 1 => Err(all),
        _ => Err(only),
    }
}

/// What an input can be made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Text,
    Image,
    Audio,
}

impl Medium {
    pub(crate) fn of(spec: &IoSpec) -> Option<Self> {
        match spec.preprocessing.as_ref()?.r#type.as_str() {
            "tokenization" => Some(Self::Text),
            // Document 004 calls the steps of preparing a picture by these names.
            "image" | "normalization" | "resize" => Some(Self::Image),
            "audio" => Some(Self::Audio),
            _ => None,
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Text => "--text",
            Self::Image => "--image",
            Self::Audio => "--audio",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "a picture",
            Self::Audio => "sound",
        }
    }
}

/// The one input that is made from `medium`.
fn made_from<'a>(opened: &Opened, free: &[&'a IoSpec], medium: Medium) -> Result<&'a IoSpec> {
    let mut found = free.iter().filter(|spec| Medium::of(spec) == Some(medium));
    match (found.next(), found.next()) {
        (Some(spec), None) => Ok(spec),
        (None, _) => Err(none_made_from(opened, medium)),
        (Some(_), Some(_)) => Err(Error::usage(
            "input-medium",
            format!("several inputs are made from {}", medium.word()),
        )
        .hint("give all but one of them by name with --input")),
    }
}

fn none_made_from(opened: &Opened, medium: Medium) -> Error {
    let inputs = opened.io.io.inputs.iter();
    let names = inputs.map(|spec| spec.name.as_str());
    Error::usage(
        "input-medium",
        format!("no input is made from {}", medium.word()),
    )
    .in_file(&opened.path)
    .hint(format!(
        "give tensors with --input; the graph takes {}",
        quoted_list(names)
    ))
}

/// Every input that a tokenizer fills, and the mask even where the graph has no input for it.
fn from_texts(
    opened: &Opened,
    free: &[&IoSpec],
    texts: &[(String, Option<String>)],
) -> Result<Fed> {
    let stated: Vec<&IoSpec> = free
        .iter()
        .copied()
        .filter(|spec| Medium::of(spec) == Some(Medium::Text))
        .collect();
    if stated.is_empty() {
        return Err(none_made_from(opened, Medium::Text));
    }
    let (tokenizer, config) = text_hint(&stated).map_err(|error| error.in_file(&opened.path))?;
    // Inputs that come out of a tokenizer even where only one of them says so.
    let mut specs: Vec<TensorSpec> = free
        .iter()
        .filter(|spec| match spec.preprocessing {
            Some(_) => Medium::of(spec) == Some(Medium::Text),
            None => is_text_input(&spec.name),
        })
        .map(|spec| spec.tensor_spec())
        .collect();
    let has_mask = specs.iter().any(|spec| is_mask_input(&spec.name));
    if !has_mask {
        specs.push(TensorSpec {
            name: MASK.to_owned(),
            dtype: Dtype::Int64,
            shape: None,
        });
    }
    let files = TokenizerFiles::gather(|name| beside(opened, tokenizer, name))?;
    let config = TextConfig::from_manifest(config).map_err(at_fault(opened, stated[0]))?;
    let processor = TextProcessor::new(&files, &config).map_err(|error| {
        let error = match opened.files {
            Files::Bundle(_) => packed_without_tokenizer(error),
            Files::Package(_) | Files::Beside(_) => error,
        };
        error.in_file(&opened.path)
    })?;
    let texts: Vec<Text<'_>> = texts
        .iter()
        .map(|(text, pair)| Text {
            text,
            pair: pair.as_deref(),
        })
        .collect();
    let mut inputs = processor.tensors(&texts, &specs)?;
    let mask = if has_mask { None } else { inputs.remove(MASK) };
    Ok(Fed { inputs, mask })
}

/// Nothing can be put beside the files of a sealed bundle.
pub(crate) fn packed_without_tokenizer(error: Error) -> Error {
    match error.rule() {
        "tokenizer-missing" => {
            error.hint("pack the model again, with its tokenizer in its directory or as --asset")
        }
        _ => error,
    }
}

/// What people can give instead of tensors, as flags of `run`.
pub(super) fn media(opened: &Opened) -> Vec<&'static str> {
    let inputs = opened.io.io.inputs.iter();
    let mut flags: Vec<_> = inputs
        .filter_map(|spec| Medium::of(spec).map(Medium::flag))
        .collect();
    flags.dedup();
    flags
}

/// The tokenizer and the configuration that the inputs of a text state.
type TextHint<'a> = (Option<&'a RelativePath>, Option<&'a Map<String, Value>>);

/// The one way in which all inputs of a text are made.
fn text_hint<'a>(stated: &[&'a IoSpec]) -> Result<TextHint<'a>> {
    let hints = || {
        stated
            .iter()
            .filter_map(|spec| Some((spec, spec.preprocessing.as_ref()?)))
    };
    let mut tokenizers = hints().filter_map(|(spec, how)| Some((spec, how.tokenizer.as_ref()?)));
    let mut configs = hints().filter_map(|(spec, how)| {
        let config = how.config.as_ref().filter(|config| !config.is_empty())?;
        Some((spec, config))
    });
    let (tokenizer, config) = (tokenizers.next(), configs.next());
    let other = |what: &str, first: &IoSpec, second: &IoSpec| {
        let (first, second) = (quoted(&first.name), quoted(&second.name));
        format!("{second} states another {what} than {first}")
    };
    let mut faults = Vec::new();
    if let Some((first, known)) = tokenizer {
        let others = tokenizers.filter(|(_, path)| *path != known);
        faults.extend(others.map(|(second, _)| other("tokenizer", first, second)));
    }
    if let Some((first, known)) = config {
        let others = configs.filter(|(_, config)| *config != known);
        faults.extend(others.map(|(second, _)| other("configuration", first, second)));
    }
    if faults.is_empty() {
        return Ok((
            tokenizer.map(|(_, path)| path),
            config.map(|(_, config)| config),
        ));
    }
    Err(Error::incompatible(
        "text-hints",
        "the inputs of one text are to be made in different ways",
    )
    .faults(faults)
    .hint("correct their preprocessing in the manifest, or give inputs by name with --input"))
}

/// A file of the tokenizer, which lies where the manifest names its main file.
fn beside(opened: &Opened, main: Option<&RelativePath>, name: &str) -> Result<Option<Bytes>> {
    let Some(main) = main else {
        return opened.files.read(name);
    };
    let known = TokenizerFiles::NAMES.contains(&main.file_name());
    if name == TOKENIZER && !known {
        return opened.files.read(main.as_str());
    }
    match main.as_str().rsplit_once('/') {
        Some((folder, _)) => opened.files.read(&format!("{folder}/{name}")),
        None => opened.files.read(name),
    }
}

/// Says that what the manifest states of an input is at fault.
fn at_fault(opened: &Opened, spec: &IoSpec) -> impl Fn(Error) -> Error {
    move |error| error.at(place(&spec.name)).in_file(&opened.path)
}

fn from_images(opened: &Opened, spec: &IoSpec, images: &[PathBuf]) -> Result<Tensor> {
    let how = spec.preprocessing.as_ref();
    let stated = how.and_then(|how| how.config.as_ref());
    let tensor = spec.tensor_spec();
    let processor = ImageConfig::settled(stated, &|name| opened.files.read(name), &tensor)
        .and_then(|config| ImageProcessor::new(config, &tensor))
        .map_err(at_fault(opened, spec))?;
    let files = read_all(images)?;
    if let [only] = files.as_slice() {
        // A single picture can be named in the error.
        return processor
            .tensor(only)
            .map_err(|error| error.in_file(&images[0]));
    }
    let files: Vec<&[u8]> = files.iter().map(Bytes::as_ref).collect();
    processor.tensors(&files)
}

fn from_audio(opened: &Opened, spec: &IoSpec, path: &Path) -> Result<Tensor> {
    let config = spec
        .preprocessing
        .as_ref()
        .and_then(|how| how.config.as_ref());
    let processor = AudioConfig::from_manifest(config.unwrap_or(&Map::new()))
        .and_then(|config| AudioProcessor::new(config, &spec.tensor_spec()))
        .map_err(at_fault(opened, spec))?;
    let file = OpenedFile::open(path)?.contents(MAX_MEDIA_BYTES)?;
    processor.tensor(&file).map_err(|error| error.in_file(path))
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Bytes>> {
    let read = |path: &PathBuf| OpenedFile::open(path as &Path)?.contents(MAX_MEDIA_BYTES);
    paths.iter().map(read).collect()
}

/// What was given by name.
#[derive(Default)]
struct Named {
    tensors: BTreeMap<String, Tensor>,
    /// Values that are no tensors of the type that the contract states, with what is wrong.
    unreadable: BTreeMap<String, String>,
    /// The error of one of them.
    only: Option<Error>,
}

/// Reads every named input as the element type that the contract states.
fn named(session: &Session, inputs: &[(String, InputValue)]) -> Result<Named> {
    let mut named = Named::default();
    for (name, value) in inputs {
        if named.tensors.contains_key(name) || named.unreadable.contains_key(name) {
            return Err(Error::usage("input-twice", "the input is given twice").at(place(name)));
        }
        let mut specs = session.contract().inputs.iter();
        let tensor = match specs.find(|spec| spec.name == *name) {
            Some(spec) => tensor(spec, value),
            // The session reports a name that the graph does not have.
            None => Ok(Tensor::scalar(0.0_f32)),
        };
        match tensor {
            Ok(tensor) => drop(named.tensors.insert(name.clone(), tensor)),
            Err(error) if matches!(error.kind(), ErrorKind::Usage | ErrorKind::Malformed) => {
                named.unreadable.insert(name.clone(), in_one_line(&error));
                named.only = Some(error.at(place(name)));
            }
            Err(error) => return Err(error.at(place(name))),
        }
    }
    Ok(named)
}

/// The message of an error with its faults, for a list of faults.
pub(crate) fn in_one_line(error: &Error) -> String {
    let text = error.to_string();
    let parts: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches(['-', ' ']))
        .collect();
    parts.join(": ")
}

fn place(name: &str) -> String {
    format!("input {}", quoted(name))
}

fn tensor(spec: &TensorSpec, value: &InputValue) -> Result<Tensor> {
    match value {
        InputValue::Npy(path) => Tensor::read_npy(path, MAX_INPUT_BYTES),
        InputValue::JsonFile(path) => {
            let bytes = OpenedFile::open(path)?.contents(json::MAX_BYTES)?;
            json::parse(&bytes)
                .and_then(|value| Tensor::from_json(&value, spec.dtype))
                .map_err(|error| error.in_file(path))
        }
        InputValue::Json(text) => {
            let value: Value = json::parse(text.as_bytes()).map_err(|error| {
                Error::usage(
                    "input-json",
                    "the value is neither JSON nor the name of a file",
                )
                .found(quoted(text).to_string())
                .hint("write NAME=[[1, 2]], NAME=FILE.npy or NAME=@FILE.json")
                .caused_by(error)
            })?;
            Tensor::from_json(&value, spec.dtype).map_err(|error| {
                Error::usage(
                    "input-value",
                    format!("the value is no {} tensor", spec.dtype),
                )
                .faults(vec![error.to_string()])
                .caused_by(error)
            })
        }
    }
}
