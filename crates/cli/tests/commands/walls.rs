//! Models of strangers run in a process of their own, which lives no longer than the command.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use amphora_attacks::{Case, Form};
use rustix::process::{Pid, Signal, kill_process};

use crate::fixtures::{engines, run_in};
use crate::scene::{PACK, Scene};

const RUN: &[&str] = &["run", "model.onnx", "--input", "imu_input=windows.npy"];
const PACK_ONNX: &[&str] = &["pack", "--model", "model.onnx", "--golden-cases", "2"];

/// Runs the command; whether it used another process, told from its log.
pub(crate) fn is_apart(scene: &Scene, home: &str, arguments: &[&str], code: i32) -> bool {
    let mut command = scene.command(arguments);
    command
        .env("AMPHORA_LOG", "amphora_runtime=info")
        .env("AMPHORA_HOME", scene.path(home));
    let answer = scene.answer(command);
    answer.expect_code(code);
    answer.stderr.contains("in a process of its own")
}

#[test]
fn what_amphora_made_or_verified_runs_here_and_the_rest_apart() {
    let (scene, bundle) = Scene::with_bundle();
    let export = [
        "export",
        "model.pt",
        "--config",
        "config.json",
        "-o",
        "model.onnx",
    ];
    scene.run(&export).expect_code(0);
    let bundle = bundle.to_string_lossy();
    let run = ["run", &bundle, "--input", "imu_input=windows.npy"];
    let verify = ["verify", &bundle];
    let with = |arguments: &[&'static str], more: &[&'static str]| [arguments, more].concat();
    // In this order: what a command remembers counts for the next with the same home.
    let rows: [(&str, Vec<&str>, bool); 17] = [
        ("a", RUN.to_vec(), true),
        ("a", RUN.to_vec(), true),
        ("a", with(RUN, &["--isolate", "never"]), false),
        ("a", PACK_ONNX.to_vec(), true),
        ("a", with(PACK_ONNX, &["--isolate", "never"]), false),
        ("b", PACK.to_vec(), false),
        ("b", run.to_vec(), false),
        ("b", verify.to_vec(), false),
        ("c", run.to_vec(), true),
        ("c", run.to_vec(), true),
        ("c", verify.to_vec(), true),
        ("c", verify.to_vec(), false),
        ("c", run.to_vec(), false),
        ("d", [&run[..], &["--verify"]].concat(), true),
        ("d", run.to_vec(), false),
        ("d", [&run[..], &["--isolate", "always"]].concat(), true),
        ("d", with(PACK, &["--isolate", "always"]), true),
    ];
    for (home, arguments, expected) in rows {
        let apart = is_apart(&scene, home, &arguments, 0);
        assert_eq!(apart, expected, "{home}: {arguments:?}");
    }
}

