//! Language models that were exported here write what PyTorch wrote, on every engine.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use amphora_bundle::manifest::Generation;
use amphora_checkpoint::Checkpoint;
use amphora_checkpoint::architecture::{Architecture, GraphRole};
use amphora_export::{ExportOptions, export_graph};
use amphora_onnx::Model;
use amphora_runtime::generation::{Generated, GenerationOptions, Generator, Prompt};
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
        let session =
            |model| Session::new(model, engine.clone(), &SessionOptions::default(), None).unwrap();
        let manifest = Generation {
            prefill: "prefill".into(),
            decode: "decode".into(),
            context_length: None,
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
