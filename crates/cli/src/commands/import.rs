//! `amphora import`.

use amphora::{ImportLimits, ImportRequest, Imported, Publication, Result};

use crate::arguments::ImportArguments;
use crate::commands::{Context, Verdict, pack};
use crate::text::{row, table};

pub(crate) fn run(context: &Context, arguments: ImportArguments) -> Result<Verdict> {
    let request = ImportRequest {
        store: context.store()?,
        source: arguments.source,
        limits: ImportLimits::default(),
        created: context.now()?,
        engines: context.engines(arguments.engine)?,
        golden_cases: arguments.golden_cases,
    };
    let progress = context.output.progress();
    let imported = amphora::import(&request, &|text| progress.step(text))?;
    drop(progress);
    match &imported {
        Imported::Bundle(published) => {
            if let Some(path) = &published.set_aside {
                let path = path.to_string_lossy();
                context.output.note(&format!(
                    "warning: a damaged bundle with this id was moved to {path}"
                ));
            }
        }
        Imported::Upgraded(packed) => {
            for warning in &packed.warnings {
                context.output.note(&format!("warning: {warning}"));
            }
        }
    }
    context
        .output
        .answer(&imported, |imported| match imported {
            Imported::Bundle(published) => words(published),
            Imported::Upgraded(packed) => pack::words(packed),
        })?;
    Ok(Verdict::Yes)
}

fn words(published: &Publication) -> String {
    let state = if published.existed {
        "was there already"
    } else {
        "imported"
    };
    table(
        0,
        &[
            row(["✓", state]),
            row(["id", &published.id.to_string()]),
            row(["path", &published.path.to_string_lossy()]),
        ],
    )
}
