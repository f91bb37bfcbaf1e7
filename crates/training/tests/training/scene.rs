//! A rule that can be learned, and models that learn it in a moment.

use amphora_planner::action_space::{Action, ActionSpace};
use amphora_planner::contracts::PlannerInput;
use amphora_training::train::{
    ActionOutcome, Label, ModelKind, TrainConfig, TrainedModel, TrainingRow, train,
};
use serde_json::json;

/// A small action space: serial or one to three candidates, two budgets, no iterations.
pub(crate) fn action_space() -> ActionSpace {
    let space = json!({
        "swarm_ids": ["serial_handoff", "speculate_vote"],
        "max_candidates_bins": [1, 2, 3],
        "max_minutes_bins": [5, 30],
        "max_iterations_bins": ["NA"],
        "validity_rules": [
            {"description": "one", "if": {"swarm_id": "serial_handoff"}, "then": {"max_candidates_bin": 1}},
        ],
    });
    ActionSpace::from_json(space.to_string().as_bytes()).unwrap()
}

pub(crate) fn input(issue: usize, size: &str, risk: &str, tags: &[String]) -> PlannerInput {
    let document = json!({
        "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
        "universe_id": "u1", "job_type": "code", "universe_defaults": {},
        "issue": {"issue_id": format!("i{issue}"), "dk_priority": "P1", "dk_risk": risk,
                  "dk_size": size, "dk_tool_hint": null, "dk_attempts": 0, "tags": tags},
        "history": {"last_n_similar_runs": []},
        "action_space": serde_json::to_value(action_space()).unwrap(),
    });
    PlannerInput::from_json(document.to_string().as_bytes()).unwrap()
}

pub(crate) fn action(swarm: usize, candidates: usize, minutes: usize) -> Action {
    Action {
        swarm,
        candidates,
        minutes,
        iterations: 0,
    }
}

/// Risk decides about the swarm, size about the minutes; tags are noise. Large issues fail in five
/// minutes, others pass in three.
pub(crate) fn rows(count: usize) -> Vec<TrainingRow> {
    let sizes = ["XS", "S", "L", "XL"];
    let row = |number: usize| {
        let (size, risky) = (sizes[number % 4], (number / 4) % 2 == 1);
        let large = number % 4 >= 2;
        let tags = [format!("t{}", number * 7 % 13), format!("t{}", number % 5)];
        let risk = if risky { "critical" } else { "low" };
        let label = match risky {
            true => action(1, 2, usize::from(large)),
            false => action(0, 0, usize::from(large)),
        };
        let outcome = |minutes: usize| ActionOutcome {
            action: action(0, 0, minutes),
            passed: !large || minutes == 1,
            timed_out: large && minutes == 0,
            cut: large && minutes == 0,
            agent_ms: match (large, minutes) {
                (false, _) => 180_000,
                (true, 0) => 300_000,
                (true, _) => 900_000,
            },
        };
        TrainingRow {
            input: input(number, size, risk, &tags),
            label: Some(Label::Action(label)),
            outcomes: vec![outcome(0), outcome(1)],
            weight: 1.0,
        }
    };
    (0..count).map(row).collect()
}

/// Small, quick, and without regularization that a handful of rows would not survive.
pub(crate) fn quick(model: ModelKind) -> TrainConfig {
    let mut config = TrainConfig::new(model);
    config.sizes.d_hidden = 32;
    config.sizes.n_layers = if model.reads_tokens() { 1 } else { 2 };
    config.sizes.d_model = 16;
    config.sizes.n_heads = 2;
    config.sizes.d_ff = 32;
    config.sizes.d_inner = 32;
    config.sizes.loops = 2;
    config.sizes.max_len = 128;
    config.batch_size = 16;
    config.epochs = 30;
    config.schedule_epochs = 30;
    config.patience = 30;
    config.learning_rate = 1e-2;
    config.members = 2;
    config
}

pub(crate) fn best(model: &TrainedModel, input: &PlannerInput) -> Action {
    let scores = model
        .action_log_probabilities(std::slice::from_ref(input))
        .unwrap();
    let best = scores[0].iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    best.0
}

pub(crate) fn train_into(
    rows: &[TrainingRow],
    config: &TrainConfig,
    out: &std::path::Path,
    resume: bool,
) -> amphora_error::Result<amphora_training::train::TrainingReport> {
    train(&rows[..40], &rows[40..], config, out, resume, &mut |_| {
        Ok(())
    })
}

/// Every file beneath a directory, by path.
pub(crate) fn files(directory: &std::path::Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let inner = files(&path).into_iter();
            found.extend(inner.map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}
