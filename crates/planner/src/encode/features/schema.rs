//! What lies where in the vector.

use amphora_error::{Error, Result};
use amphora_files::sha256;
use serde::Serialize;
use serde_json::json;

use super::super::bins::{COUNTS, TOOLCHAINS};
use crate::action_space::{ActionSpace, Head};
use crate::contracts::{Bin, Priority, Risk, RunStatus, Size, canonical_json};

/// Buckets for tags.
pub(super) const TAGS: u32 = 1024;
/// Buckets for a toolchain or an objective.
pub(super) const HINTS: u32 = 10;
/// Buckets for fail codes.
pub(super) const CODES: u32 = 256;
/// Pairs of places for gates.
pub(super) const GATES: usize = 16;
/// Gates with a pair of their own.
pub(super) const KNOWN_GATES: [&str; 7] = [
    "test",
    "typecheck",
    "lint",
    "build",
    "fab-realism",
    "fab-godot",
    "fab-playability",
];
/// Pairs that all other gates share.
pub(super) const OTHER_GATES: u32 = (GATES - KNOWN_GATES.len()) as u32;
/// Job types of earlier runs.
pub(super) const JOB_TYPES: [&str; 3] = ["code", "fab-world", "fab-asset"];
/// Bins of what is left of a budget.
pub(super) const BUDGETS: [&str; 4] = ["low", "medium", "high", "unlimited"];
/// Places for the presence of the classes of one head.
const PRESENCE: u32 = 8;
/// The layout's name; a change of meaning that moves no field changes it.
const LAYOUT: &str = "amphora.planner_features.v1";

/// One field of the vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name, such as `issue.dk_risk` or `history[0].status`.
    pub name: String,
    /// Its first place.
    pub offset: u32,
    /// How many places it has.
    pub width: u32,
    /// How values become places.
    pub kind: FieldKind,
    /// What its places stand for. Fields that hash name only the places after their buckets.
    pub slots: Vec<String>,
}

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// At most one place is 1.
    OneHot,
    /// Any number of places is 1.
    MultiHot,
    /// The bucket of a hash is 1.
    HashedOneHot,
    /// The buckets of hashes are 1.
    HashedMultiHot,
    /// Two places for each slot: present, and passed; slots without a name are hashed.
    GatePairs,
    /// As many places are 1 as the list of the input has entries.
    Presence,
}

/// What lies where in the vector, for one action space and a number of earlier runs.
///
/// Issue (1052), earlier runs (332 each), action space, universe and state of the orchestrator (71):
/// 3,779 places for the documents' action space and 8 runs. The widths of executed actions and of the
/// default swarm follow the action space.
///
/// ```
/// use amphora_planner::{action_space::ActionSpace, encode::FeatureSchema};
///
/// let schema = FeatureSchema::new(&ActionSpace::default(), 8);
/// assert_eq!(schema.width(), 3779);
/// let risk = schema.fields().iter().find(|field| field.name == "issue.dk_risk").unwrap();
/// assert_eq!((risk.offset, risk.width), (4, 4));
/// ```
#[derive(Debug, Clone)]
pub struct FeatureSchema {
    action_space: ActionSpace,
    history_slots: usize,
    fields_in_slot: usize,
    fields: Vec<Field>,
    width: usize,
}

impl FeatureSchema {
    /// The layout for `action_space` and `history_slots` earlier runs.
    pub fn new(action_space: &ActionSpace, history_slots: usize) -> Self {
        let mut layout = Layout::default();
        layout.issue();
        let before = layout.fields.len();
        let mut fields_in_slot = 0;
        for slot in 0..history_slots {
            layout.run(&format!("history[{slot}]"), action_space);
            fields_in_slot = (layout.fields.len() - before) / (slot + 1);
        }
        layout.surroundings(action_space);
        Self {
            action_space: action_space.clone(),
            history_slots,
            fields_in_slot,
            width: layout.width as usize,
            fields: layout.fields,
        }
    }

    /// How many places the vector has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many earlier runs it has room for.
    pub fn history_slots(&self) -> usize {
        self.history_slots
    }

    /// The fields, by offset, without gaps.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The action space that the widths follow.
    pub fn action_space(&self) -> &ActionSpace {
        &self.action_space
    }

    pub(super) fn fields_in_slot(&self) -> usize {
        self.fields_in_slot
    }

