//! The documents that the planner reads.

use amphora_error::Error;
use amphora_files::json;
use amphora_planner::action_space::{ActionSpace, NamedAction};
use amphora_planner::checker::action_violations;
use amphora_planner::contracts::PlannerInput;
use amphora_planner::decide::{Baseline, Planner, Policy, Settings};
use amphora_planner::encode::{FeatureSchema, Tokenizer, TokenizerConfig, Vocabulary};
use amphora_planner::history::{Attempts, History, InputRequest, SIMILAR_RUNS, build_input};
use amphora_planner::issues::parse_issues;
use amphora_planner::replay::{Replay, Trials};

use super::presentable;

/// Valid actions of a space that are checked.
const CHECKED: usize = 50;

/// A `planner_input.v1`: written and read again it is the same; it can be encoded and decided on, and
/// what is decided keeps the rules.
pub fn planner_input(bytes: &[u8]) {
    let input = match PlannerInput::from_json(bytes) {
        Ok(input) => input,
        Err(error) => return presentable(&error),
    };
    let again = input
        .to_json()
        .and_then(|text| PlannerInput::from_json(text.as_bytes()));
    assert_eq!(
        Some(&input),
        again.as_ref().ok(),
        "written and read, it is another"
    );
    let hash = expected(input.input_hash());
    let document = expected(json::parse(bytes));
    let (same, _) = expected(PlannerInput::with_hash(&document));
    assert_eq!(input, same);
    assert_eq!(hash, expected(same.input_hash()));

    let space = ActionSpace::default();
    let features = FeatureSchema::new(&space, SIMILAR_RUNS);
    let row = features.encode(&input);
    assert!(row.indices.is_sorted_by(|a, b| a < b));
    assert!(
        row.indices
            .iter()
            .all(|index| (*index as usize) < features.width())
    );
    let config = TokenizerConfig::new(&features);
    let tokenizer = expected(Tokenizer::new(config, Vocabulary::new(&space, [])));
    let ids = tokenizer.ids(&input);
    assert!(ids.len() <= config.max_len);
    assert!(
        ids.iter()
            .all(|id| (*id as usize) < tokenizer.vocabulary().len())
    );

    let settings = Settings {
        deadline: None,
        ..Settings::default()
    };
    let planner = expected(Planner::new(Policy::heuristic(), settings));
    let decision = planner.decide(&input, &Baseline::default());
    if decision.reason.is_none() {
        checked(
            &input.action_space,
            &input.job_type,
            &decision.trace.executed,
        );
    }
}

/// An `action_space.json`: what is valid keeps the rules, and the digest is that of what is written.
pub fn action_space(bytes: &[u8]) {
    let space = match ActionSpace::from_json(bytes) {
        Ok(space) => space,
        Err(error) => return presentable(&error),
    };
    if let Err(error) = space.check_rules() {
        presentable(&error);
    }
    let written = expected(json::to_pretty_bytes(&space));
    let again = expected(ActionSpace::from_json(&written));
    assert_eq!(space, again);
    assert_eq!(expected(space.digest()), expected(again.digest()));
    let named = space.job_types();
    for job_type in named.into_iter().take(2).chain(["code", ""]) {
        let valid = space.valid_actions(job_type);
        let step = valid.len().div_ceil(CHECKED).max(1);
        for action in valid.iter().step_by(step) {
            let Some(named) = space.named(*action) else {
                panic!("a valid action has no name");
            };
            assert_eq!(space.index(&named), Some(*action));
            checked(&space, job_type, &named);
        }
    }
}

/// A file of issues: bad lines are counted, and each of the others makes an input.
pub fn issues(bytes: &[u8]) {
    let read = parse_issues(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
    assert!(read.issues.len() as u64 + read.skipped <= lines);
    for issue in read.issues.iter().take(CHECKED) {
        assert_eq!(read.get(&issue.id), Some(issue));
        let input = expected(build_input(&InputRequest {
            issue,
            history: &History::new(Vec::new()),
            action_space: &ActionSpace::default(),
            universe_id: "unknown",
            universe_defaults: &Default::default(),
            system_state: None,
            now_ms: 1_770_109_200_000,
            similar: SIMILAR_RUNS,
            attempts: Attempts::OfIssue,
            decision: None,
            world_id: None,
        }));
        let text = expected(input.to_json());
        assert_eq!(input, expected(PlannerInput::from_json(text.as_bytes())));
    }
}

/// A file of recorded trials: written and read again it is the same, and can be replayed.
pub fn trials(bytes: &[u8]) {
    let trials = match Trials::parse(bytes) {
        Ok(trials) => trials,
        Err(error) => return presentable(&error),
    };
    let mut lines = Vec::new();
    for trial in trials.as_slice() {
        match serde_json::to_vec(trial) {
            Ok(line) => lines.extend([&line[..], b"\n"].concat()),
            Err(error) => panic!("a trial cannot be written: {error}"),
        }
    }
    let again = expected(Trials::parse(&lines));
    assert_eq!(trials.as_slice(), again.as_slice());
    assert_eq!(again.duplicates(), 0);
    let space = ActionSpace::default();
    if trials.as_slice().is_empty() {
        return;
    }
    let replay = expected(Replay::new(&trials, &trials.toolchains(), 7));
    for trial in trials.as_slice().iter().take(CHECKED) {
        for action in space.valid_actions("code") {
            if let Some(action) = space.named(action) {
                let _ = replay.outcome(&trial.issue_id, &action);
            }
        }
    }
}

/// Whether the checker, which shares no code with the planner, finds nothing.
fn checked(space: &ActionSpace, job_type: &str, action: &NamedAction) {
    let values = (serde_json::to_value(space), serde_json::to_value(action));
    let (Ok(space), Ok(action)) = values else {
        panic!("a space or an action cannot be written");
    };
    let violations = action_violations(&space, job_type, &action);
    assert!(violations.is_empty(), "{violations:?}");
}

fn expected<T>(result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("accepted, and then refused: {error:?}"),
    }
}
