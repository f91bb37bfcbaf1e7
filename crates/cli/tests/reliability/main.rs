//! The `amphora` command killed, starved and lied to: nothing is lost, and the answer is named.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

#[path = "../commands/scene.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod scene;

mod kills;
mod tampering;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use scene::{PACK, Scene};

/// What the store shows: its list, and that every bundle in it still proves itself.
fn shown(scene: &Scene) -> Vec<String> {
    let listed = scene.run(&["list", "--json"]);
    listed.expect_code(0);
    let json = listed.json();
    assert_eq!(json["warnings"].as_array().map_or(0, Vec::len), 0, "{json}");
    let hashes = json["bundles"].as_array().unwrap().iter();
    hashes
        .map(|bundle| bundle["exp_hash"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_whole_store_is_verified_and_each_damaged_bundle_named() {
    let (scene, first) = Scene::with_bundle();
    for version in ["2.0.0", "3.0.0"] {
        scene
            .run(&[PACK, &["--version", version]].concat())
            .expect_code(0);
    }
    scene.run(&["verify", "--all"]).expect_code(0);
    let json = scene.run(&["list", "--json"]).json();
    let second = json["bundles"]
        .as_array()
        .unwrap()
        .iter()
        .find(|bundle| bundle["version"] == "2.0.0")
        .unwrap()["exp_hash"]
        .as_str()
        .unwrap()
        .to_owned();
    let damaged = scene.path("artifacts").join(&second);
    std::fs::remove_file(damaged.join("metrics.json")).unwrap();
    std::fs::remove_file(first.join("manifest.yaml")).unwrap();
    let answer = scene.run(&["verify", "--all"]);
    let said = format!("{}{}", answer.stdout, answer.stderr);
    answer.expect_code(5);
    let first = first.file_name().unwrap().to_str().unwrap();
    assert!(
        said.contains(&second) && said.contains("metrics.json"),
        "{said}"
    );
    assert!(said.contains(first), "{said}");
    scene.run(&["verify", "conv2d_fsq:3.0.0"]).expect_code(0);
}

#[test]
fn a_held_lock_ends_the_wait_and_names_the_flag_that_raises_it() {
    let (scene, _) = Scene::with_bundle();
    let mut holder = Command::new("flock")
        .arg("--no-fork")
        .arg(scene.path("artifacts/.amphora-lock"))
        .args(["sh", "-c", "echo held; exec sleep 60"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = [0; 4];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut held).unwrap();
    let answer = scene.run(&["clean", "--lock-timeout", "0"]);
    answer.expect_code(7);
    assert!(
        answer.stderr.contains("AMPHORA_LOCK_TIMEOUT"),
        "{answer:#?}"
    );
    holder.kill().unwrap();
    holder.wait().unwrap();
    scene.run(&["clean", "--lock-timeout", "0"]).expect_code(0);
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_no_signal() {
    let (scene, _) = Scene::with_bundle();
    let before = shown(&scene);
    let pack = [PACK, &["--version", "2.0.0"]].concat();
    for limit in [0, 100, 4096, 20_000] {
        let mut command = Command::new("/usr/bin/prlimit");
        command
            .arg(format!("--fsize={limit}"))
            .arg("--")
            .arg(assert_cmd::cargo::cargo_bin!("amphora"))
            .args(&pack)
            .current_dir(scene.path(""));
        scene.answer(command).expect_code(8);
        assert_eq!(shown(&scene), before, "{limit}");
    }
}

#[test]
fn extreme_dates_end_in_an_answer() {
    let scene = Scene::new();
    for (date, code) in [
        ("0", 0),
        ("253402300799", 0),
        ("253402300800", 2),
        ("9223372036854775807", 2),
        ("-9223372036854775808", 2),
        ("99999999999999999999", 2),
        ("soon", 2),
    ] {
        let mut command = scene.command(PACK);
        command.env("SOURCE_DATE_EPOCH", date);
        let answer = scene.answer(command);
        assert_eq!(answer.code, Some(code), "{date}: {answer:#?}");
    }
}

#[test]
fn signals_at_any_moment_leave_nothing_behind() {
    let (scene, _) = Scene::with_bundle();
    let before = shown(&scene);
    let pack = [PACK, &["--version", "2.0.0"]].concat();
    let start = Instant::now();
    scene.run(&pack).expect_code(0);
    let usual = start.elapsed();
    for round in 0..20_u32 {
        scene.run(&["remove", "conv2d_fsq:2.0.0"]);
        let mut child = scene
            .command(&pack)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The handlers are in place a moment after the start.
        std::thread::sleep(Duration::from_millis(20) + usual * round / 20);
        let (signal, expected) = [("-INT", 130), ("-TERM", 143)][round as usize % 2];
        let _ = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .stderr(Stdio::null())
            .status();
        let code = child.wait().unwrap().code();
        assert!(code == Some(expected) || code == Some(0), "{code:?}");
        let left: Vec<_> = scene
            .files()
            .into_iter()
            .filter(|(path, _)| path.to_string_lossy().contains(".amphora-tmp-"))
            .collect();
        assert!(left.is_empty(), "{signal}: {left:?}");
        // A signal after the publication finds a whole bundle, which stays.
        let added = shown(&scene).len() - before.len();
        assert!(added == 1 || (added == 0 && code != Some(0)), "{added}");
    }
}
