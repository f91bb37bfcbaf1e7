//! The closed set of tokens: it depends on the action space and the universes, never on data.

use std::collections::{BTreeSet, HashMap};

use amphora_error::{Error, Result, quoted};
use amphora_files::json;
use serde::{Deserialize, Serialize};

use super::bins::{ATTEMPTS, COUNTS, DURATIONS, TOOLCHAINS};
use super::tokenizer_config::MAX_SIMILAR_RUNS;
use crate::action_space::{ActionSpace, Head};
use crate::contracts::{Bin, Priority, Risk, RunStatus, Size};

pub(super) const PAD: &str = "[PAD]";
pub(super) const UNK: &str = "[UNK]";
pub(super) const BOS: &str = "[BOS]";
pub(super) const SEP: &str = "[SEP]";
pub(super) const EOS: &str = "[EOS]";
pub(super) const EQUALS: &str = "[=]";
/// What stands for an absent value.
pub(super) const NONE: &str = "NONE";

/// Buckets of each hashed kind of token.
pub(super) const BUCKETS: u64 = 1024;
/// The kinds of hashed tokens.
const HASHED: [&str; 4] = ["TAG_HASH", "KW_HASH", "FAIL_HASH", "GATE_HASH"];

const KEYS: [&str; 24] = [
    "UNIVERSE_ID",
    "JOB_TYPE",
    "DEFAULT_SWARM_ID",
    "DEFAULT_OBJECTIVE",
    "DK_PRIORITY",
    "DK_RISK",
    "DK_SIZE",
    "DK_TOOL_HINT",
    "DK_ATTEMPTS",
    "TAGS",
    "KEYWORDS",
    "ACTIVE_WORKCELLS_BIN",
    "QUEUE_DEPTH_BIN",
    "HOUR_BUCKET",
    "BUDGET_REMAINING_BIN",
    "AVAILABLE_TOOLCHAINS",
    "OUTCOME_STATUS",
    "EXEC_SWARM_ID",
    "EXEC_MAX_CANDIDATES",
    "EXEC_MAX_MINUTES",
    "EXEC_MAX_ITERATIONS",
    "DURATION_BIN",
    "FAIL_CODES",
    "FAIL_GATES",
];

pub(super) fn key(name: &str) -> String {
    format!("[KEY:{name}]")
}

pub(super) fn val(namespace: &str, value: &str) -> String {
    format!("[VAL:{namespace}:{value}]")
}

/// Tokens and their numbers.
///
/// 4,118 tokens never change: six marks, `[RUN_0]` to `[RUN_15]`, 1,024 buckets each for tags,
/// keywords, fail codes and gates. Then come, sorted, 24 keys and the values: 53 that never change
/// (job types, priorities, risks, sizes, toolchains, counts, hours, attempts, durations, statuses and
/// the absent ones), the swarms and their absence, and the bins of the three limits. Last come the
/// universes, sorted. For the documents' action space that makes 4,229 tokens without universes:
/// 4,206 and what attempts (1 key, 4 values) and executed limits (3 keys, 15 values) add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
}

/// `vocab.json`; a closed object.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema_version: String,
    tokens: Vec<String>,
    pad_id: u32,
    unk_id: u32,
}

const VERSION: &str = "cyntra.vocab.v1";

impl Vocabulary {
    /// The number of `[PAD]`.
    pub const PAD_ID: u32 = 0;
    /// The number of `[UNK]`, which stands for every token that is not listed.
    pub const UNK_ID: u32 = 1;

