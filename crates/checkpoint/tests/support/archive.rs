//! A zip writer in which every field can be wrong.

/// One entry: what the local header says, what the central directory says, and the data.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) local: Header,
    pub(crate) central: Header,
    pub(crate) data: Vec<u8>,
    /// Bytes after the data: a descriptor, or anything.
    pub(crate) after: Vec<u8>,
    /// Added, wrapping, to the offset that the central directory names.
    pub(crate) shift: u32,
}

/// The fields that both headers have.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) compressed: u32,
    pub(crate) size: u32,
    pub(crate) extra: Vec<u8>,
}

impl Entry {
    /// A stored entry.
    pub(crate) fn stored(name: &str, data: &[u8]) -> Self {
        Self::new(name, 0, data, data)
    }

    /// A deflated entry.
    pub(crate) fn deflated(name: &str, data: &[u8]) -> Self {
        use std::io::Write as _;
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        let written = encoder.write_all(data).and_then(|()| encoder.finish());
        match written {
            Ok(compressed) => Self::new(name, 8, &compressed, data),
            Err(error) => panic!("{error}"),
        }
    }

    fn new(name: &str, method: u16, stored: &[u8], content: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let header = Header {
            name: name.to_owned(),
            flags: 0,
            method,
            crc: crc.sum(),
            compressed: stored.len() as u32,
            size: content.len() as u32,
            extra: Vec::new(),
        };
        Self {
            local: header.clone(),
            central: header,
            data: stored.to_vec(),
            after: Vec::new(),
            shift: 0,
        }
    }

    /// The same entry, changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// The archive of `entries`.
pub(crate) fn write(entries: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = (file.len() as u32).wrapping_add(entry.shift);
        file.extend(b"PK\x03\x04\x14\0");
        fields(&entry.local, &mut file);
        file.extend(entry.local.name.as_bytes());
        file.extend(&entry.local.extra);
        file.extend(&entry.data);
        file.extend(&entry.after);
        directory.extend(b"PK\x01\x02\x14\0\x14\0");
        fields(&entry.central, &mut directory);
        // Comment length, disk, attributes.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.central.name.as_bytes());
        directory.extend(&entry.central.extra);
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// Flags to the length of the extra field.
fn fields(header: &Header, out: &mut Vec<u8>) {
    out.extend(header.flags.to_le_bytes());
    out.extend(header.method.to_le_bytes());
    out.extend([0; 4]);
    out.extend(header.crc.to_le_bytes());
    out.extend(header.compressed.to_le_bytes());
    out.extend(header.size.to_le_bytes());
    out.extend((header.name.len() as u16).to_le_bytes());
    out.extend((header.extra.len() as u16).to_le_bytes());
}
