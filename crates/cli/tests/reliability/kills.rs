//! Commands that are killed at any moment: nothing is lost, nothing partial is seen, and the same
//! command run again does its work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::scene::Scene;

/// How many processes of each command are killed before they end.
const KILLS: usize = 200;
/// The bundle that every command leaves alone.
const KEPT: &str = "kept:3.0.0";

/// Every entry of a folder that users see, and what it holds. The name of a bundle says what is in it,
/// which `verify` proves; its reports, with the times they measured, differ from run to run.
type Shown = BTreeMap<PathBuf, Vec<u8>>;

/// A command, the files it starts from and those it ends with.
struct Trial {
    scene: Scene,
    words: Vec<String>,
    /// Where its work appears.
    folders: [&'static str; 2],
    before: Shown,
    after: Shown,
    answer: String,
}

/// Packs a small perceptron; the dates of the versions follow one another.
fn pack(version: u32) -> Vec<String> {
    let words = "pack --model m.safetensors --config c.json --name kept --golden-cases 2 --version";
    let version = format!("{version}.0.0");
    let words = words.split(' ').chain([version.as_str()]);
    words.map(str::to_owned).collect()
}

fn perceptron() -> Vec<u8> {
    let header = br#"{"go_head.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"go_head.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},"trunk.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},"trunk.0.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[20,28]},"trunk.1.bias":{"dtype":"F32","shape":[2],"data_offsets":[28,36]},"trunk.1.weight":{"dtype":"F32","shape":[2],"data_offsets":[36,44]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend([0.5_f32; 11].map(f32::to_le_bytes).concat());
    file
}

impl Trial {
    fn new(words: &[&str]) -> Self {
        let scene = Scene::new();
        scene.write("m.safetensors", perceptron());
        scene.write(
            "c.json",
            r#"{"model_type": "mlp", "d_in": 1, "d_hidden": 2, "n_layers": 1, "heads": {"go": 1}}"#,
        );
        for version in 1..=3 {
            let mut command = scene.command(&pack(version));
            command.env("SOURCE_DATE_EPOCH", (1_700_000_000 + version).to_string());
            scene.answer(command).expect_code(0);
        }
        let archive = ["archive", KEPT, "--output", "archive.tar.gz"];
        scene.run(&archive).expect_code(0);
        let mut trial = Self {
            scene,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            folders: ["artifacts", "second"],
            before: Shown::new(),
            after: Shown::new(),
            answer: String::new(),
        };
        trial.answer = trial.run_kept().unwrap();
        trial.before = trial.shown().unwrap();
        copy(
            &trial.scene.path("artifacts"),
            &trial.scene.path("template"),
        );
        trial.scene.run(&trial.words).expect_code(0);
        trial.after = trial.shown().unwrap();
        assert_ne!(trial.before, trial.after);
        trial.restore();
        trial
    }

    /// Looks at the files as users do. Anything partial is an error.
    fn shown(&self) -> Result<Shown, String> {
        let mut shown = Shown::new();
        for folder in self.folders {
            let Ok(entries) = fs_err::read_dir(self.scene.path(folder)) else {
                continue;
            };
            for entry in entries {
                let path = entry.map_err(|error| error.to_string())?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with(".amphora-") {
                    continue;
                }
                let content = match path.is_dir() {
                    true => Vec::new(),
                    false => fs_err::read(&path).map_err(|error| error.to_string())?,
                };
                shown.insert(path, content);
            }
        }
        Ok(shown)
    }

    fn run_kept(&self) -> Result<String, String> {
        let words = ["run", KEPT, "--input", "input=[[0.5]]", "--json"];
        let answer = self.scene.run(&words);
        match answer.code {
            Some(0) => Ok(answer.stdout),
            _ => Err(format!("{answer:?}")),
        }
    }

