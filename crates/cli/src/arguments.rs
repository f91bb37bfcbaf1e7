//! What was typed: every command, flag and environment variable, as `clap` reads them.
//!
//! Nothing below this file sees a flag: each command turns its arguments into a request of the
//! facade. [`command`] gives every long flag its environment variable, so that none can be forgotten.

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStr};
use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::commands::generate::GenerateArguments;
use crate::commands::planner::PlannerArguments;

/// The value of `--help` that ends every help text.
const AFTER_HELP: &str = "\
A BUNDLE is a path, an id, the first 4 or more digits of an id, or NAME[:VERSION] (the newest without a version).
Data goes to stdout, words to stderr; exit codes and environment variables are listed in docs/cli.md.";

/// Seals trained models into bundles that prove themselves, and runs them.
#[derive(Debug, Parser)]
#[command(name = "amphora", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print one JSON object on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The directory that holds the bundles
    #[arg(long, global = true, value_name = "DIR", default_value = "artifacts")]
    pub(crate) store: PathBuf,

    /// How long to wait for another command that writes to the store
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) lock_timeout: u32,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn a PyTorch or safetensors checkpoint into ONNX, without Python
    Export(ExportArguments),
    /// Build a bundle from an ONNX file or a checkpoint, prove it, and publish it
    Pack(Box<PackArguments>),
    /// Say what a bundle, a package or an ONNX file is: inputs, outputs, operators, files, provenance
    Inspect(InspectArguments),
    /// Prove a bundle: integrity, contract, model check, numeric replay, target
    Verify(VerifyArguments),
    /// Run one inference on a bundle, a package or an ONNX file
    Run(RunArguments),
    /// Write text with a language model, as it comes
    Generate(Box<GenerateArguments>),
    /// Print or write the I/O contract of an ONNX file or a directory of them, or check one; print what a
    /// checkpoint, a SavedModel or a package takes and gives
    Contract(ContractArguments),
    /// List the bundles in the store, newest first
    List(ListArguments),
    /// Compare two bundles: metrics, configuration, formats, contract, weights
    Compare(CompareArguments),
    /// Write a bundle as one archive file, the same bytes each time
    Archive(ArchiveArguments),
    /// Bring a bundle into the store, or a package as the bundle that is made of it
    Import(ImportArguments),
    /// Write the directory that another system's document prescribes, from a bundle
    Layout(LayoutArguments),
    /// Remove all but the newest bundles of the store
    Clean(CleanArguments),
    /// Remove one bundle from the store
    Remove(RemoveArguments),
    /// Learn from recorded runs which swarm and budgets an issue needs, and decide
    Planner(Box<PlannerArguments>),
    /// Show the engines found (or why not), versions and paths
    Doctor,
    /// Print the completion script for a shell
    Completions(CompletionsArguments),
    /// Print the JSON Schema of a document that Amphora reads or writes
    Schema(SchemaArguments),
    /// Run the main job end to end: recorded runs, a trained planner, a verified bundle, a decision
    Quickstart(QuickstartArguments),
    /// Run a model for another process of this program; requests come on stdin
    #[command(hide = true)]
    EngineProcess,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// A PyTorch (.pt) or safetensors checkpoint of a known architecture, or a Hugging Face directory
    pub(crate) checkpoint: PathBuf,
    /// The model's configuration, JSON or YAML; not needed when the checkpoint holds one
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the ONNX file goes; for a language model the directory of prefill.onnx and decode.onnx
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// The ONNX operator set version (default: what the architecture asks for)
    #[arg(long, value_name = "N")]
    pub(crate) opset: Option<u64>,
    /// Leave the weights in their safetensors files, which lie beside OUTPUT or deeper, and point into them by offset
    #[arg(long, conflicts_with = "external_data")]
    pub(crate) link: bool,
    /// Write the weights beside the graph, as OUTPUT.data or model.onnx.data (automatic from 2 GB on)
    #[arg(long)]
    pub(crate) external_data: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PackArguments {
    /// An ONNX file, a PyTorch or safetensors checkpoint, or the directory of a model
    #[arg(
        value_name = "MODEL",
        required_unless_present = "model",
        conflicts_with = "model"
    )]
    pub(crate) subject: Option<PathBuf>,
    /// The same, as a flag
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<PathBuf>,
    /// The model's or experiment's configuration, JSON or YAML
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The signature of a SavedModel (default: serving_default)
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
    /// The bundle's name, such as 'vision/resnet50' (default: from the configuration or the file)
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The bundle's semantic version
    #[arg(long, default_value = "0.1.0")]
    pub(crate) version: String,
    /// Metrics to record, a JSON object
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
    /// Labels of the classes, a JSON object from class number to name
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// Temperatures of the heads, JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    /// Golden vectors, safetensors or npz: tensors named as the graph's inputs and outputs
    #[arg(long, value_name = "FILE")]
    pub(crate) golden: Option<PathBuf>,
    /// What the bundle is built for, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "onnx")]
    pub(crate) target: Vec<Target>,
    /// A further file to carry; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) asset: Vec<PathBuf>,
    /// How many golden cases to record
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) golden_cases: usize,
    /// Keep the checkpoint inside the bundle
    #[arg(long)]
    pub(crate) keep_checkpoint: bool,
    /// The commit the model was trained from, 7 to 40 hexadecimal digits
    #[arg(long, value_name = "HASH")]
    pub(crate) git_sha: Option<String>,
    /// Who made the bundle
    #[arg(long, value_name = "WHO")]
    pub(crate) created_by: Option<String>,
    #[command(flatten)]
    pub(crate) engine: EngineArgument,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// A bundle, a package or an ONNX file
    #[arg(value_name = "BUNDLE_OR_ONNX")]
    pub(crate) subject: String,
    /// Print the nodes of the graph
    #[arg(long)]
    pub(crate) graph: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LayoutArguments {
    /// The bundle
    pub(crate) bundle: String,
    /// The directory to write
    #[arg(value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Which directory
    #[arg(long = "as", value_enum, value_name = "LAYOUT")]
    pub(crate) layout: LayoutName,
}

