//! A model in memory: decoded, checked for size, its external data at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use amphora_error::{Error, Result};
use amphora_files::{Directory, OpenedFile, RelativePath};
use bytes::Bytes;
use prost::Message as _;

use crate::external::{self, Source};
use crate::prescan::prescan;
use crate::proto::{ModelProto, TensorProto};
use crate::visit::{self, Role};
use crate::{Dtype, Limits, sniff, tensor};

/// An ONNX model whose bytes nobody else can change.
///
/// Every way of making one goes through the same checks: the wire format within [`Limits`], every
/// tensor's dtype, shape and single payload, every external range inside a file that was opened once.
/// Whether the graph makes sense (names, order, operators) is a question for `check`.
#[derive(Clone)]
pub struct Model {
    proto: ModelProto,
    bytes: Option<Bytes>,
    external: BTreeMap<String, Bytes>,
    unread: BTreeSet<String>,
    limits: Limits,
}

impl Model {
    /// Reads a model file that a person named; its external data is looked for beneath the file's
    /// directory.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::NotFound`] when a file is missing,
    /// [`amphora_error::ErrorKind::Malformed`] when it is no model or external data breaks a rule,
    /// [`amphora_error::ErrorKind::Limit`] beyond `limits`, always with file and tensor.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let bytes = OpenedFile::open(path)?.contents(limits.file_bytes)?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let directory = Directory::open(parent)?;
        let source = Source::Directory(&directory);
        Self::decode(bytes, &source, limits).map_err(|error| error.in_file(path))
    }

    /// Reads a model file that a manifest named; its external data lies beside it or deeper.
    ///
    /// # Errors
    ///
    /// As [`Model::open`], and [`amphora_error::ErrorKind::Malformed`] when links or special files
    /// are on the way.
    pub fn open_in(directory: &Directory, path: &RelativePath, limits: &Limits) -> Result<Self> {
        let file = directory.open_file(path)?;
        let bytes = file.contents(limits.file_bytes)?;
        let beside = match path.as_str().rsplit_once('/') {
            None => None,
            Some((parent, _)) => Some(directory.open_directory(&RelativePath::parse(parent)?)?),
        };
        let source = Source::Directory(beside.as_ref().unwrap_or(directory));
        Self::decode(bytes, &source, limits).map_err(|error| error.in_file(file.path()))
    }

    /// Decodes a model in memory, with its external data in a directory if it may have any.
    ///
    /// # Errors
    ///
    /// As [`Model::open`]; [`amphora_error::ErrorKind::NotFound`] when the model refers to external
    /// data and no directory is given.
    pub fn from_bytes(
        bytes: Bytes,
        external_data_in: Option<&Directory>,
        limits: &Limits,
    ) -> Result<Self> {
        let source = external_data_in.map_or(Source::Nowhere, Source::Directory);
        Self::decode(bytes, &source, limits)
    }

    /// Decodes a model from files whose content is in memory (and was verified) already; `external`
    /// is keyed by location as the model writes it.
    ///
    /// # Errors
    ///
    /// As [`Model::from_bytes`].
    pub fn from_parts(
        bytes: Bytes,
        external: BTreeMap<String, Bytes>,
        limits: &Limits,
    ) -> Result<Self> {
        Self::decode(bytes, &Source::Memory(external), limits)
    }

    /// Takes a model that was built or edited in memory, its weights inside.
    ///
    /// # Errors
    ///
    /// As [`Model::from_bytes`] without a directory.
    pub fn from_proto(proto: ModelProto, limits: &Limits) -> Result<Self> {
        Self::checked(proto, None, &Source::Nowhere, limits)
    }

    fn decode(bytes: Bytes, source: &Source<'_>, limits: &Limits) -> Result<Self> {
        let size = bytes.len() as u64;
        if size > limits.file_bytes {
            return Err(Error::limit("file-size", "the model is too large")
                .expected(format!("at most {} bytes", limits.file_bytes))
                .found(format!("{size} bytes")));
        }
        sniff::refuse_other_formats(&bytes)?;
        prescan(&bytes, limits)?;
        // Decoding from `Bytes` rather than from a slice lets payloads borrow from it.
        let proto = ModelProto::decode(bytes.clone()).map_err(undecodable)?;
        Self::checked(proto, Some(bytes), source, limits)
    }

    fn checked(
        proto: ModelProto,
        bytes: Option<Bytes>,
        source: &Source<'_>,
        limits: &Limits,
    ) -> Result<Self> {
        if proto.graph.is_none() {
            let message = "not a valid ONNX model: it has no graph";
            return Err(Error::malformed("graph-missing", message));
        }
        let mut external = BTreeMap::new();
        let mut unread = BTreeSet::new();
        for (location, content) in external::resolve(&proto, source, limits)? {
            match content {
                Some(bytes) => drop(external.insert(location, bytes)),
                None => drop(unread.insert(location)),
            }
        }
        Ok(Self {
            proto,
            bytes,
            external,
            unread,
            limits: limits.clone(),
        })
    }

    /// The decoded messages. External data stays where it is: see [`Model::tensor_bytes`].
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// The bytes that the model was decoded from; absent for a model made in memory.
    pub fn bytes(&self) -> Option<&Bytes> {
        self.bytes.as_ref()
    }

    /// The content of every file that a tensor refers to, by location as the model writes it.
    pub fn external_files(&self) -> &BTreeMap<String, Bytes> {
        &self.external
    }

    /// The files that tensors refer to and that were not read, being larger than
    /// [`Limits::external_read_bytes`].
    pub fn unread_files(&self) -> &BTreeSet<String> {
        &self.unread
    }

    /// The limits that the model was read under.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The payload of a tensor of this model, whatever field or file it lives in: little-endian,
    /// densely packed, row-major. Borrowed where possible; not aligned for its dtype.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Unsupported`] for a string tensor (its strings are in
    /// `string_data`); [`amphora_error::ErrorKind::NotFound`] for a tensor of another model whose
    /// file this one does not have.
    pub fn tensor_bytes(&self, tensor: &TensorProto) -> Result<Bytes> {
        let Some(reference) = external::reference(tensor)? else {
            return tensor::inline_bytes(tensor);
        };
        let location = reference.location.as_str();
        let file = self.external.get(location).ok_or_else(|| {
            let message = "the external data file is not part of this model";
            Error::not_found("external-data-missing", message).in_file(location)
        })?;
        let size = tensor::layout(tensor, &self.limits)?.bytes;
        let range = external::range(&reference, size, file.len() as u64)?;
        Ok(file.slice(range))
    }

    /// How many values of the floating-point initializers (binary16, bfloat16, binary32, binary64)
    /// are NaN or infinite. Reads every weight. A scalar is not a weight but a constant of the
    /// computation, such as the minus infinity of an attention mask, and does not count. Weights in
    /// files that were not read count as finite: see [`Model::unread_files`].
    pub fn nonfinite_weights(&self) -> u64 {
        let mut count = 0;
        // Neither the walk nor a payload that was read can fail: both were checked when the model was made.
        let _ = visit::tensors(&self.proto, &mut |_, role, tensor| {
            let dtype = Dtype::from_onnx(tensor.data_type.unwrap_or(0))?;
            let float = matches!(
                dtype,
                Dtype::Float16 | Dtype::Bfloat16 | Dtype::Float32 | Dtype::Float64
            );
            let weight = matches!(role, Role::Initializer | Role::SparseValues);
            if float && weight && !tensor.dims.is_empty() {
                let bytes = self.tensor_bytes(tensor).unwrap_or_default();
                count += tensor::nonfinite(dtype, &bytes);
            }
            Ok(())
        });
        count
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let graph = self.proto.graph.as_ref();
        f.debug_struct("Model")
            .field("graph", &graph.and_then(|graph| graph.name.as_deref()))
            .field("nodes", &graph.map_or(0, |graph| graph.node.len()))
            .field("external_files", &self.external.len())
            .finish_non_exhaustive()
    }
}

/// What the pre-scan left for the decoder to find. Its text begins with the path of fields, which
/// can be kilobytes long.
fn undecodable(source: prost::DecodeError) -> Error {
    let text = source.to_string();
    let reason = text.rsplit(": ").next().unwrap_or(&text);
    Error::malformed("protobuf", format!("not a valid ONNX model: {reason}"))
}
