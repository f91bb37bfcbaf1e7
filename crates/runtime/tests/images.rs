//! Pictures to tensors, against what Pillow and torchvision recorded.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use amphora_onnx::{Dim, Dtype, TensorSpec};
use amphora_runtime::image::{ImageConfig, ImageLimits, ImageProcessor, Layout, Picture, Size};
use amphora_runtime::{Tensor, read_safetensors};
use amphora_testing::{each, fixture};
use serde_json::{Value, json};

fn input(dtype: Dtype, shape: [i64; 4]) -> TensorSpec {
    let dim = |size: i64| u64::try_from(size).map_or(Dim::Unknown, Dim::Fixed);
    TensorSpec {
        name: "pixel_values".into(),
        dtype,
        shape: Some(shape.map(dim).into()),
    }
}

fn square(dtype: Dtype) -> TensorSpec {
    input(dtype, [-1, 3, 224, 224])
}

/// What the fixture recorded.
struct Recorded {
    /// The file of each picture, and its name in the vectors.
    files: Vec<(PathBuf, String)>,
    vectors: BTreeMap<String, Tensor>,
    config: ImageConfig,
}

fn recorded() -> Option<Recorded> {
    let folder = fixture("resnet_tiny")?;
    let vectors = read_safetensors(folder.join("vectors.safetensors"), 1 << 30).unwrap();
    let config = amphora_files::json::read(folder.join("preprocessor_config.json")).unwrap();
    let config = ImageConfig::from_preprocessor_config(&config).unwrap();
    let files = fs_err::read_dir(folder.join("images")).unwrap();
    let mut files: Vec<_> = files
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .replace('.', "_");
            (path, name)
        })
        .collect();
    files.sort();
    Some(Recorded {
        files,
        vectors,
        config,
    })
}

/// The largest difference of 8-bit values.
fn furthest(found: &[u8], expected: &[u8]) -> u8 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b));
    differences.max().unwrap_or(0)
}

#[test]
fn every_fixture_picture_becomes_the_recorded_pixels() {
    let Some(Recorded {
        files,
        vectors,
        config,
    }) = recorded()
    else {
        return;
    };
    assert_eq!(files.len(), 14);
    let raw = ImageConfig {
        rescale: None,
        mean: None,
        std: None,
        ..config.clone()
    };
    let raw = ImageProcessor::new(raw, &square(Dtype::Uint8)).unwrap();
    let processor = ImageProcessor::new(config, &square(Dtype::Float32)).unwrap();
    each(&files, |(path, name)| {
        let bytes = fs_err::read(path).unwrap();
        let expected = vectors[&format!("crop_u8_{name}")]
            .as_slice::<u8>()
            .unwrap();
        let tensor = raw.tensor(&bytes).unwrap();
        assert_eq!(tensor.shape(), [1, 3, 224, 224]);
        let furthest = furthest(tensor.as_slice().unwrap(), expected);
        if furthest > 0 {
            return Err(format!("up to {furthest} steps"));
        }
        let Some(rgb) = vectors.get(&format!("rgb8_{name}")) else {
            return Ok(());
        };
        let &[height, width, _] = rgb.shape() else {
            return Err(format!("{:?}", rgb.shape()));
        };
        let decoded = Picture::decode(&bytes, &ImageLimits::default()).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (width, height));
        let rgb = rgb.as_slice::<u8>().unwrap();
        let furthest = self::furthest(decoded.rgb8(), rgb);
        if furthest > 0 {
            return Err(format!("decoded: up to {furthest} steps"));
        }
        let picture = Picture::from_rgb8(width, height, rgb.to_vec()).unwrap();
        let tensor = raw.pictures(std::slice::from_ref(&picture)).unwrap();
        if tensor.as_slice::<u8>().unwrap() != expected {
            return Err("from recorded pixels: not the same".to_owned());
        }
        if let Some(expected) = vectors.get(&format!("preprocessed_{name}")) {
            let found = processor.pictures(&[picture]).unwrap().to_f64().unwrap();
            let pairs = found.iter().zip(expected.to_f64().unwrap());
            let furthest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            if furthest > 1e-6 {
                return Err(format!("normalized: {furthest} apart"));
            }
        }
        Ok(())
    });
}

#[test]
fn every_form_of_jpeg_becomes_the_pixels_that_pillow_makes() {
    let folder = Path::new("tests/pictures");
    let recorded = amphora_files::json::read(folder.join("pillow.json")).unwrap();
    let recorded: Vec<(&String, &Value)> = recorded.as_object().unwrap().iter().collect();
    assert_eq!(recorded.len(), 19);
    each(&recorded, |(name, expected)| {
        let bytes = fs_err::read(folder.join(format!("{name}.jpg"))).unwrap();
        let found = Picture::decode(&bytes, &ImageLimits::default());
        let found = found.map_err(|error| error.to_string())?;
        let found = json!({
            "size": [found.width(), found.height()],
            "sha256": amphora_files::sha256(found.rgb8()).to_string(),
        });
        match found == **expected {
            true => Ok(()),
            false => Err(format!("{found}")),
        }
    });
}

