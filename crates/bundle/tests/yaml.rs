//! YAML that is more than plain data, and text types: refused with their place.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use amphora_bundle::{Manifest, Name, Timestamp, Version};
use amphora_error::ErrorKind;
use support::healthy_manifest as healthy;

#[test]
fn yaml_that_is_more_than_plain_data_is_refused_with_its_place() {
    let line_of = |needle: &str| {
        let line = healthy().lines().position(|line| line.contains(needle));
        format!("line {}", line.unwrap() + 1)
    };
    let description = line_of("description:");
    let kind = line_of("kind: Model");
    let opset = line_of("opset: 14");
    let absolute = line_of("absolute:");
    let first = "line 1".to_owned();
    let end = "line of the last key".to_owned();
    let deep = format!("description: {}{}", "[".repeat(200), "]".repeat(200));
    let aliases = format!("x: &a [1]\ny: [{}]\n", "*a, ".repeat(64));
    let replaced: [(&str, &str, &str, &str, &String); 21] = [
        (
            "key twice",
            "kind: Model",
            "kind: Model\nkind: Model",
            "manifest",
            &kind,
        ),
        (
            "unknown key",
            "kind: Model",
            "kind: Model\nextra: 1",
            "manifest",
            &kind,
        ),
        ("missing key", "kind: Model\n", "", "manifest", &end),
        (
            "anchor",
            "kind: Model",
            "kind: &a Model",
            "yaml-anchor",
            &kind,
        ),
        ("alias", "kind: Model", "kind: *a", "yaml-alias", &kind),
        (
            "merge key",
            "kind: Model",
            "kind: Model\n<<: {a: 1}",
            "yaml-merge-key",
            &kind,
        ),
        ("tag", "kind: Model", "kind: !!str Model", "yaml-tag", &kind),
        (
            "own tag",
            "kind: Model",
            "kind: !model Model",
            "yaml-tag",
            &kind,
        ),
        (
            "binary",
            "description: \"adds a constant\"",
            "description: !!binary YWJj",
            "yaml-tag",
            &description,
        ),
        (
            "NUL",
            "description: \"adds a constant\"",
            "description: \"a\\0b\"",
            "yaml-control",
            &description,
        ),
        (
            "escape",
            "description: \"adds a constant\"",
            "description: \"a\\e[31mb\"",
            "yaml-control",
            &description,
        ),
        (
            "surrogate",
            "description: \"adds a constant\"",
            "description: \"\\ud800\"",
            "yaml",
            &description,
        ),
        (
            "depth",
            "description: \"adds a constant\"",
            &deep,
            "yaml-depth",
            &description,
        ),
        (
            "infinity",
            "absolute: 0.00001",
            "absolute: .inf",
            "manifest",
            &absolute,
        ),
        (
            "NaN",
            "absolute: 0.00001",
            "absolute: .nan",
            "manifest",
            &absolute,
        ),
        (
            "overflow",
            "absolute: 0.00001",
            "absolute: 1e999",
            "manifest",
            &absolute,
        ),
        (
            "2^64",
            "opset: 14",
            "opset: 18446744073709551616",
            "manifest",
            &opset,
        ),
        ("negative", "opset: 14", "opset: -14", "manifest", &opset),
        ("fraction", "opset: 14", "opset: 14.5", "manifest", &opset),
        (
            "directive",
            "apiVersion",
            "%YAML 1.2\n---\napiVersion",
            "yaml",
            &first,
        ),
        ("tab", "kind: Model", "kind: Model\n\t- x", "yaml", &kind),
    ];
    let mut rows: Vec<(&str, String, &str, String)> = replaced
        .into_iter()
        .map(|(name, from, to, rule, place)| {
            assert!(healthy().contains(from), "{from}");
            (name, healthy().replacen(from, to, 1), rule, place.clone())
        })
        .collect();
    let whole: [(&str, String, &str, &str); 9] = [
        (
            "second document",
            format!("{}---\na: 1\n", healthy()),
            "yaml-documents",
            "line",
        ),
        (
            "byte order mark",
            format!("\u{feff}{}", healthy()),
            "yaml-bom",
            "line 1, column 1",
        ),
        ("empty", String::new(), "yaml-empty", "line 1"),
        (
            "only a comment",
            "# nothing\n".to_owned(),
            "yaml-empty",
            "line 1",
        ),
        ("many aliases", aliases, "yaml-anchor", "line 1"),
        ("a list", "- a\n".to_owned(), "manifest", "line 1"),
        ("a word", "manifest\n".to_owned(), "manifest", "line 1"),
        ("JSON with a tail", "{} {}".to_owned(), "yaml", "line 1"),
        ("a billion levels", "[".repeat(1 << 20), "yaml", "line 1"),
    ];
    rows.extend(
        whole
            .into_iter()
            .map(|(name, text, rule, place)| (name, text, rule, place.to_owned())),
    );
    amphora_testing::each(&rows, |(_, text, rule, place)| {
        match Manifest::parse(text.as_bytes()) {
            Err(error)
                if error.rule() == *rule
                    && matches!(error.kind(), ErrorKind::Malformed | ErrorKind::Limit)
                    && error.item().is_some_and(|item| near(item, place)) =>
            {
                let shown = error.to_string();
                (shown.len() < 1000).then_some(()).ok_or(shown)
            }
            answer => Err(format!("expected [{rule}] at {place}, found {answer:?}")
                .chars()
                .take(900)
                .collect()),
        }
    });
    assert_eq!(
        Manifest::parse(b"\xff\xfe").unwrap_err().rule(),
        "yaml-encoding"
    );
    let large = vec![b' '; (16 << 20) + 1];
    assert_eq!(Manifest::parse(&large).unwrap_err().rule(), "manifest-size");
}

