//! Earlier runs, and which of them resemble an issue.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::index::{Asked, Index, NO_DECISION, Question, Runs, Sets};
use super::issue_runs::IssueRuns;
use crate::contracts::{Gate, RunSummary};

/// The job type whose runs are filtered by world and objective.
pub(super) const FAB_WORLD: &str = "fab-world";

/// One decision of the orchestrator: all runs that it started are siblings of each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionKey {
    /// The issue it was about.
    pub issue_id: String,
    /// When it was made, in milliseconds since 1970.
    pub started_ms: u64,
}

/// A run as a part of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRun {
    /// The run.
    pub summary: RunSummary,
    /// The decision that started it, if it is known.
    pub decision: Option<DecisionKey>,
    /// From when on its outcome may be known, in milliseconds since 1970; it never is before it ended.
    pub known_ms: u64,
}

impl From<RunSummary> for PastRun {
    /// A run that was decided alone, known once it ended.
    fn from(summary: RunSummary) -> Self {
        Self {
            known_ms: summary.ended_ms(),
            decision: None,
            summary,
        }
    }
}

/// What is asked of a [`History`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'a> {
    /// Only runs of this job type count.
    pub job_type: &'a str,
    /// When the decision is made, in milliseconds since 1970: only runs that had ended count.
    pub started_ms: u64,
    /// The tags of the issue.
    pub tags: &'a [String],
    /// For `fab-world`: only runs of this world count.
    pub world_id: Option<&'a str>,
    /// For `fab-world`: only runs for this objective count.
    pub objective_id: Option<&'a str>,
    /// The issue, whose own earlier failures are looked for in other runs too.
    pub issue_id: Option<&'a str>,
    /// The decision itself: no run that it started counts.
    pub decision: Option<&'a DecisionKey>,
}

/// Runs in order of time, indexed by tags and failure signals.
///
/// ```
/// use amphora_planner::contracts::RunSummary;
/// use amphora_planner::history::{History, Query};
///
/// let run: RunSummary = serde_json::from_value(serde_json::json!({
///     "run_id": "wc-42-a", "started_ms": 1_770_000_000_000_u64, "job_type": "code", "domain": "code",
///     "action_executed": {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 30},
///     "outcome": {"status": "failed", "fail_codes": ["test"], "gates": []},
///     "runtime": {"duration_ms": 91_000}, "tags": ["kernel"], "issue_id": "42"
/// })).unwrap();
/// let history = History::new(vec![run]);
/// let tags = ["kernel".to_owned(), "cache".to_owned()];
/// let at = |started_ms| Query { job_type: "code", started_ms, tags: &tags, ..Query::default() };
/// assert_eq!(history.similar(&at(1_770_000_091_000), 8).len(), 1);
/// assert_eq!(history.similar(&at(1_770_000_090_999), 8).len(), 0, "it had not ended");
/// ```
#[derive(Debug)]
pub struct History {
    summaries: Vec<RunSummary>,
    runs: Runs,
    tag_ids: HashMap<String, u32>,
    decisions: HashMap<DecisionKey, u32>,
    by_issue: HashMap<String, IssueRuns>,
    by_filter: HashMap<Filter, Index>,
    duplicates: u64,
}

/// The equalities that a query demands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Filter {
    job_type: String,
    world_id: Option<String>,
    objective_id: Option<String>,
}

impl History {
    /// A history of runs of which each was decided alone.
    pub fn new(runs: Vec<RunSummary>) -> Self {
        Self::of_runs(runs.into_iter().map(PastRun::from).collect())
    }

    /// A history of runs, each with the decision that started it and known once it ended.
    pub fn of_decisions(runs: Vec<(RunSummary, Option<DecisionKey>)>) -> Self {
        let runs = runs.into_iter().map(|(summary, decision)| PastRun {
            decision,
            ..summary.into()
        });
        Self::of_runs(runs.collect())
    }

