//! `amphora planner stats`.

use amphora::planner::Stats;
use amphora::{Error, Result};
use clap::Args;

use super::dataset::SourceArguments;
use crate::commands::{Context, Verdict};
use crate::text::{line, row, table};

#[derive(Debug, Args)]
pub(crate) struct StatsArguments {
    #[command(flatten)]
    source: SourceArguments,
    /// Exit with 1 when a gate is not met
    #[arg(long)]
    gate: bool,
}

pub(crate) fn run(context: &Context, arguments: StatsArguments) -> Result<Verdict> {
    let stats = amphora::planner::dataset_stats(&arguments.source.request())?;
    context.output.answer(&stats, words)?;
    if arguments.gate && !stats.feasible {
        return Ok(Verdict::No(Error::negative(
            "not-feasible",
            "the recorded runs are not enough to learn from",
        )));
    }
    Ok(Verdict::Yes)
}

fn words(stats: &Stats) -> String {
    let mut text = line(&format!("{} runs", stats.runs));
    let header = ["domain", "runs", "success", "failed", "timeout", "examples"];
    let mut rows = vec![row(header)];
    rows.extend(stats.domains.iter().map(|(name, domain)| {
        let counts = [
            domain.runs,
            domain.success,
            domain.failed,
            domain.timeout,
            domain.examples,
        ];
        let mut cells = vec![(*name).to_owned()];
        cells.extend(counts.map(|count| count.to_string()));
        cells
    }));
    text.push_str(&table(0, &rows));
    text.push_str("\nLabels:\n");
    let labels: Vec<_> = stats
        .labels
        .iter()
        .map(|(head, balance)| {
            let counts: Vec<_> = balance
                .counts
                .iter()
                .map(|(class, count)| format!("{class}: {count}"))
                .collect();
            row([
                head,
                &format!("top {:.0} %", balance.top_share * 100.0),
                &format!("entropy {:.2}", balance.entropy),
                &counts.join(", "),
            ])
        })
        .collect();
    text.push_str(&table(2, &labels));
    text.push_str("\nGates:\n");
    let gates: Vec<_> = stats
        .gates
        .iter()
        .map(|gate| {
            let found = gate
                .found
                .map_or_else(|| "nothing to measure".to_owned(), number);
            row([
                if gate.met { "met" } else { "not met" },
                gate.name,
                &format!("{found} of {}", number(gate.wanted)),
            ])
        })
        .collect();
    text.push_str(&table(2, &gates));
    for (reason, count) in &stats.dropped {
        text.push_str(&line(&format!("dropped {count}: {reason}")));
    }
    text
}

/// A count without a fraction, a share with two digits.
fn number(value: f64) -> String {
    match value.fract() == 0.0 && value > 1.0 {
        true => format!("{value:.0}"),
        false => format!("{value:.2}"),
    }
}
