//! The token sequence, token for token, and its closed vocabulary.
//!
//! Expected buckets were computed apart (Python's `hashlib`).
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{Bin, PlannerInput};
use amphora_planner::encode::{FeatureSchema, TokenBatch, Tokenizer, TokenizerConfig, Vocabulary};
use serde_json::{Value, json};

/// 2026-02-03T09:00:00Z.
const NOW_MS: u64 = 1_770_109_200_000;

fn input() -> Value {
    json!({
        "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
        "universe_id": "u1", "job_type": "code",
        "universe_defaults": {"swarm_id": "serial_handoff", "objective_id": "realism"},
        "issue": {"issue_id": "42", "dk_priority": "P1", "dk_risk": "high", "dk_size": "M",
            "dk_tool_hint": null, "dk_attempts": 1, "tags": ["kernel", "cache", "kernel"],
            "title": "timeout", "keywords": ["cache", "drift", "key"]},
        "history": {"last_n_similar_runs": [{
            "run_id": "r1", "started_ms": NOW_MS - 1000, "job_type": "code", "domain": "code",
            "action_executed": {"swarm_id": "speculate_vote", "max_candidates": 2, "max_minutes": 37},
            "outcome": {"status": "failed", "fail_codes": ["pytest_failed", "oom"],
                "gates": [{"name": "test", "passed": false}, {"name": "lint", "passed": true}]},
            "runtime": {"duration_ms": 91_000}, "cost_usd_est": 0.12, "tags": ["kernel"]
        }]},
        "action_space": ActionSpace::default(),
        "system_state": {"active_workcells_bin": "1_2", "queue_depth_bin": null,
            "available_toolchains": ["codex", "claude", "codex"], "hour_bucket": "09",
            "budget_remaining_bin": null}
    })
}

fn config() -> TokenizerConfig {
    TokenizerConfig::new(&FeatureSchema::new(&ActionSpace::default(), 8))
}

fn tokenizer(config: TokenizerConfig) -> Tokenizer {
    Tokenizer::new(config, Vocabulary::new(&ActionSpace::default(), ["u1"])).unwrap()
}

fn tokens(config: TokenizerConfig, input: &Value) -> Vec<String> {
    tokenizer(config).tokens(&PlannerInput::from_value(input).unwrap())
}

/// `K=NS:V` as three tokens; any other word as it is.
fn spelled(text: &str) -> Vec<String> {
    let value = |word: &str| match word.split_once('=') {
        Some((key, value)) if !word.starts_with('[') => {
            vec![
                format!("[KEY:{key}]"),
                "[=]".to_owned(),
                format!("[VAL:{value}]"),
            ]
        }
        _ => vec![word.to_owned()],
    };
    text.split_whitespace().flat_map(value).collect()
}

const UNIVERSE: &str = "[BOS] UNIVERSE_ID=UNIVERSE_ID:u1 JOB_TYPE=JOB_TYPE:code \
    DEFAULT_SWARM_ID=SWARM_ID:serial_handoff [KEY:DEFAULT_OBJECTIVE] [=] [KW_HASH_862] [SEP]";
const ISSUE: &str = "DK_PRIORITY=DK_PRIORITY:P1 DK_RISK=DK_RISK:high DK_SIZE=DK_SIZE:M \
    DK_TOOL_HINT=TOOLCHAIN:NONE DK_ATTEMPTS=ATTEMPTS:1 \
    [KEY:TAGS] [=] [TAG_HASH_680] [TAG_HASH_820] \
    [KEY:KEYWORDS] [=] [KW_HASH_603] [KW_HASH_656] [KW_HASH_685] [SEP]";
const STATE: &str = "ACTIVE_WORKCELLS_BIN=BIN:1_2 QUEUE_DEPTH_BIN=BIN:NONE HOUR_BUCKET=HOUR:09 \
    BUDGET_REMAINING_BIN=BIN:NONE \
    [KEY:AVAILABLE_TOOLCHAINS] [=] [VAL:TOOLCHAIN:claude] [VAL:TOOLCHAIN:codex] [SEP]";
const RUN: &str = "[RUN_0] OUTCOME_STATUS=STATUS:failed EXEC_SWARM_ID=SWARM_ID:speculate_vote \
    EXEC_MAX_CANDIDATES=CANDIDATES:2 EXEC_MAX_MINUTES=MINUTES:30 EXEC_MAX_ITERATIONS=ITERATIONS:NA \
    DURATION_BIN=DURATION_BIN:1_5M [KEY:FAIL_CODES] [=] [FAIL_HASH_76] [FAIL_HASH_908] \
    [KEY:FAIL_GATES] [=] [GATE_HASH_92]";

