//! Documents of the planner, small and sound but for one thing each.

/// Target, name and content.
pub(super) fn seeds() -> Vec<(&'static str, &'static str, String)> {
    let mut seeds = Vec::new();
    let spaces = [
        ("sound", SPACE.to_owned()),
        ("empty-head", SPACE.replace("[15,30,\"NA\"]", "[]")),
        ("bin-0", SPACE.replace("[15,30,\"NA\"]", "[0,30]")),
        (
            "misspelt",
            SPACE.replace(
                "\"if\":{\"swarm_id\":\"serial",
                "\"if\":{\"swarm_id\":\"seriel",
            ),
        ),
    ];
    for (name, text) in spaces {
        seeds.push(("action_space", name, text));
    }
    let input = INPUT.replace("SPACE", SPACE);
    let inputs = [
        ("sound", input.clone()),
        ("no-history", input.replace(RUN, "")),
        (
            "attempts-words",
            input.replace("\"dk_attempts\":1", "\"dk_attempts\":\" 3 \""),
        ),
        (
            "started-2-64",
            input.replace("1769677200000", "18446744073709551615"),
        ),
    ];
    for (name, text) in inputs {
        seeds.push(("planner_input", name, text));
    }
    let issue = r#"{"id":"42","title":"Cache key drift","tags":["kernel"],"dk_risk":"high","dk_attempts":"1"}"#;
    seeds.push(("issues", "sound", format!("{issue}\n")));
    let lines = format!(
        "{issue}\nnonsense\n\n{{\"id\":\"\"}}\n{{\"id\":7,\"tags\":[\"asset:world\",1]}}\n{issue}\n"
    );
    seeds.push(("issues", "bad-lines", lines));
    seeds.push(("trials", "sound", format!("{TRIAL}\n")));
    seeds.push(("trials", "twice", format!("{TRIAL}\n{TRIAL}\n")));
    seeds.push((
        "trials",
        "endless",
        TRIAL.replace("300000", "18446744073709551615"),
    ));
    seeds
}

const SPACE: &str = r#"{"swarm_ids":["serial_handoff","speculate_vote"],"max_candidates_bins":[1,2,"NA"],"max_minutes_bins":[15,30,"NA"],"max_iterations_bins":[1,"NA"],"validity_rules":[{"description":"","if":{"swarm_id":"serial_handoff"},"then":{"max_candidates_bin":1}},{"description":"","if":{"job_type":"code"},"then":{"max_iterations_bin":"NA"}},{"description":"","then_in":{"max_candidates_bin":[1,2]}}]}"#;

const INPUT: &str = r#"{"schema_version":"cyntra.planner_input.v1","created_at":"2026-02-03T09:00:00Z","universe_id":"u1","job_type":"code","universe_defaults":{"swarm_id":"serial_handoff"},"issue":{"issue_id":"42","dk_priority":"P1","dk_risk":"high","dk_size":"M","dk_tool_hint":null,"dk_attempts":1,"tags":["kernel"]},"history":{"last_n_similar_runs":[{"run_id":"a","started_ms":1769677200000,"job_type":"code","domain":"code","action_executed":{"swarm_id":"serial_handoff","max_minutes":30},"outcome":{"status":"failed","fail_codes":["test"],"gates":[{"name":"test","passed":false,"score":0.5}]},"runtime":{"duration_ms":412000},"cost_usd_est":0.3}]},"action_space":SPACE,"system_state":{"active_workcells_bin":"1_2","hour_bucket":"09"}}"#;

/// The run in [`INPUT`].
const RUN: &str = r#"{"run_id":"a","started_ms":1769677200000,"job_type":"code","domain":"code","action_executed":{"swarm_id":"serial_handoff","max_minutes":30},"outcome":{"status":"failed","fail_codes":["test"],"gates":[{"name":"test","passed":false,"score":0.5}]},"runtime":{"duration_ms":412000},"cost_usd_est":0.3}"#;

const TRIAL: &str = r#"{"schema_version":"amphora.recorded_trial.v1","issue_id":"42","toolchain":"codex","trial":"1","started_ms":1760000000000,"duration_ms":300000,"status":"failed","all_passed":false,"gates":[{"name":"test","passed":false}],"fail_codes":["test"],"cost_usd":0.1,"tokens_in":null,"tokens_out":null}"#;
