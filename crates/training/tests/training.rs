//! Training through the public door: it learns, it repeats itself, it goes on after a kill.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_planner::action_space::{Action, ActionSpace};
use amphora_planner::contracts::PlannerInput;
use amphora_training::train::{
    ActionOutcome, Decoding, Label, ModelKind, TrainConfig, TrainedModel, TrainingRow, fine_tune,
    train, train_in_memory,
};
use serde_json::json;

/// A small action space: serial or one to three candidates, two budgets, no iterations.
fn action_space() -> ActionSpace {
    let space = json!({
        "swarm_ids": ["serial_handoff", "speculate_vote"],
        "max_candidates_bins": [1, 2, 3],
        "max_minutes_bins": [5, 30],
        "max_iterations_bins": ["NA"],
        "validity_rules": [
            {"description": "one", "if": {"swarm_id": "serial_handoff"}, "then": {"max_candidates_bin": 1}},
        ],
    });
    ActionSpace::from_json(space.to_string().as_bytes()).unwrap()
}

fn input(issue: usize, size: &str, risk: &str, tags: &[String]) -> PlannerInput {
    let document = json!({
        "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
        "universe_id": "u1", "job_type": "code", "universe_defaults": {},
        "issue": {"issue_id": format!("i{issue}"), "dk_priority": "P1", "dk_risk": risk,
                  "dk_size": size, "dk_tool_hint": null, "dk_attempts": 0, "tags": tags},
        "history": {"last_n_similar_runs": []},
        "action_space": serde_json::to_value(action_space()).unwrap(),
    });
    PlannerInput::from_json(document.to_string().as_bytes()).unwrap()
}

fn action(swarm: usize, candidates: usize, minutes: usize) -> Action {
    Action {
        swarm,
        candidates,
        minutes,
        iterations: 0,
    }
}

/// Risk decides about the swarm, size about the minutes; tags are noise. Large issues fail in five
/// minutes, others pass in three.
fn rows(count: usize) -> Vec<TrainingRow> {
    let sizes = ["XS", "S", "L", "XL"];
    let row = |number: usize| {
        let (size, risky) = (sizes[number % 4], (number / 4) % 2 == 1);
        let large = number % 4 >= 2;
        let tags = [format!("t{}", number * 7 % 13), format!("t{}", number % 5)];
        let risk = if risky { "critical" } else { "low" };
        let label = match risky {
            true => action(1, 2, usize::from(large)),
            false => action(0, 0, usize::from(large)),
        };
        let outcome = |minutes: usize| ActionOutcome {
            action: action(0, 0, minutes),
            passed: !large || minutes == 1,
            timed_out: large && minutes == 0,
            agent_ms: match (large, minutes) {
                (false, _) => 180_000,
                (true, 0) => 300_000,
                (true, _) => 900_000,
            },
        };
        TrainingRow {
            input: input(number, size, risk, &tags),
            label: Some(Label::Action(label)),
            outcomes: vec![outcome(0), outcome(1)],
            weight: 1.0,
        }
    };
    (0..count).map(row).collect()
}

/// Small, quick, and without regularization that a handful of rows would not survive.
fn quick(model: ModelKind) -> TrainConfig {
    let mut config = TrainConfig::new(model);
    config.sizes.d_hidden = 32;
    config.sizes.n_layers = if model.reads_tokens() { 1 } else { 2 };
    config.sizes.d_model = 16;
    config.sizes.n_heads = 2;
    config.sizes.d_ff = 32;
    config.sizes.d_inner = 32;
    config.sizes.loops = 2;
    config.sizes.max_len = 128;
    config.batch_size = 16;
    config.epochs = 30;
    config.schedule_epochs = 30;
    config.patience = 30;
    config.learning_rate = 1e-2;
    config.members = 2;
    config
}

fn best(model: &TrainedModel, input: &PlannerInput) -> Action {
    let scores = model
        .action_log_probabilities(std::slice::from_ref(input))
        .unwrap();
    let best = scores[0].iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    best.0
}

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

fn train_into(
    rows: &[TrainingRow],
    config: &TrainConfig,
    out: &std::path::Path,
    resume: bool,
) -> amphora_error::Result<amphora_training::train::TrainingReport> {
    train(&rows[..40], &rows[40..], config, out, resume, &mut |_| {
        Ok(())
    })
}

