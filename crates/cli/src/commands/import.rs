//! `amphora import`.

use amphora::{ImportLimits, Result};

use crate::arguments::ImportArguments;
use crate::commands::{Context, Verdict};
use crate::text::{row, table};

pub(crate) fn run(context: &Context, arguments: &ImportArguments) -> Result<Verdict> {
    let imported = context
        .store()?
        .import(&arguments.source, &ImportLimits::default())?;
    if let Some(path) = &imported.set_aside {
        let path = path.to_string_lossy();
        context.output.note(&format!(
            "warning: a damaged bundle with this id was moved to {path}"
        ));
    }
    context.output.answer(&imported, |imported| {
        let state = if imported.existed {
            "was there already"
        } else {
            "imported"
        };
        table(
            0,
            &[
                row(["✓", state]),
                row(["id", &imported.id.to_string()]),
                row(["path", &imported.path.to_string_lossy()]),
            ],
        )
    })?;
    Ok(Verdict::Yes)
}
