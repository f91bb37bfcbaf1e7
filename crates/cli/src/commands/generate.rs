//! `amphora generate`.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use amphora::{
    Chat, GenerateRequest, Pattern, PromptText, Result, Sampling, Subject, Written, json,
};
use clap::Args;

use crate::arguments::EngineArgument;
use crate::commands::{Context, Verdict};
use crate::output::write_content;

#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// A bundle of a language model
    pub(crate) bundle: String,
    /// The beginning of a text; may be given several times, the texts are then written together
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["prompt_file", "messages"])]
    pub(crate) prompt: Vec<String>,
    /// A file that holds the beginning of a text; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) prompt_file: Vec<PathBuf>,
    /// Take each prompt for what a user says, and put it into the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// What each conversation begins with, in the part of the system
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub(crate) system: Option<String>,
    /// The date for chat templates that ask for it, such as 2026-11-21
    #[arg(long, value_name = "DATE")]
    pub(crate) date: Option<String>,
    /// A JSON file that holds a conversation, a list of {role, content}; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) messages: Vec<PathBuf>,
    /// Most tokens to write for each prompt
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) max_new_tokens: usize,
    /// Divides the logits; 0 takes the best token each time (default: as the manifest says, else 0)
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) temperature: Option<f64>,
    /// Draw among the K best tokens
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<u32>,
    /// Draw among the best tokens that together reach this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) top_p: Option<f64>,
    /// Draw among the tokens of at least this part of the best token's probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) min_p: Option<f64>,
    /// Above 1: tokens that occurred become less likely
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub(crate) repetition_penalty: Option<f64>,
    /// Starts the random numbers: the same seed gives the same text
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// End a text before this string; may be given several times
    #[arg(long, value_name = "STRING")]
    pub(crate) stop: Vec<String>,
    /// Show special tokens in the text, but for the stop token
    #[arg(long)]
    pub(crate) special_tokens: bool,
    /// Write JSON that fits this JSON Schema
    #[arg(long, value_name = "FILE", conflicts_with = "regex")]
    pub(crate) json_schema: Option<PathBuf>,
    /// Write a text that this regular expression matches from beginning to end
    #[arg(long, value_name = "REGEX")]
    pub(crate) regex: Option<String>,
    /// End all texts after this time
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time_limit: Option<u64>,
    #[command(flatten)]
    pub(crate) engine: EngineArgument,
    /// Replay the golden vectors before writing
    #[arg(long)]
    pub(crate) verify: bool,
    /// Say on stderr how many tokens were read and written, how fast, and why each text ended
    #[arg(long)]
    pub(crate) verbose: bool,
}

pub(crate) fn run(context: &Context, arguments: &GenerateArguments) -> Result<Verdict> {
    let prompts = prompts(arguments);
    let streamed = prompts.len() == 1 && !context.output.is_json();
    let on_terminal = std::io::stdout().is_terminal();
    let request = GenerateRequest {
        subject: Subject::resolve(&context.store()?, &arguments.bundle)?,
        prompts,
        chat: arguments.chat.then(|| Chat {
            system: arguments.system.clone(),
        }),
        date: arguments.date.clone(),
        pattern: pattern(arguments)?,
        max_new_tokens: arguments.max_new_tokens,
        sampling: Sampling {
            temperature: arguments.temperature,
            top_k: arguments.top_k,
            top_p: arguments.top_p,
            min_p: arguments.min_p,
            repetition_penalty: arguments.repetition_penalty,
        },
        seed: arguments.seed,
        stop: arguments.stop.clone(),
        special_tokens: arguments.special_tokens,
        time_limit: arguments.time_limit.map(Duration::from_secs),
        engines: context.engines(arguments.engine)?,
        verify: arguments.verify,
    };
    let written = amphora::generate(request, &mut |_, text| match streamed && !text.is_empty() {
        true => write_content(shown(text, on_terminal).as_bytes()),
        false => Ok(()),
    })?;
    match streamed {
        true => write_content(b"\n")?,
        false if context.output.is_json() => context.output.answer(&written, |_| String::new())?,
        false => write_content(words(&written).as_bytes())?,
    }
    if arguments.verbose {
        report(context, &written);
    }
    Ok(Verdict::Yes)
}

/// The prompts on the command line, then those in files, then conversations.
fn prompts(arguments: &GenerateArguments) -> Vec<PromptText> {
    let typed = arguments.prompt.iter().cloned().map(PromptText::Plain);
    let files = arguments.prompt_file.iter().cloned().map(PromptText::File);
    let conversations = arguments.messages.iter().cloned().map(PromptText::Messages);
    typed.chain(files).chain(conversations).collect()
}

fn pattern(arguments: &GenerateArguments) -> Result<Option<Pattern>> {
    let schema = |path: &PathBuf| json::read(path).map(Pattern::JsonSchema);
    match (&arguments.json_schema, &arguments.regex) {
        (Some(path), _) => schema(path).map(Some),
        (None, Some(expression)) => Ok(Some(Pattern::Regex(expression.clone()))),
        (None, None) => Ok(None),
    }
}

/// Text of a model as a terminal may show it: control characters but line ends and tabs are escaped. A
/// file or another program gets every character as it is.
fn shown(text: &str, on_terminal: bool) -> Cow<'_, str> {
    if !on_terminal {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            _ if character.is_control() => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Several texts, each after a line that counts it.
fn words(written: &Written) -> String {
    let on_terminal = std::io::stdout().is_terminal();
    let texts = written.texts.iter().enumerate();
    texts
        .map(|(number, text)| {
            let text = shown(&text.text, on_terminal);
            format!("--- {}\n{text}\n", number + 1)
        })
        .collect()
}

fn report(context: &Context, written: &Written) {
    for (number, text) in written.texts.iter().enumerate() {
        let complete = match text.complete {
            Some(false) => ", not complete",
            _ => "",
        };
        context.output.note(&format!(
            "text {}: {} tokens read, {} written, ended by {}{complete}",
            number + 1,
            text.prompt_tokens,
            text.new_tokens,
            text.finish_reason,
        ));
    }
    context.output.note(&format!(
        "{:.3} s, {:.1} tokens a second, {}",
        written.seconds, written.tokens_per_second, written.engine
    ));
}
