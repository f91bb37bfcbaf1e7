//! What a package is.

use std::path::PathBuf;

use amphora_bundle::Package;
use amphora_bundle::manifest::EffectiveIo;
use amphora_bundle::package::PackageFile;
use amphora_error::{Error, ErrorKind, Result};
use amphora_files::Digest;
use serde::Serialize;

use super::{GraphInspection, description_limits, graph};

/// What a package is.
#[derive(Debug, Clone, Serialize)]
pub struct PackageInspection {
    /// Where it lies.
    pub path: PathBuf,
    /// The name, after its namespace.
    pub name: String,
    /// The version.
    pub version: String,
    /// What the model was trained with.
    pub framework: String,
    /// The format that runs, as the manifest says.
    pub execution_format: Option<String>,
    /// What goes in and what comes out, as a host takes it.
    pub io: EffectiveIo,
    /// Whether that is only what is usual for such models.
    pub unverified: bool,
    /// Contradictions of manifest and graph that keep the package from running.
    pub conflicts: Vec<String>,
    /// The entry graph, where there is one.
    pub graph: Option<GraphInspection>,
    /// The files of all graphs, the entry graph first.
    pub graph_files: Vec<String>,
    /// Why nothing of it can run here; null when it can.
    pub not_runnable: Option<String>,
    /// The files that its manifest lists.
    pub files: Vec<PackageFileInspection>,
}

/// A file that the manifest of a package lists.
#[derive(Debug, Clone, Serialize)]
pub struct PackageFileInspection {
    /// The path inside the package.
    pub path: String,
    /// The size in bytes; 0 where it is not known.
    pub size: u64,
    /// The digest, where it is known.
    pub sha256: Option<Digest>,
}

impl PackageInspection {
    /// Describes a package; one whose manifest contradicts its graph is described as the manifest
    /// has it, with the contradictions.
    pub(super) fn of(package: &Package, nodes: bool) -> Result<Self> {
        let metadata = &package.manifest().metadata;
        let spec = &package.manifest().spec;
        let (graphs, not_runnable) = match package.graphs() {
            Ok(graphs) => (graphs, None),
            Err(error) if error.kind() == ErrorKind::Unsupported => (Vec::new(), Some(error)),
            Err(error) => return Err(error),
        };
        let entry = graphs
            .first()
            .map(|entry| graph(&package.model(entry, &description_limits())?, nodes))
            .transpose()?;
        let (io, conflicts) = match &entry {
            None => (package.stated_io()?, Vec::new()),
            Some(graph) => match package.effective_io(&graph.contract, false) {
                Ok(io) => (io, Vec::new()),
                Err(error) => (package.stated_io()?, error.fault_list().to_vec()),
            },
        };
        let namespace = metadata.namespace.iter().filter(|text| !text.is_empty());
        let name: Vec<&str> = namespace
            .chain([&metadata.name])
            .map(String::as_str)
            .collect();
        Ok(Self {
            path: package.path().to_owned(),
            name: name.join("/"),
            version: metadata.version.clone(),
            framework: spec.framework.name.clone(),
            execution_format: spec.format.execution_format.clone(),
            unverified: io.source.is_unverified(),
            io,
            conflicts,
            graph: entry,
            graph_files: graphs.iter().map(|graph| graph.file.to_string()).collect(),
            not_runnable: not_runnable.map(|error| error.to_string()),
            files: spec.format.files.iter().map(file).collect(),
        })
    }

    /// The error that the contradictions amount to.
    pub(super) fn conflict(&self) -> Option<Error> {
        (!self.conflicts.is_empty()).then(|| {
            Error::incompatible(
                "io-conflict",
                "the manifest and the graph contradict each other",
            )
            .faults(self.conflicts.clone())
            .in_file(&self.path)
        })
    }
}

fn file(file: &PackageFile) -> PackageFileInspection {
    PackageFileInspection {
        path: file.path.to_string(),
        size: file.size,
        sha256: file.sha256,
    }
}
