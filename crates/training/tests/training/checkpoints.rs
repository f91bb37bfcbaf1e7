//! What is written: the same bytes whatever happens, and what others read from it.

use amphora_training::train::{ModelKind, TrainedModel, train, train_in_memory};

use crate::scene::{action, action_space, files, quick, rows, train_into};

/// Row 108 of the reliability list, inside one process: stopped in the middle of any epoch and resumed,
/// training ends with the same bytes; another seed ends with others.
#[test]
fn training_killed_and_resumed_gives_the_same_bytes_and_two_seeds_differ() {
    let scratch = tempfile::tempdir().unwrap();
    let rows = rows(48);
    amphora_testing::each(&ModelKind::ALL, |kind| {
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
        // Killed right after its report, it had no time to clean up; whoever resumes it does.
        let member = match kind {
            ModelKind::Value => stopped.join("member_1"),
            _ => stopped.clone(),
        };
        fs_err::write(member.join("training_state.safetensors"), b"left over").unwrap();
        fs_err::write(member.join(".amphora-tmp-left-over"), b"half a file").unwrap();
        // A finished run is returned as it is.
        assert_eq!(train_into(&rows, &config, &stopped, true).unwrap(), report);
        if files(&stopped) != expected {
            return Err(format!("left over: {:?}", files(&stopped).keys()));
        }
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
    });
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
