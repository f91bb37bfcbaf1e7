//! `planner decide` without a bundle, and with one that is not there.

use amphora_testing::{each, repository};
use serde_json::{Value, json};

use crate::scene::{Answer, Scene};

fn scene() -> Scene {
    let scene = Scene::new();
    let example = repository().join("docs/examples/planner_input.json");
    scene.write("input.json", fs_err::read(example).unwrap());
    scene.write(
        "issues.jsonl",
        "{\"id\":\"7\",\"title\":\"Comments are cut off\",\"dk_size\":\"S\",\"dk_attempts\":\"1\"}\nnonsense\n",
    );
    scene
}

fn decide(scene: &Scene, rest: &str) -> Answer {
    let mut words = vec!["planner", "decide", "--deadline", "600000"];
    words.extend(rest.split(' '));
    scene.run(&words)
}

#[test]
fn one_action_on_stdout_and_why_on_stderr() {
    let scene = scene();
    let rows = [
        (
            "--input input.json --toolchain-timeout 7200",
            json!("toolchain_unavailable"),
            "speculate_vote",
        ),
        (
            "--input input.json",
            json!("timeout_exceeds_cap"),
            "speculate_vote",
        ),
        (
            "--input input.json --mode log",
            json!("log_only"),
            "speculate_vote",
        ),
        (
            "--input input.json --mode off",
            json!("planner_off"),
            "serial_handoff",
        ),
        (
            "--input input.json --bundle nowhere",
            json!("model_unavailable"),
            "serial_handoff",
        ),
        (
            "--issue 7 --issues issues.jsonl",
            Value::Null,
            "serial_handoff",
        ),
    ];
    let schema = scene.run(&["schema", "planner_action", "--json"]).json();
    let validator = jsonschema::validator_for(&schema).unwrap();
    each(&rows, |(line, reason, swarm)| {
        let answer = decide(&scene, &format!("{line} --json"));
        if answer.code != Some(0) {
            return Err(format!("{answer:?}"));
        }
        let action = answer.json();
        if let Some(fault) = validator.iter_errors(&action).next() {
            return Err(format!("{fault} at {}", fault.instance_path()));
        }
        let seen = (&action["reason"], &action["swarm_id"]);
        (seen == (reason, &json!(swarm)))
            .then_some(())
            .ok_or(action.to_string())
    });
    let missing = decide(&scene, "--input input.json --bundle nowhere");
    assert!(missing.stderr.contains("nowhere"), "{missing:?}");
    let explained = decide(&scene, "--input input.json --explain");
    for part in ["baseline_heuristic_v0", "timeout_exceeds_cap", "wc-17-b"] {
        assert!(explained.stderr.contains(part), "{explained:?}");
    }
}

#[test]
fn the_record_is_what_a_manifest_keeps_and_the_same_each_time() {
    let scene = scene();
    let record = |name: &str| {
        decide(&scene, &format!("--input input.json --record {name}")).expect_code(0);
        let bytes = fs_err::read(scene.path(name)).unwrap();
        let mut value: Value = serde_json::from_slice(&bytes).unwrap();
        value["policy_trace"]["duration_us"].take();
        value
    };
    let kept = record("a.json");
    assert_eq!(kept, record("b.json"));
    assert_eq!(kept["executed_plan"]["fallback_applied"], true);
    assert_eq!(
        kept["planner_action"]["input_hash"],
        kept["policy_trace"]["input_hash"]
    );
}

#[test]
fn what_cannot_be_decided_on_is_refused() {
    let scene = scene();
    scene.write(
        "broken.json",
        "{\"schema_version\": \"cyntra.planner_input.v1\"}",
    );
    let rows = [
        ("--input nothing.json", 6),
        ("--input broken.json", 3),
        ("--issue 8 --issues issues.jsonl", 6),
        ("--issue 7", 2),
        ("--issue 7 --issues nothing.jsonl", 6),
        ("--issue 7 --issues issues.jsonl --archives nothing", 6),
        ("--issue 7 --issues issues.jsonl --universe nothing", 6),
        (
            "--issue 7 --issues issues.jsonl --action-space input.json",
            3,
        ),
        ("--input input.json --threshold 2", 2),
        ("--input input.json --threshold NaN", 2),
        ("--input input.json --mode always", 2),
    ];
    each(&rows, |(line, code)| {
        let answer = decide(&scene, line);
        (answer.code == Some(*code))
            .then_some(())
            .ok_or(format!("{answer:?}"))
    });
}

