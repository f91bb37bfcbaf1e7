//! Outcome metrics and both regrets, over replayed or benched candidates.

use serde::{Deserialize, Serialize};

/// What one action led to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pick {
    /// Every required gate passed.
    pub passed: bool,
    /// Wall time in milliseconds.
    pub duration_ms: f64,
    /// Sum of agent minutes.
    pub agent_minutes: f64,
    /// Cost in US dollars, where it was recorded.
    pub cost_usd: Option<f64>,
}

impl Pick {
    /// `pass - minute_cost * agent minutes`.
    pub fn utility(&self, minute_cost: f64) -> f64 {
        f64::from(u8::from(self.passed)) - minute_cost * self.agent_minutes
    }
}

/// One decision: the policy's pick, the oracle among the same candidates, and what they share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// What the policy chose.
    pub pick: Pick,
    /// The best candidate; `None` when no candidate passed.
    pub oracle: Option<Pick>,
    /// The pick is the oracle's action.
    pub is_oracle: bool,
    /// Longest duration among the candidates, in milliseconds.
    pub longest_ms: f64,
    /// Weight of the example: 1, or the probability of the action under a random policy.
    pub weight: f64,
}

/// Outcome metrics of a policy. Sums are weighted, so a random policy's exact expectation comes from
/// the same formulas as a deterministic policy's mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutcomeMetrics {
    /// Examples (sum of weights).
    pub examples: f64,
    /// Passed / examples.
    pub pass_rate: f64,
    /// Mean wall time of passing picks, in milliseconds.
    pub mean_time_to_pass_ms: Option<f64>,
    /// Wall time of all picks / passes, in milliseconds.
    pub duration_per_pass_ms: Option<f64>,
    /// Agent minutes of all picks / passes.
    pub agent_minutes_per_pass: Option<f64>,
    /// Cost of all picks / passes; a missing cost counts 0.
    pub cost_per_pass_usd: Option<f64>,
    /// Mean `pass - minute_cost * agent minutes`.
    pub utility: f64,
    /// Picks equal to the oracle / examples that have one.
    pub oracle_match_rate: Option<f64>,
    /// Over examples whose oracle passed: duration of the pick minus the oracle's, where a failed pick
    /// counts the longest candidate duration + 1 ms.
    pub mean_regret_ms: Option<f64>,
    /// Over all examples: the same difference divided by the oracle's duration, at least 0; 0 where
    /// nothing could pass.
    pub mean_relative_regret: f64,
    /// Examples whose oracle passed and whose pick failed.
    pub failed_picks: f64,
}

impl OutcomeMetrics {
    /// Measures `examples` under utility `pass - minute_cost * agent minutes`.
    pub fn of(examples: &[Example], minute_cost: f64) -> Self {
        let sum = |value: &dyn Fn(&Example) -> f64| -> f64 {
            examples.iter().map(|e| e.weight * value(e)).sum()
        };
        let passed = |e: &Example| f64::from(u8::from(e.pick.passed));
        let total = sum(&|_| 1.0);
        let passes = sum(&passed);
        let comparable = sum(&|e| f64::from(u8::from(e.oracle.is_some())));
        let of = |over: f64, under: f64| (under > 0.0).then(|| over / under);
        Self {
            examples: total,
            pass_rate: of(passes, total).unwrap_or(0.0),
            mean_time_to_pass_ms: of(sum(&|e| passed(e) * e.pick.duration_ms), passes),
            duration_per_pass_ms: of(sum(&|e| e.pick.duration_ms), passes),
            agent_minutes_per_pass: of(sum(&|e| e.pick.agent_minutes), passes),
            cost_per_pass_usd: of(sum(&|e| e.pick.cost_usd.unwrap_or(0.0)), passes),
            utility: of(sum(&|e| e.pick.utility(minute_cost)), total).unwrap_or(0.0),
            oracle_match_rate: of(
                sum(&|e| f64::from(u8::from(e.oracle.is_some() && e.is_oracle))),
                comparable,
            ),
            mean_regret_ms: of(
                sum(&|e| e.oracle.map_or(0.0, |oracle| regret_ms(e, &oracle))),
                comparable,
            ),
            mean_relative_regret: of(sum(&relative_regret), total).unwrap_or(0.0),
            failed_picks: sum(&|e| f64::from(u8::from(e.oracle.is_some() && !e.pick.passed))),
        }
    }
}

fn regret_ms(example: &Example, oracle: &Pick) -> f64 {
    let duration = if example.pick.passed {
        example.pick.duration_ms
    } else {
        example.longest_ms + 1.0
    };
    duration - oracle.duration_ms
}

fn relative_regret(example: &Example) -> f64 {
    example.oracle.map_or(0.0, |oracle| {
        (regret_ms(example, &oracle) / oracle.duration_ms.max(1.0)).max(0.0)
    })
}
