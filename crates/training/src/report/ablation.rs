//! The page of an ablation.

use std::fmt::Write as _;

use crate::ablate::{Ablation, AblationRow};

use super::page::{cell, whole};
use super::svg::{Bar, escape, rows, short};

/// The table and the plot of every axis as one HTML file.
pub fn ablation_page(ablation: &Ablation) -> String {
    let title = "Swarm planner: ablations";
    let hash: String = ablation.dataset_hash.chars().take(12).collect();
    let mut body = format!(
        "<h1>{title}</h1><p class=\"soft\">Dataset {}. One change at a time, held out by task; replay of \
         {}, {} draws.</p>",
        escape(&hash),
        escape(&ablation.settings.toolchains.join(", ")),
        ablation.settings.replays
    );
    let mut axes: Vec<&str> = ablation.rows.iter().map(|row| &*row.axis).collect();
    axes.dedup();
    for axis in axes {
        let of_axis: Vec<&AblationRow> = ablation.rows.iter().filter(|r| r.axis == axis).collect();
        let _ = write!(body, "<h2>{}</h2>", escape(axis));
        body.push_str(&table(&of_axis));
        let bars: Vec<Bar> = of_axis.iter().map(|row| bar(row)).collect();
        body.push_str(&rows(&bars, "Utility less the heuristic's, with intervals"));
    }
    whole(title, &body)
}

fn bar(row: &AblationRow) -> Bar {
    let difference = row.minus_heuristic;
    Bar {
        name: row.name.clone(),
        estimate: difference.estimate,
        interval: Some((difference.low, difference.high)),
        color: 0,
        text: format!(
            "{} [{}, {}]",
            short(difference.estimate),
            short(difference.low),
            short(difference.high)
        ),
    }
}

fn table(of_axis: &[&AblationRow]) -> String {
    let mut body = String::from(
        "<div class=\"scroll\"><table><thead><tr><th>run</th><th>model</th><th>utility</th>\
         <th>less heuristic</th><th>less best fixed</th><th>pass rate</th><th>ECE</th><th>abstains</th>\
         <th>exact</th><th>entropy</th></tr></thead><tbody>",
    );
    for row in of_axis {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{:.0} %</td><td>{}</td><td>{}</td></tr>",
            escape(&row.name),
            escape(&row.model),
            cell(&row.utility),
            cell(&row.minus_heuristic),
            cell(&row.minus_best_fixed),
            short(row.pass_rate),
            short(row.ece),
            100.0 * row.abstain_rate,
            short(row.exact),
            short(row.entropy),
        );
    }
    body.push_str("</tbody></table></div>");
    body
}
