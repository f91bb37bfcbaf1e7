//! `preprocessor_config.json` of the classes that are known.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use amphora_files::sha256;
use amphora_onnx::{Dim, Dtype, TensorSpec};
use amphora_runtime::image::{ImageConfig, ImageProcessor, Picture};
use amphora_testing::each;
use serde_json::{Value, json};

fn read(config: &Value) -> amphora_error::Result<ImageConfig> {
    ImageConfig::from_preprocessor_config(config)
}

#[test]
fn old_and_new_forms_mean_what_their_classes_do() {
    let clip_mean = [0.48145466, 0.4578275, 0.40821073];
    let rows = [
        (
            "google/vit-base-patch16-224",
            json!({"do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5], "size": 224,
                "feature_extractor_type": "ViTFeatureExtractor", "resample": 2}),
            json!({"size": {"height": 224, "width": 224}, "crop": null, "resample": "bilinear",
                "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}),
        ),
        (
            "the same, saved anew",
            json!({"do_convert_rgb": null, "do_normalize": true, "do_rescale": true,
                "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
                "image_processor_type": "ViTImageProcessorFast", "resample": 2,
                "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}}),
            json!({"size": {"height": 224, "width": 224}, "crop": null, "resample": "bilinear",
                "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}),
        ),
        (
            "openai/clip-vit-base-patch32",
            json!({"crop_size": 224, "do_center_crop": true, "do_normalize": true,
                "do_resize": true, "feature_extractor_type": "CLIPFeatureExtractor",
                "image_mean": clip_mean, "image_std": [0.26862954, 0.26130258, 0.27577711],
                "resample": 3, "size": 224}),
            json!({"size": {"shortest_edge": 224}, "crop": {"height": 224, "width": 224, "middle": "lower"},
                "resample": "bicubic", "mean": clip_mean,
                "std": [0.26862954, 0.26130258, 0.27577711]}),
        ),
        (
            "microsoft/resnet-50",
            json!({"crop_pct": 0.875, "do_normalize": true, "do_resize": true,
                "feature_extractor_type": "ConvNextFeatureExtractor",
                "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
                "resample": 3, "size": 224}),
            json!({"size": {"shortest_edge": 256}, "crop": {"height": 224, "width": 224, "middle": "lower"},
                "resample": "bicubic"}),
        ),
        (
            "facebook/convnext-base-384",
            json!({"image_processor_type": "ConvNextImageProcessor", "resample": 3,
                "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
                "size": {"shortest_edge": 384}}),
            json!({"size": {"height": 384, "width": 384}, "crop": null, "resample": "bicubic"}),
        ),
        (
            "facebook/deit-base-patch16-224",
            json!({"crop_size": 224, "do_center_crop": true, "do_normalize": true,
                "do_resize": true, "feature_extractor_type": "DeiTFeatureExtractor",
                "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
                "resample": 3, "size": 256}),
            json!({"size": {"height": 256, "width": 256}, "crop": {"height": 224, "width": 224, "middle": "lower"},
                "resample": "bicubic"}),
        ),
        ("nothing said", json!({}), json!({})),
        (
            "nothing done",
            json!({"do_resize": false, "do_center_crop": false, "do_rescale": false,
                "do_normalize": false}),
            json!({"size": null, "crop": null, "rescale": null, "mean": null, "std": null}),
        ),
        (
            "without a class, one number is the shorter side",
            json!({"size": 300, "crop_size": [200, 100], "resample": 0, "do_pad": false}),
            json!({"size": {"shortest_edge": 300}, "crop": {"height": 200, "width": 100},
                "resample": "nearest"}),
        ),
    ];
    each(&rows, |(_, config, expected)| {
        let found = read(config).unwrap();
        let expected: ImageConfig = serde_json::from_value(expected.clone()).unwrap();
        if found == expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
}

#[test]
fn pixels_are_those_of_transformers() {
    // SHA-256 of what version 5.23.0 makes with Pillow 13.0.0 of a picture that a formula gives.
    let rows = [
        (
            json!({"image_processor_type": "ViTImageProcessor", "size": {"height": 20, "width": 24}}),
            (50, 61),
            [20, 24],
            "9b7ee4a86e43",
        ),
        (
            json!({"image_processor_type": "DeiTImageProcessor", "size": {"height": 40, "width": 30},
                "crop_size": {"height": 25, "width": 21}}),
            (50, 61),
            [25, 21],
            "42c86c9dc09c",
        ),
        (
            json!({"image_processor_type": "DeiTImageProcessor", "size": {"height": 20, "width": 21},
                "crop_size": {"height": 25, "width": 16}}),
            (50, 61),
            [25, 16],
            "c0deaee8afeb",
        ),
        (
            json!({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 30},
                "crop_size": {"height": 27, "width": 25}}),
            (64, 47),
            [27, 25],
            "4601497104bf",
        ),
        (
            json!({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 28},
                "crop_pct": 0.8}),
            (90, 41),
            [28, 28],
            "225c1c73aaa3",
        ),
        (
            json!({"image_processor_type": "BeitImageProcessor", "size": {"height": 19, "width": 18}}),
            (33, 70),
            [19, 18],
            "84c8d4674d19",
        ),
        (
            json!({"image_processor_type": "BeitImageProcessor", "size": {"height": 19, "width": 18},
                "do_center_crop": true, "crop_size": {"height": 12, "width": 13}}),
            (33, 70),
            [12, 13],
            "4a28ee1ee355",
        ),
        (
            json!({"image_processor_type": "MobileNetV2ImageProcessor",
                "size": {"shortest_edge": 21}, "crop_size": {"height": 24, "width": 18}}),
            (30, 52),
            [24, 18],
            "a62be685e5dc",
        ),
        (
            json!({"image_processor_type": "SiglipImageProcessor",
                "size": {"height": 16, "width": 17}}),
            (30, 52),
            [16, 17],
            "c558c97abe72",
        ),
        (
            json!({"image_processor_type": "MobileNetV1ImageProcessor", "do_resize": false,
                "crop_size": {"height": 8, "width": 8}}),
            (7, 13),
            [8, 8],
            "faf7c6283a39",
        ),
    ];
    each(&rows, |(config, (width, height), size, sum)| {
        let mut config = config.clone();
        config["do_rescale"] = false.into();
        config["do_normalize"] = false.into();
        let input = TensorSpec {
            name: "pixel_values".into(),
            dtype: Dtype::Uint8,
            shape: Some(vec![Dim::Unknown; 4]),
        };
        let processor = ImageProcessor::new(read(&config).unwrap(), &input).unwrap();
        let tensor = processor.pictures(&[pattern(*width, *height)]).unwrap();
        let found = sha256(tensor.as_slice::<u8>().unwrap()).to_string();
        match tensor.shape()[2..] == *size && found.contains(sum) {
            true => Ok(()),
            false => Err(format!("{:?} {found}", tensor.shape())),
        }
    });
}

/// A picture that a formula gives.
fn pattern(width: usize, height: usize) -> Picture {
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let value = |(x, y)| {
        (0..3).map(move |c| ((x * 37 + y * 91 + c * 53 + (x * y * (c + 7)) % 101 * 3) % 256) as u8)
    };
    Picture::from_rgb8(width, height, rows.flat_map(value).collect()).unwrap()
}

#[test]
fn what_is_not_done_here_is_refused_by_name() {
    let rows = [
        (
            json!({"image_processor_type": "LevitImageProcessor"}),
            "image-config-unsupported",
            "LevitImageProcessor",
        ),
        (
            json!({"do_pad": true, "do_colour": 1}),
            "image-config-unsupported",
            "do_pad",
        ),
        (
            json!({"do_pad": true, "do_colour": 1}),
            "image-config-unsupported",
            "do_colour",
        ),
        (
            json!({"size": {"shortest_edge": 800, "longest_edge": 1333}}),
            "image-config-unsupported",
            "longer side",
        ),
        (
            json!({"data_format": "channels_last"}),
            "image-config-unsupported",
            "data_format",
        ),
        (json!({"size": {"height": 224}}), "image-config", "width"),
        (json!({"size": -5}), "image-config", "size"),
        (json!({"size": 100_000}), "image-config", "size"),
        (json!({"do_resize": 1}), "image-config", "do_resize"),
        (json!({"image_mean": [0.5]}), "image-config", "image_mean"),
        (json!({"image_std": [0.5, 0.5, 0.0]}), "image-config", "std"),
        (json!({"resample": "soft"}), "image-config", "resample"),
        (
            json!({"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0}),
            "image-config",
            "crop_pct",
        ),
        (json!([]), "image-config", "mapping"),
    ];
    each(&rows, |(config, rule, word)| match read(config) {
        Err(error) if error.rule() == *rule && error.to_string().contains(word) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