#[test]
fn a_whole_input() {
    let expected = spelled(&format!("{UNIVERSE} {ISSUE} {STATE} {RUN} [EOS]"));
    assert_eq!(tokens(config(), &input()), expected);
}

#[test]
fn what_is_absent_and_what_is_cut() {
    let set = |path: &str, value: Value| {
        let mut input = input();
        *input.pointer_mut(path).unwrap() = value;
        input
    };
    let twelve = json!(
        "abcdefghijkl"
            .chars()
            .map(|tag| format!("t{tag}"))
            .collect::<Vec<_>>()
    );
    let mut without_keywords = set("/issue/title", json!("Timeout, TIMEOUT and key"));
    without_keywords["issue"]
        .as_object_mut()
        .unwrap()
        .remove("keywords");
    let ten = |kind: &str| (0..10).map(|n| format!("{kind}{n}")).collect::<Vec<_>>();
    let failed: Vec<Value> = ten("g")
        .iter()
        .map(|name| json!({"name": name, "passed": false}))
        .collect();
    let rows = [
        (
            "no objective, no default swarm",
            set("/universe_defaults", json!({})),
            format!(
                "[BOS] UNIVERSE_ID=UNIVERSE_ID:u1 JOB_TYPE=JOB_TYPE:code DEFAULT_SWARM_ID=SWARM_ID:NONE [SEP] \
                 {ISSUE} {STATE} {RUN} [EOS]"
            ),
        ),
        (
            "no state: its separator stays",
            set("/system_state", json!(null)),
            format!("{UNIVERSE} {ISSUE} [SEP] {RUN} [EOS]"),
        ),
        (
            "no runs: the last separator goes",
            set("/history/last_n_similar_runs", json!([])),
            format!("{UNIVERSE} {ISSUE} {} [EOS]", STATE.trim_end_matches(" [SEP]")),
        ),
        (
            "neither",
            {
                let mut input = set("/history/last_n_similar_runs", json!([]));
                input["system_state"] = json!(null);
                input
            },
            format!("{UNIVERSE} {ISSUE} [EOS]"),
        ),
        (
            "no tags, no keywords",
            {
                let mut input = set("/issue/tags", json!([""]));
                input["issue"]["keywords"] = json!([]);
                input
            },
            format!(
                "{UNIVERSE} {} [SEP] {STATE} {RUN} [EOS]",
                ISSUE.split(" [KEY:TAGS]").next().unwrap()
            ),
        ),
        (
            "tags sort as strings",
            set("/issue/tags", twelve),
            format!(
                "{UNIVERSE} {} [KEY:TAGS] [=] [TAG_HASH_102] [TAG_HASH_180] [TAG_HASH_185] [TAG_HASH_306] \
                 [TAG_HASH_335] [TAG_HASH_515] [TAG_HASH_517] [TAG_HASH_526] [TAG_HASH_527] [TAG_HASH_675] \
                 [TAG_HASH_736] [TAG_HASH_891] [KEY:KEYWORDS] {STATE} {RUN} [EOS]",
                ISSUE.split(" [KEY:TAGS]").next().unwrap()
            )
            .replace(
                "[KEY:KEYWORDS] ACTIVE",
                "[KEY:KEYWORDS] [=] [KW_HASH_603] [KW_HASH_656] [KW_HASH_685] [SEP] ACTIVE",
            ),
        ),
        (
            "keywords out of the title",
            without_keywords,
            format!("{UNIVERSE} {ISSUE} {STATE} {RUN} [EOS]")
                .replace("[KW_HASH_603] [KW_HASH_656] [KW_HASH_685]", "[KW_HASH_270] [KW_HASH_685]"),
        ),
        (
            "the first eight codes, sorted",
            set("/history/last_n_similar_runs/0/outcome/fail_codes", json!(ten("c"))),
            format!("{UNIVERSE} {ISSUE} {STATE} {RUN} [EOS]").replace(
                "[FAIL_HASH_76] [FAIL_HASH_908]",
                "[FAIL_HASH_365] [FAIL_HASH_390] [FAIL_HASH_493] [FAIL_HASH_54] [FAIL_HASH_634] [FAIL_HASH_662] \
                 [FAIL_HASH_769] [FAIL_HASH_930]",
            ),
        ),
        (
            "the first eight failed gates, sorted",
            set("/history/last_n_similar_runs/0/outcome/gates", json!(failed)),
            format!("{UNIVERSE} {ISSUE} {STATE} {RUN} [EOS]").replace(
                "[GATE_HASH_92]",
                "[GATE_HASH_103] [GATE_HASH_172] [GATE_HASH_426] [GATE_HASH_427] [GATE_HASH_504] [GATE_HASH_866] \
                 [GATE_HASH_938] [GATE_HASH_987]",
            ),
        ),
        (
            "a run without failures",
            set(
                "/history/last_n_similar_runs/0/outcome",
                json!({"status": "success", "fail_codes": [], "gates": [{"name": "test", "passed": true}]}),
            ),
            format!(
                "{UNIVERSE} {ISSUE} {STATE} {} [EOS]",
                RUN.replace("STATUS:failed", "STATUS:success").split(" [KEY:FAIL_CODES]").next().unwrap()
            ),
        ),
    ];
    amphora_testing::each(&rows, |(_, input, expected)| {
        match (tokens(config(), input), spelled(expected)) {
            (found, expected) if found == expected => Ok(()),
            (found, _) => Err(found.join(" ")),
        }
    });
}

