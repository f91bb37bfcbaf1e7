//! Reading tar strictly: regular files and folders, one reading of each header.
//!
//! Layout of a header (POSIX.1-1988 `ustar`, 512 bytes): name 0..100, mode, uid, gid, size 124..136,
//! mtime, checksum 148..156, type 156, link name 157..257, magic 257..263, version, user, group,
//! device numbers, prefix 345..500. GNU writes the magic with spaces and long names as members of
//! type `L`; POSIX.1-2001 (pax) writes them, and sizes, as records in members of type `x`.

use std::io::Read;

use amphora_error::{Error, Result, quoted};

use super::extract::{Extraction, member, truncated, unreadable};

const BLOCK: usize = 512;
/// Longest name in a member of type `L`, in bytes.
const MAX_NAME: u64 = 4096;
/// Largest member of type `x`, in bytes.
const MAX_RECORDS: u64 = 64 << 10;
/// Records that say nothing about the content and are ignored.
const IGNORED: [&str; 9] = [
    "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment", "charset",
];
/// Beginnings of records that say nothing about the content.
const IGNORED_PREFIXES: [&str; 3] = ["SCHILY.xattr.", "SCHILY.acl.", "LIBARCHIVE."];

/// What extension members said about the member that follows them.
#[derive(Default)]
struct Announced {
    name: Option<String>,
    size: Option<u64>,
    any: bool,
}

/// Reads the whole of `source`; nothing but zeros follows the end of the archive.
pub(super) fn read(source: &mut dyn Read, target: &mut Extraction<'_>) -> Result<()> {
    let mut announced = Announced::default();
    loop {
        let block = read_block(source)?;
        if block.iter().all(|byte| *byte == 0) {
            if announced.any {
                return Err(damaged("an extension header announces no member"));
            }
            return read_end(source);
        }
        let header = Header::parse(&block)?;
        match header.kind {
            b'x' | b'L' => announced.add(&header, source)?,
            b'0' | 0 => {
                let announced = std::mem::take(&mut announced);
                header.keep_size(announced.size)?;
                let name = announced.name.unwrap_or(header.name);
                target.file(&name, header.size, source)?;
                read_padding(source, header.size)?;
            }
            b'5' => {
                let announced = std::mem::take(&mut announced);
                header.keep_size(announced.size)?;
                let name = announced.name.unwrap_or(header.name);
                if header.size != 0 {
                    return Err(damaged("a folder has content").at(member(&name)));
                }
                target.folder(name.strip_suffix('/').unwrap_or(&name))?;
            }
            kind => {
                return Err(Error::malformed(
                    "archive-member-kind",
                    "a bundle holds only regular files",
                )
                .found(kind_word(kind))
                .at(member(&header.name)));
            }
        }
    }
}

fn kind_word(kind: u8) -> String {
    match kind {
        b'1' => "a hard link".to_owned(),
        b'2' => "a symbolic link".to_owned(),
        b'3' | b'4' => "a device".to_owned(),
        b'6' => "a FIFO".to_owned(),
        b'g' => "global extension records".to_owned(),
        kind => format!("a member of type {}", quoted(&char::from(kind).to_string())),
    }
}

fn read_block(source: &mut dyn Read) -> Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    source.read_exact(&mut block).map_err(unreadable)?;
    Ok(block)
}

/// After the first block of zeros: a second one, then zeros to the end.
fn read_end(source: &mut dyn Read) -> Result<()> {
    let mut piece = [0; 8192];
    let mut length = 0_u64;
    loop {
        let read = source.read(&mut piece).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        length += read as u64;
        if piece[..read].iter().any(|byte| *byte != 0) {
            return Err(Error::malformed(
                "archive-tail",
                "bytes follow the end of the archive",
            ));
        }
    }
    if length < BLOCK as u64 {
        return Err(truncated());
    }
    Ok(())
}

fn read_padding(source: &mut dyn Read, size: u64) -> Result<()> {
    let padding = padding(size);
    let mut block = [0; BLOCK];
    source
        .read_exact(&mut block[..padding])
        .map_err(unreadable)?;
    if block.iter().any(|byte| *byte != 0) {
        return Err(damaged("the space after a member is not empty"));
    }
    Ok(())
}

/// Bytes from the end of `size` bytes to the end of their last block.
fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

fn damaged(message: &str) -> Error {
    Error::malformed("tar", message)
}

struct Header {
    name: String,
    size: u64,
    kind: u8,
}

