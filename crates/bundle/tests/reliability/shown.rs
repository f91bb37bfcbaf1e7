//! What a store shows, to compare before and after a fault.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use amphora_bundle::{Bundle, Store, check_integrity};
use amphora_files::durable::TEMPORARY_PREFIX;
use amphora_files::{Digest, sha256};

use crate::support::visible;

/// Every visible entry of a store and the digest of its content.
pub(crate) type Shown = BTreeMap<String, Digest>;

/// Looks at a store as its users do: lists it, checks each bundle to the last byte and reads its
/// graph. Anything partial, damaged or foreign is an error.
pub(crate) fn shown(store: &Path) -> Result<Shown, String> {
    let opened = Store::open(store).map_err(|error| format!("{error:?}"))?;
    let listing = opened.list().map_err(|error| format!("{error:?}"))?;
    if !listing.warnings.is_empty() {
        return Err(listing.warnings.join("; "));
    }
    let mut shown = Shown::new();
    for name in visible(store) {
        if name.starts_with(TEMPORARY_PREFIX) {
            continue;
        }
        let path = store.join(&name);
        let digest = if path.is_dir() {
            let bundle = Bundle::open(&path).map_err(|error| format!("{error:?}"))?;
            check_integrity(&bundle)
                .and_then(|report| report.into_result())
                .and_then(|_| bundle.graph_bytes("model"))
                .map_err(|error| format!("{error:?}"))?;
            bundle.manifest_digest()
        } else {
            sha256(&fs_err::read(&path).map_err(|error| error.to_string())?)
        };
        shown.insert(name, digest);
    }
    let listed = shown.keys().filter(|name| !name.contains('.')).count();
    if listing.bundles.len() != listed {
        return Err(format!("{} of {listed} listed", listing.bundles.len()));
    }
    Ok(shown)
}

/// The temporary entries of a store.
pub(crate) fn temporaries(store: &Path) -> Vec<PathBuf> {
    visible(store)
        .into_iter()
        .filter(|name| name.starts_with(TEMPORARY_PREFIX))
        .map(|name| store.join(name))
        .collect()
}

/// Fails unless `found` is on the way from `before` to `after`: entries of both are there, each
/// entry is whole and one of theirs.
pub(crate) fn between(found: &Shown, before: &Shown, after: &Shown) -> Result<(), String> {
    for (name, digest) in found {
        if before.get(name) != Some(digest) && after.get(name) != Some(digest) {
            return Err(format!("{name} is neither old nor new"));
        }
    }
    for (name, digest) in before {
        if after.get(name) == Some(digest) && !found.contains_key(name) {
            return Err(format!("{name} is lost"));
        }
    }
    Ok(())
}

/// A job, the store it starts from and the store it ends with.
pub(crate) struct Scene {
    /// The job.
    pub(crate) job: Vec<String>,
    /// The store that the job works on.
    pub(crate) store: PathBuf,
    template: PathBuf,
    /// What the store shows before the job.
    pub(crate) before: Shown,
    /// What the store shows after it.
    pub(crate) after: Shown,
    _scratch: tempfile::TempDir,
}

impl Scene {
    /// Prepares a store with three bundles and finds out what the job makes of it.
    pub(crate) fn new(job: &[&str]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let template = scratch.path().join("template");
        let opened = Store::open(&template).unwrap();
        for created in 1..=3 {
            let name = format!("old{created}");
            let sealed = crate::worker::sealed(&opened, &name, created).unwrap();
            sealed.publish().unwrap();
        }
        let foreign = Store::open(scratch.path().join("foreign")).unwrap();
        crate::worker::sealed(&foreign, "imported", 9)
            .unwrap()
            .publish()
            .unwrap();
        let bundle = foreign.resolve("imported").unwrap();
        let archive = scratch.path().join("imported.tar.gz");
        amphora_bundle::archive(&bundle, amphora_bundle::ArchiveFormat::TarGz, &archive).unwrap();
        let job = job
            .iter()
            .map(|word| word.replace("ARCHIVE", archive.to_str().unwrap()))
            .collect();
        let before = shown(&template).unwrap();
        let mut scene = Self {
            job,
            store: scratch.path().join("artifacts"),
            template,
            after: before.clone(),
            before,
            _scratch: scratch,
        };
        scene.restore();
        assert_eq!(shown(&scene.store).unwrap(), scene.before);
        scene.perform().unwrap();
        scene.after = shown(&scene.store).unwrap();
        assert_ne!(scene.before, scene.after);
        scene.restore();
        scene
    }

    /// The words of the job.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.job.iter().map(String::as_str).collect()
    }

    /// Does the job in this process.
    pub(crate) fn perform(&self) -> Result<(), String> {
        crate::worker::perform(&self.store, &self.words()).map_err(|error| format!("{error:?}"))
    }

    /// Puts the store back to what it was; temporaries and the lock stay.
    pub(crate) fn restore(&self) {
        fs_err::create_dir_all(&self.store).unwrap();
        for name in visible(&self.store) {
            let path = self.store.join(&name);
            if name.starts_with(TEMPORARY_PREFIX) || self.template.join(&name).exists() {
                continue;
            }
            if path.is_dir() {
                fs_err::remove_dir_all(&path).unwrap();
            } else {
                fs_err::remove_file(&path).unwrap();
            }
        }
        for name in visible(&self.template) {
            if !self.store.join(&name).exists() {
                copy_tree(&self.template.join(&name), &self.store.join(&name));
            }
        }
    }

    /// What must hold after a fault: nothing lost, nothing partial, and the same job succeeds.
    pub(crate) fn recovers(&self) -> Result<(), String> {
        let found = shown(&self.store)?;
        between(&found, &self.before, &self.after)?;
        // A child that another test forks holds our locks until it executes its program, for
        // moments: a bundle can look in use although nobody reads it.
        let mut answer = Err(String::new());
        for _ in 0..50 {
            answer = self.again();
            if answer.is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        answer?;
        self.restore();
        Ok(())
    }

    /// Does the job again and looks at what it did.
    fn again(&self) -> Result<(), String> {
        match self.perform() {
            // What is removed cannot be removed again.
            Err(_) if self.job[0] == "remove" && shown(&self.store)? == self.after => {}
            answer => answer?,
        }
        match shown(&self.store)? == self.after {
            true => Ok(()),
            false => Err("the job did not do its work afterwards".to_owned()),
        }
    }

    /// Ages what the faults left behind; the next writer sweeps all of it.
    pub(crate) fn sweeps(&self) {
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
        for path in temporaries(&self.store) {
            let opened = fs_err::File::open(path).unwrap().into_file();
            opened.set_modified(long_ago).unwrap();
        }
        self.perform().unwrap();
        assert!(temporaries(&self.store).is_empty());
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs_err::copy(entry.path(), &target).unwrap();
        }
    }
}
