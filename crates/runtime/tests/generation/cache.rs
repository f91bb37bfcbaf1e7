//! The cache stays with the engine.

use std::sync::{Arc, Mutex};

use amphora_error::Result;
use amphora_onnx::Model;
use amphora_runtime::generation::{GenerationOptions, Prompt};
use amphora_runtime::{
    Cache, Engine, Executable, Fed, Link, Ran, SessionOptions, Tensor, UnsupportedOperator,
};

use crate::common::copying::Copying;
use crate::common::engines;
use crate::scene::{Numbers, Recorded, best, generator, generator_of, graphs, manifest, session};

/// Bytes of keys and values for one position: 3 layers, each 2 tensors of 4 heads of 16 numbers.
const POSITION: u64 = 3 * 2 * 4 * 16 * 4;

#[test]
fn the_kept_cache_gives_the_same_bits_as_the_copied_one() {
    let Some(graphs) = graphs() else { return };
    let prompt = Recorded::read().prompt();
    for engine in engines() {
        let copying: Arc<dyn Engine> = Arc::new(Copying(engine.clone()));
        let mut kept = generator(&graphs, &engine);
        let mut copied = generator(&graphs, &copying);
        let mut kept = kept.start(&[&prompt], 64).unwrap();
        let mut copied = copied.start(&[&prompt], 64).unwrap();
        for step in 0..64 {
            let logits = kept.logits(0).unwrap();
            let bits = |logits: &[f32]| logits.iter().map(|l| l.to_bits()).collect::<Vec<_>>();
            let same = bits(logits) == bits(copied.logits(0).unwrap());
            assert!(same, "step {step} on {}", engine.name());
            let token = best(logits);
            kept.advance(&[Some(token)]).unwrap();
            copied.advance(&[Some(token)]).unwrap();
        }
        // Out of the first call; into and out of each of the 64 that follow.
        let positions: u64 = 37 + (37..37 + 64).map(|past| past + past + 1).sum::<u64>();
        assert_eq!(copied.cache().copied_bytes(), positions * POSITION);
        assert_eq!(copied.cache().positions(), 37 + 64);
        assert_eq!(kept.cache().positions(), 37 + 64);
    }
}

#[test]
fn a_step_copies_nothing_when_there_is_room() {
    let Some(graphs) = graphs() else { return };
    let mut numbers = Numbers(1);
    let prompts: Vec<Vec<u32>> = [37, 20].map(|length| numbers.prompt(length)).into();
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    for engine in engines() {
        let mut generator = generator(&graphs, &engine);
        let mut batch = generator.start(&prompts, 27).unwrap();
        let mut copied = Vec::new();
        for _ in 0..27 {
            batch.advance(&[Some(5), Some(6)]).unwrap();
            copied.push(batch.cache().copied_bytes() / POSITION / 2);
        }
        let expected = match engine.name() {
            // The prompt, once, into the place with room for all 64 positions.
            "rten" => [37; 27],
            "ort" => [0; 27],
            _ => continue,
        };
        assert_eq!(copied, expected, "{}", engine.name());
    }
}

#[test]
fn room_doubles() {
    let Some(graphs) = graphs() else { return };
    let rten = &engines()[0];
    let mut generator = generator(&graphs, rten);
    let mut batch = generator.start(&[&Numbers(2).prompt(37)], 900).unwrap();
    let mut copied = vec![0];
    for _ in 0..300 {
        batch.advance(&[Some(5)]).unwrap();
        let now = batch.cache().copied_bytes() / POSITION;
        if copied.last() != Some(&now) {
            copied.push(now);
        }
    }
    // Room for 74 positions, for 150 and for 302, as it runs out.
    assert_eq!(copied, [0, 37, 37 + 74, 37 + 74 + 150, 37 + 74 + 150 + 302]);
}

/// An engine that notes for how many positions it is asked to have room.
#[derive(Debug)]
struct Watched(Arc<dyn Engine>, Arc<Mutex<Vec<usize>>>);

impl Engine for Watched {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn version(&self) -> String {
        self.0.version()
    }

    fn unsupported(&self, model: &Model) -> Vec<UnsupportedOperator> {
        self.0.unsupported(model)
    }

    fn load(&self, model: &Model, options: &SessionOptions) -> Result<Box<dyn Executable>> {
        let loaded = self.0.load(model, options)?;
        Ok(Box::new(WatchedModel(loaded, self.1.clone())))
    }
}

struct WatchedModel(Box<dyn Executable>, Arc<Mutex<Vec<usize>>>);

impl Executable for WatchedModel {
    fn run(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        self.0.run(inputs, outputs)
    }

    fn run_kept(
        &mut self,
        inputs: &[(&str, &Tensor)],
        fed: Vec<Fed>,
        outputs: &[&str],
        kept: &[&str],
    ) -> Result<Ran> {
        self.1
            .lock()
            .unwrap()
            .extend(fed.iter().map(|fed| fed.room));
        self.0.run_kept(inputs, fed, outputs, kept)
    }
}

