//! `planner_input.v1`: everything that a decision is made from.

use amphora_error::{Error, Result};
use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{InputVersion, Priority, Risk, RunSummary, Size, canonical, time};
use crate::action_space::ActionSpace;

/// Everything that a decision is made from; a closed object.
///
/// ```
/// use amphora_planner::contracts::PlannerInput;
///
/// let document = br#"{"schema_version":"cyntra.planner_input.v1","created_at":"2026-02-03T09:00:00Z",
///   "universe_id":"u1","job_type":"code","universe_defaults":{},
///   "issue":{"issue_id":"42","dk_priority":"P1","dk_risk":"high","dk_size":"M","dk_tool_hint":null,
///            "dk_attempts":"1","tags":["kernel"]},
///   "history":{"last_n_similar_runs":[]},
///   "action_space":{"swarm_ids":["serial_handoff"],"max_candidates_bins":[1],"max_minutes_bins":[30],
///                   "max_iterations_bins":["NA"],"validity_rules":[]}}"#;
/// let input = PlannerInput::from_json(document)?;
/// assert_eq!(input.issue.dk_attempts, 1);
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannerInput {
    /// Which document this is.
    pub schema_version: InputVersion,
    /// When the decision is made: RFC 3339, UTC. Not part of the hash.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// The universe; `unknown` if there is none.
    pub universe_id: String,
    /// `code`, `fab-world` or another.
    pub job_type: String,
    /// What the universe does by default.
    pub universe_defaults: UniverseDefaults,
    /// The issue to be solved.
    pub issue: IssueFields,
    /// Earlier runs that resemble it.
    pub history: HistoryBlock,
    /// The actions to choose from.
    pub action_space: ActionSpace,
    /// The state of the orchestrator; unknown in data rebuilt from archives.
    #[serde(default)]
    pub system_state: Option<SystemState>,
}

impl PlannerInput {
    /// Reads a document: strictly, but for a count of attempts written as a string and for words
    /// outside the sets of priority, risk and size, which are repaired.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        Self::from_value(&amphora_files::json::parse(bytes)?)
    }

    /// As [`Self::from_json`], from parsed JSON.
    pub fn from_value(value: &Value) -> Result<Self> {
        let input = Self::deserialize(value).map_err(|source| {
            Error::malformed(
                "planner-input",
                format!("this is no planner_input.v1: {source}"),
            )
        })?;
        input.check()?;
        Ok(input)
    }

    fn check(&self) -> Result<()> {
        self.created_ms()?;
        self.action_space.check()
    }

    /// When the decision is made, in milliseconds since 1970.
    pub fn created_ms(&self) -> Result<u64> {
        time::parse(&self.created_at).map_err(|error| error.at("created_at"))
    }

    /// The input that `document` holds and the hash of that document, repaired as [`Self::from_json`]
    /// does, with every key that it has. [`Self::input_hash`] is the hash of what is written here,
    /// which has `null` or nothing where the document of another producer has the other.
    pub fn with_hash(document: &Value) -> Result<(Self, String)> {
        let input = Self::from_value(document)?;
        let mut repaired = document.clone();
        if let Some(issue) = repaired.get_mut("issue").and_then(Value::as_object_mut) {
            let fields = &input.issue;
            issue.insert("dk_attempts".to_owned(), fields.dk_attempts.into());
            issue.insert("dk_priority".to_owned(), fields.dk_priority.word().into());
            issue.insert("dk_risk".to_owned(), fields.dk_risk.word().into());
            issue.insert("dk_size".to_owned(), fields.dk_size.word().into());
        }
        Ok((input, canonical::input_hash(&repaired)))
    }

    /// The document.
    pub fn to_value(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|source| {
            Error::internal("json-encoding", "an input cannot be written as JSON").caused_by(source)
        })
    }

    /// The document, in one line.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|source| {
            Error::internal("json-encoding", "an input cannot be written as JSON").caused_by(source)
        })
    }

    /// The hash of [`Self::to_value`]; see [`super::input_hash`].
    pub fn input_hash(&self) -> Result<String> {
        Ok(canonical::input_hash(&self.to_value()?))
    }
}

/// What a universe does by default; a closed object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UniverseDefaults {
    /// Its swarm.
    #[serde(default)]
    pub swarm_id: Option<String>,
    /// Its objective.
    #[serde(default)]
    pub objective_id: Option<String>,
}

/// What is known of an issue before it is worked on; an open object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IssueFields {
    /// The issue.
    pub issue_id: String,
    /// How urgent it is.
    pub dk_priority: Priority,
    /// How much a wrong change could break.
    pub dk_risk: Risk,
    /// How large it is.
    pub dk_size: Size,
    /// The toolchain it asks for.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(schema_with = "text_or_null")]
    pub dk_tool_hint: Option<String>,
    /// How often it was tried.
    #[serde(deserialize_with = "attempts")]
    pub dk_attempts: u32,
    /// Its tags.
    pub tags: Vec<String>,
    /// One line about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// All about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The words that matter in title and description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keywords: Option<Vec<String>>,
    /// What else the document has; part of the hash.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl IssueFields {
    /// The world that the issue is about, where its document says so.
    pub fn world_id(&self) -> Option<&str> {
        self.extra.get(WORLD_ID).and_then(Value::as_str)
    }
}

/// The key of an issue's world: the documents have none, and their issues are open.
pub(crate) const WORLD_ID: &str = "world_id";

/// The schema of a text that must be given, be it null.
fn text_or_null(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": ["string", "null"]})
}

/// A count, written as a number or, by older producers, as a string.
pub(crate) fn attempts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct Count;

    impl Visitor<'_> for Count {
        type Value = u32;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a count, which may be written as a string")
        }

        fn visit_u64<E: de::Error>(self, count: u64) -> Result<u32, E> {
            u32::try_from(count).map_err(|_| E::custom("the count is too large"))
        }

        fn visit_i64<E: de::Error>(self, count: i64) -> Result<u32, E> {
            u64::try_from(count)
                .map_err(|_| E::custom("the count is negative"))
                .and_then(|count| self.visit_u64(count))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u32, E> {
            text.trim()
                .parse()
                .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(Count)
}

/// Earlier runs that resemble an issue; a closed object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryBlock {
    /// The latest first.
    pub last_n_similar_runs: Vec<RunSummary>,
}

/// The state of the orchestrator when it asks; an open object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SystemState {
    /// Running workcells: `0`, `1_2`, `3_5` or `6_plus`.
    #[serde(default)]
    pub active_workcells_bin: Option<String>,
    /// Waiting issues, in the same bins.
    #[serde(default)]
    pub queue_depth_bin: Option<String>,
    /// Waiting issues, counted: encoders whose bins are finer read this first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_depth: Option<u64>,
    /// The toolchains that report that they are available.
    #[serde(default)]
    pub available_toolchains: Option<Vec<String>>,
    /// For each toolchain its recent pass rate, or a bin of it.
    #[serde(default)]
    pub toolchain_health: Option<Map<String, Value>>,
    /// The hour in UTC, `00` to `23`.
    #[serde(default)]
    pub hour_bucket: Option<String>,
    /// What is left of the budget: `low`, `medium`, `high` or `unlimited`.
    #[serde(default)]
    pub budget_remaining_bin: Option<String>,
    /// What else the document has; part of the hash.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
