//! Every hostile file and its healthy twin, through the real command.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use amphora_attacks::{Answer, Case, Form, cases};
use amphora_testing::{each, skip};
use rustix::process::{Pid, Signal, kill_process};
use wait4::Wait4 as _;

const AMPHORA: &str = env!("CARGO_BIN_EXE_amphora");
/// What one command may cost: time, and peak resident memory in bytes.
const TIME: Duration = Duration::from_secs(5);
const MEMORY: u64 = 512 << 20;
/// What keeps a failing test from taking the machine with it: time, and address space in KiB.
const KILL_AFTER: Duration = Duration::from_secs(30);
const ADDRESS_SPACE: &str = "8388608";

/// How a command ended.
struct Ran {
    code: Option<i32>,
    signal: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
    /// What it used of a processor: other processes do not count.
    processor: Duration,
    memory: u64,
}

fn run(program: &[&str], words: &str, directory: &Path) -> io::Result<Ran> {
    let scratch = tempfile::tempdir()?;
    let stream = |name: &str| fs_err::File::create(scratch.path().join(name));
    let start = Instant::now();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -v $0; exec \"$@\"", ADDRESS_SPACE])
        .args(program)
        .args(words.split(' '))
        .current_dir(directory)
        .env("AMPHORA_HOME", scratch.path())
        .env_remove("AMPHORA_STORE")
        .env_remove("AMPHORA_JSON")
        .env_remove("AMPHORA_LOG")
        .stdin(Stdio::null())
        .stdout(stream("stdout")?.into_file())
        .stderr(stream("stderr")?.into_file())
        .spawn()?;
    let (done, waiting) = mpsc::channel::<()>();
    let pid = Pid::from_child(&child);
    let watch = std::thread::spawn(move || {
        if waiting.recv_timeout(KILL_AFTER) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let ended = child.wait4()?;
    let took = start.elapsed();
    drop(done);
    let _ = watch.join();
    let text = |name: &str| -> io::Result<String> {
        let bytes = fs_err::read(scratch.path().join(name))?;
        String::from_utf8(bytes).map_err(io::Error::other)
    };
    Ok(Ran {
        code: ended.status.code(),
        signal: ended.status.signal(),
        stdout: text("stdout")?,
        stderr: text("stderr")?,
        took,
        processor: ended.rusage.utime + ended.rusage.stime,
        memory: ended.rusage.maxrss,
    })
}

/// How many runnable processes share a processor here: on a busy machine a second is no second.
fn crowd() -> u32 {
    let load = fs_err::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    (load / processors).ceil().max(1.0) as u32
}

/// What must hold for any command, whatever it was given.
fn uncivil(ran: &Ran) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |wrong: bool, text: String| {
        if wrong {
            faults.push(text);
        }
    };
    fault(
        ran.signal.is_some(),
        format!("ended by signal {:?}", ran.signal),
    );
    fault(ran.code == Some(9), "called it its own bug".to_owned());
    fault(ran.took > TIME * crowd(), format!("took {:?}", ran.took));
    fault(
        ran.memory > MEMORY,
        format!("took {} MiB of memory", ran.memory >> 20),
    );
    for (name, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        let raw = text.chars().find(|c| c.is_control() && *c != '\n');
        fault(raw.is_some(), format!("{raw:?} on {name}"));
    }
    let hints = ran.stderr.lines().filter(|line| line.starts_with("hint:"));
    let hints = hints.count();
    fault(hints > 1, format!("{hints} hints"));
    faults
}

/// Every path beneath `root`, but for the store's own bookkeeping.
fn tree(root: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
            let name = entry.file_name();
            if name != "artifacts" && !name.to_string_lossy().starts_with(".amphora-") {
                found.insert(entry.path());
            }
        }
    }
    Ok(found)
}

