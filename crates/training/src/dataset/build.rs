//! Archived runs become rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use amphora_error::{Error, Result};
use amphora_planner::action_space::{ActionSpace, NamedAction};
use amphora_planner::contracts::{
    ActionVersion, DatasetFindings, DatasetMeta, DatasetRow, DatasetVersion, HistoryBlock,
    InputVersion, IssueFields, ModelReference, PlannerAction, PlannerInput, RunSummary, Split,
    UniverseDefaults, time,
};
use amphora_planner::encode::{FeatureSchema, Tokenizer, TokenizerConfig, Vocabulary};
use amphora_planner::history::archives::ArchivedRun;
use amphora_planner::history::{Collected, DecisionKey, History, PastRun, Query, keywords};
use amphora_planner::issues::{Issue, Issues};
use amphora_planner::universe::Universe;

use super::label::{Label, label};
use super::space::stored_space;
use super::{Dataset, checks, duplicates, file, split};

/// The `checkpoint_id` of labels.
const EXECUTED: &str = "executed_plan";
/// Most tags of an input.
const MAX_TAGS: usize = 32;

/// What a dataset is built from.
#[derive(Debug, Clone, Copy)]
pub struct BuildRequest<'a> {
    /// The archived runs.
    pub runs: &'a Collected<ArchivedRun>,
    /// The issues, for archives that hold no input.
    pub issues: &'a Issues,
    /// The actions to choose from; without them, those of the stored inputs, which must agree, or where
    /// none is stored the universe's, or the documents'. Stored ones whose rules are words alone, or
    /// absent, have the documents' rules.
    pub action_space: Option<&'a ActionSpace>,
    /// World runs, which others may know; they give no rows.
    pub world_runs: Option<&'a Collected<RunSummary>>,
    /// How many similar runs an input has at most.
    pub similar: usize,
    /// The universe, for archives that hold no input.
    pub universe: Option<&'a Universe>,
}

/// Builds a dataset.
///
/// # Errors
///
/// The stored inputs have different action spaces and none was given (`action-spaces-differ`); the
/// action space is broken; no decision is left (`dataset-empty`, with what was dropped and why).
pub fn build(request: &BuildRequest) -> Result<Dataset> {
    let archived = request.runs.dropped.iter();
    let mut dropped: BTreeMap<String, u64> = archived
        .map(|(reason, count)| (reason.to_string(), *count))
        .collect();
    let of_worlds = request.world_runs.iter().flat_map(|runs| &runs.dropped);
    dropped.extend(of_worlds.map(|(reason, count)| (format!("world_run_{reason}"), *count)));
    let mut findings = DatasetFindings {
        unreadable_parts: request
            .runs
            .ignored_parts
            .iter()
            .map(|(part, count)| ((*part).to_owned(), *count))
            .collect(),
        ..DatasetFindings::default()
    };
    let (runs, copies) = duplicates::without_copies(request.runs.runs.clone())?;
    note(&mut dropped, "duplicate_content", copies);
    let space = match request.action_space {
        Some(space) => space.clone(),
        None => stored_space(&runs)?.unwrap_or_else(|| {
            let universe = request.universe.map(Universe::action_space);
            universe.unwrap_or_default()
        }),
    };
    space.check()?;

    let mut decisions: BTreeMap<DecisionKey, Vec<&ArchivedRun>> = BTreeMap::new();
    for run in &runs {
        match &run.decision {
            Some(key) => decisions.entry(key.clone()).or_default().push(run),
            None => note(&mut dropped, "no_issue", 1),
        }
    }
    let world_runs = request.world_runs.iter().flat_map(|worlds| &worlds.runs);
    let past = runs.iter().map(ArchivedRun::past);
    let past = past.chain(world_runs.cloned().map(PastRun::from));
    let history = History::of_runs(past.collect());
    note(&mut dropped, "duplicate", history.duplicates());
    let builder = Builder {
        request,
        space: &space,
        history: &history,
        ends: runs
            .iter()
            .map(|run| (run.summary.run_id.as_str(), run.ended_ms))
            .collect(),
        issues: request
            .issues
            .issues
            .iter()
            .map(|issue| (issue.id.as_str(), issue))
            .collect(),
    };
    let mut rows = Vec::with_capacity(decisions.len());
    for (key, mut siblings) in decisions {
        siblings.sort_by(|a, b| {
            let order = |run: &ArchivedRun| (run.summary.started_ms, run.summary.run_id.clone());
            order(a).cmp(&order(b))
        });
        match builder.row(&key, &siblings, &mut findings)? {
            Ok(row) => rows.push(row),
            Err(reason) => note(&mut dropped, reason, 1),
        }
    }
    if rows.is_empty() {
        let reasons = dropped.iter();
        return Err(Error::negative(
            "dataset-empty",
            "no decision can be learned from: not one archive gives a row",
        )
        .faults(
            reasons
                .map(|(reason, count)| format!("dropped {count}: {reason}"))
                .collect(),
        ));
    }
    finish(request, &space, rows, dropped, findings)
}

