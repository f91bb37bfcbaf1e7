//! What is not trained with.

use amphora_training::train::{Label, ModelKind, TrainConfig, TrainingRow, train_in_memory};

use crate::scene::{action, quick, rows};

#[test]
fn rows_that_cannot_be_learned_from_are_refused_by_name() {
    let config = quick(ModelKind::Mlp);
    let refused = |rows: &[TrainingRow], config: &TrainConfig| {
        train_in_memory(rows, &[], config)
            .err()
            .map(|error| error.rule())
    };
    assert_eq!(refused(&[], &config), Some("training-empty"));
    let mut unlabeled = rows(4);
    unlabeled[2].label = None;
    assert_eq!(refused(&unlabeled, &config), Some("training-label"));
    let mut invalid = rows(4);
    invalid[1].label = Some(Label::Action(action(0, 2, 0)));
    assert_eq!(refused(&invalid, &config), Some("training-label"));
    let mut other_space = rows(4);
    other_space[3]
        .input
        .action_space
        .swarm_ids
        .push("third".to_owned());
    assert_eq!(
        refused(&other_space, &config),
        Some("training-action-space")
    );
    let wild = TrainConfig {
        learning_rate: 1e30,
        final_learning_rate: 1e30,
        clip_norm: 1e30,
        ..config.clone()
    };
    let found = refused(&rows(48), &wild);
    assert!(
        matches!(found, Some("training-loss" | "training-gradient")),
        "{found:?}"
    );
    let senseless = TrainConfig {
        epochs: 0,
        dropout: 1.0,
        ..config
    };
    assert_eq!(refused(&rows(4), &senseless), Some("training-config"));
}

/// What a row does to a configuration that makes sense.
type Change = fn(&mut TrainConfig);

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let rows: [(&str, Change, bool); 4] = [
        ("a URM that is as it should be", |_| (), true),
        (
            "a gradient through no loop",
            |config| config.sizes.gradient_loops = 0,
            false,
        ),
        (
            "another model does not read it",
            |config| {
                config.model = ModelKind::Mlp;
                config.sizes.gradient_loops = 0;
            },
            true,
        ),
        ("no epoch", |config| config.epochs = 0, false),
    ];
    amphora_testing::each(&rows, |(_, change, sound)| {
        let mut config = quick(ModelKind::Urm);
        change(&mut config);
        match config.check() {
            Ok(()) if *sound => Ok(()),
            Err(error) if !sound && error.rule() == "training-config" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
