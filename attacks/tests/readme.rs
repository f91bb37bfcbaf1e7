//! `attacks/README.md`, generated from the cases.

use std::collections::BTreeSet;

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
