//! JPEG files as libjpeg decodes them, bit for bit.
//!
//! The standard (ITU-T T.81) leaves the rounding of the inverse transform open, and JFIF that of the
//! chroma, so decoders differ by a step or two, by dozens at the edges of small pictures. Models were
//! trained on what libjpeg makes, as Pillow calls it: the accurate integer transform, smooth
//! upsampling, colors by 16-bit tables. Decoders in Rust without foreign code round in other ways;
//! hence this one. What libjpeg makes up for a damaged file is an error here.

mod huffman;
mod samples;
mod scan;

use amphora_error::{Error, Result};

use huffman::Table;
use samples::{Component, Model};

/// The kinds of segments, by the second byte of their markers.
mod marker {
    pub(super) const BASELINE: u8 = 0xc0;
    pub(super) const SEQUENTIAL: u8 = 0xc1;
    pub(super) const PROGRESSIVE: u8 = 0xc2;
    pub(super) const TABLES: u8 = 0xc4;
    pub(super) const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
    pub(super) const START: u8 = 0xd8;
    pub(super) const END: u8 = 0xd9;
    pub(super) const SCAN: u8 = 0xda;
    pub(super) const QUANTIZERS: u8 = 0xdb;
    pub(super) const INTERVAL: u8 = 0xdd;
    pub(super) const JFIF: u8 = 0xe0;
    pub(super) const EXIF: u8 = 0xe1;
    pub(super) const ADOBE: u8 = 0xee;

    /// Whether the segment begins a frame, of whatever coding.
    pub(super) fn is_frame(kind: u8) -> bool {
        matches!(kind, 0xc0..=0xcf) && !matches!(kind, TABLES | 0xc8 | 0xcc)
    }
}

/// From the position in the file, in zigzag order, to the place in a block.
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Width and height, and how many scans there are, of a file that has an end and one frame.
pub(super) fn header(bytes: &[u8]) -> Result<(u64, u64, u64)> {
    let mut size = None;
    let mut scans = 0;
    for segment in Segments::new(bytes) {
        let segment = segment?;
        match segment.kind {
            marker::SCAN => scans += 1,
            kind if marker::is_frame(kind) => {
                if size.is_some() {
                    return Err(damaged("a second frame begins"));
                }
                let sides = pair(segment.payload, 3).zip(pair(segment.payload, 1));
                size = Some(sides.ok_or_else(truncated)?);
            }
            _ => {}
        }
    }
    let (width, height) = size.ok_or_else(truncated)?;
    Ok((width.into(), height.into(), scans))
}

/// A decoded file.
pub(super) struct Decoded<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Rows of interleaved 8-bit RGB.
    pub(super) rgb: Vec<u8>,
    /// The EXIF data, from its TIFF header on.
    pub(super) exif: Option<&'a [u8]>,
}

/// Decodes a file whose [`header`] was found to be within the limits.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded<'_>> {
    let mut decoder = Decoder::default();
    let mut exif = None;
    for segment in Segments::new(bytes) {
        let Segment {
            kind,
            payload,
            coded,
        } = segment?;
        match kind {
            marker::BASELINE | marker::SEQUENTIAL | marker::PROGRESSIVE => {
                decoder.frame = Some(Frame::read(payload, kind == marker::PROGRESSIVE)?);
            }
            kind if marker::is_frame(kind) => {
                return Err(Error::unsupported(
                    "image-format",
                    "the JPEG picture is coded in a way that is not read",
                )
                .expected("Huffman codes, sequential or progressive")
                .found(format!("coding {}", kind - marker::BASELINE)));
            }
            marker::TABLES => decoder.read_tables(payload)?,
            marker::QUANTIZERS => decoder.read_quantizers(payload)?,
            marker::INTERVAL => {
                let interval = pair(payload, 0).ok_or_else(truncated)?;
                decoder.interval = interval.into();
            }
            marker::SCAN => decoder.scan(payload, coded)?,
            marker::JFIF => decoder.jfif |= payload.starts_with(b"JFIF\0"),
            marker::EXIF => exif = exif.or(payload.strip_prefix(b"Exif\0\0")),
            marker::ADOBE if payload.starts_with(b"Adobe") => {
                decoder.adobe = payload.get(11).copied();
            }
            _ => {}
        }
    }
    let (jfif, adobe) = (decoder.jfif, decoder.adobe);
    let mut frame = decoder.frame.ok_or_else(truncated)?;
    for component in &mut frame.components {
        component.finish()?;
    }
    let model = frame.model(jfif, adobe)?;
    Ok(Decoded {
        width: frame.width.into(),
        height: frame.height.into(),
        rgb: samples::rgb(&frame, model)?,
        exif,
    })
}

