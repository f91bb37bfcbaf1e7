//! The limits on what is read, in one place.

/// How large, deep and numerous the parts of a model may be.
///
/// Every limit is checked before memory is spent on what it bounds. The defaults are far above what
/// published models use, and keep the cost of any file below 100 MB to a second and half a gigabyte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the model file. Protocol buffers end at 2 GiB - 1; larger models keep their weights
    /// in external data.
    pub file_bytes: u64,
    /// Bytes of all external data files together, and of all tensors in them.
    pub external_bytes: u64,
    /// Bytes of external data that are read into memory. The files beyond are opened, and every
    /// reference is compared with their sizes, but their content is left where it is: for callers
    /// that ask what a model is and do not run it.
    pub external_read_bytes: u64,
    /// Messages in the model file: nodes, attributes, tensors, types, dimensions, and every field
    /// that is unknown.
    pub messages: u64,
    /// Messages inside one another, the model itself included. The decoder's own bound is 100, so
    /// that a higher value changes nothing.
    pub nesting: usize,
    /// Bytes of memory that the decoded model may take beyond the size of its file. Two bytes of
    /// file can become hundreds of bytes of memory; payloads are borrowed and count nothing.
    pub decoded_bytes: u64,
    /// Nodes in all graphs and functions together.
    pub nodes: u64,
    /// Dimensions of one tensor or value (ONNX Runtime: 64).
    pub rank: usize,
    /// Elements of one tensor.
    pub elements: u64,
    /// Bytes of one name: of a value, a node, an operator, a dimension, a key.
    pub name_bytes: usize,
    /// Bytes of constants that may be computed while shapes are inferred.
    pub folded_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: (1 << 31) - 1,
            external_bytes: 16 << 30,
            external_read_bytes: u64::MAX,
            messages: 5_000_000,
            nesting: 100,
            decoded_bytes: 256 << 20,
            nodes: 1_000_000,
            rank: 64,
            elements: 1 << 33,
            name_bytes: 4096,
            folded_bytes: 64 << 20,
        }
    }
}