    /// What must hold after a kill: the stores list and verify what they did, or that and the work
    /// of the command, all of it whole; the kept bundle answers as before.
    fn holds(&self) -> Result<(), String> {
        let found = self.shown()?;
        for (path, content) in &found {
            if self.before.get(path) != Some(content) && self.after.get(path) != Some(content) {
                return Err(format!("{} is neither old nor new", path.display()));
            }
        }
        for (path, content) in &self.before {
            if self.after.get(path) == Some(content) && !found.contains_key(path) {
                return Err(format!("{} is lost", path.display()));
            }
            let original = self.scene.path("template").join(path.file_name().unwrap());
            let manifest = |folder: &Path| fs_err::read(folder.join("manifest.yaml")).ok();
            if found.contains_key(path) && manifest(path) != manifest(&original) {
                return Err(format!("{} is another bundle", path.display()));
            }
        }
        for store in self.folders {
            if !self.scene.path(store).exists() {
                continue;
            }
            let bundles = found
                .keys()
                .filter(|path| path.is_dir() && path.starts_with(self.scene.path(store)));
            let bundles = bundles.count();
            for words in [
                ["list", "--json", "--store", store].as_slice(),
                &["verify", "--all", "--json", "--store", store],
            ] {
                let answer = self.scene.run(words);
                let value = match answer.code {
                    Some(0) => answer.json(),
                    _ => return Err(format!("{answer:?}")),
                };
                let seen = value["bundles"].as_array().map_or(0, Vec::len);
                let quiet = value["warnings"].as_array().is_some_and(Vec::is_empty);
                if seen != bundles || !quiet {
                    return Err(format!("{words:?}: {bundles} expected: {answer:?}"));
                }
            }
        }
        match self.run_kept()? == self.answer {
            true => Ok(()),
            false => Err("another answer".to_owned()),
        }
    }

    /// The same command once more, without a fault.
    fn again(&self) -> Result<(), String> {
        let answer = self.scene.run(&self.words);
        if answer.code != Some(0) {
            return Err(format!("again: {answer:?}"));
        }
        match self.shown()? == self.after {
            true => Ok(()),
            false => Err("the command did not do its work afterwards".to_owned()),
        }
    }

    /// Puts everything back to what it was; what dead writers left stays.
    fn restore(&self) {
        for path in self.shown().unwrap().into_keys() {
            if self.before.contains_key(&path) {
                continue;
            }
            if path.is_dir() {
                fs_err::remove_dir_all(path).unwrap();
            } else {
                fs_err::remove_file(path).unwrap();
            }
        }
        let lost = self.before.keys().filter(|path| !path.exists());
        for path in lost {
            let name = path.file_name().unwrap();
            copy(&self.scene.path("template").join(name), path);
        }
    }

    fn kill_at_random_moments(&self) {
        let mut usual = Duration::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            self.scene.run(&self.words).expect_code(0);
            usual = usual.min(start.elapsed());
            self.restore();
        }
        let mut random = 88_172_645_463_325_252_u64;
        let (mut killed, mut started, mut done) = (0, 0, 0);
        while killed < KILLS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut command = self.scene.command(&self.words);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            std::thread::sleep(usual.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64));
            child.kill().unwrap();
            started += 1;
            // Too late, or in time: the machine is faster or slower than it was.
            match child.wait().unwrap().code() {
                None => {
                    killed += 1;
                    usual = usual.mul_f64(1.01);
                }
                Some(code) => {
                    assert_eq!(code, 0);
                    usual = usual.mul_f64(0.95);
                }
            }
            done += usize::from(self.shown().is_ok_and(|shown| shown == self.after));
            let verdict = self.holds().and_then(|()| self.again());
            verdict.unwrap_or_else(|fault| panic!("{:?}, {started}: {fault}", self.words));
            self.restore();
            assert!(started < 10 * KILLS, "{:?} cannot be caught", self.words);
        }
        println!(
            "{}: {killed} killed of {started} started, {done} after the work was done",
            self.words[0]
        );
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs_err::copy(from, to).unwrap();
        return;
    }
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

#[test]
fn a_killed_pack_loses_nothing() {
    let words = pack(4);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Trial::new(&words).kill_at_random_moments();
}

#[test]
fn a_killed_import_loses_nothing() {
    Trial::new(&["import", "archive.tar.gz", "--store", "second"]).kill_at_random_moments();
}

#[test]
fn a_killed_clean_loses_nothing() {
    Trial::new(&["clean", "--keep", "1"]).kill_at_random_moments();
}

#[test]
fn a_killed_archive_loses_nothing() {
    Trial::new(&["archive", "kept:2.0.0", "--format", "tar.gz"]).kill_at_random_moments();
}
