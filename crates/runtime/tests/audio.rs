//! WAV files to tensors and back, against Python's `wave`, against hound, and against files that lie.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use std::io::Cursor;

use amphora_error::ErrorKind;
use amphora_onnx::{Dim, Dtype, TensorSpec};
use amphora_runtime::Tensor;
use amphora_runtime::audio::{
    AudioConfig, AudioLayout, AudioLimits, AudioProcessor, Sound, WavFormat,
};
use amphora_testing::each;
use serde_json::{Value, json};

/// A chunk of a RIFF file, padded.
fn chunk(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut chunk = kind.to_vec();
    chunk.extend((payload.len() as u32).to_le_bytes());
    chunk.extend(payload);
    chunk.extend(vec![0; payload.len() % 2]);
    chunk
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut body = b"WAVE".to_vec();
    body.extend(chunks.concat());
    chunk(b"RIFF", &body)
}

/// The content of a format chunk.
fn format(code: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let frame = channels * (bits / 8);
    let mut format = code.to_le_bytes().to_vec();
    format.extend(channels.to_le_bytes());
    format.extend(rate.to_le_bytes());
    format.extend((rate * u32::from(frame)).to_le_bytes());
    format.extend(frame.to_le_bytes());
    format.extend(bits.to_le_bytes());
    format
}

fn extensible(code: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let mut format = format(0xfffe, channels, rate, bits);
    format.extend(22_u16.to_le_bytes());
    format.extend(bits.to_le_bytes());
    format.extend(3_u32.to_le_bytes());
    format.extend(code.to_le_bytes());
    format.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
    format
}

fn wav(format: &[u8], data: &[u8]) -> Vec<u8> {
    riff(&[chunk(b"fmt ", format), chunk(b"data", data)])
}

fn read(bytes: &[u8]) -> amphora_error::Result<Sound> {
    Sound::from_wav(bytes, &AudioLimits::default())
}

#[test]
fn every_encoding_is_read_in_its_range() {
    let rows: [(Vec<u8>, &[f32]); 8] = [
        (
            wav(&format(1, 1, 8000, 8), &[0, 128, 255, 64]),
            &[-1.0, 0.0, 127.0 / 128.0, -0.5],
        ),
        (
            wav(&format(1, 2, 8000, 16), &[0, 128, 255, 127]),
            &[-1.0, 32_767.0 / 32_768.0],
        ),
        (
            wav(
                &format(1, 1, 8000, 24),
                &[0, 0, 128, 255, 255, 255, 0, 0, 64],
            ),
            &[-1.0, -1.0 / 8_388_608.0, 0.5],
        ),
        (
            wav(&format(1, 1, 8000, 32), &[0, 0, 0, 128, 0, 0, 0, 32]),
            &[-1.0, 0.25],
        ),
        (wav(&format(3, 1, 8000, 32), &1.5_f32.to_le_bytes()), &[1.5]),
        (wav(&extensible(1, 1, 8000, 24), &[0, 0, 192]), &[-0.5]),
        (
            wav(&extensible(3, 1, 8000, 32), &0.25_f32.to_le_bytes()),
            &[0.25],
        ),
        // An odd chunk before, with its padding, and one after that is cut.
        (
            riff(&[
                chunk(b"LIST", b"abc"),
                chunk(b"fmt ", &format(1, 1, 8000, 8)),
                chunk(b"fact", &[1, 0, 0, 0, 9, 9]),
                chunk(b"data", &[192]),
                vec![1, 2, 3],
            ]),
            &[0.5],
        ),
    ];
    each(&rows, |(bytes, expected)| {
        let sound = read(bytes).map_err(|error| error.to_string())?;
        match sound.samples() == *expected && sound.sample_rate() == 8000 {
            true => Ok(()),
            false => Err(format!("{sound:?}")),
        }
    });
}

