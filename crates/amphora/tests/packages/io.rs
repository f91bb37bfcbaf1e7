//! Who says what goes in, and what happens when two disagree.

use amphora::{ErrorKind, IoSource, Level, Package};
use amphora_onnx::{Dim, Dtype, Limits};
use amphora_runtime::EngineChoice;
use amphora_testing::each;

use crate::scene::{INPUTS, Scene, THREE, bert, ids, io, logits, open, stated};

#[test]
fn the_manifest_the_graph_or_what_names_give_away_say_what_goes_in() {
    let hints =
        ", preprocessing: {type: tokenization, tokenizer: tokenizer.json, tokenizer_type: bert}";
    let rows = [
        ("without spec.io", String::new(), IoSource::Graph, 3, None),
        (
            "empty spec.io",
            "    inputs: []\n    outputs: []\n".to_owned(),
            IoSource::Graph,
            3,
            None,
        ),
        (
            "without hints",
            stated("[-1, -1]", ""),
            IoSource::Manifest,
            3,
            None,
        ),
        (
            "with hints",
            stated("[-1, -1]", hints),
            IoSource::Manifest,
            0,
            Some("bert"),
        ),
    ];
    each(&rows, |(_, io, source, detected, family)| {
        let scene = bert(io);
        scene.write("tokenizer.json", "{}");
        let seen = scene.inspect().map_err(|error| error.to_string())?;
        let made: Vec<_> = seen
            .io
            .io
            .inputs
            .iter()
            .map(|input| {
                let how = input.preprocessing.as_ref().unwrap();
                let file = how.tokenizer.as_ref().unwrap().as_str();
                (
                    input.name.as_str(),
                    how.r#type.as_str(),
                    file,
                    how.tokenizer_type.as_deref(),
                )
            })
            .collect();
        let wanted = INPUTS.map(|name| (name, "tokenization", "tokenizer.json", *family));
        if seen.io.source != *source || seen.io.detected.len() != *detected || made != wanted {
            return Err(format!("{:?}", seen.io));
        }
        let answer = scene
            .run(&THREE, EngineChoice::Rten)
            .map_err(|error| error.to_string())?;
        match logits(&answer) == [11.0, 112.0] && answer.warnings.is_empty() {
            true => Ok(()),
            false => Err(format!("{answer:?}")),
        }
    });
}

#[test]
fn open_dimensions_take_any_size_and_fixed_ones_only_theirs() {
    let graph_fixed = || {
        let shape = [open("batch"), Dim::Fixed(2)];
        let inputs = INPUTS.map(|name| (name, Dtype::Int64, &shape[..]));
        Scene::new(&stated("[-1, -1]", "")).with_graph(&inputs, &shape)
    };
    let rows: [(&str, Scene, &str, bool); 6] = [
        (
            "all open, one",
            bert(&stated("[-1, -1]", "")),
            "[[1]]",
            true,
        ),
        (
            "all open, three",
            bert(&stated("[-1, -1]", "")),
            "[[1, 2, 3]]",
            true,
        ),
        (
            "fixed by the manifest",
            bert(&stated("[-1, 2]", "")),
            "[[1, 2]]",
            true,
        ),
        (
            "not as the manifest fixes",
            bert(&stated("[-1, 2]", "")),
            "[[1, 2, 3]]",
            false,
        ),
        ("fixed by the graph", graph_fixed(), "[[1, 2]]", true),
        (
            "not as the graph fixes",
            graph_fixed(),
            "[[1, 2, 3]]",
            false,
        ),
    ];
    for (name, scene, value, passes) in rows {
        let inputs = INPUTS.map(|input| (input, value));
        match scene.run(&inputs, EngineChoice::Rten) {
            Ok(_) => assert!(passes, "{name}"),
            Err(error) => {
                assert!(!passes, "{name}: {error}");
                assert_eq!(error.rule(), "inputs", "{name}: {error}");
                // One fault for each input, all at once.
                assert_eq!(error.fault_list().len(), 3, "{name}: {error}");
            }
        }
    }
}

#[test]
fn a_size_fixed_for_one_input_holds_for_every_dimension_of_that_symbol() {
    let shape = ids();
    let scene = Scene::new(&io(&[
        "{name: input_ids, dtype: int64, shape: [1, -1]}".to_owned(),
        "{name: attention_mask, dtype: int64, shape: [-1, -1]}".to_owned(),
    ]));
    let inputs = ["input_ids", "attention_mask"].map(|name| (name, Dtype::Int64, &shape[..]));
    let scene = scene.with_graph(&inputs, &shape);
    let two = [
        ("input_ids", "[[1, 2]]"),
        ("attention_mask", "[[1, 2], [3, 4]]"),
    ];
    let error = scene.run(&two, EngineChoice::Rten).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("'attention_mask' has 2 in dimension 0, expected 1"),
        "{error}"
    );
}

