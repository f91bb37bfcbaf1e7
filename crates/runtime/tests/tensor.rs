//! Tensors: constructors, views, JSON, `.npy` and `.npz`.

use amphora_error::ErrorKind;
use amphora_onnx::Dtype;
use amphora_runtime::{Tensor, from_npz};
use serde_json::{Value, json};

#[test]
fn every_element_type_survives_its_bytes() {
    let dtypes: Vec<Dtype> = Dtype::all().filter(|d| *d != Dtype::String).collect();
    amphora_testing::each(&dtypes, |dtype| {
        let size = dtype.byte_size(6).unwrap() as usize;
        let bytes: Vec<u8> = (0..size).map(|i| (i % 2) as u8).collect();
        let tensor = Tensor::from_le_bytes(*dtype, [2, 3], &bytes).map_err(|e| e.to_string())?;
        if tensor.dtype() != *dtype || tensor.to_le_bytes().unwrap() != bytes {
            return Err("changed".to_owned());
        }
        match Tensor::from_le_bytes(*dtype, [2, 3], &bytes[1..]) {
            Err(error) if error.rule() == "tensor-size" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_shape_that_overflows_is_a_limit() {
    let error = Tensor::new([usize::MAX, 2], vec![0.0_f32]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    let error = Tensor::from_le_bytes(Dtype::Bool, [1], &[2]).unwrap_err();
    assert_eq!(error.rule(), "bool-value");
}

#[test]
fn json_is_exact_in_both_directions() {
    let f32s = vec![0.1, -0.0, f32::MAX, f32::MIN_POSITIVE / 2.0, 1.0 / 3.0];
    let rows = [
        Tensor::new([5], f32s).unwrap(),
        Tensor::new([2], vec![0.1_f64, 1e-300]).unwrap(),
        Tensor::new([3], vec![i64::MAX, i64::MIN, (1 << 53) + 1]).unwrap(),
        Tensor::new([1], vec![u64::MAX]).unwrap(),
        Tensor::new([2], vec![true, false]).unwrap(),
        Tensor::new([1, 2], vec!["a".to_owned(), "\u{1f600}".to_owned()]).unwrap(),
        Tensor::new([2], vec![half::f16::from_f32(0.1), half::f16::MAX]).unwrap(),
        Tensor::new([1], vec![half::bf16::from_f32(3.3)]).unwrap(),
        Tensor::from_le_bytes(Dtype::Int4, [3], &[0xf7, 0x08]).unwrap(),
        Tensor::from_le_bytes(Dtype::Uint2, [5], &[0b11_10_01_00, 0b01]).unwrap(),
        Tensor::new([0, 3], Vec::<f32>::new()).unwrap(),
        Tensor::scalar(7_i32),
    ];
    amphora_testing::each(&rows, |tensor| {
        let text = serde_json::to_vec(&tensor.to_json()).unwrap();
        let value = amphora_files::json::parse(&text).map_err(|e| e.to_string())?;
        let back = Tensor::from_json(&value, tensor.dtype()).map_err(|e| e.to_string())?;
        let same =
            back.shape() == tensor.shape() && back.dtype() == tensor.dtype() && (back == *tensor);
        if same {
            Ok(())
        } else {
            Err(format!("{back:?}"))
        }
    });
    let shortest = Tensor::scalar(0.1_f32).to_json();
    assert_eq!(shortest["data"].to_string(), "[0.1]");
}

#[test]
fn numbers_that_json_cannot_hold_are_words() {
    let values = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0];
    let tensor = Tensor::new([4], values).unwrap();
    let json = tensor.to_json();
    assert_eq!(json["data"], json!(["NaN", "Infinity", "-Infinity", 1.0]));
    assert_eq!(tensor.nonfinite(), 3);
    let back = Tensor::from_json(&json["data"], Dtype::Float32).unwrap();
    assert_eq!(back.nonfinite(), 3);
}

#[test]
fn json_that_is_no_tensor_is_refused_with_its_place() {
    let rows: [(Value, Dtype, &str, &str); 14] = [
        (
            json!([[1, 2], [3]]),
            Dtype::Int64,
            "tensor-ragged",
            "array 1 at depth 1",
        ),
        (json!([1, [2]]), Dtype::Int64, "tensor-ragged", "item 1"),
        (json!([[1], 2]), Dtype::Int64, "tensor-ragged", "item 1"),
        (json!([1.5]), Dtype::Int64, "tensor-element", "element 0"),
        (json!([1.0]), Dtype::Int32, "tensor-element", "1.0"),
        (json!([128]), Dtype::Int8, "tensor-element", "128"),
        (json!([-1]), Dtype::Uint64, "tensor-element", "-1"),
        (json!([8]), Dtype::Int4, "tensor-element", "8"),
        (
            json!([1e39]),
            Dtype::Float32,
            "tensor-element",
            "does not fit",
        ),
        (json!(["inf"]), Dtype::Float32, "tensor-element", "a string"),
        (json!([null]), Dtype::Float32, "tensor-element", "null"),
        (json!([1]), Dtype::Bool, "tensor-element", "bool"),
        (
            json!({"data": [1], "shape": [2]}),
            Dtype::Int64,
            "tensor-size",
            "2 elements",
        ),
        (
            json!({"data": [1], "shape": [1], "x": 1}),
            Dtype::Int64,
            "tensor-json",
            "'x'",
        ),
    ];
    amphora_testing::each(
        &rows,
        |(value, dtype, rule, needle)| match Tensor::from_json(value, *dtype) {
            Err(e) if e.rule() == *rule && e.to_string().contains(needle) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
}

#[test]
fn npy_of_this_crate_reads_back() {
    let rows = [
        Tensor::new([2, 3], vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, f32::NAN]).unwrap(),
        Tensor::scalar(3_i64),
        Tensor::new([3], vec![true, false, true]).unwrap(),
        Tensor::new([0, 2], Vec::<u16>::new()).unwrap(),
        Tensor::new([2], vec!["abc".to_owned(), "\u{e9}".to_owned()]).unwrap(),
        Tensor::from_le_bytes(Dtype::Complex64, [1], &[1; 8]).unwrap(),
    ];
    amphora_testing::each(&rows, |tensor| {
        let bytes = tensor.to_npy().map_err(|e| e.to_string())?;
        let back = Tensor::from_npy(&bytes).map_err(|e| e.to_string())?;
        let same = back.dtype() == tensor.dtype()
            && back.shape() == tensor.shape()
            && back.to_json() == tensor.to_json();
        if same {
            Ok(())
        } else {
            Err(format!("{back:?}"))
        }
    });
}

/// A `.npy` file with this header and payload.
fn npy(header: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn npy_header_is_read_strictly() {
    let float =
        |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let rows: [(&str, Vec<u8>, &str); 16] = [
        ("healthy twin", npy(&float("(1,)"), &[0; 4]), ""),
        (
            "object",
            npy(
                "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
                &[0; 8],
            ),
            "npy-pickle",
        ),
        (
            "structured",
            npy(
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
                &[0; 4],
            ),
            "npy-dtype",
        ),
        (
            "no order",
            npy(
                "{'descr': '=f4', 'fortran_order': False, 'shape': (1,)}",
                &[0; 4],
            ),
            "npy-dtype",
        ),
        (
            "date",
            npy(
                "{'descr': '<M8', 'fortran_order': False, 'shape': (1,)}",
                &[0; 8],
            ),
            "npy-dtype",
        ),
        ("short", npy(&float("(2,)"), &[0; 4]), "npy-size"),
        ("tail", npy(&float("(1,)"), &[0; 5]), "npy-size"),
        (
            "overflow",
            npy(&float("(4611686018427387904, 4)"), &[0; 4]),
            "tensor-elements",
        ),
        (
            "too large",
            npy(&float("(2305843009213693951,)"), &[0; 4]),
            "npy-size",
        ),
        ("negative", npy(&float("(-1,)"), &[0; 4]), "npy-header"),
        (
            "unknown key",
            npy(
                "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': True}",
                &[0; 4],
            ),
            "npy-header",
        ),
        (
            "key twice",
            npy(
                "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
                &[0; 4],
            ),
            "npy-header",
        ),
        (
            "missing key",
            npy("{'descr': '<f4', 'shape': (1,)}", &[0; 4]),
            "npy-header",
        ),
        (
            "tail in header",
            npy(&format!("{} x", float("(1,)").trim()), &[0; 4]),
            "npy-header",
        ),
        (
            "empty strings",
            npy(
                "{'descr': '<U0', 'fortran_order': False, 'shape': (99999999999,)}",
                &[],
            ),
            "npy-size",
        ),
        (
            "version",
            b"\x93NUMPY\x09\x00\x00\x00".to_vec(),
            "npy-version",
        ),
    ];
    amphora_testing::each(&rows, |(_, bytes, rule)| match Tensor::from_npy(bytes) {
        Ok(_) if rule.is_empty() => Ok(()),
        Err(error) if error.rule() == *rule => Ok(()),
        other => Err(format!("expected {rule}: {other:?}")),
    });
    let whole = npy(&float("(1,)"), &[0; 4]);
    for end in 0..whole.len() {
        assert!(Tensor::from_npy(&whole[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn npy_and_npz_of_numpy_are_read() {
    let Some(peer) = amphora_testing::peer("numpy", None) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().to_str().unwrap();
    peer.run(
        "import numpy as np, sys\n\
         d = sys.argv[1] + '/'\n\
         x = np.arange(24).reshape(2, 3, 4)\n\
         np.save(d + 'f4.npy', x.astype('<f4'))\n\
         np.save(d + 'big.npy', x.astype('>f8'))\n\
         np.save(d + 'fortran.npy', np.asfortranarray(x.astype('<i8')))\n\
         np.save(d + 'fortran_big.npy', np.asfortranarray(x.astype('>i2')))\n\
         np.save(d + 'scalar.npy', np.float32(2.5))\n\
         np.save(d + 'bool.npy', np.array([True, False]))\n\
         np.save(d + 'text.npy', np.array(['a', 'bcd']))\n\
         np.save(d + 'bytes.npy', np.array([b'a', b'bcd']))\n\
         np.save(d + 'object.npy', np.array([{}], dtype=object), allow_pickle=True)\n\
         np.savez(d + 'stored.npz', a=x.astype('<f4'), b=np.array([1, 2]))\n\
         np.savez_compressed(d + 'deflated.npz', a=x.astype('<f4'))\n",
        &[folder],
    );
    let read = |name: &str| Tensor::read_npy(scratch.path().join(name), 1 << 20);
    let expected: Vec<f64> = (0..24).map(f64::from).collect();
    let rows = ["f4.npy", "big.npy", "fortran.npy", "fortran_big.npy"];
    amphora_testing::each(&rows, |name| {
        let tensor = read(name).map_err(|e| e.to_string())?;
        if tensor.shape() == [2, 3, 4] && tensor.to_f64().unwrap() == expected {
            Ok(())
        } else {
            Err(format!("{tensor:?}"))
        }
    });
    assert_eq!(read("scalar.npy").unwrap(), Tensor::scalar(2.5_f32));
    assert_eq!(
        read("bool.npy").unwrap(),
        Tensor::new([2], vec![true, false]).unwrap()
    );
    let words = Tensor::new([2], vec!["a".to_owned(), "bcd".to_owned()]).unwrap();
    assert_eq!(read("text.npy").unwrap(), words);
    assert_eq!(read("bytes.npy").unwrap(), words);
    assert_eq!(read("object.npy").unwrap_err().rule(), "npy-pickle");
    assert_eq!(
        Tensor::read_npy(scratch.path().join("f4.npy"), 8)
            .unwrap_err()
            .kind(),
        ErrorKind::Limit
    );

    let stored = amphora_runtime::read_npz(scratch.path().join("stored.npz"), 1 << 20).unwrap();
    assert_eq!(stored["a"].to_f64().unwrap(), expected);
    assert_eq!(stored["b"].as_slice::<i64>(), Some(&[1, 2][..]));
    let deflated = amphora_runtime::read_npz(scratch.path().join("deflated.npz"), 1 << 20).unwrap();
    assert_eq!(deflated["a"], stored["a"]);
    let error = amphora_runtime::read_npz(scratch.path().join("deflated.npz"), 100);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(from_npz(b"PK not a zip", 100).unwrap_err().rule(), "npz");

    // NumPy reads what this crate writes.
    let ours = scratch.path().join("ours.npy");
    let tensor = Tensor::new([2, 2], vec![1.5_f32, -2.0, 0.1, 3.0]).unwrap();
    amphora_files::durable::write_file(&ours, &tensor.to_npy().unwrap()).unwrap();
    let printed = peer.run(
        "import numpy as np, sys; x = np.load(sys.argv[1]); print(x.dtype, x.shape, x.ravel().tolist())",
        &[ours.to_str().unwrap()],
    );
    assert_eq!(
        printed.trim(),
        "float32 (2, 2) [1.5, -2.0, 0.10000000149011612, 3.0]"
    );
}
