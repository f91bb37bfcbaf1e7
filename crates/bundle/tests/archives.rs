//! Archives: reproducible when written, strict when read, and nothing visible when refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::path::Path;

use amphora_bundle::{ArchiveFormat, Bundle, ImportLimits, archive, check_integrity};
use amphora_error::ErrorKind;
use support::scene::Scene;
use support::{files, overwrite, store, visible};

#[test]
fn every_format_comes_back_as_the_same_bundle_and_is_always_the_same_bytes() {
    let scene = Scene::new();
    amphora_testing::each(&ArchiveFormat::ALL, |format| {
        let path = scene.archive(*format);
        let first = fs_err::read(&path).unwrap();
        let second = fs_err::read(scene.archive(*format)).unwrap();
        if first != second {
            return Err("the bytes differ".to_owned());
        }
        let imported = scene
            .target
            .import(&path, &ImportLimits::default())
            .map_err(|error| format!("{error:?}"))?;
        let bundle = Bundle::open(&imported.path).unwrap();
        assert!(check_integrity(&bundle).unwrap().passed());
        assert_eq!((&imported.exp_hash, imported.existed), (&scene.hash, false));
        let again = scene
            .target
            .import(&path, &ImportLimits::default())
            .unwrap();
        assert!(again.existed);
        drop(bundle);
        scene.target.remove(&scene.hash).unwrap();
        Ok(())
    });
    let source = store(scene.scratch.path());
    let bundle = source.resolve("demo").unwrap();
    let written = source.archive(&bundle, ArchiveFormat::TarGz, None).unwrap();
    assert!(written.ends_with(format!("{}.tar.gz", scene.hash)));
    assert!(source.list().unwrap().warnings.is_empty());
}

#[test]
fn a_directory_is_imported_only_when_it_is_whole() {
    let scene = Scene::new();
    let limits = ImportLimits::default();
    let imported = scene.target.import(&scene.bundle, &limits).unwrap();
    assert_eq!(files(&imported.path), files(&scene.bundle));
    scene.target.remove(&scene.hash).unwrap();
    overwrite(&scene.bundle.join("extra"), b"x");
    let error = scene.target.import(&scene.bundle, &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    assert!(visible(scene.target.path()).is_empty());
    let absent = scene
        .target
        .import(scene.scratch.path().join("absent"), &limits);
    assert_eq!(absent.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_changed_bundle_is_not_archived_and_the_old_archive_stays() {
    let scene = Scene::new();
    amphora_testing::each(&ArchiveFormat::ALL, |format| {
        let path = scene.scratch.path().join("old");
        overwrite(&path, b"the old archive");
        let healthy = fs_err::read(scene.bundle.join("config.json")).unwrap();
        let bundle = Bundle::open(&scene.bundle).unwrap();
        let mut changed = healthy.clone();
        changed[3] ^= 1;
        overwrite(&scene.bundle.join("config.json"), &changed);
        let answer = archive(&bundle, *format, &path);
        overwrite(&scene.bundle.join("config.json"), &healthy);
        let kept = fs_err::read(&path).unwrap() == b"the old archive";
        match answer {
            Err(error) if error.rule() == "file-changed" && kept => Ok(()),
            answer => Err(format!("kept {kept}: {answer:?}")),
        }
    });
}

#[test]
fn archives_that_others_made_are_read() {
    let scene = Scene::new();
    let folder = scene.bundle.parent().unwrap();
    let tools: [(&str, &[&str]); 4] = [
        ("tar", &["czf", "OUT", "HASH"]),
        ("tar", &["--format=pax", "-cf", "OUT", "HASH"]),
        ("tar", &["--format=ustar", "-cf", "OUT", "HASH"]),
        ("zip", &["-qr", "OUT", "HASH"]),
    ];
    amphora_testing::each(&tools, |(program, arguments)| {
        let out = scene.scratch.path().join("made.zip");
        let _ = fs_err::remove_file(&out);
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| match *argument {
                "OUT" => out.to_str().unwrap(),
                "HASH" => &scene.hash,
                other => other,
            })
            .collect();
        let run = std::process::Command::new(program)
            .args(&arguments)
            .current_dir(folder)
            .status();
        if !run.is_ok_and(|status| status.success()) {
            amphora_testing::skip(&format!("the program {program} is absent"));
            return Ok(());
        }
        let imported = scene.target.import(&out, &ImportLimits::default());
        imported.map_err(|error| format!("{error:?}"))?;
        scene
            .target
            .remove(&scene.hash)
            .map_err(|error| format!("{error:?}"))?;
        Ok::<(), String>(())
    });
}

#[test]
fn every_cut_and_every_changed_byte_of_an_archive_is_refused_or_harmless() {
    let scene = Scene::new();
    let limits = ImportLimits::default();
    let faults: Vec<String> = ArchiveFormat::ALL
        .iter()
        .flat_map(|format| {
            let bytes = fs_err::read(scene.archive(*format)).unwrap();
            let step = (bytes.len() / 25).max(1);
            let cuts = (0..bytes.len())
                .step_by(step)
                .map(|at| bytes[..at].to_vec());
            let edits = (0..bytes.len()).step_by(step).map(|at| {
                let mut edited = bytes.clone();
                edited[at] ^= 0x55;
                edited
            });
            let cut = cuts.clone().count();
            let path = scene.scratch.path().join("edited");
            let faults: Vec<String> = cuts
                .chain(edits)
                .enumerate()
                .filter_map(|(index, bytes)| {
                    overwrite(&path, &bytes);
                    let answer = scene.target.import(&path, &limits);
                    let fault = match &answer {
                        Ok(_) if index < cut => Some(format!("{format} cut {index}: accepted")),
                        Ok(imported) => (!whole(&imported.path))
                            .then(|| format!("{format} edit {index}: damaged")),
                        Err(error) if error.kind() == ErrorKind::Internal => {
                            Some(format!("{format} {index}: {error:?}"))
                        }
                        Err(_) => None,
                    };
                    if answer.is_ok() {
                        scene.target.remove(&scene.hash).unwrap();
                    }
                    let left = visible(scene.target.path());
                    fault.or_else(|| (!left.is_empty()).then(|| format!("left {left:?}")))
                })
                .collect();
            faults
        })
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

fn whole(path: &Path) -> bool {
    let bundle = Bundle::open(path).unwrap();
    check_integrity(&bundle).unwrap().passed()
}
