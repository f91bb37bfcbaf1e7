//! Whatever is done to a file, the reader answers: truncations and edits never panic, and memory
//! stays within the budget.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use amphora_checkpoint::{Checkpoint, Dtype, Format};
use bytes::Bytes;
use proptest::prelude::*;
use support::pickle::{V, dict, dump, storage, tensor, vector};
use support::{read, safetensors, torch_legacy, torch_zip};

/// One small file of every format.
fn files() -> [Vec<u8>; 3] {
    let pickle = dump(&dict(&[
        (
            "model_state_dict",
            dict(&[
                (
                    "module.w",
                    tensor(storage("FloatStorage", "0", 6), 0, &[3, 2], &[1, 3]),
                ),
                ("module.v", vector("0", 6)),
            ]),
        ),
        (
            "config",
            dict(&[("n", V::List(vec![V::Int(1), V::Float(0.5), V::None]))]),
        ),
    ]));
    let data = [7; 24];
    [
        safetensors(
            r#"{"__metadata__":{"a":"b"},"w":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"v":{"dtype":"I8","shape":[12],"data_offsets":[12,24]}}"#,
            &data,
        ),
        torch_zip(&pickle, &[("0", &data)]),
        torch_legacy(&pickle, &[("0", 6, &data)]),
    ]
}

#[test]
fn every_truncation_is_refused() {
    for file in files() {
        assert_eq!(read(&file).unwrap().tensors().len(), 2);
        for length in 0..file.len() {
            assert!(
                read(&file[..length]).is_err(),
                "{length} of {} bytes",
                file.len()
            );
        }
    }
}

/// Name, element type, shape and data of every tensor.
fn content(checkpoint: &Checkpoint) -> Vec<(&str, Dtype, &[u64], Bytes)> {
    let tensors = checkpoint.tensors().iter();
    tensors
        .map(|(name, it)| (name.as_str(), it.dtype(), it.shape(), it.data().unwrap()))
        .collect()
}

#[test]
fn every_flipped_bit_gets_an_answer() {
    for file in files() {
        let healthy = read(&file).unwrap();
        let is_zip = healthy.format() == Format::TorchZip;
        for position in 0..file.len() {
            for bit in 0..8 {
                let mut edited = file.clone();
                edited[position] ^= 1 << bit;
                let answer = read(&edited);
                // Every entry of an archive has a checksum: what is not refused is what was written.
                if let (Ok(edited), true) = (answer, is_zip) {
                    assert_eq!(
                        content(&edited),
                        content(&healthy),
                        "bit {bit} of byte {position}"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_edits_get_an_answer(
        which in 0..3_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut file = files()[which].clone();
        for (position, byte, action) in edits {
            let position = position.index(file.len());
            match action {
                0 => file[position] = byte,
                1 => file.insert(position, byte),
                _ => { file.remove(position); }
            }
        }
        let _ = read(&file);
    }

    #[test]
    fn random_instructions_get_an_answer(instructions in prop::collection::vec(
        prop::sample::select(b"\x80\x95(NJKMGXUCB)t\x85\x86\x87]ae}suhjqr\x94cRbQ\x93.\0\x01\x02\x8a\x8c\n".to_vec()), 0..60)
    ) {
        let pickle = [b"\x80\x02", &instructions[..], b"."].concat();
        let _ = read(&torch_zip(&pickle, &[]));
    }
}
