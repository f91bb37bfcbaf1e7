//! The crate map in `docs/pipeline.md` is the truth about levels and dependencies.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crates that only tests link; they are in no row, and no other crate may depend on them.
const DEVELOPMENT: [&str; 2] = ["attacks", "testing"];

/// One row of the table: level, and the crates it depends on.
type Row = (u32, BTreeSet<String>);

fn documented() -> BTreeMap<String, Row> {
    let page = amphora_testing::repository().join("docs/pipeline.md");
    let text = fs_err::read_to_string(page).unwrap();
    let names = |cell: &str| -> BTreeSet<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').collect();
        let [level, name, _, depends] = cells[..] else {
            return None;
        };
        let level = level.trim().parse().ok()?;
        Some((names(name).into_iter().next()?, (level, names(depends))))
    });
    rows.collect()
}

fn actual() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = amphora_testing::repository().join("Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap();
    let folder = |path: &cargo_metadata::camino::Utf8Path| path.file_name().unwrap().to_owned();
    let packages = metadata.packages.iter().map(|package| {
        let own = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .filter_map(|dependency| dependency.path.as_deref().map(folder))
            .collect();
        (folder(package.manifest_path.parent().unwrap()), own)
    });
    packages.collect()
}

#[test]
fn the_documented_crate_map_is_what_cargo_builds() {
    let mut actual = actual();
    for development in DEVELOPMENT {
        assert!(
            actual.remove(development).is_some(),
            "{development} is gone"
        );
    }
    let documented = documented();
    let depends: BTreeMap<_, _> = documented
        .iter()
        .map(|(name, row)| (name.clone(), row.1.clone()))
        .collect();
    assert_eq!(
        depends, actual,
        "left: docs/pipeline.md, right: cargo metadata"
    );
}

#[test]
fn dependencies_point_to_lower_levels_only() {
    let rows = documented();
    let upward: Vec<_> = rows
        .iter()
        .flat_map(|(name, (level, depends))| {
            let rows = &rows;
            depends
                .iter()
                .filter_map(move |below| match rows.get(below) {
                    Some((lower, _)) if lower < level => None,
                    _ => Some(format!("{name} (level {level}) depends on {below}")),
                })
        })
        .collect();
    assert!(upward.is_empty(), "{upward:#?}");
}
