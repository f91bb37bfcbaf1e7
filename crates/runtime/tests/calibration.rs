//! Calibration files and temperature scaling.

use amphora_error::ErrorKind;
use amphora_runtime::{Calibration, Tensor};

#[test]
fn logits_are_divided_by_the_temperature_of_their_head() {
    let calibration = Calibration::parse(
        br#"{"method": "temperature_scaling",
             "temperature": {"swarm": 1.2, "minutes": 1.0},
             "validation_ece": 0.045, "calibration_date": "2025-12-20T10:00:00Z"}"#,
    )
    .unwrap();
    let logits = vec![0.3_f32, -4.0, 1e-3, 7.25];
    let scaled = calibration
        .apply("swarm", Tensor::new([2, 2], logits.clone()).unwrap())
        .unwrap();
    // Softmax of z / T gives odds exp((z1 - z2) / T): the closed form of the scaled logits.
    let scaled = scaled.as_slice::<f32>().unwrap();
    for (row, pair) in scaled.chunks_exact(2).enumerate() {
        let odds = f64::from(pair[0] - pair[1]).exp();
        let raw = f64::from(logits[2 * row]) - f64::from(logits[2 * row + 1]);
        let expected = (raw / 1.2).exp();
        assert!(
            (odds - expected).abs() <= 1e-6 * expected.max(1.0),
            "{odds} {expected}"
        );
    }
    for head in ["minutes", "candidates"] {
        let same = Tensor::new([4], logits.clone()).unwrap();
        assert_eq!(calibration.apply(head, same.clone()).unwrap(), same);
    }
    let none = Calibration::parse(br#"{"method": "none"}"#).unwrap();
    assert!(none.temperatures().is_empty());
}

#[test]
fn unusable_calibrations_are_refused() {
    let rows: [(&str, ErrorKind, &str); 9] = [
        ("[]", ErrorKind::Malformed, "not a JSON object"),
        ("{}", ErrorKind::Malformed, "no method"),
        (r#"{"method": "platt"}"#, ErrorKind::Unsupported, "'platt'"),
        (
            r#"{"method": "temperature_scaling"}"#,
            ErrorKind::Malformed,
            "temperature",
        ),
        (
            r#"{"method": "temperature_scaling", "temperature": {"a": 0}}"#,
            ErrorKind::Malformed,
            "'a'",
        ),
        (
            r#"{"method": "temperature_scaling", "temperature": {"a": -1.5}}"#,
            ErrorKind::Malformed,
            "'a'",
        ),
        (
            r#"{"method": "temperature_scaling", "temperature": {"a": "1"}}"#,
            ErrorKind::Malformed,
            "'a'",
        ),
        (
            r#"{"method": "temperature_scaling", "temperature": {"a": 1e999}}"#,
            ErrorKind::Malformed,
            "out of range",
        ),
        (
            r#"{"method": "none", "method": "none"}"#,
            ErrorKind::Malformed,
            "twice",
        ),
    ];
    amphora_testing::each(&rows, |(text, kind, needle)| {
        match Calibration::parse(text.as_bytes()) {
            Err(e) if e.kind() == *kind && e.to_string().contains(needle) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let integers = Tensor::new([1], vec![1_i64]).unwrap();
    let calibration = Calibration::new([("a".to_owned(), 2.0)]).unwrap();
    assert_eq!(
        calibration.apply("a", integers).unwrap_err().rule(),
        "calibration-head"
    );
}
