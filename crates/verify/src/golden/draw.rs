//! Inputs that make sense for each known architecture.

use std::collections::BTreeMap;

use amphora_checkpoint::architecture::{Architecture, DecoderConfig, EncoderTask, Segments};
use amphora_error::{Error, Result, quoted};
use amphora_models::{Array, Data};

use super::random::Random;
use super::{MAX_BYTES, SEED};

/// Longest sequence drawn, whatever the model could take: attention over it takes quadratic memory.
const LONGEST: usize = 1024;
/// Longest of the short sequences, which are padded to the longest of them.
const SHORT: u64 = 16;
/// Longest prompt drawn for a language model, whose logits are kept for every token.
const LONGEST_PROMPT: u64 = 64;
/// Tokens that follow a prompt that stands alone.
const CONTINUATION: u64 = 3;
/// Nonzero features of a realistic planner input.
const ACTIVE_FEATURES: u64 = 60;
/// Samples per second of the sensor windows.
const SAMPLE_RATE: f64 = 100.0;

/// Inputs of several cases, stacked along the first dimension.
pub(super) struct Drawn {
    pub(super) inputs: BTreeMap<String, Array>,
    pub(super) cases: usize,
}

/// At most `cases` cases, fewer only where their inputs would exceed [`MAX_BYTES`].
pub(super) fn draw(architecture: &Architecture, cases: usize) -> Result<Vec<Drawn>> {
    let mut random = Random::new(SEED);
    match architecture {
        Architecture::Mlp(config) => features(&mut random, config.d_in, cases),
        Architecture::Transformer(config) => tokens(
            &mut random,
            config.vocab_size,
            config.pad_id,
            config.max_len,
            cases,
        ),
        Architecture::Urm(config) => tokens(
            &mut random,
            config.vocab_size,
            config.pad_id,
            config.max_len,
            cases,
        ),
        Architecture::Conv2dFsq(config) => {
            let shape = [config.channels, config.sensors, config.window];
            windows(&mut random, shape, cases)
        }
        Architecture::Encoder(config) => {
            let (vocabulary, padding) = (config.vocab_size, config.pad_id);
            let (longest, cases) = match config.task {
                EncoderTask::MaskedLm { .. } => {
                    within_room(vocabulary.saturating_mul(8), config.max_len(), cases)?
                }
                _ => (config.max_len(), cases),
            };
            let mut drawn = tokens(&mut random, vocabulary, padding, longest, cases)?;
            if config.family.segments == Segments::Input {
                for batch in &mut drawn {
                    segments(&mut random, config.segments, batch)?;
                }
            }
            Ok(drawn)
        }
        Architecture::ResNet(config) => pictures(&mut random, config.input, cases),
        Architecture::Vit(config) => pictures(&mut random, config.input, cases),
        Architecture::Decoder(config) => prompts(&mut random, config, cases),
        other => Err(Error::unsupported(
            "golden-architecture",
            format!("no inputs are known for {}", quoted(other.model_type())),
        )),
    }
}

/// How many of `cases` fit when each has `elements` elements of `bytes` bytes; at least one.
fn affordable(cases: usize, elements: u64, bytes: u64) -> usize {
    let most = MAX_BYTES / elements.saturating_mul(bytes).max(1);
    cases
        .min(usize::try_from(most).unwrap_or(usize::MAX))
        .max(1)
}

/// All zeros, one-hot, dense, dense times 1000, dense times 1e-6, then sparse as planner features
/// are: mostly ones and fractions.
fn features(random: &mut Random, width: u64, cases: usize) -> Result<Vec<Drawn>> {
    let cases = affordable(cases, width, 4);
    let width = to_usize(width)?;
    let mut values = Vec::with_capacity(cases * width);
    for case in 0..cases {
        let scale = match case {
            2 => 1.0,
            3 => 1000.0,
            4 => 1e-6,
            _ => 0.0,
        };
        let start = values.len();
        values.extend((0..width).map(|_| {
            if scale > 0.0 {
                as_f32(random.normal() * scale)
            } else {
                0.0
            }
        }));
        let active = match case {
            0 | 2..=4 => 0,
            1 => 1,
            _ => ACTIVE_FEATURES.min(width as u64 / 4 + 1),
        };
        for _ in 0..active {
            let place = start + to_usize(random.range(0, width as u64))?;
            let fraction = random.unit();
            values[place] = if case == 1 || fraction < 0.5 {
                1.0
            } else {
                as_f32(random.unit())
            };
        }
    }
    let inputs = [("input", Array::new(vec![cases, width], Data::F64(values))?)];
    Ok(vec![drawn(inputs, cases)])
}

