//! The corpora of the fuzz targets, replayed without a fuzzer.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use amphora_attacks::TARGETS;

fn corpus() -> std::io::Result<BTreeMap<(String, String), PathBuf>> {
    let root = amphora_testing::repository().join("fuzz/corpus");
    let mut files = BTreeMap::new();
    for folder in fs_err::read_dir(root)? {
        let folder = folder?;
        for file in fs_err::read_dir(folder.path())? {
            let file = file?;
            let name = |name: std::ffi::OsString| name.to_string_lossy().into_owned();
            let key = (name(folder.file_name()), name(file.file_name()));
            files.insert(key, file.path());
        }
    }
    Ok(files)
}

#[test]
fn every_file_of_the_corpora_is_survived() {
    let files: Vec<_> = corpus().unwrap().into_iter().collect();
    amphora_testing::each(&files, |((target, _), path)| {
        let target = TARGETS
            .iter()
            .find(|known| known.name == target)
            .ok_or("there is no such target")?;
        let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
        catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)))
            .map_err(|_| "the target panicked; its message is above".to_owned())
    });
}

#[test]
fn every_target_has_its_program_and_its_corpus() {
    let manifest = amphora_testing::repository().join("fuzz/Cargo.toml");
    let manifest = fs_err::read_to_string(manifest).unwrap();
    let files = corpus().unwrap();
    amphora_testing::each(&TARGETS, |target| {
        let program = format!("path = \"targets/{}.rs\"", target.name);
        if !manifest.contains(&program) {
            return Err("no program in fuzz/Cargo.toml");
        }
        match files.keys().any(|(name, _)| name == target.name) {
            true => Ok(()),
            false => Err("no corpus"),
        }
    });
}

#[test]
fn the_corpora_hold_every_seed_and_stay_small() {
    let files = corpus().unwrap();
    // Their content may be older than the code that writes them now.
    let seeds: Vec<_> = amphora_attacks::seeds().unwrap().into_keys().collect();
    amphora_testing::each(&seeds, |(target, name)| {
        match files.contains_key(&((*target).to_owned(), name.clone())) {
            true => Ok(()),
            false => Err("missing: cargo run -p amphora-attacks --example corpus"),
        }
    });
    let sizes = files
        .values()
        .map(|path| fs_err::metadata(path).unwrap().len());
    let total: u64 = sizes.sum();
    assert!(total < 320_000, "{total} bytes");
}
