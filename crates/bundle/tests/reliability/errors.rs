//! System calls that fail.

use crate::shown::{Scene, shown, temporaries};
use crate::trace::{self, Call};
use crate::worker::{finished, through};

#[test]
fn every_failing_system_call_publishes_nothing() {
    if !trace::available() {
        return;
    }
    let jobs: [&[&str]; 3] = [
        &["pack", "new", "5"],
        &["import", "ARCHIVE"],
        &["archive", "old2", "tar.gz"],
    ];
    for job in jobs {
        let scene = Scene::new(job);
        let calls = trace::changing_calls(&scene);
        let mut refused = 0;
        for Call { name, number, text } in &calls {
            // What the lock file says only helps others to word a message.
            let harmless = text.contains(".amphora-lock");
            let error = match name.as_str() {
                "fsync" | "fdatasync" => "EIO",
                "chmod" | "fchmod" | "fchmodat" => "EPERM",
                _ => "ENOSPC",
            };
            let inject = format!("inject={name}:error={error}:when={number}");
            let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
            let (code, said) = finished(through(&wrapper, &scene.store, &scene.words()));
            let verdict = match code {
                Some(8) => {
                    refused += 1;
                    (shown(&scene.store).as_ref() == Ok(&scene.before)
                        && temporaries(&scene.store).is_empty())
                    .then_some(())
                    .ok_or("something was left".to_owned())
                }
                Some(0) if harmless => Ok(()),
                other => Err(format!("exit {other:?}")),
            };
            verdict
                .and_then(|()| scene.recovers())
                .unwrap_or_else(|fault| panic!("{job:?}, {inject} ({text}): {fault}: {said}"));
        }
        assert!(refused + 4 > calls.len(), "{refused} of {}", calls.len());
        println!("{job:?}: {refused} of {} calls refused", calls.len());
    }
}

#[test]
fn file_systems_that_can_less() {
    if !trace::available() {
        return;
    }
    let scene = Scene::new(&["pack", "new", "5"]);
    let run = |inject: &str| {
        let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject];
        finished(through(&wrapper, &scene.store, &scene.words()))
    };
    let (code, said) = run("inject=renameat2:error=EINVAL");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(shown(&scene.store).unwrap(), scene.after);
    scene.restore();
    let (code, said) = run("inject=flock:error=EOPNOTSUPP");
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("no locks"), "{said}");
    assert_eq!(shown(&scene.store).unwrap(), scene.before);
    scene.recovers().unwrap();
}
