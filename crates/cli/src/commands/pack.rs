//! `amphora pack`.

use amphora::{Converter, Error, PackRequest, Packed, Result};

use crate::arguments::PackArguments;
use crate::commands::{Context, Verdict, target};
use crate::environment;
use crate::text::{counted, row, size, table};

pub(crate) fn run(context: &Context, arguments: PackArguments) -> Result<Verdict> {
    let model = arguments.subject.or(arguments.model).ok_or_else(|| {
        // The parser asks for one of the two.
        Error::internal("pack-model", "no model was named")
    })?;
    let request = PackRequest {
        converter: Converter::is_needed_for(&model)
            .then(|| Converter::find(&environment::path()))
            .flatten(),
        signature: arguments.signature,
        config: arguments.config,
        name: arguments.name,
        version: arguments.version,
        metrics: arguments.metrics,
        labels: arguments.labels,
        calibration: arguments.calibration,
        golden: arguments.golden,
        golden_cases: arguments.golden_cases,
        assets: arguments.asset,
        targets: arguments.target.into_iter().map(target).collect(),
        keep_checkpoint: arguments.keep_checkpoint,
        git_sha: arguments.git_sha,
        created_by: arguments.created_by,
        engines: context.engines(arguments.engine)?,
        ..PackRequest::new(context.store()?, model, context.now()?)
    };
    let progress = context.output.progress();
    let packed = amphora::pack(&request, &|step| progress.step(step))?;
    drop(progress);
    for warning in &packed.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    context.output.answer(&packed, words)?;
    Ok(Verdict::Yes)
}

pub(super) fn words(packed: &Packed) -> String {
    let state = if packed.existed {
        "was there already"
    } else {
        "published"
    };
    let bytes = packed.files.iter().map(|file| file.size).sum();
    let mut rows = vec![
        row(["✓", &format!("{}:{} {state}", packed.name, packed.version)]),
        row(["id", &packed.id.to_string()]),
        row(["path", &packed.path.to_string_lossy()]),
        row(["formats", &packed.formats.join(", ")]),
        row(["files", &format!("{}, {}", packed.files.len(), size(bytes))]),
    ];
    for (target, validation) in &packed.validation {
        let counts = format!(
            "{}, {}",
            counted(validation.errors, "error"),
            counted(validation.warnings, "warning")
        );
        rows.push(row([target, &counts]));
    }
    table(0, &rows)
}
