//! What a run tells about itself: when it stopped, what it kept, how fast it learned.

use amphora_training::train::{
    Curve, Ending, Label, ModelKind, TrainConfig, TrainedModel, TrainingReport, TrainingRow, train,
};

use crate::scene::{action, action_space, quick, rows, train_into};

/// Rows whose labels have nothing to do with their inputs.
fn noise() -> Vec<TrainingRow> {
    let valid = action_space().valid_actions("code");
    let mut rows = rows(80);
    for (number, row) in rows.iter_mut().enumerate() {
        // Steps that share no factor with the pattern of the inputs.
        row.label = Some(Label::Action(valid[number * number * 7 % 11 % valid.len()]));
    }
    rows
}

/// The loss on `rows` by hand: the sum over heads of the mean negative log of the masked softmax.
fn loss_of(model: &TrainedModel, rows: &[TrainingRow]) -> f64 {
    let inputs: Vec<_> = rows.iter().map(|row| row.input.clone()).collect();
    let masks = action_space().masks("code");
    let mut sum = 0.0;
    for (row, logits) in rows.iter().zip(model.logits(&inputs).unwrap()) {
        let Some(Label::Action(label)) = row.label else {
            panic!()
        };
        for (head, class) in label.classes().into_iter().enumerate() {
            let exp = |class: usize| f64::from(logits[head][class]).exp();
            let classes = (0..logits[head].len()).filter(|class| masks[head][*class]);
            sum -= (exp(class) / classes.map(exp).sum::<f64>()).ln();
        }
    }
    sum / rows.len() as f64
}

#[test]
fn training_stops_early_and_keeps_the_best_weights() {
    let scratch = tempfile::tempdir().unwrap();
    let rows = noise();
    let config = TrainConfig {
        patience: 2,
        epochs: 40,
        schedule_epochs: 40,
        label_smoothing: 0.0,
        ..quick(ModelKind::Mlp)
    };
    let out = scratch.path().join("checkpoint");
    let report = train(&rows[..48], &rows[48..], &config, &out, false, &mut |_| {
        Ok(())
    })
    .unwrap();
    let curve = &report.members[0].curve;
    assert_eq!(curve.ending, Ending::EarlyStopping);
    let losses: Vec<f64> = curve
        .epochs
        .iter()
        .map(|epoch| epoch.validation_loss.unwrap())
        .collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    // The first epoch with the lowest loss, and two more that were no better.
    let first = losses.iter().position(|loss| *loss == least).unwrap() + 1;
    assert_eq!((curve.best_epoch, losses.len()), (first, first + 2));
    assert!(losses.len() < config.epochs);
    let kept = loss_of(&TrainedModel::open(&out).unwrap(), &rows[48..]);
    assert!(
        (kept - least).abs() < 1e-5,
        "{kept}, not {least}: {losses:?}"
    );
    assert!((kept - losses[losses.len() - 1]).abs() > 1e-4);
    let uniform = |row: &TrainingRow| -> f64 {
        let masks = row.input.action_space.masks(&row.input.job_type);
        let valid = masks.map(|mask| mask.iter().filter(|valid| **valid).count() as f64);
        valid.map(f64::ln).iter().sum()
    };
    let uniform = rows[48..].iter().map(uniform).sum::<f64>() / (rows.len() - 48) as f64;
    assert!((report.uniform_loss.unwrap() - uniform).abs() < 1e-12);
}

fn curve_of(config: &TrainConfig) -> (Curve, TrainingReport) {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("checkpoint");
    let report = train_into(&rows(48), config, &out, false).unwrap();
    (report.members[0].curve.clone(), report)
}

#[test]
fn the_learning_rate_of_every_epoch_is_the_cosine() {
    let config = TrainConfig {
        epochs: 7,
        schedule_epochs: 5,
        learning_rate: 0.01,
        final_learning_rate: 0.001,
        ..quick(ModelKind::Mlp)
    };
    let (curve, _) = curve_of(&config);
    assert_eq!((curve.epochs.len(), curve.ending), (7, Ending::Epochs));
    for (number, epoch) in curve.epochs.iter().enumerate() {
        let turn = std::f64::consts::PI * (number as f64 / 5.0).min(1.0);
        let expected = 0.0055 + 0.0045 * turn.cos();
        assert!((epoch.learning_rate - expected).abs() < 1e-12, "{epoch:?}");
        assert_eq!(epoch.epoch, number + 1);
    }
}

