//! Building a bundle: staged beside its final place, sealed, then published.

use std::collections::BTreeMap;
use std::path::Path;

use amphora_error::{Error, Result, quoted};
use amphora_files::durable::{self, StagingDirectory};
use amphora_files::{Digest, OpenedFile, RelativePath, json, sha256};
use amphora_onnx::Contract;
use bytes::Bytes;
use serde_json::json;

use crate::layout::{self, DOCS, GOLDEN, IO_CONTRACT, MODELS};
use crate::manifest::{
    ApiVersion, Assets, Compatibility, Dependencies, ExecutionFile, FileEntry, Format, FormatEntry,
    Framework, Generation, Golden, Graph, Identity, Io, Kind, ManifestFields, Metadata,
    Performance, Provenance, Requirements, Spec,
};
use crate::name::is_segment;
use crate::store::{Destination, Store};
use crate::{BundleId, Manifest, Sealed, docs};

/// The graph that a bundle with only one graph has.
pub const MAIN_GRAPH: &str = "model";

/// A bundle under construction. What is added is hashed while it is written; nothing is visible in
/// the store before [`Sealed::publish`], and a draft that is dropped leaves nothing behind.
#[derive(Debug)]
pub struct Draft {
    destination: Destination,
    staging: StagingDirectory,
    files: BTreeMap<RelativePath, FileEntry>,
    graphs: BTreeMap<String, Graph>,
    contracts: BTreeMap<String, Contract>,
    golden: BTreeMap<String, Golden>,
}

/// What a manifest says beyond what the added files say themselves.
#[derive(Debug, Clone)]
pub struct Details {
    /// Name, version, description, date and authors.
    pub metadata: Metadata,
    /// What the model was trained with.
    pub framework: Framework,
    /// The format the model came in, for example `pytorch` or `onnx`.
    pub original_format: String,
    /// How several encoders belong together.
    pub multi_encoder: Option<String>,
    /// The graph whose I/O is the bundle's.
    pub entry: String,
    /// Formats other than ONNX: what was added, and what was skipped and why.
    pub formats: BTreeMap<String, FormatEntry>,
    /// Which of the added files have a known meaning.
    pub assets: Assets,
    /// Where the model came from.
    pub provenance: Provenance,
    /// How a language model writes.
    pub generation: Option<Generation>,
    /// What the model needs.
    pub requirements: Option<Requirements>,
    /// How it performs.
    pub performance: Option<Performance>,
    /// What else must be installed.
    pub dependencies: Option<Dependencies>,
    /// How many weights are NaN or infinite.
    pub nonfinite_weights: u64,
}

impl Details {
    /// Details of a bundle with the one graph [`MAIN_GRAPH`] and nothing optional.
    pub fn new(metadata: Metadata, framework: Framework, original_format: &str) -> Self {
        Self {
            metadata,
            framework,
            original_format: original_format.to_owned(),
            multi_encoder: None,
            entry: MAIN_GRAPH.to_owned(),
            formats: BTreeMap::new(),
            assets: Assets::default(),
            provenance: Provenance::default(),
            generation: None,
            requirements: None,
            performance: None,
            dependencies: None,
            nonfinite_weights: 0,
        }
    }
}

impl Draft {
    pub(crate) fn new(store: Store) -> Result<Self> {
        store.prepare()?;
        let staging = StagingDirectory::create_in(store.path())?;
        Ok(Self::staged(Destination::Store(store), staging))
    }

    /// Begins a bundle that will be published as the directory `path`, in no store.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] when `path` has no name of its own, and those of creating
    /// the directory that it lies in.
    pub fn at(path: &Path) -> Result<Self> {
        let (parent, name) = Destination::parts(path)?;
        durable::create_directory(&parent)?;
        // A directory that cannot be listed can still be written to.
        durable::sweep_stale(&parent, durable::STALE_AGE).ok();
        let staging = StagingDirectory::create_in(&parent)?;
        let destination = Destination::Directory { parent, name };
        Ok(Self::staged(destination, staging))
    }

    fn staged(destination: Destination, staging: StagingDirectory) -> Self {
        Self {
            destination,
            staging,
            files: BTreeMap::new(),
            graphs: BTreeMap::new(),
            contracts: BTreeMap::new(),
            golden: BTreeMap::new(),
        }
    }

