//! The token sequence.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use amphora_error::Result;

use super::bins::{self, ATTEMPTS};
use super::hash::token_bucket;
use super::tokenizer_config::TokenizerConfig;
use super::vocabulary::{BOS, BUCKETS, EOS, EQUALS, NONE, SEP, Vocabulary, key, limit, val};
use super::{MAX_KEYWORDS, MAX_TAGS};
use crate::action_space::{ActionSpace, Head};
use crate::contracts::{IssueFields, PlannerInput, RunSummary, SystemState, UniverseDefaults};
use crate::history::keywords;

/// Fail codes, and failed gates, of a run that count, the first ones.
const FIRST_CODES: usize = 8;

/// Makes token sequences.
///
/// The sequence is `[BOS]`, universe, `[SEP]`, issue, `[SEP]`, state of the orchestrator, `[SEP]`, the
/// earlier runs from the latest on with `[SEP]` between them, `[EOS]`. A value is three tokens:
/// `[KEY:DK_RISK]`, `[=]`, `[VAL:DK_RISK:high]`. Values have namespaces, for `0` of two keys is not
/// the same. Words of open sets are hashed: `[TAG_HASH_680]` is `kernel`.
///
/// ```
/// use amphora_planner::action_space::ActionSpace;
/// use amphora_planner::encode::{FeatureSchema, Tokenizer, TokenizerConfig, Vocabulary};
///
/// let space = ActionSpace::default();
/// let vocabulary = Vocabulary::new(&space, ["u1"]);
/// assert_eq!(vocabulary.len(), 4230);
/// let config = TokenizerConfig::new(&FeatureSchema::new(&space, 8));
/// let tokenizer = Tokenizer::new(config, vocabulary)?;
/// assert_eq!(tokenizer.config().max_len, 512);
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    config: TokenizerConfig,
    vocabulary: Vocabulary,
}

impl Tokenizer {
    /// A tokenizer; the configuration must hold (see [`TokenizerConfig::check`]).
    pub fn new(config: TokenizerConfig, vocabulary: Vocabulary) -> Result<Self> {
        config.check()?;
        Ok(Self { config, vocabulary })
    }

    /// Its limits.
    pub fn config(&self) -> &TokenizerConfig {
        &self.config
    }

    /// Its tokens.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The sequence of `input`, at most `max_len` tokens of which the last is `[EOS]`: what does not
    /// fit is cut off before it, the oldest runs first.
    pub fn tokens(&self, input: &PlannerInput) -> Vec<String> {
        let mut tokens = Vec::with_capacity(256);
        tokens.push(BOS.to_owned());
        universe(&mut tokens, input);
        tokens.push(SEP.to_owned());
        issue(&mut tokens, &input.issue);
        tokens.push(SEP.to_owned());
        if let Some(state) = &input.system_state {
            system_state(&mut tokens, state);
        }
        tokens.push(SEP.to_owned());
        let mut runs: Vec<&RunSummary> = input.history.last_n_similar_runs.iter().collect();
        runs.sort_by_key(|run| (Reverse(run.started_ms), run.run_id.as_str()));
        for (place, summary) in runs
            .into_iter()
            .take(self.config.max_similar_runs)
            .enumerate()
        {
            let start = tokens.len();
            tokens.push(format!("[RUN_{place}]"));
            run(&mut tokens, summary, &input.action_space);
            tokens.truncate(start + self.config.max_tokens_per_run);
            tokens.push(SEP.to_owned());
        }
        tokens.pop_if(|last| last == SEP);
        tokens.truncate(self.config.max_len - 1);
        tokens.push(EOS.to_owned());
        tokens
    }

    /// The numbers of [`Self::tokens`].
    pub fn ids(&self, input: &PlannerInput) -> Vec<u32> {
        let tokens = self.tokens(input);
        tokens
            .iter()
            .map(|token| self.vocabulary.id(token))
            .collect()
    }
}

/// Sequences of one length, as token models take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// Token numbers, one row after the other, padded on the right with `[PAD]`.
    pub input_ids: Vec<i64>,
    /// 1 for a token, 0 for padding.
    pub attention_mask: Vec<i64>,
    /// Tokens in each row.
    pub sequence_length: usize,
}

impl TokenBatch {
    /// Sequences of [`Tokenizer::ids`], padded to the longest of them.
    pub fn new(sequences: &[Vec<u32>]) -> Self {
        let sequence_length = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let places = sequences.len() * sequence_length;
        let mut batch = Self {
            input_ids: Vec::with_capacity(places),
            attention_mask: Vec::with_capacity(places),
            sequence_length,
        };
        for (row, sequence) in (1..).zip(sequences) {
            batch
                .input_ids
                .extend(sequence.iter().map(|id| i64::from(*id)));
            batch
                .input_ids
                .resize(row * sequence_length, i64::from(Vocabulary::PAD_ID));
            batch.attention_mask.extend(sequence.iter().map(|_| 1));
            batch.attention_mask.resize(row * sequence_length, 0);
        }
        batch
    }
}

