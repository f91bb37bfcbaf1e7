//! The records at the end of an archive, which say where its directory lies.

use amphora_error::Result;

use super::cursor::{Cursor, IN_ZIP64};
use super::malformed;

const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR: [u8; 4] = *b"PK\x06\x07";

/// The least that an entry of the directory takes up.
const CENTRAL_BYTES: u64 = 46;
const END_BYTES: u64 = 22;
const END64_BYTES: u64 = 56;
const LOCATOR_BYTES: u64 = 20;

/// Where the central directory lies.
pub(super) struct Directory {
    pub(super) entries: u64,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Finds the directory from the end of the file, which must be the end of the archive.
pub(super) fn find_directory(file: &[u8]) -> Result<Directory> {
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