impl Header {
    fn parse(block: &[u8; BLOCK]) -> Result<Self> {
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                148..156 => u64::from(b' '),
                _ => u64::from(*byte),
            })
            .sum();
        if octal(&block[148..156]) != Some(sum) {
            return Err(damaged("the checksum of a header is wrong"));
        }
        let size = number(&block[124..136]).ok_or_else(|| damaged("a size is no number"))?;
        let mut name = text(&block[..100])?;
        if block[257..263] == *b"ustar\0" {
            let prefix = text(&block[345..500])?;
            if !prefix.is_empty() {
                name = format!("{prefix}/{name}");
            }
        }
        Ok(Self {
            name,
            size,
            kind: block[156],
        })
    }

    /// Two statements of one size must agree: readers differ in which they believe.
    fn keep_size(&self, announced: Option<u64>) -> Result<()> {
        match announced {
            Some(size) if size != self.size => Err(Error::malformed(
                "archive-size-disagreement",
                "two headers disagree about the size of a member",
            )
            .expected(format!("{} bytes", self.size))
            .found(format!("{size} bytes"))
            .at(member(&self.name))),
            _ => Ok(()),
        }
    }
}

/// Text up to the first NUL; nothing but NUL follows it.
fn text(field: &[u8]) -> Result<String> {
    let end = field.iter().position(|byte| *byte == 0);
    let (text, rest) = field.split_at(end.unwrap_or(field.len()));
    if rest.iter().any(|byte| *byte != 0) {
        return Err(damaged("a name continues after its end"));
    }
    String::from_utf8(text.to_vec()).map_err(|_| damaged("a name is not UTF-8"))
}

/// Octal digits, or GNU's big-endian form for large values.
fn number(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, 0, 0, 0, value @ ..] => Some(u64::from_be_bytes(value.try_into().ok()?)),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_end_matches(['\0', ' ']).trim_start_matches(' ');
    let digits = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    digits.then(|| u64::from_str_radix(text, 8).ok()).flatten()
}

impl Announced {
    fn add(&mut self, header: &Header, source: &mut dyn Read) -> Result<()> {
        if std::mem::replace(&mut self.any, true) {
            return Err(damaged("two extension headers announce one member"));
        }
        let limit = if header.kind == b'x' {
            MAX_RECORDS
        } else {
            MAX_NAME
        };
        if header.size > limit {
            return Err(
                Error::limit("archive-extension", "an extension header is too large")
                    .expected(format!("at most {limit} bytes"))
                    .found(format!("{} bytes", header.size)),
            );
        }
        let mut bytes = vec![0; usize::try_from(header.size).unwrap_or(0)];
        source.read_exact(&mut bytes).map_err(unreadable)?;
        read_padding(source, header.size)?;
        if header.kind == b'L' {
            let name = bytes.strip_suffix(b"\0").unwrap_or(&bytes).to_vec();
            let name = String::from_utf8(name).map_err(|_| damaged("a name is not UTF-8"))?;
            self.name = Some(name);
            return Ok(());
        }
        self.records(&bytes)
    }

    /// Records of the form `LENGTH KEY=VALUE\n`, where the length counts the whole record.
    fn records(&mut self, mut bytes: &[u8]) -> Result<()> {
        let refuse = || damaged("an extension record is not well formed");
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ');
            let space = space.filter(|at| *at > 0).ok_or_else(refuse)?;
            let length = decimal(&bytes[..space]).ok_or_else(refuse)?;
            let length = usize::try_from(length).map_err(|_| refuse())?;
            let record = bytes.get(space + 1..length).ok_or_else(refuse)?;
            let record = record.strip_suffix(b"\n").ok_or_else(refuse)?;
            let record = std::str::from_utf8(record).map_err(|_| refuse())?;
            let (key, value) = record.split_once('=').ok_or_else(refuse)?;
            self.record(key, value)?;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    fn record(&mut self, key: &str, value: &str) -> Result<()> {
        let twice = || damaged("an extension record occurs twice");
        match key {
            "path" if self.name.is_some() => Err(twice()),
            "path" => {
                self.name = Some(value.to_owned());
                Ok(())
            }
            "size" if self.size.is_some() => Err(twice()),
            "size" => {
                let size = decimal(value.as_bytes());
                self.size = Some(size.ok_or_else(|| damaged("a size is no number"))?);
                Ok(())
            }
            key if IGNORED.contains(&key)
                || IGNORED_PREFIXES.iter().any(|start| key.starts_with(start)) =>
            {
                Ok(())
            }
            key => Err(Error::malformed(
                "archive-extension-record",
                "an extension record is unknown",
            )
            .found(quoted(key).to_string())),
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok()?;
    plain.then(|| text.parse().ok()).flatten()
}
