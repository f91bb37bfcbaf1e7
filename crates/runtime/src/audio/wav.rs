//! WAV files: RIFF chunks around interleaved samples.
//!
//! Layout and codes are those of Microsoft's "Multimedia Programming Interface and Data
//! Specifications 1.0" (1991) and of `WAVEFORMATEXTENSIBLE`.

use amphora_error::{Error, Result};

use super::{AudioLimits, Sound, WavFormat};

const PCM: u16 = 1;
const FLOAT: u16 = 3;
/// The code is the start of a GUID further on.
const EXTENSIBLE: u16 = 0xfffe;
/// The rest of every such GUID.
const GUID: [u8; 14] = [
    0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71,
];

/// What the `fmt ` chunk says.
struct Format {
    code: u16,
    channels: u16,
    rate: u32,
    /// Bytes of one frame: a sample of each channel.
    frame: u16,
    bits: u16,
}

pub(super) fn read(bytes: &[u8], limits: &AudioLimits) -> Result<Sound> {
    if bytes.len() as u64 > limits.bytes {
        return Err(Error::limit("audio-limit", "the sound is too large")
            .expected(format!("at most {} bytes", limits.bytes))
            .found(format!("{} bytes", bytes.len())));
    }
    if !bytes.starts_with(b"RIFF") || bytes.get(8..12).is_some_and(|kind| kind != b"WAVE") {
        return Err(foreign(bytes));
    }
    let stated = number(bytes, 4).ok_or_else(truncated)? as usize;
    let end = stated.checked_add(8).ok_or_else(truncated)?;
    let mut rest = bytes.get(12..end).ok_or_else(truncated)?;
    let mut format = None;
    loop {
        let (Some(kind), Some(length)) = (rest.get(..4), number(rest, 4)) else {
            return Err(malformed("audio-chunks", "the file ends before any sound"));
        };
        let length = length as usize;
        let payload = rest.get(8..).and_then(|rest| rest.get(..length));
        let payload = payload.ok_or_else(truncated)?;
        match (kind, &format) {
            (b"fmt ", None) => format = Some(Format::read(payload)?),
            (b"fmt ", Some(_)) => {
                return Err(malformed("audio-chunks", "the format is stated twice"));
            }
            (b"data", Some(format)) => return format.sound(payload),
            (b"data", None) => {
                return Err(malformed(
                    "audio-chunks",
                    "the sound comes before its format",
                ));
            }
            _ => {}
        }
        // Chunks are padded to an even length; the last one may lack the padding.
        rest = rest.get(8 + length + length % 2..).unwrap_or(&[]);
    }
}

impl Format {
    fn read(chunk: &[u8]) -> Result<Self> {
        let short = || malformed("audio-format", "the format chunk is too short");
        let pair = |at: usize| pair(chunk, at).ok_or_else(short);
        let mut format = Self {
            code: pair(0)?,
            channels: pair(2)?,
            rate: number(chunk, 4).ok_or_else(short)?,
            frame: pair(12)?,
            bits: pair(14)?,
        };
        if format.code == EXTENSIBLE {
            format.code = pair(24)?;
            if chunk.get(26..40) != Some(&GUID[..]) {
                format.code = EXTENSIBLE;
            }
        }
        if !matches!(
            (format.code, format.bits),
            (PCM, 8 | 16 | 24 | 32) | (FLOAT, 32)
        ) {
            return Err(Error::unsupported(
                "audio-format",
                "the samples of the sound are not read",
            )
            .expected("PCM of 8, 16, 24 or 32 bits, or 32-bit float")
            .found(format!("code {}, {} bits", format.code, format.bits)));
        }
        if format.channels == 0 || format.rate == 0 {
            return Err(
                malformed("audio-format", "a sound without channels or rate")
                    .found(format!("{} channels, {} Hz", format.channels, format.rate)),
            );
        }
        let frame = u32::from(format.channels) * u32::from(format.bits / 8);
        if frame != u32::from(format.frame) {
            return Err(malformed(
                "audio-format",
                "frames of another size than the samples in them",
            )
            .expected(format!("{frame} bytes"))
            .found(format!("{} bytes", format.frame)));
        }
        Ok(format)
    }

