//! The recorded trials: what an agent did on an issue, once.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use amphora_error::{Error, Result, quoted};
use amphora_files::{OpenedFile, json};
use serde::{Deserialize, Serialize};

use crate::contracts::{Gate, RunStatus};

/// The version of one line of `trials.jsonl`.
pub const TRIAL_SCHEMA: &str = "amphora.recorded_trial.v1";
/// The largest file of trials that is read, in bytes.
const MAX_BYTES: u64 = 1 << 30;
/// The last millisecond of the year 9999, the last that RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;

/// One recorded run of one toolchain on one issue: a line of `trials.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// [`TRIAL_SCHEMA`].
    pub schema_version: String,
    /// The issue that was worked on.
    pub issue_id: String,
    /// The agent that worked.
    pub toolchain: String,
    /// The name under which the run was recorded.
    pub trial: String,
    /// When the run began, in milliseconds since 1970.
    pub started_ms: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// How it ended.
    pub status: RunStatus,
    /// Whether every gate passed.
    pub all_passed: bool,
    /// Every gate that ran.
    pub gates: Vec<Gate>,
    /// What failed.
    pub fail_codes: Vec<String>,
    /// What it cost, in dollars, where that was recorded.
    pub cost_usd: Option<f64>,
    /// Tokens read, where that was recorded.
    pub tokens_in: Option<u64>,
    /// Tokens written, where that was recorded.
    pub tokens_out: Option<u64>,
}

impl Trial {
    fn check(&self) -> Result<()> {
        if self.schema_version != TRIAL_SCHEMA {
            return Err(Error::unsupported(
                "trial-schema",
                "this version of recorded trials is not known",
            )
            .expected(TRIAL_SCHEMA)
            .found(quoted(&self.schema_version).to_string()));
        }
        for (field, text) in [
            ("issue_id", &self.issue_id),
            ("toolchain", &self.toolchain),
            ("trial", &self.trial),
        ] {
            if text.is_empty() {
                return Err(Error::malformed(
                    "trial-name",
                    format!("the field '{field}' is empty"),
                ));
            }
        }
        if self.all_passed != (self.status == RunStatus::Success) {
            return Err(Error::malformed(
                "trial-status",
                "'all_passed' and 'status' contradict each other",
            ));
        }
        let end = self.started_ms.checked_add(self.duration_ms);
        if end.is_none_or(|end| end > LAST_MS) {
            return Err(Error::malformed(
                "trial-time",
                "the run ends after the year 9999",
            ));
        }
        if self.cost_usd.is_some_and(|cost| cost < 0.0) {
            return Err(Error::malformed("trial-cost", "the cost is negative"));
        }
        let names: BTreeSet<_> = self.gates.iter().map(|gate| &gate.name).collect();
        if names.len() != self.gates.len() {
            return Err(Error::malformed(
                "trial-gates",
                "two gates have the same name",
            ));
        }
        Ok(())
    }
}

/// Recorded trials in the order (start, issue, toolchain, name), each once.
#[derive(Debug, Clone, Default)]
pub struct Trials {
    trials: Vec<Trial>,
    duplicates: usize,
}

impl Trials {
    /// Reads a file of trials, one JSON object a line, each with every field and no other.
    ///
    /// A line that repeats an earlier one is dropped and counted ([`Trials::duplicates`]).
    ///
    /// # Errors
    ///
    /// Every fault names its line: no JSON, an unknown or missing field, a run that contradicts itself
    /// (`trial-status`, `trial-time`, `trial-gates`), or one recorded twice with different outcomes
    /// (`trial-conflict`).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let bytes = OpenedFile::open(&path)?.contents(MAX_BYTES)?;
        Self::parse(&bytes).map_err(|error| error.in_file(path))
    }

    /// As [`Trials::read`], from bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if lines.is_empty() {
            return Self::new(Vec::new());
        }
        let mut trials = Vec::new();
        for (number, line) in (1..).zip(lines.split(|byte| *byte == b'\n')) {
            let trial = json::parse_into::<Trial>(line)
                .and_then(|trial| trial.check().map(|()| trial))
                .map_err(|error| on_line(number, error))?;
            trials.push(trial);
        }
        Self::new(trials)
    }

    /// Trials from elsewhere, in any order.
    ///
    /// # Errors
    ///
    /// As [`Trials::read`].
    pub fn new(trials: Vec<Trial>) -> Result<Self> {
        let mut first: HashMap<(&str, &str, &str, u64), &Trial> = HashMap::new();
        let mut kept = vec![true; trials.len()];
        for (number, (trial, kept)) in trials.iter().zip(&mut kept).enumerate() {
            trial.check().map_err(|error| on_line(number + 1, error))?;
            let key = (
                trial.issue_id.as_str(),
                trial.toolchain.as_str(),
                trial.trial.as_str(),
                trial.started_ms,
            );
            match first.get(&key) {
                None => {
                    first.insert(key, trial);
                }
                Some(same) if *same == trial => *kept = false,
                Some(_) => {
                    let error = Error::malformed(
                        "trial-conflict",
                        "a trial is recorded twice with different outcomes",
                    );
                    return Err(on_line(
                        number + 1,
                        error.found(quoted(&trial.trial).to_string()),
                    ));
                }
            }
        }
        let duplicates = kept.iter().filter(|kept| !**kept).count();
        let mut trials: Vec<_> = trials
            .into_iter()
            .zip(kept)
            .filter_map(|(trial, kept)| kept.then_some(trial))
            .collect();
        trials.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(Self { trials, duplicates })
    }

    /// Every trial.
    pub fn as_slice(&self) -> &[Trial] {
        &self.trials
    }

    /// How many lines repeated an earlier one.
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// The toolchains, by name.
    pub fn toolchains(&self) -> Vec<String> {
        let names: BTreeSet<_> = self.trials.iter().map(|trial| &trial.toolchain).collect();
        names.into_iter().cloned().collect()
    }

    /// Only the trials that `keep` wants, for example those that had ended at some moment.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&Trial) -> bool) -> Self {
        Self {
            trials: self
                .trials
                .iter()
                .filter(|trial| keep(trial))
                .cloned()
                .collect(),
            duplicates: self.duplicates,
        }
    }
}

fn order(trial: &Trial) -> (u64, &str, &str, &str) {
    (
        trial.started_ms,
        &trial.issue_id,
        &trial.toolchain,
        &trial.trial,
    )
}

fn on_line(number: usize, error: Error) -> Error {
    match error.item() {
        // JSON errors count lines within the one line that they saw.
        Some(place) => {
            let column = place.rsplit(", ").next().unwrap_or(place).to_owned();
            Error::new(error.kind(), error.rule(), error.message())
                .at(format!("line {number}, {column}"))
        }
        None => error.at(format!("line {number}")),
    }
}
