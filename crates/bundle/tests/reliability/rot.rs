//! Stores that decayed, were never finished, or come from elsewhere.

use amphora_bundle::{Store, Timestamp, check_integrity};
use amphora_error::ErrorKind;

use crate::shown::{Scene, shown};
use crate::support::{overwrite, publish, store};
use crate::worker::sealed;

#[test]
fn rot_in_one_bundle_leaves_the_others_served() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let rotten = publish(&store, "rotten", "1.0.0", 0);
    publish(&store, "sound", "1.0.0", 1);
    let file = store.path().join(&rotten).join("models/model.onnx");
    let mut bytes = fs_err::read(&file).unwrap();
    bytes[20] ^= 1;
    overwrite(&file, &bytes);
    let rotten_bundle = store.resolve("rotten").unwrap();
    let error = check_integrity(&rotten_bundle)
        .and_then(|report| report.into_result())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    assert_eq!(error.fault_list().len(), 1);
    assert!(
        error.fault_list()[0].contains("models/model.onnx"),
        "{error}"
    );
    assert!(error.hint_text().unwrap().contains("pack it again"));
    let error = rotten_bundle.graph_bytes("model").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    drop(rotten_bundle);
    assert!(store.resolve("sound").unwrap().graph_bytes("model").is_ok());
    // Packing it again sets the rotten one aside, and the store is sound.
    publish(&store, "rotten", "1.0.0", 0);
    let repaired = store.resolve("rotten").unwrap();
    assert!(check_integrity(&repaired).unwrap().passed());
    assert!(store.path().join(format!("{rotten}.damaged-1")).exists());
}

#[test]
fn a_manifest_that_rotted_is_named_too() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let rotten = publish(&store, "rotten", "1.0.0", 0);
    publish(&store, "sound", "1.0.0", 1);
    overwrite(&store.path().join(&rotten).join("manifest.yaml"), b"{}");
    let listing = store.list().unwrap();
    assert_eq!(listing.bundles.len(), 1);
    assert_eq!(listing.warnings.len(), 1);
    assert!(listing.warnings[0].contains(&format!("{rotten}/manifest.yaml")));
    let error = store.resolve(&rotten).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Untrusted, "manifest-digest")
    );
}

#[test]
fn half_made_stores_and_foreign_files_are_passed_over() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    // A writer died between the directory and its marker.
    fs_err::create_dir(store.path()).unwrap();
    assert!(store.list().unwrap().bundles.is_empty());
    let hash = publish(&store, "demo", "1.0.0", 0);
    assert!(store.path().join(".amphora-store").exists());
    overwrite(&store.path().join("notes.txt"), b"mine");
    fs_err::create_dir(store.path().join("0123456789ab")).unwrap();
    fs_err::create_dir(store.path().join("folder")).unwrap();
    std::os::unix::fs::symlink(&hash, store.path().join("ba9876543210")).unwrap();
    let listing = store.list().unwrap();
    assert_eq!(listing.bundles.len(), 1);
    let warnings = listing.warnings.join("\n");
    for name in ["notes.txt", "0123456789ab", "folder", "ba9876543210"] {
        assert!(warnings.contains(name), "{name} is not in {warnings}");
    }
    assert!(store.clean(0, false).unwrap().removed.len() == 1);
    assert!(store.path().join("notes.txt").exists() && store.path().join("folder").exists());
}

#[test]
fn a_newer_store_is_refused_before_anything_is_touched() {
    let scene = Scene::new(&["pack", "new", "5"]);
    let marker = scene.store.join(".amphora-store");
    let healthy = fs_err::read(&marker).unwrap();
    overwrite(&marker, b"{\"store_version\": 2}");
    let error = Store::open(&scene.store).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Unsupported, "store-version")
    );
    overwrite(&marker, &healthy);
    assert_eq!(shown(&scene.store).unwrap(), scene.before);
    scene.recovers().unwrap();
}

#[test]
fn dates_far_away_are_only_dates() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    for (seconds, accepted) in [
        (0, true),
        (-1, true),
        (253_402_300_799, true),
        (i64::MAX, false),
        (i64::MIN, false),
    ] {
        assert_eq!(
            Timestamp::from_unix_seconds(seconds).is_ok(),
            accepted,
            "{seconds}"
        );
    }
    sealed(&store, "far", 253_402_300_799)
        .unwrap()
        .publish()
        .unwrap();
    sealed(&store, "early", 0).unwrap().publish().unwrap();
    let listing = store.list().unwrap();
    let names: Vec<&str> = listing.bundles.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["far", "early"]);
    assert_eq!(store.clean(1, false).unwrap().removed.len(), 1);
}
