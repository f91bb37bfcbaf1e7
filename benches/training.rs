//! One training epoch of the planner models, against PyTorch where it is installed.
//!
//! ```text
//! cargo bench -p amphora-training --bench training -- [mlp|transformer|urm ...] [--rows 5000] [--epochs 5]
//! AMPHORA_PEERS=/path/to/python cargo bench -p amphora-training --bench training   # with PyTorch
//! ```
//!
//! The feature model is the one of the documents: 3779 sparse features, 512-256-128, batches of 64. The
//! figure is the median over the epochs after the first, without the encoding of the rows and without
//! validation. PyTorch runs the same loop (dense input, `AdamW`, smoothing, clipping) on rows with the
//! same features, before and after ours.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::time::{Duration, Instant};

use amphora_planner::action_space::{Action, ActionSpace};
use amphora_planner::contracts::PlannerInput;
use amphora_planner::encode::FeatureSchema;
use amphora_training::train::{Label, ModelKind, TrainConfig, TrainingRow, train};
use serde_json::{Value, json};

const PYTORCH: &str = r#"
import sys, time, statistics, numpy, torch
from torch import nn
threads, epochs = int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads); torch.manual_seed(0)
data = numpy.load(sys.argv[1])
width, counts = 3779, data['counts']
x = torch.zeros(len(counts), width)
rows = numpy.repeat(numpy.arange(len(counts)), counts)
x[rows, data['indices']] = torch.from_numpy(data['values'])
y = torch.from_numpy(data['labels']).long()
layers, d = [], width
for o in (512, 256, 128):
    layers += [nn.Linear(d, o), nn.LayerNorm(o), nn.ReLU(), nn.Dropout(0.1)]; d = o
trunk = nn.Sequential(*layers); heads = nn.ModuleList([nn.Linear(d, c) for c in (2, 4, 6, 5)])
parameters = list(trunk.parameters()) + list(heads.parameters())
optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01)
loss = nn.CrossEntropyLoss(label_smoothing=0.1); times = []
for epoch in range(epochs):
    start = time.perf_counter(); order = torch.randperm(len(x))
    for batch in order.split(64):
        h = trunk(x[batch]); total = sum(loss(head(h), y[batch, i]) for i, head in enumerate(heads))
        optimizer.zero_grad(); total.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0); optimizer.step()
    times.append(time.perf_counter() - start)
print(statistics.median(times[1:]))
"#;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let number = |flag: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == flag);
        at.map_or(default, |at| arguments[at + 1].parse().unwrap())
    };
    let (count, epochs) = (number("--rows", 5000), number("--epochs", 5));
    let rows = rows(count);
    println!("{count} rows, {} threads", rayon::current_num_threads());
    let before = pytorch(&rows, epochs);
    for kind in [ModelKind::Mlp, ModelKind::Transformer, ModelKind::Urm] {
        let named = |name: &str| arguments.iter().any(|argument| argument == name);
        let any = ModelKind::ALL.iter().any(|kind| named(kind.name()));
        if !(named(kind.name()) || (!any && kind == ModelKind::Mlp)) {
            continue;
        }
        let mut config = TrainConfig::new(kind);
        config.epochs = epochs;
        config.sizes.d_model = number("--d-model", 128) as u64;
        let seconds = epoch_seconds(&rows, &config);
        println!("{:<12} {seconds:>9.3} s per epoch", kind.name());
        if let (ModelKind::Mlp, Some(before)) = (kind, before) {
            let after = pytorch(&rows, epochs).unwrap();
            let peer = (before + after) / 2.0;
            println!(
                "{:<12} {peer:>9.3} s per epoch, ours / theirs {:.2}",
                "PyTorch",
                seconds / peer
            );
        }
    }
}