    fn sound(&self, data: &[u8]) -> Result<Sound> {
        if !data.len().is_multiple_of(usize::from(self.frame)) {
            return Err(
                malformed("audio-frames", "the last frame is not whole").found(format!(
                    "{} bytes in frames of {}",
                    data.len(),
                    self.frame
                )),
            );
        }
        let samples: Vec<f32> = match (self.code, self.bits) {
            (FLOAT, _) => samples(data, f32::from_le_bytes),
            (_, 8) => samples(data, |[byte]| (f32::from(byte) - 128.0) / 128.0),
            (_, 16) => samples(data, |bytes| {
                f32::from(i16::from_le_bytes(bytes)) / 32_768.0
            }),
            // The sign lies in the upper byte.
            (_, 24) => samples(data, |[a, b, c]| {
                (i32::from_le_bytes([0, a, b, c]) >> 8) as f32 / 8_388_608.0
            }),
            _ => samples(data, |bytes| {
                (f64::from(i32::from_le_bytes(bytes)) / 2_147_483_648.0) as f32
            }),
        };
        Sound::new(self.rate, u32::from(self.channels), samples)
    }
}

fn samples<const N: usize>(data: &[u8], sample: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (samples, _) = data.as_chunks::<N>();
    samples.iter().map(|bytes| sample(*bytes)).collect()
}

pub(super) fn write(sound: &Sound, format: WavFormat) -> Result<Vec<u8>> {
    let (code, bits) = match format {
        WavFormat::Int16 => (PCM, 16_u16),
        WavFormat::Float32 => (FLOAT, 32),
    };
    let too_large = || {
        Error::limit("audio-limit", "the sound is too large for a WAV file")
            .expected("at most 4 GiB and 65,535 channels")
    };
    let channels = u16::try_from(sound.channels()).map_err(|_| too_large())?;
    let frame = channels.checked_mul(bits / 8).ok_or_else(too_large)?;
    let size = sound.samples().len().checked_mul(usize::from(bits / 8));
    let size = size.and_then(|size| u32::try_from(size).ok());
    let size = size.ok_or_else(too_large)?;
    let riff = size.checked_add(36).ok_or_else(too_large)?;
    let rate = sound.sample_rate();

    let mut file = Vec::with_capacity(44 + size as usize);
    file.extend(b"RIFF");
    file.extend(riff.to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend(code.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    let per_second = rate.checked_mul(u32::from(frame)).ok_or_else(too_large)?;
    file.extend(per_second.to_le_bytes());
    file.extend(frame.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend(size.to_le_bytes());
    for sample in sound.samples() {
        let sample = sample.clamp(-1.0, 1.0);
        match format {
            // The cast saturates: 1 becomes 32767.
            WavFormat::Int16 => {
                file.extend(((sample * 32_768.0).round_ties_even() as i16).to_le_bytes());
            }
            WavFormat::Float32 => file.extend(sample.to_le_bytes()),
        }
    }
    Ok(file)
}

fn pair(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn truncated() -> Error {
    malformed(
        "audio-truncated",
        "the file ends before what its header states",
    )
}

fn malformed(rule: &'static str, message: &str) -> Error {
    Error::malformed(rule, message)
}

fn foreign(bytes: &[u8]) -> Error {
    let known = [
        (&b"fLaC"[..], "FLAC"),
        (b"OggS", "Ogg"),
        (b"ID3", "MP3"),
        (b"RF64", "RF64"),
        (b"RIFX", "RIFX"),
        (b"FORM", "AIFF"),
    ];
    let error = Error::unsupported("audio-format", "the bytes are no WAV file")
        .hint("convert the sound first, for example with `ffmpeg -i INPUT OUTPUT.wav`");
    match known.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, name)) => error.found(*name),
        None => error,
    }
}
