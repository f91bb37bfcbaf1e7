//! Rows 15 to 18, 29 and 32: tensors whose shape, dtype and payload contradict each other, or are odd.

use amphora_error::ErrorKind::{Limit, Malformed, Unsupported};
use amphora_onnx::proto::TensorProto;
use bytes::Bytes;

use super::graph::int64s;
use super::sample::{self, RUN};
use crate::bundle::sample::make_of;
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
            let model = sample::edited(|graph| {
                graph.initializer = vec![tensor];
                if row < 29 {
                    // A weight of any shape is sound where nothing uses it.
                    graph.node = vec![sample::node("Identity", &["x"], "y")];
                }
            });
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
    cases.extend(sealed());
    cases.extend(huge());
    cases
}

/// The same weights in a bundle, whose manifest counts them.
fn sealed() -> [Case; 3] {
    let rows = [
        (
            "weights-not-finite-strict",
            "verify ./bundle --strict",
            Answer::Refused(&[Malformed]),
            "2 weights are NaN or infinite",
        ),
        (
            "weights-not-finite-verified",
            "verify ./bundle",
            Answer::Accepted,
            "2 weights are NaN or infinite",
        ),
        (
            "weights-not-finite-counted",
            "inspect ./bundle --json",
            Answer::Accepted,
            "\"nonfinite_weights\":2",
        ),
    ];
    rows.map(|(name, command, answer, place)| Case {
        row: 29,
        name,
        writes: "NaN and infinity",
        command,
        answer,
        place,
        unopened: None,
        write: Box::new(|root, form| {
            let weights = form.pick([f32::NAN, f32::INFINITY], [1.0, 2.0]);
            let model = sample::edited(|graph| {
                let raw = weights.map(f32::to_le_bytes).concat();
                graph.initializer[0].raw_data = Some(raw.into());
            });
            make_of(root, &model, [1.0 + weights[0], 2.0 + weights[1]]).map(drop)
        }),
    })
}

/// More than 4 GiB of weights, two values of which are used.
fn huge() -> [Case; 2] {
    let rows = [
        ("external-4-gib", "inspect model.onnx"),
        ("external-4-gib-contract", "contract model.onnx"),
    ];
    rows.map(|(name, command)| Case {
        row: 32,
        name,
        writes: "external data of 4 GiB and 8 bytes, all of it a hole",
        command,
        answer: Answer::Accepted,
        place: "1073741826",
        unopened: None,
        write: Box::new(|root, form| {
            let count: i64 = form.pick((1 << 30) + 2, 2);
            let bytes = count as u64 * 4;
            let weights = TensorProto {
                dims: vec![count],
                raw_data: None,
                data_location: Some(TensorProto::LOCATION_EXTERNAL),
                external_data: vec![
                    sample::entry("location", "weights.bin"),
                    sample::entry("length", &bytes.to_string()),
                ],
                ..sample::tensor("w")
            };
            let model = sample::edited(|graph| {
                graph.initializer = vec![weights, int64s("i", &[0, 1])];
                graph.node = vec![
                    sample::node("Gather", &["w", "i"], "g"),
                    sample::node("Add", &["x", "g"], "y"),
                ];
            });
            fs_err::File::create(root.join("weights.bin"))?.set_len(bytes)?;
            sample::save(&root.join("model.onnx"), &model)
        }),
    })
}
