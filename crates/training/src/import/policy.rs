//! How the actions of imported decisions are chosen.

use std::fmt;
use std::str::FromStr;

use amphora_error::{Error, Result, quoted};
use amphora_files::sha256;
use amphora_planner::action_space::{Action, ActionSpace, NamedAction};
use amphora_planner::contracts::Bin;
use amphora_planner::heuristic;
use amphora_planner::issues::Issue;

/// Who decided: the rule by which recorded trials are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// The planner's heuristic baseline.
    Heuristic,
    /// Any valid action, by a seeded draw: the labels say nothing, the outcomes everything.
    Uniform,
    /// Always this action.
    Fixed(NamedAction),
}

impl Policy {
    /// The `checkpoint_id` of its actions.
    pub fn checkpoint_id(&self) -> &'static str {
        match self {
            Self::Heuristic => heuristic::CHECKPOINT_ID,
            Self::Uniform => "uniform",
            Self::Fixed(_) => "fixed",
        }
    }

    /// The action for the decision number `number` on `issue`.
    pub(crate) fn choose(
        &self,
        space: &ActionSpace,
        issue: &Issue,
        number: usize,
        seed: u64,
    ) -> Result<NamedAction> {
        let valid = space.valid_actions(issue.job_type());
        let chosen: Option<Action> = match self {
            Self::Heuristic => {
                let wish = heuristic::wish(issue.dk_risk, issue.dk_size);
                heuristic::nearest_valid(space, &valid, wish)
            }
            Self::Uniform => {
                let digest = sha256(format!("{seed}\n{}\n{number}", issue.id).as_bytes());
                let mut head = [0; 8];
                head.copy_from_slice(&digest.bytes()[..8]);
                let place = u64::from_be_bytes(head) % valid.len().max(1) as u64;
                valid.get(usize::try_from(place).unwrap_or(0)).copied()
            }
            Self::Fixed(action) => space.index(action).filter(|action| valid.contains(action)),
        };
        chosen
            .and_then(|action| space.named(action))
            .ok_or_else(|| {
                Error::usage(
                    "policy-action",
                    format!("the policy '{self}' has no valid action for a job of this type"),
                )
                .at(format!("issue {}", quoted(&issue.id)))
                .hint("compare it with the lists and rules of the action space")
            })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heuristic => f.write_str("heuristic"),
            Self::Uniform => f.write_str("uniform"),
            Self::Fixed(action) => write!(f, "fixed:{action}"),
        }
    }
}

impl FromStr for Policy {
    type Err = Error;

    /// `heuristic`, `uniform`, or `fixed:SWARM/CANDIDATES/MINUTES/ITERATIONS` with counts or `NA`.
    fn from_str(text: &str) -> Result<Self> {
        let refused = || {
            Error::usage("policy", "this is no policy")
                .expected("heuristic, uniform, or such as fixed:speculate_vote/2/15/NA")
                .found(quoted(text).to_string())
        };
        match text {
            "heuristic" => return Ok(Self::Heuristic),
            "uniform" => return Ok(Self::Uniform),
            _ => {}
        }
        let parts: Vec<&str> = text
            .strip_prefix("fixed:")
            .ok_or_else(refused)?
            .split('/')
            .collect();
        let [swarm, candidates, minutes, iterations] = parts[..] else {
            return Err(refused());
        };
        let bin = |text: &str| match text {
            "NA" => Ok(Bin::NotApplicable),
            count => count.parse().map(Bin::Count).map_err(|_| refused()),
        };
        Ok(Self::Fixed(NamedAction {
            swarm_id: swarm.to_owned(),
            max_candidates_bin: bin(candidates)?,
            max_minutes_bin: bin(minutes)?,
            max_iterations_bin: bin(iterations)?,
        }))
    }
}
