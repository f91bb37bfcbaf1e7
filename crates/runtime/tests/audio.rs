//! Sounds to tensors and back; WAV files against Python's `wave` and against hound.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use std::io::Cursor;

use amphora_onnx::{Dim, Dtype, TensorSpec};
use amphora_runtime::Tensor;
use amphora_runtime::audio::{
    AudioConfig, AudioLayout, AudioLimits, AudioProcessor, Sound, WavFormat,
};
use amphora_testing::each;
use serde_json::{Value, json};

fn read(bytes: &[u8]) -> amphora_error::Result<Sound> {
    Sound::from_wav(bytes, &AudioLimits::default())
}

fn config(value: Value) -> amphora_error::Result<AudioConfig> {
    AudioConfig::from_manifest(value.as_object().unwrap())
}

fn input(dtype: Dtype, shape: &[i64]) -> TensorSpec {
    let dim = |size: &i64| u64::try_from(*size).map_or(Dim::Unknown, Dim::Fixed);
    TensorSpec {
        name: "audio".into(),
        dtype,
        shape: Some(shape.iter().map(dim).collect()),
    }
}

#[test]
fn every_layout_holds_the_same_samples_and_gives_them_back() {
    let stereo = Sound::new(8000, 2, vec![0.25, -0.25, 0.5, 1.0, 0.0, -1.0]).unwrap();
    let mono = Sound::new(8000, 1, vec![0.0, 0.75, -0.5]).unwrap();
    let rows = [
        (
            &stereo,
            json!({"sample_rate": 8000, "channels": 2}),
            vec![1, 2, 3],
            vec![0.25, 0.5, 0.0, -0.25, 1.0, -1.0],
        ),
        (
            &stereo,
            json!({"sample_rate": 8000, "channels": 2, "layout": "NTC"}),
            vec![1, 3, 2],
            stereo.samples().to_vec(),
        ),
        (
            &stereo,
            json!({"sample_rate": 8000, "layout": "NT"}),
            vec![1, 3],
            mono.samples().to_vec(),
        ),
        (
            &mono,
            json!({"sample_rate": 8000, "channels": 2}),
            vec![1, 2, 3],
            mono.samples().repeat(2),
        ),
        (
            &mono,
            json!({"sample_rate": 8000}),
            vec![1, 1, 3],
            mono.samples().to_vec(),
        ),
    ];
    each(&rows, |(sound, value, shape, expected)| {
        let config = config(value.clone()).unwrap();
        assert_eq!(
            AudioConfig::from_manifest(&config.to_manifest()).unwrap(),
            config
        );
        let spec = input(
            Dtype::Float32,
            &shape.iter().map(|size| *size as i64).collect::<Vec<_>>(),
        );
        let processor = AudioProcessor::new(config.clone(), &spec).unwrap();
        let tensor = processor
            .tensor(&sound.to_wav(WavFormat::Float32).unwrap())
            .unwrap();
        if tensor != Tensor::new(shape.clone(), expected.clone()).unwrap() {
            return Err(format!("{tensor:?}"));
        }
        let again = Sound::from_tensor(&tensor, &config).unwrap();
        match again.channels() != sound.channels() || again == **sound {
            true => Ok(()),
            false => Err(format!("{again:?}")),
        }
    });
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let stereo = || config(json!({"sample_rate": 8000, "channels": 2})).unwrap();
    let faults = |spec: TensorSpec| {
        AudioProcessor::new(stereo(), &spec)
            .unwrap_err()
            .fault_list()
            .len()
    };
    assert_eq!(faults(input(Dtype::Int16, &[2, 1, -1])), 3);
    assert_eq!(faults(input(Dtype::Float32, &[1, -1])), 1);
    let processor = AudioProcessor::new(stereo(), &input(Dtype::Float32, &[1, 2, 4])).unwrap();
    let sound = |rate, channels, count| Sound::new(rate, channels, vec![0.0; count]).unwrap();
    let rows = [
        (sound(44_100, 2, 8), "audio-rate"),
        (sound(8000, 3, 12), "audio-channels"),
        (sound(8000, 2, 6), "audio-length"),
    ];
    each(&rows, |(sound, rule)| match processor.sound(sound) {
        Err(error) if error.rule() == *rule => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let rows = [
        json!({}),
        json!({"sample_rate": 0}),
        json!({"sample_rate": 8000, "channels": 3}),
        json!({"sample_rate": 8000, "channels": 2, "layout": "NT"}),
        json!({"sample_rate": 8000, "rate": 1}),
    ];
    each(&rows, |value| match config(value.clone()) {
        Err(error) if error.rule() == "audio-config" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let rows = [
        (
            Tensor::new([2, 2, 1], vec![0.0_f32; 4]).unwrap(),
            "audio-tensor",
        ),
        (
            Tensor::new([1, 2, 1], vec![0.0_f64; 2]).unwrap(),
            "audio-tensor",
        ),
        (
            Tensor::new([1, 2, 0], Vec::<f32>::new()).unwrap(),
            "audio-frames",
        ),
        (
            Tensor::new([1, 2, 1], vec![0.0, f32::INFINITY]).unwrap(),
            "audio-value",
        ),
    ];
    each(&rows, |(tensor, rule)| {
        match Sound::from_tensor(tensor, &stereo()) {
            Err(error) if error.rule() == *rule => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(AudioLayout::default(), AudioLayout::Nct);
}

#[test]
fn python_and_hound_read_what_is_written_and_write_what_is_read() {
    let samples = vec![
        0.0,
        1.0,
        -1.0,
        2.0,
        0.5,
        -0.25,
        1.5 / 32_768.0,
        2.5 / 32_768.0,
    ];
    let sound = Sound::new(44_100, 2, samples).unwrap();
    let expected: [i16; 8] = [0, 32_767, -32_768, 32_767, 16_384, -8192, 2, 2];
    let bytes = sound.to_wav(WavFormat::Int16).unwrap();
    let mut reader = hound::WavReader::new(Cursor::new(&bytes)).unwrap();
    assert_eq!(
        (reader.spec().channels, reader.spec().sample_rate),
        (2, 44_100)
    );
    let found: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    assert_eq!(found, expected);
    let float = sound.to_wav(WavFormat::Float32).unwrap();
    let mut reader = hound::WavReader::new(Cursor::new(&float)).unwrap();
    let found: Vec<f32> = reader.samples().map(Result::unwrap).collect();
    assert_eq!(found[..4], [0.0, 1.0, -1.0, 1.0]);

    for (bits, sample_format) in [
        (8, hound::SampleFormat::Int),
        (24, hound::SampleFormat::Int),
    ] {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: bits,
            sample_format,
        };
        let mut file = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        for sample in [-128, 0, 64] {
            writer.write_sample(sample << (bits - 8)).unwrap();
        }
        writer.finalize().unwrap();
        assert_eq!(
            read(&file.into_inner()).unwrap().samples(),
            [-1.0, 0.0, 0.5]
        );
    }

    let Some(peer) = amphora_testing::peer("wave", None) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let (ours, theirs) = (
        scratch.path().join("ours.wav"),
        scratch.path().join("theirs.wav"),
    );
    fs_err::write(&ours, &bytes).unwrap();
    let program = "
import struct, sys, wave
with wave.open(sys.argv[1]) as file:
    print(file.getparams()[:4], struct.unpack('<8h', file.readframes(4)))
with wave.open(sys.argv[2], 'wb') as file:
    file.setnchannels(1)
    file.setsampwidth(4)
    file.setframerate(22050)
    file.writeframes(struct.pack('<3i', -2**31, 2**30, 0))
";
    let printed = peer.run(program, &[ours.to_str().unwrap(), theirs.to_str().unwrap()]);
    let expected = "(2, 2, 44100, 4) (0, 32767, -32768, 32767, 16384, -8192, 2, 2)";
    assert_eq!(printed.trim(), expected);
    let theirs = read(&fs_err::read(theirs).unwrap()).unwrap();
    assert_eq!(theirs, Sound::new(22_050, 1, vec![-1.0, 0.5, 0.0]).unwrap());
}