    /// Adds a payload file (configuration, labels, tokenizer, ...).
    ///
    /// The names that sealing writes itself, and the folders of graphs and golden vectors, are refused.
    pub fn add_bytes(&mut self, path: &RelativePath, bytes: &[u8]) -> Result<()> {
        refuse_reserved(path)?;
        self.write(path, bytes)
    }

    /// Adds a payload file as a copy of an opened one.
    pub fn add_file(&mut self, path: &RelativePath, file: &OpenedFile) -> Result<()> {
        refuse_reserved(path)?;
        self.refuse_twice(path)?;
        self.staging.expect_room(file.len())?;
        let sha256 = self.staging.copy(path, file)?;
        self.list(path, file.len(), sha256);
        Ok(())
    }

    /// Adds a graph as `models/NAME.onnx` with its external data beside it, keyed by the location
    /// that the graph names. `contract` is what the graph itself states. Graphs may share a data
    /// file: the same bytes under the same location are stored once.
    pub fn add_graph(
        &mut self,
        name: &str,
        role: &str,
        graph: &[u8],
        data: &BTreeMap<String, Bytes>,
        contract: &Contract,
    ) -> Result<()> {
        if !is_segment(name) {
            return Err(Error::usage(
                "graph-name",
                format!("{} is not a graph name", quoted(name)),
            )
            .expected("lower-case letters, digits, '.', '_' and '-'"));
        }
        let sizes = data.values().map(|bytes| bytes.len() as u64);
        self.staging
            .expect_room(graph.len() as u64 + sizes.sum::<u64>())?;
        let file = RelativePath::parse(&format!("{MODELS}{name}.onnx"))?;
        self.write(&file, graph)?;
        let mut paths = Vec::new();
        for (location, bytes) in data {
            let path = RelativePath::parse(&format!("{MODELS}{location}"))?;
            if !self.holds(&path, bytes) {
                self.write(&path, bytes)?;
            }
            paths.push(path);
        }
        let described = Graph {
            file,
            data: paths,
            role: role.to_owned(),
            io: Io::of(contract),
            opset: contract.opset,
            ir_version: contract.ir_version,
            parameters: contract.parameters,
        };
        self.graphs.insert(name.to_owned(), described);
        self.contracts.insert(name.to_owned(), contract.clone());
        Ok(())
    }

    /// The manifest's description of an added graph, to add descriptions and preprocessing to it.
    pub fn graph_mut(&mut self, name: &str) -> Result<&mut Graph> {
        self.graphs.get_mut(name).ok_or_else(|| {
            Error::usage("graph-not-added", "the draft has no graph of this name")
                .at(format!("graph {}", quoted(name)))
        })
    }

    /// Adds the golden vectors of a graph: `bytes` becomes `golden/vectors.safetensors` for the graph
    /// [`MAIN_GRAPH`] and `golden/GRAPH.safetensors` for any other, whatever path `golden` names.
    pub fn add_golden(&mut self, graph: &str, bytes: &[u8], golden: Golden) -> Result<()> {
        let stem = if graph == MAIN_GRAPH {
            "vectors"
        } else {
            graph
        };
        let file = RelativePath::parse(&format!("{GOLDEN}{stem}.safetensors"))?;
        self.write(&file, bytes)?;
        self.golden
            .insert(graph.to_owned(), Golden { file, ..golden });
        Ok(())
    }

