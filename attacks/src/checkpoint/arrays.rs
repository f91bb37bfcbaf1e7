//! Rows 15, 39 and 42 again, in the files of NumPy: inputs and golden vectors.

use amphora_error::ErrorKind::{Limit, Malformed};
use amphora_onnx::write;

use crate::bundle::zip::{self, Entry};
use crate::case::{Answer, Case, Form, Outcome};
use crate::onnx::sample;

const RUN: &str = "run model.onnx --input x=x.npy";
const PACK: &str = "pack --model model.onnx --name attack --golden golden.npz";

/// An array as NumPy writes it, of whatever its header claims.
fn npy(descr: &str, shape: &str, payload: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(payload);
    bytes
}

/// The input of the sample.
fn input() -> Vec<u8> {
    npy("<f4", "(2,)", &sample::PAYLOAD)
}

/// A pickled list, where numbers belong.
fn objects() -> Vec<u8> {
    npy("|O", "(2,)", b"\x80\x04]\x94(K\x01K\x02e.")
}

fn input_case(
    row: u8,
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    hostile: fn() -> Vec<u8>,
) -> Case {
    Case {
        row,
        name,
        writes,
        command: RUN,
        answer,
        place: "input 'x'",
        unopened: None,
        write: Box::new(move |root, form| {
            sample::save(&root.join("model.onnx"), &sample::model())?;
            let bytes = form.pick(hostile, input)();
            Ok(fs_err::write(root.join("x.npy"), bytes)?)
        }),
    }
}

/// Golden vectors in which `change` changes the arrays.
fn golden_case(
    row: u8,
    name: &'static str,
    writes: &'static str,
    place: &'static str,
    change: fn(&mut Vec<Entry>, Form) -> Outcome,
) -> Case {
    Case {
        row,
        name,
        writes,
        command: PACK,
        answer: Answer::Refused(&[Malformed]),
        place,
        unopened: None,
        write: Box::new(move |root, form| {
            fs_err::write(root.join("model.onnx"), write::to_bytes(&sample::model()))?;
            let output = [2.0_f32, 4.0].map(f32::to_le_bytes).concat();
            let mut entries = vec![
                Entry::stored("x.npy", &input()),
                Entry::stored("y.npy", &npy("<f4", "(2,)", &output)),
            ];
            change(&mut entries, form)?;
            Ok(fs_err::write(
                root.join("golden.npz"),
                zip::write(&entries),
            )?)
        }),
    }
}

pub(crate) fn cases() -> [Case; 7] {
    [
        input_case(
            42,
            "npy-objects",
            "an array of pickled objects",
            Answer::Refused(&[Malformed]),
            objects,
        ),
        input_case(
            15,
            "npy-shape-2-40",
            "a shape of 2^40 on 8 bytes",
            Answer::Refused(&[Malformed, Limit]),
            || npy("<f4", "(1099511627776,)", &sample::PAYLOAD),
        ),
        input_case(
            15,
            "npy-shape-overflow",
            "a shape whose product wraps",
            Answer::Refused(&[Malformed, Limit]),
            || npy("<f4", "(4611686018427387905, 4)", &sample::PAYLOAD),
        ),
        input_case(
            39,
            "npy-header-4-gib",
            "a header of 2^32 - 1 bytes",
            Answer::Refused(&[Malformed, Limit]),
            || {
                let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
                bytes.extend(u32::MAX.to_le_bytes());
                bytes.extend(b"{'descr'");
                bytes
            },
        ),
        golden_case(
            42,
            "npz-objects",
            "an array of pickled objects",
            "pickled",
            |entries, form| {
                entries[0] = Entry::stored("x.npy", &form.pick(objects(), input()));
                Ok(())
            },
        ),
        golden_case(
            41,
            "npz-name-twice",
            "an array twice",
            "occurs twice",
            |entries, form| {
                if form == Form::Hostile {
                    entries.push(entries[0].clone());
                }
                Ok(())
            },
        ),
        golden_case(
            41,
            "npz-crc",
            "a wrong checksum",
            "golden.npz",
            |entries, form| {
                let crc = entries[0].local.crc;
                entries[0].both(|header| header.crc = form.pick(crc ^ 1, crc));
                Ok(())
            },
        ),
    ]
}
