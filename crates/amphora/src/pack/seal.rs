//! Writing everything into a staged bundle that is not visible yet.

use std::collections::BTreeMap;

use amphora_bundle::manifest::{Framework, Io, Metadata, Provenance};
use amphora_bundle::{Details, Draft, Sealed};
use amphora_error::{Error, Result, quoted};
use amphora_files::{RelativePath, sha256};
use amphora_onnx::write;
use amphora_verify::golden::Golden;
use bytes::Bytes;

use super::PackRequest;
use super::assets::AssetFiles;
use super::serving::Serving;
use super::subject::{Part, Subject};
use crate::labels::names_classes;

/// Weights up to this many bytes stay inside the bundle's ONNX file; larger ones go to an aligned
/// data file beside it, which engines can map.
const INLINE_LIMIT: u64 = 4 << 20;
/// What the data file of the graphs is called.
const DATA_FILE: &str = "model.onnx.data";

/// The sealed bundle of `subject`, with the golden vectors of each of its graphs.
pub(super) fn seal(
    request: &PackRequest,
    subject: &Subject,
    golden: &[Golden],
    mut files: AssetFiles,
    serving: Serving,
    metadata: Metadata,
) -> Result<Sealed> {
    if let Some(config) = &subject.config {
        files.assets.config = Some(files.keep(config.name, config.bytes.clone())?);
    }
    if let Some(bytes) = &subject.checkpoint {
        files.assets.checkpoint = Some(files.keep(subject.checkpoint_name(), bytes.clone())?);
    }
    let mut draft = request.store.draft()?;
    let mut shared = None;
    for (part, golden) in subject.parts.iter().zip(golden) {
        add_graph(&mut draft, part, &mut shared)?;
        serving.describe(draft.graph_mut(&part.name)?);
        let place = RelativePath::parse(&format!("golden/{}.safetensors", part.name))?;
        let entry = golden.manifest_entry(place, &part.contract);
        draft.add_golden(&part.name, &golden.to_bytes()?, entry)?;
    }
    files.add_to(&mut draft)?;
    let (framework, format) = match &subject.graph {
        Some(_) => ("pytorch", "pytorch"),
        None => ("onnx", "onnx"),
    };
    let framework = Framework {
        name: framework.to_owned(),
        version: None,
    };
    let mut details = Details::new(metadata, framework, format);
    details.entry.clone_from(&subject.entry()?.name);
    if let Some(stated) = &subject.stated {
        draft.graph_mut(&details.entry)?.io = stated.io.clone();
        details.framework = stated.framework.clone();
        details.original_format.clone_from(&stated.format);
        details.multi_encoder.clone_from(&stated.multi_encoder);
        details.requirements.clone_from(&stated.requirements);
        details.performance.clone_from(&stated.performance);
        details.dependencies.clone_from(&stated.dependencies);
    }
    for part in &subject.parts {
        one_label_for_each_class(&draft.graph_mut(&part.name)?.io, files.classes)
            .map_err(|error| error.in_file(&request.model))?;
    }
    details.assets = files.assets;
    details.generation = serving.generation;
    let nonfinite = subject
        .parts
        .iter()
        .map(|part| part.model.nonfinite_weights());
    details.nonfinite_weights = nonfinite.sum();
    let architecture = subject
        .graph
        .as_ref()
        .map(|graph| graph.architecture.model_type());
    details.provenance = Provenance {
        git_sha: request.git_sha.clone(),
        created_by: request.created_by.clone(),
        created_with: Some(format!("amphora {}", env!("CARGO_PKG_VERSION"))),
        architecture: architecture.map(str::to_owned),
        source: Some(subject.source.clone()),
        config_sha256: subject.config.as_ref().map(|config| sha256(&config.bytes)),
        exp_hash: None,
    };
    draft.seal(details)
}

/// Refuses labels that no run could name the classes of an output with.
fn one_label_for_each_class(io: &Io, labels: Option<usize>) -> Result<()> {
    let Some(labels) = labels else { return Ok(()) };
    for output in &io.outputs {
        let classes = output.shape.as_ref().and_then(|shape| shape.last());
        let classes = classes.and_then(|size| usize::try_from(*size).ok());
        if let Some(classes) = classes
            && classes != labels
            && names_classes(&output.postprocessing)
        {
            return Err(Error::incompatible(
                "labels-count",
                "there is not one label for each class",
            )
            .at(format!("output {}", quoted(&output.name)))
            .expected(format!("{classes} labels"))
            .found(format!("{labels} labels")));
        }
    }
    Ok(())
}

/// Adds a graph; its weights go to the data file that the graphs `shared` so far, where they are the same.
fn add_graph(draft: &mut Draft, part: &Part, shared: &mut Option<Bytes>) -> Result<()> {
    let mut name = DATA_FILE.to_owned();
    let mut written = write::self_contained(&part.model, &name, INLINE_LIMIT)?;
    let mut data = written.data.as_ref().map(|data| data.to_bytes());
    if let (Some(bytes), Some(shared)) = (&data, &*shared)
        && bytes != shared
    {
        name = format!("{}.onnx.data", part.name);
        written = write::self_contained(&part.model, &name, INLINE_LIMIT)?;
        data = written.data.as_ref().map(|data| data.to_bytes());
    }
    if shared.is_none() {
        shared.clone_from(&data);
    }
    let data: BTreeMap<String, Bytes> = data
        .into_iter()
        .map(|bytes| (name.clone(), bytes))
        .collect();
    draft.add_graph(
        &part.name,
        &part.role,
        &written.graph,
        &data,
        &part.contract,
    )
}
