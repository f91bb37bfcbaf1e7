//! TensorFlow SavedModel directories: what goes in and what comes out, by their signatures.
//!
//! Only the signature definitions of `saved_model.pb` are read. The graph is skipped without being
//! decoded, and no TensorFlow is needed. Field numbers are those of `saved_model.proto`,
//! `meta_graph.proto` and `tensor_shape.proto`, types those of `types.proto` (TensorFlow 2.15).

mod wire;

use std::collections::BTreeMap;
use std::path::Path;

use amphora_error::{Error, Result, quoted};
use amphora_files::{Digest, OpenedFile, sha256};

use self::wire::{Fields, Value, damaged};
use crate::Limits;

/// Its form as text, which is not read.
const TEXT_FILE: &str = "saved_model.pbtxt";
/// A signature that every SavedModel of TensorFlow 2 has, which is no function of the model.
const INIT: &str = "__saved_model_init_op";
/// The tag of the graph that is for serving.
const SERVE: &str = "serve";

/// Largest file: protocol buffers end there.
const MAX_BYTES: u64 = (1 << 31) - 1;
/// Most signatures of a graph, and most tensors of a signature.
const MAX_ENTRIES: usize = 4096;

/// The signatures of a SavedModel.
///
/// ```
/// use amphora_checkpoint::{Limits, SavedModel};
///
/// // A field that holds bytes: its number, their length, they themselves.
/// let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
/// let entry = |key: &str, value: &[u8]| [field(1, key.as_bytes()), field(2, value)].concat();
/// // The tensor `in:0`, 32-bit floats (type 1), of shape [3].
/// let x = [field(1, b"in:0"), vec![2 << 3, 1], field(3, &field(2, &[1 << 3, 3]))].concat();
/// let signature = field(1, &entry("x", &x));
/// let graph = [field(1, &field(4, b"serve")), field(5, &entry("serving_default", &signature))].concat();
///
/// let model = SavedModel::from_bytes(&field(2, &graph), &Limits::default())?;
/// let (name, signature) = model.signature(None)?;
/// let x = &signature.inputs["x"];
/// assert_eq!((name, x.dtype, x.shape.as_deref()), ("serving_default", "float32", Some(&[Some(3)][..])));
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedModel {
    /// The signatures by name.
    pub signatures: BTreeMap<String, Signature>,
    /// The digest of `saved_model.pb`; the variables beside it are not part of it.
    pub sha256: Digest,
    /// The size of `saved_model.pb` in bytes.
    pub size: u64,
}

/// One function of a SavedModel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// What goes in, by name.
    pub inputs: BTreeMap<String, SignatureTensor>,
    /// What comes out, by name.
    pub outputs: BTreeMap<String, SignatureTensor>,
}

/// A tensor of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureTensor {
    /// The tensor of the TensorFlow graph, for example `serving_default_x:0`.
    pub tensor: String,
    /// The element type, by the name that contracts use, for example `float32`.
    pub dtype: &'static str,
    /// The dimensions, outermost first, each absent where it varies; absent when the rank is unknown.
    pub shape: Option<Vec<Option<u64>>>,
}

impl SavedModel {
    /// The file that makes a directory a SavedModel.
    pub const FILE: &str = "saved_model.pb";
    /// The signature that is meant when none is named.
    pub const DEFAULT_SIGNATURE: &str = "serving_default";

    /// Whether the directory `path` holds a SavedModel.
    pub fn is_at(path: &Path) -> bool {
        path.join(Self::FILE).is_file() || path.join(TEXT_FILE).is_file()
    }