#[test]
fn attempts_and_durations() {
    let rows = [(0, "0"), (1, "1"), (2, "2"), (3, "3_PLUS"), (9, "3_PLUS")];
    amphora_testing::each(&rows, |(attempts, bin)| {
        let mut input = input();
        input["issue"]["dk_attempts"] = json!(attempts);
        match tokens(config(), &input).contains(&format!("[VAL:ATTEMPTS:{bin}]")) {
            true => Ok(()),
            false => Err("another bin"),
        }
    });
}

fn many_runs(count: u64) -> Value {
    let mut input = input();
    let run = input["history"]["last_n_similar_runs"][0].clone();
    let runs = (0..count).map(|age| {
        let mut run = run.clone();
        run["run_id"] = json!(format!("r{age}"));
        run["started_ms"] = json!(NOW_MS - 1000 * (count - age));
        run["runtime"]["duration_ms"] = json!(if age == count - 1 { 10 } else { 91_000 });
        run
    });
    input["history"]["last_n_similar_runs"] = runs.collect();
    input
}

#[test]
fn runs_come_latest_first_and_limits_hold() {
    let all = tokens(config(), &many_runs(20));
    let runs: Vec<&String> = all
        .iter()
        .filter(|token| token.starts_with("[RUN_"))
        .collect();
    assert_eq!(
        runs,
        ["0", "1", "2", "3", "4", "5", "6", "7"]
            .map(|run| format!("[RUN_{run}]"))
            .each_ref()
    );
    let first = all.iter().position(|token| token == "[RUN_0]").unwrap();
    assert_eq!(all[first + 18], "[VAL:DURATION_BIN:LT_1S]");
    // 1 + 6 x 3 + 4 + 3 tokens, and a separator.
    assert_eq!(all[first + 26], "[SEP]");
    assert_eq!(all[first + 27], "[RUN_1]");

    let short = tokens(
        TokenizerConfig {
            max_tokens_per_run: 7,
            ..config()
        },
        &many_runs(2),
    );
    let first = short.iter().position(|token| token == "[RUN_0]").unwrap();
    assert_eq!(short[first + 6], "[VAL:SWARM_ID:speculate_vote]");
    assert_eq!(short[first + 7..first + 9], ["[SEP]", "[RUN_1]"]);

    let whole = all.len();
    for max_len in [2, 3, 100, whole - 1, whole, whole + 1] {
        let cut = tokens(
            TokenizerConfig {
                max_len,
                ..config()
            },
            &many_runs(20),
        );
        assert_eq!(cut.len(), whole.min(max_len));
        assert_eq!(cut.last().unwrap(), "[EOS]");
        assert_eq!(cut[..cut.len() - 1], all[..cut.len() - 1]);
    }
    let sixteen = TokenizerConfig {
        max_similar_runs: 16,
        max_len: 4096,
        ..config()
    };
    let all = tokens(sixteen, &many_runs(20));
    assert!(all.contains(&"[RUN_15]".to_owned()) && !all.contains(&"[RUN_16]".to_owned()));
}

