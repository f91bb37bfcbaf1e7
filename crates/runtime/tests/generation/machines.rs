//! Finite-state machines over tokens.

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::Result;
use amphora_runtime::generation::{
    Constraint, Finish, Forced, GenerationOptions, Progress, Prompt, State, TokenMachine,
    ValueTree, fixed_tokens,
};

use crate::common::engines;
use crate::scene::{Numbers, best, generator, graphs};

/// A vocabulary of a few strings; text is cut into the longest from its left, and has no
/// tokens when a character is not among them.
const VOCABULARY: [&str; 19] = [
    "\n", "a", "b", "bpm", ":", " ", "1", "2", "3", "12", " 1", "pm", "C", " C", " major",
    " minor", "`", "<think>", "é",
];

fn token(text: &str) -> u32 {
    VOCABULARY.iter().position(|word| *word == text).unwrap() as u32
}

fn encode(text: &str) -> Result<Vec<u32>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let fitting = VOCABULARY.iter().filter(|word| rest.starts_with(**word));
        let Some(word) = fitting.max_by_key(|word| word.len()) else {
            return Ok(Vec::new());
        };
        tokens.push(token(word));
        rest = &rest[word.len()..];
    }
    Ok(tokens)
}

fn decode(tokens: &[u32]) -> String {
    tokens.iter().map(|&t| VOCABULARY[t as usize]).collect()
}

/// Writes with a model that likes every token at random.
fn write(machine: &TokenMachine, seed: u64, most: usize) -> (Vec<u32>, Progress) {
    let mut machine = machine.clone();
    let mut numbers = Numbers(seed);
    let mut tokens = Vec::new();
    while tokens.len() < most && machine.progress() != Progress::Ended {
        let mut logits: Vec<f32> = VOCABULARY
            .iter()
            .map(|_| numbers.below(1000) as f32)
            .collect();
        machine.mask(&mut logits).unwrap();
        let next = best(&logits);
        assert!(logits[next as usize].is_finite(), "nothing may come");
        machine.update(next).unwrap();
        tokens.push(next);
    }
    let progress = machine.progress();
    (tokens, progress)
}

#[test]
fn a_fixed_text_takes_the_longest_token_at_every_place() {
    let found = fixed_tokens("bpm: 12\n", &mut |text| encode(text)).unwrap();
    let expected = ["bpm", ":", " 1", "2", "\n"].map(token);
    assert_eq!(found, expected);
    // A character of two tokens is written by both.
    let mut apart = |text: &str| {
        Ok(match text {
            "x" => vec![7],
            "xy" => vec![7, 8],
            "é" => vec![1, 2],
            "éx" => vec![1, 2, 7],
            _ => vec![9; 3],
        })
    };
    assert_eq!(fixed_tokens("éx", &mut apart).unwrap(), [1, 2, 7]);
    let error = fixed_tokens("?", &mut |_| Ok(Vec::new())).unwrap_err();
    assert_eq!(error.rule(), "fixed-text");
}

#[test]
fn a_record_is_written_field_by_field() {
    let fixed = |text: &str| ValueTree::fixed(text, &mut |text| encode(text)).unwrap();
    let field = |name: &str, values: &[&str]| {
        let values: Vec<String> = values.iter().map(|&value| value.into()).collect();
        ValueTree::of_field(name, &values, &mut |text| encode(text)).unwrap()
    };
    let newline = token("\n");
    let states = vec![
        State::Values {
            values: fixed("<think>\nbpm:"),
            end: None,
            next: 1,
        },
        State::Values {
            values: field("bpm", &["12", "1", "123"]),
            end: Some(newline),
            next: 2,
        },
        State::Values {
            values: field("a", &["C major", "C minor"]),
            end: Some(newline),
            next: 3,
        },
        State::Free {
            blocked: BTreeSet::from([token("`")]),
            exits: BTreeMap::from([(newline, 4)]),
            forced: Some(Forced {
                after: 6,
                token: newline,
            }),
            may_end: false,
        },
        State::End,
    ];
    let machine = TokenMachine::new(states).unwrap();
    let mut texts = BTreeSet::new();
    for seed in 0..300 {
        let (tokens, progress) = write(&machine, seed, 100);
        assert_eq!(progress, Progress::Ended);
        let text = decode(&tokens);
        let rest = text.strip_prefix("<think>\nbpm:").unwrap();
        let (bpm, rest) = rest.split_once('\n').unwrap();
        assert!([" 12", " 1", " 123"].contains(&bpm), "{text:?}");
        let (key, free) = rest.split_once('\n').unwrap();
        assert!([" C major", " C minor"].contains(&key), "{text:?}");
        let free = free.strip_suffix('\n').unwrap();
        assert!(!free.contains(['`', '\n']), "{text:?}");
        texts.insert((bpm.to_owned(), key.to_owned()));
    }
    assert_eq!(texts.len(), 6, "every pair of values is written by some");
}

