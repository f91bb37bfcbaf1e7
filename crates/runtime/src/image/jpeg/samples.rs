//! From coefficients to samples, and from samples to colors.

use std::num::Wrapping;

use amphora_error::{Error, Result};

use super::{Frame, damaged};

/// What the components of a picture stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    Gray,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

/// One component of a picture.
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks in a unit, across and down.
    pub(super) factors: [usize; 2],
    /// The number of its quantization table.
    pub(super) table: usize,
    /// That table as it was when the first scan began.
    pub(super) quantizer: Option<[u16; 64]>,
    /// Samples, across and down, without those that only fill up a block.
    size: [usize; 2],
    units: [usize; 2],
    /// Samples of all blocks, row by row.
    plane: Vec<u8>,
    /// Of a progressive picture: the coefficients of all blocks.
    coefficients: Vec<[i16; 64]>,
}

const SIDE: usize = 8;

impl Component {
    pub(super) fn new(
        id: u8,
        factors: [usize; 2],
        table: usize,
        picture: [usize; 2],
        sampling: [usize; 2],
        progressive: bool,
    ) -> Result<Self> {
        if [0, 1]
            .into_iter()
            .any(|axis| !sampling[axis].is_multiple_of(factors[axis]))
        {
            return Err(Error::unsupported(
                "image-color",
                "the components of the JPEG picture are sampled in a way that is not read",
            )
            .expected("factors that divide each other")
            .found(format!("{factors:?} of {sampling:?}")));
        }
        let units = [0, 1].map(|axis| picture[axis].div_ceil(sampling[axis] * SIDE));
        let blocks = units[0] * factors[0] * units[1] * factors[1];
        Ok(Self {
            id,
            factors,
            table,
            quantizer: None,
            size: [0, 1].map(|axis| (picture[axis] * factors[axis]).div_ceil(sampling[axis])),
            units,
            plane: vec![0; blocks * SIDE * SIDE],
            coefficients: match progressive {
                true => vec![[0; 64]; blocks],
                false => Vec::new(),
            },
        })
    }

    /// Blocks across and down that hold samples.
    pub(super) fn blocks(&self) -> [usize; 2] {
        self.size.map(|side| side.div_ceil(SIDE))
    }

    /// Units across and down.
    pub(super) fn units(&self) -> [usize; 2] {
        self.units
    }

    /// Blocks in a row, with those that fill up the last unit.
    fn stride(&self) -> usize {
        self.units[0] * self.factors[0]
    }

    /// The coefficients of the block in a row and a column, of a progressive picture.
    pub(super) fn coefficients(&mut self, [row, column]: [usize; 2]) -> &mut [i16; 64] {
        let place = row * self.stride() + column;
        &mut self.coefficients[place]
    }

    /// Puts the samples of a block into their place.
    pub(super) fn show(&mut self, [row, column]: [usize; 2], block: &[i16; 64]) -> Result<()> {
        let table = self.quantizer.as_ref().ok_or_else(no_quantizer)?;
        let stride = self.stride() * SIDE;
        let rows = self.plane[row * SIDE * stride + column * SIDE..].chunks_mut(stride);
        for (out, samples) in rows.zip(transformed(block, table).as_chunks::<SIDE>().0) {
            out[..SIDE].copy_from_slice(samples);
        }
        Ok(())
    }

