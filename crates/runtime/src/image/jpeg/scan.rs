//! One pass over the coefficients of some components.

use amphora_error::Result;

use super::huffman::{Bits, Table};
use super::samples::Component;
use super::{Decoder, ZIGZAG, damaged, truncated};

/// The coefficients that a scan holds, and how exactly.
struct Band {
    first: usize,
    last: usize,
    /// Bits below those of this scan.
    low: u32,
    /// Whether bits above them came before.
    refines: bool,
}

/// A component of a scan, with its code tables.
struct Part<'a> {
    component: &'a mut Component,
    dc: Option<&'a Table>,
    ac: Option<&'a Table>,
    /// The DC coefficient of the block before.
    before: i32,
}

impl Decoder {
    pub(super) fn scan(&mut self, payload: &[u8], coded: &[u8]) -> Result<()> {
        let frame = self.frame.as_mut();
        let frame = frame.ok_or_else(|| damaged("a scan comes before the frame"))?;
        let count = usize::from(payload.first().copied().ok_or_else(truncated)?);
        let stated = payload.get(1..1 + 2 * count).ok_or_else(truncated)?;
        let band = payload.get(1 + 2 * count..4 + 2 * count);
        let band = Band::read(band.ok_or_else(truncated)?, frame.progressive, count)?;

        let mut parts = Vec::with_capacity(count);
        let mut components: Vec<Option<&mut Component>> =
            frame.components.iter_mut().map(Some).collect();
        for [id, tables] in stated.as_chunks::<2>().0 {
            let mut places = components.iter_mut();
            let place = places.find(|place| place.as_ref().is_some_and(|part| part.id == *id));
            let component = place.and_then(Option::take);
            let component = component.ok_or_else(|| damaged("a scan names no component"))?;
            if component.quantizer.is_none() {
                component.quantizer = self.quantizers.get(component.table).copied().flatten();
            }
            let table = |kind: usize, id: u8| self.tables[kind].get(usize::from(id))?.as_ref();
            parts.push(Part {
                component,
                dc: table(0, tables >> 4),
                ac: table(1, tables & 15),
                before: 0,
            });
        }
        // Blocks of one component alone lie row by row, without those that only fill up a unit.
        let alone = parts.len() == 1;
        let Some(first) = parts.first() else {
            return Err(damaged("a scan names no component"));
        };
        let [across, down] = match alone {
            true => first.component.blocks(),
            false => first.component.units(),
        };
        let mut bits = Bits::new(coded);
        let mut run = 0;
        for unit in 0..across * down {
            if unit.is_multiple_of(across) {
                bits.check()?;
            }
            if self.interval > 0 && unit > 0 && unit.is_multiple_of(self.interval as usize) {
                bits.restart(unit as u32 / self.interval - 1)?;
                run = 0;
                for part in &mut parts {
                    part.before = 0;
                }
            }
            let [row, column] = [unit / across, unit % across];
            for part in &mut parts {
                let [h, v] = match alone {
                    true => [1, 1],
                    false => part.component.factors,
                };
                for (y, x) in (0..v).flat_map(|y| (0..h).map(move |x| (y, x))) {
                    let place = [row * v + y, column * h + x];
                    match frame.progressive {
                        true => part.refine(&mut bits, &band, place, &mut run)?,
                        false => part.block(&mut bits, place)?,
                    }
                }
            }
        }
        bits.check()
    }
}

impl Band {
    fn read(stated: &[u8], progressive: bool, components: usize) -> Result<Self> {
        let &[first, last, bits] = stated else {
            return Err(truncated());
        };
        if !progressive {
            return Ok(Self {
                first: 0,
                last: 63,
                low: 0,
                refines: false,
            });
        }
        let [high, low] = [bits >> 4, bits & 15];
        let one_by_one = first > 0 && components == 1 && last >= first && last < 64;
        let exact = low <= 13 && (high == 0 || high == low + 1);
        if !(one_by_one || (first, last) == (0, 0)) || !exact {
            return Err(damaged("a scan holds no such coefficients"));
        }
        Ok(Self {
            first: first.into(),
            last: last.into(),
            low: low.into(),
            refines: high > 0,
        })
    }
}

