//! Tokens a second of a small language model: reading, and continuing with the cache kept in the engine
//! and with the cache copied through tensors.
//!
//! ```text
//! AMPHORA_PEERS=.../python cargo bench -p amphora --bench generation
//! ```
//!
//! Needs the fixture `qwen3_tiny` beside the checkout, and a Python with onnxruntime for its library.
//! What counts is how the two ways compare within one run, and how they compare for a longer past: the
//! attention itself grows with the past on either.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

#[path = "../crates/runtime/tests/common/copying.rs"]
mod copying;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amphora_bundle::manifest::Generation;
use amphora_onnx::{Limits, Model};
use amphora_runtime::generation::Generator;
use amphora_runtime::{Engine, EngineChoice, OrtLocation, Session, SessionOptions, engine};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use self::copying::Copying;

/// Tokens that are written in one measurement.
const TOKENS: usize = 64;
/// Lengths of the prompt.
const PASTS: [usize; 3] = [16, 256, 900];

fn engines() -> Vec<Arc<dyn Engine>> {
    let ort = amphora_testing::peer("onnxruntime", None).map(|peer| {
        let location = OrtLocation {
            python: vec![peer.onnxruntime_packages()],
            ..OrtLocation::default()
        };
        engine(EngineChoice::Ort, &location).unwrap()
    });
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    [Some(rten), ort].into_iter().flatten().collect()
}

fn generator(engine: &Arc<dyn Engine>) -> Option<Generator> {
    let options = SessionOptions {
        threads: NonZeroUsize::new(1),
        ..SessionOptions::default()
    };
    let open = |name: &str| {
        let path = amphora_testing::fixture(&format!("qwen3_tiny/{name}.onnx"))?;
        let model = Model::open(&path, &Limits::default()).unwrap();
        Some(Session::new(&model, engine.clone(), &options, None).unwrap())
    };
    let manifest = Generation {
        prefill: "prefill".into(),
        decode: "decode".into(),
        context_length: None,
        positions_per_call: None,
        stop_token_ids: Vec::new(),
        pad_token_id: None,
        chat_template: None,
        sampling: None,
    };
    Some(Generator::new(open("prefill")?, open("decode")?, &manifest).unwrap())
}

fn prompt(tokens: usize) -> Vec<u32> {
    (0..tokens as u32)
        .map(|place| (place * 7919) % 1400)
        .collect()
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for engine in engines() {
        let Some(mut generator) = generator(&engine) else {
            return;
        };
        for past in PASTS {
            let prompt = prompt(past);
            group.throughput(Throughput::Elements(past as u64));
            group.bench_function(format!("{past} tokens/{}", engine.name()), |bencher| {
                bencher.iter(|| generator.start(&[&prompt], 0).unwrap().rows());
            });
        }
    }
    group.finish();
}

fn continuing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("continue");
    group.throughput(Throughput::Elements(TOKENS as u64));
    for engine in engines() {
        let copying: Arc<dyn Engine> = Arc::new(Copying(engine.clone()));
        for (way, engine) in [("kept", &engine), ("copied", &copying)] {
            let Some(mut generator) = generator(engine) else {
                return;
            };
            for past in PASTS {
                let prompt = prompt(past);
                let name = format!("after {past}/{} {way}", engine.name());
                group.bench_function(name, |bencher| {
                    bencher.iter_custom(|times| {
                        (0..times)
                            .map(|_| steps(&mut generator, &prompt))
                            .sum::<Duration>()
                    });
                });
            }
        }
    }
    group.finish();
}

/// The time of the steps alone; the first, which makes room in the cache, is one of them.
fn steps(generator: &mut Generator, prompt: &[u32]) -> Duration {
    let mut batch = generator.start(&[prompt], TOKENS).unwrap();
    let start = Instant::now();
    for token in 0..TOKENS as u32 {
        batch.advance(&[Some(token)]).unwrap();
    }
    start.elapsed()
}

criterion_group!(benches, reading, continuing);
criterion_main!(benches);
