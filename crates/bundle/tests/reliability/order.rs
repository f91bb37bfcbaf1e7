//! The order in which things become durable.

use std::collections::BTreeMap;
use std::path::Path;

use amphora_files::durable::TEMPORARY_PREFIX;

use crate::shown::Scene;
use crate::trace::{self, Call};

const CALLS: &str = "write,pwrite64,mkdir,mkdirat,fsync,fdatasync,rename,renameat,renameat2";

#[test]
fn files_are_durable_before_the_rename_and_the_directory_after_it() {
    if !trace::available() {
        return;
    }
    let jobs: [&[&str]; 3] = [
        &["pack", "new", "5"],
        &["import", "ARCHIVE"],
        &["archive", "old2", "tar.gz"],
    ];
    for job in jobs {
        let scene = Scene::new(job);
        let calls = trace::calls(&scene.store, &scene.words(), CALLS);
        let written = in_order(&calls, &scene.store)
            .unwrap_or_else(|fault| panic!("{job:?}: {fault}\n{calls:#?}"));
        println!("{job:?}: {written} files and directories, all durable before the rename");
    }
}

/// Checks the order, and returns how many files and directories were made durable.
fn in_order(calls: &[Call], store: &Path) -> Result<usize, String> {
    let store = fs_err::canonicalize(store).unwrap();
    let store = store.to_str().unwrap();
    // The staged paths, and whether each is durable.
    let mut staged = BTreeMap::new();
    let mut renamed = None;
    for (at, call) in calls.iter().enumerate() {
        match call.name.as_str() {
            "write" | "pwrite64" => {
                if let Some(path) = descriptor(&call.text).filter(|path| is_staged(path, store)) {
                    staged.insert(path.to_owned(), false);
                }
            }
            "mkdir" | "mkdirat" => {
                if let Some(path) = quoted(&call.text).find(|path| is_staged(path, store)) {
                    staged.insert(path.to_owned(), false);
                }
            }
            "fsync" | "fdatasync" => {
                let path = descriptor(&call.text).unwrap_or_default();
                if renamed.is_some() && path == store {
                    renamed = None;
                } else if let Some(durable) = staged.get_mut(path) {
                    *durable = true;
                }
            }
            _ => {
                let paths: Vec<&str> = quoted(&call.text).collect();
                let [from, to] = paths[..] else {
                    return Err(format!("not a rename: {call:?}"));
                };
                if !is_staged(from, store) {
                    return Err(format!("{from} was no temporary sibling"));
                }
                let pending: Vec<&String> = staged
                    .iter()
                    .filter(|(_, durable)| !**durable)
                    .map(|(path, _)| path)
                    .collect();
                if !pending.is_empty() {
                    return Err(format!(
                        "call {at}: {to} appears before {pending:?} is durable"
                    ));
                }
                renamed = Some(to.to_owned());
            }
        }
    }
    match renamed {
        Some(path) => Err(format!("the directory is not durable after {path}")),
        None if staged.is_empty() => Err("nothing was staged".to_owned()),
        None => Ok(staged.len()),
    }
}

fn is_staged(path: &str, store: &str) -> bool {
    path.strip_prefix(store)
        .is_some_and(|rest| rest.starts_with(&format!("/{TEMPORARY_PREFIX}")))
}

/// The path of the descriptor that is the first argument.
fn descriptor(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('<')?;
    rest.split_once('>').map(|(path, _)| path)
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}
