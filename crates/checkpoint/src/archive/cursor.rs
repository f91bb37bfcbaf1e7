//! Little-endian fields of a record, and the 64-bit ones that zip64 moves out of it.

use amphora_error::Result;

use super::malformed;

/// A value that the zip64 field or record holds instead.
pub(super) const IN_ZIP64: u32 = u32::MAX;

/// The content of the zip64 extra field (id 1), to be taken in order; empty where there is none.
pub(super) fn zip64_fields(extra: &[u8]) -> Result<Wide<'_>> {
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

/// The 64-bit fields of an entry.
pub(super) struct Wide<'a>(Cursor<'a>);

impl Wide<'_> {
    /// `narrow`, or the next 64-bit value where `narrow` says that it is there.
    pub(super) fn or(&mut self, narrow: u32) -> Result<u64> {
        match narrow {
            IN_ZIP64 => self.0.u64(),
            _ => Ok(u64::from(narrow)),
        }
    }

    pub(super) fn left(&self) -> u64 {
        self.0.end - self.0.position
    }
}

/// Reads little-endian fields between two positions.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(super) position: u64,
    end: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn at(bytes: &'a [u8], position: u64, end: u64) -> Self {
        let end = end.min(bytes.len() as u64);
        Self {
            bytes,
            position: position.min(end),
            end,
        }
    }

    pub(super) fn take(&mut self, length: u64) -> Result<&'a [u8]> {
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

    pub(super) fn skip(&mut self, length: u64) -> Result<()> {
        self.take(length).map(|_| ())
    }

    pub(super) fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH]> {
        let mut array = [0; LENGTH];
        array.copy_from_slice(self.take(LENGTH as u64)?);
        Ok(array)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
