//! Options, determinism and refusals.

use amphora_checkpoint::architecture::{Architecture, Axis, Port, Values};
use amphora_checkpoint::{Checkpoint, Limits, Safetensors};
use amphora_error::ErrorKind;
use amphora_export::{ExportOptions, export};
use amphora_files::RelativePath;
use amphora_onnx::build::GraphBuilder;
use amphora_onnx::proto::{ModelProto, TensorProto};
use amphora_onnx::{Dim, Model, TensorSpec};
use amphora_testing::each;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use crate::support::{CASES, Case, opset};

/// A small model whose weights are stored as `dtype`, with `encode` giving the bytes of a number.
fn small(dtype: Dtype, encode: impl Fn(f32) -> Vec<u8>) -> (Architecture, Checkpoint) {
    let config = json!({"model_type": "mlp", "d_in": 4, "hidden_sizes": [3, 2],
        "heads": {"swarm": 2}});
    let architecture = Architecture::from_config(&config).unwrap();
    let stored: Vec<_> = architecture
        .parameters()
        .into_iter()
        .map(|parameter| {
            let shape: Vec<usize> = parameter.shape.iter().map(|size| *size as usize).collect();
            let data: Vec<u8> = (0..shape.iter().product())
                .flat_map(|index: usize| encode(index as f32 * 0.25 - 1.0))
                .collect();
            (parameter.name, shape, data)
        })
        .collect();
    let views = stored.iter().map(|(name, shape, data)| {
        (
            name.clone(),
            TensorView::new(dtype, shape.clone(), data).unwrap(),
        )
    });
    let file = safetensors::serialize(views, None).unwrap();
    let checkpoint = Checkpoint::from_bytes(file.into(), &Limits::default()).unwrap();
    (architecture, checkpoint)
}

fn float32() -> (Architecture, Checkpoint) {
    small(Dtype::F32, |value| value.to_le_bytes().to_vec())
}

fn linked() -> ExportOptions {
    ExportOptions {
        opset: None,
        // The checkpoints here were read from bytes, and have no file's name.
        link: Some(
            [(
                String::new(),
                RelativePath::parse("model.safetensors").unwrap(),
            )]
            .into(),
        ),
    }
}

#[test]
fn two_exports_are_byte_identical() {
    each(&CASES, |case| {
        let [first, second] = [(); 2].map(|()| case.export_bytes(&ExportOptions::default()));
        match first == second {
            true => Ok(()),
            false => Err("the bytes differ"),
        }
    });
}

#[test]
fn the_forms_of_one_checkpoint_export_to_the_same_bytes() {
    let rows: Vec<Case> = CASES
        .into_iter()
        .filter(|case| !case.checkpoint.ends_with(".safetensors"))
        .collect();
    each(&rows, |case| {
        let safetensors = Case {
            checkpoint: "model.safetensors",
            ..*case
        };
        let options = ExportOptions::default();
        match case.export_bytes(&options) == safetensors.export_bytes(&options) {
            true => Ok(()),
            false => Err("the bytes differ"),
        }
    });
}

