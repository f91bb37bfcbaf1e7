//! Pictures and sounds.

use amphora_files::json;
use amphora_onnx::{Dim, Dtype, TensorSpec};
use amphora_runtime::audio::{AudioLimits, Sound, WavFormat};
use amphora_runtime::image::{ImageConfig, ImageLimits, ImageProcessor, Picture};

use super::presentable;

/// Small enough that no input takes long.
const PIXELS: u64 = 1 << 20;
/// Bytes of the largest file tried.
const BYTES: u64 = 1 << 20;

/// A file of a picture: what is decoded fills its size, and becomes a finite tensor.
pub fn picture(bytes: &[u8]) {
    let limits = ImageLimits {
        bytes: BYTES,
        pixels: PIXELS,
    };
    let picture = match Picture::decode(bytes, &limits) {
        Ok(picture) => picture,
        Err(error) => return presentable(&error),
    };
    let pixels = picture.width() * picture.height();
    assert_eq!(picture.rgb8().len(), pixels * 3);
    assert!((1..=PIXELS).contains(&(pixels as u64)));
    let input = TensorSpec {
        name: "pixel_values".to_owned(),
        dtype: Dtype::Float32,
        shape: Some([1, 3, 224, 224].map(Dim::Fixed).to_vec()),
    };
    let tensor = ImageProcessor::new(ImageConfig::default(), &input)
        .and_then(|processor| processor.pictures(&[picture]));
    match tensor {
        Ok(tensor) => assert_eq!((tensor.len(), tensor.nonfinite()), (3 * 224 * 224, 0)),
        Err(error) => panic!("a decoded picture becomes no tensor: {error:?}"),
    }
}

/// A WAV file: what is read can be written, and read again it is the same.
pub fn wav(bytes: &[u8]) {
    let limits = AudioLimits { bytes: BYTES };
    let sound = match Sound::from_wav(bytes, &limits) {
        Ok(sound) => sound,
        Err(error) => return presentable(&error),
    };
    assert!(sound.samples().len() <= bytes.len());
    for format in [WavFormat::Int16, WavFormat::Float32] {
        let written = match sound.to_wav(format) {
            Ok(written) => written,
            // A rate beyond what the bytes per second can state.
            Err(error) => return presentable(&error),
        };
        let limits = AudioLimits::default();
        let again = Sound::from_wav(&written, &limits);
        match again.and_then(|again| again.to_wav(format)) {
            Ok(again) => assert!(written == again, "written and read, it is another"),
            Err(error) => panic!("a written sound is refused: {error:?}"),
        }
    }
}

/// A `preprocessor_config.json`: what is read survives the manifest.
pub fn preprocessor(bytes: &[u8]) {
    let read = json::parse(bytes).and_then(|json| ImageConfig::from_preprocessor_config(&json));
    let config = match read {
        Ok(config) => config,
        Err(error) => return presentable(&error),
    };
    let spec = TensorSpec {
        name: "pixel_values".to_owned(),
        dtype: Dtype::Float32,
        shape: None,
    };
    match ImageConfig::from_manifest(Some(&config.to_manifest()), &spec) {
        Ok(again) => assert_eq!(config, again),
        Err(error) => panic!("a configuration is refused once it is written: {error:?}"),
    }
    if let Err(error) = ImageProcessor::new(config, &spec) {
        presentable(&error);
    }
}
