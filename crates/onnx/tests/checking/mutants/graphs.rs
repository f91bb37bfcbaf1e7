//! Changes of the model, its graphs and declared types.

use super::*;

pub(super) const MUTATIONS: &[(&str, Mutation)] = &[
    ("model-ir-version", |m, r| {
        set(
            &mut m.ir_version,
            r.pick(&[None, Some(0), Some(-1), Some(3), Some(2), Some(8), Some(99)]),
        )
    }),
    ("model-opset-version", |m, r| {
        set(
            &mut r.of(&mut m.opset_import)?.version,
            r.pick(&[
                None,
                Some(0),
                Some(-3),
                Some(7),
                Some(1),
                Some(13),
                Some(18),
                Some(99),
            ]),
        )
    }),
    ("model-opset-domain", |m, r| {
        set(
            &mut r.of(&mut m.opset_import)?.domain,
            r.pick(&[
                None,
                Some("ai.onnx".into()),
                Some("ai.onnx.ml".into()),
                Some("x".into()),
            ]),
        )
    }),
    ("model-opset-drop", |m, r| remove(&mut m.opset_import, r)),
    ("model-opset-more", |m, r| {
        push(
            &mut m.opset_import,
            OperatorSetIdProto {
                domain: Some(r.pick(&["", "ai.onnx", "ai.onnx.ml", "x"]).into()),
                version: Some(r.pick(&[1, 14, 90])),
            },
        )
    }),
    ("model-metadata", |m, _| {
        for value in ["a", "b"] {
            m.metadata_props.push(StringStringEntryProto {
                key: Some("k".into()),
                value: Some(value.into()),
            });
        }
        Some(())
    }),
    ("graph-name", |m, r| {
        set(
            &mut graph(m, r)?.name,
            r.pick(&[None, Some(String::new()), Some("another".into())]),
        )
    }),
    ("graph-node-drop", |m, r| {
        let list = &mut graph(m, r)?.node;
        remove(list, r)
    }),
    ("graph-node-twice", |m, r| {
        let list = &mut graph(m, r)?.node;
        let node = r.of(list)?.clone();
        push(list, node)
    }),
    ("graph-node-swap", |m, r| {
        let list = &mut graph(m, r)?.node;
        swap(list, r)
    }),
    ("graph-node-reverse", |m, r| {
        graph(m, r)?.node.reverse();
        Some(())
    }),
    ("graph-input-drop", |m, r| {
        let list = &mut graph(m, r)?.input;
        remove(list, r)
    }),
    ("graph-input-twice", |m, r| {
        let list = &mut graph(m, r)?.input;
        let item = r.of(list)?.clone();
        push(list, item)
    }),
    ("graph-input-name", |m, r| {
        let list = &mut graph(m, r)?.input;
        set(
            &mut r.of(list)?.name,
            r.pick(&[None, Some(String::new()), Some("another".into())]),
        )
    }),
    ("graph-output-drop", |m, r| {
        let list = &mut graph(m, r)?.output;
        remove(list, r)
    }),
    ("graph-output-twice", |m, r| {
        let list = &mut graph(m, r)?.output;
        let item = r.of(list)?.clone();
        push(list, item)
    }),
    ("graph-output-name", |m, r| {
        let list = &mut graph(m, r)?.output;
        set(
            &mut r.of(list)?.name,
            r.pick(&[None, Some(String::new()), Some("another".into())]),
        )
    }),
    ("graph-initializer-drop", |m, r| {
        let list = &mut graph(m, r)?.initializer;
        remove(list, r)
    }),
    ("graph-initializer-twice", |m, r| {
        let list = &mut graph(m, r)?.initializer;
        let item = r.of(list)?.clone();
        push(list, item)
    }),
    ("graph-initializer-name", |m, r| {
        let list = &mut graph(m, r)?.initializer;
        set(
            &mut r.of(list)?.name,
            r.pick(&[None, Some(String::new()), Some("another".into())]),
        )
    }),
    ("graph-initializer-shadows", |m, r| {
        let graph = graph(m, r)?;
        let name = r.of(&mut graph.node)?.output.first()?.clone();
        let list = &mut graph.initializer;
        set(&mut r.of(list)?.name, Some(name))
    }),
    ("graph-sparse-of-dense", |m, r| {
        let graph = graph(m, r)?;
        let values = r.of(&mut graph.initializer)?.clone();
        push(
            &mut graph.sparse_initializer,
            SparseTensorProto {
                values: Some(values),
                ..Default::default()
            },
        )
    }),
    ("type-none", |m, r| set(&mut value_info(m, r)?.r#type, None)),
    ("type-empty", |m, r| {
        set(&mut value_info(m, r)?.r#type.as_mut()?.value, None)
    }),
    ("type-element", |m, r| {
        let TypeValue::Tensor(tensor) = value_info(m, r)?.r#type.as_mut()?.value.as_mut()? else {
            return None;
        };
        set(
            &mut tensor.elem_type,
            r.pick(&[None, Some(0), Some(1), Some(7), Some(11), Some(99)]),
        )
    }),
    ("type-shape", |m, r| {
        let TypeValue::Tensor(tensor) = value_info(m, r)?.r#type.as_mut()?.value.as_mut()? else {
            return None;
        };
        set(&mut tensor.shape, None)
    }),
    ("type-dimension", |m, r| {
        let TypeValue::Tensor(tensor) = value_info(m, r)?.r#type.as_mut()?.value.as_mut()? else {
            return None;
        };
        let dims = &mut tensor.shape.as_mut()?.dim;
        let value = r.pick(&[
            None,
            Some(DimensionValue::Value(-1)),
            Some(DimensionValue::Value(-7)),
            Some(DimensionValue::Value(5)),
            Some(DimensionValue::Param("n".into())),
        ]);
        set(&mut r.of(dims)?.value, value)
    }),
    ("type-rank", |m, r| {
        let TypeValue::Tensor(tensor) = value_info(m, r)?.r#type.as_mut()?.value.as_mut()? else {
            return None;
        };
        push(&mut tensor.shape.as_mut()?.dim, DimensionProto::default())
    }),
];
