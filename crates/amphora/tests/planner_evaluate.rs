//! What `planner evaluate` refuses before it reads, trains or judges anything.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![cfg(feature = "training")]

use std::path::PathBuf;

use amphora::planner::{CrossValidateRequest, Decode, EvaluateRequest, evaluate, gate};
use amphora::{Engines, Store};

/// A cross-validation of files that are not there.
fn request() -> EvaluateRequest {
    EvaluateRequest {
        dataset: PathBuf::from("/nonexistent/dataset"),
        model: None,
        store: Store::open("/nonexistent/store").unwrap(),
        engines: Engines::default(),
        trials: Some(PathBuf::from("/nonexistent/trials.jsonl")),
        toolchains: Vec::new(),
        minute_cost: 0.02,
        replays: 1,
        resamples: 10,
        seed: 0,
        decode: Decode::Joint,
        cross_validate: Some(CrossValidateRequest {
            models: vec!["mlp".to_owned()],
            folds: 3,
            rows_per_task: 1,
            checkpoint: None,
        }),
        baseline_report: None,
        gate: None,
        calibration: None,
        page: None,
        command: None,
    }
}

/// What a row does to a request.
type Change = fn(&mut EvaluateRequest);

#[test]
fn what_could_only_fail_in_the_end_is_refused_at_the_start() {
    let rows: [(Change, &str); 9] = [
        (
            |r| r.calibration = Some(PathBuf::from("calibration.json")),
            "evaluate-calibration",
        ),
        (
            |r| {
                r.trials = None;
                r.cross_validate = None;
                r.model = Some(PathBuf::from("/nonexistent/model"));
                r.gate = Some(gate("heuristic").unwrap());
            },
            "gate-outcomes",
        ),
        (
            |r| {
                r.decode = Decode::Masked;
                r.cross_validate.as_mut().unwrap().checkpoint = Some(PathBuf::from("checkpoint"));
            },
            "evaluate-decode",
        ),
        (|r| r.trials = None, "cross-validate-trials"),
        (|r| r.cross_validate = None, "evaluate-model"),
        (
            |r| {
                let cross = r.cross_validate.as_mut().unwrap();
                cross.models = vec!["value".to_owned()];
                cross.checkpoint = Some(PathBuf::from("/nonexistent/checkpoint"));
            },
            "shipped-model",
        ),
        (
            |r| r.cross_validate.as_mut().unwrap().models = vec!["oracle".to_owned()],
            "model-name",
        ),
        (
            |r| {
                let here = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
                r.cross_validate.as_mut().unwrap().checkpoint = here;
            },
            "output-exists",
        ),
        (
            |r| r.baseline_report = Some(PathBuf::from("/nonexistent/report.json")),
            "file-not-found",
        ),
    ];
    amphora_testing::each(&rows, |(change, rule)| {
        let mut request = request();
        change(&mut request);
        match evaluate(&request, &mut |step| panic!("{step}")) {
            Err(error) if error.rule() == *rule => Ok(()),
            Err(error) => Err(format!("{}: {error}", error.rule())),
            Ok(_) => Err("evaluated".to_owned()),
        }
    });
}
