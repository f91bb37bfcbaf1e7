//! Rows 49 and 50: files of a bundle that are not what was sealed.

use std::os::unix::fs::symlink;
use std::path::Path;

use amphora_error::ErrorKind::Untrusted;
use rustix::fs::{CWD, FileType, Mode};

use super::sample;
use crate::case::{Answer, Case, Form, Outcome};

/// The files in which one bit is changed, in the middle.
const FLIPPED: [(&str, &str); 9] = [
    ("flip-manifest", "manifest.yaml"),
    ("flip-manifest-digest", "manifest.sha256"),
    ("flip-graph", "models/model.onnx"),
    ("flip-config", "config.json"),
    ("flip-metrics", "metrics.json"),
    ("flip-contract", "contracts/io_contract.json"),
    ("flip-golden", "golden/vectors.safetensors"),
    ("flip-readme", "docs/README.md"),
    ("flip-guide", "docs/deployment_guide.md"),
];

/// A sound bundle, to which `change` happens in the hostile form.
fn case(
    row: u8,
    name: &'static str,
    writes: &'static str,
    place: &'static str,
    change: impl Fn(&Path) -> Outcome + Send + Sync + 'static,
) -> Case {
    Case {
        row,
        name,
        writes,
        command: "verify ./bundle",
        answer: Answer::Refused(&[Untrusted]),
        place,
        unopened: None,
        write: Box::new(move |root, form| {
            let bundle = sample::make(root)?;
            match form {
                Form::Hostile => change(&bundle),
                Form::Healthy => Ok(()),
            }
        }),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let flips = FLIPPED.map(|(name, path)| {
        // A changed digest shows as another manifest than the one it names.
        let place = path.strip_suffix("sha256").unwrap_or(path);
        case(49, name, "one bit changed", place, move |bundle| {
            let path = bundle.join(path);
            let mut bytes = fs_err::read(&path)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            sample::replace(&path, &bytes)
        })
    });
    flips.into_iter().chain(strays()).collect()
}

fn strays() -> [Case; 10] {
    [
        case(
            50,
            "file-added",
            "a file that is not listed",
            "extra.txt",
            |bundle| Ok(fs_err::write(bundle.join("extra.txt"), "")?),
        ),
        case(
            50,
            "file-added-hidden",
            "a hidden folder with a file",
            ".git",
            |bundle| {
                fs_err::create_dir(bundle.join(".git"))?;
                Ok(fs_err::write(bundle.join(".git/config"), "")?)
            },
        ),
        case(50, "folder-added", "an empty folder", "empty", |bundle| {
            Ok(fs_err::create_dir(bundle.join("empty"))?)
        }),
        case(
            50,
            "file-removed",
            "a listed file is missing",
            "config.json",
            |bundle| Ok(fs_err::remove_file(bundle.join("config.json"))?),
        ),
        case(
            50,
            "file-renamed",
            "a file has another name",
            "konfig.json",
            |bundle| {
                Ok(fs_err::rename(
                    bundle.join("config.json"),
                    bundle.join("konfig.json"),
                )?)
            },
        ),
        case(
            50,
            "files-swapped",
            "two files have each other's names",
            "metrics.json",
            |bundle| {
                let config = fs_err::read(bundle.join("config.json"))?;
                let metrics = fs_err::read(bundle.join("metrics.json"))?;
                sample::replace(&bundle.join("config.json"), &metrics)?;
                sample::replace(&bundle.join("metrics.json"), &config)
            },
        ),
        case(
            50,
            "file-cut",
            "a file is one byte shorter",
            "config.json",
            |bundle| {
                let path = bundle.join("config.json");
                let bytes = fs_err::read(&path)?;
                sample::replace(&path, &bytes[..bytes.len() - 1])
            },
        ),
        case(
            50,
            "file-is-a-link",
            "a symbolic link to the same bytes elsewhere",
            "config.json",
            |bundle| {
                let path = bundle.join("config.json");
                fs_err::rename(&path, bundle.with_extension("json"))?;
                Ok(symlink("../bundle.json", path)?)
            },
        ),
        case(
            50,
            "file-is-a-hard-link",
            "a file with a second name elsewhere",
            "config.json",
            |bundle| {
                Ok(fs_err::hard_link(
                    bundle.join("config.json"),
                    bundle.with_extension("json"),
                )?)
            },
        ),
        case(
            50,
            "file-is-a-fifo",
            "a FIFO in the place of a file",
            "config.json",
            |bundle| {
                let path = bundle.join("config.json");
                fs_err::remove_file(&path)?;
                let mode = Mode::RUSR | Mode::WUSR;
                Ok(rustix::fs::mknodat(CWD, &path, FileType::Fifo, mode, 0)?)
            },
        ),
    ]
}