    /// Reads the signatures of the SavedModel in the directory `path`: those of the graph for serving,
    /// or of the only one.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] when `saved_model.pb` is none,
    /// [`amphora_error::ErrorKind::Unsupported`] for a SavedModel as text and for tensors that are not
    /// dense or of a type that nothing else has, [`amphora_error::ErrorKind::Limit`] beyond any honest
    /// number of signatures, tensors and dimensions.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self> {
        if !path.join(Self::FILE).is_file() && path.join(TEXT_FILE).is_file() {
            return Err(Error::unsupported(
                "saved-model-text",
                "this SavedModel is written as text, which is not read",
            )
            .in_file(path.join(TEXT_FILE))
            .hint("save it in TensorFlow without as_text"));
        }
        let file = OpenedFile::open(path.join(Self::FILE))?;
        let bytes = file.contents(MAX_BYTES)?;
        Self::from_bytes(&bytes, limits).map_err(|error| error.in_file(file.path()))
    }

    /// Reads the signatures from the content of `saved_model.pb`.
    ///
    /// # Errors
    ///
    /// As [`SavedModel::open`].
    pub fn from_bytes(bytes: &[u8], limits: &Limits) -> Result<Self> {
        let mut graphs = Vec::new();
        for field in Fields::of(bytes) {
            // 1 is the version of the schema, 2 a MetaGraphDef.
            match field? {
                (1, Value::Number(_)) => {}
                (2, Value::Bytes(graph)) => {
                    few(graphs.len(), "graphs")?;
                    graphs.push(MetaGraph::read(graph)?);
                }
                _ => return Err(damaged("it has a field of another format")),
            }
        }
        let serving =
            graphs
                .iter()
                .find(|graph| graph.tags.contains(&SERVE))
                .or(match graphs.as_slice() {
                    [only] => Some(only),
                    _ => None,
                });
        let Some(graph) = serving else {
            return Err(Error::malformed(
                "saved-model",
                "the SavedModel has no graph with the tag 'serve'",
            )
            .found(format!("{} graphs", graphs.len())));
        };
        let mut signatures = BTreeMap::new();
        for (name, definition) in &graph.signatures {
            if *name == INIT {
                continue;
            }
            let signature = signature(definition, limits)
                .map_err(|error| error.at(format!("signature {}", quoted(name))))?;
            if signatures.insert((*name).to_owned(), signature).is_some() {
                return Err(damaged("a signature occurs twice"));
            }
        }
        Ok(Self {
            signatures,
            sha256: sha256(bytes),
            size: bytes.len() as u64,
        })
    }

    /// The signature called `name`, or without a name [`SavedModel::DEFAULT_SIGNATURE`], or else the only one.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::NotFound`] naming those that there are.
    pub fn signature(&self, name: Option<&str>) -> Result<(&str, &Signature)> {
        let wanted = name.unwrap_or(Self::DEFAULT_SIGNATURE);
        if let Some((name, signature)) = self.signatures.get_key_value(wanted) {
            return Ok((name, signature));
        }
        if let (Some((only, signature)), 1, None) = (
            self.signatures.first_key_value(),
            self.signatures.len(),
            name,
        ) {
            return Ok((only, signature));
        }
        let names = self.signatures.keys();
        let names: Vec<String> = names.map(|name| quoted(name).to_string()).collect();
        let error = Error::not_found(
            "saved-model-signature",
            format!("the SavedModel has no signature {}", quoted(wanted)),
        );
        Err(match names.is_empty() {
            true => error.hint("save it in TensorFlow with signatures"),
            false => error
                .expected(format!("one of {}", names.join(", ")))
                .hint("name the one you mean with --signature"),
        })
    }
}

/// A MetaGraphDef, as far as it is read.
struct MetaGraph<'a> {
    tags: Vec<&'a str>,
    signatures: Vec<(&'a str, &'a [u8])>,
}

impl<'a> MetaGraph<'a> {
    fn read(message: &'a [u8]) -> Result<Self> {
        let mut graph = Self {
            tags: Vec::new(),
            signatures: Vec::new(),
        };
        for field in Fields::of(message) {
            match field? {
                // MetaInfoDef, whose field 4 are the tags.
                (1, Value::Bytes(info)) => {
                    for field in Fields::of(info) {
                        if let (4, Value::Bytes(tag)) = field? {
                            few(graph.tags.len(), "tags")?;
                            graph.tags.push(text(tag)?);
                        }
                    }
                }
                (5, Value::Bytes(entry)) => {
                    few(graph.signatures.len(), "signatures")?;
                    graph.signatures.push(map_entry(entry)?);
                }
                _ => {}
            }
        }
        Ok(graph)
    }
}

/// An entry of a map: its key is field 1, its value field 2.
fn map_entry(entry: &[u8]) -> Result<(&str, &[u8])> {
    let (mut key, mut value) = ("", &[][..]);
    for field in Fields::of(entry) {
        match field? {
            (1, Value::Bytes(bytes)) => key = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = bytes,
            _ => return Err(damaged("an entry of a map has a third field")),
        }
    }
    Ok((key, value))
}

