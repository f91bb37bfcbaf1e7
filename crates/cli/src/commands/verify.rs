//! `amphora verify`.

use std::path::Path;

use amphora::{Error, Level, Package, Report, Result, StoreReport, VerifyRequest, verdict};

use crate::arguments::VerifyArguments;
use crate::commands::{Context, Verdict, target};
use crate::text::{counted, line, row, table};

pub(crate) fn run(context: &Context, arguments: &VerifyArguments) -> Result<Verdict> {
    let request = &VerifyRequest {
        target: arguments.target.map_or(amphora::Target::General, target),
        engines: context.engines(arguments.engine)?,
        strict: arguments.strict,
        validated_at: context.now()?,
    };
    let store = context.store()?;
    let Some(reference) = &arguments.bundle else {
        let report = amphora::verify_all(&store, request)?;
        context.output.answer(&report, all_words)?;
        return Ok(report.verdict().map_or(Verdict::Yes, Verdict::No));
    };
    let path = Path::new(reference);
    let check: Box<dyn FnOnce() -> Result<Report>> = if Package::is_at(path) {
        let package = Package::open(path, Level::Install)?;
        Box::new(move || amphora::verify_package(&package, request))
    } else {
        let bundle = store.resolve(reference)?;
        Box::new(move || amphora::verify(bundle, request))
    };
    if let Some(directory) = &arguments.report {
        amphora::prepare_directory(directory)?;
    }
    let report = check()?;
    if let Some(directory) = &arguments.report {
        let written = amphora::write_report(&report, directory)?;
        context.output.note(&format!("wrote {}", written.display()));
    }
    context.output.answer(&report, words)?;
    let failure: Option<Error> = verdict(&report);
    Ok(failure.map_or(Verdict::Yes, Verdict::No))
}

fn words(report: &Report) -> String {
    let mark = if report.passed { "✓" } else { "✗" };
    let outcome = if report.passed { "passed" } else { "failed" };
    let mut text = line(&format!("{mark} Validation {outcome} ({})", report.target));
    let mut rows = Vec::new();
    for check in &report.checks_run {
        rows.push(row(["check", check]));
    }
    for skipped in &report.skipped {
        rows.push(row([
            "skipped",
            &format!("{}: {}", skipped.check, skipped.reason),
        ]));
    }
    for warning in &report.warnings {
        rows.push(row(["WARNING", warning]));
    }
    if let Some(numeric) = &report.numeric_equivalence {
        let engine = report.engine.as_ref();
        let engine = engine.map_or(String::new(), |e| format!(" on {} {}", e.name, e.version));
        rows.push(row([
            "replay",
            &format!("{} cases{engine}", numeric.n_test_cases),
        ]));
        rows.push(row(["reference", &numeric.producer]));
        for (output, found) in &numeric.per_output {
            let mark = if found.within_tolerance { "✓" } else { "✗" };
            let differences = format!(
                "{mark} max abs {:.1e}, max rel {:.1e}",
                found.max_abs_diff, found.max_rel_diff
            );
            let allowed = format!("(allowed: {})", found.tolerance);
            rows.push(row(["output", output, &differences, &allowed]));
        }
    }
    text.push_str(&table(2, &rows));
    text
}

fn all_words(report: &StoreReport) -> String {
    let rows: Vec<_> = report
        .bundles
        .iter()
        .map(|bundle| {
            let passed = bundle.report.as_ref().is_some_and(|report| report.passed);
            let mark = if passed { "✓" } else { "✗" };
            let name = match &bundle.identity {
                Some(identity) => format!("{}:{}", identity.name, identity.version),
                None => "unreadable".to_owned(),
            };
            row([mark, &bundle.path.to_string_lossy(), &name])
        })
        .collect();
    let warnings = report.warnings.iter();
    let warnings: Vec<_> = warnings.map(|text| row(["WARNING", text])).collect();
    line(&format!("{} verified", counted(rows.len(), "bundle")))
        + &table(2, &rows)
        + &table(2, &warnings)
}
