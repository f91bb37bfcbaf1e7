//! Changes of tensors, external data, sparse tensors and functions.

use super::*;

pub(super) const MUTATIONS: &[(&str, Mutation)] = &[
    ("tensor-dims-change", |m, r| {
        let dims = &mut tensor(m, r)?.dims;
        let change = r.pick(&[-1, 1, 1 << 40, i64::MIN]);
        let dim = r.of(dims)?;
        *dim = dim.wrapping_add(change);
        Some(())
    }),
    ("tensor-dims-more", |m, r| {
        push(&mut tensor(m, r)?.dims, r.pick(&[0, 1, 2, -1]))
    }),
    ("tensor-dims-drop", |m, r| {
        let dims = &mut tensor(m, r)?.dims;
        remove(dims, r)
    }),
    ("tensor-dims-overflow", |m, _| {
        nth_tensor(m, 0)?.dims.extend([1 << 32, 1 << 32]);
        Some(())
    }),
    ("tensor-dtype", |m, r| {
        set(
            &mut tensor(m, r)?.data_type,
            r.pick(&[
                None,
                Some(0),
                Some(1),
                Some(6),
                Some(7),
                Some(8),
                Some(10),
                Some(11),
                Some(99),
            ]),
        )
    }),
    ("tensor-payload-cut", |m, r| {
        let raw = tensor(m, r)?.raw_data.as_mut()?;
        raw.truncate(raw.len().saturating_sub(1));
        Some(())
    }),
    ("tensor-payload-longer", |m, r| {
        let raw = tensor(m, r)?.raw_data.as_mut()?;
        *raw = [&raw[..], b"0000"].concat().into();
        Some(())
    }),
    ("tensor-payload-none", |m, r| {
        set(&mut tensor(m, r)?.raw_data, None)
    }),
    ("tensor-payload-second", |m, r| {
        let tensor = tensor(m, r)?;
        match r.below(3) {
            0 => tensor.float_data.push(1.0),
            1 => tensor.int64_data.push(1),
            _ => tensor.int32_data.push(1),
        }
        Some(())
    }),
    ("tensor-payload-elsewhere", |m, r| {
        let tensor = tensor(m, r)?;
        tensor.raw_data = None;
        tensor.int64_data = vec![1; r.below(4)];
        Some(())
    }),
    ("external-location", |m, r| {
        let entry = entry(external(m, r)?, "location")?;
        set(
            &mut entry.value,
            Some(
                r.pick(&[
                    "../model.onnx.data",
                    "/etc/passwd",
                    "nowhere",
                    "",
                    ".",
                    "C:\\w",
                    "a/../b",
                    "model.onnx.data/",
                    "\u{0}",
                ])
                .into(),
            ),
        )
    }),
    ("external-offset", |m, r| {
        let entry = entry(external(m, r)?, "offset")?;
        set(
            &mut entry.value,
            Some(
                r.pick(&["-1", "0x10", "99999999", "", "4", "18446744073709551615"])
                    .into(),
            ),
        )
    }),
    ("external-length", |m, r| {
        let entry = entry(external(m, r)?, "length")?;
        set(
            &mut entry.value,
            Some(
                r.pick(&["-1", "0", "4611686018427387904", "3", "1e3"])
                    .into(),
            ),
        )
    }),
    ("external-entry-drop", |m, r| {
        let list = &mut external(m, r)?.external_data;
        remove(list, r)
    }),
    ("external-entry-twice", |m, r| {
        let list = &mut external(m, r)?.external_data;
        let item = r.of(list)?.clone();
        push(list, item)
    }),
    ("external-entry-more", |m, r| {
        push(
            &mut external(m, r)?.external_data,
            StringStringEntryProto {
                key: Some(r.pick(&["__class__", "checksum", "Location"]).into()),
                value: Some("x".into()),
            },
        )
    }),
    ("external-and-raw", |m, r| {
        set(
            &mut external(m, r)?.raw_data,
            Some(Bytes::from_static(b"0000")),
        )
    }),
    ("external-switch", |m, r| {
        set(
            &mut tensor(m, r)?.data_location,
            r.pick(&[None, Some(0), Some(1), Some(2)]),
        )
    }),
    ("sparse-dims", |m, r| {
        let list = &mut r.of(&mut m.graph.as_mut()?.sparse_initializer)?.dims;
        match r.below(3) {
            0 => list.clear(),
            1 => list.push(0),
            _ => list.push(2),
        }
        Some(())
    }),
    ("sparse-index", |m, r| {
        let pair = r.of(&mut m.graph.as_mut()?.sparse_initializer)?;
        let list = &mut pair.indices.as_mut()?.int64_data;
        *r.of(list)? = r.pick(&[-1, 0, 5, 99]);
        Some(())
    }),
    ("sparse-indices", |m, r| {
        let pair = r.of(&mut m.graph.as_mut()?.sparse_initializer)?;
        match r.below(3) {
            0 => pair.indices = None,
            1 => pair.indices.as_mut()?.dims = vec![1, 2],
            _ => pair.indices.as_mut()?.data_type = Some(6),
        }
        Some(())
    }),
    ("sparse-values", |m, r| {
        let pair = r.of(&mut m.graph.as_mut()?.sparse_initializer)?;
        match r.below(3) {
            0 => pair.values = None,
            1 => pair.values.as_mut()?.dims = vec![1, 2],
            _ => pair.values.as_mut()?.name = None,
        }
        Some(())
    }),
    ("function-name", |m, r| {
        set(
            &mut function(m, r)?.name,
            r.pick(&[None, Some(String::new()), Some("other".into())]),
        )
    }),
    ("function-domain", |m, r| {
        set(
            &mut function(m, r)?.domain,
            r.pick(&[None, Some(String::new()), Some("y".into())]),
        )
    }),
    ("function-twice", |m, r| {
        let item = function(m, r)?.clone();
        push(&mut m.functions, item)
    }),
    ("function-drop", |m, r| remove(&mut m.functions, r)),
    ("function-input-twice", |m, r| {
        let list = &mut function(m, r)?.input;
        let name = r.of(list)?.clone();
        push(list, name)
    }),
    ("function-input-drop", |m, r| {
        let list = &mut function(m, r)?.input;
        remove(list, r)
    }),
    ("function-output-twice", |m, r| {
        let list = &mut function(m, r)?.output;
        let name = r.of(list)?.clone();
        push(list, name)
    }),
    ("function-output-name", |m, r| {
        let list = &mut function(m, r)?.output;
        *r.of(list)? = "nowhere".into();
        Some(())
    }),
    ("function-attribute-twice", |m, r| {
        push(&mut function(m, r)?.attribute, "alpha".into())
    }),
    ("function-attribute-drop", |m, r| {
        let list = &mut function(m, r)?.attribute;
        remove(list, r)
    }),
    ("function-opset-drop", |m, r| {
        let list = &mut function(m, r)?.opset_import;
        remove(list, r)
    }),
    ("function-opset-version", |m, r| {
        let list = &mut function(m, r)?.opset_import;
        set(
            &mut r.of(list)?.version,
            r.pick(&[Some(5), Some(12), Some(16), Some(99)]),
        )
    }),
    ("function-recursion", |m, r| {
        let name = r.of(&mut m.functions)?.name.clone();
        let list = &mut function(m, r)?.node;
        let node = r.of(list)?;
        node.domain = Some("x".into());
        set(&mut node.op_type, name)
    }),
    ("function-node-drop", |m, r| {
        let list = &mut function(m, r)?.node;
        remove(list, r)
    }),
    ("function-node-swap", |m, r| {
        let list = &mut function(m, r)?.node;
        swap(list, r)
    }),
];
