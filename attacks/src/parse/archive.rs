//! Archives, unpacked into a store of their own.

use amphora_bundle::{ArchiveFormat, ImportLimits, Store, check_integrity};
use tempfile::TempDir;

use super::presentable;

/// Small enough that no input can fill a disk.
const LIMITS: ImportLimits = ImportLimits {
    members: 64,
    bytes: 1 << 20,
    ratio: 20,
    ratio_from: 1 << 18,
};
const BLOCK: usize = 512;

/// An archive of a bundle: what is refused leaves nothing behind and nothing outside, what is taken
/// in is a bundle that passes its integrity check and can be archived and imported again. Bytes that
/// look like a tar are also tried with their header checksums put right.
pub fn archive(bytes: &[u8]) {
    import(bytes);
    if bytes.get(257..262) == Some(b"ustar") {
        import(&with_checksums(bytes));
    }
}

fn import(bytes: &[u8]) {
    // What the machine refuses is not the parser's fault.
    let Ok(scratch) = tempfile::tempdir() else {
        return;
    };
    let file = scratch.path().join("a/archive");
    let written =
        fs_err::create_dir(scratch.path().join("a")).and_then(|()| fs_err::write(&file, bytes));
    if written.is_err() {
        return;
    }
    let path = scratch.path().join("a/store");
    let Ok(store) = Store::open(&path) else {
        return;
    };
    match store.import(&file, &LIMITS) {
        Ok(published) => {
            let bundle = match store.resolve(&published.id.to_string()) {
                Ok(bundle) => bundle,
                Err(error) => panic!("an imported bundle is not there: {error:?}"),
            };
            let intact = check_integrity(&bundle).is_ok_and(|report| report.passed());
            assert!(intact, "an imported bundle is damaged");
            let again = store
                .archive(&bundle, ArchiveFormat::Tar, None)
                .and_then(|archive| {
                    Store::open(scratch.path().join("a/second"))?.import(archive, &LIMITS)
                });
            match again {
                Ok(again) => assert_eq!(again.id, published.id),
                Err(error) => panic!("an imported bundle cannot be archived: {error:?}"),
            }
        }
        Err(error) => {
            presentable(&error);
            nothing_left(&store, &scratch);
        }
    }
}

/// No bundle, no staging directory, and nothing beside the store.
fn nothing_left(store: &Store, scratch: &TempDir) {
    let names = |path: &std::path::Path| -> Vec<String> {
        let entries = fs_err::read_dir(path).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.collect()
    };
    assert_eq!(names(scratch.path()), ["a"]);
    let strays: Vec<String> = names(store.path())
        .into_iter()
        .filter(|name| !name.starts_with(".amphora-store") && name != ".amphora-lock")
        .collect();
    assert!(strays.is_empty(), "a refused import leaves {strays:?}");
}

/// The tar with the checksum of every header put right, as far as the sizes lead from one to the
/// next: otherwise hardly a change would get past the checksums.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..at + BLOCK) {
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&block[124..135])
            .ok()
            .and_then(|digits| usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).ok());
        let Some(size) = size.filter(|size| *size < bytes.len()) else {
            break;
        };
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    bytes
}
