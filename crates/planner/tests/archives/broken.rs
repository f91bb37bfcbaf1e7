//! Archives, and parts of archives, that cannot be read.

use amphora_planner::history::DropReason;
use amphora_planner::history::archives::collect;
use serde_json::{Value, json};

use crate::{collected, manifest, proof, with};

#[test]
fn every_broken_archive_is_named_and_counted_and_breaks_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let archive = |name: &str, manifest: &[u8], proof: &[u8]| {
        let folder = root.path().join(name);
        fs_err::create_dir_all(&folder).unwrap();
        for (file, bytes) in [("manifest.json", manifest), ("proof.json", proof)] {
            if !bytes.is_empty() {
                fs_err::write(folder.join(file), bytes).unwrap();
            }
        }
    };
    let bytes = |document: &Value| serde_json::to_vec(document).unwrap();
    let (manifest, proof) = (bytes(&manifest()), bytes(&proof()));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let rows: [(&str, Vec<u8>, Vec<u8>, DropReason); 13] = [
        (
            "b-no-manifest",
            vec![],
            proof.clone(),
            DropReason::NoManifest,
        ),
        ("b-no-proof", manifest.clone(), vec![], DropReason::NoProof),
        (
            "b-no-json",
            b"{".to_vec(),
            proof.clone(),
            DropReason::Malformed,
        ),
        (
            "b-no-object",
            b"[]".to_vec(),
            proof.clone(),
            DropReason::Malformed,
        ),
        (
            "b-deep",
            deep.into_bytes(),
            proof.clone(),
            DropReason::Malformed,
        ),
        (
            "b-twice",
            b"{\"job_type\":\"a\",\"job_type\":\"b\"}".to_vec(),
            proof.clone(),
            DropReason::Malformed,
        ),
        (
            "b-tags",
            bytes(&json!({"issue": {"tags": [1]}})),
            proof.clone(),
            DropReason::Malformed,
        ),
        (
            "b-gates",
            manifest.clone(),
            bytes(&json!({"verification": {"gates": ["test"]}})),
            DropReason::Malformed,
        ),
        (
            "b-duration",
            manifest.clone(),
            bytes(&json!({"metadata": {"duration_ms": -1}})),
            DropReason::Malformed,
        ),
        (
            "b-no-time",
            manifest.clone(),
            bytes(&json!({"metadata": {"duration_ms": 1}})),
            DropReason::NoStartTime,
        ),
        (
            "b-no-end",
            manifest.clone(),
            bytes(&json!({"metadata": {"started_at": "2026-02-03T09:00:01Z"}})),
            DropReason::NoEndTime,
        ),
        (
            "b-no-metadata",
            manifest.clone(),
            b"{}".to_vec(),
            DropReason::NoStartTime,
        ),
        (
            "b-too-large",
            vec![b' '; (16 << 20) + 1],
            proof.clone(),
            DropReason::Unreadable,
        ),
    ];
    for (name, manifest, proof, _) in &rows {
        archive(name, manifest, proof);
    }
    archive("a-good", &manifest, &proof);
    archive("c-same-id", &manifest, &proof);
    fs_err::os::unix::fs::symlink(root.path().join("a-good"), root.path().join("b-link")).unwrap();
    fs_err::create_dir(root.path().join("b-linked-file")).unwrap();
    fs_err::os::unix::fs::symlink(
        root.path().join("a-good/manifest.json"),
        root.path().join("b-linked-file/manifest.json"),
    )
    .unwrap();
    fs_err::write(root.path().join("README"), "no archive").unwrap();

    let collected = collect(root.path()).unwrap();
    let folders: Vec<&str> = collected
        .runs
        .iter()
        .map(|run| run.folder.as_str())
        .collect();
    assert_eq!(folders, ["a-good"]);
    let others = [
        ("b-link", DropReason::NotADirectory),
        ("b-linked-file", DropReason::Unreadable),
        ("c-same-id", DropReason::Duplicate),
    ];
    let expected: Vec<(&str, DropReason)> = rows
        .iter()
        .map(|(name, _, _, reason)| (*name, *reason))
        .chain(others)
        .collect();
    amphora_testing::each(&expected, |(folder, reason)| {
        let dropped: Vec<_> = collected
            .dropped_runs
            .iter()
            .filter(|run| run.folder == *folder)
            .collect();
        match dropped.as_slice() {
            [run] if run.reason == *reason => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(collected.dropped_runs.len(), expected.len());
    assert_eq!(
        collected.dropped.values().sum::<u64>(),
        expected.len() as u64
    );
    assert_eq!(collected.dropped[&DropReason::Malformed], 7);
}

#[test]
fn a_broken_part_is_counted_and_the_run_kept() {
    let broken = json!({"planner_input": {"schema_version": "other"}, "planner_action": 1,
        "executed_plan": {"swarm_id_executed": "serial_handoff"}});
    let collected = collected(
        &with(manifest(), "/planner", broken),
        &with(proof(), "/metadata/cost_usd", Value::Null),
        Some(&json!({"scores": []})),
    );
    assert_eq!(collected.runs.len(), 1);
    let counted: Vec<_> = collected.ignored_parts.into_iter().collect();
    let each = [
        "executed_plan",
        "planner_action",
        "planner_input",
        "rollout",
    ];
    assert_eq!(counted, each.map(|part| (part, 1)));
}
