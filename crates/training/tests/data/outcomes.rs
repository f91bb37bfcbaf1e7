//! Winners, statistics, the simulator.

use std::collections::BTreeSet;

use amphora_files::sha256;
use amphora_planner::action_space::NamedAction;
use amphora_planner::contracts::{Bin, Objective, RunStatus};
use amphora_planner::replay::Trials;
use amphora_training::bench::{BenchRequest, Candidate, CandidateOutcome, bench, best};
use amphora_training::dataset::Dataset;
use amphora_training::import::Policy;
use amphora_training::stats::stats;

use crate::scene::{Scene, simulated, toolchains};

#[test]
fn the_hash_of_a_bench_is_that_of_all_that_decides_its_rows() {
    let scene = Scene::new(4);
    let original = scene.build().unwrap();
    let hash = |dataset: &Dataset, seed: u64, objective: Objective, toolchains: &[String]| {
        let stage_b = bench(&BenchRequest {
            dataset,
            trials: &scene.trials,
            toolchains,
            objective,
            seed,
        });
        stage_b.unwrap().summary.bench_config_hash
    };
    let (duration, all) = (Objective::MinimizeDuration, toolchains());
    let mut universe = original.clone();
    universe.meta.universe_id = "elsewhere".to_owned();
    let mut defaults = original.clone();
    defaults.rows[0].planner_input.universe_defaults.swarm_id = Some("serial_handoff".to_owned());
    let mut actions = original.clone();
    let space = &mut actions.rows[0].planner_input.action_space;
    space.max_minutes_bins = vec![Bin::Count(15)];
    let mut decisions = original.clone();
    decisions.meta.dataset_hash = "other".to_owned();
    let hashes = [
        hash(&original, 1, duration, &all),
        hash(&original, 2, duration, &all),
        hash(&original, 1, Objective::MinimizeCost, &all),
        hash(&original, 1, duration, &all[..2]),
        hash(&universe, 1, duration, &all),
        hash(&defaults, 1, duration, &all),
        hash(&actions, 1, duration, &all),
        hash(&decisions, 1, duration, &all),
    ];
    let different: BTreeSet<&String> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len(), "{hashes:?}");
    assert_eq!(hashes[0], hash(&original, 1, duration, &all));
}

fn candidate(swarm: &str, bins: [u32; 2], passed: bool, wall: u64, agent: u64) -> Candidate {
    let bin = |count: u32| match count {
        0 => Bin::NotApplicable,
        count => Bin::Count(count),
    };
    Candidate {
        action: NamedAction {
            swarm_id: swarm.to_owned(),
            max_candidates_bin: bin(bins[0]),
            max_minutes_bin: bin(bins[1]),
            max_iterations_bin: Bin::NotApplicable,
        },
        outcome: CandidateOutcome {
            status: if passed {
                RunStatus::Success
            } else {
                RunStatus::Failed
            },
            duration_ms: wall,
            agent_ms: agent,
            cut: false,
            runs: 1,
            all_gates_passed: passed,
            fail_codes: Vec::new(),
        },
        is_winner: false,
    }
}

