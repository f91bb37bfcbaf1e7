//! Many processes on one store.

use std::time::{Duration, Instant};

use amphora_bundle::{ArchiveFormat, Bundle, Store, check_integrity};
use amphora_error::{Error, ErrorKind, Result};

use crate::shown::{shown, temporaries};
use crate::support::store;
use crate::trace::Random;
use crate::worker::{command, sealed};

const PROCESSES: usize = 16;
const SECONDS: &str = "60";
/// The names that are packed and removed; the keeper is neither.
const NAMES: usize = 6;
const KEEPER: &str = "keeper";
/// Later than every other bundle: `clean` always keeps it.
const KEEPER_DATE: i64 = 4_000_000_000;

#[test]
fn sixteen_processes_lose_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    sealed(&store, KEEPER, KEEPER_DATE)
        .unwrap()
        .publish()
        .unwrap();
    let keeper = shown(store.path()).unwrap();
    let children: Vec<_> = (0..PROCESSES)
        .map(|seed| {
            let job = ["rival", &seed.to_string(), SECONDS].map(str::to_owned);
            let job: Vec<&str> = job.iter().map(String::as_str).collect();
            command(store.path(), &job).spawn().unwrap()
        })
        .collect();
    let mut faults = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{}", said.trim());
        if !output.status.success() {
            faults.push(said);
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let left = shown(store.path()).unwrap();
    for (name, digest) in &keeper {
        assert_eq!(left.get(name), Some(digest), "the keeper is lost");
    }
    assert!(temporaries(store.path()).is_empty());
}

/// The job of one rival: packs, checks, cleans, archives and removes until the time is over.
pub(crate) fn live(store: &Store, seed: u64, seconds: u64) -> Result<()> {
    let mut random = Random::new(seed + 1);
    let start = Instant::now();
    let mut done = [0_usize; 6];
    let mut excused = 0_usize;
    while start.elapsed() < Duration::from_secs(seconds) {
        let number = random.below(NAMES);
        let name = format!("rival{number}");
        let choice = random.below(done.len());
        let allowed: &[ErrorKind] = match choice {
            0 | 1 | 3 => &[ErrorKind::Busy],
            _ => &[ErrorKind::Busy, ErrorKind::NotFound],
        };
        let answer = match choice {
            0 | 1 => sealed(store, &name, number as i64)
                .and_then(|sealed| sealed.publish())
                .and_then(|published| match published.set_aside {
                    None => Ok(()),
                    Some(path) => Err(lost("an intact bundle was set aside").in_file(path)),
                }),
            2 => read(store, &name),
            3 => store.clean(3, false).and_then(|cleaned| {
                match cleaned.warnings.is_empty()
                    && cleaned.removed.iter().all(|b| b.name.as_str() != KEEPER)
                {
                    true => Ok(()),
                    false => Err(lost(cleaned.warnings.join("; "))),
                }
            }),
            4 => store.resolve(&name).and_then(|bundle| {
                let path = store.archive(&bundle, ArchiveFormat::Tar, None)?;
                let _ = fs_err::remove_file(path);
                Ok(())
            }),
            _ => store.remove(&name).map(drop),
        };
        match answer {
            Ok(()) => done[choice] += 1,
            Err(error) if allowed.contains(&error.kind()) => excused += 1,
            Err(error) => return Err(error),
        }
        let listing = store.list()?;
        if !listing.warnings.is_empty() {
            return Err(lost(listing.warnings.join("; ")));
        }
        read(store, KEEPER)?;
    }
    eprintln!("rival {seed}: {done:?} done, {excused} refused as documented");
    Ok(())
}

/// Holds a bundle for a moment: it stays whole while it is held.
fn read(store: &Store, name: &str) -> Result<()> {
    let bundle = store.resolve(name)?;
    check_integrity(&bundle)?.into_result()?;
    std::thread::sleep(Duration::from_millis(5));
    check_integrity(&bundle)?.into_result()?;
    bundle.graph_bytes("model").map(drop)
}

fn lost(what: impl Into<String>) -> Error {
    Error::untrusted("test-lost", what)
}

#[test]
fn packers_of_one_bundle_all_succeed() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    // The same content twice, and another of the same name: the id differs with the content.
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            command(store.path(), &["pack", "same", "7"])
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let names: Vec<String> = shown(store.path()).unwrap().into_keys().collect();
    assert_eq!(names.len(), 1);
    assert!(temporaries(store.path()).is_empty());
    let other = crate::support::draft(&store, [9.0; 3])
        .seal(crate::support::details("same", "1.0.0", 8))
        .unwrap();
    let twin = sealed(&store, "same", 7).unwrap();
    let published = std::thread::scope(|scope| {
        let first = scope.spawn(|| other.publish().unwrap());
        let second = scope.spawn(|| twin.publish().unwrap());
        [first.join().unwrap(), second.join().unwrap()]
    });
    assert!(!published[0].existed && published[1].existed);
    for publication in &published {
        let bundle = Bundle::open(&publication.path).unwrap();
        assert_eq!(bundle.id(), publication.id);
        assert!(check_integrity(&bundle).unwrap().passed());
    }
    assert_eq!(
        store.resolve("same:1.0.0").unwrap_err().rule(),
        "bundle-ambiguous"
    );
}
