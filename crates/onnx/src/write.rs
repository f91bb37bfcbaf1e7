//! Writing models: always the same bytes for the same model.
//!
//! Protocol buffers end at 2 GiB, so the weights of larger models live in a second file beside the
//! model. That file is laid out here: every payload starts on a page boundary (4096 bytes, as the
//! ONNX documentation of external data recommends), so that engines can map single tensors, and every
//! reference gives location, offset and length, without which some engines refuse it.
//!
//! Fields that `onnx.proto3` does not define are not kept when a decoded model is written again.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use amphora_error::{Error, Result};
use amphora_files::{RelativePath, durable};
use bytes::Bytes;
use prost::Message as _;

use crate::external::Reference;
use crate::proto::{ModelProto, TensorProto};
use crate::visit::{self, Role};
use crate::{Dtype, Model};

/// Weights up to this many bytes stay inside a stand-alone model file. It leaves room for the graph
/// below the 2 GiB at which protocol buffers end.
pub const STAND_ALONE_INLINE_LIMIT: u64 = 2_000_000_000;
/// Largest encoded message, in bytes.
const LARGEST_MESSAGE: usize = (1 << 31) - 1;
/// Payloads below this many bytes stay inside. Constants that shape inference reads (at most one
/// 8-byte number per dimension, at most 64 dimensions) are smaller.
const SMALLEST_MOVED: usize = 1024;
/// Every payload in a data file starts at a multiple of this many bytes.
const ALIGNMENT: u64 = 4096;

/// The encoded model. Fields are written in the order of their numbers, so that the same model always
/// gives the same bytes.
pub fn to_bytes(proto: &ModelProto) -> Vec<u8> {
    proto.encode_to_vec()
}

/// A model that needs no file but its own.
#[derive(Debug, Clone)]
pub struct SelfContained {
    /// The content of the model file.
    pub graph: Bytes,
    /// The content of the data file, if weights were moved there.
    pub data: Option<DataFile>,
}

/// The content of a data file: payloads at aligned offsets, zeros between them.
#[derive(Debug, Clone, Default)]
pub struct DataFile {
    payloads: Vec<(u64, Bytes)>,
    len: u64,
    /// Where payloads lie already, by address and length: tensors that share bytes share them here.
    known: HashMap<(usize, usize), u64>,
}

/// Equal where the content is.
impl PartialEq for DataFile {
    fn eq(&self, other: &Self) -> bool {
        self.payloads == other.payloads
    }
}

impl DataFile {
    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes the whole file.
    ///
    /// # Errors
    ///
    /// Those of `target`.
    pub fn write_to(&self, target: &mut dyn Write) -> std::io::Result<()> {
        let mut written = 0;
        for (offset, payload) in &self.payloads {
            // The gap is smaller than the alignment.
            let gap = [0; ALIGNMENT as usize];
            let padding = usize::try_from(offset - written).unwrap_or(0);
            target.write_all(&gap[..padding.min(gap.len())])?;
            target.write_all(payload)?;
            written = offset + payload.len() as u64;
        }
        Ok(())
    }

    /// The whole file in memory.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = self.write_to(&mut bytes);
        bytes.into()
    }

    /// Adds a payload and returns its offset.
    fn add(&mut self, payload: Bytes) -> u64 {
        let identity = (payload.as_ptr() as usize, payload.len());
        if let Some(offset) = self.known.get(&identity) {
            return *offset;
        }
        let offset = self.len.next_multiple_of(ALIGNMENT);
        self.len = offset + payload.len() as u64;
        self.known.insert(identity, offset);
        self.payloads.push((offset, payload));
        offset
    }
}