fn universe(tokens: &mut Vec<String>, input: &PlannerInput) {
    let UniverseDefaults {
        swarm_id,
        objective_id,
    } = &input.universe_defaults;
    value(
        tokens,
        "UNIVERSE_ID",
        "UNIVERSE_ID",
        Some(&input.universe_id),
    );
    value(tokens, "JOB_TYPE", "JOB_TYPE", Some(&input.job_type));
    value(tokens, "DEFAULT_SWARM_ID", "SWARM_ID", swarm_id.as_deref());
    let objective = objective_id.iter().filter(|id| !id.trim().is_empty());
    list(
        tokens,
        "DEFAULT_OBJECTIVE",
        objective.map(|id| hashed("KW", "kw", id.trim())),
    );
}

fn issue(tokens: &mut Vec<String>, issue: &IssueFields) {
    value(
        tokens,
        "DK_PRIORITY",
        "DK_PRIORITY",
        Some(issue.dk_priority.word()),
    );
    value(tokens, "DK_RISK", "DK_RISK", Some(issue.dk_risk.word()));
    value(tokens, "DK_SIZE", "DK_SIZE", Some(issue.dk_size.word()));
    value(
        tokens,
        "DK_TOOL_HINT",
        "TOOLCHAIN",
        issue.dk_tool_hint.as_deref(),
    );
    let attempts = ATTEMPTS[bins::attempts(issue.dk_attempts)];
    value(tokens, "DK_ATTEMPTS", "ATTEMPTS", Some(attempts));
    list(
        tokens,
        "TAGS",
        filled(first(&issue.tags, MAX_TAGS)).map(|tag| hashed("TAG", "tag", tag)),
    );
    let words = match &issue.keywords {
        Some(words) => words,
        None => &keywords(&format!(
            "{}\n{}",
            issue.title.as_deref().unwrap_or_default(),
            issue.description.as_deref().unwrap_or_default()
        )),
    };
    list(
        tokens,
        "KEYWORDS",
        filled(first(words, MAX_KEYWORDS)).map(|word| hashed("KW", "kw", word)),
    );
}

fn system_state(tokens: &mut Vec<String>, state: &SystemState) {
    let rows = [
        ("ACTIVE_WORKCELLS_BIN", "BIN", &state.active_workcells_bin),
        ("QUEUE_DEPTH_BIN", "BIN", &state.queue_depth_bin),
        ("HOUR_BUCKET", "HOUR", &state.hour_bucket),
        ("BUDGET_REMAINING_BIN", "BIN", &state.budget_remaining_bin),
    ];
    for (name, namespace, recorded) in rows {
        value(tokens, name, namespace, recorded.as_deref());
    }
    let available = state.available_toolchains.as_deref().unwrap_or_default();
    list(
        tokens,
        "AVAILABLE_TOOLCHAINS",
        filled(available).map(|name| val("TOOLCHAIN", name)),
    );
}

fn run(tokens: &mut Vec<String>, run: &RunSummary, space: &ActionSpace) {
    let action = &run.action_executed;
    value(
        tokens,
        "OUTCOME_STATUS",
        "STATUS",
        Some(run.outcome.status.word()),
    );
    value(
        tokens,
        "EXEC_SWARM_ID",
        "SWARM_ID",
        action.swarm_id.as_deref(),
    );
    let limits = [
        (
            "EXEC_MAX_CANDIDATES",
            Head::Candidates,
            action.max_candidates,
        ),
        ("EXEC_MAX_MINUTES", Head::Minutes, action.max_minutes),
        (
            "EXEC_MAX_ITERATIONS",
            Head::Iterations,
            action.max_iterations,
        ),
    ];
    for (name, head, number) in limits {
        let bin = space.bins(head).get(space.nearest(head, number));
        let bin = bin.map(ToString::to_string);
        value(tokens, name, limit(head), bin.as_deref());
    }
    let duration = bins::duration_token(run.runtime.duration_ms);
    value(tokens, "DURATION_BIN", "DURATION_BIN", Some(duration));
    let codes = filled(&run.outcome.fail_codes).take(FIRST_CODES);
    list(
        tokens,
        "FAIL_CODES",
        codes.map(|code| hashed("FAIL", "fail", code)),
    );
    let failed = run
        .outcome
        .gates
        .iter()
        .filter(|gate| !gate.passed && !gate.name.is_empty());
    let failed = failed.take(FIRST_CODES);
    list(
        tokens,
        "FAIL_GATES",
        failed.map(|gate| hashed("GATE", "gate", &gate.name)),
    );
}

/// Three tokens: key, `[=]`, value. A blank value is absent.
fn value(tokens: &mut Vec<String>, name: &str, namespace: &str, word: Option<&str>) {
    let word = word.map(str::trim).filter(|word| !word.is_empty());
    tokens.push(key(name));
    tokens.push(EQUALS.to_owned());
    tokens.push(val(namespace, word.unwrap_or(NONE)));
}

/// Key, `[=]` and the values as a sorted set; nothing if there are none. They sort as strings.
fn list(tokens: &mut Vec<String>, name: &str, values: impl Iterator<Item = String>) {
    let values: BTreeSet<String> = values.collect();
    if !values.is_empty() {
        tokens.push(key(name));
        tokens.push(EQUALS.to_owned());
        tokens.extend(values);
    }
}

fn first(words: &[String], most: usize) -> &[String] {
    &words[..words.len().min(most)]
}

fn filled(words: &[String]) -> impl Iterator<Item = &str> {
    words
        .iter()
        .map(String::as_str)
        .filter(|word| !word.is_empty())
}

fn hashed(kind: &str, salt: &str, word: &str) -> String {
    format!("[{kind}_HASH_{}]", token_bucket(salt, word, BUCKETS))
}
