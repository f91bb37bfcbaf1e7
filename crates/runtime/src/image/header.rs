//! The first look at a picture: its format, its size and the work it asks for, read from the header
//! before any decoder runs.

use amphora_error::{Error, Result};

use super::jpeg;

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    WebP,
}

/// What a file says about itself.
pub(super) struct Header {
    pub(super) format: Format,
    /// The width and height of the picture, or of the largest part of it.
    pub(super) width: u64,
    pub(super) height: u64,
    /// How often the decoder goes over the whole picture.
    pub(super) passes: u64,
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return png(bytes);
        }
        if bytes.starts_with(b"\xff\xd8\xff") {
            return jpeg(bytes);
        }
        if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            return webp(bytes);
        }
        let known = [
            (&b"GIF8"[..], "GIF"),
            (b"BM", "BMP"),
            (b"II*\0", "TIFF"),
            (b"MM\0*", "TIFF"),
        ];
        let known = known.iter().find(|(magic, _)| bytes.starts_with(magic));
        let error = Error::unsupported("image-format", "the bytes are no picture that can be read")
            .expected("PNG, JPEG or WebP");
        Err(match known {
            Some((_, name)) => error.found(*name),
            None => error,
        })
    }
}

pub(super) fn truncated(format: &str) -> Error {
    Error::malformed(
        "image-truncated",
        format!("the {format} picture ends before its time"),
    )
}

fn png(bytes: &[u8]) -> Result<Header> {
    let (Some(b"IHDR"), Some(width), Some(height)) = (
        bytes.get(12..16),
        big_endian(bytes, 16),
        big_endian(bytes, 20),
    ) else {
        return Err(truncated("PNG"));
    };
    Ok(Header {
        format: Format::Png,
        width,
        height,
        passes: 1,
    })
}

fn big_endian(bytes: &[u8], at: usize) -> Option<u64> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*four).into())
}

fn jpeg(bytes: &[u8]) -> Result<Header> {
    let (width, height, passes) = jpeg::header(bytes)?;
    Ok(Header {
        format: Format::Jpeg,
        width,
        height,
        passes,
    })
}

fn webp(bytes: &[u8]) -> Result<Header> {
    let end = || truncated("WebP");
    let stated = little_endian(bytes, 4, 4).ok_or_else(end)?;
    let body = usize::try_from(stated)
        .ok()
        .and_then(|size| bytes.get(12..size.checked_add(8)?));
    let mut header = Header {
        format: Format::WebP,
        width: 0,
        height: 0,
        passes: 1,
    };
    chunks(body.ok_or_else(end)?, &mut header)?;
    Ok(header)
}

/// Takes the largest of all sizes in a sequence of RIFF chunks, those inside of frames included.
fn chunks(mut body: &[u8], header: &mut Header) -> Result<()> {
    // Frames hold chunks; nothing in them holds chunks again.
    const FRAME_HEADER: usize = 16;
    let end = || truncated("WebP");
    let mut animated = false;
    let mut frame = None;
    loop {
        if body.len() < 8 {
            match frame.take() {
                Some(chunks) => body = chunks,
                None => return Ok(()),
            }
            continue;
        }
        let length = little_endian(body, 4, 4).ok_or_else(end)?;
        let length = usize::try_from(length).map_err(|_| end())?;
        let payload = body
            .get(8..)
            .and_then(|rest| rest.get(..length))
            .ok_or_else(end)?;
        let number = |at: usize, bytes: usize| little_endian(payload, at, bytes).ok_or_else(end);
        let (width, height) = match &body[..4] {
            b"VP8X" => (number(4, 3)? + 1, number(7, 3)? + 1),
            b"VP8 " => (number(6, 2)? & 0x3fff, number(8, 2)? & 0x3fff),
            b"VP8L" => {
                let bits = number(1, 4)?;
                ((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1)
            }
            b"ANMF" => {
                // Only the first frame is decoded.
                if !animated {
                    frame = Some(payload.get(FRAME_HEADER..).ok_or_else(end)?);
                    animated = true;
                }
                (number(6, 3)? + 1, number(9, 3)? + 1)
            }
            _ => (0, 0),
        };
        header.width = header.width.max(width);
        header.height = header.height.max(height);
        // Chunks are padded to an even length; the last one may lack the padding.
        body = body.get(8 + length + length % 2..).unwrap_or(&[]);
    }
}

fn little_endian(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(count)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte)),
    )
}
