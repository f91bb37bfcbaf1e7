//! `amphora quickstart`: the main job from end to end, each step explained.

mod model;
mod planner;

use std::time::Instant;

use amphora::Result;
use serde::Serialize;

use crate::arguments::{Example, QuickstartArguments};
use crate::commands::{Context, Verdict};
use crate::text::{row, table};

pub(crate) fn run(context: &Context, arguments: &QuickstartArguments) -> Result<Verdict> {
    match arguments.example {
        Example::Planner => planner::run(context, arguments),
        Example::Model => model::run(context, arguments),
    }
}

#[derive(Serialize)]
struct Step {
    /// What a user would type.
    command: String,
    /// What it is for.
    explanation: &'static str,
    seconds: f64,
}

/// Runs steps, one after the other, says what each is for, and keeps their times.
struct Steps<'a> {
    context: &'a Context,
    done: Vec<Step>,
}

impl<'a> Steps<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            done: Vec::new(),
        }
    }

    fn run<T>(
        &mut self,
        command: String,
        explanation: &'static str,
        job: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.context.output.note(&command);
        self.context.output.note(&format!("  {explanation}"));
        let start = Instant::now();
        let result = job()?;
        self.done.push(Step {
            command,
            explanation,
            seconds: start.elapsed().as_secs_f64(),
        });
        Ok(result)
    }
}

/// How long each step took.
fn times(steps: &[Step]) -> String {
    let rows: Vec<_> = steps
        .iter()
        .map(|step| row([&format!("{:.3} s", step.seconds), &step.command]))
        .collect();
    table(0, &rows)
}
