//! Three ways from the heads to one action, against brute force.

use amphora_planner::action_space::{Action, Head, HeadLogits};
use amphora_planner::contracts::{PlannerInput, Split};
use amphora_planner::decode::Temperatures;
use amphora_training::evaluate::{
    Decode, EvaluateRequest, HEURISTIC, Model, Outcomes, Settings, evaluate,
};
use amphora_training::train::{
    Decoding, Label, ModelKind, TrainConfig, TrainedModel, TrainingRow, train_in_memory,
};

use crate::scene::{Scene, settings, tiny};

const WAYS: [Decode; 3] = [Decode::Joint, Decode::Masked, Decode::Autoregressive];

fn inputs(scene: &Scene) -> Vec<PlannerInput> {
    let rows = scene.dataset.rows.iter().take(12);
    rows.map(|row| row.planner_input.clone()).collect()
}

/// A policy whose heads contradict each other: one run is likelier than several, and two candidates are
/// the likeliest number.
fn contradictory(scene: &Scene, decoding: Decoding) -> TrainedModel {
    let shares = [
        vec![0.6, 0.4],
        vec![0.02, 0.9, 0.05, 0.03],
        vec![0.1, 0.5, 0.1, 0.1, 0.1, 0.1],
        vec![0.0, 0.0, 0.0, 0.0, 1.0],
    ];
    let row = |input: PlannerInput| TrainingRow {
        input,
        label: Some(Label::Shares(shares.clone())),
        outcomes: Vec::new(),
        weight: 1.0,
    };
    let rows: Vec<TrainingRow> = inputs(scene).into_iter().map(row).collect();
    let config = TrainConfig {
        decoding,
        label_smoothing: 0.0,
        ..tiny(ModelKind::Mlp)
    };
    train_in_memory(&rows, &[], &config).unwrap()
}

/// The best of `allowed` classes; the first of equal ones.
fn largest(logits: &[f32], allowed: impl Fn(usize) -> bool) -> usize {
    let classes = (0..logits.len()).filter(|class| allowed(*class));
    classes
        .reduce(|best, class| {
            if logits[class] > logits[best] {
                class
            } else {
                best
            }
        })
        .unwrap()
}

/// What each way should answer, from logits that may depend on the choices before them.
fn brute_force(
    input: &PlannerInput,
    decode: Decode,
    logits: &dyn Fn(&[usize]) -> Vec<f32>,
    all: Option<&HeadLogits>,
) -> Action {
    let valid = input.action_space.valid_actions(&input.job_type);
    if let (Decode::Joint, Some(all)) = (decode, all) {
        let score = |action: &Action| -> f64 {
            let heads = Head::ALL.iter();
            heads
                .map(|head| f64::from(all[head.position()][action.class(*head)]))
                .sum()
        };
        return *valid
            .iter()
            .reduce(|best, action| {
                if score(action) > score(best) {
                    action
                } else {
                    best
                }
            })
            .unwrap();
    }
    let mut chosen: Vec<usize> = Vec::new();
    for head in 0..4 {
        let allowed = |class: usize| {
            valid.iter().any(|action| {
                let classes = action.classes();
                let agrees = decode == Decode::Masked || classes[..head] == chosen[..];
                agrees && classes[head] == class
            })
        };
        let class = largest(&logits(&chosen), allowed);
        chosen.push(class);
    }
    Action::from_classes([chosen[0], chosen[1], chosen[2], chosen[3]])
}

