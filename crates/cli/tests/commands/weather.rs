//! Full disks, unwritable places, signals and closed pipes.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::scene::{PACK, Scene};

#[test]
fn a_full_stdout_is_an_io_error_and_a_closed_one_is_no_error() {
    let scene = Scene::with_onnx();
    for line in [
        "inspect model.onnx",
        "--help",
        "doctor",
        "schema manifest",
        "completions bash",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = scene.command(&words);
        let full = fs_err::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        command.stdout(full.into_parts().0).stderr(Stdio::null());
        let status = command.status().unwrap();
        assert_eq!(status.code(), Some(8), "{line} into a full device");

        let mut command = scene.command(&words);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(writer);
        let status = command.status().unwrap();
        assert_eq!(status.code(), Some(0), "{line} into a closed pipe");
    }
}

#[test]
fn an_unwritable_store_is_an_io_error_and_nothing_is_lost() {
    let (scene, _) = Scene::with_bundle();
    scene
        .run(&["archive", "conv2d_fsq", "--output", "b.zip"])
        .expect_code(0);
    scene.write("file", "in the way");
    let before = scene.files();
    for store in ["file", "file/below", "/proc/nothing"] {
        let pack = [PACK, &["--store", store, "--json"]].concat();
        let answer = scene.run(&pack);
        answer.expect_code(8);
        assert_eq!(answer.error_kind(), "io", "{store}");
        scene
            .run(&["import", "b.zip", "--store", store])
            .expect_code(8);
    }
    for output in ["file/x", "/dev/full/x"] {
        let export = [
            "export",
            "model.pt",
            "--config",
            "config.json",
            "-o",
            output,
        ];
        scene.run(&export).expect_code(8);
        scene
            .run(&["archive", "conv2d_fsq", "--output", output])
            .expect_code(8);
    }
    assert_eq!(before, scene.files());
}

#[test]
fn a_full_disk_at_any_size_leaves_the_store_as_it_was() {
    let (scene, _) = Scene::with_bundle();
    let listed = || scene.run(&["list", "--json"]).stdout;
    let before = listed();
    let binary = assert_cmd::cargo::cargo_bin!("amphora");
    for blocks in [0, 1, 8, 40, 100] {
        // `ulimit -f` counts blocks of 512 or 1024 bytes, as the shell likes; the signal that a write
        // beyond the limit raises is ignored, so that the write itself fails.
        let script = format!(
            "trap '' XFSZ; ulimit -f {blocks}; exec {} {} --version 9.9.9",
            binary.display(),
            PACK.join(" ")
        );
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &script])
            .current_dir(scene.path(""))
            .env_clear()
            .env("SOURCE_DATE_EPOCH", "1700000000");
        let answer = scene.answer(shell);
        answer.expect_code(8);
        assert_eq!(before, listed(), "{blocks} blocks");
    }
    let again = [PACK, &["--version", "9.9.9"]].concat();
    scene.run(&again).expect_code(0);
}

#[test]
fn signals_end_a_command_with_their_code_and_leave_nothing_half_written() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let scene = Scene::new();
        let pack = [
            "pack",
            "--model",
            "model.pt",
            "--config",
            "config.json",
            "--golden-cases",
            "100000",
        ];
        let mut child = scene
            .command(&pack)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut first = [0; 1];
        // The first word on stderr says that the signal handlers are in place.
        stderr.read_exact(&mut first).unwrap();
        let killed = Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let start = Instant::now();
        let status = child.wait().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(status.code(), Some(code), "{signal}");
        let left: Vec<_> = scene
            .files()
            .into_iter()
            .filter(|(path, _)| path.to_string_lossy().contains(".amphora-tmp-"))
            .collect();
        assert!(left.is_empty(), "{signal}: {left:?}");
    }
}
