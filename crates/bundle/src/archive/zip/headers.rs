//! The records of a ZIP file: local header (30 bytes), central header (46), end of central directory
//! (22), its 64-bit form (56) and the locator of that (20), as in APPNOTE.TXT 6.3.

use amphora_error::{Error, Result, quoted};
use amphora_files::OpenedFile;

use super::damaged;
use crate::archive::extract::{member, too_many_members, truncated};

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
/// Flags that change nothing about the reading: compression effort (bits 1 and 2) and UTF-8 (11).
const HARMLESS_FLAGS: u16 = 0x0806;
const UTF8: u16 = 0x0800;
/// Extra fields with times and owners, which are ignored.
const IGNORED_EXTRA: [u16; 4] = [0x000a, 0x5455, 0x5855, 0x7875];
const ZIP64_EXTRA: u16 = 0x0001;
/// Largest central directory, in bytes.
const MAX_DIRECTORY: u64 = 64 << 20;

/// One member, as the central directory describes it.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) offset: u64,
}

/// Where the central directory lies.
pub(super) struct Directory {
    pub(super) offset: u64,
    size: u64,
    pub(super) count: u64,
}

impl Directory {
    pub(super) fn find(file: &OpenedFile) -> Result<Self> {
        let end = file.len().checked_sub(22).ok_or_else(truncated)?;
        let bytes = file.range(end, 22)?;
        let mut fields = Fields::new(&bytes);
        if fields.u32()? != END {
            return Err(
                damaged("the end of the central directory is not at the end of the file").hint(
                    "pack the archive again without a comment, or get it again if it is cut off",
                ),
            );
        }
        let disks = (fields.u16()?, fields.u16()?);
        let counts = (fields.u16()?, fields.u16()?);
        let size = fields.u32()?;
        let offset = fields.u32()?;
        let comment = fields.u16()?;
        if disks != (0, 0) || counts.0 != counts.1 || comment != 0 {
            return Err(damaged(
                "the archive has several parts, or a comment at its end",
            ));
        }
        let large = counts.0 == u16::MAX || size == u32::MAX || offset == u32::MAX;
        let (found, before) = if large {
            Self::find_64(file, end, counts.0, size, offset)?
        } else {
            let found = Self {
                offset: u64::from(offset),
                size: u64::from(size),
                count: u64::from(counts.0),
            };
            (found, end)
        };
        if found.offset.checked_add(found.size) != Some(before) {
            return Err(damaged(
                "the central directory does not end where it should",
            ));
        }
        if found.size > MAX_DIRECTORY || found.count > found.size / 46 {
            return Err(too_many_members(MAX_DIRECTORY / 46));
        }
        Ok(found)
    }

    /// The 64-bit form; values that the short form can hold must be the same there.
    fn find_64(
        file: &OpenedFile,
        end: u64,
        count: u16,
        size: u32,
        offset: u32,
    ) -> Result<(Self, u64)> {
        let refuse = || damaged("the 64-bit end of the central directory is not well formed");
        let locator = end.checked_sub(20).ok_or_else(refuse)?;
        let bytes = file.range(locator, 20)?;
        let mut fields = Fields::new(&bytes);
        let signature = fields.u32()?;
        let disk = fields.u32()?;
        let at = fields.u64()?;
        let disks = fields.u32()?;
        let adjacent = at.checked_add(56) == Some(locator);
        if signature != LOCATOR_64 || disk != 0 || disks != 1 || !adjacent {
            return Err(refuse());
        }
        let bytes = file.range(at, 56)?;
        let mut fields = Fields::new(&bytes);
        let signature = fields.u32()?;
        let length = fields.u64()?;
        let _versions = fields.u32()?;
        let disks = (fields.u32()?, fields.u32()?);
        let counts = (fields.u64()?, fields.u64()?);
        let found = Self {
            size: fields.u64()?,
            offset: fields.u64()?,
            count: counts.0,
        };
        let same = (count == u16::MAX || u64::from(count) == found.count)
            && (size == u32::MAX || u64::from(size) == found.size)
            && (offset == u32::MAX || u64::from(offset) == found.offset);
        let whole = signature == END_64 && length == 44 && disks == (0, 0);
        if !same || !whole || counts.0 != counts.1 {
            return Err(refuse());
        }
        Ok((found, at))
    }

    pub(super) fn members(&self, file: &OpenedFile) -> Result<Vec<Member>> {
        let bytes = file.range(self.offset, self.size)?;
        let mut fields = Fields::new(&bytes);
        let mut members = Vec::new();
        for _ in 0..self.count {
            members.push(Member::parse(&mut fields)?);
        }
        if !fields.rest.is_empty() {
            return Err(damaged("the central directory holds more than its members"));
        }
        Ok(members)
    }
}

