//! What does not hold is found, named, and answered with the kind of its stage.

use std::path::Path;

use amphora_bundle::Bundle;
use amphora_bundle::manifest::{GoldenKind, Tolerance};
use amphora_checkpoint::{Limits, Safetensors};
use amphora_error::ErrorKind;
use amphora_onnx::{Dim, Dtype};
use amphora_runtime::{SessionOptions, Tensor};
use amphora_testing::each;
use amphora_verify::{Target, VerifyOptions, verify};

use crate::support::{Parts, Source, options, rten};

fn parts() -> Option<Parts> {
    Some(Source::open("planner_mlp")?.parts(4))
}

/// Replaces a file of a published bundle, whose files are read-only.
fn overwrite(file: &Path, bytes: &[u8]) {
    let _ = fs_err::remove_file(file);
    fs_err::write(file, bytes).unwrap();
}

fn unlock(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        let mode = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(&folder, mode).unwrap();
        for entry in fs_err::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
        }
    }
}

#[test]
fn changed_missing_and_unlisted_files_are_named() {
    let Some(parts) = parts() else {
        return;
    };
    let packed = parts.publish();
    unlock(&packed.folder);
    let bundle = Bundle::open(&packed.folder).unwrap();
    let files = bundle
        .manifest()
        .files
        .iter()
        .map(|file| file.path.to_string());
    let files: Vec<String> = files.collect();
    drop(bundle);
    each(&files, |file| {
        let place = packed.folder.join(file);
        let sound = fs_err::read(&place).unwrap();
        let mut changed = sound.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        overwrite(&place, &changed);
        let after_change = packed.verify(&options()).report;
        fs_err::remove_file(&place).unwrap();
        let after_removal = packed.verify(&options()).report;
        overwrite(&place, &sound);
        for report in [after_change, after_removal] {
            let named = report.errors.len() == 1 && report.errors[0].contains(file.as_str());
            if !named || report.exit_kind() != Some(ErrorKind::Untrusted) {
                return Err(format!("{:?}", report.errors));
            }
        }
        Ok(())
    });
    overwrite(&packed.folder.join("smuggled.txt"), b"x");
    let report = packed.verify(&options()).report;
    assert_eq!(report.exit_kind(), Some(ErrorKind::Untrusted));
    assert!(
        report.errors[0].contains("smuggled.txt: unlisted"),
        "{:?}",
        report.errors
    );
    assert!(report.numeric_equivalence.is_none());
    fs_err::remove_file(packed.folder.join("smuggled.txt")).unwrap();
    assert!(packed.verify(&options()).report.passed);
}

#[test]
fn what_was_verified_is_what_runs() {
    let Some(parts) = parts() else {
        return;
    };
    let packed = parts.publish();
    let verified = packed.verify(&options()).into_bundle().unwrap();
    unlock(&packed.folder);
    for file in ["models/model.onnx", "models/model.onnx.data"] {
        overwrite(&packed.folder.join(file), b"something else");
    }
    let mut session = verified
        .session(rten(), &SessionOptions::default())
        .unwrap();
    let input = Tensor::new([1, 3779], vec![0.0_f32; 3779]).unwrap();
    let outputs = session.run(&[("input".to_owned(), input)].into()).unwrap();
    assert_eq!(outputs.iter().len(), 4);
    assert_eq!(outputs.nonfinite(), 0);
}

#[test]
fn a_manifest_that_contradicts_the_graph_is_incompatible() {
    type Change = fn(&mut Parts);
    let rows: [(&str, Change, bool, Option<&str>); 6] = [
        ("nothing", |_| {}, true, None),
        (
            "another name",
            |parts| parts.declared.inputs[0].name = "features".to_owned(),
            false,
            Some("the manifest's input 'features' is not in the graph"),
        ),
        (
            "another dtype, lenient",
            |parts| parts.declared.outputs[0].dtype = Dtype::Float64,
            false,
            Some("io_contract.json"),
        ),
        (
            "another dtype, strict",
            |parts| parts.declared.outputs[0].dtype = Dtype::Float64,
            true,
            Some("the manifest says float64, the graph float32"),
        ),
        (
            "another size",
            |parts| parts.declared.inputs[0].shape = Some(vec![Dim::Unknown, Dim::Fixed(7)]),
            true,
            Some("the manifest says [?, 7]"),
        ),
        (
            "another opset",
            |parts| parts.declared.opset = 12,
            false,
            Some("opset of graph 'model'"),
        ),
    ];
    each(&rows, |(_, change, strict, needle)| {
        let Some(mut parts) = parts() else {
            return Ok(());
        };
        change(&mut parts);
        let options = VerifyOptions {
            strict: *strict,
            ..VerifyOptions::default()
        };
        let report = parts.publish().verify(&options).report;
        let expected = needle.map(|_| ErrorKind::Incompatible);
        let found =
            needle.is_none_or(|needle| report.errors.iter().any(|error| error.contains(needle)));
        if report.exit_kind() == expected && found {
            Ok(())
        } else {
            Err(format!("{:?}", report.errors))
        }
    });
}

