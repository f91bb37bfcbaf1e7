//! Where things lie in a bundle.

use amphora_files::RelativePath;

use crate::manifest::Graph;

/// The manifest.
pub const MANIFEST: &str = "manifest.yaml";
/// The digest of the manifest, in the form that `sha256sum -c` checks.
pub const MANIFEST_DIGEST: &str = "manifest.sha256";
/// The I/O contracts of all graphs, as the graphs themselves state them.
pub const IO_CONTRACT: &str = "contracts/io_contract.json";
/// Folder of the graphs.
pub const MODELS: &str = "models/";
/// Folder of the golden vectors.
pub const GOLDEN: &str = "golden/";
/// Folder of the reports of the checks that were run at packing.
pub const VALIDATION: &str = "validation/";
/// Folder of the generated documentation.
pub const DOCS: &str = "docs/";

/// Whether `path` is the manifest or its digest, which no manifest lists.
pub(crate) fn is_manifest(path: &RelativePath) -> bool {
    let key = path.collision_key();
    key == MANIFEST || key == MANIFEST_DIGEST
}

/// Whether `path` is the bundle's own: the manifest, its digest, and what lies in the folders of
/// graphs, contracts, golden vectors, reports and documentation.
pub fn is_reserved(path: &RelativePath) -> bool {
    let folders = [MODELS, GOLDEN, VALIDATION, DOCS, "contracts/"];
    let key = path.collision_key();
    is_manifest(path)
        || folders
            .iter()
            .any(|folder| key.starts_with(folder) || key == folder.trim_end_matches('/'))
}

/// The location by which a graph names one of its data files: the path relative to the graph's own
/// folder; `None` when the file lies elsewhere.
pub(crate) fn location_of<'a>(graph: &Graph, data: &'a RelativePath) -> Option<&'a str> {
    let file = graph.file.as_str();
    match file.rfind('/') {
        Some(end) => data.as_str().strip_prefix(&file[..=end]),
        None => Some(data.as_str()),
    }
}
