//! Bundles as single files: zip, tar, tar.gz and tar.zst, written reproducibly and read strictly.

mod extract;
mod tar;
mod write;
mod zip;

use amphora_error::{Error, Result, quoted};

pub use extract::ImportLimits;
pub(crate) use extract::{extract, extract_flat};
pub use write::archive;

/// The format of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// ZIP, deflated.
    Zip,
    /// Plain tar.
    Tar,
    /// tar, compressed with gzip.
    TarGz,
    /// tar, compressed with Zstandard.
    TarZst,
}

impl ArchiveFormat {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Zip, Self::Tar, Self::TarGz, Self::TarZst];

    /// Parses [`ArchiveFormat::extension`].
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.extension() == text)
            .ok_or_else(|| {
                Error::usage(
                    "archive-format",
                    format!("{} is not an archive format", quoted(text)),
                )
                .expected("zip, tar, tar.gz or tar.zst")
            })
    }

    /// The end of a file name in this format, without the leading dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::TarZst => "tar.zst",
        }
    }

    /// The format of a file that starts with these bytes (the first 512, or fewer at its end).
    pub(crate) fn sniff(start: &[u8]) -> Option<Self> {
        if start.starts_with(b"PK\x03\x04") {
            Some(Self::Zip)
        } else if start.starts_with(&[0x1f, 0x8b]) {
            Some(Self::TarGz)
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Self::TarZst)
        } else if start.get(257..262) == Some(b"ustar") {
            Some(Self::Tar)
        } else {
            None
        }
    }
}

impl std::fmt::Display for ArchiveFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.extension())
    }
}