    /// SHA-256, in hexadecimal, over the canonical JSON of the layout: every field with its name,
    /// place, kind and slots, and the rule of the hash. Equal digests give every place one meaning.
    pub fn digest(&self) -> Result<String> {
        let fields = serde_json::to_value(&self.fields).map_err(|source| {
            Error::internal("json-encoding", "a layout cannot be written as JSON").caused_by(source)
        })?;
        let layout = json!({
            "layout": LAYOUT,
            "width": self.width,
            "hash": "first 32 bits of SHA-256, big-endian, modulo the buckets",
            "fields": fields,
        });
        Ok(sha256(canonical_json(&layout).as_bytes()).to_string())
    }
}

/// The buckets that tags have, for `tokenizer_config.json`.
pub(in crate::encode) const TAG_BUCKETS: u32 = TAGS;

#[derive(Default)]
struct Layout {
    fields: Vec<Field>,
    width: u32,
}

impl Layout {
    fn field(&mut self, name: String, width: u32, kind: FieldKind, slots: Vec<String>) {
        self.fields.push(Field {
            name,
            offset: self.width,
            width,
            kind,
            slots,
        });
        self.width += width;
    }

    fn one(&mut self, name: impl Into<String>, slots: Vec<String>) {
        self.field(name.into(), slots.len() as u32, FieldKind::OneHot, slots);
    }

    fn hashed_or_null(&mut self, name: &str, buckets: u32) {
        self.field(
            name.to_owned(),
            buckets + 1,
            FieldKind::HashedOneHot,
            words(&["null"]),
        );
    }

    fn issue(&mut self) {
        let spelled = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
        let priorities = Priority::ALL.iter().map(|word| word.word()).collect();
        let risks = Risk::ALL.iter().map(|word| word.word()).collect();
        let sizes = Size::ALL.iter().map(|word| word.word()).collect();
        self.one("issue.dk_priority", spelled(priorities));
        self.one("issue.dk_risk", spelled(risks));
        self.one("issue.dk_size", spelled(sizes));
        self.one("issue.dk_attempts", words(&["0", "1", "2", "3+"]));
        self.hashed_or_null("issue.dk_tool_hint", HINTS);
        self.field(
            "issue.tags".to_owned(),
            TAGS,
            FieldKind::HashedMultiHot,
            Vec::new(),
        );
    }

    fn run(&mut self, prefix: &str, space: &ActionSpace) {
        let name = |field: &str| format!("{prefix}.{field}");
        let statuses: Vec<&str> = RunStatus::ALL.iter().map(|word| word.word()).collect();
        self.one(name("job_type"), words(&JOB_TYPES));
        self.one(name("domain"), words(&["code", "fab_world", "fab_asset"]));
        self.one(name("swarm_id"), or_null(space.swarm_ids.clone()));
        for head in Head::BUDGETS {
            let bins = space.bins(head).iter().map(Bin::to_string).collect();
            self.one(name(head.field_name()), bins);
        }
        self.one(name("status"), words(&statuses));
        self.field(
            name("fail_codes"),
            CODES,
            FieldKind::HashedMultiHot,
            Vec::new(),
        );
        self.field(
            name("gates"),
            2 * GATES as u32,
            FieldKind::GatePairs,
            words(&KNOWN_GATES),
        );
        self.one(
            name("duration"),
            words(&["<1m", "1-5m", "5-15m", "15-30m", "30-60m", ">=60m"]),
        );
        self.one(
            name("cost_usd_est"),
            words(&["<0.01", "<0.1", "<1", "<10", ">=10", "null"]),
        );
        self.one(name("recency"), words(&["<1d", "<7d", "<30d", ">=30d"]));
        self.one(name("populated"), words(&["populated"]));
    }

    fn surroundings(&mut self, space: &ActionSpace) {
        for head in Head::ALL {
            let name = format!("action_space.{}", head.list_name());
            self.field(name, PRESENCE, FieldKind::Presence, Vec::new());
        }
        self.one(
            "universe_defaults.swarm_id",
            or_null(space.swarm_ids.clone()),
        );
        self.hashed_or_null("universe_defaults.objective_id", HINTS);
        self.one("system_state.active_workcells_bin", or_null(words(&COUNTS)));
        self.one(
            "system_state.queue_depth",
            or_null(words(&["0", "1-5", "6-20", ">20"])),
        );
        let parts_of_day = ["night", "morning", "afternoon", "evening"];
        self.one("system_state.hour_bucket", or_null(words(&parts_of_day)));
        self.one(
            "system_state.budget_remaining_bin",
            or_null(words(&BUDGETS)),
        );
        let toolchains = words(&TOOLCHAINS);
        self.field(
            "system_state.available_toolchains".to_owned(),
            toolchains.len() as u32,
            FieldKind::MultiHot,
            toolchains,
        );
        self.one("system_state.present", words(&["present"]));
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn or_null(mut slots: Vec<String>) -> Vec<String> {
    slots.push("null".to_owned());
    slots
}
