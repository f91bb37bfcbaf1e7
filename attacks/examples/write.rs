//! Writes the files of one case, to look at them: `cargo run -p amphora-attacks --example write -- NAME hostile|healthy DIRECTORY`.

use std::path::Path;

use amphora_attacks::{Form, Outcome, cases};

#[expect(
    clippy::disallowed_methods,
    reason = "a program for developers, told what to write"
)]
fn main() -> Outcome {
    let words: Vec<String> = std::env::args().collect();
    let [_, name, form, directory] = words.as_slice() else {
        return Err("usage: write NAME hostile|healthy DIRECTORY".into());
    };
    let cases = cases();
    let case = cases.iter().find(|case| case.name == name);
    let case = case.ok_or("there is no such case")?;
    let form = match form.as_str() {
        "hostile" => Form::Hostile,
        _ => Form::Healthy,
    };
    fs_err::create_dir_all(directory)?;
    case.write(Path::new(directory), form)
}