fn signature(definition: &[u8], limits: &Limits) -> Result<Signature> {
    let mut signature = Signature::default();
    for field in Fields::of(definition) {
        let (side, entry) = match field? {
            (1, Value::Bytes(entry)) => (&mut signature.inputs, entry),
            (2, Value::Bytes(entry)) => (&mut signature.outputs, entry),
            _ => continue,
        };
        few(side.len(), "tensors")?;
        let (name, info) = map_entry(entry)?;
        if name.is_empty() || name.len() > limits.name_bytes {
            return Err(damaged("a tensor has no name, or one that is too long"));
        }
        let tensor =
            tensor(info, limits).map_err(|error| error.at(format!("tensor {}", quoted(name))))?;
        if side.insert(name.to_owned(), tensor).is_some() {
            return Err(damaged("a tensor occurs twice"));
        }
    }
    Ok(signature)
}

/// A TensorInfo: 1 is the name, 2 the type, 3 the shape; 4 and 5 encode sparse and composite tensors.
fn tensor(info: &[u8], limits: &Limits) -> Result<SignatureTensor> {
    let mut tensor = SignatureTensor {
        tensor: String::new(),
        dtype: "",
        shape: Some(Vec::new()),
    };
    let mut number = 0;
    for field in Fields::of(info) {
        match field? {
            (1, Value::Bytes(name)) => tensor.tensor = text(name)?.to_owned(),
            (2, Value::Number(found)) => number = found,
            (3, Value::Bytes(shape)) => tensor.shape = dimensions(shape, limits)?,
            (4 | 5, Value::Bytes(_)) => {
                return Err(Error::unsupported(
                    "saved-model-tensor",
                    "the tensor is sparse or made of several tensors",
                )
                .hint("give the signature dense tensors in TensorFlow"));
            }
            _ => {}
        }
    }
    tensor.dtype = dtype(number)?;
    Ok(tensor)
}

/// A TensorShapeProto: 2 are the dimensions, whose field 1 is the size, -1 where it varies; 3 says that
/// the rank is unknown.
fn dimensions(shape: &[u8], limits: &Limits) -> Result<Option<Vec<Option<u64>>>> {
    let mut sizes = Vec::new();
    for field in Fields::of(shape) {
        match field? {
            (3, Value::Number(unknown)) if unknown != 0 => return Ok(None),
            (2, Value::Bytes(dimension)) => {
                if sizes.len() == limits.rank {
                    return Err(Error::limit("rank", "the shape has too many dimensions")
                        .expected(format!("at most {}", limits.rank)));
                }
                let mut size = 0_u64;
                for field in Fields::of(dimension) {
                    if let (1, Value::Number(found)) = field? {
                        size = found;
                    }
                }
                sizes.push(match size.cast_signed() {
                    -1 => None,
                    0.. => Some(size),
                    _ => return Err(damaged("a dimension is negative")),
                });
            }
            _ => {}
        }
    }
    Ok(Some(sizes))
}

/// The element type with this number in `types.proto`.
fn dtype(number: u64) -> Result<&'static str> {
    Ok(match number {
        1 => "float32",
        2 => "float64",
        3 => "int32",
        4 => "uint8",
        5 => "int16",
        6 => "int8",
        7 => "string",
        8 => "complex64",
        9 => "int64",
        10 => "bool",
        14 => "bfloat16",
        17 => "uint16",
        18 => "complex128",
        19 => "float16",
        22 => "uint32",
        23 => "uint64",
        24 => "float8e5m2",
        25 => "float8e4m3fn",
        29 => "int4",
        30 => "uint4",
        _ => {
            return Err(Error::unsupported(
                "saved-model-dtype",
                "the tensor has an element type that only TensorFlow has",
            )
            .found(format!("type {number}")));
        }
    })
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| damaged("a text is not UTF-8"))
}

fn few(found: usize, what: &str) -> Result<()> {
    if found < MAX_ENTRIES {
        return Ok(());
    }
    Err(
        Error::limit("saved-model-entries", format!("there are too many {what}"))
            .expected(format!("at most {MAX_ENTRIES}")),
    )
}