    /// Makes sure that all samples are there.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.quantizer.is_none() {
            return Err(no_quantizer());
        }
        let stride = self.stride();
        for (place, block) in std::mem::take(&mut self.coefficients).iter().enumerate() {
            self.show([place / stride, place % stride], block)?;
        }
        Ok(())
    }

    /// A row of the plane, without what fills up its blocks.
    fn line(&self, row: usize) -> &[u8] {
        &self.plane[row * self.stride() * SIDE..][..self.size[0]]
    }

    /// A row of the picture, at least as long as it: the samples, smoothly upsampled by two, or
    /// repeated otherwise, as libjpeg does it. `sums` is room to work in.
    fn upsampled(&self, row: usize, sampling: [usize; 2], sums: &mut Vec<u16>, to: &mut Vec<u8>) {
        let [across, down] = [0, 1].map(|axis| sampling[axis] / self.factors[axis]);
        let near = self.line(row / down);
        let is_smooth = across == 1 || (across == 2 && self.size[0] > 2);
        let beside = match row % 2 {
            0 => (row / 2).saturating_sub(1),
            _ => (row / 2 + 1).min(self.size[1] - 1),
        };
        to.clear();
        match (across, down) {
            (1, 1) => to.extend_from_slice(near),
            (1, 2) => {
                // A half is rounded down in the upper row and up in the lower one.
                let half = 1 + (row % 2) as u16;
                let far = self.line(beside).iter();
                to.extend(near.iter().zip(far).map(|(near, far)| {
                    ((u16::from(*near) * 3 + u16::from(*far) + half) >> 2) as u8
                }));
            }
            (2, 1) if is_smooth => {
                sums.clear();
                sums.extend(near.iter().map(|near| u16::from(*near)));
                widened(sums, [1, 2], 2, to);
            }
            (2, 2) if is_smooth => {
                let far = self.line(beside).iter();
                let sum = |(near, far): (&u8, &u8)| u16::from(*near) * 3 + u16::from(*far);
                sums.clear();
                sums.extend(near.iter().zip(far).map(sum));
                widened(sums, [8, 7], 4, to);
            }
            _ => to.extend(
                near.iter()
                    .flat_map(|near| std::iter::repeat_n(*near, across)),
            ),
        }
    }
}

fn no_quantizer() -> Error {
    damaged("a component comes without samples or without its quantization table")
}

/// Twice as many samples: three quarters of the nearer one and one of the farther; `half` is added to
/// what lies to the left of a sample and to its right, before `shift` bits are dropped.
fn widened(samples: &[u16], half: [u16; 2], shift: u32, to: &mut Vec<u8>) {
    let last = samples.len().saturating_sub(1);
    for (place, sample) in samples.iter().enumerate() {
        let left = samples[place.saturating_sub(1)];
        let right = samples[(place + 1).min(last)];
        to.push(((sample * 3 + left + half[0]) >> shift) as u8);
        to.push(((sample * 3 + right + half[1]) >> shift) as u8);
    }
}

/// The pixels of a picture whose components are complete.
pub(super) fn rgb(frame: &Frame, model: Model) -> Result<Vec<u8>> {
    let width = usize::from(frame.width);
    let height = usize::from(frame.height);
    let mut rgb = vec![0; width * height * 3];
    let mut rows = vec![Vec::new(); frame.components.len()];
    let mut sums = Vec::new();
    for (row, out) in rgb.chunks_exact_mut(width * 3).enumerate() {
        for (component, to) in frame.components.iter().zip(&mut rows) {
            component.upsampled(row, frame.sampling, &mut sums, to);
        }
        let (out, _) = out.as_chunks_mut::<3>();
        match (model, rows.as_slice()) {
            (Model::Gray, [gray]) => {
                for (out, v) in out.iter_mut().zip(gray) {
                    *out = [*v; 3];
                }
            }
            (Model::Rgb | Model::YCbCr, [a, b, c]) => {
                for (out, ((a, b), c)) in out.iter_mut().zip(a.iter().zip(b).zip(c)) {
                    *out = match model {
                        Model::Rgb => [*a, *b, *c],
                        _ => colors(*a, *b, *c),
                    };
                }
            }
            (_, [a, b, c, k]) => {
                let inks = a.iter().zip(b).zip(c).zip(k);
                for (out, (((a, b), c), k)) in out.iter_mut().zip(inks) {
                    // Stored the other way round, as Adobe does it; the transform turns them.
                    let inks = match model {
                        Model::Ycck => colors(*a, *b, *c),
                        _ => [*a, *b, *c].map(|ink| 255 - ink),
                    };
                    *out = inks.map(|ink| k - scaled(ink, *k));
                }
            }
            _ => return Err(damaged("the frame has other components than its colors")),
        }
    }
    Ok(rgb)
}

