//! Labels, metrics, calibration and configuration.

use amphora_error::ErrorKind;
use amphora_testing::each;
use amphora_verify::VerifyOptions;

use crate::support::Source;

#[test]
fn each_asset_is_read_and_compared() {
    type Row = (&'static str, &'static str, &'static str, bool, &'static str);
    let rows: [Row; 10] = [
        (
            "four labels",
            "label_map.json",
            r#"{"0":"a","1":"b","2":"c","3":"d"}"#,
            true,
            "",
        ),
        (
            "too few labels",
            "label_map.json",
            r#"{"0":"a"}"#,
            false,
            "expected 4 labels",
        ),
        (
            "a gap",
            "label_map.json",
            r#"{"0":"a","1":"b","2":"c","9":"d"}"#,
            true,
            "not numbered 0 to 3",
        ),
        ("no JSON", "label_map.json", "{", false, "label_map.json"),
        ("metrics", "metrics.json", r#"{"accuracy":0.9}"#, true, ""),
        (
            "accuracy of 2",
            "metrics.json",
            r#"{"accuracy":2}"#,
            true,
            "not a fraction",
        ),
        (
            "other metrics",
            "metrics.json",
            r#"{"loss":2}"#,
            true,
            "at least one of accuracy",
        ),
        ("bad metrics", "metrics.json", "[]", false, "metrics.json"),
        (
            "no calibration",
            "calibration.json",
            r#"{"method":"none"}"#,
            true,
            "",
        ),
        (
            "a head that is not there",
            "calibration.json",
            r#"{"method":"temperature_scaling","temperature":{"swarm":2.0}}"#,
            false,
            "calibration.json",
        ),
    ];
    let Some(source) = Source::open("conv2d_fsq") else {
        return;
    };
    each(&rows, |(_, file, content, passes, needle)| {
        let mut parts = source.parts(1);
        parts.files.insert(file, content.as_bytes().to_vec());
        let report = parts.publish().verify(&VerifyOptions::default()).report;
        let expected = (!passes).then_some(ErrorKind::Incompatible);
        let mut texts = report.errors.iter().chain(&report.warnings);
        let named = needle.is_empty() || texts.any(|text| text.contains(needle));
        if report.exit_kind() == expected && named {
            Ok(())
        } else {
            Err(format!("{report:#?}"))
        }
    });
}

#[test]
fn an_input_of_another_shape_than_the_configuration_says_is_not_ready() {
    let Some(mut source) = Source::open("conv2d_fsq") else {
        return;
    };
    source.config["input_shape"] = serde_json::json!(["batch", 9, 2, 50]);
    let report = source
        .parts(1)
        .publish()
        .verify(&VerifyOptions::default())
        .report;
    assert_eq!(report.exit_kind(), Some(ErrorKind::NotReady));
    assert!(
        report.errors[0].contains("expected [any, 9, 2, 50], found [batch, 9, 2, 100]"),
        "{:?}",
        report.errors
    );
}
