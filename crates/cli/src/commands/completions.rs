//! `amphora completions`.

use amphora::Result;
use serde::Serialize;

use crate::arguments::{CompletionsArguments, command};
use crate::commands::{Context, Verdict};

#[derive(Serialize)]
struct Completions {
    shell: String,
    script: String,
}

pub(crate) fn run(context: &Context, arguments: &CompletionsArguments) -> Result<Verdict> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "amphora", &mut script);
    let answer = Completions {
        shell: arguments.shell.to_string(),
        script: String::from_utf8_lossy(&script).into_owned(),
    };
    context
        .output
        .answer(&answer, |answer| answer.script.clone())?;
    Ok(Verdict::Yes)
}
