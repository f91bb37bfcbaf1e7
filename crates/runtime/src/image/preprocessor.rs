//! `preprocessor_config.json` of Hugging Face directories.

use amphora_error::{Error, Result, quoted};
use serde_json::{Map, Value};

use super::config::{IMAGENET_MEAN, IMAGENET_STD, MAX_SIDE, invalid};
use super::{Color, Crop, ImageConfig, Layout, Middle, Resample, Size};

/// What one class of preprocessor does where its file is silent.
struct Class {
    /// The name, less `FeatureExtractor` or `ImageProcessor`.
    name: &'static str,
    /// What a size of one number means.
    number: Number,
    size: u32,
    crop: Option<u32>,
    resample: Resample,
    mean: [f64; 3],
    std: [f64; 3],
}

impl Class {
    fn middle(&self) -> Middle {
        match self.name {
            "" => Middle::Even,
            _ => Middle::Lower,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Number {
    /// The length of the shorter side.
    Shortest,
    /// Of both sides.
    Both,
    /// The side of the picture that goes in; below 384 it is cut out of one that is longer by the
    /// key `crop_pct`, else the picture is squeezed into it.
    Percent,
}

const HALF: [f64; 3] = [0.5; 3];
const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// Defaults of the classes in the Python package `transformers` 5; the last one is for files without a
/// class, where torchvision's meaning counts.
const CLASSES: [Class; 9] = [
    class(
        "ViT",
        Number::Both,
        224,
        None,
        Resample::Bilinear,
        HALF,
        HALF,
    ),
    class(
        "DeiT",
        Number::Both,
        256,
        Some(224),
        Resample::Bicubic,
        HALF,
        HALF,
    ),
    class(
        "Beit",
        Number::Both,
        224,
        None,
        Resample::Bicubic,
        HALF,
        HALF,
    ),
    class(
        "CLIP",
        Number::Shortest,
        224,
        Some(224),
        Resample::Bicubic,
        CLIP_MEAN,
        CLIP_STD,
    ),
    class(
        "Siglip",
        Number::Both,
        224,
        None,
        Resample::Bicubic,
        HALF,
        HALF,
    ),
    class(
        "ConvNext",
        Number::Percent,
        384,
        None,
        Resample::Bicubic,
        HALF,
        HALF,
    ),
    class(
        "MobileNetV1",
        Number::Shortest,
        256,
        Some(224),
        Resample::Bilinear,
        HALF,
        HALF,
    ),
    class(
        "MobileNetV2",
        Number::Shortest,
        256,
        Some(224),
        Resample::Bilinear,
        HALF,
        HALF,
    ),
    class(
        "",
        Number::Shortest,
        256,
        Some(224),
        Resample::Bilinear,
        IMAGENET_MEAN,
        IMAGENET_STD,
    ),
];

const fn class(
    name: &'static str,
    number: Number,
    size: u32,
    crop: Option<u32>,
    resample: Resample,
    mean: [f64; 3],
    std: [f64; 3],
) -> Class {
    Class {
        name,
        number,
        size,
        crop,
        resample,
        mean,
        std,
    }
}

/// Keys that change no pixel of one RGB picture.
const HARMLESS: [&str; 14] = [
    "image_processor_type",
    "feature_extractor_type",
    "processor_class",
    "_valid_processor_keys",
    "auto_map",
    "return_tensors",
    "do_convert_rgb",
    "data_format",
    "input_data_format",
    "device",
    "disable_grouping",
    "default_to_square",
    "do_reduce_labels",
    "reduce_labels",
];

/// Steps that are not implemented; `false` or `null` leaves them out.
const REFUSED: [&str; 7] = [
    "do_pad",
    "do_flip_channel_order",
    "do_thumbnail",
    "do_align_long_axis",
    "do_image_splitting",
    "rescale_offset",
    "include_top",
];

/// Keys that are read.
const READ: [&str; 11] = [
    "do_resize",
    "size",
    "resample",
    "do_center_crop",
    "crop_size",
    "crop_pct",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
];

pub(super) fn read(config: &Value) -> Result<ImageConfig> {
    let Some(object) = config.as_object() else {
        return Err(invalid("the preprocessor configuration is not a mapping"));
    };
    let class = find_class(object)?;
    let mut unsupported: Vec<String> = Vec::new();
    for (key, value) in object {
        let off = matches!(value, Value::Null | Value::Bool(false));
        let known = |list: &[&str]| list.contains(&key.as_str());
        if !off && !known(&HARMLESS) && !known(&READ) {
            let reason = match known(&REFUSED) {
                true => "the step is not implemented",
                false => "the key is unknown",
            };
            unsupported.push(format!("{}: {reason}", quoted(key)));
        }
    }
    if object
        .get("data_format")
        .is_some_and(|format| !matches!(format.as_str(), None | Some("channels_first")))
    {
        unsupported.push("'data_format': only channels_first is implemented".to_owned());
    }
    if !unsupported.is_empty() {
        return Err(Error::unsupported(
            "image-config-unsupported",
            "the preprocessor does what is not implemented here",
        )
        .faults(unsupported)
        .hint("prepare the pixels yourself and pass the tensor"));
    }

    let on = |key: &str, default: bool| match object.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(on)) => Ok(*on),
        Some(_) => Err(invalid(format!("`{key}` is neither true nor false"))),
    };
    let mut read = ImageConfig {
        size: None,
        resample: class.resample,
        crop: None,
        rescale: None,
        mean: None,
        std: None,
        layout: Layout::Nchw,
        color: Color::Rgb,
    };
    if let Some(filter) = object.get("resample").filter(|value| !value.is_null()) {
        read.resample = serde_json::from_value(filter.clone())
            .map_err(|_| invalid("`resample` is not the number of a filter"))?;
    }
    if on("do_resize", true)? {
        (read.size, read.crop) = resize(object, class)?;
    }
    let crops = match class.name {
        "" => object.contains_key("crop_size") || !object.contains_key("size"),
        _ => class.crop.is_some(),
    };
    if on("do_center_crop", crops)? {
        let size = match object.get("crop_size").filter(|value| !value.is_null()) {
            Some(size) => exact("crop_size", size)?,
            None => [class.crop.unwrap_or(class.size); 2],
        };
        let [height, width] = size;
        read.crop = Some(Crop {
            height,
            width,
            middle: class.middle(),
        });
    }
    if on("do_rescale", true)? {
        let factor = match object
            .get("rescale_factor")
            .filter(|value| !value.is_null())
        {
            None => Some(1.0 / 255.0),
            Some(value) => value.as_f64(),
        };
        read.rescale = Some(factor.ok_or_else(|| invalid("`rescale_factor` is not a number"))?);
    }
    if on("do_normalize", true)? {
        read.mean = Some(channels(object, "image_mean", class.mean)?);
        read.std = Some(channels(object, "image_std", class.std)?);
    }
    read.validate()?;
    Ok(read)
}

fn find_class(object: &Map<String, Value>) -> Result<&'static Class> {
    let named = ["image_processor_type", "feature_extractor_type"];
    let name = named.iter().find_map(|key| object.get(*key)?.as_str());
    let plain = name.map_or("", |name| {
        let suffixes = ["Fast", "Pil", "ImageProcessor", "FeatureExtractor"];
        suffixes.iter().fold(name, |name, suffix| {
            name.strip_suffix(suffix).unwrap_or(name)
        })
    });
    CLASSES
        .iter()
        .find(|class| class.name == plain)
        .ok_or_else(|| {
            let known: Vec<&str> = CLASSES.iter().map(|class| class.name).collect();
            Error::unsupported(
                "image-config-unsupported",
                format!(
                    "the preprocessor {} is not implemented",
                    quoted(name.unwrap_or(""))
                ),
            )
            .expected(format!(
                "one of {}",
                known.join(", ").trim_end_matches(", ")
            ))
            .hint("prepare the pixels yourself and pass the tensor")
        })
}

