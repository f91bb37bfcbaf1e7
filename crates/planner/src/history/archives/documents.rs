//! The files of an archive, as far as a summary needs them; keys that are not listed pass.

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::contracts::Gate;

#[derive(Deserialize)]
pub(super) struct Manifest {
    pub(super) workcell_id: Option<String>,
    pub(super) issue: Option<ManifestIssue>,
    pub(super) job_type: Option<String>,
    pub(super) toolchain: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) speculate_mode: bool,
    pub(super) control: Option<Control>,
    pub(super) planner: Option<PlannerValues>,
}

#[derive(Default, Deserialize)]
pub(super) struct ManifestIssue {
    pub(super) id: Option<String>,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) tags: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Control {
    pub(super) speculate_parallelism: Option<u32>,
}

/// The documents of the planner, unread: what is broken in there does not break the run.
#[derive(Default, Deserialize)]
pub(super) struct PlannerValues {
    pub(super) planner_input: Option<Value>,
    pub(super) planner_action: Option<Value>,
    pub(super) executed_plan: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct Proof {
    pub(super) workcell_id: Option<String>,
    pub(super) issue_id: Option<String>,
    pub(super) status: Option<String>,
    pub(super) verification: Option<Verification>,
    pub(super) metadata: Option<Metadata>,
}

#[derive(Default, Deserialize)]
pub(super) struct Metadata {
    pub(super) started_at: Option<String>,
    pub(super) completed_at: Option<String>,
    #[serde(default, deserialize_with = "whole")]
    pub(super) duration_ms: Option<u64>,
    pub(super) cost_usd: Option<f64>,
    #[serde(default, deserialize_with = "whole")]
    pub(super) tokens_used: Option<u64>,
}

#[derive(Default, Deserialize)]
pub(super) struct Rollout {
    pub(super) issue_id: Option<String>,
    pub(super) job_type: Option<String>,
    pub(super) outcomes: Option<Outcomes>,
    pub(super) scores: Option<Scores>,
    pub(super) planner: Option<PlannerValues>,
    pub(super) generated_at: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Outcomes {
    pub(super) verification: Option<Verification>,
}

#[derive(Default, Deserialize)]
pub(super) struct Scores {
    #[serde(default, deserialize_with = "whole")]
    pub(super) duration_ms: Option<u64>,
    pub(super) cost_usd: Option<f64>,
}

#[derive(Default, Deserialize)]
pub(super) struct Verification {
    /// In the order of the file, each with its fail codes.
    #[serde(default, deserialize_with = "gates")]
    pub(super) gates: Vec<(Gate, Vec<String>)>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) all_passed: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) blocking_failures: Vec<String>,
}

fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A count, which some producers write with a fraction.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number: Option<serde_json::Number> = Option::deserialize(deserializer)?;
    let Some(number) = number else {
        return Ok(None);
    };
    match (number.as_u64(), number.as_f64()) {
        (Some(count), _) => Ok(Some(count)),
        // Every float below 2^53 has an exact whole part.
        (None, Some(float)) if (0.0..9_007_199_254_740_992.0).contains(&float) => {
            Ok(Some(float as u64))
        }
        _ => Err(de::Error::custom("a count is negative or too large")),
    }
}

fn gates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Gate, Vec<String>)>, D::Error> {
    #[derive(Deserialize)]
    struct Verdict {
        #[serde(default, deserialize_with = "or_default")]
        passed: bool,
        score: Option<f64>,
        #[serde(default, deserialize_with = "or_default")]
        fail_codes: Vec<String>,
    }

    struct Gates;

    impl<'de> Visitor<'de> for Gates {
        type Value = Vec<(Gate, Vec<String>)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of gates")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut gates = Vec::new();
            while let Some((name, verdict)) = entries.next_entry::<String, Verdict>()? {
                let gate = Gate {
                    name,
                    passed: verdict.passed,
                    score: verdict.score,
                };
                gates.push((gate, verdict.fail_codes));
            }
            Ok(gates)
        }
    }

    deserializer.deserialize_any(Gates)
}
