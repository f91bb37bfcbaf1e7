//! Changes of nodes and attributes.

use super::*;

pub(super) const MUTATIONS: &[(&str, Mutation)] = &[
    ("node-operator", |m, r| {
        set(
            &mut node(m, r)?.op_type,
            r.pick(&[
                None,
                Some(String::new()),
                Some("Frobnicate".into()),
                Some("Add".into()),
                Some("Relu".into()),
                Some("Affine".into()),
                Some("Upsample".into()),
                Some("LayerNormalization".into()),
            ]),
        )
    }),
    ("node-domain", |m, r| {
        set(
            &mut node(m, r)?.domain,
            r.pick(&[
                Some("ai.onnx".into()),
                Some("ai.onnx.ml".into()),
                Some("ai.onnx.training".into()),
                Some("x".into()),
            ]),
        )
    }),
    ("node-domain-spelled-out", |m, r| {
        let alias = || Some("ai.onnx".to_owned());
        let mut imports = m.opset_import.iter_mut();
        imports.find(|import| import.domain().is_empty())?.domain = alias();
        set(&mut node(m, r)?.domain, alias())
    }),
    ("node-input-name", |m, r| {
        let list = &mut node(m, r)?.input;
        *r.of(list)? = r.pick(&["", "nowhere"]).into();
        Some(())
    }),
    ("node-input-drop", |m, r| {
        let list = &mut node(m, r)?.input;
        remove(list, r)
    }),
    ("node-input-more", |m, r| {
        let list = &mut node(m, r)?.input;
        let name = r.of(list)?.clone();
        push(list, r.pick(&[name, String::new()]))
    }),
    ("node-input-itself", |m, r| {
        let node = node(m, r)?;
        let name = node.output.first()?.clone();
        *r.of(&mut node.input)? = name;
        Some(())
    }),
    ("node-input-later", |m, r| {
        let graph = graph(m, r)?;
        let name = graph.node.last()?.output.first()?.clone();
        let node = r.of(&mut graph.node)?;
        *r.of(&mut node.input)? = name;
        Some(())
    }),
    ("node-inputs-none", |m, r| {
        node(m, r)?.input.clear();
        Some(())
    }),
    ("node-output-name", |m, r| {
        let list = &mut node(m, r)?.output;
        *r.of(list)? = r.pick(&["", "another"]).into();
        Some(())
    }),
    ("node-output-drop", |m, r| {
        let list = &mut node(m, r)?.output;
        remove(list, r)
    }),
    ("node-output-more", |m, r| {
        push(&mut node(m, r)?.output, r.pick(&["", "further"]).into())
    }),
    ("node-output-twice", |m, r| {
        let list = &mut node(m, r)?.output;
        let name = r.of(list)?.clone();
        push(list, name)
    }),
    ("node-output-taken", |m, r| {
        let graph = graph(m, r)?;
        let name = r.of(&mut graph.node)?.output.first()?.clone();
        let node = r.of(&mut graph.node)?;
        *r.of(&mut node.output)? = name;
        Some(())
    }),
    ("node-bare", |m, r| {
        let node = node(m, r)?;
        node.input.clear();
        node.output.clear();
        Some(())
    }),
    ("attribute-drop", |m, r| {
        let list = attributes(m, r)?;
        remove(list, r)
    }),
    ("attribute-twice", |m, r| {
        let list = attributes(m, r)?;
        let item = r.of(list)?.clone();
        push(list, item)
    }),
    ("attribute-name", |m, r| {
        let list = attributes(m, r)?;
        set(
            &mut r.of(list)?.name,
            r.pick(&[
                None,
                Some(String::new()),
                Some("another".into()),
                Some("__note".into()),
            ]),
        )
    }),
    ("attribute-type", |m, r| {
        let list = attributes(m, r)?;
        set(
            &mut r.of(list)?.r#type,
            r.pick(&[
                None,
                Some(0),
                Some(1),
                Some(2),
                Some(3),
                Some(4),
                Some(7),
                Some(99),
            ]),
        )
    }),
    ("attribute-second-value", |m, r| {
        let list = attributes(m, r)?;
        let attribute = r.of(list)?;
        match r.below(3) {
            0 => attribute.f = Some(1.0),
            1 => attribute.i = Some(1),
            _ => attribute.ints.push(1),
        }
        Some(())
    }),
    ("attribute-no-value", |m, r| {
        let list = attributes(m, r)?;
        let old = r.of(list)?;
        *old = AttributeProto {
            name: old.name.clone(),
            r#type: old.r#type,
            ..Default::default()
        };
        Some(())
    }),
    ("attribute-reference", |m, r| {
        let list = attributes(m, r)?;
        set(
            &mut r.of(list)?.ref_attr_name,
            r.pick(&[
                Some(String::new()),
                Some("alpha".into()),
                Some("elsewhere".into()),
            ]),
        )
    }),
    ("attribute-more", |m, r| {
        let name = r.pick(&["axis", "frobnicate", "__note"]);
        push(
            &mut node(m, r)?.attribute,
            AttributeProto {
                name: Some(name.into()),
                r#type: Some(AttributeType::Int as i32),
                i: Some(1),
                ..Default::default()
            },
        )
    }),
];
