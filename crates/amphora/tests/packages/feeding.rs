//! Inputs from a text and from a picture, and everything that is wrong with those that are given.

use amphora::{ErrorKind, InputValue};
use amphora_onnx::build::GraphBuilder;
use amphora_onnx::{Dim, Dtype, write};
use amphora_runtime::EngineChoice;
use amphora_testing::each;

use crate::proof::import;
use crate::scene::{INPUTS, Scene, bert, ids, io, logits, open, stated};

/// `[CLS]` is 2, `[SEP]` 3, `hello` 4, `world` 5.
const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nhello\nworld\n";
/// One pixel: 255, 128, 0.
const PICTURE: [u8; 69] = [
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x02, 0x00, 0x00, 0x00, 0x90, 0x77, 0x53,
    0xde, 0x00, 0x00, 0x00, 0x0c, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xf8, 0xdf, 0xc0, 0x00,
    0x00, 0x04, 0x01, 0x01, 0x80, 0xc5, 0x2a, 0x18, 0x5d, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e,
    0x44, 0xae, 0x42, 0x60, 0x82,
];

fn given(values: &[(&str, &str)]) -> Vec<(String, InputValue)> {
    let json = |text: &str| InputValue::Json(text.to_owned());
    let values = values.iter();
    values
        .map(|(name, value)| ((*name).to_owned(), json(value)))
        .collect()
}

#[test]
fn a_text_alone_fills_the_three_inputs_of_bert() {
    let scene = bert(&stated("[-1, -1]", ""));
    scene.write("vocab.txt", VOCABULARY);
    let pair = || vec![("hello".to_owned(), Some("world".to_owned()))];
    // Ids, ten times the mask, a hundred times the segment.
    let whole = [12.0, 14.0, 13.0, 115.0, 113.0];
    let answer = scene.ask(|request| request.texts = pair()).unwrap();
    assert_eq!(logits(&answer), whole);
    // Each input is read: given by name, it is not made from the text, and the answer is another.
    let rows = [
        ("input_ids", "[[2, 5, 3, 5, 3]]", 1, 1.0),
        ("attention_mask", "[[1, 1, 0, 1, 1]]", 2, -10.0),
        ("token_type_ids", "[[0, 0, 0, 0, 1]]", 3, -100.0),
    ];
    each(&rows, |(name, value, token, change)| {
        let answer = scene.ask(|request| {
            request.texts = pair();
            request.inputs = given(&[(name, value)]);
        });
        let mut expected = whole;
        expected[*token] += change;
        match logits(&answer.map_err(|error| error.to_string())?) == expected {
            true => Ok(()),
            false => Err("another answer".to_owned()),
        }
    });
}

#[test]
fn missing_extra_wrong_type_wrong_rank_and_ragged_are_one_error() {
    let names = ["ragged", "typed", "ranked", "missing", "sized"];
    let shape = ids();
    let inputs = names.map(|name| (name, Dtype::Int64, &shape[..]));
    let lines = names.map(|name| format!("{{name: {name}, dtype: int64, shape: [-1, 2]}}"));
    let scene = Scene::new(&io(&lines)).with_graph(&inputs, &shape);
    let wrong = [
        ("ragged", "[[1, 2], [3]]"),
        ("typed", "[[1.5, 2]]"),
        ("ranked", "[1, 2]"),
        ("sized", "[[1, 2, 3]]"),
        ("extra", "[[1, 2]]"),
        ("further", "[[1], [1, 2]]"),
    ];
    let error = scene.run(&wrong, EngineChoice::Rten).unwrap_err();
    assert_eq!((error.kind(), error.rule()), (ErrorKind::Usage, "inputs"));
    let faults = error.fault_list();
    let expected = [
        "'ragged': the value is no int64 tensor",
        "'typed': the value is no int64 tensor",
        "'ranked' has rank 1",
        "'missing' is missing: int64",
        "'sized' has 3 in dimension 1, expected 2",
        "'extra' is not an input",
        "'further' is not an input",
    ];
    assert_eq!(faults.len(), expected.len(), "{error}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}");
    }
}

