//! Resampling of 8-bit RGB as the Pillow library does it, bit for bit.

use std::f64::consts::PI;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize};

/// How the pixels of a resized picture are made from those of the original, named and numbered as in
/// Pillow's `Image.Resampling`. All but `nearest` widen their support when a picture shrinks
/// (antialiasing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resample {
    /// 0: the pixel that covers the middle.
    Nearest,
    /// 1: a windowed sinc over three pixels to each side.
    Lanczos,
    /// 2: a triangle over one pixel to each side.
    Bilinear,
    /// 3: cubic convolution (Keys 1981) with `a = -0.5` over two pixels to each side.
    Bicubic,
    /// 4: the mean of the pixels that are covered.
    Box,
    /// 5: a Hamming-windowed sinc over one pixel to each side.
    Hamming,
}

/// The value of a filter at a distance in pixels, and how far it reaches.
type Kernel = (fn(f64) -> f64, f64);

impl Resample {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Nearest, "nearest"),
        (Self::Lanczos, "lanczos"),
        (Self::Bilinear, "bilinear"),
        (Self::Bicubic, "bicubic"),
        (Self::Box, "box"),
        (Self::Hamming, "hamming"),
    ];

    /// The filter of this number in Pillow and in `preprocessor_config.json`.
    pub fn from_number(number: u64) -> Option<Self> {
        let row = Self::ALL.get(usize::try_from(number).ok()?)?;
        Some(row.0)
    }

    /// The filter of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let row = Self::ALL.iter().find(|row| row.1 == name)?;
        Some(row.0)
    }

    /// `None` for `nearest`.
    fn kernel(self) -> Option<Kernel> {
        match self {
            Self::Nearest => None,
            Self::Lanczos => Some((lanczos, 3.0)),
            Self::Bilinear => Some((triangle, 1.0)),
            Self::Bicubic => Some((cubic, 2.0)),
            Self::Box => Some((rectangle, 0.5)),
            Self::Hamming => Some((hamming, 1.0)),
        }
    }
}

impl<'de> Deserialize<'de> for Resample {
    /// From the name or the number.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Number(u64),
            Name(String),
        }
        let found = match Spelled::deserialize(deserializer)? {
            Spelled::Number(number) => Self::from_number(number),
            Spelled::Name(name) => Self::from_name(&name),
        };
        found.ok_or_else(|| {
            serde::de::Error::custom(
                "a resampling filter is nearest, lanczos, bilinear, bicubic, box or hamming",
            )
        })
    }
}

/// One axis of a picture, to be resampled from `from` to `to` pixels, of which only `window` is wanted.
pub(super) struct Axis {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) window: Range<usize>,
}

/// The window of a resized picture; `rgb` and the result are rows of interleaved 8-bit RGB.
///
/// As in Pillow from version 13 on, one axis is resampled and rounded to 8 bits, then the other: first
/// the columns where they lose more than twice as many pixels as the rows do, else the rows, as in all
/// earlier versions.
pub(super) fn resample(rgb: &[u8], across: &Axis, down: &Axis, filter: Resample) -> Vec<u8> {
    let Some(kernel) = filter.kernel() else {
        return nearest(rgb, across, down);
    };
    let (columns, rows) = (taps(across, kernel), taps(down, kernel));
    let lost = |axis: &Axis| axis.from as i64 - axis.to as i64;
    if lost(down) > 0 && lost(down) > 2 * lost(across) {
        let flattened = resample_columns(rgb, across.from, 0, &rows);
        return resample_rows(&flattened, across.from, 0..rows.len(), &columns);
    }
    let first = rows.iter().map(|taps| taps.first).min().unwrap_or(0);
    let last = rows
        .iter()
        .map(|taps| taps.first + taps.weights.len())
        .max()
        .unwrap_or(0);
    let narrowed = resample_rows(rgb, across.from, first..last, &columns);
    resample_columns(&narrowed, columns.len(), first, &rows)
}

