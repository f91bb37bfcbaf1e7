//! PyTorch files: element types, byte orders, views, shared storages, state dicts.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use amphora_checkpoint::{Checkpoint, Dtype};
use amphora_error::ErrorKind;
use support::pickle::{V, dict, dump, storage, tensor, vector};
use support::{read, refused, torch_legacy, torch_zip, torch_zip_with};

/// Little-endian bytes of 32-bit floats.
fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A file whose state dict is `w` over a storage of six floats 0 to 5.
fn six(offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let view = tensor(storage("FloatStorage", "0", 6), offset, shape, strides);
    torch_zip(
        &dump(&dict(&[("w", view)])),
        &[("0", &floats(&[0., 1., 2., 3., 4., 5.]))],
    )
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    checkpoint.tensors()[name].to_f32().unwrap()
}

#[test]
fn every_element_type_reads_in_every_byte_order_and_format() {
    use half::{bf16, f16};
    // The bytes of two elements, little-endian, and their values.
    let rows: [(&str, Dtype, Vec<u8>, [f64; 2]); 10] = [
        ("BoolStorage", Dtype::Bool, vec![1, 0], [1., 0.]),
        ("ByteStorage", Dtype::U8, vec![255, 1], [255., 1.]),
        ("CharStorage", Dtype::I8, vec![255, 127], [-1., 127.]),
        (
            "ShortStorage",
            Dtype::I16,
            [(-2_i16).to_le_bytes(), 300_i16.to_le_bytes()].concat(),
            [-2., 300.],
        ),
        (
            "IntStorage",
            Dtype::I32,
            [(-2_i32).to_le_bytes(), 70_000_i32.to_le_bytes()].concat(),
            [-2., 70_000.],
        ),
        (
            "LongStorage",
            Dtype::I64,
            [(-2_i64).to_le_bytes(), (1_i64 << 40).to_le_bytes()].concat(),
            [-2., (1_i64 << 40) as f64],
        ),
        (
            "HalfStorage",
            Dtype::F16,
            [
                f16::from_f32(1.5).to_le_bytes(),
                f16::from_f32(-65504.).to_le_bytes(),
            ]
            .concat(),
            [1.5, -65504.],
        ),
        (
            "BFloat16Storage",
            Dtype::BF16,
            [
                bf16::from_f32(1.5).to_le_bytes(),
                bf16::from_f32(-3e38).to_le_bytes(),
            ]
            .concat(),
            [1.5, f64::from(bf16::from_f32(-3e38).to_f32())],
        ),
        (
            "FloatStorage",
            Dtype::F32,
            floats(&[1.25, -0.1]),
            [1.25, f64::from(-0.1_f32)],
        ),
        (
            "DoubleStorage",
            Dtype::F64,
            [0.1_f64.to_le_bytes(), (-1e300_f64).to_le_bytes()].concat(),
            [0.1, -1e300],
        ),
    ];
    amphora_testing::each(&rows, |(class, dtype, little, expected)| {
        let pickle = dump(&dict(&[(
            "w",
            tensor(storage(class, "0", 2), 0, &[2], &[1]),
        )]));
        let mut big = little.clone();
        big.chunks_exact_mut(little.len() / 2)
            .for_each(<[u8]>::reverse);
        let files = [
            ("little", torch_zip(&pickle, &[("0", little)])),
            (
                "big",
                torch_zip_with(&pickle, &[("0", &big)], &[("byteorder", b"big")]),
            ),
            ("unsaid", torch_zip_with(&pickle, &[("0", little)], &[])),
            ("legacy", torch_legacy(&pickle, &[("0", 2, little)])),
        ];
        for (form, file) in files {
            let checkpoint = read(&file).map_err(|error| format!("{form}: {error:?}"))?;
            let found = &checkpoint.tensors()["w"];
            if found.dtype() != *dtype
                || found.data().unwrap() != little
                || found.to_f64().unwrap() != expected
            {
                return Err(format!("{form}: {found:?}"));
            }
        }
        Ok(())
    });
}

