//! From a package to a bundle: the same model with what its manifest lacked.

use amphora_bundle::manifest::{
    Compute, Cpu, Framework, Gpu, Io, Memory, Metadata, Requirements, Source,
};
use amphora_bundle::package::PackageManifest;
use amphora_bundle::{Package, layout};
use amphora_error::{Result, quoted};
use amphora_files::RelativePath;
use amphora_onnx::Limits;
use amphora_runtime::image::ImageConfig;
use amphora_runtime::text::TokenizerFiles;
use bytes::Bytes;

use super::assets::AssetFiles;
use super::serving::Serving;
use super::subject::{Part, Stated, Subject};
use super::{Material, PackRequest, Packed, directory, make};
use crate::config::Config;
use crate::labels;
use crate::run::{Medium, in_one_line};
use crate::source::MAX_BESIDE;

/// Endings of files that hold weights in a format that does not run here.
const WEIGHTS: [&str; 10] = [
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".h5",
    ".pb",
    ".gguf",
    ".msgpack",
    ".tflite",
    ".onnx",
];
/// Where files go whose own place belongs to the bundle.
const ASIDE: &str = "package/";

/// Makes a bundle of `package` and publishes it: its graphs with golden vectors that are recorded as
/// for any foreign graph, the I/O that manifest and graph settle on, and every file that the manifest
/// lists or that a tokenizer or processor is read from, except weights that do not run.
///
/// The bundle says what the manifest said of its origin, needs and performance. Where the package was
/// published is left out: that was another file.
///
/// # Errors
///
/// Those of reading the package, of [`Package::effective_io`], and of [`pack`](super::pack).
pub(crate) fn upgrade(
    package: &Package,
    request: &PackRequest,
    step: &dyn Fn(&str),
) -> Result<Packed> {
    request.check()?;
    step("reading the package");
    let manifest = package.manifest();
    let mut notes = Vec::new();
    let mut parts = Vec::new();
    for graph in package.graphs()? {
        let model = package.model(&graph, &Limits::default())?;
        let checked = model.check().and_then(|()| model.contract());
        let shown = graph.file.beneath(package.path());
        parts.push(Part {
            name: graph.name,
            role: graph.role,
            contract: checked.map_err(|error| error.in_file(shown))?,
            model,
        });
    }
    let mut subject = Subject {
        parts,
        graph: None,
        config: None,
        source: Source {
            format: "axon".to_owned(),
            sha256: package.manifest_digest(),
            size: package.manifest_size(),
        },
        checkpoint: None,
        stated: None,
    };
    let mut known = package.effective_io(&subject.entry()?.contract, false)?;
    notes.append(&mut known.warnings);
    let assets = files(package, &mut subject, &known.io, &mut notes)?;
    present(&mut known.io, &assets)?;
    prepared(&mut known.io, &assets, &mut notes);
    subject.stated = Some(stated(manifest, known.io));
    let metadata = metadata(manifest, request, &mut notes)?;
    let serving = Serving::read(None, &subject, &assets, &mut notes)?;
    let material = Material {
        subject,
        assets,
        serving,
        metadata,
        notes,
    };
    make(request, material, step)
}

fn stated(manifest: &PackageManifest, io: Io) -> Stated {
    let spec = &manifest.spec;
    let version = spec.framework.version.clone();
    Stated {
        framework: Framework {
            name: spec.framework.name.clone(),
            version: version.filter(|version| !version.is_empty()),
        },
        format: spec.format.r#type.clone(),
        io,
        requirements: spec.requirements.as_ref().map(known),
        multi_encoder: spec.format.multi_encoder.clone(),
        performance: spec.performance.clone(),
        dependencies: spec.dependencies.clone(),
    }
}

/// The needs of which the manifest says something: installers write zeros where they know nothing.
fn known(stated: &Requirements) -> Requirements {
    let size = |stated: Option<f64>| stated.filter(|size| *size != 0.0);
    let memory = |stated: &Memory| Memory {
        min_gb: size(stated.min_gb),
        recommended_gb: size(stated.recommended_gb),
    };
    let cpu = |stated: &Cpu| Cpu {
        min_cores: stated.min_cores,
        recommended_cores: stated.recommended_cores.filter(|cores| *cores != 0),
    };
    let gpu = |stated: &Gpu| Gpu {
        min_vram_gb: size(stated.min_vram_gb),
        ..stated.clone()
    };
    Requirements {
        compute: stated.compute.as_ref().map(|stated| Compute {
            cpu: stated
                .cpu
                .as_ref()
                .filter(|cpu| cpu.min_cores != 0)
                .map(cpu),
            memory: stated.memory.as_ref().map(memory),
            gpu: stated.gpu.as_ref().map(gpu),
        }),
        storage: stated.storage.as_ref().map(memory),
    }
}

fn metadata(
    manifest: &PackageManifest,
    request: &PackRequest,
    notes: &mut Vec<String>,
) -> Result<Metadata> {
    let stated = &manifest.metadata;
    let (name, version) = (manifest.bundle_name()?, manifest.bundle_version()?);
    if version.as_str() != stated.version {
        let found = quoted(&stated.version);
        notes.push(format!(
            "the version {found} is no semantic version; the bundle has {version}"
        ));
    }
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(Metadata {
        description: stated.description.clone(),
        license: set(&stated.license),
        authors: stated.authors.clone(),
        homepage: set(&stated.homepage),
        documentation: set(&stated.documentation),
        tags: stated.tags.clone(),
        created: Some(request.created.clone()),
        ..Metadata::new(&name, version)
    })
}

