//! `amphora planner train`.

use std::path::PathBuf;

use amphora::planner::{ModelKind, Stage, TrainConfig, TrainRequest, TrainingReport};
use amphora::{Error, Result, json};
use clap::{Args, ValueEnum};

use crate::commands::{Context, Verdict};

#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    /// The dataset to learn from
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// What to train
    #[arg(long)]
    model: ModelArgument,
    /// The checkpoint to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// a: imitate what was executed; b: learn from the bench
    #[arg(long, default_value = "a")]
    stage: StageArgument,
    /// The bench of the dataset, for stage b
    #[arg(long, value_name = "DIR")]
    bench: Option<PathBuf>,
    /// Start from the weights of this checkpoint
    #[arg(long, value_name = "DIR")]
    initial: Option<PathBuf>,
    /// Stage b: learn how much better each action was, not the winner alone, at this price of an
    /// agent's minute in passes
    #[arg(long, value_name = "PASSES")]
    minute_cost: Option<f64>,
    /// The seed of every random number; the same seed gives the same bytes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Go on with a run that was stopped
    #[arg(long)]
    resume: bool,
    /// At most so many passes over the rows
    #[arg(long)]
    epochs: Option<usize>,
    /// The learning rate of the first epoch
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Rows per step
    #[arg(long, value_name = "ROWS")]
    batch_size: Option<usize>,
    /// Settings that replace the model's defaults, named as in the training report
    #[arg(long, value_name = "FILE.json")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModelArgument {
    /// A perceptron over features
    Mlp,
    /// A Transformer encoder over tokens
    Transformer,
    /// A looped encoder over tokens
    Urm,
    /// A perceptron with one softmax over every valid action; for diagnosis
    Joint,
    /// An ensemble that predicts what an action comes to; needs stage b
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StageArgument {
    A,
    B,
}

pub(crate) fn run(context: &Context, arguments: &TrainArguments) -> Result<Verdict> {
    let request = request(arguments)?;
    let bar = context.output.bar();
    let report = amphora::planner::train(&request, &mut |progress| {
        let (member, members) = progress.member;
        let (epoch, epochs) = progress.epoch;
        let (step, steps) = progress.step;
        let part = match members {
            1 => String::new(),
            _ => format!("member {member}/{members}, "),
        };
        let validation = progress.epochs.last().and_then(|last| last.validation_loss);
        // Of the epoch before: this one is validated when it is over.
        let validation =
            validation.map_or(String::new(), |loss| format!(", last validation {loss:.4}"));
        let text = format!(
            "{part}epoch {epoch}/{epochs}: loss {:.4}{validation}",
            progress.loss
        );
        // Without a terminal one line for each epoch is enough.
        if step == steps || bar.is_drawn() {
            let done = ((member - 1) * epochs + epoch - 1) * steps + step;
            bar.set(done, members * epochs * steps, &text);
        }
        Ok(())
    })?;
    drop(bar);
    context
        .output
        .answer(&report, |report| words(report, arguments))?;
    Ok(Verdict::Yes)
}

fn request(arguments: &TrainArguments) -> Result<TrainRequest> {
    let mut config = TrainConfig::new(match arguments.model {
        ModelArgument::Mlp => ModelKind::Mlp,
        ModelArgument::Transformer => ModelKind::Transformer,
        ModelArgument::Urm => ModelKind::Urm,
        ModelArgument::Joint => ModelKind::Joint,
        ModelArgument::Value => ModelKind::Value,
    });
    if let Some(path) = &arguments.config {
        let settings = json::read(path)?;
        config = config
            .with(&settings)
            .map_err(|error| error.in_file(path))?;
    }
    config.seed = arguments.seed;
    if let Some(epochs) = arguments.epochs {
        (config.epochs, config.schedule_epochs) = (epochs, epochs);
    }
    if let Some(rate) = arguments.learning_rate {
        config.learning_rate = rate;
        config.final_learning_rate = config.final_learning_rate.min(rate);
    }
    config.batch_size = arguments.batch_size.unwrap_or(config.batch_size);
    config.stage = match arguments.stage {
        StageArgument::A => Stage::A,
        StageArgument::B => Stage::B,
    };
    if (config.stage == Stage::B) != arguments.bench.is_some() {
        return Err(Error::usage(
            "training-stage",
            "stage b learns from a bench, and stage a from none",
        )
        .hint("give `--stage b --bench DIR`, or neither"));
    }
    let priced = arguments
        .minute_cost
        .is_none_or(|cost| cost.is_finite() && cost >= 0.0);
    if !priced || (arguments.minute_cost.is_some() && config.stage == Stage::A) {
        return Err(Error::usage(
            "training-minute-cost",
            "the price of a minute is a number from 0, for stage b",
        ));
    }
    Ok(TrainRequest {
        dataset: arguments.dataset.clone(),
        bench: arguments.bench.clone(),
        initial: arguments.initial.clone(),
        minute_cost: arguments.minute_cost,
        config,
        out: arguments.out.clone(),
        resume: arguments.resume,
    })
}

fn words(report: &TrainingReport, arguments: &TrainArguments) -> String {
    let mut text = format!(
        "{}: {} examples, {} for validation\n",
        report.config.model.name(),
        report.examples,
        report.validation_examples
    );
    for (number, member) in report.members.iter().enumerate() {
        let curve = &member.curve;
        let best = curve
            .epochs
            .iter()
            .find(|epoch| epoch.epoch == curve.best_epoch);
        let part = match report.members.len() {
            1 => String::new(),
            _ => format!("member {}: ", number + 1),
        };
        text.push_str(&format!(
            "{part}{} parameters, epoch {} of {} kept",
            member.parameters,
            curve.best_epoch,
            curve.epochs.len()
        ));
        if let Some(best) = best {
            text.push_str(&format!(", loss {:.4}", best.loss));
            if let Some(loss) = best.validation_loss {
                text.push_str(&format!(", validation {loss:.4}"));
            }
            if let Some(exact) = best.validation_exact_match {
                text.push_str(&format!(", exact {:.1} %", exact * 100.0));
            }
        }
        text.push_str(&format!("\nsha256:{}\n", member.digest));
    }
    text.push_str(&format!("checkpoint: {}\n", arguments.out.display()));
    text
}
