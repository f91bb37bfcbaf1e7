//! Rows 15 to 18 and 29: tensors whose shape, dtype and payload contradict each other.

use amphora_error::ErrorKind::{Limit, Malformed, Unsupported};
use amphora_onnx::proto::TensorProto;
use bytes::Bytes;

use super::sample::{self, RUN};
use crate::case::{Answer, Case, Form};

const PLACE: &str = "initializer 'w'";
const SIZE: Answer = Answer::Refused(&[Malformed, Limit]);

/// The weight of the sample, changed.
fn weight(
    row: u8,
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    change: fn(&mut TensorProto, Form),
) -> Case {
    Case {
        row,
        name,
        writes,
        command: "inspect model.onnx",
        answer,
        place: PLACE,
        unopened: None,
        write: Box::new(move |root, form| {
            let mut tensor = sample::tensor("w");
            change(&mut tensor, form);
            let model = sample::edited(|graph| graph.initializer = vec![tensor]);
            sample::save(&root.join("model.onnx"), &model)
        }),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        weight(
            15,
            "dims-2-40",
            "dims [2^40] on 8 bytes",
            SIZE,
            |tensor, form| {
                tensor.dims = vec![form.pick(1 << 40, 2)];
            },
        ),
        weight(
            15,
            "dims-overflow",
            "dims [2^62, 2]",
            SIZE,
            |tensor, form| {
                tensor.dims = vec![form.pick(1 << 62, 1), 2];
            },
        ),
        weight(
            15,
            "dims-wrap-to-small",
            "dims [2^63 - 1, 2, 2], whose product wraps",
            SIZE,
            |tensor, form| tensor.dims = vec![form.pick(i64::MAX, 1), 2, 1],
        ),
        weight(
            15,
            "dims-wrap-to-zero",
            "dims [2^32, 2^32] without a payload",
            SIZE,
            |tensor, form| {
                tensor.dims = vec![1 << 32, form.pick(1 << 32, 0)];
                tensor.raw_data = Some(Bytes::new());
            },
        ),
        weight(15, "dims-negative", "dims [-2]", SIZE, |tensor, form| {
            tensor.dims = vec![form.pick(-2, 2)];
        }),
        weight(
            15,
            "dims-too-few-bytes",
            "dims [3] on 8 bytes",
            SIZE,
            |tensor, form| {
                tensor.dims = vec![form.pick(3, 2)];
            },
        ),
        Case {
            place: "too many dimensions",
            ..weight(
                16,
                "rank-100000",
                "100,000 dims",
                Answer::Refused(&[Limit]),
                |tensor, form| {
                    tensor.dims = vec![1; form.pick(100_000, 4)];
                    tensor.dims.push(2);
                },
            )
        },
        weight(
            17,
            "dtype-undefined",
            "dtype 0",
            Answer::Refused(&[Malformed]),
            |tensor, form| {
                tensor.data_type = Some(form.pick(0, 1));
            },
        ),
        weight(
            17,
            "dtype-unknown",
            "dtype 999",
            Answer::Refused(&[Unsupported, Malformed]),
            |tensor, form| tensor.data_type = Some(form.pick(999, 1)),
        ),
        weight(
            18,
            "two-payloads",
            "raw_data and float_data",
            Answer::Refused(&[Malformed]),
            |tensor, form| tensor.float_data = form.pick(vec![1.0, 2.0], Vec::new()),
        ),
    ];
    cases.push(Case {
        place: "NaN or infinite",
        ..weight(
            29,
            "weights-not-finite",
            "NaN and infinity",
            Answer::Accepted,
            |tensor, form| {
                let hostile = [f32::NAN, f32::INFINITY].map(f32::to_le_bytes).concat();
                tensor.raw_data = Some(form.pick(hostile, sample::PAYLOAD.to_vec()).into());
            },
        )
    });
    cases.push(Case {
        row: 29,
        name: "weights-not-finite-run",
        command: RUN,
        place: "NaN",
        ..weight(
            29,
            "",
            "NaN and infinity",
            Answer::Accepted,
            |tensor, form| {
                let hostile = [f32::NAN, f32::INFINITY].map(f32::to_le_bytes).concat();
                tensor.raw_data = Some(form.pick(hostile, sample::PAYLOAD.to_vec()).into());
            },
        )
    });
    cases
}
