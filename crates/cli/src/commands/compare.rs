//! `amphora compare`.

use amphora::{Error, Result};

use crate::arguments::CompareArguments;
use crate::commands::{Context, Verdict};
use crate::text::line;

pub(crate) fn run(context: &Context, arguments: &CompareArguments) -> Result<Verdict> {
    let store = context.store()?;
    let (a, b) = (store.resolve(&arguments.a)?, store.resolve(&arguments.b)?);
    let comparison = amphora::compare(&a, &b)?;
    let markdown = comparison.to_markdown();
    if let Some(path) = &arguments.output {
        amphora::write_file(path, markdown.as_bytes())?;
    }
    context
        .output
        .answer(&comparison, |_| match &arguments.output {
            Some(path) => line(&path.to_string_lossy()),
            None => markdown.lines().map(line).collect(),
        })?;
    if comparison.identical {
        return Ok(Verdict::Yes);
    }
    Ok(Verdict::No(Error::negative(
        "bundles-differ",
        "the bundles differ",
    )))
}
