//! What reading a checkpoint may cost.

use amphora_error::{Error, Result};

/// What even the smallest file may take up, in bytes.
const SMALLEST_BUDGET: u64 = 16 << 20;

/// Hard limits of the readers; everything beyond is refused as [`amphora_error::ErrorKind::Limit`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// Size of a safetensors header in bytes.
    pub header_bytes: u64,
    /// Number of tensors.
    pub tensors: usize,
    /// Length of a tensor's name in bytes.
    pub name_bytes: usize,
    /// Number of dimensions of a tensor.
    pub rank: usize,
    /// Number of values in one pickle; every use of a value counts.
    pub pickle_values: usize,
    /// Number of entries in a zip archive.
    pub archive_entries: usize,
    /// How many times the size of the file reading may take up beside it: for compressed entries, for views that
    /// are not contiguous, for foreign byte order. Small files may use 16 MiB.
    pub expansion: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 16 << 30,
            header_bytes: 8 << 20,
            tensors: 100_000,
            name_bytes: 1024,
            rank: 64,
            pickle_values: 4_000_000,
            archive_entries: 1 << 20,
            expansion: 16,
        }
    }
}

impl Limits {
    /// Refuses more tensors than allowed.
    pub(crate) fn check_tensors(&self, found: usize) -> Result<()> {
        if found > self.tensors {
            return Err(Error::limit("tensors", "there are too many tensors")
                .expected(format!("at most {}", self.tensors)));
        }
        Ok(())
    }
}

/// The memory that reading one file may still take up beside the file itself.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
}

impl Budget {
    pub(crate) fn new(file_bytes: usize, limits: &Limits) -> Self {
        let left = (file_bytes as u64).saturating_mul(limits.expansion);
        Self {
            left: left.max(SMALLEST_BUDGET),
        }
    }

    /// An empty buffer with room for `bytes`, if the budget allows it.
    pub(crate) fn buffer(&mut self, bytes: u64) -> Result<Vec<u8>> {
        let refuse = || {
            Error::limit("expansion", "the file expands to too many bytes")
                .expected(format!("at most {} more bytes", self.left))
                .found(format!("{bytes} bytes"))
        };
        let left = self.left.checked_sub(bytes).ok_or_else(refuse)?;
        let size = usize::try_from(bytes).map_err(|_| refuse())?;
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(size).map_err(|_| refuse())?;
        self.left = left;
        Ok(buffer)
    }
}
