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
mod judge;
mod policy;
mod prepared;
mod reason;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amphora_error::{Error, Result};

use crate::action_space::NamedAction;
use crate::contracts::{
    ActionVersion, Bin, ExecutedPlan, Mode, PlanVersion, PlannerAction, PlannerInput, PolicyTrace,
    RankedAction, TraceVersion,
};
use crate::decode::Distribution;

pub use baseline::{Baseline, Speculation};
pub use breaker::BreakerSettings;
pub use policy::{Policy, Prediction};
pub use reason::Reason;

use breaker::Breaker;
use judge::{Proposal, Refusal};
use policy::Missing;
use prepared::{Latest, Prepared, ValidSet};
use reason::Counts;
use worker::{NoAnswer, Workers};

/// How many actions the trace ranks.
const RANKED: usize = 5;

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
    /// The toolchains of the orchestrator, in its order, if a model must be made for them.
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

/// What is known of a prediction.
struct Predicted {
    proposal: Proposal,
    probabilities: BTreeMap<String, Vec<f64>>,
    ranking: Vec<RankedAction>,
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
            Prediction::Action(action) => Predicted {
                proposal: Proposal {
                    action: NamedAction {
                        swarm_id: action.swarm_id,
                        max_candidates_bin: action.budgets.max_candidates_bin,
                        max_minutes_bin: action.budgets.max_minutes_bin,
                        max_iterations_bin: action.budgets.max_iterations_bin,
                    },
                    confidence: action.confidence,
                },
                probabilities: action.probs.unwrap_or_default(),
                ranking: Vec::new(),
            },
            Prediction::Logits(logits) => {
                let distribution =
                    Distribution::new(&logits, &valid.masks, &self.policy.temperatures)
                        .map_err(|error| (Reason::MalformedPrediction, Some(error.to_string())))?;
                read(&distribution, &prepared, valid).ok_or((Reason::MalformedPrediction, None))?
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

    /// The input's action space, which must be the model's; so must the toolchains. An input whose
    /// rules are words alone, or absent, takes those of the model.
    fn prepare(&self, input: &PlannerInput) -> Result<Arc<Prepared>, Refusal> {
        let mismatch = |detail: String| (Reason::SchemaMismatch, Some(detail));
        let broken = |error: Error| mismatch(error.to_string());
        let asked = &input.action_space;
        let prepared = match &self.policy.action_space {
            Some(space) if space.has_classes_of(asked) && !asked.demands() => {
                self.latest.get(space)
            }
            _ => self.latest.get(asked),
        }
        .map_err(broken)?;
        if let Some(space) = &self.policy.action_space
            && *space != prepared.space
        {
            let expected = space.digest().map_err(broken)?;
            if expected != prepared.digest {
                return Err(mismatch(format!(
                    "the action space is {}, the model's is {expected}",
                    prepared.digest
                )));
            }
        }
        if let (Some(here), Some(there)) = (&self.settings.toolchains, &self.policy.toolchains)
            && here != there
        {
            return Err(mismatch(format!(
                "the toolchains are {}, the model's are {}",
                here.join(", "),
                there.join(", ")
            )));
        }
        Ok(prepared)
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

    /// The documents of a decision.
    fn decision(
        &self,
        input: &PlannerInput,
        input_hash: Option<String>,
        baseline: &Baseline,
        predicted: Option<Predicted>,
        refusal: Option<Refusal>,
        start: Instant,
    ) -> Decision {
        let fallback = baseline.binned(&input.action_space);
        let (reason, detail) = match refusal {
            Some((reason, detail)) => (Some(reason), detail),
            None => (None, None),
        };
        let code = reason.map(|reason| reason.code().to_owned());
        let (proposal, probabilities, ranking) = match predicted {
            Some(found) => (Some(found.proposal), found.probabilities, found.ranking),
            None => (None, BTreeMap::new(), Vec::new()),
        };
        let confidence = proposal.as_ref().and_then(|proposal| proposal.confidence);
        let shown = confidence.filter(|confidence| (0.0..=1.0).contains(confidence));
        let answered = proposal.as_ref().map(|proposal| &proposal.action);
        let executed = match (reason, answered) {
            (None, Some(action)) => action,
            _ => &fallback,
        };
        let (executed_plan, timeout_seconds_override) = match reason {
            None => enforced(executed, baseline),
            Some(_) => (unchanged(baseline), None),
        };
        let answer = answered.unwrap_or(&fallback);
        let action = PlannerAction {
            schema_version: ActionVersion,
            created_at: input.created_at.clone(),
            swarm_id: answer.swarm_id.clone(),
            budgets: answer.budgets(),
            probs: (!probabilities.is_empty()).then(|| probabilities.clone()),
            confidence: match answered {
                Some(_) => shown,
                None => Some(0.0),
            },
            abstain_to_default: reason.is_some(),
            reason: code.clone(),
            model: Some(match answered {
                Some(_) => self.policy.model.clone(),
                None => policy::unavailable(),
            }),
            input_hash: input_hash.clone(),
        };
        // Without a planner nothing fell back.
        let fell_back = reason.is_some_and(|reason| reason != Reason::PlannerOff);
        let trace = PolicyTrace {
            schema_version: TraceVersion,
            created_at: input.created_at.clone(),
            input_hash: input_hash.unwrap_or_default(),
            mode: self.settings.mode,
            model: self.policy.model.clone(),
            threshold: self.settings.threshold,
            executed: executed.clone(),
            predicted: answered.cloned(),
            confidence: shown,
            probs: probabilities,
            ranking,
            similar_run_ids: input
                .history
                .last_n_similar_runs
                .iter()
                .map(|run| run.run_id.clone())
                .collect(),
            reason: code.clone(),
            detail: detail.clone(),
            duration_us: u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
            baseline: fallback,
        };
        Decision {
            action,
            executed_plan: ExecutedPlan {
                fallback_applied: fell_back,
                fallback_reason: code.filter(|_| fell_back),
                fallback_detail: detail.filter(|_| fell_back),
                ..executed_plan
            },
            timeout_seconds_override,
            reason,
            trace,
        }
    }
}

/// What a distribution over the classes of a space says; where no action is valid, what each head
/// wants by itself.
fn read(distribution: &Distribution, prepared: &Prepared, valid: &ValidSet) -> Option<Predicted> {
    let best = distribution
        .best(&valid.actions)
        .unwrap_or_else(|| distribution.independent());
    let ranked = distribution.ranked(&valid.actions, RANKED);
    Some(Predicted {
        proposal: Proposal {
            action: prepared.space.named(best.action)?,
            confidence: Some(best.confidence.clamp(0.0, 1.0)),
        },
        probabilities: distribution.by_field(),
        ranking: ranked
            .into_iter()
            .filter_map(|decoded| {
                Some(RankedAction {
                    action: prepared.space.named(decoded.action)?,
                    log_probability: decoded.log_probability,
                })
            })
            .collect(),
    })
}

/// The plan of an action that may be executed, and the time limit that it sets.
fn enforced(action: &NamedAction, baseline: &Baseline) -> (ExecutedPlan, Option<u32>) {
    let cap = baseline.candidate_cap(&action.swarm_id);
    let seconds = match action.max_minutes_bin {
        Bin::Count(minutes) => minutes.checked_mul(60),
        Bin::NotApplicable => None,
    };
    let plan = ExecutedPlan {
        schema_version: PlanVersion,
        swarm_id_executed: action.swarm_id.clone(),
        max_candidates_executed: positive(action.max_candidates_bin.count().unwrap_or(cap)),
        timeout_seconds_executed: positive(seconds.unwrap_or(baseline.timeout_seconds)),
        max_iterations_executed: action.max_iterations_bin.count().or(baseline.iterations),
        fallback_applied: false,
        fallback_reason: None,
        fallback_detail: None,
    };
    (plan, seconds)
}

/// The plan of the baseline.
fn unchanged(baseline: &Baseline) -> ExecutedPlan {
    ExecutedPlan {
        schema_version: PlanVersion,
        swarm_id_executed: baseline.swarm_id.clone(),
        max_candidates_executed: positive(baseline.candidates),
        timeout_seconds_executed: positive(baseline.timeout_seconds),
        max_iterations_executed: baseline.iterations.and_then(positive),
        fallback_applied: false,
        fallback_reason: None,
        fallback_detail: None,
    }
}

fn positive(count: u32) -> Option<u32> {
    (count > 0).then_some(count)
}