impl Member {
    fn parse(fields: &mut Fields<'_>) -> Result<Self> {
        if fields.u32()? != CENTRAL {
            return Err(damaged("a central header is missing"));
        }
        let _versions = fields.u32()?;
        let flags = fields.u16()?;
        let method = fields.u16()?;
        let _time = fields.u32()?;
        let crc = fields.u32()?;
        let (packed, size) = (fields.u32()?, fields.u32()?);
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let disk = fields.u16()?;
        let _internal = fields.u16()?;
        let mode = fields.u32()? >> 16;
        let offset = fields.u32()?;
        let name = member_name(fields.take(usize::from(name))?, flags)?;
        let refuse = |message: &str| damaged(message).at(member(&name));
        let mut large = Zip64::parse(fields.take(usize::from(extra))?)
            .map_err(|error| error.at(member(&name)))?;
        let size = large.widen(size)?;
        let packed = large.widen(packed)?;
        let offset = large.widen(offset)?;
        large.finish().map_err(|error| error.at(member(&name)))?;
        if comment != 0 || disk != 0 {
            return Err(refuse("a member has a comment, or lies in another part"));
        }
        if flags & !HARMLESS_FLAGS != 0 {
            return Err(Error::unsupported(
                "zip-flags",
                "a member is encrypted or was streamed without its size",
            )
            .at(member(&name))
            .hint("pack the archive again with 'zip -r', or as tar.gz"));
        }
        if method != 0 && method != 8 {
            return Err(Error::unsupported(
                "zip-method",
                format!("the compression method {method} is not supported"),
            )
            .expected("stored or deflated")
            .at(member(&name)));
        }
        if method == 0 && packed != size {
            return Err(refuse("a stored member has two sizes"));
        }
        Ok(Self {
            flags,
            method,
            crc,
            packed,
            size,
            mode,
            offset,
            name,
        })
    }
}

/// Compares the local header with the central one; returns where the content starts.
pub(super) fn local_header(file: &OpenedFile, one: &Member) -> Result<u64> {
    let bytes = file.range(one.offset, 30)?;
    let mut fields = Fields::new(&bytes);
    let signature = fields.u32()?;
    let _version = fields.u16()?;
    let flags = fields.u16()?;
    let method = fields.u16()?;
    let _time = fields.u32()?;
    let crc = fields.u32()?;
    let (packed, size) = (fields.u32()?, fields.u32()?);
    let (name, extra) = (fields.u16()?, fields.u16()?);
    let lengths = u64::from(name) + u64::from(extra);
    let bytes = file.range(one.offset + 30, lengths)?;
    let (found, extra) = bytes.split_at(usize::from(name));
    let mut large = Zip64::parse(extra)?;
    let same = signature == LOCAL
        && flags == one.flags
        && method == one.method
        && crc == one.crc
        && large.widen(size)? == one.size
        && large.widen(packed)? == one.packed
        && found == one.name.as_bytes();
    if !same {
        return Err(Error::malformed(
            "zip-headers-disagree",
            "the two headers of a member disagree",
        ));
    }
    large.finish()?;
    Ok(one.offset + 30 + lengths)
}

fn member_name(bytes: &[u8], flags: u16) -> Result<String> {
    let name = std::str::from_utf8(bytes).map_err(|_| damaged("a name is not UTF-8"))?;
    if flags & UTF8 == 0 && !name.is_ascii() {
        return Err(damaged("the encoding of a name is not stated").at(member(name)));
    }
    Ok(name.to_owned())
}

/// The 64-bit values of a member, which stand for the 32-bit fields that are all ones.
struct Zip64<'a> {
    values: Option<Fields<'a>>,
}

impl<'a> Zip64<'a> {
    fn parse(extra: &'a [u8]) -> Result<Self> {
        let mut fields = Fields::new(extra);
        let mut values = None;
        while !fields.rest.is_empty() {
            let kind = fields.u16()?;
            let length = fields.u16()?;
            let content = fields.take(usize::from(length))?;
            match kind {
                ZIP64_EXTRA if values.is_none() => values = Some(Fields::new(content)),
                kind if IGNORED_EXTRA.contains(&kind) => {}
                kind => {
                    return Err(Error::malformed(
                        "zip-extra",
                        "an extra field is unknown or occurs twice",
                    )
                    .found(quoted(&format!("{kind:#06x}")).to_string()));
                }
            }
        }
        Ok(Self { values })
    }

    fn widen(&mut self, short: u32) -> Result<u64> {
        match &mut self.values {
            Some(values) if short == u32::MAX => values.u64(),
            _ => Ok(u64::from(short)),
        }
    }

    /// Every 64-bit value stood for a field.
    fn finish(self) -> Result<()> {
        match self.values {
            Some(values) if !values.rest.is_empty() => {
                Err(damaged("a 64-bit value stands for nothing"))
            }
            _ => Ok(()),
        }
    }
}

/// Little-endian fields, taken one after the other.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| damaged("a header is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| damaged("a header is cut off"))
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