/// The files of a model that refers to no others.
///
/// Up to `inline_limit` bytes of weights stay inside the model file; a model that was read that way
/// is kept byte for byte. Beyond, the larger initializers of the main graph move to a data file named
/// `data_file_name` (engines want a plain name with an extension that begins with `data`, as in
/// `model.onnx.data`); what is small or sits in attributes and sub-graphs stays inside.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Limit`] when what must stay inside exceeds 2 GiB;
/// [`amphora_error::ErrorKind::Malformed`] when `data_file_name` is not a plain file name.
pub fn self_contained(
    model: &Model,
    data_file_name: &str,
    inline_limit: u64,
) -> Result<SelfContained> {
    let location = RelativePath::parse(data_file_name)?;
    if location.components().count() > 1 {
        return Err(
            Error::malformed("data-file-name", "the data file lies beside the model")
                .expected("a plain file name")
                .found(data_file_name),
        );
    }
    let move_weights = weight_bytes(model)? > inline_limit;
    if let Some(bytes) = model.bytes()
        && !move_weights
        && model.external_files().is_empty()
    {
        return Ok(SelfContained {
            graph: bytes.clone(),
            data: None,
        });
    }
    let mut proto = model.proto().clone();
    let mut data = DataFile::default();
    // Initializers of sub-graphs and functions have the same role; the main graph's come first.
    let mut of_main_graph = proto
        .graph
        .as_ref()
        .map_or(0, |graph| graph.initializer.len());
    visit::tensors_mut(&mut proto, &mut |place, role, tensor| {
        let movable = move_weights && role == Role::Initializer && of_main_graph > 0;
        of_main_graph = of_main_graph.saturating_sub(1);
        relocate(model, tensor, movable.then_some((&location, &mut data)))
            .map_err(|error| error.at(place.of_tensor(tensor.name())))
    })?;
    let size = proto.encoded_len();
    if size > LARGEST_MESSAGE {
        return Err(
            Error::limit("file-size", "the model does not fit into one file")
                .expected(format!(
                    "at most {LARGEST_MESSAGE} bytes beside the data file"
                ))
                .found(format!("{size} bytes")),
        );
    }
    Ok(SelfContained {
        graph: to_bytes(&proto).into(),
        data: (!data.is_empty()).then_some(data),
    })
}

/// Puts the payload of one tensor into the data file, or inside the tensor if it is elsewhere.
fn relocate(
    model: &Model,
    tensor: &mut TensorProto,
    target: Option<(&RelativePath, &mut DataFile)>,
) -> Result<()> {
    if tensor.data_type == Some(Dtype::String.to_onnx()) {
        return Ok(());
    }
    let external = tensor.data_location == Some(TensorProto::LOCATION_EXTERNAL);
    if target.is_none() && !external {
        return Ok(());
    }
    let payload = model.tensor_bytes(tensor)?;
    match target {
        Some((location, data)) if payload.len() >= SMALLEST_MOVED => {
            let reference = Reference {
                location: location.clone(),
                length: Some(payload.len() as u64),
                offset: data.add(payload),
                checksum: None,
            };
            *tensor = TensorProto {
                dims: std::mem::take(&mut tensor.dims),
                data_type: tensor.data_type,
                name: tensor.name.take(),
                doc_string: tensor.doc_string.take(),
                metadata_props: std::mem::take(&mut tensor.metadata_props),
                external_data: reference.entries(),
                data_location: Some(TensorProto::LOCATION_EXTERNAL),
                ..TensorProto::default()
            };
        }
        _ if external => {
            tensor.external_data.clear();
            tensor.data_location = None;
            tensor.raw_data = Some(payload);
        }
        _ => {}
    }
    Ok(())
}

/// Bytes of all payloads, strings excluded.
fn weight_bytes(model: &Model) -> Result<u64> {
    let mut total = 0_u64;
    visit::tensors(model.proto(), &mut |_, _, tensor| {
        let layout = crate::tensor::layout(tensor, model.limits())?;
        total = total.saturating_add(layout.bytes);
        Ok(())
    })?;
    Ok(total)
}

/// Writes a stand-alone model to `path`, atomically and durably.
///
/// Weights go to a file `PATH.data` beside it when they exceed [`STAND_ALONE_INLINE_LIMIT`], or on
/// request with `data_file`. The data file is made durable before the model that refers to it appears.
///
/// # Errors
///
/// Those of [`self_contained`] and of writing; [`amphora_error::ErrorKind::Usage`] when `path` does
/// not end in a file name.
pub fn save(model: &Model, path: &Path, data_file: bool) -> Result<()> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| {
            Error::usage("file-name", "this path does not end in a file name").in_file(path)
        })?;
    let data_name = format!("{name}.data");
    let inline_limit = if data_file {
        0
    } else {
        STAND_ALONE_INLINE_LIMIT
    };
    let files = self_contained(model, &data_name, inline_limit)?;
    if let Some(data) = &files.data {
        let target = path.with_file_name(&data_name);
        durable::write_file_with(&target, &mut |file| data.write_to(file))?;
    }
    durable::write_file(path, &files.graph)
}