#[test]
fn the_winner_passes_then_is_best_then_is_small() {
    use Objective::{MaximizeQuality, MaximizeUtility, MinimizeCost, MinimizeDuration};
    let (s, v) = ("serial_handoff", "speculate_vote");
    let rows = [
        // Nothing passes: nobody wins, not even the best of the failures.
        (
            MinimizeDuration,
            vec![candidate(s, [1, 15], false, 1, 1)],
            None,
        ),
        (MinimizeDuration, vec![], None),
        // A failure is never better than a pass.
        (
            MinimizeDuration,
            vec![
                candidate(s, [1, 15], false, 1, 1),
                candidate(v, [2, 15], true, 9, 9),
            ],
            Some(1),
        ),
        // The objectives differ.
        (
            MinimizeDuration,
            vec![
                candidate(s, [1, 15], true, 9, 9),
                candidate(v, [2, 15], true, 5, 12),
            ],
            Some(1),
        ),
        (
            MinimizeCost,
            vec![
                candidate(s, [1, 15], true, 9, 9),
                candidate(v, [2, 15], true, 5, 12),
            ],
            Some(0),
        ),
        (
            MaximizeUtility,
            vec![
                candidate(s, [1, 15], true, 9, 9),
                candidate(v, [2, 15], true, 5, 12),
            ],
            Some(0),
        ),
        // Ties: fewer candidates, then fewer minutes, NA as 999; then the text.
        (
            MinimizeDuration,
            vec![
                candidate(v, [3, 15], true, 5, 5),
                candidate(v, [2, 60], true, 5, 5),
            ],
            Some(1),
        ),
        (
            MinimizeDuration,
            vec![
                candidate(v, [0, 15], true, 5, 5),
                candidate(v, [3, 60], true, 5, 5),
            ],
            Some(1),
        ),
        (
            MinimizeDuration,
            vec![
                candidate(v, [2, 0], true, 5, 5),
                candidate(v, [2, 120], true, 5, 5),
            ],
            Some(1),
        ),
        (
            MaximizeQuality,
            vec![
                candidate(v, [1, 15], true, 5, 5),
                candidate(s, [1, 15], true, 9, 5),
            ],
            Some(1),
        ),
    ];
    amphora_testing::each(&rows, |(objective, candidates, wanted)| {
        let found = best(candidates, *objective);
        match found == *wanted {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

#[test]
fn every_valid_action_is_tried_and_every_outcome_is_kept() {
    let scene = Scene::new(20);
    let dataset = scene.build().unwrap();
    let request = BenchRequest {
        dataset: &dataset,
        trials: &scene.trials,
        toolchains: &toolchains(),
        objective: Objective::MinimizeDuration,
        seed: 1,
    };
    let stage_b = bench(&request).unwrap();
    assert_eq!(stage_b.rows.len(), dataset.rows.len());
    assert_eq!(stage_b, bench(&request).unwrap());
    for (row, decision) in stage_b.rows.iter().zip(&dataset.rows) {
        assert_eq!((&row.run_id, row.split), (&decision.run_id, decision.split));
        assert_eq!(row.candidates.len(), 30);
        let winners: Vec<_> = row.candidates.iter().filter(|c| c.is_winner).collect();
        assert_eq!(winners.len(), usize::from(row.label_action.is_some()));
        let fastest = row.candidates.iter().filter(|c| c.outcome.all_gates_passed);
        let fastest = fastest.map(|c| c.outcome.duration_ms).min();
        assert_eq!(winners.first().map(|c| c.outcome.duration_ms), fastest);
    }
    let summary = &stage_b.summary;
    assert!(
        summary.with_winner > 0 && summary.no_passing_candidate > 0,
        "{summary:?}"
    );
    assert_eq!(
        summary.decisions,
        summary.with_winner + summary.no_passing_candidate
    );
    let other = bench(&BenchRequest { seed: 2, ..request }).unwrap();
    assert_ne!(other.rows, stage_b.rows);
    let none = bench(&BenchRequest {
        trials: &Trials::default(),
        ..request
    });
    assert_eq!(none.unwrap_err().rule(), "toolchain-unknown");
}

#[test]
fn statistics_tell_what_is_feasible() {
    let few = Scene::new(10);
    let stats_of = |scene: &Scene| stats(&scene.collected(), &scene.build().unwrap());
    let found = stats_of(&few);
    assert!(!found.feasible && !found.gates[0].met);
    let code = &found.domains["code"];
    assert_eq!(code.runs as usize, few.imported.archives);
    assert_eq!(code.examples as usize, few.imported.decisions);
    assert_eq!(code.runs, code.success + code.failed + code.timeout);
    assert_eq!(
        found.labels["max_iterations_bin"].counts["NA"],
        code.examples
    );
    assert_eq!(found.labels["max_iterations_bin"].entropy, 0.0);
    // The heuristic decides like for like; a draw does not.
    assert_eq!(found.near_duplicates.agreement, Some(1.0));
    let drawn = stats_of(&Scene::with_policy(10, &Policy::Uniform));
    assert!(drawn.near_duplicates.agreement.unwrap() < 0.8);
    assert!(drawn.labels["max_minutes_bin"].entropy > 1.0);
}

#[test]
fn simulated_runs_are_the_same_on_every_machine_and_have_something_to_learn() {
    let (issues, trials) = simulated(400, 1);
    let digest = |trials: &Trials| {
        let lines: String = trials
            .as_slice()
            .iter()
            .map(|trial| serde_json::to_string(trial).unwrap())
            .collect();
        sha256(lines.as_bytes()).to_string()
    };
    assert_eq!(digest(&trials), digest(&simulated(400, 1).1));
    assert_ne!(digest(&trials), digest(&simulated(400, 2).1));
    assert_eq!(
        digest(&trials),
        "b536c671a9770f25f2b69d404340314e7e39018d529ff4300bea58c25f1bc486"
    );
    let rate = |wanted: &dyn Fn(&amphora_planner::issues::Issue) -> bool| {
        let runs: Vec<_> = trials
            .as_slice()
            .iter()
            .filter(|trial| wanted(issues.get(&trial.issue_id).unwrap()))
            .collect();
        let passed = runs.iter().filter(|trial| trial.all_passed).count();
        passed as f64 / runs.len() as f64
    };
    use amphora_planner::contracts::{Risk, Size};
    let easy =
        rate(&|issue| issue.dk_risk == Risk::Low && matches!(issue.dk_size, Size::Xs | Size::S));
    let hard = rate(&|issue| {
        issue.dk_risk == Risk::Critical && matches!(issue.dk_size, Size::L | Size::Xl)
    });
    assert!(easy > 0.8 && hard < 0.4, "{easy} {hard}");
}
