//! The page: what was found first, then the tables, then the plots.

use std::fmt::Write as _;

use crate::crossvalidate::{SHIPPED, Scheme};
use crate::evaluate::{
    Decode, Drift, Evaluation, FIXED, HEURISTIC, ModelReport, PolicyReport, Settings,
};
use crate::metrics::Interval;

use super::plots;
use super::svg::{escape, short};

const STYLE: &str = "\
:root{--bg:#fff;--fg:#1c2127;--soft:#5b6570;--line:#dfe3e8;--c0:#2463a8;--c1:#c4561a;--c2:#2f7d4f;--c3:#8a3f9e;--c4:#b08a00;--c5:#127c8a;--c6:#a3244b;--c7:#9aa4ae}\
@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e6e9ec;--soft:#9aa4ae;--line:#333a41;--c0:#6aa9ea;--c1:#ee9158;--c2:#6cc492;--c3:#c98adb;--c4:#dcbb4a;--c5:#59bccb;--c6:#e27d9b;--c7:#66717c}}\
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}\
main{max-width:1300px;margin:0 auto;padding:24px 20px 60px}\
h1{font-size:26px;margin:0 0 4px}h2{font-size:20px;margin:36px 0 8px;border-top:1px solid var(--line);padding-top:20px}h3{font-size:16px;margin:22px 0 6px}\
p{max-width:76ch;margin:6px 0}.soft{color:var(--soft)}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums;margin:8px 0}\
th,td{padding:4px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{font-weight:600;color:var(--soft);vertical-align:bottom}\
th:first-child,td:first-child{text-align:left}tr.strong td{font-weight:600}td small{color:var(--soft);font-weight:400}\
.plots{display:flex;flex-wrap:wrap;gap:20px}figure{margin:8px 0;flex:1 1 440px;max-width:520px}figure.wide{flex-basis:100%;max-width:820px}\
svg{width:100%;height:auto;display:block}figcaption{font-size:13px;color:var(--soft)}\
svg text{fill:var(--fg);font:12px system-ui,sans-serif}svg text.tick{fill:var(--soft);font-size:11px}svg text.name{fill:var(--soft)}\
.grid{stroke:var(--line)}.zero{stroke:var(--soft)}.reference{stroke:var(--soft);stroke-dasharray:4 4}\
.line{fill:none;stroke-width:2}.whisker{stroke-width:2}.dot{stroke:var(--bg);stroke-width:1}.bar{opacity:.75}\
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}.c6{stroke:var(--c6)}.c7{stroke:var(--c7)}\
rect.bar{stroke:none}.bar.c0,.dot.c0,i.c0{fill:var(--c0);background:var(--c0)}.bar.c7,.dot.c7,i.c7{fill:var(--c7);background:var(--c7)}i.c1{background:var(--c1)}i.c2{background:var(--c2)}i.c3{background:var(--c3)}i.c4{background:var(--c4)}i.c5{background:var(--c5)}i.c6{background:var(--c6)}\
.dot.c0,.dot.c7{stroke:var(--bg)}\
.legend{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:12.5px}.legend i{display:inline-block;width:14px;height:3px;margin-right:6px;vertical-align:middle}\
pre{background:color-mix(in srgb,var(--line) 40%,transparent);padding:10px 12px;white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px}";

