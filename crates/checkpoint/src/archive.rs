//! Zip archives, read strictly.
//!
//! The layout is PKWARE's APPNOTE 6.3.10, with and without zip64, entries stored or deflated. The
//! archive must be covered to its last byte: local entries follow one another from the first byte,
//! each agrees with its record in the central directory, which is followed by the end records and
//! nothing else. So there is one way to read it, whichever end a program starts from.

mod cursor;
mod directory;

use std::collections::HashMap;
use std::io::Read;

use amphora_error::{Error, Result, quoted};
use bytes::Bytes;

use self::cursor::{Cursor, zip64_fields};
use self::directory::find_directory;
use crate::Limits;
use crate::limits::Budget;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

/// Sizes and checksum follow the data instead of being in the local header.
const HAS_DESCRIPTOR: u16 = 1 << 3;
/// The name is UTF-8; other names are read as UTF-8 too.
const IS_UTF8: u16 = 1 << 11;
/// The two bits in which deflate notes how hard it tried.
const EFFORT: u16 = 0b110;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// An archive whose structure has been checked; entries are read by name.
#[derive(Debug)]
pub(crate) struct Archive {
    file: Bytes,
    entries: HashMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u64,
    size: u64,
    /// Of the local header.
    offset: u64,
    /// Of the first byte of data, set when the local header has been read.
    data: u64,
}

impl Archive {
    /// Checks the structure of the whole archive; no data is read yet.
    pub(crate) fn open(file: Bytes, limits: &Limits) -> Result<Self> {
        let directory = find_directory(&file)?;
        if directory.entries > limits.archive_entries as u64 {
            return Err(
                Error::limit("zip-entries", "the archive has too many entries")
                    .expected(format!("at most {}", limits.archive_entries))
                    .found(directory.entries.to_string()),
            );
        }
        let mut cursor = Cursor::at(&file, directory.start, directory.end);
        let mut entries = HashMap::new();
        let mut order = Vec::new();
        for _ in 0..directory.entries {
            let (name, entry) = central_entry(&mut cursor, limits)?;
            order.push((entry.offset, name.clone()));
            if entries.insert(name.clone(), entry).is_some() {
                return Err(malformed("zip-duplicate", "the name occurs twice").at(place(&name)));
            }
        }
        if cursor.position != directory.end {
            return Err(malformed(
                "zip-directory",
                "the central directory is longer than its entries",
            ));
        }
        order.sort_unstable();
        if order.first().map_or(directory.start, |first| first.0) != 0 {
            return Err(malformed(
                "zip-coverage",
                "the bytes before the first entry belong to no entry",
            ));
        }
        for (index, (_, name)) in order.iter().enumerate() {
            let end = order.get(index + 1).map_or(directory.start, |next| next.0);
            if let Some(entry) = entries.get_mut(name) {
                entry.data =
                    local_entry(&file, name, entry, end).map_err(|error| error.at(place(name)))?;
            }
        }
        Ok(Self { file, entries })
    }

    /// The names of all entries, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The content of an entry, its checksum verified; `None` where there is none of that name.
    pub(crate) fn read(&self, name: &str, budget: &mut Budget) -> Result<Option<Bytes>> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        // `local_entry` has shown that the data lies within the file, hence within `usize`.
        let end = (entry.data + entry.compressed) as usize;
        let stored = self.file.slice(entry.data as usize..end);
        let content = match entry.method {
            STORED => stored,
            _ => inflate(&stored, entry.size, budget).map_err(|error| error.at(place(name)))?,
        };
        let mut crc = flate2::Crc::new();
        crc.update(&content);
        if crc.sum() != entry.crc {
            return Err(malformed("zip-crc", "the data does not have its checksum")
                .expected(format!("{:08x}", entry.crc))
                .found(format!("{:08x}", crc.sum()))
                .at(place(name))
                .hint("copy or download the file again"));
        }
        Ok(Some(content))
    }
}

fn inflate(compressed: &[u8], size: u64, budget: &mut Budget) -> Result<Bytes> {
    let mut content = budget.buffer(size)?;
    let mut decoder = flate2::bufread::DeflateDecoder::new(compressed);
    let refuse = || {
        malformed(
            "zip-deflate",
            "the compressed data does not give the size announced",
        )
    };
    // One byte more shows that there is more; the buffer grows only then, and is thrown away.
    decoder
        .by_ref()
        .take(size.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|source| refuse().caused_by(source))?;
    if content.len() as u64 != size || decoder.total_in() != compressed.len() as u64 {
        return Err(refuse());
    }
    Ok(content.into())
}

