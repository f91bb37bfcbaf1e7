//! Bundles of real models under damage, through the library that users link.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use amphora::{ErrorKind, InputValue, PackRequest, RunRequest, Store, Subject, Timestamp};
use amphora_bundle::{Bundle, check_integrity};

/// How often a file is swapped between opening a bundle and running it.
const SWAPS: usize = 10_000;
/// How many bytes of each fixture's bundle are flipped, at the least.
const FLIPS: usize = 2_000;

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000).unwrap()
}

/// Packs a small perceptron, all of whose weights are `weight`.
fn pack_perceptron(scratch: &Path, store: &Store, weight: f32) -> PathBuf {
    let header = br#"{"go_head.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"go_head.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},"trunk.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},"trunk.0.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[20,28]},"trunk.1.bias":{"dtype":"F32","shape":[2],"data_offsets":[28,36]},"trunk.1.weight":{"dtype":"F32","shape":[2],"data_offsets":[36,44]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend([weight; 11].iter().flat_map(|value| value.to_le_bytes()));
    let checkpoint = scratch.join("m.safetensors");
    let config = scratch.join("c.json");
    amphora::write_file(&checkpoint, &file).unwrap();
    let text =
        br#"{"model_type": "mlp", "d_in": 1, "d_hidden": 2, "n_layers": 1, "heads": {"go": 1}}"#;
    amphora::write_file(&config, text).unwrap();
    let request = PackRequest {
        config: Some(config),
        name: Some("demo".into()),
        golden_cases: 2,
        ..PackRequest::new(store.clone(), checkpoint, now())
    };
    amphora::pack(&request, &|_| {}).unwrap().path
}

fn run(subject: Subject, verify: bool) -> amphora::Result<f32> {
    let answer = amphora::run(RunRequest {
        inputs: vec![("input".into(), InputValue::Json("[[0.5]]".into()))],
        verify,
        ..RunRequest::new(subject)
    })?;
    let (_, output) = answer.outputs.iter().next().unwrap();
    Ok(output.as_slice::<f32>().unwrap()[0])
}

fn exchange(a: &Path, b: &Path) {
    let aside = a.with_file_name("aside");
    fs_err::rename(a, &aside).unwrap();
    fs_err::rename(b, a).unwrap();
    fs_err::rename(&aside, b).unwrap();
}

#[test]
fn files_swapped_before_a_run_are_never_run() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(scratch.path().join("artifacts")).unwrap();
    let root = pack_perceptron(scratch.path(), &store, 1.0);
    let other = pack_perceptron(scratch.path(), &store, 2.0);
    let open = || Subject::resolve(&store, root.to_str().unwrap()).unwrap();
    let right = run(open(), true).unwrap();
    let wrong = Subject::resolve(&store, other.to_str().unwrap()).unwrap();
    assert_ne!(right, run(wrong, true).unwrap());
    let (mut same, mut refused) = (0, 0);
    let names = ["models/model.onnx", "models", "manifest.yaml", "golden"];
    for round in 0..SWAPS {
        let subject = open();
        let name = names[round % names.len()];
        exchange(&root.join(name), &other.join(name));
        match run(subject, round % 100 == 0) {
            Ok(answer) if answer == right => same += 1,
            Err(error) if error.kind() == ErrorKind::Untrusted => refused += 1,
            answer => panic!("round {round}, {name}: {answer:?}"),
        }
        exchange(&root.join(name), &other.join(name));
    }
    println!("{SWAPS} swaps: {same} times the answer, {refused} times refused");
    assert_eq!(run(open(), true).unwrap(), right);
}

#[test]
fn flipped_bytes_of_every_fixture_are_found_and_their_files_named() {
    for fixture in [
        "planner_mlp",
        "planner_transformer",
        "planner_urm",
        "planner_urm_conv",
        "conv2d_fsq",
    ] {
        let Some(folder) = amphora_testing::fixture(fixture) else {
            return;
        };
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(scratch.path().join("artifacts")).unwrap();
        let request = PackRequest {
            config: Some(folder.join("config.json")),
            name: Some(fixture.into()),
            golden_cases: 2,
            ..PackRequest::new(store, folder.join("model.safetensors"), now())
        };
        let root = amphora::pack(&request, &|_| {}).unwrap().path;
        let bundle = Bundle::open(&root).unwrap();
        let mut files: Vec<String> = bundle
            .manifest()
            .files
            .iter()
            .filter(|file| file.size > 0)
            .map(|file| file.path.to_string())
            .collect();
        files.sort();
        assert!(check_integrity(&bundle).unwrap().passed());
        let mut random = Random(7);
        let (mut flipped, mut missed) = (0, Vec::new());
        // One byte of every file at once: each file must be named, and no other.
        while flipped < FLIPS {
            let flips: Vec<Flip> = files
                .iter()
                .map(|file| Flip::new(&root.join(file), &mut random))
                .collect();
            let report = check_integrity(&bundle).unwrap();
            let named: Vec<&str> = report.changed.iter().map(|c| c.path.as_str()).collect();
            let clean = report.missing.is_empty() && report.unlisted.is_empty();
            if named != files.iter().map(String::as_str).collect::<Vec<_>>() || !clean {
                missed.push(format!("{report:?}"));
            }
            flipped += flips.len();
        }
        for file in ["manifest.yaml", "manifest.sha256"] {
            for _ in 0..100 {
                let _flip = Flip::new(&root.join(file), &mut random);
                let error = Bundle::open(&root).unwrap_err();
                if error.kind() != ErrorKind::Untrusted || !error.to_string().contains(file) {
                    missed.push(format!("{error:?}"));
                }
                flipped += 1;
            }
        }
        assert!(missed.is_empty(), "{} missed: {}", missed.len(), missed[0]);
        assert!(check_integrity(&bundle).unwrap().passed());
        println!("{fixture}: {flipped} flips in {} files", files.len() + 2);
    }
}

