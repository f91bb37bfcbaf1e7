//! Writing archives whose bytes depend on nothing but the bundle.

use std::io::{self, Write};
use std::path::Path;

use amphora_error::{Error, Result};
use amphora_files::durable::{Target, expect_room, with_needed, write_file_with};
use amphora_files::{OpenedFile, RelativePath};
use flate2::{Compression, GzBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::ArchiveFormat;
use crate::Bundle;
use crate::bundle::changed;
use crate::layout::{MANIFEST, MANIFEST_DIGEST};

/// Level of gzip and deflate: the usual compromise.
const DEFLATE_LEVEL: u32 = 6;
/// Level of Zstandard: its own default.
const ZSTD_LEVEL: i32 = 3;
/// Files from 4 GiB on need ZIP's large form.
const ZIP_LARGE: u64 = u32::MAX as u64;

/// Writes `bundle` as one file at `target`, durably and all at once, replacing a file that is there.
///
/// The same bundle gives the same bytes: files sorted by path beneath one folder named by the first
/// 12 digits of the id, dates and permissions fixed. Every byte is compared with the manifest while
/// it is copied; nothing is written when one differs.
pub fn archive(bundle: &Bundle, format: ArchiveFormat, target: &Path) -> Result<()> {
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let sizes = bundle.manifest().files.iter().map(|file| file.size);
    let bytes = sizes.fold(0, u64::saturating_add);
    // How far the others compress cannot be known.
    if format == ArchiveFormat::Tar {
        expect_room(directory, bytes)?;
    }
    let mut refusal = None;
    let written = write_file_with(target, &mut |file| {
        write(bundle, format, file, &mut refusal)
    });
    // The refusal of a changed file is the cause of whatever error the writer then met.
    match refusal {
        Some(refusal) => Err(refusal),
        None => written.map_err(|error| with_needed(error, directory, bytes)),
    }
}

fn write(
    bundle: &Bundle,
    format: ArchiveFormat,
    file: &mut dyn Target,
    refusal: &mut Option<Error>,
) -> io::Result<()> {
    match format {
        ArchiveFormat::Zip => write_zip(bundle, file, refusal),
        ArchiveFormat::Tar => write_tar(bundle, file, refusal),
        ArchiveFormat::TarGz => {
            let level = Compression::new(DEFLATE_LEVEL);
            let mut gzip = GzBuilder::new().mtime(0).write(file, level);
            write_tar(bundle, &mut gzip, refusal)?;
            gzip.finish().map(drop)
        }
        ArchiveFormat::TarZst => {
            let mut zstd = zstd::Encoder::new(file, ZSTD_LEVEL)?;
            zstd.include_checksum(true)?;
            write_tar(bundle, &mut zstd, refusal)?;
            zstd.finish().map(drop)
        }
    }
}

fn write_tar(
    bundle: &Bundle,
    target: &mut dyn Write,
    refusal: &mut Option<Error>,
) -> io::Result<()> {
    let mut builder = tar::Builder::new(target);
    for path in members(bundle) {
        let source = Source::open(bundle, &path, refusal)?;
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(source.file.len());
        let mut reader = source.reader()?;
        builder.append_data(&mut header, member_name(bundle, &path), &mut reader)?;
        source.finish(reader, refusal)?;
    }
    builder.finish()
}

fn write_zip(
    bundle: &Bundle,
    target: &mut dyn Target,
    refusal: &mut Option<Error>,
) -> io::Result<()> {
    let mut writer = ZipWriter::new(target);
    for path in members(bundle) {
        let source = Source::open(bundle, &path, refusal)?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(i64::from(DEFLATE_LEVEL)))
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644)
            .large_file(source.file.len() >= ZIP_LARGE);
        writer.start_file(member_name(bundle, &path), options)?;
        let mut reader = source.reader()?;
        io::copy(&mut reader, &mut writer)?;
        source.finish(reader, refusal)?;
    }
    writer.finish()?;
    Ok(())
}

/// Every file of the bundle, sorted by path.
fn members(bundle: &Bundle) -> Vec<RelativePath> {
    let listed = bundle.manifest().files.iter().map(|file| file.path.clone());
    let own = [MANIFEST, MANIFEST_DIGEST];
    let mut paths: Vec<RelativePath> = own
        .iter()
        .filter_map(|name| RelativePath::parse(name).ok())
        .chain(listed)
        .collect();
    paths.sort();
    paths
}

fn member_name(bundle: &Bundle, path: &RelativePath) -> String {
    format!("{}/{path}", bundle.id().exp_hash())
}

/// A file of the bundle on its way into the archive.
struct Source<'a> {
    bundle: &'a Bundle,
    path: &'a RelativePath,
    file: OpenedFile,
}

impl<'a> Source<'a> {
    fn open(
        bundle: &'a Bundle,
        path: &'a RelativePath,
        refusal: &mut Option<Error>,
    ) -> io::Result<Self> {
        let own = [MANIFEST, MANIFEST_DIGEST].contains(&path.as_str());
        let opened = if own {
            bundle.directory().open_file(path)
        } else {
            bundle.open_listed(path).map(|(_, file)| file)
        };
        match opened {
            Ok(file) => Ok(Self { bundle, path, file }),
            Err(error) => Err(refuse(error, refusal)),
        }
    }

    fn reader(&self) -> io::Result<Hashing<'_>> {
        let section = self.file.section(0, self.file.len());
        Ok(Hashing {
            section: section.map_err(io::Error::other)?,
            hasher: amphora_files::Hasher::default(),
        })
    }

    fn finish(&self, reader: Hashing<'_>, refusal: &mut Option<Error>) -> io::Result<()> {
        let found = reader.hasher.finish();
        let expected = match self.path.as_str() {
            MANIFEST => self.bundle.manifest_digest(),
            MANIFEST_DIGEST => {
                let text = crate::bundle::digest_file(&self.bundle.manifest_digest());
                amphora_files::sha256(text.as_bytes())
            }
            _ => match self.bundle.manifest().file(self.path) {
                Some(entry) => entry.sha256,
                None => return Ok(()),
            },
        };
        if found == expected {
            return Ok(());
        }
        Err(refuse(changed(&self.file, &expected, &found), refusal))
    }
}

fn refuse(error: Error, refusal: &mut Option<Error>) -> io::Error {
    let cause = io::Error::other(error.to_string());
    refusal.get_or_insert(error);
    cause
}

struct Hashing<'a> {
    section: amphora_files::Section<'a>,
    hasher: amphora_files::Hasher,
}

impl io::Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.section.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