/// Orders, tokenizes, splits, hashes.
fn finish(
    request: &BuildRequest,
    space: &ActionSpace,
    mut rows: Vec<DatasetRow>,
    dropped: BTreeMap<String, u64>,
    mut findings: DatasetFindings,
) -> Result<Dataset> {
    rows.sort_by(|a, b| file::order(a).cmp(&file::order(b)));
    let universes: BTreeSet<String> = rows
        .iter()
        .map(|row| row.planner_input.universe_id.clone())
        .collect();
    let config = TokenizerConfig::new(&FeatureSchema::new(space, request.similar));
    let vocabulary = Vocabulary::new(space, universes.iter().map(String::as_str));
    let tokenizer = Tokenizer::new(config, vocabulary)?;
    for row in &mut rows {
        row.tokens = tokenizer.tokens(&row.planner_input);
    }
    findings.moved_to_keep_groups = split::split(&mut rows)?;
    findings.issues_in_several_parts = checks::issues_in_several_parts(&rows);
    findings.label_shift = checks::label_shift(&rows);
    let universe_id = match universes.len() {
        1 => universes.into_iter().next().unwrap_or_default(),
        _ => "several".to_owned(),
    };
    let meta = DatasetMeta {
        schema_version: DatasetVersion,
        dataset_hash: file::dataset_hash(&rows)?,
        example_count: rows.len() as u64,
        split_counts: file::split_counts(&rows),
        include_world: request.world_runs.is_some(),
        n_similar_runs: u32::try_from(request.similar).unwrap_or(u32::MAX),
        universe_id,
        swarm_ids: space.swarm_ids.clone(),
        dropped,
        findings,
    };
    Ok(Dataset { rows, meta })
}

fn note(counts: &mut BTreeMap<String, u64>, reason: &str, count: u64) {
    if count > 0 {
        *counts.entry(reason.to_owned()).or_default() += count;
    }
}

struct Builder<'a> {
    request: &'a BuildRequest<'a>,
    space: &'a ActionSpace,
    history: &'a History,
    /// When archived runs ended.
    ends: HashMap<&'a str, u64>,
    issues: HashMap<&'a str, &'a Issue>,
}

