//! The finite set of actions: heads, classes, rules, and which actions are valid.

mod head;
mod rules;
mod valid;

use amphora_error::{Error, Result, quoted};
use amphora_files::sha256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contracts::{Bin, Budgets, canonical_json};

pub use head::{Head, HeadLogits};
pub use rules::{Allowed, Condition, Demand, ValidityRule};
pub use valid::masks;

/// Most combinations of classes that an action space may have, valid or not.
pub const MAX_ACTIONS: usize = 65_536;
/// Most validity rules: each is asked about each combination.
pub const MAX_RULES: usize = 64;

/// The classes of the four heads and the rules that tie them together: `action_space.json`, a closed
/// object.
///
/// The class of a swarm or bin is its position in its list. The default is the documents' space.
///
/// ```
/// use amphora_planner::action_space::ActionSpace;
///
/// let space = ActionSpace::default();
/// assert_eq!(space.widths(), [2, 4, 6, 5]);
/// let sizes = ["code", "fab-world", "else"].map(|job_type| space.valid_actions(job_type).len());
/// assert_eq!(sizes, [30, 120, 150]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionSpace {
    /// The swarms.
    pub swarm_ids: Vec<String>,
    /// How many candidates run in parallel.
    pub max_candidates_bins: Vec<Bin>,
    /// How many minutes each may take.
    pub max_minutes_bins: Vec<Bin>,
    /// How many iterations each may take.
    pub max_iterations_bins: Vec<Bin>,
    /// What an action must keep; all of them.
    pub validity_rules: Vec<ValidityRule>,
}

/// An action by its classes, in the order of the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action {
    /// Position in [`ActionSpace::swarm_ids`].
    pub swarm: usize,
    /// Position in [`ActionSpace::max_candidates_bins`].
    pub candidates: usize,
    /// Position in [`ActionSpace::max_minutes_bins`].
    pub minutes: usize,
    /// Position in [`ActionSpace::max_iterations_bins`].
    pub iterations: usize,
}

impl Action {
    /// The class of `head`.
    pub fn class(&self, head: Head) -> usize {
        match head {
            Head::Swarm => self.swarm,
            Head::Candidates => self.candidates,
            Head::Minutes => self.minutes,
            Head::Iterations => self.iterations,
        }
    }

    /// The classes in the order of the heads.
    pub fn classes(&self) -> [usize; 4] {
        [self.swarm, self.candidates, self.minutes, self.iterations]
    }

    /// The action with these classes, in the order of the heads.
    pub fn from_classes([swarm, candidates, minutes, iterations]: [usize; 4]) -> Self {
        Self {
            swarm,
            candidates,
            minutes,
            iterations,
        }
    }
}

/// An action by the names of its swarm and bins; a closed object.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct NamedAction {
    /// The swarm.
    pub swarm_id: String,
    /// How many candidates run in parallel.
    pub max_candidates_bin: Bin,
    /// How many minutes each may take.
    pub max_minutes_bin: Bin,
    /// How many iterations each may take.
    pub max_iterations_bin: Bin,
}

impl NamedAction {
    /// A swarm and its limits.
    pub fn new(swarm_id: impl Into<String>, budgets: &Budgets) -> Self {
        Self {
            swarm_id: swarm_id.into(),
            max_candidates_bin: budgets.max_candidates_bin,
            max_minutes_bin: budgets.max_minutes_bin,
            max_iterations_bin: budgets.max_iterations_bin,
        }
    }

    /// The limits, without the swarm.
    pub fn budgets(&self) -> Budgets {
        Budgets {
            max_candidates_bin: self.max_candidates_bin,
            max_minutes_bin: self.max_minutes_bin,
            max_iterations_bin: self.max_iterations_bin,
        }
    }

    /// The bin of `head`; none for the swarm.
    pub fn bin(&self, head: Head) -> Option<Bin> {
        match head {
            Head::Swarm => None,
            Head::Candidates => Some(self.max_candidates_bin),
            Head::Minutes => Some(self.max_minutes_bin),
            Head::Iterations => Some(self.max_iterations_bin),
        }
    }
}

impl std::fmt::Display for NamedAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{}/{}/{}",
            self.swarm_id, self.max_candidates_bin, self.max_minutes_bin, self.max_iterations_bin
        )
    }
}

