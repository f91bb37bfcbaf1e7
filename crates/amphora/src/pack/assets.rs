//! Files with a known meaning, checked before they go into a bundle.

use amphora_bundle::manifest::Assets;
use amphora_bundle::{Draft, parse_metrics};
use amphora_error::{Error, Result, quoted};
use amphora_files::{OpenedFile, RelativePath, json};
use amphora_runtime::Calibration;
use bytes::Bytes;
use serde_json::Value;
use std::path::Path;

use super::subject::Subject;
use super::{PackRequest, directory};
use crate::labels::{self, Labels};

/// What goes into the bundle besides the model, by its path there.
#[derive(Default)]
pub(super) struct AssetFiles {
    /// Files that were read and checked.
    read: Vec<(RelativePath, Bytes)>,
    /// Files that are copied as they are.
    copied: Vec<(RelativePath, OpenedFile)>,
    pub(super) assets: Assets,
    /// How many classes the labels name.
    pub(super) classes: Option<usize>,
}

/// Reads and checks metrics, labels and calibration, and opens the further assets.
pub(super) fn read(request: &PackRequest, subject: &Subject) -> Result<AssetFiles> {
    let contract = &subject.entry()?.contract;
    let mut files = AssetFiles::default();
    if let Some(path) = &request.metrics {
        let check = |bytes: &Bytes| parse_metrics(bytes).map(drop);
        files.assets.metrics = Some(files.add(path, "metrics.json", check)?);
    }
    if let Some(path) = &request.labels {
        if !labels::chooses_one(subject.config_value()) {
            return Err(Error::usage(
                "labels-of-many",
                "labels name one class of several, and the configuration says that this model chooses none",
            )
            .at("problem_type")
            .in_file(path)
            .hint("leave --labels out"));
        }
        let bytes = OpenedFile::open(path)?.contents(json::MAX_BYTES)?;
        let read = labels::read(&bytes).map_err(|error| error.in_file(path))?;
        files.labels(&read, bytes)?;
    }
    if let Some(path) = &request.calibration {
        let check = |bytes: &Bytes| Calibration::parse(bytes)?.check(contract);
        files.assets.calibration = Some(files.add(path, "calibration.json", check)?);
    }
    if request.model.is_dir() {
        files.of_directory(request, subject)?;
    }
    for path in &request.assets {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let place = RelativePath::parse(name).map_err(|error| error.in_file(path))?;
        if name == "tokenizer.json" {
            files.assets.tokenizer = Some(place.clone());
        }
        // What is named on purpose replaces what lay beside the model.
        files.read.retain(|(read, _)| *read != place);
        files.copied.push((place, OpenedFile::open(path)?));
    }
    Ok(files)
}

impl AssetFiles {
    fn add(
        &mut self,
        path: &Path,
        name: &str,
        check: impl FnOnce(&Bytes) -> Result<()>,
    ) -> Result<RelativePath> {
        let bytes = OpenedFile::open(path)?.contents(json::MAX_BYTES)?;
        check(&bytes).map_err(|error| error.in_file(path))?;
        let place = RelativePath::parse(name)?;
        self.read.push((place.clone(), bytes));
        Ok(place)
    }

    /// Takes the files of a model directory, and the labels of its configuration unless others were given.
    fn of_directory(&mut self, request: &PackRequest, subject: &Subject) -> Result<()> {
        for (place, bytes) in directory::kept(&request.model)? {
            if place.as_str() == "tokenizer.json" {
                self.assets.tokenizer = Some(place.clone());
            }
            self.read.push((place, bytes));
        }
        match &subject.config {
            Some(config) if self.assets.labels.is_none() && labels::chooses_one(&config.value) => {
                self.labels_of(&config.value)
                    .map_err(|error| error.in_file(&request.model))
            }
            _ => Ok(()),
        }
    }

    /// Adds the labels of a configuration, where it has any.
    pub(super) fn labels_of(&mut self, config: &Value) -> Result<()> {
        match labels::of_config(config)? {
            Some(read) => self.labels(&read, labels::to_bytes(&read)?),
            None => Ok(()),
        }
    }

    fn labels(&mut self, labels: &Labels, bytes: Bytes) -> Result<()> {
        self.classes = Some(labels.len());
        self.assets.labels = Some(self.keep("label_map.json", bytes)?);
        Ok(())
    }

    /// Whether there is a file at `path`.
    pub(super) fn holds(&self, path: &RelativePath) -> bool {
        self.read.iter().any(|(place, _)| place == path)
            || self.copied.iter().any(|(place, _)| place == path)
    }

    /// The content of a file that was read.
    pub(super) fn content(&self, name: &str) -> Option<Bytes> {
        let mut read = self.read.iter();
        read.find(|(place, _)| place.as_str() == name)
            .map(|(_, bytes)| bytes.clone())
    }

    /// Adds a file that is in memory.
    pub(super) fn keep(&mut self, name: &str, bytes: Bytes) -> Result<RelativePath> {
        let place = RelativePath::parse(name)?;
        self.read.push((place.clone(), bytes));
        Ok(place)
    }

    /// Writes everything into the draft.
    pub(super) fn add_to(&self, draft: &mut Draft) -> Result<()> {
        for (place, bytes) in &self.read {
            draft.add_bytes(place, bytes)?;
        }
        for (place, file) in &self.copied {
            draft.add_file(place, file).map_err(|error| {
                error
                    .in_file(file.path())
                    .at(format!("asset {}", quoted(place.as_str())))
            })?;
        }
        Ok(())
    }
}
