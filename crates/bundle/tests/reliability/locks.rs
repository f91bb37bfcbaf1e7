//! Locks, their holders, and what the dead leave behind.

use std::time::{Duration, Instant, SystemTime};

use amphora_bundle::Store;
use amphora_error::ErrorKind;
use amphora_files::durable::TEMPORARY_PREFIX;
use rustix::fs::FlockOperation;

use crate::shown::{shown, temporaries};
use crate::support::{publish, store};
use crate::worker::{command, sealed, started};

#[test]
fn a_held_lock_names_process_and_command() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    publish(&store, "demo", "1.0.0", 0);
    let waiting = sealed(&store, "new", 1).unwrap();
    let mut holder = std::process::Command::new("flock")
        .arg("--no-fork")
        .arg(store.path().join(".amphora-lock"))
        .args(["sh", "-c", "echo held; exec sleep 60"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = [0; 4];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut held).unwrap();
    // What a holder of ours writes down.
    let note = format!("{}\nremoving a bundle\n", holder.id());
    fs_err::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(store.path().join(".amphora-lock"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, note.as_bytes()))
        .unwrap();
    let impatient = store.clone().with_lock_timeout(Duration::from_millis(50));
    let error = impatient.clean(0, false).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Busy, "store-locked")
    );
    let said = error.to_string();
    assert!(
        said.contains(&format!("process {} (", holder.id())),
        "{said}"
    );
    assert!(said.contains("removing a bundle"), "{said}");
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("AMPHORA_LOCK_TIMEOUT") && hint.contains("--lock-timeout"));
    assert_eq!(shown(store.path()).unwrap().len(), 1);
    holder.kill().unwrap();
    holder.wait().unwrap();
    waiting.publish().unwrap();
}

#[test]
fn a_dead_holder_holds_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    publish(&store, "demo", "1.0.0", 0);
    for _ in 0..5 {
        let lock = store.path().join(".amphora-lock");
        let file = fs_err::File::open(&lock).unwrap();
        rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
        let mut waiter = started(command(store.path(), &["clean", "5"]));
        drop(file);
        waiter.kill().unwrap();
        waiter.wait().unwrap();
        let patient = Store::open(store.path())
            .unwrap()
            .with_lock_timeout(Duration::ZERO);
        patient.clean(5, false).unwrap();
    }
}

#[test]
fn stale_temporaries_are_swept_and_living_ones_are_not() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    publish(&store, "demo", "1.0.0", 0);
    let long_ago = SystemTime::now() - Duration::from_secs(600);
    let age = |path: &std::path::Path| {
        let opened = fs_err::File::open(path).unwrap().into_file();
        opened.set_modified(long_ago).unwrap();
    };
    let living = store.draft().unwrap();
    let [held] = &temporaries(store.path())[..] else {
        panic!("one draft has one staging directory");
    };
    age(held);
    let process = std::process::id();
    let name = store.list().unwrap().bundles[0].exp_hash.clone();
    // A process with our number died in the middle of removing this very bundle.
    let grave = format!("{TEMPORARY_PREFIX}removed-{process}-0-{name}");
    fs_err::create_dir(store.path().join(&grave)).unwrap();
    store.remove(&name).unwrap();
    assert!(store.path().join(&grave).exists(), "it is young");
    age(&store.path().join(&grave));
    publish(&store, "demo", "1.0.0", 0);
    assert_eq!(temporaries(store.path()), std::slice::from_ref(held));
    drop(living);
    assert!(temporaries(store.path()).is_empty());
}

#[test]
fn a_reader_that_comes_while_a_bundle_is_removed_finds_none() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    publish(&store, "demo", "1.0.0", 0);
    let path = store.list().unwrap().bundles[0].path.clone();
    let holder = amphora_files::Directory::open(&path).unwrap();
    rustix::fs::flock(holder.descriptor(), FlockOperation::LockExclusive).unwrap();
    let start = Instant::now();
    let reader = std::thread::spawn(move || amphora_bundle::Bundle::open(path));
    std::thread::sleep(Duration::from_millis(30));
    let aside = scratch.path().join("aside");
    fs_err::rename(holder.path(), &aside).unwrap();
    let error = reader.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    println!("told after {:?}", start.elapsed());
}
