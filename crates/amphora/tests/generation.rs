//! Language models that were exported here write what PyTorch wrote, on every engine.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use amphora_bundle::manifest::Generation;
use amphora_checkpoint::Checkpoint;
use amphora_checkpoint::architecture::{Architecture, GraphRole};
use amphora_export::{ExportOptions, export_graph};
use amphora_onnx::Model;
use amphora_runtime::generation::{Batch, Finish, Generated, GenerationOptions, Generator, Prompt};
use amphora_runtime::{
    Engine, EngineChoice, OrtLocation, Session, SessionOptions, Tensor, engine, read_safetensors,
};
use amphora_testing::{each, fixture};

/// A model directory, and the name of its recorded prompt.
const MODELS: [(&str, &str); 3] = [
    ("gpt2_tiny", "input_ids"),
    ("llama_tiny", "input_ids"),
    ("qwen3_tiny", "prompt_ids"),
];

struct Scene {
    graphs: [Model; 2],
    recorded: BTreeMap<String, Tensor>,
}

impl Scene {
    fn open(name: &str) -> Option<Self> {
        let folder = fixture(name)?;
        let config = amphora_files::json::read(folder.join("config.json")).unwrap();
        let architecture = Architecture::from_config(&config).unwrap();
        let limits = amphora_checkpoint::Limits::default();
        let checkpoint = Checkpoint::open(folder.clone(), &limits).unwrap();
        let graphs = [GraphRole::Prefill, GraphRole::Decode].map(|role| {
            let options = ExportOptions::default();
            let proto = export_graph(&architecture, &checkpoint, role, &options).unwrap();
            Model::from_proto(proto, &amphora_onnx::Limits::default()).unwrap()
        });
        Some(Self {
            graphs,
            recorded: read_safetensors(folder.join("vectors.safetensors"), 1 << 30).unwrap(),
        })
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        let ids = self.recorded[name].as_slice::<i64>().unwrap();
        ids.iter().map(|&id| id.try_into().unwrap()).collect()
    }

    fn generator(&self, engine: &Arc<dyn Engine>) -> Generator {
        self.generator_within(engine, None)
    }

    fn generator_within(&self, engine: &Arc<dyn Engine>, context: Option<u64>) -> Generator {
        self.generator_of(engine, context, None)
    }

    fn generator_of(
        &self,
        engine: &Arc<dyn Engine>,
        context: Option<u64>,
        positions: Option<u32>,
    ) -> Generator {
        let session =
            |model| Session::new(model, engine.clone(), &SessionOptions::default(), None).unwrap();
        let manifest = Generation {
            prefill: "prefill".into(),
            decode: "decode".into(),
            context_length: context,
            positions_per_call: positions.and_then(NonZeroU32::new),
            stop_token_ids: Vec::new(),
            pad_token_id: None,
            chat_template: None,
            sampling: None,
        };
        let [prefill, decode] = self.graphs.each_ref().map(session);
        Generator::new(prefill, decode, &manifest).unwrap()
    }
}

fn engines() -> Vec<Arc<dyn Engine>> {
    let ort = amphora_testing::peer("onnxruntime", None).map(|peer| {
        let location = OrtLocation {
            python: vec![peer.onnxruntime_packages()],
            ..OrtLocation::default()
        };
        engine(EngineChoice::Ort, &location).unwrap()
    });
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    [Some(rten), ort].into_iter().flatten().collect()
}

fn write(generator: &mut Generator, prompts: &[&[u32]], tokens: usize) -> Vec<Generated> {
    let prompts = prompts.iter().map(|prompt| Prompt {
        tokens: prompt.to_vec(),
        ..Prompt::default()
    });
    let options = GenerationOptions {
        max_new_tokens: tokens,
        ..GenerationOptions::default()
    };
    generator
        .generate(prompts.collect(), &options, &mut |_| Ok(()))
        .unwrap()
}

#[test]
fn greedy_tokens_are_pytorchs_alone_and_in_a_ragged_batch() {
    let engines = engines();
    each(&MODELS, |(name, prompt)| {
        let Some(scene) = Scene::open(name) else {
            return Ok(());
        };
        let prompt = scene.ids(prompt);
        let expected = scene.ids("greedy_tokens");
        for engine in &engines {
            let mut generator = scene.generator(engine);
            let alone = write(&mut generator, &[&prompt], expected.len());
            if alone[0].token_ids != expected {
                return Err(format!("{}: {:?}", engine.name(), alone[0].token_ids));
            }
            let short = write(&mut generator, &[&prompt[..5]], 20);
            let both = write(&mut generator, &[&prompt[..5], &prompt], 20);
            if both[0] != short[0] || both[1].token_ids != expected[..20] {
                return Err(format!("{} in a batch: {both:?}", engine.name()));
            }
        }
        Ok(())
    });
}

#[test]
fn no_step_copies_the_cache() {
    let engines = engines();
    each(&MODELS, |(name, prompt)| {
        let Some(scene) = Scene::open(name) else {
            return Ok(());
        };
        let prompt = scene.ids(prompt);
        for engine in &engines {
            let mut generator = scene.generator(engine);
            let mut batch = generator.start(&[&prompt], 16).unwrap();
            batch.advance(&[Some(1)]).unwrap();
            let first = batch.cache().copied_bytes();
            for _ in 1..16 {
                batch.advance(&[Some(1)]).unwrap();
            }
            let all = batch.cache().copied_bytes();
            if all != first {
                return Err(format!("{}: {first} and then {all} bytes", engine.name()));
            }
        }
        Ok(())
    });
}

