//! Finding the library of ONNX Runtime; this process loads the peer's and no other.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::path::{Path, PathBuf};

use amphora_error::ErrorKind;
use amphora_runtime::{EngineChoice, OrtLocation, doctor, engine};

/// A library that says it is this version of ONNX Runtime, and can do nothing else.
fn pretender(folder: &Path, version: &str) -> PathBuf {
    let source = format!(
        "#[repr(C)] pub struct Base(usize, extern \"C\" fn() -> *const u8);
         extern \"C\" fn version() -> *const u8 {{ c\"{version}\".as_ptr().cast() }}
         static BASE: Base = Base(0, version);
         #[unsafe(no_mangle)] pub extern \"C\" fn OrtGetApiBase() -> *const Base {{ &BASE }}"
    );
    let file = folder.join("pretender.rs");
    amphora_files::durable::write_file(&file, source.as_bytes()).unwrap();
    let library = folder.join("libpretender.so");
    let compiled = std::process::Command::new("rustc")
        .args(["--edition=2024", "--crate-type=cdylib", "-o"])
        .arg(&library)
        .arg(&file)
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&compiled.stderr).into_owned();
    assert!(compiled.status.success(), "{messages}");
    library
}

#[test]
fn one_library_for_a_process_and_every_other_path_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let text = scratch.path().join("libonnxruntime.so");
    amphora_files::durable::write_file(&text, b"this is no library").unwrap();
    let nowhere = scratch.path().join("missing.so");

    // Nothing usable: each path tried is named, and trying spoils nothing for a later success.
    let refused = |path: &Path| engine(EngineChoice::Ort, &OrtLocation::library(path)).unwrap_err();
    assert_eq!(refused(&nowhere).kind(), ErrorKind::NotFound);
    let error = refused(&text);
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Unsupported, "ort-library")
    );
    assert!(error.to_string().contains("libonnxruntime.so"), "{error}");
    let error = engine(EngineChoice::Ort, &OrtLocation::default()).unwrap_err();
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("pip install onnxruntime")
    );
    let auto = engine(EngineChoice::Auto, &OrtLocation::default()).unwrap();
    assert_eq!(auto.name(), "rten");

    let error = refused(&pretender(scratch.path(), "1.16.3"));
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Unsupported, "ort-version")
    );
    assert!(
        error
            .to_string()
            .contains("expected 1.17 or newer, found 1.16.3"),
        "{error}"
    );

    let Some(location) = common::ort_location() else {
        return;
    };
    let auto = engine(EngineChoice::Auto, &location).unwrap();
    assert_eq!(auto.name(), "ort");
    let path = location.candidates().remove(0);
    let version = auto.version();
    assert!(path.to_str().unwrap().ends_with(&version), "{version}");

    // A link to the library in use is the same library.
    let link = scratch.path().join("linked.so");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let linked = engine(EngineChoice::Ort, &OrtLocation::library(&link)).unwrap();
    assert_eq!(linked.version(), version);

    let error = refused(&text);
    assert!(error.to_string().contains("one for a process"), "{error}");

    let reports = doctor(&location);
    let usable: Vec<(&str, bool)> = reports.iter().map(|r| (r.name, r.usable)).collect();
    assert_eq!(usable[..2], [("rten", true), ("ort", true)]);
    assert!(reports[1].libraries[0].in_use);
    let reports = doctor(&OrtLocation::library(&text));
    assert!(!reports[1].usable);
    assert!(reports[1].libraries[0].reason.is_some());
    assert_eq!(reports[2].name, "tract");
}

#[test]
fn libraries_are_found_in_python_and_node_packages() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    let names = [
        "venv/lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.22.0",
        "venv/lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime_providers_shared.so",
        "app/node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1",
        "app/node_modules/onnxruntime-node/bin/napi-v6/linux/arm64/libonnxruntime.so.1",
        "app/node_modules/onnxruntime-node/bin/napi-v6/darwin/arm64/libonnxruntime.1.22.0.dylib",
    ];
    for name in names {
        fs_err::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        amphora_files::durable::write_file(&root.join(name), b"x").unwrap();
    }
    let location = OrtLocation {
        python: vec![root.join("venv")],
        node: vec![root.join("app")],
        ..OrtLocation::default()
    };
    let found = location.candidates();
    assert_eq!(found[0], root.join(names[0]));
    assert_eq!(found.len(), 2, "{found:?}");
    let explicit = OrtLocation {
        library: Some(root.join("own.so")),
        ..location
    };
    assert_eq!(explicit.candidates(), [root.join("own.so")]);
}
