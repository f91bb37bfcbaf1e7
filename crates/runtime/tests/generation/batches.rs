//! Texts do not depend on how they are fed.

use amphora_runtime::generation::{Finish, GenerationOptions, Prompt};

use crate::common::engines;
use crate::scene::{Numbers, best, difference, generator, generator_of, graphs, manifest};

/// Largest difference between two ways to the same logits, relative to the largest logit.
const TOLERANCE: f32 = 1e-5;

fn prompt(tokens: &[u32]) -> Prompt<'static> {
    Prompt {
        tokens: tokens.to_vec(),
        ..Prompt::default()
    }
}

#[test]
fn reading_n_tokens_and_one_more_is_reading_n_plus_one() {
    let Some(graphs) = graphs() else { return };
    let mut numbers = Numbers(7);
    for engine in engines() {
        let mut generator = generator(&graphs, &engine);
        for _ in 0..12 {
            let length = 2 + numbers.below(60);
            let whole = numbers.prompt(length);
            let at = 1 + numbers.below(length - 1) as usize;
            let expected = generator.start(&[&whole], 0).unwrap();
            let expected = expected.logits(0).unwrap().to_vec();
            let mut batch = generator.start(&[&whole[..at]], whole.len()).unwrap();
            for token in &whole[at..] {
                batch.advance(&[Some(*token)]).unwrap();
            }
            let worst = difference(batch.logits(0).unwrap(), &expected);
            assert!(
                worst < TOLERANCE,
                "{at} of {length} on {}: {worst}",
                engine.name()
            );
        }
    }
}

#[test]
fn ragged_prompts_together_give_what_each_gives_alone() {
    let Some(graphs) = graphs() else { return };
    let mut numbers = Numbers(11);
    let prompts: Vec<Vec<u32>> = [1, 9, 40, 23, 2]
        .iter()
        .map(|&length| numbers.prompt(length))
        .collect();
    let options = GenerationOptions {
        max_new_tokens: 24,
        ..GenerationOptions::default()
    };
    for engine in engines() {
        let mut generator = generator(&graphs, &engine);
        let together = prompts.iter().map(|tokens| prompt(tokens)).collect();
        let together = generator
            .generate(together, &options, &mut |_| Ok(()))
            .unwrap();
        for (tokens, together) in prompts.iter().zip(together) {
            let alone = generator
                .generate(vec![prompt(tokens)], &options, &mut |_| Ok(()))
                .unwrap();
            assert_eq!(alone[0], together, "on {}", engine.name());
        }
    }
}

#[test]
fn each_text_of_a_batch_stops_on_its_own() {
    let Some(graphs) = graphs() else { return };
    let mut numbers = Numbers(3);
    let prompts: Vec<Vec<u32>> = [5, 12, 30].map(|length| numbers.prompt(length)).into();
    let options = GenerationOptions {
        max_new_tokens: 20,
        ..GenerationOptions::default()
    };
    for engine in engines() {
        let all = |generator: &mut amphora_runtime::generation::Generator| {
            let prompts = prompts.iter().map(|tokens| prompt(tokens)).collect();
            let mut steps = Vec::new();
            let texts = generator
                .generate(prompts, &options, &mut |step| {
                    steps.push((step.row, step.token));
                    Ok(())
                })
                .unwrap();
            (texts, steps)
        };
        let (free, _) = all(&mut generator(&graphs, &engine));
        // A token of the first text that comes after its first place becomes a stop token.
        let first = free[0].token_ids[0];
        let stop = free[0].token_ids.iter().find(|token| **token != first);
        let stop = *stop.unwrap_or(&first);
        let mut manifest = manifest();
        manifest.stop_token_ids = vec![stop];
        let (stopped, steps) = all(&mut generator_of(&graphs, &engine, &manifest));
        assert_eq!(stopped[0].finish_reason, Finish::StopToken);
        for (row, (free, stopped)) in free.iter().zip(&stopped).enumerate() {
            let end = free.token_ids.iter().position(|token| *token == stop);
            let expected = end.map_or(&free.token_ids[..], |end| &free.token_ids[..=end]);
            assert_eq!(stopped.token_ids, expected, "text {row}");
            let streamed: Vec<u32> = steps
                .iter()
                .filter(|(of, _)| *of == row)
                .filter_map(|(_, token)| *token)
                .collect();
            assert_eq!(streamed, expected, "text {row}");
        }
    }
}

#[test]
fn the_context_is_never_exceeded() {
    let Some(graphs) = graphs() else { return };
    let engine = &engines()[0];
    let mut manifest = manifest();
    manifest.context_length = Some(12);
    let mut generator = generator_of(&graphs, engine, &manifest);
    let mut numbers = Numbers(5);
    let options = GenerationOptions::default();
    for length in [12, 11, 8] {
        let tokens = numbers.prompt(length);
        let written = generator
            .generate(vec![prompt(&tokens)], &options, &mut |_| Ok(()))
            .unwrap();
        assert_eq!(written[0].finish_reason, Finish::ContextLength);
        assert_eq!(written[0].new_tokens, 12 - length as usize);
    }
    let tokens = numbers.prompt(13);
    let error = generator.start(&[&tokens], 0).unwrap_err();
    assert_eq!(error.rule(), "prompts");
}

#[test]
fn greedy_choice_is_the_best_logit() {
    let Some(graphs) = graphs() else { return };
    let engine = &engines()[0];
    let mut generator = generator(&graphs, engine);
    let tokens = Numbers(9).prompt(17);
    let options = GenerationOptions {
        max_new_tokens: 8,
        ..GenerationOptions::default()
    };
    let written = generator
        .generate(vec![prompt(&tokens)], &options, &mut |_| Ok(()))
        .unwrap();
    let mut batch = generator.start(&[&tokens], 8).unwrap();
    for token in &written[0].token_ids {
        assert_eq!(best(batch.logits(0).unwrap()), *token);
        batch.advance(&[Some(*token)]).unwrap();
    }
}