/// Numbers that look random, the same every day.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        let state = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = state.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn tokens(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(900) as u32).collect()
    }
}

fn logits(batch: &Batch<'_>) -> Vec<Vec<f32>> {
    let rows = 0..batch.rows();
    rows.map(|row| batch.logits(row).unwrap().to_vec())
        .collect()
}

/// Largest difference between two ways to the same logits, relative to the largest logit.
const TOLERANCE: f32 = 1e-5;

#[test]
fn reading_n_tokens_and_one_more_is_reading_n_plus_one() {
    let engines = engines();
    each(&MODELS, |(name, _)| {
        let Some(scene) = Scene::open(name) else {
            return Ok(());
        };
        for engine in &engines {
            let mut generator = scene.generator(engine);
            let mut numbers = Numbers(29);
            for _ in 0..6 {
                // The shorter text is filled up on its left.
                let texts = [2 + numbers.below(100), 2 + numbers.below(30)];
                let texts = texts.map(|length| numbers.tokens(length));
                let shorter = texts[0].len().min(texts[1].len());
                let steps = 1 + numbers.below(shorter - 1);
                let begun = texts.each_ref().map(|text| &text[..text.len() - steps]);
                let whole = texts.each_ref().map(Vec::as_slice);
                let expected = logits(&generator.start(&whole, 0).unwrap());
                let mut batch = generator.start(&begun, steps).unwrap();
                for step in (1..=steps).rev() {
                    let next = texts.each_ref().map(|text| Some(text[text.len() - step]));
                    batch.advance(&next).unwrap();
                }
                for (found, expected) in logits(&batch).iter().zip(&expected) {
                    let largest = |values: &mut dyn Iterator<Item = f32>| {
                        values.fold(0.0, |most: f32, v| if v.is_nan() { v } else { most.max(v) })
                    };
                    let scale = largest(&mut expected.iter().map(|value| value.abs()));
                    let pairs = found.iter().zip(expected);
                    let worst = largest(&mut pairs.map(|(a, b)| (a - b).abs())) / scale;
                    if worst.is_nan() || worst > TOLERANCE {
                        let lengths = texts.each_ref().map(Vec::len);
                        let engine = engine.name();
                        return Err(format!(
                            "{engine}, {steps} of {lengths:?} in steps: {worst}"
                        ));
                    }
                }
            }
        }
        Ok(())
    });
}

/// Largest difference of two sets of logits, relative to the largest of the second.
fn furthest(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    let largest = |values: &mut dyn Iterator<Item = f32>| {
        values.fold(0.0, |most: f32, v| if v.is_nan() { v } else { most.max(v) })
    };
    let rows = found.iter().zip(expected).map(|(found, expected)| {
        assert_eq!(found.len(), expected.len());
        let scale = largest(&mut expected.iter().map(|value| value.abs()));
        let pairs = found.iter().zip(expected);
        largest(&mut pairs.map(|(a, b)| (a - b).abs())) / scale
    });
    largest(&mut rows.into_iter())
}

#[test]
fn a_prompt_in_parts_is_the_prompt() {
    let engines = engines();
    each(&MODELS, |(name, _)| {
        let Some(scene) = Scene::open(name) else {
            return Ok(());
        };
        let mut numbers = Numbers(37);
        let (long, short) = (numbers.tokens(90), numbers.tokens(13));
        for engine in &engines {
            let mut whole = scene.generator(engine);
            let whole = logits(&whole.start(&[&long, &short], 8).unwrap());
            for positions in [1, 2, 50, 178, 179, 180] {
                let mut parts = scene.generator_of(engine, None, Some(positions));
                let mut parts = parts.start(&[&long, &short], 8).unwrap();
                let worst = furthest(&logits(&parts), &whole);
                if worst.is_nan() || worst > TOLERANCE {
                    return Err(format!("{}, {positions} positions: {worst}", engine.name()));
                }
                parts.advance(&[Some(1), Some(2)]).unwrap();
                assert_eq!(parts.cache().positions(), 91);
            }
        }
        Ok(())
    });
}

/// GPT-2 has learned 128 positions: a text that started later reaches none beyond, whatever the others
/// of its batch have reached.
#[test]
fn a_short_text_beside_a_long_one_has_all_of_the_context() {
    let Some(scene) = Scene::open("gpt2_tiny") else {
        return;
    };
    let mut numbers = Numbers(31);
    let (long, short) = (numbers.tokens(120), numbers.tokens(7));
    for engine in &engines() {
        let mut generator = scene.generator_within(engine, Some(128));
        let both = write(&mut generator, &[&long, &short], 60);
        assert_eq!(both[0].finish_reason, Finish::ContextLength);
        assert_eq!((both[0].new_tokens, both[1].new_tokens), (8, 60));
        for (text, prompt) in both.iter().zip([&long, &short]) {
            let alone = write(&mut generator, &[prompt], 60);
            assert_eq!(alone[0], *text, "{}", engine.name());
        }
    }
}