    /// The vocabulary for `action_space` and the universes.
    pub fn new<'a>(
        action_space: &ActionSpace,
        universe_ids: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut tokens: Vec<String> = [PAD, UNK, BOS, SEP, EOS, EQUALS]
            .map(str::to_owned)
            .to_vec();
        tokens.extend((0..MAX_SIMILAR_RUNS).map(|run| format!("[RUN_{run}]")));
        for kind in HASHED {
            tokens.extend((0..BUCKETS).map(|bucket| format!("[{kind}_{bucket}]")));
        }
        let closed: BTreeSet<String> = KEYS
            .iter()
            .map(|name| key(name))
            .chain(values(action_space))
            .collect();
        tokens.extend(closed);
        let universes: BTreeSet<String> = universe_ids
            .into_iter()
            .map(|id| val("UNIVERSE_ID", id))
            .collect();
        tokens.extend(universes);
        let ids = numbered(&tokens);
        Self { tokens, ids }
    }

    /// Reads `vocab.json` strictly.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] for another document, a token that occurs twice, marks
    /// that are not at their places.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let refused = |message: &str| Error::malformed("vocabulary", message);
        let document: Document = json::parse_into(bytes)?;
        if document.schema_version != VERSION {
            return Err(refused("this is another kind of vocabulary")
                .expected(VERSION)
                .found(quoted(&document.schema_version).to_string()));
        }
        let ids = numbered(&document.tokens);
        if ids.len() != document.tokens.len() {
            return Err(refused("a token occurs twice").at("tokens"));
        }
        let place = |token: &str| ids.get(token).copied();
        if (place(PAD), place(UNK)) != (Some(Self::PAD_ID), Some(Self::UNK_ID))
            || (document.pad_id, document.unk_id) != (Self::PAD_ID, Self::UNK_ID)
        {
            return Err(refused("[PAD] is not token 0, or [UNK] not token 1").at("tokens"));
        }
        if [BOS, SEP, EOS, EQUALS]
            .iter()
            .any(|mark| place(mark).is_none())
        {
            return Err(refused("a mark is missing")
                .expected("[BOS], [SEP], [EOS] and [=]")
                .at("tokens"));
        }
        Ok(Self {
            tokens: document.tokens,
            ids,
        })
    }

    /// The bytes of `vocab.json`.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        json::to_pretty_bytes(&Document {
            schema_version: VERSION.to_owned(),
            tokens: self.tokens.clone(),
            pad_id: Self::PAD_ID,
            unk_id: Self::UNK_ID,
        })
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token; never true.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens, by number.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The number of a token; that of `[UNK]` for one that is not listed.
    pub fn id(&self, token: &str) -> u32 {
        self.ids.get(token).copied().unwrap_or(Self::UNK_ID)
    }
}

fn numbered(tokens: &[String]) -> HashMap<String, u32> {
    tokens.iter().cloned().zip(0_u32..).collect()
}

/// Every value that is not a universe.
fn values(space: &ActionSpace) -> Vec<String> {
    let mut values = Vec::new();
    let mut list = |namespace: &str, words: &[&str]| {
        values.extend(words.iter().map(|word| val(namespace, word)));
    };
    let or_none = |words: &[&'static str]| {
        let mut words = words.to_vec();
        words.push(NONE);
        words
    };
    let priorities: Vec<_> = Priority::ALL.iter().map(|word| word.word()).collect();
    let risks: Vec<_> = Risk::ALL.iter().map(|word| word.word()).collect();
    let sizes: Vec<_> = Size::ALL.iter().map(|word| word.word()).collect();
    let statuses: Vec<_> = RunStatus::ALL.iter().map(|word| word.word()).collect();
    list("JOB_TYPE", &or_none(&["code", "fab-world"]));
    list("DK_PRIORITY", &or_none(&priorities));
    list("DK_RISK", &or_none(&risks));
    list("DK_SIZE", &or_none(&sizes));
    list("TOOLCHAIN", &or_none(&TOOLCHAINS));
    list("ATTEMPTS", &ATTEMPTS);
    list("BIN", &or_none(&COUNTS));
    list("STATUS", &or_none(&statuses));
    list("DURATION_BIN", &DURATIONS);
    list("HOUR", &[NONE]);
    list("SWARM_ID", &[NONE]);
    values.extend((0..24).map(|hour| val("HOUR", &format!("{hour:02}"))));
    values.extend(space.swarm_ids.iter().map(|name| val("SWARM_ID", name)));
    for head in Head::BUDGETS {
        let bins = space.bins(head).iter();
        values.extend(bins.map(|bin: &Bin| val(limit(head), &bin.to_string())));
    }
    values
}

/// The namespace of a limit's bins.
pub(super) fn limit(head: Head) -> &'static str {
    match head {
        Head::Swarm => "SWARM_ID",
        Head::Candidates => "CANDIDATES",
        Head::Minutes => "MINUTES",
        Head::Iterations => "ITERATIONS",
    }
}