#[test]
fn hints_that_contradict_each_other_make_no_text() {
    let line = |name: &str, more: &str| {
        format!(
            "{{name: {name}, dtype: int64, shape: [-1, -1], preprocessing: {{type: tokenization{more}}}}}"
        )
    };
    let rows = [
        ("", "", None),
        (
            ", tokenizer: vocab.txt",
            ", tokenizer: other/vocab.txt",
            Some("another tokenizer"),
        ),
        (
            ", config: {max_length: 3}",
            ", config: {max_length: 4}",
            Some("another configuration"),
        ),
        (", config: {}", ", config: {max_length: 4}", None),
        ("", ", tokenizer: vocab.txt", None),
    ];
    each(&rows, |(first, second, fault)| {
        let scene = bert(&io(&[
            line(INPUTS[0], first),
            line(INPUTS[1], second),
            line(INPUTS[2], first),
        ]));
        scene.write("vocab.txt", VOCABULARY);
        scene.write("other/vocab.txt", VOCABULARY);
        let answer = scene.ask(|request| request.texts = vec![("hello".to_owned(), None)]);
        match (answer, fault) {
            (Ok(_), None) => Ok(()),
            (Err(error), Some(fault)) if error.rule() == "text-hints" => {
                let all = error.fault_list().join("\n");
                match all.contains(fault) && all.contains(INPUTS[0]) && all.contains(INPUTS[1]) {
                    true => Ok(()),
                    false => Err(all),
                }
            }
            (answer, _) => Err(format!("{answer:?}")),
        }
    });
    // What is made from a picture is not made from a text, whatever it is called.
    let image =
        "{name: attention_mask, dtype: int64, shape: [-1, -1], preprocessing: {type: image}}";
    let scene = bert(&io(&[
        line(INPUTS[0], ""),
        image.to_owned(),
        line(INPUTS[2], ""),
    ]));
    scene.write("vocab.txt", VOCABULARY);
    let answer = scene.ask(|request| request.texts = vec![("hello".to_owned(), None)]);
    let error = answer.unwrap_err();
    assert!(
        error.to_string().contains("'attention_mask' is missing"),
        "{error}"
    );
}

#[test]
fn a_tokenizer_that_the_manifest_names_in_vain_is_warned_of() {
    let hint = ", preprocessing: {type: tokenization, tokenizer: words/tokenizer.json}";
    let scene = bert(&stated("[-1, -1]", hint));
    let warning =
        "the manifest names the tokenizer words/tokenizer.json, which is not in the package";
    let seen = scene.inspect().unwrap();
    assert_eq!(seen.io.warnings, [warning]);
    let ask = || scene.ask(|request| request.texts = vec![("hello".to_owned(), None)]);
    assert_eq!(ask().unwrap_err().rule(), "tokenizer-missing");
    let packed = import(&scene, scene.path()).unwrap();
    assert!(
        packed.warnings.iter().any(|note| note == warning),
        "{packed:?}"
    );

    // A tokenizer in a folder of its own comes along, with all its files.
    let hint = hint.replace("tokenizer.json", "vocab.txt");
    for folder in ["words", "docs"] {
        let scene = bert(&stated("[-1, -1]", &hint.replace("words", folder)));
        scene.write(&format!("{folder}/vocab.txt"), VOCABULARY);
        scene.write(
            &format!("{folder}/tokenizer_config.json"),
            r#"{"tokenizer_class": "BertTokenizer", "do_lower_case": true}"#,
        );
        let text = || vec![("HELLO".to_owned(), None)];
        let before = scene.ask(|request| request.texts = text()).unwrap();
        assert_eq!(logits(&before), [12.0, 14.0, 13.0]);
        let packed = import(&scene, scene.path()).unwrap();
        let after = scene.ask(|request| {
            request.subject =
                amphora::Subject::Bundle(Box::new(amphora::open(&packed.path).unwrap()));
            request.texts = text();
        });
        assert_eq!(logits(&after.unwrap()), logits(&before));
    }
}

