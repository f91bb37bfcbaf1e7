//! One small model with a tensor in every place where tensors can hide.

use std::path::Path;

use amphora_error::ErrorKind;
use amphora_onnx::proto::*;
use amphora_onnx::{Limits, Model};
use bytes::Bytes;

/// Bytes of the file `weights/all.bin` that the external tensors of the sample share.
pub(crate) fn data_file() -> Bytes {
    (0..64_u8).collect::<Vec<u8>>().into()
}

/// Where the external tensors of the sample lie.
pub(crate) const LOCATION: &str = "weights/all.bin";

pub(crate) fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value.into()),
    }
}

/// `float32[2]` with its values in `raw_data`.
pub(crate) fn raw(name: &str) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: vec![2],
        data_type: Some(1),
        raw_data: Some(Bytes::from_static(&[0, 0, 128, 63, 0, 0, 0, 64])),
        ..TensorProto::default()
    }
}

/// `float32[2]` in the data file.
pub(crate) fn external(name: &str) -> TensorProto {
    TensorProto {
        raw_data: None,
        data_location: Some(1),
        external_data: vec![
            entry("location", LOCATION),
            entry("offset", "8"),
            entry("length", "8"),
        ],
        ..raw(name)
    }
}

pub(crate) fn sparse(name: &str) -> SparseTensorProto {
    let indices = TensorProto {
        name: Some(format!("{name}.indices")),
        dims: vec![2],
        data_type: Some(7),
        int64_data: vec![0, 3],
        ..TensorProto::default()
    };
    SparseTensorProto {
        values: Some(external(name)),
        indices: Some(indices),
        dims: vec![4],
    }
}

pub(crate) fn value(name: &str, dims: &[DimensionValue]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|value| DimensionProto {
            value: Some(value.clone()),
            denotation: None,
        })
        .collect();
    let tensor = TensorTypeProto {
        elem_type: Some(1),
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(tensor)),
            denotation: None,
        }),
        ..ValueInfoProto::default()
    }
}

fn attribute(name: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        ..AttributeProto::default()
    }
}

pub(crate) fn node(operator: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: Some(operator.into()),
        name: Some(format!("n_{operator}")),
        input: vec!["x".into()],
        output: vec![format!("{operator}_out")],
        attribute: attributes,
        ..NodeProto::default()
    }
}

/// A graph with a dense and a sparse initializer and tensors in attributes.
fn graph(name: &str, inner: Option<GraphProto>) -> GraphProto {
    let constant = AttributeProto {
        t: Some(Box::new(external("constant"))),
        ..attribute("value")
    };
    let several = AttributeProto {
        tensors: vec![raw("first"), external("second")],
        ..attribute("several")
    };
    let scattered = AttributeProto {
        sparse_tensor: Some(Box::new(sparse("scattered"))),
        sparse_tensors: vec![sparse("list")],
        ..attribute("sparse_value")
    };
    let mut nodes = vec![node("Constant", vec![constant, several, scattered])];
    if let Some(inner) = inner {
        let branch = AttributeProto {
            g: Some(Box::new(inner.clone())),
            graphs: vec![inner],
            ..attribute("then_branch")
        };
        nodes.push(node("If", vec![branch]));
    }
    GraphProto {
        name: Some(name.into()),
        node: nodes,
        initializer: vec![raw("w"), external("e")],
        sparse_initializer: vec![sparse("s")],
        input: vec![
            value(
                "x",
                &[
                    DimensionValue::Param("batch".into()),
                    DimensionValue::Value(2),
                ],
            ),
            value("w", &[DimensionValue::Value(2)]),
        ],
        output: vec![value("y", &[DimensionValue::Value(2)])],
        ..GraphProto::default()
    }
}

/// The sample: a main graph with a sub-graph twice, a function and training information.
pub(crate) fn model() -> ModelProto {
    let function = FunctionProto {
        name: Some("f".into()),
        domain: Some("own".into()),
        node: graph("body", None).node,
        attribute_proto: vec![AttributeProto {
            t: Some(Box::new(external("default"))),
            ..attribute("default")
        }],
        ..FunctionProto::default()
    };
    let training = TrainingInfoProto {
        initialization: Some(graph("initialization", None)),
        algorithm: Some(graph("algorithm", None)),
        ..TrainingInfoProto::default()
    };
    ModelProto {
        ir_version: Some(8),
        graph: Some(graph("main", Some(graph("inner", None)))),
        opset_import: vec![
            OperatorSetIdProto {
                domain: None,
                version: Some(17),
            },
            OperatorSetIdProto {
                domain: Some("own".into()),
                version: Some(1),
            },
        ],
        functions: vec![function],
        training_info: vec![training],
        ..ModelProto::default()
    }
}

/// Writes `model` and the data file into `directory` and returns the model's path.
pub(crate) fn write(directory: &Path, model: &ModelProto) -> std::path::PathBuf {
    let path = directory.join("model.onnx");
    fs_err::create_dir_all(directory.join("weights")).unwrap();
    fs_err::write(directory.join(LOCATION), data_file()).unwrap();
    fs_err::write(&path, amphora_onnx::write::to_bytes(model)).unwrap();
    path
}

/// The first initializer of the main graph, which is inline.
pub(crate) fn inline_mut(model: &mut ModelProto) -> &mut TensorProto {
    &mut model.graph.as_mut().unwrap().initializer[0]
}

/// The second initializer of the main graph, which is external.
pub(crate) fn external_mut(model: &mut ModelProto) -> &mut TensorProto {
    &mut model.graph.as_mut().unwrap().initializer[1]
}

/// A change of the sample.
pub(crate) type Edit = fn(&mut ModelProto);

/// Opens the sample after `edit` and expects the refusal.
pub(crate) fn refused(edit: Edit, kind: ErrorKind, rule: &str, place: &str) -> Result<(), String> {
    let scratch = tempfile::tempdir().unwrap();
    let mut model = model();
    edit(&mut model);
    let path = write(scratch.path(), &model);
    expect(Model::open(&path, &Limits::default()), kind, rule, place)
}

/// Expects a refusal of this kind, by this rule, that names this place.
pub(crate) fn expect(
    answer: amphora_error::Result<Model>,
    kind: ErrorKind,
    rule: &str,
    place: &str,
) -> Result<(), String> {
    match answer {
        Ok(_) => Err("accepted".into()),
        Err(error) if (error.kind(), error.rule()) != (kind, rule) => Err(format!("{error:?}")),
        Err(error) if !error.to_string().contains(place) => Err(format!("no place: {error}")),
        Err(_) => Ok(()),
    }
}
