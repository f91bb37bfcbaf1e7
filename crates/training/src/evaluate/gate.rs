//! The gate: is the policy better than what an orchestrator does without it?

use amphora_error::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::metrics::Interval;

use super::PolicyReport;

/// What a policy must beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The heuristic.
    Heuristic,
    /// The fixed action that is best on the evaluated tasks.
    BestFixed,
}

impl Gate {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Heuristic => "heuristic",
            Self::BestFixed => "best-fixed",
        }
    }
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// What had to be beaten.
    pub gate: Gate,
    /// The policy that had to beat it.
    pub policy: String,
    /// Utility of the policy less that of the gate.
    pub difference: Interval,
    /// Whether the whole interval is above 0.
    pub passed: bool,
}

impl GateReport {
    /// Puts `policy` before `gate`.
    pub fn of(gate: Gate, policy: &PolicyReport) -> Self {
        let difference = match gate {
            Gate::Heuristic => policy.minus_heuristic,
            Gate::BestFixed => policy.minus_best_fixed,
        };
        Self {
            gate,
            policy: policy.name.clone(),
            difference,
            passed: difference.above_zero(),
        }
    }

    /// `Ok` when passed.
    ///
    /// # Errors
    ///
    /// Negative (`evaluation-gate`): the policy is not better, or not beyond chance.
    pub fn verdict(&self) -> Result<()> {
        if self.passed {
            return Ok(());
        }
        let Interval {
            estimate,
            low,
            high,
        } = self.difference;
        Err(Error::negative(
            "evaluation-gate",
            format!("the policy does not beat {}", self.gate.name()),
        )
        .expected("a difference in utility whose interval is above 0")
        .found(format!("{estimate:.4} [{low:.4}, {high:.4}]"))
        .hint(match self.gate {
            Gate::Heuristic => "do not deploy this model: a rule does as well",
            Gate::BestFixed => "one action for every issue does as well",
        }))
    }
}
