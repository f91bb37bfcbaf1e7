//! It learns.

use amphora_training::train::{
    ActionOutcome, Decoding, Label, ModelKind, TrainConfig, TrainedModel, fine_tune,
    train_in_memory,
};

use crate::scene::{action, action_space, best, quick, rows, train_into};

#[test]
fn every_policy_learns_a_learnable_rule() {
    let (training, validation) = (rows(48), rows(64)[48..].to_vec());
    let mut kinds: Vec<TrainConfig> = [
        ModelKind::Mlp,
        ModelKind::Transformer,
        ModelKind::Urm,
        ModelKind::Joint,
    ]
    .map(quick)
    .to_vec();
    kinds.push(TrainConfig {
        decoding: Decoding::Autoregressive,
        ..quick(ModelKind::Mlp)
    });
    let mut convolution = quick(ModelKind::Urm);
    convolution.sizes.conv_kernel = 2;
    kinds.push(convolution);
    amphora_testing::each(&kinds, |config| {
        let model = train_in_memory(&training, &validation, config).map_err(|e| e.to_string())?;
        for row in &validation {
            let Some(Label::Action(expected)) = row.label else {
                panic!()
            };
            let found = best(&model, &row.input);
            if found != expected {
                return Err(format!("{found:?}, not {expected:?}"));
            }
        }
        Ok(())
    });
}

#[test]
fn a_value_model_tells_outcomes_apart_and_lifts_censored_durations() {
    let mut config = quick(ModelKind::Value);
    (config.epochs, config.schedule_epochs, config.patience) = (150, 150, 150);
    let model = train_in_memory(&rows(48), &rows(64)[48..], &config).unwrap();
    let (large, small) = (&rows(4)[2].input, &rows(4)[0].input);
    let [short, long] = [action(0, 0, 0), action(0, 0, 1)];
    let on_large = model.values(large, &[short, long]).unwrap();
    let on_small = model.values(small, &[short]).unwrap();
    assert!(
        on_large[0].p_pass < 0.2 && on_large[1].p_pass > 0.8,
        "{on_large:?}"
    );
    assert!(on_small[0].p_pass > 0.8, "{on_small:?}");
    assert!(on_large[0].p_timeout > 0.8 && on_large[1].p_timeout < 0.2);
    // Cut at 300 s: all that is known is that it takes longer.
    assert!(on_large[0].log_seconds > 300_f64.ln(), "{on_large:?}");
    assert!(
        (on_small[0].expected_minutes(None) - 3.0).abs() < 1.5,
        "{on_small:?}"
    );
    assert!(on_large[0].expected_minutes(Some(5.0)) <= 5.0);
    assert!(model.logits(std::slice::from_ref(large)).is_err());
}

/// One candidate passed while another was cut: all that is known of their time is that it is longer.
#[test]
fn time_of_which_a_part_was_cut_is_a_lower_bound_though_the_action_passed() {
    let log_seconds = |cut: bool| {
        let mut rows = rows(48);
        for row in &mut rows {
            for outcome in &mut row.outcomes {
                *outcome = ActionOutcome {
                    passed: true,
                    timed_out: false,
                    cut,
                    agent_ms: 300_000,
                    ..*outcome
                };
            }
        }
        let mut config = quick(ModelKind::Value);
        (config.epochs, config.schedule_epochs) = (100, 100);
        // Without it the mean of a network is that of its training.
        config.dropout = 0.0;
        let model = train_in_memory(&rows, &[], &config).unwrap();
        let value = model.values(&rows[0].input, &[action(0, 0, 1)]).unwrap()[0];
        assert!(value.p_pass > 0.9 && value.p_timeout < 0.1, "{value:?}");
        value.log_seconds
    };
    let (exact, censored) = (log_seconds(false), log_seconds(true));
    assert!((exact - 300_f64.ln()).abs() < 0.3, "{exact}");
    assert!(censored > 300_f64.ln() + 0.5, "{censored}");
}

