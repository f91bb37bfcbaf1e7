//! Bits and the codes made of them.

use amphora_error::Result;

use super::{damaged, marker};

/// Codes up to this length are looked up at once.
const SHORT: u32 = 9;
/// The longest code.
const LONGEST: u32 = 16;

/// A table of codes for symbols of one byte.
pub(super) struct Table {
    /// By the next [`SHORT`] bits: the length of the code and its symbol; 0 for a longer one.
    short: Vec<(u8, u8)>,
    /// For each length: the first number behind its codes, and where the symbol of code 0 would be.
    lengths: [(i32, i32); LONGEST as usize + 1],
    symbols: Vec<u8>,
}

impl Table {
    /// The table with `counts[n]` codes of `n + 1` bits, given out in order.
    pub(super) fn new(counts: &[u8; LONGEST as usize], symbols: &[u8]) -> Result<Self> {
        let mut table = Self {
            short: vec![(0, 0); 1 << SHORT],
            lengths: [(0, 0); LONGEST as usize + 1],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut place) = (0_i32, 0_i32);
        for (length, count) in (1..).zip(counts) {
            let end = code + i32::from(*count);
            if end > 1 << length {
                return Err(damaged("a code table has more codes than there can be"));
            }
            table.lengths[length as usize] = (end, place - code);
            if length <= SHORT {
                let spread = 1 << (SHORT - length);
                let first = code as usize * spread;
                let symbols = symbols[place as usize..].iter().take(usize::from(*count));
                let slots = table.short[first..].chunks_exact_mut(spread);
                for (slots, symbol) in slots.zip(symbols) {
                    slots.fill((length as u8, *symbol));
                }
            }
            place += i32::from(*count);
            code = end << 1;
        }
        Ok(table)
    }
}

/// The bits of coded data; zeros follow the last one, or the one before a restart.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
    /// Zeros among the bits held or given out that no byte stands for.
    made_up: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            held: 0,
            count: 0,
            made_up: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0x00)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), Some(0xff)) => {
                    self.at += 1;
                    continue;
                }
                (Some(byte), _) if *byte != 0xff => {
                    self.at += 1;
                    *byte
                }
                _ => {
                    self.made_up = self.made_up.saturating_add(8);
                    0
                }
            };
            self.held = (self.held << 8) | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next bits, up to 16 of them, which stay.
    fn peek(&mut self, count: u32) -> u32 {
        if self.count < count {
            self.fill();
        }
        (self.held >> (self.count - count)) as u32 & ((1 << count) - 1)
    }

    /// The next bits, up to 16 of them.
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let bits = self.peek(count);
        self.count -= count;
        bits
    }

    pub(super) fn bit(&mut self) -> bool {
        self.take(1) == 1
    }

    /// A number of so many bits, where those that begin with 0 are the negative ones.
    pub(super) fn signed(&mut self, count: u32) -> i32 {
        let bits = self.take(count) as i32;
        match count > 0 && bits < 1 << (count - 1) {
            true => bits - (1 << count) + 1,
            false => bits,
        }
    }

    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8> {
        let next = self.peek(LONGEST);
        let (length, symbol) = table.short[(next >> (LONGEST - SHORT)) as usize];
        if length > 0 {
            self.count -= u32::from(length);
            return Ok(symbol);
        }
        for length in SHORT + 1..=LONGEST {
            let code = (next >> (LONGEST - length)) as i32;
            let (end, offset) = table.lengths[length as usize];
            if code < end {
                self.count -= length;
                let symbol = table.symbols.get((code + offset) as usize);
                return symbol
                    .copied()
                    .ok_or_else(|| damaged("a code stands for nothing"));
            }
        }
        Err(damaged("a code stands for nothing"))
    }

    /// That no more bits were given out than there are.
    pub(super) fn check(&self) -> Result<()> {
        match self.made_up > self.count {
            true => Err(damaged("the coded data breaks off")),
            false => Ok(()),
        }
    }

    /// Goes on behind the restart marker of this number.
    pub(super) fn restart(&mut self, number: u32) -> Result<()> {
        self.check()?;
        let rest = &self.data[self.at..];
        let found = rest
            .array_windows()
            .position(|[escape, kind]| *escape == 0xff && marker::RESTARTS.contains(kind));
        match found.map(|place| (place, rest[place + 1])) {
            Some((place, kind)) if u32::from(kind & 7) == number % 8 => {
                *self = Self {
                    at: self.at + place + 2,
                    ..Self::new(self.data)
                };
                Ok(())
            }
            _ => Err(damaged("a restart is missing")),
        }
    }
}