/// The report as one HTML file. `title` and `command` are words for the reader; the command is how the
/// page was made.
pub fn page(evaluation: &Evaluation, title: &str, command: Option<&str>) -> String {
    let mut body = format!("<h1>{}</h1>", escape(title));
    body.push_str(&introduction(evaluation));
    if let Some(found) = &evaluation.cross_validation {
        body.push_str(&findings(&found.by_task, "held-out tasks"));
        if let Some(by_time) = &found.by_time {
            body.push_str(&findings(by_time, "later trials"));
        }
    }
    if let Some(gate) = &evaluation.gate {
        let _ = write!(
            body,
            "<p><strong>Gate {}: {}.</strong> {} against it: {}.</p>",
            gate.gate.name(),
            if gate.passed { "passed" } else { "not passed" },
            escape(&gate.policy),
            interval(&gate.difference)
        );
    }
    if let Some(command) = command {
        let _ = write!(body, "<pre>{}</pre>", escape(command));
    }
    if let Some(found) = &evaluation.cross_validation {
        body.push_str("<h2>Held-out tasks</h2>");
        let _ = write!(
            body,
            "<p>{} folds over {} tasks, {} decisions. On each fold every model is trained on the tasks \
             of the other folds but one, early-stopped and calibrated on that one, and judged on tasks \
             that nothing was fitted on. <em>shipped</em> is, on each fold, the exportable model with \
             the highest utility on the fold's validation tasks ({}).</p>",
            found.recipe.folds,
            found.by_task.tasks,
            found.by_task.rows,
            escape(&found.by_task.shipped.join(", ")),
        );
        body.push_str(&scheme(&found.by_task));
        if let Some(by_time) = &found.by_time {
            body.push_str("<h2>By time</h2>");
            let _ = write!(
                body,
                "<p>The first 60 % of the decisions train, the next 20 % stop training early and \
                 calibrate, the last 20 % are judged; decisions of one issue with equal inputs stay \
                 together, where the last of them is. What is learned comes from trials that had ended at \
                 the median start of the replayed trials, what is judged by from trials that began \
                 later. {} tasks, {} decisions.</p>",
                by_time.tasks, by_time.rows
            );
            body.push_str(&scheme(by_time));
        }
    }
    if let Some(model) = &evaluation.model {
        let _ = write!(body, "<h2>Model {}</h2>", escape(&model.name));
        let _ = write!(
            body,
            "<p>The model on the test rows of the dataset: {} decisions on {} tasks.</p>",
            evaluation.rows, evaluation.tasks
        );
        body.push_str(&policies(&evaluation.policies));
        body.push_str(&models(std::slice::from_ref(model)));
        body.push_str(&diagrams(&evaluation.policies, &[model], &model.name));
    }
    if let Some(training) = &evaluation.training {
        body.push_str("<h2>Training</h2><div class=\"plots\">");
        body.push_str(&plots::training(training));
        body.push_str("</div>");
    }
    if let Some(found) = &evaluation.drift {
        body.push_str(&drift(found));
    }
    body.push_str(&terms(&evaluation.settings));
    whole(title, &body)
}

/// A whole page around its body.
pub(super) fn whole(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{}</title><style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>\n",
        escape(title)
    )
}

fn introduction(evaluation: &Evaluation) -> String {
    let settings = &evaluation.settings;
    let hash: String = evaluation.dataset_hash.chars().take(12).collect();
    format!(
        "<p class=\"soft\">Dataset {}, {} decisions on {} tasks judged. Replay of {}, {} draws; utility = \
         pass &minus; {} per agent minute; heads decoded {}; intervals {} %, {} resamples of tasks, seed {}. {} decisions \
         began after a replayed trial of their task had ended.</p>",
        escape(&hash),
        evaluation.rows,
        evaluation.tasks,
        escape(&settings.toolchains.join(", ")),
        settings.replays,
        short(settings.minute_cost),
        match settings.decode {
            Decode::Joint => "jointly over the valid actions",
            Decode::Masked => "each by itself",
            Decode::Autoregressive => "one after another",
        },
        short(settings.bootstrap.confidence * 100.0),
        settings.bootstrap.resamples,
        settings.seed,
        evaluation.rows_that_may_know_outcomes,
    )
}

fn findings(scheme: &Scheme, on: &str) -> String {
    let (Some(policy), Some(model)) = (scheme.policy(SHIPPED), scheme.model(SHIPPED)) else {
        return String::new();
    };
    format!(
        "<p>On <strong>{on}</strong> the shipped policy's utility is {}: {} against the heuristic, {} \
         against the best fixed action. It takes {:.0} % of the decisions itself; their expected \
         calibration error is {}.</p>",
        interval(&policy.intervals.utility),
        interval(&policy.minus_heuristic),
        interval(&policy.minus_best_fixed),
        100.0 * (1.0 - model.abstain_rate),
        short(model.taken.ece),
    )
}

pub(super) fn interval(found: &Interval) -> String {
    if !found.estimate.is_finite() {
        return "–".to_owned();
    }
    format!(
        "{:.3} <small>[{:.3}, {:.3}]</small>",
        found.estimate, found.low, found.high
    )
}

/// An interval in a cell: the ends on a line of their own.
pub(super) fn cell(found: &Interval) -> String {
    interval(found).replace(" <small>", "<br><small>")
}

fn scheme(scheme: &Scheme) -> String {
    let shown: Vec<&ModelReport> = scheme.models.iter().collect();
    let mut body = policies(&scheme.policies);
    body.push_str(&models(&scheme.models));
    let mut kept: Vec<String> = Vec::new();
    for found in scheme
        .fitted
        .iter()
        .filter(|found| !found.model.ends_with("-as-trained"))
    {
        kept.push(format!("{} {:.0} %", found.model, 100.0 * found.kept));
    }
    let _ = write!(
        body,
        "<p class=\"soft\">Share of what was learned that is kept, fold by fold: {}.</p>",
        escape(&kept.join(", "))
    );
    body.push_str(&diagrams(&scheme.policies, &shown, SHIPPED));
    body
}

