//! The planner's history and encoders: building the index, finding similar runs, encoding inputs, at
//! 10^4, 10^5 and 10^6 runs.
//!
//! ```text
//! cargo bench -p amphora --bench planner
//! ```
//!
//! Two shapes of history: `varied` has an issue for every ten runs, in 5,000 areas with one to five of
//! 300 tags each, common ones much more often than others; `repeated` has 60 issues with 14 tags, as
//! recorded trials have. Every issue fails in four ways of its own, and gates are shared. Times are
//! drawn evenly over a year. Throughput counts queries or inputs, so near-linear means that it hardly
//! falls from one size to the next.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::collections::HashSet;
use std::hint::black_box;
use std::time::Duration;

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{
    ActionExecuted, Domain, Gate, Outcome, PlannerInput, RunStatus, RunSummary, Runtime,
    UniverseDefaults,
};
use amphora_planner::encode::{FeatureSchema, Tokenizer, TokenizerConfig, Vocabulary};
use amphora_planner::history::{Attempts, History, InputRequest, Query, build_input};
use amphora_planner::issues::{Issue, parse_issues};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const QUERIES: usize = 1_000;
const YEAR_MS: u64 = 365 * 86_400_000;
const START_MS: u64 = 1_770_000_000_000;

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Small numbers much more often than large ones.
    fn skewed(&mut self, end: usize) -> usize {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((end as f64).powf(unit) as usize).min(end) - 1
    }
}

#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    runs_per_issue: Option<usize>,
    areas: usize,
    tags: usize,
}

const SHAPES: [Shape; 2] = [
    Shape {
        name: "varied",
        runs_per_issue: Some(10),
        areas: 5_000,
        tags: 300,
    },
    Shape {
        name: "repeated",
        runs_per_issue: None,
        areas: 41,
        tags: 14,
    },
];

impl Shape {
    fn issues(self, runs: usize) -> usize {
        self.runs_per_issue.map_or(60, |each| runs / each)
    }

    fn tags_of(self, issue: usize) -> Vec<String> {
        let area = Draw(issue as u64).skewed(self.areas);
        let mut draw = Draw(area as u64);
        let count = 1 + draw.below(5);
        let tags: HashSet<usize> = (0..count).map(|_| draw.skewed(self.tags)).collect();
        let mut tags: Vec<String> = tags.into_iter().map(|tag| format!("tag-{tag}")).collect();
        tags.sort_unstable();
        tags
    }

    fn runs(self, count: usize) -> Vec<RunSummary> {
        let issues = self.issues(count);
        let mut draw = Draw(7);
        (0..count)
            .map(|at| {
                let issue = draw.below(issues);
                let failed = draw.below(2) == 0;
                let codes = if failed { 1 + draw.below(2) } else { 0 };
                let gates = ["test", "lint", "build"].map(|name| Gate {
                    name: name.to_owned(),
                    passed: !failed || draw.below(3) > 0,
                    score: None,
                });
                RunSummary {
                    run_id: format!("wc-{at}"),
                    started_ms: START_MS + draw.next() % YEAR_MS,
                    job_type: "code".to_owned(),
                    domain: Domain::Code,
                    action_executed: ActionExecuted {
                        swarm_id: Some("serial_handoff".to_owned()),
                        max_candidates: Some(1),
                        max_minutes: Some(30),
                        max_iterations: None,
                    },
                    outcome: Outcome {
                        status: if failed {
                            RunStatus::Failed
                        } else {
                            RunStatus::Success
                        },
                        fail_codes: (0..codes)
                            .map(|_| format!("code-{issue}-{}", draw.below(4)))
                            .collect(),
                        gates: gates.to_vec(),
                    },
                    runtime: Runtime {
                        duration_ms: draw.next() % 3_600_000,
                    },
                    cost_usd_est: Some(0.3),
                    tokens_in: None,
                    tokens_out: None,
                    tags: self.tags_of(issue),
                    issue_id: Some(format!("issue-{issue}")),
                    universe_id: None,
                    world_id: None,
                    objective_id: None,
                }
            })
            .collect()
    }

