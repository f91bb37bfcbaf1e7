//! Files of pictures to 8-bit RGB.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::image::codecs::{png::PngDecoder, webp::WebPDecoder};
use ::image::error::{ImageError, ImageResult};
use ::image::metadata::Orientation;
use ::image::{ColorType, DynamicImage, ImageDecoder, RgbImage};
use amphora_error::{Error, Result};

use super::header::{Format, Header};
use super::jpeg;
use crate::engine::shortened;

/// What a picture may cost before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Bytes of the file; 64 MiB by default.
    pub bytes: u64,
    /// Pixels, before and after resizing; 2^26 by default, a square of 8192. The larger side is at
    /// most 65,535. A progressive JPEG may go over so many pixels sixteen times.
    pub pixels: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            pixels: 1 << 26,
        }
    }
}

/// How often more than once a decoder may go over a picture of the largest size.
const PASSES: u64 = 16;
/// The longest side.
const SIDE: u64 = 65_535;

/// A decoded picture: rows of 8-bit RGB, the top one first.
///
/// ```
/// use amphora_runtime::image::Picture;
///
/// let red = Picture::from_rgb8(2, 1, vec![255, 0, 0, 255, 0, 0])?;
/// assert_eq!((red.width(), red.height()), (2, 1));
/// assert!(Picture::from_rgb8(2, 2, vec![0; 6]).is_err());
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// A picture that is decoded already: `height` rows of `width` times red, green, blue.
    ///
    /// # Errors
    ///
    /// Malformed (`image-size`) for a picture without pixels, or of another number of bytes.
    pub fn from_rgb8(width: usize, height: usize, rgb: Vec<u8>) -> Result<Self> {
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if width == 0 || height == 0 || expected != Some(rgb.len()) {
            return Err(
                Error::malformed("image-size", "the bytes do not fill the picture")
                    .expected(format!("{width} x {height} pixels of three bytes"))
                    .found(format!("{} bytes", rgb.len())),
            );
        }
        Ok(Self { width, height, rgb })
    }

    /// Decodes a PNG, JPEG or WebP file.
    ///
    /// The result is what Pillow's `convert("RGB")` gives, after the orientation in the EXIF data
    /// is applied: palettes become colors, gray becomes RGB, transparency is dropped and not
    /// blended, of 16 bits the upper 8 are kept, CMYK is turned over by its black. The one difference
    /// is gray of 16 bits, which Pillow clips: here `v` becomes `(v + 128) / 257`. Of an animation the
    /// first frame counts. Color profiles and gamma are ignored.
    ///
    /// # Errors
    ///
    /// Unsupported (`image-format`, `image-color`) for other formats and for JPEG of more than 8 bits,
    /// without loss or with arithmetic codes; limit
    /// (`image-limit`) for a file beyond `limits`, decided by the header before anything is allocated;
    /// malformed (`image-truncated`, `image-size`, `image-decoding`) for a file that is not sound.
    pub fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Self> {
        limit("bytes", bytes.len() as u64, limits.bytes)?;
        let header = Header::read(bytes)?;
        if header.width == 0 || header.height == 0 {
            return Err(Error::malformed("image-size", "the picture has no pixels")
                .found(format!("{} x {}", header.width, header.height)));
        }
        limit("side", header.width.max(header.height), SIDE)?;
        let pixels = header.width.saturating_mul(header.height);
        limit("pixels", pixels, limits.pixels)?;
        let most = limits.pixels.saturating_mul(PASSES);
        limit("passes", pixels.saturating_mul(header.passes), most)?;
        // Decoders are fuzzed by their makers; what they missed must not end the program.
        let decoded = catch_unwind(AssertUnwindSafe(|| decode(bytes, header.format, limits)));
        decoded.unwrap_or_else(|_| {
            Err(Error::malformed(
                "image-decoding",
                "the decoder broke off: the picture is damaged",
            ))
        })
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Red, green and blue of each pixel, row by row.
    pub fn rgb8(&self) -> &[u8] {
        &self.rgb
    }
}

pub(super) fn limit(what: &str, found: u64, most: u64) -> Result<()> {
    if found <= most {
        return Ok(());
    }
    Err(
        Error::limit("image-limit", format!("the picture is too large ({what})"))
            .expected(format!("at most {most}"))
            .found(found.to_string()),
    )
}

