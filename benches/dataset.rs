//! A dataset out of archives: importing, reading and building at about 10^4 archives on disk.
//!
//! ```text
//! cargo bench -p amphora-training --bench dataset
//! ```
//!
//! The archives are those of simulated trials, three files each, in a temporary directory: what is
//! measured is parsing, retrieval and hashing with files in the page cache. Throughput counts archives.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::hint::black_box;
use std::time::Duration;

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{Objective, UniverseDefaults};
use amphora_planner::history::archives;
use amphora_planner::issues::parse_issues;
use amphora_training::bench::{BenchRequest, bench};
use amphora_training::dataset::{BuildRequest, build};
use amphora_training::import::{ImportRequest, Policy, import};
use amphora_training::simulator::{Simulation, TOOLCHAINS, simulate};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Two runs of three toolchains on each.
const ISSUES: usize = 1_700;

fn datasets(criterion: &mut Criterion) {
    let simulated = simulate(&Simulation {
        issues: ISSUES,
        runs: 2,
        seed: 1,
        start_ms: 1_760_000_000_000,
    })
    .unwrap();
    let lines: String = simulated
        .issues
        .iter()
        .map(|issue| format!("{issue}\n"))
        .collect();
    let issues = parse_issues(lines.as_bytes());
    let toolchains = TOOLCHAINS.map(str::to_owned);
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("archives");
    let imported = import(
        &ImportRequest {
            issues: &issues,
            trials: &simulated.trials,
            toolchains: &toolchains,
            action_space: &ActionSpace::default(),
            policy: &Policy::Uniform,
            seed: 1,
            similar: 8,
            universe_id: "unknown",
            universe_defaults: &UniverseDefaults::default(),
        },
        &place,
    )
    .unwrap();

    let mut group = criterion.benchmark_group("dataset");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(10))
        .throughput(Throughput::Elements(imported.archives as u64));
    let name = |what: &str| format!("{what}/{}", imported.archives);
    group.bench_function(name("read archives"), |bencher| {
        bencher.iter(|| archives::collect(black_box(&place)).unwrap().runs.len());
    });
    let runs = archives::collect(&place).unwrap();
    let request = BuildRequest {
        runs: &runs,
        issues: &issues,
        action_space: None,
        similar: 8,
        world_runs: None,
        universe: None,
    };
    group.bench_function(name("build rows"), |bencher| {
        bencher.iter(|| build(black_box(&request)).unwrap().rows.len());
    });
    let dataset = build(&request).unwrap();
    group.bench_function(name("replay every action"), |bencher| {
        bencher.iter(|| {
            let stage_b = bench(&BenchRequest {
                dataset: black_box(&dataset),
                trials: &simulated.trials,
                toolchains: &toolchains,
                objective: Objective::MinimizeDuration,
                seed: 1,
            });
            stage_b.unwrap().rows.len()
        });
    });
    group.finish();
}

criterion_group!(benches, datasets);
criterion_main!(benches);