/// Takes the files beside the graphs, and what is known of them by their names.
fn files(
    package: &Package,
    subject: &mut Subject,
    io: &Io,
    notes: &mut Vec<String>,
) -> Result<AssetFiles> {
    let mut files = AssetFiles::default();
    let listed = package.manifest().paths().into_iter().cloned();
    let well_known = directory::well_known().chain(["config.json"]);
    let well_known = well_known.filter(|name| package.has(name));
    let mut paths: Vec<RelativePath> = listed.collect();
    for name in well_known {
        paths.push(RelativePath::parse(name)?);
    }
    paths.extend(tokenizers(package, io)?);
    paths.sort();
    paths.dedup();
    let data: Vec<String> = data_files(package, subject)?;
    for path in paths {
        let text = path.as_str();
        if data.iter().any(|data| data == text) {
            continue;
        }
        if WEIGHTS.iter().any(|end| text.ends_with(end)) {
            notes.push(format!(
                "{path} was left out: its weights are in the graph, or do not run"
            ));
            continue;
        }
        let bytes = package.read(&path, MAX_BESIDE)?;
        take(&mut files, subject, &path, bytes)?;
    }
    if let Some(config) = &subject.config
        && labels::are_used(&config.value, io)
    {
        files
            .labels_of(&config.value)
            .map_err(|error| error.in_file(package.path().join("config.json")))?;
    }
    Ok(files)
}

/// The files of the tokenizers that inputs name, and those beside them that belong to them.
fn tokenizers(package: &Package, io: &Io) -> Result<Vec<RelativePath>> {
    let mut found = Vec::new();
    let hints = io
        .inputs
        .iter()
        .filter_map(|input| input.preprocessing.as_ref());
    for path in hints.filter_map(|how| how.tokenizer.as_ref()) {
        let folder = path.as_str().rsplit_once('/').map(|(folder, _)| folder);
        let beside = TokenizerFiles::NAMES.map(|name| match folder {
            Some(folder) => format!("{folder}/{name}"),
            None => name.to_owned(),
        });
        for name in beside.iter().chain([&path.to_string()]) {
            if package.has(name) {
                found.push(RelativePath::parse(name)?);
            }
        }
    }
    Ok(found)
}

fn take(
    files: &mut AssetFiles,
    subject: &mut Subject,
    path: &RelativePath,
    bytes: Bytes,
) -> Result<()> {
    match path.as_str() {
        "config.json" => subject.config = Some(Config::of_json(bytes)?),
        "tokenizer.json" => files.assets.tokenizer = Some(files.keep(path.as_str(), bytes)?),
        _ if layout::is_reserved(path) => {
            files.keep(&format!("{ASIDE}{path}"), bytes)?;
        }
        text => {
            files.keep(text, bytes)?;
        }
    }
    Ok(())
}

/// The graphs' own files, as paths of the package.
fn data_files(package: &Package, subject: &Subject) -> Result<Vec<String>> {
    let mut own = Vec::new();
    for (graph, part) in package.graphs()?.iter().zip(&subject.parts) {
        own.push(graph.file.to_string());
        let folder = graph
            .file
            .as_str()
            .rsplit_once('/')
            .map(|(folder, _)| folder);
        for location in part.model.external_files().keys() {
            own.push(match folder {
                Some(folder) => format!("{folder}/{location}"),
                None => location.clone(),
            });
        }
    }
    Ok(own)
}

/// Writes down how pictures are prepared, where the manifest leaves it to the model's own file or to the
/// shape of the input. What cannot be done here stays as it is: the graph still takes tensors.
fn prepared(io: &mut Io, files: &AssetFiles, notes: &mut Vec<String>) {
    let file = |name: &str| Ok(files.content(name));
    for input in &mut io.inputs {
        let spec = input.tensor_spec();
        if Medium::of(input) != Some(Medium::Image) {
            continue;
        }
        let Some(how) = &mut input.preprocessing else {
            continue;
        };
        match ImageConfig::settled(how.config.as_ref(), &file, &spec) {
            Ok(config) => how.config = Some(config.to_manifest()),
            Err(error) => notes.push(format!(
                "input {} takes no pictures: {}",
                quoted(&spec.name),
                in_one_line(&error)
            )),
        }
    }
}

/// Names the tokenizers where they lie in the bundle, and none that the package does not hold: the settled
/// I/O warned of those.
fn present(io: &mut Io, files: &AssetFiles) -> Result<()> {
    for input in &mut io.inputs {
        let how = input.preprocessing.as_mut();
        let Some((how, path)) = how.and_then(|how| {
            let path = how.tokenizer.take()?;
            Some((how, path))
        }) else {
            continue;
        };
        let aside = RelativePath::parse(&format!("{ASIDE}{path}"))?;
        let mut places = [path, aside].into_iter();
        how.tokenizer = places.find(|place| files.holds(place));
    }
    Ok(())
}