impl Part<'_> {
    fn dc(&mut self, bits: &mut Bits<'_>) -> Result<i32> {
        let table = self.dc.ok_or_else(no_table)?;
        let size = u32::from(bits.symbol(table)?);
        if size > 15 {
            return Err(damaged("a coefficient is too large"));
        }
        self.before = self.before.wrapping_add(bits.signed(size));
        Ok(self.before)
    }

    /// All coefficients of a block.
    fn block(&mut self, bits: &mut Bits<'_>, place: [usize; 2]) -> Result<()> {
        let mut block = [0_i16; 64];
        block[0] = self.dc(bits)? as i16;
        let table = self.ac.ok_or_else(no_table)?;
        let mut k = 1;
        while k < 64 {
            let symbol = bits.symbol(table)?;
            let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if zeros < 15 {
                    break;
                }
                k += 16;
                continue;
            }
            k += zeros;
            let place = ZIGZAG.get(k).ok_or_else(beyond)?;
            block[*place] = bits.signed(size) as i16;
            k += 1;
        }
        self.component.show(place, &block)
    }

    /// What a scan of a progressive picture adds to a block; `run` blocks more have nothing to add.
    fn refine(
        &mut self,
        bits: &mut Bits<'_>,
        band: &Band,
        place: [usize; 2],
        run: &mut u32,
    ) -> Result<()> {
        match (band.first, band.refines) {
            (0, false) => {
                let value = self.dc(bits)? << band.low;
                self.component.coefficients(place)[0] = value as i16;
            }
            (0, true) => {
                if bits.bit() {
                    self.component.coefficients(place)[0] |= 1 << band.low;
                }
            }
            (_, refines) => {
                let table = self.ac.ok_or_else(no_table)?;
                let block = self.component.coefficients(place);
                match refines {
                    false => first_bits(bits, table, band, block, run)?,
                    true => next_bits(bits, table, band, block, run)?,
                }
            }
        }
        Ok(())
    }
}

fn no_table() -> amphora_error::Error {
    damaged("a scan names a code table that is not there")
}

fn beyond() -> amphora_error::Error {
    damaged("a block has more than 64 coefficients")
}

/// How many blocks, this one included, have no more coefficients in a band.
fn end_of_band(bits: &mut Bits<'_>, zeros: usize) -> u32 {
    (1 << zeros) + bits.take(zeros as u32)
}

fn first_bits(
    bits: &mut Bits<'_>,
    table: &Table,
    band: &Band,
    block: &mut [i16; 64],
    run: &mut u32,
) -> Result<()> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut k = band.first;
    while k <= band.last {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                *run = end_of_band(bits, zeros) - 1;
                break;
            }
            k += 16;
            continue;
        }
        k += zeros;
        let place = ZIGZAG.get(k).ok_or_else(beyond)?;
        block[*place] = (bits.signed(size) << band.low) as i16;
        k += 1;
    }
    Ok(())
}

fn next_bits(
    bits: &mut Bits<'_>,
    table: &Table,
    band: &Band,
    block: &mut [i16; 64],
    run: &mut u32,
) -> Result<()> {
    let step = 1_i16 << band.low;
    let refine = |bits: &mut Bits<'_>, value: &mut i16| {
        if bits.bit() && *value & step == 0 {
            *value = value.wrapping_add(if *value > 0 { step } else { -step });
        }
    };
    let mut k = band.first;
    while *run == 0 && k <= band.last {
        let symbol = bits.symbol(table)?;
        let (mut zeros, size) = (usize::from(symbol >> 4), symbol & 15);
        if size == 0 && zeros < 15 {
            *run = end_of_band(bits, zeros);
            break;
        }
        let new = match (size, size > 0 && bits.bit()) {
            (0, _) => 0,
            (_, true) => step,
            (_, false) => -step,
        };
        // A coefficient that is new comes after so many that stay zero.
        while k <= band.last {
            let value = &mut block[ZIGZAG[k]];
            if *value != 0 {
                refine(bits, value);
            } else if zeros == 0 {
                *value = new;
                break;
            } else {
                zeros -= 1;
            }
            k += 1;
        }
        k += 1;
    }
    if *run > 0 {
        for place in ZIGZAG.get(k..=band.last).unwrap_or_default() {
            if block[*place] != 0 {
                refine(bits, &mut block[*place]);
            }
        }
        *run -= 1;
    }
    Ok(())
}
