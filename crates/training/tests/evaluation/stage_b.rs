//! Stage B: what rows of a bench teach.

use amphora_planner::contracts::{Objective, RunStatus};
use amphora_training::bench::{BenchRequest, bench};
use amphora_training::preference::label_by_utility;
use amphora_training::train::{ActionOutcome, Label, ModelKind, TrainingRow, train_in_memory};

use crate::scene::{Scene, settings, tiny};

#[test]
fn a_row_of_a_bench_teaches_its_winner_and_every_outcome() {
    let scene = Scene::new();
    let settings = settings();
    let found = bench(&BenchRequest {
        dataset: &scene.dataset,
        trials: &scene.trials,
        toolchains: &settings.toolchains,
        objective: Objective::MaximizeUtility,
        seed: 1,
    })
    .unwrap();
    let (mut winners, mut cut_though_passed) = (0, 0);
    for row in &found.rows {
        let learned = TrainingRow::of_bench(row).unwrap();
        let space = &row.planner_input.action_space;
        let winner = row.candidates.iter().find(|candidate| candidate.is_winner);
        let winner = winner.map(|winner| Label::Action(space.index(&winner.action).unwrap()));
        assert_eq!(learned.label, winner);
        winners += usize::from(winner.is_some());
        assert_eq!(learned.outcomes.len(), row.candidates.len());
        for (outcome, candidate) in learned.outcomes.iter().zip(&row.candidates) {
            let told = &candidate.outcome;
            assert_eq!(
                space.named(outcome.action).as_ref(),
                Some(&candidate.action)
            );
            assert_eq!(outcome.passed, told.all_gates_passed);
            assert_eq!(outcome.timed_out, told.status == RunStatus::Timeout);
            assert_eq!(outcome.agent_ms, told.agent_ms);
            assert!(outcome.cut || !outcome.timed_out);
            cut_though_passed += usize::from(outcome.cut && outcome.passed);
        }
    }
    assert!(winners > 0 && winners < found.rows.len());
    assert!(cut_though_passed > 0);

    // A row without winner teaches a value model, and no policy.
    let rows: Vec<TrainingRow> = found
        .rows
        .iter()
        .map(|row| TrainingRow::of_bench(row).unwrap())
        .collect();
    train_in_memory(&rows, &[], &tiny(ModelKind::Value)).unwrap();
    let refused = train_in_memory(&rows, &[], &tiny(ModelKind::Mlp));
    assert_eq!(refused.err().unwrap().rule(), "training-label");
    let examples: Vec<TrainingRow> = found
        .examples()
        .map(|row| TrainingRow::of_bench(row).unwrap())
        .collect();
    assert_eq!(examples.len(), winners);
    train_in_memory(&examples, &[], &tiny(ModelKind::Mlp)).unwrap();

    let mut foreign = found.rows[0].clone();
    foreign.candidates[0].action.swarm_id = "tournament".to_owned();
    let refused = TrainingRow::of_bench(&foreign).unwrap_err();
    assert_eq!(refused.rule(), "training-label");
}

/// Utilities 0.9, 0.8 and -0.1: preferences e^0, e^-1 and e^-10, and a stake of 1.
#[test]
fn rows_are_labelled_by_the_utility_of_their_outcomes() {
    let scene = Scene::new();
    let input = &scene.dataset.rows[0].planner_input;
    let valid = input.action_space.valid_actions("code");
    let pick = |swarm: usize| *valid.iter().find(|action| action.swarm == swarm).unwrap();
    let (serial, vote) = (pick(0), pick(1));
    let other = *valid
        .iter()
        .find(|action| action.swarm == 1 && action.candidates != vote.candidates)
        .unwrap();
    let outcome = |action, passed, minutes: u64| ActionOutcome {
        action,
        passed,
        timed_out: false,
        cut: false,
        agent_ms: minutes * 60_000,
    };
    let row = |outcomes: Vec<ActionOutcome>| TrainingRow {
        input: input.clone(),
        label: None,
        outcomes,
        weight: 1.0,
    };
    let told = vec![
        outcome(serial, true, 5),
        outcome(vote, true, 10),
        outcome(other, false, 5),
    ];
    // On the second row nothing that is chosen makes a difference of more than a minute's price.
    let alike = vec![outcome(serial, false, 6), outcome(vote, false, 6)];
    let mut training = [row(told.clone()), row(alike)];
    let mut validation = [row(told)];
    label_by_utility(&mut training, &mut validation, 0.02, ModelKind::Mlp);
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    };
    let Some(Label::Shares(shares)) = &training[0].label else {
        panic!()
    };
    let (second, third) = ((-1.0_f64).exp(), (-10.0_f64).exp());
    close(shares[0][1].into(), second / (1.0 + second));
    close(
        shares[1][other.candidates].into(),
        if serial.candidates == vote.candidates {
            third / (1.0 + third)
        } else {
            third / (1.0 + second + third)
        },
    );
    for shares in shares {
        close(shares.iter().copied().map(f64::from).sum(), 1.0);
    }
    // The tie goes to what does better in general: one run.
    let Some(Label::Shares(shares)) = &training[1].label else {
        panic!()
    };
    close(shares[0][0].into(), 1.0);
    // A row weighs its stake; the mean is 1.
    close(training[0].weight + training[1].weight, 2.0);
    close(training[0].weight / training[1].weight, 1.0 / 1e-3);
    close(validation[0].weight, training[0].weight);
    assert_eq!(validation[0].label, training[0].label);
    label_by_utility(&mut training, &mut validation, 0.02, ModelKind::Joint);
    assert_eq!(training[0].label, Some(Label::Action(serial)));
}