fn central_entry(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<(String, Entry)> {
    if cursor.array()? != CENTRAL {
        return Err(malformed(
            "zip-directory",
            "an entry of the central directory is missing",
        ));
    }
    // Versions.
    cursor.skip(4)?;
    let (flags, method) = (cursor.u16()?, cursor.u16()?);
    // Time and date.
    cursor.skip(4)?;
    let crc = cursor.u32()?;
    let (compressed, size) = (cursor.u32()?, cursor.u32()?);
    let (name_length, extra_length, comment_length) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
    let disk = cursor.u16()?;
    // Attributes: nothing is ever written to disk.
    cursor.skip(6)?;
    let offset = cursor.u32()?;
    let name = entry_name(cursor.take(u64::from(name_length))?, limits)?;
    let extra = cursor.take(u64::from(extra_length))?;
    cursor.skip(u64::from(comment_length))?;
    let fault = |rule, message: &str| malformed(rule, message).at(place(&name));
    if disk != 0 {
        return Err(fault("zip-disks", "the entry lies on another disk"));
    }
    let known = HAS_DESCRIPTOR | IS_UTF8 | if method == DEFLATED { EFFORT } else { 0 };
    if flags & !known != 0 {
        return Err(fault(
            "zip-flags",
            "the entry is encrypted, or uses a feature that PyTorch files do not",
        ));
    }
    if method != STORED && method != DEFLATED {
        return Err(fault(
            "zip-method",
            "the entry is neither stored nor deflated",
        ));
    }
    let mut wide = zip64_fields(extra).map_err(|error| error.at(place(&name)))?;
    let entry = Entry {
        flags,
        method,
        crc,
        size: wide.or(size)?,
        compressed: wide.or(compressed)?,
        offset: wide.or(offset)?,
        data: 0,
    };
    if wide.left() != 0 {
        return Err(fault(
            "zip-zip64",
            "the zip64 field holds more than the header asks for",
        ));
    }
    if method == STORED && entry.size != entry.compressed {
        return Err(fault("zip-size", "a stored entry has two different sizes"));
    }
    if name.ends_with('/') && entry.size != 0 {
        return Err(fault("zip-name", "a directory has content"));
    }
    Ok((name, entry))
}

/// Checks the local entry against its record in the central directory and returns where its data
/// starts; header, data and descriptor must end exactly at `end`.
fn local_entry(file: &[u8], name: &str, entry: &Entry, end: u64) -> Result<u64> {
    let fault = |rule, message: &str| malformed(rule, message).at(place(name));
    let mut cursor = Cursor::at(file, entry.offset, end);
    if cursor.array()? != LOCAL {
        return Err(fault(
            "zip-local",
            "the entry does not start with a local header",
        ));
    }
    // Version.
    cursor.skip(2)?;
    let (flags, method) = (cursor.u16()?, cursor.u16()?);
    // Time and date.
    cursor.skip(4)?;
    let crc = cursor.u32()?;
    let (compressed, size) = (cursor.u32()?, cursor.u32()?);
    let (name_length, extra_length) = (cursor.u16()?, cursor.u16()?);
    let local_name = cursor.take(u64::from(name_length))?;
    let mut wide = zip64_fields(cursor.take(u64::from(extra_length))?)?;
    let (size, compressed) = (wide.or(size)?, wide.or(compressed)?);
    let described = flags & HAS_DESCRIPTOR != 0;
    let all = (crc, size, compressed);
    let sizes_agree =
        all == (entry.crc, entry.size, entry.compressed) || (described && all == (0, 0, 0));
    if local_name != name.as_bytes()
        || (flags, method) != (entry.flags, entry.method)
        || !sizes_agree
    {
        return Err(fault(
            "zip-local",
            "the local header disagrees with the central directory",
        ));
    }
    let data = cursor.position;
    let rest = cursor
        .skip(entry.compressed)
        .and_then(|()| cursor.take(end - cursor.position));
    let ends = rest.is_ok_and(|rest| match described {
        true => is_descriptor(rest, entry),
        false => rest.is_empty(),
    });
    if !ends {
        return Err(fault(
            "zip-coverage",
            "the entry does not end where the next one starts",
        ));
    }
    Ok(data)
}

/// Whether `bytes` are a data descriptor of `entry`: checksum and both sizes, of 4 or of 8 bytes,
/// with or without a signature.
fn is_descriptor(bytes: &[u8], entry: &Entry) -> bool {
    let fields = bytes.strip_prefix(&DESCRIPTOR).unwrap_or(bytes);
    let mut wide = entry.crc.to_le_bytes().to_vec();
    let mut narrow = wide.clone();
    for size in [entry.compressed, entry.size] {
        wide.extend(size.to_le_bytes());
        narrow.extend((size as u32).to_le_bytes());
    }
    let fits = entry.compressed.max(entry.size) <= u64::from(u32::MAX);
    fields == wide || bytes == wide || (fits && (fields == narrow || bytes == narrow))
}

fn entry_name(bytes: &[u8], limits: &Limits) -> Result<String> {
    if bytes.len() > limits.name_bytes {
        return Err(Error::limit("zip-name", "the name of an entry is too long")
            .expected(format!("at most {} bytes", limits.name_bytes)));
    }
    let name = std::str::from_utf8(bytes)
        .map_err(|_| malformed("zip-name", "the name of an entry is not UTF-8"))?;
    let outside = name.starts_with('/')
        || name.contains(['\\', '\0'])
        || name.split('/').any(|part| matches!(part, "." | ".."));
    if name.is_empty() || outside {
        return Err(malformed(
            "zip-name",
            "the name of an entry is not a plain relative path",
        )
        .at(place(name)));
    }
    Ok(name.to_owned())
}

fn malformed(rule: &'static str, message: &str) -> Error {
    Error::malformed(rule, message)
}

fn place(name: &str) -> String {
    format!("archive entry {}", quoted(name))
}