#[test]
fn the_vocabulary_is_closed_and_has_the_documents_order() {
    let space = ActionSpace::default();
    let vocabulary = Vocabulary::new(&space, ["u2", "u1", "u2"]);
    let rows = [
        ("[PAD]", 0),
        ("[UNK]", 1),
        ("[BOS]", 2),
        ("[SEP]", 3),
        ("[EOS]", 4),
        ("[=]", 5),
        ("[RUN_0]", 6),
        ("[RUN_15]", 21),
        ("[TAG_HASH_0]", 22),
        ("[KW_HASH_0]", 1046),
        ("[FAIL_HASH_0]", 2070),
        ("[GATE_HASH_0]", 3094),
        ("[GATE_HASH_1023]", 4117),
        ("[KEY:ACTIVE_WORKCELLS_BIN]", 4118),
        ("[VAL:UNIVERSE_ID:u1]", 4229),
        ("[VAL:UNIVERSE_ID:u2]", 4230),
        ("[VAL:UNIVERSE_ID:u3]", 1),
        ("[VAL:BIN:low]", 1),
        ("[RUN_16]", 1),
        ("", 1),
    ];
    amphora_testing::each(&rows, |(token, id)| match vocabulary.id(token) {
        found if found == *id => Ok(()),
        found => Err(format!("found {found}")),
    });
    assert_eq!(vocabulary.len(), 4231);
    let closed = &vocabulary.tokens()[4118..4229];
    assert!(closed.is_sorted());
    let keys = closed
        .iter()
        .filter(|token| token.starts_with("[KEY:"))
        .count();
    assert_eq!((keys, closed.len() - keys), (24, 87));
    let old = [
        "[VAL:ATTEMPTS:",
        "[VAL:CANDIDATES:",
        "[VAL:MINUTES:",
        "[VAL:ITERATIONS:",
    ];
    let added = closed
        .iter()
        .filter(|token| old.iter().any(|start| token.starts_with(start)))
        .count();
    assert_eq!(added, 4 + 4 + 6 + 5);

    let mut other = space;
    other.max_minutes_bins = vec![Bin::Count(2), Bin::NotApplicable];
    let other = Vocabulary::new(&other, []);
    assert_eq!(other.len(), 4225);
    assert_ne!(other.id("[VAL:MINUTES:2]"), Vocabulary::UNK_ID);
}

#[test]
fn every_token_of_an_input_is_in_the_vocabulary() {
    let tokenizer = tokenizer(config());
    let ids = tokenizer.ids(&PlannerInput::from_value(&many_runs(9)).unwrap());
    assert!(!ids.contains(&Vocabulary::UNK_ID));
    let mut unknown = input();
    unknown["universe_id"] = json!("another");
    let ids = tokenizer.ids(&PlannerInput::from_value(&unknown).unwrap());
    assert_eq!(
        ids.iter().filter(|id| **id == Vocabulary::UNK_ID).count(),
        1
    );
}

#[test]
fn batches_are_padded_to_the_longest_sequence() {
    let batch = TokenBatch::new(&[vec![2, 4], vec![], vec![2, 9, 4]]);
    assert_eq!(batch.sequence_length, 3);
    assert_eq!(batch.input_ids, [2, 4, 0, 0, 0, 0, 2, 9, 4]);
    assert_eq!(batch.attention_mask, [1, 1, 0, 0, 0, 0, 1, 1, 1]);
    assert_eq!(TokenBatch::new(&[]).sequence_length, 0);
}

#[test]
fn files_read_back_and_others_are_refused() {
    let vocabulary = Vocabulary::new(&ActionSpace::default(), ["u1"]);
    let bytes = vocabulary.to_json().unwrap();
    assert_eq!(Vocabulary::from_json(&bytes).unwrap(), vocabulary);
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let changed = |path: &str, value: Value| {
        let mut document = document.clone();
        *document.pointer_mut(path).unwrap() = value;
        document
    };
    let mut extra = document.clone();
    extra["extra"] = json!(1);
    let refused = [
        changed("/schema_version", json!("cyntra.vocab.v2")),
        changed("/pad_id", json!(1)),
        changed("/unk_id", json!(0)),
        changed("/tokens/0", json!("[UNK]")),
        changed("/tokens/4", json!("[END]")),
        changed("/tokens/9", json!("[RUN_2]")),
        changed("/tokens", json!([])),
        extra,
    ];
    let accepted = refused
        .iter()
        .filter(|document| Vocabulary::from_json(document.to_string().as_bytes()).is_ok());
    assert_eq!(accepted.count(), 0);

    let bytes = config().to_json().unwrap();
    assert_eq!(TokenizerConfig::from_json(&bytes).unwrap(), config());
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        document,
        json!({"n_history_slots": 8, "n_tag_buckets": 1024, "d_in": 3779, "max_similar_runs": 8,
            "max_tokens_per_run": 64, "max_len": 512})
    );
    let short = br#"{"n_history_slots": 8, "n_tag_buckets": 1024, "d_in": 3779}"#;
    assert_eq!(TokenizerConfig::from_json(short).unwrap(), config());
    let rows = [
        ("max_similar_runs", 17),
        ("max_len", 1),
        ("max_len", 70_000),
        ("max_tokens_per_run", 0),
    ];
    amphora_testing::each(&rows, |(field, value)| {
        let mut document = document.clone();
        document[field] = json!(value);
        match TokenizerConfig::from_json(document.to_string().as_bytes()) {
            Err(error) if error.rule() == "tokenizer-config" && error.item() == Some(*field) => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    });
}