#[test]
fn members_of_an_ensemble_differ() {
    let scratch = tempfile::tempdir().unwrap();
    let rows = rows(48);
    let mut config = quick(ModelKind::Value);
    (config.epochs, config.members) = (5, 3);
    let out = scratch.path().join("checkpoint");
    let report = train_into(&rows, &config, &out, false).unwrap();
    let digests: std::collections::BTreeSet<&String> =
        report.members.iter().map(|member| &member.digest).collect();
    assert_eq!(digests.len(), 3);
    let model = TrainedModel::open(&out).unwrap();
    for row in &rows[..4] {
        let value = model.values(&row.input, &[action(1, 1, 0)]).unwrap()[0];
        assert!(value.std > 0.0 && value.log_deviation > 0.0, "{value:?}");
    }
    config.members = 1;
    let alone = train_in_memory(&rows, &[], &config).unwrap();
    let value = alone.values(&rows[0].input, &[action(1, 1, 0)]).unwrap()[0];
    assert_eq!(value.std, 0.0);
}

#[test]
fn probabilities_of_joint_and_autoregressive_models_sum_to_one() {
    let rows = rows(48);
    let conditioned = TrainConfig {
        decoding: Decoding::Autoregressive,
        ..quick(ModelKind::Mlp)
    };
    for mut config in [quick(ModelKind::Joint), conditioned] {
        config.epochs = 1;
        let model = train_in_memory(&rows, &[], &config).unwrap();
        let scores = model
            .action_log_probabilities(&[rows[0].input.clone()])
            .unwrap();
        assert_eq!(scores[0].len(), action_space().valid_actions("code").len());
        let sum: f64 = scores[0].iter().map(|(_, log_p)| log_p.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}

#[test]
fn soft_labels_and_class_weights_train() {
    let mut rows = rows(48);
    for row in &mut rows {
        let Some(Label::Action(label)) = row.label else {
            panic!()
        };
        let mut shares = action_space().widths().map(|width| vec![0.0; width]);
        for (share, class) in shares.iter_mut().zip(label.classes()) {
            share[class] = 3.0;
        }
        row.label = Some(Label::Shares(shares));
    }
    let config = TrainConfig {
        class_weights: true,
        ..quick(ModelKind::Mlp)
    };
    let model = train_in_memory(&rows, &[], &config).unwrap();
    assert_eq!(best(&model, &rows[6].input), action(1, 2, 1));
}

#[test]
fn fine_tuning_starts_from_the_weights_of_another_model() {
    let scratch = tempfile::tempdir().unwrap();
    let rows = rows(48);
    let config = quick(ModelKind::Mlp);
    let first = train_in_memory(&rows[..40], &rows[40..], &config).unwrap();
    // One epoch at a rate of nearly nothing leaves what was learned.
    let next = TrainConfig {
        epochs: 1,
        learning_rate: 1e-9,
        final_learning_rate: 0.0,
        ..config.clone()
    };
    let into = |initial: &TrainedModel, config: &TrainConfig, name: &str| {
        let out = scratch.path().join(name);
        let (training, validation) = rows.split_at(40);
        fine_tune(
            initial,
            training,
            validation,
            config,
            &out,
            false,
            &mut |_| Ok(()),
        )
        .map(|_| TrainedModel::open(&out).unwrap())
    };
    let tuned = into(&first, &next, "tuned").unwrap();
    let input = std::slice::from_ref(&rows[5].input);
    let (before, after) = (first.logits(input).unwrap(), tuned.logits(input).unwrap());
    for (before, after) in before[0].iter().flatten().zip(after[0].iter().flatten()) {
        assert!((before - after).abs() < 1e-4, "{before} and {after}");
    }
    let mut wider = next;
    wider.sizes.d_hidden *= 2;
    let refused = into(&first, &wider, "wider").err().unwrap();
    assert_eq!(refused.rule(), "initial-model");
    // A sequence model has weights for tokens, whatever an mlp is asked for.
    let urm = train_in_memory(&rows[..40], &rows[40..], &quick(ModelKind::Urm)).unwrap();
    let refused = into(&urm, &config, "other").err().unwrap();
    assert_eq!(refused.rule(), "initial-model");
}
