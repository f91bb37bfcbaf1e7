//! WAV files of every encoding, and files that lie.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use amphora_error::ErrorKind;
use amphora_runtime::audio::{AudioLimits, Sound};
use amphora_testing::each;

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
