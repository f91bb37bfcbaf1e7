//! Wrong command lines, in the form of every other error.

use amphora::Error;

/// What the standard library says of a text that is no number, and how people say it.
const NUMBERS: [(&str, &str); 5] = [
    (
        "invalid digit found in string",
        "a whole number is expected, 0 or more",
    ),
    (
        "number too large to fit in target type",
        "the number is too large",
    ),
    (
        "number too small to fit in target type",
        "the number is too small",
    ),
    (
        "cannot parse integer from empty string",
        "a whole number is expected",
    ),
    ("invalid float literal", "a number is expected"),
];

/// The message of the parser in plain words.
fn plain(message: &str) -> String {
    let known = NUMBERS
        .iter()
        .find_map(|(said, plain)| Some(format!("{}{plain}", message.strip_suffix(said)?)));
    known.unwrap_or_else(|| message.to_owned())
}

/// A refusal by the argument parser as an error of ours: one sentence and one hint.
pub(crate) fn refusal(refusal: &clap::Error, command: Option<&str>) -> Error {
    if refusal.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::usage("command-missing", "no command was given")
            .hint("`amphora --help` lists the commands");
    }
    let text = refusal.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let message = paragraphs.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let message = plain(message);
    let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned));
    let help = match command {
        Some(command) => format!("`amphora {command} --help` lists what the command takes"),
        None => "`amphora --help` lists the commands".to_owned(),
    };
    Error::usage("command-line", message).hint(tip.unwrap_or(help))
}
