//! Every fixture's PyTorch-exported graph against the reference made from its checkpoint.

use amphora_bundle::manifest::GoldenKind;
use amphora_testing::each;
use amphora_verify::{Report, SCHEMA_VERSION};

use crate::support::{Source, options};

const FIXTURES: [(&str, usize); 5] = [
    ("planner_mlp", 100),
    ("planner_transformer", 8),
    ("planner_urm", 8),
    ("planner_urm_conv", 8),
    ("conv2d_fsq", 100),
];

fn open(name: &str) -> Option<Source> {
    let source = Source::open(name)?;
    Some(match name {
        "conv2d_fsq" => source.with_input("imu_input"),
        _ => source,
    })
}

#[test]
fn the_graph_agrees_with_the_independent_reference() {
    each(&FIXTURES, |(name, cases)| {
        let Some(source) = open(name) else {
            return Ok(());
        };
        let packed = source.parts(*cases).publish();
        let verification = packed.verify(&options());
        let report = &verification.report;
        let numeric = report
            .numeric_equivalence
            .as_ref()
            .ok_or("nothing was replayed")?;
        let sound = report.passed
            && report.exit_kind().is_none()
            && report.onnx_check.as_ref().is_some_and(|check| check.passed)
            && numeric.kind == GoldenKind::Equivalence
            && numeric.n_test_cases == *cases as u64
            && numeric.max_abs_diff < 1e-5
            && numeric.tolerance == Some(1e-5)
            && numeric.per_output.len() == source.contract().outputs.len()
            && report.skipped.is_empty();
        if sound {
            Ok(())
        } else {
            Err(format!("{report:#?}"))
        }
    });
}

#[test]
fn the_report_has_exactly_the_documented_keys() {
    let Some(source) = Source::open("planner_mlp") else {
        return;
    };
    let mut report = source.parts(5).publish().verify(&options()).report;
    report.validated_at = Some("2025-12-20T12:30:00Z".to_owned());
    report.set_reference_time(2.5, None);
    let json = serde_json::to_value(&report).unwrap();
    let keys = |value: &serde_json::Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&json),
        [
            "schema_version",
            "validated_at",
            "engine",
            "passed",
            "target",
            "checks_run",
            "skipped",
            "errors",
            "warnings",
            "onnx_check",
            "numeric_equivalence",
            "inference_time"
        ]
    );
    assert_eq!(json["schema_version"], SCHEMA_VERSION);
    assert_eq!(json["target"], "onnx");
    assert_eq!(keys(&json["onnx_check"]), ["passed", "errors"]);
    assert_eq!(
        keys(&json["numeric_equivalence"]),
        [
            "kind",
            "producer",
            "n_test_cases",
            "max_abs_diff",
            "max_rel_diff",
            "all_within_tolerance",
            "tolerance",
            "within_rounding_margin",
            "per_output"
        ]
    );
    assert_eq!(
        keys(&json["inference_time"]),
        [
            "pytorch_mean_ms",
            "pytorch_std_ms",
            "onnx_mean_ms",
            "onnx_std_ms",
            "speedup",
            "reference_mean_ms",
            "reference_std_ms"
        ]
    );
    assert!(json["inference_time"]["pytorch_mean_ms"].is_null());
    assert!(json["inference_time"]["onnx_mean_ms"].as_f64().unwrap() > 0.0);
    let again: Report = serde_json::from_value(json).unwrap();
    assert_eq!(again.numeric_equivalence, report.numeric_equivalence);
}

#[test]
fn all_stages_run_in_their_order() {
    let Some(source) = Source::open("planner_mlp") else {
        return;
    };
    let report = source.parts(3).publish().verify(&options()).report;
    assert_eq!(
        report.checks_run,
        [
            "integrity",
            "contract",
            "metadata_consistency",
            "required_files",
            "model_formats",
            "configuration",
            "model_check",
            "numeric_equivalence",
            "onnx_model_loadable",
            "onnx_model_valid",
            "onnx_input_shape",
            "onnx_opset_version"
        ]
    );
}

#[test]
fn without_an_engine_the_replay_is_listed_as_skipped() {
    let Some(source) = Source::open("planner_mlp") else {
        return;
    };
    let packed = source.parts(2).publish();
    let report = packed.verify(&Default::default()).report;
    assert!(report.passed && report.numeric_equivalence.is_none());
    assert_eq!(report.skipped[0].check, "numeric_equivalence");
}
