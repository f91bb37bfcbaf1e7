//! Files that change between check and use.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use amphora_bundle::{Bundle, check_integrity};
use amphora_error::ErrorKind;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::{path, publish, store};
use crate::worker::sealed;

const ROUNDS: usize = 10_000;

/// Two intact bundles that differ in every graph byte that matters, and the files to exchange.
struct Stage {
    _scratch: tempfile::TempDir,
    root: PathBuf,
    other: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        let root = store.path().join(publish(&store, "demo", "1.0.0", 0));
        let draft = crate::support::draft(&store, [6.0, 5.0, 4.0]);
        let details = crate::support::details("demo", "2.0.0", 0);
        let other = draft.seal(details).unwrap().publish().unwrap().path;
        Self {
            _scratch: scratch,
            root,
            other,
        }
    }

    /// Exchanges an entry of the two bundles in one step.
    fn swap(&self, name: &str) {
        exchange(&self.root.join(name), &self.other.join(name));
    }
}

fn exchange(a: &Path, b: &Path) {
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
}

#[test]
fn swapped_files_are_never_used() {
    let stage = Stage::new();
    let (verified, _) = Bundle::open(&stage.root)
        .unwrap()
        .graph_bytes("model")
        .unwrap();
    let names = ["models/model.onnx", "models", "manifest.yaml", ""];
    let (mut refused, mut same) = (0, 0);
    for round in 0..ROUNDS {
        let bundle = Bundle::open(&stage.root).unwrap();
        if round % 10 == 0 {
            assert!(check_integrity(&bundle).unwrap().passed());
        }
        let name = names[round % names.len()];
        stage.swap(name);
        match bundle.graph_bytes("model") {
            Ok((bytes, _)) if bytes == verified => same += 1,
            Err(error) if error.kind() == ErrorKind::Untrusted => refused += 1,
            answer => panic!("round {round}, {name}: {answer:?}"),
        }
        stage.swap(name);
    }
    // A swapped manifest or a swapped directory does not touch what is open.
    assert_eq!((same, refused), (ROUNDS / 2, ROUNDS / 2));
}

#[test]
fn racing_swaps_are_never_used() {
    let stage = Stage::new();
    let (verified, _) = Bundle::open(&stage.root)
        .unwrap()
        .graph_bytes("model")
        .unwrap();
    let over = AtomicBool::new(false);
    let swaps = AtomicUsize::new(0);
    let (mut refused, mut same) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for name in ["models/model.onnx", "models", "manifest.yaml"] {
                    stage.swap(name);
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let mut rounds = 0;
        while swaps.load(Ordering::Relaxed) < ROUNDS || rounds < 1000 {
            rounds += 1;
            let answer = Bundle::open(&stage.root).and_then(|bundle| {
                let passed = check_integrity(&bundle)?.passed();
                Ok((passed, bundle.id(), bundle.graph_bytes("model")?.0))
            });
            match answer {
                // Whatever the check said: what is handed out is what the manifest names.
                Ok((_, _, bytes)) if bytes == verified => same += 1,
                Err(error) if error.kind() == ErrorKind::Untrusted => refused += 1,
                answer => {
                    over.store(true, Ordering::Relaxed);
                    panic!("{answer:?}");
                }
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    println!(
        "{} racing swaps: {same} times the bytes, {refused} times refused",
        swaps.into_inner()
    );
}

#[test]
fn files_that_shrink_while_read_end_in_an_answer() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let mut draft = crate::support::draft(&store, [1.0; 3]);
    let large = vec![5; 3 << 20];
    draft.add_bytes(&path("assets/large"), &large).unwrap();
    let published = draft
        .seal(crate::support::details("large", "1.0.0", 0))
        .unwrap()
        .publish()
        .unwrap();
    let file = published.path.join("assets/large");
    let over = AtomicBool::new(false);
    let (mut refused, mut same) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let opened = fs_err::OpenOptions::new().write(true).open(&file).unwrap();
            while !over.load(Ordering::Relaxed) {
                opened.set_len(10).unwrap();
                opened.set_len(0).unwrap();
                rustix::io::pwrite(&opened, &large, 0).unwrap();
            }
        });
        let bundle = Bundle::open(&published.path).unwrap();
        for _ in 0..300 {
            match bundle.read(&path("assets/large")) {
                Ok(bytes) if bytes == large => same += 1,
                Err(error) if error.kind() == ErrorKind::Untrusted => refused += 1,
                answer => {
                    over.store(true, Ordering::Relaxed);
                    panic!("{:?}", answer.map(|bytes| bytes.len()));
                }
            }
            check_integrity(&bundle).unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("{same} times the bytes, {refused} times refused");
}

#[test]
fn files_exchanged_between_bundles_are_found() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let one = sealed(&store, "one", 0).unwrap().publish().unwrap().path;
    let two = sealed(&store, "two", 0).unwrap().publish().unwrap().path;
    let verdict = || {
        let bundle = Bundle::open(&one)?;
        check_integrity(&bundle)?.into_result()
    };
    for name in crate::support::files(&one) {
        let same = fs_err::read(one.join(&name)).unwrap() == fs_err::read(two.join(&name)).unwrap();
        exchange(&one.join(&name), &two.join(&name));
        match verdict() {
            Ok(_) if same => {}
            Err(error) if !same && error.kind() == ErrorKind::Untrusted => {
                assert!(error.to_string().contains(&name), "{name}: {error}");
            }
            answer => panic!("{name}: {answer:?}"),
        }
        exchange(&one.join(&name), &two.join(&name));
    }
    verdict().unwrap();
}
