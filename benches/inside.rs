//! Inside one process: hashing, exporting, checking, and the forward pass of each engine.
//!
//! ```text
//! cargo bench -p amphora
//! ```
//!
//! Needs the reference fixtures beside the checkout; ONNX Runtime is measured where the Python named
//! by `AMPHORA_PEERS` has it. Compare engines within one run, never across runs.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use amphora_checkpoint::{Checkpoint, architecture::Architecture};
use amphora_export::{ExportOptions, export};
use amphora_onnx::{Limits, Model, write};
use amphora_runtime::{Engine, EngineChoice, OrtLocation, Session, SessionOptions, Tensor, engine};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// The planner's input width (document 000).
const WIDTH: usize = 3779;

fn hashing(criterion: &mut Criterion) {
    let bytes = vec![0x5a_u8; 64 << 20];
    let mut group = criterion.benchmark_group("sha256");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.sample_size(20);
    group.bench_function("64 MiB", |bencher| {
        bencher.iter(|| amphora_files::sha256(black_box(&bytes)));
    });
}

fn exporting(criterion: &mut Criterion) {
    let Some(folder) = amphora_testing::fixture("planner_mlp") else {
        return;
    };
    let mut group = criterion.benchmark_group("planner MLP");
    group.bench_function("read checkpoint, export, encode", |bencher| {
        bencher.iter(|| write::to_bytes(&planner(&folder)));
    });
    let bytes = bytes::Bytes::from(write::to_bytes(&planner(&folder)));
    group.bench_function("decode, check", |bencher| {
        bencher.iter(|| {
            let model = Model::from_bytes(bytes.clone(), None, &Limits::default()).unwrap();
            model.check().unwrap();
        });
    });
}

fn planner(folder: &Path) -> amphora_onnx::proto::ModelProto {
    let config = amphora_files::json::read(folder.join("config.json")).unwrap();
    let architecture = Architecture::from_config(&config).unwrap();
    let weights = folder.join("model.safetensors");
    let checkpoint = Checkpoint::open(weights, &Default::default()).unwrap();
    export(&architecture, &checkpoint, &ExportOptions::default()).unwrap()
}

fn engines() -> Vec<Arc<dyn Engine>> {
    let mut engines = vec![engine(EngineChoice::Rten, &OrtLocation::default()).unwrap()];
    if let Some(peer) = amphora_testing::peer("onnxruntime", None) {
        let program = "import onnxruntime, glob, os; \
            print(glob.glob(os.path.dirname(onnxruntime.__file__) + '/capi/libonnxruntime.so*')[0])";
        let library = peer.run(program, &[]).trim().into();
        let location = OrtLocation {
            library: Some(library),
            ..OrtLocation::default()
        };
        engines.push(engine(EngineChoice::Ort, &location).unwrap());
    }
    engines
}

fn forward(criterion: &mut Criterion) {
    let Some(folder) = amphora_testing::fixture("planner_mlp") else {
        return;
    };
    let model = Model::from_proto(planner(&folder), &Limits::default()).unwrap();
    let options = SessionOptions {
        threads: std::num::NonZeroUsize::new(1),
        ..SessionOptions::default()
    };
    for batch in [1, 64] {
        let mut row = vec![0.0_f32; WIDTH * batch];
        row.iter_mut().step_by(63).for_each(|value| *value = 1.0);
        let inputs = BTreeMap::from([(
            "input".to_owned(),
            Tensor::new(vec![batch, WIDTH], row).unwrap(),
        )]);
        let mut group =
            criterion.benchmark_group(format!("planner MLP forward, batch {batch}, 1 thread"));
        for engine in engines() {
            let mut session = Session::new(&model, engine.clone(), &options, None).unwrap();
            group.bench_function(BenchmarkId::from_parameter(engine.name()), |bencher| {
                bencher.iter(|| session.run(black_box(&inputs)).unwrap());
            });
        }
    }
}

criterion_group!(benches, hashing, exporting, forward);
criterion_main!(benches);
