//! What PyTorch wrote, with the graphs as PyTorch exported them.

use amphora_runtime::generation::{Finish, GenerationOptions, Prompt};

use crate::common::engines;
use crate::scene::{Recorded, difference, generator, graphs};

/// Largest difference from PyTorch, relative to the largest logit.
const TOLERANCE: f32 = 1e-5;

#[test]
fn sixty_four_greedy_tokens_are_the_recorded_ones() {
    let Some(graphs) = graphs() else { return };
    let recorded = Recorded::read();
    let expected = recorded.ids("greedy_tokens");
    for engine in engines() {
        let mut generator = generator(&graphs, &engine);
        let prompt = Prompt {
            tokens: recorded.prompt(),
            ..Prompt::default()
        };
        let options = GenerationOptions {
            max_new_tokens: expected.len(),
            ..GenerationOptions::default()
        };
        let mut seen = Vec::new();
        let written = generator
            .generate(vec![prompt], &options, &mut |step| {
                seen.extend(step.token);
                Ok(())
            })
            .unwrap();
        assert_eq!(written[0].token_ids, expected, "{}", engine.name());
        assert_eq!(seen, expected, "{}", engine.name());
        assert_eq!(written[0].finish_reason, Finish::MaxNewTokens);
        assert_eq!(written[0].prompt_tokens, 37);
        assert_eq!(written[0].new_tokens, 64);
    }
}

#[test]
fn the_logits_of_every_step_are_the_recorded_ones() {
    let Some(graphs) = graphs() else { return };
    let recorded = Recorded::read();
    let tokens = recorded.ids("greedy_tokens");
    let steps = recorded.rows("greedy_step_logits");
    for engine in engines() {
        let mut generator = generator(&graphs, &engine);
        let prompt = recorded.prompt();
        let mut batch = generator.start(&[&prompt], tokens.len()).unwrap();
        for (number, (token, expected)) in tokens.iter().zip(&steps).enumerate() {
            let worst = difference(batch.logits(0).unwrap(), expected);
            assert!(
                worst < TOLERANCE,
                "step {number} on {}: {worst}",
                engine.name()
            );
            batch.advance(&[Some(*token)]).unwrap();
        }
    }
}

#[test]
fn a_batch_that_is_filled_up_on_the_left_gives_the_recorded_logits() {
    let Some(graphs) = graphs() else { return };
    let recorded = Recorded::read();
    let ids = recorded.ids("padded_input_ids");
    let expected = recorded.rows("padded_logits_last");
    let (long, short) = ids.split_at(37);
    for engine in engines() {
        let mut generator = generator(&graphs, &engine);
        let batch = generator.start(&[long, &short[5..]], 0).unwrap();
        for row in [0, 1] {
            let worst = difference(batch.logits(row).unwrap(), expected[row]);
            assert!(worst < TOLERANCE, "row {row} on {}: {worst}", engine.name());
        }
    }
}
