//! Writers that die, at any moment.

use std::time::{Duration, Instant};

use crate::shown::Scene;
use crate::trace::{self, Call};
use crate::worker::{command, finished, started, through};

/// The jobs that are killed.
const JOBS: [&[&str]; 5] = [
    &["pack", "new", "5"],
    &["import", "ARCHIVE"],
    &["clean", "1"],
    &["archive", "old2", "tar.gz"],
    &["remove", "old3"],
];

/// How many processes of each job are killed before they end.
const KILLS: usize = 200;

#[test]
fn random_moments_lose_nothing() {
    for job in &JOBS[..4] {
        let scene = Scene::new(job);
        let mut usual = Duration::MAX;
        for _ in 0..5 {
            let mut child = started(command(&scene.store, &scene.words()));
            let start = Instant::now();
            assert!(child.wait().unwrap().success());
            usual = usual.min(start.elapsed());
            scene.restore();
        }
        let mut random = trace::Random::new(42);
        let (mut killed, mut attempts) = (0, 0);
        while killed < KILLS {
            let mut child = started(command(&scene.store, &scene.words()));
            std::thread::sleep(usual.mul_f64(random.fraction()));
            child.kill().unwrap();
            // Too late too often, or always early: the machine is faster or slower than it was.
            if child.wait().unwrap().success() {
                usual = usual.mul_f64(0.95);
            } else {
                killed += 1;
                usual = usual.mul_f64(1.02);
            }
            attempts += 1;
            scene
                .recovers()
                .unwrap_or_else(|fault| panic!("{job:?}, attempt {attempts}: {fault}"));
            assert!(attempts < 20 * KILLS, "{job:?} cannot be caught");
        }
        scene.sweeps();
        println!("{job:?}: {killed} killed of {attempts} started");
    }
}

#[test]
fn every_system_call_loses_nothing() {
    if !trace::available() {
        return;
    }
    for job in JOBS {
        let scene = Scene::new(job);
        let calls = trace::changing_calls(&scene);
        for Call { name, number, .. } in &calls {
            let inject = format!("inject={name}:signal=KILL:when={number}");
            let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
            let (code, said) = finished(through(&wrapper, &scene.store, &scene.words()));
            assert_eq!(code, None, "{job:?} survived {inject}: {said}");
            scene
                .recovers()
                .unwrap_or_else(|fault| panic!("{job:?}, {inject}: {fault}"));
        }
        scene.sweeps();
        println!("{job:?}: killed at each of {} system calls", calls.len());
    }
}