/// Everything that is known between two segments.
#[derive(Default)]
struct Decoder {
    frame: Option<Frame>,
    /// Of DC coefficients, then of AC coefficients.
    tables: [[Option<Table>; 4]; 2],
    /// In the order of a block.
    quantizers: [Option<[u16; 64]>; 4],
    /// How many units lie between two restarts; 0 for no restarts.
    interval: u32,
    jfif: bool,
    /// The transform that an Adobe segment states.
    adobe: Option<u8>,
}

impl Decoder {
    fn read_tables(&mut self, mut payload: &[u8]) -> Result<()> {
        while let Some((id, rest)) = payload.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(truncated)?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or_else(truncated)?;
            let place = self.tables.get_mut(usize::from(id >> 4));
            let place = place.and_then(|tables| tables.get_mut(usize::from(id & 15)));
            let place = place.ok_or_else(|| damaged("a code table has no such number"))?;
            *place = Some(Table::new(counts, symbols)?);
            payload = rest;
        }
        Ok(())
    }

    fn read_quantizers(&mut self, mut payload: &[u8]) -> Result<()> {
        while let Some((id, rest)) = payload.split_first() {
            let wide = match id >> 4 {
                0 => 1,
                1 => 2,
                _ => return Err(damaged("a quantization table has no such precision")),
            };
            let (values, rest) = rest.split_at_checked(64 * wide).ok_or_else(truncated)?;
            let mut table = [0; 64];
            for (value, place) in values.chunks_exact(wide).zip(ZIGZAG) {
                let value = value
                    .iter()
                    .fold(0, |high, low| (high << 8) | u16::from(*low));
                table[place] = value;
            }
            let place = self.quantizers.get_mut(usize::from(id & 15));
            *place.ok_or_else(|| damaged("a quantization table has no such number"))? = Some(table);
            payload = rest;
        }
        Ok(())
    }
}

/// What the frame header says.
struct Frame {
    progressive: bool,
    width: u16,
    height: u16,
    components: Vec<Component>,
    /// The largest sampling factors, across and down.
    sampling: [usize; 2],
}

impl Frame {
    fn read(payload: &[u8], progressive: bool) -> Result<Self> {
        let precision = payload.first().copied().ok_or_else(truncated)?;
        if precision != 8 {
            return Err(Error::unsupported(
                "image-color",
                "JPEG pictures are read with samples of 8 bits only",
            )
            .found(format!("{precision} bits")));
        }
        let sides = pair(payload, 3).zip(pair(payload, 1));
        let (width, height) = sides.ok_or_else(truncated)?;
        let count = usize::from(payload.get(5).copied().ok_or_else(truncated)?);
        let stated = payload.get(6..6 + 3 * count).ok_or_else(truncated)?;
        if !matches!(count, 1 | 3 | 4) {
            return Err(Error::unsupported(
                "image-color",
                "the colors of the JPEG picture are not read",
            )
            .expected("gray, YCbCr, RGB or CMYK")
            .found(format!("{count} components")));
        }
        let (stated, _) = stated.as_chunks::<3>();
        let factors = |both: u8| [both >> 4, both & 15].map(usize::from);
        let mut sampling = [1; 2];
        for [_, both, _] in stated {
            let factors = factors(*both);
            if factors.iter().any(|factor| !(1..=4).contains(factor)) {
                return Err(damaged("a sampling factor is not between 1 and 4"));
            }
            sampling = [0, 1].map(|axis| sampling[axis].max(factors[axis]));
        }
        let size = [width, height].map(usize::from);
        let components = stated
            .iter()
            .map(|[id, both, table]| {
                let quantizer = usize::from(*table);
                Component::new(*id, factors(*both), quantizer, size, sampling, progressive)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            progressive,
            width,
            height,
            components,
            sampling,
        })
    }