#[test]
fn heads_are_decoded_in_the_way_that_was_asked_for() {
    let scene = Scene::new();
    let inputs = inputs(&scene);
    let independent = contradictory(&scene, Decoding::MultiHead);
    let conditioned = contradictory(&scene, Decoding::Autoregressive);
    let cases: Vec<(&TrainedModel, Decode)> = [&independent, &conditioned]
        .into_iter()
        .flat_map(|model| WAYS.map(|decode| (model, decode)))
        .collect();
    for (model, decode) in cases {
        let follows = model.config().decoding == Decoding::Autoregressive;
        if follows && decode == Decode::Joint {
            continue;
        }
        let all = (!follows).then(|| model.logits(&inputs).unwrap());
        let asked = Model::Trained(Box::new(model.clone()));
        let answers = asked
            .answers(&inputs, &Temperatures::ONE, decode, 0.02)
            .unwrap();
        for (row, (input, answer)) in inputs.iter().zip(&answers).enumerate() {
            let all = all.as_ref().map(|all| &all[row]);
            let logits = |chosen: &[usize]| match all {
                Some(all) => all[chosen.len()].clone(),
                None => model.next_logits(input, chosen).unwrap(),
            };
            let expected = brute_force(input, decode, &logits, all);
            assert_eq!(
                answer.action, expected,
                "{decode:?}, conditioned: {follows}"
            );
            let valid = input.action_space.is_valid(answer.action, &input.job_type);
            assert!(valid || decode == Decode::Masked, "{decode:?}");
            // The confidence is that of the least certain head, and each head's probabilities sum to 1.
            let heads = answer.heads.as_ref().unwrap();
            let weakest = answer.weakest().unwrap();
            let least = heads[weakest.position()][answer.action.class(weakest)];
            assert!((answer.confidence - least).abs() < 1e-12);
            for probabilities in heads {
                assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
        }
        // The contradiction shows: each way answers in its own.
        let first = answers[0].action;
        let said = (first.swarm, first.candidates);
        let expected = match decode {
            Decode::Joint => (1, 1),
            Decode::Masked => (0, 1),
            Decode::Autoregressive => (0, 0),
        };
        if !follows {
            assert_eq!(said, expected, "{decode:?}");
        }
    }
}

/// An invalid answer is counted, and what is done instead is the baseline.
#[test]
fn invalid_answers_are_counted_and_go_to_the_baseline() {
    let scene = Scene::new();
    let model = Model::Trained(Box::new(contradictory(&scene, Decoding::MultiHead)));
    amphora_testing::each(&WAYS, |&decode| {
        let settings = Settings {
            decode,
            ..settings()
        };
        let found = evaluate(&EvaluateRequest {
            dataset: &scene.dataset,
            trials: Some(&scene.trials),
            model: &model,
            settings: &settings,
        })
        .map_err(|error| error.to_string())?;
        let report = found.model.as_ref().unwrap();
        let policy = |name: &str| found.policies.iter().find(|p| p.name == name).unwrap();
        let (own, heuristic) = (policy("mlp"), policy(HEURISTIC));
        let invalid = f64::from(u8::from(decode == Decode::Masked));
        if report.invalid_rate != invalid {
            return Err(format!("{} invalid", report.invalid_rate));
        }
        if decode == Decode::Masked {
            assert_eq!((report.abstain_rate, report.taken.count), (1.0, 0));
            assert_eq!(own.tasks, heuristic.tasks);
            assert_eq!(report.agreement.exact, 0.0);
            assert_eq!(report.decisions.count, found.rows);
        } else {
            assert!(report.abstain_rate < 1.0 && report.taken.count > 0);
        }
        Ok(())
    });
}

#[test]
fn models_that_decode_whole_actions_have_one_way() {
    let scene = Scene::new();
    let settings = settings();
    let inputs = inputs(&scene);
    let every = scene.dataset.rows.iter().map(|row| &row.planner_input);
    let outcomes = Outcomes::replay(every, &scene.trials, &settings).unwrap();
    let rows: Vec<_> = scene.dataset.split(Split::Train).collect();
    let ties = outcomes.tie_break(outcomes.tasks.keys());
    for kind in [ModelKind::Joint, ModelKind::Value] {
        let learned = amphora_training::crossvalidate::training_rows(
            &rows, &outcomes, &ties, &settings, kind,
        );
        let model = train_in_memory(&learned, &[], &tiny(kind)).unwrap();
        let model = Model::Trained(Box::new(model));
        let answers = WAYS.map(|decode| {
            model
                .answers(&inputs, &Temperatures::ONE, decode, 0.02)
                .unwrap()
        });
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0], answers[2]);
    }
}
