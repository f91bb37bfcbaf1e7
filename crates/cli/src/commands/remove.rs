//! `amphora remove`.

use amphora::Result;
use serde::Serialize;

use crate::arguments::RemoveArguments;
use crate::commands::{Context, Verdict};
use crate::text::line;

#[derive(Serialize)]
struct Removed {
    removed: String,
}

pub(crate) fn run(context: &Context, arguments: &RemoveArguments) -> Result<Verdict> {
    let path = context.store()?.remove(&arguments.bundle)?;
    let removed = Removed {
        removed: path.to_string_lossy().into_owned(),
    };
    context.output.answer(&removed, |removed| {
        line(&format!("Removed {}", removed.removed))
    })?;
    Ok(Verdict::Yes)
}