/// AdamW does not care for the scale of a gradient, until it is as small as its epsilon.
#[test]
fn gradients_are_clipped_to_their_norm() {
    let config = TrainConfig {
        epochs: 2,
        ..quick(ModelKind::Mlp)
    };
    let tiny = TrainConfig {
        clip_norm: 1e-9,
        ..config.clone()
    };
    let (free, whole) = curve_of(&config);
    let (held, clipped) = curve_of(&tiny);
    assert_ne!(whole.members[0].digest, clipped.members[0].digest);
    // What is told is the norm before it was clipped.
    assert!(held.epochs[0].gradient_norm > 1e-3);
    // With hardly a gradient hardly anything is learned.
    assert!(free.epochs[1].loss < held.epochs[1].loss - 0.01);
}

#[test]
fn heads_count_as_much_as_they_are_told_to() {
    let with = |head_weights: [f64; 4]| {
        // One step: the loss is that of the fresh weights.
        let config = TrainConfig {
            epochs: 1,
            batch_size: 64,
            dropout: 0.0,
            head_weights,
            ..quick(ModelKind::Mlp)
        };
        config.check().unwrap();
        let (curve, report) = curve_of(&config);
        let validation = curve.epochs[0].validation_loss.unwrap();
        (
            curve.epochs[0].loss,
            validation,
            report.members[0].digest.clone(),
        )
    };
    let equal = with([1.0; 4]);
    let double = with([2.0; 4]);
    assert!((double.0 - 2.0 * equal.0).abs() < 1e-9);
    let alone: f64 = (0..4)
        .map(|head| {
            let mut weights = [0.0; 4];
            weights[head] = 1.0;
            with(weights).0
        })
        .sum();
    assert!((alone - equal.0).abs() < 1e-9, "{alone}, not {}", equal.0);
    let swarm = with([1.0, 0.0, 0.0, 0.0]);
    assert_ne!(swarm.2, equal.2);
    assert!(swarm.1 < equal.1);

    // A configuration from before there were weights.
    let mut old = serde_json::to_value(quick(ModelKind::Mlp)).unwrap();
    old.as_object_mut().unwrap().remove("head_weights");
    let old: TrainConfig = serde_json::from_value(old).unwrap();
    assert_eq!(old, quick(ModelKind::Mlp));
    let senseless: [(ModelKind, [f64; 4]); 4] = [
        (ModelKind::Mlp, [0.0; 4]),
        (ModelKind::Mlp, [1.0, 1.0, -1.0, 1.0]),
        (ModelKind::Mlp, [1.0, 1.0, f64::NAN, 1.0]),
        (ModelKind::Joint, [1.0, 2.0, 1.0, 1.0]),
    ];
    amphora_testing::each(&senseless, |(kind, head_weights)| {
        let config = TrainConfig {
            head_weights: *head_weights,
            ..quick(*kind)
        };
        match config.check() {
            Err(error) if error.rule() == "training-config" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// Its logits are `share * learned + (1 - share) * ln(frequency)`.
#[test]
fn a_policy_is_drawn_back_between_what_it_learned_and_the_frequencies() {
    let rows = rows(48);
    let model =
        amphora_training::train::train_in_memory(&rows, &[], &quick(ModelKind::Mlp)).unwrap();
    let inputs: Vec<_> = rows.iter().map(|row| row.input.clone()).collect();
    let learned = model.logits(&inputs).unwrap();
    // Of 48 rows the half is risky; a quarter each has another size.
    let frequency = |head: usize, class: usize| -> f64 {
        let has = |row: &&TrainingRow| matches!(row.label, Some(Label::Action(label)) if label.classes()[head] == class);
        rows.iter().filter(has).count() as f64 / rows.len() as f64
    };
    assert_eq!(frequency(0, action(1, 0, 0).swarm), 0.5);
    for share in [0.0, 0.25, 1.0] {
        let drawn = model.drawn_back(&rows, share).unwrap();
        for (found, learned) in drawn.logits(&inputs).unwrap().iter().zip(&learned) {
            for head in 0..4 {
                for (class, learned) in learned[head].iter().enumerate() {
                    let floor = frequency(head, class).max(1e-3).ln();
                    let expected = share * f64::from(*learned) + (1.0 - share) * floor;
                    let found = f64::from(found[head][class]);
                    assert!((found - expected).abs() < 1e-4, "{found}, not {expected}");
                }
            }
        }
    }
}