/// Right-padded token ids of lengths 1, 2, 3 and then up to [`SHORT`], and one sequence as long as
/// the model takes, alone, so that the others are not padded to it.
fn tokens(
    random: &mut Random,
    vocabulary: u64,
    padding: u64,
    max_len: u64,
    cases: usize,
) -> Result<Vec<Drawn>> {
    let longest = to_usize(max_len)?.min(LONGEST);
    let short = max_len.min(SHORT);
    let one_is_long = cases > 4 && longest as u64 > short;
    let rows = cases - usize::from(one_is_long);
    let lengths = (0..rows)
        .map(|case| match case {
            // Of few, one is long enough for tokens to see each other.
            0..3 if rows <= 3 && case + 1 == rows => to_usize(short),
            0..3 => to_usize((case as u64 + 1).min(short)),
            _ => to_usize(random.range(4.min(short), short + 1)),
        })
        .collect::<Result<Vec<_>>>()?;
    let mut batches = vec![padded(random, vocabulary, padding, &lengths)?];
    if one_is_long {
        batches.push(padded(random, vocabulary, padding, &[longest])?);
    }
    Ok(batches)
}

/// Prompts for a language model.
fn prompts(random: &mut Random, config: &DecoderConfig, cases: usize) -> Result<Vec<Drawn>> {
    let kept = 2 * config.layers * config.kv_heads * config.d_head;
    let token = config.vocab_size.saturating_mul(8) + kept.saturating_mul(12);
    // What follows must fit into the context too.
    let room = config.context.saturating_sub(CONTINUATION).max(1);
    let (longest, cases) = within_room(token, room.min(LONGEST_PROMPT), cases)?;
    tokens(random, config.vocab_size, 0, longest, cases)
}

/// The longest sequence and the number of cases, less where what comes out for a token takes `bytes` and
/// that is much.
fn within_room(bytes: u64, longest: u64, cases: usize) -> Result<(u64, usize)> {
    let affordable = (MAX_BYTES / bytes.max(1) / 2).max(2);
    let most = to_usize(affordable / SHORT)?.max(1);
    Ok((longest.min(affordable), cases.min(most)))
}

/// What follows each prompt of a batch: a token, or [`CONTINUATION`] after a prompt that stands alone, as
/// far as the context reaches. The past is what reading the prompts gave, as engines hold it.
pub(super) fn continued(
    random: &mut Random,
    config: &DecoderConfig,
    prompts: &Drawn,
    read: &BTreeMap<String, Array>,
) -> Result<Drawn> {
    let cases = prompts.cases;
    let ids = prompts.inputs.get("input_ids");
    let width = ids.and_then(|ids| ids.shape().get(1)).copied().unwrap_or(0);
    let left = config.context.saturating_sub(width as u64);
    let more = if cases == 1 { CONTINUATION } else { 1 };
    let more = to_usize(more.min(left))?;
    let ids = (0..cases * more).map(|_| random.range(0, config.vocab_size) as i64);
    let ids = Array::new(vec![cases, more], Data::I64(ids.collect()))?;
    let mut inputs = BTreeMap::from([("input_ids".to_owned(), ids)]);
    if let Some((Data::I64(mask), [_, width])) = prompts
        .inputs
        .get("attention_mask")
        .map(|mask| (mask.data(), mask.shape()))
    {
        let longer = mask
            .chunks(*width)
            .flat_map(|row| [row, &vec![1; more]].concat());
        let mask = Data::I64(longer.collect());
        let mask = Array::new(vec![cases, width + more], mask)?;
        inputs.insert("attention_mask".to_owned(), mask);
    }
    for (name, present) in read {
        if let (Some(rest), Data::F64(values)) = (name.strip_prefix("present_"), present.data()) {
            let rounded = values.iter().map(|value| as_f32(*value)).collect();
            let past = Array::new(present.shape().to_vec(), Data::F64(rounded))?;
            inputs.insert(format!("past_{rest}"), past);
        }
    }
    Ok(Drawn { inputs, cases })
}

fn padded(random: &mut Random, vocabulary: u64, padding: u64, lengths: &[usize]) -> Result<Drawn> {
    let width = lengths.iter().copied().max().unwrap_or(0);
    let mut ids = Vec::with_capacity(lengths.len() * width);
    let mut mask = Vec::with_capacity(ids.capacity());
    for &length in lengths {
        for position in 0..width {
            let token = position < length;
            // Not the id of padding where there is another one.
            let mut id = random.range(0, vocabulary);
            if id == padding {
                id = (id + 1) % vocabulary;
            }
            ids.push(if token { id } else { padding } as i64);
            mask.push(i64::from(token));
        }
    }
    let shape = vec![lengths.len(), width];
    let inputs = [
        ("input_ids", Array::new(shape.clone(), Data::I64(ids))?),
        ("attention_mask", Array::new(shape, Data::I64(mask))?),
    ];
    Ok(drawn(inputs, lengths.len()))
}

