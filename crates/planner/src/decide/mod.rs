//! Decides: asks a model, judges its answer, and returns to the baseline whenever in doubt.
//!
//! A [`Planner`] holds a [`Policy`] (a model, a rule, or the reason why there is none) and
//! [`Settings`]. [`Planner::decide`] never fails: whatever goes wrong is one of the [`Reason`]s, and
//! the whole [`Baseline`] is executed, nothing of the prediction.
//!
//! ```
//! use amphora_planner::contracts::PlannerInput;
//! use amphora_planner::decide::{Baseline, Planner, Policy, Settings};
//!
//! # let document = br#"{"schema_version":"cyntra.planner_input.v1","created_at":"2026-02-03T09:00:00Z",
//! #   "universe_id":"u1","job_type":"code","universe_defaults":{},
//! #   "issue":{"issue_id":"42","dk_priority":"P1","dk_risk":"low","dk_size":"S","dk_tool_hint":null,
//! #            "dk_attempts":1,"tags":["kernel"]},
//! #   "history":{"last_n_similar_runs":[]},
//! #   "action_space":{"swarm_ids":["serial_handoff","speculate_vote"],"max_candidates_bins":[1,2,3,"NA"],
//! #     "max_minutes_bins":[15,30,"NA"],"max_iterations_bins":["NA"],"validity_rules":[]}}"#;
//! let input = PlannerInput::from_json(document)?;
//! let planner = Planner::new(Policy::heuristic(), Settings::default())?;
//! let decision = planner.decide(&input, &Baseline::default());
//! assert_eq!(decision.reason, None);
//! assert_eq!(decision.executed_plan.timeout_seconds_executed, Some(1800));
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! A prediction is judged in a fixed order, and the first doubt counts. A model that may take long is
//! asked in a thread of its own; one that keeps failing is left alone for a while, then tried again.

mod baseline;
mod breaker;
mod documents;
mod fit;
mod judge;
mod plan;
mod policy;
mod predicted;
mod prepared;
mod reason;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use amphora_error::{Error, Result};

use crate::contracts::{ExecutedPlan, Mode, PlannerAction, PlannerInput, PolicyTrace};

pub use baseline::{Baseline, Speculation};
pub use breaker::BreakerSettings;
pub use policy::{Policy, Prediction};
pub use reason::Reason;

use breaker::Breaker;
use judge::Refusal;
use policy::Missing;
use predicted::Predicted;
use prepared::Latest;
use reason::Counts;
use worker::{NoAnswer, Workers};

/// How a planner decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What it may do.
    pub mode: Mode,
    /// The confidence below which the baseline is executed, 0 to 1.
    pub threshold: f64,
    /// How long a decision may take; `None`: as long as it takes.
    pub deadline: Option<Duration>,
    /// When a model is left alone.
    pub breaker: BreakerSettings,
    /// The toolchains of the orchestrator, in its order. A model that was made for certain toolchains
    /// is used only where exactly those are named here: who names none cannot be known to have them.
    pub toolchains: Option<Vec<String>>,
}

impl Default for Settings {
    /// Enforce, any confidence, a tenth of a second.
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            threshold: 0.0,
            deadline: Some(Duration::from_millis(100)),
            breaker: BreakerSettings::default(),
            toolchains: None,
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What the planner answers.
    pub action: PlannerAction,
    /// What is executed.
    pub executed_plan: ExecutedPlan,
    /// The seconds that replace the toolchains' own time limit.
    pub timeout_seconds_override: Option<u32>,
    /// Why the baseline is executed, if it is.
    pub reason: Option<Reason>,
    /// How the decision came about.
    pub trace: PolicyTrace,
}

/// Decides, again and again, from as many threads as wanted.
pub struct Planner {
    policy: Policy,
    settings: Settings,
    breaker: Breaker,
    workers: Option<Workers>,
    latest: Latest,
    counts: Counts,
}

impl Planner {
    /// A planner that asks `policy`.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] for a threshold that is no probability.
    pub fn new(policy: Policy, settings: Settings) -> Result<Self> {
        if !(0.0..=1.0).contains(&settings.threshold) {
            return Err(
                Error::usage("planner-threshold", "the threshold is no probability")
                    .expected("0 to 1")
                    .found(settings.threshold.to_string()),
            );
        }
        let workers = match &policy.predict {
            Ok(predict) if !policy.quick => Some(Workers::new(Arc::clone(predict))),
            _ => None,
        };
        Ok(Self {
            breaker: Breaker::new(settings.breaker),
            workers,
            latest: Latest::default(),
            counts: Counts::default(),
            policy,
            settings,
        })
    }

