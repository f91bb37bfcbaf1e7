//! The store: publishing, finding, removing, cleaning, and what happens when others do it too.

mod support;

use std::time::{Duration, SystemTime};

use amphora_bundle::{Bundle, Store, check_integrity};
use amphora_error::ErrorKind;
use support::{details, draft, overwrite, publish, sealed, store, visible};

#[test]
fn the_same_content_has_the_same_id_whenever_and_wherever_it_is_packed() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = sealed(&store(one.path()), "demo", "1.0.0", 0);
    let second = sealed(&store(two.path()), "demo", "1.0.0", 1_700_000_000);
    assert_eq!(first.id(), second.id());
    assert_ne!(
        first.manifest().to_yaml().unwrap(),
        second.manifest().to_yaml().unwrap()
    );
    let renamed = sealed(&store(two.path()), "demo2", "1.0.0", 0);
    let raised = sealed(&store(two.path()), "demo", "1.0.1", 0);
    let retrained = draft(&store(two.path()), [1.0, 2.0, 4.0]).seal(details("demo", "1.0.0", 0));
    let mut described = draft(&store(two.path()), [1.0, 2.0, 3.0]);
    described.graph_mut("model").unwrap().io.inputs[0].description = Some("other".into());
    let ids = [
        first.id(),
        renamed.id(),
        raised.id(),
        retrained.unwrap().id(),
        described.seal(details("demo", "1.0.0", 0)).unwrap().id(),
    ];
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:#?}");
}

#[test]
fn the_id_is_the_digest_of_the_documented_text() {
    let scratch = tempfile::tempdir().unwrap();
    let sealed = sealed(&store(scratch.path()), "space/demo", "1.0.0", 0);
    let manifest = sealed.manifest();
    let text = amphora_bundle::canonical_form(manifest).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        ["amphora-bundle-id 1", "name space/demo", "version 1.0.0"]
    );
    let contract = r#"{"entry":"model","graphs":{"model":{"file":"models/model.onnx","io":{"inputs":[{"dims":["batch_size",3],"dtype":"float32","name":"x","shape":[-1,3]}],"outputs":[{"dims":["batch_size",3],"dtype":"float32","name":"y","shape":[-1,3]}]},"ir_version":7,"opset":14,"parameters":3,"role":"single"}}}"#;
    let contract = amphora_files::sha256(contract.as_bytes());
    assert_eq!(lines[3], format!("contract {contract}"));
    let paths: Vec<&str> = lines[4..]
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "config.json",
            "contracts/io_contract.json",
            "metrics.json",
            "models/model.onnx"
        ]
    );
    let config = manifest.file(&support::path("config.json")).unwrap();
    assert_eq!(
        lines[4],
        format!("file {} {} config.json", config.size, config.sha256)
    );
    assert_eq!(
        manifest.identity.id.to_string(),
        amphora_files::sha256(text.as_bytes()).to_string()
    );
}

#[test]
fn publishing_again_leaves_an_intact_bundle_and_replaces_a_damaged_one() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let first = sealed(&store, "demo", "1.0.0", 0).publish().unwrap();
    assert!(!first.existed && first.set_aside.is_none());
    let again = sealed(&store, "demo", "1.0.0", 99).publish().unwrap();
    assert!(again.existed && again.set_aside.is_none());
    let kept = Bundle::open(&first.path).unwrap();
    assert_eq!(
        kept.manifest().metadata.created.as_ref().unwrap().as_str(),
        "1970-01-01T00:00:00Z"
    );
    drop(kept);
    for round in 1..=2 {
        overwrite(&first.path.join("config.json"), b"damaged");
        let repaired = sealed(&store, "demo", "1.0.0", 0).publish().unwrap();
        assert!(!repaired.existed);
        let aside = repaired.set_aside.unwrap();
        assert!(aside.ends_with(format!("{}.damaged-{round}", first.exp_hash)));
        assert_eq!(fs_err::read(aside.join("config.json")).unwrap(), b"damaged");
        assert!(
            check_integrity(&Bundle::open(&first.path).unwrap())
                .unwrap()
                .passed()
        );
    }
    let listing = store.list().unwrap();
    assert_eq!((listing.bundles.len(), listing.warnings.len()), (1, 2));
    let aside = format!("{}.damaged-1", first.exp_hash);
    store.remove(&aside).unwrap();
    assert_eq!(store.list().unwrap().warnings.len(), 1);
}