#[test]
fn narrow_and_wide_weights_are_stored_as_float32() {
    let options = ExportOptions::default();
    let (architecture, checkpoint) = float32();
    let expected = export(&architecture, &checkpoint, &options).unwrap();
    // The weights are small multiples of 1/4: exact in each type.
    let rows = [
        (
            Dtype::F64,
            (|v| f64::from(v).to_le_bytes().to_vec()) as fn(f32) -> Vec<u8>,
        ),
        (Dtype::BF16, |v| v.to_le_bytes()[2..].to_vec()),
        (Dtype::F16, |v| {
            half::f16::from_f32(v).to_le_bytes().to_vec()
        }),
    ];
    each(&rows, |(dtype, encode)| {
        let (architecture, checkpoint) = small(*dtype, encode);
        match export(&architecture, &checkpoint, &options) {
            Ok(model) if model == expected => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn the_ir_version_is_the_lowest_that_carries_the_opset() {
    // The table of releases in ONNX's documentation.
    let rows = [
        (11, 6),
        (12, 7),
        (14, 7),
        (15, 8),
        (18, 8),
        (19, 9),
        (20, 9),
        (21, 10),
        (22, 10),
        (23, 11),
        (24, 12),
        (26, 13),
    ];
    let (architecture, checkpoint) = float32();
    each(&rows, |(version, ir_version)| {
        match export(&architecture, &checkpoint, &opset(*version)) {
            Ok(model) if model.ir_version == Some(*ir_version) => Ok(()),
            other => Err(format!("{:?}", other.map(|model| model.ir_version))),
        }
    });
}

#[test]
fn an_opset_out_of_range_is_refused_with_the_range() {
    let (architecture, checkpoint) = float32();
    let last = *GraphBuilder::OPSETS.end();
    each(&[0, 7, 10, last + 1, u64::MAX], |version| {
        let error = export(&architecture, &checkpoint, &opset(*version)).unwrap_err();
        let right = error.kind() == ErrorKind::Unsupported && error.rule() == "opset-range";
        match right && error.hint_text().is_some() {
            true => Ok(()),
            false => Err(format!("{error:?}")),
        }
    });
}

#[test]
fn a_linked_model_holds_no_weights() {
    let (architecture, checkpoint) = float32();
    let model = export(&architecture, &checkpoint, &linked()).unwrap();
    let graph = model.graph.unwrap();
    let rows: Vec<_> = graph
        .initializer
        .iter()
        .filter(|tensor| !tensor.name().starts_with('/'))
        .collect();
    assert_eq!(rows.len(), checkpoint.tensors().len());
    each(&rows, |tensor| {
        let stored = &checkpoint.tensors()[tensor.name()];
        let keys: Vec<(&str, &str)> = tensor
            .external_data
            .iter()
            .map(|entry| (entry.key(), entry.value()))
            .collect();
        let offset = stored.place().unwrap().offset.to_string();
        let length = stored.size().to_string();
        let expected = [
            ("location", "model.safetensors"),
            ("offset", offset.as_str()),
            ("length", length.as_str()),
        ];
        match keys == expected && tensor.raw_data.is_none() {
            true => Ok(()),
            false => Err(format!("{keys:?}")),
        }
    });
}

#[test]
fn weights_that_cannot_be_used_as_they_are_stored_are_not_linked() {
    let (architecture, checkpoint) = small(Dtype::F64, |v| f64::from(v).to_le_bytes().to_vec());
    let error = export(&architecture, &checkpoint, &linked()).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Unsupported, "link-dtype")
    );
    assert_eq!(error.fault_list().len(), checkpoint.tensors().len());

    let torch = Case {
        fixture: "planner_mlp",
        checkpoint: "model.pt",
    };
    let Some((architecture, checkpoint)) = torch.open() else {
        return;
    };
    let error = export(&architecture, &checkpoint, &linked()).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Unsupported, "link-format")
    );
}

/// What the contract of a graph says of ports.
fn specs(ports: &[Port]) -> Vec<TensorSpec> {
    let dim = |axis: &Axis| match axis {
        Axis::Fixed(size) => Dim::Fixed(*size),
        Axis::Dynamic { name, .. } => Dim::Symbol((*name).to_owned()),
    };
    ports
        .iter()
        .map(|port| TensorSpec {
            name: port.name.clone(),
            dtype: match port.values {
                Values::Real => amphora_onnx::Dtype::Float32,
                Values::Index { .. } | Values::Mask => amphora_onnx::Dtype::Int64,
            },
            shape: Some(port.shape.iter().map(dim).collect()),
        })
        .collect()
}

#[test]
fn weights_of_several_files_are_linked_file_by_file() {
    let (architecture, whole) = float32();
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let mut map = serde_json::Map::new();
    let mut shards = [Safetensors::default(), Safetensors::default()];
    for (index, (name, tensor)) in whole.tensors().iter().enumerate() {
        map.insert(name.clone(), format!("{}.safetensors", index % 2).into());
        shards[index % 2]
            .tensors
            .insert(name.clone(), tensor.clone());
    }
    for (index, shard) in shards.iter().enumerate() {
        fs_err::write(
            at(&format!("{index}.safetensors")),
            shard.to_bytes().unwrap(),
        )
        .unwrap();
    }
    let index = json!({ "weight_map": map }).to_string();
    fs_err::write(at("model.safetensors.index.json"), index).unwrap();
    let checkpoint = Checkpoint::open_in_place(scratch.path(), &Limits::default()).unwrap();
    let location = |file: &str| (file.to_owned(), RelativePath::parse(file).unwrap());
    let options = |files: &[&str]| ExportOptions {
        opset: None,
        link: Some(files.iter().map(|file| location(file)).collect()),
    };
    let linked = options(&["0.safetensors", "1.safetensors"]);
    let bytes =
        amphora_onnx::write::to_bytes(&export(&architecture, &checkpoint, &linked).unwrap());
    let directory = amphora_files::Directory::open(scratch.path()).unwrap();
    let model = Model::from_bytes(bytes.into(), Some(&directory), &Default::default()).unwrap();
    let graph = model.proto().graph.as_ref().unwrap();
    let rows: Vec<_> = graph
        .initializer
        .iter()
        .filter(|it| !it.name().starts_with('/'))
        .collect();
    assert_eq!(rows.len(), whole.tensors().len());
    each(&rows, |tensor| {
        let expected = whole.tensors()[tensor.name()].data().unwrap();
        match model.tensor_bytes(tensor).unwrap() == expected {
            true => Ok(()),
            false => Err("other bytes than the checkpoint's"),
        }
    });

    let error = export(&architecture, &checkpoint, &options(&["0.safetensors"])).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Usage, "link-location")
    );
}

