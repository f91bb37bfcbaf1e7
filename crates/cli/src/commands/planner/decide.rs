//! `amphora planner decide`.

use std::path::PathBuf;

use amphora::planner::{DecideRequest, PlannerInput};
use amphora::{Result, json};
use clap::Args;

use crate::commands::{Context, Verdict};

#[derive(Debug, Args)]
pub(crate) struct DecideArguments {
    /// The planner_input.v1 to decide on
    #[arg(long, value_name = "FILE.json")]
    input: PathBuf,
}

pub(crate) fn run(context: &Context, arguments: &DecideArguments) -> Result<Verdict> {
    let document = json::read(&arguments.input)?;
    let input =
        PlannerInput::from_value(&document).map_err(|error| error.in_file(&arguments.input))?;
    let action = amphora::planner::decide(&DecideRequest {
        input,
        now: context.now()?.to_string(),
    })?;
    context.output.document(&action)?;
    Ok(Verdict::Yes)
}