#[test]
fn a_sealed_bundle_can_be_verified_and_reported_on_before_it_is_visible() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let sealed = sealed(&store, "demo", "1.0.0", 0);
    let id = sealed.id();
    assert!(check_integrity(&sealed.bundle().unwrap()).unwrap().passed());
    assert!(store.list().unwrap().bundles.is_empty());
    let report = |text: &str| [("general_validation".to_owned(), text.as_bytes().to_vec())].into();
    let sealed = sealed.with_reports(&report("{}")).unwrap();
    let sealed = sealed.with_reports(&report("{\"passed\": true}")).unwrap();
    assert_eq!(sealed.id(), id);
    let published = sealed.publish().unwrap();
    let bundle = Bundle::open(&published.path).unwrap();
    assert!(check_integrity(&bundle).unwrap().passed());
    let report = support::path("validation/general_validation.json");
    assert_eq!(bundle.read(&report).unwrap(), &b"{\"passed\": true}"[..]);
    drop(bundle);
    drop(support::sealed(&store, "other", "1.0.0", 0));
    assert_eq!(visible(store.path()), [published.exp_hash]);
}

#[test]
fn eight_publishers_of_one_bundle_all_succeed_and_one_wins() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let sealed: Vec<_> = (0..8).map(|i| sealed(&store, "demo", "1.0.0", i)).collect();
    let published: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = sealed
            .into_iter()
            .map(|sealed| scope.spawn(move || sealed.publish().unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(published.iter().filter(|p| !p.existed).count(), 1);
    assert_eq!(visible(store.path()), [published[0].exp_hash.clone()]);
    let bundle = Bundle::open(&published[0].path).unwrap();
    assert!(check_integrity(&bundle).unwrap().passed());
}

#[test]
fn the_list_is_newest_first_and_passes_over_what_is_no_bundle() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    assert!(store.list().unwrap().bundles.is_empty());
    assert!(!store.path().exists(), "reading creates nothing");
    let old = publish(&store, "a", "1.0.0", 10);
    let new = publish(&store, "b", "1.0.0", 30);
    let middle = publish(&store, "c", "1.0.0", 20);
    let broken = publish(&store, "d", "1.0.0", 40);
    overwrite(&store.path().join(&broken).join("manifest.yaml"), b"x");
    overwrite(&store.path().join("notes.txt"), b"x");
    overwrite(&store.path().join(format!("{old}.tar.gz")), b"x");
    fs_err::rename(
        store.path().join(&middle),
        store.path().join("0123456789ab"),
    )
    .unwrap();
    let listing = store.list().unwrap();
    let hashes: Vec<&str> = listing
        .bundles
        .iter()
        .map(|b| b.exp_hash.as_str())
        .collect();
    assert_eq!(hashes, [new.as_str(), old.as_str()]);
    let newest = &listing.bundles[0];
    assert_eq!(newest.accuracy, Some(0.75));
    assert_eq!(newest.formats, ["onnx"]);
    let warnings = listing.warnings.join("\n");
    assert_eq!(listing.warnings.len(), 3, "{warnings}");
    for part in [
        "is not the one that was sealed",
        "does not carry the name",
        "notes.txt",
    ] {
        assert!(warnings.contains(part), "{part} is absent from {warnings}");
    }
}

#[test]
fn references_name_one_bundle_or_say_which_they_could_mean() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let one = publish(&store, "team/demo", "1.9.0", 0);
    let ten = publish(&store, "team/demo", "1.10.0", 0);
    let pre = publish(&store, "team/demo", "2.0.0-rc.1", 0);
    let twin = draft(&store, [0.0; 3])
        .seal(details("twin", "1.0.0", 0))
        .unwrap()
        .publish()
        .unwrap();
    publish(&store, "twin", "1.0.0", 0);
    draft(&store, [0.5; 3])
        .seal(details("again", "1.0.0", 1))
        .unwrap()
        .publish()
        .unwrap();
    let again = publish(&store, "again", "1.0.0", 2);
    let full = twin.id.to_string();
    let path = store.path().join(&one).to_str().unwrap().to_owned();
    let rows = [
        (path.as_str(), Ok(&one)),
        (&one, Ok(&one)),
        (&one[..6], Ok(&one)),
        (&full, Ok(&twin.exp_hash)),
        ("team/demo:1.9.0", Ok(&one)),
        ("team/demo@1.10.0", Ok(&ten)),
        ("team/demo", Ok(&pre)),
        ("team/demo:latest", Ok(&pre)),
        ("again", Ok(&again)),
        ("again:1.0.0", Err((ErrorKind::Usage, "bundle-ambiguous"))),
        ("twin", Err((ErrorKind::Usage, "bundle-ambiguous"))),
        ("twin:1.0.0", Err((ErrorKind::Usage, "bundle-ambiguous"))),
        ("demo", Err((ErrorKind::NotFound, "bundle-not-found"))),
        (
            "team/demo:3.0.0",
            Err((ErrorKind::NotFound, "bundle-not-found")),
        ),
        (&one[..3], Err((ErrorKind::NotFound, "bundle-not-found"))),
        (
            "ffffffffffff",
            Err((ErrorKind::NotFound, "bundle-not-found")),
        ),
        ("", Err((ErrorKind::Usage, "bundle-reference"))),
        ("a/../../etc", Err((ErrorKind::Usage, "bundle-reference"))),
        ("Team", Err((ErrorKind::Usage, "bundle-reference"))),
        ("team/demo:1", Err((ErrorKind::Usage, "bundle-reference"))),
        ("../absent", Err((ErrorKind::NotFound, "file-not-found"))),
        ("/", Err((ErrorKind::NotFound, "not-a-bundle"))),
    ];
    amphora_testing::each(&rows, |(reference, expected)| {
        let answer = store.resolve(reference);
        let found = answer.as_ref().map(|bundle| bundle.id().exp_hash());
        match (found, expected) {
            (Ok(found), Ok(expected)) if found == **expected => Ok(()),
            (Err(error), Err((kind, rule))) if error.kind() == *kind && error.rule() == *rule => {
                Ok(())
            }
            _ => Err(format!("{answer:?}")),
        }
    });
    let ambiguous = store.resolve("twin").unwrap_err();
    assert_eq!(ambiguous.fault_list().len(), 2);
}

