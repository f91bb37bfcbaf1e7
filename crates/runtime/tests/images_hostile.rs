//! Files of pictures that lie, break off, or come in a rare form.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use std::io::Cursor;
use std::ops::Range;

use amphora_error::ErrorKind;
use amphora_runtime::image::{ImageLimits, Picture};
use amphora_testing::each;
use image::{ImageFormat, RgbImage};

fn pattern() -> RgbImage {
    RgbImage::from_fn(16, 10, |x, y| {
        image::Rgb([
            (x * 15) as u8,
            (y * 25) as u8,
            ((x / 4 + y / 4) % 2 * 200) as u8,
        ])
    })
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    pattern().write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// 4:2:0, as Pillow writes it.
const JPEG: &[u8] = include_bytes!("pictures/420.jpg");
/// The same with a restart after every unit.
const RESTARTS: &[u8] = include_bytes!("pictures/420-restarts.jpg");

fn decode(bytes: &[u8]) -> amphora_error::Result<Picture> {
    Picture::decode(bytes, &ImageLimits::default())
}

/// The file with `bytes` written over it at `at`.
fn patched(mut file: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// The file with `length` bytes from `at` on twice.
fn repeated(file: &[u8], at: usize, length: usize) -> Vec<u8> {
    [&file[..at + length], &file[at..]].concat()
}

fn without(file: &[u8], part: Range<usize>) -> Vec<u8> {
    [&file[..part.start], &file[part.end..]].concat()
}

/// Where a byte sequence begins.
fn find(file: &[u8], needle: &[u8]) -> usize {
    file.windows(needle.len())
        .position(|window| window == needle)
        .unwrap()
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    (!crc).to_be_bytes()
}

/// A PNG of some size without a single pixel.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend(&chunk);
    file.extend(crc(&chunk));
    file
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

/// Two frames of 3 x 2 pixels, red and blue, without loss (written by Pillow).
const ANIMATED: &str = "524946468400000057454250565038580a00000002000000020000010000414e494d06000000000000000000414e4d4628000000000000000000020000010000000000025650384c0f0000002f024000000710fd8ffe0722a2ff0100414e4d4628000000000000000000020000010000000000005650384c0f0000002f024000000710d1fffe0722a2ff0100";
/// 16 x 16 pixels with loss (written by Pillow).
const LOSSY: &str = "5249464662010000574542505650382056010000b007009d012a1000100000c01225b002743d99b8003ca33d803f56bf603d90ffffa29769cb796a6609e16fee9ee01fc73f8c7f67fcd4feebc801fa6e79deadec5664cd8b070000fed26cb1e5217e2b92e3f0153f5f77876f5e379338a6099e675ffea493593c3fd32c04caacdf87de3e5917fed031507900785a16f6d59ee0c14ba3a9ffd974e42ddc767ec07ac1f8b9216a29f7e7fd62efd4282b6b5e2de68cf9986ceb5246968dbeea66a0df85eb575057ca6a5dff6e446026533390ed3e5fffd53231181b1735491682f8c0da3f0baffefccdc5e7508deb6ff53bb37151b2317f41e38f83f1fc343c6c6dec992cfbd52130e03ff415b1fb6ec248f5a093644fb6e63d00fb136fbb55fce4cdf22bba327b0cfcb980e239bdfcf7ed97eec30e97232d09783dbcc6ab0e4e21fd8f9d2e6b20e7e40fdbfe14ff7fc27c960d3e9e7ceede9fe6b992ad6ee91e1dfd5a656637b533700000";
/// Four palette colors of 2 bits: red, green (transparent), blue, dark gray (written by Pillow).
const PALETTE: &str = "89504e470d0a1a0a0000000d49484452000000020000000202030000000fd8e5b70000000c504c5445ff000000ff000000ff0909095c717e860000000274524e53ff00e5b7304a0000000c49444154789c631060d8000000e400c127a8e8570000000049454e44ae426082";

#[test]
fn every_lie_gets_its_own_answer() {
    let [png, webp] = [ImageFormat::Png, ImageFormat::WebP].map(encoded);
    let jpeg = JPEG.to_vec();
    let frame = find(&jpeg, b"\xff\xc0");
    let cut = |file: &[u8], part: usize| file[..file.len() * part / 10].to_vec();
    let animated = from_hex(ANIMATED);
    let canvas = find(&animated, b"VP8X") + 12;
    let inner = find(&animated, b"VP8L") + 9;
    let mut scans = jpeg.clone();
    let scan = find(&scans, b"\xff\xda");
    // A thousand more scans, in a frame that says 8192 x 8192.
    scans = patched(scans, frame + 5, &[32, 0, 32, 0]);
    for _ in 0..1000 {
        scans.splice(scan..scan, [0xff, 0xda, 0, 2]);
    }
    let rows = [
        (
            "PNG 60000 x 60000",
            png_header(60_000, 60_000),
            ErrorKind::Limit,
            "image-limit",
        ),
        (
            "PNG 2^31 x 1",
            png_header(1 << 31, 1),
            ErrorKind::Limit,
            "image-limit",
        ),
        (
            "PNG 0 x 5",
            png_header(0, 5),
            ErrorKind::Malformed,
            "image-size",
        ),
        (
            "PNG without pixels",
            png_header(5, 5),
            ErrorKind::Malformed,
            "image-decoding",
        ),
        (
            "PNG cut",
            cut(&png, 6),
            ErrorKind::Malformed,
            "image-decoding",
        ),
        (
            "PNG header cut",
            png[..20].to_vec(),
            ErrorKind::Malformed,
            "image-truncated",
        ),
        (
            "PNG damaged",
            patched(png.clone(), png.len() / 2, &[1, 2, 3, 4]),
            ErrorKind::Malformed,
            "image-decoding",
        ),
        (
            "PNG with another size",
            patched(png.clone(), 16, &[0, 0, 0, 99]),
            ErrorKind::Malformed,
            "image-decoding",
        ),
        (
            "JPEG 65535 x 65535",
            patched(jpeg.clone(), frame + 5, &[255; 4]),
            ErrorKind::Limit,
            "image-limit",
        ),
        (
            "JPEG 0 x 0",
            patched(jpeg.clone(), frame + 5, &[0; 4]),
            ErrorKind::Malformed,
            "image-size",
        ),
        (
            "JPEG of 12 bits",
            patched(jpeg.clone(), frame + 4, &[12]),
            ErrorKind::Unsupported,
            "image-color",
        ),
        (
            "JPEG of two components",
            patched(jpeg.clone(), frame + 9, &[2]),
            ErrorKind::Unsupported,
            "image-color",
        ),
        (
            "JPEG with chroma sampled two to three",
            patched(jpeg.clone(), frame + 14, &[0x31]),
            ErrorKind::Unsupported,
            "image-color",
        ),
        (
            "JPEG with arithmetic codes",
            patched(jpeg.clone(), frame, b"\xff\xc9"),
            ErrorKind::Unsupported,
            "image-format",
        ),
        (
            "JPEG of two frames",
            repeated(&jpeg, frame, 19),
            ErrorKind::Malformed,
            "image-decoding",
        ),
        (
            "JPEG whose codes are too many",
            patched(jpeg.clone(), find(&jpeg, b"\xff\xc4") + 5, &[3, 1, 2]),
            ErrorKind::Malformed,
            "image-decoding",
        ),
        (
            "JPEG without a quantization table",
            patched(jpeg.clone(), frame + 12, &[3]),
            ErrorKind::Malformed,
            "image-decoding",
        ),
        (
            "JPEG without a scan",
            patched(jpeg.clone(), find(&jpeg, b"\xff\xda"), b"\xff\xfe"),
            ErrorKind::Malformed,
            "image-decoding",
        ),
        (
            "JPEG whose coded data breaks off",
            without(&jpeg, find(&jpeg, b"\xff\xda") + 100..jpeg.len() - 2),
            ErrorKind::Malformed,
            "image-decoding",
        ),
        (
            "JPEG with restarts out of order",
            patched(RESTARTS.to_vec(), find(RESTARTS, b"\xff\xd1"), b"\xff\xd2"),
            ErrorKind::Malformed,
            "image-decoding",
        ),
        (
            "JPEG cut in its pixels",
            cut(&jpeg, 9),
            ErrorKind::Malformed,
            "image-truncated",
        ),
        (
            "JPEG cut in its header",
            jpeg[..40].to_vec(),
            ErrorKind::Malformed,
            "image-truncated",
        ),
        (
            "JPEG of three bytes",
            vec![0xff, 0xd8, 0xff],
            ErrorKind::Malformed,
            "image-truncated",
        ),
        ("JPEG of many scans", scans, ErrorKind::Limit, "image-limit"),
        (
            "WebP cut",
            cut(&webp, 8),
            ErrorKind::Malformed,
            "image-truncated",
        ),
        (
            "WebP of 12 bytes",
            webp[..12].to_vec(),
            ErrorKind::Malformed,
            "image-truncated",
        ),
        (
            "WebP of 2^24 x 2^24",
            patched(animated.clone(), canvas, &[255; 6]),
            ErrorKind::Limit,
            "image-limit",
        ),
        (
            "WebP with a large frame inside",
            patched(animated.clone(), inner, &[255, 255, 255, 15]),
            ErrorKind::Limit,
            "image-limit",
        ),
        (
            "nothing",
            Vec::new(),
            ErrorKind::Unsupported,
            "image-format",
        ),
        (
            "text",
            b"<svg/>".to_vec(),
            ErrorKind::Unsupported,
            "image-format",
        ),
        (
            "GIF",
            b"GIF89a\x01\0\x01\0".to_vec(),
            ErrorKind::Unsupported,
            "image-format",
        ),
        (
            "WAV",
            b"RIFF\x04\0\0\0WAVE".to_vec(),
            ErrorKind::Unsupported,
            "image-format",
        ),
    ];
    each(
        &rows.map(|(name, bytes, kind, rule)| (name, Hidden(bytes), kind, rule)),
        |(_, bytes, kind, rule)| match decode(&bytes.0) {
            Err(error) if error.kind() == *kind && error.rule() == *rule => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
}

/// Bytes that a failing row does not print.
struct Hidden(Vec<u8>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[test]
fn limits_are_the_callers_to_choose() {
    let png = encoded(ImageFormat::Png);
    let rows = [
        (png.len() as u64, 160, true),
        (png.len() as u64, 159, false),
        (png.len() as u64 - 1, 160, false),
    ];
    each(&rows, |(bytes, pixels, accepted)| {
        let limits = ImageLimits {
            bytes: *bytes,
            pixels: *pixels,
        };
        match Picture::decode(&png, &limits) {
            Ok(_) if *accepted => Ok(()),
            Err(error) if !accepted && error.kind() == ErrorKind::Limit => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn rare_forms_are_read() {
    let animated = decode(&from_hex(ANIMATED)).unwrap();
    assert_eq!((animated.width(), animated.height()), (3, 2));
    assert_eq!(animated.rgb8(), [[255, 0, 0]; 6].as_flattened());
    let palette = decode(&from_hex(PALETTE)).unwrap();
    // Transparency is dropped, the color beneath it stays.
    assert_eq!(palette.rgb8(), [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]);
    // The SHA-256 of what Pillow reads.
    let lossy = amphora_files::sha256(decode(&from_hex(LOSSY)).unwrap().rgb8()).to_string();
    assert!(lossy.contains("861480f5a062"), "{lossy}");
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        assert_eq!(
            decode(&encoded(format)).unwrap().rgb8(),
            pattern().as_raw().as_slice()
        );
    }
}

#[test]
fn every_orientation_is_applied() {
    let jpeg = JPEG;
    let upright = decode(jpeg).unwrap();
    let (width, height) = (upright.width(), upright.height());
    let pixel = |x: usize, y: usize| &upright.rgb8()[(y * width + x) * 3..][..3];
    // Where in the stored picture the pixel (x, y) of the upright one is, by the EXIF standard.
    type Place = fn(usize, usize, usize, usize) -> (usize, usize);
    let rows: [(u8, bool, Place); 10] = [
        (1, false, |x, y, _, _| (x, y)),
        (2, false, |x, y, w, _| (w - 1 - x, y)),
        (3, false, |x, y, w, h| (w - 1 - x, h - 1 - y)),
        (4, false, |x, y, _, h| (x, h - 1 - y)),
        (5, true, |x, y, _, _| (y, x)),
        (6, true, |x, y, _, h| (y, h - 1 - x)),
        (7, true, |x, y, w, h| (w - 1 - y, h - 1 - x)),
        (8, true, |x, y, w, _| (w - 1 - y, x)),
        (0, false, |x, y, _, _| (x, y)),
        (9, false, |x, y, _, _| (x, y)),
    ];
    each(
        &rows.map(|(value, turned, place)| (value, turned, Hide(place))),
        |(value, turned, place)| {
            let mut exif =
                b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
            exif.extend([*value, 0, 0, 0, 0, 0, 0]);
            let mut file = jpeg.to_vec();
            file.splice(2..2, exif);
            let found = decode(&file).unwrap();
            let size = if *turned {
                (height, width)
            } else {
                (width, height)
            };
            if (found.width(), found.height()) != size {
                return Err(format!("{} x {}", found.width(), found.height()));
            }
            let expected: Vec<u8> = (0..size.1)
                .flat_map(|y| (0..size.0).map(move |x| (x, y)))
                .flat_map(|(x, y)| {
                    let (x, y) = place.0(x, y, width, height);
                    pixel(x, y).to_vec()
                })
                .collect();
            match found.rgb8() == expected {
                true => Ok(()),
                false => Err("the pixels are elsewhere".to_owned()),
            }
        },
    );
}

struct Hide<T>(T);

impl<T> std::fmt::Debug for Hide<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}
