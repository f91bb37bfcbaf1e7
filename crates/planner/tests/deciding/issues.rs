//! Reading issue files.

use amphora_planner::contracts::{Priority, Risk, Size};
use amphora_planner::issues::{parse_issues, read_issues};

#[test]
fn bad_lines_are_counted_and_the_last_of_an_id_counts() {
    let text = concat!(
        "{\"id\":\"1\",\"title\":\"first\",\"status\":\"open\",\"tags\":[\"a\"]}\n",
        "\n",
        "not json\n",
        "[1]\n",
        "{\"title\":\"no id\"}\n",
        "{\"id\":\"\"}\n",
        "{\"id\":\"2\",\"id\":\"3\"}\n",
        "{\"id\":\"2\"}\r\n",
        "{\"id\":\"1\",\"title\":\"second\",\"status\":\"done\"}\n",
        "{\"id\":\"3\"}",
    );
    let read = parse_issues(text.as_bytes());
    let ids: Vec<&str> = read.issues.iter().map(|issue| issue.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(read.skipped, 5);
    assert_eq!(read.get("1").unwrap().title, "second");
    assert!(read.get("9").is_none());
}

#[test]
fn fields_have_defaults_aliases_and_repairs() {
    let line = concat!(
        "{\"id\":7,\"priority\":\"P0\",\"risk\":\"high\",\"dk_size\":\"??\",\"tool_hint\":\"codex\",",
        "\"parent\":\"1\",\"dk_attempts\":\"3\",\"dk_apply_patch\":\"no\",\"dk_speculate\":\"Yes\",",
        "\"tags\":[\"asset:world\",5],\"dk_max_attempts\":\"x\",\"dk_quality_gates\":{\"test\":\"run\"}}",
    );
    let read = parse_issues(line.as_bytes());
    let issue = &read.issues[0];
    assert_eq!(issue.id, "7");
    assert_eq!(
        (issue.dk_priority, issue.dk_risk, issue.dk_size),
        (Priority::P0, Risk::High, Size::M)
    );
    assert_eq!(issue.dk_tool_hint.as_deref(), Some("codex"));
    assert_eq!(issue.dk_parent.as_deref(), Some("1"));
    assert_eq!((issue.dk_attempts, issue.dk_max_attempts), (3, 3));
    assert!(!issue.dk_apply_patch && issue.dk_speculate);
    assert_eq!(issue.tags, ["asset:world"]);
    assert_eq!(issue.dk_estimated_tokens, 50_000);
    assert_eq!(issue.job_type(), "fab-world");
    assert_eq!(issue.dk_quality_gates["test"], "run");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = read_issues(std::path::Path::new("nowhere/issues.jsonl")).unwrap_err();
    assert!(error.to_string().contains("nowhere/issues.jsonl"));
}