#[test]
fn types_without_a_storage_class_of_their_own_read_through_their_dtype() {
    let v3 = |dtype: &'static str| {
        V::Call(
            "torch._utils",
            "_rebuild_tensor_v3",
            vec![
                storage("UntypedStorage", "0", 8),
                V::Int(0),
                V::ints(&[2]),
                V::ints(&[1]),
                V::Bool(false),
                V::Call("collections", "OrderedDict", vec![]),
                V::Global("torch", dtype),
            ],
        )
    };
    let data = [7_u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
    let file = |dtype| torch_zip(&dump(&dict(&[("w", v3(dtype))])), &[("0", &data)]);
    let checkpoint = read(&file("uint32")).unwrap();
    assert_eq!(checkpoint.tensors()["w"].dtype(), Dtype::U32);
    assert_eq!(
        checkpoint.tensors()["w"].to_f64().unwrap(),
        [7., 4_294_967_295.]
    );
    refused(
        &file("float8_e4m3fn"),
        ErrorKind::Unsupported,
        "tensor-dtype",
        "float8_e4m3fn",
    )
    .unwrap();
    refused(
        &file("uint64"),
        ErrorKind::Malformed,
        "storage-too-small",
        "",
    )
    .unwrap();
}

#[test]
fn complex_and_quantized_tensors_are_unsupported_by_name() {
    let rows = [
        ("ComplexFloatStorage", "complex64"),
        ("ComplexDoubleStorage", "complex128"),
        ("QInt8Storage", "qint8"),
    ];
    amphora_testing::each(&rows, |(class, name)| {
        let pickle = dump(&dict(&[(
            "w",
            tensor(storage(class, "0", 1), 0, &[1], &[1]),
        )]));
        refused(
            &torch_zip(&pickle, &[("0", &[0; 16])]),
            ErrorKind::Unsupported,
            "tensor-dtype",
            name,
        )
    });
}

/// What, offset, shape, strides, values.
type Row<'a> = (&'a str, i64, &'a [i64], &'a [i64], &'a [f32]);