fn decode(bytes: &[u8], format: Format, limits: &ImageLimits) -> Result<Picture> {
    let input = Cursor::new(bytes);
    let decoded = match format {
        Format::Png => {
            let mut caps = ::image::Limits::no_limits();
            // Profiles are unpacked while the header is read.
            caps.max_alloc = Some(limits.pixels.saturating_mul(8));
            PngDecoder::with_limits(input, caps).map(finish)
        }
        Format::Jpeg => {
            let decoded = jpeg::decode(bytes)?;
            let orientation = decoded.exif.and_then(Orientation::from_exif_chunk);
            let orientation = orientation.unwrap_or(Orientation::NoTransforms);
            let rgb = RgbImage::from_raw(decoded.width, decoded.height, decoded.rgb);
            return upright(rgb, orientation, "JPEG");
        }
        Format::WebP => WebPDecoder::new(input).map(finish),
    };
    decoded.and_then(|picture| picture).map_err(|source| {
        let text = shortened(&source.to_string());
        match source {
            ImageError::Unsupported(_) => Error::unsupported(
                "image-format",
                format!("the picture uses what is not read: {text}"),
            ),
            ImageError::Limits(_) => {
                Error::limit("image-limit", format!("the picture is too large: {text}"))
            }
            _ => Error::malformed(
                "image-decoding",
                format!("the picture cannot be decoded: {text}"),
            ),
        }
    })?
}

fn finish(mut decoder: impl ImageDecoder) -> ImageResult<Result<Picture>> {
    let orientation = decoder.orientation()?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let size = usize::try_from(decoder.total_bytes()).map_err(|_| {
        ImageError::Limits(::image::error::LimitError::from_kind(
            ::image::error::LimitErrorKind::InsufficientMemory,
        ))
    })?;
    let mut bytes = vec![0; size];
    decoder.read_image(&mut bytes)?;
    let rgb = RgbImage::from_raw(width, height, rgb8(bytes, color));
    Ok(upright(rgb, orientation, &format!("{color:?}")))
}

/// A picture turned as its EXIF data says; none for the colors named.
fn upright(rgb: Option<RgbImage>, orientation: Orientation, colors: &str) -> Result<Picture> {
    let rgb = rgb.ok_or_else(|| {
        Error::unsupported("image-color", "the colors of the picture are not read").found(colors)
    })?;
    let mut picture = DynamicImage::ImageRgb8(rgb);
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Picture::from_rgb8(width, height, picture.into_bytes())
}

/// Samples of any layout as 8-bit RGB; nothing for a layout that no decoder here gives.
fn rgb8(bytes: Vec<u8>, color: ColorType) -> Vec<u8> {
    // 16-bit samples are in the order of the machine.
    let wide = |low: u8, high: u8| u16::from_ne_bytes([low, high]);
    let top = |low, high| (wide(low, high) >> 8) as u8;
    let gray = |low, high| ((u32::from(wide(low, high)) + 128) / 257) as u8;
    match color {
        ColorType::Rgb8 => bytes,
        ColorType::Rgba8 => pixels(&bytes, |[r, g, b, _]| [r, g, b]),
        ColorType::L8 => pixels(&bytes, |[v]| [v; 3]),
        ColorType::La8 => pixels(&bytes, |[v, _]| [v; 3]),
        ColorType::L16 => pixels(&bytes, |[v, w]| [gray(v, w); 3]),
        ColorType::La16 => pixels(&bytes, |[v, w, _, _]| [top(v, w); 3]),
        ColorType::Rgb16 => pixels(&bytes, |[r, s, g, h, b, c]| {
            [top(r, s), top(g, h), top(b, c)]
        }),
        ColorType::Rgba16 => pixels(&bytes, |[r, s, g, h, b, c, _, _]| {
            [top(r, s), top(g, h), top(b, c)]
        }),
        _ => Vec::new(),
    }
}

fn pixels<const N: usize>(bytes: &[u8], rgb: impl Fn([u8; N]) -> [u8; 3]) -> Vec<u8> {
    let (pixels, _) = bytes.as_chunks::<N>();
    pixels.iter().flat_map(|pixel| rgb(*pixel)).collect()
}
