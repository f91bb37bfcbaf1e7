//! A bundle is what was sealed, to the last byte, or the check names what differs.

mod support;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use amphora_bundle::{Bundle, IntegrityReport, check_integrity};
use amphora_error::ErrorKind;
use support::{files, overwrite, path, publish, store};

/// Opens and checks; what the two find together, in words.
fn verdict(bundle: &Path) -> Result<(), String> {
    let bundle = Bundle::open(bundle).map_err(|error| format!("{error:?}"))?;
    check_integrity(&bundle)
        .and_then(IntegrityReport::into_result)
        .map(drop)
        .map_err(|error| format!("{error:?}"))
}

#[test]
fn every_flipped_byte_of_a_bundle_is_found_and_its_file_named() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let root = store.path().join(publish(&store, "demo", "1.0.0", 0));
    assert_eq!(verdict(&root), Ok(()));
    let bundle = Bundle::open(&root).unwrap();
    let mut missed = Vec::new();
    let mut flipped = 0;
    for file in files(&root) {
        let target = root.join(&file);
        let healthy = fs_err::read(&target).unwrap();
        for at in 0..healthy.len() {
            let mut damaged = healthy.clone();
            damaged[at] ^= 1 << (at % 8);
            // In place: the manifest and its digest must be found changed after opening as well.
            let mut opened = fs_err::OpenOptions::new()
                .write(true)
                .open(&target)
                .unwrap();
            std::io::Write::write_all(&mut opened, &damaged).unwrap();
            let report = check_integrity(&bundle).unwrap();
            let named = report.changed.len() == 1 && report.changed[0].path == file;
            let reopened = file.starts_with("manifest.") && Bundle::open(&root).is_ok();
            if !named || reopened {
                missed.push(format!("{file} byte {at}: {report:?}"));
            }
            flipped += 1;
        }
        overwrite(&target, &healthy);
    }
    assert!(
        missed.is_empty(),
        "{} missed: {:#?}",
        missed.len(),
        &missed[..1]
    );
    assert!(flipped > 5000, "{flipped}");
    assert_eq!(verdict(&root), Ok(()));
}

#[test]
fn what_is_added_removed_renamed_or_swapped_is_listed_apart() {
    type Damage = fn(&Path);
    let rows: [(&str, Damage, &str); 11] = [
        (
            "added",
            |r| overwrite(&r.join("extra.txt"), b"x"),
            "extra.txt: unlisted",
        ),
        (
            "hidden",
            |r| overwrite(&r.join(".git"), b"x"),
            ".git: unlisted",
        ),
        (
            "deep",
            |r| overwrite(&r.join("models/b.onnx"), b"x"),
            "models/b.onnx: unlisted",
        ),
        (
            "folder",
            |r| fs_err::create_dir(r.join("empty")).unwrap(),
            "empty/: unlisted",
        ),
        (
            "removed",
            |r| fs_err::remove_file(r.join("config.json")).unwrap(),
            "config.json: missing",
        ),
        (
            "renamed",
            |r| fs_err::rename(r.join("config.json"), r.join("configs.json")).unwrap(),
            "config.json: missing\n  - configs.json: unlisted",
        ),
        (
            "swapped",
            |r| {
                fs_err::rename(r.join("config.json"), r.join("x")).unwrap();
                fs_err::rename(r.join("metrics.json"), r.join("config.json")).unwrap();
                fs_err::rename(r.join("x"), r.join("metrics.json")).unwrap();
            },
            "config.json: expected",
        ),
        (
            "linked",
            |r| {
                fs_err::rename(r.join("config.json"), r.parent().unwrap().join("c")).unwrap();
                symlink("../c", r.join("config.json")).unwrap();
            },
            "config.json: a symbolic link",
        ),
        (
            "hard linked",
            |r| fs_err::hard_link(r.join("config.json"), r.parent().unwrap().join("h")).unwrap(),
            "config.json: the file has a second hard link",
        ),
        (
            "linked folder",
            |r| {
                fs_err::rename(r.join("models"), r.parent().unwrap().join("m")).unwrap();
                symlink("../m", r.join("models")).unwrap();
            },
            "models: unlisted",
        ),
        (
            "a folder for a file",
            |r| {
                fs_err::remove_file(r.join("config.json")).unwrap();
                fs_err::create_dir(r.join("config.json")).unwrap();
            },
            "config.json/: unlisted",
        ),
    ];
    amphora_testing::each(&rows, |(_, damage, named)| {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        let root = store.path().join(publish(&store, "demo", "1.0.0", 0));
        verdict(&root)?;
        damage(&root);
        match verdict(&root) {
            Err(error) if error.starts_with("Untrusted [integrity]") && error.contains(named) => {
                Ok(())
            }
            answer => Err(format!("{answer:?}")),
        }
    });
}