    /// Issues and the moments at which they are decided.
    fn decisions(self, runs: usize) -> Vec<(Issue, u64)> {
        let issues = self.issues(runs);
        let mut draw = Draw(11);
        (0..QUERIES)
            .map(|_| {
                let issue = draw.below(issues);
                let tags = self.tags_of(issue);
                let line = serde_json::json!({
                    "id": format!("issue-{issue}"), "title": "Cache key drift under load",
                    "dk_priority": "P1", "dk_risk": "high", "dk_size": "M", "tags": tags
                });
                let issue = parse_issues(line.to_string().as_bytes()).issues.remove(0);
                (issue, START_MS + draw.next() % YEAR_MS)
            })
            .collect()
    }
}

fn query<'a>((issue, started_ms): &'a (Issue, u64)) -> Query<'a> {
    Query {
        job_type: "code",
        started_ms: *started_ms,
        tags: &issue.tags,
        issue_id: Some(&issue.id),
        ..Query::default()
    }
}

fn input(history: &History, space: &ActionSpace, (issue, now_ms): &(Issue, u64)) -> PlannerInput {
    build_input(&InputRequest {
        issue,
        history,
        action_space: space,
        universe_id: "u1",
        universe_defaults: &UniverseDefaults::default(),
        system_state: None,
        now_ms: *now_ms,
        similar: 8,
        attempts: Attempts::OfHistory,
        decision: None,
        world_id: None,
    })
    .unwrap()
}

/// What the index replaces: every run is looked at for every query.
fn scan(runs: &[RunSummary], query: &Query) -> Vec<usize> {
    let set = |words: &[String]| -> HashSet<String> { words.iter().cloned().collect() };
    let asked = set(query.tags);
    let mut scored: Vec<(f64, u64, usize)> = runs
        .iter()
        .enumerate()
        .filter(|(_, run)| run.ended_ms() <= query.started_ms && run.job_type == query.job_type)
        .map(|(at, run)| {
            let own = set(&run.tags);
            let alike = own.intersection(&asked).count() as f64 / own.union(&asked).count() as f64;
            let days = (query.started_ms - run.started_ms) / 86_400_000;
            let recency = [1, 7, 30].iter().filter(|edge| days >= **edge).count();
            (
                0.6 * alike + 0.1 / (1.0 + recency as f64),
                run.started_ms,
                at,
            )
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    scored.into_iter().take(8).map(|(_, _, at)| at).collect()
}

fn history(criterion: &mut Criterion) {
    let space = ActionSpace::default();
    let schema = FeatureSchema::new(&space, 8);
    let vocabulary = Vocabulary::new(&space, ["u1"]);
    let tokenizer = Tokenizer::new(TokenizerConfig::new(&schema), vocabulary).unwrap();
    for shape in SHAPES {
        let mut group = criterion.benchmark_group(shape.name);
        group.sample_size(10);
        group.warm_up_time(Duration::from_millis(500));
        group.measurement_time(Duration::from_secs(2));
        for size in SIZES {
            let runs = shape.runs(size);
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::new("index", size), |bencher| {
                bencher.iter_batched(
                    || runs.clone(),
                    History::new,
                    criterion::BatchSize::PerIteration,
                );
            });
            let decisions = shape.decisions(size);
            if size == SIZES[0] {
                group.throughput(Throughput::Elements(1));
                group.bench_function(BenchmarkId::new("scan", size), |bencher| {
                    let mut next = decisions.iter().cycle();
                    bencher.iter(|| scan(&runs, &query(next.next().unwrap())));
                });
            }
            let history = History::new(runs);
            group.throughput(Throughput::Elements(QUERIES as u64));
            group.bench_function(BenchmarkId::new("similar", size), |bencher| {
                bencher.iter(|| {
                    for decision in &decisions {
                        black_box(history.similar(&query(decision), 8));
                    }
                });
            });
            group.bench_function(BenchmarkId::new("build_input", size), |bencher| {
                bencher.iter(|| {
                    for decision in &decisions {
                        black_box(input(&history, &space, decision));
                    }
                });
            });
            let inputs: Vec<PlannerInput> = decisions
                .iter()
                .map(|decision| input(&history, &space, decision))
                .collect();
            group.bench_function(BenchmarkId::new("features", size), |bencher| {
                bencher.iter(|| {
                    for input in &inputs {
                        black_box(schema.encode(input));
                    }
                });
            });
            group.bench_function(BenchmarkId::new("tokens", size), |bencher| {
                bencher.iter(|| {
                    for input in &inputs {
                        black_box(tokenizer.ids(input));
                    }
                });
            });
        }
    }
}

criterion_group!(benches, history);
criterion_main!(benches);