#[test]
fn every_lie_gets_its_own_answer() {
    let plain = format(1, 1, 8000, 16);
    let good = wav(&plain, &[0, 0, 1, 0]);
    assert!(read(&good).is_ok());
    let with = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let rows = [
        (
            "data of 4 GiB",
            with(40, &[255; 4]),
            ErrorKind::Malformed,
            "audio-truncated",
        ),
        (
            "data of one frame too many",
            with(40, &[6]),
            ErrorKind::Malformed,
            "audio-truncated",
        ),
        (
            "a file of 4 GiB",
            with(4, &[255; 4]),
            ErrorKind::Malformed,
            "audio-truncated",
        ),
        (
            "cut in its samples",
            good[..good.len() - 1].to_vec(),
            ErrorKind::Malformed,
            "audio-truncated",
        ),
        (
            "cut in its header",
            good[..30].to_vec(),
            ErrorKind::Malformed,
            "audio-truncated",
        ),
        (
            "four bytes",
            b"RIFF".to_vec(),
            ErrorKind::Malformed,
            "audio-truncated",
        ),
        (
            "half a frame",
            wav(&plain, &[0, 0, 1]),
            ErrorKind::Malformed,
            "audio-frames",
        ),
        (
            "no samples",
            wav(&plain, &[]),
            ErrorKind::Malformed,
            "audio-frames",
        ),
        (
            "no data",
            riff(&[chunk(b"fmt ", &plain)]),
            ErrorKind::Malformed,
            "audio-chunks",
        ),
        (
            "no format",
            riff(&[chunk(b"data", &[0, 0])]),
            ErrorKind::Malformed,
            "audio-chunks",
        ),
        (
            "two formats",
            riff(&[chunk(b"fmt ", &plain), chunk(b"fmt ", &plain)]),
            ErrorKind::Malformed,
            "audio-chunks",
        ),
        (
            "no channels",
            wav(&format(1, 0, 8000, 16), &[0, 0]),
            ErrorKind::Malformed,
            "audio-format",
        ),
        (
            "no rate",
            wav(&format(1, 1, 0, 16), &[0, 0]),
            ErrorKind::Malformed,
            "audio-format",
        ),
        (
            "frames of 9 bytes",
            with(32, &[9]),
            ErrorKind::Malformed,
            "audio-format",
        ),
        (
            "a short format",
            wav(&plain[..10], &[0, 0]),
            ErrorKind::Malformed,
            "audio-format",
        ),
        (
            "65,535 channels",
            with(22, &[255, 255]),
            ErrorKind::Malformed,
            "audio-format",
        ),
        (
            "not finite",
            wav(&format(3, 1, 8000, 32), &f32::NAN.to_le_bytes()),
            ErrorKind::Malformed,
            "audio-value",
        ),
        (
            "ADPCM",
            wav(&format(2, 1, 8000, 8), &[0]),
            ErrorKind::Unsupported,
            "audio-format",
        ),
        (
            "12 bits",
            with(34, &[12]),
            ErrorKind::Unsupported,
            "audio-format",
        ),
        (
            "another GUID",
            wav(&extensible(1, 1, 8000, 16)[..39], &[0, 0]),
            ErrorKind::Unsupported,
            "audio-format",
        ),
        (
            "64-bit float",
            wav(&format(3, 1, 8000, 64), &[0; 8]),
            ErrorKind::Unsupported,
            "audio-format",
        ),
        (
            "AVI",
            b"RIFF\x04\0\0\0AVI ".to_vec(),
            ErrorKind::Unsupported,
            "audio-format",
        ),
        (
            "FLAC",
            b"fLaC\0\0\0\x22".to_vec(),
            ErrorKind::Unsupported,
            "audio-format",
        ),
        (
            "nothing",
            Vec::new(),
            ErrorKind::Unsupported,
            "audio-format",
        ),
    ];
    each(&rows, |(_, bytes, kind, rule)| match read(bytes) {
        Err(error) if error.kind() == *kind && error.rule() == *rule => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let few = AudioLimits { bytes: 47 };
    assert_eq!(
        Sound::from_wav(&good, &few).unwrap_err().kind(),
        ErrorKind::Limit
    );
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
