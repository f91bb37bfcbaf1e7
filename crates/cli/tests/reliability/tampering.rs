//! Bundles of real models, every file of which is damaged, moved or exchanged, through the command.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::scene::{Answer, PACK, Scene};

const FIXTURES: [&str; 5] = [
    "planner_mlp",
    "planner_transformer",
    "planner_urm",
    "planner_urm_conv",
    "conv2d_fsq",
];
/// How many bytes of each fixture's bundle are flipped, at the least.
const FLIPS: usize = 2_000;
/// How many swaps race with commands, at the least, and how many commands.
const SWAPS: usize = 10_000;
const RUNS: usize = 200;

/// A bundle of a fixture's checkpoint at `bundle`, unless the fixtures are not here.
fn packed(scene: &Scene, fixture: &str) -> Option<PathBuf> {
    let folder = amphora_testing::fixture(fixture)?;
    let part = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (model, config) = (part("model.safetensors"), part("config.json"));
    let words = ["pack", "--model", &model, "--config", &config, "--name"];
    let words = [&words[..], &[fixture, "--golden-cases", "2", "--json"]].concat();
    let answer = scene.run(&words);
    answer.expect_code(0);
    let path = scene.path(answer.json()["path"].as_str().unwrap());
    let bundle = scene.path("bundle");
    let _ = fs_err::remove_dir_all(&bundle);
    fs_err::rename(path, &bundle).unwrap();
    Some(bundle)
}