    /// How often each reason was given; `None`: how often a prediction was executed.
    pub fn count(&self, reason: Option<Reason>) -> u64 {
        self.counts.of(reason)
    }

    /// Decides on `input`, where `baseline` is what would be done without a planner.
    ///
    /// The documents are dated as the input is.
    pub fn decide(&self, input: &PlannerInput, baseline: &Baseline) -> Decision {
        self.decide_hashed(input, input.input_hash().ok(), baseline)
    }

    /// As [`Self::decide`], for an input whose hash is known: see [`PlannerInput::with_hash`].
    pub fn decide_hashed(
        &self,
        input: &PlannerInput,
        input_hash: Option<String>,
        baseline: &Baseline,
    ) -> Decision {
        let start = Instant::now();
        let mut predicted = None;
        let refusal = self.refusal(input, baseline, start, &mut predicted).err();
        self.counts.add(refusal.as_ref().map(|(reason, _)| *reason));
        self.decision(input, input_hash, baseline, predicted, refusal, start)
    }

    /// Why the baseline is executed, if it is; `predicted` is what was predicted, if anything.
    fn refusal(
        &self,
        input: &PlannerInput,
        baseline: &Baseline,
        start: Instant,
        predicted: &mut Option<Predicted>,
    ) -> Result<(), Refusal> {
        if self.settings.mode == Mode::Off {
            return Err((Reason::PlannerOff, None));
        }
        self.policy
            .predict
            .as_ref()
            .map_err(|missing| match missing {
                Missing::Unavailable(detail) => (Reason::ModelUnavailable, Some(detail.clone())),
                Missing::Mismatch(detail) => (Reason::SchemaMismatch, Some(detail.clone())),
            })?;
        let prepared = self.prepare(input)?;
        let valid = prepared.valid(&input.job_type);
        let prediction = self.ask(input, start)?;
        let found = match prediction {
            Prediction::Action(action) => Predicted::of_action(*action),
            Prediction::Logits(logits) => {
                Predicted::of_logits(&logits, &self.policy.temperatures, &prepared, valid)
                    .map_err(|detail| (self.malformed(), detail))?
            }
        };
        let verdict = judge::refusal(
            &found.proposal,
            self.settings.mode,
            self.settings.threshold,
            &prepared.space,
            &valid.actions,
            baseline,
        );
        *predicted = Some(found);
        verdict
    }

    /// Why an answer that nothing can be read from is not executed. Without enforcement none would be.
    fn malformed(&self) -> Reason {
        match self.settings.mode {
            Mode::Enforce => Reason::MalformedPrediction,
            Mode::Log | Mode::Off => Reason::LogOnly,
        }
    }

    /// The model's answer, if it gives one in time.
    fn ask(&self, input: &PlannerInput, start: Instant) -> Result<Prediction, Refusal> {
        let Ok(predict) = &self.policy.predict else {
            return Err((Reason::ModelUnavailable, None));
        };
        if !self.breaker.lets_through() {
            let detail = "the model kept failing and is left alone for a while";
            return Err((Reason::ModelUnavailable, Some(detail.to_owned())));
        }
        let left = self
            .settings
            .deadline
            .map(|deadline| deadline.saturating_sub(start.elapsed()));
        let answer = match (&self.workers, left) {
            (Some(workers), Some(left)) => workers.ask(input, left),
            _ => Ok(policy::ask(predict, input)),
        };
        let late = self
            .settings
            .deadline
            .is_some_and(|deadline| start.elapsed() > deadline);
        let verdict = match answer {
            Err(NoAnswer::Late) => Err((Reason::InferenceTimeout, None)),
            _ if late => Err((Reason::InferenceTimeout, None)),
            Err(NoAnswer::Dead(detail)) => Err((Reason::InferenceFailed, Some(detail))),
            Ok(Err(error)) => Err((Reason::InferenceFailed, Some(error.to_string()))),
            Ok(Ok(prediction)) => Ok(prediction),
        };
        self.breaker.record(verdict.is_ok());
        verdict
    }
}