#[test]
fn outputs_out_of_tolerance_are_a_mismatch_that_names_the_worst_place() {
    let Some(mut parts) = parts() else {
        return;
    };
    for tolerance in parts.entry.tolerance.values_mut() {
        *tolerance = Tolerance::close(1e-12, 0.0);
    }
    let verification = parts.publish().verify(&options());
    let report = &verification.report;
    assert_eq!(report.exit_kind(), Some(ErrorKind::Mismatch));
    assert!(
        !report
            .numeric_equivalence
            .as_ref()
            .unwrap()
            .all_within_tolerance
    );
    assert!(
        report.errors[0].contains("the worst in case"),
        "{:?}",
        report.errors
    );
    let error = verification.into_bundle().unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Mismatch, "verification")
    );
}

#[test]
fn golden_vectors_of_another_graph_are_refused() {
    let (Some(mut parts), Some(urm)) = (parts(), Source::open("planner_urm")) else {
        return;
    };
    let golden = urm.golden(4);
    parts.golden = golden.to_bytes().unwrap();
    parts.entry.producer = golden.producer().to_owned();
    let report = parts.publish().verify(&options()).report;
    assert_eq!(
        report.exit_kind(),
        Some(ErrorKind::Incompatible),
        "{:?}",
        report.errors
    );
    let named = "'input_ids' is not an output of the graph";
    assert!(
        report.errors.iter().any(|error| error.contains(named)),
        "{:?}",
        report.errors
    );
}

#[test]
fn golden_vectors_that_prove_less_than_the_manifest_says_are_refused() {
    type Change = fn(&mut Parts);
    let rows: [(&str, Change, &str); 3] = [
        (
            "another kind",
            |parts| parts.entry.kind = GoldenKind::Supplied,
            "not what the manifest says",
        ),
        (
            "fewer cases",
            |parts| parts.entry.cases = 1000,
            "not what the manifest says",
        ),
        (
            "an output left out",
            |parts| leave_out(&mut parts.golden, "swarm"),
            "'swarm' has a tolerance but no reference",
        ),
    ];
    each(&rows, |(_, change, needle)| {
        let Some(mut parts) = parts() else {
            return Ok(());
        };
        change(&mut parts);
        let report = parts.publish().verify(&options()).report;
        let named = report.errors.iter().any(|error| error.contains(needle));
        match report.exit_kind() {
            Some(ErrorKind::Incompatible) if named => Ok(()),
            _ => Err(format!("{:?}", report.errors)),
        }
    });
}

fn leave_out(golden: &mut Vec<u8>, output: &str) {
    let mut file = Safetensors::from_bytes(&golden.clone().into(), &Limits::default()).unwrap();
    file.tensors.remove(output).unwrap();
    *golden = file.to_bytes().unwrap();
}

#[test]
fn targets_that_are_not_there_are_not_ready() {
    let Some(parts) = parts() else {
        return;
    };
    let packed = parts.publish();
    for (target, message) in [
        (Target::Ios, "CoreML model package missing"),
        (Target::Hailo, "Hailo HEF file missing"),
    ] {
        let options = VerifyOptions {
            target,
            ..VerifyOptions::default()
        };
        let report = packed.verify(&options).report;
        assert_eq!(report.exit_kind(), Some(ErrorKind::NotReady));
        assert_eq!(report.errors, [message]);
    }
    assert_eq!(
        "android".parse::<Target>().unwrap_err().kind(),
        ErrorKind::Usage
    );
}

#[test]
fn the_first_stage_decides_when_several_fail() {
    let Some(mut parts) = parts() else {
        return;
    };
    parts.declared.opset = 12;
    for tolerance in parts.entry.tolerance.values_mut() {
        *tolerance = Tolerance::close(1e-12, 0.0);
    }
    let packed = parts.publish();
    let options = VerifyOptions {
        target: Target::Ios,
        ..options()
    };
    let report = verify(Bundle::open(&packed.folder).unwrap(), &options)
        .unwrap()
        .report;
    assert_eq!(report.exit_kind(), Some(ErrorKind::Incompatible));
    assert!(report.errors.len() >= 3, "{:?}", report.errors);
}