#[test]
fn cleaning_keeps_the_newest_and_what_somebody_reads() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    assert!(store.clean(5, false).unwrap().removed.is_empty());
    let hashes: Vec<String> = (0..5)
        .map(|i| publish(&store, &format!("m{i}"), "1.0.0", i))
        .collect();
    let reader = store.resolve(&hashes[1]).unwrap();
    let archive = store.path().join(format!("{}.zip", hashes[0]));
    overwrite(&archive, b"an archive");
    fs_err::create_dir(store.path().join("0123456789ab")).unwrap();
    let before = visible(store.path());
    let dry = store.clean(2, true).unwrap();
    assert_eq!(
        (dry.removed.len(), dry.in_use.len(), dry.kept.len()),
        (2, 1, 2)
    );
    assert_eq!(visible(store.path()), before);
    let cleaned = store.clean(2, false).unwrap();
    let names = |list: &[amphora_bundle::Summary]| -> Vec<String> {
        list.iter()
            .map(|summary| summary.exp_hash.clone())
            .collect()
    };
    assert_eq!(
        names(&cleaned.removed),
        [hashes[2].clone(), hashes[0].clone()]
    );
    assert_eq!(names(&cleaned.in_use), [hashes[1].clone()]);
    assert_eq!(names(&cleaned.kept), [hashes[4].clone(), hashes[3].clone()]);
    assert!(archive.exists() && store.path().join("0123456789ab").exists());
    assert!(check_integrity(&reader).unwrap().passed());
    assert_eq!(
        store.remove(&hashes[1]).unwrap_err().rule(),
        "bundle-in-use"
    );
    drop(reader);
    store.remove(&hashes[1]).unwrap();
    assert_eq!(
        store.remove(&hashes[1]).unwrap_err().rule(),
        "bundle-not-found"
    );
    assert_eq!(store.list().unwrap().bundles.len(), 2);
}

#[test]
fn only_bundles_of_the_store_are_removed() {
    let scratch = tempfile::tempdir().unwrap();
    let other = Store::open(scratch.path().join("other")).unwrap();
    let hash = publish(&other, "demo", "1.0.0", 0);
    let store = store(scratch.path());
    let outside = other.path().join(&hash);
    let error = store.remove(outside.to_str().unwrap()).unwrap_err();
    assert_eq!(error.rule(), "bundle-outside-store");
    assert!(outside.exists());
    assert_eq!(other.remove(outside.to_str().unwrap()).unwrap(), outside);
    assert!(!outside.exists());
}

#[test]
fn a_held_lock_names_its_holder_and_how_to_wait_longer() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    publish(&store, "demo", "1.0.0", 0);
    let waiting = sealed(&store, "other", "1.0.0", 0);
    let lock = store.path().join(".amphora-lock");
    overwrite(&lock, b"1\npublishing \x1b[31mabc\n");
    let holder = fs_err::File::open(&lock).unwrap();
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let impatient = store.clone().with_lock_timeout(Duration::from_millis(30));
    let error = impatient.clean(0, false).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Busy, "store-locked")
    );
    let text = error.to_string();
    assert!(
        text.contains("process 1 (") && text.contains("publishing"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "{text}");
    assert!(error.hint_text().unwrap().contains("AMPHORA_LOCK_TIMEOUT"));
    drop(holder);
    assert!(!waiting.publish().unwrap().existed);
}