#[test]
fn pictures_are_prepared_as_the_models_own_file_says() {
    let own = r#"{"do_resize": false, "do_center_crop": false, "do_rescale": true, "rescale_factor": 0.5,
        "do_normalize": true, "image_mean": [1, 2, 3], "image_std": [1, 1, 1]}"#;
    let channels_last = [open("batch"), open("h"), open("w"), Dim::Fixed(3)];
    let channels_first = [open("batch"), Dim::Fixed(3), open("h"), open("w")];
    let hint = "  io:\n    inputs:\n      - {name: pixel_values, dtype: float32, shape: [-1, 3, -1, -1], \
                preprocessing: {type: normalization}}\n    outputs:\n      - {name: logits, dtype: float32, \
                shape: [-1, 3, -1, -1]}\n";
    let rows = [
        ("no hint", "", &channels_first),
        ("a hint without particulars", hint, &channels_first),
        ("the other layout", "", &channels_last),
    ];
    each(&rows, |(_, io, shape)| {
        let io = io.trim_start_matches("  io:\n");
        let scene = Scene::new(io).with_graph(&[("pixel_values", Dtype::Float32, *shape)], *shape);
        scene.write("preprocessor_config.json", own);
        scene.write("picture.png", PICTURE);
        let picture = vec![scene.path().join("picture.png")];
        let ask = |subject: Option<amphora::Subject>| {
            let answer = scene.ask(|request| {
                request.images = picture.clone();
                request.subject = subject.unwrap_or(scene.subject().unwrap());
            });
            answer
                .map(|answer| logits(&answer))
                .map_err(|error| error.to_string())
        };
        let expected = vec![126.5, 62.0, -3.0];
        let bare = amphora::Subject::Onnx(scene.path().join("model.onnx"));
        let packed = import(&scene, scene.path()).map_err(|error| error.to_string())?;
        let bundle = amphora::open(&packed.path).unwrap();
        let how = bundle.manifest().spec.io.inputs[0]
            .preprocessing
            .clone()
            .unwrap();
        if how
            .config
            .is_none_or(|config| config["mean"] != serde_json::json!([1.0, 2.0, 3.0]))
        {
            return Err("the bundle does not say how".to_owned());
        }
        let bundle = amphora::Subject::Bundle(Box::new(bundle));
        let found = [ask(None)?, ask(Some(bare))?, ask(Some(bundle))?];
        match found.iter().all(|values| *values == expected) {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

#[test]
fn pictures_that_cannot_be_prepared_here_leave_the_tensors() {
    let shape = [open("batch"), Dim::Fixed(3), Dim::Fixed(1), Dim::Fixed(1)];
    let hint = |config: &str| {
        format!(
            "    inputs:\n      - {{name: pixel_values, dtype: float32, shape: [-1, 3, 1, 1], preprocessing: {{type: \
             resize{config}}}}}\n    outputs:\n      - {{name: logits, dtype: float32, shape: [-1, 3, 1, 1]}}\n"
        )
    };
    let rows = [
        (String::new(), r#"{"do_pad": true}"#),
        (hint(""), r#"{"size": "large"}"#),
        (hint(", config: {sharpen: 2}"), "{}"),
    ];
    each(&rows, |(io, own)| {
        let scene = Scene::new(io).with_graph(&[("pixel_values", Dtype::Float32, &shape)], &shape);
        scene.write("preprocessor_config.json", own);
        scene.write("picture.png", PICTURE);
        let packed = import(&scene, scene.path()).map_err(|error| error.to_string())?;
        let note = "input 'pixel_values' takes no pictures: ";
        if !packed
            .warnings
            .iter()
            .any(|warning| warning.starts_with(note))
        {
            return Err(format!("{:?}", packed.warnings));
        }
        let bundle = || amphora::Subject::Bundle(Box::new(amphora::open(&packed.path).unwrap()));
        for subject in [bundle(), scene.subject().unwrap()] {
            let refused = scene.ask(|request| {
                request.subject = subject;
                request.images = vec![scene.path().join("picture.png")];
            });
            if let Ok(answer) = refused {
                return Err(format!("{answer:?}"));
            }
        }
        let values = [("pixel_values", "[[[[1]], [[2]], [[3]]]]")];
        let answer = scene.run_subject(bundle(), &values, EngineChoice::Rten);
        match logits(&answer.map_err(|error| error.to_string())?) == [1.0, 2.0, 3.0] {
            true => Ok(()),
            false => Err("another answer".to_owned()),
        }
    });
}

/// A graph whose output is one number for each token: its id.
fn hidden(inputs: &[&str]) -> Vec<u8> {
    let mut graph = GraphBuilder::new("hidden", 14).unwrap();
    let mut sum = None;
    for (index, name) in inputs.iter().enumerate() {
        let input = graph.input(name, Dtype::Int64, &ids());
        let input = graph.cast(&input, Dtype::Float32);
        let weight = graph.scalar(if index == 0 { 1.0 } else { 0.0 });
        let term = graph.binary("Mul", &input, &weight);
        sum = Some(match sum {
            None => term,
            Some(sum) => graph.binary("Add", &sum, &term),
        });
    }
    let sum = graph.unsqueeze(&sum.unwrap(), &[2]);
    let shape = [open("batch"), open("time"), Dim::Fixed(1)];
    graph.output(&sum, "logits", Dtype::Float32, &shape);
    write::to_bytes(&graph.finish())
}

#[test]
fn padding_never_counts_whatever_the_mask_is_called() {
    let rows: [&[&str]; 4] = [
        &["input_ids", "attention_mask"],
        &["input_word_ids", "input_mask"],
        &["input_ids"],
        &["input_ids", "token_type_ids"],
    ];
    let texts = || {
        let text = |text: &str| (text.to_owned(), None);
        vec![text("hello world hello"), text("world")]
    };
    for (mode, expected) in [
        (
            "mean",
            [(2.0 + 4.0 + 5.0 + 4.0 + 3.0) / 5.0, (2.0 + 5.0 + 3.0) / 3.0],
        ),
        ("last", [3.0, 3.0]),
    ] {
        each(&rows, |names| {
            let lines: Vec<String> = names
                .iter()
                .map(|name| format!("{{name: {name}, dtype: int64, shape: [-1, -1], preprocessing: {{type: tokenization}}}}"))
                .collect();
            let steps =
                format!("shape: [-1, -1, 1], postprocessing: [{{type: pooling, mode: {mode}}}]}}");
            let io = io(&lines).replace("float32, shape: [-1, -1]}", &format!("float32, {steps}"));
            let scene = Scene::new(&io);
            scene.write("model.onnx", hidden(names));
            scene.write("vocab.txt", VOCABULARY);
            let answer = scene.ask(|request| request.texts = texts());
            let answer = answer.map_err(|error| error.to_string())?;
            let found = answer.embedding.unwrap();
            match found.as_slice::<f32>() == Some(&expected.map(|value: f64| value as f32)[..]) {
                true => Ok(()),
                false => Err(format!("{found:?}")),
            }
        });
    }
}