    /// A history of runs, each with the decision that started it and from when on it is known.
    ///
    /// Of several runs with one id the earliest counts, of those the first.
    pub fn of_runs(mut runs: Vec<PastRun>) -> Self {
        let given = runs.len();
        runs.sort_by(|a, b| {
            let (a, b) = (&a.summary, &b.summary);
            a.started_ms
                .cmp(&b.started_ms)
                .then_with(|| b.run_id.cmp(&a.run_id))
        });
        let mut met: HashSet<&str> = HashSet::with_capacity(given);
        let first: Vec<bool> = runs
            .iter()
            .map(|run| met.insert(&run.summary.run_id))
            .collect();
        drop(met);
        let mut keep = first.into_iter();
        runs.retain(|_| keep.next().unwrap_or(true));

        let mut history = Self {
            duplicates: (given - runs.len()) as u64,
            summaries: Vec::with_capacity(runs.len()),
            runs: Runs::default(),
            tag_ids: HashMap::new(),
            decisions: HashMap::new(),
            by_issue: HashMap::new(),
            by_filter: HashMap::new(),
        };
        history.fill(runs);
        history
    }

    fn fill(&mut self, runs: Vec<PastRun>) {
        let mut tags = SetInterner::default();
        let mut signals = SetInterner::default();
        let mut signal_ids = HashMap::new();
        let mut filters: BTreeMap<Filter, Vec<u32>> = BTreeMap::new();
        for (position, past) in (0_u32..).zip(runs) {
            let PastRun {
                summary: run,
                decision,
                known_ms,
            } = past;
            let known_from_ms = known_ms
                .max(run.ended_ms())
                .max(run.started_ms.saturating_add(1));
            let decision = decision.map_or(NO_DECISION, |key| {
                let next = self.decisions.len() as u32;
                *self.decisions.entry(key).or_insert(next)
            });
            let own_tags = run.tags.iter().map(|tag| Cow::Borrowed(tag.as_str()));
            tags.add(own_tags, &mut self.tag_ids);
            let words = signals.add(failure_signals(&run), &mut signal_ids);
            if let Some(issue_id) = &run.issue_id {
                let own = match self.by_issue.get_mut(issue_id) {
                    Some(own) => own,
                    None => self.by_issue.entry(issue_id.clone()).or_default(),
                };
                own.add(words, known_from_ms, decision);
            }
            for filter in Filter::of(&run) {
                match filters.get_mut(&filter) {
                    Some(positions) => positions.push(position),
                    None => drop(filters.insert(filter, vec![position])),
                }
            }
            self.runs.started_ms.push(run.started_ms);
            self.runs.known_from_ms.push(known_from_ms);
            self.runs.decision.push(decision);
            self.summaries.push(run);
        }
        self.runs.tags = tags.sets;
        self.runs.signals = signals.sets;
        for own in self.by_issue.values_mut() {
            own.seal();
        }
        for (filter, positions) in filters {
            let index = Index::new(&positions, &self.runs);
            self.by_filter.insert(filter, index);
        }
    }
}

impl History {
    /// At most `n` runs that resemble what is asked, the latest first.
    ///
    /// A run counts if it has the job type (and, for `fab-world`, the world and the objective, where
    /// asked), started before the query, **ended** at or before it and was known then, and is no sibling. Chosen are the
    /// highest scores; then the later start; then the smaller id. The score is
    /// `0.6 J(tags) + 0.3 J(failure signals) + 0.1 recency`, computed in that order in `f64`: `J` is
    /// the Jaccard index, a run's failure signals are its fail codes and `gate:<name>` for each gate
    /// that did not pass, those of the query are the union over the earlier runs of its issue, and
    /// recency is 1, 1/2, 1/3 or 1/4 for an age below a day, a week, thirty days, or more.
    pub fn similar(&self, query: &Query, n: usize) -> Vec<&RunSummary> {
        let Some(index) = self.by_filter.get(&Filter::asked(query)) else {
            return Vec::new();
        };
        if n == 0 {
            return Vec::new();
        }
        let decision = self.decision(query.decision);
        let signals = query
            .issue_id
            .and_then(|issue_id| self.by_issue.get(issue_id))
            .map_or_else(Vec::new, |own| own.signals(query.started_ms, decision));
        let question = Question {
            tags: &self.asked_tags(query.tags),
            signals: &Asked {
                size: signals.len(),
                known: signals,
            },
            started_ms: query.started_ms,
            decision,
            limit: n,
        };
        let mut positions = index.search(&self.runs, &question);
        positions.sort_unstable_by(|a, b| b.cmp(a));
        positions
            .into_iter()
            .map(|position| &self.summaries[position as usize])
            .collect()
    }

