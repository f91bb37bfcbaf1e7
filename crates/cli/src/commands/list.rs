//! `amphora list`.

use amphora::{Result, Summary};

use crate::arguments::ListArguments;
use crate::commands::{Context, Verdict};
use crate::text::{counted, row, size, table};

pub(crate) fn run(context: &Context, arguments: &ListArguments) -> Result<Verdict> {
    let listing = context.store()?.list()?;
    for warning in &listing.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    context.output.answer(&listing, |listing| {
        if listing.bundles.is_empty() {
            return "No bundles found\n".to_owned();
        }
        let rows: Vec<_> = listing.bundles.iter().map(summary).collect();
        let mut text = format!("Found {}:\n", counted(listing.bundles.len(), "bundle"));
        if arguments.verbose {
            for (bundle, row) in listing.bundles.iter().zip(rows) {
                text.push_str(&table(2, &[row]));
                text.push_str(&table(4, &details(bundle)));
            }
        } else {
            text.push_str(&table(2, &rows));
        }
        text
    })?;
    Ok(Verdict::Yes)
}

pub(crate) fn summary(bundle: &Summary) -> Vec<String> {
    row([
        &bundle.exp_hash,
        &format!("{}:{}", bundle.name, bundle.version),
        bundle
            .created
            .as_ref()
            .map_or("", |created| created.as_str()),
        &size(bundle.bytes),
    ])
}

fn details(bundle: &Summary) -> Vec<Vec<String>> {
    let accuracy = bundle
        .accuracy
        .map_or("N/A".to_owned(), |value| value.to_string());
    vec![
        row(["Id", &bundle.id.to_string()]),
        row(["Path", &bundle.path.to_string_lossy()]),
        row(["Formats", &bundle.formats.join(", ")]),
        row(["Files", &bundle.files.to_string()]),
        row(["Accuracy", &accuracy]),
    ]
}