/// The median time between the first and the last step of the epochs after the first.
fn epoch_seconds(rows: &[TrainingRow], config: &TrainConfig) -> f64 {
    let scratch = tempfile::tempdir().unwrap();
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    let mut previous = Instant::now();
    train(
        rows,
        &[],
        config,
        &scratch.path().join("out"),
        false,
        &mut |progress| {
            let now = Instant::now();
            if progress.step.0 == 1 {
                starts.push(now);
            }
            if progress.step.0 == progress.step.1 {
                // The first step of an epoch ends at its start: count one step more.
                ends.push(now + (now - previous));
            }
            previous = now;
            Ok(())
        },
    )
    .unwrap();
    let mut times: Vec<Duration> = ends
        .iter()
        .zip(&starts)
        .map(|(end, start)| *end - *start)
        .collect();
    times.remove(0);
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

/// Where PyTorch is installed, the median time of its epochs.
fn pytorch(rows: &[TrainingRow], epochs: usize) -> Option<f64> {
    let peer = amphora_testing::peer("torch", None)?;
    let scratch = tempfile::tempdir().unwrap();
    let schema = FeatureSchema::new(&ActionSpace::default(), 8);
    let (mut counts, mut indices, mut values, mut labels) = (vec![], vec![], vec![], vec![]);
    for row in rows {
        let features = schema.encode(&row.input);
        counts.push(features.indices.len());
        indices.extend(features.indices);
        values.extend(features.values);
        let Some(Label::Action(action)) = row.label else {
            continue;
        };
        labels.push(action.classes());
    }
    let data = json!({"counts": counts, "indices": indices, "values": values, "labels": labels});
    let path = scratch.path().join("rows.json");
    fs_err::File::create(&path)
        .map(|file| serde_json::to_writer(file, &data))
        .unwrap()
        .unwrap();
    let convert = "import sys, json, numpy; d = json.load(open(sys.argv[1])); \
        numpy.savez(sys.argv[1] + '.npz', **{k: numpy.array(v, dtype='float32' if k == 'values' else 'int64') for k, v in d.items()})";
    let path = path.to_string_lossy();
    peer.run(convert, &[&path]);
    let threads = rayon::current_num_threads().to_string();
    let printed = peer.run(
        PYTORCH,
        &[&format!("{path}.npz"), &threads, &epochs.to_string()],
    );
    Some(printed.trim().parse().unwrap())
}

/// Inputs with eight earlier runs each, drawn from a small generator.
fn rows(count: usize) -> Vec<TrainingRow> {
    let mut state = 42_u64;
    let mut draw = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let space = serde_json::to_value(ActionSpace::default()).unwrap();
    let valid = ActionSpace::default().valid_actions("code");
    (0..count)
        .map(|number| {
            let tags: Vec<String> = (0..draw(6)).map(|_| format!("tag{}", draw(300))).collect();
            let runs: Vec<Value> = (0..8).map(|run| history(run, &mut draw)).collect();
            let one_of = |words: &[&str], at: u64| words[at as usize].to_owned();
            let document = json!({
                "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
                "universe_id": "u1", "job_type": "code", "universe_defaults": {"swarm_id": "serial_handoff"},
                "issue": {
                    "issue_id": format!("i{number}"), "dk_priority": one_of(&["P0", "P1", "P2", "P3"], draw(4)),
                    "dk_risk": one_of(&["low", "medium", "high", "critical"], draw(4)),
                    "dk_size": one_of(&["XS", "S", "M", "L", "XL"], draw(5)), "dk_tool_hint": null,
                    "dk_attempts": draw(4), "tags": tags,
                },
                "history": {"last_n_similar_runs": runs}, "action_space": space,
            });
            let action: Action = valid[draw(valid.len() as u64) as usize];
            TrainingRow {
                input: PlannerInput::from_value(&document).unwrap(),
                label: Some(Label::Action(action)),
                outcomes: Vec::new(),
                weight: 1.0,
            }
        })
        .collect()
}

fn history(run: u64, draw: &mut impl FnMut(u64) -> u64) -> Value {
    let passed = draw(2) == 0;
    let codes: Vec<String> = (0..if passed { 0 } else { 1 + draw(4) })
        .map(|_| format!("code{}", draw(200)))
        .collect();
    json!({
        "run_id": format!("r{run}"), "started_ms": 1_769_000_000_000_u64 + draw(1_000_000_000),
        "job_type": "code", "domain": "code",
        "action_executed": {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 30, "max_iterations": null},
        "outcome": {"status": if passed { "success" } else { "failed" }, "fail_codes": codes,
                    "gates": [{"name": "test", "passed": passed}, {"name": "lint", "passed": draw(3) > 0}]},
        "runtime": {"duration_ms": draw(7_200_000)}, "tags": [],
    })
}
