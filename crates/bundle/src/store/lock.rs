//! One writer at a time.

use std::io::{Seek, Write};
use std::time::{Duration, Instant};

use amphora_error::{Error, Result, printable};
use fs_err::File;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::Store;

const LOCK: &str = ".amphora-lock";

/// The store's lock; it ends with the value, and with the process that holds it.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Store {
    /// Waits for the store's lock, at most as long as the store's timeout. `operation` is what
    /// another process is told that has to wait.
    pub(super) fn lock(&self, operation: &str) -> Result<Lock> {
        let path = self.path.join(LOCK);
        let mut file = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| Error::from_io("opening the lock", &path, source))?;
        let start = Instant::now();
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if start.elapsed() < self.lock_timeout => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(Errno::WOULDBLOCK) => return Err(self.held(&path)),
                Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => {
                    return Err(Error::unsupported(
                        "file-system-without-locks",
                        "the file system of the store has no locks, so writers cannot be kept apart",
                    )
                    .in_file(&path)
                    .hint("put the store on a local file system (--store)"));
                }
                Err(errno) => return Err(Error::from_io("locking", &path, errno.into())),
            }
        }
        // The note only serves the message of whoever waits: losing it loses nothing.
        let note = format!("{}\n{operation}\n", std::process::id());
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(note.as_bytes()));
        Ok(Lock { _file: file })
    }

    fn held(&self, path: &std::path::Path) -> Error {
        let note = amphora_files::OpenedFile::open(path)
            .and_then(|file| file.contents(4096))
            .unwrap_or_default();
        let note = String::from_utf8_lossy(&note).into_owned();
        let mut lines = note.lines();
        let holder = lines
            .next()
            .filter(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()));
        let found = match holder {
            Some(pid) => format!(
                "process {pid} ({}), {}",
                command_of(pid),
                printable(lines.next().unwrap_or("writing"))
            ),
            None => "another process".to_owned(),
        };
        Error::busy("store-locked", "another writer holds the store")
            .expected(format!(
                "the lock within {} s",
                self.lock_timeout.as_secs_f64()
            ))
            .found(found)
            .in_file(path)
            .hint("wait until it has finished, or raise --lock-timeout (AMPHORA_LOCK_TIMEOUT)")
    }
}

/// The name of the program that a process runs, where the system tells.
fn command_of(pid: &str) -> String {
    let comm = fs_err::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let comm = String::from_utf8_lossy(&comm).into_owned();
    match comm.trim() {
        "" => "unknown command".to_owned(),
        name => printable(name).into_owned(),
    }
}