#[test]
fn both_processes_give_the_same_answer() {
    let scene = Scene::with_onnx();
    let answers = ["always", "never"].map(|isolate| {
        let answer = scene.run(&[RUN, &["--json", "--isolate", isolate]].concat());
        answer.expect_code(0);
        answer.json()
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn being_remembered_says_nothing_about_bytes() {
    let (scene, bundle) = Scene::with_bundle();
    let name = bundle.to_string_lossy();
    let verify = ["verify", &name];
    assert!(!is_apart(&scene, ".local/share/amphora", &verify, 0));
    let graph = bundle.join("models/model.onnx");
    let mut bytes = fs_err::read(&graph).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::remove_file(&graph).unwrap();
    fs_err::write(&graph, bytes).unwrap();
    assert!(!is_apart(&scene, ".local/share/amphora", &verify, 5));
}

#[test]
fn a_home_that_cannot_be_written_costs_only_the_memory() {
    let (scene, bundle) = Scene::with_bundle();
    scene.write("file", "");
    let bundle = bundle.to_string_lossy();
    for _ in 0..2 {
        assert!(is_apart(&scene, "file", &["verify", &bundle], 0));
    }
}

#[test]
fn limits_are_named_with_the_flag_that_raises_them() {
    let rows = [
        ("--engine-memory", "1", 4, "memory"),
        ("--engine-timeout", "0", 2, "--engine-timeout"),
    ];
    let scene = Scene::with_onnx();
    amphora_testing::each(&rows, |(flag, value, code, named)| {
        let answer = scene.run(&[RUN, &[flag, value]].concat());
        let said = answer.stderr.contains(named);
        match (answer.code == Some(*code), said) {
            (true, true) => Ok(()),
            _ => Err(format!("{answer:#?}")),
        }
    });
}

#[test]
fn every_engine_is_held_back() {
    let rows: [(&str, &[&str], i32, &str); 3] = [
        (
            "loop-for-ever",
            &["--engine-timeout", "1"],
            7,
            "at most 1 s",
        ),
        (
            "loop-for-ever",
            &["--engine-cpu-time", "1"],
            7,
            "processor time",
        ),
        ("constant-16-gib", &[], 4, "memory"),
    ];
    let commands: [&[&str]; 2] = [
        &["run", "model.onnx", "--input", "x=[1,2]"],
        &["pack", "--model", "model.onnx"],
    ];
    for (engine, environment) in engines() {
        amphora_testing::each(&rows, |(case, limits, code, named)| {
            let scene = Scene::new();
            hostile(case).write(&scene.path(""), Form::Hostile).unwrap();
            for command in commands {
                let arguments = [command, limits, &["--engine", engine]].concat();
                let answer = run_in(&scene, environment.as_ref(), &arguments);
                let remedy = answer
                    .stderr
                    .contains("\nhint: where the model deserves it");
                if answer.code != Some(*code) || !answer.stderr.contains(named) || !remedy {
                    return Err(format!("{arguments:?}: {answer:#?}"));
                }
            }
            let listed = scene.run(&["list", "--json"]).json();
            match listed["bundles"].as_array().map(Vec::len) {
                Some(0) => Ok(()),
                other => Err(format!("{other:?} bundles")),
            }
        });
    }
}

fn hostile(name: &str) -> Case {
    let mut cases = amphora_attacks::cases().into_iter();
    cases.find(|case| case.name == name).unwrap()
}

#[test]
fn golden_vectors_without_a_second_engine_come_with_a_warning() {
    let scene = Scene::with_onnx();
    let answer = scene.run(&[PACK_ONNX, &["--json"]].concat());
    answer.expect_code(0);
    let warnings = answer.json()["warnings"].to_string();
    assert!(warnings.contains("recorded by rten"), "{warnings}");
    assert!(
        answer.stderr.contains("warning: the golden vectors"),
        "{answer:#?}"
    );
    let answer = scene.run(&[PACK, &["--json"]].concat());
    let warnings = answer.json()["warnings"].to_string();
    assert!(!warnings.contains("recorded by"), "{warnings}");
}

/// The processes whose parent is `parent`, from `/proc`.
fn children(parent: u32) -> Vec<u32> {
    let entries = fs_err::read_dir("/proc").unwrap();
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers
        .filter(|number| parent_of(*number) == Some(parent))
        .collect()
}

fn parent_of(process: u32) -> Option<u32> {
    let status = fs_err::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it may hold anything.
    let (_, rest) = status.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Waits until `done`, at most twenty seconds.
fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
fn no_command_leaves_its_engine_behind() {
    if parent_of(std::process::id()).is_none() {
        return amphora_testing::skip("/proc is absent");
    }
    let rows = [
        ("interrupted", Signal::INT, Some(130)),
        ("terminated", Signal::TERM, Some(143)),
        ("killed", Signal::KILL, None),
    ];
    let case = hostile("loop-for-ever");
    amphora_testing::each(&rows, |(_, signal, code)| {
        let scene = Scene::new();
        case.write(&scene.path(""), Form::Hostile).unwrap();
        let mut command: Command = scene.command(&["run", "model.onnx", "--input", "x=[1,2]"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut parent = command.spawn().unwrap();
        let mut engine = None;
        let started = wait_until(|| {
            engine = children(parent.id()).first().copied();
            // The loop has begun once it has taken a while of processor time.
            engine.is_some_and(|engine| ticks(engine) > 20)
        });
        let Some(engine) = engine.filter(|_| started) else {
            let _ = parent.kill();
            let _ = parent.wait();
            return Err("no engine was seen at work".to_owned());
        };
        kill_process(Pid::from_child(&parent), *signal).unwrap();
        let ended = parent.wait().unwrap().code();
        if !wait_until(|| !Path::new(&format!("/proc/{engine}")).exists()) {
            let engine = Pid::from_raw(i32::try_from(engine).unwrap()).unwrap();
            let _ = kill_process(engine, Signal::KILL);
            return Err("the engine still runs".to_owned());
        }
        match ended == *code {
            true => Ok(()),
            false => Err(format!("ended with {ended:?}")),
        }
    });
}

/// Processor time that a process has taken, in hundredths of a second.
fn ticks(process: u32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = status.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |at: usize| fields.split_whitespace().nth(at)?.parse::<u64>().ok();
    field(11).unwrap_or(0) + field(12).unwrap_or(0)
}
