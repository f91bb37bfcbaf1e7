//! The reference fixtures and models of others, from file to answer on every engine at hand.

use std::path::Path;

use crate::scene::{Answer, Scene};

/// The engines at hand, each with the environment that it needs.
pub(crate) fn engines() -> Vec<(&'static str, Option<String>)> {
    let mut engines = vec![("rten", None)];
    if let Some(peer) = amphora_testing::peer("onnxruntime", None) {
        let environment = peer.python().parent().and_then(Path::parent).unwrap();
        engines.push(("ort", Some(environment.to_string_lossy().into_owned())));
    }
    engines
}

pub(crate) fn run_in(scene: &Scene, environment: Option<&String>, arguments: &[&str]) -> Answer {
    let mut command = scene.command(arguments);
    if let Some(environment) = environment {
        command.env("VIRTUAL_ENV", environment);
    }
    scene.answer(command)
}

#[test]
fn every_fixture_packs_verifies_and_lists_on_every_engine() {
    let rows: [(&str, &[&str]); 5] = [
        (
            "planner_mlp",
            &["model.safetensors", "model.pt", "model.onnx"],
        ),
        ("planner_transformer", &["model.safetensors", "model.onnx"]),
        ("planner_urm", &["model.safetensors", "model.onnx"]),
        ("planner_urm_conv", &["model.safetensors", "model.onnx"]),
        (
            "conv2d_fsq",
            &[
                "model.safetensors",
                "model.pt",
                "model_legacy_format.pt",
                "checkpoint.pt",
                "model.onnx",
            ],
        ),
    ];
    let scene = Scene::new();
    let engines = engines();
    amphora_testing::each(&rows, |(folder, files)| {
        let Some(folder) = amphora_testing::fixture(folder) else {
            return Ok(());
        };
        let config = folder.join("config.json");
        for file in *files {
            let model = folder.join(file);
            for (engine, environment) in &engines {
                let name = format!("{}-{engine}", file.replace('.', "-"));
                let arguments = [
                    "pack",
                    "--model",
                    model.to_str().unwrap(),
                    "--config",
                    config.to_str().unwrap(),
                    "--name",
                    &name,
                    "--golden-cases",
                    "5",
                    "--engine",
                    engine,
                ];
                let answer = run_in(&scene, environment.as_ref(), &arguments);
                if answer.code != Some(0) {
                    return Err(format!("{file} on {engine}: {answer:#?}"));
                }
            }
        }
        Ok(())
    });
    for (engine, environment) in &engines {
        let arguments = ["verify", "--all", "--engine", engine];
        run_in(&scene, environment.as_ref(), &arguments).expect_code(0);
    }
}

#[test]
fn every_form_of_external_data_packs_to_a_bundle_that_needs_no_other_file() {
    let Some(folder) = amphora_testing::fixture("external_data") else {
        return;
    };
    let forms = [
        "dynamo_default",
        "one_file",
        "single",
        "split",
        "subfolder_aligned",
    ];
    let scene = Scene::new();
    // PyTorch's own outputs: packing replays them, and so does everybody who verifies.
    let vectors = folder.join("vectors.safetensors");
    amphora_testing::each(&forms, |form| {
        let source = scene.path(form);
        copy_folder(&folder.join(form), &source);
        let model = source.join("model.onnx");
        let pack = [
            "pack",
            "--model",
            model.to_str().unwrap(),
            "--golden",
            vectors.to_str().unwrap(),
            "--name",
            form,
            "--json",
        ];
        let answer = scene.run(&pack);
        std::fs::remove_dir_all(&source).unwrap();
        if answer.code != Some(0) {
            return Err(format!("{answer:#?}"));
        }
        let files = answer.json()["files"].to_string();
        match files.contains("vectors.safetensors") && !files.contains("weights/all.bin") {
            true => Ok(()),
            false => Err(files),
        }
    });
    for (engine, environment) in engines() {
        let arguments = ["verify", "--all", "--engine", engine];
        run_in(&scene, environment.as_ref(), &arguments).expect_code(0);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn models_of_others_pack_and_verify_on_every_engine() {
    let scene = Scene::new();
    let Some(models) = amphora_testing::packaged_models(&scene.path("packages")) else {
        return;
    };
    assert!(!models.is_empty());
    let engines = engines();
    amphora_testing::each(&models, |model| {
        for (engine, environment) in &engines {
            let store = format!("store-{engine}");
            let pack = [
                "pack",
                "--model",
                model.to_str().unwrap(),
                "--engine",
                engine,
                "--golden-cases",
                "5",
                "--store",
                &store,
            ];
            let answer = run_in(&scene, environment.as_ref(), &pack);
            if answer.code != Some(0) {
                return Err(format!("{engine}: {answer:#?}"));
            }
        }
        Ok(())
    });
    // What was recorded and replayed on one engine is replayed on every other.
    for (packer, _) in &engines {
        let store = format!("store-{packer}");
        for (engine, environment) in &engines {
            let arguments = ["verify", "--all", "--engine", engine, "--store", &store];
            run_in(&scene, environment.as_ref(), &arguments).expect_code(0);
        }
    }
}
