//! Into the store and out of it as one file.

use std::path::{Path, PathBuf};

use amphora_error::{Error, Result};
use amphora_files::durable::StagingDirectory;
use amphora_files::{OpenedFile, RelativePath};

use super::{Publication, Store};
use crate::archive::{ArchiveFormat, ImportLimits, archive, extract};
use crate::bundle::{changed, digest_file};
use crate::layout::{MANIFEST, MANIFEST_DIGEST};
use crate::manifest::MAX_BYTES;
use crate::{Bundle, check_integrity};

impl Store {
    /// Takes in a bundle from an archive (zip, tar, tar.gz, tar.zst) or from a bundle's directory.
    ///
    /// Everything is unpacked or copied into a staging directory, compared with its manifest to the
    /// last byte, and only then published. A refused import leaves nothing behind.
    pub fn import(&self, source: impl AsRef<Path>, limits: &ImportLimits) -> Result<Publication> {
        let source = source.as_ref();
        let status =
            fs_err::metadata(source).map_err(|error| Error::from_io("opening", source, error))?;
        if status.is_dir() {
            let bundle = Bundle::open(source)?;
            return self.import_directory(&bundle);
        }
        let file = OpenedFile::open(source)?;
        self.prepare()?;
        let staging = StagingDirectory::create_in(&self.path)?;
        extract(&file, &staging, limits)?;
        self.publish_checked(staging, source)
    }

    fn import_directory(&self, bundle: &Bundle) -> Result<Publication> {
        check_integrity(bundle)?
            .into_result()
            .map_err(|error| error.in_file(bundle.path()))?;
        self.prepare()?;
        let staging = StagingDirectory::create_in(&self.path)?;
        let sizes = bundle.manifest().files.iter().map(|file| file.size);
        staging.expect_room(sizes.fold(0, u64::saturating_add))?;
        for entry in &bundle.manifest().files {
            let (_, file) = bundle.open_listed(&entry.path)?;
            let found = staging.copy(&entry.path, &file)?;
            if found != entry.sha256 {
                return Err(changed(&file, &entry.sha256, &found));
            }
        }
        let manifest = RelativePath::parse(MANIFEST)?;
        let bytes = bundle
            .directory()
            .open_file(&manifest)?
            .contents(MAX_BYTES)?;
        staging.write(&manifest, &bytes)?;
        let digest = digest_file(&bundle.manifest_digest());
        staging.write(&RelativePath::parse(MANIFEST_DIGEST)?, digest.as_bytes())?;
        self.publish_checked(staging, bundle.path())
    }

    fn publish_checked(&self, staging: StagingDirectory, source: &Path) -> Result<Publication> {
        let bundle = Bundle::open_staged(staging.path(), source)?;
        check_integrity(&bundle)?
            .into_result()
            .map_err(|error| error.in_file(source))?;
        let id = bundle.id();
        drop(bundle);
        self.publish(staging, id)
    }

    /// Writes a bundle as one file: at `target`, or in the store under the first 12 digits of its id
    /// and the extension of the format. Returns where.
    pub fn archive(
        &self,
        bundle: &Bundle,
        format: ArchiveFormat,
        target: Option<&Path>,
    ) -> Result<PathBuf> {
        let path = match target {
            Some(path) => path.to_owned(),
            None => {
                self.prepare()?;
                self.path
                    .join(format!("{}.{format}", bundle.id().exp_hash()))
            }
        };
        archive(bundle, format, &path)?;
        Ok(path)
    }
}
