//! Disks that are full, read-only or closed to us.

use std::path::Path;

use amphora_bundle::Store;
use amphora_error::{ErrorKind, Result};

use crate::shown::{Scene, shown, temporaries};
use crate::worker::{command, finished, perform, sealed, through};

#[test]
fn a_file_size_limit_at_every_size_publishes_nothing() {
    let scene = Scene::new(&["pack", "new", "5"]);
    let mut limits: Vec<u64> = (0..=44_000).step_by(2_000).collect();
    for file in crate::support::files(&scene.store) {
        let size = fs_err::metadata(scene.store.join(file)).unwrap().len();
        limits.extend([size.saturating_sub(1), size]);
    }
    limits.sort_unstable();
    limits.dedup();
    let (mut refused, mut published) = (0, 0);
    for limit in &limits {
        let shell = format!("trap '' XFSZ; exec prlimit --fsize={limit} -- \"$@\"");
        let wrapper = ["sh", "-c", &shell, "sh"];
        let (code, said) = finished(through(&wrapper, &scene.store, &scene.words()));
        match code {
            Some(8) => {
                refused += 1;
                assert!(said.contains("[storage-full]"), "{limit}: {said}");
                assert_eq!(shown(&scene.store).unwrap(), scene.before, "{limit}");
                assert!(temporaries(&scene.store).is_empty(), "{limit}");
            }
            Some(0) => published += 1,
            other => panic!("{limit}: exit {other:?}: {said}"),
        }
        scene.recovers().unwrap();
    }
    assert!(refused > 20 && published > 0, "{refused} and {published}");
    println!("{refused} of {} limits refused", limits.len());
}

#[test]
fn a_full_disk_is_named_with_the_bytes_that_are_needed() {
    // Both kinds of fullness: no blocks, and no inodes.
    for options in ["size=1m", "size=64m,nr_inodes=80"] {
        let Some((code, said)) = mounted(options, "", &["fill"]) else {
            return;
        };
        assert_eq!(code, Some(0), "{options}: {said}");
        println!("{options}: {}", said.trim());
    }
}

#[test]
fn a_read_only_store_serves_and_says_that_it_is_read_only() {
    let jobs: [&[&str]; 4] = [
        &["pack", "new", "5"],
        &["clean", "0"],
        &["remove", "old"],
        &["archive", "old", "zip"],
    ];
    for job in jobs {
        let setup = format!(
            "{} && mount -o remount,ro \"$1\"",
            shell_words(&command(Path::new("STORE"), &["pack", "old", "1"]))
        );
        let Some((code, said)) = mounted("size=4m", &setup, job) else {
            return;
        };
        assert_eq!(code, Some(8), "{job:?}: {said}");
        assert!(said.contains("the file system is read-only"), "{said}");
    }
}

#[test]
fn a_store_without_permission_is_io_in_plain_words() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new(&["pack", "new", "5"]);
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        fs_err::set_permissions(&scene.store, permissions).unwrap();
    };
    // Without its capabilities even root is refused what the mode refuses.
    let drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    mode(0o555);
    let archive = ["archive", "old2", "zip"];
    let jobs: [&[&str]; 3] = [&["pack", "new", "5"], &["remove", "old1"], &archive];
    for job in jobs {
        let (code, said) = finished(through(&drop, &scene.store, job));
        if said.contains("setpriv") {
            println!("capabilities cannot be dropped here");
            break;
        }
        assert_eq!(code, Some(8), "{job:?}: {said}");
        assert!(said.contains("permission denied"), "{said}");
    }
    mode(0o755);
    scene.recovers().unwrap();
}

#[test]
fn a_name_that_is_too_long_is_io_in_plain_words() {
    let scratch = tempfile::tempdir().unwrap();
    for store in [
        scratch.path().join("n".repeat(300)),
        scratch.path().join("n/".repeat(2500)),
    ] {
        let error = Store::open(&store)
            .and_then(|store| sealed(&store, "new", 0))
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.rule()),
            (ErrorKind::Io, "name-too-long")
        );
        assert!(error.to_string().contains("the name is too long"));
    }
}

/// Runs `job` on a store in a small file system of its own, mounted for that process alone, after
/// `setup`; or `None` where mounting is not permitted.
fn mounted(options: &str, setup: &str, job: &[&str]) -> Option<(Option<i32>, String)> {
    let scratch = tempfile::tempdir().unwrap();
    let point = scratch.path().to_str().unwrap();
    let store = scratch.path().join("artifacts");
    let setup = setup.replace("STORE", store.to_str().unwrap());
    let setup = if setup.is_empty() { "true" } else { &setup };
    let shell = format!(
        "mount -t tmpfs -o {options} none \"$1\" || exit 99; {{ {setup}; }} >&2 || exit 98; shift; exec \"$@\""
    );
    for namespace in ["-m", "-Urm"] {
        let wrapper = ["unshare", namespace, "sh", "-c", &shell, "sh", point];
        let (code, said) = finished(through(&wrapper, &store, job));
        match code {
            Some(0..=97) | Some(101) => return Some((code, said)),
            Some(98) => panic!("{said}"),
            _ => {}
        }
    }
    println!("no file system can be mounted here; the file-size limit stands in for it");
    None
}

/// A command as words of a shell, with its environment.
fn shell_words(command: &std::process::Command) -> String {
    let quote = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap());
    let environment = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, quote(value?))));
    let program = std::iter::once(command.get_program());
    let words = program.chain(command.get_args()).map(quote);
    let line: Vec<String> = environment.chain(words).collect();
    line.join(" ")
}

/// The job of a process with a small file system to itself: packs with ever less room.
pub(crate) fn fill(store: &Store) -> Result<()> {
    sealed(store, "old", 1)?.publish()?;
    let before = shown(store.path()).unwrap();
    let (mut refused, mut published, mut named) = (0, 0, 0);
    let ballast = store.path().parent().unwrap().join("ballast");
    for pages in 0..=60_usize {
        fill_but(&ballast, pages);
        match perform(store.path(), &["pack", "new", "5"]) {
            Ok(()) => {
                published += 1;
                assert_eq!(shown(store.path()).unwrap().len(), 2);
            }
            Err(error) => {
                refused += 1;
                assert_eq!(
                    (error.kind(), error.rule()),
                    (ErrorKind::Io, "storage-full"),
                    "{error:?}"
                );
                named += usize::from(error.to_string().contains("expected room for"));
                assert_eq!(shown(store.path()).unwrap(), before, "{pages}");
                assert!(temporaries(store.path()).is_empty(), "{pages}");
            }
        }
        fs_err::remove_dir_all(&ballast).unwrap();
        perform(store.path(), &["pack", "new", "5"])?;
        perform(store.path(), &["remove", "new"])?;
        assert_eq!(shown(store.path()).unwrap(), before, "{pages}");
    }
    assert!(refused > 5 && published > 0, "{refused} and {published}");
    eprintln!("{refused} refused ({named} with the bytes needed), {published} published");
    Ok(())
}

/// Fills the file system of `ballast` with one-page files and removes `pages` of them.
fn fill_but(ballast: &Path, pages: usize) {
    fs_err::create_dir(ballast).unwrap();
    let mut made = Vec::new();
    for number in 0.. {
        let file = ballast.join(number.to_string());
        let content = vec![0; 4096];
        let written = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&file)
            .and_then(|mut opened| std::io::Write::write_all(&mut opened, &content));
        if written.is_err() {
            let _ = fs_err::remove_file(&file);
            break;
        }
        made.push(file);
    }
    for file in made.iter().rev().take(pages) {
        fs_err::remove_file(file).unwrap();
    }
}
