//! `amphora schema`.

use amphora::Result;
use serde_json::json;

use crate::arguments::SchemaArguments;
use crate::commands::{Context, Verdict};

pub(crate) fn run(context: &Context, arguments: &SchemaArguments) -> Result<Verdict> {
    match &arguments.name {
        Some(name) => {
            let schema = amphora::schema(name)?;
            context.output.document(&schema)?;
        }
        None => context
            .output
            .answer(&json!({"schemas": amphora::schema_names()}), |_| {
                amphora::schema_names().join("\n") + "\n"
            })?,
    }
    Ok(Verdict::Yes)
}