#[test]
fn the_budgets_of_a_universe_bound_every_decision() {
    let scene = scene();
    let universe = |minutes: u32| {
        format!(
            "universe_id: small\ndefaults: {{swarm_id: serial_handoff}}\n\
             policies: {{budgets: {{max_run_minutes: {minutes}}}}}\n"
        )
    };
    let swarms = "swarms: {serial_handoff: {type: serial_handoff}, speculate_vote: {type: vote}}\n";
    scene.write("u/swarms.yaml", swarms);
    scene.write("u/objectives.yaml", "objectives: {}\n");
    // The rule wants 30 minutes for a small issue.
    each(
        &[(29, Some(1740)), (30, Some(1800)), (500, Some(1800))],
        |&(minutes, seconds)| {
            scene.write("u/universe.yaml", universe(minutes));
            let rest = "--issue 7 --issues issues.jsonl --universe u --toolchain-timeout 7200 \
                    --record record.json";
            let answer = decide(&scene, rest);
            answer.expect_code(0);
            let record = fs_err::read(scene.path("record.json")).unwrap();
            fs_err::remove_file(scene.path("record.json")).unwrap();
            let record: Value = serde_json::from_slice(&record).unwrap();
            let found = record["executed_plan"]["timeout_seconds_executed"].as_u64();
            let reason = answer.json()["reason"].clone();
            let expected = if minutes < 30 {
                json!("timeout_exceeds_cap")
            } else {
                Value::Null
            };
            match found == seconds && reason == expected {
                true => Ok(()),
                false => Err(format!("{found:?}, {reason}")),
            }
        },
    );
}

#[test]
fn the_orchestrators_own_rules_are_read_from_a_file() {
    let scene = scene();
    let run = |kernel: &str, rest: &str| {
        scene.write("kernel.json", kernel);
        let rest = format!("--issue 7 --issues issues.jsonl --mode off --kernel kernel.json{rest}");
        decide(&scene, &rest)
    };
    let routed = r#"{"timeout_seconds": 900,
        "routing": [{"dk_size": ["S"], "speculate": true, "parallelism": 3}]}"#;
    let rows = [
        ("{}", "", json!(["serial_handoff", 1, 30])),
        (routed, "", json!(["speculate_vote", 3, 15])),
        (
            routed,
            " --max-candidates 2 --toolchain-timeout 1800",
            json!(["speculate_vote", 2, 30]),
        ),
    ];
    each(&rows, |(kernel, rest, expected)| {
        let action = run(kernel, rest).json();
        let budgets = &action["budgets"];
        let found = json!([
            action["swarm_id"],
            budgets["max_candidates_bin"],
            budgets["max_minutes_bin"]
        ]);
        match found == *expected {
            true => Ok(()),
            false => Err(found.to_string()),
        }
    });
    let misspelt = run(r#"{"timeout": 900}"#, "");
    misspelt.expect_code(3);
    assert!(
        misspelt.stderr.contains("kernel.json"),
        "{}",
        misspelt.stderr
    );
}

/// Archives of nothing, and the world runs of two worlds; an issue about a world.
fn worlds(scene: &Scene) {
    scene.write(
        "worlds.jsonl",
        "{\"id\":\"9\",\"title\":\"Light the reading room\",\"tags\":[\"asset:world\"]}\n",
    );
    for (name, world) in [("run-1", "reading_room"), ("run-2", "hall")] {
        let folder = format!("runs/{name}");
        std::fs::create_dir_all(scene.path(&folder)).unwrap();
        let manifest = json!({"run_id": name, "created_at": "2023-01-02T03:04:05Z",
            "stages": [{"id": "bake", "status": "failed", "duration_ms": 60_000}]});
        let context = json!({"universe_id": "workshop", "world_id": world,
            "objective_id": "passing_and_quick", "swarm_id": "speculate_vote"});
        scene.write(&format!("{folder}/manifest.json"), manifest.to_string());
        scene.write(&format!("{folder}/context.json"), context.to_string());
    }
}

#[test]
fn a_universe_and_its_world_runs_are_what_a_decision_knows() {
    let scene = scene();
    worlds(&scene);
    let universe = repository().join("examples/universe");
    let decided = |line: &str| -> Value {
        let line = format!(
            "{line} --universe {} --record record.json",
            universe.display()
        );
        decide(&scene, &line).expect_code(0);
        serde_json::from_slice(&fs_err::read(scene.path("record.json")).unwrap()).unwrap()
    };
    let code = decided("--issue 7 --issues issues.jsonl --world-runs runs");
    let input = &code["planner_input"];
    assert_eq!(input["universe_id"], "workshop");
    assert_eq!(
        input["universe_defaults"],
        json!({"swarm_id": "serial_handoff", "objective_id": "passing_and_quick"})
    );
    assert_eq!(
        input["action_space"]["swarm_ids"],
        json!(["serial_handoff", "speculate_vote"])
    );
    assert_eq!(input["history"]["last_n_similar_runs"], json!([]));

    let known = |rest: &str| -> Vec<Value> {
        let record = decided(&format!("--issue 9 --issues worlds.jsonl{rest}"));
        assert_eq!(record["planner_input"]["job_type"], "fab-world");
        let runs = &record["planner_input"]["history"]["last_n_similar_runs"];
        runs.as_array().unwrap().clone()
    };
    assert!(known("").is_empty());
    assert_eq!(known(" --world-runs runs").len(), 2);
    let of_world = known(" --world-runs runs --world reading_room");
    assert_eq!(of_world.len(), 1);
    assert_eq!(of_world[0]["run_id"], "run-1");
    // The population of the swarm in swarms.yaml.
    assert_eq!(of_world[0]["action_executed"]["max_candidates"], 3);
    assert!(known(" --world-runs runs --world elsewhere").is_empty());
}
