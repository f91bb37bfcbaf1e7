//! What reading a checkpoint may cost.

/// Hard limits of the readers; everything beyond is refused as [`amphora_error::ErrorKind::Limit`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// Size of a safetensors header in bytes.
    pub header_bytes: u64,
    /// Length of a tensor's name in bytes.
    pub name_bytes: usize,
    /// Number of dimensions of a tensor.
    pub rank: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 16 << 30,
            header_bytes: 16 << 20,
            name_bytes: 4096,
            rank: 64,
        }
    }
}