    /// Adds a folder or file of another deployment format beneath `models/`, for example
    /// `coreml.mlpackage/Manifest.json` or `hailo.hef`.
    pub fn add_model_file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.write(&RelativePath::parse(&format!("{MODELS}{path}"))?, bytes)
    }

    /// Completes the bundle: contract, documentation, manifest, id. It stays invisible in the store.
    pub fn seal(mut self, details: Details) -> Result<Sealed> {
        let contract = json::to_pretty_bytes(&json!({ "graphs": self.contracts }))?;
        self.write(&RelativePath::parse(IO_CONTRACT)?, &contract)?;
        let mut fields = self.fields(details)?;
        fields.identity.id = BundleId::of(&fields)?;
        for (path, bytes) in docs::generate(&fields)? {
            let path = RelativePath::parse(&format!("{DOCS}{path}"))?;
            self.write(&path, &bytes)?;
        }
        fields.files = self.files.into_values().collect();
        let manifest = Manifest::new(fields)?;
        Sealed::new(self.destination, self.staging, manifest)
    }

    fn fields(&self, details: Details) -> Result<ManifestFields> {
        let mut formats = details.formats;
        let entry = self.graphs.get(&details.entry).ok_or_else(|| {
            Error::usage("graph-not-added", "the draft has no entry graph")
                .at(format!("graph {}", quoted(&details.entry)))
        })?;
        let model_files = self.model_files();
        formats.insert("onnx".to_owned(), self.onnx_format(entry));
        let opset = self.graphs.values().map(|graph| graph.opset).max();
        let execution_files = self.graphs.values().map(|graph| ExecutionFile {
            path: graph.file.clone(),
            format: "onnx".to_owned(),
            r#type: graph.role.clone(),
        });
        Ok(ManifestFields {
            api_version: ApiVersion::V1,
            kind: Kind::Model,
            metadata: details.metadata,
            spec: Spec {
                framework: details.framework,
                format: Format {
                    r#type: details.original_format,
                    execution_format: "onnx".to_owned(),
                    multi_encoder: details.multi_encoder,
                    files: model_files,
                    execution_files: execution_files.collect(),
                },
                io: entry.io.clone(),
                entry: details.entry,
                graphs: self.graphs.clone(),
                generation: details.generation,
                requirements: details.requirements,
                performance: details.performance,
                dependencies: details.dependencies,
            },
            distribution: None,
            identity: Identity {
                id: BundleId::of_nothing(),
            },
            files: self.files.values().cloned().collect(),
            formats,
            assets: details.assets,
            golden: self.golden.clone(),
            provenance: details.provenance,
            compatibility: Compatibility {
                amphora_min_version: semver::Version::new(0, 1, 0),
                onnxruntime_min_version: self.onnxruntime_min_version(),
                required_opset: opset,
            },
            nonfinite_weights: details.nonfinite_weights,
        })
    }

    /// The files that document 004 calls the model's: all that lie in `models/` and hold something.
    fn model_files(&self) -> Vec<FileEntry> {
        self.files
            .values()
            .filter(|file| file.path.as_str().starts_with(MODELS) && file.size > 0)
            .cloned()
            .collect()
    }

    fn onnx_format(&self, graph: &Graph) -> FormatEntry {
        let parts = std::iter::once(&graph.file).chain(&graph.data);
        let sizes = parts
            .filter_map(|path| self.files.get(path))
            .map(|f| f.size);
        FormatEntry {
            file: Some(graph.file.clone()),
            file_size: Some(sizes.sum()),
            opset_version: Some(graph.opset),
            ..FormatEntry::default()
        }
    }

    /// ONNX Runtime 1.16 reads operator sets up to 19 and ONNX IR versions up to 9; for newer graphs
    /// nothing is claimed.
    fn onnxruntime_min_version(&self) -> Option<semver::Version> {
        let old_enough = |graph: &Graph| graph.opset <= 19 && graph.ir_version <= 9;
        self.graphs
            .values()
            .all(old_enough)
            .then(|| semver::Version::new(1, 16, 0))
    }

    fn write(&mut self, path: &RelativePath, bytes: &[u8]) -> Result<()> {
        self.refuse_twice(path)?;
        self.staging.write(path, bytes)?;
        self.list(path, bytes.len() as u64, sha256(bytes));
        Ok(())
    }

    fn list(&mut self, path: &RelativePath, size: u64, sha256: Digest) {
        let entry = FileEntry {
            path: path.clone(),
            size,
            sha256,
        };
        self.files.insert(path.clone(), entry);
    }

    fn holds(&self, path: &RelativePath, bytes: &[u8]) -> bool {
        self.files
            .get(path)
            .is_some_and(|file| file.size == bytes.len() as u64 && file.sha256 == sha256(bytes))
    }

    fn refuse_twice(&self, path: &RelativePath) -> Result<()> {
        if self.files.contains_key(path) {
            return Err(Error::usage(
                "file-added-twice",
                "the file was added to the bundle before",
            )
            .in_file(path.as_str()));
        }
        Ok(())
    }
}

fn refuse_reserved(path: &RelativePath) -> Result<()> {
    if layout::is_reserved(path) {
        return Err(
            Error::usage("path-reserved", "this name is the bundle's own")
                .in_file(path.as_str())
                .hint("give the file another name"),
        );
    }
    Ok(())
}