impl Default for ActionSpace {
    fn default() -> Self {
        use Bin::NotApplicable as Na;
        let counts = |counts: &[u32]| counts.iter().map(|&count| Bin::Count(count)).collect();
        let or_na = |of: &[u32]| -> Vec<Bin> {
            let mut bins: Vec<Bin> = counts(of);
            bins.push(Na);
            bins
        };
        Self {
            swarm_ids: vec![SERIAL.to_owned(), SPECULATE.to_owned()],
            max_candidates_bins: or_na(&[1, 2, 3]),
            max_minutes_bins: or_na(&[15, 30, 45, 60, 120]),
            max_iterations_bins: or_na(&[1, 2, 3, 5]),
            validity_rules: rules::of_the_documents(&[1, 2, 3].map(Bin::Count)),
        }
    }
}

/// The swarm that runs one toolchain after another.
pub const SERIAL: &str = "serial_handoff";
/// The swarm that runs several candidates in parallel and votes.
pub const SPECULATE: &str = "speculate_vote";

impl ActionSpace {
    /// Reads `action_space.json` strictly.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] for another document, an empty list, a name or bin
    /// that occurs twice, a count of 0; [`amphora_error::ErrorKind::Limit`] for more than
    /// [`MAX_ACTIONS`] combinations or [`MAX_RULES`] rules. What rules name is for [`Self::check_rules`].
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let space: Self = amphora_files::json::parse_into(bytes)?;
        space.check()?;
        Ok(space)
    }

    /// Whether every rule names swarms and bins of the lists. A space that is written by hand should: a
    /// misspelt name would switch its rule off. One that comes out of data need not: a universe puts
    /// swarms of its own in the place of those that a rule is about, and the rule then binds nothing.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] (`action-space-rule`) with every name that is in no list.
    pub fn check_rules(&self) -> Result<()> {
        let strangers = self.strangers();
        match strangers.is_empty() {
            true => Ok(()),
            false => Err(Error::malformed(
                "action-space-rule",
                "a rule names what the action space does not have",
            )
            .faults(strangers)),
        }
    }

    /// Whether the lists make sense; see [`Self::from_json`].
    pub fn check(&self) -> Result<()> {
        let mut combinations = 1_usize;
        for head in Head::ALL {
            let width = self.width(head);
            if width == 0 {
                return Err(Error::malformed(
                    "action-space-empty",
                    "the action space has a head without classes",
                )
                .at(head.list_name()));
            }
            combinations = combinations.saturating_mul(width);
        }
        if combinations > MAX_ACTIONS {
            return Err(Error::new(
                amphora_error::ErrorKind::Limit,
                "action-space-size",
                "the action space has too many combinations",
            )
            .expected(format!("at most {MAX_ACTIONS}"))
            .found(combinations.to_string()));
        }
        if self.validity_rules.len() > MAX_RULES {
            return Err(
                Error::limit("action-space-rules", "the action space has too many rules")
                    .expected(format!("at most {MAX_RULES}"))
                    .found(self.validity_rules.len().to_string())
                    .at("validity_rules"),
            );
        }
        let mut swarms: Vec<&String> = self.swarm_ids.iter().collect();
        swarms.sort_unstable();
        let twice = swarms.windows(2).find(|pair| pair[0] == pair[1]);
        if let Some(name) = twice.map(|pair| pair[0]) {
            return Err(
                Error::malformed("action-space-double", "a swarm is listed twice")
                    .found(quoted(name).to_string())
                    .at("swarm_ids"),
            );
        }
        if swarms.iter().any(|name| name.is_empty()) {
            return Err(
                Error::malformed("action-space-name", "a swarm has no name").at("swarm_ids")
            );
        }
        for head in Head::BUDGETS {
            let mut bins = self.bins(head).to_vec();
            bins.sort_unstable();
            if let Some(pair) = bins.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(
                    Error::malformed("action-space-double", "a bin is listed twice")
                        .found(pair[0].to_string())
                        .at(head.list_name()),
                );
            }
            if bins.first() == Some(&Bin::Count(0)) {
                return Err(Error::malformed(
                    "action-space-bin",
                    "a bin of 0 allows nothing to run",
                )
                .expected("counts from 1 on, or NA")
                .at(head.list_name()));
            }
        }
        Ok(())
    }

    /// How many classes each head has.
    pub fn widths(&self) -> [usize; 4] {
        Head::ALL.map(|head| self.width(head))
    }

    /// How many classes `head` has.
    pub fn width(&self, head: Head) -> usize {
        match head {
            Head::Swarm => self.swarm_ids.len(),
            budget => self.bins(budget).len(),
        }
    }

    /// The bins of `head`; none for the swarm.
    pub fn bins(&self, head: Head) -> &[Bin] {
        match head {
            Head::Swarm => &[],
            Head::Candidates => &self.max_candidates_bins,
            Head::Minutes => &self.max_minutes_bins,
            Head::Iterations => &self.max_iterations_bins,
        }
    }

    /// The class of `head` for a number: `None` is `NA`; a number between bins goes to the nearest,
    /// to the smaller of two that are equally near.
    ///
    /// A list without `NA` gives `None` its largest bin, one of `NA` alone gives every number that.
    /// The swarm has no numbers; its first class is the answer.
    pub fn nearest(&self, head: Head, value: Option<u32>) -> usize {
        let bins = self.bins(head);
        let key = |bin: &Bin| match (value, bin) {
            (Some(value), Bin::Count(count)) => (false, count.abs_diff(value), *count),
            (Some(_), Bin::NotApplicable) => (true, 0, 0),
            (None, Bin::NotApplicable) => (false, 0, 0),
            (None, Bin::Count(count)) => (true, u32::MAX - count, 0),
        };
        (0..bins.len())
            .min_by_key(|&class| key(&bins[class]))
            .unwrap_or(0)
    }

    /// The names of an action's classes; `None` when a class is outside its list.
    pub fn named(&self, action: Action) -> Option<NamedAction> {
        Some(NamedAction {
            swarm_id: self.swarm_ids.get(action.swarm)?.clone(),
            max_candidates_bin: *self.max_candidates_bins.get(action.candidates)?,
            max_minutes_bin: *self.max_minutes_bins.get(action.minutes)?,
            max_iterations_bin: *self.max_iterations_bins.get(action.iterations)?,
        })
    }

    /// The classes of an action's names; `None` when a name is in no list.
    pub fn index(&self, action: &NamedAction) -> Option<Action> {
        let bin = |bins: &[Bin], bin: Bin| bins.iter().position(|other| *other == bin);
        Some(Action {
            swarm: self.swarm_class(&action.swarm_id)?,
            candidates: bin(&self.max_candidates_bins, action.max_candidates_bin)?,
            minutes: bin(&self.max_minutes_bins, action.max_minutes_bin)?,
            iterations: bin(&self.max_iterations_bins, action.max_iterations_bin)?,
        })
    }

    /// The class of a swarm.
    pub fn swarm_class(&self, swarm_id: &str) -> Option<usize> {
        self.swarm_ids.iter().position(|name| name == swarm_id)
    }

    /// Whether every class means the same in `other`, whatever the rules.
    pub fn has_classes_of(&self, other: &Self) -> bool {
        self.swarm_ids == other.swarm_ids
            && Head::BUDGETS
                .iter()
                .all(|head| self.bins(*head) == other.bins(*head))
    }

    /// Whether a rule demands anything; rules may be words alone.
    pub fn demands(&self) -> bool {
        self.validity_rules.iter().any(ValidityRule::demands)
    }

    /// The same lists with the documents' rules: a world needs one of the numbers of candidates listed.
    pub fn with_documented_rules(self) -> Self {
        let counts = self.max_candidates_bins.iter().copied();
        let counts: Vec<Bin> = counts.filter(|bin| *bin != Bin::NotApplicable).collect();
        Self {
            validity_rules: rules::of_the_documents(&counts),
            ..self
        }
    }

    /// Reads a file that somebody wrote: its rules must name what is in the lists.
    ///
    /// # Errors
    ///
    /// Those of reading, of [`Self::from_json`] and of [`Self::check_rules`].
    pub fn read(path: &std::path::Path) -> Result<Self> {
        let bytes =
            amphora_files::OpenedFile::open(path)?.contents(amphora_files::json::MAX_BYTES)?;
        let space = Self::from_json(&bytes);
        let checked = space.and_then(|space| space.check_rules().map(|()| space));
        checked.map_err(|error| error.in_file(path))
    }

    /// SHA-256, in hexadecimal, of what the space means: its lists and its rules in their order,
    /// without their descriptions. Two spaces of one digest give every class the same meaning.
    pub fn digest(&self) -> Result<String> {
        let mut meaning = self.clone();
        meaning.validity_rules.retain(ValidityRule::demands);
        for rule in &mut meaning.validity_rules {
            rule.description.clear();
        }
        let value = serde_json::to_value(&meaning).map_err(|source| {
            Error::internal("json-encoding", "an action space cannot be written as JSON")
                .caused_by(source)
        })?;
        Ok(sha256(canonical_json(&value).as_bytes()).to_string())
    }
}