/// A byte that is changed in place until this is dropped.
struct Flip {
    file: fs_err::File,
    at: u64,
    byte: u8,
}

impl Flip {
    fn new(path: &Path, random: &mut Random) -> Self {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let at = random.next() % file.metadata().unwrap().len();
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        let mut flip = Self {
            file,
            at,
            byte: byte[0],
        };
        flip.put(byte[0] ^ (1 << (random.next() % 8)));
        flip
    }

    fn put(&mut self, byte: u8) {
        use std::io::{Seek as _, SeekFrom, Write as _};
        self.file.seek(SeekFrom::Start(self.at)).unwrap();
        self.file.write_all(&[byte]).unwrap();
    }
}

impl Drop for Flip {
    fn drop(&mut self) {
        self.put(self.byte);
    }
}

/// A small generator of random numbers (xorshift), the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }
}

/// The two checkpoints that swap places, a request that keeps its checkpoint, and their digests.
fn pair(scratch: &Path) -> (PackRequest, [PathBuf; 2], [amphora_files::Digest; 2]) {
    let store = Store::open(scratch.join("artifacts")).unwrap();
    let paths = [("a", 1.0_f32), ("b", 2.0)].map(|(name, weight)| {
        pack_perceptron(scratch, &store, weight);
        let path = scratch.join(name);
        fs_err::copy(scratch.join("m.safetensors"), &path).unwrap();
        path
    });
    let digests = paths
        .clone()
        .map(|path| amphora_files::sha256(&fs_err::read(path).unwrap()));
    let request = PackRequest {
        config: Some(scratch.join("c.json")),
        name: Some("swapped".into()),
        golden_cases: 2,
        keep_checkpoint: true,
        ..PackRequest::new(store, scratch.join("model"), now())
    };
    (request, paths, digests)
}

/// Which of two checkpoints a bundle says it came from, holds, and answers like.
fn origins(path: &Path, digests: &[amphora_files::Digest; 2]) -> [usize; 3] {
    let bundle = Bundle::open(path).unwrap();
    let source = bundle.manifest().provenance.source.clone().unwrap().sha256;
    let kept = bundle.manifest().assets.checkpoint.clone().unwrap();
    let kept = amphora_files::sha256(&bundle.read(&kept).unwrap());
    let which = |digest| digests.iter().position(|known| *known == digest).unwrap();
    // y = 2 w (w LayerNorm(..) + w) + w is larger for the larger weight: 3 for 1, 10 for 2.
    let answer = run(Subject::Bundle(Box::new(bundle)), false).unwrap();
    [which(source), which(kept), usize::from(answer > 5.0)]
}

#[test]
fn a_checkpoint_that_is_swapped_while_it_is_packed_is_one_checkpoint() {
    let scratch = tempfile::tempdir().unwrap();
    let (request, [a, b], digests) = pair(scratch.path());
    let put = |path: &Path| {
        let aside = scratch.path().join("aside");
        fs_err::copy(path, &aside).unwrap();
        fs_err::rename(aside, &request.model).unwrap();
    };
    for step in [
        "checking the model",
        "preparing the golden vectors",
        "writing the bundle",
    ] {
        put(&a);
        let packed = amphora::pack(&request, &|now| {
            if now == step {
                put(&b);
            }
        });
        assert_eq!(origins(&packed.unwrap().path, &digests), [0; 3], "{step}");
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    let mut seen = [0; 2];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                put(&a);
                put(&b);
            }
        });
        for round in 0..100 {
            let packed = amphora::pack(&request, &|_| {}).unwrap();
            let [source, kept, answer] = origins(&packed.path, &digests);
            assert_eq!((source, kept), (answer, answer), "round {round}");
            seen[source] += 1;
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    println!("100 packs under swaps: {seen:?}");
}