#[test]
fn there_is_room_for_the_text_that_grows_for_longest() {
    let Some(graphs) = graphs() else { return };
    let rooms = Arc::default();
    let engine: Arc<dyn Engine> = Arc::new(Watched(engines().remove(0), Arc::clone(&rooms)));
    let mut manifest = manifest();
    manifest.context_length = Some(64);
    let mut generator = generator_of(&graphs, &engine, &manifest);
    let mut numbers = Numbers(6);
    let prompts = [60, 4].map(|length| Prompt {
        tokens: numbers.prompt(length),
        ..Prompt::default()
    });
    let options = GenerationOptions {
        max_new_tokens: 50,
        ..GenerationOptions::default()
    };
    let texts = generator.generate(prompts.into(), &options, &mut |_| Ok(()));
    let lengths: Vec<usize> = texts.unwrap().iter().map(|text| text.new_tokens).collect();
    assert_eq!(lengths, [4, 50]);
    let mut rooms = rooms.lock().unwrap().clone();
    rooms.dedup();
    // Room for all 110 positions from the first step on.
    assert_eq!(rooms, [110]);
}

#[test]
fn a_cache_of_one_engine_continues_on_another() {
    let Some([prefill, decode]) = graphs() else {
        return;
    };
    let engines = engines();
    let prompt = Recorded::read().prompt();
    let expected = Recorded::read().ids("greedy_tokens");
    let ids = |ids: &[i64]| Tensor::new([1, ids.len()], ids.to_vec()).unwrap();
    for first in &engines {
        for second in &engines {
            let mut reader = session(&prefill, first.clone());
            let mut writer = session(&decode, second.clone());
            let mut cache = Cache::new(Link::by_name(writer.contract()));
            let tokens: Vec<i64> = prompt.iter().map(|&token| token.into()).collect();
            let inputs = [
                ("input_ids", ids(&tokens)),
                ("attention_mask", ids(&[1; 37])),
                ("position_ids", ids(&(0..37).collect::<Vec<_>>())),
            ];
            let inputs = inputs.map(|(name, tensor)| (name.to_owned(), tensor));
            let outputs = reader.run_cached(&inputs.into(), &mut cache).unwrap();
            let names: Vec<&str> = outputs.iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["logits"]);
            let inputs = [
                ("input_ids", ids(&[expected[0].into()])),
                ("attention_mask", ids(&[1; 38])),
                ("position_ids", ids(&[37])),
            ];
            let inputs = inputs.map(|(name, tensor)| (name.to_owned(), tensor));
            let outputs = writer.run_cached(&inputs.into(), &mut cache).unwrap();
            let logits = outputs.get("logits").unwrap().as_slice::<f32>().unwrap();
            let pair = format!("{} to {}", first.name(), second.name());
            assert_eq!(best(logits), expected[1], "{pair}");
        }
    }
}

#[test]
fn a_cache_is_checked_like_any_input() {
    let Some([prefill, decode]) = graphs() else {
        return;
    };
    let rten = engines().remove(0);
    let mut reader = session(&prefill, rten.clone());
    let mut writer = session(&decode, rten);
    let ids = |ids: &[i64]| Tensor::new([1, ids.len()], ids.to_vec()).unwrap();
    let inputs = |tokens: &[i64], total: usize, positions: &[i64]| {
        [
            ("input_ids", ids(tokens)),
            ("attention_mask", ids(&vec![1; total])),
            ("position_ids", ids(positions)),
        ]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into()
    };
    let links = Link::by_name(writer.contract());
    let mut cache = Cache::new(links.clone());
    let error = writer.run_cached(&inputs(&[5], 1, &[0]), &mut cache);
    assert_eq!(error.unwrap_err().rule(), "cache-empty");

    reader
        .run_cached(&inputs(&[1, 2], 2, &[0, 1]), &mut cache)
        .unwrap();
    let mut twice: std::collections::BTreeMap<String, Tensor> = inputs(&[5], 3, &[2]);
    twice.insert(
        "past_key_0".into(),
        Tensor::new([1, 4, 0, 16], Vec::<f32>::new()).unwrap(),
    );
    let error = writer.run_cached(&twice, &mut cache).unwrap_err();
    assert_eq!(error.rule(), "inputs");
    assert!(error.to_string().contains("fed from the cache"), "{error}");
    // What an error leaves is an empty cache.
    let error = writer.run_cached(&inputs(&[5], 3, &[2]), &mut cache);
    assert_eq!(error.unwrap_err().rule(), "cache-empty");

    // Two texts continue from the cache of one.
    reader
        .run_cached(&inputs(&[1, 2], 2, &[0, 1]), &mut cache)
        .unwrap();
    let two = |values: Vec<i64>| Tensor::new([2, values.len() / 2], values).unwrap();
    let wrong = [
        ("input_ids", two(vec![5, 5])),
        ("attention_mask", two(vec![1; 6])),
        ("position_ids", two(vec![2, 2])),
    ];
    let wrong = wrong.map(|(name, tensor)| (name.to_owned(), tensor));
    let error = writer.run_cached(&wrong.into(), &mut cache).unwrap_err();
    assert_eq!(error.rule(), "inputs");

    let mut foreign = links;
    foreign[0].output = "present_key_9".into();
    let error = reader.run_cached(&inputs(&[1], 1, &[0]), &mut Cache::new(foreign));
    assert_eq!(error.unwrap_err().rule(), "cache-output");
}
