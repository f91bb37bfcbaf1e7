//! The replay of recorded trials: the reader's refusals, each sentence of the rule, and the same
//! answers as an independent program on the real recordings.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_planner::action_space::{ActionSpace, NamedAction};
use amphora_planner::contracts::{Bin, RunStatus};
use amphora_planner::replay::{
    MINUTE_COST, Plan, Replay, Run, TRIAL_SCHEMA, Trial, Trials, wall_ms,
};
use serde_json::{Value, json};

fn trial(toolchain: &str, name: &str, status: RunStatus, minutes: u64) -> Trial {
    Trial {
        schema_version: TRIAL_SCHEMA.to_owned(),
        issue_id: "i".to_owned(),
        toolchain: toolchain.to_owned(),
        trial: name.to_owned(),
        started_ms: 1_000,
        duration_ms: minutes * 60_000,
        status,
        all_passed: status == RunStatus::Success,
        gates: Vec::new(),
        fail_codes: match status {
            RunStatus::Success => Vec::new(),
            _ => vec![format!("code_{name}"), "shared".to_owned()],
        },
        cost_usd: None,
        tokens_in: None,
        tokens_out: None,
    }
}

fn action(swarm_id: &str, candidates: Option<u32>, minutes: Option<u32>) -> NamedAction {
    let bin = |count: Option<u32>| count.map_or(Bin::NotApplicable, Bin::Count);
    NamedAction {
        swarm_id: swarm_id.to_owned(),
        max_candidates_bin: bin(candidates),
        max_minutes_bin: bin(minutes),
        max_iterations_bin: Bin::NotApplicable,
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_faulty_line_is_refused_with_its_rule_and_number() {
    let healthy = serde_json::to_value(trial("a", "1", RunStatus::Success, 2)).unwrap();
    let with = |key: &str, value: Value| {
        let mut line = healthy.clone();
        line[key] = value;
        line.to_string()
    };
    let without = |key: &str| {
        let mut line = healthy.clone();
        line.as_object_mut().unwrap().remove(key);
        line.to_string()
    };
    let gate = |name: &str| json!({"name": name, "passed": true});
    let rows = [
        (with("schema_version", "other".into()), "trial-schema"),
        (with("surprise", 1.into()), "json"),
        (with("duration_ms", (-1).into()), "json"),
        (with("duration_ms", 1.5.into()), "json"),
        (with("status", "running".into()), "json"),
        (with("all_passed", false.into()), "trial-status"),
        (with("issue_id", "".into()), "trial-name"),
        (
            with("started_ms", 253_402_300_800_000_u64.into()),
            "trial-time",
        ),
        (with("started_ms", u64::MAX.into()), "trial-time"),
        (with("cost_usd", (-0.1).into()), "trial-cost"),
        (with("gates", json!([gate("x"), gate("x")])), "trial-gates"),
        (with("duration_ms", 7.into()), "trial-conflict"),
        (without("issue_id"), "json"),
        ("{".to_owned(), "json"),
        (String::new(), "json-empty"),
    ];
    amphora_testing::each(&rows, |(line, rule)| {
        let text = format!("{healthy}\n{line}\n{healthy}\n");
        match Trials::parse(text.as_bytes()) {
            Err(error) if error.rule() == *rule => {
                let place = error.item().unwrap_or_default();
                match place.starts_with("line 2") {
                    true => Ok(()),
                    false => Err(format!("at {place:?}")),
                }
            }
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn repeated_lines_count_once_and_order_does_not_matter() {
    let line = |name: &str| serde_json::to_string(&trial("a", name, RunStatus::Failed, 2)).unwrap();
    let (one, two) = (line("1"), line("2"));
    let once = Trials::parse(format!("{one}\n{two}").as_bytes()).unwrap();
    let twice = Trials::parse(format!("{two}\n{one}\n{two}\n").as_bytes()).unwrap();
    assert_eq!(once.as_slice(), twice.as_slice());
    assert_eq!((once.duplicates(), twice.duplicates()), (0, 1));
    assert!(Trials::parse(b"").unwrap().as_slice().is_empty());
}

#[test]
fn each_sentence_of_the_rule() {
    use RunStatus::{Failed, Success, Timeout};
    let trials = Trials::new(vec![
        trial("slow", "s", Success, 20),
        trial("quick", "q", Failed, 3),
        trial("middle", "m", Success, 8),
        trial("dead", "d", Timeout, 6),
    ])
    .unwrap();
    let serial = |minutes| action("serial_handoff", Some(1), minutes);
    let vote = |candidates, minutes| action("speculate_vote", candidates, minutes);
    // Toolchains, action; passed, timed out, wall minutes, agent minutes, runs, fail codes.
    let rows = [
        (vec!["slow"], serial(None), (true, false, 20, 20, 1), vec![]),
        // A run as long as the cap is within it, a longer one is a timeout at the cap.
        (
            vec!["slow"],
            serial(Some(20)),
            (true, false, 20, 20, 1),
            vec![],
        ),
        (
            vec!["slow"],
            serial(Some(15)),
            (false, true, 15, 15, 1),
            vec![],
        ),
        (
            vec!["quick"],
            serial(Some(15)),
            (false, false, 3, 3, 1),
            vec!["code_q", "shared"],
        ),
        // The second toolchain does not run in a serial handoff.
        (
            vec!["quick", "slow"],
            serial(None),
            (false, false, 3, 3, 1),
            vec!["code_q", "shared"],
        ),
        // Wall: the first run that passes. Cost: all of them.
        (
            vec!["slow", "quick", "middle"],
            vote(Some(3), None),
            (true, false, 8, 31, 3),
            vec![],
        ),
        // One passes while another is cut: no timeout, but the agents would have taken longer.
        (
            vec!["slow", "middle"],
            vote(Some(2), Some(10)),
            (true, false, 8, 18, 2),
            vec![],
        ),
        // Without a number, the default parallelism of two.
        (
            vec!["slow", "quick", "middle"],
            vote(None, None),
            (true, false, 20, 23, 2),
            vec![],
        ),
        // None passes: the longest counts, and it was cut.
        (
            vec!["slow", "quick"],
            vote(Some(2), Some(5)),
            (false, true, 5, 8, 2),
            vec!["code_q", "shared"],
        ),
        // The longest ended by itself, a shorter one by its own limit.
        (
            vec!["quick", "dead"],
            vote(Some(2), None),
            (false, true, 6, 9, 2),
            vec!["code_q", "shared", "code_d"],
        ),
        // Fewer recorded than asked for.
        (
            vec!["quick"],
            vote(Some(3), None),
            (false, false, 3, 3, 1),
            vec!["code_q", "shared"],
        ),
    ];
    amphora_testing::each(&rows, |(toolchains, action, wanted, codes)| {
        let replay = Replay::new(&trials, &names(toolchains), 7).unwrap();
        let outcome = replay.outcome("i", action).unwrap();
        let found = (
            outcome.passed,
            outcome.timed_out,
            outcome.wall_ms / 60_000,
            outcome.agent_ms / 60_000,
            outcome.runs,
        );
        if found != *wanted || outcome.fail_codes != *codes {
            return Err(format!("{outcome:?}"));
        }
        let runs = replay.runs("i", action);
        if outcome.cut != runs.iter().any(|run| run.status == Timeout) {
            return Err(format!("{runs:?} {outcome:?}"));
        }
        let utility =
            f64::from(u8::from(wanted.0)) - 0.02 * f64::from(u32::try_from(wanted.3).unwrap());
        if wall_ms(&runs) != outcome.wall_ms
            || (outcome.utility(MINUTE_COST) - utility).abs() > 1e-12
        {
            return Err(format!("{runs:?} {}", outcome.utility(MINUTE_COST)));
        }
        Ok(())
    });
}

#[test]
fn what_is_not_recorded_has_no_outcome() {
    let trials = Trials::new(vec![trial("a", "1", RunStatus::Success, 2)]).unwrap();
    let replay = Replay::new(&trials, &names(&["a"]), 7).unwrap();
    let iterated = NamedAction {
        max_iterations_bin: Bin::Count(2),
        ..action("serial_handoff", Some(1), None)
    };
    let rows = [
        ("other", action("serial_handoff", Some(1), None)),
        ("i", action("tournament", Some(2), None)),
        ("i", action("serial_handoff", Some(2), None)),
        ("i", action("speculate_vote", Some(0), None)),
        ("i", iterated),
    ];
    amphora_testing::each(&rows, |(issue, action)| {
        match (
            replay.outcome(issue, action),
            replay.runs(issue, action).len(),
        ) {
            (None, 0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let refused = [
        (names(&[]), "toolchains-empty"),
        (names(&["a", "a"]), "toolchain-duplicate"),
        (names(&["a", "b"]), "toolchain-unknown"),
    ];
    amphora_testing::each(&refused, |(toolchains, rule)| {
        match Replay::new(&trials, toolchains, 7) {
            Err(error) if error.rule() == *rule => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn one_toolchain_gives_different_trials_and_seeds_give_different_draws() {
    let trials: Vec<_> = (1..=5)
        .map(|minutes| trial("a", &minutes.to_string(), RunStatus::Failed, minutes))
        .collect();
    let trials = Trials::new(trials).unwrap();
    let mut first = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let replay = Replay::new(&trials, &names(&["a"]), seed).unwrap();
        let runs = replay.runs("i", &action("speculate_vote", Some(5), None));
        let mut drawn: Vec<_> = runs.iter().map(|run| run.trial).collect();
        first.insert(drawn[0]);
        // The serial run is the first of the speculative ones: policies are compared on one draw.
        assert_eq!(
            replay.runs("i", &action("serial_handoff", Some(1), None)),
            runs[..1]
        );
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 1, 2, 3, 4]);
    }
    assert_eq!(first.len(), 5);
}

/// The rule of the recordings' README, written again in another language.
const REFERENCE: &str = r#"
import hashlib, itertools, json, sys
path, order, seed = sys.argv[1], sys.argv[2].split(","), sys.argv[3]
trials = sorted({line.strip() for line in open(path)})
trials = sorted(map(json.loads, trials), key=lambda t: (t["started_ms"], t["issue_id"], t["toolchain"], t["trial"]))
for issue in sorted({t["issue_id"] for t in trials}):
    pools = {name: [t for t in trials if (t["issue_id"], t["toolchain"]) == (issue, name)] for name in order}
    drawn = []
    while any(pools.values()) and len(drawn) < 3:
        for name in order:
            if pools[name]:
                digest = hashlib.sha256(f"{seed}\n{issue}\n{name}\n{len(drawn)}".encode()).digest()
                drawn.append(pools[name].pop(int.from_bytes(digest[:8], "big") % len(pools[name])))
    for runs, cap in itertools.product((1, 2, 3), (2, 5, 10, 15, 30, None)):
        ends = [(t["all_passed"] and (cap is None or t["duration_ms"] <= cap * 60000),
                 t["duration_ms"] if cap is None else min(t["duration_ms"], cap * 60000)) for t in drawn[:runs]]
        passed = [ms for ok, ms in ends if ok]
        wall = min(passed) if passed else max(ms for _, ms in ends)
        print(issue, runs, cap, int(bool(passed)), wall, sum(ms for _, ms in ends))
"#;

#[test]
fn the_recordings_replay_as_an_independent_program_says() {
    let Some(folder) = amphora_testing::data("agent_trials") else {
        return;
    };
    let trials = Trials::read(folder.join("trials.jsonl")).unwrap();
    assert_eq!((trials.as_slice().len(), trials.duplicates()), (2_321, 34));
    let space =
        ActionSpace::from_json(&std::fs::read(folder.join("action_space.json")).unwrap()).unwrap();
    let actions = space.valid_actions("code");
    assert_eq!(actions.len(), 18);
    let Some(python) = amphora_testing::peer("hashlib", None) else {
        return;
    };
    let orders = [
        vec!["droid_claude-4-sonnet"],
        vec![
            "cursor-cli_claude-4-sonnet",
            "droid_claude-4-1-opus",
            "orchestrator_qwen-3-coder-480B",
        ],
    ];
    let path = folder.join("trials.jsonl");
    for (order, seed) in orders
        .iter()
        .flat_map(|order| [0, 42].map(|seed| (order, seed)))
    {
        let replay = Replay::new(&trials, &names(order), seed).unwrap();
        let printed = python.run(
            REFERENCE,
            &[&path.to_string_lossy(), &order.join(","), &seed.to_string()],
        );
        let mut answers = 0;
        for line in printed.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let runs: u32 = words[1].parse().unwrap();
            let swarm = if runs == 1 {
                "serial_handoff"
            } else {
                "speculate_vote"
            };
            let action = action(swarm, Some(runs), words[2].parse().ok());
            let outcome = replay.outcome(words[0], &action).unwrap();
            let found = format!(
                "{} {} {}",
                u8::from(outcome.passed),
                outcome.wall_ms,
                outcome.agent_ms
            );
            assert_eq!(found, words[3..].join(" "), "{line}");
            answers += 1;
        }
        assert_eq!(answers, 60 * actions.len());
    }
}

#[test]
fn a_plan_is_runs_and_a_cap() {
    let plan = Plan::of(&action("speculate_vote", Some(3), Some(15))).unwrap();
    assert_eq!((plan.runs, plan.cap_ms), (3, Some(900_000)));
    let trials = Trials::new(vec![trial("a", "1", RunStatus::Success, 2)]).unwrap();
    assert_eq!(Run::cut(&trials, 1, None), None);
}
