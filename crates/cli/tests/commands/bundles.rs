//! What packing makes, and what damage is named.

use std::path::Path;

use crate::scene::{PACK, Scene};

#[test]
fn the_same_model_gets_the_same_id_on_another_day_in_another_folder() {
    let ids: Vec<String> = ["1700000000", "1800000000"]
        .iter()
        .map(|date| {
            let scene = Scene::new();
            let mut command = scene.command(&[PACK, &["--json"]].concat());
            command.env("SOURCE_DATE_EPOCH", date);
            let answer = scene.answer(command);
            answer.expect_code(0);
            answer.json()["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn packing_again_leaves_the_bundle_untouched() {
    let (scene, _) = Scene::with_bundle();
    let before = scene.files();
    let answer = scene.run(&[PACK, &["--json"]].concat());
    answer.expect_code(0);
    assert_eq!(answer.json()["existed"], true);
    assert_eq!(before, scene.files());
}

#[test]
fn a_bundle_explains_itself() {
    let (_scene, bundle) = Scene::with_bundle();
    for file in [
        "manifest.yaml",
        "manifest.sha256",
        "config.json",
        "label_map.json",
        "metrics.json",
        "models/model.onnx",
        "contracts/io_contract.json",
        "golden/vectors.safetensors",
        "validation/general_validation.json",
        "validation/onnx_validation.json",
        "validation/validation_report.json",
        "docs/README.md",
    ] {
        assert!(bundle.join(file).is_file(), "{file} is missing");
    }
}

#[test]
fn damage_is_found_and_named() {
    type Damage = fn(&Path);
    let rows: [(&str, &str, Damage); 6] = [
        ("changed", "models/model.onnx", |bundle| {
            flip(&bundle.join("models/model.onnx"))
        }),
        ("changed labels", "label_map.json", |bundle| {
            flip(&bundle.join("label_map.json"))
        }),
        ("missing", "golden/vectors.safetensors", |bundle| {
            std::fs::remove_file(bundle.join("golden/vectors.safetensors")).unwrap();
        }),
        ("unlisted", "extra.txt", |bundle| {
            fs_err::write(bundle.join("extra.txt"), "hello").unwrap();
        }),
        ("manifest", "manifest.yaml", |bundle| {
            flip(&bundle.join("manifest.yaml"))
        }),
        ("digest", "manifest", |bundle| {
            flip(&bundle.join("manifest.sha256"))
        }),
    ];
    amphora_testing::each(&rows, |(_, file, damage)| {
        let (scene, bundle) = Scene::with_bundle();
        damage(&bundle);
        let reference = bundle.to_string_lossy();
        for arguments in [
            vec!["verify", reference.as_ref()],
            vec!["verify", "--all"],
            vec![
                "run",
                reference.as_ref(),
                "--input",
                "imu_input=windows.npy",
            ],
        ] {
            let answer = scene.run(&arguments);
            let named = format!("{}{}", answer.stdout, answer.stderr).contains(file);
            if answer.code != Some(5) || !named {
                return Err(format!("{arguments:?}: {answer:#?}"));
            }
        }
        Ok(())
    });
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn a_bundle_that_does_not_keep_its_golden_vectors_is_not_published() {
    let scene = Scene::with_onnx();
    let golden = |codes: &str| {
        format!(
            "import numpy as np, sys\nx = np.load('windows.npy')\nnp.savez('golden.npz', imu_input=x, behavioral_codes={codes})"
        )
    };
    let Some(peer) = amphora_testing::peer("numpy", None) else {
        return;
    };
    for (codes, code) in [
        ("np.array([199, 201, 239, 92])", 0),
        ("np.array([199, 201, 239, 93])", 11),
    ] {
        let program = format!(
            "import os\nos.chdir({:?})\n{}",
            scene.path(""),
            golden(codes)
        );
        peer.run(&program, &[]);
        let store = format!("store-{code}");
        let arguments = [
            "pack",
            "--model",
            "model.onnx",
            "--golden",
            "golden.npz",
            "--store",
            &store,
        ];
        let answer = scene.run(&arguments);
        answer.expect_code(code);
        let listed = scene.run(&["list", "--store", &store, "--json"]).json();
        assert_eq!(
            listed["bundles"].as_array().map(Vec::len),
            Some(usize::from(code == 0))
        );
    }
}

#[test]
fn archives_are_reproducible_and_come_back_whole() {
    let (scene, _) = Scene::with_bundle();
    for format in ["zip", "tar", "tar.gz", "tar.zst"] {
        let (one, two) = (format!("1.{format}"), format!("2.{format}"));
        for output in [&one, &two] {
            let arguments = [
                "archive",
                "conv2d_fsq",
                "--format",
                format,
                "--output",
                output,
            ];
            scene.run(&arguments).expect_code(0);
        }
        let read = |name: &str| std::fs::read(scene.path(name)).unwrap();
        assert_eq!(read(&one), read(&two), "{format}");
        let store = format!("from-{format}");
        scene
            .run(&["import", &one, "--store", &store])
            .expect_code(0);
        scene
            .run(&["verify", "conv2d_fsq", "--store", &store])
            .expect_code(0);
    }
}