#[test]
fn what_may_not_come_is_refused() {
    let values = ValueTree::new([vec![1, 2], vec![1, 3]]).unwrap();
    let states = vec![
        State::Values {
            values,
            end: None,
            next: 1,
        },
        State::Free {
            blocked: BTreeSet::new(),
            exits: BTreeMap::new(),
            forced: None,
            may_end: true,
        },
    ];
    let mut machine = TokenMachine::new(states).unwrap();
    assert_eq!(machine.update(2).unwrap_err().rule(), "constraint-token");
    machine.update(1).unwrap();
    let mut logits = [0.0; 5];
    machine.mask(&mut logits).unwrap();
    let none = f32::NEG_INFINITY;
    assert_eq!(logits, [none, none, 0.0, 0.0, none]);
    assert_eq!(machine.progress(), Progress::Unfinished);
    machine.update(3).unwrap();
    assert_eq!((machine.state(), machine.progress()), (1, Progress::MayEnd));
}

#[test]
fn states_that_do_not_fit_are_refused_together() {
    let ambiguous = ValueTree::new([vec![1], vec![1, 2]]).unwrap();
    let states = vec![
        State::Values {
            values: ambiguous,
            end: None,
            next: 7,
        },
        State::Free {
            blocked: BTreeSet::new(),
            exits: BTreeMap::from([(1, 9)]),
            forced: Some(Forced { after: 1, token: 2 }),
            may_end: false,
        },
    ];
    let error = TokenMachine::new(states).unwrap_err();
    assert_eq!(error.rule(), "token-machine");
    assert_eq!(error.fault_list().len(), 4, "{error}");
    assert_eq!(
        TokenMachine::new(Vec::new()).unwrap_err().rule(),
        "token-machine"
    );
    assert_eq!(ValueTree::new([]).unwrap_err().rule(), "values");
    assert_eq!(ValueTree::new([vec![]]).unwrap_err().rule(), "value-empty");
}

#[test]
fn a_text_that_no_token_of_the_model_continues_is_an_error_or_ends() {
    let Some(graphs) = graphs() else { return };
    let mut generator = generator(&graphs, &engines()[0]);
    let nothing = |may_end| State::Free {
        blocked: (0..2048).collect(),
        exits: BTreeMap::new(),
        forced: None,
        may_end,
    };
    // A token that the model does not have.
    let foreign = State::Values {
        values: ValueTree::new([vec![3, 2048]]).unwrap(),
        end: None,
        next: 0,
    };
    let mut write = |state| {
        let prompt = Prompt {
            tokens: vec![5, 6],
            constraint: Some(Box::new(TokenMachine::new(vec![state]).unwrap())),
            ..Prompt::default()
        };
        let options = GenerationOptions::default();
        let texts = generator.generate(vec![prompt], &options, &mut |_| Ok(()));
        texts.map(|mut texts| texts.remove(0))
    };
    let text = write(nothing(true)).unwrap();
    assert_eq!((text.new_tokens, text.complete), (0, Some(true)));
    assert_eq!(text.finish_reason, Finish::Constraint);
    let error = write(nothing(false)).unwrap_err();
    assert_eq!(error.rule(), "constraint-dead-end");
    assert!(
        error.to_string().contains("no token of the model"),
        "{error}"
    );
    assert_eq!(write(foreign).unwrap_err().rule(), "constraint-dead-end");
}
