//! The planner's forward pass against ONNX Runtime and rten on the same model and rows, and one
//! decision from JSON to JSON.
//!
//! ```text
//! AMPHORA_PEERS=.../python cargo bench -p amphora --bench planner_decision
//! ```
//!
//! Contestants take turns within one run; each figure is the median over the turns, and the ratio is
//! what counts. ONNX Runtime runs on one thread, called without anything of this project in between.
//! Needs the reference fixtures beside the checkout, and a Python with onnxruntime for its library.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use amphora_onnx::{Limits, Model};
use amphora_planner::action_space::{ActionSpace, Head};
use amphora_planner::bundle::PlannerBundle;
use amphora_planner::contracts::PlannerInput;
use amphora_planner::decide::{Baseline, Planner, Policy, Settings};
use amphora_planner::encode::{FeatureSchema, TokenizerConfig};
use amphora_planner::forward::SparseMlp;
use amphora_runtime::{EngineChoice, OrtLocation, Session, SessionOptions, Tensor, engine};
use serde_json::{Value, json};

/// The planner's input width (document 000).
const WIDTH: usize = 3779;
/// Nonzero features of a row.
const ACTIVE: usize = 60;
/// How often each contestant has its turn.
const TURNS: usize = 21;
/// How long a turn takes at least.
const TURN: Duration = Duration::from_millis(20);

type Contestant<'a> = (&'a str, Box<dyn FnMut() + 'a>);

