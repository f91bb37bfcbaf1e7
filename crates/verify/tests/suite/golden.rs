//! Golden vectors: drawn, supplied, recorded.

use amphora_bundle::manifest::GoldenKind;
use amphora_checkpoint::{Dtype, Limits, Safetensors, Tensor};
use amphora_error::ErrorKind;
use amphora_testing::each;
use amphora_verify::Golden;

use crate::support::{Source, options, path, rten};

#[test]
fn drawing_twice_gives_the_same_bytes_and_reading_gives_them_back() {
    for name in ["planner_mlp", "planner_urm"] {
        let Some(source) = Source::open(name) else {
            return;
        };
        let golden = source.golden(20);
        let bytes = golden.to_bytes().unwrap();
        assert_eq!(bytes, source.golden(20).to_bytes().unwrap(), "{name}");
        let again = Golden::from_bytes(&bytes.into(), &source.contract()).unwrap();
        assert_eq!(again, golden, "{name}");
        assert_eq!(golden.cases(), 20);
    }
}

#[test]
fn codes_near_a_rounding_border_may_flip_and_are_named() {
    let Some(source) = Source::open("conv2d_fsq") else {
        return;
    };
    let source = source.with_input("imu_input");
    let file = source.golden(8).to_bytes().unwrap();
    for (margin, expected) in [(1e-5, None), (1e-3, Some(ErrorKind::Mismatch))] {
        let mut content =
            Safetensors::from_bytes(&file.clone().into(), &Limits::default()).unwrap();
        edit(
            &mut content,
            "behavioral_codes",
            5,
            |code: i64| code + 1,
            i64::from_le_bytes,
            i64::to_le_bytes,
        );
        edit(
            &mut content,
            "#rounding_margin",
            5,
            |_| margin,
            f64::from_le_bytes,
            f64::to_le_bytes,
        );
        let mut parts = source.parts(8);
        parts.golden = content.to_bytes().unwrap();
        let report = parts.publish().verify(&options()).report;
        assert_eq!(report.exit_kind(), expected, "{:?}", report.errors);
        if expected.is_none() {
            assert_eq!(
                report.numeric_equivalence.unwrap().within_rounding_margin,
                [5]
            );
            assert!(
                report
                    .warnings
                    .iter()
                    .any(|warning| warning.contains("rounding border"))
            );
        }
    }
}

/// Changes one 8-byte element of a stored tensor.
fn edit<T>(
    content: &mut Safetensors,
    name: &str,
    index: usize,
    change: impl Fn(T) -> T,
    read: fn([u8; 8]) -> T,
    write: fn(T) -> [u8; 8],
) {
    let tensor = &content.tensors[name];
    let mut data = tensor.data().unwrap().to_vec();
    let element = data[index * 8..].first_chunk_mut::<8>().unwrap();
    *element = write(change(read(*element)));
    let changed = Tensor::new(tensor.dtype(), tensor.shape().to_vec(), data.into()).unwrap();
    content.tensors.insert(name.to_owned(), changed);
}

fn array(dtype: Dtype, shape: &[u64], bytes: Vec<u8>) -> Tensor {
    Tensor::new(dtype, shape.to_vec(), bytes.into()).unwrap()
}

/// The recorded vectors of the transformer, three short rows, as a packer might supply them.
fn supplied(source: &Source) -> Safetensors {
    let bytes = amphora_files::OpenedFile::open(source.folder.join("vectors.safetensors")).unwrap();
    let bytes = bytes.contents(1 << 30).unwrap();
    let recorded = Safetensors::from_bytes(&bytes, &Limits::default())
        .unwrap()
        .tensors;
    let mut file = Safetensors::default();
    for spec in &source.contract().outputs {
        let tensor = &recorded[&spec.name];
        let classes = tensor.shape()[1];
        let bytes = tensor.data().unwrap().slice(..3 * classes as usize * 4);
        file.tensors.insert(
            spec.name.clone(),
            array(Dtype::F32, &[3, classes], bytes.to_vec()),
        );
    }
    for (name, dtype) in [("input_ids", Dtype::I32), ("attention_mask", Dtype::U8)] {
        let tensor = &recorded[name];
        let (width, size) = (tensor.shape()[1] as usize, dtype.size());
        let rows = (0..3)
            .flat_map(|row| tensor.data().unwrap()[row * width * size..][..3 * size].to_vec());
        file.tensors
            .insert(name.to_owned(), array(dtype, &[3, 3], rows.collect()));
    }
    file
}

