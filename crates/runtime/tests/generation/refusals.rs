//! What is no language model, and what is no prompt.

use std::time::{Duration, Instant};

use amphora_error::Error;
use amphora_onnx::{Limits, Model};
use amphora_runtime::generation::{Finish, GenerationOptions, Generator, Prompt};

use crate::common::engines;
use crate::scene::{Numbers, generator, generator_of, graphs, manifest, session};

fn renamed(model: &Model, from: &str, to: &str) -> Model {
    let mut proto = model.proto().clone();
    let graph = proto.graph.as_mut().unwrap();
    let rename = |name: &mut Option<String>| {
        if name.as_deref() == Some(from) {
            *name = Some(to.to_owned());
        }
    };
    graph
        .input
        .iter_mut()
        .for_each(|value| rename(&mut value.name));
    graph
        .output
        .iter_mut()
        .for_each(|value| rename(&mut value.name));
    for node in &mut graph.node {
        for name in node.input.iter_mut().chain(&mut node.output) {
            if name == from {
                *name = to.to_owned();
            }
        }
    }
    Model::from_proto(proto, &Limits::default()).unwrap()
}

fn refused(prefill: &Model, decode: &Model) -> Error {
    let engine = &engines()[0];
    let prefill = session(prefill, engine.clone());
    let decode = session(decode, engine.clone());
    Generator::new(prefill, decode, &manifest()).unwrap_err()
}

#[test]
fn graphs_that_do_not_belong_together_are_refused_with_every_fault() {
    let Some([prefill, decode]) = graphs() else {
        return;
    };
    let error = refused(&decode, &prefill);
    assert_eq!(error.rule(), "generation-graphs");
    let error = error.to_string();
    for fault in [
        "decode: no input past_... has an output present_...",
        "prefill: 'past_key_0' is asked for before anything was read",
    ] {
        assert!(error.contains(fault), "{error}");
    }
    let cases = [
        (
            "present_key_1",
            "prefill: the output 'present_key_1' is missing",
        ),
        ("logits", "prefill: the output 'logits' is missing"),
        ("input_ids", "prefill: the input 'input_ids' is missing"),
        (
            "position_ids",
            "prefill: nothing is known to put into 'other'",
        ),
    ];
    amphora_testing::each(&cases, |(name, fault)| {
        let error = refused(&renamed(&prefill, name, "other"), &decode).to_string();
        if error.contains(fault) {
            Ok(())
        } else {
            Err(error)
        }
    });
    let error = refused(&prefill, &renamed(&decode, "present_key_1", "other")).to_string();
    let fault = "decode: 'past_key_1' has no output 'present_key_1' to come from";
    assert!(error.contains(fault), "{error}");
    // Keys for logits: of rank 4.
    let keys = renamed(&renamed(&prefill, "logits", "x"), "present_key_0", "logits");
    let error = refused(&keys, &decode).to_string();
    let fault = "prefill: 'logits' is not [batch, positions, vocabulary]";
    assert!(error.contains(fault), "{error}");
}

#[test]
fn other_spellings_of_the_cache_are_bound_too() {
    let Some([mut prefill, mut decode]) = graphs() else {
        return;
    };
    let tokens = Numbers(4).prompt(9);
    let engine = &engines()[0];
    let options = GenerationOptions {
        max_new_tokens: 6,
        ..GenerationOptions::default()
    };
    let prompt = || Prompt {
        tokens: tokens.clone(),
        ..Prompt::default()
    };
    let graphs = [prefill.clone(), decode.clone()];
    let expected = generator(&graphs, engine)
        .generate(vec![prompt()], &options, &mut |_| Ok(()))
        .unwrap();
    for layer in 0..3 {
        for kind in ["key", "value"] {
            let old = format!("{kind}_{layer}");
            let new = format!("present.{layer}.{kind}");
            prefill = renamed(&prefill, &format!("present_{old}"), &new);
            decode = renamed(&decode, &format!("present_{old}"), &new);
            let past = format!("past_key_values.{layer}.{kind}");
            decode = renamed(&decode, &format!("past_{old}"), &past);
        }
    }
    let found = generator(&[prefill, decode], engine)
        .generate(vec![prompt()], &options, &mut |_| Ok(()))
        .unwrap();
    assert_eq!(found, expected);
}