#[test]
fn layouts_channels_and_element_types_hold_the_same_values() {
    let config = |more: Value| {
        let mut config = json!({"size": {"height": 1, "width": 2}, "crop": null, "resample": "nearest",
            "rescale": 0.5, "mean": [1.0, 2.0, 3.0], "std": [1.0, 2.0, 4.0]});
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value::<ImageConfig>(config).unwrap()
    };
    let picture = Picture::from_rgb8(2, 1, vec![2, 4, 6, 8, 10, 22]).unwrap();
    // Pixels (0, 0, 0) and (3, 1.5, 2).
    let rows = [
        (
            json!({}),
            Dtype::Float32,
            [1, 3, 1, 2],
            [0.0, 3.0, 0.0, 1.5, 0.0, 2.0],
        ),
        (
            json!({"layout": "NHWC"}),
            Dtype::Float16,
            [1, 1, 2, 3],
            [0.0, 0.0, 0.0, 3.0, 1.5, 2.0],
        ),
        (
            json!({"color": "BGR"}),
            Dtype::Float32,
            [1, 3, 1, 2],
            [0.0, 2.0, 0.0, 1.5, 0.0, 3.0],
        ),
    ];
    each(&rows, |(more, dtype, shape, expected)| {
        let processor = ImageProcessor::new(config(more.clone()), &input(*dtype, *shape)).unwrap();
        let tensor = processor.pictures(std::slice::from_ref(&picture)).unwrap();
        match tensor.dtype() == *dtype && tensor.to_f64().unwrap() == expected {
            true => Ok(()),
            false => Err(format!("{tensor:?}")),
        }
    });
}

#[test]
fn batches_keep_the_order_and_the_number_that_the_input_takes() {
    let config: ImageConfig = serde_json::from_value(json!({
        "size": {"shortest_edge": 2}, "crop": null, "rescale": null, "mean": null, "std": null,
    }))
    .unwrap();
    let spec = input(Dtype::Uint8, [2, 3, -1, -1]);
    let processor = ImageProcessor::new(config, &spec).unwrap();
    let gray = |value: u8, width: usize| Picture::from_rgb8(width, 2, vec![value; width * 6]);
    let batch = processor
        .pictures(&[gray(7, 2).unwrap(), gray(9, 2).unwrap()])
        .unwrap();
    assert_eq!(batch.shape(), [2, 3, 2, 2]);
    let values = batch.as_slice::<u8>().unwrap();
    assert!(values[..12].iter().all(|v| *v == 7) && values[12..].iter().all(|v| *v == 9));
    let rows = [
        vec![gray(7, 2).unwrap()],
        vec![],
        vec![gray(7, 2).unwrap(), gray(7, 3).unwrap()],
    ];
    each(&rows, |pictures| match processor.pictures(pictures) {
        Err(error) if error.rule() == "image-batch" => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn inputs_that_do_not_take_pictures_are_refused_with_every_fault() {
    let rows: [(Dtype, Vec<Dim>, usize); 5] = [
        (Dtype::Int64, vec![Dim::Unknown; 4], 1),
        (Dtype::Uint8, vec![Dim::Unknown; 4], 1),
        (Dtype::Float32, vec![Dim::Unknown; 3], 1),
        (Dtype::Int64, [1, 1, 224, 224].map(Dim::Fixed).into(), 2),
        (Dtype::Float32, [1, 3, 384, 384].map(Dim::Fixed).into(), 2),
    ];
    each(&rows, |(dtype, shape, faults)| {
        let spec = TensorSpec {
            name: "x".into(),
            dtype: *dtype,
            shape: Some(shape.clone()),
        };
        match ImageProcessor::new(ImageConfig::default(), &spec) {
            Err(error) if error.fault_list().len() == *faults => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn an_input_without_a_hint_gets_a_fitting_configuration() {
    let fitting = ImageConfig::for_input(&input(Dtype::Float32, [-1, 3, 384, 384])).unwrap();
    assert_eq!(
        fitting.size,
        Some(Size::ShortestEdge { shortest_edge: 438 })
    );
    assert_eq!(fitting.output_size(), Some((384, 384)));
    let last = ImageConfig::for_input(&input(Dtype::Uint8, [1, 192, 256, 3])).unwrap();
    assert_eq!((last.layout, last.rescale), (Layout::Nhwc, None));
    assert_eq!(last.output_size(), Some((192, 256)));
    assert_eq!(
        ImageConfig::for_input(&square(Dtype::Float32)),
        Some(ImageConfig::default())
    );
    for spec in [
        input(Dtype::Int64, [1, 3, 4, 4]),
        input(Dtype::Float32, [1, 1, 4, 4]),
    ] {
        assert_eq!(ImageConfig::for_input(&spec), None);
    }

    let map = |value: Value| value.as_object().unwrap().clone();
    let spec = square(Dtype::Float32);
    let old =
        map(json!({"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "resize": 224}));
    assert_eq!(
        ImageConfig::from_manifest(Some(&old), &spec).unwrap(),
        ImageConfig::default()
    );
    assert_eq!(
        ImageConfig::from_manifest(None, &spec).unwrap(),
        ImageConfig::default()
    );
    let written = fitting.to_manifest();
    assert_eq!(
        ImageConfig::from_manifest(Some(&written), &spec).unwrap(),
        fitting
    );
    let rows = [
        json!({"sizes": 224}),
        json!({"size": {"shortest_edge": 0}}),
        json!({"size": {"shortest_edge": 224, "longest_edge": 300}}),
        json!({"std": [1.0, 0.0, 1.0]}),
        json!({"resize": "224"}),
        json!({"layout": "CHW"}),
        json!({"resample": 6}),
    ];
    each(&rows, |config| {
        match ImageConfig::from_manifest(Some(&map(config.clone())), &spec) {
            Err(error) if error.rule() == "image-config" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
