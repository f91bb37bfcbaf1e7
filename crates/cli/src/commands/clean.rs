//! `amphora clean`.

use amphora::Result;

use crate::arguments::CleanArguments;
use crate::commands::list::summary;
use crate::commands::{Context, Verdict};
use crate::text::{counted, table};

pub(crate) fn run(context: &Context, arguments: &CleanArguments) -> Result<Verdict> {
    let cleaned = context.store()?.clean(arguments.keep, arguments.dry_run)?;
    for warning in &cleaned.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    context.output.answer(&cleaned, |cleaned| {
        let removed = if cleaned.dry_run {
            "Would remove"
        } else {
            "Removed"
        };
        let mut text = String::new();
        for (words, bundles) in [
            (removed, &cleaned.removed),
            ("In use, left alone:", &cleaned.in_use),
            ("Kept", &cleaned.kept),
        ] {
            if bundles.is_empty() && words != removed {
                continue;
            }
            text.push_str(&format!("{words} {}\n", counted(bundles.len(), "bundle")));
            let rows: Vec<_> = bundles.iter().map(summary).collect();
            text.push_str(&table(2, &rows));
        }
        text
    })?;
    Ok(Verdict::Yes)
}
