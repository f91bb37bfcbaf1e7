//! `amphora planner export`.

use std::path::PathBuf;

use amphora::planner::{ExportRequest, Exported};
use amphora::{Engines, Result};
use clap::Args;

use crate::commands::{Context, Verdict};
use crate::environment;
use crate::text::{row, size, table};

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The directory that `planner train` wrote
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// The dataset that it was trained on; its validation rows calibrate the model
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// The bundle to write
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// A configuration instead of the checkpoint's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A calibration instead of a fit, such as `planner evaluate --calibration` writes
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// The confidence below which a decision is left to the baseline (default: the calibration's)
    #[arg(long, value_name = "0..1")]
    threshold: Option<f64>,
    /// The version of the model
    #[arg(long, default_value = "1.0.0")]
    version: String,
    /// The commit that the model was trained from
    #[arg(long, value_name = "HEX")]
    git_sha: Option<String>,
    /// Keep the checkpoint inside the bundle
    #[arg(long)]
    keep_checkpoint: bool,
    /// The toolchains that the model depends on, in their order; callers with others fall back
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    toolchains: Vec<String>,
}

pub(crate) fn run(context: &Context, arguments: ExportArguments) -> Result<Verdict> {
    let request = ExportRequest {
        checkpoint: arguments.checkpoint,
        dataset: arguments.dataset,
        out: arguments.out,
        config: arguments.config,
        calibration: arguments.calibration,
        threshold: arguments.threshold,
        version: arguments.version,
        git_sha: arguments.git_sha,
        keep_checkpoint: arguments.keep_checkpoint,
        toolchains: arguments.toolchains,
        created: context.now()?,
        engines: Engines {
            ort: environment::ort_location(),
            ..Engines::default()
        },
    };
    let progress = context.output.progress();
    let exported = amphora::planner::export(&request, &|step| progress.step(step))?;
    drop(progress);
    for warning in &exported.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    context.output.answer(&exported, words)?;
    Ok(Verdict::Yes)
}

fn words(exported: &Exported) -> String {
    let state = match exported.existed {
        true => "was there already",
        false => "published",
    };
    let mut rows = vec![
        row(["✓", &format!("{} planner {state}", exported.model_type)]),
        row(["id", &exported.id.to_string()]),
        row(["path", &exported.path.to_string_lossy()]),
        row(["model", &size(exported.model_bytes as u64)]),
    ];
    for (engine, difference) in &exported.max_abs_diff {
        let text = format!("within {difference:.1e} of the reference");
        rows.push(row([engine, &text]));
    }
    for (head, temperature) in &exported.temperature {
        rows.push(row(["temperature", &format!("{head} {temperature:.4}")]));
    }
    if let Some(threshold) = exported.threshold {
        rows.push(row(["threshold", &format!("{threshold:.4}")]));
    }
    if let Some(ece) = exported.validation_ece {
        rows.push(row(["validation ECE", &format!("{ece:.4}")]));
    }
    table(0, &rows)
}