fn attack(case: &Case, form: Form) -> Result<(), String> {
    let in_words = |error: io::Error| error.to_string();
    let scratch = tempfile::tempdir().map_err(in_words)?;
    case.write(scratch.path(), form)
        .map_err(|error| format!("{form:?}: not written: {error}"))?;
    let before = tree(scratch.path()).map_err(in_words)?;
    let ran = run(&[AMPHORA], case.command, scratch.path()).map_err(in_words)?;
    let mut faults = uncivil(&ran);
    if ran.processor > tighter(case) {
        faults.push(format!("took {:?} of a processor", ran.processor));
    }
    let answer = form.pick(case.answer, Answer::Accepted);
    if !answer.allows(ran.code) {
        faults.push(format!("answered {:?} instead of {answer}", ran.code));
    }
    let refused = ran.code != Some(0);
    if form == Form::Hostile {
        let said = if refused { &ran.stderr } else { &ran.stdout };
        if !said.contains(case.place) {
            faults.push(format!("does not name {:?}", case.place));
        }
    }
    if refused {
        let after = tree(scratch.path()).map_err(in_words)?;
        let changed: Vec<_> = after.symmetric_difference(&before).collect();
        if !changed.is_empty() {
            faults.push(format!("a refused command made or took {changed:?}"));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let said: String = ran.stderr.chars().take(600).collect();
    Err(format!("{form:?}: {}\n      {said}", faults.join("; ")))
}

#[test]
fn every_attack_gets_its_answer_and_every_twin_is_accepted() {
    each(&cases(), |case| {
        let answers = [Form::Hostile, Form::Healthy].map(|form| attack(case, form));
        let faults: Vec<String> = answers.into_iter().filter_map(Result::err).collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(faults.join("\n      ")),
        }
    });
}

/// What the rows ask for beyond [`TIME`]: processor time.
fn tighter(case: &Case) -> Duration {
    match case.row {
        8 | 21 => Duration::from_secs(1),
        24 => Duration::from_secs(2),
        // A million tags are a file of megabytes, and no trick.
        46 if case.name != "yaml-1000000-values" => Duration::from_millis(100),
        _ => TIME,
    }
}

#[test]
fn cuts_at_any_byte_and_random_edits_end_in_an_answer_of_every_command() {
    let scratch = tempfile::tempdir().unwrap();
    let cases = cases();
    let sound = cases.iter().find(|case| case.name == "cut").unwrap();
    sound.write(scratch.path(), Form::Healthy).unwrap();
    let path = scratch.path().join("model.onnx");
    let sound = fs_err::read(&path).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |end: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) as usize % end
    };
    let cuts = (0..sound.len()).map(|length| sound[..length].to_vec());
    let mut files: Vec<Vec<u8>> = cuts.collect();
    for _ in 0..200 {
        let mut bytes = sound.clone();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            match below(3) {
                0 => bytes[at] = below(256) as u8,
                1 => bytes.insert(at, below(256) as u8),
                _ => drop(bytes.remove(at)),
            }
        }
        files.push(bytes);
    }
    let commands = [
        "inspect model.onnx --graph",
        "contract model.onnx",
        "run model.onnx --input x=[1,2] --isolate never",
        "pack --model model.onnx --name attack --isolate never --golden-cases 1",
    ];
    let mut answers = std::collections::BTreeMap::new();
    let mut faults = Vec::new();
    for (number, bytes) in files.iter().enumerate() {
        fs_err::write(&path, bytes).unwrap();
        for command in commands {
            let ran = run(&[AMPHORA], command, scratch.path()).unwrap();
            let mut found = uncivil(&ran);
            // An edited name is another input: wrong usage, found when it is given.
            let answered = [0, 2, 3, 4, 10].map(Some).contains(&ran.code);
            let cut = number < sound.len() && ![0, 3, 4, 10].map(Some).contains(&ran.code);
            if !answered || (cut && !command.starts_with("run")) {
                found.push(format!("answered {:?}", ran.code));
            }
            if !found.is_empty() {
                faults.push(format!("{number}, {command}: {found:?}: {}", ran.stderr));
            }
            *answers.entry(ran.code).or_insert(0) += 1;
        }
    }
    println!(
        "{} files, {} commands each: {answers:?}",
        files.len(),
        commands.len()
    );
    assert!(faults.is_empty(), "{}: {}", faults.len(), faults.join("\n"));
}

/// The hostile form of the cases of a row, each run by `prlimit` under a limit.
fn limited(row: u8, limit: &str) {
    let cases = cases().into_iter().filter(|case| case.row == row);
    let cases: Vec<Case> = cases.collect();
    each(&cases, |case| -> Result<(), String> {
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        case.write(scratch.path(), Form::Hostile)
            .map_err(|error| error.to_string())?;
        let program = ["prlimit", limit, AMPHORA];
        let ran = run(&program, case.command, scratch.path()).map_err(|error| error.to_string())?;
        match case.answer.allows(ran.code) {
            true => Ok(()),
            false => Err(format!("answered {:?}: {}", ran.code, ran.stderr)),
        }
    });
}

#[test]
fn bombs_write_less_than_the_limit_that_they_break() {
    // Small archives may always unpack to 16 MiB; more is an error of another kind here.
    limited(38, "--fsize=16777216");
}

#[test]
fn a_lie_about_a_length_costs_no_memory() {
    limited(9, "--data=52428800");
}

#[test]
fn files_of_another_kind_come_with_a_remedy() {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.row == 31).collect();
    each(&cases, |case| -> Result<(), String> {
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        case.write(scratch.path(), Form::Hostile)
            .map_err(|error| error.to_string())?;
        let ran =
            run(&[AMPHORA], case.command, scratch.path()).map_err(|error| error.to_string())?;
        match ran.stderr.contains("\nhint: ") {
            true => Ok(()),
            false => Err(format!("no hint: {}", ran.stderr)),
        }
    });
}

/// Whether a line of a trace is a call that opens `part`, or that reads from it, and succeeds.
fn touches(line: &str, part: &str, may_open: bool) -> bool {
    let failed = line.contains(" = -1 ");
    let opens = line.contains("open");
    line.contains(part) && !failed && !(opens && may_open)
}

#[test]
fn what_a_hostile_name_leads_to_is_never_opened() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is absent");
    }
    let traced = cases().into_iter().filter(|case| case.unopened.is_some());
    let traced: Vec<Case> = traced.collect();
    each(&traced, |case| -> Result<(), String> {
        let part = case.unopened.unwrap_or_default();
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        case.write(scratch.path(), Form::Hostile)
            .map_err(|error| error.to_string())?;
        let calls =
            "trace=open,openat,openat2,read,pread64,readv,preadv,mmap,sendfile,copy_file_range";
        let log = scratch.path().join("trace");
        let shown = log.to_string_lossy();
        let program = ["strace", "-f", "-y", "-e", calls, "-o", &shown, AMPHORA];
        let ran = run(&program, case.command, scratch.path()).map_err(|error| error.to_string())?;
        if !case.answer.allows(ran.code) {
            return Err(format!("answered {:?}: {}", ran.code, ran.stderr));
        }
        let trace = fs_err::read(&log).map_err(|error| error.to_string())?;
        let trace = String::from_utf8_lossy(&trace);
        if !trace.contains("openat") {
            return Err("nothing was traced".to_owned());
        }
        // The links of a file can be counted only once it is open.
        let may_open = case.row == 7;
        match trace.lines().find(|line| touches(line, part, may_open)) {
            Some(line) => Err(line.to_owned()),
            None => Ok(()),
        }
    });
}
