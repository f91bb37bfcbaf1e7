//! The table of a sentencepiece model that replaces characters: a double-array trie from strings to
//! offsets into a pool of replacements.

use amphora_error::{Error, Result};

/// Longest sequence of bytes that is looked up; the longest keys in use have 18.
const MAX_KEY: usize = 256;

/// Layout: the size of the trie in bytes (u32, little-endian), the trie (u32 units), then the
/// replacements, each ended by a zero byte.
#[derive(Debug, Clone)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    /// UTF-8, with zero bytes between.
    replacements: String,
}

impl Charsmap {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let parts = bytes.split_first_chunk::<4>().and_then(|(size, rest)| {
            let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
            rest.split_at_checked(size)
                .filter(|_| size.is_multiple_of(4))
        });
        let (trie, pool) = parts.ok_or_else(|| broken("the trie does not fit into it"))?;
        let (units, _) = trie.as_chunks::<4>();
        let replacements =
            std::str::from_utf8(pool).map_err(|_| broken("a replacement is not UTF-8"))?;
        Ok(Self {
            units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(),
            replacements: replacements.to_owned(),
        })
    }

    /// The replacement of the longest key that `text` starts with, and the length of that key in
    /// bytes.
    pub(super) fn longest(&self, text: &str) -> Option<(&str, usize)> {
        let mut found = None;
        let unit = |at: usize| self.units.get(at).copied();
        let mut at = offset(unit(0)?);
        for (index, byte) in text.bytes().take(MAX_KEY).enumerate() {
            at ^= usize::from(byte);
            let Some(here) = unit(at).filter(|here| here & LABEL == u32::from(byte)) else {
                break;
            };
            at ^= offset(here);
            if here & HAS_LEAF != 0 {
                let value = unit(at).map(|leaf| (leaf & VALUE) as usize);
                let rest = value.and_then(|value| self.replacements.get(value..));
                // A key that ends within a character cannot be cut off the text.
                if let Some(rest) = rest.filter(|_| text.is_char_boundary(index + 1)) {
                    found = Some((rest.split('\0').next().unwrap_or_default(), index + 1));
                }
            }
        }
        found
    }
}

/// The bits of one unit of a double array as Darts-clone lays it out.
const HAS_LEAF: u32 = 1 << 8;
const LABEL: u32 = 1 << 31 | 0xff;
const VALUE: u32 = !(1 << 31);

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize
}

fn broken(reason: &str) -> Error {
    Error::malformed(
        "sentencepiece-charsmap",
        format!("the character table of the model is broken: {reason}"),
    )
}
