//! `docs/cli.md`, generated from the argument parser, so that the page cannot drift.

use std::fmt::Write as _;

use amphora::ErrorKind;
use clap::{Arg, ArgAction, Command};

use crate::arguments::{command, variable};

/// Every environment variable that is not the twin of a flag, and what it does.
const VARIABLES: [(&str, &str); 6] = [
    (
        "AMPHORA_HOME",
        "the directory for what Amphora keeps between runs (default: the platform's data directory)",
    ),
    (
        "AMPHORA_LOG",
        "what to log on stderr, for example 'info' or 'amphora_runtime=debug' (default: nothing)",
    ),
    (
        "ORT_DYLIB_PATH",
        "the ONNX Runtime library that the engine 'ort' loads",
    ),
    (
        "SOURCE_DATE_EPOCH",
        "seconds since 1970 that stand for the present wherever a date is written",
    ),
    ("NO_COLOR", "any value but the empty one: no colors"),
    (
        "AMPHORA_JSON",
        "set to 1: the same as --json, also for errors in the command line itself",
    ),
];

const INTRODUCTION: &str = "\
# The command line

This page is generated from the argument parser; a test keeps it fresh (`UPDATE_DOCS=1 cargo test -p amphora-cli`
writes it anew).

Data goes to stdout; words, progress and warnings go to stderr. With `--json` a command prints exactly one JSON object on
stdout, on failure too: `{\"error\": {\"kind\", \"message\", \"hint\", \"path\"}}`. Text from inside files is escaped before it is
printed. `amphora schema` prints the JSON Schemas of these objects.

A BUNDLE is a path, an id, the first four or more digits of an id, or `NAME[:VERSION]` (the newest without a version).
";

const ISOLATION: &str = "
## Engines in a process of their own

A model is a program, and an engine may abort, run for ever or take all memory on it. So models of strangers are loaded and run by
a second process of `amphora`, which has limits of its own and ends when the command ends, whatever that dies of. `--isolate` says
which models those are:

| value | runs in a process of its own |
|---|---|
| `auto` | ONNX files (`run`, `pack`), bundles that the engine has not verified on this machine (`verify`, `run`, `generate`), and every chat template (`generate`) |
| `always` | every model and chat template |
| `never` | nothing |

With `auto` these run in the command's own process: a graph that Amphora has exported from a checkpoint in the same command, and a
bundle whose golden vectors the same version of the engine has run to the end before, in `pack`, `verify` or `run --verify`.
That is remembered as one small file for each bundle and engine in `AMPHORA_HOME/verified`; deleting the directory forgets it. It
decides this and nothing else: the bytes of a bundle are compared with its manifest every time.

Times of single runs in a report then include the way to that process and back.

A limit that is reached is an error of the kind `busy` (time) or `limit` (memory, a crash); its hint names the flag that raises it.
";

/// `command` without `help`, which would describe every command again.
fn without_help(command: Command) -> Command {
    command
        .disable_help_subcommand(true)
        .mut_subcommands(without_help)
}

fn page() -> String {
    let mut command = without_help(command());
    command.build();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Commands\n\n| command | does |\n|---|---|\n");
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = sub.get_name();
        let _ = writeln!(page, "| [`{name}`](#{name}) | {} |", about(sub));
    }
    page.push_str("\nEvery command takes these flags:\n");
    flags(&mut page, command.get_arguments());
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        section(&mut page, 2, sub.get_name(), sub);
    }
    page.push_str(ISOLATION);
    page.push_str("\n## Environment\n\nEvery flag `--foo-bar` is also the variable `AMPHORA_FOO_BAR`; a flag that is typed wins. Besides:\n");
    page.push_str("\n| variable | meaning |\n|---|---|\n");
    for (name, meaning) in VARIABLES {
        let _ = writeln!(page, "| `{name}` | {meaning} |");
    }
    page.push_str("\n## Exit codes\n\n| code | kind | meaning |\n|---|---|---|\n| 0 | | done |\n");
    for kind in ErrorKind::ALL {
        let _ = writeln!(
            page,
            "| {} | `{kind}` | {} |",
            kind.exit_code(),
            kind.meaning()
        );
    }
    page.push_str("\nOf several failures the first stage decides: integrity, contract, model check, numerics, target.\n");
    page
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The section of a command called `name`, and after it those of its sub-commands.
fn section(page: &mut String, level: usize, name: &str, command: &Command) {
    let hashes = "#".repeat(level);
    let _ = write!(page, "\n{hashes} {name}\n\n{}.\n\n```\n", about(command));
    let _ = writeln!(page, "{}\n```", usage(command));
    let own = command
        .get_arguments()
        .filter(|argument| !argument.is_global_set());
    flags(page, own);
    for sub in command.get_subcommands() {
        section(page, level + 1, &format!("{name} {}", sub.get_name()), sub);
    }
}

fn usage(command: &Command) -> String {
    let text = command.clone().render_usage().to_string();
    text.trim_start_matches("Usage: ").to_owned()
}

fn flags<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let mut rows = String::new();
    for argument in arguments {
        if matches!(argument.get_action(), ArgAction::Help | ArgAction::Version) {
            continue;
        }
        let help = argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let mut notes = vec![help];
        if !values.is_empty() && argument.get_action().takes_values() {
            notes.push(format!("one of {}", values.join(", ")));
        }
        let defaults: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|v| v.to_string_lossy())
            .collect();
        if !defaults.is_empty() && argument.get_action().takes_values() {
            notes.push(format!("default `{}`", defaults.join(",")));
        }
        let spelled = argument.to_string();
        let environment = argument
            .get_long()
            .map(|long| format!("`{}`", variable(long)));
        let _ = writeln!(
            rows,
            "| `{spelled}` | {} | {} |",
            environment.unwrap_or_default(),
            notes.join("; ")
        );
    }
    if !rows.is_empty() {
        let _ = write!(
            page,
            "\n| argument | variable | meaning |\n|---|---|---|\n{rows}"
        );
    }
}

#[test]
fn the_page_is_what_the_parser_accepts() {
    let path = amphora_testing::repository().join("docs/cli.md");
    let page = page();
    #[expect(
        clippy::disallowed_methods,
        reason = "the developer asks for a new page"
    )]
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    if update {
        amphora::write_file(&path, page.as_bytes()).unwrap();
    }
    let stored = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
    assert!(
        stored == page,
        "docs/cli.md is stale: UPDATE_DOCS=1 cargo test -p amphora-cli writes it"
    );
}

#[test]
fn every_long_flag_has_its_environment_variable() {
    let command = command();
    let flags = command
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .chain(command.get_arguments());
    let bare: Vec<String> = flags
        .filter(|flag| !matches!(flag.get_action(), ArgAction::Help | ArgAction::Version))
        .filter_map(|flag| Some((flag.get_long()?, flag.get_env())))
        .filter(|(long, env)| env.is_none_or(|env| *env != *variable(long)))
        .map(|(long, _)| long.to_owned())
        .collect();
    assert!(bare.is_empty(), "{bare:?}");
}