#[test]
fn an_exported_model_passes_our_own_checks_and_keeps_the_declared_contract() {
    each(&CASES, |case| {
        let Some((architecture, checkpoint)) = case.open() else {
            return Ok(());
        };
        let faults: Vec<String> = GraphBuilder::OPSETS
            .filter_map(|version| {
                let proto = export(&architecture, &checkpoint, &opset(version)).unwrap();
                let bytes = amphora_onnx::write::to_bytes(&proto);
                let model = Model::from_bytes(bytes.into(), None, &Default::default()).unwrap();
                let contract = model.contract().unwrap();
                let inferred = model.infer_shapes().unwrap();
                let right = contract.inputs == specs(&architecture.inputs())
                    && contract.outputs == specs(&architecture.outputs())
                    && contract.opset == version
                    && inferred.contradictions.is_empty()
                    && contract.outputs.iter().all(|output| {
                        let value = &inferred.values[&output.name];
                        value.dtype == Some(output.dtype) && value.shape == output.shape
                    });
                match (model.check(), right) {
                    (Ok(()), true) => None,
                    (checked, _) => Some(format!("opset {version}: {checked:?} {contract:?}")),
                }
            })
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(faults.join("\n")),
        }
    });
}

/// `checkpoint` without the tensors that a checkpoint may leave out.
fn without_optional(architecture: &Architecture, checkpoint: &Checkpoint) -> Checkpoint {
    let shapes: Vec<(String, Vec<usize>)> = architecture
        .parameters()
        .into_iter()
        .filter(|parameter| !parameter.optional)
        .map(|parameter| {
            let shape = parameter.shape.iter().map(|size| *size as usize).collect();
            (parameter.name, shape)
        })
        .collect();
    let stored: Vec<_> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let data = checkpoint.tensors()[&name].data().unwrap();
            (name, shape, data)
        })
        .collect();
    let views = stored.iter().map(|(name, shape, data)| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), data).unwrap(),
        )
    });
    let file = safetensors::serialize(views, None).unwrap();
    Checkpoint::from_bytes(file.into(), &Limits::default()).unwrap()
}

#[test]
fn buffers_that_the_checkpoint_leaves_out_are_computed() {
    let rows: Vec<Case> = Case::safetensors().collect();
    each(&rows, |case| {
        let Some((architecture, checkpoint)) = case.open() else {
            return Ok(());
        };
        let options = ExportOptions::default();
        let stored = export(&architecture, &checkpoint, &options).unwrap();
        let bare = without_optional(&architecture, &checkpoint);
        let computed = export(&architecture, &bare, &options).unwrap();
        let initializers = |model: ModelProto| model.graph.unwrap().initializer;
        let faults: Vec<String> = initializers(stored)
            .iter()
            .zip(&initializers(computed))
            .filter_map(|(stored, computed)| {
                let floats = |tensor: &TensorProto| -> Vec<f32> {
                    let (elements, _) = tensor.raw_data().as_chunks::<4>();
                    elements
                        .iter()
                        .map(|bytes| f32::from_le_bytes(*bytes))
                        .collect()
                };
                // One unit in the last place of a number below 8: mathematics libraries differ.
                let near = |(a, b): (f32, f32)| (a - b).abs() <= 5e-7 || a.to_bits() == b.to_bits();
                let equal = stored.dims == computed.dims
                    && floats(stored).into_iter().zip(floats(computed)).all(near);
                (stored.name() != computed.name() || !equal)
                    .then(|| format!("{} and {}", stored.name(), computed.name()))
            })
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(faults.join(", ")),
        }
    });
}

#[test]
fn the_wrong_configuration_for_a_checkpoint_is_refused() {
    let (_, checkpoint) = float32();
    let config = json!({"model_type": "mlp", "d_in": 4, "hidden_sizes": [3],
        "heads": {"swarm": 2}});
    let architecture = Architecture::from_config(&config).unwrap();
    let error = export(&architecture, &checkpoint, &ExportOptions::default()).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Incompatible, "checkpoint-parameters")
    );
}
