//! Inferred dtypes and shapes against `onnx.shape_inference`.

use std::collections::BTreeMap;

use crate::built::{node, opset, value};
use amphora_onnx::proto::{
    AttributeProto, AttributeType, DimensionValue, GraphProto, ModelProto, NodeProto, TensorProto,
};
use amphora_onnx::{Dim, Dtype, InferredTensor, Limits, Model};
use serde_json::Value;

/// Infers every model given and prints one line for each: name to [dtype, dimensions].
const INFER: &str = "
import json, sys
import onnx

def known(info):
    if not info.type.HasField('tensor_type'):
        return None
    tensor = info.type.tensor_type
    if not tensor.HasField('shape'):
        return [tensor.elem_type, None]
    dims = []
    for dim in tensor.shape.dim:
        kind = dim.WhichOneof('value')
        named = kind == 'dim_param' and not dim.dim_param.startswith('unk__')
        dims.append(dim.dim_value if kind == 'dim_value' else dim.dim_param if named else None)
    return [tensor.elem_type, dims]

for path in sys.argv[1:]:
    model = onnx.load(path, load_external_data=False)
    try:
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:
        print(json.dumps({'error': str(error)}))
        continue
    values = list(model.graph.value_info) + list(model.graph.output)
    print(json.dumps({info.name: known(info) for info in values}))
";

#[test]
fn shapes_agree_with_the_reference() {
    let Some(peer) = amphora_testing::peer("onnx", None) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let mut models = crate::support::models(scratch.path());
    models.extend(crate::support::models_of_onnx());
    let arguments: Vec<&str> = models.iter().map(|path| path.to_str().unwrap()).collect();
    let printed = peer.run(INFER, &arguments);
    let expected: Vec<&str> = printed.lines().collect();
    assert_eq!(expected.len(), models.len());
    let rows: Vec<_> = models.iter().zip(expected).collect();
    amphora_testing::each(&rows, |(path, expected)| {
        let expected: BTreeMap<String, Value> = serde_json::from_str(expected).unwrap();
        if expected.contains_key("error") {
            return Ok(());
        }
        let model = match Model::open(path, &Limits::default()) {
            // Its weights are elsewhere.
            Err(error) if error.rule() == "file-not-found" => return Ok(()),
            model => model.unwrap(),
        };
        let table = model.infer_shapes().unwrap();
        let mut faults: Vec<String> = table
            .contradictions
            .iter()
            .map(|finding| finding.to_string())
            .collect();
        for (name, expected) in &expected {
            let ours = table.values.get(name).cloned().unwrap_or_default();
            faults.extend(compare(&ours, expected).map(|fault| format!("{name}: {fault}")));
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(format!("{} faults: {faults:#?}", faults.len())),
        }
    });
}

/// How our knowledge contradicts the reference, or falls short of it.
fn compare(ours: &InferredTensor, expected: &Value) -> Option<String> {
    let dtype = expected.get(0)?.as_i64()? as i32;
    if dtype != 0 && ours.dtype.map(Dtype::to_onnx) != Some(dtype) {
        return Some(format!("dtype {:?} instead of {dtype}", ours.dtype));
    }
    let dims = expected.get(1)?.as_array()?;
    let differs = || Some(format!("{:?} instead of {dims:?}", ours.shape));
    let shape = match &ours.shape {
        Some(shape) if shape.len() == dims.len() => shape,
        _ => return differs(),
    };
    let agree = shape
        .iter()
        .zip(dims)
        .all(|(ours, expected)| match (ours, expected) {
            (Dim::Fixed(ours), Value::Number(expected)) => Some(*ours) == expected.as_u64(),
            (_, Value::Number(_)) | (Dim::Unknown, Value::String(_)) => false,
            _ => true,
        });
    if agree { None } else { differs() }
}