impl Builder<'_> {
    /// The row of a decision, or why there is none. The siblings are sorted and not empty.
    fn row(
        &self,
        key: &DecisionKey,
        siblings: &[&ArchivedRun],
        findings: &mut DatasetFindings,
    ) -> Result<Result<DatasetRow, &'static str>> {
        let first = siblings[0];
        let job_type = &first.summary.job_type;
        let label = match label(self.space, job_type, siblings) {
            Ok(label) => label,
            Err(unusable) => return Ok(Err(unusable.word())),
        };
        // A stored input that claims to be younger than its own runs would see too much.
        let started_ms = key.started_ms.min(first.summary.started_ms);
        let stored = siblings.iter().find_map(|run| run.planner.input.as_ref());
        let Some(mut input) = self.known(key, first, stored, started_ms)? else {
            return Ok(Err("no_issue_record"));
        };
        let query = Query {
            job_type: &input.job_type,
            started_ms,
            tags: &input.issue.tags,
            world_id: input.issue.world_id(),
            objective_id: input.universe_defaults.objective_id.as_deref(),
            issue_id: Some(&key.issue_id),
            decision: Some(key),
        };
        let similar = self.history.similar(&query, self.request.similar);
        input.history.last_n_similar_runs = similar.into_iter().cloned().collect();
        if let Some(stored) = stored {
            findings.stored_leaks += u64::from(self.leaks(stored, siblings, started_ms));
            let ruled = self.request.action_space.is_some() || stored.action_space.demands();
            note(
                &mut findings.repaired,
                "action_space_rules",
                u64::from(!ruled),
            );
        }
        let Label {
            action,
            repaired,
            binned,
            legacy_minutes,
        } = label;
        note(
            &mut findings.repaired,
            "label_candidates",
            u64::from(repaired),
        );
        note(&mut findings.repaired, "label_binned", u64::from(binned));
        let legacy = u64::from(legacy_minutes);
        note(&mut findings.repaired, "legacy_minutes", legacy);
        let late = u64::from(started_ms < key.started_ms);
        note(&mut findings.repaired, "input_after_start", late);
        Ok(Ok(DatasetRow {
            run_id: first.summary.run_id.clone(),
            started_ms,
            split: Split::Train,
            tokens: Vec::new(),
            label_action: labelled(&action, started_ms)?,
            planner_input: input,
        }))
    }

    /// What was known when the decision was made, but for the history: the stored input, or the archived
    /// issue completed from the list of issues.
    fn known(
        &self,
        key: &DecisionKey,
        run: &ArchivedRun,
        stored: Option<&PlannerInput>,
        started_ms: u64,
    ) -> Result<Option<PlannerInput>> {
        let created_at = time::format(started_ms)?;
        let job_type = run.summary.job_type.clone();
        if let Some(stored) = stored {
            return Ok(Some(PlannerInput {
                created_at,
                job_type,
                history: HistoryBlock::default(),
                action_space: self.space.clone(),
                ..stored.clone()
            }));
        }
        let Some(issue) = self.issues.get(key.issue_id.as_str()) else {
            return Ok(None);
        };
        let (universe_id, universe_defaults) = self
            .request
            .universe
            .map_or(("unknown", UniverseDefaults::default()), |universe| {
                (universe.universe_id.as_str(), universe.defaults.clone())
            });
        Ok(Some(PlannerInput {
            schema_version: InputVersion,
            created_at,
            universe_id: universe_id.to_owned(),
            job_type,
            universe_defaults,
            issue: self.issue_then(issue, key, run, started_ms),
            history: HistoryBlock::default(),
            action_space: self.space.clone(),
            system_state: None,
        }))
    }

    /// An issue as it was: the list of issues was written later, so its tags and texts give way to those
    /// in the archive, and attempts are those that had ended.
    fn issue_then(
        &self,
        issue: &Issue,
        key: &DecisionKey,
        run: &ArchivedRun,
        started_ms: u64,
    ) -> IssueFields {
        let archived = &run.issue;
        let mut fields = issue.fields();
        if archived.id.is_some() {
            fields.tags.clone_from(&archived.tags);
        }
        fields.tags.truncate(MAX_TAGS);
        if archived.title.is_some() {
            fields.title.clone_from(&archived.title);
        }
        if archived.description.is_some() {
            fields.description.clone_from(&archived.description);
        }
        fields.keywords = Some(keywords(&format!(
            "{}\n{}",
            fields.title.as_deref().unwrap_or_default(),
            fields.description.as_deref().unwrap_or_default()
        )));
        fields.dk_attempts = self.history.attempts(&key.issue_id, started_ms, Some(key));
        fields
    }

    /// Whether a stored input knew a run that had not ended, or a sibling.
    fn leaks(&self, stored: &PlannerInput, siblings: &[&ArchivedRun], started_ms: u64) -> bool {
        stored.history.last_n_similar_runs.iter().any(|known| {
            let archived = self.ends.get(known.run_id.as_str()).copied();
            known.ended_ms().max(archived.unwrap_or(0)) > started_ms
                || siblings
                    .iter()
                    .any(|sibling| sibling.summary.run_id == known.run_id)
        })
    }
}

fn labelled(action: &NamedAction, started_ms: u64) -> Result<PlannerAction> {
    Ok(PlannerAction {
        schema_version: ActionVersion,
        created_at: time::format(started_ms)?,
        swarm_id: action.swarm_id.clone(),
        budgets: action.budgets(),
        probs: None,
        confidence: Some(1.0),
        abstain_to_default: false,
        reason: None,
        model: Some(ModelReference {
            checkpoint_id: EXECUTED.to_owned(),
            version: None,
            git_sha: None,
        }),
        input_hash: None,
    })
}
