//! `docs/`: what a person needs to use the bundle, generated from the manifest.

use amphora_error::Result;

use crate::manifest::ManifestFields;

/// The files of `docs/` by their path inside it.
pub(crate) fn generate(fields: &ManifestFields) -> Result<Vec<(String, Vec<u8>)>> {
    let readme = format!(
        "# {} {}\n\n{}\n",
        fields.metadata.full_name(),
        fields.metadata.version,
        fields.metadata.description
    );
    Ok(vec![("README.md".to_owned(), readme.into_bytes())])
}