/// A fault may be noticed one line after the key that it belongs to.
fn near(found: &str, expected: &str) -> bool {
    let line = |text: &str| -> Option<usize> {
        let digits = text.strip_prefix("line ")?;
        digits.split(',').next()?.parse().ok()
    };
    match (line(found), line(expected)) {
        (Some(found), Some(expected)) => found == expected || found == expected + 1,
        (Some(_), None) => true,
        _ => false,
    }
}

#[test]
fn names_versions_and_timestamps_keep_their_grammar() {
    let long = "x".repeat(256);
    let rows: [(&str, bool); 14] = [
        ("demo", true),
        ("a/b/c", true),
        ("0.x_y-z", true),
        ("", false),
        ("/a", false),
        ("a/", false),
        ("a//b", false),
        ("A", false),
        ("a b", false),
        ("../a", false),
        (".a", false),
        ("a/../b", false),
        ("a:1", false),
        (&long, false),
    ];
    amphora_testing::each(&rows, |(text, accepted)| {
        (Name::parse(text).is_ok() == *accepted)
            .then_some(())
            .ok_or("wrong")
    });
    let mut versions: Vec<Version> = ["1.10.0", "latest", "2.0.0-rc.1", "1.9.0", "2.0.0"]
        .iter()
        .map(|text| Version::parse(text).unwrap())
        .collect();
    versions.sort();
    let order: Vec<&str> = versions.iter().map(Version::as_str).collect();
    assert_eq!(order, ["latest", "1.9.0", "1.10.0", "2.0.0-rc.1", "2.0.0"]);
    for text in ["", "1", "1.0", "v1.0.0", "01.0.0", "Latest"] {
        assert!(Version::parse(text).is_err(), "{text}");
    }
    let epoch = Timestamp::from_unix_seconds(1_700_000_000).unwrap();
    assert_eq!(epoch.as_str(), "2023-11-14T22:13:20Z");
    assert_eq!(Timestamp::parse(epoch.as_str()).unwrap(), epoch);
    let precise = Timestamp::parse("2024-01-15T10:30:45.123456Z").unwrap();
    assert!(precise > epoch);
    assert!(Timestamp::parse("2024-01-15").is_err());
    assert!(Timestamp::from_unix_seconds(i64::MAX).is_err());
}