fn read(source: &Source, file: &Safetensors) -> amphora_error::Result<Golden> {
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("golden.safetensors");
    amphora_files::durable::write_file(&place, &file.to_bytes().unwrap()).unwrap();
    Golden::supplied(&place, &source.contract())
}

#[test]
fn supplied_vectors_are_widened_and_replayed() {
    let Some(source) = Source::open("planner_transformer") else {
        return;
    };
    let golden = read(&source, &supplied(&source)).unwrap();
    assert_eq!((golden.kind(), golden.cases()), (GoldenKind::Supplied, 3));
    assert_eq!(
        golden.notes(),
        [
            "'input_ids' was widened from int32 to int64",
            "'attention_mask' was widened from uint8 to int64"
        ]
    );
    let mut parts = source.parts(1);
    parts.golden = golden.to_bytes().unwrap();
    parts.entry = golden.manifest_entry(path("golden/model.safetensors"), &source.contract());
    let report = parts.publish().verify(&options()).report;
    assert!(report.passed, "{report:#?}");
    assert_eq!(
        report.numeric_equivalence.unwrap().kind,
        GoldenKind::Supplied
    );
}

#[test]
fn every_fault_of_supplied_vectors_is_listed() {
    let Some(source) = Source::open("planner_transformer") else {
        return;
    };
    let sound = supplied(&source);
    type Change = fn(&mut Safetensors);
    let rows: [(&str, Change, &str); 5] = [
        (
            "missing input",
            |f| drop(f.tensors.remove("input_ids")),
            "'input_ids' is missing",
        ),
        (
            "missing output",
            |f| drop(f.tensors.remove("swarm")),
            "'swarm' is missing",
        ),
        (
            "unknown",
            |f| {
                drop(
                    f.tensors
                        .insert("lengths".into(), array(Dtype::U8, &[1], vec![1])),
                )
            },
            "'lengths' is neither an input nor an output",
        ),
        (
            "reals for ids",
            |f| {
                drop(
                    f.tensors
                        .insert("input_ids".into(), array(Dtype::F32, &[3, 3], vec![0; 36])),
                )
            },
            "'input_ids': expected int64, found float32",
        ),
        (
            "shape",
            |f| {
                drop(f.tensors.insert(
                    "attention_mask".into(),
                    array(Dtype::U8, &[3, 2], vec![1; 6]),
                ))
            },
            "expected 3 as elsewhere, found 2",
        ),
    ];
    each(&rows, |(_, change, needle)| {
        let mut file = sound.clone();
        change(&mut file);
        match read(&source, &file) {
            Err(error)
                if error.rule() == "golden-contract"
                    && error.kind() == ErrorKind::Incompatible
                    && error.to_string().contains(needle) =>
            {
                Ok(())
            }
            answer => Err(format!("{answer:?}")),
        }
    });
    let mut several = sound;
    several.tensors.remove("swarm");
    several.tensors.remove("input_ids");
    assert_eq!(read(&source, &several).unwrap_err().fault_list().len(), 2);
}

#[test]
fn a_graph_without_a_checkpoint_is_recorded_from_an_engine() {
    for name in ["planner_mlp", "planner_urm", "conv2d_fsq"] {
        let Some(source) = Source::open(name) else {
            return;
        };
        let golden = Golden::of_engine(&source.model, rten(), 12).unwrap();
        assert_eq!(
            (golden.kind(), golden.cases()),
            (GoldenKind::Reproducibility, 12)
        );
        assert!(
            golden.producer().starts_with("rten "),
            "{}",
            golden.producer()
        );
        let mut parts = source.parts(1);
        parts.golden = golden.to_bytes().unwrap();
        parts.entry = golden.manifest_entry(path("golden/model.safetensors"), &source.contract());
        let report = parts.publish().verify(&options()).report;
        assert!(report.passed, "{name}: {report:#?}");
    }
}