#[test]
fn a_manifest_that_contradicts_its_graph_is_refused_or_warned_of() {
    let line = |name: &str, dtype: &str, shape: &str| {
        format!("{{name: {name}, dtype: {dtype}, shape: {shape}}}")
    };
    let with = |index: usize, changed: String| {
        let mut lines = INPUTS.map(|name| line(name, "int64", "[-1, -1]"));
        lines[index] = changed;
        io(&lines)
    };
    let fewer = io(&INPUTS[..2]
        .iter()
        .map(|name| line(name, "int64", "[-1, -1]"))
        .collect::<Vec<_>>());
    let more = io(&INPUTS
        .iter()
        .chain(&["position_ids"])
        .map(|name| line(name, "int64", "[-1, -1]"))
        .collect::<Vec<_>>());
    let rows: [(&str, String, &str, bool); 5] = [
        (
            "another type",
            with(0, line("input_ids", "int32", "[-1, -1]")),
            "input 'input_ids': the manifest says int32, the graph int64",
            true,
        ),
        (
            "another rank",
            with(1, line("attention_mask", "int64", "[-1]")),
            "input 'attention_mask': the manifest says [?], the graph [batch, time]",
            true,
        ),
        (
            "a name that the graph lacks",
            more,
            "the manifest's input 'position_ids' is not in the graph",
            false,
        ),
        (
            "a name that the manifest lacks",
            fewer,
            "the graph's input 'token_type_ids' is not in the manifest",
            false,
        ),
        (
            "one symbol, two sizes",
            with(1, line("attention_mask", "int64", "[-1, 4]")).replacen("[-1, -1]", "[-1, 3]", 1),
            "the manifest fixes 'time' at 4, and elsewhere at 3",
            false,
        ),
    ];
    each(&rows, |(_, io, fault, runs)| {
        let scene = bert(io);
        let run = scene.run(&THREE, EngineChoice::Rten);
        match (&run, runs) {
            (Ok(answer), true) if answer.warnings == [*fault] => {}
            (Err(error), false)
                if error.rule() == "io-conflict" && error.to_string().contains(fault) => {}
            _ => return Err(format!("{run:?}")),
        }
        // Where nothing may be doubtful, all of them are errors.
        let package = Package::open(scene.path(), Level::Install).unwrap();
        let entry = package.graphs().unwrap().remove(0);
        let graph = package.model(&entry, &Limits::default()).unwrap();
        match package.effective_io(&graph.contract().unwrap(), true) {
            Err(error)
                if error.kind() == ErrorKind::Incompatible && error.to_string().contains(fault) =>
            {
                Ok(())
            }
            other => Err(format!("strict: {other:?}")),
        }
    });
}

#[test]
fn pictures_are_known_by_name_or_by_their_three_channels() {
    let batch = open("batch");
    let size = |n| Dim::Fixed(n);
    let rows: [(&str, Dtype, Vec<Dim>, Option<&str>); 6] = [
        (
            "pixel_values",
            Dtype::Float32,
            vec![batch.clone(), Dim::Unknown, Dim::Unknown, Dim::Unknown],
            Some("image"),
        ),
        (
            "data",
            Dtype::Float32,
            vec![batch.clone(), size(3), size(224), size(224)],
            Some("image"),
        ),
        (
            "data",
            Dtype::Float32,
            vec![batch.clone(), size(224), size(224), size(3)],
            Some("image"),
        ),
        (
            "data",
            Dtype::Float32,
            vec![batch.clone(), size(4), size(224), size(224)],
            None,
        ),
        (
            "data",
            Dtype::Int64,
            vec![batch.clone(), size(3), size(224), size(224)],
            None,
        ),
        (
            "input_ids",
            Dtype::Float32,
            vec![batch.clone(), size(3)],
            None,
        ),
    ];
    each(&rows, |(name, dtype, shape, kind)| {
        let scene = Scene::new("").with_graph(&[(name, *dtype, shape)], shape);
        let seen = scene.inspect().map_err(|error| error.to_string())?;
        let found = seen.io.io.inputs[0]
            .preprocessing
            .as_ref()
            .map(|how| how.r#type.as_str());
        match found == *kind {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

#[test]
fn without_a_graph_the_schema_is_the_next_best_and_nothing_runs() {
    let rows: [(&str, &str, &str, IoSource, &[&str]); 5] = [
        (
            "the manifest's",
            &stated("[-1, -1]", ""),
            "",
            IoSource::Manifest,
            &INPUTS,
        ),
        (
            "by model_type",
            "",
            r#"{"model_type": "albert"}"#,
            IoSource::ModelType,
            &INPUTS,
        ),
        (
            "by model_type",
            "",
            r#"{"model_type": "swin"}"#,
            IoSource::ModelType,
            &["pixel_values"],
        ),
        (
            "an unknown model_type",
            "",
            r#"{"model_type": "mamba"}"#,
            IoSource::Legacy,
            &["input"],
        ),
        ("nothing", "", "", IoSource::Legacy, &["input"]),
    ];
    each(&rows, |(_, io, config, source, names)| {
        let scene = Scene::new(io);
        let manifest = fs_err::read_to_string(scene.path().join("manifest.yaml")).unwrap();
        let manifest = manifest.replace("execution_format: onnx", "execution_format: tensorflow");
        scene.write(
            "manifest.yaml",
            manifest.replace("model.onnx", "saved_model.pb"),
        );
        if !config.is_empty() {
            scene.write("config.json", config);
        }
        let seen = scene.inspect().map_err(|error| error.to_string())?;
        let found: Vec<&str> = seen
            .io
            .io
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        let unverified = *source != IoSource::Manifest;
        if seen.io.source != *source || found != *names || seen.unverified != unverified {
            return Err(format!("{seen:?}"));
        }
        let error = scene.run(&[], EngineChoice::Rten).unwrap_err();
        let hint = error.hint_text().unwrap_or_default();
        match error.rule() == "package-not-runnable"
            && hint.contains("tf2onnx")
            && seen.not_runnable.is_some()
        {
            true => Ok(()),
            false => Err(format!("{error:?}")),
        }
    });
}
