//! Inferred dtypes and shapes against `onnx.shape_inference`.

use std::collections::BTreeMap;

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
