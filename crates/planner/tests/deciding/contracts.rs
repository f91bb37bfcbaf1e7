//! Reading and writing documents.

use amphora_planner::contracts::{
    Bin, ExecutedPlan, Mode, PlannerAction, PlannerInput, Priority, Risk, RunSummary, Size,
    canonical_json, input_hash, time,
};
use amphora_testing::each;
use serde_json::{Value, json};

use crate::support::input;

fn document() -> Value {
    let mut document = input("code").to_value().unwrap();
    document["history"]["last_n_similar_runs"] = json!([run()]);
    document["system_state"] = json!({"active_workcells_bin": "1_2", "hour_bucket": "09"});
    document
}

fn run() -> Value {
    json!({
        "run_id": "wc-1", "started_ms": 1_700_000_000_000_u64, "job_type": "code", "domain": "code",
        "action_executed": {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": null,
                            "max_iterations": null},
        "outcome": {"status": "failed", "fail_codes": ["test"],
                    "gates": [{"name": "test", "passed": false}]},
        "runtime": {"duration_ms": 5}
    })
}

fn read(document: &Value) -> Result<PlannerInput, String> {
    PlannerInput::from_json(document.to_string().as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn closed_objects_refuse_unknown_keys_and_open_ones_let_them_pass() {
    type Row = (&'static str, &'static [&'static str], bool);
    let rows: [Row; 10] = [
        ("the input", &[], false),
        ("universe defaults", &["universe_defaults"], false),
        ("history", &["history"], false),
        ("the action space", &["action_space"], false),
        ("a rule", &["action_space", "validity_rules", "0"], false),
        (
            "a condition",
            &["action_space", "validity_rules", "0", "if"],
            false,
        ),
        (
            "what a run executed",
            &["history", "last_n_similar_runs", "0", "action_executed"],
            false,
        ),
        ("an issue", &["issue"], true),
        ("a run", &["history", "last_n_similar_runs", "0"], true),
        ("the system's state", &["system_state"], true),
    ];
    read(&document()).unwrap();
    each(&rows, |(_, path, open)| {
        let mut document = document();
        let pointer: String = path.iter().map(|part| format!("/{part}")).collect();
        document.pointer_mut(&pointer).unwrap()["unheard_of"] = json!(1);
        match (read(&document), open) {
            (Ok(_), true) => Ok(()),
            (Err(error), false) if error.contains("unheard_of") => Ok(()),
            (answer, _) => Err(format!("{:?}", answer.err())),
        }
    });
}

#[test]
fn required_keys_are_required() {
    let rows = [
        "/schema_version",
        "/created_at",
        "/universe_id",
        "/job_type",
        "/universe_defaults",
        "/issue",
        "/issue/issue_id",
        "/issue/dk_priority",
        "/issue/dk_risk",
        "/issue/dk_size",
        "/issue/dk_tool_hint",
        "/issue/dk_attempts",
        "/issue/tags",
        "/history",
        "/history/last_n_similar_runs",
        "/action_space",
        "/action_space/swarm_ids",
        "/action_space/validity_rules",
    ];
    each(&rows, |pointer| {
        let mut document = document();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        document
            .pointer_mut(parent)
            .and_then(Value::as_object_mut)
            .unwrap()
            .remove(key);
        match read(&document) {
            Err(error) if error.contains(key) => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    });
}

#[test]
fn attempts_and_words_are_repaired_on_load() {
    let attempts: [(Value, Option<u32>); 7] = [
        (json!(3), Some(3)),
        (json!("3"), Some(3)),
        (json!(" 12 "), Some(12)),
        (json!("many"), None),
        (json!(-1), None),
        (json!(1.5), None),
        (json!(4_294_967_296_u64), None),
    ];
    each(&attempts, |(written, expected)| {
        let mut document = document();
        document["issue"]["dk_attempts"] = written.clone();
        let found = read(&document).ok().map(|input| input.issue.dk_attempts);
        (found == *expected)
            .then_some(())
            .ok_or(format!("{found:?}"))
    });
    let mut document = document();
    for key in ["dk_priority", "dk_risk", "dk_size"] {
        document["issue"][key] = json!("whatever");
    }
    let issue = read(&document).unwrap().issue;
    assert_eq!(
        (issue.dk_priority, issue.dk_risk, issue.dk_size),
        (Priority::P2, Risk::Medium, Size::M)
    );
}

#[test]
fn malformed_documents_are_refused() {
    type Break = fn(&mut Value);
    let rows: [(&str, Break); 12] = [
        ("another version", |v| {
            v["schema_version"] = json!("cyntra.planner_input.v2")
        }),
        ("no time", |v| v["created_at"] = json!("yesterday")),
        ("before 1970", |v| {
            v["created_at"] = json!("1969-12-31T23:59:59Z")
        }),
        ("a bin that is a word", |v| {
            v["action_space"]["max_minutes_bins"] = json!(["many"])
        }),
        ("a bin of 0", |v| {
            v["action_space"]["max_minutes_bins"] = json!([0, 15])
        }),
        ("a bin twice", |v| {
            v["action_space"]["max_minutes_bins"] = json!([15, 15])
        }),
        ("a negative bin", |v| {
            v["action_space"]["max_minutes_bins"] = json!([-15])
        }),
        ("a fractional bin", |v| {
            v["action_space"]["max_minutes_bins"] = json!([1.5])
        }),
        ("an empty head", |v| {
            v["action_space"]["swarm_ids"] = json!([])
        }),
        ("a swarm twice", |v| {
            v["action_space"]["swarm_ids"] = json!(["a", "a"])
        }),
        ("too many combinations", |v| {
            v["action_space"]["max_minutes_bins"] = (1..=2000).collect::<Vec<u32>>().into();
        }),
        ("an unknown status", |v| {
            v["history"]["last_n_similar_runs"][0]["outcome"]["status"] = json!("fine");
        }),
    ];
    each(&rows, |(_, break_it)| {
        let mut document = document();
        break_it(&mut document);
        read(&document).err().map(|_| ()).ok_or("it was accepted")
    });
}

#[test]
fn documents_come_back_as_they_went() {
    let first = read(&document()).unwrap();
    let text = first.to_json().unwrap();
    assert_eq!(PlannerInput::from_json(text.as_bytes()).unwrap(), first);
    let run: RunSummary = serde_json::from_value(run()).unwrap();
    assert_eq!(run.ended_ms(), 1_700_000_000_005);
}

#[test]
fn canonical_json_sorts_escapes_and_keeps() {
    let rows: [(Value, &str); 9] = [
        (
            json!({"b": 1, "a": [true, null]}),
            r#"{"a":[true,null],"b":1}"#,
        ),
        (
            json!({"é": "ü", "z": 1, "Z": 2}),
            r#"{"Z":2,"z":1,"é":"ü"}"#,
        ),
        (
            json!("\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}/"),
            "\"\\\"\\\\\\n\\r\\t\\b\\f\\u0001\u{7f}/\"",
        ),
        (json!(1.0), "1.0"),
        (json!(0.0001), "0.0001"),
        (json!(0.00001), "1e-05"),
        (json!(1e16), "1e+16"),
        (json!(-1.5e300), "-1.5e+300"),
        (json!(123_456_789_012_345.6), "123456789012345.6"),
    ];
    each(&rows, |(value, expected)| {
        let found = canonical_json(value);
        (found == *expected).then_some(()).ok_or(found)
    });
}

#[test]
fn canonical_json_is_what_python_writes() {
    let Some(python) = amphora_testing::peer("json", None) else {
        return;
    };
    let mut random = crate::support::Random(7);
    let numbers: Vec<Value> = (0..500)
        .map(|_| match f64::from_bits(random.next()) {
            float if float.is_finite() => json!(float),
            _ => json!(random.next()),
        })
        .chain([0.0, -0.0, 5e-324, 1e-4, 9.999e15, 1e15, 0.1, 100.0].map(Value::from))
        .collect();
    let document = json!({"numbers": numbers, "text": "a\u{0}\u{1f}\u{2028}\u{1f600}é\"\\/", "Ä": [], "a": {}});
    let program = "
import hashlib, json, sys
value = json.loads(sys.argv[1])
text = json.dumps(value, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
print(hashlib.sha256(text.encode()).hexdigest())";
    let expected = python.run(program, &[&document.to_string()]);
    let found = amphora_files::sha256(canonical_json(&document).as_bytes()).to_string();
    assert_eq!(found, expected.trim());
}

#[test]
fn the_hash_of_an_input_leaves_out_its_date_and_nothing_else() {
    let document = document();
    let hash = input_hash(&document);
    let mut later = document.clone();
    later["created_at"] = json!("2027-01-01T00:00:00Z");
    assert_eq!(input_hash(&later), hash);
    let rows = ["/universe_id", "/issue/tags", "/system_state/hour_bucket"];
    each(&rows, |pointer| {
        let mut other = document.clone();
        *other.pointer_mut(pointer).unwrap() = json!("other");
        (input_hash(&other) != hash).then_some(()).ok_or("the same")
    });
    let without: Value = {
        let mut value = document.clone();
        value.as_object_mut().unwrap().remove("created_at");
        value
    };
    let by_hand = amphora_files::sha256(canonical_json(&without).as_bytes());
    assert_eq!(hash, by_hand.to_string());
}

#[test]
fn the_hash_of_a_document_is_that_of_every_key_it_has() {
    let mut document = document();
    document["issue"]["dk_attempts"] = json!("2");
    document["issue"]["unheard_of"] = json!([1]);
    let (input, hash) = PlannerInput::with_hash(&document).unwrap();
    assert_eq!(input.issue.dk_attempts, 2);
    document["issue"]["dk_attempts"] = json!(2);
    assert_eq!(hash, input_hash(&document));
    assert_ne!(hash, input.input_hash().unwrap());
    let own = input.to_value().unwrap();
    assert_eq!(
        PlannerInput::with_hash(&own).unwrap().1,
        input.input_hash().unwrap()
    );
}

#[test]
fn times_are_read_and_written() {
    let rows: [(&str, Option<(u64, &str)>); 9] = [
        ("1970-01-01T00:00:00Z", Some((0, "1970-01-01T00:00:00Z"))),
        (
            "2026-02-03T09:00:00Z",
            Some((1_770_109_200_000, "2026-02-03T09:00:00Z")),
        ),
        (
            "2026-02-03T10:00:00+01:00",
            Some((1_770_109_200_000, "2026-02-03T09:00:00Z")),
        ),
        (
            "2026-02-03T09:00:00.123456Z",
            Some((1_770_109_200_123, "2026-02-03T09:00:00.123000Z")),
        ),
        (
            "9999-12-31T23:59:59Z",
            Some((253_402_300_799_000, "9999-12-31T23:59:59Z")),
        ),
        ("1969-12-31T23:59:59Z", None),
        ("2026-02-30T00:00:00Z", None),
        ("2026-02-03 09:00", None),
        ("", None),
    ];
    each(&rows, |(text, expected)| {
        let found = time::parse(text).ok();
        let written = found.and_then(|ms| time::format(ms).ok());
        let found = found.zip(written.as_deref());
        (found == *expected)
            .then_some(())
            .ok_or(format!("{found:?}"))
    });
    assert!(time::format(u64::MAX).is_err());
}

#[test]
fn actions_and_plans_keep_to_their_bounds() {
    let action = json!({
        "schema_version": "cyntra.planner_action.v1", "created_at": "2026-02-03T09:00:00Z",
        "swarm_id": "speculate_vote",
        "budgets": {"max_candidates_bin": 2, "max_minutes_bin": 30, "max_iterations_bin": "NA"},
        "confidence": 0.71, "abstain_to_default": false, "reason": null,
        "model": {"checkpoint_id": "mlp-7"}, "input_hash": "9f0c"
    });
    let read = |value: &Value| PlannerAction::from_json(value.to_string().as_bytes());
    let healthy = read(&action).unwrap();
    assert_eq!(healthy.budgets.max_iterations_bin, Bin::NotApplicable);
    type Break = fn(&mut Value);
    let rows: [(&str, Break); 6] = [
        ("an unknown key", |v| v["label_source"] = json!("bench")),
        ("an unknown budget", |v| {
            v["budgets"]["max_dollars"] = json!(1)
        }),
        ("an unknown key of the model", |v| {
            v["model"]["name"] = json!("m")
        }),
        ("a confidence above 1", |v| v["confidence"] = json!(1.01)),
        ("a negative confidence", |v| v["confidence"] = json!(-0.1)),
        ("a budget of words", |v| {
            v["budgets"]["max_minutes_bin"] = json!("some")
        }),
    ];
    each(&rows, |(_, break_it)| {
        let mut value = action.clone();
        break_it(&mut value);
        read(&value).err().map(|_| ()).ok_or("it was accepted")
    });
    let plan = json!({
        "schema_version": "cyntra.executed_plan.v1", "swarm_id_executed": "serial_handoff",
        "fallback_applied": true, "fallback_reason": "low_confidence", "anything": 1
    });
    let plan: ExecutedPlan = serde_json::from_value(plan).unwrap();
    assert_eq!(plan.timeout_seconds_executed, None);
}

#[test]
fn modes_have_older_words_and_unknown_ones_are_off() {
    let rows = [
        ("off", Mode::Off),
        ("log", Mode::Log),
        ("enforce", Mode::Enforce),
        ("shadow", Mode::Log),
        ("enabled", Mode::Enforce),
        ("disabled", Mode::Off),
        ("ENFORCE", Mode::Off),
        ("", Mode::Off),
    ];
    each(&rows, |(word, mode)| {
        let found = Mode::clamped(word);
        (found == *mode).then_some(()).ok_or(found)
    });
}