#[test]
fn opening_compares_the_manifest_before_it_is_parsed() {
    type Damage = fn(&Path);
    let rows: [(&str, Damage, ErrorKind, &str); 9] = [
        (
            "the manifest is changed",
            |r| overwrite(&r.join("manifest.yaml"), b"&a [*a]"),
            ErrorKind::Untrusted,
            "manifest-digest",
        ),
        (
            "the digest is in upper case",
            |r| {
                let text = fs_err::read_to_string(r.join("manifest.sha256")).unwrap();
                overwrite(&r.join("manifest.sha256"), text.to_uppercase().as_bytes());
            },
            ErrorKind::Untrusted,
            "manifest-digest-form",
        ),
        (
            "the digest is a path",
            |r| overwrite(&r.join("manifest.sha256"), b"../../../../etc/passwd"),
            ErrorKind::Untrusted,
            "manifest-digest-form",
        ),
        (
            "the digest is followed by something",
            |r| {
                let mut bytes = fs_err::read(r.join("manifest.sha256")).unwrap();
                bytes.extend(b"\n");
                overwrite(&r.join("manifest.sha256"), &bytes);
            },
            ErrorKind::Untrusted,
            "manifest-digest-form",
        ),
        (
            "there is no digest",
            |r| fs_err::remove_file(r.join("manifest.sha256")).unwrap(),
            ErrorKind::Untrusted,
            "file-missing",
        ),
        (
            "there is no manifest",
            |r| fs_err::remove_file(r.join("manifest.yaml")).unwrap(),
            ErrorKind::Untrusted,
            "file-missing",
        ),
        (
            "there is neither",
            |r| {
                fs_err::remove_file(r.join("manifest.sha256")).unwrap();
                fs_err::remove_file(r.join("manifest.yaml")).unwrap();
            },
            ErrorKind::NotFound,
            "not-a-bundle",
        ),
        (
            "both were replaced, the id was not",
            |r| {
                let text = fs_err::read_to_string(r.join("manifest.yaml")).unwrap();
                let forged = text.replace("version: \"1.0.0\"", "version: \"2.0.0\"");
                assert_ne!(text, forged);
                let digest = amphora_files::sha256(forged.as_bytes());
                overwrite(&r.join("manifest.yaml"), forged.as_bytes());
                overwrite(
                    &r.join("manifest.sha256"),
                    format!("{digest}  manifest.yaml\n").as_bytes(),
                );
            },
            ErrorKind::Untrusted,
            "bundle-id",
        ),
        (
            "it is a file",
            |r| {
                fs_err::remove_dir_all(r).unwrap();
                overwrite(r, b"x");
            },
            ErrorKind::Malformed,
            "not-a-directory",
        ),
    ];
    amphora_testing::each(&rows, |(_, damage, kind, rule)| {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        let root = store.path().join(publish(&store, "demo", "1.0.0", 0));
        damage(&root);
        match Bundle::open(&root) {
            Err(error) if error.kind() == *kind && error.rule() == *rule => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    });
}

#[test]
fn reading_returns_only_bytes_that_were_compared() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let root = store.path().join(publish(&store, "demo", "1.0.0", 0));
    let bundle = Bundle::open(&root).unwrap();
    let config = path("config.json");
    let bytes = bundle.read(&config).unwrap();
    assert!(bytes.starts_with(b"{\"model\""));
    let (graph, data) = bundle.graph_bytes("model").unwrap();
    assert!(!graph.is_empty() && data.is_empty());
    assert_eq!(
        bundle.graph_bytes("other").unwrap_err().rule(),
        "graph-not-found"
    );
    assert_eq!(
        bundle.read(&path("absent")).unwrap_err().rule(),
        "file-not-listed"
    );
    let mut same_size = bytes.to_vec();
    same_size[2] ^= 1;
    overwrite(&root.join("config.json"), &same_size);
    assert_eq!(bundle.read(&config).unwrap_err().rule(), "file-changed");
    overwrite(&root.join("config.json"), b"short");
    assert_eq!(bundle.read(&config).unwrap_err().rule(), "file-changed");
    fs_err::remove_file(root.join("config.json")).unwrap();
    let error = bundle.read(&config).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Untrusted, "file-missing")
    );
}

#[test]
fn published_files_can_be_read_by_all_and_written_by_the_owner() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let root = store.path().join(publish(&store, "demo", "1.0.0", 0));
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&root), 0o755);
    assert_eq!(mode(&root.join("models")), 0o755);
    for file in files(&root) {
        assert_eq!(mode(&root.join(&file)), 0o644, "{file}");
    }
}