/// Makes rows of `columns` out of those `rows` of a picture that is `from` pixels wide.
fn resample_rows(rgb: &[u8], from: usize, rows: Range<usize>, columns: &[Taps]) -> Vec<u8> {
    let stride = from * CHANNELS;
    let width = columns.len() * CHANNELS;
    let mut narrowed = vec![0; rows.len() * width];
    for (row, out) in rows.zip(narrowed.chunks_exact_mut(width.max(1))) {
        let row = &rgb[row * stride..(row + 1) * stride];
        for (taps, out) in columns.iter().zip(out.as_chunks_mut::<CHANNELS>().0) {
            let pixels = row[taps.first * CHANNELS..].as_chunks::<CHANNELS>().0;
            let mut sums = [HALF; CHANNELS];
            for (pixel, weight) in pixels.iter().zip(&taps.weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
                }
            }
            *out = sums.map(rounded);
        }
    }
    narrowed
}

/// Makes `rows` out of a picture that is `width` pixels wide and begins with the row `first`.
fn resample_columns(rgb: &[u8], width: usize, first: usize, rows: &[Taps]) -> Vec<u8> {
    let width = width * CHANNELS;
    let mut resized = vec![0; rows.len() * width];
    let mut sums = vec![HALF; width];
    for (taps, out) in rows.iter().zip(resized.chunks_exact_mut(width.max(1))) {
        sums.fill(HALF);
        let inputs = rgb[(taps.first - first) * width..].chunks_exact(width.max(1));
        for (row, weight) in inputs.zip(&taps.weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
            }
        }
        for (out, sum) in out.iter_mut().zip(&sums) {
            *out = rounded(*sum);
        }
    }
    resized
}

const CHANNELS: usize = 3;
/// Bits after the point of a weight: 32, less 8 for the value, less 2 because filters overshoot.
const PRECISION: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (PRECISION - 1);

fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// The weights, in fixed point, of the input pixels from `first` on that make one output pixel.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

fn taps(axis: &Axis, (kernel, support): Kernel) -> Vec<Taps> {
    let scale = axis.from as f64 / axis.to as f64;
    let widened = scale.max(1.0);
    let support = support * widened;
    let inverse = 1.0 / widened;
    axis.window
        .clone()
        .map(|place| {
            let center = (place as f64 + 0.5) * scale;
            // Casts truncate towards zero and saturate there, as the original means them to.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(axis.from);
            let weights: Vec<f64> = (first..end)
                .map(|x| kernel((x as f64 - center + 0.5) * inverse))
                .collect();
            let total: f64 = weights.iter().sum();
            let share = |weight: f64| if total == 0.0 { weight } else { weight / total };
            let fixed = |weight: &f64| {
                let scaled = share(*weight) * f64::from(1 << PRECISION);
                (scaled + 0.5_f64.copysign(scaled)) as i32
            };
            Taps {
                first,
                weights: weights.iter().map(fixed).collect(),
            }
        })
        .collect()
}

fn nearest(rgb: &[u8], across: &Axis, down: &Axis) -> Vec<u8> {
    let (columns, rows) = (middles(across), middles(down));
    let mut resized = Vec::with_capacity(columns.len() * rows.len() * CHANNELS);
    for row in rows {
        let row = &rgb[row * across.from * CHANNELS..];
        for column in &columns {
            resized.extend_from_slice(&row[column * CHANNELS..][..CHANNELS]);
        }
    }
    resized
}

/// The input pixel at the middle of each output pixel. The position is summed up step by step, as
/// Pillow does: its rounding decides between neighbors.
fn middles(axis: &Axis) -> Vec<usize> {
    // Pillow holds the corners of the picture as float32.
    let step = f64::from(axis.from as f32) / axis.to as f64;
    let mut position = step * 0.5;
    let mut middles = Vec::with_capacity(axis.window.len());
    for place in 0..axis.window.end {
        if place >= axis.window.start {
            middles.push((position as usize).min(axis.from - 1));
        }
        position += step;
    }
    middles
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn rectangle(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    if (-3.0..3.0).contains(&x) {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * PI;
    x.sin() / x
}

fn hamming(x: f64) -> f64 {
    let x = x.abs();
    if x == 0.0 {
        1.0
    } else if x >= 1.0 {
        0.0
    } else {
        let x = x * PI;
        // Both are float32 in Pillow.
        let [base, swing] = [0.54_f32, 0.46].map(f64::from);
        x.sin() / x * (base + swing * x.cos())
    }
}
