//! safetensors, strictly: each rule with the file that breaks it and a healthy twin, and agreement
//! with the format's own library.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;

use amphora_error::ErrorKind;
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use support::{read, refused, safetensors};

/// A header entry of `dtype` and `shape` from `start` to `end`.
fn entry(name: &str, dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

fn header(entries: &[String]) -> String {
    format!("{{{}}}", entries.join(","))
}

#[test]
fn every_rule_refuses_its_file() {
    let a = || entry("a", "F32", "[2]", 0, 8);
    let one = |text: &str| header(&[text.to_owned()]);
    let rows: [(&str, Vec<u8>, &str, &str); 25] = [
        (
            "overlap",
            safetensors(&header(&[a(), entry("b", "F32", "[2]", 4, 12)]), &[0; 12]),
            "safetensors-overlap",
            "'b'",
        ),
        (
            "same range twice",
            safetensors(&header(&[a(), entry("b", "F32", "[2]", 0, 8)]), &[0; 8]),
            "safetensors-overlap",
            "expected a start at 8",
        ),
        (
            "hole",
            safetensors(&header(&[a(), entry("b", "F32", "[1]", 12, 16)]), &[0; 16]),
            "safetensors-hole",
            "'b'",
        ),
        (
            "hole at the start",
            safetensors(&one(&entry("a", "F32", "[2]", 4, 12)), &[0; 12]),
            "safetensors-hole",
            "'a'",
        ),
        (
            "tail",
            safetensors(&one(&a()), &[0; 9]),
            "safetensors-tail",
            "found 9 bytes",
        ),
        (
            "data cut off",
            safetensors(&one(&a()), &[0; 7]),
            "safetensors-range",
            "within 7 bytes",
        ),
        (
            "range backwards",
            safetensors(&one(&entry("a", "F32", "[2]", 8, 0)), &[0; 8]),
            "safetensors-range",
            "8 to 0",
        ),
        (
            "range beyond 2^63",
            safetensors(&one(&entry("a", "F32", "[2]", 0, u64::MAX)), &[0; 8]),
            "safetensors-range",
            "",
        ),
        (
            "size against shape",
            safetensors(&one(&entry("a", "F32", "[3]", 0, 8)), &[0; 8]),
            "tensor-size",
            "expected 12 bytes, found 8 bytes",
        ),
        (
            "size overflows",
            safetensors(
                &one(&entry(
                    "a",
                    "F32",
                    "[4294967296,4294967296,4294967296]",
                    0,
                    8,
                )),
                &[0; 8],
            ),
            "tensor-size",
            "more than 2^64",
        ),
        (
            "size wraps to the right one",
            safetensors(
                &one(&entry("a", "F32", "[4611686018427387906]", 0, 8)),
                &[0; 8],
            ),
            "tensor-size",
            "more than 2^64",
        ),
        (
            "unknown dtype",
            safetensors(&one(&entry("a", "F33", "[2]", 0, 8)), &[0; 8]),
            "tensor-dtype",
            "'F33'",
        ),
        (
            "negative extent",
            safetensors(&one(&entry("a", "F32", "[-2]", 0, 8)), &[0; 8]),
            "safetensors-entry",
            "`shape`",
        ),
        (
            "three offsets",
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}"#,
                &[0; 8],
            ),
            "safetensors-entry",
            "`data_offsets`",
        ),
        (
            "unknown key",
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}"#,
                &[0; 8],
            ),
            "safetensors-entry",
            "'a'",
        ),
        (
            "missing key",
            safetensors(r#"{"a":{"dtype":"F32","shape":[2]}}"#, &[0; 8]),
            "safetensors-entry",
            "'a'",
        ),
        (
            "same name twice",
            safetensors(&header(&[a(), a()]), &[0; 8]),
            "safetensors-header",
            "occurs twice",
        ),
        (
            "same key twice",
            safetensors(
                r#"{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
                &[0; 8],
            ),
            "safetensors-header",
            "occurs twice",
        ),
        (
            "metadata that is not text",
            safetensors(r#"{"__metadata__":{"step":1}}"#, &[]),
            "safetensors-metadata",
            "",
        ),
        (
            "deep JSON",
            safetensors(
                &format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
                &[],
            ),
            "safetensors-header",
            "deeper",
        ),
        (
            "broken JSON",
            safetensors(r#"{"a""#, &[]),
            "safetensors-header",
            "",
        ),
        (
            "a header of 2^63 bytes",
            [&(1_u64 << 63).to_le_bytes()[..], b"{}"].concat(),
            "safetensors-header-length",
            "at most 2 bytes",
        ),
        (
            "a header longer than the file",
            [&3_u64.to_le_bytes()[..], b"{}"].concat(),
            "safetensors-header-length",
            "found 3 bytes",
        ),
        (
            "a header of no bytes",
            [&[0; 8], &b"{}"[..]].concat(),
            "safetensors-header-start",
            "'{'",
        ),
        (
            "a byte after nothing",
            safetensors("{}", b"x"),
            "safetensors-tail",
            "",
        ),
    ];
    amphora_testing::each(&rows, |(_, file, rule, needle)| {
        refused(file, ErrorKind::Malformed, rule, needle)
    });
}

#[test]
fn the_healthy_twins_read() {
    let a = entry("a", "F32", "[2]", 0, 8);
    let rows: [(&str, Vec<u8>, usize); 8] = [
        (
            "one",
            safetensors(&header(std::slice::from_ref(&a)), &[0; 8]),
            1,
        ),
        (
            "two, out of order",
            safetensors(
                &header(&[entry("b", "F32", "[1]", 8, 12), a.clone()]),
                &[0; 12],
            ),
            2,
        ),
        (
            "a scalar",
            safetensors(&header(&[entry("s", "I64", "[]", 0, 8)]), &[0; 8]),
            1,
        ),
        (
            "no elements between two",
            safetensors(
                &header(&[
                    a.clone(),
                    entry("e", "F64", "[0,3]", 8, 8),
                    entry("z", "U8", "[1]", 8, 9),
                ]),
                &[0; 9],
            ),
            3,
        ),
        (
            "no elements, huge shape",
            safetensors(
                &header(&[entry("e", "F64", "[18446744073709551615,0,9]", 0, 0)]),
                &[],
            ),
            1,
        ),
        (
            "padded",
            safetensors(&format!("{}   ", header(std::slice::from_ref(&a))), &[0; 8]),
            1,
        ),
        (
            "metadata",
            safetensors(
                &format!(r#"{{"__metadata__":{{"format":"pt"}},{a}}}"#),
                &[0; 8],
            ),
            1,
        ),
        ("no tensor", safetensors("{}", &[]), 0),
    ];
    amphora_testing::each(&rows, |(_, file, tensors)| {
        let checkpoint = read(file).map_err(|error| format!("{error:?}"))?;
        if checkpoint.tensors().len() == *tensors {
            Ok(())
        } else {
            Err(format!("{} tensors", checkpoint.tensors().len()))
        }
    });
}

#[test]
fn limits_and_foreign_types_have_their_own_kind() {
    let rank = format!("[{}1]", "1,".repeat(64));
    let name = "n".repeat(1025);
    let rows: [(&str, Vec<u8>, ErrorKind, &str); 5] = [
        (
            "rank 65",
            safetensors(&header(&[entry("a", "U8", &rank, 0, 1)]), &[0]),
            ErrorKind::Limit,
            "tensor-rank",
        ),
        (
            "a name of 1,025 bytes",
            safetensors(&header(&[entry(&name, "U8", "[1]", 0, 1)]), &[0]),
            ErrorKind::Limit,
            "tensor-name",
        ),
        (
            "a header of 17 MiB",
            safetensors(&format!("{{{}}}", " ".repeat(17 << 20)), &[]),
            ErrorKind::Limit,
            "safetensors-header-length",
        ),
        (
            "complex",
            safetensors(&header(&[entry("a", "C64", "[1]", 0, 8)]), &[0; 8]),
            ErrorKind::Unsupported,
            "tensor-dtype",
        ),
        (
            "8-bit floating point",
            safetensors(&header(&[entry("a", "F8_E4M3", "[1]", 0, 1)]), &[0]),
            ErrorKind::Unsupported,
            "tensor-dtype",
        ),
    ];
    amphora_testing::each(&rows, |(_, file, kind, rule)| {
        refused(file, *kind, rule, "")
    });
}

#[test]
fn a_prefix_is_stripped_only_where_every_name_has_it() {
    let rows: [(&[&str], &[&str]); 6] = [
        (&["module.a", "module.b"], &["a", "b"]),
        (&["module.model.a", "module.model.b.c"], &["a", "b.c"]),
        (&["module.a", "b"], &["b", "module.a"]),
        (&["model.a", "model.model.b"], &["a", "model.b"]),
        (&["model."], &["model."]),
        (&["_orig_mod.model.a"], &["a"]),
    ];
    amphora_testing::each(&rows, |(names, expected)| {
        let entries: Vec<String> = names
            .iter()
            .map(|name| entry(name, "U8", "[0]", 0, 0))
            .collect();
        let checkpoint =
            read(&safetensors(&header(&entries), &[])).map_err(|error| error.to_string())?;
        let found: Vec<&str> = checkpoint.tensors().keys().map(String::as_str).collect();
        if found == *expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
}

fn tensors() -> impl Strategy<Value = BTreeMap<String, (usize, Vec<usize>, u8)>> {
    let tensor = (
        0..12_usize,
        prop::collection::vec(0..4_usize, 0..4),
        any::<u8>(),
    );
    prop::collection::btree_map("[a-z_.\u{e9}\"\\\\]{1,12}", tensor, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_library_writes_reads_the_same(tensors in tensors()) {
        use safetensors::Dtype as D;
        const DTYPES: [D; 12] = [D::BOOL, D::U8, D::I8, D::I16, D::U16, D::F16, D::BF16, D::I32, D::U32, D::F32, D::F64, D::I64];
        let data: Vec<_> = tensors
            .iter()
            .map(|(name, (dtype, shape, fill))| {
                let dtype = DTYPES[*dtype];
                let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
                (format!("x.{name}"), dtype, shape.clone(), vec![*fill; bytes])
            })
            .collect();
        let views = data
            .iter()
            .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
        let file = safetensors::serialize(views, None).unwrap();
        let checkpoint = read(&file).unwrap();
        prop_assert_eq!(checkpoint.tensors().len(), data.len());
        for (name, dtype, shape, bytes) in &data {
            let tensor = &checkpoint.tensors()[name];
            let extents: Vec<u64> = shape.iter().map(|extent| *extent as u64).collect();
            prop_assert_eq!(tensor.dtype().name(), dtype.to_string());
            prop_assert_eq!(tensor.shape(), extents);
            prop_assert_eq!(&tensor.data().unwrap()[..], &bytes[..]);
            prop_assert!(file[tensor.place().unwrap().offset as usize..].starts_with(bytes));
        }
        // A file is covered to its last byte.
        prop_assert!(read(&[&file[..], &[0]].concat()).is_err());
        prop_assert!(read(&file[..file.len() - 1]).is_err());
    }
}