/// `a * b / 255`, rounded, as Pillow computes it.
fn scaled(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// Red, green and blue (JFIF 1.02), in 16-bit fixed point; red and blue are rounded on their own.
fn colors(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let add = |part: i32| (y + ((part + HALF) >> 16)).clamp(0, 255) as u8;
    [
        add(91_881 * cr),
        add(-22_554 * cb - 46_802 * cr),
        add(116_130 * cb),
    ]
}

type Int = Wrapping<i32>;

/// Bits after the point of the factors.
const POINT: usize = 13;
/// Bits after the point of what the first pass leaves.
const KEPT: usize = 2;

/// The samples of a block: the accurate integer transform of libjpeg, after Loeffler, Ligtenberg and
/// Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications" (1989).
fn transformed(block: &[i16; 64], table: &[u16; 64]) -> [u8; 64] {
    // Out of range only in damaged files: then as narrow as in the vector code of libjpeg-turbo.
    let value = |place: usize| {
        let value = block[place].wrapping_mul(table[place] as i16);
        Wrapping(i32::from(value))
    };
    if block[1..].iter().all(|value| *value == 0) {
        return [sample(value(0), SIDE.ilog2() as usize); 64];
    }
    let mut columns = [[Wrapping(0); SIDE]; SIDE];
    for (x, column) in columns.iter_mut().enumerate() {
        *column = butterfly([0, 1, 2, 3, 4, 5, 6, 7].map(|y| value(y * SIDE + x))).map(|sum| {
            let sum = rounded(sum, POINT - KEPT).0;
            Wrapping(sum.clamp(i16::MIN.into(), i16::MAX.into()))
        });
    }
    let mut samples = [0; 64];
    for (y, row) in samples.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
        *row = butterfly(columns.map(|column| column[y]))
            .map(|sum| sample(sum, POINT + KEPT + SIDE.ilog2() as usize));
    }
    samples
}

fn rounded(value: Int, bits: usize) -> Int {
    (value + Wrapping(1 << (bits - 1))) >> bits
}

/// A sample out of a number with so many bits after the point, around 0.
fn sample(value: Int, bits: usize) -> u8 {
    (rounded(value, bits).0.saturating_add(128)).clamp(0, 255) as u8
}

/// One dimension, times the square root of 8 and 2 to the power of [`POINT`].
fn butterfly(x: [Int; SIDE]) -> [Int; SIDE] {
    let by = |value: Int, factor: i32| value * Wrapping(factor);
    // The even part.
    let common = by(x[2] + x[6], 4433);
    let (low, high) = (common + by(x[2], 6270), common - by(x[6], 15_137));
    let (sum, difference) = ((x[0] + x[4]) << POINT, (x[0] - x[4]) << POINT);
    let even = [sum + low, difference + high, difference - high, sum - low];
    // The odd part.
    let common = by(x[7] + x[3] + x[5] + x[1], 9633);
    let outer = by(x[7] + x[1], -7373);
    let inner = by(x[5] + x[3], -20_995);
    let left = common + by(x[7] + x[3], -16_069);
    let right = common + by(x[5] + x[1], -3196);
    let odd = [
        by(x[1], 12_299) + outer + right,
        by(x[3], 25_172) + inner + left,
        by(x[5], 16_819) + inner + right,
        by(x[7], 2446) + outer + left,
    ];
    let [a, b, c, d] = [0, 1, 2, 3].map(|place| even[place] + odd[place]);
    let [e, f, g, h] = [3, 2, 1, 0].map(|place| even[place] - odd[place]);
    [a, b, c, d, e, f, g, h]
}
