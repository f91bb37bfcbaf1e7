//! What is not exported.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::Bin;
use amphora_training::export::{ExportRequest, export};
use serde_json::{Value, json};

use crate::scene::{Model, Scene, date, engines, read_json, write_json};

type Change = fn(&mut Scene, &std::path::Path);

fn config(checkpoint: &std::path::Path, change: impl FnOnce(&mut Value)) {
    let path = checkpoint.join("config.json");
    let mut document = read_json(&path);
    change(&mut document);
    write_json(&path, &document);
}

/// What a row does to a request that would be granted.
type Asked = fn(&mut ExportRequest<'_>);

#[test]
fn checkpoints_and_datasets_that_do_not_belong_together_are_refused() {
    let rows: [(&str, Model, Change, &str); 10] = [
        (
            "a joint model",
            Model::SmallMlp,
            |_, at| config(at, |c| c["training"]["model"] = json!("joint")),
            "export-model",
        ),
        (
            "an autoregressive model",
            Model::SmallMlp,
            |_, at| config(at, |c| c["training"]["decoding"] = json!("autoregressive")),
            "export-model",
        ),
        (
            "a model that learned from outcomes, without a calibration",
            Model::SmallMlp,
            |_, at| config(at, |c| c["training"]["stage"] = json!("b")),
            "export-calibration",
        ),
        (
            "no planner",
            Model::SmallMlp,
            |_, at| config(at, |c| c["model_type"] = json!("conv2d_fsq")),
            "export-model",
        ),
        (
            "heads of another space",
            Model::SmallMlp,
            |_, at| config(at, |c| c["heads"]["minutes"] = json!({"n_classes": 7})),
            "export-heads",
        ),
        (
            "a dataset of another space",
            Model::SmallMlp,
            |scene, _| {
                let mut space = ActionSpace::default();
                space.max_minutes_bins[0] = Bin::Count(16);
                scene.dataset.rows[7].planner_input.action_space = space;
            },
            "export-action-space",
        ),
        (
            "a width that no layout has",
            Model::SmallMlp,
            |_, at| config(at, |c| c["d_in"] = json!(3778)),
            "export-width",
        ),
        (
            "weights of another model",
            Model::SmallMlp,
            |_, at| {
                config(at, |c| {
                    c["d_hidden"] = json!(64);
                    c["hidden_sizes"] = json!([64, 32]);
                });
            },
            "checkpoint-parameters",
        ),
        (
            "another vocabulary",
            Model::Urm,
            |_, at| config(at, |c| c["vocab_size"] = json!(4000)),
            "export-vocabulary",
        ),
        (
            "no tokenizer",
            Model::Transformer,
            |_, at| config(at, |c| c["tokenizer"] = Value::Null),
            "json",
        ),
    ];
    amphora_testing::each(&rows, |(_, model, change, rule)| {
        let mut scene = Scene::new();
        let checkpoint = scene.checkpoint("checkpoint", *model);
        change(&mut scene, &checkpoint);
        refused(&scene, &checkpoint, |_| (), rule)
    });
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let scene = Scene::new();
    let checkpoint = scene.checkpoint("checkpoint", Model::SmallMlp);
    let unknown = scene.path("unknown.json");
    write_json(
        &unknown,
        &json!({"method": "temperature_scaling", "temperature": {"agents": 2.0}}),
    );
    let rows: [(&str, Asked); 3] = [
        ("version", |request| request.version = "one"),
        ("git-sha", |request| request.git_sha = Some("HEAD")),
        ("export-engine", |request| request.engines = &[]),
    ];
    amphora_testing::each(&rows, |(rule, change)| {
        refused(&scene, &checkpoint, change, rule)
    });
    let (out, engines, created) = (scene.path("bundle"), engines(), date(0));
    let mut request = scene.request(&checkpoint, &out, &engines, &created);
    request.calibration = Some(&unknown);
    assert_eq!(
        export(&request, &|_| ()).unwrap_err().rule(),
        "calibration-head"
    );
}

/// What was learned from outcomes is exported with a calibration that was fitted on outcomes.
#[test]
fn a_model_that_learned_from_outcomes_is_exported_with_its_calibration() {
    let scene = Scene::new();
    let checkpoint = scene.checkpoint("checkpoint", Model::SmallMlp);
    config(&checkpoint, |c| c["training"]["stage"] = json!("b"));
    let fitted = scene.path("calibration.json");
    write_json(
        &fitted,
        &json!({"method": "temperature_scaling", "temperature": {"swarm": 1.5},
            "validation_ece": 0.04, "confidence_threshold": 0.3}),
    );
    let (out, engines, created) = (scene.path("bundle"), engines(), date(0));
    let mut request = scene.request(&checkpoint, &out, &engines, &created);
    let error = export(&request, &|_| ()).unwrap_err();
    assert!(error.hint_text().unwrap().contains("planner evaluate"));
    request.calibration = Some(&fitted);
    let exported = export(&request, &|_| ()).unwrap();
    assert_eq!(exported.temperature["swarm"], 1.5);
    assert_eq!(exported.threshold, Some(0.3));
}

/// Exports, expects the refusal `rule`, and finds nothing published.
fn refused(
    scene: &Scene,
    checkpoint: &std::path::Path,
    change: impl FnOnce(&mut ExportRequest<'_>),
    rule: &str,
) -> Result<(), String> {
    let (out, engines, created) = (scene.path("bundle"), engines(), date(0));
    let mut request = scene.request(checkpoint, &out, &engines, &created);
    change(&mut request);
    match export(&request, &|_| ()) {
        Ok(exported) => Err(format!("exported {exported:?}")),
        Err(error) if error.rule() != rule => Err(format!("{}: {error}", error.rule())),
        Err(_) if out.exists() => Err("something was published".to_owned()),
        Err(_) => Ok(()),
    }
}