#[test]
fn views_are_read_as_pytorch_reads_them() {
    let rows: [Row<'_>; 11] = [
        ("all of it", 0, &[2, 3], &[3, 1], &[0., 1., 2., 3., 4., 5.]),
        ("transposed", 0, &[3, 2], &[1, 3], &[0., 3., 1., 4., 2., 5.]),
        ("a column", 1, &[2], &[3], &[1., 4.]),
        ("a slice", 2, &[3], &[1], &[2., 3., 4.]),
        ("expanded", 4, &[2, 2], &[0, 0], &[4., 4., 4., 4.]),
        (
            "overlapping windows",
            0,
            &[3, 2],
            &[2, 1],
            &[0., 1., 2., 3., 4., 5.],
        ),
        ("a diagonal", 0, &[2], &[4], &[0., 4.]),
        ("a scalar", 5, &[], &[], &[5.]),
        (
            "strides of dimensions of one",
            0,
            &[1, 6, 1],
            &[i64::MAX, 1, 77],
            &[0., 1., 2., 3., 4., 5.],
        ),
        (
            "the same, not contiguous",
            0,
            &[1, 3, 1],
            &[i64::MAX, 2, 77],
            &[0., 2., 4.],
        ),
        ("no elements", 6, &[0, 3], &[3, 1], &[]),
    ];
    amphora_testing::each(&rows, |(_, offset, shape, strides, expected)| {
        let checkpoint =
            read(&six(*offset, shape, strides)).map_err(|error| format!("{error:?}"))?;
        let extents: Vec<u64> = shape.iter().map(|extent| *extent as u64).collect();
        let found = &checkpoint.tensors()["w"];
        if found.shape() == extents && found.to_f32().unwrap() == *expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
}

#[test]
fn a_view_that_does_not_fit_its_storage_is_refused() {
    let rank = [1; 65];
    let rows: [(&str, Vec<u8>, ErrorKind, &str); 12] = [
        (
            "one element too many",
            six(0, &[7], &[1]),
            ErrorKind::Malformed,
            "storage-too-small",
        ),
        (
            "offset at the end",
            six(6, &[1], &[1]),
            ErrorKind::Malformed,
            "storage-too-small",
        ),
        (
            "stride beyond",
            six(0, &[2], &[6]),
            ErrorKind::Malformed,
            "storage-too-small",
        ),
        (
            "huge offset",
            six(i64::MAX, &[1], &[1]),
            ErrorKind::Malformed,
            "storage-too-small",
        ),
        (
            "negative offset",
            six(-1, &[1], &[1]),
            ErrorKind::Malformed,
            "tensor-arguments",
        ),
        (
            "negative extent",
            six(0, &[-1], &[1]),
            ErrorKind::Malformed,
            "tensor-arguments",
        ),
        (
            "negative stride",
            six(5, &[2], &[-1]),
            ErrorKind::Malformed,
            "tensor-arguments",
        ),
        (
            "shape and strides differ",
            six(0, &[2, 3], &[1]),
            ErrorKind::Malformed,
            "tensor-arguments",
        ),
        (
            "2^64 elements",
            six(0, &[1 << 32, 1 << 32], &[0, 0]),
            ErrorKind::Malformed,
            "tensor-overflow",
        ),
        (
            "the last position overflows",
            six(0, &[3], &[i64::MAX]),
            ErrorKind::Malformed,
            "storage-too-small",
        ),
        (
            "2^40 elements from one",
            six(0, &[1 << 40], &[0]),
            ErrorKind::Limit,
            "expansion",
        ),
        (
            "rank 65",
            six(0, &rank, &rank),
            ErrorKind::Limit,
            "tensor-rank",
        ),
    ];
    amphora_testing::each(&rows, |(_, file, kind, rule)| {
        refused(file, *kind, rule, "'w'")
    });
}

#[test]
fn storages_are_compared_with_what_the_pickle_says() {
    let pickle = dump(&dict(&[("w", vector("0", 2))]));
    let two = floats(&[1., 2.]);
    let longer = floats(&[1., 2., 3.]);
    let twice = dump(&dict(&[("w", vector("0", 2)), ("v", vector("0", 3))]));
    let wrong_order = torch_zip_with(&pickle, &[("0", &two)], &[("byteorder", b"middle")]);
    let mut tail = torch_legacy(&pickle, &[("0", 2, &two)]);
    tail.push(0);
    let rows: [(&str, Vec<u8>, &str); 12] = [
        (
            "storage shorter",
            torch_zip(&pickle, &[("0", &two[..4])]),
            "storage-size",
        ),
        (
            "storage longer",
            torch_zip(&pickle, &[("0", &longer)]),
            "storage-size",
        ),
        (
            "one storage, two sizes",
            torch_zip(&twice, &[("0", &two)]),
            "storage-size",
        ),
        ("byte order", wrong_order, "byte-order"),
        (
            "legacy: count differs",
            torch_legacy(&pickle, &[("0", 3, &longer)]),
            "storage-size",
        ),
        (
            "legacy: count of 2^63",
            torch_legacy(&pickle, &[("0", 1 << 63, &two)]),
            "storage-size",
        ),
        (
            "legacy: cut off",
            torch_legacy(&pickle, &[("0", 2, &two[..7])]),
            "storage-truncated",
        ),
        (
            "legacy: not listed",
            torch_legacy(&pickle, &[]),
            "storage-missing",
        ),
        (
            "legacy: unknown key",
            torch_legacy(&pickle, &[("0", 2, &two), ("1", 2, &two)]),
            "storage-unknown",
        ),
        (
            "legacy: listed twice",
            torch_legacy(&pickle, &[("0", 2, &two), ("0", 2, &two)]),
            "storage-duplicate",
        ),
        (
            "legacy: two sizes",
            torch_legacy(&twice, &[("0", 2, &two)]),
            "storage-reference",
        ),
        ("legacy: tail", tail, "legacy-tail"),
    ];
    amphora_testing::each(&rows, |(_, file, rule)| {
        refused(file, ErrorKind::Malformed, rule, "")
    });
    let huge = dump(&dict(&[("w", vector("0", i64::MAX))]));
    refused(
        &torch_legacy(&huge, &[("0", i64::MAX as u64, &two)]),
        ErrorKind::Malformed,
        "storage-truncated",
        "",
    )
    .unwrap();
    refused(
        &torch_zip(&huge, &[("0", &two)]),
        ErrorKind::Malformed,
        "storage-size",
        "",
    )
    .unwrap();
}

#[test]
fn two_names_share_one_storage() {
    let shared = storage("FloatStorage", "0", 4);
    let pickle = dump(&dict(&[
        ("head", tensor(shared.clone(), 0, &[2], &[1])),
        ("tied", tensor(shared.clone(), 0, &[2, 2], &[2, 1])),
        ("tail", tensor(shared, 2, &[2], &[1])),
    ]));
    let data = floats(&[1., 2., 3., 4.]);
    for file in [
        torch_zip(&pickle, &[("0", &data)]),
        torch_legacy(&pickle, &[("0", 4, &data)]),
    ] {
        let checkpoint = read(&file).unwrap();
        assert_eq!(values(&checkpoint, "head"), [1., 2.]);
        assert_eq!(values(&checkpoint, "tied"), [1., 2., 3., 4.]);
        assert_eq!(values(&checkpoint, "tail"), [3., 4.]);
        let start = |name: &str| checkpoint.tensors()[name].data().unwrap().as_ptr();
        assert_eq!(start("head"), start("tied"));
    }
}

#[test]
fn a_part_of_a_legacy_storage_is_a_storage_of_its_own() {
    let part = |offset, length| {
        let reference = V::Persistent(vec![
            V::text("storage"),
            V::Global("torch", "FloatStorage"),
            V::text("root"),
            V::text("cpu"),
            V::Int(4),
            V::Tuple(vec![V::text("view"), V::Int(offset), V::Int(length)]),
        ]);
        dump(&dict(&[("w", tensor(reference, 0, &[2], &[1]))]))
    };
    let data = floats(&[1., 2., 3., 4.]);
    let file = |offset, length| torch_legacy(&part(offset, length), &[("root", 4, &data)]);
    assert_eq!(values(&read(&file(1, 2)).unwrap(), "w"), [2., 3.]);
    for (offset, length) in [(1, 1), (3, 2), (i64::MAX, 2)] {
        refused(
            &file(offset, length),
            ErrorKind::Malformed,
            "storage-too-small",
            "",
        )
        .unwrap();
    }
    refused(&file(-1, 2), ErrorKind::Malformed, "storage-reference", "").unwrap();
}

#[test]
fn parameters_and_older_tensors_read_and_negated_ones_do_not() {
    let inner = vector("0", 1);
    let hooks = || V::Call("collections", "OrderedDict", vec![]);
    let parameter = |data: V| {
        V::Call(
            "torch._utils",
            "_rebuild_parameter",
            vec![data, V::Bool(true), hooks()],
        )
    };
    let old = V::Call(
        "torch._utils",
        "_rebuild_tensor",
        vec![
            storage("FloatStorage", "0", 1),
            V::Int(0),
            V::ints(&[1]),
            V::ints(&[1]),
        ],
    );
    let with_metadata = |metadata: V| {
        V::Call(
            "torch._utils",
            "_rebuild_tensor_v2",
            vec![
                storage("FloatStorage", "0", 1),
                V::Int(0),
                V::ints(&[1]),
                V::ints(&[1]),
                V::Bool(false),
                hooks(),
                metadata,
            ],
        )
    };
    let file = |value: V| torch_zip(&dump(&dict(&[("w", value)])), &[("0", &floats(&[3.]))]);
    for value in [
        parameter(inner.clone()),
        old,
        with_metadata(V::Dict(vec![])),
    ] {
        assert_eq!(values(&read(&file(value)).unwrap(), "w"), [3.]);
    }
    let negated = with_metadata(dict(&[("neg", V::Bool(true))]));
    refused(
        &file(negated),
        ErrorKind::Unsupported,
        "tensor-metadata",
        "'w'",
    )
    .unwrap();
    let nested = (0..10).fold(inner, |value, _| parameter(value));
    refused(&file(nested), ErrorKind::Malformed, "tensor-arguments", "").unwrap();
}

/// The names of the tensors in `object`, whose tensors are all the same.
fn names(object: &V) -> Result<Vec<String>, String> {
    let file = torch_zip(&dump(object), &[("0", &floats(&[1.]))]);
    let checkpoint = read(&file).map_err(|error| format!("{error:?}"))?;
    Ok(checkpoint.tensors().keys().cloned().collect())
}

#[test]
fn the_state_dict_is_found_wherever_training_loops_put_it() {
    let t = || vector("0", 1);
    let weights = || dict(&[("a.weight", t()), ("a.steps", V::Int(3)), ("b", t())]);
    let optimizer = || {
        let moments = dict(&[("exp_avg", t()), ("step", V::Int(1))]);
        dict(&[
            ("state", V::Dict(vec![(V::Int(0), moments)])),
            (
                "param_groups",
                V::List(vec![dict(&[("lr", V::Float(0.1))])]),
            ),
        ])
    };
    let plain: &[&str] = &["a.weight", "b"];
    let rows: Vec<(&str, V, &[&str])> = vec![
        ("itself", weights(), plain),
        (
            "state_dict",
            dict(&[
                ("epoch", V::Int(1)),
                ("state_dict", weights()),
                ("optimizer", optimizer()),
            ]),
            plain,
        ),
        (
            "model_state_dict",
            dict(&[
                ("optimizer_state_dict", optimizer()),
                ("model_state_dict", weights()),
            ]),
            plain,
        ),
        (
            "model",
            dict(&[
                ("model", weights()),
                ("config", dict(&[("model", V::text("x"))])),
            ]),
            plain,
        ),
        (
            "module",
            dict(&[("module", weights()), ("optimizer", optimizer())]),
            plain,
        ),
        (
            "two levels",
            dict(&[("model", dict(&[("state_dict", weights())]))]),
            plain,
        ),
        (
            "a tensor beside it",
            dict(&[("rng", t()), ("state_dict", weights())]),
            plain,
        ),
        (
            "an empty one beside it",
            dict(&[("model", dict(&[])), ("state_dict", weights())]),
            plain,
        ),
        (
            "prefixed",
            dict(&[("module.a", t()), ("module.b", t())]),
            &["a", "b"],
        ),
        (
            "nested dictionaries",
            dict(&[
                ("enc", dict(&[("w", t()), ("deep", dict(&[("w", t())]))])),
                ("dec", dict(&[("w", t())])),
            ]),
            &["dec.w", "enc.deep.w", "enc.w"],
        ),
        (
            "beside an optimizer",
            dict(&[("w", t()), ("optimizer", optimizer())]),
            &["w"],
        ),
        (
            "pairs of Python 2",
            V::Call(
                "collections",
                "OrderedDict",
                vec![V::List(vec![V::List(vec![V::text("a"), t()])])],
            ),
            &["a"],
        ),
        (
            "a scheduler's counter",
            dict(&[
                ("w", t()),
                (
                    "milestones",
                    V::Call(
                        "collections",
                        "Counter",
                        vec![V::Dict(vec![(V::Int(3), V::Int(1))])],
                    ),
                ),
            ]),
            &["w"],
        ),
        (
            "a device and a dtype",
            dict(&[
                ("w", t()),
                ("device", V::Call("torch", "device", vec![V::text("cpu")])),
                ("dtype", V::Global("torch", "float32")),
            ]),
            &["w"],
        ),
    ];
    amphora_testing::each(&rows, |(_, object, expected)| {
        let found = names(object)?;
        if found == *expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
}

#[test]
fn a_file_without_one_clear_state_dict_is_refused() {
    let t = || vector("0", 1);
    let weights = || dict(&[("w", t())]);
    let rows: Vec<(&str, V, &str)> = vec![
        ("a number", V::Int(1), "state-dict-missing"),
        ("a tensor", t(), "state-dict-missing"),
        (
            "a list of tensors",
            V::List(vec![t()]),
            "state-dict-missing",
        ),
        (
            "no tensors",
            dict(&[("epoch", V::Int(1))]),
            "state-dict-missing",
        ),
        (
            "numbered tensors",
            V::Dict(vec![(V::Int(0), t())]),
            "state-dict-missing",
        ),
        (
            "two state dicts",
            dict(&[("model", weights()), ("state_dict", weights())]),
            "state-dict-ambiguous",
        ),
        (
            "a name twice",
            dict(&[("w", t()), ("w", t())]),
            "tensor-duplicate",
        ),
        (
            "a name twice, nested",
            dict(&[("a.w", t()), ("a", weights())]),
            "tensor-duplicate",
        ),
        // {'w': tensor, 'a': d, 'b': d} with d = {'v': tensor}
        (
            "one dictionary under two names",
            {
                let inner = dump(&dict(&[("v", t())]));
                let inner = &inner[2..inner.len() - 1];
                let again = V::Raw([inner, b"q\x09"].concat());
                dict(&[("a", again), ("b", V::Raw(b"h\x09".to_vec()))])
            },
            "state-dict-shared",
        ),
    ];
    amphora_testing::each(&rows, |(_, object, rule)| {
        let file = torch_zip(&dump(object), &[("0", &floats(&[1.]))]);
        refused(&file, ErrorKind::Malformed, rule, "")
    });
}

#[test]
fn the_configuration_is_plain_data_or_absent() {
    let config = |config: V| {
        let pickle = dump(&dict(&[
            ("state_dict", dict(&[("w", vector("0", 1))])),
            ("config", config),
        ]));
        read(&torch_zip(&pickle, &[("0", &floats(&[1.]))]))
            .unwrap()
            .config()
            .cloned()
    };
    let plain = dict(&[
        ("hidden", V::List(vec![V::Int(128), V::Int(1 << 40)])),
        ("size", V::ints(&[-3])),
        ("rate", V::Float(0.5)),
        ("bias", V::Bool(false)),
        ("name", V::text("mlp")),
        ("more", dict(&[("none", V::None)])),
    ]);
    assert_eq!(
        serde_json::Value::Object(config(plain).unwrap()),
        serde_json::json!({
            "hidden": [128, 1_u64 << 40], "size": [-3], "rate": 0.5, "bias": false, "name": "mlp", "more": {"none": null}
        })
    );
    assert_eq!(config(V::text("config.yaml")), None);
    assert_eq!(config(dict(&[("w", vector("0", 1))])), None);
    assert_eq!(config(dict(&[("rate", V::Float(f64::NAN))])), None);
    assert_eq!(config(V::Dict(vec![(V::Int(1), V::Int(2))])), None);
}

#[test]
fn a_number_out_of_range_is_not_narrowed_to_infinity() {
    let file = |value: f64| {
        let view = tensor(storage("DoubleStorage", "0", 2), 0, &[2], &[1]);
        let data = [0.1_f64.to_le_bytes(), value.to_le_bytes()].concat();
        read(&torch_zip(&dump(&dict(&[("w", view)])), &[("0", &data)])).unwrap()
    };
    assert_eq!(values(&file(2.0), "w"), [0.1, 2.0]);
    assert_eq!(
        values(&file(f64::NEG_INFINITY), "w"),
        [0.1, f32::NEG_INFINITY]
    );
    let error = file(1e39).tensors()["w"].to_f32().unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Incompatible, "float32-range")
    );
}