/// The median time of one call of each, in microseconds.
fn race(contestants: &mut [Contestant<'_>]) -> Vec<f64> {
    let mut times = vec![Vec::with_capacity(TURNS); contestants.len()];
    let mut calls = vec![0_u32; contestants.len()];
    for ((_, call), calls) in contestants.iter_mut().zip(&mut calls) {
        let start = Instant::now();
        while start.elapsed() < TURN {
            call();
            *calls += 1;
        }
    }
    for _ in 0..TURNS {
        for (place, (_, call)) in contestants.iter_mut().enumerate() {
            let start = Instant::now();
            for _ in 0..calls[place] {
                call();
            }
            times[place].push(start.elapsed().as_secs_f64() * 1e6 / f64::from(calls[place]));
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    times.into_iter().map(median).collect()
}

fn print(title: &str, names: &[&str], times: &[f64], of: usize) {
    println!("{title}");
    for (name, time) in names.iter().zip(times) {
        println!(
            "  {name:<24} {time:>12.1} us   {:>7.3} x {}",
            time / times[of],
            names[of]
        );
    }
}

/// Rows as the encoder makes them: about half ones, the rest fractions.
fn rows(batch: usize) -> Vec<(Vec<u32>, Vec<f32>)> {
    let mut state = 7_u64;
    let mut next = move |below: u64| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    (0..batch)
        .map(|_| {
            let mut row = BTreeMap::new();
            while row.len() < ACTIVE {
                let value = if next(2) == 0 {
                    1.0
                } else {
                    next(100) as f32 / 100.0 + 0.005
                };
                row.insert(next(WIDTH as u64) as u32, value);
            }
            row.into_iter().unzip()
        })
        .collect()
}

fn forward(folder: &Path) {
    let model = Model::open(&folder.join("model.onnx"), &Limits::default()).unwrap();
    let mlp = SparseMlp::recognize(&model).unwrap();
    let ort = onnx_runtime();
    for batch in [1, 64, 1024] {
        let rows = rows(batch);
        let mut dense = vec![0.0_f32; batch * WIDTH];
        for (row, (indices, values)) in rows.iter().enumerate() {
            for (index, value) in indices.iter().zip(values) {
                dense[row * WIDTH + *index as usize] = *value;
            }
        }
        let mut contestants: Vec<Contestant<'_>> = vec![(
            "sparse",
            Box::new(|| {
                let rows = rows
                    .iter()
                    .map(|(indices, values)| (&indices[..], &values[..]));
                mlp.forward_each(black_box(rows), |logits| {
                    black_box(logits);
                })
                .unwrap();
            }),
        )];
        let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
        let options = SessionOptions {
            threads: NonZeroUsize::new(1),
            ..SessionOptions::default()
        };
        let mut session = Session::new(&model, rten, &options, None).unwrap();
        let input = Tensor::new([batch, WIDTH], dense.clone()).unwrap();
        let inputs = BTreeMap::from([("input".to_owned(), input)]);
        contestants.push((
            "rten, 1 thread",
            Box::new(move || {
                black_box(session.run(black_box(&inputs)).unwrap());
            }),
        ));
        if let Some(environment) = &ort {
            let mut session = ort::session::Session::builder(environment)
                .unwrap()
                .with_intra_threads(1)
                .unwrap()
                .commit_from_memory(model.bytes().unwrap())
                .unwrap();
            let shape = [batch, WIDTH];
            contestants.push((
                "ONNX Runtime, 1 thread",
                Box::new(move || {
                    let view = (shape, dense.as_slice());
                    let input = ort::value::TensorRef::from_array_view(view).unwrap();
                    let inputs = ort::inputs!["input" => input];
                    black_box(session.run(black_box(inputs)).unwrap());
                }),
            ));
        }
        let times = race(&mut contestants);
        let names: Vec<&str> = contestants.iter().map(|(name, _)| *name).collect();
        let title = format!("planner MLP forward, batch {batch}, {ACTIVE} of {WIDTH} features");
        print(&title, &names, &times, names.len() - 1);
    }
}

/// Loads the library of ONNX Runtime that a Python peer has.
fn onnx_runtime() -> Option<ort::environment::Environment> {
    let peer = amphora_testing::peer("onnxruntime", None)?;
    let program = "import onnxruntime, glob, os; \
        print(glob.glob(os.path.dirname(onnxruntime.__file__) + '/capi/libonnxruntime.so*')[0])";
    let library = peer.run(program, &[]);
    let library = library.trim();
    println!(
        "ONNX Runtime from {}",
        Path::new(library).file_name().unwrap().display()
    );
    Some(ort::init_from(library).unwrap().build().unwrap())
}

/// A flat planner directory around the fixture's model.
fn directory(folder: &Path, out: &Path, space: &ActionSpace) {
    let schema = FeatureSchema::new(space, 8);
    assert_eq!(schema.width(), WIDTH);
    let heads: Value = Head::ALL
        .into_iter()
        .map(|head| (head.onnx_name().to_owned(), json!(space.width(head))))
        .collect();
    let documents = [
        ("config.json", json!({"model_type": "mlp", "heads": heads})),
        ("action_space.json", serde_json::to_value(space).unwrap()),
        ("calibration.json", json!({"method": "none"})),
        (
            "metadata.json",
            json!({"digests": {"feature_schema": schema.digest().unwrap()}}),
        ),
        (
            "tokenizer_config.json",
            serde_json::to_value(TokenizerConfig::new(&schema)).unwrap(),
        ),
    ];
    for (name, document) in documents {
        fs_err::write(out.join(name), document.to_string()).unwrap();
    }
    fs_err::copy(folder.join("model.onnx"), out.join("model.onnx")).unwrap();
}

/// An input with eight earlier runs.
fn document(space: &ActionSpace) -> Vec<u8> {
    let run = |number: u64| {
        json!({
            "run_id": format!("wc-{number}"), "started_ms": 1_769_000_000_000_u64 + number,
            "job_type": "code", "domain": "code",
            "action_executed": {"swarm_id": "serial_handoff", "max_candidates": 1,
                "max_minutes": 30, "max_iterations": null},
            "outcome": {"status": "failed", "fail_codes": ["pytest_failed"],
                "gates": [{"name": "test", "passed": false}, {"name": "lint", "passed": true}]},
            "runtime": {"duration_ms": 91_000}, "cost_usd_est": 0.12, "tags": ["kernel"],
        })
    };
    let runs: Vec<Value> = (0..8).map(run).collect();
    let input = json!({
        "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
        "universe_id": "u1", "job_type": "code",
        "universe_defaults": {"swarm_id": "serial_handoff", "objective_id": null},
        "issue": {"issue_id": "42", "dk_priority": "P1", "dk_risk": "high", "dk_size": "M",
            "dk_tool_hint": "codex", "dk_attempts": 1, "tags": ["kernel", "cache", "hashing"],
            "title": "Cache key drift"},
        "history": {"last_n_similar_runs": runs},
        "action_space": serde_json::to_value(space).unwrap(),
        "system_state": {"active_workcells_bin": "1_2", "queue_depth_bin": null,
            "available_toolchains": ["codex"], "toolchain_health": null, "hour_bucket": "09",
            "budget_remaining_bin": null},
    });
    input.to_string().into_bytes()
}

fn decision(folder: &Path) {
    let scratch = tempfile::tempdir().unwrap();
    let space = ActionSpace::default();
    directory(folder, scratch.path(), &space);
    let open = || PlannerBundle::open(scratch.path()).unwrap();
    assert!(open().is_sparse());
    let bytes = document(&space);
    let input = PlannerInput::from_json(&bytes).unwrap();
    let schema = FeatureSchema::new(&space, 8);
    let nonzero = schema.encode(&input).indices.len();
    let bundle = open();
    let planner = Planner::new(Policy::bundle(open()).unwrap(), Settings::default()).unwrap();
    let baseline = Baseline::default();
    let decided = planner.decide(&input, &baseline);
    println!(
        "decided: {:?}, reason {:?}",
        decided.action.budgets, decided.reason
    );
    let mut contestants: Vec<Contestant<'_>> = vec![
        (
            "JSON in, decision, JSON out",
            Box::new(|| {
                let input = PlannerInput::from_json(black_box(&bytes)).unwrap();
                let decision = planner.decide(&input, &baseline);
                black_box(serde_json::to_vec(&decision.action).unwrap());
            }),
        ),
        (
            "decision",
            Box::new(|| {
                black_box(planner.decide(black_box(&input), &baseline));
            }),
        ),
        (
            "read the JSON",
            Box::new(|| {
                black_box(PlannerInput::from_json(black_box(&bytes)).unwrap());
            }),
        ),
        (
            "encode",
            Box::new(|| {
                black_box(schema.encode(black_box(&input)));
            }),
        ),
        (
            "encode and forward",
            Box::new(|| {
                black_box(bundle.logits(black_box(&input)).unwrap());
            }),
        ),
    ];
    let times = race(&mut contestants);
    let names: Vec<&str> = contestants.iter().map(|(name, _)| *name).collect();
    let size = bytes.len();
    print(
        &format!("one decision, input of {size} bytes, {nonzero} nonzero features"),
        &names,
        &times,
        0,
    );
}

fn main() {
    let Some(folder) = amphora_testing::fixture("planner_mlp") else {
        return;
    };
    let processor = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "));
    println!("{}", processor.unwrap_or("unknown processor"));
    forward(&folder);
    decision(&folder);
}
