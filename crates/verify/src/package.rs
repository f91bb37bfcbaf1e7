//! What can be shown of a package: less than of a bundle, and the report says which part.

use amphora_bundle::Package;
use amphora_bundle::package::Level;
use amphora_error::{ErrorKind, Result};
use amphora_onnx::Contract;
use amphora_runtime::Session;

use crate::report::{EngineInfo, OnnxCheck, Report, Stage};
use crate::verify::VerifyOptions;

/// Checks a package as far as it can be checked: the files that its manifest lists with a size or a
/// digest, the manifest against the entry graph, the model check, and whether the engine takes the
/// graph. When strict, the manifest must also say what a published package must.
///
/// What a bundle would show and a package cannot is listed as skipped: that its manifest is the one
/// that was published, that no file was added, that the numbers are right.
///
/// # Errors
///
/// Only when a check could not be done. A package that fails is a report that has not passed.
pub fn verify_package(package: &Package, options: &VerifyOptions) -> Result<Report> {
    let mut report = Report::new(options.target);
    if options.strict {
        report.begin("published_manifest");
        if let Err(error) = package.manifest().check(Level::Publish) {
            report.fail_with(Stage::Contract, error.kind(), &error);
        }
    }
    report.begin("integrity");
    let files = package.check_files()?;
    for fault in &files.faults {
        let text = format!("integrity: {fault}");
        report.fail(Stage::Integrity, ErrorKind::Untrusted, text);
    }
    report.skip(
        "seal",
        "a package has no manifest.sha256 and no id: nothing shows that its manifest, and the files \
         that it does not list, are those that were published",
    );
    if !files.without_digest.is_empty() {
        let names = files.without_digest.join(", ");
        let reason = format!("the manifest states no digest of {names}");
        report.skip("integrity", reason);
    }
    if files.faults.is_empty() {
        graphs(&mut report, package, options)?;
    } else {
        for check in ["contract", "model_check"] {
            report.skip(check, "a file is not the one that the manifest lists");
        }
    }
    report.skip(
        "numeric_equivalence",
        "a package has no golden vectors; amphora import makes a bundle of it that has some",
    );
    Ok(report)
}

fn graphs(report: &mut Report, package: &Package, options: &VerifyOptions) -> Result<()> {
    let graphs = match package.graphs() {
        Ok(graphs) => graphs,
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            report.begin("model_check");
            report.fail_with(Stage::ModelCheck, error.kind(), &error);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let mut errors = Vec::new();
    for (index, graph) in graphs.iter().enumerate() {
        let model = match package.model(graph, &options.limits) {
            Ok(model) => model,
            Err(error) => {
                report.fail_with(Stage::ModelCheck, error.kind(), &error);
                errors.push(error.to_string());
                continue;
            }
        };
        if index == 0 {
            report.begin("contract");
            contract(report, package, &model.contract()?, options.strict);
        }
        let found = model.check_report();
        for fault in &found.errors {
            let text = format!("model check: {}: {fault}", graph.file);
            report.fail(Stage::ModelCheck, fault.kind, text);
            errors.push(fault.to_string());
        }
        let Some(engine) = &options.engine else {
            continue;
        };
        report.engine = Some(EngineInfo {
            name: engine.name().to_owned(),
            version: engine.version(),
        });
        if let Err(error) = Session::new(&model, engine.clone(), &options.session, None) {
            report.fail_with(Stage::ModelCheck, error.kind(), &error);
        }
    }
    report.begin("model_check");
    report.onnx_check = Some(OnnxCheck {
        passed: errors.is_empty(),
        errors,
    });
    Ok(())
}

fn contract(report: &mut Report, package: &Package, graph: &Contract, strict: bool) {
    if package.manifest().spec.io.is_none() {
        report.skip(
            "contract",
            "the manifest has no spec.io: the graph describes itself",
        );
    }
    match package.effective_io(graph, strict) {
        Ok(known) => {
            for warning in known.warnings {
                report.warn(format!("contract: {warning}"));
            }
        }
        Err(error) => report.fail_with(Stage::Contract, error.kind(), &error),
    }
}
