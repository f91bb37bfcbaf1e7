//! System calls of a job, by `strace`.

use std::path::Path;

use crate::shown::Scene;
use crate::worker::{finished, through};

/// The system calls that change what a file system holds.
const CHANGING: &str = "write,pwrite64,mkdir,mkdirat,chmod,fchmod,fchmodat,ftruncate,fsync,fdatasync,\
    rename,renameat,renameat2,unlink,unlinkat,rmdir";

/// One system call of the job.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Its name.
    pub(crate) name: String,
    /// The how manieth of its name in the process it is, from 1.
    pub(crate) number: usize,
    /// Its arguments, descriptors with their paths, and what it returned.
    pub(crate) text: String,
}

/// Whether `strace` works here; otherwise a line says that the test is skipped.
pub(crate) fn available() -> bool {
    let works = std::process::Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !works {
        amphora_testing::skip("strace cannot be used");
    }
    works
}

/// The calls among `wanted` (names separated by commas) that a job makes, in order.
pub(crate) fn calls(store: &Path, job: &[&str], wanted: &str) -> Vec<Call> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let file = log.path().to_str().unwrap();
    let filter = format!("trace={wanted}");
    let wrapper = [
        "strace", "-f", "-qq", "-y", "-s", "0", "-o", file, "-e", &filter,
    ];
    let (code, said) = finished(through(&wrapper, store, job));
    assert_eq!(code, Some(0), "{said}");
    let text = fs_err::read_to_string(log.path()).unwrap();
    // Each line begins with the number of the thread; the harness's own threads are silent or only
    // write to the standard streams.
    let mut counts = std::collections::BTreeMap::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let Some((name, text)) = call.trim_start().split_once('(') else {
            continue;
        };
        let count = counts.entry((thread, name)).or_insert(0);
        *count += 1;
        found.push(Call {
            name: name.to_owned(),
            number: *count,
            text: text.to_owned(),
        });
    }
    found
}

/// The calls of a scene's job that change something; what the harness says on the standard streams
/// is left out. The scene is as before afterwards.
pub(crate) fn changing_calls(scene: &Scene) -> Vec<Call> {
    let mut calls = calls(&scene.store, &scene.words(), CHANGING);
    scene.restore();
    calls.retain(|call| !call.text.starts_with("1<") && !call.text.starts_with("2<"));
    assert!(!calls.is_empty());
    calls
}

/// A small generator of random numbers (xorshift), the same in every run.
pub(crate) struct Random(u64);

impl Random {
    /// A generator that begins with `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }

    /// A number from 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.below(1_000_001) as f64 / 1_000_000.0
    }
}