fn policies(policies: &[PolicyReport]) -> String {
    let mut ordered: Vec<&PolicyReport> = policies.iter().collect();
    ordered.sort_by(|a, b| b.metrics.utility.total_cmp(&a.metrics.utility));
    let mut body = String::from(
        "<div class=\"scroll\"><table><thead><tr><th>policy</th><th>utility</th><th>less heuristic</th>\
         <th>less best fixed</th><th>pass rate</th><th>agent minutes<br>per pass</th><th>minutes<br>to pass</th>\
         <th>minutes<br>per pass</th><th>regret in<br>\
         utility</th><th>wall regret<br>minutes</th><th>relative<br>regret</th><th>failed picks</th>\
         </tr></thead><tbody>",
    );
    for policy in ordered {
        let metrics = &policy.metrics;
        let strong = matches!(&*policy.name, SHIPPED | HEURISTIC);
        let _ = write!(
            body,
            "<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.1}</td></tr>",
            if strong { " class=\"strong\"" } else { "" },
            escape(&policy.name),
            cell(&policy.intervals.utility),
            cell(&policy.minus_heuristic),
            cell(&policy.minus_best_fixed),
            cell(&policy.intervals.pass_rate),
            cell(&policy.intervals.agent_minutes_per_pass),
            minutes(metrics.mean_time_to_pass_ms),
            minutes(metrics.duration_per_pass_ms),
            cell(&policy.intervals.utility_regret),
            minutes(metrics.mean_regret_ms),
            format_args!("{:.2}", metrics.mean_relative_regret),
            metrics.failed_picks,
        );
    }
    body.push_str("</tbody></table></div>");
    body
}

fn minutes(ms: Option<f64>) -> String {
    ms.map_or("–".to_owned(), |ms| format!("{:.1}", ms / 60_000.0))
}

fn three(value: f64) -> String {
    format!("{value:.3}")
}

/// The share left to the baseline, and below it what of that was no valid action.
fn abstains(model: &ModelReport) -> String {
    let mut cell = format!("{:.0} %", 100.0 * model.abstain_rate);
    if model.invalid_rate > 0.0 {
        let invalid = 100.0 * model.invalid_rate;
        let _ = write!(cell, "<br><small>{invalid:.0} % invalid</small>");
    }
    cell
}

fn models(models: &[ModelReport]) -> String {
    let mut body = String::from(
        "<h3>Decisions of the models</h3><div class=\"scroll\"><table><thead><tr><th>model</th>\
         <th>ECE taken</th><th>ECE all</th><th>MCE</th><th>Brier</th><th>confidence</th>\
         <th>abstains</th><th>swarm</th><th>candidates</th><th>minutes</th><th>iterations</th>\
         <th>exact</th><th>majority<br>exact</th><th>entropy</th><th>top 1</th><th>actions</th>\
         </tr></thead><tbody>",
    );
    for model in models {
        let heads = model.agreement.heads;
        let _ = write!(
            body,
            "<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td></tr>",
            if model.name == SHIPPED {
                " class=\"strong\""
            } else {
                ""
            },
            escape(&model.name),
            three(model.taken.ece),
            three(model.decisions.ece),
            three(model.decisions.mce),
            three(model.decisions.brier),
            three(model.decisions.confidence),
            abstains(model),
            three(heads[0]),
            three(heads[1]),
            three(heads[2]),
            three(heads[3]),
            three(model.agreement.exact),
            three(model.majority_exact),
            three(model.actions.entropy),
            three(model.actions.top1_frequency),
            model.actions.unique_actions,
        );
    }
    body.push_str("</tbody></table></div>");
    body
}