/// Every file of a bundle, by its path in it.
fn files(bundle: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![bundle.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(bundle).unwrap();
                found.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn exchange(a: &Path, b: &Path) {
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
}

/// Verifies the bundle, which must be refused, naming each of `names`.
fn refused(scene: &Scene, damage: &str, names: &[&str]) -> Result<(), String> {
    let answer = scene.run(&["verify", "./bundle"]);
    let named = |name: &&str| answer.stderr.contains(*name);
    match answer.code == Some(5) && names.iter().all(named) {
        true => Ok(()),
        false => Err(format!("{damage}, {names:?}: {answer:?}")),
    }
}

/// Verification ends where no manifest can be believed: then nothing else is named.
fn seal(file: &str) -> Option<&str> {
    file.starts_with("manifest.").then_some("manifest.")
}

/// Removes, renames and exchanges one file, and adds one beside it; the bundle is whole afterwards.
fn tamper(scene: &Scene, bundle: &Path, file: &str, other: &str) -> Result<(), String> {
    let path = bundle.join(file);
    let aside = scene.path("aside");
    fs_err::rename(&path, &aside).unwrap();
    refused(scene, "removed", &[file])?;
    let renamed = format!("{file}.old");
    fs_err::rename(&aside, bundle.join(&renamed)).unwrap();
    let both: &[&str] = match seal(file) {
        Some(_) => &[file],
        None => &[file, &renamed],
    };
    refused(scene, "renamed", both)?;
    fs_err::rename(bundle.join(&renamed), &path).unwrap();
    let added = path.with_file_name("added.bin");
    fs_err::write(&added, "").unwrap();
    refused(scene, "added", &["added.bin"])?;
    fs_err::remove_file(added).unwrap();
    exchange(&path, &bundle.join(other));
    let both = match seal(file).or(seal(other)) {
        Some(part) => vec![part],
        None => vec![file, other],
    };
    refused(scene, "swapped", &both)?;
    exchange(&path, &bundle.join(other));
    // The same file of another bundle.
    let foreign = scene.path("foreign").join(file);
    let differs = fs_err::read(&foreign).is_ok_and(|bytes| bytes != fs_err::read(&path).unwrap());
    if differs {
        exchange(&path, &foreign);
        refused(scene, "from another bundle", &[seal(file).unwrap_or(file)])?;
        exchange(&path, &foreign);
    }
    Ok(())
}

#[test]
fn every_file_added_removed_renamed_or_swapped_is_named() {
    amphora_testing::each(&FIXTURES, |fixture| -> Result<(), String> {
        let scene = Scene::new();
        let foreign = FIXTURES.iter().find(|other| *other != fixture).unwrap();
        let Some(bundle) = packed(&scene, foreign) else {
            return Ok(());
        };
        fs_err::rename(bundle, scene.path("foreign")).unwrap();
        let bundle = packed(&scene, fixture).unwrap();
        let files = files(&bundle);
        for (file, other) in files.iter().zip(files.iter().cycle().skip(1)) {
            tamper(&scene, &bundle, file, other)?;
        }
        scene.run(&["verify", "./bundle"]).expect_code(0);
        println!("{fixture}: {} files, each in five ways", files.len());
        Ok(())
    });
}

#[test]
fn flipped_bytes_of_every_fixture_are_refused_and_their_files_named() {
    amphora_testing::each(&FIXTURES, |fixture| -> Result<(), String> {
        let scene = Scene::new();
        let Some(bundle) = packed(&scene, fixture) else {
            return Ok(());
        };
        let (seals, listed): (Vec<String>, Vec<String>) = files(&bundle)
            .into_iter()
            .partition(|file| seal(file).is_some());
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut flipped = 0;
        while flipped < FLIPS {
            // One byte of every listed file at once: each must be named; then of a seal alone.
            let seal = seals[flipped % seals.len()..][..1].to_vec();
            for group in [&listed, &seal] {
                let flips: Vec<Flip> = group
                    .iter()
                    .map(|file| Flip::new(&bundle.join(file), &mut random))
                    .collect();
                let names: Vec<&str> = match group.len() {
                    1 => vec!["manifest."],
                    _ => group.iter().map(String::as_str).collect(),
                };
                refused(&scene, "flipped", &names)?;
                flipped += flips.len();
            }
        }
        scene.run(&["verify", "./bundle"]).expect_code(0);
        println!("{fixture}: {flipped} flips");
        Ok(())
    });
}

/// A byte that is changed in place until this is dropped.
struct Flip {
    file: fs_err::File,
    at: u64,
    byte: u8,
}

impl Flip {
    fn new(path: &Path, random: &mut u64) -> Self {
        let mut next = || {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            *random >> 8
        };
        let mut options = fs_err::OpenOptions::new();
        let file = options.read(true).write(true).open(path).unwrap();
        let at = next() % file.metadata().unwrap().len();
        let mut byte = [0];
        file.file().read_exact_at(&mut byte, at).unwrap();
        file.file()
            .write_all_at(&[byte[0] ^ (1 << (next() % 8))], at)
            .unwrap();
        Self {
            file,
            at,
            byte: byte[0],
        }
    }
}

impl Drop for Flip {
    fn drop(&mut self) {
        self.file
            .file()
            .write_all_at(&[self.byte], self.at)
            .unwrap();
    }
}

/// Two bundles of models that answer differently, and the right answer of the first.
fn rivals() -> (Scene, [PathBuf; 2], String, String) {
    let (scene, bundle) = Scene::with_bundle();
    // Another seed would do too; a part of a weight is enough to answer differently.
    scene
        .run(&[
            "export",
            "model.pt",
            "--config",
            "config.json",
            "-o",
            "other.onnx",
        ])
        .expect_code(0);
    let mut graph = fs_err::read(scene.path("other.onnx")).unwrap();
    let middle = graph.len() / 2;
    for byte in graph[middle..middle + 4096].chunks_exact_mut(4) {
        byte.copy_from_slice(&0.25_f32.to_le_bytes());
    }
    scene.write("other.onnx", graph);
    let answer = scene.run(&["pack", "--model", "other.onnx", "--name", "other", "--json"]);
    answer.expect_code(0);
    let other = scene.path(answer.json()["path"].as_str().unwrap());
    let id = bundle.file_name().unwrap().to_str().unwrap().to_owned();
    let right = run(&scene, &id, false);
    right.expect_code(0);
    let wrong = run(&scene, "other", false);
    wrong.expect_code(0);
    assert_ne!(outputs(&right), outputs(&wrong));
    let right = outputs(&right);
    (scene, [bundle, other], id, right)
}

fn run(scene: &Scene, reference: &str, verify: bool) -> Answer {
    let words = [
        "run",
        reference,
        "--input",
        "imu_input=windows.npy",
        "--json",
    ];
    let more: &[&str] = if verify { &["--verify"] } else { &[] };
    scene.run(&[&words, more].concat())
}

fn outputs(answer: &Answer) -> String {
    answer.json()["outputs"].to_string()
}

#[test]
fn files_swapped_while_commands_run_are_never_run() {
    let (scene, [bundle, other], id, right) = rivals();
    let over = AtomicBool::new(false);
    let swaps = AtomicUsize::new(0);
    let (mut same, mut refused, mut faults) = (0, 0, Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for name in ["models/model.onnx", "models", "golden", "manifest.yaml", ""] {
                    exchange(&bundle.join(name), &other.join(name));
                    swaps.fetch_add(1, Ordering::Relaxed);
                    // So long that a command meets some swaps, and not only swaps.
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
            }
        });
        let mut runs = 0;
        while runs < RUNS || swaps.load(Ordering::Relaxed) < SWAPS {
            let answer = run(&scene, &id, runs % 2 == 1);
            match answer.code {
                Some(0) if outputs(&answer) == right => same += 1,
                Some(5) => refused += 1,
                _ => faults.push(answer),
            }
            runs += 1;
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(
        faults.is_empty(),
        "{} of them: {:#?}",
        faults.len(),
        faults[0]
    );
    println!(
        "{} swaps: {same} times the answer, {refused} times refused",
        swaps.into_inner()
    );
}

#[test]
fn files_swapped_between_verify_and_run_are_never_run() {
    let (scene, [bundle, other], id, right) = rivals();
    let files = files(&bundle);
    let shared = files.iter().filter(|file| other.join(file).exists());
    let folders = ["models", "golden", "docs", ""].map(str::to_owned);
    for name in shared.chain(&folders) {
        scene.run(&["verify", &id]).expect_code(0);
        let (a, b) = (bundle.join(name), other.join(name));
        let alike = a.is_file() && fs_err::read(&a).unwrap() == fs_err::read(&b).unwrap();
        exchange(&a, &b);
        let answer = run(&scene, &id, false);
        match alike {
            true => assert_eq!(outputs(&answer), right, "{name}"),
            false => answer.expect_code(5),
        }
        exchange(&a, &b);
    }
    assert_eq!(outputs(&run(&scene, &id, true)), right);
}

#[test]
fn a_file_that_shrinks_while_a_command_reads_it_is_no_signal() {
    let (scene, bundle) = Scene::with_bundle();
    let id = bundle.file_name().unwrap().to_str().unwrap().to_owned();
    let right = outputs(&run(&scene, &id, false));
    let graph = bundle.join("models/model.onnx");
    let whole = fs_err::read(&graph).unwrap();
    let over = AtomicBool::new(false);
    let mut counts = std::collections::BTreeMap::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut options = fs_err::OpenOptions::new();
            let file = options.write(true).open(&graph).unwrap().into_file();
            while !over.load(Ordering::Relaxed) {
                file.set_len(10).unwrap();
                file.write_all_at(&whole, 0).unwrap();
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        for _ in 0..100 {
            let answer = run(&scene, &id, false);
            if answer.code == Some(0) {
                assert_eq!(outputs(&answer), right);
            }
            *counts.entry(answer.code).or_insert(0) += 1;
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("{counts:?}");
    let allowed = [Some(0), Some(5), Some(8)];
    assert!(
        counts.keys().all(|code| allowed.contains(code)),
        "{counts:?}"
    );
}

#[test]
fn a_store_says_what_it_lost_and_what_is_not_its_own() {
    let (scene, first) = Scene::with_bundle();
    scene
        .run(&[PACK, &["--version", "2.0.0"]].concat())
        .expect_code(0);
    let name = first.file_name().unwrap().to_str().unwrap().to_owned();
    scene.write("artifacts/notes.txt", "mine");
    let said = scene.run(&["verify", "--all"]);
    said.expect_code(0);
    assert!(said.stdout.contains("notes.txt"), "{said:#?}");
    // Its manifest, then everything: the others are still verified.
    for lost in [first.join("manifest.yaml"), first.join("manifest.sha256")] {
        fs_err::remove_file(lost).unwrap();
        let answer = scene.run(&["verify", "--all"]);
        answer.expect_code(5);
        assert!(answer.stderr.contains(&name), "{answer:#?}");
        scene.run(&["verify", "conv2d_fsq:2.0.0"]).expect_code(0);
    }
    // Packed again, it is whole, and the damaged one lies aside.
    scene.run(PACK).expect_code(0);
    let answer = scene.run(&["verify", "--all", "--json"]);
    answer.expect_code(0);
    let warnings = answer.json()["warnings"].to_string();
    for word in ["notes.txt", "damaged-1"] {
        assert!(warnings.contains(word), "{warnings}");
    }
}