/// A graph of one input `x` of shape [batch, 4, 6], integer constants, and nodes.
fn graph(constants: &[(&str, &[i64])], nodes: Vec<NodeProto>) -> ModelProto {
    let initializer = constants.iter().map(|(name, values)| TensorProto {
        name: Some((*name).into()),
        data_type: Some(7),
        dims: vec![values.len() as i64],
        int64_data: values.to_vec(),
        ..Default::default()
    });
    let dims = vec![
        Some(DimensionValue::Param("batch".into())),
        Some(DimensionValue::Value(4)),
        Some(DimensionValue::Value(6)),
    ];
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset("", 18)],
        graph: Some(GraphProto {
            name: Some("g".into()),
            input: vec![value("x", 1, dims)],
            initializer: initializer.collect(),
            node: nodes,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn with_axis(mut node: NodeProto, axis: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some("axis".into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(axis),
        ..Default::default()
    });
    node
}

/// The shape of the value `y` of a graph, in words.
fn shape_of_y(model: ModelProto) -> Result<String, String> {
    let model = Model::from_proto(model, &Limits::default()).map_err(|error| error.to_string())?;
    let table = model.infer_shapes().map_err(|error| error.to_string())?;
    if let Some(finding) = table.contradictions.first() {
        return Err(finding.to_string());
    }
    let y = table.values.get("y").cloned().unwrap_or_default();
    Ok(match y.shape {
        Some(shape) => shape
            .iter()
            .map(Dim::to_string)
            .collect::<Vec<_>>()
            .join(" "),
        None => "unknown".into(),
    })
}

#[test]
fn sizes_are_followed_through_arithmetic_and_never_guessed() {
    let reshape = |constants: &[(&str, &[i64])]| {
        graph(constants, vec![node("", "Reshape", &["x", "to"], "y")])
    };
    let rows: Vec<(&str, ModelProto, &str)> = vec![
        (
            "the rest of a symbol is fixed",
            reshape(&[("to", &[0, -1])]),
            "batch 24",
        ),
        (
            "the rest is the symbol",
            reshape(&[("to", &[-1, 24])]),
            "batch 24",
        ),
        (
            "a multiple of a symbol is unknown",
            reshape(&[("to", &[-1, 12])]),
            "? 12",
        ),
        (
            "a symbol comes through Shape, Gather and Concat",
            graph(
                &[("zero", &[0]), ("rest", &[2, 12])],
                vec![
                    node("", "Shape", &["x"], "shape"),
                    with_axis(node("", "Gather", &["shape", "zero"], "batch"), 0),
                    with_axis(node("", "Concat", &["batch", "rest"], "to"), 0),
                    node("", "Reshape", &["x", "to"], "y"),
                ],
            ),
            "batch 2 12",
        ),
        (
            "a symbol plus one is unknown",
            graph(
                &[("zero", &[0]), ("one", &[1])],
                vec![
                    node("", "Shape", &["x"], "shape"),
                    with_axis(node("", "Gather", &["shape", "zero"], "batch"), 0),
                    node("", "Add", &["batch", "one"], "more"),
                    node("", "ConstantOfShape", &["more"], "y"),
                ],
            ),
            "?",
        ),
        (
            "a part of a fixed dimension is fixed, of a symbol unknown",
            graph(
                &[("starts", &[1, -2]), ("ends", &[9, 9]), ("axes", &[0, 2])],
                vec![node("", "Slice", &["x", "starts", "ends", "axes"], "y")],
            ),
            "? 4 2",
        ),
        (
            "steps may go backwards",
            graph(
                &[
                    ("starts", &[-1]),
                    ("ends", &[i64::MIN]),
                    ("axes", &[2]),
                    ("steps", &[-4]),
                ],
                vec![node(
                    "",
                    "Slice",
                    &["x", "starts", "ends", "axes", "steps"],
                    "y",
                )],
            ),
            "batch 4 2",
        ),
        (
            "two sizes are joined",
            graph(
                &[],
                vec![with_axis(node("", "Concat", &["x", "x"], "y"), 1)],
            ),
            "batch 8 6",
        ),
        (
            "two unknown sizes are not",
            graph(
                &[],
                vec![with_axis(node("", "Concat", &["x", "x"], "y"), 0)],
            ),
            "? 4 6",
        ),
    ];
    let failed: Vec<String> = rows
        .into_iter()
        .filter_map(|(what, model, expected)| match shape_of_y(model) {
            Ok(found) if found == expected => None,
            found => Some(format!("{what}: {found:?} instead of {expected}")),
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn huge_results_are_described_but_never_computed() {
    let huge = 1 << 40;
    let rows: Vec<(ModelProto, String)> = vec![
        (
            graph(
                &[("n", &[huge, huge])],
                vec![node("", "ConstantOfShape", &["n"], "y")],
            ),
            format!("{huge} {huge}"),
        ),
        (
            graph(
                &[("n", &[huge, 1, 4, 6])],
                vec![node("", "Expand", &["x", "n"], "y")],
            ),
            format!("{huge} batch 4 6"),
        ),
        (
            graph(
                &[("n", &[1, huge, 1])],
                vec![node("", "Tile", &["x", "n"], "y")],
            ),
            format!("batch {} 6", 4_i64 << 40),
        ),
        (
            graph(
                &[("n", &[0, huge, 0, 0, 0, 0])],
                vec![node("", "Pad", &["x", "n"], "y")],
            ),
            format!("batch {} 6", huge + 4),
        ),
    ];
    for (model, expected) in rows {
        assert_eq!(shape_of_y(model), Ok(expected));
    }
    let overflowing = graph(
        &[("n", &[1, i64::MAX, 1])],
        vec![node("", "Tile", &["x", "n"], "y")],
    );
    assert_eq!(shape_of_y(overflowing), Ok("batch ? 6".into()));
}