/// The size to resize to, and the crop that belongs to it.
fn resize(object: &Map<String, Value>, class: &Class) -> Result<(Option<Size>, Option<Crop>)> {
    let number = match object.get("default_to_square") {
        Some(Value::Bool(true)) => Number::Both,
        Some(Value::Bool(false)) if class.number == Number::Both => Number::Shortest,
        _ => class.number,
    };
    let default = Value::from(class.size);
    let size = object.get("size").filter(|value| !value.is_null());
    let size = size.unwrap_or(&default);
    let shortest = match size {
        Value::Object(sides) if sides.contains_key("longest_edge") => {
            return Err(Error::unsupported(
                "image-config-unsupported",
                "a limit of the longer side is not implemented",
            )
            .at("key 'size'"));
        }
        Value::Object(sides) => match sides.get("shortest_edge") {
            Some(side) => Some(pixels("size", side)?),
            None => None,
        },
        Value::Number(_) if number != Number::Both => Some(pixels("size", size)?),
        _ => None,
    };
    let Some(side) = shortest else {
        let [height, width] = exact("size", size)?;
        return Ok((Some(Size::Exact { height, width }), None));
    };
    if class.number != Number::Percent {
        let size = Size::ShortestEdge {
            shortest_edge: side,
        };
        return Ok((Some(size), None));
    }
    if side >= 384 {
        let size = Size::Exact {
            height: side,
            width: side,
        };
        return Ok((Some(size), None));
    }
    let share = match object.get("crop_pct").filter(|value| !value.is_null()) {
        None => 224.0 / 256.0,
        Some(value) => value
            .as_f64()
            .filter(|share| *share > 0.0 && *share <= 1.0)
            .ok_or_else(|| invalid("`crop_pct` is not a share of 1"))?,
    };
    let size = Size::ShortestEdge {
        shortest_edge: (f64::from(side) / share) as u32,
    };
    let crop = Crop {
        height: side,
        width: side,
        middle: class.middle(),
    };
    Ok((Some(size), Some(crop)))
}

/// Height and width, from one number or from both.
fn exact(key: &str, value: &Value) -> Result<[u32; 2]> {
    match value {
        Value::Object(sides) => {
            let side = |name: &str| match sides.get(name) {
                Some(side) => pixels(key, side),
                None => Err(invalid(format!("`{key}` has no {name}"))),
            };
            Ok([side("height")?, side("width")?])
        }
        Value::Array(sides) if sides.len() == 2 => {
            Ok([pixels(key, &sides[0])?, pixels(key, &sides[1])?])
        }
        side => Ok([pixels(key, side)?; 2]),
    }
}

fn pixels(key: &str, value: &Value) -> Result<u32> {
    let side = value.as_u64().and_then(|side| u32::try_from(side).ok());
    side.filter(|side| (1..=MAX_SIDE).contains(side))
        .ok_or_else(|| {
            invalid(format!("`{key}` is not a size in pixels")).expected(format!("1 to {MAX_SIDE}"))
        })
}

fn channels(object: &Map<String, Value>, key: &str, default: [f64; 3]) -> Result<[f64; 3]> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|_| invalid(format!("`{key}` is not a list of three numbers"))),
    }
}
