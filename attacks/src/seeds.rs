//! What the fuzz targets start from: the cases themselves, as far as they are small.

mod planner;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::case::{Form, Outcome};
use crate::parse;

/// Largest seed, in bytes.
const LARGEST: u64 = 6 << 10;
/// Archives are larger: these cases stand for the others.
const ARCHIVES: [&str; 7] = [
    "gzip-bomb",
    "tar-path-6000",
    "tar-sizes-disagree",
    "tar-symlink-then-write-through",
    "zip-8-eib",
    "zip-symlink",
    "zstd-bomb",
];
const LARGEST_ARCHIVE: u64 = 24 << 10;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and the name of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// What it calls.
    pub run: fn(&[u8]),
}

/// Every fuzz target.
pub const TARGETS: [Target; 16] = [
    Target {
        name: "onnx",
        run: parse::onnx,
    },
    Target {
        name: "external_data",
        run: parse::external_data,
    },
    Target {
        name: "checkpoint",
        run: parse::checkpoint,
    },
    Target {
        name: "safetensors",
        run: parse::safetensors,
    },
    Target {
        name: "manifest",
        run: parse::manifest,
    },
    Target {
        name: "saved_model",
        run: parse::saved_model,
    },
    Target {
        name: "archive",
        run: parse::archive,
    },
    Target {
        name: "planner_input",
        run: parse::planner_input,
    },
    Target {
        name: "action_space",
        run: parse::action_space,
    },
    Target {
        name: "issues",
        run: parse::issues,
    },
    Target {
        name: "trials",
        run: parse::trials,
    },
    Target {
        name: "picture",
        run: parse::picture,
    },
    Target {
        name: "wav",
        run: parse::wav,
    },
    Target {
        name: "preprocessor",
        run: parse::preprocessor,
    },
    Target {
        name: "sentencepiece",
        run: parse::sentencepiece,
    },
    Target {
        name: "chat_template",
        run: parse::chat_template,
    },
];

/// The seeds: target and file name to content. The same content occurs once for each target.
pub fn seeds() -> Outcome<BTreeMap<(&'static str, String), Vec<u8>>> {
    let mut seeds = BTreeMap::new();
    for (name, bytes) in external_data() {
        seeds.insert(("external_data", name), bytes);
    }
    for (target, name, text) in planner::seeds() {
        seeds.insert((target, name.to_owned()), text.into_bytes());
    }
    let mut known = BTreeSet::new();
    for case in crate::reading() {
        for (form, word) in [(Form::Healthy, "healthy"), (Form::Hostile, "hostile")] {
            let scratch = tempfile::tempdir()?;
            case.write(scratch.path(), form)?;
            let root = scratch.path().to_string_lossy().into_owned();
            for path in files(scratch.path())? {
                let largest = match ARCHIVES.contains(&case.name) {
                    true => LARGEST_ARCHIVE,
                    false => LARGEST,
                };
                if fs_err::metadata(&path)?.len() > largest {
                    continue;
                }
                let bytes = fs_err::read(&path)?;
                // A seed is the same wherever it is made.
                if bytes
                    .windows(root.len())
                    .any(|part| part == root.as_bytes())
                {
                    continue;
                }
                for target in targets_of(&path) {
                    if known.insert((*target, bytes.clone())) {
                        seeds.insert((*target, format!("{}-{word}", case.name)), bytes.clone());
                    }
                }
            }
        }
    }
    Ok(seeds)
}

/// The targets that read files of this name.
fn targets_of(path: &Path) -> &'static [&'static str] {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("onnx") => &["onnx"],
        Some("pt") => &["checkpoint"],
        Some("safetensors") => &["safetensors", "checkpoint"],
        Some("yaml") => &["manifest"],
        Some("tar" | "gz" | "zst" | "zip") => &["archive"],
        _ => &[],
    }
}

/// Every regular file beneath `root`; links are not followed.
fn files(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Place, shape and location, then the entries, as [`parse::external_data`] reads them.
fn external_data() -> Vec<(String, Vec<u8>)> {
    let sound = "location=weights.data\noffset=8\nlength=8";
    let entries = [
        ("sound", sound),
        ("to-the-end", "location=deep/er/w.bin\noffset=152"),
        (
            "checksum",
            "location=weights.data\noffset=0\nlength=8\nchecksum=67423ebfa8454f19ac6f4686d6c0dc731a3ddd6b",
        ),
        ("parent", "location=../weights.data\nlength=8"),
        ("folder", "location=deep"),
        ("drive", "location=C:weights.data"),
        ("beyond", "location=weights.data\noffset=89\nlength=8"),
        (
            "overflow",
            "location=weights.data\noffset=18446744073709551615\nlength=8",
        ),
        ("hexadecimal", "location=weights.data\noffset=0x8"),
        (
            "twice",
            "location=weights.data\noffset=8\noffset=16\nlength=8",
        ),
        ("memory-address", "location=*/_ORT_MEM_ADDR_/*"),
    ];
    let mut seeds: Vec<(String, Vec<u8>)> = entries
        .iter()
        .map(|(name, lines)| {
            let mut bytes = vec![0, 2, 1];
            bytes.extend(lines.bytes());
            ((*name).to_owned(), bytes)
        })
        .collect();
    for place in 1..6 {
        let mut bytes = vec![place, 2, 1];
        bytes.extend(sound.bytes());
        seeds.push((format!("sound-in-place-{place}"), bytes));
    }
    seeds
}
