//! Ours against `onnx.checker` on thousands of models with one thing changed.
//!
//! Whatever `onnx.checker` refuses, we refuse. Where we alone refuse, `checker_disagreements.tsv` beside
//! this test says for each of our rules why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::built::{built, value};
use crate::mutants::{Random, mutations};
use amphora_onnx::proto::{DimensionValue, ModelProto, TensorProto};
use amphora_onnx::{Limits, Model};
use prost::Message as _;

const DISAGREEMENTS: &str = include_str!("checker_disagreements.tsv");

/// Mutants of each kind made of each model.
const EACH: usize = 2;

/// Rules about shapes and dtypes, which `onnx.checker` looks at when `full_check` is on.
const SHAPE_RULES: [&str; 3] = ["shape-mismatch", "shape-contradiction", "type-mismatch"];

/// Checks every `.onnx` file beneath a folder; one line for each: path, reason of the refusal.
const CHECK: &str = "
import json, pathlib, sys
import onnx

for path in sorted(pathlib.Path(sys.argv[1]).rglob('*.onnx')):
    refusal = None
    try:
        onnx.checker.check_model(str(path))
    except Exception as error:
        refusal = str(error)[:300]
    print(json.dumps([str(path), refusal]))
";

/// Prints those of the files given whose shapes are refused. The inference of shapes crashes on some
/// files: each has a process of its own.
const CHECK_SHAPES: &str = "
import os, sys
import onnx

for path in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            onnx.checker.check_model(path, full_check=True)
        except Exception:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        print(path)
";

#[test]
fn ours_refuses_whatever_the_python_checker_refuses() {
    let Some(peer) = amphora_testing::peer("onnx", None) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("mutants");
    let made = make(&folder, &scratch.path().join("models"));
    assert!(made > 2000, "only {made} mutants");
    let printed = peer.run(CHECK, &[folder.to_str().unwrap()]);
    let mut faults = Vec::new();
    let mut stricter: Vec<(String, Vec<(&str, String)>)> = Vec::new();
    let (mut judged, mut refused) = (0, 0);
    for line in printed.lines().filter(|line| line.starts_with('[')) {
        let (path, refusal): (String, Option<String>) = serde_json::from_str(line).unwrap();
        judged += 1;
        refused += usize::from(refusal.is_some());
        let ours = rules(Path::new(&path));
        match refusal {
            Some(reason) if ours.is_empty() => {
                faults.push(format!(
                    "{path}: we accept what onnx.checker refuses: {reason}"
                ));
            }
            None if !ours.is_empty() => stricter.push((path, ours)),
            _ => {}
        }
    }
    assert_eq!(judged, made, "the peer did not judge every mutant");

    let by_shape = |rule: &str| SHAPE_RULES.contains(&rule);
    let in_doubt = stricter
        .iter()
        .filter(|(_, ours)| ours.iter().any(|(rule, _)| by_shape(rule)));
    let in_doubt: Vec<&str> = in_doubt.map(|(path, _)| path.as_str()).collect();
    let printed = peer.run(CHECK_SHAPES, &in_doubt);
    let refused_by_shape: BTreeSet<&str> = printed.lines().collect();
    let justified: BTreeMap<&str, &str> = DISAGREEMENTS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('\t').unwrap())
        .collect();
    let mut used = BTreeSet::new();
    for (path, ours) in &stricter {
        for (rule, message) in ours {
            if by_shape(rule) && refused_by_shape.contains(path.as_str()) {
                continue;
            }
            if !justified.contains_key(rule) {
                faults.push(format!("{path}: only we refuse: {rule}: {message}"));
            }
            used.insert(*rule);
        }
    }
    let stale = justified.keys().filter(|rule| !used.contains(**rule));
    faults.extend(stale.map(|rule| format!("{rule}: listed, but no mutant needs it")));
    println!(
        "{made} mutants: onnx.checker refuses {refused}, we {} more by {} rules",
        stricter.len(),
        used.len()
    );
    assert!(
        faults.is_empty(),
        "{} disagreements:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// The rules by which we refuse a model.
fn rules(path: &Path) -> Vec<(&'static str, String)> {
    match Model::open(path, &Limits::default()) {
        Err(error) => vec![(error.rule(), error.to_string())],
        Ok(model) => {
            let errors = model.check_report().errors.into_iter();
            errors
                .map(|finding| (finding.rule, finding.to_string()))
                .collect()
        }
    }
}

/// Writes mutants of every model, each group beside the data files of its model.
fn make(folder: &Path, scratch: &Path) -> usize {
    let mut made = 0;
    fs::create_dir_all(folder).unwrap();
    let mut bases: Vec<(PathBuf, ModelProto)> = Vec::new();
    for path in crate::support::models(scratch) {
        let model = ModelProto::decode(&fs::read(&path).unwrap()[..]).unwrap();
        bases.push((path, model));
    }
    bases.push((PathBuf::new(), built()));
    for (position, (path, mut base)) in bases.into_iter().enumerate() {
        shrink(&mut base);
        let group = folder.join(format!("{position:02}"));
        fs::create_dir(&group).unwrap();
        if !copy_data(&base, &path, &group) {
            continue;
        }
        for (kind, mutate) in mutations() {
            // The model built here is the only one with functions and sparse tensors.
            for round in 0..EACH * if path.as_os_str().is_empty() { 4 } else { 1 } {
                let mut mutant = base.clone();
                let mut random = Random::of_word(&format!("{position} {kind} {round}"));
                if mutate(&mut mutant, &mut random).is_none() || mutant == base {
                    continue;
                }
                let file = group.join(format!("{kind}-{round}.onnx"));
                fs_err::write(file, mutant.encode_to_vec()).unwrap();
                made += 1;
            }
        }
    }
    made
}

/// Copies the data files of a model; false when they are not there.
fn copy_data(model: &ModelProto, path: &Path, target: &Path) -> bool {
    let tensors = &model.graph.as_ref().unwrap().initializer;
    let entries = tensors.iter().flat_map(|tensor| &tensor.external_data);
    let locations: BTreeSet<&str> = entries
        .filter(|entry| entry.key() == "location")
        .map(|entry| entry.value())
        .collect();
    for location in locations {
        let from = path.parent().unwrap().join(location);
        if !from.exists() {
            return false;
        }
        let to = target.join(location);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
    true
}

/// Turns large weights into inputs: the graph stays, the file gets small.
fn shrink(model: &mut ModelProto) {
    let graph = model.graph.as_mut().unwrap();
    let large =
        |tensor: &mut TensorProto| tensor.raw_data.as_ref().is_some_and(|raw| raw.len() > 2048);
    for tensor in graph.initializer.extract_if(.., large) {
        let dims: Vec<_> = tensor
            .dims
            .iter()
            .map(|dim| Some(DimensionValue::Value(*dim)))
            .collect();
        if graph
            .input
            .iter()
            .all(|input| input.name() != tensor.name())
        {
            graph
                .input
                .push(value(tensor.name(), tensor.data_type(), dims));
        }
    }
}
