//! Zip archives, read strictly.
//!
//! The layout is PKWARE's APPNOTE 6.3.10, with and without zip64, entries stored or deflated. The
//! archive must be covered to its last byte: local entries follow one another from the first byte,
//! each agrees with its record in the central directory, which is followed by the end records and
//! nothing else. So there is one way to read it, whichever end a program starts from.

use std::collections::HashMap;
use std::io::Read;

use amphora_error::{Error, Result, quoted};
use bytes::Bytes;

use crate::Limits;
use crate::limits::Budget;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

const CENTRAL_BYTES: u64 = 46;
const END_BYTES: u64 = 22;
const END64_BYTES: u64 = 56;
const LOCATOR_BYTES: u64 = 20;

/// Sizes and checksum follow the data instead of being in the local header.
const HAS_DESCRIPTOR: u16 = 1 << 3;
/// The name is UTF-8; other names are read as UTF-8 too.
const IS_UTF8: u16 = 1 << 11;
/// The two bits in which deflate notes how hard it tried.
const EFFORT: u16 = 0b110;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// A value that the zip64 record holds instead.
const IN_ZIP64: u32 = u32::MAX;

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
                entry.data = local_entry(&file, name, entry, end)?;
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

/// Where the central directory lies.
struct Directory {
    entries: u64,
    start: u64,
    end: u64,
}

fn find_directory(file: &[u8]) -> Result<Directory> {
    let length = file.len() as u64;
    let missing = || {
        malformed(
            "zip-end",
            "the archive does not end with its directory: it is cut off, or something follows it",
        )
    };
    let end_start = length.checked_sub(END_BYTES).ok_or_else(missing)?;
    let mut end = Cursor::at(file, end_start, length);
    if end.array()? != END {
        return Err(missing());
    }
    let (disk, directory_disk) = (end.u16()?, end.u16()?);
    let (on_disk, entries) = (end.u16()?, end.u16()?);
    let (size, start) = (end.u32()?, end.u32()?);
    if end.u16()? != 0 {
        return Err(missing());
    }
    if disk != 0 || directory_disk != 0 || on_disk != entries {
        return Err(malformed(
            "zip-disks",
            "the archive is spread over several disks",
        ));
    }
    let narrow = Directory {
        entries: u64::from(entries),
        start: u64::from(start),
        end: end_start,
    };
    let directory = match zip64_directory(file, end_start)? {
        None => narrow,
        Some(wide) => {
            let agree = |narrow: u64, escape: u64, wide: u64| narrow == escape || narrow == wide;
            let same = agree(narrow.entries, u64::from(u16::MAX), wide.entries)
                && agree(narrow.start, u64::from(IN_ZIP64), wide.start)
                && agree(
                    u64::from(size),
                    u64::from(IN_ZIP64),
                    wide.end.saturating_sub(wide.start),
                );
            if !same {
                return Err(malformed("zip-directory", "the two end records disagree"));
            }
            wide
        }
    };
    let found = directory.end.checked_sub(directory.start);
    let is_wide = directory.end != end_start;
    let fits = found.is_some_and(|found| {
        (is_wide || found == u64::from(size)) && directory.entries <= found / CENTRAL_BYTES
    });
    if !fits {
        return Err(malformed(
            "zip-directory",
            "the central directory does not lie where the end record says",
        ));
    }
    Ok(directory)
}

/// The zip64 end record, which lies between the central directory and its locator.
fn zip64_directory(file: &[u8], end_start: u64) -> Result<Option<Directory>> {
    let Some(locator_start) = end_start.checked_sub(LOCATOR_BYTES) else {
        return Ok(None);
    };
    let mut locator = Cursor::at(file, locator_start, end_start);
    if locator.array()? != LOCATOR {
        return Ok(None);
    }
    let refuse = || {
        malformed(
            "zip-directory",
            "the zip64 end record is not where it should be",
        )
    };
    let (disk, offset, disks) = (locator.u32()?, locator.u64()?, locator.u32()?);
    let record_start = locator_start.checked_sub(END64_BYTES).ok_or_else(refuse)?;
    let mut record = Cursor::at(file, record_start, locator_start);
    let signature = record.array()?;
    let size = record.u64()?;
    // Versions.
    record.skip(4)?;
    let (record_disk, directory_disk) = (record.u32()?, record.u32()?);
    let (on_disk, entries) = (record.u64()?, record.u64()?);
    let (directory_size, start) = (record.u64()?, record.u64()?);
    let right = signature == END64
        && offset == record_start
        // The size leaves out the signature and itself.
        && size == END64_BYTES - 12
        && (disk, disks, record_disk, directory_disk) == (0, 1, 0, 0)
        && on_disk == entries
        && start.checked_add(directory_size) == Some(record_start);
    if !right {
        return Err(refuse());
    }
    Ok(Some(Directory {
        entries,
        start,
        end: record_start,
    }))
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
    cursor.skip(entry.compressed)?;
    let descriptor = cursor.take(end - cursor.position)?;
    let matches = if described {
        is_descriptor(descriptor, entry)
    } else {
        descriptor.is_empty()
    };
    if !matches {
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

/// The content of the zip64 extra field (id 1), to be taken in order; empty where there is none.
fn zip64_fields(extra: &[u8]) -> Result<Wide<'_>> {
    let mut cursor = Cursor::at(extra, 0, extra.len() as u64);
    let mut found = None;
    while cursor.position < cursor.end {
        let (id, length) = (cursor.u16()?, cursor.u16()?);
        let content = cursor.take(u64::from(length))?;
        if id == 1 && found.replace(content).is_some() {
            return Err(malformed("zip-zip64", "there are two zip64 fields"));
        }
    }
    let content = found.unwrap_or_default();
    Ok(Wide(Cursor::at(content, 0, content.len() as u64)))
}

struct Wide<'a>(Cursor<'a>);

impl Wide<'_> {
    /// `narrow`, or the next 64-bit value where `narrow` says that it is there.
    fn or(&mut self, narrow: u32) -> Result<u64> {
        match narrow {
            IN_ZIP64 => self.0.u64(),
            _ => Ok(u64::from(narrow)),
        }
    }

    fn left(&self) -> u64 {
        self.0.end - self.0.position
    }
}

/// Reads little-endian fields between two positions.
struct Cursor<'a> {
    bytes: &'a [u8],
    position: u64,
    end: u64,
}

impl<'a> Cursor<'a> {
    fn at(bytes: &'a [u8], position: u64, end: u64) -> Self {
        let end = end.min(bytes.len() as u64);
        Self {
            bytes,
            position: position.min(end),
            end,
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        if length > self.end - self.position {
            return Err(malformed(
                "zip-truncated",
                "a record of the archive is cut off",
            ));
        }
        // Both positions lie within the slice, hence within `usize`.
        let bytes = &self.bytes[self.position as usize..(self.position + length) as usize];
        self.position += length;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        self.take(length).map(|_| ())
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH]> {
        let mut array = [0; LENGTH];
        array.copy_from_slice(self.take(LENGTH as u64)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

fn malformed(rule: &'static str, message: &str) -> Error {
    Error::malformed(rule, message)
}

fn place(name: &str) -> String {
    format!("archive entry {}", quoted(name))
}