    /// How many runs of the issue were known at `started_ms`, siblings in `decision` left out: the
    /// attempts until then.
    pub fn attempts(&self, issue_id: &str, started_ms: u64, decision: Option<&DecisionKey>) -> u32 {
        let decision = self.decision(decision);
        self.by_issue
            .get(issue_id)
            .map_or(0, |own| own.attempts(started_ms, decision))
    }

    /// The runs by start, then by id from the last to the first.
    pub fn runs(&self) -> &[RunSummary] {
        &self.summaries
    }

    /// How many runs were left out because another had the same id.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    fn decision(&self, key: Option<&DecisionKey>) -> u32 {
        key.and_then(|key| self.decisions.get(key))
            .copied()
            .unwrap_or(NO_DECISION)
    }

    fn asked_tags(&self, tags: &[String]) -> Asked {
        let tags: HashSet<&str> = tags
            .iter()
            .map(String::as_str)
            .filter(|tag| !tag.is_empty())
            .collect();
        let mut known: Vec<u32> = tags
            .iter()
            .filter_map(|tag| self.tag_ids.get(*tag).copied())
            .collect();
        known.sort_unstable();
        Asked {
            known,
            size: tags.len(),
        }
    }
}

impl Filter {
    fn asked(query: &Query) -> Self {
        let of_world = |id: Option<&str>| {
            id.filter(|_| query.job_type == FAB_WORLD)
                .map(str::to_owned)
        };
        Self {
            job_type: query.job_type.to_owned(),
            world_id: of_world(query.world_id),
            objective_id: of_world(query.objective_id),
        }
    }

    /// Every filter that lets the run through.
    fn of(run: &RunSummary) -> Vec<Self> {
        let choices = |id: &Option<String>| match id {
            Some(id) if run.job_type == FAB_WORLD => vec![None, Some(id.clone())],
            _ => vec![None],
        };
        let mut filters = Vec::with_capacity(1);
        for world_id in choices(&run.world_id) {
            for objective_id in choices(&run.objective_id) {
                filters.push(Self {
                    job_type: run.job_type.clone(),
                    world_id: world_id.clone(),
                    objective_id,
                });
            }
        }
        filters
    }
}

/// The fail codes of a run, and its gates that did not pass.
fn failure_signals(run: &RunSummary) -> impl Iterator<Item = Cow<'_, str>> {
    let failed = |gate: &'_ &Gate| !gate.passed && !gate.name.is_empty();
    let gates = run.outcome.gates.iter().filter(failed);
    run.outcome
        .fail_codes
        .iter()
        .map(|code| Cow::Borrowed(code.as_str()))
        .chain(gates.map(|gate| Cow::Owned(format!("gate:{}", gate.name))))
}

/// Gives equal words, and equal sets of words, equal numbers.
#[derive(Default)]
struct SetInterner {
    sets: Sets,
    ids: HashMap<Box<[u32]>, u32>,
}

impl SetInterner {
    /// Notes the set of the next run and returns its words, ascending.
    fn add<'a>(
        &mut self,
        words: impl Iterator<Item = Cow<'a, str>>,
        word_ids: &mut HashMap<String, u32>,
    ) -> &[u32] {
        let mut set: Vec<u32> = words
            .filter(|word| !word.is_empty())
            .map(|word| match word_ids.get(word.as_ref()) {
                Some(id) => *id,
                None => {
                    let id = word_ids.len() as u32;
                    word_ids.insert(word.into_owned(), id);
                    id
                }
            })
            .collect();
        set.sort_unstable();
        set.dedup();
        let id = match self.ids.get(set.as_slice()) {
            Some(id) => *id,
            None => {
                let id = self.ids.len() as u32;
                self.sets.words.push(&set);
                self.ids.insert(set.into_boxed_slice(), id);
                id
            }
        };
        self.sets.of_run.push(id);
        self.sets.words.of(id)
    }
}