/// Every file beneath a directory, by path.
fn files(directory: &std::path::Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let inner = files(&path).into_iter();
            found.extend(inner.map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Row 108 of the reliability list, inside one process: stopped in the middle of any epoch and resumed,
/// training ends with the same bytes; another seed ends with others.
#[test]
fn training_killed_and_resumed_gives_the_same_bytes_and_two_seeds_differ() {
    let scratch = tempfile::tempdir().unwrap();
    let rows = rows(48);
    amphora_testing::each(
        &[ModelKind::Mlp, ModelKind::Transformer, ModelKind::Value],
        |kind| {
            let mut config = quick(*kind);
            (config.epochs, config.schedule_epochs) = (4, 4);
            let whole = scratch.path().join(format!("{}-whole", kind.name()));
            let report = train_into(&rows, &config, &whole, false).unwrap();
            let expected = files(&whole);

            let stopped = scratch.path().join(format!("{}-stopped", kind.name()));
            let steps = report.members.len() * 4 * 40_usize.div_ceil(16) * 2;
            for stop in [1, 4, 8, steps] {
                let mut done = 0;
                // An interruption: the hook returns an error in the middle of an epoch.
                let _ = train(
                    &rows[..40],
                    &rows[40..],
                    &config,
                    &stopped,
                    stop > 1,
                    &mut |_| {
                        done += 1;
                        match done >= stop {
                            true => Err(amphora_error::Error::busy("interrupted", "stopped")),
                            false => Ok(()),
                        }
                    },
                );
            }
            let resumed = train_into(&rows, &config, &stopped, true).map_err(|e| e.to_string())?;
            if resumed != report || files(&stopped) != expected {
                return Err("the resumed run differs".to_owned());
            }
            // A finished run is returned as it is.
            assert_eq!(train_into(&rows, &config, &stopped, true).unwrap(), report);
            assert_eq!(
                train_into(&rows, &config, &stopped, false)
                    .unwrap_err()
                    .rule(),
                "output-exists"
            );
            config.seed = 1;
            assert_eq!(
                train_into(&rows, &config, &stopped, true)
                    .unwrap_err()
                    .rule(),
                "resume-mismatch"
            );
            let other = scratch.path().join(format!("{}-other", kind.name()));
            let other = train_into(&rows, &config, &other, false).unwrap();
            for (one, two) in report.members.iter().zip(&other.members) {
                assert_ne!(one.digest, two.digest);
            }
            Ok(())
        },
    );
}

#[test]
fn an_opened_checkpoint_answers_as_the_model_in_memory() {
    let scratch = tempfile::tempdir().unwrap();
    let rows = rows(48);
    amphora_testing::each(&ModelKind::ALL, |kind| {
        let mut config = quick(*kind);
        config.epochs = 2;
        let out = scratch.path().join(kind.name());
        train_into(&rows, &config, &out, false).map_err(|e| e.to_string())?;
        let opened = TrainedModel::open(&out).map_err(|e| e.to_string())?;
        let trained = train_in_memory(&rows[..40], &rows[40..], &config).unwrap();
        let input = &rows[3].input;
        if *kind == ModelKind::Value {
            let actions = [action(0, 0, 1), action(1, 2, 0)];
            assert_eq!(
                opened.values(input, &actions).unwrap(),
                trained.values(input, &actions).unwrap()
            );
        } else {
            let one = std::slice::from_ref(input);
            assert_eq!(
                opened.action_log_probabilities(one).unwrap(),
                trained.action_log_probabilities(one).unwrap()
            );
        }
        Ok::<(), String>(())
    });
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
}

#[test]
fn checkpoints_of_policies_export_and_answer_as_trained() {
    use amphora_checkpoint::architecture::Architecture;
    use amphora_checkpoint::{Checkpoint, Limits};
    use amphora_models::{Array, Data, Precision, reference};
    use amphora_planner::encode::FeatureSchema;

    let scratch = tempfile::tempdir().unwrap();
    let rows = rows(48);
    let mut convolution = quick(ModelKind::Urm);
    convolution.sizes.conv_kernel = 2;
    let configs = [
        quick(ModelKind::Mlp),
        quick(ModelKind::Transformer),
        quick(ModelKind::Urm),
        convolution,
    ];
    for (number, mut config) in configs.into_iter().enumerate() {
        config.epochs = 1;
        let out = scratch.path().join(number.to_string());
        train_into(&rows, &config, &out, false).unwrap();
        let checkpoint = Checkpoint::open(&out, &Limits::default()).unwrap();
        let document = amphora_files::json::read(out.join("config.json")).unwrap();
        let architecture = Architecture::from_config(&document).unwrap();
        amphora_export::export(&architecture, &checkpoint, &Default::default()).unwrap();

        let ModelKind::Mlp = config.model else {
            continue;
        };
        let input = &rows[1].input;
        let schema = FeatureSchema::new(&action_space(), config.similar_runs);
        let dense = schema.encode(input).to_dense(schema.width());
        let dense = dense.into_iter().map(f64::from).collect();
        let dense = Array::new(vec![1, schema.width()], Data::F64(dense)).unwrap();
        let model = reference(&architecture, &checkpoint, Precision::F64).unwrap();
        let truth = model
            .forward(&[("input".to_owned(), dense)].into_iter().collect())
            .unwrap();
        let opened = TrainedModel::open(&out).unwrap();
        let found = opened.logits(std::slice::from_ref(input)).unwrap();
        for (name, found) in ["swarm", "candidates", "minutes", "iterations"]
            .iter()
            .zip(&found[0])
        {
            let expected = truth.outputs[*name].as_f64().unwrap();
            for (found, expected) in found.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-5);
            }
        }
    }
}
