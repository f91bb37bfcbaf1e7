//! The process that the tests start, kill and starve: one job on one store.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use amphora_bundle::{ArchiveFormat, ImportLimits, Sealed, Store};
use amphora_error::{Error, Result};

use crate::support::{details, filled, path};

const JOB: &str = "AMPHORA_TEST_JOB";
const READY: &str = "ready";
/// More writes to the standard streams than the test harness makes.
const WRITES_OF_HARNESS: usize = 32;

/// A complete bundle; one of its files takes several writes.
pub(crate) fn sealed(store: &Store, name: &str, created: i64) -> Result<Sealed> {
    let mut draft = filled(store.draft()?, [1.0, 2.0, 3.0])?;
    draft.add_bytes(&path("assets/table.bin"), &vec![7; 40_000])?;
    draft.seal(details(name, "1.0.0", created))
}

/// Does a job: its first word names it.
pub(crate) fn perform(store: &Path, job: &[&str]) -> Result<()> {
    let store = Store::open(store)?;
    match job {
        ["pack", name, created] => {
            let created = created.parse().unwrap_or(0);
            sealed(&store, name, created)?.publish().map(drop)
        }
        ["import", archive] => store.import(archive, &ImportLimits::default()).map(drop),
        ["clean", keep] => store
            .clean(keep.parse().unwrap_or(usize::MAX), false)
            .map(drop),
        ["archive", reference, format] => {
            let bundle = store.resolve(reference)?;
            store
                .archive(&bundle, ArchiveFormat::parse(format)?, None)
                .map(drop)
        }
        ["remove", reference] => store.remove(reference).map(drop),
        ["hold"] => {
            std::thread::sleep(std::time::Duration::from_secs(60));
            Ok(())
        }
        ["rival", seed, seconds] => crate::rivals::live(
            &store,
            seed.parse().unwrap_or(0),
            seconds.parse().unwrap_or(1),
        ),
        ["fill"] => crate::disk::fill(&store),
        other => Err(Error::usage("test-job", format!("{other:?} is no job"))),
    }
}

/// The command of a process that does `job`.
pub(crate) fn command(store: &Path, job: &[&str]) -> Command {
    through(&[], store, job)
}

/// The same, started by the program and arguments in `wrapper`.
pub(crate) fn through(wrapper: &[&str], store: &Path, job: &[&str]) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(&this),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&this);
            command
        }
    };
    command
        .args(["--exact", "worker::worker", "--ignored"])
        .args(["--nocapture", "--test-threads=1"])
        .env(JOB, [&[store.to_str().unwrap()], job].concat().join("\n"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts a job and returns when its process is about to begin.
pub(crate) fn started(mut command: Command) -> Child {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.ends_with(&format!("{READY}\n")) {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "no worker");
    }
    // Whatever the harness still prints must not break its pipe.
    child.stdout = Some(lines.into_inner());
    child
}

/// Runs a job to its end: the exit code, and what it said.
pub(crate) fn finished(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
#[ignore = "the process that the other tests start"]
fn worker() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test that starts this process tells it what to do"
    )]
    let Ok(words) = std::env::var(JOB) else {
        return;
    };
    let words: Vec<&str> = words.split('\n').collect();
    // `strace` counts calls per thread: so this thread is ahead of the harness's own, and a number
    // of a call means a call of the job.
    for _ in 0..WRITES_OF_HARNESS {
        println!();
    }
    println!("{READY}");
    std::io::stdout().flush().unwrap();
    if let Err(error) = perform(Path::new(words[0]), &words[1..]) {
        eprintln!("{error:?}");
        #[expect(clippy::exit, reason = "the exit code is the answer")]
        std::process::exit(i32::from(error.kind().exit_code()));
    }
}