/// The layouts, as they are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayoutName {
    /// A planner's flat directory: model.onnx and its JSON documents
    Cyntra,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The bundle to verify, or a package as far as it can be
    #[arg(required_unless_present = "all")]
    pub(crate) bundle: Option<String>,
    /// Also check that the bundle can be deployed to this target
    #[arg(long, value_enum)]
    pub(crate) target: Option<Target>,
    #[command(flatten)]
    pub(crate) engine: EngineArgument,
    /// Treat warnings as errors
    #[arg(long)]
    pub(crate) strict: bool,
    /// Write the reports into this directory (never into the bundle)
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Verify every bundle in the store
    #[arg(long, conflicts_with_all = ["bundle", "report"])]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// A bundle, a package or an ONNX file
    #[arg(value_name = "BUNDLE_OR_ONNX")]
    pub(crate) subject: String,
    /// NAME=FILE.npy, NAME=JSON or NAME=@FILE.json; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) input: Vec<String>,
    /// A text for the inputs that a tokenizer fills; several are one batch
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Vec<String>,
    /// The second text of a pair; as many as there are of --text
    #[arg(long, value_name = "TEXT", requires = "text")]
    pub(crate) text_pair: Vec<String>,
    /// A picture (PNG, JPEG, WebP) for the input that is made from one; several are one batch
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Vec<PathBuf>,
    /// A sound (WAV) for the input that is made from one
    #[arg(long, value_name = "FILE")]
    pub(crate) audio: Option<PathBuf>,
    /// Write the sound that an output is by the manifest into this file (WAV, 32-bit float)
    #[arg(long, value_name = "FILE")]
    pub(crate) audio_out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgument,
    /// How many labels to show, most probable first (default: what the manifest says, else 3)
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Replay the golden vectors before running
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ContractArguments {
    /// An ONNX file, or a directory: of ONNX files, of a checkpoint, a SavedModel or a package
    #[arg(value_name = "DIR_OR_ONNX")]
    pub(crate) subject: PathBuf,
    /// Compare with this contract (a file, or a directory of them) instead of printing
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub(crate) check: Option<PathBuf>,
    /// Where the contracts of a directory of ONNX files go (default: the directory itself), or the manifest of a
    /// SavedModel
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    pub(crate) out: Option<PathBuf>,
    /// The signature of a SavedModel (default: serving_default)
    #[arg(long, value_name = "NAME", conflicts_with = "check")]
    pub(crate) signature: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Show date, path, formats and accuracy too
    #[arg(long)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// The first bundle
    pub(crate) a: String,
    /// The second bundle
    pub(crate) b: String,
    /// Write the comparison as Markdown
    #[arg(long, value_name = "FILE.md")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ArchiveArguments {
    /// The bundle to archive
    pub(crate) bundle: String,
    /// The archive's format (default: as the end of the output's name says, or zip)
    #[arg(long, value_enum)]
    pub(crate) format: Option<ArchiveFormat>,
    /// Where the archive goes (default: beside the bundle, named by its hash)
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// A zip, tar, tar.gz or tar.zst archive of a bundle, a bundle's directory, or a package (a directory with a
    /// manifest that nothing seals, or an .axon file) to make a bundle of
    #[arg(value_name = "ARCHIVE_OR_DIR")]
    pub(crate) source: PathBuf,
    /// How many golden cases to record for a package
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) golden_cases: usize,
    #[command(flatten)]
    pub(crate) engine: EngineArgument,
}