fn diagrams(all: &[PolicyReport], models: &[&ModelReport], main: &str) -> String {
    let mut compared: Vec<&PolicyReport> = all
        .iter()
        .filter(|policy| !policy.name.starts_with(FIXED))
        .collect();
    let best_fixed = all
        .iter()
        .filter(|policy| policy.name.starts_with(FIXED))
        .max_by(|a, b| a.metrics.utility.total_cmp(&b.metrics.utility));
    compared.extend(best_fixed);
    compared.sort_by(|a, b| b.metrics.utility.total_cmp(&a.metrics.utility));
    let mut body = String::from("<div class=\"plots\">");
    body.push_str(&plots::differences(
        &compared,
        "Utility less the heuristic's, with intervals",
    ));
    if let Some(model) = models.iter().find(|model| model.name == main) {
        body.push_str(&plots::reliability(
            &model.decisions,
            &format!("Reliability of the decisions of {main}; the area of a dot is their number"),
        ));
    }
    body.push_str(&plots::coverage(
        models,
        "Coverage: utility by the share of decisions taken, the least confident left to the heuristic",
    ));
    let curves: Vec<&PolicyReport> = compared
        .iter()
        .copied()
        .filter(|policy| {
            [main, HEURISTIC, "uniform", "best-per-task"].contains(&&*policy.name)
                || policy.name.starts_with(FIXED)
        })
        .collect();
    body.push_str(&plots::regret(&curves, "Regret of each task"));
    if let Some(model) = models.iter().find(|model| model.name == main) {
        body.push_str(&plots::actions(
            model,
            &format!("Actions that {main} decodes"),
        ));
    }
    body.push_str("</div>");
    body
}

fn drift(found: &Drift) -> String {
    let mut body = String::from(
        "<h2>Drift</h2><p>Against the older report. PSI = &Sigma; (q &minus; p) ln(q / p), with half a \
         count added to each category; above 0.1 is usually read as a shift, above 0.25 as a large \
         one.</p><table><thead><tr><th>distribution</th><th>PSI</th><th>KL</th></tr></thead><tbody>",
    );
    for entry in found.inputs.iter().chain([&found.actions]) {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&entry.name),
            short(entry.psi),
            short(entry.kl)
        );
    }
    let _ = write!(
        body,
        "</tbody></table><p>Calibration error {:+.3}, mean confidence {:+.3}, correctness {:+.3}.</p>",
        found.ece, found.confidence, found.accuracy
    );
    body
}

fn terms(settings: &Settings) -> String {
    format!(
        "<h2>What the numbers mean</h2>\
         <p>Every task counts the same, however many decisions it has. Intervals come from drawing tasks \
         again, with repetition, and taking percentiles; differences are paired by task.</p>\
         <p><strong>What policies learn.</strong> For each head, a class is worth the mean utility, over \
         the replays of the task, of the best action that has it; the target is the softmax of those \
         worths over {} (the price of {:.0} agent minutes). Actions that are less than {} agent minutes \
         worse than the best are equally good, as caps are that no run reaches; their classes' whole \
         preference goes to one of them, the one that does best in general over the training tasks. The \
         joint model learns that action. A training row weighs what a wrong choice on its task can cost; \
         tasks that nobody can solve therefore count little.</p>\
         <p><strong>The label</strong> of a task is its best action, ties broken the same way. \
         Temperatures are fitted to it, and calibration is measured against it. Where no outcomes are \
         replayed it is what was executed.</p>\
         <p><strong>Confidence</strong> is the smallest calibrated probability among the classes of the \
         decoded action; it is <em>correct</em> when that class is the label's. Where whole actions are \
         decoded (the joint model) confidence is the probability of the action, correct when it is the \
         label. For the value model confidence is the predicted probability of passing, correct is the \
         share passed. ECE = &Sigma; n<sub>b</sub>/n |correct<sub>b</sub> &minus; \
         confidence<sub>b</sub>| over ten bins. The columns <em>swarm</em> to <em>exact</em> are the \
         shares of answers that agree with the label or with an action that is as good; <em>majority \
         exact</em> is the share of the most frequent label. <em>invalid</em> answers, possible only where \
         every head decides by itself, are left to the baseline.</p>\
         <p><strong>mlp, transformer, urm</strong> are drawn back to the frequencies of their training \
         labels as far as their validation tasks say: of what was learned, the share is kept that is \
         best there, if it is better than keeping nothing beyond chance; else nothing is kept, and the \
         policy answers every input alike. <em>As trained</em> keeps everything.</p>\
         <p><strong>oracle</strong> picks the best action of every single replay, \
         <strong>best-per-task</strong> the best mean of the task: neither can be known beforehand. Wall \
         regret counts decisions that something could have passed; a failed pick counts the longest \
         candidate and is counted again on the right.</p>\
         <p><strong>The value model</strong> predicts pass, timeout and duration of every action. It is \
         compared here and not shipped: it is for asking what an action would come to.</p>",
        short(settings.label_temperature),
        settings.label_temperature / settings.minute_cost.max(1e-9),
        short(settings.indifferent_minutes),
    )
}
