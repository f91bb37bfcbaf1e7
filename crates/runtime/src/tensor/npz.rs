//! The `.npz` format of NumPy: a ZIP archive of `.npy` files.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use amphora_error::{Error, Result, quoted};
use amphora_files::OpenedFile;
use zip::{CompressionMethod, ZipArchive};

use super::Tensor;

/// Most arrays accepted in one file.
const MAX_ARRAYS: usize = 10_000;

/// Reads every array of a `.npz` file that a person named, by name. The file and, together, the
/// arrays inside may be at most `limit` bytes.
pub fn read_npz(path: impl AsRef<Path>, limit: u64) -> Result<BTreeMap<String, Tensor>> {
    let path = path.as_ref();
    let bytes = OpenedFile::open(path)?.contents(limit)?;
    from_npz(&bytes, limit).map_err(|error| error.in_file(path))
}

/// Every array in the content of a `.npz` file, by name (without `.npy`).
///
/// Entries must be stored or deflated, have distinct names that end in `.npy`, and unpack to the size
/// they announce; all together to at most `limit` bytes.
pub fn from_npz(bytes: &[u8], limit: u64) -> Result<BTreeMap<String, Tensor>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .map_err(|source| Error::malformed("npz", "this is not a .npz file").caused_by(source))?;
    if archive.len() > MAX_ARRAYS {
        return Err(Error::limit("npz-arrays", "the file has too many arrays")
            .expected(format!("at most {MAX_ARRAYS}"))
            .found(archive.len().to_string()));
    }
    if stated_entries(bytes) != Some(archive.len()) {
        // The reader keeps one of two entries with one name, and looks for the end anywhere.
        return Err(Error::malformed(
            "npz-twice",
            "the file does not end with the directory of its arrays, or an array occurs twice",
        ));
    }
    let mut left = limit;
    let mut tensors = BTreeMap::new();
    for index in 0..archive.len() {
        let (name, content) = entry(&mut archive, index, &mut left)?;
        let place = format!("array {}", quoted(&name));
        let tensor = Tensor::from_npy(&content).map_err(|error| error.at(&place))?;
        if tensors.insert(name, tensor).is_some() {
            return Err(Error::malformed("npz-twice", "an array occurs twice").at(place));
        }
    }
    Ok(tensors)
}

/// How many entries the last record of a ZIP file without a comment states: 22 bytes, the signature
/// first, the number at byte 10 (APPNOTE 4.3.16).
fn stated_entries(bytes: &[u8]) -> Option<usize> {
    let end = bytes.last_chunk::<22>()?;
    let count = u16::from_le_bytes([end[10], end[11]]);
    end.starts_with(b"PK\x05\x06").then_some(count.into())
}

fn entry(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    index: usize,
    left: &mut u64,
) -> Result<(String, Vec<u8>)> {
    let damaged = |source: zip::result::ZipError| {
        Error::malformed("npz", format!("entry {index} cannot be read")).caused_by(source)
    };
    let file = archive.by_index(index).map_err(damaged)?;
    let full = file.name().map_err(damaged)?.into_owned();
    let Some(name) = full.strip_suffix(".npy").map(str::to_owned) else {
        return Err(Error::malformed("npz-entry", "an entry is not a .npy file")
            .at(format!("entry {}", quoted(&full))));
    };
    let place = format!("array {}", quoted(&name));
    let method = file.compression();
    if !matches!(
        method,
        CompressionMethod::Stored | CompressionMethod::Deflated
    ) {
        return Err(
            Error::unsupported("npz-compression", "the compression is not supported")
                .expected("stored or deflated")
                .found(method.to_string())
                .at(place),
        );
    }
    let announced = file.size();
    *left = left.checked_sub(announced).ok_or_else(|| {
        Error::limit("npz-size", "the arrays unpack to more than the limit").at(place.clone())
    })?;
    let mut content = Vec::new();
    file.take(announced.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|source| {
            Error::malformed("npz", "an array cannot be unpacked")
                .at(place.clone())
                .caused_by(source)
        })?;
    if content.len() as u64 != announced {
        return Err(Error::malformed(
            "npz-size",
            "an array unpacks to another size than announced",
        )
        .at(place)
        .expected(format!("{announced} bytes")));
    }
    Ok((name, content))
}
