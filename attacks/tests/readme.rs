//! `attacks/README.md`, generated from the cases, and the tests that `docs/security.md` names.

use std::collections::BTreeSet;
use std::path::Path;

use amphora_attacks::cases;

const INTRODUCTION: &str = "\
# Attacks

Code that writes hostile files, each with a healthy twin that differs in one field, and the answer that each must get. The
table is generated; a test keeps it fresh (`UPDATE_DOCS=1 cargo test -p amphora-attacks` writes it anew).

`crates/cli/tests/attacks.rs` gives every file to the real command: the hostile one gets the exit code and names the place, the
twin is accepted; no signal, no exit code 9, under 5 s and 512 MB, nothing left behind. The fuzz targets in `fuzz/` start from the
same files. `cargo run -p amphora-attacks --example write -- NAME hostile DIRECTORY` writes one to look at.

| row | name | what is hostile | command | exit code and kind | the message names |
|---|---|---|---|---|---|
";

fn cell(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

#[test]
fn the_table_is_that_of_the_cases() {
    let mut page = INTRODUCTION.to_owned();
    for case in cases() {
        let place = match case.place {
            "" => String::new(),
            place => cell(place),
        };
        page += &format!(
            "| {} | {} | {} | `{}` | {} | {place} |\n",
            case.row, case.name, case.writes, case.command, case.answer
        );
    }
    let path = amphora_testing::repository().join("attacks/README.md");
    #[expect(
        clippy::disallowed_methods,
        reason = "the developer asks for a new page"
    )]
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    if update {
        amphora_files::durable::write_file(&path, page.as_bytes()).unwrap();
    }
    let stored = fs_err::read_to_string(&path).unwrap();
    assert!(stored == page, "attacks/README.md is stale");
}

#[test]
fn no_two_cases_have_one_name() {
    let mut names = BTreeSet::new();
    let twins: Vec<&str> = cases()
        .iter()
        .map(|case| case.name)
        .filter(|name| !names.insert(*name))
        .collect();
    assert!(twins.is_empty(), "{twins:?}");
}

/// Every source of tests beneath a path, as one text.
fn source(path: &Path) -> std::io::Result<String> {
    if path.is_file() {
        return fs_err::read_to_string(path);
    }
    let mut text = String::new();
    for entry in fs_err::read_dir(path)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            text += &source(&path)?;
        }
    }
    Ok(text)
}

#[test]
fn every_promise_names_tests_that_exist() {
    let root = amphora_testing::repository();
    let page = fs_err::read_to_string(root.join("docs/security.md")).unwrap();
    let (_, promises) = page.split_once("## Six promises").unwrap();
    let (promises, _) = promises.split_once("## Not promised").unwrap();
    let promises: Vec<&str> = promises.split("\n   Tests: ").skip(1).collect();
    assert_eq!(promises.len(), 6);
    amphora_testing::each(&promises, |promise| -> Result<(), String> {
        // The text after the tests is the next promise.
        let tests = promise.split(". **").next().unwrap_or_default();
        let words: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        let (paths, names): (Vec<&str>, Vec<&str>) =
            words.iter().partition(|word| word.contains('/'));
        let absent = paths.iter().find(|path| !root.join(path).exists());
        if let Some(path) = absent {
            return Err(format!("{path} does not exist"));
        }
        let sources = paths.iter().map(|path| source(&root.join(path)).unwrap());
        let sources: String = sources.collect();
        let is_test = |name: &str| {
            let declared = format!("fn {name}(");
            let before = sources.split(&declared).next().unwrap_or_default();
            let attribute = before.rfind("#[test]").map(|at| &before[at..]);
            sources.contains(&declared) && attribute.is_some_and(|text| !text.contains("fn "))
        };
        match names.iter().find(|name| !is_test(name)) {
            Some(name) => Err(format!("{name} is no test of these files")),
            None if names.is_empty() => Err("no test is named".to_owned()),
            None => Ok(()),
        }
    });
}