/// Segments that begin somewhere in each sequence, as the second of two texts does.
fn segments(random: &mut Random, kinds: u64, batch: &mut Drawn) -> Result<()> {
    let Some(shape) = batch
        .inputs
        .get("input_ids")
        .map(|ids| ids.shape().to_vec())
    else {
        return Ok(());
    };
    let width = shape.last().copied().unwrap_or(0);
    let mut segments = Vec::new();
    for _ in 0..batch.cases {
        let (border, kind) = (random.range(0, width as u64 + 1), random.range(0, kinds));
        let kind = |place: u64| if place < border { 0 } else { kind as i64 };
        segments.extend((0..width as u64).map(kind));
    }
    let segments = Array::new(shape, Data::I64(segments))?;
    batch.inputs.insert("token_type_ids".to_owned(), segments);
    Ok(())
}

/// A sensor at rest, then two slow sines per sensor and channel with a little noise, within the
/// range of -10 to 10 that document 003's data contract allows.
fn windows(random: &mut Random, shape: [u64; 3], cases: usize) -> Result<Vec<Drawn>> {
    let elements = shape.iter().try_fold(1_u64, |n, d| n.checked_mul(*d));
    let cases = affordable(cases, elements.unwrap_or(u64::MAX), 4);
    let [channels, sensors, steps] = [
        to_usize(shape[0])?,
        to_usize(shape[1])?,
        to_usize(shape[2])?,
    ];
    let mut values = Vec::with_capacity(cases * channels * sensors * steps);
    for case in 0..cases {
        for _ in 0..channels * sensors {
            let offset = random.normal() * 0.5;
            let mut wave = || {
                let (amplitude, frequency) = (random.unit() * 2.0, 0.3 + random.unit() * 5.0);
                let phase = random.unit();
                move |t: f64| amplitude * (std::f64::consts::TAU * (frequency * t + phase)).sin()
            };
            let (first, second) = (wave(), wave());
            for step in 0..steps {
                let t = step as f64 / SAMPLE_RATE;
                let value = offset + first(t) + second(t) + random.normal() * 0.05;
                values.push(if case == 0 {
                    0.0
                } else {
                    as_f32(value.clamp(-10.0, 10.0))
                });
            }
        }
    }
    let shape = vec![cases, channels, sensors, steps];
    let inputs = [("imu_input", Array::new(shape, Data::F64(values))?)];
    Ok(vec![drawn(inputs, cases)])
}

/// A black picture, a white one, then a light from one side with a few slow waves and a little noise in
/// each channel, all in the range of -2.5 to 2.5 that normalized pixels have.
fn pictures(random: &mut Random, shape: [u64; 3], cases: usize) -> Result<Vec<Drawn>> {
    let elements = shape.iter().try_fold(1_u64, |n, d| n.checked_mul(*d));
    let cases = affordable(cases, elements.unwrap_or(u64::MAX), 4);
    let [channels, height, width] = [
        to_usize(shape[0])?,
        to_usize(shape[1])?,
        to_usize(shape[2])?,
    ];
    const MOST: f64 = 2.5;
    let mut values = Vec::with_capacity(cases * channels * height * width);
    for case in 0..cases {
        for _ in 0..channels {
            let [across, down, phase] = [random.unit(), random.unit(), random.unit()];
            let (slope, waves) = (random.normal(), random.unit() * 8.0);
            for row in 0..height {
                for column in 0..width {
                    let (x, y) = (column as f64 / width as f64, row as f64 / height as f64);
                    let wave =
                        (std::f64::consts::TAU * (waves * (across * x + down * y) + phase)).sin();
                    let light = slope * (x - y) + wave + random.normal() * 0.1;
                    values.push(match case {
                        0 => -MOST,
                        1 => MOST,
                        _ => as_f32(light.clamp(-MOST, MOST)),
                    });
                }
            }
        }
    }
    let shape = vec![cases, channels, height, width];
    let inputs = [("pixel_values", Array::new(shape, Data::F64(values))?)];
    Ok(vec![drawn(inputs, cases)])
}

fn drawn<const N: usize>(inputs: [(&str, Array); N], cases: usize) -> Drawn {
    Drawn {
        inputs: inputs
            .into_iter()
            .map(|(name, array)| (name.to_owned(), array))
            .collect(),
        cases,
    }
}

/// Rounded to what the graph is fed, so that reference and engine get the same number.
fn as_f32(value: f64) -> f64 {
    f64::from(value as f32)
}

fn to_usize(size: u64) -> Result<usize> {
    usize::try_from(size).map_err(|_| {
        Error::limit(
            "golden-size",
            "the inputs of one case do not fit into memory",
        )
    })
}
