//! External data whose every word is hostile.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use amphora_files::Directory;
use amphora_onnx::proto::{
    AttributeProto, AttributeType, FunctionProto, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, SparseTensorProto, StringStringEntryProto, TensorProto,
};
use amphora_onnx::visit::{self, Role};
use amphora_onnx::{Limits, Model, write};
use bytes::Bytes;
use tempfile::TempDir;

use super::presentable;

/// Bytes from which weights go to a data file when the model is written again.
const INLINE: u64 = 16;

/// External data over a fixed pair of files. The first byte says where the tensor hides, the second
/// what its shape is, the third its `data_location`; every further line `KEY=VALUE` is an entry.
///
/// The answer must be the same whether the files are in memory or in a directory, and an accepted
/// tensor is exactly the part of the file that its entries name.
pub fn external_data(bytes: &[u8]) {
    let [place, shape, location, lines @ ..] = bytes else {
        return;
    };
    let tensor = TensorProto {
        name: Some("w".to_owned()),
        dims: vec![i64::from(*shape)],
        data_type: Some(1),
        data_location: Some(i32::from(*location)),
        external_data: lines.split(|byte| *byte == b'\n').map(entry).collect(),
        ..TensorProto::default()
    };
    let file = Bytes::from(write::to_bytes(&model(*place, tensor)));
    let limits = Limits::default();
    let from_memory = Model::from_parts(file.clone(), files(), &limits);
    if let Some(directory) = directory() {
        let from_directory = Model::from_bytes(file, Some(&directory), &limits);
        assert_eq!(from_memory.is_ok(), from_directory.is_ok());
        if let Err(error) = &from_directory {
            presentable(error);
        }
    }
    match from_memory {
        Ok(model) => accepted(&model, usize::from(*shape) * 4),
        Err(error) => presentable(&error),
    }
}

/// The tensor is a part of its file, and stays what it is when the model is written anew.
fn accepted(model: &Model, size: usize) {
    let payload = payload(model);
    assert_eq!(payload.len(), size);
    let inside = files()
        .values()
        .any(|file| size == 0 || file.windows(size).any(|window| window == payload));
    assert!(inside, "the payload is no part of a file");
    let again = write::self_contained(model, "data", INLINE).and_then(|written| {
        let data = written
            .data
            .map(|data| ("data".to_owned(), data.to_bytes()));
        Model::from_parts(
            written.graph,
            data.into_iter().collect(),
            &Limits::default(),
        )
    });
    match again {
        Ok(again) => assert_eq!(super::external::payload(&again), payload),
        Err(error) => panic!("an accepted model is refused once it is written: {error:?}"),
    }
}

/// The payload of the tensor, found by the visitor.
fn payload(model: &Model) -> Bytes {
    let mut payload = None;
    let walk = visit::tensors(model.proto(), &mut |_, role, tensor| {
        if role != Role::SparseIndices {
            assert!(payload.is_none(), "the visitor sees the tensor twice");
            payload = Some(model.tensor_bytes(tensor)?);
        }
        Ok(())
    });
    match (walk, payload) {
        (Ok(()), Some(payload)) => payload,
        (walk, _) => panic!("the tensor is not found again: {walk:?}"),
    }
}

fn entry(line: &[u8]) -> StringStringEntryProto {
    let line = String::from_utf8_lossy(line);
    let (key, value) = line.split_once('=').unwrap_or((&line, ""));
    StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    }
}

/// Two files, whose bytes all differ from one another.
fn files() -> BTreeMap<String, Bytes> {
    let bytes: Vec<u8> = (0..=255).collect();
    let (first, second) = bytes.split_at(96);
    BTreeMap::from([
        ("weights.data".to_owned(), Bytes::copy_from_slice(first)),
        ("deep/er/w.bin".to_owned(), Bytes::copy_from_slice(second)),
    ])
}

/// A directory with the same files, made once.
fn directory() -> Option<Directory> {
    static MADE: OnceLock<Option<TempDir>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let made = tempfile::tempdir().ok()?;
        write_files(made.path()).ok()?;
        Some(made)
    });
    Directory::open(made.as_ref()?.path()).ok()
}

fn write_files(root: &Path) -> std::io::Result<()> {
    fs_err::create_dir_all(root.join("deep/er"))?;
    files()
        .into_iter()
        .try_for_each(|(name, bytes)| fs_err::write(root.join(name), bytes))
}

/// A model with the tensor in one of the places where tensors hide.
fn model(place: u8, tensor: TensorProto) -> ModelProto {
    let mut graph = GraphProto {
        name: Some("g".to_owned()),
        ..GraphProto::default()
    };
    let mut functions = Vec::new();
    match place % 6 {
        0 => graph.initializer.push(tensor),
        1 => graph.node.push(constant(tensor)),
        2 => graph.node.push(branch(GraphProto {
            name: Some("branch".to_owned()),
            initializer: vec![tensor],
            ..GraphProto::default()
        })),
        3 => functions.push(FunctionProto {
            name: Some("f".to_owned()),
            domain: Some("own".to_owned()),
            node: vec![constant(tensor)],
            ..FunctionProto::default()
        }),
        4 => graph.sparse_initializer.push(sparse(tensor)),
        _ => graph.node.push(branch(GraphProto {
            name: Some("branch".to_owned()),
            node: vec![constant(tensor)],
            ..GraphProto::default()
        })),
    }
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(17),
        }],
        graph: Some(graph),
        functions,
        ..ModelProto::default()
    }
}

fn constant(tensor: TensorProto) -> NodeProto {
    NodeProto {
        op_type: Some("Constant".to_owned()),
        output: vec!["c".to_owned()],
        attribute: vec![AttributeProto {
            name: Some("value".to_owned()),
            r#type: Some(AttributeType::Tensor as i32),
            t: Some(Box::new(tensor)),
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    }
}

fn branch(graph: GraphProto) -> NodeProto {
    NodeProto {
        op_type: Some("If".to_owned()),
        attribute: vec![AttributeProto {
            name: Some("then_branch".to_owned()),
            r#type: Some(AttributeType::Graph as i32),
            g: Some(Box::new(graph)),
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    }
}

fn sparse(values: TensorProto) -> SparseTensorProto {
    let count = values.dims.first().copied().unwrap_or(0);
    SparseTensorProto {
        indices: Some(TensorProto {
            name: Some("i".to_owned()),
            dims: vec![count],
            data_type: Some(7),
            int64_data: (0..count).collect(),
            ..TensorProto::default()
        }),
        dims: vec![count],
        values: Some(values),
    }
}
