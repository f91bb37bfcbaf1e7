use amphora_onnx::proto::*;
use amphora_onnx::{Limits, Model, prescan, write};
use bytes::Bytes;

use crate::wire::healthy;

#[test]
fn two_hundred_thousand_nodes_in_a_chain_are_read() {
    let nodes = (0..200_000)
        .map(|index| NodeProto {
            op_type: Some("Relu".into()),
            input: vec![format!("v{index}")],
            output: vec![format!("v{}", index + 1)],
            ..NodeProto::default()
        })
        .collect();
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(GraphProto {
            node: nodes,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let bytes = Bytes::from(write::to_bytes(&model));
    assert_eq!(prescan(&bytes, &Limits::default()).unwrap().nodes, 200_000);
    assert_eq!(
        *Model::from_bytes(bytes, None, &Limits::default())
            .unwrap()
            .proto(),
        model
    );
}

#[test]
fn every_limit_of_the_model_file_holds_to_the_unit() {
    let bytes = healthy();
    let census = prescan(&bytes, &Limits::default()).unwrap();
    let defaults = Limits::default;
    let spare = census.decoded_bytes - bytes.len() as u64;
    let rows = [
        (
            "file-size",
            Limits {
                file_bytes: bytes.len() as u64,
                ..defaults()
            },
            Limits {
                file_bytes: bytes.len() as u64 - 1,
                ..defaults()
            },
        ),
        (
            "messages",
            Limits {
                messages: census.messages,
                ..defaults()
            },
            Limits {
                messages: census.messages - 1,
                ..defaults()
            },
        ),
        (
            "nesting",
            Limits {
                nesting: census.nesting,
                ..defaults()
            },
            Limits {
                nesting: census.nesting - 1,
                ..defaults()
            },
        ),
        (
            "nodes",
            Limits {
                nodes: 1,
                ..defaults()
            },
            Limits {
                nodes: 0,
                ..defaults()
            },
        ),
        (
            "decoded-bytes",
            Limits {
                decoded_bytes: spare,
                ..defaults()
            },
            Limits {
                decoded_bytes: spare - 1,
                ..defaults()
            },
        ),
        (
            "rank",
            Limits {
                rank: 1,
                ..defaults()
            },
            Limits {
                rank: 0,
                ..defaults()
            },
        ),
        (
            "elements",
            Limits {
                elements: 2,
                ..defaults()
            },
            Limits {
                elements: 1,
                ..defaults()
            },
        ),
        (
            "name-length",
            Limits {
                name_bytes: 8,
                ..defaults()
            },
            Limits {
                name_bytes: 7,
                ..defaults()
            },
        ),
    ];
    amphora_testing::each(&rows, |(rule, enough, short)| {
        let bytes = Bytes::from(bytes.clone());
        if let Err(error) = Model::from_bytes(bytes.clone(), None, enough) {
            return Err(format!("refused: {error:?}"));
        }
        match Model::from_bytes(bytes, None, short) {
            Err(error) if error.rule() == *rule => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