    /// What the components stand for, as libjpeg guesses it.
    fn model(&self, jfif: bool, adobe: Option<u8>) -> Result<Model> {
        let ids: Vec<u8> = self.components.iter().map(|part| part.id).collect();
        Ok(match (ids.as_slice(), adobe) {
            ([_], _) => Model::Gray,
            ([_, _, _], _) if jfif => Model::YCbCr,
            ([_, _, _], Some(0)) | ([b'R', b'G', b'B'], None) => Model::Rgb,
            ([_, _, _], _) => Model::YCbCr,
            ([_, _, _, _], None | Some(0)) => Model::Cmyk,
            ([_, _, _, _], Some(_)) => Model::Ycck,
            _ => return Err(damaged("the frame has no components")),
        })
    }
}

/// One segment, and the coded data behind it.
struct Segment<'a> {
    kind: u8,
    payload: &'a [u8],
    /// Of a scan, up to the marker that ends it; restarts are part of it.
    coded: &'a [u8],
}

/// The segments of a file up to its end marker, the first of which follows the start marker.
struct Segments<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Segments<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: Some(bytes.get(2..).unwrap_or_default()),
        }
    }

    /// The next segment; nothing at the end of the picture.
    fn step(&mut self) -> Result<Option<Segment<'a>>> {
        let Some(rest) = &mut self.rest else {
            return Ok(None);
        };
        loop {
            // What lies between segments is passed over; a marker can be filled up in front.
            let place = rest.iter().position(|byte| *byte == 0xff);
            *rest = &rest[place.ok_or_else(truncated)? + 1..];
            let kind = *rest.first().ok_or_else(truncated)?;
            match kind {
                0xff => continue,
                0x00 | 0x01 | marker::START => {}
                kind if marker::RESTARTS.contains(&kind) => {}
                marker::END => {
                    self.rest = None;
                    return Ok(None);
                }
                kind => {
                    let length = usize::from(pair(rest, 1).ok_or_else(truncated)?).max(2);
                    let payload = rest.get(3..1 + length).ok_or_else(truncated)?;
                    *rest = &rest[1 + length..];
                    let coded = match kind {
                        marker::SCAN => rest.split_at(coded_length(rest)?).0,
                        _ => &[],
                    };
                    *rest = &rest[coded.len()..];
                    return Ok(Some(Segment {
                        kind,
                        payload,
                        coded,
                    }));
                }
            }
            *rest = &rest[1..];
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Result<Segment<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.rest = None;
        }
        step.transpose()
    }
}

/// How many bytes of `rest` come before a marker that is no restart.
fn coded_length(rest: &[u8]) -> Result<usize> {
    let mut at = 0;
    loop {
        let place = rest[at..].iter().position(|byte| *byte == 0xff);
        at += place.ok_or_else(truncated)?;
        match rest.get(at + 1) {
            None => return Err(truncated()),
            Some(0xff) => at += 1,
            Some(0x00) => at += 2,
            Some(kind) if marker::RESTARTS.contains(kind) => at += 2,
            Some(_) => return Ok(at),
        }
    }
}

fn pair(bytes: &[u8], at: usize) -> Option<u16> {
    let both = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*both))
}

fn truncated() -> Error {
    super::header::truncated("JPEG")
}

fn damaged(reason: &str) -> Error {
    Error::malformed(
        "image-decoding",
        format!("the picture cannot be decoded: {reason}"),
    )
}
