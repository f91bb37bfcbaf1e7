//! Reading ZIP strictly: every byte belongs to exactly one record, and every value that is stored
//! twice is the same twice.

mod headers;

use std::io::Read;

use amphora_error::{Error, Result};
use amphora_files::OpenedFile;
use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::extract::{Extraction, member, too_large, too_many_members, unreadable};
use headers::{Directory, Member, local_header};

/// Reads the whole file.
pub(super) fn read(file: &OpenedFile, target: &mut Extraction<'_>) -> Result<()> {
    let directory = Directory::find(file)?;
    if directory.count > target.members_left() {
        return Err(too_many_members(target.members_left()));
    }
    let mut members = directory.members(file)?;
    members.sort_by_key(|member| member.offset);
    let mut size = 0_u64;
    for member in &members {
        size = size.saturating_add(member.size);
    }
    if size > target.left() {
        return Err(too_large(target.left(), size));
    }
    let mut end = 0;
    for one in &members {
        if one.offset != end {
            return Err(damaged("members overlap, or bytes belong to none").at(member(&one.name)));
        }
        let start = local_header(file, one).map_err(|error| error.at(member(&one.name)))?;
        end = start
            .checked_add(one.packed)
            .filter(|end| *end <= directory.offset)
            .ok_or_else(|| damaged("members overlap").at(member(&one.name)))?;
        unpack(file, one, start, target)?;
    }
    if end != directory.offset {
        return Err(damaged("bytes lie between the members and the directory"));
    }
    Ok(())
}

fn unpack(file: &OpenedFile, one: &Member, start: u64, target: &mut Extraction<'_>) -> Result<()> {
    let folder = one.name.strip_suffix('/');
    let kind = one.mode & 0o170_000;
    if kind != 0
        && kind
            != (if folder.is_some() {
                0o040_000
            } else {
                0o100_000
            })
    {
        return Err(
            Error::malformed("archive-member-kind", "a bundle holds only regular files")
                .found(if kind == 0o120_000 {
                    "a symbolic link"
                } else {
                    "another kind of file"
                })
                .at(member(&one.name)),
        );
    }
    if let Some(folder) = folder {
        if one.size != 0 {
            return Err(damaged("a folder has content").at(member(&one.name)));
        }
        return target.folder(folder);
    }
    let packed = std::io::BufReader::new(file.section(start, one.packed)?);
    let mut content = Checked {
        inner: match one.method {
            0 => Content::Stored(packed),
            _ => Content::Deflated(DeflateDecoder::new(packed)),
        },
        crc: Crc::new(),
    };
    target.file(&one.name, one.size, &mut content)?;
    content
        .finish(one.crc)
        .map_err(|error| error.at(member(&one.name)))
}

type Packed<'a> = std::io::BufReader<amphora_files::Section<'a>>;

enum Content<'a> {
    Stored(Packed<'a>),
    Deflated(DeflateDecoder<Packed<'a>>),
}

/// Content whose CRC-32 is computed while it is read.
struct Checked<'a> {
    inner: Content<'a>,
    crc: Crc,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = match &mut self.inner {
            Content::Stored(packed) => packed.read(buffer)?,
            Content::Deflated(decoder) => decoder.read(buffer)?,
        };
        self.crc.update(&buffer[..read]);
        Ok(read)
    }
}

impl Checked<'_> {
    /// Nothing is left, neither unpacked nor packed, and the checksum is right.
    fn finish(mut self, crc: u32) -> Result<()> {
        if self.read(&mut [0]).map_err(unreadable)? != 0 {
            return Err(damaged("a member unpacks to more bytes than it states"));
        }
        let mut rest = match self.inner {
            Content::Stored(packed) => packed,
            Content::Deflated(decoder) => decoder.into_inner(),
        };
        if rest.read(&mut [0]).map_err(unreadable)? != 0 {
            return Err(damaged("bytes follow the content of a member"));
        }
        if self.crc.sum() != crc {
            return Err(damaged("the checksum of a member is wrong"));
        }
        Ok(())
    }
}

fn damaged(message: &str) -> Error {
    Error::malformed("zip", message)
}