#[test]
fn a_newer_store_is_refused_and_its_version_named() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let marker = store.path().join(".amphora-store");
    publish(&store, "demo", "1.0.0", 0);
    let rows = [
        ("{\"store_version\": 1}", None),
        (
            "{\"store_version\": 2}",
            Some((ErrorKind::Unsupported, "store-version")),
        ),
        ("{}", Some((ErrorKind::Malformed, "store-marker"))),
        ("", Some((ErrorKind::Malformed, "json-empty"))),
    ];
    amphora_testing::each(&rows, |(text, expected)| {
        overwrite(&marker, text.as_bytes());
        let found = Store::open(store.path())
            .err()
            .map(|e| (e.kind(), e.rule()));
        (found == *expected)
            .then_some(())
            .ok_or(format!("{found:?}"))
    });
}

#[test]
fn what_dead_writers_left_is_swept_by_the_next_one() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    publish(&store, "demo", "1.0.0", 0);
    let dead = store.path().join(".amphora-tmp-dead");
    let young = store.path().join(".amphora-tmp-young");
    fs_err::create_dir(&dead).unwrap();
    fs_err::create_dir(&young).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(600);
    fs_err::File::open(&dead)
        .unwrap()
        .into_file()
        .set_modified(long_ago)
        .unwrap();
    let living = draft(&store, [0.0; 3]);
    assert!(!dead.exists() && young.exists());
    assert!(
        !living
            .seal(details("x", "1.0.0", 0))
            .unwrap()
            .publish()
            .unwrap()
            .existed
    );
    assert!(store.list().unwrap().warnings.is_empty());
}

#[test]
fn a_draft_refuses_names_that_are_not_free() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let mut draft = draft(&store, [0.0; 3]);
    let rows = [
        ("manifest.yaml", "path-reserved"),
        ("Manifest.SHA256", "path-reserved"),
        ("docs/mine.md", "path-reserved"),
        ("golden/x", "path-reserved"),
        ("models", "path-reserved"),
        ("config.json", "file-added-twice"),
    ];
    amphora_testing::each(&rows, |(name, rule)| {
        let error = draft.add_bytes(&support::path(name), b"x").unwrap_err();
        (error.rule() == *rule)
            .then_some(())
            .ok_or(format!("{error:?}"))
    });
    draft
        .add_bytes(&support::path("Config.json"), b"x")
        .unwrap();
    let error = draft.seal(details("demo", "1.0.0", 0)).unwrap_err();
    assert_eq!(error.rule(), "manifest-file-twins");
    assert!(visible(store.path()).is_empty());
}

#[test]
fn a_draft_holds_only_graphs_that_were_added_under_proper_names() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let mut draft = draft(&store, [0.0; 3]);
    let contract = support::onnx([0.0; 3]).contract().unwrap();
    let error = draft.add_graph("../x", "single", b"", &Default::default(), &contract);
    assert_eq!(error.unwrap_err().rule(), "graph-name");
    assert_eq!(
        draft.graph_mut("other").unwrap_err().rule(),
        "graph-not-added"
    );
    let mut details = details("demo", "1.0.0", 0);
    details.entry = "other".to_owned();
    assert_eq!(draft.seal(details).unwrap_err().rule(), "graph-not-added");
    assert!(visible(store.path()).is_empty());
}

#[test]
fn graphs_can_share_one_data_file() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let mut draft = store.draft().unwrap();
    let contract = support::onnx([0.0; 3]).contract().unwrap();
    let data = [(
        "weights.data".to_owned(),
        bytes::Bytes::from_static(b"weights"),
    )]
    .into();
    for graph in ["prefill", "decode"] {
        draft
            .add_graph(graph, graph, graph.as_bytes(), &data, &contract)
            .unwrap();
    }
    let mut details = details("pair", "1.0.0", 0);
    details.assets = Default::default();
    details.entry = "prefill".to_owned();
    let published = draft.seal(details).unwrap().publish().unwrap();
    let bundle = Bundle::open(&published.path).unwrap();
    for graph in ["prefill", "decode"] {
        let (bytes, data) = bundle.graph_bytes(graph).unwrap();
        assert_eq!(bytes, graph.as_bytes());
        assert_eq!(data["weights.data"], &b"weights"[..]);
    }
}

#[test]
fn a_file_is_no_store() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    overwrite(&file, b"x");
    for path in [file.clone(), file.join("artifacts")] {
        let error = Store::open(&path).unwrap_err();
        let told = (error.kind(), error.rule(), error.file());
        assert_eq!(
            told,
            (ErrorKind::Io, "store-unwritable", Some(path.as_path()))
        );
    }
}
