//! `amphora planner dataset`.

use std::path::PathBuf;

use amphora::Result;
use amphora::planner::{DEFAULT_SIMILAR_RUNS, DatasetBuilt, DatasetRequest, NOTABLE_SHIFT};
use clap::Args;

use crate::commands::{Context, Verdict};
use crate::text::{line, row, table};

#[derive(Debug, Args)]
pub(crate) struct DatasetArguments {
    #[command(flatten)]
    source: SourceArguments,
    /// Where the dataset goes: a new directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Which archives are looked at, and how.
#[derive(Debug, Args)]
pub(super) struct SourceArguments {
    /// The directory of archives
    #[arg(long, value_name = "DIR")]
    archives: PathBuf,
    /// The issues, for archives that hold no planner input
    #[arg(long, value_name = "FILE.jsonl")]
    issues: Option<PathBuf>,
    /// How many similar runs an input holds at most
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SIMILAR_RUNS)]
    similar: usize,
    /// The folder of world runs, which inputs of worlds may know
    #[arg(long, value_name = "DIR")]
    world_runs: Option<PathBuf>,
    /// The actions to choose from (default: those of the archives; the universe's where they hold none)
    #[arg(long, value_name = "FILE.json")]
    action_space: Option<PathBuf>,
    /// The universe, for archives that hold no planner input
    #[arg(long, value_name = "DIR")]
    universe: Option<PathBuf>,
}

impl SourceArguments {
    pub(super) fn request(self) -> DatasetRequest {
        DatasetRequest {
            archives: self.archives,
            issues: self.issues,
            world_runs: self.world_runs,
            action_space: self.action_space,
            universe: self.universe,
            similar: self.similar,
        }
    }
}

pub(crate) fn run(context: &Context, arguments: DatasetArguments) -> Result<Verdict> {
    let built = amphora::planner::build_dataset(&arguments.source.request(), &arguments.out)?;
    for (head, shift) in &built.meta.findings.label_shift {
        if *shift > NOTABLE_SHIFT {
            context.output.note(&format!(
                "note: labels of '{head}' differ between training and test: {:.0} % would have to change",
                shift * 100.0
            ));
        }
    }
    context.output.answer(&built, words)?;
    Ok(Verdict::Yes)
}

pub(super) fn words(built: &DatasetBuilt) -> String {
    let meta = &built.meta;
    let parts = &meta.split_counts;
    let mut rows = vec![
        row(["dataset", &built.path.to_string_lossy()]),
        row(["hash", &meta.dataset_hash]),
        row(["runs", &built.runs.to_string()]),
        row(["world runs", &built.world_runs.to_string()]),
        row(["rows", &meta.example_count.to_string()]),
        row([
            "parts",
            &format!(
                "{} train, {} val, {} test",
                parts.train, parts.val, parts.test
            ),
        ]),
    ];
    let counts = meta
        .dropped
        .iter()
        .map(|(reason, count)| ("dropped", reason, count))
        .chain(
            meta.findings
                .repaired
                .iter()
                .map(|(kind, count)| ("repaired", kind, count)),
        )
        .chain(
            meta.findings
                .unreadable_parts
                .iter()
                .map(|(part, count)| ("unreadable", part, count)),
        );
    rows.extend(counts.map(|(what, name, count)| row([what, &format!("{count} {name}")])));
    let numbers = [
        (
            meta.findings.stored_leaks,
            "stored inputs knew the future; not believed",
        ),
        (
            meta.findings.moved_to_keep_groups,
            "rows moved to keep equal inputs together",
        ),
        (
            meta.findings.issues_in_several_parts,
            "issues are in several parts, at different times",
        ),
        (built.skipped_issues, "lines that hold no issue"),
    ];
    for (count, what) in numbers {
        if count > 0 {
            rows.push(row(["noticed", &format!("{count} {what}")]));
        }
    }
    let mut text = table(0, &rows);
    for left_out in &built.left_out {
        let detail = left_out.detail.as_ref().unwrap_or(&left_out.reason);
        text.push_str(&line(&format!("left out: {}: {detail}", left_out.folder)));
    }
    text
}
