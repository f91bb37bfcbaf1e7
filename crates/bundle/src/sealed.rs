//! A bundle that is complete and not yet visible.

use std::collections::BTreeMap;

use amphora_error::Result;
use amphora_files::durable::StagingDirectory;
use amphora_files::{RelativePath, sha256};

use crate::bundle::digest_file;
use crate::layout::{MANIFEST, MANIFEST_DIGEST, VALIDATION};
use crate::manifest::FileEntry;
use crate::store::{Destination, Publication};
use crate::{Bundle, BundleId, Manifest};

/// A complete bundle that is not visible in the store yet.
#[derive(Debug)]
pub struct Sealed {
    destination: Destination,
    staging: StagingDirectory,
    manifest: Manifest,
}

impl Sealed {
    /// Writes the manifest of a staged bundle.
    pub(crate) fn new(
        destination: Destination,
        staging: StagingDirectory,
        manifest: Manifest,
    ) -> Result<Self> {
        let sealed = Self {
            destination,
            staging,
            manifest,
        };
        sealed.write_manifest()?;
        Ok(sealed)
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The id.
    pub fn id(&self) -> BundleId {
        self.manifest.identity.id
    }

    /// The bundle as it lies in the staging directory, to verify it before it is published.
    pub fn bundle(&self) -> Result<Bundle> {
        Bundle::open_staged(self.staging.path(), self.staging.path())
    }

    /// Adds the reports of checks, `NAME` becoming `validation/NAME.json`, and seals again. Reports
    /// are no part of the identity: the id stays.
    pub fn with_reports(mut self, reports: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let mut fields = self.manifest.clone().into_fields();
        for (name, bytes) in reports {
            let path = RelativePath::parse(&format!("{VALIDATION}{name}.json"))?;
            self.staging.replace(&path, bytes)?;
            let entry = FileEntry {
                path: path.clone(),
                size: bytes.len() as u64,
                sha256: sha256(bytes),
            };
            fields.files.retain(|file| file.path != path);
            fields.files.push(entry);
        }
        fields.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.manifest = Manifest::new(fields)?;
        self.write_manifest()?;
        Ok(self)
    }

    /// Makes the bundle durable and visible, all at once. An intact bundle with the same id stays
    /// untouched. In a store, a damaged one is moved aside; at a path of its own, whatever else is
    /// there is an error.
    pub fn publish(self) -> Result<Publication> {
        let id = self.id();
        self.destination.publish(self.staging, id)
    }

    fn write_manifest(&self) -> Result<()> {
        let yaml = self.manifest.to_yaml()?;
        let digest = digest_file(&sha256(yaml.as_bytes()));
        self.staging
            .replace(&RelativePath::parse(MANIFEST)?, yaml.as_bytes())?;
        self.staging
            .replace(&RelativePath::parse(MANIFEST_DIGEST)?, digest.as_bytes())
    }
}
