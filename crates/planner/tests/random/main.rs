//! A million decisions on anything: no panic, no invalid action, every reason counted.
//!
//! Every input goes through the features and the forward pass of a real bundle, a share of them as
//! mutated bytes through the reader, another through the tokens and a token bundle on an engine.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod checks;
mod documents;
mod inputs;
mod models;
#[path = "../bundle/scene.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod scene;
mod spaces;
#[path = "../deciding/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::thread;

use amphora_planner::contracts::PlannerInput;
use amphora_planner::decide::Reason;

use checks::violations;
use models::{Crew, Files};
use support::{Random, input};

const PARTS: u64 = 4;
const DECISIONS_OF_A_PART: u64 = 250_000;

/// How the inputs of one part fared.
#[derive(Debug, Default)]
struct Tally {
    reasons: BTreeMap<Option<Reason>, u64>,
    /// Documents that were read, and those that were refused.
    read: u64,
    refused: u64,
    /// Inputs that the token bundle was asked about.
    tokens: u64,
}

fn decide_at_random(seed: u64, files: &Files) -> Tally {
    let mut random = Random(seed);
    let crew = Crew::new(files);
    let mut tally = Tally::default();
    let mut input = input("code");
    for round in 0..DECISIONS_OF_A_PART {
        inputs::refill(&mut random, &mut input);
        let read;
        let mut asked = &input;
        if random.below(4) == 0 {
            let bytes = documents::mutated(&mut random, &input);
            match PlannerInput::from_json(&bytes) {
                Ok(document) => {
                    tally.read += 1;
                    read = document;
                    asked = &read;
                }
                Err(error) => {
                    tally.refused += 1;
                    assert!(!error.rule().is_empty());
                }
            }
        }
        let baseline = inputs::baseline(&mut random);
        let (decision, tokens) = crew.decide(&mut random, asked, &baseline);
        tally.tokens += u64::from(tokens);
        let wrong = violations(&decision, asked, &baseline);
        assert!(wrong.is_empty(), "{seed}/{round}: {wrong:?}\n{decision:#?}");
        *tally.reasons.entry(decision.reason).or_default() += 1;
    }
    for (reason, count) in &tally.reasons {
        assert_eq!(crew.count(*reason), *count, "{reason:?}");
    }
    tally
}

#[test]
fn a_million_decisions_keep_every_rule() {
    let scratch = tempfile::tempdir().unwrap();
    let files = &Files::write(scratch.path());
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let part = |seed| scope.spawn(move || decide_at_random(seed, files));
        let parts: Vec<_> = (0..PARTS).map(part).collect();
        parts.into_iter().map(|part| part.join().unwrap()).collect()
    });
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let counted = |reason: Option<Reason>| {
        let of = |tally: &Tally| tally.reasons.get(&reason).copied().unwrap_or(0);
        tallies.iter().map(of).sum::<u64>()
    };
    let counts: BTreeMap<&str, u64> = Reason::ALL
        .iter()
        .map(|reason| (reason.code(), counted(Some(*reason))))
        .collect();
    assert_eq!(counts.len(), 14);
    assert!(counts.values().all(|count| *count > 0), "{counts:#?}");
    let total = counts.values().sum::<u64>() + counted(None);
    assert_eq!(total, 1_000_000);
    let (read, refused) = (sum(|tally| tally.read), sum(|tally| tally.refused));
    assert!(read > 10_000 && refused > 10_000, "{read} {refused}");
    let tokens = sum(|tally| tally.tokens);
    assert!(
        tokens >= 50_000 || cfg!(not(feature = "engines")),
        "{tokens}"
    );
    assert!(counted(None) > 50_000, "{}", counted(None));
}