#[test]
fn prompts_are_refused_together() {
    let Some(graphs) = graphs() else { return };
    let mut generator = generator(&graphs, &engines()[0]);
    let error = generator.start(&[], 0).unwrap_err();
    assert_eq!(error.rule(), "prompts");
    let long = vec![1; 1025];
    let error = generator.start(&[&[], &[5, 2048], &long], 0).unwrap_err();
    assert_eq!(error.rule(), "prompts");
    assert_eq!(error.fault_list().len(), 3, "{error}");
    let mut batch = generator.start(&[&[5]], 4).unwrap();
    assert_eq!(batch.advance(&[]).unwrap_err().rule(), "batch");
    assert_eq!(batch.advance(&[Some(2048)]).unwrap_err().rule(), "token");
    batch.advance(&[Some(2047)]).unwrap();
}

#[test]
fn a_manifest_that_names_foreign_tokens_is_refused() {
    let Some(graphs) = graphs() else { return };
    let engine = &engines()[0];
    let mut manifest = manifest();
    manifest.stop_token_ids = vec![5, 2048];
    let [prefill, decode] = &graphs;
    let sessions = [prefill, decode].map(|model| session(model, engine.clone()));
    let [prefill, decode] = sessions;
    let error = Generator::new(prefill, decode, &manifest).unwrap_err();
    assert_eq!(error.rule(), "generation-tokens");
}

#[test]
fn time_and_will_end_a_text() {
    let Some(graphs) = graphs() else { return };
    let mut generator = generator(&graphs, &engines()[0]);
    let prompt = || Prompt {
        tokens: vec![5, 6, 7],
        ..Prompt::default()
    };
    let late = GenerationOptions {
        deadline: Some(Instant::now()),
        ..GenerationOptions::default()
    };
    let written = generator.generate(vec![prompt()], &late, &mut |_| Ok(()));
    let written = written.unwrap().remove(0);
    assert_eq!(written.finish_reason, Finish::Deadline);
    assert_eq!(written.new_tokens, 0);

    let cancel = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let options = GenerationOptions {
        cancel: Some(cancel.clone()),
        deadline: Some(Instant::now() + Duration::from_secs(3600)),
        ..GenerationOptions::default()
    };
    let mut steps = 0;
    let written = generator.generate(vec![prompt()], &options, &mut |step| {
        steps += usize::from(step.token.is_some());
        cancel.store(steps == 5, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    });
    let written = written.unwrap().remove(0);
    assert_eq!(written.finish_reason, Finish::Cancelled);
    assert_eq!(written.new_tokens, 5);

    let error = generator.generate(vec![prompt()], &GenerationOptions::default(), &mut |_| {
        Err(Error::io("gone", "the reader is gone"))
    });
    assert_eq!(error.unwrap_err().rule(), "gone");
    let nothing = GenerationOptions {
        max_new_tokens: 0,
        ..GenerationOptions::default()
    };
    let written = generator.generate(vec![prompt()], &nothing, &mut |_| Ok(()));
    assert_eq!(written.unwrap()[0].finish_reason, Finish::MaxNewTokens);
}

#[test]
fn a_model_that_answers_nan_is_found_out() {
    let Some(graphs) = graphs() else { return };
    let engine = &engines()[0];
    let poisoned = graphs.clone().map(|model| {
        let mut proto = model.proto().clone();
        let graph = proto.graph.as_mut().unwrap();
        for tensor in &mut graph.initializer {
            if tensor.name().contains("norm.weight") {
                let bytes = tensor.raw_data.as_ref().unwrap().len();
                let nan = f32::NAN.to_le_bytes();
                let filled: Vec<u8> = nan.iter().copied().cycle().take(bytes).collect();
                tensor.raw_data = Some(filled.into());
            }
        }
        Model::from_proto(proto, &Limits::default()).unwrap()
    });
    let mut generator = generator_of(&poisoned, engine, &manifest());
    let prompt = Prompt {
        tokens: vec![5, 6],
        ..Prompt::default()
    };
    let error = generator
        .generate(vec![prompt], &GenerationOptions::default(), &mut |_| Ok(()))
        .unwrap_err();
    assert_eq!(error.rule(), "logits-not-finite");
}
