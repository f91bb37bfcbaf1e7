//! A zip writer in which every field can be wrong.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::case::Outcome;

/// One entry: what both headers say, and the data.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) local: Header,
    pub(crate) central: Header,
    pub(crate) data: Vec<u8>,
    /// The kind of file and its permissions, as Unix has them.
    pub(crate) mode: u32,
    /// Where the central header says the entry starts, when that is not where it does.
    pub(crate) offset: Option<u32>,
}

/// What both headers have.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) packed: u32,
    pub(crate) size: u32,
    pub(crate) extra: Vec<u8>,
}

impl Entry {
    pub(crate) fn stored(name: &str, content: &[u8]) -> Self {
        Self::new(name, 0, content.to_vec(), content)
    }

    pub(crate) fn deflated(name: &str, content: &[u8]) -> Outcome<Self> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content)?;
        Ok(Self::new(name, 8, encoder.finish()?, content))
    }

    fn new(name: &str, method: u16, data: Vec<u8>, content: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let header = Header {
            name: name.to_owned(),
            method,
            crc: crc.sum(),
            packed: data.len() as u32,
            size: content.len() as u32,
            extra: Vec::new(),
        };
        Self {
            local: header.clone(),
            central: header,
            data,
            mode: 0o100_644,
            offset: None,
        }
    }

    /// Changes both headers.
    pub(crate) fn both(&mut self, change: impl Fn(&mut Header)) {
        change(&mut self.local);
        change(&mut self.central);
    }
}

/// The archive of `entries`.
pub(crate) fn write(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = entry.offset.unwrap_or(bytes.len() as u32);
        bytes.extend(b"PK\x03\x04\x14\0");
        fields(&entry.local, &mut bytes);
        bytes.extend(entry.local.name.as_bytes());
        bytes.extend(&entry.local.extra);
        bytes.extend(&entry.data);
        directory.extend(b"PK\x01\x02\x14\x03\x14\0");
        fields(&entry.central, &mut directory);
        // Comment, disk, internal attributes.
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.central.name.as_bytes());
        directory.extend(&entry.central.extra);
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// Flags to the length of the extra field.
fn fields(header: &Header, bytes: &mut Vec<u8>) {
    bytes.extend([0, 0]);
    bytes.extend(header.method.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(header.crc.to_le_bytes());
    bytes.extend(header.packed.to_le_bytes());
    bytes.extend(header.size.to_le_bytes());
    bytes.extend((header.name.len() as u16).to_le_bytes());
    bytes.extend((header.extra.len() as u16).to_le_bytes());
}