#[derive(Debug, Args)]
pub(crate) struct CleanArguments {
    /// How many bundles to keep, newest first
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) keep: usize,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// The bundle to remove
    pub(crate) bundle: String,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// The document's name; without one, the names are listed
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct QuickstartArguments {
    /// Where everything goes
    #[arg(long, default_value = "amphora-quickstart")]
    pub(crate) dir: PathBuf,
    /// Which job is shown
    #[arg(long, value_enum, default_value_t = Example::Planner)]
    pub(crate) example: Example,
    /// How many issues are simulated for the planner to learn from
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(crate) issues: usize,
    #[command(flatten)]
    pub(crate) engine: EngineArgument,
}

/// The jobs that the quickstart shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Example {
    /// From recorded runs to a verified planner that decides
    Planner,
    /// From a trained model to a bundle that proves itself
    Model,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct EngineArgument {
    /// The engine that runs the model
    #[arg(long, value_enum, default_value_t = Engine::Rten)]
    pub(crate) engine: Engine,
    /// Which models run in a process of their own, within the limits below
    #[arg(long, value_enum, default_value_t = Isolate::Auto)]
    pub(crate) isolate: Isolate,
    /// How much memory that process may use, besides the model itself
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    pub(crate) engine_memory: u64,
    /// How long it may take to load the model, and again for each run
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub(crate) engine_timeout: u64,
    /// How much processor time it may take, over all runs
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub(crate) engine_cpu_time: u64,
}

/// Which models run in a process of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Isolate {
    /// ONNX files that Amphora did not export in this command, and bundles not yet verified on this machine
    Auto,
    /// Every model
    Always,
    /// No model
    Never,
}

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Built in: the same answer on every machine
    Rten,
    /// ONNX Runtime, 1.17 or newer, when it is installed
    Ort,
    /// tract, when this program was built with it
    Tract,
    /// ONNX Runtime when it is found, else the built-in engine
    Auto,
}

/// The deployment targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// ONNX on any engine
    Onnx,
    /// Core ML; not in this release
    Ios,
    /// Hailo; not in this release
    Hailo,
}

/// The archive formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArchiveFormat {
    /// A zip archive
    Zip,
    /// A tar archive
    Tar,
    /// A tar archive, compressed with gzip
    #[value(name = "tar.gz")]
    TarGz,
    /// A tar archive, compressed with Zstandard
    #[value(name = "tar.zst")]
    TarZst,
}

/// The whole command line, with an environment variable behind every long flag.
pub(crate) fn command() -> clap::Command {
    with_environment(Arguments::command())
}

/// The environment variable of a long flag: `--golden-cases` is `AMPHORA_GOLDEN_CASES`.
pub(crate) fn variable(long: &str) -> String {
    format!("AMPHORA_{}", long.replace('-', "_").to_ascii_uppercase())
}

/// `command` and its sub-commands with an environment variable behind every long flag.
fn with_environment(command: clap::Command) -> clap::Command {
    let command = command.mut_subcommands(with_environment);
    command.mut_args(|argument| {
        let Some(name) = argument.get_long().map(variable) else {
            return argument;
        };
        match argument.get_action() {
            ArgAction::Help | ArgAction::Version => argument,
            ArgAction::SetTrue => argument
                .env(OsStr::from(name))
                .hide_env_values(true)
                .value_parser(BoolishValueParser::new()),
            _ => argument
                .env(OsStr::from(name))
                .hide_env_values(true)
                // No flag is called like a number: -1 is a value, and its own parser says what is wrong.
                .allow_negative_numbers(true),
        }
    })
}
